/* A decision log that is lost or not to be believed: what is left of it, and a new one in its place.
 *
 * What a record says that can be read and has its sum is true, whatever the file lacks: a decision is
 * never taken back. Nothing that is there is changed or removed: the former files are set aside as
 * PATH.lost-1 (PATH.lost-1-wal), PATH.lost-2, and so on, and are read again by the next rebuilding, so
 * that one that was killed loses nothing. For one thread. Blocks.
 */
#ifndef ASSENT_WAL_REBUILD_H
#define ASSENT_WAL_REBUILD_H

#include <limits.h>

#include "wal/wal.h"

struct log_rebuild;

/* A file that is, or was, this log. */
struct log_remnant {
  char path[PATH_MAX];
  bool readable;             /* something in it can be used */
  struct cluster_id cluster; /* "": not known */
  uint64_t epoch;
  uint64_t records, damaged; /* that could be read, and that could not */
  char note[512];            /* why it is not the log as it is; "": nothing is wrong with it */
};

enum { REMNANTS_MAX = 100 };

/* Takes the lock of the log at `path`, so that no coordinator runs on it, and reads what is there.
 * Errors: ERR_LOG: a coordinator runs; the directory cannot be used. */
enum error_code log_rebuild_begin(struct log_rebuild **out, const char *path, struct error *err)
    __attribute__((warn_unused_result));
void log_rebuild_free(struct log_rebuild *rebuild);

const struct log_remnant *log_rebuild_remnants(const struct log_rebuild *rebuild, size_t *count);
/* The cluster whose log it is, as the lock file or else a remnant tells; "": nothing tells. */
const struct cluster_id *log_rebuild_cluster(const struct log_rebuild *rebuild);
/* For when nothing tells: remnants of other clusters are left aside from here on. */
void log_rebuild_set_cluster(struct log_rebuild *rebuild, const struct cluster_id *cluster);
uint64_t
log_rebuild_epoch(const struct log_rebuild *rebuild); /* the highest that a remnant knows */

/* A decision if any remnant has one, else a note of an abort, else NULL. Owner: the caller, free(). */
struct wal_record *log_rebuild_find(struct log_rebuild *rebuild, const struct txid *txid);

struct log_audit_line {
  struct txid txid; /* "": of none */
  const char *event, *detail;
};

/* Makes the new log: what the remnants have, `records` (COMMIT unfinished, ABORTED as notes) and
 * `lines`; its last life is (epoch, run_id). Sets the former files aside and puts it in their place,
 * durable on return; `aside` names where they are, "" when there were none. Once. */
struct log_rebuilt {
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
  const struct wal_record *records;
  size_t record_count;
  const struct log_audit_line *lines;
  size_t line_count;
};
enum error_code log_rebuild_finish(struct log_rebuild *rebuild, const struct log_rebuilt *made,
                                   char aside[PATH_MAX], struct error *err)
    __attribute__((warn_unused_result));

#endif
