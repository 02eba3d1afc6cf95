/* See contract.h. Not for use by two threads at once before the first call has returned. */
#include "tests/lib/contract.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/http_uri.h"
#include "coordinator/embedded.h"

const json_t *contract(void) {
  static json_t *document;
  if (!document) {
    size_t length;
    const char *text = embedded_text(EMBEDDED_OPENAPI, &length);
    json_error_t error;
    document = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!document) {
      (void)fprintf(stderr, "coordinator/openapi.json:%d: %s\n", error.line, error.text);
      abort();
    }
  }
  return document;
}

const json_t *contract_follow(const json_t *at) {
  static const char local[] = "#/";
  const char *to = json_string_value(json_object_get(at, "$ref"));
  if (!to) return at;
  if (strncmp(to, local, 2) != 0) return NULL;
  const json_t *found = contract();
  for (to += 2; found && *to; to += *to == '/') {
    size_t length = strcspn(to, "/");
    found = json_object_getn(found, to, length);
    to += length;
  }
  return found;
}

/* ---- schemas ---------------------------------------------------------------------------------- */

struct look {
  char *why;
  char path[200]; /* to the value that is looked at */
};

static bool refuse(const struct look *look, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool refuse(const struct look *look, const char *format, ...) {
  char text[250];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  (void)snprintf(look->why, CONTRACT_WHY_SIZE, "%s: %.180s", look->path[0] ? look->path : "/",
                 text);
  return false;
}

static bool allows(struct look *look, const json_t *schema, const json_t *value);

static bool allows_below(struct look *look, const char *name, const json_t *schema,
                         const json_t *value) {
  size_t length = strlen(look->path);
  (void)snprintf(look->path + length, sizeof look->path - length, "/%.60s", name);
  bool allowed = allows(look, schema, value);
  if (allowed) look->path[length] = '\0';
  return allowed;
}

static bool is_type(const char *type, const json_t *value) {
  if (strcmp(type, "object") == 0) return json_is_object(value);
  if (strcmp(type, "array") == 0) return json_is_array(value);
  if (strcmp(type, "string") == 0) return json_is_string(value);
  if (strcmp(type, "integer") == 0) return json_is_integer(value);
  if (strcmp(type, "number") == 0) return json_is_number(value);
  if (strcmp(type, "boolean") == 0) return json_is_boolean(value);
  return strcmp(type, "null") == 0 && json_is_null(value);
}

static bool allows_type(struct look *look, const json_t *types, const json_t *value) {
  size_t i;
  const json_t *type;
  if (json_is_string(types))
    return is_type(json_string_value(types), value) ||
           refuse(look, "is no %s", json_string_value(types));
  json_array_foreach(types, i, type) {
    if (is_type(json_string_value(type), value)) return true;
  }
  return refuse(look, "is of no type that it may have");
}

static bool allows_one_of(struct look *look, const json_t *choices, const json_t *value) {
  size_t i;
  const json_t *choice;
  json_array_foreach(choices, i, choice) {
    if (json_equal(choice, value)) return true;
  }
  const char *text = json_string_value(value);
  return refuse(look, "\"%s\" is not one that it may be", text ? text : "");
}

static bool allows_any(struct look *look, const json_t *schemas, const json_t *value) {
  size_t i, length = strlen(look->path);
  const json_t *schema;
  json_array_foreach(schemas, i, schema) {
    if (allows(look, schema, value)) return true;
    if (i + 1 < json_array_size(schemas)) look->path[length] = '\0';
  }
  return false;
}

/* As double: no limit of the document is beyond what that holds exactly. */
static bool allows_size(struct look *look, const char *word, double limit, const json_t *value) {
  double size = strstr(word, "Items")    ? (double)json_array_size(value)
                : strstr(word, "Length") ? (double)json_string_length(value)
                                         : json_number_value(value);
  bool concerned = strstr(word, "Items")    ? json_is_array(value)
                   : strstr(word, "Length") ? json_is_string(value)
                                            : json_is_number(value);
  bool least = strncmp(word, "min", 3) == 0;
  if (!concerned || (least ? size >= limit : size <= limit)) return true;
  return refuse(look, "%s is %g, and it has %g", word, limit, size);
}

static bool allows_members(struct look *look, const json_t *schema, const json_t *value) {
  const json_t *properties = json_object_get(schema, "properties"), *below;
  const char *name;
  size_t i;
  json_t *member;
  json_array_foreach(json_object_get(schema, "required"), i, member) {
    if (!json_object_get(value, json_string_value(member)))
      return refuse(look, "%s is missing", json_string_value(member));
  }
  json_object_foreach((json_t *)(uintptr_t)value, name, member) {
    below = json_object_get(properties, name);
    if (!below && json_is_false(json_object_get(schema, "additionalProperties")))
      return refuse(look, "%s is not described", name);
    if (below && !allows_below(look, name, below, member)) return false;
  }
  return true;
}

static bool allows_items(struct look *look, const json_t *schema, const json_t *value) {
  size_t i;
  const json_t *item;
  json_array_foreach(value, i, item) {
    char name[24];
    (void)snprintf(name, sizeof name, "%zu", i);
    if (!allows_below(look, name, schema, item)) return false;
  }
  return true;
}

static bool is_for_readers(const char *word) {
  static const char *const words[] = {
      "description",         "example", "format", "default", "properties", "required",
      "additionalProperties"};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (strcmp(word, words[i]) == 0) return true;
  return false;
}

static bool is_size(const char *word) {
  return strncmp(word, "min", 3) == 0 || strncmp(word, "max", 3) == 0;
}

static bool allows_word(struct look *look, const char *word, const json_t *says,
                        const json_t *value) {
  if (strcmp(word, "type") == 0) return allows_type(look, says, value);
  if (strcmp(word, "enum") == 0) return allows_one_of(look, says, value);
  if (strcmp(word, "anyOf") == 0) return allows_any(look, says, value);
  if (strcmp(word, "items") == 0) return !json_is_array(value) || allows_items(look, says, value);
  if (is_size(word)) return allows_size(look, word, json_number_value(says), value);
  return is_for_readers(word) || refuse(look, "the schema says \"%s\", which is not known", word);
}

static bool allows(struct look *look, const json_t *schema, const json_t *value) {
  const char *word;
  json_t *says;
  schema = contract_follow(schema);
  if (!schema) return refuse(look, "its $ref leads nowhere");
  json_object_foreach((json_t *)(uintptr_t)schema, word, says) {
    if (!allows_word(look, word, says, value)) return false;
  }
  return !json_is_object(value) || allows_members(look, schema, value);
}

bool contract_allows(const json_t *schema, const json_t *value, char why[CONTRACT_WHY_SIZE]) {
  struct look look = {.why = why};
  return allows(&look, schema, value);
}

/* ---- answers ---------------------------------------------------------------------------------- */

/* The pattern with the fewest captures is the most literal one, as in the server. */
static const json_t *find_path(const char *target) {
  char path[2048];
  size_t length = strcspn(target, "?");
  const char *pattern;
  json_t *operations;
  const json_t *found = NULL;
  size_t captures_found = 0;
  if (length >= sizeof path) return NULL;
  memcpy(path, target, length);
  path[length] = '\0';
  json_object_foreach(json_object_get(contract(), "paths"), pattern, operations) {
    struct http_captures captures;
    if (!http_path_match(pattern, path, &captures)) continue;
    if (found && captures.count >= captures_found) continue;
    found = operations;
    captures_found = captures.count;
  }
  return found;
}

static const json_t *schema_of(const json_t *response) {
  static const char *const types[] = {"application/json", "application/problem+json"};
  const json_t *content = json_object_get(contract_follow(response), "content");
  const json_t *schema = NULL;
  for (size_t i = 0; i < sizeof types / sizeof types[0] && !schema; i++)
    schema = json_object_get(json_object_get(content, types[i]), "schema");
  return schema;
}

/* Figures and events: text, which is no JSON. */
static bool is_text(const json_t *response) {
  const char *type;
  json_t *content;
  json_object_foreach(json_object_get(contract_follow(response), "content"), type, content) {
    if (strncmp(type, "text/", 5) == 0) return true;
  }
  return false;
}

bool contract_allows_answer(const char *method, const char *target, int status, const json_t *body,
                            char why[CONTRACT_WHY_SIZE]) {
  char name[8], number[16];
  const struct look look = {.why = why};
  const json_t *schema = NULL, *response = NULL;
  for (size_t i = 0; i < sizeof name; i++)
    name[i] = i < strlen(method) ? (char)(method[i] | ' ') : '\0';
  name[sizeof name - 1] = '\0';
  (void)snprintf(number, sizeof number, "%d", status);
  const json_t *operations = find_path(target), *operation = json_object_get(operations, name);
  if (operation) {
    response = json_object_get(json_object_get(operation, "responses"), number);
    schema = schema_of(response);
  } else if (status == (operations ? 405 : 404)) {
    schema = json_object_get(json_object_get(json_object_get(contract(), "components"), "schemas"),
                             "Problem");
  }
  if (!schema && is_text(response))
    return !body || refuse(&look, "%s %s has answered with JSON, not with text", method, target);
  if (!schema) return refuse(&look, "%s %s may not answer %d", method, target, status);
  if (!body) return refuse(&look, "%s %s has answered %d without a body", method, target, status);
  return contract_allows(schema, body, why);
}
