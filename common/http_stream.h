/* Answers of http_server.c that go on: what is written is sent as the peer takes it. Only http_server.c
 * makes streams; handlers get them from http_respond_stream(), and write with the calls of
 * http_server.h.
 */
#ifndef ASSENT_COMMON_HTTP_STREAM_H
#define ASSENT_COMMON_HTTP_STREAM_H

#include <microhttpd.h>

#include "common/http_server.h"

/* All of a server's. */
struct http_streams {
  struct http_stream *list;
  void (*wake)(void *data); /* MHD is to be run */
  void *data;
};

/* The response to queue, with the stream behind it, which lives as long as MHD has the response. NULL
 * when memory has run out. Owner: as MHD_create_response_from_callback(). */
struct MHD_Response *http_stream_response(struct http_streams *streams, struct MHD_Connection *mhd,
                                          size_t bytes_max, http_stream_closed_fn closed,
                                          void *data, struct http_stream **out);
/* The response to HEAD for one: its end is that of the connection. NULL when memory has run out. */
struct MHD_Response *http_stream_head(void);
/* The stream of this connection, if there is one, is about to be closed for the silence of its peer. */
void http_streams_note_silence(struct http_streams *streams, const struct MHD_Connection *mhd);
/* Ends all: their owners are told. MHD still has to send what is left, and to close. */
void http_streams_end(struct http_streams *streams);

#endif
