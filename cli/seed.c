/* See seed.h: splitmix64 (Steele, Lea, Flood 2014). */
#include "cli/seed.h"

uint64_t seed_next(struct seed_stream *stream) {
  uint64_t z = stream->state += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct seed_stream seed_stream(uint64_t seed, uint64_t number) {
  struct seed_stream stream = {seed};
  uint64_t mixed = seed_next(&stream);
  return (struct seed_stream){mixed ^ (number * 0xd1342543de82ef95u)};
}

unsigned seed_below(struct seed_stream *stream, unsigned limit) {
  return (unsigned)(seed_next(stream) % limit);
}
