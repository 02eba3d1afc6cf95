/* Where spans go, of both daemons: their configuration's keys, and the tracer made from them.
 */
#ifndef ASSENT_COMMON_TRACE_SETTINGS_H
#define ASSENT_COMMON_TRACE_SETTINGS_H

#include "common/config.h"
#include "common/error.h"
#include "common/tracer.h"

struct trace_settings {
  char *endpoint; /* NULL: no spans */
  char *service_name;
  char *headers_file; /* of lines "Name: value"; NULL: none */
  char *sample_ratio; /* text, 0 to 1; NULL: no trace is begun */
  char *ca;           /* NULL: the system's */
};

#define TRACE_KEY(section, name, type, field, otherwise)                                           \
  { section, name, CONFIG_STRING, offsetof(type, field), otherwise, 0, 0, NULL, false }

/* `service` is the default of trace_service_name. */
#define TRACE_CONFIG_KEYS(section, type, member, service)                                          \
  TRACE_KEY(section, "trace_endpoint", type, member.endpoint, NULL),                               \
      TRACE_KEY(section, "trace_service_name", type, member.service_name, service),                \
      TRACE_KEY(section, "trace_headers_file", type, member.headers_file, NULL),                   \
      TRACE_KEY(section, "trace_ca", type, member.ca, NULL)

/* For who begins traces. */
#define TRACE_RATIO_CONFIG_KEY(section, type, member)                                              \
  TRACE_KEY(section, "trace_sample_ratio", type, member.sample_ratio, "1")

/* ERR_CONFIG: an endpoint that is no URL, headers that would travel in the clear, a ratio that is none. */
enum error_code trace_settings_check(const struct trace_settings *settings, struct error *err)
    __attribute__((warn_unused_result));
/* `*out` NULL with ERR_OK: none is configured. ERR_CONFIG: the file of headers. */
enum error_code trace_settings_open(const struct trace_settings *settings, struct loop *loop,
                                    struct tracer **out, struct error *err)
    __attribute__((warn_unused_result));
/* Reads the file of headers again. What cannot be read leaves the former ones in force; `tracer` NULL: there
 * is nothing to do. */
enum error_code trace_settings_reload(const struct trace_settings *settings, struct tracer *tracer,
                                      struct error *err) __attribute__((warn_unused_result));

#endif
