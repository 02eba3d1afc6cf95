/* The transaction object of the API, from a live transaction or from its record in the log. */
#ifndef ASSENT_COORDINATOR_RENDER_H
#define ASSENT_COORDINATOR_RENDER_H

#include "common/json.h"
#include "coordinator/coordinator.h"

/* With `results` the last run's results of each branch go in. */
void render_transaction(struct json_writer *w, const struct transaction *t, bool results);
/* `results` as in struct wal_key, or NULL. */
void render_record(struct json_writer *w, const struct wal_record *record, const char *results);
void render_cause(struct json_writer *w, const struct cause *cause); /* NULL, or none: null */
const char *render_record_state_name(const struct wal_record *record);
const char *render_outcome_name(enum wal_outcome outcome); /* NULL while there is none */

#endif
