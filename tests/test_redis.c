/* Metrics in Redis: the keys and fields that Python's pytheus has, written and read, byte by byte;
   what others have written, however they spelled it; gauges, removal, expiry; configuration. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "redis.h"
#include "reader.h"

#define TEST_ON_REDIS(r, name)                                                                     \
    static void on_redis_##name(pytheus_registry *r);                                              \
    TEST(name) {                                                                                   \
        NEED_REDIS();                                                                              \
        pytheus_registry *r = redis_registry(NULL);                                                \
        if (r)                                                                                     \
            on_redis_##name(r);                                                                    \
        pytheus_registry_free(r);                                                                  \
    }                                                                                              \
    static void on_redis_##name(pytheus_registry *r)

/* -- keys, fields, values -- */

TEST_ON_REDIS(r, a_metric_without_labels_is_a_string) {
    pytheus_counter c = COUNTER(r, .name = "name");
    FLUSH(r);
    CHECK_STR(ASK("KEYS", "name*"), "name\n");
    CHECK_STR(ASK("TYPE", "name"), "string");
    CHECK_STR(ASK("GET", "name"), "0");
    pytheus_counter_inc(c);
    pytheus_counter_add(c, 2.5);
    FLUSH(r);
    CHECK_STR(ASK("GET", "name"), "3.5");
    CHECK_STR(ASK("TTL", "name"), "3600");
}

TEST_ON_REDIS(r, a_metric_with_labels_is_a_hash_of_fields_in_json) {
    pytheus_counter c = COUNTER(r, .name = "name", .required_labels = {"bob", "bobby"});
    FLUSH(r);
    CHECK_STR(ASK("EXISTS", "name"), "0");
    pytheus_counter_add(pytheus_counter_labels(c, "bobby", "fish", "bob", "cat"), 2);
    FLUSH(r);
    CHECK_STR(ASK("TYPE", "name"), "hash");
    CHECK_STR(ASK("HGETALL", "name"), "{\"bob\": \"cat\", \"bobby\": \"fish\"}\n2\n");
}

TEST_ON_REDIS(r, defaults_are_in_declared_order) {
    pytheus_counter c = COUNTER(r, .name = "d_total", .required_labels = {"a", "b"},
                                .default_labels = {{"b", "B"}});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1"));
    FLUSH(r);
    CHECK_STR(ASK("HKEYS", "d_total"), "{\"a\": \"1\", \"b\": \"B\"}\n");
}

TEST_ON_REDIS(r, values_are_escaped_as_python_does) {
    pytheus_counter c = COUNTER(r, .name = "x", .required_labels = {"v"});
    pytheus_counter_inc(pytheus_counter_labels(
        c, "v", "/\xc3\xa9\"\\\n\r\t\b\f\x01\x7f\xe2\x82\xac\xf0\x9f\x98\x80"));
    FLUSH(r);
    CHECK_STR(ASK("HKEYS", "x"), "{\"v\": \"/\\u00e9\\\"\\\\\\n\\r\\t\\b\\f\\u0001\\u007f\\u20ac"
                                 "\\ud83d\\ude00\"}\n");
    CHECK_REDIS_PAGE(r, "# TYPE x counter\nx{v=\"/\xc3\xa9\\\"\\\\\\n\r\t\b\f\x01\x7f"
                        "\xe2\x82\xac\xf0\x9f\x98\x80\"} 1\n");
}

TEST_ON_REDIS(r, a_summary_has_two_keys) {
    pytheus_summary s = SUMMARY(r, .name = "name");
    pytheus_summary_observe(s, 0.5);
    pytheus_summary_observe(s, 7);
    FLUSH(r);
    CHECK_STR(ASK("GET", "name:sum"), "7.5");
    CHECK_STR(ASK("GET", "name:count"), "2");
}

TEST_ON_REDIS(r, buckets_are_cumulative_and_named_by_their_bounds) {
    pytheus_histogram h = HISTOGRAM(r, .name = "lat_seconds", .required_labels = {"svc"},
                                    .buckets = (const double[]){0.1, 1, 2.5}, .num_buckets = 3);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "svc", "a"), 0.3);
    FLUSH(r);
    CHECK_STR(ASK("HGET", "lat_seconds:sum", "{\"svc\": \"a\"}"), "0.3");
    CHECK_STR(ASK("HGET", "lat_seconds:count", "{\"svc\": \"a\"}"), "1");
    CHECK_STR(ASK("HGET", "lat_seconds:0.1", "{\"svc\": \"a\"}"), "0");
    CHECK_STR(ASK("HGET", "lat_seconds:1", "{\"svc\": \"a\"}"), "1");
    CHECK_STR(ASK("HGET", "lat_seconds:2.5", "{\"svc\": \"a\"}"), "1");
    CHECK_STR(ASK("HGET", "lat_seconds:+Inf", "{\"svc\": \"a\"}"), "1");
    pytheus_histogram_observe(pytheus_histogram_labels(h, "svc", "a"), 2);
    CHECK_REDIS_PAGE(r, "# TYPE lat_seconds histogram\n"
                        "lat_seconds_bucket{svc=\"a\",le=\"0.1\"} 0\n"
                        "lat_seconds_bucket{svc=\"a\",le=\"1\"} 1\n"
                        "lat_seconds_bucket{svc=\"a\",le=\"2.5\"} 2\n"
                        "lat_seconds_bucket{svc=\"a\",le=\"+Inf\"} 2\n"
                        "lat_seconds_sum{svc=\"a\"} 2.3\n"
                        "lat_seconds_count{svc=\"a\"} 2\n");
}

/* What Python's str() makes of a bound. */
TEST(bounds_in_keys) {
    static const double bounds[] = {1e-05, 0.0001, 0.5, 1, 1e6, 123456789.5, 1e15, 1e16, 2.5e22};
    static const char *const ints[] = {
        "1e-05",       "0.0001",           "0.5",   "1",      "1000000",
        "123456789.5", "1000000000000000", "1e+16", "2.5e+22"};
    static const char *const floats[] = {
        "1e-05", "0.0001", "0.5", "1.0", "1000000.0", "123456789.5", "1000000000000000.0",
        "1e+16", "2.5e+22"};
    NEED_REDIS();
    for (int i = 0; i < 2; i++) {
        pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.float_bounds = i == 1});
        (void)ASK("FLUSHALL");
        HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = COUNT_OF(bounds));
        FLUSH(r);
        for (size_t j = 0; j < COUNT_OF(bounds); j++) {
            char key[64];
            snprintf(key, sizeof key, "h:%s", i ? floats[j] : ints[j]);
            CHECK_STR(ASK("GET", key), "0");
        }
        CHECK_STR(ASK("DBSIZE"), "13"); /* with :sum, :count, :+Inf, and the key of the flushes */
        pytheus_registry_free(r);
    }
}

TEST_ON_REDIS(r, a_default_histogram_has_14_keys) {
    HISTOGRAM(r, .name = "name");
    FLUSH(r);
    CHECK_STR(ASK("EXISTS", "name:sum", "name:count", "name:0.005", "name:0.01", "name:0.025",
                  "name:0.05", "name:0.1", "name:0.25", "name:0.5", "name:1", "name:2.5", "name:5",
                  "name:10", "name:+Inf"),
              "14");
}

TEST(every_key_begins_with_the_prefix) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.key_prefix = "test"});
    pytheus_counter c = COUNTER(r, .name = "name");
    HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    pytheus_gauge_set(g, 2);
    pytheus_counter_inc(c);
    FLUSH(r);
    CHECK_STR(ASK("GET", "test-name"), "1");
    CHECK_STR(ASK("EVAL",
                  "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
                  "if string.sub(k, 1, 5) ~= 'test-' then n = n + 1 end end return n",
                  "0"),
              "0");
    (void)ASK("INCRBY", "test-name", "4");
    CHECK_REDIS_PAGE(r, "# TYPE name counter\nname 5\n# TYPE h histogram\n# TYPE g gauge\ng 2\n");
    pytheus_registry_free(r);
}

/* -- reading what others wrote -- */

TEST_ON_REDIS(r, series_that_only_others_made_are_on_the_page) {
    COUNTER(r, .name = "visits", .help = "Visits.", .required_labels = {"page", "code"});
    (void)ASK("HSET", "visits", "{\"page\": \"/\", \"code\": \"200\"}", "3.0");
    (void)ASK("HSET", "visits", "{\"code\":\"404\",\"page\":\"/\\u00e9\\u20ac\\ud83d\\ude00\"}",
              "1");
    CHECK_REDIS_PAGE(r, "# HELP visits Visits.\n# TYPE visits counter\n"
                        "visits{page=\"/\",code=\"200\"} 3\n"
                        "visits{page=\"/\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\",code=\"404\"} 1\n");
}

TEST_ON_REDIS(r, one_series_in_several_spellings_is_added_up) {
    pytheus_counter c = COUNTER(r, .name = "visits", .required_labels = {"a", "b"});
    pytheus_counter_add(pytheus_counter_labels(c, "a", "1", "b", "\xc3\xa9"), 0.5);
    (void)ASK("HSET", "visits", "{\"b\": \"\\u00e9\", \"a\": \"1\"}", "1");
    (void)ASK("HSET", "visits", "{\"a\":\"1\",\"b\":\"\xc3\xa9\"}", "2");
    (void)ASK("HSET", "visits", " { \"a\" : \"\\u0031\" , \"b\" : \"\\u00E9\" } ", "4");
    CHECK_REDIS_PAGE(r, "# TYPE visits counter\nvisits{a=\"1\",b=\"\xc3\xa9\"} 7.5\n");
    CHECK_REDIS_PAGE(r, "# TYPE visits counter\nvisits{a=\"1\",b=\"\xc3\xa9\"} 7.5\n");
}

/* Each is left out, and told once for the metric. */
TEST_ON_REDIS(r, fields_that_are_no_series_are_left_out) {
    static const char *const bad[] = {"",
                                      "{}",
                                      "{\"a\": \"1\"",
                                      "{\"b\": \"1\"}",
                                      "{\"a\": \"1\", \"b\": \"2\"}",
                                      "[\"a\"]",
                                      "{\"a\": \"1\"} x",
                                      "{\"a\": [1]}",
                                      "{\"a\": \"\\ud83\"}",
                                      "{\"a\": \"\\x\"}",
                                      "{\"a\" \"1\"}",
                                      "{\"a\": \"1\", }",
                                      "{\"a\": \"\\u0000\"}",
                                      "{a: \"1\"}",
                                      "\"a\"",
                                      "{\"a\": tru}",
                                      "{\"a\": \"\xff\"}",
                                      "{\"a\": \"\xc1\x81\"}",
                                      "{\"a\": \"\xed\xa0\x80\"}",
                                      "{\"a\": \"\xc3\"}"};
    COUNTER(r, .name = "x", .required_labels = {"a"});
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        (void)ASK("HSET", "x", bad[i], "1");
    (void)ASK("HSET", "x", "{\"a\": 7}", "2", "{\"a\": true}", "3", "{\"a\": \"\xc3\xa9\"}", "4");
    for (int i = 0; i < 2; i++) {
        CHECK_REDIS_PAGE(r, "# TYPE x counter\nx{a=\"7\"} 2\nx{a=\"True\"} 3\n"
                            "x{a=\"\xc3\xa9\"} 4\n");
        CHECK_INT(logged.num, 1);
        CHECK_STR(logged.metric, "x");
        CHECK(strstr(logged.sentence, "no series of this metric") != NULL);
    }
}

TEST_ON_REDIS(r, values_that_are_no_numbers_are_left_out) {
    static const char *const bad[] = {"", "one", "1 2", "0x10", "1e", "--1", ".", "-5", "nan"};
    COUNTER(r, .name = "x", .required_labels = {"a"});
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char field[32];
        snprintf(field, sizeof field, "{\"a\": \"%lu\"}", (unsigned long)i);
        (void)ASK("HSET", "x", field, bad[i]);
    }
    CHECK_REDIS_PAGE(r, "# TYPE x counter\n");
    CHECK_INT(logged.num, 1);
}

TEST_ON_REDIS(r, numbers_in_any_spelling) {
    static const struct {
        const char *text;
        double value;
    } numbers[] = {{"3", 3},
                   {"3.0", 3},
                   {"0.30000000000000001", 0.3},
                   {"9999.99999999999871392", 9999.9999999999987},
                   {"1e+16", 1e16},
                   {"-2.5E-3", -0.0025},
                   {"9007199254740993", 9007199254740992.0},
                   {"123456789012345678901234567890", 123456789012345678901234567890.0},
                   {"1e300", 1e300},
                   {"0.1", 0.1},
                   {"inf", (double)INFINITY},
                   {"-inf", -(double)INFINITY},
                   {"nan", (double)NAN},
                   {"1.5e-99999999999999999999", 0},
                   {"1.5e99999999999999999999", (double)INFINITY},
                   {"+Inf", (double)INFINITY}};
    GAUGE(r, .name = "x");
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char *page, *line;
        (void)ASK("SET", "x", numbers[i].text);
        page = pytheus_generate(r, PYTHEUS_TEXT, NULL);
        line = page ? strstr(page, "\nx ") : NULL;
        if (CHECK(line != NULL))
            CHECK_DOUBLE(strtod(line + 3, NULL), numbers[i].value);
        pytheus_free(page);
    }
}

/* A page that readers take, whatever others have written. */
TEST_ON_REDIS(r, counts_of_observations_are_whole) {
    static const char *const keys[] = {"h:sum", "h:count", "h:1", "h:+Inf", "s:sum", "s:count"};
    static const char *const numbers[] = {"1.5", "1e400", "-1",     "nan",
                                          "inf", "7",     "1e-400", "1e19"};
    HISTOGRAM(r, .name = "h", .required_labels = {"a"}, .buckets = (const double[]){1},
              .num_buckets = 1);
    SUMMARY(r, .name = "s", .required_labels = {"a"});
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        char field[32];
        snprintf(field, sizeof field, "{\"a\": \"%lu\"}", (unsigned long)i);
        for (size_t k = 0; k < COUNT_OF(keys); k++)
            (void)ASK("HSET", keys[k], field, numbers[i]);
    }
    for (int i = 0; i < 2; i++) {
        char *page = pytheus_generate(r, i ? PYTHEUS_OPENMETRICS : PYTHEUS_TEXT, NULL), error[256];
        reader_doc doc;
        if (CHECK(page != NULL) && CHECK(reader_parse_as(i ? READER_OPENMETRICS : READER_TEXT, page,
                                                         strlen(page), &doc, error)))
            reader_free(&doc);
        pytheus_free(page);
    }
    CHECK_LINE(r, "h_bucket{a=\"5\",le=\"+Inf\"} 7");
}

TEST_ON_REDIS(r, a_gauge_in_several_spellings_is_added_up) {
    GAUGE(r, .name = "g", .required_labels = {"a", "b"});
    (void)ASK("HSET", "g", "{\"a\": \"1\", \"b\": \"2\"}", "5", "{\"b\": \"2\", \"a\": \"1\"}",
              "7");
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng{a=\"1\",b=\"2\"} 12\n");
}

/* Removed, and defined again otherwise. */
TEST_ON_REDIS(r, a_metric_in_another_shape_takes_the_place_of_the_old_one) {
    pytheus_gauge g = GAUGE(r, .name = "g", .help = "Old.");
    pytheus_gauge_set(g, 1);
    FLUSH(r);
    CHECK_ERR(pytheus_registry_remove(r, g.view), PYTHEUS_OK);
    g = GAUGE(r, .name = "g", .help = "New.", .expire_seconds = 5);
    pytheus_gauge_set(g, 2);
    CHECK_REDIS_PAGE(r, "# HELP g New.\n# TYPE g gauge\ng 2\n");
    CHECK(strtol(ASK("TTL", "g"), NULL, 10) <= 5);
    CHECK_ERR(pytheus_registry_remove(r, g.view), PYTHEUS_OK);
    g = GAUGE(r, .name = "g", .help = "Old.");
    pytheus_gauge_set(g, 3);
    CHECK_REDIS_PAGE(r, "# HELP g Old.\n# TYPE g gauge\ng 3\n");
    CHECK_STR(ASK("TTL", "g"), "3600");
}

TEST_ON_REDIS(r, a_plain_set_lasts_as_long_as_the_metric_says) {
    pytheus_gauge g = GAUGE(r, .name = "g", .expire_seconds = 10);
    CHECK_ERR(pytheus_redis_gauge_set_for(g, 1, 3600), PYTHEUS_OK);
    FLUSH(r);
    CHECK(strtol(ASK("TTL", "g"), NULL, 10) > 3500);
    pytheus_gauge_inc(g); /* still the one that was set */
    FLUSH(r);
    CHECK(strtol(ASK("TTL", "g"), NULL, 10) > 3500);
    pytheus_gauge_set(g, 2);
    FLUSH(r);
    CHECK(strtol(ASK("TTL", "g"), NULL, 10) <= 10);
}

TEST(gauges_of_a_process_last_longer_than_its_pauses) {
    NEED_REDIS();
    for (int i = 0; i < 2; i++) {
        pytheus_registry *r =
            redis_registry(&(pytheus_redis_desc){.flush_interval_ms = i ? 65000 : 1000});
        pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), 5);
        FLUSH(r);
        CHECK_STR(ASK("TTL", i ? "pytheus:process:2" : "pytheus:process:1"), i ? "195" : "60");
        pytheus_registry_free(r);
    }
}

/* -- time: much longer would be a search through all -- */

static bool is_fast(double began, double most) {
    return redis_seconds() - began < most * (IS_SANITIZED ? 20 : 1);
}

TEST_ON_REDIS(r, a_series_is_made_quickly_beside_many_that_are_gone) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"}, .max_series = 100000);
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"}, .max_series = 10000);
    char a[16];
    pytheus_view_remove(pytheus_counter_labels(c, "a", "x").view);
    for (int i = 0; i < 20000; i++) {
        snprintf(a, sizeof a, "%d", i);
        pytheus_counter_labels(c, "a", a);
    }
    for (int i = 0; i < 20 && pytheus_flush(r); i++) {
    }
    pytheus_view_clear(c.view);
    for (int i = 0; i < 20 && pytheus_flush(r); i++) {
    }
    double began = redis_seconds();
    for (int i = 0; i < 2000; i++) {
        snprintf(a, sizeof a, "%d", i);
        pytheus_histogram_labels(h, "a", a);
    }
    CHECK(is_fast(began, 0.1));
}

TEST(many_gauges_of_many_processes_are_read_quickly) {
    enum { GAUGES = 1000, PROCESSES = 50 };
    static char fields[GAUGES][32];
    const char *words[2 + 2 * GAUGES] = {"HSET"};
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.command_timeout_ms = 20000});
    for (int i = 0; i < GAUGES; i++) {
        snprintf(fields[i], sizeof fields[i], "g%d", i);
        GAUGE(r, .name = fields[i], .across = PYTHEUS_SUM);
        snprintf(fields[i], sizeof fields[i], "g%d {}", i);
        words[2 + 2 * i] = fields[i];
        words[3 + 2 * i] = "1 1";
    }
    for (int i = 0; i < PROCESSES; i++) {
        char key[32];
        words[1] = key;
        snprintf(key, sizeof key, "pytheus:process:%d", 1000 + i);
        (void)redis_ask_argv(words, COUNT_OF(words));
        (void)ASK("SADD", "pytheus:processes", key + strlen("pytheus:process:"));
    }
    CHECK_LINE(r, "g999 50");
    double began = redis_seconds();
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    CHECK(is_fast(began, 0.3));
    pytheus_registry_free(r);
}

TEST_ON_REDIS(r, a_key_of_another_type_costs_no_page) {
    pytheus_counter bad = COUNTER(r, .name = "bad");
    pytheus_counter good = COUNTER(r, .name = "good", .required_labels = {"a"});
    (void)ASK("LPUSH", "bad", "1");
    pytheus_counter_inc(bad);
    pytheus_counter_inc(pytheus_counter_labels(good, "a", "1"));
    CHECK_REDIS_PAGE(r, "# TYPE bad counter\nbad 0\n# TYPE good counter\ngood{a=\"1\"} 1\n");
    CHECK(strstr(logged.sentence, "WRONGTYPE") != NULL);
    (void)ASK("DEL", "bad");
    CHECK_VALUE(bad, 1);
}

TEST_ON_REDIS(r, a_flush_tells_what_redis_refused) {
    pytheus_counter bad = COUNTER(r, .name = "bad");
    (void)ASK("LPUSH", "bad", "1");
    pytheus_counter_inc(bad);
    FLUSH(r);
    CHECK_STR(logged.metric, "bad");
    CHECK(strstr(logged.sentence, "WRONGTYPE") != NULL);
}

TEST_ON_REDIS(r, what_redis_lost_is_0_on_the_page) {
    pytheus_counter c = COUNTER(r, .name = "a");
    pytheus_counter l = COUNTER(r, .name = "b", .required_labels = {"x"});
    pytheus_counter_add(c, 5);
    pytheus_counter_add(pytheus_counter_labels(l, "x", "1"), 5);
    FLUSH(r);
    (void)ASK("FLUSHALL");
    CHECK_REDIS_PAGE(r, "# TYPE a counter\na 0\n# TYPE b counter\nb{x=\"1\"} 0\n");
    pytheus_counter_inc(c);
    CHECK_REDIS_PAGE(r, "# TYPE a counter\na 1\n# TYPE b counter\nb{x=\"1\"} 0\n");
}

/* -- two of them -- */

TEST(two_processes_write_the_same_page) {
    NEED_REDIS();
    pytheus_registry *rs[2] = {redis_registry(NULL), redis_registry(NULL)};
    for (int i = 0; i < 2; i++) {
        pytheus_counter c = COUNTER(rs[i], .name = "c", .required_labels = {"by"});
        pytheus_histogram h = HISTOGRAM(rs[i], .name = "h");
        pytheus_gauge g = GAUGE(rs[i], .name = "g");
        pytheus_counter_inc(pytheus_counter_labels(c, "by", i ? "second" : "first"));
        pytheus_counter_inc(pytheus_counter_labels(c, "by", "both"));
        pytheus_histogram_observe(h, 0.3);
        pytheus_gauge_inc(g);
        FLUSH(rs[i]);
    }
    for (int i = 0; i < 2; i++) {
        char *page = redis_page(rs[i]);
        CHECK(page && strstr(page, "c{by=\"first\"} 1\n") && strstr(page, "c{by=\"second\"} 1\n"));
        CHECK(page && strstr(page, "c{by=\"both\"} 2\n") && strstr(page, "h_count 2\n"));
        CHECK(page && strstr(page, "h_sum 0.6\n") && strstr(page, "\ng 2\n"));
        pytheus_free(page);
    }
    pytheus_registry_free(rs[0]);
    pytheus_registry_free(rs[1]);
}

TEST(a_registry_prefix_is_not_in_the_keys) {
    NEED_REDIS();
    pytheus_backend backend;
    CHECK_ERR(
        pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = redis_socket}, &backend),
        PYTHEUS_OK);
    pytheus_registry *r =
        pytheus_registry_new(&(pytheus_registry_desc){.prefix = "app", .backend = &backend});
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    CHECK_REDIS_PAGE(r, "# TYPE app_c counter\napp_c 1\n");
    CHECK_STR(ASK("GET", "c"), "1");
    pytheus_registry_free(r);
}

/* -- gauges -- */

TEST(the_last_set_of_a_shared_gauge_wins_and_increments_add) {
    NEED_REDIS();
    pytheus_registry *a = redis_registry(NULL), *b = redis_registry(NULL);
    pytheus_gauge ga = GAUGE(a, .name = "g"), gb = GAUGE(b, .name = "g");
    pytheus_gauge_set(ga, 5);
    FLUSH(a);
    pytheus_gauge_inc(gb);
    FLUSH(b);
    CHECK_STR(ASK("GET", "g"), "6");
    pytheus_gauge_set(gb, 21.5);
    FLUSH(b);
    CHECK_STR(ASK("GET", "g"), "21.5");
    pytheus_gauge_sub(ga, 0.5);
    FLUSH(a);
    CHECK_STR(ASK("GET", "g"), "21");
    pytheus_gauge_set(ga, 4.5); /* what it was here already: a set all the same */
    FLUSH(a);
    CHECK_STR(ASK("GET", "g"), "4.5");
    FLUSH(b);
    CHECK_STR(ASK("GET", "g"), "4.5");
    pytheus_registry_free(a);
    pytheus_registry_free(b);
}

TEST_ON_REDIS(r, gauges_that_are_no_numbers) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_gauge_set(g, (double)INFINITY);
    FLUSH(r);
    CHECK_STR(ASK("GET", "g"), "inf");
    pytheus_gauge_set(g, (double)NAN);
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng NaN\n");
    CHECK_STR(ASK("GET", "g"), "nan");
    pytheus_gauge_set(g, 2);
    pytheus_gauge_inc(g);
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng 3\n");
    CHECK_INT(logged.num, 0);
}

TEST(a_set_counter_takes_the_place_of_what_was_there) {
    NEED_REDIS();
    pytheus_registry *a = redis_registry(NULL), *b = redis_registry(NULL);
    pytheus_counter ca = COUNTER(a, .name = "c"), cb = COUNTER(b, .name = "c");
    pytheus_counter_set(ca, 1000);
    FLUSH(a);
    pytheus_counter_inc(cb);
    FLUSH(b);
    CHECK_STR(ASK("GET", "c"), "1001");
    pytheus_counter_set(cb, 1234);
    pytheus_counter_add(cb, 0.5);
    FLUSH(b);
    CHECK_STR(ASK("GET", "c"), "1234.5");
    pytheus_registry_free(a);
    pytheus_registry_free(b);
}

static void across_of(pytheus_across across, const char *expected) {
    pytheus_registry *a, *b;
    (void)ASK("FLUSHALL");
    a = redis_registry(NULL);
    b = redis_registry(NULL);
    pytheus_gauge ga = GAUGE(a, .name = "g", .across = across, .required_labels = {"x"});
    pytheus_gauge gb = GAUGE(b, .name = "g", .across = across, .required_labels = {"x"});
    pytheus_gauge_set(pytheus_gauge_labels(gb, "x", "1"), 2);
    redis_sleep_ms(2);
    pytheus_gauge_set(pytheus_gauge_labels(ga, "x", "1"), 5);
    FLUSH(a);
    FLUSH(b);
    CHECK_REDIS_PAGE(a, expected);
    CHECK_REDIS_PAGE(b, expected);
    pytheus_registry_free(a);
    CHECK_REDIS_PAGE(b, across == PYTHEUS_PER_PROCESS
                            ? "# TYPE g gauge\ng{x=\"1\",gauge_index=\"2\"} 2\n"
                            : "# TYPE g gauge\ng{x=\"1\"} 2\n");
    pytheus_registry_free(b);
    CHECK_STR(ASK("KEYS", "*"), "pytheus:gauge_index\n");
}

TEST(gauges_across_processes) {
    NEED_REDIS();
    across_of(PYTHEUS_SUM, "# TYPE g gauge\ng{x=\"1\"} 7\n");
    across_of(PYTHEUS_MIN, "# TYPE g gauge\ng{x=\"1\"} 2\n");
    across_of(PYTHEUS_MAX, "# TYPE g gauge\ng{x=\"1\"} 5\n");
    across_of(PYTHEUS_MOST_RECENT, "# TYPE g gauge\ng{x=\"1\"} 5\n");
    across_of(PYTHEUS_PER_PROCESS, "# TYPE g gauge\ng{x=\"1\",gauge_index=\"1\"} 5\n"
                                   "g{x=\"1\",gauge_index=\"2\"} 2\n");
}

TEST(gauges_of_a_process_alone_are_sent_by_its_thread) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.flush_interval_ms = 10});
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), 2);
    for (int i = 0; i < 500 && strcmp(ASK("EXISTS", "pytheus:process:1"), "1"); i++)
        redis_sleep_ms(10);
    CHECK_STR(ASK("HKEYS", "pytheus:process:1"), "g {}\n");
    pytheus_registry_free(r);
}

TEST_ON_REDIS(r, gauges_of_a_process_that_is_gone_go_too) {
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    pytheus_gauge_set(g, 2);
    FLUSH(r);
    CHECK_STR(ASK("TTL", "pytheus:process:1"), "10800"); /* three of its long pauses */
    (void)ASK("SADD", "pytheus:processes", "99");
    (void)ASK("HSET", "pytheus:process:99", "g {}", "40 1700000000");
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng 42\n");
    (void)ASK("DEL", "pytheus:process:99");
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng 2\n");
    CHECK_STR(ASK("SMEMBERS", "pytheus:processes"), "1\n");
}

TEST_ON_REDIS(r, a_gauge_that_expires_goes_away) {
    pytheus_gauge plain = GAUGE(r, .name = "plain", .expire_seconds = 0.3);
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"x"}, .expire_seconds = 0.3);
    pytheus_gauge_set(plain, 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "x", "1"), 1);
    CHECK_ERR(pytheus_redis_gauge_set_for(pytheus_gauge_labels(g, "x", "2"), 2, 60), PYTHEUS_OK);
    CHECK_REDIS_PAGE(r, "# TYPE plain gauge\nplain 1\n"
                        "# TYPE g gauge\ng{x=\"1\"} 1\ng{x=\"2\"} 2\n");
    redis_sleep_ms(400);
    CHECK_REDIS_PAGE(r, "# TYPE plain gauge\n# TYPE g gauge\ng{x=\"2\"} 2\n");
    pytheus_gauge_set(plain, 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "x", "1"), 1);
    CHECK_REDIS_PAGE(r, "# TYPE plain gauge\nplain 1\n"
                        "# TYPE g gauge\ng{x=\"1\"} 1\ng{x=\"2\"} 2\n");
    CHECK_STR(ASK("HKEYS", "g"), "{\"x\": \"2\"}\n{\"x\": \"1\"}\n");
}

TEST_ON_REDIS(r, infos_and_states_stay_and_unknowns_are_shared) {
    pytheus_info i = pytheus_info_new(
        &(pytheus_desc){.registry = r, .name = "build", .required_labels = {"version"}});
    CHECK(pytheus_view_observable(pytheus_info_labels(i, "version", "1.2").view));
    pytheus_stateset s = pytheus_stateset_new(
        &(pytheus_desc){.registry = r, .name = "phase", .states = {"on", "off"}});
    CHECK_ERR(pytheus_stateset_set(s, "on", true), PYTHEUS_OK);
    pytheus_unknown u = pytheus_unknown_new(&(pytheus_desc){.registry = r, .name = "u"});
    CHECK_ERR(pytheus_unknown_set(u, -4), PYTHEUS_OK);
    CHECK_REDIS_PAGE(r, "# TYPE build_info gauge\nbuild_info{version=\"1.2\"} 1\n"
                        "# TYPE phase gauge\nphase{phase=\"on\"} 1\nphase{phase=\"off\"} 0\n"
                        "# TYPE u untyped\nu -4\n");
    CHECK_STR(ASK("GET", "u"), "-4");
    CHECK_STR(ASK("EXISTS", "build", "phase", "build_info"), "0");
    CHECK_INT(logged.num, 0);
}

/* -- removal -- */

TEST_ON_REDIS(r, a_removed_series_leaves_every_key) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"x"});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    pytheus_histogram_observe(pytheus_histogram_labels(h, "x", "1"), 1);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "x", "2"), 1);
    pytheus_counter_inc(pytheus_counter_labels(c, "x", "1"));
    FLUSH(r);
    CHECK_STR(ASK("HLEN", "h:0.5"), "2");
    pytheus_view_remove(pytheus_histogram_labels(h, "x", "1").view);
    pytheus_view_clear(c.view);
    pytheus_counter_add(pytheus_counter_labels(c, "x", "1"), 7); /* made again at once */
    FLUSH(r);
    CHECK_STR(ASK("HKEYS", "h:sum"), "{\"x\": \"2\"}\n");
    CHECK_STR(ASK("HKEYS", "h:count"), "{\"x\": \"2\"}\n");
    CHECK_STR(ASK("HKEYS", "h:+Inf"), "{\"x\": \"2\"}\n");
    CHECK_STR(ASK("HLEN", "h:0.5"), "1");
    CHECK_STR(ASK("HGETALL", "c"), "{\"x\": \"1\"}\n7\n");
    pytheus_view_clear(h.view);
    FLUSH(r);
    CHECK_STR(ASK("EXISTS", "h:sum"), "0");
}

TEST_ON_REDIS(r, a_series_from_the_start_is_set_to_0_for_all) {
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_counter_inc(c);
    pytheus_histogram_observe(h, 1);
    FLUSH(r);
    (void)ASK("INCRBY", "c", "10");
    pytheus_view_remove(c.view);
    pytheus_view_remove(h.view);
    pytheus_histogram_observe(h, 2);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "0");
    CHECK_STR(ASK("GET", "h:sum"), "2");
    CHECK_STR(ASK("GET", "h:count"), "1");
    CHECK_STR(ASK("GET", "h:1"), "0");
}

TEST_ON_REDIS(r, churn_does_not_grow_anything) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    for (int i = 0; i < 2000; i++) {
        char x[16];
        snprintf(x, sizeof x, "%d", i);
        pytheus_counter_inc(pytheus_counter_labels(c, "x", x));
        if (i % 50 == 49) {
            FLUSH(r);
            pytheus_view_clear(c.view);
        }
    }
    CHECK_REDIS_PAGE(r, "# TYPE c counter\n");
    CHECK_STR(ASK("EXISTS", "c"), "0");
}

/* -- expiry -- */

TEST_ON_REDIS(r, flushes_and_pages_keep_the_keys) {
    pytheus_counter c = COUNTER(r, .name = "c");
    SUMMARY(r, .name = "s", .required_labels = {"x"});
    (void)ASK("HSET", "s:sum", "{\"x\": \"1\"}", "1");
    FLUSH(r);
    (void)ASK("EXPIRE", "c", "10");
    (void)ASK("EXPIRE", "s:sum", "10");
    pytheus_counter_inc(c);
    FLUSH(r);
    CHECK_STR(ASK("TTL", "c"), "3600");
    CHECK_STR(ASK("TTL", "s:sum"), "10");
    (void)ASK("EXPIRE", "c", "10");
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    CHECK_STR(ASK("TTL", "c"), "3600");
    CHECK_STR(ASK("TTL", "s:sum"), "3600");
}

TEST(keys_expire_when_they_are_told_to) {
    static const int seconds[] = {300, -1};
    NEED_REDIS();
    for (size_t i = 0; i < COUNT_OF(seconds); i++) {
        pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.expire_key_time = seconds[i]});
        (void)ASK("FLUSHALL");
        pytheus_counter_inc(COUNTER(r, .name = "c"));
        FLUSH(r);
        CHECK_STR(ASK("TTL", "c"), i ? "-1" : "300");
        pytheus_registry_free(r);
    }
}

/* -- what increments do to numbers -- */

TEST_ON_REDIS(r, sums_do_not_drift) {
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_summary s = SUMMARY(r, .name = "s"), tiny = SUMMARY(r, .name = "tiny");
    double sum = 0;
    for (int i = 0; i < 2000; i++) {
        pytheus_counter_add(c, 0.1);
        pytheus_summary_observe(s, 1e15);
        pytheus_summary_observe(tiny, 1.25e-18); /* below what Redis keeps, until it adds up */
        sum += 0.1;
        if (i % 10 == 0)
            FLUSH(r);
    }
    FLUSH(r);
    double seen = strtod(ASK("GET", "c"), NULL);
    CHECK(seen - sum < 1e-12 && sum - seen < 1e-12);
    CHECK_STR(ASK("GET", "s:sum"), "2000000000000000000");
    double smallest = strtod(ASK("GET", "tiny:sum"), NULL);
    CHECK(smallest > 2.49e-15 && smallest < 2.51e-15);
}

TEST_ON_REDIS(r, large_counts_are_whole) {
    pytheus_counter c = COUNTER(r, .name = "c");
    (void)ASK("SET", "c", "9007199254740992");
    for (int i = 0; i < 3; i++) {
        pytheus_counter_inc(c);
        FLUSH(r);
    }
    CHECK_STR(ASK("GET", "c"), "9007199254740995");
}

TEST_ON_REDIS(r, infinite_observations) {
    pytheus_summary s = SUMMARY(r, .name = "s");
    pytheus_summary_observe(s, (double)INFINITY);
    pytheus_summary_observe(s, 1);
    CHECK_REDIS_PAGE(r, "# TYPE s summary\ns_sum +Inf\ns_count 2\n");
    pytheus_summary_observe(s, 1);
    CHECK_REDIS_PAGE(r, "# TYPE s summary\ns_sum +Inf\ns_count 3\n");
    CHECK_INT(logged.num, 0);
}

/* -- what the backend says of itself -- */

TEST_ON_REDIS(r, the_page_tells_how_redis_is) {
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    char *page = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    CHECK(page && strstr(page, "\npytheus_redis_up 1\n"));
    CHECK(page && strstr(page, "\npytheus_redis_flush_errors_total 0\n"));
    const char *last = page ? strstr(page, "\npytheus_redis_last_flush_timestamp_seconds ") : NULL;
    CHECK(last && strtod(strrchr(last, ' '), NULL) > 1.7e9);
    pytheus_free(page);
}

/* -- configuration -- */

static pytheus_err refused(pytheus_redis_desc desc, const char *sentence) {
    pytheus_backend backend;
    pytheus_err err = pytheus_redis_backend(&desc, &backend);
    CHECK_STR(pytheus_last_error(), sentence);
    if (!err)
        backend.destroy(backend.user);
    return err;
}

TEST(bad_descriptions_are_refused) {
    CHECK_ERR(refused((pytheus_redis_desc){.url = "nowhere"}, "redis: the url has no ://"),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "http://x"},
                      "redis: the url begins with none of redis://, rediss:// and unix://"),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "redis://x:port"},
                      "redis: the url has no port behind the : (and / in a password is %2F)"),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "redis://x/one"},
                      "redis: the url has no number of a database behind the server"),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.layout = "rows"}, "redis: no such layout: \"rows\""),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.username = "ann"},
                      "redis: no password for the user: \"ann\""),
              PYTHEUS_ERR_CONFIG);
}

TEST(tls_is_for_programs_that_have_it) {
    static const char none[] = "redis: this program has no TLS: define PYTHEUS_REDIS_TLS before "
                               "pytheus_redis.h, and link with -lssl -lcrypto";
    static const char others[] = "redis: tls_ca, tls_certificate, tls_key and tls_server_name are "
                                 "for tls or a url of rediss://";
    CHECK_ERR(refused((pytheus_redis_desc){.url = "rediss://x"}, none), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.host = "x", .tls = true}, none), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "redis://x", .tls_ca = "ca"}, others),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.tls_server_name = "x"}, others), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "unix:///x", .tls = true},
                      "redis: no TLS over a unix socket: \"/x\""),
              PYTHEUS_ERR_CONFIG);
    CHECK_ERR(refused((pytheus_redis_desc){.url = "rediss://x", .tls_key = "key"},
                      "redis: no tls_certificate for the tls_key: \"key\""),
              PYTHEUS_ERR_CONFIG);
}

static void url_works(const char *format, ...) {
    char url[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(url, sizeof url, format, arguments);
    va_end(arguments);
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.url = url});
    if (CHECK(r != NULL)) {
        pytheus_counter_inc(COUNTER(r, .name = "c"));
        CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
        CHECK_INT(logged.num, 0);
    }
    pytheus_registry_free(r);
}

TEST(urls) {
    NEED_REDIS();
    (void)ASK("ACL", "SETUSER", "ann", "on", ">p@ss:w/rd", "~*", "+@all");
    url_works("unix://%s", redis_socket);
    url_works("unix://%s?db=3", redis_socket);
    url_works("redis://127.0.0.1:%d", redis_port);
    url_works("redis://ann:p%%40ss%%3Aw%%2frd@127.0.0.1:%d/3", redis_port);
    url_works("unix://ann:p%%40ss%%3Aw%%2Frd@%s?db=3", redis_socket);
    url_works("redis://ann:p@ss:w%%2frd@127.0.0.1:%d/3", redis_port);
    url_works("unix://%s?db=3&username=ann&password=p%%40ss:w%%2frd", redis_socket);
    url_works("redis://127.0.0.1:%d?password=p@ss:w/rd&username=ann&db=3", redis_port);
    CHECK_STR(ASK("GET", "c"), "2");
    (void)ASK("SELECT", "3");
    CHECK_STR(ASK("GET", "c"), "6");
    (void)ASK("SELECT", "0");
    (void)ASK("ACL", "DELUSER", "ann");
}

/* Nothing of a url is told: the password may be anywhere in it. */
TEST(bad_urls_are_refused_without_their_passwords) {
    static const char *const urls[] = {"redis:app:hunter2@db",
                                       "redis://app:abc/hunter2@db:6379/0",
                                       "redis://:hunter2@db:port",
                                       "redis://db:6379/0?secret=hunter2",
                                       "unix:///x?secret=hunter2",
                                       "hunter2://db",
                                       "redis://db/hunter2",
                                       "redis://db/0?db=hunter2",
                                       "redis://app:hunter2%00more@db",
                                       "redis://db/0?username=app&password=hunter2%00"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        pytheus_backend backend;
        CHECK_ERR(pytheus_redis_backend(&(pytheus_redis_desc){.url = urls[i]}, &backend),
                  PYTHEUS_ERR_CONFIG);
        CHECK(strstr(pytheus_last_error(), "hunter2") == NULL);
        CHECK(strstr(pytheus_last_error(), "redis: the url ") != NULL);
    }
}

TEST(a_bad_port_is_told) {
    CHECK_ERR(
        refused((pytheus_redis_desc){.port = 70000}, "redis: port is a number from 1 to 65535"),
        PYTHEUS_ERR_CONFIG);
}

TEST(a_wrong_password_is_refused_at_once) {
    NEED_REDIS();
    char url[256], sentence[256];
    snprintf(url, sizeof url, "unix://ann:wrong@%s", redis_socket);
    snprintf(sentence, sizeof sentence,
             "redis: %s: WRONGPASS invalid username-password pair or user is disabled.",
             redis_socket);
    CHECK_ERR(refused((pytheus_redis_desc){.url = url}, sentence), PYTHEUS_ERR_CONFIG);
}

TEST(backends_by_name) {
    char config[512];
    NEED_REDIS();
    snprintf(config, sizeof config,
             "{\"unix_socket_path\": \"%s\", \"expire_key_time\": 0, \"key_prefix\": \"p\"}",
             redis_socket);
    CHECK_ERR(pytheus_load_backend("pytheus.backends.redis.MultiProcessRedisBackend", config),
              PYTHEUS_OK);
    CHECK_STR(pytheus_registry_backend(NULL), "redis");
    pytheus_counter_inc(pytheus_counter_new(&(pytheus_desc){.name = "c"}));
    CHECK_ERR(pytheus_flush(NULL), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "p-c"), "1");
    CHECK_STR(ASK("TTL", "p-c"), "-1");
    CHECK_ERR(pytheus_load_backend("redis", "{\"hots\": \"x\"}"), PYTHEUS_ERR_CONFIG);
    CHECK_STR(pytheus_last_error(), "redis: no key \"hots\" (nearest: \"host\")");
    CHECK_ERR(pytheus_load_backend("redis", "{\"port\": 1.5}"), PYTHEUS_ERR_CONFIG);
    CHECK_STR(pytheus_last_error(), "redis: \"port\" is a whole number from 0 up");
    CHECK_ERR(pytheus_load_backend("redis", "{\"port\": \"1\"}"), PYTHEUS_ERR_CONFIG);
    pytheus_registry_free(pytheus_default());
}

TEST(a_cluster_is_refused) {
    NEED_REDIS();
    redis_end(false);
    if (CHECK(redis_launch("--cluster-enabled", "yes"))) {
        char sentence[256];
        snprintf(sentence, sizeof sentence,
                 "redis: %s: is a Redis Cluster, where the keys of a metric are not in one place: "
                 "use one that is none",
                 redis_socket);
        CHECK_ERR(refused((pytheus_redis_desc){.unix_socket_path = redis_socket}, sentence),
                  PYTHEUS_ERR_CONFIG);
    }
    redis_end(false);
}

/* -- write-through -- */

TEST(each_operation_is_in_redis_when_it_returns) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.write_through = true});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    pytheus_counter one = pytheus_counter_labels(c, "x", "1");
    CHECK_ERR(pytheus_counter_inc(one), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add(one, 2.5), PYTHEUS_OK);
    CHECK_STR(ASK("HGETALL", "c"), "{\"x\": \"1\"}\n3.5\n");
    CHECK_STR(ASK("TTL", "c"), "3600");
    (void)ASK("HINCRBYFLOAT", "c", "{\"x\": \"1\"}", "1");
    CHECK_VALUE(one, 4.5);
    CHECK_ERR(pytheus_counter_set(one, 1), PYTHEUS_OK);
    CHECK_STR(ASK("HGETALL", "c"), "{\"x\": \"1\"}\n1\n");
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_gauge_set(g, 5), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_dec(g), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "g"), "4");
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2);
    CHECK_ERR(pytheus_histogram_observe(h, 1.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 0.5), PYTHEUS_OK);
    CHECK_STR(ASK("MGET", "h:1", "h:2", "h:+Inf", "h:count", "h:sum"), "1\n2\n2\n2\n2\n");
    CHECK_SAMPLE(r, "h_count", 2);
    CHECK_LABELLED(r, "h_bucket", 2, "le", "2");
    pytheus_summary s = SUMMARY(r, .name = "s");
    CHECK_ERR(pytheus_summary_observe(s, 0.25), PYTHEUS_OK);
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc{x=\"1\"} 1\n# TYPE g gauge\ng 4\n"
                        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\n"
                        "h_bucket{le=\"+Inf\"} 2\nh_sum 2\nh_count 2\n"
                        "# TYPE s summary\ns_sum 0.25\ns_count 1\n");
    pytheus_view_remove(one.view);
    CHECK_STR(ASK("EXISTS", "c"), "0");
    pytheus_view_remove(h.view);
    CHECK_STR(ASK("MGET", "h:1", "h:2", "h:+Inf", "h:count", "h:sum"), "0\n0\n0\n0\n0\n");
    pytheus_registry_free(r);
}

TEST(errors_of_operations_go_to_who_called_them) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.write_through = true});
    pytheus_counter c = COUNTER(r, .name = "c");
    (void)ASK("LPUSH", "c", "x");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_BACKEND);
    CHECK_STR(pytheus_last_error(), "redis: c: WRONGTYPE Operation against a key holding the wrong "
                                    "kind of value");
    (void)ASK("DEL", "c");
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    redis_end(true);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_BACKEND);
    double value;
    CHECK_ERR(pytheus_view_get(c.view, &value), PYTHEUS_ERR_BACKEND);
    CHECK(redis_launch(NULL, NULL));
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "c"), "2");
    pytheus_registry_free(r);
    CHECK_NOTHING(pytheus_gauge_new(&(pytheus_desc){.name = ""}));
}
