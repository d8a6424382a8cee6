/* The strict reader, which judges every page that the other tests produce: it has to take each good
 * page below and read from it what it says, and to refuse each bad one in the right line for the
 * right reason. */
#include "check.h"
#include "reader.h"

#include <dirent.h>

typedef struct bad_page {
    const char *error;
    const char *text;
    size_t size;
} bad_page;

#define PAGE(text) text, sizeof(text) - 1
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define CHECK_REFUSED(pages) check_refused(READER_TEXT, pages, COUNT_OF(pages))
#define CHECK_OM_REFUSED(pages) check_refused(READER_OPENMETRICS, pages, COUNT_OF(pages))

static void check_refused(reader_format format, const bad_page *pages, size_t num) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    for (size_t i = 0; i < num; i++) {
        CHECK(!reader_parse_as(format, pages[i].text, pages[i].size, &doc, error));
        CHECK_STR(error, pages[i].error);
        CHECK(!doc.samples && !doc.strings);
        reader_free(&doc);
    }
}

static reader_doc parsed_as(reader_format format, const char *text, size_t size) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    CHECK(reader_parse_as(format, text, size, &doc, error));
    CHECK_STR(error, "");
    return doc;
}

static reader_doc parsed(const char *text, size_t size) {
    return parsed_as(READER_TEXT, text, size);
}

#define CHECK_READ(text) check_read(READER_TEXT, PAGE(text))
#define CHECK_OM_READ(text) check_read(READER_OPENMETRICS, PAGE(text "# EOF\n"))
#define CHECK_ANY_READ(text) check_read(READER_ANY_OPENMETRICS, PAGE(text "# EOF\n"))

static void check_read(reader_format format, const char *text, size_t size) {
    reader_doc doc = parsed_as(format, text, size);
    reader_free(&doc);
}

/* A page with one gauge whose sample line is this. */
#define GAUGE_LINE(line) "# TYPE g gauge\n" line "\n"

/* ==== WHAT IS READ ==== */

TEST(samples_and_families_are_read_as_written) {
    reader_doc doc = parsed(PAGE("# HELP hits_total Hits.\n"
                                 "# TYPE hits_total counter\n"
                                 "hits_total{method=\"GET\",code=\"200\"} 3\n"
                                 "hits_total{method=\"PUT\",code=\"200\"} 0.5 -12\n"
                                 "# TYPE heat gauge\n"
                                 "heat -Inf\n"));
    const char *put[] = {"code", "200", "method", "PUT"};
    const reader_sample *sample = reader_find(&doc, "hits_total", put, 4);
    CHECK_INT(doc.num_families, 2);
    CHECK_INT(doc.num_samples, 3);
    CHECK_STR(doc.families[0].help, "Hits.");
    CHECK(doc.families[1].help == NULL);
    CHECK_INT(doc.families[0].type, READER_COUNTER);
    CHECK_INT(doc.families[0].num_samples, 2);
    CHECK(reader_find_family(&doc, "heat") == &doc.families[1]);
    CHECK(sample == &doc.samples[1]);
    CHECK_STR(sample->value_text, "0.5");
    CHECK_DOUBLE(sample->value, 0.5);
    CHECK(sample->has_timestamp && sample->timestamp_ms == -12 && sample->line == 4);
    CHECK_STR(sample->labels[0].name, "method");
    CHECK_STR(sample->labels[0].value, "PUT");
    CHECK_DOUBLE(doc.samples[2].value, -HUGE_VAL);
    reader_free(&doc);
}

TEST(a_sample_is_found_by_all_its_labels_only) {
    reader_doc doc = parsed(PAGE(GAUGE_LINE("g{a=\"1\",b=\"2\"} 1\ng{a=\"1\"} 2\ng{b=\"\"} 3")));
    const char *pairs[] = {"b", "2", "a", "1"}, *empty[] = {"c", ""};
    CHECK(reader_find(&doc, "g", pairs, 4) == &doc.samples[0]);
    CHECK(reader_find(&doc, "g", pairs, 2) == NULL);
    CHECK(reader_find(&doc, "g", pairs + 2, 2) == &doc.samples[1]);
    CHECK(reader_find(&doc, "g", NULL, 0) == &doc.samples[2]);
    CHECK(reader_find(&doc, "g", empty, 2) == &doc.samples[2]);
    CHECK(reader_find(&doc, "h", NULL, 0) == NULL);
    reader_free(&doc);
}

TEST(escapes_are_undone) {
    reader_doc doc = parsed(PAGE("# HELP g \\\\n is\\na \\\\ \"line\" \n" GAUGE_LINE(
        "g{a=\"\\\\\\\"\\n\",b=\"\\\\n{},= #\t\r\x01\"} 1")));
    CHECK_STR(doc.families[0].help, "\\n is\na \\ \"line\" ");
    CHECK_STR(doc.samples[0].labels[0].value, "\\\"\n");
    CHECK_STR(doc.samples[0].labels[1].value, "\\n{},= #\t\r\x01");
    reader_free(&doc);
}

TEST(every_byte_of_a_help_text_counts) {
    static const char *const texts[] = {"", " ", "  a", "a ", "\r", "a\r", "\"", "{b=\"c\"} 1"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char page[128];
        snprintf(page, sizeof page, "# HELP g %s\n# TYPE g gauge\n", texts[i]);
        reader_doc doc = parsed(page, strlen(page));
        CHECK_STR(doc.families[0].help, texts[i]);
        reader_free(&doc);
    }
}

TEST(numbers_are_read_to_the_bit) {
    static const struct {
        const char *text;
        double value;
    } numbers[] = {
        {"0", 0},
        {"-0", -0.0},
        {"1", 1},
        {"-17", -17},
        {"0.1", 0.1},
        {"-2.5", -2.5},
        {"0.30000000000000004", 0.30000000000000004},
        {"1e-05", 1e-5},
        {"0.00001", 1e-5},
        {"9007199254740992", 9007199254740992.0},
        {"18446744073709551615", 18446744073709551616.0},
        {"1e+22", 1e22},
        {"10000000000000000000000", 1e22},
        {"1.7976931348623157e+308", 1.7976931348623157e308},
        {"5e-324", 5e-324},
        {"2.2250738585072014e-308", 2.2250738585072014e-308},
        {"2.225073858507201e-308", 2.225073858507201e-308},
        {"9.007199254740994e+15", 9007199254740994.0},
        {"+Inf", HUGE_VAL},
        {"-Inf", -HUGE_VAL},
        {"NaN", NAN},
    };
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char page[128];
        snprintf(page, sizeof page, "# TYPE g gauge\ng %s\n", numbers[i].text);
        reader_doc doc = parsed(page, strlen(page));
        if (CHECK(doc.num_samples == 1))
            CHECK_DOUBLE(doc.samples[0].value, numbers[i].value);
        reader_free(&doc);
    }
}

TEST(good_pages_are_taken) {
    CHECK_READ("");
    CHECK_READ("# HELP g\n# TYPE g gauge\n");
    CHECK_READ("# HELP g Without samples.\n# TYPE g gauge\n# TYPE h histogram\n");
    CHECK_READ("# TYPE :a:_9 untyped\n:a:_9{_Z9=\"\"} NaN\n");
    CHECK_READ("# TYPE azAZ_09:z untyped\nazAZ_09:z{azAZ_09=\"\",Z=\"\",z=\"\",A=\"\"} 1\n");
    CHECK_READ("# TYPE a counter\na 1\n# TYPE a_total counter\na_total +Inf\n");
    CHECK_READ("# TYPE a gauge\na{b=\"\xc2\x80\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbb\xbf"
               "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\xef\xbf\xbd\xc2\x85\xe2\x80\xa8\"} 1\n");
    CHECK_READ(GAUGE_LINE("g 1 0\ng{a=\"b\"} 1 9223372036854775807\n"
                          "g{a=\"c\"} 1 -9223372036854775808"));
    CHECK_READ("# TYPE c counter\nc{le=\"x\",quantile=\"y\"} 1\n");
    CHECK_READ("# TYPE s summary\ns_sum{le=\"x\"} -1\ns_count{le=\"x\"} 2\n");
    CHECK_READ("# TYPE a summary\na_sum 0\na_count 0\n# TYPE a_bucket gauge\na_bucket 1\n");
}

TEST(good_histograms_and_summaries_are_taken) {
    CHECK_READ("# TYPE h histogram\n"
               "h_bucket{le=\"-1.5\"} 0\nh_bucket{le=\"1e-05\"} 0\nh_bucket{le=\"0.0001\"} 1\n"
               "h_bucket{le=\"100000\"} 1\nh_bucket{le=\"1e+06\"} 7\nh_bucket{le=\"+Inf\"} 7\n"
               "h_sum NaN\nh_count 7\n"
               "h_bucket{a=\"b\",le=\"+Inf\"} 0\nh_count{a=\"b\"} 0\nh_sum{a=\"b\"} 0\n"
               "h_bucket{le=\"+Inf\",a=\"c\"} 18446744073709551615\n"
               "h_sum{a=\"c\"} 0\nh_count{a=\"c\"} 18446744073709551615\n");
    CHECK_READ("# TYPE s summary\n"
               "s{quantile=\"0\"} NaN\ns{quantile=\"0.5\"} 1.5\ns{quantile=\"1\"} -1\n"
               "s_sum 3\ns_count 2\n"
               "s_count{a=\"b\"} 0\ns_sum{a=\"b\"} 0\n");
}

/* ==== WHAT IS REFUSED ==== */

TEST(bytes) {
    static const bad_page pages[] = {
        {"line 2: no line feed at the end", PAGE("# TYPE g gauge\ng 1")},
        {"line 1: no line feed at the end", PAGE("# TYPE g gauge")},
        {"line 1: a byte order mark", PAGE("\xef\xbb\xbf# TYPE g gauge\n")},
        {"line 2: a NUL byte", PAGE(GAUGE_LINE("g{a=\"\0\"} 1"))},
        {"line 1: a NUL byte", PAGE("# HELP g \0\n# TYPE g gauge\n")},
        {"line 3: byte 0x80 is not UTF-8", PAGE(GAUGE_LINE("g 1\ng{a=\"\x80\"} 1"))},
        {"line 2: byte 0xff is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xff\"} 1"))},
        {"line 2: byte 0xc0 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xc0\x80\"} 1"))},
        {"line 2: byte 0xc1 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xc1\xbf\"} 1"))},
        {"line 2: byte 0xe0 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xe0\x9f\xbf\"} 1"))},
        {"line 2: byte 0xf0 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xf0\x8f\xbf\xbf\"} 1"))},
        {"line 2: byte 0xed is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xed\xa0\x80\"} 1"))},
        {"line 2: byte 0xed is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xed\xbf\xbf\"} 1"))},
        {"line 2: byte 0xf4 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xf4\x90\x80\x80\"} 1"))},
        {"line 2: byte 0xf5 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xf5\x80\x80\x80\"} 1"))},
        {"line 2: byte 0xc3 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xc3\"} 1"))},
        {"line 2: byte 0xe2 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xe2\x82\"} 1"))},
        {"line 2: byte 0xf0 is not UTF-8", PAGE(GAUGE_LINE("g{a=\"\xf0\x9f\x98\"} 1"))},
        {"line 1: byte 0xe2 is not UTF-8", PAGE("# HELP g \xe2\x82")},
    };
    CHECK_REFUSED(pages);
}

TEST(lines) {
    static const bad_page pages[] = {
        {"line 1: a blank line", PAGE("\n")},
        {"line 3: a blank line", PAGE(GAUGE_LINE("g 1\n"))},
        {"line 1: a carriage return at the end of the line", PAGE("# TYPE g gauge\r\ng 1\r\n")},
        {"line 2: a carriage return at the end of the line",
         PAGE("# HELP g Heat.\r\n# TYPE g gauge\r\n")},
        {"line 2: a carriage return at the end of the line", PAGE(GAUGE_LINE("g 1\r"))},
        {"line 2: a carriage return instead of a metric name", PAGE(GAUGE_LINE("\r"))},
        {"line 2: a blank at the end of the line", PAGE(GAUGE_LINE("g 1 2 "))},
        {"line 2: timestamp \"\" is not an int64", PAGE(GAUGE_LINE("g 1 "))},
        {"line 2: value \"\": not a number as it is spelled here", PAGE(GAUGE_LINE("g  1"))},
        {"line 2: a blank instead of a metric name", PAGE(GAUGE_LINE(" g 1"))},
        {"line 2: byte 0x09 before the value", PAGE(GAUGE_LINE("g\t1"))},
        {"line 2: the line ends before the value", PAGE(GAUGE_LINE("g"))},
        {"line 2: the line ends before the value", PAGE(GAUGE_LINE("g{a=\"b\"}"))},
        {"line 2: byte 0x31 before the value", PAGE(GAUGE_LINE("g{a=\"b\"}1"))},
        {"line 2: byte 0x7b before the value", PAGE(GAUGE_LINE("g{a=\"b\"}{c=\"d\"} 1"))},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("# EOF\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("#\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("#TYPE g gauge\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("# HELP\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("# UNIT g_seconds seconds\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("#  TYPE g gauge\n")},
        {"line 1: a comment that is neither HELP nor TYPE", PAGE("# type g gauge\n")},
        {"line 1: a blank instead of a metric name", PAGE("# TYPE  g gauge\n")},
        {"line 1: a blank at the end of the line", PAGE("# TYPE g  gauge\n")},
        {"line 1: a blank at the end of the line", PAGE("# TYPE g gauge \n")},
        {"line 1: the line ends after a metric name", PAGE("# TYPE g\n")},
        {"line 1: byte 0x09 after a metric name", PAGE("# HELP g\tHeat.\n")},
    };
    CHECK_REFUSED(pages);
}

TEST(names) {
    static const bad_page pages[] = {
        {"line 1: byte 0x31 instead of a metric name", PAGE("# TYPE 1g gauge\n")},
        {"line 1: byte 0x31 instead of a metric name", PAGE("# HELP 1g Heat.\n")},
        {"line 1: byte 0x2d after a metric name", PAGE("# TYPE g-h gauge\n")},
        {"line 1: byte 0xc2 after a metric name", PAGE("# TYPE g\xc2\xb5 gauge\n")},
        {"line 2: byte 0x2e before the value", PAGE(GAUGE_LINE("g.h 1"))},
        {"line 2: byte 0x31 instead of a metric name", PAGE(GAUGE_LINE("1g 1"))},
        {"line 2: byte 0x7b instead of a metric name", PAGE(GAUGE_LINE("{a=\"b\"} 1"))},
        {"line 2: byte 0x31 instead of a label name", PAGE(GAUGE_LINE("g{1a=\"b\"} 1"))},
        {"line 2: byte 0x3a instead of =\" and the label's value",
         PAGE(GAUGE_LINE("g{a:c=\"b\"} 1"))},
        {"line 2: byte 0x3a instead of a label name", PAGE(GAUGE_LINE("g{:a=\"b\"} 1"))},
        {"line 2: byte 0x2d instead of =\" and the label's value",
         PAGE(GAUGE_LINE("g{a-c=\"b\"} 1"))},
        {"line 2: byte 0x3d instead of a label name", PAGE(GAUGE_LINE("g{=\"b\"} 1"))},
        {"line 2: byte 0x22 instead of a label name", PAGE(GAUGE_LINE("g{\"a\"=\"b\"} 1"))},
        {"line 2: label name __a", PAGE(GAUGE_LINE("g{b=\"c\",__a=\"b\"} 1"))},
        {"line 2: label name __name__", PAGE(GAUGE_LINE("g{__name__=\"b\"} 1"))},
    };
    CHECK_REFUSED(pages);
}

TEST(labels) {
    static const bad_page pages[] = {
        {"line 2: label a twice", PAGE(GAUGE_LINE("g{a=\"1\",b=\"2\",a=\"3\"} 1"))},
        {"line 2: label a twice", PAGE(GAUGE_LINE("g{a=\"\",a=\"\"} 1"))},
        {"line 2: byte 0x7d instead of a label name", PAGE(GAUGE_LINE("g{} 1"))},
        {"line 2: byte 0x7d instead of a label name", PAGE(GAUGE_LINE("g{a=\"b\",} 1"))},
        {"line 2: byte 0x2c instead of a label name", PAGE(GAUGE_LINE("g{a=\"b\",,c=\"d\"} 1"))},
        {"line 2: a blank instead of a label name", PAGE(GAUGE_LINE("g{a=\"b\", c=\"d\"} 1"))},
        {"line 2: a blank instead of a label name", PAGE(GAUGE_LINE("g{ a=\"b\"} 1"))},
        {"line 2: a blank after a label", PAGE(GAUGE_LINE("g{a=\"b\" } 1"))},
        {"line 2: a blank after a label", PAGE(GAUGE_LINE("g{a=\"b\" ,c=\"d\"} 1"))},
        {"line 2: byte 0x63 after a label", PAGE(GAUGE_LINE("g{a=\"b\"c=\"d\"} 1"))},
        {"line 2: a blank instead of =\" and the label's value", PAGE(GAUGE_LINE("g{a =\"b\"} 1"))},
        {"line 2: byte 0x3d instead of =\" and the label's value",
         PAGE(GAUGE_LINE("g{a= \"b\"} 1"))},
        {"line 2: byte 0x3d instead of =\" and the label's value", PAGE(GAUGE_LINE("g{a=b} 1"))},
        {"line 2: byte 0x3d instead of =\" and the label's value", PAGE(GAUGE_LINE("g{a='b'} 1"))},
        {"line 2: the line ends instead of a label name", PAGE(GAUGE_LINE("g{"))},
        {"line 2: the line ends after a label", PAGE(GAUGE_LINE("g{a=\"b\""))},
        {"line 2: value \"{a=\"b\"}\": not a number as it is spelled here",
         PAGE(GAUGE_LINE("g {a=\"b\"} 1"))},
    };
    CHECK_REFUSED(pages);
}

TEST(escapes) {
    static const bad_page pages[] = {
        {"line 2: an escape that does not exist", PAGE(GAUGE_LINE("g{a=\"\\t\"} 1"))},
        {"line 2: an escape that does not exist", PAGE(GAUGE_LINE("g{a=\"\\x41\"} 1"))},
        {"line 2: an escape that does not exist", PAGE(GAUGE_LINE("g{a=\"\\N\"} 1"))},
        {"line 2: an escape that does not exist", PAGE(GAUGE_LINE("g{a=\"\\\n\"} 1"))},
        {"line 2: an escape that does not exist", PAGE(GAUGE_LINE("g{a=\"\\\\\\ \"} 1"))},
        {"line 2: the line ends within a label value", PAGE(GAUGE_LINE("g{a=\"b\nc\"} 1"))},
        {"line 2: the line ends within a label value", PAGE(GAUGE_LINE("g{a=\"b\\\"} 1"))},
        {"line 2: byte 0x63 after a label", PAGE(GAUGE_LINE("g{a=\"b\"c\"} 1"))},
        {"line 2: byte 0x22 after a label", PAGE(GAUGE_LINE("g{a=\"\"\"} 1"))},
        {"line 1: an escape that does not exist", PAGE("# HELP g a \\\"b\\\"\n# TYPE g gauge\n")},
        {"line 1: an escape that does not exist", PAGE("# HELP g a\\\n# TYPE g gauge\n")},
        {"line 1: an escape that does not exist", PAGE("# HELP g a\\r\n# TYPE g gauge\n")},
        {"line 2: b without a TYPE", PAGE("# HELP g a\nb 1\n# TYPE g gauge\n")},
    };
    CHECK_REFUSED(pages);
}

static void check_value_refused(const char *text, const char *fault) {
    char page[1024], expected[READER_ERROR_SIZE], error[READER_ERROR_SIZE];
    reader_doc doc;
    snprintf(page, sizeof page, "# TYPE g gauge\ng %s\n", text);
    snprintf(expected, sizeof expected, "line 2: value \"%.60s\": %s", text, fault);
    CHECK(!reader_parse(page, strlen(page), &doc, error));
    CHECK_STR(error, expected);
    reader_free(&doc);
}

TEST(values_that_are_no_numbers) {
    static const char *const texts[] = {
        "+1",     "1.",    ".5",    "-",     "-.5",       "01",      "-01",      "00",
        "1.0",    "1.50",  "0.0",   "1e5",   "1e+5",      "1E+05",   "1e+005",   "1.0e+22",
        "12e+20", "0e+00", "1e",    "1e+",   "1e+22x",    "1e+1000", "0x1p3",    "0x10",
        "1_000",  "1,5",   "1'000", "inf",   "Inf",       "-inf",    "+inf",     "+Infinity",
        "nan",    "-NaN",  "-nan",  "+NaN",  "Nan",       "NAN",     "true",     "one",
        "--1",    "1-",    "1\v",   "\"1\"", "1e+22e+22", "1.5.5",   "\xd9\xa1", "",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        check_value_refused(texts[i], "not a number as it is spelled here");
    char digits[500];
    memset(digits, '1', sizeof digits);
    digits[sizeof digits - 1] = 0;
    check_value_refused(digits, "not a number as it is spelled here");
}

TEST(values_that_are_spelled_badly) {
    check_value_refused("1e+309", "too large for a double");
    check_value_refused("-1.8e+308", "too large for a double");
    check_value_refused("1e-400", "not the shortest spelling of a number");
    check_value_refused("4.94e-324", "not the shortest spelling of a number");
    check_value_refused("0.10000000000000001", "not the shortest spelling of a number");
    check_value_refused("0.1000000000000000055", "not the shortest spelling of a number");
    check_value_refused("0.30000000000000005", "not the nearest of the shortest spellings");
    check_value_refused("4e-324", "not the nearest of the shortest spellings");
    check_value_refused("1e+06", "an integer up to 2^53 with a point or exponent");
    check_value_refused("-1.5e+01", "an integer up to 2^53 with a point or exponent");
    check_value_refused("9.007199254740992e+15", "an integer up to 2^53 with a point or exponent");
}

TEST(timestamps) {
    static const char *const texts[] = {"1.5",
                                        "1e+03",
                                        "+1",
                                        "01",
                                        "-0",
                                        "-",
                                        "x",
                                        "12x",
                                        "1_0",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "18446744073709551617",
                                        "99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char page[128], expected[READER_ERROR_SIZE], error[READER_ERROR_SIZE];
        reader_doc doc;
        snprintf(page, sizeof page, "# TYPE g gauge\ng 1 %s\n", texts[i]);
        snprintf(expected, sizeof expected, "line 2: timestamp \"%s\" is not an int64", texts[i]);
        CHECK(!reader_parse(page, strlen(page), &doc, error));
        CHECK_STR(error, expected);
        reader_free(&doc);
    }
}

TEST(help_and_type) {
    static const bad_page pages[] = {
        {"line 2: HELP of g after its TYPE", PAGE("# TYPE g gauge\n# HELP g Heat.\n")},
        {"line 3: HELP of g after its samples", PAGE(GAUGE_LINE("g 1\n# HELP g Heat."))},
        {"line 2: a second HELP of g", PAGE("# HELP g a\n# HELP g a\n# TYPE g gauge\n")},
        {"line 2: a second TYPE of g", PAGE("# TYPE g gauge\n# TYPE g gauge\n")},
        {"line 3: TYPE of g after its samples", PAGE(GAUGE_LINE("g 1\n# TYPE g gauge"))},
        {"line 1: g without a TYPE", PAGE("g 1\n")},
        {"line 2: g without a TYPE", PAGE("# HELP g Heat.\ng 1\n")},
        {"line 1: g has a HELP and no TYPE", PAGE("# HELP g Heat.\n")},
        {"line 1: g has a HELP and no TYPE", PAGE("# HELP g Heat.\n# TYPE h gauge\n")},
        {"line 1: g has a HELP and no TYPE", PAGE("# HELP g a\n# TYPE h gauge\nh 1\n")},
        {"line 1: g has a HELP and no TYPE", PAGE("# HELP g a\n# HELP h b\n# TYPE h gauge\n")},
        {"line 1: type \"unknown\" does not exist", PAGE("# TYPE g unknown\n")},
        {"line 1: type \"Gauge\" does not exist", PAGE("# TYPE g Gauge\n")},
        {"line 1: type \"info\" does not exist", PAGE("# TYPE g info\n")},
    };
    CHECK_REFUSED(pages);
}

TEST(families) {
    static const bad_page pages[] = {
        {"line 2: h is no sample of the gauge g", PAGE(GAUGE_LINE("h 1"))},
        {"line 2: g_sum is no sample of the gauge g", PAGE(GAUGE_LINE("g_sum 1"))},
        {"line 2: c_total is no sample of the counter c", PAGE("# TYPE c counter\nc_total 1\n")},
        {"line 2: c_created is no sample of the counter c",
         PAGE("# TYPE c counter\nc_created 1\n")},
        {"line 2: u_count is no sample of the untyped u", PAGE("# TYPE u untyped\nu_count 1\n")},
        {"line 2: h is no sample of the histogram h", PAGE("# TYPE h histogram\nh 1\n")},
        {"line 2: h is no sample of the histogram h",
         PAGE("# TYPE h histogram\nh{le=\"+Inf\"} 1\n")},
        {"line 2: h_created is no sample of the histogram h",
         PAGE("# TYPE h histogram\nh_created 1\n")},
        {"line 2: s_bucket is no sample of the summary s",
         PAGE("# TYPE s summary\ns_bucket{le=\"+Inf\"} 1\n")},
        {"line 4: a, but the block of a is over",
         PAGE("# TYPE a gauge\na{b=\"1\"} 1\n# TYPE c gauge\na{b=\"2\"} 1\n")},
        {"line 4: h_sum, but the block of h is over",
         PAGE("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 0\n# TYPE g gauge\nh_sum 0\n")},
        {"line 3: the name a is taken", PAGE("# TYPE a gauge\n# TYPE b gauge\n# TYPE a gauge\n")},
        {"line 5: the name a is taken", PAGE("# TYPE a gauge\na{b=\"1\"} 1\n# TYPE b gauge\nb 1\n"
                                             "# HELP a x\n# TYPE a gauge\na{b=\"2\"} 1\n")},
        {"line 2: the name h_count is taken", PAGE("# TYPE h histogram\n# TYPE h_count counter\n")},
        {"line 2: the name h_bucket is taken", PAGE("# TYPE h_bucket gauge\n# TYPE h histogram\n")},
        {"line 2: the name s_sum is taken", PAGE("# TYPE s summary\n# TYPE s_sum gauge\n")},
        {"line 2: the name h_sum is taken", PAGE("# TYPE h histogram\n# TYPE h_sum summary\n")},
        {"line 2: the name h_sum_count is taken",
         PAGE("# TYPE h_sum summary\n# TYPE h_sum_count gauge\n")},
    };
    CHECK_REFUSED(pages);
}

TEST(series) {
    static const bad_page pages[] = {
        {"line 3: a series of g a second time", PAGE(GAUGE_LINE("g 1\ng 1"))},
        {"line 4: a series of g a second time",
         PAGE(GAUGE_LINE("g{a=\"1\",b=\"2\"} 1\ng 1\ng{b=\"2\",a=\"1\"} 1"))},
        {"line 3: a series of g a second time", PAGE(GAUGE_LINE("g 1\ng{a=\"\"} 1"))},
        {"line 3: a series of g a second time",
         PAGE(GAUGE_LINE("g{a=\"\",b=\"x\"} 1\ng{b=\"x\",c=\"\"} 1"))},
        {"line 3: a series of g a second time", PAGE(GAUGE_LINE("g 1 1\ng 1 2"))},
        {"line 4: a series of g a second time",
         PAGE(GAUGE_LINE("g{a=\"\\\\n\"} 1\ng{a=\"\\n\"} 1\ng{a=\"\\\\n\"} 1"))},
        {"line 3: a series of h_bucket a second time",
         PAGE("# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"1\"} 0\n"
              "h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n")},
        {"line 5: a series of h_count a second time",
         PAGE("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\nh_count 0\n")},
        {"line 5: a series of s_sum a second time",
         PAGE("# TYPE s summary\ns_sum{a=\"b\"} 0\ns_sum 0\ns_count 0\ns_sum{a=\"b\"} 0\n")},
    };
    CHECK_REFUSED(pages);
}

#define HISTOGRAM(lines) PAGE("# TYPE h histogram\n" lines)
#define INF_SUM_COUNT "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1\n"

TEST(buckets) {
    static const bad_page pages[] = {
        {"line 2: h_bucket without le", HISTOGRAM("h_bucket 1\n")},
        {"line 2: h_bucket without le", HISTOGRAM("h_bucket{le=\"\"} 1\n")},
        {"line 2: h_sum with le", HISTOGRAM("h_sum{le=\"1\"} 1\n")},
        {"line 3: h_count with le", HISTOGRAM("h_sum 1\nh_count{le=\"+Inf\"} 1\n")},
        {"line 2: le=\"x\": not a number as it is spelled here",
         HISTOGRAM("h_bucket{le=\"x\"} 1\n")},
        {"line 2: le=\"NaN\": not a number", HISTOGRAM("h_bucket{le=\"NaN\"} 1\n")},
        {"line 2: le=\"-Inf\": a bound of -Inf", HISTOGRAM("h_bucket{le=\"-Inf\"} 1\n")},
        {"line 2: le=\"Inf\": not a number as it is spelled here",
         HISTOGRAM("h_bucket{le=\"Inf\"} 1\n")},
        {"line 2: le=\"1.0\": not a number as it is spelled here",
         HISTOGRAM("h_bucket{le=\"1.0\"} 1\n")},
        {"line 2: le=\"1000000\": not as Go spells it", HISTOGRAM("h_bucket{le=\"1000000\"} 1\n")},
        {"line 2: le=\"1e+05\": not as Go spells it", HISTOGRAM("h_bucket{le=\"1e+05\"} 1\n")},
        {"line 2: le=\"0.00001\": not as Go spells it", HISTOGRAM("h_bucket{le=\"0.00001\"} 1\n")},
        {"line 2: le=\"1e-04\": not as Go spells it", HISTOGRAM("h_bucket{le=\"1e-04\"} 1\n")},
        {"line 2: le=\"0.10000000000000001\": not the shortest spelling of a number",
         HISTOGRAM("h_bucket{le=\"0.10000000000000001\"} 1\n")},
        {"line 2: h_bucket counts 1.5", HISTOGRAM("h_bucket{le=\"1\"} 1.5\n")},
        {"line 2: h_bucket counts -1", HISTOGRAM("h_bucket{le=\"1\"} -1\n")},
        {"line 2: h_bucket counts NaN", HISTOGRAM("h_bucket{le=\"1\"} NaN\n")},
        {"line 2: h_bucket counts +Inf", HISTOGRAM("h_bucket{le=\"1\"} +Inf\n")},
        {"line 2: h_count counts 0.5", HISTOGRAM("h_count 0.5\n")},
        {"line 3: h_bucket out of order",
         HISTOGRAM("h_bucket{le=\"2\"} 0\nh_bucket{le=\"1\"} 0\n" INF_SUM_COUNT)},
        {"line 3: h_bucket out of order",
         HISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n")},
        {"line 3: h_bucket out of order",
         HISTOGRAM("h_bucket{le=\"0\"} 1\nh_bucket{le=\"-0\"} 1\n" INF_SUM_COUNT)},
        {"line 3: a bucket of h_bucket that counts less than the last",
         HISTOGRAM("h_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 0\n" INF_SUM_COUNT)},
        {"line 3: a bucket of h_bucket that counts less than the last",
         HISTOGRAM("h_bucket{le=\"1\"} 2\n" INF_SUM_COUNT)},
    };
    CHECK_REFUSED(pages);
}

TEST(histograms) {
    static const bad_page pages[] = {
        {"line 4: h without +Inf", HISTOGRAM("h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n")},
        {"line 3: h without +Inf", HISTOGRAM("h_sum 1\nh_count 1\n")},
        {"line 4: h_count is not what the +Inf bucket counts",
         HISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2\n")},
        {"line 3: h_count is not what the +Inf bucket counts",
         HISTOGRAM("h_bucket{le=\"+Inf\"} 2\nh_count 1\nh_sum 1\n")},
        {"line 3: h without its _sum", HISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_count 1\n")},
        {"line 3: h without its _count", HISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_sum 1\n")},
        {"line 2: h without its _sum", HISTOGRAM("h_bucket{le=\"+Inf\"} 1\n")},
        {"line 6: h without its _sum",
         HISTOGRAM(INF_SUM_COUNT "h_bucket{a=\"b\",le=\"+Inf\"} 1\nh_count{a=\"b\"} 1\n")},
        {"line 4: a series of h in two pieces",
         HISTOGRAM("h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 1\n"
                   "h_sum{a=\"1\"} 1\nh_sum{a=\"2\"} 1\nh_count{a=\"1\"} 1\nh_count{a=\"2\"} 1\n")},
        {"line 6: a series of h in two pieces",
         HISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_sum 1\n"
                   "h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_sum{a=\"1\"} 1\nh_count 1\n"
                   "h_count{a=\"1\"} 1\n")},
        {"line 6: a series of h in two pieces",
         PAGE("# TYPE g gauge\ng 1\n# TYPE h histogram\nh_bucket{le=\"+Inf\",a=\"1\",b=\"2\"} 1\n"
              "h_bucket{le=\"+Inf\"} 1\nh_sum{b=\"2\",a=\"1\"} 1\nh_count{a=\"1\",b=\"2\"} 1\n"
              "h_sum 1\nh_count 1\n")},
    };
    CHECK_REFUSED(pages);
}

#define SUMMARY(lines) PAGE("# TYPE s summary\n" lines)

TEST(summaries) {
    static const bad_page pages[] = {
        {"line 2: s without quantile", SUMMARY("s 1\n")},
        {"line 2: s without quantile", SUMMARY("s{quantile=\"\"} 1\n")},
        {"line 2: s_sum with quantile", SUMMARY("s_sum{quantile=\"0.5\"} 1\n")},
        {"line 2: quantile=\"x\": not a number as it is spelled here",
         SUMMARY("s{quantile=\"x\"} 1\n")},
        {"line 2: quantile=\"0.50\": not a number as it is spelled here",
         SUMMARY("s{quantile=\"0.50\"} 1\n")},
        {"line 2: quantile=\"1.5\": not between 0 and 1", SUMMARY("s{quantile=\"1.5\"} 1\n")},
        {"line 2: quantile=\"-0.5\": not between 0 and 1", SUMMARY("s{quantile=\"-0.5\"} 1\n")},
        {"line 3: s out of order",
         SUMMARY("s{quantile=\"0.9\"} 1\ns{quantile=\"0.5\"} 1\ns_sum 1\ns_count 1\n")},
        {"line 2: s without its _count", SUMMARY("s_sum 1\n")},
        {"line 2: s without its _sum", SUMMARY("s_count 1\n")},
        {"line 2: s without its _sum", SUMMARY("s{quantile=\"0.5\"} 1\n")},
        {"line 3: s_count counts -1", SUMMARY("s_sum 1\ns_count -1\n")},
        {"line 4: a series of s in two pieces",
         SUMMARY("s_sum{a=\"1\"} 1\ns_sum{a=\"2\"} 1\ns_count{a=\"1\"} 1\ns_count{a=\"2\"} 1\n")},
    };
    CHECK_REFUSED(pages);
}

TEST(counters) {
    static const bad_page pages[] = {
        {"line 2: a counter at -1", PAGE("# TYPE c counter\nc -1\n")},
        {"line 2: a counter at NaN", PAGE("# TYPE c counter\nc NaN\n")},
        {"line 3: a counter at -Inf", PAGE("# TYPE c counter\nc{a=\"b\"} 0\nc -Inf\n")},
        {"line 2: a counter at -5e-324", PAGE("# TYPE c counter\nc -5e-324\n")},
    };
    CHECK_REFUSED(pages);
}

/* ==== OPENMETRICS: WHAT IS READ ==== */

#define OM_PAGE(lines) PAGE(lines "# EOF\n")
#define OM_GAUGE(lines) OM_PAGE("# TYPE g gauge\n" lines)
#define OM_COUNTER(lines) OM_PAGE("# TYPE c counter\n" lines)
#define OM_HISTOGRAM(lines) OM_PAGE("# TYPE h histogram\n" lines)
#define OM_GAUGEHISTOGRAM(lines) OM_PAGE("# TYPE h gaugehistogram\n" lines)
#define OM_SUMMARY(lines) OM_PAGE("# TYPE s summary\n" lines)

TEST(openmetrics_families_are_read_as_written) {
    reader_doc doc = parsed_as(READER_OPENMETRICS,
                               OM_PAGE("# TYPE wait_seconds counter\n"
                                       "# UNIT wait_seconds seconds\n"
                                       "# HELP wait_seconds \\\"Long\\\" \\\\ and\\nwide.\n"
                                       "wait_seconds_total{a=\"b\"} 0.5 -12.250\n"
                                       "wait_seconds_created{a=\"b\"} 1605281325.250 -12.250\n"
                                       "# TYPE u unknown\nu -1\n"
                                       "# TYPE b info\nb_info{version=\"1.2\"} 1\n"
                                       "# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n"));
    const char *ab[] = {"a", "b"};
    const reader_sample *total = reader_find(&doc, "wait_seconds_total", ab, 2);
    static const reader_type types[] = {READER_COUNTER, READER_UNKNOWN, READER_INFO,
                                        READER_STATESET};
    CHECK_INT(doc.num_families, COUNT_OF(types));
    for (size_t i = 0; i < COUNT_OF(types); i++)
        CHECK_INT(doc.families[i].type, types[i]);
    CHECK_STR(doc.families[0].unit, "seconds");
    CHECK_STR(doc.families[0].help, "\"Long\" \\ and\nwide.");
    CHECK(doc.families[1].unit == NULL && doc.families[1].help == NULL);
    if (CHECK(total)) {
        CHECK(total->has_timestamp && total->timestamp == -12.25 && !total->has_exemplar);
        CHECK_INT(total->role, READER_PLAIN);
        CHECK_INT(total[1].role, READER_CREATED);
    }
    reader_free(&doc);
}

TEST(exemplars_are_read) {
    reader_doc doc = parsed_as(
        READER_OPENMETRICS,
        OM_COUNTER("c_total{a=\"b\"} 3 # {trace_id=\"x # {\\\"}\",b=\"\"} 0.5 1605281325.123\n"
                   "c_total 3 7.000 # {} NaN 0.000\n"));
    const reader_exemplar *first = &doc.samples[0].exemplar, *second = &doc.samples[1].exemplar;
    CHECK(doc.samples[0].has_exemplar && doc.samples[1].has_exemplar);
    CHECK_INT(doc.samples[0].num_labels, 1);
    CHECK_INT(first->num_labels, 2);
    CHECK_STR(first->labels[0].name, "trace_id");
    CHECK_STR(first->labels[0].value, "x # {\"}");
    CHECK_DOUBLE(first->value, 0.5);
    CHECK(first->has_timestamp);
    CHECK_DOUBLE(first->timestamp, 1605281325.123);
    CHECK(!doc.samples[0].has_timestamp && doc.samples[1].has_timestamp);
    CHECK_INT(second->num_labels, 0);
    CHECK_DOUBLE(second->value, NAN);
    reader_free(&doc);
}

TEST(good_openmetrics_pages_are_taken) {
    CHECK_OM_READ("");
    CHECK_OM_READ("# TYPE g gauge\n# TYPE h histogram\n# TYPE a_total gauge\na_total -1\n");
    CHECK_OM_READ("# TYPE g_s gauge\n# UNIT g_s s\n# HELP g_s \ng_s NaN\n");
    CHECK_OM_READ("# TYPE a counter\na_total 1\n# TYPE a_total_total gauge\na_total_total 2\n");
    CHECK_OM_READ("# TYPE c counter\nc_total +Inf\nc_created 0.000\nc_total{a=\"b\"} 1e+22\n");
    CHECK_OM_READ("# TYPE s stateset\ns{a=\"1\",s=\"x\"} 1\ns{a=\"1\",s=\"y\"} 1\n"
                  "s{s=\"x\",a=\"2\"} 0\ns{s=\"y\",a=\"2\"} 0\n");
    CHECK_OM_READ("# TYPE i info\ni_info 1\ni_info{a=\"b\"} 1\ni_info{c=\"d\"} 1 2.000\n");
    CHECK_OM_READ("# TYPE h histogram\nh_bucket{le=\"-1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
                  "h_created 1.500\n");
    CHECK_OM_READ("# TYPE h histogram\nh_bucket{le=\"0.0\"} 1\nh_bucket{le=\"1e-05\"} 1\n"
                  "h_bucket{le=\"0.0001\"} 1 # {} 0.0001 1.000\nh_bucket{le=\"100000.0\"} 2\n"
                  "h_bucket{le=\"1e+06\"} 3 # {a=\"b\"} 100000.5 1.000\n"
                  "h_bucket{le=\"+Inf\"} 3\nh_sum 1.5\nh_count 3\nh_created 0.250\n");
    CHECK_OM_READ("# TYPE s summary\ns{quantile=\"0.0\"} NaN\ns{quantile=\"0.5\"} 1\n"
                  "s{quantile=\"1.0\"} 2\ns_sum 1\ns_count 2\n"
                  "s_count{a=\"b\"} 2\ns_created{a=\"b\"} 2.000\n");
    CHECK_OM_READ("# TYPE h gaugehistogram\nh_bucket{le=\"-1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
                  "h_gcount 2\nh_gsum -7\n");
}

/* 64 characters of two bytes and a name of 64 letters. */
TEST(an_exemplar_has_128_characters_at_most) {
    char page[1024], error[READER_ERROR_SIZE];
    for (int extra = 0; extra < 2; extra++) {
        reader_doc doc;
        size_t size = (size_t)snprintf(page, sizeof page, "# TYPE c counter\nc_total 1 # {");
        memset(page + size, 'n', 64);
        size += 64;
        size += (size_t)snprintf(page + size, 8, "=\"");
        for (int i = 0; i < 63 + extra; i++)
            size += (size_t)snprintf(page + size, 8, "\xc3\xa9");
        size += (size_t)snprintf(page + size, 64, "\\n\"} 1 1.000\n# EOF\n");
        CHECK(reader_parse_as(READER_OPENMETRICS, page, size, &doc, error) == !extra);
        CHECK_STR(error, extra ? "line 2: an exemplar of 129 characters" : "");
        reader_free(&doc);
    }
}

/* What the specification allows and pytheus.h does not write. */
TEST(a_lenient_reader_takes_what_may_be) {
    CHECK_ANY_READ("a 1\nb{c=\"d\"} 2\n");
    CHECK_ANY_READ("# HELP a A \"quote\" and \\z.\n# TYPE a gauge\na{} 0042\n");
    CHECK_ANY_READ("# UNIT a \n# HELP a \n# UNIT b_s s\nb_s 1\n");
    CHECK_ANY_READ(
        "# TYPE g gauge\ng{a=\"1\"} 1.\ng{a=\"2\"} .5\ng{a=\"3\"} +1E5\ng{a=\"4\"} 1e-3\n"
        "g{a=\"5\"} iNf\ng{a=\"6\"} -Infinity\ng{a=\"7\"} nan\ng{a=\"8\"} 1.50\n");
    CHECK_ANY_READ("# TYPE g gauge\ng 1 1\ng 1 1\ng 1 2.5e1\n");
    CHECK_ANY_READ("# TYPE s summary\ns_count 1 1\ns_sum 1 1\ns_count 2 3\ns_sum 2 3\n");
    CHECK_ANY_READ("# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1 1\nh_count 1 1\nh_sum 1 1\n"
                   "h_bucket{le=\"+Inf\"} 2 2\nh_count 2 2\nh_sum 1 2\n");
    CHECK_ANY_READ("# TYPE s summary\ns{quantile=\"0.9\"} 1\ns{quantile=\"5e-1\"} 1\n");
    CHECK_ANY_READ("# TYPE c counter\nc_created 1\nc_total 1 # {} 1\n");
    CHECK_ANY_READ("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2 # {} 0.5\n"
                   "h_bucket{le=\"+Inf\"} 2\n");
    check_read(READER_ANY_OPENMETRICS, PAGE("# EOF"));
    reader_doc doc = parsed_as(READER_ANY_OPENMETRICS, OM_PAGE("a{b=\"c\0d\"} 1\na{b=\"c\"} 1\n"));
    CHECK_INT(doc.num_families, 1);
    CHECK_INT(doc.families[0].type, READER_UNKNOWN);
    CHECK_STR(doc.samples[0].labels[0].value, "c\xff"
                                              "d");
    reader_free(&doc);
}

/* ==== OPENMETRICS: WHAT IS REFUSED ==== */

TEST(the_end_of_openmetrics) {
    static const bad_page pages[] = {
        {"line 1: no # EOF at the end", PAGE("")},
        {"line 1: no # EOF at the end", PAGE("\n")},
        {"line 1: no line feed at the end", PAGE("# EOF")},
        {"line 2: no # EOF at the end", PAGE("# TYPE g gauge\ng 1\n")},
        {"line 2: no # EOF at the end", PAGE("# TYPE g gauge\n# EOFF\n")},
        {"line 2: no # EOF at the end", PAGE("# TYPE g gauge\n# EOF \n")},
        {"line 1: no # EOF at the end", PAGE("# TYPE g gauge# EOF\n")},
        {"line 2: no # EOF at the end", PAGE("# EOF\n\n")},
        {"line 1: a comment that is neither HELP nor TYPE nor UNIT", PAGE("# EOF\n# EOF\n")},
        {"line 3: no # EOF at the end", PAGE("# EOF\n# TYPE g gauge\ng 1\n")},
        {"line 1: a blank line", OM_PAGE("\n")},
        {"line 1: a byte order mark", OM_PAGE("\xef\xbb\xbf")},
        {"line 2: byte 0xff is not UTF-8", OM_GAUGE("g{a=\"\xff\"} 1\n")},
        {"line 2: a NUL byte", OM_GAUGE("g{a=\"\0\"} 1\n")},
        {"line 2: a carriage return at the end of the line", OM_GAUGE("g 1\r\n")},
        {"line 1: a carriage return at the end of the line", OM_PAGE("# TYPE g gauge\r\n")},
        {"line 1: a comment that is neither HELP nor TYPE nor UNIT", OM_PAGE("# A comment.\n")},
    };
    CHECK_OM_REFUSED(pages);
}

TEST(openmetrics_metadata) {
    static const bad_page pages[] = {
        {"line 1: type \"untyped\" does not exist", OM_PAGE("# TYPE g untyped\n")},
        {"line 2: a second TYPE of g", OM_GAUGE("# TYPE g gauge\n")},
        {"line 3: a second UNIT of g_s", OM_PAGE("# TYPE g_s gauge\n# UNIT g_s s\n# UNIT g_s s\n")},
        {"line 3: a second HELP of g", OM_GAUGE("# HELP g a\n# HELP g a\n")},
        {"line 2: TYPE of g after its HELP", OM_PAGE("# HELP g a\n# TYPE g gauge\n")},
        {"line 2: TYPE of g_s after its UNIT", OM_PAGE("# UNIT g_s s\n# TYPE g_s gauge\n")},
        {"line 3: UNIT of g_s after its HELP",
         OM_PAGE("# TYPE g_s gauge\n# HELP g_s a\n# UNIT g_s s\n")},
        {"line 3: TYPE of g after its samples", OM_GAUGE("g 1\n# TYPE g gauge\n")},
        {"line 3: UNIT of g after its samples", OM_GAUGE("g 1\n# UNIT g s\n")},
        {"line 3: HELP of g after its samples", OM_GAUGE("g 1\n# HELP g s\n")},
        {"line 1: g has a HELP and no TYPE", OM_PAGE("# HELP g a\n")},
        {"line 1: g_s has a UNIT and no TYPE", OM_PAGE("# UNIT g_s s\n# TYPE a gauge\n")},
        {"line 1: g without a TYPE", OM_PAGE("g 1\n")},
        {"line 1: an empty UNIT of g", OM_GAUGE("# UNIT g \n")},
        {"line 1: g does not end with _s", OM_GAUGE("# UNIT g s\n")},
        {"line 1: s does not end with _s", OM_PAGE("# TYPE s gauge\n# UNIT s s\n")},
        {"line 1: gs does not end with _s", OM_PAGE("# TYPE gs gauge\n# UNIT gs s\n")},
        {"line 1: c_s_total does not end with _s",
         OM_PAGE("# TYPE c_s_total gauge\n# UNIT c_s_total s\n")},
        {"line 1: the info a_s has a unit", OM_PAGE("# TYPE a_s info\n# UNIT a_s s\n")},
        {"line 1: the stateset a_s has a unit", OM_PAGE("# TYPE a_s stateset\n# UNIT a_s s\n")},
        {"line 2: a blank at the end of the line", OM_PAGE("# TYPE a_s gauge\n# UNIT a_s s \n")},
        {"line 2: the line ends after a metric name", OM_GAUGE("# UNIT g\n")},
        {"line 2: the line ends after a metric name", OM_GAUGE("# HELP g\n")},
        {"line 2: a quote that is not escaped", OM_GAUGE("# HELP g \"a\"\n")},
        {"line 2: an escape that does not exist", OM_GAUGE("# HELP g \\t\n")},
        {"line 2: an escape that does not exist", OM_GAUGE("# HELP g \\\n")},
        {"line 2: an escape that does not exist", OM_GAUGE("g{a=\"\\t\"} 1\n")},
    };
    CHECK_OM_REFUSED(pages);
}

TEST(openmetrics_names) {
    static const bad_page pages[] = {
        {"line 2: c is no sample of the counter c", OM_COUNTER("c 1\n")},
        {"line 2: i is no sample of the info i", OM_PAGE("# TYPE i info\ni 1\n")},
        {"line 2: g_created is no sample of the gauge g", OM_GAUGE("g_created 1\n")},
        {"line 2: h_sum is no sample of the gaugehistogram h", OM_GAUGEHISTOGRAM("h_sum 1\n")},
        {"line 2: h_gsum is no sample of the histogram h", OM_HISTOGRAM("h_gsum 1\n")},
        {"line 2: u_total is no sample of the unknown u", OM_PAGE("# TYPE u unknown\nu_total 1\n")},
        {"line 4: c_total, but the block of c is over",
         OM_COUNTER("# TYPE g gauge\ng 1\nc_total 1\n")},
        {"line 3: the name c is taken", OM_COUNTER("# TYPE g gauge\n# TYPE c gauge\n")},
        {"line 2: a second TYPE of c", OM_COUNTER("# TYPE c gauge\n")},
        {"line 2: the name c_total is taken", OM_COUNTER("# TYPE c_total gauge\n")},
        {"line 2: the name c_created is taken", OM_COUNTER("# TYPE c_created gauge\n")},
        {"line 2: the name c_total is taken", OM_PAGE("# TYPE c_total info\n# TYPE c counter\n")},
        {"line 2: the name h_bucket is taken", OM_HISTOGRAM("# TYPE h_bucket gauge\n")},
        {"line 2: the name h_created is taken", OM_HISTOGRAM("# TYPE h_created gauge\n")},
        {"line 2: the name h_gsum is taken", OM_GAUGEHISTOGRAM("# TYPE h_gsum gauge\n")},
        {"line 2: the name s_created is taken", OM_SUMMARY("# TYPE s_created gauge\n")},
        {"line 2: the name i_info is taken", OM_PAGE("# TYPE i info\n# TYPE i_info gauge\n")},
    };
    CHECK_OM_REFUSED(pages);
}

TEST(openmetrics_values) {
    static const bad_page pages[] = {
        {"line 2: a counter at NaN", OM_COUNTER("c_total NaN\n")},
        {"line 2: a counter at -1", OM_COUNTER("c_total -1\n")},
        {"line 2: value \"NaN\": not seconds as they are spelled here",
         OM_COUNTER("c_created NaN\n")},
        {"line 2: value \"1.5\": not seconds as they are spelled here",
         OM_COUNTER("c_created 1.5\n")},
        {"line 2: an info at 0", OM_PAGE("# TYPE i info\ni_info 0\n")},
        {"line 2: a state at 2", OM_PAGE("# TYPE s stateset\ns{s=\"a\"} 2\n")},
        {"line 2: a state at NaN", OM_PAGE("# TYPE s stateset\ns{s=\"a\"} NaN\n")},
        {"line 2: s without s", OM_PAGE("# TYPE s stateset\ns 1\n")},
        {"line 2: s without s", OM_PAGE("# TYPE s stateset\ns{s=\"\"} 1\n")},
        {"line 2: a sum at NaN", OM_HISTOGRAM("h_sum NaN\n")},
        {"line 2: a sum at -0.5", OM_HISTOGRAM("h_sum -0.5\n")},
        {"line 2: a sum at NaN", OM_SUMMARY("s_sum NaN\n")},
        {"line 2: a sum at -1", OM_SUMMARY("s_sum -1\n")},
        {"line 2: a sum at NaN", OM_GAUGEHISTOGRAM("h_gsum NaN\n")},
        {"line 4: a sum at -1", OM_GAUGEHISTOGRAM("h_bucket{le=\"+Inf\"} 1\nh_gcount 1\n"
                                                  "h_gsum -1\n")},
        {"line 2: a quantile at -1", OM_SUMMARY("s{quantile=\"0.5\"} -1\n")},
        {"line 2: s_count counts 0.5", OM_SUMMARY("s_count 0.5\n")},
        {"line 2: h_gcount counts -1", OM_GAUGEHISTOGRAM("h_gcount -1\n")},
        {"line 2: h_bucket counts +Inf", OM_HISTOGRAM("h_bucket{le=\"+Inf\"} +Inf\n")},
        {"line 2: value \"1.0\": not a number as it is spelled here", OM_GAUGE("g 1.0\n")},
        {"line 2: value \"inf\": not a number as it is spelled here", OM_GAUGE("g inf\n")},
        {"line 2: value \"1e+06\": an integer up to 2^53 with a point or exponent",
         OM_GAUGE("g 1e+06\n")},
    };
    CHECK_OM_REFUSED(pages);
}

TEST(openmetrics_bounds) {
    static const bad_page pages[] = {
        {"line 2: le=\"1\": neither a point nor an exponent",
         OM_HISTOGRAM("h_bucket{le=\"1\"} 1\n")},
        {"line 2: le=\"1.50\": not a number as it is spelled here",
         OM_HISTOGRAM("h_bucket{le=\"1.50\"} 1\n")},
        {"line 2: le=\"1.5.0\": not a number as it is spelled here",
         OM_HISTOGRAM("h_bucket{le=\"1.5.0\"} 1\n")},
        {"line 2: le=\"1e+06.0\": not a number as it is spelled here",
         OM_HISTOGRAM("h_bucket{le=\"1e+06.0\"} 1\n")},
        {"line 2: le=\"01.0\": not a number as it is spelled here",
         OM_HISTOGRAM("h_bucket{le=\"01.0\"} 1\n")},
        {"line 2: le=\".0\": not a number as it is spelled here",
         OM_HISTOGRAM("h_bucket{le=\".0\"} 1\n")},
        {"line 2: le=\"1000000.0\": not as Go spells it",
         OM_HISTOGRAM("h_bucket{le=\"1000000.0\"} 1\n")},
        {"line 2: le=\"1e+05\": not as Go spells it", OM_HISTOGRAM("h_bucket{le=\"1e+05\"} 1\n")},
        {"line 2: le=\"NaN\": not a number", OM_HISTOGRAM("h_bucket{le=\"NaN\"} 1\n")},
        {"line 2: le=\"-Inf\": a bound of -Inf", OM_HISTOGRAM("h_bucket{le=\"-Inf\"} 1\n")},
        {"line 2: le=\"+INF\": not a number as it is spelled here",
         OM_GAUGEHISTOGRAM("h_bucket{le=\"+INF\"} 1\n")},
        {"line 2: quantile=\"1\": neither a point nor an exponent",
         OM_SUMMARY("s{quantile=\"1\"} 1\n")},
        {"line 2: quantile=\"1.5\": not between 0 and 1", OM_SUMMARY("s{quantile=\"1.5\"} 1\n")},
        {"line 2: s without quantile", OM_SUMMARY("s 1\n")},
        {"line 2: h_bucket without le", OM_GAUGEHISTOGRAM("h_bucket 1\n")},
        {"line 2: h_created with le", OM_HISTOGRAM("h_created{le=\"1.0\"} 1.000\n")},
    };
    CHECK_OM_REFUSED(pages);
}

#define OM_INF "h_bucket{le=\"+Inf\"} 1\n"

TEST(openmetrics_histograms) {
    static const bad_page pages[] = {
        {"line 3: h without its _count", OM_HISTOGRAM(OM_INF "h_sum 1\n")},
        {"line 3: h without its _sum", OM_HISTOGRAM(OM_INF "h_count 1\n")},
        {"line 3: h without its _gcount", OM_GAUGEHISTOGRAM(OM_INF "h_gsum 1\n")},
        {"line 3: h without its _gsum", OM_GAUGEHISTOGRAM(OM_INF "h_gcount 1\n")},
        {"line 3: h without +Inf", OM_HISTOGRAM("h_sum 1\nh_count 1\n")},
        {"line 2: h without +Inf", OM_HISTOGRAM("h_created 1.000\n")},
        {"line 2: h without +Inf", OM_GAUGEHISTOGRAM("h_bucket{le=\"1.0\"} 1\n")},
        {"line 4: h_count is not what the +Inf bucket counts",
         OM_HISTOGRAM(OM_INF "h_sum 1\nh_count 2\n")},
        {"line 5: h with negative bounds and a sum",
         OM_HISTOGRAM("h_bucket{le=\"-1.0\"} 1\n" OM_INF "h_sum 1\nh_count 1\n")},
        {"line 3: h_bucket out of order",
         OM_HISTOGRAM("h_bucket{le=\"2.0\"} 1\nh_bucket{le=\"1.0\"} 1\n" OM_INF)},
        {"line 3: a bucket of h_bucket that counts less than the last",
         OM_GAUGEHISTOGRAM("h_bucket{le=\"1.0\"} 2\n" OM_INF)},
        {"line 3: s out of order", OM_SUMMARY("s{quantile=\"0.9\"} 1\ns{quantile=\"0.5\"} 1\n")},
        {"line 3: h_bucket after its _created", OM_HISTOGRAM("h_created 1.000\n" OM_INF)},
        {"line 3: c_total after its _created", OM_COUNTER("c_created 1.000\nc_total 1\n")},
    };
    CHECK_OM_REFUSED(pages);
}

TEST(openmetrics_metrics_and_points) {
    static const bad_page pages[] = {
        {"line 3: a series of g a second time", OM_GAUGE("g 1\ng 1\n")},
        {"line 3: a series of g a second time", OM_GAUGE("g 1 1.000\ng 1 2.000\n")},
        {"line 3: a series of i_info a second time",
         OM_PAGE("# TYPE i info\ni_info 1\ni_info 1\n")},
        {"line 4: a series of c in two pieces",
         OM_COUNTER("c_total{a=\"1\"} 1\nc_total{a=\"2\"} 1\nc_created{a=\"1\"} 1.000\n")},
        {"line 4: a series of s in two pieces",
         OM_PAGE("# TYPE s stateset\ns{s=\"a\",e=\"1\"} 1\ns{e=\"2\",s=\"a\"} 0\n"
                 "s{s=\"b\",e=\"1\"} 1\n")},
        {"line 4: a series of s in two pieces",
         OM_SUMMARY("s_count{a=\"1\"} 1\ns_count{a=\"2\"} 1\ns_sum{a=\"1\"} 1\n")},
        {"line 3: c_created with and without timestamps",
         OM_COUNTER("c_total 1\nc_created 1.000 1.000\n")},
        {"line 3: h_count with and without timestamps",
         OM_HISTOGRAM("h_bucket{le=\"+Inf\"} 1 1.000\nh_count 1\nh_sum 1\n")},
        {"line 3: c_created goes back in time",
         OM_COUNTER("c_total 1 2.000\nc_created 1.000 1.999\n")},
        {"line 2: h without its _sum",
         OM_HISTOGRAM("h_count 1 1.000\nh_bucket{le=\"+Inf\"} 1 2.000\n")},
    };
    static const bad_page any_pages[] = {
        {"line 2: a series of g a second time", OM_PAGE("g 1\ng 1\n")},
        {"line 4: a, but the block of a is over", OM_PAGE("a 1\nb 1\nc 1\na{x=\"1\"} 1\n")},
        {"line 2: g goes back in time", OM_PAGE("g 1 1e3\ng 1 999\n")},
        {"line 2: the name a_created is taken", OM_PAGE("a_created 1.000\n# TYPE a counter\n")},
        {"line 1: value \"1_0\": not a number", OM_PAGE("a 1_0\n")},
        {"line 1: value \"0x1\": not a number", OM_PAGE("a 0x1\n")},
        {"line 1: value \".\": not a number", OM_PAGE("a .\n")},
        {"line 1: value \"1e\": not a number", OM_PAGE("a 1e\n")},
        {"line 1: value \"1e400\": too large for a double", OM_PAGE("a 1e400\n")},
        {"line 1: value \"+nan\": not a number", OM_PAGE("a +nan\n")},
        {"line 1: byte 0x00 before the value", OM_PAGE("a\0 1\n")},
        {"line 1: byte 0x00 at the end of the line", OM_PAGE("a 1\0\n")},
        {"line 1: timestamp \"inf\": not finite", OM_PAGE("a 1 inf\n")},
        {"line 2: a time at NaN", OM_COUNTER("c_created NaN\n")},
        {"line 2: le=\"Inf\": not +Inf", OM_HISTOGRAM("h_bucket{le=\"Inf\"} 1\n")},
        {"line 2: an exemplar beyond its bucket",
         OM_HISTOGRAM("h_bucket{le=\"1\"} 1 # {} 1.5\n" OM_INF)},
    };
    CHECK_OM_REFUSED(pages);
    check_refused(READER_ANY_OPENMETRICS, any_pages, COUNT_OF(any_pages));
}

TEST(openmetrics_timestamps) {
    static const char *const texts[] = {"",     "-",      "x",       "01.000", "1.",      "1",
                                        ".500", "+1.000", "1e3",     "NaN",    "1.500.5", "1.500 ",
                                        "1.50", "1.5000", "1_0.000", "0x1",    "Inf",     "1.00x"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char page[128], expected[READER_ERROR_SIZE], error[READER_ERROR_SIZE];
        reader_doc doc;
        snprintf(page, sizeof page, "# TYPE g gauge\ng 1 %s\n# EOF\n", texts[i]);
        snprintf(expected, sizeof expected,
                 strchr(texts[i], ' ')
                     ? "line 2: the line ends instead of an exemplar"
                     : "line 2: timestamp \"%s\": not seconds as they are spelled here",
                 texts[i]);
        CHECK(!reader_parse_as(READER_OPENMETRICS, page, strlen(page), &doc, error));
        CHECK_STR(error, expected);
        reader_free(&doc);
    }
    CHECK_OM_READ("# TYPE g gauge\ng 1 -0.500\ng{a=\"1\"} 1 9223372036854775.807\n"
                  "g{a=\"2\"} 1 0.000\ng{a=\"3\"} 1 1605281325.001\n");
}

TEST(exemplars) {
    static const bad_page pages[] = {
        {"line 2: g with an exemplar", OM_GAUGE("g 1 # {} 1 1.000\n")},
        {"line 2: c_created with an exemplar", OM_COUNTER("c_created 1.000 # {} 1 1.000\n")},
        {"line 2: h_sum with an exemplar", OM_HISTOGRAM("h_sum 1 # {} 1 1.000\n")},
        {"line 2: h_count with an exemplar", OM_HISTOGRAM("h_count 1 # {} 1 1.000\n")},
        {"line 2: s with an exemplar", OM_SUMMARY("s{quantile=\"0.5\"} 1 # {} 1 1.000\n")},
        {"line 2: i_info with an exemplar", OM_PAGE("# TYPE i info\ni_info 1 # {} 1 1.000\n")},
        {"line 2: u with an exemplar", OM_PAGE("# TYPE u unknown\nu 1 # {} 1 1.000\n")},
        {"line 2: an exemplar without its time", OM_COUNTER("c_total 1 # {} 1\n")},
        {"line 2: an exemplar beyond its bucket",
         OM_HISTOGRAM("h_bucket{le=\"1.0\"} 1 # {} 1.5 1.000\n" OM_INF)},
        {"line 2: an exemplar beyond its bucket",
         OM_HISTOGRAM("h_bucket{le=\"1.0\"} 1 # {} NaN 1.000\n" OM_INF)},
        {"line 3: an exemplar of another bucket",
         OM_HISTOGRAM("h_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1 # {} 1 1.000\n")},
        {"line 2: label a twice", OM_COUNTER("c_total 1 # {a=\"1\",a=\"2\"} 1 1.000\n")},
        {"line 2: label name __a", OM_COUNTER("c_total 1 # {__a=\"1\"} 1 1.000\n")},
        {"line 2: the line ends instead of an exemplar", OM_COUNTER("c_total 1 1.000 \n")},
        {"line 2: byte 0x23 instead of an exemplar", OM_COUNTER("c_total 1 #{} 1 1\n")},
        {"line 2: byte 0x23 instead of an exemplar", OM_COUNTER("c_total 1 # 1 1\n")},
        {"line 2: byte 0x31 before the exemplar's value", OM_COUNTER("c_total 1 # {}1 1\n")},
        {"line 2: the line ends before the exemplar's value", OM_COUNTER("c_total 1 # {}\n")},
        {"line 2: value \"\": not a number as it is spelled here", OM_COUNTER("c_total 1 # {} \n")},
        {"line 2: timestamp \"\": not seconds as they are spelled here",
         OM_COUNTER("c_total 1 # {} 1 \n")},
        {"line 2: a blank at the end of the line", OM_COUNTER("c_total 1 # {} 1 1.000 \n")},
        {"line 2: a blank at the end of the line",
         OM_COUNTER("c_total 1 # {} 1 1.000 # {} 1 1.000\n")},
        {"line 2: a blank after a label", OM_COUNTER("c_total 1 # {a=\"b\" } 1 1.000\n")},
        {"line 2: value \"1#\": not a number as it is spelled here",
         OM_COUNTER("c_total 1# {} 1 1.000\n")},
    };
    static const bad_page text[] = {
        {"line 2: timestamp \"#\" is not an int64", PAGE("# TYPE c counter\nc 1 # {} 1 1.000\n")},
    };
    CHECK_OM_REFUSED(pages);
    CHECK_REFUSED(text);
}

/* ==== THE OFFICIAL CASES OF OPENMETRICS ==== */

/* One folder for each case: the page in "metrics", what to think of it in "test.json". */
static const char *cases_folder(void) {
    const char *folder = getenv("OPENMETRICS_CASES");
    return folder && *folder ? folder : "../shared/data/openmetrics";
}

static bool read_case(const char *name, const char *file, char out[8192], size_t *size) {
    char path[1024];
    FILE *stream;
    snprintf(path, sizeof path, "%s/%s/%s", cases_folder(), name, file);
    stream = fopen(path, "rb");
    if (!stream)
        return false;
    *size = fread(out, 1, 8191, stream);
    out[*size] = 0;
    fclose(stream);
    return true;
}

static void judge_case(const char *name, int *num_good, int *num_bad) {
    char page[8192], about[8192], error[READER_ERROR_SIZE];
    size_t size, about_size;
    reader_doc doc;
    bool good, should;
    if (!read_case(name, "metrics", page, &size) ||
        !read_case(name, "test.json", about, &about_size))
        return;
    should = !strstr(about, "\"shouldParse\": false") && !strstr(about, "\"shouldParse\":false");
    good = reader_parse_as(READER_ANY_OPENMETRICS, page, size, &doc, error);
    check_that(good == should, __FILE__, __LINE__, "%s is %s: %s", name,
               should ? "good, but refused" : "bad, but taken", error);
    ++*(should ? num_good : num_bad);
    reader_free(&doc);
}

TEST(official_openmetrics_cases) {
    DIR *folder = opendir(cases_folder());
    struct dirent *entry;
    int num_good = 0, num_bad = 0;
    if (!folder)
        SKIP_EXTRA("the OpenMetrics project's parser cases are not here "
                   "(OPENMETRICS_CASES=folder says where)");
    while ((entry = readdir(folder)))
        judge_case(entry->d_name, &num_good, &num_bad);
    closedir(folder);
    CHECK(num_good >= 44);
    CHECK(num_bad >= 167);
}

/* ==== SIZE ==== */

typedef struct growing_text {
    char *bytes;
    size_t size, room;
} growing_text;

static void add_text(growing_text *text, const char *bytes, size_t size) {
    if (text->size + size > text->room) {
        text->room = 2 * (text->size + size);
        text->bytes = (char *)realloc(text->bytes, text->room);
        if (!text->bytes)
            abort();
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

static void add_line(growing_text *text, const char *format, int number) {
    char line[256];
    add_text(text, line, (size_t)snprintf(line, sizeof line, format, number, number, number));
}

TEST(many_lines_take_little_time) {
    growing_text text = {NULL, 0, 0};
    char error[READER_ERROR_SIZE];
    reader_doc doc;
    add_line(&text, "# TYPE c_total counter\n", 0);
    for (int i = 0; i < 200000; i++)
        add_line(&text, "c_total{method=\"GET\",path=\"/a/b/c/%d\"} %d.25\n", i);
    for (int i = 0; i < 20000; i++)
        add_line(&text, "# TYPE g%d gauge\ng%d 0.10000000149011612\n", i);
    add_line(&text, "# TYPE h histogram\n", 0);
    for (int i = 0; i < 20000; i++)
        add_line(&text,
                 "h_bucket{a=\"%d\",le=\"+Inf\"} 1\nh_sum{a=\"%d\"} 1\nh_count{a=\"%d\"} 1\n", i);
    doc = parsed(text.bytes, text.size);
    CHECK_INT(doc.num_samples, 280000);
    CHECK_INT(doc.num_families, 20002);
    reader_free(&doc);
    add_line(&text, "h_count{a=\"%d\"} 1\n", 7);
    CHECK(!reader_parse(text.bytes, text.size, &doc, error));
    CHECK_STR(error, "line 300003: a series of h_count a second time");
    free(text.bytes);
}

TEST(label_values_of_a_megabyte) {
    static const char *const fills[] = {"x", "\\\"", "\\\\", "\\n", "=", "}", "\xf0\x9f\x98\x80"};
    for (size_t i = 0; i < COUNT_OF(fills); i++) {
        growing_text text = {NULL, 0, 0};
        add_line(&text, "# TYPE h histogram\nh_bucket{a=\"", 0);
        for (int j = 0; j < 1000000; j += (int)strlen(fills[i]))
            add_text(&text, fills[i], strlen(fills[i]));
        add_line(&text, "\",le=\"+Inf\"} 0\nh_sum{a=\"", 0);
        size_t value = strlen("# TYPE h histogram\nh_bucket{a=\"");
        size_t size = text.size - value - strlen("\",le=\"+Inf\"} 0\nh_sum{a=\"");
        for (int j = 0; j < 2; j++) {
            char *copy = (char *)malloc(size);
            memcpy(copy, text.bytes + value, size);
            add_text(&text, copy, size);
            free(copy);
            add_line(&text, j ? "\"} 0\n" : "\"} 0\nh_count{a=\"", 0);
        }
        reader_doc doc = parsed(text.bytes, text.size);
        CHECK_INT(doc.num_samples, 3);
        reader_free(&doc);
        free(text.bytes);
    }
}

/* ==== DAMAGE ==== */

static const char whole_page[] =
    "# HELP hits_total Hits \\\\ of \"all\" kinds.\\n\n# TYPE hits_total counter\n"
    "hits_total{method=\"GET\",path=\"\\\\\\\"\\n\xc3\xa9\"} 3 1700000000000\nhits_total 0.1\n"
    "# HELP h Time.\n# TYPE h histogram\nh_bucket{le=\"0.005\"} 1\nh_bucket{le=\"1e+06\"} 2\n"
    "h_bucket{le=\"+Inf\"} 2\nh_sum 12.5\nh_count 2\n"
    "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum -1.5e-07\ns_count 0\n";

static const char whole_openmetrics_page[] =
    "# TYPE wait_seconds counter\n# UNIT wait_seconds seconds\n# HELP wait_seconds A "
    "\\\"b\\\".\\n\n"
    "wait_seconds_total{a=\"\\\\\\\"\\n\xc3\xa9\"} 3 17.250 # {trace_id=\"a # b\"} 0.5 16.500\n"
    "wait_seconds_created{a=\"\\\\\\\"\\n\xc3\xa9\"} 12.000 17.250\n"
    "# TYPE h histogram\nh_bucket{le=\"0.005\"} 1 # {} 0.004 3.000\nh_bucket{le=\"1e+06\"} 2\n"
    "h_bucket{le=\"+Inf\"} 2\nh_sum 12.5\nh_count 2\nh_created 3.000\n"
    "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns_sum 1.5e-07\ns_count 0\n"
    "# TYPE i info\ni_info{version=\"1.2\"} 1\n# TYPE t stateset\nt{t=\"a\"} 1\nt{t=\"b\"} 0\n"
    "# TYPE u unknown\nu -Inf\n# EOF\n";

static bool reads_as(reader_format format, const char *text, size_t size) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    char *exact = (char *)malloc(size ? size : 1); /* where a sanitizer sees the end */
    memcpy(exact, text, size);
    bool good = reader_parse_as(format, exact, size, &doc, error);
    CHECK(good == !*error);
    reader_free(&doc);
    free(exact);
    return good;
}

static bool reads(const char *text, size_t size) {
    return reads_as(READER_TEXT, text, size);
}

TEST(a_page_that_stops_is_refused_within_a_line) {
    CHECK(reads(whole_page, sizeof whole_page - 1));
    for (size_t size = 1; size < sizeof whole_page - 1; size++)
        if (whole_page[size - 1] != '\n')
            CHECK(!reads(whole_page, size));
        else
            reads(whole_page, size);
}

TEST(an_openmetrics_page_that_stops_is_refused) {
    size_t whole = sizeof whole_openmetrics_page - 1;
    CHECK(reads_as(READER_OPENMETRICS, whole_openmetrics_page, whole));
    CHECK(reads_as(READER_ANY_OPENMETRICS, whole_openmetrics_page, whole));
    CHECK(reads_as(READER_ANY_OPENMETRICS, whole_openmetrics_page, whole - 1));
    CHECK(!reads_as(READER_OPENMETRICS, whole_openmetrics_page, whole - 1));
    for (size_t size = 0; size < whole - 1; size++) {
        CHECK(!reads_as(READER_OPENMETRICS, whole_openmetrics_page, size));
        CHECK(!reads_as(READER_ANY_OPENMETRICS, whole_openmetrics_page, size));
    }
}

/* How many of 20,000 damaged copies are refused. */
static int num_refused_of(const char *text, size_t size, reader_format format) {
    uint64_t state = 1;
    int num_refused = 0;
    for (int i = 0; i < 20000; i++) {
        char page[1024];
        memcpy(page, text, size);
        for (uint64_t n = 1 + check_random(&state) % 3; n > 0; n--)
            page[check_random(&state) % size] = (char)check_random(&state);
        num_refused += !reads_as(format, page, size);
    }
    return num_refused;
}

TEST(damaged_pages_do_no_harm) {
    const char *page = whole_openmetrics_page;
    size_t size = sizeof whole_openmetrics_page - 1;
    CHECK(num_refused_of(whole_page, sizeof whole_page - 1, READER_TEXT) > 15000);
    CHECK(num_refused_of(page, size, READER_OPENMETRICS) > 15000);
    CHECK(num_refused_of(page, size, READER_ANY_OPENMETRICS) > 15000);
}
