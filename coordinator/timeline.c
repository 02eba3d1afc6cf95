/* See timeline.h. An array that grows to TIMELINE_STEPS_MAX; from then on what follows the head is a
 * ring. Errors are shared by the steps that have the same one: what is tried again fails alike. */
#include "coordinator/timeline.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL = TIMELINE_STEPS_MAX - TIMELINE_HEAD, FIRST_CAPACITY = 16 };

const char *step_kind_name(enum step_kind kind) {
  switch (kind) {
  case STEP_BEGUN: return "begun";
  case STEP_ENLISTED: return "enlisted";
  case STEP_COMMIT_ASKED: return "commit_asked";
  case STEP_WAITS: return "waits";
  case STEP_ROLLBACK: return "rollback";
  case STEP_RUN_SENT: return "run_sent";
  case STEP_RUN_NOT_SENT: return "run_not_sent";
  case STEP_BLOCKED: return "blocked";
  case STEP_STATEMENTS_RAN: return "statements_ran";
  case STEP_VOTE: return "vote";
  case STEP_LOG_ASKED: return "log_asked";
  case STEP_LOGGED: return "logged";
  case STEP_DECISION_SENT: return "decision_sent";
  case STEP_DECISION_WAITS: return "decision_waits";
  case STEP_OUTCOME: return "outcome";
  case STEP_ALARM: return "alarm";
  case STEP_RESOLVED: return "resolved";
  case STEP_STATE: return "state";
  case STEP_RECOVERED: return "recovered";
  case STEP_ENDED: return "ended";
  }
  assert(false && "a step");
  return "";
}

static bool same_cause(const struct cause *a, const struct cause *b) {
  return a->kind == b->kind && a->branch == b->branch && a->statement == b->statement &&
         strcmp(a->sqlstate, b->sqlstate) == 0 && strcmp(a->text, b->text) == 0;
}

static bool is_used(const struct timeline *timeline, int error) {
  for (unsigned i = 0; i < timeline->count; i++)
    if (timeline->steps[i].error == error) return true;
  return false;
}

/* -1: no place is left for it, or no memory. */
static int8_t keep_error(struct timeline *timeline, const struct cause *error) {
  if (!error || error->kind == CAUSE_NONE) return -1;
  if (!timeline->errors) timeline->errors = calloc(TIMELINE_ERRORS_MAX, sizeof *timeline->errors);
  if (!timeline->errors) return -1;
  int place = -1;
  for (int i = 0; i < TIMELINE_ERRORS_MAX; i++) {
    if (timeline->errors[i] && same_cause(timeline->errors[i], error)) return (int8_t)i;
    if (place < 0 && (!timeline->errors[i] || !is_used(timeline, i))) place = i;
  }
  if (place < 0) return -1;
  if (!timeline->errors[place]) timeline->errors[place] = malloc(sizeof *error);
  if (!timeline->errors[place]) return -1;
  *timeline->errors[place] = *error;
  return (int8_t)place;
}

static bool grow(struct timeline *timeline) {
  unsigned capacity = timeline->capacity ? timeline->capacity * 2 : FIRST_CAPACITY;
  struct step *steps = realloc(timeline->steps, capacity * sizeof *steps);
  if (!steps) return false;
  timeline->steps = steps;
  timeline->capacity = capacity;
  return true;
}

/* Where the next one goes; NULL: nowhere. */
static struct step *next_place(struct timeline *timeline) {
  if (timeline->count < TIMELINE_STEPS_MAX) {
    if (timeline->count == timeline->capacity && !grow(timeline)) return NULL;
    return &timeline->steps[timeline->count++];
  }
  struct step *oldest = &timeline->steps[TIMELINE_HEAD + timeline->oldest];
  timeline->oldest = (timeline->oldest + 1) % TAIL;
  timeline->dropped++;
  return oldest;
}

void timeline_add(struct timeline *timeline, const struct step *step, const struct cause *error) {
  struct step *place = next_place(timeline);
  if (!place) {
    timeline->dropped++;
    return;
  }
  *place = *step;
  place->error = -1; /* before a place for the error is looked for: what was here is no user */
  place->error = keep_error(timeline, error);
}

void timeline_close(struct timeline *timeline) {
  if (timeline->count == timeline->capacity) return;
  struct step *steps = realloc(timeline->steps, timeline->count * sizeof *steps);
  if (!steps) return; /* they stay where they are */
  timeline->steps = steps;
  timeline->capacity = timeline->count;
}

void timeline_release(struct timeline *timeline) {
  for (int i = 0; timeline->errors && i < TIMELINE_ERRORS_MAX; i++)
    free(timeline->errors[i]);
  free(timeline->errors);
  free(timeline->steps);
  *timeline = (struct timeline){0};
}

const struct step *timeline_step(const struct timeline *timeline, unsigned index) {
  assert(index < timeline->count);
  if (index < TIMELINE_HEAD) return &timeline->steps[index];
  if (timeline->count < TIMELINE_STEPS_MAX) return &timeline->steps[index];
  return &timeline->steps[TIMELINE_HEAD + (index - TIMELINE_HEAD + timeline->oldest) % TAIL];
}

const struct cause *timeline_error(const struct timeline *timeline, const struct step *step) {
  return step->error < 0 ? NULL : timeline->errors[step->error];
}
