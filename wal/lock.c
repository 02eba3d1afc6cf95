/* See lock.h.
 *
 * A file of its own, which SQLite never opens: closing any descriptor of a file drops the POSIX
 * locks a process has on it, and the log is closed and opened again after a full disk. The locks are
 * open file description locks, which also stand between two logs in one process, and go with the
 * process: byte 0 is the coordinator's, byte 1 is for who moves or copies the log's pages.
 *
 *   PATH.lock:  "pid 4711     \ncluster 0123456789ab\ncommits 00000000000000000042 89abcdef\n"
 *
 * The cluster and the number of commits are a second witness of what the log held: a log that has
 * gone, or has fewer commits, is found out. The mark is written after the commit is on the disk and
 * before anybody is told, into the kernel's memory only: it outlives the process at the price of one
 * short write, and a power cut can only leave an older one, which claims less. It is written in place
 * and always as long, so that a full disk does not matter; what cannot be read (the last word is a
 * sum) or written claims nothing.
 */
#include "wal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

enum { CONTENT_SIZE = 128, BYTE_COORDINATOR = 0, BYTE_PAGES = 1 };

/* ---- the content ---------------------------------------------------------------------------- */

/* FNV-1a, 32 bits. */
static uint32_t mark_sum(const struct log_mark *mark) {
  char text[64];
  uint32_t sum = UINT32_C(0x811c9dc5);
  int size = snprintf(text, sizeof text, "%s %" PRIu64, mark->cluster.text, mark->commits);
  for (int i = 0; i < size; i++)
    sum = (sum ^ (unsigned char)text[i]) * UINT32_C(0x01000193);
  return sum;
}

static void read_content(int fd, const char *path, int *pid, struct log_mark *mark) {
  char content[CONTENT_SIZE] = "", text[CLUSTER_SIZE] = "";
  uint64_t commits = 0;
  uint32_t sum = 0;
  *pid = 0;
  *mark = (struct log_mark){0};
  ssize_t size = pread(fd, content, sizeof content - 1, 0);
  if (size <= 0) return;
  int found = sscanf(content, "pid %9d cluster %12[0-9a-z] commits %20" SCNu64 " %8" SCNx32, pid,
                     text, &commits, &sum);
  if (found < 2) return; /* no log has been made here yet */
  if (cluster_id_parse(text, &mark->cluster)) mark->commits = commits;
  if (found == 4 && sum == mark_sum(mark)) return;
  mark->commits = 0;
  log_warn("decision_log_mark_unreadable", "path", "s", path, NULL);
}

static bool path_of(char out[PATH_MAX], const char *log_path) {
  return snprintf(out, PATH_MAX, "%s.lock", log_path) < PATH_MAX;
}

struct log_mark log_mark_read(const char *log_path) {
  char path[PATH_MAX];
  struct log_mark mark = {0};
  int pid;
  int fd = path_of(path, log_path) ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
  if (fd < 0) return mark;
  read_content(fd, path, &pid, &mark);
  (void)close(fd);
  return mark;
}

void log_lock_note(const struct log_lock *lock, const struct log_mark *mark, bool durable) {
  char content[CONTENT_SIZE];
  int size = snprintf(content, sizeof content,
                      "pid %-9d\ncluster %s\ncommits %020" PRIu64 " %08" PRIx32 "\n", (int)getpid(),
                      mark->cluster.text, mark->commits, mark_sum(mark));
  if (pwrite(lock->fd, content, (size_t)size, 0) != size || !durable) return;
  if (ftruncate(lock->fd, (off_t)size) == 0) (void)fdatasync(lock->fd);
}

/* ---- the coordinator's ---------------------------------------------------------------------- */

static int set_lock(int fd, short type, off_t byte, bool wait) {
  struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
  int done;
  do
    done = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range);
  while (done != 0 && errno == EINTR);
  return done;
}

static enum error_code locked(int fd, const char *path, const char *log_path, struct error *err) {
  int pid;
  struct log_mark mark;
  read_content(fd, path, &pid, &mark);
  char who[32] = "";
  if (pid > 0) (void)snprintf(who, sizeof who, " (process %d)", pid);
  return error_set(err, ERR_LOG,
                   "another coordinator%s has the decision log %s open: stop it first, or give "
                   "this one a log of its own",
                   who, log_path);
}

static enum error_code failed(struct error *err, const char *doing, const char *path) {
  int cause = errno;
  enum error_code code = error_set(err, ERR_LOG, "cannot %s %s: %s", doing, path, strerror(cause));
  if (err && err->sys_errno == 0) err->sys_errno = cause;
  return code;
}

enum error_code log_lock_take(struct log_lock *out, const char *log_path, struct error *err) {
  char path[PATH_MAX];
  *out = (struct log_lock){.fd = -1};
  if (!path_of(path, log_path))
    return error_set(err, ERR_LOG, "the path of the decision log is too long");

  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return failed(err, "open the lock file", path);
  if (set_lock(fd, F_WRLCK, BYTE_COORDINATOR, false) != 0) {
    enum error_code code = errno == EAGAIN || errno == EACCES ? locked(fd, path, log_path, err)
                                                              : failed(err, "lock", path);
    (void)close(fd);
    return code;
  }
  int former_pid;
  read_content(fd, path, &former_pid, &out->mark);
  out->fd = fd;
  log_lock_note(out, &out->mark, true);
  return ERR_OK;
}

void log_lock_release(struct log_lock *lock) {
  /* The file stays: to unlink it would let two processes lock two files of the same name. */
  if (lock->fd >= 0) (void)close(lock->fd);
  lock->fd = -1;
}

/* ---- moving and copying pages --------------------------------------------------------------- */

bool log_move_begin(const struct log_lock *lock, bool wait) {
  return set_lock(lock->fd, F_WRLCK, BYTE_PAGES, wait) == 0;
}

void log_move_end(const struct log_lock *lock) {
  (void)set_lock(lock->fd, F_UNLCK, BYTE_PAGES, false);
}

int log_hold_still(const char *log_path, struct error *err) {
  char path[PATH_MAX];
  if (!path_of(path, log_path)) {
    (void)error_set(err, ERR_LOG, "the path of the decision log is too long");
    return -1;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0 || set_lock(fd, F_RDLCK, BYTE_PAGES, true) != 0) {
    (void)failed(err, fd < 0 ? "open the lock file" : "lock", path);
    if (fd >= 0) (void)close(fd);
    return -1;
  }
  return fd;
}
