/* Throwaway PostgreSQL servers: see throwaway.h.
 *
 * Invariants:
 *  - a server's pid is our own unreaped child, so it can never be another's process; its children
 *    are signalled while it is stopped and cannot reap them, so neither can theirs;
 *  - a server has its port for as long as it is ours, also while it is down (port.h);
 *  - nothing outlives throwaway_free(): processes, directory, System V memory of a killed server.
 * Limits: THROWAWAY_SERVERS_MAX servers; a path of a Unix socket must fit sockaddr_un.
 */
#include <assert.h>
#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/port.h"
#include "cli/throwaway_internal.h"

enum { PORT_TRIES = 20 };

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
  t->group_count = THROWAWAY_GROUPS_MAX;
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

/* ---- making and starting --------------------------------------------------------------------- */

static void init_begin(struct throwaway_server *server, pid_t *pid, struct error *err) {
  char program[THROWAWAY_PATH_SIZE + 16], data[THROWAWAY_PATH_SIZE + 16];
  char user[] = "--username=postgres", trust[] = "--auth=trust", nosync[] = "--no-sync",
       encoding[] = "--encoding=UTF8", locale[] = "--locale=C";
  (void)snprintf(program, sizeof program, "%s/initdb", server->owner->bin);
  (void)snprintf(data, sizeof data, "--pgdata=%s", server->data);
  char *argv[] = {program, data, user, trust, nosync, encoding, locale, NULL};
  *pid = throwaway_run(server, argv, err);
}

static enum error_code init_finish(struct throwaway_server *server, pid_t pid, struct error *err) {
  int status = 0;
  if (!throwaway_wait_child(pid, THROWAWAY_START_SECONDS_MAX, &status)) {
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return error_set(err, ERR_UNAVAILABLE, "initdb of server %s took too long", server->name);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
    return throwaway_failed(server, "initdb", err);
  return ERR_OK;
}

static enum error_code launch_first(struct throwaway_server *server, struct error *err) {
  struct error why = {0};
  uint16_t port = 0;
  int former = server->reserved;
  enum error_code code = port_reserve(&port, &server->reserved, &why);
  if (former >= 0) (void)close(former); /* not before: it would be found free */
  if (code != ERR_OK) return error_set(err, code, "%s", why.text);
  server->port = port;
  return throwaway_launch(server, err);
}

/* Finds another port when somebody took it in between. */
static enum error_code wait_first(struct throwaway_server *server, struct error *err) {
  for (int i = 0;; i++) {
    struct error why = {0};
    bool ended;
    if (throwaway_wait_answer(server, &ended, &why) == ERR_OK) return ERR_OK;
    if (!ended || i == PORT_TRIES || !strstr(why.text, "TCP/IP socket"))
      return error_set(err, why.code, "%s", why.text);
    if (truncate(server->log, 0) != 0 || launch_first(server, err) != ERR_OK)
      return error_set(err, ERR_IO, "cannot start server %s again", server->name);
  }
}

enum error_code throwaway_start_first(struct throwaway_server *server, struct error *err) {
  struct error why = {0};
  if (launch_first(server, &why) != ERR_OK) return error_set(err, why.code, "%s", why.text);
  return wait_first(server, err);
}

enum error_code throwaway_add_setting(struct throwaway_server *server, const char *setting,
                                      struct error *err) {
  if (server->setting_count == THROWAWAY_SETTINGS_MAX)
    return error_set(err, ERR_LIMIT, "more than %d settings", THROWAWAY_SETTINGS_MAX);
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
    code = throwaway_add_setting(server, fixed[i], err);
  for (const char *const *at = options->settings; code == ERR_OK && at && *at; at++)
    code = throwaway_add_setting(server, *at, err);
  return code;
}

struct throwaway_server *throwaway_add(struct throwaway *t, const char *name, struct error *err) {
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
  server->reserved = -1;
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
    out[made] = throwaway_add(t, names[made], &why);
    if (!out[made] || server_configure(out[made], options, &why) != ERR_OK) break;
    init_begin(out[made], &pids[made], &why);
  }
  for (size_t i = 0; i < made; i++) /* all of them, so that none is left unreaped */
    if (pids[i] > 0) (void)init_finish(out[i], pids[i], &why);
  for (size_t i = 0; i < made && why.code == ERR_OK; i++)
    (void)launch_first(out[i], &why);
  for (size_t i = 0; i < made && why.code == ERR_OK; i++)
    (void)wait_first(out[i], &why);
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

/* The id of its small System V segment is the second number on line 7 of postmaster.pid. */
static void remove_shared_memory(const char *path) {
  char line[256];
  FILE *file = fopen(path, "re");
  if (!file) return; /* stopped in good order */
  unsigned long key;
  int id, line_number = 0;
  while (fgets(line, sizeof line, file))
    if (++line_number == 7 && sscanf(line, "%lu %d", &key, &id) == 2)
      (void)shmctl(id, IPC_RMID, NULL);
  (void)fclose(file);
}

void throwaway_drop_leftovers(const struct throwaway_server *server) {
  char path[THROWAWAY_PATH_SIZE + 64];
  assert(server->pid == 0);
  (void)snprintf(path, sizeof path, "%s/postmaster.pid", server->data);
  remove_shared_memory(path);
  (void)unlink(path);
  (void)snprintf(path, sizeof path, "%s/.s.PGSQL.%d.lock", server->owner->directory, server->port);
  (void)unlink(path);
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info;
  (void)type;
  (void)walk;
  (void)remove(path);
  return 0;
}

static void server_end(struct throwaway_server *server) {
  throwaway_stop_with(server, SIGQUIT); /* at once: nobody will read the data again */
  if (server->pid == 0) throwaway_drop_leftovers(server);
}

static void server_free(struct throwaway_server *server) {
  for (size_t i = 0; i < server->setting_count; i++)
    free(server->settings[i]);
  if (server->reserved >= 0) (void)close(server->reserved);
  free(server);
}

static void remove_tree(const char *path) {
  (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

void throwaway_server_remove(struct throwaway_server *server) {
  struct throwaway *t = server->owner;
  server_end(server);
  throwaway_standby_leave(server);
  remove_tree(server->data);
  (void)unlink(server->log);
  size_t kept = 0;
  for (size_t i = 0; i < t->server_count; i++) {
    if (t->servers[i]->primary == server) t->servers[i]->primary = NULL;
    if (t->servers[i] != server) t->servers[kept++] = t->servers[i];
  }
  assert(kept + 1 == t->server_count);
  t->server_count = kept;
  server_free(server);
}

void throwaway_free(struct throwaway *t) {
  if (!t) return;
  for (size_t i = 0; i < t->server_count; i++) {
    if (!t->keep) server_end(t->servers[i]);
    server_free(t->servers[i]);
  }
  if (t->directory[0] && !t->keep && !t->keep_files) remove_tree(t->directory);
  free(t);
}
