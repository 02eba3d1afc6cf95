/* What a coordinator and an agent say to each other, as structs.
 *
 * The same structs travel as a call (agent hosted in the coordinator's process) and as JSON over
 * HTTP (message_json.h). Everything in a message is borrowed by the receiver for the time of the
 * call; a receiver that keeps something copies it.
 *
 * Every request ends in exactly one callback, on a later turn of the loop. A callback's `err` is
 * NULL when the agent has answered; otherwise the request's effect is unknown (class AMBIGUOUS) or
 * it certainly had none (class RETRY or CALLER).
 */
#ifndef ASSENT_COMMON_MESSAGE_H
#define ASSENT_COMMON_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/id.h"
#include "common/trace.h"

/* One database server as seen at connect: "<system_identifier>/<timeline>/<database oid>". A
 * transaction id (xid) means something only together with it: after a failover (another timeline)
 * the same xid may name somebody else's transaction. */
enum { SERVER_SIZE = 64, XID_SIZE = 24, CAUSE_TEXT_SIZE = 400 };

enum server_relation {
  SERVER_UNRELATED, /* not known to be related: another database, or not a name of that form */
  SERVER_SAME,
  SERVER_SUCCESSOR,   /* the same database on a later timeline: a standby of it was promoted, or it
                         was restored to a point in time. It has all of the former one's history up
                         to some point, and no more */
  SERVER_PREDECESSOR, /* on an earlier one: what was the primary before, or an old copy */
  SERVER_STRANGER     /* another system identifier: never the same data */
};
/* What `is` is to `was`. */
enum server_relation server_relation(const char *was, const char *is);

/* ---- fence ---------------------------------------------------------------------------------- */

/* "From now on (cluster, epoch, run) is the coordinator." The agent makes the epoch durable (see
 * adapter.h, struct epoch_claim), refuses what older epochs ask, and ends or waits out what they
 * have in flight. The answer means: no branch of an older epoch can become prepared any more.
 *
 * A higher epoch is not enough: an old copy of the log that was started often enough has one, too.
 * So the coordinator names the life of the cluster that the agent knows, which it can only when its
 * log has had that life. It learns which from the agent: the first request names none. */
struct fence_request {
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE]; /* this life of the coordinator: two lives may not share an epoch */
  uint64_t after_epoch;     /* the life that the agent has told of; 0: none */
  char after_run_id[RUN_ID_SIZE];
};

struct fence_reply {
  char incarnation[RUN_ID_SIZE]; /* this life of the agent; goes into every run_request */
  char server[SERVER_SIZE];
  int server_version;   /* 150018 */
  int64_t prepared_max; /* max_prepared_transactions */
  /* Not 0: not fenced, and nothing above holds. The agent knows this life of the cluster: ask again,
   * naming it, if the log has had it. */
  uint64_t former_epoch;
  char former_run_id[RUN_ID_SIZE];
};

typedef void (*fence_fn)(void *data, const struct fence_reply *reply, const struct error *err);

/* ---- run: statements, and how far to take the branch ----------------------------------------- */

struct statement {
  const char *sql;
  const char *name;          /* of a request that names a statement, until its SQL is put in (see
                                statement_set.h); no message has one */
  const char *const *params; /* text; NULL is SQL NULL */
  size_t param_count;
  int64_t expect_rows; /* -1: any */
};

/* Into one block that also holds all they point to. Owner: the caller, free(). NULL without memory. */
struct statement *statements_copy(const struct statement *statements, size_t count);

enum run_end {
  RUN_KEEP_OPEN, /* leave the branch active: more will come */
  RUN_PREPARE,   /* then PREPARE TRANSACTION; the reply is a vote */
  RUN_READY      /* one phase: leave it open, ready for DECIDE_ONE_PHASE; the reply has the xid */
};

struct run_request {
  const char *gid;
  uint64_t epoch;
  const char *incarnation; /* of the agent's life this is meant for; another life refuses */
  unsigned sequence; /* of this branch's runs, from 0; only 0 may create the branch. A later one
                        at an agent that does not know the branch looks the gid up: prepared
                        (by the application, or in a former life) is a yes, absent is a no */
  enum run_end end;
  const struct statement *statements;
  size_t statement_count;
  int64_t timeout_ms;                /* time left until the transaction's deadline */
  const struct trace_context *trace; /* the asking side's span; NULL: none. Nothing depends on it */
};

/* Why a branch failed, in the words of the API's `cause.kind`. */
enum cause_kind {
  CAUSE_NONE,
  CAUSE_STATEMENT,
  CAUSE_EXPECTATION,
  CAUSE_CONFLICT,
  CAUSE_TIMEOUT,
  CAUSE_UNREACHABLE,
  CAUSE_CLIENT,
  CAUSE_RECOVERY,
  CAUSE_OPERATOR,
  CAUSE_DEADLOCK,
  CAUSE_LIMIT
};
const char *cause_kind_name(enum cause_kind kind); /* "statement"; "none" */
bool cause_kind_parse(const char *name, enum cause_kind *out);

struct cause {
  enum cause_kind kind;
  int branch;    /* from 1; 0: the transaction as a whole */
  int statement; /* from 0 within the run; -1: none */
  char sqlstate[6];
  char text[CAUSE_TEXT_SIZE];
  struct limit_met limit; /* of CAUSE_LIMIT: which, where it is one of the configuration */
};

enum vote {
  VOTE_UNKNOWN,   /* no answer, or one that proves nothing */
  VOTE_NO,        /* rolled back; nothing is left of the branch */
  VOTE_YES,       /* prepared, durable in the database; or, for RUN_KEEP_OPEN, statements done */
  VOTE_READ_ONLY, /* wrote nothing and has ended: leaves phase two */
  VOTE_READY      /* RUN_READY: all statements done, transaction still open, xid assigned */
};
const char *vote_name(enum vote vote);
bool vote_parse(const char *name, enum vote *out);

struct run_reply {
  char gid[GID_SIZE]; /* as asked: an answer meant for another branch is refused */
  enum vote vote;
  char xid[XID_SIZE];       /* full transaction id (xid8) in decimal; "" when none was assigned */
  char server[SERVER_SIZE]; /* where that xid holds */
  const char *results;      /* JSON array, one element a statement; NULL when none; see adapter.h */
  struct cause cause;       /* for VOTE_NO and VOTE_UNKNOWN */
};

typedef void (*run_fn)(void *data, const struct run_reply *reply, const struct error *err);

/* ---- decide ---------------------------------------------------------------------------------- */

enum decision {
  DECIDE_ABORT,
  DECIDE_COMMIT,
  DECIDE_ONE_PHASE /* the sole branch: commit it if it is still open here; in any case tell how its
                      xid ended */
};
const char *decision_name(enum decision decision);
bool decision_parse(const char *name, enum decision *out);

struct decide_request {
  const char *gid;
  uint64_t epoch; /* of the coordinator's life that asks, not of the gid */
  enum decision decision;
  const char *xid;                   /* as voted; "" when not known */
  const char *server;                /* as voted; "" when not known */
  const struct trace_context *trace; /* as in run_request */
};

/* How a branch stands after a decision was applied. Only COMMITTED and ABORTED are ends. */
enum branch_outcome {
  BRANCH_OUTCOME_RETRY,       /* not applied yet (busy, unreachable, rights): ask again */
  BRANCH_OUTCOME_COMMITTED,   /* verified */
  BRANCH_OUTCOME_ABORTED,     /* verified */
  BRANCH_OUTCOME_UNVERIFIABLE /* the gid is gone and the database cannot say how it ended */
};
const char *branch_outcome_name(enum branch_outcome outcome);
bool branch_outcome_parse(const char *name, enum branch_outcome *out);

struct decide_reply {
  enum branch_outcome outcome;
  struct cause cause; /* what stands in the way, for RETRY and UNVERIFIABLE; why, for an ABORTED
                         one-phase branch */
};

typedef void (*decide_fn)(void *data, const struct decide_reply *reply, const struct error *err);

/* ---- prepared branches, as listings and surveys show them ------------------------------------ */

struct prepared_branch {
  char gid[GID_SIZE];
  char xid[XID_SIZE];     /* full transaction id */
  int64_t prepared_at_us; /* the database's wall clock */
};

/* ---- survey: what is known here, when the decision log is lost ------------------------------- */

/* Needs no fence and changes nothing. What it tells is sure for epochs older than one that this agent
 * has been fenced with before. */
enum { SURVEY_TXIDS_MAX = 10000 };
struct survey_request {
  struct cluster_id cluster; /* "": which clusters are known here at all? */
  const struct txid *txids;  /* of which outcomes are wanted */
  size_t txid_count;
};

/* A coordinator's latest life, as the participant knows it. */
struct survey_life {
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
  /* Every branch here of a gid's epoch within these, and of a txid from this one on, that has
   * committed has left a row that says so. From 0: they leave none. Before 0: to this day. */
  uint64_t rows_from_epoch, rows_before_epoch;
  struct txid rows_from_txid; /* "": any */
};

/* COMMITTED: the transaction has committed its branch here. ABORTED: it has a branch here that has not
 * committed and will not. UNVERIFIABLE: it has one, and nothing is sure of it. */
struct survey_outcome {
  struct txid txid;
  enum branch_outcome outcome;
};

struct survey_reply {
  char server[SERVER_SIZE];
  const struct survey_life *lives;
  size_t life_count;
  const struct prepared_branch *branches; /* of the cluster, or, for "", of any */
  size_t branch_count;
  const struct survey_outcome *outcomes; /* of those asked for, where something is known */
  size_t outcome_count;
  /* The agent remembers every branch it had of the cluster whose gid has this epoch or a later one,
   * and whose txid is greater than the latter. Epoch 0: it does not. */
  uint64_t memory_from_epoch;
  struct txid memory_after_txid; /* "": any */
};

typedef void (*survey_fn)(void *data, const struct survey_reply *reply, const struct error *err);

/* ---- blockers: whom does a branch's statement wait for, in its database? --------------------- */

/* Who holds a lock that is waited for, or is before us in the queue for it. Never a statement's text. */
enum {
  BLOCKERS_MAX = 4,
  FOREIGN_GID_SIZE = 201,
  APPLICATION_NAME_SIZE = 64,
  BACKEND_STATE_SIZE = 40
};
struct blocker {
  int64_t pid; /* its session; 0: a prepared transaction, which has none */
  char application[APPLICATION_NAME_SIZE]; /* application_name; "" */
  char state[BACKEND_STATE_SIZE];          /* "idle in transaction", ...; "": not known */
  char gid[FOREIGN_GID_SIZE]; /* the prepared transaction, whoever's, or the branch that an
                                         agent's session works for; "": none */
  int64_t since_us;           /* its transaction's begin, or PREPARE; wall clock; 0: not known */
};

/* Needs no fence and changes nothing. */
struct blockers_request {
  const char *gid;
};

/* Of this moment. None: the branch does not run here, or waits for no lock. */
struct blockers_reply {
  const struct blocker *blockers;
  size_t count;
};

typedef void (*blockers_fn)(void *data, const struct blockers_reply *reply,
                            const struct error *err);

/* ---- list, health ---------------------------------------------------------------------------- */

struct list_request {
  struct cluster_id cluster;
  uint64_t epoch;
};

struct list_reply {
  char server[SERVER_SIZE];
  const struct prepared_branch *branches; /* gids of this cluster in this database, any epoch */
  size_t count;
};

typedef void (*list_fn)(void *data, const struct list_reply *reply, const struct error *err);

struct health_reply {
  bool connected;           /* to the database */
  char server[SERVER_SIZE]; /* "" until the first connection */
  int server_version;
  int64_t latency_us;     /* of the last round trip to the database; -1: none yet */
  int64_t prepared_count; /* on the whole server, of anybody; -1: not known */
  int64_t
      prepared_others; /* of them, by others than the coordinator that works with this agent (or,
                              where several do, than any Assent); -1: not known */
  int64_t prepared_max;
  int64_t oldest_prepared_ms; /* age; -1: none */
  int64_t xmin_age;           /* of the oldest snapshot seen, in transactions; -1: not known */
  int64_t standbys;           /* connected; -1: not known */
  bool synchronous;           /* commits wait for some of them */
  int64_t connections, connections_max, waiting; /* the pool */
  int64_t running, running_max; /* sessions on which something runs, and for how many there is new
                                   work at once: see participant-agent/admission.h */
  char last_error[CAUSE_TEXT_SIZE];
};

typedef void (*health_fn)(void *data, const struct health_reply *reply, const struct error *err);

#endif
