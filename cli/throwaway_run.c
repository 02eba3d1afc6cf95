/* Throwaway servers' processes: see throwaway.h, and throwaway.c for the invariants. */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/throwaway_internal.h"

enum { STOP_SECONDS_MAX = 30, POLL_MS = 20, CHILDREN_MAX = 1024 };

/* ---- time ------------------------------------------------------------------------------------ */

int64_t throwaway_now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Between two looks at a condition that has no descriptor to wait on. */
void throwaway_pause_between_looks(void) {
  (void)poll(NULL, 0, POLL_MS);
}

/* ---- children -------------------------------------------------------------------------------- */

/* In the forked child: only calls that are safe there. Never returns. */
static _Noreturn void become_program(const struct throwaway *t, char *const argv[], int log_fd,
                                     pid_t parent, bool dies_with_us) {
  sigset_t none;
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  (void)setsid(); /* an interrupt from the terminal is for us, not for the server */
  int null_fd = open("/dev/null", O_RDONLY);
  if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
      dup2(log_fd, STDERR_FILENO) < 0)
    _exit(126);
  (void)close_range(STDERR_FILENO + 1, ~0U, 0);
  if (t->change_user &&
      (setgroups((size_t)t->group_count, t->groups) != 0 ||
       setresgid(t->gid, t->gid, t->gid) != 0 || setresuid(t->uid, t->uid, t->uid) != 0))
    _exit(126);
  if (chdir(t->directory) != 0) _exit(126);
  /* After the change of user, which clears it. SIGINT is the server's fast shutdown. */
  if (dies_with_us && (prctl(PR_SET_PDEATHSIG, SIGINT) != 0 || getppid() != parent)) _exit(126);
  (void)execv(argv[0], argv);
  _exit(127);
}

pid_t throwaway_run(struct throwaway_server *server, char *const argv[], struct error *err) {
  const struct throwaway *t = server->owner;
  int log_fd = open(server->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log_fd < 0) {
    (void)error_set(err, ERR_IO, "cannot open %s: %s", server->log, strerror(errno));
    return -1;
  }
  pid_t parent = getpid();
  pid_t pid = fork();
  if (pid == 0) become_program(t, argv, log_fd, parent, !t->keep);
  if (pid < 0) (void)error_set(err, ERR_IO, "cannot start %s: %s", argv[0], strerror(errno));
  (void)close(log_fd);
  return pid;
}

/* Waits for our own child for at most `seconds`; true when it has ended and been reaped. */
bool throwaway_wait_child(pid_t pid, int64_t seconds, int *status) {
  int64_t deadline = throwaway_now_ms() + seconds * 1000;
  for (;;) {
    pid_t got = waitpid(pid, status, WNOHANG);
    if (got == pid) return true;
    assert(got == 0 || errno == EINTR);
    if (throwaway_now_ms() >= deadline) return false;
    throwaway_pause_between_looks();
  }
}

/* The end of the log, for an error's text. */
static void log_tail(const struct throwaway_server *server, char *out, size_t size) {
  out[0] = '\0';
  FILE *file = fopen(server->log, "re");
  if (!file) return;
  if (fseek(file, -(long)(size - 1), SEEK_END) != 0) rewind(file);
  size_t length = fread(out, 1, size - 1, file);
  (void)fclose(file);
  while (length > 0 && out[length - 1] == '\n')
    length--;
  out[length] = '\0';
  for (char *at = out; *at; at++)
    if (*at == '\n' || *at == '\t') *at = ' ';
}

enum error_code throwaway_failed(const struct throwaway_server *server, const char *what,
                                 struct error *err) {
  char tail[300];
  log_tail(server, tail, sizeof tail);
  return error_set(err, ERR_UNAVAILABLE, "%s of server %s: %s", what, server->name, tail);
}

/* ---- starting -------------------------------------------------------------------------------- */

enum error_code throwaway_launch(struct throwaway_server *server, struct error *err) {
  char program[THROWAWAY_PATH_SIZE + 16], port[16];
  char data_flag[] = "-D", port_flag[] = "-p", socket_flag[] = "-k", set_flag[] = "-c";
  char *argv[9 + 2 * THROWAWAY_SETTINGS_MAX];
  (void)snprintf(program, sizeof program, "%s/postgres", server->owner->bin);
  (void)snprintf(port, sizeof port, "%d", server->port);
  size_t n = 0;
  argv[n++] = program;
  argv[n++] = data_flag;
  argv[n++] = server->data;
  argv[n++] = port_flag;
  argv[n++] = port;
  argv[n++] = socket_flag;
  argv[n++] = server->owner->directory;
  for (size_t i = 0; i < server->setting_count; i++) {
    argv[n++] = set_flag;
    argv[n++] = server->settings[i];
  }
  argv[n] = NULL;
  pid_t pid = throwaway_run(server, argv, err);
  if (pid < 0) return err ? err->code : ERR_IO;
  server->pid = pid;
  server->paused = false;
  return ERR_OK;
}

/* Waits until the server answers. `*ended`: its process has ended instead. */
enum error_code throwaway_wait_answer(struct throwaway_server *server, bool *ended,
                                      struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, "postgres", dsn);
  int64_t deadline = throwaway_now_ms() + (int64_t)THROWAWAY_START_SECONDS_MAX * 1000;
  *ended = false;
  while (PQping(dsn) != PQPING_OK) {
    int status = 0;
    if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
      server->pid = 0;
      *ended = true;
      return throwaway_failed(server, "start", err);
    }
    if (throwaway_now_ms() >= deadline)
      return throwaway_failed(server, "start (no answer in time)", err);
    throwaway_pause_between_looks();
  }
  return ERR_OK;
}

enum error_code throwaway_server_start(struct throwaway_server *server, struct error *err) {
  assert(server->pid == 0);
  bool ended;
  if (throwaway_launch(server, err) != ERR_OK) return err ? err->code : ERR_IO;
  return throwaway_wait_answer(server, &ended, err);
}

/* ---- stopping, killing, pausing -------------------------------------------------------------- */

/* The postmaster is stopped while its children are listed and signalled: it makes no more of them,
 * and those that end stay zombies, so none of the pids can become another process's. */
static size_t list_children(pid_t postmaster, pid_t pids[CHILDREN_MAX]) {
  DIR *proc = opendir("/proc");
  assert(proc);
  size_t count = 0;
  for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
    pid_t pid = (pid_t)atol(entry->d_name);
    if (pid > 0 && count < CHILDREN_MAX && throwaway_process_of(pid).parent == postmaster)
      pids[count++] = pid;
  }
  (void)closedir(proc);
  return count;
}

static void signal_children(const struct throwaway_server *server, int signum, bool until_ended) {
  pid_t pids[CHILDREN_MAX];
  size_t count = list_children(server->pid, pids);
  int64_t deadline = throwaway_now_ms() + (int64_t)STOP_SECONDS_MAX * 1000;
  for (size_t i = 0; i < count; i++)
    (void)kill(pids[i], signum);
  for (size_t i = 0; until_ended && i < count; i++)
    while (!throwaway_process_of(pids[i]).ended && throwaway_now_ms() < deadline)
      throwaway_pause_between_looks();
}

/* Returns when the postmaster stands still; false when it has ended instead. */
static bool stop_postmaster(struct throwaway_server *server) {
  int status = 0;
  if (server->paused) return true;
  (void)kill(server->pid, SIGSTOP);
  while (waitpid(server->pid, &status, WUNTRACED) < 0)
    assert(errno == EINTR);
  if (!WIFSTOPPED(status)) server->pid = 0;
  return server->pid != 0;
}

void throwaway_server_kill(struct throwaway_server *server) {
  int status = 0;
  if (server->pid == 0 || !stop_postmaster(server)) return;
  signal_children(server, SIGKILL, true);
  (void)kill(server->pid, SIGKILL);
  (void)throwaway_wait_child(server->pid, STOP_SECONDS_MAX, &status);
  server->pid = 0;
  throwaway_drop_leftovers(server);
}

void throwaway_stop_with(struct throwaway_server *server, int signum) {
  int status = 0;
  if (server->pid == 0) return;
  if (server->paused) throwaway_server_resume(server);
  (void)kill(server->pid, signum);
  if (throwaway_wait_child(server->pid, STOP_SECONDS_MAX, &status))
    server->pid = 0;
  else
    throwaway_server_kill(server);
}

void throwaway_server_stop(struct throwaway_server *server) {
  throwaway_stop_with(server, SIGINT);
}

void throwaway_server_pause(struct throwaway_server *server) {
  assert(server->pid != 0);
  if (!stop_postmaster(server)) return;
  signal_children(server, SIGSTOP, false);
  server->paused = true;
}

void throwaway_server_resume(struct throwaway_server *server) {
  if (server->pid == 0 || !server->paused) return;
  signal_children(server, SIGCONT, false);
  (void)kill(server->pid, SIGCONT);
  server->paused = false;
}
