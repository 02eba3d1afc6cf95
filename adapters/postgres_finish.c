/* COMMIT PREPARED and ROLLBACK PREPARED: many under way on one connection.
 *
 * Each has a Sync of its own: an error skips what follows only up to the next Sync, and PostgreSQL
 * refuses these commands behind a statement in the same implicit transaction. Answers come in order.
 * The time that counts is that since the last answer: a long queue on a slow disk is not a dead
 * server.
 * Limits: none here; the branches its caller knows bound what can be under way.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/sqlstate.h"
#include "common/crash_point.h"

enum { COMMAND_SIZE = 160 };

struct finish {
  session_finished_fn fn;
  void *data;
  bool commit;
  enum session_finished finished; /* LOST until the answer is in */
  struct cause cause;
  struct finish *next;
};

static void append(struct session *s, struct finish *finish) {
  if (s->finish_last)
    s->finish_last->next = finish;
  else
    s->finish_first = finish;
  s->finish_last = finish;
  s->finish_count++;
}

static struct finish take_first(struct session *s) {
  struct finish *first = s->finish_first, copy = *first;
  s->finish_first = first->next;
  if (!s->finish_first) s->finish_last = NULL;
  s->finish_count--;
  free(first);
  return copy;
}

void finish_discard(struct session *s) {
  while (s->finish_first)
    (void)take_first(s);
}

static enum session_finished judge_error(const PGresult *result) {
  const char *sqlstate = result_sqlstate(result);
  if (strcmp(sqlstate, "42704") == 0) return FINISH_NOT_FOUND;
  if (strcmp(sqlstate, "55000") == 0) return FINISH_BUSY;
  if (result_is_ambiguous(result)) return FINISH_LOST;
  return sqlstate_class(sqlstate) == CLASS_CALLER ? FINISH_REFUSED : FINISH_LOST;
}

static void finish_result(struct session *s, struct step step, PGresult *result) {
  struct finish *finish = s->finish_first;
  assert(step.kind == STEP_SETTLE && finish);
  const char *tag = finish->commit ? "COMMIT PREPARED" : "ROLLBACK PREPARED";
  if (result_is_error(result)) {
    cause_from_result(&finish->cause, -1, result);
    finish->finished = judge_error(result);
  } else if (strcmp(PQcmdStatus(result), tag) != 0 || s->warned) {
    cause_set(&finish->cause, CAUSE_UNREACHABLE, -1,
              "%s came with a warning: a replica may lack it", tag);
  } else {
    finish->finished = FINISH_DONE;
    CRASH_POINT("A6");
  }
}

/* Told at the Sync, not before: who has the last answer may ask something else at once. */
static void finish_synced(struct session *s) {
  struct finish finish = take_first(s);
  if (s->finish_first)
    wire_timer(s, s->call_timeout_ms);
  else
    wire_end(s, SESSION_IDLE);
  finish.fn(finish.data, finish.finished, &finish.cause);
}

/* Nothing is known of what was under way, but for an answer that came without its Sync. A callback
 * may close the session, which empties the list. */
static void finish_lost(struct session *s, const struct error *err) {
  for (size_t left = s->finish_count; left > 0 && s->finish_first; left--) {
    struct finish finish = take_first(s);
    if (finish.finished == FINISH_LOST) cause_from_error(&finish.cause, err);
    finish.fn(finish.data, finish.finished, &finish.cause);
  }
}

static const struct session_op finish_op = {.result = finish_result,
                                            .synced = finish_synced,
                                            .lost = finish_lost};

void session_finish(struct session *s, const char *gid, bool commit, session_finished_fn fn,
                    void *data) {
  struct gid parts;
  char sql[COMMAND_SIZE];
  assert(gid_parse(gid, &parts));
  assert(s->op == &finish_op || s->state == SESSION_IDLE || s->state == SESSION_BROKEN);
  struct finish *finish = malloc(sizeof *finish);
  assert(finish);
  *finish = (struct finish){.fn = fn, .data = data, .commit = commit, .cause.statement = -1};
  append(s, finish);
  if (s->op != &finish_op) wire_begin(s, &finish_op, s->call_timeout_ms);
  (void)snprintf(sql, sizeof sql, "%s PREPARED '%s'", commit ? "COMMIT" : "ROLLBACK", gid);
  wire_query(s, STEP_SETTLE, 0, sql, 0, NULL);
  wire_sync(s);
  wire_flush(s);
}
