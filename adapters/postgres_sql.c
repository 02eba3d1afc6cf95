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
  return strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789$");
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
  static const char *const plain[] = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE",
                                      "VALUES", "TABLE",  "WITH",   NULL};
  return word_among(skip_to_word(sql), plain) != NULL;
}

bool statement_is_lasting(const char *sql) {
  static const char *const writes[] = {"INSERT", "UPDATE", "DELETE", "MERGE", "WITH", NULL};
  if (!word_among(skip_to_word(sql), writes) || strchr(sql, '\'')) return false;
  for (const char *at = strchr(sql, '$'); at; at = strchr(at + 1, '$'))
    if (at[1] < '0' || at[1] > '9') return false; /* a quote, or a name with a $ in it */
  return true;
}

bool value_form_of(unsigned type_oid, enum value_form *form) {
  enum { OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25, OID_VARCHAR = 1043 };
  enum { OID_NUMERIC = 1700 };
  switch (type_oid) {
  case OID_INT2:
  case OID_INT4:
  case OID_INT8: *form = VALUE_INTEGER; return true;
  case OID_NUMERIC: *form = VALUE_NUMERIC; return true;
  case OID_TEXT:
  case OID_VARCHAR: *form = VALUE_TEXT; return true;
  default: return false;
  }
}

bool value_is_plain(enum value_form form, const char *text) {
  static const char digits[] = "0123456789";
  if (form == VALUE_TEXT) return true;
  const char *at = text + (*text == '-');
  size_t whole = strspn(at, digits), fraction = 0;
  if (whole == 0 || (whole > 1 && *at == '0')) return false;
  bool zero = at[whole - 1] == '0' && whole == 1;
  at += whole;
  if (form == VALUE_NUMERIC && *at == '.') {
    fraction = strspn(at + 1, digits);
    if (fraction == 0) return false;
    zero = zero && strspn(at + 1, "0") == fraction;
    at += 1 + fraction;
  }
  return *at == '\0' && !(zero && *text == '-');
}
