/* What people are shown of transactions: each step goes into the transaction's timeline, and the
 * timelines of those that have ended are kept for a while, the latest HISTORY_MAX.
 *
 * The drivers (drive.c and its kin) tell here what they do; nothing that is told here has an effect on
 * what they do next, and what finds no memory here is left out.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/history.h"
#include "coordinator/internal.h"

/* ---- steps ------------------------------------------------------------------------------------ */

void observe(struct transaction *t, const struct observed *what) {
  struct step step = {.at_us = what->at_us ? what->at_us : clock_wall_us(),
                      .detail = what->detail,
                      .attempt = what->attempt,
                      .kind = (uint8_t)what->kind,
                      .branch = (uint8_t)(what->branch ? what->branch->id : 0)};
  timeline_add(&t->timeline, &step, what->error);
}

void observe_state(struct transaction *t) {
  const char *state = txn_state_name(t->core.state);
  if (t->state_seen && strcmp(state, t->state_seen) == 0) return;
  t->state_seen = state;
  observe(t, &(struct observed){.kind = STEP_STATE, .detail = state});
}

/* ---- history ---------------------------------------------------------------------------------- */

static void past_free(struct history *history, struct past *past) {
  HASH_DEL(history->by_id, past);
  DL_DELETE(history->oldest, past);
  history->count--;
  timeline_release(&past->timeline);
  free(past->members);
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

void observe_freed(struct transaction *t) {
  struct history *history = &t->coordinator->history;
  unsigned branches = t->core.branch_count;
  struct past *past = t->ended ? calloc(1, sizeof *past) : NULL;
  if (past) past->members = calloc(branches + 1, sizeof(const struct member *));
  if (!past || !past->members) {
    free(past);
    timeline_release(&t->timeline);
    return;
  }
  past->id = t->id;
  past->state = txn_state_name(t->core.state);
  past->outcome = transaction_outcome(t);
  past->cause = t->cause;
  past->branch_count = branches;
  for (unsigned i = 0; i < branches; i++)
    past->members[i] = t->branches[i]->member;
  past->timeline = t->timeline;
  t->timeline = (struct timeline){0};
  HASH_ADD(hh, history->by_id, id, sizeof past->id, past);
  DL_APPEND(history->oldest, past);
  if (++history->count > HISTORY_MAX) past_free(history, history->oldest);
}
