/* An HTTP/1.1 server of JSON on the loop (libmicrohttpd inside; no other file includes it).
 *
 * A request is handed to its route's handler when its whole body has been read. The handler answers
 * at once or keeps the request and answers on a later turn; the client may have gone by then, which
 * http_respond*() takes in its stride: a request lives until it is answered, whatever the client
 * does. What the server refuses by itself, with a problem document: unknown paths (404), other
 * methods (405 with Allow), bodies over the limit (413 and close, not read into memory), a body that is not
 * application/json (415), an Accept that excludes JSON (406), Content-Length together with
 * Transfer-Encoding and all else that leaves a body's end in doubt (400 and close), headers over the limit
 * (431), what is no HTTP (400, 414, 505; see http_pages.h), a Host header that
 * names neither this listener's address nor localhost nor one of the names in the options, and any
 * foreign Origin (403: a web page must not drive a coordinator on localhost), a missing or unknown token
 * (401, logged, and answered half a second later only, unless a quarter of the connections wait
 * for that: then at once, and closed) or one that may not do this (403), where there are
 * tokens, and a client without a certificate of the CA, where there is one (403).
 *
 * Limits: connections, body bytes, header bytes (16 KiB), idle seconds; see the options.
 */
#ifndef ASSENT_COMMON_HTTP_SERVER_H
#define ASSENT_COMMON_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"
#include "common/loop.h"

struct http_server;
struct http_request;
struct tls;
struct tokens;
struct http_stream;

typedef void (*http_handler)(struct http_request *request, void *data);

/* `path` may hold one-segment captures: "/v1/transactions/{id}/commit". At most 2 captures, of at
 * most 255 bytes each (longer: 404). Matching is exact; literal segments win over captures. */
struct http_route {
  const char *method; /* "GET", "POST", ...; GET serves HEAD too */
  const char *path;
  http_handler handler;
  unsigned roles; /* of a token, see tokens.h; 0: operators only; ROLE_ANYONE: no token needed */
};

enum { ROLE_ANYONE = 1 << 16 };

/* What a path answers with where it is not JSON: for the Accept header. */
struct http_media {
  const char *path, *type; /* "/metrics", "text/plain" */
};

/* Told of each request that is handed to a handler, and of its answer. What begun() returns is
 * http_observed() until then; NULL: answered() is not called. Static. */
struct http_observer {
  void *(*begun)(void *data, const struct http_request *request, const struct http_route *route);
  void (*answered)(void *observed, int status);
};

struct http_server_options {
  const char *listen_host;     /* an IPv4 or IPv6 address, or "localhost" */
  uint16_t listen_port;        /* 0: any free one, see http_server_port() */
  size_t body_bytes_max;       /* 0: 1 MiB */
  unsigned connections_max;    /* 0: 12000, lowered to what RLIMIT_NOFILE allows, raised first */
  const struct tokens *tokens; /* NULL: everybody may do everything. Borrowed */
  const struct tls *tls;       /* NULL: in the clear. Borrowed */
  unsigned idle_seconds;       /* 0: 30; also the time a request may take to arrive */
  const char *host_names; /* further names for Host and Origin, separated by blanks or commas; NULL:
                             none. Borrowed, as are routes and data; listen_host is copied */
  const struct http_media *media;       /* ended by a path NULL; NULL: all is JSON. Borrowed */
  const struct http_observer *observer; /* NULL: none */
  void *observer_data;                  /* borrowed */
};

/* Routes and data are borrowed and must outlive the server. ERR_IO with the address and errno's
 * text when the port cannot be had ("address already in use" names the port). */
enum error_code http_server_start(struct http_server **out, struct loop *loop,
                                  const struct http_server_options *options,
                                  const struct http_route *routes, size_t route_count, void *data,
                                  struct error *err) __attribute__((warn_unused_result));
uint16_t http_server_port(const struct http_server *server);

/* From now on these tokens. Streams end: who may still read comes back. */
void http_server_set_tokens(struct http_server *server, const struct tokens *tokens);

/* Stops accepting; what is being served goes on. */
void http_server_quiesce(struct http_server *server);
/* Requests handed to a handler and not answered yet. */
size_t http_server_pending(const struct http_server *server);
/* Closes everything. Requests not answered yet are answered with 503, and gone: whoever keeps one
 * must not touch it any more. Not from inside a handler. */
void http_server_free(struct http_server *server);

/* ---- a request; strings are borrowed and live as long as it ---- */

const char *http_method(const struct http_request *request);
const char *http_path(const struct http_request *request);
const char *http_capture(const struct http_request *request, unsigned index); /* percent-decoded */
/* The name of the token it came with; NULL: it needed none. */
const char *http_principal(const struct http_request *request);
/* Whose things it may see and touch, by name; NULL: everybody's (an operator, or no tokens are asked for). */
const char *http_only_of(const struct http_request *request);
/* NULL when absent. Percent-decoded. */
const char *http_query(const struct http_request *request, const char *name);
/* Checks that the query has no parameter outside `names` (NULL-terminated); ERR_UNKNOWN_FIELD names
 * the first one that is. A repeated parameter is ERR_INVALID. */
enum error_code http_check_query(const struct http_request *request, const char *const *names,
                                 struct error *err) __attribute__((warn_unused_result));
const char *http_header(const struct http_request *request,
                        const char *name); /* NULL when absent */
/* How often it came. */
unsigned http_header_count(const struct http_request *request, const char *name);
/* All of them, in their order, with commas between. False: none, or too long. */
bool http_header_joined(const struct http_request *request, const char *name, char *out,
                        size_t size);
void *http_observed(const struct http_request *request);
/* NULL when the request had none. */
const char *http_body(const struct http_request *request, size_t *length);

/* ---- the answer: exactly one of these, once; the request is gone afterwards ---- */

struct http_header {
  const char *name, *value;
};

/* `body` is JSON text taken over (freed with free()); NULL means memory ran out: 503. Sent with
 * Cache-Control: no-store and X-Content-Type-Options: nosniff. */
void http_respond_take(struct http_request *request, int status, const char *content_type,
                       char *body, size_t length, const struct http_header *headers,
                       size_t header_count);
/* 200 with a body that goes on until http_stream_end(). `closed` is called when the peer has gone, or
 * the server ends: the stream is gone then. NULL: answered already, a HEAD with the head alone, and with
 * 503 when memory has run out.
 * `was_silent`: the server closed it, since for the idle time the peer took nothing of what waited. */
typedef void (*http_stream_closed_fn)(void *data, bool was_silent);
struct http_stream *http_respond_stream(struct http_request *request, const char *content_type,
                                        size_t bytes_max, http_stream_closed_fn closed, void *data);
/* False: more than `bytes_max` would wait for the peer to take it, or memory has run out; nothing of it
 * was taken. */
bool http_stream_write(struct http_stream *stream, const char *text, size_t length)
    __attribute__((warn_unused_result));
/* The last words, however much waits; `closed` is not called, and the stream is not ours any more. */
void http_stream_end(struct http_stream *stream, const char *last, size_t length);

/* application/problem+json for `err` (RFC 9457: type, title, status, detail, code, and field where
 * set). `extra` (borrowed, may be NULL) is put in as further members: text of the form
 * "\"transaction\":{...}". Retry-After: 1 where problem_is_temporary() says so. */
void http_respond_error(struct http_request *request, const struct error *err, const char *extra);

#endif
