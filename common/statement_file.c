/* Reads a file of named statements, and gives each parameter its type. See statement_set.h.
 *
 * A placeholder is found as PostgreSQL's own scanner would: not in a string, a quoted name, a comment or
 * a $tag$ text, and not within a name (a$1 is one). ($1::type) may stand wherever $1 may.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"
#include "common/statement_set.h"

/* ---- where tokens end --------------------------------------------------------------------------
 *
 * Each returns what is behind the token that begins at `at`; NULL: it does not end. */

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static const char *skip_name(const char *at) {
  while (begins_name(*at) || is_digit(*at) || *at == '$')
    at++;
  return at;
}

/* `escapes`: a backslash takes the next character with it. */
static const char *skip_quoted(const char *at, bool escapes) {
  char quote = *at++;
  for (; *at != '\0'; at++) {
    if (escapes && *at == '\\' && at[1] != '\0')
      at++;
    else if (*at == quote && at[1] == quote)
      at++;
    else if (*at == quote)
      return at + 1;
  }
  return NULL;
}

static const char *skip_comment(const char *at) {
  if (*at == '-') return at + strcspn(at, "\n");
  unsigned depth = 0;
  for (; *at != '\0'; at++) {
    if (at[0] == '/' && at[1] == '*') {
      depth++;
      at++;
    } else if (at[0] == '*' && at[1] == '/') {
      at++;
      if (--depth == 0) return at + 1;
    }
  }
  return NULL;
}

/* $tag$ ... $tag$; a $ that begins no tag is a character of its own. */
static const char *skip_dollar(const char *at) {
  const char *tag_end = at + 1;
  while (begins_name(*tag_end) || (tag_end > at + 1 && is_digit(*tag_end)))
    tag_end++;
  if (*tag_end != '$') return at + 1;
  size_t length = (size_t)(tag_end - at) + 1;
  for (const char *end = tag_end + 1; (end = strchr(end, '$')) != NULL; end++)
    if (strncmp(end, at, length) == 0) return end + length;
  return NULL;
}

static const char *skip_token(const char *at) {
  if ((*at == 'e' || *at == 'E') && at[1] == '\'') return skip_quoted(at + 1, true);
  if (*at == '\'' || *at == '"') return skip_quoted(at, false);
  if (strncmp(at, "--", 2) == 0 || strncmp(at, "/*", 2) == 0) return skip_comment(at);
  if (*at == '$') return skip_dollar(at);
  return begins_name(*at) || is_digit(*at) ? skip_name(at) : at + 1;
}

/* ---- types -------------------------------------------------------------------------------------
 */

struct types {
  size_t count;
  struct {
    const char *text;
    int length;
  } items[PARAMS_MAX];
  bool used[PARAMS_MAX];
};

/* "int8", "timestamp with time zone", "public.mood", "text[]". */
static bool is_type(const char *text, size_t length) {
  if (length > 2 && memcmp(text + length - 2, "[]", 2) == 0) length -= 2;
  for (size_t i = 0; i < length; i++)
    if (!begins_name(text[i]) && !is_digit(text[i]) && text[i] != ' ' && text[i] != '.')
      return false;
  return length > 0 && begins_name(text[0]);
}

static enum error_code read_types(const char *text, struct types *out, struct error *err) {
  for (const char *at = text; at;) {
    at += strspn(at, " \t");
    size_t whole = strcspn(at, ","), length = whole;
    while (length > 0 && (at[length - 1] == ' ' || at[length - 1] == '\t'))
      length--;
    if (out->count == PARAMS_MAX)
      return error_set(err, ERR_CONFIG, "params: more than %d types", PARAMS_MAX);
    if (!is_type(at, length))
      return error_set(err, ERR_CONFIG,
                       "params: \"%.*s\" is not the name of a type (without length and precision)",
                       (int)length, at);
    out->items[out->count].text = at;
    out->items[out->count++].length = (int)length;
    at = at[whole] == ',' ? at + whole + 1 : NULL;
  }
  return ERR_OK;
}

/* ---- placeholders ------------------------------------------------------------------------------
 */

static void put_placeholder(FILE *to, size_t number, const struct types *types) {
  int length = types->items[number - 1].length;
  const char *type = types->items[number - 1].text;
  if (length == 7 && strncmp(type, "unknown", 7) == 0)
    (void)fprintf(to, "$%zu", number);
  else
    (void)fprintf(to, "($%zu::%.*s)", number, length, type);
}

static enum error_code take_placeholder(FILE *to, const char **at, struct types *types,
                                        struct error *err) {
  size_t digits = strspn(*at + 1, "0123456789");
  unsigned long number = digits < 6 ? strtoul(*at + 1, NULL, 10) : 0;
  if (number < 1 || number > types->count)
    return error_set(err, ERR_CONFIG, "sql: it uses %.*s, and params has %zu types",
                     (int)(digits < 20 ? digits : 20) + 1, *at, types->count);
  types->used[number - 1] = true;
  put_placeholder(to, number, types);
  *at += 1 + digits;
  return ERR_OK;
}

static enum error_code write_typed(FILE *to, const char *sql, struct types *types,
                                   struct error *err) {
  for (const char *at = sql; *at != '\0';) {
    if (at[0] == '$' && is_digit(at[1])) {
      if (take_placeholder(to, &at, types, err) != ERR_OK) return ERR_CONFIG;
      continue;
    }
    const char *end = skip_token(at);
    if (!end) return error_set(err, ERR_CONFIG, "sql: what begins with %.10s does not end", at);
    if (*at == ';' && end[strspn(end, " \t\r\n")] != '\0')
      return error_set(err, ERR_CONFIG, "sql: it is more than one statement");
    (void)fwrite(at, 1, (size_t)(end - at), to);
    at = end;
  }
  for (size_t i = 0; i < types->count; i++)
    if (!types->used[i])
      return error_set(err, ERR_CONFIG, "sql: it does not use $%zu, of which params has the type",
                       i + 1);
  return ERR_OK;
}

enum error_code statement_sql_typed(const char *sql, const char *params, char **typed,
                                    size_t *param_count, struct error *err) {
  size_t size = 0;
  *typed = NULL;
  struct types *types = calloc(1, sizeof *types);
  if (!types) return error_set(err, ERR_MEMORY, "out of memory");
  FILE *to = open_memstream(typed, &size);
  if (!to) {
    free(types);
    return error_set(err, ERR_MEMORY, "out of memory");
  }
  enum error_code code = params ? read_types(params, types, err) : ERR_OK;
  if (code == ERR_OK) code = write_typed(to, sql, types, err);
  bool written = fclose(to) == 0;
  if (code == ERR_OK && !written) code = error_set(err, ERR_MEMORY, "out of memory");
  if (code == ERR_OK && size > SQL_BYTES_MAX)
    code = error_set(err, ERR_CONFIG, "sql: more than %d bytes, its types included", SQL_BYTES_MAX);
  if (code == ERR_OK) {
    *param_count = types->count;
  } else {
    free(*typed);
    *typed = NULL;
  }
  free(types);
  return code;
}

/* ---- the file ----------------------------------------------------------------------------------
 */

#define STATEMENT(name, kind, field, otherwise, min, max)                                          \
  {                                                                                                \
    "statement.*", name, kind, offsetof(struct named_statement, field), otherwise, min, max, NULL, \
        false                                                                                      \
  }
static const struct config_key keys[] = {
    STATEMENT("sql", CONFIG_TEXT, sql, NULL, 0, SQL_BYTES_MAX),
    STATEMENT("params", CONFIG_TEXT, params, NULL, 0, SQL_BYTES_MAX),
    STATEMENT("expect_rows", CONFIG_INTEGER, expect_rows, NULL, 0, INT64_MAX),
};
enum { KEY_COUNT = sizeof keys / sizeof keys[0] };

static void *add_statement(void *data, const char *section, const char *name, struct error *err) {
  struct statement_set *set = data;
  (void)section;
  if (set->count == STATEMENT_NAMES_MAX) {
    (void)error_set(err, ERR_CONFIG, "at most %d statements", STATEMENT_NAMES_MAX);
    return NULL;
  }
  struct named_statement *items = realloc(set->items, (set->count + 1) * sizeof *items);
  if (!items) {
    (void)error_set(err, ERR_MEMORY, "out of memory");
    return NULL;
  }
  set->items = items;
  struct named_statement *item = &items[set->count++];
  *item = (struct named_statement){.expect_rows = -1};
  (void)snprintf(item->name, sizeof item->name, "%s", name);
  return item;
}

static enum error_code finish(struct named_statement *item, struct error *err) {
  char *typed = NULL;
  if (!item->sql) return error_set(err, ERR_CONFIG, "sql is missing");
  if (item->params)
    for (char *c = item->params; *c; c++)
      if (*c == '\n') *c = ' ';
  enum error_code code =
      statement_sql_typed(item->sql, item->params, &typed, &item->param_count, err);
  if (code != ERR_OK) return code;
  free(item->sql);
  item->sql = typed;
  return ERR_OK;
}

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct named_statement *)a)->name,
                ((const struct named_statement *)b)->name);
}

/* Where the section begins; the reader has found it there. */
static unsigned line_of(const char *path, const char *name) {
  char *line = NULL, section[STATEMENT_NAME_SIZE + 16];
  size_t capacity = 0;
  unsigned number = 0;
  bool found = false;
  FILE *file = fopen(path, "re");
  (void)snprintf(section, sizeof section, "[statement.%s]", name);
  while (file && !found && getline(&line, &capacity, file) >= 0) {
    number++;
    found = strstr(line, section) != NULL;
  }
  free(line);
  if (file) (void)fclose(file);
  return number;
}

enum error_code statement_set_read(const char *path, struct statement_set **out,
                                   struct error *err) {
  struct error own = {.code = ERR_OK};
  if (!err) err = &own;
  *out = NULL;
  struct statement_set *set = calloc(1, sizeof *set);
  if (!set) return error_set(err, ERR_MEMORY, "out of memory");
  enum error_code code = config_read(path, keys, KEY_COUNT, set, add_statement, err);
  for (size_t i = 0; i < set->count && code == ERR_OK; i++)
    if ((code = finish(&set->items[i], err)) != ERR_OK)
      (void)error_wrap(err, "%s:%u: [statement.%s]", path, line_of(path, set->items[i].name),
                       set->items[i].name);
  if (code == ERR_OK && set->count == 0)
    code = error_set(err, ERR_CONFIG, "%s: it has no [statement.NAME]", path);
  if (code != ERR_OK) {
    statement_set_free(set);
    return code;
  }
  qsort(set->items, set->count, sizeof *set->items, by_name);
  *out = set;
  return ERR_OK;
}
