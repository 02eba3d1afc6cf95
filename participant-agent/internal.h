/* What the files of the agent's driver share: agent.c (requests), table.c (branches), execute.c
 * (their actions), fence.c. Nobody else includes this.
 *
 * Discipline: an adapter's or a timer's callback runs between agent_enter() and agent_leave().
 * Answers to requests are gathered in between and given at the end, when the tables are at rest, so
 * that whoever is answered may call the agent again. Answers that come up inside a request are
 * given on a later turn.
 */
#ifndef ASSENT_PARTICIPANT_AGENT_INTERNAL_H
#define ASSENT_PARTICIPANT_AGENT_INTERNAL_H

/* Without memory: by a signal, as wherever else it is missing, not by exit(-1) without a word. */
#define uthash_fatal(message) abort()
#include <stdlib.h>
#include <uthash.h>

#include "adapters/adapter.h"
#include "participant-agent/agent.h"
#include "participant-agent/branch.h"
#include "participant-agent/control.h"
#include "participant-agent/finisher.h"
#include "participant-agent/pool.h"

enum { TOMBSTONES_MAX = 20000, CLUSTERS_MAX = 64 };

/* ---- requests: each gets one answer ------------------------------------------------------------
 */

enum request_kind {
  REQUEST_FENCE,
  REQUEST_RUN,
  REQUEST_DECIDE,
  REQUEST_LIST,
  REQUEST_SURVEY,
  REQUEST_BLOCKERS,
  REQUEST_HEALTH
};

struct request {
  enum request_kind kind;
  union {
    fence_fn fence;
    run_fn run;
    decide_fn decide;
    list_fn list;
    survey_fn survey;
    blockers_fn blockers;
    health_fn health;
  } fn;
  void *data;
  struct error *err; /* owned; NULL: the reply holds */
  union {
    struct fence_reply fence;
    struct run_reply run;
    struct decide_reply decide;
    struct list_reply list;
    struct survey_reply survey;
    struct blockers_reply blockers;
    struct health_reply health;
  } reply;
  struct request *prev, *next;
};

/* ---- branches ----------------------------------------------------------------------------------
 */

struct cancelling; /* a run being cancelled */

struct entry {
  struct agent *agent;
  char gid[GID_SIZE];
  struct gid id;
  struct branch branch;

  char xid[XID_SIZE], server[SERVER_SIZE];           /* as voted or found here, and where */
  char told_xid[XID_SIZE], told_server[SERVER_SIZE]; /* as told by a decision */
  struct cause *cause; /* owned; why it failed, or what stands in the way; NULL: nothing */
  const char *results; /* of the run that is being answered; borrowed */
  char *results_kept;  /* owned; of a run that is answered after its flush, or its COMMIT */

  const struct statement *statements; /* of the run at hand, until it is begun; borrowed, or: */
  void *statements_owned;             /* while it waits for a session */
  size_t statement_count;
  uint64_t deadline_ms;     /* of the transaction, as the last run told it */
  struct loop_timer *timer; /* owned; while queued, ACTIVE or READY */
  struct ticket ticket;
  struct work *work; /* held: a run is under way, ACTIVE, FLUSHING, READY, or their ends */
  uint64_t control_connection;       /* when the run began; see control_connection() */
  char lost_name[SESSION_NAME_SIZE]; /* of the session whose answer was lost */
  struct cancelling *cancelling;     /* of the run under way; NULL: none */
  bool cancel_sent;                  /* to the session held, or its end */
  bool hazard_told;                  /* that it has ended against the decision */
  /* Where it was looked for, and where it was found not to be prepared ("": no such answer is leant on). */
  char looked_on[SERVER_SIZE], absent_on[SERVER_SIZE];
  struct control_turn turn;
  struct finish finish;

  struct trace *trace; /* owned; of who asked last; NULL: none. spans.c */
  struct span *span;   /* of what the database is asked now */

  struct request *runs, *decisions; /* who waits */
  uint64_t since;                   /* agent->moment when it came to rest as it is */
  uint64_t listed;                  /* the moment of the last listing that showed it */
  bool entombed;                    /* ended: in agent->ended */
  struct entry *prev, *next;        /* there */
  UT_hash_handle hh;
};

/* What is kept of the branches that have ended, once nothing of them is under way: tomb.c. */
struct tombs;

struct fenced {
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
  /* Every branch of a gid of this epoch or a later one, with a greater txid than this, is in the
   * table: see survey.c. */
  uint64_t memory_from_epoch;
  struct txid memory_after;
};

struct agent {
  struct loop *loop;
  struct adapter *adapter;
  char *participant, *state_dir;
  int64_t call_timeout_ms;
  size_t result_rows_max, result_bytes_max;
  unsigned connections_max;
  bool synchronous_failover;
  uint64_t first_xid;            /* next_xid of the current server when we first came to it */
  char incarnation[RUN_ID_SIZE]; /* this life, as coordinators know it; a new one when the server
                                    changes, which is as good as a restart */
  struct session_names names;
  struct tracer *tracer; /* borrowed; NULL: none */
  struct control *control;
  struct finisher *finisher;
  struct pool *pool;

  struct fenced fenced[CLUSTERS_MAX];
  size_t fenced_count;
  struct fencing *fencings;          /* fences under way */
  char fence_error[CAUSE_TEXT_SIZE]; /* of the last one; "": it was done */
  struct asking *askings;            /* lists and probes under way */
  struct surveying *surveyings;
  struct inquiry *inquiries;
  int64_t rows_retention_ms; /* 0: branches leave no rows */
  struct control_turn forgetting;
  bool forgets;
  bool server_changed; /* in this life: what it remembers is of two servers */
  struct cancelling *cancellings;

  struct entry *entries; /* by gid */
  struct entry *ended;   /* of them, oldest first; at rest, they go to: */
  struct tombs *tombs;   /* owned; NULL: there was none yet */
  uint64_t moment;       /* counts lists begun and branches come to rest */

  unsigned depth;          /* of agent_enter() */
  bool in_request;         /* the outermost one is a request's */
  struct request *answers; /* to be given */
  struct loop_timer *later;
  int64_t latency_us;
  struct session_probe probed; /* the last one */
  bool probe_known;
  struct agent_figures figures;
};

/* ---- agent.c -----------------------------------------------------------------------------------
 */

void agent_enter(struct agent *agent, bool in_request);
void agent_leave(struct agent *agent);

struct request *request_new(enum request_kind kind, void *data);
/* Takes the request over. With err->code ERR_OK the reply holds. */
void request_answer(struct agent *agent, struct request *request, const struct error *err);
void request_free(struct request *request);

/* ---- table.c -----------------------------------------------------------------------------------
 */

struct entry *entry_find(struct agent *agent, const char *gid);
struct entry *entry_make(struct agent *agent, const char *gid, const struct gid *id);
/* Feeds the event and carries out what it asks for. The entry may be gone on return. */
void entry_step(struct entry *entry, const struct branch_event *event);
void entry_note(struct entry *entry, const struct cause *cause); /* NULL or CAUSE_NONE: clears */
void entry_note_text(struct entry *entry, enum cause_kind kind, const char *text);
/* Everything known of the branch is of a server that is no longer there. */
void entry_start_over(struct entry *entry);
void entry_free(struct entry *entry);   /* and out of the table; its requests must be answered */
void entries_bury(struct agent *agent); /* the ended ones that are at rest */
void entries_drop(struct agent *agent); /* all, silently */
/* Calls for each branch of this transaction, under way or ended. */
typedef void (*entry_found_fn)(void *data, enum branch_state state);
void entries_find(const struct agent *agent, const struct cluster_id *cluster,
                  const struct txid *txid, entry_found_fn fn, void *data);

/* ---- tomb.c -------------------------------------------------------------------------------------
 */

/* Keeps what is worth keeping of an entry that is to go. */
void tomb_make(const struct entry *entry);
/* Makes the entry again, as it was; the tomb goes. NULL: there is none. */
struct entry *tomb_open(struct agent *agent, const char *gid);
void tombs_drop(struct agent *agent);
void tombs_find(const struct agent *agent, const struct cluster_id *cluster,
                const struct txid *txid, entry_found_fn fn, void *data);

/* ---- execute.c ---------------------------------------------------------------------------------
 */

void execute_run(struct entry *entry);
void execute_cancel(struct entry *entry);
void execute_rollback(struct entry *entry);
void execute_commit(struct entry *entry);
void execute_barrier(struct entry *entry);
void execute_end_session(struct entry *entry);
void execute_look_up(struct entry *entry);
void execute_finish(struct entry *entry, bool commit);
void execute_ask_status(struct entry *entry);
/* A timer where the new state wants one, and none where not. */
void execute_watch(struct entry *entry);
void cancellings_drop(struct agent *agent);

/* ---- fence.c -----------------------------------------------------------------------------------
 */

const struct fenced *fence_find(const struct agent *agent, const struct cluster_id *cluster);
/* A branch has left the table. */
void fence_forgot(struct agent *agent, const struct gid *id);
/* Fences that wait for branches: are these through? */
void fence_review(struct agent *agent);
void fences_drop(struct agent *agent);

/* ---- rows.c ------------------------------------------------------------------------------------
 */

/* Removes rows that are old, if they are left here and it is not under way. */
void rows_forget(struct agent *agent);

/* ---- spans.c -----------------------------------------------------------------------------------
 */

/* Of who asks; NULL: what was known stays. */
void spans_note_trace(struct entry *entry, const struct trace_context *context);
/* `operation`: in SQL's words; static; NULL: statements only. `statements`: how many besides. */
void spans_begin_work(struct entry *entry, const char *operation, size_t statements);
/* `cause` NULL or of kind CAUSE_NONE: it went well. */
void spans_end_work(struct entry *entry, const struct cause *cause);

/* ---- survey.c ----------------------------------------------------------------------------------
 */

void surveys_drop(struct agent *agent);

/* ---- blockers.c --------------------------------------------------------------------------------
 */

void inquiries_drop(struct agent *agent);

#endif
