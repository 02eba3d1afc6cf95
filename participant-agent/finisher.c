/* See finisher.h.
 *
 * Invariants
 *  1. What is queued is in `queue`, with deadlines that grow; what is under way is counted in its
 *     session's `under_way` and is answered by the adapter, also when the connection breaks.
 *  2. After a lost answer a session takes nothing new until it has answered everything else and
 * shows that it is idle.
 */
#include "participant-agent/finisher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/crash_point.h"

/* A session waits for the disk with one commit at a time, and a server joins what several sessions wait
 * for into one write: so with much under way there are more than those that are kept ready. */
enum { FINISH_SESSIONS_READY = 2, FINISH_SESSIONS_MAX = 8, FINISH_UNDER_WAY_MAX = 256 };

enum finish_state { FINISH_OFF, FINISH_OPENING, FINISH_UP };

struct finish_session {
  struct finisher *finisher;
  enum finish_state state;
  struct session *session;
  char name[SESSION_NAME_SIZE];
  size_t under_way;
  bool suspect; /* an answer was lost on it */
  bool retired; /* to be closed when nothing is under way */
};

struct finisher {
  struct finisher_options options;
  char server[SERVER_SIZE];
  bool started;
  struct finish_session sessions[FINISH_SESSIONS_MAX];
  struct finish *queue;
  struct loop_timer *expiry, *retry;
  bool retrying;
  struct backoff backoff;
  char error[CAUSE_TEXT_SIZE];
};

static void serve(struct finisher *f);

static void close_session(struct finish_session *s) {
  assert(s->under_way == 0);
  s->finisher->options.adapter->ops->close(s->session);
  *s = (struct finish_session){.finisher = s->finisher};
}

static void on_opened(void *data, const struct session_identity *identity,
                      const struct error *err) {
  struct finish_session *s = data;
  struct finisher *f = s->finisher;
  if (s->retired) {
    close_session(s);
  } else if (err) {
    copy_text(f->error, sizeof f->error, err->text);
    close_session(s);
    f->retrying = true;
    loop_timer_start(f->retry, backoff_next_ms(&f->backoff));
  } else if (strcmp(identity->server, f->server) != 0) {
    close_session(s);
    f->retrying = true;
    loop_timer_start(f->retry, backoff_next_ms(&f->backoff));
    f->options.stranger(f->options.stranger_data, identity);
  } else {
    s->state = FINISH_UP;
    f->backoff.delay_ms = 0;
  }
  serve(f);
}

static void on_lost(void *data, const struct error *err) {
  struct finish_session *s = data;
  struct finisher *f = s->finisher;
  copy_text(f->error, sizeof f->error, err->text);
  close_session(s);
  serve(f);
}

/* The first `count` of all. */
static void open_missing(struct finisher *f, size_t count) {
  if (!f->started || f->retrying) return;
  for (size_t i = 0; i < count && i < FINISH_SESSIONS_MAX; i++) {
    struct finish_session *s = &f->sessions[i];
    if (s->state != FINISH_OFF) continue;
    session_names_next(f->options.names, s->name);
    s->state = FINISH_OPENING;
    s->session = f->options.adapter->ops->open(f->options.adapter, SESSION_FOR_CONTROL, s->name,
                                               f->options.call_timeout_ms, on_opened, on_lost, s);
  }
}

static void on_retry(void *data) {
  struct finisher *f = data;
  f->retrying = false;
  serve(f);
}

/* ---- finishing ---------------------------------------------------------------------------------
 */

static void dequeue(struct finisher *f, struct finish *finish) {
  DL_DELETE(f->queue, finish);
  if (!f->queue) loop_timer_stop(f->expiry);
}

static void on_finished(void *data, enum session_finished finished, const struct cause *cause) {
  struct finish *finish = data;
  struct finish_session *s = finish->on;
  struct finisher *f = s->finisher;
  s->under_way--;
  if (finished == FINISH_LOST) s->suspect = true;
  if (s->under_way == 0) {
    if (s->retired || !f->options.adapter->ops->is_idle(s->session)) close_session(s);
    s->suspect = false;
  }
  finish->on = NULL;
  finish->fn(finish->data, finished, cause);
  serve(f);
}

static struct finish_session *least_busy(struct finisher *f) {
  struct finish_session *best = NULL;
  for (size_t i = 0; i < FINISH_SESSIONS_MAX; i++) {
    struct finish_session *s = &f->sessions[i];
    if (s->state == FINISH_UP && !s->suspect && !s->retired &&
        s->under_way < FINISH_UNDER_WAY_MAX && (!best || s->under_way < best->under_way))
      best = s;
  }
  return best;
}

/* A session for each that is under way; all that are kept ready when something finds none. */
static size_t sessions_wanted(const struct finisher *f) {
  size_t wanted = f->queue ? FINISH_SESSIONS_READY : 0, under_way = 0;
  for (size_t i = 0; i < FINISH_SESSIONS_MAX; i++)
    under_way += f->sessions[i].under_way;
  return under_way > wanted ? under_way : wanted;
}

/* Connections are kept while the agent works with a server, and made again when one is wanted. */
static void serve(struct finisher *f) {
  struct finish_session *s;
  while (f->queue && f->started && (s = least_busy(f))) {
    struct finish *finish = f->queue;
    dequeue(f, finish);
    finish->on = s;
    copy_text(finish->session_name, sizeof finish->session_name, s->name);
    s->under_way++;
    CRASH_POINT("A5");
    f->options.adapter->ops->finish(s->session, finish->gid, finish->commit, on_finished, finish);
  }
  open_missing(f, sessions_wanted(f));
}

static void expire_later(struct finisher *f) {
  uint64_t now = loop_now_ms(f->options.loop);
  uint64_t at = f->queue->deadline_ms;
  loop_timer_start(f->expiry, at > now ? at - now : 0);
}

/* Those due until then are told that there was no session for them. */
static void fail_queued(struct finisher *f, uint64_t until_ms, const char *why) {
  struct cause cause;
  agent_cause_set(&cause, CAUSE_UNREACHABLE, "%s", why);
  while (f->queue && f->queue->deadline_ms <= until_ms) {
    struct finish *finish = f->queue;
    dequeue(f, finish);
    finish->fn(finish->data, FINISH_LOST, &cause);
  }
}

static void on_expiry(void *data) {
  struct finisher *f = data;
  fail_queued(f, loop_now_ms(f->options.loop), f->error[0] ? f->error : "no connection in time");
  if (f->queue) expire_later(f);
}

void finisher_submit(struct finisher *f, struct finish *finish, const char *gid, bool commit,
                     session_finished_fn fn, void *data) {
  *finish = (struct finish){.gid = gid, .commit = commit, .fn = fn, .data = data};
  finish->deadline_ms = loop_now_ms(f->options.loop) + (uint64_t)f->options.call_timeout_ms;
  bool first = !f->queue;
  DL_APPEND(f->queue, finish);
  if (first) expire_later(f);
  serve(f);
}

/* ---- life --------------------------------------------------------------------------------------
 */

void finisher_start(struct finisher *f, const char *server) {
  copy_text(f->server, sizeof f->server, server);
  f->started = true;
  f->backoff.delay_ms = 0;
  open_missing(f, FINISH_SESSIONS_READY);
  serve(f);
}

void finisher_stop(struct finisher *f) {
  f->started = false;
  for (size_t i = 0; i < FINISH_SESSIONS_MAX; i++) {
    struct finish_session *s = &f->sessions[i];
    if (s->state == FINISH_UP && s->under_way == 0)
      close_session(s);
    else if (s->state != FINISH_OFF)
      s->retired = true;
  }
  fail_queued(f, UINT64_MAX, "the database server was replaced by another");
}

struct finisher *finisher_new(const struct finisher_options *options) {
  struct finisher *f = must_allocate(sizeof *f);
  f->options = *options;
  f->retry = loop_timer_new(options->loop, on_retry, f);
  f->expiry = loop_timer_new(options->loop, on_expiry, f);
  for (size_t i = 0; i < FINISH_SESSIONS_MAX; i++)
    f->sessions[i].finisher = f;
  return f;
}

void finisher_free(struct finisher *f) {
  if (!f) return;
  for (size_t i = 0; i < FINISH_SESSIONS_MAX; i++)
    f->options.adapter->ops->close(f->sessions[i].session);
  loop_timer_free(f->retry);
  loop_timer_free(f->expiry);
  free(f);
}
