/* What the HTTP server refuses before a handler sees it: see http_server.h. In this order: what leaves the end of
 * a body in doubt or is too large, who asks from where, for what path, by which token, and for what type. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http_internal.h"
#include "common/tls.h"

/* The library hands on C strings, and so hides what is behind a NUL: "Host: localhost", NUL, "evil" is localhost to
 * it. But they are where the head was received: the library has put a NUL for the byte behind each of its parts, and
 * for CR and LF. So each part must begin where the one before has ended, and what does not has lost something:
 * to a NUL, a fold (which the library copies elsewhere), or a line's end or a blank of another length than one we
 * know. Nothing of such a request can be trusted. */
struct head {
  struct http_request *request;
  const char *at; /* where the next line begins */
  size_t size;    /* of all of it, and of request->headers */
  bool has_gap;
};

/* Blanks behind a value are no part of it (RFC 9110, 5.5); those before it are gone already. Only of
 * Transfer-Encoding they stay, since the library has read it with them: as another coding than "chunked". */
static size_t value_length(const char *name, const char *value) {
  size_t length = strlen(value);
  if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) return length;
  while (length > 0 && (value[length - 1] == ' ' || value[length - 1] == '\t'))
    length--;
  return length;
}

static void keep(struct http_request *request, const char *text, size_t length) {
  char *to = request->headers + request->headers_length;
  memcpy(to, text, length);
  to[length] = '\0';
  request->headers_length += length + 1;
}

static enum MHD_Result on_header(void *data, enum MHD_ValueKind kind, const char *name,
                                 const char *value) {
  struct head *head = data;
  (void)kind;
  head->has_gap = true;
  if (name != head->at || !value) return MHD_NO;
  size_t name_length = strlen(name), kept_length = value_length(name, value);
  /* Nothing of a head without a gap is longer than it; one with a gap may be anything. */
  if (head->request->headers_length + name_length + kept_length + 2 > head->size) return MHD_NO;
  head->has_gap = false;
  head->at = value + strlen(value) + 2;
  keep(head->request, name, name_length);
  keep(head->request, value, kept_length);
  return MHD_YES;
}

static enum error_code read_head(struct http_request *request, const char *version) {
  size_t size =
      MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE)->header_size;
  request->headers = malloc(size);
  if (!request->headers) return error_set(&request->refusal, ERR_MEMORY, "no memory for headers");
  const char *uri = request->uri_in_head;
  struct head head = {.request = request, .at = version + strlen(version) + 2, .size = size};
  (void)MHD_get_connection_values(request->mhd, MHD_HEADER_KIND, on_header, &head);
  if (!head.has_gap && request->method + strlen(request->method) + 1 == uri &&
      uri + strlen(request->uri) + 1 == version && head.at + 2 == request->method + size)
    return ERR_OK;
  return error_set(&request->refusal, ERR_BAD_REQUEST,
                   "the head has a NUL, a folded line, a line that does not end in CR LF, or too "
                   "many blanks in its first line");
}

static bool method_fits(const char *served, const char *asked) {
  return strcmp(served, asked) == 0 || (strcmp(served, "GET") == 0 && strcmp(asked, "HEAD") == 0);
}

static void allow_add(struct http_request *request, const char *method) {
  if (strstr(request->allow, method)) return;
  size_t length = strlen(request->allow);
  (void)snprintf(request->allow + length, sizeof request->allow - length, "%s%s%s",
                 length ? ", " : "", method, strcmp(method, "GET") == 0 ? ", HEAD" : "");
}

/* The pattern with the fewest captures is the most literal one. */
static enum error_code find_route(struct http_request *request) {
  const struct http_server *server = request->server;
  for (size_t i = 0; i < server->route_count; i++) {
    const struct http_route *route = &server->routes[i];
    struct http_captures captures;
    if (!http_path_match(route->path, request->target.path, &captures)) continue;
    allow_add(request, route->method);
    if (!method_fits(route->method, request->method)) continue;
    if (request->route && captures.count >= request->captures.count) continue;
    request->route = route;
    request->captures = captures;
  }
  if (request->route) return ERR_OK;
  if (request->allow[0] != '\0')
    return error_set(&request->refusal, ERR_METHOD, "%.16s is not allowed here", request->method);
  return error_set(&request->refusal, ERR_NOT_FOUND, "there is no such path");
}

static void log_refused(const struct http_request *request) {
  struct http_server *server = request->server;
  uint64_t dropped;
  if (!log_gate_pass(&server->refusals, loop_now_ms(server->loop), &dropped)) return;
  char address[INET6_ADDRSTRLEN] = "?";
  const struct sockaddr *peer =
      MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
  if (peer && peer->sa_family == AF_INET)
    (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)peer)->sin_addr, address,
                    sizeof address);
  else if (peer && peer->sa_family == AF_INET6)
    (void)inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr,
                    address, sizeof address);
  log_warn("access_refused", "peer", "s", address, "path", "s", request->target.path, "name", "s",
           request->principal, "reason", "s", request->refusal.text, "not_logged", "d",
           (int64_t)dropped, NULL);
}

static enum error_code admit(struct http_request *request, const char *authorization) {
  const struct http_server *server = request->server;
  const struct token *who = NULL;
  enum error_code code = ERR_OK;
  if (server->tls && tls_wants_client_certificates(server->tls) &&
      !tls_peer_is_verified(
          MHD_get_connection_info(request->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session))
    code = error_set(&request->refusal, ERR_FORBIDDEN, "a client certificate is needed");
  else if (server->tokens && !(request->route->roles & ROLE_ANYONE))
    code = tokens_admit(server->tokens, request->route->roles | ROLE_OPERATOR, authorization, &who,
                        &request->refusal);
  if (who) {
    (void)snprintf(request->principal, sizeof request->principal, "%s", who->name);
    request->role = who->role;
  }
  if (code != ERR_OK) log_refused(request);
  return code;
}

/* Problems are JSON everywhere, so who takes JSON is not refused either. */
static enum error_code check_accept(const struct http_request *request,
                                    const struct http_headers *headers, struct error *err) {
  const struct http_media *media = request->server->media;
  while (media && media->path && strcmp(media->path, request->target.path) != 0)
    media++;
  if (media && media->path && http_check_accept(headers, media->type, NULL) == ERR_OK)
    return ERR_OK;
  return http_check_accept(headers, "application/json", err);
}

enum error_code http_refuse_body(const struct http_server *server, struct error *err) {
  size_t max = server->body_bytes_max;
  (void)error_set(err, ERR_TOO_LARGE, "a body may have %zu bytes", max);
  return error_limit(err, "body", (int64_t)max);
}

bool http_judge(struct http_request *request, const char *version) {
  const struct http_server *server = request->server;
  struct error *err = &request->refusal;
  struct http_headers headers = {.host_required = strcmp(version, MHD_HTTP_VERSION_1_1) == 0};
  size_t length = 0;
  enum error_code code = read_head(request, version);
  if (code != ERR_OK) return false;
  const char *value;
  for (const char *name = NULL; (name = http_header_next(request, name, &value));)
    http_headers_add(&headers, name, value);
  code = http_check_framing(&headers, &length, err);
  if (code == ERR_OK && length != SIZE_MAX && length > server->body_bytes_max)
    code = http_refuse_body(server, err);
  if (code != ERR_OK) return false;
  request->body_announced = length;

  if (!http_target_parse(request->uri, &request->target))
    code = error_set(err, ERR_BAD_REQUEST, "the path or the query is not well encoded");
  /* The absolute form takes the place of Host (RFC 9112, 3.2.2). */
  if (request->target.authority) headers.host = request->target.authority;
  if (code == ERR_OK) {
    code = http_check_source(&headers, &server->hosts, err);
    if (code != ERR_OK) log_refused(request);
  }
  if (code == ERR_OK) code = find_route(request);
  if (code == ERR_OK) code = admit(request, headers.authorization);
  if (code == ERR_OK) code = check_accept(request, &headers, err);
  if (code == ERR_OK && length > 0) code = http_check_content_type(&headers, err);
  (void)code; /* it is in err, too */
  return true;
}
