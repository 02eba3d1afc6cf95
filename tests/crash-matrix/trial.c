/* Tries one cell of the matrix.
 *
 *   1. a world; a transaction is told committed; all daemons are stopped in good order, so that
 *      nothing of it is left to recovery
 *   2. started again with the crash point armed, a transaction runs until the point is met
 *   3. the fault: the process has died there (KILLED), or stands there while a database is killed
 *   4. what died starts again. KILLED: it is killed again while it recovers, at other points
 *   5. when all has settled, everything is judged
 *   6. all daemons are killed at once and started again: everything is judged again, a further
 *      transaction commits, and all daemons stop in good order
 *
 * A point that is met in recovery only (C10, A7) needs a transaction left by a former life: that
 * life is killed after its decision, or, for one that aborts, when the others have prepared. A
 * branch of an unknown transaction is put beside it, so that there is always one to roll back.
 */
#include "tests/crash-matrix/matrix.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

enum {
  SPEC_SIZE = 32,
  /* The log checkpoints at its thousandth frame: a page of 4096 bytes and a header of 24. */
  FRAME_BYTES = 4096 + 24,
  FILL_FRAMES = 980
};

static const char *const bank_names[BANKS_MAX] = {"bank_a", "bank_b", "bank_c"};

/* ---- transactions ------------------------------------------------------------------------------ */

static struct attempt *new_attempt(struct trial *t) {
  assert(t->count < ATTEMPTS_MAX);
  struct attempt *attempt = &t->attempts[t->count];
  (void)snprintf(attempt->label, sizeof attempt->label, "x%zu", t->count++);
  return attempt;
}

/* Every bank has a change and a row with the label. The first branch says how many rows it expects,
 * which makes its PREPARE wait for the counts; the others prepare in the same round trip. */
static const char *branch_body(const struct trial *t, int bank, const char *label, bool doomed) {
  struct api *api = t->w->api;
  int amount = bank != BANK_A ? AMOUNT : t->w->banks == 1 ? -AMOUNT : AMOUNT * (1 - t->w->banks);
  const char *back =
      t->w->banks == 1
          ? api_text(api, STATEMENT("UPDATE account SET balance = balance + %d WHERE id = 2") ",",
                     AMOUNT)
          : "";
  return api_text(
      api,
      "{'participant':'%s','statements':["
      "{'sql':'UPDATE account SET balance = balance + $1 WHERE id = 1','params':[%d]%s},"
      "%s{'sql':'INSERT INTO ledger VALUES ($1)','params':['%s']}%s]}",
      bank_names[bank], amount, bank == BANK_A ? ",'expect_rows':1" : "", back, label,
      doomed ? "," AT_GATE "," STATEMENT("INSERT INTO promise VALUES (4711)") : "");
}

static const char *body_of(const struct trial *t, const struct attempt *attempt, bool doomed) {
  const char *branches = "";
  for (int bank = 0; bank < t->w->banks; bank++)
    branches = api_text(t->w->api, "%s%s%s", branches, bank ? "," : "",
                        branch_body(t, bank, attempt->label, doomed && bank == t->w->banks - 1));
  return api_text(t->w->api, "{'commit':true,'label':'%s','branches':[%s]}", attempt->label,
                  branches);
}

static void post(struct trial *t) {
  t->met = new_attempt(t);
  t->call = async_post(t->w->api, "/v1/transactions", body_of(t, t->met, t->cell->abort));
}

/* False when the answer was lost. */
static bool hear(struct trial *t) {
  if (!t->call) return true;
  const struct reply *reply = async_finish(t->call);
  judge_hear(t->met, reply);
  t->call = NULL;
  return reply->status != 0;
}

static void run_one_that_commits(struct trial *t) {
  struct attempt *attempt = new_attempt(t);
  const struct reply *reply = api_run(t->w->api, "%s", body_of(t, attempt, false));
  CHECK_STATUS(reply, 200);
  judge_hear(attempt, reply);
  if (!gid_parse(reply_string(reply, "/branches/0/gid"), &t->earlier))
    check_failed(__FILE__, __LINE__, true, "no gid in (%d) %.600s", reply->status, reply->text);
}

/* ---- daemons ----------------------------------------------------------------------------------- */

static void kill_all(struct trial *t) {
  for (int target = 0; target < WORLD_TARGETS; target++)
    world_kill(t->w, (enum world_target)target);
}

static void stop_all(struct trial *t) {
  for (int target = 0; target < WORLD_TARGETS; target++)
    world_stop(t->w, (enum world_target)target);
}

/* Agents first. `spec`: the crash point of the one at `target`, or NULL. */
static void start_all(struct trial *t, enum world_target target, const char *spec) {
  for (int bank = 0; bank < t->w->banks && t->w->mode == WORLD_AGENTS; bank++) {
    enum world_target agent = world_agent_of(t->w, bank);
    world_start(t->w, agent, agent == target ? spec : NULL);
  }
  world_start(t->w, COORDINATOR, target == COORDINATOR ? spec : NULL);
}

static bool is_alive(const struct trial *t, enum world_target target) {
  return t->w->processes[target] && process_is_alive(t->w->processes[target]);
}

static bool is_met(const struct trial *t) {
  return t->cell->fault == KILLED ? !is_alive(t, t->at) : world_is_stopped(t->w, t->at);
}

/* ---- into the point ---------------------------------------------------------------------------- */

/* In one process the last passage is that of the last branch. */
static void arm(struct trial *t, char spec[SPEC_SIZE]) {
  const struct point *point = t->cell->point;
  int nth = point->last && t->at == COORDINATOR ? t->w->banks : 1;
  (void)snprintf(spec, SPEC_SIZE, "%s:%d%s", point->name, nth,
                 t->cell->fault == KILLED ? "" : ":stop");
}

static bool others_are_prepared(struct trial *t) {
  for (int bank = 0; bank < t->w->banks - 1; bank++)
    if (judge_prepared(t, bank) != 1) return false;
  return gate_waiting(t->w, t->w->banks - 1) == 1;
}

static void open_gate(struct trial *t) {
  if (t->gate) gate_open(t->gate);
  t->gate = NULL;
}

/* The transaction has ended without it; what it leaves for later (the end, lazy records) is behind
 * it when the coordinator has ended in good order. */
static void check_never_met(struct trial *t) {
  (void)hear(t);
  UNTIL(judge_settled(t));
  if (!is_alive(t, t->at) || world_is_stopped(t->w, t->at))
    check_failed(__FILE__, __LINE__, true, "the point was met, and should never be");
}

static void run_into_point(struct trial *t) {
  bool expected = plan_expected(t->cell) != NEVER_MET;
  if (t->cell->abort && t->w->banks > 1) t->gate = gate_close(t->w, t->w->banks - 1);
  post(t);
  if (t->gate) {
    UNTIL(is_met(t) || others_are_prepared(t));
    if (!is_met(t)) open_gate(t);
  }
  if (expected)
    UNTIL(is_met(t)); /* it may be met behind the answer */
  else
    UNTIL(is_met(t) || async_is_done(t->call));
}

static long long log_bytes(const struct trial *t) {
  char path[512];
  struct stat status;
  (void)snprintf(path, sizeof path, "%s/log/decisions.db-wal", t->w->directory);
  return stat(path, &status) == 0 ? (long long)status.st_size : 0;
}

/* Fills the log until its checkpoint is near, and then runs one transaction after the other. An
 * abort is noted lazily, so each is given the time to be noted. */
static void run_into_checkpoint(struct trial *t) {
  while (log_bytes(t) < (long long)FILL_FRAMES * FRAME_BYTES && is_alive(t, t->at))
    CHECK_STATUS(api_run(t->w->api, ONE_CALL("", BRANCH("bank_a", STATEMENT("SELECT 1")))), 200);
  while (!is_met(t)) {
    long long before = log_bytes(t);
    post(t);
    UNTIL(is_met(t) || async_is_done(t->call));
    if (is_met(t)) return;
    if (!hear(t))
      UNTIL(is_met(t));
    else if (t->cell->abort)
      UNTIL(is_met(t) || log_bytes(t) > before);
  }
}

/* ---- left by a former life --------------------------------------------------------------------- */

/* A branch of a transaction that this cluster's log does not know, prepared in the first bank. */
static void prepare_stray(struct trial *t) {
  struct gid gid = t->earlier;
  char text[GID_SIZE];
  gid.txid = txid_make(0);
  gid_format(&gid, text);
  PGconn *session = world_connect(t->w, BANK_A);
  world_run_on(session, "BEGIN");
  world_run_on(session, "INSERT INTO ledger VALUES ('stray')");
  world_run_on(session, api_text(t->w->api, "PREPARE TRANSACTION '%s'", text));
  PQfinish(session);
}

/* The coordinator is killed with the transaction's decision durable, or with none. */
static void leave_behind(struct trial *t) {
  bool several = t->w->banks > 1;
  stop_all(t);
  start_all(t, COORDINATOR,
            !several         ? (t->cell->abort ? "C5" : "C8")
            : t->cell->abort ? NULL
                             : "C5");
  world_wait_ready(t->w);
  if (several && t->cell->abort) {
    t->gate = gate_close(t->w, t->w->banks - 1);
    post(t);
    UNTIL(others_are_prepared(t));
    world_kill(t->w, COORDINATOR);
    open_gate(t);
  } else {
    post(t);
    world_wait_crashed(t->w, COORDINATOR);
  }
  (void)hear(t);
  kill_all(t);
  prepare_stray(t);
}

/* ---- the fault --------------------------------------------------------------------------------- */

/* For asking by id afterwards, also where nobody was told it. */
static void note_id(struct trial *t) {
  struct gid gid;
  for (int bank = 0; bank < t->w->banks && !t->met->id[0]; bank++) {
    PGconn *session = world_connect(t->w, bank);
    PGresult *found = PQexec(session, "SELECT gid FROM pg_prepared_xacts WHERE gid NOT LIKE "
                                      "'%\\_00000000-0000-%' AND database = current_database()");
    if (PQntuples(found) == 1 && gid_parse(PQgetvalue(found, 0, 0), &gid))
      (void)snprintf(t->met->id, sizeof t->met->id, "%s", gid.txid.text);
    PQclear(found);
    PQfinish(session);
  }
}

static bool is_noticed(const struct trial *t) {
  const struct reply *reply = api_get(t->w->api, "/v1/participants/%s", bank_names[t->bank]);
  return strcmp(reply_string(reply, "/state"), "up") != 0;
}

static void kill_database(struct trial *t) {
  world_server_kill(t->w, t->bank);
  if (t->cell->fault == DATABASE_BACK) world_server_start(t->w, t->bank);
  open_gate(t);
  world_resume(t->w, t->at);
  if (t->cell->fault == DATABASE_BACK) return;
  UNTIL(is_noticed(t));
  world_server_start(t->w, t->bank);
}

/* Where the recovery is killed, again and again. Not every recovery comes to each of them. */
static const char *const *next_points(const struct trial *t) {
  static const char *const left[] = {"C10", "C10", NULL}, *const listed[] = {"A7", "A7", NULL},
                           *const undone[] = {"C10", "C6", NULL},
                           *const decided[] = {"C6", "C8", NULL},
                           *const agents[] = {"A7", "A5", NULL};
  const struct point *point = t->cell->point;
  if (point->recovery) return point->agents ? listed : left;
  if (t->at != COORDINATOR) return agents;
  return plan_expected(t->cell) == COMMITS ? decided : undone;
}

/* It has been killed; whoever it is, it is started again, until a life recovers without end. */
static void recover_killed(struct trial *t) {
  world_wait_crashed(t->w, t->at);
  open_gate(t);
  if (t->at == COORDINATOR) (void)hear(t);
  for (const char *const *next = next_points(t); *next; next++) {
    world_start(t->w, t->at, *next);
    UNTIL(!is_alive(t, t->at) || judge_settled(t));
    if (is_alive(t, t->at)) return;
    world_wait_crashed(t->w, t->at);
    t->result->again++;
  }
  world_start(t->w, t->at, NULL);
}

/* ---- one cell ---------------------------------------------------------------------------------- */

static void bring_to_point(struct trial *t) {
  char spec[SPEC_SIZE];
  run_one_that_commits(t);
  if (t->cell->point->recovery) {
    leave_behind(t);
    arm(t, spec);
    start_all(t, t->at, spec);
    UNTIL(is_met(t));
    return;
  }
  stop_all(t);
  arm(t, spec);
  start_all(t, t->at, spec);
  world_wait_ready(t->w);
  UNTIL(judge_settled(t));
  if (strcmp(t->cell->point->name, "C9") == 0)
    run_into_checkpoint(t);
  else
    run_into_point(t);
}

static void heal(struct trial *t) {
  if (plan_expected(t->cell) == NEVER_MET) {
    check_never_met(t);
    return;
  }
  note_id(t);
  if (t->cell->fault == KILLED)
    recover_killed(t);
  else
    kill_database(t);
}

void trial_run(const struct cell *cell, struct result *result) {
  struct trial t = {.cell = cell, .result = result};
  t.w = world_open(cell->mode, &(struct world_options){.banks = cell->banks});
  t.bank = cell->point->last ? cell->banks - 1 : BANK_A;
  t.at = cell->point->agents ? world_agent_of(t.w, t.bank) : COORDINATOR;
  bring_to_point(&t);
  heal(&t);
  world_wait_ready(t.w);
  (void)hear(&t);
  UNTIL(judge_settled(&t));
  judge(&t);
  kill_all(&t);
  start_all(&t, COORDINATOR, NULL);
  world_wait_ready(t.w);
  UNTIL(judge_settled(&t));
  judge(&t);
  run_one_that_commits(&t);
  judge(&t);
  for (int bank = 0; bank < BANKS_MAX; bank++)
    PQfinish(t.sessions[bank]);
  world_close(t.w);
}
