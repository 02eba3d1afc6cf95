/* What the files of the HTTP server share: http_server.c (its life, and that of a request), http_judge.c (what it
 * refuses by itself), http_request.c (what a handler reads). Nobody else includes this. */
#ifndef ASSENT_COMMON_HTTP_INTERNAL_H
#define ASSENT_COMMON_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "common/http_accept.h"
#include "common/http_linger.h"
#include "common/http_rules.h"
#include "common/http_server.h"
#include "common/http_stream.h"
#include "common/http_uri.h"
#include "common/log.h"
#include "common/tokens.h"

enum { HTTP_ALLOW_SIZE = 64 };

struct connection {
  struct connection *previous, *next;
  struct http_server *server;
  int fd;
  uint64_t deadline_ms; /* by when a request must have arrived; 0: one is being served */
  /* The one whose first line has come, until its end is told; else NULL. */
  struct http_request *request;
  bool linger;
};

struct http_server {
  struct loop *loop;
  struct MHD_Daemon *daemon;
  struct loop_poll *poll;
  struct loop_timer *timer;       /* what MHD wants to be woken for */
  struct loop_timer *sweep;       /* requests that do not arrive */
  struct http_acceptor *acceptor; /* NULL: quiesced */
  struct connection *connections;
  unsigned connection_count, connections_max;
  struct http_request *held;
  struct http_lingerers lingerers;
  struct http_streams streams;
  char listen_host[64]; /* an address, or localhost */
  struct http_hosts hosts;
  const struct http_route *routes;
  size_t route_count;
  const struct tokens *tokens;
  const struct tls *tls;
  struct loop_timer *penalty; /* runs while requests wait out theirs */
  unsigned penalties;         /* how many do */
  struct log_gate refusals;
  const struct http_media *media;
  const struct http_observer *observer;
  void *observer_data;
  void *data;
  size_t body_bytes_max;
  uint64_t idle_ms;
  size_t pending; /* length of `held` */
  size_t unsent;  /* answered, and not completed */
  uint16_t port;
  bool scheduled, closing;
};

enum request_state { RECEIVING, HELD, ANSWERED };

struct http_request {
  struct http_request *previous, *next; /* in `held` */
  struct http_server *server;
  struct MHD_Connection *mhd;
  struct connection *connection;
  char *uri;               /* what target points into */
  const char *uri_in_head; /* the library's, for where it ends */
  /* Name, NUL, value, NUL, and so on: as they came, without blanks around the values. */
  char *headers;
  size_t headers_length;
  struct http_target target;
  struct http_captures captures;
  const char *method;
  const struct http_route *route;
  void *observed; /* the observer's; NULL: it need not know of the answer */
  char principal[TOKEN_NAME_SIZE];
  enum role role;         /* of the principal; 0: no token was needed */
  uint64_t penalty_until; /* in ms; 0: none */
  enum request_state state;
  bool judged, suspended;
  char *body; /* NUL-terminated */
  size_t body_length, body_capacity;
  size_t body_announced; /* as judged; SIZE_MAX: it comes in chunks */
  struct error refusal;
  char allow[HTTP_ALLOW_SIZE]; /* for 405 */
  struct MHD_Response *response;
  int status;
};

/* ---- http_request.c ---- */

/* The next of its headers: `at` NULL asks for the first. Returns its name, NULL after the last. */
const char *http_header_next(const struct http_request *request, const char *at,
                             const char **value);

/* ---- http_judge.c ---- */

/* Looks at the headers and leaves its verdict in request->refusal. False: the connection cannot be used
 * further. */
bool http_judge(struct http_request *request, const char *version);
/* Says that a body is over the limit. */
enum error_code http_refuse_body(const struct http_server *server, struct error *err);

#endif
