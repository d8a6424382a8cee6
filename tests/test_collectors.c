/* Collectors: what they emit, what is refused, whose names are whose, and what they may do while
   they run. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "budget.h"

#ifndef _WIN32
#include <unistd.h>
#endif

#define FAMILY(out, type_, ...)                                                                    \
    pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_##type_, __VA_ARGS__})
#define BARE(out, ...) pytheus_emit_sample(out, &(pytheus_sample){__VA_ARGS__})
#define SAMPLE(out, value_, ...)                                                                   \
    pytheus_emit_sample(                                                                           \
        out, &(pytheus_sample){.value = (value_),                                                  \
                               .pairs = (const char *const[]){__VA_ARGS__},                        \
                               .num_strings = COUNT_OF(((const char *const[]){__VA_ARGS__}))})
#define PART(out, suffix_, value_, ...)                                                            \
    pytheus_emit_sample(                                                                           \
        out, &(pytheus_sample){.suffix = (suffix_),                                                \
                               .value = (value_),                                                  \
                               .pairs = (const char *const[]){__VA_ARGS__},                        \
                               .num_strings = COUNT_OF(((const char *const[]){__VA_ARGS__}))})
#define UNREGISTERED(r, kind, ...) kind(r, .unregistered = true, __VA_ARGS__)

typedef pytheus_err collect_function(void *user, pytheus_emitter *out);

static pytheus_err add(pytheus_registry *r, const char *name, collect_function *collect,
                       void *user) {
    return pytheus_registry_add_collector(
        r, &(pytheus_collector){.name = name, .collect = collect, .user = user});
}

/* ---- what others do ---- */

static pytheus_err emit_metric_of_user(void *user, pytheus_emitter *out) {
    return pytheus_emit_metric(out, ((pytheus_gauge *)user)->view);
}

static pytheus_err emit_nothing(void *user, pytheus_emitter *out) {
    (void)user;
    (void)out;
    return PYTHEUS_OK;
}

TEST_WITH(r, pytheus_metrics_create_custom_collector) {
    CHECK_ERR(add(r, "mycollector", emit_nothing, NULL), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "mycollector"), PYTHEUS_OK);
}

/* The original makes its metric at each collection. */
static pytheus_err make_and_emit(void *user, pytheus_emitter *out) {
    pytheus_gauge *made = user;
    if (!made->view.node)
        *made = GAUGE(NULL, .name = "name", .help = "desc", .unregistered = true);
    return pytheus_emit_metric(out, made->view);
}

TEST_WITH(r, pytheus_metrics_custom_collector_collect) {
    pytheus_gauge made = {{0}};
    CHECK_ERR(add(r, "mycollector", make_and_emit, &made), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP name desc\n# TYPE name gauge\nname 0\n");
    pytheus_registry_free(pytheus_default());
}

TEST_WITH(r, pytheus_metrics_cannot_add_two_custom_collectors_with_same_name) {
    pytheus_gauge first = UNREGISTERED(r, GAUGE, .name = "first");
    pytheus_gauge second = UNREGISTERED(r, GAUGE, .name = "second");
    CHECK_ERR(add(r, "mycollector", emit_metric_of_user, &first), PYTHEUS_OK);
    CHECK_ERR(add(r, "mycollector", emit_metric_of_user, &second), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(logged.sentence, "mycollector: there is a collector of this name");
    CHECK_PAGE(r, "# TYPE first gauge\nfirst 0\n");
}

TEST_WITH(r, pytheus_metrics_registry_correctly_return_custom_collector) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "name");
    GAUGE(r, .name = "before");
    CHECK_ERR(add(r, "mycollector", emit_metric_of_user, &metric), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE before gauge\nbefore 0\n# TYPE name gauge\nname 0\n");
}

TEST_WITH(r, pytheus_metrics_can_remove_from_registry) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "name");
    CHECK_ERR(add(r, "mycollector", emit_metric_of_user, &metric), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "mycollector"), PYTHEUS_OK);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_gauge_set(metric, 1), PYTHEUS_OK);
}

TEST_WITH(r, pytheus_metrics_adding_to_registry_with_already_present_metric_with_same_name) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "name");
    COUNTER(r, .name = "name");
    CHECK_ERR(add(r, "mycollector", emit_metric_of_user, &metric), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(logged.sentence, "mycollector: name is on the page already");
    CHECK_PAGE(r, "# TYPE name counter\nname 0\n");
    CHECK_ERR(pytheus_registry_remove_collector(r, "mycollector"), PYTHEUS_ERR_NOTHING);
}

TEST_WITH(r, pytheus_exposition_generate_metrics_custom_collector) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "test_name", .help = "test desc");
    pytheus_gauge_inc(metric);
    CHECK_ERR(add(r, "collector", emit_metric_of_user, &metric), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP test_name test desc\n# TYPE test_name gauge\ntest_name 1\n");
}

typedef struct pair_of_metrics {
    pytheus_counter counter;
    pytheus_histogram histogram;
} pair_of_metrics;

static pytheus_err emit_pair(void *user, pytheus_emitter *out) {
    const pair_of_metrics *pair = user;
    pytheus_err err = pytheus_emit_metric(out, pair->counter.view);
    return err ? err : pytheus_emit_metric(out, pair->histogram.view);
}

static pair_of_metrics pair_in(pytheus_registry *r) {
    pair_of_metrics pair = {COUNTER(r, .name = "hits_total", .help = "Hits.",
                                    .required_labels = {"bob"}, .unregistered = true),
                            HISTOGRAM(r, .name = "wait_seconds",
                                      .buckets = (const double[]){0.5, 1}, .num_buckets = 2,
                                      .unregistered = true)};
    pytheus_counter_inc(pytheus_counter_labels(pair.counter, "bob", "a"));
    pytheus_counter_add(pytheus_counter_labels(pair.counter, "bob", "b"), 2.5);
    pytheus_histogram_observe(pair.histogram, 0.75);
    return pair;
}

TEST_WITH(r, pytheus_exposition_generate_metrics_custom_collector_with_multiple_metrics) {
    pair_of_metrics pair = pair_in(r);
    CHECK_ERR(add(r, "collector", emit_pair, &pair), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP hits_total Hits.\n"
                  "# TYPE hits_total counter\n"
                  "hits_total{bob=\"a\"} 1\n"
                  "hits_total{bob=\"b\"} 2.5\n"
                  "# TYPE wait_seconds histogram\n"
                  "wait_seconds_bucket{le=\"0.5\"} 0\n"
                  "wait_seconds_bucket{le=\"1\"} 1\n"
                  "wait_seconds_bucket{le=\"+Inf\"} 1\n"
                  "wait_seconds_sum 0.75\n"
                  "wait_seconds_count 1\n");
}

/* There the collector registers while it yields, which a lock that is held would not let it. */
static pytheus_err register_and_emit(void *user, pytheus_emitter *out) {
    pytheus_registry *r = user;
    pytheus_gauge registered = GAUGE(r, .name = "registered", .required_labels = {"n"});
    CHECK(registered.view.node != NULL);
    CHECK_ERR(pytheus_gauge_inc(pytheus_gauge_labels(registered, "n", "1")), PYTHEUS_OK);
    FAMILY(out, COUNTER, .name = "c_total");
    return BARE(out, .value = 1);
}

TEST_WITH(r, client_core_registry_restricted_registry_does_not_yield_while_locked) {
    CHECK_ERR(add(r, "collector", register_and_emit, r), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE registered gauge\n"
                  "registered{n=\"1\"} 1\n"
                  "# TYPE c_total counter\n"
                  "c_total 1\n");
}

TEST_WITH(r, client_core_registry_unregister_works) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "s_count");
    CHECK_ERR(add(r, "a", emit_metric_of_user, &metric), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "a"), PYTHEUS_OK);
    CHECK(SUMMARY(r, .name = "s").view.node != NULL);
    CHECK_PAGE(r, "# TYPE s summary\ns_sum 0\ns_count 0\n");
}

static pytheus_err emit_counter_families(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, COUNTER, .name = "c_total", .help = "help");
    CHECK_ERR(BARE(out, .value = 1), PYTHEUS_OK);
    FAMILY(out, COUNTER, .name = "cl_total", .help = "help");
    CHECK_ERR(SAMPLE(out, 2, "a", "b", "c", "d"), PYTHEUS_OK);
    FAMILY(out, COUNTER, .name = "cu_myunit_total", .help = "help", .unit = "myunit");
    return BARE(out, .value = 3);
}

TEST_WITH(r, client_core_metric_families_counter) {
    CHECK_ERR(add(r, "custom", emit_counter_families, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP c_total help\n"
                  "# TYPE c_total counter\n"
                  "c_total 1\n"
                  "# HELP cl_total help\n"
                  "# TYPE cl_total counter\n"
                  "cl_total{a=\"b\",c=\"d\"} 2\n"
                  "# HELP cu_myunit_total help\n"
                  "# TYPE cu_myunit_total counter\n"
                  "cu_myunit_total 3\n");
}

static pytheus_err emit_gauge_families(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "g", .help = "help");
    CHECK_ERR(BARE(out, .value = 1), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "gl", .help = "help");
    CHECK_ERR(SAMPLE(out, 2, "a", "b"), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "gu_myunit", .help = "help", .unit = "myunit");
    return BARE(out, .value = 3);
}

TEST_WITH(r, client_core_metric_families_gauge) {
    CHECK_ERR(add(r, "custom", emit_gauge_families, NULL), PYTHEUS_OK);
    CHECK_LINE(r, "g 1");
    CHECK_LINE(r, "gl{a=\"b\"} 2");
    CHECK_LINE(r, "gu_myunit 3");
}

static pytheus_err emit_summary_families(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, SUMMARY, .name = "s", .help = "help");
    CHECK_ERR(BARE(out, .suffix = "_sum", .value = 2), PYTHEUS_OK);
    CHECK_ERR(BARE(out, .suffix = "_count", .value = 1), PYTHEUS_OK);
    FAMILY(out, SUMMARY, .name = "sl", .help = "help");
    CHECK_ERR(SAMPLE(out, 0.1, "a", "b", "quantile", "0.5"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 7, "quantile", "0.99", "a", "b"), PYTHEUS_OK);
    CHECK_ERR(PART(out, "_sum", 2, "a", "b"), PYTHEUS_OK);
    return PART(out, "_count", 1, "a", "b");
}

TEST_WITH(r, client_core_metric_families_summary) {
    CHECK_ERR(add(r, "custom", emit_summary_families, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP s help\n"
                  "# TYPE s summary\n"
                  "s_sum 2\n"
                  "s_count 1\n"
                  "# HELP sl help\n"
                  "# TYPE sl summary\n"
                  "sl{a=\"b\",quantile=\"0.5\"} 0.1\n"
                  "sl{quantile=\"0.99\",a=\"b\"} 7\n"
                  "sl_sum{a=\"b\"} 2\n"
                  "sl_count{a=\"b\"} 1\n");
}

static pytheus_err emit_histogram_families(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, HISTOGRAM, .name = "h", .help = "help");
    CHECK_ERR(PART(out, "_bucket", 0, "le", "0.5"), PYTHEUS_OK);
    CHECK_ERR(PART(out, "_bucket", 1, "le", "+Inf"), PYTHEUS_OK);
    CHECK_ERR(BARE(out, .suffix = "_sum", .value = 2), PYTHEUS_OK);
    CHECK_ERR(BARE(out, .suffix = "_count", .value = 1), PYTHEUS_OK);
    FAMILY(out, HISTOGRAM, .name = "hl", .help = "help");
    CHECK_ERR(PART(out, "_bucket", 0, "a", "b", "le", "1e+06"), PYTHEUS_OK);
    CHECK_ERR(PART(out, "_bucket", 1, "a", "b", "le", "+Inf"), PYTHEUS_OK);
    CHECK_ERR(PART(out, "_sum", 2, "a", "b"), PYTHEUS_OK);
    return PART(out, "_count", 1, "a", "b");
}

TEST_WITH(r, client_core_metric_families_histogram) {
    CHECK_ERR(add(r, "custom", emit_histogram_families, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP h help\n"
                  "# TYPE h histogram\n"
                  "h_bucket{le=\"0.5\"} 0\n"
                  "h_bucket{le=\"+Inf\"} 1\n"
                  "h_sum 2\n"
                  "h_count 1\n"
                  "# HELP hl help\n"
                  "# TYPE hl histogram\n"
                  "hl_bucket{a=\"b\",le=\"1e+06\"} 0\n"
                  "hl_bucket{a=\"b\",le=\"+Inf\"} 1\n"
                  "hl_sum{a=\"b\"} 2\n"
                  "hl_count{a=\"b\"} 1\n");
}

static void emit_at(pytheus_emitter *out, const char *foo, int64_t timestamp_ms) {
    CHECK_ERR(pytheus_emit_sample(out, &(pytheus_sample){.pairs = (const char *[]){"foo", foo},
                                                         .num_strings = 2,
                                                         .timestamp_ms = timestamp_ms,
                                                         .has_timestamp = true}),
              PYTHEUS_OK);
}

static pytheus_err emit_timestamps(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "ts", .help = "help");
    emit_at(out, "a", 123456);
    emit_at(out, "b", -123456);
    emit_at(out, "c", 123000);
    emit_at(out, "d", 0);
    emit_at(out, "e", INT64_MAX);
    emit_at(out, "f", INT64_MIN);
    return SAMPLE(out, 0, "foo", "g");
}

TEST_WITH(r, client_exposition_timestamp) {
    CHECK_ERR(add(r, "mycollector", emit_timestamps, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP ts help\n"
                  "# TYPE ts gauge\n"
                  "ts{foo=\"a\"} 0 123456\n"
                  "ts{foo=\"b\"} 0 -123456\n"
                  "ts{foo=\"c\"} 0 123000\n"
                  "ts{foo=\"d\"} 0 0\n"
                  "ts{foo=\"e\"} 0 9223372036854775807\n"
                  "ts{foo=\"f\"} 0 -9223372036854775808\n"
                  "ts{foo=\"g\"} 0\n");
}

/* ---- metrics ---- */

TEST_WITH(r, a_metric_of_another_registry_gets_the_prefix_of_the_page) {
    pytheus_registry *page_of = fixture_registry("page"), *other = fixture_registry("other");
    pair_of_metrics pair = pair_in(r), in_other = pair;
    in_other.histogram = HISTOGRAM(other, .name = "latency", .buckets = (const double[]){1},
                                   .num_buckets = 1, .required_labels = {"a"});
    pytheus_histogram_observe(pytheus_histogram_labels(in_other.histogram, "a", "1"), 3);
    CHECK_ERR(add(page_of, "collector", emit_pair, &in_other), PYTHEUS_OK);
    CHECK_PAGE(page_of, "# HELP page_hits_total Hits.\n"
                        "# TYPE page_hits_total counter\n"
                        "page_hits_total{bob=\"a\"} 1\n"
                        "page_hits_total{bob=\"b\"} 2.5\n"
                        "# TYPE page_latency histogram\n"
                        "page_latency_bucket{a=\"1\",le=\"1\"} 0\n"
                        "page_latency_bucket{a=\"1\",le=\"+Inf\"} 1\n"
                        "page_latency_sum{a=\"1\"} 3\n"
                        "page_latency_count{a=\"1\"} 1\n");
    CHECK_LINE(other, "other_latency_count{a=\"1\"} 1");
    pytheus_registry_free(page_of);
    pytheus_registry_free(other);
}

/* After the collector its neighbours have their own names again. */
TEST(what_follows_an_emitted_metric_keeps_its_prefix) {
    pytheus_registry *r = fixture_registry("app");
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "in_between");
    GAUGE(r, .name = "first");
    CHECK_ERR(add(r, "collector", emit_metric_of_user, &metric), PYTHEUS_OK);
    GAUGE(r, .name = "last");
    CHECK_PAGE(r, "# TYPE app_first gauge\napp_first 0\n"
                  "# TYPE app_in_between gauge\napp_in_between 0\n"
                  "# TYPE app_last gauge\napp_last 0\n");
    pytheus_registry_free(r);
}

/* The usual collector: it looks around, and sets what it has found. */
static pytheus_err find_one_more(void *user, pytheus_emitter *out) {
    const pytheus_gauge *disks = user;
    static int num_found;
    char name[32];
    snprintf(name, sizeof name, "%d", num_found++);
    pytheus_gauge_set(pytheus_gauge_labels(*disks, "disk", name), num_found);
    return pytheus_emit_metric(out, disks->view);
}

TEST_WITH(r, series_that_a_collector_makes_are_on_the_same_page) {
    pytheus_gauge disks = UNREGISTERED(r, GAUGE, .name = "disk_bytes", .required_labels = {"disk"});
    CHECK_ERR(add(r, "disks", find_one_more, &disks), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE disk_bytes gauge\ndisk_bytes{disk=\"0\"} 1\ndisk_bytes{disk=\"1\"} 2\n");
    CHECK_LINE(r, "disk_bytes{disk=\"2\"} 3");
}

static pytheus_err emit_each(void *user, pytheus_emitter *out) {
    const pytheus_view *views = user;
    for (; views->node; views++)
        CHECK_ERR(pytheus_emit_metric(out, *views), PYTHEUS_OK);
    return PYTHEUS_OK;
}

TEST_WITH(r, any_view_of_a_metric_stands_for_it) {
    pytheus_gauge a = UNREGISTERED(r, GAUGE, .name = "a", .required_labels = {"x", "y"});
    pytheus_gauge b = UNREGISTERED(r, GAUGE, .name = "b", .required_labels = {"x"});
    pytheus_gauge c = UNREGISTERED(r, GAUGE, .name = "c", .required_labels = {"x"});
    pytheus_gauge removed = pytheus_gauge_labels(c, "x", "removed");
    pytheus_view views[] = {pytheus_gauge_labels(a, "x", "1").view,
                            pytheus_gauge_labels(b, "x", "1").view,
                            removed.view,
                            {0}};
    pytheus_gauge_labels(a, "x", "1", "y", "2");
    pytheus_gauge_labels(a, "x", "3", "y", "4");
    pytheus_gauge_labels(c, "x", "kept");
    CHECK_ERR(pytheus_view_remove(removed.view), PYTHEUS_OK);
    CHECK_ERR(add(r, "views", emit_each, views), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE a gauge\na{x=\"1\",y=\"2\"} 0\na{x=\"3\",y=\"4\"} 0\n"
                  "# TYPE b gauge\nb{x=\"1\"} 0\n"
                  "# TYPE c gauge\nc{x=\"kept\"} 0\n");
}

/* More than the page had taken memory for, and more lines than fit in its buffer. */
TEST_WITH(r, an_emitted_metric_may_be_larger_than_all_others) {
    static double bounds[3000];
    char label[3000];
    memset(label, 'x', sizeof label - 1);
    label[sizeof label - 1] = 0;
    pytheus_buckets_linear(bounds, 3000, 1, 1);
    pytheus_histogram h = UNREGISTERED(r, HISTOGRAM, .name = "h", .required_labels = {"a"},
                                       .buckets = bounds, .num_buckets = 3000);
    for (int i = 0; i < 3; i++) {
        label[0] = (char)('a' + i);
        pytheus_histogram_observe(pytheus_histogram_labels(h, "a", label), 1500.5);
    }
    pytheus_view views[] = {h.view, {0}};
    CHECK_ERR(add(r, "large", emit_each, views), PYTHEUS_OK);
    page_reading reading = page_open(r);
    CHECK_INT(reading.doc.num_samples, 3 * 3003);
    const char *pairs[] = {"a", label, "le", "1501"};
    const reader_sample *sample = reader_find(&reading.doc, "h_bucket", pairs, 4);
    CHECK(sample && sample->value >= 1 && sample->value <= 1);
    reader_free(&reading.doc);
    free(reading.text);
}

static double tell(void *user) {
    return *(const double *)user;
}

TEST_WITH(r, an_emitted_metric_may_have_functions) {
    double told = 1.5;
    pytheus_gauge g = UNREGISTERED(r, GAUGE, .name = "g", .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "set"), 1);
    CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "told"), tell, &told),
              PYTHEUS_OK);
    CHECK_ERR(add(r, "functions", emit_metric_of_user, &g), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng{a=\"set\"} 1\ng{a=\"told\"} 1.5\n");
}

static pytheus_err emit_nothing_handle(void *user, pytheus_emitter *out) {
    pytheus_gauge *after = user;
    CHECK_ERR(pytheus_emit_metric(out, (pytheus_view){0}), PYTHEUS_ERR_NOTHING);
    CHECK_STR(pytheus_last_error(), "bad: nothing is no metric");
    return pytheus_emit_metric(out, after->view);
}

TEST_WITH(r, nothing_is_no_metric) {
    pytheus_gauge after = UNREGISTERED(r, GAUGE, .name = "after");
    CHECK_ERR(add(r, "bad", emit_nothing_handle, &after), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE after gauge\nafter 0\n");
    CHECK_INT(logged.num, 1);
    CHECK_STR(logged.metric, "bad");
}

/* ---- families ---- */

static pytheus_err emit_hostile(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "hostile",
           .help = "a\nb\\c\"d\xff"
                   "e\xe2\x82");
    CHECK_ERR(SAMPLE(out, 1, "v",
                     "a\nb\\c\"d\xff"
                     "e\xe2\x82"),
              PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "v", ""), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 3, "v", "\xf0\x9f\x98\x80\x01\x7f"), PYTHEUS_OK);
    return SAMPLE(out, 4, "v", "} 1\n# TYPE x gauge\n");
}

TEST_WITH(r, texts_are_mended_and_escaped) {
    CHECK_ERR(add(r, "hostile", emit_hostile, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP hostile a\\nb\\\\c\"d\xef\xbf\xbd"
                  "e\xef\xbf\xbd\n"
                  "# TYPE hostile gauge\n"
                  "hostile{v=\"a\\nb\\\\c\\\"d\xef\xbf\xbd"
                  "e\xef\xbf\xbd\"} 1\n"
                  "hostile{v=\"\"} 2\n"
                  "hostile{v=\"\xf0\x9f\x98\x80\x01\x7f\"} 3\n"
                  "hostile{v=\"} 1\\n# TYPE x gauge\\n\"} 4\n");
}

static pytheus_err emit_odd_values(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "odd");
    CHECK_ERR(SAMPLE(out, (double)NAN, "v", "nan"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, (double)INFINITY, "v", "inf"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, -(double)INFINITY, "v", "-inf"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, -0.0, "v", "-0"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 5e-324, "v", "least"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 1.7976931348623157e308, "v", "most"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 9007199254740992.0, "v", "2^53"), PYTHEUS_OK);
    return SAMPLE(out, 0.1, "v", "tenth");
}

TEST_WITH(r, emitted_values_are_written_as_all_others) {
    CHECK_ERR(add(r, "odd", emit_odd_values, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE odd gauge\n"
                  "odd{v=\"nan\"} NaN\n"
                  "odd{v=\"inf\"} +Inf\n"
                  "odd{v=\"-inf\"} -Inf\n"
                  "odd{v=\"-0\"} -0\n"
                  "odd{v=\"least\"} 5e-324\n"
                  "odd{v=\"most\"} 1.7976931348623157e+308\n"
                  "odd{v=\"2^53\"} 9007199254740992\n"
                  "odd{v=\"tenth\"} 0.1\n");
}

static pytheus_err emit_counters_at_odds(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, COUNTER, .name = "odd_total");
    CHECK_ERR(SAMPLE(out, (double)INFINITY, "v", "1"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, (double)NAN, "v", "2"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(SAMPLE(out, -1, "v", "3"), PYTHEUS_ERR_VALUE);
    return SAMPLE(out, 1.5, "v", "4");
}

TEST_WITH(r, an_emitted_counter_is_not_below_0) {
    CHECK_ERR(add(r, "odd", emit_counters_at_odds, NULL), PYTHEUS_OK);
    CHECK_STR(logged.sentence, "odd: odd_total counts from 0 up, not NaN");
    CHECK_PAGE(r, "# TYPE odd_total counter\nodd_total{v=\"1\"} +Inf\nodd_total{v=\"4\"} 1.5\n");
}

static pytheus_err emit_no_samples(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, COUNTER, .name = "empty_total", .help = "Nothing yet.");
    return FAMILY(out, GAUGE, .name = "bare", .help = "");
}

TEST_WITH(r, a_family_may_have_no_samples) {
    CHECK_ERR(add(r, "empty", emit_no_samples, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP empty_total Nothing yet.\n# TYPE empty_total counter\n"
                  "# TYPE bare gauge\n");
}

static pytheus_err emit_from_the_stack(void *user, pytheus_emitter *out) {
    char name[8] = "x", help[8] = "Help.", label[8] = "a", value[8] = "v";
    const char *pairs[2] = {label, value};
    pytheus_family family = {.type = PYTHEUS_GAUGE, .name = name, .help = help};
    pytheus_sample sample = {.pairs = pairs, .num_strings = 2, .value = 1};
    (void)user;
    CHECK_ERR(pytheus_emit_family(out, &family), PYTHEUS_OK);
    memset(name, '!', 7);
    memset(help, '!', 7);
    memset(&family, 0, sizeof family);
    CHECK_ERR(pytheus_emit_sample(out, &sample), PYTHEUS_OK);
    memset(label, '!', 7);
    memset(value, '!', 7);
    return PYTHEUS_OK;
}

TEST_WITH(r, what_is_emitted_is_copied) {
    char name[8] = "stack";
    CHECK_ERR(add(r, name, emit_from_the_stack, NULL), PYTHEUS_OK);
    memset(name, '!', 7);
    CHECK_PAGE(r, "# HELP x Help.\n# TYPE x gauge\nx{a=\"v\"} 1\n");
    CHECK_ERR(pytheus_registry_remove_collector(r, "stack"), PYTHEUS_OK);
}

enum { HUGE_TEXT = 200000 };

static char *huge_text(char letter) {
    static char text[HUGE_TEXT + 1];
    memset(text, letter, HUGE_TEXT);
    return text;
}

static pytheus_err emit_huge(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "x", .help = huge_text('\\'));
    CHECK_ERR(SAMPLE(out, 1, "a", huge_text('\n')), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "a", huge_text('\xff')), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = huge_text('n'));
    return SAMPLE(out, 3, huge_text('l'), "v");
}

TEST_WITH(r, lines_may_be_longer_than_the_buffer) {
    CHECK_ERR(add(r, "huge", emit_huge, NULL), PYTHEUS_OK);
    page_reading reading = page_open(r);
    CHECK_INT(reading.doc.num_samples, 3);
    CHECK_INT(reading.size, sizeof "# HELP x \n" - 1 + 2 * HUGE_TEXT + sizeof "# TYPE x gauge\n" -
                                1 + sizeof "x{a=\"\"} 1\nx{a=\"\"} 2\n" - 1 + 5 * HUGE_TEXT +
                                sizeof "# TYPE  gauge\n{=\"v\"} 3\n" - 1 + 3 * HUGE_TEXT);
    const char *pairs[] = {"a", huge_text('\n')};
    CHECK(reader_find(&reading.doc, "x", pairs, 2) != NULL);
    reader_free(&reading.doc);
    free(reading.text);
}

/* ---- refusals ---- */

/* One family that is refused, then a good one. */
typedef struct bad_family {
    pytheus_family family;
    pytheus_err err;
    const char *sentence;
} bad_family;

static pytheus_err emit_bad_family(void *user, pytheus_emitter *out) {
    const bad_family *bad = user;
    FAMILY(out, GAUGE, .name = "before");
    CHECK_ERR(BARE(out, .value = 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_emit_family(out, &bad->family), bad->err);
    CHECK_STR(pytheus_last_error(), bad->sentence);
    CHECK_ERR(BARE(out, .value = 2), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "a", "b"), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "after");
    return BARE(out, .value = 3);
}

static void check_bad_family(bad_family bad) {
    pytheus_registry *r = fixture_registry(NULL);
    CHECK_ERR(add(r, "bad", emit_bad_family, &bad), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE before gauge\nbefore 1\n# TYPE after gauge\nafter 3\n");
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, bad.err);
    CHECK_STR(logged.metric, "bad");
    CHECK_STR(logged.sentence, bad.sentence);
    pytheus_registry_free(r);
}
#define CHECK_BAD_FAMILY(err_, sentence_, ...)                                                     \
    check_bad_family(                                                                              \
        (bad_family){.err = PYTHEUS_ERR_##err_, .sentence = (sentence_), .family = {__VA_ARGS__}})

TEST(families_with_bad_names_are_left_out) {
    CHECK_BAD_FAMILY(NAME, "\"1x\" is not a valid metric name", .type = PYTHEUS_GAUGE,
                     .name = "1x");
    CHECK_BAD_FAMILY(NAME, "\"a-b\" is not a valid metric name", .type = PYTHEUS_GAUGE,
                     .name = "a-b");
    CHECK_BAD_FAMILY(NAME, "\"x?\" is not a valid metric name", .type = PYTHEUS_GAUGE,
                     .name = "x\n");
    CHECK_BAD_FAMILY(NAME, "\"\" is not a valid metric name", .type = PYTHEUS_GAUGE, .name = "");
    CHECK_BAD_FAMILY(NAME, "\"\" is not a valid metric name", .type = PYTHEUS_GAUGE, .name = NULL);
}

TEST(families_with_names_of_the_library_are_left_out) {
    CHECK_BAD_FAMILY(NAME, "pytheus_x: names that begin with pytheus_ are reserved",
                     .type = PYTHEUS_GAUGE, .name = "pytheus_x");
    CHECK_BAD_FAMILY(NAME,
                     "pytheus_collector_clashes_total: names that begin with pytheus_ are "
                     "reserved",
                     .type = PYTHEUS_COUNTER, .name = "pytheus_collector_clashes_total");
}

TEST(families_without_a_type_are_left_out) {
    CHECK_BAD_FAMILY(TYPE, "bad: x has no type that there is", .name = "x");
    CHECK_BAD_FAMILY(TYPE, "bad: x has no type that there is", .type = (pytheus_type)8,
                     .name = "x");
    CHECK_BAD_FAMILY(TYPE, "bad: x has no type that there is", .type = (pytheus_type)-1,
                     .name = "x");
}

TEST(families_with_another_unit_than_their_name_are_left_out) {
    CHECK_BAD_FAMILY(NAME, "x_bytes: the name does not end with its unit, _seconds",
                     .type = PYTHEUS_GAUGE, .name = "x_bytes", .unit = "seconds");
}

static pytheus_err emit_null(void *user, pytheus_emitter *out) {
    pytheus_err *errs = user;
    errs[0] = pytheus_emit_family(out, NULL);
    FAMILY(out, GAUGE, .name = "x");
    errs[1] = pytheus_emit_sample(out, NULL);
    return BARE(out, .value = 1);
}

TEST_WITH(r, null_is_no_family_and_no_sample) {
    pytheus_err errs[2] = {PYTHEUS_OK, PYTHEUS_OK};
    CHECK_ERR(add(r, "null", emit_null, errs), PYTHEUS_OK);
    CHECK(errs[0] != PYTHEUS_OK);
    CHECK(errs[1] != PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x gauge\nx 1\n");
}

/* In families of all types: one sample that is refused, among good ones. */
typedef struct bad_sample {
    pytheus_type type;
    pytheus_sample sample;
    pytheus_err err;
    const char *sentence;
} bad_sample;

static void emit_good_samples(pytheus_emitter *out, pytheus_type type) {
    switch (type) {
    case PYTHEUS_COUNTER:
    case PYTHEUS_GAUGE:
        CHECK_ERR(BARE(out, .value = 1), PYTHEUS_OK);
        break;
    case PYTHEUS_HISTOGRAM:
        CHECK_ERR(PART(out, "_bucket", 1, "le", "1"), PYTHEUS_OK);
        CHECK_ERR(PART(out, "_bucket", 2, "le", "+Inf"), PYTHEUS_OK);
        CHECK_ERR(BARE(out, .suffix = "_sum", .value = 5), PYTHEUS_OK);
        CHECK_ERR(BARE(out, .suffix = "_count", .value = 2), PYTHEUS_OK);
        break;
    case PYTHEUS_SUMMARY:
        CHECK_ERR(SAMPLE(out, 1, "quantile", "0.5"), PYTHEUS_OK);
        CHECK_ERR(BARE(out, .suffix = "_sum", .value = 5), PYTHEUS_OK);
        CHECK_ERR(BARE(out, .suffix = "_count", .value = 2), PYTHEUS_OK);
        break;
    default:
        break;
    }
}

static const char *good_page(pytheus_type type) {
    static const char *const pages[] = {
        [PYTHEUS_COUNTER] = "# TYPE x counter\nx 1\n",
        [PYTHEUS_GAUGE] = "# TYPE x gauge\nx 1\n",
        [PYTHEUS_HISTOGRAM] = "# TYPE x histogram\nx_bucket{le=\"1\"} 1\nx_bucket{le=\"+Inf\"} 2\n"
                              "x_sum 5\nx_count 2\n",
        [PYTHEUS_SUMMARY] = "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx_sum 5\nx_count 2\n",
    };
    return pages[type];
}

static pytheus_err emit_bad_sample(void *user, pytheus_emitter *out) {
    const bad_sample *bad = user;
    pytheus_family family = {.type = bad->type, .name = "x"};
    CHECK_ERR(pytheus_emit_family(out, &family), PYTHEUS_OK);
    emit_good_samples(out, bad->type);
    CHECK_ERR(pytheus_emit_sample(out, &bad->sample), bad->err);
    CHECK_STR(pytheus_last_error(), bad->sentence);
    return PYTHEUS_OK;
}

static void check_bad_sample(const bad_sample *bad) {
    pytheus_registry *r = fixture_registry(NULL);
    bad_sample copy = *bad;
    CHECK_ERR(add(r, "bad", emit_bad_sample, &copy), PYTHEUS_OK);
    CHECK_PAGE(r, good_page(bad->type));
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, bad->err);
    CHECK_STR(logged.metric, "bad");
    CHECK_STR(logged.sentence, bad->sentence);
    pytheus_registry_free(r);
}

static void check_bad(pytheus_type type, pytheus_err err, const char *sentence,
                      pytheus_sample sample) {
    bad_sample bad = {type, sample, err, sentence};
    check_bad_sample(&bad);
}
#define BAD_LABELS(type, sentence, suffix_, ...)                                                   \
    check_bad(PYTHEUS_##type, PYTHEUS_ERR_LABEL, sentence,                                         \
              (pytheus_sample){.suffix = (suffix_),                                                \
                               .pairs = (const char *const[]){__VA_ARGS__},                        \
                               .num_strings = COUNT_OF(((const char *const[]){__VA_ARGS__}))})
#define BAD_SUFFIX(type, suffix_)                                                                  \
    check_bad(PYTHEUS_##type, PYTHEUS_ERR_NAME, "bad: x has no samples with \"" suffix_ "\"",      \
              (pytheus_sample){.suffix = (suffix_)})

TEST(samples_with_suffixes_that_their_type_has_not_are_left_out) {
    BAD_SUFFIX(GAUGE, "_total");
    BAD_SUFFIX(GAUGE, "_sum");
    BAD_SUFFIX(COUNTER, "_total");
    BAD_SUFFIX(COUNTER, "_count");
    BAD_SUFFIX(COUNTER, "_bucket");
    BAD_SUFFIX(HISTOGRAM, "");
    BAD_SUFFIX(HISTOGRAM, "_info");
    BAD_SUFFIX(HISTOGRAM, "_Sum");
    BAD_SUFFIX(HISTOGRAM, "sum");
    BAD_SUFFIX(HISTOGRAM, "_sum ");
    BAD_SUFFIX(SUMMARY, "_bucket");
    BAD_SUFFIX(SUMMARY, "_sumx");
}

TEST(samples_with_bad_label_names_are_left_out) {
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"1a\"", NULL, "1a", "v");
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"\"", NULL, "", "v");
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"a:b\"", NULL, "a:b", "v");
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"__a\"", NULL, "__a", "v");
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"a?\"", NULL, "a\n", "v");
    BAD_LABELS(GAUGE, "bad: x: not a valid label name \"\"", NULL, "a", "v", NULL, "w");
    BAD_LABELS(COUNTER, "bad: x: not a valid label name \"a b\"", NULL, "a b", "v");
    BAD_LABELS(SUMMARY, "bad: x: not a valid label name \"a=\"", "_sum", "a=", "v");
}

TEST(samples_with_an_odd_number_of_strings_are_left_out) {
    BAD_LABELS(GAUGE, "bad: x: labels come in pairs \"\"", NULL, "a");
    BAD_LABELS(GAUGE, "bad: x: labels come in pairs \"\"", NULL, "a", "v", "b");
    check_bad(PYTHEUS_GAUGE, PYTHEUS_ERR_LABEL, "bad: x: labels come in pairs \"\"",
              (pytheus_sample){.num_strings = 2});
    check_bad(PYTHEUS_GAUGE, PYTHEUS_ERR_LABEL, "bad: x: labels come in pairs \"\"",
              (pytheus_sample){.num_strings = SIZE_MAX});
}

TEST(samples_with_values_that_are_null_are_left_out) {
    BAD_LABELS(GAUGE, "bad: x: NULL as the label \"a\"", NULL, "a", NULL);
    BAD_LABELS(GAUGE, "bad: x: NULL as the label \"b\"", NULL, "a", "v", "b", NULL);
    BAD_LABELS(HISTOGRAM, "bad: x: NULL as the label \"le\"", "_bucket", "le", NULL);
}

TEST(samples_with_a_label_twice_are_left_out) {
    BAD_LABELS(GAUGE, "bad: x: twice the label \"a\"", NULL, "a", "1", "a", "2");
    BAD_LABELS(GAUGE, "bad: x: twice the label \"a\"", NULL, "a", "1", "b", "2", "a", "1");
    BAD_LABELS(HISTOGRAM, "bad: x: twice the label \"le\"", "_bucket", "le", "1", "le", "2");
}

TEST(buckets_need_their_bound_and_nothing_else_has_one) {
    BAD_LABELS(HISTOGRAM, "bad: x: a sample without \"le\"", "_bucket", "a", "v");
    check_bad(PYTHEUS_HISTOGRAM, PYTHEUS_ERR_LABEL, "bad: x: a sample without \"le\"",
              (pytheus_sample){.suffix = "_bucket"});
    BAD_LABELS(HISTOGRAM, "bad: x: only some samples have \"le\"", "_sum", "le", "1");
    BAD_LABELS(HISTOGRAM, "bad: x: only some samples have \"le\"", "_count", "a", "v", "le", "1");
    BAD_LABELS(SUMMARY, "bad: x: a sample without \"quantile\"", NULL, "a", "v");
    BAD_LABELS(SUMMARY, "bad: x: a sample without \"quantile\"", "", "le", "1");
    BAD_LABELS(SUMMARY, "bad: x: only some samples have \"quantile\"", "_sum", "quantile", "1");
    BAD_LABELS(SUMMARY, "bad: x: only some samples have \"quantile\"", "_count", "quantile", "1");
}

/* A reader refuses the whole page for one of these. */
static pytheus_err emit_with_bound(void *user, pytheus_emitter *out) {
    const char *bound = user;
    FAMILY(out, HISTOGRAM, .name = "h");
    CHECK_ERR(PART(out, "_bucket", 1, "le", bound), PYTHEUS_ERR_LABEL);
    emit_good_samples(out, PYTHEUS_HISTOGRAM);
    FAMILY(out, SUMMARY, .name = "s");
    CHECK_ERR(SAMPLE(out, 1, "quantile", bound), PYTHEUS_ERR_LABEL);
    emit_good_samples(out, PYTHEUS_SUMMARY);
    return PYTHEUS_OK;
}

TEST(bounds_that_are_no_numbers_are_left_out) {
    static const char *const bad[] = {"",     "abc", "1,5",  " 1",  "1 ",   "1x", "NaN",
                                      "nan",  "0x",  "--1",  "1e",  "e5",   ".",  "+",
                                      "-Inf", "1_0", "\xff", "1\n", "infin"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        pytheus_registry *r = fixture_registry(NULL);
        char bound[16];
        strcpy(bound, bad[i]);
        CHECK_ERR(add(r, "bad", emit_with_bound, bound), PYTHEUS_OK);
        CHECK_PAGE(r, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
                      "h_sum 5\nh_count 2\n"
                      "# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 5\ns_count 2\n");
        pytheus_registry_free(r);
    }
}

static pytheus_err emit_le_elsewhere(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "g");
    CHECK_ERR(SAMPLE(out, 1, "le", "x", "quantile", "y"), PYTHEUS_OK);
    FAMILY(out, COUNTER, .name = "c_total");
    return SAMPLE(out, 1, "quantile", "abc");
}

TEST_WITH(r, other_types_may_have_le_and_quantile) {
    CHECK_ERR(add(r, "le", emit_le_elsewhere, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng{le=\"x\",quantile=\"y\"} 1\n"
                  "# TYPE c_total counter\nc_total{quantile=\"abc\"} 1\n");
}

static pytheus_err emit_repeated(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "g");
    CHECK_ERR(SAMPLE(out, 1, "a", "1", "b", "2"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "a", "2", "b", "1"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 3, "a", "1", "b", "2"), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(pytheus_last_error(), "again: g: twice the same labels");
    CHECK_ERR(SAMPLE(out, 4, "b", "2", "a", "1"), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(BARE(out, .value = 5), PYTHEUS_OK);
    CHECK_ERR(BARE(out, .value = 6, .timestamp_ms = 7, .has_timestamp = true),
              PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(BARE(out, .value = 8, .suffix = ""), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(SAMPLE(out, 9, "a", "12", "b", ""), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 10, "a", "", "b", "12"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 9.5, "a", "12"), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(SAMPLE(out, 9.7, "c", ""), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(SAMPLE(out, 11, "ab", "1"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 12, "a", "b1"), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "g2");
    return SAMPLE(out, 13, "a", "1", "b", "2");
}

/* An empty value is no label for Prometheus. */
TEST_WITH(r, the_same_labels_are_left_out_in_any_order) {
    CHECK_ERR(add(r, "again", emit_repeated, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\n"
                  "g{a=\"1\",b=\"2\"} 1\n"
                  "g{a=\"2\",b=\"1\"} 2\n"
                  "g 5\n"
                  "g{a=\"12\",b=\"\"} 9\n"
                  "g{a=\"\",b=\"12\"} 10\n"
                  "g{ab=\"1\"} 11\n"
                  "g{a=\"b1\"} 12\n"
                  "# TYPE g2 gauge\n"
                  "g2{a=\"1\",b=\"2\"} 13\n");
}

static pytheus_err emit_repeated_parts(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, HISTOGRAM, .name = "h");
    emit_good_samples(out, PYTHEUS_HISTOGRAM);
    CHECK_ERR(PART(out, "_bucket", 7, "le", "1"), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(BARE(out, .suffix = "_sum"), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(BARE(out, .suffix = "_count"), PYTHEUS_ERR_DUPLICATE);
    return PYTHEUS_OK;
}

TEST_WITH(r, each_suffix_has_its_own_labels) {
    CHECK_ERR(add(r, "again", emit_repeated_parts, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\n"
                  "h_sum 5\nh_count 2\n");
}

static pytheus_err emit_same_when_mended(void *user, pytheus_emitter *out) {
    (void)user;
    FAMILY(out, GAUGE, .name = "g");
    CHECK_ERR(SAMPLE(out, 1, "a", "\xff"), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "a", "\xfe"), PYTHEUS_ERR_DUPLICATE);
    return SAMPLE(out, 3, "a", "\xef\xbf\xbd") == PYTHEUS_ERR_DUPLICATE ? PYTHEUS_OK
                                                                        : PYTHEUS_ERR_IO;
}

TEST_WITH(r, values_that_are_mended_to_the_same_are_the_same) {
    CHECK_ERR(add(r, "mended", emit_same_when_mended, NULL), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE g gauge\ng{a=\"\xef\xbf\xbd\"} 1\n");
}

static pytheus_err emit_without_a_family(void *user, pytheus_emitter *out) {
    pytheus_gauge *metric = user;
    CHECK_ERR(BARE(out, .value = 1), PYTHEUS_ERR_NAME);
    CHECK_STR(pytheus_last_error(), "lone: a sample without a family");
    CHECK_ERR(pytheus_emit_metric(out, metric->view), PYTHEUS_OK);
    CHECK_ERR(SAMPLE(out, 2, "a", "b"), PYTHEUS_ERR_NAME);
    FAMILY(out, GAUGE, .name = "x");
    CHECK_ERR(pytheus_emit_metric(out, (pytheus_view){0}), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(BARE(out, .value = 3), PYTHEUS_ERR_NAME);
    return PYTHEUS_OK;
}

TEST_WITH(r, a_sample_needs_a_family) {
    pytheus_gauge metric = UNREGISTERED(r, GAUGE, .name = "metric");
    CHECK_ERR(add(r, "lone", emit_without_a_family, &metric), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE metric gauge\nmetric 0\n# TYPE x gauge\n");
}

TEST_WITH(r, a_collector_needs_a_name_and_something_to_call) {
    CHECK_ERR(pytheus_registry_add_collector(r, NULL), PYTHEUS_ERR_NAME);
    CHECK_STR(pytheus_last_error(), "a collector needs a name and collect()");
    CHECK_ERR(add(r, NULL, emit_nothing, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(add(r, "", emit_nothing, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(add(r, "x", NULL, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(pytheus_registry_remove_collector(r, "x"), PYTHEUS_ERR_NOTHING);
    CHECK_STR(pytheus_last_error(), "x: no such collector");
    CHECK_ERR(pytheus_registry_remove_collector(r, NULL), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_registry_remove_collector(r, ""), PYTHEUS_ERR_NOTHING);
}

/* ---- whose name it is ---- */

typedef struct listed {
    pytheus_family families[8];
    int num_destroyed;
} listed;

static pytheus_err emit_listed(void *user, pytheus_emitter *out) {
    const listed *list = user;
    for (const pytheus_family *family = list->families; family->name; family++) {
        pytheus_err err = pytheus_emit_family(out, family);
        if (err)
            return err;
        emit_good_samples(out, family->type);
    }
    return PYTHEUS_OK;
}

static void count_destroyed(void *user) {
    ((listed *)user)->num_destroyed++;
}

static pytheus_err add_list(pytheus_registry *r, const char *name, listed *list) {
    return add(r, name, emit_listed, list);
}

/* Where the list outlives the registry. */
static pytheus_err add_destroyed_list(pytheus_registry *r, const char *name, listed *list) {
    return pytheus_registry_add_collector(
        r, &(pytheus_collector){
               .name = name, .collect = emit_listed, .destroy = count_destroyed, .user = list});
}

TEST_WITH(r, a_refused_collector_is_not_destroyed) {
    listed list = {.families = {{.type = PYTHEUS_GAUGE, .name = "free"},
                                {.type = PYTHEUS_GAUGE, .name = "taken"}}};
    GAUGE(r, .name = "taken");
    CHECK_ERR(add_destroyed_list(r, "list", &list), PYTHEUS_ERR_DUPLICATE);
    CHECK_ERR(add_destroyed_list(r, "list", &list), PYTHEUS_ERR_DUPLICATE);
    CHECK_INT(logged.num, 1);
    CHECK_INT(list.num_destroyed, 0);
    CHECK_PAGE(r, "# TYPE taken gauge\ntaken 0\n");
    CHECK(GAUGE(r, .name = "free").view.node != NULL);
    list.families[1].name = "other";
    list.families[0].name = "free_too";
    CHECK_ERR(add_destroyed_list(r, "list", &list), PYTHEUS_OK);
    CHECK_LINE(r, "other 1");
    CHECK_ERR(pytheus_registry_remove_collector(r, "list"), PYTHEUS_OK);
    CHECK_INT(list.num_destroyed, 1);
}

/* What a registered metric's names leave to a collector. */
static pytheus_err beside(pytheus_type metric_type, const char *metric, pytheus_type type,
                          const char *name) {
    pytheus_registry *r = fixture_registry("p");
    pytheus_desc desc = {.name = metric, .registry = r};
    listed list = {.families = {{.type = type, .name = name}}};
    CHECK(fixture_new(metric_type, &desc).node != NULL);
    pytheus_err err = add_list(r, "list", &list);
    free(page(r));
    pytheus_registry_free(r);
    return err;
}
#define CHECK_BESIDE(a, name_a, b, name_b, expected)                                               \
    CHECK_ERR(beside(PYTHEUS_##a, name_a, PYTHEUS_##b, name_b), expected)

TEST(names_that_follow_from_names_are_taken_both_ways) {
    CHECK_BESIDE(HISTOGRAM, "x", GAUGE, "x_count", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(GAUGE, "x_count", HISTOGRAM, "x", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(HISTOGRAM, "x", COUNTER, "x_bucket", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(COUNTER, "x_bucket", HISTOGRAM, "x", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(SUMMARY, "x", GAUGE, "x_sum", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(GAUGE, "x_sum", SUMMARY, "x", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(COUNTER, "x_total", GAUGE, "x", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(GAUGE, "x_created", COUNTER, "x_total", PYTHEUS_ERR_DUPLICATE);
    CHECK_BESIDE(GAUGE, "x_count", GAUGE, "x", PYTHEUS_OK);
    CHECK_BESIDE(SUMMARY, "x", GAUGE, "x_bucket", PYTHEUS_OK);
    CHECK_BESIDE(GAUGE, "p_x", GAUGE, "x", PYTHEUS_OK);
}

/* The same among families of collectors, where it can only be found when they are emitted. */
static void check_clash(pytheus_type first_type, const char *first, pytheus_type second_type,
                        const char *second, bool clash, int line) {
    pytheus_registry *r = fixture_registry(NULL);
    listed a = {.families = {{.type = first_type, .name = first}}};
    listed b = {.families = {{.type = second_type, .name = second}}};
    CHECK_ERR(add_list(r, "a", &a), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "b", &b), PYTHEUS_OK);
    char *text = page(r);
    check_that((strstr(text, "pytheus_collector_clashes_total{collector=\"b\"} 1\n") != NULL) ==
                   clash,
               __FILE__, line, "%s and %s", first, second);
    free(text);
    CHECK_INT(logged.num, clash);
    pytheus_registry_free(r);
}
#define CHECK_CLASH(a, name_a, b, name_b, clash)                                                   \
    check_clash(PYTHEUS_##a, name_a, PYTHEUS_##b, name_b, clash, __LINE__)

TEST(names_that_follow_from_names_clash_both_ways) {
    CHECK_CLASH(GAUGE, "x", GAUGE, "x", true);
    CHECK_CLASH(GAUGE, "x", COUNTER, "x", true);
    CHECK_CLASH(HISTOGRAM, "x", GAUGE, "x_count", true);
    CHECK_CLASH(GAUGE, "x_count", HISTOGRAM, "x", true);
    CHECK_CLASH(COUNTER, "x_total", GAUGE, "x", true);
    CHECK_CLASH(GAUGE, "x", COUNTER, "x_total", true);
    CHECK_CLASH(GAUGE, "x_sum", GAUGE, "x", false);
    CHECK_CLASH(SUMMARY, "x", GAUGE, "x_bucket", false);
    CHECK_CLASH(GAUGE, "x", GAUGE, "y", false);
}

TEST_WITH(r, what_was_left_out_takes_no_names) {
    listed a = {.families = {{.type = PYTHEUS_GAUGE, .name = "x_count"}}};
    listed b = {.families = {{.type = PYTHEUS_HISTOGRAM, .name = "x"},
                             {.type = PYTHEUS_GAUGE, .name = "y"}}};
    listed c = {.families = {{.type = PYTHEUS_GAUGE, .name = "x"},
                             {.type = PYTHEUS_GAUGE, .name = "x_sum"}}};
    CHECK_ERR(add_list(r, "a", &a), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "b", &b), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "c", &c), PYTHEUS_OK);
    CHECK_LINE(r, "x_count 1");
    CHECK_LINE(r, "y 1");
    CHECK_LINE(r, "x 1");
    CHECK_LINE(r, "x_sum 1");
    CHECK_NO_LINE(r, "x_sum 5");
}

TEST_WITH(r, what_one_collector_emits_twice_is_refused_at_once) {
    listed list = {
        .families = {{.type = PYTHEUS_GAUGE, .name = "x"}, {.type = PYTHEUS_GAUGE, .name = "x"}}};
    CHECK_ERR(add_list(r, "list", &list), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(logged.sentence, "list: x is on the page already");
    CHECK_PAGE(r, "");
}

TEST(a_name_that_is_taken_later_is_left_out_told_once_and_counted) {
    pytheus_registry *r = fixture_registry("app");
    listed list = {.families = {{.type = PYTHEUS_GAUGE, .name = "first"},
                                {.type = PYTHEUS_HISTOGRAM, .name = "later"},
                                {.type = PYTHEUS_GAUGE, .name = "last"}}};
    CHECK_ERR(add_list(r, "li\"st", &list), PYTHEUS_OK);
    CHECK_LINE(r, "app_later_count 2");
    pytheus_gauge_set(GAUGE(r, .name = "later_count"), 7);
    for (int i = 1; i < 4; i++) {
        char expected[400];
        snprintf(expected, sizeof expected,
                 "# TYPE app_first gauge\napp_first 1\n"
                 "# TYPE app_last gauge\napp_last 1\n"
                 "# TYPE app_later_count gauge\napp_later_count 7\n"
                 "# HELP app_pytheus_collector_clashes_total Families left out because their name "
                 "was on the page already.\n"
                 "# TYPE app_pytheus_collector_clashes_total counter\n"
                 "app_pytheus_collector_clashes_total{collector=\"li\\\"st\"} %d\n",
                 i);
        CHECK_PAGE(r, expected);
        CHECK_INT(logged.num, 1);
    }
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(logged.sentence, "li\"st: later is on the page already");
    CHECK_STR(logged.metric, "li\"st");
    pytheus_registry_free(r);
}

TEST_WITH(r, a_collector_that_clashes_writes_its_metrics_next_to_it) {
    pytheus_gauge taken = UNREGISTERED(r, GAUGE, .name = "taken");
    pytheus_gauge other = UNREGISTERED(r, GAUGE, .name = "other");
    pytheus_view views[] = {taken.view, other.view, {0}};
    CHECK_ERR(add(r, "views", emit_each, views), PYTHEUS_OK);
    pytheus_counter_inc(COUNTER(r, .name = "taken"));
    CHECK_LINE(r, "other 0");
    CHECK_LINE(r, "taken 1");
    CHECK_NO_LINE(r, "taken 0");
    CHECK_LINE(r, "pytheus_collector_clashes_total{collector=\"views\"} 4");
}

static pytheus_err take_away_and_emit(void *user, pytheus_emitter *out) {
    pytheus_registry *r = user;
    pytheus_counter written = COUNTER(r, .name = "x");
    CHECK_ERR(pytheus_registry_remove(r, written.view), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "x");
    return BARE(out, .value = 1);
}

/* The page was begun with the metric, so its name is on it. */
TEST_WITH(r, a_name_stays_taken_for_the_page_that_has_it) {
    CHECK_ERR(add(r, "taker", take_away_and_emit, r), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "taker"), PYTHEUS_OK);
    COUNTER(r, .name = "x");
    CHECK_ERR(add(r, "taker", emit_nothing, r), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "taker"), PYTHEUS_OK);
    pytheus_counter y = COUNTER(r, .name = "y");
    CHECK_ERR(pytheus_registry_remove(r, COUNTER(r, .name = "x").view), PYTHEUS_OK);
    CHECK_ERR(add(r, "taker", take_away_and_emit, r), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove(r, y.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x gauge\nx 1\n");
}

/* The page can tell them apart only by names that are text. */
TEST_WITH(r, collectors_have_names_that_are_text) {
    static const char *const bad[] = {"\xff", "a\xfe", "\xed\xa0\x80", "\xe2\x82"};
    listed good = {.families = {{.type = PYTHEUS_GAUGE, .name = "x"}}}, odd = good;
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        CHECK_ERR(add(r, bad[i], emit_nothing, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(add_list(r, "a\nb\"\\", &good), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "\xef\xbf\xbd", &odd), PYTHEUS_OK);
    GAUGE(r, .name = "x");
    CHECK_PAGE(r, "# TYPE x gauge\nx 0\n"
                  "# HELP pytheus_collector_clashes_total Families left out because their name was "
                  "on the page already.\n"
                  "# TYPE pytheus_collector_clashes_total counter\n"
                  "pytheus_collector_clashes_total{collector=\"a\\nb\\\"\\\\\"} 1\n"
                  "pytheus_collector_clashes_total{collector=\"\xef\xbf\xbd\"} 1\n");
}

/* ---- order ---- */

TEST_WITH(r, collectors_are_on_the_page_where_they_were_registered) {
    listed b = {
        .families = {{.type = PYTHEUS_GAUGE, .name = "b1"}, {.type = PYTHEUS_GAUGE, .name = "b2"}}};
    listed d = {.families = {{.type = PYTHEUS_GAUGE, .name = "d"}}};
    GAUGE(r, .name = "a");
    CHECK_ERR(add_list(r, "z", &b), PYTHEUS_OK);
    GAUGE(r, .name = "c");
    CHECK_ERR(add_list(r, "y", &d), PYTHEUS_OK);
    GAUGE(r, .name = "e");
    CHECK_PAGE(r, "# TYPE a gauge\na 0\n"
                  "# TYPE b1 gauge\nb1 1\n"
                  "# TYPE b2 gauge\nb2 1\n"
                  "# TYPE c gauge\nc 0\n"
                  "# TYPE d gauge\nd 1\n"
                  "# TYPE e gauge\ne 0\n");
    CHECK_ERR(pytheus_registry_remove_collector(r, "z"), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "z", &b), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE a gauge\na 0\n"
                  "# TYPE c gauge\nc 0\n"
                  "# TYPE d gauge\nd 1\n"
                  "# TYPE e gauge\ne 0\n"
                  "# TYPE b1 gauge\nb1 1\n"
                  "# TYPE b2 gauge\nb2 1\n");
}

TEST_WITH(r, overflows_come_after_collectors_and_before_clashes) {
    listed list = {.families = {{.type = PYTHEUS_GAUGE, .name = "x"}}};
    CHECK_ERR(add_list(r, "list", &list), PYTHEUS_OK);
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"}, .max_series = 1);
    pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_labels(g, "a", "2");
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"1\"} 0\nx{a=\"__overflow__\"} 0\n"
                  "# HELP pytheus_overflow_calls_total Calls with new labels that got a metric's "
                  "overflow series.\n"
                  "# TYPE pytheus_overflow_calls_total counter\n"
                  "pytheus_overflow_calls_total{metric=\"x\"} 1\n"
                  "# HELP pytheus_collector_clashes_total Families left out because their name was "
                  "on the page already.\n"
                  "# TYPE pytheus_collector_clashes_total counter\n"
                  "pytheus_collector_clashes_total{collector=\"list\"} 1\n");
}

/* ---- what a collector may do while it runs ---- */

/* What one collector has to do, and with which registries; it is not to call itself for ever. */
typedef struct errand {
    pytheus_registry *registry, *other;
    int num_runs, depth;
} errand;

static void check_scrape(pytheus_registry *r) {
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    CHECK(text != NULL);
    pytheus_free(text);
}

static pytheus_err define_more(void *user, pytheus_emitter *out) {
    errand *e = user;
    char name[32];
    snprintf(name, sizeof name, "made_%d", e->num_runs++);
    pytheus_counter c = COUNTER(e->registry, .name = name, .required_labels = {"a"});
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1")), PYTHEUS_OK);
    FAMILY(out, GAUGE, .name = "runs");
    return BARE(out, .value = e->num_runs);
}

TEST_WITH(r, a_collector_may_define_metrics_in_its_registry) {
    errand e = {.registry = r};
    CHECK_ERR(add(r, "definer", define_more, &e), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE made_0 counter\nmade_0{a=\"1\"} 1\n# TYPE runs gauge\nruns 2\n");
    CHECK_PAGE(r, "# TYPE made_0 counter\nmade_0{a=\"1\"} 1\n# TYPE runs gauge\nruns 3\n"
                  "# TYPE made_1 counter\nmade_1{a=\"1\"} 1\n");
}

static pytheus_err scrape_other(void *user, pytheus_emitter *out) {
    errand *e = user;
    check_scrape(e->other);
    FAMILY(out, GAUGE, .name = "runs");
    return BARE(out, .value = ++e->num_runs);
}

TEST_WITH(r, a_collector_may_scrape_another_registry) {
    pytheus_registry *other = fixture_registry("other");
    errand there = {.registry = other, .other = r}, here = {.registry = r, .other = other};
    CHECK_ERR(add(other, "there", define_more, &there), PYTHEUS_OK);
    CHECK_ERR(add(r, "here", scrape_other, &here), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE runs gauge\nruns 2\n");
    CHECK_INT(there.num_runs, 3);
    pytheus_registry_free(other);
}

static pytheus_err scrape_own(void *user, pytheus_emitter *out) {
    errand *e = user;
    FAMILY(out, GAUGE, .name = "depth");
    CHECK_ERR(BARE(out, .value = e->depth), PYTHEUS_OK);
    if (e->depth++ < 3)
        check_scrape(e->registry);
    e->depth--;
    FAMILY(out, GAUGE, .name = "after");
    return BARE(out, .value = e->depth);
}

TEST_WITH(r, a_collector_may_scrape_its_own_registry) {
    errand e = {.registry = r};
    GAUGE(r, .name = "before");
    CHECK_ERR(add(r, "own", scrape_own, &e), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE before gauge\nbefore 0\n# TYPE depth gauge\ndepth 0\n"
                  "# TYPE after gauge\nafter 0\n");
    CHECK_INT(e.depth, 0);
}

typedef struct mortal {
    pytheus_registry *registry;
    const char *name;
    bool removes;
    int num_inside, num_destroyed, num_runs;
} mortal;

static void end_mortal(void *user) {
    mortal *m = user;
    CHECK_INT(m->num_inside, 0);
    m->num_destroyed++;
}

static pytheus_err remove_itself(void *user, pytheus_emitter *out) {
    mortal *m = user;
    m->num_inside++;
    m->num_runs++;
    FAMILY(out, GAUGE, .name = "last_words");
    if (m->removes) {
        CHECK_ERR(pytheus_registry_remove_collector(m->registry, m->name), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_remove_collector(m->registry, m->name), PYTHEUS_ERR_NOTHING);
        CHECK_INT(m->num_destroyed, 0);
    }
    CHECK_ERR(BARE(out, .value = m->num_runs), PYTHEUS_OK);
    m->num_inside--;
    return PYTHEUS_OK;
}

static pytheus_err add_mortal(mortal *m) {
    return pytheus_registry_add_collector(
        m->registry,
        &(pytheus_collector){
            .name = m->name, .collect = remove_itself, .destroy = end_mortal, .user = m});
}

TEST_WITH(r, a_collector_may_remove_itself) {
    mortal m = {.registry = r, .name = "mortal"};
    CHECK_ERR(add_mortal(&m), PYTHEUS_OK);
    GAUGE(r, .name = "survivor");
    m.removes = true;
    CHECK_PAGE(r, "# TYPE last_words gauge\nlast_words 2\n# TYPE survivor gauge\nsurvivor 0\n");
    CHECK_INT(m.num_destroyed, 1);
    CHECK_PAGE(r, "# TYPE survivor gauge\nsurvivor 0\n");
    CHECK_INT(m.num_runs, 2);
    CHECK_INT(m.num_destroyed, 1);
}

TEST_WITH(r, a_removed_collector_is_destroyed_once) {
    mortal m = {.registry = r, .name = "mortal"};
    CHECK_ERR(add_mortal(&m), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "mortal"), PYTHEUS_OK);
    CHECK_INT(m.num_destroyed, 1);
    CHECK_ERR(pytheus_registry_remove_collector(r, "mortal"), PYTHEUS_ERR_NOTHING);
    CHECK_INT(m.num_destroyed, 1);
    CHECK_ERR(add_mortal(&m), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "mortal"), PYTHEUS_OK);
    CHECK_INT(m.num_destroyed, 2);
}

TEST(a_freed_registry_destroys_its_collectors) {
    pytheus_registry *r = fixture_registry(NULL);
    mortal a = {.registry = r, .name = "a"}, b = {.registry = r, .name = "b"};
    CHECK_ERR(add_mortal(&a), PYTHEUS_OK);
    CHECK_ERR(add_mortal(&b), PYTHEUS_OK);
    pytheus_registry_free(r);
    CHECK_INT(a.num_destroyed, 1);
    CHECK_INT(b.num_destroyed, 1);
}

TEST(the_default_registry_destroys_its_collectors_too) {
    mortal m = {.registry = NULL, .name = "mortal"};
    CHECK_ERR(add_mortal(&m), PYTHEUS_OK);
    CHECK_LINE(NULL, "last_words 2");
    pytheus_registry_free(pytheus_default());
    CHECK_INT(m.num_destroyed, 1);
    CHECK_PAGE(NULL, "");
}

/* destroy() of one collector may use the registry that goes on. */
static void define_at_the_end(void *user) {
    CHECK_ERR(pytheus_gauge_inc(GAUGE(user, .name = "ended")), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(user, "nobody"), PYTHEUS_ERR_NOTHING);
}

TEST_WITH(r, destroy_may_call_the_library) {
    CHECK_ERR(pytheus_registry_add_collector(r, &(pytheus_collector){.name = "x",
                                                                     .collect = emit_nothing,
                                                                     .destroy = define_at_the_end,
                                                                     .user = r}),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "x"), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE ended gauge\nended 1\n");
}

static pytheus_err add_another(void *user, pytheus_emitter *out) {
    errand *e = user;
    static listed lists[10];
    static char names[10][32];
    listed *list = &lists[e->num_runs];
    char *name = names[e->num_runs++];
    snprintf(name, sizeof names[0], "added_%d", e->num_runs);
    list->families[0] = (pytheus_family){.type = PYTHEUS_GAUGE, .name = name};
    CHECK_ERR(add_list(e->registry, name, list), PYTHEUS_OK);
    CHECK_ERR(add_list(e->registry, name, list), PYTHEUS_ERR_DUPLICATE);
    FAMILY(out, GAUGE, .name = "adder");
    return BARE(out, .value = e->num_runs);
}

TEST_WITH(r, a_collector_may_add_another) {
    errand e = {.registry = r};
    CHECK_ERR(add(r, "adder", add_another, &e), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE added_1 gauge\nadded_1 1\n# TYPE adder gauge\nadder 2\n");
    CHECK_PAGE(r, "# TYPE added_1 gauge\nadded_1 1\n# TYPE adder gauge\nadder 3\n"
                  "# TYPE added_2 gauge\nadded_2 1\n");
}

static pytheus_err add_own_name(void *user, pytheus_emitter *out) {
    errand *e = user;
    (void)out;
    if (!e->depth++)
        CHECK_ERR(add(e->registry, "twin", emit_nothing, NULL), PYTHEUS_OK);
    return PYTHEUS_OK;
}

TEST_WITH(r, a_collector_that_takes_its_own_name_is_refused) {
    errand e = {.registry = r};
    CHECK_ERR(add(r, "twin", add_own_name, &e), PYTHEUS_ERR_DUPLICATE);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_registry_remove_collector(r, "twin"), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(r, "twin"), PYTHEUS_ERR_NOTHING);
}

static pytheus_err take_own_name(void *user, pytheus_emitter *out) {
    CHECK(COUNTER(user, .name = "mine").view.node != NULL);
    return FAMILY(out, GAUGE, .name = "mine");
}

TEST_WITH(r, a_collector_that_registers_what_it_emits_is_refused) {
    CHECK_ERR(add(r, "mine", take_own_name, r), PYTHEUS_ERR_DUPLICATE);
    CHECK_PAGE(r, "# TYPE mine counter\nmine 0\n");
}

static pytheus_err remove_from_page(void *user, pytheus_emitter *out) {
    errand *e = user;
    (void)out;
    if (e->num_runs++) {
        CHECK_ERR(pytheus_registry_remove_collector(e->registry, "b"), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_remove(e->registry, GAUGE(e->registry, .name = "c").view),
                  PYTHEUS_OK);
    }
    return PYTHEUS_OK;
}

TEST_WITH(r, what_a_collector_takes_away_is_not_on_the_page_any_more) {
    errand e = {.registry = r};
    listed b = {.families = {{.type = PYTHEUS_GAUGE, .name = "b"}}};
    CHECK_ERR(add(r, "a", remove_from_page, &e), PYTHEUS_OK);
    CHECK_ERR(add_list(r, "b", &b), PYTHEUS_OK);
    GAUGE(r, .name = "c");
    GAUGE(r, .name = "d");
    CHECK_PAGE(r, "# TYPE d gauge\nd 0\n");
}

/* Each would take the other along. */
static void end_both(void *user) {
    mortal *m = user;
    end_mortal(user);
    (void)pytheus_registry_remove_collector(m->registry, "a");
    (void)pytheus_registry_remove_collector(m->registry, "b");
}

TEST(destroy_may_remove_other_collectors_of_a_registry_that_is_freed) {
    pytheus_registry *r = fixture_registry(NULL);
    mortal a = {.registry = r, .name = "a"}, b = {.registry = r, .name = "b"};
    pytheus_collector collector = {.name = "a", .collect = emit_nothing, .destroy = end_both};
    collector.user = &a;
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
    collector.name = "b";
    collector.user = &b;
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
    pytheus_registry_free(r);
    CHECK_INT(a.num_destroyed, 1);
    CHECK_INT(b.num_destroyed, 1);
}

/* One after another, as long as there are names left. */
static void add_the_next(void *user) {
    mortal *m = user;
    m->num_destroyed++;
    if (m->num_destroyed < 3)
        CHECK_ERR(pytheus_registry_add_collector(m->registry,
                                                 &(pytheus_collector){.name = m->name,
                                                                      .collect = emit_nothing,
                                                                      .destroy = add_the_next,
                                                                      .user = m}),
                  PYTHEUS_OK);
}

TEST(destroy_may_add_a_collector_to_a_registry_that_is_emptied) {
    mortal m = {.registry = pytheus_default(), .name = "again", .num_destroyed = 0};
    CHECK_ERR(pytheus_registry_add_collector(NULL, &(pytheus_collector){.name = "first",
                                                                        .collect = emit_nothing,
                                                                        .destroy = add_the_next,
                                                                        .user = &m}),
              PYTHEUS_OK);
    pytheus_registry_free(pytheus_default());
    CHECK_INT(m.num_destroyed, 3);
    CHECK_PAGE(NULL, "");
}

/* ---- errors of a collector ---- */

typedef struct failing {
    pytheus_err err;
    const char *sentence; /* NULL: it gives none */
    bool before_output, on;
} failing;

static pytheus_err fail_somewhere(void *user, pytheus_emitter *out) {
    const failing *f = user;
    if (!f->on || !f->before_output) {
        FAMILY(out, GAUGE, .name = "partial");
        CHECK_ERR(BARE(out, .value = 1), PYTHEUS_OK);
    }
    if (!f->on)
        return PYTHEUS_OK;
    return f->sentence ? pytheus_fail(f->err, "%s", f->sentence) : f->err;
}

/* Whatever else failed in this thread before. */
static void fail_otherwise(void) {
    CHECK_ERR(pytheus_counter_inc((pytheus_counter){{0}}), PYTHEUS_ERR_NOTHING);
}

static pytheus_err count_bytes(void *user, const char *bytes, size_t size) {
    (void)bytes;
    *(size_t *)user += size;
    return PYTHEUS_OK;
}

static void check_failing(failing f, pytheus_err expected, const char *sentence) {
    pytheus_registry *r = fixture_registry(NULL);
    size_t size = 0;
    GAUGE(r, .name = "first");
    CHECK_ERR(add(r, "weak", fail_somewhere, &f), PYTHEUS_OK);
    GAUGE(r, .name = "last");
    f.on = true;
    for (int i = 0; i < 3; i++) {
        fail_otherwise();
        CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){count_bytes, &size}), expected);
        CHECK_STR(pytheus_last_error(), sentence);
        fail_otherwise();
        CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
        CHECK_STR(pytheus_last_error(), sentence);
    }
    CHECK_ERR(logged.err, expected);
    CHECK_STR(logged.sentence, sentence);
    CHECK_INT(logged.num, 1);
    f.on = false;
    CHECK_PAGE(r, "# TYPE first gauge\nfirst 0\n# TYPE partial gauge\npartial 1\n"
                  "# TYPE last gauge\nlast 0\n");
    pytheus_registry_free(r);
}

TEST(a_failing_collector_fails_the_page) {
    for (int before = 0; before < 2; before++) {
        failing f = {PYTHEUS_ERR_IO, "the disk \"a\" is gone", before == 1, false};
        check_failing(f, PYTHEUS_ERR_IO, "the disk \"a\" is gone");
        f.sentence = NULL;
        check_failing(f, PYTHEUS_ERR_IO, "weak: the collector failed");
        f.err = PYTHEUS_ERR_NOMEM;
        check_failing(f, PYTHEUS_ERR_NOMEM, "weak: the collector failed");
    }
}

TEST(errors_that_there_are_not_become_those_of_a_backend) {
    check_failing((failing){.err = (pytheus_err)7}, PYTHEUS_ERR_BACKEND,
                  "weak: the collector failed");
    check_failing((failing){.err = (pytheus_err)-100, .sentence = "odd"}, PYTHEUS_ERR_BACKEND,
                  "odd");
}

TEST(a_collector_that_fails_at_once_is_not_registered) {
    pytheus_registry *r = fixture_registry(NULL);
    failing f = {PYTHEUS_ERR_IO, "not yet", false, true};
    CHECK_ERR(add(r, "weak", fail_somewhere, &f), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "not yet");
    CHECK_STR(logged.sentence, "not yet");
    CHECK_PAGE(r, "");
    f.on = false;
    CHECK_ERR(add(r, "weak", fail_somewhere, &f), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE partial gauge\npartial 1\n");
    pytheus_registry_free(r);
}

#ifndef _WIN32
static void check_file(const char *path, const char *expected) {
    char text[200] = "";
    FILE *file = fopen(path, "rb");
    if (!CHECK(file != NULL))
        return;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    CHECK_STR(text, expected);
}

TEST_WITH(r, a_failing_collector_leaves_the_old_file) {
    char folder[] = "/tmp/pytheus_collectors_XXXXXX", path[64];
    failing f = {PYTHEUS_ERR_IO, "gone", false, false};
    if (!CHECK(mkdtemp(folder) != NULL))
        return;
    snprintf(path, sizeof path, "%s/page", folder);
    CHECK_ERR(add(r, "weak", fail_somewhere, &f), PYTHEUS_OK);
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, path), PYTHEUS_OK);
    f.on = true;
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, path), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "gone");
    check_file(path, "# TYPE partial gauge\npartial 1\n");
    CHECK(unlink(path) == 0);
    CHECK(rmdir(folder) == 0);
}
#endif

/* Emits lines enough for several pieces, heedless of errors. */
static pytheus_err emit_much(void *user, pytheus_emitter *out) {
    int *num_errors = user;
    char value[200];
    FAMILY(out, GAUGE, .name = "much");
    for (int i = 0; i < 2000; i++) {
        snprintf(value, sizeof value, "%0150d", i);
        *num_errors += SAMPLE(out, i, "a", value) != PYTHEUS_OK;
    }
    *num_errors += FAMILY(out, GAUGE, .name = "more") != PYTHEUS_OK;
    return PYTHEUS_OK;
}

typedef struct breaking {
    int num_puts, breaks_at;
    pytheus_err err;
} breaking;

static pytheus_err put_until_broken(void *user, const char *bytes, size_t size) {
    breaking *b = user;
    (void)bytes;
    (void)size;
    if (++b->num_puts < b->breaks_at)
        return PYTHEUS_OK;
    return b->err == PYTHEUS_ERR_IO ? pytheus_fail(b->err, "the pipe is broken") : b->err;
}

TEST_WITH(r, a_failing_sink_is_told_to_the_collector) {
    int num_errors = 0;
    CHECK_ERR(add(r, "much", emit_much, &num_errors), PYTHEUS_OK);
    GAUGE(r, .name = "after");
    CHECK_INT(num_errors, 0);
    breaking b = {0, 3, PYTHEUS_ERR_IO};
    pytheus_sink sink = {put_until_broken, &b};
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "the pipe is broken");
    CHECK_INT(b.num_puts, 3);
    CHECK(num_errors > 500 && num_errors < 2000);
    num_errors = 0;
    b = (breaking){0, 1, PYTHEUS_ERR_CONFIG};
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_ERR_CONFIG);
    CHECK_INT(b.num_puts, 1);
    b = (breaking){0, 1000, PYTHEUS_ERR_IO};
    num_errors = 0;
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK_INT(num_errors, 0);
}

/* ---- memory ---- */

static pytheus_registry *registry_of(budget *b) {
    memset(&logged, 0, sizeof logged);
    return pytheus_registry_new(
        &(pytheus_registry_desc){.allocator = {spend, b}, .logger = {fixture_remember, NULL}});
}

enum { A_MILLION = IS_SANITIZED ? 100000 : 1000000 };

static pytheus_err emit_a_million(void *user, pytheus_emitter *out) {
    char a[40], b[120];
    (void)user;
    FAMILY(out, GAUGE, .name = "million");
    for (int i = 0; i < A_MILLION; i++) {
        snprintf(a, sizeof a, "%d", i % 1000);
        snprintf(b, sizeof b, "%0100d", i / 1000);
        pytheus_err err = SAMPLE(out, i, "a", a, "b", b);
        if (err)
            return err;
    }
    return PYTHEUS_OK;
}

/* Of each sample no more is remembered than that it was there. */
TEST(a_million_samples_need_little_memory) {
    budget b = {0};
    size_t size = 0;
    pytheus_registry *r = registry_of(&b);
    CHECK_ERR(add(r, "million", emit_a_million, NULL), PYTHEUS_OK);
    size_t before = b.live;
    b.most = 0;
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){count_bytes, &size}), PYTHEUS_OK);
    CHECK(size > (size_t)A_MILLION * 120);
    CHECK(b.most - before < (size_t)A_MILLION * 100 + 200000);
    CHECK_INT(b.live, before);
    pytheus_registry_free(r);
    CHECK_INT(b.live, 0);
}

/* ---- out of memory, at each allocation ---- */

typedef struct scene {
    budget memory;
    pytheus_registry *registry;
    pytheus_histogram histogram; /* unregistered */
    pytheus_gauge gauge;         /* of another registry */
    int num_destroyed;
} scene;

static pytheus_err emit_scene(void *user, pytheus_emitter *out) {
    const scene *s = user;
    char value[64];
    pytheus_err err = pytheus_emit_metric(out, s->histogram.view);
    err = err ? err : FAMILY(out, GAUGE, .name = "family", .help = huge_text('h'));
    for (int i = 0; !err && i < 40; i++) {
        snprintf(value, sizeof value, "%d", i);
        err = SAMPLE(out, i, "a", value);
    }
    err = err ? err : SAMPLE(out, 1, "a", huge_text('\xff'));
    err = err ? err : FAMILY(out, COUNTER, .name = "a_much_longer_name_than_that_before_total");
    err = err ? err : BARE(out, .value = 1);
    return err ? err : pytheus_emit_metric(out, s->gauge.view);
}

static void destroy_scene(void *user) {
    ((scene *)user)->num_destroyed++;
}

static pytheus_err add_scene(scene *s) {
    return pytheus_registry_add_collector(
        s->registry,
        &(pytheus_collector){
            .name = "scene", .collect = emit_scene, .destroy = destroy_scene, .user = s});
}

static void begin_scene(scene *s, pytheus_registry *other) {
    static double bounds[500];
    memset(s, 0, sizeof *s);
    pytheus_buckets_linear(bounds, 500, 1, 1);
    s->registry = registry_of(&s->memory);
    GAUGE(s->registry, .name = "metric");
    s->histogram =
        UNREGISTERED(s->registry, HISTOGRAM, .name = "h", .buckets = bounds, .num_buckets = 500);
    s->gauge = GAUGE(other, .name = "gauge", .required_labels = {"a"});
    pytheus_gauge_labels(s->gauge, "a", huge_text('g'));
}

static pytheus_err scrape_scene(scene *s) {
    size_t size = 0;
    pytheus_err err = pytheus_write(s->registry, PYTHEUS_TEXT, &(pytheus_sink){count_bytes, &size});
    CHECK(err || size > 4 * (size_t)HUGE_TEXT);
    return err;
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

/* Whether there was an allocation to fail. */
static bool try_scene(pytheus_err (*act)(scene *s), bool is_added, long fails_at, bool for_ever) {
    pytheus_registry *other = pytheus_registry_new(NULL);
    scene s;
    begin_scene(&s, other);
    if (is_added)
        CHECK_ERR(add_scene(&s), PYTHEUS_OK);
    fail_otherwise();
    size_t live = s.memory.live;
    s.memory.num_calls = 0;
    s.memory.fails_at = fails_at;
    s.memory.for_ever = for_ever;
    pytheus_err err = act(&s);
    long num_failed = s.memory.num_failed;
    s.memory.fails_at = 0;
    if (num_failed) {
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        CHECK(strstr(pytheus_last_error(), "out of memory") != NULL);
        /* That it was told is remembered, and an array may have got its room. */
        CHECK(s.memory.live <= live + 4096);
        CHECK_INT(s.num_destroyed, 0);
        if (!is_added) {
            CHECK_ERR(pytheus_registry_remove_collector(s.registry, "scene"), PYTHEUS_ERR_NOTHING);
            char *text = valid_page(s.registry);
            CHECK_STR(text, "# TYPE metric gauge\nmetric 0\n");
            free(text);
        }
        err = act(&s);
    }
    CHECK_ERR(err, PYTHEUS_OK);
    free(valid_page(s.registry));
    pytheus_registry_free(s.registry);
    CHECK_INT(s.num_destroyed, 1);
    CHECK_INT(s.memory.live, 0);
    pytheus_registry_free(other);
    return num_failed > 0;
}

static void torture_scene(pytheus_err (*act)(scene *s), bool is_added, long least) {
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        long fails_at = 1;
        while (try_scene(act, is_added, fails_at, for_ever) && check_num_failed < 20)
            fails_at++;
        CHECK(fails_at > least);
    }
}

/* With 64 bits there may be that much memory. */
#if SIZE_MAX == UINT32_MAX
enum { NUM_LONG = 100 };

static pytheus_err emit_one_value_often(void *user, pytheus_emitter *out) {
    char names[NUM_LONG][8];
    const char *pairs[2 * NUM_LONG];
    for (int i = 0; i < NUM_LONG; i++) {
        snprintf(names[i], sizeof names[i], "a%d", i);
        pairs[2 * i] = names[i];
        pairs[2 * i + 1] = (const char *)user;
    }
    FAMILY(out, GAUGE, .name = "g");
    return BARE(out, .pairs = pairs, .num_strings = 2 * NUM_LONG);
}

TEST_WITH(r, a_line_longer_than_the_address_space_is_out_of_memory) {
    const size_t size = 14316600;
    char *value = (char *)calloc(1, size);
    CHECK_ERR(add(r, "often", emit_one_value_often, value), PYTHEUS_OK);
    memset(value, 'x', size - 1);
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK_STR(pytheus_last_error(), "page: out of memory");
    free(value);
}
#endif

TEST(out_of_memory_while_a_collector_is_added) {
    torture_scene(add_scene, false, 3);
}

TEST(out_of_memory_while_a_collector_writes) {
    torture_scene(scrape_scene, true, 8);
}

/* One that takes no notice of errors is still found out. */
static pytheus_err emit_heedless(void *user, pytheus_emitter *out) {
    (void)emit_scene(user, out);
    (void)FAMILY(out, GAUGE, .name = "then");
    return PYTHEUS_OK;
}

TEST(out_of_memory_is_not_hidden_by_a_heedless_collector) {
    pytheus_registry *other = pytheus_registry_new(NULL);
    scene s;
    bool failed = true;
    begin_scene(&s, other);
    CHECK_ERR(add(s.registry, "heedless", emit_heedless, &s), PYTHEUS_OK);
    for (long fails_at = 1; failed && fails_at < 1000; fails_at++) {
        s.memory.num_calls = s.memory.num_failed = 0;
        s.memory.fails_at = fails_at;
        pytheus_err err = scrape_scene(&s);
        s.memory.fails_at = 0;
        failed = s.memory.num_failed > 0;
        CHECK_ERR(err, failed ? PYTHEUS_ERR_NOMEM : PYTHEUS_OK);
    }
    CHECK(!failed);
    CHECK_LINE(s.registry, "metric 0");
    CHECK_LINE(s.registry, "# TYPE then gauge");
    pytheus_registry_free(s.registry);
    CHECK_INT(s.memory.live, 0);
    pytheus_registry_free(other);
}
