/* Collectors, functions and metrics of several registries that come and go while other threads
   write pages. Says more under ThreadSanitizer; a deadlock ends the program by its alarm. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

#include <pthread.h>
#ifndef _WIN32
#include <unistd.h>
#endif

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define ADD(p, v) __atomic_add_fetch(p, v, __ATOMIC_ACQ_REL)

enum {
#ifdef UNDER_TSAN
    ROUNDS = 2000,
#else
    ROUNDS = 5000,
#endif
    NUM_THREADS = 4,
    SECONDS = 120
};

static void ignore_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

static pytheus_registry *quiet_registry(const char *prefix) {
#ifndef _WIN32
    alarm(SECONDS);
#endif
    return pytheus_registry_new(
        &(pytheus_registry_desc){.prefix = prefix, .logger = {ignore_log, NULL}});
}

/* Read by the strict reader, but not kept for others: there are thousands. */
static void check_scrape(pytheus_registry *r) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    size_t size = 0;
    char *text = pytheus_generate(r, PYTHEUS_TEXT, &size);
    if (!check_that(text != NULL, __FILE__, __LINE__, "no page: %s", pytheus_last_error()))
        return;
    if (check_that(reader_parse(text, size, &doc, error), __FILE__, __LINE__, "%s", error))
        reader_free(&doc);
    pytheus_free(text);
}

/* ---- threads that work side by side ---- */

typedef struct worker {
    void (*work)(void *shared, int thread);
    void *shared;
    int thread;
    pthread_barrier_t *barrier; /* NULL: it starts at once */
    pthread_t id;
} worker;

static void *run_worker(void *argument) {
    worker *w = argument;
    if (w->barrier)
        pthread_barrier_wait(w->barrier);
    w->work(w->shared, w->thread);
    return NULL;
}

static void start(worker *w, int thread, pthread_barrier_t *barrier,
                  void (*work)(void *shared, int thread), void *shared) {
    w->work = work;
    w->shared = shared;
    w->thread = thread;
    w->barrier = barrier;
    if (pthread_create(&w->id, NULL, run_worker, w))
        abort();
}

static void in_threads(int num, void (*work)(void *shared, int thread), void *shared) {
    worker workers[NUM_THREADS];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, (unsigned)num);
    for (int i = 0; i < num; i++)
        start(&workers[i], i, &barrier, work, shared);
    for (int i = 0; i < num; i++)
        pthread_join(workers[i].id, NULL);
    pthread_barrier_destroy(&barrier);
}

/* ---- collectors ---- */

/* Whose destroy() finds out whether anybody is inside, and poisons it. */
typedef struct watched {
    pytheus_registry *registry;
    char name[32];
    int num_inside, num_destroyed, num_runs;
} watched;

static pytheus_err emit_watched(void *user, pytheus_emitter *out) {
    static const char *const digits[] = {"0", "1", "2", "3", "4"};
    watched *w = user;
    pytheus_family family = {.type = PYTHEUS_GAUGE, .name = w->name};
    CHECK_INT(LOAD(&w->num_destroyed), 0);
    ADD(&w->num_inside, 1);
    ADD(&w->num_runs, 1);
    pytheus_err err = pytheus_emit_family(out, &family);
    for (int i = 0; !err && i < 5; i++)
        err = pytheus_emit_sample(out, &(pytheus_sample){.pairs = (const char *[]){"i", digits[i]},
                                                         .num_strings = 2,
                                                         .value = i});
    CHECK_INT(LOAD(&w->num_destroyed), 0);
    ADD(&w->num_inside, -1);
    return err;
}

static void destroy_watched(void *user) {
    watched *w = user;
    CHECK_INT(LOAD(&w->num_inside), 0);
    ADD(&w->num_destroyed, 1);
}

static pytheus_err add_watched(watched *w) {
    return pytheus_registry_add_collector(
        w->registry,
        &(pytheus_collector){
            .name = w->name, .collect = emit_watched, .destroy = destroy_watched, .user = w});
}

/* Even threads add and remove, odd ones scrape. */
static void come_and_go(void *shared, int thread) {
    watched *all = shared;
    for (int i = 0; i < ROUNDS; i++) {
        if (thread % 2) {
            check_scrape(all->registry);
            continue;
        }
        watched *w = &all[1 + thread / 2 * ROUNDS + i];
        snprintf(w->name, sizeof w->name, "c_%d_%d", thread, i % 3);
        w->registry = all->registry;
        CHECK_ERR(add_watched(w), PYTHEUS_OK);
        CHECK_ERR(pytheus_registry_remove_collector(all->registry, w->name), PYTHEUS_OK);
    }
}

TEST(collectors_come_and_go_during_scrapes) {
    watched *all = calloc(1 + NUM_THREADS / 2 * ROUNDS, sizeof *all);
    if (!all)
        abort();
    all->registry = quiet_registry(NULL);
    snprintf(all->name, sizeof all->name, "stays");
    CHECK_ERR(add_watched(all), PYTHEUS_OK);
    in_threads(NUM_THREADS, come_and_go, all);
    CHECK_INT(LOAD(&all->num_destroyed), 0);
    for (int i = 1; i <= NUM_THREADS / 2 * ROUNDS; i++)
        CHECK_INT(LOAD(&all[i].num_destroyed), 1);
    CHECK_LINE(all->registry, "stays{i=\"4\"} 4");
    pytheus_registry_free(all->registry);
    CHECK_INT(all->num_destroyed, 1);
    free(all);
}

/* One that stays inside until it is told to leave. */
typedef struct slow {
    pytheus_registry *registry;
    int inside, may_leave, num_destroyed, is_added;
} slow;

static pytheus_err emit_slowly(void *user, pytheus_emitter *out) {
    slow *s = user;
    if (LOAD(&s->is_added)) {
        ADD(&s->inside, 1);
        while (!LOAD(&s->may_leave))
            sched_yield();
        CHECK_INT(LOAD(&s->num_destroyed), 0);
    }
    CHECK_ERR(pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = "slow"}),
              PYTHEUS_OK);
    return pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
}

static void destroy_slow(void *user) {
    ADD(&((slow *)user)->num_destroyed, 1);
}

static void scrape_once(void *shared, int thread) {
    (void)thread;
    check_scrape(((slow *)shared)->registry);
}

/* While somebody is inside, everything else in the registry goes on. */
TEST(a_collector_removed_while_others_are_inside_is_destroyed_after_the_last) {
    slow s = {quiet_registry(NULL), 0, 0, 0, 0};
    worker scrapers[2];
    CHECK_ERR(pytheus_registry_add_collector(
                  s.registry,
                  &(pytheus_collector){
                      .name = "slow", .collect = emit_slowly, .destroy = destroy_slow, .user = &s}),
              PYTHEUS_OK);
    STORE(&s.is_added, 1);
    for (int i = 0; i < 2; i++)
        start(&scrapers[i], i, NULL, scrape_once, &s);
    while (LOAD(&s.inside) < 2)
        sched_yield();
    CHECK_ERR(pytheus_registry_remove_collector(s.registry, "slow"), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(s.registry, "slow"), PYTHEUS_ERR_NOTHING);
    CHECK_ERR(pytheus_gauge_inc(GAUGE(s.registry, .name = "meanwhile")), PYTHEUS_OK);
    CHECK_PAGE(s.registry, "# TYPE meanwhile gauge\nmeanwhile 1\n");
    CHECK_INT(LOAD(&s.num_destroyed), 0);
    STORE(&s.may_leave, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(scrapers[i].id, NULL);
    CHECK_INT(LOAD(&s.num_destroyed), 1);
    pytheus_registry_free(s.registry);
    CHECK_INT(LOAD(&s.num_destroyed), 1);
}

static void scrape_often(void *shared, int thread) {
    (void)thread;
    for (int i = 0; i < ROUNDS; i++)
        check_scrape(shared);
}

TEST(a_collector_is_called_from_several_scrapes_at_once) {
    pytheus_registry *r = quiet_registry("app");
    watched w = {.registry = r, .name = "watched"};
    CHECK_ERR(add_watched(&w), PYTHEUS_OK);
    in_threads(NUM_THREADS, scrape_often, r);
    CHECK_INT(w.num_runs, 1 + NUM_THREADS * ROUNDS);
    CHECK_LINE(r, "app_watched{i=\"0\"} 0");
    pytheus_registry_free(r);
}

/* Two collectors each of which scrapes the registry of the other, and defines metrics there. */
typedef struct crossed {
    pytheus_registry *own, *other;
} crossed;

static __thread int depth;

static pytheus_err scrape_across(void *user, pytheus_emitter *out) {
    const crossed *c = user;
    pytheus_counter visits = COUNTER(c->other, .name = "visits_total", .required_labels = {"v"});
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(visits, "v", depth ? "deep" : "flat")),
              PYTHEUS_OK);
    if (depth++ < 2)
        check_scrape(c->other);
    depth--;
    CHECK_ERR(pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = "across"}),
              PYTHEUS_OK);
    return pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
}

static void scrape_one_of_two(void *shared, int thread) {
    const crossed *both = shared;
    for (int i = 0; i < ROUNDS / 10; i++)
        check_scrape(both[thread % 2].own);
}

TEST(collectors_that_scrape_each_other_do_not_wait_for_each_other) {
    pytheus_registry *a = quiet_registry("a"), *b = quiet_registry("b");
    crossed both[2] = {{a, b}, {b, a}};
    for (int i = 0; i < 2; i++)
        CHECK_ERR(
            pytheus_registry_add_collector(
                both[i].own,
                &(pytheus_collector){.name = "across", .collect = scrape_across, .user = &both[i]}),
            PYTHEUS_OK);
    in_threads(NUM_THREADS, scrape_one_of_two, both);
    CHECK_LINE(a, "a_across 1");
    CHECK_LINE(b, "b_across 1");
    pytheus_registry_free(a);
    pytheus_registry_free(b);
}

/* Emits one metric whose series others make and remove, and one that it changes itself. */
typedef struct changing {
    pytheus_registry *registry;
    pytheus_gauge emitted, registered;
} changing;

static pytheus_err emit_changing(void *user, pytheus_emitter *out) {
    const changing *c = user;
    CHECK_ERR(pytheus_gauge_inc(pytheus_gauge_labels(c->registered, "a", "collector")), PYTHEUS_OK);
    return pytheus_emit_metric(out, c->emitted.view);
}

static void change_series(void *shared, int thread) {
    changing *c = shared;
    char name[16];
    for (int i = 0; i < ROUNDS; i++) {
        if (thread % 2) {
            check_scrape(c->registry);
            continue;
        }
        snprintf(name, sizeof name, "%d", i % 20);
        pytheus_gauge g = pytheus_gauge_labels(thread ? c->emitted : c->registered, "a", name);
        (void)pytheus_gauge_set(g, i);
        if (i % 3 == 0)
            (void)pytheus_view_remove(g.view);
    }
}

TEST(an_emitted_metric_changes_while_it_is_emitted) {
    changing c = {.registry = quiet_registry(NULL)};
    c.emitted =
        GAUGE(c.registry, .name = "emitted", .required_labels = {"a"}, .unregistered = true);
    c.registered = GAUGE(c.registry, .name = "registered", .required_labels = {"a"});
    CHECK_ERR(pytheus_registry_add_collector(
                  c.registry,
                  &(pytheus_collector){.name = "changing", .collect = emit_changing, .user = &c}),
              PYTHEUS_OK);
    in_threads(NUM_THREADS, change_series, &c);
    free(page(c.registry));
    pytheus_registry_free(c.registry);
}

/* Names that are a metric's now and a collector's then. */
static void fight_for_a_name(void *shared, int thread) {
    watched *w = shared;
    for (int i = 0; i < ROUNDS; i++) {
        if (thread == 0) {
            pytheus_counter c = COUNTER(w->registry, .name = "wanted");
            if (c.view.node)
                CHECK_ERR(pytheus_registry_remove(w->registry, c.view), PYTHEUS_OK);
        } else if (thread == 1) {
            pytheus_err err = add_watched(w);
            CHECK(err == PYTHEUS_OK || err == PYTHEUS_ERR_DUPLICATE);
            if (!err)
                CHECK_ERR(pytheus_registry_remove_collector(w->registry, w->name), PYTHEUS_OK);
            while (!err && LOAD(&w->num_destroyed) == 0)
                sched_yield();
            STORE(&w->num_destroyed, 0);
        } else {
            check_scrape(w->registry);
        }
    }
}

TEST(a_name_is_on_the_page_once_whoever_has_it) {
    watched w = {.registry = quiet_registry(NULL), .name = "wanted"};
    in_threads(NUM_THREADS, fight_for_a_name, &w);
    check_scrape(w.registry);
    pytheus_registry_free(w.registry);
}

/* ---- functions ---- */

static double tell(void *user) {
    return LOAD((int *)user);
}

static void set_functions(void *shared, int thread) {
    changing *c = shared;
    static int told = 7;
    char name[16];
    for (int i = 0; i < ROUNDS; i++) {
        double value = 0;
        snprintf(name, sizeof name, "%d", i % 10);
        pytheus_gauge g = pytheus_gauge_labels(c->registered, "a", name);
        if (thread == 0)
            (void)pytheus_gauge_set_function(g, i % 2 ? tell : NULL, &told);
        else if (thread == 1)
            (void)pytheus_view_remove(g.view);
        else if (thread == 2)
            check_scrape(c->registry);
        else if (pytheus_view_get(g.view, &value) == PYTHEUS_OK)
            CHECK(value == 0 || value == 7);
    }
}

TEST(functions_come_and_go_during_scrapes) {
    changing c = {.registry = quiet_registry(NULL)};
    c.registered = GAUGE(c.registry, .name = "registered", .required_labels = {"a"});
    in_threads(NUM_THREADS, set_functions, &c);
    free(page(c.registry));
    pytheus_registry_free(c.registry);
}

/* ---- metrics in several registries ---- */

typedef struct guests {
    pytheus_registry *home, *other;
    pytheus_histogram guest;
} guests;

static void invite(void *shared, int thread) {
    guests *g = shared;
    for (int i = 0; i < ROUNDS; i++) {
        pytheus_err err = PYTHEUS_OK;
        if (thread == 0)
            err = pytheus_registry_add(g->other, g->guest.view);
        else if (thread == 1)
            err = pytheus_registry_remove(g->other, g->guest.view);
        else if (thread == 2)
            check_scrape(g->other);
        else
            (void)pytheus_histogram_observe(pytheus_histogram_labels(g->guest, "a", "1"), i);
        CHECK(err == PYTHEUS_OK || (thread == 1 && err == PYTHEUS_ERR_NOTHING));
    }
}

TEST(metrics_are_added_and_removed_during_scrapes) {
    guests g = {quiet_registry("home"), quiet_registry("other"), {{0}}};
    g.guest = HISTOGRAM(g.home, .name = "guest", .required_labels = {"a"});
    in_threads(NUM_THREADS, invite, &g);
    CHECK_ERR(pytheus_registry_add(g.other, g.guest.view), PYTHEUS_OK);
    CHECK_LABELLED(g.other, "other_guest_count", ROUNDS, "a", "1");
    free(page(g.other));
    pytheus_registry_free(g.other);
    pytheus_registry_free(g.home);
}

/* Registries are made and freed while the guests of others are taken off their pages. */
static void make_and_free(void *shared, int thread) {
    pytheus_registry *other = shared;
    char name[32];
    for (int i = 0; i < ROUNDS; i++) {
        pytheus_registry *home = pytheus_registry_new(
            &(pytheus_registry_desc){.prefix = "home", .logger = {ignore_log, NULL}});
        snprintf(name, sizeof name, "guest_%d", thread);
        pytheus_gauge g = GAUGE(home, .name = name);
        CHECK_ERR(pytheus_registry_add(other, g.view), PYTHEUS_OK);
        CHECK_SAMPLE(home, thread ? "home_guest_1" : "home_guest_0", 0);
        pytheus_registry_free(home);
    }
}

TEST(homes_are_freed_side_by_side) {
    pytheus_registry *other = quiet_registry(NULL);
    in_threads(2, make_and_free, other);
    CHECK_PAGE(other, "");
    pytheus_registry_free(other);
}
