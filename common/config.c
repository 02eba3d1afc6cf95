/* See config.h. The reader: lines, sections, keys. What a value may be is in config_value.c.
 *
 * A reader of our own, because a value must arrive as it was written: libinih, as Debian builds it,
 * cuts a value at " ;" and a line at 200 bytes, both silently, and connection strings with
 * passwords are values.
 * Limits: LINE_BYTES_MAX, SECTIONS_MAX, a text's own.
 */
#include "common/config.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/config_value.h"
#include "common/utf8.h"

enum {
  LINE_BYTES_MAX = 8192,
  SECTIONS_MAX = 1000,
  NAME_BYTES_MAX = 32,
  WORD_BYTES_MAX = 64, /* for the distance of words */
  CONTEXT_SIZE = 160
};

struct text {
  const struct config_key *key; /* NULL: none is open */
  unsigned line;                /* where it began */
  char *value;
  size_t length;
};

struct reader {
  const char *path;
  unsigned line;
  const struct config_key *keys;
  size_t key_count;
  void *settings;
  config_section_fn section_fn;
  char title[WORD_BYTES_MAX]; /* the section that is open, as written; "" before the first */
  const char *section;        /* its name in the table */
  void *base;                 /* where its keys go */
  bool *seen;                 /* its keys, by position in the table */
  struct text text;           /* a value that may go on in the next line */
  char **titles;              /* of all sections so far */
  size_t title_count;
};

/* ---- errors -----------------------------------------------------------------------------------
 */

/* Puts "file:12: [section] key" before the text that is there, and into err->field. */
static enum error_code at_line(const struct reader *r, const char *key, struct error *err) {
  char context[CONTEXT_SIZE];
  if (r->title[0] == '\0')
    (void)snprintf(context, sizeof context, "%s:%u", r->path, r->line);
  else
    (void)snprintf(context, sizeof context, "%s:%u: [%s]%s%s", r->path, r->line, r->title,
                   key ? " " : "", key ? key : "");
  error_field(err, context);
  return error_wrap(err, "%s", context);
}

static size_t min_of(size_t a, size_t b) {
  return a < b ? a : b;
}

/* Edit distance (Levenshtein). */
static size_t distance(const char *a, const char *b) {
  size_t row[WORD_BYTES_MAX + 1];
  size_t length = min_of(strlen(b), WORD_BYTES_MAX);
  for (size_t j = 0; j <= length; j++)
    row[j] = j;
  for (size_t i = 1; a[i - 1] != '\0'; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= length; j++) {
      size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = min_of(replaced, min_of(row[j], row[j - 1]) + 1);
    }
  }
  return row[length];
}

/* The nearest of the table's words (keys of `section`, or sections when that is NULL), if any is
 * near enough to be what was meant; else NULL. */
static const char *nearest(const struct reader *r, const char *section, const char *word) {
  const char *best = NULL;
  size_t best_distance = strlen(word) / 3 + 2; /* one letter in three, and always one */
  for (size_t i = 0; i < r->key_count; i++) {
    const struct config_key *key = &r->keys[i];
    if (section && strcmp(key->section, section) != 0) continue;
    const char *known = section ? key->name : key->section;
    size_t d = distance(word, known);
    if (d >= best_distance) continue;
    best = known;
    best_distance = d;
  }
  return best;
}

/* ---- sections ---------------------------------------------------------------------------------
 */

/* `section` NULL: all that have no name of the user's. */
static bool belongs(const struct config_key *key, const char *section) {
  return section ? strcmp(key->section, section) == 0 : !strchr(key->section, '*');
}

static enum error_code set_defaults(const struct reader *r, const char *section, void *base,
                                    struct error *err) {
  for (size_t i = 0; i < r->key_count; i++) {
    const struct config_key *key = &r->keys[i];
    if (!key->otherwise || !belongs(key, section)) continue;
    enum error_code code = config_value_set(key, key->otherwise, base, err);
    assert(code == ERR_OK || code == ERR_MEMORY); /* else the table is wrong */
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

static bool is_name(const char *name) {
  size_t length = strlen(name);
  return length >= 1 && length <= NAME_BYTES_MAX && name[0] >= 'a' && name[0] <= 'z' &&
         strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == length;
}

/* Finds the table's section for a title: itself, or "participant.*" for "participant.bank_a", whose
 * name then stands in `*name`. NULL when there is none. */
static const char *find_section(const struct reader *r, const char *title, const char **name) {
  *name = NULL;
  const char *dot = strchr(title, '.');
  for (size_t i = 0; i < r->key_count; i++) {
    const char *section = r->keys[i].section;
    if (strcmp(section, title) == 0 && !strchr(section, '*')) return section;
    size_t prefix = strcspn(section, "*");
    if (section[prefix] == '\0' || !dot || (size_t)(dot - title) + 1 != prefix) continue;
    if (strncmp(section, title, prefix) != 0) continue;
    *name = dot + 1;
    return section;
  }
  return NULL;
}

/* Each section once: what stands in two places is overlooked in one. */
static enum error_code note_title(struct reader *r, const char *title, struct error *err) {
  for (size_t i = 0; i < r->title_count; i++)
    if (strcmp(r->titles[i], title) == 0)
      return error_set(err, ERR_CONFIG, "the section came before");
  if (r->title_count == SECTIONS_MAX)
    return error_set(err, ERR_CONFIG, "more than %d sections", SECTIONS_MAX);
  char **titles = realloc(r->titles, (r->title_count + 1) * sizeof *titles);
  if (!titles) return error_set(err, ERR_MEMORY, "out of memory");
  r->titles = titles;
  titles[r->title_count] = strdup(title);
  if (!titles[r->title_count]) return error_set(err, ERR_MEMORY, "out of memory");
  r->title_count++;
  return ERR_OK;
}

static enum error_code unknown_section(const struct reader *r, struct error *err) {
  const char *guess = nearest(r, NULL, r->title);
  return error_set(err, ERR_CONFIG, "unknown section%s%s%s", guess ? "; did you mean [" : "",
                   guess ? guess : "", guess ? "]?" : "");
}

static enum error_code open_section(struct reader *r, struct error *err) {
  const char *name;
  r->section = find_section(r, r->title, &name);
  if (!r->section) return unknown_section(r, err);
  if (name && !is_name(name))
    return error_set(err, ERR_CONFIG,
                     "a name is a letter of a-z, then letters, digits and _, at most %d in all",
                     NAME_BYTES_MAX);
  enum error_code code = note_title(r, r->title, err);
  if (code != ERR_OK) return code;
  memset(r->seen, 0, r->key_count * sizeof *r->seen);
  r->base = r->settings;
  if (!name) return ERR_OK;
  assert(r->section_fn);
  r->base = r->section_fn(r->settings, r->section, name, err);
  if (!r->base) return error_set(err, ERR_CONFIG, "not accepted");
  return set_defaults(r, r->section, r->base, err);
}

static enum error_code read_section(struct reader *r, char *text, struct error *err) {
  char *end = strchr(text, ']');
  r->title[0] = '\0';
  if (!end || end[1] != '\0' || end == text || (size_t)(end - text) >= sizeof r->title) {
    error_set(err, ERR_CONFIG, "expected a section, as [name]");
    return at_line(r, NULL, err);
  }
  *end = '\0';
  memcpy(r->title, text, strlen(text) + 1);
  enum error_code code = open_section(r, err);
  return code == ERR_OK ? ERR_OK : at_line(r, NULL, err);
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static enum error_code extend_text(struct text *text, const char *line, struct error *err) {
  size_t length = strlen(line), max = (size_t)text->key->max;
  if (text->length + length > max)
    return error_set(err, ERR_CONFIG, "the value has more than %zu bytes", max);
  char *value = realloc(text->value, text->length + length + 1);
  if (!value) return error_set(err, ERR_MEMORY, "out of memory");
  memcpy(value + text->length, line, length + 1);
  text->value = value;
  text->length += length;
  return ERR_OK;
}

static enum error_code set_key(struct reader *r, const char *name, const char *value,
                               struct error *err) {
  for (size_t i = 0; i < r->key_count; i++) {
    const struct config_key *key = &r->keys[i];
    if (strcmp(key->section, r->section) != 0 || strcmp(key->name, name) != 0) continue;
    if (r->seen[i]) return error_set(err, ERR_CONFIG, "the key came before");
    r->seen[i] = true;
    if (key->kind == CONFIG_TEXT) {
      r->text = (struct text){.key = key, .line = r->line};
      return extend_text(&r->text, value, err);
    }
    if (*value == '\0') return error_set(err, ERR_CONFIG, "expected a value, got nothing");
    return config_value_set(key, value, r->base, err);
  }
  const char *guess = nearest(r, r->section, name);
  return error_set(err, ERR_CONFIG, "unknown key%s%s%s", guess ? "; did you mean " : "",
                   guess ? guess : "", guess ? "?" : "");
}

static char *trim(char *text) {
  static const char blanks[] = " \t\r\n";
  text += strspn(text, blanks);
  size_t length = strlen(text);
  while (length > 0 && strchr(blanks, text[length - 1]))
    length--;
  text[length] = '\0';
  return text;
}

static enum error_code read_key(struct reader *r, char *line, struct error *err) {
  char *equals = strchr(line, '=');
  if (!equals || equals == line) {
    error_set(err, ERR_CONFIG, "expected key = value"); /* the line may hold a secret: not told */
    return at_line(r, NULL, err);
  }
  *equals = '\0';
  char *name = trim(line);
  char *value = trim(equals + 1);
  if (r->title[0] == '\0') {
    error_set(err, ERR_CONFIG, "%.64s: stands before the first [section]", name);
    return at_line(r, NULL, err);
  }
  enum error_code code = set_key(r, name, value, err);
  return code == ERR_OK ? ERR_OK : at_line(r, name, err);
}

/* It is whole: no further line belongs to it. */
static enum error_code close_text(struct reader *r, struct error *err) {
  struct text text = r->text;
  if (!text.key) return ERR_OK;
  r->text = (struct text){0};
  const char *value = trim(text.value);
  enum error_code code = *value == '\0'
                             ? error_set(err, ERR_CONFIG, "expected a value, got nothing")
                             : config_value_set(text.key, value, r->base, err);
  unsigned here = r->line;
  r->line = text.line;
  if (code != ERR_OK) (void)at_line(r, text.key->name, err);
  r->line = here;
  free(text.value);
  return code;
}

/* Is this line part of the value before it? */
static bool goes_on(const struct reader *r, const char *line) {
  return r->text.key && (strchr(" \t\r\n", *line) != NULL);
}

/* ---- lines ------------------------------------------------------------------------------------
 */

static bool is_text(const char *line, size_t length) {
  for (size_t i = 0; i < length;) {
    size_t n = line[i] == '\0' ? 0 : utf8_sequence(line + i, length - i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

static enum error_code read_line(struct reader *r, char *line, size_t length, struct error *err) {
  static const char bom[] = "\xEF\xBB\xBF";
  if (length > LINE_BYTES_MAX || !is_text(line, length)) {
    error_set(err, ERR_CONFIG, "a line is UTF-8 text of at most %d bytes", LINE_BYTES_MAX);
    return at_line(r, NULL, err);
  }
  if (r->line == 1 && strncmp(line, bom, sizeof bom - 1) == 0) line += sizeof bom - 1;
  if (goes_on(r, line)) {
    const char *const parts[] = {"\n", line};
    line[strcspn(line, "\r\n")] = '\0';
    for (size_t i = 0; i < 2; i++)
      if (extend_text(&r->text, parts[i], err) != ERR_OK) return at_line(r, r->text.key->name, err);
    return ERR_OK;
  }
  enum error_code code = close_text(r, err);
  if (code != ERR_OK) return code;
  char *text = trim(line);
  if (*text == '\0' || *text == ';' || *text == '#') return ERR_OK;
  return *text == '[' ? read_section(r, text + 1, err) : read_key(r, text, err);
}

static enum error_code read_file(struct reader *r, struct error *err) {
  FILE *file = fopen(r->path, "re");
  if (!file) {
    error_set(err, ERR_CONFIG, "%s: %s", r->path, strerror(errno));
    if (err) err->sys_errno = errno;
    return ERR_CONFIG;
  }
  enum error_code code = ERR_OK;
  char *line = NULL;
  size_t capacity = 0;
  ssize_t length;
  while (code == ERR_OK && (length = getline(&line, &capacity, file)) >= 0) {
    r->line++;
    code = read_line(r, line, (size_t)length, err);
  }
  if (code == ERR_OK && ferror(file))
    code = error_set(err, ERR_CONFIG, "%s: cannot be read", r->path);
  if (code == ERR_OK) code = close_text(r, err);
  free(r->text.value);
  free(line);
  (void)fclose(file);
  return code;
}

enum error_code config_read(const char *path, const struct config_key *keys, size_t key_count,
                            void *settings, config_section_fn section, struct error *err) {
  struct error own = {.code = ERR_OK}; /* the text is built inside out: there must be one */
  if (!err) err = &own;
  struct reader r = {.path = path,
                     .keys = keys,
                     .key_count = key_count,
                     .settings = settings,
                     .section_fn = section};
  r.seen = calloc(key_count + 1, sizeof *r.seen);
  if (!r.seen) return error_set(err, ERR_MEMORY, "out of memory");
  enum error_code code = set_defaults(&r, NULL, settings, err);
  if (code == ERR_OK && path) code = read_file(&r, err);
  for (size_t i = 0; i < r.title_count; i++)
    free(r.titles[i]);
  free(r.titles);
  free(r.seen);
  return code;
}

void config_release(const struct config_key *keys, size_t key_count, const char *section,
                    void *base) {
  for (size_t i = 0; i < key_count; i++)
    if (strcmp(keys[i].section, section) == 0) config_value_clear(&keys[i], base);
}

void config_print(FILE *out, const struct config_key *keys, size_t key_count, const char *section,
                  const char *title, const void *base) {
  (void)fprintf(out, "[%s]\n", title);
  for (size_t i = 0; i < key_count; i++)
    if (strcmp(keys[i].section, section) == 0) config_value_print(out, &keys[i], base);
}
