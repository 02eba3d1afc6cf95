/* A library for LD_PRELOAD that makes calls of the process fail: assent-fault.so.
 *
 *   ASSENT_FAULT=fsync:3:EIO               the third fsync or fdatasync
 *   ASSENT_FAULT=write:5+:ENOSPC           every write from the fifth on: a full disk
 *   ASSENT_FAULT=malloc:1000,accept:1+     several, each with a count of its own
 *   ASSENT_FAULT=malloc:2@777              the second allocation of just 777 bytes
 *   ASSENT_FAULT=clock:-86400              the wall clock is a day behind (nothing is told)
 *   ASSENT_FAULT_DIR=/var/lib/assent       write, fsync, open: of files below this directory only
 *   ASSENT_FAULT_WHILE=/run/broken         calls count, and fail, only while this file exists
 *
 * What can fail, and with what unless told:
 *   write   write, pwrite    ENOSPC   of regular files other than the standard three
 *   fsync   fsync, fdatasync EIO      the same
 *   open    open, openat     EMFILE
 *   accept  accept, accept4  EMFILE
 *   socket  socket           EMFILE
 *   malloc  malloc, calloc, realloc   ENOMEM
 * A failing call has no effect. The first failure of each is told on standard error. A wish that
 * cannot be read ends the process with status 126: a test must not pass because nothing failed.
 *
 * Safe with threads and at any time, also before main(): no state but atomic counts, nothing
 * allocated. The calls go to the kernel directly, or to glibc's own allocator; so this is for Linux
 * with glibc and 64 bits. Calls that libraries make inside glibc (stdio's writes) are not seen.
 * With AddressSanitizer, whose allocator this would hide, malloc is left alone, which is told
 * (FAULT_NO_MALLOC).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(long) == 8, "an offset goes to the kernel in one register");

enum { FAULTS_MAX = 16 };
enum { EXIT_WISH = 126 };
static const char clock_prefix[] = "clock:";

enum call { CALL_WRITE, CALL_FSYNC, CALL_OPEN, CALL_ACCEPT, CALL_SOCKET, CALL_MALLOC, CALLS };

static const struct {
  const char *name;
  int number;
} calls[CALLS] = {{"write", ENOSPC},  {"fsync", EIO},     {"open", EMFILE},
                  {"accept", EMFILE}, {"socket", EMFILE}, {"malloc", ENOMEM}},
  numbers[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EMFILE", EMFILE},
               {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"EROFS", EROFS}};

static struct fault {
  enum call call;
  unsigned long from;
  bool onward; /* and all behind it */
  size_t size; /* of malloc: those of this size only; 0: of any */
  int number;
  atomic_ulong count;
  atomic_bool told;
} faults[FAULTS_MAX];

static size_t fault_count; /* written once, before the process has threads */
static const char *only_while;
static long clock_shift_s;
static char directory[PATH_MAX];
static size_t directory_length;

/* ---- what is wished -------------------------------------------------------------------------- */

static void tell(const char *what, const char *more) {
  char line[256];
  int length = snprintf(line, sizeof line, "assent-fault: %s %s\n", what, more);
  if (length > 0) (void)syscall(SYS_write, STDERR_FILENO, line, (size_t)length);
}

static _Noreturn void refuse(const char *wish) {
  tell("cannot read", wish);
  _exit(EXIT_WISH);
}

static size_t find_call(const char *name, size_t length, const char *wish) {
  for (size_t i = 0; i < CALLS; i++)
    if (strlen(calls[i].name) == length && strncmp(calls[i].name, name, length) == 0) return i;
  refuse(wish);
}

static int find_number(const char *name, size_t length, const char *wish) {
  for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
    if (strlen(numbers[i].name) == length && strncmp(numbers[i].name, name, length) == 0)
      return numbers[i].number;
  refuse(wish);
}

static const char *read_clock(const char *wish) {
  char *end;
  clock_shift_s = strtol(wish + strlen(clock_prefix), &end, 10);
  if (clock_shift_s == 0 || (*end != '\0' && *end != ',')) refuse(wish);
  return *end == ',' ? end + 1 : end;
}

/* "fsync:3+:EIO", "malloc:3+@777", "clock:60"; returns what is behind it. */
static const char *read_fault(const char *wish) {
  if (strncmp(wish, clock_prefix, strlen(clock_prefix)) == 0) return read_clock(wish);
  if (fault_count == FAULTS_MAX) refuse(wish);
  struct fault *fault = &faults[fault_count];
  const char *at = wish + strcspn(wish, ":,");
  fault->call = (enum call)find_call(wish, (size_t)(at - wish), wish);
  fault->number = calls[fault->call].number;
#ifdef FAULT_NO_MALLOC
  if (fault->call == CALL_MALLOC) tell("leaves alone", "malloc");
#endif
  if (*at != ':' || at[1] < '0' || at[1] > '9') refuse(wish);
  char *end;
  fault->from = strtoul(at + 1, &end, 10);
  if (fault->from == 0) refuse(wish);
  fault->onward = *end == '+';
  at = end + fault->onward;
  if (*at == '@') {
    fault->size = strtoul(at + 1, &end, 10);
    if (fault->size == 0 || fault->call != CALL_MALLOC) refuse(wish);
    at = end;
  }
  if (*at == ':') {
    size_t length = strcspn(++at, ",");
    fault->number = find_number(at, length, wish);
    at += length;
  }
  if (*at != '\0' && *at != ',') refuse(wish);
  fault_count++;
  return *at == ',' ? at + 1 : at;
}

__attribute__((constructor)) static void read_wishes(void) {
  const char *wish = getenv("ASSENT_FAULT");
  const char *below = getenv("ASSENT_FAULT_DIR");
  only_while = getenv("ASSENT_FAULT_WHILE");
  if (below && (!realpath(below, directory) || strcmp(directory, "/") == 0)) refuse(below);
  directory_length = strlen(directory);
  while (wish && *wish)
    wish = read_fault(wish);
}

/* ---- does this one fail? --------------------------------------------------------------------- */

static bool counts_now(void) {
  return !only_while || syscall(SYS_faccessat, AT_FDCWD, only_while, F_OK) == 0;
}

static bool is_below(const char *path) {
  return directory_length == 0 ||
         (strncmp(path, directory, directory_length) == 0 && path[directory_length] == '/');
}

static bool is_ours(int fd) {
  char name[64], path[PATH_MAX];
  struct stat status;
  if (fd <= STDERR_FILENO || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (directory_length == 0) return true;
  (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length <= 0) return false;
  path[length] = '\0';
  return is_below(path);
}

static bool is_wished(enum call call) {
  for (size_t i = 0; i < fault_count; i++)
    if (faults[i].call == call) return true;
  return false;
}

/* True: errno is set, and the call shall fail. Leaves errno alone otherwise. `size`: of malloc. */
static bool fails_for(enum call call, size_t size) {
  int before = errno;
  bool failing = false;
  for (size_t i = 0; i < fault_count; i++) {
    struct fault *fault = &faults[i];
    if (fault->call != call || (fault->size > 0 && fault->size != size) || !counts_now()) continue;
    unsigned long nth = atomic_fetch_add(&fault->count, 1) + 1;
    if (fault->onward ? nth < fault->from : nth != fault->from) continue;
    if (!atomic_exchange(&fault->told, true)) tell(calls[call].name, "fails");
    before = fault->number;
    failing = true;
  }
  errno = before;
  return failing;
}

static bool fails(enum call call) {
  return fails_for(call, 0);
}

static bool fails_on(enum call call, int fd) {
  return is_wished(call) && is_ours(fd) && fails(call);
}

/* ---- the calls ------------------------------------------------------------------------------- */
/* glibc's headers name the arguments in ways that are reserved to it.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

ssize_t write(int fd, const void *bytes, size_t length) {
  if (fails_on(CALL_WRITE, fd)) return -1;
  return syscall(SYS_write, fd, bytes, length);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) {
  if (fails_on(CALL_WRITE, fd)) return -1;
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) {
  if (fails_on(CALL_WRITE, fd)) return -1;
  return syscall(SYS_pwrite64, fd, bytes, length, offset);
}

int fsync(int fd) {
  return fails_on(CALL_FSYNC, fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  return fails_on(CALL_FSYNC, fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

static int open_at(int from, const char *path, int flags, mode_t mode) {
  if (is_wished(CALL_OPEN) && is_below(path) && fails(CALL_OPEN)) return -1;
  return (int)syscall(SYS_openat, from, path, flags, mode);
}

static mode_t mode_of(int flags, va_list arguments) {
  bool creates = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
  return creates ? va_arg(arguments, mode_t) : 0;
}

#define DEFINE_OPEN(name, from, ...)                                                               \
  int name(__VA_ARGS__ const char *path, int flags, ...) {                                         \
    va_list arguments;                                                                             \
    va_start(arguments, flags);                                                                    \
    mode_t mode = mode_of(flags, arguments);                                                       \
    va_end(arguments);                                                                             \
    return open_at(from, path, flags, mode);                                                       \
  }
#define DIRECTORY_ARGUMENT int at,
DEFINE_OPEN(open, AT_FDCWD, )
DEFINE_OPEN(open64, AT_FDCWD, )
DEFINE_OPEN(openat, at, DIRECTORY_ARGUMENT)
DEFINE_OPEN(openat64, at, DIRECTORY_ARGUMENT)

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *length, int flags) {
  if (fails(CALL_ACCEPT)) return -1;
  return (int)syscall(SYS_accept4, fd, address, length, flags);
}

int accept(int fd, __SOCKADDR_ARG address, socklen_t *length) {
  return accept4(fd, address, length, 0);
}

int socket(int domain, int type, int protocol) {
  if (fails(CALL_SOCKET)) return -1;
  return (int)syscall(SYS_socket, domain, type, protocol);
}

static time_t shift_s(void) {
  return clock_shift_s != 0 && counts_now() ? clock_shift_s : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
    now->tv_sec += shift_s();
  return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int result = (int)syscall(SYS_gettimeofday, now, zone);
  if (result == 0) now->tv_sec += shift_s();
  return result;
}

time_t time(time_t *now) {
  time_t seconds = (time_t)syscall(SYS_time, NULL) + shift_s();
  if (now) *now = seconds;
  return seconds;
}

#ifndef FAULT_NO_MALLOC

/* glibc exports its allocator under these names, too, for those that stand in front of it. */
extern void *glibc_malloc(size_t size) __asm__("__libc_malloc");
extern void *glibc_calloc(size_t count, size_t size) __asm__("__libc_calloc");
extern void *glibc_realloc(void *old, size_t size) __asm__("__libc_realloc");

void *malloc(size_t size) {
  return fails_for(CALL_MALLOC, size) ? NULL : glibc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  return fails_for(CALL_MALLOC, count * size) ? NULL : glibc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
  return fails_for(CALL_MALLOC, size) ? NULL : glibc_realloc(old, size);
}

#endif
/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
