/* One round: every case of the table in README, ours beside its floor. bench/run does many. */
#include "bench.h"

static pytheus_view new_metric(const pytheus_desc *desc, pytheus_type type) {
    return type == PYTHEUS_COUNTER ? pytheus_counter_new(desc).view
           : type == PYTHEUS_GAUGE ? pytheus_gauge_new(desc).view
                                   : pytheus_histogram_new(desc).view;
}

static const char *name_of(pytheus_type type) {
    return type == PYTHEUS_COUNTER ? "http_requests_total"
           : type == PYTHEUS_GAUGE ? "http_requests_depth"
                                   : "http_request_seconds";
}

bench_family bench_family_new(pytheus_type type, size_t num_series) {
    bench_family family;
    memset(&family, 0, sizeof family);
    family.registry = pytheus_registry_new(&(pytheus_registry_desc){0});
    family.type = type;
    family.metric = new_metric(&(pytheus_desc){.name = name_of(type),
                                               .help = "What a program would measure.",
                                               .required_labels = {"method", "path"},
                                               .max_series = num_series + 10000000,
                                               .registry = family.registry},
                               type);
    harness_expect(family.metric.node != NULL, "no metric");
    family.labels = harness_labels_new(num_series);
    family.state = 3;
    return family;
}

void bench_family_free(bench_family *family) {
    pytheus_registry_free(family->registry);
    harness_labels_free(&family->labels);
    free(family->series);
}

pytheus_view bench_labels_of(const bench_family *family, size_t i) {
    const char *method = harness_method(&family->labels, i), *path = family->labels.paths[i];
    switch (family->type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_labels(bench_counter(family->metric), "method", method, "path", path)
            .view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_labels(bench_gauge(family->metric), "method", method, "path", path)
            .view;
    default:
        return pytheus_histogram_labels(bench_histogram(family->metric), "method", method, "path",
                                        path)
            .view;
    }
}

void bench_make_series(bench_family *family) {
    size_t i;
    family->series = (pytheus_view *)malloc(family->labels.num * sizeof *family->series);
    harness_expect(family->series != NULL, "out of memory");
    for (i = 0; i < family->labels.num; i++)
        family->series[i] = bench_labels_of(family, i);
    harness_expect(pytheus_view_observable(family->series[family->labels.num - 1]), "no series");
}

void bench_change_values(void *user) {
    bench_family *family = (bench_family *)user;
    size_t i;
    for (i = 0; i < family->labels.num; i++) {
        uint64_t random = harness_random(&family->state);
        double unit = harness_random_unit(&family->state);
        if (family->type == PYTHEUS_COUNTER)
            (void)pytheus_counter_add(bench_counter(family->series[i]),
                                      (double)(1 + random % 100000));
        else if (family->type == PYTHEUS_GAUGE)
            (void)pytheus_gauge_set(bench_gauge(family->series[i]), 1000 * unit);
        else
            (void)pytheus_histogram_observe(bench_histogram(family->series[i]), exp(-6 + 9 * unit));
    }
}

static pytheus_err throw_away(void *user, const char *bytes, size_t size) {
    size_t *sum = (size_t *)user;
    *sum += size + (unsigned char)bytes[size / 2];
    return PYTHEUS_OK;
}

void bench_write_pages(void *user, unsigned thread, size_t num_ops) {
    const bench_family *family = (const bench_family *)user;
    size_t i, sum = 0;
    pytheus_sink sink = {throw_away, &sum};
    (void)thread;
    for (i = 0; i < num_ops; i++)
        harness_expect(pytheus_write(family->registry, PYTHEUS_TEXT, &sink) == PYTHEUS_OK,
                       "no page");
    harness_expect(sum > num_ops * family->labels.num, "an empty page");
}

void bench_done(uint64_t *num_done, size_t num_ops) {
    __atomic_fetch_add(num_done, num_ops, __ATOMIC_RELAXED);
}

int main(void) {
    bench_growth();
    harness_init();
    bench_operations();
    bench_labels();
    bench_text();
    bench_beside();
    bench_processes();
    return 0;
}
