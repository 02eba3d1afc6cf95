/* common/tracer.c and span.c against a collector: what it gets, and what becomes of spans that it does not
 * take. */
#include "common/tracer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "tests/lib/collector.h"
#include "tests/lib/suite.h"

struct site {
  struct loop *loop;
  struct collector *collector;
  struct tracer *tracer;
  struct loop_timer *look;
  unsigned requests; /* waited for, */
  size_t spans;      /* and this many besides */
  bool flushed;
};

static void site_open(struct site *site, double ratio, const char *const *headers) {
  char url[64];
  *site = (struct site){.loop = loop_new(), .collector = collector_start()};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/v1/traces",
                 (unsigned)collector_port(site->collector));
  site->tracer = tracer_new(site->loop, &(struct tracer_options){.endpoint = url,
                                                                 .service_name = "tested",
                                                                 .headers = headers,
                                                                 .ratio = ratio});
}

static void site_close(struct site *site) {
  tracer_free(site->tracer);
  loop_timer_free(site->look);
  loop_free(site->loop);
  collector_stop(site->collector);
}

static void on_flushed(void *data) {
  struct site *site = data;
  site->flushed = true;
  loop_stop(site->loop);
}

static void flush(struct site *site) {
  tracer_flush(site->tracer, on_flushed, site);
  loop_run(site->loop);
  CU_ASSERT_TRUE(site->flushed);
}

static void look(void *data) {
  struct site *site = data;
  if (collector_requests(site->collector) >= site->requests &&
      collector_span_count(site->collector) >= site->spans)
    loop_stop(site->loop);
  else
    loop_timer_start(site->look, 5);
}

static void run_until(struct site *site, unsigned requests, size_t spans) {
  site->requests = requests;
  site->spans = spans;
  if (!site->look) site->look = loop_timer_new(site->loop, look, site);
  loop_timer_start(site->look, 1);
  loop_run(site->loop);
}

/* assent_trace_spans_total{result=...} */
static double counted(const struct site *site, const char *result) {
  char sample[80];
  struct metrics_page page;
  metrics_init(&page);
  tracer_metrics(&page, site->tracer);
  char *text = metrics_take(&page, NULL);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  (void)snprintf(sample, sizeof sample, "assent_trace_spans_total{result=\"%s\"} ", result);
  const char *at = strstr(text, sample);
  CU_ASSERT_PTR_NOT_NULL_FATAL(at);
  double value = strtod(at + strlen(sample), NULL);
  free(text);
  return value;
}

#define CHECK_COUNTED(site, result, count) CU_ASSERT_EQUAL((int)counted(site, result), count)

static struct span *begin(struct site *site, const char *name, const struct trace_context *parent,
                          struct trace_context *out) {
  return span_begin(site->tracer,
                    &(struct span_start){.name = name, .kind = SPAN_CLIENT, .parent = parent}, out);
}

static void make_spans(struct site *site, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    span_end(begin(site, "one", NULL, NULL));
}

static const char *text_of(const json_t *span, const char *name) {
  const char *text = json_string_value(json_object_get(span, name));
  return text ? text : "";
}

static const json_t *attribute(const json_t *span, const char *key) {
  size_t i;
  const json_t *item;
  json_array_foreach(json_object_get(span, "attributes"), i, item) {
    if (strcmp(text_of(item, "key"), key) == 0) return json_object_get(item, "value");
  }
  return NULL;
}

/* ---- what is sent ----------------------------------------------------------------------------- */

static void span_is_encoded_as_otlp_wants_it(void) {
  struct site site;
  struct trace_context parent, context;
  char id[TRACE_ID_SIZE];
  site_open(&site, 1, NULL);
  CU_ASSERT_TRUE(
      traceparent_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &parent));
  parent.state = "rojo=1";
  int64_t before_us = clock_wall_us();
  struct span *span = begin(&site, "commit \"bank_a\"", &parent, &context);
  CU_ASSERT_PTR_NOT_NULL_FATAL(span);
  span_text(span, "assent.participant", "bank_a");
  span_integer(span, "server.port", 7420);
  span_error(span, "40001");
  span_error(span, "later ones do not count");
  span_end(span);
  flush(&site);
  json_t *spans = collector_spans(site.collector);
  CU_ASSERT_EQUAL_FATAL(json_array_size(spans), 1);
  const json_t *got = json_array_get(spans, 0);
  CU_ASSERT_STRING_EQUAL(text_of(got, "service"), "tested");
  CU_ASSERT_STRING_EQUAL(text_of(got, "traceId"), "0af7651916cd43dd8448eb211c80319c");
  CU_ASSERT_STRING_EQUAL(text_of(got, "parentSpanId"), "b7ad6b7169203331");
  trace_hex(context.span_id, sizeof context.span_id, id);
  CU_ASSERT_STRING_EQUAL(text_of(got, "spanId"), id);
  CU_ASSERT_STRING_NOT_EQUAL(id, "b7ad6b7169203331");
  CU_ASSERT_STRING_EQUAL(text_of(got, "traceState"), "rojo=1");
  CU_ASSERT_STRING_EQUAL(text_of(got, "name"), "commit \"bank_a\"");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(got, "kind")), 3);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(got, "flags")), 1);
  long long start = strtoll(text_of(got, "startTimeUnixNano"), NULL, 10);
  long long end = strtoll(text_of(got, "endTimeUnixNano"), NULL, 10);
  CU_ASSERT(start >= before_us * 1000 && end >= start);
  CU_ASSERT_STRING_EQUAL(text_of(attribute(got, "assent.participant"), "stringValue"), "bank_a");
  CU_ASSERT_STRING_EQUAL(text_of(attribute(got, "server.port"), "intValue"), "7420");
  CU_ASSERT_STRING_EQUAL(text_of(attribute(got, "error.type"), "stringValue"), "40001");
  const json_t *status = json_object_get(got, "status");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "code")), 2);
  CU_ASSERT_STRING_EQUAL(text_of(status, "message"), "40001");
  json_decref(spans);
  CHECK_COUNTED(&site, "exported", 1);
  site_close(&site);
}

static void root_has_no_parent_and_no_error(void) {
  struct site site;
  struct trace_context context;
  site_open(&site, 1, NULL);
  struct span *span = begin(&site, "root", NULL, &context);
  struct span *child = begin(&site, "child", &context, NULL);
  span_link(child, &context);
  span_end(child);
  span_end(span);
  flush(&site);
  json_t *spans = collector_spans(site.collector);
  CU_ASSERT_EQUAL_FATAL(json_array_size(spans), 2);
  const json_t *first = json_array_get(spans, 0), *second = json_array_get(spans, 1);
  CU_ASSERT_PTR_NULL(json_object_get(second, "parentSpanId"));
  CU_ASSERT_PTR_NULL(json_object_get(second, "status"));
  CU_ASSERT_PTR_NULL(json_object_get(second, "links"));
  CU_ASSERT_STRING_EQUAL(text_of(first, "parentSpanId"), text_of(second, "spanId"));
  CU_ASSERT_STRING_EQUAL(text_of(first, "traceId"), text_of(second, "traceId"));
  const json_t *link = json_array_get(json_object_get(first, "links"), 0);
  CU_ASSERT_STRING_EQUAL(text_of(link, "spanId"), text_of(second, "spanId"));
  json_decref(spans);
  site_close(&site);
}

static void headers_of_the_operator_are_sent(void) {
  static const char *const headers[] = {"Authorization: Bearer secret", "X-Tenant: 7", NULL};
  struct site site;
  site_open(&site, 1, headers);
  make_spans(&site, 1);
  flush(&site);
  char *head = collector_head(site.collector);
  CU_ASSERT_EQUAL(strncmp(head, "POST /v1/traces HTTP/1.1\r\n", 26), 0);
  CU_ASSERT_PTR_NOT_NULL(strstr(head, "\r\nContent-Type: application/json\r\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(head, "\r\nAuthorization: Bearer secret\r\n"));
  CU_ASSERT_PTR_NOT_NULL(strstr(head, "\r\nX-Tenant: 7\r\n"));
  free(head);
  site_close(&site);
}

static void check_same(const struct trace_context *a, const struct trace_context *b) {
  char one[TRACEPARENT_SIZE], other[TRACEPARENT_SIZE];
  traceparent_format(a, one);
  traceparent_format(b, other);
  CU_ASSERT_STRING_EQUAL(one, other);
}

/* ---- sampling --------------------------------------------------------------------------------- */

static void parent_that_is_not_sampled_is_passed_on_as_it_is(void) {
  struct site site;
  struct trace_context parent, context;
  site_open(&site, 1, NULL);
  CU_ASSERT_TRUE(
      traceparent_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", &parent));
  CU_ASSERT_PTR_NULL(begin(&site, "none", &parent, &context));
  check_same(&parent, &context);
  site_close(&site);
}

static void ratio_decides_where_there_is_no_parent(void) {
  static const struct {
    double ratio;
    int least, most;
  } cases[] = {{0, 0, 0}, {1, 1000, 1000}, {0.5, 300, 700}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct site site;
    int recorded = 0;
    site_open(&site, cases[i].ratio, NULL);
    for (int n = 0; n < 1000; n++) {
      struct trace_context context;
      struct span *span = begin(&site, "one", NULL, &context);
      CU_ASSERT_EQUAL(span != NULL, (context.flags & TRACE_SAMPLED) != 0);
      recorded += span != NULL;
      span_drop(span);
    }
    CU_ASSERT(recorded >= cases[i].least && recorded <= cases[i].most);
    site_close(&site);
  }
}

static void nothing_happens_without_a_tracer(void) {
  struct trace_context parent, context;
  CU_ASSERT_TRUE(
      traceparent_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &parent));
  struct span *span =
      span_begin(NULL, &(struct span_start){.name = "none", .parent = &parent}, &context);
  CU_ASSERT_PTR_NULL(span);
  check_same(&parent, &context);
  span_text(span, "key", "value");
  span_integer(span, "key", 1);
  span_error(span, "type");
  span_link(span, &parent);
  span_end(span);
  span_drop(span);
}

/* ---- a collector that does not take them ------------------------------------------------------ */

static void batches_are_of_limited_size(void) {
  struct site site;
  site_open(&site, 1, NULL);
  make_spans(&site, 2 * TRACE_BATCH_MAX + 1);
  flush(&site);
  CU_ASSERT_EQUAL(collector_requests(site.collector), 3);
  CU_ASSERT_EQUAL(collector_span_count(site.collector), 2 * TRACE_BATCH_MAX + 1);
  CHECK_COUNTED(&site, "exported", 2 * TRACE_BATCH_MAX + 1);
  site_close(&site);
}

static void queue_is_bounded_and_the_rest_counted(void) {
  struct site site;
  site_open(&site, 1, NULL);
  collector_answer(site.collector, COLLECTOR_HANGS, NULL, NULL);
  make_spans(&site, TRACE_BATCH_MAX);
  run_until(&site, 1, 0);
  make_spans(&site, TRACE_QUEUE_MAX + 7);
  CHECK_COUNTED(&site, "dropped", 7);
  CHECK_COUNTED(&site, "exported", 0);
  flush(&site); /* which the collector does not hold up for long */
  CU_ASSERT_EQUAL(collector_span_count(site.collector), 0);
  site_close(&site);
}

static void batch_is_sent_again_after_a_temporary_refusal(void) {
  static const int temporary[] = {429, 502, 503, 504};
  struct site site;
  site_open(&site, 1, NULL);
  for (size_t i = 0; i < sizeof temporary / sizeof temporary[0]; i++) {
    unsigned before = collector_requests(site.collector);
    collector_answer(site.collector, temporary[i], NULL, NULL);
    make_spans(&site, TRACE_BATCH_MAX);
    run_until(&site, before + 1, 0);
    collector_answer(site.collector, 200, NULL, NULL);
    run_until(&site, 0, (size_t)TRACE_BATCH_MAX * (i + 1));
  }
  flush(&site);
  CU_ASSERT_EQUAL(collector_span_count(site.collector), (size_t)TRACE_BATCH_MAX * 4);
  CHECK_COUNTED(&site, "exported", 4 * TRACE_BATCH_MAX);
  CHECK_COUNTED(&site, "failed", 0);
  site_close(&site);
}

static void retry_after_is_kept_to(void) {
  struct site site;
  site_open(&site, 1, NULL);
  collector_answer(site.collector, 503, "Retry-After: 2\r\n", NULL);
  make_spans(&site, TRACE_BATCH_MAX);
  run_until(&site, 1, 0);
  uint64_t refused_us = clock_monotonic_us();
  collector_answer(site.collector, 200, NULL, NULL);
  run_until(&site, 0, TRACE_BATCH_MAX);
  CU_ASSERT(clock_monotonic_us() - refused_us > 1900000); /* without it, at most 1 s */
  site_close(&site);
}

static void refused_batch_is_not_sent_again(void) {
  struct site site;
  site_open(&site, 1, NULL);
  collector_answer(site.collector, 400, NULL, NULL);
  make_spans(&site, 3);
  flush(&site);
  CU_ASSERT_EQUAL(collector_requests(site.collector), 1);
  CHECK_COUNTED(&site, "rejected", 3);
  CHECK_COUNTED(&site, "exported", 0);
  site_close(&site);
}

static void spans_the_collector_rejects_are_counted_so(void) {
  struct site site;
  site_open(&site, 1, NULL);
  collector_answer(site.collector, 200, NULL, "{\"partialSuccess\":{\"rejectedSpans\":\"2\"}}");
  make_spans(&site, 5);
  flush(&site);
  CHECK_COUNTED(&site, "rejected", 2);
  CHECK_COUNTED(&site, "exported", 3);
  site_close(&site);
}

static void collector_that_is_away_costs_the_spans_only(void) {
  struct loop *loop = loop_new();
  struct site site = {.loop = loop};
  site.tracer =
      tracer_new(loop, &(struct tracer_options){.endpoint = "http://127.0.0.1:9/v1/traces",
                                                .service_name = "tested",
                                                .ratio = 1});
  make_spans(&site, 3);
  flush(&site);
  CHECK_COUNTED(&site, "failed", 3);
  tracer_free(site.tracer);
  loop_free(loop);
}

static void flush_of_nothing_ends_at_once(void) {
  struct site site;
  site_open(&site, 1, NULL);
  flush(&site);
  CU_ASSERT_EQUAL(collector_requests(site.collector), 0);
  site_close(&site);
}

SUITE(tracer, CASE(span_is_encoded_as_otlp_wants_it), CASE(root_has_no_parent_and_no_error),
      CASE(headers_of_the_operator_are_sent),
      CASE(parent_that_is_not_sampled_is_passed_on_as_it_is),
      CASE(ratio_decides_where_there_is_no_parent), CASE(nothing_happens_without_a_tracer),
      CASE(batches_are_of_limited_size), CASE(queue_is_bounded_and_the_rest_counted),
      CASE(batch_is_sent_again_after_a_temporary_refusal), CASE(retry_after_is_kept_to),
      CASE(refused_batch_is_not_sent_again), CASE(spans_the_collector_rejects_are_counted_so),
      CASE(collector_that_is_away_costs_the_spans_only), CASE(flush_of_nothing_ends_at_once))
