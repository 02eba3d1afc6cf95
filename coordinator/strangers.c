/* Prepared branches of other clusters in a participant's database. They are never touched: they are
 * somebody else's, or ours from before the log was lost and a new one begun, with another cluster id.
 * The second is told only here, so it is told at the first sight of each participant. */
#include <string.h>

#include "common/log.h"
#include "coordinator/internal.h"

enum { STRANGERS_MAX = 16 };

struct stranger {
  struct cluster_id cluster;
  int64_t branches;
};

static void count_branch(struct stranger strangers[STRANGERS_MAX], size_t *count,
                         const struct cluster_id *cluster) {
  size_t i = 0;
  while (i < *count && strcmp(strangers[i].cluster.text, cluster->text) != 0)
    i++;
  if (i == STRANGERS_MAX) return;
  if (i == *count) strangers[(*count)++] = (struct stranger){*cluster, 0};
  strangers[i].branches++;
}

static void surveyed(void *data, const struct survey_reply *reply, const struct error *err) {
  struct member *member = data;
  observe_call(member, CALL_SURVEY, err);
  struct stranger strangers[STRANGERS_MAX];
  size_t count = 0;
  for (size_t i = 0; !err && i < reply->branch_count; i++) {
    struct gid gid;
    if (gid_parse(reply->branches[i].gid, &gid) &&
        strcmp(gid.cluster.text, member->coordinator->cluster.text) != 0)
      count_branch(strangers, &count, &gid.cluster);
  }
  for (size_t i = 0; i < count; i++)
    log_warn("branches_of_another_cluster", "participant", "s", member->name, "cluster", "s",
             strangers[i].cluster.text, "branches", "d", strangers[i].branches, "hint", "s",
             "they are left alone. If that cluster's decision log is lost, and this log was begun "
             "in its place: stop, put this log away, and run `assent recover --log-lost`",
             NULL);
}

void strangers_look(struct member *member) {
  const struct survey_request request = {.txids = NULL};
  member->participant->ops->survey(member->participant, &request, surveyed, member);
}
