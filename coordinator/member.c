/* Members: is a participant there, is it fenced, and what waits for it.
 *
 * One mechanism for all that has to be tried again: the tick. While a member is not usable the tick
 * fences it; while decisions are parked it asks whether the database is there, and if so sends them
 * all again. Delays grow from RETRY_MIN_MS to RETRY_MAX_MS with jitter, and start over with every
 * success. A decision is never given up.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "coordinator/internal.h"

enum { RETRY_MIN_MS = 10, RETRY_MAX_MS = 100 };

static void tick(void *data);

struct member *member_find(struct coordinator *c, const char *name) {
  struct member *member;
  HASH_FIND_STR(c->members, name, member);
  return member;
}

const char *member_state_name(const struct member *member) {
  if (!member->tried) return "starting";
  return member->up ? "up" : "down";
}

/* ---- availability ----------------------------------------------------------------------------- */

/* The first attempt has been answered: until now nobody could know whether it was there. */
static void note_tried(struct member *member) {
  if (member->tried) return;
  member->tried = true;
  member->changed_at_ms = loop_now_ms(member->coordinator->loop);
}

static void note_up(struct member *member, bool up, const char *why) {
  uint64_t now = loop_now_ms(member->coordinator->loop);
  if (!up) (void)snprintf(member->last_error, sizeof member->last_error, "%s", why);
  if (member->up == up) return;
  uint64_t lasted = now - member->changed_at_ms;
  if (up) {
    member->down_ms += lasted;
    if (member->failures > 0) { /* else it was never up before */
      member->repairs++;
      member->repaired_ms += lasted;
    }
    member->last_error[0] = '\0';
    log_info("participant_up", "participant", "s", member->name, "server", "s",
             member->fence.server, NULL);
  } else {
    member->up_ms += lasted;
    member->failures++;
    log_warn("participant_down", "participant", "s", member->name, "error", "s", why, NULL);
  }
  member->up = up;
  member->changed_at_ms = now;
  observe_member(member);
}

static void schedule(struct member *member) {
  uint64_t random;
  id_random(&random, sizeof random);
  bool waiting = !member->usable || member->parked;
  uint64_t delay = waiting ? member->retry_ms - random % (member->retry_ms / 4 + 1)
                           : (uint64_t)member->coordinator->options.health_interval_ms;
  loop_timer_start(member->tick, delay);
}

static void schedule_later(struct member *member) {
  member->retry_ms = member->retry_ms * 2 < RETRY_MAX_MS ? member->retry_ms * 2 : RETRY_MAX_MS;
  schedule(member);
}

static void schedule_soon(struct member *member) {
  member->retry_ms = RETRY_MIN_MS;
  if (!member->calling) schedule(member);
}

/* ---- parked decisions ------------------------------------------------------------------------- */

void member_park(struct transaction_branch *branch) {
  struct member *member = branch->member;
  assert(!branch->parked);
  branch->parked = true;
  bool first = !member->parked;
  DL_APPEND(member->parked, branch);
  if (first && !member->calling) schedule(member);
}

void member_unpark(struct transaction_branch *branch) {
  if (!branch->parked) return;
  branch->parked = false;
  DL_DELETE(branch->member->parked, branch);
}

/* Sends every parked decision again. Those that fail park again behind the mark, for the next tick. */
static void send_parked(struct member *member) {
  struct transaction_branch *todo = member->parked;
  member->parked = NULL;
  while (todo) {
    struct transaction_branch *branch = todo;
    DL_DELETE(todo, branch);
    branch->parked = false;
    drive(branch->transaction, &(struct txn_event){.kind = TXN_EV_RETRY, .branch = branch->id});
  }
}

/* ---- fence ------------------------------------------------------------------------------------ */

static void listed(struct member *member, bool ok) {
  member->calling = false;
  if (ok && member->usable) {
    member->retry_ms = RETRY_MIN_MS;
    send_parked(member);
    if (member->health_known)
      schedule(member);
    else
      loop_timer_start(member->tick, 0); /* how much it can do is wanted soon */
  } else {
    schedule_later(member);
  }
}

/* A standby of the participant may take its place, not what was its primary before or another server:
 * an agent that has restarted would not know. */
static bool is_refused(struct member *member, const struct fence_reply *reply) {
  const char *was = member->fence.server, *is = reply->server;
  char text[CAUSE_TEXT_SIZE];
  enum server_relation relation = server_relation(was, is);
  if (relation != SERVER_PREDECESSOR && relation != SERVER_STRANGER) return false;
  (void)snprintf(text, sizeof text,
                 "server %s is %s %s, which it was until now: does the agent's connection string "
                 "lead where it should? Restart the coordinator to work with it all the same",
                 is, relation == SERVER_PREDECESSOR ? "on an older timeline than" : "not", was);
  if (strcmp(member->last_error, text) != 0)
    log_error("participant_server_refused", "participant", "s", member->name, "error", "s", text,
              NULL);
  note_up(member, false, text);
  return true;
}

/* What was voted on the former server is worth nothing: the standby may not have it. Whatever is not
 * decided need not become a hazard. */
static void abort_what_was_voted_elsewhere(struct member *member, const char *server) {
  struct transaction *t, *next;
  HASH_ITER(hh, member->coordinator->transactions, t, next) {
    bool elsewhere = false;
    for (unsigned i = 0; i < t->core.branch_count && !elsewhere; i++) {
      const struct transaction_branch *branch = t->branches[i];
      elsewhere =
          branch->member == member && branch->server[0] && strcmp(branch->server, server) != 0;
    }
    if (elsewhere)
      transaction_rollback(t, CAUSE_UNREACHABLE,
                           "a participant's database has failed over to another server meanwhile");
  }
}

static void fence(struct member *member);

static void halt_fenced_off(struct member *member, const char *why) {
  log_error("fenced_off", "participant", "s", member->name, "error", "s", why, NULL);
  member->coordinator->options.halt(
      "a participant knows a life of this log that this log has not had: another coordinator has "
      "taken over with a copy of it, or an old copy of it was put back. When the log that belongs "
      "here is lost, run `assent recover --log-lost`");
}

/* The participant knows a life of this cluster: ours only when the log has had it. */
static void show_life(struct member *member, const struct fence_reply *reply) {
  struct coordinator *c = member->coordinator;
  if (!wal_had_life(c->wal, reply->former_epoch, reply->former_run_id)) {
    char why[200];
    (void)snprintf(why, sizeof why,
                   "it knows run %s at epoch %llu of cluster %s, which is not in this log: this "
                   "log is an old copy, or was used with another copy",
                   reply->former_run_id, (unsigned long long)reply->former_epoch, c->cluster.text);
    halt_fenced_off(member, why);
  }
  bool first = member->after_epoch == 0;
  member->after_epoch = reply->former_epoch;
  memcpy(member->after_run_id, reply->former_run_id, sizeof member->after_run_id);
  if (first) {
    fence(member);
  } else {
    member->calling = false;
    schedule_later(member);
  }
}

static void fenced(void *data, const struct fence_reply *reply, const struct error *err) {
  struct member *member = data;
  observe_call(member, CALL_FENCE, err);
  if (!err && reply->former_epoch > 0) {
    show_life(member, reply);
    return;
  }
  if (err) {
    if (err->code == ERR_FENCED) halt_fenced_off(member, err->text);
    member->calling = false;
    if (!member->tried)
      log_warn("participant_down", "participant", "s", member->name, "error", "s", err->text, NULL);
    note_tried(member);
    note_up(member, false, err->text);
    schedule_later(member);
    return;
  }
  if (is_refused(member, reply)) {
    member->calling = false;
    note_tried(member);
    schedule_later(member);
    return;
  }
  bool changed = member->fence.server[0] && strcmp(member->fence.server, reply->server) != 0;
  if (changed)
    log_warn("participant_changed_server", "participant", "s", member->name, "was", "s",
             member->fence.server, "is", "s", reply->server, NULL);
  member->fence = *reply;
  note_tried(member);
  member->usable = true;
  slots_know(member);
  note_up(member, true, "");
  if (changed) abort_what_was_voted_elsewhere(member, member->fence.server);
  if (!member->surveyed) strangers_look(member);
  member->surveyed = true;
  /* What is listed tells the agent what is prepared, so that the parked commits need no look-up. */
  recovery_sweep(member, listed);
}

static void fence(struct member *member) {
  struct coordinator *c = member->coordinator;
  struct fence_request request = {.cluster = c->cluster,
                                  .epoch = c->epoch,
                                  .after_epoch = member->after_epoch};
  memcpy(request.run_id, c->run_id, sizeof request.run_id);
  memcpy(request.after_run_id, member->after_run_id, sizeof request.after_run_id);
  member->calling = true;
  member->participant->ops->fence(member->participant, &request, fenced, member);
}

void member_suspect(struct member *member, const struct error *err) {
  /* One request's refusal is no sign against the participant. */
  if (error_class_of(err->code) == CLASS_CALLER && err->code != ERR_FENCED) return;
  note_up(member, false, err->text);
  if (!member->usable) return;
  member->usable = false;
  slots_know(member);
  schedule_soon(member);
}

/* ---- health ----------------------------------------------------------------------------------- */

/* A prepared transaction holds its locks and keeps VACUUM from its work, whoever forgot it. */
static void watch_age(struct member *member) {
  int64_t limit_ms = member->coordinator->options.prepared_alert_ms;
  const struct health_reply *health = &member->health;
  bool old = limit_ms > 0 && health->oldest_prepared_ms >= limit_ms;
  if (old == member->age_alerted) return;
  member->age_alerted = old;
  if (old)
    log_error("prepared_for_long", "participant", "s", member->name, "oldest_prepared_ms", "d",
              health->oldest_prepared_ms, "prepared", "d", health->prepared_count, "detail", "s",
              "of anybody on this server: see pg_prepared_xacts", NULL);
  else
    log_info("prepared_for_long_ended", "participant", "s", member->name, NULL);
}

static void health_answered(void *data, const struct health_reply *reply, const struct error *err) {
  struct member *member = data;
  observe_call(member, CALL_HEALTH, err);
  member->calling = false;
  if (err) {
    member_suspect(member, err);
    schedule(member);
    return;
  }
  member->health = *reply;
  member->health_known = true;
  slots_know(member);
  if (reply->connected) watch_age(member);
  if (member->usable && reply->connected && strcmp(reply->server, member->fence.server) != 0) {
    /* A failover: fence there at once, not when somebody asks. What it brings back holds locks. */
    struct error changed = {0};
    (void)error_set(&changed, ERR_FENCED, "its server is %s now, and was %s", reply->server,
                    member->fence.server);
    member_suspect(member, &changed);
    return;
  }
  if (!member->usable) { /* suspected meanwhile */
    schedule(member);
    return;
  }
  note_up(member, reply->connected, reply->last_error);
  if (!reply->connected) {
    schedule_later(member);
    return;
  }
  bool waited = member->parked;
  send_parked(member);
  if (waited)
    schedule_later(member);
  else
    schedule(member);
}

/* Lazy records have nobody who waits for them: their failure is told by no callback, and a coordinator
 * at rest would go on with a log that answers nothing. */
static void check_log(struct coordinator *c) {
  if (wal_stats(c->wal).poisoned) c->options.halt("the decision log failed");
}

static void tick(void *data) {
  struct member *member = data;
  check_log(member->coordinator);
  if (member->calling) return; /* its callback schedules the next */
  if (!member->usable) {
    fence(member);
    return;
  }
  member->calling = true;
  member->participant->ops->health(member->participant, health_answered, member);
}

/* ---- sweep ------------------------------------------------------------------------------------ */

static void swept(struct member *member, bool ok) {
  (void)ok; /* a failed listing is tried at the next sweep; a lost agent is found by its tick */
  loop_timer_start(member->sweep_timer, (uint64_t)member->coordinator->options.sweep_interval_ms);
}

static void sweep_due(void *data) {
  struct member *member = data;
  if (member->usable)
    recovery_sweep(member, swept);
  else
    swept(member, false);
}

/* ---- start, free ------------------------------------------------------------------------------ */

void coordinator_add_participant(struct coordinator *c, const char *name, const char *kind,
                                 struct participant *participant) {
  struct member *member = calloc(1, sizeof *member);
  if (!member) abort();
  member->coordinator = c;
  member->name = strdup(name);
  member->kind = kind;
  member->participant = participant;
  member->retry_ms = RETRY_MIN_MS;
  member->changed_at_ms = loop_now_ms(c->loop);
  member->tick = loop_timer_new(c->loop, tick, member);
  member->sweep_timer = loop_timer_new(c->loop, sweep_due, member);
  HASH_ADD_KEYPTR(hh, c->members, member->name, strlen(member->name), member);
}

void member_start(struct member *member) {
  fence(member);
  swept(member, true);
}

void member_free(struct member *member) {
  assert(member->places.held == 0 && member->places.queued == 0);
  HASH_DEL(member->coordinator->members, member);
  loop_timer_free(member->tick);
  loop_timer_free(member->sweep_timer);
  member->participant->ops->free(member->participant);
  recovery_forget(member);
  statement_set_free(member->statements);
  free(member->name);
  free(member);
}
