/* See record.h.
 *
 * Limits: a participant's name has at most PARTICIPANT_MAX bytes, a label LABEL_MAX; xid, server
 * and gid as in message.h and id.h.
 */
#include "wal/record.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wal/store.h"

/* ---- memory --------------------------------------------------------------------------------- */

void *memory_must(void *memory) {
  if (!memory) {
    (void)fputs("decision log: out of memory\n", stderr);
    abort();
  }
  return memory;
}

char *text_copy(const char *text) {
  return text ? memory_must(strdup(text)) : NULL;
}

/* ---- checking ------------------------------------------------------------------------------- */

static bool is_shorter(const char *text, size_t size) {
  return text && strnlen(text, size) < size;
}

static const char *branch_fault(const struct wal_branch *branch, const struct wal_record *record,
                                const struct cluster_id *cluster) {
  struct gid gid;
  if (!branch->gid || !gid_parse(branch->gid, &gid)) return "a branch's gid is not one";
  if (strcmp(gid.cluster.text, cluster->text) != 0) return "a branch's gid is of another cluster";
  if (strcmp(gid.txid.text, record->txid.text) != 0 || gid.branch != branch->id)
    return "a branch's gid is of another transaction or branch";
  if (!is_shorter(branch->participant, PARTICIPANT_MAX + 1) || branch->participant[0] == '\0')
    return "a branch's participant is not a name";
  if (!is_shorter(branch->xid, XID_SIZE)) return "a branch's xid is too long";
  if (!is_shorter(branch->server, SERVER_SIZE)) return "a branch's server is too long";
  if (branch->outcome > BRANCH_OUTCOME_UNVERIFIABLE) return "a branch's outcome is unknown";
  return NULL;
}

static bool is_printable(const char *text, size_t max) {
  size_t length = strnlen(text, max + 1);
  for (size_t i = 0; i < length; i++)
    if (text[i] < ' ' || text[i] > '~') return false;
  return length <= max;
}

const char *key_fault(const struct wal_key *key) {
  struct txid txid;
  if (!key->name_space || !is_printable(key->name_space, KEY_NAMESPACE_MAX))
    return "the name space of its key is not one";
  if (!key->name || key->name[0] == '\0' || !is_printable(key->name, KEY_NAME_MAX))
    return "its key is not one";
  if (!key->fingerprint || strlen(key->fingerprint) != FINGERPRINT_SIZE - 1 ||
      strspn(key->fingerprint, "0123456789abcdef") != FINGERPRINT_SIZE - 1)
    return "the fingerprint of its key is not one";
  if (!txid_parse(key->txid.text, &txid)) return "the transaction of its key is not one";
  if (key->status != 0 && (key->status < 100 || key->status > 599))
    return "the answer to its key has no status";
  if ((key->status == 0) != (key->body == NULL)) return "the answer to its key is not whole";
  return NULL;
}

const char *record_fault(const struct wal_record *record, const struct cluster_id *cluster) {
  struct txid txid;
  if (!txid_parse(record->txid.text, &txid)) return "the txid is not one";
  if (record->kind > WAL_KIND_DELEGATED) return "the kind is unknown";
  if (record->outcome > WAL_OUTCOME_MIXED) return "the outcome is unknown";
  if (record->outcome == WAL_OUTCOME_NONE && record->kind != WAL_KIND_DELEGATED)
    return "it has no outcome";
  if (record->label && !is_shorter(record->label, LABEL_MAX + 1)) return "the label is too long";
  if (record->owner && (record->owner[0] == '\0' || !is_printable(record->owner, OWNER_MAX)))
    return "the owner is not one";
  if (record->timeout_ms < 0) return "the timeout is negative";
  if (record->cause.kind > CAUSE_LIMIT) return "the cause is unknown";
  if (record->kind != WAL_KIND_ABORTED && record->branch_count == 0) return "it has no branches";
  if (record->kind == WAL_KIND_DELEGATED && record->branch_count != 1)
    return "it is delegated and has more than one branch";
  for (size_t i = 0; i < record->branch_count; i++) {
    const char *fault = branch_fault(&record->branches[i], record, cluster);
    if (fault) return fault;
    if (i > 0 && record->branches[i].id <= record->branches[i - 1].id)
      return "its branches are not in the order of their ids";
  }
  if (!record->key) return NULL;
  if (strcmp(record->key->txid.text, record->txid.text) != 0)
    return "its key is of another transaction";
  return key_fault(record->key);
}

/* ---- the end -------------------------------------------------------------------------------- */

void record_end_branches(struct wal_branch *branches, size_t count, enum wal_outcome outcome) {
  if (outcome != WAL_OUTCOME_COMMITTED && outcome != WAL_OUTCOME_ABORTED) return;
  for (size_t i = 0; i < count; i++) {
    if (branches[i].read_only || branches[i].confirmed) continue;
    branches[i].confirmed = true;
    branches[i].outcome =
        outcome == WAL_OUTCOME_COMMITTED ? BRANCH_OUTCOME_COMMITTED : BRANCH_OUTCOME_ABORTED;
  }
}

/* ---- the sum: FNV-1a, 64 bits --------------------------------------------------------------- */

static uint64_t sum_bytes(uint64_t sum, const void *data, size_t size) {
  const unsigned char *bytes = data;
  for (size_t i = 0; i < size; i++)
    sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
  return sum;
}

/* With its NUL, so that the border between two texts counts; no text at all is yet another thing.
 */
static uint64_t sum_text(uint64_t sum, const char *text) {
  return text ? sum_bytes(sum, text, strlen(text) + 1) : sum_bytes(sum, "\1", 2);
}

/* Byte by byte from the lowest: the file may move to a machine of another byte order. */
static uint64_t sum_int(uint64_t sum, int64_t value) {
  unsigned char bytes[8];
  for (unsigned i = 0; i < sizeof bytes; i++)
    bytes[i] = (unsigned char)((uint64_t)value >> (8 * i));
  return sum_bytes(sum, bytes, sizeof bytes);
}

int64_t record_sum(const struct wal_record *record) {
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  sum = sum_text(sum, record->txid.text);
  sum = sum_int(sum, (int64_t)record->kind);
  sum = sum_text(sum, record->label);
  sum = sum_int(sum, record->created_at_us);
  sum = sum_int(sum, record->timeout_ms);
  sum = sum_int(sum, record->wait_decided);
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *branch = &record->branches[i];
    sum = sum_int(sum, branch->id);
    sum = sum_text(sum, branch->participant);
    sum = sum_text(sum, branch->gid);
    sum = sum_text(sum, branch->xid);
    sum = sum_text(sum, branch->server);
    sum = sum_int(sum, branch->read_only);
  }
  if (record->owner) sum = sum_text(sum, record->owner); /* not in logs before format 5 */
  return (int64_t)sum;
}

int64_t key_sum(const struct wal_key *key) {
  uint64_t sum = UINT64_C(0xcbf29ce484222325);
  sum = sum_text(sum, key->name_space);
  sum = sum_text(sum, key->name);
  sum = sum_text(sum, key->fingerprint);
  sum = sum_text(sum, key->txid.text);
  sum = sum_int(sum, key->at_us);
  sum = sum_int(sum, key->status);
  sum = sum_text(sum, key->body);
  sum = sum_text(sum, key->results);
  return (int64_t)sum;
}

/* ---- copying -------------------------------------------------------------------------------- */

static size_t text_size(const char *text) {
  return text ? strlen(text) + 1 : 0;
}

static const char *put_text(char **to, const char *text) {
  if (!text) return NULL;
  size_t size = strlen(text) + 1;
  char *at = memcpy(*to, text, size);
  *to += size;
  return at;
}

static size_t key_texts_size(const struct wal_key *key) {
  return text_size(key->name_space) + text_size(key->name) + text_size(key->fingerprint) +
         text_size(key->body) + text_size(key->results);
}

static void put_key(struct wal_key *to, char **text, const struct wal_key *key) {
  *to = *key;
  to->name_space = put_text(text, key->name_space);
  to->name = put_text(text, key->name);
  to->fingerprint = put_text(text, key->fingerprint);
  to->body = put_text(text, key->body);
  to->results = put_text(text, key->results);
}

struct wal_key *key_copy(const struct wal_key *key) {
  struct wal_key *copy = memory_must(malloc(sizeof *copy + key_texts_size(key)));
  char *text = (char *)(copy + 1);
  put_key(copy, &text, key);
  return copy;
}

static size_t texts_size(const struct wal_record *record) {
  size_t size = text_size(record->label) + text_size(record->owner);
  for (size_t i = 0; i < record->branch_count; i++) {
    const struct wal_branch *b = &record->branches[i];
    size +=
        text_size(b->participant) + text_size(b->gid) + text_size(b->xid) + text_size(b->server);
  }
  for (size_t i = 0; i < record->line_count; i++)
    size += text_size(record->lines[i].event) + text_size(record->lines[i].detail);
  return record->key ? size + key_texts_size(record->key) : size;
}

struct wal_record *record_copy(const struct wal_record *record) {
  struct block {
    struct wal_record record;
    struct wal_key key;
    struct wal_branch branches[]; /* and after them the lines, and the texts */
  };
  size_t branches_size = record->branch_count * sizeof(struct wal_branch);
  size_t lines_size = record->line_count * sizeof(struct wal_line);
  struct block *block =
      memory_must(malloc(sizeof *block + branches_size + lines_size + texts_size(record)));
  struct wal_line *lines = (void *)&block->branches[record->branch_count];
  char *text = (char *)&lines[record->line_count];

  block->record = *record;
  block->record.branches = block->branches;
  block->record.label = put_text(&text, record->label);
  block->record.owner = put_text(&text, record->owner);
  for (size_t i = 0; i < record->branch_count; i++) {
    struct wal_branch *branch = &block->branches[i];
    *branch = record->branches[i];
    branch->participant = put_text(&text, branch->participant);
    branch->gid = put_text(&text, branch->gid);
    branch->xid = put_text(&text, branch->xid);
    branch->server = put_text(&text, branch->server);
  }
  block->record.lines = lines;
  for (size_t i = 0; i < record->line_count; i++) {
    lines[i] = record->lines[i];
    lines[i].event = put_text(&text, lines[i].event);
    lines[i].detail = put_text(&text, lines[i].detail);
  }
  if (record->key) {
    put_key(&block->key, &text, record->key);
    block->record.key = &block->key;
  }
  return &block->record;
}

void record_list_add(struct record_list *list, const struct wal_record *record) {
  if (list->count == list->capacity) {
    list->capacity = list->capacity ? 2 * list->capacity : 16;
    list->items = memory_must(realloc(list->items, list->capacity * sizeof *list->items));
    list->blocks = memory_must(realloc(list->blocks, list->capacity * sizeof *list->blocks));
  }
  list->blocks[list->count] = record_copy(record);
  list->items[list->count] = *list->blocks[list->count];
  list->count++;
}

void record_list_clear(struct record_list *list) {
  for (size_t i = 0; i < list->count; i++)
    free(list->blocks[i]);
  free(list->items);
  free(list->blocks);
  *list = (struct record_list){0};
}
