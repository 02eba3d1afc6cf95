/* Many runs on all processors: seeds split among processes, their numbers added up, failures kept and
 * made small. */
#ifndef ASSENT_TESTS_SIM_CAMPAIGN_H
#define ASSENT_TESTS_SIM_CAMPAIGN_H

#include "tests/sim/coverage.h"
#include "tests/sim/world.h"

enum { FAILURES_MAX = 64, KNOWN_SEEDS_MAX = 512 };

struct failure {
  uint64_t seed;
  unsigned invariant; /* 0: the code under test has stopped on a signal */
  int signal;
  char text[512];
  struct sim_faults faults;
  unsigned errands_max;
};

/* What a run of known interest is: a line of the seeds' file. */
struct known_seed {
  uint64_t seed;
  struct sim_faults faults;
  unsigned errands_max;
};

struct campaign {
  uint64_t from, count; /* seeds */
  struct sim_faults faults;
  unsigned jobs, errands_max;
  struct known_seed known[KNOWN_SEEDS_MAX]; /* run first */
  size_t known_count;
  bool progress; /* shown on standard error, a terminal */
};

struct tally {
  uint64_t done, passed, failed, events, virtual_us, twice;
  uint64_t faults[SIM_FAULT_COUNT];
  uint64_t lives_killed, lives_halted, lives_stopped;
  uint64_t committed, aborted, mixed, unknown;
  struct coverage coverage;
  struct failure failures[FAILURES_MAX]; /* the first ones; `failed` counts all */
  uint64_t failure_count;
  double seconds;
};

/* `tally` is filled. False: processes could not be made. */
bool campaign_run(const struct campaign *campaign, struct tally *tally);

/* Finds out how little it takes: fewer kinds of faults, fewer errands. */
void campaign_minimise(struct failure *failure);

/* One run, in a process of its own: 0, or the broken invariant in failure->invariant or its signal. */
bool campaign_fails(struct failure *failure);

#endif
