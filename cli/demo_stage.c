/* See demo_stage.h.
 *
 * Ports of the daemons come from below the kernel's ephemeral range: while a daemon is down no
 * outgoing connection can take its port, nor connect to itself on it.
 */
#include "cli/demo_stage.h"

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
#include "cli/process.h"
#include "cli/throwaway.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/id.h"

enum {
  PORT_FIRST = 20000,
  PORT_COUNT = 12000,
  PORT_TRIES = 100,
  PORT_USUAL = 7410,
  READY_MS_MAX = 30000,
  STOP_MS_MAX = 15000,
  WRAPPER_SIZE = 1024,
  WRAPPER_WORDS_MAX = 32,
  PROBE_MS_MAX = 1000,
  TAIL_LINES = 12,
  STAGE_PATH_SIZE = 512
};

struct daemon_slot {
  bool is_used;
  struct process *process; /* NULL: killed, or not started yet */
  uint16_t port;
  char program[4096], config[STAGE_PATH_SIZE], log[STAGE_PATH_SIZE];
};

struct stage {
  struct stage_options options;
  struct throwaway *throwaway;
  struct throwaway_server *servers[2];
  char dsn[2][THROWAWAY_DSN_SIZE];
  char directory[STAGE_PATH_SIZE - 64];
  char url[64];
  struct daemon_slot daemons[TARGETS];
  struct http_caller *caller;
};

static const char *const bank_names[2] = {"bank_a", "bank_b"};

const char *stage_url(const struct stage *stage) {
  return stage->url;
}

const char *stage_directory(const struct stage *stage) {
  return stage->directory;
}

const char *stage_dsn(const struct stage *stage, int bank) {
  assert(bank == 0 || bank == 1);
  return stage->dsn[bank];
}

const char *stage_target_name(enum demo_target target) {
  static const char *const names[TARGETS] = {"assentd", "agent_a", "agent_b"};
  return names[target];
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

static enum error_code pick_port(uint16_t *out, struct error *err) {
  for (int i = 0; i < PORT_TRIES; i++) {
    uint16_t random;
    id_random(&random, sizeof random);
    *out = (uint16_t)(PORT_FIRST + random % PORT_COUNT);
    if (is_free_port(*out)) return ERR_OK;
  }
  return error_set(err, ERR_UNAVAILABLE, "no free port on 127.0.0.1");
}

static enum error_code make_directory(const struct stage *stage, const char *name,
                                      struct error *err) {
  char path[STAGE_PATH_SIZE];
  (void)snprintf(path, sizeof path, "%s/%s", stage->directory, name);
  if (mkdir(path, 0700) != 0) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  return ERR_OK;
}

static enum error_code write_text(const char *path, const char *text, struct error *err) {
  FILE *file = fopen(path, "we");
  bool failed = !file || fputs(text, file) == EOF;
  if (file && fclose(file) != 0) failed = true;
  if (failed) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
  return ERR_OK;
}

static enum error_code write_coordinator_config(const struct stage *stage, struct error *err) {
  const struct daemon_slot *slot = &stage->daemons[TARGET_COORDINATOR];
  char text[4096], where[2][THROWAWAY_DSN_SIZE + 32];
  for (int i = 0; i < 2; i++) {
    if (stage->options.agents)
      (void)snprintf(where[i], sizeof where[i], "agent = http://127.0.0.1:%d",
                     (int)stage->daemons[TARGET_AGENT_A + i].port);
    else
      (void)snprintf(where[i], sizeof where[i], "dsn = %s", stage->dsn[i]);
  }
  (void)snprintf(text, sizeof text,
                 "[coordinator]\nlisten = 127.0.0.1:%d\ndata_dir = %s/coordinator\n\n"
                 "[participant.bank_a]\n%s\n\n[participant.bank_b]\n%s\n",
                 (int)slot->port, stage->directory, where[0], where[1]);
  return write_text(slot->config, text, err);
}

static enum error_code write_agent_config(const struct stage *stage, int bank, struct error *err) {
  const struct daemon_slot *slot = &stage->daemons[TARGET_AGENT_A + bank];
  char text[2048];
  (void)snprintf(text, sizeof text,
                 "[agent]\nlisten = 127.0.0.1:%d\nstate_dir = %s/%s\n\n[database.%s]\ndsn = %s\n",
                 (int)slot->port, stage->directory,
                 stage_target_name((enum demo_target)(TARGET_AGENT_A + bank)), bank_names[bank],
                 stage->dsn[bank]);
  return write_text(slot->config, text, err);
}

/* ---- daemons --------------------------------------------------------------------------------- */

void stage_kill(struct stage *stage, enum demo_target target) {
  process_free(stage->daemons[target].process);
  stage->daemons[target].process = NULL;
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

enum error_code stage_start(struct stage *stage, enum demo_target target, struct error *err) {
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
                                          .keep = stage->options.keep};
  assert(slot->is_used && !slot->process);
  return process_start(&slot->process, &options, err);
}

/* The coordinator says that its participants are reached; an agent, that it is there. */
static bool is_ready(struct stage *stage, enum demo_target target) {
  char url[64], *response = NULL;
  size_t length = 0;
  int status = 0;
  struct error err = {0};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%d%s", (int)stage->daemons[target].port,
                 target == TARGET_COORDINATOR ? "/readyz" : "/healthz");
  enum error_code code = http_caller_call(stage->caller, "GET", url, NULL, PROBE_MS_MAX, &status,
                                          &response, &length, &err);
  free(response);
  return code == ERR_OK && status == 200;
}

enum error_code stage_wait_ready(struct stage *stage, enum demo_target target, unsigned timeout_ms,
                                 struct error *err) {
  uint64_t deadline_us = clock_monotonic_us() + (uint64_t)timeout_ms * 1000;
  while (!is_ready(stage, target)) {
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
  for (int i = 0; i < TARGETS; i++) {
    struct process *process = stage->daemons[i].process;
    if (!process || process_is_alive(process)) continue;
    process_describe(process, how, sizeof how);
    return error_set(err, ERR_IO, "%s has ended by itself (%s)",
                     stage_target_name((enum demo_target)i), how);
  }
  return ERR_OK;
}

void stage_tell_dead(struct stage *stage, FILE *out) {
  char how[32], tail[8192];
  for (int i = 0; stage && i < TARGETS; i++) {
    struct process *process = stage->daemons[i].process;
    if (!process || process_is_alive(process)) continue;
    process_describe(process, how, sizeof how);
    process_log_tail(process, TAIL_LINES, tail, sizeof tail);
    (void)fprintf(out, "%s ended by itself (%s); the end of its log:\n%s",
                  stage_target_name((enum demo_target)i), how, tail);
  }
}

/* ---- opening --------------------------------------------------------------------------------- */

/* First of all: making databases takes seconds, to find then that there is no program. */
static enum error_code find_programs(struct stage *stage, struct error *err) {
  for (int i = 0; i < TARGETS; i++) {
    struct daemon_slot *slot = &stage->daemons[i];
    bool is_coordinator = i == TARGET_COORDINATOR;
    slot->is_used = is_coordinator || stage->options.agents;
    if (!slot->is_used) continue;
    enum error_code code = process_sibling(is_coordinator ? "assentd" : "assent-agent",
                                           slot->program, sizeof slot->program, err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

static enum error_code prepare_daemon(struct stage *stage, enum demo_target target,
                                      struct error *err) {
  struct daemon_slot *slot = &stage->daemons[target];
  const char *name = stage_target_name(target);
  bool is_coordinator = target == TARGET_COORDINATOR;
  (void)snprintf(slot->config, sizeof slot->config, "%s/%s.ini", stage->directory, name);
  (void)snprintf(slot->log, sizeof slot->log, "%s/%s.log", stage->directory, name);
  enum error_code code = make_directory(stage, is_coordinator ? "coordinator" : name, err);
  /* What is left running should be where people look for it. */
  slot->port = PORT_USUAL;
  if (is_coordinator && stage->options.keep && is_free_port(PORT_USUAL)) return code;
  return code == ERR_OK ? pick_port(&slot->port, err) : code;
}

static enum error_code prepare_daemons(struct stage *stage, struct error *err) {
  for (int i = 0; i < TARGETS; i++) {
    if (!stage->daemons[i].is_used) continue;
    enum error_code code = prepare_daemon(stage, (enum demo_target)i, err);
    if (code != ERR_OK) return code;
  }
  (void)snprintf(stage->url, sizeof stage->url, "http://127.0.0.1:%d",
                 (int)stage->daemons[TARGET_COORDINATOR].port);
  enum error_code code = write_coordinator_config(stage, err);
  for (int bank = 0; code == ERR_OK && stage->options.agents && bank < 2; bank++)
    code = write_agent_config(stage, bank, err);
  return code;
}

static enum error_code open_databases(struct stage *stage, struct error *err) {
  static const char *const names[2] = {"postgres_a", "postgres_b"};
  char dsn[THROWAWAY_DSN_SIZE];
  stage->throwaway = throwaway_new(err);
  if (!stage->throwaway) return err->code;
  if (stage->options.keep) throwaway_keep(stage->throwaway);
  (void)snprintf(stage->directory, sizeof stage->directory, "%s",
                 throwaway_directory(stage->throwaway));
  enum error_code code = throwaway_servers(stage->throwaway, 2, names, NULL, stage->servers, err);
  for (int i = 0; code == ERR_OK && i < 2; i++) {
    throwaway_server_dsn(stage->servers[i], "postgres", dsn);
    code = throwaway_exec(dsn, "CREATE DATABASE bank", err);
    throwaway_server_dsn(stage->servers[i], "bank", stage->dsn[i]);
  }
  return code;
}

enum error_code stage_open(struct stage **out, const struct stage_options *options,
                           struct error *err) {
  struct stage *stage = calloc(1, sizeof *stage);
  *out = stage;
  if (!stage) return error_set(err, ERR_MEMORY, "out of memory");
  stage->options = *options;
  stage->caller = http_caller_new();
  if (!stage->caller) return error_set(err, ERR_MEMORY, "out of memory");
  enum error_code code = find_programs(stage, err);
  if (code == ERR_OK) code = open_databases(stage, err);
  if (code == ERR_OK) code = prepare_daemons(stage, err);
  for (int i = TARGETS - 1; code == ERR_OK && i >= 0; i--) { /* the coordinator last */
    if (!stage->daemons[i].is_used) continue;
    code = stage_start(stage, (enum demo_target)i, err);
    if (code == ERR_OK) code = stage_wait_ready(stage, (enum demo_target)i, READY_MS_MAX, err);
  }
  return code;
}

/* ---- closing --------------------------------------------------------------------------------- */

enum error_code stage_stop_daemons(struct stage *stage, struct error *err) {
  for (int i = 0; i < TARGETS; i++) { /* the coordinator first */
    struct process *process = stage->daemons[i].process;
    char how[32];
    if (!process) continue;
    bool is_by_itself = process_stop(process, SIGTERM, STOP_MS_MAX);
    process_describe(process, how, sizeof how);
    if (is_by_itself && strcmp(how, "exit 0") == 0)
      stage_kill(stage, (enum demo_target)i);
    else
      (void)error_set(err, ERR_IO, "%s was asked to end, and did so with %s",
                      stage_target_name((enum demo_target)i), how);
  }
  return err->code;
}

void stage_close(struct stage *stage) {
  if (!stage) return;
  for (int i = 0; i < TARGETS; i++)
    stage_kill(stage, (enum demo_target)i);
  for (int i = 0; stage->options.keep && i < 2; i++)
    if (stage->servers[i]) throwaway_server_stop(stage->servers[i]);
  throwaway_free(stage->throwaway);
  if (stage->options.keep && stage->directory[0]) kept_remove(stage->directory);
  http_caller_free(stage->caller);
  free(stage);
}

enum error_code stage_leave(struct stage *stage, struct error *err) {
  struct kept_process processes[TARGETS + 2];
  size_t count = 0;
  assert(stage->options.keep);
  for (int i = 0; i < TARGETS; i++)
    if (stage->daemons[i].process)
      processes[count++] = (struct kept_process){stage_target_name((enum demo_target)i),
                                                 process_pid(stage->daemons[i].process), SIGTERM};
  for (int i = 0; i < 2; i++) /* SIGINT is PostgreSQL's fast shutdown */
    processes[count++] =
        (struct kept_process){bank_names[i], throwaway_server_pid(stage->servers[i]), SIGINT};
  enum error_code code = kept_write(stage->directory, processes, count, err);
  if (code != ERR_OK) return code;
  for (int i = 0; i < TARGETS; i++)
    process_leave(stage->daemons[i].process);
  throwaway_free(stage->throwaway);
  http_caller_free(stage->caller);
  free(stage);
  return ERR_OK;
}
