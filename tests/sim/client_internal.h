/* An errand of a client, shared by client.c, which runs it, and client_errand.c, which says what it is. */
#ifndef ASSENT_TESTS_SIM_CLIENT_INTERNAL_H
#define ASSENT_TESTS_SIM_CLIENT_INTERNAL_H

#include "common/json.h"
#include "tests/sim/client.h"

enum { MOVES_MAX = 6 };

enum ending { END_COMMIT, END_ROLLBACK, END_NOTHING };

struct move {
  unsigned database, account;
  int64_t amount;
};

struct errand {
  struct clients *clients;
  unsigned number, attempt;
  char label[32];
  bool one_call, wait_decided, statements_at_begin;
  bool keyed; /* its POST has a key: an answer that is lost is asked for by the same again */
  unsigned repeats;
  char told_id[TXID_SIZE]; /* as told for its key, for good */
  enum ending ending;
  struct move moves[MOVES_MAX];
  unsigned move_count;
  unsigned involved, reading, external; /* databases, as bits */
  unsigned failing;                     /* database whose branch fails, from 1; 0: none */
  bool expects_wrong;
  bool impatient;      /* asks for the commit before its own PREPARE is answered */
  bool changes_mind;   /* asks for a rollback while the commit is under way */
  bool prepares_twice; /* under the same gid, whatever became of the first one */
  bool prepares_late;  /* long after it was told its gids, whatever has become of the transaction */
  int64_t timeout_ms;
  /* where it is */
  struct exchange *exchange, *second; /* nobody waits for the second */
  struct sim_event *pause, *regret, *again;
  void (*next)(struct errand *errand);
  unsigned life;     /* of the coordinator when it was asked */
  bool old_log;      /* an old log was in the place of the right one then */
  unsigned old_logs; /* of the coordinator then */
  char txid[TXID_SIZE];
  unsigned branch; /* the next one, of a step-by-step errand */
  unsigned looks, asked;
  bool settled, done, final;
  bool preparing; /* by the application itself */
  bool dropped;
  char gids[DATABASES_MAX][GID_SIZE]; /* of the branches that it prepares */
};

struct clients {
  struct clients_options options;
  struct errand *errands, *former;
  size_t count, hurried;
  uint64_t pause_max_us; /* how fast they are */
};

/* Is this database, or its bit, among them? */
bool errand_has(unsigned databases, unsigned database);
/* Chooses what it is to do. */
void errand_choose(struct errand *errand);
/* The members of a statement's object, and the member "branches" of a transaction's. */
/* It fails when the agent has the results, and only then: where they are lost, what is found prepared is voted
 * for. Else the database refuses it. At no cost in chance. */
bool errand_reads_too_much(const struct errand *errand);
void errand_write_statement(struct json_writer *w, const struct errand *errand,
                            const struct move *move);
void errand_write_branches(struct json_writer *w, const struct errand *errand);

/* ---- client_prepare.c: branches that the application prepares ----------------------------------- */

enum { LATER_MAX_US = 6000000 };
/* In the database, under the gid that was told; NULL: nobody asks what came out. */
void errand_prepare(struct errand *errand, unsigned database,
                    void (*done)(void *data, bool prepared));
/* Under every gid that was told, whatever became of it. */
void errand_prepare_again(struct errand *errand);
/* The same, in a while. */
void errand_prepare_soon(struct errand *errand);
void errand_prepare_late(struct errand *errand);

#endif
