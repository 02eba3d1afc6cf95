/* See http_rules.h. */
#include "common/http_rules.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/config.h"

enum { HOST_SIZE = 256 };

/* ---- collecting -------------------------------------------------------------------------------
 */

/* RFC 9110, 5.6.2 */
static bool is_token(const char *text) {
  static const char token_characters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  return *text != '\0' && text[strspn(text, token_characters)] == '\0';
}

/* RFC 9110, 5.5: a CR alone is a line's end to some; of the other controls a tab alone has a use. */
static bool has_control(const char *text) {
  for (; *text; text++)
    if ((*text > 0 && *text < ' ' && *text != '\t') || *text == '\x7f') return true;
  return false;
}

void http_headers_add(struct http_headers *headers, const char *name, const char *value) {
  /* Of these there may be one. */
  const struct {
    const char *name;
    const char **slot;
  } known[] = {
      {"Host", &headers->host},
      {"Origin", &headers->origin},
      {"Accept", &headers->accept},
      {"Authorization", &headers->authorization},
      {"Content-Type", &headers->content_type},
      {"Content-Encoding", &headers->content_encoding},
      {"Content-Length", &headers->content_length},
      {"Transfer-Encoding", &headers->transfer_encoding},
  };
  /* "Content-Length : 2" is not Content-Length for us, but it might be for a proxy. */
  if (!is_token(name) || has_control(value)) headers->malformed = true;
  headers->bytes += strlen(name) + strlen(value) + 4; /* ": " and the line's end */
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcasecmp(known[i].name, name) != 0) continue;
    if (*known[i].slot) headers->repeated = known[i].name;
    *known[i].slot = value;
    return;
  }
}

/* ---- framing ----------------------------------------------------------------------------------
 */

enum error_code http_check_framing(const struct http_headers *headers, size_t *length,
                                   struct error *err) {
  *length = 0;
  if (headers->malformed)
    return error_set(err, ERR_BAD_REQUEST,
                     "a header has a character in its name or value that must not be there");
  if (headers->host_required && !headers->host)
    return error_set(err, ERR_BAD_REQUEST, "the Host header is missing");
  if (headers->repeated)
    return error_set(err, ERR_BAD_REQUEST, "header %s came twice", headers->repeated);
  if (headers->bytes > HTTP_HEADER_BYTES_MAX) {
    (void)error_set(err, ERR_HEADERS_TOO_LARGE, "headers may have %d bytes", HTTP_HEADER_BYTES_MAX);
    (void)error_limit(err, "headers", HTTP_HEADER_BYTES_MAX);
    return ERR_HEADERS_TOO_LARGE;
  }
  if (headers->transfer_encoding) {
    if (headers->content_length)
      return error_set(err, ERR_BAD_REQUEST, "both Content-Length and Transfer-Encoding");
    if (strcasecmp(headers->transfer_encoding, "chunked") != 0)
      return error_set(err, ERR_BAD_REQUEST, "Transfer-Encoding may be chunked only");
    *length = SIZE_MAX;
    return ERR_OK;
  }
  if (!headers->content_length) return ERR_OK;
  size_t digits = strlen(headers->content_length);
  if (digits == 0 || strspn(headers->content_length, "0123456789") != digits)
    return error_set(err, ERR_BAD_REQUEST, "Content-Length is not a number");
  /* Saturates, far beyond any limit. */
  *length = digits > 18 ? SIZE_MAX - 1 : (size_t)strtoull(headers->content_length, NULL, 10);
  return ERR_OK;
}

/* ---- source -----------------------------------------------------------------------------------
 */

/* The host of "host", "host:port" or "[v6]:port", without brackets; false when it is none. */
static bool split_authority(const char *authority, char host[HOST_SIZE]) {
  size_t length;
  const char *rest;
  if (authority[0] == '[') {
    authority++;
    length = strcspn(authority, "]");
    if (authority[length] != ']') return false;
    rest = authority + length + 1;
  } else {
    length = strcspn(authority, ":");
    rest = authority + length;
  }
  if (length == 0 || length >= HOST_SIZE) return false;
  memcpy(host, authority, length);
  host[length] = '\0';
  if (*rest == '\0') return true;
  return rest[0] == ':' && rest[1] != '\0' && rest[1 + strspn(rest + 1, "0123456789")] == '\0';
}

static bool is_address(const char *host) {
  struct in6_addr unused;
  return inet_pton(AF_INET, host, &unused) == 1 || inet_pton(AF_INET6, host, &unused) == 1;
}

static bool is_listed(const char *host, const char *names) {
  static const char separators[] = " ,";
  size_t host_length = strlen(host);
  while (names && *names) {
    size_t length = strcspn(names, separators);
    if (length == host_length && strncasecmp(names, host, length) == 0) return true;
    names += length;
    names += strspn(names, separators);
  }
  return false;
}

static bool is_ours(const char *authority, const struct http_hosts *hosts) {
  char host[HOST_SIZE];
  if (!split_authority(authority, host)) return false;
  if (strcasecmp(host, hosts->listen_host) == 0 || config_listen_is_loopback(host)) return true;
  /* Reached on all of the machine's addresses. An address cannot be rebound as a name can. */
  bool everywhere =
      strcmp(hosts->listen_host, "0.0.0.0") == 0 || strcmp(hosts->listen_host, "::") == 0;
  if (everywhere && is_address(host)) return true;
  return is_listed(host, hosts->names);
}

enum error_code http_check_source(const struct http_headers *headers,
                                  const struct http_hosts *hosts, struct error *err) {
  /* Without a Host (HTTP/1.0) it is not a browser. */
  if (headers->host && !is_ours(headers->host, hosts))
    return error_set(err, ERR_FORBIDDEN, "the Host header does not name this server");
  if (!headers->origin) return ERR_OK;
  /* The same origin: the same host and port as the request went to, by either scheme, since a proxy
   * in front may end TLS. */
  const char *authority = strstr(headers->origin, "://");
  if (!authority || !headers->host || strcasecmp(authority + 3, headers->host) != 0)
    return error_set(err, ERR_FORBIDDEN, "requests of pages of another origin are not served");
  return ERR_OK;
}

/* ---- media types ------------------------------------------------------------------------------
 */

static const char *skip_blanks(const char *text) {
  return text + strspn(text, " \t");
}

static bool is_range(const char *range, size_t length, const char *name) {
  return length == strlen(name) && strncasecmp(range, name, length) == 0;
}

/* How closely does the media range (of `length` bytes, parameters aside) name the type? 0: it does not include it.
 * Where it is JSON, who asks for problems gets it, too, unless a range that includes JSON says otherwise. */
static int closeness(const char *range, size_t length, const char *type) {
  size_t major = strcspn(type, "/") + 1;
  bool is_json = strcmp(type, "application/json") == 0;
  if (is_range(range, length, type)) return 4;
  if (length == major + 1 && range[major] == '*' && strncasecmp(range, type, major) == 0) return 3;
  if (is_range(range, length, "*/*")) return 2;
  return is_json && is_range(range, length, "application/problem+json") ? 1 : 0;
}

/* "q=0", "q=0.0" and so on: not wanted. */
static bool has_zero_quality(const char *params, const char *end) {
  for (const char *at = params; at < end; at++) {
    if (*at != ';') continue;
    const char *name = skip_blanks(at + 1);
    if (strncasecmp(name, "q=0", 3) != 0) continue;
    const char *digit = name + 3;
    if (*digit == '.') digit += 1 + strspn(digit + 1, "0");
    return !(*digit >= '1' && *digit <= '9');
  }
  return false;
}

enum error_code http_check_accept(const struct http_headers *headers, const char *type,
                                  struct error *err) {
  const char *at = headers->accept;
  if (!at || *skip_blanks(at) == '\0') return ERR_OK;
  int closest = 0;
  bool is_wanted = false; /* as the closest of the ranges says, or one of several such */
  while (*at) {
    at = skip_blanks(at);
    const char *end = at + strcspn(at, ",");
    size_t length = strcspn(at, ",; \t");
    int close = closeness(at, length, type);
    if (close > closest) is_wanted = false;
    if (close > 0 && close >= closest) {
      closest = close;
      is_wanted |= !has_zero_quality(at + length, end);
    }
    at = *end ? end + 1 : end;
  }
  if (is_wanted) return ERR_OK;
  return error_set(err, ERR_NOT_ACCEPTABLE, "the Accept header excludes %s", type);
}

enum error_code http_check_content_type(const struct http_headers *headers, struct error *err) {
  const char *type = headers->content_type;
  const char *encoding = headers->content_encoding;
  if (encoding && strcasecmp(encoding, "identity") != 0)
    return error_set(err, ERR_MEDIA_TYPE, "the body must come without a Content-Encoding");
  if (!type) return error_set(err, ERR_MEDIA_TYPE, "the body came without a Content-Type");
  static const char json[] = "application/json";
  const char *rest = type + sizeof json - 1;
  if (strncasecmp(type, json, sizeof json - 1) != 0 || (*rest && !strchr("; \t", *rest)))
    return error_set(err, ERR_MEDIA_TYPE, "the Content-Type must be application/json");
  const char *charset = strcasestr(rest, "charset=");
  if (!charset) return ERR_OK;
  charset += strlen("charset=");
  if (*charset == '"') charset++;
  if (strncasecmp(charset, "utf-8", 5) != 0)
    return error_set(err, ERR_MEDIA_TYPE, "the body must be UTF-8");
  return ERR_OK;
}
