/* Command-line options against a table, with the nearest known name for what is not in it.
 *
 * Options may stand anywhere; `--name value` and `--name=value` are the same; after `--` everything
 * is an argument. What begins with a minus and a digit is an argument too: -5 is a number.
 */
#ifndef ASSENT_CLI_OPTIONS_H
#define ASSENT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* What a command ends with; part of the interface (`assent --help` lists them). */
enum exit_code {
  EXIT_DONE = 0,      /* done; committed, where the command waits for an outcome */
  EXIT_REFUSED = 1,   /* aborted, or the coordinator refused the request */
  EXIT_USAGE = 2,     /* the command line is wrong; nothing was sent */
  EXIT_UNKNOWN = 3,   /* the outcome is not known yet; the text says how to ask again */
  EXIT_NOT_TAKEN = 4, /* nothing happened: no coordinator there, or it takes no work now */
  EXIT_MIXED = 5 /* somebody forced a branch by hand: neither committed nor aborted as a whole */
};

enum option_kind {
  OPTION_FLAG,     /* bool */
  OPTION_TEXT,     /* const char *, borrowed from argv */
  OPTION_INTEGER,  /* int64_t */
  OPTION_DURATION, /* int64_t, milliseconds; 500ms, 30s, 5m, 24h, 7d */
  OPTION_CHOICE    /* const char *; one of `choices`, separated by | */
};

struct option {
  const char *name;  /* without the dashes */
  const char *value; /* how help calls the value: "ID"; NULL for a flag */
  const char *help;
  enum option_kind kind;
  void *out;
  int64_t min, max; /* INTEGER, DURATION */
  const char *choices;
};

struct command_line {
  const char *command; /* "assent tx begin", for messages */
  const char *usage;   /* what follows it: "ID PARTICIPANT SQL [PARAM...]" */
  const char *about;   /* a few lines, for --help */
  const struct option *options;
  size_t option_count;
  int argument_min, argument_max;
};

enum parsed { PARSED_GO, PARSED_HELP, PARSED_WRONG };

/* Moves the arguments to the front of argv (argv[0] is the first one; nothing is skipped) and their
 * number to *argc. WRONG: said on stderr what is. HELP: printed on stdout. */
enum parsed options_parse(const struct command_line *line, int *argc, char **argv);

/* "500ms", "30s", "5m", "24h", "7d", in milliseconds. */
bool duration_parse(const char *text, int64_t *ms);
/* In the form duration_parse() reads, to one unit, for people: "350 ms", "2.4 s", "3 min". */
void duration_format(int64_t ms, char *out, size_t size);

/* The nearest of `names` (ends with NULL) by edits; NULL when none is near. */
const char *nearest_name(const char *text, const char *const *names);

#endif
