/* assentd: the coordinator's process.
 *
 * Start: configuration, log (lock and epoch), participants, recovery, then the door is opened. Stop
 * (SIGTERM, SIGINT): the door is closed, open transactions roll back, those under way end, and what
 * cannot end within stop_timeout is left to the next start, which finishes it.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/adapter.h"
#include "common/daemon.h"
#include "common/http_client.h"
#include "common/http_server.h"
#include "common/log.h"
#include "coordinator/coordinator.h"
#include "coordinator/routes.h"
#include "coordinator/settings.h"

enum { EXIT_HALTED = 3, STOP_CHECK_MS = 10 };

static const char help[] =
    "usage: assentd [--config FILE] [--check-config]\n"
    "\n"
    "The coordinator of Assent: one transaction across several databases.\n"
    "\n"
    "  --config FILE     configuration (default /etc/assent/assentd.ini); docs/assentd.ini is a\n"
    "                    commented sample\n"
    "  --check-config    check the configuration, print what is in force, and exit\n"
    "  --port-file FILE  write the port to FILE once it is bound (for listen = ADDRESS:0)\n"
    "  --version         print the version\n"
    "  --help            print this\n"
    "\n"
    "SIGTERM or SIGINT stops it cleanly; SIGHUP reads certificates, tokens and named\n"
    "statements again. Exit codes: 0 stopped; 1 could not start; 2 usage;\n"
    "3 halted, because the decision log failed or another coordinator has taken over: what is\n"
    "unfinished is recovered at the next start.\n";

struct daemon_state {
  struct loop *loop;
  struct tracer *tracer; /* NULL: none is configured */
  struct settings settings;
  char drained_path[PATH_MAX];
  struct wal *wal;
  struct http_client *client;
  struct coordinator *coordinator;
  struct routes_context routes;
  struct door door;
  struct loop_timer *stop_check;
  uint64_t stop_by_ms;
};

/* ---- stop ------------------------------------------------------------------------------------- */

static void end(void *data) {
  struct daemon_state *d = data;
  loop_stop(d->loop);
}

static void check_stopped(void *data) {
  struct daemon_state *d = data;
  bool idle =
      coordinator_live_count(d->coordinator) == 0 && http_server_pending(d->door.server) == 0;
  bool late = loop_now_ms(d->loop) >= d->stop_by_ms;
  if (!idle && !late) {
    loop_timer_start(d->stop_check, STOP_CHECK_MS);
    return;
  }
  if (!idle)
    log_warn("left_to_next_start", "transactions", "d",
             (int64_t)coordinator_live_count(d->coordinator), NULL);
  if (d->tracer)
    tracer_flush(d->tracer, end, d); /* in bounded time */
  else
    end(d);
}

static void stop(void *data) {
  struct daemon_state *d = data;
  if (coordinator_is_stopping(d->coordinator)) return;
  log_info("stopping", "transactions", "d", (int64_t)coordinator_live_count(d->coordinator), NULL);
  d->stop_by_ms = loop_now_ms(d->loop) + (uint64_t)d->settings.stop_timeout_ms;
  http_server_quiesce(d->door.server);
  coordinator_stop(d->coordinator);
  check_stopped(d);
}

static void halt(const char *reason) {
  log_error("halted", "reason", "s", reason, NULL);
  _exit(EXIT_HALTED);
}

static enum error_code limit_statements(struct daemon_state *d, struct error *err);

static void reload(void *data) {
  struct daemon_state *d = data;
  struct error err = {0};
  door_reload(&d->door);
  if (limit_statements(d, &err) != ERR_OK) log_error("reload_failed", "error", "s", err.text, NULL);
  error_clear(&err);
  if (trace_settings_reload(&d->settings.trace, d->tracer, &err) != ERR_OK)
    log_error("reload_failed", "error", "s", err.text, NULL);
}

/* ---- start ------------------------------------------------------------------------------------ */

static enum error_code open_log(struct daemon_state *d, struct error *err) {
  const struct settings *s = &d->settings;
  if (mkdir(s->data_dir, 0700) != 0 && errno != EEXIST)
    return error_set(err, ERR_CONFIG, "data_dir %s: %s", s->data_dir, strerror(errno));
  char path[PATH_MAX];
  enum error_code code = settings_log_path(s->data_dir, path, err);
  if (code != ERR_OK) return code;
  struct wal_options options = {.retention_ms = s->retention_ms,
                                .key_retention_ms = s->key_retention_ms};
  return wal_open(&d->wal, d->loop, path, &options, err);
}

/* For agents elsewhere. Made for the first of them: it brings libraries into memory for TLS. */
static struct http_client *client_of(struct daemon_state *d) {
  if (!d->client) {
    const struct http_identity identity = settings_agent_identity(&d->settings);
    d->client = http_client_new(d->loop);
    http_client_identify(d->client, &identity);
  }
  return d->client;
}

static enum error_code add_participant(struct daemon_state *d, const struct participant_settings *p,
                                       struct error *err) {
  struct participant *participant;
  if (p->agent) {
    participant = participant_http_new(d->loop, client_of(d), p->agent, p->name,
                                       d->settings.agent_timeout_ms);
  } else {
    /* The cluster id names this log for ever: sessions of a former life are found by it. */
    struct agent *agent =
        database_agent_new(d->loop, &p->database, p->name, wal_cluster(d->wal)->text,
                           d->settings.data_dir, d->tracer, err);
    if (!agent) return error_wrap(err, "[participant.%s]", p->name);
    participant = participant_local_new(agent);
  }
  coordinator_add_participant(d->coordinator, p->name, p->agent ? "agent" : "embedded",
                              participant);
  return ERR_OK;
}

/* All files, or none of them. */
static enum error_code limit_statements(struct daemon_state *d, struct error *err) {
  const struct settings *s = &d->settings;
  struct statement_set *sets[PARTICIPANTS_MAX] = {NULL};
  enum error_code code = ERR_OK;
  for (size_t i = 0; i < s->participant_count && code == ERR_OK; i++)
    if (s->participants[i].database.statements)
      code = statement_set_read(s->participants[i].database.statements, &sets[i], err);
  for (size_t i = 0; i < s->participant_count; i++) {
    if (code != ERR_OK) {
      statement_set_free(sets[i]);
      continue;
    }
    if (sets[i])
      log_info("participant_limited", "participant", "s", s->participants[i].name, "statements",
               "d", (int64_t)sets[i]->count, NULL);
    coordinator_limit_statements(d->coordinator, s->participants[i].name, sets[i]);
  }
  return code;
}

static enum error_code start_coordinator(struct daemon_state *d, struct error *err) {
  const struct settings *s = &d->settings;
  enum error_code named = settings_drained_path(s->data_dir, d->drained_path, err);
  if (named != ERR_OK) return named;
  struct coordinator_options options = {.timeout_default_ms = s->timeout_ms,
                                        .timeout_max_ms = s->timeout_max_ms,
                                        .transactions_max = s->transactions_max,
                                        .token_transactions_max = s->token_transactions_max,
                                        .branches_max = (size_t)s->branches_max,
                                        .waiting_max = s->waiting_max,
                                        .sweep_interval_ms = s->sweep_interval_ms,
                                        .health_interval_ms = s->health_interval_ms,
                                        .prepared_alert_ms = s->prepared_alert_ms,
                                        .tracer = d->tracer,
                                        .drained_path = d->drained_path,
                                        .halt = halt};
  d->coordinator = coordinator_new(d->loop, d->wal, &options);
  for (size_t i = 0; i < s->participant_count; i++) {
    enum error_code code = add_participant(d, &s->participants[i], err);
    if (code != ERR_OK) return code;
  }
  enum error_code code = limit_statements(d, err);
  if (code != ERR_OK) return code;
  return coordinator_recover(d->coordinator, err);
}

static struct request_limits request_limits(const struct settings *s) {
  return (struct request_limits){.timeout_max_ms = s->timeout_max_ms,
                                 .depth_max = (unsigned)s->json_depth_max,
                                 .branches_max = (size_t)s->branches_max,
                                 .statements = {.statements_max = (size_t)s->statements_max,
                                                .params_max = (size_t)s->params_max,
                                                .sql_bytes_max = (size_t)s->sql_bytes_max}};
}

static enum error_code open_door(struct daemon_state *d, const char *port_file, struct error *err) {
  const struct settings *s = &d->settings;
  struct http_server_options options = {.body_bytes_max = (size_t)s->body_bytes_max,
                                        .connections_max = (unsigned)s->connections_max,
                                        .idle_seconds = (unsigned)(s->idle_ms / 1000),
                                        .media = routes_media(),
                                        .observer = &request_tracing_observer,
                                        .observer_data = &d->routes.tracing};
  d->routes = (struct routes_context){.coordinator = d->coordinator,
                                      .limits = request_limits(s),
                                      .tracing = {.tracer = d->tracer,
                                                  .path = "/v1/transactions",
                                                  .begins = true,
                                                  .secure = s->door.certificate != NULL}};
  size_t count;
  const struct http_route *routes = routes_table(&count);
  enum error_code code =
      door_open(&d->door, d->loop, &s->door, &options, routes, count, &d->routes, err);
  if (code != ERR_OK) return code;
  return daemon_write_port_file(port_file, http_server_port(d->door.server), err);
}

static int run_daemon(struct daemon_state *d, const char *port_file) {
  struct error err = {0};
  d->loop = loop_new();
  enum error_code code = trace_settings_open(&d->settings.trace, d->loop, &d->tracer, &err);
  if (code == ERR_OK) code = open_log(d, &err);
  if (code == ERR_OK) code = start_coordinator(d, &err);
  if (code == ERR_OK) code = open_door(d, port_file, &err);
  if (code == ERR_OK) {
    d->stop_check = loop_timer_new(d->loop, check_stopped, d);
    loop_on_signal(d->loop, SIGTERM, stop, d);
    loop_on_signal(d->loop, SIGINT, stop, d);
    loop_on_signal(d->loop, SIGHUP, reload, d);
    log_info("started", "cluster", "s", wal_cluster(d->wal)->text, "epoch", "d",
             (int64_t)wal_epoch(d->wal), "listen", "s", d->settings.door.listen, "port", "d",
             (int64_t)http_server_port(d->door.server), "participants", "d",
             (int64_t)d->settings.participant_count, NULL);
    loop_run(d->loop);
    log_info("stopped", NULL);
  } else {
    log_error("cannot_start", "error", "s", err.text, NULL);
  }
  loop_timer_free(d->stop_check);
  if (d->coordinator) coordinator_answer_waiting(d->coordinator);
  /* Nobody may hear of an outcome after this. */
  door_close(&d->door);
  if (d->coordinator) coordinator_free(d->coordinator);
  if (d->client) http_client_free(d->client);
  if (d->wal) wal_close(d->wal);
  tracer_free(d->tracer);
  loop_free(d->loop);
  return code == ERR_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  daemon_open_standard_files();
  struct daemon_options options = {.program = "assentd",
                                   .help = help,
                                   .config_path = "/etc/assent/assentd.ini"};
  int status = daemon_parse_options(argc, argv, &options);
  if (status >= 0) return status;
  static struct daemon_state d;
  struct error err = {0};
  enum error_code code = settings_read(options.config_path, &d.settings, &err);
  if (code == ERR_OK && options.check_config) code = door_check_files(&d.settings.door, &err);
  if (code != ERR_OK) {
    (void)fprintf(stderr, "assentd: %s\n", err.text);
    status = 1;
  } else if (options.check_config) {
    settings_print(stdout, &d.settings);
    status = 0;
  } else {
    log_setup("assentd", (enum log_level)d.settings.log_level,
              (enum log_format)d.settings.log_format);
    status = run_daemon(&d, options.port_file);
  }
  settings_release(&d.settings);
  return status;
}
