/* See message_json.h: runs and decisions that travel together, each in an envelope of its own. */
#include <stdlib.h>
#include <string.h>

#include "common/message_json.h"
#include "common/problem.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const kind_names[] = {
    [MESSAGE_RUN] = "run", [MESSAGE_DECIDE] = "decide", [MESSAGE_PROBLEM] = "problem"};

void message_begin(struct json_writer *w, uint64_t id, enum message_kind kind) {
  json_object_begin(w);
  json_key(w, "id");
  json_write_integer(w, (int64_t)id);
  json_key(w, kind_names[kind]);
}

void message_end(struct json_writer *w) {
  json_object_end(w);
}

enum error_code message_decode(const json_t *json, struct message *out, struct error *err) {
  static const struct json_field fields[] = {
      {"id", JSON_KIND_INTEGER, true, 1, INT64_MAX},
      {"run", JSON_KIND_OBJECT, false, 0, 0},
      {"decide", JSON_KIND_OBJECT, false, 0, 0},
      {"problem", JSON_KIND_OBJECT, false, 0, 0},
  };
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  unsigned found = 0;
  for (size_t i = 0; i < COUNT(kind_names); i++) {
    const json_t *body = json_object_get(json, kind_names[i]);
    if (!json_is_object(body)) continue;
    found++;
    out->kind = (enum message_kind)i;
    out->body = body;
  }
  out->id = (uint64_t)json_get_integer(json, "id", 0);
  return found == 1 ? ERR_OK
                    : error_set(err, ERR_INVALID, "a message is a run or a decide, or a problem");
}

/* ---- problems ---------------------------------------------------------------------------------- */

bool message_problem_encode(struct json_writer *w, const char *gid, const struct error *err) {
  char extra[GID_SIZE + 16];
  (void)snprintf(extra, sizeof extra, "\"gid\":\"%s\"", gid);
  char *problem = problem_make(err, extra, NULL);
  if (problem) json_write_raw(w, problem);
  free(problem);
  return problem != NULL;
}

const char *message_gid(const json_t *body) {
  struct gid unused;
  const char *gid = json_get_string(body, "gid", "");
  return gid_parse(gid, &unused) ? gid : "";
}

void problem_decode(const json_t *problem, int status, struct error *err) {
  const char *code = json_string_value(json_object_get(problem, "code"));
  const char *detail = json_string_value(json_object_get(problem, "detail"));
  enum error_code known = ERR_LOST;
  if (code && strcmp(code, error_wire_code(ERR_FENCED)) == 0)
    known = ERR_FENCED;
  else if (code && strcmp(code, error_wire_code(ERR_UNAVAILABLE)) == 0)
    known = ERR_UNAVAILABLE;
  else if (code && strcmp(code, error_wire_code(ERR_SQL_NOT_ALLOWED)) == 0)
    known = ERR_SQL_NOT_ALLOWED; /* the agent's file and ours differ */
  else if (code && strcmp(code, error_wire_code(ERR_OVERLOADED)) == 0)
    known = ERR_OVERLOADED;
  else if (status == 400 || status == 413 || status == 415 || status == 422)
    known = ERR_BAD_REQUEST; /* refused as it stood; another 409 may be about a repeat of it */
  (void)error_set(err, known, "the agent answered %d: %s", status, detail ? detail : "");
  err->limit = json_get_limit(problem);
}

void message_problem_decode(const json_t *body, const char *gid, struct error *err) {
  const json_t *status = json_object_get(body, "status");
  if (strcmp(json_get_string(body, "gid", ""), gid) != 0)
    (void)error_set(err, ERR_LOST, "the agent's answer is about another branch");
  else
    problem_decode(body, (int)json_integer_value(status), err);
}

const struct error *reply_refused(enum error_code code, struct error *err) {
  if (code == ERR_OK) return NULL;
  err->code = ERR_LOST;
  (void)error_wrap(err, "the agent's answer");
  return err;
}
