/* common/metrics.c: the text of a page, byte by byte. */
#include "common/metrics.h"

#include <stdlib.h>
#include <string.h>

#include "tests/lib/suite.h"

static void expect_page(struct metrics_page *page, const char *expected) {
  size_t length;
  char *text = metrics_take(page, &length);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  CU_ASSERT_STRING_EQUAL(text, expected);
  CU_ASSERT_EQUAL(length, strlen(expected));
  free(text);
}

static void page_without_families_is_empty(void) {
  struct metrics_page page;
  metrics_init(&page);
  expect_page(&page, "");
}

static void sample_has_its_labels_and_its_shortest_number(void) {
  struct metrics_page page;
  metrics_init(&page);
  metrics_family(&page, "a_total", "counter", "Things.");
  metrics_sample(&page, 3, NULL, 0);
  metrics_sample(&page, 0.1, LABELS({"x", "1"}, {"y", "2"}));
  metrics_single(&page, "b", "gauge", "One.", 12345678901234);
  expect_page(&page, "# HELP a_total Things.\n# TYPE a_total counter\na_total 3\n"
                     "a_total{x=\"1\",y=\"2\"} 0.1\n"
                     "# HELP b One.\n# TYPE b gauge\nb 12345678901234\n");
}

static void label_values_are_escaped(void) {
  struct metrics_page page;
  metrics_init(&page);
  metrics_family(&page, "a", "gauge", "Things.");
  metrics_sample(&page, 1, LABELS({"x", "say \"hi\"\\\n"}));
  expect_page(&page, "# HELP a Things.\n# TYPE a gauge\na{x=\"say \\\"hi\\\"\\\\\\n\"} 1\n");
}

static void histogram_cumulates_and_counts_what_is_above_all_bounds(void) {
  static const double bounds[] = {0.5, 2};
  struct histogram h;
  struct metrics_page page;
  histogram_init(&h, bounds, 2);
  histogram_observe(&h, 0.5); /* a bound is within its bucket */
  histogram_observe(&h, 1);
  histogram_observe(&h, 8);
  metrics_init(&page);
  metrics_family(&page, "t_seconds", "histogram", "Time.");
  metrics_histogram(&page, &h, LABELS({"p", "q"}));
  expect_page(&page, "# HELP t_seconds Time.\n# TYPE t_seconds histogram\n"
                     "t_seconds_bucket{p=\"q\",le=\"0.5\"} 1\n"
                     "t_seconds_bucket{p=\"q\",le=\"2\"} 2\n"
                     "t_seconds_bucket{p=\"q\",le=\"+Inf\"} 3\n"
                     "t_seconds_sum{p=\"q\"} 9.5\nt_seconds_count{p=\"q\"} 3\n");
}

static void process_tells_of_itself(void) {
  static const char *const names[] = {
      "assent_build_info{version=\"",   "process_open_fds ",
      "process_start_time_seconds ",    "process_cpu_seconds_total ",
      "process_resident_memory_bytes ", "process_max_fds "};
  struct metrics_page page;
  metrics_init(&page);
  metrics_process(&page);
  char *text = metrics_take(&page, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    CU_ASSERT_PTR_NOT_NULL(strstr(text, names[i]));
  const char *started = strstr(text, "\nprocess_start_time_seconds ");
  CU_ASSERT_PTR_NOT_NULL_FATAL(started);
  CU_ASSERT(strtod(strchr(started, ' '), NULL) > 1.6e9);
  free(text);
}

SUITE(metrics, CASE(page_without_families_is_empty),
      CASE(sample_has_its_labels_and_its_shortest_number), CASE(label_values_are_escaped),
      CASE(histogram_cumulates_and_counts_what_is_above_all_bounds), CASE(process_tells_of_itself))
