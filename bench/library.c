/* The library as most programs have it: in a file of its own, so that no call is inlined. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "bench.h"

/* A seed of its own for each registry would give each run other collisions of hashes. */
void bench_fix_seed(pytheus_registry *registry) {
    registry->seed[0] = 0x9e3779b97f4a7c15;
    registry->seed[1] = 0xd6e8feb86659fd93;
}

/* The text of a number is not a public function. */
char *bench_number(char *out, double v) {
    return pytheus__put_double(out, v);
}
