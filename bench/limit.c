/* The limit: what these databases can do at best with two-phase commit, from one thread. See load.h.
 *
 * A transfer prepares in both databases at the same time: BEGIN, the statement and PREPARE TRANSACTION go
 * out together, prepared on the server once and for all, and are answered together. When both have
 * answered, both commits go out. Each connection does one of these at a time; what finds no connection
 * free waits, commits first, since they give room. How many connections are best depends on the machine
 * and on the clients: the caller tries some.
 *
 * It keeps no decision: killed between two commits, it leaves a transaction half done.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "common/clock.h"

enum { EVENTS_MAX = 64, SQL_SIZE = 100 };

struct connection {
  PGconn *connection;
  struct part *part; /* NULL: free */
  int bank;
  char tag[40]; /* of the last answer */
  struct connection *next_free;
};

/* A client's work in one database. */
struct part {
  struct client *client;
  struct part *next;
  int bank;
};

struct client {
  struct part parts[BANKS];
  struct picker picker;
  struct transfer transfer;
  uint64_t began_us;
  unsigned count, number;
  unsigned missing; /* answers */
  bool is_prepared;
};

struct queue {
  struct part *first, *last;
};

struct limit {
  struct load *load;
  int epoll;
  struct client *clients;
  struct connection *connections; /* of all banks */
  struct connection *is_free[BANKS];
  struct queue prepares[BANKS], commits[BANKS];
  unsigned under_way;
};

/* ---- sending ------------------------------------------------------------------------------------- */

static void push(struct queue *queue, struct part *part) {
  part->next = NULL;
  if (queue->first)
    queue->last->next = part;
  else
    queue->first = part;
  queue->last = part;
}

static struct part *pop(struct queue *queue) {
  struct part *part = queue->first;
  if (part) queue->first = part->next;
  return part;
}

static void name_gid(const struct limit *limit, const struct client *client, char *out,
                     size_t size) {
  (void)snprintf(out, size, "limit_%" PRIu64 "_%u_%u", limit->load->seed, client->number,
                 client->count);
}

static void send_ending(const struct connection *c, const char *what, const char *gid) {
  char sql[SQL_SIZE];
  (void)snprintf(sql, sizeof sql, "%s '%s'", what, gid);
  must(PQsendQueryParams(c->connection, sql, 0, NULL, NULL, NULL, NULL, 0) == 1 &&
           PQpipelineSync(c->connection) == 1 && PQflush(c->connection) == 0,
       what, PQerrorMessage(c->connection));
}

static void send_prepare(const struct limit *limit, const struct connection *c) {
  const struct client *client = c->part->client;
  char texts[2][24], gid[60];
  (void)snprintf(texts[0], sizeof texts[0], "%" PRId64, client->transfer.change[c->bank]);
  (void)snprintf(texts[1], sizeof texts[1], "%" PRId64, client->transfer.account[c->bank]);
  const char *params[] = {texts[0], texts[1]};
  must(PQsendQueryPrepared(c->connection, "b", 0, NULL, NULL, NULL, 0) == 1 &&
           PQsendQueryPrepared(c->connection, "u", 2, params, NULL, NULL, 0) == 1,
       "UPDATE", PQerrorMessage(c->connection));
  name_gid(limit, client, gid, sizeof gid);
  send_ending(c, "PREPARE TRANSACTION", gid);
}

static void serve(struct limit *limit, int bank) {
  while (limit->is_free[bank]) {
    struct part *part = pop(&limit->commits[bank]);
    if (!part) part = pop(&limit->prepares[bank]);
    if (!part) return;
    struct connection *c = limit->is_free[bank];
    limit->is_free[bank] = c->next_free;
    c->part = part;
    char gid[60];
    name_gid(limit, part->client, gid, sizeof gid);
    if (part->client->is_prepared)
      send_ending(c, "COMMIT PREPARED", gid);
    else
      send_prepare(limit, c);
  }
}

static void begin(struct limit *limit, struct client *client) {
  client->began_us = clock_monotonic_us();
  client->count++;
  client->missing = BANKS;
  client->is_prepared = false;
  picker_next(&client->picker, &client->transfer);
  limit->under_way++;
  for (int bank = 0; bank < BANKS; bank++)
    push(&limit->prepares[bank], &client->parts[bank]);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static void on_part_done(struct limit *limit, struct client *client) {
  if (--client->missing > 0) return;
  if (!client->is_prepared) {
    client->is_prepared = true;
    client->missing = BANKS;
    for (int bank = 0; bank < BANKS; bank++)
      push(&limit->commits[bank], &client->parts[bank]);
  } else {
    limit->under_way--;
    load_committed(limit->load, &limit->load->latencies, &client->transfer, client->began_us);
    if (load_phase(limit->load) != PHASE_DRAIN) begin(limit, client);
  }
}

static void read_answers(struct limit *limit, struct connection *c) {
  must(PQconsumeInput(c->connection) == 1, "the limit", PQerrorMessage(c->connection));
  while (c->part && !PQisBusy(c->connection)) {
    PGresult *result = PQgetResult(c->connection);
    if (!result) continue; /* between two statements */
    if (PQresultStatus(result) != PGRES_PIPELINE_SYNC) {
      must(PQresultStatus(result) == PGRES_COMMAND_OK, "the limit", PQerrorMessage(c->connection));
      (void)snprintf(c->tag, sizeof c->tag, "%s", PQcmdStatus(result));
    } else {
      struct client *client = c->part->client;
      const char *expected = client->is_prepared ? "COMMIT PREPARED" : "PREPARE TRANSACTION";
      must(strcmp(c->tag, expected) == 0, expected, c->tag);
      c->part = NULL;
      c->next_free = limit->is_free[c->bank];
      limit->is_free[c->bank] = c;
      on_part_done(limit, client);
    }
    PQclear(result);
  }
}

/* ---- the run ------------------------------------------------------------------------------------- */

static void prepare(PGconn *connection, const char *name, const char *sql) {
  PGresult *result = PQprepare(connection, name, sql, 0, NULL);
  must(PQresultStatus(result) == PGRES_COMMAND_OK, sql, PQerrorMessage(connection));
  PQclear(result);
}

static void open_connection(struct limit *limit, struct connection *c, int bank) {
  PGconn *connection = c->connection = bench_connect(limit->load->site->dsn[bank]);
  prepare(connection, "b", "BEGIN");
  prepare(connection, "u", "UPDATE account SET balance = balance + $1 WHERE id = $2");
  must(PQsetnonblocking(connection, 1) == 0 && PQenterPipelineMode(connection) == 1, "pipeline",
       PQerrorMessage(connection));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  must(epoll_ctl(limit->epoll, EPOLL_CTL_ADD, PQsocket(connection), &event) == 0, "epoll",
       "cannot watch a connection");
  c->bank = bank;
  c->next_free = limit->is_free[bank];
  limit->is_free[bank] = c;
}

static void set_up(struct limit *limit) {
  struct load *load = limit->load;
  limit->epoll = epoll_create1(EPOLL_CLOEXEC);
  limit->clients = calloc(load->clients, sizeof *limit->clients);
  limit->connections = calloc((size_t)BANKS * load->connections, sizeof *limit->connections);
  must(limit->epoll >= 0 && limit->clients && limit->connections, "memory", "not enough");
  for (unsigned i = 0; i < BANKS * load->connections; i++)
    open_connection(limit, &limit->connections[i], (int)(i % BANKS));
  for (unsigned i = 0; i < load->clients; i++) {
    struct client *client = &limit->clients[i];
    client->number = i;
    picker_init(&client->picker, load, i);
    for (int bank = 0; bank < BANKS; bank++)
      client->parts[bank] = (struct part){.client = client, .bank = bank};
  }
}

void limit_run(struct load *load) {
  struct limit limit = {.load = load};
  set_up(&limit);
  atomic_store(&load->is_ready, true);
  for (unsigned i = 0; i < load->clients; i++)
    begin(&limit, &limit.clients[i]);
  while (limit.under_way > 0) {
    struct epoll_event events[EVENTS_MAX];
    for (int bank = 0; bank < BANKS; bank++)
      serve(&limit, bank);
    int count = epoll_wait(limit.epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < count; i++)
      read_answers(&limit, events[i].data.ptr);
  }
  for (unsigned i = 0; i < BANKS * load->connections; i++)
    PQfinish(limit.connections[i].connection);
  (void)close(limit.epoll);
  free(limit.connections);
  free(limit.clients);
}
