/* See stage.h. A daemon's port is kept while it is down (port.h). */
#include "cli/stage.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/demo_kept.h"
#include "cli/port.h"
#include "cli/process.h"
#include "cli/throwaway.h"
#include "common/clock.h"
#include "common/http_client.h"

enum {
  PORT_USUAL = 7410,
  READY_MS_MAX = 30000,
  STOP_MS_MAX = 15000,
  WRAPPER_SIZE = 1024,
  WRAPPER_WORDS_MAX = 32,
  PROBE_MS_MAX = 1000,
  TAIL_LINES = 12,
  KEYS_EXTRA = 256,
  STAGE_PATH_SIZE = 512
};

struct daemon_slot {
  bool is_used;
  struct process *process; /* NULL: killed, or not started yet */
  uint16_t port;
  int reserved;   /* what keeps the port ours; -1: nothing does */
  uint16_t route; /* the port where others reach it: its own, unless told otherwise */
  const char *const *environment;
  char program[4096], config[STAGE_PATH_SIZE], log[STAGE_PATH_SIZE], data[STAGE_PATH_SIZE];
};

struct stage {
  struct stage_options options;
  struct throwaway *throwaway; /* NULL: the databases are the user's */
  struct throwaway_server *servers[2];
  struct stage_database databases[2];
  char dsn[2][THROWAWAY_DSN_SIZE];               /* of throwaway servers */
  char keys[2][THROWAWAY_DSN_SIZE + KEYS_EXTRA]; /* of theirs, as the daemons reach them */
  bool keep_files;
  char directory[STAGE_PATH_SIZE - 64];
  char url[64];
  struct daemon_slot daemons[STAGE_TARGETS];
  struct http_caller *caller;
};

const char *stage_url(const struct stage *stage) {
  return stage->url;
}

const char *stage_directory(const struct stage *stage) {
  return stage->directory;
}

const char *stage_data_directory(const struct stage *stage, enum stage_target target) {
  return stage->daemons[target].data;
}

const char *stage_log(const struct stage *stage, enum stage_target target) {
  return stage->daemons[target].log;
}

const char *stage_dsn(const struct stage *stage, int bank) {
  assert(bank == 0 || bank == 1);
  return stage->databases[bank].dsn;
}

const char *stage_bank_name(const struct stage *stage, int bank) {
  assert(bank == 0 || bank == 1);
  return stage->databases[bank].name;
}

bool stage_has(const struct stage *stage, enum stage_target target) {
  return stage->daemons[target].is_used;
}

uint16_t stage_port(const struct stage *stage, enum stage_target target) {
  return stage->daemons[target].port;
}

pid_t stage_pid(const struct stage *stage, enum stage_target target) {
  struct process *process = stage->daemons[target].process;
  return process && process_is_alive(process) ? process_pid(process) : 0;
}

struct throwaway_server *stage_server(const struct stage *stage, int bank) {
  assert(bank == 0 || bank == 1);
  return stage->servers[bank];
}

const char *stage_target_name(enum stage_target target) {
  static const char *const names[STAGE_TARGETS] = {"assentd", "agent_a", "agent_b"};
  return names[target];
}

struct throwaway *stage_throwaway(const struct stage *stage) {
  return stage->throwaway;
}

void stage_set_server(struct stage *stage, int bank, struct throwaway_server *server) {
  assert(stage->servers[bank]);
  stage->servers[bank] = server;
}

/* ---- ports, files ---------------------------------------------------------------------------- */

static bool is_free_port(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  bool is_free = bind(fd, (const struct sockaddr *)&address, sizeof address) == 0;
  (void)close(fd);
  return is_free;
}

static enum error_code written(FILE *file, bool failed, const char *path, struct error *err) {
  if (file && fclose(file) != 0) failed = true;
  if (failed) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  return ERR_OK;
}

static enum error_code write_coordinator_config(const struct stage *stage, struct error *err) {
  const struct daemon_slot *slot = &stage->daemons[STAGE_COORDINATOR];
  const char *more = stage->options.coordinator_keys;
  FILE *file = fopen(slot->config, "we");
  bool failed = !file || fprintf(file, "[coordinator]\nlisten = 127.0.0.1:%d\ndata_dir = %s\n%s",
                                 (int)slot->port, slot->data, more ? more : "") < 0;
  for (int i = 0; !failed && i < 2; i++) {
    const struct stage_database *database = &stage->databases[i];
    failed = fprintf(file, "\n[participant.%s]\n", database->name) < 0;
    if (stage->options.agents)
      failed = failed || fprintf(file, "agent = http://127.0.0.1:%d\n",
                                 (int)stage->daemons[STAGE_AGENT_A + i].route) < 0;
    else
      failed = failed || fputs(database->keys, file) == EOF;
  }
  return written(file, failed, slot->config, err);
}

static enum error_code write_agent_config(const struct stage *stage, int bank, struct error *err) {
  const struct daemon_slot *slot = &stage->daemons[STAGE_AGENT_A + bank];
  const struct stage_database *database = &stage->databases[bank];
  FILE *file = fopen(slot->config, "we");
  bool failed =
      !file || fprintf(file, "[agent]\nlisten = 127.0.0.1:%d\nstate_dir = %s\n\n[database.%s]\n%s",
                       (int)slot->port, slot->data, database->name, database->keys) < 0;
  return written(file, failed, slot->config, err);
}

/* ---- routes ---------------------------------------------------------------------------------- */

void stage_route_database(struct stage *stage, int bank, const char *dsn) {
  assert(stage->servers[bank]);
  const char *more = stage->options.database_keys;
  (void)snprintf(stage->keys[bank], sizeof stage->keys[bank], "dsn = %s\n%s", dsn,
                 more ? more : "");
}

void stage_route_agent(struct stage *stage, int bank, uint16_t port) {
  stage->daemons[STAGE_AGENT_A + bank].route = port;
}

void stage_set_environment(struct stage *stage, enum stage_target target,
                           const char *const *environment) {
  stage->daemons[target].environment = environment;
}

/* ---- daemons --------------------------------------------------------------------------------- */

void stage_signal(struct stage *stage, enum stage_target target, int signum) {
  struct process *process = stage->daemons[target].process;
  if (process) process_kill(process, signum);
}

bool stage_is_alive(struct stage *stage, enum stage_target target) {
  struct process *process = stage->daemons[target].process;
  return process && process_is_alive(process);
}

void stage_kill(struct stage *stage, enum stage_target target) {
  process_free(stage->daemons[target].process);
  stage->daemons[target].process = NULL;
}

bool stage_has_ended(struct stage *stage, enum stage_target target, int *status) {
  struct process *process = stage->daemons[target].process;
  return process && process_wait(process, 0, status);
}

bool stage_last_said(const struct stage *stage, enum stage_target target, const char *text) {
  const struct process *process = stage->daemons[target].process;
  char tail[2048] = "";
  if (process) process_log_tail(process, 1, tail, sizeof tail);
  return strstr(tail, text) != NULL;
}

/* $ASSENT_DAEMON_WRAPPER: words (between spaces) that go before the daemon's, "/usr/bin/valgrind
 * -q" say. They point into `text`. */
static size_t wrapper_words(char text[WRAPPER_SIZE], const char *words[WRAPPER_WORDS_MAX]) {
  const char *wanted = getenv("ASSENT_DAEMON_WRAPPER");
  char *rest = NULL;
  size_t count = 0;
  (void)snprintf(text, WRAPPER_SIZE, "%s", wanted ? wanted : "");
  for (char *word = strtok_r(text, " ", &rest); word && count < WRAPPER_WORDS_MAX;
       word = strtok_r(NULL, " ", &rest))
    words[count++] = word;
  return count;
}

enum error_code stage_start(struct stage *stage, enum stage_target target, struct error *err) {
  struct daemon_slot *slot = &stage->daemons[target];
  const char *argv[WRAPPER_WORDS_MAX + 4];
  char wrapper[WRAPPER_SIZE];
  size_t count = wrapper_words(wrapper, argv);
  argv[count++] = slot->program;
  argv[count++] = "--config";
  argv[count++] = slot->config;
  argv[count] = NULL;
  const struct process_options options = {.argv = argv,
                                          .log_path = slot->log,
                                          .env_add = slot->environment,
                                          .keep = stage->options.keep};
  assert(slot->is_used && !slot->process);
  return process_start(&slot->process, &options, err);
}

bool stage_is_ready(struct stage *stage, enum stage_target target) {
  char url[64], *response = NULL;
  size_t length = 0;
  int status = 0;
  struct error err = {0};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%d%s", (int)stage->daemons[target].port,
                 target == STAGE_COORDINATOR ? "/readyz" : "/healthz");
  enum error_code code = http_caller_call(stage->caller, "GET", url, NULL, PROBE_MS_MAX, &status,
                                          &response, &length, &err);
  free(response);
  return code == ERR_OK && status == 200;
}

enum error_code stage_wait_ready(struct stage *stage, enum stage_target target, unsigned timeout_ms,
                                 struct error *err) {
  uint64_t deadline_us = clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
  while (!stage_is_ready(stage, target)) {
    enum error_code code = stage_check_alive(stage, err);
    if (code != ERR_OK) return code;
    if (clock_monotonic_us() >= deadline_us)
      return error_set(err, ERR_IO, "%s is not ready after %u ms", stage_target_name(target),
                       timeout_ms);
    process_pause_ms(2);
  }
  return ERR_OK;
}

enum error_code stage_check_alive(struct stage *stage, struct error *err) {
  char how[32];
  for (int i = 0; i < STAGE_TARGETS; i++) {
    struct process *process = stage->daemons[i].process;
    if (!process || process_is_alive(process)) continue;
    process_describe(process, how, sizeof how);
    return error_set(err, ERR_IO, "%s has ended by itself (%s)",
                     stage_target_name((enum stage_target)i), how);
  }
  return ERR_OK;
}

void stage_tell_dead(struct stage *stage, FILE *out) {
  char how[32], tail[8192];
  for (int i = 0; stage && i < STAGE_TARGETS; i++) {
    struct process *process = stage->daemons[i].process;
    if (!process || process_is_alive(process)) continue;
    process_describe(process, how, sizeof how);
    process_log_tail(process, TAIL_LINES, tail, sizeof tail);
    (void)fprintf(out, "%s ended by itself (%s); the end of its log:\n%s",
                  stage_target_name((enum stage_target)i), how, tail);
  }
}

/* ---- opening --------------------------------------------------------------------------------- */

/* First of all: making databases takes seconds, to find then that there is no program. */
static enum error_code find_programs(struct stage *stage, struct error *err) {
  for (int i = 0; i < STAGE_TARGETS; i++) {
    struct daemon_slot *slot = &stage->daemons[i];
    bool is_coordinator = i == STAGE_COORDINATOR;
    slot->is_used = is_coordinator || stage->options.agents;
    if (!slot->is_used) continue;
    enum error_code code = process_sibling(is_coordinator ? "assentd" : "assent-agent",
                                           slot->program, sizeof slot->program, err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

static enum error_code prepare_daemon(struct stage *stage, enum stage_target target,
                                      struct error *err) {
  struct daemon_slot *slot = &stage->daemons[target];
  const char *name = stage_target_name(target);
  bool is_coordinator = target == STAGE_COORDINATOR;
  (void)snprintf(slot->config, sizeof slot->config, "%s/%s.ini", stage->directory, name);
  (void)snprintf(slot->log, sizeof slot->log, "%s/%s.log", stage->directory, name);
  (void)snprintf(slot->data, sizeof slot->data, "%s/%s", stage->directory,
                 is_coordinator ? "coordinator" : name);
  if (mkdir(slot->data, 0700) != 0)
    return error_set(err, ERR_IO, "%s: %s", slot->data, strerror(errno));
  /* What is left running should be where people look for it. */
  slot->port = PORT_USUAL;
  enum error_code code = ERR_OK;
  if (!is_coordinator || !stage->options.keep || !is_free_port(PORT_USUAL))
    code = port_reserve(&slot->port, &slot->reserved, err);
  slot->route = slot->port;
  return code;
}

static enum error_code prepare_daemons(struct stage *stage, struct error *err) {
  for (int i = 0; i < STAGE_TARGETS; i++) {
    if (!stage->daemons[i].is_used) continue;
    enum error_code code = prepare_daemon(stage, (enum stage_target)i, err);
    if (code != ERR_OK) return code;
  }
  (void)snprintf(stage->url, sizeof stage->url, "http://127.0.0.1:%d",
                 (int)stage->daemons[STAGE_COORDINATOR].port);
  return ERR_OK;
}

static enum error_code make_directory(struct stage *stage, struct error *err) {
  const char *base = getenv("TMPDIR");
  if (!base || *base != '/') base = "/tmp";
  (void)snprintf(stage->directory, sizeof stage->directory, "%s/assent-XXXXXX", base);
  if (mkdtemp(stage->directory)) return ERR_OK;
  stage->directory[0] = '\0';
  return error_set(err, ERR_IO, "cannot make a directory in %s: %s", base, strerror(errno));
}

static enum error_code make_databases(struct stage *stage, struct error *err) {
  static const char *const names[2] = {"postgres_a", "postgres_b"}, *const banks[2] = {"bank_a",
                                                                                       "bank_b"};
  char dsn[THROWAWAY_DSN_SIZE];
  stage->throwaway = throwaway_new(err);
  if (!stage->throwaway) return err->code;
  if (stage->options.keep) throwaway_keep(stage->throwaway);
  (void)snprintf(stage->directory, sizeof stage->directory, "%s",
                 throwaway_directory(stage->throwaway));
  const struct throwaway_options options = {.settings = stage->options.server_settings};
  enum error_code code =
      throwaway_servers(stage->throwaway, 2, names, &options, stage->servers, err);
  for (int i = 0; code == ERR_OK && i < 2; i++) {
    throwaway_server_dsn(stage->servers[i], "postgres", dsn);
    code = throwaway_exec(dsn, "CREATE DATABASE bank", err);
    throwaway_server_dsn(stage->servers[i], "bank", stage->dsn[i]);
    stage->databases[i] = (struct stage_database){banks[i], stage->keys[i], stage->dsn[i]};
    stage_route_database(stage, i, stage->dsn[i]);
  }
  return code;
}

enum error_code stage_new(struct stage **out, const struct stage_options *options,
                          struct error *err) {
  struct stage *stage = calloc(1, sizeof *stage);
  *out = stage;
  if (!stage) return error_set(err, ERR_MEMORY, "out of memory");
  stage->options = *options;
  for (int i = 0; i < STAGE_TARGETS; i++)
    stage->daemons[i].reserved = -1;
  stage->caller = http_caller_new();
  if (!stage->caller) return error_set(err, ERR_MEMORY, "out of memory");
  for (int i = 0; options->databases && i < 2; i++)
    stage->databases[i] = options->databases[i];
  enum error_code code = find_programs(stage, err);
  if (code == ERR_OK)
    code = options->databases ? make_directory(stage, err) : make_databases(stage, err);
  if (code == ERR_OK) code = prepare_daemons(stage, err);
  return code;
}

enum error_code stage_run(struct stage *stage, struct error *err) {
  enum error_code code = write_coordinator_config(stage, err);
  for (int bank = 0; code == ERR_OK && stage->options.agents && bank < 2; bank++)
    code = write_agent_config(stage, bank, err);
  for (int i = STAGE_TARGETS - 1; code == ERR_OK && i >= 0; i--) { /* the coordinator last */
    if (!stage->daemons[i].is_used) continue;
    code = stage_start(stage, (enum stage_target)i, err);
    if (code == ERR_OK) code = stage_wait_ready(stage, (enum stage_target)i, READY_MS_MAX, err);
  }
  return code;
}

enum error_code stage_open(struct stage **out, const struct stage_options *options,
                           struct error *err) {
  enum error_code code = stage_new(out, options, err);
  return code == ERR_OK && *out ? stage_run(*out, err) : code;
}

/* ---- closing --------------------------------------------------------------------------------- */

enum error_code stage_stop_daemons(struct stage *stage, struct error *err) {
  for (int i = 0; i < STAGE_TARGETS; i++) { /* the coordinator first */
    struct process *process = stage->daemons[i].process;
    char how[32];
    if (!process) continue;
    bool is_by_itself = process_stop(process, SIGTERM, STOP_MS_MAX);
    process_describe(process, how, sizeof how);
    if (is_by_itself && strcmp(how, "exit 0") == 0)
      stage_kill(stage, (enum stage_target)i);
    else
      (void)error_set(err, ERR_IO, "%s was asked to end, and did so with %s",
                      stage_target_name((enum stage_target)i), how);
  }
  return err->code;
}

static void stage_free(struct stage *stage) {
  for (int i = 0; i < STAGE_TARGETS; i++)
    if (stage->daemons[i].reserved >= 0) (void)close(stage->daemons[i].reserved);
  http_caller_free(stage->caller);
  free(stage);
}

void stage_keep_files(struct stage *stage) {
  stage->keep_files = true;
  if (stage->throwaway) throwaway_keep_files(stage->throwaway);
}

void stage_close(struct stage *stage) {
  if (!stage) return;
  for (int i = 0; i < STAGE_TARGETS; i++)
    stage_kill(stage, (enum stage_target)i);
  for (int i = 0; stage->options.keep && i < 2; i++)
    if (stage->servers[i]) throwaway_server_stop(stage->servers[i]);
  throwaway_free(stage->throwaway);
  /* A throwaway that is kept leaves its directory; the user's databases have none. */
  if ((stage->options.keep || stage->options.databases) && !stage->keep_files &&
      stage->directory[0])
    kept_remove(stage->directory);
  stage_free(stage);
}

enum error_code stage_leave(struct stage *stage, struct error *err) {
  struct kept_process processes[STAGE_TARGETS + 2];
  size_t count = 0;
  assert(stage->options.keep && stage->throwaway);
  for (int i = 0; i < STAGE_TARGETS; i++)
    if (stage->daemons[i].process)
      processes[count++] = (struct kept_process){stage_target_name((enum stage_target)i),
                                                 process_pid(stage->daemons[i].process), SIGTERM};
  for (int i = 0; i < 2; i++) /* SIGINT is PostgreSQL's fast shutdown */
    processes[count++] = (struct kept_process){stage->databases[i].name,
                                               throwaway_server_pid(stage->servers[i]), SIGINT};
  enum error_code code = kept_write(stage->directory, processes, count, err);
  if (code != ERR_OK) return code;
  for (int i = 0; i < STAGE_TARGETS; i++)
    process_leave(stage->daemons[i].process);
  throwaway_free(stage->throwaway);
  stage_free(stage);
  return ERR_OK;
}
