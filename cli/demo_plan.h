/* When a demonstration kills whom, as a function of its seed: the same seed, the same choices. Its
 * transfers are in transfer_plan.h. Pure. */
#ifndef ASSENT_CLI_DEMO_PLAN_H
#define ASSENT_CLI_DEMO_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/stage.h"

enum { DEMO_KILLS_MAX = 200 };

struct demo_kill {
  unsigned after; /* so many transfers have ended */
  unsigned delay_us;
  enum stage_target target;
};

/* In order of `after`. With agents each kill of the coordinator has one of an agent besides.
 * Returns how many were filled in: at most DEMO_KILLS_MAX. */
size_t demo_plan_kills(uint64_t seed, unsigned kills, bool agents, unsigned transfers,
                       struct demo_kill out[DEMO_KILLS_MAX]);

#endif
