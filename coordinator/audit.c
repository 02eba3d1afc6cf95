/* See audit.h. */
#include "coordinator/audit.h"

#include <stdio.h>
#include <string.h>

#include "common/utf8.h"

static const char says[] = ", says the operator: ";

void audit_word(enum branch_outcome outcome, const char *reason, char out[AUDIT_TEXT_SIZE]) {
  (void)snprintf(out, AUDIT_TEXT_SIZE, "%s%s%s", branch_outcome_name(outcome), says, reason);
}

static void set_error(struct cause *error, enum cause_kind kind, const struct wal_line *line,
                      const char *text) {
  size_t length = utf8_prefix(text, strlen(text), sizeof error->text - 1);
  *error = (struct cause){.kind = kind, .branch = (int)line->branch, .statement = -1};
  memcpy(error->text, text, length);
}

/* The reason behind "OUTCOME, says the operator: "; NULL: it says something else. */
static const char *reason_of(const char *text, enum branch_outcome outcome) {
  const char *name = branch_outcome_name(outcome);
  size_t length = strlen(name);
  bool said =
      strncmp(text, name, length) == 0 && strncmp(text + length, says, sizeof says - 1) == 0;
  return said ? text + length + sizeof says - 1 : NULL;
}

static bool resolved_step(const struct wal_line *line, struct step *step, struct cause *error) {
  static const enum branch_outcome outcomes[] = {BRANCH_OUTCOME_COMMITTED, BRANCH_OUTCOME_ABORTED};
  for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
    const char *reason = reason_of(line->detail, outcomes[i]);
    if (!reason) continue;
    step->kind = STEP_RESOLVED;
    step->detail = branch_outcome_name(outcomes[i]);
    set_error(error, CAUSE_OPERATOR, line, reason);
    return true;
  }
  return false;
}

bool audit_step(const struct wal_line *line, struct step *step, struct cause *error) {
  static const char *const alarms[] = {"heuristic_hazard", "heuristic_mixed"};
  *step = (struct step){.at_us = line->at_us, .branch = (uint8_t)line->branch};
  *error = (struct cause){.kind = CAUSE_NONE, .statement = -1};
  if (strcmp(line->event, "resolve") == 0) return resolved_step(line, step, error);
  for (size_t i = 0; i < sizeof alarms / sizeof alarms[0]; i++) {
    if (strcmp(line->event, alarms[i]) != 0) continue;
    step->kind = STEP_ALARM;
    step->detail = alarms[i];
    if (line->detail[0]) set_error(error, CAUSE_RECOVERY, line, line->detail);
    return true;
  }
  return false;
}
