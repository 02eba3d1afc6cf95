/* One coordinator a log: the lock file beside it, and what it remembers of the log. */
#ifndef ASSENT_WAL_LOCK_H
#define ASSENT_WAL_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/error.h"
#include "common/id.h"

/* What the log had when that was last noted. A log that has less has lost something. */
struct log_mark {
  struct cluster_id cluster; /* "": none has lived here */
  uint64_t commits;          /* as in the log's table meta; 0: not known */
};

struct log_lock {
  int fd;               /* -1: not held */
  struct log_mark mark; /* of the log that lived here when the lock was last held */
};

/* Takes the lock of the log at `log_path`, for as long as the process lives or until release.
 * Errors: ERR_LOG; when another holds it, with its process id if it could be read. */
enum error_code log_lock_take(struct log_lock *out, const char *log_path, struct error *err)
    __attribute__((warn_unused_result));
/* Notes what the log has now; log_lock_take() finds it. `durable`: waits for the disk; else it
 * survives the process, and after a power cut an older mark may be found. */
void log_lock_note(const struct log_lock *lock, const struct log_mark *mark, bool durable);
void log_lock_release(struct log_lock *lock);

/* What is noted of the log at `log_path`, without any lock; zeros where there is nothing. */
struct log_mark log_mark_read(const char *log_path);

/* While somebody holds the files still, to copy them, nothing is moved from the -wal file to the
 * log, so that the log does not change and the -wal file only grows. False: it is held still now
 * (`wait`: never). */
bool log_move_begin(const struct log_lock *lock, bool wait);
void log_move_end(const struct log_lock *lock);
/* Returns a descriptor to close when the copy is made; -1 and an error when there is no lock file. */
int log_hold_still(const char *log_path, struct error *err);

#endif
