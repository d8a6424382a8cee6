/* Faults of the programs that this library follows, and that it does not have. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <pthread.h>

/* Children were known by the values given: two single labels with the same value were one. */
TEST_WITH(r, fix_01_series_are_known_by_their_whole_label_set) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                                .default_labels = {{"a", "1"}, {"b", "2"}});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x"));
    pytheus_counter_add(pytheus_counter_labels(c, "b", "x"), 2);
    CHECK_PAGE(r, "# TYPE x_total counter\n"
                  "x_total{a=\"1\",b=\"2\"} 0\n"
                  "x_total{a=\"x\",b=\"2\"} 1\n"
                  "x_total{a=\"1\",b=\"x\"} 2\n");
}

/* One label set, spelled in four ways, made up to four lines. */
TEST_WITH(r, fix_01_a_label_set_is_one_series_however_it_is_spelled) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"},
                                .default_labels = {{"a", "1"}, {"b", "2"}});
    pytheus_counter_inc(c);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1"));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "2"));
    pytheus_counter_inc(pytheus_counter_labels(c, "b", "2"));
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\",b=\"2\"} 4\n");
}

/* A refused histogram stayed registered, and broke every scrape from then on. */
TEST_WITH(r, fix_02_a_definition_is_checked_before_it_is_registered) {
    CHECK_NOTHING(
        HISTOGRAM(r, .name = "x", .buckets = (const double[]){0.2, 1, 0.5}, .num_buckets = 3));
    CHECK_NOTHING(
        COUNTER(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"b", "1"}}));
    CHECK_PAGE(r, "");
    CHECK(HISTOGRAM(r, .name = "x").view.node != NULL);
}

/* The second of two metrics of one name counted, but was never exposed. */
TEST_WITH(r, fix_03_a_duplicate_is_refused_aloud) {
    pytheus_counter first = COUNTER(r, .name = "x");
    pytheus_counter second = COUNTER(r, .name = "x", .required_labels = {"a"});
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(pytheus_counter_inc(second), PYTHEUS_ERR_NOTHING);
    pytheus_counter_inc(first);
    CHECK_PAGE(r, "# TYPE x counter\nx 1\n");
}

TEST_WITH(r, fix_03_the_same_definition_gets_the_same_metric) {
    pytheus_counter_inc(COUNTER(r, .name = "x"));
    pytheus_counter_inc(COUNTER(r, .name = "x"));
    CHECK_PAGE(r, "# TYPE x counter\nx 2\n");
}

/* A histogram x and a counter x_count made a page that others refuse. */
TEST_WITH(r, fix_04_names_that_follow_from_others_are_taken) {
    HISTOGRAM(r, .name = "x");
    CHECK_NOTHING(COUNTER(r, .name = "x_count"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    COUNTER(r, .name = "y_sum");
    CHECK_NOTHING(SUMMARY(r, .name = "y"));
}

TEST(fix_05_bad_bounds_are_refused) {
    const double twice[] = {1, 1}, nan[] = {1, (double)NAN}, minus[] = {-(double)INFINITY, 1};
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .buckets = twice, .num_buckets = 2),
              PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .buckets = nan, .num_buckets = 2),
              PYTHEUS_ERR_BUCKETS);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .buckets = minus, .num_buckets = 2),
              PYTHEUS_ERR_BUCKETS);
}

TEST(fix_05_repeated_labels_are_refused) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .required_labels = {"a", "a"}), PYTHEUS_ERR_LABEL);
}

/* One NaN made a counter NaN for ever. */
TEST_WITH(r, fix_05_bad_increments_are_refused) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    CHECK_ERR(pytheus_counter_add(c, (double)NAN), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_counter_add(c, (double)INFINITY), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_counter_add(c, -1), PYTHEUS_ERR_VALUE);
    pytheus_counter_inc(c);
    CHECK_VALUE(c, 1);
}

/* A NaN went into _count and the sum, but into no bucket. */
TEST_WITH(r, fix_06_nan_leaves_a_histogram_alone) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x");
    CHECK_ERR(pytheus_histogram_observe(h, (double)NAN), PYTHEUS_ERR_VALUE);
    pytheus_histogram_observe(h, 3);
    CHECK_SAMPLE(r, "x_count", 1);
    CHECK_LABELLED(r, "x_bucket", 1, "le", "+Inf");
    CHECK_SAMPLE(r, "x_sum", 3);
}

static bool stop_observing;

static void *keep_observing(void *histogram) {
    for (int i = 0; !__atomic_load_n(&stop_observing, __ATOMIC_RELAXED); i++)
        pytheus_histogram_observe(*(pytheus_histogram *)histogram, i % 12);
    return NULL;
}

/* Reads a page without keeping it: a thousand like it say no more than one. */
static void check_counts(pytheus_registry *r) {
    static const char *const none[] = {"le", "+Inf"};
    size_t size;
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    char *text = pytheus_generate(r, PYTHEUS_TEXT, &size);
    bool good = reader_parse(text, size, &doc, error);
    check_that(good, __FILE__, __LINE__, "the page is refused: %s", error);
    const reader_sample *count = good ? reader_find(&doc, "x_count", NULL, 0) : NULL;
    const reader_sample *all = good ? reader_find(&doc, "x_bucket", none, 2) : NULL;
    CHECK(count && all && count->value == all->value);
    reader_free(&doc);
    pytheus_free(text);
}

/* Buckets, sum and count were changed one after the other, each under a lock of its own. */
TEST_WITH(r, fix_07_count_is_the_last_bucket_in_every_scrape) {
    pthread_t threads[2];
    pytheus_histogram h = HISTOGRAM(r, .name = "x");
    __atomic_store_n(&stop_observing, false, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        CHECK_INT(pthread_create(&threads[i], NULL, keep_observing, &h), 0);
    for (int i = 0; i < 2000; i++)
        check_counts(r);
    __atomic_store_n(&stop_observing, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK(fixture_sample(r, "x_count", NULL, 0) > 0);
}

static int leave_early(pytheus_histogram h, pytheus_gauge g, int which) {
    PYTHEUS_TIME(h) {
        PYTHEUS_TRACK_INPROGRESS(g) {
            now += 1;
            CHECK_VALUE(g, 1);
            if (which == 1)
                return 1;
            if (which == 2)
                goto out;
        }
    }
out:
    return which;
}

/* An exception left the gauge counted up, and its time was not observed. */
TEST_WITH(r, fix_08_timers_and_progress_end_on_every_exit) {
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_gauge g = GAUGE(r, .name = "g");
    for (int which = 0; which < 3; which++)
        leave_early(h, g, which);
    CHECK_VALUE(g, 0);
    CHECK_VALUE(h, 3);
    CHECK_SAMPLE(r, "h_count", 3);
}

#define NUM_ROUNDS 300
#define NUM_THREADS 8

static pytheus_counter shared_counter;

static void *inc_every_round(void *unused) {
    char value[16];
    for (int i = 0; i < NUM_ROUNDS; i++) {
        snprintf(value, sizeof value, "%d", i);
        pytheus_counter_inc(pytheus_counter_labels(shared_counter, "round", value));
    }
    return unused;
}

/* Two threads that made the same child at once lost increments; a scrape meanwhile raised. */
TEST_WITH(r, fix_09_labels_and_scrapes_are_safe_in_threads) {
    pthread_t threads[NUM_THREADS];
    char value[16];
    shared_counter = COUNTER(r, .name = "x_total", .required_labels = {"round"});
    for (size_t i = 0; i < NUM_THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, inc_every_round, NULL), 0);
    for (int i = 0; i < 20; i++)
        pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    for (size_t i = 0; i < NUM_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < NUM_ROUNDS; i++) {
        snprintf(value, sizeof value, "%d", i);
        CHECK_LABELLED(r, "x_total", NUM_THREADS, "round", value);
    }
    free(page(r));
}

static pytheus_err sink_that_registers(void *user, const char *bytes, size_t size) {
    (void)bytes;
    (void)size;
    pytheus_registry *r = (pytheus_registry *)user;
    return pytheus_counter_inc(COUNTER(r, .name = "registered_total"));
}

/* A collector that made a metric while the registry's lock was held waited for ever. */
TEST_WITH(r, fix_09_no_lock_is_held_while_others_run) {
    const pytheus_sink sink = {sink_that_registers, r};
    GAUGE(r, .name = "x");
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK_SAMPLE(r, "registered_total", 1);
}

/* Label values and help were printed as they came. */
TEST_WITH(r, fix_15_everything_is_escaped) {
    pytheus_gauge g = GAUGE(r, .name = "x", .help = "a\\b\nc", .required_labels = {"l"});
    pytheus_gauge_labels(g, "l", "a\\b\nc\"d");
    CHECK_PAGE(r, "# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l=\"a\\\\b\\nc\\\"d\"} 0\n");
}

/* Lines ended as the system has it, and the last one not at all. */
TEST_WITH(r, fix_15_lines_end_with_a_line_feed) {
    FILE *stream = tmpfile();
    char text[256];
    if (!CHECK(stream != NULL))
        return;
    GAUGE(r, .name = "x", .help = "Help.");
    HISTOGRAM(r, .name = "h", .buckets = (const double[]){1}, .num_buckets = 1);
    pytheus_write_stream(r, PYTHEUS_TEXT, stream);
    rewind(stream);
    size_t size = fread(text, 1, sizeof text - 1, stream);
    text[size] = 0;
    CHECK(size > 0 && text[size - 1] == '\n');
    CHECK(!strchr(text, '\r'));
    fclose(stream);
}

/* There was no way to forget a series. */
TEST_WITH(r, fix_16_one_series_can_be_removed) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
    pytheus_counter_labels(c, "a", "1", "b", "1");
    pytheus_counter_labels(c, "a", "1", "b", "2");
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "a", "1", "b", "1").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\",b=\"2\"} 0\n");
}

TEST_WITH(r, fix_16_series_with_a_label_can_be_removed) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
    pytheus_counter_labels(c, "a", "1", "b", "1");
    pytheus_counter_labels(c, "a", "2", "b", "1");
    pytheus_counter_labels(c, "a", "2", "b", "2");
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "b", "1").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"2\",b=\"2\"} 0\n");
}

TEST_WITH(r, fix_16_all_series_can_be_removed) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
    pytheus_counter_labels(c, "a", "1", "b", "1");
    pytheus_counter_labels(c, "a", "2", "b", "1");
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\n");
}

/* Outside totals could not be mirrored. */
TEST_WITH(r, fix_17_a_counter_can_be_set) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_counter_set(c, 12345.5), PYTHEUS_OK);
    CHECK_VALUE(c, 12345.5);
}

TEST_WITH(r, fix_17_a_counter_can_be_reset) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter view = pytheus_counter_labels(c, "a", "1");
    pytheus_counter_add(view, 7);
    CHECK_ERR(pytheus_counter_set(view, 0), PYTHEUS_OK);
    CHECK_LINE(r, "x_total{a=\"1\"} 0");
    CHECK_ERR(pytheus_view_remove(view.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\n");
}
