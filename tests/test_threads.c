/* Everything from many threads at once. Most of what is here says more under ThreadSanitizer,
   but each test also checks results that go wrong without it: sums, lives, pages. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "backends.h"
#include "crew.h"

#include <pthread.h>
#ifdef __linux__
#include <signal.h>
#include <ucontext.h>
#endif

enum { NUM_THREADS = MOST_THREADS };

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* So many times, or as many as the kind of run has time for. */
static int rounds(int n) {
    n = is_long() ? n * 10 : n;
#ifdef UNDER_TSAN
    n = n / 10;
#endif
    return n > 1 ? n : 1;
}

#define LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* Where threads of a crew meet again and again. */
typedef struct meeting {
    pthread_barrier_t barrier;
} meeting;

static void meet(meeting *m) {
    pthread_barrier_wait(&m->barrier);
}

/* -- pages -- */

typedef struct buffer {
    char *text;
    size_t size, room;
} buffer;

static pytheus_err gather(void *user, const char *bytes, size_t size) {
    buffer *b = user;
    if (b->size + size >= b->room) {
        b->room = 2 * (b->size + size + 1);
        b->text = realloc(b->text, b->room);
        if (!b->text)
            abort();
    }
    memcpy(b->text + b->size, bytes, size);
    b->size += size;
    b->text[b->size] = 0;
    return PYTHEUS_OK;
}

/* That each `_count` is what the bucket +Inf before it says. */
static void check_counts(const char *text) {
    const char *infinite = NULL;
    size_t size = 0;
    for (const char *end, *line = text; (end = strchr(line, '\n')); line = end + 1) {
        const char *value = end;
        while (value > line && value[-1] != ' ')
            value--;
        if (value - line > 13 && !strncmp(value - 13, "le=\"+Inf\"} ", 11))
            infinite = value;
        if (value - line > 11 && !strncmp(value - 11, "le=\"+Inf\"} ", 11))
            infinite = value;
        if (infinite == value)
            size = (size_t)(end - value);
        if (infinite && strncmp(line, "observed_count", 14) == 0)
            check_that(size == (size_t)(end - value) && !strncmp(value, infinite, size), __FILE__,
                       __LINE__, "%.*s but +Inf says %.*s", (int)(end - line), line, (int)size,
                       infinite);
    }
}

/* Read by the strict reader, but not kept for others: there are thousands. */
static void check_valid(const char *text) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    if (check_that(reader_parse(text, strlen(text), &doc, error), __FILE__, __LINE__, "%s", error))
        reader_free(&doc);
}

/* The page, through a sink. To be freed. */
static char *scrape(pytheus_registry *registry) {
    buffer b = {NULL, 0, 0};
    pytheus_sink sink = {gather, &b};
    gather(&b, "", 0);
    CHECK_ERR(pytheus_write(registry, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    check_valid(b.text);
    check_counts(b.text);
    return b.text;
}

/* How many of the first n numbers the page has not, in `<start>%d"`, and how many it has twice. */
static void look_for(const char *text, const char *start, int n, int *num_lost, int *num_twice) {
    bool *seen = calloc((size_t)n + 1, sizeof *seen);
    if (!seen)
        abort();
    *num_lost = n;
    *num_twice = 0;
    for (const char *at = text; (at = strstr(at, start)); at++) {
        long i = strtol(at + strlen(start), NULL, 10);
        if (i >= 0 && i < n) {
            *num_lost -= !seen[i];
            *num_twice += seen[i];
            seen[i] = true;
        }
    }
    free(seen);
}

static double value_of(pytheus_view view) {
    double value = -1;
    CHECK_ERR(pytheus_view_get(view, &value), PYTHEUS_OK);
    return value;
}

static double sample_of(pytheus_registry *registry, const char *sample, const char *id) {
    const char *const pairs[] = {"id", id};
    double value = -1;
    CHECK_ERR(pytheus_sample_value(registry, sample, pairs, id ? 2 : 0, &value), PYTHEUS_OK);
    return value;
}

static void ignore_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

/* Late operations are refused by the thousand here: no news. */
static pytheus_registry *quiet_registry(void) {
    return backends_registry(&(pytheus_registry_desc){.logger = {ignore_log, NULL}});
}

static pytheus_desc with_id(pytheus_registry *registry, const char *name) {
    return (pytheus_desc){.name = name,
                          .help = "Of many threads.",
                          .required_labels = {"id"},
                          .max_series = 100000,
                          .registry = registry};
}

/* -- the default registry: first, while nobody has used it -- */

static void use_default(void *shared, int thread) {
    pytheus_registry **seen = shared;
    pytheus_counter c;
    seen[thread] = pytheus_default();
    c = pytheus_counter_new(&(pytheus_desc){.name = "first"});
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
}

TEST(first_use_of_the_default_registry) {
    pytheus_registry *seen[NUM_THREADS];
    in_threads(NUM_THREADS, use_default, seen);
    for (int i = 0; i < NUM_THREADS; i++)
        CHECK(seen[i] && seen[i] == seen[0]);
    CHECK_PAGE(NULL, "# TYPE first counter\nfirst 8\n");
    pytheus_registry_free(pytheus_default());
}

/* -- the mix: all operations on the same families -- */

/* Series that nobody removes, some made before their family's first removal and some after it. */
enum { NUM_KEPT = 8 };

typedef struct mix {
    pytheus_registry *registry;
    pytheus_counter counter, always;
    pytheus_gauge gauge;
    pytheus_histogram histogram;
    pytheus_summary summary;
    pytheus_counter cleared;
    pytheus_counter kept_counter[NUM_KEPT];
    pytheus_gauge kept_gauge[NUM_KEPT];
    pytheus_histogram kept_histogram[NUM_KEPT];
    pytheus_summary kept_summary[NUM_KEPT];
    int num_rounds;
} mix;

static void keep(mix *m, int i) {
    char id[32];
    snprintf(id, sizeof id, "kept %d", i);
    m->kept_counter[i] = pytheus_counter_labels(m->counter, "id", id);
    m->kept_gauge[i] = pytheus_gauge_labels(m->gauge, "id", id);
    m->kept_histogram[i] = pytheus_histogram_labels(m->histogram, "id", id);
    m->kept_summary[i] = pytheus_summary_labels(m->summary, "id", id);
}

static void remove_one_of_each(mix *m) {
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(m->counter, "id", "x").view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(pytheus_gauge_labels(m->gauge, "id", "x").view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(pytheus_histogram_labels(m->histogram, "id", "x").view),
              PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(pytheus_summary_labels(m->summary, "id", "x").view), PYTHEUS_OK);
}

static void begin_mix(mix *m) {
    pytheus_desc desc = with_id(quiet_registry(), "counted");
    m->registry = desc.registry;
    m->counter = pytheus_counter_new(&desc);
    desc.name = "gauged";
    m->gauge = pytheus_gauge_new(&desc);
    desc.name = "observed";
    m->histogram = pytheus_histogram_new(&desc);
    desc.name = "summed";
    m->summary = pytheus_summary_new(&desc);
    desc.name = "cleared";
    m->cleared = pytheus_counter_new(&desc);
    m->always = pytheus_counter_new(&(pytheus_desc){.name = "always", .registry = m->registry});
    m->num_rounds = rounds(20000) / NUM_KEPT * NUM_KEPT;
    for (int i = 0; i < NUM_KEPT; i++) {
        if (i == NUM_KEPT / 2)
            remove_one_of_each(m);
        keep(m, i);
    }
}

static void count_in_kept(mix *m, int i) {
    int k = i % NUM_KEPT;
    char id[32];
    snprintf(id, sizeof id, "kept %d", k);
    (void)pytheus_counter_inc(m->kept_counter[k]);
    (void)pytheus_counter_add(m->kept_counter[k], 0.25);
    (void)pytheus_counter_add(pytheus_counter_labels(m->counter, "id", id), 2);
    (void)pytheus_gauge_add(m->kept_gauge[k], 3.5);
    (void)pytheus_gauge_sub(pytheus_gauge_labels(m->gauge, "id", id), 1);
    (void)pytheus_gauge_inc(m->kept_gauge[k]);
    (void)pytheus_gauge_dec(m->kept_gauge[k]);
    (void)pytheus_histogram_observe(m->kept_histogram[k], (i / NUM_KEPT) % 2 ? 0.75 : 20);
    (void)pytheus_histogram_observe(pytheus_histogram_labels(m->histogram, "id", id), 0.0625);
    (void)pytheus_summary_observe(m->kept_summary[k], 0.5);
}

/* Series of this thread alone, which end at once. */
static void come_and_go(mix *m, int thread, int i) {
    char id[32];
    snprintf(id, sizeof id, "gone %d %d", thread, i);
    pytheus_counter c = pytheus_counter_labels(m->counter, "id", id);
    pytheus_histogram h = pytheus_histogram_labels(m->histogram, "id", id);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_OK);
    CHECK_DOUBLE(value_of(c.view), 1);
    CHECK_DOUBLE(value_of(h.view), 1);
    CHECK_ERR(pytheus_view_remove(c.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(h.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_histogram_observe(h, 1), PYTHEUS_ERR_REMOVED);
}

/* Series that every thread may remove under the others' hands. */
static void quarrel(mix *m, int thread, int i) {
    char id[32];
    snprintf(id, sizeof id, "shared %d", i % 20);
    pytheus_gauge g = pytheus_gauge_labels(m->gauge, "id", id);
    pytheus_summary s = pytheus_summary_labels(m->summary, "id", id);
    (void)pytheus_gauge_set(g, i);
    (void)pytheus_summary_observe(s, i);
    if ((i + thread) % 3 == 0) {
        (void)pytheus_view_remove(g.view);
        (void)pytheus_view_remove(s.view);
    }
    (void)pytheus_counter_inc(pytheus_counter_labels(m->cleared, "id", id));
    if (i % 50 == 0)
        (void)pytheus_view_clear(m->cleared.view);
    if (i % 40 == 0)
        (void)pytheus_view_remove(m->always.view);
    (void)pytheus_counter_inc(m->always);
}

static void do_all(void *shared, int thread) {
    mix *m = shared;
    for (int i = 0; i < m->num_rounds; i++) {
        count_in_kept(m, i);
        if (i % 4 == 0)
            come_and_go(m, thread, i);
        if (i % 4 == 2)
            quarrel(m, thread, i / 4);
        if (i % 256 == 32 * thread)
            free(scrape(m->registry));
    }
}

static void check_kept(mix *m, int i) {
    char id[32];
    double n = (double)m->num_rounds / NUM_KEPT * NUM_THREADS;
    snprintf(id, sizeof id, "kept %d", i);
    CHECK_DOUBLE(value_of(m->kept_counter[i].view), n * 3.25);
    CHECK_DOUBLE(value_of(m->kept_gauge[i].view), n * 2.5);
    CHECK_DOUBLE(value_of(m->kept_summary[i].view), n * 0.5);
    CHECK_DOUBLE(sample_of(m->registry, "summed_count", id), n);
    CHECK_DOUBLE(sample_of(m->registry, "observed_count", id), 2 * n);
    CHECK_DOUBLE(value_of(m->kept_histogram[i].view), n * (0.375 + 10 + 0.0625));
}

TEST(sums_of_series_that_stay_are_exact) {
    mix m;
    begin_mix(&m);
    in_threads(NUM_THREADS, do_all, &m);
    for (int i = 0; i < NUM_KEPT; i++)
        check_kept(&m, i);
    CHECK_ERR(pytheus_view_clear(m.cleared.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_remove(m.always.view), PYTHEUS_OK);
    CHECK_LINE(m.registry, "always 0");
    CHECK_NO_LINE(m.registry, "cleared{id=\"shared 0\"} 1");
    pytheus_registry_free(m.registry);
}

/* -- lives: what comes late must not land in the series that took the place of a removed one -- */

static const double MARK = 1000003;

typedef struct late_operation {
    const char *name;
    pytheus_type type;
    pytheus_err (*late)(pytheus_view view); /* of slow threads, on a series that is being removed */
    pytheus_err (*own)(pytheus_view view);  /* of who made the next series */
    double unit;                            /* what each own() adds to the value */
    bool leads_to_another;                  /* of these, after some steps that change nothing */
} late_operation;

#define OPERATION(function, kind, call)                                                            \
    static pytheus_err function(pytheus_view view) {                                               \
        pytheus_##kind it = {view};                                                                \
        return call;                                                                               \
    }
OPERATION(inc, counter, pytheus_counter_inc(it))
OPERATION(add_thousand, counter, pytheus_counter_add(it, 1000))
OPERATION(add_mark, counter, pytheus_counter_add(it, MARK))
OPERATION(add_half, counter, pytheus_counter_add(it, 0.5))
OPERATION(add_fraction_and_mark, counter, pytheus_counter_add(it, MARK + 0.5))
OPERATION(set_mark, counter, pytheus_counter_set(it, MARK))
OPERATION(gauge_inc, gauge, pytheus_gauge_inc(it))
OPERATION(gauge_dec, gauge, pytheus_gauge_dec(it))
OPERATION(gauge_add_mark, gauge, pytheus_gauge_add(it, MARK))
OPERATION(gauge_add_thousand, gauge, pytheus_gauge_add(it, 1000))
OPERATION(gauge_set_mark, gauge, pytheus_gauge_set(it, MARK))
OPERATION(gauge_set_time, gauge, pytheus_gauge_set_to_current_time(it))
OPERATION(observe_mark, histogram, pytheus_histogram_observe(it, MARK))
OPERATION(observe_one, histogram, pytheus_histogram_observe(it, 1))
OPERATION(summary_observe_mark, summary, pytheus_summary_observe(it, MARK))
OPERATION(summary_observe_one, summary, pytheus_summary_observe(it, 1))

static const late_operation late_operations[] = {
    {"counter inc", PYTHEUS_COUNTER, inc, add_thousand, 1000, false},
    {"counter add, whole", PYTHEUS_COUNTER, add_mark, inc, 1, false},
    {"counter add, fraction", PYTHEUS_COUNTER, add_fraction_and_mark, add_half, 0.5, false},
    {"counter set", PYTHEUS_COUNTER, set_mark, inc, 1, false},
    {"gauge inc", PYTHEUS_GAUGE, gauge_inc, gauge_add_thousand, 1000, true},
    {"gauge dec", PYTHEUS_GAUGE, gauge_dec, gauge_add_thousand, 1000, true},
    {"gauge add", PYTHEUS_GAUGE, gauge_add_mark, gauge_inc, 1, false},
    {"gauge set", PYTHEUS_GAUGE, gauge_set_mark, gauge_inc, 1, false},
    {"gauge set to time", PYTHEUS_GAUGE, gauge_set_time, gauge_inc, 1, true},
    {"histogram observe", PYTHEUS_HISTOGRAM, observe_mark, observe_one, 1, false},
    {"summary observe", PYTHEUS_SUMMARY, summary_observe_mark, summary_observe_one, 1, false},
};
enum { NUM_LATE = sizeof late_operations / sizeof *late_operations };

static pytheus_view new_metric(pytheus_type type, const pytheus_desc *desc) {
    switch (type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_new(desc).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_new(desc).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_new(desc).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_new(desc).view;
    default:
        break;
    }
    return (pytheus_view){NULL, 0};
}

static pytheus_view labelled(pytheus_type type, pytheus_view metric, const char *id) {
    const char *const pairs[] = {"id", id};
    switch (type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_view((pytheus_counter){metric}, pairs, 2).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_view((pytheus_gauge){metric}, pairs, 2).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_view((pytheus_histogram){metric}, pairs, 2).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_view((pytheus_summary){metric}, pairs, 2).view;
    default:
        break;
    }
    return (pytheus_view){NULL, 0};
}

/* A family in which one series follows another, in the same memory. */
typedef struct succession {
    const late_operation *of;
    pytheus_registry *registry;
    pytheus_view metric, current;
    char name[32], id[32];
    long num_lives, num_reused;
} succession;

static void begin_succession(succession *s, const late_operation *of) {
    pytheus_desc desc = with_id(quiet_registry(), "life");
    memset(s, 0, sizeof *s);
    strcpy(s->name, desc.name);
    s->of = of;
    s->registry = desc.registry;
    s->metric = new_metric(of->type, &desc);
    CHECK(s->metric.node);
    CHECK_ERR(pytheus_view_remove(labelled(of->type, s->metric, "the first removal")), PYTHEUS_OK);
}

/* Labels of one size, so that each life fits where the one before was. */
static void begin_life(succession *s) {
    const struct pytheus__node *before = s->current.node;
    snprintf(s->id, sizeof s->id, "%08ld", s->num_lives++);
    s->current = labelled(s->of->type, s->metric, s->id);
    s->num_reused += s->current.node == before;
}

/* That the series holds this and nothing else. */
static void check_holds(const succession *s, double wanted, int num, const char *how) {
    double value = -1, count = num;
    const char *const pairs[] = {"id", s->id};
    char sample[48];
    pytheus_err err = pytheus_view_get(s->current, &value);
    snprintf(sample, sizeof sample, "%s_count", s->name);
    if (!err && (s->of->type == PYTHEUS_HISTOGRAM || s->of->type == PYTHEUS_SUMMARY))
        err = pytheus_sample_value(s->registry, sample, pairs, 2, &count);
    check_that(!err && value == wanted && count == num, __FILE__, __LINE__,
               "%s, %s: life %s has value %.17g, not %.17g, count %g, not %d, error %d", how,
               s->of->name, s->id, value, wanted, count, num, (int)err);
}

/* What its maker has added, so many units. */
static void check_life(const succession *s, int num_own, const char *how) {
    check_holds(s, num_own * s->of->unit, num_own, how);
}

/* Or these tests would see nothing. */
static void check_reuse(const succession *s) {
    CHECK(s->num_reused > s->num_lives / 2);
}

static void end_succession(succession *s) {
    free(scrape(s->registry));
    pytheus_registry_free(s->registry);
}

/* Slow threads get each series only after its maker has looked at it, and go on with it after it
   was removed; what they bring to its successor is seen there. */
typedef struct slow_crowd {
    succession s;
    pthread_mutex_t lock;
    pytheus_view published;
    int over;
} slow_crowd;

static void publish(slow_crowd *c, pytheus_view view) {
    pthread_mutex_lock(&c->lock);
    c->published = view;
    pthread_mutex_unlock(&c->lock);
}

static void be_slow(slow_crowd *c) {
    while (!LOAD(&c->over)) {
        pthread_mutex_lock(&c->lock);
        pytheus_view view = c->published;
        pthread_mutex_unlock(&c->lock);
        for (int i = 0; i < 50; i++)
            (void)c->s.of->late(view);
    }
}

/* Until a slow thread has touched the series, or it seems that none runs. */
static void await_touch(const slow_crowd *c, double untouched) {
    double value = untouched;
    for (int i = 0; i < 300 && value == untouched; i++)
        (void)pytheus_view_get(c->s.current, &value);
}

static void live(slow_crowd *c) {
    enum { NUM_OWN = 20 };
    begin_life(&c->s);
    check_life(&c->s, 0, "among slow threads");
    for (int i = 0; i < NUM_OWN; i++)
        CHECK_ERR(c->s.of->own(c->s.current), PYTHEUS_OK);
    check_life(&c->s, NUM_OWN, "among slow threads");
    publish(c, c->s.current);
    await_touch(c, NUM_OWN * c->s.of->unit);
    CHECK_ERR(pytheus_view_remove(c->s.current), PYTHEUS_OK);
}

static void live_or_be_slow(void *shared, int thread) {
    slow_crowd *c = shared;
    if (thread) {
        be_slow(c);
        return;
    }
    for (int i = 0; i < rounds(2000) && check_num_failed < 20; i++)
        live(c);
    STORE(&c->over, 1);
}

TEST(a_new_series_holds_only_what_was_added_to_it) {
    for (int i = 0; i < NUM_LATE; i++) {
        slow_crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER};
        begin_succession(&c.s, &late_operations[i]);
        in_threads(NUM_THREADS, live_or_be_slow, &c);
        check_reuse(&c.s);
        end_succession(&c.s);
        pthread_mutex_destroy(&c.lock);
    }
}

/* ThreadSanitizer does not bear to be stopped anywhere. */
#if defined(__linux__) && (defined(__x86_64__) || defined(__i386__)) && !defined(UNDER_TSAN)

/* An operation is stopped after its first instruction, its second, and so on to the last. Each time
   its series is removed there, the place is taken by a new one, and then it goes on. */
typedef struct stage {
    succession s;
    void (*begin)(struct stage *);
    void (*act)(struct stage *); /* what is stopped */
    void (*intervene)(struct stage *);
    void (*check)(struct stage *);
    pytheus_view view, found;
    pytheus_desc desc;
    char id[32];
    double value;
    pytheus_err err;
    int num_own; /* operations on the new series */
} stage;

#include "steps.h"

static void perform(stage *st, const late_operation *of) {
    begin_succession(&st->s, of);
    st->desc = with_id(st->s.registry, st->s.name);
    stop_at_each_step(st);
    end_succession(&st->s);
}

static void perform_all(stage st) {
    for (int i = 0; i < NUM_LATE; i++)
        if (!late_operations[i].leads_to_another)
            perform(&st, &late_operations[i]);
}

static void begin_reused(stage *st) {
    if (st->s.current.node)
        (void)pytheus_view_remove(st->s.current);
    begin_life(&st->s);
    st->view = st->s.current;
    memcpy(st->id, st->s.id, sizeof st->id);
}

static void act_late(stage *st) {
    st->err = st->s.of->late(st->view);
}

/* Nothing takes the place of a series in whose cells somebody is counted. */
static void succeed(stage *st) {
    CHECK_ERR(pytheus_view_remove(st->view), PYTHEUS_OK);
    begin_life(&st->s);
    CHECK(st->s.current.node == st->view.node || backends_is("atomic"));
    for (int i = 0; i < st->num_own; i++)
        CHECK_ERR(st->s.of->own(st->s.current), PYTHEUS_OK);
}

static void check_own(stage *st) {
    check_life(&st->s, st->num_own, "stopped");
}

TEST(an_operation_stopped_anywhere_does_not_reach_the_next_life) {
    LEAVE_IF(backends_locks(), "an operation stopped in its mutex stops all others");
    if (!can_stop())
        SKIP("no single steps here");
    perform_all(
        (stage){.begin = begin_reused, .act = act_late, .intervene = succeed, .check = check_own});
}

/* Series of a family that has had no removal yet are of another make: nothing may take their
   place. */
static void begin_first(stage *st) {
    snprintf(st->s.name, sizeof st->s.name, "first_%ld", st->s.num_lives);
    st->desc.name = st->s.name;
    st->s.metric = new_metric(st->s.of->type, &st->desc);
    begin_life(&st->s);
    st->view = st->s.current;
}

static void succeed_first(stage *st) {
    CHECK_ERR(pytheus_view_remove(st->view), PYTHEUS_OK);
    begin_life(&st->s);
}

TEST(an_operation_stopped_in_the_first_life_does_not_reach_the_next) {
    LEAVE_IF(backends_locks(), "an operation stopped in its mutex stops all others");
    if (!can_stop())
        SKIP("no single steps here");
    perform_all((stage){
        .begin = begin_first, .act = act_late, .intervene = succeed_first, .check = check_own});
}

static void read_late(stage *st) {
    st->err = pytheus_view_get(st->view, &st->value);
}

static void check_read(stage *st) {
    check_that(st->err ? st->err == PYTHEUS_ERR_REMOVED : st->value == 0, __FILE__, __LINE__,
               "%s: read %.17g of the next life", st->s.of->name, st->value);
}

TEST(a_read_stopped_anywhere_does_not_see_the_next_life) {
    LEAVE_IF(backends_locks(), "an operation stopped in its mutex stops all others");
    if (!can_stop())
        SKIP("no single steps here");
    perform_all((stage){.begin = begin_reused,
                        .act = read_late,
                        .intervene = succeed,
                        .check = check_read,
                        .num_own = 3});
}

static void look_up_late(stage *st) {
    st->found = labelled(st->s.of->type, st->s.metric, st->id);
}

/* It may find the removed series, or make its labels anew, but not find the series of other
   labels. */
static void check_found(stage *st) {
    CHECK(st->found.node);
    CHECK(!pytheus_view_equal(st->found, st->s.current));
    if (!st->s.of->late(st->found))
        CHECK_ERR(pytheus_view_remove(st->found), PYTHEUS_OK);
    check_life(&st->s, st->num_own, "looked up");
}

TEST(a_lookup_stopped_anywhere_does_not_find_the_next_life) {
    stage st = {.begin = begin_reused,
                .act = look_up_late,
                .intervene = succeed,
                .check = check_found,
                .num_own = 1};
    LEAVE_IF(backends_locks(), "an operation stopped in its mutex stops all others");
    if (!can_stop())
        SKIP("no single steps here");
    perform(&st, &late_operations[1]);
}

/* From a view that is being removed: the labels that it had, or refusal, but not those of the
   next. */
static void add_label_late(stage *st) {
    const char *const pairs[] = {"b", "2"};
    st->found = pytheus_gauge_view((pytheus_gauge){st->view}, pairs, 2).view;
}

static void begin_partial(stage *st) {
    (void)pytheus_view_clear(st->s.metric);
    snprintf(st->id, sizeof st->id, "%04ld", st->s.num_lives++); /* as long as "next" */
    st->view = pytheus_gauge_labels((pytheus_gauge){st->s.metric}, "a", st->id).view;
    add_label_late(st); /* to be found, since making it takes a lock */
}

static void succeed_partial(stage *st) {
    CHECK_ERR(pytheus_view_remove(st->view), PYTHEUS_OK);
    st->s.current = pytheus_gauge_labels((pytheus_gauge){st->s.metric}, "a", "next").view;
    CHECK(st->s.current.node == st->view.node || backends_is("atomic"));
}

static void check_added(stage *st) {
    const char *const pairs[] = {"a", "next", "b", "2"};
    CHECK_ERR(pytheus_sample_value(st->s.registry, "two", pairs, 4, NULL), PYTHEUS_ERR_NOTHING);
    if (!st->found.node || pytheus_gauge_set((pytheus_gauge){st->found}, 1))
        return;
    CHECK_DOUBLE(
        value_of(pytheus_gauge_labels((pytheus_gauge){st->s.metric}, "a", st->id, "b", "2").view),
        1);
}

TEST(labels_added_to_a_view_stopped_anywhere_are_not_of_the_next_life) {
    stage st = {.begin = begin_partial,
                .act = add_label_late,
                .intervene = succeed_partial,
                .check = check_added};
    pytheus_desc desc = {.name = "two", .required_labels = {"a", "b"}};
    LEAVE_IF(backends_locks(), "an operation stopped in its mutex stops all others");
    if (!can_stop())
        SKIP("no single steps here");
    st.s.registry = desc.registry = quiet_registry();
    st.s.metric = pytheus_gauge_new(&desc).view;
    CHECK_ERR(
        pytheus_view_remove(pytheus_gauge_labels((pytheus_gauge){st.s.metric}, "a", "first").view),
        PYTHEUS_OK);
    stop_at_each_step(&st);
    pytheus_registry_free(desc.registry);
}

#endif

/* -- removed handles -- */

static void check_refused(pytheus_view view) {
    const char *const pairs[] = {"id", "1"};
    double value = 17;
    CHECK_ERR(pytheus_counter_inc((pytheus_counter){view}), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_add((pytheus_counter){view}, 0.5), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_counter_set((pytheus_counter){view}, 1), PYTHEUS_ERR_REMOVED);
    CHECK_ERR(pytheus_view_get(view, &value), PYTHEUS_ERR_REMOVED);
    CHECK_DOUBLE(value, 17);
    CHECK_ERR(pytheus_view_remove(view), PYTHEUS_ERR_REMOVED);
    CHECK(!pytheus_view_observable(view));
    CHECK(!pytheus_counter_view((pytheus_counter){view}, pairs, 2).view.node);
}

typedef struct graveyard {
    pytheus_counter metric;
    int num_each;
    pytheus_view *removed[NUM_THREADS];
} graveyard;

static void bury(void *shared, int thread) {
    graveyard *g = shared;
    char id[32];
    for (int i = 0; i < g->num_each; i++) {
        snprintf(id, sizeof id, "%d", (i * 7 + thread) % 500);
        pytheus_view view = pytheus_counter_labels(g->metric, "id", id).view;
        (void)pytheus_counter_inc((pytheus_counter){view});
        (void)pytheus_view_remove(view);
        g->removed[thread][i] = view;
        if (i % 64 == 0)
            check_refused(g->removed[thread][i / 2]);
    }
}

/* All memory is in use by later lives, and all of the labels too. */
TEST(removed_handles_refuse_for_ever) {
    pytheus_desc desc = with_id(quiet_registry(), "buried");
    graveyard g = {.metric = pytheus_counter_new(&desc), .num_each = rounds(5000)};
    for (int i = 0; i < NUM_THREADS; i++) {
        g.removed[i] = calloc((size_t)g.num_each, sizeof *g.removed[i]);
        if (!g.removed[i])
            abort();
    }
    in_threads(NUM_THREADS, bury, &g);
    for (int i = 0; i < 500; i++) {
        char id[32];
        snprintf(id, sizeof id, "%d", i);
        CHECK_DOUBLE(value_of(pytheus_counter_labels(g.metric, "id", id).view), 0);
    }
    for (int i = 0; i < NUM_THREADS; i++) {
        for (int j = 0; j < g.num_each; j++)
            check_refused(g.removed[i][j]);
        free(g.removed[i]);
    }
    for (int i = 0; i < 500; i++) {
        char line[64];
        snprintf(line, sizeof line, "buried{id=\"%d\"} 0", i);
        if (i % 100 == 0)
            CHECK_LINE(desc.registry, line);
    }
    pytheus_registry_free(desc.registry);
}

/* -- the same at once -- */

enum { SERIES_AT_ONCE = 5 };

typedef struct together {
    pytheus_registry *registry;
    pytheus_counter metric;
    meeting m;
    int num_rounds;
    pytheus_view made[NUM_THREADS][SERIES_AT_ONCE];
} together;

static void begin_together(together *t, int num_rounds) {
    memset(t, 0, sizeof *t);
    pytheus_desc desc = {.name = "same",
                         .required_labels = {"a", "b", "c"},
                         .default_labels = {{"c", "3"}},
                         .max_series = 1000000,
                         .registry = quiet_registry()};
    t->registry = desc.registry;
    t->metric = pytheus_counter_new(&desc);
    t->num_rounds = rounds(num_rounds);
    pthread_barrier_init(&t->m.barrier, NULL, NUM_THREADS);
}

static void end_together(together *t) {
    pthread_barrier_destroy(&t->m.barrier);
    pytheus_registry_free(t->registry);
}

/* Each thread spells the labels in another way. */
static pytheus_counter spell(pytheus_counter metric, int how, const char *a, const char *b) {
    switch (how % 4) {
    case 0:
        return pytheus_counter_labels(metric, "a", a, "b", b);
    case 1:
        return pytheus_counter_labels(metric, "c", "3", "b", b, "a", a);
    case 2:
        return pytheus_counter_labels(pytheus_counter_labels(metric, "b", b), "a", a);
    default:
        metric = pytheus_counter_labels(metric, "a", a, "b", "another");
        return pytheus_counter_labels(metric, "b", b);
    }
}

static void check_equal(const together *t, int num) {
    for (int i = 0; i < num; i++)
        for (int thread = 1; thread < NUM_THREADS; thread++)
            CHECK(pytheus_view_equal(t->made[0][i], t->made[thread][i]));
}

static void make_the_same(void *shared, int thread) {
    together *t = shared;
    char a[32], b[32];
    for (int round = 0; round < t->num_rounds; round++) {
        snprintf(a, sizeof a, "%d", round);
        meet(&t->m);
        for (int i = 0; i < SERIES_AT_ONCE; i++) {
            snprintf(b, sizeof b, "%d", i);
            pytheus_counter c = spell(t->metric, thread, a, b);
            (void)pytheus_counter_inc(c);
            t->made[thread][i] = c.view;
        }
        meet(&t->m);
        if (thread == 0)
            check_equal(t, SERIES_AT_ONCE);
    }
}

TEST(threads_that_make_the_same_series_get_the_same) {
    together t;
    long num_lines = 0;
    begin_together(&t, 400);
    in_threads(NUM_THREADS, make_the_same, &t);
    char *text = page(t.registry);
    for (const char *at = text; (at = strstr(at, "\nsame{")); at++) {
        const char *end = strchr(at + 1, '\n');
        num_lines++;
        CHECK(!strncmp(end - 2, " 8", 2) || strstr(at, "\"another\"") < end);
    }
    CHECK_INT(num_lines, (long)t.num_rounds * (SERIES_AT_ONCE + 1));
    free(text);
    end_together(&t);
}

static void register_the_same(void *shared, int thread) {
    together *t = shared;
    char name[32];
    for (int round = 0; round < t->num_rounds; round++) {
        snprintf(name, sizeof name, "metric_%d", round);
        pytheus_desc desc = {.name = name, .registry = t->registry};
        meet(&t->m);
        pytheus_counter c = pytheus_counter_new(&desc);
        CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
        t->made[thread][0] = c.view;
        meet(&t->m);
        if (thread == 0) {
            check_equal(t, 1);
            CHECK_DOUBLE(value_of(c.view), NUM_THREADS);
        }
    }
}

TEST(threads_that_register_the_same_metric_get_the_same) {
    together t;
    begin_together(&t, 400);
    in_threads(NUM_THREADS, register_the_same, &t);
    free(scrape(t.registry));
    end_together(&t);
}

/* Of two definitions under one name, one wins for all. */
static void register_rivals(void *shared, int thread) {
    together *t = shared;
    char name[32];
    for (int round = 0; round < t->num_rounds; round++) {
        snprintf(name, sizeof name, "metric_%d", round);
        pytheus_desc desc = {.name = name, .registry = t->registry};
        meet(&t->m);
        t->made[thread][0] =
            thread % 2 ? pytheus_gauge_new(&desc).view : pytheus_summary_new(&desc).view;
        if (!t->made[thread][0].node)
            CHECK(strstr(pytheus_last_error(), name));
        meet(&t->m);
        for (int i = 2; i < NUM_THREADS && thread == 0; i++)
            CHECK(pytheus_view_equal(t->made[i][0], t->made[i % 2][0]));
        if (thread == 0)
            CHECK(!t->made[0][0].node != !t->made[1][0].node);
    }
}

TEST(of_rival_definitions_one_wins) {
    together t;
    begin_together(&t, 400);
    in_threads(NUM_THREADS, register_rivals, &t);
    free(scrape(t.registry));
    end_together(&t);
}

/* -- registries -- */

static void live_in_own_registry(void *shared, int thread) {
    int num_rounds = *(int *)shared;
    for (int i = 0; i < num_rounds; i++) {
        pytheus_desc desc = with_id(quiet_registry(), "own");
        pytheus_counter c = pytheus_counter_labels(pytheus_counter_new(&desc), "id", "1");
        CHECK_ERR(pytheus_counter_add(c, thread), PYTHEUS_OK);
        CHECK_DOUBLE(sample_of(desc.registry, "own", "1"), thread);
        if (i % 16 == 0)
            free(scrape(desc.registry));
        pytheus_registry_free(desc.registry);
    }
}

TEST(a_registry_in_each_thread) {
    int num_rounds = rounds(1000);
    in_threads(NUM_THREADS, live_in_own_registry, &num_rounds);
}

/* -- growth -- */

enum { NUM_GROWN = 20000, NUM_MAKERS = 2 };

typedef struct growth {
    pytheus_registry *registry;
    pytheus_counter metric;
    int num_made[NUM_MAKERS]; /* those before are on every page that begins now */
    int num_scrapes;
} growth;

static pytheus_counter grown(const growth *g, int i) {
    char id[32];
    snprintf(id, sizeof id, "%d", i);
    return pytheus_counter_labels(g->metric, "id", id);
}

/* One makes them upwards, the other in a scattered order, so that each finds some made. */
static void make_all(growth *g, int maker) {
    for (int i = 0; i < NUM_GROWN; i++) {
        int id = maker ? (int)((long)i * 7919 % NUM_GROWN) : i;
        CHECK_ERR(pytheus_counter_inc(grown(g, id)), PYTHEUS_OK);
        STORE(&g->num_made[maker], i + 1);
    }
}

static void scrape_until_all_made(growth *g) {
    int num_made;
    do {
        int num_lost, num_twice;
        num_made = LOAD(&g->num_made[0]);
        char *text = scrape(g->registry);
        look_for(text, "\ngrown{id=\"", num_made, &num_lost, &num_twice);
        CHECK_INT(num_lost, 0);
        look_for(text, "\ngrown{id=\"", NUM_GROWN, &num_lost, &num_twice);
        CHECK_INT(num_twice, 0);
        free(text);
        __atomic_fetch_add(&g->num_scrapes, 1, __ATOMIC_RELAXED);
    } while (num_made < NUM_GROWN);
}

static void grow_or_scrape(void *shared, int thread) {
    if (thread < NUM_MAKERS)
        make_all(shared, thread);
    else
        scrape_until_all_made(shared);
}

TEST(the_index_grows_under_lookups_and_scrapes) {
    pytheus_desc desc = with_id(quiet_registry(), "grown");
    growth g = {.registry = desc.registry, .metric = pytheus_counter_new(&desc)};
    int num_wrong = 0;
    in_threads(3, grow_or_scrape, &g);
    for (int i = 0; i < NUM_GROWN; i++)
        num_wrong += value_of(grown(&g, i).view) != NUM_MAKERS;
    CHECK_INT(num_wrong, 0);
    CHECK(g.num_scrapes > 1);
    pytheus_registry_free(desc.registry);
}

/* Neighbours of the series that stay are made and removed all the time, which moves them about. */
enum { NUM_STAYING = 1000 };

typedef struct coming_and_going {
    pytheus_registry *registry;
    pytheus_gauge metric;
    int num_scrapes, over;
} coming_and_going;

static pytheus_gauge neighbour(const coming_and_going *c, const char *kind, int i) {
    char id[32];
    snprintf(id, sizeof id, "%s%d", kind, i);
    return pytheus_gauge_labels(c->metric, "id", id);
}

static void move_neighbours(coming_and_going *c, int thread) {
    for (int i = 0; !LOAD(&c->over); i++) {
        int number = thread * 1000000 + i % 400;
        pytheus_gauge g = neighbour(c, "moving ", number);
        (void)pytheus_gauge_set(g, number);
        if (i % 400 > 200)
            (void)pytheus_view_remove(neighbour(c, "moving ", number - 150).view);
    }
}

/* A line of a moving series has its own number or, if just made, 0: never another series' value. */
static void check_moving(const char *text) {
    static const char start[] = "\nstaying{id=\"moving ";
    int num_wrong = 0;
    for (const char *at = text; (at = strstr(at, start)); at++) {
        char *end;
        long number = strtol(at + sizeof start - 1, &end, 10);
        double value = strtod(end + 3, NULL);
        num_wrong += value != 0 && value != (double)number;
    }
    CHECK_INT(num_wrong, 0);
}

static void scrape_staying(coming_and_going *c) {
    for (int i = 0; i < rounds(30); i++) {
        int num_lost, num_twice;
        char *text = scrape(c->registry);
        look_for(text, "\nstaying{id=\"stays ", NUM_STAYING, &num_lost, &num_twice);
        CHECK_INT(num_lost, 0);
        CHECK_INT(num_twice, 0);
        check_moving(text);
        free(text);
    }
    __atomic_fetch_add(&c->over, 1, __ATOMIC_RELEASE);
}

static void move_or_scrape(void *shared, int thread) {
    if (thread < 6)
        move_neighbours(shared, thread);
    else
        scrape_staying(shared);
}

TEST(a_scrape_has_every_series_that_stays_once) {
    pytheus_desc desc = with_id(quiet_registry(), "staying");
    coming_and_going c = {.registry = desc.registry, .metric = pytheus_gauge_new(&desc)};
    for (int i = 0; i < NUM_STAYING; i++) {
        CHECK(neighbour(&c, "stays ", i).view.node);
        if (i % 2)
            CHECK_ERR(pytheus_view_remove(neighbour(&c, "between ", i).view), PYTHEUS_OK);
    }
    in_threads(NUM_THREADS, move_or_scrape, &c);
    pytheus_registry_free(desc.registry);
}

/* The same, surely: the removals come from within the page. */
typedef struct thinning {
    coming_and_going *of;
    buffer page;
    int next;
} thinning;

/* After half of them are gone the list of series closes up. */
static pytheus_err thin_out(void *user, const char *bytes, size_t size) {
    thinning *t = user;
    for (int last = t->next + 2 * NUM_STAYING; t->next < last; t->next++)
        (void)pytheus_view_remove(neighbour(t->of, "doomed ", t->next).view);
    CHECK(neighbour(t->of, "new ", t->next).view.node);
    return gather(&t->page, bytes, size);
}

TEST(series_removed_in_the_middle_of_a_page_take_no_others_along) {
    pytheus_desc desc = with_id(quiet_registry(), "staying");
    coming_and_going c = {.registry = desc.registry, .metric = pytheus_gauge_new(&desc)};
    thinning t = {.of = &c};
    pytheus_sink sink = {thin_out, &t};
    int num_lost, num_twice;
    for (int i = 0; i < 10 * NUM_STAYING; i++) {
        CHECK(neighbour(&c, "doomed ", i).view.node);
        if (i % 10 == 9)
            CHECK(neighbour(&c, "stays ", i / 10).view.node);
    }
    CHECK_ERR(pytheus_write(desc.registry, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    check_valid(t.page.text);
    look_for(t.page.text, "\nstaying{id=\"stays ", NUM_STAYING, &num_lost, &num_twice);
    CHECK_INT(num_lost, 0);
    CHECK_INT(num_twice, 0);
    CHECK(t.next >= 8 * NUM_STAYING);
    free(t.page.text);
    pytheus_registry_free(desc.registry);
}

/* -- values that are set -- */

typedef struct halves {
    pytheus_gauge gauge, reused;
    pytheus_counter counter;
    int num_rounds;
} halves;

/* Both halves of its bits are the same number, so that a torn one is known. */
static double whole_in_halves(uint32_t half) {
    uint64_t bits = (uint64_t)half << 32 | half;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void check_whole(pytheus_view view) {
    double value;
    uint64_t bits;
    CHECK_ERR(pytheus_view_get(view, &value), PYTHEUS_OK);
    memcpy(&bits, &value, sizeof bits);
    check_that(bits >> 32 == (bits & 0xffffffff), __FILE__, __LINE__, "a torn value: %.17g", value);
}

static void set_and_read(void *shared, int thread) {
    halves *h = shared;
    for (int i = 0; i < h->num_rounds; i++) {
        double value = whole_in_halves((uint32_t)(0x3ff00000 + 1000 * thread + i % 1000));
        (void)pytheus_gauge_set(h->gauge, value);
        (void)pytheus_gauge_set(h->reused, value);
        (void)pytheus_counter_set(h->counter, value);
        check_whole(h->gauge.view);
        check_whole(h->reused.view);
        check_whole(h->counter.view);
    }
}

TEST(values_that_are_set_are_never_torn) {
    pytheus_desc desc = with_id(quiet_registry(), "set");
    pytheus_gauge metric = pytheus_gauge_new(&desc);
    halves h = {.gauge = pytheus_gauge_labels(metric, "id", "1"), .num_rounds = rounds(20000)};
    CHECK_ERR(pytheus_view_remove(pytheus_gauge_labels(metric, "id", "2").view), PYTHEUS_OK);
    h.reused = pytheus_gauge_labels(metric, "id", "3");
    desc.name = "counter_set";
    h.counter = pytheus_counter_labels(pytheus_counter_new(&desc), "id", "1");
    in_threads(NUM_THREADS, set_and_read, &h);
    free(scrape(desc.registry));
    pytheus_registry_free(desc.registry);
}

/* A set is not lost beside increments, nor an increment beside a set. */
static void set_or_inc(void *shared, int thread) {
    halves *h = shared;
    for (int i = 0; i < h->num_rounds; i++) {
        if (thread == 0 && i == h->num_rounds / 2)
            CHECK_ERR(pytheus_counter_set(h->counter, 1e9), PYTHEUS_OK);
        else if (thread)
            CHECK_ERR(pytheus_counter_add(h->counter, thread % 2 ? 1 : 0.5), PYTHEUS_OK);
        if (thread == 0 && i == h->num_rounds / 2)
            CHECK(value_of(h->counter.view) >= 1e9);
    }
}

TEST(a_counter_is_set_beside_increments) {
    pytheus_desc desc = with_id(quiet_registry(), "set");
    halves h = {.num_rounds = rounds(50000)};
    h.counter = pytheus_counter_labels(pytheus_counter_new(&desc), "id", "1");
    in_threads(NUM_THREADS, set_or_inc, &h);
    CHECK(value_of(h.counter.view) >= 1e9);
    CHECK(value_of(h.counter.view) <= 1e9 + 5.5 * h.num_rounds);
    pytheus_registry_free(desc.registry);
}

/* -- overflow, timers, errors -- */

enum { MOST_SERIES = 100 };

static void overflow(void *shared, int thread) {
    pytheus_counter metric = *(pytheus_counter *)shared;
    char id[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof id, "%d", (i + 125 * thread) % 1000);
        CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(metric, "id", id)), PYTHEUS_OK);
    }
}

TEST(beyond_max_series_nothing_is_lost) {
    pytheus_desc desc = with_id(quiet_registry(), "full");
    desc.max_series = MOST_SERIES;
    pytheus_counter metric = pytheus_counter_new(&desc);
    double sum = 0;
    int num_lines = 0;
    in_threads(NUM_THREADS, overflow, &metric);
    char *text = scrape(desc.registry);
    for (const char *at = text; (at = strstr(at, "\nfull{")); at++, num_lines++)
        sum += strtod(strchr(at, '}') + 1, NULL);
    CHECK_DOUBLE(sum, 1000 * NUM_THREADS);
    CHECK_INT(num_lines, MOST_SERIES + 1);
    CHECK_DOUBLE(
        strtod(strstr(text, "\npytheus_overflow_calls_total{metric=\"full\"} ") + 44, NULL),
        sample_of(desc.registry, "full", "__overflow__"));
    free(text);
    pytheus_registry_free(desc.registry);
}

typedef struct clocked {
    pytheus_histogram histogram;
    pytheus_gauge gauge;
    int num_rounds;
} clocked;

static void time_something(void *shared, int thread) {
    clocked *c = shared;
    (void)thread;
    for (int i = 0; i < c->num_rounds; i++) {
        PYTHEUS_TRACK_INPROGRESS_SCOPE(c->gauge);
        PYTHEUS_TIME(c->histogram) {
            if (i % 2)
                break;
        }
    }
}

TEST(timers_in_all_threads) {
    pytheus_desc desc = {.name = "timed", .registry = quiet_registry()};
    clocked c = {.histogram = pytheus_histogram_new(&desc), .num_rounds = rounds(5000)};
    desc.name = "in_progress";
    c.gauge = pytheus_gauge_new(&desc);
    in_threads(NUM_THREADS, time_something, &c);
    CHECK_DOUBLE(sample_of(desc.registry, "timed_count", NULL), c.num_rounds * NUM_THREADS);
    CHECK_LINE(desc.registry, "in_progress 0");
    pytheus_registry_free(desc.registry);
}

typedef struct mistakes {
    pytheus_counter metric;
    meeting m;
    int num_logged;
} mistakes;

static void count_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    mistakes *m = user;
    CHECK_ERR(err, PYTHEUS_ERR_LABEL);
    CHECK_STR(metric, "mistaken");
    CHECK(strstr(sentence, "wrong_"));
    __atomic_fetch_add(&m->num_logged, 1, __ATOMIC_RELAXED);
}

static void make_a_mistake(void *shared, int thread) {
    mistakes *m = shared;
    char name[32];
    snprintf(name, sizeof name, "wrong_%d", thread);
    for (int i = 0; i < 50; i++) {
        CHECK(!pytheus_counter_labels(m->metric, name, "1").view.node);
        meet(&m->m);
        CHECK(strstr(pytheus_last_error(), name));
        meet(&m->m);
    }
}

TEST(each_thread_has_its_last_error_and_the_logger_one_line) {
    mistakes m = {.num_logged = 0};
    pytheus_registry_desc registry = {.logger = {count_log, &m}};
    pytheus_desc desc = with_id(backends_registry(&registry), "mistaken");
    pthread_barrier_init(&m.m.barrier, NULL, NUM_THREADS);
    m.metric = pytheus_counter_new(&desc);
    in_threads(NUM_THREADS, make_a_mistake, &m);
    CHECK_INT(m.num_logged, 1);
    pthread_barrier_destroy(&m.m.barrier);
    pytheus_registry_free(desc.registry);
}

static pytheus__site *shared_site(void) {
    static pytheus__site site;
    return &site;
}

/* One call site, cached while all threads come to it. */
static void count_at_site(void *shared, int thread) {
    mix *m = shared;
    const char *const pairs[] = {"id", "here"};
    (void)thread;
    for (int i = 0; i < m->num_rounds; i++) {
        pytheus_counter c = {pytheus__at(shared_site(), m->counter.view, pairs, 2)};
        CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
        (void)pytheus_counter_inc(PYTHEUS_AT(counter, m->counter, "id", "there"));
    }
}

TEST(a_call_site_of_all_threads) {
    mix m;
    begin_mix(&m);
    in_threads(NUM_THREADS, count_at_site, &m);
    CHECK_DOUBLE(sample_of(m.registry, "counted", "here"), m.num_rounds * NUM_THREADS);
    CHECK_DOUBLE(sample_of(m.registry, "counted", "there"), m.num_rounds * NUM_THREADS);
    pytheus_registry_free(m.registry);
}
