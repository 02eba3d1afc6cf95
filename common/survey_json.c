/* The survey's messages in JSON, as message_json.h says. What is empty is left out. */
#include "common/message_json.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static enum error_code invalid(struct error *err, const char *what) {
  return error_set(err, ERR_INVALID, "a survey's %s", what);
}

/* "" stays "". */
static enum error_code decode_txid(const json_t *json, const char *name, struct txid *out,
                                   struct error *err) {
  const char *text = json_get_string(json, name, "");
  out->text[0] = '\0';
  if (text[0] == '\0' || txid_parse(text, out)) return ERR_OK;
  return invalid(err, "transaction id is not one");
}

static enum error_code decode_short(const json_t *json, const char *name, char *out, size_t size,
                                    struct error *err) {
  const char *text = json_get_string(json, name, "");
  if (strlen(text) >= size) return invalid(err, "text is too long");
  (void)strcpy(out, text);
  return ERR_OK;
}

static enum error_code decode_cluster(const json_t *json, struct cluster_id *out,
                                      struct error *err) {
  const char *text = json_get_string(json, "cluster", "");
  out->text[0] = '\0';
  if (text[0] == '\0' || cluster_id_parse(text, out)) return ERR_OK;
  return invalid(err, "cluster is not one");
}

/* ---- the request ------------------------------------------------------------------------------
 */

void survey_request_encode(struct json_writer *w, const struct survey_request *request) {
  json_object_begin(w);
  json_member_text(w, "cluster", request->cluster.text);
  json_key(w, "txids");
  json_array_begin(w);
  for (size_t i = 0; i < request->txid_count; i++)
    json_write_string(w, request->txids[i].text);
  json_array_end(w);
  json_object_end(w);
}

enum error_code survey_request_decode(const json_t *json, struct survey_request *out,
                                      struct txid **txids, struct error *err) {
  static const struct json_field fields[] = {
      {"cluster", JSON_KIND_STRING, false, 0, 0},
      {"txids", JSON_KIND_ARRAY, false, 0, SURVEY_TXIDS_MAX},
  };
  *txids = NULL;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_cluster(json, &out->cluster, err);
  if (code != ERR_OK) return code;
  const json_t *array = json_object_get(json, "txids");
  size_t count = json_array_size(array);
  *txids = calloc(count + 1, sizeof **txids);
  if (!*txids) return error_set(err, ERR_MEMORY, "out of memory for %zu ids", count);
  for (size_t i = 0; i < count; i++) {
    const char *text = json_string_value(json_array_get(array, i));
    if (!text || !txid_parse(text, &(*txids)[i])) {
      free(*txids);
      *txids = NULL;
      return invalid(err, "transaction id is not one");
    }
  }
  out->txids = *txids;
  out->txid_count = count;
  return ERR_OK;
}

/* ---- the reply --------------------------------------------------------------------------------
 */

static void encode_life(struct json_writer *w, const struct survey_life *life) {
  json_object_begin(w);
  json_member_text(w, "cluster", life->cluster.text);
  json_member_integer(w, "epoch", (int64_t)life->epoch);
  json_member_text(w, "run_id", life->run_id);
  json_member_integer(w, "rows_from_epoch", (int64_t)life->rows_from_epoch);
  json_member_integer(w, "rows_before_epoch", (int64_t)life->rows_before_epoch);
  json_member_text(w, "rows_from_txid", life->rows_from_txid.text);
  json_object_end(w);
}

static void encode_branch(struct json_writer *w, const struct prepared_branch *branch) {
  json_object_begin(w);
  json_member_text(w, "gid", branch->gid);
  json_member_text(w, "xid", branch->xid);
  json_member_integer(w, "prepared_at_us", branch->prepared_at_us);
  json_object_end(w);
}

static void encode_outcome(struct json_writer *w, const struct survey_outcome *outcome) {
  json_object_begin(w);
  json_member_text(w, "txid", outcome->txid.text);
  json_member_text(w, "outcome", branch_outcome_name(outcome->outcome));
  json_object_end(w);
}

void survey_reply_encode(struct json_writer *w, const struct survey_reply *reply) {
  json_object_begin(w);
  json_member_text(w, "server", reply->server);
  json_key(w, "lives");
  json_array_begin(w);
  for (size_t i = 0; i < reply->life_count; i++)
    encode_life(w, &reply->lives[i]);
  json_array_end(w);
  json_key(w, "branches");
  json_array_begin(w);
  for (size_t i = 0; i < reply->branch_count; i++)
    encode_branch(w, &reply->branches[i]);
  json_array_end(w);
  json_key(w, "outcomes");
  json_array_begin(w);
  for (size_t i = 0; i < reply->outcome_count; i++)
    encode_outcome(w, &reply->outcomes[i]);
  json_array_end(w);
  json_member_integer(w, "memory_from_epoch", (int64_t)reply->memory_from_epoch);
  json_member_text(w, "memory_after_txid", reply->memory_after_txid.text);
  json_object_end(w);
}

static enum error_code decode_life(const json_t *json, void *item, struct error *err) {
  static const struct json_field fields[] = {
      {"cluster", JSON_KIND_STRING, true, 0, 0},
      {"epoch", JSON_KIND_INTEGER, true, 1, INT64_MAX},
      {"run_id", JSON_KIND_STRING, false, 0, 0},
      {"rows_from_epoch", JSON_KIND_INTEGER, false, 1, INT64_MAX},
      {"rows_before_epoch", JSON_KIND_INTEGER, false, 1, INT64_MAX},
      {"rows_from_txid", JSON_KIND_STRING, false, 0, 0},
  };
  struct survey_life *out = item;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_cluster(json, &out->cluster, err);
  if (code == ERR_OK) code = decode_short(json, "run_id", out->run_id, sizeof out->run_id, err);
  if (code == ERR_OK) code = decode_txid(json, "rows_from_txid", &out->rows_from_txid, err);
  if (code != ERR_OK) return code;
  out->epoch = (uint64_t)json_get_integer(json, "epoch", 0);
  out->rows_from_epoch = (uint64_t)json_get_integer(json, "rows_from_epoch", 0);
  out->rows_before_epoch = (uint64_t)json_get_integer(json, "rows_before_epoch", 0);
  return ERR_OK;
}

static enum error_code decode_branch(const json_t *json, void *item, struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},
      {"xid", JSON_KIND_STRING, false, 0, 0},
      {"prepared_at_us", JSON_KIND_INTEGER, false, 0, 0},
  };
  struct prepared_branch *out = item;
  struct gid gid;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_short(json, "gid", out->gid, sizeof out->gid, err);
  if (code == ERR_OK && !gid_parse(out->gid, &gid)) code = invalid(err, "gid is not one");
  if (code == ERR_OK) code = decode_short(json, "xid", out->xid, sizeof out->xid, err);
  if (code == ERR_OK) out->prepared_at_us = json_get_integer(json, "prepared_at_us", 0);
  return code;
}

static enum error_code decode_outcome(const json_t *json, void *item, struct error *err) {
  static const struct json_field fields[] = {
      {"txid", JSON_KIND_STRING, true, 0, 0},
      {"outcome", JSON_KIND_STRING, true, 0, 0},
  };
  struct survey_outcome *out = item;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_txid(json, "txid", &out->txid, err);
  if (code == ERR_OK && !branch_outcome_parse(json_get_string(json, "outcome", ""), &out->outcome))
    code = invalid(err, "outcome is not one");
  return code;
}

/* Owner of *out: the reply. */
static enum error_code decode_array(const json_t *json, const char *name, size_t size,
                                    enum error_code (*decode)(const json_t *, void *,
                                                              struct error *),
                                    void **out, size_t *count, struct error *err) {
  const json_t *array = json_object_get(json, name);
  *count = json_array_size(array);
  char *items = calloc(*count + 1, size);
  *out = items;
  if (!items) return error_set(err, ERR_MEMORY, "out of memory for %zu %s", *count, name);
  enum error_code code = ERR_OK;
  for (size_t i = 0; i < *count && code == ERR_OK; i++)
    code = decode(json_array_get(array, i), items + i * size, err);
  return code;
}

enum error_code survey_reply_decode(const json_t *json, struct survey_reply *out,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"server", JSON_KIND_STRING, false, 0, 0},
      {"lives", JSON_KIND_ARRAY, true, 0, 0},
      {"branches", JSON_KIND_ARRAY, true, 0, 0},
      {"outcomes", JSON_KIND_ARRAY, true, 0, 0},
      {"memory_from_epoch", JSON_KIND_INTEGER, false, 1, INT64_MAX},
      {"memory_after_txid", JSON_KIND_STRING, false, 0, 0},
  };
  void *lives = NULL, *branches = NULL, *outcomes = NULL;
  *out = (struct survey_reply){0};
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_short(json, "server", out->server, sizeof out->server, err);
  if (code == ERR_OK)
    code = decode_array(json, "lives", sizeof(struct survey_life), decode_life, &lives,
                        &out->life_count, err);
  if (code == ERR_OK)
    code = decode_array(json, "branches", sizeof(struct prepared_branch), decode_branch, &branches,
                        &out->branch_count, err);
  if (code == ERR_OK)
    code = decode_array(json, "outcomes", sizeof(struct survey_outcome), decode_outcome, &outcomes,
                        &out->outcome_count, err);
  if (code == ERR_OK) code = decode_txid(json, "memory_after_txid", &out->memory_after_txid, err);
  out->memory_from_epoch = (uint64_t)json_get_integer(json, "memory_from_epoch", 0);
  out->lives = lives;
  out->branches = branches;
  out->outcomes = outcomes;
  return code;
}

void survey_reply_release(struct survey_reply *reply) {
  union { /* they were made here, and are const for everybody else */
    const void *from;
    void *to;
  } lives = {reply->lives}, branches = {reply->branches}, outcomes = {reply->outcomes};
  free(lives.to);
  free(branches.to);
  free(outcomes.to);
  *reply = (struct survey_reply){0};
}
