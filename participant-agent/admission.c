/* See admission.h. */
#include "participant-agent/admission.h"

#include <assert.h>
#include <math.h>

/* A window has enough ends to be compared with another one, and enough time that a single write to the
 * disk does not fill it. One that takes too long was interrupted. */
enum { WINDOW_MIN_US = 250000, WINDOW_MAX_US = 30000000, WINDOW_ENDS_MIN = 64, ENDS_A_RUN = 8 };
enum { UNHINDERED_SHARE = 8 }; /* more than one in so many: the limit was not what held them up */

/* More has to be worth something; less may cost nothing. */
static const double GAIN_MIN = 0.03, LOSS_MAX = 0.01;

static unsigned step_of(const struct admission *a) {
  return a->base / 4 > 1 ? a->base / 4 : 1;
}

static unsigned clamp(const struct admission *a, unsigned limit) {
  return limit < a->floor ? a->floor : limit > a->ceiling ? a->ceiling : limit;
}

static unsigned above(const struct admission *a) {
  return clamp(a, a->base + step_of(a));
}

static unsigned below(const struct admission *a) {
  return clamp(a, a->base - step_of(a));
}

static void begin(struct admission *a, enum admission_phase phase) {
  unsigned before = a->limit;
  a->phase = phase;
  a->limit = phase == ADMISSION_ABOVE ? above(a) : phase == ADMISSION_BELOW ? below(a) : a->base;
  a->settling = a->limit == before ? 0 : before;
  a->began_us = 0;
  a->ended = a->unhindered = 0;
}

/* Where the base goes, now that all four windows are known. */
static unsigned judge(const struct admission *a) {
  const double *rates = a->rates;
  double middle = (rates[ADMISSION_BASE] + rates[ADMISSION_BASE_AGAIN]) / 2;
  double noise = fabs(rates[ADMISSION_BASE] - rates[ADMISSION_BASE_AGAIN]) / 2;
  double gained = rates[ADMISSION_ABOVE] - middle, lost = middle - rates[ADMISSION_BELOW];
  bool worth_more = gained > middle * GAIN_MIN + noise;
  bool as_good = lost < middle * LOSS_MAX;
  if (worth_more && rates[ADMISSION_ABOVE] >= rates[ADMISSION_BELOW]) return above(a);
  return as_good ? below(a) : a->base;
}

static void close_window(struct admission *a, uint64_t now_us) {
  if (a->unhindered * UNHINDERED_SHARE > a->ended || now_us - a->began_us > WINDOW_MAX_US) {
    begin(a, ADMISSION_BASE);
    return;
  }
  a->rates[a->phase] = (double)a->ended / (double)(now_us - a->began_us);
  if (a->phase != ADMISSION_BELOW) {
    begin(a, a->phase + 1);
    return;
  }
  a->base = judge(a);
  begin(a, ADMISSION_BASE);
}

void admission_ended(struct admission *a, uint64_t now_us, bool hindered) {
  if (a->settling > 0) {
    a->settling--;
    return;
  }
  if (a->began_us == 0) { /* a window begins with an end, which it does not count */
    if (hindered) a->began_us = now_us;
    return;
  }
  assert(now_us >= a->began_us);
  a->ended++;
  a->unhindered += !hindered;
  unsigned enough = ENDS_A_RUN * a->limit;
  if (enough < WINDOW_ENDS_MIN) enough = WINDOW_ENDS_MIN;
  if (a->ended >= enough && now_us - a->began_us >= WINDOW_MIN_US) close_window(a, now_us);
}

void admission_stalled(struct admission *a) {
  a->base = clamp(a, a->base * 2);
  begin(a, ADMISSION_BASE);
}

void admission_init(struct admission *a, unsigned ceiling) {
  assert(ceiling > 0);
  *a = (struct admission){.floor = ceiling < ADMISSION_FLOOR ? ceiling : ADMISSION_FLOOR,
                          .ceiling = ceiling};
  a->base = a->limit = clamp(a, ADMISSION_START);
  begin(a, ADMISSION_BASE);
}
