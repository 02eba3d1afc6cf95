/* Programs and their lives: assentd and assent-agent wired up as their main.c do it, on a simulated
 * loop; killed, paused, stopped, started again. */
#ifndef ASSENT_TESTS_SIM_LIFE_H
#define ASSENT_TESTS_SIM_LIFE_H

#include "coordinator/coordinator.h"
#include "tests/sim/database.h"
#include "tests/sim/disk.h"
#include "tests/sim/kept.h"
#include "tests/sim/network.h"

enum { DATABASES_MAX = 3 };

/* How this run's programs are set up: what their configuration files would say. */
struct setup {
  unsigned databases;
  bool embedded;                          /* the agents live in the coordinator */
  unsigned agent_of[DATABASES_MAX];       /* else: which agent program serves it */
  struct coordinator_options coordinator; /* but `halt` */
  int64_t agent_timeout_ms, stop_timeout_ms, call_timeout_ms, retention_ms;
  unsigned connections_max, waiting_max;
  bool has_state_dir;
  bool synchronous_failover[DATABASES_MAX];
  bool leaves_rows, changes_rows; /* outcome_table; it is switched on and off between lives */
};

/* bank_a, bank_b, bank_c */
const char *database_name(unsigned database);

/* A program on its machine. The machine's disk and clock outlive the program's lives. */
struct program {
  struct sim *sim;
  struct network *network;
  struct checks *checks;
  struct sim_database **databases;
  const struct setup *setup;
  char name[PROCESS_NAME_SIZE];
  bool is_agent;
  unsigned number; /* of an agent */
  struct disk *disk;
  bool rightful;
  unsigned old_logs; /* how often one has been in its log's place */
  struct state_kept *kept;
  int64_t wall_offset_us;
  unsigned lives;
  struct life *life; /* NULL: down */
  void *owner;
};

enum life_end { LIFE_KILLED, LIFE_HALTED, LIFE_STOPPED };
/* A life has ended, and its memory is given back. Not during a turn of its loop. */
typedef void (*life_ended_fn)(void *data, struct program *program, enum life_end end);

/* ERR_OK: it runs. */
enum error_code life_start(struct program *program, life_ended_fn ended, void *data,
                           struct error *err) __attribute__((warn_unused_result));
/* From now on somebody else is told of its end. */
void life_on_end(struct life *life, life_ended_fn ended);
void life_kill(struct life *life); /* between two events; tells `ended` */
void life_stop(struct life *life); /* SIGTERM */
void life_pause(struct life *life, uint64_t us);

/* Before and after each event on a loop: see struct sim_hooks. */
bool life_before(struct loop *loop);
void life_after(struct loop *loop);

/* No request gets to this agent program for so long, and nobody is told. */
void life_swallow(const struct program *agent, uint64_t us);

/* Paused: goes on. */
void life_resume(struct life *life);
/* Transactions on their way that have no excuse (checks_is_excused()); 0 of an agent. */
size_t life_unexcused_count(const struct life *life);
const struct process *life_process(const struct life *life);

#endif
