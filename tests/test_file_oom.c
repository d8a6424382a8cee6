/* Out of memory in the shared file: every single allocation of pytheus_file.h and of the library
 * fails, once and from then on, in everything that a program does. What fails says so, the page is
 * whole, a repetition works, nothing is left behind, and other processes notice nothing. */
#define _GNU_SOURCE
#include <stddef.h>

static void *failing_realloc(void *p, size_t size);
static void failing_free(void *p);
#define PYTHEUS_MALLOC(size) failing_realloc(NULL, size)
#define PYTHEUS_REALLOC(p, size) failing_realloc(p, size)
#define PYTHEUS_FREE(p) failing_free(p)
#define PYTHEUS_FILE_REALLOC(p, size) failing_realloc(p, size)
#define PYTHEUS_FILE_FREE(p) failing_free(p)

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "check.h"
#include "page.h"

#ifdef _WIN32
static void *failing_realloc(void *p, size_t size) {
    return realloc(p, size);
}

static void failing_free(void *p) {
    free(p);
}

TEST(file_oom) {
    SKIP("POSIX only");
}
#else

#include "fixture.h"
#include "service.h"

/* -- the allocator -- */

static struct {
    long num_calls, fail_at;
    bool for_ever;
    long num_failed, num_live;
} memory;

static void arm(long fail_at, bool for_ever) {
    memory.num_calls = memory.num_failed = 0;
    memory.fail_at = fail_at;
    memory.for_ever = for_ever;
}

/* How many failures there were. */
static long disarm(void) {
    memory.fail_at = 0;
    return memory.num_failed;
}

/* A block that is resized always moves, so that an old pointer into it is found out. */
static void *failing_realloc(void *p, size_t size) {
    size_t *fresh, *old = p ? (size_t *)p - 2 : NULL;
    memory.num_calls++;
    if (memory.fail_at && (memory.num_calls == memory.fail_at ||
                           (memory.for_ever && memory.num_calls > memory.fail_at))) {
        memory.num_failed++;
        return NULL;
    }
    fresh = (size_t *)malloc(2 * sizeof *fresh + size);
    if (!fresh)
        abort();
    *fresh = size;
    memset(fresh + 2, 0xa5, size);
    memory.num_live++;
    if (old) {
        memcpy(fresh + 2, p, *old < size ? *old : size);
        failing_free(p);
    }
    return fresh + 2;
}

static void failing_free(void *p) {
    if (p) {
        size_t *block = (size_t *)p - 2;
        memory.num_live--;
        memset(p, 0xdd, *block);
        free(block);
    }
}

/* -- scenarios -- */

typedef struct world {
    const service *service;
    pytheus_registry *registry;
    pytheus_counter counter;
    pytheus_histogram histogram;
    pytheus_gauge gauge;
    char page[400000];
} world;

/* What is done in an attempt, again after a failure; err of what failed. */
typedef struct scenario {
    const char *name;
    void (*prepare)(world *w);
    pytheus_err (*act)(world *w);
    const char *line; /* which is on the page in the end */
} scenario;

static pytheus_err remember_page(void *user, const char *bytes, size_t size) {
    world *w = (world *)user;
    size_t used = strlen(w->page);
    if (used + size >= sizeof w->page)
        return PYTHEUS_ERR_IO;
    memcpy(w->page + used, bytes, size);
    w->page[used + size] = '\0';
    return PYTHEUS_OK;
}

static pytheus_err join(world *w) {
    const pytheus_file_desc desc = {.directory = w->service->directory};
    pytheus_backend backend;
    pytheus_err err = pytheus_file_backend(&desc, &backend);
    if (err)
        return err;
    w->registry = pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {fixture_remember, NULL}});
    if (!w->registry)
        backend.destroy(backend.user);
    return w->registry ? PYTHEUS_OK : PYTHEUS_ERR_NOMEM;
}

static pytheus_err last_err(pytheus_view view) {
    return view.node ? PYTHEUS_OK : logged.err;
}

static pytheus_err define(world *w) {
    pytheus_err err;
    memset(&logged, 0, sizeof logged);
    w->counter = COUNTER(w->registry, .name = "c_total", .required_labels = {"a"}, .stripes = 2);
    err = last_err(w->counter.view);
    w->histogram = HISTOGRAM(w->registry, .name = "h", .required_labels = {"a"});
    err = err ? err : last_err(w->histogram.view);
    w->gauge = GAUGE(w->registry, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    return err ? err : last_err(w->gauge.view);
}

static void join_first(world *w) {
    CHECK_ERR(join(w), PYTHEUS_OK);
}

static void define_first(world *w) {
    join_first(w);
    CHECK_ERR(define(w), PYTHEUS_OK);
}

static const char *long_value(void) {
    static char value[3000];
    memset(value, 'v', sizeof value - 1);
    return value;
}

static pytheus_err make_series(world *w) {
    pytheus_err err;
    memset(&logged, 0, sizeof logged);
    const char *const values[] = {"1", long_value()};
    for (int i = 0; i < 2; i++) {
        pytheus_counter c = pytheus_counter_labels(w->counter, "a", values[i]);
        err = last_err(c.view);
        pytheus_histogram h = pytheus_histogram_labels(w->histogram, "a", values[i]);
        err = err ? err : last_err(h.view);
        pytheus_gauge g = pytheus_gauge_labels(w->gauge, "a", values[i]);
        err = err ? err : last_err(g.view);
        if (err)
            return err;
        pytheus_gauge_set(g, 4);
    }
    return PYTHEUS_OK;
}

static pytheus_err write_page(world *w) {
    const pytheus_sink sink = {remember_page, w};
    *w->page = '\0';
    return pytheus_write(w->registry, PYTHEUS_OPENMETRICS, &sink);
}

static pytheus_err remove_series(world *w) {
    pytheus_counter c = pytheus_counter_labels(w->counter, "a", "1");
    pytheus_err err = last_err(c.view);
    err = err ? err : pytheus_view_remove(c.view);
    err = err ? err : pytheus_view_clear(w->gauge.view);
    return err == PYTHEUS_ERR_REMOVED ? PYTHEUS_OK : err;
}

static void make_first(world *w) {
    define_first(w);
    CHECK_ERR(make_series(w), PYTHEUS_OK);
}

static pytheus_err dump(world *w) {
    const pytheus_sink sink = {remember_page, w};
    *w->page = '\0';
    return pytheus_file_dump(service_path(w->service, "pytheus.data"), PYTHEUS_TEXT, &sink);
}

static pytheus_err everything(world *w) {
    pytheus_err err = w->registry ? PYTHEUS_OK : join(w);
    err = err ? err : define(w);
    err = err ? err : make_series(w);
    return err ? err : write_page(w);
}

static const scenario scenarios[] = {
    {"join", NULL, join, "others_total{a=\"1\"} 3"},
    {"define", join_first, define, "others_total{a=\"1\"} 3"},
    {"series", define_first, make_series, "c_total{a=\"1\"} 0"},
    {"page", join_first, write_page, "others_total{a=\"1\"} 3"},
    {"remove", make_first, remove_series, "others_total{a=\"1\"} 3"},
    {"dump", make_first, dump, "g{a=\"1\"} 11"},
    {"everything", NULL, everything, "g{a=\"1\"} 11"},
};

static bool be_another(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_counter c = COUNTER(r, .name = "others_total", .required_labels = {"a"});
    pytheus_counter_add(pytheus_counter_labels(c, "a", "1"), 3);
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 7);
    for (int i = 0; i < 150; i++) { /* more than a new index has room for */
        char text[20];
        snprintf(text, sizeof text, "x%d", i);
        pytheus_counter_labels(c, "a", text);
        if (i % 3 == 0)
            pytheus_gauge_labels(g, "a", text);
    }
    return true;
}

/* Whether a failure could be injected. */
static bool attempt(const scenario *sc, const service *s, long fail_at, bool for_ever) {
    static world w;
    pytheus_err err;
    memset(&w, 0, sizeof w);
    w.service = s;
    service_member other = service_begin_member(s, be_another, NULL);
    if (sc->prepare)
        sc->prepare(&w);
    arm(fail_at, for_ever);
    err = sc->act(&w);
    long num_failed = disarm();
    CHECK(num_failed > 0 || err == PYTHEUS_OK);
    if (err) {
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        if (w.registry)
            free(page(w.registry)); /* by the strict reader */
        CHECK_ERR(sc->act(&w), PYTHEUS_OK);
    }
    CHECK_LINE(w.registry, sc->line);
    CHECK_NO_LINE(w.registry, "pytheus_file_unshared_series 1");
    service_end_member(other);
    pytheus_registry_free(w.registry);
    CHECK_INT(memory.num_live, 0);
    memory.num_live = 0;
    return num_failed > 0;
}

TEST_SERVICE(s, without_memory_everything_says_so) {
    for (size_t i = 0; i < COUNT_OF(scenarios); i++)
        for (int for_ever = 0; for_ever < 2; for_ever++) {
            long fail_at = 1;
            while (attempt(&scenarios[i], s, fail_at, for_ever) && check_num_failed < 20)
                fail_at++;
            printf("%s: %ld allocations\n", scenarios[i].name, fail_at - 1);
        }
}

#endif
