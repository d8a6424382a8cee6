/* Cells that spread over threads, and the other things that make operations fast: labels in words,
   buckets compared two at a time, lines copied in blocks. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "crew.h"
#include "page.h"
#include "fixture.h"

#include <float.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>
#ifdef __linux__
#include <signal.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#endif

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* So many times, or as many as the kind of run has time for. */
static int rounds(int n) {
    n = is_long() ? n * 5 : n;
    return IS_SANITIZED ? n / 10 : n;
}

static void ignore_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user, (void)err, (void)metric, (void)sentence;
}

/* Registries are as on a machine of four processors, whatever this one has. */
static pytheus_registry *registry_on(size_t num_processors) {
    pytheus_registry *r =
        pytheus_registry_new(&(pytheus_registry_desc){.logger = {ignore_log, NULL}});
    if (!r)
        abort();
    r->num_processors = num_processors;
    return r;
}

/* The stripe that this thread uses from now on. */
static void be_thread(uint32_t number) {
    pytheus__thread = number + 1;
}

/* -- the series that these tests are about -- */

typedef struct sort {
    const char *name;
    pytheus_type type;
    size_t num_bounds;
    bool reusable; /* made after a removal in the family */
} sort;

static const sort sorts[] = {
    {"counted", PYTHEUS_COUNTER, 0, false},
    {"counted_again", PYTHEUS_COUNTER, 0, true},
    {"observed", PYTHEUS_HISTOGRAM, 11, false},
    {"observed_again", PYTHEUS_HISTOGRAM, 11, true},
    {"finely_observed", PYTHEUS_HISTOGRAM, 50, false},
    {"finely_observed_again", PYTHEUS_HISTOGRAM, 50, true},
    {"summed", PYTHEUS_SUMMARY, 0, false},
    {"summed_again", PYTHEUS_SUMMARY, 0, true},
};
enum { NUM_SORTS = COUNT_OF(sorts) };

static pytheus_view labelled(pytheus_view base, const char *const *pairs, size_t num_strings) {
    switch (pytheus__type_of(base)) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_view((pytheus_counter){base}, pairs, num_strings).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_view((pytheus_gauge){base}, pairs, num_strings).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_view((pytheus_histogram){base}, pairs, num_strings).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_view((pytheus_summary){base}, pairs, num_strings).view;
    default:
        break;
    }
    return base;
}

static pytheus_view with_id(pytheus_view metric, const char *id) {
    return labelled(metric, PAIRS("id", id));
}

/* Every quarter up to 12.5. */
static const double *fine_bounds(void) {
    static double bounds[50];
    for (int i = 0; i < 50; i++)
        bounds[i] = (i + 1) * 0.25;
    return bounds;
}

static pytheus_view metric_of(pytheus_registry *r, const sort *s, unsigned stripes) {
    pytheus_desc desc = {.name = s->name,
                         .required_labels = {"id"},
                         .buckets = s->num_bounds == 50 ? fine_bounds() : NULL,
                         .num_buckets = s->num_bounds == 50 ? 50 : 0,
                         .max_series = 1000000,
                         .stripes = stripes,
                         .registry = r};
    pytheus_view metric = fixture_new(s->type, &desc);
    CHECK(metric.node != NULL);
    if (s->reusable)
        CHECK_ERR(pytheus_view_remove(with_id(metric, "the first removal")), PYTHEUS_OK);
    return metric;
}

static pytheus_err hit(pytheus_view view, double v) {
    switch (pytheus__type_of(view)) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_add((pytheus_counter){view}, v);
    case PYTHEUS_GAUGE:
        return pytheus_gauge_add((pytheus_gauge){view}, v);
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_observe((pytheus_histogram){view}, v);
    case PYTHEUS_SUMMARY:
        return pytheus_summary_observe((pytheus_summary){view}, v);
    default:
        break;
    }
    return PYTHEUS_ERR_TYPE;
}

static bool is_spread(pytheus_view view) {
    return PYTHEUS__LOAD_ACQUIRE(&view.node->stripes) != NULL;
}

/* As if threads had met there, again and again. */
static void contend(pytheus_view view) {
    for (int i = 0; i < 2 * PYTHEUS__CONTENDED; i++)
        pytheus__meet(view);
}

/* A new series that is spread. */
static pytheus_view spread_series(pytheus_view metric, const char *id) {
    pytheus_view view = with_id(metric, id);
    if (!is_spread(view))
        contend(view);
    CHECK(is_spread(view));
    CHECK(view.node->stripes->generation == view.generation);
    return view;
}

static bool is_counted(pytheus_view view) {
    return pytheus__type_of(view) >= PYTHEUS_HISTOGRAM;
}

static void check_series(pytheus_view view, const char *id, double value, double count) {
    const pytheus__family *family = view.node->family;
    char sample[100];
    const char *pairs[] = {"id", id};
    CHECK_DOUBLE(fixture_value(view), value);
    snprintf(sample, sizeof sample, "%s%s", family->name.text, is_counted(view) ? "_sum" : "");
    CHECK_DOUBLE(fixture_sample(family->registry, sample, pairs, 2), value);
    if (!is_counted(view))
        return;
    snprintf(sample, sizeof sample, "%s_count", family->name.text);
    CHECK_DOUBLE(fixture_sample(family->registry, sample, pairs, 2), count);
}

/* Read by the strict reader, but not kept for others: there are too many. To be freed. */
static char *text_of(pytheus_registry *r, reader_doc *doc) {
    size_t size;
    char error[READER_ERROR_SIZE];
    char *text = pytheus_generate(r, PYTHEUS_TEXT, &size);
    if (!CHECK(text != NULL))
        abort();
    if (!check_that(reader_parse(text, size, doc, error), __FILE__, __LINE__, "%s", error))
        abort();
    return text;
}

/* A sample on a page; NaN: it is not there. */
static double read_sample(const reader_doc *doc, const char *metric, const char *suffix,
                          const char *const *pairs, size_t num_strings) {
    char name[100];
    snprintf(name, sizeof name, "%s%s", metric, suffix);
    const reader_sample *sample = reader_find(doc, name, pairs, num_strings);
    return sample ? sample->value : (double)NAN;
}

/* What a page says of {id="1"}. */
static double read_one(const reader_doc *doc, const char *metric, const char *suffix) {
    return read_sample(doc, metric, suffix, PAIRS("id", "1"));
}

static void check_on_page(const reader_doc *doc, const sort *s, double value, double count) {
    if (s->type == PYTHEUS_COUNTER) {
        CHECK_DOUBLE(read_one(doc, s->name, ""), value);
        return;
    }
    CHECK_DOUBLE(read_one(doc, s->name, "_sum"), value);
    CHECK_DOUBLE(read_one(doc, s->name, "_count"), count);
    if (s->type == PYTHEUS_HISTOGRAM)
        CHECK_DOUBLE(read_sample(doc, s->name, "_bucket", PAIRS("id", "1", "le", "+Inf")), count);
}

/* -- stripes that appear by themselves -- */

TEST(a_series_that_one_thread_hits_never_spreads) {
    pytheus_registry *r = registry_on(4);
    pytheus_view views[NUM_SORTS];
    for (int s = 0; s < NUM_SORTS; s++)
        views[s] = with_id(metric_of(r, &sorts[s], 0), "1");
    for (int i = 0; i < (IS_SANITIZED ? 1000000 : 10000000); i++)
        pytheus_counter_inc((pytheus_counter){views[i & 1]});
    for (int i = 0; i < rounds(500000); i++)
        for (int s = 0; s < NUM_SORTS; s++) {
            hit(views[s], i % 3);
            hit(views[s], 0.25);
        }
    for (int s = 0; s < NUM_SORTS; s++) {
        CHECK(!is_spread(views[s]));
#if defined(__x86_64__) || defined(__i386__) /* elsewhere a compare-and-swap may fail by chance */
        CHECK_INT(views[s].node->contention, 0);
#endif
    }
    free(page(r));
    pytheus_registry_free(r);
}

TEST(meetings_by_chance_are_forgotten) {
    static const double amounts[] = {1, 0.25};
    pytheus_registry *r = registry_on(4);
    for (int s = 0; s < NUM_SORTS; s++) {
        pytheus_view view = with_id(metric_of(r, &sorts[s], 0), "1");
        for (size_t i = 0; i < 2 * 20; i++) {
            pytheus__meet(view);
            for (int j = 0; j < 6400; j++)
                hit(view, amounts[i / 20]);
            CHECK(view.node->contention < PYTHEUS__MEETING);
        }
        CHECK(!is_spread(view));
    }
    pytheus_registry_free(r);
}

typedef struct hammering {
    pytheus_registry *registry;
    pytheus_view views[NUM_SORTS];
    pytheus_view view;
    double by;
    time_t deadline;
    int num_rounds, num_ready;
} hammering;

static void hit_in_turn(void *shared, int thread) {
    hammering *h = shared;
    for (int i = 0; i < h->num_rounds; i++)
        (void)hit(h->view, 1);
    (void)thread;
}

/* One thread after the other. */
TEST(threads_that_never_meet_do_not_spread_a_series) {
    hammering h = {.registry = registry_on(4), .num_rounds = rounds(10000)};
    for (int s = 0; s < NUM_SORTS; s++) {
        h.view = with_id(metric_of(h.registry, &sorts[s], 0), "1");
        for (int i = 0; i < 10; i++)
            in_threads(1, hit_in_turn, &h);
        CHECK(!is_spread(h.view));
        check_series(h.view, "1", 10.0 * h.num_rounds, 10.0 * h.num_rounds);
    }
    pytheus_registry_free(h.registry);
}

/* In slower code, and where 64 bits are not added by one instruction, threads are rarely seen
   between the two that look for others. */
#if defined(__OPTIMIZE__) && defined(__LP64__) && !IS_SANITIZED

static void hit_until_spread(void *shared, int thread) {
    hammering *h = shared;
    (void)thread;
    while (!is_spread(h->view) && time(NULL) < h->deadline)
        for (int i = 0; i < 1000; i++)
            (void)hit(h->view, h->by);
}

static void check_spreads(hammering *h, pytheus_view view, double by) {
    h->view = view;
    h->by = by;
    h->deadline = time(NULL) + 60;
    in_threads(4, hit_until_spread, h);
    check_that(is_spread(view), __FILE__, __LINE__, "%s: not spread, by adding %g",
               view.node->family->name.text, by);
}

TEST(a_series_that_threads_hit_at_once_spreads) {
    hammering h = {.registry = NULL};
    if (pytheus__num_processors() < 2)
        SKIP("one processor: threads hardly meet");
    h.registry = registry_on(4);
    for (int s = 0; s < NUM_SORTS; s++)
        check_spreads(&h, with_id(metric_of(h.registry, &sorts[s], 0), "1"), 1);
    pytheus_registry_free(h.registry);
}

/* Whatever whole numbers or fractions are added, and what the counter was before. */
TEST(a_counter_spreads_whatever_is_added_to_it) {
    static const double steps[] = {2, 3, 64, 4096, 100, 0.5};
    hammering h = {.registry = NULL};
    if (pytheus__num_processors() < 2)
        SKIP("one processor: threads hardly meet");
    h.registry = registry_on(4);
    pytheus_view metric = metric_of(h.registry, &sorts[0], 0);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        char id[32];
        snprintf(id, sizeof id, "%d", (int)i);
        (void)hit(with_id(metric, id), 1);
        check_spreads(&h, with_id(metric, id), steps[i]);
    }
    pytheus_registry_free(h.registry);
}

#endif

static void hammer(hammering *h, int thread) {
    int num_errors = 0;
    for (int i = 0; i < h->num_rounds; i++)
        for (int s = 0; s < NUM_SORTS; s++) {
            if (thread == 0 && i == h->num_rounds / 3)
                contend(h->views[s]);
            num_errors += hit(h->views[s], i % 4) != PYTHEUS_OK;
            num_errors += hit(h->views[s], 0.25) != PYTHEUS_OK;
        }
    CHECK_INT(num_errors, 0);
    __atomic_fetch_add(&h->num_ready, 1, __ATOMIC_RELEASE);
}

enum { NUM_HAMMERS = 4 };

/* Nothing on a page goes back, and `_count` is what the bucket +Inf says. */
static void scrape_meanwhile(hammering *h) {
    double last[NUM_SORTS] = {0};
    do {
        reader_doc doc;
        char *text = text_of(h->registry, &doc);
        for (int s = 0; s < NUM_SORTS; s++) {
            double now_is = read_one(&doc, sorts[s].name, is_counted(h->views[s]) ? "_count" : "");
            CHECK(now_is >= last[s]);
            last[s] = now_is;
            if (sorts[s].type == PYTHEUS_HISTOGRAM)
                CHECK_DOUBLE(
                    read_sample(&doc, sorts[s].name, "_bucket", PAIRS("id", "1", "le", "+Inf")),
                    now_is);
        }
        reader_free(&doc);
        pytheus_free(text);
    } while (__atomic_load_n(&h->num_ready, __ATOMIC_ACQUIRE) < NUM_HAMMERS);
}

static void hammer_or_scrape(void *shared, int thread) {
    if (thread < NUM_HAMMERS)
        hammer(shared, thread);
    else
        scrape_meanwhile(shared);
}

TEST(sums_are_exact_while_series_spread_and_pages_are_written) {
    hammering h = {.registry = registry_on(4), .num_rounds = rounds(40000) / 4 * 4};
    reader_doc doc;
    double value = NUM_HAMMERS * (1.5 + 0.25) * h.num_rounds;
    double count = NUM_HAMMERS * 2.0 * h.num_rounds;
    for (int s = 0; s < NUM_SORTS; s++)
        h.views[s] = with_id(metric_of(h.registry, &sorts[s], 0), "1");
    in_threads(NUM_HAMMERS + 1, hammer_or_scrape, &h);
    char *text = text_of(h.registry, &doc);
    for (int s = 0; s < NUM_SORTS; s++) {
        CHECK(is_spread(h.views[s]));
        check_series(h.views[s], "1", value, count);
        check_on_page(&doc, &sorts[s], value, count);
    }
    reader_free(&doc);
    pytheus_free(text);
    free(page(h.registry));
    pytheus_registry_free(h.registry);
}

/* -- all stripes count -- */

enum { NUM_NUMBERS = 130 }; /* of threads: more than there are stripes */

static void check_each_stripe_used(pytheus_view view) {
    pytheus__stripes *stripes = view.node->stripes;
    size_t cell = view.node->family->type == PYTHEUS_COUNTER ? 0 : PYTHEUS__SUM_REAL;
    for (size_t i = 0; i <= stripes->mask; i++)
        CHECK(pytheus__stripe_at(stripes, i)[cell] != pytheus__mask(view.generation));
}

static void check_all_count(const sort *s, size_t num_processors, unsigned asked, size_t wanted) {
    pytheus_registry *r = registry_on(num_processors);
    pytheus_view view = with_id(metric_of(r, s, asked), "1");
    reader_doc doc;
    double value = 0;
    CHECK(is_spread(view) == (asked > 1));
    CHECK_ERR(hit(view, 7), PYTHEUS_OK);
    contend(view);
    if (!CHECK(is_spread(view)))
        return;
    CHECK_INT(view.node->stripes->mask + 1, wanted);
    for (uint32_t i = 0; i < NUM_NUMBERS; i++) {
        be_thread(i);
        CHECK_ERR(hit(view, i + 1), PYTHEUS_OK);
        CHECK_ERR(hit(view, 0.25), PYTHEUS_OK);
        value += i + 1.25;
    }
    check_each_stripe_used(view);
    check_series(view, "1", 7 + value, 1 + 2 * NUM_NUMBERS);
    char *text = text_of(r, &doc);
    check_on_page(&doc, s, 7 + value, 1 + 2 * NUM_NUMBERS);
    reader_free(&doc);
    pytheus_free(text);
    free(page(r));
    pytheus_registry_free(r);
}

TEST(the_stripes_of_all_threads_count) {
    for (int s = 0; s < NUM_SORTS; s++) {
        check_all_count(&sorts[s], 2, 0, 2);
        check_all_count(&sorts[s], 3, 0, 4);
        check_all_count(&sorts[s], 500, 0, 8);
        check_all_count(&sorts[s], 4, 2, 2);
        check_all_count(&sorts[s], 1, 3, 4);
        check_all_count(&sorts[s], 4, 64, 64);
        check_all_count(&sorts[s], 4, 1000, 64);
        check_all_count(&sorts[s], 4, UINT_MAX, 64);
    }
}

static void check_stays(pytheus_view view) {
    contend(view);
    pytheus__give_stripes(view);
    for (int i = 0; i < 100; i++)
        CHECK_ERR(hit(view, 1), PYTHEUS_OK);
    CHECK(!is_spread(view));
    CHECK_DOUBLE(fixture_value(view), 100);
}

TEST(what_is_not_to_spread_does_not) {
    pytheus_registry *r = registry_on(4), *single = registry_on(1);
    static const unsigned asked[] = {0, 1, 2, 64};
    for (int s = 0; s < NUM_SORTS; s++) {
        check_stays(with_id(metric_of(r, &sorts[s], 1), "1"));
        check_stays(with_id(metric_of(single, &sorts[s], 0), "1"));
    }
    for (size_t i = 0; i < COUNT_OF(asked); i++) {
        char name[32];
        snprintf(name, sizeof name, "gauge_%u", asked[i]);
        check_stays(GAUGE(r, .name = name, .stripes = asked[i]).view);
    }
    pytheus_registry_free(r);
    pytheus_registry_free(single);
}

TEST(as_whole_numbers_and_fractions_on_the_page) {
    pytheus_registry *r = registry_on(4);
    pytheus_counter c = COUNTER(r, .name = "c_total", .stripes = 2);
    const double exact = 9007199254740992.0;
    CHECK_LINE(r, "c_total 0");
    be_thread(0);
    pytheus_counter_inc(c);
    CHECK_LINE(r, "c_total 1");
    be_thread(1);
    pytheus_counter_add(c, 99);
    CHECK_LINE(r, "c_total 100");
    pytheus_counter_add(c, 0.5);
    CHECK_LINE(r, "c_total 100.5");
    pytheus_counter_add(c, 0.5);
    CHECK_LINE(r, "c_total 101");
    pytheus_counter_set(c, 0);
    CHECK_LINE(r, "c_total 0");
    pytheus_counter_set(c, exact - 1);
    CHECK_LINE(r, "c_total 9007199254740991");
    pytheus_counter_inc(c);
    CHECK_LINE(r, "c_total 9007199254740992");
    pytheus_registry_free(r);
}

/* -- set, remove, clear -- */

TEST(a_spread_counter_is_set_exactly_from_any_thread) {
    static const double values[] = {12345, 0, 0.5, 1125899906842624.5, 17, 17, 0.03125, 3, 0};
    for (int s = 0; s < 2; s++) {
        pytheus_registry *r = registry_on(4);
        pytheus_counter c = {spread_series(metric_of(r, &sorts[s], 0), "1")};
        for (uint32_t i = 0; i < COUNT_OF(values); i++) {
            be_thread(100 + i);
            CHECK_ERR(pytheus_counter_set(c, values[i]), PYTHEUS_OK);
            check_series(c.view, "1", values[i], 0);
            for (uint32_t thread = 0; thread < 5; thread++) {
                be_thread(thread);
                CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
                CHECK_ERR(pytheus_counter_add(c, 1.5), PYTHEUS_OK);
            }
            check_series(c.view, "1", values[i] + 12.5, 0);
        }
        free(page(r));
        pytheus_registry_free(r);
    }
}

typedef struct settings {
    pytheus_counter counter;
    int num_rounds;
} settings;

/* Whatever is added after the last set is in the end there, and nothing from before the first. */
static void add_or_set(void *shared, int thread) {
    settings *s = shared;
    for (int i = 0; i < s->num_rounds; i++) {
        if (thread == 0 && i == s->num_rounds / 2)
            CHECK_ERR(pytheus_counter_set(s->counter, 1e9), PYTHEUS_OK);
        if (thread)
            CHECK_ERR(pytheus_counter_add(s->counter, thread % 2 ? 1 : 0.5), PYTHEUS_OK);
    }
}

TEST(a_spread_counter_is_set_beside_adds) {
    for (int s = 0; s < 2; s++) {
        settings all = {.num_rounds = rounds(100000)};
        pytheus_registry *r = registry_on(4);
        all.counter.view = spread_series(metric_of(r, &sorts[s], 0), "1");
        in_threads(4, add_or_set, &all);
        CHECK(fixture_value(all.counter.view) >= 1e9);
        CHECK(fixture_value(all.counter.view) <= 1e9 + 2.5 * all.num_rounds);
        pytheus_registry_free(r);
    }
}

static void check_zeroed(pytheus_view root, pytheus_err (*end)(pytheus_view)) {
    const char *name = root.node->family->name.text;
    char sample[64];
    for (uint32_t i = 0; i < 8; i++) {
        be_thread(i);
        CHECK_ERR(hit(root, 3), PYTHEUS_OK);
        CHECK_ERR(hit(root, 0.5), PYTHEUS_OK);
    }
    CHECK(is_spread(root));
    CHECK_DOUBLE(fixture_value(root), 28);
    CHECK_ERR(end(root), PYTHEUS_OK);
    CHECK_DOUBLE(fixture_value(root), 0);
    snprintf(sample, sizeof sample, "%s_count", name);
    if (is_counted(root))
        CHECK_SAMPLE(root.node->family->registry, sample, 0);
    CHECK_ERR(hit(root, 2), PYTHEUS_OK);
    CHECK_DOUBLE(fixture_value(root), 2);
    CHECK_ERR(end(root), PYTHEUS_OK);
}

TEST(a_metric_without_labels_spreads_and_begins_again) {
    static const pytheus_type types[] = {PYTHEUS_COUNTER, PYTHEUS_HISTOGRAM, PYTHEUS_SUMMARY};
    for (unsigned stripes = 0; stripes < 3; stripes += 2) {
        pytheus_registry *r = registry_on(4);
        for (size_t i = 0; i < COUNT_OF(types); i++) {
            static const char *const names[] = {"c", "h", "s"};
            pytheus_view root = fixture_new(
                types[i], &(pytheus_desc){.name = names[i], .stripes = stripes, .registry = r});
            CHECK(is_spread(root) == (stripes > 0));
            contend(root);
            CHECK(root.node->family->spare == NULL);
            check_zeroed(root, pytheus_view_remove);
            check_zeroed(root, pytheus_view_clear);
            CHECK(root.node->family->spare == NULL);
        }
        CHECK_LINE(r, "c 0");
        CHECK_LINE(r, "h_bucket{le=\"+Inf\"} 0");
        CHECK_LINE(r, "s_count 0");
        pytheus_registry_free(r);
    }
}

/* A set that was under way when the counter was set to 0 must notice, also if only stripes held
   something. */
TEST(a_clear_of_a_spread_counter_changes_its_double) {
    pytheus_registry *r = registry_on(4);
    pytheus_counter c = COUNTER(r, .name = "c", .stripes = 4);
    pytheus_counter_add(c, 1000);
    pytheus__word *real = &pytheus__cells(c.view.node)[PYTHEUS__COUNTER_REAL];
    uint64_t before = *real;
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK(*real != before);
    CHECK_LINE(r, "c 0");
    pytheus_registry_free(r);
}

/* -- lives -- */

/* Nothing that comes late changes anything, from whichever thread. */
static void check_late(pytheus_view view) {
    for (uint32_t i = 0; i < 8; i++) {
        be_thread(i);
        CHECK_ERR(hit(view, 1), PYTHEUS_ERR_REMOVED);
        CHECK_ERR(hit(view, 0.25), PYTHEUS_ERR_REMOVED);
        if (pytheus__type_of(view) == PYTHEUS_COUNTER)
            CHECK_ERR(pytheus_counter_set((pytheus_counter){view}, 5), PYTHEUS_ERR_REMOVED);
    }
    contend(view);
    CHECK(isnan(fixture_value(view)));
}

static void hit_from_all(pytheus_view view) {
    for (uint32_t i = 0; i < 8; i++) {
        be_thread(i);
        CHECK_ERR(hit(view, 3), PYTHEUS_OK);
        CHECK_ERR(hit(view, 0.5), PYTHEUS_OK);
    }
}

static void check_next_lives(const sort *s, unsigned stripes) {
    pytheus_registry *r = registry_on(4);
    pytheus_view metric = metric_of(r, s, stripes);
    pytheus_view before = spread_series(metric, "0000");
    const pytheus__stripes *same = before.node->stripes;
    hit_from_all(before);
    for (int life = 1; life < 20; life++) {
        char id[32];
        snprintf(id, sizeof id, "%04d", life);
        CHECK_ERR(pytheus_view_remove(before), PYTHEUS_OK);
        pytheus_view view = with_id(metric, id);
        CHECK(view.node == before.node && view.node->stripes == same);
        CHECK(same->generation == view.generation);
        check_series(view, id, 0, 0);
        check_late(before);
        check_series(view, id, 0, 0);
        hit_from_all(view);
        check_late(before);
        check_series(view, id, 28, 16);
        before = view;
    }
    free(page(r));
    pytheus_registry_free(r);
}

TEST(stripes_serve_the_next_life_and_keep_nothing) {
    for (int s = 0; s < NUM_SORTS; s++) {
        if (sorts[s].reusable) {
            check_next_lives(&sorts[s], 0);
            check_next_lives(&sorts[s], 8);
        }
    }
}

/* A slow thread spreads a series that has gone, whose node has been given to another. */
static void check_late_gift(const sort *s) {
    pytheus_registry *r = registry_on(4);
    pytheus_view metric = metric_of(r, s, 0);
    pytheus_view first = with_id(metric, "1"), second, third;
    CHECK_ERR(pytheus_view_remove(first), PYTHEUS_OK);
    second = with_id(metric, "2");
    CHECK(second.node == first.node);
    CHECK_ERR(hit(second, 1), PYTHEUS_OK);
    pytheus__give_stripes(first);
    CHECK(is_spread(second));
    CHECK(second.node->stripes->generation == first.generation);
    check_series(second, "2", 1, 1);
    hit_from_all(second);
    check_late(first);
    check_series(second, "2", 29, 17);
    CHECK_ERR(pytheus_view_remove(second), PYTHEUS_OK);
    third = with_id(metric, "3");
    CHECK(third.node == first.node);
    CHECK(third.node->stripes->generation == third.generation);
    hit_from_all(third);
    check_late(first);
    check_late(second);
    check_series(third, "3", 28, 16);
    pytheus_registry_free(r);
}

TEST(stripes_given_too_late_are_no_other_lifes) {
    for (int s = 0; s < NUM_SORTS; s++)
        if (sorts[s].reusable)
            check_late_gift(&sorts[s]);
}

typedef struct late_gifts {
    pytheus_view metric, current;
    pytheus_view last; /* under lock */
    pthread_mutex_t lock;
    int over;
} late_gifts;

static void give_late(late_gifts *g) {
    while (!__atomic_load_n(&g->over, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&g->lock);
        pytheus_view view = g->last;
        pthread_mutex_unlock(&g->lock);
        pytheus__give_stripes(view);
        (void)hit(view, 1000);
    }
}

/* Each life is handed to the slow threads only after its end. A few nodes at a time stay alive, so
   that there are always new ones without stripes. */
static void live_on(late_gifts *g) {
    for (int i = 0; i < rounds(20000) && check_num_failed < 10; i++) {
        char id[32];
        snprintf(id, sizeof id, "%08d", i);
        pytheus_view view = with_id(g->metric, id);
        if (i % 7 == 0)
            contend(view);
        hit_from_all(view);
        CHECK_DOUBLE(fixture_value(view), 28);
        if (i % 16)
            CHECK_ERR(pytheus_view_remove(view), PYTHEUS_OK);
        pthread_mutex_lock(&g->lock);
        g->last = i % 16 ? view : g->last;
        pthread_mutex_unlock(&g->lock);
    }
    __atomic_store_n(&g->over, 1, __ATOMIC_RELEASE);
}

static void live_or_give(void *shared, int thread) {
    if (thread)
        give_late(shared);
    else
        live_on(shared);
}

TEST(late_gifts_from_other_threads_disturb_no_life) {
    for (int s = 0; s < NUM_SORTS; s++) {
        if (!sorts[s].reusable)
            continue;
        pytheus_registry *r = registry_on(4);
        late_gifts g = {.metric = metric_of(r, &sorts[s], 0), .lock = PTHREAD_MUTEX_INITIALIZER};
        g.last = with_id(g.metric, "a");
        CHECK_ERR(pytheus_view_remove(g.last), PYTHEUS_OK);
        in_threads(3, live_or_give, &g);
        free(page(r));
        pytheus_registry_free(r);
        pthread_mutex_destroy(&g.lock);
    }
}

TEST(the_overflow_series_spreads) {
    for (unsigned stripes = 0; stripes < 5; stripes += 4) {
        pytheus_registry *r = registry_on(4);
        pytheus_counter m =
            COUNTER(r, .name = "m", .required_labels = {"id"}, .max_series = 1, .stripes = stripes);
        CHECK(pytheus_counter_labels(m, "id", "1").view.node != NULL);
        pytheus_view overflow = pytheus_counter_labels(m, "id", "2").view;
        CHECK(overflow.generation & PYTHEUS__OVERFLOW);
        contend(overflow);
        CHECK(is_spread(overflow));
        hit_from_all(overflow);
        CHECK_VALUE(pytheus_counter_labels(m, "id", "3"), 28);
        CHECK_LINE(r, "m{id=\"__overflow__\"} 28");
        CHECK_LINE(r, "m{id=\"1\"} 0");
        pytheus_registry_free(r);
    }
}

TEST(partial_views_have_no_stripes_but_spread_series_below) {
    pytheus_registry *r = registry_on(4);
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"}, .stripes = 8);
    pytheus_counter partial = pytheus_counter_labels(m, "a", "1");
    CHECK(!is_spread(m.view));
    CHECK(!is_spread(partial.view));
    pytheus_counter c = pytheus_counter_labels(partial, "b", "2");
    pytheus_counter other = pytheus_counter_labels(m, "a", "2", "b", "2");
    CHECK(is_spread(c.view));
    hit_from_all(c.view);
    hit_from_all(other.view);
    CHECK_VALUE(c, 28);
    CHECK_ERR(pytheus_view_remove(partial.view), PYTHEUS_OK);
    check_late(c.view);
    CHECK_VALUE(other, 28);
    /* A node of a partial view serves a series later, and the other way round. */
    for (int i = 0; i < 20; i++) {
        partial = pytheus_counter_labels(m, "b", "1");
        CHECK_ERR(pytheus_counter_inc(partial), PYTHEUS_ERR_UNOBSERVABLE);
        CHECK_ERR(pytheus_view_remove(partial.view), PYTHEUS_OK);
        c = pytheus_counter_labels(m, "a", "1", "b", "1");
        CHECK_VALUE(c, 0);
        hit_from_all(c.view);
        CHECK_VALUE(c, 28);
        CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    }
    CHECK_PAGE(r, "# TYPE m counter\nm{a=\"2\",b=\"2\"} 28\n");
    pytheus_registry_free(r);
}

/* ThreadSanitizer does not bear to be stopped anywhere. */
#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__)) && !defined(UNDER_TSAN)

/* -- operations stopped after each of their instructions: there the series is removed, its node
      given to another, or somebody else adds, and then they go on -- */

typedef struct stage {
    void (*begin)(struct stage *);
    void (*act)(struct stage *); /* what is stopped */
    void (*intervene)(struct stage *);
    void (*check)(struct stage *);
    const sort *of;
    pytheus_registry *registry;
    pytheus_view metric, view, next;
    double by;
    bool sets; /* a counter, instead of adding */
    long num_lives;
    char id[32];
    uint64_t start;
    int num_noticed;
} stage;

#include "steps.h"

/* Once for each operation of the sort, or once. */
static void perform(stage st, const sort *of, bool operates) {
    st.of = of;
    st.registry = registry_on(2);
    st.metric = metric_of(st.registry, of, 0);
    st.by = 3;
    stop_at_each_step(&st);
    st.sets = operates && of->type == PYTHEUS_COUNTER;
    if (st.sets)
        stop_at_each_step(&st);
    st.sets = false;
    st.by = 0.5;
    if (operates)
        stop_at_each_step(&st);
    free(page(st.registry));
    pytheus_registry_free(st.registry);
}

/* Labels of one size, so that each life fits where the one before was. */
static pytheus_view next_life(stage *st) {
    snprintf(st->id, sizeof st->id, "%08ld", st->num_lives++);
    return with_id(st->metric, st->id);
}

static void begin_spread(stage *st) {
    if (st->next.node)
        (void)pytheus_view_remove(st->next);
    st->view = next_life(st);
    if (!is_spread(st->view))
        contend(st->view);
    CHECK(st->view.node->stripes->generation == st->view.generation);
    be_thread(2);
}

static void operate(stage *st) {
    if (st->sets)
        (void)pytheus_counter_set((pytheus_counter){st->view}, st->by);
    else
        (void)hit(st->view, st->by);
}

static void succeed(stage *st) {
    const pytheus__node *node = st->view.node;
    CHECK_ERR(pytheus_view_remove(st->view), PYTHEUS_OK);
    st->next = next_life(st);
    CHECK(st->next.node == node);
    CHECK(node->stripes->generation == st->next.generation);
    be_thread(3);
    CHECK_ERR(hit(st->next, 1), PYTHEUS_OK);
    be_thread(2);
    CHECK_ERR(hit(st->next, 1), PYTHEUS_OK);
}

static void check_own(stage *st) {
    check_series(st->next, st->id, 2, 2);
}

TEST(an_operation_on_a_spread_series_does_not_reach_the_next_life) {
    if (!can_stop())
        SKIP("no single steps here");
    for (int s = 0; s < NUM_SORTS; s++)
        if (sorts[s].reusable)
            perform((stage){.begin = begin_spread,
                            .act = operate,
                            .intervene = succeed,
                            .check = check_own},
                    &sorts[s], true);
}

/* What is read is of the series or refused, never of the next. */
static void read_late(stage *st) {
    double value = 0;
    if (pytheus_view_get(st->view, &value) == PYTHEUS_OK)
        CHECK_DOUBLE(value, 0);
}

TEST(a_read_of_a_spread_series_does_not_see_the_next_life) {
    if (!can_stop())
        SKIP("no single steps here");
    for (int s = 0; s < NUM_SORTS; s++)
        if (sorts[s].reusable)
            perform((stage){.begin = begin_spread,
                            .act = read_late,
                            .intervene = succeed,
                            .check = check_own},
                    &sorts[s], false);
}

/* Somebody else adds to the same series meanwhile, in the same stripe, in another, to its double:
   all is counted. */
static void begin_of_all(stage *st) {
    st->view = st->view.node ? st->view : spread_series(st->metric, "00000000");
    st->next.generation = pytheus__as_bits(fixture_value(st->view));
    be_thread(2);
}

static void add_beside(stage *st) {
    for (uint32_t i = 0; i < 4; i++) {
        be_thread(i);
        CHECK_ERR(hit(st->view, 1), PYTHEUS_OK);
        CHECK_ERR(hit(st->view, 0.5), PYTHEUS_OK);
    }
    be_thread(2);
}

static void check_all_added(stage *st) {
    double before = pytheus__as_double(st->next.generation), value = fixture_value(st->view);
    if (st->sets)
        CHECK(value >= st->by && value <= st->by + 6);
    else
        CHECK_DOUBLE(value, before + st->by + 6);
}

TEST(an_operation_on_a_spread_series_loses_nothing_of_others) {
    if (!can_stop())
        SKIP("no single steps here");
    for (int s = 0; s < NUM_SORTS; s++)
        perform((stage){.begin = begin_of_all,
                        .act = operate,
                        .intervene = add_beside,
                        .check = check_all_added},
                &sorts[s], true);
}

/* A node that has had no stripes yet: the one before stays in use. */
static void begin_unspread(stage *st) {
    st->view = next_life(st);
    CHECK(!is_spread(st->view));
}

static void give(stage *st) {
    pytheus__give_stripes(st->view);
}

static void succeed_unspread(stage *st) {
    const pytheus__node *node = st->view.node;
    CHECK_ERR(pytheus_view_remove(st->view), PYTHEUS_OK);
    st->next = next_life(st);
    CHECK(st->next.node == node);
    hit_from_all(st->next);
}

static void check_given(stage *st) {
    check_series(st->next, st->id, 28, 16);
    check_late(st->view);
    hit_from_all(st->next);
    check_series(st->next, st->id, 56, 32);
    pytheus_view kept = next_life(st);
    CHECK(kept.node->family->spare != NULL);
}

TEST(stripes_given_to_a_series_that_goes_disturb_no_other) {
    if (!can_stop())
        SKIP("no single steps here");
    for (int s = 0; s < NUM_SORTS; s++)
        if (sorts[s].reusable)
            perform((stage){.begin = begin_unspread,
                            .act = give,
                            .intervene = succeed_unspread,
                            .check = check_given},
                    &sorts[s], false);
}

/* Two threads spread the same series, and the family gets new stripes between. */
static void give_beside(stage *st) {
    CHECK(with_id(st->metric, "another").node != NULL);
    CHECK(next_life(st).node != NULL);
    pytheus__give_stripes(st->view);
    hit_from_all(st->view);
}

static void check_given_once(stage *st) {
    CHECK(is_spread(st->view));
    CHECK(st->view.node->stripes->generation == st->view.generation);
    CHECK(st->view.node->stripes != st->metric.node->family->spare);
    CHECK_DOUBLE(fixture_value(st->view), 28);
    hit_from_all(st->view);
    CHECK_DOUBLE(fixture_value(st->view), 56);
}

TEST(two_threads_that_spread_a_series_agree) {
    if (!can_stop())
        SKIP("no single steps here");
    for (int s = 0; s < NUM_SORTS; s++)
        perform((stage){.begin = begin_unspread,
                        .act = give,
                        .intervene = give_beside,
                        .check = check_given_once},
                &sorts[s], false);
}

/* An increment by somebody else, in the middle of one: some look whether there is one. */
static void begin_at(stage *st) {
    pytheus__cells(st->view.node)[PYTHEUS__COUNTER_WHOLE] = st->start;
    st->view.node->contention = 0;
}

static void add_once_beside(stage *st) {
    CHECK_ERR(hit(st->view, st->by), PYTHEUS_OK);
}

static void count_noticed(stage *st) {
    st->num_noticed += st->view.node->contention > 0;
    CHECK_DOUBLE(fixture_value(st->view), (double)st->start + 2 * st->by);
}

/* The value, of some hundred, at which an addition takes longest. */
static uint64_t busiest_start(stage *st) {
    uint64_t best = 0, first = st->start;
    int most = 0;
    for (st->start = first; st->start < first + 300; st->start++) {
        st->begin(st);
        (void)act_and_stop_after(st, FOR_EVER);
        if (FOR_EVER - steps_left > most) {
            most = FOR_EVER - steps_left;
            best = st->start;
        }
    }
    return best;
}

TEST(threads_that_add_at_once_are_noticed) {
    static const double amounts[] = {1, 2, 64, 1000};
    if (!can_stop())
        SKIP("no single steps here");
    for (size_t i = 0; i < COUNT_OF(amounts); i++) {
        stage st = {.begin = begin_at,
                    .act = operate,
                    .intervene = add_once_beside,
                    .check = count_noticed,
                    .by = amounts[i]};
        pytheus_registry *r = registry_on(4);
        st.view = with_id(metric_of(r, &sorts[0], 0), "1");
        st.start = busiest_start(&st);
        stop_at_each_step(&st);
        CHECK(st.num_noticed > 0);
        pytheus_registry_free(r);
    }
}

#endif

/* -- memory -- */

static size_t allocated, num_allocations, num_denied;
static bool (*is_denied)(size_t new_size);
static void (*in_allocator)(void);

static void *counting_realloc(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    if (!new_size) {
        free(p);
        allocated -= old_size;
        return NULL;
    }
    num_allocations++;
    if (in_allocator)
        in_allocator();
    if (is_denied && is_denied(new_size)) {
        num_denied++;
        return NULL;
    }
    void *moved = realloc(p, new_size);
    if (moved)
        allocated += new_size - old_size;
    return moved;
}

static pytheus_registry *counting_registry(void) {
    allocated = num_allocations = num_denied = 0;
    is_denied = NULL;
    in_allocator = NULL;
    pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){
        .allocator = {.realloc = counting_realloc}, .logger = {ignore_log, NULL}});
    if (!r)
        abort();
    r->num_processors = 8;
    return r;
}

/* Bytes of the registry's arena that something was made of, while it has no new chunk. */
static size_t taken(const pytheus_registry *r) {
    return r->chunk_bytes - (size_t)(r->arena_end - r->arena) - (size_t)(r->spare_end - r->spare);
}

/* So that the next thing that is made takes new memory. */
static void use_up_arena(pytheus_registry *r) {
    r->arena = r->arena_end;
    r->spare = r->spare_end;
}

TEST(a_family_keeps_one_set_of_stripes_in_reserve) {
    for (int s = 0; s < NUM_SORTS; s++) {
        pytheus_registry *r = counting_registry();
        CHECK(pytheus__arena_reserve(r, 1000000));
        pytheus_view metric = metric_of(r, &sorts[s], 0);
        pytheus__family *family = metric.node->family;
        size_t set = pytheus__stripes_size(family);
        pytheus_view first = with_id(metric, "1");
        const pytheus__stripes *spare = family->spare;
        CHECK(spare != NULL);
        CHECK(with_id(metric, "2").node != NULL);
        CHECK(family->spare == spare);
        pytheus__give_stripes(first);
        CHECK(family->spare == NULL && first.node->stripes == spare);
        pytheus__give_stripes(first);
        pytheus__give_stripes(with_id(metric, "2"));
        size_t before = taken(r);
        free(page(r));
        CHECK_INT(taken(r) - before, set);
        CHECK(family->spare != NULL);
        free(page(r));
        CHECK_INT(taken(r) - before, set);
        pytheus__give_stripes(with_id(metric, "2"));
        CHECK(is_spread(with_id(metric, "2")));
        before = taken(r);
        CHECK(with_id(metric, "3").node != NULL);
        CHECK(taken(r) - before >= set);
        CHECK(taken(r) - before <= set + 1024);
        pytheus_registry_free(r);
        CHECK_INT(allocated, 0);
    }
}

/* One thread took some that it did not need, and the family got others meanwhile. */
TEST(stripes_that_were_not_needed_are_kept) {
    pytheus_registry *r = counting_registry();
    pytheus_view metric = metric_of(r, &sorts[0], 0), a = with_id(metric, "a");
    pytheus__family *family = metric.node->family;
    pytheus__stripes *taken = pytheus__take_spare(family);
    CHECK(taken != NULL && !family->spare);
    pytheus_view b = with_id(metric, "b"), c = with_id(metric, "c");
    CHECK(family->spare != NULL);
    pytheus__keep_spare(family, taken);
    pytheus__give_stripes(a);
    pytheus__give_stripes(b);
    CHECK(is_spread(a) && is_spread(b) && !family->spare);
    pytheus__give_stripes(c);
    CHECK(!is_spread(c));
    pytheus_registry_free(r);
}

TEST(what_never_spreads_takes_no_memory_for_it) {
    size_t bytes[3];
    for (unsigned stripes = 0; stripes < 2; stripes++) {
        pytheus_registry *r = counting_registry();
        CHECK(pytheus__arena_reserve(r, 1000000));
        pytheus_view metric = metric_of(r, &sorts[0], stripes);
        CHECK((metric.node->family->spare == NULL) == (stripes == 1));
        bytes[stripes] = taken(r);
        if (stripes == 0)
            bytes[2] = pytheus__stripes_size(metric.node->family);
        pytheus_gauge g = GAUGE(r, .name = "g");
        CHECK(g.view.node->family->spare == NULL);
        pytheus_registry_free(r);
    }
    CHECK_INT(bytes[0], bytes[1] + bytes[2]);
}

static pytheus_view robbed;

static void rob(void) {
    pytheus__give_stripes(robbed);
}

/* While a new series waits for memory, a thread takes the stripes that are in reserve. */
TEST(stripes_taken_while_memory_is_reserved) {
    for (int size = 100; size < 30000; size = size * 5 / 4) {
        pytheus_registry *r = counting_registry();
        pytheus_view metric = metric_of(r, &sorts[3], 0);
        char *id = calloc(1, (size_t)size + 1);
        if (!id)
            abort();
        memset(id, 'x', (size_t)size);
        robbed = with_id(metric, "robbed");
        CHECK(metric.node->family->spare != NULL);
        use_up_arena(r);
        in_allocator = rob;
        pytheus_view view = with_id(metric, id);
        in_allocator = NULL;
        CHECK(view.node != NULL);
        CHECK(is_spread(robbed));
        CHECK(r->arena <= r->arena_end && r->spare <= r->spare_end);
        hit_from_all(view);
        hit_from_all(robbed);
        CHECK_DOUBLE(fixture_value(view), 28);
        CHECK_DOUBLE(fixture_value(robbed), 28);
        reader_doc doc;
        pytheus_free(text_of(r, &doc));
        reader_free(&doc);
        free(id);
        pytheus_registry_free(r);
        CHECK_INT(allocated, 0);
    }
}

/* What series and stripes are made of, and not the buffers that a page is written with. */
static bool is_of_arena(size_t new_size) {
    return new_size >= 8192 && new_size < PYTHEUS__CHUNK_SIZE;
}

static pytheus_err throw_away(void *user, const char *bytes, size_t size) {
    *(size_t *)user += size;
    (void)bytes;
    return PYTHEUS_OK;
}

TEST(without_memory_for_stripes_all_else_goes_on) {
    for (int s = 0; s < NUM_SORTS; s++) {
        pytheus_registry *r = counting_registry();
        pytheus_view metric = metric_of(r, &sorts[s], 0);
        pytheus_view first = with_id(metric, "00000001"), second = with_id(metric, "00000002");
        pytheus_view third = with_id(metric, "00000003");
        size_t size = 0;
        contend(first);
        use_up_arena(r);
        is_denied = is_of_arena;
        contend(second);
        CHECK(is_spread(first) && !is_spread(second));
        hit_from_all(first);
        hit_from_all(second);
        CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){throw_away, &size}), PYTHEUS_OK);
        CHECK(size > 50);
        CHECK(metric.node->family->spare == NULL);
        CHECK_ERR(pytheus_view_remove(third), PYTHEUS_OK);
        if (sorts[s].reusable) /* the memory of the one before is there, but none for stripes */
            CHECK(with_id(metric, "00000004").node == NULL);
        check_series(first, "00000001", 28, 16);
        check_series(second, "00000002", 28, 16);
        is_denied = NULL;
        CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){throw_away, &size}), PYTHEUS_OK);
        contend(second);
        CHECK(is_spread(second));
        hit_from_all(second);
        check_series(second, "00000002", 56, 32);
        pytheus_registry_free(r);
        CHECK_INT(allocated, 0);
    }
}

static bool is_any(size_t new_size) {
    return new_size > 0;
}

/* .stripes asked for: a series without them would not be what was asked for. */
TEST(without_memory_for_asked_stripes_no_series_is_made) {
    for (int s = 0; s < NUM_SORTS; s++) {
        pytheus_registry *r = counting_registry();
        pytheus_view metric = metric_of(r, &sorts[s], 8);
        pytheus_view first = with_id(metric, "1");
        use_up_arena(r);
        is_denied = is_any;
        CHECK(!with_id(metric, "2").node);
        CHECK(num_denied > 0);
        hit_from_all(first);
        is_denied = NULL;
        pytheus_view second = with_id(metric, "2");
        CHECK(is_spread(second));
        hit_from_all(second);
        check_series(first, "1", 28, 16);
        check_series(second, "2", 28, 16);
        pytheus_registry_free(r);
        CHECK_INT(allocated, 0);
    }
}

/* -- many labels -- */

enum { CAP = 10000 };

TEST(a_bomb_of_labels_leaves_memory_at_the_cap) {
    const long num = is_long() ? 10000000 : IS_SANITIZED ? 100000 : 2000000;
    pytheus_registry *r = counting_registry();
    pytheus_counter m =
        COUNTER(r, .name = "m", .required_labels = {"user", "path"}, .max_series = CAP);
    size_t at_cap = 0, calls_at_cap = 0;
    char user[32];
    for (long i = 0; i < num; i++) {
        snprintf(user, sizeof user, "%ld", i);
        (void)pytheus_counter_inc(pytheus_counter_labels(m, "user", user, "path", "/"));
        if (i == CAP) {
            at_cap = allocated;
            calls_at_cap = num_allocations;
        }
    }
    CHECK_INT(allocated, at_cap);
    CHECK_INT(num_allocations, calls_at_cap);
    CHECK_LABELLED(r, "m", (double)(num - CAP), "user", "__overflow__", "path", "__overflow__");
    CHECK_LABELLED(r, "m", 1, "user", "0", "path", "/");
    CHECK_LABELLED(r, "m", 1, "user", "9999", "path", "/");
    CHECK(isnan(fixture_sample(r, "m", PAIRS("user", "10000", "path", "/"))));
    char line[100];
    snprintf(line, sizeof line, "pytheus_overflow_calls_total{metric=\"m\"} %ld", num - CAP);
    CHECK_LINE(r, line);
    pytheus_registry_free(r);
    CHECK_INT(allocated, 0);
}

/* How many slots the worst search of a segment looks at. */
static size_t longest_probe(pytheus__segment *segment) {
    size_t mask = ((size_t)1 << segment->log2_size) - 1, longest = 0;
    for (size_t i = 0; i <= mask; i++) {
        pytheus__node *node = pytheus__node_in(pytheus__slots(segment)[i]);
        size_t hash = node ? (size_t)pytheus__hash_of(node->family, node) : i;
        size_t probes = (i - hash) & mask;
        longest = node && probes + 1 > longest ? probes + 1 : longest;
    }
    return longest;
}

static size_t longest_probe_of(pytheus_view metric) {
    pytheus__directory *directory = metric.node->family->directory;
    size_t longest = 0;
    for (size_t i = 0; i < (size_t)1 << directory->depth; i++) {
        size_t each = longest_probe(pytheus__segment_in(pytheus__entries(directory)[i]));
        longest = each > longest ? each : longest;
    }
    return longest;
}

enum { NUM_CRAFTED = 2000, LONGEST_PROBE = 300 };

/* Values that all fall on one slot, by the hash of a registry without a secret. */
static void craft(uint64_t *next, char value[32]) {
    static const uint64_t no_seed[2] = {0, 0x9e3779b97f4a7c15u};
    pytheus__word words[4] = {0};
    do {
        memset(words, 0, sizeof words);
        snprintf(value, 32, "%016llx", (unsigned long long)(*next)++);
        memcpy(words, value, 17);
    } while (pytheus__hash_words(no_seed, words, 3) & 1023);
}

/* Of random bits, but always the same. */
static pytheus_registry *seeded_registry(void) {
    pytheus_registry *r = registry_on(1);
    uint64_t state = 1;
    r->seed[0] = check_random(&state);
    r->seed[1] = check_random(&state) | 1;
    return r;
}

static pytheus_view crafted_metric(pytheus_registry *r) {
    pytheus_view metric = metric_of(r, &sorts[0], 1);
    uint64_t next = 0;
    for (int i = 0; i < NUM_CRAFTED; i++) {
        char value[32];
        craft(&next, value);
        CHECK(with_id(metric, value).node != NULL);
    }
    return metric;
}

TEST(values_crafted_to_collide_do_not) {
    pytheus_registry *r = seeded_registry();
    CHECK(longest_probe_of(crafted_metric(r)) < LONGEST_PROBE);
    pytheus_registry_free(r);
    r = registry_on(1);
    r->seed[0] = 0; /* the proof of the crafting */
    r->seed[1] = 0x9e3779b97f4a7c15u;
    CHECK(longest_probe_of(crafted_metric(r)) > LONGEST_PROBE);
    pytheus_registry_free(r);
}

/* Numbers, the same byte again and again, one bit of difference: what hashes are bad at. */
static void write_pattern(char value[48], int pattern, int i) {
    switch (pattern) {
    case 0:
        snprintf(value, 48, "%d", i);
        break;
    case 1:
        snprintf(value, 48, "%08d%08d", i, i);
        break;
    case 2:
        snprintf(value, 48, "/api/v1/users/%d/orders", i);
        break;
    case 3:
        memset(value, 'a', 40);
        for (int bit = 0; bit < 17; bit++)
            value[bit * 2] = (char)('a' + (i >> bit & 1));
        value[40] = '\0';
        break;
    default:
        snprintf(value, 48, "%d00000000", i);
    }
}

TEST(searches_stay_short_whatever_the_values) {
    for (int pattern = 0; pattern < 5; pattern++) {
        pytheus_registry *r = seeded_registry();
        pytheus_view metric = metric_of(r, &sorts[0], 1);
        for (int i = 0; i < (IS_SANITIZED ? 10000 : 100000); i++) {
            char value[48];
            write_pattern(value, pattern, i);
            CHECK(with_id(metric, value).node != NULL);
        }
        size_t longest = longest_probe_of(metric);
        check_that(longest < LONGEST_PROBE, __FILE__, __LINE__, "pattern %d: %d probes", pattern,
                   (int)longest);
        pytheus_registry_free(r);
    }
}

/* -- forks while stripes are handed out -- */

#if defined(__linux__) && !defined(UNDER_TSAN)

enum { CHILD_SECONDS = 20 };

typedef struct forking {
    pytheus_registry *registry;
    pytheus_view metric[NUM_SORTS];
    pytheus_view views[NUM_SORTS][64];
    int over;
} forking;

/* No memory is allocated here: an allocator may not survive that. */
static void spread_all(forking *f) {
    for (int i = 0; !__atomic_load_n(&f->over, __ATOMIC_ACQUIRE); i++)
        for (int s = 0; s < NUM_SORTS; s++) {
            (void)hit(f->views[s][i % 64], 1);
            pytheus__give_stripes(f->views[s][i % 64]);
        }
}

/* Every series counts on, with stripes or without, and new ones can be made. */
static int live_as_child(forking *f) {
    char id[32];
    int num_wrong = 0;
    alarm(CHILD_SECONDS);
    for (int s = 0; s < NUM_SORTS; s++)
        for (int i = 0; i < 70; i++) {
            snprintf(id, sizeof id, "%d", i);
            pytheus_view view = with_id(f->metric[s], id);
            double before = fixture_value(view);
            pytheus__give_stripes(view);
            hit_from_all(view);
            num_wrong += fixture_value(view) != before + 28;
        }
    reader_doc doc;
    pytheus_free(text_of(f->registry, &doc));
    return num_wrong + check_num_failed;
}

static void fork_again_and_again(forking *f) {
    for (int i = 0; i < rounds(100) && check_num_failed < 3; i++) {
        char id[32];
        snprintf(id, sizeof id, "new %d", i);
        for (int s = 0; s < NUM_SORTS; s++) /* which puts stripes in reserve */
            CHECK(with_id(f->metric[s], id).node != NULL);
        pid_t child = fork();
        if (!child)
            _exit(live_as_child(f) ? 1 : 0);
        int status = -1;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK_INT(status, 0);
    }
    __atomic_store_n(&f->over, 1, __ATOMIC_RELEASE);
}

static void fork_or_spread(void *shared, int thread) {
    if (thread)
        spread_all(shared);
    else
        fork_again_and_again(shared);
}

TEST(a_fork_while_stripes_are_handed_out) {
    static forking f;
    f.registry = registry_on(4);
    f.over = 0;
    for (int s = 0; s < NUM_SORTS; s++) {
        f.metric[s] = metric_of(f.registry, &sorts[s], 0);
        for (int i = 0; i < 64; i++) {
            char id[32];
            snprintf(id, sizeof id, "%d", i);
            f.views[s][i] = with_id(f.metric[s], id);
        }
    }
    in_threads(3, fork_or_spread, &f);
    free(page(f.registry));
    pytheus_registry_free(f.registry);
}

#endif

/* -- labels(): the same view for the same values, however they are spelled -- */

enum { MOST_VALUE = 1100, MOST_TUPLES = 150 };

/* What a value is given as, and what the page says: they differ in what is not UTF-8. */
typedef struct label_value {
    char given[MOST_VALUE + 1];
    char shown[MOST_VALUE * 3 + 1];
} label_value;

typedef struct tuple {
    label_value values[PYTHEUS_MAX_LABELS];
    pytheus_view view;
} tuple;

static tuple tuples[MOST_TUPLES];

typedef struct labelling {
    uint64_t state;
    pytheus_registry *registry;
    pytheus_view metric;
    char names[PYTHEUS_MAX_LABELS][24];
    size_t num_labels, num_tuples;
} labelling;

static size_t pick(labelling *l, size_t n) {
    return (size_t)(check_random(&l->state) % n);
}

static size_t pick_size(labelling *l) {
    switch (pick(l, 20)) {
    case 0:
        return pick(l, MOST_VALUE - 8);
    case 1:
        return 500 + pick(l, 20); /* as large as the quick way takes */
    default:
        return pick(l, 41);
    }
}

static void write_value(labelling *l, label_value *v) {
    static const struct {
        const char *given, *shown;
    } odd[] = {
        {"\xff", "\xef\xbf\xbd"},        {"\x80", "\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd"},    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xc3\xa9", "\xc3\xa9"},        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xef\xbf\xbd", "\xef\xbf\xbd"}};
    size_t size = pick_size(l), i;
    for (i = 0; i < size; i++)
        v->given[i] = (char)("abcdefgh\"\\\n 0{,=}~"[pick(l, 18)]);
    v->given[size] = '\0';
    if (pick(l, 4) || size > MOST_VALUE - 8) {
        strcpy(v->shown, v->given);
        return;
    }
    size_t which = pick(l, COUNT_OF(odd)), at = pick(l, size + 1);
    char rest[MOST_VALUE + 1];
    strcpy(rest, v->given + at);
    memcpy(v->shown, v->given, at);
    strcpy(v->given + at, odd[which].given);
    strcpy(v->shown + at, odd[which].shown);
    strcat(v->given, rest);
    strcat(v->shown, rest);
}

/* A new one, or like one before but for one label. */
static void write_tuple(labelling *l, tuple *t) {
    for (size_t i = 0; i < l->num_labels; i++)
        write_value(l, &t->values[i]);
    if (l->num_tuples && pick(l, 2)) {
        const tuple *like = &tuples[pick(l, l->num_tuples)];
        size_t other = pick(l, l->num_labels);
        for (size_t i = 0; i < l->num_labels; i++)
            if (i != other)
                t->values[i] = like->values[i];
    }
}

static bool same_values(const labelling *l, const tuple *a, const tuple *b) {
    for (size_t i = 0; i < l->num_labels; i++)
        if (strcmp(a->values[i].shown, b->values[i].shown) != 0)
            return false;
    return true;
}

/* The labels from a place in `order` on, as pairs. */
static size_t write_pairs(const labelling *l, const tuple *t, const size_t *order, size_t num,
                          const char **pairs) {
    for (size_t i = 0; i < num; i++) {
        pairs[2 * i] = l->names[order[i]];
        pairs[2 * i + 1] = t->values[order[i]].given;
    }
    return 2 * num;
}

static void shuffle(labelling *l, size_t *order, bool in_order) {
    for (size_t i = 0; i < l->num_labels; i++)
        order[i] = i;
    for (size_t i = l->num_labels; !in_order && i > 1; i--) {
        size_t other = pick(l, i), kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

/* From another series: what is different there. */
static pytheus_view spell_from(labelling *l, const tuple *t, const tuple *from,
                               const size_t *order) {
    const char *pairs[2 * PYTHEUS_MAX_LABELS];
    size_t different[PYTHEUS_MAX_LABELS], num = 0;
    for (size_t i = 0; i < l->num_labels; i++)
        if (strcmp(t->values[order[i]].given, from->values[order[i]].given) != 0 || !pick(l, 5))
            different[num++] = order[i];
    return labelled(from->view, pairs, write_pairs(l, t, different, num, pairs));
}

/* All at once, or some first and then the others. */
static pytheus_view spell(labelling *l, const tuple *t) {
    const char *pairs[2 * PYTHEUS_MAX_LABELS];
    size_t order[PYTHEUS_MAX_LABELS], how = pick(l, 8);
    shuffle(l, order, how % 2);
    if (how < 4)
        return labelled(l->metric, pairs, write_pairs(l, t, order, l->num_labels, pairs));
    if (how < 6 && l->num_tuples)
        return spell_from(l, t, &tuples[pick(l, l->num_tuples)], order);
    size_t first = pick(l, l->num_labels);
    pytheus_view base = labelled(l->metric, pairs, write_pairs(l, t, order, first, pairs));
    CHECK(!(base.generation & PYTHEUS__COMPLETE));
    size_t rest = write_pairs(l, t, order + first, l->num_labels - first, pairs);
    return labelled(base, pairs, rest);
}

static const tuple *find_tuple(const labelling *l, const tuple *t) {
    for (size_t i = 0; i < l->num_tuples; i++)
        if (same_values(l, &tuples[i], t))
            return &tuples[i];
    return NULL;
}

/* Twice, because the first time makes what the second finds. */
static void check_tuple(labelling *l) {
    tuple *t = &tuples[l->num_tuples];
    write_tuple(l, t);
    const tuple *known = find_tuple(l, t);
    t->view = spell(l, t);
    CHECK(t->view.generation & PYTHEUS__COMPLETE);
    CHECK(pytheus_view_equal(spell(l, t), t->view));
    CHECK(pytheus_view_equal(spell(l, t), t->view));
    if (known) {
        CHECK(pytheus_view_equal(t->view, known->view));
        return;
    }
    for (size_t i = 0; i < l->num_tuples; i++)
        CHECK(!pytheus_view_equal(t->view, tuples[i].view));
    (void)pytheus_counter_add((pytheus_counter){t->view}, (double)l->num_tuples);
    l->num_tuples++;
}

static void check_whole_page(labelling *l, bool is_kept) {
    page_reading reading = page_open(l->registry);
    page_expect_family(&reading, READER_COUNTER, "m", "");
    for (size_t i = 0; i < l->num_tuples; i++) {
        const char *pairs[2 * PYTHEUS_MAX_LABELS];
        for (size_t j = 0; j < l->num_labels; j++) {
            pairs[2 * j] = l->names[j];
            pairs[2 * j + 1] = tuples[i].values[j].shown;
        }
        page_expect(&reading, "m", pairs, 2 * l->num_labels, (double)i);
    }
    if (is_kept)
        page_close(&reading);
    else {
        CHECK_INT(reading.doc.num_samples, l->num_tuples);
        reader_free(&reading.doc);
        free(reading.expected);
        free(reading.text);
    }
}

/* Some names are the beginning of others. */
static void name_labels(labelling *l, pytheus_desc *desc) {
    for (size_t i = 0; i < l->num_labels; i++) {
        char *name = l->names[i];
        memset(name, 0, sizeof l->names[i]);
        if (i % 3)
            memcpy(name, l->names[i - 1], 20);
        else
            name[0] = (char)('z' - i);
        strcat(name, "_");
        desc->required_labels[i] = name;
    }
}

static void check_family(uint64_t seed, bool is_kept) {
    labelling l = {.state = seed, .num_labels = 1 + seed % PYTHEUS_MAX_LABELS};
    pytheus_desc desc = {.name = "m", .max_series = 100000};
    l.registry = desc.registry = registry_on(1);
    name_labels(&l, &desc);
    l.metric = pytheus_counter_new(&desc).view;
    CHECK(l.metric.node != NULL);
    for (int i = 0; i < MOST_TUPLES && check_num_failed < 20; i++)
        check_tuple(&l);
    check_whole_page(&l, is_kept);
    pytheus_registry_free(l.registry);
}

TEST(labels_in_any_spelling_against_a_list) {
    for (uint64_t seed = 0; seed < (IS_SANITIZED ? 32u : is_long() ? 2000u : 100u); seed++)
        check_family(seed, seed < PYTHEUS_MAX_LABELS);
}

/* In two labels, so that the second begins at every place in a word. */
TEST(each_byte_of_a_value_counts) {
    char first[100], second[100];
    pytheus_registry *r = registry_on(1);
    pytheus_counter m =
        COUNTER(r, .name = "m", .required_labels = {"a", "b"}, .max_series = 10000000);
    for (size_t size = 0; size <= 40; size++) {
        memset(first, 0, sizeof first);
        memset(first, 'x', size);
        for (size_t other = 0; other <= 24; other++) {
            memset(second, 0, sizeof second);
            memset(second, 'x', other);
            pytheus_counter c = pytheus_counter_labels(m, "a", first, "b", second);
            CHECK_SAME(pytheus_counter_labels(m, "a", first, "b", second), c);
            CHECK_SAME(pytheus_counter_labels(m, "b", second, "a", first), c);
            for (size_t i = 0; i < size + other; i++) {
                char *byte = i < size ? &first[i] : &second[i - size];
                *byte = 'y';
                pytheus_counter changed = pytheus_counter_labels(m, "a", first, "b", second);
                CHECK_DIFFERENT(changed, c);
                CHECK_SAME(pytheus_counter_labels(m, "b", second, "a", first), changed);
                *byte = 'x';
            }
        }
    }
    pytheus_registry_free(r);
}

/* Around what the quick way has room for: 1024 bytes with the NULs, 512 each. */
TEST(values_of_about_a_thousand_bytes) {
    static char a[1100], b[1100];
    pytheus_registry *r = registry_on(1);
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"});
    for (size_t first = 500; first < 520; first++) {
        for (size_t both = 1005; both < 1035; both++) {
            memset(a, 0, sizeof a);
            memset(b, 0, sizeof b);
            memset(a, 'a', first);
            memset(b, 'b', both - first);
            pytheus_counter c = pytheus_counter_labels(m, "a", a, "b", b);
            CHECK_SAME(pytheus_counter_labels(m, "a", a, "b", b), c);
            CHECK_SAME(pytheus_counter_labels(m, "b", b, "a", a), c);
            CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
            CHECK_LABELLED(r, "m", 1, "a", a, "b", b);
        }
    }
    pytheus_registry_free(r);
}

/* -- labels(): on handles of all kinds, with names of all kinds -- */

TEST_WITH(r, labels_on_handles_of_all_kinds) {
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"}, .max_series = 5);
    pytheus_counter partial = pytheus_counter_labels(m, "a", "1");
    pytheus_counter complete = pytheus_counter_labels(m, "a", "1", "b", "1");
    pytheus_counter c = pytheus_counter_labels(m, "a", "2", "b", "2");
    CHECK_SAME(pytheus_counter_labels(partial, "a", "2", "b", "2"), c);
    CHECK_SAME(pytheus_counter_labels(complete, "a", "2", "b", "2"), c);
    CHECK_SAME(pytheus_counter_labels(complete, "b", "2", "a", "2"), c);
    CHECK_SAME(pytheus_counter_view(c, NULL, 0), c);
    CHECK_SAME(pytheus_counter_view(partial, NULL, 0), partial);
    CHECK_NOTHING(pytheus_counter_view(m, NULL, 4));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    pytheus_counter gone = pytheus_counter_labels(m, "a", "3", "b", "3");
    CHECK_ERR(pytheus_view_remove(gone.view), PYTHEUS_OK);
    CHECK_NOTHING(pytheus_counter_labels(gone, "a", "2", "b", "2"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_REMOVED);
    CHECK_NOTHING(pytheus_counter_labels(gone, "a", "2"));
    const pytheus_counter nothing = {{NULL, 0}};
    const pytheus_gauge no_gauge = {m.view};
    CHECK_NOTHING(pytheus_counter_labels(nothing, "a", "2", "b", "2"));
    CHECK_NOTHING(pytheus_gauge_labels(no_gauge, "a", "2", "b", "2"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_TYPE);
}

TEST_WITH(r, labels_on_the_overflow_series) {
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"}, .max_series = 1);
    pytheus_counter c = pytheus_counter_labels(m, "a", "1", "b", "1");
    pytheus_counter overflow = pytheus_counter_labels(m, "a", "2", "b", "2");
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"m\"} 1");
    CHECK_SAME(pytheus_counter_labels(overflow, "a", "3", "b", "3"), overflow);
    CHECK_SAME(pytheus_counter_labels(overflow, "a", "1", "b", "1"), overflow);
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"m\"} 3");
    CHECK_SAME(pytheus_counter_labels(c, "a", "3", "b", "3"), overflow);
    CHECK_SAME(pytheus_counter_labels(m, "a", "1", "b", "1"), c);
    CHECK_LINE(r, "pytheus_overflow_calls_total{metric=\"m\"} 4");
}

TEST_WITH(r, names_that_are_the_beginning_of_others) {
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"ab", "a", "abc"});
    pytheus_counter c = pytheus_counter_labels(m, "ab", "1", "a", "2", "abc", "3");
    CHECK_SAME(pytheus_counter_labels(m, "a", "2", "ab", "1", "abc", "3"), c);
    CHECK_SAME(pytheus_counter_labels(m, "abc", "3", "ab", "1", "a", "2"), c);
    CHECK_DIFFERENT(pytheus_counter_labels(m, "ab", "2", "a", "1", "abc", "3"), c);
    CHECK_NOTHING(pytheus_counter_labels(m, "ab", "1", "a", "2", "abcd", "3"));
    CHECK_NOTHING(pytheus_counter_labels(m, "ab", "1", "", "2", "abc", "3"));
    CHECK_NOTHING(pytheus_counter_labels(m, "ab", "1", "a", "2", "ab\xff", "3"));
    CHECK_NOTHING(pytheus_counter_view(m, PAIRS("ab", "1", "a", "2", NULL, "3")));
    CHECK_NOTHING(pytheus_counter_view(m, PAIRS("ab", "1", "a", NULL, "abc", "3")));
    CHECK_NOTHING(pytheus_counter_view(m, PAIRS("ab", "1", "a", "2", "abc")));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
}

TEST_WITH(r, a_label_that_is_named_twice_has_the_last_value) {
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"});
    pytheus_counter partial = pytheus_counter_labels(m, "a", "2");
    CHECK_SAME(pytheus_counter_labels(m, "a", "1", "a", "2"), partial);
    CHECK_SAME(pytheus_counter_labels(m, "a", "1", "b", "1", "a", "2"),
               pytheus_counter_labels(m, "a", "2", "b", "1"));
    CHECK_ERR(pytheus_counter_inc(partial), PYTHEUS_ERR_UNOBSERVABLE);
}

/* What stands in a key for a label that is not set is no value that somebody can give. */
TEST_WITH(r, a_value_that_is_no_utf8_is_not_a_label_that_is_not_set) {
    static const char *const bad[] = {"\xff", "\xfe", "\x80", "\xff\xff", "x\xff", "\xffz"};
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"a", "b"});
    pytheus_counter partial = pytheus_counter_labels(m, "b", "1");
    CHECK(partial.view.node != NULL);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        pytheus_counter c = pytheus_counter_labels(m, "a", bad[i], "b", "1");
        CHECK_DIFFERENT(c, partial);
        CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
        CHECK_SAME(pytheus_counter_labels(m, "a", bad[i], "b", "1"), c);
        CHECK_SAME(pytheus_counter_labels(m, "b", "1", "a", bad[i]), c);
    }
    CHECK_LINE(r, "m{a=\"\xef\xbf\xbd\",b=\"1\"} 3");
}

/* -- buckets -- */

enum { MOST_BOUNDS = 200, MOST_OBSERVED = 3 * MOST_BOUNDS + 40 };

typedef struct buckets {
    uint64_t state;
    double bounds[MOST_BOUNDS];
    size_t num;
    double observed[MOST_OBSERVED];
    size_t num_observed;
} buckets;

static double any_finite(buckets *b) {
    double v;
    do {
        uint64_t bits = check_random(&b->state);
        memcpy(&v, &bits, sizeof v);
    } while (!isfinite(v));
    return v;
}

static double least_double(void) {
    return nextafter(0, 1);
}

static double next_bound(buckets *b, int how, size_t i) {
    switch (how) {
    case 0: /* neighbours around 0: denormals, 0, denormals */
        return ((double)i - 100) * least_double();
    case 1:
        return (double)i - 3;
    case 2:
        return i ? nextafter(b->bounds[i - 1], (double)INFINITY) : -DBL_MAX;
    case 3:
        return -DBL_MAX + (double)i * ldexp(1, 1000);
    default:
        return any_finite(b);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void choose_bounds(buckets *b, int how, size_t num) {
    size_t kept = 1;
    for (size_t i = 0; i < num; i++)
        b->bounds[i] = next_bound(b, how, i);
    qsort(b->bounds, num, sizeof *b->bounds, by_value);
    for (size_t i = 1; i < num; i++)
        if (b->bounds[i] > b->bounds[kept - 1])
            b->bounds[kept++] = b->bounds[i];
    b->num = kept;
}

static void choose_observed(buckets *b) {
    const double most = (double)INFINITY;
    static const double odd[] = {0, -0.0, 1, -1, DBL_MAX, -DBL_MAX, DBL_MIN, -DBL_MIN, 1e300, 0.1};
    size_t n = 0;
    for (size_t i = 0; i < b->num; i++) {
        b->observed[n++] = b->bounds[i];
        b->observed[n++] = nextafter(b->bounds[i], most);
        b->observed[n++] = nextafter(b->bounds[i], -most);
    }
    for (size_t i = 0; i < COUNT_OF(odd); i++)
        b->observed[n++] = odd[i];
    b->observed[n++] = most;
    b->observed[n++] = -most;
    for (int i = 0; i < 10; i++)
        b->observed[n++] = any_finite(b);
    b->num_observed = n;
}

static void expect_buckets(const buckets *b, size_t num_observed, uint64_t *cumulative) {
    memset(cumulative, 0, (MOST_BOUNDS + 1) * sizeof *cumulative);
    for (size_t i = 0; i < num_observed; i++)
        for (size_t j = 0; j <= b->num; j++)
            cumulative[j] += j == b->num || b->observed[i] <= b->bounds[j];
}

/* The lines of the buckets, in their order. */
static void check_bucket_lines(const buckets *b, pytheus_registry *r, const uint64_t *expected) {
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    const char *at = text;
    for (size_t i = 0; i <= b->num; i++) {
        at = strstr(at, "h_bucket{le=\"");
        if (!CHECK(at != NULL))
            break;
        at += strlen("h_bucket{le=\"");
        CHECK_DOUBLE(strtod(at, NULL), i < b->num ? b->bounds[i] + 0.0 : (double)INFINITY);
        at = strchr(at, ' ');
        CHECK_INT(strtoll(at, NULL, 10), expected[i]);
    }
    pytheus_free(text);
}

/* After one value, and after all: so no two mistakes make up for each other. */
static void check_buckets(buckets *b, int how, size_t num) {
    uint64_t expected[MOST_BOUNDS + 1];
    choose_bounds(b, how, num);
    choose_observed(b);
    pytheus_registry *r = registry_on(1);
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .buckets = b->bounds, .num_buckets = b->num);
    size_t num_alone = (size_t)(check_random(&b->state) % b->num_observed) + 1;
    for (size_t i = 0; i < b->num_observed; i++) {
        CHECK_ERR(pytheus_histogram_observe(h, b->observed[i]), PYTHEUS_OK);
        if (i + 1 == num_alone) {
            expect_buckets(b, num_alone, expected);
            check_bucket_lines(b, r, expected);
        }
    }
    expect_buckets(b, b->num_observed, expected);
    check_bucket_lines(b, r, expected);
    if (num % 40 == 1) {
        reader_doc doc;
        pytheus_free(text_of(r, &doc));
        reader_free(&doc);
    }
    pytheus_registry_free(r);
}

TEST(each_value_falls_into_the_bucket_that_a_simple_loop_finds) {
    static buckets b;
    for (int how = 0; how < 6; how++)
        for (size_t num = 1; num <= MOST_BOUNDS; num += IS_SANITIZED && num > 40 ? 7 : 1)
            check_buckets(&b, how, num);
}

/* Each alone, in each bucket of each size. */
TEST(one_value_in_one_bucket) {
    double bounds[MOST_BOUNDS];
    for (int i = 0; i < MOST_BOUNDS; i++)
        bounds[i] = i;
    for (size_t num = 1; num <= MOST_BOUNDS; num += num > 70 ? 13 : 1) {
        for (size_t bucket = 0; bucket <= num; bucket++) {
            pytheus_registry *r = registry_on(1);
            pytheus_histogram h = HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = num);
            char end[32];
            CHECK_ERR(pytheus_histogram_observe(h, (double)bucket - 0.5), PYTHEUS_OK);
            snprintf(end, sizeof end, "%d", (int)bucket);
            CHECK_LABELLED(r, "h_bucket", 1, "le", bucket < num ? end : "+Inf");
            if (bucket) {
                snprintf(end, sizeof end, "%d", (int)bucket - 1);
                CHECK_LABELLED(r, "h_bucket", 0, "le", end);
            }
            pytheus_registry_free(r);
        }
    }
}

/* -- text -- */

/* An expected page, put together with printf. */
typedef struct draft {
    char *text;
    size_t size, room;
} draft;

__attribute__((format(printf, 2, 3))) static void add_line(draft *d, const char *format, ...) {
    va_list arguments;
    if (d->room < d->size + 200000) {
        d->room = 2 * d->room + 200000;
        d->text = realloc(d->text, d->room);
        if (!d->text)
            abort();
    }
    va_start(arguments, format);
    d->size += (size_t)vsnprintf(d->text + d->size, d->room - d->size, format, arguments);
    va_end(arguments);
}

static void check_text(pytheus_registry *r, draft *expected) {
    reader_doc doc;
    char *text = text_of(r, &doc);
    CHECK_STR(text, expected->text);
    reader_free(&doc);
    pytheus_free(text);
    free(expected->text);
}

static char *fill(char *out, char byte, size_t size) {
    memset(out, byte, size);
    out[size] = '\0';
    return out;
}

TEST(names_and_labels_of_all_sizes) {
    static char name[80], label[80], value[80];
    for (size_t i = 1; i <= 70; i++) {
        pytheus_registry *r = registry_on(1);
        draft d = {NULL, 0, 0};
        fill(name, 'n', i);
        fill(label, 'l', 1 + (i * 7) % 70);
        pytheus_counter c = COUNTER(r, .name = name, .required_labels = {label});
        add_line(&d, "# TYPE %s counter\n", name);
        for (size_t j = 0; j <= 70; j++) {
            CHECK_ERR(pytheus_counter_add(pytheus_counter_labels(c, label, fill(value, 'v', j)),
                                          (double)(j * j * j)),
                      PYTHEUS_OK);
            add_line(&d, "%s{%s=\"%s\"} %d\n", name, label, value, (int)(j * j * j));
        }
        check_text(r, &d);
        pytheus_registry_free(r);
    }
}

TEST(lines_of_histograms_and_summaries_of_all_sizes) {
    static char name[80], value[80];
    static const double bounds[] = {-1.5, 1e-300, 12345.678};
    static const char *const ends[] = {"-1.5", "1e-300", "12345.678", "+Inf"};
    for (size_t i = 1; i <= 70; i++) {
        pytheus_registry *r = registry_on(1);
        draft d = {NULL, 0, 0};
        fill(name, 'h', i);
        pytheus_histogram h = HISTOGRAM(r, .name = name, .required_labels = {"l"},
                                        .buckets = bounds, .num_buckets = 3);
        add_line(&d, "# TYPE %s histogram\n", name);
        for (size_t j = 0; j <= 70; j += 1 + i % 3) {
            (void)pytheus_histogram_observe(pytheus_histogram_labels(h, "l", fill(value, 'v', j)),
                                            -1e-7 - (double)j);
            for (int k = 0; k < 4; k++)
                add_line(&d, "%s_bucket{l=\"%s\",le=\"%s\"} %d\n", name, value, ends[k],
                         k || j > 1);
            add_line(&d, "%s_sum{l=\"%s\"} -%s\n", name, value, j ? "" : "1e-07");
            if (j) {
                char number[40];
                *pytheus__put_double(number, 1e-7 + (double)j) = '\0';
                d.size--;
                add_line(&d, "%s\n", number);
            }
            add_line(&d, "%s_count{l=\"%s\"} 1\n", name, value);
        }
        fill(name, 's', i);
        pytheus_summary s = SUMMARY(r, .name = name);
        (void)pytheus_summary_observe(s, 0.5);
        add_line(&d, "# TYPE %s summary\n%s_sum 0.5\n%s_count 1\n", name, name, name);
        check_text(r, &d);
        pytheus_registry_free(r);
    }
}

TEST(values_at_the_edges_of_digits) {
    pytheus_registry *r = registry_on(1);
    draft d = {NULL, 0, 0};
    pytheus_counter m = COUNTER(r, .name = "m", .required_labels = {"v"}, .max_series = 100000);
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"v"},
                                    .buckets = (const double[]){1}, .num_buckets = 1);
    CHECK(h.view.node != NULL);
    add_line(&d, "# TYPE m counter\n");
    for (uint64_t power = 1; power < UINT64_C(10000000000000000); power *= 10)
        for (int off = -1; off < 2; off++)
            for (uint64_t times = 1; times < 10; times++) {
                uint64_t v = power * times + (uint64_t)(int64_t)off;
                char id[40];
                if (v > UINT64_C(9007199254740992))
                    continue;
                snprintf(id, sizeof id, "%" PRIu64 " %d %d", power, off, (int)times);
                CHECK_ERR(pytheus_counter_add(pytheus_counter_labels(m, "v", id), (double)v),
                          PYTHEUS_OK);
                add_line(&d, "m{v=\"%s\"} %" PRIu64 "\n", id, v);
            }
    for (int off = -3; off <= 3; off++) {
        char id[40];
        uint64_t v = (UINT64_C(1) << 53) + (uint64_t)(int64_t)off;
        snprintf(id, sizeof id, "%d", off);
        pytheus_counter c = pytheus_counter_labels(m, "v", id);
        CHECK_ERR(pytheus_counter_add(c, 9007199254740000.0), PYTHEUS_OK);
        for (uint64_t i = 9007199254740000; i < v; i++)
            (void)pytheus_counter_inc(c);
        char number[40];
        *pytheus__put_double(number, (double)v) = '\0';
        if (off <= 0)
            snprintf(number, sizeof number, "%" PRIu64, v);
        add_line(&d, "m{v=\"%s\"} %s\n", id, number);
    }
    add_line(&d, "# TYPE h histogram\n");
    check_text(r, &d);
    pytheus_registry_free(r);
}

/* Lines of all sorts, so that the end of a chunk falls into every place of each. */
TEST(the_end_of_a_chunk_in_every_place_of_a_line) {
    static char help[400], value[400];
    for (size_t shift = 0; shift < 260; shift += IS_SANITIZED ? 3 : 1) {
        pytheus_registry *r = registry_on(1);
        draft d = {NULL, 0, 0};
        pytheus_counter c = COUNTER(r, .name = "c_total", .help = fill(help, 'h', 1 + shift),
                                    .required_labels = {"label"});
        add_line(&d, "# HELP c_total %s\n# TYPE c_total counter\n", help);
        for (int i = 0; d.size < 64500; i++) {
            char id[16];
            snprintf(id, sizeof id, "%d", i);
            fill(value, 'v', 60);
            memcpy(value, id, strlen(id));
            (void)pytheus_counter_add(pytheus_counter_labels(c, "label", value),
                                      i % 2 ? 12345678 : 0.25);
            add_line(&d, "c_total{label=\"%s\"} %s\n", value, i % 2 ? "12345678" : "0.25");
        }
        pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"label"},
                                        .buckets = (const double[]){1, 2}, .num_buckets = 2);
        add_line(&d, "# TYPE h histogram\n");
        for (int i = 0; i < 12; i++) {
            char id[16];
            snprintf(id, sizeof id, "%d", i);
            (void)pytheus_histogram_observe(pytheus_histogram_labels(h, "label", id), 1.5);
            add_line(&d,
                     "h_bucket{label=\"%d\",le=\"1\"} 0\nh_bucket{label=\"%d\",le=\"2\"} 1\n"
                     "h_bucket{label=\"%d\",le=\"+Inf\"} 1\nh_sum{label=\"%d\"} 1.5\n"
                     "h_count{label=\"%d\"} 1\n",
                     i, i, i, i, i);
        }
        CHECK(d.size > PYTHEUS__CHUNK_SIZE);
        check_text(r, &d);
        pytheus_registry_free(r);
    }
}

/* One series that nearly fills a chunk, fills it, or does not fit: written as a whole, with or
   without the lock. */
TEST(series_as_large_as_a_chunk) {
    static char value[PYTHEUS__CHUNK_SIZE + 100];
    const size_t rest = PYTHEUS__REST_OF_LINE;
    for (int spread = 0; spread < 2; spread++)
        for (size_t size = PYTHEUS__CHUNK_SIZE - rest - 30; size < PYTHEUS__CHUNK_SIZE + 40;
             size += IS_SANITIZED ? 7 : 1) {
            pytheus_registry *r = registry_on(1);
            draft d = {NULL, 0, 0};
            pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"l"}, .max_series = 9,
                                        .stripes = spread ? 2 : 0);
            (void)pytheus_counter_inc(pytheus_counter_labels(c, "l", fill(value, 'v', size)));
            add_line(&d, "# TYPE c counter\nc{l=\"%s\"} 1\n", value);
            (void)pytheus_counter_add(pytheus_counter_labels(c, "l", "next"), 0.5);
            add_line(&d, "c{l=\"next\"} 0.5\n");
            check_text(r, &d);
            pytheus_registry_free(r);
        }
}

TEST(histograms_as_large_as_a_chunk) {
    static char value[PYTHEUS__CHUNK_SIZE + 100];
    const size_t line = PYTHEUS__CHUNK_SIZE / 4; /* a bucket, +Inf, _sum and _count */
    for (size_t size = line - PYTHEUS__REST_OF_LINE - 30; size < line + 40;
         size += IS_SANITIZED ? 5 : 1) {
        pytheus_registry *r = registry_on(1);
        draft d = {NULL, 0, 0};
        pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"l"},
                                        .buckets = (const double[]){1}, .num_buckets = 1);
        (void)pytheus_histogram_observe(pytheus_histogram_labels(h, "l", fill(value, 'v', size)),
                                        0.5);
        add_line(&d,
                 "# TYPE h histogram\nh_bucket{l=\"%s\",le=\"1\"} 1\n"
                 "h_bucket{l=\"%s\",le=\"+Inf\"} 1\nh_sum{l=\"%s\"} 0.5\nh_count{l=\"%s\"} 1\n",
                 value, value, value, value);
        check_text(r, &d);
        pytheus_registry_free(r);
    }
}
