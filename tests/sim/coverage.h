/* Which states of the two protocol cores have met which events. The linker puts the counting in between
 * (--wrap=txn_step, --wrap=branch_step). */
#ifndef ASSENT_TESTS_SIM_COVERAGE_H
#define ASSENT_TESTS_SIM_COVERAGE_H

#include <stdint.h>
#include <stdio.h>

#include "coordinator/txn.h"
#include "participant-agent/branch.h"

enum { TXN_VARIANTS = 18, BRANCH_VARIANTS = 38 };

struct coverage {
  uint64_t txn[TXN_STATE_COUNT][TXN_VARIANTS];
  uint64_t branch[BRANCH_STATE_COUNT][BRANCH_VARIANTS];
};

/* Counts go there from now on. */
void coverage_use(struct coverage *coverage);
void coverage_add(struct coverage *to, const struct coverage *from);

struct coverage_sum {
  unsigned reached, required; /* pairs that every campaign must meet */
  unsigned impossible;        /* pairs that no campaign must meet, and this one has */
};
/* Those never met, or impossible, are named on `out`; NULL: not. */
struct coverage_sum coverage_report(const struct coverage *coverage, FILE *out);
/* Every pair met, with its count. */
void coverage_list(const struct coverage *coverage, FILE *out);

#endif
