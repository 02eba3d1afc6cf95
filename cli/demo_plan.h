/* What a demonstration does, as a function of its seed: the same seed, the same choices, whatever
 * the threads and the clock do. Pure. */
#ifndef ASSENT_CLI_DEMO_PLAN_H
#define ASSENT_CLI_DEMO_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DEMO_ACCOUNTS = 1000,
  DEMO_BALANCE = 1000,
  DEMO_TOO_MUCH = 100000000, /* more than all accounts together: the check constraint says no */
  DEMO_LABEL_SIZE = 40,
  DEMO_KILLS_MAX = 200
};

struct demo_transfer {
  int from_bank;          /* 0 or 1; the other one gets it */
  int64_t from_id, to_id; /* 1 to DEMO_ACCOUNTS */
  int64_t amount;
  bool credit_first; /* in the request: two such transfers can block each other across databases */
};

enum demo_target { TARGET_COORDINATOR, TARGET_AGENT_A, TARGET_AGENT_B, TARGETS };

struct demo_kill {
  unsigned after; /* so many transfers have ended */
  unsigned delay_us;
  enum demo_target target;
};

struct demo_transfer demo_plan_transfer(uint64_t seed, unsigned index);

/* In order of `after`. With agents each kill of the coordinator has one of an agent besides.
 * Returns how many were filled in: at most DEMO_KILLS_MAX. */
size_t demo_plan_kills(uint64_t seed, unsigned kills, bool agents, unsigned transfers,
                       struct demo_kill out[DEMO_KILLS_MAX]);

/* "demo-<seed>-<index>", of the same length for all indices of a run. */
void demo_label(uint64_t seed, unsigned index, char out[DEMO_LABEL_SIZE]);
/* The index in a label of this seed, or -1. */
int64_t demo_label_index(uint64_t seed, const char *label);

#endif
