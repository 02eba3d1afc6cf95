/* How much memory assentd takes: alone; with 1,000 clients connected, each with an open transaction; with
 * 1,000 transactions under way, none of which can go on; after many have ended. See growth.h.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/growth.h"
#include "bench/meter.h"
#include "cli/table.h"
#include "common/clock.h"
#include "common/http_client.h"
#include "common/id.h"

enum { OPEN = 1000, ANSWER_SIZE = 8192, PATIENCE_US = 60 * 1000000, TEXT_SIZE = 64, LATER = 25000 };
enum { IDLE_MS = 8000 }; /* longer than a coordinator waits until it gives memory back */

struct crowd {
  int fds[OPEN];
  struct txid ids[OPEN]; /* of their transactions, as last answered */
  uint16_t port;
};

static void join(struct crowd *crowd) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(crowd->port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < OPEN; i++) {
    crowd->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(crowd->fds[i] >= 0 &&
             connect(crowd->fds[i], (const struct sockaddr *)&address, sizeof address) == 0,
         "connecting to the coordinator", strerror(errno));
  }
}

static void leave(struct crowd *crowd) {
  for (int i = 0; i < OPEN; i++)
    (void)close(crowd->fds[i]);
}

typedef void (*write_fn)(const struct crowd *crowd, int client, char *path, char *body);
enum { PATH_SIZE = 100, BODY_SIZE = 1000 };

static void all_post(struct crowd *crowd, write_fn write) {
  for (int i = 0; i < OPEN; i++) {
    char path[PATH_SIZE], body[BODY_SIZE], request[BODY_SIZE + 400];
    write(crowd, i, path, body);
    int length = snprintf(request, sizeof request,
                          "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n"
                          "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          path, (unsigned)crowd->port, strlen(body), body);
    must(send(crowd->fds[i], request, (size_t)length, MSG_NOSIGNAL) == length, "sending",
         strerror(errno));
  }
}

/* Until an answer's end: an object's, with which all of ours end. */
static void read_answer(int fd, char answer[ANSWER_SIZE + 1]) {
  size_t length = 0;
  do {
    ssize_t got = recv(fd, answer + length, ANSWER_SIZE - length, 0);
    must(got > 0, "an answer", got < 0 ? strerror(errno) : "did not come");
    length += (size_t)got;
    answer[length] = '\0';
  } while (answer[length - 1] != '}' && length < ANSWER_SIZE);
}

static void all_read(struct crowd *crowd, const char *wanted) {
  static const char id[] = "\"id\":\"";
  for (int i = 0; i < OPEN; i++) {
    char answer[ANSWER_SIZE + 1];
    read_answer(crowd->fds[i], answer);
    const char *at = strstr(answer, id);
    must(strstr(answer, wanted) && at, "not as wanted", answer);
    (void)snprintf(crowd->ids[i].text, TXID_SIZE, "%s", at + sizeof id - 1);
  }
}

static void write_begin(const struct crowd *crowd, int client, char *path, char *body) {
  (void)crowd;
  (void)snprintf(path, PATH_SIZE, "/v1/transactions");
  (void)snprintf(body, BODY_SIZE, "{\"label\":\"open-%d\",\"timeout_ms\":300000}", client);
}

static void write_rollback(const struct crowd *crowd, int client, char *path, char *body) {
  (void)snprintf(path, PATH_SIZE, "/v1/transactions/%s/rollback", crowd->ids[client].text);
  (void)snprintf(body, BODY_SIZE, "{}");
}

static void write_whole(const struct crowd *crowd, int client, char *path, char *body) {
  (void)crowd;
  (void)snprintf(path, PATH_SIZE, "/v1/transactions");
  (void)snprintf(
      body, BODY_SIZE,
      "{\"commit\":true,\"timeout_ms\":300000,\"branches\":["
      "{\"participant\":\"bank_a\",\"statements\":[{\"sql\":\"UPDATE account SET balance = balance"
      " + $1 WHERE id = $2\",\"params\":[1,%d]}]},"
      "{\"participant\":\"bank_b\",\"statements\":[{\"sql\":\"UPDATE account SET balance = balance"
      " + $1 WHERE id = $2\",\"params\":[-1,%d]}]}]}",
      client + 1, client + 1);
}

static double under_way(uint16_t port) {
  char url[64], *body = NULL;
  static const char name[] = "\nassent_transactions_in_flight{";
  int status = 0;
  size_t length;
  struct error err = {0};
  (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/metrics", (unsigned)port);
  must_go(http_call("GET", url, NULL, 5000, &status, &body, &length, &err), &err, url);
  double value = 0;
  for (const char *at = body; (at = strstr(at, name));) { /* of each state */
    const char *end = strchr(at += sizeof name - 1, '}');
    must(end != NULL, "the metrics", at);
    value += strtod(end + 1, NULL);
  }
  free(body);
  return value;
}

static void wait_under_way(uint16_t port, double count) {
  for (uint64_t start_us = clock_monotonic_us(); under_way(port) != count;) {
    must(clock_monotonic_us() - start_us < PATIENCE_US, "transactions under way",
         "are not so many");
    process_pause_ms(20);
  }
}

/* ---- telling ------------------------------------------------------------------------------------- */

struct notebook {
  struct growth *growth;
  struct table *table;
};

static double note(struct notebook *book, const char *what) {
  struct process *coordinator = book->growth->site.daemons[HOSTING_OTHER].coordinator;
  double mb = (double)meter_resident_kb(coordinator) / 1024;
  char text[TEXT_SIZE];
  (void)snprintf(text, sizeof text, "%.1f", mb);
  table_add(book->table, (const char *const[]){what, text});
  if (book->growth->json) printf("{\"memory\": \"%s\", \"resident_mb\": %.1f}\n", what, mb);
  return mb;
}

static double note_idle(struct notebook *book, const char *what) {
  process_pause_ms(IDLE_MS);
  return note(book, what);
}

/* ---- the run ------------------------------------------------------------------------------------- */

static double note_open(struct notebook *book, struct crowd *open) {
  join(open);
  all_post(open, write_begin);
  all_read(open, "\"state\":\"open\"");
  wait_under_way(open->port, OPEN);
  return note(book, "1,000 clients, each with an open transaction");
}

static void end_open(struct crowd *open) {
  all_post(open, write_rollback);
  all_read(open, "\"outcome\":\"aborted\"");
  leave(open);
}

/* A lock on the first bank's table holds them up, in the database or waiting for a connection to it. */
static void note_blocked(struct notebook *book, uint16_t port) {
  struct site *site = &book->growth->site;
  struct crowd blocked = {.port = port};
  bench_sql(site->connections[0], "BEGIN; LOCK TABLE account IN EXCLUSIVE MODE");
  join(&blocked);
  all_post(&blocked, write_whole);
  wait_under_way(port, 2 * OPEN);
  (void)note(book, "and 1,000 more, each with one that waits for a lock");
  bench_sql(site->connections[0], "COMMIT");
  all_read(&blocked, "\"outcome\":\"committed\"");
  leave(&blocked);
  (void)note(book, "and these are done");
  site_check(site, -OPEN);
}

static double note_later(struct notebook *book) {
  struct growth *growth = book->growth;
  struct load load = {.site = &growth->site,
                      .clients = GROWTH_CLIENTS,
                      .port = growth->site.daemons[HOSTING_OTHER].port,
                      .seed = ++growth->seed,
                      .transfers_max = growth->is_quick ? LATER / 25 : LATER};
  char text[TEXT_SIZE];
  http_run(&load);
  site_check(&growth->site, atomic_load(&load.moved));
  (void)snprintf(text, sizeof text, "at the end of %u transfers", load.transfers_max);
  (void)note(book, text);
  return note_idle(book, "idle, after these transfers");
}

void growth_memory(struct growth *growth, struct memory_figures *out) {
  static const struct column columns[] = {{"assentd's memory", COLUMN_TEXT},
                                          {"resident MB", COLUMN_NUMBER}};
  struct notebook book = {growth, table_new(columns, 2)};
  struct crowd open;
  site_start(&growth->site, HOSTING_OTHER);
  open.port = growth->site.daemons[HOSTING_OTHER].port;
  out->idle_mb = note(&book, "just begun, idle");
  out->open_mb = note_open(&book, &open);
  end_open(&open);
  site_stop(&growth->site, HOSTING_OTHER);
  site_start(&growth->site, HOSTING_OTHER);
  open.port = growth->site.daemons[HOSTING_OTHER].port;
  out->idle_later_mb = note_later(&book);
  out->open_later_mb = note_open(&book, &open);
  note_blocked(&book, open.port);
  end_open(&open);
  (void)note_idle(&book, "idle, all have gone");
  if (!growth->json) {
    (void)putchar('\n');
    table_print(book.table, stdout, false);
    (void)fflush(stdout);
  }
  table_free(book.table);
  site_stop(&growth->site, HOSTING_OTHER);
}
