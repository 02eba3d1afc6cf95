/* Figures of a process in Prometheus' text format (version 0.0.4), and the histograms behind them.
 *
 * Counters and gauges are plain members of whatever they count; only a histogram needs more than a
 * number. A page is written on request: family by family, each with its samples behind it. Base units
 * (seconds, bytes), `_total` at the end of a counter's name, labels of few values only.
 * One thread; no locks.
 */
#ifndef ASSENT_COMMON_METRICS_H
#define ASSENT_COMMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS_MAX = 20, METRICS_LABELS_MAX = 4 };

struct histogram {
  const double *bounds; /* upper ones, ascending; borrowed, static */
  size_t bound_count;
  uint64_t buckets[HISTOGRAM_BOUNDS_MAX + 1]; /* not cumulated; the last: above all bounds */
  double sum;
};
void histogram_init(struct histogram *histogram, const double *bounds, size_t bound_count);
void histogram_observe(struct histogram *histogram, double value);

/* For durations of what takes a round trip, an fsync, or waits: 0.25 ms to 30 s. */
extern const double metrics_duration_bounds[];
extern const size_t metrics_duration_bound_count;

/* ---- a page ----------------------------------------------------------------------------------- */

struct metrics_page {
  char *data;
  size_t length, capacity;
  const char *family; /* the one under way */
  bool failed;        /* memory ran out: later calls do nothing */
};
void metrics_init(struct metrics_page *page);
/* NUL-terminated. Owner: the caller, free(). NULL when `failed`. */
char *metrics_take(struct metrics_page *page, size_t *length);

extern const char metrics_content_type[];

struct metrics_label {
  const char *name, *value; /* the value is escaped */
};

/* Begins a family; a name must come once. `type`: "counter", "gauge", "histogram". */
void metrics_family(struct metrics_page *page, const char *name, const char *type,
                    const char *help);
/* A sample of the family under way, with up to METRICS_LABELS_MAX labels. */
void metrics_sample(struct metrics_page *page, double value, const struct metrics_label *labels,
                    size_t label_count);
void metrics_histogram(struct metrics_page *page, const struct histogram *histogram,
                       const struct metrics_label *labels, size_t label_count);
/* A family of one sample without labels. */
void metrics_single(struct metrics_page *page, const char *name, const char *type, const char *help,
                    double value);

#define LABELS(...)                                                                                \
  (const struct metrics_label[]){__VA_ARGS__},                                                     \
      sizeof((const struct metrics_label[]){__VA_ARGS__}) / sizeof(struct metrics_label)

/* process_start_time_seconds, process_resident_memory_bytes, process_open_fds, process_max_fds,
 * process_cpu_seconds_total, assent_build_info: of this process, from /proc. */
void metrics_process(struct metrics_page *page);

#endif
