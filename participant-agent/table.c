/* The agent's branches: the table, and the step from an event to what is done about it. See
 * internal.h.
 *
 * Invariants
 *  1. An ended branch is kept as a tombstone: at rest by little (tomb.c), and whole again while somebody
 * asks for it. One that comes back to life (the database shows it prepared) is a tombstone no more.
 *  2. A request waits in `runs` or `decisions` of one entry until the core says how it is answered.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "participant-agent/internal.h"

static void entomb(struct entry *entry, bool ended) {
  struct agent *agent = entry->agent;
  if (ended == entry->entombed) return;
  entry->entombed = ended;
  if (ended)
    DL_APPEND(agent->ended, entry);
  else
    DL_DELETE(agent->ended, entry);
}

struct entry *entry_find(struct agent *agent, const char *gid) {
  struct entry *entry = NULL;
  HASH_FIND_STR(agent->entries, gid, entry);
  if (entry) return entry;
  entry = tomb_open(agent, gid);
  if (entry) entomb(entry, true);
  return entry;
}

struct entry *entry_make(struct agent *agent, const char *gid, const struct gid *id) {
  struct entry *entry = must_allocate(sizeof *entry);
  entry->agent = agent;
  copy_text(entry->gid, sizeof entry->gid, gid);
  entry->id = *id;
  branch_init(&entry->branch);
  HASH_ADD_STR(agent->entries, gid, entry);
  return entry;
}

static void release(struct entry *entry) {
  assert(!entry->cancelling);
  loop_timer_free(entry->timer);
  free(entry->statements_owned);
  free(entry->results_kept);
  free(entry->cause);
  free(entry->trace);
  span_drop(entry->span);
  free(entry);
}

static bool is_at_rest(const struct entry *entry) {
  return !entry->runs && !entry->decisions && !entry->work && !entry->ticket.queued &&
         !entry->turn.queued && !entry->cancelling && !entry->timer;
}

void entries_bury(struct agent *agent) {
  struct entry *entry, *next;
  DL_FOREACH_SAFE(agent->ended, entry, next) {
    if (!is_at_rest(entry)) continue;
    tomb_make(entry);
    entomb(entry, false);
    assert(agent->entries); /* which it is in */
    HASH_DEL(agent->entries, entry);
    release(entry);
  }
}

void entry_free(struct entry *entry) {
  assert(!entry->runs && !entry->decisions && !entry->work && !entry->ticket.queued);
  entomb(entry, false);
  fence_forgot(entry->agent, &entry->id);
  HASH_DEL(entry->agent->entries, entry);
  release(entry);
}

static void drop_requests(struct request *list) {
  struct request *request, *next;
  DL_FOREACH_SAFE(list, request, next)
  request_free(request);
}

void entries_drop(struct agent *agent) {
  struct entry *entry, *next;
  HASH_ITER(hh, agent->entries, entry, next) {
    drop_requests(entry->runs);
    drop_requests(entry->decisions);
    HASH_DEL(agent->entries, entry);
    release(entry);
  }
  tombs_drop(agent);
}

void entries_find(const struct agent *agent, const struct cluster_id *cluster,
                  const struct txid *txid, entry_found_fn fn, void *data) {
  for (const struct entry *entry = agent->entries; entry; entry = entry->hh.next)
    if (strcmp(entry->id.txid.text, txid->text) == 0 &&
        strcmp(entry->id.cluster.text, cluster->text) == 0)
      fn(data, entry->branch.state);
  tombs_find(agent, cluster, txid, fn, data);
}

void entry_start_over(struct entry *entry) {
  entomb(entry, false);
  branch_init(&entry->branch);
  entry->xid[0] = entry->server[0] = '\0';
  entry->told_xid[0] = entry->told_server[0] = '\0';
  entry_note(entry, NULL);
}

void entry_note(struct entry *entry, const struct cause *cause) {
  if (!cause || cause->kind == CAUSE_NONE) {
    free(entry->cause);
    entry->cause = NULL;
    return;
  }
  if (!entry->cause) entry->cause = must_allocate(sizeof *entry->cause);
  *entry->cause = *cause;
  entry->cause->branch = (int)entry->id.branch;
}

void entry_note_text(struct entry *entry, enum cause_kind kind, const char *text) {
  struct cause cause;
  agent_cause_set(&cause, kind, "%s", text);
  entry_note(entry, &cause);
}

/* ---- answers -----------------------------------------------------------------------------------
 */

static void take_cause(const struct entry *entry, struct cause *out, const char *otherwise) {
  if (entry->cause) {
    *out = *entry->cause;
  } else {
    agent_cause_set(out, CAUSE_RECOVERY, "%s", otherwise);
    out->branch = (int)entry->id.branch;
  }
}

static void answer_runs(struct entry *entry, enum vote vote) {
  struct request *list = entry->runs, *request, *next;
  entry->runs = NULL;
  DL_FOREACH_SAFE(list, request, next) {
    struct run_reply *reply = &request->reply.run;
    *reply = (struct run_reply){.vote = vote, .results = entry->results};
    memcpy(reply->gid, entry->gid, sizeof reply->gid);
    memcpy(reply->xid, entry->xid, sizeof reply->xid);
    memcpy(reply->server, entry->server, sizeof reply->server);
    if (vote == VOTE_NO)
      take_cause(entry, &reply->cause, "nothing of this branch is open or prepared here");
    if (vote == VOTE_UNKNOWN) take_cause(entry, &reply->cause, "the database's answer was lost");
    request_answer(entry->agent, request, NULL);
  }
}

/* What a person must see: the branch has ended against the decision. Told once; the coordinator may
 * ask often. That an end cannot be verified is the coordinator's to tell (once): nothing is kept of
 * such a branch here. */
static void warn_of_hazard(struct entry *entry, const struct branch_action *told) {
  bool against = (told->outcome == BRANCH_OUTCOME_ABORTED && told->decision == DECIDE_COMMIT) ||
                 (told->outcome == BRANCH_OUTCOME_COMMITTED && told->decision == DECIDE_ABORT);
  if (!against || entry->hazard_told) return;
  entry->hazard_told = true;
  log_error("branch_against_decision", "participant", "s", entry->agent->participant, "gid", "s",
            entry->gid, "decision", "s", decision_name(told->decision), "outcome", "s",
            branch_outcome_name(told->outcome), "trace_id", "o", trace_id_of(entry->trace), NULL);
}

static void answer_decisions(struct entry *entry, enum branch_outcome outcome) {
  struct request *list = entry->decisions, *request, *next;
  entry->decisions = NULL;
  DL_FOREACH_SAFE(list, request, next) {
    struct decide_reply *reply = &request->reply.decide;
    *reply = (struct decide_reply){.outcome = outcome};
    if (outcome == BRANCH_OUTCOME_RETRY || outcome == BRANCH_OUTCOME_UNVERIFIABLE)
      take_cause(entry, &reply->cause, "the gid is not prepared and its end is not known here");
    else if (outcome == BRANCH_OUTCOME_ABORTED && entry->cause)
      reply->cause = *entry->cause;
    request_answer(entry->agent, request, NULL);
  }
}

static void refuse_run(struct entry *entry) {
  assert(entry->runs);
  struct request *request = entry->runs->prev; /* the last one */
  DL_DELETE(entry->runs, request);
  enum branch_state state = entry->branch.state;
  struct error err = {0};
  if (state == BRANCH_COMMITTED)
    (void)error_set(&err, ERR_COMMITTED, "branch %s has committed", entry->gid);
  else if (state == BRANCH_NONE)
    (void)error_set(&err, ERR_NOT_OPEN, "branch %s has been decided: it takes no run any more",
                    entry->gid);
  else
    (void)error_set(&err, entry->branch.vote_due ? ERR_BUSY : ERR_NOT_OPEN,
                    "branch %s is %s; its next run is number %u", entry->gid,
                    branch_state_name(state), entry->branch.next_sequence);
  request_answer(entry->agent, request, &err);
}

static void refuse_decision(struct entry *entry, enum decision decision) {
  assert(entry->decisions);
  struct request *request = entry->decisions->prev;
  DL_DELETE(entry->decisions, request);
  log_warn("decision_not_now", "participant", "s", entry->agent->participant, "gid", "s",
           entry->gid, "decision", "s", decision_name(decision), "state", "s",
           branch_state_name(entry->branch.state), "trace_id", "o", trace_id_of(entry->trace),
           NULL);
  struct decide_reply *reply = &request->reply.decide;
  *reply = (struct decide_reply){.outcome = BRANCH_OUTCOME_RETRY};
  agent_cause_set(&reply->cause, CAUSE_CONFLICT, "the branch is %s, which %s contradicts",
                  branch_state_name(entry->branch.state), decision_name(decision));
  reply->cause.branch = (int)entry->id.branch;
  request_answer(entry->agent, request, NULL);
}

/* ---- the step ----------------------------------------------------------------------------------
 */

/* Also one of which nothing is known any more but that it is closed. */
static bool is_ended(const struct branch *branch) {
  enum branch_state state = branch->state;
  return state == BRANCH_COMMITTED || state == BRANCH_ABORTED || state == BRANCH_READ_ONLY ||
         (state == BRANCH_NONE && branch->closed);
}

static void act(struct entry *entry, const struct branch_event *event,
                const struct branch_action *action) {
  switch (action->kind) {
  case BRANCH_DO_RUN: execute_run(entry); break;
  case BRANCH_DO_CANCEL: execute_cancel(entry); break;
  case BRANCH_DO_BARRIER: execute_barrier(entry); break;
  case BRANCH_DO_ROLLBACK: execute_rollback(entry); break;
  case BRANCH_DO_COMMIT: execute_commit(entry); break;
  case BRANCH_DO_END_SESSION: execute_end_session(entry); break;
  case BRANCH_DO_LOOK_UP: execute_look_up(entry); break;
  case BRANCH_DO_COMMIT_PREPARED: execute_finish(entry, true); break;
  case BRANCH_DO_ROLLBACK_PREPARED: execute_finish(entry, false); break;
  case BRANCH_DO_ASK_STATUS: execute_ask_status(entry); break;
  case BRANCH_DO_REPLY_VOTE: answer_runs(entry, action->vote); break;
  case BRANCH_DO_REPLY_OUTCOME:
    warn_of_hazard(entry, action);
    answer_decisions(entry, action->outcome);
    break;
  case BRANCH_DO_REFUSE_RUN: refuse_run(entry); break;
  case BRANCH_DO_REFUSE_DECISION: refuse_decision(entry, event->decision); break;
  case BRANCH_DO_JOIN: break; /* it waits in the list already */
  case BRANCH_DO_FORGET: entry_free(entry); break;
  }
}

/* Actions that carry on may step again before they return (a run that finds no place in the queue
 * has failed at once); they come last, so nothing is touched after them. */
void entry_step(struct entry *entry, const struct branch_event *event) {
  struct branch_actions actions;
  enum branch_state before = entry->branch.state;
  branch_step(&entry->branch, event, &actions);
  if (entry->branch.state != before) entry->since = ++entry->agent->moment;
  entomb(entry, is_ended(&entry->branch));
  execute_watch(entry);
  for (size_t i = 0; i < actions.count; i++)
    act(entry, event, &actions.items[i]);
}
