/* PostgreSQL behind adapter.h: the table of calls, opening and closing.
 *
 * Asks of the server at connect who it is. The timeline comes from the name of the WAL file being
 * written: the control file's is that of the last checkpoint, which after a promotion is still the
 * old one. A standby has no such file, and is refused anyway.
 * Limits: application_name of 63 bytes (the server cuts it there).
 */
#include "adapters/postgres.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char identity_query[] =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.concat("
    "(SELECT system_identifier FROM pg_catalog.pg_control_system()), '/', "
    "CASE WHEN pg_catalog.pg_is_in_recovery() "
    "THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()) "
    "ELSE pg_catalog.concat('x', pg_catalog.left(pg_catalog.pg_walfile_name("
    "pg_catalog.pg_current_wal_lsn()), 8))::pg_catalog.bit(32)::pg_catalog.int4 END, '/', "
    "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())), "
    "pg_catalog.pg_backend_pid(), pg_catalog.current_setting('max_prepared_transactions'), "
    "current_user, pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())";

/* ---- opening --------------------------------------------------------------------------------- */

static const struct session_op open_op;

static void open_failed(struct session *s, const struct error *err) {
  session_opened_fn opened = s->opened;
  if (timeouts_may_have_failed(s, err)) {
    s->without_options = true;
    wire_connect(s, &open_op);
    return;
  }
  if (s->postgres->hosts) hosts_failed(s->postgres->hosts, s->host_first);
  wire_break(s);
  opened(s->data, NULL, err);
}

/* Is this a server to work on? Who was its primary until a failover, or another server where the
 * connection string leads by mistake, would take branches and decisions that it must not. */
static enum error_code check_identity(const struct session *s, struct error *err) {
  const char *was = s->postgres->server, *is = s->identity.server;
  const char *until_now = *was ? "; until now it was server " : "";
  if (s->standby)
    return error_set(err, ERR_UNAVAILABLE,
                     "server %s is a standby: it shows no prepared transactions and takes none%s%s",
                     is, until_now, was);
  switch (server_relation(was, is)) {
  case SERVER_PREDECESSOR:
    return error_set(err, ERR_UNAVAILABLE,
                     "server %s is on an older timeline than %s, which it was until now: a former "
                     "primary, or an old copy. Restart to work with it all the same",
                     is, was);
  case SERVER_STRANGER:
    return error_set(err, ERR_UNAVAILABLE,
                     "server %s is another one than %s, which it was until now: does the "
                     "connection string lead where it should? Restart to work with it all the same",
                     is, was);
  case SERVER_UNRELATED:
  case SERVER_SAME:
  case SERVER_SUCCESSOR: break;
  }
  return ERR_OK;
}

/* What the connection string has led to. PQhost() is the directory of a socket. */
static void note_place(const struct session *s, struct session_identity *identity) {
  const char *host = PQhost(s->connection), *port = PQport(s->connection);
  const char *database = PQdb(s->connection);
  bool is_socket = host && host[0] == '/';
  identity->port = (uint16_t)strtoul(port ? port : "", NULL, 10);
  (void)snprintf(identity->database, sizeof identity->database, "%s", database ? database : "");
  (void)snprintf(identity->host, sizeof identity->host, is_socket ? "%s/.s.PGSQL.%u" : "%s",
                 host ? host : "", identity->port);
}

static void open_result(struct session *s, struct step step, PGresult *result) {
  struct session_identity *identity = &s->identity;
  if (step.index > 0) {
    timeouts_take(s, result);
    return;
  }
  if (result_is_error(result) || PQntuples(result) != 1) {
    cause_from_result(&s->ask.cause, -1, result);
    return;
  }
  s->standby = PQgetvalue(result, 0, 0)[0] == 't';
  (void)snprintf(identity->server, sizeof identity->server, "%s", PQgetvalue(result, 0, 1));
  identity->backend_pid = atoi(PQgetvalue(result, 0, 2));
  identity->prepared_max = strtoll(PQgetvalue(result, 0, 3), NULL, 10);
  (void)snprintf(s->role, sizeof s->role, "%s", PQgetvalue(result, 0, 4));
  identity->next_xid = strtoull(PQgetvalue(result, 0, 5), NULL, 10);
  identity->server_version = PQserverVersion(s->connection);
  note_place(s, identity);
}

static void open_drained(struct session *s) {
  struct error err = {0};
  if (s->identity.server_version == 0 && s->ask.cause.kind == CAUSE_NONE) { /* just connected */
    timeouts_connected(s);
    wire_query(s, STEP_QUERY, 0, identity_query, 0, NULL);
    if (timeouts_are_asked(s)) wire_query(s, STEP_QUERY, 1, timeouts_query, 0, NULL);
    wire_sync(s);
    wire_flush(s);
  } else if (s->ask.cause.kind != CAUSE_NONE) {
    error_from_cause(&err, ERR_UNAVAILABLE, &s->ask.cause);
    (void)error_wrap(&err, "the database does not say who it is");
    open_failed(s, &err);
  } else if (check_identity(s, &err) != ERR_OK) {
    open_failed(s, &err);
  } else {
    memcpy(s->postgres->server, s->identity.server, sizeof s->postgres->server);
    s->discarded = true;
    wire_end(s, SESSION_IDLE);
    s->opened(s->data, &s->identity, NULL);
  }
}

static const struct session_op open_op = {.result = open_result,
                                          .drained = open_drained,
                                          .lost = open_failed};

static struct session *postgres_open(struct adapter *adapter, enum session_use use,
                                     const char *application_name, int64_t call_timeout_ms,
                                     session_opened_fn opened, session_lost_fn lost, void *data) {
  struct postgres *postgres = (struct postgres *)adapter;
  assert(strlen(application_name) < sizeof((struct session *)0)->application_name);
  struct session *s = calloc(1, sizeof *s);
  assert(s);
  s->postgres = postgres;
  s->loop = postgres->loop;
  s->leaves_rows = postgres->leaves_rows;
  s->runs_branches = use == SESSION_FOR_BRANCHES;
  (void)snprintf(s->application_name, sizeof s->application_name, "%s", application_name);
  s->call_timeout_ms = call_timeout_ms;
  s->opened = opened;
  s->lost = lost;
  s->data = data;
  wire_connect(s, &open_op);
  return s;
}

static void postgres_close(struct session *s) {
  if (!s) return;
  finish_discard(s);
  rows_discard(&s->run.rows);
  run_drop_job(s);
  survey_discard(s);
  free(s->ask.branches);
  s->ask.branches = NULL;
  free(s->ask.blockers);
  s->ask.blockers = NULL;
  wire_close(s);
}

static bool postgres_is_idle(const struct session *s) {
  return s->state == SESSION_IDLE;
}

/* ---- the adapter ----------------------------------------------------------------------------- */

static void postgres_leave_rows(struct adapter *adapter) {
  ((struct postgres *)adapter)->leaves_rows = true;
}

static void postgres_free(struct adapter *adapter) {
  struct postgres *postgres = (struct postgres *)adapter;
  hosts_free(postgres->hosts);
  free(postgres->own_options);
  free(postgres->dsn);
  loop_soon_free(postgres->send);
  free(postgres);
}

static const struct adapter_ops postgres_ops = {.free = postgres_free,
                                                .leave_rows = postgres_leave_rows,
                                                .open = postgres_open,
                                                .close = postgres_close,
                                                .run = session_run,
                                                .rollback = session_rollback,
                                                .commit = session_commit,
                                                .is_idle = postgres_is_idle,
                                                .finish = session_finish,
                                                .look_up = session_look_up,
                                                .xact_status = session_xact_status,
                                                .barrier = session_barrier,
                                                .list = session_list,
                                                .end_sessions = session_end_sessions,
                                                .cancel = session_cancel,
                                                .blockers = session_blockers,
                                                .claim_epoch = session_claim_epoch,
                                                .probe = session_probe_server,
                                                .survey = session_survey,
                                                .forget_rows = session_forget_rows};

/* libpq quotes what it does not understand, and that may be a piece of a password: such a text is
 * replaced. */
enum error_code postgres_dsn_check(const char *dsn, struct error *err) {
  char *message = NULL;
  PQconninfoOption *options = PQconninfoParse(dsn, &message);
  enum error_code code = ERR_OK;
  if (!options) {
    bool safe = message && !strchr(message, '"') && !strchr(message, '\'');
    code = error_set(err, ERR_CONFIG, "not a libpq connection string or URI: %.*s",
                     safe ? (int)strcspn(message, "\n") : 200,
                     safe ? message
                          : "an option libpq does not know, a value without quotes around its "
                            "spaces, or a wrong separator");
  }
  PQfreemem(message);
  PQconninfoFree(options);
  return code;
}

struct adapter *postgres_adapter_new(struct loop *loop, const char *dsn, struct error *err) {
  if (postgres_dsn_check(dsn, err) != ERR_OK) return NULL;
  struct postgres *postgres = calloc(1, sizeof *postgres);
  char *copy = strdup(dsn);
  if (!postgres || !copy) {
    free(postgres);
    free(copy);
    (void)error_set(err, ERR_MEMORY, "no memory for an adapter");
    return NULL;
  }
  postgres->base.ops = &postgres_ops;
  postgres->loop = loop;
  postgres->dsn = copy;
  postgres->hosts = hosts_new(dsn);
  timeouts_init(postgres);
  postgres->send = loop_soon_new(loop, wire_flush_all, postgres);
  return &postgres->base;
}
