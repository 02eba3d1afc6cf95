/* docs/api.md from coordinator/openapi.json: what is true is said once, in the document that the program
 * serves and the tests hold its answers against.
 * usage: api-docs openapi.json >api.md
 *
 * Knows what that document uses: local $ref, type, enum, ranges, items, anyOf, bearer tokens with roles.
 */
#include <ctype.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *document;

static const char *text_at(const json_t *object, const char *name) {
  const char *text = json_string_value(json_object_get(object, name));
  return text ? text : "";
}

/* The last segment of a $ref; NULL: there is none. */
static const char *name_of_reference(const json_t *at) {
  const char *to = json_string_value(json_object_get(at, "$ref"));
  return to ? strrchr(to, '/') + 1 : NULL;
}

static const json_t *component(const char *kind, const char *name) {
  const json_t *components = json_object_get(document, "components");
  const json_t *found = json_object_get(json_object_get(components, kind), name);
  if (found) return found;
  (void)fprintf(stderr, "api-docs: there is no #/components/%s/%s\n", kind, name);
  exit(1);
}

static void print_lower(const char *text) {
  for (; *text; text++)
    (void)putchar(tolower((unsigned char)*text));
}

/* Within a table a line's end and a bar would end the cell. */
static void print_cell(const char *text) {
  for (; *text; text++)
    (void)fputs(*text == '|' ? "\\|" : *text == '\n' ? " " : (char[2]){*text, '\0'}, stdout);
}

/* ---- types ------------------------------------------------------------------------------------ */

static void print_type(const json_t *schema);

static void print_list(const json_t *values, const char *quote) {
  size_t i;
  const json_t *value;
  const char *before = "";
  json_array_foreach(values, i, value) {
    const char *text = json_is_null(value) ? "null" : json_string_value(value);
    (void)printf("%s%s%s%s", before, json_is_null(value) ? "" : quote, text,
                 json_is_null(value) ? "" : quote);
    before = ", ";
  }
}

static void print_range(const json_t *schema, const char *least, const char *most,
                        const char *what) {
  const json_t *min = json_object_get(schema, least), *max = json_object_get(schema, most);
  if (min && max && json_integer_value(min) == json_integer_value(max))
    (void)printf(", %lld%s", json_integer_value(min), what);
  else if (min && max)
    (void)printf(", %lld to %lld%s", json_integer_value(min), json_integer_value(max), what);
  else if (min)
    (void)printf(", at least %lld%s", json_integer_value(min), what);
  else if (max)
    (void)printf(", at most %lld%s", json_integer_value(max), what);
}

static void print_any(const json_t *schemas) {
  size_t i;
  const json_t *schema;
  json_array_foreach(schemas, i, schema) {
    if (i > 0) (void)fputs(" or ", stdout);
    print_type(schema);
  }
}

static void print_type(const json_t *schema) {
  const char *reference = name_of_reference(schema);
  const json_t *type = json_object_get(schema, "type"), *any = json_object_get(schema, "anyOf");
  const json_t *values = json_object_get(schema, "enum");
  if (reference) {
    (void)printf("[%s](#", reference);
    print_lower(reference);
    (void)putchar(')');
  } else if (any) {
    print_any(any);
  } else if (values) {
    print_list(values, "`");
  } else if (strcmp(text_at(schema, "type"), "array") == 0) {
    (void)fputs("array of ", stdout);
    print_type(json_object_get(schema, "items"));
    print_range(schema, "minItems", "maxItems", "");
  } else if (type) {
    if (json_is_string(type))
      (void)fputs(json_string_value(type), stdout);
    else
      print_list(type, "");
    print_range(schema, "minimum", "maximum", "");
    print_range(schema, "minLength", "maxLength", " bytes");
  } else {
    (void)fputs("any JSON", stdout);
  }
}

static void print_meaning(const json_t *schema) {
  const char *name = name_of_reference(schema);
  const json_t *otherwise = json_object_get(schema, "default");
  print_cell(text_at(name ? component("schemas", name) : schema, "description"));
  if (!otherwise) return;
  char *value = json_dumps(otherwise, JSON_ENCODE_ANY);
  (void)printf(" Default: `%s`.", value);
  free(value);
}

/* ---- operations ------------------------------------------------------------------------------- */

static const json_t *response_of(const json_t *response) {
  const char *name = name_of_reference(response);
  return name ? component("responses", name) : response;
}

static void print_parameters(const json_t *parameters) {
  size_t i;
  const json_t *item;
  if (json_array_size(parameters) == 0) return;
  (void)puts("| parameter | in | type | meaning |\n|---|---|---|---|");
  json_array_foreach(parameters, i, item) {
    const char *shared = name_of_reference(item);
    const json_t *parameter = shared ? component("parameters", shared) : item;
    const json_t *schema = json_object_get(parameter, "schema");
    (void)printf("| `%s` | %s | ", text_at(parameter, "name"), text_at(parameter, "in"));
    print_type(schema);
    (void)fputs(" | ", stdout);
    print_cell(text_at(parameter, "description"));
    if (json_object_get(schema, "default"))
      (void)printf(" Default: %lld.", json_integer_value(json_object_get(schema, "default")));
    (void)puts(" |");
  }
  (void)puts("");
}

static void print_headers(const json_t *headers) {
  const char *name, *before = " Headers: ";
  json_t *header;
  json_object_foreach((json_t *)(uintptr_t)headers, name, header) {
    (void)printf("%s`%s`", before, name);
    before = ", ";
  }
  if (json_object_size(headers) > 0) (void)putchar('.');
}

/* Named where it is not JSON. */
static void print_content(const char *type, const json_t *content) {
  bool json =
      strcmp(type, "application/json") == 0 || strcmp(type, "application/problem+json") == 0;
  if (json)
    print_type(json_object_get(content, "schema"));
  else
    (void)fputs(type, stdout);
}

static void print_responses(const json_t *responses) {
  const char *status, *type;
  json_t *response, *content;
  (void)puts("| status | document | when |\n|---|---|---|");
  json_object_foreach((json_t *)(uintptr_t)responses, status, response) {
    const json_t *found = response_of(response);
    (void)printf("| %s | ", status);
    json_object_foreach(json_object_get(found, "content"), type, content) {
      print_content(type, content);
    }
    (void)fputs(" | ", stdout);
    print_cell(text_at(found, "description"));
    print_headers(json_object_get(found, "headers"));
    (void)puts(" |");
  }
  (void)puts("");
}

/* Who needs which token. */
static void print_roles(const json_t *security) {
  size_t i, j;
  const json_t *way, *role;
  const char *before = "Token: ";
  json_array_foreach(security, i, way){json_array_foreach(json_object_get(way, "bearer"), j, role){
      (void)printf("%s%s", before, json_string_value(role));
  before = " or ";
}
}
(void)puts(json_array_size(security) > 0 ? ".\n" : "Token: none is needed.\n");
}

static void print_operation(const char *path, const char *method, const json_t *operation) {
  const json_t *body = json_object_get(operation, "requestBody");
  (void)fputs("## ", stdout);
  for (const char *at = method; *at; at++)
    (void)putchar(toupper((unsigned char)*at));
  (void)printf(" %s\n\n%s.", path, text_at(operation, "summary"));
  if (*text_at(operation, "description")) (void)printf(" %s", text_at(operation, "description"));
  (void)puts("\n");
  print_roles(json_object_get(operation, "security"));
  print_parameters(json_object_get(operation, "parameters"));
  if (body) {
    const json_t *content = json_object_get(body, "content");
    (void)fputs("Body: ", stdout);
    print_type(json_object_get(json_object_get(content, "application/json"), "schema"));
    (void)puts(json_is_true(json_object_get(body, "required")) ? ".\n" : "; none is `{}`.\n");
  }
  print_responses(json_object_get(operation, "responses"));
}

/* 200, 201, 409: those that are not the same for every call. */
static void print_own_statuses(const json_t *operation) {
  const char *status, *before = "";
  json_t *response;
  json_object_foreach(json_object_get(operation, "responses"), status, response) {
    if (name_of_reference(response)) continue;
    (void)printf("%s%s", before, status);
    before = ", ";
  }
}

static void print_overview(const json_t *paths) {
  const char *path, *method;
  json_t *operations, *operation;
  (void)puts("| call | does | answers |\n|---|---|---|");
  json_object_foreach((json_t *)(uintptr_t)paths, path, operations){
      json_object_foreach(operations, method, operation){(void)putchar('|');
  (void)fputs(" `", stdout);
  for (const char *at = method; *at; at++)
    (void)putchar(toupper((unsigned char)*at));
  (void)printf(" %s` | ", path);
  print_cell(text_at(operation, "summary"));
  (void)fputs(" | ", stdout);
  print_own_statuses(operation);
  (void)puts(" |");
}
}
(void)puts("");
}

/* ---- objects ---------------------------------------------------------------------------------- */

static bool is_required(const json_t *schema, const char *name) {
  size_t i;
  const json_t *one;
  json_array_foreach(json_object_get(schema, "required"), i, one) {
    if (strcmp(json_string_value(one), name) == 0) return true;
  }
  return false;
}

static void print_schema(const char *name, const json_t *schema) {
  const json_t *properties = json_object_get(schema, "properties");
  const json_t *example = json_object_get(schema, "example");
  const char *field;
  json_t *member;
  (void)printf("### %s\n\n%s", name, text_at(schema, "description"));
  if (!properties) {
    (void)fputs(" Type: ", stdout);
    print_type(schema);
    (void)putchar('.');
  }
  (void)puts("\n");
  if (json_object_size(properties) > 0) (void)puts("| field | type | meaning |\n|---|---|---|");
  json_object_foreach((json_t *)(uintptr_t)properties, field, member) {
    (void)printf("| `%s`%s | ", field, is_required(schema, field) ? "" : " (optional)");
    print_type(member);
    (void)fputs(" | ", stdout);
    print_meaning(member);
    (void)puts(" |");
  }
  if (json_object_size(properties) > 0) (void)puts("");
  if (properties && example) {
    char *text = json_dumps(example, JSON_INDENT(1));
    (void)printf("```\n%s\n```\n\n", text);
    free(text);
  }
}

int main(int argc, char **argv) {
  json_error_t error;
  const char *name;
  json_t *value;
  document = argc == 2 ? json_load_file(argv[1], JSON_REJECT_DUPLICATES, &error) : NULL;
  if (!document) {
    (void)fprintf(stderr, "api-docs: %s\n",
                  argc == 2 ? error.text : "usage: api-docs openapi.json");
    return 2;
  }
  (void)printf(
      "# The HTTP API\n\n<!-- Made from coordinator/openapi.json by `make api-docs`. -->\n\n"
      "%s The same as OpenAPI 3.1: `/openapi.json`.\n\n",
      text_at(json_object_get(document, "info"), "description"));
  print_overview(json_object_get(document, "paths"));
  (void)printf("**Who may call.** %s\n\n",
               text_at(component("securitySchemes", "bearer"), "description"));
  json_object_foreach(json_object_get(document, "paths"), name, value) {
    const char *method;
    json_t *operation;
    json_object_foreach(value, method, operation) {
      print_operation(name, method, operation);
    }
  }
  (void)puts("## Objects\n\nA field that is not marked optional is always there.\n");
  json_object_foreach(json_object_get(json_object_get(document, "components"), "schemas"), name,
                      value) {
    print_schema(name, value);
  }
  json_decref(document);
  return ferror(stdout) ? 1 : 0;
}
