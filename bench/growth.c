/* What many series cost: memory, making, removal. Each case is the first thing that a process of
   its own does. */
#include "bench.h"

static void memory_of(const char *name, pytheus_type type) {
    enum { NUM = 100000 };
    bench_family family = bench_family_new(type, NUM);
    family.series = (pytheus_view *)calloc(NUM, sizeof *family.series);
    memset(family.series, 1, NUM * sizeof *family.series); /* not to be counted below */
    double before = harness_resident();
    for (size_t i = 0; i < NUM; i++)
        family.series[i] = bench_labels_of(&family, i);
    harness_print(name, OURS, (harness_resident() - before) / NUM);
}

static void memory_of_counters(void) {
    memory_of("memory-counter", PYTHEUS_COUNTER);
}

static void memory_of_histograms(void) {
    memory_of("memory-histogram", PYTHEUS_HISTOGRAM);
}

static void making_and_removing(size_t num_series) {
    bench_family family = bench_family_new(PYTHEUS_COUNTER, num_series);
    double num = (double)num_series, made, removed;
    char name[64];
    double began = harness_cpu_time();
    for (size_t i = 0; i < num_series; i++)
        harness_keep(bench_labels_of(&family, i).generation);
    made = (harness_cpu_time() - began) / num;
    bench_make_series(&family);
    began = harness_cpu_time();
    harness_expect(pytheus_view_clear(family.metric) == PYTHEUS_OK, "clear failed");
    removed = (harness_cpu_time() - began) / num;
    harness_expect(!pytheus_view_observable(family.series[0]) &&
                       !pytheus_view_observable(family.series[num_series - 1]),
                   "nothing was removed");
    snprintf(name, sizeof name, "making-%zu", num_series);
    harness_print(name, OURS, made);
    snprintf(name, sizeof name, "removing-%zu", num_series);
    harness_print(name, OURS, removed);
}

static void making_1000(void) {
    making_and_removing(1000);
}

static void making_100000(void) {
    making_and_removing(100000);
}

static void making_1000000(void) {
    making_and_removing(1000000);
}

static void floor_of_making(void) {
    enum { NUM = 100000 };
    harness_labels labels = harness_labels_new(NUM);
    double began = harness_cpu_time();
    floors_fill(&labels, 0, NUM);
    harness_print("making-100000", FLOOR, (harness_cpu_time() - began) / NUM);
}

/* In microseconds. */
static void worst_call(void) {
    enum { NUM = 1000000 };
    bench_family family = bench_family_new(PYTHEUS_COUNTER, NUM);
    double worst = 0;
    for (size_t i = 0; i < NUM; i++) {
        double began = harness_cpu_time(), ns;
        harness_keep(bench_labels_of(&family, i).generation);
        ns = harness_cpu_time() - began;
        worst = ns > worst ? ns : worst;
    }
    harness_print("worst-labels-call", OURS, worst / 1000);
}

void bench_growth(void) {
    harness_in_child(memory_of_counters);
    harness_in_child(memory_of_histograms);
    harness_in_child(floor_of_making);
    harness_in_child(making_1000);
    harness_in_child(making_100000);
    harness_in_child(making_1000000);
    harness_in_child(worst_call);
}
