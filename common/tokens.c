/* See tokens.h. */
#include "common/tokens.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "common/id.h"

enum { RANDOM_BYTES = 32, LINE_SIZE = 512 };
static const char prefix[] = "assent_";

struct tokens {
  size_t count, capacity;
  struct token *list;
};

static const struct {
  enum role role;
  const char *name;
} known_roles[] = {{ROLE_CLIENT, "client"}, {ROLE_OPERATOR, "operator"}, {ROLE_METRICS, "metrics"}};

const char *role_name(enum role role) {
  for (size_t i = 0; i < sizeof known_roles / sizeof known_roles[0]; i++)
    if (known_roles[i].role == role) return known_roles[i].name;
  assert(false && "one role");
  return "";
}

enum role role_from_name(const char *name) {
  for (size_t i = 0; i < sizeof known_roles / sizeof known_roles[0]; i++)
    if (strcmp(known_roles[i].name, name) == 0) return known_roles[i].role;
  return 0;
}

bool token_name_is_valid(const char *name) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
  size_t length = strlen(name);
  return length > 0 && length < TOKEN_NAME_SIZE && strspn(name, letters) == length;
}

static void hash_text(const char *text, uint8_t out[TOKEN_HASH_BYTES]) {
  int result = gnutls_hash_fast(GNUTLS_DIG_SHA256, text, strlen(text), out);
  assert(result == 0);
}

/* ---- the file --------------------------------------------------------------------------------- */

static bool read_hash(const char *hex, uint8_t out[TOKEN_HASH_BYTES]) {
  if (strspn(hex, "0123456789abcdef") != (size_t)2 * TOKEN_HASH_BYTES ||
      strlen(hex) != (size_t)2 * TOKEN_HASH_BYTES)
    return false;
  for (size_t i = 0; i < TOKEN_HASH_BYTES; i++) {
    const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
    out[i] = (uint8_t)strtoul(digits, NULL, 16);
  }
  return true;
}

static const char *read_token(char *line, struct token *out) {
  char *rest = NULL;
  const char *name = strtok_r(line, " \t", &rest), *role = strtok_r(NULL, " \t", &rest);
  const char *hash = strtok_r(NULL, " \t", &rest);
  if (!hash || strtok_r(NULL, " \t", &rest)) return "a line is: name role hash";
  if (!token_name_is_valid(name)) return "a name is letters, digits, \"_\", \"-\" and \".\"";
  (void)snprintf(out->name, sizeof out->name, "%s", name);
  out->role = role_from_name(role);
  if (!out->role) return "a role is client, operator or metrics";
  return read_hash(hash, out->hash) ? NULL : "a hash is 64 hexadecimal digits";
}

bool tokens_has_name(const struct tokens *tokens, const char *name) {
  for (size_t i = 0; i < tokens->count; i++)
    if (strcmp(tokens->list[i].name, name) == 0) return true;
  return false;
}

static const char *add_token(struct tokens *tokens, const struct token *token) {
  if (tokens_has_name(tokens, token->name)) return "the name is there already";
  if (tokens->count == TOKENS_MAX) return "too many tokens";
  if (tokens->count == tokens->capacity) {
    size_t capacity = tokens->capacity ? 2 * tokens->capacity : 8;
    struct token *list = realloc(tokens->list, capacity * sizeof *list);
    if (!list) return "out of memory";
    tokens->list = list;
    tokens->capacity = capacity;
  }
  tokens->list[tokens->count++] = *token;
  return NULL;
}

static enum error_code read_file(struct tokens *tokens, FILE *file, const char *path,
                                 struct error *err) {
  char line[LINE_SIZE];
  for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
    size_t length = strcspn(line, "\r\n");
    bool whole = line[length] != '\0' || length < sizeof line - 1;
    line[length] = '\0';
    if (whole && line[strspn(line, " \t")] == '\0') continue;
    if (whole && line[0] == '#') continue;
    struct token token = {.name = ""};
    const char *wrong = whole ? read_token(line, &token) : "the line is too long";
    if (!wrong) wrong = add_token(tokens, &token);
    if (wrong) return error_set(err, ERR_CONFIG, "%s line %u: %s", path, number, wrong);
  }
  if (ferror(file)) return error_set(err, ERR_CONFIG, "tokens %s: %s", path, strerror(errno));
  return ERR_OK;
}

enum error_code tokens_load(struct tokens **out, const char *path, struct error *err) {
  struct stat status;
  *out = NULL;
  FILE *file = fopen(path, "re");
  if (!file || fstat(fileno(file), &status) != 0) {
    enum error_code code = error_set(err, ERR_CONFIG, "tokens %s: %s", path, strerror(errno));
    if (file) (void)fclose(file);
    return code;
  }
  struct tokens *tokens = calloc(1, sizeof *tokens);
  enum error_code code = ERR_OK;
  if (!tokens)
    code = error_set(err, ERR_MEMORY, "%s: out of memory", path);
  else if (status.st_mode & (S_IWGRP | S_IWOTH))
    code =
        error_set(err, ERR_CONFIG, "%s: others than its owner may write to it (chmod go-w)", path);
  else
    code = read_file(tokens, file, path, err);
  (void)fclose(file);
  if (code == ERR_OK)
    *out = tokens;
  else
    tokens_free(tokens);
  return code;
}

void tokens_free(struct tokens *tokens) {
  if (!tokens) return;
  free(tokens->list);
  free(tokens);
}

size_t tokens_count(const struct tokens *tokens) {
  return tokens->count;
}

/* All are compared, also behind the one that is found. */
const struct token *tokens_find(const struct tokens *tokens, const char *text) {
  const struct token *found = NULL;
  uint8_t hash[TOKEN_HASH_BYTES];
  hash_text(text, hash);
  for (size_t i = 0; i < tokens->count; i++)
    if (gnutls_memcmp(tokens->list[i].hash, hash, sizeof hash) == 0) found = &tokens->list[i];
  return found;
}

enum error_code tokens_admit(const struct tokens *tokens, unsigned roles, const char *authorization,
                             const struct token **who, struct error *err) {
  static const char scheme[] = "Bearer ";
  *who = NULL;
  if (!authorization)
    return error_set(err, ERR_UNAUTHORIZED, "a token is needed: Authorization: Bearer TOKEN");
  if (strncasecmp(authorization, scheme, strlen(scheme)) != 0)
    return error_set(err, ERR_UNAUTHORIZED, "Authorization must be: Bearer TOKEN");
  const char *text = authorization + strlen(scheme);
  *who = tokens_find(tokens, text + strspn(text, " "));
  if (!*who) return error_set(err, ERR_UNAUTHORIZED, "the token is not known");
  if (roles & (*who)->role) return ERR_OK;
  return error_set(err, ERR_FORBIDDEN, "a token of role %s may not do this",
                   role_name((*who)->role));
}

/* ---- making one ------------------------------------------------------------------------------- */

static void put_base64url(const uint8_t *bytes, size_t length, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint32_t bits = 0;
  unsigned have = 0;
  for (size_t i = 0; i < length; i++) {
    bits = bits << 8 | bytes[i];
    for (have += 8; have >= 6; have -= 6)
      *out++ = digits[bits >> (have - 6) & 63];
  }
  if (have > 0) *out++ = digits[bits << (6 - have) & 63];
  *out = '\0';
}

void token_make(const char *name, enum role role, char text[TOKEN_TEXT_SIZE], struct token *out) {
  uint8_t random[RANDOM_BYTES];
  assert(token_name_is_valid(name));
  id_random(random, sizeof random);
  (void)strcpy(text, prefix);
  put_base64url(random, sizeof random, text + strlen(prefix));
  *out = (struct token){.role = role};
  (void)snprintf(out->name, sizeof out->name, "%s", name);
  hash_text(text, out->hash);
}

void token_line(const struct token *token, char out[TOKEN_LINE_SIZE]) {
  int length = snprintf(out, TOKEN_LINE_SIZE, "%s %s ", token->name, role_name(token->role));
  for (size_t i = 0; i < TOKEN_HASH_BYTES; i++)
    length += snprintf(out + length, TOKEN_LINE_SIZE - (size_t)length, "%02x", token->hash[i]);
  (void)snprintf(out + length, TOKEN_LINE_SIZE - (size_t)length, "\n");
}
