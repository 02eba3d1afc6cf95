/* What has happened to one transaction, step by step: for people who ask where it stood still, and
 * whose fault it was. Nothing depends on it; a step that finds no memory is counted as dropped.
 *
 * The first TIMELINE_HEAD steps are kept, and the latest of the rest: of a transaction that is tried
 * again for hours the beginning and the present matter.
 */
#ifndef ASSENT_COORDINATOR_TIMELINE_H
#define ASSENT_COORDINATOR_TIMELINE_H

#include <stddef.h>
#include <stdint.h>

#include "common/message.h"

enum {
  TIMELINE_STEPS_MAX = 256,
  TIMELINE_HEAD = 64,
  TIMELINE_ERRORS_MAX = 32 /* different ones, of the steps that are kept */
};

enum step_kind {
  STEP_BEGUN,
  STEP_ENLISTED,
  STEP_COMMIT_ASKED,
  STEP_WAITS,        /* to start; detail: for what it lacks */
  STEP_ROLLBACK,     /* error: why */
  STEP_RUN_SENT,     /* detail: how far to take the branch */
  STEP_RUN_NOT_SENT, /* error: why the participant is not to be reached */
  STEP_BLOCKED,      /* error: by whom, as seen while it waited */
  STEP_STATEMENTS_RAN,
  STEP_VOTE,           /* detail: the vote */
  STEP_LOG_ASKED,      /* detail: the record's kind */
  STEP_LOGGED,         /* detail: what became of it */
  STEP_DECISION_SENT,  /* detail: the decision; attempt */
  STEP_DECISION_WAITS, /* its participant is not to be reached */
  STEP_OUTCOME,        /* detail: as told by the participant */
  STEP_ALARM,          /* the branch has ended against the decision, or cannot say how */
  STEP_RESOLVED,       /* by an operator */
  STEP_STATE,          /* detail: the state as the API names it */
  STEP_RECOVERED,      /* read from the log at a start: what came between is not known */
  STEP_ENDED           /* detail: the outcome; nothing is left to do */
};
const char *step_kind_name(enum step_kind kind); /* "begun" */

struct step {
  int64_t at_us;      /* wall clock */
  const char *detail; /* static; NULL: none */
  unsigned attempt;   /* from 1; 0: there is none */
  uint8_t kind;
  uint8_t branch; /* from 1; 0: the transaction as a whole */
  int8_t error;   /* of timeline_error(); -1: none */
};

struct timeline {
  struct step *steps;
  struct cause **errors; /* TIMELINE_ERRORS_MAX of them; NULL: there was none */
  unsigned count, capacity;
  unsigned oldest; /* once steps were dropped: where the latest begin, from TIMELINE_HEAD on */
  uint64_t dropped;
};

/* A timeline begins as all zeroes. `step` is copied; its `error` is set here, to a copy of `error`
 * (NULL, or of kind CAUSE_NONE: none). */
void timeline_add(struct timeline *timeline, const struct step *step, const struct cause *error);
/* No more steps are to come: gives back what was kept for them. */
void timeline_close(struct timeline *timeline);
void timeline_release(struct timeline *timeline);

/* In order; index < count. The dropped ones were between TIMELINE_HEAD - 1 and TIMELINE_HEAD. */
const struct step *timeline_step(const struct timeline *timeline, unsigned index);
const struct cause *timeline_error(const struct timeline *timeline, const struct step *step);

#endif
