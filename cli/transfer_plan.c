/* See transfer_plan.h. */
#include "cli/transfer_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/seed.h"

enum {
  AMOUNT_MAX = 20,
  TOO_MUCH_ONE_IN = 25,
  HOT_ONE_IN = 40, /* on the same few accounts, so that transfers get in each other's way */
  HOT_ACCOUNTS = 3,
  SHAPE_OTHER_ONE_IN = 4,
  PREPARED_ONE_IN = 8
};

struct transfer_plan transfer_plan_simple(uint64_t seed, unsigned index) {
  struct seed_stream stream = seed_stream(seed, index);
  bool is_hot = seed_below(&stream, HOT_ONE_IN) == 0;
  bool is_too_much = seed_below(&stream, TOO_MUCH_ONE_IN) == 0;
  unsigned accounts = is_hot ? HOT_ACCOUNTS : TRANSFER_ACCOUNTS;
  return (struct transfer_plan){
      .from_bank = (int)seed_below(&stream, 2),
      .from_id = 1 + seed_below(&stream, accounts),
      .to_id = 1 + seed_below(&stream, accounts),
      .amount = is_too_much ? TRANSFER_TOO_MUCH : 1 + seed_below(&stream, AMOUNT_MAX),
      .credit_first = seed_below(&stream, 2) == 1,
  };
}

struct transfer_plan transfer_plan_mixed(uint64_t seed, unsigned index) {
  struct transfer_plan plan = transfer_plan_simple(seed, index);
  struct seed_stream stream = seed_stream(~seed, index);
  if (seed_below(&stream, SHAPE_OTHER_ONE_IN) != 0) {
    plan.is_prepared = seed_below(&stream, PREPARED_ONE_IN) == 0;
    return plan;
  }
  plan.shape = seed_below(&stream, 3) == 0 ? TRANSFER_READ : TRANSFER_ONE;
  if (plan.to_id == plan.from_id) plan.to_id = 1 + plan.from_id % TRANSFER_ACCOUNTS;
  return plan;
}

bool transfer_plan_row(const struct transfer_plan *plan, int bank, int64_t *amount) {
  bool pays = bank == plan->from_bank;
  if (plan->shape == TRANSFER_BOTH)
    *amount = pays ? -plan->amount : plan->amount;
  else
    *amount = 0; /* it stays in the bank */
  return pays || plan->shape == TRANSFER_BOTH;
}

void transfer_label(const struct transfer_source *source, unsigned index,
                    char out[TRANSFER_LABEL_SIZE]) {
  (void)snprintf(out, TRANSFER_LABEL_SIZE, "%s-%" PRIu64 "-%07u", source->prefix, source->seed,
                 index);
}

int64_t transfer_label_index(const struct transfer_source *source, const char *label) {
  char again[TRANSFER_LABEL_SIZE];
  const char *dash = strrchr(label, '-');
  if (!dash) return -1;
  unsigned long index = strtoul(dash + 1, NULL, 10);
  if (index > UINT32_MAX) return -1;
  transfer_label(source, (unsigned)index, again);
  return strcmp(again, label) == 0 ? (int64_t)index : -1;
}
