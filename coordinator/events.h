/* What has happened lately, for readers that follow: state changes of transactions and participants, as
 * server-sent events (html.spec.whatwg.org, section 9.2).
 *
 * The latest EVENTS_MAX are kept. An id is "<epoch>.<number>": it grows over restarts, since each start
 * has a greater epoch. Who comes back with an id that is no longer kept, or of an earlier life, has
 * missed something, and is told so first. Who takes too long to read is dropped, and is told so last:
 * what waits for one reader never has more than EVENTS_WAITING_BYTES. Who takes nothing at all for the time
 * that an idle connection is kept is closed by the server, whatever waits for it, the last word, too.
 */
#ifndef ASSENT_COORDINATOR_EVENTS_H
#define ASSENT_COORDINATOR_EVENTS_H

#include "common/http_server.h"
#include "common/loop.h"
#include "common/message.h"
#include "wal/wal.h"

enum {
  EVENTS_MAX = 4096,
  EVENTS_READERS_MAX = 100,
  EVENTS_WAITING_BYTES = 256 * 1024,
  EVENTS_KEEPALIVE_MS = 15000,
  EVENT_TEXT_SIZE = 256
};

enum event_kind { EVENT_TRANSACTION, EVENT_PARTICIPANT };
struct event {
  enum event_kind kind;
  int64_t at_us;
  const char *state;        /* static */
  struct txid txid;         /* of a transaction */
  enum wal_outcome outcome; /* of a transaction */
  enum cause_kind cause;    /* of a transaction */
  const char *name;         /* of a participant */
  bool draining;            /* a participant */
  /* Its label, or what went wrong at the participant; "" or NULL: none. Less than EVENT_TEXT_SIZE. */
  const char *text;
};

struct events;
struct events *events_new(struct loop *loop, uint64_t epoch);
/* Its readers' connections end. */
void events_free(struct events *events);

/* Copied, and the texts, too. */
void events_publish(struct events *events, const struct event *event);
/* Answers the request with all events behind `last_id` (NULL: only those to come), and goes on. */
void events_follow(struct events *events, struct http_request *request, const char *last_id);
/* Ends every reader, with a last word; there will be no more. */
void events_stop(struct events *events);

/* Why a reader was let go that had not left. */
enum events_drop {
  EVENTS_DROP_SLOW,   /* too much would have waited for it */
  EVENTS_DROP_SILENT, /* it took nothing of what waited, for as long as an idle connection is kept */
  EVENTS_DROP_MEMORY, /* there was none for an event */
  EVENTS_DROP_COUNT
};

struct events_numbers {
  uint64_t published;                  /* events */
  uint64_t dropped[EVENTS_DROP_COUNT]; /* readers */
  unsigned readers;
};
struct events_numbers events_numbers(const struct events *events);

#endif
