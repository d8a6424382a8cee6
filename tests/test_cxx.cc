// The library in C++11 to C++20: definitions, labels, scopes that exceptions leave, and exceptions
// counted.
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

double now;
int num_logged;
pytheus_err logged_err;

double fake_clock(void *) {
    return now;
}

void remember(void *, pytheus_err err, const char *, const char *) {
    num_logged++;
    logged_err = err;
}

pytheus_registry *new_registry() {
    pytheus_registry_desc desc = pytheus_registry_desc();
    desc.clock = fake_clock;
    desc.logger.log = remember;
    now = 0;
    num_logged = 0;
    logged_err = PYTHEUS_OK;
    return pytheus_registry_new(desc);
}

struct fixture {
    pytheus_registry *registry;
    fixture() : registry(new_registry()) {}
    ~fixture() {
        pytheus_registry_free(registry);
    }
    fixture(const fixture &) = delete;
    fixture &operator=(const fixture &) = delete;

    pytheus_desc desc(const char *name, const char *label = nullptr) const {
        pytheus_desc d = pytheus_desc();
        d.registry = registry;
        d.name = name;
        d.required_labels[0] = label;
        return d;
    }
    pytheus_counter counter(const char *name = "x_total", const char *label = nullptr) const {
        return pytheus_counter_new(desc(name, label));
    }
    pytheus_gauge gauge(const char *name = "g", const char *label = nullptr) const {
        return pytheus_gauge_new(desc(name, label));
    }
    pytheus_histogram histogram(const char *name = "h", const char *label = nullptr) const {
        return pytheus_histogram_new(desc(name, label));
    }
    double sample(const char *name) const {
        double value = -1;
        pytheus_sample_value(registry, name, nullptr, 0, &value);
        return value;
    }
    std::string text() const {
        char *page = pytheus_generate(registry, PYTHEUS_TEXT, nullptr);
        std::string copy = page ? page : "";
        pytheus_free(page);
        return copy;
    }
};

double value_of(pytheus_view view) {
    double value = -1;
    pytheus_view_get(view, &value);
    return value;
}

} // namespace

#define CHECK_VALUE(handle, expected) CHECK_DOUBLE(value_of((handle).view), expected)

// ---- definitions and labels ----

TEST(a_description_is_a_variable_that_is_filled) {
    fixture f;
    pytheus_desc desc = f.desc("http_requests_total");
    desc.help = "Requests.";
    desc.required_labels[0] = "method";
    desc.required_labels[1] = "code";
    desc.default_labels[0].name = "code";
    desc.default_labels[0].value = "200";
    pytheus_counter c = pytheus_counter_new(desc);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET")), PYTHEUS_OK);
    CHECK_STR(f.text().c_str(), "# HELP http_requests_total Requests.\n"
                                "# TYPE http_requests_total counter\n"
                                "http_requests_total{method=\"GET\",code=\"200\"} 1\n");
}

TEST(a_description_may_be_passed_by_pointer_as_in_c) {
    fixture f;
    const pytheus_desc desc = f.desc("x_total");
    CHECK(pytheus_view_equal(pytheus_counter_new(&desc).view, pytheus_counter_new(desc).view));
}

TEST(every_type_is_made_from_a_reference) {
    fixture f;
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_new(f.desc("c_total"))), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(pytheus_gauge_new(f.desc("g")), 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(pytheus_histogram_new(f.desc("h")), 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(pytheus_summary_new(f.desc("s")), 1), PYTHEUS_OK);
}

#if __cplusplus >= 202002L
TEST(a_description_names_its_members) {
    fixture f;
    const double bounds[] = {1, 2};
    pytheus_counter c = pytheus_counter_new({
        .name = "x_total",
        .help = "Help.",
        .required_labels = {"a", "b"},
        .default_labels = {{"b", "2"}},
        .registry = f.registry,
    });
    pytheus_histogram h = pytheus_histogram_new(
        {.name = "h", .buckets = bounds, .num_buckets = 2, .registry = f.registry});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1"));
    pytheus_histogram_observe(h, 1.5);
    CHECK(f.text().find("x_total{a=\"1\",b=\"2\"} 1\n") != std::string::npos);
    CHECK(f.text().find("h_bucket{le=\"2\"} 1\n") != std::string::npos);
}

TEST(a_registry_description_names_its_members) {
    pytheus_registry *r = pytheus_registry_new({.prefix = "app"});
    pytheus_gauge g = pytheus_gauge_new({.name = "x", .registry = r});
    CHECK_ERR(pytheus_gauge_set(g, 2), PYTHEUS_OK);
    double value = 0;
    CHECK_ERR(pytheus_sample_value(r, "app_x", nullptr, 0, &value), PYTHEUS_OK);
    CHECK_DOUBLE(value, 2);
    pytheus_registry_free(r);
}
#endif

TEST(nothing_is_a_pair_of_braces) {
    pytheus_counter nothing{};
    CHECK_ERR(pytheus_counter_inc(nothing), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(nothing, "a", "1")), PYTHEUS_ERR_NOTHING);
}

TEST(labels_are_pairs_of_strings) {
    fixture f;
    const std::string value = "from a string";
    pytheus_gauge g = f.gauge("g", "a");
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", value.c_str()), 3);
    CHECK(f.text().find("g{a=\"from a string\"} 3\n") != std::string::npos);
}

TEST(labels_of_every_type_are_typed) {
    fixture f;
    pytheus_counter c = pytheus_counter_labels(f.counter("c_total", "a"), "a", "1");
    pytheus_histogram h = pytheus_histogram_labels(f.histogram("h", "a"), "a", "1");
    pytheus_summary s = pytheus_summary_labels(pytheus_summary_new(f.desc("s", "a")), "a", "1");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_OK);
}

TEST(an_unknown_label_is_an_error) {
    fixture f;
    CHECK(!pytheus_counter_labels(f.counter("c_total", "a"), "b", "1").view.node);
    CHECK_ERR(logged_err, PYTHEUS_ERR_LABEL);
}

TEST(a_null_value_is_an_error) {
    fixture f;
    const char *null = nullptr;
    CHECK(!pytheus_counter_labels(f.counter("c_total", "a"), "a", null).view.node);
    CHECK_ERR(logged_err, PYTHEUS_ERR_LABEL);
}

// ---- timed scopes ----

static int leave_time(pytheus_histogram h, int which) {
    PYTHEUS_TIME(h) {
        now += 1;
        if (which == 1)
            return 1;
        if (which == 2)
            break;
        if (which == 3)
            continue;
        if (which == 4)
            goto out;
        if (which == 5)
            throw std::runtime_error("out");
    }
out:
    return which;
}

TEST(a_timed_block_ends_on_every_exit) {
    fixture f;
    pytheus_histogram h = f.histogram();
    for (int which = 0; which <= 4; which++)
        CHECK_INT(leave_time(h, which), which);
    CHECK_DOUBLE(f.sample("h_count"), 5);
    CHECK_DOUBLE(f.sample("h_sum"), 5);
}

TEST(a_timed_block_ends_on_an_exception) {
    fixture f;
    bool thrown = false;
    try {
        leave_time(f.histogram(), 5);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK_DOUBLE(f.sample("h_count"), 1);
    CHECK_DOUBLE(f.sample("h_sum"), 1);
}

static void throw_in_scopes(pytheus_histogram h, pytheus_gauge g) {
    PYTHEUS_TIME_SCOPE(h);
    PYTHEUS_TRACK_INPROGRESS_SCOPE(g);
    now += 2;
    CHECK_VALUE(g, 1);
    throw std::runtime_error("out");
}

TEST(scopes_end_on_an_exception) {
    fixture f;
    pytheus_gauge g = f.gauge();
    bool thrown = false;
    try {
        throw_in_scopes(f.histogram(), g);
    } catch (const std::runtime_error &) {
        thrown = true;
    }
    CHECK(thrown);
    CHECK_DOUBLE(f.sample("h_sum"), 2);
    CHECK_VALUE(g, 0);
}

TEST(timed_blocks_nest_on_one_line) {
    fixture f;
    pytheus_histogram h = f.histogram();
    pytheus_gauge g = f.gauge();
    // clang-format off
    PYTHEUS_TIME(h) { now += 1; PYTHEUS_TIME(g) { now += 2; } }
    // clang-format on
    CHECK_VALUE(g, 2);
    CHECK_VALUE(h, 3);
}

TEST(a_timer_can_be_moved_and_stopped) {
    fixture f;
    pytheus_timer first = pytheus_timer_start(f.histogram().view);
    pytheus_timer second = std::move(first);
    now += 4;
    CHECK_DOUBLE(pytheus_timer_stop(&second), 4);
    CHECK_DOUBLE(f.sample("h_count"), 1);
}

// ---- in progress ----

static int leave_progress(pytheus_gauge g, int which) {
    PYTHEUS_TRACK_INPROGRESS(g) {
        CHECK_VALUE(g, 1);
        if (which == 1)
            return 1;
        if (which == 2)
            break;
        if (which == 3)
            continue;
        if (which == 4)
            goto out;
        if (which == 5)
            throw std::runtime_error("out");
    }
out:
    return which;
}

TEST(progress_ends_on_every_exit) {
    fixture f;
    pytheus_gauge g = f.gauge();
    for (int which = 0; which <= 4; which++) {
        CHECK_INT(leave_progress(g, which), which);
        CHECK_VALUE(g, 0);
    }
}

TEST(progress_ends_on_an_exception) {
    fixture f;
    pytheus_gauge g = f.gauge();
    try {
        leave_progress(g, 5);
    } catch (const std::runtime_error &) {
        CHECK_VALUE(g, 0);
    }
    CHECK_VALUE(g, 0);
}

// ---- exceptions counted ----

template <class E> static bool throw_in_block(pytheus_counter c) {
    try {
        PYTHEUS_COUNT_EXCEPTIONS(c) {
            throw E("counted");
        }
    } catch (const E &) {
        return true;
    }
    return false;
}

TEST(pytheus_counter_count_exception) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK(throw_in_block<std::runtime_error>(c));
    CHECK_VALUE(c, 1);
}

TEST(client_core_counter_block_decorator) {
    fixture f;
    pytheus_counter c = f.counter();
    PYTHEUS_COUNT_EXCEPTIONS(c) {
    }
    CHECK_VALUE(c, 0);
    CHECK(throw_in_block<std::logic_error>(c));
    CHECK_VALUE(c, 1);
}

// Whether it came out as it went in.
template <class E, class... Counted> static bool throw_in_call(pytheus_counter c) {
    try {
        pytheus::count_exceptions<Counted...>(c, [] { throw E("counted"); });
    } catch (const E &) {
        return true;
    }
    return false;
}

TEST(pytheus_counter_count_exception_with_specified) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK((throw_in_call<std::range_error, std::invalid_argument, std::range_error>(c)));
    CHECK_VALUE(c, 1);
}

TEST(pytheus_counter_count_exception_with_specified_is_ignored) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK((throw_in_call<std::range_error, std::invalid_argument>(c)));
    CHECK_VALUE(c, 0);
}

TEST(client_core_counter_function_decorator) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK((throw_in_call<std::logic_error, std::range_error>(c)));
    CHECK_VALUE(c, 0);
    CHECK((throw_in_call<std::range_error, std::range_error>(c)));
    CHECK_VALUE(c, 1);
}

TEST(client_core_counter_count_exceptions_not_observable) {
    fixture f;
    CHECK(throw_in_block<std::runtime_error>(f.counter("x_total", "label")));
    CHECK_ERR(logged_err, PYTHEUS_ERR_UNOBSERVABLE);
}

TEST(any_exception_is_counted_when_none_is_named) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK(throw_in_call<std::range_error>(c));
    int thrown = 0;
    try {
        pytheus::count_exceptions(c, [] { throw 7; });
    } catch (int number) {
        thrown = number;
    }
    CHECK_INT(thrown, 7);
    CHECK_VALUE(c, 2);
}

TEST(a_derived_exception_is_its_base_too) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK((throw_in_call<std::range_error, std::runtime_error>(c)));
    CHECK_VALUE(c, 1);
    CHECK((throw_in_call<std::runtime_error, std::range_error>(c)));
    CHECK_VALUE(c, 1);
}

TEST(an_exception_of_several_named_types_is_counted_once) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK(
        (throw_in_call<std::range_error, std::exception, std::runtime_error, std::range_error>(c)));
    CHECK_VALUE(c, 1);
}

TEST(a_rethrown_exception_is_the_same_object) {
    fixture f;
    std::string what;
    try {
        pytheus::count_exceptions<std::exception>(f.counter(),
                                                  [] { throw std::range_error("the text"); });
    } catch (const std::exception &e) {
        what = e.what();
    }
    CHECK_STR(what.c_str(), "the text");
}

TEST(a_call_that_throws_nothing_yields_its_result) {
    fixture f;
    pytheus_counter c = f.counter();
    int target = 5;
    CHECK_INT(pytheus::count_exceptions(c, [] { return 42; }), 42);
    CHECK_INT(pytheus::count_exceptions<std::exception>(c, [&] { return target; }), 5);
    CHECK_STR(pytheus::count_exceptions(c, [] { return std::string("text"); }).c_str(), "text");
    CHECK_VALUE(c, 0);
}

static int leave_counted(pytheus_counter c, int which) {
    PYTHEUS_COUNT_EXCEPTIONS(c) {
        if (which == 1)
            return 1;
        if (which == 2)
            break;
        if (which == 3)
            continue;
        if (which == 4)
            goto out;
    }
out:
    return which;
}

TEST(other_exits_are_no_exceptions) {
    fixture f;
    pytheus_counter c = f.counter();
    for (int which = 0; which <= 4; which++)
        CHECK_INT(leave_counted(c, which), which);
    CHECK_VALUE(c, 0);
}

TEST(an_exception_caught_inside_is_not_counted) {
    fixture f;
    pytheus_counter c = f.counter();
    PYTHEUS_COUNT_EXCEPTIONS(c) {
        try {
            throw 1;
        } catch (int) {
        }
    }
    CHECK_VALUE(c, 0);
}

TEST(nested_blocks_count_what_leaves_each) {
    fixture f;
    pytheus_counter outer = f.counter("outer_total"), inner = f.counter("inner_total");
    PYTHEUS_COUNT_EXCEPTIONS(outer) {
        try {
            PYTHEUS_COUNT_EXCEPTIONS(inner) {
                throw 1;
            }
        } catch (int) {
        }
    }
    CHECK_VALUE(inner, 1);
    CHECK_VALUE(outer, 0);
}

// Its destructor runs a counted block while an exception passes.
struct counts_in_destructor {
    pytheus_counter counter;
    explicit counts_in_destructor(pytheus_counter c) : counter(c) {}
    ~counts_in_destructor() {
        PYTHEUS_COUNT_EXCEPTIONS(counter) {
        }
    }
};

TEST(a_block_that_runs_while_an_exception_passes_does_not_count_it) {
    fixture f;
    pytheus_counter c = f.counter();
    try {
        counts_in_destructor object(c);
        throw 1;
    } catch (int) {
    }
    CHECK_VALUE(c, 0);
}

#if __cplusplus >= 201703L
struct throws_in_destructor {
    pytheus_counter counter;
    explicit throws_in_destructor(pytheus_counter c) : counter(c) {}
    ~throws_in_destructor() {
        try {
            PYTHEUS_COUNT_EXCEPTIONS(counter) {
                throw 2;
            }
        } catch (int) {
        }
    }
};

TEST(a_block_that_throws_while_an_exception_passes_counts_its_own) {
    fixture f;
    pytheus_counter c = f.counter();
    try {
        throws_in_destructor object(c);
        throw 1;
    } catch (int) {
    }
    CHECK_VALUE(c, 1);
}
#endif

// ---- errors counted, and call sites ----

static int fail_with(int result, int number) {
    errno = number;
    return result;
}

TEST(errors_are_counted_by_value) {
    fixture f;
    pytheus_counter c = f.counter();
    const long minus = -2;
    const char *const null = nullptr;
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(-1, 0)), -1);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, minus), -2);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, -5000000000LL), -5000000000LL);
    CHECK(!PYTHEUS_COUNT_ERRORS(c, null));
    CHECK_VALUE(c, 4);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, fail_with(0, 0)), 0);
    CHECK_STR(PYTHEUS_COUNT_ERRORS(c, "text"), "text");
    CHECK_VALUE(c, 4);
}

TEST(small_integers_are_counted_too) {
    fixture f;
    pytheus_counter c = f.counter();
    const short small = -3;
    const signed char smaller = -4;
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, small), -3);
    CHECK_INT(PYTHEUS_COUNT_ERRORS(c, smaller), -4);
    CHECK_VALUE(c, 2);
}

TEST(a_condition_sees_the_result) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK_INT(PYTHEUS_COUNT_IF(c, fail_with(500, 0), _result >= 500), 500);
    CHECK_INT(PYTHEUS_COUNT_IF(c, fail_with(499, 0), _result >= 500), 499);
    CHECK_VALUE(c, 1);
}

TEST(errno_chooses_what_is_counted) {
    fixture f;
    pytheus_counter c = f.counter();
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, ENOENT), EINTR, ENOENT), -1);
    CHECK_INT(errno, ENOENT);
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(-1, EPERM), EINTR, ENOENT), -1);
    CHECK_INT(PYTHEUS_COUNT_ERRNO(c, fail_with(0, ENOENT), ENOENT), 0);
    CHECK_VALUE(c, 1);
}

static pytheus_counter not_found(pytheus_counter c) {
    return PYTHEUS_AT(counter, c, "code", "404");
}

TEST(a_call_site_gives_the_view) {
    fixture f;
    pytheus_counter a = f.counter("a_total", "code"), b = f.counter("b_total", "code");
    for (int i = 0; i < 5; i++) {
        pytheus_counter_inc(not_found(a));
        pytheus_counter_add(not_found(b), 2);
    }
    CHECK_VALUE(pytheus_counter_labels(a, "code", "404"), 5);
    CHECK_VALUE(pytheus_counter_labels(b, "code", "404"), 10);
    pytheus_view_remove(not_found(a).view);
    pytheus_counter_inc(not_found(a));
    CHECK_VALUE(not_found(a), 1);
}

TEST(infos_statesets_and_unknowns) {
    fixture f;
    pytheus_desc info = f.desc("build", "version"), states = f.desc("state"), plain = f.desc("u");
    states.states[0] = "on";
    states.states[1] = "off";
    pytheus_info build = pytheus_info_new(info);
    CHECK(pytheus_view_observable(pytheus_info_labels(build, "version", "1.2").view));
    pytheus_stateset state = pytheus_stateset_new(states);
    CHECK_ERR(pytheus_stateset_switch(state, "off"), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_set(state, "on", true), PYTHEUS_OK);
    CHECK_ERR(pytheus_unknown_set(pytheus_unknown_new(plain), -1.5), PYTHEUS_OK);
    CHECK_OM_PAGE(f.registry, "# TYPE build info\nbuild_info{version=\"1.2\"} 1\n"
                              "# TYPE state stateset\nstate{state=\"on\"} 1\n"
                              "state{state=\"off\"} 1\n# TYPE u unknown\nu -1.5\n");
}

TEST(exemplars) {
    fixture f;
    const std::string trace = "abc";
    CHECK_ERR(pytheus_counter_add_exemplar(f.counter(), 2, "trace_id", trace.c_str()), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(f.histogram(), 20, "a", "b", "c", "d"),
              PYTHEUS_OK);
    char *text = om_page(f.registry);
    CHECK(strstr(text, "x_total 2 # {trace_id=\"abc\"} 2 ") != nullptr);
    CHECK(strstr(text, "h_bucket{le=\"+Inf\"} 1 # {a=\"b\",c=\"d\"} 20 ") != nullptr);
    free(text);
}

TEST(call_sites_work_in_a_member_function) {
    struct server {
        pytheus_counter requests;
        void answer() const {
            pytheus_counter_inc(PYTHEUS_AT(counter, requests, "code", "200"));
        }
    };
    fixture f;
    const server s = {f.counter("x_total", "code")};
    s.answer();
    s.answer();
    CHECK_VALUE(pytheus_counter_labels(s.requests, "code", "200"), 2);
}

#ifndef _WIN32
static pytheus_counter ended;

static void *end_in_the_middle(void *) {
    pytheus::count_exceptions<std::bad_alloc, std::runtime_error>(ended,
                                                                  [] { pthread_exit(NULL); });
    return NULL;
}

static void *end_in_any(void *) {
    pytheus::count_exceptions(ended, [] { pthread_exit(NULL); });
    return NULL;
}

TEST(the_end_of_a_thread_is_no_exception) {
    pytheus_registry *r = pytheus_registry_new(NULL);
    pytheus_desc desc = {};
    desc.name = "x_total";
    desc.registry = r;
    ended = pytheus_counter_new(desc);
    void *(*const bodies[])(void *) = {end_in_the_middle, end_in_any};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, bodies[i], NULL) == 0);
        pthread_join(thread, NULL);
    }
    double value = -1;
    CHECK_ERR(pytheus_view_get(ended.view, &value), PYTHEUS_OK);
    CHECK_DOUBLE(value, 0);
    pytheus_registry_free(r);
}
#endif
