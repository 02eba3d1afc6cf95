/* See life.h. The order of starting and of giving back is that of coordinator/main.c and of
 * participant-agent/main.c; what they read from files is in `struct setup`. */
#include "tests/sim/life.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_client.h"
#include "coordinator/internal.h"
#include "coordinator/routes.h"
#include "participant-agent/routes.h"
#include "tests/sim/checks.h"
#include "tests/sim/gate.h"

enum { STOP_CHECK_MS = 10, PORT_COORDINATOR = 7410, PORT_AGENT = 7420 };
enum { ROWS_RETENTION_MS = 5000 }; /* that some are removed in a run */
enum { PAUSE_SHORT_MAX_US = 3000000, PAUSE_LONG_MAX_US = 70000000 };
static const int64_t CLOCK_JUMP_US = INT64_C(3600) * 1000000;

struct life {
  struct process process;
  struct program *program;
  life_ended_fn ended;
  void *ended_data;
  bool halted, stopped;
  struct sim_event *resume; /* paused */
  /* of a coordinator */
  struct http_client *client;
  struct coordinator *coordinator;
  struct routes_context routes;
  struct loop_timer *stop_check;
  uint64_t stop_by_ms;
  bool stopping;
  /* of an agent */
  struct agent *agents[DATABASES_MAX];
  struct routed_agent routed[DATABASES_MAX];
  struct agent_routes agent_routes;
  /* of both */
  struct http_server *server;
};

const char *database_name(unsigned database) {
  static const char *const names[DATABASES_MAX] = {"bank_a", "bank_b", "bank_c"};
  assert(database < DATABASES_MAX);
  return names[database];
}

size_t life_unexcused_count(const struct life *life) {
  size_t count = 0;
  if (!life->coordinator) return 0;
  for (const struct transaction *t = life->coordinator->transactions; t; t = t->hh.next)
    count += !checks_is_excused(life->process.checks, t->id.text);
  return count;
}

const struct process *life_process(const struct life *life) {
  return &life->process;
}

/* ---- agents ----------------------------------------------------------------------------------- */

static struct agent *make_agent(struct life *life, unsigned database, const char *agent_id) {
  struct program *program = life->program;
  const struct setup *setup = program->setup;
  struct loop *loop = life->process.loop;
  struct adapter *adapter =
      gate_new(&life->process, sim_database_adapter(program->databases[database], loop), database);
  bool leaves_rows =
      setup->leaves_rows && (!setup->changes_rows || sim_random(program->sim, 2) == 0);
  struct agent_options options = {.participant = database_name(database),
                                  .agent_id = agent_id,
                                  .state_dir = setup->has_state_dir ? "state" : NULL,
                                  .connections_max = setup->connections_max,
                                  .waiting_max = setup->waiting_max,
                                  .call_timeout_ms = setup->call_timeout_ms,
                                  .result_rows_max = SIM_RESULT_ROWS_MAX,
                                  .result_bytes_max = 65536,
                                  .synchronous_failover = setup->synchronous_failover[database],
                                  .rows_retention_ms = leaves_rows ? ROWS_RETENTION_MS : 0};
  return agent_new(loop, adapter, &options);
}

static void start_agents(struct life *life) {
  const struct setup *setup = life->program->setup;
  for (unsigned i = 0; i < setup->databases; i++) {
    if (setup->agent_of[i] != life->program->number) continue;
    size_t at = life->agent_routes.count++;
    life->agents[at] = make_agent(life, i, life->program->name);
    life->routed[at] = (struct routed_agent){.name = database_name(i), .agent = life->agents[at]};
  }
  life->agent_routes.agents = life->routed;
}

/* ---- a coordinator ---------------------------------------------------------------------------- */

/* The process would not go on from here; so nothing it does from here on counts. Who has the right
 * log has no other reason than a log that has failed. */
static void halt(const char *reason) {
  struct process *process = process_current();
  struct life *life = process->owner;
  if (process->dead) return;
  sim_trace(process->sim, "%s halts: %s", process->name, reason);
  if (process->rightful && !wal_stats(process->wal).poisoned)
    sim_violation(process->sim, 11, "%s is refused with the right log: %s", process->name, reason);
  life->halted = true;
  process->dead = true;
}

static void add_participant(struct life *life, unsigned database) {
  const struct setup *setup = life->program->setup;
  struct participant *participant;
  if (setup->embedded) {
    participant =
        participant_local_new(make_agent(life, database, wal_cluster(life->process.wal)->text));
  } else {
    char url[64];
    (void)snprintf(url, sizeof url, "http://agent-%u:%d", setup->agent_of[database], PORT_AGENT);
    participant = participant_http_new(life->process.loop, life->client, url,
                                       database_name(database), setup->agent_timeout_ms);
  }
  coordinator_add_participant(life->coordinator, database_name(database),
                              setup->embedded ? "embedded" : "agent", participant);
}

static enum error_code start_coordinator(struct life *life, struct error *err) {
  const struct setup *setup = life->program->setup;
  struct wal_options log = {.retention_ms = setup->retention_ms,
                            .key_retention_ms = INT64_C(86400000)};
  struct wal *wal;
  enum error_code code = wal_open(&wal, life->process.loop, "decisions.db", &log, err);
  if (code != ERR_OK) return code;
  struct coordinator_options options = setup->coordinator;
  options.halt = halt;
  life->client = http_client_new(life->process.loop);
  life->coordinator = coordinator_new(life->process.loop, wal, &options);
  if (!life->process.rightful) checks_old_run(life->process.checks, life->coordinator->run_id);
  life->routes =
      (struct routes_context){.coordinator = life->coordinator, .limits = request_limits_widest};
  for (unsigned i = 0; i < setup->databases; i++)
    add_participant(life, i);
  return coordinator_recover(life->coordinator, err);
}

static enum error_code open_door(struct life *life, struct error *err) {
  bool is_agent = life->program->is_agent;
  struct http_server_options options = {.listen_host = life->program->name,
                                        .listen_port = is_agent ? PORT_AGENT : PORT_COORDINATOR};
  size_t count;
  const struct http_route *routes = is_agent ? agent_routes_table(&count) : routes_table(&count);
  void *data = is_agent ? (void *)&life->agent_routes : (void *)&life->routes;
  return http_server_start(&life->server, life->process.loop, &options, routes, count, data, err);
}

/* ---- the end ---------------------------------------------------------------------------------- */

static void give_back_agent(struct life *life) {
  for (size_t i = 0; i < life->agent_routes.count; i++)
    agent_free(life->agents[i]);
  if (life->server) http_server_free(life->server);
  agent_routes_release(&life->agent_routes);
}

static void give_back_coordinator(struct life *life) {
  if (life->coordinator) coordinator_answer_waiting(life->coordinator);
  if (life->server) http_server_free(life->server);
  if (life->coordinator) coordinator_free(life->coordinator);
  if (life->client) http_client_free(life->client);
  if (life->process.wal) wal_close(life->process.wal);
}

static void give_back(struct life *life) {
  struct program *program = life->program;
  process_set_current(&life->process);
  sim_cancel(life->resume);
  loop_timer_free(life->stop_check);
  if (program->is_agent)
    give_back_agent(life);
  else
    give_back_coordinator(life);
  loop_free(life->process.loop);
  process_set_current(NULL);
  program->wall_offset_us = life->process.wall_offset_us;
  program->life = NULL;
  free(life);
}

static void finish(struct life *life) {
  struct program *program = life->program;
  life_ended_fn ended = life->ended;
  void *data = life->ended_data;
  enum life_end end = life->halted ? LIFE_HALTED : life->stopped ? LIFE_STOPPED : LIFE_KILLED;
  sim_trace(program->sim, "%s life %u ends: %s", program->name, life->process.life,
            end == LIFE_HALTED    ? "halted"
            : end == LIFE_STOPPED ? "stopped"
                                  : "killed");
  give_back(life);
  ended(data, program, end);
}

void life_on_end(struct life *life, life_ended_fn ended) {
  life->ended = ended;
}

void life_kill(struct life *life) {
  assert(process_current() == NULL);
  life->process.dead = true;
  finish(life);
}

void life_resume(struct life *life) {
  if (!life->resume) return;
  sim_cancel(life->resume);
  life->resume = NULL;
  sim_loop_hold(life->process.loop, false);
}

static void resumed(void *data) {
  struct life *life = data;
  life->resume = NULL;
  sim_trace(life->process.sim, "%s goes on", life->process.name);
  sim_loop_hold(life->process.loop, false);
}

void life_pause(struct life *life, uint64_t us) {
  if (life->resume) return;
  sim_loop_hold(life->process.loop, true);
  life->resume = sim_after(life->process.sim, NULL, us, resumed, life);
}

void life_swallow(const struct program *agent, uint64_t us) {
  char address[64];
  (void)snprintf(address, sizeof address, "%s:%d", agent->name, PORT_AGENT);
  network_swallow(agent->network, address, us);
}

/* ---- stop, as main.c does it ------------------------------------------------------------------- */

static void check_stopped(void *data) {
  struct life *life = data;
  struct loop *loop = life->process.loop;
  size_t live = life->coordinator ? coordinator_live_count(life->coordinator) : 0;
  bool idle = live == 0 && http_server_pending(life->server) == 0 &&
              agent_routes_streaming(&life->agent_routes) == 0;
  if (!idle && loop_now_ms(loop) < life->stop_by_ms)
    loop_timer_start(life->stop_check, STOP_CHECK_MS);
  else
    life->stopped = true;
}

static void stop(void *data) {
  struct life *life = data;
  if (life->stopping) return;
  life->stopping = true;
  life->stop_by_ms =
      loop_now_ms(life->process.loop) + (uint64_t)life->program->setup->stop_timeout_ms;
  http_server_quiesce(life->server);
  if (life->coordinator) coordinator_stop(life->coordinator);
  check_stopped(life);
}

void life_stop(struct life *life) {
  (void)sim_after(life->process.sim, life->process.loop, 0, stop, life);
}

/* ---- each event ------------------------------------------------------------------------------- */

bool life_before(struct loop *loop) {
  struct process *process = loop_process(loop);
  struct life *life = process->owner;
  struct sim *sim = process->sim;
  process_set_current(NULL);
  if (sim_fault(sim, process->kill, process->name)) {
    life_kill(life);
    return false;
  }
  if (sim_fault(sim, process->pause, process->name)) {
    bool is_long = sim_random(sim, 8) == 0;
    life_pause(life, sim_between(sim, 1000, is_long ? PAUSE_LONG_MAX_US : PAUSE_SHORT_MAX_US));
    return true;
  }
  if (sim_fault(sim, SIM_CLOCK_JUMP, process->name))
    process->wall_offset_us += sim_random(sim, 2) ? CLOCK_JUMP_US : -CLOCK_JUMP_US;
  process_set_current(process);
  return true;
}

void life_after(struct loop *loop) {
  struct process *process = loop_process(loop);
  struct life *life = process->owner;
  process_set_current(NULL);
  if (process->dead || life->stopped) finish(life);
}

/* ---- the beginning ---------------------------------------------------------------------------- */

static struct life *life_new(struct program *program) {
  struct life *life = calloc(1, sizeof *life);
  if (!life) abort();
  life->program = program;
  life->process = (struct process){.sim = program->sim,
                                   .life = ++program->lives,
                                   .rightful = program->rightful,
                                   .wall_offset_us = program->wall_offset_us,
                                   .network = program->network,
                                   .checks = program->checks,
                                   .disk = program->disk,
                                   .kept = program->kept,
                                   .owner = life};
  memcpy(life->process.name, program->name, sizeof life->process.name);
  life->process.kill = program->is_agent ? SIM_AGENT_KILL : SIM_COORDINATOR_KILL;
  life->process.pause = program->is_agent ? SIM_AGENT_PAUSE : SIM_COORDINATOR_PAUSE;
  life->process.loop = sim_loop_new(program->sim, &life->process);
  return life;
}

enum error_code life_start(struct program *program, life_ended_fn ended, void *data,
                           struct error *err) {
  assert(!program->life);
  struct life *life = life_new(program);
  life->ended = ended;
  life->ended_data = data;
  program->life = life;
  sim_trace(program->sim, "%s life %u starts", program->name, life->process.life);
  process_set_current(&life->process);
  if (!program->is_agent) ambient_new_process();
  enum error_code code = ERR_OK;
  if (program->is_agent)
    start_agents(life);
  else
    code = start_coordinator(life, err);
  if (code == ERR_OK) code = open_door(life, err);
  if (code == ERR_OK) life->stop_check = loop_timer_new(life->process.loop, check_stopped, life);
  process_set_current(NULL);
  if (code != ERR_OK)
    give_back(life);
  else if (life->process.dead) /* at a crash point on the way */
    finish(life);
  return code;
}
