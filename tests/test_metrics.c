/* What counters, gauges, histograms and summaries count. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <float.h>
#include <time.h>

static const double nan_value = (double)NAN, infinite = (double)INFINITY;
static const double two_to_53 = 9007199254740992;

/* ---- counters ---- */

TEST_WITH(r, pytheus_counter_can_increment) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_VALUE(c, 1);
}

TEST_WITH(r, pytheus_counter_can_increment_with_value) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_ERR(pytheus_counter_add(c, 7.2), PYTHEUS_OK);
    CHECK_VALUE(c, 7.2);
}

TEST_WITH(r, pytheus_counter_negative_increment_raises) {
    pytheus_counter c = COUNTER(r, .name = "name");
    CHECK_ERR(pytheus_counter_add(c, -1), PYTHEUS_ERR_VALUE);
    CHECK_VALUE(c, 0);
}

TEST_WITH(r, pytheus_counter_metric_type) {
    COUNTER(r, .name = "name");
    CHECK_LINE(r, "# TYPE name counter");
}

TEST_WITH(r, client_core_counter_increment) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .help = "help");
    CHECK_SAMPLE(r, "c_total", 0);
    pytheus_counter_inc(c);
    CHECK_SAMPLE(r, "c_total", 1);
    pytheus_counter_add(c, 7);
    CHECK_SAMPLE(r, "c_total", 8);
}

TEST_WITH(r, client_core_counter_negative_increment_raises) {
    CHECK_ERR(pytheus_counter_add(COUNTER(r, .name = "c_total"), -1), PYTHEUS_ERR_VALUE);
}

/* There is no call of that name: a counter is set to 0. */
TEST_WITH(r, client_core_counter_reset) {
    pytheus_counter c = COUNTER(r, .name = "c_total");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_counter_set(c, 0), PYTHEUS_OK);
    CHECK_SAMPLE(r, "c_total", 0);
}

TEST_WITH(r, client_core_counter_inc_not_observable) {
    pytheus_counter c = COUNTER(r, .name = "counter", .required_labels = {"label"});
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, redis_client_counter_interface_without_labels) {
    pytheus_counter c = COUNTER(r, .name = "test_counter1");
    pytheus_counter_inc(c);
    CHECK_VALUE(c, 1);
    pytheus_counter_add(c, 3);
    CHECK_VALUE(c, 4);
}

/* The original takes whole numbers only, and returns the new value. */
TEST_WITH(r, redis_client_counter_interface_with_labels) {
    pytheus_counter c = COUNTER(r, .name = "test_counter2", .required_labels = {"host", "url"});
    pytheus_counter one = pytheus_counter_labels(c, "host", "123.123.123.123", "url", "/home/url");
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "host", "123.123.123.123")),
              PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_counter_add(one, 2);
    pytheus_counter_add(one, 3);
    CHECK_VALUE(one, 5);
}

TEST_WITH(r, redis_client_counter_set_interface_without_labels) {
    pytheus_counter c = COUNTER(r, .name = "test_counter1");
    pytheus_counter_set(c, 1);
    CHECK_VALUE(c, 1);
    pytheus_counter_set(c, 30);
    CHECK_VALUE(c, 30);
    pytheus_counter_set(c, 10);
    CHECK_VALUE(c, 10);
}

TEST_WITH(r, a_counter_refuses_what_would_spoil_it) {
    static const double bad[] = {-1, -0.1, -5e-324, -DBL_MAX};
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, 2.5);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(pytheus_counter_add(c, bad[i]), PYTHEUS_ERR_VALUE);
        CHECK_ERR(pytheus_counter_set(c, bad[i]), PYTHEUS_ERR_VALUE);
    }
    CHECK_VALUE(c, 2.5);
}

TEST_WITH(r, a_counter_refuses_what_is_not_finite) {
    const double bad[] = {nan_value, -nan_value, infinite, -infinite};
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, 2.5);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        CHECK_ERR(pytheus_counter_add(c, bad[i]), PYTHEUS_ERR_VALUE);
        CHECK_ERR(pytheus_counter_set(c, bad[i]), PYTHEUS_ERR_VALUE);
    }
    CHECK_VALUE(c, 2.5);
}

TEST_WITH(r, a_counter_takes_nothing_and_minus_nothing) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_ERR(pytheus_counter_add(c, 0), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add(c, -0.0), PYTHEUS_OK);
    CHECK_VALUE(c, 0);
    CHECK_ERR(pytheus_counter_set(c, -0.0), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 0\n");
}

TEST_WITH(r, a_counter_counts_fractions) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    for (int i = 0; i < 10; i++)
        pytheus_counter_add(c, 0.25);
    CHECK_VALUE(c, 2.5);
}

TEST_WITH(r, a_counter_mixes_whole_numbers_and_fractions) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_inc(c);
    pytheus_counter_add(c, 0.5);
    pytheus_counter_add(c, 3);
    pytheus_counter_add(c, 2.25);
    pytheus_counter_inc(c);
    CHECK_VALUE(c, 7.75);
    CHECK_LINE(r, "x_total 7.75");
}

TEST_WITH(r, a_counter_is_exact_up_to_two_to_53) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, two_to_53 - 2);
    pytheus_counter_inc(c);
    CHECK_VALUE(c, two_to_53 - 1);
    CHECK_LINE(r, "x_total 9007199254740991");
    pytheus_counter_inc(c);
    CHECK_LINE(r, "x_total 9007199254740992");
}

TEST_WITH(r, a_counter_never_wraps) {
    const double large = 4611686018427387904; /* two to 62 */
    pytheus_counter c = COUNTER(r, .name = "x_total");
    for (int i = 1; i <= 20; i++) {
        CHECK_ERR(pytheus_counter_add(c, large), PYTHEUS_OK);
        CHECK_VALUE(c, i * large);
    }
}

TEST_WITH(r, a_counter_never_wraps_by_one_step) {
    static const double steps[] = {9223372036854775808.0, 18446744073709551616.0, 1e19, 9.3e18};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        char name[] = "a_total";
        name[0] = (char)('a' + (int)i);
        pytheus_counter c = COUNTER(r, .name = name);
        pytheus_counter_add(c, steps[i]);
        pytheus_counter_add(c, steps[i]);
        pytheus_counter_add(c, steps[i]);
        pytheus_counter_add(c, steps[i]);
        CHECK_VALUE(c, 4 * steps[i]);
    }
}

TEST_WITH(r, a_counter_takes_the_largest_and_smallest_numbers) {
    pytheus_counter huge = COUNTER(r, .name = "huge_total");
    pytheus_counter tiny = COUNTER(r, .name = "tiny_total");
    CHECK_ERR(pytheus_counter_add(huge, 1e300), PYTHEUS_OK);
    pytheus_counter_inc(huge);
    CHECK_VALUE(huge, 1e300);
    CHECK_ERR(pytheus_counter_set(huge, DBL_MAX), PYTHEUS_OK);
    CHECK_VALUE(huge, DBL_MAX);
    CHECK_ERR(pytheus_counter_add(tiny, 5e-324), PYTHEUS_OK);
    CHECK_VALUE(tiny, 5e-324);
    pytheus_counter_add(tiny, 5e-324);
    CHECK_VALUE(tiny, 2 * 5e-324);
}

TEST_WITH(r, a_counter_past_the_largest_number_is_infinite) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, DBL_MAX);
    pytheus_counter_add(c, DBL_MAX);
    CHECK_VALUE(c, infinite);
    CHECK_LINE(r, "x_total +Inf");
}

TEST_WITH(r, a_counter_set_may_go_up_and_down) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_ERR(pytheus_counter_set(c, 100), PYTHEUS_OK);
    CHECK_VALUE(c, 100);
    CHECK_ERR(pytheus_counter_set(c, 7.5), PYTHEUS_OK);
    CHECK_VALUE(c, 7.5);
    pytheus_counter_inc(c);
    CHECK_VALUE(c, 8.5);
}

TEST_WITH(r, a_counter_set_is_exact_whatever_was_counted_before) {
    static const double counted[] = {1, 3, 1000000, 9007199254740992.0, 1e18};
    pytheus_counter c = COUNTER(r, .name = "x_total");
    for (size_t i = 0; i < COUNT_OF(counted); i++) {
        pytheus_counter_add(c, counted[i]);
        CHECK_ERR(pytheus_counter_set(c, 2e18), PYTHEUS_OK);
        CHECK_VALUE(c, 2e18);
        CHECK_ERR(pytheus_counter_set(c, 0), PYTHEUS_OK);
        CHECK_VALUE(c, 0);
    }
}

/* The whole amounts stay in the integer, and the double makes up for them: it can't say more than
   the last digit of their sum. */
TEST_WITH(r, a_counter_set_down_to_a_fraction_is_exact_to_the_last_digit_of_what_was_counted) {
    static const double counted[] = {1, 3, 1000000, 9007199254740992.0, 1e18};
    pytheus_counter c = COUNTER(r, .name = "x_total");
    double wholes = 0;
    for (size_t i = 0; i < COUNT_OF(counted); i++) {
        wholes += counted[i] < 4294967296.0 ? counted[i] : 0;
        pytheus_counter_add(c, counted[i]);
        CHECK_ERR(pytheus_counter_set(c, 0.1), PYTHEUS_OK);
        double error = fixture_value(c.view) - 0.1;
        CHECK(error <= wholes * DBL_EPSILON && -error <= wholes * DBL_EPSILON);
    }
}

TEST_WITH(r, a_counter_set_up_to_a_fraction_is_exact) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    for (int i = 1; i < 1000; i++) {
        pytheus_counter_add(c, i);
        double v = fixture_value(c.view) + 0.1;
        CHECK_ERR(pytheus_counter_set(c, v), PYTHEUS_OK);
        CHECK_VALUE(c, v);
    }
}

TEST_WITH(r, a_counter_counts_on_exactly_after_a_set) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, 12345);
    pytheus_counter_set(c, 2);
    for (int i = 0; i < 1000; i++)
        pytheus_counter_inc(c);
    CHECK_VALUE(c, 1002);
}

TEST_WITH(r, counters_do_not_touch_each_other) {
    pytheus_counter a = COUNTER(r, .name = "a_total"), b = COUNTER(r, .name = "b_total");
    pytheus_counter_inc(a);
    pytheus_counter_add(b, 10);
    CHECK_VALUE(a, 1);
    CHECK_VALUE(b, 10);
}

/* ---- gauges ---- */

TEST_WITH(r, pytheus_gauge_metric_type) {
    GAUGE(r, .name = "name");
    CHECK_LINE(r, "# TYPE name gauge");
}

TEST_WITH(r, pytheus_gauge_starts_at_zero) {
    CHECK_VALUE(GAUGE(r, .name = "name"), 0);
}

TEST_WITH(r, pytheus_gauge_can_increment) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_OK);
    CHECK_VALUE(g, 1);
}

TEST_WITH(r, pytheus_gauge_can_increment_with_value) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_add(g, 7.2), PYTHEUS_OK);
    CHECK_VALUE(g, 7.2);
}

TEST_WITH(r, pytheus_gauge_can_increment_with_negative_value) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_add(g, -7.2), PYTHEUS_OK);
    CHECK_VALUE(g, -7.2);
}

TEST_WITH(r, pytheus_gauge_can_decrement) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_dec(g), PYTHEUS_OK);
    CHECK_VALUE(g, -1);
}

TEST_WITH(r, pytheus_gauge_can_decrement_with_value) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_sub(g, 7.2), PYTHEUS_OK);
    CHECK_VALUE(g, -7.2);
}

TEST_WITH(r, pytheus_gauge_can_decrement_with_negative_value) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_sub(g, -7.2), PYTHEUS_OK);
    CHECK_VALUE(g, 7.2);
}

TEST_WITH(r, pytheus_gauge_can_set) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_set(g, 5.2), PYTHEUS_OK);
    CHECK_VALUE(g, 5.2);
}

TEST_WITH(r, pytheus_gauge_can_set_negative) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    CHECK_ERR(pytheus_gauge_set(g, -5.2), PYTHEUS_OK);
    CHECK_VALUE(g, -5.2);
}

TEST_WITH(r, pytheus_gauge_set_to_current_time) {
    pytheus_gauge g = GAUGE(r, .name = "name");
    double before = (double)time(NULL);
    CHECK_ERR(pytheus_gauge_set_to_current_time(g), PYTHEUS_OK);
    double after = (double)time(NULL), value = fixture_value(g.view);
    CHECK(value >= before - 1 && value < after + 2);
}

TEST_WITH(r, client_core_gauge) {
    pytheus_gauge g = GAUGE(r, .name = "g", .help = "help");
    CHECK_SAMPLE(r, "g", 0);
    pytheus_gauge_inc(g);
    CHECK_SAMPLE(r, "g", 1);
    pytheus_gauge_sub(g, 3);
    CHECK_SAMPLE(r, "g", -2);
    pytheus_gauge_set(g, 9);
    CHECK_SAMPLE(r, "g", 9);
}

TEST_WITH(r, client_core_gauge_inc_not_observable) {
    pytheus_gauge g = GAUGE(r, .name = "g2", .required_labels = {"label1"});
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, client_core_gauge_dec_not_observable) {
    pytheus_gauge g = GAUGE(r, .name = "g2", .required_labels = {"label1"});
    CHECK_ERR(pytheus_gauge_dec(g), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, client_core_gauge_set_not_observable) {
    pytheus_gauge g = GAUGE(r, .name = "g2", .required_labels = {"label1"});
    CHECK_ERR(pytheus_gauge_set(g, 1), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, redis_client_common_gauge_interface_without_labels) {
    pytheus_gauge g = GAUGE(r, .name = "test_gauge", .help = "Gauge Documentation");
    pytheus_gauge_set(g, 12);
    CHECK_VALUE(g, 12);
    pytheus_gauge_set(g, 3);
    pytheus_gauge_add(g, 1.25);
    CHECK_VALUE(g, 4.25);
    pytheus_gauge_sub(g, 2.25);
    CHECK_VALUE(g, 2);
    CHECK_PAGE(r, "# HELP test_gauge Gauge Documentation\n# TYPE test_gauge gauge\ntest_gauge 2\n");
}

TEST_WITH(r, redis_client_common_gauge_interface_with_labels) {
    pytheus_gauge g =
        GAUGE(r, .name = "test_gauge", .help = "Gauge Documentation", .required_labels = {"name"});
    pytheus_gauge test = pytheus_gauge_labels(g, "name", "test");
    CHECK_ERR(pytheus_gauge_set(g, 1), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_gauge_set(test, 12);
    pytheus_gauge_set(test, 3.5);
    CHECK_LINE(r, "test_gauge{name=\"test\"} 3.5");
}

TEST_WITH(r, a_gauge_takes_any_value) {
    const double values[] = {infinite, -infinite, nan_value, DBL_MAX, -DBL_MAX, 5e-324, -0.0, 1e22};
    pytheus_gauge g = GAUGE(r, .name = "x");
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        double value = 1;
        CHECK_ERR(pytheus_gauge_set(g, values[i]), PYTHEUS_OK);
        CHECK_ERR(pytheus_view_get(g.view, &value), PYTHEUS_OK);
        CHECK_DOUBLE(value, values[i]);
    }
}

TEST_WITH(r, a_gauge_shows_values_that_are_not_finite) {
    pytheus_gauge g = GAUGE(r, .name = "x");
    pytheus_gauge_set(g, infinite);
    CHECK_LINE(r, "x +Inf");
    pytheus_gauge_set(g, -infinite);
    CHECK_LINE(r, "x -Inf");
    pytheus_gauge_set(g, nan_value);
    CHECK_LINE(r, "x NaN");
    pytheus_gauge_set(g, -nan_value);
    CHECK_LINE(r, "x NaN");
}

TEST_WITH(r, a_gauge_recovers_from_nan) {
    pytheus_gauge g = GAUGE(r, .name = "x");
    pytheus_gauge_add(g, nan_value);
    pytheus_gauge_inc(g);
    CHECK_LINE(r, "x NaN");
    pytheus_gauge_set(g, 3);
    pytheus_gauge_dec(g);
    CHECK_VALUE(g, 2);
}

TEST_WITH(r, a_gauge_adds_infinity) {
    pytheus_gauge g = GAUGE(r, .name = "x");
    CHECK_ERR(pytheus_gauge_add(g, infinite), PYTHEUS_OK);
    CHECK_VALUE(g, infinite);
    CHECK_ERR(pytheus_gauge_sub(g, infinite), PYTHEUS_OK);
    CHECK_LINE(r, "x NaN");
}

/* ---- histograms ---- */

static pytheus_histogram small_histogram(pytheus_registry *r) {
    return HISTOGRAM(r, .name = "name", .buckets = (const double[]){0.2, 0.5, 1}, .num_buckets = 3);
}

TEST_WITH(r, pytheus_histogram_metric_type) {
    HISTOGRAM(r, .name = "name");
    CHECK_LINE(r, "# TYPE name histogram");
}

TEST_WITH(r, pytheus_histogram_unobservable_does_not_create_buckets) {
    HISTOGRAM(r, .name = "name", .required_labels = {"bob"});
    CHECK_PAGE(r, "# TYPE name histogram\n");
}

TEST_WITH(r, pytheus_histogram_observable_creates_buckets) {
    pytheus_histogram h = HISTOGRAM(r, .name = "name", .required_labels = {"bob"});
    pytheus_histogram_labels(h, "bob", "cat");
    CHECK_LABELLED(r, "name_sum", 0, "bob", "cat");
    CHECK_LABELLED(r, "name_count", 0, "bob", "cat");
    CHECK_LABELLED(r, "name_bucket", 0, "bob", "cat", "le", "0.005");
    CHECK_LABELLED(r, "name_bucket", 0, "bob", "cat", "le", "+Inf");
}

TEST_WITH(r, pytheus_histogram_labeled_observable_respects_custom_buckets) {
    pytheus_histogram h = HISTOGRAM(r, .name = "name", .required_labels = {"bob"},
                                    .buckets = (const double[]){0.2, 0.5, 1}, .num_buckets = 3);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "bob", "cat"), 0.3);
    CHECK_PAGE(r, "# TYPE name histogram\n"
                  "name_bucket{bob=\"cat\",le=\"0.2\"} 0\n"
                  "name_bucket{bob=\"cat\",le=\"0.5\"} 1\n"
                  "name_bucket{bob=\"cat\",le=\"1\"} 1\n"
                  "name_bucket{bob=\"cat\",le=\"+Inf\"} 1\n"
                  "name_sum{bob=\"cat\"} 0.3\n"
                  "name_count{bob=\"cat\"} 1\n");
}

TEST_WITH(r, pytheus_histogram_collect) {
    small_histogram(r);
    CHECK_PAGE(r, "# TYPE name histogram\n"
                  "name_bucket{le=\"0.2\"} 0\n"
                  "name_bucket{le=\"0.5\"} 0\n"
                  "name_bucket{le=\"1\"} 0\n"
                  "name_bucket{le=\"+Inf\"} 0\n"
                  "name_sum 0\n"
                  "name_count 0\n");
}

TEST_WITH(r, pytheus_histogram_osberve_unobservable_raises) {
    pytheus_histogram h = HISTOGRAM(r, .name = "name", .required_labels = {"bob"});
    CHECK_ERR(pytheus_histogram_observe(h, 2), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, pytheus_histogram_observe) {
    pytheus_histogram h = small_histogram(r);
    CHECK_ERR(pytheus_histogram_observe(h, 0.4), PYTHEUS_OK);
    CHECK_SAMPLE(r, "name_sum", 0.4);
    CHECK_SAMPLE(r, "name_count", 1);
    CHECK_LABELLED(r, "name_bucket", 0, "le", "0.2");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "0.5");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "1");
}

static void check_client_histogram(pytheus_registry *r, int one, int two_and_a_half, int five,
                                   int all, double sum) {
    CHECK_LABELLED(r, "h_bucket", one, "le", "1");
    CHECK_LABELLED(r, "h_bucket", two_and_a_half, "le", "2.5");
    CHECK_LABELLED(r, "h_bucket", five, "le", "5");
    CHECK_LABELLED(r, "h_bucket", all, "le", "+Inf");
    CHECK_SAMPLE(r, "h_count", all);
    CHECK_SAMPLE(r, "h_sum", sum);
}

TEST_WITH(r, client_core_histogram) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .help = "help");
    check_client_histogram(r, 0, 0, 0, 0, 0);
    pytheus_histogram_observe(h, 2);
    check_client_histogram(r, 0, 1, 1, 1, 2);
    pytheus_histogram_observe(h, 2.5);
    check_client_histogram(r, 0, 2, 2, 2, 4.5);
    pytheus_histogram_observe(h, infinite);
    check_client_histogram(r, 0, 2, 2, 3, infinite);
}

TEST_WITH(r, client_core_histogram_not_observable) {
    pytheus_histogram h = HISTOGRAM(r, .name = "hl", .required_labels = {"l"});
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, client_core_histogram_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "hl", .help = "help", .required_labels = {"l"});
    pytheus_histogram_observe(pytheus_histogram_labels(h, "l", "a"), 2);
    CHECK_LABELLED(r, "hl_bucket", 0, "le", "1", "l", "a");
    CHECK_LABELLED(r, "hl_bucket", 1, "le", "2.5", "l", "a");
    CHECK_LABELLED(r, "hl_bucket", 1, "le", "5", "l", "a");
    CHECK_LABELLED(r, "hl_bucket", 1, "le", "+Inf", "l", "a");
    CHECK_LABELLED(r, "hl_count", 1, "l", "a");
    CHECK_LABELLED(r, "hl_sum", 2, "l", "a");
}

TEST_WITH(r, client_core_empty_labels_list) {
    HISTOGRAM(r, .name = "h", .required_labels = {NULL});
    CHECK_SAMPLE(r, "h_sum", 0);
}

/* The original prints no +Inf bucket. */
TEST_WITH(r, redis_client_histogram_interface_without_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "test_histogram", .help = "Histogram documentation",
                                    .buckets = (const double[]){1, 20, 25.5}, .num_buckets = 3);
    pytheus_histogram_observe(h, 25.4);
    pytheus_histogram_observe(h, 3);
    CHECK_PAGE(r, "# HELP test_histogram Histogram documentation\n"
                  "# TYPE test_histogram histogram\n"
                  "test_histogram_bucket{le=\"1\"} 0\n"
                  "test_histogram_bucket{le=\"20\"} 1\n"
                  "test_histogram_bucket{le=\"25.5\"} 2\n"
                  "test_histogram_bucket{le=\"+Inf\"} 2\n"
                  "test_histogram_sum 28.4\n"
                  "test_histogram_count 2\n");
}

/* The original prints a second, unlabelled histogram of zeros before the labelled one. */
TEST_WITH(r, redis_client_histogram_interface_with_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "test_histogram", .required_labels = {"host", "url"},
                                    .buckets = (const double[]){0.001, 1}, .num_buckets = 2);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "host", "a", "url", "/"), 0.5);
    CHECK_PAGE(r, "# TYPE test_histogram histogram\n"
                  "test_histogram_bucket{host=\"a\",url=\"/\",le=\"0.001\"} 0\n"
                  "test_histogram_bucket{host=\"a\",url=\"/\",le=\"1\"} 1\n"
                  "test_histogram_bucket{host=\"a\",url=\"/\",le=\"+Inf\"} 1\n"
                  "test_histogram_sum{host=\"a\",url=\"/\"} 0.5\n"
                  "test_histogram_count{host=\"a\",url=\"/\"} 1\n");
}

TEST_WITH(r, a_bound_belongs_to_its_bucket) {
    pytheus_histogram h = small_histogram(r);
    pytheus_histogram_observe(h, 0.2);
    pytheus_histogram_observe(h, 0.5);
    pytheus_histogram_observe(h, 1);
    CHECK_LABELLED(r, "name_bucket", 1, "le", "0.2");
    CHECK_LABELLED(r, "name_bucket", 2, "le", "0.5");
    CHECK_LABELLED(r, "name_bucket", 3, "le", "1");
    CHECK_LABELLED(r, "name_bucket", 3, "le", "+Inf");
}

TEST_WITH(r, the_next_number_after_a_bound_does_not) {
    pytheus_histogram h = small_histogram(r);
    pytheus_histogram_observe(h, 1 + DBL_EPSILON);
    pytheus_histogram_observe(h, 0.5 + DBL_EPSILON / 2);
    CHECK_LABELLED(r, "name_bucket", 0, "le", "0.5");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "1");
    CHECK_LABELLED(r, "name_bucket", 2, "le", "+Inf");
}

TEST_WITH(r, a_histogram_counts_negative_values) {
    pytheus_histogram h = small_histogram(r);
    pytheus_histogram_observe(h, -3);
    pytheus_histogram_observe(h, -0.0);
    pytheus_histogram_observe(h, -DBL_MIN);
    CHECK_LABELLED(r, "name_bucket", 3, "le", "0.2");
    CHECK_SAMPLE(r, "name_sum", -3);
    CHECK_SAMPLE(r, "name_count", 3);
}

TEST_WITH(r, a_histogram_may_have_negative_bounds) {
    pytheus_histogram h =
        HISTOGRAM(r, .name = "x", .buckets = (const double[]){-2, -1, 0}, .num_buckets = 3);
    pytheus_histogram_observe(h, -1);
    pytheus_histogram_observe(h, -1.5);
    pytheus_histogram_observe(h, -7);
    pytheus_histogram_observe(h, -0.0);
    CHECK_LABELLED(r, "x_bucket", 1, "le", "-2");
    CHECK_LABELLED(r, "x_bucket", 3, "le", "-1");
    CHECK_LABELLED(r, "x_bucket", 4, "le", "0");
}

TEST_WITH(r, a_histogram_counts_infinite_values) {
    pytheus_histogram h = small_histogram(r);
    CHECK_ERR(pytheus_histogram_observe(h, infinite), PYTHEUS_OK);
    CHECK_LABELLED(r, "name_bucket", 0, "le", "1");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "+Inf");
    CHECK_SAMPLE(r, "name_sum", infinite);
}

TEST_WITH(r, a_histogram_counts_minus_infinity_in_the_first_bucket) {
    pytheus_histogram h = small_histogram(r);
    CHECK_ERR(pytheus_histogram_observe(h, -infinite), PYTHEUS_OK);
    CHECK_LABELLED(r, "name_bucket", 1, "le", "0.2");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "+Inf");
    CHECK_SAMPLE(r, "name_sum", -infinite);
}

TEST_WITH(r, a_histogram_refuses_nan) {
    pytheus_histogram h = small_histogram(r);
    pytheus_histogram_observe(h, 0.3);
    CHECK_ERR(pytheus_histogram_observe(h, nan_value), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_histogram_observe(h, -nan_value), PYTHEUS_ERR_VALUE);
    CHECK_SAMPLE(r, "name_sum", 0.3);
    CHECK_SAMPLE(r, "name_count", 1);
    CHECK_LABELLED(r, "name_bucket", 1, "le", "+Inf");
}

TEST_WITH(r, a_histogram_sums_exactly_what_doubles_can) {
    pytheus_histogram h = small_histogram(r);
    for (int i = 0; i < 1000; i++)
        pytheus_histogram_observe(h, 0.125);
    CHECK_VALUE(h, 125);
    CHECK_SAMPLE(r, "name_count", 1000);
}

TEST_WITH(r, a_histogram_finds_the_bucket_of_every_value) {
    double bounds[37];
    for (int i = 0; i < 37; i++)
        bounds[i] = i * 10;
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .buckets = bounds, .num_buckets = 37);
    for (int i = -5; i < 400; i++)
        pytheus_histogram_observe(h, i);
    for (int i = 0; i < 37; i++) {
        char bound[16];
        snprintf(bound, sizeof bound, "%d", i * 10);
        CHECK_LABELLED(r, "x_bucket", i * 10 + 6, "le", bound);
    }
    CHECK_SAMPLE(r, "x_count", 405);
}

/* ---- summaries ---- */

TEST_WITH(r, pytheus_summary_collect) {
    SUMMARY(r, .name = "name");
    CHECK_PAGE(r, "# TYPE name summary\nname_sum 0\nname_count 0\n");
}

TEST_WITH(r, pytheus_summary_osberve_unobservable_raises) {
    pytheus_summary s = SUMMARY(r, .name = "name", .required_labels = {"bob"});
    CHECK_ERR(pytheus_summary_observe(s, 2), PYTHEUS_ERR_UNOBSERVABLE);
}

TEST_WITH(r, pytheus_summary_observe) {
    pytheus_summary s = SUMMARY(r, .name = "name");
    CHECK_ERR(pytheus_summary_observe(s, 0.4), PYTHEUS_OK);
    CHECK_SAMPLE(r, "name_sum", 0.4);
    CHECK_SAMPLE(r, "name_count", 1);
}

TEST_WITH(r, client_core_summary) {
    pytheus_summary s = SUMMARY(r, .name = "s", .help = "help");
    CHECK_SAMPLE(r, "s_count", 0);
    CHECK_SAMPLE(r, "s_sum", 0);
    pytheus_summary_observe(s, 10);
    CHECK_SAMPLE(r, "s_count", 1);
    CHECK_SAMPLE(r, "s_sum", 10);
}

TEST_WITH(r, client_core_summary_not_observable) {
    pytheus_summary s = SUMMARY(r, .name = "s_with_labels", .required_labels = {"label1"});
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_ERR_UNOBSERVABLE);
}

/* The original returns the new sum. */
TEST_WITH(r, redis_client_summary_interface_with_labels) {
    pytheus_summary s = SUMMARY(r, .name = "test_summary", .help = "Summary documentation",
                                .required_labels = {"host"});
    pytheus_summary one = pytheus_summary_labels(s, "host", "123.123.123.123");
    pytheus_summary_observe(one, 1);
    pytheus_summary_observe(one, 1.5);
    CHECK_VALUE(one, 2.5);
    CHECK_PAGE(r, "# HELP test_summary Summary documentation\n"
                  "# TYPE test_summary summary\n"
                  "test_summary_sum{host=\"123.123.123.123\"} 2.5\n"
                  "test_summary_count{host=\"123.123.123.123\"} 2\n");
}

TEST_WITH(r, a_summary_takes_negative_and_infinite_values) {
    pytheus_summary s = SUMMARY(r, .name = "x");
    CHECK_ERR(pytheus_summary_observe(s, -2.5), PYTHEUS_OK);
    CHECK_SAMPLE(r, "x_sum", -2.5);
    CHECK_ERR(pytheus_summary_observe(s, infinite), PYTHEUS_OK);
    CHECK_SAMPLE(r, "x_sum", infinite);
    CHECK_SAMPLE(r, "x_count", 2);
}

TEST_WITH(r, a_summary_refuses_nan) {
    pytheus_summary s = SUMMARY(r, .name = "x");
    CHECK_ERR(pytheus_summary_observe(s, nan_value), PYTHEUS_ERR_VALUE);
    CHECK_PAGE(r, "# TYPE x summary\nx_sum 0\nx_count 0\n");
}

/* ---- reading back ---- */

TEST_WITH(r, the_value_of_a_histogram_or_summary_is_its_sum) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_summary s = SUMMARY(r, .name = "s");
    pytheus_histogram_observe(h, 2.5);
    pytheus_histogram_observe(h, 1);
    pytheus_summary_observe(s, 4);
    CHECK_VALUE(h, 3.5);
    CHECK_VALUE(s, 4);
}

TEST_WITH(r, an_incomplete_view_has_no_value) {
    double value = 17;
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
    CHECK_ERR(pytheus_view_get(c.view, &value), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_view_get(pytheus_counter_labels(c, "a", "1").view, &value),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_DOUBLE(value, 17);
}

/* A handle may be forged out of another one's view. */
TEST_WITH(r, an_operation_refuses_a_metric_of_another_type) {
    pytheus_counter c = COUNTER(r, .name = "c_total");
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    CHECK_ERR(pytheus_counter_inc((pytheus_counter){g.view}), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_counter_add((pytheus_counter){h.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_counter_set((pytheus_counter){g.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_gauge_inc((pytheus_gauge){c.view}), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_gauge_sub((pytheus_gauge){c.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_gauge_set((pytheus_gauge){h.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_gauge_set_to_current_time((pytheus_gauge){c.view}), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_histogram_observe((pytheus_histogram){g.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_ERR(pytheus_summary_observe((pytheus_summary){h.view}, 1), PYTHEUS_ERR_TYPE);
    CHECK_VALUE(c, 0);
    CHECK_VALUE(g, 0);
    CHECK_VALUE(h, 0);
}

TEST_WITH(r, labels_refuse_a_metric_of_another_type) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    CHECK_NOTHING(pytheus_counter_labels((pytheus_counter){g.view}, "a", "1"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_TYPE);
    CHECK_PAGE(r, "# TYPE g gauge\n");
}
