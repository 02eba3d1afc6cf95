/* See events.h. The ring holds what happened, not its text: that is written once for all readers when it
 * happens, and once more for whom has missed it. Event number n is at n % EVENTS_MAX; the first is 1. */
#include "coordinator/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/json.h"
#include "coordinator/render.h"

static const char content_type[] = "text/event-stream";

enum { ID_SIZE = 48, FRAME_SIZE = 256 };

struct reader {
  struct events *events;
  struct http_stream *stream;
  struct reader *prev, *next;
};

struct kept {
  struct event event;
  char *texts; /* owned: the name, and the text behind it; NULL: both are missing */
};

struct events {
  struct loop_timer *keepalive;
  uint64_t epoch;
  uint64_t latest; /* number; 0: none yet */
  uint64_t dropped[EVENTS_DROP_COUNT];
  bool stopped;
  struct reader *readers;
  unsigned reader_count;
  struct kept ring[EVENTS_MAX];
};

/* ---- readers ---------------------------------------------------------------------------------- */

static void reader_free(struct reader *reader) {
  struct events *events = reader->events;
  DL_DELETE(events->readers, reader);
  events->reader_count--;
  free(reader);
}

static void on_closed(void *data, bool was_silent) {
  struct reader *reader = data;
  if (was_silent) reader->events->dropped[EVENTS_DROP_SILENT]++;
  reader_free(reader);
}

static void end_reader(struct reader *reader, const char *last) {
  http_stream_end(reader->stream, last, strlen(last));
  reader_free(reader);
}

static void drop_slow(struct reader *reader) {
  reader->events->dropped[EVENTS_DROP_SLOW]++;
  end_reader(reader, "event: dropped\ndata: {\"reason\":\"slow\",\"detail\":\"more events wait for "
                     "this reader than are kept for it: connect again with the last id\"}\n\n");
}

static void drop_without_memory(struct reader *reader) {
  reader->events->dropped[EVENTS_DROP_MEMORY]++;
  end_reader(reader, "event: dropped\ndata: {\"reason\":\"memory\"}\n\n");
}

/* False: it was too slow, and is gone. */
static bool send_text(struct reader *reader, const char *text, size_t length) {
  if (http_stream_write(reader->stream, text, length)) return true;
  drop_slow(reader);
  return false;
}

static void send_to_all(struct events *events, const char *text, size_t length) {
  struct reader *reader, *next;
  DL_FOREACH_SAFE(events->readers, reader, next)
  (void)send_text(reader, text, length);
}

static void on_keepalive(void *data) {
  static const char comment[] = ": still here\n\n";
  struct events *events = data;
  send_to_all(events, comment, sizeof comment - 1);
  if (events->readers) loop_timer_start(events->keepalive, EVENTS_KEEPALIVE_MS);
}

/* ---- an event as text ------------------------------------------------------------------------- */

static void write_transaction(struct json_writer *w, const struct event *event) {
  json_key(w, "id");
  json_write_string(w, event->txid.text);
  json_key(w, "state");
  json_write_string(w, event->state);
  json_key(w, "outcome");
  json_write_string(w, render_outcome_name(event->outcome));
  json_key(w, "label");
  json_write_string(w, event->text[0] ? event->text : NULL);
  json_key(w, "cause");
  json_write_string(w, event->cause == CAUSE_NONE ? NULL : cause_kind_name(event->cause));
}

static void write_participant(struct json_writer *w, const struct event *event) {
  json_key(w, "name");
  json_write_string(w, event->name);
  json_key(w, "state");
  json_write_string(w, event->state);
  json_key(w, "draining");
  json_write_boolean(w, event->draining);
  json_key(w, "error");
  json_write_string(w, event->text[0] ? event->text : NULL);
}

static char *data_of(const struct event *event) {
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "at");
  json_write_time(&w, event->at_us);
  if (event->kind == EVENT_TRANSACTION)
    write_transaction(&w, event);
  else
    write_participant(&w, event);
  json_object_end(&w);
  return json_writer_take(&w, NULL);
}

/* Owner: the caller, free(). NULL without memory. */
static char *text_of(const struct events *events, uint64_t number, size_t *length) {
  const struct event *event = &events->ring[number % EVENTS_MAX].event;
  char *data = data_of(event), *text = NULL;
  int written = -1;
  if (data)
    written =
        asprintf(&text, "id: %" PRIu64 ".%" PRIu64 "\nevent: %s\ndata: %s\n\n", events->epoch,
                 number, event->kind == EVENT_TRANSACTION ? "transaction" : "participant", data);
  free(data);
  if (written < 0) return NULL;
  *length = (size_t)written;
  return text;
}

static uint64_t oldest_of(const struct events *events) {
  return events->latest < EVENTS_MAX ? 1 : events->latest - EVENTS_MAX + 1;
}

/* Without memory for its texts it is kept without them. */
static void keep(struct kept *kept, const struct event *event) {
  const char *name = event->name ? event->name : "", *text = event->text ? event->text : "";
  free(kept->texts);
  *kept = (struct kept){.event = *event};
  kept->event.name = kept->event.text = "";
  if (!*name && !*text) return;
  kept->texts = malloc(strlen(name) + strlen(text) + 2);
  if (!kept->texts) return;
  kept->event.name = kept->texts;
  kept->event.text = strcpy(stpcpy(kept->texts, name) + 1, text);
}

void events_publish(struct events *events, const struct event *event) {
  events->latest++;
  keep(&events->ring[events->latest % EVENTS_MAX], event);
  if (!events->readers) return;
  size_t length;
  char *text = text_of(events, events->latest, &length);
  if (text) {
    send_to_all(events, text, length);
  } else { /* nobody may miss one without a word: let them come back for it */
    while (events->readers)
      drop_without_memory(events->readers);
  }
  free(text);
}

/* ---- following -------------------------------------------------------------------------------- */

static bool number_parse(const char *text, char end, uint64_t *out, const char **rest) {
  char *stop;
  if (*text < '0' || *text > '9') return false;
  errno = 0;
  unsigned long long value = strtoull(text, &stop, 10);
  if (errno != 0 || *stop != end) return false;
  *out = value;
  *rest = stop + (end != '\0');
  return true;
}

/* Why a reader with this id has missed something; NULL: it has not, and `*after` is where it stands. */
static const char *missed(const struct events *events, const char *last_id, uint64_t *after) {
  uint64_t epoch, number;
  const char *rest;
  if (!number_parse(last_id, '.', &epoch, &rest) || !number_parse(rest, '\0', &number, &rest))
    return "not_an_id";
  if (epoch < events->epoch) return "earlier_life";
  if (epoch > events->epoch || number > events->latest) return "not_an_id";
  if (number + 1 < oldest_of(events)) return "too_old";
  *after = number;
  return NULL;
}

static bool send_reset(struct reader *reader, const char *reason) {
  const struct events *events = reader->events;
  char text[FRAME_SIZE];
  int length = snprintf(text, sizeof text,
                        "id: %" PRIu64 ".%" PRIu64 "\nevent: reset\ndata: {\"reason\":\"%s\","
                        "\"detail\":\"events were missed: read again what you follow\"}\n\n",
                        events->epoch, events->latest, reason);
  return send_text(reader, text, (size_t)length);
}

/* All that are kept may be more than may wait: who is that far behind is dropped on the way, and comes
 * back with a later id. */
static void send_since(struct reader *reader, uint64_t after) {
  const struct events *events = reader->events;
  bool goes_on = true;
  for (uint64_t number = after + 1; number <= events->latest && goes_on; number++) {
    size_t length;
    char *text = text_of(events, number, &length);
    if (!text) drop_without_memory(reader);
    goes_on = text && send_text(reader, text, length);
    free(text);
  }
}

static void begin_reading(struct reader *reader, const char *last_id) {
  static const char greeting[] = "retry: 1000\n: assent\n\n";
  uint64_t after = reader->events->latest;
  const char *reason = last_id ? missed(reader->events, last_id, &after) : NULL;
  if (!send_text(reader, greeting, sizeof greeting - 1)) return;
  if (reason && !send_reset(reader, reason)) return;
  send_since(reader, after);
}

static void refuse_reader(struct error *err) {
  (void)error_set(err, ERR_OVERLOADED, "%d read the events already, as many as may",
                  EVENTS_READERS_MAX);
  (void)error_limit(err, "event_readers", EVENTS_READERS_MAX);
}

void events_follow(struct events *events, struct http_request *request, const char *last_id) {
  struct error err = {0};
  struct reader *reader = NULL;
  if (events->stopped)
    (void)error_set(&err, ERR_STOPPING, "the coordinator is stopping");
  else if (events->reader_count >= EVENTS_READERS_MAX)
    refuse_reader(&err);
  else if (!(reader = calloc(1, sizeof *reader)))
    (void)error_set(&err, ERR_MEMORY, "no memory for a reader");
  if (!reader) {
    http_respond_error(request, &err, NULL);
    return;
  }
  char id[ID_SIZE] = "";
  if (last_id) (void)snprintf(id, sizeof id, "%s", last_id); /* cut, it is none */
  reader->events = events;
  reader->stream =
      http_respond_stream(request, content_type, EVENTS_WAITING_BYTES, on_closed, reader);
  if (!reader->stream) {
    free(reader);
    return;
  }
  if (!events->readers) loop_timer_start(events->keepalive, EVENTS_KEEPALIVE_MS);
  DL_APPEND(events->readers, reader);
  events->reader_count++;
  begin_reading(reader, last_id ? id : NULL);
}

/* ---- life ------------------------------------------------------------------------------------- */

struct events *events_new(struct loop *loop, uint64_t epoch) {
  struct events *events = calloc(1, sizeof *events);
  if (!events) abort();
  events->epoch = epoch;
  events->keepalive = loop_timer_new(loop, on_keepalive, events);
  return events;
}

void events_stop(struct events *events) {
  events->stopped = true;
  while (events->readers)
    end_reader(events->readers, "event: dropped\ndata: {\"reason\":\"stopping\",\"detail\":\"the "
                                "coordinator is stopping\"}\n\n");
}

void events_free(struct events *events) {
  events_stop(events);
  loop_timer_free(events->keepalive);
  for (size_t i = 0; i < EVENTS_MAX; i++)
    free(events->ring[i].texts);
  free(events);
}

struct events_numbers events_numbers(const struct events *events) {
  struct events_numbers numbers = {.published = events->latest, .readers = events->reader_count};
  memcpy(numbers.dropped, events->dropped, sizeof numbers.dropped);
  return numbers;
}
