/* What the log's audit lines say of a transaction, as steps of its timeline: so that it can be told in a later
 * life of the coordinator, too. */
#ifndef ASSENT_COORDINATOR_AUDIT_H
#define ASSENT_COORDINATOR_AUDIT_H

#include "coordinator/timeline.h"
#include "wal/wal.h"

/* The line's text about an operator's word: "committed, says the operator: " and the reason. */
enum { AUDIT_TEXT_SIZE = 600 };
void audit_word(enum branch_outcome outcome, const char *reason, char out[AUDIT_TEXT_SIZE]);

/* False: nothing that a timeline has. `error` of kind CAUSE_NONE: there is none. */
bool audit_step(const struct wal_line *line, struct step *step, struct cause *error);

#endif
