/* libpq on the event loop: connecting, pipelining, reading, timers.
 *
 * Invariants:
 *  1. No call here waits: the connection is non-blocking and results are taken only when PQisBusy()
 *     says that they are complete. Two exceptions, both libpq's: a host name in the dsn is resolved
 *     where PQconnectStart() runs (`hostaddr` avoids it), and a password or service file is
 *     read there.
 *  2. The first step of the ring is the query libpq is reading. Steps leave the ring in the order
 *     they were queued: a query at the NULL that ends its results, a Sync at its own result.
 *  3. `warned` is about the first step only. PostgreSQL sends the notices of a command between its
 *     BindComplete and its CommandComplete, and libpq does not look past the results of the command
 *     before; so clearing it when a step becomes the first misses nothing and adds nothing.
 *  4. After the connection is dropped every operation gets `lost`, once, or has answered before.
 *  5. A socket is watched only while it is open. libpq closes it in any call that finds the server gone,
 *     those that send included; a watch that was set and not yet carried out would end the process
 *     (libuv aborts), and its number may be another's at once.
 * Limits: STEPS_MAX queued steps. libpq holds a single row as a whole twice, as it was read and as a result, and
 * does not tell its length before it is there. So what comes in pieces is counted, see wire_bound(); what has
 * come at once is found by rows.wide.
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <utlist.h>

#include "adapters/sqlstate.h"
#include "common/utf8.h"

enum { STEPS_MAX = 1 << 20 };

/* ---- errors ---------------------------------------------------------------------------------- */

bool result_is_error(const PGresult *result) {
  return PQresultStatus(result) == PGRES_FATAL_ERROR;
}

const char *result_sqlstate(const PGresult *result) {
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return sqlstate && strlen(sqlstate) == 5 ? sqlstate : "";
}

bool result_is_ambiguous(const PGresult *result) {
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  return sqlstate_class(result_sqlstate(result)) == CLASS_AMBIGUOUS || !severity ||
         strcmp(severity, "ERROR") != 0;
}

int64_t result_affected(PGresult *result) {
  return strtoll(PQcmdTuples(result), NULL, 10);
}

/* One line, cut at a character. */
static void copy_text(char *out, size_t size, const char *text) {
  size_t length = strlen(text);
  while (length > 0 && text[length - 1] == '\n')
    length--;
  length = utf8_prefix(text, length, size - 1);
  memcpy(out, text, length);
  out[length] = '\0';
  for (char *at = out; *at; at++)
    if (*at == '\n' || *at == '\t') *at = ' ';
}

void cause_set(struct cause *cause, enum cause_kind kind, int statement, const char *format, ...) {
  char text[1024];
  va_list args;
  if (cause->kind != CAUSE_NONE) return; /* the first one tells */
  va_start(args, format);
  (void)vsnprintf(text, sizeof text, format, args);
  va_end(args);
  *cause = (struct cause){.kind = kind, .statement = statement};
  copy_text(cause->text, sizeof cause->text, text);
}

void cause_from_result(struct cause *cause, int statement, const PGresult *result) {
  if (cause->kind != CAUSE_NONE) return;
  const char *sqlstate = result_sqlstate(result);
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  bool goes_on = severity && strcmp(severity, "ERROR") == 0;
  cause_set(cause, sqlstate_cause(sqlstate, goes_on), statement, "%s",
            text ? text : PQresultErrorMessage(result));
  memcpy(cause->sqlstate, sqlstate, strlen(sqlstate) + 1);
}

void cause_from_error(struct cause *cause, const struct error *err) {
  if (cause->kind != CAUSE_NONE) return;
  enum cause_kind kind = CAUSE_UNREACHABLE;
  if (err->sqlstate[0]) kind = sqlstate_cause(err->sqlstate, false);
  if (err->code == ERR_LOST && err->sys_errno == ETIMEDOUT) kind = CAUSE_TIMEOUT;
  cause_set(cause, kind, -1, "%s", err->text);
  memcpy(cause->sqlstate, err->sqlstate, sizeof cause->sqlstate);
}

void error_from_cause(struct error *err, enum error_code code, const struct cause *cause) {
  (void)error_set(err, code, "%s", cause->text);
  memcpy(err->sqlstate, cause->sqlstate, sizeof err->sqlstate);
}

/* ---- the ring of steps ----------------------------------------------------------------------- */

static void step_push(struct session *s, struct step step) {
  if (s->step_count == s->step_capacity) {
    size_t capacity = s->step_capacity ? 2 * s->step_capacity : 16;
    struct step *steps = malloc(capacity * sizeof *steps);
    assert(steps && capacity <= STEPS_MAX); /* a few bytes: without them nothing goes on */
    for (size_t i = 0; i < s->step_count; i++)
      steps[i] = s->steps[(s->step_first + i) % s->step_capacity];
    free(s->steps);
    s->steps = steps;
    s->step_first = 0;
    s->step_capacity = capacity;
  }
  s->steps[(s->step_first + s->step_count++) % s->step_capacity] = step;
}

static void step_pop(struct session *s) {
  assert(s->step_count > 0);
  s->step_first = (s->step_first + 1) % s->step_capacity;
  s->step_count--;
  s->step_started = false;
  s->warned = false;
}

/* ---- entering and leaving -------------------------------------------------------------------- */

static void enter(struct session *s) {
  s->depth++;
}

static void forget_unsent(struct session *s) {
  if (!s->is_unsent) return;
  s->is_unsent = false;
  DL_DELETE2(s->postgres->unsent, s, unsent_prev, unsent_next);
}

static void leave(struct session *s) {
  if (--s->depth > 0 || !s->closing) return;
  loop_timer_free(s->timer);
  loop_timer_free(s->wake);
  free(s->steps);
  kept_clear(&s->kept);
  free(s);
}

void wire_break(struct session *s) {
  loop_poll_free(s->poll);
  s->poll = NULL;
  loop_timer_stop(s->timer);
  loop_timer_stop(s->wake);
  /* PQfinish() sends its farewell without waiting for anybody. */
  PQfinish(s->connection);
  s->connection = NULL;
  forget_unsent(s);
  s->operation++;
  s->step_count = 0;
  s->step_started = false;
  s->state = SESSION_BROKEN;
  s->op = NULL;
}

void wire_close(struct session *s) {
  enter(s);
  s->closing = true;
  s->lost = NULL;
  wire_break(s);
  leave(s);
}

/* ---- losing the connection ------------------------------------------------------------------- */

static void lose(struct session *s, const struct error *err) {
  const struct session_op *op = s->op;
  session_lost_fn lost = s->lost;
  wire_break(s);
  if (op)
    op->lost(s, err);
  else if (lost)
    lost(s->data, err);
}

/* What the server said last, or else what libpq says. */
static void lose_by_libpq(struct session *s) {
  struct error err = s->fatal;
  if (err.code == ERR_OK) {
    char text[sizeof err.text];
    copy_text(text, sizeof text, PQerrorMessage(s->connection));
    (void)error_set(&err, s->state == SESSION_CONNECTING ? ERR_UNAVAILABLE : ERR_LOST, "%s",
                    *text ? text : "the database closed the connection");
  }
  lose(s, &err);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void note_farewell(struct session *s, const PGresult *result) {
  const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  char line[sizeof s->fatal.text];
  copy_text(line, sizeof line, text ? text : "the database ended the session");
  (void)error_set(&s->fatal, ERR_LOST, "%s", line);
  (void)snprintf(s->fatal.sqlstate, sizeof s->fatal.sqlstate, "%s", result_sqlstate(result));
}

static void on_notice(void *data, const PGresult *result) {
  struct session *s = data;
  const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  s->unfinished = 0;
  if (!severity) return;
  if (strcmp(severity, "WARNING") == 0) s->warned = true;
  if (strcmp(severity, "FATAL") != 0 && strcmp(severity, "PANIC") != 0) return;
  note_farewell(s, result);
}

/* A step's first look must come before libpq parses its answer: only then can rows come one by one.
 */
static void step_start(struct session *s) {
  if (s->step_count == 0 || s->step_started) return;
  s->step_started = true;
  /* Refused for a statement that is skipped after an error: it has no rows. */
  const struct step *step = &s->steps[s->step_first];
  if (step->kind == STEP_STATEMENT && !step->parse) (void)PQsetSingleRowMode(s->connection);
}

/* Takes one result to where it belongs. False: the connection is of no use any more. */
static bool take_result(struct session *s, PGresult *result) {
  struct step step = s->steps[s->step_first];
  if (!result) {
    step_pop(s);
    return true;
  }
  switch (PQresultStatus(result)) {
  case PGRES_PIPELINE_SYNC:
    assert(step.kind == STEP_SYNC);
    step_pop(s);
    if (s->op->synced)
      s->op->synced(s);
    else if (s->step_count == 0)
      s->op->drained(s);
    return true;
  case PGRES_FATAL_ERROR:
    if (*result_sqlstate(result) == '\0') return false; /* libpq's own: the connection is dead */
    /* A session that is ended between a command and its Sync: the command has been answered, and no
     * operation expects a result of the Sync. */
    if (step.kind == STEP_SYNC) {
      note_farewell(s, result);
      return false;
    }
    s->op->result(s, step, result);
    return true;
  case PGRES_COMMAND_OK:
    if (!step.parse) s->op->result(s, step, result);
    return true;
  case PGRES_TUPLES_OK:
  case PGRES_SINGLE_TUPLE:
  case PGRES_EMPTY_QUERY:
  case PGRES_PIPELINE_ABORTED: s->op->result(s, step, result); return true;
  case PGRES_COPY_OUT:
  case PGRES_COPY_IN:
  case PGRES_COPY_BOTH: /* refused before it is sent; not possible in a pipeline */
  case PGRES_BAD_RESPONSE:
  case PGRES_NONFATAL_ERROR: return false;
  }
  return false;
}

/* Takes all results that are complete. */
static bool take_results(struct session *s) {
  for (;;) {
    step_start(s);
    s->in_pieces = PQisBusy(s->connection); /* also reads notices of an idle session */
    if (s->in_pieces || s->step_count == 0) return true;
    PGresult *result = PQgetResult(s->connection);
    s->unfinished = 0;
    bool good = take_result(s, result);
    PQclear(result);
    if (s->state == SESSION_BROKEN) return true; /* by the operation itself, or closed */
    if (!good) return false;
  }
}

static bool has_socket(const struct session *s) {
  return PQsocket(s->connection) >= 0;
}

static void watch(struct session *s, bool writable) {
  loop_poll_set(s->poll, true, writable);
  s->write_watched = writable;
}

/* Most answers come whole, and nothing is asked of the kernel for them. */
static bool read_input(struct session *s) {
  int waiting = 0;
  if (s->in_pieces && ioctl(PQsocket(s->connection), FIONREAD, &waiting) == 0 && waiting > 0)
    s->unfinished += (size_t)waiting;
  return PQconsumeInput(s->connection) == 1;
}

static bool is_over(const struct session *s) {
  return s->op && s->op->over && s->step_count > 0 && s->unfinished > s->answer_max;
}

static void give_up(struct session *s) {
  struct error err = {0};
  (void)error_set(&err, ERR_LOST, "an answer of the database was too large to be read");
  s->op->over(s, s->steps[s->step_first]);
  lose(s, &err);
}

/* Sends and takes what there is. */
static void on_socket(struct session *s, bool readable) {
  bool alive = true;
  if (readable) alive = read_input(s);
  /* What came before the end counts, so it is read first: a tag may be among it. */
  bool good = take_results(s);
  if (s->state == SESSION_BROKEN) return;
  if (!alive || !good || s->send_failed) {
    lose_by_libpq(s);
    return;
  }
  if (is_over(s)) {
    give_up(s);
    return;
  }
  int flushed = PQflush(s->connection);
  if (flushed < 0 || !has_socket(s))
    lose_by_libpq(s);
  else if (s->write_watched != (flushed == 1))
    watch(s, flushed == 1);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void on_timer(void *data) {
  struct session *s = data;
  unsigned operation = s->operation;
  enter(s);
  /* Who was stopped for a while finds timers over and answers waiting: these count. */
  if (s->state == SESSION_BUSY) on_socket(s, true);
  if (s->operation == operation) {
    struct error err = {0};
    (void)error_set(&err, s->state == SESSION_CONNECTING ? ERR_UNAVAILABLE : ERR_LOST,
                    "no answer from the database in time");
    err.sys_errno = ETIMEDOUT;
    lose(s, &err);
  }
  leave(s);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void on_poll(void *data, bool readable, bool writable);

/* libpq may close its socket and open another in PQconnectPoll(), even with the same number: each
 * step has its own watch. False: `lost` was called, and may be connecting anew. */
static bool connect_watch(struct session *s, PostgresPollingStatusType status) {
  int fd = PQsocket(s->connection);
  s->poll = fd >= 0 ? loop_poll_new(s->loop, fd, on_poll, s) : NULL;
  if (status == PGRES_POLLING_FAILED || !s->poll) {
    lose_by_libpq(s);
    return false;
  }
  loop_poll_set(s->poll, status != PGRES_POLLING_WRITING, status == PGRES_POLLING_WRITING);
  return true;
}

static void connect_step(struct session *s) {
  loop_poll_free(s->poll);
  s->poll = NULL;
  PostgresPollingStatusType status = PQconnectPoll(s->connection);
  if (status == PGRES_POLLING_OK &&
      (PQsetnonblocking(s->connection, 1) != 0 || PQenterPipelineMode(s->connection) != 1))
    status = PGRES_POLLING_FAILED;
  if (!connect_watch(s, status) || status != PGRES_POLLING_OK) return;
  s->state = SESSION_BUSY;
  s->op->drained(s);
}

static void on_poll(void *data, bool readable, bool writable) {
  struct session *s = data;
  (void)writable;
  enter(s);
  if (s->state == SESSION_CONNECTING)
    connect_step(s);
  else
    on_socket(s, readable);
  leave(s);
}

static void on_wake(void *data) {
  struct session *s = data;
  enter(s);
  if (s->state == SESSION_CONNECTING) {
    /* libpq's page on PQconnectStart: begin as if PQconnectPoll() had asked to write. */
    bool bad = PQstatus(s->connection) == CONNECTION_BAD;
    (void)connect_watch(s, bad ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING);
  } else if (s->send_failed && s->connection) {
    lose_by_libpq(s);
  } else if (s->state == SESSION_BROKEN && s->op) {
    struct error err = {0};
    (void)error_set(&err, ERR_LOST, "the connection to the database is gone");
    lose(s, &err);
  } else if (s->op && s->step_count == 0) {
    s->op->drained(s);
  }
  leave(s);
}

void wire_connect(struct session *s, const struct session_op *op) {
  /* The first entry may be a whole connection string; entries after it win over what it says. What
   * else a session is to be (time zone, search path) is the user's business and the dsn's. */
  const char *keywords[5 + HOST_KEYWORDS] = {"dbname", "application_name", "client_encoding"};
  const char *values[5 + HOST_KEYWORDS] = {s->postgres->dsn, s->application_name, "UTF8"};
  size_t count = 3;
  struct hosts *hosts = s->postgres->hosts;
  timeouts_ask(s);
  char *options = timeouts_options(s);
  if (options) {
    keywords[count] = "options";
    values[count++] = options;
  }
  if (hosts) s->host_first = hosts_keywords(hosts, keywords + count, values + count);
  if (!s->timer) s->timer = loop_timer_new(s->loop, on_timer, s);
  if (!s->wake) s->wake = loop_timer_new(s->loop, on_wake, s);
  s->state = SESSION_CONNECTING;
  s->op = op;
  s->connection = PQconnectStartParams(keywords, values, 1);
  free(options);
  if (s->connection) (void)PQsetNoticeReceiver(s->connection, on_notice, s);
  loop_timer_start(s->timer, (uint64_t)s->call_timeout_ms);
  loop_timer_start(s->wake, 0);
}

/* ---- what operations call -------------------------------------------------------------------- */

void wire_timer(struct session *s, int64_t timeout_ms) {
  s->operation++;
  loop_timer_start(s->timer, timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
}

void wire_bound(struct session *s, size_t bytes) {
  assert(s->op->over);
  s->answer_max = bytes;
  s->unfinished = 0;
}

void wire_begin(struct session *s, const struct session_op *op, int64_t timeout_ms) {
  assert(!s->op && s->step_count == 0);
  s->op = op;
  s->warned = false;
  if (s->state == SESSION_BROKEN) {
    wire_answer_later(s);
    return;
  }
  s->state = SESSION_BUSY;
  wire_timer(s, timeout_ms);
}

void wire_end(struct session *s, enum session_state state) {
  assert(s->step_count == 0);
  s->operation++;
  loop_timer_stop(s->timer);
  s->op = NULL;
  s->state = state;
}

void wire_answer_later(struct session *s) {
  loop_timer_start(s->wake, 0);
}

void wire_query(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                size_t param_count, const char *const *params) {
  if (s->state == SESSION_BROKEN || s->send_failed) return;
  assert(s->op && param_count <= 65535);
  step_push(s, (struct step){.kind = kind, .index = index});
  if (PQsendQueryParams(s->connection, sql, (int)param_count, NULL, params, NULL, NULL, 0) != 1)
    s->send_failed = true;
}

void wire_kept_query(struct session *s, enum step_kind kind, unsigned index, const char *sql,
                     size_t param_count, const char *const *params) {
  const char *name = NULL;
  if (s->state == SESSION_BROKEN || s->send_failed) return;
  assert(s->op && param_count <= 65535);
  enum kept_answer answer = kept_look_up(&s->kept, &s->postgres->seen, sql, &name);
  if (answer == KEPT_NOT) {
    wire_query(s, kind, index, sql, param_count, params);
    return;
  }
  if (answer == KEPT_NEW) {
    step_push(s, (struct step){.kind = kind, .index = index, .parse = true});
    if (PQsendPrepare(s->connection, name, sql, 0, NULL) != 1) s->send_failed = true;
  }
  step_push(s, (struct step){.kind = kind, .index = index});
  if (PQsendQueryPrepared(s->connection, name, (int)param_count, params, NULL, NULL, 0) != 1)
    s->send_failed = true;
}

void wire_discard(struct session *s, enum step_kind kind) {
  wire_query(s, kind, 0, "DISCARD ALL", 0, NULL);
  kept_clear(&s->kept);
  s->discarded = true;
}

void wire_sync(struct session *s) {
  if (s->state == SESSION_BROKEN || s->send_failed) return;
  step_push(s, (struct step){.kind = STEP_SYNC});
  if (PQpipelineSync(s->connection) != 1) s->send_failed = true;
}

void wire_flush_now(struct session *s) {
  if (s->state == SESSION_BROKEN) return;
  int flushed = s->send_failed ? -1 : PQflush(s->connection);
  if (flushed < 0) {
    /* Not from inside the caller's call. Reading goes on first: it may hold the reason. */
    s->send_failed = true;
    loop_timer_start(s->wake, 0);
    if (has_socket(s)) return;
    loop_poll_free(s->poll);
    s->poll = NULL;
  } else if (flushed == 1) {
    watch(s, true);
  }
}

void wire_flush_all(void *data) {
  struct postgres *postgres = data;
  while (postgres->unsent) {
    struct session *s = postgres->unsent;
    forget_unsent(s);
    wire_flush_now(s);
  }
}

void wire_flush(struct session *s) {
  if (s->state == SESSION_BROKEN || s->is_unsent) return;
  s->is_unsent = true;
  DL_APPEND2(s->postgres->unsent, s, unsent_prev, unsent_next);
  loop_soon_ask(s->postgres->send);
}
