/* POST /v1/participants/{name}/drain and /undrain: answered with the participant. */
#include <stdlib.h>

#include "coordinator/requests.h"
#include "coordinator/routes_more.h"

static void respond_participant(void *data, char *json, size_t length, const struct error *err) {
  (void)err; /* the name is known: there is an object, or no memory, which is answered */
  http_respond_take(data, 200, "application/json", json, length, NULL, 0);
}

static void drain(struct http_request *request, struct coordinator *c, bool draining) {
  const char *name = http_capture(request, 0);
  struct error err = {0};
  enum error_code code = empty_body_decode(request, &err);
  if (code == ERR_OK) code = coordinator_drain(c, name, draining, &err);
  if (code == ERR_OK)
    coordinator_participants(c, name, respond_participant, request);
  else
    http_respond_error(request, &err, NULL);
}

void post_drain(struct http_request *request, void *data) {
  drain(request, ((struct routes_context *)data)->coordinator, true);
}

void post_undrain(struct http_request *request, void *data) {
  drain(request, ((struct routes_context *)data)->coordinator, false);
}
