/* Lives of a daemon in which calls fail: a full disk, a failed sync or write, missing memory and
 * descriptors. See torture_kinds.h; the library's own text says what its variables mean.
 *
 * The disk fills up and is cleared while the coordinator lives: all its good lives have the library
 * loaded, which fails no call while the file `disk_full` is not there. For the others the daemon is
 * killed and started anew, in a life that may end by itself; what it may not do is crash otherwise
 * than by an assertion, which is how the daemons end where they cannot go on.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/process.h"
#include "cli/torture_kinds.h"

static const char library_name[] = "assent-fault.so";

bool calls_possible(void) {
  char path[TORTURE_PATH_SIZE];
  struct error err = {0};
  return process_sibling(library_name, path, sizeof path, &err) == ERR_OK;
}

/* The environment of the daemon's next life. `only_while` NULL: from its start. */
static void set_life(struct torture *t, enum stage_target target, const char *faults,
                     const char *only_while) {
  struct torture_life *life = &t->lives[target];
  life->may_abort = false;
  size_t count = 0;
  (void)snprintf(life->preload, sizeof life->preload, "LD_PRELOAD=%s", t->library);
  (void)snprintf(life->faults, sizeof life->faults, "ASSENT_FAULT=%s", faults);
  (void)snprintf(life->below, sizeof life->below, "ASSENT_FAULT_DIR=%s",
                 stage_data_directory(t->stage, target));
  life->environment[count++] = life->preload;
  life->environment[count++] = life->faults;
  life->environment[count++] = life->below;
  life->environment[count++] =
      "ASAN_OPTIONS=verify_asan_link_order=0"; /* else it wants to be first */
  if (only_while) {
    (void)snprintf(life->only_while, sizeof life->only_while, "ASSENT_FAULT_WHILE=%s", only_while);
    life->environment[count++] = life->only_while;
  }
  life->environment[count] = NULL;
  stage_set_environment(t->stage, target, life->environment);
}

void calls_forget(struct torture *t, enum stage_target target) {
  t->is_faulty[target] = false;
  if (target == STAGE_COORDINATOR) t->was_disk_full = t->is_disk_full;
  if (!t->library[0]) return;
  if (target == STAGE_COORDINATOR)
    set_life(t, target, "write:1+:ENOSPC", t->disk_full);
  else
    stage_set_environment(t->stage, target, NULL);
}

enum error_code calls_open(struct torture *t, struct error *err) {
  enum error_code code = process_sibling(library_name, t->library, sizeof t->library, err);
  if (code != ERR_OK) return code;
  (void)snprintf(t->disk_full, sizeof t->disk_full, "%s/disk-full", stage_directory(t->stage));
  calls_forget(t, STAGE_COORDINATOR);
  return ERR_OK;
}

/* ---- the disk is full -------------------------------------------------------------------------- */

bool disk_fill(struct torture *t, const struct fault_event *event) {
  (void)event;
  if (t->is_disk_full) return false;
  int fd = open(t->disk_full, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  (void)close(fd);
  t->is_disk_full = t->was_disk_full = true;
  return true;
}

enum error_code disk_clear(struct torture *t, const struct fault_event *event, struct error *err) {
  (void)event;
  t->is_disk_full = false;
  if (unlink(t->disk_full) == 0) return ERR_OK;
  return error_set(err, ERR_IO, "%s: %s", t->disk_full, strerror(errno));
}

/* ---- a life with a fault ----------------------------------------------------------------------- */

/* From `low` to `high`, few more often than many: what happens early in a life is seen each time. */
static unsigned count_of(const struct fault_event *event, unsigned low, unsigned high) {
  unsigned span = high - low + 1;
  unsigned scale = 1U << ((event->draw >> 8) % 8);
  return low + (unsigned)((event->draw >> 16) % (span / scale + 1));
}

/* One that cannot even be started is mended as one that has ended. */
static bool start_faulty(struct torture *t, enum stage_target target, const char *faults,
                         bool may_abort) {
  struct error err = {0};
  if (t->is_faulty[target] || !daemon_kill(t, target)) return false;
  set_life(t, target, faults, NULL);
  t->is_faulty[target] = true;
  t->lives[target].may_abort = may_abort;
  (void)!daemon_start(t, target, &err);
  return true;
}

/* A sync that fails once is enough: the log must not be trusted again in that life. */
bool disk_fail(struct torture *t, const struct fault_event *event) {
  static const char *const forms[] = {"fsync:%u:EIO", "write:%u:EIO", "write:%u+:ENOSPC",
                                      "fsync:%u+:EIO"};
  char faults[TORTURE_FAULTS_SIZE];
  const char *form = forms[event->draw % 4];
  unsigned count = count_of(event, 1, 600);
  size_t length = strcspn(form, "%");
  (void)snprintf(faults, sizeof faults, "%.*s%u%s", (int)length, form, count, form + length + 2);
  return start_faulty(t, STAGE_COORDINATOR, faults, false);
}

static enum stage_target any_daemon(const struct torture *t, const struct fault_event *event) {
  enum stage_target agent = STAGE_AGENT_A + (enum stage_target)event->bank;
  return t->options.agents && (event->draw & 1) ? agent : STAGE_COORDINATOR;
}

bool memory_fail(struct torture *t, const struct fault_event *event) {
  char faults[TORTURE_FAULTS_SIZE];
  (void)snprintf(faults, sizeof faults, "malloc:%u", count_of(event, 1, 100000));
  return start_faulty(t, any_daemon(t, event), faults, true);
}

bool descriptors_fail(struct torture *t, const struct fault_event *event) {
  static const char *const calls[] = {"accept", "socket", "open"};
  char faults[TORTURE_FAULTS_SIZE];
  (void)snprintf(faults, sizeof faults, "%s:%u%s:EMFILE", calls[(event->draw >> 1) % 3],
                 count_of(event, 1, 40), (event->draw & 0x80) ? "+" : "");
  return start_faulty(t, any_daemon(t, event), faults, false);
}

void calls_judge_end(struct torture *t, enum stage_target target) {
  int status = 0;
  if (!stage_has_ended(t->stage, target, &status)) return;
  bool is_good = WIFEXITED(status) && (WEXITSTATUS(status) == 1 || WEXITSTATUS(status) == 3);
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT) is_good = t->lives[target].may_abort;
  if (is_good) return;
  torture_violation(t, "%s has ended with status %#x in a life with %s", stage_target_name(target),
                    (unsigned)status, t->lives[target].faults);
  stage_tell_dead(t->stage, stderr);
}

/* When it was killed meanwhile, by another fault, that one's mend starts it. */
static enum error_code mend(struct torture *t, enum stage_target target, struct error *err) {
  if (!t->is_faulty[target]) return ERR_OK;
  calls_judge_end(t, target);
  (void)daemon_kill(t, target);
  return daemon_start(t, target, err);
}

enum error_code disk_fail_mend(struct torture *t, const struct fault_event *event,
                               struct error *err) {
  (void)event;
  return mend(t, STAGE_COORDINATOR, err);
}

enum error_code daemon_fail_mend(struct torture *t, const struct fault_event *event,
                                 struct error *err) {
  return mend(t, any_daemon(t, event), err);
}
