/* See http_stream.h. MHD asks for the next piece of the body; when there is none the connection is
 * suspended until something is written.
 *
 * Invariants
 *  1. `suspended` is true from the reader's MHD_suspend_connection() to our MHD_resume_connection(), so
 *     that every suspended connection is resumed once.
 *  2. `closed` is called once, unless the owner has ended the stream; after either the owner has no
 *     claim on it any more.
 * A peer that has gone shows when something is sent to it: whoever writes seldom sends a comment now
 * and then.
 */
#include "common/http_stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/http_response.h"

/* MHD sends chunks as large as its own buffer whatever the block; most answers are small. */
enum { BLOCK_BYTES = 512, BUFFER_FIRST_BYTES = 512 };

struct http_stream {
  struct http_streams *streams;
  struct MHD_Connection *mhd;
  http_stream_closed_fn closed; /* NULL: the owner knows */
  void *data;
  char *buffer; /* from `sent` to `length` is to be sent */
  size_t sent, length, capacity, bytes_max;
  bool suspended, ended, was_silent;
  struct http_stream *prev, *next;
};

/* ---- what MHD calls --------------------------------------------------------------------------- */

static ssize_t next_piece(void *data, uint64_t position, char *out, size_t max) {
  struct http_stream *s = data;
  (void)position;
  size_t left = s->length - s->sent;
  if (left > 0) {
    size_t piece = left < max ? left : max;
    memcpy(out, s->buffer + s->sent, piece);
    s->sent += piece;
    return (ssize_t)piece;
  }
  if (s->ended) return MHD_CONTENT_READER_END_OF_STREAM;
  s->suspended = true;
  MHD_suspend_connection(s->mhd);
  return 0;
}

static void tell_owner(struct http_stream *s) {
  http_stream_closed_fn closed = s->closed;
  s->closed = NULL;
  if (closed) closed(s->data, s->was_silent);
}

/* The response is destroyed: all is sent, or the peer has gone. */
static void on_destroyed(void *data) {
  struct http_stream *s = data;
  tell_owner(s);
  DL_DELETE(s->streams->list, s);
  free(s->buffer);
  free(s);
}

/* ---- writing ---------------------------------------------------------------------------------- */

static void resume(struct http_stream *s) {
  if (!s->suspended) return;
  s->suspended = false;
  MHD_resume_connection(s->mhd);
  s->streams->wake(s->streams->data);
}

static bool append(struct http_stream *s, const char *text, size_t length) {
  size_t left = s->length - s->sent;
  if (s->sent > 0) {
    memmove(s->buffer, s->buffer + s->sent, left);
    s->sent = 0;
    s->length = left;
  }
  if (s->capacity - left < length) {
    size_t capacity = s->capacity ? s->capacity : BUFFER_FIRST_BYTES;
    while (capacity - left < length)
      capacity *= 2;
    char *buffer = realloc(s->buffer, capacity);
    if (!buffer) return false;
    s->buffer = buffer;
    s->capacity = capacity;
  }
  memcpy(s->buffer + left, text, length);
  s->length = left + length;
  return true;
}

bool http_stream_write(struct http_stream *s, const char *text, size_t length) {
  assert(!s->ended);
  if (s->length - s->sent + length > s->bytes_max || !append(s, text, length)) return false;
  resume(s);
  return true;
}

void http_stream_end(struct http_stream *s, const char *last, size_t length) {
  assert(!s->ended);
  s->closed = NULL;
  s->ended = true;
  /* Without memory for the last word there is the end alone. */
  if (length > 0) (void)append(s, last, length);
  resume(s);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct MHD_Response *http_stream_response(struct http_streams *streams, struct MHD_Connection *mhd,
                                          size_t bytes_max, http_stream_closed_fn closed,
                                          void *data, struct http_stream **out) {
  struct http_stream *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  *s = (struct http_stream){
      .streams = streams, .mhd = mhd, .closed = closed, .data = data, .bytes_max = bytes_max};
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, next_piece, s, on_destroyed);
  if (!response) {
    free(s);
    return NULL;
  }
  DL_APPEND(streams->list, s);
  *out = s;
  return response;
}

static ssize_t no_piece(void *data, uint64_t position, char *out, size_t max) {
  (void)data;
  (void)position;
  (void)out;
  (void)max;
  return MHD_CONTENT_READER_END_OF_STREAM;
}

/* A chunked body's end would be sent even so, and read as the beginning of the next response. */
struct MHD_Response *http_stream_head(void) {
  struct MHD_Response *response =
      MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, no_piece, NULL, NULL);
  if (response)
    (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
  return response;
}

void http_streams_note_silence(struct http_streams *streams, const struct MHD_Connection *mhd) {
  struct http_stream *s;
  DL_FOREACH(streams->list, s)
  if (s->mhd == mhd) s->was_silent = true;
}

void http_streams_end(struct http_streams *streams) {
  struct http_stream *s;
  DL_FOREACH(streams->list, s) {
    if (s->ended) continue;
    s->ended = true;
    tell_owner(s);
    resume(s);
  }
}
