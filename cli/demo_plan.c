/* See demo_plan.h. */
#include "cli/demo_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  AMOUNT_MAX = 20,
  TOO_MUCH_ONE_IN = 25,
  HOT_ONE_IN = 40, /* on the same few accounts, so that transfers get in each other's way */
  HOT_ACCOUNTS = 3,
  DELAY_US_MAX = 20000
};

/* splitmix64 (Steele, Lea, Flood 2014). */
static uint64_t next(uint64_t *state) {
  uint64_t z = *state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static uint64_t stream(uint64_t seed, uint64_t number) {
  uint64_t state = seed, mixed = next(&state);
  state = mixed ^ (number * 0xd1342543de82ef95u);
  return state;
}

static unsigned below(uint64_t *state, unsigned limit) {
  return (unsigned)(next(state) % limit);
}

struct demo_transfer demo_plan_transfer(uint64_t seed, unsigned index) {
  uint64_t state = stream(seed, index);
  bool is_hot = below(&state, HOT_ONE_IN) == 0;
  bool is_too_much = below(&state, TOO_MUCH_ONE_IN) == 0;
  unsigned accounts = is_hot ? HOT_ACCOUNTS : DEMO_ACCOUNTS;
  return (struct demo_transfer){
      .from_bank = (int)below(&state, 2),
      .from_id = 1 + below(&state, accounts),
      .to_id = 1 + below(&state, accounts),
      .amount = is_too_much ? DEMO_TOO_MUCH : 1 + below(&state, AMOUNT_MAX),
      .credit_first = below(&state, 2) == 1,
  };
}

static int by_after(const void *a, const void *b) {
  const struct demo_kill *left = a, *right = b;
  return (left->after > right->after) - (left->after < right->after);
}

size_t demo_plan_kills(uint64_t seed, unsigned kills, bool agents, unsigned transfers,
                       struct demo_kill out[DEMO_KILLS_MAX]) {
  uint64_t state = stream(seed, UINT64_MAX);
  size_t count = 0;
  unsigned events = agents ? 2 * kills : kills;
  for (unsigned i = 0; i < events && count < DEMO_KILLS_MAX; i++) {
    /* One in each stretch between 5 and 95 percent: spread over the run, yet anywhere in it. */
    unsigned first = transfers / 20, span = transfers - 2 * first;
    unsigned begin = first + (unsigned)((uint64_t)span * i / events);
    unsigned end = first + (unsigned)((uint64_t)span * (i + 1) / events);
    bool is_agent = agents && i % 2 == 1;
    out[count++] = (struct demo_kill){
        .after = begin + (end > begin ? below(&state, end - begin) : 0),
        .delay_us = below(&state, DELAY_US_MAX),
        .target = !is_agent          ? TARGET_COORDINATOR
                  : below(&state, 2) ? TARGET_AGENT_A
                                     : TARGET_AGENT_B,
    };
  }
  qsort(out, count, sizeof *out, by_after);
  return count;
}

void demo_label(uint64_t seed, unsigned index, char out[DEMO_LABEL_SIZE]) {
  (void)snprintf(out, DEMO_LABEL_SIZE, "demo-%" PRIu64 "-%07u", seed, index);
}

int64_t demo_label_index(uint64_t seed, const char *label) {
  char again[DEMO_LABEL_SIZE];
  const char *dash = strrchr(label, '-');
  if (!dash) return -1;
  unsigned long index = strtoul(dash + 1, NULL, 10);
  if (index > UINT32_MAX) return -1;
  demo_label(seed, (unsigned)index, again);
  return strcmp(again, label) == 0 ? (int64_t)index : -1;
}
