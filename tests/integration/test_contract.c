/* Requests made from coordinator/openapi.json: of every operation one as its examples say, which must be
 * taken, and from it, for every field and parameter, those that the description rules out (another type,
 * over and under its range, missing, unknown), which must be refused with this field named. Every answer is
 * held against its schema besides (tests/lib/api.c).
 */
#include "tests/lib/contract.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/world.h"

enum { POINTER_SIZE = 200, PATH_SIZE = 300 };

static const char nobody[] = "01900000-0000-7000-8000-000000000000";

/* An operation, and where the requests made from it go. */
struct operation {
  struct world *w;
  const char *method, *pattern;
  const json_t *says;
  char path[PATH_SIZE];
  unsigned sent;
};

static void aim(struct operation *o, const char *id) {
  const char *at = strchr(o->pattern, '{');
  const char *with = at && strncmp(at, "{id}", 4) == 0 ? id : "bank_a";
  (void)snprintf(o->path, sizeof o->path, "%.*s%s%s",
                 at ? (int)(at - o->pattern) : (int)strlen(o->pattern), o->pattern, at ? with : "",
                 at ? strchr(at, '}') + 1 : "");
}

static const json_t *member(const json_t *of, const char *name) {
  return contract_follow(json_object_get(of, name));
}

static const json_t *body_schema(const struct operation *o) {
  const json_t *content = json_object_get(json_object_get(o->says, "requestBody"), "content");
  return member(json_object_get(content, "application/json"), "schema");
}

/* ---- values from schemas ----------------------------------------------------------------------- */

/* The example, or one made of its parts' examples. Owner: the caller. */
static json_t *good_value(const json_t *schema) {
  const json_t *example = json_object_get(schema, "example");
  if (example) return json_deep_copy(example);
  const json_t *items = member(schema, "items");
  if (items) return json_pack("[o]", good_value(items));
  json_t *object = json_object();
  const char *name;
  json_t *property;
  json_object_foreach(json_object_get(schema, "properties"), name, property) {
    (void)json_object_set_new(object, name, good_value(contract_follow(property)));
  }
  return object;
}

static json_t *long_text(size_t length) {
  char *text = malloc(length + 1);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  memset(text, 'x', length);
  text[length] = '\0';
  json_t *value = json_string(text);
  free(text);
  return value;
}

static json_t *long_array(const json_t *item, size_t length) {
  json_t *array = json_array();
  for (size_t i = 0; i < length; i++)
    (void)json_array_append_new(array, json_deep_copy(item));
  return array;
}

/* What the schema rules out. Fills `out` up to 16; owner: the caller. */
static size_t bad_values(const json_t *schema, const json_t *good, json_t *out[16]) {
  static const char *const types[] = {"true", "1.5", "\"x\"", "[]", "{}"};
  char why[CONTRACT_WHY_SIZE];
  size_t count = 0;
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    json_t *value = json_loads(types[i], JSON_DECODE_ANY, NULL);
    if (contract_allows(schema, value, why))
      json_decref(value);
    else
      out[count++] = value;
  }
  const json_t *min = json_object_get(schema, "minimum"), *max = json_object_get(schema, "maximum");
  if (json_is_integer(min)) out[count++] = json_integer(json_integer_value(min) - 1);
  if (json_is_integer(max) && json_integer_value(max) < INT64_MAX)
    out[count++] = json_integer(json_integer_value(max) + 1);
  const json_t *most = json_object_get(schema, "maxLength");
  if (most) out[count++] = long_text((size_t)json_integer_value(most) + 1);
  if (json_object_get(schema, "minLength")) out[count++] = json_string("");
  most = json_object_get(schema, "maxItems");
  if (most && json_array_size(good) > 0)
    out[count++] = long_array(json_array_get(good, 0), (size_t)json_integer_value(most) + 1);
  return count;
}

/* ---- bodies ------------------------------------------------------------------------------------ */

static const struct reply *post(struct operation *o, const json_t *body) {
  char *text = json_dumps(body, JSON_COMPACT);
  CU_ASSERT_PTR_NOT_NULL_FATAL(text);
  const struct reply *reply = api_post_plain(o->w->api, o->path, text);
  free(text);
  o->sent++;
  return reply;
}

/* Sets what the pointer leads to, whose parent is there; `value` (stolen) NULL: removes it. */
static json_t *changed(const json_t *good, const char *pointer, json_t *value) {
  json_t *root = json_deep_copy(good), *at = root;
  const char *name = pointer + 1;
  for (const char *end; (end = strchr(name, '/')); name = end + 1) {
    char part[64];
    (void)snprintf(part, sizeof part, "%.*s", (int)(end - name), name);
    at = json_is_array(at) ? json_array_get(at, (size_t)atoi(part)) : json_object_get(at, part);
    CU_ASSERT_PTR_NOT_NULL_FATAL(at);
  }
  int failed = json_is_array(at) ? json_array_set_new(at, (size_t)atoi(name), value)
               : value           ? json_object_set_new(at, name, value)
                                 : json_object_del(at, name);
  CU_ASSERT_EQUAL_FATAL(failed, 0);
  return root;
}

/* The answer names the field, or, of one that is itself a whole, something in it. */
static void refused(struct operation *o, const json_t *good, const char *pointer, json_t *value) {
  json_t *body = changed(good, pointer, value);
  const struct reply *reply = post(o, body);
  const char *field = reply_string(reply, "/field");
  if (reply->status != 422 || strncmp(field, pointer, strlen(pointer)) != 0) {
    char *sent = json_dumps(body, 0);
    check_failed(__FILE__, __LINE__, false, "POST %s with a bad %s was answered %s (sent %.300s)",
                 o->pattern, pointer, reply->text, sent);
    free(sent);
  }
  json_decref(body);
}

static bool is_required(const json_t *schema, const char *name) {
  size_t i;
  const json_t *one;
  json_array_foreach(json_object_get(schema, "required"), i, one) {
    if (strcmp(json_string_value(one), name) == 0) return true;
  }
  return false;
}

static void try_bad_bodies(struct operation *o, const json_t *root, const json_t *schema,
                           const json_t *good, const char *pointer);

static void try_bad_field(struct operation *o, const json_t *root, const json_t *schema,
                          const json_t *good, const char *pointer) {
  json_t *bad[16];
  size_t count = bad_values(schema, good, bad);
  for (size_t i = 0; i < count; i++)
    refused(o, root, pointer, bad[i]);
  try_bad_bodies(o, root, schema, good, pointer);
}

static void try_bad_bodies(struct operation *o, const json_t *root, const json_t *schema,
                           const json_t *good, const char *pointer) {
  char below[POINTER_SIZE];
  const char *name;
  json_t *property;
  if (json_object_get(schema, "properties")) {
    (void)snprintf(below, sizeof below, "%s/surplus", pointer);
    refused(o, root, below, json_integer(1));
  }
  json_object_foreach(json_object_get(schema, "properties"), name, property) {
    const json_t *value = json_object_get(good, name);
    if (!value) continue;
    (void)snprintf(below, sizeof below, "%s/%s", pointer, name);
    if (is_required(schema, name)) refused(o, root, below, NULL);
    try_bad_field(o, root, contract_follow(property), value, below);
  }
  const json_t *items = member(schema, "items");
  if (!items || !json_object_get(items, "type") || json_array_size(good) == 0) return;
  (void)snprintf(below, sizeof below, "%s/0", pointer);
  try_bad_field(o, root, items, json_array_get(good, 0), below);
}

/* What it asks for may be refused by the state things are in, not by its form. */
static void try_good_body(struct operation *o, const json_t *body) {
  static const char both[] = "{'branches':[" BRANCH("bank_a", STATEMENT("SELECT 1")) "," BRANCH(
      "bank_b", STATEMENT("SELECT 1")) "]}";
  bool ends = strstr(o->pattern, "/commit") || strstr(o->pattern, "/resolve");
  const char *id = api_begin(o->w->api, ends ? both : "{}");
  aim(o, id);
  const struct reply *reply = post(o, body);
  if (reply->status >= 300 && reply->status != 409)
    check_failed(__FILE__, __LINE__, false, "POST %s was answered %s", o->pattern, reply->text);
  (void)api_rollback(o->w->api, id);
  if (reply->status == 201 && *reply_string(reply, "/id"))
    (void)api_rollback(o->w->api, reply_string(reply, "/id"));
}

/* ---- queries, methods -------------------------------------------------------------------------- */

static void query_refused(struct operation *o, const char *name, const char *value) {
  const struct reply *reply = api_get(o->w->api, "%s?%s=%s", o->path, name, value);
  o->sent++;
  CHECK_STATUS(reply, 422);
  CHECK_STRING(reply, "/field", name);
}

static void try_bad_query(struct operation *o, const json_t *parameter) {
  const char *name = json_string_value(json_object_get(parameter, "name"));
  json_t *bad[16];
  size_t count = bad_values(member(parameter, "schema"), NULL, bad);
  for (size_t i = 0; i < count; i++) {
    char number[32];
    const char *text = json_string_value(bad[i]);
    (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(bad[i]));
    if (text || json_is_integer(bad[i])) query_refused(o, name, text ? text : number);
    json_decref(bad[i]);
  }
}

static void try_queries(struct operation *o) {
  size_t i;
  const json_t *parameter;
  query_refused(o, "surplus", "1");
  json_array_foreach(json_object_get(o->says, "parameters"), i, parameter) {
    if (strcmp(json_string_value(json_object_get(parameter, "in")), "query") != 0) continue;
    const json_t *example = json_object_get(member(parameter, "schema"), "example");
    if (strcmp(o->pattern, "/v1/events") == 0) continue; /* any id is taken, and goes on for ever */
    try_bad_query(o, parameter);
    char *text = json_dumps(example, JSON_ENCODE_ANY);
    const char *value = json_is_string(example) ? json_string_value(example) : text;
    const char *name = json_string_value(json_object_get(parameter, "name"));
    /* Nobody ends the transaction that is waited for. */
    const char *more = strcmp(name, "wait") == 0 ? "&timeout_ms=50" : "";
    CHECK_STATUS(api_get(o->w->api, "%s?%s=%s%s", o->path, name, value, more), 200);
    free(text);
    o->sent++;
  }
}

static void try_methods(struct world *w, const char *path, const json_t *operations) {
  static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
  for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
    char name[8];
    (void)snprintf(name, sizeof name, "%s", methods[i]);
    for (char *c = name; *c; c++)
      *c = (char)tolower((unsigned char)*c);
    if (json_object_get(operations, name)) continue;
    const char *request = api_text(w->api,
                                   "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                   "Content-Length: 0\r\n\r\n",
                                   methods[i], path);
    const struct reply *reply = api_raw(w->api, request, strlen(request));
    CHECK_PROBLEM(reply, 405, "method_not_allowed");
    CU_ASSERT_PTR_NOT_NULL(strstr(reply->headers, "\r\nAllow: "));
  }
}

/* ---- all of it --------------------------------------------------------------------------------- */

static void try_operation(struct operation *o) {
  aim(o, nobody);
  if (strcmp(o->method, "get") == 0) {
    if (strncmp(o->pattern, "/v1/", 4) != 0) return; /* without fields */
    const char *id = api_begin(o->w->api, "{}");
    aim(o, id);
    try_queries(o);
    if (strcmp(o->pattern, "/v1/events") != 0) CHECK_STATUS(api_get(o->w->api, "%s", o->path), 200);
    CHECK_STATUS(api_rollback(o->w->api, id), 200);
    return;
  }
  const json_t *schema = body_schema(o);
  CU_ASSERT_PTR_NOT_NULL_FATAL(schema);
  json_t *good = good_value(schema);
  try_bad_bodies(o, good, schema, good, "");
  try_good_body(o, good);
  json_decref(good);
}

static void requests_made_from_the_description_are_answered_as_it_says(enum world_mode mode) {
  struct world *w = world_open(mode, NULL);
  const char *path, *method;
  json_t *operations, *says;
  unsigned sent = 0;
  json_object_foreach(json_object_get(contract(), "paths"), path, operations) {
    struct operation o = {.w = w, .pattern = path};
    json_object_foreach(operations, method, says) {
      o.method = method;
      o.says = says;
      try_operation(&o);
    }
    try_methods(w, o.path, operations);
    sent += o.sent;
  }
  CU_ASSERT(sent > 150);
  CHECK_STATUS(api_run(w->api, ONE_CALL("", TRANSFER(10))), 200);
  world_close(w);
}
IN_BOTH_MODES(requests_made_from_the_description_are_answered_as_it_says)

SUITE(contract, BOTH(requests_made_from_the_description_are_answered_as_it_says))
