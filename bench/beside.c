/* What the program feels while another thread scrapes, or makes series. */
#include "bench.h"

typedef struct subjects {
    bench_family scraped; /* 100,000 series, on the page that the other thread writes */
    pytheus_counter counter;
    harness_labels labels; /* 1,000 of the scraped ones */
    uint64_t num_new;
    double longest;
} subjects;

static void inc_counter(void *user, unsigned thread, size_t num_ops) {
    const subjects *s = (const subjects *)user;
    pytheus_counter counter = s->counter;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        pytheus_counter_inc(counter);
}

static void inc_by_labels(void *user, unsigned thread, size_t num_ops) {
    const subjects *s = (const subjects *)user;
    pytheus_counter metric = bench_counter(s->scraped.metric);
    HARNESS_FOR_PICKS(&s->labels, thread, i, num_ops) {
        pytheus_counter_inc(pytheus_counter_labels(metric, "method", harness_method(&s->labels, i),
                                                   "path", s->labels.paths[i]));
    }
}

static void scrape(void *user) {
    bench_write_pages(user, 0, 1);
}

static void make_and_free(void *unused) {
    bench_family family = bench_family_new(PYTHEUS_COUNTER, 100000);
    (void)unused;
    for (size_t i = 0; i < family.labels.num; i++)
        harness_keep(bench_labels_of(&family, i).generation);
    bench_family_free(&family);
}

/* The floor is the same loop on the same CPU, while the other CPU is left alone. */
static void compare(const char *name, harness_loop *loop, subjects *s, void (*beside)(void *user)) {
    size_t num_ops = loop == inc_by_labels ? 100000 : 2000000; /* longer than a scrape */
    harness_side sides[2] = {
        {OURS,
         {.loop = loop,
          .user = s,
          .num_ops = num_ops,
          .beside = beside,
          .beside_user = &s->scraped}},
        {FLOOR, {.loop = loop, .user = s, .num_ops = num_ops, .pinned = true}}};
    harness_compare(name, sides, 2);
}

/* The longest that a labels() call took in 50 ms, without what it waited for a CPU. Each 16th makes
   a new series, which takes the lock that a scrape holds now and then. */
static void longest_call(void *user, unsigned thread, size_t num_ops) {
    subjects *s = (subjects *)user;
    pytheus_counter metric = bench_counter(s->scraped.metric);
    double start = harness_now(), waited = harness_waited(), longest = 0, now = start;
    char fresh[32];
    (void)thread;
    (void)num_ops;
    for (unsigned i = 0; now - start < 5e7; i++) {
        const char *path = s->labels.paths[i % s->labels.num];
        double began, ns;
        if (i % 16 == 0) {
            snprintf(fresh, sizeof fresh, "/new/%llu", (unsigned long long)s->num_new++);
            path = fresh;
        }
        began = harness_now();
        pytheus_counter_inc(pytheus_counter_labels(metric, "method", "GET", "path", path));
        now = harness_now();
        ns = now - began;
        if (ns > 5e4) {
            double waited_now = harness_waited();
            ns -= waited_now - waited;
            waited = waited_now;
        }
        longest = ns > longest ? ns : longest;
    }
    s->longest = longest / 1000;
}

static void print_longest_call(subjects *s) {
    harness_measure measure = {
        .loop = longest_call, .user = s, .beside = scrape, .beside_user = &s->scraped};
    bool disturbed = true;
    harness_pin(0);
    for (int attempt = 0; disturbed && attempt < 10; attempt++)
        disturbed = isnan(harness_time(&measure, 1));
    harness_unpin();
    harness_print("longest-call-beside-scrape", OURS, disturbed ? NAN : s->longest);
}

void bench_beside(void) {
    subjects s;
    memset(&s, 0, sizeof s);
    s.scraped = bench_family_new(PYTHEUS_COUNTER, 100000);
    bench_make_series(&s.scraped);
    bench_change_values(&s.scraped);
    s.counter = bench_counter(s.scraped.series[500]);
    s.labels = harness_labels_new(1000);
    compare("inc-beside-scrape", inc_counter, &s, scrape);
    compare("labels-beside-scrape", inc_by_labels, &s, scrape);
    compare("inc-beside-making", inc_counter, &s, make_and_free);
    print_longest_call(&s);
    harness_labels_free(&s.labels);
    bench_family_free(&s.scraped);
}
