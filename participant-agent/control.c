/* See control.h.
 *
 *   OFF --opening--> OPENING --opened--> [TAKING_OVER] --> IDLE <--> LENT
 *    ^------------------- any failure, after a pause ----------------'
 *
 * Invariants
 *  1. A turn is in the queue exactly while `queued`; deadlines in the queue grow, since all wait
 * the same time, so one timer set to the head's is enough.
 *  2. A session is lent only when this life has taken over on its server.
 */
#include "participant-agent/control.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/log.h"

enum control_state {
  CONTROL_OFF,
  CONTROL_OPENING,
  CONTROL_TAKING_OVER,
  CONTROL_IDLE,
  CONTROL_LENT
};

struct control {
  struct control_options options;
  enum control_state state;
  struct session *session;
  char name[SESSION_NAME_SIZE];
  struct session_identity identity, opened; /* `opened`: not taken over yet */
  bool known;                               /* identity is set */
  uint64_t connections;
  bool keep_trying;
  bool recheck;
  struct backoff backoff;
  struct loop_timer *retry, *expiry;
  bool retrying;
  struct control_turn *queue;
  char error[CAUSE_TEXT_SIZE];
};

static void open_session(struct control *c);
static void serve(struct control *c);

static void on_retry(void *data) {
  struct control *c = data;
  c->retrying = false;
  if (c->state == CONTROL_OFF) open_session(c);
}

/* Connects at once, or after a pause when the last attempt failed. */
static void connect_soon(struct control *c) {
  if (c->state != CONTROL_OFF || c->retrying) return;
  if (c->backoff.delay_ms == 0) {
    open_session(c);
  } else {
    c->retrying = true;
    loop_timer_start(c->retry, c->backoff.delay_ms);
  }
}

static void want(struct control *c) {
  if (c->queue || c->keep_trying) connect_soon(c);
}

static void drop(struct control *c) {
  c->options.adapter->ops->close(c->session);
  c->session = NULL;
  c->state = CONTROL_OFF;
}

/* The database is away: who would rather hear that than wait is told. */
static void turn_impatient_away(struct control *c) {
  struct control_turn *turn, *next;
  DL_FOREACH_SAFE(c->queue, turn, next) {
    if (!turn->impatient) continue;
    (void)control_withdraw(c, turn);
    turn->fn(turn->data, NULL);
  }
}

static void fail(struct control *c, const char *event, const struct error *err) {
  const char *text = err ? err->text : "the connection was lost";
  if (strcmp(c->error, text) != 0) /* once a reason, not once an attempt */
    log_warn(event, "participant", "s", c->options.participant, "error", "s", text, NULL);
  copy_text(c->error, sizeof c->error, text);
  drop(c);
  (void)backoff_next_ms(&c->backoff);
  turn_impatient_away(c);
  want(c);
}

static void usable(struct control *c, bool first) {
  c->state = CONTROL_IDLE;
  c->connections++;
  if (first || c->error[0])
    log_info("participant_up", "participant", "s", c->options.participant, "server", "s",
             c->identity.server, "server_version", "d", (int64_t)c->identity.server_version, NULL);
  c->error[0] = '\0';
  c->backoff.delay_ms = 0;
  if (first) c->options.events.ready(c->options.events.data, &c->identity);
  serve(c);
}

static void on_taken_over(void *data, const struct error *err) {
  struct control *c = data;
  assert(c->state == CONTROL_TAKING_OVER);
  if (err) {
    fail(c, "participant_take_over_failed", err);
    return;
  }
  c->identity = c->opened;
  c->known = true;
  usable(c, true);
}

static void on_opened(void *data, const struct session_identity *identity,
                      const struct error *err) {
  struct control *c = data;
  assert(c->state == CONTROL_OPENING);
  if (err) {
    fail(c, "participant_unreachable", err);
    return;
  }
  if (c->known && strcmp(c->identity.server, identity->server) == 0) {
    c->identity = *identity;
    usable(c, false);
    return;
  }
  if (c->known) {
    c->options.events.server_changed(c->options.events.data, c->identity.server, identity->server);
    c->known = false;
  }
  c->opened = *identity;
  c->state = CONTROL_TAKING_OVER;
  c->options.adapter->ops->end_sessions(c->session, c->options.names->any_life, c->name,
                                        on_taken_over, c);
}

static void on_lost(void *data, const struct error *err) {
  struct control *c = data;
  fail(c, "participant_connection_lost", err);
}

static void open_session(struct control *c) {
  c->state = CONTROL_OPENING;
  c->recheck = false;
  session_names_next(c->options.names, c->name);
  c->session = c->options.adapter->ops->open(c->options.adapter, SESSION_FOR_CONTROL, c->name,
                                             c->options.call_timeout_ms, on_opened, on_lost, c);
}

/* ---- turns -------------------------------------------------------------------------------------
 */

static void dequeue(struct control *c, struct control_turn *turn) {
  DL_DELETE(c->queue, turn);
  turn->queued = false;
  if (!c->queue) loop_timer_stop(c->expiry);
}

static void expire_later(struct control *c) {
  uint64_t now = loop_now_ms(c->options.loop);
  uint64_t at = c->queue->deadline_ms;
  loop_timer_start(c->expiry, at > now ? at - now : 0);
}

static void on_expiry(void *data) {
  struct control *c = data;
  uint64_t now = loop_now_ms(c->options.loop);
  while (c->queue && c->queue->deadline_ms <= now) {
    struct control_turn *turn = c->queue;
    dequeue(c, turn);
    turn->fn(turn->data, NULL);
  }
  if (c->queue) expire_later(c);
}

static void serve(struct control *c) {
  if (c->recheck && c->state == CONTROL_IDLE) {
    drop(c);
    open_session(c);
  }
  if (c->state != CONTROL_IDLE || !c->queue) return;
  struct control_turn *turn = c->queue;
  dequeue(c, turn);
  c->state = CONTROL_LENT;
  turn->fn(turn->data, c->session);
}

void control_borrow(struct control *c, struct control_turn *turn, control_turn_fn fn, void *data) {
  assert(!turn->queued);
  turn->fn = fn;
  turn->data = data;
  turn->deadline_ms = loop_now_ms(c->options.loop) + (uint64_t)c->options.call_timeout_ms;
  turn->queued = true;
  bool first = !c->queue;
  DL_APPEND(c->queue, turn);
  if (first) expire_later(c);
  want(c);
  serve(c);
}

void control_return(struct control *c) {
  assert(c->state == CONTROL_LENT);
  c->state = CONTROL_IDLE;
  if (c->options.adapter->ops->is_idle(c->session))
    serve(c);
  else
    fail(c, "participant_connection_lost", NULL);
}

bool control_withdraw(struct control *c, struct control_turn *turn) {
  if (!turn->queued) return false;
  dequeue(c, turn);
  if (c->queue) expire_later(c);
  return true;
}

/* ---- the rest ----------------------------------------------------------------------------------
 */

void control_keep_trying(struct control *c) {
  c->keep_trying = true;
  want(c);
}

void control_wake(struct control *c) {
  connect_soon(c);
}

void control_recheck(struct control *c) {
  c->recheck = true;
  serve(c);
}

bool control_is_connected(const struct control *c) {
  return c->state == CONTROL_IDLE || c->state == CONTROL_LENT;
}

uint64_t control_connection(const struct control *c) {
  return control_is_connected(c) ? c->connections : 0;
}

const struct session_identity *control_identity(const struct control *c) {
  return c->known ? &c->identity : NULL;
}

const char *control_error(const struct control *c) {
  if (c->error[0] || control_is_connected(c)) return c->error;
  return "not connected to the database yet";
}

struct control *control_new(const struct control_options *options) {
  struct control *c = must_allocate(sizeof *c);
  c->options = *options;
  c->retry = loop_timer_new(options->loop, on_retry, c);
  c->expiry = loop_timer_new(options->loop, on_expiry, c);
  open_session(c);
  return c;
}

void control_free(struct control *c) {
  if (!c) return;
  c->options.adapter->ops->close(c->session);
  loop_timer_free(c->retry);
  loop_timer_free(c->expiry);
  free(c);
}
