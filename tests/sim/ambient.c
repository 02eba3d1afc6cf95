/* What common/ asks of the operating system, answered by the simulation: common/clock.h's two clocks
 * (the linker puts these in their place), common/random.h, common/log.h, common/crash_point.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/id.h"
#include "common/log.h"
#include "tests/sim/process.h"

/* 2026-01-01 */
static const int64_t WALL_BEGIN_US = INT64_C(1767225600) * 1000000;

/* How much likelier a kill is at a crash point than before any other event. */
enum { CRASH_POINT_WEIGHT = 8, LOG_LINE_BYTES = 700 };

static struct sim *running;
static struct process *current;

struct process *process_current(void) {
  return current;
}

void process_set_current(struct process *process) {
  current = process;
}

void ambient_enter(struct sim *sim) {
  running = sim;
  current = NULL;
  ambient_new_process();
}

void ambient_new_process(void) {
  txid_forget();
}

/* ---- clocks ----------------------------------------------------------------------------------- */

int64_t ambient_wall_us(void) __asm__("__wrap_clock_wall_us");
uint64_t ambient_monotonic_us(void) __asm__("__wrap_clock_monotonic_us");

int64_t ambient_wall_us(void) {
  int64_t offset_us = current ? current->wall_offset_us : 0;
  return WALL_BEGIN_US + (int64_t)sim_now_us(running) + offset_us;
}

uint64_t ambient_monotonic_us(void) {
  return sim_now_us(running);
}

/* ---- randomness ------------------------------------------------------------------------------- */

void id_random(void *out, unsigned long size) {
  sim_random_bytes(running, out, size);
}

/* ---- crash points ----------------------------------------------------------------------------- */

void crash_point(const char *name) {
  if (current && !current->dead &&
      sim_fault_often(running, current->kill, CRASH_POINT_WEIGHT, name))
    current->dead = true;
}

/* ---- the log ---------------------------------------------------------------------------------- */

static size_t append(char *line, size_t used, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t append(char *line, size_t used, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int written = vsnprintf(line + used, LOG_LINE_BYTES - used, format, args);
  va_end(args);
  size_t end = used + (written > 0 ? (size_t)written : 0);
  return end < LOG_LINE_BYTES ? end : LOG_LINE_BYTES - 1;
}

void log_event(enum log_level level, const char *event, ...) {
  (void)level;
  if (!sim_is_traced(running)) return;
  char line[LOG_LINE_BYTES] = "";
  size_t used = 0;
  va_list fields;
  va_start(fields, event);
  for (const char *name; (name = va_arg(fields, const char *));) {
    const char *type = va_arg(fields, const char *);
    if (strcmp(type, "s") == 0) {
      const char *text = va_arg(fields, const char *);
      used = append(line, used, " %s=\"%s\"", name, text ? text : "");
    } else if (strcmp(type, "d") == 0) {
      used = append(line, used, " %s=%lld", name, (long long)va_arg(fields, int64_t));
    } else {
      used = append(line, used, " %s=%d", name, va_arg(fields, int));
    }
  }
  va_end(fields);
  sim_trace(running, "%s%s log %s%s", current ? current->name : "",
            current && current->dead ? "(dead)" : "", event, line);
}
