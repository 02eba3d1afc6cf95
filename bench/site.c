/* See site.h. */
#include "bench/site.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "common/clock.h"

enum {
  PATIENCE_US = 60 * 1000000,
  STOP_MS_MAX = 15000,
  CONFIG_SIZE = 16384,
  NAME_SIZE = 32,
  PATH_SIZE = 512
};

static const char *const bank_names[BANKS] = {"bank_a", "bank_b"};

/* ---- counting ------------------------------------------------------------------------------------ */

static void write_file(const char *path, const void *data, size_t size, mode_t mode) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  must(fd >= 0 && write(fd, data, size) == (ssize_t)size && fchmod(fd, mode) == 0, path,
       strerror(errno));
  (void)close(fd);
}

/* Beside the servers' data: their user may be one who cannot see where this program is. */
static void copy_library(const char *to) {
  char from[4096];
  struct error err = {0};
  struct stat status;
  must_go(process_sibling("bench-count.so", from, sizeof from, &err), &err, "bench-count.so");
  int fd = open(from, O_RDONLY | O_CLOEXEC);
  must(fd >= 0 && fstat(fd, &status) == 0, from, strerror(errno));
  void *text = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  must(text != MAP_FAILED, from, strerror(errno));
  write_file(to, text, (size_t)status.st_size, 0755);
  (void)munmap(text, (size_t)status.st_size);
  (void)close(fd);
}

static void open_counts(struct site *site) {
  static const struct count_file zero;
  char path[512];
  (void)snprintf(path, sizeof path, "%s/count.so", site->directory);
  copy_library(path);
  (void)snprintf(path, sizeof path, "%s/counts", site->directory);
  write_file(path, &zero, sizeof zero, 0666);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  must(fd >= 0, path, strerror(errno));
  site->counts = mmap(NULL, sizeof zero, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(site->counts != MAP_FAILED, path, strerror(errno));
  (void)close(fd);
}

struct counted {
  char preload[512], slot[512];
  const char *variables[3];
};

static void counted_in(const struct site *site, enum count_slot slot, struct counted *out) {
  (void)snprintf(out->preload, sizeof out->preload, "LD_PRELOAD=%s/count.so", site->directory);
  (void)snprintf(out->slot, sizeof out->slot, COUNT_VARIABLE "=%d:%s/counts", (int)slot,
                 site->directory);
  out->variables[0] = out->preload;
  out->variables[1] = out->slot;
  out->variables[2] = NULL;
}

/* ---- servers ------------------------------------------------------------------------------------- */

/* A thread for each client and two connections for each of them. */
static void raise_limits(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void start_servers(struct site *site) {
  /* Checkpoints come between the rounds, not by chance in one program's turn. */
  static const char *const settings[] = {"max_wal_size=8GB", "checkpoint_timeout=1h",
                                         "shared_buffers=256MB", NULL};
  struct throwaway_options options = {.prepared_max = CLIENTS_MAX + 100,
                                      .connections_max = CLIENTS_MAX + 150,
                                      .settings = settings};
  struct error err = {0};
  struct counted counted;
  counted_in(site, COUNT_SERVERS, &counted);
  for (int i = 0; i < 2; i++) {
    char *equals = strchr(counted.variables[i], '=');
    *equals = '\0';
    must(setenv(counted.variables[i], equals + 1, 1) == 0, "setenv", strerror(errno));
  }
  must_go(throwaway_servers(site->throwaway, BANKS, bank_names, &options, site->servers, &err),
          &err, "servers");
  for (int i = 0; i < 2; i++)
    (void)unsetenv(counted.variables[i]);
}

static void open_bank(struct site *site, int bank) {
  char sql[400];
  throwaway_server_dsn(site->servers[bank], "postgres", site->dsn[bank]);
  PGconn *connection = site->connections[bank] = bench_connect(site->dsn[bank]);
  (void)snprintf(sql, sizeof sql,
                 "CREATE TABLE account (id bigint PRIMARY KEY,"
                 " balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 70);"
                 "INSERT INTO account SELECT n, %d FROM generate_series(1, %d) AS n",
                 BALANCE, ACCOUNTS);
  bench_sql(connection, sql);
  bench_sql(connection, "VACUUM ANALYZE account");
  site->balance[bank] = (int64_t)BALANCE * ACCOUNTS;
}

void site_open(struct site *site) {
  struct error err = {0};
  raise_limits();
  site->throwaway = throwaway_new(&err);
  must(site->throwaway, "servers", err.text);
  (void)snprintf(site->directory, sizeof site->directory, "%s",
                 throwaway_directory(site->throwaway));
  open_counts(site);
  start_servers(site);
  for (int bank = 0; bank < BANKS; bank++)
    open_bank(site, bank);
  site_checkpoint(site);
  must(atomic_load(&site->counts->slots[COUNT_SERVERS].syncs) > 0, "counting",
       "the servers' calls are not seen");
}

/* ---- daemons ------------------------------------------------------------------------------------- */

static void add_connections(const struct site *site, char *config) {
  size_t length = strlen(config);
  if (site->connections_setting)
    (void)snprintf(config + length, CONFIG_SIZE - length, "connections = %u\n",
                   site->connections_setting);
}

static void make_directory(const struct site *site, const char *name, char path[PATH_SIZE]) {
  (void)snprintf(path, PATH_SIZE, "%s/%s", site->directory, name);
  must(mkdir(path, 0700) == 0, path, strerror(errno));
}

static uint16_t start_agent(struct site *site, int bank) {
  char config[CONFIG_SIZE], name[NAME_SIZE], state_dir[PATH_SIZE];
  uint16_t port;
  struct counted counted;
  (void)snprintf(name, sizeof name, "agent_%u", ++site->lives);
  make_directory(site, name, state_dir);
  (void)snprintf(config, sizeof config,
                 "[agent]\nlisten = 127.0.0.1:0\nstate_dir = %s\nlog_level = warn\n"
                 "[database.%s]\ndsn = %s\n",
                 state_dir, bank_names[bank], site->dsn[bank]);
  add_connections(site, config);
  counted_in(site, COUNT_AGENTS, &counted);
  struct bench_daemon daemon = {.directory = site->directory,
                                .program = "assent-agent",
                                .name = name,
                                .config = config,
                                .env_add = counted.variables,
                                .wrapper = site->wrapper};
  site->daemons[HOSTING_AGENTS].agents[bank] = bench_start(&daemon, &port);
  return port;
}

/* Begins agents of their own, where they are. */
static void write_config(struct site *site, enum hosting hosting, const char *data_dir,
                         char config[CONFIG_SIZE]) {
  (void)snprintf(config, CONFIG_SIZE,
                 "[coordinator]\nlisten = 127.0.0.1:0\ndata_dir = %s\nlog_level = warn\n%s%s",
                 data_dir, site->quiet ? "sweep_interval = 1h\nhealth_interval = 1h\n" : "",
                 site->settings ? site->settings : "");
  for (int bank = 0; bank < BANKS; bank++) {
    size_t length = strlen(config);
    char *at = config + length;
    if (hosting == HOSTING_AGENTS) {
      (void)snprintf(at, CONFIG_SIZE - length, "[participant.%s]\nagent = http://127.0.0.1:%u\n",
                     bank_names[bank], (unsigned)start_agent(site, bank));
    } else {
      (void)snprintf(at, CONFIG_SIZE - length, "[participant.%s]\ndsn = %s\n", bank_names[bank],
                     site->dsn[bank]);
      add_connections(site, config);
    }
  }
  size_t length = strlen(config);
  int more = snprintf(config + length, CONFIG_SIZE - length, "%s",
                      site->participants ? site->participants : "");
  must((size_t)more < CONFIG_SIZE - length, "the configuration", "is too long");
}

void site_start(struct site *site, enum hosting hosting) {
  char config[CONFIG_SIZE], name[NAME_SIZE], data_dir[PATH_SIZE];
  struct daemons *daemons = &site->daemons[hosting];
  struct counted counted;
  (void)snprintf(name, sizeof name, "assentd_%u", ++site->lives);
  if (site->data_dir)
    (void)snprintf(data_dir, sizeof data_dir, "%s", site->data_dir);
  else
    make_directory(site, name, data_dir);
  write_config(site, hosting, data_dir, config);
  counted_in(site, COUNT_COORDINATOR, &counted);
  struct bench_daemon daemon = {.directory = site->directory,
                                .program = "assentd",
                                .name = name,
                                .config = config,
                                .env_add = counted.variables,
                                .wrapper = site->wrapper};
  daemons->coordinator = bench_start(&daemon, &daemons->port);
  bench_wait_ok(daemons->port, "/readyz");
}

static void stop_process(struct process **process) {
  if (!*process) return;
  bool by_itself = process_stop(*process, SIGTERM, STOP_MS_MAX);
  char how[32];
  process_describe(*process, how, sizeof how);
  process_free(*process);
  *process = NULL;
  must(by_itself && strcmp(how, "exit 0") == 0, "a daemon was asked to end", how);
}

void site_stop(struct site *site, enum hosting hosting) {
  struct daemons *daemons = &site->daemons[hosting];
  stop_process(&daemons->coordinator);
  for (int bank = 0; bank < BANKS; bank++)
    stop_process(&daemons->agents[bank]);
}

void site_close(struct site *site) {
  for (int hosting = 0; hosting < HOSTINGS; hosting++) {
    process_free(site->daemons[hosting].coordinator);
    for (int bank = 0; bank < BANKS; bank++)
      process_free(site->daemons[hosting].agents[bank]);
    site->daemons[hosting] = (struct daemons){0};
  }
  for (int bank = 0; bank < BANKS; bank++) {
    PQfinish(site->connections[bank]);
    site->connections[bank] = NULL;
  }
  throwaway_free(site->throwaway);
  site->throwaway = NULL;
}

/* ---- checking ------------------------------------------------------------------------------------ */

static int64_t ask(struct site *site, int bank, const char *sql) {
  PGresult *result = PQexec(site->connections[bank], sql);
  must(PQresultStatus(result) == PGRES_TUPLES_OK, sql, PQerrorMessage(site->connections[bank]));
  int64_t value = strtoimax(PQgetvalue(result, 0, 0), NULL, 10);
  PQclear(result);
  return value;
}

void site_check(struct site *site, int64_t moved) {
  uint64_t start_us = clock_monotonic_us();
  for (int bank = 0; bank < BANKS; bank++) {
    while (ask(site, bank, "SELECT count(*) FROM pg_prepared_xacts") > 0) {
      must(clock_monotonic_us() - start_us < PATIENCE_US, "the end", "something is left prepared");
      process_pause_ms(2);
    }
    site->balance[bank] += bank == 0 ? -moved : moved;
    int64_t is = ask(site, bank, "SELECT sum(balance) FROM account");
    char text[100];
    (void)snprintf(text, sizeof text, "%s has %" PRId64 ", and should have %" PRId64,
                   bank_names[bank], is, site->balance[bank]);
    must(is == site->balance[bank], "money is not where it should be", text);
  }
}

void site_checkpoint(struct site *site) {
  for (int bank = 0; bank < BANKS; bank++)
    bench_sql(site->connections[bank], "CHECKPOINT");
}
