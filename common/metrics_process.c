/* What every process tells of itself, under the names that Prometheus' own libraries use. What /proc does
 * not tell is left out. */
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/metrics.h"
#include "common/version.h"

/* Ticks since the boot, from /proc/self/stat: the 22nd field; -1: not known. The 2nd, a name in
 * parentheses, may hold anything. */
static double started_at_s(void) {
  char line[1024];
  FILE *file = fopen("/proc/self/stat", "re");
  if (!file) return -1;
  size_t length = fread(line, 1, sizeof line - 1, file);
  (void)fclose(file);
  line[length] = '\0';
  unsigned fields = 1;
  size_t at = length;
  while (at > 0 && line[at - 1] != ')')
    at--;
  for (; at < length && fields < 21; at++)
    fields += line[at] == ' ';
  unsigned long long ticks;
  if (sscanf(line + at, "%llu", &ticks) != 1) return -1; /* NOLINT(cert-err34-c) */
  struct timespec wall, boot;
  if (clock_gettime(CLOCK_REALTIME, &wall) != 0 || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
    return -1;
  return (double)(wall.tv_sec - boot.tv_sec) + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(void) {
  unsigned long long pages;
  FILE *file = fopen("/proc/self/statm", "re");
  if (!file) return -1;
  int found = fscanf(file, "%*u %llu", &pages); /* NOLINT(cert-err34-c) */
  (void)fclose(file);
  return found == 1 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : -1;
}

static double open_files(void) {
  DIR *directory = opendir("/proc/self/fd");
  if (!directory) return -1;
  double count = -3; /* ".", "..", and the one that reads here */
  while (readdir(directory))
    count++;
  (void)closedir(directory);
  return count;
}

static double cpu_s(void) {
  struct rusage used;
  if (getrusage(RUSAGE_SELF, &used) != 0) return -1;
  return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void if_known(struct metrics_page *page, const char *name, const char *type,
                     const char *help, double value) {
  if (value >= 0) metrics_single(page, name, type, help, value);
}

void metrics_process(struct metrics_page *page) {
  struct rlimit files;
  metrics_family(page, "assent_build_info", "gauge", "The version of Assent that runs; always 1.");
  metrics_sample(page, 1, LABELS({"version", ASSENT_VERSION}));
  if_known(page, "process_start_time_seconds", "gauge",
           "When the process started, in seconds since 1970.", started_at_s());
  if_known(page, "process_cpu_seconds_total", "counter", "CPU time spent, user and system.",
           cpu_s());
  if_known(page, "process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes());
  if_known(page, "process_open_fds", "gauge", "Open files.", open_files());
  if (getrlimit(RLIMIT_NOFILE, &files) == 0)
    metrics_single(page, "process_max_fds", "gauge", "How many files may be open.",
                   (double)files.rlim_cur);
}
