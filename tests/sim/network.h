/* A model of the network: whole requests and whole replies, as bytes, between simulated processes.
 *
 * common/http_client.h and common/http_server.h stand on it (network_client.c, network_server.c); so
 * what is encoded, decoded, routed and refused is the code under test. Lost, late and repeated are
 * requests and replies each for itself; a reply can come cut, also one that comes line by line, between any
 * two of them, or be that of another request on the same
 * connection; the way to a server or the way back can be closed for a while.
 */
#ifndef ASSENT_TESTS_SIM_NETWORK_H
#define ASSENT_TESTS_SIM_NETWORK_H

#include "common/http_client.h"
#include "tests/sim/process.h"

struct network;
struct exchange; /* a request and its reply */

struct network *network_new(struct sim *sim);
/* When all clients and servers have been freed. */
void network_free(struct network *network);

struct net_request {
  struct process *from; /* NULL: from outside, an application */
  const char *address;  /* "coordinator:7410" */
  const char *method;   /* static */
  const char *target;   /* "/v1/transactions?label=x" */
  const char *key;      /* Idempotency-Key; NULL: none */
  char *body;           /* taken over; NULL: none */
  size_t length;
  uint64_t timeout_us;
  http_client_line_fn line; /* as http_client_send_lines(); NULL: the answer comes as a whole */
  bool once;                /* nobody on the way sends it again by itself: it is not idempotent */
};

/* fn comes once, as http_client.h says, on the loop of `from`; unless it is withdrawn before. */
struct exchange *network_call(struct network *network, const struct net_request *request,
                              http_client_fn fn, void *data);
/* Nobody waits any more. */
void network_withdraw(struct exchange *exchange);
/* So that replies of the same connection can be mistaken for each other. */
bool network_was_swapped(const struct exchange *exchange);

/* ---- messages that are aimed: aim.h ------------------------------------------------------------ */

struct aim *network_aim(const struct network *network);
/* Nothing gets there for so long, and nobody is told that it does not. */
void network_swallow(struct network *network, const char *address, uint64_t us);
/* It lives until it is released, as often as it was held. */
void exchange_hold(struct exchange *exchange);
void exchange_release(struct exchange *exchange);
/* A copy of the request arrives, as soon as can be. */
void exchange_send_again(struct exchange *exchange);

/* ---- for the servers -------------------------------------------------------------------------- */

struct net_server {
  struct process *process;
  char address[64];
  bool listening;
  /* A request has come; on the process's loop. It is to be answered with network_answer(), once. */
  void (*serve)(struct net_server *server, struct exchange *exchange);
  struct net_server *prev, *next;
};
void network_listen(struct network *network, struct net_server *server);
/* Who waits for an answer of it finds the connection closed, perhaps. */
void network_close(struct network *network, struct net_server *server);

const char *exchange_method(const struct exchange *exchange);
const char *exchange_target(const struct exchange *exchange);
const char *exchange_key(const struct exchange *exchange);                  /* NULL: none */
const char *exchange_body(const struct exchange *exchange, size_t *length); /* NULL: none */
/* The server keeps it until it has answered. */
void network_answer(struct exchange *exchange, struct process *by, int status, const char *body,
                    size_t length);
/* An answer (200) in pieces, each of whole lines; `last`: with this one, which may be empty, it is whole.
 * `stream`: a request that came twice has two. */
unsigned network_stream_begin(struct exchange *exchange);
void network_stream(struct exchange *exchange, unsigned stream, struct process *by,
                    const char *piece, size_t length, bool last);

#endif
