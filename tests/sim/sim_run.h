/* The other side of sim.h: for who makes a simulated run and drives it. The models do not include
 * this. */
#ifndef ASSENT_TESTS_SIM_SIM_RUN_H
#define ASSENT_TESTS_SIM_SIM_RUN_H

#include <stdio.h>

#include "tests/sim/sim.h"

/* Which faults may happen. */
struct sim_faults {
  bool allowed[SIM_FAULT_COUNT];
};

struct sim_settings {
  uint64_t seed;
  struct sim_faults faults;
  FILE *trace; /* NULL: nobody reads */
  bool hash;   /* the trace's hash is wanted */
};

struct sim *sim_new(const struct sim_settings *settings);
/* All events are dropped; what their data points to is its owner's. */
void sim_free(struct sim *sim);

/* Who is asked before, and told after, each event on a loop. `before` returns false when the loop's
 * process has died just now, and the loop has been freed. */
struct sim_hooks {
  bool (*before)(void *data, struct loop *loop);
  void (*after)(void *data, struct loop *loop); /* NULL: an event on the queue itself */
  void *data;
};
void sim_hook(struct sim *sim, const struct sim_hooks *hooks);

/* The next event. False: there is none, or an invariant is broken. */
bool sim_step(struct sim *sim);

/* How often faults come, in percent of their frequency. */
void sim_set_temper(struct sim *sim, unsigned percent);
/* In this run it comes many times as often, whatever the temper. */
void sim_favour(struct sim *sim, enum sim_fault fault, unsigned times);
void sim_forbid(struct sim *sim, enum sim_fault fault);
void sim_heal(struct sim *sim);
/* As sim_fault(), `weight` times as often: for occasions that are rare. */
bool sim_fault_often(struct sim *sim, enum sim_fault fault, unsigned weight, const char *where);

bool sim_is_traced(const struct sim *sim);
uint64_t sim_hash(const struct sim *sim);
uint64_t sim_event_count(const struct sim *sim);
uint64_t sim_fault_count(const struct sim *sim, enum sim_fault fault);

/* 0: none is broken. */
unsigned sim_broken(const struct sim *sim);
const char *sim_broken_text(const struct sim *sim);

/* Bytes for names that must not be guessed: from a stream of their own. */
void sim_random_bytes(struct sim *sim, void *out, size_t size);

/* ---- loops ------------------------------------------------------------------------------------ */

struct process;

/* `process`: whose loop it is; for loop_process(). */
struct loop *sim_loop_new(struct sim *sim, struct process *process);
struct process *loop_process(const struct loop *loop);
struct sim *loop_sim(const struct loop *loop);
/* Held: what is due waits. Letting it go makes all of it due now, in its order. */
void sim_loop_hold(struct loop *loop, bool held);
bool sim_loop_is_held(const struct loop *loop);

/* What sim.c and sim_loop.c need of each other. */
void sim_let_go(struct sim *sim, struct loop *loop);
void sim_drop_loop(struct sim *sim, struct loop *loop);

#endif
