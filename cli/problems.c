/* See problems.h. */
#include "cli/problems.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/table.h"
#include "common/json.h"

void problems_add(struct problems *problems, const char *format, ...) {
  va_list args;
  va_start(args, format);
  if (problems->count < PROBLEM_TEXTS_MAX)
    (void)vsnprintf(problems->texts[problems->count], PROBLEM_TEXT_SIZE, format, args);
  problems->count++;
  va_end(args);
}

void problems_print(const struct problems *problems) {
  for (unsigned i = 0; i < problems->count && i < PROBLEM_TEXTS_MAX; i++) {
    char text[PROBLEM_TEXT_SIZE];
    text_for_terminal(problems->texts[i], text, sizeof text);
    (void)printf("  problem: %s\n", text);
  }
  if (problems->count > PROBLEM_TEXTS_MAX)
    (void)printf("  and %u more\n", problems->count - PROBLEM_TEXTS_MAX);
}

void problems_write(const struct problems *problems, struct json_writer *w) {
  json_array_begin(w);
  for (unsigned i = 0; i < problems->count && i < PROBLEM_TEXTS_MAX; i++)
    json_write_string(w, problems->texts[i]);
  json_array_end(w);
}
