/* Calls of the commands to the coordinator's public API, and what their answers mean for the exit
 * code. Nothing here guesses: an answer that was lost is "not known", with a word on how to ask. */
#ifndef ASSENT_CLI_CLIENT_H
#define ASSENT_CLI_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/options.h"
#include "common/error.h"

enum { PATH_SIZE = 2048, READ_TIMEOUT_MS = 30000, RUN_TIMEOUT_MS = 300000 };

struct client {
  const char *command; /* for messages: "assent tx begin" */
  const char *url;
  const char *token_file, *ca; /* NULL: none */
  bool json;                   /* print the server's JSON as it came */
};

/* Rows for a command's option table. */
#define CLIENT_OPTIONS(client)                                                                     \
  {                                                                                                \
      "url",                                                                                       \
      "URL",                                                                                       \
      "of the coordinator (default $ASSENT_URL, or http://127.0.0.1:7410)",                        \
      OPTION_TEXT,                                                                                 \
      &(client).url,                                                                               \
      0,                                                                                           \
      0,                                                                                           \
      NULL},                                                                                       \
      {"token-file",                                                                               \
       "FILE",                                                                                     \
       "with the token to show (default $ASSENT_TOKEN_FILE, or $ASSENT_TOKEN itself)",             \
       OPTION_TEXT,                                                                                \
       &(client).token_file,                                                                       \
       0,                                                                                          \
       0,                                                                                          \
       NULL},                                                                                      \
      {"ca",                                                                                       \
       "FILE",                                                                                     \
       "certificates to trust with https (default $ASSENT_CA, or the system's)",                   \
       OPTION_TEXT,                                                                                \
       &(client).ca,                                                                               \
       0,                                                                                          \
       0,                                                                                          \
       NULL},                                                                                      \
  {                                                                                                \
    "json", NULL, "print the coordinator's JSON", OPTION_FLAG, &(client).json, 0, 0, NULL          \
  }

struct client client_make(const char *command);

struct answer {
  int status;
  char *text;
  json_t *body; /* NULL: not JSON */
};

/* `body` (borrowed) is JSON, or NULL. Errors: ERR_INVALID, a URL that cannot be one;
 * ERR_UNAVAILABLE, it never left; ERR_LOST, it may have been acted on. Owner: answer_close(). */
enum error_code client_call(const struct client *client, const char *method, const char *path,
                            const char *body, uint64_t timeout_ms, struct answer *out,
                            struct error *err) __attribute__((warn_unused_result));
void answer_close(struct answer *answer);

/* The transaction in an answer: the object itself, or the one within a problem. NULL: none. */
const json_t *answer_transaction(const struct answer *answer);

/* What a problem answer lets one conclude: class RETRY is NOT_TAKEN, AMBIGUOUS and FATAL are
 * UNKNOWN, all else is REFUSED. */
enum exit_code answer_exit(const struct answer *answer);

/* Say on stderr what went wrong, and return the exit code for it. `ask_again` (may be NULL): what
 * to type to learn the outcome. */
enum exit_code client_failed(const struct client *client, const struct error *err,
                             const char *ask_again);
enum exit_code client_refused(const struct client *client, const struct answer *answer,
                              const char *ask_again);

/* "The outcome is not known yet. Ask again: ..." on stderr. */
void say_how_to_ask(const char *ask_again);

/* Appends "?name=value" or "&name=value", percent-encoded; NULL values are left out. False when it
 * does not fit in PATH_SIZE. */
bool path_add_query(char path[PATH_SIZE], const char *name, const char *value);
/* Ids, names: what may stand in a path as it is. */
bool is_plain_name(const char *text);

/* What goes to a database must be what was typed: JSON carries only UTF-8. */
bool is_utf8(const char *text);

/* A member's text, or `absent` when it is missing, null or no string. Borrowed. */
const char *member_text(const json_t *object, const char *name, const char *absent);
int64_t member_integer(const json_t *object, const char *name, int64_t absent);

#endif
