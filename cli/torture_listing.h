/* The coordinator's own account of its transactions. */
#ifndef ASSENT_CLI_TORTURE_LISTING_H
#define ASSENT_CLI_TORTURE_LISTING_H

#include "cli/torture.h"

/* How many have not ended (open, preparing, committing, aborting). */
enum error_code listing_undecided(struct torture *t, int64_t *count, struct error *err)
    __attribute__((warn_unused_result));

/* Compares what is listed of this round's transfers with what was told: every committed one is
 * there, and nothing that was told otherwise. Violations are told. */
enum error_code listing_check(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* Shows on stderr what the coordinator knows of a transfer. */
void listing_tell(struct torture *t, unsigned index);

/* Asks once more for some transfers of rounds that are over, not older than `from`. */
enum error_code listing_ask_again(struct torture *t, unsigned from, struct error *err)
    __attribute__((warn_unused_result));

#endif
