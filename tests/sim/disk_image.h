/* What a decision log holds: the same table for the file and for the living process's view of it. Used
 * by disk.c alone. */
#ifndef ASSENT_TESTS_SIM_DISK_IMAGE_H
#define ASSENT_TESTS_SIM_DISK_IMAGE_H

#include "tests/sim/disk.h"
#include "wal/job.h"

/* Keys are in it as well as in the records that they came with. */
struct image_audit {
  char txid[TXID_SIZE];
  char event[32];
};

struct image {
  struct disk_entry *entries; /* records owned: free() */
  size_t count, capacity;
  struct image_audit *audits;
  size_t audit_count;
  struct wal_key **keys; /* owned: free() each */
  size_t key_count;
};

void image_clear(struct image *image);
void image_copy(struct image *to, const struct image *from); /* `to` is cleared first */

/* As the store does it; asserts what it asserts. False: a second decision of the same transaction, or
 * a second transaction of the same key. */
bool image_apply(struct image *image, const struct job *job);
const struct disk_entry *image_find(const struct image *image, const char *txid);
/* What has ended by then, in the file, is removed from it and from the view of it. */
void image_remove(struct image *file, struct image *view, int64_t ended_us);
/* Fills what a look-up or a list is answered with. */
void image_read(const struct image *image, struct job *job);

#endif
