/* The ground the fact tests stand on: real PostgreSQL servers, and sessions that say what they heard.
 *
 * A fact is a case; its name is the sentence. The runner (main.c) prints a line for each, with the
 * version it was seen on and what facts_note() noted there. ASSENT_PG_BIN chooses the binaries.
 *
 * The main server is made once. Before each case facts_setup() ends all sessions and prepared
 * transactions there and gives it the same tables; sessions opened by a case are closed for it.
 * What the ground itself cannot do ends the program; so does an answer that does not come.
 */
#ifndef ASSENT_TESTS_FACTS_FACTS_H
#define ASSENT_TESTS_FACTS_FACTS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/throwaway.h"
#include "tests/lib/suite.h"

/* ---- servers --------------------------------------------------------------------------------- */

/* Databases facts, other; roles alice and bob, who may use all tables. Tables in facts:
 *   account(id primary key, balance)   rows 1 and 2 with 100 each
 *   late(id, unique, deferred)         row 1
 *   scratch(id)                        unlogged, empty
 * FACTS_SLOTS prepared transactions at most. It waits for a synchronous standby that never comes,
 * in sessions that set synchronous_commit to on; the default is local. No autovacuum. */
enum { FACTS_SLOTS = 10 };
struct throwaway_server *facts_server(void);
/* A server without prepared transactions, at wal_level minimal; database postgres only. */
struct throwaway_server *facts_bare_server(void);
/* kill -9 of all its processes, and the start after it. Sessions are lost. */
void facts_crash(struct throwaway_server *server);
int facts_major(void); /* of the servers: 15 */

void facts_setup(void);          /* before each case about PostgreSQL */
void facts_teardown(void);       /* after it */
const char *facts_version(void); /* "15.20"; "" before the first server runs */

/* The throwaway directory's owner, for a fixture that makes servers of its own. */
struct throwaway *facts_throwaway(void);
_Noreturn void facts_give_up(const char *what, const char *why);

/* ---- sessions -------------------------------------------------------------------------------- */

/* What a server answered to the last command of a string. */
struct answer {
  char sqlstate[6]; /* "" when it was no error; "skip" when a pipeline skipped it */
  char tag[64];     /* of the command; "" on an error */
  char value[256];  /* first column of the first row; "" when there is none, or null */
  char warning[6];  /* SQLSTATE of the last WARNING that came with it, or "" */
  char text[160];   /* of the error */
};

/* Sessions are closed by facts_teardown(). */
PGconn *facts_session(void); /* superuser, database facts */
PGconn *facts_session_as(const struct throwaway_server *server, const char *dbname,
                         const char *more);

struct answer say(PGconn *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same in two halves, for what waits. */
void say_begin(PGconn *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct answer hear(PGconn *session);

/* One pipeline: each text is a command of its own; SYNC is a Sync. Ends with NULL. Answers of the
 * commands, in order, in `out`; returns how many. */
#define SYNC ""
enum { PIPELINE_MAX = 8 };
size_t say_in_pipeline(PGconn *session, struct answer out[PIPELINE_MAX],
                       const char *const *commands);

/* Waits until this query of the superuser gives true. */
void facts_until(const char *condition);

/* ---- checks ---------------------------------------------------------------------------------- */

/* CHECK_SAYS(session, "PREPARE TRANSACTION", "PREPARE TRANSACTION 'x'"): the tag that comes.
 * CHECK_REFUSED: the SQLSTATE; CHECK_VALUE: the first column of the first row. */
#define CHECK_SAYS(session, want, ...)                                                             \
  facts_check("tag", say(session, __VA_ARGS__), want, __FILE__, __LINE__)
#define CHECK_REFUSED(session, want, ...)                                                          \
  facts_check("sqlstate", say(session, __VA_ARGS__), want, __FILE__, __LINE__)
#define CHECK_VALUE(session, want, ...)                                                            \
  facts_check("value", say(session, __VA_ARGS__), want, __FILE__, __LINE__)
#define CHECK_TAG_IS(answer, want)      facts_check("tag", answer, want, __FILE__, __LINE__)
#define CHECK_SQLSTATE_IS(answer, want) facts_check("sqlstate", answer, want, __FILE__, __LINE__)
#define CHECK_WARNING_IS(answer, want)  facts_check("warning", answer, want, __FILE__, __LINE__)
void facts_check(const char *what, struct answer answer, const char *want, const char *file,
                 unsigned line);

/* What holds from a major version on; rows from the lowest, ended by {0, NULL}. */
struct since {
  int major;
  const char *what;
};
/* What is expected of the version at hand; noted for the line of this fact, too. */
const char *facts_expected(const struct since *by_version);
/* A word or two that the fact's line shows. */
void facts_note(const char *note);

#endif
