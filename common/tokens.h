/* Who may call: bearer tokens, kept as hashes in a file that `assent token create` writes.
 *
 *   # name  role  SHA-256 of the token, in hexadecimal
 *   shop    client    9f86d0...
 *   alice   operator  60303a...
 *
 * A token is "assent_" and 43 characters of base64url: 256 random bits, so that a plain hash is as good as
 * a slow one. Comparisons take the same time wherever two hashes differ.
 *
 * Limits: TOKENS_MAX tokens; names of TOKEN_NAME_SIZE - 1 letters, digits, "_", "-" and ".".
 */
#ifndef ASSENT_COMMON_TOKENS_H
#define ASSENT_COMMON_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { TOKENS_MAX = 1000, TOKEN_NAME_SIZE = 64, TOKEN_TEXT_SIZE = 51, TOKEN_HASH_BYTES = 32 };

/* What a token lets do. As a set: what a route lets in. An operator may do what a client may. */
enum role { ROLE_CLIENT = 1, ROLE_OPERATOR = 2, ROLE_METRICS = 4 };

struct token {
  char name[TOKEN_NAME_SIZE];
  enum role role;
  uint8_t hash[TOKEN_HASH_BYTES];
};

struct tokens;

/* ERR_CONFIG names file and line. A file that others than its owner may write is refused.
 * Owner: tokens_free(). */
enum error_code tokens_load(struct tokens **out, const char *path, struct error *err)
    __attribute__((warn_unused_result));
void tokens_free(struct tokens *tokens); /* NULL is allowed */
size_t tokens_count(const struct tokens *tokens);
bool tokens_has_name(const struct tokens *tokens, const char *name);
/* Borrowed; NULL: none of these. */
const struct token *tokens_find(const struct tokens *tokens, const char *text);

/* Decides on an Authorization header (NULL: none came) by a set of roles. ERR_UNAUTHORIZED: no token, or
 * an unknown one; ERR_FORBIDDEN: one of another role. `*who` (borrowed) is set unless it is unknown. */
enum error_code tokens_admit(const struct tokens *tokens, unsigned roles, const char *authorization,
                             const struct token **who, struct error *err)
    __attribute__((warn_unused_result));

/* Makes a token, and `out` with its hash. */
void token_make(const char *name, enum role role, char text[TOKEN_TEXT_SIZE], struct token *out);
/* The line of the file, with its newline. */
enum { TOKEN_LINE_SIZE = TOKEN_NAME_SIZE + 96 };
void token_line(const struct token *token, char out[TOKEN_LINE_SIZE]);

bool token_name_is_valid(const char *name);
const char *role_name(enum role role);
/* 0: none of that name. */
enum role role_from_name(const char *name);

#endif
