/* GET /metrics: the coordinator's figures for Prometheus. Labels: participants, and words of fixed
 * lists; never a transaction's. Health is that of the last tick: a scrape asks no database. */
#include <stdlib.h>

#include "common/clock.h"
#include "coordinator/internal.h"
#include "coordinator/render.h"
#include "coordinator/routes_more.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const double MILLISECOND = 1e-3, MICROSECOND = 1e-6;

/* ---- transactions ----------------------------------------------------------------------------- */

static void write_ended(struct metrics_page *page, const struct figures *figures) {
  static const char *const outcomes[OUTCOME_COUNT] = {"committed", "aborted", "mixed"};
  metrics_single(page, "assent_transactions_begun_total", "counter", "Transactions begun.",
                 (double)figures->begun);
  metrics_family(page, "assent_transactions_ended_total", "counter",
                 "Transactions whose branches all have the outcome, by outcome and by the cause of "
                 "an abort.");
  for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
    for (int cause = 0; cause < CAUSE_COUNT; cause++) {
      uint64_t count = figures->ended[outcome][cause];
      /* A committed one has no cause, an aborted one has. */
      bool usual = (outcome == OUTCOME_ABORTED) == (cause != CAUSE_NONE);
      if (usual || count > 0)
        metrics_sample(page, (double)count,
                       LABELS({"outcome", outcomes[outcome]},
                              {"cause", cause_kind_name((enum cause_kind)cause)}));
    }
  static const char *const reasons[REFUSED_COUNT] = {"transactions", "waiting",
                                                     "token_transactions", "connections"};
  metrics_family(page, "assent_transactions_refused_total", "counter",
                 "Transactions refused because of too much load, by the limit: live transactions, "
                 "those that wait to start, those that wait for a participant's connections.");
  for (int reason = 0; reason < REFUSED_COUNT; reason++)
    metrics_sample(page, (double)figures->refused[reason], LABELS({"reason", reasons[reason]}));
  metrics_single(page, "assent_heuristics_total", "counter",
                 "Branches that ended against the decision, or cannot say how they ended.",
                 (double)figures->heuristics);
}

/* Something may be prepared, and its branches do not all have the outcome. */
static bool is_in_doubt(const struct transaction *t) {
  switch (t->core.state) {
  case TXN_PREPARING:
  case TXN_DECIDING:
  case TXN_DELEGATED:
  case TXN_COMMITTING:
  case TXN_STUCK: return true;
  case TXN_ABORTING:
  case TXN_OPEN:
  case TXN_COMMITTED:
  case TXN_ABORTED:
  case TXN_STATE_COUNT: break;
  }
  return false;
}

static unsigned hazards_of(const struct transaction *t) {
  unsigned count = 0;
  for (unsigned i = 0; i < t->core.branch_count; i++) {
    enum txn_branch_state state = t->core.branches[i].state;
    bool decided = state == TXN_BRANCH_COMMITTING || state == TXN_BRANCH_ABORTING;
    count += decided && t->branches[i]->hazard;
  }
  return count;
}

static void write_live(struct metrics_page *page, const struct coordinator *c) {
  static const enum txn_state shown[] = {TXN_OPEN, TXN_PREPARING, TXN_COMMITTING, TXN_ABORTING};
  uint64_t by_state[COUNT(shown)] = {0}, in_doubt = 0, hazards = 0;
  int64_t now_us = clock_wall_us(), oldest_us = now_us;
  for (const struct transaction *t = c->transactions; t; t = t->hh.next) {
    for (size_t i = 0; i < COUNT(shown); i++)
      by_state[i] += strcmp(txn_state_name(t->core.state), txn_state_name(shown[i])) == 0;
    hazards += hazards_of(t);
    if (!is_in_doubt(t)) continue;
    in_doubt++;
    int64_t since_us = t->decided_at_us ? t->decided_at_us : t->created_at_us;
    if (since_us < oldest_us) oldest_us = since_us;
  }
  metrics_family(page, "assent_transactions_in_flight", "gauge",
                 "Transactions under way, by state.");
  for (size_t i = 0; i < COUNT(shown); i++)
    metrics_sample(page, (double)by_state[i], LABELS({"state", txn_state_name(shown[i])}));
  metrics_single(page, "assent_transactions_in_flight_limit", "gauge", "How many may be under way.",
                 (double)c->options.transactions_max);
  metrics_single(page, "assent_in_doubt_transactions", "gauge",
                 "Transactions whose branches may be prepared and do not all have the outcome.",
                 (double)in_doubt);
  metrics_single(page, "assent_in_doubt_oldest_age_seconds", "gauge",
                 "Age of the oldest of these, since its decision or else its begin; 0: none.",
                 (double)(now_us - oldest_us) * MICROSECOND);
  metrics_single(page, "assent_hazard_branches", "gauge",
                 "Branches of which nobody can find out how they ended: an operator has to.",
                 (double)hazards);
}

static void write_phases(struct metrics_page *page, const struct figures *figures) {
  static const char *const phases[PHASE_COUNT] = {"prepare", "log", "commit", "whole"};
  metrics_family(page, "assent_phase_duration_seconds", "histogram",
                 "Time in a phase: prepare (commit asked for, until all votes are in), log (until "
                 "the decision is durable), commit (until every branch has it); whole: from begin "
                 "to end.");
  for (int phase = 0; phase < PHASE_COUNT; phase++)
    metrics_histogram(page, &figures->phases[phase], LABELS({"phase", phases[phase]}));
}

/* ---- the log, recovery ------------------------------------------------------------------------ */

static void write_log(struct metrics_page *page, struct coordinator *c) {
  struct histogram group_sizes, commits;
  wal_histograms(c->wal, &group_sizes, &commits);
  metrics_single(page, "assent_log_decisions_total", "counter", "Decisions made durable.",
                 (double)wal_stats(c->wal).decisions);
  metrics_family(page, "assent_log_group_size", "histogram",
                 "Decisions and audit lines that one commit of the log made durable.");
  metrics_histogram(page, &group_sizes, NULL, 0);
  metrics_family(
      page, "assent_log_fsync_duration_seconds", "histogram",
      "Time of a commit of the log, which is its fsync, those of lazy records included.");
  metrics_histogram(page, &commits, NULL, 0);
  metrics_single(page, "assent_log_full", "gauge",
                 "1 while new work is refused since the log has no space.",
                 loop_now_ms(c->loop) < c->log_full_until_ms ? 1 : 0);
}

static void write_recovery(struct metrics_page *page, const struct figures *figures) {
  metrics_single(page, "assent_recovery_transactions", "gauge",
                 "Unfinished decisions that were found at the start.", (double)figures->recovered);
  metrics_single(page, "assent_recovery_pending_transactions", "gauge",
                 "Of these, those that have not ended yet.", (double)figures->recovering);
  uint64_t lasted_us =
      figures->recovery_us ? figures->recovery_us : clock_monotonic_us() - figures->started_us;
  metrics_single(page, "assent_recovery_duration_seconds", "gauge",
                 "From the start until the last of these had ended; grows until then.",
                 (double)lasted_us * MICROSECOND);
}

static void write_events(struct metrics_page *page, const struct coordinator *c) {
  struct events_numbers numbers = events_numbers(c->events);
  metrics_single(page, "assent_events_published_total", "counter", "Events published.",
                 (double)numbers.published);
  metrics_single(page, "assent_events_readers", "gauge", "Clients that follow the events.",
                 numbers.readers);
  static const char *const reasons[EVENTS_DROP_COUNT] = {"slow", "silent", "memory"};
  metrics_family(page, "assent_events_readers_dropped_total", "counter",
                 "Readers that were dropped: slow (too much waited for them), silent (they took "
                 "nothing for the idle time), memory (there was none for an event).");
  for (int reason = 0; reason < EVENTS_DROP_COUNT; reason++)
    metrics_sample(page, (double)numbers.dropped[reason], LABELS({"reason", reasons[reason]}));
}

/* ---- participants ----------------------------------------------------------------------------- */

static void write_calls(struct metrics_page *page, const struct coordinator *c) {
  static const char *const calls[CALL_COUNT] = {"fence",  "run",      "decide", "list",
                                                "survey", "blockers", "health"};
  static const char *const results[CALL_RESULT_COUNT] = {"ok", "refused", "unavailable", "lost"};
  metrics_family(page, "assent_agent_calls_total", "counter",
                 "Calls to agents, by result: ok (answered), refused (the request), unavailable "
                 "(certainly without effect), lost (nobody knows).");
  for (const struct member *m = c->members; m; m = m->hh.next)
    for (int call = 0; call < CALL_COUNT; call++)
      for (int result = 0; result < CALL_RESULT_COUNT; result++)
        metrics_sample(page, (double)m->calls[call][result],
                       LABELS({"participant", m->name}, {"call", calls[call]},
                              {"result", results[result]}));
}

/* A gauge of every participant of which it is known (not below 0). */
struct gauge {
  const char *name, *type, *help;
  double (*value)(const struct member *member);
};

static double known(const struct member *m, int64_t value) {
  return m->health_known ? (double)value : -1;
}
static double is_up(const struct member *m) {
  return m->up ? 1 : 0;
}
static double prepared(const struct member *m) {
  return known(m, m->health.prepared_count);
}
static double prepared_limit(const struct member *m) {
  return known(m, m->health.prepared_max);
}
/* None is no age: 0, so that the series does not vanish. */
static double oldest_prepared_s(const struct member *m) {
  if (known(m, m->health.prepared_count) < 0) return -1;
  return m->health.oldest_prepared_ms > 0 ? (double)m->health.oldest_prepared_ms * MILLISECOND : 0;
}
static double xmin_age(const struct member *m) {
  return known(m, m->health.xmin_age);
}
static double standbys(const struct member *m) {
  return known(m, m->health.standbys);
}
static double is_synchronous(const struct member *m) {
  return known(m, m->health.standbys) < 0 ? -1 : m->health.synchronous ? 1 : 0;
}
static double latency_s(const struct member *m) {
  return known(m, m->health.latency_us) < 0 ? -1 : (double)m->health.latency_us * MICROSECOND;
}
static double connections(const struct member *m) {
  return known(m, m->health.connections);
}
static double connections_limit(const struct member *m) {
  return known(m, m->health.connections_max);
}
static double waiting(const struct member *m) {
  return known(m, m->health.waiting);
}
static double running(const struct member *m) {
  return known(m, m->health.running);
}
static double running_limit(const struct member *m) {
  return known(m, m->health.running_max);
}
static double slots_limit(const struct member *m) {
  return m->slots ? (double)m->slots->stock.limit : -1;
}
static double slots_held(const struct member *m) {
  return m->slots ? (double)m->slots->stock.held : -1;
}
static double queued(const struct member *m) {
  return (double)(m->places.queued + (m->slots ? m->slots->stock.queued : 0));
}
static double undelivered(const struct member *m) {
  uint64_t count = 0;
  const struct transaction_branch *branch;
  DL_FOREACH(m->parked, branch) count++;
  return (double)count;
}
static double is_draining(const struct member *m) {
  return m->draining ? 1 : 0;
}
static double failures(const struct member *m) {
  return (double)m->failures;
}

static void write_participants(struct metrics_page *page, const struct coordinator *c) {
  static const struct gauge gauges[] = {
      {"assent_participant_up", "gauge", "1 while the participant is reached.", is_up},
      {"assent_participant_prepared_transactions", "gauge",
       "Prepared transactions of anybody on its server.", prepared},
      {"assent_participant_prepared_transactions_limit", "gauge",
       "max_prepared_transactions of its server.", prepared_limit},
      {"assent_participant_slots_limit", "gauge",
       "max_prepared_transactions of its server, less what others have prepared.", slots_limit},
      {"assent_participant_slots_held", "gauge",
       "Of these, held by branches of this coordinator that are or will be prepared.", slots_held},
      {"assent_participant_queued_transactions", "gauge",
       "Transactions that wait to start for one of these, or for a connection.", queued},
      {"assent_participant_oldest_prepared_age_seconds", "gauge",
       "Age of the oldest prepared transaction of anybody on its server; 0: none.",
       oldest_prepared_s},
      {"assent_participant_xmin_age_transactions", "gauge",
       "How far back something seen on its server (a snapshot, a prepared transaction, a slot) "
       "keeps VACUUM.",
       xmin_age},
      {"assent_participant_standbys", "gauge", "Standbys connected to its server.", standbys},
      {"assent_participant_synchronous_replication", "gauge", "1 where commits wait for a standby.",
       is_synchronous},
      {"assent_participant_latency_seconds", "gauge",
       "The last round trip from the agent to its database.", latency_s},
      {"assent_participant_undelivered_decisions", "gauge",
       "Decisions that wait for the participant.", undelivered},
      {"assent_participant_draining", "gauge", "1 while it takes no new branches.", is_draining},
      {"assent_participant_failures_total", "counter",
       "How often it was found to be away, since the coordinator's start.", failures},
      {"assent_pool_connections", "gauge", "Open connections for branches' work.", connections},
      {"assent_pool_connections_limit", "gauge", "How many there may be.", connections_limit},
      {"assent_pool_waiting", "gauge", "Runs that wait for a connection.", waiting},
      {"assent_pool_running", "gauge", "Connections on which something runs.", running},
      {"assent_pool_running_limit", "gauge",
       "For how many at once there is new work, as found by trying.", running_limit},
  };
  for (size_t i = 0; i < COUNT(gauges); i++) {
    metrics_family(page, gauges[i].name, gauges[i].type, gauges[i].help);
    for (const struct member *m = c->members; m; m = m->hh.next) {
      double value = gauges[i].value(m);
      if (value >= 0) metrics_sample(page, value, LABELS({"participant", m->name}));
    }
  }
}

void get_metrics(struct http_request *request, void *data) {
  static const char *const no_query[] = {NULL};
  struct routes_context *context = data;
  struct coordinator *c = context->coordinator;
  struct error err = {0};
  if (http_check_query(request, no_query, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  struct metrics_page page;
  metrics_init(&page);
  write_ended(&page, &c->figures);
  write_live(&page, c);
  write_phases(&page, &c->figures);
  write_log(&page, c);
  write_recovery(&page, &c->figures);
  write_events(&page, c);
  write_calls(&page, c);
  write_participants(&page, c);
  tracer_metrics(&page, context->tracing.tracer);
  metrics_process(&page);
  size_t length;
  char *text = metrics_take(&page, &length);
  http_respond_take(request, 200, metrics_content_type, text, length, NULL, 0);
}
