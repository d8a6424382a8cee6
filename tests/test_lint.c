/* pytheus_lint: each rule by itself, and the same lines as promtool says of the same names. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#ifndef _WIN32
#include <unistd.h>
#endif

typedef struct collected {
    char *at;
    size_t size;
    int num_pieces, fails_at; /* 0: never */
} collected;

static pytheus_err put(void *user, const char *bytes, size_t size) {
    collected *out = (collected *)user;
    if (++out->num_pieces == out->fails_at)
        return pytheus_fail(PYTHEUS_ERR_IO, "piece %d is too much", out->num_pieces);
    char *at = (char *)realloc(out->at, out->size + size + 1);
    if (!at)
        abort();
    memcpy(at + out->size, bytes, size);
    out->at = at;
    out->size += size;
    at[out->size] = 0;
    return PYTHEUS_OK;
}

/* What lint says of the page, to be freed. */
static char *lint(pytheus_registry *r) {
    collected out = {NULL, 0, 0, 0};
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){put, &out}), PYTHEUS_OK);
    return out.at ? out.at : page_copy("", 0);
}

static void check_lint(pytheus_registry *r, const char *expected, int line) {
    char *said = lint(r);
    check_str(said, expected, "what lint says", __FILE__, line);
    free(said);
}
#define CHECK_LINT(registry, expected) check_lint(registry, expected, __LINE__)

/* ---- the rules ---- */

TEST_WITH(r, nothing_is_clean) {
    CHECK_LINT(r, "");
}

TEST_WITH(r, good_names_are_clean) {
    COUNTER(r, .name = "http_requests_total", .help = "h");
    GAUGE(r, .name = "room_temperature_celsius", .help = "h");
    HISTOGRAM(r, .name = "http_request_duration_seconds", .help = "h");
    SUMMARY(r, .name = "mail_bytes", .help = "h");
    GAUGE(r, .name = "x", .help = "h");
    CHECK_LINT(r, "");
}

TEST_WITH(r, help_is_missed) {
    GAUGE(r, .name = "queue_length");
    GAUGE(r, .name = "queues", .help = "");
    CHECK_LINT(r, "queue_length no help text\nqueues no help text\n");
}

TEST_WITH(r, counters_end_with_total_and_nothing_else_does) {
    COUNTER(r, .name = "requests", .help = "h");
    GAUGE(r, .name = "pages_total", .help = "h");
    HISTOGRAM(r, .name = "wait_total", .help = "h");
    SUMMARY(r, .name = "sizes_total", .help = "h");
    CHECK_LINT(r, "requests counter metrics should have \"_total\" suffix\n"
                  "pages_total non-counter metrics should not have \"_total\" suffix\n"
                  "wait_total non-counter metrics should not have \"_total\" suffix\n"
                  "sizes_total non-counter metrics should not have \"_total\" suffix\n");
}

TEST_WITH(r, suffixes_of_samples_are_kept_for_them) {
    GAUGE(r, .name = "a_bucket", .help = "h");
    GAUGE(r, .name = "b_count", .help = "h");
    GAUGE(r, .name = "c_sum", .help = "h");
    SUMMARY(r, .name = "e_bucket", .help = "h");
    SUMMARY(r, .name = "f_count", .help = "h");
    HISTOGRAM(r, .name = "g_bucket", .help = "h");
    HISTOGRAM(r, .name = "h_sum", .help = "h");
    CHECK_LINT(r,
               "a_bucket non-histogram metrics should not have \"_bucket\" suffix\n"
               "b_count non-histogram and non-summary metrics should not have \"_count\" suffix\n"
               "c_sum non-histogram and non-summary metrics should not have \"_sum\" suffix\n"
               "e_bucket non-histogram metrics should not have \"_bucket\" suffix\n");
}

TEST_WITH(r, labels_of_samples_are_kept_for_them) {
    pytheus_gauge g = GAUGE(r, .name = "a", .help = "h", .required_labels = {"le", "quantile"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "le", "1", "quantile", "2"), 3);
    pytheus_gauge_set(pytheus_gauge_labels(g, "le", "2", "quantile", "2"), 3);
    pytheus_histogram h = HISTOGRAM(r, .name = "b", .help = "h", .required_labels = {"quantile"});
    pytheus_histogram_observe(pytheus_histogram_labels(h, "quantile", "x"), 3);
    pytheus_summary s = SUMMARY(r, .name = "c", .help = "h", .required_labels = {"le"});
    pytheus_summary_observe(pytheus_summary_labels(s, "le", "x"), 3);
    CHECK_LINT(r, "a non-histogram metrics should not have \"le\" label\n"
                  "a non-summary metrics should not have \"quantile\" label\n"
                  "b non-summary metrics should not have \"quantile\" label\n"
                  "c non-histogram metrics should not have \"le\" label\n");
}

TEST_WITH(r, types_stay_out_of_names) {
    GAUGE(r, .name = "queue_gauge", .help = "h");
    GAUGE(r, .name = "a_Counter_x", .help = "h");
    GAUGE(r, .name = "a_gauge_histogram_x", .help = "h");
    GAUGE(r, .name = "summary_a_summaryx", .help = "h");
    GAUGE(r, .name = "a_untyped", .help = "h");
    CHECK_LINT(r, "queue_gauge metric name should not include type 'gauge'\n"
                  "a_Counter_x metric name should not include type 'counter'\n"
                  "a_gauge_histogram_x metric name should not include type 'gauge'\n"
                  "a_gauge_histogram_x metric name should not include type 'gauge_histogram'\n"
                  "a_gauge_histogram_x metric name should not include type 'histogram'\n");
}

TEST_WITH(r, colons_and_camels_are_told) {
    GAUGE(r, .name = "job:queue:max", .help = "h");
    GAUGE(r, .name = "queueLength", .help = "h");
    GAUGE(r, .name = "Queue_Length_URL", .help = "h");
    pytheus_gauge g = GAUGE(r, .name = "labelled", .help = "h", .required_labels = {"a", "bC"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "x", "bC", "y"), 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "z", "bC", "y"), 1);
    CHECK_LINT(r, "job:queue:max metric names should not contain ':'\n"
                  "queueLength metric names should be written in 'snake_case' not 'camelCase'\n"
                  "labelled label names should be written in 'snake_case' not 'camelCase'\n");
}

TEST_WITH(r, units_are_base_units) {
    static const char *const names[] = {"a_milliseconds", "a_minutes_x",    "a_seconds",
                                        "thermometers",   "a_kilometers",   "a_bits",
                                        "kelvins",        "a_Milliseconds", "a_seconds_minutes"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        GAUGE(r, .name = names[i], .help = "h");
    CHECK_LINT(r, "a_milliseconds use base unit \"seconds\" instead of \"milliseconds\"\n"
                  "a_minutes_x use base unit \"seconds\" instead of \"minutes\"\n"
                  "a_kilometers use base unit \"meters\" instead of \"kilometers\"\n"
                  "a_bits use base unit \"bytes\" instead of \"bits\"\n"
                  "kelvins use base unit \"kelvin\" instead of \"kelvins\"\n");
}

TEST_WITH(r, units_are_not_abbreviated) {
    static const char *const names[] = {"a_ms", "a_KB_b", "a_s_h_d", "ms", "a_msb", "a_b"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        GAUGE(r, .name = names[i], .help = "h");
    CHECK_LINT(r, "a_ms metric names should not contain abbreviated units\n"
                  "a_KB_b metric names should not contain abbreviated units\n"
                  "a_s_h_d metric names should not contain abbreviated units\n"
                  "a_b metric names should not contain abbreviated units\n");
}

/* ---- what it reads ---- */

TEST_WITH(r, metrics_without_series_are_judged) {
    COUNTER(r, .name = "a", .help = "h", .required_labels = {"x"});
    COUNTER(r, .name = "b", .help = "h", .required_labels = {"x"});
    CHECK_LINT(r, "a counter metrics should have \"_total\" suffix\n"
                  "b counter metrics should have \"_total\" suffix\n");
}

TEST(the_prefix_is_part_of_the_name) {
    pytheus_registry *r = fixture_registry("my_gauge");
    GAUGE(r, .name = "a", .help = "h");
    CHECK_LINT(r, "my_gauge_a metric name should not include type 'gauge'\n");
    pytheus_registry_free(r);
}

TEST_WITH(r, values_of_labels_are_not_read_as_names) {
    pytheus_gauge g =
        GAUGE(r, .name = "a", .help = "# TYPE b_total counter", .required_labels = {"x", "y"});
    static const char *const values[] = {
        "\",le=\"1",
        "\\",
        "\\\",le=\"",
        "},camelCase=\"",
        "a\n# TYPE b gauge\nb 1",
        "\"",
        " le=\"1\"} 1",
        "{quantile=\"",
        "",
        "=,le=",
    };
    for (size_t i = 0; i < COUNT_OF(values); i++)
        pytheus_gauge_set(pytheus_gauge_labels(g, "x", values[i], "y", values[i]), 1);
    CHECK_LINT(r, "");
}

/* Pieces of the page end anywhere in a line. */
TEST_WITH(r, long_pages_and_long_lines_are_read) {
    static char name[70001], value[200001];
    memset(name, 'n', sizeof name - 1);
    memset(value, 'v', sizeof value - 1);
    pytheus_gauge g = GAUGE(r, .name = "a", .required_labels = {"camelCase"});
    for (int i = 0; i < 3000; i++) {
        snprintf(value, 20, "%d", i);
        pytheus_gauge_set(pytheus_gauge_labels(g, "camelCase", value), i);
    }
    memset(value, 'v', sizeof value - 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "camelCase", value), 1);
    GAUGE(r, .name = name);
    GAUGE(r, .name = "b");
    char *said = lint(r);
    CHECK(strstr(said, "a label names should be written in 'snake_case' not 'camelCase'\n"
                       "a no help text\nn") == said);
    CHECK(strstr(said, "n no help text\nb no help text\n") != NULL);
    CHECK_INT(strlen(said), 64 + 15 + sizeof name - 1 + 14 + 15);
    free(said);
}

static pytheus_err collect(void *unused, pytheus_emitter *out) {
    (void)unused;
    pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_COUNTER, .name = "made_of_minutes"});
    pytheus_emit_sample(out,
                        &(pytheus_sample){.pairs = (const char *[]){"aB", "c"}, .num_strings = 2});
    pytheus_emit_family(out, &(pytheus_family){PYTHEUS_SUMMARY, "waits", "h", NULL});
    return pytheus_emit_sample(
        out, &(pytheus_sample){.pairs = (const char *[]){"quantile", "0.5"}, .num_strings = 2});
}

TEST_WITH(r, what_collectors_emit_is_judged) {
    const pytheus_collector collector = {"c", collect, NULL, NULL};
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
    CHECK_LINT(r, "made_of_minutes counter metrics should have \"_total\" suffix\n"
                  "made_of_minutes label names should be written in 'snake_case' not 'camelCase'\n"
                  "made_of_minutes no help text\n"
                  "made_of_minutes use base unit \"seconds\" instead of \"minutes\"\n");
}

/* In this format infos and statesets are gauges; of what is unknown little is known. */
TEST_WITH(r, types_of_openmetrics_are_judged_as_they_are_shown) {
    pytheus_info_new(&(pytheus_desc){.name = "a_counter", .help = "h", .registry = r});
    pytheus_stateset_new(&(pytheus_desc){
        .name = "doorState", .help = "h", .states = {"open", "shut"}, .registry = r});
    pytheus_unknown_new(&(pytheus_desc){.name = "b_total", .registry = r});
    CHECK_LINT(r, "a_counter_info metric name should not include type 'counter'\n"
                  "doorState label names should be written in 'snake_case' not 'camelCase'\n"
                  "doorState metric names should be written in 'snake_case' not 'camelCase'\n"
                  "b_total no help text\n");
}

TEST_WITH(r, the_librarys_own_metrics_are_clean) {
    pytheus_gauge g = GAUGE(r, .name = "a", .help = "h", .required_labels = {"x"}, .max_series = 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "x", "1"), 1);
    pytheus_gauge_set(pytheus_gauge_labels(g, "x", "2"), 1);
    char *text = page(r);
    CHECK(strstr(text, "pytheus_overflow_calls_total{") != NULL);
    free(text);
    CHECK_LINT(r, "");
}

/* ---- errors ---- */

TEST_WITH(r, a_sink_is_needed) {
    CHECK_ERR(pytheus_lint(r, NULL), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){NULL, NULL}), PYTHEUS_ERR_IO);
}

TEST_WITH(r, a_sink_that_fails_ends_it) {
    GAUGE(r, .name = "a_total");
    GAUGE(r, .name = "b_total");
    for (int i = 1; i <= 4; i++) {
        collected out = {NULL, 0, 0, i};
        CHECK_ERR(pytheus_lint(r, &(pytheus_sink){put, &out}), PYTHEUS_ERR_IO);
        CHECK_INT(out.num_pieces, i);
        CHECK(strstr(pytheus_last_error(), "is too much") != NULL);
        free(out.at);
    }
    collected out = {NULL, 0, 0, 5};
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){put, &out}), PYTHEUS_OK);
    CHECK_INT(out.num_pieces, 4);
    free(out.at);
}

static pytheus_err refuse(void *unused, pytheus_emitter *out) {
    (void)out;
    return *(bool *)unused ? pytheus_fail(PYTHEUS_ERR_BACKEND, "not today") : PYTHEUS_OK;
}

TEST_WITH(r, a_page_that_fails_is_an_error) {
    bool refuses = false;
    const pytheus_collector collector = {"c", refuse, NULL, &refuses};
    CHECK_ERR(pytheus_registry_add_collector(r, &collector), PYTHEUS_OK);
    refuses = true;
    collected out = {NULL, 0, 0, 0};
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){put, &out}), PYTHEUS_ERR_BACKEND);
    CHECK_STR(pytheus_last_error(), "not today");
    CHECK_INT(out.num_pieces, 0);
}

static pytheus_err put_and_define(void *user, const char *bytes, size_t size) {
    pytheus_registry *r = (pytheus_registry *)user;
    CHECK(bytes[size - 1] == '\n');
    GAUGE(r, .name = "made_meanwhile");
    return PYTHEUS_OK;
}

TEST_WITH(r, the_sink_may_call_the_library) {
    GAUGE(r, .name = "a");
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){put_and_define, r}), PYTHEUS_OK);
    CHECK_LINT(r, "a no help text\nmade_meanwhile no help text\n");
}

/* ---- beside promtool ---- */

#ifndef _WIN32

static const char *any(uint64_t *state, const char *const *choices, size_t n) {
    return choices[check_random(state) % n];
}
#define ANY(state, ...) any(state, PAIRS(__VA_ARGS__))

/* promtool looks for units in no fixed order: one in a name is all on which it is of one mind. */
static void make_name(uint64_t *state, int number, char name[200]) {
    int num_words = (int)(check_random(state) % 4);
    size_t size =
        (size_t)sprintf(name, "%s%d", ANY(state, "http", "Http", "x:y", "_", "aB"), number);
    int unit = (int)(check_random(state) % 8);
    for (int i = 0; i < num_words; i++)
        size += (size_t)sprintf(
            name + size, "_%s%s",
            i == unit ? ANY(state, "", "", "kilo", "milli", "deca", "x", "Kilo") : "",
            i == unit ? ANY(state, "seconds", "bytes", "bits", "hours", "metres", "kelvins",
                            "Bytes", "ounces", "fahrenheit", "inches", "volts", "calories")
                      : ANY(state, "requests", "a", "counter", "GAUGE", "gauge_histogram",
                            "summary", "Histogram", "s", "ms", "KB", "m", "sec", "", "aB", "Cd",
                            "total", "count", "sum", "bucket", "info", "h", "z:"));
    snprintf(
        name + size, 200 - size, "%s",
        ANY(state, "", "", "", "_total", "_total", "_count", "_sum", "_bucket", "_d", "_Total"));
}

static void observe(pytheus_view view, pytheus_type type) {
    switch (type) {
    case PYTHEUS_COUNTER:
        pytheus_counter_inc((pytheus_counter){view});
        break;
    case PYTHEUS_GAUGE:
        pytheus_gauge_set((pytheus_gauge){view}, 1);
        break;
    case PYTHEUS_UNKNOWN:
        pytheus_unknown_set((pytheus_unknown){view}, 1);
        break;
    case PYTHEUS_HISTOGRAM:
        pytheus_histogram_observe((pytheus_histogram){view}, 1);
        break;
    case PYTHEUS_SUMMARY:
        pytheus_summary_observe((pytheus_summary){view}, 1);
        break;
    case PYTHEUS_STATESET:
        pytheus_stateset_set((pytheus_stateset){view}, "on", true);
        break;
    case PYTHEUS_INFO:
        break;
    }
}

static pytheus_view with_labels(pytheus_view view, pytheus_type type, const char *const *pairs) {
    switch (type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_view((pytheus_counter){view}, pairs, 4).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_view((pytheus_gauge){view}, pairs, 4).view;
    case PYTHEUS_UNKNOWN:
        return pytheus_unknown_view((pytheus_unknown){view}, pairs, 4).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_view((pytheus_histogram){view}, pairs, 4).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_view((pytheus_summary){view}, pairs, 4).view;
    case PYTHEUS_STATESET:
        return pytheus_stateset_view((pytheus_stateset){view}, pairs, 4).view;
    case PYTHEUS_INFO:
        return pytheus_info_view((pytheus_info){view}, pairs, 4).view;
    }
    return view;
}

static void define_any(pytheus_registry *r, uint64_t *state, int number) {
    static const double bound = 1;
    char name[200];
    make_name(state, number, name);
    pytheus_type type = (pytheus_type)(1 + check_random(state) % PYTHEUS_SUMMARY);
    const char *label = ANY(state, "a", "b_c", "fooBar", "Foo", "le", "quantile");
    pytheus_desc desc = {.name = name, .help = ANY(state, "Help.", "", "# TYPE"), .registry = r};
    bool has_labels = check_random(state) % 2;
    if (type == PYTHEUS_HISTOGRAM)
        desc.buckets = &bound, desc.num_buckets = 1;
    if (type == PYTHEUS_STATESET)
        desc.states[0] = "on", desc.states[1] = "off";
    if (has_labels)
        desc.required_labels[0] = label, desc.required_labels[1] = "z";
    pytheus_view view = fixture_new(type, &desc);
    for (int i = 0; view.node && i < 2; i++) {
        const char *const pairs[] = {label, i ? "q\",le=\"" : "", "z", "1"};
        observe(has_labels ? with_labels(view, type, pairs) : view, type);
    }
}

static int compare_lines(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The lines sorted, each once, in place of the text. */
static void sort_lines(char *text) {
    size_t num = 0, size = strlen(text);
    char *copy = page_copy(text, size), *end = text;
    char **lines = (char **)malloc((size + 1) * sizeof *lines);
    if (!lines)
        abort();
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
        lines[num++] = line;
    qsort(lines, num, sizeof *lines, compare_lines);
    *text = 0;
    for (size_t i = 0; i < num; i++)
        if (!i || strcmp(lines[i], lines[i - 1]))
            end += sprintf(end, "%s\n", lines[i]);
    free(lines);
    free(copy);
}

static char *read_all(FILE *file) {
    collected out = {NULL, 0, 0, 0};
    char buffer[4096];
    size_t n;
    put(&out, "", 0);
    while (file && (n = fread(buffer, 1, sizeof buffer, file)) > 0)
        put(&out, buffer, n);
    return out.at;
}

/* What promtool prints for the page, to be freed. */
static char *ask_promtool(pytheus_registry *r, int *status) {
    char path[] = "/tmp/pytheus-lint-XXXXXX", command[200];
    int fd = mkstemp(path);
    CHECK(fd >= 0 && !close(fd));
    CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, path), PYTHEUS_OK);
    snprintf(command, sizeof command, "promtool check metrics <%s 2>&1", path);
    fflush(stdout);
    FILE *pipe = popen(command, "r");
    char *said = read_all(pipe);
    *status = pipe ? pclose(pipe) : -1;
    unlink(path);
    return said;
}

static bool has_promtool(void) {
    return !system("command -v promtool >/dev/null");
}

/* Debian 12's 2.42 does; that of Debian 13, 2.53, minds no more than the metric's own type. */
static bool promtool_minds_every_type(void) {
    int status;
    pytheus_registry *r = fixture_registry(NULL);
    (void)GAUGE(r, .name = "http_counter", .help = "h");
    char *said = ask_promtool(r, &status);
    bool minds = strstr(said, "type 'counter'") != NULL;
    free(said);
    pytheus_registry_free(r);
    return minds;
}

static void leave_out_types(char *text) {
    char *to = text;
    for (const char *line = text, *next; *line; line = next) {
        const char *end = strchr(line, '\n'), *type = strstr(line, " should not include type '");
        next = end ? end + 1 : line + strlen(line);
        if (!type || type >= next) {
            memmove(to, line, (size_t)(next - line));
            to += next - line;
        }
    }
    *to = '\0';
}

TEST(random_names_get_the_lines_that_promtool_gives_them) {
    enum { NUM_REGISTRIES = 24, NUM_METRICS = 500 };
    uint64_t state = 7;
    int num_said = 0;
    if (!has_promtool())
        SKIP("promtool is not installed");
    bool minds_every_type = promtool_minds_every_type();
    for (int i = 0; i < NUM_REGISTRIES; i++) {
        int status;
        pytheus_registry *r = fixture_registry(i % 3 ? NULL : ANY(&state, "app", "my_gauge", "aB"));
        for (int j = 0; j < NUM_METRICS; j++)
            define_any(r, &state, j);
        char *said = lint(r), *expected = ask_promtool(r, &status);
        sort_lines(said);
        sort_lines(expected);
        if (!minds_every_type) {
            leave_out_types(said);
            leave_out_types(expected);
        }
        CHECK_STR(said, expected);
        CHECK_INT(status, 3 << 8);
        for (const char *c = said; *c; c++)
            num_said += *c == '\n';
        free(said);
        free(expected);
        pytheus_registry_free(r);
    }
    CHECK(num_said > NUM_REGISTRIES * NUM_METRICS / 2);
}

TEST_WITH(r, promtool_has_nothing_against_what_lint_finds_clean) {
    int status;
    if (!has_promtool())
        SKIP("promtool is not installed");
    with_registry_good_names_are_clean(r);
    char *said = ask_promtool(r, &status);
    CHECK_STR(said, "");
    CHECK_INT(status, 0);
    free(said);
}

#endif
