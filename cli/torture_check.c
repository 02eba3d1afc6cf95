/* The checks after each round of a torture: see torture.h. What the databases hold is looked at
 * directly. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/ledger.h"
#include "cli/process.h"
#include "cli/torture.h"
#include "cli/torture_listing.h"
#include "cli/torture_losses.h"
#include "common/clock.h"

enum {
  READY_MS_MAX = 30000,
  DRAIN_MS_MAX = 90000,
  DRAIN_SLICE_MS = 100,
  QUIET_MS_MAX = 30000,
  POLL_MS = 5,
  /* More would be a leak: a daemon has a megabyte or ten, some dozens of sessions, and a descriptor
   * for each client. */
  MEMORY_KB_MAX = 512 * 1024,
  DESCRIPTORS_MAX = 512,
  /* The log keeps what is younger than the retention time, and what is not swept out yet. */
  LOG_BYTES_BASE = 64 * 1024 * 1024,
  LOG_BYTES_EACH = 4096,
  LOG_WINDOW_US = 2 * TORTURE_RETENTION_MS * 1000
};

/* ---- settling ---------------------------------------------------------------------------------- */

struct unsettled {
  int64_t prepared[BANKS], sessions[BANKS], locks[BANKS], undecided;
};

static enum error_code look(struct torture *t, struct unsettled *left, struct error *err) {
  static const int64_t any_time[BANKS] = {INT64_MAX, INT64_MAX};
  enum error_code code = ledger_prepared(t->banks, any_time, left->prepared, err);
  for (int i = 0; code == ERR_OK && i < BANKS; i++)
    code = bank_busy(t->banks[i], &left->sessions[i], &left->locks[i], err);
  return code == ERR_OK ? listing_undecided(t, &left->undecided, err) : code;
}

static bool is_quiet(const struct unsettled *left) {
  return left->undecided == 0 && left->prepared[0] + left->prepared[1] == 0 &&
         left->sessions[0] + left->sessions[1] == 0 && left->locks[0] + left->locks[1] == 0;
}

static enum error_code wait_quiet(struct torture *t, struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    struct unsettled left = {0};
    struct error why = {0};
    bool is_late = (clock_monotonic_us() - begin_us) / 1000 > QUIET_MS_MAX;
    enum error_code code = look(t, &left, &why);
    for (int i = 0; code != ERR_OK && i < BANKS; i++) {
      struct error again = {0};
      (void)!bank_refresh(t->banks[i], &again); /* tried again in any case */
    }
    if (torture_interrupted() || (code == ERR_OK && is_quiet(&left))) return ERR_OK;
    if (code == ERR_OK && t->options.asynchronous) (void)!losses_resolve(t, &why);
    if (code != ERR_OK && is_late) return error_set(err, code, "%s", why.text);
    if (is_late) {
      torture_violation(t,
                        "after %d s still: %" PRId64 " and %" PRId64 " prepared, %" PRId64
                        " not ended for the coordinator, %" PRId64 " and %" PRId64
                        " sessions in a transaction, %" PRId64 " and %" PRId64 " locks",
                        QUIET_MS_MAX / 1000, left.prepared[0], left.prepared[1], left.undecided,
                        left.sessions[0], left.sessions[1], left.locks[0], left.locks[1]);
      return ERR_OK;
    }
    process_pause_ms(POLL_MS);
  }
}

/* A daemon that does not come back is a violation. */
static enum error_code wait_ready(struct torture *t, enum stage_target target, struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  while (!stage_is_ready(t->stage, target)) {
    enum error_code code = torture_watch_over(t, err);
    if (code != ERR_OK || t->findings.violations.count > 0 || torture_interrupted()) return code;
    if ((clock_monotonic_us() - begin_us) / 1000 > READY_MS_MAX) {
      torture_violation(t, "%s is not ready after %d s", stage_target_name(target),
                        READY_MS_MAX / 1000);
      return ERR_OK;
    }
    process_pause_ms(POLL_MS);
  }
  return ERR_OK;
}

/* One whose backend was killed may still be recovering. */
static enum error_code wait_bank(struct bank *bank, struct error *err) {
  uint64_t begin_us = clock_monotonic_us();
  for (;;) {
    struct error why = {0};
    if (bank_refresh(bank, &why) == ERR_OK) return ERR_OK;
    if ((clock_monotonic_us() - begin_us) / 1000 > READY_MS_MAX || torture_interrupted())
      return error_set(err, why.code, "%s", why.text);
    process_pause_ms(POLL_MS);
  }
}

static bool wait_drained(struct torture *t) {
  uint64_t begin_us = clock_monotonic_us();
  bool is_drained = false;
  while (!is_drained && !torture_interrupted() &&
         (clock_monotonic_us() - begin_us) / 1000 < DRAIN_MS_MAX) {
    struct error later = {0};
    is_drained = load_drain(t->load, DRAIN_SLICE_MS);
    if (!is_drained && t->options.asynchronous) (void)!losses_resolve(t, &later);
    torture_show(t, false);
  }
  return is_drained;
}

enum error_code torture_settle(struct torture *t, uint64_t mended_us, struct error *err) {
  for (int i = 0; i < BANKS; i++) {
    enum error_code code = wait_bank(t->banks[i], err);
    if (code != ERR_OK) return code;
  }
  enum error_code code = ERR_OK;
  for (int i = STAGE_TARGETS - 1; code == ERR_OK && i >= 0; i--)
    if (stage_has(t->stage, (enum stage_target)i)) code = wait_ready(t, (enum stage_target)i, err);
  if (code != ERR_OK) return code;
  if (t->findings.violations.count > 0 || torture_interrupted()) return ERR_OK;
  struct error why = {0};
  bool is_drained = wait_drained(t);
  if (torture_interrupted()) return ERR_OK;
  if (load_failure(t->load, &why))
    torture_violation(t, "a client: %s", why.text);
  else if (!is_drained)
    torture_violation(t, "transfers have no outcome after %d s", DRAIN_MS_MAX / 1000);
  if (t->findings.violations.count > 0) return ERR_OK;
  code = wait_quiet(t, err);
  samples_add(&t->findings.settle_us, (int64_t)(clock_monotonic_us() - mended_us));
  t->findings.unrecovered = watch_take(t->watch, &t->findings.recovery_us);
  return code;
}

/* ---- what the daemons hold --------------------------------------------------------------------- */

static int64_t memory_kb(pid_t pid) {
  char path[64], line[256];
  int64_t kb = 0;
  (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file))
    if (sscanf(line, "VmRSS: %" SCNd64, &kb) == 1) break;
  if (file) (void)fclose(file);
  return kb;
}

/* Calls `fn` with the path of each entry; returns how many there are. */
static int64_t each_entry(const char *directory, int64_t (*fn)(const char *path)) {
  DIR *dir = opendir(directory);
  int64_t sum = 0;
  for (const struct dirent *entry; dir && (entry = readdir(dir)) != NULL;) {
    char path[1024];
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
    sum += fn(path);
  }
  if (dir) (void)closedir(dir);
  return sum;
}

static int64_t one(const char *path) {
  (void)path;
  return 1;
}

static int64_t bytes(const char *path) {
  struct stat status;
  return stat(path, &status) == 0 && S_ISREG(status.st_mode) ? (int64_t)status.st_size : 0;
}

static void keep_max(int64_t *max, int64_t value) {
  if (value > *max) *max = value;
}

static void check_daemon(struct torture *t, enum stage_target target) {
  char path[64];
  pid_t pid = stage_pid(t->stage, target);
  (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
  int64_t kb = memory_kb(pid), descriptors = each_entry(path, one);
  keep_max(&t->findings.memory_kb_max, kb);
  keep_max(&t->findings.descriptors_max, descriptors);
  if (kb > MEMORY_KB_MAX)
    torture_violation(t, "%s holds %" PRId64 " kB of memory", stage_target_name(target), kb);
  if (descriptors > DESCRIPTORS_MAX + 4 * t->options.clients)
    torture_violation(t, "%s holds %" PRId64 " descriptors", stage_target_name(target),
                      descriptors);
}

/* Transfers that the log may have to remember. */
static unsigned remembered(const struct torture *t) {
  uint64_t now_us = clock_monotonic_us();
  unsigned before = 0, rounds = t->findings.rounds;
  for (unsigned i = rounds > TORTURE_MARKS ? rounds - TORTURE_MARKS : 0; i < rounds; i++) {
    const struct torture_mark *mark = &t->marks[i % TORTURE_MARKS];
    if (now_us - mark->at_us > LOG_WINDOW_US) before = mark->transfers;
  }
  return t->first + load_begun(t->load) - before;
}

static void check_log(struct torture *t) {
  int64_t size = each_entry(stage_data_directory(t->stage, STAGE_COORDINATOR), bytes);
  keep_max(&t->findings.log_bytes_max, size);
  keep_max(&t->remembered_max, remembered(t));
  if (size > LOG_BYTES_BASE + LOG_BYTES_EACH * t->remembered_max)
    torture_violation(t, "the decision log has grown to %" PRId64 " bytes", size);
}

/* ---- all --------------------------------------------------------------------------------------- */

static enum error_code check_money(struct torture *t, struct error *err) {
  struct torture_findings *findings = &t->findings;
  enum error_code code = ledger_money(t->banks, &findings->money_after, err);
  if (code == ERR_OK && findings->money_after != findings->money_before - findings->money_lost)
    torture_violation(t,
                      "money is not conserved: %" PRId64 " before, %" PRId64 " after, %" PRId64
                      " of it lost by failovers",
                      findings->money_before, findings->money_after, findings->money_lost);
  return code;
}

static enum told told_by_load(const void *data, unsigned index) {
  return load_record(data, index)->told;
}

static enum told told_before(const void *data, unsigned index) {
  const struct torture *t = data;
  return torture_told(t, index);
}

/* The oldest transfer that is young enough to be asked for. */
static unsigned oldest_asked_for(const struct torture *t) {
  uint64_t now_us = clock_monotonic_us();
  unsigned rounds = t->findings.rounds, from = t->first;
  for (unsigned back = 1; back < rounds && back < TORTURE_MARKS; back++) {
    const struct torture_mark *mark = &t->marks[(rounds - 1 - back) % TORTURE_MARKS];
    if (now_us - mark->at_us > (uint64_t)TORTURE_RETENTION_MS * 1000 / 2) break;
    from = mark->transfers;
  }
  return from;
}

/* Nothing may be lost. */
static enum error_code check_told(struct torture *t, struct ledger_findings *ledger,
                                  struct error *err) {
  const struct ledger_claims claims = {.source = &t->source,
                                       .first = t->first,
                                       .count = load_begun(t->load),
                                       .told = told_by_load,
                                       .data = t->load};
  enum error_code code = check_money(t, err);
  if (code == ERR_OK) code = ledger_check(t->banks, &claims, ledger, err);
  return code == ERR_OK ? listing_check(t, err) : code;
}

static enum error_code check_losses(struct torture *t, struct ledger_findings *ledger,
                                    struct error *err) {
  enum error_code code = losses_check(t, ledger, err);
  if (code == ERR_OK) code = check_money(t, err);
  return code == ERR_OK ? losses_close_round(t, err) : code;
}

enum error_code torture_check(struct torture *t, struct error *err) {
  struct ledger_findings ledger = {.problems = &t->findings.violations};
  enum error_code code =
      t->options.asynchronous ? check_losses(t, &ledger, err) : check_told(t, &ledger, err);
  for (unsigned i = 0; i < ledger.transfer_count; i++)
    listing_tell(t, ledger.transfers[i]);
  if (code == ERR_OK) code = listing_ask_again(t, oldest_asked_for(t), err);
  for (int i = 0; code == ERR_OK && i < STAGE_TARGETS; i++)
    if (stage_has(t->stage, (enum stage_target)i)) check_daemon(t, (enum stage_target)i);
  if (code == ERR_OK) check_log(t);
  t->findings.checked += ledger.checked;
  return code;
}

enum error_code torture_check_all(struct torture *t, struct error *err) {
  const struct ledger_claims claims = {.source = &t->source,
                                       .count = t->first,
                                       .is_all = true,
                                       .told = told_before,
                                       .data = t,
                                       .judge = losses_judge_before,
                                       .judge_data = t};
  struct ledger_findings ledger = {.problems = &t->findings.violations};
  enum error_code code = check_money(t, err);
  if (code == ERR_OK) code = ledger_check(t->banks, &claims, &ledger, err);
  for (unsigned i = 0; i < ledger.transfer_count; i++)
    listing_tell(t, ledger.transfers[i]);
  return code;
}
