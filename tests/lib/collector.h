/* A collector of spans for tests: an HTTP server on a thread of its own that takes OTLP/JSON, as well or as
 * badly as it is told.
 */
#ifndef ASSENT_TESTS_LIB_COLLECTOR_H
#define ASSENT_TESTS_LIB_COLLECTOR_H

#include <jansson.h>
#include <stdint.h>

struct collector;

struct collector *collector_start(void); /* on a free port of loopback; takes everything */
void collector_stop(struct collector *collector);
uint16_t collector_port(const struct collector *collector);

/* How requests to come are answered. What is answered otherwise than 2xx is not kept. */
enum { COLLECTOR_HANGS = 0 };
/* `body`: of the answer, static; NULL: {}. `more`: further header lines, static, each with its end; NULL */
void collector_answer(struct collector *collector, int status, const char *more, const char *body);

unsigned collector_requests(struct collector *collector); /* received, however answered */
/* The head of the last request. Owner: the caller, free(). */
char *collector_head(struct collector *collector);
/* All spans kept, as they came, each with a member "service" besides. Owner: the caller, json_decref(). */
json_t *collector_spans(struct collector *collector);
size_t collector_span_count(struct collector *collector);

#endif
