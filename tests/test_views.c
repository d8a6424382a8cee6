/* Handles: a metric seen through labels, the lives of series, and how many there may be. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

static pytheus_counter two_labels(pytheus_registry *r) {
    return COUNTER(r, .name = "name", .required_labels = {"a", "b"});
}

static pytheus_counter bob_and_cat(pytheus_registry *r) {
    return COUNTER(r, .name = "name", .required_labels = {"bob", "cat"},
                   .default_labels = {{"bob", "bobvalue"}});
}

/* ---- which views count ---- */

TEST_WITH(r, pytheus_metrics_collect_without_labels) {
    COUNTER(r, .name = "name", .help = "desc");
    CHECK_PAGE(r, "# HELP name desc\n# TYPE name counter\nname 0\n");
}

TEST_WITH(r, pytheus_metrics_collect_with_labels) {
    pytheus_counter c = two_labels(r);
    pytheus_counter_labels(c, "a", "1", "b", "2");
    pytheus_counter_labels(c, "a", "7", "b", "8");
    pytheus_counter_labels(c, "a", "6");
    CHECK_PAGE(r, "# TYPE name counter\n"
                  "name{a=\"1\",b=\"2\"} 0\n"
                  "name{a=\"7\",b=\"8\"} 0\n");
}

TEST_WITH(r, pytheus_metrics_collect_with_default_labels) {
    COUNTER(r, .name = "name", .required_labels = {"a"}, .default_labels = {{"a", "1"}});
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"1\"} 0\n");
}

TEST_WITH(r, pytheus_metrics_collect_with_labels_and_default_labels) {
    pytheus_counter c =
        COUNTER(r, .name = "name", .required_labels = {"a", "b"}, .default_labels = {{"a", "3"}});
    pytheus_counter_labels(c, "a", "1", "b", "2");
    pytheus_counter_labels(c, "a", "7", "b", "8");
    pytheus_counter_labels(c, "a", "6");
    pytheus_counter_labels(c, "b", "5");
    CHECK_PAGE(r, "# TYPE name counter\n"
                  "name{a=\"1\",b=\"2\"} 0\n"
                  "name{a=\"7\",b=\"8\"} 0\n"
                  "name{a=\"3\",b=\"5\"} 0\n");
}

TEST_WITH(r, pytheus_metrics_check_can_observe_without_required_labels) {
    CHECK(pytheus_view_observable(COUNTER(r, .name = "name").view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_required_labels_without_labels) {
    CHECK(!pytheus_view_observable(two_labels(r).view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_required_labels_with_partial_labels) {
    CHECK(!pytheus_view_observable(pytheus_counter_labels(two_labels(r), "a", "2").view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_required_labels_with_labels) {
    CHECK(pytheus_view_observable(pytheus_counter_labels(two_labels(r), "a", "1", "b", "2").view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_default_labels) {
    pytheus_counter c = COUNTER(r, .name = "name", .required_labels = {"bob", "cat"},
                                .default_labels = {{"bob", "1"}, {"cat", "2"}});
    CHECK(pytheus_view_observable(c.view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_default_labels_partial_uncomplete) {
    CHECK(!pytheus_view_observable(bob_and_cat(r).view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_default_labels_partial_complete) {
    CHECK(pytheus_view_observable(pytheus_counter_labels(bob_and_cat(r), "cat", "2").view));
}

TEST_WITH(r, pytheus_metrics_check_can_observe_with_default_labels_partial_overriden_label) {
    CHECK(pytheus_view_observable(
        pytheus_counter_labels(bob_and_cat(r), "cat", "2", "bob", "2").view));
}

TEST_WITH(r, pytheus_metrics_raises_if_cannot_be_observed_observable) {
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(two_labels(r), "a", "1", "b", "2")),
              PYTHEUS_OK);
}

TEST_WITH(r, pytheus_metrics_raises_if_cannot_be_observed_unobservable) {
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(two_labels(r), "a", "1")),
              PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, an_incomplete_view_refuses_every_operation) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_counter_add(c, 2), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_counter_set(c, 2), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_dec(g), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_add(g, 2), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_sub(g, 2), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_set(g, 2), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_set_to_current_time(g), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_PAGE(r, "# TYPE g gauge\n# TYPE c_total counter\n");
}

/* ---- labels() ---- */

TEST_WITH(r, pytheus_metrics_labels_without_labels_return_itself) {
    pytheus_counter c = COUNTER(r, .name = "name"),
                    d = COUNTER(r, .name = "other", .required_labels = {"a"});
    CHECK_SAME(pytheus_counter_view(c, NULL, 0), c);
    CHECK_SAME(pytheus_counter_view(d, NULL, 0), d);
}

TEST_WITH(r, pytheus_metrics_labels_without_required_labels_raises) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_NOTHING(pytheus_counter_labels(c, "a", "1"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
}

/* There is one such view here, but it makes no series. */
TEST_WITH(r, pytheus_metrics_labels_unobservable) {
    pytheus_counter_labels(two_labels(r), "a", "1");
    CHECK_PAGE(r, "# TYPE name counter\n");
}

TEST_WITH(r, pytheus_metrics_labels_observable) {
    pytheus_counter_labels(two_labels(r), "a", "1", "b", "2");
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"1\",b=\"2\"} 0\n");
}

TEST_WITH(r, pytheus_metrics_labels_observable_returns_existing_child) {
    pytheus_counter c = two_labels(r);
    CHECK_SAME(pytheus_counter_labels(c, "a", "1", "b", "2"),
               pytheus_counter_labels(c, "a", "1", "b", "2"));
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"1\",b=\"2\"} 0\n");
}

TEST_WITH(r, pytheus_metrics_labels_with_unknown_label) {
    pytheus_counter c = two_labels(r);
    CHECK_NOTHING(pytheus_counter_labels(c, "a", "1", "c", "2"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK_PAGE(r, "# TYPE name counter\n");
}

TEST_WITH(r, pytheus_metrics_add_default_labels_to_sample) {
    pytheus_counter_labels(bob_and_cat(r), "cat", "2");
    CHECK_LINE(r, "name{bob=\"bobvalue\",cat=\"2\"} 0");
}

TEST_WITH(r, pytheus_metrics_add_default_labels_to_sample_does_not_ovveride_provided_labels) {
    pytheus_counter_labels(bob_and_cat(r), "cat", "2", "bob", "newvalue");
    CHECK_PAGE(r, "# TYPE name counter\nname{bob=\"newvalue\",cat=\"2\"} 0\n");
}

TEST_WITH(r, client_core_metric_wrapper_child) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"l"});
    pytheus_counter two = COUNTER(r, .name = "two_total", .required_labels = {"a", "b"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "x"));
    CHECK_LABELLED(r, "c_total", 1, "l", "x");
    pytheus_counter_add(pytheus_counter_labels(two, "a", "x", "b", "y"), 2);
    CHECK_LABELLED(r, "two_total", 2, "a", "x", "b", "y");
}

/* The original wants all labels at once; here some of them make a partial view. */
TEST_WITH(r, client_core_metric_wrapper_labels_by_kwarg) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"l"});
    pytheus_counter two = COUNTER(r, .name = "two_total", .required_labels = {"a", "b"});
    CHECK_NOTHING(pytheus_counter_labels(c, "l", "x", "m", "y"));
    CHECK_NOTHING(pytheus_counter_labels(c, "m", "y"));
    CHECK_NOTHING(pytheus_counter_labels(two, "a", "x", "b", "y", "c", "z"));
    CHECK_NOTHING(pytheus_counter_labels(two, "a", "x", "c", "z"));
    CHECK_NOTHING(pytheus_counter_labels(two, "b", "y", "c", "z"));
    CHECK_NOTHING(pytheus_counter_labels(two, "c", "z"));
    CHECK_PAGE(r, "# TYPE c_total counter\n# TYPE two_total counter\n");
}

TEST_WITH(r, client_core_metric_wrapper_incorrect_label_count_raises) {
    const char *const pairs[] = {"l", "x", "l"};
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"l"});
    CHECK_NOTHING(pytheus_counter_view(c, pairs, 1));
    CHECK_NOTHING(pytheus_counter_view(c, pairs, 3));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK_PAGE(r, "# TYPE c_total counter\n");
}

TEST_WITH(r, labels_in_any_order_are_the_same_view) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b", "c"});
    pytheus_counter view = pytheus_counter_labels(c, "a", "1", "b", "2", "c", "3");
    CHECK_SAME(pytheus_counter_labels(c, "c", "3", "b", "2", "a", "1"), view);
    CHECK_SAME(pytheus_counter_labels(c, "b", "2", "a", "1", "c", "3"), view);
    CHECK_SAME(pytheus_counter_labels(c, "c", "3", "a", "1"),
               pytheus_counter_labels(c, "a", "1", "c", "3"));
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\",b=\"2\",c=\"3\"} 0\n");
}

TEST_WITH(r, labels_one_by_one_are_the_same_view) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b", "c"});
    pytheus_counter at_once = pytheus_counter_labels(c, "a", "1", "b", "2", "c", "3");
    pytheus_counter b = pytheus_counter_labels(c, "b", "2");
    pytheus_counter b_and_c = pytheus_counter_labels(b, "c", "3");
    CHECK_SAME(pytheus_counter_labels(b_and_c, "a", "1"), at_once);
    CHECK_SAME(pytheus_counter_labels(pytheus_counter_labels(b, "a", "1"), "c", "3"), at_once);
    CHECK(!pytheus_view_observable(b.view));
    CHECK(!pytheus_view_observable(b_and_c.view));
}

TEST_WITH(r, different_labels_are_different_views) {
    pytheus_counter c = two_labels(r);
    pytheus_counter view = pytheus_counter_labels(c, "a", "1", "b", "2");
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", "2", "b", "1"), view);
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", "12", "b", ""), view);
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", "", "b", "12"), view);
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", "1"), view);
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", "1"), pytheus_counter_labels(c, "b", "1"));
    CHECK_DIFFERENT(pytheus_counter_labels(c, "a", ""), c);
}

TEST_WITH(r, views_of_different_metrics_differ) {
    pytheus_counter a = COUNTER(r, .name = "a_total", .required_labels = {"l"});
    pytheus_counter b = COUNTER(r, .name = "b_total", .required_labels = {"l"});
    CHECK_DIFFERENT(a, b);
    CHECK_DIFFERENT(pytheus_counter_labels(a, "l", "1"), pytheus_counter_labels(b, "l", "1"));
}

TEST_WITH(r, later_labels_override_earlier_ones) {
    pytheus_counter c = two_labels(r);
    pytheus_counter first = pytheus_counter_labels(c, "a", "1", "b", "2");
    pytheus_counter second = pytheus_counter_labels(first, "a", "9");
    CHECK_SAME(second, pytheus_counter_labels(c, "a", "9", "b", "2"));
    CHECK_SAME(pytheus_counter_labels(pytheus_counter_labels(c, "a", "1"), "a", "9", "b", "2"),
               second);
    pytheus_counter_inc(second);
    CHECK_VALUE(first, 0);
}

TEST_WITH(r, the_last_of_a_label_given_twice_counts) {
    pytheus_counter c = two_labels(r);
    CHECK_SAME(pytheus_counter_labels(c, "a", "1", "b", "2", "a", "3"),
               pytheus_counter_labels(c, "a", "3", "b", "2"));
}

TEST_WITH(r, more_pairs_than_labels_are_taken_if_the_names_are_known) {
    const char *pairs[2 * 17];
    pytheus_counter c = two_labels(r);
    for (size_t i = 0; i < COUNT_OF(pairs); i += 2) {
        pairs[i] = i % 4 ? "a" : "b";
        pairs[i + 1] = "v";
    }
    CHECK_SAME(pytheus_counter_view(c, pairs, COUNT_OF(pairs)),
               pytheus_counter_labels(c, "a", "v", "b", "v"));
}

TEST_WITH(r, a_seventeenth_label_is_unknown) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                        "j", "k", "l", "m", "n", "o", "p", "q"};
    const char *pairs[2 * COUNT_OF(names)];
    pytheus_desc desc = {.name = "x_total", .registry = r};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        pairs[2 * i] = names[i];
        pairs[2 * i + 1] = "v";
        if (i < PYTHEUS_MAX_LABELS)
            desc.required_labels[i] = names[i];
    }
    pytheus_counter c = pytheus_counter_new(&desc);
    CHECK_NOTHING(pytheus_counter_view(c, pairs, 34));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK(pytheus_view_observable(pytheus_counter_view(c, pairs, 32).view));
}

TEST_WITH(r, labels_override_defaults) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"method", "code"},
                                .default_labels = {{"code", "200"}});
    pytheus_counter get = pytheus_counter_labels(c, "method", "GET");
    pytheus_counter_inc(get);
    pytheus_counter_add(pytheus_counter_labels(get, "code", "404"), 2);
    CHECK_PAGE(r, "# TYPE x_total counter\n"
                  "x_total{method=\"GET\",code=\"200\"} 1\n"
                  "x_total{method=\"GET\",code=\"404\"} 2\n");
}

TEST_WITH(r, a_default_that_is_given_is_the_default) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"method", "code"},
                                .default_labels = {{"code", "200"}});
    CHECK_SAME(pytheus_counter_labels(c, "method", "GET"),
               pytheus_counter_labels(c, "method", "GET", "code", "200"));
    pytheus_counter ok = pytheus_counter_labels(c, "code", "200");
    CHECK_SAME(pytheus_counter_labels(ok, "method", "GET"),
               pytheus_counter_labels(c, "method", "GET"));
}

TEST_WITH(r, a_metric_of_defaults_is_its_first_series) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a", "b"},
                            .default_labels = {{"a", "1"}, {"b", "2"}});
    CHECK_SAME(pytheus_gauge_labels(g, "a", "1"), g);
    CHECK_SAME(pytheus_gauge_labels(g, "b", "2", "a", "1"), g);
    CHECK_SAME(pytheus_gauge_labels(pytheus_gauge_labels(g, "a", "9"), "a", "1"), g);
    pytheus_gauge_set(g, 5);
    CHECK_LABELLED(r, "x", 5, "a", "1", "b", "2");
}

TEST_WITH(r, labels_work_on_every_type) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"a"});
    CHECK_ERR(pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 2), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 3), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(pytheus_summary_labels(s, "a", "1"), 4), PYTHEUS_OK);
    CHECK_LABELLED(r, "g", 2, "a", "1");
    CHECK_LABELLED(r, "h_sum", 3, "a", "1");
    CHECK_LABELLED(r, "s_sum", 4, "a", "1");
}

TEST_WITH(r, views_can_be_had_from_an_array) {
    const char *const pairs[] = {"a", "1"};
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"a"});
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    CHECK_SAME(pytheus_gauge_view(g, pairs, 2), pytheus_gauge_labels(g, "a", "1"));
    CHECK_SAME(pytheus_histogram_view(h, pairs, 2), pytheus_histogram_labels(h, "a", "1"));
    CHECK_SAME(pytheus_summary_view(s, pairs, 2), pytheus_summary_labels(s, "a", "1"));
    CHECK_SAME(pytheus_counter_view(c, pairs, 2), pytheus_counter_labels(c, "a", "1"));
}

static int num_counted;

static const char *counted(const char *text) {
    num_counted++;
    return text;
}

TEST_WITH(r, label_arguments_are_evaluated_once) {
    pytheus_counter c = two_labels(r);
    num_counted = 0;
    pytheus_counter_labels(c, counted("a"), counted("1"), counted("b"), counted("2"));
    CHECK_INT(num_counted, 4);
}

TEST_WITH(r, a_null_label_or_value_is_refused) {
    static const char *const bad[][2] = {{"a", NULL}, {NULL, "1"}, {NULL, NULL}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        pytheus_registry *other = fixture_registry(NULL);
        CHECK_NOTHING(pytheus_counter_view(two_labels(other), bad[i], 2));
        CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
        pytheus_registry_free(other);
    }
    CHECK_NOTHING(pytheus_counter_view(two_labels(r), NULL, 2));
}

TEST_WITH(r, labels_on_a_complete_view_are_checked_too) {
    pytheus_counter view = pytheus_counter_labels(two_labels(r), "a", "1", "b", "2");
    const char *null = NULL;
    CHECK_NOTHING(pytheus_counter_labels(view, "c", "3"));
    CHECK_NOTHING(pytheus_counter_labels(view, "a", null));
    CHECK_NOTHING(pytheus_counter_labels(view, "A", "1"));
    CHECK_NOTHING(pytheus_counter_labels(view, "", "1"));
    CHECK_NOTHING(pytheus_counter_labels(view, "a ", "1"));
}

TEST_WITH(r, label_strings_are_copied) {
    char name[] = "a", value[] = "value";
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter view = pytheus_counter_labels(c, name, value);
    memset(name, '!', 1);
    memset(value, '!', 5);
    pytheus_counter_inc(view);
    CHECK_LINE(r, "x_total{a=\"value\"} 1");
    CHECK_SAME(pytheus_counter_labels(c, "a", "value"), view);
}

TEST_WITH(r, values_of_every_length_are_told_apart) {
    static char value[3000];
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    for (size_t size = 0; size < sizeof value; size += size < 100 ? 1 : 97) {
        memset(value, 'v', size);
        value[size] = 0;
        pytheus_counter_add(pytheus_counter_labels(c, "a", value), (double)size);
    }
    for (size_t size = 0; size < sizeof value; size += size < 100 ? 1 : 97) {
        memset(value, 'v', size);
        value[size] = 0;
        CHECK_VALUE(pytheus_counter_labels(c, "a", value), (double)size);
    }
}

TEST_WITH(r, a_handle_is_a_value) {
    pytheus_counter copy = {{NULL, 0}}, c = COUNTER(r, .name = "x_total");
    memcpy(&copy, &c, sizeof c);
    CHECK_SAME(copy, c);
    CHECK_ERR(pytheus_counter_inc(copy), PYTHEUS_OK);
    CHECK_VALUE(c, 1);
}

/* ---- the nothing handle ---- */

TEST(nothing_refuses_every_operation) {
    pytheus_counter c = {{NULL, 0}};
    pytheus_gauge g = {{NULL, 0}};
    pytheus_histogram h = {{NULL, 0}};
    pytheus_summary s = {{NULL, 0}};
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_counter_add(c, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_counter_set(c, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_dec(g), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_add(g, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_sub(g, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_set(g, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_set_to_current_time(g), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_ERR_NOTHING);
}

TEST(nothing_has_no_value_and_cannot_be_removed) {
    double value = 17;
    pytheus_view nothing = {NULL, 0};
    CHECK_ERR(pytheus_view_get(nothing, &value), PYTHEUS_ERR_NOTHING);
    CHECK_DOUBLE(value, 17);
    CHECK(!pytheus_view_observable(nothing));
    CHECK_ERR(pytheus_view_remove(nothing), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_view_clear(nothing), PYTHEUS_ERR_NOTHING);
}

TEST(labels_of_nothing_are_nothing) {
    pytheus_counter c = {{NULL, 0}};
    pytheus_gauge g = {{NULL, 0}};
    pytheus_histogram h = {{NULL, 0}};
    pytheus_summary s = {{NULL, 0}};
    CHECK_NOTHING(pytheus_counter_labels(pytheus_counter_labels(c, "a", "1"), "b", "2"));
    CHECK_NOTHING(pytheus_gauge_labels(g, "a", "1"));
    CHECK_NOTHING(pytheus_histogram_labels(h, "a", "1"));
    CHECK_NOTHING(pytheus_summary_labels(s, "a", "1"));
    CHECK_NOTHING(pytheus_counter_view(c, NULL, 0));
}

TEST_WITH(r, chains_need_no_checks) {
    pytheus_counter c = COUNTER(r, .name = "1x", .required_labels = {"a"});
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1")), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(logged.err, PYTHEUS_ERR_NAME);
}

TEST_WITH(r, something_is_not_nothing) {
    pytheus_counter nothing = {{NULL, 0}}, c = COUNTER(r, .name = "x_total");
    CHECK_DIFFERENT(c, nothing);
    CHECK_DIFFERENT(nothing, c);
    CHECK_SAME(c, c);
}

/* ---- removal ---- */

TEST_WITH(r, client_core_metric_wrapper_remove) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "x"));
    pytheus_counter_add(pytheus_counter_labels(c, "l", "y"), 2);
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "l", "x").view), PYTHEUS_OK);
    CHECK_LABELLED(r, "c_total", (double)NAN, "l", "x");
    CHECK_LABELLED(r, "c_total", 2, "l", "y");
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total{l=\"y\"} 2\n");
}

TEST_WITH(r, client_core_metric_wrapper_clear) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "x"));
    pytheus_counter_add(pytheus_counter_labels(c, "l", "y"), 2);
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE c_total counter\n");
}

TEST_WITH(r, client_core_metric_wrapper_remove_by_labels) {
    pytheus_counter c = two_labels(r);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x", "b", "1"));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x", "b", "2"));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "y", "b", "1"));
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "a", "x").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"y\",b=\"1\"} 1\n");
}

TEST_WITH(r, client_core_metric_wrapper_remove_by_labels_invalid) {
    pytheus_counter c = two_labels(r);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x", "b", "1"));
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "c", "x").view), PYTHEUS_ERR_NOTHING);
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"x\",b=\"1\"} 1\n");
}

TEST_WITH(r, a_removed_counter_refuses_every_operation) {
    double value = 17;
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter gone = pytheus_counter_labels(c, "a", "1");
    pytheus_view_remove(gone.view);
    CHECK(!pytheus_view_observable(gone.view));
    CHECK_ERR(pytheus_counter_inc(gone), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_add(gone, 2), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_add(gone, 0.5), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_set(gone, 2), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_get(gone.view, &value), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_remove(gone.view), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_clear(gone.view), PYTHEUS_ERR_REMOVED);
    CHECK_DOUBLE(value, 17);
    CHECK_NOTHING(pytheus_counter_labels(gone, "a", "2"));
    CHECK_PAGE(r, "# TYPE x_total counter\n");
}

TEST_WITH(r, a_removed_gauge_refuses_every_operation) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge gone = pytheus_gauge_labels(g, "a", "1");
    pytheus_view_remove(gone.view);
    CHECK_ERR(pytheus_gauge_inc(gone), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_dec(gone), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_add(gone, 2), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_sub(gone, 2), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_set(gone, 2), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_set_to_current_time(gone), PYTHEUS_ERR_REMOVED);
    CHECK_NOTHING(pytheus_gauge_labels(gone, "a", "2"));
}

TEST_WITH(r, a_removed_histogram_or_summary_refuses_every_operation) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"a"});
    pytheus_histogram no_h = pytheus_histogram_labels(h, "a", "1");
    pytheus_summary no_s = pytheus_summary_labels(s, "a", "1");
    pytheus_view_remove(no_h.view);
    pytheus_view_remove(no_s.view);
    CHECK_ERR(pytheus_histogram_observe(no_h, 1), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_summary_observe(no_s, 1), PYTHEUS_ERR_REMOVED);
    CHECK_NOTHING(pytheus_histogram_labels(no_h, "a", "2"));
    CHECK_NOTHING(pytheus_summary_labels(no_s, "a", "2"));
    CHECK_PAGE(r, "# TYPE h histogram\n# TYPE s summary\n");
}

TEST_WITH(r, labels_of_a_removed_view_tell_why) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter gone = pytheus_counter_labels(c, "a", "1");
    pytheus_view_remove(gone.view);
    CHECK_NOTHING(pytheus_counter_labels(gone, "a", "2"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_REMOVED);
}

TEST_WITH(r, a_series_made_again_is_another_one) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter first = pytheus_counter_labels(c, "a", "1");
    pytheus_counter_add(first, 5);
    pytheus_view_remove(first.view);
    pytheus_counter second = pytheus_counter_labels(c, "a", "1");
    CHECK_DIFFERENT(first, second);
    CHECK_VALUE(second, 0);
    CHECK_ERR(pytheus_counter_inc(first), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_inc(second), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(first.view), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\"} 1\n");
}

TEST_WITH(r, a_removed_handle_stays_so_for_ever) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge lives[200];
    for (size_t i = 0; i < COUNT_OF(lives); i++) {
        lives[i] = pytheus_gauge_labels(g, "a", i % 2 ? "odd" : "even");
        CHECK_VALUE(lives[i], 0);
        CHECK_ERR(pytheus_gauge_set(lives[i], 1), PYTHEUS_OK);
        CHECK_ERR(pytheus_view_remove(lives[i].view), PYTHEUS_OK);
    }
    pytheus_gauge live = pytheus_gauge_labels(g, "a", "odd");
    for (size_t i = 0; i < COUNT_OF(lives); i++) {
        CHECK_ERR(pytheus_gauge_set(lives[i], 2), PYTHEUS_ERR_REMOVED);
        CHECK_DIFFERENT(lives[i], live);
        CHECK_DIFFERENT(lives[i], lives[(i + 1) % COUNT_OF(lives)]);
    }
    CHECK_VALUE(live, 0);
}

TEST_WITH(r, a_histogram_made_again_starts_empty) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"},
                                    .buckets = (const double[]){1, 2}, .num_buckets = 2);
    for (int i = 0; i < 5; i++) {
        pytheus_histogram view = pytheus_histogram_labels(h, "a", "1");
        pytheus_histogram_observe(view, 1.5);
        pytheus_histogram_observe(view, 7);
        CHECK_PAGE(r, "# TYPE x histogram\n"
                      "x_bucket{a=\"1\",le=\"1\"} 0\n"
                      "x_bucket{a=\"1\",le=\"2\"} 1\n"
                      "x_bucket{a=\"1\",le=\"+Inf\"} 2\n"
                      "x_sum{a=\"1\"} 8.5\n"
                      "x_count{a=\"1\"} 2\n");
        pytheus_view_remove(view.view);
    }
}

TEST_WITH(r, series_made_after_a_removal_count_right) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_view_remove(pytheus_counter_labels(c, "a", "0").view);
    pytheus_counter view = pytheus_counter_labels(c, "a", "1");
    for (int i = 0; i < 100; i++)
        pytheus_counter_inc(view);
    pytheus_counter_add(view, 0.5);
    CHECK_VALUE(view, 100.5);
    pytheus_counter_set(view, 3);
    CHECK_VALUE(view, 3);
}

TEST_WITH(r, values_of_series_made_after_a_removal_are_read_right) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_view_remove(pytheus_gauge_labels(g, "a", "0").view);
    pytheus_gauge view = pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_add(view, 2.5);
    pytheus_gauge_dec(view);
    CHECK_VALUE(view, 1.5);
    pytheus_gauge_set(view, -(double)INFINITY);
    CHECK_LINE(r, "x{a=\"1\"} -Inf");
    pytheus_gauge_set(view, (double)NAN);
    CHECK_LINE(r, "x{a=\"1\"} NaN");
}

TEST_WITH(r, removal_leaves_the_others_in_order) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    static const char *const values[] = {"1", "2", "3", "4", "5"};
    for (size_t i = 0; i < COUNT_OF(values); i++)
        pytheus_gauge_set(pytheus_gauge_labels(g, "a", values[i]), (double)i);
    pytheus_view_remove(pytheus_gauge_labels(g, "a", "2").view);
    pytheus_view_remove(pytheus_gauge_labels(g, "a", "5").view);
    pytheus_gauge_labels(g, "a", "2");
    CHECK_PAGE(r, "# TYPE x gauge\n"
                  "x{a=\"1\"} 0\n"
                  "x{a=\"3\"} 2\n"
                  "x{a=\"4\"} 3\n"
                  "x{a=\"2\"} 0\n");
}

TEST_WITH(r, removing_a_partial_view_removes_what_it_stands_for) {
    pytheus_counter c = two_labels(r);
    pytheus_counter one = pytheus_counter_labels(c, "a", "1");
    pytheus_counter below = pytheus_counter_labels(one, "b", "1");
    pytheus_counter beside = pytheus_counter_labels(c, "b", "2", "a", "1");
    pytheus_counter other = pytheus_counter_labels(c, "a", "2", "b", "1");
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(below), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_inc(beside), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_inc(other), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"2\",b=\"1\"} 1\n");
}

TEST_WITH(r, a_removed_partial_view_is_removed_itself) {
    pytheus_counter c = two_labels(r);
    pytheus_counter partial = pytheus_counter_labels(c, "a", "1");
    CHECK_ERR(pytheus_view_remove(partial.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(partial), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_remove(partial.view), PYTHEUS_ERR_REMOVED);
    CHECK_NOTHING(pytheus_counter_labels(partial, "b", "1"));
    pytheus_counter again = pytheus_counter_labels(c, "a", "1");
    CHECK_DIFFERENT(again, partial);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(again, "b", "1")), PYTHEUS_OK);
}

TEST_WITH(r, removing_a_partial_view_removes_the_partial_views_below) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b", "c"});
    pytheus_counter one = pytheus_counter_labels(c, "a", "1");
    pytheus_counter below = pytheus_counter_labels(one, "b", "1");
    pytheus_counter beside = pytheus_counter_labels(c, "b", "1");
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
    CHECK_NOTHING(pytheus_counter_labels(below, "c", "1"));
    CHECK(pytheus_view_observable(pytheus_counter_labels(beside, "a", "2", "c", "1").view));
}

TEST_WITH(r, removing_a_partial_view_keeps_the_view_above) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b", "c"});
    pytheus_counter above = pytheus_counter_labels(c, "a", "1");
    pytheus_counter partial = pytheus_counter_labels(above, "b", "1");
    pytheus_counter kept = pytheus_counter_labels(above, "b", "2", "c", "1");
    CHECK_ERR(pytheus_view_remove(partial.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(kept), PYTHEUS_OK);
    CHECK(pytheus_view_observable(pytheus_counter_labels(above, "b", "1", "c", "1").view));
}

TEST_WITH(r, removing_a_series_keeps_the_partial_view_above) {
    pytheus_counter partial = pytheus_counter_labels(two_labels(r), "a", "1");
    pytheus_view_remove(pytheus_counter_labels(partial, "b", "1").view);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(partial, "b", "1")), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\nname{a=\"1\",b=\"1\"} 1\n");
}

TEST_WITH(r, removing_by_a_default_removes_what_has_it) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                                .default_labels = {{"b", "2"}});
    pytheus_counter_labels(c, "a", "1");
    pytheus_counter_labels(c, "a", "1", "b", "3");
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "b", "2").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\",b=\"3\"} 0\n");
}

TEST_WITH(r, removing_a_metric_removes_all_its_series) {
    pytheus_counter c = two_labels(r);
    pytheus_counter gone = pytheus_counter_labels(c, "a", "1", "b", "1");
    pytheus_counter_labels(c, "a", "2", "b", "2");
    CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\n");
    CHECK_ERR(pytheus_counter_inc(gone), PYTHEUS_ERR_REMOVED);
}

TEST_WITH(r, the_handle_of_a_metric_outlives_removal) {
    pytheus_counter c = two_labels(r);
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "1")), PYTHEUS_OK);
        CHECK_ERR(i % 2 ? pytheus_view_remove(c.view) : pytheus_view_clear(c.view), PYTHEUS_OK);
    }
    CHECK_SAME(two_labels(r), c);
    CHECK_PAGE(r, "# TYPE name counter\n");
}

TEST_WITH(r, removing_all_of_none_is_fine) {
    pytheus_counter c = two_labels(r);
    CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
}

TEST_WITH(r, clear_works_through_any_view) {
    pytheus_counter c = two_labels(r);
    pytheus_counter partial = pytheus_counter_labels(c, "a", "1");
    pytheus_counter series = pytheus_counter_labels(c, "a", "2", "b", "2");
    pytheus_counter_labels(c, "a", "3", "b", "3");
    CHECK_ERR(pytheus_view_clear(partial.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\n");
    CHECK_ERR(pytheus_counter_inc(series), PYTHEUS_ERR_REMOVED);
    series = pytheus_counter_labels(c, "a", "2", "b", "2");
    CHECK_ERR(pytheus_view_clear(series.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE name counter\n");
}

TEST_WITH(r, clear_of_one_metric_keeps_the_others) {
    pytheus_counter a = COUNTER(r, .name = "a_total", .required_labels = {"l"});
    pytheus_counter b = COUNTER(r, .name = "b_total", .required_labels = {"l"});
    pytheus_counter_labels(a, "l", "1");
    pytheus_counter kept = pytheus_counter_labels(b, "l", "1");
    pytheus_view_clear(a.view);
    CHECK_ERR(pytheus_counter_inc(kept), PYTHEUS_OK);
}

TEST_WITH(r, an_unlabelled_series_is_set_to_zero_instead) {
    pytheus_counter c = COUNTER(r, .name = "c_total");
    pytheus_counter_add(c, 2.5);
    CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    CHECK_VALUE(c, 0);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_VALUE(c, 1);
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total 0\n");
}

TEST_WITH(r, an_unlabelled_histogram_is_emptied_instead) {
    pytheus_histogram h =
        HISTOGRAM(r, .name = "x", .buckets = (const double[]){1}, .num_buckets = 1);
    pytheus_histogram_observe(h, 0.5);
    pytheus_histogram_observe(h, 7);
    CHECK_ERR(pytheus_view_remove(h.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x histogram\n"
                  "x_bucket{le=\"1\"} 0\n"
                  "x_bucket{le=\"+Inf\"} 0\n"
                  "x_sum 0\n"
                  "x_count 0\n");
    pytheus_histogram_observe(h, 0.5);
    CHECK_SAMPLE(r, "x_count", 1);
}

TEST_WITH(r, an_unlabelled_summary_is_emptied_instead) {
    pytheus_summary s = SUMMARY(r, .name = "x");
    pytheus_summary_observe(s, 0.5);
    CHECK_ERR(pytheus_view_clear(s.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x summary\nx_sum 0\nx_count 0\n");
}

TEST_WITH(r, a_series_of_defaults_is_set_to_zero_instead) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "default"}});
    pytheus_gauge_set(g, 5);
    CHECK_ERR(pytheus_view_remove(pytheus_gauge_labels(g, "a", "default").view), PYTHEUS_OK);
    CHECK_VALUE(g, 0);
    CHECK_ERR(pytheus_gauge_set(g, 6), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"default\"} 6\n");
}

TEST_WITH(r, removing_the_series_of_defaults_keeps_the_others) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "default"}});
    pytheus_gauge_set(g, 5);
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "other"), 7);
    CHECK_ERR(pytheus_view_remove(pytheus_gauge_labels(g, "a", "default").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"default\"} 0\nx{a=\"other\"} 7\n");
}

TEST_WITH(r, clear_sets_the_series_of_defaults_to_zero_and_removes_the_others) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "default"}});
    pytheus_gauge other = pytheus_gauge_labels(g, "a", "other");
    pytheus_gauge_set(g, 5);
    CHECK_ERR(pytheus_view_clear(g.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(other, 1), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"default\"} 0\n");
}

/* ---- too many series ---- */

static const char *numbered(char out[16], int i) {
    snprintf(out, 16, "%d", i);
    return out;
}

/* A metric that may have three series and is asked for `wanted`. */
static pytheus_counter crowded(pytheus_registry *r, int wanted) {
    char value[16];
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"}, .max_series = 3);
    for (int i = 0; i < wanted; i++)
        pytheus_counter_inc(pytheus_counter_labels(c, "a", numbered(value, i)));
    return c;
}

TEST_WITH(r, series_up_to_the_maximum_are_made) {
    crowded(r, 3);
    CHECK_PAGE(r, "# TYPE x_total counter\n"
                  "x_total{a=\"0\"} 1\n"
                  "x_total{a=\"1\"} 1\n"
                  "x_total{a=\"2\"} 1\n");
    CHECK_INT(logged.num, 0);
}

TEST_WITH(r, series_beyond_the_maximum_are_one) {
    pytheus_counter c = crowded(r, 7);
    CHECK_SAME(pytheus_counter_labels(c, "a", "8"), pytheus_counter_labels(c, "a", "9"));
    CHECK_LINE(r, "x_total{a=\"0\"} 1");
    CHECK_LINE(r, "x_total{a=\"2\"} 1");
    CHECK_NO_LINE(r, "x_total{a=\"3\"} 1");
    CHECK_LINE(r, "x_total{a=\"__overflow__\"} 4");
}

TEST_WITH(r, calls_beyond_the_maximum_are_counted) {
    crowded(r, 7);
    CHECK_LINE(r, "# TYPE pytheus_overflow_calls_total counter");
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"x_total\"} 4");
    CHECK_LABELLED(r, "pytheus_overflow_calls_total", 4, "metric", "x_total");
}

TEST_WITH(r, calls_beyond_the_maximum_are_logged_once) {
    crowded(r, 7);
    CHECK_INT(logged.num, 1);
    CHECK_STR(logged.metric, "x_total");
    CHECK(strstr(logged.sentence, "x_total") != NULL);
}

TEST_WITH(r, calls_beyond_the_maximum_are_the_last_family) {
    crowded(r, 4);
    GAUGE(r, .name = "y");
    char *text = page(r);
    const char *last = strstr(text, "pytheus_overflow_calls_total{");
    CHECK(last && !strcmp(last, "pytheus_overflow_calls_total{metric=\"x_total\"} 1\n"));
    CHECK(strstr(text, "y 0\n") < last);
    free(text);
}

TEST_WITH(r, each_crowded_metric_has_its_own_line) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .max_series = 1);
    crowded(r, 5);
    pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_labels(g, "a", "2");
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"g\"} 1");
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"x_total\"} 2");
    CHECK_LINE(r, "g{a=\"__overflow__\"} 0");
}

TEST_WITH(r, series_that_exist_are_found_in_a_crowd) {
    pytheus_counter c = crowded(r, 5);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1")), PYTHEUS_OK);
    CHECK_LABELLED(r, "x_total", 2, "a", "1");
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"x_total\"} 2");
}

TEST_WITH(r, a_removal_makes_room) {
    pytheus_counter c = crowded(r, 5);
    pytheus_view_remove(pytheus_counter_labels(c, "a", "1").view);
    pytheus_counter_add(pytheus_counter_labels(c, "a", "new"), 9);
    CHECK_LINE(r, "x_total{a=\"new\"} 9");
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "newer"));
    CHECK_LINE(r, "x_total{a=\"__overflow__\"} 3");
}

TEST_WITH(r, partial_views_count_towards_the_maximum) {
    pytheus_counter c =
        COUNTER(r, .name = "x_total", .required_labels = {"a", "b"}, .max_series = 2);
    CHECK(!pytheus_view_observable(pytheus_counter_labels(c, "a", "1").view));
    CHECK(!pytheus_view_observable(pytheus_counter_labels(c, "a", "2").view));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "1"));
    CHECK_LINE(r, "x_total{a=\"__overflow__\",b=\"__overflow__\"} 1");
}

TEST_WITH(r, a_partial_view_beyond_the_maximum_is_the_overflow_series) {
    pytheus_counter c =
        COUNTER(r, .name = "x_total", .required_labels = {"a", "b"}, .max_series = 1);
    pytheus_counter_labels(c, "a", "1", "b", "1");
    pytheus_counter over = pytheus_counter_labels(c, "a", "2");
    CHECK(pytheus_view_observable(over.view));
    CHECK_SAME(over, pytheus_counter_labels(c, "a", "2", "b", "2"));
    CHECK_SAME(over, pytheus_counter_labels(over, "b", "2"));
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"x_total\"} 3");
}

TEST_WITH(r, defaults_do_not_mask_the_overflow_series) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                                .default_labels = {{"b", "2"}}, .max_series = 1);
    pytheus_counter_labels(c, "a", "1");
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "2"));
    CHECK_LINE(r, "x_total{a=\"__overflow__\",b=\"__overflow__\"} 1");
}

TEST_WITH(r, the_overflow_series_of_a_histogram_observes) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"}, .max_series = 1);
    pytheus_histogram_labels(h, "a", "1");
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "2"), 3);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "3"), 3);
    CHECK_LABELLED(r, "x_count", 2, "a", "__overflow__");
    CHECK_LABELLED(r, "x_bucket", 2, "a", "__overflow__", "le", "5");
}

TEST_WITH(r, the_overflow_series_can_be_removed) {
    pytheus_counter c = crowded(r, 5);
    pytheus_counter over = pytheus_counter_labels(c, "a", "5");
    CHECK_ERR(pytheus_view_remove(over.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(over), PYTHEUS_ERR_REMOVED);
    CHECK_NO_LINE(r, "x_total{a=\"__overflow__\"} 2");
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "5"));
    CHECK_LINE(r, "x_total{a=\"__overflow__\"} 1");
}

TEST_WITH(r, a_cleared_metric_has_room_again) {
    pytheus_counter c = crowded(r, 5);
    pytheus_view_clear(c.view);
    CHECK_NO_LINE(r, "x_total{a=\"__overflow__\"} 2");
    crowded(r, 3);
    CHECK_LINE(r, "x_total{a=\"2\"} 1");
    CHECK_NO_LINE(r, "x_total{a=\"__overflow__\"} 0");
}

TEST_WITH(r, asking_for_the_overflow_series_by_name_finds_it) {
    pytheus_counter c = crowded(r, 5);
    CHECK_SAME(pytheus_counter_labels(c, "a", "__overflow__"), pytheus_counter_labels(c, "a", "5"));
}

TEST_WITH(r, ten_thousand_series_are_the_usual_maximum) {
    char value[16];
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    for (int i = 0; i < PYTHEUS_MAX_SERIES; i++)
        pytheus_counter_labels(c, "a", numbered(value, i));
    CHECK_INT(PYTHEUS_MAX_SERIES, 10000);
    CHECK_INT(logged.num, 0);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "one more"));
    CHECK_LABELLED(r, "x_total", 1, "a", "__overflow__");
}

TEST_WITH(r, every_one_of_many_series_is_found_again) {
    char value[16];
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    for (int i = 0; i < 5000; i++)
        pytheus_counter_add(pytheus_counter_labels(c, "a", numbered(value, i)), i);
    for (int i = 0; i < 5000; i++)
        CHECK_VALUE(pytheus_counter_labels(c, "a", numbered(value, i)), i);
}

TEST_WITH(r, an_overflow_series_of_ones_own_can_be_removed) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"}, .max_series = 2);
    pytheus_counter own = pytheus_counter_labels(c, "a", "__overflow__");
    pytheus_counter_labels(c, "a", "1");
    CHECK_SAME(pytheus_counter_labels(c, "a", "2"), own);
    pytheus_view_remove(own.view);
    pytheus_counter other = pytheus_counter_labels(c, "a", "3");
    pytheus_counter_inc(other);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "4"));
    CHECK_PAGE(r, "# TYPE x_total counter\n"
                  "x_total{a=\"1\"} 0\n"
                  "x_total{a=\"3\"} 1\n"
                  "x_total{a=\"__overflow__\"} 1\n"
                  "# HELP pytheus_overflow_calls_total Calls with new labels that got a metric's "
                  "overflow series.\n"
                  "# TYPE pytheus_overflow_calls_total counter\n"
                  "pytheus_overflow_calls_total{metric=\"x_total\"} 2\n");
}

TEST_WITH(r, every_series_of_many_is_found_again) {
    enum { NUM_SERIES = 5000 };
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    int num_right = 0;
    for (int i = 0; i < 2 * NUM_SERIES; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i % NUM_SERIES);
        pytheus_counter series = pytheus_counter_labels(c, "a", value);
        pytheus_counter_inc(series);
        num_right += fixture_value(series.view) == 1 + i / NUM_SERIES;
    }
    CHECK_INT(num_right, 2 * NUM_SERIES);
}
