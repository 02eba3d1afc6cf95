/* Inside the rebuilding of a log: what its two files share. rebuild.c asks, rebuild_plan.c concludes.
 */
#ifndef ASSENT_COORDINATOR_REBUILD_PLAN_H
#define ASSENT_COORDINATOR_REBUILD_PLAN_H

#include "common/http_client.h"
#include "coordinator/participant.h"
#include "coordinator/rebuild.h"

enum { FENCES_MAX = 5 };

/* A participant's answer, kept. */
struct peer {
  struct rebuild *rebuild;
  struct participant *participant;
  struct survey_reply survey; /* the arrays are owned: survey_copy_release() */
  uint64_t after_epoch;       /* the life it has told of, for the fence */
  char after_run_id[RUN_ID_SIZE];
  unsigned fences;
};

struct rebuild {
  const struct settings *settings;
  struct log_rebuild *log;
  struct cluster_id cluster;
  struct loop *loop;
  struct http_client *client;
  size_t count; /* of participants */
  struct peer peers[PARTICIPANTS_MAX];
  struct rebuild_participant shown[PARTICIPANTS_MAX];
  unsigned waiting;
  struct txid *txids; /* in doubt, ascending */
  size_t txid_count;
  struct rebuild_transaction *transactions; /* in the same order */
  size_t transaction_count;
  uint64_t epoch; /* of the new log */
  char run_id[RUN_ID_SIZE];
};

void survey_copy(struct survey_reply *out, const struct survey_reply *reply);
void survey_copy_release(struct survey_reply *survey);

/* The only cluster that anybody knows, into r->cluster. */
enum error_code plan_find_cluster(struct rebuild *r, struct error *err);
/* The transactions that are prepared anywhere, into r->txids. */
enum error_code plan_collect(struct rebuild *r, struct error *err);
/* Outcomes of all of them, from what has been answered and what is left of the log. */
void plan_make(struct rebuild *r);
void plan_clear(struct rebuild *r);
/* The highest epoch that a participant, a gid or what is left of the log has. */
uint64_t plan_highest_epoch(const struct rebuild *r);
enum error_code plan_all_known(const struct rebuild *r, struct error *err);
/* The prepared branches, in the order of their ids; as many as there are participants at most. */
size_t plan_fill_branches(const struct rebuild *r, const struct rebuild_transaction *t,
                          struct wal_branch *out);

/* What the operator has said, kept over another look. Owner: free(). */
struct forced;
struct forced *plan_take_forced(const struct rebuild *r);
enum error_code plan_give_forced(struct rebuild *r, const struct forced *forced, struct error *err);

#endif
