/* The machine fails a daemon: the disk is full or does not sync, memory or descriptors are used up,
 * the process is stopped for a while. The failures are made by the library of tests/fault/preload.c in
 * a real daemon, or by the kernel.
 *
 * What must come out: a clean refusal or a clean end; no branch that differs from another; what was
 * told holds after the next start.
 */
#include "tests/lib/world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FIRED_MS_MAX = 20000, EXIT_HALTED = 3 };

/* bank_b's PREPARE waits at its gate; bank_a has voted. */
static struct async *start_until_votes_as(struct world *w, const char *label, const char *more) {
  struct async *call = async_post(
      w->api, "/v1/transactions",
      api_text(w->api,
               ONE_CALL("'label':'%s',%s",
                        BRANCH("bank_a", DEBIT(10)) "," BRANCH("bank_b", CREDIT(10) "," AT_GATE)),
               label, more));
  UNTIL(gate_waiting(w, BANK_B) == 1 && world_prepared(w, BANK_A) == 1);
  return call;
}

static struct async *start_until_votes(struct world *w, const char *more) {
  return start_until_votes_as(w, "hard", more);
}

static bool is_up(struct world *w, const char *participant) {
  const struct reply *reply = api_get(w->api, "/v1/participants/%s", participant);
  return strcmp(reply_string(reply, "/state"), "up") == 0;
}

/* ---- the disk -------------------------------------------------------------------------------- */

/* The decision's sync fails: it may be on the disk or not. The process sends nothing and ends. */
static void sync_that_fails_halts_and_the_log_decides(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.fault = "fsync:1+:EIO"});
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_until_votes(w, "");
  world_break(w);
  gate_open(gate);
  int status = world_wait_ended(w, COORDINATOR);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_HALTED);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "decision_log_failed"), 1);
  const struct reply *reply = async_finish(call);
  CU_ASSERT(reply->status == 0 || reply->status == 503);
  CU_ASSERT_EQUAL(world_prepared(w, BANK_A) + world_prepared(w, BANK_B), 2);
  world_mend(w);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  bool committed = strcmp(api_outcome(w->api, "hard"), "committed") == 0;
  CHECK_MOVED(w, committed ? 10 : 0);
  world_restart(w, COORDINATOR);
  CU_ASSERT_EQUAL(strcmp(api_outcome(w->api, "hard"), "committed") == 0, committed);
  world_close(w);
}
IN_BOTH_MODES(sync_that_fails_halts_and_the_log_decides)

static void disk_that_does_not_sync_at_the_start_is_refused(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &(struct world_options){.fault = "fsync:1+:EIO"});
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  world_kill(w, COORDINATOR);
  world_break(w);
  CU_ASSERT_FALSE(world_starts(w, COORDINATOR));
  int status = world_wait_ended(w, COORDINATOR);
  CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 1);
  CU_ASSERT_EQUAL(world_logged(w, COORDINATOR, "cannot_start"), 1);
  world_mend(w);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}

/* Full when the decision is to be written: it is proven absent, so the transaction aborts. */
static void disk_full_before_the_decision_aborts_and_refuses(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.fault = "write:1+:ENOSPC"});
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_until_votes(w, "");
  world_break(w);
  gate_open(gate);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "aborted");
  CHECK_STRING(reply, "/transaction/cause/kind", "limit");
  CHECK_PROBLEM(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10))), 503, "log_full");
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  world_mend(w);
  UNTIL(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10)))->status == 200);
  CHECK_MOVED(w, 10);
  world_restart(w, COORDINATOR);
  CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "hard"), "committed");
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(disk_full_before_the_decision_aborts_and_refuses)

/* Full when the decision has been made: the branches are told, and what they answer is recorded
 * when there is space, or asked again. */
static void disk_full_after_the_decision_commits(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.fault = "write:1+:ENOSPC",
                                                             .proxies = PROXY_DATABASES});
  struct proxy *proxy = w->to_database[BANK_B];
  unsigned decided = proxy_on(proxy, PROXY_TO_TARGET, "COMMIT PREPARED", PROXY_HOLD);
  struct async *call =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'hard',", TRANSFER(10)));
  CU_ASSERT_TRUE(proxy_wait_fired(proxy, decided, FIRED_MS_MAX));
  world_break(w);
  proxy_release(proxy);
  const struct reply *reply = async_finish(call);
  CHECK_STATUS(reply, 200);
  CHECK_STRING(reply, "/outcome", "committed");
  CHECK_STRING(reply, "/branches/1/state", "committed");
  UNTIL(world_logged(w, COORDINATOR, "assent-fault: write fails") == 1); /* it has tried */
  CHECK_MOVED(w, 10);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "hard"), "committed");
  const struct reply *next = api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10)));
  CU_ASSERT(next->status == 409 || next->status == 503);
  world_kill(w, COORDINATOR); /* the records are lost with it */
  world_mend(w);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(strcmp(api_outcome(w->api, "hard"), "committed") == 0);
  CHECK_MOVED(w, 10);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10))), 200);
  CHECK_MOVED(w, 20);
  world_close(w);
}
IN_BOTH_MODES(disk_full_after_the_decision_commits)

/* ---- a small disk ---------------------------------------------------------------------------- */

static char mounted[600];

static void unmount(void) {
  if (*mounted) (void)umount2(mounted, MNT_DETACH);
  mounted[0] = '\0';
}

/* A disk of its own for the log, seen by this process and its children only. False: we may not. */
static bool mount_small_disk(const char *path) {
  static bool apart;
  if (!apart) {
    if (unshare(CLONE_NEWNS) != 0) return false;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return false;
    (void)atexit(unmount);
    apart = true;
  }
  if (mount("assent-test", path, "tmpfs", 0, "size=1m,mode=0700") != 0) return false;
  (void)snprintf(mounted, sizeof mounted, "%s", path);
  return true;
}

static void fill_disk(const char *path) {
  static const char bytes[4096];
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  CU_ASSERT_FATAL(fd >= 0);
  while (write(fd, bytes, sizeof bytes) > 0)
    continue;
  CU_ASSERT_EQUAL(errno, ENOSPC);
  (void)close(fd);
}

/* The same as above on a real file system, with nobody between it and the log. */
static void small_disk_full_refuses_until_there_is_space(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *log = api_text(w->api, "%s/log", w->directory);
  const char *filler = api_text(w->api, "%s/filler", log);
  world_kill(w, COORDINATOR);
  bool may = mount_small_disk(log); /* else the usual one: then there is nothing to see */
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  if (may) {
    PGconn *gate = gate_close(w, BANK_B);
    struct async *call = start_until_votes(w, "");
    fill_disk(filler);
    gate_open(gate);
    const struct reply *reply = async_finish(call);
    CHECK_PROBLEM(reply, 409, "aborted");
    CHECK_STRING(reply, "/transaction/cause/kind", "limit");
    CHECK_PROBLEM(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10))), 503, "log_full");
    world_wait_nothing_prepared(w);
    CHECK_MOVED(w, 0);
    (void)unlink(filler);
  }
  UNTIL(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(10)))->status == 200);
  CHECK_MOVED(w, 10);
  world_restart(w, COORDINATOR);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "next"), "committed");
  CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "hard"), "committed");
  world_close(w);
  unmount();
}
IN_BOTH_MODES(small_disk_full_refuses_until_there_is_space)

/* ---- memory ---------------------------------------------------------------------------------- */

/* Every nth allocation; ASSENT_THOROUGH=10 tries ten times as many, 1000 each of them, in hours. */
static unsigned stride(unsigned usual) {
  const char *thorough = getenv("ASSENT_THOROUGH");
  unsigned long times = thorough ? strtoul(thorough, NULL, 10) : 1;
  return times == 0 ? usual : times >= usual ? 1 : usual / (unsigned)times;
}

/* The process of the fault goes on, or has ended as one that has found no memory does: by itself, or in
 * libcurl 7.88, which divides by the size of a table that it could not make. A crash like any other. */
static void check_clean_end(struct world *w) {
  int status;
  struct process *process = w->processes[w->fault_target];
  if (process_is_alive(process)) return;
  bool ended = process_wait(process, 0, &status);
  CU_ASSERT_TRUE(ended);
  bool clean = WIFEXITED(status) ? WEXITSTATUS(status) != 0
                                 : WTERMSIG(status) == SIGABRT || WTERMSIG(status) == SIGFPE;
  if (!clean)
    check_failed(__FILE__, __LINE__, false, "with %s: it has ended with 0x%x", w->fault,
                 (unsigned)status);
}

/* Not where a sanitizer has taken the allocator's place; then the tests show less, and pass. */
static bool allocations_can_fail(const struct world *w) {
  return world_logged(w, w->fault_target, "assent-fault: leaves alone malloc") == 0;
}

/* A life without the fault, and all is settled. */
static void recover(struct world *w) {
  const char *fault = w->fault;
  w->fault = NULL;
  world_kill(w, w->fault_target);
  world_start(w, w->fault_target, NULL);
  world_wait_ready(w);
  UNTIL(is_up(w, "bank_a") && is_up(w, "bank_b"));
  world_wait_nothing_prepared(w);
  w->fault = fault; /* for what is told of it */
}

/* What may be said of nothing that has happened: the client sends it once more. */
static bool is_retryable(const struct reply *reply) {
  static const char *const codes[] = {"too_many",    "overloaded", "stopping",
                                      "unavailable", "log_full",   "out_of_memory"};
  for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
    if (strcmp(reply_string(reply, "/code"), codes[i]) == 0) return true;
  return false;
}

/* What was told is what became of it, and its label finds it. */
static void check_told(struct world *w, const struct reply *reply, const char *label,
                       int64_t *moved) {
  bool committed = strcmp(api_outcome(w->api, label), "committed") == 0;
  if (reply->status == 200 && !committed)
    check_failed(__FILE__, __LINE__, false, "with %s: told committed, and is not", w->fault);
  if ((reply->status == 409 || is_retryable(reply)) && committed)
    check_failed(__FILE__, __LINE__, false, "with %s: %.300s, and it has committed", w->fault,
                 reply->text);
  *moved += committed;
  CHECK_MOVED(w, *moved);
  *moved = ACCOUNT_BALANCE - world_balance(w, BANK_A, 1); /* a failure is told once */
}

/* A transfer of 1, `body` with this label, with the fault. Returns whether the fault was met. */
static bool transfer_without_memory(struct world *w, const char *fault, const char *body,
                                    const char *label, int64_t *moved, const struct reply **told) {
  unsigned fired = world_logged(w, w->fault_target, "assent-fault: malloc fails");
  w->fault = fault;
  world_kill(w, w->fault_target);
  world_start(w, w->fault_target, NULL);
  world_wait_ready(w);
  /* The first one may find out that it is a new life. */
  UNTIL(api_run(w->api, ONE_CALL("", TRANSFER(0)))->status == 200);
  world_break(w);
  const struct reply *reply = api_post(w->api, "/v1/transactions", "%s", body);
  world_mend(w);
  check_clean_end(w);
  fired = world_logged(w, w->fault_target, "assent-fault: malloc fails") - fired;
  recover(w);
  check_told(w, reply, label, moved);
  *told = reply;
  return fired > 0;
}

static void check_without_memory(enum world_mode mode, enum world_target target, unsigned usual) {
  struct world *w = world_open(mode, &(struct world_options){.fault_target = target});
  int64_t moved = 0;
  unsigned nth = 1;
  for (bool met = true; met; nth += stride(usual)) {
    const char *label = api_text(w->api, "memory-%u", nth);
    const char *body =
        api_text(w->api, ONE_CALL("'label':'%s','timeout_ms':5000,", TRANSFER(1)), label);
    const struct reply *told;
    met =
        transfer_without_memory(w, api_text(w->api, "malloc:%u", nth), body, label, &moved, &told);
  }
  CU_ASSERT(nth > 2 * usual || !allocations_can_fail(w)); /* it has met some */
  world_close(w);
}

static void allocation_that_fails_in_the_coordinator_splits_nothing(enum world_mode mode) {
  check_without_memory(mode, COORDINATOR, 83);
}
IN_BOTH_MODES(allocation_that_fails_in_the_coordinator_splits_nothing)

static void allocation_that_fails_in_an_agent_splits_nothing(void) {
  check_without_memory(WORLD_AGENTS, AGENT_B, 41);
}

/* Its last digit is where the text that is read has to grow, to 512 bytes. */
enum { LABEL_LENGTH = 255 };

/* A transfer of 1 that reads a text of `text_length` bytes. */
static const char *reading_transfer(struct world *w, const char *label, unsigned text_length) {
  return api_text(w->api,
                  ONE_CALL("'label':'%s',",
                           BRANCH("bank_a", STATEMENT("SELECT repeat($$x$$, %u)") "," DEBIT(
                                                1)) "," BRANCH("bank_b", CREDIT(1))),
                  label, text_length);
}

static char *results_of(const struct reply *reply) {
  const json_t *results = reply_at(reply, "/branches/0/results");
  return results ? json_dumps(results, JSON_COMPACT) : NULL;
}

/* Each allocation of just `size` bytes fails in turn (0: those of a copy of the results). What was
 * read is told whole, or not at all. */
static void check_without_memory_of(enum world_mode mode, size_t size, unsigned text_length) {
  struct world *w = world_open(mode, NULL);
  int64_t moved = 1;
  unsigned nth = 1;
  const struct reply *told = api_run(w->api, "%s", reading_transfer(w, "first", text_length));
  CHECK_STATUS(told, 200);
  char *expected = results_of(told);
  if (size == 0) size = strlen(expected) + 1;
  for (bool met = true; met; nth++) {
    const char *label = api_text(w->api, "%0*u", LABEL_LENGTH, nth);
    const char *fault = api_text(w->api, "malloc:%u@%zu", nth, size);
    met = transfer_without_memory(w, fault, reading_transfer(w, label, text_length), label, &moved,
                                  &told);
    char *results = results_of(told);
    if (told->status == 200 && (!results || strcmp(results, expected) != 0))
      check_failed(__FILE__, __LINE__, false, "with %s: other results: %.100s", fault,
                   results ? results : "none");
    free(results);
  }
  CU_ASSERT(nth > 2 || !allocations_can_fail(w)); /* it has met one */
  free(expected);
  world_close(w);
}

/* A client that asks again by its label must find what it has done. */
static void label_that_finds_no_memory_is_not_dropped(enum world_mode mode) {
  check_without_memory_of(mode, LABEL_LENGTH + 1, 10);
}
IN_BOTH_MODES(label_that_finds_no_memory_is_not_dropped)

/* Least of all may it be read as another. */
static void text_that_finds_no_memory_is_not_read_as_another(enum world_mode mode) {
  check_without_memory_of(mode, 512, 10);
}
IN_BOTH_MODES(text_that_finds_no_memory_is_not_read_as_another)

static void results_that_find_no_memory_are_not_dropped(enum world_mode mode) {
  check_without_memory_of(mode, 0, 5000);
}
IN_BOTH_MODES(results_that_find_no_memory_are_not_dropped)

/* The text of an answer grows to this size when it has committed: nobody may be told to try again. */
static void answer_that_finds_no_memory_is_not_a_refusal(enum world_mode mode) {
  check_without_memory_of(mode, 65536, 40000);
}
IN_BOTH_MODES(answer_that_finds_no_memory_is_not_a_refusal)

/* Recovery of a decided transaction, with an allocation failing somewhere from the first on. */
static void allocation_that_fails_at_the_start_ends_it_or_is_harmless(enum world_mode mode) {
  struct world *w = world_open(mode, &(struct world_options){.crash = "C5"});
  CU_ASSERT_EQUAL(api_run(w->api, ONE_CALL("'label':'hard',", TRANSFER(10)))->status, 0);
  world_wait_crashed(w, COORDINATOR);
  world_break(w);
  unsigned before, fired = 1;
  for (unsigned nth = 1; fired > 0; nth += stride(677)) {
    before = world_logged(w, COORDINATOR, "assent-fault: malloc fails");
    w->fault = api_text(w->api, "malloc:%u", nth);
    if (world_starts(w, COORDINATOR))
      process_pause_ms(20); /* may be still to come: any end is good */
    check_clean_end(w);
    world_kill(w, COORDINATOR);
    fired = world_logged(w, COORDINATOR, "assent-fault: malloc fails") - before;
  }
  world_mend(w);
  w->fault = NULL;
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  UNTIL(strcmp(api_outcome(w->api, "hard"), "committed") == 0);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 10);
  world_close(w);
}
IN_BOTH_MODES(allocation_that_fails_at_the_start_ends_it_or_is_harmless)

/* ---- descriptors ----------------------------------------------------------------------------- */

/* It may have no more than it has now, and `more`. Returns what it was allowed before. */
static rlim_t limit_files(struct world *w, enum world_target target, rlim_t files) {
  struct rlimit before, now;
  pid_t pid = process_pid(w->processes[target]);
  CU_ASSERT_EQUAL_FATAL(prlimit(pid, RLIMIT_NOFILE, NULL, &before), 0);
  now = (struct rlimit){.rlim_cur = files, .rlim_max = before.rlim_max};
  CU_ASSERT_EQUAL_FATAL(prlimit(pid, RLIMIT_NOFILE, &now, NULL), 0);
  return before.rlim_cur;
}

/* More transactions than it has descriptors for: each gets an answer or none, and none is split. */
static void descriptors_used_up_splits_nothing(enum world_mode mode) {
  enum { CALLS = 20 };
  struct world *w = world_open(mode, NULL);
  enum world_target limited = mode == WORLD_EMBEDDED ? COORDINATOR : AGENT_B;
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  /* For the connections of all that call, but not for as many sessions. */
  rlim_t before = limit_files(w, limited, world_open_files(w, limited) + CALLS);
  struct async *calls[CALLS];
  for (int i = 0; i < CALLS; i++)
    calls[i] = async_post(
        w->api, "/v1/transactions",
        api_text(w->api, ONE_CALL("'label':'call-%d','timeout_ms':2000,", TRANSFER(1)), i));
  int64_t told = 1, ambiguous = 0;
  for (int i = 0; i < CALLS; i++) {
    const struct reply *reply = async_finish(calls[i]);
    told += reply->status == 200;
    ambiguous += reply->status != 200 && reply->status != 409;
  }
  CU_ASSERT_TRUE(process_is_alive(w->processes[limited]));
  (void)limit_files(w, limited, before);
  world_wait_ready(w);
  UNTIL(is_up(w, "bank_a") && is_up(w, "bank_b"));
  world_wait_nothing_prepared(w);
  int64_t moved = ACCOUNT_BALANCE - world_balance(w, BANK_A, 1);
  CU_ASSERT(moved >= told && moved <= told + ambiguous);
  CHECK_MOVED(w, moved);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, moved + 1);
  world_close(w);
}
IN_BOTH_MODES(descriptors_used_up_splits_nothing)

/* The daemon cannot take a connection: those that it has go on, and who connects has to wait until there
 * are descriptors, but not until a connection ends. */
static void descriptors_used_up_in_the_coordinator_lets_clients_wait(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  rlim_t before = limit_files(w, COORDINATOR, world_open_files(w, COORDINATOR));
  struct async *stranger =
      async_post(w->api, "/v1/transactions", ONE_CALL("'label':'stranger',", TRANSFER(1)));
  UNTIL(world_logged(w, COORDINATOR, "connections_wait") == 1);
  for (int i = 0; i < 5; i++)
    CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  (void)limit_files(w, COORDINATOR, before);
  CHECK_STATUS(async_finish(stranger), 200);
  CHECK_MOVED(w, 7);
  world_close(w);
}
IN_BOTH_MODES(descriptors_used_up_in_the_coordinator_lets_clients_wait)

/* The database comes back when there is no descriptor more than those it had before. */
static void descriptors_used_up_lets_recovery_go_on(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  enum world_target agent = world_agent_of(w, BANK_B);
  PGconn *gate = gate_close(w, BANK_A);
  struct async *call = async_post(
      w->api, "/v1/transactions",
      ONE_CALL("'label':'hard',",
               BRANCH("bank_a", DEBIT(10) "," AT_GATE) "," BRANCH("bank_b", CREDIT(10))));
  gate_wait_half_voted(w);
  rlim_t before = limit_files(w, agent, world_open_files(w, agent));
  world_server_kill(w, BANK_B);
  gate_open(gate);
  UNTIL(strcmp(api_outcome(w->api, "hard"), "committed") == 0);
  world_server_start(w, BANK_B);
  CHECK_STATUS(async_finish(call), 200);
  CHECK_MOVED(w, 10);
  (void)limit_files(w, agent, before);
  world_close(w);
}
IN_BOTH_MODES(descriptors_used_up_lets_recovery_go_on)

/* Nothing it opens takes their numbers, and what it says goes into no file of its own. */
static void standard_files_closed_at_the_start_are_nobodys(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  w->standard_files_closed = true;
  if (mode == WORLD_AGENTS) {
    world_kill(w, AGENT_B);
    world_start(w, AGENT_B, NULL);
  }
  world_restart(w, COORDINATOR);
  UNTIL(is_up(w, "bank_a") && is_up(w, "bank_b"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 1);
  world_stop(w, COORDINATOR);
  w->standard_files_closed = false;
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 2);
  world_close(w);
}
IN_BOTH_MODES(standard_files_closed_at_the_start_are_nobodys)

/* ---- the clock ------------------------------------------------------------------------------- */

/* Somebody sets the machine's clock while a transaction is on its way: deadlines are not of that clock. */
static void check_clock(enum world_mode mode, const char *fault) {
  struct world *w = world_open(mode, &(struct world_options){.fault = fault});
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_until_votes(w, "");
  world_break(w);
  gate_open(gate);
  const struct reply *reply = async_finish(call);
  CHECK_STATUS(reply, 200);
  /* It has seen the other day. */
  CU_ASSERT_NOT_EQUAL(strncmp(reply_string(reply, "/created_at"),
                              reply_string(reply, "/decided_at"), strlen("2000-01-01")),
                      0);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  gate = gate_close(w, BANK_B);
  call = start_until_votes_as(w, "left", "");
  world_kill(w, COORDINATOR);
  (void)async_finish(call);
  world_start(w, COORDINATOR, NULL);
  gate_open(gate);
  world_wait_ready(w);
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 11);
  world_mend(w);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  world_restart(w, COORDINATOR);
  CU_ASSERT_STRING_EQUAL(api_outcome(w->api, "hard"), "committed");
  CU_ASSERT_STRING_NOT_EQUAL(api_outcome(w->api, "left"), "committed");
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  CHECK_MOVED(w, 13);
  world_close(w);
}

static void clock_set_forward_changes_no_decision(enum world_mode mode) {
  check_clock(mode, "clock:+86400");
}
IN_BOTH_MODES(clock_set_forward_changes_no_decision)

static void clock_set_back_changes_no_decision(enum world_mode mode) {
  check_clock(mode, "clock:-86400");
}
IN_BOTH_MODES(clock_set_back_changes_no_decision)

/* ---- a process that sleeps ------------------------------------------------------------------- */

/* All votes wait in its sockets when it goes on, and are too late. */
static void coordinator_that_slept_over_the_votes_aborts(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  PGconn *gate = gate_close(w, BANK_B);
  struct async *call = start_until_votes(w, "'timeout_ms':800,");
  process_kill(w->processes[COORDINATOR], SIGSTOP);
  gate_open(gate);
  UNTIL(world_prepared(w, BANK_B) == 1);
  process_pause_ms(900); /* the time itself is what is tested */
  process_kill(w->processes[COORDINATOR], SIGCONT);
  const struct reply *reply = async_finish(call);
  CHECK_PROBLEM(reply, 409, "aborted");
  world_wait_nothing_prepared(w);
  CHECK_MOVED(w, 0);
  world_close(w);
}
IN_BOTH_MODES(coordinator_that_slept_over_the_votes_aborts)

SUITE(resources, BOTH(sync_that_fails_halts_and_the_log_decides),
      CASE(disk_that_does_not_sync_at_the_start_is_refused),
      BOTH(disk_full_before_the_decision_aborts_and_refuses),
      BOTH(disk_full_after_the_decision_commits),
      BOTH(small_disk_full_refuses_until_there_is_space),
      BOTH(allocation_that_fails_in_the_coordinator_splits_nothing),
      CASE(allocation_that_fails_in_an_agent_splits_nothing),
      BOTH(label_that_finds_no_memory_is_not_dropped),
      BOTH(text_that_finds_no_memory_is_not_read_as_another),
      BOTH(results_that_find_no_memory_are_not_dropped),
      BOTH(answer_that_finds_no_memory_is_not_a_refusal),
      BOTH(allocation_that_fails_at_the_start_ends_it_or_is_harmless),
      BOTH(descriptors_used_up_splits_nothing),
      BOTH(descriptors_used_up_in_the_coordinator_lets_clients_wait),
      BOTH(descriptors_used_up_lets_recovery_go_on),
      BOTH(standard_files_closed_at_the_start_are_nobodys),
      BOTH(clock_set_forward_changes_no_decision), BOTH(clock_set_back_changes_no_decision),
      BOTH(coordinator_that_slept_over_the_votes_aborts))
