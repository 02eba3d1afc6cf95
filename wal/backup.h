/* A copy of a decision log, made while a coordinator may be using it. */
#ifndef ASSENT_WAL_BACKUP_H
#define ASSENT_WAL_BACKUP_H

#include <stdint.h>

#include "common/error.h"
#include "common/id.h"

struct log_backup {
  struct cluster_id cluster;
  uint64_t epoch;
  uint64_t commits;    /* made in the log until then */
  uint64_t unfinished; /* transactions decided and not at their end */
};

/* Copies the log at `path` to `to`, one file, mode 0600, durable on return. It has all that was told
 * before the call, and is marked as a copy: a coordinator does not open it as its log. `to` must not
 * be there. The coordinator goes on meanwhile; only its log's -wal file grows. Blocks.
 * Errors: ERR_LOG with what is wrong; then `to` is not there. */
enum error_code log_backup(const char *path, const char *to, struct log_backup *out,
                           struct error *err) __attribute__((warn_unused_result));

#endif
