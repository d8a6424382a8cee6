/* loops.h: operations of each design, in a form that is the same wherever they are compiled. */
#ifndef LOOPS_H
#define LOOPS_H

#include "../harness.h"

/* How a series is spread. */
typedef enum loops_design {
    LOOPS_STRIPES,
    LOOPS_PLAIN,
    LOOPS_SINGLE,
    LOOPS_NUM_DESIGNS
} loops_design;

enum { LOOPS_MANY = 10000 };

/* What a copy of loops.c does: there is one in the program and one in each library. */
typedef struct loops {
    void (*init)(const double *values);
    /* Each counts in a series of its own, user being NULL, and what it did in done. */
    harness_loop *inc[LOOPS_NUM_DESIGNS], *observe[LOOPS_NUM_DESIGNS];
    uint64_t (*counted)(loops_design design, bool observed); /* by who reads it, */
    uint64_t (*done)(loops_design design, bool observed);    /* and by who did it */
    size_t (*num_blocks)(void);
    /* LOOPS_MANY counters and histograms, in which each thread then counts once. */
    void (*make_many)(loops_design design, unsigned stripes);
    void (*count_in_many)(void);
    double (*read_many)(void); /* returns nanoseconds of a counter */
} loops;

typedef const loops *loops_get(void);
loops_get loops_of_this_copy;

#endif
