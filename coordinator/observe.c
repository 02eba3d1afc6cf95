/* What people are shown of transactions: each step goes into the transaction's timeline, and the
 * timelines of those that have ended are kept for a while, the latest HISTORY_MAX.
 *
 * The drivers (drive.c and its kin) tell here what they do; nothing that is told here has an effect on
 * what they do next, and what finds no memory here is left out.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"
#include "coordinator/history.h"
#include "coordinator/internal.h"

/* ---- figures ---------------------------------------------------------------------------------- */

static void end_phase(struct transaction *t, enum phase phase, uint64_t now_us) {
  struct histogram *histogram = &t->coordinator->figures.phases[phase];
  if (t->phase_us) histogram_observe(histogram, (double)(now_us - t->phase_us) / 1e6);
  t->phase_us = now_us;
}

static void count_end(struct transaction *t, uint64_t now_us) {
  struct figures *figures = &t->coordinator->figures;
  enum wal_outcome outcome = transaction_outcome(t);
  figures->ended[outcome == WAL_OUTCOME_COMMITTED ? OUTCOME_COMMITTED
                 : outcome == WAL_OUTCOME_ABORTED ? OUTCOME_ABORTED
                                                  : OUTCOME_MIXED][t->cause.kind]++;
  if (outcome == WAL_OUTCOME_COMMITTED && t->logged) end_phase(t, PHASE_COMMIT, now_us);
  if (t->begun_us)
    histogram_observe(&figures->phases[PHASE_WHOLE], (double)(now_us - t->begun_us) / 1e6);
  if (t->recovered && --figures->recovering == 0)
    figures->recovery_us = now_us - figures->started_us;
}

static void count(struct transaction *t, const struct observed *what) {
  struct figures *figures = &t->coordinator->figures;
  if (what->at_us) return; /* in a former life */
  switch (what->kind) {
  case STEP_BEGUN:
    figures->begun++;
    t->begun_us = clock_monotonic_us();
    return;
  case STEP_COMMIT_ASKED: t->phase_us = clock_monotonic_us(); return;
  case STEP_LOG_ASKED: end_phase(t, PHASE_PREPARE, clock_monotonic_us()); return;
  case STEP_LOGGED:
    if (t->logged) end_phase(t, PHASE_LOG, clock_monotonic_us());
    return;
  case STEP_ALARM: figures->heuristics++; return;
  case STEP_ENDED: count_end(t, clock_monotonic_us()); return;
  case STEP_RECOVERED:
    t->recovered = true;
    figures->recovered++;
    figures->recovering++;
    return;
  case STEP_ENLISTED:
  case STEP_WAITS:
  case STEP_ROLLBACK:
  case STEP_RUN_SENT:
  case STEP_RUN_NOT_SENT:
  case STEP_BLOCKED:
  case STEP_STATEMENTS_RAN:
  case STEP_VOTE:
  case STEP_DECISION_SENT:
  case STEP_DECISION_WAITS:
  case STEP_OUTCOME:
  case STEP_RESOLVED:
  case STEP_STATE: return;
  }
}

void observe_call(struct member *member, enum call call, const struct error *err) {
  enum call_result result = CALL_OK;
  if (err) {
    switch (error_class_of(err->code)) {
    case CLASS_NONE: break;
    case CLASS_CALLER:
    case CLASS_FATAL: result = CALL_REFUSED; break;
    case CLASS_RETRY: result = CALL_UNAVAILABLE; break;
    case CLASS_AMBIGUOUS: result = CALL_LOST; break;
    }
  }
  member->calls[call][result]++;
}

void observe_recovery(struct coordinator *c) {
  if (c->figures.recovering == 0)
    c->figures.recovery_us = clock_monotonic_us() - c->figures.started_us;
}

/* ---- steps ------------------------------------------------------------------------------------ */

void observe(struct transaction *t, const struct observed *what) {
  count(t, what);
  if (t->trace) spans_observe(t, what);
  struct step step = {.at_us = what->at_us ? what->at_us : clock_wall_us(),
                      .detail = what->detail,
                      .attempt = what->attempt,
                      .kind = (uint8_t)what->kind,
                      .branch = (uint8_t)(what->branch ? what->branch->id : 0)};
  timeline_add(&t->timeline, &step, what->error);
}

/* Cut between characters: UTF-8 stays what it is. */
static const char *cut(char out[EVENT_TEXT_SIZE], const char *text) {
  size_t length = strnlen(text, EVENT_TEXT_SIZE - 1);
  while (length > 0 && text[length] && ((unsigned char)text[length] & 0xC0) == 0x80)
    length--;
  memcpy(out, text, length);
  out[length] = '\0';
  return out;
}

static void publish_transaction(const struct transaction *t) {
  struct event event = {.kind = EVENT_TRANSACTION,
                        .at_us = clock_wall_us(),
                        .state = t->state_seen,
                        .txid = t->id,
                        .outcome = transaction_outcome(t),
                        .cause = t->cause.kind};
  char label[EVENT_TEXT_SIZE];
  if (t->label) event.text = cut(label, t->label);
  events_publish(t->coordinator->events, &event);
}

/* `mixed` comes with the state or without. */
void observe_state(struct transaction *t) {
  const char *state = txn_state_name(t->core.state);
  bool same = t->state_seen && strcmp(state, t->state_seen) == 0;
  if (same && t->core.mixed == t->mixed_seen) return;
  t->state_seen = state;
  t->mixed_seen = t->core.mixed;
  observe(t, &(struct observed){.kind = STEP_STATE, .detail = state});
  publish_transaction(t);
}

void observe_member(struct member *member) {
  struct event event = {.kind = EVENT_PARTICIPANT,
                        .at_us = clock_wall_us(),
                        .state = member_state_name(member),
                        .name = member->name,
                        .draining = member->draining};
  char error[EVENT_TEXT_SIZE];
  event.text = cut(error, member->last_error);
  events_publish(member->coordinator->events, &event);
}

/* ---- history ---------------------------------------------------------------------------------- */

static void past_free(struct history *history, struct past *past) {
  HASH_DEL(history->by_id, past);
  DL_DELETE(history->oldest, past);
  history->count--;
  timeline_release(&past->timeline);
  free(past->cause);
  free(past);
}

void history_free(struct coordinator *c) {
  struct past *past, *next;
  DL_FOREACH_SAFE(c->history.oldest, past, next) past_free(&c->history, past);
}

const struct past *history_find(const struct coordinator *c, const struct txid *id) {
  struct past *past;
  HASH_FIND(hh, c->history.by_id, id, sizeof *id, past);
  return past;
}

/* NULL without memory. */
static struct past *past_of(const struct transaction *t) {
  unsigned branches = t->core.branch_count;
  size_t members_size = branches * sizeof(const struct member *);
  struct past *past = memory_zeroed(sizeof *past + members_size + strlen(t->owner) + 1);
  if (past && t->cause.kind != CAUSE_NONE && !(past->cause = malloc(sizeof *past->cause))) {
    free(past);
    past = NULL;
  }
  if (!past) return NULL;
  past->id = t->id;
  past->state = txn_state_name(t->core.state);
  past->outcome = transaction_outcome(t);
  if (past->cause) *past->cause = t->cause;
  past->branch_count = branches;
  for (unsigned i = 0; i < branches; i++)
    past->members[i] = t->branches[i]->member;
  past->owner = strcpy((char *)(past + 1) + members_size, t->owner);
  return past;
}

void observe_freed(struct transaction *t) {
  struct history *history = &t->coordinator->history;
  struct past *past = t->ended ? past_of(t) : NULL;
  if (!past) {
    timeline_release(&t->timeline);
    return;
  }
  timeline_close(&t->timeline);
  past->timeline = t->timeline;
  t->timeline = (struct timeline){0};
  HASH_ADD(hh, history->by_id, id, sizeof past->id, past);
  DL_APPEND(history->oldest, past);
  if (++history->count > HISTORY_MAX) past_free(history, history->oldest);
}
