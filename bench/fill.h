/* A decision log that looks as one does after so many transactions, made without running them. */
#ifndef ASSENT_BENCH_FILL_H
#define ASSENT_BENCH_FILL_H

#include <stdint.h>

/* Makes the log at `path`, which is not there: a whole, sound one, with `count` finished transactions of the
 * two banks, begun at even distances from `oldest_ms` ago to `newest_ms` ago. Of 100 of them 2 have
 * aborted, and 50 have a label. */
void fill_log(const char *path, uint64_t count, int64_t oldest_ms, int64_t newest_ms);
/* Out of the system's memory, on the disk, as after a reboot. Returns the size of the file. */
uint64_t fill_put_out(const char *path);
/* How many began longer ago. Of a log that nobody has open. */
uint64_t fill_count_older(const char *path, int64_t age_ms);

#endif
