/* Throwaway PostgreSQL servers, for the demonstration, the benches and the tests.
 *
 * A server has its data in a private temporary directory, listens on a Unix socket there and on a
 * free loopback port, trusts everybody who can reach it, and syncs as a real one does. It is our
 * own child: it can be stopped, killed with all its processes, paused, and started again on the
 * same data and port. Each server has its own system identifier. As root the servers run as the
 * user postgres, or nobody: PostgreSQL refuses root.
 *
 * All calls block; for command-line programs and tests, never on an event loop that must go on. A
 * server dies with the thread that started it (PR_SET_PDEATHSIG), so start servers from a thread
 * that lives as long as they should.
 */
#ifndef ASSENT_CLI_THROWAWAY_H
#define ASSENT_CLI_THROWAWAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/error.h"

enum { THROWAWAY_SERVERS_MAX = 16, THROWAWAY_DSN_SIZE = 320 };

struct throwaway;
struct throwaway_server;

struct throwaway_options {
  int prepared_max;            /* max_prepared_transactions; 0: 200, -1: really none */
  int connections_max;         /* max_connections; 0: 200 */
  const char *const *settings; /* more "name=value", ended by NULL; NULL: none */
};

/* Makes the directory and finds the server's programs: in $ASSENT_PG_BIN, then where `pg_config
 * --bindir` says, the highest /usr/lib/postgresql/<version>/bin, and $PATH.
 * Owner: the caller, throwaway_free(). NULL on error; the text says what was looked for. */
struct throwaway *throwaway_new(struct error *err);

/* Stops all servers and removes the directory (after throwaway_keep(): neither). NULL is allowed.
 */
void throwaway_free(struct throwaway *t);

/* Servers started from now on outlive us. To be called before the first server. */
void throwaway_keep(struct throwaway *t);

/* throwaway_free() will stop the servers, and leave the directory. */
void throwaway_keep_files(struct throwaway *t);

const char *throwaway_directory(const struct throwaway *t);

/* Makes and starts a server; on return it answers. `name`: a plain file name, for its directory and
 * log; copied. `options` NULL: defaults. Owner: `t`. NULL on error, with the end of the log. */
struct throwaway_server *throwaway_server(struct throwaway *t, const char *name,
                                          const struct throwaway_options *options,
                                          struct error *err);
/* The same for several, at the same time: making one takes a second or more. */
enum error_code throwaway_servers(struct throwaway *t, size_t count, const char *const *names,
                                  const struct throwaway_options *options,
                                  struct throwaway_server **out, struct error *err)
    __attribute__((warn_unused_result));

/* A libpq connection string for the superuser, over the Unix socket. */
void throwaway_server_dsn(const struct throwaway_server *server, const char *dbname,
                          char out[THROWAWAY_DSN_SIZE]);
int throwaway_server_port(const struct throwaway_server *server); /* on 127.0.0.1 */
const char *throwaway_server_socket_dir(const struct throwaway_server *server);
const char *throwaway_server_log(const struct throwaway_server *server); /* path of its log */
pid_t throwaway_server_pid(const struct throwaway_server *server);       /* 0: not running */

/* Fast shutdown: sessions are ended, a checkpoint is made. On return the server is gone. */
void throwaway_server_stop(struct throwaway_server *server);
/* As a power cut would, but for what the kernel still writes: SIGKILL to all its processes. On
 * return none of them is left. */
void throwaway_server_kill(struct throwaway_server *server);
/* After stop or kill: starts it again; on return it answers, and has recovered. */
enum error_code throwaway_server_start(struct throwaway_server *server, struct error *err)
    __attribute__((warn_unused_result));
/* SIGSTOP and SIGCONT to all its processes: it hangs, its sockets stay. */
void throwaway_server_pause(struct throwaway_server *server);
void throwaway_server_resume(struct throwaway_server *server);

/* Stops it and removes its data and its log. The pointer is no more. */
void throwaway_server_remove(struct throwaway_server *server);

/* ---- streaming replication -------------------------------------------------------------------
 *
 * A standby is a server like any other: it can be stopped, killed, paused, started again, and read
 * from. A failover is throwaway_server_kill(primary), throwaway_promote(standby); without the first
 * there are two primaries. What was the primary is of no use afterwards: throwaway_server_remove().
 * A new standby of the promoted one is made by throwaway_standby() again. The kind of a failover
 * follows from the WAL that the standby has: with a synchronous one nothing that was told durable is
 * lost; throwaway_standby_hold() makes an asynchronous one lose what comes after it.
 */

struct throwaway_standby_options {
  bool synchronous;  /* the primary's commits wait for it (for its disk); it must be the only one */
  bool remote_apply; /* and synchronous: until it has applied them */
};

/* Makes a standby from a base backup of `primary`, which runs, with the primary's settings; on
 * return it streams, answers reads and is as synchronous as asked. `options` NULL: asynchronous. A
 * replication slot keeps what it still needs. Owner: `t`. NULL on error. */
struct throwaway_server *throwaway_standby(struct throwaway *t, struct throwaway_server *primary,
                                           const char *name,
                                           const struct throwaway_standby_options *options,
                                           struct error *err);
/* On return nothing reaches the standby any more, and never will if it is promoted so: commits of a
 * synchronous primary wait, an asynchronous one runs ahead. The primary may be gone. */
enum error_code throwaway_standby_hold(struct throwaway_server *standby, struct error *err)
    __attribute__((warn_unused_result));
/* It streams again; waits for that only when the primary runs. */
enum error_code throwaway_standby_release(struct throwaway_server *standby, struct error *err)
    __attribute__((warn_unused_result));
/* Waits until it has applied all that the primary has written before the call. */
enum error_code throwaway_standby_catch_up(struct throwaway_server *standby, struct error *err)
    __attribute__((warn_unused_result));
/* On return it is a primary, out of recovery, on a new timeline, and waits for no standby. */
enum error_code throwaway_promote(struct throwaway_server *standby, struct error *err)
    __attribute__((warn_unused_result));
/* A connection string that finds the primary among servers, whichever it is: the first that takes
 * writes. Over TCP; libpq tries them in this order. */
void throwaway_servers_dsn(struct throwaway_server *const servers[], size_t count,
                           const char *dbname, char out[THROWAWAY_DSN_SIZE]);

/* ---- conveniences ----------------------------------------------------------------------------
 */

/* One connection, one string of statements. Errors: ERR_UNAVAILABLE when not connected, ERR_INVALID
 * with the SQLSTATE when the server refused, ERR_LOST when the connection broke. */
enum error_code throwaway_exec(const char *dsn, const char *sql, struct error *err)
    __attribute__((warn_unused_result));
/* The first column of the first row as an integer; no row, or null: ERR_NOT_FOUND. */
enum error_code throwaway_query_int(const char *dsn, const char *sql, int64_t *out,
                                    struct error *err) __attribute__((warn_unused_result));

#endif
