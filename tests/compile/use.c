/* use.c: every public function and macro, as C writes them. */
#include "pytheus.h"

#include "common.h"

static void use_compound_literals(void) {
    static const double bounds[] = {1, 2, 3};
    pytheus_counter hits = pytheus_counter_new(&(pytheus_desc){
        .name = "hits_total",
        .help = "Hits.",
        .required_labels = {"method", "path", "code", "host"},
        .default_labels = {{"code", "200"}, {"host", "a"}},
    });
    pytheus_histogram sizes = pytheus_histogram_new(&(pytheus_desc){
        .name = "sizes_bytes", .unit = "bytes", .buckets = bounds, .num_buckets = 3});
    pytheus_registry *registry = pytheus_registry_new(&(pytheus_registry_desc){.prefix = "other"});
    pytheus_gauge level = pytheus_gauge_new(
        &(pytheus_desc){.name = "level", .registry = registry, .unregistered = true});
    EXPECT_ERR(pytheus_counter_inc((pytheus_counter){0}), PYTHEUS_ERR_NOTHING);
    EXPECT(pytheus_counter_inc(pytheus_counter_labels(hits, "path", "/", "method", "GET")) ==
           PYTHEUS_OK);
    EXPECT(pytheus_histogram_observe(sizes, 2) == PYTHEUS_OK);
    EXPECT(pytheus_gauge_set(level, 2) == PYTHEUS_OK);
    EXPECT_VALUE(sizes.view, 2);
    EXPECT_VALUE(level.view, 2);
    pytheus_registry_free(registry);
    pytheus_registry_free(pytheus_default());
}

int main(int argc, char **argv) {
    use_everything(argc > 0 ? argv[0] : "use");
    use_compound_literals();
    return num_failed != 0;
}
