/* The layout of Python's prometheus_redis_client: its own tests of keys, values and texts, byte by
   byte; what it wrote, read; what it can't hold, refused; gauges of each process, expiry, removal,
   faults; configuration. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "redis.h"

#define CLIENT .layout = "prometheus_redis_client"

#define TEST_IN_LAYOUT(r, name)                                                                    \
    static void in_layout_##name(pytheus_registry *r);                                             \
    TEST(name) {                                                                                   \
        NEED_REDIS();                                                                              \
        pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT});                       \
        if (r)                                                                                     \
            in_layout_##name(r);                                                                   \
        pytheus_registry_free(r);                                                                  \
    }                                                                                              \
    static void in_layout_##name(pytheus_registry *r)

#ifdef UNDER_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "die_after_fork=0"; /* a child starts a thread */
}
#endif

/* name:base64(json). Four may be in use at once. */
static const char *key_of(const char *name, const char *json) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static char keys[4][512];
    static int next;
    char *key = keys[next++ % 4], *at = key + sprintf(key, "%s:", name);
    size_t bits = 8 * strlen(json);
    for (size_t bit = 0; bit < bits; bit += 6) {
        unsigned digit = 0;
        for (size_t i = bit; i < bit + 6; i++) {
            digit = 2 * digit + (i < bits && ((unsigned char)json[i / 8] >> (7 - i % 8) & 1));
        }
        *at++ = digits[digit];
    }
    for (; (at - key - (long)strlen(name) - 1) % 4; at++)
        *at = '=';
    *at = '\0';
    return key;
}
#define KEY(name, json) key_of(name, json)

/* What the library has after SADD group key. */
static void others_set(const char *group, const char *key, const char *value) {
    (void)ASK("SADD", group, key);
    (void)ASK("SET", key, value);
}

/* The members of a set are all these, in whatever order. */
static void check_members(const char *group, const char *const *keys, size_t n) {
    char count[16];
    snprintf(count, sizeof count, "%lu", (unsigned long)n);
    CHECK_STR(ASK("SCARD", group), count);
    for (size_t i = 0; i < n; i++)
        if (!CHECK(!strcmp(ASK("SISMEMBER", group, keys[i]), "1")))
            printf("    %s has no %s\n", group, keys[i]);
}
#define CHECK_MEMBERS(group, ...)                                                                  \
    check_members(group, (const char *const[]){__VA_ARGS__},                                       \
                  COUNT_OF(((const char *const[]){__VA_ARGS__})))

static double number_at(const char *key) {
    return strtod(ASK("GET", key), NULL);
}

/* -- transcribed: counters -- */

#define HOST_URL "eyJob3N0IjogIjEyMy4xMjMuMTIzLjEyMyIsICJ1cmwiOiAiL2hvbWUvIn0="
#define LABELS "host", "123.123.123.123", "url", "/home/"

TEST_IN_LAYOUT(r, counter_without_labels) {
    pytheus_counter c = COUNTER(r, .name = "test_counter1", .help = "Counter documentation");
    pytheus_counter_inc(c);
    FLUSH(r);
    CHECK_STR(ASK("SMEMBERS", "test_counter1_group"), "test_counter1:e30=\n");
    CHECK_STR(ASK("GET", "test_counter1:e30="), "1");
    pytheus_counter_add(c, 3);
    FLUSH(r);
    CHECK_STR(ASK("GET", "test_counter1:e30="), "4");
    CHECK_REDIS_PAGE(r, "# HELP test_counter1 Counter documentation\n"
                        "# TYPE test_counter1 counter\n"
                        "test_counter1 4\n");
}

TEST_IN_LAYOUT(r, counter_with_labels) {
    pytheus_counter c = COUNTER(r, .name = "test_counter2", .required_labels = {"host", "url"});
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "host", "123.123.123.123")),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_counter_add(pytheus_counter_labels(c, LABELS), 2);
    FLUSH(r);
    CHECK_STR(ASK("SMEMBERS", "test_counter2_group"), "test_counter2:" HOST_URL "\n");
    CHECK_STR(ASK("GET", "test_counter2:" HOST_URL), "2");
    pytheus_counter_add(pytheus_counter_labels(c, LABELS), 3);
    FLUSH(r);
    CHECK_STR(ASK("GET", "test_counter2:" HOST_URL), "5");
}

TEST_IN_LAYOUT(r, counter_that_is_set) {
    pytheus_counter c = COUNTER(r, .name = "test_counter1", .help = "Counter documentation");
    static const struct {
        double value;
        const char *text;
    } sets[] = {{1, "1"}, {30, "30"}, {10, "10"}};
    for (size_t i = 0; i < COUNT_OF(sets); i++) {
        pytheus_counter_set(c, sets[i].value);
        FLUSH(r);
        CHECK_STR(ASK("SMEMBERS", "test_counter1_group"), "test_counter1:e30=\n");
        CHECK_STR(ASK("GET", "test_counter1:e30="), sets[i].text);
    }
    CHECK_REDIS_PAGE(r, "# HELP test_counter1 Counter documentation\n"
                        "# TYPE test_counter1 counter\n"
                        "test_counter1 10\n");
}

TEST(errors_of_redis_do_not_stop_useful_work) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .flush_interval_ms = 10});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_summary s = SUMMARY(r, .name = "s");
    redis_end(false);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(g, 12), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_OK);
    redis_sleep_ms(300);
    CHECK(redis_launch(NULL, NULL));
    FLUSH(r);
    CHECK(logged.num > 0);
    CHECK_STR(ASK("MGET", "c:e30=", "g:e30=", "h_count:e30=", "s_sum:e30="), "1\n12\n1\n1\n");
    pytheus_registry_free(r);
}

/* -- transcribed: gauges that all share -- */

TEST_IN_LAYOUT(r, common_gauge_without_labels) {
    pytheus_gauge g = GAUGE(r, .name = "test_const1", .help = "Const metric documentation");
    pytheus_gauge_set(g, 12);
    FLUSH(r);
    CHECK_STR(ASK("SMEMBERS", "test_const1_group"), "test_const1:e30=\n");
    CHECK_STR(ASK("GET", "test_const1:e30="), "12");
    CHECK_STR(ASK("TTL", "test_const1:e30="), "-1");
    pytheus_gauge_set(g, 3);
    FLUSH(r);
    CHECK_DOUBLE(number_at("test_const1:e30="), 3);
    pytheus_gauge_add(g, 1.2);
    FLUSH(r);
    CHECK_DOUBLE(number_at("test_const1:e30="), 4.2);
    pytheus_gauge_sub(g, 2.1);
    FLUSH(r);
    CHECK_DOUBLE(number_at("test_const1:e30="), 2.1);
    CHECK_REDIS_PAGE(r, "# HELP test_const1 Const metric documentation\n"
                        "# TYPE test_const1 gauge\n"
                        "test_const1 2.1\n");
}

TEST_IN_LAYOUT(r, common_gauge_with_labels) {
    pytheus_gauge all = GAUGE(r, .name = "test_const2", .required_labels = {"host", "url"});
    pytheus_gauge g = pytheus_gauge_labels(all, LABELS);
    CHECK_ERR(pytheus_gauge_set(pytheus_gauge_labels(all, "host", "123.123.123.123"), 12),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_set(all, 12), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_gauge_set(g, 2);
    FLUSH(r);
    CHECK_STR(ASK("SMEMBERS", "test_const2_group"), "test_const2:" HOST_URL "\n");
    CHECK_STR(ASK("GET", "test_const2:" HOST_URL), "2");
    pytheus_gauge_set(g, 3);
    FLUSH(r);
    pytheus_gauge_add(g, 1.2);
    FLUSH(r);
    pytheus_gauge_sub(g, 2.1);
    FLUSH(r);
    CHECK_DOUBLE(number_at("test_const2:" HOST_URL), 2.1);
    CHECK_REDIS_PAGE(r, "# TYPE test_const2 gauge\n"
                        "test_const2{host=\"123.123.123.123\",url=\"/home/\"} 2.1\n");
}

#define CONST2(host, value) "test_const2{host=\"" host "\",url=\"/home/\"} " value "\n"

/* In half of the time. */
TEST_IN_LAYOUT(r, common_gauges_expire_each_for_itself) {
    pytheus_gauge g =
        GAUGE(r, .name = "test_const2", .required_labels = {"host", "url"}, .expire_seconds = 1);
    CHECK_ERR(pytheus_redis_gauge_set_for(pytheus_gauge_labels(g, LABELS), 12, 1.5), PYTHEUS_OK);
    pytheus_gauge_set(pytheus_gauge_labels(g, "host", "124.124.124.124", "url", "/home/"), 24);
    CHECK_REDIS_PAGE(r, "# TYPE test_const2 gauge\n" CONST2("123.123.123.123", "12")
                            CONST2("124.124.124.124", "24"));
    redis_sleep_ms(500);
    pytheus_gauge_set(pytheus_gauge_labels(g, "host", "136.136.136.136", "url", "/home/"), 36);
    CHECK_REDIS_PAGE(r, "# TYPE test_const2 gauge\n" CONST2("123.123.123.123", "12")
                            CONST2("124.124.124.124", "24") CONST2("136.136.136.136", "36"));
    redis_sleep_ms(750);
    CHECK_REDIS_PAGE(r, "# TYPE test_const2 gauge\n" CONST2("123.123.123.123", "12")
                            CONST2("136.136.136.136", "36"));
    redis_sleep_ms(500);
    CHECK_REDIS_PAGE(r, "# TYPE test_const2 gauge\n");
    CHECK_STR(ASK("EXISTS", "test_const2_group"), "0");
}

/* -- transcribed: gauges of each process -- */

TEST_IN_LAYOUT(r, gauge_without_labels) {
    pytheus_gauge g =
        GAUGE(r, .name = "test_gauge", .across = PYTHEUS_PER_PROCESS, .expire_seconds = 4);
    static const char key[] = "test_gauge:eyJnYXVnZV9pbmRleCI6IDF9";
    pytheus_gauge_set(g, 12.3);
    FLUSH(r);
    CHECK_STR(ASK("GET", "GLOBAL_GAUGE_INDEX"), "1");
    CHECK_MEMBERS("test_gauge_group", key);
    CHECK_STR(ASK("GET", key), "12.3");
    CHECK_STR(ASK("TTL", key), "4");
    pytheus_gauge_set(g, 12.9);
    FLUSH(r);
    CHECK_MEMBERS("test_gauge_group", key);
    CHECK_STR(ASK("GET", key), "12.9");
    pytheus_gauge_sub(g, 1.7);
    FLUSH(r);
    CHECK_MEMBERS("test_gauge_group", key);
    CHECK_DOUBLE(number_at(key), 12.9 - 1.7);
    pytheus_gauge_set(g, 11.2);
    CHECK_REDIS_PAGE(r, "# TYPE test_gauge gauge\ntest_gauge{gauge_index=\"1\"} 11.2\n");
}

TEST_IN_LAYOUT(r, gauge_with_labels) {
    pytheus_gauge g =
        GAUGE(r, .name = "test_gauge", .across = PYTHEUS_PER_PROCESS, .required_labels = {"name"});
    pytheus_gauge one = pytheus_gauge_labels(g, "name", "test");
    static const char key[] = "test_gauge:eyJnYXVnZV9pbmRleCI6IDEsICJuYW1lIjogInRlc3QifQ==";
    pytheus_gauge_set(one, 12.3);
    FLUSH(r);
    CHECK_MEMBERS("test_gauge_group", key);
    CHECK_STR(ASK("GET", key), "12.3");
    CHECK_STR(ASK("TTL", key), "10800"); /* three of its long pauses */
    pytheus_gauge_add(one, 1.7);
    FLUSH(r);
    CHECK_MEMBERS("test_gauge_group", key);
    CHECK_STR(ASK("GET", key), "14");
    CHECK_REDIS_PAGE(r, "# TYPE test_gauge gauge\n"
                        "test_gauge{name=\"test\",gauge_index=\"1\"} 14\n");
}

/* A child that is killed can refresh nothing. */
TEST_IN_LAYOUT(r, gauges_of_a_killed_process_go) {
    pytheus_gauge g =
        GAUGE(r, .name = "test_gauge", .across = PYTHEUS_PER_PROCESS, .expire_seconds = 0.5);
    const char *key = KEY("test_gauge", "{\"gauge_index\": 1}");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        redis_owner = 0;
        pytheus_gauge_set(g, 12.3);
        (void)pytheus_flush(r);
        for (;;)
            pause();
    }
    for (int i = 0; i < 500 && strcmp(ASK("EXISTS", key), "1"); i++)
        redis_sleep_ms(1);
    CHECK_STR(ASK("GET", key), "12.3");
    CHECK_LINE(r, "test_gauge{gauge_index=\"1\"} 12.3");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    redis_sleep_ms(600);
    CHECK_STR(ASK("EXISTS", key), "0");
    CHECK_REDIS_PAGE(r, "# TYPE test_gauge gauge\n");
    CHECK_STR(ASK("SMEMBERS", "test_gauge_group"), "");
}

TEST(gauges_of_a_process_are_refreshed) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .flush_interval_ms = 20});
    pytheus_gauge_set(
        GAUGE(r, .name = "test_gauge", .across = PYTHEUS_PER_PROCESS, .expire_seconds = 1), 12.3);
    redis_sleep_ms(1600);
    CHECK_STR(ASK("GET", "test_gauge:eyJnYXVnZV9pbmRleCI6IDF9"), "12.3");
    CHECK_REDIS_PAGE(r, "# TYPE test_gauge gauge\ntest_gauge{gauge_index=\"1\"} 12.3\n");
    pytheus_registry_free(r);
}

/* -- transcribed: histograms and summaries -- */

TEST_IN_LAYOUT(r, histogram_without_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "test_histogram", .help = "Histogram documentation",
                                    .buckets = (const double[]){1, 20, 25.5}, .num_buckets = 3);
    pytheus_histogram_observe(h, 25.4);
    FLUSH(r);
    CHECK_MEMBERS("test_histogram_group", "test_histogram_bucket:eyJsZSI6IDI1LjV9",
                  "test_histogram_count:e30=", "test_histogram_sum:e30=");
    CHECK_STR(ASK("MGET", "test_histogram_sum:e30=", "test_histogram_bucket:eyJsZSI6IDI1LjV9",
                  "test_histogram_count:e30="),
              "25.4\n1\n1\n");
    pytheus_histogram_observe(h, 3);
    FLUSH(r);
    CHECK_MEMBERS("test_histogram_group", "test_histogram_bucket:eyJsZSI6IDI1LjV9",
                  "test_histogram_bucket:eyJsZSI6IDIwfQ==", "test_histogram_count:e30=",
                  "test_histogram_sum:e30=");
    CHECK_STR(
        ASK("MGET", "test_histogram_sum:e30=", "test_histogram_count:e30=",
            "test_histogram_bucket:eyJsZSI6IDIwfQ==", "test_histogram_bucket:eyJsZSI6IDI1LjV9"),
        "28.4\n2\n1\n2\n");
    CHECK_REDIS_PAGE(r, "# HELP test_histogram Histogram documentation\n"
                        "# TYPE test_histogram histogram\n"
                        "test_histogram_bucket{le=\"1\"} 0\n"
                        "test_histogram_bucket{le=\"20\"} 1\n"
                        "test_histogram_bucket{le=\"25.5\"} 2\n"
                        "test_histogram_bucket{le=\"+Inf\"} 2\n"
                        "test_histogram_sum 28.4\n"
                        "test_histogram_count 2\n");
}

TEST_IN_LAYOUT(r, histogram_with_labels) {
    pytheus_histogram h = HISTOGRAM(r, .name = "test_histogram", .required_labels = {"host", "url"},
                                    .buckets = (const double[]){0, 1, 2.001, 3}, .num_buckets = 4);
    static const char count[] = "test_histogram_count:" HOST_URL;
    static const char sum[] = "test_histogram_sum:" HOST_URL;
    static const char bucket_3[] = "test_histogram_bucket:eyJob3N0IjogIjEyMy4xMjMuMTIzLjEyMyIsICJs"
                                   "ZSI6IDMsICJ1cmwiOiAiL2hvbWUvIn0=";
    static const char bucket_1[] = "test_histogram_bucket:eyJob3N0IjogIjEyMy4xMjMuMTIzLjEyMyIsICJs"
                                   "ZSI6IDEsICJ1cmwiOiAiL2hvbWUvIn0=";
    static const char bucket_2_001[] = "test_histogram_bucket:eyJob3N0IjogIjEyMy4xMjMuMTIzLjEyMyIs"
                                       "ICJsZSI6IDIuMDAxLCAidXJsIjogIi9ob21lLyJ9";
    CHECK_ERR(pytheus_histogram_observe(pytheus_histogram_labels(h, "host", "1"), 12),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_histogram_observe(h, 23), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_histogram_observe(pytheus_histogram_labels(h, LABELS), 2.125);
    FLUSH(r);
    CHECK_MEMBERS("test_histogram_group", bucket_3, count, sum);
    CHECK_STR(ASK("GET", bucket_3), "1");
    pytheus_histogram_observe(pytheus_histogram_labels(h, LABELS), 0.25);
    FLUSH(r);
    CHECK_MEMBERS("test_histogram_group", bucket_1, bucket_2_001, bucket_3, count, sum);
    CHECK_STR(ASK("MGET", bucket_3, bucket_1, bucket_2_001, count), "2\n1\n1\n2\n");
    CHECK_STR(ASK("GET", sum), "2.375");
#define HOME "host=\"123.123.123.123\",url=\"/home/\""
    CHECK_REDIS_PAGE(r, "# TYPE test_histogram histogram\n"
                        "test_histogram_bucket{" HOME ",le=\"0\"} 0\n"
                        "test_histogram_bucket{" HOME ",le=\"1\"} 1\n"
                        "test_histogram_bucket{" HOME ",le=\"2.001\"} 1\n"
                        "test_histogram_bucket{" HOME ",le=\"3\"} 2\n"
                        "test_histogram_bucket{" HOME ",le=\"+Inf\"} 2\n"
                        "test_histogram_sum{" HOME "} 2.375\n"
                        "test_histogram_count{" HOME "} 2\n");
}

TEST_IN_LAYOUT(r, a_timed_scope_is_observed) {
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2);
    PYTHEUS_TIME(h) {
    }
    FLUSH(r);
    CHECK_STR(ASK("GET", "h_count:e30="), "1");
    CHECK_STR(ASK("MGET", KEY("h_bucket", "{\"le\": 1}"), KEY("h_bucket", "{\"le\": 2}")),
              "1\n1\n");
}

TEST_IN_LAYOUT(r, summary_without_labels) {
    pytheus_summary s = SUMMARY(r, .name = "test_summary", .help = "Summary documentation");
    pytheus_summary_observe(s, 1);
    FLUSH(r);
    CHECK_MEMBERS("test_summary_group", "test_summary_count:e30=", "test_summary_sum:e30=");
    CHECK_STR(ASK("MGET", "test_summary_count:e30=", "test_summary_sum:e30="), "1\n1\n");
    pytheus_summary_observe(s, 3.5);
    FLUSH(r);
    CHECK_STR(ASK("MGET", "test_summary_count:e30=", "test_summary_sum:e30="), "2\n4.5\n");
    CHECK_REDIS_PAGE(r, "# HELP test_summary Summary documentation\n"
                        "# TYPE test_summary summary\n"
                        "test_summary_sum 4.5\n"
                        "test_summary_count 2\n");
}

TEST_IN_LAYOUT(r, summary_with_labels) {
    pytheus_summary s = SUMMARY(r, .name = "test_summary", .required_labels = {"host", "url"});
    CHECK_ERR(pytheus_summary_observe(pytheus_summary_labels(s, "host", "1"), 3),
              PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_summary_observe(pytheus_summary_labels(s, LABELS), 2);
    FLUSH(r);
    CHECK_MEMBERS("test_summary_group", "test_summary_count:" HOST_URL,
                  "test_summary_sum:" HOST_URL);
    pytheus_summary_observe(pytheus_summary_labels(s, LABELS), 3.125);
    FLUSH(r);
    CHECK_STR(ASK("MGET", "test_summary_count:" HOST_URL, "test_summary_sum:" HOST_URL),
              "2\n5.125\n");
    CHECK_REDIS_PAGE(r, "# TYPE test_summary summary\n"
                        "test_summary_sum{" HOME "} 5.125\n"
                        "test_summary_count{" HOME "} 2\n");
}

/* -- keys and values -- */

TEST_IN_LAYOUT(r, labels_are_sorted_and_escaped_as_python_does) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"z", "a"});
    pytheus_counter e = COUNTER(r, .name = "e", .required_labels = {"v"});
    pytheus_counter_inc(pytheus_counter_labels(c, "z", "1", "a", "2"));
    pytheus_counter_inc(pytheus_counter_labels(
        e, "v", "/\xc3\xa9\"\\\n\r\t\b\f\x01\x7f\xe2\x82\xac\xf0\x9f\x98\x80"));
    FLUSH(r);
    CHECK_STR(ASK("SMEMBERS", "c_group"), "c:eyJhIjogIjIiLCAieiI6ICIxIn0=\n");
    CHECK_STR(
        ASK("SMEMBERS", "e_group"),
        "e:eyJ2IjogIi9cdTAwZTlcIlxcXG5cclx0XGJcZlx1MDAwMVx1MDA3Zlx1MjBhY1x1ZDgzZFx1ZGUwMCJ9\n");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc{z=\"1\",a=\"2\"} 1\n"
                        "# TYPE e counter\ne{v=\"/\xc3\xa9\\\"\\\\\\n\r\t\b\f\x01\x7f"
                        "\xe2\x82\xac\xf0\x9f\x98\x80\"} 1\n");
}

/* The bound is where the names' order wants it. */
TEST_IN_LAYOUT(r, bounds_and_numbers_of_processes_are_sorted_in) {
    static const char *const names[] = {"a", "z", "le2", "la", "gauge"};
    static const char *const plain[] = {
        "{\"a\": \"1\", \"le\": 0.5}", "{\"le\": 0.5, \"z\": \"1\"}",
        "{\"le\": 0.5, \"le2\": \"1\"}", "{\"la\": \"1\", \"le\": 0.5}",
        "{\"gauge\": \"1\", \"le\": 0.5}"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char name[32];
        snprintf(name, sizeof name, "h%lu", (unsigned long)i);
        pytheus_histogram h = HISTOGRAM(r, .name = name, .required_labels = {names[i]},
                                        .buckets = (const double[]){0.5}, .num_buckets = 1);
        pytheus_histogram_observe(pytheus_histogram_labels(h, names[i], "1"), 0.25);
        FLUSH(r);
        char bucket[32];
        snprintf(bucket, sizeof bucket, "h%lu_bucket", (unsigned long)i);
        CHECK_STR(ASK("GET", KEY(bucket, plain[i])), "1");
    }
    pytheus_gauge g =
        GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS, .required_labels = {"gb", "ga"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "ga", "1", "gb", "2"), 3);
    FLUSH(r);
    CHECK_STR(ASK("GET", KEY("g", "{\"ga\": \"1\", \"gauge_index\": 1, \"gb\": \"2\"}")), "3");
}

TEST(bounds_may_be_floats_in_python) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .float_bounds = true});
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1}, .num_buckets = 1);
    pytheus_histogram_observe(h, 1);
    FLUSH(r);
    CHECK_STR(ASK("GET", "h_bucket:eyJsZSI6IDEuMH0="), "1");
    pytheus_registry_free(r);
}

/* As there, nothing is in Redis before it was counted; here it is on the page. */
TEST_IN_LAYOUT(r, what_was_not_touched_is_not_there) {
    COUNTER(r, .name = "c");
    GAUGE(r, .name = "g");
    GAUGE(r, .name = "own", .across = PYTHEUS_PER_PROCESS);
    pytheus_summary s = SUMMARY(r, .name = "s");
    HISTOGRAM(r, .name = "h", .buckets = (const double[]){1}, .num_buckets = 1);
    FLUSH(r);
    CHECK_STR(ASK("EXISTS", "c_group", "g_group", "own_group", "s_group", "h_group"), "0");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 0\n# TYPE g gauge\ng 0\n# TYPE own gauge\n"
                        "# TYPE s summary\ns_sum 0\ns_count 0\n"
                        "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"+Inf\"} 0\n"
                        "h_sum 0\nh_count 0\n");
    pytheus_summary_observe(s, 0);
    FLUSH(r);
    CHECK_STR(ASK("MGET", "s_sum:e30=", "s_count:e30="), "0\n1\n");
}

TEST(every_key_begins_with_the_prefix) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .key_prefix = "test"});
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    pytheus_histogram_observe(HISTOGRAM(r, .name = "h"), 3);
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS), 2);
    FLUSH(r);
    CHECK_MEMBERS("test-c_group", "test-c:e30=");
    CHECK_STR(ASK("GET", "test-GLOBAL_GAUGE_INDEX"), "1");
    CHECK_STR(ASK("EVAL",
                  "local n = 0 for _, k in ipairs(redis.call('KEYS', '*')) do "
                  "if string.sub(k, 1, 5) ~= 'test-' then n = n + 1 end end return n",
                  "0"),
              "0");
    (void)ASK("INCRBY", "test-c:e30=", "4");
    CHECK_LINE(r, "c 5");
    CHECK_LINE(r, "g{gauge_index=\"1\"} 2");
    pytheus_registry_free(r);
}

TEST_IN_LAYOUT(r, counters_send_whole_numbers_and_keep_fractions) {
    pytheus_counter c = COUNTER(r, .name = "c");
    for (int i = 0; i < 7; i++) {
        pytheus_counter_add(c, 0.5);
        FLUSH(r);
    }
    CHECK_STR(ASK("GET", "c:e30="), "3");
    CHECK_INT(logged.num, 1);
    CHECK_STR(logged.metric, "c");
    CHECK(strstr(logged.sentence, "whole number") != NULL);
    (void)ASK("INCRBY", "c:e30=", "10"); /* which Redis refuses to do with a fraction */
    pytheus_counter_add(c, 2.5);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "16");
    pytheus_counter_set(c, 100.75);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "100");
    pytheus_counter_add(c, 0.25);
    pytheus_counter_inc(c);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "102");
    pytheus_counter_add(c, 1e15);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "1000000000000102");
    pytheus_counter_add(c, 1e300); /* more than INCRBY can, and than anybody counts */
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "1000000000000102");
}

TEST_IN_LAYOUT(r, infinities) {
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_summary s = SUMMARY(r, .name = "s");
    pytheus_gauge_set(g, (double)NAN);
    pytheus_summary_observe(s, (double)INFINITY);
    FLUSH(r);
    CHECK_STR(ASK("MGET", "g:e30=", "s_sum:e30=", "s_count:e30="), "nan\ninf\n1\n");
    pytheus_gauge_set(g, 1);
    pytheus_summary_observe(s, 1);
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng 1\n# TYPE s summary\ns_sum +Inf\ns_count 2\n");
    CHECK_INT(logged.num, 0);
}

/* -- what this layout can't hold -- */

TEST_IN_LAYOUT(r, what_can_not_be_kept_is_refused) {
    CHECK_NOTHING(COUNTER(r, .name = "a:b"));
    CHECK_STR(pytheus_last_error(), "redis: a:b: in this layout a colon is the end of a name");
    CHECK_NOTHING(GAUGE(r, .name = "g", .across = PYTHEUS_MOST_RECENT));
    CHECK_STR(pytheus_last_error(),
              "redis: g: in this layout nothing says which value is the most recent");
    CHECK_NOTHING(GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"gauge_index"}));
    CHECK_STR(pytheus_last_error(),
              "redis: g: in this layout the label gauge_index is the number of the process");
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"gauge_index"});
    CHECK_ERR(pytheus_gauge_set(pytheus_gauge_labels(g, "gauge_index", "1"), 1), PYTHEUS_OK);
    FLUSH(r);
    CHECK_STR(ASK("GET", KEY("g", "{\"gauge_index\": \"1\"}")), "1");
}

/* -- reading what others wrote -- */

TEST_IN_LAYOUT(r, labels_of_any_type_and_in_any_spelling) {
    static const struct {
        const char *json, *label;
    } series[] = {{"{\"a\": \"1\"}", "1"},
                  {"{\"a\":\"compact\"}", "compact"},
                  {" { \"a\" : \"\\u0062\" } ", "b"},
                  {"{\"a\": \"\xc3\xa9\"}", "\xc3\xa9"},
                  {"{\"a\": 7}", "7"},
                  {"{\"a\": 1.5}", "1.5"},
                  {"{\"a\": true}", "True"},
                  {"{\"a\": false}", "False"},
                  {"{\"a\": null}", "None"},
                  {"{\"a\": NaN}", "nan"},
                  {"{\"a\": -Infinity}", "-inf"}};
    COUNTER(r, .name = "c", .required_labels = {"a"});
    for (size_t i = 0; i < COUNT_OF(series); i++) {
        char line[64];
        others_set("c_group", KEY("c", series[i].json), "5");
        snprintf(line, sizeof line, "c{a=\"%s\"} 5", series[i].label);
        CHECK_LINE(r, line);
    }
    CHECK_INT(logged.num, 0);
}

TEST_IN_LAYOUT(r, one_series_in_several_spellings_is_added_up) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"b", "a"});
    pytheus_counter_add(pytheus_counter_labels(c, "a", "1", "b", "\xc3\xa9"), 1);
    others_set("c_group", KEY("c", "{\"b\": \"\\u00e9\", \"a\": \"1\"}"), "2");
    others_set("c_group", KEY("c", "{\"a\":\"1\",\"b\":\"\xc3\xa9\"}"), "4");
    others_set("c_group", KEY("c", "{\"a\": 1, \"b\": \"\\u00E9\"}"), "8");
    for (int i = 0; i < 2; i++)
        CHECK_REDIS_PAGE(r, "# TYPE c counter\nc{b=\"\xc3\xa9\",a=\"1\"} 15\n");
}

TEST_IN_LAYOUT(r, buckets_of_others) {
    HISTOGRAM(r, .name = "h", .required_labels = {"x"}, .buckets = (const double[]){1, 2.5},
              .num_buckets = 2);
    others_set("h_group", KEY("h_bucket", "{\"le\": 1, \"x\": \"1\"}"), "1");
    others_set("h_group", KEY("h_bucket", "{\"le\": 1.0, \"x\": \"1\"}"), "2");
    others_set("h_group", KEY("h_bucket", "{\"le\": 2.5, \"x\": \"1\"}"), "4");
    others_set("h_group", KEY("h_bucket", "{\"le\": Infinity, \"x\": \"1\"}"), "6");
    others_set("h_group", KEY("h_count", "{\"x\": \"1\"}"), "6");
    others_set("h_group", KEY("h_sum", "{\"x\": \"1\"}"), "60.5");
    CHECK_REDIS_PAGE(r, "# TYPE h histogram\n"
                        "h_bucket{x=\"1\",le=\"1\"} 3\nh_bucket{x=\"1\",le=\"2.5\"} 4\n"
                        "h_bucket{x=\"1\",le=\"+Inf\"} 6\nh_sum{x=\"1\"} 60.5\n"
                        "h_count{x=\"1\"} 6\n");
    CHECK_INT(logged.num, 0);
    others_set("h_group", KEY("h_bucket", "{\"le\": 2, \"x\": \"1\"}"), "4");
    CHECK_LINE(r, "h_count{x=\"1\"} 6");
    CHECK(strstr(logged.sentence, "no series of this metric") != NULL);
}

/* Each is left out, and told once for the metric. */
TEST_IN_LAYOUT(r, keys_that_are_no_series_are_left_out) {
    static const char *const bad[] = {"",
                                      "{}",
                                      "{\"a\": \"1\"",
                                      "{\"b\": \"1\"}",
                                      "{\"a\": \"1\", \"b\": \"2\"}",
                                      "{\"a\": \"1\", \"gauge_index\": 1}",
                                      "[\"a\"]",
                                      "{\"a\": [1]}",
                                      "{\"a\": tru}",
                                      "{\"a\": \"\\u0000\"}"};
    static const char *const keys[] = {"c",     "",         "c_bucket:e30=", "c:*",
                                       "c:eyJ", "c:eyJhI!", "d:e30=",        "c:===="};
    COUNTER(r, .name = "c", .required_labels = {"a"});
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        others_set("c_group", KEY("c", bad[i]), "1");
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        others_set("c_group", keys[i], "1");
    others_set("c_group", KEY("c", "{\"a\": \"1\"}"), "2");
    for (int i = 0; i < 2; i++) {
        CHECK_REDIS_PAGE(r, "# TYPE c counter\nc{a=\"1\"} 2\n");
        CHECK_INT(logged.num, 1);
        CHECK_STR(logged.metric, "c");
        CHECK(strstr(logged.sentence, "no series of this metric") != NULL);
    }
    CHECK_STR(ASK("SCARD", "c_group"), "19"); /* whatever they are to others */
}

TEST_IN_LAYOUT(r, keys_of_another_type_cost_no_page) {
    pytheus_counter bad = COUNTER(r, .name = "bad"), worse = COUNTER(r, .name = "worse");
    pytheus_counter good = COUNTER(r, .name = "good");
    (void)ASK("LPUSH", "bad_group", "1");
    (void)ASK("LPUSH", "worse:e30=", "1");
    pytheus_counter_inc(bad);
    pytheus_counter_inc(worse);
    pytheus_counter_inc(good);
    CHECK_REDIS_PAGE(r, "# TYPE bad counter\nbad 0\n# TYPE worse counter\nworse 0\n"
                        "# TYPE good counter\ngood 1\n");
    CHECK(strstr(logged.sentence, "WRONGTYPE") != NULL);
    others_set("good_group", "good:e30=", "3.5"); /* to which nothing whole can be added */
    pytheus_counter_inc(good);
    FLUSH(r);
    CHECK_STR(logged.metric, "good");
    CHECK_STR(ASK("GET", "good:e30="), "3.5");
    CHECK_VALUE(good, 2);
}

/* A key that is gone leaves the set, but not one that has just come back. */
TEST_IN_LAYOUT(r, keys_that_are_gone_leave_the_set) {
    COUNTER(r, .name = "c", .required_labels = {"a"});
    for (int i = 0; i < 2500; i++) {
        char json[32];
        snprintf(json, sizeof json, "{\"a\": \"%d\"}", i);
        if (i % 10)
            (void)ASK("SADD", "c_group", KEY("c", json));
        else
            others_set("c_group", KEY("c", json), "1");
    }
    CHECK_LINE(r, "c{a=\"2490\"} 1");
    CHECK_STR(ASK("SCARD", "c_group"), "250");
    CHECK_INT(logged.num, 0);
}

TEST_IN_LAYOUT(r, what_redis_lost_is_0_on_the_page) {
    pytheus_counter c = COUNTER(r, .name = "a");
    pytheus_gauge g = GAUGE(r, .name = "g"), own = GAUGE(r, .name = "o", .across = PYTHEUS_SUM);
    pytheus_counter_add(c, 5);
    pytheus_gauge_set(g, 7);
    pytheus_gauge_set(own, 9);
    FLUSH(r);
    (void)ASK("FLUSHALL");
    pytheus_counter_inc(c);
    CHECK_REDIS_PAGE(r, "# TYPE a counter\na 1\n# TYPE g gauge\ng 7\n# TYPE o gauge\no 9\n");
}

/* -- several processes -- */

TEST(two_processes_write_the_same_page) {
    NEED_REDIS();
    pytheus_registry *rs[2];
    for (int i = 0; i < 2; i++) {
        rs[i] = redis_registry(&(pytheus_redis_desc){CLIENT});
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
        CHECK_LINE(rs[i], "c{by=\"first\"} 1");
        CHECK_LINE(rs[i], "c{by=\"second\"} 1");
        CHECK_LINE(rs[i], "c{by=\"both\"} 2");
        CHECK_LINE(rs[i], "h_bucket{le=\"0.5\"} 2");
        CHECK_LINE(rs[i], "h_sum 0.6");
        CHECK_LINE(rs[i], "h_count 2");
        CHECK_LINE(rs[i], "g 2");
    }
    pytheus_registry_free(rs[0]);
    pytheus_registry_free(rs[1]);
}

static void across_of(pytheus_across across, const char *expected) {
    pytheus_registry *a, *b;
    (void)ASK("FLUSHALL");
    a = redis_registry(&(pytheus_redis_desc){CLIENT});
    b = redis_registry(&(pytheus_redis_desc){CLIENT});
    pytheus_gauge ga = GAUGE(a, .name = "g", .across = across, .required_labels = {"x"});
    pytheus_gauge gb = GAUGE(b, .name = "g", .across = across, .required_labels = {"x"});
    pytheus_gauge_set(pytheus_gauge_labels(gb, "x", "1"), 2);
    pytheus_gauge_set(pytheus_gauge_labels(ga, "x", "1"), 5);
    FLUSH(a);
    FLUSH(b);
    CHECK_STR(ASK("GET", KEY("g", "{\"gauge_index\": 1, \"x\": \"1\"}")), "5");
    CHECK_STR(ASK("GET", KEY("g", "{\"gauge_index\": 2, \"x\": \"1\"}")), "2");
    CHECK_LINE(a, expected);
    CHECK_LINE(b, expected);
    pytheus_registry_free(a);
    CHECK_REDIS_PAGE(b, across == PYTHEUS_PER_PROCESS
                            ? "# TYPE g gauge\ng{x=\"1\",gauge_index=\"2\"} 2\n"
                            : "# TYPE g gauge\ng{x=\"1\"} 2\n");
    pytheus_registry_free(b);
    CHECK_STR(ASK("KEYS", "*"), "GLOBAL_GAUGE_INDEX\n");
}

TEST(gauges_across_processes) {
    NEED_REDIS();
    across_of(PYTHEUS_SUM, "g{x=\"1\"} 7");
    across_of(PYTHEUS_MIN, "g{x=\"1\"} 2");
    across_of(PYTHEUS_MAX, "g{x=\"1\"} 5");
    across_of(PYTHEUS_PER_PROCESS, "g{x=\"1\",gauge_index=\"1\"} 5");
    across_of(PYTHEUS_PER_PROCESS, "g{x=\"1\",gauge_index=\"2\"} 2");
}

/* ThreadSanitizer takes the thread of a child for one of its parent's. */
#ifndef UNDER_TSAN
/* The child has a number of its own, and neither writes nor removes what is its parent's. */
TEST_IN_LAYOUT(r, gauges_after_a_fork) {
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS);
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_gauge_set(g, 1);
    pytheus_counter_inc(c);
    FLUSH(r);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        redis_owner = 0;
        pytheus_gauge_add(g, 20);
        pytheus_counter_inc(c);
        (void)pytheus_flush(r);
        bool is_right = number_at(KEY("g", "{\"gauge_index\": 2}")) > 19;
        pytheus_registry_free(r);
        _exit(is_right ? 0 : 1);
    }
    int status = 1;
    waitpid(pid, &status, 0);
    redis_hang_up(); /* which the child has used */
    CHECK_INT(status, 0);
    CHECK_REDIS_PAGE(r, "# TYPE g gauge\ng{gauge_index=\"1\"} 1\n# TYPE c counter\nc 2\n");
    CHECK_STR(ASK("SCARD", "g_group"), "1");
}
#endif

/* -- removal -- */

TEST_IN_LAYOUT(r, a_removed_series_leaves_every_key) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"x"},
                                    .buckets = (const double[]){1, 2}, .num_buckets = 2);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    pytheus_gauge own = GAUGE(r, .name = "own", .required_labels = {"x"}, .across = PYTHEUS_MAX);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "x", "1"), 1);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "x", "2"), 2);
    pytheus_counter_inc(pytheus_counter_labels(c, "x", "1"));
    pytheus_gauge_set(pytheus_gauge_labels(own, "x", "1"), 1);
    FLUSH(r);
    pytheus_view_remove(pytheus_histogram_labels(h, "x", "1").view);
    pytheus_view_clear(c.view);
    pytheus_view_clear(own.view);
    pytheus_counter_add(pytheus_counter_labels(c, "x", "1"), 7); /* made again at once */
    FLUSH(r);
    CHECK_MEMBERS("h_group", KEY("h_bucket", "{\"le\": 2, \"x\": \"2\"}"),
                  KEY("h_sum", "{\"x\": \"2\"}"), KEY("h_count", "{\"x\": \"2\"}"));
    CHECK_STR(ASK("EXISTS", KEY("h_bucket", "{\"le\": 1, \"x\": \"1\"}"),
                  KEY("h_sum", "{\"x\": \"1\"}"), KEY("h_count", "{\"x\": \"1\"}"), "own_group"),
              "0");
    CHECK_MEMBERS("c_group", KEY("c", "{\"x\": \"1\"}"));
    CHECK_STR(ASK("GET", KEY("c", "{\"x\": \"1\"}")), "7");
    pytheus_view_clear(h.view);
    FLUSH(r);
    CHECK_STR(ASK("EXISTS", "h_group"), "0");
}

TEST_IN_LAYOUT(r, a_series_from_the_start_is_set_to_0_for_all) {
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    FLUSH(r);
    (void)ASK("INCRBY", "c:e30=", "10");
    pytheus_view_remove(c.view);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c:e30="), "0");
}

/* -- expiry of keys -- */

TEST(keys_do_not_expire_unless_they_are_told_to) {
    NEED_REDIS();
    for (int i = 0; i < 2; i++) {
        pytheus_registry *r =
            redis_registry(&(pytheus_redis_desc){CLIENT, .expire_key_time = i ? 300 : 0});
        (void)ASK("FLUSHALL");
        pytheus_counter_inc(COUNTER(r, .name = "c"));
        pytheus_gauge_set(GAUGE(r, .name = "g", .expire_seconds = 10), 1);
        FLUSH(r);
        CHECK_STR(ASK("TTL", "c:e30="), i ? "300" : "-1");
        (void)ASK("PERSIST", "c:e30=");
        pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
        CHECK_STR(ASK("TTL", "c:e30="), i ? "300" : "-1");
        CHECK_STR(ASK("TTL", "g:e30="), "10");
        CHECK_STR(ASK("TTL", "c_group"), "-1");
        pytheus_registry_free(r);
    }
}

/* -- write-through -- */

TEST(each_operation_is_in_redis_when_it_returns) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .write_through = true});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    pytheus_counter one = pytheus_counter_labels(c, "x", "1");
    CHECK_ERR(pytheus_counter_inc(one), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add(one, 2), PYTHEUS_OK);
    CHECK_STR(ASK("GET", KEY("c", "{\"x\": \"1\"}")), "3");
    CHECK_ERR(pytheus_counter_add(one, 2.5), PYTHEUS_ERR_VALUE);
    CHECK_STR(pytheus_last_error(), "redis: c: a counter of this layout is a whole number");
    CHECK_ERR(pytheus_counter_add(one, 1e19), PYTHEUS_ERR_VALUE);
    (void)ASK("INCRBY", KEY("c", "{\"x\": \"1\"}"), "1");
    CHECK_VALUE(one, 4);
    CHECK_ERR(pytheus_counter_set(one, 1), PYTHEUS_OK);
    pytheus_gauge g = GAUGE(r, .name = "g", .expire_seconds = 60);
    CHECK_ERR(pytheus_gauge_set(g, 5), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_sub(g, 0.5), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "g:e30="), "4.5");
    CHECK_STR(ASK("TTL", "g:e30="), "60");
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2);
    CHECK_ERR(pytheus_histogram_observe(h, 1.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 0.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 5), PYTHEUS_OK);
    CHECK_STR(ASK("MGET", KEY("h_bucket", "{\"le\": 1}"), KEY("h_bucket", "{\"le\": 2}"),
                  "h_count:e30=", "h_sum:e30="),
              "1\n2\n3\n7\n");
    CHECK_STR(ASK("SCARD", "h_group"), "4");
    CHECK_SAMPLE(r, "h_count", 3);
    pytheus_summary s = SUMMARY(r, .name = "s");
    CHECK_ERR(pytheus_summary_observe(s, 0), PYTHEUS_OK);
    CHECK_STR(ASK("MGET", "s_sum:e30=", "s_count:e30="), "0\n1\n");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc{x=\"1\"} 1\n# TYPE g gauge\ng 4.5\n"
                        "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"2\"} 2\n"
                        "h_bucket{le=\"+Inf\"} 3\nh_sum 7\nh_count 3\n"
                        "# TYPE s summary\ns_sum 0\ns_count 1\n");
    pytheus_view_remove(one.view);
    CHECK_STR(ASK("EXISTS", "c_group", KEY("c", "{\"x\": \"1\"}")), "0");
    pytheus_registry_free(r);
}

/* -- configuration -- */

static void layout_by_config(const char *config) {
    (void)ASK("FLUSHALL");
    if (!CHECK_ERR(pytheus_load_backend("redis", config), PYTHEUS_OK))
        return;
    pytheus_counter_inc(pytheus_counter_new(&(pytheus_desc){.name = "c"}));
    CHECK_ERR(pytheus_flush(NULL), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "c:e30="), "1");
    CHECK_STR(ASK("TTL", "c:e30="), strstr(config, "expire") ? "120" : "-1");
    pytheus_registry_free(pytheus_default());
}

TEST(configurations) {
    char config[512], url[128];
    NEED_REDIS();
    snprintf(config, sizeof config,
             "{\"unix_socket_path\": \"%s\", \"layout\": \"prometheus_redis_client\"}",
             redis_socket);
    layout_by_config(config);
    snprintf(config, sizeof config,
             "{\"url\": \"redis://127.0.0.1:%d/0\", \"layout\": \"prometheus_redis_client\", "
             "\"expire_key_time\": 120}",
             redis_port);
    layout_by_config(config);
    CHECK_ERR(pytheus_load_backend("redis", "{\"layout\": \"prometheus\"}"), PYTHEUS_ERR_CONFIG);
    CHECK_STR(pytheus_last_error(), "redis: no such layout: \"prometheus\"");
    snprintf(url, sizeof url, "unix://%s?db=2", redis_socket);
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){CLIENT, .url = url});
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    FLUSH(r);
    pytheus_registry_free(r);
    (void)ASK("SELECT", "2");
    CHECK_STR(ASK("GET", "c:e30="), "1");
    (void)ASK("SELECT", "0");
}
