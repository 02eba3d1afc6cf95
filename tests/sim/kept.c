/* See kept.h. A write is durable on return, as state.h says, or fails. */
#include "tests/sim/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "participant-agent/state.h"
#include "tests/sim/process.h"

enum { KEPT_MAX = 8 };

struct kept_epoch {
  char participant[32];
  struct epoch_claim claim;
};

struct state_kept {
  struct kept_epoch epochs[KEPT_MAX];
  size_t count;
};

struct state_kept *kept_new(void) {
  struct state_kept *kept = calloc(1, sizeof *kept);
  if (!kept) abort();
  return kept;
}

void kept_free(struct state_kept *kept) {
  free(kept);
}

static struct kept_epoch *find(const char *participant, const struct cluster_id *cluster) {
  struct state_kept *kept = process_current()->kept;
  for (size_t i = 0; i < kept->count; i++)
    if (strcmp(kept->epochs[i].participant, participant) == 0 &&
        strcmp(kept->epochs[i].claim.cluster.text, cluster->text) == 0)
      return &kept->epochs[i];
  return NULL;
}

enum error_code state_epoch_read(const char *path, const char *participant,
                                 const struct cluster_id *cluster, uint64_t *known,
                                 char run_id[RUN_ID_SIZE], struct error *err) {
  (void)path;
  (void)err;
  const struct kept_epoch *epoch = find(participant, cluster);
  *known = epoch ? epoch->claim.epoch : 0;
  (void)snprintf(run_id, RUN_ID_SIZE, "%s", epoch ? epoch->claim.run_id : "");
  return ERR_OK;
}

enum error_code state_epoch_write(const char *path, const char *participant,
                                  const struct epoch_claim *claim, struct error *err) {
  (void)path;
  if (process_current()->dead) return ERR_OK; /* nothing that a dead process does has an effect */
  struct state_kept *kept = process_current()->kept;
  struct kept_epoch *epoch = find(participant, &claim->cluster);
  if (!epoch && kept->count == KEPT_MAX)
    return error_set(err, ERR_IO, "the state directory is full");
  if (!epoch) epoch = &kept->epochs[kept->count++];
  (void)snprintf(epoch->participant, sizeof epoch->participant, "%s", participant);
  epoch->claim = *claim;
  return ERR_OK;
}
