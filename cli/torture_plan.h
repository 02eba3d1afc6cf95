/* What a torture breaks, and when, as a function of its seed: the same seed and the same kinds, the
 * same plan, on any machine. When each event comes to pass is the machine's business. Pure.
 *
 * A round is a second or two in which things are broken while transfers run; each is mended within
 * the round, or at its end.
 */
#ifndef ASSENT_CLI_TORTURE_PLAN_H
#define ASSENT_CLI_TORTURE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUND_EVENTS_MAX = 12, FAULT_KINDS_MAX = 32 };

/* What the plan has to know about a kind of fault. */
struct fault_choice {
  const char *name;
  unsigned weight;                 /* how often, compared with others; 0: never */
  unsigned for_ms_min, for_ms_max; /* how long it stays broken */
};

struct fault_event {
  unsigned kind; /* index into the choices */
  unsigned at_ms, for_ms;
  int bank;      /* 0 or 1: whose agent, database or connection */
  uint64_t draw; /* for what else there is to choose */
};

struct round_plan {
  unsigned length_ms;
  unsigned count;
  struct fault_event events[ROUND_EVENTS_MAX]; /* in order of at_ms */
};

/* No events when no choice has a weight. */
void torture_plan_round(uint64_t seed, uint64_t round, const struct fault_choice *choices,
                        size_t count, struct round_plan *out);

/* Sets the weight of what is not in `list` ("kill-agent,pause": names, or what they begin with
 * before a dash) to 0. False: `wrong` (of the list) names a word that is no kind's. */
bool torture_choose(const char *list, struct fault_choice *choices, size_t count, char *wrong,
                    size_t wrong_size);

#endif
