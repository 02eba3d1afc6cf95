/* What the coordinator's own files share: the live transactions and the members. Nothing outside
 * coordinator/ includes this. */
#ifndef ASSENT_COORDINATOR_INTERNAL_H
#define ASSENT_COORDINATOR_INTERNAL_H

/* Without memory: by a signal, as wherever else it is missing, not by exit(-1) without a word. */
#define uthash_fatal(message) abort()
#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "common/loop.h"
#include "common/tracer.h"
#include "coordinator/coordinator.h"
#include "coordinator/events.h"
#include "coordinator/figures.h"
#include "coordinator/keys.h"
#include "coordinator/timeline.h"
#include "coordinator/txn.h"

/* Something of which there is so much, and who waits for it: see slots.c. */
struct waiting;
struct stock {
  int64_t limit; /* -1: none is known */
  int64_t most;  /* that there can ever be */
  int64_t held, queued;
  bool reserves;            /* the last are for transactions that have run */
  bool review;              /* those who wait are to be looked at */
  unsigned wanted;          /* for the time of one function */
  struct waiting *queue[2]; /* [true]: of transactions that have run */
};

/* Of max_prepared_transactions, of one server. */
struct slots {
  char system[SERVER_SIZE]; /* its system identifier */
  int64_t max, others;      /* `others`: prepared by others */
  struct stock stock;
  struct slots *prev, *next;
};

/* A transaction's place in a queue. */
struct waiting {
  struct transaction *transaction;
  struct stock *at; /* NULL: it does not wait */
  bool ran;         /* statements of it have run */
  uint64_t number;
  struct waiting *prev, *next;
};

struct pace {
  uint64_t began_ms, started, before; /* in this second and in the one before it */
};

/* A participant as the coordinator knows it at this moment. `usable` means: fenced in this life of
 * ours and of its agent, and nothing has been heard to the contrary since. */
struct member {
  struct coordinator *coordinator;
  char *name;
  const char *kind;
  struct participant *participant;
  struct statement_set *statements; /* that it is limited to; NULL: it is not */
  bool usable;
  bool tried;           /* the first attempt to fence has been answered, one way or the other */
  bool surveyed;        /* strangers have been looked for */
  bool calling;         /* a fence or a health call of the tick is under way */
  bool draining;        /* takes no new branches */
  unsigned looks;       /* questions of look.c under way */
  uint64_t after_epoch; /* the life of ours that it knows, as it has told; 0: none yet */
  char after_run_id[RUN_ID_SIZE];
  struct fence_reply fence;
  struct health_reply health;
  bool health_known;
  struct slots *slots; /* of its server; NULL: not known */
  struct stock places;
  bool age_alerted;  /* of the oldest prepared transaction */
  uint64_t retry_ms; /* next delay of the tick */
  struct loop_timer *tick;
  struct loop_timer *sweep_timer;
  bool sweeping;
  bool sweep_again;     /* something could not be resolved */
  struct stray *strays; /* of the sweep under way, not resolved yet */
  void (*listed)(struct member *member, bool ok);
  struct transaction_branch *parked; /* decisions to send again when it is there */
  /* availability since our start, as seen from here */
  bool up;
  uint64_t changed_at_ms;
  uint64_t up_ms, down_ms;
  uint64_t repaired_ms; /* of down_ms: failures that have been mended */
  uint64_t failures, repairs;
  char last_error[CAUSE_TEXT_SIZE];
  uint64_t calls[CALL_COUNT][CALL_RESULT_COUNT]; /* answered; for the metrics */
  UT_hash_handle hh;
};

/* Whom a branch's statement waited for when it was looked at last; see look.c. */
struct blocked {
  int64_t seen_at_us;
  size_t count;
  struct blocker blockers[BLOCKERS_MAX];
};

struct transaction_branch {
  struct transaction *transaction;
  struct member *member;
  unsigned id;
  unsigned runs; /* sequence of the next run */
  char gid[GID_SIZE];
  char xid[XID_SIZE];
  char server[SERVER_SIZE];
  struct statement_list statements; /* of the run to come or under way */
  char *results;                    /* of the last run */
  struct stock *slot, *place;       /* held; or NULL */
  unsigned attempts;                /* of its decision */
  bool told; /* the decision's first attempt has been answered, or is parked */
  bool parked;
  bool hazard; /* how it ended cannot be found out, as far as is known now */
  bool alarmed;
  bool refusal_told;
  bool confirmation_logged;
  enum branch_outcome resolved; /* by an operator; RETRY: not */
  bool looking;                 /* it is being asked whom it waits for */
  struct blocked *blocked;      /* owned; NULL: nobody, or not known */
  struct loop_timer *not_sent;  /* the answer to a run that could not be sent is due; or NULL */
  struct cause last_error;
  struct span *run_span, *decide_span;    /* of the calls under way; spans.c */
  struct transaction_branch *prev, *next; /* in member->parked */
};

struct waiter {
  struct transaction *transaction;
  enum wait_until until;
  unsigned branch; /* WAIT_RAN: of this one; 0: of all */
  transaction_fn fn;
  void *data;
  struct loop_timer *timer;
  struct waiter *prev, *next;
};

struct transaction {
  struct coordinator *coordinator;
  struct txid id;
  struct txn core;
  char *label;
  char owner[OWNER_MAX + 1];                           /* the name of a token; "": nobody's */
  struct share *share;                                 /* its owner's; NULL: not counted */
  int64_t created_at_us, decided_at_us, applied_at_us; /* wall clock, for readers */
  int64_t timeout_ms;
  uint64_t deadline_ms; /* loop time */
  bool wait_decided;
  bool logged; /* its decision is durable in the log */
  bool
      held_up; /* its end will be long in coming, or not say all: confirmations are logged; drive.c */
  struct cause cause;
  struct transaction_branch *branches[TXN_BRANCHES_MAX];
  struct loop_timer *deadline;
  struct key_claim *claim; /* NULL: the request had no key */
  struct waiter *waiters;
  struct alarm *alarms; /* on their way to the log; drive.c */
  bool end_waits;       /* for them, to be logged */
  unsigned in_flight;   /* callbacks that will come and hold a pointer into this */
  bool ended;
  bool recovered; /* from the log, at this start */
  bool refused;   /* by a participant that had no room for it */
  struct waiting waiting;
  struct timeline timeline;
  struct trace *trace;          /* the transaction's; NULL: it has none */
  struct span *span, *log_span; /* spans.c */
  uint64_t begun_us, phase_us;  /* monotonic; when it began, and the phase it is in; 0: not known */
  const char *state_seen;       /* the last that was told of: see observe.c */
  bool mixed_seen;
  UT_hash_handle hh;
};

/* Timelines of transactions that have ended, the latest HISTORY_MAX. */
enum { HISTORY_MAX = 2048 };
struct past;
struct history {
  struct past *by_id;
  struct past *oldest; /* a list, in the order of their ends */
  unsigned count;
};

struct coordinator {
  struct loop *loop;
  struct wal *wal;
  struct coordinator_options options;
  struct cluster_id cluster;
  uint64_t epoch;
  char run_id[RUN_ID_SIZE];
  bool stopping;
  uint64_t log_full_until_ms; /* new work is refused until then, loop time */
  struct member *members;
  struct transaction *transactions; /* by id */
  struct key_claim *claims;         /* by name space and name */
  struct history history;           /* of those that have ended */
  struct figures figures;
  struct events *events;
  struct share *shares; /* by owner; shares.c */
  struct slots *slots;
  uint64_t slots_waiting, slots_asked; /* transactions */
  struct transaction *collector;       /* see slots.c; or NULL */
  struct pace pace;
  struct review *slots_review; /* to come; or NULL */
};

/* transaction.c */
struct transaction *transaction_new(struct coordinator *c, const struct txid *id);
struct transaction_branch *transaction_add_branch(struct transaction *t, struct member *member);
/* Answers all that wait, whether it has come that far or not. */
void transaction_answer_waiting(struct transaction *t);
/* Settles waiters, and frees the transaction when nothing refers to it any more. */
void transaction_review(struct transaction *t);
void transaction_free(struct transaction *t);

/* drive.c */
void drive(struct transaction *t, const struct txn_event *event);
void drive_actions(struct transaction *t, const struct txn_actions *actions);
void alarms_free(struct transaction *t);

/* keys.c */
/* What goes into the log with the transaction's record; false: it has no key. Owner of results: the
 * caller, free(). */
bool key_fill(const struct transaction *t, struct wal_key *out, char **results);
void keys_free(struct coordinator *c);

/* look.c: whom do its branches wait for? */
void look(struct transaction *t);
void look_forget(struct transaction_branch *branch); /* what was seen of its former run */
uint64_t look_after_ms(const struct transaction *t); /* until the next look, or the deadline */

/* observe.c: what people are shown of a transaction's way. `branch` NULL: the transaction as a whole;
 * `detail` static or NULL; `error` NULL: none. */
struct observed {
  enum step_kind kind;
  const struct transaction_branch *branch;
  unsigned attempt;
  const char *detail;
  const struct cause *error;
  int64_t at_us; /* 0: now */
};
void observe(struct transaction *t, const struct observed *what);
/* After each step of the core. */
void observe_state(struct transaction *t);
/* An answer to a call, or what stands in its place. */
void observe_call(struct member *member, enum call call, const struct error *err);
/* Of the start: all unfinished decisions are read. */
void observe_recovery(struct coordinator *c);
/* A member has come, gone, or is told to drain. */
void observe_member(struct member *member);
/* Before a transaction is freed. */
void observe_freed(struct transaction *t);
void history_free(struct coordinator *c);

/* spans.c: what a trace is told of a transaction. `parent` NULL: it belongs to none. */
void spans_begin(struct transaction *t, const struct trace_context *parent);
/* It was read from the log: it begins a trace of its own, for what it had is not known any more. */
void spans_recover(struct transaction *t);
/* Of a decision about a branch that belongs to no live transaction: it begins a trace, too. NULL: it is not
 * recorded. Ended with spans_end_stray(). */
struct span *spans_begin_stray(const struct member *member, const struct gid *gid,
                               enum decision decision);
void spans_end_stray(struct span *span, const struct decide_reply *reply, const struct error *err);
void spans_observe(struct transaction *t, const struct observed *what);
void spans_drop(struct transaction *t);
/* What a message is to have as parent: the span of its call, or else what the transaction passes on.
 * NULL: nothing. */
const struct trace_context *spans_context_of(const struct transaction *t, const struct span *span);
const char *spans_trace_id(const struct transaction *t); /* NULL: it has no trace */

/* member.c */
struct member *member_find(struct coordinator *c, const char *name);
const char *member_state_name(const struct member *member); /* "up", "down", "starting" */
void member_start(struct member *member);
void member_free(struct member *member);
/* A call to it was not answered, or it does not know our epoch: fence it again. */
void member_suspect(struct member *member, const struct error *err);
void member_park(struct transaction_branch *branch);
void member_unpark(struct transaction_branch *branch);

/* drain.c: who drained when it stopped. */
enum error_code drain_load(struct coordinator *c, struct error *err);

/* strangers.c: warns of prepared branches of other clusters. */
void strangers_look(struct member *member);

/* shares.c */
/* May `owner` (NULL: nobody) begin another one? ERR_TOO_MANY. */
enum error_code shares_check(struct coordinator *c, const char *owner, struct error *err)
    __attribute__((warn_unused_result));
void shares_take(struct transaction *t, const char *owner); /* it is the owner's from now on */
void shares_give_back(struct transaction *t);               /* before it is freed */

/* slots.c */
void slots_free(struct coordinator *c); /* after all transactions and members */
/* Starts the commit, or lets it wait until there is what it needs. ERR_OVERLOADED: nothing has changed. */
enum error_code slots_commit(struct transaction *t, struct error *err)
    __attribute__((warn_unused_result));
/* After each step of the core: what is not needed any more is given back. */
void slots_follow(struct transaction *t);
void slots_forget(struct transaction *t);
/* It will be prepared, or is, whether there is room or not. */
void slots_hold(struct transaction_branch *branch, const char *server);
/* What it waits for, to start ("slot", "connection"), and of which branch; NULL: nothing. */
const char *slots_wait(const struct transaction *t, unsigned *branch);
/* The member has been fenced, has told how it is, or has gone. */
void slots_know(struct member *member);
/* The database has no slot for it. */
void slots_refused(const struct transaction_branch *branch);

/* recovery.c */
enum { SWEEP_AGAIN_MS = 1000 };
/* Lists what is prepared and finishes what no live transaction owns. `done` comes when the listing is
 * in, the strays are resolved behind it. One at a time per member. */
void recovery_sweep(struct member *member, void (*done)(struct member *member, bool ok));
void recovery_forget(struct member *member); /* before the member is freed */
int64_t recovery_stray_count(const struct member *member);
enum error_code recovery_read_log(struct coordinator *c, struct error *err);

#endif
