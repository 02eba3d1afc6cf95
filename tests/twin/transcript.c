/* See transcript.h. Lines are written where the script waits for an answer, so that nothing depends
 * on which of two sessions is answered first. */
#include "tests/twin/transcript.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GIDS = 40, STATEMENTS_MAX = 3, ANSWER_SIZE = 1024, CALL_TIMEOUT_MS = 5000 };
enum { LIVES_MAX = 8, GID_TAIL = 40 }; /* behind the cluster, the epoch and the head of the txid */
enum { LONG_MS = 20000 };              /* nothing in the script takes as long */

/* A session and what it was answered last. */
struct talker {
  struct session *session;
  struct session_identity identity;
  bool answered;
  unsigned lost;
  char xid[XID_SIZE];
  char text[ANSWER_SIZE];
};

struct line {
  const char *sql, *params[2];
  int64_t expect;
};

static const struct transcript_server *server;
static const struct adapter_ops *ops;
static char gids[GIDS][GID_SIZE];
static uint64_t first_xid;
static struct talker one, two, control;

/* ---- answers ----------------------------------------------------------------------------------- */

static const char *counted(const char *xid) {
  static char text[24];
  if (!*xid) return "-";
  (void)snprintf(text, sizeof text, "%+" PRId64, (int64_t)(strtoull(xid, NULL, 10) - first_xid));
  return text;
}

static void say(struct talker *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct talker *t, const char *format, ...) {
  va_list args;
  va_start(args, format);
  (void)vsnprintf(t->text, sizeof t->text, format, args);
  va_end(args);
  t->answered = true;
}

static void on_opened(void *data, const struct session_identity *identity,
                      const struct error *err) {
  struct talker *t = data;
  if (identity) t->identity = *identity;
  say(t, "%s", err ? err->text : "opened");
}

static void on_lost(void *data, const struct error *err) {
  struct talker *t = data;
  t->lost++;
  (void)snprintf(t->text, sizeof t->text, "lost %s", err->sqlstate);
}

static void on_ran(void *data, const struct session_result *result) {
  static const char *const names[] = {
      [RAN_UNKNOWN] = "unknown", [RAN_UNWANTED] = "unwanted", [RAN_FAILED] = "failed",
      [RAN_OPEN] = "open",       [RAN_PREPARED] = "prepared", [RAN_READ_ONLY] = "read only"};
  struct talker *t = data;
  memcpy(t->xid, result->xid, sizeof t->xid);
  if (first_xid == 0) first_xid = strtoull(result->xid, NULL, 10);
  say(t, "%s, xid %s, results %s, cause %s %d %s%s", names[result->ran], counted(result->xid),
      result->results ? result->results : "-", cause_kind_name(result->cause.kind),
      result->cause.statement, result->cause.sqlstate, result->reusable ? ", reusable" : "");
}

static void on_finished(void *data, enum session_finished finished, const struct cause *cause) {
  static const char *const names[] = {[FINISH_LOST] = "lost",
                                      [FINISH_DONE] = "done",
                                      [FINISH_NOT_FOUND] = "not found",
                                      [FINISH_BUSY] = "busy",
                                      [FINISH_REFUSED] = "refused"};
  say(data, "%s %s", names[finished], cause->sqlstate);
}

static void on_committed(void *data, enum branch_outcome outcome, const struct cause *cause) {
  say(data, "%s %s", branch_outcome_name(outcome), cause->sqlstate);
}

static void on_looked(void *data, enum session_looked looked, const char *xid,
                      const struct cause *cause) {
  static const char *const names[] = {[LOOKED_LOST] = "lost",
                                      [LOOKED_ABSENT] = "absent",
                                      [LOOKED_PREPARED] = "prepared",
                                      [LOOKED_REFUSED] = "refused"};
  say(data, "%s, xid %s %s", names[looked], counted(xid), cause->sqlstate);
}

static void on_status(void *data, enum xact_status status, const struct cause *cause) {
  static const char *const names[] = {[XACT_STATUS_LOST] = "lost",
                                      [XACT_STATUS_IN_PROGRESS] = "in progress",
                                      [XACT_STATUS_COMMITTED] = "committed",
                                      [XACT_STATUS_ABORTED] = "aborted",
                                      [XACT_STATUS_FORGOTTEN] = "forgotten"};
  say(data, "%s %s", names[status], cause->sqlstate);
}

static void on_listed(void *data, const struct prepared_branch *branches, size_t count,
                      const struct error *err) {
  struct talker *t = data;
  say(t, "%s, %zu:", err ? err->text : "listed", count);
  for (size_t i = 0; i < count; i++) {
    size_t length = strlen(t->text), tail = strlen(branches[i].gid) - 6;
    (void)snprintf(t->text + length, sizeof t->text - length, " ...%s xid %s",
                   branches[i].gid + tail, counted(branches[i].xid));
  }
}

static void on_done(void *data, const struct error *err) {
  say(data, "%s", err ? err->text : "done");
}

static void on_claimed(void *data, enum session_claimed claimed, const struct epoch_known *known,
                       const struct cause *cause) {
  static const char *const names[] = {[CLAIM_LOST] = "lost",
                                      [CLAIM_GRANTED] = "granted",
                                      [CLAIM_STALE] = "stale",
                                      [CLAIM_NO_RIGHTS] = "no rights"};
  say(data, "%s %s, %" PRIu64 " %s is known", names[claimed], cause->sqlstate, known->epoch,
      known->run_id);
}

static void append(struct talker *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(struct talker *t, const char *format, ...) {
  size_t length = strlen(t->text);
  va_list args;
  va_start(args, format);
  (void)vsnprintf(t->text + length, sizeof t->text - length, format, args);
  va_end(args);
}

static int by_cluster(const void *a, const void *b) {
  const struct survey_life *x = a, *y = b;
  return strcmp(x->cluster.text, y->cluster.text);
}

/* Lives come in no order. */
static void on_surveyed(void *data, const struct session_survey *survey, const struct error *err) {
  struct talker *t = data;
  struct survey_life lives[LIVES_MAX];
  size_t life_count = err ? 0 : survey->life_count;
  assert(life_count <= LIVES_MAX);
  for (size_t i = 0; i < life_count; i++)
    lives[i] = survey->lives[i];
  qsort(lives, life_count, sizeof *lives, by_cluster);
  say(t, "%s", err ? err->text : "surveyed");
  for (size_t i = 0; i < life_count; i++) {
    const struct survey_life *life = &lives[i];
    append(t, "\n  %s %" PRIu64 " %s, rows from %" PRIu64 " %s, before %" PRIu64,
           life->cluster.text, life->epoch, life->run_id, life->rows_from_epoch,
           life->rows_from_txid.text, life->rows_before_epoch);
  }
  for (size_t i = 0; !err && i < survey->branch_count; i++)
    append(t, "\n  prepared ...%s xid %s", survey->branches[i].gid + GID_TAIL,
           counted(survey->branches[i].xid));
  append(t, "\n  %zu committed", err ? 0 : survey->committed_count);
}

static void on_probed(void *data, const struct session_probe *probe, const struct error *err) {
  if (err)
    say(data, "%s", err->text);
  else
    say(data, "%" PRId64 " prepared, the oldest %s", probe->prepared_count,
        probe->oldest_prepared_ms < 0 ? "none" : "some time ago");
}

/* ---- calls --------------------------------------------------------------------------------------- */

static void expect_answer(struct talker *t, const char *what) {
  while (!t->answered)
    server->step();
  t->answered = false;
  printf("%s: %s\n", what, t->text);
}

static void until_waiting(size_t count) {
  while (server->waiting() != count)
    server->step();
}

static void until_lost(struct talker *t, const char *what) {
  while (t->lost == 0)
    server->step();
  printf("%s: %s\n", what, t->text);
}

static void open_as(struct talker *t, const char *name) {
  *t = (struct talker){0};
  t->session = ops->open(server->adapter, SESSION_FOR_BRANCHES, name, CALL_TIMEOUT_MS, on_opened,
                         on_lost, t);
  expect_answer(t, name);
}

static void open_all(void) {
  open_as(&control, "assent:control:1:a");
  open_as(&one, "assent:work:1:a");
  open_as(&two, "assent:work:1:b");
}

static void close_all(void) {
  ops->close(one.session);
  ops->close(two.session);
  ops->close(control.session);
}

static void reopen(void) {
  close_all();
  open_all();
}

static void run(struct talker *t, bool begin, enum run_end end, unsigned gid, int64_t timeout_ms,
                size_t count, const struct line *lines) {
  struct statement statements[STATEMENTS_MAX];
  assert(count <= STATEMENTS_MAX && gid < GIDS);
  for (size_t i = 0; i < count; i++) {
    size_t params = lines[i].params[1] ? 2 : lines[i].params[0] ? 1 : 0;
    statements[i] = (struct statement){.sql = lines[i].sql,
                                       .params = lines[i].params,
                                       .param_count = params,
                                       .expect_rows = lines[i].expect};
  }
  struct session_job job = {.begin = begin,
                            .end = end,
                            .gid = gids[gid],
                            .statements = statements,
                            .statement_count = count,
                            .timeout_ms = timeout_ms,
                            .result_rows_max = 10,
                            .result_bytes_max = 1000};
  ops->run(t->session, &job, on_ran, t);
}

static struct line add(const char *account, const char *amount) {
  return (struct line){server->add, {account, amount}, -1};
}

static struct line read_row(const char *account, int64_t expect) {
  return (struct line){server->read, {account, NULL}, expect};
}

static struct line failing(void) {
  return (struct line){server->fail, {NULL, NULL}, -1};
}

static void run_add(struct talker *t, enum run_end end, unsigned gid, const char *account) {
  struct line line = add(account, "1");
  run(t, true, end, gid, LONG_MS, 1, &line);
}

/* A branch of one statement, from BEGIN to its vote. */
static void branch(const char *what, unsigned gid, struct line line) {
  run(&one, true, RUN_PREPARE, gid, LONG_MS, 1, &line);
  expect_answer(&one, what);
}

static void ask_status(const char *what, const char *xid) {
  ops->xact_status(control.session, xid, on_status, &control);
  expect_answer(&control, what);
}

static void look_up(const char *what, unsigned gid, bool barrier) {
  ops->look_up(control.session, gids[gid], barrier, on_looked, &control);
  expect_answer(&control, what);
}

static void finish(const char *what, unsigned gid, bool commit) {
  ops->finish(control.session, gids[gid], commit, on_finished, &control);
  expect_answer(&control, what);
}

static void roll_back(struct talker *t, const char *what) {
  ops->rollback(t->session, on_ran, t);
  expect_answer(t, what);
}

static void commit(struct talker *t, const char *what) {
  ops->commit(t->session, on_committed, t);
  expect_answer(t, what);
  printf("  the session is %s\n", ops->is_idle(t->session) ? "idle" : "broken");
}

/* ---- the script ------------------------------------------------------------------------------------ */

static void votes(void) {
  char xid[XID_SIZE];
  run_add(&one, RUN_READY, 0, "1");
  expect_answer(&one, "ready, the first xid");
  memcpy(xid, one.xid, sizeof xid);
  roll_back(&one, "rolled back");
  ask_status("how did it end", xid);
  ask_status("an xid that is none yet", "99999999");
  branch("a write", 1, add("1", "5"));
  ask_status("its xid", one.xid);
  look_up("its gid", 1, false);
  look_up("with a barrier", 1, true);
  look_up("another gid", 2, true);
  branch("the same gid again", 1, add("2", "5"));
  branch("only reads", 2, read_row("2", -1));
  branch("only reads, one row expected", 2, read_row("2", 1));
  branch("reads a row that is not there", 2, read_row("9", -1));
  branch("and expects it", 2, read_row("9", 1));
  branch("writes to no row", 2, add("9", "1"));
  branch("below zero", 3, add("3", "-500"));
  branch("fails", 3, failing());
  struct line three[] = {add("2", "5"), read_row("2", 1), add("2", "-7")};
  run(&one, true, RUN_PREPARE, 2, LONG_MS, 3, three);
  expect_answer(&one, "three statements, one with an expectation");
  struct line amid[] = {add("3", "1"), failing(), add("3", "1")};
  run(&one, true, RUN_PREPARE, 3, LONG_MS, 3, amid);
  expect_answer(&one, "fails amid");
  run(&one, true, RUN_KEEP_OPEN, 3, LONG_MS, 2, amid);
  expect_answer(&one, "fails, and was to stay open");
  struct line held = add("1", "1");
  run(&one, true, RUN_PREPARE, 4, 300, 1, &held);
  expect_answer(&one, "waits too long for what a prepared branch holds");
}

static void second_phase(void) {
  static const struct cluster_id ours = {"transcript00"}, others = {"transcript01"};
  ops->list(control.session, &ours, on_listed, &control);
  expect_answer(&control, "ours");
  ops->list(control.session, &others, on_listed, &control);
  expect_answer(&control, "another cluster's");
  ops->probe(control.session, "assent_", on_probed, &control);
  expect_answer(&control, "probe");
  finish("commit", 1, true);
  finish("commit again", 1, true);
  finish("rollback after commit", 1, false);
  finish("rollback", 2, false);
  branch("a write", 5, add("1", "1"));
  struct talker before = control, after = control;
  ops->finish(control.session, gids[7], true, on_finished, &before);
  ops->finish(control.session, gids[5], true, on_finished, &control);
  ops->finish(control.session, gids[6], false, on_finished, &after);
  expect_answer(&before, "in one pipeline: none");
  expect_answer(&control, "a commit");
  expect_answer(&after, "none");
  ask_status("its xid", one.xid);
}

static void one_phase(void) {
  run_add(&one, RUN_READY, 8, "1");
  expect_answer(&one, "ready");
  ops->barrier(control.session, on_done, &control);
  expect_answer(&control, "barrier");
  ask_status("its xid", one.xid);
  commit(&one, "commit");
  ask_status("its xid", one.xid);
  struct line line = read_row("1", -1);
  run(&one, true, RUN_READY, 8, LONG_MS, 1, &line);
  expect_answer(&one, "ready, has only read");
  commit(&one, "commit");
}

static void kept_open(void) {
  struct line line = read_row("1", 1), bad = failing();
  run_add(&one, RUN_KEEP_OPEN, 9, "1");
  expect_answer(&one, "stays open");
  run(&one, false, RUN_KEEP_OPEN, 9, LONG_MS, 1, &line);
  expect_answer(&one, "reads what it has written");
  run(&one, false, RUN_PREPARE, 9, LONG_MS, 0, NULL);
  expect_answer(&one, "prepares");
  finish("rollback", 9, false);
  run_add(&one, RUN_KEEP_OPEN, 10, "1");
  expect_answer(&one, "stays open");
  run(&one, false, RUN_PREPARE, 10, LONG_MS, 1, &bad);
  expect_answer(&one, "fails later");
  run_add(&one, RUN_KEEP_OPEN, 10, "1");
  expect_answer(&one, "stays open");
  roll_back(&one, "rollback");
  struct talker idle;
  open_as(&idle, "assent:idle:1:a");
  line = add("1", "1");
  run(&idle, true, RUN_KEEP_OPEN, 20, 200, 1, &line);
  expect_answer(&idle, "stays open, for a moment");
  until_lost(&idle, "idle for too long");
  run(&idle, false, RUN_PREPARE, 20, 200, 0, NULL);
  expect_answer(&idle, "prepares after that");
  ops->close(idle.session);
}

static void waiting(void) {
  struct line first = add("1", "1"), second = add("2", "1");
  run_add(&one, RUN_KEEP_OPEN, 11, "1");
  expect_answer(&one, "one has 1");
  run_add(&two, RUN_KEEP_OPEN, 12, "2");
  expect_answer(&two, "two has 2");
  run(&one, false, RUN_PREPARE, 11, LONG_MS, 1, &second);
  until_waiting(1);
  run(&two, false, RUN_PREPARE, 12, LONG_MS, 1, &first);
  expect_answer(&one, "who waited first finds the circle");
  expect_answer(&two, "the other goes on");
  look_up("of the first", 11, false);
  finish("of the second", 12, true);
  run_add(&one, RUN_KEEP_OPEN, 13, "1");
  expect_answer(&one, "one has 1");
  run_add(&two, RUN_PREPARE, 14, "1");
  until_waiting(1);
  ops->cancel(control.session, two.identity.backend_pid, on_done, &control);
  expect_answer(&control, "cancel");
  expect_answer(&two, "cancelled");
  ops->cancel(control.session, two.identity.backend_pid, on_done, &control);
  expect_answer(&control, "cancel what is idle");
  run_add(&two, RUN_PREPARE, 14, "1");
  until_waiting(1);
  roll_back(&one, "one lets go");
  expect_answer(&two, "two goes on");
  finish("of two", 14, true);
}

static void ended_by_others(void) {
  struct talker idle, busy;
  open_as(&idle, "assent:ended:1:a");
  open_as(&busy, "assent:ended:1:b");
  run_add(&one, RUN_KEEP_OPEN, 15, "1");
  expect_answer(&one, "one has 1");
  run_add(&busy, RUN_PREPARE, 16, "1");
  until_waiting(1);
  ops->end_sessions(control.session, "assent:ended:", "", on_done, &control);
  expect_answer(&control, "both are ended");
  expect_answer(&busy, "the one that waited");
  until_lost(&idle, "the idle one");
  look_up("nothing of it", 16, true);
  roll_back(&one, "one lets go");
  ops->close(idle.session);
  ops->close(busy.session);
  open_as(&idle, "assent:ended:2:a");
  open_as(&busy, "assent:ended:2:b");
  run_add(&busy, RUN_READY, 17, "1");
  expect_answer(&busy, "ready");
  ops->end_sessions(idle.session, "assent:ended:", "assent:ended:2:a", on_done, &idle);
  expect_answer(&idle, "the other is ended");
  until_lost(&busy, "it was in transaction");
  ask_status("its xid", busy.xid);
  commit(&busy, "commit after that");
  ops->close(idle.session);
  ops->close(busy.session);
}

/* What a client has sent is done after it has gone. */
static void gone(void) {
  struct talker client;
  open_as(&client, "assent:gone:1:a");
  run_add(&one, RUN_KEEP_OPEN, 18, "1");
  expect_answer(&one, "one has 1");
  run_add(&client, RUN_PREPARE, 19, "1");
  until_waiting(1);
  ops->close(client.session);
  roll_back(&one, "one lets go");
  do {
    ops->look_up(control.session, gids[19], true, on_looked, &control);
    while (!control.answered)
      server->step();
    control.answered = strncmp(control.text, "prepared", 8) == 0;
  } while (!control.answered);
  expect_answer(&control, "the client has gone, its PREPARE lands");
  finish("rollback", 19, false);
}

static void slots(void) {
  static const char *const accounts[] = {"1", "2", "3", "4", "5", "6"};
  for (unsigned i = 0; i < 6; i++)
    branch("one slot more", 21 + i, add(accounts[i], "1"));
  branch("only reads", 30, read_row("1", -1));
  for (unsigned i = 0; i < 6; i++)
    finish("one slot less", 21 + i, i % 2 == 0);
}

static const char first[] = "0123456789abcdef", second[] = "fedcba9876543210";

static void claim(const char *what, const char *cluster, uint64_t epoch, const char *run_id,
                  uint64_t after_epoch, const char *after_run_id) {
  struct epoch_claim wanted = {.epoch = epoch, .after_epoch = after_epoch};
  bool parsed = cluster_id_parse(cluster, &wanted.cluster);
  assert(parsed && strlen(run_id) < sizeof wanted.run_id &&
         strlen(after_run_id) < sizeof wanted.after_run_id);
  memcpy(wanted.run_id, run_id, strlen(run_id) + 1);
  memcpy(wanted.after_run_id, after_run_id, strlen(after_run_id) + 1);
  ops->claim_epoch(control.session, &wanted, on_claimed, &control);
  expect_answer(&control, what);
}

static void survey(const char *what, const struct txid *txids, size_t count) {
  const struct survey_request request = {.txids = txids, .txid_count = count};
  ops->survey(control.session, &request, on_surveyed, &control);
  expect_answer(&control, what);
}

static void claims(void) {
  static const char ours[] = "transcript00", others[] = "transcript01";
  survey("nothing is known of lives", NULL, 0);
  claim("the first claim", ours, 3, first, 0, "");
  claim("once more", ours, 3, first, 0, "");
  claim("by another run", ours, 3, second, 0, "");
  claim("of a lower epoch", ours, 2, second, 0, "");
  claim("of a higher one, after nobody", ours, 4, second, 0, "");
  claim("after another life", ours, 4, second, 3, second);
  claim("after an older one", ours, 4, second, 2, first);
  claim("after the one that is known", ours, 4, second, 3, first);
  claim("after a later one than is known", ours, 7, first, 6, first);
  claim("of another cluster", others, 1, first, 0, "");
  survey("two lives", NULL, 0);
}

static struct txid txid_of(unsigned gid) {
  struct gid parts;
  bool parsed = gid_parse(gids[gid], &parts);
  assert(parsed);
  return parts.txid;
}

static void forget_before(const char *what, unsigned gid) {
  struct txid txid = txid_of(gid);
  ops->forget_rows(control.session, txid.text, on_done, &control);
  expect_answer(&control, what);
}

/* Branches leave rows from here on: sessions are opened anew. */
static void rows(void) {
  const struct txid asked[] = {txid_of(32), txid_of(33), txid_of(34)};
  ops->leave_rows(server->adapter);
  reopen();
  look_up("of an application, without a row", 31, true);
  claim("tables are made for rows", "transcript00", 7, first, 0, "");
  claim("the next life", "transcript00", 8, second, 7, first);
  claim("the first of a cluster", "transcript02", 1, first, 0, "");
  branch("leaves a row", 32, add("4", "1"));
  look_up("its row counts", 32, true);
  run_add(&two, RUN_PREPARE, 32, "5");
  until_waiting(1);
  survey("it has not committed", asked, 3);
  finish("commit", 32, true);
  expect_answer(&two, "the same branch again has waited for its key");
  branch("only reads, and leaves none", 33, read_row("5", -1));
  branch("another row", 34, add("5", "1"));
  finish("commit", 34, true);
  survey("two have committed", asked, 3);
  forget_before("the first is old", 33);
  survey("one is left", asked, 3);
  branch("of a transaction that is old", 32, add("4", "1"));
  finish("rollback", 32, false);
}

/* What has ended has a lower number than who connects is told, and some that have not. */
static void numbers(void) {
  struct talker t;
  branch("prepared", 35, add("6", "1"));
  open_as(&t, "assent:number:1:a");
  printf("the next xid: %+" PRId64 "\n", (int64_t)(t.identity.next_xid - first_xid));
  ops->close(t.session);
  finish("rollback", 35, false);
  open_as(&t, "assent:number:1:b");
  printf("the next xid: %+" PRId64 "\n", (int64_t)(t.identity.next_xid - first_xid));
  ops->close(t.session);
}

void transcript_write(const struct transcript_server *to) {
  server = to;
  ops = to->adapter->ops;
  first_xid = 0;
  for (unsigned i = 0; i < GIDS; i++) {
    struct gid gid = {.cluster = {"transcript00"}, .epoch = 1, .branch = i + 1};
    (void)snprintf(gid.txid.text, sizeof gid.txid.text, "01890000-0000-7000-8000-%012u", i);
    gid_format(&gid, gids[i]);
  }
  open_all();
  votes();
  second_phase();
  one_phase();
  kept_open();
  waiting();
  ended_by_others();
  gone();
  slots();
  claims();
  numbers();
  branch("without rows", 31, add("7", "1"));
  rows();
  finish("rollback", 31, false);
  branch("a balance", 31, read_row("1", -1));
  branch("a balance", 31, read_row("2", -1));
  branch("a balance", 31, read_row("3", -1));
  close_all();
  printf("lost unasked: %u, %u, %u\n", one.lost, two.lost, control.lost);
}
