/* One simulated run: a world made from a seed, lived through, healed, and judged. */
#ifndef ASSENT_TESTS_SIM_WORLD_H
#define ASSENT_TESTS_SIM_WORLD_H

#include "tests/sim/checks.h"
#include "tests/sim/sim_run.h"

struct run_options {
  struct sim_settings sim;
  unsigned errands_max; /* 0: as the seed says */
};

struct run_result {
  unsigned broken; /* the invariant; 0: none */
  char text[1024];
  uint64_t hash, events, virtual_us;
  uint64_t faults[SIM_FAULT_COUNT];
  unsigned lives_killed, lives_halted, lives_stopped;
  struct outcomes outcomes;
};

void run_one(const struct run_options *options, struct run_result *result);

#endif
