/* Logs of an older format. See sqlite.c for the format.
 *
 *   2 -> 3   the table `request` is added
 *   3 -> 4   an index of ends goes, and the triggers that counted what is unfinished: who writes counts
 *   4 -> 5   the table `owner` is added
 *   5 -> 6   an index of audit lines by transaction
 *
 * A start brings the log to the present format, after it was found sound and before anything is written
 * to it, in one SQLite transaction, which counts as a commit like any other. Who only reads a log (a
 * backup, a rebuilding) leaves its format as it is. There is no way back: a program that does not know
 * the format refuses the log.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "wal/sqlite.h"

static const struct step {
  unsigned to; /* this format */
  const char *change;
  const char
      *stand_in; /* for a table that is added: in memory, for who only reads; and its removal */
  const char *drop;
} steps[] = {
    {3, sqlite_request_schema,
     "PRAGMA temp_store=MEMORY; CREATE TEMP TABLE request (id, name_space, name, fingerprint, txid,"
     " at_us, status, body, results, sum, UNIQUE (name_space, name))",
     "DROP TABLE temp.request"},
    {4, "DROP INDEX txn_ended; DROP TRIGGER txn_begun; DROP TRIGGER txn_done", NULL, NULL},
    {5, sqlite_owner_schema,
     "PRAGMA temp_store=MEMORY; CREATE TEMP TABLE owner (txid PRIMARY KEY, name)",
     "DROP TABLE temp.owner"},
    {6, "CREATE INDEX audit_txid ON audit (txid)", NULL, NULL},
};
enum { STEP_COUNT = sizeof steps / sizeof steps[0] };

enum store_result sqlite_learn_format(struct store *store, struct error *err) {
  char answer[16];
  enum store_result result = sqlite_ask(store, "PRAGMA user_version", answer, sizeof answer, err);
  if (result != STORE_OK) return result;
  store->format = (unsigned)strtoul(answer, NULL, 10);
  if (store->format < LOG_FORMAT_OLDEST || store->format > LOG_FORMAT) {
    (void)error_set(err, ERR_LOG, "decision log %s has format %u, unlike its first page",
                    store->path, store->format);
    return STORE_FAILED;
  }
  for (size_t i = 0; i < STEP_COUNT && result == STORE_OK; i++)
    if (store->format < steps[i].to && steps[i].stand_in)
      result = sqlite_run_text(store, steps[i].stand_in, err);
  return result;
}

enum store_result sqlite_upgrade(struct store *store, struct log_meta *meta, struct error *err) {
  char end[120];
  enum store_result result = STORE_OK;
  if (store->format == LOG_FORMAT) return STORE_OK;
  sqlite_finalize_all(store);
  (void)snprintf(end, sizeof end,
                 "PRAGMA user_version=%d; UPDATE meta SET commits = commits + 1; COMMIT",
                 LOG_FORMAT);
  for (size_t i = 0; i < STEP_COUNT && result == STORE_OK; i++)
    if (store->format < steps[i].to && steps[i].drop)
      result = sqlite_run_text(store, steps[i].drop, err);
  if (result == STORE_OK) result = sqlite_run_text(store, "BEGIN IMMEDIATE", err);
  for (size_t i = 0; i < STEP_COUNT && result == STORE_OK; i++)
    if (store->format < steps[i].to) result = sqlite_run_text(store, steps[i].change, err);
  if (result == STORE_OK) result = sqlite_run_text(store, end, err);
  if (result != STORE_OK) return result;
  log_info("decision_log_upgraded", "from", "d", (int64_t)store->format, "to", "d",
           (int64_t)LOG_FORMAT, NULL);
  store->format = LOG_FORMAT;
  meta->commits++;
  return sqlite_prepare_all(store, err);
}
