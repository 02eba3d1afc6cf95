/* Fencing: "from now on (cluster, epoch, run) is the coordinator". See message.h, and
 * docs/design.md for the argument.
 *
 *   1. wait for the control session: sessions of the agent's former lives are ended by then
 *   2. is the life in the state directory one to follow? (it may hold one from when the database
 *      kept none)
 *   3. claim the epoch in the database; where rights lack, in the state directory, unless the
 *      database knows a life that is not one to follow
 *   4. from here on older epochs are refused; what they have open is rolled back or cancelled
 *   5. wait until nothing of theirs can become prepared any more
 *   6. answer
 *
 * A fence that fails leaves the epoch as claimed; repeating it goes through all steps again.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"
#include "participant-agent/internal.h"
#include "participant-agent/state.h"

struct fencing {
  struct agent *agent;
  struct request *request;
  struct epoch_claim claim;
  uint64_t former_epoch; /* known before it was granted; 0: none */
  struct control_turn turn;
  bool waiting; /* step 5 */
  struct loop_timer *timer;
  struct fencing *prev, *next;
};

static struct fenced *find(struct agent *agent, const struct cluster_id *cluster) {
  for (size_t i = 0; i < agent->fenced_count; i++)
    if (strcmp(agent->fenced[i].cluster.text, cluster->text) == 0) return &agent->fenced[i];
  return NULL;
}

const struct fenced *fence_find(const struct agent *agent, const struct cluster_id *cluster) {
  for (size_t i = 0; i < agent->fenced_count; i++)
    if (strcmp(agent->fenced[i].cluster.text, cluster->text) == 0) return &agent->fenced[i];
  return NULL;
}

void fence_forgot(struct agent *agent, const struct gid *id) {
  struct fenced *fenced = find(agent, &id->cluster);
  if (fenced && strcmp(id->txid.text, fenced->memory_after.text) > 0)
    fenced->memory_after = id->txid;
}

static void finish(struct fencing *f, const struct error *err) {
  struct agent *agent = f->agent;
  const char *why = err ? err->text : "";
  if (err && strcmp(agent->fence_error, why) != 0) /* once a reason, not once an attempt */
    log_warn("fence_failed", "participant", "s", agent->participant, "cluster", "s",
             f->claim.cluster.text, "epoch", "d", (int64_t)f->claim.epoch, "error", "s", why, NULL);
  copy_text(agent->fence_error, sizeof agent->fence_error, why);
  request_answer(agent, f->request, err);
  assert(f->next || f != agent->fencings || f->prev == f); /* the only one is its own last */
  DL_DELETE(agent->fencings, f);
  loop_timer_free(f->timer);
  free(f);
}

static void stale(struct fencing *f, uint64_t known) {
  struct error err = {0};
  if (known == f->claim.epoch)
    (void)error_set(&err, ERR_FENCED,
                    "epoch %" PRIu64 " of cluster %s is held by another run of the coordinator: "
                    "two of them use copies of one log",
                    known, f->claim.cluster.text);
  else
    (void)error_set(&err, ERR_FENCED,
                    "epoch %" PRIu64 " of cluster %s is older than %" PRIu64
                    ", which participant %s has seen: this log is an old copy",
                    f->claim.epoch, f->claim.cluster.text, known, f->agent->participant);
  finish(f, &err);
}

static bool is_stale(const struct epoch_claim *claim, uint64_t known, const char *run_id) {
  return known > claim->epoch || (known == claim->epoch && strcmp(run_id, claim->run_id) != 0);
}

/* The coordinator has to show that its log has had the life that is known here. One that is older
 * than the life it has shown is no matter: it was followed by that one. */
static bool is_unshown(const struct epoch_claim *claim, uint64_t known, const char *run_id) {
  if (known == 0 || (known == claim->epoch && strcmp(run_id, claim->run_id) == 0)) return false;
  return known > claim->after_epoch ||
         (known == claim->after_epoch && strcmp(run_id, claim->after_run_id) != 0);
}

static void ask_for_life(struct fencing *f, uint64_t known, const char *run_id) {
  struct fence_reply *reply = &f->request->reply.fence;
  *reply = (struct fence_reply){.former_epoch = known};
  copy_text(reply->former_run_id, sizeof reply->former_run_id, run_id);
  finish(f, NULL);
}

/* What is known stands against the claim: answered. */
static bool is_refused(struct fencing *f, uint64_t known, const char *run_id) {
  if (is_stale(&f->claim, known, run_id))
    stale(f, known);
  else if (is_unshown(&f->claim, known, run_id))
    ask_for_life(f, known, run_id);
  else
    return false;
  return true;
}

/* ---- steps 4 to 6 ------------------------------------------------------------------------------
 */

static bool is_older(const struct fencing *f, const struct entry *entry) {
  return entry->id.epoch < f->claim.epoch &&
         strcmp(entry->id.cluster.text, f->claim.cluster.text) == 0;
}

/* With a session, or with one whose end is not sure, a branch can still change the database. */
static bool is_in_flight(const struct entry *entry) {
  return entry->work || entry->ticket.queued || entry->branch.state == BRANCH_ENDING_SESSION;
}

/* A session that could not be ended just now: no use in waiting. */
static bool is_stuck(const struct entry *entry) {
  return entry->branch.state == BRANCH_ENDING_SESSION && entry->branch.stalled;
}

static void close_older(struct fencing *f) {
  struct entry *entry, *next;
  HASH_ITER(hh, f->agent->entries, entry, next) {
    if (!is_older(f, entry) || entry->entombed) continue;
    if (is_in_flight(entry) && !entry->cause)
      entry_note_text(entry, CAUSE_RECOVERY, "a newer run of the coordinator has taken over");
    entry_step(entry, &(struct branch_event){.kind = BRANCH_EV_FENCED});
  }
}

static void unavailable(struct fencing *f, const char *text) {
  struct error err = {0};
  (void)error_set(&err, ERR_UNAVAILABLE, "%s", text);
  finish(f, &err);
}

static void review(struct fencing *f) {
  struct agent *agent = f->agent;
  const struct fenced *fenced = fence_find(agent, &f->claim.cluster);
  if (!fenced) {
    unavailable(f, "the database server changed meanwhile: fence again");
    return;
  }
  if (is_stale(&f->claim, fenced->epoch, fenced->run_id)) {
    stale(f, fenced->epoch);
    return;
  }
  struct entry *entry, *next;
  HASH_ITER(hh, agent->entries, entry, next) {
    if (!is_older(f, entry) || !is_in_flight(entry)) continue;
    if (is_stuck(entry)) unavailable(f, "a session of an older epoch could not be ended");
    return;
  }
  const struct session_identity *identity = control_identity(agent->control);
  struct fence_reply *reply = &f->request->reply.fence;
  *reply = (struct fence_reply){.server_version = identity->server_version,
                                .prepared_max = identity->prepared_max};
  memcpy(reply->server, identity->server, sizeof reply->server);
  memcpy(reply->incarnation, agent->incarnation, sizeof reply->incarnation);
  log_info("fenced", "participant", "s", agent->participant, "cluster", "s", f->claim.cluster.text,
           "epoch", "d", (int64_t)f->claim.epoch, NULL);
  finish(f, NULL);
}

void fence_review(struct agent *agent) {
  struct fencing *f, *next;
  DL_FOREACH_SAFE(agent->fencings, f, next)
  if (f->waiting) review(f);
}

static void on_waited_long(void *data) {
  struct fencing *f = data;
  struct agent *agent = f->agent;
  agent_enter(agent, false);
  unavailable(f, "branches of an older epoch are still at work in the database");
  agent_leave(agent);
}

static void take_over(struct fencing *f) {
  struct agent *agent = f->agent;
  struct fenced *fenced = find(agent, &f->claim.cluster);
  if (fenced && is_stale(&f->claim, fenced->epoch, fenced->run_id)) {
    stale(f, fenced->epoch);
    return;
  }
  if (!fenced && agent->fenced_count == CLUSTERS_MAX) {
    unavailable(f, "too many clusters use this agent");
    return;
  }
  if (!fenced) {
    /* A former life of the agent, or another server, may have had branches of this very epoch. */
    bool first = f->former_epoch < f->claim.epoch && !agent->server_changed;
    fenced = &agent->fenced[agent->fenced_count++];
    *fenced = (struct fenced){.memory_from_epoch = f->claim.epoch + !first};
  }
  fenced->cluster = f->claim.cluster;
  fenced->epoch = f->claim.epoch;
  memcpy(fenced->run_id, f->claim.run_id, sizeof fenced->run_id);
  control_keep_trying(agent->control);
  f->timer = loop_timer_new(agent->loop, on_waited_long, f);
  loop_timer_start(f->timer, (uint64_t)agent->call_timeout_ms);
  close_older(f);
  f->waiting = true; /* reviewed when this turn's work is done */
}

/* ---- steps 1 to 3 ------------------------------------------------------------------------------
 */

static void keep_in_state_dir(struct fencing *f) {
  struct agent *agent = f->agent;
  struct error err = {0};
  if (agent->rows_retention_ms > 0) {
    unavailable(f, "outcome_table: the role may not make or write the tables of schema assent: "
                   "GRANT CREATE ON DATABASE to it, or switch outcome_table off");
    return;
  }
  if (!agent->state_dir) {
    (void)error_set(
        &err, ERR_UNAVAILABLE,
        "participant %s: the role may not keep the coordinator's epoch in the database: "
        "GRANT CREATE ON DATABASE to it, or create schema assent for it, or give the "
        "agent a state_dir",
        agent->participant);
    finish(f, &err);
    return;
  }
  if (state_epoch_write(agent->state_dir, agent->participant, &f->claim, &err)) {
    err.code = ERR_UNAVAILABLE;
    finish(f, &err);
    return;
  }
  log_warn("epoch_kept_outside_database", "participant", "s", agent->participant, "reason", "s",
           "the role may not write schema assent: GRANT CREATE ON DATABASE to it", NULL);
  take_over(f);
}

/* Somebody else's claim came between: what is known now is another life than the one refused. */
static void on_claim_refused(struct fencing *f, const struct epoch_known *known) {
  if (!is_refused(f, known->epoch, known->run_id))
    unavailable(f, "another claim of the epoch came between");
}

/* Rights can be lost. What the database has been told before counts all the same: also that every
 * branch leaves a row. Where nobody takes that back, one that commits without is taken for rolled back
 * when the log is lost. */
static void on_claim_not_kept(struct fencing *f, const struct epoch_known *known) {
  if (is_refused(f, known->epoch, known->run_id)) return;
  if (known->epoch > f->former_epoch) f->former_epoch = known->epoch;
  if (known->keeps_rows && f->agent->rows_retention_ms == 0)
    unavailable(f,
                "outcome_table was on here, and the role may not note in schema assent that it no "
                "longer is: let it write assent.coordinator and assent.outcome_kept");
  else
    keep_in_state_dir(f);
}

static void on_claimed(void *data, enum session_claimed claimed, const struct epoch_known *known,
                       const struct cause *cause) {
  struct fencing *f = data;
  struct agent *agent = f->agent;
  agent_enter(agent, false);
  switch (claimed) {
  case CLAIM_GRANTED:
    if (known->epoch > f->former_epoch) f->former_epoch = known->epoch;
    take_over(f);
    break;
  case CLAIM_STALE: on_claim_refused(f, known); break;
  case CLAIM_NO_RIGHTS: on_claim_not_kept(f, known); break;
  case CLAIM_LOST: unavailable(f, cause->text); break;
  }
  control_return(agent->control);
  agent_leave(agent);
}

/* The life on file, from a time when the database would not keep it. */
static bool is_refused_by_file(struct fencing *f) {
  struct agent *agent = f->agent;
  if (!agent->state_dir) return false;
  uint64_t known = 0;
  char run_id[RUN_ID_SIZE];
  struct error err = {0};
  if (state_epoch_read(agent->state_dir, agent->participant, &f->claim.cluster, &known, run_id,
                       &err)) {
    err.code = ERR_UNAVAILABLE;
    finish(f, &err);
    return true;
  }
  f->former_epoch = f->claim.former_epoch = known;
  return is_refused(f, known, run_id);
}

static bool lacks_prepared_transactions(struct fencing *f) {
  struct agent *agent = f->agent;
  if (control_identity(agent->control)->prepared_max > 0) return false;
  struct error err = {0};
  (void)error_set(
      &err, ERR_UNAVAILABLE,
      "participant %s: max_prepared_transactions is 0, so the server cannot take part in "
      "two-phase commit: set it to at least %u (the agent's connections) in "
      "postgresql.conf and restart the server",
      agent->participant, agent->connections_max);
  log_error("prepared_transactions_disabled", "participant", "s", agent->participant, "error", "s",
            err.text, NULL);
  finish(f, &err);
  return true;
}

static void fence_turn(void *data, struct session *session) {
  struct fencing *f = data;
  struct agent *agent = f->agent;
  agent_enter(agent, false);
  if (!session) {
    unavailable(f, control_error(agent->control));
  } else if (lacks_prepared_transactions(f) || is_refused_by_file(f)) {
    control_return(agent->control);
  } else {
    agent->adapter->ops->claim_epoch(session, &f->claim, on_claimed, f);
  }
  agent_leave(agent);
}

void agent_fence(struct agent *agent, const struct fence_request *request, fence_fn fn,
                 void *data) {
  agent_enter(agent, true);
  struct fencing *f = must_allocate(sizeof *f);
  f->agent = agent;
  f->request = request_new(REQUEST_FENCE, data);
  f->request->fn.fence = fn;
  f->claim.cluster = request->cluster;
  f->claim.epoch = request->epoch;
  memcpy(f->claim.run_id, request->run_id, sizeof f->claim.run_id);
  f->claim.after_epoch = request->after_epoch;
  memcpy(f->claim.after_run_id, request->after_run_id, sizeof f->claim.after_run_id);
  DL_APPEND(agent->fencings, f);
  f->turn.impatient = true; /* the coordinator asks again by itself */
  const struct fenced *fenced = fence_find(agent, &request->cluster);
  if (!fenced || !is_refused(f, fenced->epoch, fenced->run_id))
    control_borrow(agent->control, &f->turn, fence_turn, f);
  agent_leave(agent);
}

void fences_drop(struct agent *agent) {
  struct fencing *f, *next;
  DL_FOREACH_SAFE(agent->fencings, f, next) {
    request_free(f->request);
    loop_timer_free(f->timer);
    free(f);
  }
}
