/* Takes the connections of a listening socket, in a loop.
 *
 * Out of descriptors or memory, it waits ACCEPT_RETRY_MS and tries again: who connects waits in the
 * kernel's backlog meanwhile, and nobody need close for the next to be taken.
 */
#ifndef ASSENT_COMMON_HTTP_ACCEPT_H
#define ASSENT_COMMON_HTTP_ACCEPT_H

#include <stdbool.h>
#include <sys/socket.h>

#include "common/loop.h"

struct http_acceptor;

/* `fd` becomes the callee's: non-blocking, close-on-exec. */
typedef void (*http_accepted_fn)(void *data, int fd, const struct sockaddr *peer, socklen_t size);

/* Owns `fd`, a non-blocking listening socket, also when it fails. NULL when the kernel refuses to watch
 * it. */
struct http_acceptor *http_acceptor_new(struct loop *loop, int fd, http_accepted_fn fn, void *data);
/* Takes none while it is not `open`. May be called from fn. */
void http_acceptor_open(struct http_acceptor *acceptor, bool open);
/* Closes the socket; not from fn. NULL is allowed. */
void http_acceptor_free(struct http_acceptor *acceptor);

#endif
