/* See sessions.h. */
#include "participant-agent/sessions.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/memory.h"

enum { NUMBER_DIGITS = 6, BACKOFF_MS_MIN = 20, BACKOFF_MS_MAX = 250 };

void session_names_init(struct session_names *names, const char *agent_id,
                        const char *incarnation) {
  assert(strlen(agent_id) < AGENT_ID_SIZE && strlen(incarnation) < RUN_ID_SIZE);
  (void)snprintf(names->any_life, sizeof names->any_life, "assent:%s:", agent_id);
  (void)snprintf(names->this_life, sizeof names->this_life, "assent:%s:%s:", agent_id, incarnation);
}

void session_names_next(struct session_names *names, char out[SESSION_NAME_SIZE]) {
  static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
  char number[NUMBER_DIGITS + 1] = {0};
  uint64_t n = names->next++;
  for (int i = NUMBER_DIGITS - 1; i >= 0; i--, n /= 36)
    number[i] = digits[n % 36];
  int length = snprintf(out, SESSION_NAME_SIZE, "%s%s", names->this_life, number);
  assert(length > 0 && length < SESSION_NAME_SIZE);
}

uint64_t backoff_next_ms(struct backoff *backoff) {
  uint64_t next = backoff->delay_ms ? backoff->delay_ms * 2 : BACKOFF_MS_MIN;
  backoff->delay_ms = next < BACKOFF_MS_MAX ? next : BACKOFF_MS_MAX;
  return backoff->delay_ms;
}

static void *must_have(void *memory, size_t size) {
  if (memory) return memory;
  log_error("out_of_memory", "bytes", "d", (int64_t)size, NULL);
  abort();
}

void *must_allocate(size_t size) {
  return must_have(memory_zeroed(size), size);
}

void *must_resize(void *memory, size_t size) {
  return must_have(realloc(memory, size), size);
}

char *must_copy(const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *copy = must_allocate(size);
  memcpy(copy, text, size);
  return copy;
}

void copy_text(char *out, size_t size, const char *text) {
  size_t length = strnlen(text, size - 1);
  memcpy(out, text, length);
  out[length] = '\0';
}

void agent_cause_set(struct cause *cause, enum cause_kind kind, const char *format, ...) {
  *cause = (struct cause){.kind = kind, .statement = -1};
  va_list args;
  va_start(args, format);
  (void)vsnprintf(cause->text, sizeof cause->text, format, args);
  va_end(args);
}
