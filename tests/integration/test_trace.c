/* Tracing, against a collector: whose child each span is, what is passed on, and that no transaction waits
 * for a collector, or fails by one. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/collector.h"
#include "tests/lib/world.h"

#define TRACE_A  "0af7651916cd43dd8448eb211c80319c"
#define SPAN_A   "b7ad6b7169203331"
#define TRACE_B  "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN_B   "00f067aa0ba902b7"
#define FROM_A   "traceparent: 00-" TRACE_A "-" SPAN_A "-01\r\n"
#define ONE_LESS "'sql':'UPDATE account SET balance = balance - 1 WHERE id = 1'"
#define FROM_B   "traceparent: 00-" TRACE_B "-" SPAN_B "-01\r\n"

/* ---- a world that is traced ------------------------------------------------------------------- */

struct traced {
  struct collector *collector;
  struct world *world;
};

enum who { COORDINATOR_TELLS = 1, AGENTS_TELL = 2, ALL_TELL = 3 };

/* `more`: further lines of [coordinator], or "". */
static struct traced open_traced(enum world_mode mode, enum who who, const char *more,
                                 const char *crash) {
  static char coordinator[512], agent[256]; /* the world reads them at each start of a daemon */
  struct traced traced = {.collector = collector_start()};
  unsigned port = collector_port(traced.collector);
  *coordinator = *agent = '\0';
  if (who & COORDINATOR_TELLS)
    (void)snprintf(coordinator, sizeof coordinator,
                   "trace_endpoint = http://127.0.0.1:%u/v1/traces\n", port);
  (void)strncat(coordinator, more, sizeof coordinator - strlen(coordinator) - 1);
  if (who & AGENTS_TELL)
    (void)snprintf(agent, sizeof agent, "trace_endpoint = http://127.0.0.1:%u/v1/traces\n", port);
  traced.world =
      world_open(mode,
                 &(struct world_options){.settings = coordinator, .agent = agent, .crash = crash});
  return traced;
}

static void close_traced(struct traced *traced) {
  world_close(traced->world);
  collector_stop(traced->collector);
}

/* All spans, once there are so many. Owner: the test, json_decref(). */
static json_t *wait_for_spans(struct traced *traced, size_t count) {
  UNTIL(collector_span_count(traced->collector) >= count);
  return collector_spans(traced->collector);
}

/* By the coordinator. */
static bool is_told(struct traced *traced, const char *name) {
  size_t i;
  json_t *span;
  bool told = false;
  json_t *spans = collector_spans(traced->collector);
  json_array_foreach(spans, i, span) {
    told |= strcmp(json_string_value(json_object_get(span, "name")), name) == 0 &&
            strcmp(json_string_value(json_object_get(span, "service")), "assentd") == 0;
  }
  json_decref(spans);
  return told;
}

/* The same, once a transaction has ended and its request has been answered. */
static json_t *wait_for_transaction(struct traced *traced) {
  UNTIL(is_told(traced, "transaction") && is_told(traced, "POST /v1/transactions"));
  return collector_spans(traced->collector);
}

static double sample(struct world *w, enum world_target target, const char *name) {
  struct api *api = w->api;
  if (target != COORDINATOR)
    api = api_new_of_agent(api_text(w->api, "http://127.0.0.1:%u", w->ports[target]));
  const char *at = strstr(api_get(api, "/metrics")->text, name);
  double value = at ? strtod(at + strlen(name), NULL) : -1;
  if (target != COORDINATOR) api_free(api);
  return value;
}

static double spans_counted(struct world *w, const char *result) {
  return sample(w, COORDINATOR,
                api_text(w->api, "\nassent_trace_spans_total{result=\"%s\"} ", result));
}

/* ---- spans ------------------------------------------------------------------------------------ */

static const char *text_of(const json_t *span, const char *name) {
  const char *text = json_string_value(json_object_get(span, name));
  return text ? text : "";
}

static long long time_of(const json_t *span, const char *name) {
  return strtoll(text_of(span, name), NULL, 10);
}

static long long start_of(const json_t *span) {
  return time_of(span, "startTimeUnixNano");
}

static long long end_of(const json_t *span) {
  return time_of(span, "endTimeUnixNano");
}

/* Strings and integers, as text; "": there is none. */
static const char *attribute(const json_t *span, const char *key) {
  size_t i;
  const json_t *item;
  json_array_foreach(json_object_get(span, "attributes"), i, item) {
    if (strcmp(text_of(item, "key"), key) != 0) continue;
    const json_t *value = json_object_get(item, "value");
    return *text_of(value, "stringValue") ? text_of(value, "stringValue")
                                          : text_of(value, "intValue");
  }
  return "";
}

/* The only one of this name, service, and participant ("": any). */
static const json_t *find_span(const json_t *spans, const char *service, const char *name,
                               const char *participant, unsigned line) {
  size_t i;
  const json_t *span, *found = NULL;
  unsigned count = 0;
  json_array_foreach(spans, i, span) {
    if (strcmp(text_of(span, "name"), name) != 0 || strcmp(text_of(span, "service"), service) != 0)
      continue;
    if (*participant && strcmp(attribute(span, "assent.participant"), participant) != 0) continue;
    found = span;
    count++;
  }
  if (count == 1) return found;
  char *all = json_dumps(spans, JSON_INDENT(1));
  check_failed(__FILE__, line, true, "%u spans %s of %s at %s, in %s", count, name, service,
               participant, all);
  free(all);
  return NULL;
}
#define SPAN(spans, service, name, participant)                                                    \
  find_span(spans, service, name, participant, __LINE__)

static void check_child(const json_t *span, const json_t *parent, int kind, unsigned line) {
  bool good = strcmp(text_of(span, "traceId"), text_of(parent, "traceId")) == 0 &&
              strcmp(text_of(span, "parentSpanId"), text_of(parent, "spanId")) == 0 &&
              json_integer_value(json_object_get(span, "kind")) == kind;
  if (!good)
    check_failed(__FILE__, line, false, "%s is no child of kind %d of %s", text_of(span, "name"),
                 kind, text_of(parent, "name"));
  bool inside = start_of(span) >= start_of(parent) && end_of(span) >= start_of(span);
  if (!inside)
    check_failed(__FILE__, line, false, "%s begins before %s", text_of(span, "name"),
                 text_of(parent, "name"));
}
#define CHECK_CHILD(span, parent, kind) check_child(span, parent, kind, __LINE__)

static void check_error(const json_t *span, const char *type) {
  const json_t *status = json_object_get(span, "status");
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(status, "code")), *type ? 2 : 0);
  CU_ASSERT_STRING_EQUAL(attribute(span, "error.type"), type);
}

/* No statement, no parameter, no word of a database's error. */
static void check_discreet(const json_t *spans) {
  static const char *const secrets[] = {"account", "balance", "UPDATE", "violates",
                                        "471108154711081"};
  char *all = json_dumps(spans, 0);
  CU_ASSERT_PTR_NOT_NULL_FATAL(all);
  for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++)
    if (strstr(all, secrets[i]))
      check_failed(__FILE__, __LINE__, false, "%s is told in %s", secrets[i], all);
  free(all);
}

/* ---- whose child is what ---------------------------------------------------------------------- */

enum { INTERNAL = 1, SERVER = 2, CLIENT = 3 };

/* Which database it is, as a client of it sees it. */
static void check_place(const json_t *span, struct world *w, int bank) {
  char address[512];
  PGconn *session = world_connect(w, bank);
  const char *host = PQhost(session);
  (void)snprintf(address, sizeof address, host[0] == '/' ? "%s/.s.PGSQL.%s" : "%s", host,
                 PQport(session));
  CU_ASSERT_STRING_EQUAL(attribute(span, "server.address"), address);
  CU_ASSERT_STRING_EQUAL(attribute(span, "server.port"), PQport(session));
  CU_ASSERT_STRING_EQUAL(attribute(span, "db.namespace"), PQdb(session));
  PQfinish(session);
}

/* What the participant does, as far as the mode shows it: from the coordinator's call to the database. */
static void check_branch(const json_t *spans, struct world *w, enum world_mode mode,
                         const json_t *call, const char *participant, const char *served,
                         const char *operation) {
  const char *service = mode == WORLD_AGENTS ? "assent-agent" : "assentd";
  const json_t *parent = call;
  if (mode == WORLD_AGENTS) {
    parent = SPAN(spans, service, served, participant);
    CHECK_CHILD(parent, call, SERVER);
    CU_ASSERT_STRING_EQUAL(attribute(call, "server.address"), "127.0.0.1");
    CU_ASSERT(strtol(attribute(call, "server.port"), NULL, 10) > 0);
  }
  const json_t *work = SPAN(spans, service, operation, participant);
  CHECK_CHILD(work, parent, CLIENT);
  CU_ASSERT_STRING_EQUAL(attribute(work, "db.system.name"), "postgresql");
  check_place(work, w, strcmp(participant, "bank_a") == 0 ? BANK_A : BANK_B);
  CU_ASSERT(end_of(work) <= end_of(parent));
}

static void committed_one_is_told_step_by_step(enum world_mode mode) {
  static const char *const banks[] = {"bank_a", "bank_b"};
  struct traced traced = open_traced(mode, ALL_TELL, "", NULL);
  const struct reply *reply =
      api_post_with(traced.world->api, "/v1/transactions", FROM_A, ONE_CALL("", TRANSFER(47)));
  CHECK_STATUS(reply, 200);
  json_t *spans = wait_for_spans(&traced, mode == WORLD_AGENTS ? 15 : 11);
  const json_t *request = SPAN(spans, "assentd", "POST /v1/transactions", "");
  CU_ASSERT_STRING_EQUAL(text_of(request, "traceId"), TRACE_A);
  CU_ASSERT_STRING_EQUAL(text_of(request, "parentSpanId"), SPAN_A);
  CU_ASSERT_EQUAL(json_integer_value(json_object_get(request, "kind")), SERVER);
  CU_ASSERT_STRING_EQUAL(attribute(request, "http.request.method"), "POST");
  CU_ASSERT_STRING_EQUAL(attribute(request, "http.route"), "/v1/transactions");
  CU_ASSERT_STRING_EQUAL(attribute(request, "http.response.status_code"), "200");
  CU_ASSERT_STRING_EQUAL(attribute(request, "assent.transaction.id"), reply_string(reply, "/id"));
  const json_t *transaction = SPAN(spans, "assentd", "transaction", "");
  CHECK_CHILD(transaction, request, INTERNAL);
  CU_ASSERT_STRING_EQUAL(attribute(transaction, "assent.outcome"), "committed");
  const json_t *log = SPAN(spans, "assentd", "log decision", "");
  CHECK_CHILD(log, transaction, INTERNAL);
  for (int i = 0; i < 2; i++) {
    const char *served = i == 0 ? "commit bank_a" : "commit bank_b";
    const json_t *prepare =
        SPAN(spans, "assentd", i == 0 ? "prepare bank_a" : "prepare bank_b", "");
    const json_t *commit = SPAN(spans, "assentd", served, "");
    CHECK_CHILD(prepare, transaction, CLIENT);
    CHECK_CHILD(commit, transaction, CLIENT);
    CU_ASSERT_STRING_EQUAL(attribute(prepare, "assent.vote"), "yes");
    CU_ASSERT_STRING_EQUAL(attribute(commit, "assent.outcome"), "committed");
    CU_ASSERT(end_of(prepare) <= start_of(log));
    CU_ASSERT(end_of(log) <= start_of(commit));
    CU_ASSERT(end_of(commit) <= end_of(transaction));
    check_error(prepare, "");
    check_error(commit, "");
    check_branch(spans, traced.world, mode, prepare, banks[i], i == 0 ? "run bank_a" : "run bank_b",
                 "PREPARE TRANSACTION");
    check_branch(spans, traced.world, mode, commit, banks[i], served, "COMMIT PREPARED");
  }
  check_discreet(spans);
  json_decref(spans);
  close_traced(&traced);
}
IN_BOTH_MODES(committed_one_is_told_step_by_step)

static void aborted_one_says_whose_fault_it_was(enum world_mode mode) {
  struct traced traced = open_traced(mode, COORDINATOR_TELLS, "", NULL);
  const struct reply *reply = api_post_with(traced.world->api, "/v1/transactions", FROM_A,
                                            ONE_CALL("", TRANSFER(471108154711081)));
  CHECK_PROBLEM(reply, 409, "aborted");
  json_t *spans = wait_for_transaction(&traced);
  const json_t *prepare = SPAN(spans, "assentd", "prepare bank_a", "");
  check_error(prepare, "23514");
  CU_ASSERT_STRING_EQUAL(attribute(prepare, "assent.cause"), "statement");
  CU_ASSERT_STRING_EQUAL(attribute(prepare, "assent.vote"), "no");
  check_error(SPAN(spans, "assentd", "transaction", ""), "23514");
  check_error(SPAN(spans, "assentd", "POST /v1/transactions", ""), ""); /* 4xx is the caller's */
  check_discreet(spans);
  json_decref(spans);
  close_traced(&traced);
}
IN_BOTH_MODES(aborted_one_says_whose_fault_it_was)

/* A statement without a traceparent is in the transaction's trace; a commit from another trace stays there,
 * and points to the transaction. */
static void later_requests_join_the_transaction_or_point_to_it(void) {
  struct traced traced = open_traced(WORLD_EMBEDDED, COORDINATOR_TELLS, "", NULL);
  struct world *w = traced.world;
  const struct reply *begun = api_post_with(w->api, "/v1/transactions", FROM_A, "{}");
  CHECK_STATUS(begun, 201);
  const char *id = reply_string(begun, "/id");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", "'sql':'UPDATE account SET balance = 1'"), 200);
  CHECK_STATUS(
      api_post_with(w->api, api_text(w->api, "/v1/transactions/%s/commit", id), FROM_B, "{}"), 200);
  json_t *spans = wait_for_spans(&traced, 11);
  const json_t *transaction = SPAN(spans, "assentd", "transaction", "");
  const json_t *statement = SPAN(spans, "assentd", "POST /v1/transactions/{id}/statements", "");
  const json_t *commit = SPAN(spans, "assentd", "POST /v1/transactions/{id}/commit", "");
  CHECK_CHILD(statement, transaction, SERVER);
  CHECK_CHILD(SPAN(spans, "assentd", "execute bank_a", ""), transaction, CLIENT);
  CU_ASSERT_STRING_EQUAL(text_of(commit, "traceId"), TRACE_B);
  CU_ASSERT_STRING_EQUAL(text_of(commit, "parentSpanId"), SPAN_B);
  const json_t *link = json_array_get(json_object_get(commit, "links"), 0);
  CU_ASSERT_STRING_EQUAL(text_of(link, "traceId"), TRACE_A);
  CU_ASSERT_STRING_EQUAL(text_of(link, "spanId"), text_of(transaction, "spanId"));
  json_decref(spans);
  close_traced(&traced);
}

/* ---- after a restart -------------------------------------------------------------------------- */

/* Killed at this point, while one transaction was on its way; and started again. */
static void restart_amid_a_transaction(struct traced *traced) {
  struct world *w = traced->world;
  struct async *call =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'amid',", TRANSFER(1)));
  world_wait_crashed(w, COORDINATOR);
  (void)async_finish(call);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
}

static bool begins_a_trace(const json_t *span) {
  return !json_object_get(span, "parentSpanId") && strlen(text_of(span, "traceId")) == 32;
}

static void decided_one_is_finished_in_a_trace_of_its_own(enum world_mode mode) {
  struct traced traced = open_traced(mode, ALL_TELL, "", "C5");
  restart_amid_a_transaction(&traced);
  UNTIL(is_told(&traced, "recover transaction") && is_told(&traced, "commit bank_a") &&
        is_told(&traced, "commit bank_b"));
  json_t *spans = collector_spans(traced.collector);
  const json_t *recovered = SPAN(spans, "assentd", "recover transaction", "");
  CU_ASSERT_TRUE(begins_a_trace(recovered));
  CU_ASSERT_STRING_EQUAL(attribute(recovered, "assent.transaction.id"),
                         json_string_value(
                             json_object_get(api_find(traced.world->api, "amid"), "id")));
  CU_ASSERT_STRING_EQUAL(attribute(recovered, "assent.outcome"), "committed");
  CHECK_CHILD(SPAN(spans, "assentd", "commit bank_a", ""), recovered, CLIENT);
  CHECK_CHILD(SPAN(spans, "assentd", "commit bank_b", ""), recovered, CLIENT);
  CHECK_MOVED(traced.world, 1);
  json_decref(spans);
  close_traced(&traced);
}
IN_BOTH_MODES(decided_one_is_finished_in_a_trace_of_its_own)

/* Prepared, and not decided: the log knows nothing of it. */
static void prepared_one_is_rolled_back_in_a_trace_of_its_own(enum world_mode mode) {
  struct traced traced = open_traced(mode, ALL_TELL, "", "C3");
  restart_amid_a_transaction(&traced);
  UNTIL(is_told(&traced, "abort bank_a") && is_told(&traced, "abort bank_b"));
  json_t *spans = collector_spans(traced.collector);
  const json_t *a = SPAN(spans, "assentd", "abort bank_a", "");
  const json_t *b = SPAN(spans, "assentd", "abort bank_b", "");
  CU_ASSERT_TRUE(begins_a_trace(a) && begins_a_trace(b));
  CU_ASSERT_STRING_EQUAL(attribute(a, "assent.outcome"), "aborted");
  CU_ASSERT_EQUAL(strlen(attribute(a, "assent.transaction.id")), 36);
  CU_ASSERT_STRING_EQUAL(attribute(a, "assent.transaction.id"),
                         attribute(b, "assent.transaction.id"));
  CHECK_MOVED(traced.world, 0);
  json_decref(spans);
  close_traced(&traced);
}
IN_BOTH_MODES(prepared_one_is_rolled_back_in_a_trace_of_its_own)

/* ---- what a trace begins with ----------------------------------------------------------------- */

static void check_begins_a_trace(const char *headers) {
  struct traced traced = open_traced(WORLD_EMBEDDED, COORDINATOR_TELLS, "", NULL);
  CHECK_STATUS(api_post_with(traced.world->api, "/v1/transactions", headers,
                             ONE_CALL("", BRANCH("bank_a", CREDIT(1)))),
               200);
  json_t *spans = wait_for_transaction(&traced);
  const json_t *request = SPAN(spans, "assentd", "POST /v1/transactions", "");
  CU_ASSERT_PTR_NULL(json_object_get(request, "parentSpanId"));
  CU_ASSERT_PTR_NULL(json_object_get(request, "traceState"));
  CU_ASSERT_STRING_NOT_EQUAL(text_of(request, "traceId"), TRACE_A);
  CU_ASSERT_EQUAL(strlen(text_of(request, "traceId")), 32);
  CHECK_CHILD(SPAN(spans, "assentd", "transaction", ""), request, INTERNAL);
  json_decref(spans);
  close_traced(&traced);
}

static void request_without_a_traceparent_begins_a_trace(void) {
  check_begins_a_trace("");
}

static void malformed_traceparent_begins_a_trace(void) {
  check_begins_a_trace("traceparent: 00-" TRACE_A "-0000000000000000-01\r\ntracestate: a=1\r\n");
}

static void repeated_traceparent_begins_a_trace(void) {
  check_begins_a_trace(FROM_A FROM_A);
}

static void nothing_is_told_of_what_is_not_sampled(void) {
  struct traced traced = open_traced(WORLD_AGENTS, ALL_TELL, "trace_sample_ratio = 0\n", NULL);
  struct world *w = traced.world;
  static const char not_sampled[] = "traceparent: 00-" TRACE_B "-" SPAN_B "-00\r\n";
  CHECK_STATUS(api_post_with(w->api, "/v1/transactions", not_sampled, ONE_CALL("", TRANSFER(1))),
               200);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_STATUS(api_post_with(w->api, "/v1/transactions", FROM_A, ONE_CALL("", TRANSFER(1))), 200);
  json_t *spans = wait_for_spans(&traced, 15); /* of the last one only */
  for (size_t i = 0; i < json_array_size(spans); i++)
    CU_ASSERT_STRING_EQUAL(text_of(json_array_get(spans, i), "traceId"), TRACE_A);
  json_decref(spans);
  close_traced(&traced);
}

/* The coordinator makes no spans: then its agents' are the client's children. */
static void trace_is_passed_on_by_who_does_not_take_part(void) {
  struct traced traced = open_traced(WORLD_AGENTS, AGENTS_TELL, "", NULL);
  CHECK_STATUS(api_post_with(traced.world->api, "/v1/transactions",
                             FROM_A "tracestate: rojo=1\r\ntracestate: congo=t61rcWkgMzE\r\n",
                             ONE_CALL("", TRANSFER(1))),
               200);
  json_t *spans = wait_for_spans(&traced, 8);
  const json_t *run = SPAN(spans, "assent-agent", "run bank_a", "bank_a");
  const json_t *commit = SPAN(spans, "assent-agent", "commit bank_b", "");
  CU_ASSERT_STRING_EQUAL(text_of(run, "traceId"), TRACE_A);
  CU_ASSERT_STRING_EQUAL(text_of(run, "parentSpanId"), SPAN_A);
  CU_ASSERT_STRING_EQUAL(text_of(run, "traceState"), "rojo=1,congo=t61rcWkgMzE");
  CU_ASSERT_STRING_EQUAL(text_of(commit, "parentSpanId"), SPAN_A);
  CU_ASSERT_STRING_EQUAL(text_of(commit, "traceState"), "rojo=1,congo=t61rcWkgMzE");
  json_decref(spans);
  close_traced(&traced);
}

/* ---- a collector that is no help -------------------------------------------------------------- */

/* More transactions than a batch holds: some of them go on while the collector is asked. */
static void check_unaffected(struct traced *traced) {
  for (int i = 0; i < 60; i++)
    CHECK_STATUS(api_run(traced->world->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(traced->world, 60);
}

static void collector_that_hangs_holds_nothing_up(enum world_mode mode) {
  struct traced traced = open_traced(mode, ALL_TELL, "", NULL);
  collector_answer(traced.collector, COLLECTOR_HANGS, NULL, NULL);
  check_unaffected(&traced);
  UNTIL(collector_requests(traced.collector) > 0);
  while (spans_counted(traced.world, "dropped") <= 0)
    CHECK_STATUS(api_run(traced.world->api, ONE_CALL("", TRANSFER(1))), 200);
  close_traced(&traced); /* each daemon ends by itself all the same */
}
IN_BOTH_MODES(collector_that_hangs_holds_nothing_up)

static void collector_that_refuses_costs_its_spans_only(void) {
  struct traced traced = open_traced(WORLD_EMBEDDED, COORDINATOR_TELLS, "", NULL);
  collector_answer(traced.collector, 400, NULL, NULL);
  check_unaffected(&traced);
  UNTIL(spans_counted(traced.world, "rejected") >= 60 * 11);
  CU_ASSERT_EQUAL(world_logged(traced.world, COORDINATOR, "trace_export_failed"), 1);
  close_traced(&traced);
}

static void collector_that_is_busy_gets_them_later(void) {
  struct traced traced = open_traced(WORLD_EMBEDDED, COORDINATOR_TELLS, "", NULL);
  collector_answer(traced.collector, 503, NULL, NULL);
  check_unaffected(&traced);
  UNTIL(collector_requests(traced.collector) > 0);
  collector_answer(traced.collector, 200, NULL, NULL);
  UNTIL(spans_counted(traced.world, "exported") >= 60 * 11);
  CU_ASSERT_EQUAL(spans_counted(traced.world, "failed"), 0);
  close_traced(&traced);
}

static void collector_that_is_away_is_no_reason_not_to_start(void) {
  struct traced traced = {.collector = collector_start()};
  static char settings[128];
  (void)snprintf(settings, sizeof settings, "trace_endpoint = http://127.0.0.1:%u/v1/traces\n",
                 (unsigned)collector_port(traced.collector));
  collector_stop(traced.collector);
  traced.world = world_open(WORLD_EMBEDDED, &(struct world_options){.settings = settings});
  check_unaffected(&traced);
  UNTIL(world_logged(traced.world, COORDINATOR, "trace_export_failed") == 1);
  world_close(traced.world);
}

/* What has ended when the daemon is told to stop is told before it does. */
static void spans_leave_before_a_daemon_stops(void) {
  struct traced traced = open_traced(WORLD_AGENTS, ALL_TELL, "", NULL);
  CHECK_STATUS(
      api_post_with(traced.world->api, "/v1/transactions", FROM_A, ONE_CALL("", TRANSFER(1))), 200);
  world_close(traced.world);
  CU_ASSERT(collector_span_count(traced.collector) >= 15);
  collector_stop(traced.collector);
}

/* ---- its password ----------------------------------------------------------------------------- */

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  (void)fputs(text, file);
  (void)fclose(file);
}

/* With the header of now, once a batch has gone out that began after the call. */
static bool authorizes(struct traced *traced, const char *line) {
  CHECK_STATUS(api_run(traced->world->api, ONE_CALL("", TRANSFER(1))), 200);
  char *head = collector_head(traced->collector);
  bool has = head && strstr(head, line);
  free(head);
  return has;
}

static void headers_change_without_a_restart(void) {
  char path[] = "/tmp/assent-headers-XXXXXX", setting[128];
  int fd = mkstemp(path);
  CU_ASSERT_TRUE_FATAL(fd >= 0);
  (void)close(fd);
  write_file(path, "Authorization: Bearer one\n");
  (void)snprintf(setting, sizeof setting, "trace_headers_file = %s\n", path);
  struct traced traced = open_traced(WORLD_EMBEDDED, COORDINATOR_TELLS, setting, NULL);
  struct world *w = traced.world;
  UNTIL(authorizes(&traced, "Bearer one"));
  write_file(path, "nonsense\n");
  process_kill(w->processes[COORDINATOR], SIGHUP);
  UNTIL(world_logged(w, COORDINATOR, "reload_failed") == 1);
  unsigned before = collector_requests(traced.collector);
  UNTIL(authorizes(&traced, "Bearer one") && collector_requests(traced.collector) > before + 1);
  write_file(path, "Authorization: Bearer two\n");
  process_kill(w->processes[COORDINATOR], SIGHUP);
  UNTIL(authorizes(&traced, "Bearer two"));
  (void)unlink(path);
  close_traced(&traced);
}

/* ---- logs ------------------------------------------------------------------------------------- */

/* A branch is rolled back by hand after the decision: both processes speak of it, and name the trace. */
static void trace_is_named_in_logs(enum world_mode mode) {
  struct traced traced = open_traced(mode, 0, "", "C5:stop");
  struct world *w = traced.world;
  const struct reply *begun = api_post_with(w->api, "/v1/transactions", FROM_A, "{}");
  CHECK_STATUS(begun, 201);
  const char *id = reply_string(begun, "/id");
  CHECK_STATUS(api_statement(w->api, id, "bank_a", ONE_LESS), 200);
  CHECK_STATUS(api_statement(w->api, id, "bank_b", ONE_LESS), 200);
  struct async *commit =
      async_post(w->api, api_text(w->api, "/v1/transactions/%s/commit", id), "{}");
  UNTIL(world_is_stopped(w, COORDINATOR));
  PGconn *session = world_connect(w, BANK_B);
  PGresult *found =
      PQexec(session,
             api_text(w->api, "SELECT gid FROM pg_prepared_xacts WHERE gid LIKE '%%%s%%'", id));
  CU_ASSERT_EQUAL_FATAL(PQntuples(found), 1);
  world_run_on(session, api_text(w->api, "ROLLBACK PREPARED '%s'", PQgetvalue(found, 0, 0)));
  PQclear(found);
  PQfinish(session);
  world_resume(w, COORDINATOR);
  CHECK_PROBLEM(async_finish(commit), 409, "mixed");
  CU_ASSERT(world_logged(w, COORDINATOR, "\"trace_id\":\"" TRACE_A "\"") >= 1);
  CU_ASSERT(world_logged(w, world_agent_of(w, BANK_B), "\"trace_id\":\"" TRACE_A "\"") >= 1);
  close_traced(&traced);
}
IN_BOTH_MODES(trace_is_named_in_logs)

SUITE(
    trace, BOTH(committed_one_is_told_step_by_step), BOTH(aborted_one_says_whose_fault_it_was),
    CASE(later_requests_join_the_transaction_or_point_to_it),
    CASE(request_without_a_traceparent_begins_a_trace), CASE(malformed_traceparent_begins_a_trace),
    CASE(repeated_traceparent_begins_a_trace), CASE(nothing_is_told_of_what_is_not_sampled),
    CASE(trace_is_passed_on_by_who_does_not_take_part), BOTH(collector_that_hangs_holds_nothing_up),
    CASE(collector_that_refuses_costs_its_spans_only), CASE(collector_that_is_busy_gets_them_later),
    CASE(collector_that_is_away_is_no_reason_not_to_start),
    BOTH(decided_one_is_finished_in_a_trace_of_its_own),
    BOTH(prepared_one_is_rolled_back_in_a_trace_of_its_own), CASE(headers_change_without_a_restart),
    CASE(spans_leave_before_a_daemon_stops), BOTH(trace_is_named_in_logs))
