/* Sockets that have been answered early and closed for writing, kept until the peer is done
 * sending: closed at once, with bytes unread, the kernel would reset the connection and the peer
 * could lose the answer that tells it why.
 *
 * Limits: LINGER_MAX sockets (more are closed at once), LINGER_MS each.
 */
#ifndef ASSENT_COMMON_HTTP_LINGER_H
#define ASSENT_COMMON_HTTP_LINGER_H

#include "common/loop.h"

enum { HTTP_LINGER_MAX = 64, HTTP_LINGER_MS = 2000 };

struct http_linger;

struct http_lingerers {
  struct loop *loop;
  struct http_linger *first;
  unsigned count;
};

/* `fd` stays the caller's, who is about to close it: a duplicate is kept. */
void http_linger_begin(struct http_lingerers *all, int fd);
void http_linger_close(struct http_lingerers *all);

#endif
