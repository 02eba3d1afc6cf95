/* GET /metrics of the coordinator and of agents: what happened is counted, and Prometheus' own tool
 * finds nothing wrong with the page. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/lib/world.h"

/* ---- a page ----------------------------------------------------------------------------------- */

static const char *page_of(struct world *w, enum world_target target) {
  const struct reply *reply;
  if (target == COORDINATOR) {
    reply = api_get(w->api, "/metrics");
  } else {
    const char *request = api_text(w->api, "GET /metrics HTTP/1.0\r\nAccept: text/plain\r\n\r\n");
    struct api *agent = api_new(api_text(w->api, "http://127.0.0.1:%u", w->ports[target]));
    const struct reply *raw = api_raw(agent, request, strlen(request));
    CHECK_STATUS(raw, 200);
    CU_ASSERT_PTR_NOT_NULL(strstr(raw->headers, "text/plain; version=0.0.4"));
    const char *text = api_text(w->api, "%s", raw->text);
    api_free(agent);
    return text;
  }
  CHECK_STATUS(reply, 200);
  return reply->text;
}

/* The value of a sample, named with its labels as it is written; -1: there is none. */
static double value_of(const char *page, const char *sample) {
  size_t length = strlen(sample);
  for (const char *at = page; (at = strstr(at, sample)); at += length)
    if ((at == page || at[-1] == '\n') && at[length] == ' ') return strtod(at + length, NULL);
  return -1;
}

static double metric(struct world *w, const char *sample) {
  return value_of(page_of(w, COORDINATOR), sample);
}

static void check_value(const char *page, const char *sample, double expected, unsigned line) {
  double value = value_of(page, sample);
  if (value < expected || value > expected)
    check_failed(__FILE__, line, false, "%s is %g, not %g, in %s", sample, value, expected, page);
}
#define CHECK_VALUE(page, sample, expected) check_value(page, sample, expected, __LINE__)

/* `promtool check metrics` also judges names and help texts. */
static void check_with_promtool(const struct world *w, const char *page) {
  char path[300], command[400];
  if (access("/usr/bin/promtool", X_OK) != 0) {
    (void)fprintf(stderr, "\n  promtool is missing (package prometheus): not checked with it\n");
    return;
  }
  (void)snprintf(path, sizeof path, "%s/metrics.txt", w->directory);
  (void)snprintf(command, sizeof command, "promtool check metrics <%s 1>&2", path);
  FILE *file = fopen(path, "we");
  CU_ASSERT_PTR_NOT_NULL_FATAL(file);
  CU_ASSERT(fputs(page, file) >= 0 && fclose(file) == 0);
  CU_ASSERT_EQUAL(system(command), 0); /* NOLINT(cert-env33-c) */
}

/* ---- cases ------------------------------------------------------------------------------------ */

static void outcomes_causes_and_phases_are_counted(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  for (int i = 0; i < 3; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", TRANSFER(5000))), 409, "aborted");
  const char *open = api_begin(w->api, "{}");
  UNTIL(metric(w, "assent_transactions_in_flight{state=\"open\"}") > 0 &&
        metric(w, "assent_transactions_in_flight{state=\"aborting\"}") <= 0);
  const char *page = page_of(w, COORDINATOR);
  CHECK_VALUE(page, "assent_transactions_begun_total", 5);
  CHECK_VALUE(page, "assent_transactions_ended_total{outcome=\"committed\",cause=\"none\"}", 3);
  CHECK_VALUE(page, "assent_transactions_ended_total{outcome=\"aborted\",cause=\"statement\"}", 1);
  CHECK_VALUE(page, "assent_transactions_in_flight{state=\"open\"}", 1);
  CHECK_VALUE(page, "assent_in_doubt_transactions", 0);
  CHECK_VALUE(page, "assent_in_doubt_oldest_age_seconds", 0);
  CHECK_VALUE(page, "assent_phase_duration_seconds_count{phase=\"prepare\"}", 3);
  CHECK_VALUE(page, "assent_phase_duration_seconds_count{phase=\"log\"}", 3);
  CHECK_VALUE(page, "assent_phase_duration_seconds_count{phase=\"commit\"}", 3);
  CHECK_VALUE(page, "assent_phase_duration_seconds_count{phase=\"whole\"}", 4);
  CHECK_VALUE(page, "assent_log_decisions_total", 3);
  CHECK_VALUE(page, "assent_log_group_size_sum", 3);
  CHECK_VALUE(page, "assent_participant_up{participant=\"bank_a\"}", 1);
  CHECK_VALUE(page, "assent_agent_calls_total{participant=\"bank_a\",call=\"run\",result=\"ok\"}",
              4);
  CU_ASSERT(value_of(page, "assent_log_fsync_duration_seconds_count") >= 1);
  check_with_promtool(w, page);
  CHECK_STATUS(api_rollback(w->api, open), 200);
  world_close(w);
}
IN_BOTH_MODES(outcomes_causes_and_phases_are_counted)

/* bank_b is away after the decision: it is in doubt, until it is back. */
static void what_is_in_doubt_shows_until_it_is_resolved(enum world_mode mode) {
  struct world *w =
      world_open(mode,
                 &(struct world_options){.crash = "C5", .settings = "health_interval = 50ms\n"});
  struct async *run =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'doubt',", TRANSFER(10)));
  world_wait_crashed(w, COORDINATOR);
  (void)async_finish(run);
  world_server_kill(w, BANK_B);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(metric(w, "assent_participant_up{participant=\"bank_b\"}") == 0 &&
        metric(w, "assent_participant_undelivered_decisions{participant=\"bank_a\"}") == 0);
  const char *page = page_of(w, COORDINATOR);
  CHECK_VALUE(page, "assent_in_doubt_transactions", 1);
  CHECK_VALUE(page, "assent_transactions_in_flight{state=\"committing\"}", 1);
  CHECK_VALUE(page, "assent_recovery_transactions", 1);
  CHECK_VALUE(page, "assent_recovery_pending_transactions", 1);
  CHECK_VALUE(page, "assent_participant_undelivered_decisions{participant=\"bank_b\"}", 1);
  CU_ASSERT(value_of(page, "assent_in_doubt_oldest_age_seconds") > 0);
  check_with_promtool(w, page);
  world_server_start(w, BANK_B);
  UNTIL(metric(w, "assent_in_doubt_transactions") == 0);
  page = page_of(w, COORDINATOR);
  CHECK_VALUE(page, "assent_recovery_pending_transactions", 0);
  CHECK_VALUE(page, "assent_transactions_ended_total{outcome=\"committed\",cause=\"none\"}", 1);
  CHECK_VALUE(page, "assent_phase_duration_seconds_count{phase=\"commit\"}", 0); /* half of it */
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(what_is_in_doubt_shows_until_it_is_resolved)

static void agent_has_figures_of_its_own(void) {
  struct world *w = world_open(WORLD_AGENTS, NULL);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  const char *page = page_of(w, AGENT_A);
  CHECK_VALUE(page, "assent_agent_database_up{database=\"bank_a\"}", 1);
  CHECK_VALUE(page, "assent_agent_votes_total{database=\"bank_a\",vote=\"yes\"}", 1);
  CHECK_VALUE(page, "assent_agent_outcomes_total{database=\"bank_a\",outcome=\"committed\"}", 1);
  CHECK_VALUE(page, "assent_agent_requests_total{database=\"bank_a\",call=\"run\",result=\"ok\"}",
              1);
  check_with_promtool(w, page);
  world_close(w);
}

static void page_is_text_and_says_so(void) {
  static const char html_only[] =
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n"
      "Connection: close\r\n\r\n";
  static const char scraper[] =
      "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain;version=0.0.4\r\n"
      "Connection: close\r\n\r\n";
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  CHECK_STATUS(api_raw(w->api, html_only, strlen(html_only)), 406);
  const struct reply *reply = api_raw(w->api, scraper, strlen(scraper));
  CHECK_STATUS(reply, 200);
  CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, "text/plain; version=0.0.4"));
  CHECK_PROBLEM(api_get(w->api, "/metrics?all=1"), 422, "unknown_field");
  world_close(w);
}

SUITE(metrics, BOTH(outcomes_causes_and_phases_are_counted),
      BOTH(what_is_in_doubt_shows_until_it_is_resolved), CASE(agent_has_figures_of_its_own),
      CASE(page_is_text_and_says_so))
