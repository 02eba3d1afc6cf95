/* See http_listen.h. */
#include "common/http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

union address {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static socklen_t address_make(const char *host, uint16_t port, union address *out) {
  memset(out, 0, sizeof *out);
  if (strcmp(host, "localhost") == 0) host = "127.0.0.1";
  if (inet_pton(AF_INET, host, &out->v4.sin_addr) == 1) {
    out->v4.sin_family = AF_INET;
    out->v4.sin_port = htons(port);
    return sizeof out->v4;
  }
  if (inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1) {
    out->v6.sin6_family = AF_INET6;
    out->v6.sin6_port = htons(port);
    return sizeof out->v6;
  }
  return 0;
}

static enum error_code failed(struct error *err, const char *host, uint16_t port) {
  int cause = errno;
  const char *why = cause == EADDRINUSE ? "address already in use" : strerror(cause);
  error_set(err, ERR_IO, "cannot listen on %s port %u: %s", host, port, why);
  if (err) err->sys_errno = cause;
  return ERR_IO;
}

enum error_code http_listen(const char *host, uint16_t *port, int *fd, struct error *err) {
  union address address;
  socklen_t size = address_make(host, *port, &address);
  if (size == 0)
    return error_set(err, ERR_IO, "cannot listen on %s: not an IP address or localhost", host);
  int s = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (s < 0) return failed(err, host, *port);
  int on = 1; /* a restart need not wait for the old connections' TIME_WAIT */
  if (setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      bind(s, &address.any, size) != 0 || listen(s, BACKLOG) != 0 ||
      getsockname(s, &address.any, &size) != 0) {
    enum error_code code = failed(err, host, *port);
    (void)close(s);
    return code;
  }
  *port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
  *fd = s;
  return ERR_OK;
}
