/* The demonstration's checks: see demo.h. They look at the databases directly. */
#include <inttypes.h>

#include "cli/demo.h"
#include "cli/ledger.h"
#include "cli/process.h"
#include "common/clock.h"
#include "common/http_client.h"

enum { IN_DOUBT_MS_MAX = 30000, POLL_MS = 10 };

enum error_code demo_check_in_doubt(struct bank *const banks[BANKS], struct demo_findings *findings,
                                    struct error *err) {
  static const int64_t any_time[BANKS] = {INT64_MAX, INT64_MAX};
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    enum error_code code = ledger_prepared(banks, any_time, findings->in_doubt, err);
    if (code != ERR_OK) return code;
    findings->in_doubt_waited_ms = (int64_t)(clock_monotonic_us() - begin_us) / 1000;
    if (findings->in_doubt[0] + findings->in_doubt[1] == 0) return ERR_OK;
    if (findings->in_doubt_waited_ms > IN_DOUBT_MS_MAX) break;
    process_pause_ms(POLL_MS);
  }
  problems_add(&findings->problems,
               "%" PRId64 " and %" PRId64 " transactions are still in doubt after %d s",
               findings->in_doubt[0], findings->in_doubt[1], IN_DOUBT_MS_MAX / 1000);
  return ERR_OK;
}

static enum told told_by_load(const void *data, unsigned index) {
  return load_record(data, index)->told;
}

enum error_code demo_check_ledgers(struct bank *const banks[BANKS], const struct load *load,
                                   const struct transfer_source *source, unsigned transfers,
                                   struct demo_findings *findings, struct error *err) {
  const struct ledger_claims claims = {
      .source = source, .count = transfers, .is_all = true, .told = told_by_load, .data = load};
  struct ledger_findings ledger = {.problems = &findings->problems};
  enum error_code code = ledger_check(banks, &claims, &ledger, err);
  findings->ledger_checked = ledger.checked;
  findings->ledger_wrong = ledger.wrong;
  return code;
}

enum error_code demo_check_told(const char *url, const struct load *load,
                                const struct transfer_source *source, unsigned transfers,
                                const volatile sig_atomic_t *is_interrupted,
                                struct demo_findings *findings, struct error *err) {
  struct http_caller *caller = http_caller_new();
  enum error_code code = caller ? ERR_OK : error_set(err, ERR_MEMORY, "out of memory");
  for (unsigned i = 0; code == ERR_OK && i < transfers; i++) {
    char label[TRANSFER_LABEL_SIZE];
    enum told told = TOLD_NOTHING;
    bool is_listed;
    if (*is_interrupted) break;
    transfer_label(source, i, label);
    code = load_ask(caller, url, label, &told, &is_listed, err);
    findings->asked_again++;
    if (code != ERR_OK || told == load_record(load, i)->told) continue;
    findings->told_otherwise++;
    problems_add(&findings->problems, "transfer %u: its outcome is told otherwise when asked again",
                 i);
  }
  http_caller_free(caller);
  return code;
}
