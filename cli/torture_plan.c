/* See torture_plan.h. */
#include "cli/torture_plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/seed.h"

enum {
  LENGTH_MS_MIN = 800,
  LENGTH_MS_MAX = 1600,
  EVENTS_MIN = 5,
  FIRST_MS = 50,    /* so that transfers are under way */
  LAST_PERCENT = 85 /* of the round: what comes later would hardly be seen */
};

static int by_time(const void *a, const void *b) {
  const struct fault_event *left = a, *right = b;
  if (left->at_ms != right->at_ms) return left->at_ms < right->at_ms ? -1 : 1;
  return (left->draw > right->draw) - (left->draw < right->draw);
}

/* Each draw is a statement of its own: their order is part of the plan. */
static struct fault_event plan_event(struct seed_stream *stream, unsigned length_ms,
                                     const struct fault_choice *choices, unsigned weights) {
  struct fault_event event = {0};
  unsigned drawn = seed_below(stream, weights);
  while (drawn >= choices[event.kind].weight)
    drawn -= choices[event.kind++].weight;
  const struct fault_choice *choice = &choices[event.kind];
  event.at_ms = FIRST_MS + seed_below(stream, length_ms * LAST_PERCENT / 100 - FIRST_MS);
  event.for_ms =
      choice->for_ms_min + seed_below(stream, choice->for_ms_max - choice->for_ms_min + 1);
  event.bank = (int)seed_below(stream, 2);
  event.draw = seed_next(stream);
  return event;
}

void torture_plan_round(uint64_t seed, uint64_t round, const struct fault_choice *choices,
                        size_t count, struct round_plan *out) {
  struct seed_stream stream = seed_stream(seed, UINT64_MAX - 1 - round);
  unsigned weights = 0;
  assert(count <= FAULT_KINDS_MAX);
  for (size_t i = 0; i < count; i++)
    weights += choices[i].weight;
  *out = (struct round_plan){.length_ms = LENGTH_MS_MIN};
  out->length_ms += seed_below(&stream, LENGTH_MS_MAX - LENGTH_MS_MIN + 1);
  unsigned events = EVENTS_MIN + seed_below(&stream, ROUND_EVENTS_MAX - EVENTS_MIN + 1);
  for (; weights > 0 && out->count < events; out->count++)
    out->events[out->count] = plan_event(&stream, out->length_ms, choices, weights);
  qsort(out->events, out->count, sizeof *out->events, by_time);
}

/* "kill" names kill-agent and kill-database, too. */
static bool is_named(const char *name, const char *word, size_t length) {
  return strncmp(name, word, length) == 0 && (name[length] == '\0' || name[length] == '-');
}

bool torture_choose(const char *list, struct fault_choice *choices, size_t count, char *wrong,
                    size_t wrong_size) {
  bool is_chosen[FAULT_KINDS_MAX] = {false};
  assert(count <= FAULT_KINDS_MAX);
  for (const char *word = list; word; word = strchr(word, ',') ? strchr(word, ',') + 1 : NULL) {
    size_t length = strcspn(word, ",");
    bool is_known = false;
    for (size_t i = 0; length > 0 && i < count; i++)
      if (is_named(choices[i].name, word, length)) is_known = is_chosen[i] = true;
    if (is_known) continue;
    (void)snprintf(wrong, wrong_size, "%.*s", (int)length, word);
    return false;
  }
  for (size_t i = 0; i < count; i++)
    if (!is_chosen[i]) choices[i].weight = 0;
  return true;
}
