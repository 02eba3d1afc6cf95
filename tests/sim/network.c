/* See network.h.
 *
 * Invariants
 *  1. ERR_UNAVAILABLE is told only of a request that no server has received or will.
 *  2. What a dead process sends goes nowhere; what is sent to it is lost, or refused, as if its
 *     machine's kernel answered.
 *  3. The first reply that comes counts; the waiting side hears once.
 *
 * An exchange lives until nothing is under way for it and nobody waits; what events of freed loops
 * have left behind goes with the network.
 */
#include "tests/sim/network.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "tests/sim/aim.h"

enum {
  LATENCY_MIN_US = 50,
  LATENCY_MAX_US = 1500,
  CONNECT_MAX_US = 2000000, /* as http_client.h says */
  LATE_MIN_US = 100000,
  LATE_MAX_US = 8000000,
  LAST_MOMENT_MAX_US = 400000,
  CLOSED_MIN_US = 100000,
  CLOSED_MAX_US = 5000000,
  OTHERS_WEIGHT = 10, /* of replies to somebody else, when replies are swapped */
  LATE_READ_ONLY_WEIGHT = 40,
  LATE_READY_WEIGHT = 24,
  LATE_YES_WEIGHT = 6
};

struct heard { /* the last reply to requests for one target */
  char *target, *body;
  size_t length;
  int status;
  char by[PROCESS_NAME_SIZE]; /* a process, and its life */
  unsigned life;
  struct heard *prev, *next;
};

struct way { /* to one server and back */
  char address[64];
  uint64_t out_closed_until_us, in_closed_until_us;
  uint64_t swallows_until_us; /* closed, but for connections */
  struct heard *heard;        /* between processes */
  struct way *prev, *next;
};

struct network {
  struct sim *sim;
  struct net_server *servers;
  struct way *ways;
  struct exchange *exchanges;
  struct aim *aim;
  uint64_t numbers;
};

struct packet { /* under way, or arrived */
  struct exchange *exchange;
  bool repeated;   /* a request's second copy */
  int status;      /* of a reply; 0: it is an error */
  unsigned stream; /* of which this is a piece; 0: it is a whole reply */
  bool more;       /* other pieces follow */
  enum error_code code;
  char *body;
  size_t length;
  struct packet *next;
};

struct exchange {
  struct network *network;
  struct way *way;
  uint64_t number;
  struct process *from;
  const char *method;
  char *target, *key, *body;
  size_t length;
  http_client_line_fn line;
  http_client_fn fn; /* NULL: nobody waits */
  void *data;
  struct sim_event *timeout;
  uint64_t until_us; /* somebody waits */
  struct packet *packets;
  unsigned under_way; /* packets, and servers that hold it */
  unsigned held;      /* lives on: a copy may be sent, or somebody is being told */
  bool swapped, refused;
  bool reached;          /* a server has had it */
  unsigned streams;      /* begun */
  unsigned reads;        /* the one that is read: the first that came */
  unsigned broken;       /* the one of which nothing comes any more */
  uint64_t piece_due_us; /* when the last piece under way arrives */
  struct net_server *at; /* holds it */
  struct exchange *prev, *next;
};

/* ---- memory ----------------------------------------------------------------------------------- */

static void *zeroed(size_t size) {
  void *memory = calloc(1, size);
  if (!memory) abort();
  return memory;
}

static char *copied(const char *bytes, size_t length) {
  char *copy = zeroed(length + 1);
  if (length > 0) memcpy(copy, bytes, length);
  return copy;
}

static void exchange_free(struct exchange *exchange) {
  DL_DELETE(exchange->network->exchanges, exchange);
  for (struct packet *packet = exchange->packets, *next; packet; packet = next) {
    next = packet->next;
    free(packet->body);
    free(packet);
  }
  sim_cancel(exchange->timeout);
  free(exchange->target);
  free(exchange->key);
  free(exchange->body);
  free(exchange);
}

static void review(struct exchange *exchange) {
  if (!exchange->fn && exchange->under_way == 0 && exchange->held == 0) exchange_free(exchange);
}

static struct packet *packet_new(struct exchange *exchange) {
  struct packet *packet = zeroed(sizeof *packet);
  packet->exchange = exchange;
  packet->next = exchange->packets;
  exchange->packets = packet;
  exchange->under_way++;
  return packet;
}

static struct way *way_to(struct network *network, const char *address) {
  struct way *way;
  DL_FOREACH(network->ways, way) {
    if (strcmp(way->address, address) == 0) return way;
  }
  way = zeroed(sizeof *way);
  assert(strlen(address) < sizeof way->address);
  memcpy(way->address, address, strlen(address) + 1);
  DL_APPEND(network->ways, way);
  return way;
}

static void way_free(struct way *way) {
  struct heard *heard, *next;
  DL_FOREACH_SAFE(way->heard, heard, next) {
    free(heard->target);
    free(heard->body);
    free(heard);
  }
  free(way);
}

static struct net_server *server_at(const struct network *network, const char *address) {
  struct net_server *server;
  DL_FOREACH(network->servers, server) {
    if (server->listening && strcmp(server->address, address) == 0) return server;
  }
  return NULL;
}

static uint64_t latency_us(struct network *network) {
  return sim_between(network->sim, LATENCY_MIN_US, LATENCY_MAX_US);
}

static const char *name_of(const struct process *process) {
  return process ? process->name : "client";
}

/* ---- the waiting side ------------------------------------------------------------------------- */

static void tell(struct exchange *exchange, int status, const char *body, size_t length,
                 enum error_code code, const char *why) {
  if (!exchange->fn) return;
  http_client_fn fn = exchange->fn;
  exchange->fn = NULL;
  sim_cancel(exchange->timeout);
  exchange->timeout = NULL;
  struct error err = {0};
  if (status == 0) (void)error_set(&err, code, "%s", why);
  exchange->held++; /* who is told may ask again, and that may push this one out of what is kept */
  fn(exchange->data, status, status ? body : "", status ? length : 0, status ? NULL : &err);
  exchange->held--;
}

/* Gives the whole lines of a good answer to who wants lines. Returns what is behind them. */
static char *tell_lines(struct exchange *exchange, struct packet *packet) {
  char *at = packet->body;
  if (!exchange->line || packet->status != 200) return at;
  exchange->held++;
  for (char *end; exchange->fn && (end = strchr(at, '\n')) != NULL; at = end + 1) {
    *end = '\0';
    exchange->line(exchange->data, at, (size_t)(end - at));
  }
  exchange->held--;
  return at;
}

static void reply_arrives(void *data) {
  struct packet *packet = data;
  struct exchange *exchange = packet->exchange;
  exchange->under_way--;
  if (packet->status != 0 && exchange->reads == 0) exchange->reads = packet->stream;
  if (packet->status == 0 || exchange->reads == packet->stream) {
    char *rest = packet->body ? tell_lines(exchange, packet) : NULL;
    size_t length = rest ? packet->length - (size_t)(rest - packet->body) : 0;
    int status = packet->code == ERR_OK ? packet->status : 0;
    if (!packet->more)
      tell(exchange, status, rest, length, packet->code,
           packet->code == ERR_UNAVAILABLE ? "connection refused" : "connection reset");
  }
  review(exchange);
}

static struct loop *waiting_loop(const struct exchange *exchange) {
  return exchange->fn && exchange->from ? exchange->from->loop : NULL;
}

/* The connection's end, or its refusal. */
static void fail_soon(struct exchange *exchange, enum error_code code) {
  if (!exchange->fn) return;
  struct packet *packet = packet_new(exchange);
  packet->code = code;
  (void)sim_after(exchange->network->sim, waiting_loop(exchange), latency_us(exchange->network),
                  reply_arrives, packet);
}

static void timed_out(void *data) {
  struct exchange *exchange = data;
  exchange->timeout = NULL;
  tell(exchange, 0, "", 0, ERR_LOST, "no answer in time");
  review(exchange);
}

static void not_connected(void *data) {
  struct exchange *exchange = data;
  exchange->timeout = NULL;
  tell(exchange, 0, "", 0, ERR_UNAVAILABLE, "no connection in time");
  review(exchange);
}

void network_withdraw(struct exchange *exchange) {
  exchange->fn = NULL;
  sim_cancel(exchange->timeout);
  exchange->timeout = NULL;
  review(exchange);
}

bool network_was_swapped(const struct exchange *exchange) {
  return exchange->swapped;
}

/* ---- requests --------------------------------------------------------------------------------- */

static void request_is_read(void *data) {
  struct packet *packet = data;
  struct exchange *exchange = packet->exchange;
  struct net_server *server = exchange->at;
  /* The server may have been closed since; then its loop went on without it. */
  struct net_server *now = server_at(exchange->network, exchange->way->address);
  if (!server || server != now) {
    exchange->under_way--;
    fail_soon(exchange, ERR_LOST);
    review(exchange);
    return;
  }
  sim_trace(exchange->network->sim, "%s serves #%llu %s %s %.*s", server->process->name,
            (unsigned long long)exchange->number, exchange->method, exchange->target,
            (int)exchange->length, exchange->body ? exchange->body : "");
  exchange->reached = true;
  server->serve(server, exchange); /* and keeps what counts in under_way */
}

static void request_arrives(void *data) {
  struct packet *packet = data;
  struct exchange *exchange = packet->exchange;
  struct net_server *server = server_at(exchange->network, exchange->way->address);
  if (!server || exchange->refused) {
    exchange->under_way--;
    exchange->refused = !exchange->reached; /* and so is its copy */
    if (!packet->repeated) fail_soon(exchange, exchange->reached ? ERR_LOST : ERR_UNAVAILABLE);
    review(exchange);
    return;
  }
  exchange->at = server;
  (void)sim_after(exchange->network->sim, server->process->loop, 0, request_is_read, packet);
}

static void request_leaves(struct exchange *exchange, uint64_t delay_us, bool repeated) {
  struct packet *packet = packet_new(exchange);
  packet->repeated = repeated;
  (void)sim_after(exchange->network->sim, NULL, delay_us, request_arrives, packet);
}

static uint64_t at_most(uint64_t us, uint64_t max_us) {
  return us < max_us ? us : max_us;
}

static void send_request(struct exchange *exchange, uint64_t timeout_us, bool once) {
  struct network *network = exchange->network;
  struct sim *sim = network->sim;
  struct way *way = exchange->way;
  bool open = sim_now_us(sim) >= way->out_closed_until_us;
  if (open && sim_fault(sim, SIM_PARTITION_OUT, way->address)) {
    way->out_closed_until_us = sim_now_us(sim) + sim_between(sim, CLOSED_MIN_US, CLOSED_MAX_US);
    open = false;
  }
  exchange->until_us = sim_now_us(sim) + timeout_us;
  /* On a kept connection it leaves, and is lost. */
  bool connects = open || sim_now_us(sim) < way->swallows_until_us || sim_random(sim, 2) == 0;
  exchange->timeout = sim_after(sim, waiting_loop(exchange),
                                connects ? timeout_us : at_most(timeout_us, CONNECT_MAX_US),
                                connects ? timed_out : not_connected, exchange);
  if (connects && !once) aim_keep(network->aim, way->address, exchange->from, exchange);
  if (!open || sim_fault(sim, SIM_REQUEST_LOST, way->address)) return;
  uint64_t delay_us = latency_us(network);
  if (sim_fault(sim, SIM_REQUEST_LATE, way->address))
    delay_us = sim_between(sim, LATE_MIN_US, LATE_MAX_US);
  request_leaves(exchange, delay_us, false);
  if (!once && sim_fault(sim, SIM_REQUEST_REPEATED, way->address))
    request_leaves(exchange,
                   delay_us + sim_between(sim, 0, sim_random(sim, 2) ? LATE_MAX_US : 5000), true);
}

void network_swallow(struct network *network, const char *address, uint64_t us) {
  struct way *way = way_to(network, address);
  way->swallows_until_us = way->out_closed_until_us = sim_now_us(network->sim) + us;
}

void exchange_hold(struct exchange *exchange) {
  exchange->held++;
}

void exchange_release(struct exchange *exchange) {
  assert(exchange->held > 0);
  exchange->held--;
  review(exchange);
}

void exchange_send_again(struct exchange *exchange) {
  request_leaves(exchange, 0, true);
}

struct exchange *network_call(struct network *network, const struct net_request *request,
                              http_client_fn fn, void *data) {
  struct exchange *exchange = zeroed(sizeof *exchange);
  exchange->network = network;
  exchange->way = way_to(network, request->address);
  exchange->number = ++network->numbers;
  exchange->from = request->from;
  exchange->method = request->method;
  exchange->target = copied(request->target, strlen(request->target));
  if (request->key) exchange->key = copied(request->key, strlen(request->key));
  exchange->body = request->body;
  exchange->length = request->length;
  exchange->line = request->line;
  exchange->fn = fn;
  exchange->data = data;
  DL_APPEND(network->exchanges, exchange);
  if (request->from && request->from->dead) return exchange; /* until it is withdrawn */
  sim_trace(network->sim, "%s asks %s #%llu %s %s", name_of(request->from), request->address,
            (unsigned long long)exchange->number, request->method, request->target);
  send_request(exchange, request->timeout_us, request->once);
  return exchange;
}

/* ---- replies ---------------------------------------------------------------------------------- */

static struct heard *heard_of(struct way *way, const char *target) {
  struct heard *heard;
  DL_FOREACH(way->heard, heard) {
    if (strcmp(heard->target, target) == 0) return heard;
  }
  heard = zeroed(sizeof *heard);
  heard->target = copied(target, strlen(target));
  DL_APPEND(way->heard, heard);
  return heard;
}

/* Was it somebody else, or in another life, who heard this? */
static bool is_others(const struct heard *heard, const struct process *process) {
  return heard->life != process->life || strcmp(heard->by, process->name) != 0;
}

/* Remembers this reply and gives one before: what a connection whose ends have lost step shows. Mostly
 * one to another request of the same kind: others are found out by their form. And rather one that
 * somebody else has had: his own is mostly as true as the one that he should have. */
static void swap_reply(struct sim *sim, struct packet *packet) {
  struct exchange *exchange = packet->exchange;
  struct heard *own = heard_of(exchange->way, exchange->target), *other = own;
  if (sim_random(sim, 4) == 0) other = exchange->way->heard;
  struct heard now = {.body = copied(packet->body, packet->length),
                      .length = packet->length,
                      .status = packet->status};
  unsigned weight = is_others(other, exchange->from) ? OTHERS_WEIGHT : 1;
  if (other->body && sim_fault_often(sim, SIM_REPLY_SWAPPED, weight, exchange->way->address)) {
    free(packet->body);
    packet->body = copied(other->body, other->length);
    packet->length = other->length;
    packet->status = other->status;
    exchange->swapped = true;
  }
  free(own->body);
  own->body = now.body;
  own->length = now.length;
  own->status = now.status;
  own->life = exchange->from->life;
  memcpy(own->by, exchange->from->name, sizeof own->by);
}

static void cut_reply(struct sim *sim, struct packet *packet) {
  packet->length = sim_random(sim, packet->length + 1);
  packet->body[packet->length] = '\0';
  /* Mostly the cut is noticed by its length; a careless proxy may hide it. */
  if (sim_random(sim, 2) == 0) {
    if (packet->stream == 0) packet->status = 0;
    packet->code = ERR_LOST;
  }
}

static bool way_back_is_open(struct network *network, struct way *way) {
  struct sim *sim = network->sim;
  if (sim_now_us(sim) < way->in_closed_until_us) return false;
  if (!sim_fault(sim, SIM_PARTITION_IN, way->address)) return true;
  way->in_closed_until_us = sim_now_us(sim) + sim_between(sim, CLOSED_MIN_US, CLOSED_MAX_US);
  return false;
}

/* Votes that come after their transaction has ended: of some there are few. */
static unsigned late_weight(const char *body) {
  if (strstr(body, "\"vote\":\"read_only\"")) return LATE_READ_ONLY_WEIGHT;
  if (strstr(body, "\"vote\":\"ready\"")) return LATE_READY_WEIGHT;
  return strstr(body, "\"vote\":\"yes\"") ? LATE_YES_WEIGHT : 1;
}

/* Any; or just as long as somebody waits. */
static uint64_t lateness_us(const struct exchange *exchange) {
  struct sim *sim = exchange->network->sim;
  uint64_t now_us = sim_now_us(sim), until_us = exchange->until_us;
  uint64_t left_us = until_us > now_us ? until_us - now_us : 0; /* 0: its process does not run */
  if (left_us <= LAST_MOMENT_MAX_US || sim_random(sim, 2) == 0)
    return sim_between(sim, LATE_MIN_US, LATE_MAX_US);
  return left_us - sim_between(sim, 1, LAST_MOMENT_MAX_US);
}

static void send_reply(struct exchange *exchange, int status, const char *body, size_t length) {
  struct network *network = exchange->network;
  struct sim *sim = network->sim;
  struct way *way = exchange->way;
  if (!exchange->fn || !way_back_is_open(network, way) ||
      sim_fault(sim, SIM_REPLY_LOST, way->address))
    return;
  struct packet *packet = packet_new(exchange);
  packet->status = status;
  packet->body = copied(body, length);
  packet->length = length;
  if (exchange->from) swap_reply(sim, packet);
  if (sim_fault(sim, SIM_REPLY_CUT, way->address)) cut_reply(sim, packet);
  uint64_t delay_us = latency_us(network);
  if (sim_fault_often(sim, SIM_REPLY_LATE, late_weight(body), way->address))
    delay_us = lateness_us(exchange);
  (void)sim_after(sim, waiting_loop(exchange), delay_us, reply_arrives, packet);
}

void network_answer(struct exchange *exchange, struct process *by, int status, const char *body,
                    size_t length) {
  assert(exchange->under_way > 0);
  exchange->under_way--;
  if (!by->dead) {
    sim_trace(exchange->network->sim, "%s answers #%llu %d %.*s", by->name,
              (unsigned long long)exchange->number, status, (int)length, body);
    send_reply(exchange, status, body, length);
  }
  review(exchange);
}

unsigned network_stream_begin(struct exchange *exchange) {
  return ++exchange->streams;
}

/* Pieces come in order; where one is lost none comes any more, and where one is cut the answer ends. */
static void send_piece(struct exchange *exchange, unsigned stream, const char *piece, size_t length,
                       bool last) {
  struct network *network = exchange->network;
  struct sim *sim = network->sim;
  struct way *way = exchange->way;
  if (!exchange->fn || exchange->broken == stream) return;
  if (!way_back_is_open(network, way) || sim_fault(sim, SIM_REPLY_LOST, way->address)) {
    exchange->broken = stream;
    return;
  }
  struct packet *packet = packet_new(exchange);
  packet->status = 200;
  packet->stream = stream;
  packet->more = !last;
  packet->body = copied(piece, length);
  packet->length = length;
  if (exchange->from && length > 0) swap_reply(sim, packet);
  packet->status = 200; /* that has been told before */
  if (sim_fault(sim, SIM_REPLY_CUT, way->address)) {
    cut_reply(sim, packet);
    packet->more = false;
    exchange->broken = stream;
  }
  uint64_t due_us = sim_now_us(sim) + latency_us(network);
  if (due_us < exchange->piece_due_us) due_us = exchange->piece_due_us;
  exchange->piece_due_us = due_us;
  (void)sim_after(sim, waiting_loop(exchange), due_us - sim_now_us(sim), reply_arrives, packet);
}

void network_stream(struct exchange *exchange, unsigned stream, struct process *by,
                    const char *piece, size_t length, bool last) {
  assert(exchange->under_way > 0);
  if (!by->dead) {
    sim_trace(exchange->network->sim, "%s answers #%llu piece %.*s", by->name,
              (unsigned long long)exchange->number, (int)length, piece ? piece : "");
    send_piece(exchange, stream, piece, length, last);
  }
  if (!last) return;
  exchange->under_way--;
  review(exchange);
}

const char *exchange_method(const struct exchange *exchange) {
  return exchange->method;
}

const char *exchange_key(const struct exchange *exchange) {
  return exchange->key;
}

const char *exchange_target(const struct exchange *exchange) {
  return exchange->target;
}

const char *exchange_body(const struct exchange *exchange, size_t *length) {
  if (length) *length = exchange->length;
  return exchange->body;
}

/* ---- servers ---------------------------------------------------------------------------------- */

void network_listen(struct network *network, struct net_server *server) {
  assert(!server_at(network, server->address));
  server->listening = true;
  DL_APPEND(network->servers, server);
}

void network_close(struct network *network, struct net_server *server) {
  server->listening = false;
  DL_DELETE(network->servers, server);
  struct exchange *exchange;
  DL_FOREACH(network->exchanges, exchange) {
    if (exchange->at != server) continue;
    exchange->at = NULL;
    /* Mostly its kernel says so; a machine that is gone says nothing. */
    if (sim_random(network->sim, 4) > 0) fail_soon(exchange, ERR_LOST);
  }
}

/* ---- the network ------------------------------------------------------------------------------ */

struct aim *network_aim(const struct network *network) {
  return network->aim;
}

struct network *network_new(struct sim *sim) {
  struct network *network = zeroed(sizeof *network);
  network->sim = sim;
  network->aim = aim_new(sim, network);
  return network;
}

void network_free(struct network *network) {
  assert(!network->servers);
  aim_free(network->aim);
  struct exchange *exchange, *next;
  DL_FOREACH_SAFE(network->exchanges, exchange, next) {
    exchange_free(exchange);
  }
  struct way *way, *next_way;
  DL_FOREACH_SAFE(network->ways, way, next_way) {
    way_free(way);
  }
  free(network);
}
