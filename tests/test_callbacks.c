/* What backends, collectors and sinks may answer, and what they may do while they are called. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <pthread.h>
#include <stdlib.h>
#ifndef _WIN32
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

static pytheus_registry *registry_on(const pytheus_backend *backend) {
    memset(&logged, 0, sizeof logged);
    return pytheus_registry_new(
        &(pytheus_registry_desc){.backend = backend, .logger = {fixture_remember, NULL}});
}

TEST(a_sentence_may_be_made_of_the_one_before) {
    CHECK_ERR(pytheus_fail(PYTHEUS_ERR_IO, "no disk"), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_fail(PYTHEUS_ERR_IO, "table: %s", pytheus_last_error()), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "table: no disk");
}

/* ---- cells ---- */

/* A store of one number for each cell, by its place in the table; "sum" is the first. */
typedef struct table {
    double values[16];
    size_t num_cells;
    bool sum_fails, get_fails;
    double answer; /* of get, if it is not 0 */
} table;

static pytheus_err table_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    table *t = user;
    (void)desc;
    *cell = &t->values[t->num_cells++];
    return PYTHEUS_OK;
}

static pytheus_err table_inc(void *user, void *cell, double by) {
    const table *t = user;
    if (t->sum_fails && cell == &t->values[0])
        return pytheus_fail(PYTHEUS_ERR_IO, "disk full");
    if (by < 0)
        return pytheus_fail(PYTHEUS_ERR_VALUE, "counts only go up");
    *(double *)cell += by;
    return PYTHEUS_OK;
}

static pytheus_err table_set(void *user, void *cell, double value) {
    (void)user;
    *(double *)cell = value;
    return PYTHEUS_OK;
}

static pytheus_err table_get(void *user, void *cell, double *value) {
    const table *t = user;
    if (t->get_fails)
        return pytheus_fail(PYTHEUS_ERR_IO, "disk gone");
    *value = !(t->answer >= 0 && t->answer <= 0) ? t->answer : *(double *)cell;
    return PYTHEUS_OK;
}

static pytheus_backend table_backend(table *t) {
    memset(t, 0, sizeof *t);
    return (pytheus_backend){.name = "table",
                             .user = t,
                             .cell_open = table_open,
                             .inc = table_inc,
                             .set = table_set,
                             .get = table_get};
}

TEST(an_undone_observation_keeps_the_error_that_undid_it) {
    table t;
    pytheus_backend backend = table_backend(&t);
    pytheus_registry *r = registry_on(&backend);
    pytheus_summary s = SUMMARY(r, .name = "s");
    t.sum_fails = true;
    CHECK_ERR(pytheus_summary_observe(s, 2), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "disk full");
    CHECK_STR(logged.sentence, "disk full");
    pytheus_registry_free(r);
}

TEST(a_counter_that_is_none_gives_no_page) {
    const double bad[] = {-5, (double)NAN, -(double)INFINITY};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        table t;
        pytheus_backend backend = table_backend(&t);
        pytheus_registry *r = registry_on(&backend);
        COUNTER(r, .name = "c_total");
        t.answer = bad[i];
        CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
        CHECK_ERR(logged.err, PYTHEUS_ERR_BACKEND);
        CHECK_STR(logged.metric, "c_total");
        t.answer = 0;
        CHECK_PAGE(r, "# TYPE c_total counter\nc_total 0\n");
        pytheus_registry_free(r);
    }
}

TEST(each_metric_that_can_not_be_read_is_told) {
    table first, second;
    pytheus_backend backend = table_backend(&first), other = table_backend(&second);
    pytheus_registry *r = registry_on(&backend);
    GAUGE(r, .name = "a");
    CHECK_ERR(pytheus__registry_load(r, &other, "{}"), PYTHEUS_OK);
    GAUGE(r, .name = "b");
    first.get_fails = true;
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK_STR(logged.metric, "a");
    first.get_fails = false;
    second.get_fails = true;
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK_STR(logged.metric, "b");
    CHECK_INT(logged.num, 2);
    pytheus_registry_free(r);
}

static pytheus_err emit_two(void *user, pytheus_emitter *out) {
    pytheus_gauge *gauges = user;
    (void)pytheus_emit_metric(out, gauges[0].view);
    return pytheus_emit_metric(out, gauges[1].view);
}

TEST(a_metric_that_can_not_be_read_is_left_out_by_its_collector) {
    table t;
    pytheus_backend backend = table_backend(&t);
    pytheus_registry *home = registry_on(&backend), *r = fixture_registry(NULL);
    pytheus_gauge gauges[] = {GAUGE(home, .name = "far"),
                              GAUGE(r, .name = "near", .unregistered = true)};
    CHECK_ERR(pytheus_registry_add_collector(
                  r, &(pytheus_collector){.name = "two", .collect = emit_two, .user = gauges}),
              PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE far gauge\nfar 0\n# TYPE near gauge\nnear 0\n");
    t.get_fails = true;
    CHECK_PAGE(r, "# TYPE near gauge\nnear 0\n");
    pytheus_registry_free(r);
    pytheus_registry_free(home);
}

static pytheus_err generate_the_librarys(void *user, pytheus_emitter *out) {
    (void)user;
    CHECK_ERR(pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_COUNTER,
                                                         .name = "pytheus_overflow_calls_total"}),
              PYTHEUS_ERR_NAME);
    return pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
}

TEST(the_librarys_own_names_are_not_a_backends) {
    table t;
    pytheus_backend backend = table_backend(&t);
    backend.generate = generate_the_librarys;
    pytheus_registry *r = registry_on(&backend);
    CHECK_PAGE(r, "");
    pytheus_registry_free(r);
}

static pytheus_err fail_oddly(void *user, const char *bytes, size_t size) {
    (void)user;
    (void)bytes;
    (void)size;
    return (pytheus_err)-99;
}

TEST_WITH(r, a_sinks_own_number_is_an_error_of_output) {
    GAUGE(r, .name = "g");
    CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){fail_oddly, NULL}), PYTHEUS_ERR_IO);
}

/* ---- a series made again while it is removed ---- */

static pytheus_gauge metric;
static char events[64];
static size_t num_events;
static pytheus_gauge made_again;

static void event(char which) {
    events[__atomic_fetch_add(&num_events, 1, __ATOMIC_ACQ_REL)] = which;
}

static pytheus_err open_and_tell(void *user, const pytheus_cell_desc *desc, void **cell) {
    event('o');
    return table_open(user, desc, cell);
}

static void *make_again(void *unused) {
    made_again = pytheus_gauge_labels(metric, "a", "1");
    return unused;
}

static pthread_t maker;

static pytheus_err remove_slowly(void *user, void *cell) {
    (void)user;
    (void)cell;
    CHECK_INT(pthread_create(&maker, NULL, make_again, NULL), 0);
    for (int i = 0; i < 50; i++)
        pytheus__wait();
    event('r');
    return PYTHEUS_OK;
}

TEST(a_series_is_not_opened_again_before_it_is_removed) {
    table t;
    pytheus_backend backend = table_backend(&t);
    backend.cell_open = open_and_tell;
    backend.cell_remove = remove_slowly;
    pytheus_registry *r = registry_on(&backend);
    metric = GAUGE(r, .name = "g", .required_labels = {"a"});
    CHECK_ERR(pytheus_view_remove(pytheus_gauge_labels(metric, "a", "1").view), PYTHEUS_OK);
    CHECK_INT(pthread_join(maker, NULL), 0);
    CHECK_STR(events, "oro");
    CHECK_ERR(pytheus_gauge_set(made_again, 3), PYTHEUS_OK);
    pytheus_registry_free(r);
}

/* ---- a series wanted while the same thread opens or removes others ---- */

static pytheus_counter counts;
static bool wants_more;

static void count_more(const char *label) {
    if (wants_more) {
        wants_more = false;
        made_again.view = pytheus_counter_labels(counts, "a", label).view;
        (void)pytheus_counter_inc((pytheus_counter){made_again.view});
    }
}

static pytheus_err open_and_count(void *user, const pytheus_cell_desc *desc, void **cell) {
    count_more("opened");
    return table_open(user, desc, cell);
}

static pytheus_err fail_to_remove(void *user, void *cell) {
    (void)user;
    (void)cell;
    return pytheus_fail(PYTHEUS_ERR_IO, "disk full");
}

static pytheus_err remove_and_count(void *user, void *cell) {
    count_more("removed");
    return fail_to_remove(user, cell);
}

static void log_and_count(void *user, pytheus_err err, const char *name, const char *sentence) {
    fixture_remember(user, err, name, sentence);
    count_more("logged");
}

static pytheus_registry *registry_that_counts(table *t, size_t max_series, bool in_logger) {
    pytheus_backend backend = table_backend(t);
    backend.cell_open = in_logger ? table_open : open_and_count;
    backend.cell_remove = in_logger ? fail_to_remove : remove_and_count;
    memset(&logged, 0, sizeof logged);
    pytheus_registry *r = pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {log_and_count, NULL}});
    counts = COUNTER(r, .name = "c", .required_labels = {"a"}, .max_series = max_series);
    return r;
}

TEST(who_opens_the_last_series_gets_no_other) {
    table t;
    pytheus_registry *r = registry_that_counts(&t, 1, false);
    wants_more = true;
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(counts, "a", "1")), PYTHEUS_OK);
    CHECK_LINE(r, "c{a=\"__overflow__\"} 1");
    CHECK_LINE(r, "c{a=\"1\"} 1");
    pytheus_registry_free(r);
}

TEST(who_removes_a_series_makes_none) {
    table t;
    pytheus_registry *r = registry_that_counts(&t, 0, false);
    pytheus_counter one = pytheus_counter_labels(counts, "a", "1");
    wants_more = true;
    CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_ERR_IO);
    CHECK(!wants_more);
    CHECK_NOTHING(made_again);
    CHECK_STR(pytheus_last_error(), "disk full");
    CHECK_PAGE(r, "# TYPE c counter\n");
    pytheus_registry_free(r);
}

TEST(a_logger_may_count_in_what_was_cleared) {
    table t;
    pytheus_registry *r = registry_that_counts(&t, 0, true);
    pytheus_counter_labels(counts, "a", "1");
    pytheus_counter_labels(counts, "a", "logged");
    wants_more = true;
    CHECK_ERR(pytheus_view_clear(counts.view), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "disk full");
    CHECK_PAGE(r, "# TYPE c counter\nc{a=\"logged\"} 1\n");
    pytheus_registry_free(r);
}

#ifndef _WIN32
/* ---- a child that counts itself while another thread of the parent removes a series ---- */

static bool is_removing, may_end;

static pytheus_err remove_when_told(void *user, void *cell) {
    (void)user;
    (void)cell;
    __atomic_store_n(&is_removing, true, __ATOMIC_RELEASE);
    while (!__atomic_load_n(&may_end, __ATOMIC_ACQUIRE))
        pytheus__wait();
    return PYTHEUS_OK;
}

static void count_child(void *user) {
    (void)user;
    (void)pytheus_counter_inc(pytheus_counter_labels(counts, "a", "child"));
}

static void *remove_one(void *unused) {
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(counts, "a", "1").view), PYTHEUS_OK);
    return unused;
}

TEST(a_backend_may_count_a_child_whose_parent_removes) {
    table t;
    pthread_t thread;
    int status = -1;
    pytheus_backend backend = table_backend(&t);
    backend.cell_remove = remove_when_told;
    backend.forked = count_child;
    pytheus_registry *r = registry_on(&backend);
    counts = COUNTER(r, .name = "c", .required_labels = {"a"});
    CHECK_INT(pthread_create(&thread, NULL, remove_one, NULL), 0);
    while (!__atomic_load_n(&is_removing, __ATOMIC_ACQUIRE))
        pytheus__wait();
    pid_t child = fork();
    if (child == 0)
        _exit(fixture_value(pytheus_counter_labels(counts, "a", "child").view) >= 1 ? 0 : 1);
    for (int i = 0; i < 1000 && waitpid(child, &status, WNOHANG) != child; i++)
        (void)poll(NULL, 0, 10);
    if (status == -1)
        (void)kill(child, SIGKILL);
    CHECK_INT(status, 0);
    __atomic_store_n(&may_end, true, __ATOMIC_RELEASE);
    CHECK_INT(pthread_join(thread, NULL), 0);
    pytheus_registry_free(r);
}
#endif

/* ---- words that somebody else removes ---- */

typedef struct shared {
    PYTHEUS__ALIGNED_8 uint64_t words[64];
    PYTHEUS__ALIGNED_8 uint64_t lives[16];
    size_t num_opened, num_closed;
    size_t num_stripes, stripe_words;
} shared;

static pytheus_err shared_open(void *user, const pytheus_series_desc *desc, pytheus_words *words) {
    shared *s = user;
    size_t i = s->num_opened++;
    words->at = &s->words[4 * i];
    words->num_stripes = s->num_stripes;
    words->stripe_words = s->stripe_words;
    if (desc->num_labels) {
        words->life = &s->lives[i];
        words->life_value = s->lives[i];
    }
    return PYTHEUS_OK;
}

static void shared_close(void *user, const pytheus_words *words) {
    (void)words;
    ((shared *)user)->num_closed++;
}

static pytheus_backend shared_backend(shared *s) {
    memset(s, 0, sizeof *s);
    return (pytheus_backend){
        .name = "shared", .user = s, .words_open = shared_open, .words_close = shared_close};
}

static pytheus_err count_at_the_site(pytheus_counter c) {
    return pytheus_counter_inc(PYTHEUS_AT(counter, c, "a", "1"));
}

TEST(a_call_site_makes_again_what_somebody_else_removed) {
    shared s;
    pytheus_backend backend = shared_backend(&s);
    pytheus_registry *r = registry_on(&backend);
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"});
    CHECK_ERR(count_at_the_site(c), PYTHEUS_OK);
    s.lives[0]++;
    CHECK_ERR(count_at_the_site(c), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE c_total counter\nc_total{a=\"1\"} 1\n");
    pytheus_registry_free(r);
    CHECK_INT((int64_t)s.num_closed, (int64_t)s.num_opened);
}

TEST(what_somebody_else_removed_leaves_its_place) {
    shared s;
    pytheus_backend backend = shared_backend(&s);
    pytheus_registry *r = registry_on(&backend);
    pytheus_counter c = COUNTER(r, .name = "c_total", .required_labels = {"a"}, .max_series = 1);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "1")), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "2")), PYTHEUS_OK);
    s.lives[1]++; /* the overflow series */
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "3")), PYTHEUS_OK);
    s.lives[0]++;
    free(page(r));
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "4")), PYTHEUS_OK);
    CHECK_LINE(r, "c_total{a=\"4\"} 1");
    pytheus_registry_free(r);
}

TEST(stripes_that_overlap_are_refused) {
    shared s;
    pytheus_backend backend = shared_backend(&s);
    pytheus_registry *r = registry_on(&backend);
    s.num_stripes = 4;
    s.stripe_words = 1;
    CHECK_NOTHING(COUNTER(r, .name = "c_total"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_BACKEND);
    CHECK_INT((int64_t)s.num_opened, 1);
    CHECK_INT((int64_t)s.num_closed, 1);
    pytheus_registry_free(r);
}

/* ---- loading ---- */

static void fail_at_the_end(void *user) {
    (void)user;
    (void)pytheus_fail(PYTHEUS_ERR_IO, "could not flush at the end");
}

static pytheus_err create_noisy(const pytheus_config *config, pytheus_backend *out) {
    (void)pytheus_config_string(config, "host", "");
    out->destroy = fail_at_the_end;
    return PYTHEUS_OK;
}

static const char *const noisy_names[] = {"noisy", NULL};
static const pytheus_backend_class noisy = {noisy_names, create_noisy};
PYTHEUS_ANNOUNCE(noisy);

TEST_WITH(r, a_refused_configuration_is_told_whatever_its_end_says) {
    pytheus_set_default(r);
    CHECK_ERR(pytheus_load_backend("noisy", "{\"hots\": \"x\"}"), PYTHEUS_ERR_CONFIG);
    CHECK_STR(logged.sentence, "noisy: no key \"hots\" (nearest: \"host\")");
    CHECK_ERR(pytheus_load_backend("noisy", "{\"port\": 1}"), PYTHEUS_ERR_CONFIG);
    CHECK_INT(logged.num, 2);
    pytheus_set_default(NULL);
}

#ifndef _WIN32
static void *fork_once(void *unused) {
    pid_t child = fork();
    if (!child)
        _exit(0);
    CHECK(child > 0 && waitpid(child, NULL, 0) == child);
    return unused;
}

static pytheus_err create_beside_a_fork(const pytheus_config *config, pytheus_backend *out) {
    pthread_t thread;
    (void)config;
    (void)out;
    CHECK_INT(pthread_create(&thread, NULL, fork_once, NULL), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    return PYTHEUS_OK;
}

static const char *const forking_names[] = {"forking", NULL};
static const pytheus_backend_class forking = {forking_names, create_beside_a_fork};
PYTHEUS_ANNOUNCE(forking);

TEST(a_backend_may_wait_for_a_fork_while_it_is_created) {
    CHECK_ERR(pytheus_load_backend("forking", "{}"), PYTHEUS_OK);
    CHECK_STR(pytheus_registry_backend(NULL), "forking");
    pytheus_registry_free(pytheus_default());
}
#endif
