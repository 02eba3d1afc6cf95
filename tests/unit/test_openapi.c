/* coordinator/openapi.json: complete, consistent with the routes and the errors of the program; and the
 * validator that holds answers against it (tests/lib/contract.c). */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/tokens.h"
#include "coordinator/routes.h"
#include "coordinator/timeline.h"
#include "tests/lib/contract.h"
#include "tests/lib/suite.h"

static const json_t *at(const char *path) {
  const json_t *found = contract();
  while (found && *path) {
    size_t length = strcspn(path, " ");
    found = json_object_getn(found, path, length);
    path += length + (path[length] == ' ');
  }
  return found;
}

/* Text of a failure: which. */
static void expect(bool holds, const char *what, const char *where) {
  if (!holds) (void)printf("\n    %s: %s", where, what);
  CU_ASSERT_TRUE(holds);
}

/* ---- the document ----------------------------------------------------------------------------- */

static const json_t *operation_of(const struct http_route *route) {
  char method[8] = "";
  for (size_t i = 0; route->method[i] && i + 1 < sizeof method; i++)
    method[i] = (char)tolower((unsigned char)route->method[i]);
  return json_object_get(json_object_get(at("paths"), route->path), method);
}

static void every_route_is_described_and_no_other(void) {
  size_t count, described = 0;
  const struct http_route *routes = routes_table(&count);
  for (size_t i = 0; i < count; i++)
    expect(operation_of(&routes[i]) != NULL, "is not described", routes[i].path);
  const char *path;
  json_t *operations;
  json_object_foreach((json_t *)(uintptr_t)at("paths"), path, operations) {
    described += json_object_size(operations);
  }
  CU_ASSERT_EQUAL(described, count);
}

/* Several operations may share one. */
static const json_t *parameter_of(const json_t *item) {
  const char *shared = json_string_value(json_object_get(item, "$ref"));
  return shared ? json_object_get(at("components parameters"), strrchr(shared, '/') + 1) : item;
}

static bool has_parameter(const json_t *operation, const char *in, const char *name) {
  size_t i;
  const json_t *item;
  json_array_foreach(json_object_get(operation, "parameters"), i, item) {
    const json_t *parameter = parameter_of(item);
    if (strcmp(json_string_value(json_object_get(parameter, "in")), in) == 0 &&
        strcmp(json_string_value(json_object_get(parameter, "name")), name) == 0)
      return true;
  }
  return false;
}

static void every_operation_is_whole(void) {
  size_t count;
  const struct http_route *routes = routes_table(&count);
  for (size_t i = 0; i < count; i++) {
    const json_t *operation = operation_of(&routes[i]);
    bool post = strcmp(routes[i].method, "POST") == 0;
    expect(json_object_get(operation, "operationId") != NULL, "has no id", routes[i].path);
    expect(json_object_get(operation, "summary") != NULL, "has no summary", routes[i].path);
    expect(post == (json_object_get(operation, "requestBody") != NULL), "its body", routes[i].path);
    expect(!post || strncmp(routes[i].path, "/v1/transactions", 16) != 0 ||
               (has_parameter(operation, "header", "traceparent") &&
                has_parameter(operation, "header", "tracestate")),
           "does not name its trace", routes[i].path);
    expect(!strstr(routes[i].path, "{id}") || has_parameter(operation, "path", "id"),
           "lacks its parameter", routes[i].path);
    const char *status;
    json_t *response;
    json_object_foreach(json_object_get(operation, "responses"), status, response) {
      const json_t *found = contract_follow(response);
      expect(json_object_get(found, "description") && json_object_get(found, "content"), status,
             routes[i].path);
    }
  }
}

/* As a set; an operator is let in wherever a token is needed. */
static unsigned roles_described(const json_t *operation, const char *path) {
  unsigned roles = 0;
  size_t i, j;
  const json_t *way, *role;
  json_array_foreach(json_object_get(operation, "security"), i, way) {
    json_array_foreach(json_object_get(way, "bearer"), j, role) {
      enum role known = role_from_name(json_string_value(role));
      expect(known != 0, "there is no such role", path);
      roles |= known;
    }
  }
  return roles;
}

static void every_operation_says_whom_it_lets_in(void) {
  size_t count;
  const struct http_route *routes = routes_table(&count);
  for (size_t i = 0; i < count; i++) {
    const json_t *operation = operation_of(&routes[i]);
    bool anyone = routes[i].roles & ROLE_ANYONE;
    unsigned roles = anyone ? 0 : routes[i].roles | ROLE_OPERATOR;
    const json_t *responses = json_object_get(operation, "responses");
    expect(json_is_array(json_object_get(operation, "security")), "does not say", routes[i].path);
    expect(roles_described(operation, routes[i].path) == roles, "says others", routes[i].path);
    expect(anyone == !json_object_get(responses, "401"), "its 401", routes[i].path);
    expect(json_object_get(responses, "403") != NULL, "lacks 403", routes[i].path);
  }
}

/* Every $ref, wherever it stands, leads to something; every word of a schema is known to the validator,
 * and every example is as its schema says. */
static void check_below(const char *name, const json_t *value) {
  char why[CONTRACT_WHY_SIZE];
  const char *key;
  json_t *member;
  size_t i;
  if (json_is_object(value)) {
    expect(contract_follow(value) != NULL, "leads nowhere", name);
    const json_t *example = json_object_get(value, "example");
    if (example && json_object_get(value, "type"))
      expect(contract_allows(value, example, why), example ? why : "", name);
    json_object_foreach((json_t *)(uintptr_t)value, key, member) {
      if (strcmp(key, "example") != 0) check_below(key, member);
    }
  }
  json_array_foreach(value, i, member) {
    check_below(name, member);
  }
}

static void every_reference_leads_somewhere_and_every_example_is_right(void) {
  check_below("", contract());
}

static bool has_type(const json_t *schema, const char *name) {
  const json_t *type = json_object_get(schema, "type"), *one;
  size_t i;
  if (json_is_string(type)) return strcmp(json_string_value(type), name) == 0;
  json_array_foreach(type, i, one) {
    if (strcmp(json_string_value(one), name) == 0) return true;
  }
  return false;
}

static bool says(const json_t *schema, const char *word) {
  return json_object_get(schema, word) != NULL;
}

static bool is_time(const char *name) {
  size_t length = strlen(name);
  return length > 3 &&
         (strcmp(name + length - 3, "_ms") == 0 || strcmp(name + length - 3, "_us") == 0);
}

/* What a value may be: of a number from where to where, of a text how long or one of which. */
static void check_range(const char *schema, const char *name, const json_t *field) {
  if (has_type(field, "integer") || has_type(field, "number"))
    expect(says(field, "minimum") && says(field, "maximum"), schema, name);
  if (has_type(field, "string"))
    expect(says(field, "maxLength") || says(field, "enum") || says(field, "format"), schema, name);
  if (has_type(field, "array")) expect(says(field, "maxItems"), schema, name);
}

/* Of objects, what is in them is described; of arrays also each item. */
static void check_value(const char *schema, const char *name, const json_t *field) {
  if (says(field, "$ref") || says(field, "properties")) return;
  check_range(schema, name, field);
  if (has_type(field, "array"))
    check_value(schema, name, json_object_get(field, "items"));
  else
    expect(says(field, "example") || says(field, "anyOf"), "has no example", name);
}

static void check_field(const char *schema, const char *name, const json_t *field) {
  if (says(field, "$ref")) return;
  const char *said = json_string_value(json_object_get(field, "description"));
  expect(said != NULL, schema, name);
  expect(says(field, "type") || says(field, "anyOf"), "has no type", name);
  if (is_time(name)) expect(said && strstr(said, "Unit: "), "has no unit", name);
  check_value(schema, name, field);
}

static void every_parameter_is_described(void) {
  size_t count, j;
  const json_t *item;
  const struct http_route *routes = routes_table(&count);
  for (size_t i = 0; i < count; i++) {
    json_array_foreach(json_object_get(operation_of(&routes[i]), "parameters"), j, item) {
      const json_t *parameter = parameter_of(item);
      const char *name = json_string_value(json_object_get(parameter, "name"));
      const json_t *schema = json_object_get(parameter, "schema");
      const char *said = json_string_value(json_object_get(parameter, "description"));
      expect(said != NULL, "is not described", name);
      if (is_time(name)) expect(said && strstr(said, "Unit: "), "has no unit", name);
      check_value(routes[i].path, name, schema);
    }
  }
}

static void every_field_is_described(void) {
  const char *name, *field;
  json_t *schema, *member;
  json_object_foreach((json_t *)(uintptr_t)at("components schemas"), name, schema) {
    expect(says(schema, "description"), "is not described", name);
    if (has_type(schema, "object"))
      expect(json_is_false(json_object_get(schema, "additionalProperties")), "is open", name);
    else
      check_value("", name, schema);
    json_object_foreach(json_object_get(schema, "properties"), field, member) {
      check_field(name, field, member);
    }
  }
}

/* Those that no answer of this API has: not there yet, or between its processes only. */
static bool is_of_others(enum error_code code) {
  static const enum error_code others[] = {ERR_OK, ERR_FENCED, ERR_CONFIG, ERR_IO, ERR_LOG};
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (others[i] == code) return true;
  return false;
}

static void every_error_code_is_listed(void) {
  const json_t *codes = at("components schemas Problem properties code enum");
  size_t listed = 0;
  for (int code = 0; code <= ERR_LOG; code++) {
    if (is_of_others((enum error_code)code)) continue;
    size_t i;
    const json_t *one;
    bool found = false;
    json_array_foreach(codes, i, one) {
      found = found || strcmp(json_string_value(one), error_wire_code((enum error_code)code)) == 0;
    }
    expect(found, "is not listed", error_wire_code((enum error_code)code));
    listed++;
  }
  CU_ASSERT_EQUAL(json_array_size(codes), listed);
}

static void every_limit_is_listed(void) {
  const json_t *names = at("components schemas Limit properties name enum");
  size_t i = 0;
  for (; limit_names[i]; i++)
    expect(json_array_size(names) > i &&
               strcmp(json_string_value(json_array_get(names, i)), limit_names[i]) == 0,
           "is not listed", limit_names[i]);
  CU_ASSERT_EQUAL(json_array_size(names), i);
}

static void every_step_is_listed(void) {
  const json_t *names = at("components schemas Step properties step enum");
  for (int kind = 0; kind <= STEP_ENDED; kind++) {
    size_t i;
    const json_t *one;
    bool found = false;
    json_array_foreach(names, i, one) {
      found = found || strcmp(json_string_value(one), step_kind_name((enum step_kind)kind)) == 0;
    }
    expect(found, "is not listed", step_kind_name((enum step_kind)kind));
  }
  CU_ASSERT_EQUAL(json_array_size(names), STEP_ENDED + 2); /* and steps_dropped */
}

/* ---- the validator ---------------------------------------------------------------------------- */

static bool accepts(const char *schema, const char *value) {
  char why[CONTRACT_WHY_SIZE];
  json_t *says = json_loads(schema, 0, NULL), *is = json_loads(value, JSON_DECODE_ANY, NULL);
  CU_ASSERT_FATAL(says && is);
  bool allowed = contract_allows(says, is, why);
  json_decref(says);
  json_decref(is);
  return allowed;
}

static void validator_knows_right_from_wrong(void) {
  static const struct {
    const char *schema, *right, *wrong;
  } cases[] = {
      {"{\"type\":\"string\"}", "\"a\"", "1"},
      {"{\"type\":[\"integer\",\"null\"]}", "null", "\"a\""},
      {"{\"type\":\"integer\"}", "1", "1.5"},
      {"{\"type\":\"number\"}", "1.5", "\"a\""},
      {"{\"enum\":[\"a\",null]}", "null", "\"b\""},
      {"{\"minimum\":1}", "1", "0"},
      {"{\"maximum\":1}", "1", "2"},
      {"{\"maximum\":1}", "0.5", "1.5"},
      {"{\"minLength\":2,\"maxLength\":3}", "\"ab\"", "\"abcd\""},
      {"{\"maxItems\":1}", "[1]", "[1,2]"},
      {"{\"items\":{\"type\":\"string\"}}", "[\"a\"]", "[\"a\",1]"},
      {"{\"required\":[\"a\"]}", "{\"a\":1}", "{\"b\":1}"},
      {"{\"properties\":{\"a\":{\"type\":\"string\"}}}", "{\"b\":1}", "{\"a\":1}"},
      {"{\"additionalProperties\":false,\"properties\":{\"a\":{}}}", "{\"a\":1}", "{\"b\":1}"},
      {"{\"anyOf\":[{\"type\":\"null\"},{\"type\":\"array\"}]}", "[]", "{}"},
      {"{\"$ref\":\"#/components/schemas/EmptyRequest\"}", "{}", "{\"a\":1}"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    CU_ASSERT_TRUE(accepts(cases[i].schema, cases[i].right));
    CU_ASSERT_FALSE(accepts(cases[i].schema, cases[i].wrong));
  }
  CU_ASSERT_FALSE(accepts("{\"pattern\":\"a\"}", "1"));
  CU_ASSERT_FALSE(accepts("{\"$ref\":\"#/components/schemas/Nothing\"}", "1"));
}

static void answer_that_is_not_described_is_refused(void) {
  char why[CONTRACT_WHY_SIZE];
  json_t *ok = json_pack("{s:s}", "status", "ok"), *other = json_pack("{s:s}", "status", "fine");
  CU_ASSERT_TRUE(contract_allows_answer("GET", "/healthz", 200, ok, why));
  CU_ASSERT_TRUE(contract_allows_answer("GET", "/healthz?a=b", 200, ok, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/healthz", 200, other, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/healthz", 201, ok, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/healthz", 200, NULL, why));
  CU_ASSERT_FALSE(contract_allows_answer("POST", "/healthz", 200, ok, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/nowhere", 200, ok, why));
  json_decref(ok);
  json_decref(other);
}

static void text_is_allowed_where_it_is_described(void) {
  char why[CONTRACT_WHY_SIZE];
  json_t *object = json_object();
  CU_ASSERT_TRUE(contract_allows_answer("GET", "/metrics", 200, NULL, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/metrics", 200, object, why));
  CU_ASSERT_FALSE(contract_allows_answer("GET", "/metrics", 503, NULL, why));
  json_decref(object);
}

SUITE(openapi, CASE(every_route_is_described_and_no_other), CASE(every_operation_is_whole),
      CASE(every_reference_leads_somewhere_and_every_example_is_right),
      CASE(every_field_is_described), CASE(every_parameter_is_described),
      CASE(every_error_code_is_listed), CASE(every_limit_is_listed), CASE(every_step_is_listed),
      CASE(every_operation_says_whom_it_lets_in), CASE(text_is_allowed_where_it_is_described),
      CASE(validator_knows_right_from_wrong), CASE(answer_that_is_not_described_is_refused))
