/* Handlers of routes.c's table that have files of their own. Each gets a `struct routes_context *`. */
#ifndef ASSENT_COORDINATOR_ROUTES_MORE_H
#define ASSENT_COORDINATOR_ROUTES_MORE_H

#include "coordinator/routes.h"

void get_timeline(struct http_request *request, void *data); /* routes_timeline.c */
void get_metrics(struct http_request *request, void *data);  /* routes_metrics.c */
void get_events(struct http_request *request, void *data);   /* routes_events.c */
void post_drain(struct http_request *request, void *data);   /* routes_drain.c */
void post_undrain(struct http_request *request, void *data);
void get_openapi(struct http_request *request, void *data); /* routes_files.c */
void get_console(struct http_request *request, void *data);
void get_console_style(struct http_request *request, void *data);
void get_console_script(struct http_request *request, void *data);

/* Who sees only what is `owner`'s (NULL: who sees everything) is told of another's transaction what is told
 * of none. */
bool record_is_for(const struct wal_record *record, const char *owner);
void respond_no_transaction(struct http_request *request);

#endif
