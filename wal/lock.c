/* See lock.h.
 *
 * A file of its own, which SQLite never opens: closing any descriptor of a file drops the POSIX
 * locks a process has on it, and the log is closed and opened again after a full disk. The lock is
 * an open file description lock, which also stands between two logs in one process, and goes with
 * the process.
 *
 *   PATH.lock:  "pid 4711\ncluster 0123456789ab\n"
 *
 * Both lines are for people and for one check: a cluster here, and no log, means that a log was
 * deleted or its disk is not mounted. They are written with the best effort and not relied on.
 */
#include "wal/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CONTENT_SIZE = 128 };

static void read_content(int fd, int *pid, struct cluster_id *cluster) {
  char content[CONTENT_SIZE] = "";
  char text[CLUSTER_SIZE] = "";
  *pid = 0;
  cluster->text[0] = '\0';
  ssize_t size = pread(fd, content, sizeof content - 1, 0);
  if (size <= 0) return;
  if (sscanf(content, "pid %9d\ncluster %12[0-9a-z]", pid, text) == 2 &&
      !cluster_id_parse(text, cluster))
    cluster->text[0] = '\0';
}

static enum error_code locked(int fd, const char *log_path, struct error *err) {
  int pid;
  struct cluster_id cluster;
  read_content(fd, &pid, &cluster);
  char who[32] = "";
  if (pid > 0) (void)snprintf(who, sizeof who, " (process %d)", pid);
  return error_set(err, ERR_LOG,
                   "another coordinator%s has the decision log %s open: stop it first, or give "
                   "this one a log of its own",
                   who, log_path);
}

enum error_code log_lock_take(struct log_lock *out, const char *log_path, struct error *err) {
  char path[PATH_MAX];
  *out = (struct log_lock){.fd = -1};
  if (snprintf(path, sizeof path, "%s.lock", log_path) >= (int)sizeof path)
    return error_set(err, ERR_LOG, "the path of the decision log is too long");

  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    enum error_code code =
        error_set(err, ERR_LOG, "cannot open the lock file %s: %s", path, strerror(errno));
    if (err) err->sys_errno = errno;
    return code;
  }
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  if (fcntl(fd, F_OFD_SETLK, &whole) != 0) {
    enum error_code code =
        errno == EAGAIN || errno == EACCES
            ? locked(fd, log_path, err)
            : error_set(err, ERR_LOG, "cannot lock %s: %s", path, strerror(errno));
    (void)close(fd);
    return code;
  }
  int former_pid;
  read_content(fd, &former_pid, &out->cluster);
  out->fd = fd;
  log_lock_note(out, &out->cluster);
  return ERR_OK;
}

void log_lock_note(const struct log_lock *lock, const struct cluster_id *cluster) {
  char content[CONTENT_SIZE];
  int size =
      snprintf(content, sizeof content, "pid %d\ncluster %s\n", (int)getpid(), cluster->text);
  /* Written over what is there, and cut only then: on a full disk it still succeeds. */
  if (pwrite(lock->fd, content, (size_t)size, 0) == size && ftruncate(lock->fd, (off_t)size) == 0)
    (void)fdatasync(lock->fd);
}

void log_lock_release(struct log_lock *lock) {
  /* The file stays: to unlink it would let two processes lock two files of the same name. */
  if (lock->fd >= 0) (void)close(lock->fd);
  lock->fd = -1;
}
