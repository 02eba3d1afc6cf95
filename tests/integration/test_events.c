/* GET /v1/events: readers follow, come back, and are told when they have missed something. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/lib/contract.h"
#include "tests/lib/world.h"

/* ---- a reader --------------------------------------------------------------------------------- */

struct follower {
  int fd;
  char *text; /* all that came, chunk sizes and all */
  size_t length;
  bool closed;
};

/* `header`: a whole further line, or "". `bytes`: what its side holds for it, and with segments as small the
 * coordinator's side holds little more; 0: as the kernel likes it. */
static struct follower follow_holding(const struct world *w, const char *path, const char *header,
                                      int bytes) {
  const int segment = 100;
  struct follower f = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(w->ports[COORDINATOR])};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  char request[512];
  int length = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n",
                        path, header);
  if (bytes) {
    CU_ASSERT_EQUAL(setsockopt(f.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    CU_ASSERT_EQUAL(setsockopt(f.fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment), 0);
  }
  CU_ASSERT_FATAL(connect(f.fd, (const struct sockaddr *)&address, sizeof address) == 0);
  CU_ASSERT_FATAL(write(f.fd, request, (size_t)length) == length);
  f.text = calloc(1, 1);
  return f;
}

static struct follower follow(const struct world *w, const char *path, const char *header) {
  return follow_holding(w, path, header, 0);
}

static bool take_more(struct follower *f) {
  char piece[65536];
  struct pollfd ready = {.fd = f->fd, .events = POLLIN};
  if (f->closed || poll(&ready, 1, 0) <= 0) return false;
  ssize_t got = read(f->fd, piece, sizeof piece);
  if (got <= 0) {
    f->closed = true;
    return false;
  }
  f->text = realloc(f->text, f->length + (size_t)got + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(f->text);
  memcpy(f->text + f->length, piece, (size_t)got);
  f->length += (size_t)got;
  f->text[f->length] = '\0';
  return true;
}

static bool has(struct follower *f, const char *text) {
  while (take_more(f))
    ;
  return strstr(f->text, text) != NULL;
}

static void leave(struct follower *f) {
  (void)close(f->fd);
  free(f->text);
}

/* The last id that came, as a header. */
static void last_id(const struct follower *f, char out[96]) {
  const char *last = NULL;
  for (const char *at = f->text; (at = strstr(at, "\nid: ")); at++)
    last = at + 5;
  CU_ASSERT_PTR_NOT_NULL_FATAL(last);
  (void)snprintf(out, 96, "Last-Event-ID: %.*s\r\n", (int)strcspn(last, "\n"), last);
}

static unsigned count_of(const struct follower *f, const char *text) {
  unsigned count = 0;
  for (const char *at = f->text; (at = strstr(at, text)); at++)
    count++;
  return count;
}

static struct follower follow_from_now(const struct world *w) {
  struct follower f = follow(w, "/v1/events", "");
  UNTIL(has(&f, ": assent"));
  return f;
}

/* Each event that came whole is as the contract describes it. */
static void check_events(struct world *w, const struct follower *f, unsigned at_least) {
  char name[32], schema[64], why[CONTRACT_WHY_SIZE];
  unsigned count = 0;
  for (const char *at = f->text; (at = strstr(at, "\nevent: ")); at++) {
    const char *data = strstr(at, "\ndata: ");
    if (!data || sscanf(at, "\nevent: %31[a-z]", name) != 1) continue;
    const char *text = api_text(w->api, "%.*s", (int)strcspn(data + 7, "\n"), data + 7);
    json_t *value = json_loads(text, 0, NULL);
    if (!value) continue;
    (void)snprintf(schema, sizeof schema, "%c%sEvent", name[0] - 'a' + 'A', name + 1);
    const json_t *schemas = json_object_get(json_object_get(contract(), "components"), "schemas");
    const json_t *says = json_object_get(schemas, schema);
    CU_ASSERT_PTR_NOT_NULL_FATAL(says);
    if (!contract_allows(says, value, why))
      check_failed(__FILE__, __LINE__, false, "%s is not as %s says: %s", text, schema, why);
    json_decref(value);
    count++;
  }
  CU_ASSERT(count >= at_least);
}

/* ---- cases ------------------------------------------------------------------------------------ */

static void states_of_a_transaction_come_in_order(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  struct follower f = follow_from_now(w);
  CU_ASSERT(has(&f, "HTTP/1.1 200"));
  CU_ASSERT(has(&f, "Content-Type: text/event-stream"));
  const struct reply *done = api_run(w->api, ONE_CALL("'label':'seen',", TRANSFER(10)));
  CHECK_STATUS(done, 200);
  UNTIL(has(&f, "\"state\":\"committed\""));
  const char *before = f.text;
  static const char *const states[] = {"open", "preparing", "committing", "committed"};
  for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
    const char *event =
        api_text(w->api, "\"id\":\"%s\",\"state\":\"%s\"", reply_string(done, "/id"), states[i]);
    const char *at = strstr(before, event);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
    before = at;
  }
  CU_ASSERT(has(&f, "\"outcome\":\"committed\",\"label\":\"seen\",\"cause\":null"));
  check_events(w, &f, 4);
  leave(&f);
  world_close(w);
}
IN_BOTH_MODES(states_of_a_transaction_come_in_order)

static void participant_that_goes_and_comes_is_told(enum world_mode mode) {
  struct world *w =
      world_open(mode, &(struct world_options){.settings = "health_interval = 50ms\n"});
  struct follower f = follow_from_now(w);
  world_server_kill(w, BANK_B);
  UNTIL(has(&f, "\"name\":\"bank_b\",\"state\":\"down\""));
  world_server_start(w, BANK_B);
  UNTIL(has(&f, "\"name\":\"bank_b\",\"state\":\"up\""));
  check_events(w, &f, 2);
  leave(&f);
  world_close(w);
}
IN_BOTH_MODES(participant_that_goes_and_comes_is_told)

/* Between two connections three transactions ran: they are told, and no event twice. */
static void reader_that_comes_back_misses_nothing(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  struct follower first = follow_from_now(w);
  char id[96];
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'one',", TRANSFER(1))), 200);
  UNTIL(has(&first, "\"state\":\"committed\""));
  last_id(&first, id);
  leave(&first);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'two',", TRANSFER(1))), 200);
  struct follower second = follow(w, "/v1/events", id);
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'three',", TRANSFER(1))), 200);
  UNTIL(has(&second, "\"state\":\"committed\",\"outcome\":\"committed\",\"label\":\"three\""));
  CU_ASSERT_FALSE(has(&second, "event: reset"));
  CU_ASSERT_FALSE(has(&second, "\"label\":\"one\""));
  CU_ASSERT_EQUAL(count_of(&second, "\"label\":\"two\""), 4);
  CU_ASSERT_EQUAL(count_of(&second, "\"label\":\"three\""), 4);
  leave(&second);
  world_close(w);
}

static void reader_of_an_earlier_life_is_told_so_first(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  struct follower before = follow_from_now(w);
  char id[96];
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(1))), 200);
  UNTIL(has(&before, "\"state\":\"committed\""));
  last_id(&before, id);
  world_restart(w, COORDINATOR);
  leave(&before);
  struct follower after = follow(w, "/v1/events", id);
  UNTIL(has(&after, "event: reset"));
  CU_ASSERT(has(&after, "\"reason\":\"earlier_life\""));
  check_events(w, &after, 1);
  CU_ASSERT_PTR_EQUAL(strstr(after.text, "event: "), strstr(after.text, "event: reset"));
  CHECK_STATUS(api_run(w->api, ONE_CALL("'label':'next',", TRANSFER(1))), 200);
  UNTIL(has(&after, "\"label\":\"next\""));
  leave(&after);
  world_close(w);
}

static void id_that_is_none_is_reset(void) {
  static const char *const ids[] = {"?last_event_id=nonsense", "?last_event_id=1.99999999",
                                    "?last_event_id=99.1", "?last_event_id=-1.1"};
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
    struct follower f = follow(w, api_text(w->api, "/v1/events%s", ids[i]), "");
    UNTIL(has(&f, "event: reset"));
    CU_ASSERT(has(&f, "\"reason\":\"not_an_id\""));
    leave(&f);
  }
  CHECK_PROBLEM(api_get(w->api, "/v1/events?since=1"), 422, "unknown_field");
  world_close(w);
}

static bool are_dropped(struct world *w, unsigned slow, unsigned silent) {
#define DROPPED "assent_events_readers_dropped_total"
  const char *text = api_text(w->api,
                              "\n" DROPPED "{reason=\"slow\"} %u\n" DROPPED
                              "{reason=\"silent\"} %u\n" DROPPED "{reason=\"memory\"} 0\n",
                              slow, silent);
  return strstr(api_get(w->api, "/metrics")->text, text) != NULL;
#undef DROPPED
}

static void begin_and_roll_back(struct world *w, unsigned times) {
  char label[256];
  memset(label, 'x', sizeof label - 1);
  label[sizeof label - 1] = '\0';
  while (times-- > 0) {
    const char *id = api_begin(w->api, api_text(w->api, "{'label':'%s'}", label));
    CHECK_STATUS(api_rollback(w->api, id), 200);
  }
}

/* More events than the ring holds: the id is too old. A reader that does not read meanwhile is dropped,
 * and its last word says so: if it takes it before its connection has been silent for too long, which on a
 * busy machine could be over before we look. */
static void reader_that_does_not_read_is_dropped(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &(struct world_options){.settings = "idle = 1h\n"});
  struct follower idle = follow_from_now(w);
  int small = 65536; /* smaller, and the kernel delays what it sends */
  CU_ASSERT_EQUAL(setsockopt(idle.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
  unsigned published = 0;
  for (bool dropped = false; !dropped && published < 60000; published += 1000) {
    begin_and_roll_back(w, 500);
    dropped = are_dropped(w, 1, 0);
  }
  CU_ASSERT(published < 60000);
  UNTIL(has(&idle, "event: dropped"));
  CU_ASSERT(has(&idle, "\"reason\":\"slow\""));
  leave(&idle);
  struct follower late = follow(w, "/v1/events?last_event_id=1.1", "");
  UNTIL(has(&late, "event: reset"));
  CU_ASSERT(has(&late, "\"reason\":\"too_old\""));
  leave(&late);
  world_close(w);
}

/* More than the kernel takes for it, less than may wait for it; one that has left is not counted. */
static void reader_that_takes_nothing_is_counted_as_silent(void) {
  struct world *w = world_open(WORLD_EMBEDDED, &(struct world_options){.settings = "idle = 1s\n"});
  struct follower gone = follow_from_now(w), silent = follow_holding(w, "/v1/events", "", 2048);
  leave(&gone);
  UNTIL(has(&silent, ": assent"));
  begin_and_roll_back(w, 150); /* about 1 KB each */
  UNTIL(are_dropped(w, 0, 1));
  leave(&silent);
  world_close(w);
}

static void readers_are_told_of_the_end(void) {
  struct world *w = world_open(WORLD_EMBEDDED, NULL);
  struct follower f = follow_from_now(w);
  struct follower gone = follow_from_now(w);
  leave(&gone);
  world_stop(w, COORDINATOR);
  UNTIL(has(&f, "\"reason\":\"stopping\""));
  UNTIL(!take_more(&f) && f.closed);
  check_events(w, &f, 1);
  leave(&f);
  world_start(w, COORDINATOR, NULL);
  world_wait_ready(w);
  world_close(w);
}

SUITE(events, BOTH(states_of_a_transaction_come_in_order),
      BOTH(participant_that_goes_and_comes_is_told), CASE(reader_that_comes_back_misses_nothing),
      CASE(reader_of_an_earlier_life_is_told_so_first), CASE(id_that_is_none_is_reset),
      CASE(reader_that_does_not_read_is_dropped),
      CASE(reader_that_takes_nothing_is_counted_as_silent), CASE(readers_are_told_of_the_end))
