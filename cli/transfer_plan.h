/* The transfers of a run between two banks, as a function of its seed: the same seed, the same
 * transfers, whatever the threads and the clock do. Pure.
 *
 * Each transfer leaves a row with its label in the ledger of each bank that it changes, so that
 * afterwards anybody can see which have happened, and where.
 */
#ifndef ASSENT_CLI_TRANSFER_PLAN_H
#define ASSENT_CLI_TRANSFER_PLAN_H

#include <stdbool.h>
#include <stdint.h>

enum {
  TRANSFER_ACCOUNTS = 1000,      /* in each bank */
  TRANSFER_BALANCE = 1000,       /* of each, at first */
  TRANSFER_TOO_MUCH = 100000000, /* more than all accounts together: the check constraint says no */
  TRANSFER_LABEL_SIZE = 48
};

enum transfer_shape {
  TRANSFER_BOTH, /* from one bank to the other */
  TRANSFER_ONE,  /* within `from_bank`, which is the only branch: one phase */
  TRANSFER_READ  /* within `from_bank`; a branch in the other one only reads */
};

struct transfer_plan {
  int from_bank;          /* 0 or 1 */
  int64_t from_id, to_id; /* 1 to TRANSFER_ACCOUNTS; not the same within one bank */
  int64_t amount;
  bool credit_first; /* in the request: two such transfers can block each other across databases */
  enum transfer_shape shape;
  bool is_prepared; /* by the client itself, on connections of its own; only of the shape BOTH */
};

/* A run's transfers: what they are called, and what they are. */
struct transfer_source {
  const char *prefix; /* of labels: letters, and short: "demo" */
  uint64_t seed;
  struct transfer_plan (*plan)(uint64_t seed, unsigned index);
};

/* All of the shape BOTH. */
struct transfer_plan transfer_plan_simple(uint64_t seed, unsigned index);
/* The same transfers, some of them of the other shapes or prepared by the client. */
struct transfer_plan transfer_plan_mixed(uint64_t seed, unsigned index);

/* What its ledger row in that bank says; false: it writes none there. */
bool transfer_plan_row(const struct transfer_plan *plan, int bank, int64_t *amount);

/* "<prefix>-<seed>-<index>": text order is order of index. */
void transfer_label(const struct transfer_source *source, unsigned index,
                    char out[TRANSFER_LABEL_SIZE]);
/* The index in a label of this source, or -1. */
int64_t transfer_label_index(const struct transfer_source *source, const char *label);

#endif
