/* See proxy_internal.h. HTTP/1.1 as our own client writes it: a head, and a body of Content-Length
 * bytes. Anything else makes a tape deaf; it is passed all the same, it is only not repeated. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/proxy_internal.h"

enum { CAPACITY_FIRST = 1024 };

static void become_deaf(struct request_tape *tape) {
  free(tape->bytes);
  *tape = (struct request_tape){.begun = true, .deaf = true};
}

/* A repetition has to fit into a pipe. */
static bool reserve(struct request_tape *tape, size_t more) {
  size_t wanted = tape->length + more, capacity = tape->capacity ? tape->capacity : CAPACITY_FIRST;
  if (wanted > CHUNK_BYTES) return false;
  while (capacity < wanted)
    capacity *= 2;
  if (capacity == tape->capacity) return true;
  char *longer = realloc(tape->bytes, capacity);
  if (!longer) return false;
  tape->bytes = longer;
  tape->capacity = capacity;
  return true;
}

/* The value of a header in a head of `length` bytes; NULL: not there. */
static const char *header(const char *head, size_t length, const char *name) {
  size_t name_length = strlen(name);
  const char *end = head + length;
  for (const char *line = memchr(head, '\n', length); line && end - line > (ptrdiff_t)name_length;
       line = memchr(line, '\n', (size_t)(end - line))) {
    line++;
    if (strncasecmp(line, name, name_length) == 0) return line + name_length;
  }
  return NULL;
}

/* How long the request is, once its head is there. */
static bool measure(struct request_tape *tape) {
  const char *blank = memmem(tape->bytes, tape->length, "\r\n\r\n", 4);
  if (!blank) return true;
  size_t head = (size_t)(blank - tape->bytes) + 4;
  if (header(tape->bytes, head, "Transfer-Encoding:")) return false;
  const char *value = header(tape->bytes, head, "Content-Length:");
  unsigned long body = value ? strtoul(value, NULL, 10) : 0;
  tape->whole = head + body;
  return body <= CHUNK_BYTES;
}

size_t tape_take(struct request_tape *tape, const char *bytes, size_t length, bool *complete) {
  *complete = false;
  if (length == 0) return 0;
  if (!tape->begun) tape->deaf = *bytes < 'A' || *bytes > 'Z';
  tape->begun = true;
  if (tape->deaf) return length;
  size_t before = tape->length;
  if (!reserve(tape, length)) {
    become_deaf(tape);
    return length;
  }
  memcpy(tape->bytes + before, bytes, length);
  tape->length += length;
  if (tape->whole == 0 && !measure(tape)) {
    become_deaf(tape);
    return length;
  }
  if (tape->whole == 0 || tape->length < tape->whole) return length;
  *complete = true;
  tape->length = tape->whole;
  return tape->whole - before;
}

void tape_rewind(struct request_tape *tape) {
  free(tape->bytes);
  *tape = (struct request_tape){.begun = true};
}

void tape_free(struct request_tape *tape) {
  free(tape->bytes);
  *tape = (struct request_tape){.begun = false};
}
