/* A new decision log in the place of one that is lost or not to be believed: outcomes are found out
 * from what is left, from the databases and from agents that still run.
 *
 * The argument. A client that waited for `applied` was told `committed` when every branch had
 * committed. So of a transaction of which some branch is still prepared nothing was told, and the
 * branches alone are enough: where one has committed, all must; where none has, none needs to. What
 * the databases do not show is a branch that has committed already. Evidence, the first that tells:
 *
 *   1. a record in what is left of the log: a decision is true for ever
 *   2. a branch that is prepared has not committed (the databases list them)
 *   3. a row that a branch left when it committed (`outcome_table`), and that there is none
 *   4. what an agent remembers, and that it does not, where it would
 *
 * Without any of these for one participant it cannot be known whether the transaction has committed
 * there: then it stays as it is until an operator says. Nothing is ever guessed.
 *
 * What is done is little: all participants are fenced, so that nothing more becomes prepared; it is
 * looked once more; and the outcomes are written into a new log of the same cluster, with an epoch
 * and a life that the participants have just been shown. The coordinator's next start does the rest,
 * as after any crash. Killed at any moment, it can be run again. Blocks; runs the loop itself.
 */
#ifndef ASSENT_COORDINATOR_REBUILD_H
#define ASSENT_COORDINATOR_REBUILD_H

#include "coordinator/settings.h"
#include "wal/rebuild.h"

struct rebuild;

enum rebuild_evidence {
  EVIDENCE_NONE, /* it may have committed there, or have no branch there */
  EVIDENCE_PREPARED,
  EVIDENCE_NOT_COMMITTED, /* or it has no branch there */
  EVIDENCE_COMMITTED
};
const char *rebuild_evidence_name(enum rebuild_evidence evidence);

struct rebuild_branch {
  enum rebuild_evidence evidence;
  char gid[GID_SIZE], xid[XID_SIZE]; /* of what is prepared there; "": nothing */
};

enum rebuild_outcome { REBUILD_UNKNOWN, REBUILD_ABORT, REBUILD_COMMIT };
const char *rebuild_outcome_name(enum rebuild_outcome outcome); /* "cannot be known" */

struct rebuild_transaction {
  struct txid id;
  uint64_t epoch;
  enum rebuild_outcome outcome;
  bool decided; /* a record tells: nothing is added */
  bool forced;  /* an operator has said so */
  char why[200];
  struct rebuild_branch *branches; /* one a participant, in their order */
};

struct rebuild_participant {
  const char *name;
  bool reached;
  char error[512];
  struct survey_life life; /* epoch 0: it does not know the cluster */
  size_t prepared;         /* branches of the cluster */
};

/* Takes the log's lock (no coordinator may run) and reads what is left. `cluster` NULL: as that, or
 * the participants, tell. The settings are borrowed. */
enum error_code rebuild_open(struct rebuild **out, const struct settings *settings,
                             const struct cluster_id *cluster, struct error *err)
    __attribute__((warn_unused_result));
void rebuild_free(struct rebuild *rebuild);

/* Asks all participants; changes nothing. Errors: ERR_UNAVAILABLE: one cannot be asked (see
 * rebuild_participants()); ERR_INVALID: there is no cluster to be found, or more than one. */
enum error_code rebuild_look(struct rebuild *rebuild, struct error *err)
    __attribute__((warn_unused_result));

const struct cluster_id *rebuild_cluster(const struct rebuild *rebuild);
const struct log_remnant *rebuild_remnants(const struct rebuild *rebuild, size_t *count);
const struct rebuild_participant *rebuild_participants(const struct rebuild *rebuild,
                                                       size_t *count);
const struct rebuild_transaction *rebuild_transactions(const struct rebuild *rebuild,
                                                       size_t *count);

/* An operator's word on a transaction that cannot be known; ERR_INVALID for any other. */
enum error_code rebuild_force(struct rebuild *rebuild, const struct txid *id, bool commit,
                              struct error *err) __attribute__((warn_unused_result));

/* After a look that left nothing unknown: fences, looks again, and makes the log. `reason` goes into
 * its audit. `aside` names where the former log is, "" when there was none. Errors: as of a look;
 * something has become unknown; the log cannot be made. It may be tried again. */
enum error_code rebuild_finish(struct rebuild *rebuild, const char *reason, char aside[PATH_MAX],
                               struct error *err) __attribute__((warn_unused_result));

#endif
