/* The crash matrix: every named crash point, met by transactions of one, two and three participants
 * that commit or abort, with the agents embedded or processes of their own; and at each of these
 * steps either the process killed, or a database.
 *
 *   plan.c    what there is to try, and what docs/design.md promises for it
 *   trial.c   tries one cell: runs a transaction into its point, does the fault, heals
 *   judge.c   what has to hold afterwards
 *   report.c  the tables
 *   main.c    the workers that share the cells
 */
#ifndef ASSENT_TESTS_CRASH_MATRIX_MATRIX_H
#define ASSENT_TESTS_CRASH_MATRIX_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/id.h"
#include "tests/lib/world.h"

/* ---- what there is to try ---------------------------------------------------------------------- */

enum fault {
  KILLED,        /* the process that meets the point dies there, and is started again */
  DATABASE_BACK, /* it stops there; a database is killed and is back before it goes on */
  DATABASE_DOWN, /* it stops there; a database is killed, and is back only after that was noticed */
  FAULTS
};

/* What has to come of the transaction. EITHER: both are right, all branches the same. */
enum expected { NEVER_MET, ABORTS, COMMITS, EITHER };

struct point {
  const char *label; /* "C6-last": the last passage, or the last participant's agent */
  const char *name;  /* as in ASSENT_CRASH */
  bool last;
  bool agents;   /* it is met by an agent, where agents are processes */
  bool recovery; /* it is met when a transaction left by a former life is recovered */
  /* By fault: several participants, commit and abort; one participant, commit and abort. */
  const char *expected[FAULTS];
};

struct cell {
  enum fault fault;
  const struct point *point;
  enum world_mode mode;
  int banks;
  bool abort; /* the last participant cannot prepare, a sole one cannot commit */
};

enum { CELLS_MAX = 1000, CELL_NAME_SIZE = 64 };

const char *fault_name(enum fault fault);
extern const struct point points[];
extern const size_t point_count;

/* All cells, in the order of the tables. */
size_t plan_cells(struct cell out[CELLS_MAX]);
enum expected plan_expected(const struct cell *cell);
/* As "killed/C6-last/3/commit/agents". */
void plan_name(const struct cell *cell, char out[CELL_NAME_SIZE]);
/* Whether each part of `filter` ("C6/agents") is a part of the cell's name; "C6" is "C6-last", too. */
bool plan_matches(const struct cell *cell, const char *filter);

/* ---- trying ------------------------------------------------------------------------------------ */

enum verdict { UNTRIED, UNDER_WAY, PASSED, FAILED };
enum outcome { OUTCOME_UNKNOWN, OUTCOME_ABORTED, OUTCOME_COMMITTED };

struct result {
  enum verdict verdict;
  enum outcome outcome; /* of the transaction that met the point */
  unsigned again;       /* lives killed in the recovery */
};

/* A transaction of ours. */
struct attempt {
  char label[16]; /* in each bank's ledger, too, when it has committed */
  char id[TXID_SIZE];
  enum outcome told;
};

enum { ATTEMPTS_MAX = 64, AMOUNT = 10 };

struct trial {
  const struct cell *cell;
  struct result *result;
  struct world *w;
  enum world_target at; /* who meets the point */
  int bank;             /* whose database is killed */
  struct attempt attempts[ATTEMPTS_MAX];
  size_t count;
  struct attempt *met; /* the one the point concerns */
  struct async *call;
  PGconn *gate;
  PGconn *sessions[BANKS_MAX]; /* for looking; opened when first wanted */
  struct gid earlier;          /* of the first transaction */
};

/* One cell from beginning to end, as a CUnit test: what fails is a failed check. */
void trial_run(const struct cell *cell, struct result *result);

/* ---- judging ----------------------------------------------------------------------------------- */

/* The first column of the first row. A connection for each look would cost more than all else. */
int64_t judge_integer(struct trial *t, int bank, const char *sql_format, ...)
    __attribute__((format(printf, 3, 4)));
int64_t judge_prepared(struct trial *t, int bank); /* in this bank, of anybody */
/* Notes what the answer says: only an outcome that was told counts. */
void judge_hear(struct attempt *attempt, const struct reply *reply);
/* Every participant is there and every transaction at its end. False while the coordinator is away. */
bool judge_settled(struct trial *t);
/* All that has to hold, for all attempts. */
void judge(struct trial *t);

/* ---- reporting --------------------------------------------------------------------------------- */

/* Returns the number of cells that have not passed. */
size_t report_print(FILE *out, const struct cell *cells, const struct result *results,
                    size_t count);

#endif
