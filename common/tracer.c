/* The queue and its way out: see tracer.h.
 *
 * Invariants
 *  1. At most one batch is under way; its spans are out of the queue, and its body is kept until it is
 *     delivered or given up.
 *  2. Every span that has ended is counted once: exported, rejected (by the collector), failed (not
 *     delivered), or dropped (no place in the queue, or no memory).
 * A span waits at most TRACE_DELAY_MS before its batch is tried, unless another batch is.
 */
#include "common/tracer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/id.h"
#include "common/json.h"
#include "common/log.h"
#include "common/span.h"
#include "common/version.h"

enum { RESPONSE_BYTES_MAX = 1 << 16, RANDOM_BYTES = 256 };

enum result { EXPORTED, REJECTED, FAILED, DROPPED, RESULT_COUNT };

struct waiting_span {
  char *json; /* owned */
  size_t length;
};

struct tracer {
  struct loop *loop;
  struct http_client *client;
  struct loop_timer *timer; /* idle: when a batch is due; a batch waits to be tried again: when */
  char *endpoint;
  char *head;                           /* of every body, up to the array of spans */
  char *headers[TRACE_HEADERS_MAX + 1]; /* ends with NULL */
  uint64_t threshold;                   /* of 2^56: so many of the traces begun here are recorded */

  struct waiting_span queue[TRACE_QUEUE_MAX]; /* a ring */
  unsigned first, count;

  char *body; /* of the batch under way; NULL: there is none */
  size_t body_length;
  unsigned batch, attempts;
  bool sent;    /* and its answer is to come */
  bool failing; /* has been told */
  bool closing;

  struct loop_timer *flush_timer; /* runs: somebody waits for the end */
  loop_fn flushed;
  void *flushed_data;

  uint64_t spans[RESULT_COUNT];
  uint8_t random[RANDOM_BYTES];
  unsigned random_used;
};

/* ---- ids and sampling ------------------------------------------------------------------------- */

static void make_random(struct tracer *tracer, uint8_t *out, unsigned size) {
  if (tracer->random_used + size > RANDOM_BYTES) {
    id_random(tracer->random, RANDOM_BYTES);
    tracer->random_used = 0;
  }
  memcpy(out, tracer->random + tracer->random_used, size);
  tracer->random_used += size;
}

void tracer_make_span_id(struct tracer *tracer, uint8_t out[8]) {
  static const uint8_t none[8] = {0};
  do
    make_random(tracer, out, 8);
  while (memcmp(out, none, sizeof none) == 0);
}

/* OpenTelemetry's consistent probability sampling: the last 7 bytes of the id decide, so that whoever
 * else decides by the same ratio decides alike. */
static bool is_chosen(const struct tracer *tracer, const uint8_t trace_id[16]) {
  uint64_t value = 0;
  for (int i = 9; i < 16; i++)
    value = value << 8 | trace_id[i];
  return value >= (UINT64_C(1) << 56) - tracer->threshold;
}

void tracer_begin_trace(struct tracer *tracer, struct trace_context *out) {
  *out = (struct trace_context){.flags = TRACE_RANDOM};
  make_random(tracer, out->trace_id, sizeof out->trace_id);
  out->trace_id[0] |= 1; /* never all zero */
  tracer_make_span_id(tracer, out->span_id);
  if (is_chosen(tracer, out->trace_id)) out->flags |= TRACE_SAMPLED;
}

/* ---- a batch ---------------------------------------------------------------------------------- */

static void send_batch(struct tracer *tracer);

static void count(struct tracer *tracer, enum result result, unsigned spans) {
  tracer->spans[result] += spans;
}

/* Takes up to TRACE_BATCH_MAX out of the queue. */
static void make_batch(struct tracer *tracer) {
  struct json_writer w;
  assert(!tracer->body && tracer->count > 0);
  json_writer_init(&w);
  json_write_raw(&w, tracer->head);
  w.comma = false;
  for (tracer->batch = 0; tracer->batch < TRACE_BATCH_MAX && tracer->count > 0; tracer->batch++) {
    struct waiting_span *span = &tracer->queue[tracer->first];
    json_write_raw(&w, span->json);
    free(span->json);
    tracer->first = (tracer->first + 1) % TRACE_QUEUE_MAX;
    tracer->count--;
  }
  w.comma = false;
  json_write_raw(&w, "]}]}]}");
  tracer->attempts = 0;
  tracer->body = json_writer_take(&w, &tracer->body_length);
  if (!tracer->body) count(tracer, DROPPED, tracer->batch);
}

static void flush_review(struct tracer *tracer) {
  if (!tracer->flushed || tracer->body || tracer->count > 0) return;
  loop_fn fn = tracer->flushed;
  tracer->flushed = NULL;
  loop_timer_stop(tracer->flush_timer);
  fn(tracer->flushed_data);
}

/* The next one: at once when there are enough, or somebody waits for the end. */
static void go_on(struct tracer *tracer) {
  if (tracer->body || tracer->closing) return;
  if (tracer->count >= TRACE_BATCH_MAX || (tracer->flushed && tracer->count > 0)) {
    make_batch(tracer);
    if (tracer->body) {
      send_batch(tracer);
      return;
    }
  }
  if (tracer->count > 0) loop_timer_start(tracer->timer, TRACE_DELAY_MS);
  flush_review(tracer);
}

static void batch_end(struct tracer *tracer, unsigned rejected, enum result rest) {
  if (rejected > tracer->batch) rejected = tracer->batch;
  count(tracer, REJECTED, rejected);
  count(tracer, rest, tracer->batch - rejected);
  free(tracer->body);
  tracer->body = NULL;
  go_on(tracer);
}

/* Told when it begins and when it is over, not at every attempt. */
static void note_failing(struct tracer *tracer, bool failing, int status, const char *why) {
  if (failing == tracer->failing) return;
  tracer->failing = failing;
  if (failing)
    log_warn("trace_export_failed", "endpoint", "s", tracer->endpoint, "status", "d",
             (int64_t)status, "error", "s", why, NULL);
  else
    log_info("trace_export_works", "endpoint", "s", tracer->endpoint, NULL);
}

/* partialSuccess.rejectedSpans: a 64-bit integer, so a string; or, of a careless collector, a number. */
static unsigned rejected_spans(const char *body, size_t length) {
  json_t *json = json_parse(body, length, NULL);
  const json_t *partial = json_object_get(json, "partialSuccess");
  const json_t *value = json_object_get(partial, "rejectedSpans");
  const char *text = json_string_value(value);
  long long rejected = text ? strtoll(text, NULL, 10) : json_integer_value(value);
  json_decref(json);
  return rejected > 0 && rejected < TRACE_BATCH_MAX ? (unsigned)rejected
         : rejected > 0                             ? TRACE_BATCH_MAX
                                                    : 0;
}

/* Of OTLP: what may be sent again. */
static bool is_temporary(int status) {
  return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

/* Doubled each time, less up to half of it by chance; at least what the collector asks for. */
static uint64_t retry_delay_ms(struct tracer *tracer) {
  uint64_t delay = (uint64_t)TRACE_RETRY_MS_MIN << (tracer->attempts - 1);
  uint64_t asked = (uint64_t)http_client_retry_after_s(tracer->client) * 1000;
  uint8_t chance;
  make_random(tracer, &chance, 1);
  delay -= delay / 2 * chance / 256;
  if (asked > delay) delay = asked;
  return delay < TRACE_RETRY_MS_MAX ? delay : TRACE_RETRY_MS_MAX;
}

static void answered(void *data, int status, const char *body, size_t length,
                     const struct error *err) {
  struct tracer *tracer = data;
  tracer->sent = false;
  if (tracer->closing) return;
  if (status >= 200 && status < 300) {
    note_failing(tracer, false, status, "");
    batch_end(tracer, rejected_spans(body, length), EXPORTED);
    return;
  }
  note_failing(tracer, true, status, err ? err->text : "");
  if (!is_temporary(status))
    batch_end(tracer, tracer->batch, REJECTED);
  else if (tracer->attempts >= TRACE_ATTEMPTS_MAX || tracer->flushed)
    batch_end(tracer, 0, FAILED);
  else
    loop_timer_start(tracer->timer, retry_delay_ms(tracer));
}

static void send_batch(struct tracer *tracer) {
  char *copy = malloc(tracer->body_length + 1);
  if (!copy) {
    batch_end(tracer, 0, DROPPED);
    return;
  }
  memcpy(copy, tracer->body, tracer->body_length + 1);
  loop_timer_stop(tracer->timer);
  tracer->attempts++;
  tracer->sent = true;
  http_client_send_headers(tracer->client, (const char *const *)tracer->headers, tracer->endpoint,
                           copy, tracer->body_length, TRACE_TIMEOUT_MS, RESPONSE_BYTES_MAX,
                           answered, tracer);
}

static void on_timer(void *data) {
  struct tracer *tracer = data;
  assert(!tracer->sent);
  if (!tracer->body && tracer->count > 0) make_batch(tracer);
  if (tracer->body)
    send_batch(tracer);
  else
    go_on(tracer);
}

void tracer_take(struct tracer *tracer, char *json, size_t length) {
  if (!json || tracer->count == TRACE_QUEUE_MAX) {
    free(json);
    count(tracer, DROPPED, 1);
    return;
  }
  tracer->queue[(tracer->first + tracer->count++) % TRACE_QUEUE_MAX] =
      (struct waiting_span){json, length};
  if (tracer->body) return;
  if (tracer->count == 1) loop_timer_start(tracer->timer, TRACE_DELAY_MS);
  if (tracer->count == TRACE_BATCH_MAX) loop_timer_start(tracer->timer, 0);
}

/* ---- flush ------------------------------------------------------------------------------------ */

static void on_flush_over(void *data) {
  struct tracer *tracer = data;
  loop_fn fn = tracer->flushed;
  tracer->flushed = NULL;
  log_warn("trace_spans_left", "count", "d",
           (int64_t)tracer->count + (tracer->body ? (int64_t)tracer->batch : 0), NULL);
  if (fn) fn(tracer->flushed_data);
}

void tracer_flush(struct tracer *tracer, loop_fn fn, void *data) {
  assert(!tracer->flushed);
  tracer->flushed = fn;
  tracer->flushed_data = data;
  loop_timer_start(tracer->flush_timer, TRACE_FLUSH_MS);
  /* What waits to be tried again is, at once, and not again. */
  if (!tracer->sent) loop_timer_start(tracer->timer, 0);
}

/* ---- make, free ------------------------------------------------------------------------------- */

static char *must_copy(const char *text) {
  char *copy = strdup(text);
  if (!copy) abort(); /* a few bytes, at start or on SIGHUP */
  return copy;
}

/* Who it is that tells of these spans. */
static char *make_head(const char *service_name) {
  struct json_writer w;
  char instance[RUN_ID_SIZE];
  run_id_make(instance);
  json_writer_init(&w);
  json_write_raw(&w, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
  w.comma = false;
  otlp_text(&w, "service.name", service_name);
  otlp_text(&w, "service.version", ASSENT_VERSION);
  otlp_text(&w, "service.instance.id", instance);
  w.comma = false;
  json_write_raw(&w, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"assent\",\"version\":");
  w.comma = false;
  json_write_string(&w, ASSENT_VERSION);
  w.comma = false;
  json_write_raw(&w, "},\"spans\":[");
  char *head = json_writer_take(&w, NULL);
  if (!head) abort();
  return head;
}

void tracer_set_headers(struct tracer *tracer, const char *const *headers) {
  for (int i = 0; tracer->headers[i]; i++)
    free(tracer->headers[i]);
  memset(tracer->headers, 0, sizeof tracer->headers);
  for (int i = 0; headers && headers[i]; i++) {
    assert(i < TRACE_HEADERS_MAX);
    tracer->headers[i] = must_copy(headers[i]);
  }
}

struct tracer *tracer_new(struct loop *loop, const struct tracer_options *options) {
  struct tracer *tracer = calloc(1, sizeof *tracer);
  if (!tracer) abort();
  tracer->loop = loop;
  tracer->endpoint = must_copy(options->endpoint);
  tracer->head = make_head(options->service_name);
  tracer_set_headers(tracer, options->headers);
  tracer->threshold = (uint64_t)(options->ratio * (double)(UINT64_C(1) << 56));
  tracer->random_used = RANDOM_BYTES;
  tracer->timer = loop_timer_new(loop, on_timer, tracer);
  tracer->flush_timer = loop_timer_new(loop, on_flush_over, tracer);
  tracer->client = http_client_new(loop);
  http_client_identify(tracer->client, &options->identity);
  return tracer;
}

void tracer_free(struct tracer *tracer) {
  if (!tracer) return;
  tracer->closing = true;
  http_client_free(tracer->client);
  loop_timer_free(tracer->timer);
  loop_timer_free(tracer->flush_timer);
  for (; tracer->count > 0; tracer->count--) {
    free(tracer->queue[tracer->first].json);
    tracer->first = (tracer->first + 1) % TRACE_QUEUE_MAX;
  }
  tracer_set_headers(tracer, NULL);
  free(tracer->body);
  free(tracer->head);
  free(tracer->endpoint);
  free(tracer);
}

/* ---- figures ---------------------------------------------------------------------------------- */

void tracer_metrics(struct metrics_page *page, const struct tracer *tracer) {
  static const char *const results[RESULT_COUNT] = {"exported", "rejected", "failed", "dropped"};
  metrics_family(page, "assent_trace_spans_total", "counter",
                 "Spans that have ended, by what became of them: exported, rejected (by the "
                 "collector), failed (not delivered), dropped (too many waited).");
  for (int i = 0; i < RESULT_COUNT; i++)
    metrics_sample(page, tracer ? (double)tracer->spans[i] : 0, LABELS({"result", results[i]}));
  metrics_single(page, "assent_trace_spans_waiting", "gauge", "Spans not delivered yet.",
                 tracer ? tracer->count + (tracer->body ? tracer->batch : 0) : 0);
}
