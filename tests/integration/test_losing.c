/* The decision log deleted, cut, damaged, or exchanged for an old copy, under branches that are
 * prepared: the coordinator does not start on it and ends no branch. Then `assent recover --log-lost`
 * makes a new one: where it can be known, every transaction ends as it must; where it cannot, nothing
 * happens until an operator says. */
#include "tests/lib/world.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/id.h"

enum { OUTPUT_SIZE = 16384, WORDS_MAX = 16, COMMAND_MS_MAX = 60000 };

static char output[OUTPUT_SIZE]; /* of the last command or start */

/* ---- files ----------------------------------------------------------------------------------- */

static const char *file_of(const struct world *w, const char *name) {
  static char paths[4][512];
  static unsigned next;
  char *path = paths[next++ % 4];
  (void)snprintf(path, sizeof paths[0], "%s/%s", w->directory, name);
  return path;
}

#define LOG(suffix) "log/decisions.db" suffix

static bool has(const struct world *w, const char *name) {
  return access(file_of(w, name), F_OK) == 0;
}

static void drop(const struct world *w, const char *name) {
  (void)unlink(file_of(w, name));
}

static unsigned char *read_whole(const struct world *w, const char *name, size_t *size) {
  struct stat status;
  int fd = open(file_of(w, name), O_RDONLY | O_CLOEXEC);
  *size = 0;
  if (fd < 0) return NULL;
  CU_ASSERT_EQUAL_FATAL(fstat(fd, &status), 0);
  unsigned char *bytes = malloc((size_t)status.st_size + 1);
  CU_ASSERT_FATAL(bytes && read(fd, bytes, (size_t)status.st_size) == status.st_size);
  *size = (size_t)status.st_size;
  bytes[*size] = '\0';
  (void)close(fd);
  return bytes;
}

static void write_whole(const struct world *w, const char *name, const unsigned char *bytes,
                        size_t size) {
  int fd = open(file_of(w, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CU_ASSERT_FATAL(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
  (void)close(fd);
}

static void copy(const struct world *w, const char *from, const char *to) {
  size_t size;
  unsigned char *bytes = read_whole(w, from, &size);
  if (bytes)
    write_whole(w, to, bytes, size);
  else
    drop(w, to);
  free(bytes);
}

/* The log and its -wal file, under another name and back. */
static void keep_log(const struct world *w) {
  copy(w, LOG(""), "kept");
  copy(w, LOG("-wal"), "kept-wal");
  copy(w, LOG(".lock"), "kept-lock");
}

static void put_log_back(const struct world *w) {
  copy(w, "kept", LOG(""));
  copy(w, "kept-wal", LOG("-wal"));
}

static void lose_log(const struct world *w) {
  drop(w, LOG(""));
  drop(w, LOG("-wal"));
}

/* ---- commands -------------------------------------------------------------------------------- */

/* Runs `assent WORD...` (ends with NULL); its exit code. */
static int assent(struct world *w, ...) {
  char program[4096], log[512], how[32];
  const char *argv[WORDS_MAX + 2] = {program};
  struct process *process = NULL;
  struct error err = {0};
  va_list words;
  va_start(words, w);
  for (size_t i = 1; i <= WORDS_MAX && (argv[i] = va_arg(words, const char *)); i++)
    continue;
  va_end(words);
  (void)snprintf(log, sizeof log, "%s", file_of(w, "command.log"));
  (void)unlink(log);
  CU_ASSERT_EQUAL_FATAL(process_sibling("assent", program, sizeof program, &err), ERR_OK);
  CU_ASSERT_EQUAL_FATAL(
      process_start(&process, &(struct process_options){.argv = argv, .log_path = log}, &err),
      ERR_OK);
  int status = -1;
  bool ended = process_wait(process, COMMAND_MS_MAX, &status);
  process_describe(process, how, sizeof how);
  process_free(process);
  size_t size;
  unsigned char *bytes = read_whole(w, "command.log", &size);
  (void)snprintf(output, sizeof output, "%.*s", (int)size, bytes ? (const char *)bytes : "");
  free(bytes);
  if (!ended || !WIFEXITED(status))
    check_failed(__FILE__, __LINE__, true, "assent %s has ended by %s: %s", argv[1], how, output);
  return WEXITSTATUS(status);
}

#define CONFIG "--config", file_of(w, "assentd.ini")

static void check_says(const char *text, unsigned line) {
  if (strstr(output, text)) return;
  check_failed(__FILE__, line, false, "\"%s\" is not in: %s", text, output);
}
#define CHECK_SAYS(text) check_says(text, __LINE__)

#define CHECK_EXIT(expected, call) check_exit(expected, call, __LINE__)
static void check_exit(int expected, int code, unsigned line) {
  if (code != expected)
    check_failed(__FILE__, line, false, "exit code %d and not %d: %s", code, expected, output);
}

/* assentd does not start, or halts when it has met a participant: `code`, with this text, and no
 * branch has been ended. */
static void check_refused(struct world *w, int code, const char *text, unsigned line) {
  int64_t prepared = world_prepared(w, BANK_A) + world_prepared(w, BANK_B);
  int status = world_run_second(w, output, sizeof output);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
    check_failed(__FILE__, line, false, "it has ended otherwise, 0x%x: %s", (unsigned)status,
                 output);
  check_says(text, line);
  check_says("assent recover --log-lost", line);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), prepared);
}
#define CHECK_REFUSED(w, code, text) check_refused(w, code, text, __LINE__)

/* ---- scenes ---------------------------------------------------------------------------------- */

static const char transfer[] = ONE_CALL("'label':'doubt',", TRANSFER(10));

/* A transfer is decided, and its branches are both prepared; the coordinator is dead. */
static struct world *leave_decided(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.database = LOOKS_SHORTLY});
  world_kill(w, COORDINATOR);
  world_start(w, COORDINATOR, "C5");
  world_wait_ready(w);
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 2);
  return w;
}

/* Out of the coordinator's reach, so that a decision cannot get there; and back. */
static void hide_bank_b(struct world *w) {
  if (w->mode == WORLD_AGENTS)
    world_kill(w, AGENT_B);
  else
    world_server_kill(w, BANK_B);
}

static void show_bank_b(struct world *w) {
  if (w->mode == WORLD_AGENTS)
    world_start(w, AGENT_B, NULL);
  else
    world_server_start(w, BANK_B);
}

/* It is decided, bank_a has committed, and bank_b's branch is prepared: it was out of reach. */
static void decide_and_commit_one(struct world *w) {
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'doubt',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  hide_bank_b(w);
  gate_open(gate);
  UNTIL(world_balance(w, BANK_A, 1) == ACCOUNT_BALANCE - 10);
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  show_bank_b(w);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 1);
}

/* All is in order again: nothing prepared, so much moved, and it works, over a restart, too. */
static void check_works_again(struct world *w, int64_t moved) {
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, moved);
  for (int i = 0; i < 2; i++) {
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(5))), 200);
    CHECK_MOVED(w, moved += 5);
    world_restart(w, COORDINATOR);
  }
  world_close(w);
}

/* The transaction in doubt, as the last --json output has it. */
static const char *id_in_doubt(void) {
  static char id[64];
  const char *at = strstr(output, "\"transactions\":[{\"id\":\"");
  CU_ASSERT_FATAL(at != NULL);
  (void)snprintf(id, sizeof id, "%.36s", at + strlen("\"transactions\":[{\"id\":\""));
  return id;
}

/* ---- refused --------------------------------------------------------------------------------- */

static void lost_log_is_refused_and_ends_no_branch(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  keep_log(w);
  drop(w, LOG("-wal"));
  CHECK_REFUSED(w, 1, "lacks the last");
  put_log_back(w);
  size_t size;
  unsigned char *bytes = read_whole(w, "kept-wal", &size);
  write_whole(w, LOG("-wal"), bytes, size - 4096);
  CHECK_REFUSED(w, 1, "lacks the last");
  bytes[size - 100] ^= 1;
  write_whole(w, LOG("-wal"), bytes, size);
  CHECK_REFUSED(w, 1, "lacks the last");
  free(bytes);
  drop(w, LOG(""));
  CHECK_REFUSED(w, 1, "other half");
  drop(w, LOG("-wal"));
  CHECK_REFUSED(w, 1, "lived here");
  write_whole(w, LOG(""), (const unsigned char *)"", 0);
  CHECK_REFUSED(w, 1, "was cut");
  put_log_back(w);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(strcmp(api_outcome(w->api, "doubt"), "committed") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(lost_log_is_refused_and_ends_no_branch)

/* The lock file has gone with it: only the participants can tell. And however often it is started:
 * its epoch grows past what they know. */
static void old_copy_is_refused_however_often_it_is_started(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  world_kill(w, COORDINATOR);
  keep_log(w);
  world_start(w, COORDINATOR, "C5");
  world_wait_ready(w);
  CU_ASSERT_EQUAL(api_post(w->api, "/v1/transactions", "%s", transfer)->status, 0);
  world_wait_crashed(w, COORDINATOR);
  size_t size;
  unsigned char *log = read_whole(w, LOG(""), &size), *wal;
  size_t wal_size;
  wal = read_whole(w, LOG("-wal"), &wal_size);
  put_log_back(w);
  drop(w, LOG(".lock"));
  for (int i = 0; i < 4; i++)
    CHECK_REFUSED(w, 3, "a life of this log that this log has not had");
  write_whole(w, LOG(""), log, size);
  write_whole(w, LOG("-wal"), wal, wal_size);
  drop(w, LOG(".lock"));
  free(log);
  free(wal);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(old_copy_is_refused_however_often_it_is_started)

/* ---- recovered ------------------------------------------------------------------------------- */

static void lost_log_with_all_branches_prepared_aborts(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  lose_log(w);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, NULL));
  CHECK_SAYS("bank_a prepared, bank_b prepared");
  CHECK_SAYS("no branch has committed");
  CHECK_SAYS("Nothing was changed");
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 2);
  CU_ASSERT_FALSE(has(w, LOG("")));
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--json", NULL));
  CHECK_SAYS("\"done\":true");
  const char *id = id_in_doubt();
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CHECK_STRING(api_read(w->api, id), "/outcome", "aborted");
  world_kill(w, COORDINATOR);
  check_works_again(w, 0);
}
IN_BOTH_MODES(lost_log_with_all_branches_prepared_aborts)

/* The agents still run, and bank_a's remembers. */
static void lost_log_with_a_branch_committed_commits_by_the_agents_memory(void) {
  struct world *w = world_open(WORLD_AGENTS, NULL);
  decide_and_commit_one(w);
  lose_log(w);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("its branch at bank_a has committed");
  check_works_again(w, 10);
}

/* Killed amid the prepares: bank_b's agent knows that it has no branch. */
static void lost_log_with_a_branch_never_begun_aborts_by_the_agents_memory(void) {
  struct world *w = world_open(WORLD_AGENTS, NULL);
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("", BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," AT_GATE)));
  UNTIL(gate_waiting(w, BANK_B) == 1 && world_prepared(w, BANK_A) == 1);
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  lose_log(w);
  CHECK_EXIT(3, assent(w, "recover", "--log-lost", CONFIG, NULL)); /* it is at work there */
  gate_open(gate);
  UNTIL(world_prepared(w, BANK_B) == 1);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("no branch has committed");
  check_works_again(w, 0);
}

/* Nobody remembers: the coordinator and the agents in it are dead, and the databases keep no rows. */
static void lost_log_with_a_branch_committed_cannot_be_known(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  decide_and_commit_one(w);
  if (mode == WORLD_AGENTS) {
    world_kill(w, AGENT_A);
    world_start(w, AGENT_A, NULL);
  }
  lose_log(w);
  for (int yes = 0; yes < 2; yes++) {
    CHECK_EXIT(3, assent(w, "recover", "--log-lost", CONFIG, "--json", yes ? "--yes" : NULL, NULL));
    CHECK_SAYS("cannot be known");
    CU_ASSERT_EQUAL(world_prepared(w, BANK_B), 1);
    CU_ASSERT_FALSE(has(w, LOG("")));
  }
  char id[64];
  (void)snprintf(id, sizeof id, "%s", id_in_doubt());
  CHECK_EXIT(2, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--commit", id, NULL));
  CHECK_SAYS("--reason");
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--commit", id, "--reason",
                       "the ledger of bank_a has it", NULL));
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(strcmp(reply_string(api_read(w->api, id), "/state"), "committed") == 0);
  world_kill(w, COORDINATOR);
  check_works_again(w, 10);
}
IN_BOTH_MODES(lost_log_with_a_branch_committed_cannot_be_known)

/* ---- rows ------------------------------------------------------------------------------------ */

static const struct world_options with_rows = {.database = "outcome_table = yes\n"};

/* Where nobody remembers, the rows tell. */
static void lost_log_with_a_branch_committed_commits_by_its_row(enum world_mode mode) {
  struct world *w = world_open(mode, &with_rows);
  decide_and_commit_one(w);
  if (mode == WORLD_AGENTS) {
    world_kill(w, AGENT_A);
    world_start(w, AGENT_A, NULL);
  }
  lose_log(w);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("bank_a committed, bank_b prepared");
  check_works_again(w, 10);
}
IN_BOTH_MODES(lost_log_with_a_branch_committed_commits_by_its_row)

/* bank_b's branch was rolled back with its session: it left no row, and would have. */
static void lost_log_with_a_branch_gone_aborts_for_want_of_a_row(enum world_mode mode) {
  struct world *w = world_open(mode, &with_rows);
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("", BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," AT_GATE)));
  UNTIL(gate_waiting(w, BANK_B) == 1 && world_prepared(w, BANK_A) == 1);
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  if (mode == WORLD_AGENTS) {
    world_kill(w, AGENT_B);
    world_start(w, AGENT_B, NULL);
  }
  world_server_kill(w, BANK_B);
  world_server_start(w, BANK_B);
  gate_open(gate);
  lose_log(w);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("bank_a prepared, bank_b not committed");
  check_works_again(w, 0);
}
IN_BOTH_MODES(lost_log_with_a_branch_gone_aborts_for_want_of_a_row)

/* Rows tell of the epochs in which they were left, and of no other. */
static void rows_left_from_a_later_epoch_on_prove_nothing_before(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  decide_and_commit_one(w);
  lose_log(w);
  w->database_settings = with_rows.database;
  size_t size;
  unsigned char *config = read_whole(w, "assentd.ini", &size);
  FILE *file = fopen(file_of(w, "assentd.ini"), "we");
  for (char *line = strtok((char *)config, "\n"); line && file; line = strtok(NULL, "\n"))
    (void)fprintf(file, "%s\n%s", line, strncmp(line, "dsn", 3) == 0 ? with_rows.database : "");
  if (file) (void)fclose(file);
  free(config);
  CHECK_EXIT(3, assent(w, "recover", "--log-lost", CONFIG, "--json", NULL));
  char id[64];
  (void)snprintf(id, sizeof id, "%s", id_in_doubt());
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--commit", id, "--reason", "x",
                       NULL));
  check_works_again(w, 10);
}

static void branch_that_writes_nothing_leaves_no_row(enum world_mode mode) {
  struct world *w = world_open(mode, &with_rows);
  CHECK_STATUS(api_run(w->api,
                       ONE_CALL("",
                                BRANCH("bank_a", CREDIT(0)) "," BRANCH(
                                    "bank_b", STATEMENT("SET TRANSACTION READ ONLY") "," STATEMENT(
                                                  "SELECT count(*) FROM account")))),
               200);
  CU_ASSERT_EQUAL(world_integer(w, BANK_A, "SELECT count(*) FROM assent.outcome"), 1);
  CU_ASSERT_EQUAL(world_integer(w, BANK_B, "SELECT count(*) FROM assent.outcome"), 0);
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("", BRANCH("bank_a", CREDIT(0)) "," BRANCH(
                                                 "bank_b", STATEMENT("SELECT 1/0")))),
                409, "aborted");
  CU_ASSERT_EQUAL(world_integer(w, BANK_A, "SELECT count(*) FROM assent.outcome"), 1);
  world_close(w);
}
IN_BOTH_MODES(branch_that_writes_nothing_leaves_no_row)

/* Its absence would be taken for a proof. */
static void application_prepared_branch_has_to_leave_its_row(enum world_mode mode) {
  struct world *w = world_open(mode, &with_rows);
  for (int leaves = 0; leaves < 2; leaves++) {
    char id[64], gid[GID_SIZE];
    (void)snprintf(id, sizeof id, "%s",
                   reply_string(api_run(w->api, "{'branches':[" BRANCH("bank_b", CREDIT(10)) "]}"),
                                "/id"));
    const struct reply *enlisted =
        api_post(w->api, api_text(w->api, "/v1/transactions/%s/branches", id),
                 "{'participant':'bank_a'}");
    (void)snprintf(gid, sizeof gid, "%s", reply_string(enlisted, "/gid"));
    CU_ASSERT_FATAL(gid[0] != '\0');
    PGconn *session = world_connect(w, BANK_A);
    world_run_on(session, "BEGIN");
    world_run_on(session, "UPDATE account SET balance = balance - 10 WHERE id = 1");
    char sql[256];
    (void)snprintf(sql, sizeof sql, "INSERT INTO assent.outcome VALUES ('%s', 2)", id);
    if (leaves) world_run_on(session, sql);
    (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
    world_run_on(session, sql);
    PQfinish(session);
    if (leaves)
      CHECK_STATUS(api_commit(w->api, id), 200);
    else
      CHECK_PROBLEM(api_commit(w->api, id), 409, "aborted");
    world_wait_nothing_prepared(w);
    CHECK_MOVED(w, leaves ? 10 : 0);
  }
  world_close(w);
}
IN_BOTH_MODES(application_prepared_branch_has_to_leave_its_row)

/* What is removed proves nothing any more: the border is noted. */
static void rows_of_old_transactions_are_removed(enum world_mode mode) {
  static const char old[] = "01800000-0000-7000-8000-000000000001";
  struct world *w = world_open(mode, &(struct world_options){.settings = "sweep_interval = 100ms\n",
                                                             .database = with_rows.database});
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  world_sql(w, BANK_A, "INSERT INTO assent.outcome VALUES ('%s', 1)", old);
  UNTIL(world_integer(w, BANK_A, "SELECT count(*) FROM assent.outcome WHERE txid = '%s'", old) ==
        0);
  CU_ASSERT_EQUAL(world_integer(w, BANK_A, "SELECT count(*) FROM assent.outcome"), 1);
  CU_ASSERT_EQUAL(world_integer(w, BANK_A,
                                "SELECT count(*) FROM assent.outcome_kept WHERE "
                                "removed_before > '%s' AND before IS NULL",
                                old),
                  1);
  world_close(w);
}
IN_BOTH_MODES(rows_of_old_transactions_are_removed)

static void operators_word_against_evidence_is_refused(void) {
  struct world *w = leave_decided(WORLD_EMBEDDED);
  lose_log(w);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--json", NULL));
  const char *id = id_in_doubt();
  CHECK_EXIT(1, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--commit", id, "--reason", "x",
                       NULL));
  CHECK_SAYS("must abort");
  CHECK_EXIT(1, assent(w, "recover", "--log-lost", CONFIG, "--yes", "--abort",
                       "01a1fcd1-c3e1-7689-9857-8ed54e6afd10", "--reason", "x", NULL));
  CHECK_SAYS("not in doubt");
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  check_works_again(w, 0);
}

static void recovery_beside_a_coordinator_is_refused(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  CHECK_EXIT(4, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("stop it first");
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(recovery_beside_a_coordinator_is_refused)

/* What the absent one holds would be rolled back when it comes back. */
static void recovery_without_a_participant_is_refused(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  lose_log(w);
  world_server_kill(w, BANK_B);
  CHECK_EXIT(4, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("bank_b cannot be asked");
  CU_ASSERT_FALSE(has(w, LOG("")));
  world_server_start(w, BANK_B);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  check_works_again(w, 0);
}
IN_BOTH_MODES(recovery_without_a_participant_is_refused)

/* The machine is lost with its disk: nothing is left but the participants. */
static void log_lost_with_its_lock_file_is_rebuilt_for_the_same_cluster(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  int64_t clusters = world_integer(w, BANK_A, "SELECT count(*) FROM assent.coordinator");
  lose_log(w);
  drop(w, LOG(".lock"));
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("Of the log nothing is left");
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CU_ASSERT_EQUAL(world_integer(w, BANK_A, "SELECT count(*) FROM assent.coordinator"), clusters);
  world_kill(w, COORDINATOR);
  check_works_again(w, 0);
}
IN_BOTH_MODES(log_lost_with_its_lock_file_is_rebuilt_for_the_same_cluster)

/* Log and lock file are gone, and nobody has noticed: a new log is begun, with another cluster. */
static void new_log_beside_branches_of_a_lost_one_warns(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  char warned[640], cluster[64];
  (void)snprintf(warned, sizeof warned, "grep -q branches_of_another_cluster.*recover '%s'",
                 file_of(w, "assentd.log"));
  lose_log(w);
  drop(w, LOG(".lock"));
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(system(warned) == 0);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 2);
  world_kill(w, COORDINATOR);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, NULL)); /* of the new cluster */
  CHECK_SAYS("Nothing is in doubt");
  lose_log(w); /* put away, as the warning says; then the former one is to be named */
  drop(w, LOG(".lock"));
  CHECK_EXIT(4, assent(w, "recover", "--log-lost", CONFIG, NULL));
  CHECK_SAYS("more than one cluster");
  PGconn *session = world_connect(w, BANK_A);
  PGresult *result = PQexec(session, "SELECT split_part(gid, '_', 2) FROM pg_prepared_xacts WHERE "
                                     "database = current_database()");
  (void)snprintf(cluster, sizeof cluster, "%s", PQgetvalue(result, 0, 0));
  PQclear(result);
  PQfinish(session);
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--cluster", cluster, "--yes", NULL));
  check_works_again(w, 0);
}
IN_BOTH_MODES(new_log_beside_branches_of_a_lost_one_warns)

/* A damaged log whose records can be read in part: its decisions stand. */
static void damaged_log_gives_the_decisions_it_still_has(enum world_mode mode) {
  struct world *w = leave_decided(mode);
  world_start(w, COORDINATOR, "C6"); /* moves the decision from the -wal file into the log */
  world_wait_crashed(w, COORDINATOR);
  size_t size;
  unsigned char *bytes = read_whole(w, LOG(""), &size);
  unsigned char *index = memmem(bytes, size, "txn_label", 9);
  CU_ASSERT_FATAL(index != NULL);
  index[0] = 'T';
  write_whole(w, LOG(""), bytes, size);
  free(bytes);
  int64_t prepared = world_prepared(w, BANK_A) + world_prepared(w, BANK_B);
  CU_ASSERT_TRUE(prepared > 0);
  drop(w, LOG("-wal"));
  CHECK_REFUSED(w, 1, "log");
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("decided in what is left of the log");
  CU_ASSERT_TRUE(has(w, LOG(".lost-1")));
  check_works_again(w, 10);
}
IN_BOTH_MODES(damaged_log_gives_the_decisions_it_still_has)

/* ---- backup ---------------------------------------------------------------------------------- */

/* Taken while a decided transaction waits for bank_b; then the log is lost and this put in its place. */
static void backup_put_back_is_refused_and_its_decisions_are_kept(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  char backup[512];
  (void)snprintf(backup, sizeof backup, "%s", file_of(w, "backup.db"));
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'doubt',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  hide_bank_b(w);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "doubt"), "committed") == 0);
  CHECK_EXIT(0, assent(w, "backup", CONFIG, backup, NULL));
  CHECK_SAYS("1 transactions unfinished");
  CHECK_EXIT(1, assent(w, "backup", CONFIG, backup, NULL));
  CHECK_SAYS("never written over");
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  show_bank_b(w);
  lose_log(w);
  copy(w, "backup.db", LOG(""));
  CHECK_REFUSED(w, 1, "is a backup, taken at");
  CHECK_EXIT(0, assent(w, "recover", "--log-lost", CONFIG, "--yes", NULL));
  CHECK_SAYS("decided in what is left of the log");
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(strcmp(api_outcome(w->api, "doubt"), "committed") == 0); /* its label is known again */
  world_kill(w, COORDINATOR);
  check_works_again(w, 10);
}
IN_BOTH_MODES(backup_put_back_is_refused_and_its_decisions_are_kept)

SUITE(losing, BOTH(lost_log_is_refused_and_ends_no_branch),
      BOTH(old_copy_is_refused_however_often_it_is_started),
      BOTH(lost_log_with_all_branches_prepared_aborts),
      CASE(lost_log_with_a_branch_committed_commits_by_the_agents_memory),
      CASE(lost_log_with_a_branch_never_begun_aborts_by_the_agents_memory),
      BOTH(lost_log_with_a_branch_committed_cannot_be_known),
      BOTH(lost_log_with_a_branch_committed_commits_by_its_row),
      BOTH(lost_log_with_a_branch_gone_aborts_for_want_of_a_row),
      CASE(rows_left_from_a_later_epoch_on_prove_nothing_before),
      BOTH(branch_that_writes_nothing_leaves_no_row),
      BOTH(application_prepared_branch_has_to_leave_its_row),
      BOTH(rows_of_old_transactions_are_removed), CASE(operators_word_against_evidence_is_refused),
      BOTH(recovery_beside_a_coordinator_is_refused),
      BOTH(recovery_without_a_participant_is_refused),
      BOTH(log_lost_with_its_lock_file_is_rebuilt_for_the_same_cluster),
      BOTH(new_log_beside_branches_of_a_lost_one_warns),
      BOTH(damaged_log_gives_the_decisions_it_still_has),
      BOTH(backup_put_back_is_refused_and_its_decisions_are_kept))
