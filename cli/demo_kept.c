/* See demo_kept.h. The list, DIRECTORY/demo.state:
 *
 *   assent demo 1
 *   <name> <pid> <start time in clock ticks since boot> <signal>
 */
#include "cli/demo_kept.h"

#include <errno.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

enum { KEPT_PATH_SIZE = 4096, STOP_MS_MAX = 10000, OPEN_FILES_MAX = 16, START_TIME_FIELD = 22 };

static const char head[] = "assent demo 1\n";

/* Field 22 of /proc/PID/stat (proc(5)); 0: no such process. The second field may hold spaces and
 * parentheses, so counting begins at the last one. */
static unsigned long long start_time(pid_t pid) {
  char path[64], line[1024];
  unsigned long long ticks = 0;
  (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  size_t length = fread(line, 1, sizeof line - 1, file);
  (void)fclose(file);
  line[length] = '\0';
  const char *at = strrchr(line, ')');
  for (int field = 2; at && field < START_TIME_FIELD; field++)
    at = strchr(at + 1, ' ');
  if (!at || sscanf(at, " %llu", &ticks) != 1) return 0;
  return ticks;
}

static void state_path(const char *directory, char out[KEPT_PATH_SIZE]) {
  (void)snprintf(out, KEPT_PATH_SIZE, "%s/demo.state", directory);
}

enum error_code kept_write(const char *directory, const struct kept_process *processes,
                           size_t count, struct error *err) {
  char path[KEPT_PATH_SIZE];
  state_path(directory, path);
  FILE *file = fopen(path, "we");
  if (!file) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  bool failed = fputs(head, file) == EOF;
  for (size_t i = 0; i < count; i++)
    if (fprintf(file, "%s %d %llu %d\n", processes[i].name, (int)processes[i].pid,
                start_time(processes[i].pid), processes[i].signum) < 0)
      failed = true;
  if (fclose(file) != 0) failed = true;
  if (failed) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  return ERR_OK;
}

static bool wait_end(int pidfd) {
  struct pollfd wait = {.fd = pidfd, .events = POLLIN};
  int ready;
  do
    ready = poll(&wait, 1, STOP_MS_MAX);
  while (ready < 0 && errno == EINTR);
  return ready == 1;
}

/* The pidfd is taken before the time of start is compared: from then on it is the same process. */
static enum error_code end_process(const char *name, pid_t pid, unsigned long long started,
                                   int signum, struct error *err) {
  int pidfd = pidfd_open(pid, 0);
  if (pidfd < 0) return ERR_OK; /* gone already */
  bool has_ended = started == 0 || start_time(pid) != started;
  if (!has_ended) {
    (void)pidfd_send_signal(pidfd, signum, NULL, 0);
    has_ended = wait_end(pidfd);
  }
  if (!has_ended) {
    (void)pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
    has_ended = wait_end(pidfd);
  }
  (void)close(pidfd);
  if (!has_ended) return error_set(err, ERR_IO, "%s (pid %d) does not end", name, (int)pid);
  return ERR_OK;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at) {
  (void)status;
  (void)kind;
  (void)at;
  return remove(path);
}

void kept_remove(const char *directory) {
  (void)nftw(directory, remove_one, OPEN_FILES_MAX, FTW_DEPTH | FTW_PHYS);
}

enum error_code kept_stop(const char *directory, struct error *err) {
  char path[KEPT_PATH_SIZE], line[256], name[64];
  int pid, signum;
  unsigned long long started;
  enum error_code code = ERR_OK;
  state_path(directory, path);
  FILE *file = fopen(path, "re");
  if (!file) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  if (!fgets(line, sizeof line, file) || strcmp(line, head) != 0) {
    code = error_set(err, ERR_IO, "%s: not the list of a kept demonstration", path);
    goto out;
  }
  while (code == ERR_OK && fgets(line, sizeof line, file)) {
    if (sscanf(line, "%63s %d %llu %d", name, &pid, &started, &signum) != 4 || pid <= 1)
      code = error_set(err, ERR_IO, "%s: a line that cannot be read: %s", path, line);
    else
      code = end_process(name, pid, started, signum, err);
  }
  if (code == ERR_OK) kept_remove(directory);
out:
  (void)fclose(file);
  return code;
}
