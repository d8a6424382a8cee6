/* The five hottest operations, for the script bench/instructions to count instructions of. A count
   does not depend on how busy a machine is. */
#include "bench.h"

enum { NUM_OPS = 10000, NUM_SERIES = 1000 };

/* Only what runs inside is counted. */
#define MEASURED __attribute__((noinline, noclone)) static

MEASURED void measured_inc(pytheus_counter counter) {
    for (int i = 0; i < NUM_OPS; i++)
        pytheus_counter_inc(counter);
}

MEASURED void measured_set(pytheus_gauge gauge) {
    for (int i = 0; i < NUM_OPS; i++)
        pytheus_gauge_set(gauge, i);
}

MEASURED void measured_observe(pytheus_histogram histogram, const double *values) {
    for (int i = 0; i < NUM_OPS; i++)
        pytheus_histogram_observe(histogram, values[i]);
}

MEASURED void measured_labels(pytheus_counter metric, const harness_labels *labels) {
    HARNESS_FOR_PICKS(labels, 0, i, NUM_OPS) {
        pytheus_counter_inc(pytheus_counter_labels(metric, "method", harness_method(labels, i),
                                                   "path", labels->paths[i]));
    }
}

static pytheus_err throw_away(void *user, const char *bytes, size_t size) {
    (void)user;
    (void)bytes;
    (void)size;
    return PYTHEUS_OK;
}

MEASURED void measured_text(pytheus_registry *registry) {
    const pytheus_sink sink = {throw_away, NULL};
    for (int i = 0; i < NUM_OPS / NUM_SERIES; i++)
        (void)pytheus_write(registry, PYTHEUS_TEXT, &sink);
}

static void run_labels(bool text) {
    harness_labels labels = harness_labels_new(NUM_SERIES);
    pytheus_registry *registry = pytheus_registry_new(&(pytheus_registry_desc){0});
    bench_fix_seed(registry);
    pytheus_counter metric =
        pytheus_counter_new(&(pytheus_desc){.name = "http_requests_total",
                                            .required_labels = {"method", "path"},
                                            .registry = registry});
    for (size_t i = 0; i < NUM_SERIES; i++)
        pytheus_counter_add(pytheus_counter_labels(metric, "method", harness_method(&labels, i),
                                                   "path", labels.paths[i]),
                            (double)(123456 + i));
    if (text)
        measured_text(registry);
    else
        measured_labels(metric, &labels);
}

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    pytheus_desc desc = {.name = "metric_total"};
    if (!strcmp(name, "inc"))
        measured_inc(pytheus_counter_new(&desc));
    else if (!strcmp(name, "set"))
        measured_set(pytheus_gauge_new(&desc));
    else if (!strcmp(name, "observe"))
        measured_observe(pytheus_histogram_new(&desc), harness_values(harness_bounds_11, 11));
    else if (!strcmp(name, "labels") || !strcmp(name, "text"))
        run_labels(!strcmp(name, "text"));
    else
        return 1;
    return 0;
}
