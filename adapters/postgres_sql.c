/* See postgres_sql.h. Source: PostgreSQL's documentation, "Lexical Structure", and scan.l.
 *
 * Before the first word the server's scanner skips white space, `--` comments to the end of the
 * line, nested block comments, and empty statements, as in "; COMMIT": so do we.
 */
#include "adapters/postgres_sql.h"

#include <stddef.h>
#include <strings.h>
#include <string.h>

static const char *skip_block_comment(const char *at) {
  int depth = 0;
  do {
    if (at[0] == '/' && at[1] == '*') {
      depth++;
      at += 2;
    } else if (at[0] == '*' && at[1] == '/') {
      depth--;
      at += 2;
    } else {
      at++;
    }
  } while (depth > 0 && *at);
  return at;
}

static const char *skip_to_word(const char *at) {
  for (;;) {
    at += strspn(at, " \t\n\r\f\v;");
    if (at[0] == '-' && at[1] == '-')
      at += strcspn(at, "\n\r");
    else if (at[0] == '/' && at[1] == '*')
      at = skip_block_comment(at);
    else
      return at;
  }
}

/* Length of the keyword at `at`; 0 when something else stands there. */
static size_t word_length(const char *at) {
  size_t length = 0;
  for (char c; (c = at[length]) != '\0'; length++) {
    bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
    if (!letter && !(c >= '0' && c <= '9') && c != '_' && c != '$') break;
  }
  return length;
}

static bool word_is(const char *at, size_t length, const char *keyword) {
  return strlen(keyword) == length && strncasecmp(at, keyword, length) == 0;
}

static const char *word_among(const char *at, const char *const *keywords) {
  size_t length = word_length(at);
  for (; *keywords; keywords++)
    if (word_is(at, length, *keywords)) return *keywords;
  return NULL;
}

const char *statement_refused(const char *sql) {
  static const char *const refused[] = {"BEGIN",    "START",  "COMMIT",    "END",
                                        "ROLLBACK", "ABORT",  "SAVEPOINT", "RELEASE",
                                        "COPY",     "LISTEN", NULL};
  const char *word = skip_to_word(sql);
  size_t length = word_length(word);
  if (word_is(word, length, "PREPARE")) { /* PREPARE name AS ... is harmless */
    const char *second = skip_to_word(word + length);
    return word_is(second, word_length(second), "TRANSACTION") ? "PREPARE TRANSACTION" : NULL;
  }
  return word_among(word, refused);
}

bool statement_is_plain(const char *sql) {
  static const char *const plain[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "WITH",
                                      "VALUES", "TABLE",  "CALL",   "LOCK",   "SET",   NULL};
  return word_among(skip_to_word(sql), plain) != NULL;
}
