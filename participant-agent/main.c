/* assent-agent: the agents of one or more databases in a process of their own.
 *
 * Start: configuration, state directory (lock and agent id), the agents, then the door is opened.
 * Stop (SIGTERM, SIGINT): the door is closed, requests under way end within stop_timeout, open
 * branches roll back, prepared ones stay prepared.
 */
#include <signal.h>
#include <stdio.h>

#include "common/daemon.h"
#include "common/http_server.h"
#include "common/log.h"
#include "participant-agent/routes.h"
#include "participant-agent/settings.h"
#include "participant-agent/state.h"

enum { STOP_CHECK_MS = 10 };

static const char help[] =
    "usage: assent-agent [--config FILE] [--check-config]\n"
    "\n"
    "Assent's agent beside a database: prepares, commits and rolls back its branches.\n"
    "\n"
    "  --config FILE     configuration (default /etc/assent/assent-agent.ini);\n"
    "                    docs/assent-agent.ini is a commented sample\n"
    "  --check-config    check the configuration, print what is in force, and exit\n"
    "  --port-file FILE  write the port to FILE once it is bound (for listen = ADDRESS:0)\n"
    "  --version         print the version\n"
    "  --help            print this\n"
    "\n"
    "SIGTERM or SIGINT stops it cleanly; SIGHUP reads certificates and named statements\n"
    "again. Exit codes: 0 stopped; 1 could not start; 2 usage.\n";

struct daemon_state {
  struct loop *loop;
  struct tracer *tracer; /* NULL: none is configured */
  struct agent_settings settings;
  struct state_dir state_dir;
  struct routed_agent agents[AGENT_DATABASES_MAX];
  struct agent_routes routes;
  struct door door;
  struct loop_timer *stop_check;
  bool stopping;
  uint64_t stop_by_ms;
};

/* ---- stop --------------------------------------------------------------------------------------
 */

static void end(void *data) {
  struct daemon_state *d = data;
  loop_stop(d->loop);
}

static size_t requests_pending(const struct daemon_state *d) {
  return http_server_pending(d->door.server) + agent_routes_streaming(&d->routes);
}

static void check_stopped(void *data) {
  struct daemon_state *d = data;
  size_t pending = requests_pending(d);
  if (pending > 0 && loop_now_ms(d->loop) < d->stop_by_ms) {
    loop_timer_start(d->stop_check, STOP_CHECK_MS);
    return;
  }
  if (pending > 0) log_warn("requests_dropped", "count", "d", (int64_t)pending, NULL);
  if (d->tracer)
    tracer_flush(d->tracer, end, d); /* in bounded time */
  else
    end(d);
}

static void stop(void *data) {
  struct daemon_state *d = data;
  if (d->stopping) return;
  d->stopping = true;
  log_info("stopping", "requests", "d", (int64_t)requests_pending(d), NULL);
  d->stop_by_ms = loop_now_ms(d->loop) + (uint64_t)d->settings.stop_timeout_ms;
  http_server_quiesce(d->door.server);
  check_stopped(d);
}

/* All files, or none of them. */
static enum error_code limit_statements(struct daemon_state *d, struct error *err) {
  const struct agent_settings *s = &d->settings;
  struct statement_set *sets[AGENT_DATABASES_MAX] = {NULL};
  enum error_code code = ERR_OK;
  for (size_t i = 0; i < s->database_count && code == ERR_OK; i++)
    if (s->databases[i].database.statements)
      code = statement_set_read(s->databases[i].database.statements, &sets[i], err);
  for (size_t i = 0; i < s->database_count; i++) {
    struct statement_set **in_force = &d->agents[i].statements;
    statement_set_free(code == ERR_OK ? *in_force : sets[i]);
    if (code == ERR_OK) *in_force = sets[i];
    if (code == ERR_OK && sets[i])
      log_info("participant_limited", "participant", "s", s->databases[i].name, "statements", "d",
               (int64_t)sets[i]->count, NULL);
  }
  return code;
}

static void reload(void *data) {
  struct daemon_state *d = data;
  struct error err = {0};
  door_reload(&d->door);
  if (limit_statements(d, &err) != ERR_OK) log_error("reload_failed", "error", "s", err.text, NULL);
  error_clear(&err);
  if (trace_settings_reload(&d->settings.trace, d->tracer, &err) != ERR_OK)
    log_error("reload_failed", "error", "s", err.text, NULL);
}

/* ---- start -------------------------------------------------------------------------------------
 */

static enum error_code start_agents(struct daemon_state *d, struct error *err) {
  const struct agent_settings *s = &d->settings;
  enum error_code code = state_dir_open(s->state_dir, &d->state_dir, err);
  if (code) return code;
  for (size_t i = 0; i < s->database_count; i++) {
    const struct agent_database *database = &s->databases[i];
    struct agent *agent = database_agent_new(d->loop, &database->database, database->name,
                                             d->state_dir.agent_id, s->state_dir, d->tracer, err);
    if (!agent) return error_wrap(err, "[database.%s]", database->name);
    d->agents[d->routes.count++] = (struct routed_agent){.name = database->name, .agent = agent};
  }
  d->routes.agents = d->agents;
  return limit_statements(d, err);
}

static enum error_code open_door(struct daemon_state *d, const char *port_file, struct error *err) {
  struct http_server_options options = {.body_bytes_max = AGENT_BODY_BYTES_MAX,
                                        .media = agent_routes_media()};
  d->routes.tracer = d->tracer;
  size_t count;
  const struct http_route *routes = agent_routes_table(&count);
  enum error_code code =
      door_open(&d->door, d->loop, &d->settings.door, &options, routes, count, &d->routes, err);
  if (code) return code;
  return daemon_write_port_file(port_file, http_server_port(d->door.server), err);
}

static int run_daemon(struct daemon_state *d, const char *port_file) {
  struct error err = {0};
  d->state_dir.lock = -1;
  d->loop = loop_new();
  enum error_code code = trace_settings_open(&d->settings.trace, d->loop, &d->tracer, &err);
  if (code == ERR_OK) code = start_agents(d, &err);
  if (code == ERR_OK) code = open_door(d, port_file, &err);
  if (code == ERR_OK) {
    d->stop_check = loop_timer_new(d->loop, check_stopped, d);
    loop_on_signal(d->loop, SIGTERM, stop, d);
    loop_on_signal(d->loop, SIGINT, stop, d);
    loop_on_signal(d->loop, SIGHUP, reload, d);
    log_info("started", "agent_id", "s", d->state_dir.agent_id, "listen", "s",
             d->settings.door.listen, "port", "d", (int64_t)http_server_port(d->door.server),
             "databases", "d", (int64_t)d->settings.database_count, NULL);
    loop_run(d->loop);
    log_info("stopped", NULL);
  } else {
    log_error("cannot_start", "error", "s", err.text, NULL);
  }
  loop_timer_free(d->stop_check);
  /* The agents' callbacks refer to the server's requests: agents first, they call nobody back. */
  for (size_t i = 0; i < d->routes.count; i++)
    agent_free(d->agents[i].agent);
  for (size_t i = 0; i < AGENT_DATABASES_MAX; i++)
    statement_set_free(d->agents[i].statements);
  door_close(&d->door);
  agent_routes_release(&d->routes);
  tracer_free(d->tracer);
  state_dir_close(&d->state_dir);
  loop_free(d->loop);
  return code == ERR_OK ? 0 : 1;
}

int main(int argc, char **argv) {
  daemon_open_standard_files();
  struct daemon_options options = {.program = "assent-agent",
                                   .help = help,
                                   .config_path = "/etc/assent/assent-agent.ini"};
  int status = daemon_parse_options(argc, argv, &options);
  if (status >= 0) return status;
  static struct daemon_state d;
  struct error err = {0};
  enum error_code code = agent_settings_read(options.config_path, &d.settings, &err);
  if (code == ERR_OK && options.check_config) code = door_check_files(&d.settings.door, &err);
  if (code != ERR_OK) {
    (void)fprintf(stderr, "assent-agent: %s\n", err.text);
    status = 1;
  } else if (options.check_config) {
    agent_settings_print(stdout, &d.settings);
    status = 0;
  } else {
    log_setup("assent-agent", (enum log_level)d.settings.log_level,
              (enum log_format)d.settings.log_format);
    status = run_daemon(&d, options.port_file);
  }
  agent_settings_release(&d.settings);
  return status;
}
