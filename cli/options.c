/* See options.h. Nothing here allocates: values point into argv. */
#include "cli/options.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_LENGTH = 32, EDITS_MAX = 3, OPTIONS_MAX = 32 };

/* ---- nearest name ---------------------------------------------------------------------------- */

static size_t smallest(size_t a, size_t b, size_t c) {
  size_t ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Levenshtein's distance, for names of at most NAME_MAX_LENGTH. */
static size_t edits_between(const char *a, const char *b) {
  size_t row[NAME_MAX_LENGTH + 1], a_length = strlen(a), b_length = strlen(b);
  if (a_length > NAME_MAX_LENGTH || b_length > NAME_MAX_LENGTH) return SIZE_MAX;
  for (size_t j = 0; j <= b_length; j++)
    row[j] = j;
  for (size_t i = 1; i <= a_length; i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b_length; j++) {
      size_t above = row[j];
      row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[b_length];
}

const char *nearest_name(const char *text, const char *const *names) {
  const char *best = NULL;
  size_t best_edits = EDITS_MAX + 1;
  for (; *names; names++) {
    size_t edits = edits_between(text, *names);
    /* Nearly everything replaced is no likeness. */
    if (edits < best_edits && edits < strlen(*names)) {
      best = *names;
      best_edits = edits;
    }
  }
  return best;
}

/* ---- durations ------------------------------------------------------------------------------- */

static const struct {
  const char *name;
  int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

bool duration_parse(const char *text, int64_t *ms) {
  char *end;
  if (!isdigit((unsigned char)text[0])) return false;
  errno = 0;
  intmax_t value = strtoimax(text, &end, 10);
  if (errno != 0) return false;
  for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
    if (strcmp(end, units[i].name) == 0)
      return !__builtin_mul_overflow((int64_t)value, units[i].ms, ms);
  return false;
}

void duration_format(int64_t ms, char *out, size_t size) {
  if (ms < 1000)
    (void)snprintf(out, size, "%" PRId64 " ms", ms);
  else if (ms < 60000)
    (void)snprintf(out, size, "%.1f s", (double)ms / 1000);
  else if (ms < 3600000)
    (void)snprintf(out, size, "%" PRId64 " min", ms / 60000);
  else if (ms < 86400000)
    (void)snprintf(out, size, "%" PRId64 " h", ms / 3600000);
  else
    (void)snprintf(out, size, "%" PRId64 " d", ms / 86400000);
}

/* ---- help ------------------------------------------------------------------------------------ */

static void help_option(const char *name, const char *value, const char *text) {
  char left[64];
  (void)snprintf(left, sizeof left, "--%s%s%s", name, value ? " " : "", value ? value : "");
  (void)printf("  %-24s %s\n", left, text);
}

static void help_print(const struct command_line *line) {
  (void)printf("usage: %s%s%s%s\n\n%s\n\noptions:\n", line->command, line->usage[0] ? " " : "",
               line->usage, line->option_count > 0 ? " [options]" : "", line->about);
  for (size_t i = 0; i < line->option_count; i++)
    help_option(line->options[i].name, line->options[i].value, line->options[i].help);
  help_option("help", NULL, "this text");
}

/* ---- parsing --------------------------------------------------------------------------------- */

static enum parsed wrong(const struct command_line *line, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static enum parsed wrong(const struct command_line *line, const char *format, ...) {
  va_list args;
  va_start(args, format);
  (void)fprintf(stderr, "%s: ", line->command);
  (void)vfprintf(stderr, format, args);
  (void)fprintf(stderr, "\nusage: %s%s%s\n`%s --help` says more.\n", line->command,
                line->usage[0] ? " " : "", line->usage, line->command);
  va_end(args);
  return PARSED_WRONG;
}

static enum parsed unknown_option(const struct command_line *line, const char *name) {
  const char *names[OPTIONS_MAX + 2];
  size_t count = 0;
  for (size_t i = 0; i < line->option_count && count < OPTIONS_MAX; i++)
    names[count++] = line->options[i].name;
  names[count++] = "help";
  names[count] = NULL;
  const char *nearest = nearest_name(name, names);
  if (nearest) return wrong(line, "unknown option --%s; did you mean --%s?", name, nearest);
  return wrong(line, "unknown option --%s", name);
}

static bool is_choice(const char *choices, const char *text) {
  size_t length = strlen(text);
  for (const char *at = choices; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL)
    if (strcspn(at, "|") == length && strncmp(at, text, length) == 0) return true;
  return false;
}

static bool parse_integer(const char *text, int64_t *out) {
  char *end;
  errno = 0;
  intmax_t value = strtoimax(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0') return false;
  *out = (int64_t)value;
  return true;
}

static enum parsed take_value(const struct command_line *line, const struct option *option,
                              const char *text) {
  int64_t number = 0;
  switch (option->kind) {
  case OPTION_FLAG: *(bool *)option->out = true; return PARSED_GO;
  case OPTION_TEXT: *(const char **)option->out = text; return PARSED_GO;
  case OPTION_CHOICE:
    if (!is_choice(option->choices, text))
      return wrong(line, "--%s: one of %s, not \"%s\"", option->name, option->choices, text);
    *(const char **)option->out = text;
    return PARSED_GO;
  case OPTION_INTEGER:
    if (!parse_integer(text, &number) || number < option->min || number > option->max)
      return wrong(line, "--%s: a number from %" PRId64 " to %" PRId64 ", not \"%s\"", option->name,
                   option->min, option->max, text);
    *(int64_t *)option->out = number;
    return PARSED_GO;
  case OPTION_DURATION:
    if (!duration_parse(text, &number) || number < option->min || number > option->max)
      return wrong(line, "--%s: a duration as 500ms, 30s, 5m, 24h, not \"%s\"", option->name, text);
    *(int64_t *)option->out = number;
    return PARSED_GO;
  }
  return PARSED_WRONG;
}

static const struct option *find_option(const struct command_line *line, const char *name,
                                        size_t length) {
  for (size_t i = 0; i < line->option_count; i++)
    if (strlen(line->options[i].name) == length &&
        strncmp(line->options[i].name, name, length) == 0)
      return &line->options[i];
  return NULL;
}

/* `at` is the place of the option in argv; moved on when the value is the next word. */
static enum parsed parse_option(const struct command_line *line, int argc, char **argv, int *at) {
  const char *name = argv[*at] + 2;
  size_t length = strcspn(name, "=");
  const struct option *option = find_option(line, name, length);
  if (strcmp(name, "help") == 0) {
    help_print(line);
    return PARSED_HELP;
  }
  if (!option) {
    char shown[64];
    (void)snprintf(shown, sizeof shown, "%.*s", (int)(length < 60 ? length : 60), name);
    return unknown_option(line, shown);
  }
  bool has_value = name[length] == '=';
  if (option->kind == OPTION_FLAG) {
    if (has_value) return wrong(line, "--%s takes no value", option->name);
    return take_value(line, option, NULL);
  }
  if (has_value) return take_value(line, option, name + length + 1);
  if (*at + 1 >= argc) return wrong(line, "--%s needs %s", option->name, option->value);
  return take_value(line, option, argv[++*at]);
}

static bool is_argument(const char *word) {
  return word[0] != '-' || word[1] == '\0' || isdigit((unsigned char)word[1]) || word[1] == '.';
}

enum parsed options_parse(const struct command_line *line, int *argc, char **argv) {
  int kept = 0;
  bool only_arguments = false;
  for (int i = 0; i < *argc; i++) {
    enum parsed parsed = PARSED_GO;
    if (only_arguments || is_argument(argv[i])) {
      argv[kept++] = argv[i];
    } else if (strcmp(argv[i], "--") == 0) {
      only_arguments = true;
    } else if (strcmp(argv[i], "-h") == 0) {
      help_print(line);
      return PARSED_HELP;
    } else if (argv[i][1] != '-') {
      return wrong(line, "unknown option %s", argv[i]);
    } else {
      parsed = parse_option(line, *argc, argv, &i);
    }
    if (parsed != PARSED_GO) return parsed;
  }
  *argc = kept;
  if (kept < line->argument_min) return wrong(line, "too few arguments");
  if (kept > line->argument_max)
    return wrong(line, "\"%s\" is one argument too many", argv[line->argument_max]);
  return PARSED_GO;
}
