/* common.h: the public functions and macros that C and C++ write alike, every one of them. With
 * PYTHEUS_DISABLE the same calls do nothing. */
#include "expect.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef PYTHEUS_DISABLE
enum { LIVE = 0 };
#else
enum { LIVE = 1 };
#endif

#define EXPECT_VALUE(view, expected) EXPECT(holds_value(view, expected))
#define EXPECT_ERR(actual, live) EXPECT((actual) == (LIVE ? (live) : PYTHEUS_OK))

EXPECT_WHEN_COMPILING(two_words, sizeof(void *) != 8 || sizeof(pytheus_view) == 16);
EXPECT_WHEN_COMPILING(counter_is_a_view, sizeof(pytheus_counter) == sizeof(pytheus_view));
EXPECT_WHEN_COMPILING(gauge_is_a_view, sizeof(pytheus_gauge) == sizeof(pytheus_view));
EXPECT_WHEN_COMPILING(histogram_is_a_view, sizeof(pytheus_histogram) == sizeof(pytheus_view));
EXPECT_WHEN_COMPILING(summary_is_a_view, sizeof(pytheus_summary) == sizeof(pytheus_view));
EXPECT_WHEN_COMPILING(counter_begins_with_it, offsetof(pytheus_counter, view) == 0);
EXPECT_WHEN_COMPILING(gauge_begins_with_it, offsetof(pytheus_gauge, view) == 0);
EXPECT_WHEN_COMPILING(histogram_begins_with_it, offsetof(pytheus_histogram, view) == 0);
EXPECT_WHEN_COMPILING(summary_begins_with_it, offsetof(pytheus_summary, view) == 0);
EXPECT_WHEN_COMPILING(generation_follows, offsetof(pytheus_view, generation) == sizeof(void *));
EXPECT_WHEN_COMPILING(max_labels, PYTHEUS_MAX_LABELS == 16);
EXPECT_WHEN_COMPILING(max_states, PYTHEUS_MAX_STATES == 32);
EXPECT_WHEN_COMPILING(max_series, PYTHEUS_MAX_SERIES > 0);
EXPECT_WHEN_COMPILING(ok_is_zero, PYTHEUS_OK == 0);

static pytheus_counter counter = EMPTY;
static pytheus_gauge gauge = EMPTY;
static pytheus_histogram histogram = EMPTY;
static pytheus_summary summary = EMPTY;
static double now;
static int num_blocks, num_logged;
static size_t num_bytes_put;

static bool holds_value(pytheus_view view, double expected) {
    double value = -1;
    pytheus_err err = pytheus_view_get(view, &value);
    return LIVE ? !err && value == expected : err == PYTHEUS_ERR_NOTHING && value == -1;
}

static double fake_clock(void *user) {
    return *(double *)user;
}

static void *counted_realloc(void *user, void *p, size_t old_size, size_t new_size) {
    void *moved = NULL;
    if (new_size > 0)
        moved = realloc(p, new_size);
    else
        free(p);
    *(int *)user += (!old_size && moved) - (old_size && !new_size);
    return moved;
}

static void counted_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    *(int *)user += err != PYTHEUS_OK && metric && *sentence;
}

static bool is_about_now(double seconds) {
    double difference = seconds - (double)time(NULL);
    return difference > -60 && difference < 60;
}

static pytheus_err counted_put(void *user, const char *bytes, size_t size) {
    *(size_t *)user += bytes ? size : 0;
    return PYTHEUS_OK;
}

static pytheus_desc described(pytheus_registry *registry, const char *name) {
    pytheus_desc desc = EMPTY;
    desc.name = name;
    desc.help = "Help.";
    desc.required_labels[0] = "method";
    desc.required_labels[1] = "code";
    desc.default_labels[0].name = "code";
    desc.default_labels[0].value = "200";
    desc.registry = registry;
    return desc;
}

static pytheus_desc plain(pytheus_registry *registry, const char *name) {
    pytheus_desc desc = EMPTY;
    desc.name = name;
    desc.registry = registry;
    return desc;
}

static pytheus_registry *make_registry(void) {
    pytheus_registry_desc desc = EMPTY;
    desc.prefix = "app";
    desc.allocator.realloc = counted_realloc;
    desc.allocator.user = &num_blocks;
    desc.logger.log = counted_log;
    desc.logger.user = &num_logged;
    desc.clock = fake_clock;
    desc.clock_user = &now;
    return pytheus_registry_new(&desc);
}

static void make_metrics(pytheus_registry *registry) {
    pytheus_desc counter_desc = described(registry, "requests_total");
    pytheus_desc gauge_desc = described(registry, "in_progress");
    pytheus_desc histogram_desc = described(registry, "duration_seconds");
    pytheus_desc summary_desc = described(registry, "size_bytes");
    double bounds[3];
    EXPECT(pytheus_buckets_exponential(bounds, 3, 1, 2) == (LIVE ? 3 : 0));
    EXPECT(pytheus_buckets_range(bounds, 3, 1, 4) == (LIVE ? 3 : 0));
    EXPECT(pytheus_buckets_linear(bounds, 3, 1, 1) == (LIVE ? 3 : 0));
    if (LIVE) {
        histogram_desc.buckets = bounds;
        histogram_desc.num_buckets = 3;
    }
    histogram_desc.unit = "seconds";
    counter_desc.max_series = 100;
    counter = pytheus_counter_new(&counter_desc);
    gauge = pytheus_gauge_new(&gauge_desc);
    histogram = pytheus_histogram_new(&histogram_desc);
    summary = pytheus_summary_new(&summary_desc);
    EXPECT(!pytheus_view_observable(counter.view));
    EXPECT_ERR(pytheus_counter_inc(counter), PYTHEUS_ERR_UNOBSERVABLE);
}

static void use_views(void) {
    const char *const post[] = {"method", "POST"};
    const char *missing = NULL;
    char method[] = "GET";
    EXPECT(pytheus_view_equal(pytheus_counter_view(counter, post, 2).view,
                              pytheus_counter_labels(counter, "method", "POST").view));
    EXPECT(pytheus_view_equal(pytheus_gauge_view(gauge, post, 2).view,
                              pytheus_gauge_labels(gauge, "code", "200", "method", "POST").view));
    EXPECT(pytheus_view_equal(pytheus_histogram_view(histogram, post, 2).view,
                              pytheus_histogram_labels(histogram, "method", "POST").view));
    EXPECT(pytheus_view_equal(pytheus_summary_view(summary, post, 2).view,
                              pytheus_summary_labels(summary, "method", "POST").view));
    EXPECT(pytheus_view_observable(pytheus_counter_view(counter, post, 2).view) == LIVE);
    EXPECT_ERR(pytheus_counter_inc(pytheus_counter_labels(counter, "method", missing)),
               PYTHEUS_ERR_NOTHING);
    counter = pytheus_counter_labels(counter, "method", method);
    gauge = pytheus_gauge_labels(gauge, "method", method);
    histogram = pytheus_histogram_labels(histogram, "method", method);
    summary = pytheus_summary_labels(summary, "method", method);
}

static void use_operations(void) {
    double seconds = 0;
    EXPECT(pytheus_counter_inc(counter) == PYTHEUS_OK);
    EXPECT(pytheus_counter_add(counter, 1.5) == PYTHEUS_OK);
    EXPECT_VALUE(counter.view, 2.5);
    EXPECT(pytheus_counter_set(counter, 10) == PYTHEUS_OK);
    EXPECT_VALUE(counter.view, 10);
    EXPECT_ERR(pytheus_counter_add(counter, -1), PYTHEUS_ERR_VALUE);

    EXPECT(pytheus_gauge_set_to_current_time(gauge) == PYTHEUS_OK);
    (void)pytheus_view_get(gauge.view, &seconds);
    EXPECT(is_about_now(seconds) == LIVE);
    EXPECT(pytheus_gauge_set(gauge, 3) == PYTHEUS_OK);
    EXPECT(pytheus_gauge_inc(gauge) == PYTHEUS_OK);
    EXPECT(pytheus_gauge_add(gauge, 3) == PYTHEUS_OK);
    EXPECT(pytheus_gauge_sub(gauge, 1) == PYTHEUS_OK);
    EXPECT(pytheus_gauge_dec(gauge) == PYTHEUS_OK);
    EXPECT_VALUE(gauge.view, 5);

    EXPECT(pytheus_histogram_observe(histogram, 2) == PYTHEUS_OK);
    EXPECT(pytheus_summary_observe(summary, 2) == PYTHEUS_OK);
    EXPECT_VALUE(histogram.view, 2);
    EXPECT_VALUE(summary.view, 2);
}

static void use_timers(void) {
    pytheus_timer timer = pytheus_timer_start(histogram.view);
    now += 2;
    pytheus_timer_to(&timer, summary.view);
    EXPECT(pytheus_timer_stop(&timer) == (LIVE ? 2 : 0));
    EXPECT_VALUE(histogram.view, 2);
    EXPECT_VALUE(summary.view, 4);
    timer = pytheus_timer_start(gauge.view);
    pytheus_timer_cancel(&timer);
    EXPECT_VALUE(gauge.view, 5);
}

#ifdef PYTHEUS_TIME_SCOPE
static int leave_scopes_early(void) {
    PYTHEUS_TIME_SCOPE(histogram);
    PYTHEUS_TIME_SCOPE(summary);
    PYTHEUS_TRACK_INPROGRESS_SCOPE(gauge);
    now += 1;
    EXPECT_VALUE(gauge.view, 6);
    PYTHEUS_TIME(summary) {
        now += 1;
        return 7;
    }
    return 0;
}
#endif

static void use_scopes(void) {
    int num_rounds = 0;
    PYTHEUS_TIME(histogram) {
        now += 2;
        PYTHEUS_TIME(summary) {
            num_rounds++;
        }
        continue;
    }
    EXPECT(num_rounds == 1);
    EXPECT_VALUE(histogram.view, 4);
    PYTHEUS_TRACK_INPROGRESS(gauge) {
        EXPECT_VALUE(gauge.view, 6);
        num_rounds++;
    }
    EXPECT(num_rounds == 2);
    EXPECT_VALUE(gauge.view, 5);
#ifdef PYTHEUS_TIME_SCOPE
    EXPECT(leave_scopes_early() == 7);
#else
    pytheus_histogram_observe(histogram, 2);
    pytheus_summary_observe(summary, 3);
#endif
    EXPECT_VALUE(histogram.view, 6);
    EXPECT_VALUE(summary.view, 7);
    EXPECT_VALUE(gauge.view, 5);
}

#ifdef PYTHEUS_COUNT_ERRORS
static int failing_with(int number) {
    errno = number;
    return -1;
}
#endif

static void use_counted_errors(void) {
    pytheus_counter_set(counter, 0);
    EXPECT(pytheus_count_int(counter, -1) == -1);
    EXPECT(pytheus_count_ptr(counter, NULL) == NULL);
    EXPECT_VALUE(counter.view, 2);
#ifdef PYTHEUS_COUNT_ERRORS
    long long_value = -1;
    long long long_long_value = -1;
    short short_value = -1;
    signed char small_value = -1;
    const char *missing = NULL;
    volatile int *pointer = NULL;
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, failing_with(EINTR)) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, long_value) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, long_long_value) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, short_value) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, small_value) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, missing) == NULL);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, pointer) == NULL);
    EXPECT_VALUE(counter.view, 9);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, PYTHEUS_COUNT_ERRORS(counter, long_value)) == -1);
    EXPECT(PYTHEUS_COUNT_ERRORS(counter, 3) == 3);
    EXPECT_VALUE(counter.view, 11);
    EXPECT(PYTHEUS_COUNT_ERRNO(counter, failing_with(EINTR), EAGAIN, EINTR) == -1);
    EXPECT(PYTHEUS_COUNT_ERRNO(counter, failing_with(EBADF), EAGAIN, EINTR) == -1);
    EXPECT_VALUE(counter.view, 12);
    EXPECT(PYTHEUS_COUNT_IF(counter, sizeof(counter), _result > 0) == sizeof(counter));
    EXPECT(PYTHEUS_COUNT_IF(counter, 1.5, _result > 2) == 1.5);
    EXPECT_VALUE(counter.view, 13);
    PYTHEUS_COUNT_ERRORS(counter, failing_with(EINTR));
    EXPECT_ERR(PYTHEUS_COUNT_ERRORS(counter, pytheus_counter_add(counter, -1)), PYTHEUS_ERR_VALUE);
    EXPECT_VALUE(counter.view, 15);
#endif
}

/* The caller's variables are called what the macro's own might be. */
static void use_call_sites(void) {
#ifdef PYTHEUS_AT
    pytheus_counter base = counter, handle = counter, result = counter;
    const char *site = "404", *pairs = "405", *view = "406";
    for (int i = 0; i < 2; i++) {
        pytheus_counter_inc(PYTHEUS_AT(counter, base, "code", site));
        pytheus_counter_inc(PYTHEUS_AT(counter, handle, "code", pairs));
        pytheus_counter_inc(PYTHEUS_AT(counter, result, "code", view));
        pytheus_gauge_inc(PYTHEUS_AT(gauge, gauge, "code", "404"));
        pytheus_histogram_observe(PYTHEUS_AT(histogram, histogram, "code", "404"), 1);
        pytheus_summary_observe(PYTHEUS_AT(summary, summary, "code", "404", "method", "PUT"), 1);
    }
    EXPECT_VALUE(pytheus_counter_labels(counter, "code", "404").view, 2);
    EXPECT_VALUE(pytheus_counter_labels(counter, "code", "405").view, 2);
    EXPECT_VALUE(pytheus_counter_labels(counter, "code", "406").view, 2);
    EXPECT_VALUE(pytheus_summary_labels(summary, "code", "404", "method", "PUT").view, 2);
#endif
}

static void use_most_labels(pytheus_registry *registry) {
    static const char *const names[PYTHEUS_MAX_LABELS] = {"a", "b", "c", "d", "e", "f", "g", "h",
                                                          "i", "j", "k", "l", "m", "n", "o", "p"};
    pytheus_desc desc = plain(registry, "many");
    pytheus_gauge many;
    memcpy(desc.required_labels, names, sizeof names);
    many = pytheus_gauge_new(&desc);
    many = pytheus_gauge_labels(many, "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6",
                                "g", "7", "h", "8", "i", "9", "j", "10", "k", "11", "l", "12", "m",
                                "13", "n", "14", "o", "15", "p", "16");
    EXPECT(pytheus_gauge_set(many, 4) == PYTHEUS_OK);
    EXPECT_VALUE(many.view, 4);
}

static void use_samples(pytheus_registry *registry) {
    const char *const pairs[] = {"le", "3", "method", "GET"};
    double value = -1;
    pytheus_err err =
        pytheus_sample_value(registry, "app_duration_seconds_bucket", pairs, 4, &value);
    EXPECT(err == (LIVE ? PYTHEUS_OK : PYTHEUS_ERR_NOTHING));
    EXPECT(value == (LIVE ? 3 : -1));
}

static void use_text(pytheus_registry *registry, const char *path) {
    pytheus_sink sink = EMPTY;
    FILE *stream = tmpfile();
    FILE *file;
    size_t length = 0;
    char *page = pytheus_generate(registry, PYTHEUS_TEXT, &length);
    EXPECT(LIVE ? page && strlen(page) == length && strstr(page, "app_requests_total{")
                : !page && !length);
    pytheus_free(page);
    sink.put = counted_put;
    sink.user = &num_bytes_put;
    EXPECT(pytheus_write(registry, PYTHEUS_TEXT, &sink) == PYTHEUS_OK);
    EXPECT(num_bytes_put == length);
    num_bytes_put = 0;
    EXPECT(pytheus_lint(registry, &sink) == PYTHEUS_OK);
    EXPECT((num_bytes_put > 0) == LIVE);
    if (EXPECT(stream != NULL)) {
        EXPECT(pytheus_write_stream(registry, PYTHEUS_TEXT, stream) == PYTHEUS_OK);
        EXPECT(ftell(stream) == (long)length);
        fclose(stream);
    }
    EXPECT(pytheus_write_file(registry, PYTHEUS_TEXT, path) == PYTHEUS_OK);
    file = fopen(path, "rb");
    EXPECT((file != NULL) == LIVE);
    if (file) {
        fclose(file);
        remove(path);
    }
    EXPECT(!strcmp(pytheus_content_type(PYTHEUS_TEXT),
                   LIVE ? "text/plain; version=0.0.4; charset=utf-8" : ""));
}

static void use_openmetrics(pytheus_registry *registry) {
    const char *const trace[] = {"trace_id", "abc"}, *const wanted[] = {"traced_total"};
    pytheus_sink sink = EMPTY;
    pytheus_desc desc = plain(registry, "traced_total");
    pytheus_show_created(registry, true);
    pytheus_counter traced = pytheus_counter_new(&desc);
    desc.name = "traced_seconds";
    pytheus_histogram times = pytheus_histogram_new(&desc);
    pytheus_show_created(registry, false);
    EXPECT(pytheus_counter_add_exemplar(traced, 1, "trace_id", "abc") == PYTHEUS_OK);
    EXPECT(pytheus_counter_add_with(traced, 1, trace, 2) == PYTHEUS_OK);
    EXPECT(pytheus_histogram_observe_exemplar(times, 1, "trace_id", "abc") == PYTHEUS_OK);
    EXPECT(pytheus_histogram_observe_with(times, 1, trace, 2) == PYTHEUS_OK);
    EXPECT_VALUE(traced.view, 2);
    EXPECT_VALUE(times.view, 2);
    num_bytes_put = 0;
    sink.put = counted_put;
    sink.user = &num_bytes_put;
    EXPECT(pytheus_write_named(registry, PYTHEUS_OPENMETRICS, wanted, 1, &sink) == PYTHEUS_OK);
    EXPECT((num_bytes_put > 0) == LIVE);
    EXPECT((pytheus_negotiate("application/openmetrics-text") == PYTHEUS_OPENMETRICS) == LIVE);
}

static void use_other_types(pytheus_registry *registry) {
    const char *const blue[] = {"colour", "blue"};
    pytheus_desc desc = plain(registry, "paint_info");
    desc.required_labels[0] = "colour";
    pytheus_info info = pytheus_info_new(&desc);
    EXPECT_VALUE(pytheus_info_labels(info, "colour", "red").view, 1);
    EXPECT_VALUE(pytheus_info_view(info, blue, 2).view, 1);
    desc.name = "paint_unknown";
    pytheus_unknown unknown = pytheus_unknown_new(&desc);
    EXPECT(pytheus_unknown_set(pytheus_unknown_view(unknown, blue, 2), 3) == PYTHEUS_OK);
    EXPECT_VALUE(pytheus_unknown_labels(unknown, "colour", "blue").view, 3);
    desc.name = "paint_state";
    desc.states[0] = "wet";
    desc.states[1] = "dry";
    pytheus_stateset states = pytheus_stateset_new(&desc);
    EXPECT(pytheus_stateset_switch(pytheus_stateset_view(states, blue, 2), "wet") == PYTHEUS_OK);
    EXPECT(pytheus_stateset_set(pytheus_stateset_labels(states, "colour", "blue"), "dry", true) ==
           PYTHEUS_OK);
}

static void use_removal(pytheus_registry *registry) {
    pytheus_desc desc = plain(registry, "requests_total");
    EXPECT(pytheus_view_remove(counter.view) == PYTHEUS_OK);
    EXPECT_ERR(pytheus_counter_inc(counter), PYTHEUS_ERR_REMOVED);
    EXPECT(pytheus_view_clear(gauge.view) == PYTHEUS_OK);
    EXPECT_ERR(pytheus_gauge_set(gauge, 1), PYTHEUS_ERR_REMOVED);
    EXPECT_ERR(pytheus_counter_inc(pytheus_counter_new(&desc)), PYTHEUS_ERR_NOTHING);
    EXPECT(num_logged >= LIVE);
}

static pytheus_err collect_two(void *user, pytheus_emitter *out) {
    pytheus_family family = EMPTY;
    pytheus_sample sample = EMPTY;
    family.type = PYTHEUS_GAUGE;
    family.name = "collected";
    sample.value = 3;
    EXPECT(pytheus_emit_metric(out, *(pytheus_view *)user) == PYTHEUS_OK);
    EXPECT(pytheus_emit_family(out, &family) == PYTHEUS_OK);
    return pytheus_emit_sample(out, &sample);
}

static double tell_two(void *user) {
    (void)user;
    return 2;
}

static void use_collectors(pytheus_registry *registry) {
    pytheus_collector collector = EMPTY;
    pytheus_desc desc = plain(registry, "collected_before");
    desc.unregistered = true;
    pytheus_gauge told = pytheus_gauge_new(&desc);
    desc.name = "told_total";
    pytheus_counter told_total = pytheus_counter_new(&desc);
    collector.name = "two";
    collector.collect = collect_two;
    collector.user = &told.view;
    EXPECT(pytheus_gauge_set_function(told, tell_two, NULL) == PYTHEUS_OK);
    EXPECT(pytheus_counter_set_function(told_total, tell_two, NULL) == PYTHEUS_OK);
    EXPECT_VALUE(told.view, 2);
    EXPECT_VALUE(told_total.view, 2);
    EXPECT(pytheus_registry_add_collector(registry, &collector) == PYTHEUS_OK);
    EXPECT(pytheus_registry_add(registry, told_total.view) == PYTHEUS_OK);
    pytheus_free(pytheus_generate(registry, PYTHEUS_TEXT, NULL));
    EXPECT(pytheus_registry_remove(registry, told_total.view) == PYTHEUS_OK);
    EXPECT(pytheus_registry_remove_collector(registry, "two") == PYTHEUS_OK);
    pytheus_set_default(registry);
    EXPECT(pytheus_default() == registry);
    pytheus_set_default(NULL);
}

/* One series that other processes have made, in these words. */
static uint64_t shared_words[2];

static pytheus_err discover_one(void *user, pytheus_discovery *out) {
    pytheus_series_desc desc = EMPTY;
    pytheus_words words = EMPTY;
    desc.metric = "theirs_total";
    desc.help = desc.unit = "";
    desc.type = PYTHEUS_COUNTER;
    desc.num_words = 2;
    words.at = shared_words;
    (void)user;
    return pytheus_discover(out, &desc, &words);
}

static pytheus_err open_words(void *user, const pytheus_series_desc *desc, pytheus_words *words) {
    (void)user, (void)desc;
    words->at = shared_words;
    return PYTHEUS_OK;
}

static size_t tell_processes(void *user, int64_t *pids, size_t room) {
    (void)user;
    pids[0] = (int64_t)room;
    return 1;
}

static void use_words(void) {
    pytheus_backend backend = EMPTY;
    const pytheus_backend *found = NULL;
    pytheus_registry_desc desc = EMPTY;
    pytheus_words words = EMPTY;
    int64_t pid = 0;
    backend.name = "words";
    backend.words_open = open_words;
    backend.discover = discover_one;
    backend.processes = tell_processes;
    desc.backend = &backend;
    pytheus_registry *registry = pytheus_registry_new(&desc);
    pytheus_desc ours_desc = plain(registry, "ours_total");
    pytheus_counter ours = pytheus_counter_new(&ours_desc);
    EXPECT((pytheus_view_words(ours.view, &found, &words) == PYTHEUS_OK) == LIVE);
    EXPECT((words.at == shared_words) == LIVE);
    EXPECT(pytheus_registry_processes(registry, &pid, 1) == (LIVE ? 1 : 0));
    char *page = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    EXPECT((page && strstr(page, "theirs_total 0\n")) == LIVE);
    pytheus_free(page);
    pytheus_registry_free(registry);
}

static pytheus_err create_nothing(const pytheus_config *config, pytheus_backend *out) {
    pytheus_logger logger = EMPTY;
    pytheus_config_logger(config, &logger);
    EXPECT(!strcmp(pytheus_config_string(config, "name", "none"), "mine"));
    EXPECT(pytheus_config_number(config, "number", 7) == 7);
    EXPECT(pytheus_config_bool(config, "really", true));
    EXPECT(pytheus_config_check(config) == PYTHEUS_OK);
    out->name = "nothing";
    return PYTHEUS_OK;
}

static const char *const nothing_names[] = {"nothing", NULL};
static const pytheus_backend_class nothing_class = {nothing_names, create_nothing};
PYTHEUS_ANNOUNCE(nothing_class);

static void use_backends(void) {
    EXPECT(pytheus_backend_class_add(&nothing_class) == PYTHEUS_OK);
    EXPECT(pytheus_load_backend("nothing", "{\"name\": \"mine\"}") == PYTHEUS_OK);
    EXPECT(!strcmp(pytheus_registry_backend(NULL), LIVE ? "nothing" : ""));
    EXPECT(!strcmp(pytheus_registry_config(NULL), LIVE ? "{\"name\": \"mine\"}" : ""));
    EXPECT(pytheus_flush(NULL) == PYTHEUS_OK);
    EXPECT(pytheus_load_backend(NULL, NULL) == PYTHEUS_OK);
    EXPECT(pytheus_fail(PYTHEUS_ERR_IO, "no %s", "disk") == PYTHEUS_ERR_IO);
    EXPECT(!strcmp(pytheus_last_error(), LIVE ? "no disk" : ""));
}

static void use_errors(void) {
#define EXPECT_ERROR(name, number, text)                                                           \
    EXPECT(PYTHEUS_ERR_##name == (number));                                                        \
    EXPECT(!strcmp(pytheus_err_name(PYTHEUS_ERR_##name), LIVE ? "PYTHEUS_ERR_" #name : ""));       \
    EXPECT(!strcmp(pytheus_err_text(PYTHEUS_ERR_##name), LIVE ? (text) : ""));
    PYTHEUS_ERRORS(EXPECT_ERROR)
#undef EXPECT_ERROR
    EXPECT((pytheus_last_error()[0] != '\0') == LIVE);
}

static void use_version(void) {
    char version[64];
    snprintf(version, sizeof version, "%d.%d.%d", PYTHEUS_VERSION_MAJOR, PYTHEUS_VERSION_MINOR,
             PYTHEUS_VERSION_PATCH);
    EXPECT(!strcmp(version, PYTHEUS_VERSION));
}

static void use_everything(const char *program) {
    pytheus_registry *registry = make_registry();
    char path[4096];
    snprintf(path, sizeof path, "%s.page", program);
    EXPECT((registry != NULL) == LIVE);
    EXPECT((num_blocks > 0) == LIVE);
    EXPECT((pytheus_default() != NULL) == LIVE && (!LIVE || pytheus_default() != registry));
    make_metrics(registry);
    use_views();
    use_operations();
    use_timers();
    use_scopes();
    use_counted_errors();
    use_call_sites();
    use_most_labels(registry);
    use_samples(registry);
    use_text(registry, path);
    use_openmetrics(registry);
    use_other_types(registry);
    use_collectors(registry);
    use_backends();
    use_words();
    use_removal(registry);
    use_errors();
    use_version();
    pytheus_registry_free(registry);
    EXPECT(num_blocks == 0);
}
