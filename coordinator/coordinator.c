/* The coordinator as a whole: made, recovered, stopped, freed. */
#include <stdlib.h>

#include "common/clock.h"
#include "coordinator/internal.h"

struct coordinator *coordinator_new(struct loop *loop, struct wal *wal,
                                    const struct coordinator_options *options) {
  struct coordinator *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->loop = loop;
  c->wal = wal;
  c->options = *options;
  c->cluster = *wal_cluster(wal);
  c->epoch = wal_epoch(wal);
  (void)snprintf(c->run_id, sizeof c->run_id, "%s", wal_run_id(wal));
  c->events = events_new(loop, c->epoch);
  c->figures.started_us = clock_monotonic_us();
  for (int phase = 0; phase < PHASE_COUNT; phase++)
    histogram_init(&c->figures.phases[phase], metrics_duration_bounds,
                   metrics_duration_bound_count);
  return c;
}

void coordinator_free(struct coordinator *c) {
  /* Members' participants last: a transaction's branches may be parked at their member. */
  struct transaction *t, *next;
  HASH_ITER(hh, c->transactions, t, next) transaction_free(t);
  keys_free(c);
  struct member *member, *next_member;
  HASH_ITER(hh, c->members, member, next_member) member_free(member);
  slots_free(c);
  history_free(c);
  events_free(c->events);
  free(c);
}

enum error_code coordinator_recover(struct coordinator *c, struct error *err) {
  enum error_code code = drain_load(c, err);
  if (code == ERR_OK) code = recovery_read_log(c, err);
  if (code != ERR_OK) return code;
  observe_recovery(c);
  for (struct member *member = c->members; member; member = member->hh.next)
    member_start(member);
  return ERR_OK;
}

enum error_code coordinator_check_participant(struct coordinator *c, const char *name,
                                              struct error *err) {
  const struct member *member = member_find(c, name);
  if (!member)
    return error_set(err, ERR_UNKNOWN_PARTICIPANT, "no participant is called \"%s\"", name);
  if (!member->tried)
    return error_set(err, ERR_UNAVAILABLE, "starting: participant %s has not been reached yet",
                     name);
  return ERR_OK;
}

void coordinator_limit_statements(struct coordinator *c, const char *name,
                                  struct statement_set *statements) {
  struct member *member = member_find(c, name);
  statement_set_free(member->statements);
  member->statements = statements;
}

enum error_code coordinator_resolve_statement(struct coordinator *c, const char *participant,
                                              struct statement *statement, const char *pointer,
                                              struct error *err) {
  const struct member *member = member_find(c, participant);
  return statement_set_resolve(member ? member->statements : NULL, statement, pointer, err);
}

enum error_code coordinator_check_takes_any(struct coordinator *c, const char *participant,
                                            struct error *err) {
  const struct member *member = member_find(c, participant);
  if (!member || !member->statements) return ERR_OK;
  (void)error_set(err, ERR_SQL_NOT_ALLOWED,
                  "only named statements may run at this participant, so no application may "
                  "prepare a branch there");
  return error_field(err, "/participant");
}

bool coordinator_is_ready(const struct coordinator *c) {
  for (const struct member *member = c->members; member; member = member->hh.next)
    if (!member->tried) return false;
  return !c->stopping;
}

void coordinator_stop(struct coordinator *c) {
  c->stopping = true;
  events_stop(c->events);
  struct transaction *t, *next;
  HASH_ITER(hh, c->transactions, t, next) {
    if (t->core.state == TXN_OPEN)
      transaction_rollback(t, CAUSE_OPERATOR, "the coordinator is stopping");
  }
}

void coordinator_answer_waiting(struct coordinator *c) {
  struct transaction *t, *next;
  HASH_ITER(hh, c->transactions, t, next) transaction_answer_waiting(t);
}

bool coordinator_is_stopping(const struct coordinator *c) {
  return c->stopping;
}

size_t coordinator_live_count(const struct coordinator *c) {
  return HASH_COUNT(c->transactions);
}

struct wal *coordinator_wal(const struct coordinator *c) {
  return c->wal;
}
