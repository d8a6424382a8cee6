// use.cc: every public function and macro, as C++ writes them.
#include "pytheus.h"

#include "common.h"
#include <new>
#include <stdexcept>
#include <string>

namespace {

pytheus_counter make_early() {
    pytheus_desc desc = {};
    desc.name = "early_total";
    return pytheus_counter_new(desc);
}

// Made while the library's own file may not have been initialised yet.
const pytheus_counter early = make_early();

void use_before_main() {
    EXPECT(pytheus_counter_inc(early) == PYTHEUS_OK);
    EXPECT(pytheus_view_equal(early.view, make_early().view));
    EXPECT_VALUE(early.view, 1);
}

void use_references() {
    pytheus_desc desc = {};
    pytheus_registry_desc registry_desc = {};
    pytheus_registry *registry = pytheus_registry_new(registry_desc);
    std::string method = "GET";
    desc.name = "hits_total";
    desc.required_labels[0] = "method";
    pytheus_counter hits = pytheus_counter_labels(pytheus_counter_new(desc), "method", "GET");
    EXPECT(pytheus_counter_inc(hits) == PYTHEUS_OK);
    EXPECT(pytheus_view_equal(
        hits.view,
        pytheus_counter_labels(pytheus_counter_new(desc), "method", method.c_str()).view));
    EXPECT_VALUE(hits.view, 1);
    desc = pytheus_desc();
    desc.registry = registry;
    desc.name = "level";
    EXPECT(pytheus_gauge_set(pytheus_gauge_new(desc), 1) == PYTHEUS_OK);
    desc.name = "sizes";
    EXPECT(pytheus_histogram_observe(pytheus_histogram_new(desc), 1) == PYTHEUS_OK);
    desc.name = "times";
    EXPECT(pytheus_summary_observe(pytheus_summary_new(desc), 1) == PYTHEUS_OK);
    EXPECT_ERR(pytheus_counter_inc(pytheus_counter{}), PYTHEUS_ERR_NOTHING);
    pytheus_registry_free(registry);
}

void use_designated_initialisers() {
#if __cplusplus >= 202002L
    pytheus_registry *registry = pytheus_registry_new({.prefix = "other"});
    pytheus_counter hits = pytheus_counter_new({
        .name = "hits_total",
        .help = "Hits.",
        .required_labels = {"method", "path", "code", "host"},
        .default_labels = {{"code", "200"}, {.name = "host", .value = "a"}},
        .registry = registry,
    });
    pytheus_gauge level = pytheus_gauge_new({.name = "level", .registry = registry});
    pytheus_histogram sizes = pytheus_histogram_new({.name = "sizes", .registry = registry});
    pytheus_summary times = pytheus_summary_new({.name = "times", .unregistered = true});
    EXPECT(pytheus_counter_inc(pytheus_counter_labels(hits, "path", "/", "method", "GET")) ==
           PYTHEUS_OK);
    EXPECT(pytheus_gauge_set(level, 1) == PYTHEUS_OK);
    EXPECT(pytheus_histogram_observe(sizes, 1) == PYTHEUS_OK);
    EXPECT(pytheus_summary_observe(times, 1) == PYTHEUS_OK);
    pytheus_registry_free(registry);
#endif
}

void use_exceptions() {
    pytheus_counter errors = pytheus_counter_new(plain(nullptr, "errors_total"));
    PYTHEUS_COUNT_EXCEPTIONS(errors) {
        EXPECT_VALUE(errors.view, 0);
    }
    EXPECT_VALUE(errors.view, 0);
#ifdef __cpp_exceptions
    pytheus_gauge running = pytheus_gauge_new(plain(nullptr, "running"));
    pytheus_histogram durations = pytheus_histogram_new(plain(nullptr, "durations"));
    double num_timed = 0;
    int num_caught = 0;
    try {
        PYTHEUS_COUNT_EXCEPTIONS(errors) {
            throw std::runtime_error("one");
        }
    } catch (const std::runtime_error &) {
        num_caught++;
    }
    EXPECT_VALUE(errors.view, 1);
    EXPECT(pytheus::count_exceptions(errors, [] { return 3; }) == 3);
    pytheus::count_exceptions(errors, [] {});
    try {
        pytheus::count_exceptions<std::logic_error, std::runtime_error>(
            errors, [] { throw std::runtime_error("two"); });
    } catch (const std::runtime_error &) {
        num_caught++;
    }
    EXPECT_VALUE(errors.view, 2);
    try {
        pytheus::count_exceptions<std::logic_error>(errors, [] { throw std::bad_alloc(); });
    } catch (const std::bad_alloc &) {
        num_caught++;
    }
    EXPECT_VALUE(errors.view, 2);
    try {
        PYTHEUS_TRACK_INPROGRESS(running) {
            PYTHEUS_TIME(durations) {
                EXPECT_VALUE(running.view, 1);
                throw 1;
            }
        }
    } catch (int) {
        num_caught++;
    }
    EXPECT_VALUE(running.view, 0);
    (void)pytheus_sample_value(nullptr, "durations_count", nullptr, 0, &num_timed);
    EXPECT(num_timed == (LIVE ? 1 : 0));
    EXPECT(num_caught == 4);
#endif
}

} // namespace

int main(int argc, char **argv) {
    use_everything(argc > 0 ? argv[0] : "use");
    use_before_main();
    use_references();
    use_designated_initialisers();
    use_exceptions();
    pytheus_registry_free(nullptr);
    return num_failed != 0;
}
