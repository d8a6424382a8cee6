/* Metrics in several registries, the registry that NULL means, and values that functions tell. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "budget.h"

#include <time.h>

/* ---- a metric in several registries ---- */

typedef struct two_registries {
    pytheus_registry *home, *other;
} two_registries;

static two_registries two(void) {
    two_registries t;
    t.home = fixture_registry("home");
    t.other = fixture_registry("other");
    return t;
}

static void free_both(two_registries t) {
    pytheus_registry_free(t.other);
    pytheus_registry_free(t.home);
}

static pytheus_histogram small_histogram(pytheus_registry *r, const char *name) {
    return HISTOGRAM(r, .name = name, .help = "Help.", .buckets = (const double[]){1},
                     .num_buckets = 1, .required_labels = {"a"});
}

TEST(a_metric_may_be_in_several_registries_under_each_ones_prefix) {
    two_registries t = two();
    pytheus_histogram h = small_histogram(t.home, "h");
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 0.5);
    GAUGE(t.other, .name = "first");
    CHECK_ERR(pytheus_registry_add(t.other, h.view), PYTHEUS_OK);
    GAUGE(t.other, .name = "last");
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 2);
    CHECK_PAGE(t.other, "# TYPE other_first gauge\nother_first 0\n"
                        "# HELP other_h Help.\n"
                        "# TYPE other_h histogram\n"
                        "other_h_bucket{a=\"1\",le=\"1\"} 1\n"
                        "other_h_bucket{a=\"1\",le=\"+Inf\"} 2\n"
                        "other_h_sum{a=\"1\"} 2.5\n"
                        "other_h_count{a=\"1\"} 2\n"
                        "# TYPE other_last gauge\nother_last 0\n");
    CHECK_PAGE(t.home, "# HELP home_h Help.\n"
                       "# TYPE home_h histogram\n"
                       "home_h_bucket{a=\"1\",le=\"1\"} 1\n"
                       "home_h_bucket{a=\"1\",le=\"+Inf\"} 2\n"
                       "home_h_sum{a=\"1\"} 2.5\n"
                       "home_h_count{a=\"1\"} 2\n");
    free_both(t);
}

TEST(a_metric_may_be_in_a_registry_with_the_same_prefix) {
    pytheus_registry *a = fixture_registry(NULL), *b = fixture_registry("");
    pytheus_counter c = COUNTER(a, .name = "c_total");
    CHECK_ERR(pytheus_registry_add(b, c.view), PYTHEUS_OK);
    pytheus_counter_inc(c);
    CHECK_PAGE(a, "# TYPE c_total counter\nc_total 1\n");
    CHECK_PAGE(b, "# TYPE c_total counter\nc_total 1\n");
    pytheus_registry_free(b);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    pytheus_registry_free(a);
}

TEST(adding_a_metric_again_changes_nothing) {
    two_registries t = two();
    pytheus_gauge g = GAUGE(t.home, .name = "g", .required_labels = {"a"});
    pytheus_gauge view = pytheus_gauge_labels(g, "a", "1");
    CHECK_ERR(pytheus_registry_add(t.home, g.view), PYTHEUS_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(pytheus_registry_add(t.other, g.view), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_add(t.other, view.view), PYTHEUS_OK);
    }
    CHECK_PAGE(t.home, "# TYPE home_g gauge\nhome_g{a=\"1\"} 0\n");
    CHECK_PAGE(t.other, "# TYPE other_g gauge\nother_g{a=\"1\"} 0\n");
    CHECK_ERR(pytheus_registry_remove(t.other, view.view), PYTHEUS_OK);
    CHECK_PAGE(t.other, "");
    free_both(t);
}

TEST_WITH(r, an_unregistered_metric_can_be_added) {
    pytheus_registry *other = fixture_registry("other");
    pytheus_gauge g = GAUGE(r, .name = "g", .unregistered = true);
    pytheus_gauge_set(g, 3);
    CHECK_ERR(pytheus_registry_add(other, g.view), PYTHEUS_OK);
    CHECK_PAGE(r, "");
    CHECK_PAGE(other, "# TYPE other_g gauge\nother_g 3\n");
    CHECK_ERR(pytheus_registry_add(r, g.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng 3\n");
    CHECK_SAME(GAUGE(r, .name = "g"), g);
    pytheus_registry_free(other);
}

/* What an added metric and one that is there already take from each other. */
static void check_taken(pytheus_type first_type, const char *first, pytheus_type second_type,
                        const char *second, bool taken, int line) {
    two_registries t = two();
    pytheus_view there =
        fixture_new(first_type, &(pytheus_desc){.name = first, .registry = t.other});
    pytheus_view added =
        fixture_new(second_type, &(pytheus_desc){.name = second, .registry = t.home});
    char *before = page(t.other), *after;
    pytheus_err err = pytheus_registry_add(t.other, added);
    check_err((int)err, (int)(taken ? PYTHEUS_ERR_DUPLICATE : PYTHEUS_OK), second, __FILE__, line);
    CHECK(there.node != NULL && added.node != NULL);
    if (taken) {
        after = page(t.other);
        CHECK_STR(after, before);
        free(after);
        CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
        CHECK_STR(logged.metric, second);
        CHECK_ERR(pytheus_registry_remove(t.other, added), PYTHEUS_ERR_NOTHING);
        CHECK_ERR(pytheus_registry_remove(t.other, there), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_add(t.other, added), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_add(t.other, there), PYTHEUS_ERR_DUPLICATE);
    }
    free(page(t.other));
    free(before);
    free_both(t);
}
#define CHECK_TAKEN(a, name_a, b, name_b, taken)                                                   \
    check_taken(PYTHEUS_##a, name_a, PYTHEUS_##b, name_b, taken, __LINE__)

TEST(an_added_metric_needs_names_that_are_free) {
    CHECK_TAKEN(GAUGE, "x", GAUGE, "x", true);
    CHECK_TAKEN(GAUGE, "x", COUNTER, "x_total", true);
    CHECK_TAKEN(COUNTER, "x_total", GAUGE, "x", true);
    CHECK_TAKEN(HISTOGRAM, "x", GAUGE, "x_count", true);
    CHECK_TAKEN(GAUGE, "x_count", HISTOGRAM, "x", true);
    CHECK_TAKEN(SUMMARY, "x", COUNTER, "x_sum", true);
    CHECK_TAKEN(GAUGE, "x_bucket", HISTOGRAM, "x", true);
    CHECK_TAKEN(GAUGE, "x", GAUGE, "x_count", false);
    CHECK_TAKEN(GAUGE, "home_x", GAUGE, "x", false);
    CHECK_TAKEN(GAUGE, "other_x", GAUGE, "x", false);
}

TEST(an_added_metric_takes_its_names) {
    two_registries t = two();
    pytheus_histogram h = HISTOGRAM(t.home, .name = "x");
    CHECK_ERR(pytheus_registry_add(t.other, h.view), PYTHEUS_OK);
    CHECK_NOTHING(GAUGE(t.other, .name = "x_count"));
    CHECK_NOTHING(COUNTER(t.other, .name = "x"));
    CHECK_ERR(pytheus_registry_remove(t.other, h.view), PYTHEUS_OK);
    CHECK(GAUGE(t.other, .name = "x_count").view.node != NULL);
    CHECK_NOTHING(GAUGE(t.home, .name = "x_count"));
    free_both(t);
}

/* The same definition is the same metric: also where it is a guest. */
TEST(an_added_metric_is_found_by_its_definition) {
    two_registries t = two();
    pytheus_counter c = COUNTER(t.home, .name = "c_total");
    CHECK_ERR(pytheus_registry_add(t.other, c.view), PYTHEUS_OK);
    CHECK_SAME(COUNTER(t.other, .name = "c_total"), c);
    CHECK_LINE(t.other, "other_c_total 0");
    free_both(t);
}

TEST_WITH(r, pytheus_registry_unregister_metric) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_ERR(pytheus_registry_remove(r, c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "");
}

/* There a rejected duplicate has the name of the first, and takes that away. */
TEST_WITH(r, removing_a_rejected_duplicate_keeps_the_first) {
    pytheus_registry *other = fixture_registry(NULL);
    pytheus_counter first = COUNTER(r, .name = "name");
    pytheus_counter rejected = COUNTER(other, .name = "name");
    pytheus_gauge unregistered = GAUGE(r, .name = "name", .unregistered = true);
    CHECK_ERR(pytheus_registry_add(r, rejected.view), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(pytheus_last_error(), "name: its names are taken by a metric name");
    CHECK_ERR(pytheus_registry_remove(r, rejected.view), PYTHEUS_ERR_NOTHING);
    CHECK_STR(pytheus_last_error(), "name: not in this registry");
    CHECK_ERR(pytheus_registry_remove(r, unregistered.view), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_registry_remove(r, COUNTER(r, .name = "absent", .unregistered = true).view),
              PYTHEUS_ERR_NOTHING);
    pytheus_counter_inc(first);
    CHECK_PAGE(r, "# TYPE name counter\nname 1\n");
    CHECK_NOTHING(GAUGE(r, .name = "name"));
    pytheus_registry_free(other);
}

TEST_WITH(r, nothing_is_added_and_removed_nowhere) {
    CHECK_ERR(pytheus_registry_add(r, (pytheus_view){0}), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_registry_remove(r, (pytheus_view){0}), PYTHEUS_ERR_NOTHING);
    CHECK_PAGE(r, "");
}

TEST_WITH(r, a_removed_metric_frees_its_name_and_its_handles_work) {
    pytheus_counter c = COUNTER(r, .name = "x", .required_labels = {"a"});
    pytheus_counter old = pytheus_counter_labels(c, "a", "1");
    pytheus_counter_inc(old);
    CHECK_ERR(pytheus_registry_remove(r, c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_sample_value(r, "x", PAIRS("a", "1"), &(double){0}), PYTHEUS_ERR_NAME);
    pytheus_gauge g = GAUGE(r, .name = "x");
    CHECK_ERR(pytheus_gauge_set(g, 5), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(old), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "2")), PYTHEUS_OK);
    CHECK_VALUE(old, 2);
    CHECK_PAGE(r, "# TYPE x gauge\nx 5\n");
    CHECK_ERR(pytheus_registry_add(r, c.view), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(pytheus_registry_remove(r, g.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(r, c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x counter\nx{a=\"1\"} 2\nx{a=\"2\"} 1\n");
    CHECK_SAME(COUNTER(r, .name = "x", .required_labels = {"a"}), c);
    CHECK_LABELLED(r, "x", 2, "a", "1");
}

TEST_WITH(r, a_metric_that_is_added_again_comes_last) {
    pytheus_gauge a = GAUGE(r, .name = "a");
    GAUGE(r, .name = "b");
    CHECK_ERR(pytheus_registry_remove(r, a.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(r, a.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE b gauge\nb 0\n# TYPE a gauge\na 0\n");
}

TEST(series_removed_at_home_are_not_on_the_other_page) {
    two_registries t = two();
    pytheus_gauge g = GAUGE(t.home, .name = "g", .required_labels = {"a"});
    CHECK_ERR(pytheus_registry_add(t.other, g.view), PYTHEUS_OK);
    pytheus_gauge one = pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_labels(g, "a", "2");
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
    CHECK_PAGE(t.other, "# TYPE other_g gauge\nother_g{a=\"2\"} 0\n");
    free_both(t);
}

TEST(a_freed_home_takes_its_metrics_from_other_pages) {
    two_registries t = two();
    pytheus_counter guest = COUNTER(t.home, .name = "guest_total");
    GAUGE(t.other, .name = "a");
    CHECK_ERR(pytheus_registry_add(t.other, guest.view), PYTHEUS_OK);
    GAUGE(t.other, .name = "b");
    pytheus_registry_free(t.home);
    CHECK_PAGE(t.other, "# TYPE other_a gauge\nother_a 0\n# TYPE other_b gauge\nother_b 0\n");
    CHECK(GAUGE(t.other, .name = "guest").view.node != NULL);
    CHECK_LINE(t.other, "other_guest 0");
    pytheus_registry_free(t.other);
}

TEST(a_freed_home_takes_an_unregistered_metric_too) {
    two_registries t = two();
    pytheus_counter guest = COUNTER(t.home, .name = "guest_total", .unregistered = true);
    CHECK_ERR(pytheus_registry_add(t.other, guest.view), PYTHEUS_OK);
    CHECK_LINE(t.other, "other_guest_total 0");
    pytheus_registry_free(t.home);
    CHECK_PAGE(t.other, "");
    pytheus_registry_free(t.other);
}

TEST(a_freed_guest_registry_leaves_the_metric_at_home) {
    two_registries t = two();
    pytheus_counter c = COUNTER(t.home, .name = "c_total");
    CHECK_ERR(pytheus_registry_add(t.other, c.view), PYTHEUS_OK);
    pytheus_registry_free(t.other);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_PAGE(t.home, "# TYPE home_c_total counter\nhome_c_total 1\n");
    pytheus_registry_free(t.home);
}

TEST(the_default_registry_may_be_home_and_guest) {
    pytheus_registry *r = fixture_registry("app");
    pytheus_gauge at_home = GAUGE(NULL, .name = "here"), guest = GAUGE(r, .name = "guest");
    CHECK_ERR(pytheus_registry_add(NULL, guest.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(r, at_home.view), PYTHEUS_OK);
    CHECK_PAGE(NULL, "# TYPE here gauge\nhere 0\n# TYPE guest gauge\nguest 0\n");
    pytheus_registry_free(pytheus_default());
    CHECK_PAGE(r, "# TYPE app_guest gauge\napp_guest 0\n");
    CHECK_PAGE(NULL, "");
    pytheus_registry_free(r);
}

TEST(overflows_are_on_each_page_under_its_prefix) {
    two_registries t = two();
    pytheus_gauge g = GAUGE(t.home, .name = "g", .required_labels = {"a"}, .max_series = 1);
    CHECK_ERR(pytheus_registry_add(t.other, g.view), PYTHEUS_OK);
    pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_labels(g, "a", "2");
    CHECK_LINE(t.home, "home_pytheus_overflow_calls_total{metric=\"home_g\"} 1");
    CHECK_LINE(t.other, "other_pytheus_overflow_calls_total{metric=\"other_g\"} 1");
    CHECK_LABELLED(t.home, "home_pytheus_overflow_calls_total", 1, "metric", "home_g");
    CHECK_LABELLED(t.other, "other_pytheus_overflow_calls_total", 1, "metric", "other_g");
    free_both(t);
}

TEST(samples_are_found_through_each_registry) {
    two_registries t = two();
    pytheus_histogram h = small_histogram(t.home, "h");
    CHECK_ERR(pytheus_registry_add(t.other, h.view), PYTHEUS_OK);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 2);
    CHECK_LABELLED(t.home, "home_h_bucket", 1, "a", "1", "le", "+Inf");
    CHECK_LABELLED(t.other, "other_h_bucket", 1, "a", "1", "le", "+Inf");
    CHECK_LABELLED(t.other, "other_h_sum", 2, "a", "1");
    CHECK_ERR(pytheus_sample_value(t.other, "home_h_sum", PAIRS("a", "1"), &(double){0}),
              PYTHEUS_ERR_NAME);
    CHECK_ERR(pytheus_registry_remove(t.other, h.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_sample_value(t.other, "other_h_sum", PAIRS("a", "1"), &(double){0}),
              PYTHEUS_ERR_NAME);
    CHECK_LABELLED(t.home, "home_h_sum", 2, "a", "1");
    free_both(t);
}

TEST(many_metrics_come_and_go_without_a_trace) {
    two_registries t = two();
    char name[32];
    pytheus_gauge made[300];
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "metric_%d", i);
        made[i] = GAUGE(t.home, .name = name);
        CHECK_ERR(pytheus_registry_add(t.other, made[i].view), PYTHEUS_OK);
    }
    for (int i = 0; i < 300; i++)
        if (i * 7 % 300 != 13)
            CHECK_ERR(pytheus_registry_remove(t.other, made[i * 7 % 300].view), PYTHEUS_OK);
    CHECK_PAGE(t.other, "# TYPE other_metric_13 gauge\nother_metric_13 0\n");
    for (int i = 0; i < 300; i++)
        CHECK_ERR(pytheus_registry_add(t.other, made[i].view), PYTHEUS_OK);
    page_reading reading = page_open(t.other);
    CHECK_INT(reading.doc.num_samples, 300);
    reader_free(&reading.doc);
    free(reading.text);
    free_both(t);
}

static size_t taken;

static void *count_taken(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    taken += new_size > old_size ? new_size - old_size : 0;
    if (new_size)
        return realloc(p, new_size);
    free(p);
    return NULL;
}

TEST(to_come_and_go_takes_no_memory) {
    pytheus_registry *other = pytheus_registry_new(
        &(pytheus_registry_desc){.prefix = "other", .allocator = {count_taken, NULL}});
    pytheus_gauge g = pytheus_gauge_new(&(pytheus_desc){.name = "g", .unregistered = true});
    size_t after_one = 0;
    for (int i = 0; i < 10000; i++) {
        CHECK_ERR(pytheus_registry_add(other, g.view), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_remove(other, g.view), PYTHEUS_OK);
        after_one = i ? after_one : taken;
    }
    CHECK_INT((int64_t)taken, (int64_t)after_one);
    pytheus_registry_free(other);
    pytheus_registry_free(pytheus_default());
}

/* ---- the registry that NULL means ---- */

static pytheus_err emit_chosen(void *user, pytheus_emitter *out) {
    (void)user;
    CHECK_ERR(
        pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = "collected"}),
        PYTHEUS_OK);
    return pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
}

TEST(null_is_the_registry_that_was_chosen) {
    pytheus_registry *r = fixture_registry("chosen");
    pytheus_registry *own = pytheus_default();
    pytheus_set_default(r);
    CHECK(pytheus_default() == r);
    pytheus_gauge g = GAUGE(NULL, .name = "g");
    pytheus_gauge guest = GAUGE(own, .name = "guest");
    pytheus_gauge_set(g, 4);
    CHECK_PAGE(r, "# TYPE chosen_g gauge\nchosen_g 4\n");
    CHECK_PAGE(NULL, "# TYPE chosen_g gauge\nchosen_g 4\n");
    CHECK_SAMPLE(NULL, "chosen_g", 4);
    CHECK_ERR(pytheus_registry_add(NULL, guest.view), PYTHEUS_OK);
    CHECK_LINE(r, "chosen_guest 0");
    CHECK_ERR(pytheus_registry_remove(NULL, guest.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add_collector(
                  NULL, &(pytheus_collector){.name = "c", .collect = emit_chosen}),
              PYTHEUS_OK);
    CHECK_LINE(r, "chosen_collected 1");
    CHECK_NO_LINE(own, "collected 1");
    CHECK_ERR(pytheus_registry_remove_collector(NULL, "c"), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE chosen_g gauge\nchosen_g 4\n");
    CHECK_PAGE(own, "# TYPE guest gauge\nguest 0\n");
    CHECK_STR(pytheus_registry_backend(NULL), "single");
    CHECK_STR(pytheus_registry_config(NULL), "{}");
    CHECK_ERR(pytheus_flush(NULL), PYTHEUS_OK);
    pytheus_set_default(NULL);
    CHECK(pytheus_default() == own);
    pytheus_registry_free(r);
    pytheus_registry_free(own);
}

TEST(metrics_stay_in_the_registry_that_was_the_default) {
    pytheus_registry *r = fixture_registry("chosen");
    pytheus_gauge before = GAUGE(NULL, .name = "before");
    pytheus_set_default(r);
    pytheus_gauge during = GAUGE(NULL, .name = "during");
    pytheus_set_default(NULL);
    pytheus_gauge after = GAUGE(NULL, .name = "after");
    pytheus_gauge_inc(before);
    pytheus_gauge_inc(during);
    pytheus_gauge_inc(after);
    CHECK_PAGE(r, "# TYPE chosen_during gauge\nchosen_during 1\n");
    CHECK_PAGE(NULL, "# TYPE before gauge\nbefore 1\n# TYPE after gauge\nafter 1\n");
    pytheus_registry_free(r);
    pytheus_registry_free(pytheus_default());
}

TEST(the_librarys_own_is_the_default_again_when_the_chosen_one_is_freed) {
    pytheus_registry *own = pytheus_default();
    pytheus_registry *a = fixture_registry(NULL), *b = fixture_registry(NULL);
    pytheus_set_default(a);
    pytheus_set_default(b);
    CHECK(pytheus_default() == b);
    pytheus_registry_free(a);
    CHECK(pytheus_default() == b);
    pytheus_registry_free(b);
    CHECK(pytheus_default() == own);
    CHECK_ERR(pytheus_gauge_inc(GAUGE(NULL, .name = "x")), PYTHEUS_OK);
    CHECK_PAGE(own, "# TYPE x gauge\nx 1\n");
    pytheus_registry_free(own);
}

TEST(the_librarys_own_can_be_chosen_and_freed) {
    pytheus_registry *own = pytheus_default(), *r = fixture_registry(NULL);
    pytheus_set_default(own);
    CHECK(pytheus_default() == own);
    pytheus_set_default(r);
    GAUGE(own, .name = "x");
    pytheus_registry_free(own);
    CHECK(pytheus_default() == r);
    CHECK_PAGE(own, "");
    pytheus_registry_free(r);
    CHECK(pytheus_default() == own);
}

/* ---- functions ---- */

static int num_calls;

static double count_things(void *user) {
    num_calls++;
    return *(double *)user;
}

TEST_WITH(r, client_core_gauge_function) {
    double x = 0;
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_SAMPLE(r, "g", 0);
    x = 1;
    CHECK_SAMPLE(r, "g", 1);
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_OK);
    CHECK_SAMPLE(r, "g", 1);
}

TEST_WITH(r, a_function_is_called_once_by_each_reader) {
    double x = 2.5;
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_counter c = COUNTER(r, .name = "c_total");
    num_calls = 0;
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_set_function(c, count_things, &x), PYTHEUS_OK);
    CHECK_INT(num_calls, 0);
    CHECK_PAGE(r, "# TYPE g gauge\ng 2.5\n# TYPE c_total counter\nc_total 2.5\n");
    CHECK_INT(num_calls, 2);
    CHECK_VALUE(g, 2.5);
    CHECK_INT(num_calls, 3);
    CHECK_VALUE(c, 2.5);
    CHECK_SAMPLE(r, "c_total", 2.5);
    CHECK_INT(num_calls, 5);
    CHECK_ERR(pytheus_view_get(g.view, NULL), PYTHEUS_OK);
}

TEST_WITH(r, what_is_set_meanwhile_shows_when_the_function_is_gone) {
    double x = 2.5;
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_counter c = COUNTER(r, .name = "c_total");
    pytheus_gauge_set(g, 10);
    pytheus_counter_add(c, 20);
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_set_function(c, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng 2.5\n# TYPE c_total counter\nc_total 2.5\n");
    CHECK_ERR(pytheus_gauge_set_function(g, NULL, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_set_function(c, NULL, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng 11\n# TYPE c_total counter\nc_total 21\n");
    CHECK_VALUE(g, 11);
    CHECK_ERR(pytheus_gauge_set_function(g, NULL, NULL), PYTHEUS_OK);
}

TEST_WITH(r, a_function_can_be_replaced) {
    double x = 1, y = 2;
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &y), PYTHEUS_OK);
    CHECK_SAMPLE(r, "g", 2);
    CHECK_ERR(pytheus_gauge_set_function(g, NULL, NULL), PYTHEUS_OK);
    CHECK_SAMPLE(r, "g", 0);
}

TEST_WITH(r, each_series_has_a_function_of_its_own) {
    double x = 1, y = -2;
    pytheus_gauge g =
        GAUGE(r, .name = "g", .required_labels = {"a", "b"}, .default_labels = {{"b", "z"}});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 7);
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "3"), count_things, &y),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "2"), count_things, &x),
              PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\n"
                  "g{a=\"1\",b=\"z\"} 7\n"
                  "g{a=\"3\",b=\"z\"} -2\n"
                  "g{a=\"2\",b=\"z\"} 1\n");
    CHECK_LABELLED(r, "g", -2, "b", "z", "a", "3");
    CHECK_VALUE(pytheus_gauge_labels(g, "a", "2"), 1);
}

TEST_WITH(r, a_gauges_function_may_tell_anything) {
    static const double odd[] = {-5, 1e300, 0.1};
    double x = (double)NAN;
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng NaN\n");
    x = -(double)INFINITY;
    CHECK_PAGE(r, "# TYPE g gauge\ng -Inf\n");
    for (size_t i = 0; i < COUNT_OF(odd); i++) {
        x = odd[i];
        CHECK_VALUE(g, odd[i]);
    }
    CHECK_INT(logged.num, 0);
}

TEST_WITH(r, a_counters_function_that_tells_no_count_is_left_off_and_told_once) {
    const double bad[] = {(double)NAN, -1, -(double)INFINITY, (double)INFINITY, -5e-324};
    double x = 3, fine = 4, value = 17;
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    pytheus_counter bad_one = pytheus_counter_labels(c, "a", "bad");
    CHECK_ERR(pytheus_counter_set_function(bad_one, count_things, &x), PYTHEUS_OK);
    pytheus_counter_set_function(pytheus_counter_labels(c, "a", "fine"), count_things, &fine);
    pytheus_counter_add(pytheus_counter_labels(c, "a", "own"), 5);
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total{a=\"bad\"} 3\nc_total{a=\"fine\"} 4\n"
                  "c_total{a=\"own\"} 5\n");
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        x = bad[i];
        CHECK_PAGE(r, "# TYPE c_total counter\nc_total{a=\"fine\"} 4\nc_total{a=\"own\"} 5\n");
        CHECK_ERR(pytheus_view_get(bad_one.view, &value), PYTHEUS_ERR_VALUE);
        CHECK_ERR(pytheus_sample_value(r, "c_total", PAIRS("a", "bad"), &value), PYTHEUS_ERR_VALUE);
        CHECK_DOUBLE(value, 17);
    }
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_VALUE);
    CHECK_STR(logged.metric, "c_total");
    x = 6;
    CHECK_LINE(r, "c_total{a=\"bad\"} 6");
}

TEST_WITH(r, a_function_goes_with_its_series) {
    double x = 8;
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}), bare = GAUGE(r, .name = "b");
    pytheus_gauge one = pytheus_gauge_labels(g, "a", "1");
    CHECK_ERR(pytheus_gauge_set_function(one, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(bare, count_things, &x), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng{a=\"1\"} 8\n# TYPE b gauge\nb 8\n");
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(one, count_things, &x), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_get(one.view, NULL), PYTHEUS_ERR_REMOVED);
    pytheus_gauge_labels(g, "a", "1");
    CHECK_ERR(pytheus_view_remove(bare.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng{a=\"1\"} 0\n# TYPE b gauge\nb 0\n");
    CHECK_ERR(pytheus_gauge_set_function(bare, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "1"), count_things, &x),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(g.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(bare.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\n# TYPE b gauge\nb 0\n");
}

TEST_WITH(r, functions_are_for_complete_views_of_gauges_and_counters) {
    double x = 1;
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a", "b"});
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "1"), count_things, &x),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_counter_set_function(c, count_things, &x), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_set_function((pytheus_gauge){{0}}, count_things, &x),
              PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_counter_set_function((pytheus_counter){{0}}, NULL, NULL),
              PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_set_function((pytheus_gauge){h.view}, count_things, &x),
              PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_gauge_set_function((pytheus_gauge){pytheus_counter_labels(c, "a", "1").view},
                                         count_things, &x),
              PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_counter_set_function((pytheus_counter){h.view}, count_things, &x),
              PYTHEUS_ERR_TYPE);
    CHECK_LINE(r, "h_count 0");
    CHECK_LINE(r, "c_total{a=\"1\"} 0");
}

typedef struct calling {
    pytheus_registry *registry, *other;
    pytheus_gauge gauge;
    int num_runs;
} calling;

static double call_the_library(void *user) {
    calling *c = user;
    char name[32], *text;
    snprintf(name, sizeof name, "made_%d", c->num_runs++);
    CHECK_ERR(pytheus_gauge_inc(GAUGE(c->registry, .name = name)), PYTHEUS_OK);
    text = pytheus_generate(c->other, PYTHEUS_TEXT, NULL);
    CHECK(text && strstr(text, "\nx 5\n"));
    pytheus_free(text);
    CHECK_ERR(pytheus_gauge_inc(c->gauge), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(c->gauge, call_the_library, user), PYTHEUS_OK);
    pytheus_gauge_labels(GAUGE(c->registry, .name = "views", .required_labels = {"a"}), "a", name);
    return c->num_runs;
}

TEST_WITH(r, a_function_may_call_the_library) {
    pytheus_registry *other = fixture_registry(NULL);
    calling c = {r, other, GAUGE(r, .name = "caller"), 0};
    pytheus_gauge_set(GAUGE(other, .name = "x"), 5);
    CHECK_ERR(pytheus_gauge_set_function(c.gauge, call_the_library, &c), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE caller gauge\ncaller 1\n");
    CHECK_VALUE(c.gauge, 2);
    CHECK_SAMPLE(r, "caller", 3);
    CHECK_LINE(r, "made_2 1");
    pytheus_registry_free(other);
}

static double remove_own_series(void *user) {
    CHECK_ERR(pytheus_view_remove(*(pytheus_view *)user), PYTHEUS_OK);
    return 9;
}

TEST_WITH(r, a_function_may_remove_its_series) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_gauge one = pytheus_gauge_labels(g, "a", "1");
    CHECK_ERR(pytheus_gauge_set_function(one, remove_own_series, &one.view), PYTHEUS_OK);
    CHECK_LINE(r, "g{a=\"1\"} 9");
    CHECK_PAGE(r, "# TYPE g gauge\n");
}

TEST(a_function_is_on_every_page_that_its_metric_is_on) {
    two_registries t = two();
    double x = 6;
    pytheus_gauge g = GAUGE(t.home, .name = "g", .unregistered = true);
    CHECK_ERR(pytheus_gauge_set_function(g, count_things, &x), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(t.home, g.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(t.other, g.view), PYTHEUS_OK);
    CHECK_PAGE(t.home, "# TYPE home_g gauge\nhome_g 6\n");
    CHECK_PAGE(t.other, "# TYPE other_g gauge\nother_g 6\n");
    CHECK_SAMPLE(t.other, "other_g", 6);
    free_both(t);
}

TEST_WITH(r, the_overflow_series_may_have_a_function) {
    double x = 5;
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .max_series = 1);
    pytheus_gauge_labels(g, "a", "1");
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "2"), count_things, &x),
              PYTHEUS_OK);
    CHECK_LINE(r, "g{a=\"__overflow__\"} 5");
}

/* Labels that do not fit into the buffer beside what is there, and function values among others. */
TEST_WITH(r, functions_of_series_with_long_labels) {
    enum { LONG = 70000 };
    static char value[LONG + 1];
    double x = 5;
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    memset(value, 'v', LONG);
    for (int i = 0; i < 3; i++) {
        value[0] = (char)('0' + i);
        pytheus_gauge one = pytheus_gauge_labels(g, "a", value);
        CHECK_ERR(pytheus_gauge_set(one, 1), PYTHEUS_OK);
        if (i == 1)
            CHECK_ERR(pytheus_gauge_set_function(one, count_things, &x), PYTHEUS_OK);
    }
    page_reading reading = page_open(r);
    CHECK_INT(reading.doc.num_samples, 3);
    CHECK_DOUBLE(reading.doc.samples[0].value, 1);
    CHECK_DOUBLE(reading.doc.samples[1].value, 5);
    CHECK_DOUBLE(reading.doc.samples[2].value, 1);
    reader_free(&reading.doc);
    free(reading.text);
}

enum { MANY = 10000 };

static void shuffle(int *order, int n) {
    uint64_t state = 7;
    for (int i = 0; i < n; i++)
        order[i] = i;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(check_random(&state) % (uint64_t)(i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

/* Seconds of this process; the limit is far above what it takes, and far below what it would take
   to go through all functions for each. */
static double cpu_seconds(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

TEST_WITH(r, many_functions_come_and_go_in_any_order) {
    static pytheus_gauge views[MANY];
    static double values[MANY];
    static int order[MANY];
    char name[16];
    double start = cpu_seconds();
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .max_series = MANY + 1);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "%d", i);
        views[i] = pytheus_gauge_labels(g, "a", name);
        values[i] = i;
    }
    shuffle(order, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_ERR(pytheus_gauge_set_function(views[order[i]], count_things, &values[order[i]]),
                  PYTHEUS_OK);
    page_reading reading = page_open(r);
    CHECK_INT(reading.doc.num_samples, MANY);
    for (int i = 0; i < MANY; i++)
        CHECK_DOUBLE(reading.doc.samples[i].value, i);
    reader_free(&reading.doc);
    free(reading.text);
    shuffle(order, MANY);
    for (int i = 0; i < MANY - 1; i++) {
        if (i % 2)
            CHECK_ERR(pytheus_view_remove(views[order[i]].view), PYTHEUS_OK);
        else
            CHECK_ERR(pytheus_gauge_set_function(views[order[i]], NULL, NULL), PYTHEUS_OK);
    }
    for (int i = 0; i < MANY - 1; i++)
        if (i % 2 == 0)
            CHECK_VALUE(views[order[i]], 0);
    CHECK_VALUE(views[order[MANY - 1]], order[MANY - 1]);
    CHECK(cpu_seconds() - start < 20);
}

/* ---- with values that a backend keeps ---- */

/* One double for each cell. */
typedef struct shelf {
    double cells[32];
    int num_cells, num_gets, num_many;
    pytheus_err err; /* of reading */
} shelf;

static pytheus_err shelf_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    shelf *s = user;
    (void)desc;
    *cell = &s->cells[s->num_cells++];
    return PYTHEUS_OK;
}

static pytheus_err shelf_inc(void *user, void *cell, double by) {
    (void)user;
    *(double *)cell += by;
    return PYTHEUS_OK;
}

static pytheus_err shelf_set(void *user, void *cell, double value) {
    (void)user;
    *(double *)cell = value;
    return PYTHEUS_OK;
}

static pytheus_err shelf_get(void *user, void *cell, double *value) {
    shelf *s = user;
    s->num_gets++;
    *value = *(double *)cell;
    return s->err;
}

static pytheus_err shelf_get_many(void *user, void *const *cells, size_t n, double *values) {
    shelf *s = user;
    s->num_many++;
    for (size_t i = 0; i < n; i++)
        values[i] = *(double *)cells[i];
    return s->err;
}

static pytheus_registry *shelf_registry(shelf *s, bool many) {
    pytheus_backend backend = {.name = "shelf",
                               .user = s,
                               .cell_open = shelf_open,
                               .inc = shelf_inc,
                               .set = shelf_set,
                               .get = shelf_get,
                               .get_many = many ? shelf_get_many : NULL};
    memset(s, 0, sizeof *s);
    return pytheus_registry_new(&(pytheus_registry_desc){
        .prefix = "shelf", .backend = &backend, .logger = {fixture_remember, NULL}});
}

static pytheus_err count_bytes(void *user, const char *bytes, size_t size) {
    (void)bytes;
    *(size_t *)user += size;
    return PYTHEUS_OK;
}

static pytheus_err emit_view(void *user, pytheus_emitter *out) {
    return pytheus_emit_metric(out, *(pytheus_view *)user);
}

TEST_WITH(r, a_metric_is_read_from_its_backend_on_every_page) {
    for (int many = 0; many < 2; many++) {
        shelf s;
        size_t size = 0;
        pytheus_registry *home = shelf_registry(&s, many), *other = fixture_registry("other");
        pytheus_histogram h = small_histogram(home, "h");
        CHECK_ERR(pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 2), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_add(other, h.view), PYTHEUS_OK);
        GAUGE(other, .name = "before");
        CHECK_PAGE(other, "# HELP other_h Help.\n"
                          "# TYPE other_h histogram\n"
                          "other_h_bucket{a=\"1\",le=\"1\"} 0\n"
                          "other_h_bucket{a=\"1\",le=\"+Inf\"} 1\n"
                          "other_h_sum{a=\"1\"} 2\n"
                          "other_h_count{a=\"1\"} 1\n"
                          "# TYPE other_before gauge\nother_before 0\n");
        CHECK_LINE(home, "shelf_h_sum{a=\"1\"} 2");
        CHECK_LABELLED(other, "other_h_sum", 2, "a", "1");
        s.err = PYTHEUS_ERR_IO;
        CHECK_ERR(pytheus_write(other, PYTHEUS_TEXT, &(pytheus_sink){count_bytes, &size}),
                  PYTHEUS_ERR_IO);
        CHECK_INT(size, 0);
        s.err = PYTHEUS_OK;
        pytheus_registry_free(home);
        CHECK_PAGE(other, "# TYPE other_before gauge\nother_before 0\n");
        pytheus_registry_free(other);
    }
    CHECK_PAGE(r, "");
}

TEST_WITH(r, a_collector_emits_what_a_backend_keeps) {
    shelf s;
    size_t size = 0;
    pytheus_registry *home = shelf_registry(&s, false);
    pytheus_counter c = COUNTER(home, .name = "c_total", .required_labels = {"a"});
    CHECK_ERR(pytheus_counter_add(pytheus_counter_labels(c, "a", "1"), 2), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add_collector(
                  r, &(pytheus_collector){.name = "c", .collect = emit_view, .user = &c.view}),
              PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total{a=\"1\"} 2\n");
    s.err = PYTHEUS_ERR_IO;
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){count_bytes, &size}), PYTHEUS_ERR_IO);
    CHECK_INT(size, 0);
    s.err = PYTHEUS_OK;
    CHECK_LINE(r, "c_total{a=\"1\"} 2");
    pytheus_registry_free(home);
    CHECK_ERR(pytheus_registry_remove_collector(r, "c"), PYTHEUS_OK);
}

TEST(unregistered_metrics_have_their_values_in_this_process) {
    shelf s;
    pytheus_registry *r = shelf_registry(&s, false);
    pytheus_gauge g = GAUGE(r, .name = "g", .unregistered = true);
    CHECK_ERR(pytheus_gauge_set(g, 3), PYTHEUS_OK);
    CHECK_VALUE(g, 3);
    CHECK_INT(s.num_cells, 0);
    CHECK_ERR(pytheus_registry_add(r, g.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE shelf_g gauge\nshelf_g 3\n");
    CHECK_INT(s.num_gets, 0);
    pytheus_registry_free(r);
}

TEST(a_function_stands_for_what_a_backend_keeps) {
    for (int many = 0; many < 2; many++) {
        shelf s;
        double x = 4;
        pytheus_registry *r = shelf_registry(&s, many);
        pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
        pytheus_counter one = pytheus_counter_labels(c, "a", "1");
        pytheus_counter_add(one, 2);
        pytheus_counter_add(pytheus_counter_labels(c, "a", "2"), 3);
        CHECK_ERR(pytheus_counter_set_function(one, count_things, &x), PYTHEUS_OK);
        CHECK_PAGE(r, "# TYPE shelf_c_total counter\nshelf_c_total{a=\"1\"} 4\n"
                      "shelf_c_total{a=\"2\"} 3\n");
        CHECK_VALUE(one, 4);
        x = -1;
        CHECK_PAGE(r, "# TYPE shelf_c_total counter\nshelf_c_total{a=\"2\"} 3\n");
        CHECK_ERR(pytheus_counter_set_function(one, NULL, NULL), PYTHEUS_OK);
        CHECK_PAGE(r, "# TYPE shelf_c_total counter\nshelf_c_total{a=\"1\"} 2\n"
                      "shelf_c_total{a=\"2\"} 3\n");
        CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
        pytheus_registry_free(r);
    }
}

/* ---- out of memory, at each allocation ---- */

typedef struct scene {
    budget memory; /* of both registries */
    pytheus_registry *home, *other;
    pytheus_gauge gauge;
    pytheus_histogram histogram;
    double told;
} scene;

static pytheus_registry *registry_of(budget *b, const char *prefix) {
    memset(&logged, 0, sizeof logged);
    return pytheus_registry_new(&(pytheus_registry_desc){
        .prefix = prefix, .allocator = {spend, b}, .logger = {fixture_remember, NULL}});
}

/* So many metrics as make something grow with the next. */
static void begin_scene(scene *s, int num_metrics) {
    char name[32];
    memset(s, 0, sizeof *s);
    s->told = 3;
    s->home = registry_of(&s->memory, NULL);
    s->other = registry_of(&s->memory, "app");
    for (int i = 0; i < num_metrics; i++) {
        snprintf(name, sizeof name, "metric_%d", i);
        GAUGE(s->other, .name = name);
    }
    s->gauge = GAUGE(s->home, .name = "g");
    s->histogram = HISTOGRAM(s->home, .name = "h");
}

static pytheus_err add_histogram(scene *s) {
    return pytheus_registry_add(s->other, s->histogram.view);
}

static pytheus_err set_function(scene *s) {
    return pytheus_gauge_set_function(s->gauge, count_things, &s->told);
}

/* Read by the strict reader, but not kept for others: there are hundreds. */
static char *valid_page(pytheus_registry *r) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    size_t size = 0;
    char *text = page_generate(r, PYTHEUS_TEXT, &size, __FILE__, __LINE__);
    if (check_that(reader_parse(text, size, &doc, error), __FILE__, __LINE__, "%s", error))
        reader_free(&doc);
    return text;
}

/* The other registry's page after the home's. */
static char *both_pages(const scene *s) {
    char *home = valid_page(s->home), *other = valid_page(s->other);
    char *both = malloc(strlen(home) + strlen(other) + 1);
    if (!both)
        abort();
    strcat(strcpy(both, home), other);
    free(home);
    free(other);
    return both;
}

static bool try_scene(pytheus_err (*act)(scene *s), int num_metrics, long fails_at, bool for_ever) {
    scene s;
    begin_scene(&s, num_metrics);
    char *before = both_pages(&s);
    s.memory.num_calls = 0;
    s.memory.fails_at = fails_at;
    s.memory.for_ever = for_ever;
    pytheus_err err = act(&s);
    s.memory.fails_at = 0;
    long num_failed = s.memory.num_failed;
    if (num_failed) {
        char *after = both_pages(&s);
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        CHECK_ERR(logged.err, PYTHEUS_ERR_NOMEM);
        CHECK_STR(after, before);
        free(after);
        err = act(&s);
    }
    CHECK_ERR(err, PYTHEUS_OK);
    char *after = both_pages(&s);
    CHECK(strcmp(after, before) != 0);
    free(after);
    free(before);
    pytheus_registry_free(s.other);
    pytheus_registry_free(s.home);
    CHECK_INT(s.memory.live, 0);
    return num_failed > 0;
}

/* How many allocations could fail in all. */
static long torture(pytheus_err (*act)(scene *s)) {
    long num = 0;
    for (int num_metrics = 0; num_metrics < 40; num_metrics++) {
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            long fails_at = 1;
            while (try_scene(act, num_metrics, fails_at, for_ever) && check_num_failed < 20)
                fails_at++;
            num += fails_at - 1;
        }
    }
    return num;
}

TEST(out_of_memory_while_a_metric_is_added) {
    CHECK(torture(add_histogram) > 20);
}

TEST(out_of_memory_while_a_function_is_set) {
    CHECK(torture(set_function) > 20);
}
