/* common/http_client.h on the model network. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/http_client.h"
#include "tests/sim/network.h"

struct http_client {
  struct process *process;
  struct asked *asked;
};

struct asked {
  struct http_client *client;
  struct exchange *exchange;
  size_t response_bytes_max;
  http_client_line_fn line;
  http_client_fn fn;
  void *data;
  struct asked *prev, *next;
};

struct http_client *http_client_new(struct loop *loop) {
  struct http_client *client = calloc(1, sizeof *client);
  if (!client) abort();
  client->process = loop_process(loop);
  return client;
}

static void answer(struct asked *asked, int status, const char *body, size_t length,
                   const struct error *err) {
  http_client_fn fn = asked->fn;
  void *data = asked->data;
  DL_DELETE(asked->client->asked, asked);
  free(asked);
  fn(data, status, body, length, err);
}

static void lose(struct asked *asked, const char *why) {
  struct error err = {0};
  (void)error_set(&err, ERR_LOST, "%s", why);
  answer(asked, 0, "", 0, &err);
}

static void answered(void *data, int status, const char *body, size_t length,
                     const struct error *err) {
  struct asked *asked = data;
  if (length > asked->response_bytes_max)
    lose(asked, "the response is too long");
  else
    answer(asked, status, body, length, err);
}

static void line_came(void *data, char *line, size_t length) {
  struct asked *asked = data;
  asked->line(asked->data, line, length);
}

void http_client_free(struct http_client *client) {
  while (client->asked) {
    network_withdraw(client->asked->exchange);
    lose(client->asked, "the client is closed");
  }
  free(client);
}

/* "http://address/target" */
static const char *split_url(const char *url, char address[64]) {
  static const char scheme[] = "http://";
  assert(strncmp(url, scheme, sizeof scheme - 1) == 0);
  const char *begin = url + sizeof scheme - 1;
  size_t length = strcspn(begin, "/");
  assert(length < 64);
  memcpy(address, begin, length);
  address[length] = '\0';
  return begin + length;
}

/* Headers are not modelled. */
void http_client_send_headers(struct http_client *client, const char *const *headers,
                              const char *url, char *body, size_t length, uint64_t timeout_ms,
                              size_t response_bytes_max, http_client_fn fn, void *data) {
  (void)headers;
  http_client_send(client, url, body, length, timeout_ms, response_bytes_max, fn, data);
}

void http_client_identify(struct http_client *client, const struct http_identity *identity) {
  (void)client;
  (void)identity;
}

int64_t http_client_retry_after_s(const struct http_client *client) {
  (void)client;
  return 0;
}

void http_client_send(struct http_client *client, const char *url, char *body, size_t length,
                      uint64_t timeout_ms, size_t response_bytes_max, http_client_fn fn,
                      void *data) {
  http_client_send_lines(client, url, body, length, timeout_ms, response_bytes_max, NULL, fn, data);
}

void http_client_send_lines(struct http_client *client, const char *url, char *body, size_t length,
                            uint64_t timeout_ms, size_t response_bytes_max,
                            http_client_line_fn line, http_client_fn fn, void *data) {
  struct asked *asked = calloc(1, sizeof *asked);
  if (!asked) abort();
  *asked = (struct asked){.client = client,
                          .response_bytes_max = response_bytes_max,
                          .line = line,
                          .fn = fn,
                          .data = data};
  DL_APPEND(client->asked, asked);
  char address[64];
  const char *target = split_url(url, address);
  struct net_request request = {.from = client->process,
                                .address = address,
                                .method = body ? "POST" : "GET",
                                .target = target,
                                .body = body,
                                .length = length,
                                .timeout_us = timeout_ms * 1000,
                                .line = line ? line_came : NULL};
  asked->exchange = network_call(client->process->network, &request, answered, asked);
}
