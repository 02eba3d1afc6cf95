/* Texts that a session has prepared on its server, so that they are parsed and planned once.
 *
 * What stands here is there on the server, or a Parse for it is in the pipeline. An error skips such a
 * Parse, so whoever ends a failed branch clears the table, as DISCARD ALL does on the server. A function
 * of the user's may DEALLOCATE what we keep: then the server says so (26000) before anything has
 * happened under that name, and the branch is run again without.
 *
 * A text is kept when it is seen for the second time by any session of the database: texts with their
 * values written in come only once. When the table is full, nothing more is kept, and `kept_is_full` asks
 * for a DISCARD ALL at the branch's end, from which it fills anew.
 * Limits: KEPT_MAX texts of at most KEPT_TEXT_MAX bytes a session; SEEN_MAX of the database are recognized.
 */
#ifndef ASSENT_ADAPTERS_POSTGRES_KEPT_H
#define ASSENT_ADAPTERS_POSTGRES_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEPT_MAX = 64, KEPT_TEXT_MAX = 4096, KEPT_NAME_SIZE = 32, SEEN_MAX = 1024 };

/* Of a database: sums of texts that were seen. Starts as zeros. */
struct seen_texts {
  uint64_t sums[SEEN_MAX];
};

struct kept_text {
  uint64_t sum;
  char *sql; /* owned */
  char name[KEPT_NAME_SIZE];
};

/* Of a session. Starts as zeros. */
struct kept_texts {
  struct kept_text texts[KEPT_MAX];
  size_t count;
  unsigned last_number; /* names are never used twice: a clear may be late */
};

enum kept_answer {
  KEPT_NOT, /* send the text itself */
  KEPT_NEW, /* prepare it under this name, then use it */
  KEPT_THERE
};
/* What to do with a text; its name in the other two cases, borrowed until the next call. Without memory:
 * KEPT_NOT. */
enum kept_answer kept_look_up(struct kept_texts *kept, struct seen_texts *seen, const char *sql,
                              const char **name);
bool kept_is_full(const struct kept_texts *kept);
void kept_clear(struct kept_texts *kept);

#endif
