/* See outbox.h.
 *
 * Invariants
 *  1. A letter is in one batch's list from its making to its end, and ends in one callback.
 *  2. A batch that was sent lives until http_client's callback, with or without its outbox.
 *  3. Before a callback the letter is out of its list: the callback may send others.
 * Limits: BATCH_MAX letters and about BATCH_BYTES_MAX bytes a request; one letter may be as large as a
 * client's request. The number of requests under way is not limited: a limit would let decisions wait
 * behind statements that wait for them.
 */
#include "coordinator/outbox.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/message_json.h"

enum { BATCH_MAX = 500, BATCH_BYTES_MAX = 256 << 10, LINE_BYTES_MAX = 64 << 20 };
static_assert((int)BATCH_MAX <= (int)MESSAGES_MAX, "an agent takes what we send");

/* A message, and who waits for its answer. */
struct letter {
  uint64_t id, deadline_ms;
  enum message_kind kind; /* says which of the two */
  union {
    run_fn run;
    decide_fn decide;
  } fn;
  void *data;
  char gid[GID_SIZE];
  struct letter *prev, *next;
};

/* Those of one request. */
struct batch {
  struct outbox *outbox; /* NULL: it has been freed, nobody waits */
  struct letter *letters;
  struct json_writer json; /* until it is sent */
  unsigned count;
  uint64_t deadline_ms; /* the latest of its letters */
  struct batch *prev, *next;
};

struct outbox {
  struct loop *loop;
  struct http_client *client;
  char *url;
  uint64_t last_id;
  struct batch *gathering; /* NULL: nothing */
  struct batch *sent;
  struct loop_timer *timer; /* for letters that end before their request */
  uint64_t timer_ms;        /* 0: it does not run */
  struct loop_soon *turn_end;
};

/* ---- ends ------------------------------------------------------------------------------------- */

/* `body` NULL: there was no answer, `err` says why. */
static void end_run(const struct letter *letter, const json_t *body, const struct error *err) {
  struct run_reply reply;
  char *results = NULL;
  struct error problem = {0};
  if (body)
    err = reply_refused(run_reply_decode(body, letter->gid, &reply, &results, &problem), &problem);
  letter->fn.run(letter->data, err ? NULL : &reply, err);
  free(results);
}

static void end_decide(const struct letter *letter, const json_t *body, const struct error *err) {
  struct decide_reply reply;
  struct error problem = {0};
  if (body) err = reply_refused(decide_reply_decode(body, letter->gid, &reply, &problem), &problem);
  letter->fn.decide(letter->data, err ? NULL : &reply, err);
}

static void end_letter(struct batch *batch, struct letter *letter, const json_t *body,
                       const struct error *err) {
  DL_DELETE(batch->letters, letter);
  if (letter->kind == MESSAGE_RUN)
    end_run(letter, body, err);
  else
    end_decide(letter, body, err);
  free(letter);
}

static void batch_free(struct batch *batch) {
  struct letter *letter, *next;
  DL_FOREACH_SAFE(batch->letters, letter, next) {
    free(letter);
  }
  json_writer_close(&batch->json);
  free(batch);
}

/* ---- answers ---------------------------------------------------------------------------------- */

static struct letter *letter_of(const struct batch *batch, uint64_t id) {
  struct letter *letter;
  DL_FOREACH(batch->letters, letter) {
    if (letter->id == id) return letter;
  }
  return NULL;
}

/* What cannot be read, or has the id of none that waits (one that was too late), changes nothing. */
static void on_line(void *data, char *line, size_t length) {
  struct batch *batch = data;
  if (!batch->outbox) return;
  json_t *json = json_parse(line, length, NULL);
  struct message message;
  bool ok = json && message_decode(json, &message, NULL) == ERR_OK;
  struct letter *letter = ok ? letter_of(batch, message.id) : NULL;
  if (letter && message.kind == letter->kind) {
    end_letter(batch, letter, message.body, NULL);
  } else if (letter && message.kind == MESSAGE_PROBLEM) {
    struct error problem = {0};
    message_problem_decode(message.body, letter->gid, &problem);
    end_letter(batch, letter, NULL, &problem);
  }
  json_decref(json);
}

/* What the request's end says of the letters that have no answer. */
static void judge_end(int status, const char *body, size_t length, struct error *err) {
  json_t *json = NULL;
  if (status == 200)
    (void)error_set(err, ERR_LOST, "the agent's answer ended without one to this message");
  else if (!(json = json_parse(body, length, NULL)))
    (void)error_set(err, ERR_LOST, "the agent's answer (%d) is not JSON", status);
  else
    problem_decode(json, status, err);
  json_decref(json);
  /* What refuses a message, but for the form of its request, comes in a line of its own. An answer without
   * an id may be to somebody else's request. */
  if (err->code != ERR_BAD_REQUEST) err->code = ERR_LOST;
}

static void on_end(void *data, int status, const char *body, size_t length,
                   const struct error *err) {
  struct batch *batch = data;
  struct error problem = {0};
  if (batch->outbox) DL_DELETE(batch->outbox->sent, batch);
  if (batch->outbox && batch->letters && !err) {
    judge_end(status, body, length, &problem);
    err = &problem;
  }
  while (batch->outbox && batch->letters)
    end_letter(batch, batch->letters, NULL, err);
  batch_free(batch);
}

/* ---- time ------------------------------------------------------------------------------------- */

static void watch_letter(struct outbox *outbox, const struct letter *letter) {
  if (outbox->timer_ms != 0 && outbox->timer_ms <= letter->deadline_ms) return;
  uint64_t now_ms = loop_now_ms(outbox->loop);
  outbox->timer_ms = letter->deadline_ms;
  loop_timer_start(outbox->timer, letter->deadline_ms > now_ms ? letter->deadline_ms - now_ms : 1);
}

/* The last of a batch ends with its request, which knows better why. */
static void end_late(struct batch *batch, uint64_t now_ms) {
  struct letter *letter, *next;
  DL_FOREACH_SAFE(batch->letters, letter, next) {
    if (letter->deadline_ms == batch->deadline_ms) continue;
    if (letter->deadline_ms > now_ms) {
      watch_letter(batch->outbox, letter);
      continue;
    }
    struct error err = {0};
    (void)error_set(&err, ERR_LOST, "the agent has not answered in time");
    end_letter(batch, letter, NULL, &err);
  }
}

static void on_timer(void *data) {
  struct outbox *outbox = data;
  struct batch *batch, *next;
  outbox->timer_ms = 0;
  DL_FOREACH_SAFE(outbox->sent, batch, next) {
    end_late(batch, loop_now_ms(outbox->loop));
  }
}

/* ---- sending ---------------------------------------------------------------------------------- */

static void send_gathered(struct outbox *outbox) {
  struct batch *batch = outbox->gathering;
  if (!batch) return;
  outbox->gathering = NULL;
  struct letter *letter;
  DL_FOREACH(batch->letters, letter) {
    if (letter->deadline_ms < batch->deadline_ms) watch_letter(outbox, letter);
  }
  json_array_end(&batch->json);
  json_object_end(&batch->json);
  size_t length = 0;
  char *body = json_writer_take(&batch->json, &length);
  if (!body) abort(); /* out of memory, and callers that wait for callbacks */
  DL_APPEND(outbox->sent, batch);
  uint64_t now_ms = loop_now_ms(outbox->loop);
  http_client_send_lines(outbox->client, outbox->url, body, length,
                         batch->deadline_ms > now_ms ? batch->deadline_ms - now_ms : 1,
                         LINE_BYTES_MAX, on_line, on_end, batch);
}

static void on_turn_end(void *data) {
  send_gathered(data);
}

static struct batch *gather(struct outbox *outbox) {
  if (outbox->gathering) return outbox->gathering;
  struct batch *batch = calloc(1, sizeof *batch);
  if (!batch) abort();
  batch->outbox = outbox;
  json_writer_init(&batch->json);
  json_object_begin(&batch->json);
  json_key(&batch->json, "messages");
  json_array_begin(&batch->json);
  outbox->gathering = batch;
  return batch;
}

/* The letter's message is to be written next. */
static struct letter *letter_begin(struct outbox *outbox, enum message_kind kind, const char *gid,
                                   int64_t timeout_ms, void *data) {
  struct batch *batch = gather(outbox);
  struct letter *letter = malloc(sizeof *letter);
  if (!letter) abort();
  *letter = (struct letter){.id = ++outbox->last_id,
                            .deadline_ms = loop_now_ms(outbox->loop) + (uint64_t)timeout_ms,
                            .kind = kind,
                            .data = data};
  (void)snprintf(letter->gid, sizeof letter->gid, "%s", gid);
  if (letter->deadline_ms > batch->deadline_ms) batch->deadline_ms = letter->deadline_ms;
  DL_APPEND(batch->letters, letter);
  batch->count++;
  message_begin(&batch->json, letter->id, kind);
  return letter;
}

static void letter_written(struct outbox *outbox) {
  struct batch *batch = outbox->gathering;
  message_end(&batch->json);
  if (batch->count == BATCH_MAX || batch->json.length >= BATCH_BYTES_MAX) send_gathered(outbox);
  if (outbox->gathering) loop_soon_ask(outbox->turn_end);
}

void outbox_run(struct outbox *outbox, const struct run_request *request, int64_t timeout_ms,
                run_fn fn, void *data) {
  struct letter *letter = letter_begin(outbox, MESSAGE_RUN, request->gid, timeout_ms, data);
  letter->fn.run = fn;
  run_request_encode(&outbox->gathering->json, request);
  letter_written(outbox);
}

void outbox_decide(struct outbox *outbox, const struct decide_request *request, int64_t timeout_ms,
                   decide_fn fn, void *data) {
  struct letter *letter = letter_begin(outbox, MESSAGE_DECIDE, request->gid, timeout_ms, data);
  letter->fn.decide = fn;
  decide_request_encode(&outbox->gathering->json, request);
  letter_written(outbox);
}

/* ---- make, free ------------------------------------------------------------------------------- */

struct outbox *outbox_new(struct loop *loop, struct http_client *client, const char *url) {
  struct outbox *outbox = calloc(1, sizeof *outbox);
  if (!outbox) abort();
  outbox->loop = loop;
  outbox->client = client;
  if (asprintf(&outbox->url, "%s/messages", url) < 0) abort();
  outbox->timer = loop_timer_new(loop, on_timer, outbox);
  outbox->turn_end = loop_soon_new(loop, on_turn_end, outbox);
  return outbox;
}

void outbox_free(struct outbox *outbox) {
  struct batch *batch;
  DL_FOREACH(outbox->sent, batch) {
    batch->outbox = NULL;
  }
  if (outbox->gathering) batch_free(outbox->gathering);
  loop_timer_free(outbox->timer);
  loop_soon_free(outbox->turn_end);
  free(outbox->url);
  free(outbox);
}
