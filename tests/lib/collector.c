/* See collector.h. Connections are kept open, as a collector does; one thread serves all with poll(). */
#include "tests/lib/collector.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 16, REQUEST_BYTES_MAX = 4 << 20, HEAD_BYTES_MAX = 8192 };

struct peer {
  int fd; /* -1: free */
  char *data;
  size_t length;
};

struct collector {
  pthread_t thread;
  pthread_mutex_t lock; /* of what is below `peers` */
  int listener, wake[2];
  uint16_t port;
  struct peer peers[PEERS_MAX];
  int status;
  const char *more, *body;
  unsigned requests;
  char head[HEAD_BYTES_MAX];
  json_t *spans;
};

static void *must(void *memory) {
  if (!memory) abort();
  return memory;
}

/* ---- what is received ------------------------------------------------------------------------- */

static const char *service_of(const json_t *resource) {
  size_t i;
  const json_t *attribute;
  const json_t *attributes = json_object_get(json_object_get(resource, "resource"), "attributes");
  json_array_foreach(attributes, i, attribute) {
    const char *key = json_string_value(json_object_get(attribute, "key"));
    if (key && strcmp(key, "service.name") == 0)
      return json_string_value(json_object_get(json_object_get(attribute, "value"), "stringValue"));
  }
  return NULL;
}

static void keep(struct collector *c, const char *text, size_t length) {
  size_t i, j, k;
  const json_t *resource, *scope;
  json_t *span;
  json_t *body = json_loadb(text, length, 0, NULL);
  json_array_foreach(json_object_get(body, "resourceSpans"), i, resource) {
    const char *service = service_of(resource);
    json_array_foreach(json_object_get(resource, "scopeSpans"), j, scope) {
      json_array_foreach(json_object_get(scope, "spans"), k, span) {
        (void)json_object_set_new(span, "service", json_string(service ? service : ""));
        (void)json_array_append(c->spans, span);
      }
    }
  }
  json_decref(body);
}

static void drop(struct peer *peer) {
  (void)close(peer->fd);
  free(peer->data);
  *peer = (struct peer){.fd = -1};
}

static void answer(struct collector *c, struct peer *peer) {
  char text[1024];
  const char *body = c->body ? c->body : "{}";
  int length = snprintf(text, sizeof text,
                        "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n%s"
                        "Content-Length: %zu\r\n\r\n%s",
                        c->status, c->more ? c->more : "", strlen(body), body);
  if (send(peer->fd, text, (size_t)length, MSG_NOSIGNAL) != length) drop(peer);
}

/* True: a whole request was there, and has been taken. */
static bool take_request(struct collector *c, struct peer *peer) {
  char *end = memmem(peer->data, peer->length, "\r\n\r\n", 4);
  if (!end) return false;
  size_t head = (size_t)(end - peer->data) + 4;
  *end = '\0';
  const char *field = strcasestr(peer->data, "\nContent-Length:");
  size_t body = field ? strtoul(field + strlen("\nContent-Length:"), NULL, 10) : 0;
  *end = '\r';
  if (peer->length < head + body) return false;
  (void)pthread_mutex_lock(&c->lock);
  c->requests++;
  (void)snprintf(c->head, sizeof c->head, "%.*s", (int)head, peer->data);
  if (c->status >= 200 && c->status < 300) keep(c, peer->data + head, body);
  memmove(peer->data, peer->data + head + body, peer->length - head - body);
  peer->length -= head + body;
  if (c->status != COLLECTOR_HANGS) answer(c, peer);
  (void)pthread_mutex_unlock(&c->lock);
  return peer->fd >= 0;
}

static void receive(struct collector *c, struct peer *peer) {
  if (!peer->data) peer->data = must(malloc(REQUEST_BYTES_MAX));
  ssize_t got =
      recv(peer->fd, peer->data + peer->length, REQUEST_BYTES_MAX - 1 - peer->length, MSG_DONTWAIT);
  if (got <= 0) {
    drop(peer);
    return;
  }
  peer->length += (size_t)got;
  while (peer->fd >= 0 && take_request(c, peer))
    ;
}

static void welcome(struct collector *c) {
  int fd = accept(c->listener, NULL, NULL);
  for (int i = 0; fd >= 0 && i < PEERS_MAX; i++) {
    if (c->peers[i].fd >= 0) continue;
    c->peers[i].fd = fd;
    return;
  }
  if (fd >= 0) (void)close(fd);
}

static void *serve(void *data) {
  struct collector *c = data;
  for (;;) {
    struct pollfd polled[PEERS_MAX + 2] = {{.fd = c->wake[0], .events = POLLIN},
                                           {.fd = c->listener, .events = POLLIN}};
    for (int i = 0; i < PEERS_MAX; i++)
      polled[i + 2] = (struct pollfd){.fd = c->peers[i].fd, .events = POLLIN};
    if (poll(polled, PEERS_MAX + 2, -1) < 0) continue;
    if (polled[0].revents) return NULL;
    for (int i = 0; i < PEERS_MAX; i++)
      if (polled[i + 2].revents) receive(c, &c->peers[i]);
    if (polled[1].revents) welcome(c);
  }
}

/* ---- what tests call -------------------------------------------------------------------------- */

struct collector *collector_start(void) {
  struct collector *c = must(calloc(1, sizeof *c));
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  c->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->listener < 0 || bind(c->listener, (struct sockaddr *)&address, size) != 0 ||
      listen(c->listener, PEERS_MAX) != 0 ||
      getsockname(c->listener, (struct sockaddr *)&address, &size) != 0 || pipe(c->wake) != 0)
    abort();
  c->port = ntohs(address.sin_port);
  c->status = 200;
  c->spans = must(json_array());
  for (int i = 0; i < PEERS_MAX; i++)
    c->peers[i].fd = -1;
  if (pthread_mutex_init(&c->lock, NULL) != 0 || pthread_create(&c->thread, NULL, serve, c) != 0)
    abort();
  return c;
}

void collector_stop(struct collector *c) {
  if (write(c->wake[1], "", 1) != 1) abort();
  (void)pthread_join(c->thread, NULL);
  for (int i = 0; i < PEERS_MAX; i++)
    if (c->peers[i].fd >= 0) drop(&c->peers[i]);
  (void)close(c->listener);
  (void)close(c->wake[0]);
  (void)close(c->wake[1]);
  (void)pthread_mutex_destroy(&c->lock);
  json_decref(c->spans);
  free(c);
}

uint16_t collector_port(const struct collector *c) {
  return c->port;
}

void collector_answer(struct collector *c, int status, const char *more, const char *body) {
  (void)pthread_mutex_lock(&c->lock);
  c->status = status;
  c->more = more;
  c->body = body;
  (void)pthread_mutex_unlock(&c->lock);
}

unsigned collector_requests(struct collector *c) {
  (void)pthread_mutex_lock(&c->lock);
  unsigned requests = c->requests;
  (void)pthread_mutex_unlock(&c->lock);
  return requests;
}

char *collector_head(struct collector *c) {
  (void)pthread_mutex_lock(&c->lock);
  char *head = must(strdup(c->head));
  (void)pthread_mutex_unlock(&c->lock);
  return head;
}

json_t *collector_spans(struct collector *c) {
  (void)pthread_mutex_lock(&c->lock);
  json_t *spans = must(json_deep_copy(c->spans));
  (void)pthread_mutex_unlock(&c->lock);
  return spans;
}

size_t collector_span_count(struct collector *c) {
  (void)pthread_mutex_lock(&c->lock);
  size_t count = json_array_size(c->spans);
  (void)pthread_mutex_unlock(&c->lock);
  return count;
}
