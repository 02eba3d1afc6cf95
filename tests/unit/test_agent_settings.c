/* The agent's configuration and its state directory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "participant-agent/settings.h"
#include "participant-agent/state.h"
#include "tests/lib/suite.h"

static enum error_code read_text(const char *text, struct error *err) {
  char path[] = "/tmp/assent-test-XXXXXX";
  struct agent_settings settings;
  int fd = mkstemp(path);
  CU_ASSERT_FATAL(fd >= 0);
  CU_ASSERT_EQUAL(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  (void)close(fd);
  enum error_code code = agent_settings_read(path, &settings, err);
  agent_settings_release(&settings);
  (void)unlink(path);
  return code;
}

#define STATE_DIR "[agent]\nstate_dir = /nowhere\n"
#define DATABASE  "[database.bank]\ndsn = dbname=bank\n"

static void sample_configuration_is_accepted(void) {
  struct agent_settings settings;
  struct error err = {0};
  CU_ASSERT_EQUAL(agent_settings_read("docs/assent-agent.ini", &settings, &err), ERR_OK);
  CU_ASSERT_EQUAL_FATAL(settings.database_count, 1);
  CU_ASSERT_STRING_EQUAL(settings.databases[0].name, "bank_a");
  CU_ASSERT_EQUAL(settings.databases[0].database.call_timeout_ms, 5000);
  CU_ASSERT_EQUAL(settings.stop_timeout_ms, 10000);
  agent_settings_release(&settings);
}

static void least_configuration_is_accepted(void) {
  struct error err = {0};
  CU_ASSERT_EQUAL(read_text(STATE_DIR DATABASE, &err), ERR_OK);
}

static void mistakes_are_named(void) {
  static const struct {
    const char *text, *expected;
  } cases[] = {
      {DATABASE, "state_dir is missing"},
      {STATE_DIR, "no database"},
      {STATE_DIR "listen = 0.0.0.0:7420\n" DATABASE, "not a loopback address"},
      {STATE_DIR "[database.bank]\nconnections = 4\n", "[database.bank]"},
      {STATE_DIR "[database.bank]\ndsn = nonsense\n", "[database.bank]"},
      {STATE_DIR "[database.bank]\ndsn = dbname=a\ndsn_file = /b\n", "not both"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct error err = {0};
    CU_ASSERT_EQUAL(read_text(cases[i].text, &err), ERR_CONFIG);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, cases[i].expected));
  }
}

/* ---- the state directory ----------------------------------------------------------------------- */

static void remove_all(const char *directory, const char *const *names, size_t count) {
  char path[256];
  for (size_t i = 0; i < count; i++) {
    (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
    CU_ASSERT_EQUAL(unlink(path), 0);
  }
  CU_ASSERT_EQUAL(rmdir(directory), 0);
}

static void state_dir_keeps_the_agent_id_and_is_private(void) {
  char parent[] = "/tmp/assent-test-XXXXXX", path[64];
  struct state_dir first, second;
  struct error err = {0};
  struct stat status;
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(parent));
  (void)snprintf(path, sizeof path, "%s/agent", parent);
  CU_ASSERT_EQUAL_FATAL(state_dir_open(path, &first, &err), ERR_OK);
  CU_ASSERT_EQUAL(stat(path, &status), 0);
  CU_ASSERT_EQUAL(status.st_mode & 07777, 0700);
  CU_ASSERT_EQUAL(state_dir_open(path, &second, &err), ERR_CONFIG);
  CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "in use"));
  state_dir_close(&first);
  error_clear(&err);
  CU_ASSERT_EQUAL(state_dir_open(path, &second, &err), ERR_OK);
  CU_ASSERT_STRING_EQUAL(first.agent_id, second.agent_id);
  state_dir_close(&second);
  static const char *const names[] = {"lock", "agent_id"};
  remove_all(path, names, 2);
  CU_ASSERT_EQUAL(rmdir(parent), 0);
}

static void epoch_on_file_is_read_back(void) {
  char path[] = "/tmp/assent-test-XXXXXX", run_id[RUN_ID_SIZE];
  struct epoch_claim claim = {.epoch = 41, .run_id = "0123456789abcdef"};
  struct error err = {0};
  uint64_t known = 7;
  CU_ASSERT_FATAL(cluster_id_parse("testcluster0", &claim.cluster));
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
  CU_ASSERT_EQUAL(state_epoch_read(path, "bank", &claim.cluster, &known, run_id, &err), ERR_OK);
  CU_ASSERT_EQUAL(known, 0);
  CU_ASSERT_EQUAL(state_epoch_write(path, "bank", &claim, &err), ERR_OK);
  claim.epoch = 42;
  CU_ASSERT_EQUAL(state_epoch_write(path, "bank", &claim, &err), ERR_OK);
  CU_ASSERT_EQUAL(state_epoch_read(path, "bank", &claim.cluster, &known, run_id, &err), ERR_OK);
  CU_ASSERT_EQUAL(known, 42);
  CU_ASSERT_STRING_EQUAL(run_id, claim.run_id);
  static const char *const names[] = {"epoch.testcluster0.bank"};
  remove_all(path, names, 1);
}

static void epoch_file_with_nonsense_is_refused(void) {
  char path[] = "/tmp/assent-test-XXXXXX", file[128], run_id[RUN_ID_SIZE];
  struct cluster_id cluster;
  struct error err = {0};
  uint64_t known = 0;
  CU_ASSERT_FATAL(cluster_id_parse("testcluster0", &cluster));
  CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(path));
  (void)snprintf(file, sizeof file, "%s/epoch.testcluster0.bank", path);
  FILE *out = fopen(file, "w");
  CU_ASSERT_PTR_NOT_NULL_FATAL(out);
  CU_ASSERT_TRUE(fputs("-3\n", out) >= 0);
  (void)fclose(out);
  CU_ASSERT_EQUAL(state_epoch_read(path, "bank", &cluster, &known, run_id, &err), ERR_IO);
  static const char *const names[] = {"epoch.testcluster0.bank"};
  remove_all(path, names, 1);
}

SUITE(agent_settings, CASE(sample_configuration_is_accepted), CASE(least_configuration_is_accepted),
      CASE(mistakes_are_named), CASE(state_dir_keeps_the_agent_id_and_is_private),
      CASE(epoch_on_file_is_read_back), CASE(epoch_file_with_nonsense_is_refused))
