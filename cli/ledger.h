/* The banks' ledgers against what clients were told. */
#ifndef ASSENT_CLI_LEDGER_H
#define ASSENT_CLI_LEDGER_H

#include "cli/bank.h"
#include "cli/load.h"
#include "cli/problems.h"
#include "cli/transfer_plan.h"
#include "common/error.h"

struct ledger_claims {
  const struct transfer_source *source;
  unsigned first, count; /* the transfers that are looked at */
  bool is_all;           /* there may be no rows of others */
  enum told (*told)(const void *data, unsigned index);
  const void *data;
  /* Where something may be lost: whether a transfer that is in these ledgers is right so. NULL: nothing may
   * be, and what was told holds. */
  bool (*judge)(void *judge_data, unsigned index, const bool in[BANKS]);
  void *judge_data;
};

enum { LEDGER_WRONG_MAX = 5 };

struct ledger_findings {
  unsigned checked, wrong;
  unsigned transfers[LEDGER_WRONG_MAX], transfer_count; /* the first ones that are wrong */
  struct problems *problems;                            /* a line for each that is wrong */
};

/* A transfer told committed is in the ledgers of the banks it changes with its amounts, one told
 * aborted in none, and nothing else is there. */
enum error_code ledger_check(struct bank *const banks[BANKS], const struct ledger_claims *claims,
                             struct ledger_findings *findings, struct error *err)
    __attribute__((warn_unused_result));

/* The money in both. */
enum error_code ledger_money(struct bank *const banks[BANKS], int64_t *sum, struct error *err)
    __attribute__((warn_unused_result));
/* Prepared transactions of Assent in each database (bank_prepared()). */
enum error_code ledger_prepared(struct bank *const banks[BANKS], const int64_t before_us[BANKS],
                                int64_t counts[BANKS], struct error *err)
    __attribute__((warn_unused_result));

#endif
