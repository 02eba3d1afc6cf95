/* What the benches share: giving up, medians, daemons, plain statements. A bench has no error paths: what
 * fails ends it, with the reason.
 */
#ifndef ASSENT_BENCH_BENCH_H
#define ASSENT_BENCH_BENCH_H

#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "cli/process.h"
#include "common/error.h"

/* Ends the program with status 3. What was set up is taken down by atexit(3). */
_Noreturn void bench_fail(const char *what, const char *why);
static inline void must(bool ok, const char *what, const char *why) {
  if (!ok) bench_fail(what, why);
}
void must_go(enum error_code code, const struct error *err, const char *what);

/* From here on SIGINT and SIGTERM only leave their number: a bench ends what it has begun. */
void bench_catch_signals(void);
extern volatile sig_atomic_t bench_interrupted;

/* Sorts the values. */
double median(double *values, unsigned count);

struct bench_daemon {
  const char *directory;      /* gets NAME.ini, NAME.port, NAME.log */
  const char *program;        /* beside this one: "assentd" */
  const char *name;           /* NULL: as the program */
  const char *config;         /* text of its file */
  const char *const *env_add; /* as of process.h; NULL: none */
  const char *const
      *wrapper; /* words before the program ("valgrind", ...), ended by NULL; NULL: none */
};

/* On return it has bound its port. Owner: process_free(). */
struct process *bench_start(const struct bench_daemon *daemon, uint16_t *port);
/* Until a GET answers 200. */
void bench_wait_ok(uint16_t port, const char *path);

/* Owner: PQfinish(). */
PGconn *bench_connect(const char *dsn);
void bench_sql(PGconn *connection, const char *sql);

#endif
