/* Configuration files, of both daemons. What must hold: a file that is refused is refused with a text
 * that says where, and one that is accepted can be printed. */
#include <assert.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "coordinator/settings.h"
#include "participant-agent/settings.h"
#include "tests/fuzz/fuzz.h"

static void read_as_coordinator(const char *path, FILE *nowhere) {
  struct settings settings;
  struct error err = {0};
  if (settings_read(path, &settings, &err) == ERR_OK)
    settings_print(nowhere, &settings);
  else
    assert(err.text[0]);
  settings_release(&settings);
}

static void read_as_agent(const char *path, FILE *nowhere) {
  struct agent_settings settings;
  struct error err = {0};
  if (agent_settings_read(path, &settings, &err) == ERR_OK)
    agent_settings_print(nowhere, &settings);
  else
    assert(err.text[0]);
  agent_settings_release(&settings);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static FILE *nowhere;
  if (!nowhere) nowhere = fopen("/dev/null", "w");
  int file = memfd_create("fuzz.ini", 0);
  assert(nowhere && file >= 0);
  ssize_t written = write(file, data, size);
  assert(written == (ssize_t)size);
  char path[64];
  (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  read_as_coordinator(path, nowhere);
  read_as_agent(path, nowhere);
  (void)close(file);
  return 0;
}
