/* cli/process.c with the shell as the child. */
#include "cli/process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/lib/suite.h"

enum { LONG_MS = 30000 };

static char log_path[64];

static struct process *start(const char *script, const char *const *env_add) {
  const char *const argv[] = {"/bin/sh", "-c", script, NULL};
  struct process *process = NULL;
  struct error err = {0};
  (void)snprintf(log_path, sizeof log_path, "/tmp/assent-process-XXXXXX");
  int fd = mkstemp(log_path);
  CU_ASSERT_FATAL(fd >= 0);
  (void)close(fd);
  const struct process_options options = {.argv = argv, .log_path = log_path, .env_add = env_add};
  CU_ASSERT_EQUAL_FATAL(process_start(&process, &options, &err), ERR_OK);
  return process;
}

static void finish(struct process *process) {
  process_free(process);
  (void)unlink(log_path);
}

static void wait_tells_exit_status(void) {
  int status = 0;
  char how[32];
  struct process *process = start("exit 7", NULL);
  CU_ASSERT_TRUE(process_wait(process, LONG_MS, &status));
  CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  CU_ASSERT_FALSE(process_is_alive(process));
  process_describe(process, how, sizeof how);
  CU_ASSERT_STRING_EQUAL(how, "exit 7");
  finish(process);
}

static void wait_ends_at_its_time(void) {
  struct process *process = start("exec sleep 1000", NULL);
  CU_ASSERT_FALSE(process_wait(process, 1, NULL));
  CU_ASSERT_TRUE(process_is_alive(process));
  finish(process);
}

static void killed_process_is_told_so(void) {
  char how[32];
  struct process *process = start("exec sleep 1000", NULL);
  process_kill(process, SIGKILL);
  CU_ASSERT_TRUE(process_wait(process, LONG_MS, NULL));
  process_describe(process, how, sizeof how);
  CU_ASSERT_STRING_EQUAL(how, "signal 9");
  process_kill(process, SIGKILL); /* nobody is there: nothing is signalled */
  finish(process);
}

static void stop_of_a_deaf_process_kills_it(void) {
  struct process *process = start("trap '' TERM; echo deaf; while :; do sleep 1000; done", NULL);
  char tail[64] = "";
  while (strcmp(tail, "deaf\n") != 0)
    process_log_tail(process, 5, tail, sizeof tail);
  CU_ASSERT_FALSE(process_stop(process, SIGTERM, 1));
  CU_ASSERT_FALSE(process_is_alive(process));
  finish(process);
}

static void free_ends_the_process(void) {
  struct process *process = start("exec sleep 1000", NULL);
  pid_t pid = process_pid(process);
  finish(process);
  CU_ASSERT_EQUAL(kill(pid, 0), -1);
}

static void environment_additions_override(void) {
  static const char *const env_add[] = {"ASSENT_TEST=new", NULL};
  char tail[64];
  CU_ASSERT_EQUAL_FATAL(setenv("ASSENT_TEST", "old", 1), 0);
  CU_ASSERT_EQUAL_FATAL(setenv("ASSENT_TEST_OTHER", "kept", 1), 0);
  struct process *process = start("echo $ASSENT_TEST $ASSENT_TEST_OTHER", env_add);
  CU_ASSERT_TRUE(process_wait(process, LONG_MS, NULL));
  process_log_tail(process, 5, tail, sizeof tail);
  CU_ASSERT_STRING_EQUAL(tail, "new kept\n");
  (void)unsetenv("ASSENT_TEST");
  (void)unsetenv("ASSENT_TEST_OTHER");
  finish(process);
}

static void log_tail_gives_the_last_lines(void) {
  char tail[64];
  struct process *process = start("echo one; echo two >&2; echo three", NULL);
  CU_ASSERT_TRUE(process_wait(process, LONG_MS, NULL));
  process_log_tail(process, 2, tail, sizeof tail);
  CU_ASSERT_STRING_EQUAL(tail, "two\nthree\n");
  process_log_tail(process, 9, tail, sizeof tail);
  CU_ASSERT_STRING_EQUAL(tail, "one\ntwo\nthree\n");
  process_log_tail(process, 9, tail, 5);
  CU_ASSERT_STRING_EQUAL(tail, "ree\n");
  finish(process);
}

static void start_of_a_missing_program_is_refused(void) {
  static const char *const argv[] = {"/nowhere/at/all", NULL};
  const struct process_options options = {.argv = argv};
  struct process *process = NULL;
  struct error err = {0};
  CU_ASSERT_EQUAL(process_start(&process, &options, &err), ERR_IO);
  CU_ASSERT_PTR_NULL(process);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "/nowhere/at/all"));
}

static void port_file_gives_the_port(void) {
  char path[64] = "/tmp/assent-port-XXXXXX", script[160];
  uint16_t port = 0;
  struct error err = {0};
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0);
  (void)close(fd);
  /* Half a line is not a port yet: 74 would be wrong. */
  (void)snprintf(script, sizeof script, "printf 74 > %s; echo 10 >> %s; exec sleep 1000", path,
                 path);
  struct process *process = start(script, NULL);
  CU_ASSERT_EQUAL(wait_port_file(path, process, LONG_MS, &port, &err), ERR_OK);
  CU_ASSERT_EQUAL(port, 7410);
  (void)unlink(path);
  finish(process);
}

static void port_file_of_a_dead_process_tells_its_log(void) {
  uint16_t port = 0;
  struct error err = {0};
  struct process *process = start("echo no disk; exit 3", NULL);
  CU_ASSERT_EQUAL(wait_port_file("/nowhere/port", process, LONG_MS, &port, &err), ERR_IO);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "exit 3"));
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "no disk"));
  finish(process);
}

SUITE(cli_process, CASE(wait_tells_exit_status), CASE(wait_ends_at_its_time),
      CASE(killed_process_is_told_so), CASE(stop_of_a_deaf_process_kills_it),
      CASE(free_ends_the_process), CASE(environment_additions_override),
      CASE(log_tail_gives_the_last_lines), CASE(start_of_a_missing_program_is_refused),
      CASE(port_file_gives_the_port), CASE(port_file_of_a_dead_process_tells_its_log))
