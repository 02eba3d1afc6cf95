/* The demonstration's checks: see demo.h. They look at the databases directly. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/demo.h"
#include "cli/process.h"
#include "common/clock.h"
#include "common/http_client.h"

enum { IN_DOUBT_MS_MAX = 30000, POLL_MS = 10 };

enum error_code demo_check_money(struct bank *const banks[BANKS], int64_t *sum, struct error *err) {
  *sum = 0;
  for (int i = 0; i < BANKS; i++) {
    int64_t part = 0;
    enum error_code code = bank_money(banks[i], &part, err);
    if (code != ERR_OK) return code;
    *sum += part;
  }
  return ERR_OK;
}

enum error_code demo_check_prepared(struct bank *const banks[BANKS], const int64_t before_us[BANKS],
                                    int64_t counts[BANKS], struct error *err) {
  for (int i = 0; i < BANKS; i++) {
    enum error_code code = bank_prepared(banks[i], before_us[i], &counts[i], err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

enum error_code demo_check_in_doubt(struct bank *const banks[BANKS], struct demo_findings *findings,
                                    struct error *err) {
  static const int64_t any_time[BANKS] = {INT64_MAX, INT64_MAX};
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    enum error_code code = demo_check_prepared(banks, any_time, findings->in_doubt, err);
    if (code != ERR_OK) return code;
    findings->in_doubt_waited_ms = (int64_t)(clock_monotonic_us() - begin_us) / 1000;
    if (findings->in_doubt[0] + findings->in_doubt[1] == 0) return ERR_OK;
    if (findings->in_doubt_waited_ms > IN_DOUBT_MS_MAX) break;
    process_pause_ms(POLL_MS);
  }
  demo_problem(findings, "%" PRId64 " and %" PRId64 " transactions are still in doubt after %d s",
               findings->in_doubt[0], findings->in_doubt[1], IN_DOUBT_MS_MAX / 1000);
  return ERR_OK;
}

/* ---- ledgers --------------------------------------------------------------------------------- */

struct ledger {
  const struct demo_options *options;
  struct demo_findings *findings;
  int bank;
  bool *is_there; /* of the index */
};

static int64_t planned_change(const struct demo_options *options, unsigned index, int bank) {
  struct demo_transfer plan = demo_plan_transfer((uint64_t)options->seed, index);
  return bank == plan.from_bank ? -plan.amount : plan.amount;
}

static void on_ledger_row(void *data, const char *label, int64_t amount) {
  struct ledger *ledger = data;
  int64_t index = demo_label_index((uint64_t)ledger->options->seed, label);
  if (index < 0 || index >= ledger->options->transfers ||
      amount != planned_change(ledger->options, (unsigned)index, ledger->bank)) {
    ledger->findings->ledger_wrong++;
    demo_problem(ledger->findings, "bank %c: a ledger row that nobody wrote: %s, %" PRId64,
                 'a' + ledger->bank, label, amount);
    return;
  }
  ledger->is_there[index] = true;
}

static void compare_transfer(const struct load_record *record, unsigned index, bool in_a, bool in_b,
                             struct demo_findings *findings) {
  static const char *const told[] = {"nothing", "committed", "aborted"};
  bool should_be = record->told == TOLD_COMMITTED;
  findings->ledger_checked++;
  if (record->told != TOLD_NOTHING && in_a == should_be && in_b == should_be) return;
  findings->ledger_wrong++;
  demo_problem(findings, "transfer %u: told %s, but bank a %s it and bank b %s it", index,
               told[record->told], in_a ? "has" : "lacks", in_b ? "has" : "lacks");
}

enum error_code demo_check_ledgers(struct bank *const banks[BANKS], const struct load *load,
                                   const struct demo_options *options,
                                   struct demo_findings *findings, struct error *err) {
  enum error_code code = ERR_OK;
  unsigned transfers = (unsigned)options->transfers;
  bool *is_there[BANKS];
  for (int i = 0; i < BANKS; i++)
    is_there[i] = calloc(transfers, sizeof **is_there);
  if (!is_there[0] || !is_there[1]) {
    code = error_set(err, ERR_MEMORY, "out of memory");
    goto out;
  }
  for (int i = 0; i < BANKS; i++) {
    struct ledger ledger = {options, findings, i, is_there[i]};
    code = bank_each_ledger(banks[i], on_ledger_row, &ledger, err);
    if (code != ERR_OK) goto out;
  }
  for (unsigned index = 0; index < transfers; index++)
    compare_transfer(load_record(load, index), index, is_there[0][index], is_there[1][index],
                     findings);
out:
  for (int i = 0; i < BANKS; i++)
    free(is_there[i]);
  return code;
}

/* ---- told again ------------------------------------------------------------------------------ */

enum error_code demo_check_told(const char *url, const struct load *load,
                                const struct demo_options *options,
                                const volatile sig_atomic_t *is_interrupted,
                                struct demo_findings *findings, struct error *err) {
  struct http_caller *caller = http_caller_new();
  enum error_code code = caller ? ERR_OK : error_set(err, ERR_MEMORY, "out of memory");
  for (unsigned i = 0; code == ERR_OK && i < (unsigned)options->transfers; i++) {
    char label[DEMO_LABEL_SIZE];
    enum told told = TOLD_NOTHING;
    bool is_listed;
    if (*is_interrupted) break;
    demo_label((uint64_t)options->seed, i, label);
    code = load_ask(caller, url, label, &told, &is_listed, err);
    findings->asked_again++;
    if (code != ERR_OK || told == load_record(load, i)->told) continue;
    findings->told_otherwise++;
    demo_problem(findings, "transfer %u: its outcome is told otherwise when asked again", i);
  }
  http_caller_free(caller);
  return code;
}
