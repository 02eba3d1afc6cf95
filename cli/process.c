/* See process.h.
 *
 * Invariants: between fork and exec only async-signal-safe calls are made (the parent may have
 * threads), so the environment and the arguments are ready before the fork. A pid is signalled only
 * while `running`: until it is reaped the kernel gives it to nobody else.
 */
#include "cli/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

enum { TAIL_BYTES_MAX = 16384, PORT_POLL_MS = 2 };

struct process {
  pid_t pid;
  int pidfd;
  bool running;
  int status; /* of waitpid(), once not running */
  char *log_path;
};

/* ---- start ----------------------------------------------------------------------------------- */

static bool is_same_variable(const char *a, const char *b) {
  size_t length = strcspn(a, "=");
  return strncmp(a, b, length) == 0 && b[length] == '=';
}

/* Our environment with the additions in place of what they override. The strings are borrowed; the
 * array is the caller's. */
static const char **environment_with(const char *const *add) {
  size_t count = 0, added = 0, used = 0;
  while (environ[count])
    count++;
  while (add && add[added])
    added++;
  const char **out = calloc(count + added + 1, sizeof *out);
  if (!out) return NULL;
  for (size_t i = 0; i < count; i++) {
    bool overridden = false;
    for (size_t j = 0; j < added; j++)
      overridden = overridden || is_same_variable(add[j], environ[i]);
    if (!overridden) out[used++] = environ[i];
  }
  for (size_t j = 0; j < added; j++)
    out[used++] = add[j];
  return out;
}

struct launch {
  const struct process_options *options;
  const char **environment;
  int log_fd, null_fd;
  int report_fd; /* closed by a successful exec; else the child writes errno to it */
  pid_t parent;
};

/* In the child: async-signal-safe calls only. */
static _Noreturn void child_run(const struct launch *launch) {
  (void)setsid();
  if (!launch->options->keep) (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (!launch->options->keep && getppid() != launch->parent) _exit(127); /* it died before that */
  sigset_t none;
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  (void)signal(SIGPIPE, SIG_DFL);
  if (dup2(launch->null_fd, 0) == 0 && dup2(launch->log_fd, 1) == 1 &&
      dup2(launch->log_fd, 2) == 2) {
    /* execve() takes its arrays without const for history's sake and does not write to them. */
    union {
      const char *const *in;
      char *const *out;
    } argv = {.in = launch->options->argv}, env = {.in = launch->environment};
    (void)execve(argv.in[0], argv.out, env.out);
  }
  int saved = errno;
  (void)!write(launch->report_fd, &saved, sizeof saved);
  _exit(127);
}

static int read_exec_errno(int fd) {
  int child_errno = 0;
  ssize_t got;
  do
    got = read(fd, &child_errno, sizeof child_errno);
  while (got < 0 && errno == EINTR);
  return got == (ssize_t)sizeof child_errno ? child_errno : 0;
}

static enum error_code launch_child(struct process *process, struct launch *launch,
                                    struct error *err) {
  const char *program = launch->options->argv[0];
  int report[2];
  if (pipe2(report, O_CLOEXEC) != 0)
    return error_set(err, ERR_IO, "%s: pipe: %s", program, strerror(errno));
  launch->report_fd = report[1];
  launch->parent = getpid();
  pid_t pid = fork();
  if (pid == 0) child_run(launch);
  int fork_errno = errno;
  (void)close(report[1]);
  int child_errno = pid > 0 ? read_exec_errno(report[0]) : 0;
  (void)close(report[0]);
  if (pid < 0) return error_set(err, ERR_IO, "%s: fork: %s", program, strerror(fork_errno));
  process->pid = pid;
  process->running = true;
  process->pidfd = pidfd_open(pid, 0);
  if (child_errno != 0)
    return error_set(err, ERR_IO, "%s: cannot be run: %s", program, strerror(child_errno));
  if (process->pidfd < 0)
    return error_set(err, ERR_IO, "%s: pidfd_open: %s", program, strerror(errno));
  return ERR_OK;
}

enum error_code process_start(struct process **out, const struct process_options *options,
                              struct error *err) {
  enum error_code code = ERR_MEMORY;
  struct launch launch = {.options = options, .log_fd = -1, .null_fd = -1};
  const char *log_path = options->log_path ? options->log_path : "/dev/null";
  struct process *process = calloc(1, sizeof *process);
  *out = NULL;
  if (process) process->pidfd = -1;
  if (process && options->log_path) process->log_path = strdup(options->log_path);
  launch.environment = environment_with(options->env_add);
  if (!process || !launch.environment || (options->log_path && !process->log_path)) {
    code = error_set(err, ERR_MEMORY, "out of memory");
    goto out;
  }
  launch.null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  launch.log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (launch.null_fd < 0 || launch.log_fd < 0) {
    code = error_set(err, ERR_IO, "%s: %s", log_path, strerror(errno));
    goto out;
  }
  code = launch_child(process, &launch, err);
out:
  if (launch.null_fd >= 0) (void)close(launch.null_fd);
  if (launch.log_fd >= 0) (void)close(launch.log_fd);
  free(launch.environment);
  if (code == ERR_OK)
    *out = process;
  else
    process_free(process);
  return code;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void reap(struct process *process, int options) {
  if (!process->running) return;
  pid_t got;
  do
    got = waitpid(process->pid, &process->status, options);
  while (got < 0 && errno == EINTR);
  if (got != 0) process->running = false;
}

void process_leave(struct process *process) {
  if (!process) return;
  if (process->pidfd >= 0) (void)close(process->pidfd);
  free(process->log_path);
  free(process);
}

void process_free(struct process *process) {
  if (!process) return;
  process_kill(process, SIGKILL);
  reap(process, 0);
  process_leave(process);
}

pid_t process_pid(const struct process *process) {
  return process->pid;
}

const char *process_log_path(const struct process *process) {
  return process->log_path;
}

bool process_is_alive(struct process *process) {
  reap(process, WNOHANG);
  return process->running;
}

void process_kill(struct process *process, int signum) {
  if (process_is_alive(process)) (void)kill(process->pid, signum);
}

static uint64_t now_ms(void) {
  return clock_monotonic_us() / 1000;
}

bool process_wait(struct process *process, uint64_t timeout_ms, int *status) {
  uint64_t deadline = now_ms() + timeout_ms;
  while (process_is_alive(process)) {
    uint64_t now = now_ms();
    if (now >= deadline) return false;
    uint64_t left = deadline - now;
    struct pollfd wait = {.fd = process->pidfd, .events = POLLIN};
    (void)poll(&wait, 1, left > 60000 ? 60000 : (int)left); /* EINTR: look again */
  }
  if (status) *status = process->status;
  return true;
}

bool process_stop(struct process *process, int signum, uint64_t timeout_ms) {
  process_kill(process, signum);
  if (process_wait(process, timeout_ms, NULL)) return true;
  process_kill(process, SIGKILL);
  reap(process, 0);
  return false;
}

void process_describe(struct process *process, char *out, size_t size) {
  if (process_is_alive(process))
    (void)snprintf(out, size, "running");
  else if (WIFSIGNALED(process->status))
    (void)snprintf(out, size, "signal %d", WTERMSIG(process->status));
  else
    (void)snprintf(out, size, "exit %d", WEXITSTATUS(process->status));
}

/* ---- log, port file -------------------------------------------------------------------------- */

void process_log_tail(const struct process *process, unsigned lines, char *out, size_t size) {
  char text[TAIL_BYTES_MAX];
  size_t want = size - 1 < sizeof text ? size - 1 : sizeof text, length = 0;
  out[0] = '\0';
  FILE *file = process->log_path ? fopen(process->log_path, "re") : NULL;
  if (!file) return;
  if (fseek(file, 0, SEEK_END) == 0) {
    long end = ftell(file);
    if (end >= 0 && fseek(file, end > (long)want ? end - (long)want : 0, SEEK_SET) == 0)
      length = fread(text, 1, want, file);
  }
  (void)fclose(file);
  size_t start = length;
  for (unsigned seen = 0; start > 0; start--) {
    if (text[start - 1] == '\n' && start != length && ++seen == lines) break;
  }
  memcpy(out, text + start, length - start);
  out[length - start] = '\0';
}

static bool read_port(const char *path, uint16_t *port) {
  char line[16] = "", *end;
  FILE *file = fopen(path, "re");
  if (!file) return false;
  bool whole = fgets(line, sizeof line, file) != NULL && strchr(line, '\n') != NULL;
  (void)fclose(file);
  if (!whole) return false;
  unsigned long value = strtoul(line, &end, 10);
  if (end == line || *end != '\n' || value == 0 || value > UINT16_MAX) return false;
  *port = (uint16_t)value;
  return true;
}

static enum error_code ended_early(struct process *process, const char *path, struct error *err) {
  char how[32], tail[400];
  process_describe(process, how, sizeof how);
  process_log_tail(process, 5, tail, sizeof tail);
  for (char *at = tail; (at = strchr(at, '\n')) != NULL; at++)
    *at = at[1] ? '|' : '\0'; /* an error is one line */
  return error_set(err, ERR_IO, "ended (%s) before it wrote %s: %s", how, path, tail);
}

enum error_code wait_port_file(const char *path, struct process *process, uint64_t timeout_ms,
                               uint16_t *port, struct error *err) {
  uint64_t deadline = now_ms() + timeout_ms;
  while (!read_port(path, port)) {
    if (process && !process_is_alive(process)) return ended_early(process, path, err);
    if (now_ms() >= deadline)
      return error_set(err, ERR_IO, "%s: no port there after %llu ms", path,
                       (unsigned long long)timeout_ms);
    process_pause_ms(PORT_POLL_MS);
  }
  return ERR_OK;
}

enum error_code process_sibling(const char *name, char *out, size_t size, struct error *err) {
  char own[4096];
  const char *directory = getenv("ASSENT_BUILD");
  if (!directory) {
    ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
    if (length <= 0) return error_set(err, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    own[length] = '\0';
    *strrchr(own, '/') = '\0';
    directory = own;
  }
  int length = snprintf(out, size, "%s/%s", directory, name);
  if (length < 0 || (size_t)length >= size)
    return error_set(err, ERR_IO, "%s/%s: the path is too long", directory, name);
  if (access(out, X_OK) != 0) return error_set(err, ERR_IO, "%s: %s", out, strerror(errno));
  return ERR_OK;
}

void process_pause_ms(unsigned ms) {
  struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
  (void)nanosleep(&pause, NULL);
}
