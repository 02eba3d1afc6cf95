/* See disk_image.h. */
#include "tests/sim/disk_image.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void image_clear(struct image *image) {
  for (size_t i = 0; i < image->count; i++)
    free((void *)(uintptr_t)image->entries[i].record);
  free(image->entries);
  free(image->audits);
  for (size_t i = 0; i < image->key_count; i++)
    free(image->keys[i]);
  free(image->keys);
  *image = (struct image){0};
}

static void add(struct image *image, const struct disk_entry *entry) {
  if (image->count == image->capacity) {
    image->capacity = image->capacity ? 2 * image->capacity : 16;
    image->entries = memory_must(realloc(image->entries, image->capacity * sizeof *image->entries));
  }
  struct disk_entry *added = &image->entries[image->count++];
  *added = *entry;
  added->record = record_copy(entry->record);
}

static void add_audit(struct image *image, const char *txid, const char *event) {
  size_t size = (image->audit_count + 1) * sizeof *image->audits;
  image->audits = memory_must(realloc(image->audits, size));
  struct image_audit *audit = &image->audits[image->audit_count++];
  (void)snprintf(audit->txid, sizeof audit->txid, "%s", txid);
  (void)snprintf(audit->event, sizeof audit->event, "%s", event);
}

static struct wal_key **find_key(const struct image *image, const char *name_space,
                                 const char *name) {
  for (size_t i = 0; i < image->key_count; i++)
    if (strcmp(image->keys[i]->name_space, name_space) == 0 &&
        strcmp(image->keys[i]->name, name) == 0)
      return &image->keys[i];
  return NULL;
}

static bool put_key(struct image *image, const struct wal_key *key) {
  struct wal_key **there = find_key(image, key->name_space, key->name);
  if (there) {
    bool same = strcmp((*there)->txid.text, key->txid.text) == 0 &&
                strcmp((*there)->fingerprint, key->fingerprint) == 0;
    free(*there);
    *there = key_copy(key);
    return same;
  }
  size_t size = (image->key_count + 1) * sizeof *image->keys;
  image->keys = memory_must(realloc(image->keys, size));
  image->keys[image->key_count++] = key_copy(key);
  return true;
}

void image_copy(struct image *to, const struct image *from) {
  image_clear(to);
  for (size_t i = 0; i < from->count; i++)
    add(to, &from->entries[i]);
  for (size_t i = 0; i < from->audit_count; i++)
    add_audit(to, from->audits[i].txid, from->audits[i].event);
  for (size_t i = 0; i < from->key_count; i++)
    (void)put_key(to, from->keys[i]);
}

static struct disk_entry *find(const struct image *image, const char *txid) {
  for (size_t i = 0; i < image->count; i++)
    if (strcmp(image->entries[i].record->txid.text, txid) == 0) return &image->entries[i];
  return NULL;
}

const struct disk_entry *image_find(const struct image *image, const char *txid) {
  return find(image, txid);
}

/* Records are made by record_copy(), in memory of ours. */
static struct wal_record *writable(struct disk_entry *entry) {
  return (struct wal_record *)(uintptr_t)entry->record;
}

static void apply_confirm(struct image *image, const struct store_confirm *confirm) {
  struct disk_entry *entry = find(image, confirm->txid.text);
  if (!entry) return;
  struct wal_branch *branches = (struct wal_branch *)(uintptr_t)entry->record->branches;
  for (size_t i = 0; i < entry->record->branch_count; i++) {
    if (branches[i].id != confirm->branch) continue;
    branches[i].confirmed = true;
    branches[i].outcome = confirm->outcome;
  }
}

static void apply_end(struct image *image, const struct store_end *end) {
  struct disk_entry *entry = find(image, end->txid.text);
  if (!entry) return;
  struct wal_record *record = writable(entry);
  record->outcome = end->outcome;
  if (end->has_cause) record->cause = end->cause;
  if (end->decided_at_us) record->decided_at_us = end->decided_at_us;
  if (end->applied_at_us) record->applied_at_us = end->applied_at_us;
  record_end_branches((struct wal_branch *)(uintptr_t)record->branches, record->branch_count,
                      end->outcome);
  entry->ended = true;
  entry->ended_at_us = end->ended_at_us;
}

static bool apply_put(struct image *image, const struct job *job) {
  const struct wal_record *record = job->is.put.record;
  const struct disk_entry *there = find(image, record->txid.text);
  if (!there) {
    add(image, &(struct disk_entry){.record = record,
                                    .ended = job->kind == JOB_NOTE,
                                    .ended_at_us = job->is.put.ended_at_us});
    return !record->key || put_key(image, record->key);
  }
  return job->kind == JOB_NOTE && there->record->kind == WAL_KIND_ABORTED;
}

bool image_apply(struct image *image, const struct job *job) {
  switch (job->kind) {
  case JOB_DECIDE:
  case JOB_NOTE: return apply_put(image, job);
  case JOB_AUDIT:
    add_audit(image, job->is.audit.txid.text, job->is.audit.event);
    return !job->with || image_apply(image, job->with);
  case JOB_CONFIRM: apply_confirm(image, &job->is.confirm); break;
  case JOB_END: apply_end(image, &job->is.end); break;
  case JOB_REMEMBER:
  case JOB_ANSWER: return put_key(image, job->is.key);
  case JOB_LOOK_UP:
  case JOB_LOOK_UP_KEY:
  case JOB_LIST: break;
  }
  return true;
}

void image_remove(struct image *file, struct image *view, int64_t ended_us) {
  for (size_t i = 0; i < file->count; i++) {
    struct disk_entry *entry = &file->entries[i];
    if (entry->removed || !entry->ended || entry->ended_at_us > ended_us) continue;
    entry->removed = true;
    find(view, entry->record->txid.text)->removed = true;
  }
}

/* ---- reading ---------------------------------------------------------------------------------- */

static bool has_branch_at(const struct wal_record *record, const char *participant) {
  for (size_t i = 0; i < record->branch_count; i++)
    if (strcmp(record->branches[i].participant, participant) == 0) return true;
  return false;
}

/* Of a mixed one: was it decided so? */
static bool has_outcome(const struct wal_record *record, enum wal_outcome outcome) {
  if (outcome == WAL_OUTCOME_NONE || record->outcome == outcome) return true;
  bool committed = record->kind != WAL_KIND_ABORTED;
  return record->outcome == WAL_OUTCOME_MIXED && (outcome == WAL_OUTCOME_COMMITTED) == committed;
}

static bool matches(const struct disk_entry *entry, const struct wal_filter *filter) {
  const struct wal_record *record = entry->record;
  if (entry->removed) return false;
  if (filter->before.text[0] && strcmp(record->txid.text, filter->before.text) >= 0) return false;
  if (filter->applied_only && !entry->ended) return false;
  if (filter->label && (!record->label || strcmp(record->label, filter->label) != 0)) return false;
  if (filter->participant && !has_branch_at(record, filter->participant)) return false;
  return has_outcome(record, filter->outcome);
}

static int newest_first(const void *a, const void *b) {
  const struct wal_record *const *x = a, *const *y = b;
  return strcmp((*y)->txid.text, (*x)->txid.text);
}

static void list(const struct image *image, struct job *job) {
  const struct wal_record **found =
      memory_must(calloc(image->count + 1, sizeof(const struct wal_record *)));
  size_t count = 0;
  for (size_t i = 0; i < image->count; i++)
    if (matches(&image->entries[i], &job->is.filter)) found[count++] = image->entries[i].record;
  qsort(found, count, sizeof(const struct wal_record *), newest_first);
  for (size_t i = 0; i < count && i < job->is.filter.limit; i++)
    record_list_add(&job->records, found[i]);
  free(found);
}

void image_read(const struct image *image, struct job *job) {
  if (job->kind == JOB_LIST) {
    list(image, job);
    return;
  }
  const struct txid *txid = &job->is.txid;
  if (job->kind == JOB_LOOK_UP_KEY) {
    struct wal_key **key = find_key(image, job->is.named.name_space, job->is.named.name);
    if (!key) return;
    job->found_key = key_copy(*key);
    txid = &job->found_key->txid;
  }
  const struct disk_entry *entry = find(image, txid->text);
  if (entry && !entry->removed) record_list_add(&job->records, entry->record);
}
