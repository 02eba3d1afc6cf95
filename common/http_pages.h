/* Problem documents in the place of libmicrohttpd's own pages.
 *
 * What the library cannot read it answers by itself, with a page of HTML, and closes: no option has it do
 * otherwise. But it queues its page as anybody queues a response, by MHD_queue_response(), and calls that,
 * as shared libraries do, through the dynamic linker: one that the program defines is called in its place.
 * This file defines it. The status stays the library's (400, 413, 414, 431, 505).
 *
 * The problem is sent from there, and nothing may be sent behind it: the library queues its page, finds
 * that the socket takes no more, and closes. To queue the problem instead would not do: after a
 * Content-Length that is no number the library (0.9.75) sends the head of its answer twice, and after too
 * many query parameters no answer at all. To tell it that nothing could be queued has it go on with memory
 * that it has freed.
 *
 * Limits: a first line without a blank is no page to the library either: it shuts the connection for sending
 * without a word, and before it calls any function of ours. A build of the library that calls itself directly
 * (-Bsymbolic) would send its own pages: tests/unit/test_http_server.c says so.
 */
#ifndef ASSENT_COMMON_HTTP_PAGES_H
#define ASSENT_COMMON_HTTP_PAGES_H

#include <microhttpd.h>

#include "common/error.h"

/* Called when a connection is given up and the problem is sent: the peer may have more on its way. */
typedef void (*http_given_up_fn)(struct MHD_Connection *connection);
void http_pages_watch(http_given_up_fn fn);

/* Sends a problem as the last that the peer gets. For a request whose body is still being read: the library takes
 * no response then. The caller has the library close the connection. */
void http_give_up(struct MHD_Connection *connection, const struct error *err);

/* The library's MHD_queue_response(), for all but its own pages. */
enum MHD_Result http_queue_response(struct MHD_Connection *connection, unsigned status,
                                    struct MHD_Response *response);

#endif
