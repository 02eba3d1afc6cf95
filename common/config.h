/* Configuration files in INI form, read against a table of what is allowed.
 *
 *   ; a comment is a line that begins with ; or #
 *   [section]            or [section.NAME], where NAME is the user's ([a-z][a-z0-9_]*, at most 32)
 *   key = value          the value goes to the end of the line, quotes, ; and # included
 *
 * A key of the kind CONFIG_TEXT may go on: lines that begin with a blank are part of its value, as they
 * are, and so are empty ones between them. Nothing need stand behind its =.
 *
 * Every mistake is refused with file, line, key, what was expected and what came: unknown sections
 * and keys (with the nearest known name), repeated keys, values out of range, bad units. Nothing
 * has a hidden default: the table holds them, and `--check-config` prints what is in force.
 */
#ifndef ASSENT_COMMON_CONFIG_H
#define ASSENT_COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/error.h"

enum config_kind {
  CONFIG_STRING,   /* char *, owned by the settings struct */
  CONFIG_INTEGER,  /* int64_t */
  CONFIG_DURATION, /* int64_t, milliseconds; written 500ms, 30s, 5m, 24h, 7d */
  CONFIG_BYTES,    /* int64_t; written 4096, 64k, 1m */
  CONFIG_BOOLEAN,  /* bool; yes or no, true or false, on or off */
  CONFIG_LISTEN,   /* char *; address:port, [v6]:port */
  CONFIG_CHOICE,   /* int; `choices` separated by |, the value is the position */
  CONFIG_TEXT      /* char *, owned by the settings struct; may have several lines */
};

struct config_key {
  const char *section; /* "coordinator", or "participant.*" */
  const char *name;
  enum config_kind kind;
  size_t offset;         /* in the settings struct, or in the named section's struct */
  const char *otherwise; /* default as text; NULL: stays 0 or NULL */
  int64_t min, max;      /* INTEGER, DURATION, BYTES; both 0: any. TEXT: max bytes */
  const char *choices;
  bool secret; /* printed as "(hidden)" */
};

/* Called when a named section begins ([participant.bank_a]): returns the struct its keys go to, or
 * NULL after filling err (too many). Called once a name; a section may not be opened twice. */
typedef void *(*config_section_fn)(void *settings, const char *section, const char *name,
                                   struct error *err);

/* Sets the defaults, then reads. `path` NULL: defaults only. On error what was read so far must
 * still be released with config_release(). Error texts: "assentd.ini:12: [coordinator] listen:
 * ...". Keys outside a section are an error. */
enum error_code config_read(const char *path, const struct config_key *keys, size_t key_count,
                            void *settings, config_section_fn section, struct error *err)
    __attribute__((warn_unused_result));

/* Prints the keys of one section as INI, with values in force. `section` as in the table;
 * `title` as printed. */
void config_print(FILE *out, const struct config_key *keys, size_t key_count, const char *section,
                  const char *title, const void *base);

/* Frees the strings of one section's struct. */
void config_release(const struct config_key *keys, size_t key_count, const char *section,
                    void *base);

/* Splits "127.0.0.1:7410"; host gets no brackets. */
bool config_split_listen(const char *text, char *host, size_t host_size, uint16_t *port);
bool config_listen_is_loopback(const char *host);

#endif
