/* See world.h. The seed says how many databases there are, of what kind, where the agents live, how
 * often things go wrong and which things. Then:
 *
 *   0 s            programs start, clients run their errands; faults come
 *   operator       starts what is down after a while; stops it now and then; keeps backups of the
 *                  log, and may put an old one back or start a second coordinator on a copy
 *   errands done,  or HEAL_LATEST: faults end; everything is started
 *   at rest,       within REST_MAX: every transaction is read once more, and all is judged
 */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/aim.h"
#include "tests/sim/client.h"
#include "tests/sim/fences.h"
#include "tests/sim/life.h"

enum { MS = 1000, S = 1000000 };
enum {
  TICK_US = 10 * MS,
  HEAL_EARLIEST_US = 2 * S,
  HEAL_LATEST_US = 30 * S,
  REST_MAX_US = 120 * S,
  READ_MAX_US = 60 * S,
  RESTART_MIN_US = 10 * MS,
  RESTART_AT_ONCE_US = 3 * MS,
  RESTART_SOON_US = 20 * MS, /* what was under way still is */
  RESTART_MAX_US = 3 * S,
  LAZY_REST_US = 2 * S,
  AWAY_MIN_US = 50 * MS, /* as long as a database takes to start */
  AWAY_MAX_US = 2500 * MS
};

enum {
  TAKEOVERS_MAX = 20,
  FAILOVER_WEIGHT = 20,
  FAILOVER_READER_WEIGHT = 600,
  ENLIST_OLD_WEIGHT = 16, /* on an old log */
  RETENTION_MIN_MS = 200,
  RETENTION_MAX_MS = 5000,
  DAY_MS = 86400000
};

struct world {
  struct sim *sim;
  struct network *network;
  struct checks *checks;
  struct setup setup;
  struct sim_database *databases[DATABASES_MAX];
  bool synchronous[DATABASES_MAX], has_standby[DATABASES_MAX];
  struct program coordinator, second, agents[DATABASES_MAX];
  unsigned agent_count;
  struct sim_event *restarts[DATABASES_MAX + 2]; /* of agents; of the coordinator; of the second */
  struct disk *right;                            /* while an old backup is in its place */
  struct disk *backup;
  bool taken_over; /* the coordinator has been killed to be started again at once */
  unsigned takeovers;
  struct clients *clients;
  struct run_result *result;
};

/* ---- what the seed chooses -------------------------------------------------------------------- */

/* A few kinds that are frequent in this run: what takes two or three of them at once is found so. */
static void favour_some(struct world *w, bool favoured[SIM_FAULT_COUNT]) {
  static const unsigned times[] = {4, 16, 64};
  struct sim *sim = w->sim;
  unsigned count = sim_random(sim, 2) ? (unsigned)sim_between(sim, 1, 4) : 0;
  for (unsigned i = 0; i < count; i++) {
    enum sim_fault fault = (enum sim_fault)sim_random(sim, SIM_FAULTS_CHOSEN);
    favoured[fault] = true;
    sim_favour(sim, fault, times[sim_random(sim, 3)]);
  }
}

static void choose_faults(struct world *w) {
  static const unsigned tempers[] = {0, 30, 100, 100, 200, 400};
  struct sim *sim = w->sim;
  sim_set_temper(sim, tempers[sim_random(sim, sizeof tempers / sizeof tempers[0])]);
  bool favoured[SIM_FAULT_COUNT] = {false};
  favour_some(w, favoured);
  uint64_t share = sim_between(sim, 2, 10);
  for (unsigned i = 0; i < SIM_FAULTS_CHOSEN; i++)
    if (sim_random(sim, 10) >= share && !favoured[i]) sim_forbid(sim, (enum sim_fault)i);
}

static void choose_setup(struct world *w) {
  struct sim *sim = w->sim;
  struct setup *s = &w->setup;
  s->databases = (unsigned)sim_between(sim, 1, DATABASES_MAX);
  s->embedded = sim_random(sim, 2) == 0;
  bool together = sim_random(sim, 3) == 0;
  w->agent_count = s->embedded ? 0 : together ? 1 : s->databases;
  for (unsigned i = 0; i < s->databases; i++)
    s->agent_of[i] = together ? 0 : i;
  s->coordinator =
      (struct coordinator_options){.timeout_default_ms = 3000,
                                   .timeout_max_ms = 10000,
                                   .transactions_max = (int64_t)sim_between(sim, 3, 64),
                                   .waiting_max = (int64_t)sim_between(sim, 0, 32),
                                   .sweep_interval_ms = (int64_t)sim_between(sim, 500, 5000),
                                   .health_interval_ms = (int64_t)sim_between(sim, 500, 3000)};
  s->call_timeout_ms = (int64_t)sim_between(sim, 300, 3000);
  s->agent_timeout_ms = (int64_t)sim_between(sim, 500, 3000);
  s->stop_timeout_ms = (int64_t)sim_between(sim, 50, 3000);
  s->connections_max = (unsigned)sim_between(sim, 1, 6);
  s->waiting_max = (unsigned)sim_between(sim, 1, 16);
  s->has_state_dir = sim_random(sim, 4) > 0;
  s->leaves_rows = sim_random(sim, 4) == 0;
  s->changes_rows = sim_random(sim, 3) == 0;
}

static void make_databases(struct world *w) {
  struct sim *sim = w->sim;
  bool may_lose = false;
  for (unsigned i = 0; i < w->setup.databases; i++) {
    w->has_standby[i] = sim_random(sim, 2) == 0;
    w->synchronous[i] = w->has_standby[i] && sim_random(sim, 2) == 0;
    w->setup.synchronous_failover[i] = w->synchronous[i] && sim_random(sim, 2) == 0;
    struct sim_database_options options = {.name = database_name(i),
                                           .has_standby = w->has_standby[i],
                                           .synchronous = w->synchronous[i],
                                           .accounts = 4,
                                           .balance = 500,
                                           .prepared_max = (int64_t)sim_between(sim, 2, 32)};
    w->databases[i] = sim_database_new(sim, &options);
    may_lose = may_lose || (w->has_standby[i] && !w->synchronous[i]);
  }
  /* It has to be longer than a failover may take that brings something back. */
  bool is_short = !may_lose && sim_random(sim, 2) == 0;
  w->setup.retention_ms =
      is_short ? (int64_t)sim_between(sim, RETENTION_MIN_MS, RETENTION_MAX_MS) : DAY_MS;
}

/* ---- starting and starting again -------------------------------------------------------------- */

static void start(struct world *w, struct program *program);

static struct sim_event **restart_of(struct world *w, const struct program *program) {
  if (program->is_agent) return &w->restarts[program->number];
  return &w->restarts[program == &w->coordinator ? DATABASES_MAX : DATABASES_MAX + 1];
}

static void on_restart(void *data) {
  struct program *program = data;
  struct world *w = program->owner;
  *restart_of(w, program) = NULL;
  start(w, program);
}

static void start_later(struct world *w, struct program *program) {
  struct sim_event **restart = restart_of(w, program);
  if (*restart || program->life) return;
  uint64_t most_us = sim_random(w->sim, 2) ? RESTART_SOON_US : RESTART_MAX_US;
  if (w->taken_over) most_us = RESTART_AT_ONCE_US;
  uint64_t us = sim_healed(w->sim) ? RESTART_MIN_US : sim_between(w->sim, MS, most_us);
  *restart = sim_after(w->sim, NULL, us, on_restart, program);
}

/* Does every database know a life that this copy has not had, so that it must be refused everywhere? */
static bool is_surely_old(const struct world *w, const struct disk *copy) {
  return copy && !checks_is_lossy(w->checks) &&
         checks_all_have_seen(w->checks, disk_epoch(copy) + 1);
}

/* Before the coordinator starts: the operator's own mistakes with its file. */
static void choose_file(struct world *w) {
  struct program *c = &w->coordinator;
  if (w->right || !is_surely_old(w, w->backup)) return;
  if (!sim_fault(w->sim, SIM_LOG_BACKUP_RESTORED, "at start")) return;
  w->right = c->disk;
  c->disk = disk_copy(w->backup);
  c->rightful = false;
  c->old_logs++;
}

/* Somebody wants branches that he prepares himself, while their participants are away: an old log is told
 * by none of them that it is one, and what it promises now is found only after it has gone again. */
static void aim_enlist(struct world *w) {
  struct sim *sim = w->sim;
  const char *where = w->right ? "an old log" : "the coordinator starts";
  if (!w->clients ||
      !sim_fault_often(sim, SIM_ENLIST_AIMED, w->right ? ENLIST_OLD_WEIGHT : 1, where))
    return;
  for (unsigned i = 0; i < w->agent_count; i++)
    life_swallow(&w->agents[i], sim_between(sim, AWAY_MIN_US, AWAY_MAX_US));
  for (unsigned i = 0; w->setup.embedded && i < w->setup.databases; i++)
    sim_database_kill(w->databases[i]);
  clients_hurry(w->clients);
}

static void put_right_file_back(struct world *w) {
  struct program *c = &w->coordinator;
  if (!w->right) return;
  disk_free(c->disk);
  c->disk = w->right;
  c->rightful = true;
  w->right = NULL;
  sim_trace(w->sim, "the right log is put back");
}

/* An old log may be started as often as one likes; who has read why it halts mostly sees it. */
static bool is_tried_again(struct world *w, enum life_end end) {
  return !sim_healed(w->sim) && sim_random(w->sim, 8) < (end == LIFE_HALTED ? 4 : 7);
}

static void second_ended(struct world *w, enum life_end end) {
  struct program *program = &w->second;
  if (is_tried_again(w, end)) {
    start_later(w, program);
  } else {
    disk_free(program->disk);
    program->disk = NULL;
  }
}

static void on_ended(void *data, struct program *program, enum life_end end) {
  struct world *w = data;
  w->result->lives_killed += end == LIFE_KILLED;
  w->result->lives_halted += end == LIFE_HALTED;
  w->result->lives_stopped += end == LIFE_STOPPED;
  if (program == &w->second) {
    second_ended(w, end);
    return;
  }
  if (program == &w->coordinator && w->right && !is_tried_again(w, end)) put_right_file_back(w);
  start_later(w, program);
}

static void start(struct world *w, struct program *program) {
  struct error err = {0};
  if (program == &w->coordinator) {
    choose_file(w);
    aim_enlist(w);
  }
  if (life_start(program, on_ended, w, &err) == ERR_OK) return;
  sim_violation(w->sim, 7, "%s cannot start: %s", program->name, err.text);
}

static void init_program(struct world *w, struct program *program, const char *name) {
  *program = (struct program){.sim = w->sim,
                              .network = w->network,
                              .checks = w->checks,
                              .databases = w->databases,
                              .setup = &w->setup,
                              .kept = kept_new(),
                              .owner = w};
  (void)snprintf(program->name, sizeof program->name, "%s", name);
}

static void start_all(struct world *w) {
  for (unsigned i = 0; i < w->agent_count; i++) {
    char name[PROCESS_NAME_SIZE];
    (void)snprintf(name, sizeof name, "agent-%u", i);
    init_program(w, &w->agents[i], name);
    w->agents[i].is_agent = true;
    w->agents[i].number = i;
    start(w, &w->agents[i]);
  }
  init_program(w, &w->second, "coordinator-2");
  init_program(w, &w->coordinator, "coordinator");
  w->coordinator.disk = disk_new(w->sim);
  w->coordinator.rightful = true;
  checks_set_disk(w->checks, w->coordinator.disk);
  start(w, &w->coordinator);
}

/* ---- the operator and the weather ------------------------------------------------------------- */

/* On the same file it must be refused at once, on an old copy by every participant. */
static void start_second(struct world *w) {
  struct error err = {0};
  struct program *p = &w->second;
  if (p->disk || !w->coordinator.life) return;
  if (sim_random(w->sim, 3) == 0) {
    p->disk = w->coordinator.disk;
    if (life_start(p, on_ended, w, &err) == ERR_OK)
      sim_violation(w->sim, 2, "two coordinators have opened one log");
    p->disk = NULL;
    return;
  }
  if (w->right || !is_surely_old(w, w->backup)) return;
  p->disk = disk_copy(w->backup);
  if (life_start(p, on_ended, w, &err) != ERR_OK)
    sim_violation(w->sim, 7, "%s cannot start: %s", p->name, err.text);
}

static void weather_of(struct world *w, unsigned i) {
  struct sim *sim = w->sim;
  struct sim_database *db = w->databases[i];
  if (sim_fault(sim, SIM_DATABASE_KILL, database_name(i))) sim_database_kill(db);
  checks_hand(w->checks, true);
  sim_database_meddle(db);
  checks_hand(w->checks, false);
  if (!w->has_standby[i]) return;
  bool loses = !w->synchronous[i];
  /* A lossy failover may forget an epoch: not while a log is about that relies on it. */
  if (loses && (w->right || w->second.disk)) return;
  /* Where there is something to lose, it comes at that moment rather than at another. */
  unsigned weight = 1;
  if (loses && sim_database_exposes_reader(db))
    weight = FAILOVER_READER_WEIGHT;
  else if (loses && sim_database_is_exposed(db))
    weight = FAILOVER_WEIGHT;
  enum sim_fault fault = loses ? SIM_FAILOVER_ASYNC : SIM_FAILOVER_SYNC;
  if (!sim_fault_often(sim, fault, weight, database_name(i))) return;
  checks_failover(w->checks, i, loses);
  (void)sim_database_failover(db);
}

/* Not without end: a decision that nobody can verify is asked for again and again. */
static void on_take_over(void *data) {
  struct world *w = data;
  struct program *c = &w->coordinator;
  if (!c->life || sim_healed(w->sim) || w->takeovers == TAKEOVERS_MAX) return;
  w->takeovers++;
  w->taken_over = true;
  life_kill(c->life);
  w->taken_over = false;
}

static void take_over(void *data) {
  struct world *w = data;
  (void)sim_after(w->sim, NULL, 0, on_take_over, w);
}

static void stall(void *data, const char *database, uint64_t us) {
  struct world *w = data;
  unsigned i = 0;
  while (strcmp(database_name(i), database) != 0)
    i++;
  sim_database_stall(w->databases[i], us);
}

static void operate(struct world *w) {
  struct sim *sim = w->sim;
  struct program *c = &w->coordinator;
  if (!w->right && sim_random(sim, 500) == 0) {
    disk_free(w->backup);
    w->backup = disk_copy(c->disk);
  }
  if (c->life && sim_random(sim, 1000) == 0) life_stop(c->life);
  for (unsigned i = 0; i < w->agent_count; i++)
    if (w->agents[i].life && sim_random(sim, 2000) == 0) life_stop(w->agents[i].life);
  if (sim_fault(sim, SIM_SECOND_COORDINATOR, "operator")) start_second(w);
}

static void heal(struct world *w) {
  sim_heal(w->sim);
  if (w->coordinator.life) life_resume(w->coordinator.life);
  if (w->second.life) life_resume(w->second.life);
  for (unsigned i = 0; i < w->agent_count; i++)
    if (w->agents[i].life) life_resume(w->agents[i].life);
  for (unsigned i = 0; i < w->setup.databases; i++)
    sim_database_heal(w->databases[i]);
}

static bool may_heal(const struct world *w) {
  uint64_t now_us = sim_now_us(w->sim);
  return now_us >= HEAL_LATEST_US || (now_us >= HEAL_EARLIEST_US && clients_are_done(w->clients));
}

static void tick(void *data) {
  struct world *w = data;
  if (sim_healed(w->sim)) return;
  for (unsigned i = 0; i < w->setup.databases; i++)
    weather_of(w, i);
  operate(w);
  if (may_heal(w))
    heal(w);
  else
    (void)sim_after(w->sim, NULL, TICK_US, tick, w);
}

/* ---- rest ------------------------------------------------------------------------------------- */

static bool is_at_rest(const struct world *w) {
  if (!w->coordinator.life || w->second.disk || w->right) return false;
  if (!clients_are_done(w->clients)) return false;
  for (unsigned i = 0; i < w->setup.databases; i++)
    if (checks_is_prepared(w->checks, i) || sim_database_open_count(w->databases[i]) > 0)
      return false;
  return life_unexcused_count(w->coordinator.life) == 0;
}

/* Until it holds, or for too long. */
static void run_until(struct world *w, bool (*holds)(const struct world *), uint64_t us) {
  uint64_t until_us = sim_now_us(w->sim) + us;
  while (!sim_broken(w->sim) && sim_now_us(w->sim) < until_us && !holds(w))
    (void)sim_step(w->sim);
}

static bool is_healed(const struct world *w) {
  return sim_healed(w->sim);
}

static bool never(const struct world *w) {
  (void)w;
  return false;
}

static bool are_read(const struct world *w) {
  return clients_are_done(w->clients);
}

static void judge(struct world *w) {
  if (sim_broken(w->sim)) return;
  if (!w->coordinator.life) sim_violation(w->sim, 7, "the coordinator does not run");
  if (w->right || w->second.disk)
    sim_violation(w->sim, 11, "a coordinator on an old log has not been refused");
  if (!clients_are_done(w->clients)) sim_violation(w->sim, 7, "a client has no answer");
  size_t live = w->coordinator.life ? life_unexcused_count(w->coordinator.life) : 0;
  if (live > 0) sim_violation(w->sim, 7, "%zu transactions are still live", live);
  checks_at_rest(w->checks);
}

static void live(struct world *w) {
  (void)sim_after(w->sim, NULL, TICK_US, tick, w);
  run_until(w, is_healed, HEAL_LATEST_US * 2ULL);
  run_until(w, is_at_rest, REST_MAX_US);
  /* What is lazy in the log gets its time; and a sweep may find what nobody knows of. */
  run_until(w, never, LAZY_REST_US);
  run_until(w, is_at_rest, REST_MAX_US);
  judge(w);
  if (sim_broken(w->sim)) return;
  clients_read_all(w->clients);
  run_until(w, are_read, READ_MAX_US);
  run_until(w, is_at_rest, READ_MAX_US);
  judge(w);
}

/* ---- hooks ------------------------------------------------------------------------------------ */

static bool before(void *data, struct loop *loop) {
  (void)data;
  return life_before(loop);
}

static void after(void *data, struct loop *loop) {
  (void)data;
  if (loop) life_after(loop);
}

/* ---- making and ending ------------------------------------------------------------------------ */

static void make(struct world *w, const struct run_options *options) {
  struct sim *sim = w->sim;
  sim_hook(sim, &(struct sim_hooks){.before = before, .after = after, .data = w});
  choose_faults(w);
  choose_setup(w);
  make_databases(w);
  w->network = network_new(sim);
  struct aim_hands hands = {.take_over = take_over, .stall = stall, .data = w};
  aim_set_hands(network_aim(w->network), &hands);
  w->checks = checks_new(sim, w->databases, w->setup.databases);
  start_all(w);
  unsigned errands = (unsigned)sim_between(sim, 3, 10);
  if (options->errands_max && errands > options->errands_max) errands = options->errands_max;
  struct clients_options clients = {.sim = sim,
                                    .network = w->network,
                                    .checks = w->checks,
                                    .databases = w->databases,
                                    .database_count = w->setup.databases,
                                    .accounts = 4,
                                    .coordinator = &w->coordinator,
                                    .errands = errands,
                                    .timeout_max_ms = 5000};
  w->clients = clients_new(&clients);
}

static void forget(void *data, struct program *program, enum life_end end) {
  (void)data;
  (void)program;
  (void)end;
}

static void end_program(struct program *program) {
  if (program->life) {
    life_on_end(program->life, forget);
    life_kill(program->life);
  }
  kept_free(program->kept);
}

static void unmake(struct world *w) {
  end_program(&w->second);
  end_program(&w->coordinator);
  for (unsigned i = 0; i < w->agent_count; i++)
    end_program(&w->agents[i]);
  clients_free(w->clients);
  checks_free(w->checks);
  network_free(w->network);
  for (unsigned i = 0; i < w->setup.databases; i++)
    sim_database_free(w->databases[i]);
  disk_free(w->coordinator.disk);
  disk_free(w->second.disk);
  disk_free(w->right);
  disk_free(w->backup);
}

void run_one(const struct run_options *options, struct run_result *result) {
  *result = (struct run_result){0};
  struct world w = {.sim = sim_new(&options->sim), .result = result};
  ambient_enter(w.sim);
  make(&w, options);
  live(&w);
  result->broken = sim_broken(w.sim);
  (void)snprintf(result->text, sizeof result->text, "%s", sim_broken_text(w.sim));
  result->hash = sim_hash(w.sim);
  result->events = sim_event_count(w.sim);
  result->virtual_us = sim_now_us(w.sim);
  result->outcomes = checks_outcomes(w.checks);
  for (unsigned i = 0; i < SIM_FAULT_COUNT; i++)
    result->faults[i] = sim_fault_count(w.sim, (enum sim_fault)i);
  unmake(&w);
  fences_forget();
  sim_free(w.sim);
}
