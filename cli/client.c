/* See client.h. The exit codes follow the classes of common/error.h: only what certainly did not
 * happen is reported so. */
#include "cli/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/table.h"
#include "common/http_client.h"
#include "common/utf8.h"

enum { URL_SIZE = 512 + PATH_SIZE, SHOWN_SIZE = 1024, TOKEN_SIZE = 256 };

static const char *environment(const char *name, const char *absent) {
  const char *value = getenv(name);
  return value && value[0] ? value : absent;
}

struct client client_make(const char *command) {
  return (struct client){.command = command,
                         .url = environment("ASSENT_URL", "http://127.0.0.1:7410"),
                         .token_file = environment("ASSENT_TOKEN_FILE", NULL),
                         .ca = environment("ASSENT_CA", NULL)};
}

/* A command line can be seen by all on the machine: a token is in a file or in the environment. */
static enum error_code read_token(const struct client *client, char token[TOKEN_SIZE],
                                  struct error *err) {
  token[0] = '\0';
  if (!client->token_file) {
    const char *text = environment("ASSENT_TOKEN", "");
    if (strlen(text) >= TOKEN_SIZE) return error_set(err, ERR_INVALID, "the token is too long");
    (void)strcpy(token, text);
    return ERR_OK;
  }
  FILE *file = fopen(client->token_file, "re");
  size_t length = file ? fread(token, 1, TOKEN_SIZE - 1, file) : 0;
  token[length] = '\0';
  token[strcspn(token, " \r\n")] = '\0';
  bool read = file && !ferror(file);
  if (!read) error_set(err, ERR_INVALID, "%s: %s", client->token_file, strerror(errno));
  if (file) (void)fclose(file);
  if (read && token[0] == '\0')
    return error_set(err, ERR_INVALID, "%s: there is no token in it", client->token_file);
  return read ? ERR_OK : ERR_INVALID;
}

static enum error_code join_url(const struct client *client, const char *path, char out[URL_SIZE],
                                struct error *err) {
  size_t length = strlen(client->url);
  while (length > 0 && client->url[length - 1] == '/')
    length--;
  if (strncmp(client->url, "http://", 7) != 0 && strncmp(client->url, "https://", 8) != 0)
    return error_set(err, ERR_INVALID, "not an http or https URL: %s", client->url);
  if (length + strlen(path) >= URL_SIZE) return error_set(err, ERR_INVALID, "the URL is too long");
  memcpy(out, client->url, length);
  memcpy(out + length, path, strlen(path) + 1);
  return ERR_OK;
}

enum error_code client_call(const struct client *client, const char *method, const char *path,
                            const char *body, uint64_t timeout_ms, struct answer *out,
                            struct error *err) {
  char url[URL_SIZE], token[TOKEN_SIZE];
  size_t length = 0;
  *out = (struct answer){0};
  enum error_code code = join_url(client, path, url, err);
  if (code == ERR_OK) code = read_token(client, token, err);
  if (code != ERR_OK) return code;
  struct http_caller *caller = http_caller_new();
  const struct http_identity identity = {.token = token[0] ? token : NULL, .ca = client->ca};
  http_caller_identify(caller, &identity);
  code = http_caller_call(caller, method, url, body, timeout_ms, &out->status, &out->text, &length,
                          err);
  http_caller_free(caller);
  if (code != ERR_OK) return code;
  /* Not json_parse(): it refuses what we must not send, and we only read. */
  out->body = json_loadb(out->text, length, JSON_DECODE_ANY, NULL);
  return ERR_OK;
}

void answer_close(struct answer *answer) {
  json_decref(answer->body);
  free(answer->text);
  *answer = (struct answer){0};
}

const json_t *answer_transaction(const struct answer *answer) {
  const json_t *within = json_object_get(answer->body, "transaction");
  if (json_is_object(within)) return within;
  return json_object_get(answer->body, "state") ? answer->body : NULL;
}

/* ---- what an answer means -------------------------------------------------------------------- */

static enum error_class class_of_wire_code(const char *wire) {
#define X(name, text, class, status, title)                                                        \
  if (strcmp(wire, text) == 0) return class;
  ERROR_CODES(X)
#undef X
  return CLASS_NONE;
}

enum exit_code answer_exit(const struct answer *answer) {
  if (answer->status >= 200 && answer->status < 300) return EXIT_DONE;
  switch (class_of_wire_code(member_text(answer->body, "code", ""))) {
  case CLASS_CALLER: return EXIT_REFUSED;
  case CLASS_RETRY: return EXIT_NOT_TAKEN;
  case CLASS_AMBIGUOUS:
  case CLASS_FATAL: return EXIT_UNKNOWN;
  case CLASS_NONE: break;
  }
  /* A code we do not know, or something in between that is no coordinator. */
  return answer->status >= 400 && answer->status < 500 ? EXIT_REFUSED : EXIT_UNKNOWN;
}

void say_how_to_ask(const char *ask_again) {
  if (ask_again) (void)fprintf(stderr, "The outcome is not known yet. Ask again: %s\n", ask_again);
}

enum exit_code client_failed(const struct client *client, const struct error *err,
                             const char *ask_again) {
  char text[SHOWN_SIZE];
  text_for_terminal(err->text, text, sizeof text);
  (void)fprintf(stderr, "%s: %s\n", client->command, text);
  if (err->code == ERR_INVALID) return EXIT_USAGE;
  switch (error_class_of(err->code)) {
  case CLASS_AMBIGUOUS: say_how_to_ask(ask_again); return EXIT_UNKNOWN;
  case CLASS_RETRY:
    (void)fprintf(stderr, "Nothing was sent to %s; the same command may be repeated.\n",
                  client->url);
    return EXIT_NOT_TAKEN;
  case CLASS_NONE:
  case CLASS_CALLER:
  case CLASS_FATAL: break;
  }
  return EXIT_REFUSED;
}

enum exit_code client_refused(const struct client *client, const struct answer *answer,
                              const char *ask_again) {
  char title[SHOWN_SIZE], detail[SHOWN_SIZE], field[SHOWN_SIZE];
  enum exit_code code = answer_exit(answer);
  text_for_terminal(member_text(answer->body, "title", "not an answer of Assent"), title,
                    sizeof title);
  text_for_terminal(member_text(answer->body, "detail", ""), detail, sizeof detail);
  text_for_terminal(member_text(answer->body, "field", ""), field, sizeof field);
  (void)fprintf(stderr, "%s: %s (%d)%s%s%s%s\n", client->command, title, answer->status,
                detail[0] ? ": " : "", detail, field[0] ? ", at " : "", field);
  if (code == EXIT_UNKNOWN) say_how_to_ask(ask_again);
  if (code == EXIT_NOT_TAKEN)
    (void)fprintf(stderr, "Nothing happened; the same command may be repeated.\n");
  return code;
}

/* ---- paths, members -------------------------------------------------------------------------- */

static bool is_unreserved(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

bool path_add_query(char path[PATH_SIZE], const char *name, const char *value) {
  static const char digits[] = "0123456789ABCDEF";
  if (!value) return true;
  size_t used = strlen(path);
  int head = snprintf(path + used, PATH_SIZE - used, "%c%s=", strchr(path, '?') ? '&' : '?', name);
  if (head < 0 || (size_t)head >= PATH_SIZE - used) return false;
  used += (size_t)head;
  for (; *value; value++) {
    if (used + 4 > PATH_SIZE) return false;
    if (is_unreserved(*value)) {
      path[used++] = *value;
    } else {
      unsigned char byte = (unsigned char)*value;
      path[used++] = '%';
      path[used++] = digits[byte >> 4];
      path[used++] = digits[byte & 15];
    }
  }
  path[used] = '\0';
  return true;
}

bool is_plain_name(const char *text) {
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i++)
    if (!is_unreserved(text[i])) return false;
  return length > 0 && length <= 64 && text[0] != '.';
}

bool is_utf8(const char *text) {
  for (size_t left = strlen(text), length; left > 0; text += length, left -= length)
    if ((length = utf8_sequence(text, left)) == 0) return false;
  return true;
}

const char *member_text(const json_t *object, const char *name, const char *absent) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : absent;
}

int64_t member_integer(const json_t *object, const char *name, int64_t absent) {
  const json_t *value = json_object_get(object, name);
  return json_is_integer(value) ? (int64_t)json_integer_value(value) : absent;
}
