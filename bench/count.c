/* Preloaded (LD_PRELOAD) into the servers and the daemons of a bench: counts their calls of fsync() and
 * fdatasync(), and the bytes they send and receive on sockets, in a file of counters that all processes
 * of the bench have mapped. It costs a few instructions a call; PostgreSQL's own statistics
 * come late, and the daemons have none of this.
 *
 * Limits: what goes through other calls (write() on a socket, sendfile(), io_uring) is not seen; none of
 * the programs does that with what is counted.
 */
#undef _FORTIFY_SOURCE /* else the headers bring their own recv() */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "bench/count.h"

static struct count nobody;
static struct count *count = &nobody;

/* The call itself. POSIX promises that what dlsym() gives can be called; C does not. */
#define NEXT(call)                                                                                 \
  static __typeof__(&(call)) next;                                                                 \
  if (!next) *(void **)&next = dlsym(RTLD_NEXT, #call)

__attribute__((constructor)) static void open_counters(void) {
  const char *said = getenv(COUNT_VARIABLE);
  char *path;
  if (!said) return;
  unsigned long slot = strtoul(said, &path, 10);
  if (*path != ':' || slot >= COUNT_SLOTS) return;
  int fd = open(path + 1, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  struct count_file *file = mmap(NULL, sizeof *file, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  (void)close(fd);
  if (file != MAP_FAILED) count = &file->slots[slot];
}

static ssize_t add(atomic_uint_fast64_t *to, ssize_t bytes) {
  if (bytes > 0) (void)atomic_fetch_add_explicit(to, (uint_fast64_t)bytes, memory_order_relaxed);
  return bytes;
}

int fsync(int fd) {
  NEXT(fsync);
  (void)add(&count->syncs, 1);
  return next(fd);
}

int fdatasync(int fildes) {
  NEXT(fdatasync);
  (void)add(&count->syncs, 1);
  return next(fildes);
}

ssize_t send(int fd, const void *buf, size_t n, int flags) {
  NEXT(send);
  return add(&count->sent, next(fd, buf, n, flags));
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
  NEXT(sendmsg);
  return add(&count->sent, next(fd, message, flags));
}

ssize_t recv(int fd, void *buf, size_t n, int flags) {
  NEXT(recv);
  return add(&count->received, next(fd, buf, n, flags));
}
