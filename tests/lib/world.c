/* A world's daemons; its databases are in world_servers.c. See world.h.
 *
 * The port of an agent stays the same over its restarts, and is one that the kernel gives to no
 * outgoing connection meanwhile; the coordinator gets another port from the kernel with every
 * start. At most one world is open: `current`, so that one whose test was left by longjmp can be
 * closed.
 */
#include "tests/lib/world.h"

#include <CUnit/TestRun.h>
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/id.h"
#include "tests/lib/world_servers.h"

enum {
  WAIT_MS_MAX = 30000,
  STOP_MS_MAX = 15000,
  PAUSE_MS = 2,
  AGENT_PORT_FIRST = 20000, /* Linux: ephemeral ports begin at 32768 */
  AGENT_PORT_COUNT = 12000,
  AGENT_PORT_TRIES = 5,
  TAIL_LINES = 25
};

static struct world *current;

static const char *const target_names[WORLD_TARGETS] = {"assentd", "agent_a", "agent_b", "agent_c"};
static const char *const bank_names[BANKS_MAX] = {"bank_a", "bank_b", "bank_c"};

/* ---- waiting --------------------------------------------------------------------------------- */

void world_patience(uint64_t *start_us, const char *condition, const char *file, unsigned line) {
  world_check_interrupted();
  uint64_t now = clock_monotonic_us();
  if (*start_us == 0) *start_us = now;
  if (now - *start_us > (uint64_t)WAIT_MS_MAX * 1000)
    check_failed(file, line, true, "waited %d s in vain for: %s", WAIT_MS_MAX / 1000, condition);
  process_pause_ms(PAUSE_MS);
}

/* ---- configuration --------------------------------------------------------------------------- */

static void path_of(const struct world *w, enum world_target target, const char *what, char *out,
                    size_t size) {
  int length = snprintf(out, size, "%s/%s%s", w->directory, target_names[target], what);
  assert(length > 0 && (size_t)length < size);
}

static const char *scheme(const struct world *w) {
  return w->pki ? "https" : "http";
}

static FILE *config_create(const struct world *w, enum world_target target) {
  char path[512];
  path_of(w, target, ".ini", path, sizeof path);
  FILE *file = fopen(path, "we");
  if (!file) check_failed(__FILE__, __LINE__, true, "%s: %s", path, strerror(errno));
  return file;
}

static const char *or_empty(const char *lines) {
  return lines ? lines : "";
}

/* As the daemons reach it: through the proxy, where there is one. */
static const char *daemon_dsn(const struct world *w, int bank, char dsn[THROWAWAY_DSN_SIZE]) {
  if (!w->to_database[bank]) return w->dsn[bank];
  (void)snprintf(dsn, THROWAWAY_DSN_SIZE, "host=127.0.0.1 port=%u dbname='%s' user=postgres",
                 proxy_port(w->to_database[bank]), w->database[bank]);
  return dsn;
}

static unsigned agent_port(const struct world *w, int bank) {
  return w->to_agent[bank] ? proxy_port(w->to_agent[bank]) : w->ports[AGENT_A + bank];
}

/* ---- a secure one ---------------------------------------------------------------------------- */

static void make_tokens(struct world *w) {
  static const struct {
    const char *name;
    enum role role;
  } holders[WORLD_TOKENS] = {[TOKEN_OPERATOR] = {"operator", ROLE_OPERATOR},
                             [TOKEN_SHOP] = {"shop", ROLE_CLIENT},
                             [TOKEN_OTHER_SHOP] = {"other-shop", ROLE_CLIENT},
                             [TOKEN_METRICS] = {"prometheus", ROLE_METRICS}};
  char path[512], line[TOKEN_LINE_SIZE];
  (void)snprintf(path, sizeof path, "%s/tokens", w->directory);
  FILE *file = fopen(path, "we");
  if (!file) check_failed(__FILE__, __LINE__, true, "%s: %s", path, strerror(errno));
  for (int i = 0; i < WORLD_TOKENS; i++) {
    struct token token;
    token_make(holders[i].name, holders[i].role, w->tokens[i], &token);
    token_line(&token, line);
    (void)fputs(line, file);
  }
  (void)fclose(file);
  (void)chmod(path, 0600);
}

static void secure(struct world *w) {
  char directory[256 + 8];
  (void)snprintf(directory, sizeof directory, "%s/pki", w->directory);
  (void)snprintf(w->ca, sizeof w->ca, "%s/ca.pem", directory);
  w->pki = pki_new(directory);
  pki_issue(w->pki, "coordinator");
  pki_issue(w->pki, "agent");
  make_tokens(w);
  const struct http_identity identity = {.token = w->tokens[TOKEN_OPERATOR], .ca = w->ca};
  api_identify(w->api, &identity);
}

static void write_tls(const struct world *w, FILE *file, const char *prefix, const char *name) {
  (void)fprintf(file, "%s_certificate = %s/pki/%s.pem\n%s_key = %s/pki/%s.key\n", prefix,
                w->directory, name, prefix, w->directory, name);
}

void world_limit(struct world *w, const char *statements) {
  (void)snprintf(w->statements, sizeof w->statements, "%s/statements.ini", w->directory);
  FILE *file = fopen(w->statements, "we");
  if (!file) check_failed(__FILE__, __LINE__, true, "%s: %s", w->statements, strerror(errno));
  (void)fputs(statements, file);
  (void)fclose(file);
}

static void write_limit(const struct world *w, FILE *file) {
  if (w->statements[0]) (void)fprintf(file, "statements = %s\n", w->statements);
}

static void write_coordinator_config(const struct world *w) {
  FILE *file = config_create(w, COORDINATOR);
  (void)fprintf(file, "[coordinator]\nlisten = 127.0.0.1:0\nlog_format = json\n%s",
                or_empty(w->settings));
  (void)fprintf(file, "data_dir = %s/log\n", w->directory);
  if (w->pki) {
    write_tls(w, file, "tls", "coordinator");
    write_tls(w, file, "agent", "coordinator");
    (void)fprintf(file, "agent_ca = %s\ntokens = %s/tokens\n", w->ca, w->directory);
  }
  for (int bank = 0; bank < w->banks; bank++) {
    char dsn[THROWAWAY_DSN_SIZE];
    (void)fprintf(file, "\n[participant.%s]\n", bank_names[bank]);
    write_limit(w, file);
    if (w->mode == WORLD_AGENTS)
      (void)fprintf(file, "agent = %s://127.0.0.1:%u\n", scheme(w), agent_port(w, bank));
    else
      (void)fprintf(file, "dsn = %s\n%s", daemon_dsn(w, bank, dsn), or_empty(w->database_settings));
  }
  (void)fclose(file);
}

static void write_agent_config(const struct world *w, enum world_target target) {
  FILE *file = config_create(w, target);
  char dsn[THROWAWAY_DSN_SIZE];
  int bank = (int)target - AGENT_A;
  (void)fprintf(file, "[agent]\nlisten = 127.0.0.1:%d\nlog_format = json\nstate_dir = %s/%s\n",
                (int)w->ports[target], w->directory, target_names[target]);
  if (w->pki) {
    write_tls(w, file, "tls", "agent");
    (void)fprintf(file, "tls_client_ca = %s\n", w->ca);
  }
  (void)fprintf(file, "%s", or_empty(w->agent_settings));
  (void)fprintf(file, "\n[database.%s]\ndsn = %s\n%s", bank_names[bank], daemon_dsn(w, bank, dsn),
                or_empty(w->database_settings));
  write_limit(w, file);
  (void)fclose(file);
}

/* ---- proxies --------------------------------------------------------------------------------- */

static struct proxy *proxy_to(const char *target) {
  static uint64_t seed = 1;
  struct error err = {0};
  struct proxy *proxy = NULL;
  if (proxy_start(&proxy, target, seed++, &err) != ERR_OK)
    check_failed(__FILE__, __LINE__, true, "%s", err.text);
  return proxy;
}

static void start_database_proxies(struct world *w) {
  for (int bank = 0; bank < w->banks; bank++) {
    const struct throwaway_server *server = w->servers[bank];
    char target[512];
    (void)snprintf(target, sizeof target, "%s/.s.PGSQL.%d", throwaway_server_socket_dir(server),
                   throwaway_server_port(server));
    w->to_database[bank] = proxy_to(target);
  }
}

static void start_agent_proxies(struct world *w) {
  for (int bank = 0; bank < w->banks; bank++) {
    char target[64];
    (void)snprintf(target, sizeof target, "127.0.0.1:%d", (int)w->ports[AGENT_A + bank]);
    w->to_agent[bank] = proxy_to(target);
  }
}

/* ---- start, stop ----------------------------------------------------------------------------- */

static struct process *launch(const struct world *w, enum world_target target, const char *suffix,
                              const char *crash) {
  char program[4096], config[512], port_file[512], log[512], crash_at[64];
  char preload[4096 + 16], fault[128], directory[512], broken[512];
  struct error err = {0};
  struct process *process = NULL;
  if (process_sibling(target == COORDINATOR ? "assentd" : "assent-agent", program, sizeof program,
                      &err) != ERR_OK)
    check_failed(__FILE__, __LINE__, true, "%s (is ASSENT_BUILD set?)", err.text);
  path_of(w, target, ".ini", config, sizeof config);
  path_of(w, target, suffix, port_file, sizeof port_file);
  path_of(w, target, ".log", log, sizeof log);
  (void)unlink(port_file);
  (void)snprintf(crash_at, sizeof crash_at, "ASSENT_CRASH=%s", crash ? crash : "none");
  const char *const argv[] = {program, "--config", config, "--port-file", port_file, NULL};
  const char *env[] = {crash_at, NULL, NULL, NULL, NULL, NULL, NULL};
  if (w->fault && target == w->fault_target) {
    char library[4096];
    if (process_sibling("assent-fault.so", library, sizeof library, &err) != ERR_OK)
      check_failed(__FILE__, __LINE__, true, "%s", err.text);
    (void)snprintf(preload, sizeof preload, "LD_PRELOAD=%s", library);
    (void)snprintf(fault, sizeof fault, "ASSENT_FAULT=%s", w->fault);
    (void)snprintf(directory, sizeof directory, "ASSENT_FAULT_DIR=%s", w->directory);
    (void)snprintf(broken, sizeof broken, "ASSENT_FAULT_WHILE=%s/broken", w->directory);
    env[1] = preload, env[2] = fault, env[3] = directory, env[4] = broken;
    env[5] = "ASAN_OPTIONS=verify_asan_link_order=0"; /* it wants to be the first library */
  }
  const char *const argv_closed[] = {"/bin/sh",     "-c",       "exec \"$0\" \"$@\" <&- >&- 2>&-",
                                     program,       "--config", config,
                                     "--port-file", port_file,  NULL};
  const struct process_options options = {.argv = w->standard_files_closed ? argv_closed : argv,
                                          .log_path = log,
                                          .env_add = env};
  if (process_start(&process, &options, &err) != ERR_OK)
    check_failed(__FILE__, __LINE__, true, "%s", err.text);
  return process;
}

/* One that has failed is left for the caller to look at. */
static bool try_start(struct world *w, enum world_target target, const char *crash,
                      struct error *err) {
  char port_file[512];
  path_of(w, target, ".port", port_file, sizeof port_file);
  assert(!w->processes[target]);
  w->processes[target] = launch(w, target, ".port", crash);
  return wait_port_file(port_file, w->processes[target], WAIT_MS_MAX, &w->ports[target], err) ==
         ERR_OK;
}

static void note_address(struct world *w, enum world_target target) {
  char url[64];
  if (target != COORDINATOR) return;
  (void)snprintf(url, sizeof url, "%s://127.0.0.1:%d", scheme(w), (int)w->ports[COORDINATOR]);
  api_set_url(w->api, url);
}

void world_start(struct world *w, enum world_target target, const char *crash) {
  struct error err = {0};
  if (!try_start(w, target, crash, &err))
    check_failed(__FILE__, __LINE__, true, "%s: %s", target_names[target], err.text);
  note_address(w, target);
}

bool world_starts(struct world *w, enum world_target target) {
  struct error err = {0};
  if (!try_start(w, target, NULL, &err)) return false;
  note_address(w, target);
  return true;
}

/* The first start of an agent finds its port. */
static void start_agent(struct world *w, enum world_target target) {
  struct error err = {0};
  for (int i = 0; i < AGENT_PORT_TRIES; i++) {
    uint16_t random;
    id_random(&random, sizeof random);
    w->ports[target] = (uint16_t)(AGENT_PORT_FIRST + random % AGENT_PORT_COUNT);
    write_agent_config(w, target);
    error_clear(&err);
    if (try_start(w, target, NULL, &err)) return;
    world_kill(w, target);
  }
  check_failed(__FILE__, __LINE__, true, "%s: %s", target_names[target], err.text);
}

void world_wait_ready(struct world *w) {
  for (uint64_t start_us = 0; api_get(w->api, "/readyz")->status != 200;) {
    if (!process_is_alive(w->processes[COORDINATOR]))
      check_failed(__FILE__, __LINE__, true, "the coordinator has ended");
    world_patience(&start_us, "the coordinator is ready", __FILE__, __LINE__);
  }
}

void world_kill(struct world *w, enum world_target target) {
  process_free(w->processes[target]);
  w->processes[target] = NULL;
}

void world_stop(struct world *w, enum world_target target) {
  char how[32];
  if (!w->processes[target]) return;
  bool by_itself = process_stop(w->processes[target], SIGTERM, STOP_MS_MAX);
  process_describe(w->processes[target], how, sizeof how);
  if (!by_itself || strcmp(how, "exit 0") != 0)
    check_failed(__FILE__, __LINE__, false, "%s asked to stop: %s", target_names[target], how);
  world_kill(w, target);
}

void world_restart(struct world *w, enum world_target target) {
  world_kill(w, target);
  world_start(w, target, NULL);
  world_wait_ready(w);
}

int world_wait_ended(struct world *w, enum world_target target) {
  int status = 0;
  if (!process_wait(w->processes[target], WAIT_MS_MAX, &status))
    check_failed(__FILE__, __LINE__, true, "%s has not ended", target_names[target]);
  world_kill(w, target);
  return status;
}

void world_wait_crashed(struct world *w, enum world_target target) {
  int status = world_wait_ended(w, target);
  if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
    check_failed(__FILE__, __LINE__, true, "%s has ended otherwise than at its crash point: 0x%x",
                 target_names[target], (unsigned)status);
}

bool world_is_stopped(struct world *w, enum world_target target) {
  siginfo_t info = {.si_pid = 0};
  if (!process_is_alive(w->processes[target])) return false;
  /* WNOWAIT: a look, that may be repeated */
  return waitid(P_PID, (id_t)process_pid(w->processes[target]), &info,
                WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid != 0;
}

void world_resume(struct world *w, enum world_target target) {
  process_kill(w->processes[target], SIGCONT);
}

enum world_target world_agent_of(const struct world *w, int bank) {
  if (w->mode == WORLD_EMBEDDED) return COORDINATOR;
  return (enum world_target)(AGENT_A + bank);
}

int world_run_second(struct world *w, char *log, size_t log_size) {
  int status = -1;
  struct process *second = launch(w, COORDINATOR, ".second", NULL);
  if (!process_wait(second, WAIT_MS_MAX, &status))
    check_failed(__FILE__, __LINE__, false, "the second coordinator goes on running");
  process_log_tail(second, 3, log, log_size);
  process_free(second);
  return status;
}

/* ---- faults, what a daemon holds and says ---------------------------------------------------- */

static void broken_path(const struct world *w, char out[512]) {
  (void)snprintf(out, 512, "%s/broken", w->directory);
}

void world_break(struct world *w) {
  char path[512];
  broken_path(w, path);
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) check_failed(__FILE__, __LINE__, true, "%s: %s", path, strerror(errno));
  (void)close(fd);
}

void world_mend(struct world *w) {
  char path[512];
  broken_path(w, path);
  (void)unlink(path);
}

unsigned world_open_files(const struct world *w, enum world_target target) {
  char path[64];
  unsigned count = 0;
  (void)snprintf(path, sizeof path, "/proc/%ld/fd", (long)process_pid(w->processes[target]));
  DIR *files = opendir(path);
  if (!files) check_failed(__FILE__, __LINE__, true, "%s: %s", path, strerror(errno));
  for (const struct dirent *file = readdir(files); file; file = readdir(files))
    count += file->d_name[0] != '.';
  (void)closedir(files);
  return count;
}

int64_t world_memory_kib(const struct world *w, enum world_target target, const char *which) {
  char path[64], line[256], name[32];
  int64_t kib = -1, value;
  (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)process_pid(w->processes[target]));
  FILE *file = fopen(path, "re");
  while (kib < 0 && file && fgets(line, sizeof line, file))
    if (sscanf(line, "%31[^:]: %" SCNd64, name, &value) == 2 && strcmp(name, which) == 0)
      kib = value;
  if (file) (void)fclose(file);
  return kib;
}

unsigned world_logged(const struct world *w, enum world_target target, const char *text) {
  char path[512];
  char *line = NULL;
  size_t size = 0;
  unsigned count = 0;
  path_of(w, target, ".log", path, sizeof path);
  FILE *file = fopen(path, "re");
  while (file && getline(&line, &size, file) >= 0)
    count += strstr(line, text) != NULL;
  free(line);
  if (file) (void)fclose(file);
  return count;
}

/* ---- open, close ----------------------------------------------------------------------------- */

/* Also of those that have ended. */
static void print_logs(const struct world *w) {
  char log[512], command[640];
  for (int i = 0; i < WORLD_TARGETS; i++) {
    path_of(w, (enum world_target)i, ".log", log, sizeof log);
    if (access(log, R_OK) != 0) continue;
    (void)printf("\n---- the end of the log of %s:\n", target_names[i]);
    (void)fflush(stdout);
    (void)snprintf(command, sizeof command, "tail -n %d '%s'", TAIL_LINES, log);
    (void)!system(command);
  }
}

static void tell_before_leaving(void) {
  if (!current) return;
  print_logs(current);
  current->logs_printed = true;
}

static void release(struct world *w) {
  if (CU_get_number_of_failures() > w->failures_before && !w->logs_printed) print_logs(w);
  for (int i = 0; i < WORLD_TARGETS; i++)
    world_kill(w, (enum world_target)i);
  for (int bank = 0; bank < w->banks; bank++) {
    proxy_free(w->to_agent[bank]);
    proxy_free(w->to_database[bank]);
  }
  api_free(w->api);
  pki_free(w->pki);
  free(w);
  current = NULL;
}

void world_drop_current(void) {
  if (current) release(current);
}

static void make_directory(struct world *w) {
  static unsigned made;
  int length = snprintf(w->directory, sizeof w->directory, "%s/world_%u",
                        throwaway_directory(servers_owner()), made++);
  assert(length > 0 && (size_t)length < sizeof w->directory);
  bool ok = mkdir(w->directory, 0700) == 0;
  for (int target = AGENT_A; target < WORLD_TARGETS && ok; target++) {
    char path[512];
    path_of(w, (enum world_target)target, "", path, sizeof path);
    ok = mkdir(path, 0700) == 0;
  }
  if (!ok) check_failed(__FILE__, __LINE__, true, "%s: %s", w->directory, strerror(errno));
}

struct world *world_open(enum world_mode mode, const struct world_options *options) {
  static const struct world_options plain;
  if (!options) options = &plain;
  world_check_interrupted();
  world_drop_current();
  struct world *w = calloc(1, sizeof *w);
  if (!w) abort();
  current = w;
  check_on_fatal(tell_before_leaving);
  w->failures_before = CU_get_number_of_failures();
  w->mode = mode;
  w->banks = options->banks ? options->banks : BANKS;
  assert(w->banks >= 1 && w->banks <= BANKS_MAX);
  w->settings = options->settings;
  w->agent_settings = options->agent;
  w->database_settings = options->database;
  w->fault = options->fault;
  w->fault_target = options->fault_target;
  w->api = api_new("http://127.0.0.1:0");
  servers_give_databases(w, options);
  make_directory(w);
  if (options->secure) secure(w);
  if (options->statements) world_limit(w, options->statements);
  if (options->proxies & PROXY_DATABASES) start_database_proxies(w);
  if (mode == WORLD_AGENTS) {
    for (int bank = 0; bank < w->banks; bank++)
      start_agent(w, world_agent_of(w, bank));
    if (options->proxies & PROXY_AGENTS) start_agent_proxies(w);
  }
  write_coordinator_config(w);
  world_start(w, COORDINATOR, options->crash);
  world_wait_ready(w);
  return w;
}

void world_close(struct world *w) {
  world_wait_nothing_prepared(w);
  for (int i = 0; i < WORLD_TARGETS; i++)
    world_stop(w, (enum world_target)i);
  servers_take_back(w);
  release(w);
}
