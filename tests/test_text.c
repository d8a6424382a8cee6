/* The page: its order, its escapes, the mending of what is not UTF-8, and where it can go. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <float.h>
#ifndef _WIN32
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

/* ---- whole pages ---- */

static void set_up_counters(pytheus_registry *r) {
    pytheus_counter requests =
        COUNTER(r, .name = "http_req_total", .help = "metric desc", .required_labels = {"p", "m"});
    pytheus_counter_add(pytheus_counter_labels(requests, "p", "p1", "m", "m1"), 3);
    pytheus_counter_add(pytheus_counter_labels(requests, "p", "p2", "m", "m2"), 1);
    pytheus_counter hits =
        COUNTER(r, .name = "cache_hits_total", .help = "cache desc", .required_labels = {"name"});
    pytheus_counter_add(pytheus_counter_labels(hits, "name", "redis"), 5);
    pytheus_counter_add(COUNTER(r, .name = "exception_total", .help = "expection desc"), 4);
}

TEST_WITH(r, pytheus_exposition_generate_metrics) {
    set_up_counters(r);
    CHECK_PAGE(r, "# HELP http_req_total metric desc\n"
                  "# TYPE http_req_total counter\n"
                  "http_req_total{p=\"p1\",m=\"m1\"} 3\n"
                  "http_req_total{p=\"p2\",m=\"m2\"} 1\n"
                  "# HELP cache_hits_total cache desc\n"
                  "# TYPE cache_hits_total counter\n"
                  "cache_hits_total{name=\"redis\"} 5\n"
                  "# HELP exception_total expection desc\n"
                  "# TYPE exception_total counter\n"
                  "exception_total 4\n");
}

TEST(pytheus_exposition_generate_metrics_with_prefix) {
    pytheus_registry *r = fixture_registry("testing");
    set_up_counters(r);
    CHECK_PAGE(r, "# HELP testing_http_req_total metric desc\n"
                  "# TYPE testing_http_req_total counter\n"
                  "testing_http_req_total{p=\"p1\",m=\"m1\"} 3\n"
                  "testing_http_req_total{p=\"p2\",m=\"m2\"} 1\n"
                  "# HELP testing_cache_hits_total cache desc\n"
                  "# TYPE testing_cache_hits_total counter\n"
                  "testing_cache_hits_total{name=\"redis\"} 5\n"
                  "# HELP testing_exception_total expection desc\n"
                  "# TYPE testing_exception_total counter\n"
                  "testing_exception_total 4\n");
    pytheus_registry_free(r);
}

TEST_WITH(r, pytheus_exposition_generate_metrics_histogram) {
    pytheus_histogram_observe(HISTOGRAM(r, .name = "hello", .help = "world"), 0.4);
    CHECK_PAGE(r, "# HELP hello world\n"
                  "# TYPE hello histogram\n"
                  "hello_bucket{le=\"0.005\"} 0\n"
                  "hello_bucket{le=\"0.01\"} 0\n"
                  "hello_bucket{le=\"0.025\"} 0\n"
                  "hello_bucket{le=\"0.05\"} 0\n"
                  "hello_bucket{le=\"0.1\"} 0\n"
                  "hello_bucket{le=\"0.25\"} 0\n"
                  "hello_bucket{le=\"0.5\"} 1\n"
                  "hello_bucket{le=\"1\"} 1\n"
                  "hello_bucket{le=\"2.5\"} 1\n"
                  "hello_bucket{le=\"5\"} 1\n"
                  "hello_bucket{le=\"10\"} 1\n"
                  "hello_bucket{le=\"+Inf\"} 1\n"
                  "hello_sum 0.4\n"
                  "hello_count 1\n");
}

/* One series of hello, whose buckets below 0.5 are empty. */
#define HELLO(bob, to_half, to_five, from_ten, sum)                                                \
    "hello_bucket{bob=\"" bob "\",le=\"0.005\"} 0\n"                                               \
    "hello_bucket{bob=\"" bob "\",le=\"0.01\"} 0\n"                                                \
    "hello_bucket{bob=\"" bob "\",le=\"0.025\"} 0\n"                                               \
    "hello_bucket{bob=\"" bob "\",le=\"0.05\"} 0\n"                                                \
    "hello_bucket{bob=\"" bob "\",le=\"0.1\"} 0\n"                                                 \
    "hello_bucket{bob=\"" bob "\",le=\"0.25\"} 0\n"                                                \
    "hello_bucket{bob=\"" bob "\",le=\"0.5\"} " to_half "\n"                                       \
    "hello_bucket{bob=\"" bob "\",le=\"1\"} " to_five "\n"                                         \
    "hello_bucket{bob=\"" bob "\",le=\"2.5\"} " to_five "\n"                                       \
    "hello_bucket{bob=\"" bob "\",le=\"5\"} " to_five "\n"                                         \
    "hello_bucket{bob=\"" bob "\",le=\"10\"} " from_ten "\n"                                       \
    "hello_bucket{bob=\"" bob "\",le=\"+Inf\"} " from_ten "\n"                                     \
    "hello_sum{bob=\"" bob "\"} " sum "\n"                                                         \
    "hello_count{bob=\"" bob "\"} " from_ten "\n"

TEST_WITH(r, pytheus_exposition_generate_metrics_histogram_with_labels) {
    pytheus_histogram h =
        HISTOGRAM(r, .name = "hello", .help = "world", .required_labels = {"bob"});
    pytheus_histogram a = pytheus_histogram_labels(h, "bob", "a");
    pytheus_histogram b = pytheus_histogram_labels(h, "bob", "b");
    pytheus_histogram_observe(a, 0.4);
    pytheus_histogram_observe(b, 7);
    CHECK_PAGE(r, "# HELP hello world\n"
                  "# TYPE hello histogram\n" HELLO("a", "1", "1", "1", "0.4")
                      HELLO("b", "0", "0", "1", "7"));
}

TEST_WITH(r, pytheus_exposition_generate_metrics_histogram_with_labels_and_default_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "hello", .help = "world", .required_labels = {"bob"},
                                    .default_labels = {{"bob", "default"}});
    pytheus_histogram_observe(pytheus_histogram_labels(h, "bob", "a"), 0.4);
    CHECK_PAGE(r, "# HELP hello world\n"
                  "# TYPE hello histogram\n" HELLO("default", "0", "0", "0", "0")
                      HELLO("a", "1", "1", "1", "0.4"));
}

TEST_WITH(r, pytheus_exposition_generate_metrics_respects_escaping) {
    pytheus_counter c = COUNTER(r, .name = "http_req_total", .help = "slash\\quote\"newline\n",
                                .required_labels = {"bob"});
    pytheus_counter_labels(c, "bob", "slash\\quote\"newline\n");
    CHECK_PAGE(r, "# HELP http_req_total slash\\\\quote\"newline\\n\n"
                  "# TYPE http_req_total counter\n"
                  "http_req_total{bob=\"slash\\\\quote\\\"newline\\n\"} 0\n");
}

TEST_WITH(r, pytheus_exposition_format_labels_escapes_characters) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"bob"});
    pytheus_counter_labels(c, "bob", "slash\\ quote\" newline\n");
    CHECK_LINE(r, "x_total{bob=\"slash\\\\ quote\\\" newline\\n\"} 0");
}

TEST_WITH(r, pytheus_exposition_escape_help) {
    COUNTER(r, .name = "x_total", .help = "slash\\ quote\" newline\n");
    CHECK_LINE(r, "# HELP x_total slash\\\\ quote\" newline\\n");
}

/* The original adds _total to the name. */
TEST_WITH(r, client_exposition_counter) {
    pytheus_counter_inc(COUNTER(r, .name = "cc", .help = "A counter"));
    CHECK_PAGE(r, "# HELP cc A counter\n# TYPE cc counter\ncc 1\n");
}

TEST_WITH(r, client_exposition_counter_total) {
    pytheus_counter_inc(COUNTER(r, .name = "cc_total", .help = "A counter"));
    CHECK_PAGE(r, "# HELP cc_total A counter\n# TYPE cc_total counter\ncc_total 1\n");
}

TEST_WITH(r, client_exposition_gauge) {
    pytheus_gauge_set(GAUGE(r, .name = "gg", .help = "A gauge"), 17);
    CHECK_PAGE(r, "# HELP gg A gauge\n# TYPE gg gauge\ngg 17\n");
}

TEST_WITH(r, client_exposition_summary) {
    pytheus_summary s =
        SUMMARY(r, .name = "ss", .help = "A summary", .required_labels = {"a", "b"});
    pytheus_summary_observe(pytheus_summary_labels(s, "a", "c", "b", "d"), 17);
    CHECK_PAGE(r, "# HELP ss A summary\n"
                  "# TYPE ss summary\n"
                  "ss_sum{a=\"c\",b=\"d\"} 17\n"
                  "ss_count{a=\"c\",b=\"d\"} 1\n");
}

TEST_WITH(r, client_exposition_histogram) {
    pytheus_histogram_observe(HISTOGRAM(r, .name = "hh", .help = "A histogram"), 0.05);
    CHECK_PAGE(r, "# HELP hh A histogram\n"
                  "# TYPE hh histogram\n"
                  "hh_bucket{le=\"0.005\"} 0\n"
                  "hh_bucket{le=\"0.01\"} 0\n"
                  "hh_bucket{le=\"0.025\"} 0\n"
                  "hh_bucket{le=\"0.05\"} 1\n"
                  "hh_bucket{le=\"0.1\"} 1\n"
                  "hh_bucket{le=\"0.25\"} 1\n"
                  "hh_bucket{le=\"0.5\"} 1\n"
                  "hh_bucket{le=\"1\"} 1\n"
                  "hh_bucket{le=\"2.5\"} 1\n"
                  "hh_bucket{le=\"5\"} 1\n"
                  "hh_bucket{le=\"10\"} 1\n"
                  "hh_bucket{le=\"+Inf\"} 1\n"
                  "hh_sum 0.05\n"
                  "hh_count 1\n");
}

TEST_WITH(r, client_exposition_unicode) {
    pytheus_counter c =
        COUNTER(r, .name = "cc_total", .help = "\xe4\x94\x80", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "\xe4\x94\x80"));
    CHECK_PAGE(r, "# HELP cc_total \xe4\x94\x80\n"
                  "# TYPE cc_total counter\n"
                  "cc_total{l=\"\xe4\x94\x80\"} 1\n");
}

TEST_WITH(r, client_exposition_escaping) {
    pytheus_counter c =
        COUNTER(r, .name = "cc_total", .help = "A\ncount\\er", .required_labels = {"a"});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "\\x\n\""));
    CHECK_PAGE(r, "# HELP cc_total A\\ncount\\\\er\n"
                  "# TYPE cc_total counter\n"
                  "cc_total{a=\"\\\\x\\n\\\"\"} 1\n");
}

/* The original writes values so; here bounds are. */
TEST_WITH(r, client_utils_float_to_go_string) {
    HISTOGRAM(r, .name = "x", .buckets = (const double[]){1e6, 1234567, 1e10, 1234567890123, 1e15},
              .num_buckets = 5);
    CHECK_LINE(r, "x_bucket{le=\"1e+06\"} 0");
    CHECK_LINE(r, "x_bucket{le=\"1.234567e+06\"} 0");
    CHECK_LINE(r, "x_bucket{le=\"1e+10\"} 0");
    CHECK_LINE(r, "x_bucket{le=\"1.234567890123e+12\"} 0");
    CHECK_LINE(r, "x_bucket{le=\"1e+15\"} 0");
}

TEST_WITH(r, an_empty_registry_is_an_empty_page) {
    size_t length = 17;
    char *text = pytheus_generate(r, PYTHEUS_TEXT, &length);
    CHECK_STR(text, "");
    CHECK_INT(length, 0);
    pytheus_free(text);
}

TEST_WITH(r, families_are_in_order_of_registration) {
    GAUGE(r, .name = "z");
    GAUGE(r, .name = "a");
    GAUGE(r, .name = "m");
    GAUGE(r, .name = "z");
    CHECK_PAGE(r, "# TYPE z gauge\nz 0\n# TYPE a gauge\na 0\n# TYPE m gauge\nm 0\n");
}

TEST_WITH(r, series_are_in_order_of_creation) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "default"}});
    pytheus_gauge_labels(g, "a", "z");
    pytheus_gauge_labels(g, "a", "b");
    pytheus_gauge_labels(g, "a", "m");
    pytheus_gauge_labels(g, "a", "z");
    CHECK_PAGE(r, "# TYPE x gauge\n"
                  "x{a=\"default\"} 0\n"
                  "x{a=\"z\"} 0\n"
                  "x{a=\"b\"} 0\n"
                  "x{a=\"m\"} 0\n");
}

TEST_WITH(r, labels_are_in_declared_order_and_le_last) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"z", "a", "m"},
                                    .default_labels = {{"m", "3"}, {"a", "2"}},
                                    .buckets = (const double[]){1}, .num_buckets = 1);
    pytheus_histogram_labels(h, "z", "1");
    CHECK_PAGE(r, "# TYPE x histogram\n"
                  "x_bucket{z=\"1\",a=\"2\",m=\"3\",le=\"1\"} 0\n"
                  "x_bucket{z=\"1\",a=\"2\",m=\"3\",le=\"+Inf\"} 0\n"
                  "x_sum{z=\"1\",a=\"2\",m=\"3\"} 0\n"
                  "x_count{z=\"1\",a=\"2\",m=\"3\"} 0\n");
}

TEST_WITH(r, a_page_is_the_same_every_time) {
    set_up_counters(r);
    HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    char *first = page(r), *second = page(r);
    CHECK_STR(first, second);
    free(first);
    free(second);
}

TEST_WITH(r, labelled_metrics_without_series_show_what_they_are) {
    COUNTER(r, .name = "c_total", .help = "C.", .required_labels = {"a"});
    GAUGE(r, .name = "g", .help = "G.", .required_labels = {"a"});
    HISTOGRAM(r, .name = "h", .help = "H.", .required_labels = {"a"});
    SUMMARY(r, .name = "s", .required_labels = {"a"});
    CHECK_PAGE(r, "# HELP c_total C.\n# TYPE c_total counter\n"
                  "# HELP g G.\n# TYPE g gauge\n"
                  "# HELP h H.\n# TYPE h histogram\n"
                  "# TYPE s summary\n");
}

/* ---- values ---- */

static void check_text_of(pytheus_registry *r, double value, const char *text) {
    char line[64];
    pytheus_gauge_set(GAUGE(r, .name = "x"), value);
    snprintf(line, sizeof line, "x %s", text);
    CHECK_LINE(r, line);
}

TEST_WITH(r, whole_values_have_neither_point_nor_exponent) {
    check_text_of(r, 0, "0");
    check_text_of(r, 1, "1");
    check_text_of(r, -1, "-1");
    check_text_of(r, 10, "10");
    check_text_of(r, 1000000, "1000000");
    check_text_of(r, 123456789, "123456789");
    check_text_of(r, 1e15, "1000000000000000");
    check_text_of(r, 9007199254740991, "9007199254740991");
    check_text_of(r, 9007199254740992, "9007199254740992");
    check_text_of(r, -9007199254740992, "-9007199254740992");
}

TEST_WITH(r, fractions_are_as_short_as_they_can_be) {
    check_text_of(r, 0.1, "0.1");
    check_text_of(r, 0.5, "0.5");
    check_text_of(r, -2.25, "-2.25");
    check_text_of(r, 0.30000000000000004, "0.30000000000000004");
    check_text_of(r, 1693277465.25, "1693277465.25");
    check_text_of(r, 3.141592653589793, "3.141592653589793");
}

TEST_WITH(r, values_that_are_not_finite_have_names) {
    check_text_of(r, (double)INFINITY, "+Inf");
    check_text_of(r, -(double)INFINITY, "-Inf");
    check_text_of(r, (double)NAN, "NaN");
    check_text_of(r, -(double)NAN, "NaN");
}

TEST_WITH(r, values_read_back_as_they_were) {
    static const double values[] = {-0.0,
                                    1e-5,
                                    1e21,
                                    1e22,
                                    1e23,
                                    5e-324,
                                    DBL_MIN,
                                    DBL_MAX,
                                    -1e300,
                                    123456789012345680.0,
                                    1.0 / 3,
                                    1e16,
                                    18014398509481985.0,
                                    4.35,
                                    0.000123456789};
    pytheus_gauge g = GAUGE(r, .name = "x");
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        pytheus_gauge_set(g, values[i]);
        char *text = page(r);
        const char *line = text ? strstr(text, "\nx ") : NULL;
        if (CHECK(line != NULL))
            CHECK_DOUBLE(strtod(line + 3, NULL), values[i]);
        free(text);
    }
}

TEST_WITH(r, bounds_are_as_others_write_them) {
    HISTOGRAM(r, .name = "x",
              .buckets = (const double[]){-1e6, -1, 0, 1e-5, 0.0001, 0.005, 1, 2.5, 100, 999999,
                                          1e6, 2.5e6, 1e21},
              .num_buckets = 13);
    CHECK_PAGE(r, "# TYPE x histogram\n"
                  "x_bucket{le=\"-1e+06\"} 0\n"
                  "x_bucket{le=\"-1\"} 0\n"
                  "x_bucket{le=\"0\"} 0\n"
                  "x_bucket{le=\"1e-05\"} 0\n"
                  "x_bucket{le=\"0.0001\"} 0\n"
                  "x_bucket{le=\"0.005\"} 0\n"
                  "x_bucket{le=\"1\"} 0\n"
                  "x_bucket{le=\"2.5\"} 0\n"
                  "x_bucket{le=\"100\"} 0\n"
                  "x_bucket{le=\"999999\"} 0\n"
                  "x_bucket{le=\"1e+06\"} 0\n"
                  "x_bucket{le=\"2.5e+06\"} 0\n"
                  "x_bucket{le=\"1e+21\"} 0\n"
                  "x_bucket{le=\"+Inf\"} 0\n"
                  "x_sum 0\n"
                  "x_count 0\n");
}

/* ---- help ---- */

TEST_WITH(r, no_help_is_no_line) {
    GAUGE(r, .name = "x");
    GAUGE(r, .name = "y", .help = "");
    CHECK_PAGE(r, "# TYPE x gauge\nx 0\n# TYPE y gauge\ny 0\n");
}

TEST_WITH(r, help_is_one_line_whatever_is_in_it) {
    GAUGE(r, .name = "x", .help = "a\nb\\c\"d\re\tf\n\n");
    CHECK_PAGE(r, "# HELP x a\\nb\\\\c\"d\re\tf\\n\\n\n# TYPE x gauge\nx 0\n");
}

TEST_WITH(r, help_may_look_like_a_page) {
    GAUGE(r, .name = "x", .help = "\n# TYPE x counter\nx 7\n");
    CHECK_PAGE(r, "# HELP x \\n# TYPE x counter\\nx 7\\n\n# TYPE x gauge\nx 0\n");
}

/* ---- label values ---- */

static void check_label_text(pytheus_registry *r, const char *value, const char *text) {
    char line[256];
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge_labels(g, "a", value);
    snprintf(line, sizeof line, "x{a=\"%s\"} 0", text);
    CHECK_LINE(r, line);
}

TEST_WITH(r, label_values_are_escaped) {
    check_label_text(r, "\\", "\\\\");
    check_label_text(r, "\"", "\\\"");
    check_label_text(r, "\n", "\\n");
    check_label_text(r, "\\n", "\\\\n");
    check_label_text(r, "\\\"\n", "\\\\\\\"\\n");
    check_label_text(r, "\"} 7\nx{a=\"", "\\\"} 7\\nx{a=\\\"");
}

TEST_WITH(r, nothing_else_is_escaped) {
    check_label_text(r, "", "");
    check_label_text(r, " ", " ");
    check_label_text(r, "\t\r\f\v\b\x01\x7f", "\t\r\f\v\b\x01\x7f");
    check_label_text(r, "{}=,#'%d", "{}=,#'%d");
    check_label_text(r, "\xc3\xa9\xf0\x9f\x98\xb1", "\xc3\xa9\xf0\x9f\x98\xb1");
}

TEST_WITH(r, an_empty_value_is_a_value) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a", "b"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "", "b", ""), 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1", "b", ""), 2);
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"\",b=\"\"} 1\nx{a=\"1\",b=\"\"} 2\n");
}

TEST_WITH(r, every_byte_may_be_in_a_value) {
    char value[256], expected[2048], *out = expected;
    out += sprintf(out, "x{a=\"");
    for (int byte = 1; byte < 256; byte++) {
        value[byte - 1] = (char)byte;
        if (byte == '\n')
            out += sprintf(out, "\\n");
        else if (byte == '"' || byte == '\\')
            out += sprintf(out, "\\%c", byte);
        else
            out += byte < 128 ? sprintf(out, "%c", byte) : sprintf(out, "\xef\xbf\xbd");
    }
    value[255] = 0;
    sprintf(out, "\"} 0");
    pytheus_gauge_labels(GAUGE(r, .name = "x", .required_labels = {"a"}), "a", value);
    CHECK_LINE(r, expected);
}

static char *long_value(char byte) {
    char *value = (char *)malloc((1 << 20) + 1);
    if (!value)
        abort();
    memset(value, byte, 1 << 20);
    value[1 << 20] = 0;
    return value;
}

TEST_WITH(r, a_value_may_be_a_megabyte) {
    LEAVE_IF(backends_is("file"), "longer than its records");
    char *value = long_value('v');
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", value), 7);
    CHECK_SAME(pytheus_gauge_labels(g, "a", value), pytheus_gauge_labels(g, "a", value));
    char *text = page(r);
    CHECK_INT(strlen(text), (1 << 20) + strlen("# TYPE x gauge\nx{a=\"\"} 7\n"));
    CHECK(strstr(text, value) != NULL);
    free(text);
    free(value);
}

TEST_WITH(r, a_megabyte_may_be_mended_and_escaped) {
    LEAVE_IF(backends_is("file"), "longer than its records");
    char *broken = long_value('\xff'), *quotes = long_value('"');
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge_labels(g, "a", broken);
    pytheus_gauge_labels(g, "a", quotes);
    char *text = page(r);
    CHECK_INT(strlen(text), 5 * (1 << 20) + strlen("# TYPE x gauge\nx{a=\"\"} 0\nx{a=\"\"} 0\n"));
    free(text);
    free(broken);
    free(quotes);
}

TEST_WITH(r, help_may_be_a_megabyte) {
    LEAVE_IF(backends_is("file"), "longer than its records");
    char *help = long_value('h');
    GAUGE(r, .name = "x", .help = help);
    char *text = page(r);
    CHECK_INT(strlen(text), (1 << 20) + strlen("# HELP x \n# TYPE x gauge\nx 0\n"));
    free(text);
    free(help);
}

/* ---- mending ---- */

#define R "\xef\xbf\xbd"

typedef struct mending {
    const char *broken, *mended;
} mending;

static const mending mendings[] = {
    {"\x80", R},
    {"\xbf", R},
    {"\xff", R},
    {"\xfe\xff", R R},
    {"\x80\x80\x80", R R R},
    {"a\x80z", "a" R "z"},
    /* overlong: neither byte can begin or go on */
    {"\xc0\x80", R R},
    {"\xc0\xaf", R R},
    {"\xc1\xbf", R R},
    {"\xe0\x80\xaf", R R R},
    {"\xe0\x9f\xbf", R R R},
    {"\xf0\x80\x80\xaf", R R R R},
    {"\xf0\x8f\xbf\xbf", R R R R},
    {"\xf8\x80\x80\x80\x80", R R R R R},
    /* surrogates, and what is above the last character */
    {"\xed\xa0\x80", R R R},
    {"\xed\xbf\xbf", R R R},
    {"\xed\xa0\xbd\xed\xb8\xb1", R R R R R R},
    {"\xf4\x90\x80\x80", R R R R},
    {"\xf5\x80\x80\x80", R R R R},
    /* cut off: what there is of a character is one */
    {"\xc2", R},
    {"\xe2\x82", R},
    {"\xe2", R},
    {"\xf0\x9f\x98", R},
    {"\xf0\x9f", R},
    {"\xf0", R},
    {"a\xf4\x8f\xbf", "a" R},
    {"\xe2\x82z", R "z"},
    {"\xe2\x82\xe2\x82\xac", R "\xe2\x82\xac"},
    {"\xc2\xc2\xa9", R "\xc2\xa9"},
    {"\xf0\x9f\x98\xc3\xa9", R "\xc3\xa9"},
    {"\xe2\x82\"", R "\\\""},
    {"\xe2\x82\n", R "\\n"},
    /* the examples of the Unicode standard, tables 3-8 to 3-11 */
    {"\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", R R R R R R R R "A"},
    {"\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", R R R R R R R R "A"},
    {"\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", R R R R R "A" R R "B"},
    {"\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", R R R R "A"},
    {"\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a" R R R "b" R "c" R R "d"},
};

static const char *const well_formed[] = {
    "\x01",         "\x7f",         "\xc2\x80",         "\xdf\xbf",         "\xe0\xa0\x80",
    "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd",     "\xef\xbf\xbe",     "\xef\xbf\xbf",
    "\xef\xbb\xbf", "\xe2\x80\xa8", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\xf3\xbf\xbf\xbf",
};

TEST_WITH(r, label_values_are_mended) {
    for (size_t i = 0; i < COUNT_OF(mendings); i++)
        check_label_text(r, mendings[i].broken, mendings[i].mended);
}

TEST_WITH(r, well_formed_values_are_left_alone) {
    for (size_t i = 0; i < COUNT_OF(well_formed); i++)
        check_label_text(r, well_formed[i], well_formed[i]);
}

static void check_help_text(const char *help, const char *text) {
    char line[256];
    pytheus_registry *r = fixture_registry(NULL);
    GAUGE(r, .name = "x", .help = help);
    snprintf(line, sizeof line, "# HELP x %s", text);
    CHECK_LINE(r, line);
    pytheus_registry_free(r);
}

TEST(help_is_mended) {
    for (size_t i = 0; i < COUNT_OF(mendings); i++)
        if (!strchr(mendings[i].broken, '"'))
            check_help_text(mendings[i].broken, mendings[i].mended);
    for (size_t i = 0; i < COUNT_OF(well_formed); i++)
        check_help_text(well_formed[i], well_formed[i]);
}

TEST_WITH(r, default_values_are_mended) {
    pytheus_gauge g =
        GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "v\xff"}});
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"v" R "\"} 0\n");
    CHECK_SAME(pytheus_gauge_labels(g, "a", "v\xfe"), g);
    CHECK_SAME(GAUGE(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"a", "v" R}}),
               g);
}

TEST_WITH(r, values_that_mend_to_the_same_are_one_series) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge view = pytheus_gauge_labels(g, "a", "\xff");
    CHECK_SAME(pytheus_gauge_labels(g, "a", "\xfe"), view);
    CHECK_SAME(pytheus_gauge_labels(g, "a", R), view);
    CHECK_SAME(pytheus_gauge_labels(g, "a", "\xe2\x82"), view);
    pytheus_gauge_inc(pytheus_gauge_labels(g, "a", "\x80"));
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"" R "\"} 1\n");
}

TEST_WITH(r, all_values_of_two_bytes_make_a_page_that_reads) {
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"}, .max_series = 100000);
    for (int first = 1; first < 256; first++)
        for (int second = 1; second < 256; second += first < 128 ? 15 : 1) {
            const char value[] = {(char)first, (char)second, 0};
            pytheus_gauge_labels(g, "a", value);
        }
    char *text = page(r);
    CHECK(strstr(text, "x{a=\"\xc2\x80\"} 0\n") != NULL);
    free(text);
}

/* ---- where it goes ---- */

static const char content_type[] = "text/plain; version=0.0.4; charset=utf-8";

TEST(the_content_type_is_that_of_the_format) {
    CHECK_STR(pytheus_content_type(PYTHEUS_TEXT), content_type);
}

TEST_WITH(r, a_generated_page_ends_with_nul) {
    size_t length = 0;
    set_up_counters(r);
    char *text = pytheus_generate(r, PYTHEUS_TEXT, &length);
    CHECK_INT(strlen(text), length);
    CHECK(length > 0 && text[length - 1] == '\n');
    pytheus_free(text);
}

TEST(freeing_no_page_is_fine) {
    pytheus_free(NULL);
    CHECK(true);
}

/* A page of several chunks. */
static void set_up_many(pytheus_registry *r) {
    char value[32];
    pytheus_histogram h = HISTOGRAM(r, .name = "many", .help = "Many.", .required_labels = {"a"});
    for (int i = 0; i < 500; i++) {
        snprintf(value, sizeof value, "value number %d", i);
        pytheus_histogram_observe(pytheus_histogram_labels(h, "a", value), i);
    }
}

/* Keeps what it gets, and fails at the call of number `fail_at`. */
typedef struct collected {
    char *text;
    size_t size;
    int num_calls, fail_at;
} collected;

static pytheus_err collect(void *user, const char *bytes, size_t size) {
    collected *c = (collected *)user;
    if (++c->num_calls == c->fail_at)
        return PYTHEUS_ERR_BACKEND;
    char *text = (char *)realloc(c->text, c->size + size + 1);
    if (!text)
        abort();
    memcpy(text + c->size, bytes, size);
    c->text = text;
    c->size += size;
    c->text[c->size] = 0;
    return PYTHEUS_OK;
}

TEST_WITH(r, a_sink_gets_the_page_in_pieces) {
    collected got = {0};
    const pytheus_sink sink = {collect, &got};
    set_up_many(r);
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK(got.num_calls > 1);
    CHECK_PAGE(r, got.text);
    free(got.text);
}

TEST_WITH(r, the_error_of_a_sink_comes_back) {
    set_up_many(r);
    for (int fail_at = 1; fail_at <= 3; fail_at++) {
        collected got = {.fail_at = fail_at};
        const pytheus_sink sink = {collect, &got};
        CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_ERR_BACKEND);
        CHECK_INT(got.num_calls, fail_at);
        free(got.text);
    }
    CHECK_LINE(r, "# HELP many Many.");
}

TEST_WITH(r, no_sink_is_an_error) {
    const pytheus_sink empty = {NULL, NULL};
    GAUGE(r, .name = "x");
    CHECK(pytheus_write(r, PYTHEUS_TEXT, NULL) != PYTHEUS_OK);
    CHECK(pytheus_write(r, PYTHEUS_TEXT, &empty) != PYTHEUS_OK);
    CHECK(pytheus_write_stream(r, PYTHEUS_TEXT, NULL) != PYTHEUS_OK);
    CHECK(pytheus_write_file(r, PYTHEUS_TEXT, NULL) != PYTHEUS_OK);
}

/* A sink that uses the registry which is being written. */
static pytheus_err busy_sink(void *user, const char *bytes, size_t size) {
    char value[32];
    pytheus_registry *r = (pytheus_registry *)user;
    pytheus_histogram h = HISTOGRAM(r, .name = "many", .required_labels = {"a"});
    pytheus_counter_inc(COUNTER(r, .name = "calls_total"));
    snprintf(value, sizeof value, "value number %d", bytes[0] + (int)size % 100);
    pytheus_view_remove(pytheus_histogram_labels(h, "a", value).view);
    pytheus_histogram_labels(h, "a", "made while it was written");
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    CHECK_LABELLED(r, "many_count", 0, "a", "made while it was written");
    return PYTHEUS_OK;
}

TEST_WITH(r, a_sink_may_use_the_registry) {
    const pytheus_sink sink = {busy_sink, r};
    set_up_many(r);
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK(fixture_sample(r, "calls_total", NULL, 0) > 1);
    CHECK_LINE(r, "# TYPE calls_total counter");
}

static pytheus_err clearing_sink(void *user, const char *bytes, size_t size) {
    (void)bytes;
    (void)size;
    pytheus_registry *r = (pytheus_registry *)user;
    return pytheus_view_clear(HISTOGRAM(r, .name = "many", .required_labels = {"a"}).view);
}

TEST_WITH(r, a_sink_may_remove_all_that_is_being_written) {
    const pytheus_sink sink = {clearing_sink, r};
    set_up_many(r);
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP many Many.\n# TYPE many histogram\n");
}

TEST_WITH(r, a_stream_gets_the_page) {
    FILE *stream = tmpfile();
    char text[256];
    GAUGE(r, .name = "x");
    if (!CHECK(stream != NULL))
        return;
    fputs("before\n", stream);
    CHECK_ERR(pytheus_write_stream(r, PYTHEUS_TEXT, stream), PYTHEUS_OK);
    rewind(stream);
    text[fread(text, 1, sizeof text - 1, stream)] = 0;
    CHECK_STR(text, "before\n# TYPE x gauge\nx 0\n");
    fclose(stream);
}

#ifndef _WIN32

TEST_WITH(r, a_full_stream_is_an_error) {
    FILE *full = fopen("/dev/full", "w");
    GAUGE(r, .name = "x");
    if (!full)
        SKIP("there is no /dev/full");
    CHECK_ERR(pytheus_write_stream(r, PYTHEUS_TEXT, full), PYTHEUS_ERR_IO);
    set_up_many(r);
    CHECK_ERR(pytheus_write_stream(r, PYTHEUS_TEXT, full), PYTHEUS_ERR_IO);
    fclose(full);
}

TEST_WITH(r, a_stream_for_reading_is_an_error) {
    FILE *stream = fopen("/dev/null", "r");
    GAUGE(r, .name = "x");
    if (!CHECK(stream != NULL))
        return;
    CHECK_ERR(pytheus_write_stream(r, PYTHEUS_TEXT, stream), PYTHEUS_ERR_IO);
    fclose(stream);
}

/* ---- files ---- */

static char folder[64], file[128];

static bool make_folder(void) {
    strcpy(folder, "/tmp/pytheus_test_XXXXXX");
    if (!CHECK(mkdtemp(folder) != NULL))
        return false;
    snprintf(file, sizeof file, "%s/page.prom", folder);
    return true;
}

static int num_files(void) {
    int n = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    if (dir)
        closedir(dir);
    return n;
}

static void remove_folder(void) {
    chmod(folder, 0700);
    unlink(file);
    CHECK_INT(rmdir(folder), 0);
}

static void write_text(const char *path, const char *text) {
    FILE *stream = fopen(path, "w");
    if (CHECK(stream != NULL)) {
        fputs(text, stream);
        fclose(stream);
    }
}

static void check_file(const char *path, const char *expected, int line) {
    char text[1024] = "";
    FILE *stream = fopen(path, "r");
    if (stream) {
        text[fread(text, 1, sizeof text - 1, stream)] = 0;
        fclose(stream);
    }
    check_str(text, expected, "the file", __FILE__, line);
}
#define CHECK_FILE(path, expected) check_file(path, expected, __LINE__)

TEST_WITH(r, a_file_gets_the_page) {
    GAUGE(r, .name = "x");
    if (!make_folder())
        return;
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_FILE(file, "# TYPE x gauge\nx 0\n");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

TEST_WITH(r, a_file_is_replaced) {
    if (!make_folder())
        return;
    write_text(file, "something old that is longer than the page which comes over it\n");
    pytheus_gauge g = GAUGE(r, .name = "x");
    for (int i = 0; i < 3; i++) {
        pytheus_gauge_set(g, i);
        CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_OK);
    }
    CHECK_FILE(file, "# TYPE x gauge\nx 2\n");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

TEST_WITH(r, a_reader_of_the_old_file_keeps_it) {
    char text[64] = "";
    if (!make_folder())
        return;
    write_text(file, "old\n");
    FILE *old = fopen(file, "r");
    GAUGE(r, .name = "x");
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_OK);
    if (CHECK(old != NULL)) {
        text[fread(text, 1, sizeof text - 1, old)] = 0;
        fclose(old);
    }
    CHECK_STR(text, "old\n");
    remove_folder();
}

TEST_WITH(r, an_empty_registry_makes_an_empty_file) {
    if (!make_folder())
        return;
    write_text(file, "old\n");
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_FILE(file, "");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

/* The textfile collector usually runs as somebody else. */
TEST_WITH(r, a_file_has_the_permissions_of_any_new_file) {
    struct stat status;
    if (!make_folder())
        return;
    mode_t mask = umask(022);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_OK);
    umask(mask);
    CHECK_INT(stat(file, &status), 0);
    CHECK_INT(status.st_mode & 0777, 0644);
    remove_folder();
}

TEST_WITH(r, a_file_may_be_named_without_a_folder) {
    char before[4096];
    if (!make_folder() || !CHECK(getcwd(before, sizeof before) != NULL))
        return;
    GAUGE(r, .name = "x");
    CHECK_INT(chdir(folder), 0);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, "page.prom"), PYTHEUS_OK);
    CHECK_INT(chdir(before), 0);
    CHECK_FILE(file, "# TYPE x gauge\nx 0\n");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

TEST_WITH(r, a_folder_that_is_not_there_is_an_error) {
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, "/tmp/pytheus/is/not/here/page"), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, ""), PYTHEUS_ERR_IO);
}

TEST_WITH(r, a_path_that_is_too_long_is_an_error) {
    static char path[20000];
    memset(path, 'p', sizeof path - 1);
    memcpy(path, "/tmp/", 5);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, path), PYTHEUS_ERR_IO);
}

TEST_WITH(r, a_folder_cannot_become_a_file) {
    if (!make_folder())
        return;
    mkdir(file, 0700);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, file), PYTHEUS_ERR_IO);
    CHECK_INT(num_files(), 1);
    CHECK_INT(rmdir(file), 0);
    remove_folder();
}

/* What the writing gives in a process that first does something to itself. */
static pytheus_err write_file_after(void (*prepare)(void), pytheus_registry *r) {
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        prepare();
        pytheus_err err = pytheus_write_file(r, PYTHEUS_TEXT, file);
        _exit(-(int)err);
    }
    if (!CHECK(pid > 0) || !CHECK(waitpid(pid, &status, 0) == pid) || !CHECK(WIFEXITED(status)))
        return PYTHEUS_OK;
    return (pytheus_err)-WEXITSTATUS(status);
}

static void forbid_the_folder(void) {
    chmod(folder, 0555);
    if (geteuid() == 0 && setuid(65534))
        _exit(100);
}

TEST_WITH(r, a_folder_that_cannot_be_written_keeps_the_old_file) {
    GAUGE(r, .name = "x");
    if (!make_folder())
        return;
    write_text(file, "old\n");
    CHECK_ERR(write_file_after(forbid_the_folder, r), PYTHEUS_ERR_IO);
    CHECK_FILE(file, "old\n");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

static void forbid_long_files(void) {
    const struct rlimit limit = {1000, 1000};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

TEST_WITH(r, a_page_that_does_not_fit_keeps_the_old_file) {
    if (!make_folder())
        return;
    write_text(file, "old\n");
    set_up_many(r);
    CHECK_ERR(write_file_after(forbid_long_files, r), PYTHEUS_ERR_IO);
    CHECK_FILE(file, "old\n");
    CHECK_INT(num_files(), 1);
    remove_folder();
}

#endif
