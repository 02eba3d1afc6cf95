/* Throwaway PostgreSQL servers: see throwaway.h.
 *
 * Invariants:
 *  - a server's pid is our own unreaped child, so it can never be another's process; its children
 *    are signalled while it is stopped and cannot reap them, so neither can theirs;
 *  - ports come from below the kernel's ephemeral range: a port of that range could be taken by an
 *    outgoing connection while the server is down, even by a client that connects to itself;
 *  - nothing outlives throwaway_free(): processes, directory, System V memory of a killed server.
 * Limits: THROWAWAY_SERVERS_MAX servers; a path of a Unix socket must fit sockaddr_un.
 */
#include "cli/throwaway.h"

#include <arpa/inet.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <libpq-fe.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/throwaway_find.h"
#include "common/id.h"

enum {
  PORT_FIRST = 20000, /* Linux: ephemeral ports begin at 32768 */
  PORT_LAST = 31999,
  PORT_TRIES = 20,
  START_SECONDS_MAX = 60,
  STOP_SECONDS_MAX = 30,
  POLL_MS = 20,
  SETTINGS_MAX = 32,
  CHILDREN_MAX = 1024,
  GROUPS_MAX = 64
};

struct throwaway_server {
  struct throwaway *owner;
  char name[32];
  char data[THROWAWAY_PATH_SIZE], log[THROWAWAY_PATH_SIZE];
  char *settings[SETTINGS_MAX]; /* "name=value" */
  size_t setting_count;
  int port;
  pid_t pid; /* 0: not running */
  bool paused;
};

struct throwaway {
  char directory[sizeof((struct sockaddr_un *)0)->sun_path];
  char bin[THROWAWAY_PATH_SIZE];
  bool keep, keep_files;
  bool change_user; /* we are root */
  uid_t uid;
  gid_t gid;
  gid_t groups[GROUPS_MAX];
  int group_count;
  struct throwaway_server *servers[THROWAWAY_SERVERS_MAX];
  size_t server_count;
};

/* ---- time ------------------------------------------------------------------------------------ */

static int64_t now_ms(void) {
  struct timespec now;
  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Between two looks at a condition that has no descriptor to wait on. */
static void pause_between_looks(void) {
  (void)poll(NULL, 0, POLL_MS);
}

/* ---- the owner ------------------------------------------------------------------------------- */

static enum error_code choose_user(struct throwaway *t, struct error *err) {
  t->change_user = geteuid() == 0;
  if (!t->change_user) return ERR_OK;
  const struct passwd *user = getpwnam("postgres");
  if (!user) user = getpwnam("nobody");
  if (!user || user->pw_uid == 0)
    return error_set(err, ERR_UNAVAILABLE,
                     "PostgreSQL does not run as root, and there is no user postgres or nobody");
  t->uid = user->pw_uid;
  t->gid = user->pw_gid;
  /* Asked before fork: the name service is no place for a forked child of a threaded process. */
  t->group_count = GROUPS_MAX;
  if (getgrouplist(user->pw_name, user->pw_gid, t->groups, &t->group_count) < 0) {
    t->groups[0] = t->gid;
    t->group_count = 1;
  }
  return ERR_OK;
}

static enum error_code make_directory(struct throwaway *t, struct error *err) {
  const char *base = getenv("TMPDIR");
  if (!base || *base != '/') base = "/tmp";
  const size_t socket_name = sizeof "/.s.PGSQL.65535.lock";
  if (strlen(base) + sizeof "/assent-XXXXXX" + socket_name >
      sizeof((struct sockaddr_un *)0)->sun_path)
    return error_set(err, ERR_UNAVAILABLE, "TMPDIR (%s) is too long for a Unix socket's path",
                     base);
  (void)snprintf(t->directory, sizeof t->directory, "%s/assent-XXXXXX", base);
  if (!mkdtemp(t->directory)) {
    int cause = errno;
    t->directory[0] = '\0';
    return error_set(err, ERR_IO, "cannot make a directory in %s: %s", base, strerror(cause));
  }
  if (t->change_user && chown(t->directory, t->uid, t->gid) != 0)
    return error_set(err, ERR_IO, "cannot give %s away: %s", t->directory, strerror(errno));
  return ERR_OK;
}

struct throwaway *throwaway_new(struct error *err) {
  struct throwaway *t = calloc(1, sizeof *t);
  if (!t) {
    (void)error_set(err, ERR_MEMORY, "no memory for a throwaway server");
    return NULL;
  }
  if (throwaway_find_programs(t->bin, err) != ERR_OK || choose_user(t, err) != ERR_OK ||
      make_directory(t, err) != ERR_OK) {
    throwaway_free(t);
    return NULL;
  }
  return t;
}

void throwaway_keep(struct throwaway *t) {
  assert(t->server_count == 0);
  t->keep = true;
}

void throwaway_keep_files(struct throwaway *t) {
  t->keep_files = true;
}

const char *throwaway_directory(const struct throwaway *t) {
  return t->directory;
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

static pid_t start_program(struct throwaway_server *server, char *const argv[], struct error *err) {
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
static bool wait_child(pid_t pid, int64_t seconds, int *status) {
  int64_t deadline = now_ms() + seconds * 1000;
  for (;;) {
    pid_t got = waitpid(pid, status, WNOHANG);
    if (got == pid) return true;
    assert(got == 0 || errno == EINTR);
    if (now_ms() >= deadline) return false;
    pause_between_looks();
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

static enum error_code start_failed(const struct throwaway_server *server, const char *what,
                                    struct error *err) {
  char tail[300];
  log_tail(server, tail, sizeof tail);
  return error_set(err, ERR_UNAVAILABLE, "%s of server %s: %s", what, server->name, tail);
}

/* ---- making and starting --------------------------------------------------------------------- */

static void init_begin(struct throwaway_server *server, pid_t *pid, struct error *err) {
  char program[THROWAWAY_PATH_SIZE + 16], data[THROWAWAY_PATH_SIZE + 16];
  char user[] = "--username=postgres", trust[] = "--auth=trust", nosync[] = "--no-sync",
       encoding[] = "--encoding=UTF8", locale[] = "--locale=C";
  (void)snprintf(program, sizeof program, "%s/initdb", server->owner->bin);
  (void)snprintf(data, sizeof data, "--pgdata=%s", server->data);
  char *argv[] = {program, data, user, trust, nosync, encoding, locale, NULL};
  *pid = start_program(server, argv, err);
}

static enum error_code init_finish(struct throwaway_server *server, pid_t pid, struct error *err) {
  int status = 0;
  if (!wait_child(pid, START_SECONDS_MAX, &status)) {
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return error_set(err, ERR_UNAVAILABLE, "initdb of server %s took too long", server->name);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return start_failed(server, "initdb", err);
  return ERR_OK;
}

/* A port that was free a moment ago, or 0. */
static int free_port(void) {
  for (int i = 0; i < PORT_TRIES; i++) {
    uint32_t random;
    id_random(&random, sizeof random);
    int port = PORT_FIRST + (int)(random % (PORT_LAST - PORT_FIRST + 1));
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 0;
    int bound = bind(fd, (const struct sockaddr *)&address, sizeof address);
    (void)close(fd);
    if (bound == 0) return port;
  }
  return 0;
}

static enum error_code server_launch(struct throwaway_server *server, struct error *err) {
  char program[THROWAWAY_PATH_SIZE + 16], port[16];
  char data_flag[] = "-D", port_flag[] = "-p", socket_flag[] = "-k", set_flag[] = "-c";
  char *argv[9 + 2 * SETTINGS_MAX];
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
  pid_t pid = start_program(server, argv, err);
  if (pid < 0) return err ? err->code : ERR_IO;
  server->pid = pid;
  server->paused = false;
  return ERR_OK;
}

/* Waits until the server answers. `*ended`: its process has ended instead. */
static enum error_code server_wait(struct throwaway_server *server, bool *ended,
                                   struct error *err) {
  char dsn[THROWAWAY_DSN_SIZE];
  throwaway_server_dsn(server, "postgres", dsn);
  int64_t deadline = now_ms() + (int64_t)START_SECONDS_MAX * 1000;
  *ended = false;
  while (PQping(dsn) != PQPING_OK) {
    int status = 0;
    if (waitpid(server->pid, &status, WNOHANG) == server->pid) {
      server->pid = 0;
      *ended = true;
      return start_failed(server, "start", err);
    }
    if (now_ms() >= deadline) return start_failed(server, "start (no answer in time)", err);
    pause_between_looks();
  }
  return ERR_OK;
}

enum error_code throwaway_server_start(struct throwaway_server *server, struct error *err) {
  assert(server->pid == 0);
  bool ended;
  if (server_launch(server, err) != ERR_OK) return err ? err->code : ERR_IO;
  return server_wait(server, &ended, err);
}

/* The first start: finds a port, and another when somebody took it in between. */
static enum error_code server_wait_first(struct throwaway_server *server, struct error *err) {
  for (int i = 0;; i++) {
    struct error why = {0};
    bool ended;
    if (server_wait(server, &ended, &why) == ERR_OK) return ERR_OK;
    if (!ended || i == PORT_TRIES || !strstr(why.text, "TCP/IP socket"))
      return error_set(err, why.code, "%s", why.text);
    server->port = free_port();
    if (truncate(server->log, 0) != 0 || server_launch(server, err) != ERR_OK)
      return error_set(err, ERR_IO, "cannot start server %s again", server->name);
  }
}

static enum error_code add_setting(struct throwaway_server *server, const char *setting,
                                   struct error *err) {
  if (server->setting_count == SETTINGS_MAX)
    return error_set(err, ERR_LIMIT, "more than %d settings", SETTINGS_MAX);
  char *copy = strdup(setting);
  if (!copy) return error_set(err, ERR_MEMORY, "no memory for a setting");
  server->settings[server->setting_count++] = copy;
  return ERR_OK;
}

static enum error_code server_configure(struct throwaway_server *server,
                                        const struct throwaway_options *options,
                                        struct error *err) {
  static const struct throwaway_options defaults;
  if (!options) options = &defaults;
  int prepared = options->prepared_max ? options->prepared_max : 200;
  char prepared_text[64], connections_text[64];
  (void)snprintf(prepared_text, sizeof prepared_text, "max_prepared_transactions=%d",
                 prepared < 0 ? 0 : prepared);
  (void)snprintf(connections_text, sizeof connections_text, "max_connections=%d",
                 options->connections_max ? options->connections_max : 200);
  /* Files instead of /dev/shm: they go with the directory, also after a kill. */
  const char *const fixed[] = {"listen_addresses=127.0.0.1",
                               "dynamic_shared_memory_type=mmap",
                               "fsync=on",
                               "logging_collector=off",
                               prepared_text,
                               connections_text};
  enum error_code code = ERR_OK;
  for (size_t i = 0; code == ERR_OK && i < sizeof fixed / sizeof fixed[0]; i++)
    code = add_setting(server, fixed[i], err);
  for (const char *const *at = options->settings; code == ERR_OK && at && *at; at++)
    code = add_setting(server, *at, err);
  return code;
}

static struct throwaway_server *server_add(struct throwaway *t, const char *name,
                                           struct error *err) {
  struct throwaway_server *server = NULL;
  if (t->server_count == THROWAWAY_SERVERS_MAX || strlen(name) >= sizeof server->name) {
    (void)error_set(err, ERR_LIMIT, "at most %d servers, with short names", THROWAWAY_SERVERS_MAX);
    return NULL;
  }
  assert(!strchr(name, '/'));
  server = calloc(1, sizeof *server);
  if (!server) {
    (void)error_set(err, ERR_MEMORY, "no memory for a throwaway server");
    return NULL;
  }
  t->servers[t->server_count++] = server;
  server->owner = t;
  (void)snprintf(server->name, sizeof server->name, "%s", name);
  (void)snprintf(server->data, sizeof server->data, "%s/%s", t->directory, name);
  (void)snprintf(server->log, sizeof server->log, "%s/%s.log", t->directory, name);
  return server;
}

enum error_code throwaway_servers(struct throwaway *t, size_t count, const char *const *names,
                                  const struct throwaway_options *options,
                                  struct throwaway_server **out, struct error *err) {
  struct error why = {0}; /* so that its code can be looked at when the caller gave no struct */
  pid_t pids[THROWAWAY_SERVERS_MAX] = {0};
  size_t made = 0;
  assert(count <= THROWAWAY_SERVERS_MAX);
  for (; made < count && why.code == ERR_OK; made++) {
    out[made] = server_add(t, names[made], &why);
    if (!out[made] || server_configure(out[made], options, &why) != ERR_OK) break;
    init_begin(out[made], &pids[made], &why);
  }
  for (size_t i = 0; i < made; i++) /* all of them, so that none is left unreaped */
    if (pids[i] > 0) (void)init_finish(out[i], pids[i], &why);
  for (size_t i = 0; i < made && why.code == ERR_OK; i++) {
    out[i]->port = free_port();
    if (out[i]->port == 0)
      (void)error_set(&why, ERR_UNAVAILABLE, "no free port on 127.0.0.1 from %d to %d", PORT_FIRST,
                      PORT_LAST);
    else
      (void)server_launch(out[i], &why);
  }
  for (size_t i = 0; i < made && why.code == ERR_OK; i++)
    (void)server_wait_first(out[i], &why);
  if (why.code != ERR_OK) return error_set(err, why.code, "%s", why.text);
  return ERR_OK;
}

struct throwaway_server *throwaway_server(struct throwaway *t, const char *name,
                                          const struct throwaway_options *options,
                                          struct error *err) {
  struct throwaway_server *server = NULL;
  return throwaway_servers(t, 1, &name, options, &server, err) == ERR_OK ? server : NULL;
}

/* ---- what a server is ------------------------------------------------------------------------ */

void throwaway_server_dsn(const struct throwaway_server *server, const char *dbname,
                          char out[THROWAWAY_DSN_SIZE]) {
  int length = snprintf(out, THROWAWAY_DSN_SIZE, "host='%s' port=%d dbname='%s' user=postgres",
                        server->owner->directory, server->port, dbname);
  assert(length > 0 && length < THROWAWAY_DSN_SIZE);
}

int throwaway_server_port(const struct throwaway_server *server) {
  return server->port;
}

const char *throwaway_server_socket_dir(const struct throwaway_server *server) {
  return server->owner->directory;
}

const char *throwaway_server_log(const struct throwaway_server *server) {
  return server->log;
}

pid_t throwaway_server_pid(const struct throwaway_server *server) {
  return server->pid;
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
  int64_t deadline = now_ms() + (int64_t)STOP_SECONDS_MAX * 1000;
  for (size_t i = 0; i < count; i++)
    (void)kill(pids[i], signum);
  for (size_t i = 0; until_ended && i < count; i++)
    while (!throwaway_process_of(pids[i]).ended && now_ms() < deadline)
      pause_between_looks();
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
  (void)wait_child(server->pid, STOP_SECONDS_MAX, &status);
  server->pid = 0;
}

static void stop_with(struct throwaway_server *server, int signum) {
  int status = 0;
  if (server->pid == 0) return;
  if (server->paused) throwaway_server_resume(server);
  (void)kill(server->pid, signum);
  if (wait_child(server->pid, STOP_SECONDS_MAX, &status))
    server->pid = 0;
  else
    throwaway_server_kill(server);
}

void throwaway_server_stop(struct throwaway_server *server) {
  stop_with(server, SIGINT);
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

/* A killed server leaves its small System V segment, which its next start would remove: its id is
 * the second number on line 7 of postmaster.pid. */
static void remove_shared_memory(const struct throwaway_server *server) {
  char path[THROWAWAY_PATH_SIZE + 32], line[256];
  (void)snprintf(path, sizeof path, "%s/postmaster.pid", server->data);
  FILE *file = fopen(path, "re");
  if (!file) return; /* stopped in good order */
  unsigned long key;
  int id, line_number = 0;
  while (fgets(line, sizeof line, file))
    if (++line_number == 7 && sscanf(line, "%lu %d", &key, &id) == 2)
      (void)shmctl(id, IPC_RMID, NULL);
  (void)fclose(file);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info;
  (void)type;
  (void)walk;
  (void)remove(path);
  return 0;
}

void throwaway_free(struct throwaway *t) {
  if (!t) return;
  for (size_t i = 0; i < t->server_count; i++) {
    struct throwaway_server *server = t->servers[i];
    if (!t->keep) {
      stop_with(server, SIGQUIT); /* the immediate shutdown: nobody will read the data again */
      remove_shared_memory(server);
    }
    for (size_t s = 0; s < server->setting_count; s++)
      free(server->settings[s]);
    free(server);
  }
  if (t->directory[0] && !t->keep && !t->keep_files)
    (void)nftw(t->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  free(t);
}

/* ---- small conveniences on libpq ------------------------------------------------------------- */

/* libpq's text has a line for each thing it says; the first is enough here. */
static void refused(struct error *err, enum error_code code, const PGconn *connection) {
  const char *text = PQerrorMessage(connection);
  (void)error_set(err, code, "%.*s", (int)strcspn(text, "\n"), text);
}

static PGresult *query(PGconn *connection, const char *sql, struct error *err) {
  if (PQstatus(connection) != CONNECTION_OK) {
    refused(err, ERR_UNAVAILABLE, connection);
    return NULL;
  }
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
    return result;
  const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  refused(err, sqlstate ? ERR_INVALID : ERR_LOST, connection);
  if (err && sqlstate && !err->sqlstate[0])
    (void)snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
  PQclear(result);
  return NULL;
}

enum error_code throwaway_exec(const char *dsn, const char *sql, struct error *err) {
  struct error why = {0};
  PGconn *connection = PQconnectdb(dsn);
  PGresult *result = query(connection, sql, &why);
  PQclear(result);
  PQfinish(connection);
  if (err && why.code != ERR_OK) *err = why;
  return why.code;
}

enum error_code throwaway_query_int(const char *dsn, const char *sql, int64_t *out,
                                    struct error *err) {
  struct error why = {0};
  PGconn *connection = PQconnectdb(dsn);
  PGresult *result = query(connection, sql, &why);
  if (result && PQntuples(result) > 0 && PQnfields(result) > 0 && !PQgetisnull(result, 0, 0))
    *out = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
  else if (result)
    (void)error_set(&why, ERR_NOT_FOUND, "no value: %s", sql);
  PQclear(result);
  PQfinish(connection);
  if (err && why.code != ERR_OK) *err = why;
  return why.code;
}
