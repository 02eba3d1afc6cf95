/* A model of the decision log's disk. wal/wal.h stands on it: disk.c takes the jobs of
 * wal/calls.c, with the writer's thread as events. The queue gathers while a group is being written, lazy
 * records wait for a group or their time.
 *
 * What the file holds and what the living process sees are two things: after a failed write the file
 * may hold more than was answered, and after a crash less than was seen.
 */
#ifndef ASSENT_TESTS_SIM_DISK_H
#define ASSENT_TESTS_SIM_DISK_H

#include "tests/sim/process.h"
#include "wal/wal.h"

struct disk;

struct disk *disk_new(struct sim *sim);
/* As it stands on the disk at this moment: a backup, a copied file. */
struct disk *disk_copy(const struct disk *disk);
void disk_free(struct disk *disk);

/* ---- what the checks look at ------------------------------------------------------------------ */

struct disk_entry {
  const struct wal_record *record;
  bool ended;
  bool removed; /* its retention time is over: it is there for the checks alone */
  int64_t ended_at_us;
};

/* The durable record, also when it has been removed since; NULL: none. An ABORTED note is no decision. */
const struct disk_entry *disk_find(const struct disk *disk, const char *txid);
size_t disk_count(const struct disk *disk);
const struct disk_entry *disk_at(const struct disk *disk, size_t index);
bool disk_is_audited(const struct disk *disk, const char *txid, const char *event);
uint64_t disk_epoch(const struct disk *disk);
const struct cluster_id *disk_cluster(const struct disk *disk);
bool disk_is_open(const struct disk *disk);

#endif
