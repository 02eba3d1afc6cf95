/* One coordinator a log: the lock file beside it. */
#ifndef ASSENT_WAL_LOCK_H
#define ASSENT_WAL_LOCK_H

#include "common/error.h"
#include "common/id.h"

struct log_lock {
  int fd; /* -1: not held */
  struct cluster_id
      cluster; /* of the log that lived here when the lock was last held; "" if none */
};

/* Takes the lock of the log at `log_path`, for as long as the process lives or until release.
 * Errors: ERR_LOG; when another holds it, with its process id if it could be read. */
enum error_code log_lock_take(struct log_lock *out, const char *log_path, struct error *err)
    __attribute__((warn_unused_result));
/* Notes whose log this is, for log_lock_take() to find when the log itself has gone. */
void log_lock_note(const struct log_lock *lock, const struct cluster_id *cluster);
void log_lock_release(struct log_lock *lock);

#endif
