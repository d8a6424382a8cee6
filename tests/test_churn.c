/* Series come and go by the million through a window of 1,000 live ones: neither the process nor
 * what it takes from the allocator grows. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "backends.h"

#ifndef _WIN32
#include <unistd.h>
#endif

enum { WINDOW = 1000, WARM_UP = 100000 };

static long num_series(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1") ? 10000000 : 500000;
}

/* -- an allocator that knows how much it has given -- */

typedef struct usage {
    long bytes, most_bytes, blocks;
} usage;

static void *counting(void *user, void *p, size_t old_size, size_t size) {
    usage *u = user;
    void *fresh = NULL;
    if (!size) {
        free(p);
    } else {
        fresh = realloc(p, size);
        if (!fresh)
            return NULL;
    }
    u->bytes += (long)size - (long)old_size;
    u->blocks += !p - !size;
    u->most_bytes = u->bytes > u->most_bytes ? u->bytes : u->most_bytes;
    return fresh;
}

static pytheus_registry *counted_registry(usage *u) {
    memset(u, 0, sizeof *u);
    return backends_registry(&(pytheus_registry_desc){.allocator = {counting, u}});
}

/* -- the size of the process, as the system sees it -- */

/* 0 where it can't be told, or would tell of a sanitizer's own memory. */
static long resident_bytes(void) {
    long pages = 0;
#if defined(__linux__) && !IS_SANITIZED
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file)
        return 0;
    if (fscanf(file, "%*s %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    pages *= sysconf(_SC_PAGESIZE);
#endif
    return pages;
}

/* What was most in the warm-up, and after it. */
typedef struct peaks {
    long early, late;
} peaks;

static void see(peaks *p, bool early, long now) {
    long *most = early ? &p->early : &p->late;
    *most = now > *most ? now : *most;
}

/* -- churn -- */

typedef struct churn {
    pytheus_view metric;
    pytheus_view (*make)(pytheus_view metric, long i);
    pytheus_view window[WINDOW];
    usage used;
    peaks resident, taken;
    long num_refused, num_dirty;
} churn;

/* Every series starts at 0, whatever was in its place before. */
static void turn(churn *c, long i) {
    pytheus_view *place = &c->window[i % WINDOW];
    double value = -1;
    if (i >= WINDOW && pytheus_view_remove(*place))
        c->num_refused++;
    *place = c->make(c->metric, i);
    if (pytheus_view_get(*place, &value))
        c->num_refused++;
    if (value != 0)
        c->num_dirty++;
    (void)pytheus_counter_add((pytheus_counter){*place}, (double)i);
    (void)pytheus_histogram_observe((pytheus_histogram){*place}, (double)i);
}

static void run(churn *c, long num) {
    for (long i = 0; i < num; i++) {
        turn(c, i);
        if (i % 1000 == 999) {
            see(&c->resident, i < WARM_UP, resident_bytes());
            see(&c->taken, i < WARM_UP, c->used.bytes);
        }
    }
}

static void check_flat(const churn *c) {
    CHECK_INT(c->num_refused, 0);
    CHECK_INT(c->num_dirty, 0);
    CHECK(c->taken.early > 0);
    CHECK_INT(c->taken.late, c->taken.early);
    if (!check_that(c->resident.late <= c->resident.early + (1 << 20), __FILE__, __LINE__,
                    "resident memory rose from %ld to %ld", c->resident.early, c->resident.late))
        return;
}

static void check_window(const churn *c, pytheus_registry *registry) {
    char *text = page(registry);
    long num_lines = 0;
    for (const char *at = text; (at = strstr(at, "\nchurned{")); at++)
        num_lines++;
    CHECK_INT(num_lines, WINDOW);
    free(text);
    CHECK_ERR(pytheus_view_clear(c->metric), PYTHEUS_OK);
}

static pytheus_view make_counter(pytheus_view metric, long i) {
    char id[40];
    snprintf(id, sizeof id, "%ld", i);
    return pytheus_counter_labels((pytheus_counter){metric}, "method", "GET", "id", id).view;
}

static pytheus_desc churned(pytheus_registry *registry) {
    return (pytheus_desc){.name = "churned",
                          .required_labels = {"method", "id"},
                          .max_series = 2 * WINDOW,
                          .registry = registry};
}

TEST(counters_come_and_go_in_constant_memory) {
    static churn c;
    pytheus_registry *registry = counted_registry(&c.used);
    pytheus_desc desc = churned(registry);
    c.metric = pytheus_counter_new(&desc).view;
    c.make = make_counter;
    run(&c, num_series());
    check_flat(&c);
    check_window(&c, registry);
    pytheus_registry_free(registry);
    CHECK_INT(c.used.bytes, 0);
    CHECK_INT(c.used.blocks, 0);
}

/* Values of 1 to 300 bytes: what a short one leaves does not fit a long one. */
static pytheus_view make_histogram(pytheus_view metric, long i) {
    char id[320], method[2] = {(char)('a' + i % 26), 0};
    uint64_t random = (uint64_t)i;
    int size = (int)(check_random(&random) % 280);
    snprintf(id, sizeof id, "%0*ld", size, i);
    return pytheus_histogram_labels((pytheus_histogram){metric}, "id", id, "method", method).view;
}

/* How many of each size are alive at once varies, so the peak may still rise a little: each size
   has had its worst moment only after a while. */
TEST(histograms_of_all_label_sizes_come_and_go_in_bounded_memory) {
    static churn c;
    pytheus_registry *registry = counted_registry(&c.used);
    pytheus_desc desc = churned(registry);
    c.metric = pytheus_histogram_new(&desc).view;
    c.make = make_histogram;
    run(&c, num_series() / 2);
    CHECK_INT(c.num_refused, 0);
    CHECK_INT(c.num_dirty, 0);
    check_that(c.taken.late <= c.taken.early + c.taken.early / 8, __FILE__, __LINE__,
               "memory rose from %ld to %ld bytes", c.taken.early, c.taken.late);
    pytheus_registry_free(registry);
    CHECK_INT(c.used.bytes, 0);
}

/* A tenant's partial view, its series, and all of it gone with one call. */
TEST(partial_views_come_and_go_in_constant_memory) {
    usage used;
    peaks taken = {0, 0};
    pytheus_registry *registry = counted_registry(&used);
    pytheus_desc desc = {
        .name = "tenants", .required_labels = {"tenant", "kind"}, .registry = registry};
    pytheus_gauge gauge = pytheus_gauge_new(&desc), tenant;
    long num = num_series() / 10, num_bad = 0;
    for (long i = 0; i < num; i++) {
        char id[40];
        snprintf(id, sizeof id, "tenant-%ld", i);
        tenant = pytheus_gauge_labels(gauge, "tenant", id);
        num_bad += pytheus_gauge_set(pytheus_gauge_labels(tenant, "kind", "a"), 1) != PYTHEUS_OK;
        num_bad += pytheus_gauge_inc(pytheus_gauge_labels(tenant, "kind", "b")) != PYTHEUS_OK;
        num_bad += pytheus_view_remove(tenant.view) != PYTHEUS_OK;
        see(&taken, i < num / 10, used.bytes);
    }
    CHECK_INT(num_bad, 0);
    CHECK_INT(taken.late, taken.early);
    CHECK_PAGE(registry, "# TYPE tenants gauge\n");
    pytheus_registry_free(registry);
    CHECK_INT(used.bytes, 0);
}

TEST(clearing_and_filling_again_takes_constant_memory) {
    usage used;
    peaks taken = {0, 0};
    pytheus_registry *registry = counted_registry(&used);
    pytheus_desc desc = churned(registry);
    pytheus_view metric = pytheus_counter_new(&desc).view;
    long num = num_series() / WINDOW, num_bad = 0;
    for (long round = 0; round < num; round++) {
        for (long i = 0; i < WINDOW; i++)
            num_bad += !make_counter(metric, round * WINDOW + i).node;
        num_bad += pytheus_view_clear(metric) != PYTHEUS_OK;
        see(&taken, round < num / 5, used.bytes);
    }
    CHECK_INT(num_bad, 0);
    CHECK_INT(taken.late, taken.early);
    pytheus_registry_free(registry);
    CHECK_INT(used.bytes, 0);
}

/* Scraping and asking again for what is there take nothing that stays. */
TEST(lookups_and_scrapes_keep_nothing) {
    usage used;
    pytheus_registry *registry = counted_registry(&used);
    pytheus_desc desc = churned(registry);
    pytheus_view metric = pytheus_counter_new(&desc).view, first = make_counter(metric, 1);
    char *text = page(registry);
    long bytes = used.bytes;
    for (int i = 0; i < 1000; i++) {
        CHECK(pytheus_view_equal(make_counter(metric, 1), first));
        pytheus_free(pytheus_generate(registry, PYTHEUS_TEXT, NULL));
    }
    CHECK_INT(used.bytes, bytes);
    free(text);
    pytheus_registry_free(registry);
}

static void live_once(void) {
    pytheus_registry *registry = backends_registry(NULL);
    pytheus_desc desc = churned(registry);
    pytheus_view metric = pytheus_counter_new(&desc).view;
    for (long i = 0; i < 20; i++)
        (void)pytheus_counter_inc((pytheus_counter){make_counter(metric, i)});
    pytheus_free(pytheus_generate(registry, PYTHEUS_TEXT, NULL));
    pytheus_registry_free(registry);
}

TEST(registries_come_and_go_in_constant_memory) {
    peaks resident = {0, 0};
    long num = num_series() / 100;
    for (long i = 0; i < num; i++) {
        live_once();
        if (i % 100 == 99)
            see(&resident, i < num / 5, resident_bytes());
    }
    CHECK(resident.late <= resident.early + (1 << 20));
}
