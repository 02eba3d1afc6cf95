/* The coordinator as its routes see it: transactions, participants, recovery.
 *
 * Everything here runs on the loop thread and returns at once. The way of a transaction:
 *
 *   routes.c  ->  transaction.c (begin, execute, commit, wait)  ->  drive.c (txn.h's actions)
 *                                                     member.c (is the participant there?)  <-'
 *   recovery.c: at start and in sweeps, from the log and the participants' listings
 */
#ifndef ASSENT_COORDINATOR_COORDINATOR_H
#define ASSENT_COORDINATOR_COORDINATOR_H

#include "common/json.h"
#include "common/message_json.h"
#include "common/statement_set.h"
#include "common/tracer.h"
#include "coordinator/participant.h"
#include "coordinator/txn.h"
#include "wal/wal.h"

struct coordinator;
struct transaction;

struct coordinator_options {
  int64_t timeout_default_ms, timeout_max_ms; /* of a transaction, until it is decided */
  int64_t transactions_max;                   /* live at once, finished ones aside */
  int64_t token_transactions_max; /* of them, begun with one token; 0: as many as there may be */
  size_t branches_max;            /* of a transaction; 0: TXN_BRANCHES_MAX */
  int64_t waiting_max;            /* of them, before they may start */
  int64_t sweep_interval_ms;      /* between looks for prepared strays */
  int64_t health_interval_ms;
  const char *drained_path;  /* a file, of participants that drain; NULL: not over a restart */
  struct tracer *tracer;     /* borrowed; NULL: transactions make no spans */
  int64_t prepared_alert_ms; /* age of a prepared transaction that is worth an alert; 0: never */
  /* The process must stop at once, sending nothing more: the log cannot say what it holds, or
   * another coordinator with a later epoch has taken over. Must not return. */
  void (*halt)(const char *reason);
};

/* The log is borrowed and must outlive the coordinator. */
struct coordinator *coordinator_new(struct loop *loop, struct wal *wal,
                                    const struct coordinator_options *options);
/* Drops every transaction as it stands; the next start finishes the decided ones and rolls back the
 * rest. */
void coordinator_free(struct coordinator *c);

/* `participant` is taken over. `kind` ("embedded", "agent") is for readers; static. */
void coordinator_add_participant(struct coordinator *c, const char *name, const char *kind,
                                 struct participant *participant);

/* Can a transaction have a branch there? ERR_UNKNOWN_PARTICIPANT; ERR_UNAVAILABLE while the first
 * attempt to reach it is under way (one that is known to be down is no error: its branch aborts). */
enum error_code coordinator_check_participant(struct coordinator *c, const char *name,
                                              struct error *err)
    __attribute__((warn_unused_result));

/* The same, for a new branch: ERR_DRAINING. */
enum error_code coordinator_check_takes_branches(struct coordinator *c, const char *name,
                                                 struct error *err)
    __attribute__((warn_unused_result));
/* From now on only these statements may run at the participant; NULL: any. Taken over. */
void coordinator_limit_statements(struct coordinator *c, const char *name,
                                  struct statement_set *statements);
/* Puts SQL in the place of a name, or refuses SQL: see statement_set_resolve(). An unknown participant
 * has no names, and is no error here. */
enum error_code coordinator_resolve_statement(struct coordinator *c, const char *participant,
                                              struct statement *statement, const char *pointer,
                                              struct error *err)
    __attribute__((warn_unused_result));
/* May an application prepare a branch of its own there? ERR_SQL_NOT_ALLOWED: what it runs is not among the
 * statements. */
enum error_code coordinator_check_takes_any(struct coordinator *c, const char *participant,
                                            struct error *err) __attribute__((warn_unused_result));

/* Before a whole transaction is begun: could it start, or wait to start, with one branch at each of these?
 * ERR_OVERLOADED. Under too much load this is all that a request costs. */
enum error_code coordinator_check_room(struct coordinator *c, const char *const *participants,
                                       size_t count, int64_t timeout_ms, struct error *err)
    __attribute__((warn_unused_result));
/* From now on, and over restarts, the participant takes no new branches, or does again. ERR_NOT_FOUND;
 * ERR_UNAVAILABLE: it could not be recorded, and is not so. */
enum error_code coordinator_drain(struct coordinator *c, const char *name, bool draining,
                                  struct error *err) __attribute__((warn_unused_result));

/* Reads the unfinished decisions from the log and starts fencing the participants. Once, after all
 * participants have been added. */
enum error_code coordinator_recover(struct coordinator *c, struct error *err)
    __attribute__((warn_unused_result));

/* Every participant has been fenced, or was found to be down. */
bool coordinator_is_ready(const struct coordinator *c);

/* Takes no new transaction and rolls the open ones back. */
void coordinator_stop(struct coordinator *c);
bool coordinator_is_stopping(const struct coordinator *c);
/* Answers whoever still waits for a transaction, with what is known of it now, as if its time were over:
 * for the end, before the server refuses what is left with "nothing was done", which would be a guess. */
void coordinator_answer_waiting(struct coordinator *c);
/* Transactions that are still on their way to an outcome or to their branches. */
size_t coordinator_live_count(const struct coordinator *c);

/* ---- transactions ----------------------------------------------------------------------------- */

struct begin_request {
  const char *label;  /* NULL: none */
  const char *owner;  /* the name of the token it came with; NULL: none. At most OWNER_MAX bytes */
  int64_t timeout_ms; /* 0: the default */
  const struct trace_context *trace; /* of whoever asks; NULL: none */
};

/* A new, open transaction with its deadline running, held once for the caller. ERR_STOPPING, ERR_TOO_MANY, ERR_OVERLOADED,
 * ERR_LOG_FULL. */
enum error_code transaction_begin(struct coordinator *c, const struct begin_request *request,
                                  struct transaction **out, struct error *err)
    __attribute__((warn_unused_result));

/* The calls below may end a transaction, and one that has ended is freed once nothing refers to it:
 * hold it while it is used. */
void transaction_hold(struct transaction *t);
void transaction_release(struct transaction *t);

/* A live one, or NULL: then wal_look_up() tells. */
struct transaction *transaction_find(struct coordinator *c, const struct txid *id);

/* The branch for this participant, made when there is none. What coordinator_check_participant()
 * says, ERR_LIMIT, ERR_NOT_OPEN and its kin, ERR_INVALID (external and not external mixed at one
 * participant), ERR_UNAVAILABLE (external, and the participant is not there to be fenced). */
enum error_code transaction_enlist(struct transaction *t, const char *participant, bool external,
                                   unsigned *branch, struct error *err)
    __attribute__((warn_unused_result));

/* Runs statements in an open transaction (`keep_open`), or holds them for the commit that follows in
 * the same call. `statements` is taken over in any case. */
enum error_code transaction_execute(struct transaction *t, unsigned id,
                                    struct statement_list *statements, bool keep_open,
                                    struct error *err) __attribute__((warn_unused_result));

/* Starts the commit of an open transaction; does nothing when it has been asked for already. The commit
 * may have to wait until there is room (slots.c). ERR_OVERLOADED: too many wait; the transaction is as it
 * was. */
enum error_code transaction_commit(struct transaction *t, bool wait_decided, struct error *err)
    __attribute__((warn_unused_result));

/* Rolls back unless decided. */
void transaction_rollback(struct transaction *t, enum cause_kind kind, const char *why);
/* Its time is over. Does nothing once decided. */
void transaction_expire(struct transaction *t);

/* An operator says how a branch ended that nobody can find out about. The word is recorded, then
 * fn(data, t, NULL) is called with it applied; or with the error that kept it from being recorded.
 * ERR_INVALID: no such branch; ERR_NOT_IN_DOUBT. `outcome`: COMMITTED or ABORTED. */
enum { RESOLVE_REASON_MAX = 500 };
typedef void (*transaction_resolved_fn)(void *data, struct transaction *t, const struct error *err);
enum error_code transaction_resolve(struct transaction *t, unsigned branch,
                                    enum branch_outcome outcome, const char *reason,
                                    transaction_resolved_fn fn, void *data, struct error *err)
    __attribute__((warn_unused_result));

enum wait_until {
  WAIT_RAN, /* no statement is under way (in one branch, or in any), or it is settled otherwise */
  WAIT_DECIDED, /* the outcome is durable and cannot change */
  WAIT_APPLIED  /* every branch has it. An abort counts as applied when every branch has been told
                   once: nothing depends on more, by presumption */
};

/* Calls fn(data, t) once: when `until` is reached (perhaps before this returns) or after timeout_ms,
 * whichever is first. `branch`: for WAIT_RAN, 0 means all. `data` is allocated: when the coordinator is freed before, fn is not called and
 * data is free()d. */
typedef void (*transaction_fn)(void *data, struct transaction *t);
void transaction_wait(struct transaction *t, enum wait_until until, unsigned branch,
                      int64_t timeout_ms, transaction_fn fn, void *data);

/* What an answer is made of; see render.h. */
const struct txid *transaction_id(const struct transaction *t);
enum wal_outcome transaction_outcome(const struct transaction *t); /* NONE: not known */
/* A branch has ended against the decision, and the log does not have that durably yet: to be told later. */
bool transaction_is_being_recorded(const struct transaction *t);
/* It has aborted because a participant had no room for it, and may be tried again. */
bool transaction_is_refused(const struct transaction *t);
bool transaction_is_settled(const struct transaction *t, enum wait_until until);
int64_t transaction_remaining_ms(const struct transaction *t); /* until its deadline; at least 0 */
const struct cause *transaction_cause(const struct transaction *t);
/* The statements' results of a branch, as JSON. NULL: none. */
const char *transaction_results(const struct transaction *t, unsigned branch);
void transaction_set_results(struct transaction *t, unsigned branch,
                             char *results);                  /* taken over */
size_t transaction_results_size(const struct transaction *t); /* of all, with a byte between them */
void transaction_forget_results(struct transaction *t);
bool transaction_waits_decided(const struct transaction *t); /* what its commit was to wait for */

/* May it be seen, and acted on, by who sees only what is `owner`'s? NULL: who sees everything. */
bool transaction_is_for(const struct transaction *t, const char *owner);
int64_t transaction_timeout_ms(const struct transaction *t);
/* What it passes on; NULL: it belongs to no trace. */
const struct trace_context *transaction_trace(const struct transaction *t);
const char *transaction_gid(const struct transaction *t, unsigned branch);

/* ---- reading ---------------------------------------------------------------------------------- */

struct list_filter {
  const char *state, *participant, *label; /* NULL: any */
  const char *owner;                       /* NULL: any, and nobody's */
  int64_t older_than_ms;                   /* 0: any */
  unsigned limit;
  struct txid before; /* "": from the newest */
};
/* Newest first, live and logged ones merged, as {"transactions":[...],"next_cursor":...}. `json`
 * NULL with an error when the log cannot be read. Owner of json: the callee, free(). */
typedef void (*transactions_listed_fn)(void *data, char *json, size_t length,
                                       const struct error *err);
void transactions_list(struct coordinator *c, const struct list_filter *asked,
                       transactions_listed_fn fn, void *data);

struct wal *coordinator_wal(const struct coordinator *c);

/* Participants as JSON: one (`name`) or all (NULL), with fresh health. json NULL and err NULL:
 * unknown name. */
typedef void (*participants_fn)(void *data, char *json, size_t length, const struct error *err);
void coordinator_participants(struct coordinator *c, const char *name, participants_fn fn,
                              void *data);

#endif
