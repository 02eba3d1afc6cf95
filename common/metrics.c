/* See metrics.h. Format: prometheus.io/docs/instrumenting/exposition_formats, text-based format. */
#include "common/metrics.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

const char metrics_content_type[] = "text/plain; version=0.0.4; charset=utf-8";

const double metrics_duration_bounds[] = {0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                          0.1,     0.25,   0.5,   1,      2.5,   5,    10,    30};
const size_t metrics_duration_bound_count =
    sizeof metrics_duration_bounds / sizeof metrics_duration_bounds[0];

/* ---- histograms ------------------------------------------------------------------------------- */

void histogram_init(struct histogram *histogram, const double *bounds, size_t bound_count) {
  assert(bound_count <= HISTOGRAM_BOUNDS_MAX);
  *histogram = (struct histogram){.bounds = bounds, .bound_count = bound_count};
}

void histogram_observe(struct histogram *histogram, double value) {
  size_t i = 0;
  while (i < histogram->bound_count && value > histogram->bounds[i])
    i++;
  histogram->buckets[i]++;
  histogram->sum += value;
}

/* ---- text ------------------------------------------------------------------------------------- */

void metrics_init(struct metrics_page *page) {
  *page = (struct metrics_page){0};
}

static void put(struct metrics_page *page, const char *text, size_t length) {
  if (page->failed) return;
  if (page->capacity - page->length < length + 1) {
    size_t capacity = page->capacity ? page->capacity : 4096;
    while (capacity - page->length < length + 1)
      capacity *= 2;
    char *data = realloc(page->data, capacity);
    if (!data) {
      page->failed = true;
      return;
    }
    page->data = data;
    page->capacity = capacity;
  }
  memcpy(page->data + page->length, text, length);
  page->length += length;
}

static void puts_all(struct metrics_page *page, const char *const *texts) {
  for (; *texts; texts++)
    put(page, *texts, strlen(*texts));
}
#define PUT(page, ...) puts_all(page, (const char *const[]){__VA_ARGS__, NULL})

char *metrics_take(struct metrics_page *page, size_t *length) {
  put(page, "", 0);
  char *data = page->data;
  if (page->failed) {
    free(data);
    data = NULL;
  } else {
    data[page->length] = '\0';
  }
  if (length) *length = data ? page->length : 0;
  *page = (struct metrics_page){0};
  return data;
}

static void put_label(struct metrics_page *page, const struct metrics_label *label) {
  PUT(page, label->name, "=\"");
  for (const char *c = label->value; *c; c++) {
    if (*c == '\\' || *c == '"') PUT(page, "\\");
    if (*c == '\n')
      PUT(page, "\\n");
    else
      put(page, c, 1);
  }
  PUT(page, "\"");
}

/* `last`: one more, of a histogram's bucket; its name NULL: none. */
static void put_sample(struct metrics_page *page, const char *suffix, double value,
                       const struct metrics_label *labels, size_t label_count,
                       struct metrics_label last) {
  char number[32];
  size_t count = label_count + (last.name ? 1 : 0);
  json_format_real(value, number);
  PUT(page, page->family, suffix, count ? "{" : "");
  for (size_t i = 0; i < count; i++) {
    if (i > 0) PUT(page, ",");
    put_label(page, i < label_count ? &labels[i] : &last);
  }
  PUT(page, count ? "} " : " ", number, "\n");
}

/* ---- families --------------------------------------------------------------------------------- */

void metrics_family(struct metrics_page *page, const char *name, const char *type,
                    const char *help) {
  page->family = name;
  PUT(page, "# HELP ", name, " ", help, "\n# TYPE ", name, " ", type, "\n");
}

void metrics_sample(struct metrics_page *page, double value, const struct metrics_label *labels,
                    size_t label_count) {
  put_sample(page, "", value, labels, label_count, (struct metrics_label){NULL, NULL});
}

void metrics_histogram(struct metrics_page *page, const struct histogram *histogram,
                       const struct metrics_label *labels, size_t label_count) {
  const struct metrics_label none = {NULL, NULL};
  uint64_t count = 0;
  for (size_t i = 0; i < histogram->bound_count; i++) {
    char bound[32];
    json_format_real(histogram->bounds[i], bound);
    count += histogram->buckets[i];
    put_sample(page, "_bucket", (double)count, labels, label_count,
               (struct metrics_label){"le", bound});
  }
  count += histogram->buckets[histogram->bound_count];
  put_sample(page, "_bucket", (double)count, labels, label_count,
             (struct metrics_label){"le", "+Inf"});
  put_sample(page, "_sum", histogram->sum, labels, label_count, none);
  put_sample(page, "_count", (double)count, labels, label_count, none);
}

void metrics_single(struct metrics_page *page, const char *name, const char *type, const char *help,
                    double value) {
  metrics_family(page, name, type, help);
  metrics_sample(page, value, NULL, 0);
}
