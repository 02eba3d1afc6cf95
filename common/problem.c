/* See problem.h. */
#include "common/problem.h"

#include <stdio.h>

#include "common/json.h"

/* What a fatal error says is for the log: it names files and the like. */
static const char *detail_of(const struct error *err) {
  bool fatal = error_class_of(err->code) == CLASS_FATAL;
  return fatal || err->text[0] == '\0' ? error_title(err->code) : err->text;
}

char *problem_make(const struct error *err, const char *extra, size_t *length) {
  const char *code = error_wire_code(err->code);
  char type[64];
  (void)snprintf(type, sizeof type, "urn:assent:problem:%s", code);
  struct json_writer w;
  json_writer_init(&w);
  json_object_begin(&w);
  json_key(&w, "type");
  json_write_string(&w, type);
  json_key(&w, "title");
  json_write_string(&w, error_title(err->code));
  json_key(&w, "status");
  json_write_integer(&w, error_http_status(err->code));
  json_key(&w, "detail");
  json_write_string(&w, detail_of(err));
  json_key(&w, "code");
  json_write_string(&w, code);
  if (err->field[0] != '\0') {
    json_key(&w, "field");
    json_write_string(&w, err->field);
  }
  if (err->limit.name) {
    json_key(&w, "limit");
    json_write_limit(&w, &err->limit);
  }
  if (extra) json_write_raw(&w, extra);
  json_object_end(&w);
  return json_writer_take(&w, length);
}

bool problem_is_temporary(enum error_code code) {
  int status = error_http_status(code);
  return status == 429 || status == 503 || code == ERR_KEY_RUNNING;
}
