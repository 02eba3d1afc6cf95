/* Two-phase commit as people write it by hand: a thread a client, blocking libpq, one statement after the
 * other, first in one database, then in the other, and then the commits. See load.h.
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/load.h"
#include "cli/process.h"
#include "common/clock.h"

enum { STACK_BYTES = 256 << 10, SQL_SIZE = 100 };

struct client {
  struct load *load;
  struct latencies latencies;
  pthread_t thread;
  unsigned number;
  atomic_uint *connected;
};

static void run_command(PGconn *connection, const char *sql, const char *tag) {
  PGresult *result = PQexec(connection, sql);
  must(PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(result), tag) == 0, sql,
       PQerrorMessage(connection));
  PQclear(result);
}

static void change_balance(PGconn *connection, int64_t change, int64_t account) {
  char texts[2][24];
  (void)snprintf(texts[0], sizeof texts[0], "%" PRId64, change);
  (void)snprintf(texts[1], sizeof texts[1], "%" PRId64, account);
  const char *params[] = {texts[0], texts[1]};
  PGresult *result =
      PQexecParams(connection, "UPDATE account SET balance = balance + $1 WHERE id = $2", 2, NULL,
                   params, NULL, NULL, 0);
  must(PQresultStatus(result) == PGRES_COMMAND_OK && strcmp(PQcmdTuples(result), "1") == 0,
       "UPDATE", PQerrorMessage(connection));
  PQclear(result);
}

static void transfer_by_hand(PGconn *const connections[BANKS], const struct transfer *transfer,
                             const char *gid) {
  char sql[SQL_SIZE];
  for (int bank = 0; bank < BANKS; bank++) {
    run_command(connections[bank], "BEGIN", "BEGIN");
    change_balance(connections[bank], transfer->change[bank], transfer->account[bank]);
    (void)snprintf(sql, sizeof sql, "PREPARE TRANSACTION '%s'", gid);
    run_command(connections[bank], sql, "PREPARE TRANSACTION");
  }
  for (int bank = 0; bank < BANKS; bank++) {
    (void)snprintf(sql, sizeof sql, "COMMIT PREPARED '%s'", gid);
    run_command(connections[bank], sql, "COMMIT PREPARED");
  }
}

static void *client_run(void *data) {
  struct client *client = data;
  struct load *load = client->load;
  PGconn *connections[BANKS];
  for (int bank = 0; bank < BANKS; bank++)
    connections[bank] = bench_connect(load->site->dsn[bank]);
  if (atomic_fetch_add(client->connected, 1) + 1 == load->clients)
    atomic_store(&load->is_ready, true);
  while (!atomic_load(&load->is_ready))
    process_pause_ms(1);
  struct picker picker;
  picker_init(&picker, load, client->number);
  for (unsigned count = 0; load_phase(load) != PHASE_DRAIN; count++) {
    struct transfer transfer;
    char gid[60];
    picker_next(&picker, &transfer);
    (void)snprintf(gid, sizeof gid, "byhand_%" PRIu64 "_%u_%u", load->seed, client->number, count);
    uint64_t began_us = clock_monotonic_us();
    transfer_by_hand(connections, &transfer, gid);
    load_committed(load, &client->latencies, &transfer, began_us);
  }
  for (int bank = 0; bank < BANKS; bank++)
    PQfinish(connections[bank]);
  return NULL;
}

void byhand_run(struct load *load) {
  atomic_uint connected = 0;
  struct client *clients = calloc(load->clients, sizeof *clients);
  pthread_attr_t attributes;
  must(clients && pthread_attr_init(&attributes) == 0 &&
           pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0,
       "memory", "not enough");
  for (unsigned i = 0; i < load->clients; i++) {
    clients[i] = (struct client){.load = load, .number = i, .connected = &connected};
    must(pthread_create(&clients[i].thread, &attributes, client_run, &clients[i]) == 0, "threads",
         "cannot be made");
  }
  for (unsigned i = 0; i < load->clients; i++) {
    (void)pthread_join(clients[i].thread, NULL);
    latencies_move(&load->latencies, &clients[i].latencies);
  }
  (void)pthread_attr_destroy(&attributes);
  free(clients);
}
