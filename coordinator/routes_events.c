/* GET /v1/events: see events.h. The id of the last event seen comes in the header Last-Event-ID, or, from
 * clients that cannot set it at first, in ?last_event_id=. */
#include "coordinator/internal.h"
#include "coordinator/routes_more.h"

void get_events(struct http_request *request, void *data) {
  static const char *const known[] = {"last_event_id", NULL};
  struct routes_context *context = data;
  struct error err = {0};
  if (http_check_query(request, known, &err) != ERR_OK) {
    http_respond_error(request, &err, NULL);
    return;
  }
  const char *last_id = http_header(request, "Last-Event-ID");
  if (!last_id) last_id = http_query(request, "last_event_id");
  events_follow(context->coordinator->events, request, last_id);
}
