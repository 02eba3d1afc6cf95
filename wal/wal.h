/* The decision log: what the coordinator has promised, durable.
 *
 * One log belongs to one cluster id, made with it, for ever. One process has it open at a time: a
 * second wal_open() fails with the reason. The backend is SQLite (sqlite.c), journal_mode=WAL and
 * synchronous=FULL; one writer thread owns the handle. While one fsync runs further records gather,
 * and the next takes them all (group commit). All calls below are made on the loop thread and
 * return at once, apart from wal_open() and wal_close(); every callback comes on the loop thread,
 * on a later turn, in the order of the calls; only that of wal_list() may come after those of later
 * calls.
 *
 * Invariants, which recovery leans on:
 *  1. The epoch in the file grows at every wal_open(), durably, before it returns, and with it the
 *     list of lives (epoch, run id).
 *  2. A txid has at most one decision, ever; a second wal_decide() of it is a bug and asserts.
 *  3. When wal_decide() calls back WAL_DURABLE, the record survives kill and power loss.
 *  4. WAL_REFUSED means that the record is proven absent (disk full, and the file was read again):
 *     it will not show up after a restart.
 *  5. WAL_UNKNOWN means neither: the record may or may not be there after a restart. From the first
 *     one on the log is poisoned: every later call answers WAL_UNKNOWN, and the process must stop
 *     and recover from the file (an fsync that failed once cannot be repeated into success).
 *  6. Lazy records (confirm, end, aborted) become durable with some later group, or within
 *     lazy_flush_ms when the disk allows; losing them costs repeated work, never a promise. A full
 *     disk keeps them waiting in memory, and decisions are refused, not lost.
 *  7. Reads see every record handed in before them, durable or not.
 *  8. A decided transaction is kept for retention_ms after its end record; one without an end
 *     record is kept for ever. Expired ones are removed in small steps between groups, also where
 *     nobody asks the log anything, from the end of wal_each_unfinished() on.
 *  9. The key of a request comes with the decision of its transaction, in one group, or not at all. It
 *     is kept for key_retention_ms after it was last written and its transaction has ended; and while it
 *     has no answer, so is the record from which one can be made.
 */
#ifndef ASSENT_WAL_WAL_H
#define ASSENT_WAL_WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/fingerprint.h"
#include "common/id.h"
#include "common/loop.h"
#include "common/message.h"
#include "common/metrics.h"

struct wal;

struct wal_options {
  int64_t retention_ms;     /* of ended transactions; see docs: longer than a failover may take. 0:
                            removed as soon as they have ended */
  int64_t key_retention_ms; /* of keys; 0: removed as soon as their transactions have ended */
  int64_t lazy_flush_ms;    /* 0: 100 */
  int64_t rest_ms;          /* without a call, until memory is given back to the system; 0: 5000 */
};

/* Opens or makes the log at `path` (with -wal beside it). On return: the lock is held, the file has
 * been checked to be a log of a format we know, and a new epoch is durable. Blocks.
 * Errors: ERR_LOG with what is wrong and what to do: locked by another coordinator, not a log, a
 * newer format, corrupt, unreadable. */
enum error_code wal_open(struct wal **out, struct loop *loop, const char *path,
                         const struct wal_options *options, struct error *err)
    __attribute__((warn_unused_result));
/* Writes what was handed in, lazy records too, and closes. Blocks for at most what is queued. No
 * callback comes from here on: whoever asked may be gone. Not to be called from a callback of the
 * log. */
void wal_close(struct wal *wal);

const struct cluster_id *wal_cluster(const struct wal *wal);
uint64_t wal_epoch(const struct wal *wal);
/* Names this life of the log: made by wal_open(), durable with its epoch. */
const char *wal_run_id(const struct wal *wal);
/* Has this log had this life? What a participant knows and this log has not had, another copy of
 * the log has done. */
bool wal_had_life(const struct wal *wal, uint64_t epoch, const char *run_id);

/* ---- records -------------------------------------------------------------------------------- */

enum wal_kind {
  WAL_KIND_ABORTED,  /* lazy note for readers; its absence means the same */
  WAL_KIND_COMMIT,   /* every branch must commit */
  WAL_KIND_DELEGATED /* one phase: the sole branch's xid decides; recovery asks how it ended */
};

/* Transaction-level outcome as known; WAL_OUTCOME_NONE only for DELEGATED before its answer. */
enum wal_outcome {
  WAL_OUTCOME_NONE,
  WAL_OUTCOME_COMMITTED,
  WAL_OUTCOME_ABORTED,
  WAL_OUTCOME_MIXED
};

struct wal_branch {
  unsigned id;              /* from 1 */
  const char *participant;  /* at most 63 bytes */
  const char *gid;          /* of this cluster, this txid and this id */
  const char *xid, *server; /* as voted, "" if none */
  bool read_only;           /* left at prepare: nothing to confirm */
  bool confirmed;           /* has the outcome, verified */
  /* RETRY until confirmed; differs from the decision after a heuristic. */
  enum branch_outcome outcome;
};

/* A request that its client has named, so that it can be repeated; and what it was answered. */
enum { KEY_NAME_MAX = 255, KEY_NAMESPACE_MAX = 63, OWNER_MAX = KEY_NAMESPACE_MAX };
struct wal_key {
  const char *name_space;  /* whose key it is; "" as long as there are no tokens */
  const char *name;        /* 1 to KEY_NAME_MAX printable ASCII characters */
  const char *fingerprint; /* of the request: FINGERPRINT_SIZE - 1 hexadecimal digits */
  struct txid txid;        /* of the transaction it has made */
  int64_t at_us;           /* wall clock; retention counts from here */
  int status;              /* of the answer (HTTP); 0: not answered yet */
  const char *body;        /* of the answer; NULL: not answered yet */
  const char *results;     /* for an answer to come, a line for each branch; NULL: none */
};

/* A line of wal_audit(). */
struct wal_line {
  int64_t at_us; /* wall clock */
  unsigned branch;
  const char *event, *detail; /* at most WAL_EVENT_MAX bytes; cut after WAL_DETAIL_MAX */
};
enum { WAL_LINES_MAX = 64, WAL_EVENT_MAX = 63, WAL_DETAIL_MAX = 1023 };

struct wal_record {
  struct txid txid;
  enum wal_kind kind;
  enum wal_outcome outcome;
  const char *label; /* NULL: none; at most 1023 bytes */
  const char *owner; /* whose it is: a token's name, of at most OWNER_MAX bytes; NULL: nobody's */
  int64_t created_at_us, decided_at_us, applied_at_us; /* wall clock; 0: not yet */
  int64_t timeout_ms;
  bool wait_decided;  /* the client asked for `decided`: it may know before the branches do */
  struct cause cause; /* of an abort */
  /* Ids ascending; one for DELEGATED, at least one for COMMIT. */
  const struct wal_branch *branches;
  size_t branch_count;
  /* Written with the record. NULL: none; and in what is read: wal_look_up_key() tells. */
  const struct wal_key *key;
  /* In what is read, but for lists: the first WAL_LINES_MAX lines about it, oldest first. */
  const struct wal_line *lines;
  size_t line_count;
};

enum wal_result { WAL_UNKNOWN, WAL_REFUSED, WAL_DURABLE };
typedef void (*wal_decided_fn)(void *data, enum wal_result result, const struct error *err);

/* Writes a COMMIT or DELEGATED record, with its first outcome (COMMITTED or NONE). It is copied. */
void wal_decide(struct wal *wal, const struct wal_record *record, wal_decided_fn fn, void *data);

/* Lazy: branch `id` has reached `outcome` (not RETRY), verified, at wall time `at_us`. This and
 * wal_end() do nothing where retention has removed the record. */
void wal_confirm(struct wal *wal, const struct txid *txid, unsigned id, enum branch_outcome outcome,
                 int64_t at_us);
/* Lazy: all branches confirmed, each with this outcome unless it is MIXED: then wal_confirm() has been
 * called for each. `outcome` settles a DELEGATED record (with `cause` when it
 * aborted, else NULL), and records MIXED after a heuristic. A time of 0 leaves what is there. */
void wal_end(struct wal *wal, const struct txid *txid, enum wal_outcome outcome,
             const struct cause *cause, int64_t decided_at_us, int64_t applied_at_us);
/* Lazy: an ABORTED record, whole: no end follows. Copied. Once more for the same txid changes
 * nothing; for a decided one it is a bug and asserts. */
void wal_note_aborted(struct wal *wal, const struct wal_record *record);

/* A free-text line that must outlive the process: heuristics, operator actions. Durable on
 * callback. */
void wal_audit(struct wal *wal, const struct txid *txid, unsigned branch, const char *event,
               const char *detail, int64_t at_us, wal_decided_fn fn, void *data);

/* An audit line, and, written with it or not at all, what it is about: whoever reads the one finds the other. */
struct wal_alarm {
  unsigned branch;
  const char *event, *detail;
  int64_t at_us;
  enum branch_outcome outcome;    /* of the branch, as wal_confirm() has it; RETRY: none */
  const struct wal_record *noted; /* as wal_note_aborted() has it; NULL: none */
};
void wal_alarm(struct wal *wal, const struct txid *txid, const struct wal_alarm *alarm,
               wal_decided_fn fn, void *data);

/* The answer to a request with a key, in place of what is known of it. The first is lazy, for what is
 * decided: the answer can be made again from its record. The second is for what leaves no decision. */
void wal_answer(struct wal *wal, const struct wal_key *key);
void wal_remember(struct wal *wal, const struct wal_key *key, wal_decided_fn fn, void *data);

/* ---- reading -------------------------------------------------------------------------------- */

/* Every record without an end, oldest first; before any other call, blocking, at start. Return
 * non-OK from fn to stop. */
typedef enum error_code (*wal_each_fn)(void *data, const struct wal_record *record,
                                       struct error *err);
enum error_code wal_each_unfinished(struct wal *wal, wal_each_fn fn, void *data, struct error *err)
    __attribute__((warn_unused_result));

/* `record` NULL with `err` NULL: the log has none. Borrowed for the call. */
typedef void (*wal_found_fn)(void *data, const struct wal_record *record, const struct error *err);
void wal_look_up(struct wal *wal, const struct txid *txid, wal_found_fn fn, void *data);

/* `key` NULL with `err` NULL: there is none. `record`: of its transaction; NULL: the log has none. */
typedef void (*wal_key_found_fn)(void *data, const struct wal_key *key,
                                 const struct wal_record *record, const struct error *err);
void wal_look_up_key(struct wal *wal, const char *name_space, const char *name, wal_key_found_fn fn,
                     void *data);

struct wal_filter {
  struct txid before;       /* "" : from the newest; else only txids less than this */
  enum wal_outcome outcome; /* NONE: any; COMMITTED and ABORTED also give the MIXED ones
                                 that were decided so */
  bool applied_only;        /* only records with an end */
  const char *participant;  /* NULL: any; one with a branch there */
  const char *label;        /* NULL: any; equality */
  const char *owner;        /* NULL: any, and nobody's */
  unsigned limit;           /* 1..1000 */
};
/* Newest first. What fits is looked for in small steps between groups: however much there is to look
 * through, decisions do not wait for it. */
typedef void (*wal_listed_fn)(void *data, const struct wal_record *records, size_t count,
                              const struct error *err);
void wal_list(struct wal *wal, const struct wal_filter *filter, wal_listed_fn fn, void *data);

struct wal_stats {
  uint64_t decisions, groups; /* groups = fsyncs that carried something */
  uint64_t last_group_us;     /* how long the last COMMIT took */
  bool poisoned;              /* see invariant 5; may come before any callback tells */
};
struct wal_stats wal_stats(const struct wal *wal);
/* Decisions and audit lines that shared a COMMIT, and how long each COMMIT took, lazy ones too, in
 * seconds: since the start. */
void wal_histograms(struct wal *wal, struct histogram *group_sizes, struct histogram *commits);

#endif
