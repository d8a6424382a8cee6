/* fixture.h: what most tests set up: a registry of their own, whose clock stands still until the
 * test moves it, and whose logger remembers. Its values are where the environment variable
 * FIXTURE_BACKEND says, so that the same tests run on several backends. C99; after pytheus.h and
 * check.h. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <math.h>

#include "backends.h"

/* What the registry of the running test has logged: how often, and the last of it. */
typedef struct fixture_log {
    int num;
    pytheus_err err;
    char metric[256];
    char sentence[2048];
} fixture_log;

static fixture_log logged;
static double now;

static inline void fixture_remember(void *user, pytheus_err err, const char *metric,
                                    const char *sentence) {
    (void)user;
    logged.num++;
    logged.err = err;
    snprintf(logged.metric, sizeof logged.metric, "%s", metric);
    snprintf(logged.sentence, sizeof logged.sentence, "%s", sentence);
}

static inline double fixture_clock(void *user) {
    (void)user;
    return now;
}

static inline pytheus_registry *fixture_registry(const char *prefix) {
    memset(&logged, 0, sizeof logged);
    now = 0;
    return backends_registry(&(pytheus_registry_desc){
        .prefix = prefix,
        .logger = {fixture_remember, NULL},
        .clock = fixture_clock,
    });
}

static inline void fixture_run(void (*test)(pytheus_registry *)) {
    pytheus_registry *registry = fixture_registry(NULL);
    if (!registry) {
        CHECK(registry != NULL);
        return;
    }
    test(registry);
    pytheus_registry_free(registry);
}

/* A test in a registry of its own. */
#define TEST_WITH(registry, name)                                                                  \
    static void with_registry_##name(pytheus_registry *registry);                                  \
    TEST(name) {                                                                                   \
        fixture_run(with_registry_##name);                                                         \
    }                                                                                              \
    static void with_registry_##name(pytheus_registry *registry)

#define COUNTER(r, ...) pytheus_counter_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})
#define GAUGE(r, ...) pytheus_gauge_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})
#define HISTOGRAM(r, ...) pytheus_histogram_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})
#define SUMMARY(r, ...) pytheus_summary_new(&(pytheus_desc){.registry = (r), __VA_ARGS__})

#define COUNT_OF(array) (sizeof(array) / sizeof *(array))
#define PAIRS(...)                                                                                 \
    (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__}))

#define CHECK_NOTHING(handle) CHECK((handle).view.node == NULL)
#define CHECK_SAME(a, b) CHECK(pytheus_view_equal((a).view, (b).view))
#define CHECK_DIFFERENT(a, b) CHECK(!pytheus_view_equal((a).view, (b).view))

/* NaN where there is no value, which equals no number. */
static inline double fixture_value(pytheus_view view) {
    double value = 0;
    return pytheus_view_get(view, &value) == PYTHEUS_OK ? value : (double)NAN;
}
#define CHECK_VALUE(handle, expected) CHECK_DOUBLE(fixture_value((handle).view), expected)

static inline double fixture_sample(pytheus_registry *registry, const char *sample,
                                    const char *const *pairs, size_t num_strings) {
    double value = 0;
    return pytheus_sample_value(registry, sample, pairs, num_strings, &value) == PYTHEUS_OK
               ? value
               : (double)NAN;
}
#define CHECK_SAMPLE(registry, sample, expected)                                                   \
    CHECK_DOUBLE(fixture_sample(registry, sample, NULL, 0), expected)
#define CHECK_LABELLED(registry, sample, expected, ...)                                            \
    CHECK_DOUBLE(fixture_sample(registry, sample, PAIRS(__VA_ARGS__)), expected)

static inline pytheus_view fixture_new(pytheus_type type, const pytheus_desc *desc) {
    switch (type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_new(desc).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_new(desc).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_new(desc).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_new(desc).view;
    case PYTHEUS_INFO:
        return pytheus_info_new(desc).view;
    case PYTHEUS_STATESET:
        return pytheus_stateset_new(desc).view;
    case PYTHEUS_UNKNOWN:
        return pytheus_unknown_new(desc).view;
    }
    return (pytheus_view){0};
}

/* The error with which an empty registry refuses a definition. A refusal has to leave no trace. */
static inline pytheus_err fixture_refusal(pytheus_type type, pytheus_desc desc) {
    pytheus_registry *registry = fixture_registry(NULL);
    desc.registry = registry;
    pytheus_view made = fixture_new(type, &desc);
    char *text = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    CHECK((made.node == NULL) == (logged.num == 1));
    if (!made.node)
        CHECK_STR(text, "");
    pytheus_free(text);
    pytheus_registry_free(registry);
    return made.node ? PYTHEUS_OK : logged.err;
}
#define REFUSAL(type, ...) fixture_refusal(PYTHEUS_##type, (pytheus_desc){__VA_ARGS__})

#endif
