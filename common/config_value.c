/* See config_value.h. */
#include "common/config_value.h"

#include <arpa/inet.h>
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
  const char *name;
  int64_t factor;
};

/* From small to large. */
static const struct unit durations[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
static const struct unit sizes[] = {{"", 1}, {"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}};
static const struct unit plain[] = {{"", 1}};

enum { DURATION_COUNT = 5, SIZE_COUNT = 4, HOST_SIZE = 256, SHOWN_BYTES = 80 };

/* ---- errors -----------------------------------------------------------------------------------
 */

static enum error_code expected(const struct config_key *key, const char *what, const char *text,
                                struct error *err) {
  if (key->secret) return error_set(err, ERR_CONFIG, "expected %s", what);
  return error_set(err, ERR_CONFIG, "expected %s, got \"%.*s\"", what, SHOWN_BYTES, text);
}

/* ---- numbers ----------------------------------------------------------------------------------
 */

/* A number in the largest unit in which it is whole. */
static void format_number(int64_t value, const struct unit *units, size_t count, char out[32]) {
  size_t at = 0;
  for (size_t i = 1; i < count && value != 0; i++)
    if (value % units[i].factor == 0) at = i;
  (void)snprintf(out, 32, "%" PRId64 "%s", value / units[at].factor, units[at].name);
}

static bool parse_number(const char *text, const struct unit *units, size_t count, int64_t *out) {
  const char *digits = text + (*text == '-');
  size_t length = strspn(digits, "0123456789");
  if (length == 0 || length > 18) return false; /* 18 digits always fit */
  int64_t value = strtoll(text, NULL, 10);
  const char *unit = digits + length;
  if (value == 0 && *unit == '\0') {
    *out = 0; /* nothing is nothing in any unit */
    return true;
  }
  for (size_t i = 0; i < count; i++) {
    if (strcmp(unit, units[i].name) != 0) continue;
    return !__builtin_mul_overflow(value, units[i].factor, out);
  }
  return false;
}

static enum error_code set_number(const struct config_key *key, const char *text,
                                  const struct unit *units, size_t count, const char *what,
                                  int64_t *out, struct error *err) {
  int64_t value;
  if (!parse_number(text, units, count, &value)) return expected(key, what, text, err);
  bool any = key->min == 0 && key->max == 0;
  if (!any && (value < key->min || value > key->max)) {
    char least[32];
    char most[32];
    char range[80];
    format_number(key->min, units, count, least);
    format_number(key->max, units, count, most);
    (void)snprintf(range, sizeof range, "from %s to %s", least, most);
    return expected(key, range, text, err);
  }
  *out = value;
  return ERR_OK;
}

/* ---- words ------------------------------------------------------------------------------------
 */

static enum error_code set_boolean(const struct config_key *key, const char *text, bool *out,
                                   struct error *err) {
  static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
    if (strcmp(text, words[i]) != 0) continue;
    *out = i % 2 == 1;
    return ERR_OK;
  }
  return expected(key, "yes or no", text, err);
}

static enum error_code set_choice(const struct config_key *key, const char *text, int *out,
                                  struct error *err) {
  size_t length = strlen(text);
  int position = 0;
  for (const char *c = key->choices; c; position++) {
    size_t choice_length = strcspn(c, "|");
    if (choice_length == length && memcmp(c, text, length) == 0) {
      *out = position;
      return ERR_OK;
    }
    c = c[choice_length] ? c + choice_length + 1 : NULL;
  }
  char what[128];
  (void)snprintf(what, sizeof what, "one of %s", key->choices);
  return expected(key, what, text, err);
}

static enum error_code set_string(const char *text, char **out, struct error *err) {
  char *copy = strdup(text);
  if (!copy) return error_set(err, ERR_MEMORY, "out of memory");
  free(*out);
  *out = copy;
  return ERR_OK;
}

static enum error_code set_listen(const struct config_key *key, const char *text, char **out,
                                  struct error *err) {
  char host[HOST_SIZE];
  uint16_t port;
  if (config_split_listen(text, host, sizeof host, &port)) return set_string(text, out, err);
  return expected(key, "address:port, as 127.0.0.1:7410 or [::1]:7410", text, err);
}

/* ---- by kind ----------------------------------------------------------------------------------
 */

enum error_code config_value_set(const struct config_key *key, const char *text, void *base,
                                 struct error *err) {
  void *at = (char *)base + key->offset;
  switch (key->kind) {
  case CONFIG_STRING:
  case CONFIG_TEXT: return set_string(text, at, err);
  case CONFIG_LISTEN: return set_listen(key, text, at, err);
  case CONFIG_BOOLEAN: return set_boolean(key, text, at, err);
  case CONFIG_CHOICE: return set_choice(key, text, at, err);
  case CONFIG_INTEGER: return set_number(key, text, plain, 1, "a whole number", at, err);
  case CONFIG_DURATION:
    return set_number(key, text, durations, DURATION_COUNT,
                      "a time with its unit, as 500ms, 30s, 5m, 24h or 7d", at, err);
  case CONFIG_BYTES:
    return set_number(key, text, sizes, SIZE_COUNT, "a size in bytes, as 4096, 64k or 1m", at, err);
  }
  assert(false);
  return ERR_CONFIG;
}

static bool is_string(const struct config_key *key) {
  return key->kind == CONFIG_STRING || key->kind == CONFIG_LISTEN || key->kind == CONFIG_TEXT;
}

void config_value_clear(const struct config_key *key, void *base) {
  if (!is_string(key)) return;
  char **at = (char **)(void *)((char *)base + key->offset);
  free(*at);
  *at = NULL;
}

static void print_choice(FILE *out, const char *choices, int position) {
  for (; position > 0; position--)
    choices += strcspn(choices, "|") + 1;
  (void)fprintf(out, "%.*s\n", (int)strcspn(choices, "|"), choices);
}

void config_value_print(FILE *out, const struct config_key *key, const void *base) {
  const void *at = (const char *)base + key->offset;
  const char *text = is_string(key) ? *(char *const *)at : NULL;
  if (is_string(key) && !text) {
    (void)fprintf(out, "; %s is not set\n", key->name);
    return;
  }
  (void)fprintf(out, "%s = ", key->name);
  if (key->secret) {
    (void)fprintf(out, "(hidden)\n");
    return;
  }
  char number[32];
  switch (key->kind) {
  case CONFIG_STRING:
  case CONFIG_LISTEN:
  case CONFIG_TEXT: (void)fprintf(out, "%s\n", text); return;
  case CONFIG_BOOLEAN: (void)fprintf(out, "%s\n", *(const bool *)at ? "yes" : "no"); return;
  case CONFIG_CHOICE: print_choice(out, key->choices, *(const int *)at); return;
  case CONFIG_INTEGER: format_number(*(const int64_t *)at, plain, 1, number); break;
  case CONFIG_DURATION:
    format_number(*(const int64_t *)at, durations, DURATION_COUNT, number);
    break;
  case CONFIG_BYTES: format_number(*(const int64_t *)at, sizes, SIZE_COUNT, number); break;
  }
  (void)fprintf(out, "%s\n", number);
}

/* ---- listen addresses -------------------------------------------------------------------------
 */

static bool is_host(const char *host, bool bracketed) {
  struct in6_addr unused;
  if (bracketed) return inet_pton(AF_INET6, host, &unused) == 1;
  return strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, &unused) == 1;
}

bool config_split_listen(const char *text, char *host, size_t host_size, uint16_t *port) {
  bool bracketed = text[0] == '[';
  const char *begin = text + bracketed;
  size_t length = strcspn(begin, bracketed ? "]" : ":");
  const char *colon = begin + length + (bracketed && begin[length] == ']');
  if (*colon != ':' || length == 0 || length >= host_size) return false;
  const char *digits = colon + 1;
  size_t digit_count = strspn(digits, "0123456789");
  if (digit_count == 0 || digit_count > 5 || digits[digit_count] != '\0') return false;
  unsigned long number = strtoul(digits, NULL, 10);
  if (number > UINT16_MAX) return false;
  memcpy(host, begin, length);
  host[length] = '\0';
  if (!is_host(host, bracketed)) return false;
  *port = (uint16_t)number;
  return true;
}

bool config_listen_is_loopback(const char *host) {
  struct in_addr v4;
  struct in6_addr v6;
  if (strcasecmp(host, "localhost") == 0) return true;
  if (inet_pton(AF_INET, host, &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  if (inet_pton(AF_INET6, host, &v6) != 1) return false;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}
