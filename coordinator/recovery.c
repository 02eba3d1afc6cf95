/* Recovery: at start from the log, and from then on in sweeps over what participants hold prepared.
 *
 * At start, in this order, and why:
 *   1. wal_open() has taken the lock: no other coordinator writes this log.
 *   2. It has made a new epoch e durable: gids of e are ours alone, older ones are recovery's.
 *   3. The unfinished decisions become live transactions (recovery_read_log). They are never given up.
 *   4. Each participant is fenced with e (member.c): after its answer no branch of an older epoch can
 *      become prepared any more, so that the listing that follows is complete for those epochs.
 *   5. It lists what is prepared. A gid of a live transaction that has not confirmed it is that
 *      transaction's business. Of any other the log decides: a commit record with this gid and this very xid commits it, anything
 *      else rolls it back (no record means abort).
 *   6. The unfinished decisions are sent to the participant, also where the listing does not show them.
 * New transactions are served meanwhile: they are in the live table before any branch of theirs can be
 * prepared, so that 5 leaves them alone.
 *
 * The sweep repeats 5. What it finds then is: a branch that an application prepared after its
 * transaction had aborted; a repeated request that outlived its transaction (another xid: rolled
 * back); a committed gid that a failover brought back (the record's xid: committed again).
 *
 * A crash in any of this (C10) loses nothing: the next start does the same from the start.
 */
#include <stdlib.h>
#include <string.h>

#include "common/crash_point.h"
#include "common/log.h"
#include "coordinator/audit.h"
#include "coordinator/internal.h"

/* ---- the log's unfinished decisions ----------------------------------------------------------- */

/* What former lives have noted of it. */
static void observe_lines(struct transaction *t, const struct wal_record *record) {
  for (size_t i = 0; i < record->line_count; i++) {
    struct step step;
    struct cause error;
    if (!audit_step(&record->lines[i], &step, &error) || step.branch > t->core.branch_count)
      continue;
    observe(t, &(struct observed){.kind = (enum step_kind)step.kind,
                                  .branch = step.branch ? t->branches[step.branch - 1] : NULL,
                                  .detail = step.detail,
                                  .error = &error,
                                  .at_us = step.at_us});
  }
}

static void observe_recovered(struct transaction *t, const struct wal_record *record) {
  enum wal_kind kind = record->kind;
  observe(t, &(struct observed){.kind = STEP_BEGUN, .at_us = t->created_at_us});
  if (kind == WAL_KIND_COMMIT)
    observe(
        t, &(struct observed){.kind = STEP_LOGGED, .detail = "durable", .at_us = t->decided_at_us});
  observe_lines(t, record);
  observe(t, &(struct observed){.kind = STEP_RECOVERED,
                                .detail = kind == WAL_KIND_COMMIT ? "commit" : "delegated"});
  observe_state(t);
}

static enum error_code recover_record(void *data, const struct wal_record *record,
                                      struct error *err) {
  struct coordinator *c = data;
  if (record->branch_count < 1 || record->branch_count > TXN_BRANCHES_MAX)
    return error_set(err, ERR_LOG, "the record of transaction %s has %zu branches",
                     record->txid.text, record->branch_count);
  struct transaction *t = transaction_new(c, &record->txid);
  t->label = record->label ? strdup(record->label) : NULL;
  if (record->label && !t->label) return error_set(err, ERR_MEMORY, "no memory for a label");
  shares_take(t, record->owner);
  t->created_at_us = record->created_at_us;
  t->decided_at_us = record->decided_at_us;
  t->timeout_ms = record->timeout_ms;
  t->wait_decided = record->wait_decided;
  t->logged = t->held_up = true;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *was = &record->branches[i];
    struct member *member = member_find(c, was->participant);
    if (!member)
      return error_set(
          err, ERR_CONFIG,
          "transaction %s has a branch at participant \"%s\", which is not configured: "
          "it must be until the transaction has ended",
          record->txid.text, was->participant);
    struct transaction_branch *branch = transaction_add_branch(t, member);
    (void)snprintf(branch->gid, sizeof branch->gid, "%s", was->gid);
    (void)snprintf(branch->xid, sizeof branch->xid, "%s", was->xid);
    (void)snprintf(branch->server, sizeof branch->server, "%s", was->server);
  }
  struct txn_actions actions;
  txn_recover(&t->core, record, &actions);
  for (unsigned i = 0; i < t->core.branch_count && record->kind == WAL_KIND_COMMIT; i++)
    if (t->core.branches[i].state == TXN_BRANCH_COMMITTING)
      slots_hold(t->branches[i], t->branches[i]->server);
  observe_recovered(t, record);
  spans_recover(t);
  for (size_t i = 0; i < actions.count; i++)
    if (actions.items[i].kind == TXN_DO_PARK) member_park(t->branches[actions.items[i].branch - 1]);
  return ERR_OK;
}

/* Those of which only the end record was lost. Not while the log is being read. */
static void end_confirmed(struct coordinator *c) {
  const struct txn_actions end = {.items = {{.kind = TXN_DO_END}}, .count = 1};
  struct transaction *t, *next;
  HASH_ITER(hh, c->transactions, t, next) {
    if (t->core.state != TXN_COMMITTED && t->core.state != TXN_ABORTED) continue;
    drive_actions(t, &end);
    transaction_review(t);
  }
}

enum error_code recovery_read_log(struct coordinator *c, struct error *err) {
  enum error_code code = wal_each_unfinished(c->wal, recover_record, c, err);
  if (code != ERR_OK) return code;
  if (c->transactions)
    log_info("recovering", "transactions", "d", (int64_t)HASH_COUNT(c->transactions), NULL);
  end_confirmed(c);
  return ERR_OK;
}

/* ---- sweep ------------------------------------------------------------------------------------ */

/* A prepared branch that no live transaction owns. */
struct stray {
  struct member *member;
  struct gid gid;
  struct prepared_branch prepared;
  char server[SERVER_SIZE];
  enum decision decision;
  struct span *span; /* of the decision under way; NULL: not recorded */
  struct stray *prev, *next;
};

static void stray_done(struct stray *stray, bool resolved) {
  struct member *member = stray->member;
  DL_DELETE(member->strays, stray);
  free(stray);
  if (!resolved) member->sweep_again = true;
  if (member->strays) return;
  member->sweeping = false;
  if (member->sweep_again) loop_timer_start(member->sweep_timer, SWEEP_AGAIN_MS);
}

static void stray_decided(void *data, const struct decide_reply *reply, const struct error *err) {
  struct stray *stray = data;
  observe_call(stray->member, CALL_DECIDE, err);
  spans_end_stray(stray->span, reply, err);
  if (err) member_suspect(stray->member, err);
  bool resolved = !err && (reply->outcome == BRANCH_OUTCOME_COMMITTED ||
                           reply->outcome == BRANCH_OUTCOME_ABORTED);
  if (resolved)
    log_info("stray_resolved", "participant", "s", stray->member->name, "gid", "s",
             stray->prepared.gid, "outcome", "s", branch_outcome_name(reply->outcome), NULL);
  stray_done(stray, resolved);
}

static bool record_commits(const struct wal_record *record, const struct stray *stray) {
  if (!record || record->kind != WAL_KIND_COMMIT) return false;
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    if (strcmp(branch->gid, stray->prepared.gid) == 0)
      return strcmp(branch->xid, stray->prepared.xid) == 0;
  }
  return false;
}

static void stray_looked_up(void *data, const struct wal_record *record, const struct error *err) {
  struct stray *stray = data;
  struct member *member = stray->member;
  CRASH_POINT("C10");
  /* Between the listing and now the transaction cannot have come to life: ids are never used again. */
  if (err || !member->usable) {
    stray_done(stray, false);
    return;
  }
  stray->decision = record_commits(record, stray) ? DECIDE_COMMIT : DECIDE_ABORT;
  struct decide_request request = {.gid = stray->prepared.gid,
                                   .epoch = member->coordinator->epoch,
                                   .decision = stray->decision,
                                   .xid = stray->prepared.xid,
                                   .server = stray->server};
  stray->span = spans_begin_stray(member, &stray->gid, stray->decision);
  if (stray->span) request.trace = span_context(stray->span);
  member->participant->ops->decide(member->participant, &request, stray_decided, stray);
}

/* A live transaction sends its decision itself, until the branch has confirmed it. One that is prepared
 * after that was brought back by a failover, while another branch keeps the transaction alive. */
static bool is_looked_after(struct coordinator *c, const struct gid *gid) {
  const struct transaction *t = transaction_find(c, &gid->txid);
  if (!t) return false;
  if (!t->logged || gid->branch > t->core.branch_count) return true;
  enum txn_branch_state state = t->core.branches[gid->branch - 1].state;
  return state != TXN_BRANCH_COMMITTED && state != TXN_BRANCH_ABORTED;
}

static void consider(struct member *member, const struct prepared_branch *prepared,
                     const char *server) {
  struct coordinator *c = member->coordinator;
  struct gid gid;
  if (!gid_parse(prepared->gid, &gid) || strcmp(gid.cluster.text, c->cluster.text) != 0) return;
  if (gid.epoch > c->epoch) {
    log_error("later_epoch_found", "participant", "s", member->name, "gid", "s", prepared->gid,
              NULL);
    return;
  }
  if (is_looked_after(c, &gid)) return;
  struct stray *stray = calloc(1, sizeof *stray);
  if (!stray) {
    member->sweep_again = true;
    return;
  }
  stray->member = member;
  stray->gid = gid;
  stray->prepared = *prepared;
  (void)snprintf(stray->server, sizeof stray->server, "%s", server);
  DL_APPEND(member->strays, stray);
  wal_look_up(c->wal, &stray->gid.txid, stray_looked_up, stray);
}

static void listed(void *data, const struct list_reply *reply, const struct error *err) {
  struct member *member = data;
  observe_call(member, CALL_LIST, err);
  if (err) member_suspect(member, err);
  for (size_t i = 0; !err && i < reply->count; i++)
    consider(member, &reply->branches[i], reply->server);
  member->sweeping = member->strays != NULL;
  member->listed(member, !err);
}

void recovery_sweep(struct member *member, void (*done)(struct member *member, bool ok)) {
  if (member->sweeping) {
    member->sweep_again = true;
    done(member, true);
    return;
  }
  member->sweeping = true;
  member->sweep_again = false;
  member->listed = done;
  struct coordinator *c = member->coordinator;
  struct list_request request = {.cluster = c->cluster, .epoch = c->epoch};
  member->participant->ops->list(member->participant, &request, listed, member);
}

int64_t recovery_stray_count(const struct member *member) {
  int64_t count = 0;
  const struct stray *stray;
  DL_FOREACH(member->strays, stray) count++;
  return count;
}

void recovery_forget(struct member *member) {
  struct stray *stray, *next;
  DL_FOREACH_SAFE(member->strays, stray, next) {
    span_drop(stray->span);
    free(stray);
  }
  member->strays = NULL;
}
