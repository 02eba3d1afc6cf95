/* Numbers drawn from a seed: the same seed gives the same ones, on any machine, for ever. For plans
 * that can be made again, never for secrets. Pure. */
#ifndef ASSENT_CLI_SEED_H
#define ASSENT_CLI_SEED_H

#include <stdint.h>

struct seed_stream {
  uint64_t state;
};

/* Streams of different numbers have nothing to do with each other. */
struct seed_stream seed_stream(uint64_t seed, uint64_t number);
uint64_t seed_next(struct seed_stream *stream);
/* From 0 to limit - 1; limit above 0. */
unsigned seed_below(struct seed_stream *stream, unsigned limit);

#endif
