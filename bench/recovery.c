/* How fast is recovery? See docs/reliability.md for figures, and for what they mean.
 *
 *   resolve   N transactions decided, none of them told: two prepared branches each, in two servers. Time
 *             from the start of assentd until none is left prepared, against a bare libpq program that
 *             sends the same COMMIT PREPARED, pipelined, on one connection to each server, from one
 *             thread. In turns, so that a drift of the machine touches both.
 *   idle      time from a start after kill -9, with nothing to recover, until /readyz answers 200.
 *   return    one transaction decided whose agent is down: time from the agent's /healthz until the
 *             branch has committed.
 *
 * The state after a kill at "decided, nothing sent" is made directly, the branches in the databases and
 * the decisions in a log: it is the same as after a kill, and takes seconds to make, not minutes.
 */
#include <assert.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/bench.h"
#include "cli/process.h"
#include "cli/throwaway.h"
#include "common/clock.h"
#include "wal/wal.h"

enum { BANKS = 2, ROUNDS_MAX = 9, POLL_MS = 20, PATIENCE_US = 120 * 1000000, PIPELINE_STEP = 250 };

struct site {
  struct throwaway *throwaway;
  struct throwaway_server *servers[BANKS];
  char dsn[BANKS][THROWAWAY_DSN_SIZE];
  PGconn *connections[BANKS];
  char identity[BANKS][SERVER_SIZE];
  char directory[400];
  unsigned count; /* transactions */
  struct txid *ids;
  char (*gids)[BANKS][GID_SIZE];
  char (*xids)[BANKS][XID_SIZE];
  unsigned rounds;
  unsigned made; /* logs so far */
};

/* ---- the databases ------------------------------------------------------------------------------ */

static void open_bank(struct site *s, int bank) {
  throwaway_server_dsn(s->servers[bank], "postgres", s->dsn[bank]);
  PGconn *connection = s->connections[bank] = bench_connect(s->dsn[bank]);
  bench_sql(connection, "CREATE TABLE effect (id bigint)");
  PGresult *result =
      PQexec(connection, "SELECT (SELECT system_identifier FROM pg_control_system()) || '/' ||"
                         " (SELECT timeline_id FROM pg_control_checkpoint()) || '/' ||"
                         " (SELECT oid FROM pg_database WHERE datname = current_database())");
  must(PQresultStatus(result) == PGRES_TUPLES_OK, "identity", PQerrorMessage(connection));
  (void)snprintf(s->identity[bank], sizeof s->identity[bank], "%s", PQgetvalue(result, 0, 0));
  PQclear(result);
}

/* BEGIN, a write, the xid, PREPARE: as a branch is run, pipelined a step at a time. */
static void prepare_step(struct site *s, int bank, unsigned from, unsigned to) {
  PGconn *connection = s->connections[bank];
  char sql[200];
  must(PQenterPipelineMode(connection) == 1, "pipeline", PQerrorMessage(connection));
  for (unsigned i = from; i < to; i++) {
    (void)PQsendQueryParams(connection, "BEGIN", 0, NULL, NULL, NULL, NULL, 0);
    (void)snprintf(sql, sizeof sql, "INSERT INTO effect VALUES (%u)", i);
    (void)PQsendQueryParams(connection, sql, 0, NULL, NULL, NULL, NULL, 0);
    (void)PQsendQueryParams(connection, "SELECT pg_current_xact_id()", 0, NULL, NULL, NULL, NULL,
                            0);
    (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", s->gids[i][bank]);
    (void)PQsendQueryParams(connection, sql, 0, NULL, NULL, NULL, NULL, 0);
    must(PQpipelineSync(connection) == 1, "sync", PQerrorMessage(connection));
  }
  for (unsigned i = from; i < to;) {
    PGresult *result = PQgetResult(connection);
    if (!result) continue; /* between two statements */
    ExecStatusType status = PQresultStatus(result);
    must(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_PIPELINE_SYNC,
         "preparing", PQerrorMessage(connection));
    if (status == PGRES_TUPLES_OK)
      (void)snprintf(s->xids[i][bank], XID_SIZE, "%s", PQgetvalue(result, 0, 0));
    if (status == PGRES_PIPELINE_SYNC) i++;
    PQclear(result);
  }
  must(PQexitPipelineMode(connection) == 1, "pipeline", PQerrorMessage(connection));
}

static void prepare_all(struct site *s, const struct cluster_id *cluster, uint64_t epoch) {
  for (unsigned i = 0; i < s->count; i++) {
    s->ids[i] = txid_make(clock_wall_us());
    for (unsigned bank = 0; bank < BANKS; bank++) {
      struct gid gid = {*cluster, epoch, s->ids[i], bank + 1};
      gid_format(&gid, s->gids[i][bank]);
    }
  }
  for (int bank = 0; bank < BANKS; bank++) {
    bench_sql(s->connections[bank], "CHECKPOINT"); /* of what the round before has left */
    for (unsigned i = 0; i < s->count; i += PIPELINE_STEP)
      prepare_step(s, bank, i, i + PIPELINE_STEP < s->count ? i + PIPELINE_STEP : s->count);
  }
}

static unsigned prepared_left(struct site *s) {
  unsigned left = 0;
  for (int bank = 0; bank < BANKS; bank++) {
    PGresult *result = PQexec(s->connections[bank], "SELECT count(*) FROM pg_prepared_xacts");
    must(PQresultStatus(result) == PGRES_TUPLES_OK, "counting",
         PQerrorMessage(s->connections[bank]));
    left += (unsigned)strtoul(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
  }
  return left;
}

static void wait_nothing_prepared(struct site *s, uint64_t start_us) {
  while (prepared_left(s)) {
    must(clock_monotonic_us() - start_us < PATIENCE_US, "recovery", "it takes longer than 2 min");
    process_pause_ms(POLL_MS);
  }
}

/* ---- bare ---------------------------------------------------------------------------------------- */

struct bare {
  PGconn *connection;
  unsigned sent, answered;
};

static void bare_read(struct bare *b) {
  must(PQconsumeInput(b->connection) == 1, "bare", PQerrorMessage(b->connection));
  while (!PQisBusy(b->connection)) {
    PGresult *result = PQgetResult(b->connection);
    if (!result) {
      if (b->answered == b->sent || PQisBusy(b->connection)) return;
      continue;
    }
    ExecStatusType status = PQresultStatus(result);
    must(status == PGRES_COMMAND_OK || status == PGRES_PIPELINE_SYNC, "COMMIT PREPARED",
         PQerrorMessage(b->connection));
    b->answered += status == PGRES_PIPELINE_SYNC;
    PQclear(result);
    if (b->answered == b->sent) return;
  }
}

/* Both servers at once from one thread, everything in the pipeline. Returns seconds. */
static double resolve_bare(struct site *s) {
  struct bare bare[BANKS] = {{0}};
  uint64_t start_us = clock_monotonic_us();
  for (int bank = 0; bank < BANKS; bank++) {
    PGconn *connection = bare[bank].connection = bench_connect(s->dsn[bank]);
    must(PQsetnonblocking(connection, 1) == 0 && PQenterPipelineMode(connection) == 1, "pipeline",
         PQerrorMessage(connection));
  }
  for (bool done = false; !done;) {
    struct pollfd fds[BANKS];
    done = true;
    for (int bank = 0; bank < BANKS; bank++) {
      struct bare *b = &bare[bank];
      for (; b->sent < s->count && b->sent - b->answered < PIPELINE_STEP; b->sent++) {
        char sql[200];
        (void)snprintf(sql, sizeof sql, "COMMIT PREPARED '%s'", s->gids[b->sent][bank]);
        (void)PQsendQueryParams(b->connection, sql, 0, NULL, NULL, NULL, NULL, 0);
        must(PQpipelineSync(b->connection) == 1, "sync", PQerrorMessage(b->connection));
      }
      short out = PQflush(b->connection) > 0 ? POLLOUT : 0;
      fds[bank] = (struct pollfd){PQsocket(b->connection), (short)(POLLIN | out), 0};
      if (b->answered < s->count) done = false;
      if (b->answered == s->count) fds[bank].fd = -1;
    }
    if (done) break;
    (void)poll(fds, BANKS, -1);
    for (int bank = 0; bank < BANKS; bank++)
      if (fds[bank].revents & POLLIN) bare_read(&bare[bank]);
  }
  uint64_t end_us = clock_monotonic_us();
  for (int bank = 0; bank < BANKS; bank++)
    PQfinish(bare[bank].connection);
  must(prepared_left(s) == 0, "bare", "something is left prepared");
  return (double)(end_us - start_us) / 1e6;
}

/* ---- assentd ------------------------------------------------------------------------------------- */

struct logging {
  struct loop *loop;
  unsigned left;
};

static void on_decided(void *data, enum wal_result result, const struct error *err) {
  struct logging *logging = data;
  must(result == WAL_DURABLE, "the log", err ? err->text : "?");
  if (--logging->left == 0) loop_stop(logging->loop);
}

/* A log in which the first `decided` transactions are decided, the branches of all prepared. */
static void make_doubt(struct site *s, unsigned decided, char *data_dir, size_t size) {
  (void)snprintf(data_dir, size, "%s/log%u", s->directory, ++s->made);
  must(mkdir(data_dir, 0700) == 0, data_dir, "cannot be made");
  char path[512];
  (void)snprintf(path, sizeof path, "%s/decisions.db", data_dir);
  struct error err = {0};
  struct logging logging = {loop_new(), decided};
  struct wal *wal = NULL;
  struct wal_options options = {.retention_ms = 3600000};
  must_go(wal_open(&wal, logging.loop, path, &options, &err), &err, "the log");
  prepare_all(s, wal_cluster(wal), wal_epoch(wal));
  for (unsigned i = 0; i < decided; i++) {
    struct wal_branch branches[BANKS];
    for (unsigned bank = 0; bank < BANKS; bank++)
      branches[bank] = (struct wal_branch){.id = bank + 1,
                                           .participant = bank ? "bank_b" : "bank_a",
                                           .gid = s->gids[i][bank],
                                           .xid = s->xids[i][bank],
                                           .server = s->identity[bank]};
    struct wal_record record = {.txid = s->ids[i],
                                .kind = WAL_KIND_COMMIT,
                                .outcome = WAL_OUTCOME_COMMITTED,
                                .created_at_us = clock_wall_us(),
                                .decided_at_us = clock_wall_us(),
                                .timeout_ms = 30000,
                                .branches = branches,
                                .branch_count = BANKS};
    wal_decide(wal, &record, on_decided, &logging);
  }
  if (decided) loop_run(logging.loop);
  wal_close(wal);
  loop_free(logging.loop);
}

static struct process *start_daemon(const struct site *s, const char *program, const char *config,
                                    uint16_t *port) {
  struct bench_daemon daemon = {.directory = s->directory, .program = program, .config = config};
  return bench_start(&daemon, port);
}

static void coordinator_config(const struct site *s, const char *data_dir, const char *agent_b,
                               char *out, size_t size) {
  char bank_b[THROWAWAY_DSN_SIZE + 16];
  (void)snprintf(bank_b, sizeof bank_b, "%s = %s", agent_b ? "agent" : "dsn",
                 agent_b ? agent_b : s->dsn[1]);
  (void)snprintf(out, size,
                 "[coordinator]\nlisten = 127.0.0.1:0\ndata_dir = %s\nlog_level = warn\n"
                 "[participant.bank_a]\ndsn = %s\n[participant.bank_b]\n%s\n",
                 data_dir, s->dsn[0], bank_b);
}

/* Seconds from the start of the process until nothing is prepared. */
static double resolve_assent(struct site *s, unsigned decided) {
  char data_dir[450], config[4096];
  make_doubt(s, decided, data_dir, sizeof data_dir);
  coordinator_config(s, data_dir, NULL, config, sizeof config);
  uint16_t port;
  uint64_t start_us = clock_monotonic_us();
  struct process *process = start_daemon(s, "assentd", config, &port);
  wait_nothing_prepared(s, start_us);
  double seconds = (double)(clock_monotonic_us() - start_us) / 1e6;
  process_free(process);
  return seconds;
}

static double idle_restart(struct site *s) {
  char data_dir[450], config[4096];
  (void)snprintf(data_dir, sizeof data_dir, "%s/log%u", s->directory, s->made);
  coordinator_config(s, data_dir, NULL, config, sizeof config);
  uint16_t port;
  uint64_t start_us = clock_monotonic_us();
  struct process *process = start_daemon(s, "assentd", config, &port);
  bench_wait_ok(port, "/readyz");
  double ms = (double)(clock_monotonic_us() - start_us) / 1e3;
  process_free(process); /* kill -9 */
  return ms;
}

static struct process *start_agent(struct site *s, uint16_t port, uint16_t *bound) {
  char config[1024];
  (void)snprintf(config, sizeof config,
                 "[agent]\nlisten = 127.0.0.1:%u\nstate_dir = %s/agent\nlog_level = warn\n"
                 "[database.bank_b]\ndsn = %s\n",
                 (unsigned)port, s->directory, s->dsn[1]);
  return start_daemon(s, "assent-agent", config, bound);
}

/* The agent's port must be known before it runs: it is started once to have one. */
static double agent_return(struct site *s) {
  unsigned count = s->count;
  char data_dir[450], config[4096], url[64];
  uint16_t agent_port, port;
  struct process *agent = start_agent(s, 0, &agent_port);
  process_free(agent);
  s->count = 1;
  make_doubt(s, 1, data_dir, sizeof data_dir);
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)agent_port);
  coordinator_config(s, data_dir, url, config, sizeof config);
  struct process *assentd = start_daemon(s, "assentd", config, &port);
  bench_wait_ok(port, "/readyz");
  while (prepared_left(s) != 1)
    process_pause_ms(1);  /* bank_a is done, bank_b is waited for */
  process_pause_ms(2000); /* the coordinator's delays have grown */
  agent = start_agent(s, agent_port, &agent_port);
  bench_wait_ok(agent_port, "/healthz");
  uint64_t start_us = clock_monotonic_us();
  while (prepared_left(s))
    process_pause_ms(1);
  double ms = (double)(clock_monotonic_us() - start_us) / 1e3;
  process_free(assentd);
  process_free(agent);
  s->count = count;
  return ms;
}

/* ---- the run ------------------------------------------------------------------------------------- */

static void set_up(struct site *s, unsigned branches) {
  struct error err = {0};
  s->count = branches / BANKS;
  s->ids = calloc(s->count, sizeof *s->ids);
  s->gids = calloc(s->count, sizeof *s->gids);
  s->xids = calloc(s->count, sizeof *s->xids);
  must(s->ids && s->gids && s->xids, "memory", "not enough");
  s->throwaway = throwaway_new(&err);
  must(s->throwaway, "servers", err.text);
  struct throwaway_options options = {.prepared_max = (int)s->count + 100};
  static const char *const names[BANKS] = {"bank_a", "bank_b"};
  must_go(throwaway_servers(s->throwaway, BANKS, names, &options, s->servers, &err), &err,
          "servers");
  (void)snprintf(s->directory, sizeof s->directory, "%s", throwaway_directory(s->throwaway));
  for (int bank = 0; bank < BANKS; bank++)
    open_bank(s, bank);
}

static void tear_down(struct site *s) {
  for (int bank = 0; bank < BANKS; bank++)
    PQfinish(s->connections[bank]);
  throwaway_free(s->throwaway);
  free(s->ids);
  free(s->gids);
  free(s->xids);
}

int main(int argc, char **argv) {
  unsigned branches = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 10000;
  unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 3;
  if (branches < BANKS || rounds < 1 || rounds > ROUNDS_MAX) {
    (void)fprintf(stderr, "usage: recovery [BRANCHES [ROUNDS, at most %d]]\n", ROUNDS_MAX);
    return 2;
  }
  struct site s = {.rounds = rounds};
  set_up(&s, branches);
  double bare[ROUNDS_MAX], commits[ROUNDS_MAX], mixed[ROUNDS_MAX], ratio[ROUNDS_MAX],
      idle[ROUNDS_MAX], back[ROUNDS_MAX];
  static const struct cluster_id nobody = {"benchbenchbn"};
  printf("round   bare libpq   all decided   half decided   ratio\n");
  for (unsigned i = 0; i < rounds; i++) {
    prepare_all(&s, &nobody, 1);
    bare[i] = resolve_bare(&s);
    commits[i] = resolve_assent(&s, s.count);
    mixed[i] = resolve_assent(&s, s.count / 2);
    ratio[i] = bare[i] / commits[i];
    printf("%5u   %7.0f /s   %8.0f /s   %9.0f /s   %5.2f\n", i + 1, branches / bare[i],
           branches / commits[i], branches / mixed[i], ratio[i]);
    (void)fflush(stdout);
  }
  for (unsigned i = 0; i < rounds; i++)
    idle[i] = idle_restart(&s);
  for (unsigned i = 0; i < rounds; i++)
    back[i] = agent_return(&s);
  printf("idle restart ready after %.0f ms, agent's return to commit %.0f ms (medians)\n",
         median(idle, rounds), median(back, rounds));
  printf("{\"branches\": %u, \"bare_per_second\": %.0f, \"assent_per_second\": %.0f, "
         "\"assent_half_decided_per_second\": %.0f, \"assent_over_bare\": %.2f, "
         "\"idle_ready_ms\": %.0f, \"agent_return_ms\": %.0f}\n",
         branches, branches / median(bare, rounds), branches / median(commits, rounds),
         branches / median(mixed, rounds), median(ratio, rounds), median(idle, rounds),
         median(back, rounds));
  tear_down(&s);
  return 0;
}
