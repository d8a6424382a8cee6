/* Looking a series up by its labels and counting in it: what code does that keeps no handles. */
#include "bench.h"

static void inc_by_labels(void *user, unsigned thread, size_t num_ops) {
    bench_family *family = (bench_family *)user;
    const harness_labels *labels = &family->labels;
    pytheus_counter metric = bench_counter(family->metric);
    HARNESS_FOR_PICKS(labels, thread, i, num_ops) {
        pytheus_counter_inc(pytheus_counter_labels(metric, "method", harness_method(labels, i),
                                                   "path", labels->paths[i]));
    }
    bench_done(&family->num_done, num_ops);
}

static void expect_counted(const bench_family *family) {
    double sum = 0;
    size_t i;
    for (i = 0; i < family->labels.num; i++)
        sum += bench_value(family->series[i]);
    harness_expect(sum == (double)family->num_done, "labels() led to another series");
}

static void bench_size(size_t num_series, bool from_2_threads) {
    bench_family family = bench_family_new(PYTHEUS_COUNTER, num_series);
    floors_keys keys = floors_keys_new(&family.labels);
    harness_side sides[2] = {{OURS, {.loop = inc_by_labels, .user = &family}},
                             {FLOOR, {.loop = floors_hash_and_xadd, .user = &keys}}};
    char name[64];
    bench_make_series(&family);
    /* Less would come back to the same series, which are in the cache by then. */
    if (num_series > HARNESS_NUM_PICKS)
        sides[0].measure.num_ops = sides[1].measure.num_ops = HARNESS_NUM_PICKS;
    snprintf(name, sizeof name, "labels-%zu", num_series);
    harness_compare(name, sides, 2);
    if (from_2_threads) {
        sides[0].measure.num_threads = 2;
        snprintf(name, sizeof name, "labels-%zu-2", num_series);
        harness_compare(name, sides, 1);
    }
    expect_counted(&family);
    free(keys.texts);
    bench_family_free(&family);
}

void bench_labels(void) {
    bench_size(1, false);
    bench_size(1000, true);
    bench_size(100000, false);
}
