/* What a campaign has found, for people and for programs. */
#ifndef ASSENT_TESTS_SIM_REPORT_H
#define ASSENT_TESTS_SIM_REPORT_H

#include "tests/sim/campaign.h"

/* A campaign of so many seeds must have met everything. */
enum { COMPLETE_SEEDS = 10000 };

void report_failure(const struct failure *failure, const char *program);
/* Returns how many things that must be met were not (kinds of faults, pairs of states and events), or were
 * met and must not be. */
unsigned report_tally(const struct tally *tally);
void report_json(const struct tally *tally, FILE *out);

/* The shorter one of "only=a,b" and "without=c,d"; "" when all faults are allowed. */
void report_choice(const struct sim_faults *faults, char *out, size_t size);

#endif
