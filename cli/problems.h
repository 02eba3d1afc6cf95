/* What was found wrong in a run: counted, the first ones kept as text. */
#ifndef ASSENT_CLI_PROBLEMS_H
#define ASSENT_CLI_PROBLEMS_H

enum { PROBLEM_TEXTS_MAX = 10, PROBLEM_TEXT_SIZE = 400 };

struct problems {
  unsigned count; /* all of them; the first ones have their text here */
  char texts[PROBLEM_TEXTS_MAX][PROBLEM_TEXT_SIZE];
};

void problems_add(struct problems *problems, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Each as a line "  problem: ...", safe for a terminal, on stdout. */
void problems_print(const struct problems *problems);

struct json_writer;
/* As an array of texts. */
void problems_write(const struct problems *problems, struct json_writer *w);

#endif
