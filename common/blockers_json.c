/* The messages about blockers in JSON, as message_json.h says. What is not known is left out. */
#include "common/message_json.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Others' names: what does not fit is cut. */
static void decode_text(const json_t *json, const char *name, char *out, size_t size) {
  (void)snprintf(out, size, "%s", json_get_string(json, name, ""));
}

void blockers_request_encode(struct json_writer *w, const struct blockers_request *request) {
  json_object_begin(w);
  json_key(w, "gid");
  json_write_string(w, request->gid);
  json_object_end(w);
}

enum error_code blockers_request_decode(const json_t *json, struct blockers_request *out,
                                        struct error *err) {
  static const struct json_field fields[] = {{"gid", JSON_KIND_STRING, true, 1, GID_SIZE - 1}};
  struct gid gid;
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  out->gid = json_get_string(json, "gid", "");
  if (gid_parse(out->gid, &gid)) return ERR_OK;
  (void)error_set(err, ERR_INVALID, "not a gid");
  return error_field(err, "/gid");
}

void blockers_reply_encode(struct json_writer *w, const struct blockers_reply *reply) {
  json_object_begin(w);
  json_key(w, "blockers");
  json_array_begin(w);
  for (size_t i = 0; i < reply->count; i++) {
    const struct blocker *blocker = &reply->blockers[i];
    json_object_begin(w);
    json_member_integer(w, "pid", blocker->pid);
    json_member_text(w, "application", blocker->application);
    json_member_text(w, "state", blocker->state);
    json_member_text(w, "gid", blocker->gid);
    json_member_integer(w, "since_us", blocker->since_us);
    json_object_end(w);
  }
  json_array_end(w);
  json_object_end(w);
}

static enum error_code decode_blocker(const json_t *json, struct blocker *out, struct error *err) {
  static const struct json_field fields[] = {{"pid", JSON_KIND_INTEGER, false, 1, INT32_MAX},
                                             {"application", JSON_KIND_STRING, false, 0, 0},
                                             {"state", JSON_KIND_STRING, false, 0, 0},
                                             {"gid", JSON_KIND_STRING, false, 0, 0},
                                             {"since_us", JSON_KIND_INTEGER, false, 0, 0}};
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  if (code != ERR_OK) return code;
  out->pid = json_get_integer(json, "pid", 0);
  out->since_us = json_get_integer(json, "since_us", 0);
  decode_text(json, "application", out->application, sizeof out->application);
  decode_text(json, "state", out->state, sizeof out->state);
  decode_text(json, "gid", out->gid, sizeof out->gid);
  return ERR_OK;
}

enum error_code blockers_reply_decode(const json_t *json, struct blocker items[BLOCKERS_MAX],
                                      struct blockers_reply *out, struct error *err) {
  static const struct json_field fields[] = {{"blockers", JSON_KIND_ARRAY, true, 0, BLOCKERS_MAX}};
  enum error_code code = json_check_object(json, "", fields, COUNT(fields), err);
  *out = (struct blockers_reply){.blockers = items};
  if (code != ERR_OK) return code;
  const json_t *array = json_object_get(json, "blockers");
  out->count = json_array_size(array);
  for (size_t i = 0; i < out->count && code == ERR_OK; i++)
    code = decode_blocker(json_array_get(array, i), &items[i], err);
  return code;
}
