/* Names: whatever is read as a gid, a txid or a cluster is written back as the very same text. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/id.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = fuzz_text(data, size);
  struct gid gid;
  if (gid_parse(text, &gid)) {
    char again[GID_SIZE];
    gid_format(&gid, again);
    assert(strcmp(text, again) == 0);
    assert(gid.branch >= 1 && gid.branch <= BRANCH_ID_MAX);
    assert(strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-") == strlen(text));
  }
  struct txid txid;
  if (txid_parse(text, &txid)) assert(strcmp(txid.text, text) == 0);
  struct cluster_id cluster;
  if (cluster_id_parse(text, &cluster)) assert(strcmp(cluster.text, text) == 0);
  free(text);
  return 0;
}
