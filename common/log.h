/* Structured diagnostics on standard error: text on a terminal, JSON lines otherwise.
 * (The decision log is wal/, another thing.)
 *
 *   log_info("participant_up", "participant", "s", name, "latency_us", "d", latency, NULL)
 *
 * A line has a time, a level, an event name (snake_case, from a fixed set, so that it can be
 * searched for), and fields. Never a secret, never a statement's parameters.
 */
#ifndef ASSENT_COMMON_LOG_H
#define ASSENT_COMMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON };

/* `program` is borrowed for the life of the process. */
void log_setup(const char *program, enum log_level level, enum log_format format);
bool log_level_parse(const char *text, enum log_level *out);

/* Fields: triples of name, type and value, then NULL. Types: "s" const char* (NULL prints null), "o" the same, but
 * NULL leaves the field out, "d" int64_t (cast it), "b" int as boolean. */
void log_event(enum log_level level, const char *event, ...) __attribute__((sentinel));

/* For lines that strangers can cause at will, and that must not fill the disk: lets LOG_GATE_LINES pass a
 * second. With the first of a second *dropped tells how many were left out since the last one that passed. */
enum { LOG_GATE_LINES = 20 };
struct log_gate {
  uint64_t since_ms, dropped;
  unsigned lines;
};
bool log_gate_pass(struct log_gate *gate, uint64_t now_ms, uint64_t *dropped);

#define log_debug(...) log_event(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)

#endif
