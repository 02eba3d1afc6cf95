/* See bench.h. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/http_client.h"

enum { START_MS_MAX = 60000, PATIENCE_US = 120 * 1000000, WORDS_MAX = 16 };

void bench_fail(const char *what, const char *why) {
  (void)fprintf(stderr, "bench: %s: %s\n", what, why);
  exit(3);
}

void must_go(enum error_code code, const struct error *err, const char *what) {
  must(code == ERR_OK, what, err->text);
}

volatile sig_atomic_t bench_interrupted;

static void on_signal(int signum) {
  bench_interrupted = signum;
}

void bench_catch_signals(void) {
  struct sigaction action = {.sa_handler = on_signal};
  (void)sigaction(SIGINT, &action, NULL);
  (void)sigaction(SIGTERM, &action, NULL);
}

double median(double *values, unsigned count) {
  for (unsigned i = 1; i < count; i++)
    for (unsigned j = i; j > 0 && values[j - 1] > values[j]; j--) {
      double swap = values[j];
      values[j] = values[j - 1];
      values[j - 1] = swap;
    }
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* ---- daemons ------------------------------------------------------------------------------------- */

struct process *bench_start(const struct bench_daemon *daemon, uint16_t *port) {
  char path[4096], config_path[512], port_path[512], log_path[512];
  struct error err = {0};
  const char *name = daemon->name ? daemon->name : daemon->program;
  must_go(process_sibling(daemon->program, path, sizeof path, &err), &err, daemon->program);
  (void)snprintf(config_path, sizeof config_path, "%s/%s.ini", daemon->directory, name);
  (void)snprintf(port_path, sizeof port_path, "%s/%s.port", daemon->directory, name);
  (void)snprintf(log_path, sizeof log_path, "%s/%s.log", daemon->directory, name);
  FILE *file = fopen(config_path, "w");
  must(file && fputs(daemon->config, file) >= 0 && fclose(file) == 0, config_path,
       "cannot be written");
  (void)unlink(port_path);
  const char *argv[WORDS_MAX];
  size_t n = 0;
  for (const char *const *word = daemon->wrapper; word && *word; word++) {
    must(n < WORDS_MAX - 6, "wrapper", "too many words");
    argv[n++] = *word;
  }
  const char *const own[] = {path, "--config", config_path, "--port-file", port_path, NULL};
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    argv[n++] = own[i];
  struct process_options options = {.argv = argv, .log_path = log_path, .env_add = daemon->env_add};
  struct process *process;
  must_go(process_start(&process, &options, &err), &err, name);
  must_go(wait_port_file(port_path, process, START_MS_MAX, port, &err), &err, name);
  return process;
}

static bool answers_ok(uint16_t port, const char *path) {
  char url[128], *response = NULL;
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u%s", (unsigned)port, path);
  int status = 0;
  size_t length;
  struct error err = {0};
  bool ok = http_call("GET", url, NULL, 1000, &status, &response, &length, &err) == ERR_OK &&
            status == 200;
  error_clear(&err);
  free(response);
  return ok;
}

void bench_wait_ok(uint16_t port, const char *path) {
  for (uint64_t start_us = clock_monotonic_us(); !answers_ok(port, path);) {
    must(clock_monotonic_us() - start_us < PATIENCE_US, path, "no 200 in 2 min");
    process_pause_ms(1);
  }
}

/* ---- databases ----------------------------------------------------------------------------------- */

PGconn *bench_connect(const char *dsn) {
  PGconn *connection = PQconnectdb(dsn);
  must(PQstatus(connection) == CONNECTION_OK, "connecting", PQerrorMessage(connection));
  return connection;
}

void bench_sql(PGconn *connection, const char *sql) {
  PGresult *result = PQexec(connection, sql);
  ExecStatusType status = PQresultStatus(result);
  must(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, sql, PQerrorMessage(connection));
  PQclear(result);
}
