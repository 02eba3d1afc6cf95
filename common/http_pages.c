/* See http_pages.h. On the loop thread only, as everything that calls libmicrohttpd. */
#include "common/http_pages.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "common/http_rules.h"
#include "common/problem.h"
#include "common/tls.h"

typedef enum MHD_Result (*queue_fn)(struct MHD_Connection *, unsigned, struct MHD_Response *);

static http_given_up_fn given_up;

void http_pages_watch(http_given_up_fn fn) {
  given_up = fn;
}

enum MHD_Result http_queue_response(struct MHD_Connection *connection, unsigned status,
                                    struct MHD_Response *response) {
  static queue_fn queue;
  if (!queue) {
    void *found = dlsym(RTLD_NEXT, "MHD_queue_response");
    assert(found); /* the program is linked with it */
    memcpy(&queue, &found, sizeof queue);
  }
  return queue(connection, status, response);
}

static void describe(unsigned status, struct error *err) {
  switch (status) {
  case MHD_HTTP_URI_TOO_LONG:
    (void)error_set(err, ERR_URI_TOO_LONG, "the request's first line is too long");
    break;
  case MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE:
    (void)error_set(err, ERR_HEADERS_TOO_LARGE,
                    "there is no room for so many headers and query parameters: headers may have "
                    "%d bytes",
                    HTTP_HEADER_BYTES_MAX);
    (void)error_limit(err, "headers", HTTP_HEADER_BYTES_MAX);
    break;
  case MHD_HTTP_HTTP_VERSION_NOT_SUPPORTED:
    (void)error_set(err, ERR_HTTP_VERSION, "HTTP/1.0 and HTTP/1.1 are spoken here");
    break;
  case MHD_HTTP_CONTENT_TOO_LARGE:
    (void)error_set(err, ERR_TOO_LARGE, "the body's length, or a chunk's, has too many digits");
    break;
  default:
    (void)error_set(err, ERR_BAD_REQUEST,
                    "not HTTP: the first line, a header, Content-Length, or a chunk of the body");
  }
}

/* What does not go out at once is lost: nothing is before it in the library, and the little it is has room
 * in the socket unless the peer has left earlier answers unread. */
static void send_last(struct MHD_Connection *connection, const char *text, size_t length) {
  const union MHD_ConnectionInfo *tls =
      MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
  int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
  if (tls && tls->tls_session)
    tls_send_last(tls->tls_session, text, length);
  else
    (void)send(fd, text, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(fd, SHUT_WR);
}

static void send_problem(struct MHD_Connection *connection, const struct error *err) {
  size_t length = 0;
  char *body = problem_make(err, NULL, &length);
  char text[2048];
  unsigned status = (unsigned)error_http_status(err->code);
  int used = body ? snprintf(text, sizeof text,
                             "HTTP/1.1 %u %s\r\nConnection: close\r\n"
                             "Content-Type: " PROBLEM_CONTENT_TYPE "\r\n"
                             "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                             "Content-Length: %zu\r\n\r\n%s",
                             status, MHD_get_reason_phrase_for(status), length, body)
                  : -1;
  if (used > 0 && (size_t)used < sizeof text) send_last(connection, text, (size_t)used);
  free(body);
}

void http_give_up(struct MHD_Connection *connection, const struct error *err) {
  send_problem(connection, err);
  if (given_up) given_up(connection);
}

/* Called by the library only, with a page of its own. */
enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *page) {
  struct error err = {.code = ERR_OK};
  describe(status, &err);
  http_give_up(connection, &err);
  return http_queue_response(connection, status, page);
}
