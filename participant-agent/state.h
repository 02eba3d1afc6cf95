/* The agent's state directory: who this agent is, and the epochs that a database would not keep.
 *
 *   lock                             held by the process that uses the directory
 *   agent_id                         made once; names the agent for ever
 *   epoch.<cluster>.<participant>    "<epoch> <run id>", replaced as a whole
 */
#ifndef ASSENT_PARTICIPANT_AGENT_STATE_H
#define ASSENT_PARTICIPANT_AGENT_STATE_H

#include <stdbool.h>

#include "adapters/adapter.h"
#include "participant-agent/sessions.h"

struct state_dir {
  int lock; /* -1: none */
  char agent_id[AGENT_ID_SIZE];
};

/* Makes the directory (mode 0700) and what is missing in it. ERR_CONFIG when another process has
 * it; ERR_IO with the path and the reason. Blocks. */
enum error_code state_dir_open(const char *path, struct state_dir *out, struct error *err)
    __attribute__((warn_unused_result));
void state_dir_close(struct state_dir *dir);

/* The epoch on file, if there is one: `*known` 0 and run_id "" when not. */
enum error_code state_epoch_read(const char *path, const char *participant,
                                 const struct cluster_id *cluster, uint64_t *known,
                                 char run_id[RUN_ID_SIZE], struct error *err)
    __attribute__((warn_unused_result));
/* Durable on return. Blocks for an fsync: once a fence, where a database refuses to keep it. */
enum error_code state_epoch_write(const char *path, const char *participant,
                                  const struct epoch_claim *claim, struct error *err)
    __attribute__((warn_unused_result));

#endif
