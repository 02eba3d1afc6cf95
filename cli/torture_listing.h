/* The coordinator's own account of its transactions. */
#ifndef ASSENT_CLI_TORTURE_LISTING_H
#define ASSENT_CLI_TORTURE_LISTING_H

#include "cli/loss.h"
#include "cli/torture.h"

/* How many have not ended (open, preparing, committing, aborting). */
enum error_code listing_undecided(struct torture *t, int64_t *count, struct error *err)
    __attribute__((warn_unused_result));

/* Compares what is listed of this round's transfers with what was told: every committed one is
 * there, and nothing that was told otherwise. Violations are told. */
enum error_code listing_check(struct torture *t, struct error *err)
    __attribute__((warn_unused_result));

/* What the coordinator says of a transfer that has ended. */
struct listed {
  bool is_listed;
  enum told outcome;
  enum branch_told branches[BANKS]; /* NOTHING also for one that is not there, or only read */
};

/* This round's transfers: `out` has as many as the round has begun. */
enum error_code listing_read(struct torture *t, struct listed *out, struct error *err)
    __attribute__((warn_unused_result));

/* Says of each branch that nobody can verify what `is_there` finds. Returns by `count` how many were
 * resolved. */
typedef enum error_code (*listing_look_fn)(struct torture *t, int bank, const char *label,
                                           bool *is_there, struct error *err);
enum error_code listing_resolve(struct torture *t, listing_look_fn look, unsigned *count,
                                struct error *err) __attribute__((warn_unused_result));

/* Shows on stderr what the coordinator knows of a transfer. */
void listing_tell(struct torture *t, unsigned index);

/* Asks once more for some transfers of rounds that are over, not older than `from`. */
enum error_code listing_ask_again(struct torture *t, unsigned from, struct error *err)
    __attribute__((warn_unused_result));

#endif
