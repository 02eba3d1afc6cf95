/* See meter.h. */
#include "bench/meter.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/bench.h"
#include "common/clock.h"

/* The first number of a schedstat file: nanoseconds on a CPU. 0: it has gone meanwhile. */
static uint64_t read_schedstat_us(const char *path) {
  unsigned long long ns = 0;
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  if (fscanf(file, "%llu", &ns) != 1) ns = 0; /* NOLINT(cert-err34-c): too large cannot be */
  (void)fclose(file);
  return ns / 1000;
}

static uint64_t process_cpu_us(pid_t pid) {
  char path[300];
  uint64_t sum_us = 0;
  (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
  DIR *tasks = opendir(path);
  must(tasks != NULL, path, "cannot be read");
  for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", (int)pid, entry->d_name);
    sum_us += read_schedstat_us(path);
  }
  (void)closedir(tasks);
  return sum_us;
}

/* Of a server: its process and all children. */
static uint64_t server_cpu_us(pid_t pid) {
  char path[300];
  uint64_t sum_us = process_cpu_us(pid);
  (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
  FILE *children = fopen(path, "re");
  must(children != NULL, path, "cannot be read");
  int child;
  while (fscanf(children, "%d", &child) == 1) { /* NOLINT(cert-err34-c): the kernel's own */
    (void)snprintf(path, sizeof path, "/proc/%d/schedstat", child);
    sum_us += read_schedstat_us(path);
  }
  (void)fclose(children);
  return sum_us;
}

static uint64_t own_cpu_us(void) {
  struct timespec spent;
  (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
  return (uint64_t)spent.tv_sec * 1000000 + (uint64_t)spent.tv_nsec / 1000;
}

void meter_read(const struct site *site, enum hosting hosting, struct meter *out) {
  const struct daemons *daemons = &site->daemons[hosting];
  *out = (struct meter){.at_us = clock_monotonic_us()};
  out->cpu_us[METER_CLIENT] = own_cpu_us();
  for (int slot = 0; slot < COUNT_SLOTS; slot++) {
    const struct count *count = &site->counts->slots[slot];
    out->counts[slot].syncs = atomic_load(&count->syncs);
    out->counts[slot].sent = atomic_load(&count->sent);
    out->counts[slot].received = atomic_load(&count->received);
  }
  if (daemons->coordinator)
    out->cpu_us[METER_COORDINATOR] = process_cpu_us(process_pid(daemons->coordinator));
  for (int bank = 0; bank < BANKS; bank++) {
    if (daemons->agents[bank])
      out->cpu_us[METER_AGENTS] += process_cpu_us(process_pid(daemons->agents[bank]));
    out->cpu_us[METER_SERVERS] += server_cpu_us(throwaway_server_pid(site->servers[bank]));
  }
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void reset_peak(struct process *process) {
  char path[64];
  if (!process) return;
  (void)snprintf(path, sizeof path, "/proc/%d/clear_refs", (int)process_pid(process));
  FILE *file = fopen(path, "we");
  must(file && fputs("5", file) >= 0, path, "cannot be written");
  (void)fclose(file); /* a kernel without it: the peak is that of the whole life */
}

/* NAME: and kilobytes, of the kernel's account. */
static uint64_t read_kb(struct process *process, const char *name) {
  char path[64], line[200];
  unsigned long kb = 0;
  if (!process) return 0;
  (void)snprintf(path, sizeof path, "/proc/%d/status", (int)process_pid(process));
  FILE *file = fopen(path, "re");
  must(file != NULL, path, "cannot be read");
  while (fgets(line, sizeof line, file))
    if (strncmp(line, name, strlen(name)) == 0) kb = strtoul(line + strlen(name), NULL, 10);
  (void)fclose(file);
  return kb;
}

void meter_reset_peaks(const struct site *site, enum hosting hosting) {
  const struct daemons *daemons = &site->daemons[hosting];
  reset_peak(daemons->coordinator);
  for (int bank = 0; bank < BANKS; bank++)
    reset_peak(daemons->agents[bank]);
}

uint64_t meter_peak_kb(const struct site *site, enum hosting hosting) {
  const struct daemons *daemons = &site->daemons[hosting];
  uint64_t kb = read_kb(daemons->coordinator, "VmHWM:");
  for (int bank = 0; bank < BANKS; bank++)
    kb += read_kb(daemons->agents[bank], "VmHWM:");
  return kb;
}

uint64_t meter_resident_kb(struct process *process) {
  return read_kb(process, "VmRSS:");
}
