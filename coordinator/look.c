/* Looks at transactions that take long: whom do their branches wait for, in their databases? For people
 * who read a timeline; nothing depends on it.
 *
 * While a statement waits for a lock its database knows who holds it; when the statement has given up,
 * nobody does. So it is asked meanwhile: first LOOK_FIRST_MS after the begin, then after as long again as it
 * has lasted, and towards the deadline after half of what is left, so that the last look is shortly before
 * it. That is some ten looks in the life of a transaction that takes all its time, and none in that of one
 * that is quick. It takes no timer of its own: the deadline's goes off more often.
 *
 * Limit: LOOKS_MAX questions under way to one participant. When more transactions stand still, the next
 * look of the others comes anyway.
 */
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "coordinator/internal.h"

enum { LOOK_FIRST_MS = 200, LOOK_LEAST_MS = 20, LOOKS_MAX = 4 };

uint64_t look_after_ms(const struct transaction *t) {
  uint64_t left = (uint64_t)transaction_remaining_ms(t);
  uint64_t lasted = (uint64_t)t->timeout_ms > left ? (uint64_t)t->timeout_ms - left : 0;
  uint64_t pause = lasted > LOOK_FIRST_MS ? lasted : LOOK_FIRST_MS;
  if (pause > left / 2) pause = left / 2;
  return pause < LOOK_LEAST_MS ? left : pause;
}

/* ---- what was seen ----------------------------------------------------------------------------- */

static bool is_same(const struct blocked *seen, const struct blockers_reply *reply) {
  if (!seen || seen->count != reply->count) return false;
  for (size_t i = 0; i < seen->count; i++)
    if (seen->blockers[i].pid != reply->blockers[i].pid ||
        strcmp(seen->blockers[i].gid, reply->blockers[i].gid) != 0)
      return false;
  return true;
}

/* In words, for a step of the timeline. */
static void describe(const struct blockers_reply *reply, struct cause *out) {
  const struct blocker *first = &reply->blockers[0];
  char who[FOREIGN_GID_SIZE + APPLICATION_NAME_SIZE + BACKEND_STATE_SIZE + 64], more[32] = "";
  if (first->pid == 0)
    (void)snprintf(who, sizeof who, "the prepared transaction '%s'", first->gid);
  else if (first->gid[0])
    (void)snprintf(who, sizeof who, "session %lld, of the branch '%s'", (long long)first->pid,
                   first->gid);
  else
    (void)snprintf(who, sizeof who, "session %lld (%s%s%s)", (long long)first->pid,
                   first->application[0] ? first->application : "no application_name",
                   first->state[0] ? ", " : "", first->state);
  if (reply->count > 1) (void)snprintf(more, sizeof more, " and %zu more", reply->count - 1);
  (void)snprintf(out->text, sizeof out->text, "waits for a lock: blocked by %s%s", who, more);
}

void look_forget(struct transaction_branch *branch) {
  free(branch->blocked);
  branch->blocked = NULL;
}

static void keep(struct transaction_branch *branch, const struct blockers_reply *reply) {
  bool same = is_same(branch->blocked, reply);
  if (reply->count == 0) {
    look_forget(branch);
    return;
  }
  if (!branch->blocked) branch->blocked = calloc(1, sizeof *branch->blocked);
  if (!branch->blocked) return;
  branch->blocked->seen_at_us = clock_wall_us();
  branch->blocked->count = reply->count;
  memcpy(branch->blocked->blockers, reply->blockers, reply->count * sizeof *reply->blockers);
  if (same) return;
  struct cause cause = {.kind = CAUSE_CONFLICT, .branch = (int)branch->id, .statement = -1};
  describe(reply, &cause);
  observe(branch->transaction,
          &(struct observed){.kind = STEP_BLOCKED, .branch = branch, .error = &cause});
}

/* ---- looking ----------------------------------------------------------------------------------- */

/* Something of it runs at its database, as far as is known here. */
static bool is_at_work(const struct transaction_branch *branch) {
  enum txn_branch_state state = branch->transaction->core.branches[branch->id - 1].state;
  return state == TXN_BRANCH_RUNNING || state == TXN_BRANCH_PREPARING;
}

static void answered(void *data, const struct blockers_reply *reply, const struct error *err) {
  struct transaction_branch *branch = data;
  observe_call(branch->member, CALL_BLOCKERS, err);
  branch->looking = false;
  branch->member->looks--;
  if (!err && is_at_work(branch)) keep(branch, reply);
  transaction_release(branch->transaction);
}

static void look_at(struct transaction_branch *branch) {
  struct member *member = branch->member;
  if (!is_at_work(branch) || branch->looking || !member->usable || member->looks >= LOOKS_MAX)
    return;
  branch->looking = true;
  member->looks++;
  transaction_hold(branch->transaction);
  member->participant->ops->blockers(member->participant,
                                     &(struct blockers_request){.gid = branch->gid}, answered,
                                     branch);
}

void look(struct transaction *t) {
  for (unsigned i = 0; i < t->core.branch_count; i++)
    look_at(t->branches[i]);
}
