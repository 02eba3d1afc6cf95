/* What the log's writer needs of a backend: the file, transactions on it, and the records in it.
 *
 * All calls block, and are made by one thread at a time. The first write begins a transaction,
 * which stays open until store_commit(); reads see what it holds.
 *
 *   idle --a write--> in transaction --store_commit()--> idle
 *                           |                      |
 *                           +--- STORE_FULL -------+--> store_reopen() --> idle, all of it undone
 *                           +--- STORE_FAILED -----+--> store_close(sound = false), for good
 */
#ifndef ASSENT_WAL_STORE_H
#define ASSENT_WAL_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/id.h"
#include "wal/record.h"

enum { PARTICIPANT_MAX = 63, LABEL_MAX = 1023, REMOVE_STEP_MAX = 500, LIST_STEP_MAX = 1000 };

struct store;

enum store_result {
  STORE_FAILED,     /* memory and file may disagree: nothing more may be done with this store */
  STORE_FULL,       /* no space; nothing of this transaction can be kept: store_reopen() */
  STORE_UNREADABLE, /* reads only: a row does not decode; the store itself works */
  STORE_OK
};

/* See wal_open(): lock held, file checked, new epoch durable. */
enum error_code store_open(struct store **out, const char *path, struct error *err)
    __attribute__((warn_unused_result));
/* Undoes an open transaction. `sound` false: leaves the file exactly as it is, for recovery. */
void store_close(struct store *store, bool sound);
/* After STORE_FULL: closes the file and reads it again, so that what a look-up then finds or does
 * not find is what a restart would. The lock is kept all the while. */
enum store_result store_reopen(struct store *store, struct error *err)
    __attribute__((warn_unused_result));

const struct cluster_id *store_cluster(const struct store *store);
uint64_t store_epoch(const struct store *store);
/* Every start this log has seen, the present one last. */
struct log_life {
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
};
const struct log_life *store_lives(const struct store *store, size_t *count);

/* ---- writes --------------------------------------------------------------------------------- */

struct store_confirm {
  struct txid txid;
  unsigned branch;
  enum branch_outcome outcome;
  int64_t at_us;
};

struct store_end {
  struct txid txid;
  enum wal_outcome outcome;
  bool has_cause;
  struct cause cause;
  int64_t decided_at_us, applied_at_us; /* 0: as they were */
  int64_t ended_at_us;                  /* wall clock; retention counts from here */
};

struct store_audit {
  int64_t id; /* from store_next_audit_id() */
  struct txid txid;
  unsigned branch;
  const char *event, *detail;
  int64_t at_us;
};

/* `ended_at_us` 0: a decision, which must not be there yet (else it asserts). Not 0: an ABORTED
 * note; one more of the same txid changes nothing, one of a decided txid asserts. */
enum store_result store_put(struct store *store, const struct wal_record *record,
                            int64_t ended_at_us, struct error *err)
    __attribute__((warn_unused_result));
/* These two do nothing where retention has removed the record. */
enum store_result store_confirm(struct store *store, const struct store_confirm *confirm,
                                struct error *err) __attribute__((warn_unused_result));
enum store_result store_end(struct store *store, const struct store_end *end, struct error *err)
    __attribute__((warn_unused_result));
int64_t store_next_audit_id(struct store *store);
enum store_result store_audit(struct store *store, const struct store_audit *audit,
                              struct error *err) __attribute__((warn_unused_result));
/* In place of what is there of this key, which must be of the same transaction (else it asserts). */
enum store_result store_put_key(struct store *store, const struct wal_key *key, struct error *err)
    __attribute__((warn_unused_result));
/* Removes up to REMOVE_STEP_MAX records that ended at or before `ended_at_us`; but no record of which a
 * request still needs an answer. */
enum store_result store_remove_ended(struct store *store, int64_t ended_at_us, unsigned *removed,
                                     struct error *err) __attribute__((warn_unused_result));
/* Removes up to REMOVE_STEP_MAX keys that were last written at or before `at_us`, and whose transactions
 * had ended by then. */
enum store_result store_remove_keys(struct store *store, int64_t at_us, unsigned *removed,
                                    struct error *err) __attribute__((warn_unused_result));

/* STORE_OK: durable. */
enum store_result store_commit(struct store *store, struct error *err)
    __attribute__((warn_unused_result));

/* ---- reads ---------------------------------------------------------------------------------- */

/* *out NULL: there is none. Borrowed until the next call. */
enum store_result store_find(struct store *store, const struct txid *txid,
                             const struct wal_record **out, struct error *err)
    __attribute__((warn_unused_result));
enum store_result store_has_decision(struct store *store, const struct txid *txid, bool *out,
                                     struct error *err) __attribute__((warn_unused_result));
/* *out NULL: there is none. Owner: the caller, free(). */
enum store_result store_find_key(struct store *store, const char *name_space, const char *name,
                                 struct wal_key **out, struct error *err)
    __attribute__((warn_unused_result));
/* Is just this answer there? */
enum store_result store_has_answer(struct store *store, const struct wal_key *key, bool *out,
                                   struct error *err) __attribute__((warn_unused_result));
enum store_result store_has_audit(struct store *store, int64_t id, bool *out, struct error *err)
    __attribute__((warn_unused_result));
/* One step of a list: looks at the next LIST_STEP_MAX candidates at most, and adds to `out` what fits, until
 * it has filter->limit. *rest: where the next step begins, as filter->before; "" when the list is whole. */
enum store_result store_list(struct store *store, const struct wal_filter *filter,
                             struct record_list *out, struct txid *rest, struct error *err)
    __attribute__((warn_unused_result));
enum error_code store_each_unfinished(struct store *store, wal_each_fn fn, void *data,
                                      struct error *err) __attribute__((warn_unused_result));
/* When the earliest ended record ended; 0: there is none. */
enum store_result store_earliest_end(struct store *store, int64_t *out, struct error *err)
    __attribute__((warn_unused_result));
/* When the earliest key was last written; 0: there is none. */
enum store_result store_earliest_key(struct store *store, int64_t *out, struct error *err)
    __attribute__((warn_unused_result));

/* ---- upkeep --------------------------------------------------------------------------------- */

/* Enough has been written since the last one that store_checkpoint() is due. */
bool store_wants_checkpoint(const struct store *store);
/* Not in a transaction. Frees the pages that are kept in memory: they are read again when they are wanted. */
void store_rest(struct store *store);
/* Not in a transaction. STORE_FULL is harmless here: nothing was lost, and it is tried again later.
 * While a backup is being made nothing is done, and it is tried again later, too. */
enum store_result store_checkpoint(struct store *store, struct error *err)
    __attribute__((warn_unused_result));

#endif
