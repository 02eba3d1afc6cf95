/* See fences.h. A fence that an agent does not live to answer stays here until the run has ended. */
#include "tests/sim/fences.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "participant-agent/internal.h"
#include "tests/sim/checks.h"
#include "tests/sim/life.h"

struct watched {
  struct cluster_id cluster;
  uint64_t epoch;
  unsigned database;
  fence_fn fn;
  void *data;
  struct watched *prev, *next;
};

static struct watched *all;

static void end(struct watched *watched) {
  DL_DELETE(all, watched);
  free(watched);
}

void fences_forget(void) {
  while (all)
    end(all);
}

static void answered(void *data, const struct fence_reply *reply, const struct error *err) {
  struct watched *watched = data;
  const struct process *process = process_current();
  fence_fn fn = watched->fn;
  void *fn_data = watched->data;
  bool accepted = !err && reply->former_epoch == 0;
  if (accepted && !process->dead)
    checks_fenced(process, watched->database, &watched->cluster, watched->epoch);
  end(watched);
  fn(fn_data, reply, err);
}

void real_agent_fence(struct agent *agent, const struct fence_request *request, fence_fn fn,
                      void *data) __asm__("__real_agent_fence");
void watched_agent_fence(struct agent *agent, const struct fence_request *request, fence_fn fn,
                         void *data) __asm__("__wrap_agent_fence");

void watched_agent_fence(struct agent *agent, const struct fence_request *request, fence_fn fn,
                         void *data) {
  struct watched *watched = calloc(1, sizeof *watched);
  if (!watched) abort();
  *watched = (struct watched){
      .cluster = request->cluster, .epoch = request->epoch, .fn = fn, .data = data};
  while (strcmp(database_name(watched->database), agent->participant) != 0)
    watched->database++;
  DL_APPEND(all, watched);
  real_agent_fence(agent, request, answered, watched);
}
