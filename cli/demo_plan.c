/* See demo_plan.h. */
#include "cli/demo_plan.h"

#include <stdlib.h>

#include "cli/seed.h"

enum { DELAY_US_MAX = 20000 };

static int by_after(const void *a, const void *b) {
  const struct demo_kill *left = a, *right = b;
  return (left->after > right->after) - (left->after < right->after);
}

size_t demo_plan_kills(uint64_t seed, unsigned kills, bool agents, unsigned transfers,
                       struct demo_kill out[DEMO_KILLS_MAX]) {
  struct seed_stream stream = seed_stream(seed, UINT64_MAX);
  size_t count = 0;
  unsigned events = agents ? 2 * kills : kills;
  for (unsigned i = 0; i < events && count < DEMO_KILLS_MAX; i++) {
    /* One in each stretch between 5 and 95 percent: spread over the run, yet anywhere in it. */
    unsigned first = transfers / 20, span = transfers - 2 * first;
    unsigned begin = first + (unsigned)((uint64_t)span * i / events);
    unsigned end = first + (unsigned)((uint64_t)span * (i + 1) / events);
    bool is_agent = agents && i % 2 == 1;
    out[count++] = (struct demo_kill){
        .after = begin + (end > begin ? seed_below(&stream, end - begin) : 0),
        .delay_us = seed_below(&stream, DELAY_US_MAX),
        .target = !is_agent                ? STAGE_COORDINATOR
                  : seed_below(&stream, 2) ? STAGE_AGENT_A
                                           : STAGE_AGENT_B,
    };
  }
  qsort(out, count, sizeof *out, by_after);
  return count;
}
