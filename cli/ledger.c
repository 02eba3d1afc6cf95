/* See ledger.h. Looks at the databases directly. */
#include "cli/ledger.h"

#include <inttypes.h>
#include <stdlib.h>

struct reading {
  const struct ledger_claims *claims;
  struct ledger_findings *findings;
  int bank;
  bool *is_there; /* of the index, less the first */
};

enum error_code ledger_money(struct bank *const banks[BANKS], int64_t *sum, struct error *err) {
  *sum = 0;
  for (int i = 0; i < BANKS; i++) {
    int64_t part = 0;
    enum error_code code = bank_money(banks[i], &part, err);
    if (code != ERR_OK) return code;
    *sum += part;
  }
  return ERR_OK;
}

enum error_code ledger_prepared(struct bank *const banks[BANKS], const int64_t before_us[BANKS],
                                int64_t counts[BANKS], struct error *err) {
  for (int i = 0; i < BANKS; i++) {
    enum error_code code = bank_prepared(banks[i], before_us[i], &counts[i], err);
    if (code != ERR_OK) return code;
  }
  return ERR_OK;
}

static bool is_planned(const struct reading *reading, int64_t index, int64_t amount) {
  const struct transfer_source *source = reading->claims->source;
  int64_t planned;
  if (index < reading->claims->first || index - reading->claims->first >= reading->claims->count)
    return false;
  struct transfer_plan plan = source->plan(source->seed, (unsigned)index);
  return transfer_plan_row(&plan, reading->bank, &planned) && planned == amount;
}

static void on_row(void *data, const char *label, int64_t amount) {
  struct reading *reading = data;
  int64_t index = transfer_label_index(reading->claims->source, label);
  if (is_planned(reading, index, amount)) {
    reading->is_there[index - reading->claims->first] = true;
    return;
  }
  reading->findings->wrong++;
  problems_add(reading->findings->problems, "bank %c: a ledger row that nobody wrote: %s, %" PRId64,
               'a' + reading->bank, label, amount);
}

static bool is_as_told(const struct ledger_claims *claims, unsigned index, const bool in[BANKS]) {
  struct transfer_plan plan = claims->source->plan(claims->source->seed, index);
  enum told told = claims->told(claims->data, index);
  bool is_right = told == TOLD_COMMITTED || told == TOLD_ABORTED;
  int64_t amount;
  for (int bank = 0; bank < BANKS; bank++)
    is_right =
        is_right && in[bank] == (told == TOLD_COMMITTED && transfer_plan_row(&plan, bank, &amount));
  return is_right;
}

static void compare(const struct ledger_claims *claims, unsigned index, const bool in[BANKS],
                    struct ledger_findings *findings) {
  findings->checked++;
  if (claims->judge ? claims->judge(claims->judge_data, index, in) : is_as_told(claims, index, in))
    return;
  findings->wrong++;
  if (findings->transfer_count < LEDGER_WRONG_MAX)
    findings->transfers[findings->transfer_count++] = index;
  problems_add(findings->problems, "transfer %u: told %s, but bank a %s it and bank b %s it", index,
               told_name(claims->told(claims->data, index)), in[0] ? "has" : "lacks",
               in[1] ? "has" : "lacks");
}

enum error_code ledger_check(struct bank *const banks[BANKS], const struct ledger_claims *claims,
                             struct ledger_findings *findings, struct error *err) {
  char first[TRANSFER_LABEL_SIZE], last[TRANSFER_LABEL_SIZE];
  enum error_code code = ERR_OK;
  bool *is_there[BANKS];
  if (claims->count == 0 && !claims->is_all) return ERR_OK;
  for (int i = 0; i < BANKS; i++)
    is_there[i] = calloc(claims->count + 1, sizeof **is_there);
  if (!is_there[0] || !is_there[1]) {
    code = error_set(err, ERR_MEMORY, "out of memory");
    goto out;
  }
  transfer_label(claims->source, claims->first, first);
  transfer_label(claims->source, claims->first + claims->count - 1, last);
  for (int i = 0; i < BANKS; i++) {
    struct reading reading = {claims, findings, i, is_there[i]};
    code = bank_each_ledger(banks[i], claims->is_all ? NULL : first, claims->is_all ? NULL : last,
                            on_row, &reading, err);
    if (code != ERR_OK) goto out;
  }
  for (unsigned i = 0; i < claims->count; i++)
    compare(claims, claims->first + i, (const bool[BANKS]){is_there[0][i], is_there[1][i]},
            findings);
out:
  for (int i = 0; i < BANKS; i++)
    free(is_there[i]);
  return code;
}
