/* Looks over SQLite's write-ahead file before SQLite opens it. */
#ifndef ASSENT_WAL_SQLITE_FRAMES_H
#define ASSENT_WAL_SQLITE_FRAMES_H

#include "common/error.h"

/* `path` is that of the -wal file; none there is fine. On return it holds nothing that SQLite would
 * silently pass over, as far as can be told, and what is valid in it is on the disk.
 * Errors: ERR_LOG: damaged; unreadable. */
enum error_code frames_check(const char *path, struct error *err)
    __attribute__((warn_unused_result));

#endif
