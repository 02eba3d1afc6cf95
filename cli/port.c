/* See port.h.
 *
 * The kernel lets two sockets have one port where both allow it (SO_REUSEADDR) and neither listens. Ours
 * is bound without that, so it is the only one; then it allows the one that is to listen. Who looks for a
 * free port in this way, or without SO_REUSEADDR at all, does not find it free.
 * Limits: Linux. One who listens with SO_REUSEADDR on a port that it did not look for is not kept out.
 */
#include "cli/port.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/id.h"

enum {
  PORT_FIRST = 20000, /* Linux: ephemeral ports begin at 32768 */
  PORT_COUNT = 12000,
  PORT_TRIES = 100
};

/* -1: it is somebody's. */
static int reserve(uint16_t port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  if (bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 &&
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0)
    return fd;
  (void)close(fd);
  return -1;
}

enum error_code port_reserve(uint16_t *port, int *fd, struct error *err) {
  for (int i = 0; i < PORT_TRIES; i++) {
    uint16_t random;
    id_random(&random, sizeof random);
    *port = (uint16_t)(PORT_FIRST + random % PORT_COUNT);
    *fd = reserve(*port);
    if (*fd >= 0) return ERR_OK;
  }
  return error_set(err, ERR_UNAVAILABLE, "no free port on 127.0.0.1 from %d to %d", PORT_FIRST,
                   PORT_FIRST + PORT_COUNT - 1);
}
