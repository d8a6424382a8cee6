/* What a registry asks of its backend, in which order, and what it does when a backend fails. The
   calls are recorded and compared as a whole text with a file in tests/golden; GOLDEN=update writes
   these files. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

#include <errno.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

static pytheus_registry *registry_on(const pytheus_backend *backend) {
    memset(&logged, 0, sizeof logged);
    now = 0;
    return pytheus_registry_new(&(pytheus_registry_desc){
        .backend = backend, .logger = {fixture_remember, NULL}, .clock = fixture_clock});
}

static pytheus_registry *registry_on_spy(spy *s, unsigned functions) {
    pytheus_backend backend = spy_backend(s, "spy", functions);
    spy_init(s);
    return registry_on(&backend);
}

/* All cells have been closed, once each, and none was used otherwise than it may be. */
static void end_spy(spy *s, pytheus_registry *r) {
    pytheus_registry_free(r);
    CHECK_INT(s->num_closed, s->num_opened);
    CHECK_INT(s->num_wrong, 0);
    CHECK_INT(s->num_calls[SPY_DESTROY], 1);
    spy_free(s);
}

static pytheus_registry *registry_on_pool(pool *p) {
    pytheus_backend backend = pool_backend(p);
    return registry_on(&backend);
}

#define TEST_WITH_SPY(s, r, functions, name)                                                       \
    static void with_spy_##name(spy *s, pytheus_registry *r);                                      \
    TEST(name) {                                                                                   \
        spy its_spy;                                                                               \
        pytheus_registry *registry = registry_on_spy(&its_spy, functions);                         \
        with_spy_##name(&its_spy, registry);                                                       \
        end_spy(&its_spy, registry);                                                               \
    }                                                                                              \
    static void with_spy_##name(spy *s, pytheus_registry *r)

/* -- the four functions -- */

TEST(test_base_single_process_backend_creation) {
    pytheus_backend backend = minimal_backend();
    pytheus_registry *r = registry_on(&backend);
    CHECK_VALUE(GAUGE(r, .name = "name", .help = "desc"), 0);
    CHECK_STR(pytheus_registry_backend(r), "minimal");
    CHECK_STR(pytheus_registry_config(r), "{}");
    pytheus_registry_free(r);
}

TEST(test_base_single_process_backend_inc_dec_set_get) {
    pytheus_backend backend = minimal_backend();
    pytheus_registry *r = registry_on(&backend);
    pytheus_gauge g = GAUGE(r, .name = "name", .help = "desc");
    CHECK_ERR(pytheus_gauge_inc(g), PYTHEUS_OK);
    CHECK_VALUE(g, 1);
    CHECK_ERR(pytheus_gauge_sub(g, 2), PYTHEUS_OK);
    CHECK_VALUE(g, -1);
    CHECK_ERR(pytheus_gauge_set(g, 3), PYTHEUS_OK);
    CHECK_VALUE(g, 3);
    CHECK_PAGE(r, "# HELP name desc\n# TYPE name gauge\nname 3\n");
    pytheus_registry_free(r);
}

/* -- the calls, recorded -- */

static char *read_whole(const char *path) {
    FILE *file = fopen(path, "rb");
    char *text = (char *)backends_alloc(1 << 20);
    if (file) {
        text[fread(text, 1, (1 << 20) - 1, file)] = 0;
        fclose(file);
    }
    return text;
}

static void check_golden(const char *path, const char *text) {
    const char *mode = getenv("GOLDEN");
    char *wanted;
    if (mode && !strcmp(mode, "update")) {
        FILE *file = fopen(path, "wb");
        CHECK(file && fputs(text, file) >= 0 && !fclose(file));
    }
    wanted = read_whole(path);
    CHECK_STR(text, wanted);
    free(wanted);
}

#define STEP(s, what) spy_write(s, "\n== %s\n", what)

static void define_and_change(spy *s, pytheus_registry *r) {
    const double bounds[] = {0.5, 1};
    STEP(s, "a counter; inc, add, set, get");
    pytheus_counter c = COUNTER(r, .name = "hits_total", .help = "Hits.");
    pytheus_counter_inc(c);
    pytheus_counter_add(c, 2.5);
    pytheus_counter_set(c, 10);
    CHECK_VALUE(c, 10);
    STEP(s, "a gauge; inc, dec, add, sub, set");
    pytheus_gauge g = GAUGE(r, .name = "room");
    pytheus_gauge_inc(g);
    pytheus_gauge_dec(g);
    pytheus_gauge_add(g, 0.25);
    pytheus_gauge_sub(g, 0.5);
    pytheus_gauge_set(g, -7);
    STEP(s, "a histogram; 0.75, 0.5, 3");
    pytheus_histogram h = HISTOGRAM(r, .name = "wait", .buckets = bounds, .num_buckets = 2);
    pytheus_histogram_observe(h, 0.75);
    pytheus_histogram_observe(h, 0.5);
    pytheus_histogram_observe(h, 3);
    STEP(s, "a summary; 4");
    pytheus_summary_observe(SUMMARY(r, .name = "size"), 4);
    STEP(s, "the same counter again");
    COUNTER(r, .name = "hits_total", .help = "Hits.");
    STEP(s, "values that no counter takes");
    pytheus_counter_add(c, -1);
    pytheus_counter_set(c, (double)NAN);
}

static void measure(spy *s, pytheus_registry *r) {
    pytheus_histogram h =
        HISTOGRAM(r, .name = "wait", .buckets = (const double[]){0.5, 1}, .num_buckets = 2);
    STEP(s, "timers: a histogram's 0.25, a gauge's 1.5");
    pytheus_timer t = pytheus_timer_start(h.view);
    now += 0.25;
    pytheus_timer_stop(&t);
    t = pytheus_timer_start(GAUGE(r, .name = "room").view);
    now += 1.5;
    pytheus_timer_stop(&t);
    STEP(s, "in progress");
    PYTHEUS_TRACK_INPROGRESS(GAUGE(r, .name = "room")) {
    }
}

static void label(spy *s, pytheus_registry *r) {
    STEP(s, "a metric with labels, of which one has a default: nothing is opened");
    pytheus_counter c = COUNTER(r, .name = "calls_total", .required_labels = {"method", "code"},
                                .default_labels = {{"code", "200"}}, .max_series = 7);
    STEP(s, "GET, POST 404, and GET again");
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET"));
    pytheus_counter post = pytheus_counter_labels(c, "method", "POST", "code", "404");
    pytheus_counter_labels(c, "code", "200", "method", "GET");
    STEP(s, "a page");
    free(page(r));
    STEP(s, "GET is removed, then made again");
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "method", "GET").view), PYTHEUS_OK);
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET"));
    STEP(s, "POST 500, PUT 404; all with 404 are removed");
    pytheus_counter_labels(post, "code", "500");
    pytheus_counter_labels(c, "method", "PUT", "code", "404");
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "code", "404").view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(post), PYTHEUS_ERR_REMOVED);
    STEP(s, "more series than there may be");
    for (char i = '0'; i < '9'; i++)
        pytheus_counter_inc(pytheus_counter_labels(c, "method", ((char[]){i, 0})));
    STEP(s, "all are removed");
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
}

static void end_all(spy *s, pytheus_registry *r) {
    STEP(s, "what is there from the start is removed");
    CHECK_ERR(pytheus_view_remove(COUNTER(r, .name = "hits_total", .help = "Hits.").view),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(SUMMARY(r, .name = "size").view), PYTHEUS_OK);
    STEP(s, "flush");
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    STEP(s, "a page");
    free(page(r));
    STEP(s, "a metric in no registry, one that is refused");
    pytheus_counter_inc(COUNTER(r, .name = "private_total", .unregistered = true));
    COUNTER(r, .name = "bad name");
    STEP(s, "the registry is freed");
}

static void record(const char *golden, unsigned functions) {
    spy s;
    pytheus_registry *r = registry_on_spy(&s, functions);
    s.records = true;
    define_and_change(&s, r);
    measure(&s, r);
    label(&s, r);
    end_all(&s, r);
    pytheus_registry_free(r);
    check_golden(golden, s.text);
    CHECK_INT(s.num_wrong, 0);
    spy_free(&s);
}

TEST(calls_of_a_backend_with_single_operations) {
    record("tests/golden/backend_calls.txt", SPY_FEW);
}

TEST(calls_of_a_backend_with_batches) {
    record("tests/golden/backend_batches.txt", SPY_BATCHES);
}

TEST(calls_of_a_backend_that_generates) {
    record("tests/golden/backend_generates.txt", SPY_BATCHES | SPY_BIT(SPY_GENERATE));
}

/* -- failures: each call of each function fails once, for all that a program does -- */

typedef struct scene {
    spy s;
    pytheus_registry *r;
    pytheus_counter counter, labelled;
    pytheus_gauge gauge;
    pytheus_histogram histogram;
    pytheus_summary summary;
    size_t num_written;
} scene;

static pytheus_err count_bytes(void *user, const char *bytes, size_t size) {
    (void)bytes;
    *(size_t *)user += size;
    return PYTHEUS_OK;
}

static pytheus_err of_handle(pytheus_view view) {
    return view.node ? PYTHEUS_OK : logged.err;
}

static pytheus_err do_counter_inc(scene *x) {
    return pytheus_counter_inc(x->counter);
}
static pytheus_err do_counter_add(scene *x) {
    return pytheus_counter_add(x->counter, 0.5);
}
static pytheus_err do_counter_set(scene *x) {
    return pytheus_counter_set(x->counter, 77);
}
static pytheus_err do_gauge_inc(scene *x) {
    return pytheus_gauge_inc(x->gauge);
}
static pytheus_err do_gauge_dec(scene *x) {
    return pytheus_gauge_dec(x->gauge);
}
static pytheus_err do_gauge_set(scene *x) {
    return pytheus_gauge_set(x->gauge, 5);
}
static pytheus_err do_gauge_time(scene *x) {
    return pytheus_gauge_set_to_current_time(x->gauge);
}
static pytheus_err do_observe(scene *x) {
    return pytheus_histogram_observe(x->histogram, 0.75);
}
static pytheus_err do_sum(scene *x) {
    return pytheus_summary_observe(x->summary, 0.75);
}
static pytheus_err do_get(scene *x) {
    double value = 17;
    pytheus_err err = pytheus_view_get(x->histogram.view, &value);
    CHECK_DOUBLE(value, err ? 17 : 2);
    return err;
}
static pytheus_err do_sample(scene *x) {
    double value = 17;
    pytheus_err err = pytheus_sample_value(x->r, "waits_count", NULL, 0, &value);
    CHECK_DOUBLE(value, err ? 17 : 1);
    return err;
}
static pytheus_err do_labels(scene *x) {
    return of_handle(pytheus_counter_labels(x->labelled, "a", "new").view);
}
static pytheus_err do_new_counter(scene *x) {
    return of_handle(COUNTER(x->r, .name = "new_total").view);
}
static pytheus_err do_new_histogram(scene *x) {
    return of_handle(HISTOGRAM(x->r, .name = "new").view);
}
static pytheus_err do_new_summary(scene *x) {
    return of_handle(SUMMARY(x->r, .name = "new").view);
}
static pytheus_err do_zero(scene *x) {
    return pytheus_view_remove(x->counter.view);
}
static pytheus_err do_flush(scene *x) {
    return pytheus_flush(x->r);
}
static pytheus_err do_write(scene *x) {
    const pytheus_sink sink = {count_bytes, &x->num_written};
    pytheus_err err;
    x->num_written = 0;
    err = pytheus_write(x->r, PYTHEUS_TEXT, &sink);
    CHECK(err ? x->num_written == 0 : x->num_written > 0);
    return err;
}
static pytheus_err do_generate(scene *x) {
    char *text = pytheus_generate(x->r, PYTHEUS_TEXT, NULL);
    CHECK((text == NULL) == (logged.num > 0) || x->s.fail_at == 0);
    pytheus_free(text);
    return text ? PYTHEUS_OK : logged.err;
}

typedef struct action {
    const char *name;
    pytheus_err (*run)(scene *x);
    const char *subject; /* of its error's sentence; NULL: one metric or another */
    bool changes;        /* the page, when it works */
    unsigned calls;      /* functions, when the backend has all */
} action;

#define CALLS(name) SPY_BIT(SPY_##name)
static const action actions[] = {
    {"counter_inc", do_counter_inc, "hits_total", true, CALLS(INC)},
    {"counter_add", do_counter_add, "hits_total", true, CALLS(INC)},
    {"counter_set", do_counter_set, "hits_total", true, CALLS(SET)},
    {"gauge_inc", do_gauge_inc, "room", true, CALLS(INC)},
    {"gauge_dec", do_gauge_dec, "room", true, CALLS(DEC)},
    {"gauge_set", do_gauge_set, "room", true, CALLS(SET)},
    {"gauge_time", do_gauge_time, "room", true, CALLS(SET)},
    {"observe", do_observe, "waits", true, CALLS(OBSERVE)},
    {"sum", do_sum, "sizes", true, CALLS(OBSERVE)},
    {"get", do_get, "waits", false, CALLS(GET)},
    {"sample_value", do_sample, "waits", false, CALLS(GET)},
    {"labels", do_labels, "calls_total", true, CALLS(OPEN)},
    {"new counter", do_new_counter, "new_total", true, CALLS(OPEN)},
    {"new histogram", do_new_histogram, "new", true, CALLS(OPEN)},
    {"new summary", do_new_summary, "new", true, CALLS(OPEN)},
    {"remove what stays", do_zero, "hits_total", true, CALLS(SET)},
    {"flush", do_flush, "spy", false, CALLS(FLUSH)},
    {"write", do_write, NULL, false, CALLS(GET_MANY)},
    {"generate", do_generate, NULL, false, CALLS(GET_MANY)},
};

static void set_scene(scene *x, unsigned functions) {
    memset(x, 0, sizeof *x);
    x->r = registry_on_spy(&x->s, functions);
    x->counter = COUNTER(x->r, .name = "hits_total");
    x->gauge = GAUGE(x->r, .name = "room");
    x->histogram = HISTOGRAM(x->r, .name = "waits");
    x->summary = SUMMARY(x->r, .name = "sizes");
    x->labelled = COUNTER(x->r, .name = "calls_total", .required_labels = {"a"});
    pytheus_counter_inc(x->counter);
    pytheus_gauge_set(x->gauge, 3);
    pytheus_histogram_observe(x->histogram, 2);
    pytheus_summary_observe(x->summary, 2);
    pytheus_counter_inc(pytheus_counter_labels(x->labelled, "a", "1"));
    CHECK_INT(logged.num, 0);
}

typedef struct failure {
    int code;
    pytheus_err expected;
    const char *sentence;
} failure;

static bool has(const char *text, const char *part) {
    return check_that(strstr(text, part) != NULL, __FILE__, __LINE__, "\"%s\" is not in \"%s\"",
                      part, text);
}

static void check_sentence(const action *a, const failure *f) {
    CHECK_STR(pytheus_last_error(), logged.sentence);
    if (f->sentence) {
        CHECK_STR(logged.sentence, f->sentence);
        return;
    }
    has(logged.sentence, "spy");
    if (!a->subject)
        return;
    has(logged.sentence, a->subject);
    if (strcmp(a->subject, "spy"))
        CHECK_STR(logged.metric, a->subject);
}

/* The n-th call of the function fails; false: there are not so many. */
static bool fail_once(const action *a, unsigned functions, spy_function function, long n,
                      const failure *f) {
    scene x;
    set_scene(&x, functions);
    char *before = page(x.r), *after;
    long num_open = x.s.num_opened - x.s.num_closed;
    spy_fail(&x.s, function, n, f->code, f->sentence);
    pytheus_err err = a->run(&x);
    bool failed = spy_has_failed(&x.s);
    x.s.fail_at = 0;
    if (failed) {
        CHECK_ERR(err, f->expected);
        CHECK_INT(logged.num, 1);
        check_sentence(a, f);
        after = page(x.r);
        CHECK_STR(after, before);
        free(after);
        CHECK_INT(x.s.num_opened - x.s.num_closed, num_open);
        spy_fail(&x.s, function, n, f->code, f->sentence);
        CHECK_ERR(a->run(&x), f->expected);
        CHECK_INT(logged.num, 1);
        x.s.fail_at = 0;
        CHECK_ERR(a->run(&x), PYTHEUS_OK);
        after = page(x.r);
        CHECK((strcmp(after, before) != 0) == a->changes);
        free(after);
    }
    free(before);
    end_spy(&x.s, x.r);
    return failed;
}

/* Returns which functions it met. */
static unsigned fail_everywhere(const action *a, unsigned functions, const failure *f) {
    unsigned met = 0;
    for (int function = 0; function < SPY_FUNCTIONS; function++) {
        if (function == SPY_CLOSE || function == SPY_DESTROY || function == SPY_FORKED)
            continue;
        for (long n = 1; fail_once(a, functions, (spy_function)function, n, f); n++) {
            met |= SPY_BIT(function);
            if (check_num_failed > 20)
                return met;
        }
    }
    return met;
}

static void fail_all(unsigned functions, const failure *f) {
    for (size_t i = 0; i < COUNT_OF(actions); i++) {
        unsigned met = fail_everywhere(&actions[i], functions, f);
        if (functions == SPY_BATCHES)
            check_that(met == actions[i].calls, __FILE__, __LINE__, "%s called %x, not %x",
                       actions[i].name, met, actions[i].calls);
        check_that(met != 0, __FILE__, __LINE__, "%s called nothing", actions[i].name);
    }
}

static const failure plain = {PYTHEUS_ERR_BACKEND, PYTHEUS_ERR_BACKEND, NULL};

TEST(every_call_of_a_backend_with_single_operations_fails_once) {
    fail_all(SPY_FEW, &plain);
}

TEST(every_call_of_a_backend_with_its_own_dec_fails_once) {
    fail_all(SPY_FEW | SPY_BIT(SPY_DEC), &plain);
}

TEST(every_call_of_a_backend_with_batches_fails_once) {
    fail_all(SPY_BATCHES, &plain);
}

TEST(the_backend_s_own_sentence_reaches_the_caller_and_the_logger) {
    const failure own = {PYTHEUS_ERR_BACKEND, PYTHEUS_ERR_BACKEND, "the disk is on fire"};
    fail_all(SPY_FEW, &own);
    fail_all(SPY_BATCHES, &own);
}

TEST(the_backend_s_error_is_what_the_caller_gets) {
    const failure io = {PYTHEUS_ERR_IO, PYTHEUS_ERR_IO, NULL};
    const failure memory = {PYTHEUS_ERR_NOMEM, PYTHEUS_ERR_NOMEM, NULL};
    fail_all(SPY_FEW, &io);
    fail_all(SPY_BATCHES, &memory);
}

TEST(what_is_no_error_code_is_a_backend_error) {
    const failure positive = {5, PYTHEUS_ERR_BACKEND, NULL};
    const failure negative = {-1000, PYTHEUS_ERR_BACKEND, NULL};
    fail_all(SPY_FEW, &positive);
    fail_all(SPY_BATCHES, &negative);
}

TEST_WITH_SPY(s, r, SPY_FEW, a_timer_whose_observation_fails_says_so) {
    pytheus_histogram h = HISTOGRAM(r, .name = "wait");
    pytheus_timer t = pytheus_timer_start(h.view);
    now += 2;
    spy_fail(s, SPY_INC, 2, PYTHEUS_ERR_BACKEND, NULL);
    CHECK_DOUBLE(pytheus_timer_stop(&t), 2);
    CHECK_INT(logged.num, 1);
    CHECK_STR(pytheus_last_error(), "wait: the backend \"spy\" failed to change a value");
    CHECK_SAMPLE(r, "wait_count", 0);
    CHECK_SAMPLE(r, "wait_sum", 0);
}

TEST_WITH_SPY(s, r, SPY_BATCHES, a_series_is_gone_also_where_the_backend_fails_to_remove_it) {
    pytheus_summary metric = SUMMARY(r, .name = "x", .required_labels = {"a"});
    pytheus_summary one = pytheus_summary_labels(metric, "a", "1");
    pytheus_summary_labels(metric, "a", "2");
    spy_fail(s, SPY_REMOVE, 2, PYTHEUS_ERR_IO, NULL);
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_ERR_IO);
    CHECK_STR(logged.sentence, "x: the backend \"spy\" failed to remove a series");
    CHECK_INT(logged.num, 1);
    CHECK_INT(s->num_closed, 2);
    CHECK_ERR(pytheus_summary_observe(one, 1), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE x summary\nx_sum{a=\"2\"} 0\nx_count{a=\"2\"} 0\n");
    spy_fail(s, SPY_REMOVE, 1, PYTHEUS_ERR_IO, NULL);
    CHECK_ERR(pytheus_view_clear(metric.view), PYTHEUS_ERR_IO);
    CHECK_PAGE(r, "# TYPE x summary\n");
    CHECK_INT(s->num_removed, 4);
    CHECK_INT(s->num_closed, 4);
}

TEST_WITH_SPY(s, r, SPY_FEW, a_clear_goes_on_after_a_failure) {
    pytheus_counter metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    for (char i = '0'; i < '5'; i++)
        pytheus_counter_labels(metric, "a", ((char[]){i, 0}));
    spy_fail(s, SPY_REMOVE, 2, PYTHEUS_ERR_BACKEND, "stuck");
    CHECK_ERR(pytheus_view_clear(metric.view), PYTHEUS_ERR_BACKEND);
    CHECK_STR(pytheus_last_error(), "stuck");
    CHECK_INT(s->num_removed, 5);
    CHECK_INT(s->num_closed, 5);
}

TEST(a_backend_that_fails_to_generate_gives_no_page) {
    scene x;
    set_scene(&x, SPY_BATCHES | SPY_BIT(SPY_GENERATE));
    spy_fail(&x.s, SPY_GENERATE, 1, PYTHEUS_ERR_IO, NULL);
    CHECK_ERR(do_write(&x), PYTHEUS_ERR_IO);
    CHECK_STR(logged.sentence, "spy: the backend failed to generate samples");
    x.s.fail_at = 0;
    CHECK_ERR(do_write(&x), PYTHEUS_OK);
    CHECK_LINE(x.r, "spied 1");
    end_spy(&x.s, x.r);
}

TEST(pool_that_opens_nothing) {
    pool *p = pool_new(true, true, 1);
    pytheus_registry *r = registry_on_pool(p);
    pytheus_counter c = COUNTER(r, .name = "x", .required_labels = {"a"});
    p->fail_opens = 1;
    CHECK_NOTHING(pytheus_counter_labels(c, "a", "1"));
    CHECK_STR(logged.sentence, "the pool is dry");
    CHECK_STR(logged.metric, "x");
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1")), PYTHEUS_OK);
    p->fail_opens = 1;
    CHECK_NOTHING(SUMMARY(r, .name = "y"));
    CHECK_PAGE(r, "# TYPE x counter\nx{a=\"1\"} 1\n");
    CHECK_INT(p->num_opened, 1);
    pytheus_registry_free(r);
}

static pytheus_err no_words(void *user, const pytheus_series_desc *desc, pytheus_words *words) {
    (void)desc;
    words->at = (uint64_t *)user;
    return PYTHEUS_OK;
}

TEST(words_that_are_none_are_refused) {
    static char crooked[16];
    pytheus_backend backend = {.name = "crooked", .words_open = no_words};
    for (int i = 0; i < 2; i++) {
        backend.user = i ? crooked + (8 - (uintptr_t)crooked % 8) % 8 + 4 : NULL;
        pytheus_registry *r = registry_on(&backend);
        CHECK_NOTHING(GAUGE(r, .name = "x"));
        CHECK_STR(logged.sentence, "x: the backend \"crooked\" gave no good words");
        CHECK_PAGE(r, "");
        pytheus_registry_free(r);
    }
}

/* -- values that can't be -- */

TEST_WITH_SPY(s, r, SPY_FEW, a_count_that_is_none_gives_no_page) {
    static const double bad[] = {-1, (double)NAN, (double)INFINITY, 2e19};
    pytheus_summary x = SUMMARY(r, .name = "x");
    s->answers = true;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        s->answer = bad[i];
        CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
        has(pytheus_last_error(), "x: the backend \"spy\" gave");
        has(pytheus_last_error(), "as a count");
        CHECK_ERR(pytheus_sample_value(r, "x_count", NULL, 0, NULL), PYTHEUS_ERR_BACKEND);
        CHECK_VALUE(x, bad[i]); /* a sum may be anything */
    }
    s->answers = false;
    CHECK_PAGE(r, "# TYPE x summary\nx_sum 0\nx_count 0\n");
}

TEST_WITH_SPY(s, r, SPY_BATCHES, a_count_that_is_none_among_many_gives_no_page) {
    HISTOGRAM(r, .name = "x");
    s->answers = true;
    s->answer = -0.5;
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK_STR(pytheus_last_error(), "x: the backend \"spy\" gave -0.5 as a count");
    CHECK_ERR(logged.err, PYTHEUS_ERR_BACKEND);
}

TEST_WITH_SPY(s, r, SPY_FEW, a_gauge_may_be_anything) {
    GAUGE(r, .name = "x");
    s->answers = true;
    s->answer = (double)NAN;
    CHECK_PAGE(r, "# TYPE x gauge\nx NaN\n");
    s->answer = -(double)INFINITY;
    CHECK_PAGE(r, "# TYPE x gauge\nx -Inf\n");
}

TEST_WITH_SPY(s, r, SPY_FEW, a_counter_s_minus_zero_is_not_the_backend_s) {
    pytheus_counter c = COUNTER(r, .name = "x");
    s->records = true;
    CHECK_ERR(pytheus_counter_set(c, -0.0), PYTHEUS_OK);
    CHECK_STR(s->text, "set #1 0\n");
}

/* -- backends that are refused -- */

TEST(a_backend_that_lacks_a_function_is_refused_and_not_destroyed) {
    static const char *const lacks[] = {"cell_open", "inc", "set", "get"};
    spy s;
    spy_init(&s);
    for (int i = 0; i < 7; i++) {
        pytheus_backend backend = spy_backend(&s, i == 4 ? NULL : i == 5 ? "" : "spy", SPY_FEW);
        char wanted[100] = "a backend needs a name";
        backend.cell_open = i == 0 ? NULL : backend.cell_open;
        backend.inc = i == 1 ? NULL : backend.inc;
        backend.set = i == 2 ? NULL : backend.set;
        backend.get = i == 3 ? NULL : backend.get;
        backend.words_open = i == 6 ? no_words : NULL;
        if (i < 4)
            snprintf(wanted, sizeof wanted, "spy: the backend has no %s", lacks[i]);
        if (i == 6)
            strcpy(wanted, "spy: a backend has cells or words, not both");
        CHECK(registry_on(&backend) == NULL);
        CHECK_STR(pytheus_last_error(), wanted);
        CHECK_STR(logged.sentence, wanted);
        CHECK_ERR(logged.err, PYTHEUS_ERR_BACKEND);
    }
    CHECK_INT(s.num_calls[SPY_ANY], 0);
    spy_free(&s);
}

TEST(a_backend_s_name_is_copied) {
    char name[] = "passing";
    pytheus_backend backend = minimal_backend();
    backend.name = name;
    pytheus_registry *r = registry_on(&backend);
    memset(name, 'x', sizeof name - 1);
    CHECK_STR(pytheus_registry_backend(r), "passing");
    pytheus_registry_free(r);
}

/* -- cells close when the last operation has left -- */

typedef struct gate {
    pthread_barrier_t entered, opened;
    int num_passed;
} gate;

/* Only the first who comes waits. */
static void wait_at_gate(void *user) {
    gate *g = (gate *)user;
    if (__atomic_fetch_add(&g->num_passed, 1, __ATOMIC_RELAXED) == 0) {
        pthread_barrier_wait(&g->entered);
        pthread_barrier_wait(&g->opened);
    }
}

static void gate_init(gate *g) {
    g->num_passed = 0;
    pthread_barrier_init(&g->entered, NULL, 2);
    pthread_barrier_init(&g->opened, NULL, 2);
}

static void gate_free(gate *g) {
    pthread_barrier_destroy(&g->entered);
    pthread_barrier_destroy(&g->opened);
}

typedef struct late {
    pytheus_counter counter;
    pytheus_err err;
    char sentence[256];
} late;

static void *inc_late(void *user) {
    late *l = (late *)user;
    l->err = pytheus_counter_inc(l->counter);
    snprintf(l->sentence, sizeof l->sentence, "%s", pytheus_last_error());
    return NULL;
}

static void *get_late(void *user) {
    late *l = (late *)user;
    l->err = pytheus_view_get(l->counter.view, NULL);
    return NULL;
}

TEST_WITH_SPY(s, r, SPY_FEW, a_cell_is_closed_when_the_last_operation_has_left_it) {
    pytheus_counter metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    pytheus_view_remove(pytheus_counter_labels(metric, "a", "0").view);
    late l = {pytheus_counter_labels(metric, "a", "1"), PYTHEUS_OK, ""};
    pthread_t thread;
    gate g;
    gate_init(&g);
    s->before_inc = wait_at_gate;
    s->hook_user = &g;
    CHECK_INT(pthread_create(&thread, NULL, inc_late, &l), 0);
    pthread_barrier_wait(&g.entered);
    CHECK_ERR(pytheus_view_remove(l.counter.view), PYTHEUS_OK);
    CHECK_INT(s->num_removed, 2); /* at once: what is made again must not be what is removed */
    CHECK_INT(s->num_closed, 1);
    pytheus_counter again = pytheus_counter_labels(metric, "a", "1");
    CHECK_DIFFERENT(again, l.counter);
    CHECK_ERR(pytheus_counter_inc(again), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(l.counter), PYTHEUS_ERR_REMOVED);
    CHECK_INT(s->num_closed, 1);
    pthread_barrier_wait(&g.opened);
    pthread_join(thread, NULL);
    CHECK_ERR(l.err, PYTHEUS_OK);
    CHECK_INT(s->num_closed, 2);
    CHECK_VALUE(again, 1);
    CHECK_PAGE(r, "# TYPE x counter\nx{a=\"1\"} 1\n");
    gate_free(&g);
}

TEST_WITH_SPY(s, r, SPY_FEW, a_late_operation_that_fails_keeps_its_sentence) {
    pytheus_counter metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    late l = {pytheus_counter_labels(metric, "a", "1"), PYTHEUS_OK, ""};
    pthread_t thread;
    gate g;
    gate_init(&g);
    s->before_inc = wait_at_gate;
    s->hook_user = &g;
    CHECK_INT(pthread_create(&thread, NULL, inc_late, &l), 0);
    pthread_barrier_wait(&g.entered);
    CHECK_ERR(pytheus_view_remove(l.counter.view), PYTHEUS_OK);
    spy_fail(s, SPY_INC, 1, PYTHEUS_ERR_IO, "cut off");
    pthread_barrier_wait(&g.opened);
    pthread_join(thread, NULL);
    CHECK_ERR(l.err, PYTHEUS_ERR_IO);
    CHECK_STR(l.sentence, "cut off");
    CHECK_INT(s->num_closed, 1);
    gate_free(&g);
}

TEST_WITH_SPY(s, r, SPY_FEW, a_cell_is_not_closed_while_it_is_read) {
    pytheus_counter metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    late l = {pytheus_counter_labels(metric, "a", "1"), PYTHEUS_OK, ""};
    pthread_t thread;
    gate g;
    gate_init(&g);
    s->before_get = wait_at_gate;
    s->hook_user = &g;
    CHECK_INT(pthread_create(&thread, NULL, get_late, &l), 0);
    pthread_barrier_wait(&g.entered);
    CHECK_ERR(pytheus_view_clear(metric.view), PYTHEUS_OK);
    CHECK_INT(s->num_closed, 0);
    pthread_barrier_wait(&g.opened);
    pthread_join(thread, NULL);
    CHECK_ERR(l.err, PYTHEUS_OK);
    CHECK_INT(s->num_closed, 1);
    gate_free(&g);
}

typedef struct removing_sink {
    spy *s;
    pytheus_counter metric;
    long num_closed;
    char text[400];
} removing_sink;

static pytheus_err remove_all(void *user, const char *bytes, size_t size) {
    removing_sink *sink = (removing_sink *)user;
    (void)pytheus_view_clear(sink->metric.view);
    sink->num_closed += sink->s->num_closed;
    snprintf(sink->text, sizeof sink->text, "%.*s", (int)size, bytes);
    return PYTHEUS_OK;
}

TEST_WITH_SPY(s, r, SPY_BATCHES, series_removed_while_a_page_is_written_stay_on_it) {
    removing_sink remover = {s, COUNTER(r, .name = "x", .required_labels = {"a"}), 0, ""};
    const pytheus_sink sink = {remove_all, &remover};
    pytheus_counter_inc(pytheus_counter_labels(remover.metric, "a", "1"));
    pytheus_counter_labels(remover.metric, "a", "2");
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK_STR(remover.text, "# TYPE x counter\nx{a=\"1\"} 1\nx{a=\"2\"} 0\n");
    CHECK_INT(remover.num_closed, 0);
    CHECK_INT(s->num_closed, 2);
    CHECK_PAGE(r, "# TYPE x counter\n");
}

/* -- several threads -- */

enum { NUM_THREADS = 4 };

static void run_threads(void *(*run)(void *), void *user) {
    pthread_t threads[NUM_THREADS];
    for (int i = 0; i < NUM_THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, run, user), 0);
    for (int i = 0; i < NUM_THREADS; i++)
        pthread_join(threads[i], NULL);
}

typedef struct crowd {
    pytheus_registry *r;
    pytheus_counter metric;
    pytheus_view seen[NUM_THREADS];
    int num_seen, num_rounds;
    pthread_barrier_t barrier;
    double acknowledged[NUM_THREADS];
} crowd;

/* All have opened before the first of them goes on. */
static void meet_after_open(void *user) {
    pthread_barrier_wait(&((crowd *)user)->barrier);
}

static void *open_one(void *user) {
    crowd *c = (crowd *)user;
    pytheus_view view = pytheus_counter_labels(c->metric, "a", "same").view;
    c->seen[__atomic_fetch_add(&c->num_seen, 1, __ATOMIC_RELAXED)] = view;
    return NULL;
}

static void *define_one(void *user) {
    crowd *c = (crowd *)user;
    pytheus_view view = HISTOGRAM(c->r, .name = "same").view;
    c->seen[__atomic_fetch_add(&c->num_seen, 1, __ATOMIC_RELAXED)] = view;
    return NULL;
}

static void open_at_once(spy *s, pytheus_registry *r, void *(*open)(void *), long num_cells) {
    crowd c = {.r = r, .metric = COUNTER(r, .name = "x", .required_labels = {"a"})};
    pthread_barrier_init(&c.barrier, NULL, NUM_THREADS);
    s->after_open = meet_after_open;
    s->hook_user = &c;
    run_threads(open, &c);
    s->after_open = NULL;
    CHECK(c.seen[0].node);
    for (int i = 1; i < NUM_THREADS; i++)
        CHECK(pytheus_view_equal(c.seen[0], c.seen[i]));
    CHECK_INT(s->num_opened, NUM_THREADS * num_cells);
    CHECK_INT(s->num_closed, (NUM_THREADS - 1) * num_cells);
    CHECK_INT(s->num_removed, 0);
    pthread_barrier_destroy(&c.barrier);
    CHECK_INT(logged.num, 0);
}

TEST_WITH_SPY(s, r, SPY_FEW, of_a_series_opened_by_several_at_once_one_is_kept) {
    open_at_once(s, r, open_one, 1);
}

TEST_WITH_SPY(s, r, SPY_FEW, of_a_metric_opened_by_several_at_once_one_is_kept) {
    open_at_once(s, r, define_one, 13);
    CHECK_LINE(r, "same_count 0");
}

static void open_slowly(void *unused) {
    (void)unused;
    (void)usleep(20000);
}

static void *open_own(void *user) {
    crowd *c = (crowd *)user;
    int thread = __atomic_fetch_add(&c->num_seen, 1, __ATOMIC_RELAXED);
    const char id[] = {(char)('0' + thread), 0};
    c->seen[thread] = pytheus_counter_labels(c->metric, "a", id).view;
    return NULL;
}

/* A backend may have shown to others what it opens, before it is closed unused. */
TEST_WITH_SPY(s, r, SPY_FEW, no_series_is_opened_beyond_max_series) {
    crowd c = {.r = r,
               .metric = COUNTER(r, .name = "x", .required_labels = {"a"}, .max_series = 2)};
    s->after_open = open_slowly;
    run_threads(open_own, &c);
    CHECK_INT(s->num_opened - s->num_closed, 3);
    CHECK(s->num_opened <= 4); /* who came late may both have opened the overflow series */
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"x\"} 2");
}

TEST_WITH_SPY(s, r, SPY_FEW, who_wants_the_last_series_that_there_is_room_for_gets_it) {
    crowd c = {.r = r,
               .metric = COUNTER(r, .name = "x", .required_labels = {"a"}, .max_series = 1)};
    s->after_open = open_slowly;
    run_threads(open_one, &c);
    for (int i = 1; i < NUM_THREADS; i++)
        CHECK(pytheus_view_equal(c.seen[0], c.seen[i]));
    CHECK_INT(s->num_opened, 1);
}

TEST_WITH_SPY(s, r, SPY_FEW, room_that_a_failure_leaves_is_there_for_the_next) {
    pytheus_counter x = COUNTER(r, .name = "x", .required_labels = {"a"}, .max_series = 1);
    for (int i = 0; i < 3; i++) {
        spy_fail(s, SPY_ANY, 1, PYTHEUS_ERR_IO, NULL);
        CHECK(!pytheus_counter_labels(x, "a", "1").view.node);
    }
    CHECK(pytheus_counter_labels(x, "a", "1").view.node);
    CHECK_PAGE(r, "# TYPE x counter\nx{a=\"1\"} 0\n");
}

static int num_rounds(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1") ? 100000 : 3000;
}

/* Operates, removes and makes again under the hands of the others. */
static void *churn(void *user) {
    crowd *c = (crowd *)user;
    int thread = __atomic_fetch_add(&c->num_seen, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < c->num_rounds; i++) {
        const char id[] = {(char)('0' + i % 3), 0};
        pytheus_counter x = pytheus_counter_labels(c->metric, "a", id);
        c->acknowledged[thread] += pytheus_counter_inc(x) == PYTHEUS_OK;
        c->acknowledged[thread] += 2 * (pytheus_counter_add(x, 2) == PYTHEUS_OK);
        (void)pytheus_view_get(x.view, NULL);
        if (i % 5 == thread)
            (void)pytheus_view_remove(x.view);
        if (i % 200 == 40 * thread)
            pytheus_free(pytheus_generate(c->r, PYTHEUS_TEXT, NULL));
    }
    return NULL;
}

static double churn_in(pytheus_registry *r, int rounds) {
    crowd c = {.r = r, .num_rounds = rounds};
    double sum = 0;
    c.metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    run_threads(churn, &c);
    for (int i = 0; i < NUM_THREADS; i++)
        sum += c.acknowledged[i];
    CHECK(sum > 0);
    return sum;
}

TEST(what_was_acknowledged_is_in_the_cells_that_are_closed) {
    spy s;
    pytheus_registry *r = registry_on_spy(&s, SPY_BATCHES);
    double acknowledged = churn_in(r, num_rounds());
    pytheus_registry_free(r);
    CHECK_DOUBLE(s.sum_closed, acknowledged);
    CHECK_INT(s.num_closed, s.num_opened);
    CHECK_INT(s.num_wrong, 0);
    spy_free(&s);
}

TEST(backends_of_all_kinds_survive_the_churn) {
    const pytheus_backend backends[] = {minimal_backend(),
                                        atomic_backend(),
                                        generating_backend(true),
                                        pool_backend(pool_new(true, true, 3)),
                                        pool_backend(pool_new(false, true, 1)),
                                        pool_backend(pool_new(false, false, 1))};
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        pytheus_registry *r = registry_on(&backends[i]);
        (void)churn_in(r, num_rounds() / 4);
        free(page(r));
        pytheus_registry_free(r);
    }
}

static void *count_in_stripes(void *user) {
    crowd *c = (crowd *)user;
    pytheus_histogram h = HISTOGRAM(c->r, .name = "h");
    pytheus_gauge g = GAUGE(c->r, .name = "g");
    for (int i = 0; i < c->num_rounds; i++) {
        pytheus_counter_inc(c->metric);
        pytheus_counter_add(c->metric, 0.25);
        pytheus_gauge_add(g, 2);
        pytheus_histogram_observe(h, 0.5);
    }
    return NULL;
}

TEST(sums_over_stripes_are_exact) {
    for (int masks = 0; masks < 2; masks++) {
        pytheus_registry *r = registry_on_pool(pool_new(masks, false, 3));
        crowd c = {.r = r, .metric = COUNTER(r, .name = "c"), .num_rounds = num_rounds()};
        double n = (double)NUM_THREADS * c.num_rounds;
        run_threads(count_in_stripes, &c);
        CHECK_VALUE(c.metric, n * 1.25);
        CHECK_VALUE(GAUGE(r, .name = "g"), n * 2);
        CHECK_SAMPLE(r, "h_count", n);
        CHECK_SAMPLE(r, "h_sum", n / 2);
        CHECK_ERR(pytheus_counter_set(c.metric, 7), PYTHEUS_OK);
        CHECK_VALUE(c.metric, 7);
        CHECK_ERR(pytheus_view_remove(c.metric.view), PYTHEUS_OK);
        CHECK_VALUE(c.metric, 0);
        pytheus_registry_free(r);
    }
}

TEST(a_set_is_exact_after_an_amount_that_swallows_all_others) {
    pytheus_registry *r = registry_on_pool(pool_new(true, true, 1));
    pytheus_counter c = COUNTER(r, .name = "x");
    pytheus_counter_add(c, 5);
    pytheus_counter_add(c, 1e300);
    CHECK_ERR(pytheus_counter_set(c, 3), PYTHEUS_OK);
    CHECK_VALUE(c, 3);
    pytheus_registry_free(r);
}

static void *set_or_zero(void *user) {
    crowd *c = (crowd *)user;
    int thread = __atomic_fetch_add(&c->num_seen, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < c->num_rounds; i++) {
        if (thread == 0) {
            CHECK_ERR(pytheus_view_remove(c->metric.view), PYTHEUS_OK);
        } else if (thread == 1) {
            CHECK_ERR(pytheus_counter_set(c->metric, 1000), PYTHEUS_OK);
        } else {
            CHECK_ERR(pytheus_counter_inc(c->metric), PYTHEUS_OK);
        }
    }
    return NULL;
}

/* Set to 1000 or 0, or counted up from there: never below. */
TEST(a_set_beside_a_removal_over_stripes_is_never_below_zero) {
    pytheus_registry *r = registry_on_pool(pool_new(true, true, 3));
    for (int i = 0; i < num_rounds() / 10; i++) {
        crowd c = {.r = r, .metric = COUNTER(r, .name = "x"), .num_rounds = 10};
        run_threads(set_or_zero, &c);
        double value = fixture_value(c.metric.view);
        if (!CHECK(value >= 0 && value <= 1020 + 20 * i))
            break;
    }
    pytheus_registry_free(r);
}

/* -- series that others remove; words that serve again -- */

/* As another process would. */
static void remove_by_others(const pool *p, size_t which) {
    pool_slot *slot = p->slots;
    while (which--)
        slot = slot->next;
    __atomic_store_n(&slot->life, 0, __ATOMIC_RELEASE);
}

TEST(a_series_that_somebody_else_removed_is_removed) {
    pool *p = pool_new(true, true, 1);
    pytheus_registry *r = registry_on_pool(p);
    pytheus_gauge metric = GAUGE(r, .name = "x", .required_labels = {"a"});
    pytheus_gauge one = pytheus_gauge_labels(metric, "a", "1");
    double value = 17;
    pytheus_gauge_set(one, 5);
    remove_by_others(p, 0);
    CHECK_ERR(pytheus_gauge_set(one, 6), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_gauge_inc(one), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_get(one.view, &value), PYTHEUS_ERR_REMOVED);
    CHECK_DOUBLE(value, 17);
    CHECK_STR(pytheus_last_error(), "x: the series was removed");
    CHECK(!pytheus_view_observable(one.view));
    CHECK_PAGE(r, "# TYPE x gauge\n");
    CHECK_ERR(pytheus_sample_value(r, "x", PAIRS("a", "1"), &value), PYTHEUS_ERR_NOTHING);
    pytheus_gauge again = pytheus_gauge_labels(metric, "a", "1");
    CHECK_DIFFERENT(again, one);
    CHECK_VALUE(again, 0);
    CHECK_ERR(pytheus_gauge_inc(again), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_inc(one), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"1\"} 1\n");
    CHECK_INT(p->num_opened, 2);
    CHECK_INT(p->num_closed, 1);
    pytheus_registry_free(r);
}

TEST(counters_and_histograms_that_somebody_else_removed) {
    pool *p = pool_new(false, true, 3);
    pytheus_registry *r = registry_on_pool(p);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"a"});
    pytheus_counter one = pytheus_counter_labels(c, "a", "1");
    pytheus_histogram two = pytheus_histogram_labels(h, "a", "2");
    remove_by_others(p, 0);
    remove_by_others(p, 1);
    CHECK_ERR(pytheus_counter_inc(one), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_set(one, 1), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_add(one, 0.5), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_histogram_observe(two, 1), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE c counter\n# TYPE h histogram\n");
    pytheus_registry_free(r);
}

TEST(a_late_handle_never_reaches_the_next_series_in_its_words) {
    pool *p = pool_new(true, false, 1);
    pytheus_registry *r = registry_on_pool(p);
    pytheus_counter metric = COUNTER(r, .name = "x", .required_labels = {"a"});
    pytheus_counter old = pytheus_counter_labels(metric, "a", "0");
    for (char i = '1'; i < '9'; i++) {
        pytheus_counter_add(old, 5);
        CHECK_ERR(pytheus_view_remove(old.view), PYTHEUS_OK);
        pytheus_counter next = pytheus_counter_labels(metric, "a", ((char[]){i, 0}));
        CHECK_INT(p->num_reused, i - '0');
        CHECK_VALUE(next, 0);
        CHECK_ERR(pytheus_counter_inc(old), PYTHEUS_ERR_REMOVED);
        CHECK_ERR(pytheus_counter_add(old, 0.5), PYTHEUS_ERR_REMOVED);
        CHECK_ERR(pytheus_counter_set(old, 3), PYTHEUS_ERR_REMOVED);
        CHECK_VALUE(next, 0);
        old = next;
    }
    pytheus_registry_free(r);
}

/* Its root has no words, though a series of it would have more of them than a root has room for. */
TEST(a_histogram_with_labels_is_cleared) {
    pytheus_registry *r = registry_on_pool(pool_new(true, true, 1));
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .required_labels = {"a"});
    for (char i = '0'; i < '9'; i++)
        pytheus_histogram_observe(pytheus_histogram_labels(h, "a", ((char[]){i, 0})), 1);
    CHECK_ERR(pytheus_view_clear(h.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x histogram\n");
    pytheus_registry_free(r);
}

/* -- generating -- */

static const char *const others =
    "# HELP others_total Made by another process.\n# TYPE others_total counter\n"
    "others_total{worker=\"2\"} 7\n";

TEST(a_page_has_what_other_processes_made) {
    const pytheus_backend backend = generating_backend(true);
    pytheus_registry *r = registry_on(&backend);
    const double bounds[] = {1, 2};
    char wanted[1000];
    pytheus_histogram h = HISTOGRAM(r, .name = "wait", .help = "Wait.", .required_labels = {"a"},
                                    .buckets = bounds, .num_buckets = 2);
    pytheus_histogram_observe(pytheus_histogram_labels(h, "a", "x\"y"), 1.5);
    pytheus_counter_inc(COUNTER(r, .name = "hits_total"));
    snprintf(wanted, sizeof wanted,
             "# HELP wait Wait.\n# TYPE wait histogram\n"
             "wait_bucket{a=\"x\\\"y\",le=\"1\"} 0\nwait_bucket{a=\"x\\\"y\",le=\"2\"} 1\n"
             "wait_bucket{a=\"x\\\"y\",le=\"+Inf\"} 1\nwait_sum{a=\"x\\\"y\"} 1.5\n"
             "wait_count{a=\"x\\\"y\"} 1\n"
             "# TYPE hits_total counter\nhits_total 1\n%s",
             others);
    CHECK_PAGE(r, wanted);
    pytheus_registry_free(r);
}

TEST(what_other_processes_made_has_the_prefix) {
    const pytheus_backend backend = generating_backend(true);
    pytheus_registry *r =
        pytheus_registry_new(&(pytheus_registry_desc){.prefix = "app", .backend = &backend});
    CHECK_LINE(r, "app_others_total{worker=\"2\"} 7");
    pytheus_registry_free(r);
}

static pytheus_err generate_twice(void *user, pytheus_emitter *out) {
    (void)generating_generate(user, out);
    return generating_generate(user, out);
}

TEST(a_family_generated_twice_is_on_the_page_once) {
    pytheus_backend backend = generating_backend(true);
    char wanted[400];
    backend.generate = generate_twice;
    pytheus_registry *r = registry_on(&backend);
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    snprintf(wanted, sizeof wanted, "# TYPE x_total counter\nx_total 1\n%s", others);
    CHECK_PAGE(r, wanted);
    pytheus_registry_free(r);
}

TEST(a_metric_taken_from_the_page_is_not_generated_there) {
    const pytheus_backend backend = generating_backend(false);
    pytheus_registry *r = registry_on(&backend);
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_registry_remove(r, c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_registry_add(r, c.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 1\n");
    pytheus_registry_free(r);
}

TEST(a_metric_is_on_another_registry_s_page_with_its_values) {
    const pytheus_backend backends[] = {generating_backend(false), minimal_backend(),
                                        pool_backend(pool_new(true, true, 3))};
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        pytheus_registry *r = registry_on(&backends[i]), *other = registry_on(NULL);
        pytheus_counter c = COUNTER(r, .name = "x_total");
        pytheus_counter_add(c, 3);
        CHECK_ERR(pytheus_registry_add(other, c.view), PYTHEUS_OK);
        CHECK_PAGE(other, "# TYPE x_total counter\nx_total 3\n");
        pytheus_registry_free(other);
        pytheus_registry_free(r);
    }
}

static double five(void *unused) {
    (void)unused;
    return 5;
}

TEST(a_function_s_value_is_on_the_page_of_a_backend) {
    spy s;
    spy_init(&s);
    const pytheus_backend backends[] = {minimal_backend(), spy_backend(&s, "spy", SPY_BATCHES),
                                        pool_backend(pool_new(true, true, 1))};
    for (size_t i = 0; i < COUNT_OF(backends); i++) {
        pytheus_registry *r = registry_on(&backends[i]);
        pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"});
        pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 1);
        CHECK_ERR(pytheus_gauge_set_function(pytheus_gauge_labels(g, "a", "2"), five, NULL),
                  PYTHEUS_OK);
        CHECK_VALUE(pytheus_gauge_labels(g, "a", "2"), 5);
        CHECK_PAGE(r, "# TYPE x gauge\nx{a=\"1\"} 1\nx{a=\"2\"} 5\n");
        pytheus_registry_free(r);
    }
    CHECK_INT(s.num_wrong, 0);
    spy_free(&s);
}

TEST(a_function_is_refused_where_the_backend_makes_the_page) {
    const pytheus_backend backend = generating_backend(false);
    pytheus_registry *r = registry_on(&backend);
    pytheus_gauge g = GAUGE(r, .name = "x");
    CHECK_ERR(pytheus_gauge_set_function(g, five, NULL), PYTHEUS_ERR_BACKEND);
    has(logged.sentence, "generating");
    CHECK_VALUE(g, 0);
    pytheus_registry_free(r);
}

/* -- what a definition says for backends -- */

TEST(across_and_expire_seconds_reach_the_backend) {
    spy s;
    pytheus_registry *r = registry_on_spy(&s, SPY_FEW);
    GAUGE(r, .name = "x", .across = PYTHEUS_MAX, .expire_seconds = 2.5);
    CHECK_INT(s.across, PYTHEUS_MAX);
    CHECK_DOUBLE(s.expire_seconds, 2.5);
    GAUGE(r, .name = "y");
    CHECK_INT(s.across, PYTHEUS_SHARED);
    CHECK_DOUBLE(s.expire_seconds, 0);
    end_spy(&s, r);
    pool *p = pool_new(true, true, 1);
    r = registry_on_pool(p);
    pytheus_gauge z = GAUGE(r, .name = "z", .required_labels = {"a"}, .across = PYTHEUS_SUM,
                            .expire_seconds = 60);
    pytheus_gauge_labels(z, "a", "1");
    CHECK_INT(p->across, PYTHEUS_SUM);
    CHECK_DOUBLE(p->expire_seconds, 60);
    pytheus_registry_free(r);
}

TEST(across_and_expire_seconds_are_refused_where_they_are_wrong) {
    CHECK_ERR(REFUSAL(COUNTER, .name = "x", .across = PYTHEUS_SUM), PYTHEUS_ERR_TYPE);
    CHECK_ERR(REFUSAL(HISTOGRAM, .name = "x", .across = PYTHEUS_PER_PROCESS), PYTHEUS_ERR_TYPE);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .expire_seconds = -1), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .expire_seconds = (double)NAN), PYTHEUS_ERR_VALUE);
    CHECK_ERR(REFUSAL(GAUGE, .name = "x", .expire_seconds = (double)INFINITY), PYTHEUS_ERR_VALUE);
}

TEST_WITH_SPY(s, r, SPY_BATCHES, unregistered_metrics_stay_in_the_process) {
    pytheus_histogram h = HISTOGRAM(r, .name = "x", .unregistered = true);
    pytheus_histogram_observe(h, 1);
    pytheus_counter c = COUNTER(r, .name = "y", .unregistered = true, .required_labels = {"a"});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1"));
    CHECK_VALUE(h, 1);
    CHECK_INT(s->num_calls[SPY_ANY], 0);
}

static void spoil_errno(void *unused) {
    (void)unused;
    errno = 99;
}

TEST_WITH_SPY(s, r, SPY_FEW, operations_keep_errno_whatever_the_backend_does) {
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    s->before_inc = s->before_get = spoil_errno;
    for (int fails = 0; fails < 2; fails++) {
        errno = 1234;
        (void)pytheus_counter_inc(c);
        (void)pytheus_gauge_dec(g);
        (void)pytheus_gauge_set(g, 3);
        (void)pytheus_histogram_observe(h, 1);
        (void)pytheus_view_get(c.view, NULL);
        PYTHEUS_TIME(h) {
        }
        CHECK_INT(errno, 1234);
        spy_fail(s, SPY_INC, 1, PYTHEUS_ERR_IO, NULL);
    }
}

/* -- several backends -- */

TEST(each_registry_has_its_own_backend) {
    spy a, b;
    pytheus_registry *in_a = registry_on_spy(&a, SPY_FEW), *in_b = registry_on_spy(&b, SPY_FEW);
    pytheus_counter_inc(COUNTER(in_a, .name = "x"));
    pytheus_counter_add(COUNTER(in_b, .name = "x"), 5);
    CHECK_PAGE(in_a, "# TYPE x counter\nx 1\n");
    CHECK_PAGE(in_b, "# TYPE x counter\nx 5\n");
    CHECK_INT(a.num_opened, 1);
    CHECK_INT(b.num_opened, 1);
    end_spy(&a, in_a);
    CHECK_INT(b.num_calls[SPY_DESTROY], 0);
    end_spy(&b, in_b);
}

TEST(a_metric_keeps_the_backend_that_it_was_made_with) {
    spy a, b;
    pytheus_registry *r = registry_on_spy(&a, SPY_FEW);
    const pytheus_backend second = spy_backend(&b, "second", SPY_FEW);
    pytheus_counter x = COUNTER(r, .name = "x", .required_labels = {"a"});
    pytheus_counter_add(pytheus_counter_labels(x, "a", "1"), 3);
    spy_init(&b);
    CHECK_ERR(pytheus__registry_load(r, &second, "{\"key\": 1}"), PYTHEUS_OK);
    CHECK_STR(pytheus_registry_backend(r), "second");
    CHECK_STR(pytheus_registry_config(r), "{\"key\": 1}");
    CHECK_INT(a.num_calls[SPY_DESTROY], 0);
    pytheus_counter y = COUNTER(r, .name = "y");
    pytheus_counter_add(y, 7);
    pytheus_counter_inc(pytheus_counter_labels(x, "a", "1"));
    pytheus_counter_inc(pytheus_counter_labels(x, "a", "2"));
    CHECK_SAME(COUNTER(r, .name = "x", .required_labels = {"a"}), x);
    CHECK_INT(a.num_opened, 2);
    CHECK_INT(b.num_opened, 1);
    CHECK_PAGE(r, "# TYPE x counter\nx{a=\"1\"} 4\nx{a=\"2\"} 1\n# TYPE y counter\ny 7\n");
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    CHECK_INT(a.num_calls[SPY_FLUSH], 1);
    CHECK_INT(b.num_calls[SPY_FLUSH], 1);
    end_spy(&b, r);
    CHECK_INT(a.num_wrong, 0);
    CHECK_INT(a.num_calls[SPY_DESTROY], 1);
    spy_free(&a);
}

TEST(a_backend_that_no_metric_has_ends_when_another_is_loaded) {
    spy a, b;
    pytheus_registry *r = registry_on_spy(&a, SPY_FEW);
    const pytheus_backend second = spy_backend(&b, "second", SPY_FEW);
    spy_init(&b);
    CHECK_ERR(pytheus__registry_load(r, &second, "{}"), PYTHEUS_OK);
    CHECK_INT(a.num_calls[SPY_DESTROY], 1);
    end_spy(&b, r);
    CHECK_INT(a.num_calls[SPY_DESTROY], 1);
    spy_free(&a);
}

TEST(a_backend_that_is_refused_leaves_the_one_before) {
    spy a;
    pytheus_registry *r = registry_on_spy(&a, SPY_FEW);
    pytheus_backend bad = spy_backend(&a, "bad", SPY_FEW);
    bad.get = NULL;
    CHECK_ERR(pytheus__registry_load(r, &bad, "{}"), PYTHEUS_ERR_BACKEND);
    CHECK_STR(pytheus_registry_backend(r), "spy");
    CHECK_ERR(pytheus_counter_inc(COUNTER(r, .name = "x")), PYTHEUS_OK);
    CHECK_INT(a.num_opened, 1);
    end_spy(&a, r);
}

TEST(values_in_the_process_stay_there_when_a_backend_is_loaded) {
    pytheus_registry *r = registry_on(NULL);
    pytheus_counter x = COUNTER(r, .name = "x");
    const pytheus_backend minimal = minimal_backend();
    pytheus_counter_add(x, 5);
    CHECK_STR(pytheus_registry_backend(r), "single");
    CHECK_ERR(pytheus__registry_load(r, &minimal, "{}"), PYTHEUS_OK);
    pytheus_counter_inc(x);
    pytheus_counter_inc(COUNTER(r, .name = "y"));
    CHECK_PAGE(r, "# TYPE x counter\nx 6\n# TYPE y counter\ny 1\n");
    pytheus_registry_free(r);
}

TEST(words_are_destroyed_after_they_were_closed) {
    long num_destroyed = 0;
    pool *p = pool_new(true, true, 1);
    pytheus_registry *r = registry_on_pool(p);
    p->destroyed = &num_destroyed;
    COUNTER(r, .name = "x");
    pytheus_gauge g = GAUGE(r, .name = "y", .required_labels = {"a"});
    pytheus_view_remove(pytheus_gauge_labels(g, "a", "1").view);
    pytheus_gauge_labels(g, "a", "2");
    CHECK_INT(p->num_opened, 3);
    CHECK_INT(p->num_closed, 1);
    pytheus_registry_free(r); /* the pool aborts if a series is still open */
    CHECK_INT(num_destroyed, 1);
}

/* -- fork -- */

#ifndef _WIN32
static int status_of_child(pid_t child) {
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_WITH_SPY(s, r, SPY_FEW, a_backend_hears_of_a_fork_once_in_the_child) {
    pytheus_counter c = COUNTER(r, .name = "x");
    pytheus_counter_inc(c);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        bool good = s->num_calls[SPY_FORKED] == 1 && pytheus_counter_inc(c) == PYTHEUS_OK &&
                    fixture_value(c.view) >= 2;
        _exit(good ? 0 : 1);
    }
    CHECK_INT(status_of_child(child), 0);
    CHECK_INT(s->num_calls[SPY_FORKED], 0);
    CHECK_VALUE(c, 1);
}

TEST(all_backends_of_all_registries_hear_of_a_fork) {
    spy a, b;
    pool *p = pool_new(true, true, 1);
    pytheus_registry *first = registry_on_spy(&a, SPY_FEW), *second = registry_on_pool(p);
    const pytheus_backend more = spy_backend(&b, "more", SPY_FEW);
    spy_init(&b);
    COUNTER(first, .name = "x");
    CHECK_ERR(pytheus__registry_load(first, &more, "{}"), PYTHEUS_OK);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(a.num_calls[SPY_FORKED] == 1 && b.num_calls[SPY_FORKED] == 1 && p->num_forked == 1
                  ? 0
                  : 1);
    CHECK_INT(status_of_child(child), 0);
    pytheus_registry_free(second);
    end_spy(&b, first);
    spy_free(&a);
}
#endif

/* -- out of memory -- */

typedef struct scarcity {
    long num_calls, fail_at, num_live;
    bool for_ever;
} scarcity;

static void *scarce(void *user, void *p, size_t old_size, size_t size) {
    scarcity *m = (scarcity *)user;
    (void)old_size;
    if (!size) {
        m->num_live -= p != NULL;
        free(p);
        return NULL;
    }
    m->num_calls++;
    if (m->fail_at && (m->for_ever ? m->num_calls >= m->fail_at : m->num_calls == m->fail_at))
        return NULL;
    m->num_live += p == NULL;
    return realloc(p, size);
}

typedef pytheus_err (*step)(pytheus_registry *r);

static pytheus_err make_series(pytheus_registry *r) {
    static char value[3000]; /* larger than what is on the stack for it */
    pytheus_histogram h = HISTOGRAM(r, .name = "many", .required_labels = {"a"});
    memset(value, 'v', sizeof value - 1);
    return h.view.node ? of_handle(pytheus_histogram_labels(h, "a", value).view) : logged.err;
}
static pytheus_err make_many_buckets(pytheus_registry *r) {
    double bounds[40]; /* more cells than are on the stack for them */
    (void)pytheus_buckets_linear(bounds, 40, 1, 1);
    return of_handle(HISTOGRAM(r, .name = "wide", .buckets = bounds, .num_buckets = 40).view);
}
static pytheus_err make_metric(pytheus_registry *r) {
    return of_handle(SUMMARY(r, .name = "new").view);
}
static pytheus_err make_page(pytheus_registry *r) {
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    pytheus_free(text);
    return text ? PYTHEUS_OK : logged.err;
}

static void prepare(pytheus_registry *r) {
    pytheus_histogram h = HISTOGRAM(r, .name = "many", .required_labels = {"a"});
    for (char i = '0'; i < '9'; i++)
        pytheus_histogram_observe(pytheus_histogram_labels(h, "a", ((char[]){i, 0})), 1);
    pytheus_counter_inc(COUNTER(r, .name = "x"));
}

/* false: there are not so many allocations. */
static bool starve_once(step run, const pytheus_backend *backend, scarcity *m,
                        long (*num_open)(void *user)) {
    const long fail_at = m->fail_at;
    m->fail_at = m->num_live = 0;
    memset(&logged, 0, sizeof logged);
    pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){
        .backend = backend, .logger = {fixture_remember, NULL}, .allocator = {scarce, m}});
    prepare(r);
    char *before = page(r), *after;
    long open_before = num_open(backend->user);
    m->num_calls = 0;
    m->fail_at = fail_at;
    pytheus_err err = run(r);
    bool failed = m->num_calls >= fail_at;
    m->fail_at = 0;
    if (err) {
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        CHECK(failed);
        CHECK_INT(logged.num, 1);
        after = page(r);
        CHECK_STR(after, before);
        free(after);
        CHECK_INT(num_open(backend->user), open_before);
        CHECK_ERR(run(r), PYTHEUS_OK);
    }
    free(before);
    free(page(r));
    pytheus_registry_free(r);
    CHECK_INT(m->num_live, 0);
    m->fail_at = fail_at;
    return failed;
}

static long open_in_spy(void *user) {
    const spy *s = (const spy *)user;
    return s->num_opened - s->num_closed;
}

static long open_in_pool(void *user) {
    const pool *p = (const pool *)user;
    return p->num_opened - p->num_closed;
}

static void starve(step run, bool in_spy, unsigned functions) {
    scarcity m = {.fail_at = 0};
    int num_starved = 0;
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        bool more = true;
        m.for_ever = for_ever;
        for (long n = 1; more; n++) {
            spy s;
            pytheus_backend backend =
                in_spy ? spy_backend(&s, "spy", functions) : pool_backend(pool_new(true, true, 2));
            spy_init(&s);
            m.fail_at = n;
            more = starve_once(run, &backend, &m, in_spy ? open_in_spy : open_in_pool);
            CHECK_INT(s.num_wrong, 0);
            spy_free(&s);
            num_starved += more;
        }
    }
    CHECK(num_starved > 0);
}

static void starve_all(bool in_spy, unsigned functions) {
    const step steps[] = {make_series, make_many_buckets, make_metric, make_page};
    for (size_t i = 0; i < COUNT_OF(steps); i++)
        starve(steps[i], in_spy, functions);
}

TEST(without_memory_a_backend_of_cells_is_left_as_it_was) {
    starve_all(true, SPY_FEW);
}

TEST(without_memory_a_backend_of_cells_with_batches_is_left_as_it_was) {
    starve_all(true, SPY_BATCHES | SPY_BIT(SPY_GENERATE));
    starve_all(true, SPY_BATCHES);
}

TEST(without_memory_a_backend_of_words_is_left_as_it_was) {
    starve_all(false, 0);
}

TEST(without_memory_for_a_registry_the_backend_is_not_destroyed) {
    spy s;
    pytheus_backend backend = spy_backend(&s, "spy", SPY_FEW);
    pytheus_registry *r = NULL;
    scarcity m = {.fail_at = 0};
    spy_init(&s);
    while (!r && m.fail_at < 20) {
        CHECK_INT(s.num_calls[SPY_ANY], 0);
        CHECK_INT(m.num_live, 0);
        m.fail_at++;
        m.num_calls = 0;
        r = pytheus_registry_new(&(pytheus_registry_desc){
            .backend = &backend, .logger = {fixture_remember, NULL}, .allocator = {scarce, &m}});
    }
    CHECK(r && m.fail_at > 2);
    end_spy(&s, r);
}

/* -- what a backend that sends differences is told -- */

typedef struct teller {
    uint64_t words[64] __attribute__((aligned(8)));
    uint64_t mask;
    char metrics[200];
    int fails;
} teller;

static pytheus_err teller_words(void *user, const pytheus_series_desc *desc, pytheus_words *words) {
    teller *t = (teller *)user;
    for (size_t i = 0; i < COUNT_OF(t->words); i++)
        t->words[i] = t->mask;
    words->at = t->words;
    words->sets = t->words + desc->num_words;
    words->mask = t->mask;
    return PYTHEUS_OK;
}

static pytheus_err teller_metric(void *user, const pytheus_series_desc *desc) {
    teller *t = (teller *)user;
    size_t used = strlen(t->metrics);
    if (t->fails)
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "no more of these");
    snprintf(t->metrics + used, sizeof t->metrics - used, "%s %s:%d;", desc->metric,
             desc->num_labels ? desc->labels[0].name : "",
             desc->num_labels ? desc->labels[0].value != NULL : 0);
    return PYTHEUS_OK;
}

static pytheus_registry *registry_on_teller(teller *t) {
    return registry_on(&(pytheus_backend){
        .name = "teller", .user = t, .words_open = teller_words, .metric_open = teller_metric});
}

static void sets_of(uint64_t mask) {
    teller t = {.mask = mask};
    pytheus_registry *r = registry_on_teller(&t);
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_gauge_inc(g);
    pytheus_gauge_sub(g, 3);
    CHECK_INT(t.words[1] ^ mask, 0);
    pytheus_gauge_set(g, 5);
    pytheus_gauge_set(g, 5);
    CHECK_INT(t.words[1] ^ mask, 2);
    pytheus_view_remove(g.view);
    CHECK_INT(t.words[1] ^ mask, 3);
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    pytheus_counter_add(c, 0.5);
    CHECK_INT(t.words[2] ^ mask, 0);
    pytheus_counter_set(c, 7);
    CHECK_INT(t.words[2] ^ mask, 1);
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1}, .num_buckets = 1);
    pytheus_histogram_observe(h, 1);
    CHECK_INT(t.words[3] ^ mask, 0);
    pytheus_view_clear(h.view);
    CHECK_INT(t.words[3] ^ mask, 1);
    pytheus_registry_free(r);
}

TEST(sets_and_resets_are_counted_for_a_backend_that_asks) {
    sets_of(0);
    sets_of(UINT64_C(0x123456789abcdef1));
}

TEST(a_backend_hears_of_metrics_before_they_have_series) {
    teller t = {.mask = 0};
    pytheus_registry *r = registry_on_teller(&t);
    COUNTER(r, .name = "a", .required_labels = {"x", "y"});
    COUNTER(r, .name = "b");
    CHECK_STR(t.metrics, "a x:0;b :0;");
    COUNTER(r, .name = "a", .required_labels = {"x", "y"});
    CHECK_STR(t.metrics, "a x:0;b :0;");
    t.fails = 1;
    CHECK_NOTHING(COUNTER(r, .name = "c", .required_labels = {"x"}));
    CHECK_STR(logged.sentence, "no more of these");
    CHECK_NOTHING(COUNTER(r, .name = "d"));
    CHECK_PAGE(r, "# TYPE a counter\n# TYPE b counter\nb 0\n");
    pytheus_registry_free(r);
}

TEST(words_of_a_view_are_told) {
    teller t = {.mask = 1};
    pytheus_registry *r = registry_on_teller(&t);
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"x"});
    pytheus_view view = pytheus_gauge_labels(g, "x", "1").view;
    const pytheus_backend *backend = NULL;
    pytheus_words words = {.at = NULL};
    CHECK_ERR(pytheus_view_words(view, &backend, &words), PYTHEUS_OK);
    CHECK(words.at == t.words && words.sets == t.words + 1 && words.mask == 1);
    CHECK(backend && backend->user == &t);
    CHECK_ERR(pytheus_view_words(g.view, &backend, &words), PYTHEUS_ERR_UNOBSERVABLE);
    pytheus_view_remove(view);
    CHECK_ERR(pytheus_view_words(view, &backend, &words), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_words((pytheus_view){0}, &backend, &words), PYTHEUS_ERR_NOTHING);
    pytheus_registry_free(r);
    r = pytheus_registry_new(NULL);
    g = GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_view_words(g.view, &backend, &words), PYTHEUS_ERR_TYPE);
    pytheus_registry_free(r);
}
