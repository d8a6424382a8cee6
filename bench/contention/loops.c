/* Both designs in one file, which is compiled into the program and into libraries, because where
   it is decides how a thread finds what is its own. */
#include "loops.h"
#include "pytheus.h"
#include "cells.h"

typedef struct subject {
    pytheus_counter counter;
    pytheus_histogram histogram;
    cells_series cells_counter, cells_histogram;
    uint64_t done[2];
} subject;

static subject subjects[LOOPS_NUM_DESIGNS];
static double bounds[12];
static const double *values;

static void init(const double *observed) {
    values = observed;
    memcpy(bounds, harness_bounds_11, sizeof harness_bounds_11);
    bounds[11] = HUGE_VAL;
    cells_init();
    subjects[LOOPS_STRIPES].counter = pytheus_counter_new(&(pytheus_desc){.name = "counted_total"});
    subjects[LOOPS_STRIPES].histogram = pytheus_histogram_new(&(pytheus_desc){.name = "observed"});
    for (int i = LOOPS_PLAIN; i < LOOPS_NUM_DESIGNS; i++) {
        subjects[i].cells_counter = cells_new(1, bounds);
        subjects[i].cells_histogram = cells_new(13, bounds);
    }
}

static void did(loops_design design, bool observed, size_t num_ops) {
    __atomic_fetch_add(&subjects[design].done[observed], num_ops, __ATOMIC_RELAXED);
}

static void inc_stripes(void *user, unsigned thread, size_t num_ops) {
    pytheus_counter counter = subjects[LOOPS_STRIPES].counter;
    (void)user;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_counter_inc(counter);
    did(LOOPS_STRIPES, false, num_ops);
}

static void observe_stripes(void *user, unsigned thread, size_t num_ops) {
    pytheus_histogram histogram = subjects[LOOPS_STRIPES].histogram;
    (void)user;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_histogram_observe(histogram, harness_value(values, thread, i));
    did(LOOPS_STRIPES, true, num_ops);
}

#define DEFINE_CELLS_LOOPS(kind, design)                                                           \
    static void inc_##kind(void *user, unsigned thread, size_t num_ops) {                          \
        const cells_series *series = &subjects[design].cells_counter;                              \
        uint64_t generation = series->generation;                                                  \
        (void)user;                                                                                \
        (void)thread;                                                                              \
        for (size_t i = 0; i < num_ops; i++)                                                       \
            (void)cells_inc_##kind(series, generation);                                            \
        did(design, false, num_ops);                                                               \
    }                                                                                              \
    static void observe_##kind(void *user, unsigned thread, size_t num_ops) {                      \
        const cells_series *series = &subjects[design].cells_histogram;                            \
        uint64_t generation = series->generation;                                                  \
        (void)user;                                                                                \
        for (size_t i = 0; i < num_ops; i++)                                                       \
            (void)cells_observe_##kind(series, generation, harness_value(values, thread, i));      \
        did(design, true, num_ops);                                                                \
    }
DEFINE_CELLS_LOOPS(plain, LOOPS_PLAIN)
DEFINE_CELLS_LOOPS(single, LOOPS_SINGLE)

static uint64_t counted(loops_design design, bool observed) {
    double v = NAN;
    if (design != LOOPS_STRIPES)
        return observed ? cells_sum(&subjects[design].cells_histogram, 1)
                        : cells_sum(&subjects[design].cells_counter, 0);
    if (observed)
        (void)pytheus_sample_value(NULL, "observed_count", NULL, 0, &v);
    else
        (void)pytheus_view_get(subjects[design].counter.view, &v);
    return (uint64_t)v;
}

static uint64_t done(loops_design design, bool observed) {
    return __atomic_load_n(&subjects[design].done[observed], __ATOMIC_RELAXED);
}

static size_t num_blocks(void) {
    return cells_known.num;
}

/* ---- many ---- */

static subject many[LOOPS_MANY];
static loops_design design_of_many;

static void make_many(loops_design design, unsigned stripes) {
    const pytheus_desc desc = {.name = "many_counted_total",
                               .required_labels = {"id"},
                               .stripes = stripes,
                               .max_series = LOOPS_MANY},
                       observed = {.name = "many_observed",
                                   .required_labels = {"id"},
                                   .stripes = stripes,
                                   .max_series = LOOPS_MANY};
    pytheus_counter counters = pytheus_counter_new(&desc);
    pytheus_histogram histograms = pytheus_histogram_new(&observed);
    char id[32];
    design_of_many = design;
    for (size_t i = 0; i < LOOPS_MANY; i++) {
        snprintf(id, sizeof id, "%zu", i);
        many[i].counter = pytheus_counter_labels(counters, "id", id);
        many[i].histogram = pytheus_histogram_labels(histograms, "id", id);
        if (design != LOOPS_STRIPES) {
            many[i].cells_counter = cells_new(1, bounds);
            many[i].cells_histogram = cells_new(13, bounds);
        }
    }
}

static void count_in_many(void) {
    for (size_t i = 0; i < LOOPS_MANY; i++) {
        if (design_of_many == LOOPS_STRIPES) {
            pytheus_counter_inc(many[i].counter);
            pytheus_histogram_observe(many[i].histogram, 1);
        } else {
            const cells_series *counter = &many[i].cells_counter;
            const cells_series *histogram = &many[i].cells_histogram;
            (void)cells_inc_plain(counter, counter->generation);
            (void)cells_observe_plain(histogram, histogram->generation, 1);
        }
    }
}

static double read_many(void) {
    double began = harness_now(), v = 0, sum = 0;
    for (size_t i = 0; i < LOOPS_MANY; i++) {
        if (design_of_many == LOOPS_STRIPES)
            (void)pytheus_view_get(many[i].counter.view, &v);
        else
            v = (double)cells_sum(&many[i].cells_counter, 0);
        sum += v;
    }
    harness_expect(sum > 0, "nothing was counted");
    return (harness_now() - began) / (double)LOOPS_MANY;
}

const loops *loops_of_this_copy(void) {
    static const loops all = {
        .init = init,
        .inc = {inc_stripes, inc_plain, inc_single},
        .observe = {observe_stripes, observe_plain, observe_single},
        .counted = counted,
        .done = done,
        .num_blocks = num_blocks,
        .make_many = make_many,
        .count_in_many = count_in_many,
        .read_many = read_many,
    };
    return &all;
}
