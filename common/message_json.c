/* See message_json.h. Statements are in statement_json.c.
 *
 * What is empty or unknown in a struct ("", -1, no cause) is left out or null on the wire. A
 * branch's results travel as a string that holds the JSON array: they pass through the coordinator
 * as text, so that no number in them is read and written again.
 */
#include "common/message_json.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define EPOCH_FIELD                                                                                \
  { "epoch", JSON_KIND_INTEGER, true, 1, INT64_MAX }

enum { XID_DIGITS_MAX = 20, SQLSTATE_LENGTH = 5 };

static const char *const run_end_names[] = {
    [RUN_KEEP_OPEN] = "keep_open", [RUN_PREPARE] = "prepare", [RUN_READY] = "ready"};

/* ---- what several messages have ---------------------------------------------------------------
 */

static enum error_code invalid(struct error *err, const char *field, const char *what) {
  error_set(err, ERR_INVALID, "%s is not %s", field, what);
  char pointer[sizeof err->field];
  (void)snprintf(pointer, sizeof pointer, "/%s", field);
  error_field(err, pointer);
  return ERR_INVALID;
}

static bool is_of(const char *text, const char *alphabet, size_t max) {
  size_t length = strlen(text);
  return length >= 1 && length <= max && strspn(text, alphabet) == length;
}

static enum error_code decode_run_id(const json_t *json, const char *name, const char **out,
                                     struct error *err) {
  *out = json_get_string(json, name, "");
  size_t length = 0;
  for (char c = **out; (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'); c = (*out)[length])
    length++;
  if (length >= 1 && length <= RUN_ID_SIZE - 1 && (*out)[length] == '\0') return ERR_OK;
  return invalid(err, name, "an id of a process");
}

/* Here and for `server`: absent, null and "" all read as "". */
static enum error_code decode_xid(const json_t *json, const char **out, struct error *err) {
  *out = json_get_string(json, "xid", "");
  if (**out == '\0' || is_of(*out, "0123456789", XID_DIGITS_MAX)) return ERR_OK;
  return invalid(err, "xid", "a transaction id of a database");
}

static enum error_code decode_server(const json_t *json, const char **out, struct error *err) {
  *out = json_get_string(json, "server", "");
  if (**out == '\0' || is_of(*out, "0123456789/", SERVER_SIZE - 1)) return ERR_OK;
  return invalid(err, "server", "a server's identity");
}

static enum error_code decode_gid(const json_t *json, const char **out, struct error *err) {
  struct gid gid;
  *out = json_get_string(json, "gid", "");
  return gid_parse(*out, &gid) ? ERR_OK : invalid(err, "gid", "a gid");
}

static enum error_code decode_cluster(const json_t *json, struct cluster_id *out,
                                      struct error *err) {
  const char *text = json_get_string(json, "cluster", "");
  return cluster_id_parse(text, out) ? ERR_OK : invalid(err, "cluster", "a cluster id");
}

static void encode_integer(struct json_writer *w, const char *name, int64_t value) {
  json_key(w, name);
  json_write_integer(w, value);
}

static void encode_epoch(struct json_writer *w, uint64_t epoch) {
  assert(epoch <= INT64_MAX);
  encode_integer(w, "epoch", (int64_t)epoch);
}

/* Fits: the source has been checked against, or is bounded by, the size of `to`. */
static void copy(char *to, size_t size, const char *from) {
  size_t length = utf8_prefix(from, strlen(from), size - 1);
  memcpy(to, from, length);
  to[length] = '\0';
}

static void encode_cause(struct json_writer *w, const struct cause *cause) {
  if (cause->kind == CAUSE_NONE) return;
  json_key(w, "cause");
  json_object_begin(w);
  json_key(w, "kind");
  json_write_string(w, cause_kind_name(cause->kind));
  if (cause->branch > 0) encode_integer(w, "branch", cause->branch);
  if (cause->statement >= 0) encode_integer(w, "statement", cause->statement);
  json_member_text(w, "sqlstate", cause->sqlstate);
  json_member_text(w, "message", cause->text);
  if (cause->limit.name) {
    json_key(w, "limit");
    json_write_limit(w, &cause->limit);
  }
  json_object_end(w);
}

static enum error_code decode_cause(const json_t *json, struct cause *out, struct error *err) {
  static const struct json_field fields[] = {
      {"kind", JSON_KIND_STRING, true, 0, 0},
      {"branch", JSON_KIND_INTEGER, false, 0, BRANCH_ID_MAX},
      {"statement", JSON_KIND_INTEGER, false, -1, INT_MAX},
      {"sqlstate", JSON_KIND_STRING, false, SQLSTATE_LENGTH, SQLSTATE_LENGTH},
      {"message", JSON_KIND_STRING, false, 0, 0},
      {"limit", JSON_KIND_OBJECT, false, 0, 0},
  };
  *out = (struct cause){.kind = CAUSE_NONE, .statement = -1};
  const json_t *cause = json_object_get(json, "cause");
  if (!cause || json_is_null(cause)) return ERR_OK;
  enum error_code code = json_check_object(cause, "/cause", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  if (!cause_kind_parse(json_get_string(cause, "kind", ""), &out->kind))
    return invalid(err, "cause/kind", "a kind of cause");
  out->branch = (int)json_get_integer(cause, "branch", 0);
  out->statement = (int)json_get_integer(cause, "statement", -1);
  copy(out->sqlstate, sizeof out->sqlstate, json_get_string(cause, "sqlstate", ""));
  copy(out->text, sizeof out->text, json_get_string(cause, "message", ""));
  out->limit = json_get_limit(cause);
  return ERR_OK;
}

/* ---- fence ------------------------------------------------------------------------------------
 */

void fence_request_encode(struct json_writer *w, const struct fence_request *request) {
  json_object_begin(w);
  json_member_text(w, "cluster", request->cluster.text);
  encode_epoch(w, request->epoch);
  json_member_text(w, "run_id", request->run_id);
  if (request->after_epoch > 0) {
    encode_integer(w, "after_epoch", (int64_t)request->after_epoch);
    json_member_text(w, "after_run_id", request->after_run_id);
  }
  json_object_end(w);
}

enum error_code fence_request_decode(const json_t *json, struct fence_request *out,
                                     struct error *err) {
  static const struct json_field fields[] = {
      {"cluster", JSON_KIND_STRING, true, 0, 0},
      EPOCH_FIELD,
      {"run_id", JSON_KIND_STRING, true, 0, 0},
      {"after_epoch", JSON_KIND_INTEGER, false, 1, INT64_MAX},
      {"after_run_id", JSON_KIND_STRING, false, 0, 0},
  };
  const char *run_id = NULL;
  const char *after = "";
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_cluster(json, &out->cluster, err);
  if (code == ERR_OK) code = decode_run_id(json, "run_id", &run_id, err);
  if (code != ERR_OK) return code;
  out->epoch = (uint64_t)json_get_integer(json, "epoch", 0);
  out->after_epoch = (uint64_t)json_get_integer(json, "after_epoch", 0);
  if (out->after_epoch > 0) code = decode_run_id(json, "after_run_id", &after, err);
  if (code != ERR_OK) return code;
  copy(out->run_id, sizeof out->run_id, run_id);
  copy(out->after_run_id, sizeof out->after_run_id, after);
  return ERR_OK;
}

void fence_reply_encode(struct json_writer *w, const struct fence_asked *asked,
                        const struct fence_reply *reply) {
  json_object_begin(w);
  json_member_text(w, "participant", asked->participant);
  json_member_text(w, "run_id", asked->run_id);
  if (reply->former_epoch > 0) {
    encode_integer(w, "former_epoch", (int64_t)reply->former_epoch);
    json_member_text(w, "former_run_id", reply->former_run_id);
    json_object_end(w);
    return;
  }
  json_member_text(w, "incarnation", reply->incarnation);
  json_member_text(w, "server", reply->server);
  encode_integer(w, "server_version", reply->server_version);
  encode_integer(w, "prepared_max", reply->prepared_max);
  json_object_end(w);
}

static enum error_code decode_former(const json_t *json, struct fence_reply *out,
                                     struct error *err) {
  static const struct json_field fields[] = {
      {"participant", JSON_KIND_STRING, true, 0, 0},
      {"run_id", JSON_KIND_STRING, true, 0, 0},
      {"former_epoch", JSON_KIND_INTEGER, true, 1, INT64_MAX},
      {"former_run_id", JSON_KIND_STRING, true, 0, 0},
  };
  const char *run_id = NULL;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_run_id(json, "former_run_id", &run_id, err);
  if (code != ERR_OK) return code;
  out->former_epoch = (uint64_t)json_get_integer(json, "former_epoch", 0);
  copy(out->former_run_id, sizeof out->former_run_id, run_id);
  return ERR_OK;
}

bool fence_is_answered(const json_t *json, const struct fence_asked *asked) {
  return strcmp(json_get_string(json, "participant", ""), asked->participant) == 0 &&
         strcmp(json_get_string(json, "run_id", ""), asked->run_id) == 0;
}

enum error_code fence_reply_decode(const json_t *json, const struct fence_asked *asked,
                                   struct fence_reply *out, struct error *err) {
  static const struct json_field fields[] = {
      {"participant", JSON_KIND_STRING, true, 0, 0},
      {"run_id", JSON_KIND_STRING, true, 0, 0},
      {"incarnation", JSON_KIND_STRING, true, 0, 0},
      {"server", JSON_KIND_STRING, true, 0, 0},
      {"server_version", JSON_KIND_INTEGER, true, 0, INT_MAX},
      {"prepared_max", JSON_KIND_INTEGER, true, 0, INT64_MAX},
  };
  const char *incarnation = NULL;
  const char *server = NULL;
  *out = (struct fence_reply){0};
  if (!fence_is_answered(json, asked))
    return invalid(err, "run_id", "the one that asked this participant");
  if (json_object_get(json, "former_epoch")) return decode_former(json, out, err);
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_run_id(json, "incarnation", &incarnation, err);
  if (code == ERR_OK) code = decode_server(json, &server, err);
  if (code != ERR_OK) return code;
  copy(out->incarnation, sizeof out->incarnation, incarnation);
  copy(out->server, sizeof out->server, server);
  out->server_version = (int)json_get_integer(json, "server_version", 0);
  out->prepared_max = json_get_integer(json, "prepared_max", 0);
  return ERR_OK;
}

/* A batch is of many transactions, so each message tells its own trace. */
static void encode_trace(struct json_writer *w, const struct trace_context *trace) {
  char parent[TRACEPARENT_SIZE];
  if (!trace) return;
  traceparent_format(trace, parent);
  json_member_text(w, TRACEPARENT_HEADER, parent);
  if (trace->state) json_member_text(w, TRACESTATE_HEADER, trace->state);
}

bool request_trace_decode(const json_t *json, struct trace_context *out) {
  const char *state = json_get_string(json, TRACESTATE_HEADER, NULL);
  if (!traceparent_parse(json_get_string(json, TRACEPARENT_HEADER, ""), out)) return false;
  if (state && tracestate_is_valid(state)) out->state = state;
  return true;
}

/* ---- run --------------------------------------------------------------------------------------
 */

static void encode_statement(struct json_writer *w, const struct statement *statement) {
  json_object_begin(w);
  json_key(w, "sql");
  json_write_string(w, statement->sql);
  if (statement->param_count > 0) {
    json_key(w, "params");
    json_array_begin(w);
    for (size_t i = 0; i < statement->param_count; i++)
      json_write_string(w, statement->params[i]);
    json_array_end(w);
  }
  if (statement->expect_rows >= 0) encode_integer(w, "expect_rows", statement->expect_rows);
  json_object_end(w);
}

void run_request_encode(struct json_writer *w, const struct run_request *request) {
  json_object_begin(w);
  json_member_text(w, "gid", request->gid);
  encode_epoch(w, request->epoch);
  json_member_text(w, "incarnation", request->incarnation);
  encode_integer(w, "sequence", request->sequence);
  json_member_text(w, "end", run_end_names[request->end]);
  encode_integer(w, "timeout_ms", request->timeout_ms);
  json_key(w, "statements");
  json_array_begin(w);
  for (size_t i = 0; i < request->statement_count; i++)
    encode_statement(w, &request->statements[i]);
  json_array_end(w);
  encode_trace(w, request->trace);
  json_object_end(w);
}

static enum error_code decode_run_end(const json_t *json, enum run_end *out, struct error *err) {
  const char *name = json_get_string(json, "end", "");
  for (size_t i = 0; i < COUNT(run_end_names); i++) {
    if (strcmp(name, run_end_names[i]) != 0) continue;
    *out = (enum run_end)i;
    return ERR_OK;
  }
  return invalid(err, "end", "keep_open, prepare or ready");
}

enum error_code run_request_decode(const json_t *json, struct run_request *out,
                                   struct statement_list *statements, struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},
      EPOCH_FIELD,
      {TRACEPARENT_HEADER, JSON_KIND_STRING, false, 0, 0},
      {TRACESTATE_HEADER, JSON_KIND_STRING, false, 0, 0},
      {"incarnation", JSON_KIND_STRING, true, 0, 0},
      {"sequence", JSON_KIND_INTEGER, true, 0, INT_MAX},
      {"end", JSON_KIND_STRING, true, 0, 0},
      {"timeout_ms", JSON_KIND_INTEGER, true, 0, INT64_MAX},
      {"statements", JSON_KIND_ARRAY, true, 0, 0},
  };
  *statements = (struct statement_list){0};
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_gid(json, &out->gid, err);
  if (code == ERR_OK) code = decode_run_id(json, "incarnation", &out->incarnation, err);
  if (code == ERR_OK) code = decode_run_end(json, &out->end, err);
  if (code == ERR_OK)
    code =
        statement_list_decode(json_object_get(json, "statements"), "/statements", statements, err);
  if (code != ERR_OK) return code;
  out->epoch = (uint64_t)json_get_integer(json, "epoch", 0);
  out->sequence = (unsigned)json_get_integer(json, "sequence", 0);
  out->timeout_ms = json_get_integer(json, "timeout_ms", 0);
  out->statements = statements->items;
  out->statement_count = statements->count;
  return ERR_OK;
}

void run_reply_encode(struct json_writer *w, const struct run_reply *reply) {
  json_object_begin(w);
  json_member_text(w, "gid", reply->gid);
  json_member_text(w, "vote", vote_name(reply->vote));
  json_member_text(w, "xid", reply->xid);
  json_member_text(w, "server", reply->server);
  json_member_text(w, "results", reply->results);
  encode_cause(w, &reply->cause);
  json_object_end(w);
}

/* The text is put into answers as it is, so it must be what it says. */
static enum error_code decode_results(const json_t *json, char **out, struct error *err) {
  const char *text = json_get_string(json, "results", NULL);
  *out = NULL;
  if (!text) return ERR_OK;
  if (!json_is_array_text(text)) return invalid(err, "results", "the text of a JSON array");
  *out = strdup(text);
  return *out ? ERR_OK : error_set(err, ERR_MEMORY, "out of memory for results");
}

enum error_code run_reply_decode(const json_t *json, const char *gid, struct run_reply *out,
                                 char **results, struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},      {"vote", JSON_KIND_STRING, true, 0, 0},
      {"xid", JSON_KIND_STRING, false, 0, 0},     {"server", JSON_KIND_STRING, false, 0, 0},
      {"results", JSON_KIND_STRING, false, 0, 0}, {"cause", JSON_KIND_OBJECT, false, 0, 0},
  };
  const char *xid = NULL;
  const char *server = NULL;
  *results = NULL;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK && strcmp(json_get_string(json, "gid", ""), gid) != 0)
    code = invalid(err, "gid", "the one that was asked for");
  if (code == ERR_OK && !vote_parse(json_get_string(json, "vote", ""), &out->vote))
    code = invalid(err, "vote", "a vote");
  if (code == ERR_OK) code = decode_xid(json, &xid, err);
  if (code == ERR_OK) code = decode_server(json, &server, err);
  if (code == ERR_OK) code = decode_cause(json, &out->cause, err);
  if (code == ERR_OK) code = decode_results(json, results, err);
  if (code != ERR_OK) return code;
  copy(out->gid, sizeof out->gid, gid);
  copy(out->xid, sizeof out->xid, xid);
  copy(out->server, sizeof out->server, server);
  out->results = *results;
  return ERR_OK;
}

/* ---- decide -----------------------------------------------------------------------------------
 */

void decide_request_encode(struct json_writer *w, const struct decide_request *request) {
  json_object_begin(w);
  json_member_text(w, "gid", request->gid);
  encode_epoch(w, request->epoch);
  json_member_text(w, "decision", decision_name(request->decision));
  json_member_text(w, "xid", request->xid);
  json_member_text(w, "server", request->server);
  encode_trace(w, request->trace);
  json_object_end(w);
}

enum error_code decide_request_decode(const json_t *json, struct decide_request *out,
                                      struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},
      EPOCH_FIELD,
      {"decision", JSON_KIND_STRING, true, 0, 0},
      {"xid", JSON_KIND_STRING, false, 0, 0},
      {"server", JSON_KIND_STRING, false, 0, 0},
      {TRACEPARENT_HEADER, JSON_KIND_STRING, false, 0, 0},
      {TRACESTATE_HEADER, JSON_KIND_STRING, false, 0, 0},
  };
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_gid(json, &out->gid, err);
  if (code == ERR_OK && !decision_parse(json_get_string(json, "decision", ""), &out->decision))
    code = invalid(err, "decision", "abort, commit or one_phase");
  if (code == ERR_OK) code = decode_xid(json, &out->xid, err);
  if (code == ERR_OK) code = decode_server(json, &out->server, err);
  if (code == ERR_OK) out->epoch = (uint64_t)json_get_integer(json, "epoch", 0);
  return code;
}

void decide_reply_encode(struct json_writer *w, const char *gid, const struct decide_reply *reply) {
  json_object_begin(w);
  json_member_text(w, "gid", gid);
  json_member_text(w, "outcome", branch_outcome_name(reply->outcome));
  encode_cause(w, &reply->cause);
  json_object_end(w);
}

enum error_code decide_reply_decode(const json_t *json, const char *gid, struct decide_reply *out,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},
      {"outcome", JSON_KIND_STRING, true, 0, 0},
      {"cause", JSON_KIND_OBJECT, false, 0, 0},
  };
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK && strcmp(json_get_string(json, "gid", ""), gid) != 0)
    code = invalid(err, "gid", "the one that was asked for");
  if (code == ERR_OK && !branch_outcome_parse(json_get_string(json, "outcome", ""), &out->outcome))
    code = invalid(err, "outcome", "an outcome");
  return code == ERR_OK ? decode_cause(json, &out->cause, err) : code;
}

/* ---- list -------------------------------------------------------------------------------------
 */

void list_request_encode(struct json_writer *w, const struct list_request *request) {
  json_object_begin(w);
  json_member_text(w, "cluster", request->cluster.text);
  encode_epoch(w, request->epoch);
  json_object_end(w);
}

enum error_code list_request_decode(const json_t *json, struct list_request *out,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"cluster", JSON_KIND_STRING, true, 0, 0},
      EPOCH_FIELD,
  };
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_cluster(json, &out->cluster, err);
  if (code == ERR_OK) out->epoch = (uint64_t)json_get_integer(json, "epoch", 0);
  return code;
}

void list_reply_encode(struct json_writer *w, const struct list_reply *reply) {
  json_object_begin(w);
  json_member_text(w, "server", reply->server);
  json_key(w, "branches");
  json_array_begin(w);
  for (size_t i = 0; i < reply->count; i++) {
    const struct prepared_branch *branch = &reply->branches[i];
    json_object_begin(w);
    json_member_text(w, "gid", branch->gid);
    json_member_text(w, "xid", branch->xid);
    encode_integer(w, "prepared_at_us", branch->prepared_at_us);
    json_object_end(w);
  }
  json_array_end(w);
  json_object_end(w);
}

static enum error_code decode_branch(const json_t *json, size_t index, struct prepared_branch *out,
                                     struct error *err) {
  static const struct json_field fields[] = {
      {"gid", JSON_KIND_STRING, true, 0, 0},
      {"xid", JSON_KIND_STRING, false, 0, 0},
      {"prepared_at_us", JSON_KIND_INTEGER, true, 0, 0},
  };
  const char *gid = NULL;
  const char *xid = NULL;
  char pointer[40];
  (void)snprintf(pointer, sizeof pointer, "/branches/%zu", index);
  enum error_code code = json_check_object(json, pointer, fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_gid(json, &gid, err);
  if (code == ERR_OK) code = decode_xid(json, &xid, err);
  if (code != ERR_OK) return code;
  copy(out->gid, sizeof out->gid, gid);
  copy(out->xid, sizeof out->xid, xid);
  out->prepared_at_us = json_get_integer(json, "prepared_at_us", 0);
  return ERR_OK;
}

enum error_code list_reply_decode(const json_t *json, struct list_reply *out,
                                  struct prepared_branch **branches, struct error *err) {
  static const struct json_field fields[] = {
      {"server", JSON_KIND_STRING, false, 0, 0},
      {"branches", JSON_KIND_ARRAY, true, 0, 0},
  };
  const char *server = NULL;
  *branches = NULL;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_server(json, &server, err);
  if (code != ERR_OK) return code;

  const json_t *array = json_object_get(json, "branches");
  size_t count = json_array_size(array);
  struct prepared_branch *items = calloc(count + 1, sizeof *items);
  if (!items) return error_set(err, ERR_MEMORY, "out of memory for %zu branches", count);
  for (size_t i = 0; i < count && code == ERR_OK; i++)
    code = decode_branch(json_array_get(array, i), i, &items[i], err);
  if (code != ERR_OK) {
    free(items);
    return code;
  }
  *branches = items;
  copy(out->server, sizeof out->server, server);
  out->branches = items;
  out->count = count;
  return ERR_OK;
}

/* ---- health -----------------------------------------------------------------------------------
 */

void health_reply_encode(struct json_writer *w, const struct health_reply *reply) {
  json_object_begin(w);
  json_key(w, "connected");
  json_write_boolean(w, reply->connected);
  json_member_text(w, "server", reply->server);
  encode_integer(w, "server_version", reply->server_version);
  encode_integer(w, "latency_us", reply->latency_us);
  encode_integer(w, "prepared_count", reply->prepared_count);
  encode_integer(w, "prepared_others", reply->prepared_others);
  encode_integer(w, "prepared_max", reply->prepared_max);
  encode_integer(w, "oldest_prepared_ms", reply->oldest_prepared_ms);
  encode_integer(w, "xmin_age", reply->xmin_age);
  encode_integer(w, "standbys", reply->standbys);
  json_key(w, "synchronous");
  json_write_boolean(w, reply->synchronous);
  encode_integer(w, "connections", reply->connections);
  encode_integer(w, "connections_max", reply->connections_max);
  encode_integer(w, "waiting", reply->waiting);
  encode_integer(w, "running", reply->running);
  encode_integer(w, "running_max", reply->running_max);
  json_member_text(w, "last_error", reply->last_error);
  json_object_end(w);
}

enum error_code health_reply_decode(const json_t *json, struct health_reply *out,
                                    struct error *err) {
  static const struct json_field fields[] = {
      {"connected", JSON_KIND_BOOLEAN, true, 0, 0},
      {"server", JSON_KIND_STRING, false, 0, 0},
      {"server_version", JSON_KIND_INTEGER, true, 0, INT_MAX},
      {"latency_us", JSON_KIND_INTEGER, true, -1, INT64_MAX},
      {"prepared_count", JSON_KIND_INTEGER, true, -1, INT64_MAX},
      {"prepared_others", JSON_KIND_INTEGER, false, -1, INT64_MAX},
      {"prepared_max", JSON_KIND_INTEGER, true, -1, INT64_MAX},
      {"oldest_prepared_ms", JSON_KIND_INTEGER, true, -1, INT64_MAX},
      {"xmin_age", JSON_KIND_INTEGER, false, -1, INT64_MAX},
      {"standbys", JSON_KIND_INTEGER, false, -1, INT64_MAX},
      {"synchronous", JSON_KIND_BOOLEAN, false, 0, 0},
      {"connections", JSON_KIND_INTEGER, true, 0, INT64_MAX},
      {"connections_max", JSON_KIND_INTEGER, true, 0, INT64_MAX},
      {"waiting", JSON_KIND_INTEGER, true, 0, INT64_MAX},
      {"running", JSON_KIND_INTEGER, false, 0, INT64_MAX},
      {"running_max", JSON_KIND_INTEGER, false, 0, INT64_MAX},
      {"last_error", JSON_KIND_STRING, false, 0, 0},
  };
  const char *server = NULL;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code == ERR_OK) code = decode_server(json, &server, err);
  if (code != ERR_OK) return code;
  out->connected = json_get_boolean(json, "connected", false);
  copy(out->server, sizeof out->server, server);
  out->server_version = (int)json_get_integer(json, "server_version", 0);
  out->latency_us = json_get_integer(json, "latency_us", -1);
  out->prepared_count = json_get_integer(json, "prepared_count", -1);
  out->prepared_others = json_get_integer(json, "prepared_others", -1);
  out->prepared_max = json_get_integer(json, "prepared_max", -1);
  out->oldest_prepared_ms = json_get_integer(json, "oldest_prepared_ms", -1);
  out->xmin_age = json_get_integer(json, "xmin_age", -1);
  out->standbys = json_get_integer(json, "standbys", -1);
  out->synchronous = json_get_boolean(json, "synchronous", false);
  out->connections = json_get_integer(json, "connections", 0);
  out->connections_max = json_get_integer(json, "connections_max", 0);
  out->waiting = json_get_integer(json, "waiting", 0);
  out->running = json_get_integer(json, "running", 0);
  out->running_max = json_get_integer(json, "running_max", 0);
  copy(out->last_error, sizeof out->last_error, json_get_string(json, "last_error", ""));
  return ERR_OK;
}
