/* See postgres_kept.h. */
#include "adapters/postgres_kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a, of eight bytes at a time. Two texts of one sum are told apart by themselves where it matters; among the seen ones they
 * only come to be kept a little early. Never 0. */
static uint64_t sum_of(const char *sql, size_t length) {
  uint64_t sum = 14695981039346656037U;
  for (size_t i = 0; i < length; i += sizeof(uint64_t)) {
    uint64_t word = 0;
    memcpy(&word, sql + i, length - i < sizeof word ? length - i : sizeof word);
    sum = (sum ^ word) * 1099511628211U;
    sum ^= sum >> 32; /* a multiplication carries upwards only */
  }
  return sum ? sum : 1;
}

static bool seen_before(struct seen_texts *seen, uint64_t sum) {
  uint64_t *place = &seen->sums[sum % SEEN_MAX];
  if (*place == sum) return true;
  *place = sum;
  return false;
}

static const struct kept_text *find(const struct kept_texts *kept, uint64_t sum, const char *sql) {
  for (size_t i = 0; i < kept->count; i++)
    if (kept->texts[i].sum == sum && strcmp(kept->texts[i].sql, sql) == 0) return &kept->texts[i];
  return NULL;
}

static const struct kept_text *add(struct kept_texts *kept, uint64_t sum, const char *sql) {
  if (kept_is_full(kept)) return NULL;
  char *copy = strdup(sql);
  if (!copy) return NULL;
  struct kept_text *text = &kept->texts[kept->count++];
  *text = (struct kept_text){.sum = sum, .sql = copy};
  (void)snprintf(text->name, sizeof text->name, "assent_kept_%u", ++kept->last_number);
  return text;
}

enum kept_answer kept_look_up(struct kept_texts *kept, struct seen_texts *seen, const char *sql,
                              const char **name) {
  size_t length = strlen(sql);
  if (length > KEPT_TEXT_MAX) return KEPT_NOT;
  uint64_t sum = sum_of(sql, length);
  enum kept_answer answer = KEPT_THERE;
  const struct kept_text *text = find(kept, sum, sql);
  if (!text) {
    answer = KEPT_NEW;
    if (seen_before(seen, sum)) text = add(kept, sum, sql);
    if (!text) return KEPT_NOT;
  }
  *name = text->name;
  return answer;
}

bool kept_is_full(const struct kept_texts *kept) {
  return kept->count == KEPT_MAX;
}

void kept_clear(struct kept_texts *kept) {
  for (size_t i = 0; i < kept->count; i++)
    free(kept->texts[i].sql);
  kept->count = 0;
}
