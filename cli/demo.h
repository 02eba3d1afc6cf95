/* What the parts of the demonstration share: what was asked for, what was found. */
#ifndef ASSENT_CLI_DEMO_H
#define ASSENT_CLI_DEMO_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/bank.h"
#include "cli/demo_plan.h"
#include "cli/load.h"
#include "cli/problems.h"
#include "cli/stage.h"
#include "common/error.h"

struct demo_options {
  bool agents, keep, json;
  int64_t transfers, clients, kills, seed;
};

/* One kill. Both times begin with the start of the new process. */
struct demo_recovery {
  enum stage_target target;
  unsigned finished, in_flight; /* transfers, at the moment of the kill */
  int64_t left_prepared;        /* transactions prepared in the databases, right after it */
  int64_t ready_us;             /* until it answers that it is ready */
  int64_t settled_us; /* until nothing that was prepared before that start is left in a database */
};

struct demo_findings {
  struct load_counts load;
  int64_t elapsed_us;
  struct demo_recovery recoveries[DEMO_KILLS_MAX];
  unsigned recovery_count, kills_planned;
  int64_t money_before, money_after;
  int64_t in_doubt[BANKS], in_doubt_waited_ms;
  unsigned ledger_checked, ledger_wrong;
  unsigned asked_again, told_otherwise;
  struct problems problems;
};

/* ---- demo_check.c: the databases and the coordinator against what clients were told -----------
 */

/* Waits, within bounds, until none is left, then fills in in_doubt. */
enum error_code demo_check_in_doubt(struct bank *const banks[BANKS], struct demo_findings *findings,
                                    struct error *err) __attribute__((warn_unused_result));
/* See ledger_check(). */
enum error_code demo_check_ledgers(struct bank *const banks[BANKS], const struct load *load,
                                   const struct transfer_source *source, unsigned transfers,
                                   struct demo_findings *findings, struct error *err)
    __attribute__((warn_unused_result));
/* Asks the coordinator for each transfer once more; ends early when interrupted. */
enum error_code demo_check_told(const char *url, const struct load *load,
                                const struct transfer_source *source, unsigned transfers,
                                const volatile sig_atomic_t *is_interrupted,
                                struct demo_findings *findings, struct error *err)
    __attribute__((warn_unused_result));

/* ---- demo_report.c ----------------------------------------------------------------------------
 */

/* A bar on a terminal; else a line now and then. */
struct progress {
  bool is_terminal;
  unsigned shown_tenths;
};
struct progress progress_begin(void);
void progress_show(struct progress *progress, const struct load_counts *counts, unsigned transfers,
                   unsigned killed, unsigned kills);
void progress_end(struct progress *progress);

void demo_report(const struct demo_options *options, const struct demo_findings *findings);
void demo_report_json(const struct demo_options *options, const struct demo_findings *findings);
void demo_report_kept(const char *url, const char *directory, const char *const dsn[BANKS]);

#endif
