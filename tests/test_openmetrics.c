/* Pages in OpenMetrics 1.0.0, and the types and exemplars that came with it; what becomes of them
   in text. The rules are those of the specification; that a page keeps them all, the strict reader
   sees, which reads each. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "budget.h"
#include "fixture.h"
#include "page.h"

#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <pthread.h>
#include <time.h>

#define INFO(r, ...) pytheus_info_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})
#define STATESET(r, ...) pytheus_stateset_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})
#define UNKNOWN(r, ...) pytheus_unknown_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})

/* Whether the fixture's registry updates values itself. */
static bool keeps_values_in_words(void) {
    const char *backend = getenv("FIXTURE_BACKEND");
    return !backend || !*backend || !strncmp(backend, "words", 5);
}

/* ==== PAGES WHOSE TIMES NOBODY KNOWS BEFORE ==== */

/* The page with TIME for the time of each exemplar and in each _created sample. All of them have to
   lie between the beginning of the test and now, both to the millisecond. */
typedef struct timeless {
    char text[16384];
    size_t size;
    double begin, end;
} timeless;

static double wall_clock(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (double)at.tv_sec + (double)at.tv_nsec * 1e-9;
}

static void check_time(const timeless *t, double seconds, const reader_sample *sample) {
    check_that(seconds >= t->begin - 0.002 && seconds <= t->end + 0.002, __FILE__, __LINE__,
               "%s with the time %.17g, not from %.17g to %.17g", sample->name, seconds, t->begin,
               t->end);
}

static void add_line(timeless *t, const char *line, size_t size, bool has_time) {
    if (t->size + size + 8 > sizeof t->text)
        return;
    memcpy(t->text + t->size, line, size);
    while (has_time && line[size - 1] != ' ')
        size--;
    t->size += size;
    t->size += (size_t)snprintf(t->text + t->size, 8, has_time ? "TIME\n" : "\n");
}

static void take_times_out(timeless *t, const reader_doc *doc, const char *text) {
    size_t line = 1, next = 0;
    for (; *text; text = page_next_line(text), line++) {
        const reader_sample *sample = next < doc->num_samples ? &doc->samples[next] : NULL;
        bool here = sample && sample->line == line;
        bool is_time = here && sample->role == READER_CREATED;
        bool has_time = here && sample->has_exemplar;
        if (is_time)
            check_time(t, sample->value, sample);
        if (has_time)
            check_time(t, sample->exemplar.timestamp, sample);
        add_line(t, text, strcspn(text, "\n"), is_time || has_time);
        next += here;
    }
}

static bool check_timeless(pytheus_registry *registry, double begin, const char *expected,
                           const char *file, int line) {
    page_reading reading = page_open_at(registry, PYTHEUS_OPENMETRICS, file, line);
    timeless t = {.begin = begin, .end = wall_clock()};
    take_times_out(&t, &reading.doc, reading.text);
    t.text[t.size < 6 ? t.size : t.size - 6] = 0;
    page_save_unless_last(&reading);
    reader_free(&reading.doc);
    free(reading.text);
    return check_str(t.text, expected, "the page", file, line);
}

#define CHECK_TIMELESS(registry, begin, text)                                                      \
    check_timeless(registry, begin, text, __FILE__, __LINE__)

/* ==== THE OLD TYPES ==== */

TEST_WITH(r, an_empty_registry_has_an_end) {
    CHECK_OM_PAGE(r, "");
    CHECK_PAGE(r, "");
    char *text = om_page(r);
    CHECK_STR(text, "# EOF\n");
    free(text);
}

TEST_WITH(r, counters_have_their_suffix_in_samples_only) {
    CHECK_ERR(pytheus_counter_add(COUNTER(r, .name = "hits_total", .help = "Hits."), 2.5),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add(COUNTER(r, .name = "runs", .help = "Runs."), 3), PYTHEUS_OK);
    (void)pytheus_counter_labels(COUNTER(r, .name = "all", .required_labels = {"a"}), "a", "b");
    (void)pytheus_counter_labels(COUNTER(r, .name = "all_of_total", .required_labels = {"a"}), "a",
                                 "b");
    CHECK_OM_PAGE(r, "# TYPE hits counter\n# HELP hits Hits.\nhits_total 2.5\n"
                     "# TYPE runs counter\n# HELP runs Runs.\nruns_total 3\n"
                     "# TYPE all counter\nall_total{a=\"b\"} 0\n"
                     "# TYPE all_of counter\nall_of_total{a=\"b\"} 0\n");
    CHECK_PAGE(r, "# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total 2.5\n"
                  "# HELP runs Runs.\n# TYPE runs counter\nruns 3\n"
                  "# TYPE all counter\nall{a=\"b\"} 0\n"
                  "# TYPE all_of_total counter\nall_of_total{a=\"b\"} 0\n");
}

TEST_WITH(r, only_one_suffix_is_taken_off) {
    (void)COUNTER(r, .name = "a_total_total");
    (void)pytheus_info_labels(INFO(r, .name = "b_info_info", .required_labels = {"v"}), "v", "1");
    CHECK_OM_PAGE(r, "# TYPE a_total counter\na_total_total 0\n"
                     "# TYPE b_info info\nb_info_info{v=\"1\"} 1\n");
}

/* Something has to be left of the name. */
TEST(names_that_are_but_a_suffix) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "_total"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(INFO, .name = "_info"), PYTHEUS_ERR_NAME);
}

TEST_WITH(r, gauges_are_as_in_text) {
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "heat"), -1.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "made_total"), 1), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE heat gauge\nheat -1.5\n# TYPE made_total gauge\nmade_total 1\n");
}

TEST_WITH(r, values_are_spelled_as_in_text) {
    static const struct {
        double value;
        const char *text;
    } values[] = {{0, "0"},
                  {1, "1"},
                  {-17, "-17"},
                  {0.1, "0.1"},
                  {1e-7, "1e-07"},
                  {9007199254740992.0, "9007199254740992"},
                  {1e22, "1e+22"},
                  {DBL_MAX, "1.7976931348623157e+308"},
                  {5e-324, "5e-324"},
                  {HUGE_VAL, "+Inf"},
                  {-HUGE_VAL, "-Inf"},
                  {(double)NAN, "NaN"}};
    pytheus_gauge g = GAUGE(r, .name = "g");
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char line[64];
        CHECK_ERR(pytheus_gauge_set(g, values[i].value), PYTHEUS_OK);
        snprintf(line, sizeof line, "g %s", values[i].text);
        CHECK_OM_LINE(r, line);
        CHECK_LINE(r, line);
    }
}

static pytheus_histogram histogram_of(pytheus_registry *r, const double *bounds, size_t n) {
    return HISTOGRAM(r, .name = "h", .help = "H.", .buckets = bounds, .num_buckets = n);
}

TEST_WITH(r, bounds_do_not_look_like_integers) {
    static const double bounds[] = {0,  1e-10,  0.00001, 0.0001, 0.5, 1,
                                    10, 100000, 1e6,     1.5e6,  1e23};
    pytheus_histogram h = histogram_of(r, bounds, COUNT_OF(bounds));
    CHECK_ERR(pytheus_histogram_observe(h, 0.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 2), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE h histogram\n# HELP h H.\n"
                     "h_bucket{le=\"0.0\"} 0\nh_bucket{le=\"1e-10\"} 0\nh_bucket{le=\"1e-05\"} 0\n"
                     "h_bucket{le=\"0.0001\"} 0\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1.0\"} 1\n"
                     "h_bucket{le=\"10.0\"} 2\nh_bucket{le=\"100000.0\"} 2\n"
                     "h_bucket{le=\"1e+06\"} 2\nh_bucket{le=\"1.5e+06\"} 2\n"
                     "h_bucket{le=\"1e+23\"} 2\nh_bucket{le=\"+Inf\"} 2\nh_sum 2.5\nh_count 2\n");
    CHECK_LINE(r, "h_bucket{le=\"1\"} 1");
}

TEST_WITH(r, labelled_histograms) {
    static const double bounds[] = {1};
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 1,
                                    .required_labels = {"a", "b"}, .default_labels = {{"b", "2"}});
    CHECK_ERR(pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "1"), 1), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE h histogram\nh_bucket{a=\"1\",b=\"2\",le=\"1.0\"} 1\n"
                     "h_bucket{a=\"1\",b=\"2\",le=\"+Inf\"} 1\nh_sum{a=\"1\",b=\"2\"} 1\n"
                     "h_count{a=\"1\",b=\"2\"} 1\n");
}

/* A sum that can fall is none in OpenMetrics, and without a sum there is no count. */
TEST_WITH(r, negative_bounds_leave_sum_and_count_away) {
    static const double bounds[] = {-1, 2};
    pytheus_histogram h = histogram_of(r, bounds, 2);
    CHECK_ERR(pytheus_histogram_observe(h, 1.5), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"-1.0\"} 0\n"
                     "h_bucket{le=\"2.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n");
    CHECK_LINE(r, "h_sum 1.5");
    CHECK_LINE(r, "h_count 1");
}

TEST_WITH(r, sums_that_openmetrics_cannot_say) {
    static const double bounds[] = {2};
    pytheus_histogram h = histogram_of(r, bounds, 1);
    pytheus_summary s = SUMMARY(r, .name = "s");
    CHECK_ERR(pytheus_histogram_observe(h, -1), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(s, -1), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"2.0\"} 1\n"
                     "h_bucket{le=\"+Inf\"} 1\n# TYPE s summary\ns_count 1\n");
    CHECK_LINE(r, "h_sum -1");
    CHECK_LINE(r, "s_sum -1");
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(s, 1), PYTHEUS_OK);
    CHECK_OM_LINE(r, "h_sum 0");
    CHECK_OM_LINE(r, "h_count 2");
    CHECK_OM_LINE(r, "s_sum 0");
    CHECK_ERR(pytheus_histogram_observe(h, HUGE_VAL), PYTHEUS_OK);
    CHECK_OM_LINE(r, "h_sum +Inf");
    CHECK_ERR(pytheus_histogram_observe(h, -HUGE_VAL), PYTHEUS_OK);
    CHECK_NO_OM_LINE(r, "h_sum NaN");
    CHECK_NO_OM_LINE(r, "h_count 4");
    CHECK_LINE(r, "h_sum NaN");
}

TEST_WITH(r, summaries) {
    pytheus_summary s = SUMMARY(r, .name = "s", .required_labels = {"a"});
    CHECK_ERR(pytheus_summary_observe(pytheus_summary_labels(s, "a", "b"), 1.5), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE s summary\ns_sum{a=\"b\"} 1.5\ns_count{a=\"b\"} 1\n");
}

TEST_WITH(r, units_have_a_line) {
    (void)COUNTER(r, .name = "wait_seconds_total", .help = "Wait.", .unit = "seconds");
    (void)GAUGE(r, .name = "size_bytes", .unit = "bytes");
    (void)COUNTER(r, .name = "a_b_c", .unit = "b_c");
    (void)UNKNOWN(r, .name = "x_ratio", .unit = "ratio");
    (void)SUMMARY(r, .name = "s_ratio", .unit = "ratio");
    (void)GAUGE(r, .name = "plain_seconds", .unit = "");
    CHECK_OM_PAGE(r, "# TYPE wait_seconds counter\n# UNIT wait_seconds seconds\n"
                     "# HELP wait_seconds Wait.\nwait_seconds_total 0\n"
                     "# TYPE size_bytes gauge\n# UNIT size_bytes bytes\nsize_bytes 0\n"
                     "# TYPE a_b_c counter\n# UNIT a_b_c b_c\na_b_c_total 0\n"
                     "# TYPE x_ratio unknown\n# UNIT x_ratio ratio\nx_ratio 0\n"
                     "# TYPE s_ratio summary\n# UNIT s_ratio ratio\ns_ratio_sum 0\n"
                     "s_ratio_count 0\n# TYPE plain_seconds gauge\nplain_seconds 0\n");
    CHECK_LINE(r, "# HELP wait_seconds_total Wait.");
    CHECK_NO_LINE(r, "# UNIT size_bytes bytes");
}

TEST(units_that_no_name_ends_with) {
    CHECK_ERR(REFUSAL(GAUGE, .name = "wait", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "seconds", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "wait_total", .unit = "total"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "wait_secondstotal", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(COUNTER, .name = "wait_seconds_total_total", .unit = "seconds"),
              PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(GAUGE, .name = "wait_seconds_total", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "wait_seconds_total", .unit = "seconds"),
              PYTHEUS_ERR_NAME);
}

TEST_WITH(r, helps_escape_quotes_as_well) {
    (void)GAUGE(r, .name = "g", .help = "A \"b\" \\ c\nd \xc3\xa9\xff\r.");
    CHECK_OM_PAGE(r, "# TYPE g gauge\n"
                     "# HELP g A \\\"b\\\" \\\\ c\\nd \xc3\xa9\xef\xbf\xbd\r.\ng 0\n");
    CHECK_LINE(r, "# HELP g A \"b\" \\\\ c\\nd \xc3\xa9\xef\xbf\xbd\r.");
}

TEST_WITH(r, label_values_are_escaped) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    (void)pytheus_gauge_labels(g, "a", "\"\\\n # {x=\"y\"} 1 \xff");
    CHECK_OM_PAGE(r, "# TYPE g gauge\ng{a=\"\\\"\\\\\\n # {x=\\\"y\\\"} 1 \xef\xbf\xbd\"} 0\n");
}

TEST(prefixes_are_part_of_every_name) {
    pytheus_registry *r = fixture_registry("app");
    (void)COUNTER(r, .name = "hits_total");
    (void)pytheus_info_labels(INFO(r, .name = "build_info", .required_labels = {"v"}), "v", "1");
    (void)STATESET(r, .name = "state", .states = {"on"});
    CHECK_OM_PAGE(r, "# TYPE app_hits counter\napp_hits_total 0\n"
                     "# TYPE app_build info\napp_build_info{v=\"1\"} 1\n"
                     "# TYPE app_state stateset\napp_state{app_state=\"on\"} 0\n");
    CHECK_LINE(r, "app_state{app_state=\"on\"} 0");
    pytheus_registry_free(r);
}

TEST_WITH(r, the_overflow_of_a_metric) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .max_series = 1);
    (void)pytheus_gauge_labels(g, "a", "1");
    (void)pytheus_gauge_labels(g, "a", "2");
    CHECK_OM_LINE(r, "g{a=\"__overflow__\"} 0");
    CHECK_OM_LINE(r, "# TYPE pytheus_overflow_calls counter");
    CHECK_OM_LINE(r, "pytheus_overflow_calls_total{metric=\"g\"} 1");
    CHECK_LINE(r, "# TYPE pytheus_overflow_calls_total counter");
}

static double seventeen(void *user) {
    (void)user;
    return 17;
}

TEST_WITH(r, functions) {
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_counter_set_function(pytheus_counter_labels(c, "a", "b"), seventeen, NULL),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_function(g, seventeen, NULL), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE c counter\nc_total{a=\"b\"} 17\n# TYPE g gauge\ng 17\n");
}

TEST_WITH(r, removed_series_are_gone) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    pytheus_counter b = pytheus_counter_labels(c, "a", "b");
    CHECK_ERR(pytheus_view_remove(b.view), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE c counter\n");
}

/* ==== INFO ==== */

TEST_WITH(r, an_info_is_1_for_each_complete_view) {
    pytheus_info build =
        INFO(r, .name = "build", .help = "Built so.", .required_labels = {"version", "compiler"});
    pytheus_info gcc = pytheus_info_labels(build, "compiler", "gcc");
    CHECK_OM_PAGE(r, "# TYPE build info\n# HELP build Built so.\n");
    CHECK(pytheus_view_observable(pytheus_info_labels(gcc, "version", "1.2").view));
    CHECK_OM_PAGE(r, "# TYPE build info\n# HELP build Built so.\n"
                     "build_info{version=\"1.2\",compiler=\"gcc\"} 1\n");
    CHECK_PAGE(r, "# HELP build_info Built so.\n# TYPE build_info gauge\n"
                  "build_info{version=\"1.2\",compiler=\"gcc\"} 1\n");
    CHECK_VALUE(pytheus_info_labels(gcc, "version", "1.2"), 1);
    CHECK_LABELLED(r, "build_info", 1, "compiler", "gcc", "version", "1.2");
}

TEST_WITH(r, an_info_may_have_the_suffix_in_its_name) {
    (void)pytheus_info_labels(INFO(r, .name = "build_info", .required_labels = {"v"}), "v", "1");
    CHECK_OM_PAGE(r, "# TYPE build info\nbuild_info{v=\"1\"} 1\n");
    CHECK_PAGE(r, "# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n");
}

TEST_WITH(r, an_info_with_all_its_labels_by_default) {
    pytheus_info i = INFO(r, .name = "i", .required_labels = {"a"}, .default_labels = {{"a", "b"}});
    CHECK_OM_LINE(r, "i_info{a=\"b\"} 1");
    CHECK_ERR(pytheus_view_remove(i.view), PYTHEUS_OK);
    CHECK_OM_LINE(r, "i_info{a=\"b\"} 1");
}

TEST_WITH(r, series_of_an_info_come_and_go) {
    pytheus_info i = INFO(r, .name = "i", .required_labels = {"a"});
    pytheus_info b = pytheus_info_labels(i, "a", "b");
    (void)pytheus_info_labels(i, "a", "c");
    CHECK_ERR(pytheus_view_remove(b.view), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE i info\ni_info{a=\"c\"} 1\n");
    (void)pytheus_info_labels(i, "a", "b");
    CHECK_OM_LINE(r, "i_info{a=\"b\"} 1");
    CHECK_ERR(pytheus_view_clear(i.view), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE i info\n");
}

TEST(infos_have_no_unit) {
    CHECK_ERR(REFUSAL(INFO, .name = "a_seconds", .unit = "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(STATESET, .name = "a_seconds", .unit = "seconds", .states = {"on"}),
              PYTHEUS_ERR_NAME);
}

/* ==== STATESETS ==== */

TEST_WITH(r, a_stateset_has_a_line_for_each_state) {
    pytheus_stateset s =
        STATESET(r, .name = "phase", .help = "Phase.", .states = {"starting", "\"r\"\n", "ending"});
    CHECK_OM_PAGE(r, "# TYPE phase stateset\n# HELP phase Phase.\nphase{phase=\"starting\"} 0\n"
                     "phase{phase=\"\\\"r\\\"\\n\"} 0\nphase{phase=\"ending\"} 0\n");
    CHECK_ERR(pytheus_stateset_set(s, "starting", true), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_set(s, "ending", true), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_set(s, "ending", true), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE phase stateset\n# HELP phase Phase.\nphase{phase=\"starting\"} 1\n"
                     "phase{phase=\"\\\"r\\\"\\n\"} 0\nphase{phase=\"ending\"} 1\n");
    CHECK_ERR(pytheus_stateset_set(s, "starting", false), PYTHEUS_OK);
    CHECK_OM_LINE(r, "phase{phase=\"starting\"} 0");
    CHECK_ERR(pytheus_stateset_switch(s, "\"r\"\n"), PYTHEUS_OK);
    CHECK_PAGE(r, "# HELP phase Phase.\n# TYPE phase gauge\nphase{phase=\"starting\"} 0\n"
                  "phase{phase=\"\\\"r\\\"\\n\"} 1\nphase{phase=\"ending\"} 0\n");
    CHECK_LABELLED(r, "phase", 1, "phase", "\"r\"\n");
    CHECK_LABELLED(r, "phase", 0, "phase", "ending");
}

TEST_WITH(r, a_stateset_with_labels) {
    pytheus_stateset s =
        STATESET(r, .name = "s", .required_labels = {"unit"}, .states = {"on", "off"});
    CHECK_ERR(pytheus_stateset_switch(s, "on"), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_stateset_switch(pytheus_stateset_labels(s, "unit", "a"), "on"), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_switch(pytheus_stateset_labels(s, "unit", "b"), "off"), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE s stateset\ns{unit=\"a\",s=\"on\"} 1\ns{unit=\"a\",s=\"off\"} 0\n"
                     "s{unit=\"b\",s=\"on\"} 0\ns{unit=\"b\",s=\"off\"} 1\n");
    CHECK_ERR(pytheus_view_remove(pytheus_stateset_labels(s, "unit", "a").view), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE s stateset\ns{unit=\"b\",s=\"on\"} 0\ns{unit=\"b\",s=\"off\"} 1\n");
}

TEST_WITH(r, all_states_are_kept_apart) {
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k",
                                        "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v",
                                        "w", "x", "y", "z", "A", "B", "C", "D", "E", "F"};
    pytheus_desc desc = {.name = "s", .registry = r};
    CHECK_INT(COUNT_OF(names), PYTHEUS_MAX_STATES);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        desc.states[i] = names[i];
    pytheus_stateset s = pytheus_stateset_new(&desc);
    for (size_t i = 0; i < COUNT_OF(names); i += 3)
        CHECK_ERR(pytheus_stateset_set(s, names[i], true), PYTHEUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_LABELLED(r, "s", i % 3 == 0, "s", names[i]);
}

TEST_WITH(r, what_is_no_state) {
    pytheus_stateset s = STATESET(r, .name = "s", .states = {"on", "off"});
    CHECK_ERR(pytheus_stateset_switch(s, "on"), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_set(s, "of", true), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_stateset_switch(s, "offf"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_stateset_switch(s, ""), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_stateset_set(s, NULL, true), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_stateset_switch(s, NULL), PYTHEUS_ERR_VALUE);
    CHECK_OM_PAGE(r, "# TYPE s stateset\ns{s=\"on\"} 1\ns{s=\"off\"} 0\n");
    CHECK_ERR(pytheus_stateset_set((pytheus_stateset){0}, "on", true), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_stateset_switch((pytheus_stateset){0}, "on"), PYTHEUS_ERR_NOTHING);
}

TEST(statesets_that_are_refused) {
    CHECK_ERR(REFUSAL(STATESET, .name = "s"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(STATESET, .name = "s", .states = {"a", "b", "a"}), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(STATESET, .name = "s", .states = {"", "a"}), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(STATESET, .name = "s", .states = {"\xff", "\xfe"}), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(STATESET, .name = "s:t", .states = {"a"}), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(STATESET, .name = "__s", .states = {"a"}), PYTHEUS_ERR_NAME);
    CHECK_ERR(REFUSAL(STATESET, .name = "s", .states = {"a"}, .required_labels = {"s"}),
              PYTHEUS_ERR_LABEL);
}

TEST(a_prefix_is_part_of_the_states_label) {
    pytheus_registry *r = fixture_registry("app");
    CHECK_NOTHING(STATESET(r, .name = "s", .states = {"a"}, .required_labels = {"app_s"}));
    CHECK_NOTHING(STATESET(r, .name = "s:t", .states = {"a"}));
    pytheus_stateset s = STATESET(r, .name = "s", .states = {"a"}, .required_labels = {"s"});
    CHECK_ERR(pytheus_stateset_switch(pytheus_stateset_labels(s, "s", "1"), "a"), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE app_s stateset\napp_s{s=\"1\",app_s=\"a\"} 1\n");
    pytheus_registry_free(r);
    r = fixture_registry("a:b");
    if (r) {
        CHECK_NOTHING(STATESET(r, .name = "s", .states = {"a"}));
        pytheus_registry_free(r);
    }
}

/* ==== UNKNOWN ==== */

TEST_WITH(r, an_unknown_is_a_number) {
    pytheus_unknown u = UNKNOWN(r, .name = "u", .help = "U.", .required_labels = {"a"});
    CHECK_ERR(pytheus_unknown_set(u, 1), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_unknown_set(pytheus_unknown_labels(u, "a", "b"), -0.5), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE u unknown\n# HELP u U.\nu{a=\"b\"} -0.5\n");
    CHECK_PAGE(r, "# HELP u U.\n# TYPE u untyped\nu{a=\"b\"} -0.5\n");
    CHECK_ERR(pytheus_unknown_set(pytheus_unknown_labels(u, "a", "b"), (double)NAN), PYTHEUS_OK);
    CHECK_OM_LINE(r, "u{a=\"b\"} NaN");
    CHECK_LABELLED(r, "u", (double)NAN, "a", "b");
}

TEST_WITH(r, the_same_definition_is_the_same_metric) {
    CHECK_SAME(INFO(r, .name = "i", .required_labels = {"a"}),
               INFO(r, .name = "i", .required_labels = {"a"}));
    CHECK_SAME(STATESET(r, .name = "s", .states = {"a", "b"}),
               STATESET(r, .name = "s", .states = {"a", "b"}));
    CHECK_SAME(UNKNOWN(r, .name = "u"), UNKNOWN(r, .name = "u"));
    CHECK_INT(logged.num, 0);
    CHECK_NOTHING(STATESET(r, .name = "s", .states = {"b", "a"}));
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    CHECK_NOTHING(STATESET(r, .name = "s", .states = {"a"}));
    CHECK_NOTHING(STATESET(r, .name = "s", .states = {"a", "b", "c"}));
    CHECK_NOTHING(GAUGE(r, .name = "u"));
    CHECK_NOTHING(UNKNOWN(r, .name = "s"));
    CHECK_NOTHING(INFO(r, .name = "i"));
}

static pytheus_view make(pytheus_registry *r, pytheus_type type, const char *name) {
    pytheus_desc desc = {.name = name, .registry = r};
    if (type == PYTHEUS_STATESET)
        desc.states[0] = "on";
    return fixture_new(type, &desc);
}

static void check_clash(pytheus_type type, const char *name, pytheus_type other_type,
                        const char *other) {
    pytheus_registry *r = fixture_registry(NULL);
    CHECK(make(r, type, name).node);
    check_that(!make(r, other_type, other).node, __FILE__, __LINE__, "%s beside %s", other, name);
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    free(om_page(r));
    pytheus_registry_free(r);
}

/* Names that another metric's samples have, in one format or the other, both ways round. */
TEST(names_that_clash) {
    static const struct {
        pytheus_type type;
        const char *name;
        pytheus_type other_type;
        const char *other;
    } pairs[] = {
        {PYTHEUS_INFO, "a", PYTHEUS_GAUGE, "a_info"},
        {PYTHEUS_INFO, "a_info", PYTHEUS_GAUGE, "a_info"},
        {PYTHEUS_INFO, "a_info", PYTHEUS_GAUGE, "a"},
        {PYTHEUS_INFO, "a_info", PYTHEUS_INFO, "a"},
        {PYTHEUS_COUNTER, "a_total", PYTHEUS_UNKNOWN, "a"},
        {PYTHEUS_COUNTER, "a", PYTHEUS_UNKNOWN, "a_total"},
        {PYTHEUS_COUNTER, "a_total", PYTHEUS_COUNTER, "a"},
        {PYTHEUS_COUNTER, "a", PYTHEUS_STATESET, "a_created"},
        {PYTHEUS_COUNTER, "a_total", PYTHEUS_GAUGE, "a_created"},
        {PYTHEUS_COUNTER, "a_total", PYTHEUS_INFO, "a"},
        {PYTHEUS_HISTOGRAM, "a", PYTHEUS_UNKNOWN, "a_bucket"},
        {PYTHEUS_SUMMARY, "a", PYTHEUS_UNKNOWN, "a_created"},
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        check_clash(pairs[i].type, pairs[i].name, pairs[i].other_type, pairs[i].other);
        check_clash(pairs[i].other_type, pairs[i].other, pairs[i].type, pairs[i].name);
    }
}

/* ==== WHEN A SERIES BEGAN ==== */

TEST_WITH(r, nothing_says_when_it_began_at_first) {
    (void)COUNTER(r, .name = "c");
    pytheus_show_created(r, true);
    pytheus_show_created(r, false);
    (void)SUMMARY(r, .name = "s");
    CHECK_OM_PAGE(r, "# TYPE c counter\nc_total 0\n# TYPE s summary\ns_sum 0\ns_count 0\n");
}

TEST_WITH(r, created_samples) {
    static const double bounds[] = {1}, negative[] = {-1};
    double begin = wall_clock();
    (void)COUNTER(r, .name = "before");
    pytheus_show_created(r, true);
    (void)COUNTER(r, .name = "c_total");
    (void)pytheus_counter_labels(COUNTER(r, .name = "d", .required_labels = {"a"}), "a", "b");
    (void)HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 1);
    (void)HISTOGRAM(r, .name = "n", .buckets = negative, .num_buckets = 1);
    (void)SUMMARY(r, .name = "s");
    (void)GAUGE(r, .name = "g");
    (void)INFO(r, .name = "i");
    (void)STATESET(r, .name = "t", .states = {"on"});
    (void)UNKNOWN(r, .name = "u");
    CHECK_TIMELESS(r, begin,
                   "# TYPE before counter\nbefore_total 0\n"
                   "# TYPE c counter\nc_total 0\nc_created TIME\n"
                   "# TYPE d counter\nd_total{a=\"b\"} 0\nd_created{a=\"b\"} TIME\n"
                   "# TYPE h histogram\nh_bucket{le=\"1.0\"} 0\nh_bucket{le=\"+Inf\"} 0\n"
                   "h_sum 0\nh_count 0\nh_created TIME\n"
                   "# TYPE n histogram\nn_bucket{le=\"-1.0\"} 0\nn_bucket{le=\"+Inf\"} 0\n"
                   "n_created TIME\n"
                   "# TYPE s summary\ns_sum 0\ns_count 0\ns_created TIME\n"
                   "# TYPE g gauge\ng 0\n# TYPE i info\ni_info 1\n"
                   "# TYPE t stateset\nt{t=\"on\"} 0\n# TYPE u unknown\nu 0\n");
    CHECK_NO_LINE(r, "# TYPE c_created gauge");
    char *text = page(r);
    CHECK(!strstr(text, "_created"));
    free(text);
}

static void wait_ms(double ms) {
    double end = wall_clock() + ms / 1000;
    while (wall_clock() < end) {
    }
}

/* It begins anew where it is set to 0, and where it is made again. */
TEST_WITH(r, what_is_cleared_begins_anew) {
    pytheus_show_created(r, true);
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter d = COUNTER(r, .name = "d", .required_labels = {"a"});
    pytheus_summary s = SUMMARY(r, .name = "s");
    (void)pytheus_counter_labels(d, "a", "b");
    wait_ms(20);
    double begin = wall_clock();
    CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(d.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(s.view), PYTHEUS_OK);
    (void)pytheus_counter_labels(d, "a", "b");
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\nc_total 0\nc_created TIME\n"
                   "# TYPE d counter\nd_total{a=\"b\"} 0\nd_created{a=\"b\"} TIME\n"
                   "# TYPE s summary\ns_sum 0\ns_count 0\ns_created TIME\n");
}

TEST_WITH(r, a_beginning_does_not_move) {
    pytheus_show_created(r, true);
    pytheus_counter c = COUNTER(r, .name = "c");
    char *before = om_page(r), *after;
    wait_ms(5);
    CHECK_ERR(pytheus_counter_set(c, 0), PYTHEUS_OK);
    CHECK_SAME(c, COUNTER(r, .name = "c"));
    after = om_page(r);
    CHECK_STR(after, before);
    free(before);
    free(after);
}

/* ==== EXEMPLARS ==== */

TEST_WITH(r, a_counter_has_its_last_exemplar) {
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    pytheus_counter b = pytheus_counter_labels(c, "a", "b");
    (void)pytheus_counter_labels(c, "a", "c");
    CHECK_ERR(pytheus_counter_add_exemplar(b, 2, "trace_id", "abc"), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(b), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\nc_total{a=\"b\"} 3 # {trace_id=\"abc\"} 2 TIME\n"
                   "c_total{a=\"c\"} 0\n");
    CHECK_ERR(pytheus_counter_add_exemplar(b, 0.5, "trace_id", "d", "span_id", "e"), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\n"
                   "c_total{a=\"b\"} 3.5 # {trace_id=\"d\",span_id=\"e\"} 0.5 TIME\n"
                   "c_total{a=\"c\"} 0\n");
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total{a=\"b\"} 3.5\nc_total{a=\"c\"} 0\n");
}

TEST_WITH(r, each_bucket_has_its_own_exemplar) {
    static const double bounds[] = {0.5, 1, 2};
    double begin = wall_clock();
    pytheus_histogram h = histogram_of(r, bounds, 3);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 0.25, "n", "1"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 1, "n", "2"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 0.75, "n", "3"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, HUGE_VAL, "n", "4"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 1.5), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin,
                   "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"0.5\"} 1 # {n=\"1\"} 0.25 TIME\n"
                   "h_bucket{le=\"1.0\"} 3 # {n=\"3\"} 0.75 TIME\nh_bucket{le=\"2.0\"} 4\n"
                   "h_bucket{le=\"+Inf\"} 5 # {n=\"4\"} +Inf TIME\nh_sum +Inf\nh_count 5\n");
}

/* On, just below and just above each bound, and far away. */
TEST_WITH(r, an_exemplar_is_in_the_range_of_its_bucket) {
    static const double bounds[] = {-1, 0, 1e-300, 0.1, 1, 1e300};
    pytheus_histogram h = histogram_of(r, bounds, COUNT_OF(bounds));
    for (size_t i = 0; i < COUNT_OF(bounds); i++) {
        const double values[] = {bounds[i], nextafter(bounds[i], -HUGE_VAL),
                                 nextafter(bounds[i], HUGE_VAL), -HUGE_VAL, HUGE_VAL};
        for (size_t j = 0; j < COUNT_OF(values); j++) {
            CHECK_ERR(pytheus_histogram_observe_exemplar(h, values[j], "a", "b"), PYTHEUS_OK);
            free(om_page(r)); /* which the strict reader has read */
        }
    }
}

static size_t repeated(char *out, size_t n, const char *what) {
    size_t size = strlen(what);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * size, what, size + 1);
    return n;
}

/* Characters are counted, not bytes, in names and values together. */
TEST_WITH(r, an_exemplar_has_128_characters) {
    static const char *const characters[] = {"x", "\"", "\n", "\xc3\xa9", "\xf0\x9f\x98\x80"};
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c");
    double value = 0;
    for (size_t i = 0; i < COUNT_OF(characters); i++) {
        char text[1024];
        int failed = logged.num;
        repeated(text, 128 - 7, characters[i]);
        CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "abc", "", "abcd", text), PYTHEUS_OK);
        char *good = om_page(r);
        CHECK(strstr(good, " # {abc=\"\",abcd=\""));
        repeated(text, 128 - 6, characters[i]);
        CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "abc", "", "abcd", text), PYTHEUS_ERR_LABEL);
        CHECK_INT(logged.num, i ? failed : failed + 1);
        CHECK_VALUE(c, value += 2);
        free(good);
    }
    CHECK(strstr(logged.sentence, "128"));
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a", "b"), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin, "# TYPE c counter\nc_total 11 # {a=\"b\"} 1 TIME\n");
}

/* The value counts, and the exemplar from before stays. */
TEST_WITH(r, exemplars_that_are_refused) {
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a", "b"), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "1a", "b"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a", "b", "a", "c"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "__a", "b"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a:b", "b"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "", "b"), PYTHEUS_ERR_LABEL);
    const char *const holes[] = {"a", NULL, NULL, "b"};
    CHECK_ERR(pytheus_counter_add_with(c, 1, holes, 2), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_with(c, 1, holes + 2, 2), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_with(c, 1, holes, 1), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_counter_add_with(c, 1, NULL, 2), PYTHEUS_ERR_LABEL);
    CHECK_VALUE(c, 10);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 1, "a b", "b"), PYTHEUS_ERR_LABEL);
    CHECK_SAMPLE(r, "h_count", 1);
    char *text = om_page(r);
    CHECK(!strstr(strstr(text, "# TYPE h"), " # {"));
    free(text);
    CHECK_ERR(pytheus_view_remove(h.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove(r, h.view), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin, "# TYPE c counter\nc_total 10 # {a=\"b\"} 1 TIME\n");
}

/* What is not counted is no example of what was. */
TEST_WITH(r, values_that_are_refused_leave_no_exemplar) {
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a", "b"), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_counter b = pytheus_counter_labels(c, "a", "b");
    CHECK_ERR(pytheus_counter_add_exemplar(b, -1, "a", "b"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_counter_add_exemplar(b, (double)NAN, "a", "b"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, (double)NAN, "a", "b"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_counter_add_exemplar((pytheus_counter){0}, 1, "a", "b"), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_histogram_observe_exemplar((pytheus_histogram){0}, 1, "a", "b"),
              PYTHEUS_ERR_NOTHING);
    char *text = om_page(r);
    CHECK(!strstr(text, " # {"));
    free(text);
}

TEST_WITH(r, an_exemplar_with_no_labels_and_with_many) {
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c");
    const char *pairs[2 * PYTHEUS_MAX_LABELS + 2];
    static const char names[] = "a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p\0q";
    for (size_t i = 0; i < COUNT_OF(pairs) / 2; i++) {
        pairs[2 * i] = names + 2 * i;
        pairs[2 * i + 1] = "";
    }
    CHECK_ERR(pytheus_counter_add_with(c, 1, NULL, 0), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin, "# TYPE c counter\nc_total 1 # {} 1 TIME\n");
    CHECK_ERR(pytheus_counter_add_with(c, 2, pairs, 2 * PYTHEUS_MAX_LABELS), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_with(c, 1, pairs, 2 * PYTHEUS_MAX_LABELS + 2), PYTHEUS_ERR_LABEL);
    CHECK_TIMELESS(
        r, begin,
        "# TYPE c counter\nc_total 4 # {a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\","
        "g=\"\",h=\"\",i=\"\",j=\"\",k=\"\",l=\"\",m=\"\",n=\"\",o=\"\",p=\"\"} 2 TIME\n");
}

TEST_WITH(r, the_labels_of_exemplars_are_copied_and_mended) {
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c");
    char name[] = "le", value[] = "\xff} # {\"\\\n\xe2\x82";
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, name, value), PYTHEUS_OK);
    memset(name, 'x', sizeof name - 1);
    memset(value, 'x', sizeof value - 1);
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\n"
                   "c_total 1 # {le=\"\xef\xbf\xbd} # {\\\"\\\\\\n\xef\xbf\xbd\"} 1 TIME\n");
}

TEST_WITH(r, exemplars_go_with_their_series) {
    double begin = wall_clock();
    static const double bounds[] = {1};
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    pytheus_histogram h = histogram_of(r, bounds, 1);
    pytheus_counter b = pytheus_counter_labels(c, "a", "b");
    CHECK_ERR(pytheus_counter_add_exemplar(b, 1, "n", "1"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 1, "n", "1"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 2, "n", "1"), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(b.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(h.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_exemplar(b, 1, "n", "2"), PYTHEUS_ERR_REMOVED);
    pytheus_counter again = pytheus_counter_labels(c, "a", "b");
    pytheus_counter other = pytheus_counter_labels(c, "a", "c");
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\nc_total{a=\"b\"} 0\nc_total{a=\"c\"} 0\n"
                   "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"1.0\"} 0\n"
                   "h_bucket{le=\"+Inf\"} 0\nh_sum 0\nh_count 0\n");
    CHECK_ERR(pytheus_counter_add_exemplar(again, 1, "n", "3"), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_exemplar(other, 1, "n", "4"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 2, "n", "5"), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin,
                   "# TYPE c counter\nc_total{a=\"b\"} 1 # {n=\"3\"} 1 TIME\n"
                   "c_total{a=\"c\"} 1 # {n=\"4\"} 1 TIME\n"
                   "# TYPE h histogram\n# HELP h H.\nh_bucket{le=\"1.0\"} 0\n"
                   "h_bucket{le=\"+Inf\"} 1 # {n=\"5\"} 2 TIME\nh_sum 2\nh_count 1\n");
}

/* Series of one metric, each with an exemplar of its own or none, come and go. */
TEST_WITH(r, exemplars_of_many_series) {
    enum { NUM = 300 };
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"n"});
    static const reader_sample *found[NUM];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < NUM; i++) {
            char n[16];
            snprintf(n, sizeof n, "%d", i);
            pytheus_counter one = pytheus_counter_labels(c, "n", n);
            CHECK_ERR(i % 3 == round ? pytheus_view_remove(one.view)
                                     : pytheus_counter_add_exemplar(one, i, "of", n),
                      PYTHEUS_OK);
        }
        page_reading reading = om_page_open(r);
        CHECK_INT(reading.doc.num_samples, NUM - NUM / 3);
        for (int i = 0; i < NUM; i++) {
            char n[16];
            const char *pairs[] = {"n", n};
            snprintf(n, sizeof n, "%d", i);
            found[i] = reader_find(&reading.doc, "c_total", pairs, 2);
            CHECK((i % 3 == round) == !found[i]);
            if (found[i] && CHECK(found[i]->has_exemplar)) {
                CHECK_STR(found[i]->exemplar.labels[0].value, n);
                CHECK_DOUBLE(found[i]->exemplar.value, i);
            }
        }
        page_save_unless_last(&reading);
        reader_free(&reading.doc);
        free(reading.text);
    }
}

/* Without memory for the first exemplar the value counts all the same. Later ones need none. */
TEST(exemplars_without_memory) {
    static const double bounds[] = {1};
    budget b = {0};
    pytheus_registry *r = pytheus_registry_new(
        &(pytheus_registry_desc){.allocator = {spend, &b}, .logger = {fixture_remember, NULL}});
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 1, .required_labels = {"n"});
    pytheus_histogram last = {0};
    int num_failed = 0;
    for (int i = 0; i < 200; i++) {
        char n[16];
        snprintf(n, sizeof n, "%d", i);
        last = pytheus_histogram_labels(h, "n", n);
        b.fails_at = b.num_calls + 1;
        b.for_ever = true;
        pytheus_err err = pytheus_histogram_observe_exemplar(last, 2, "a", "b");
        num_failed += err == PYTHEUS_ERR_NOMEM;
        CHECK(!err || err == PYTHEUS_ERR_NOMEM);
        b.fails_at = 0;
        CHECK_LABELLED(r, "h_count", 1, "n", n);
        CHECK_ERR(pytheus_histogram_observe_exemplar(last, 2, "a", "c"), PYTHEUS_OK);
    }
    CHECK(num_failed > 0);
    long num_calls = b.num_calls;
    CHECK_ERR(pytheus_histogram_observe_exemplar(last, 2, "a", "d"), PYTHEUS_OK);
    CHECK_INT(b.num_calls, num_calls);
    CHECK_OM_LINE(r, "h_count{n=\"199\"} 3");
    pytheus_registry_free(r);
    CHECK_INT(b.live, 0);
}

TEST_WITH(r, errno_is_left_alone) {
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    errno = 77;
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "a", "b"), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_exemplar(c, 1, "1", "b"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 1, "a", "b"), PYTHEUS_OK);
    CHECK_INT(errno, 77);
}

/* ==== EXEMPLARS FROM MANY THREADS ==== */

enum { NUM_WRITERS = 4, NUM_SHARED = 20 };

#ifdef UNDER_TSAN
enum { NUM_ROUNDS = 300, NUM_PAGES = 300 };
#else
enum { NUM_ROUNDS = 10000, NUM_PAGES = 2000 };
#endif

static const double shared_bounds[] = {1000, 5000};

typedef struct writers {
    pytheus_counter counter;
    pytheus_histogram histogram;
    bool over, failed;
} writers;

typedef struct writer {
    writers *all;
    int num_written;
    pthread_t thread;
} writer;

/* Whoever reads it sees whether all of it is from one call: both labels and the value are n. */
static void write_exemplars(const writer *w, int n) {
    char text[64], series[16];
    const char *pairs[] = {"n", text, "again", text};
    snprintf(text, sizeof text, n % 2 ? "%d" : "%040d", n);
    snprintf(series, sizeof series, "%d", n % NUM_SHARED);
    pytheus_counter c = pytheus_counter_labels(w->all->counter, "s", series);
    if (pytheus_counter_add_with(c, n, pairs, 4) ||
        pytheus_histogram_observe_with(w->all->histogram, n, pairs, 4))
        __atomic_store_n(&w->all->failed, true, __ATOMIC_RELAXED);
}

static void *run_writer(void *argument) {
    writer *w = argument;
    while (w->num_written < NUM_ROUNDS || !__atomic_load_n(&w->all->over, __ATOMIC_RELAXED))
        write_exemplars(w, w->num_written++ % NUM_ROUNDS);
    return NULL;
}

static void start_writers(writers *all, writer *threads) {
    for (int i = 0; i < NUM_WRITERS; i++) {
        threads[i] = (writer){.all = all};
        if (pthread_create(&threads[i].thread, NULL, run_writer, &threads[i]))
            abort();
    }
}

/* How many values they have written. */
static double stop_writers(writers *all, const writer *threads) {
    double num_written = 0;
    __atomic_store_n(&all->over, true, __ATOMIC_RELAXED);
    for (int i = 0; i < NUM_WRITERS; i++) {
        pthread_join(threads[i].thread, NULL);
        num_written += threads[i].num_written;
    }
    return num_written;
}

static void check_whole_exemplar(const reader_sample *sample) {
    const reader_exemplar *exemplar = &sample->exemplar;
    if (!sample->has_exemplar || !CHECK(exemplar->num_labels == 2))
        return;
    CHECK_STR(exemplar->labels[1].value, exemplar->labels[0].value);
    CHECK_DOUBLE(atof(exemplar->labels[0].value), exemplar->value);
}

/* A series that this thread alone removes and makes again, among those of the others. */
static void check_lives(pytheus_registry *r, const writers *all) {
    pytheus_counter own = pytheus_counter_labels(all->counter, "s", "own");
    const char *const labels[] = {"s", "own"};
    CHECK_ERR(pytheus_counter_add_exemplar(own, 1, "n", "x", "again", "x"), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(own.view), PYTHEUS_OK);
    (void)pytheus_counter_labels(all->counter, "s", "own");
    page_reading reading = om_page_open(r);
    const reader_sample *sample = reader_find(&reading.doc, "c_total", labels, 2);
    if (CHECK(sample))
        CHECK(!sample->has_exemplar);
    for (size_t i = 0; i < reading.doc.num_samples; i++)
        check_whole_exemplar(&reading.doc.samples[i]);
    reader_free(&reading.doc);
    free(reading.text);
}

TEST_WITH(r, exemplars_from_many_threads_are_whole) {
    writers all = {.counter = COUNTER(r, .name = "c", .required_labels = {"s"}),
                   .histogram =
                       HISTOGRAM(r, .name = "h", .buckets = shared_bounds, .num_buckets = 2)};
    writer threads[NUM_WRITERS];
    int num_exemplars = 0;
    start_writers(&all, threads);
    for (int i = 0; i < NUM_PAGES; i++)
        check_lives(r, &all);
    double num_written = stop_writers(&all, threads);
    CHECK_SAMPLE(r, "h_count", num_written);
    CHECK(!all.failed);
    page_reading reading = om_page_open(r);
    for (size_t i = 0; i < reading.doc.num_samples; i++)
        num_exemplars += reading.doc.samples[i].has_exemplar;
    CHECK_INT(num_exemplars, NUM_SHARED + (NUM_ROUNDS > 5000 ? 3 : 1));
    reader_free(&reading.doc);
    free(reading.text);
}

/* What is switched is on alone, whoever looks. */
typedef struct switching {
    pytheus_stateset set;
    bool over;
} switching;

static void *switch_on(void *argument) {
    static const char *const states[] = {"a", "b", "c"};
    switching *s = argument;
    for (int i = 0; !__atomic_load_n(&s->over, __ATOMIC_RELAXED); i++)
        if (pytheus_stateset_switch(s->set, states[i % 3]))
            abort();
    return NULL;
}

TEST_WITH(r, one_state_is_on_whoever_looks) {
    switching s = {.set = STATESET(r, .name = "s", .states = {"a", "b", "c"})};
    pthread_t threads[2];
    CHECK_ERR(pytheus_stateset_switch(s.set, "a"), PYTHEUS_OK);
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, switch_on, &s))
            abort();
    for (int i = 0; i < NUM_PAGES; i++) {
        page_reading reading = om_page_open(r);
        double num_on = 0;
        for (size_t j = 0; j < reading.doc.num_samples; j++)
            num_on += reading.doc.samples[j].value;
        CHECK_DOUBLE(num_on, 1);
        reader_free(&reading.doc);
        free(reading.text);
    }
    __atomic_store_n(&s.over, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
}

/* Each thread turns its own states on and off: none undoes what another did. */
typedef struct turning {
    pytheus_stateset set;
    const char *state;
    pthread_t thread;
} turning;

static void *turn(void *argument) {
    turning *t = argument;
    for (int i = 0; i < NUM_ROUNDS; i++)
        if (pytheus_stateset_set(t->set, t->state, i % 2 == 0) ||
            pytheus_stateset_set(t->set, t->state, true))
            abort();
    return NULL;
}

TEST_WITH(r, states_of_many_threads) {
    static const char *const states[] = {"a", "b", "c", "d"};
    turning threads[4];
    pytheus_stateset set = STATESET(r, .name = "s", .states = {"a", "b", "c", "d", "e"});
    if (!keeps_values_in_words())
        SKIP_EXTRA("on a backend of cells a state is not set atomically");
    for (int i = 0; i < 4; i++) {
        threads[i] = (turning){.set = set, .state = states[i]};
        if (pthread_create(&threads[i].thread, NULL, turn, &threads[i]))
            abort();
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i].thread, NULL);
    CHECK_OM_PAGE(r, "# TYPE s stateset\ns{s=\"a\"} 1\ns{s=\"b\"} 1\ns{s=\"c\"} 1\ns{s=\"d\"} 1\n"
                     "s{s=\"e\"} 0\n");
}

/* ==== COLLECTORS ==== */

static pytheus_err emit_family(pytheus_emitter *out, pytheus_type type, const char *name,
                               const char *help, const char *unit) {
    return pytheus_emit_family(
        out, &(pytheus_family){.type = type, .name = name, .help = help, .unit = unit});
}

#define EMIT(out, ...) pytheus_emit_sample(out, &(pytheus_sample){__VA_ARGS__})
#define EMIT_WITH(out, suffix_, value_, ...)                                                       \
    pytheus_emit_sample(                                                                           \
        out, &(pytheus_sample){.suffix = (suffix_),                                                \
                               .value = (value_),                                                  \
                               .pairs = (const char *const[]){__VA_ARGS__},                        \
                               .num_strings = COUNT_OF(((const char *const[]){__VA_ARGS__}))})

/* What the running test's collector emits: it is called for its names as well. */
typedef pytheus_err (*emitting)(pytheus_emitter *out);

static pytheus_err collect(void *user, pytheus_emitter *out) {
    return (*(const emitting *)user)(out);
}

static void add_collector(pytheus_registry *r, const emitting *emit) {
    pytheus_collector collector = {
        .name = "test", .collect = collect, .user = (void *)(uintptr_t)emit};
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
}

static pytheus_err emit_each_type(pytheus_emitter *out) {
    CHECK_ERR(emit_family(out, PYTHEUS_COUNTER, "c_seconds_total", "C \"c\".", "seconds"),
              PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 2.5, "a", "b"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_created", 17.25, "a", "b"), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_COUNTER, "d", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = 1), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_GAUGE, "g", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = (double)NAN), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_HISTOGRAM, "h", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 1, "le", "1"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 2, "le", "1e6"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 3, "le", "+Inf"), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_sum", .value = 4.5), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_count", .value = 3), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_created", .value = 0), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_SUMMARY, "s", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, (double)NAN, "quantile", "0.5"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 2, "quantile", "1"), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_sum", .value = 4.5), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_count", .value = 3), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_INFO, "i", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_info", 1, "v", "1"), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_INFO, "j_info", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "v", "1"), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_STATESET, "t", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "t", "on"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 0, "t", "off"), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_UNKNOWN, "u", NULL, NULL), PYTHEUS_OK);
    return EMIT(out, .value = -1);
}

TEST_WITH(r, collectors_emit_each_type) {
    static const emitting emit = emit_each_type;
    add_collector(r, &emit);
    CHECK_OM_PAGE(r, "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n"
                     "# HELP c_seconds C \\\"c\\\".\nc_seconds_total{a=\"b\"} 2.5\n"
                     "c_seconds_created{a=\"b\"} 17.250\n"
                     "# TYPE d counter\nd_total 1\n# TYPE g gauge\ng NaN\n"
                     "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"1e+06\"} 2\n"
                     "h_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\nh_created 0.000\n"
                     "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns{quantile=\"1.0\"} 2\n"
                     "s_sum 4.5\ns_count 3\n# TYPE i info\ni_info{v=\"1\"} 1\n"
                     "# TYPE j info\nj_info{v=\"1\"} 1\n"
                     "# TYPE t stateset\nt{t=\"on\"} 1\nt{t=\"off\"} 0\n# TYPE u unknown\nu -1\n");
    CHECK_PAGE(r, "# HELP c_seconds_total C \"c\".\n# TYPE c_seconds_total counter\n"
                  "c_seconds_total{a=\"b\"} 2.5\n# TYPE d counter\nd 1\n# TYPE g gauge\ng NaN\n"
                  "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"1e+06\"} 2\n"
                  "h_bucket{le=\"+Inf\"} 3\nh_sum 4.5\nh_count 3\n"
                  "# TYPE s summary\ns{quantile=\"0.5\"} NaN\ns{quantile=\"1\"} 2\n"
                  "s_sum 4.5\ns_count 3\n# TYPE i_info gauge\ni_info{v=\"1\"} 1\n"
                  "# TYPE j_info gauge\nj_info{v=\"1\"} 1\n"
                  "# TYPE t gauge\nt{t=\"on\"} 1\nt{t=\"off\"} 0\n# TYPE u untyped\nu -1\n");
}

static pytheus_err emit_states(pytheus_emitter *out) {
    CHECK_ERR(emit_family(out, PYTHEUS_STATESET, "t", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "app_t", "on"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "t", "on"), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_INFO, "i", NULL, NULL), PYTHEUS_OK);
    return EMIT(out, .value = 1);
}

/* Its label is that of the family as the collector calls it. */
TEST(a_collector_in_a_registry_with_a_prefix) {
    static const emitting emit = emit_states;
    pytheus_registry *r = fixture_registry("app");
    add_collector(r, &emit);
    CHECK_OM_PAGE(
        r, "# TYPE app_t stateset\napp_t{app_t=\"on\"} 1\n# TYPE app_i info\napp_i_info 1\n");
    pytheus_registry_free(r);
}

static pytheus_err emit_timestamps(pytheus_emitter *out) {
    static const int64_t times[] = {0,    1,     -1,        999,       1000,
                                    -500, -1500, INT64_MAX, INT64_MIN, INT64_C(1605281325120)};
    CHECK_ERR(emit_family(out, PYTHEUS_GAUGE, "g", NULL, NULL), PYTHEUS_OK);
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        char n[16];
        const char *pairs[] = {"n", n};
        snprintf(n, sizeof n, "%d", (int)i);
        CHECK_ERR(EMIT(out, .value = 1, .pairs = pairs, .num_strings = 2, .timestamp_ms = times[i],
                       .has_timestamp = true),
                  PYTHEUS_OK);
    }
    return PYTHEUS_OK;
}

TEST_WITH(r, timestamps_are_seconds) {
    static const emitting emit = emit_timestamps;
    static const char *const texts[] = {"0.000",
                                        "0.001",
                                        "-0.001",
                                        "0.999",
                                        "1.000",
                                        "-0.500",
                                        "-1.500",
                                        "9223372036854775.807",
                                        "-9223372036854775.808",
                                        "1605281325.120"};
    add_collector(r, &emit);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        char line[128];
        snprintf(line, sizeof line, "g{n=\"%d\"} 1 %s", (int)i, texts[i]);
        CHECK_OM_LINE(r, line);
    }
}

/* Each of these is refused, on pages of both formats. */
static pytheus_err emit_what_is_refused(pytheus_emitter *out) {
    CHECK_ERR(emit_family(out, PYTHEUS_INFO, "i_seconds", NULL, "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_STATESET, "t:u", NULL, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_COUNTER, "_total", NULL, NULL), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_GAUGE, "wait", NULL, "seconds"), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_COUNTER, "c", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = (double)NAN), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .value = -1), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .suffix = "_created", .value = (double)NAN), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .suffix = "_created", .value = HUGE_VAL), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .suffix = "_info", .value = 1), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_GAUGE, "g", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_created", .value = 1), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_INFO, "i", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = 0), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .value = (double)NAN), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT(out, .suffix = "_created", .value = 1), PYTHEUS_ERR_NAME);
    CHECK_ERR(emit_family(out, PYTHEUS_STATESET, "t", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = 1), PYTHEUS_ERR_LABEL);
    CHECK_ERR(EMIT_WITH(out, NULL, 0.5, "t", "on"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT_WITH(out, NULL, (double)NAN, "t", "on"), PYTHEUS_ERR_VALUE);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "t", ""), PYTHEUS_ERR_LABEL);
    CHECK_ERR(emit_family(out, PYTHEUS_SUMMARY, "s", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "quantile", "1.5"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(EMIT_WITH(out, NULL, 1, "quantile", "-0.5"), PYTHEUS_ERR_LABEL);
    CHECK_ERR(emit_family(out, PYTHEUS_UNKNOWN, "u", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_total", .value = 1), PYTHEUS_ERR_NAME);
    return PYTHEUS_OK;
}

TEST_WITH(r, collectors_cannot_emit_what_no_page_may_have) {
    static const emitting emit = emit_what_is_refused;
    add_collector(r, &emit);
    CHECK_OM_PAGE(r, "# TYPE c counter\n# TYPE g gauge\n# TYPE i info\n# TYPE t stateset\n"
                     "# TYPE s summary\n# TYPE u unknown\n");
    free(page(r));
}

/* Text can say these, OpenMetrics cannot: then they are left away, and what they leave over. */
static pytheus_err emit_what_text_can_say(pytheus_emitter *out) {
    CHECK_ERR(emit_family(out, PYTHEUS_HISTOGRAM, "h", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 1, "le", "1"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 1, "le", "+Inf"), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_sum", .value = -1), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_count", .value = 1), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_HISTOGRAM, "n", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 0, "le", "-1"), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, "_bucket", 1, "le", "+Inf"), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_count", .value = 1), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_sum", .value = 1), PYTHEUS_OK);
    CHECK_ERR(emit_family(out, PYTHEUS_SUMMARY, "s", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT_WITH(out, NULL, -1, "quantile", "0.5"), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .suffix = "_sum", .value = (double)NAN), PYTHEUS_OK);
    return EMIT(out, .suffix = "_count", .value = 1);
}

TEST_WITH(r, what_only_text_can_say_of_distributions) {
    static const emitting emit = emit_what_text_can_say;
    add_collector(r, &emit);
    CHECK_OM_PAGE(r, "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 1\n"
                     "# TYPE n histogram\nn_bucket{le=\"-1.0\"} 0\nn_bucket{le=\"+Inf\"} 1\n"
                     "# TYPE s summary\ns_count 1\n");
    CHECK_LINE(r, "h_sum -1");
    CHECK_LINE(r, "n_sum 1");
    CHECK_LINE(r, "s{quantile=\"0.5\"} -1");
}

/* A clash that is there from the start is one of definitions. */
static bool clashes_now;

/* In text these names are all different. */
static pytheus_err emit_names_that_clash(pytheus_emitter *out) {
    (void)emit_family(out, PYTHEUS_COUNTER, "foo_total", NULL, NULL);
    (void)EMIT(out, .value = 1);
    (void)emit_family(out, PYTHEUS_INFO, "metric", NULL, NULL);
    (void)EMIT(out, .value = 1);
    if (!clashes_now)
        return PYTHEUS_OK;
    (void)emit_family(out, PYTHEUS_GAUGE, "foo", NULL, NULL);
    (void)EMIT(out, .value = 2);
    (void)emit_family(out, PYTHEUS_GAUGE, "foo_created", NULL, NULL);
    (void)EMIT(out, .value = 3);
    (void)emit_family(out, PYTHEUS_INFO, "own_info", NULL, NULL);
    (void)EMIT(out, .value = 1);
    return PYTHEUS_OK;
}

TEST_WITH(r, families_of_collectors_that_clash) {
    static const emitting emit = emit_names_that_clash;
    clashes_now = false;
    (void)GAUGE(r, .name = "own");
    add_collector(r, &emit);
    clashes_now = true;
    CHECK_OM_LINE(r, "own 0");
    CHECK_OM_LINE(r, "foo_total 1");
    CHECK_OM_LINE(r, "metric_info 1");
    CHECK_NO_OM_LINE(r, "foo 2");
    CHECK_NO_OM_LINE(r, "foo_created 3");
    CHECK_NO_OM_LINE(r, "own_info 1");
    CHECK_OM_LINE(r, "# TYPE pytheus_collector_clashes counter");
    CHECK_NO_LINE(r, "own_info 1");
    clashes_now = false;
}

static uint64_t random_state;

static const char *any_of(const char *const *texts, size_t num) {
    return texts[check_random(&random_state) % num];
}

#define ANY(...)                                                                                   \
    any_of((const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

static double any_value(void) {
    static const double values[] = {
        0, -0.0, 1, -1, 0.5, 1e300, 5e-324, HUGE_VAL, -HUGE_VAL, NAN, 1.0000000000000002, 2};
    return values[check_random(&random_state) % COUNT_OF(values)];
}

static void emit_any_sample(pytheus_emitter *out) {
    const char *pairs[6];
    pytheus_sample sample = {.suffix = ANY(NULL, "", "_info", "_total", "_sum", "x"),
                             .pairs = pairs,
                             .num_strings = (size_t)(check_random(&random_state) % 7),
                             .value = any_value()};
    for (size_t i = 0; i + 1 < COUNT_OF(pairs); i += 2) {
        pairs[i] = ANY("a", "b", "le", "quantile", "__a", "1", "a:b", "", NULL, "x");
        pairs[i + 1] = ANY("", "1", "\xff\"", "0.5", NULL, "\\\n}", "+Inf");
    }
    (void)pytheus_emit_sample(out, &sample);
}

/* Only types whose samples stand each for itself: that the others agree is up to who emits them. */
static pytheus_err emit_anything(pytheus_emitter *out) {
    static const pytheus_type types[] = {PYTHEUS_COUNTER, PYTHEUS_GAUGE,   PYTHEUS_UNKNOWN,
                                         PYTHEUS_INFO,    (pytheus_type)0, (pytheus_type)99};
    for (int i = 0; i < 4; i++) {
        (void)emit_family(out, types[check_random(&random_state) % COUNT_OF(types)],
                          ANY("a", "a_total", "a_info", "b_total_total", "a_s", "a_s_total", "c:d",
                              "_total", "1", "", NULL, "e_created", "e"),
                          ANY(NULL, "", "\"\\\n\xff"), ANY(NULL, "", "s", "total", "_", "x y"));
        for (uint64_t j = check_random(&random_state) % 5; j > 0; j--)
            emit_any_sample(out);
    }
    return PYTHEUS_OK;
}

TEST_WITH(r, whatever_collectors_emit_the_page_can_be_read) {
    static const emitting emit = emit_anything;
    random_state = 1;
    pytheus_collector collector = {
        .name = "test", .collect = collect, .user = (void *)(uintptr_t)&emit};
    while (pytheus_registry_add_collector(r, &collector)) {
    } /* as long as it emits a name twice */
    for (int i = 0; i < 5000; i++) {
        free(om_page(r));
        free(page(r));
    }
}

static pytheus_counter emitted_counter;
static pytheus_histogram emitted_histogram;

static pytheus_err emit_metrics(pytheus_emitter *out) {
    CHECK_ERR(pytheus_emit_metric(out, emitted_counter.view), PYTHEUS_OK);
    return pytheus_emit_metric(out, emitted_histogram.view);
}

TEST_WITH(r, metrics_that_a_collector_emits) {
    static const emitting emit = emit_metrics;
    static const double bounds[] = {1};
    double begin = wall_clock();
    pytheus_show_created(r, true);
    emitted_counter =
        COUNTER(r, .name = "c_seconds_total", .unit = "seconds", .unregistered = true);
    emitted_histogram =
        HISTOGRAM(r, .name = "h", .unregistered = true, .buckets = bounds, .num_buckets = 1);
    add_collector(r, &emit);
    CHECK_ERR(pytheus_counter_add_exemplar(emitted_counter, 1, "a", "b"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(emitted_histogram, 7, "a", "b"), PYTHEUS_OK);
    CHECK_TIMELESS(r, begin,
                   "# TYPE c_seconds counter\n# UNIT c_seconds seconds\n"
                   "c_seconds_total 1 # {a=\"b\"} 1 TIME\nc_seconds_created TIME\n"
                   "# TYPE h histogram\nh_bucket{le=\"1.0\"} 0\n"
                   "h_bucket{le=\"+Inf\"} 1 # {a=\"b\"} 7 TIME\nh_sum 7\nh_count 1\n"
                   "h_created TIME\n");
}

TEST_WITH(r, a_metric_in_a_second_registry) {
    pytheus_registry *other = pytheus_registry_new(&(pytheus_registry_desc){.prefix = "other"});
    double begin = wall_clock();
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    pytheus_stateset s = STATESET(r, .name = "s", .states = {"on"});
    CHECK_ERR(pytheus_registry_add(other, c.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_add(other, s.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add_exemplar(pytheus_counter_labels(c, "a", "b"), 1, "n", "1"),
              PYTHEUS_OK);
    CHECK_TIMELESS(other, begin,
                   "# TYPE other_c counter\nother_c_total{a=\"b\"} 1 # {n=\"1\"} 1 TIME\n"
                   "# TYPE other_s stateset\nother_s{other_s=\"on\"} 0\n");
    CHECK_LINE(other, "other_c_total{a=\"b\"} 1");
    pytheus_registry_free(other);
}

/* ==== BACKENDS THAT GENERATE ==== */

/* What others have made is in it; exemplars and times are not. */
TEST(what_a_backend_generates) {
    static const double bounds[] = {1};
    pytheus_backend backend = generating_backend(true);
    pytheus_registry *r =
        pytheus_registry_new(&(pytheus_registry_desc){.prefix = "app", .backend = &backend});
    pytheus_show_created(r, true);
    pytheus_counter c = COUNTER(r, .name = "wait_seconds_total", .unit = "seconds", .help = "W.",
                                .required_labels = {"a"});
    CHECK_ERR(pytheus_counter_add_exemplar(pytheus_counter_labels(c, "a", "b"), 2, "n", "1"),
              PYTHEUS_OK);
    (void)COUNTER(r, .name = "short");
    CHECK_ERR(pytheus_gauge_set(GAUGE(r, .name = "g"), -0.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_unknown_set(UNKNOWN(r, .name = "u"), 7), PYTHEUS_OK);
    (void)pytheus_info_labels(INFO(r, .name = "i", .required_labels = {"v"}), "v", "1");
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 1);
    CHECK_ERR(pytheus_histogram_observe_exemplar(h, 3, "n", "1"), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(SUMMARY(r, .name = "s"), -1), PYTHEUS_OK);
    pytheus_stateset t = STATESET(r, .name = "t", .states = {"on", "off", "out"});
    CHECK_ERR(pytheus_stateset_set(t, "on", true), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_set(t, "out", true), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE app_wait_seconds counter\n# UNIT app_wait_seconds seconds\n"
                     "# HELP app_wait_seconds W.\napp_wait_seconds_total{a=\"b\"} 2\n"
                     "# TYPE app_short counter\napp_short_total 0\n# TYPE app_g gauge\napp_g -0.5\n"
                     "# TYPE app_u unknown\napp_u 7\n# TYPE app_i info\napp_i_info{v=\"1\"} 1\n"
                     "# TYPE app_h histogram\napp_h_bucket{le=\"1.0\"} 0\n"
                     "app_h_bucket{le=\"+Inf\"} 1\napp_h_sum 3\napp_h_count 1\n"
                     "# TYPE app_s summary\napp_s_count 1\n"
                     "# TYPE app_t stateset\napp_t{app_t=\"on\"} 1\napp_t{app_t=\"off\"} 0\n"
                     "app_t{app_t=\"out\"} 1\n"
                     "# TYPE app_others counter\n# HELP app_others Made by another process.\n"
                     "app_others_total{worker=\"2\"} 7\n");
    CHECK_LINE(r, "app_s_sum -1");
    CHECK_LINE(r, "app_others_total{worker=\"2\"} 7");
    CHECK_ERR(pytheus_histogram_observe(h, -17), PYTHEUS_OK);
    CHECK_NO_OM_LINE(r, "app_h_sum -14");
    CHECK_NO_OM_LINE(r, "app_h_count 2");
    CHECK_LINE(r, "app_h_sum -14");
    pytheus_registry_free(r);
}

/* ==== THE END ==== */

typedef struct capture {
    char text[65536];
    size_t size;
    size_t fails_at; /* so many bytes are taken */
} capture;

static pytheus_err put(void *user, const char *bytes, size_t size) {
    capture *c = user;
    if (c->size + size > c->fails_at)
        return PYTHEUS_ERR_IO;
    memcpy(c->text + c->size, bytes, size);
    c->size += size;
    c->text[c->size] = 0;
    return PYTHEUS_OK;
}

static bool ends(const char *text, const char *end) {
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && !strcmp(text + size - end_size, end);
}

TEST_WITH(r, a_sink_that_fails_gets_no_end) {
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"n"});
    static capture c;
    for (int i = 0; i < 900; i++) {
        char n[64];
        snprintf(n, sizeof n, "%050d", i);
        (void)pytheus_gauge_labels(g, "n", n);
    }
    pytheus_sink sink = {put, &c};
    memset(&c, 0, sizeof c);
    c.fails_at = sizeof c.text - 1;
    CHECK_ERR(pytheus_write(r, PYTHEUS_OPENMETRICS, &sink), PYTHEUS_OK);
    CHECK(ends(c.text, "\n# EOF\n"));
    size_t whole = c.size;
    for (size_t fails_at = 0; fails_at < whole; fails_at += whole / 7) {
        memset(&c, 0, sizeof c);
        c.fails_at = fails_at;
        CHECK_ERR(pytheus_write(r, PYTHEUS_OPENMETRICS, &sink), PYTHEUS_ERR_IO);
        CHECK(!strstr(c.text, "# EOF"));
    }
    memset(&c, 0, sizeof c);
    c.fails_at = whole - 1;
    CHECK_ERR(pytheus_write(r, PYTHEUS_OPENMETRICS, &sink), PYTHEUS_ERR_IO);
    CHECK(!strstr(c.text, "# EOF"));
}

static pytheus_err emit_and_fail(pytheus_emitter *out) {
    CHECK_ERR(emit_family(out, PYTHEUS_GAUGE, "g", NULL, NULL), PYTHEUS_OK);
    CHECK_ERR(EMIT(out, .value = 1), PYTHEUS_OK);
    return PYTHEUS_ERR_BACKEND;
}

TEST_WITH(r, a_collector_that_fails_leaves_no_end) {
    static const emitting emit = emit_and_fail;
    static capture c;
    memset(&c, 0, sizeof c);
    c.fails_at = sizeof c.text - 1;
    pytheus_collector collector = {
        .name = "test", .collect = collect, .user = (void *)(uintptr_t)&emit};
    pytheus_err err = pytheus_registry_add_collector(r, &collector);
    if (err) { /* it is asked for its names first */
        CHECK_ERR(err, PYTHEUS_ERR_BACKEND);
        return;
    }
    CHECK_ERR(pytheus_write(r, PYTHEUS_OPENMETRICS, &(pytheus_sink){put, &c}), PYTHEUS_ERR_BACKEND);
    CHECK(!strstr(c.text, "# EOF"));
    size_t size = 17;
    CHECK(!pytheus_generate(r, PYTHEUS_OPENMETRICS, &size));
}

/* ==== SOME METRICS ONLY ==== */

#define CHECK_NAMED(r, format, expected, ...)                                                      \
    check_named(r, format, expected, (const char *const[]){__VA_ARGS__},                           \
                COUNT_OF(((const char *const[]){__VA_ARGS__})), __LINE__)

static void check_named(pytheus_registry *r, pytheus_format format, const char *expected,
                        const char *const *names, size_t num_names, int line) {
    static capture c;
    char error[READER_ERROR_SIZE];
    reader_doc doc;
    memset(&c, 0, sizeof c);
    c.fails_at = sizeof c.text - 1;
    CHECK_ERR(pytheus_write_named(r, format, names, num_names, &(pytheus_sink){put, &c}),
              PYTHEUS_OK);
    check_str(c.text, expected, "the page", __FILE__, line);
    CHECK(reader_parse_as(format == PYTHEUS_TEXT ? READER_TEXT : READER_OPENMETRICS, c.text, c.size,
                          &doc, error));
    reader_free(&doc);
}

TEST_WITH(r, names_choose_metrics) {
    static const emitting emit = emit_names_that_clash;
    static const double bounds[] = {1};
    (void)COUNTER(r, .name = "c_total");
    (void)HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 1);
    (void)INFO(r, .name = "i");
    (void)GAUGE(r, .name = "g");
    add_collector(r, &emit);
    static const char c[] = "# TYPE c counter\nc_total 0\n# EOF\n";
    static const char h[] = "# TYPE h histogram\nh_bucket{le=\"1.0\"} 0\nh_bucket{le=\"+Inf\"} 0\n"
                            "h_sum 0\nh_count 0\n# EOF\n";
    static const char i[] = "# TYPE i info\ni_info 1\n# EOF\n";
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, c, "c_total");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, c, "c");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, h, "h");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, h, "h_bucket", "h_sum");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, h, "x", "h_count");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, i, "i");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, i, "i_info");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS,
                "# TYPE g gauge\ng 0\n# TYPE foo counter\nfoo_total 1\n# EOF\n", "foo_total", "g",
                "g");
    CHECK_NAMED(r, PYTHEUS_TEXT, "# TYPE c_total counter\nc_total 0\n", "c_total");
    CHECK_NAMED(r, PYTHEUS_TEXT, "# TYPE i_info gauge\ni_info 1\n", "i_info", "");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, "# EOF\n", "x", "c_tota", "c_total_", "h_buckets", "g_sum",
                "g_total");
    check_named(r, PYTHEUS_OPENMETRICS, "# EOF\n", NULL, 0, __LINE__);
    check_named(r, PYTHEUS_TEXT, "", NULL, 0, __LINE__);
}

TEST(names_have_the_registrys_prefix) {
    pytheus_registry *r = fixture_registry("app");
    (void)GAUGE(r, .name = "g");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, "# TYPE app_g gauge\napp_g 0\n# EOF\n", "app_g");
    CHECK_NAMED(r, PYTHEUS_OPENMETRICS, "# EOF\n", "g", "app", "app_", "ap", "");
    pytheus_registry_free(r);
}

/* Strangers may ask for as many as they like: not each for each metric. */
TEST_WITH(r, many_names_take_no_longer_than_a_page) {
    enum { METRICS = 20000, NAMES = 5000 };
    static char texts[NAMES][16];
    static const char *names[NAMES];
    static capture c;
    memset(&c, 0, sizeof c);
    c.fails_at = sizeof c.text - 1;
    for (int i = 0; i < METRICS; i++) {
        char name[16];
        snprintf(name, sizeof name, "m%d", i);
        (void)GAUGE(r, .name = name);
    }
    for (int i = 0; i < NAMES; i++) {
        snprintf(texts[i], sizeof texts[i], i == NAMES / 2 ? "m77" : "x%d", i);
        names[i] = texts[i];
    }
    clock_t began = clock();
    CHECK_ERR(pytheus_write_named(r, PYTHEUS_TEXT, names, NAMES, &(pytheus_sink){put, &c}),
              PYTHEUS_OK);
    CHECK_STR(c.text, "# TYPE m77 gauge\nm77 0\n");
    if (!IS_SANITIZED)
        CHECK((double)(clock() - began) / CLOCKS_PER_SEC < 1);
}

/* ==== WHAT THE OFFICIAL CASES MEAN ==== */

/* See test_reader.c. */
static const char *cases_folder(void) {
    const char *folder = getenv("OPENMETRICS_CASES");
    return folder && *folder ? folder : "../shared/data/openmetrics";
}

static bool has_milliseconds(double seconds) {
    return fabs(seconds) < 1e12 && fabs(seconds * 1000 - nearbyint(seconds * 1000)) < 1e-3;
}

/* Whether collectors can say all of it: no gauge histograms, no exemplars, one point of each
   series, times to the millisecond. */
static bool is_sayable(const reader_doc *doc) {
    for (size_t i = 0; i < doc->num_families; i++)
        if (doc->families[i].type == READER_GAUGEHISTOGRAM)
            return false;
    for (size_t i = 0; i < doc->num_samples; i++) {
        const reader_sample *sample = &doc->samples[i];
        bool is_time = sample->role == READER_CREATED;
        if (sample->has_exemplar ||
            (sample->has_timestamp && !has_milliseconds(sample->timestamp)) ||
            (is_time && !has_milliseconds(sample->value)))
            return false;
        if (i && doc->series[i].hash == doc->series[i - 1].hash)
            return false;
    }
    return true;
}

static pytheus_type type_of(const reader_family *family) {
    static const pytheus_type types[] = {
        [READER_COUNTER] = PYTHEUS_COUNTER,     [READER_GAUGE] = PYTHEUS_GAUGE,
        [READER_HISTOGRAM] = PYTHEUS_HISTOGRAM, [READER_SUMMARY] = PYTHEUS_SUMMARY,
        [READER_UNKNOWN] = PYTHEUS_UNKNOWN,     [READER_INFO] = PYTHEUS_INFO,
        [READER_STATESET] = PYTHEUS_STATESET};
    return types[family->type];
}

static void say_sample(pytheus_emitter *out, const reader_family *family,
                       const reader_sample *from) {
    const char *pairs[64], *suffix = from->name + strlen(family->name);
    pytheus_sample sample = {.pairs = pairs,
                             .num_strings = 2 * from->num_labels,
                             .value = from->value,
                             .has_timestamp = from->has_timestamp,
                             .timestamp_ms = (int64_t)nearbyint(from->timestamp * 1000)};
    sample.suffix = strcmp(suffix, "_total") ? suffix : NULL;
    for (size_t i = 0; i < from->num_labels; i++) {
        pairs[2 * i] = from->labels[i].name;
        pairs[2 * i + 1] = from->labels[i].value;
    }
    CHECK_ERR(pytheus_emit_sample(out, &sample), PYTHEUS_OK);
}

static pytheus_err say(void *user, pytheus_emitter *out) {
    const reader_doc *doc = user;
    for (size_t i = 0; i < doc->num_families; i++) {
        const reader_family *family = &doc->families[i];
        CHECK_ERR(emit_family(out, type_of(family), family->name, family->help, family->unit),
                  PYTHEUS_OK);
        for (size_t j = 0; j < family->num_samples; j++)
            say_sample(out, family, &doc->samples[family->first_sample + j]);
    }
    return PYTHEUS_OK;
}

static const char *or_nothing(const char *text) {
    return text ? text : "";
}

static bool is_same_family(const reader_family *a, const reader_family *b) {
    return !strcmp(a->name, b->name) && a->type == b->type &&
           !strcmp(or_nothing(a->help), or_nothing(b->help)) &&
           !strcmp(or_nothing(a->unit), or_nothing(b->unit)) && a->num_samples == b->num_samples;
}

/* Every label of a in b; numbers in labels may be spelled otherwise. */
static bool labels_are_in(const reader_sample *a, const reader_sample *b) {
    bool has_bound = a->role == READER_BUCKET || a->role == READER_QUANTILE;
    for (size_t i = 0; i < a->num_labels; i++) {
        const reader_label *label = &a->labels[i];
        const reader_label *other = reader_label_named(b->labels, b->num_labels, label->name);
        bool is_bound =
            has_bound && (!strcmp(label->name, "le") || !strcmp(label->name, "quantile"));
        if (!*label->value || (is_bound && other))
            continue;
        if (!other || strcmp(label->value, other->value) != 0)
            return false;
    }
    return true;
}

static bool is_same_sample(const reader_sample *a, const reader_sample *b) {
    bool same_value = !memcmp(&a->value, &b->value, sizeof a->value) ||
                      (a->value != a->value && b->value != b->value);
    return !strcmp(a->name, b->name) && same_value && a->bound == b->bound &&
           a->has_timestamp == b->has_timestamp && a->timestamp == b->timestamp &&
           labels_are_in(a, b) && labels_are_in(b, a);
}

static void check_same_meaning(const char *name, const reader_doc *a, const reader_doc *b) {
    CHECK_INT(b->num_families, a->num_families);
    CHECK_INT(b->num_samples, a->num_samples);
    for (size_t i = 0; i < a->num_families; i++) {
        const reader_family *family = reader_find_family(b, a->families[i].name);
        check_that(family && is_same_family(&a->families[i], family), __FILE__, __LINE__,
                   "%s: the family %s", name, a->families[i].name);
    }
    for (size_t i = 0; i < a->num_samples; i++) {
        size_t j = 0;
        while (j < b->num_samples && !is_same_sample(&a->samples[i], &b->samples[j]))
            j++;
        check_that(j < b->num_samples, __FILE__, __LINE__, "%s: the sample in line %lu", name,
                   (unsigned long)a->samples[i].line);
    }
}

/* Whether the page is good and could be said; then it was compared. */
static bool say_again(const char *name, const char *text, size_t size) {
    char error[READER_ERROR_SIZE];
    reader_doc doc;
    bool good = reader_parse_as(READER_ANY_OPENMETRICS, text, size, &doc, error);
    bool said = good && !memchr(text, 0, size) && is_sayable(&doc);
    if (said) {
        pytheus_registry *r = fixture_registry(NULL);
        pytheus_collector collector = {.name = "official", .collect = say, .user = &doc};
        CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
        page_reading reading = om_page_open(r);
        check_same_meaning(name, &doc, &reading.doc);
        page_save_unless_last(&reading);
        reader_free(&reading.doc);
        free(reading.text);
        pytheus_registry_free(r);
    }
    reader_free(&doc);
    return said;
}

TEST(official_cases_are_said_with_the_same_meaning) {
    DIR *folder = opendir(cases_folder());
    struct dirent *entry;
    int num_said = 0;
    if (!folder)
        SKIP_EXTRA("the OpenMetrics project's parser cases are not here "
                   "(OPENMETRICS_CASES=folder says where)");
    while ((entry = readdir(folder))) {
        char path[1024], text[8192];
        snprintf(path, sizeof path, "%s/%s/metrics", cases_folder(), entry->d_name);
        FILE *file = fopen(path, "rb");
        if (!file)
            continue;
        size_t size = fread(text, 1, sizeof text, file);
        fclose(file);
        num_said += say_again(entry->d_name, text, size);
    }
    closedir(folder);
    CHECK(num_said >= 29);
}

/* ==== NEGOTIATION ==== */

TEST(content_types) {
    CHECK_STR(pytheus_content_type(PYTHEUS_TEXT), "text/plain; version=0.0.4; charset=utf-8");
    CHECK_STR(pytheus_content_type(PYTHEUS_OPENMETRICS),
              "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

#define OPENMETRICS "application/openmetrics-text"
#define PROTOBUF                                                                                   \
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

TEST(accept_headers_of_real_clients) {
    static const struct {
        const char *client, *accept;
        pytheus_format format;
    } rows[] = {
        {"Prometheus 2.42",
         OPENMETRICS ";version=1.0.0," OPENMETRICS ";version=0.0.1;q=0.75,"
                     "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         PYTHEUS_OPENMETRICS},
        {"Prometheus 2.42 with native histograms",
         PROTOBUF "," OPENMETRICS ";version=1.0.0;q=0.8," OPENMETRICS ";version=0.0.1;q=0.75,"
                  "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         PYTHEUS_OPENMETRICS},
        {"Prometheus 2.5", OPENMETRICS "; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         PYTHEUS_TEXT},
        {"Prometheus 2.0", PROTOBUF ";q=0.7,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
         PYTHEUS_TEXT},
        {"Prometheus 3",
         OPENMETRICS ";version=1.0.0;escaping=allow-utf-8;q=0.6," OPENMETRICS
                     ";version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
                     "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
         PYTHEUS_OPENMETRICS},
        {"Prometheus 3 with native histograms",
         PROTOBUF ";q=0.6," OPENMETRICS ";version=1.0.0;escaping=allow-utf-8;q=0.5," OPENMETRICS
                  ";version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
                  "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
         PYTHEUS_OPENMETRICS},
        {"Prometheus that prefers text",
         "text/plain;version=0.0.4;q=0.6," OPENMETRICS ";version=1.0.0;q=0.5,*/*;q=0.1",
         PYTHEUS_TEXT},
        {"curl, wget", "*/*", PYTHEUS_TEXT},
        {"Firefox",
         "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
         PYTHEUS_TEXT},
        {"Chromium",
         "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
         "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7",
         PYTHEUS_TEXT},
        {"Telegraf", OPENMETRICS ";version=1.0.0," PROTOBUF ";q=0.7,text/plain;version=0.0.4;q=0.3",
         PYTHEUS_OPENMETRICS},
        {"VictoriaMetrics", "text/plain;version=0.0.4;q=1,*/*;q=0.1", PYTHEUS_TEXT},
        {"none", NULL, PYTHEUS_TEXT},
        {"empty", "", PYTHEUS_TEXT},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_int(pytheus_negotiate(rows[i].accept), rows[i].format, rows[i].client, __FILE__,
                  __LINE__);
}

/* RFC 9110, 12.4 and 12.5.1, and what the formats say of versions. */
TEST(rules_of_negotiation) {
    static const struct {
        const char *rule, *accept;
        pytheus_format format;
    } rows[] = {
        {"the type alone", OPENMETRICS, PYTHEUS_OPENMETRICS},
        {"no version asked for is the oldest", OPENMETRICS ";charset=utf-8", PYTHEUS_OPENMETRICS},
        {"the version", OPENMETRICS ";version=1.0.0", PYTHEUS_OPENMETRICS},
        {"a version quoted", OPENMETRICS ";version=\"1.0.0\"", PYTHEUS_OPENMETRICS},
        {"a version that we have not", OPENMETRICS ";version=2.0.0", PYTHEUS_TEXT},
        {"an older one", OPENMETRICS ";version=0.0.1", PYTHEUS_TEXT},
        {"a version that begins like it", OPENMETRICS ";version=1.0.0.0", PYTHEUS_TEXT},
        {"a newer one, then ours", OPENMETRICS ";version=2.0.0," OPENMETRICS ";version=1.0.0;q=0.5",
         PYTHEUS_OPENMETRICS},
        {"any case", "APPLICATION/OpenMetrics-Text;Version=1.0.0;Q=1", PYTHEUS_OPENMETRICS},
        {"blanks around", " \t" OPENMETRICS " ; version=1.0.0 ;\tq=0.5 , text/plain ; q=0.4 ",
         PYTHEUS_OPENMETRICS},
        {"unknown parameters are passed over", OPENMETRICS ";a=b;version=1.0.0;c=\"d;e,f\"",
         PYTHEUS_OPENMETRICS},
        {"a comma in quotes ends nothing", "a/b;c=\"," OPENMETRICS ",\"", PYTHEUS_TEXT},
        {"an escaped quote ends nothing", "a/b;c=\"\\\"," OPENMETRICS ",\"", PYTHEUS_TEXT},
        {"the higher q", OPENMETRICS ";q=0.4,text/plain;q=0.5", PYTHEUS_TEXT},
        {"the higher q, later", "text/plain;q=0.4," OPENMETRICS ";q=0.5", PYTHEUS_OPENMETRICS},
        {"q is 1 where it is missing", "text/plain;q=0.9," OPENMETRICS, PYTHEUS_OPENMETRICS},
        {"q in thousandths", "text/plain;q=0.998," OPENMETRICS ";q=0.999", PYTHEUS_OPENMETRICS},
        {"q=1.000", "text/plain;q=0.999," OPENMETRICS ";q=1.000", PYTHEUS_OPENMETRICS},
        {"q=.5 is no q", OPENMETRICS ";q=.5,text/plain;q=0.1", PYTHEUS_TEXT},
        {"q of four digits is no q", OPENMETRICS ";q=0.5000,text/plain;q=0.1", PYTHEUS_TEXT},
        {"q above 1 is no q", OPENMETRICS ";q=2,text/plain;q=0.1", PYTHEUS_TEXT},
        {"q=1.001 is no q", OPENMETRICS ";q=1.001,text/plain;q=0.1", PYTHEUS_TEXT},
        {"q of nothing is no q", OPENMETRICS ";q=,text/plain;q=0.1", PYTHEUS_TEXT},
        {"of equal ones the first", OPENMETRICS ";q=0.5,text/plain;q=0.5", PYTHEUS_OPENMETRICS},
        {"of equal ones the first, text", "text/plain," OPENMETRICS, PYTHEUS_TEXT},
        {"q=0 is never", OPENMETRICS ";q=0", PYTHEUS_TEXT},
        {"q=0.000 is never", OPENMETRICS ";q=0.000,*/*;q=0.5", PYTHEUS_TEXT},
        {"q=0 of text leaves the other", "text/plain;q=0," OPENMETRICS ";q=0.1",
         PYTHEUS_OPENMETRICS},
        {"q=0 of text is stronger than */*", "text/plain;q=0,*/*", PYTHEUS_OPENMETRICS},
        {"nothing acceptable is text all the same", "text/plain;q=0," OPENMETRICS ";q=0",
         PYTHEUS_TEXT},
        {"*/* is text", "*/*", PYTHEUS_TEXT},
        {"*/* of low quality", "*/*;q=0.001", PYTHEUS_TEXT},
        {"text/*", "text/*", PYTHEUS_TEXT},
        {"application/*", "application/*", PYTHEUS_OPENMETRICS},
        {"a wider range counts less than the type", "*/*," OPENMETRICS ";q=0.5", PYTHEUS_TEXT},
        {"the type counts more than a wider range", "*/*;q=0.5," OPENMETRICS, PYTHEUS_OPENMETRICS},
        {"the type with q=0 in a wider range", OPENMETRICS ";q=0,application/*,text/plain;q=0.1",
         PYTHEUS_TEXT},
        {"text of a version we have not", "text/plain;version=1.0.0," OPENMETRICS ";q=0.1",
         PYTHEUS_OPENMETRICS},
        {"another type", "text/html", PYTHEUS_TEXT},
        {"a type that begins like it", OPENMETRICS "s", PYTHEUS_TEXT},
        {"a type that ends like it", "x-" OPENMETRICS, PYTHEUS_TEXT},
        {"no slash", "openmetrics-text", PYTHEUS_TEXT},
        {"protobuf alone", PROTOBUF, PYTHEUS_TEXT},
        {"empty elements", ",, ," OPENMETRICS ",,", PYTHEUS_OPENMETRICS},
        {"empty parameters", OPENMETRICS ";;version=1.0.0;;q=0.5;", PYTHEUS_OPENMETRICS},
        {"a quote that does not end", OPENMETRICS ",text/plain;a=\"b", PYTHEUS_OPENMETRICS},
        {"a quote within which all is lost", "a/b;c=\"," OPENMETRICS, PYTHEUS_TEXT},
        {"bytes that are no text", "\xff\x01\x7f;;=\"", PYTHEUS_TEXT},
        {"a backslash at the end", OPENMETRICS ";a=\"\\", PYTHEUS_OPENMETRICS},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_int(pytheus_negotiate(rows[i].accept), rows[i].format, rows[i].rule, __FILE__,
                  __LINE__);
}

TEST(a_long_accept_header) {
    enum { SIZE = 1 << 20 };
    char *accept = malloc(SIZE + sizeof OPENMETRICS);
    for (size_t i = 0; i < SIZE; i++)
        accept[i] = "a/b;c=d,"[i % 8];
    memcpy(accept + SIZE, OPENMETRICS, sizeof OPENMETRICS);
    CHECK_INT(pytheus_negotiate(accept), PYTHEUS_OPENMETRICS);
    memset(accept, ',', SIZE);
    CHECK_INT(pytheus_negotiate(accept), PYTHEUS_OPENMETRICS);
    memset(accept, '"', SIZE);
    CHECK_INT(pytheus_negotiate(accept), PYTHEUS_TEXT);
    free(accept);
}

/* ---- names that a prefix or another registry changes ---- */

TEST(a_prefix_is_no_name_before_an_ending) {
    pytheus_registry *r = fixture_registry("app");
    pytheus_counter_inc(pytheus_counter_new(&(pytheus_desc){.name = "total", .registry = r}));
    pytheus_info_new(&(pytheus_desc){.name = "info", .registry = r});
    CHECK_OM_PAGE(r, "# TYPE app_total counter\napp_total_total 1\n"
                     "# TYPE app_info info\napp_info_info 1\n");
    pytheus_registry_free(r);
}

TEST(a_stateset_goes_only_where_its_name_can_be_a_label) {
    pytheus_registry *home = fixture_registry(NULL), *app = fixture_registry("app"),
                     *odd = fixture_registry("a:b");
    pytheus_stateset taken = pytheus_stateset_new(&(pytheus_desc){
        .name = "t", .states = {"on"}, .required_labels = {"app_t"}, .registry = home});
    pytheus_stateset plain =
        pytheus_stateset_new(&(pytheus_desc){.name = "s", .states = {"on"}, .registry = home});
    CHECK_ERR(pytheus_registry_add(app, taken.view), PYTHEUS_ERR_LABEL);
    CHECK_ERR(pytheus_registry_add(odd, plain.view), PYTHEUS_ERR_NAME);
    CHECK_ERR(pytheus_registry_add(app, plain.view), PYTHEUS_OK);
    CHECK_OM_PAGE(app, "# TYPE app_s stateset\napp_s{app_s=\"on\"} 0\n");
    CHECK_LABELLED(app, "app_s", 0, "app_s", "on");
    pytheus_registry_free(odd);
    pytheus_registry_free(app);
    pytheus_registry_free(home);
}

static pytheus_err emit_twice(void *user, pytheus_emitter *out) {
    const char *const bounds[] = {"1", "1.0", "1e0"};
    (void)user;
    (void)pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_SUMMARY, .name = "s"});
    for (int i = 0; i < 3; i++) {
        const char *pairs[] = {"quantile", bounds[i]};
        CHECK_ERR(pytheus_emit_sample(
                      out, &(pytheus_sample){.pairs = pairs, .num_strings = 2, .value = 5}),
                  i ? PYTHEUS_ERR_DUPLICATE : PYTHEUS_OK);
    }
    (void)pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_INFO, .name = "i"});
    CHECK_ERR(pytheus_emit_sample(out, &(pytheus_sample){.value = 1}), PYTHEUS_OK);
    CHECK_ERR(pytheus_emit_sample(out, &(pytheus_sample){.suffix = "_info", .value = 1}),
              PYTHEUS_ERR_DUPLICATE);
    return PYTHEUS_OK;
}

TEST_WITH(r, one_sample_spelled_in_two_ways_is_there_once) {
    const pytheus_collector collector = {.name = "twice", .collect = emit_twice};
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE s summary\ns{quantile=\"1.0\"} 5\n# TYPE i info\ni_info 1\n");
}

TEST_WITH(r, an_info_is_read_by_the_name_of_its_sample) {
    double value = 0;
    pytheus_info_new(&(pytheus_desc){.name = "build", .registry = r});
    CHECK_ERR(pytheus_sample_value(r, "build", NULL, 0, &value), PYTHEUS_ERR_NAME);
    CHECK_ERR(pytheus_sample_value(r, "build_info", NULL, 0, &value), PYTHEUS_OK);
    CHECK_DOUBLE(value, 1);
}

TEST(text_where_nothing_is_wanted) {
    CHECK(pytheus_negotiate("application/openmetrics-text;q=0, text/plain;q=0") == PYTHEUS_TEXT);
    CHECK(pytheus_negotiate("application/*;q=0, text/*;q=0") == PYTHEUS_TEXT);
}

#ifdef __GNUC__
TEST_WITH(r, views_of_all_types_are_kept_at_their_site) {
    pytheus_info build =
        pytheus_info_new(&(pytheus_desc){.name = "b", .required_labels = {"v"}, .registry = r});
    pytheus_unknown u =
        pytheus_unknown_new(&(pytheus_desc){.name = "u", .required_labels = {"v"}, .registry = r});
    pytheus_stateset s = pytheus_stateset_new(
        &(pytheus_desc){.name = "s", .states = {"on"}, .required_labels = {"v"}, .registry = r});
    (void)PYTHEUS_AT(info, build, "v", "1");
    CHECK_ERR(pytheus_unknown_set(PYTHEUS_AT(unknown, u, "v", "1"), 2), PYTHEUS_OK);
    CHECK_ERR(pytheus_stateset_switch(PYTHEUS_AT(stateset, s, "v", "1"), "on"), PYTHEUS_OK);
    CHECK_OM_PAGE(r, "# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE u unknown\nu{v=\"1\"} 2\n"
                     "# TYPE s stateset\ns{v=\"1\",s=\"on\"} 1\n");
}
#endif
