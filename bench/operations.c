/* Operations on handles that the program keeps. */
#include "bench.h"

typedef struct subject {
    pytheus_view view;
    const double *values;
    uint64_t num_done;
    char count[40]; /* of a histogram: the name of its sample */
} subject;

static void inc_counter(void *user, unsigned thread, size_t num_ops) {
    subject *s = (subject *)user;
    pytheus_counter counter = bench_counter(s->view);
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_counter_inc(counter);
    bench_done(&s->num_done, num_ops);
}

static void add_to_counter(void *user, unsigned thread, size_t num_ops) {
    subject *s = (subject *)user;
    pytheus_counter counter = bench_counter(s->view);
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_counter_add(counter, 1.5);
    bench_done(&s->num_done, num_ops);
}

static void add_to_gauge(void *user, unsigned thread, size_t num_ops) {
    subject *s = (subject *)user;
    pytheus_gauge gauge = bench_gauge(s->view);
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_gauge_add(gauge, 1.5);
    bench_done(&s->num_done, num_ops);
}

static void set_gauge(void *user, unsigned thread, size_t num_ops) {
    subject *s = (subject *)user;
    pytheus_gauge gauge = bench_gauge(s->view);
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_gauge_set(gauge, 42);
    bench_done(&s->num_done, num_ops);
}

static void observe(void *user, unsigned thread, size_t num_ops) {
    subject *s = (subject *)user;
    pytheus_histogram histogram = bench_histogram(s->view);
    for (size_t i = 0; i < num_ops; i++)
        pytheus_histogram_observe(histogram, harness_value(s->values, thread, i));
    bench_done(&s->num_done, num_ops);
}

/* ---- what they work on ---- */

static pytheus_registry *registry;

/* A name of its own for each metric. */
static const char *new_name(void) {
    static char name[32];
    static int n;
    snprintf(name, sizeof name, "metric_%d", n++);
    return name;
}

static subject new_counter(void) {
    pytheus_desc desc = {.name = new_name(), .registry = registry};
    return (subject){.view = pytheus_counter_new(&desc).view};
}

static subject new_gauge(void) {
    pytheus_desc desc = {.name = new_name(), .registry = registry};
    return (subject){.view = pytheus_gauge_new(&desc).view};
}

static subject new_histogram(const double *bounds, size_t num_bounds, const double *values) {
    const char *name = new_name();
    subject s = {.values = values};
    s.view = pytheus_histogram_new(&(pytheus_desc){.name = name,
                                                   .buckets = bounds,
                                                   .num_buckets = num_bounds,
                                                   .registry = registry})
                 .view;
    snprintf(s.count, sizeof s.count, "%s_count", name);
    return s;
}

/* Series that were made after one of their metric was removed work in another way. */
static subject new_counter_after_removal(void) {
    pytheus_counter metric = pytheus_counter_new(
        &(pytheus_desc){.name = new_name(), .required_labels = {"method"}, .registry = registry});
    (void)pytheus_view_remove(pytheus_counter_labels(metric, "method", "PUT").view);
    return (subject){.view = pytheus_counter_labels(metric, "method", "GET").view};
}

static subject new_gauge_after_removal(void) {
    pytheus_gauge metric = pytheus_gauge_new(
        &(pytheus_desc){.name = new_name(), .required_labels = {"method"}, .registry = registry});
    (void)pytheus_view_remove(pytheus_gauge_labels(metric, "method", "PUT").view);
    return (subject){.view = pytheus_gauge_labels(metric, "method", "GET").view};
}

/* ---- cases ---- */

static void compare(const char *name, harness_loop *ours, subject *s, harness_loop *floor,
                    floors_cell *cell) {
    harness_side sides[2] = {{OURS, {.loop = ours, .user = s}},
                             {FLOOR, {.loop = floor, .user = cell}}};
    harness_compare(name, sides, 2);
}

/* From more than one thread, down to where they only get in each other's way. */
static void compare_threads(const char *name, harness_loop *ours, subject *s, harness_loop *floor,
                            floors_cell *cell) {
    for (unsigned num_threads = 2; num_threads <= HARNESS_MOST_THREADS; num_threads *= 2) {
        harness_side sides[2] = {
            {OURS, {.loop = ours, .user = s, .num_threads = num_threads}},
            {FLOOR, {.loop = floor, .user = cell, .num_threads = num_threads}}};
        char full_name[64];
        snprintf(full_name, sizeof full_name, "%s-%u", name, num_threads);
        harness_compare(full_name, sides, 2);
    }
}

static void bench_counters(floors_cell *cell) {
    subject alone = new_counter(), shared = new_counter(), later = new_counter_after_removal(),
            real = new_counter();
    compare("inc", inc_counter, &alone, floors_xadd, cell);
    compare_threads("inc", inc_counter, &shared, floors_own_inc, cell);
    compare("inc-after-removal", inc_counter, &later, floors_xadd, cell);
    compare("add-fraction", add_to_counter, &real, floors_cas_double, cell);
    harness_expect(bench_value(alone.view) == (double)alone.num_done, "inc lost some");
    harness_expect(bench_value(shared.view) == (double)shared.num_done, "threads lost some");
    harness_expect(bench_value(later.view) == (double)later.num_done, "inc later lost some");
    harness_expect(bench_value(real.view) == 1.5 * (double)real.num_done, "add lost some");
}

static void bench_gauges(floors_cell *cell) {
    subject added = new_gauge(), set = new_gauge(), later = new_gauge_after_removal();
    compare("gauge-add", add_to_gauge, &added, floors_cas_double, cell);
    compare("gauge-set", set_gauge, &set, floors_store, cell);
    compare("gauge-set-after-removal", set_gauge, &later, floors_store, cell);
    harness_expect(bench_value(added.view) == 1.5 * (double)added.num_done, "add lost some");
    harness_expect(bench_value(set.view) == 42 && bench_value(later.view) == 42, "no set");
}

static void expect_observed(const subject *s) {
    double count = NAN;
    (void)pytheus_sample_value(registry, s->count, NULL, 0, &count);
    harness_expect(count == (double)s->num_done, "observe lost some");
}

static void bench_histograms(floors_cell *cell) {
    const double *bounds_50 = harness_bounds_50();
    double *values_50 = harness_values(bounds_50, 50);
    subject alone = new_histogram(harness_bounds_11, 11, cell->values),
            shared = new_histogram(harness_bounds_11, 11, cell->values),
            many = new_histogram(bounds_50, 50, values_50);
    compare("observe-11", observe, &alone, floors_observe, cell);
    compare("observe-50", observe, &many, floors_observe, cell);
    compare_threads("observe-11", observe, &shared, floors_own_observe, cell);
    expect_observed(&alone);
    expect_observed(&many);
    expect_observed(&shared);
    free(values_50);
}

void bench_operations(void) {
    double *values = harness_values(harness_bounds_11, 11);
    floors_cell cell;
    floors_cell_init(&cell, values);
    registry = pytheus_registry_new(&(pytheus_registry_desc){0});
    bench_counters(&cell);
    bench_gauges(&cell);
    bench_histograms(&cell);
    pytheus_registry_free(registry);
    free(values);
}
