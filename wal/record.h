/* Records of the decision log in memory: checking, copying, and the sum that goes into the file. */
#ifndef ASSENT_WAL_RECORD_H
#define ASSENT_WAL_RECORD_H

#include "wal/wal.h"

/* What is wrong with the record, in words (static); NULL when it is sound. The same rules hold for
 * what may be written and for what is believed when read. */
const char *record_fault(const struct wal_record *record, const struct cluster_id *cluster);

/* A sum over all that never changes in a record (not: outcome, times after creation, cause, and how
 * the branches stand). It is kept in the file, so that a bit that flipped there is noticed. */
int64_t record_sum(const struct wal_record *record);

/* Of a transaction that has ended: all its branches have, the same way, whether each was confirmed in the
 * log or not. Where one has not (mixed), the log has every confirmation. */
void record_end_branches(struct wal_branch *branches, size_t count, enum wal_outcome outcome);

/* Owner: free(), one block. Never NULL: see memory_must(). */
struct wal_record *record_copy(const struct wal_record *record);

/* The same for keys. The sum is over all of it. */
const char *key_fault(const struct wal_key *key);
int64_t key_sum(const struct wal_key *key);
struct wal_key *key_copy(const struct wal_key *key);

/* Out of memory ends the process: the log is built to be recovered, and there is no caller that
 * could do better with a decision half handed over. Returns `memory`. */
void *memory_must(void *memory);
char *text_copy(const char *text); /* NULL gives NULL; free() */

struct record_list {
  struct wal_record *items; /* what they point to is owned by `blocks` */
  struct wal_record **blocks;
  size_t count, capacity;
};
void record_list_add(struct record_list *list, const struct wal_record *record);
void record_list_clear(struct record_list *list);

#endif
