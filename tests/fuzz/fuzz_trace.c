/* Headers of a trace: what is taken as a traceparent is written as one that reads back the same; what is
 * taken as a tracestate can stand in a header line, and in a span. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/trace.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_text(data, size);
  struct trace_context context, again;
  if (traceparent_parse(text, &context)) {
    char written[TRACEPARENT_SIZE], rewritten[TRACEPARENT_SIZE];
    traceparent_format(&context, written);
    assert(strlen(written) == TRACEPARENT_SIZE - 1);
    assert(strspn(written, "0123456789abcdef-") == strlen(written));
    assert(traceparent_parse(written, &again));
    traceparent_format(&again, rewritten);
    assert(strcmp(written, rewritten) == 0);
    assert(strstr(text, "ff-") != text);
  }
  if (tracestate_is_valid(text)) {
    assert(strlen(text) <= TRACESTATE_BYTES_MAX && strchr(text, '='));
    for (const char *at = text; *at; at++)
      assert((*at >= ' ' && *at <= '~') || *at == '\t');
  }
  free(text);
  return 0;
}
