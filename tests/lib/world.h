/* A world for a test: databases in throwaway PostgreSQL servers (two, unless asked for another
 * number), a coordinator process, and, in mode WORLD_AGENTS, an agent process for each database.
 *
 * The servers are started once for the whole run, and stopped when it ends, also by SIGINT or
 * SIGTERM; databases and daemons are each world's own. Every wait has a deadline that fails the
 * test. A failed wait or start leaves the test at once (longjmp, through CUnit); what it held is
 * released when the next world is opened. When a test has failed the end of the daemons' logs is
 * printed.
 *
 * Two runs at once do not meet: directories by mkdtemp, ports that were free. For the main thread.
 */
#ifndef ASSENT_TESTS_LIB_WORLD_H
#define ASSENT_TESTS_LIB_WORLD_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/process.h"
#include "cli/proxy.h"
#include "cli/throwaway.h"
#include "common/tokens.h"
#include "tests/lib/api.h"
#include "tests/lib/pki.h"
#include "tests/lib/suite.h"

enum world_mode { WORLD_EMBEDDED, WORLD_AGENTS };
enum world_target { COORDINATOR, AGENT_A, AGENT_B, AGENT_C, WORLD_TARGETS };
enum { BANK_A, BANK_B, BANK_C, BANKS_MAX, BANKS = 2 /* unless asked for another number */ };

/* Each database has, from a template:
 *   account  ids 1 to ACCOUNTS, ACCOUNT_BALANCE each, balance not negative
 *   ledger   (id text primary key), empty
 *   promise  a row must refer to an account, which is checked when the transaction ends
 *   gated    a row makes the end of its transaction (PREPARE, COMMIT) wait for the gate */
enum { ACCOUNTS = 10, ACCOUNT_BALANCE = 1000 };

/* Hops that go through a proxy (proxy.h), one for each bank. What a test itself asks never does. */
enum { PROXY_AGENTS = 1, PROXY_DATABASES = 2 };

/* In a secure world: names and roles of its tokens. */
enum world_token { TOKEN_OPERATOR, TOKEN_SHOP, TOKEN_OTHER_SHOP, TOKEN_METRICS, WORLD_TOKENS };

struct world_options {
  int banks;                         /* 1 to BANKS_MAX; 0: BANKS */
  bool one_server;                   /* both databases are on the first server */
  bool without_prepared;             /* bank_b is on a server with max_prepared_transactions = 0 */
  struct throwaway_server *server_b; /* bank_b is on this server; NULL: not */
  const char *reach_b;    /* and is reached by this connection string, without its dbname */
  const char *settings;   /* further lines of [coordinator]; NULL: none */
  const char *agent;      /* further lines of each [agent]; NULL: none */
  const char *database;   /* further lines of each database section; NULL: none */
  const char *statements; /* a file of named statements, to which all are limited; NULL: none */
  const char *crash;      /* crash point of the coordinator's first life; NULL: none */
  const char
      *fault; /* what fails (tests/fault/preload.c) while the world is broken; NULL: nothing */
  enum world_target fault_target; /* in which process: the coordinator, unless told */
  bool secure;                    /* TLS everywhere, client certificates between daemons, tokens */
  unsigned proxies; /* PROXY_AGENTS (to the coordinator's agents; none embedded), ... */
};

struct world {
  struct api *api; /* of the coordinator, whatever port it has */
  enum world_mode mode;
  char directory[256];
  int banks;
  char dsn[BANKS_MAX][THROWAWAY_DSN_SIZE];
  struct throwaway_server *servers[BANKS_MAX];
  struct process *processes[WORLD_TARGETS]; /* NULL: not running */
  uint16_t ports[WORLD_TARGETS];
  const char *settings, *agent_settings, *database_settings;
  char statements[512]; /* the file's path; "": none */
  const char *fault;    /* of lives to come; a test may change it */
  enum world_target fault_target;
  struct pki *pki; /* NULL: not secure. Of DIRECTORY/pki */
  char tokens[WORLD_TOKENS]
             [TOKEN_TEXT_SIZE]; /* of DIRECTORY/tokens; the api shows the operator's */
  char ca[512];
  bool standard_files_closed;                                 /* in lives to come: 0, 1 and 2 */
  struct proxy *to_agent[BANKS_MAX], *to_database[BANKS_MAX]; /* NULL: no proxy on this hop */
  char database[BANKS_MAX][32];
  unsigned failures_before;
  bool logs_printed;
};

/* All runs and the coordinator is ready; with a crash point it may have gone again. */
struct world *world_open(enum world_mode mode, const struct world_options *options);
/* Checks that nothing is left prepared in the databases and that each daemon ends by itself, with
 * exit 0, on SIGTERM. */
void world_close(struct world *w);

/* Writes another file of named statements, which a daemon reads on SIGHUP. */
void world_limit(struct world *w, const char *statements);

/* ---- daemons --------------------------------------------------------------------------------- */

/* On return it has bound its port. `crash`: a crash point (crash_point.h), or NULL. */
void world_start(struct world *w, enum world_target target, const char *crash);
/* The same; false when it has ended, or hangs, before it has bound its port. */
bool world_starts(struct world *w, enum world_target target);
void world_wait_ready(struct world *w);
/* kill -9, start, ready. */
void world_restart(struct world *w, enum world_target target);
void world_kill(struct world *w, enum world_target target);
/* SIGTERM; checks that it ends by itself, with exit 0. Does nothing when it does not run. */
void world_stop(struct world *w, enum world_target target);
/* Waits until it has ended by itself (or by a signal sent before); its waitpid(2) status. */
int world_wait_ended(struct world *w, enum world_target target);
/* The same, for one that meets its crash point: checks that it was that. */
void world_wait_crashed(struct world *w, enum world_target target);
/* Whether it stands at a crash point of the form "C5:stop"; and lets it go on. */
bool world_is_stopped(struct world *w, enum world_target target);
void world_resume(struct world *w, enum world_target target);
/* The process in which the branches of a bank run. */
enum world_target world_agent_of(const struct world *w, int bank);
/* Another coordinator on the same log; returns its exit status, and the end of its log. */
int world_run_second(struct world *w, char *log, size_t log_size);

/* Open files, of the process. */
/* "VmRSS", or "VmHWM", its highest so far, as in proc(5). -1: it cannot be told. */
int64_t world_memory_kib(const struct world *w, enum world_target target, const char *which);
unsigned world_open_files(const struct world *w, enum world_target target);

/* From now on, until it is mended, what options.fault says fails; in lives that begin before and
 * after. Calls are counted from here on, of each life on its own. */
void world_break(struct world *w);
void world_mend(struct world *w);
/* How often the log of a daemon has this text. */
unsigned world_logged(const struct world *w, enum world_target target, const char *text);

/* ---- databases ------------------------------------------------------------------------------- */

/* Any statements, on a connection of their own; a failure is the test's. */
void world_sql(const struct world *w, int bank, const char *sql_format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first column of the first row; -1 when there is none. */
int64_t world_integer(const struct world *w, int bank, const char *sql_format, ...)
    __attribute__((format(printf, 3, 4)));
/* Owner: the test, PQfinish(). */
PGconn *world_connect(const struct world *w, int bank);
/* Runs it; a failure is the test's. */
void world_run_on(PGconn *session, const char *sql);

int64_t world_balance(const struct world *w, int bank, int account);
int64_t world_money(const struct world *w);              /* of all banks */
int64_t world_prepared(const struct world *w, int bank); /* in this database, of anybody */
void world_wait_nothing_prepared(struct world *w);
/* Moved from account 1 of bank_a to account 1 of bank_b, and nothing else has changed. */
#define CHECK_MOVED(w, amount) check_moved(w, amount, __FILE__, __LINE__)
void check_moved(const struct world *w, int64_t amount, const char *file, unsigned line);

/* The gate: while it is closed, whoever wrote to `gated` waits at PREPARE. Owner: the test,
 * gate_open() ends it. */
PGconn *gate_close(const struct world *w, int bank);
void gate_open(PGconn *gate);
#define AT_GATE STATEMENT("INSERT INTO gated VALUES (1)")
/* Branches that wait at the gate now. */
int64_t gate_waiting(const struct world *w, int bank);
/* Until the only transaction under way has bank_b's yes, and bank_a waits at the gate. That bank_b lists
 * the branch as prepared is not enough: its answer may still wait for a replica. */
void gate_wait_half_voted(struct world *w);

void world_server_kill(struct world *w, int bank);
void world_server_start(struct world *w, int bank);

/* For tests in which a database is away: a daemon looks for it, before it says so, for call_timeout (5 s when nothing
 * is said), and again after health_interval (2 s). */
#define LOOKS_SHORTLY "call_timeout = 2s\n"
#define LOOKS_OFTEN   "health_interval = 50ms\n"

/* ---- waiting --------------------------------------------------------------------------------- */

/* UNTIL(world_prepared(w, BANK_A) == 0): looks again and again; fails the test after a while. */
#define UNTIL(condition)                                                                           \
  do {                                                                                             \
    for (uint64_t until_start_us = 0; !(condition);)                                               \
      world_patience(&until_start_us, #condition, __FILE__, __LINE__);                             \
  } while (0)
void world_patience(uint64_t *start_us, const char *condition, const char *file, unsigned line);

/* ---- both modes ------------------------------------------------------------------------------ */

#define IN_BOTH_MODES(test)                                                                        \
  static void test##_embedded(void) {                                                              \
    test(WORLD_EMBEDDED);                                                                          \
  }                                                                                                \
  static void test##_agents(void) {                                                                \
    test(WORLD_AGENTS);                                                                            \
  }
#define BOTH(test) CASE(test##_embedded), CASE(test##_agents)

#endif
