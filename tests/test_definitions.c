/* What a metric may be called, labelled and divided into, and what is refused. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <float.h>

#define CHECK_ERR_FOR(what, actual, expected)                                                      \
    check_err((int)(actual), (int)(expected), what, __FILE__, __LINE__)

/* ---- names ---- */

TEST(pytheus_metrics_name_with_correct_values) {
    static const char *const names[] = {
        "prometheus_notifications_total",
        "process_cpu_seconds_total",
        "http_request_duration_seconds",
        "node_memory_usage_bytes",
        "http_requests_total",
        "foobar_build_info",
        "data_pipeline_last_record_processed_timestamp_seconds",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_ERR_FOR(names[i], REFUSAL(COUNTER, .name = names[i]), PYTHEUS_OK);
}

TEST(pytheus_metrics_name_with_incorrect_values) {
    static const char *const names[] = {
        "invalid.name",
        "\xc2\xb5specialcharacter",
        "http_req@st_total",
        "http{request}",
    };
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_ERR_FOR(names[i], REFUSAL(COUNTER, .name = names[i]), PYTHEUS_ERR_NAME);
}

TEST(client_core_invalid_names_raise) {
    CHECK_ERR(REFUSAL(COUNTER, .name = ""), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "^"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "&_x"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "c_total", .required_labels = {"^"}), PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "c_total", .required_labels = {"a:b"}), PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "c_total", .required_labels = {"__reserved"}),
              PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(SUMMARY, .name = "c_total", .required_labels = {"quantile"}),
              PYTHEUS_ERR_LABEL);
}

TEST(names_may_hold_letters_digits_underscores_and_colons) {
    static const char *const names[] = {"a", "Z", "_", ":", "a:b", "__x", "a9", "_9", ":9"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_ERR_FOR(names[i], REFUSAL(GAUGE, .name = names[i]), PYTHEUS_OK);
}

TEST(names_hold_nothing_else) {
    static const char *const names[] = {"",    "1a",  "9",   "a-b", "a b",  " a",   "a ",
                                        "a\n", "\na", "a\t", "a/b", "a\"b", "a\\b", "a{",
                                        "a#",  "#a",  "a$",  "[a]", "a`",   "a@",   "\xff"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_ERR_FOR(names[i], REFUSAL(GAUGE, .name = names[i]), PYTHEUS_ERR_NAME);
}

TEST(each_single_byte_is_a_name_or_refused) {
    for (int byte = 1; byte < 256; byte++) {
        const char name[] = {(char)byte, 0};
        bool legal = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' ||
                     byte == ':';
        CHECK_ERR_FOR(name, REFUSAL(GAUGE, .name = name), legal ? PYTHEUS_OK : PYTHEUS_ERR_NAME);
    }
}

TEST(a_metric_needs_a_name) {
    CHECK_ERR(REFUSAL(COUNTER, .help = "No name."), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(SUMMARY, .name = NULL), PYTHEUS_ERR_NAME);
}

TEST(no_description_makes_no_metric) {
    CHECK_NOTHING(pytheus_counter_new(NULL));
    CHECK_NOTHING(pytheus_gauge_new(NULL));
    CHECK_NOTHING(pytheus_histogram_new(NULL));
    CHECK_NOTHING(pytheus_summary_new(NULL));
}

TEST_WITH(r, a_name_may_be_long) {
    static char name[5001];
    memset(name, 'n', sizeof name - 1);
    pytheus_gauge_set(GAUGE(r, .name = name), 7);
    CHECK_SAMPLE(r, name, 7);
}

TEST(names_that_begin_with_pytheus__are_taken) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "pytheus_x_total"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "pytheus_overflow_calls_total"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = "pytheus_"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "pytheus__x"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(SUMMARY, .name = "pytheus_x"), PYTHEUS_ERR_NAME);
}

TEST(names_that_only_resemble_pytheus__are_free) {
    CHECK_ERR(REFUSAL(GAUGE, .name = "pytheus"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "pytheusx"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "_pytheus_x"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "my_pytheus_x"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "Pytheus_x"), PYTHEUS_OK);
}

/* ---- label names ---- */

TEST(pytheus_metrics_validate_required_labels_with_correct_values) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"action", "method", "_type"}),
              PYTHEUS_OK);
}

TEST(pytheus_metrics_validate_required_labels_with_incorrect_values) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"__private"}),
              PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"micro\xc2\xb5"}),
              PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"@type"}), PYTHEUS_ERR_LABEL);
}

TEST(pytheus_metrics_create_metric_with_required_labels) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"bob", "cat"}), PYTHEUS_OK);
}

TEST(pytheus_metrics_histogram_fails_with_le_label) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "name", .required_labels = {"bob", "le"}),
              PYTHEUS_ERR_LABEL);
}

TEST(pytheus_metrics_summary_fails_with_quantile_label) {
    CHECK_ERR(REFUSAL(SUMMARY, .name = "name", .required_labels = {"bob", "quantile"}),
              PYTHEUS_ERR_LABEL);
}

TEST(pytheus_metrics_create_histogram_with_default_labels) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "name", .required_labels = {"bob", "cat"}), PYTHEUS_OK);
}

TEST(label_names_are_checked_wherever_they_stand) {
    static const char *const names[] = {"",   "1a", "a-b", "a b", "a\n", "\na", "a:b",
                                        ":a", "_",  "a\"", "a=",  "__x", "__",  "\xc3\xa9"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        pytheus_err expected = strcmp(names[i], "_") ? PYTHEUS_ERR_LABEL : PYTHEUS_OK;
        CHECK_ERR_FOR(names[i], REFUSAL(COUNTER, .name = "x", .required_labels = {names[i]}),
                      expected);
        CHECK_ERR_FOR(names[i], REFUSAL(COUNTER, .name = "x", .required_labels = {"a", names[i]}),
                      expected);
    }
}

TEST(each_single_byte_is_a_label_name_or_refused) {
    for (int byte = 1; byte < 256; byte++) {
        const char name[] = {(char)byte, 0};
        bool legal = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_';
        CHECK_ERR_FOR(name, REFUSAL(GAUGE, .name = "x", .required_labels = {name}),
                      legal ? PYTHEUS_OK : PYTHEUS_ERR_LABEL);
    }
}

TEST(le_is_refused_on_histograms_only) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .required_labels = {"le"}), PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"le"}), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .required_labels = {"le"}), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(SUMMARY, .name = "x", .required_labels = {"le"}), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .required_labels = {"lee", "l"}), PYTHEUS_OK);
}

TEST(quantile_is_refused_on_summaries_only) {
    CHECK_ERR(REFUSAL(SUMMARY, .name = "x", .required_labels = {"quantile"}), PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"quantile"}), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .required_labels = {"quantile"}), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .required_labels = {"quantile"}), PYTHEUS_OK);
}

TEST(a_label_may_be_named_once) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "a"}), PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "b", "c", "a"}),
              PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "A", "aa"}), PYTHEUS_OK);
}

TEST_WITH(r, a_metric_may_have_sixteen_labels) {
    pytheus_counter c = COUNTER(r, .name = "x_total",
                                .required_labels = {"a", "b", "c", "d", "e", "f", "g", "h", "i",
                                                    "j", "k", "l", "m", "n", "o", "p"});
    pytheus_counter full = pytheus_counter_labels(
        c, "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9",
        "j", "10", "k", "11", "l", "12", "m", "13", "n", "14", "o", "15", "p", "16");
    CHECK_INT(PYTHEUS_MAX_LABELS, 16);
    CHECK_ERR(pytheus_counter_inc(full), PYTHEUS_OK);
    CHECK_LINE(r, "x_total{a=\"1\",b=\"2\",c=\"3\",d=\"4\",e=\"5\",f=\"6\",g=\"7\",h=\"8\",i=\"9\","
                  "j=\"10\",k=\"11\",l=\"12\",m=\"13\",n=\"14\",o=\"15\",p=\"16\"} 1");
}

TEST(the_sixteenth_label_is_checked_too) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x",
                      .required_labels = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
                                          "l", "m", "n", "o", "a"}),
              PYTHEUS_ERR_LABEL);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x",
                      .required_labels = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
                                          "l", "m", "n", "o", "le"}),
              PYTHEUS_ERR_LABEL);
}

TEST_WITH(r, sixteen_defaults_make_a_series) {
    pytheus_gauge g = GAUGE(r, .name = "x",
                            .required_labels = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j",
                                                "k", "l", "m", "n", "o", "p"},
                            .default_labels = {{"p", "v"},
                                               {"o", "v"},
                                               {"n", "v"},
                                               {"m", "v"},
                                               {"l", "v"},
                                               {"k", "v"},
                                               {"j", "v"},
                                               {"i", "v"},
                                               {"h", "v"},
                                               {"g", "v"},
                                               {"f", "v"},
                                               {"e", "v"},
                                               {"d", "v"},
                                               {"c", "v"},
                                               {"b", "v"},
                                               {"a", "v"}});
    CHECK(pytheus_view_observable(g.view));
    CHECK_LINE(r, "x{a=\"v\",b=\"v\",c=\"v\",d=\"v\",e=\"v\",f=\"v\",g=\"v\",h=\"v\",i=\"v\","
                  "j=\"v\",k=\"v\",l=\"v\",m=\"v\",n=\"v\",o=\"v\",p=\"v\"} 0");
}

/* ---- default labels ---- */

TEST(pytheus_metrics_metric_with_default_labels) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"bob"},
                      .default_labels = {{"bob", "bobvalue"}}),
              PYTHEUS_OK);
}

TEST(pytheus_metrics_metric_with_default_labels_raises_without_required_labels) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .default_labels = {{"bob", "bobvalue"}}),
              PYTHEUS_ERR_LABEL);
}

TEST(pytheus_metrics_metric_with_default_labels_with_label_not_in_required_labels) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"bob"},
                      .default_labels = {{"bobby", "bobbyvalue"}}),
              PYTHEUS_ERR_LABEL);
}

TEST(pytheus_metrics_metric_with_default_labels_with_subset_of_required_labels) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "name", .required_labels = {"bob", "bobby"},
                      .default_labels = {{"bob", "bobvalue"}}),
              PYTHEUS_OK);
}

TEST(a_default_without_a_value_is_refused) {
    CHECK_ERR(
        REFUSAL(COUNTER, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", NULL}}),
        PYTHEUS_ERR_LABEL);
}

TEST(a_default_may_be_given_once) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "b"},
                      .default_labels = {{"a", "1"}, {"b", "2"}, {"a", "1"}}),
              PYTHEUS_ERR_LABEL);
}

TEST(a_default_is_refused_even_if_others_are_good) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "b"},
                      .default_labels = {{"a", "1"}, {"c", "2"}}),
              PYTHEUS_ERR_LABEL);
}

TEST_WITH(r, a_default_may_be_empty) {
    GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", ""}});
    CHECK_LINE(r, "x{a=\"\"} 0");
}

/* ---- units ---- */

TEST(client_core_unit_notappended) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "h_seconds", .unit = "seconds"), PYTHEUS_OK);
}

/* The original appends the unit; here the name says it, and is refused when it does not. */
TEST(client_core_unit_appended) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "h", .unit = "seconds"), PYTHEUS_ERR_NAME);
}

TEST(a_name_ends_with_its_unit) {
    CHECK_ERR(REFUSAL(GAUGE, .name = "x_bytes", .unit = "bytes"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(SUMMARY, .name = "x_y_bytes", .unit = "bytes"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x_bytes_free", .unit = "bytes"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = "xbytes", .unit = "bytes"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x_seconds", .unit = "bytes"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .unit = "a_unit_longer_than_the_name"), PYTHEUS_ERR_NAME);
}

TEST(the_unit_of_a_counter_stands_before_total) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x_seconds_total", .unit = "seconds"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x_seconds", .unit = "seconds"), PYTHEUS_OK);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x_total", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "xseconds_total", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "x_total_seconds_y", .unit = "seconds"), PYTHEUS_ERR_NAME);
}

TEST(an_empty_unit_is_none) {
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .unit = ""), PYTHEUS_OK);
}

TEST_WITH(r, a_unit_is_not_on_the_text_page) {
    GAUGE(r, .name = "x_bytes", .unit = "bytes", .help = "Size.");
    CHECK_PAGE(r, "# HELP x_bytes Size.\n# TYPE x_bytes gauge\nx_bytes 0\n");
}

/* ---- buckets ---- */

static pytheus_err buckets_refusal(const double *bounds, size_t n) {
    return REFUSAL(HISTOGRAM, .name = "x", .buckets = bounds, .num_buckets = n);
}
#define BUCKETS_REFUSAL(...)                                                                       \
    buckets_refusal((const double[]){__VA_ARGS__}, COUNT_OF(((const double[]){__VA_ARGS__})))

static pytheus_histogram with_buckets(pytheus_registry *r, const double *bounds, size_t n) {
    return HISTOGRAM(r, .name = "name", .buckets = bounds, .num_buckets = n);
}

#define THREE_BUCKETS                                                                              \
    "# TYPE name histogram\n"                                                                      \
    "name_bucket{le=\"0.2\"} 0\n"                                                                  \
    "name_bucket{le=\"0.5\"} 0\n"                                                                  \
    "name_bucket{le=\"1\"} 0\n"                                                                    \
    "name_bucket{le=\"+Inf\"} 0\n"                                                                 \
    "name_sum 0\n"                                                                                 \
    "name_count 0\n"

TEST_WITH(r, pytheus_metrics_buckets_adds_inf_implicitly_float_number) {
    with_buckets(r, (const double[]){0.2, 0.5, 1}, 3);
    CHECK_PAGE(r, THREE_BUCKETS);
}

TEST_WITH(r, pytheus_metrics_buckets_adds_inf_implicitly_float_inf) {
    with_buckets(r, (const double[]){0.2, 0.5, 1, (double)INFINITY}, 4);
    CHECK_PAGE(r, THREE_BUCKETS);
}

TEST_WITH(r, pytheus_metrics_buckets_with_sorted_order) {
    CHECK(with_buckets(r, (const double[]){0.2, 0.5, 1}, 3).view.node != NULL);
}

TEST(pytheus_metrics_buckets_with_unsorted_order_fails) {
    CHECK_ERR(BUCKETS_REFUSAL(0.2, 1, 0.5), PYTHEUS_ERR_BUCKETS);
}

static const char standard_buckets[] = "# TYPE name histogram\n"
                                       "name_bucket{le=\"0.005\"} 0\n"
                                       "name_bucket{le=\"0.01\"} 0\n"
                                       "name_bucket{le=\"0.025\"} 0\n"
                                       "name_bucket{le=\"0.05\"} 0\n"
                                       "name_bucket{le=\"0.1\"} 0\n"
                                       "name_bucket{le=\"0.25\"} 0\n"
                                       "name_bucket{le=\"0.5\"} 0\n"
                                       "name_bucket{le=\"1\"} 0\n"
                                       "name_bucket{le=\"2.5\"} 0\n"
                                       "name_bucket{le=\"5\"} 0\n"
                                       "name_bucket{le=\"10\"} 0\n"
                                       "name_bucket{le=\"+Inf\"} 0\n"
                                       "name_sum 0\n"
                                       "name_count 0\n";

TEST_WITH(r, pytheus_metrics_buckets_empty_uses_default_buckets) {
    with_buckets(r, (const double[]){17}, 0);
    CHECK_PAGE(r, standard_buckets);
}

TEST_WITH(r, no_buckets_are_the_standard_ones) {
    HISTOGRAM(r, .name = "name");
    CHECK_PAGE(r, standard_buckets);
}

/* The original wants two buckets at least; +Inf alone, or one bound, does no harm. */
TEST(client_core_setting_buckets) {
    CHECK_ERR(BUCKETS_REFUSAL(0, 1, 2), PYTHEUS_OK);
    CHECK_ERR(BUCKETS_REFUSAL(0, 1, 2, (double)INFINITY), PYTHEUS_OK);
    CHECK_ERR(BUCKETS_REFUSAL(3, 1), PYTHEUS_ERR_BUCKETS);
}

TEST(bounds_strictly_increase) {
    CHECK_ERR(BUCKETS_REFUSAL(1, 1), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(1, 2, 2), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(2, 1), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(1, 2, 3, 2.5), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(-0.0, 0.0), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(-3, -2, -1, 0, 1), PYTHEUS_OK);
    CHECK_ERR(BUCKETS_REFUSAL(1, 1 + DBL_EPSILON), PYTHEUS_OK);
    CHECK_ERR(BUCKETS_REFUSAL(-DBL_MAX, 0, DBL_MIN, DBL_MAX), PYTHEUS_OK);
}

TEST(bounds_are_numbers) {
    CHECK_ERR(BUCKETS_REFUSAL((double)NAN), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(1, (double)NAN), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL((double)NAN, 1), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(1, (double)NAN, 2), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(-(double)INFINITY), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(-(double)INFINITY, 1), PYTHEUS_ERR_BUCKETS);
}

TEST(infinity_can_only_be_the_last_bound) {
    CHECK_ERR(BUCKETS_REFUSAL(1, (double)INFINITY), PYTHEUS_OK);
    CHECK_ERR(BUCKETS_REFUSAL(1, (double)INFINITY, 2), PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(BUCKETS_REFUSAL(1, (double)INFINITY, (double)INFINITY), PYTHEUS_ERR_BUCKETS);
}

TEST_WITH(r, infinity_may_be_the_only_bound) {
    pytheus_histogram h = with_buckets(r, (const double[]){(double)INFINITY}, 1);
    pytheus_histogram_observe(h, 3);
    CHECK_PAGE(r, "# TYPE name histogram\n"
                  "name_bucket{le=\"+Inf\"} 1\n"
                  "name_sum 3\n"
                  "name_count 1\n");
}

TEST_WITH(r, a_bound_of_minus_zero_is_zero) {
    with_buckets(r, (const double[]){-0.0}, 1);
    CHECK_LINE(r, "name_bucket{le=\"0\"} 0");
}

TEST(bounds_that_are_not_there_are_refused) {
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .num_buckets = 3), PYTHEUS_ERR_BUCKETS);
}

TEST(buckets_are_for_histograms) {
    const double bounds[] = {1};
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .buckets = bounds, .num_buckets = 1),
              PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .buckets = bounds, .num_buckets = 1),
              PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(REFUSAL(SUMMARY, .name = "x", .buckets = bounds, .num_buckets = 1),
              PYTHEUS_ERR_BUCKETS);
}

TEST_WITH(r, there_may_be_hundreds_of_buckets) {
    double bounds[200];
    for (int i = 0; i < 200; i++)
        bounds[i] = i + 1;
    pytheus_histogram h = with_buckets(r, bounds, 200);
    for (int i = 0; i <= 200; i++)
        CHECK_ERR(pytheus_histogram_observe(h, i + 0.5), PYTHEUS_OK);
    CHECK_LABELLED(r, "name_bucket", 1, "le", "1");
    CHECK_LABELLED(r, "name_bucket", 137, "le", "137");
    CHECK_LABELLED(r, "name_bucket", 200, "le", "200");
    CHECK_LABELLED(r, "name_bucket", 201, "le", "+Inf");
}

TEST_WITH(r, buckets_are_copied) {
    double bounds[] = {1, 2};
    pytheus_histogram h = with_buckets(r, bounds, 2);
    bounds[0] = 20;
    pytheus_histogram_observe(h, 1.5);
    CHECK_LABELLED(r, "name_bucket", 0, "le", "1");
    CHECK_LABELLED(r, "name_bucket", 1, "le", "2");
}

/* ---- making buckets ---- */

#define CHECK_BOUNDS(actual, n, ...)                                                               \
    check_bounds(actual, n, (const double[]){__VA_ARGS__},                                         \
                 COUNT_OF(((const double[]){__VA_ARGS__})), __LINE__)

static void check_bounds(const double *actual, size_t n, const double *expected, size_t wanted,
                         int line) {
    if (!check_int((int64_t)n, (int64_t)wanted, "number of bounds", __FILE__, line))
        return;
    for (size_t i = 0; i < n; i++)
        check_double(actual[i], expected[i], "bound", __FILE__, line);
}

TEST(linear_buckets_have_the_same_width) {
    double out[4];
    CHECK_BOUNDS(out, pytheus_buckets_linear(out, 4, 1, 2), 1, 3, 5, 7);
    CHECK_BOUNDS(out, pytheus_buckets_linear(out, 4, -1, 0.5), -1, -0.5, 0, 0.5);
    CHECK_BOUNDS(out, pytheus_buckets_linear(out, 1, 10, 5), 10);
}

TEST(exponential_buckets_grow_by_the_same_factor) {
    double out[4];
    CHECK_BOUNDS(out, pytheus_buckets_exponential(out, 4, 100, 10), 100, 1000, 10000, 100000);
    CHECK_BOUNDS(out, pytheus_buckets_exponential(out, 3, 0.5, 2), 0.5, 1, 2);
    CHECK_BOUNDS(out, pytheus_buckets_exponential(out, 1, 3, 2), 3);
}

TEST(range_buckets_reach_from_min_to_max) {
    double out[5];
    CHECK_INT(pytheus_buckets_range(out, 5, 1, 10000), 5);
    CHECK_DOUBLE(out[0], 1);
    CHECK_DOUBLE(out[4], 10000);
    for (int i = 1; i < 5; i++)
        CHECK(fabs(out[i] / out[i - 1] - 10) < 1e-9);
}

TEST(buckets_that_do_not_increase_are_not_made) {
    double out[8];
    CHECK_INT(pytheus_buckets_linear(out, 3, 1, 0), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, 1, -1), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, 1e16, 0.5), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 1, 1), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 1, 0.5), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 0, 2), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, -1, 2), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 5e-324, 1.1), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, 2, 1), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, 1, 1), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, 0, 1), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, -1, 1), 0);
    CHECK_INT(pytheus_buckets_range(out, 8, 1, 1 + DBL_EPSILON), 0);
}

TEST(buckets_that_are_not_finite_are_not_made) {
    static double out[400];
    const double nan = (double)NAN, inf = (double)INFINITY;
    CHECK_INT(pytheus_buckets_linear(out, 3, nan, 1), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, 1, nan), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, -inf, 1), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, 1, inf), 0);
    CHECK_INT(pytheus_buckets_linear(out, 3, DBL_MAX, DBL_MAX), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, nan, 2), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 1, nan), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, inf, 2), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 3, 1, inf), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 400, 1, 10), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, nan, 2), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, 1, nan), 0);
    CHECK_INT(pytheus_buckets_range(out, 3, 1, inf), 0);
}

TEST(a_range_may_span_everything) {
    double out[3];
    CHECK_INT(pytheus_buckets_range(out, 3, DBL_MIN, DBL_MAX), 3);
    CHECK_DOUBLE(out[0], DBL_MIN);
    CHECK(out[0] < out[1] && out[1] < out[2]);
    CHECK_DOUBLE(out[2], DBL_MAX);
}

TEST(no_buckets_are_not_made) {
    double out[1];
    CHECK_INT(pytheus_buckets_linear(out, 0, 1, 1), 0);
    CHECK_INT(pytheus_buckets_exponential(out, 0, 1, 2), 0);
    CHECK_INT(pytheus_buckets_range(out, 0, 1, 2), 0);
    CHECK_INT(pytheus_buckets_linear(NULL, 3, 1, 1), 0);
    CHECK_INT(pytheus_buckets_exponential(NULL, 3, 1, 2), 0);
    CHECK_INT(pytheus_buckets_range(NULL, 3, 1, 2), 0);
}

TEST(made_buckets_are_good_buckets) {
    double out[50];
    CHECK_ERR(buckets_refusal(out, pytheus_buckets_linear(out, 50, 0, 0.1)), PYTHEUS_OK);
    CHECK_ERR(buckets_refusal(out, pytheus_buckets_exponential(out, 50, 1e-9, 1.5)), PYTHEUS_OK);
    CHECK_ERR(buckets_refusal(out, pytheus_buckets_range(out, 50, 1e-3, 60)), PYTHEUS_OK);
}

/* ---- what a definition leaves behind ---- */

TEST_WITH(r, a_definition_is_copied) {
    char name[] = "x_total", help[] = "Help.", label[] = "a", value[] = "1";
    pytheus_counter c = COUNTER(r, .name = name, .help = help, .required_labels = {label},
                                .default_labels = {{label, value}});
    memset(name, '!', sizeof name - 1);
    memset(help, '!', sizeof help - 1);
    memset(label, '!', sizeof label - 1);
    memset(value, '!', sizeof value - 1);
    pytheus_counter_inc(c);
    CHECK_PAGE(r, "# HELP x_total Help.\n# TYPE x_total counter\nx_total{a=\"1\"} 1\n");
}

TEST_WITH(r, a_refused_name_is_still_free) {
    CHECK_NOTHING(COUNTER(r, .name = "x", .required_labels = {"a", "a"}));
    CHECK_NOTHING(HISTOGRAM(r, .name = "x", .buckets = (const double[]){2, 1}, .num_buckets = 2));
    CHECK_NOTHING(HISTOGRAM(r, .name = "x", .required_labels = {"le"}));
    CHECK_NOTHING(GAUGE(r, .name = "x", .unit = "bytes"));
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "x"), 1), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x gauge\nx 1\n");
}
