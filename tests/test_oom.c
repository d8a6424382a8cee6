/* Out of memory. A scenario is run again and again while its first allocation fails, its second,
   ... once, and from that one on, until a run passes with no failure left to inject. After each
   failure the call has to have said so and changed nothing, its repetition has to work, the page
   has to be valid, and freeing the registry has to give back all memory. */
#define _GNU_SOURCE
#include <stddef.h>

static void *failing_malloc(size_t size);
static void *failing_realloc(void *p, size_t size);
static void failing_free(void *p);
#define PYTHEUS_MALLOC(size) failing_malloc(size)
#define PYTHEUS_REALLOC(p, size) failing_realloc(p, size)
#define PYTHEUS_FREE(p) failing_free(p)

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"

#include <stdint.h>
#ifndef _WIN32
#include <unistd.h>
#endif

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* -- the allocator -- */

/* In front of each block: its size, and a mark by which a pointer is known to be a live block's. */
typedef struct block {
    uint64_t size, mark;
} block;

static const uint64_t LIVE = 0x6c6976656c697665, DEAD = 0x6465616464656164;
enum { UNKNOWN_SIZE = -1 };

static struct {
    long num_calls; /* that could fail, since the last arm() */
    long fail_at;
    bool for_ever;
    long num_failed;
    long num_live, bytes_live;
    long num_wrong; /* not a block, freed twice, another size than it has */
} memory;

static long total_failed;

static void arm(long fail_at, bool for_ever) {
    memory.num_calls = memory.num_failed = 0;
    memory.fail_at = fail_at;
    memory.for_ever = for_ever;
}

/* How many failures there were. */
static long disarm(void) {
    memory.fail_at = 0;
    total_failed += memory.num_failed;
    return memory.num_failed;
}

static bool fails(void) {
    memory.num_calls++;
    bool now = memory.fail_at && (memory.num_calls == memory.fail_at ||
                                  (memory.for_ever && memory.num_calls > memory.fail_at));
    memory.num_failed += now;
    return now;
}

static void *take(size_t size) {
    block *b = malloc(sizeof *b + size);
    if (!b)
        abort();
    b->size = size;
    b->mark = LIVE;
    memset(b + 1, 0xa5, size);
    memory.num_live++;
    memory.bytes_live += (long)size;
    return b + 1;
}

static block *block_of(void *p, long long size) {
    block *b = (block *)p - 1;
    if (b->mark == LIVE && (size == UNKNOWN_SIZE || b->size == (uint64_t)size))
        return b;
    memory.num_wrong++;
    return b->mark == LIVE ? b : NULL;
}

static void give_back(void *p, long long size) {
    block *b = block_of(p, size);
    if (!b)
        return;
    memory.num_live--;
    memory.bytes_live -= (long)b->size;
    memset(b + 1, 0xdd, (size_t)b->size);
    b->mark = DEAD;
    free(b);
}

/* A resized block always moves, so that an old pointer into it is found out. */
static void *change(void *p, long long old_size, size_t size) {
    if (fails())
        return NULL;
    void *fresh = take(size);
    block *old = p ? block_of(p, old_size) : NULL;
    if (old) {
        memcpy(fresh, p, old->size < size ? (size_t)old->size : size);
        give_back(p, UNKNOWN_SIZE);
    }
    return fresh;
}

static void *failing_malloc(size_t size) {
    return change(NULL, UNKNOWN_SIZE, size);
}

static void *failing_realloc(void *p, size_t size) {
    return change(p, UNKNOWN_SIZE, size);
}

static void failing_free(void *p) {
    if (p)
        give_back(p, UNKNOWN_SIZE);
}

static int allocator_user;

static void *allocator(void *user, void *p, size_t old_size, size_t size) {
    if (user != &allocator_user || (!p && old_size))
        memory.num_wrong++;
    if (size)
        return change(p, (long long)old_size, size);
    if (p)
        give_back(p, (long long)old_size);
    return NULL;
}

/* -- the world in which a scenario happens -- */

enum { MANY = 40 };

typedef struct world {
    pytheus_registry *registry;
    pytheus_counter counter; /* hits{method,code,path}, code has a default */
    pytheus_gauge gauge;
    pytheus_histogram histogram;
    pytheus_summary summary;
    pytheus_view made, other;
    pytheus__site site;
    char *text;
    size_t text_size, text_room;
    int step; /* of scenarios that are run in several sizes */
    int num_logged;
    char path[256];
} world;

typedef struct scenario {
    void (*prepare)(world *w);
    pytheus_err (*act)(world *w);
    void (*check)(world *w);
    enum { SOME_MEMORY, NO_MEMORY, PERHAPS_MEMORY } needs;
    bool makes_registry;
    bool may_do_without; /* the failure may have been of something that is only nice to have */
    int step;
} scenario;

/* A registry of one's own, one that has no memory in reserve, the default one. */
typedef enum place { IN_OWN, IN_FULL, IN_DEFAULT, NUM_PLACES } place;

static void count_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    world *w = user;
    w->num_logged++;
    CHECK(err < 0);
    CHECK(metric != NULL);
    CHECK(*sentence);
}

static pytheus_registry_desc registry_desc(world *w) {
    pytheus_registry_desc desc = {0};
    desc.allocator.realloc = allocator;
    desc.allocator.user = &allocator_user;
    desc.logger.log = count_log;
    desc.logger.user = w;
    return desc;
}

static pytheus_desc labelled(world *w, const char *name) {
    pytheus_desc desc = {.name = name,
                         .help = "Help.",
                         .required_labels = {"method", "code", "path"},
                         .default_labels = {{"code", "200"}},
                         .registry = w->registry};
    return desc;
}

static void make_counter(world *w) {
    pytheus_desc desc = labelled(w, "hits");
    w->counter = pytheus_counter_new(&desc);
    CHECK(w->counter.view.node);
}

static void make_all_kinds(world *w) {
    pytheus_desc desc = {.name = "gauge", .registry = w->registry};
    make_counter(w);
    w->gauge = pytheus_gauge_new(&desc);
    desc.name = "histogram";
    w->histogram = pytheus_histogram_new(&desc);
    desc.name = "summary";
    w->summary = pytheus_summary_new(&desc);
    CHECK(w->summary.view.node);
}

/* Read by the strict reader, but not kept for others: there are thousands. */
static void check_valid(const char *text) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    if (check_that(reader_parse(text, strlen(text), &doc, error), __FILE__, __LINE__, "%s", error))
        reader_free(&doc);
}

static char *snapshot(pytheus_registry *registry) {
    size_t size;
    char *text = pytheus_generate(registry, PYTHEUS_TEXT, &size);
    if (!CHECK(text))
        return NULL;
    CHECK(strlen(text) == size);
    check_valid(text);
    return text;
}

/* So that the sentence of an error before is not taken for the one of this error. */
static void fail_in_another_way(void) {
    pytheus_counter nothing = {{NULL, 0}};
    CHECK_ERR(pytheus_counter_inc(nothing), PYTHEUS_ERR_NOTHING);
    CHECK(!strstr(pytheus_last_error(), "out of memory"));
}

/* What a registry has in reserve would spare most calls an allocation: this uses it up, by
   smaller and smaller partial views, until not even those fit. Few in each metric, so that it is
   not the metric's own tables that want to grow. */
static void use_up(world *w) {
    static const int sizes[] = {2000, 600, 200, 60, 20, 1};
    enum { NUM_FILLERS = 12 };
    char value[2001];
    char name[32];
    pytheus_counter filler[NUM_FILLERS];
    for (int i = 0; i < NUM_FILLERS; i++) {
        pytheus_desc desc = {.name = name, .required_labels = {"v", "w"}, .registry = w->registry};
        snprintf(name, sizeof name, "filler_%d", i);
        filler[i] = pytheus_counter_new(&desc);
    }
    arm(1, true);
    for (int i = 0; i < 3 * NUM_FILLERS; i++) {
        snprintf(value, sizeof value, "%0*d", sizes[i / 6], i);
        (void)pytheus_counter_labels(filler[i / 3], "v", value);
    }
    memory.fail_at = 0;
}

static void begin(world *w, const scenario *s, place where) {
    pytheus_registry_desc desc = registry_desc(w);
    memset(w, 0, sizeof *w);
    w->step = s->step;
    CHECK_INT(memory.num_live, 0);
    if (where == IN_DEFAULT)
        w->registry = pytheus_default();
    else if (!s->makes_registry)
        w->registry = pytheus_registry_new(&desc);
    if (s->prepare)
        s->prepare(w);
    if (where == IN_FULL)
        use_up(w);
}

static void end(world *w) {
    pytheus_registry_free(w->registry);
    CHECK_INT(memory.num_live, 0);
    CHECK_INT(memory.num_wrong, 0);
    memory.num_live = memory.num_wrong = 0;
    free(w->text);
}

static void check_failure(world *w, const scenario *s, pytheus_err err, const char *before) {
    char *after;
    if (err || !s->may_do_without) {
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        CHECK(strstr(pytheus_last_error(), "out of memory"));
    }
    if (s->makes_registry)
        return;
    after = snapshot(w->registry);
    CHECK_STR(after, before);
    pytheus_free(after);
}

/* Whether a failure could be injected. */
static bool attempt(const scenario *s, place where, long fail_at, bool for_ever) {
    world w;
    pytheus_err err;
    char *before = NULL;
    long num_failed;
    begin(&w, s, where);
    if (!s->makes_registry)
        before = snapshot(w.registry);
    fail_in_another_way();
    arm(fail_at, for_ever);
    err = s->act(&w);
    num_failed = disarm();
    if (s->needs == NO_MEMORY)
        CHECK_INT(memory.num_calls, 0);
    if (num_failed) {
        check_failure(&w, s, err, before);
        err = s->act(&w);
    }
    CHECK_ERR(err, PYTHEUS_OK);
    if (s->check)
        s->check(&w);
    pytheus_free(before);
    pytheus_free(snapshot(w.registry));
    end(&w);
    return num_failed > 0;
}

static void torture_in(const scenario *s, place where) {
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        long fail_at = 1;
        while (attempt(s, where, fail_at, for_ever) && check_num_failed < 20)
            fail_at++;
        CHECK(s->needs != SOME_MEMORY || where != IN_FULL || fail_at > 1);
    }
}

static void torture(scenario s) {
    for (int where = 0; where < NUM_PLACES; where++)
        if (!s.makes_registry || where == IN_OWN)
            torture_in(&s, (place)where);
}

static pytheus_err made(world *w, pytheus_view view) {
    w->made = view;
    return view.node ? PYTHEUS_OK : PYTHEUS_ERR_NOMEM;
}

static pytheus_err refused(pytheus_view view, const char *word) {
    CHECK(!view.node);
    if (strstr(pytheus_last_error(), "out of memory"))
        return PYTHEUS_ERR_NOMEM;
    CHECK(strstr(pytheus_last_error(), word));
    return PYTHEUS_OK;
}

/* -- registries -- */

static pytheus_err new_registry(world *w) {
    pytheus_registry_desc desc = registry_desc(w);
    desc.prefix = w->step ? "app" : NULL;
    w->registry = pytheus_registry_new(&desc);
    return w->registry ? PYTHEUS_OK : PYTHEUS_ERR_NOMEM;
}

static void check_prefix(world *w) {
    pytheus_desc desc = {.name = "up", .registry = w->registry};
    CHECK_ERR(pytheus_gauge_set(pytheus_gauge_new(&desc), 1), PYTHEUS_OK);
    CHECK_LINE(w->registry, w->step ? "app_up 1" : "up 1");
}

TEST(registry_new) {
    torture((scenario){.act = new_registry, .check = check_prefix, .makes_registry = true});
}

TEST(registry_new_with_a_prefix) {
    torture(
        (scenario){.act = new_registry, .check = check_prefix, .makes_registry = true, .step = 1});
}

static void make_much(world *w) {
    char name[32], path[32];
    make_all_kinds(w);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "metric_%d", i);
        snprintf(path, sizeof path, "/%d", i);
        pytheus_desc desc = labelled(w, name);
        pytheus_histogram h = pytheus_histogram_new(&desc);
        pytheus_histogram_labels(h, "method", "GET");
        pytheus_counter c = pytheus_counter_labels(w->counter, "method", "GET", "path", path);
        CHECK_ERR(pytheus_counter_add(c, i), PYTHEUS_OK);
    }
}

static pytheus_err free_registry(world *w) {
    pytheus_registry_free(w->registry);
    CHECK_INT(memory.num_live, 0);
    return new_registry(w);
}

/* Freeing needs no memory: with everything failing it gives all back, and only the registry that
   takes its place fails. */
TEST(registry_free_while_memory_is_out) {
    world w = {0};
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(new_registry(&w), PYTHEUS_OK);
        make_much(&w);
        arm(1, true);
        CHECK_ERR(free_registry(&w), PYTHEUS_ERR_NOMEM);
        CHECK_INT(memory.num_calls, 1);
        CHECK(disarm() == 1);
    }
    CHECK_INT(memory.num_wrong, 0);
}

/* -- metrics -- */

static pytheus_err new_kind(world *w, pytheus_desc desc) {
    desc.registry = w->registry;
    switch (w->step) {
    case 0:
        return made(w, pytheus_counter_new(&desc).view);
    case 1:
        return made(w, pytheus_gauge_new(&desc).view);
    case 2:
        return made(w, pytheus_histogram_new(&desc).view);
    case 3:
        return made(w, pytheus_summary_new(&desc).view);
    case 4:
        return made(w, pytheus_info_new(&desc).view);
    case 5:
        desc.states[0] = "on";
        desc.states[1] = "\xff mended";
        return made(w, pytheus_stateset_new(&desc).view);
    default:
        return made(w, pytheus_unknown_new(&desc).view);
    }
}

static void torture_kinds(scenario s) {
    for (s.step = 0; s.step < 7; s.step++)
        torture(s);
}

static pytheus_err new_unlabelled(world *w) {
    return new_kind(w, (pytheus_desc){.name = "fresh", .help = "Help."});
}

static void check_observable(world *w) {
    CHECK(pytheus_view_observable(w->made));
}

TEST(metric_new) {
    torture_kinds((scenario){.act = new_unlabelled, .check = check_observable});
}

static pytheus_err new_labelled(world *w) {
    return new_kind(w, labelled(w, "fresh"));
}

static void check_not_observable(world *w) {
    CHECK(!pytheus_view_observable(w->made));
}

TEST(metric_new_with_labels) {
    torture_kinds((scenario){.act = new_labelled, .check = check_not_observable});
}

static pytheus_err new_defaulted(world *w) {
    return new_kind(w, (pytheus_desc){.name = "fresh",
                                      .required_labels = {"a", "b"},
                                      .default_labels = {{"b", "2"}, {"a", "\xff mended"}}});
}

TEST(metric_new_with_all_labels_defaulted) {
    torture_kinds((scenario){.act = new_defaulted, .check = check_observable});
}

static pytheus_err new_sixteen(world *w) {
    static const char letters[] = "a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0k\0l\0m\0n\0o\0p";
    pytheus_desc desc = {.name = "fresh",
                         .default_labels = {{"p", "long enough to be kept apart"}}};
    for (int i = 0; i < PYTHEUS_MAX_LABELS; i++)
        desc.required_labels[i] = letters + 2 * i;
    return new_kind(w, desc);
}

TEST(metric_new_with_sixteen_labels) {
    torture_kinds((scenario){.act = new_sixteen, .check = check_not_observable});
}

static pytheus_err new_buckets(world *w) {
    static double bounds[1000];
    CHECK_INT(pytheus_buckets_linear(bounds, 1000, -5, 0.125), 1000);
    pytheus_desc desc = {
        .name = "fresh", .buckets = bounds, .num_buckets = 1000, .registry = w->registry};
    return made(w, pytheus_histogram_new(&desc).view);
}

TEST(histogram_new_with_1000_buckets) {
    torture((scenario){.act = new_buckets, .check = check_observable});
}

static pytheus_err new_long_help(world *w) {
    static char help[20000], name[3000];
    memset(name, 'n', sizeof name - 1);
    for (size_t i = 0; i < sizeof help - 1; i++)
        help[i] = "a\n\\\xff\xc3\xa4\"\xe2\x82"[i % 9];
    return new_kind(w, (pytheus_desc){.name = name, .help = help});
}

TEST(metric_new_with_a_long_help_to_be_mended) {
    torture_kinds((scenario){.act = new_long_help, .check = check_observable});
}

static void make_fresh(world *w) {
    CHECK_ERR(new_labelled(w), PYTHEUS_OK);
    w->other = w->made;
}

static void check_same(world *w) {
    CHECK(pytheus_view_equal(w->made, w->other));
}

/* It may need memory for looking, or none. */
TEST(metric_found_again) {
    torture_kinds((scenario){
        .prepare = make_fresh, .act = new_labelled, .check = check_same, .needs = PERHAPS_MEMORY});
}

static pytheus_err new_duplicates(world *w) {
    pytheus_desc desc = {.name = "hits", .registry = w->registry};
    pytheus_err err = refused(pytheus_gauge_new(&desc).view, "hits");
    desc.name = "histogram_sum";
    if (!err)
        err = refused(pytheus_counter_new(&desc).view, "histogram_sum");
    desc.name = "histogram";
    desc.required_labels[0] = "a";
    return err ? err : refused(pytheus_histogram_new(&desc).view, "histogram");
}

/* What may fail unsaid is to remember that this refusal was logged. */
TEST(metric_refused) {
    torture((scenario){.prepare = make_all_kinds,
                       .act = new_duplicates,
                       .needs = PERHAPS_MEMORY,
                       .may_do_without = true});
}

static void make_metrics(world *w, int num) {
    char name[32];
    for (int i = 0; i < num; i++) {
        snprintf(name, sizeof name, "metric_%d", i);
        pytheus_desc desc = labelled(w, name);
        CHECK(pytheus_counter_new(&desc).view.node);
    }
}

static void make_step_metrics(world *w) {
    make_metrics(w, w->step);
}

static pytheus_err new_next(world *w) {
    pytheus_desc desc = {.name = "fresh", .registry = w->registry};
    return made(w, pytheus_histogram_new(&desc).view);
}

/* What grows in a registry grows at one of these. */
TEST(metric_new_as_the_nth) {
    scenario s = {.prepare = make_step_metrics, .act = new_next, .check = check_observable};
    for (s.step = 1; s.step < (is_long() ? 600 : 140); s.step++)
        torture_in(&s, s.step % 2 ? IN_OWN : IN_FULL);
}

/* -- views -- */

static pytheus_err view_complete(world *w) {
    return made(w, pytheus_counter_labels(w->counter, "path", "/", "method", "GET").view);
}

static void check_counted(world *w) {
    pytheus_counter c = {w->made};
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_LINE(w->registry, "hits{method=\"GET\",code=\"200\",path=\"/\"} 1");
}

TEST(view_complete_new) {
    torture((scenario){.prepare = make_counter, .act = view_complete, .check = check_counted});
}

static pytheus_err view_partial(world *w) {
    return made(w, pytheus_counter_labels(w->counter, "method", "GET").view);
}

TEST(view_partial_new) {
    torture(
        (scenario){.prepare = make_counter, .act = view_partial, .check = check_not_observable});
}

static void make_partial(world *w) {
    make_counter(w);
    CHECK_ERR(view_partial(w), PYTHEUS_OK);
    w->other = w->made;
}

static pytheus_err view_from_partial(world *w) {
    pytheus_counter c = {w->other};
    return made(w, pytheus_counter_labels(c, "path", "/").view);
}

TEST(view_from_a_partial_one) {
    torture((scenario){.prepare = make_partial, .act = view_from_partial, .check = check_counted});
}

static void check_counted_in_sixteen(world *w) {
    pytheus_gauge g = {w->made};
    CHECK_ERR(pytheus_gauge_set(g, 16), PYTHEUS_OK);
    CHECK_LINE(w->registry, "fresh{a=\"v\",b=\"v\",c=\"v\",d=\"v\",e=\"v\",f=\"v\",g=\"v\",h=\"v\","
                            "i=\"v\",j=\"v\",k=\"v\",l=\"v\",m=\"v\",n=\"v\",o=\"v\",p=\"v\"} 16");
}

static void make_sixteen(world *w) {
    w->step = 1;
    CHECK_ERR(new_sixteen(w), PYTHEUS_OK);
    w->gauge.view = w->made;
}

static pytheus_err view_sixteen(world *w) {
    return made(w, pytheus_gauge_labels(w->gauge, "a", "v", "b", "v", "c", "v", "d", "v", "e", "v",
                                        "f", "v", "g", "v", "h", "v", "i", "v", "j", "v", "k", "v",
                                        "l", "v", "m", "v", "n", "v", "o", "v", "p", "v")
                       .view);
}

TEST(view_of_sixteen_labels) {
    torture((scenario){
        .prepare = make_sixteen, .act = view_sixteen, .check = check_counted_in_sixteen});
}

static void make_kinds_labelled(world *w) {
    make_fresh(w);
}

static pytheus_err view_of_kind(world *w) {
    static const char *const pairs[] = {"code", "404", "path", "/a", "method", "PUT"};
    switch (w->step) {
    case 0:
        return made(w, pytheus_counter_view((pytheus_counter){w->other}, pairs, 6).view);
    case 1:
        return made(w, pytheus_gauge_view((pytheus_gauge){w->other}, pairs, 6).view);
    case 2:
        return made(w, pytheus_histogram_view((pytheus_histogram){w->other}, pairs, 6).view);
    case 3:
        return made(w, pytheus_summary_view((pytheus_summary){w->other}, pairs, 6).view);
    case 4:
        return made(w, pytheus_info_view((pytheus_info){w->other}, pairs, 6).view);
    case 5:
        return made(w, pytheus_stateset_view((pytheus_stateset){w->other}, pairs, 6).view);
    default:
        return made(w, pytheus_unknown_view((pytheus_unknown){w->other}, pairs, 6).view);
    }
}

TEST(view_of_each_kind) {
    torture_kinds(
        (scenario){.prepare = make_kinds_labelled, .act = view_of_kind, .check = check_observable});
}

/* Sizes on both sides of what a lookup keeps on its stack, and of the arena's chunks. */
static const size_t value_sizes[] = {300, 1000, 1030, 3000, 70000, 1000000};
enum { A_MEGABYTE = sizeof value_sizes / sizeof *value_sizes - 1, NUM_VALUE_SIZES = A_MEGABYTE };

static char *long_value(const world *w, const char *pattern) {
    size_t size = value_sizes[w->step], length = strlen(pattern);
    char *value = malloc(size + 1);
    if (!value)
        abort();
    for (size_t i = 0; i < size; i++)
        value[i] = pattern[i % length];
    value[size] = 0;
    return value;
}

static pytheus_err view_long(world *w, const char *pattern) {
    char *value = long_value(w, pattern);
    pytheus_err err = made(
        w, pytheus_counter_labels(w->counter, "method", "GET", "path", value, "code", value).view);
    free(value);
    return err;
}

static pytheus_err view_long_plain(world *w) {
    return view_long(w, "plain");
}

static pytheus_err view_long_mended(world *w) {
    return view_long(w, "\xff\xf0\x9f\x98\\\"\n\xed\xa0\x80");
}

static void check_long(world *w) {
    pytheus_view first = w->made;
    pytheus_counter c = {first};
    CHECK_ERR(pytheus_counter_add(c, 7), PYTHEUS_OK);
    CHECK_ERR(w->other.node ? view_long_mended(w) : view_long_plain(w), PYTHEUS_OK);
    CHECK(pytheus_view_equal(first, w->made));
}

static void make_for_mended(world *w) {
    make_counter(w);
    w->other = w->counter.view;
}

TEST(view_of_long_values) {
    scenario s = {.prepare = make_counter, .act = view_long_plain, .check = check_long};
    for (s.step = 0; s.step < NUM_VALUE_SIZES; s.step++)
        torture(s);
}

TEST(view_of_long_values_to_be_mended) {
    scenario s = {.prepare = make_for_mended, .act = view_long_mended, .check = check_long};
    for (s.step = 0; s.step < NUM_VALUE_SIZES; s.step++)
        torture(s);
}

TEST(view_of_a_megabyte) {
    scenario s = {.act = view_long_plain, .check = check_long, .step = A_MEGABYTE};
    s.prepare = make_counter;
    torture_in(&s, IN_OWN);
    s.prepare = make_for_mended;
    s.act = view_long_mended;
    torture_in(&s, IN_OWN);
}

static void make_complete(world *w) {
    make_counter(w);
    CHECK_ERR(view_complete(w), PYTHEUS_OK);
    w->other = w->made;
}

TEST(view_found_again_without_memory) {
    torture((scenario){
        .prepare = make_complete, .act = view_complete, .check = check_same, .needs = NO_MEMORY});
    torture((scenario){
        .prepare = make_partial, .act = view_partial, .check = check_same, .needs = NO_MEMORY});
}

static void make_long_one(world *w) {
    make_for_mended(w);
    CHECK_ERR(view_long_mended(w), PYTHEUS_OK);
    w->other = w->made;
}

static pytheus_err find_long_one(world *w) {
    return view_long_mended(w);
}

/* Above 1 KB it may allocate. */
TEST(view_of_long_values_found_again) {
    scenario s = {.prepare = make_long_one,
                  .act = find_long_one,
                  .check = check_same,
                  .needs = PERHAPS_MEMORY};
    for (s.step = 0; s.step < NUM_VALUE_SIZES; s.step++)
        torture(s);
}

static pytheus_err view_refused(world *w) {
    pytheus_counter nothing = {{NULL, 0}};
    const char *const odd[] = {"method", "GET", "path"}, *const none[] = {"method", NULL};
    pytheus_err err = refused(pytheus_counter_labels(w->counter, "metod", "GET").view, "metod");
    if (!err)
        err = refused(pytheus_counter_view(w->counter, odd, 3).view, "");
    if (!err)
        err = refused(pytheus_counter_view(w->counter, none, 2).view, "");
    if (!err)
        err = refused(pytheus_counter_labels(nothing, "method", "GET").view, "");
    return err;
}

TEST(view_refused_without_memory) {
    torture((scenario){.prepare = make_counter, .act = view_refused, .needs = NO_MEMORY});
}

/* -- overflow -- */

enum { MOST = 5 };

static void fill_up(world *w) {
    char id[16];
    pytheus_desc desc = {
        .name = "full", .required_labels = {"id"}, .max_series = MOST, .registry = w->registry};
    w->counter = pytheus_counter_new(&desc);
    for (int i = 0; i < MOST; i++) {
        snprintf(id, sizeof id, "%d", i);
        CHECK(pytheus_counter_labels(w->counter, "id", id).view.node);
    }
}

static pytheus_err overflow(world *w) {
    return made(w, pytheus_counter_labels(w->counter, "id", "one too many").view);
}

static void check_overflow(world *w) {
    pytheus_counter c = {w->made};
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_LINE(w->registry, "full{id=\"__overflow__\"} 1");
    CHECK_LINE(w->registry, "pytheus_overflow_calls_total{metric=\"full\"} 1");
}

TEST(view_beyond_max_series) {
    scenario s = {
        .prepare = fill_up, .act = overflow, .check = check_overflow, .needs = PERHAPS_MEMORY};
    torture(s);
}

/* What grows in a family grows at one of these: its list, its segment, its directory. */
static void make_step_series(world *w) {
    char path[32];
    make_counter(w);
    for (int i = 0; i < w->step; i++) {
        snprintf(path, sizeof path, "/%d", i);
        CHECK(pytheus_counter_labels(w->counter, "method", "GET", "path", path).view.node);
    }
}

TEST(view_new_as_the_nth) {
    scenario s = {.prepare = make_step_series,
                  .act = view_complete,
                  .check = check_counted,
                  .needs = PERHAPS_MEMORY};
    int most = is_long() ? 3000 : 200;
    long before = total_failed;
    for (s.step = 0; s.step < most; s.step++)
        torture_in(&s, IN_FULL);
    CHECK(total_failed - before > 200);
}

static void fill_up_but_one(world *w) {
    fill_up(w);
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(w->counter, "id", "0").view), PYTHEUS_OK);
}

/* A series that was not made leaves its place to another. */
static void check_last(world *w) {
    CHECK_LINE(w->registry, "full{id=\"one too many\"} 0");
    CHECK_NO_LINE(w->registry, "full{id=\"__overflow__\"} 0");
}

TEST(view_that_fills_up_max_series) {
    torture((scenario){
        .prepare = fill_up_but_one, .act = overflow, .check = check_last, .needs = PERHAPS_MEMORY});
}

/* Bytes in use after so many failures and then success. */
static long bytes_after(const scenario *s, int num_failures) {
    world w;
    long bytes;
    begin(&w, s, IN_OWN);
    for (int i = 0; i < num_failures; i++) {
        arm(1, true);
        pytheus_err err = s->act(&w);
        if (disarm() == 0)
            break;
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
    }
    CHECK_ERR(s->act(&w), PYTHEUS_OK);
    bytes = memory.bytes_live;
    end(&w);
    return bytes;
}

TEST(failing_again_and_again_takes_no_more_memory) {
    scenario metric = {.prepare = make_step_metrics, .act = new_next};
    scenario view = {.prepare = make_step_series, .act = view_complete};
    for (int step = 1; step < 100; step++) {
        metric.step = view.step = step;
        CHECK_INT(bytes_after(&metric, 30), bytes_after(&metric, 0));
        CHECK_INT(bytes_after(&view, 30), bytes_after(&view, 0));
    }
}

/* -- growth: every failure of every one of thousands of new series in one long life -- */

static pytheus_counter numbered(pytheus_counter counter, int i) {
    char id[40];
    snprintf(id, sizeof id, "%*d", 1 + i % 30, i);
    return pytheus_counter_labels(counter, "id", id);
}

static pytheus_counter numbered_partial(pytheus_counter counter, int i) {
    char id[40];
    snprintf(id, sizeof id, "%d", i);
    return pytheus_counter_labels(counter, "part", id);
}

static bool page_is(pytheus_registry *registry, const char *expected) {
    char *text = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    bool same = CHECK_STR(text, expected);
    pytheus_free(text);
    return same;
}

/* Makes one view, after every failure that there can be on the way to it. */
static pytheus_counter grow(world *w, pytheus_counter (*one)(pytheus_counter, int), int i) {
    pytheus_counter c = {{NULL, 0}};
    bool failed = true;
    for (long fail_at = 1; failed; fail_at++) {
        char *before = NULL;
        for (int for_ever = 1; for_ever >= 0; for_ever--) {
            if (!before)
                before = pytheus_generate(w->registry, PYTHEUS_TEXT, NULL);
            arm(fail_at, for_ever);
            c = one(w->counter, i);
            failed = disarm() > 0;
            if (!failed)
                break;
            CHECK(!c.view.node);
            CHECK(strstr(pytheus_last_error(), "out of memory"));
            page_is(w->registry, before);
        }
        pytheus_free(before);
    }
    return c;
}

static void make_growing(world *w, const scenario *s) {
    pytheus_desc desc = {.name = "grown", .required_labels = {"id", "part"}, .max_series = 1000000};
    begin(w, s, IN_OWN);
    desc.default_labels[0] = (pytheus_label){"part", "1"};
    desc.registry = w->registry;
    w->counter = pytheus_counter_new(&desc);
}

TEST(index_grows_to_thousands_of_series) {
    world w;
    int most = is_long() ? 20000 : 5000;
    long before = total_failed;
    make_growing(&w, &(scenario){0});
    for (int i = 0; i < most && check_num_failed < 20; i++)
        CHECK_ERR(pytheus_counter_add(grow(&w, numbered, i), i), PYTHEUS_OK);
    for (int i = 0; i < most; i++) {
        double value = -1;
        CHECK_ERR(pytheus_view_get(numbered(w.counter, i).view, &value), PYTHEUS_OK);
        CHECK_DOUBLE(value, i);
    }
    CHECK(total_failed - before > 20);
    end(&w);
}

TEST(index_grows_to_thousands_of_partial_views) {
    world w;
    int most = is_long() ? 20000 : 3000;
    pytheus_counter *views = malloc((size_t)most * sizeof *views);
    if (!views)
        abort();
    make_growing(&w, &(scenario){0});
    for (int i = 0; i < most && check_num_failed < 20; i++)
        views[i] = grow(&w, numbered_partial, i);
    for (int i = 0; i < most; i++)
        CHECK(pytheus_view_equal(views[i].view, numbered_partial(w.counter, i).view));
    free(views);
    end(&w);
}

/* Series made, removed and made again: what is reused is reused under failure too. */
TEST(index_grows_after_removals) {
    world w;
    int most = is_long() ? 10000 : 2500;
    make_growing(&w, &(scenario){0});
    for (int i = 0; i < most && check_num_failed < 20; i++) {
        CHECK_ERR(pytheus_counter_add(grow(&w, numbered, i), i), PYTHEUS_OK);
        if (i % 3 == 1)
            CHECK_ERR(pytheus_view_remove(numbered(w.counter, i - 1).view), PYTHEUS_OK);
        if (i % 500 == 499)
            CHECK_ERR(pytheus_view_clear(w.counter.view), PYTHEUS_OK);
    }
    CHECK_ERR(pytheus_view_get(numbered(w.counter, 0).view, &(double){0}), PYTHEUS_OK);
    end(&w);
}

/* -- removal -- */

static void make_series(world *w) {
    char path[32];
    make_counter(w);
    for (int i = 0; i < MANY; i++) {
        snprintf(path, sizeof path, "/%d", i);
        pytheus_counter c =
            pytheus_counter_labels(w->counter, "method", i % 2 ? "GET" : "POST", "path", path);
        CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
        w->made = c.view;
    }
    CHECK(pytheus_counter_labels(w->counter, "method", "GET").view.node);
    w->other = w->made;
}

static pytheus_err remove_one(world *w) {
    return pytheus_view_remove(w->made);
}

static void check_removed(world *w) {
    pytheus_counter c = {w->other};
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_ERR_REMOVED);
}

TEST(remove_needs_no_memory) {
    torture((scenario){
        .prepare = make_series, .act = remove_one, .check = check_removed, .needs = NO_MEMORY});
}

static void make_partly(world *w) {
    make_series(w);
    w->made = pytheus_counter_labels(w->counter, "method", "GET").view;
}

TEST(remove_of_a_partial_view_needs_no_memory) {
    torture((scenario){
        .prepare = make_partly, .act = remove_one, .check = check_removed, .needs = NO_MEMORY});
}

static pytheus_err clear_all(world *w) {
    return pytheus_view_clear(w->made);
}

TEST(clear_needs_no_memory) {
    torture((scenario){
        .prepare = make_series, .act = clear_all, .check = check_removed, .needs = NO_MEMORY});
}

static pytheus_err remove_root(world *w) {
    return pytheus_view_remove(w->counter.view);
}

TEST(remove_of_all_needs_no_memory) {
    torture((scenario){
        .prepare = make_series, .act = remove_root, .check = check_removed, .needs = NO_MEMORY});
}

/* Thousands, so that tables which could shrink are asked to. */
TEST(remove_of_thousands_needs_no_memory) {
    world w;
    make_growing(&w, &(scenario){0});
    for (int i = 0; i < 4000; i++)
        CHECK(numbered(w.counter, i).view.node);
    arm(1, true);
    for (int i = 0; i < 3990; i++)
        CHECK_ERR(pytheus_view_remove(numbered(w.counter, i).view), PYTHEUS_OK);
    CHECK_INT(memory.num_calls, 0);
    disarm();
    CHECK(numbered(w.counter, 3995).view.node);
    end(&w);
}

static void make_always_there(world *w) {
    make_all_kinds(w);
    CHECK_ERR(pytheus_gauge_set(w->gauge, 5), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(w->histogram, 5), PYTHEUS_OK);
}

static pytheus_err reset_all(world *w) {
    pytheus_err err = pytheus_view_remove(w->gauge.view);
    return err ? err : pytheus_view_clear(w->histogram.view);
}

static void check_reset(world *w) {
    CHECK_LINE(w->registry, "gauge 0");
    CHECK_LINE(w->registry, "histogram_count 0");
    CHECK_LINE(w->registry, "histogram_sum 0");
}

TEST(reset_needs_no_memory) {
    torture((scenario){
        .prepare = make_always_there, .act = reset_all, .check = check_reset, .needs = NO_MEMORY});
}

static void make_and_remove(world *w) {
    make_complete(w);
    CHECK_ERR(pytheus_view_remove(w->made), PYTHEUS_OK);
}

static void check_made_again(world *w) {
    CHECK(!pytheus_view_equal(w->made, w->other));
    check_removed(w);
    check_counted(w);
}

/* The same labels fit into what was removed; whether that takes an allocation is not ours to
   say. */
TEST(view_made_again_after_removal) {
    scenario s = {.prepare = make_and_remove,
                  .act = view_complete,
                  .check = check_made_again,
                  .needs = PERHAPS_MEMORY};
    torture(s);
}

static void check_long_again(world *w) {
    pytheus_view removed = w->other;
    CHECK_ERR(pytheus_counter_inc((pytheus_counter){removed}), PYTHEUS_ERR_REMOVED);
    w->other.node = NULL;
    check_long(w);
}

/* Labels of other sizes than the removed ones. */
TEST(view_of_another_size_after_removal) {
    scenario s = {.prepare = make_and_remove,
                  .act = view_long_plain,
                  .check = check_long_again,
                  .needs = PERHAPS_MEMORY};
    for (s.step = 0; s.step < NUM_VALUE_SIZES; s.step++)
        torture(s);
}

/* -- samples, call sites, timers, operations -- */

static pytheus_err sample(world *w) {
    const char *const pairs[] = {"method", "GET", "path", "/"};
    double value = -1;
    pytheus_err err = pytheus_sample_value(w->registry, "hits", pairs, 4, &value);
    if (!err)
        CHECK_DOUBLE(value, 0);
    return err;
}

/* It may allocate, or not. */
TEST(sample_value) {
    scenario s = {.prepare = make_complete, .act = sample, .needs = PERHAPS_MEMORY};
    torture(s);
}

static pytheus_err sample_long(world *w) {
    char *text = long_value(w, "\xff\xf0\x9f\x98\\\"\n\xed\xa0\x80");
    const char *const pairs[] = {"code", text, "method", "GET", "path", text};
    double value = -1;
    pytheus_err err = pytheus_sample_value(w->registry, "hits", pairs, 6, &value);
    if (!err)
        CHECK_DOUBLE(value, 0);
    free(text);
    return err;
}

TEST(sample_value_of_long_values) {
    scenario s = {.prepare = make_long_one, .act = sample_long, .needs = PERHAPS_MEMORY};
    for (s.step = 0; s.step < NUM_VALUE_SIZES; s.step++)
        torture(s);
}

static pytheus_err at_site(world *w) {
    const char *const pairs[] = {"method", "GET", "path", "/"};
    return made(w, pytheus__at(&w->site, w->counter.view, pairs, 4));
}

static void check_at_site(world *w) {
    check_counted(w);
    w->other = w->made;
    arm(1, true);
    CHECK_ERR(at_site(w), PYTHEUS_OK);
    CHECK_INT(disarm(), 0);
    check_same(w);
}

TEST(view_cached_at_its_call_site) {
    torture((scenario){.prepare = make_counter, .act = at_site, .check = check_at_site});
}

static pytheus_err time_all(world *w) {
    const pytheus_view views[] = {w->gauge.view, w->histogram.view, w->summary.view};
    for (int i = 0; i < 3; i++) {
        pytheus_timer timer = pytheus_timer_start(views[i]), other = timer;
        CHECK(pytheus_timer_stop(&timer) >= 0);
        pytheus_timer_to(&other, views[2 - i]);
        pytheus_timer_cancel(&other);
    }
    PYTHEUS_TIME(w->histogram) {
        PYTHEUS_TRACK_INPROGRESS_SCOPE(w->gauge);
    }
    PYTHEUS_COUNT_ERRORS(w->counter, -1);
    return PYTHEUS_OK;
}

static void check_timed(world *w) {
    CHECK_LINE(w->registry, "histogram_count 2");
    CHECK_LINE(w->registry, "summary_count 1");
}

TEST(timers_need_no_memory) {
    torture((scenario){
        .prepare = make_all_kinds, .act = time_all, .check = check_timed, .needs = NO_MEMORY});
}

static pytheus_err operate(world *w) {
    double value;
    pytheus_counter partial = w->counter;
    CHECK_ERR(pytheus_counter_inc(partial), PYTHEUS_ERR_UNOBSERVABLE);
    CHECK_ERR(pytheus_gauge_inc(w->gauge), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_dec(w->gauge), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_add(w->gauge, 2.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_sub(w->gauge, 1), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set_to_current_time(w->gauge), PYTHEUS_OK);
    CHECK_ERR(pytheus_gauge_set(w->gauge, 3), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe(w->histogram, 0.25), PYTHEUS_OK);
    CHECK_ERR(pytheus_summary_observe(w->summary, 0.25), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_get(w->summary.view, &value), PYTHEUS_OK);
    CHECK(pytheus_view_observable(w->summary.view));
    CHECK(!pytheus_view_equal(w->summary.view, w->gauge.view));
    return PYTHEUS_OK;
}

static void check_operated(world *w) {
    CHECK_LINE(w->registry, "gauge 3");
    CHECK_LINE(w->registry, "summary_sum 0.25");
}

TEST(operations_need_no_memory) {
    torture((scenario){
        .prepare = make_all_kinds, .act = operate, .check = check_operated, .needs = NO_MEMORY});
}

static pytheus_err operate_on_counter(world *w) {
    pytheus_counter c = {w->made};
    CHECK_ERR(pytheus_counter_add(c, 0.5), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_add(c, -1), PYTHEUS_ERR_VALUE);
    CHECK_ERR(pytheus_counter_set(c, 17), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_INT(pytheus_count_int(c, -3), -3);
    CHECK(!pytheus_count_ptr(c, NULL));
    return PYTHEUS_OK;
}

static void check_counter(world *w) {
    CHECK_LINE(w->registry, "hits{method=\"GET\",code=\"200\",path=\"/\"} 20");
}

TEST(operations_on_a_labelled_counter_need_no_memory) {
    torture((scenario){.prepare = make_complete,
                       .act = operate_on_counter,
                       .check = check_counter,
                       .needs = NO_MEMORY});
}

/* -- text -- */

/* Some 300 KB: larger than one buffer. */
static void make_page(world *w) {
    enum { LONG_PART = 390 };
    char path[LONG_PART + 16];
    make_all_kinds(w);
    memset(path, 'p', sizeof path);
    for (int i = 0; i < 800; i++) {
        snprintf(path + LONG_PART, sizeof path - LONG_PART, "%d", i);
        pytheus_counter c = pytheus_counter_labels(w->counter, "method", "GET", "path", path);
        CHECK_ERR(pytheus_counter_add(c, i), PYTHEUS_OK);
    }
}

static pytheus_err gather(void *user, const char *bytes, size_t size) {
    world *w = user;
    if (w->text_size + size >= w->text_room) {
        w->text_room = 2 * (w->text_size + size + 1);
        w->text = realloc(w->text, w->text_room);
        if (!w->text)
            abort();
    }
    memcpy(w->text + w->text_size, bytes, size);
    w->text_size += size;
    w->text[w->text_size] = 0;
    return PYTHEUS_OK;
}

static pytheus_err write_page(world *w) {
    pytheus_sink sink = {gather, w};
    w->text_size = 0;
    return pytheus_write(w->registry, PYTHEUS_TEXT, &sink);
}

static void check_written(world *w) {
    char *expected = snapshot(w->registry);
    CHECK_STR(w->text, expected);
    pytheus_free(expected);
}

TEST(write) {
    torture((scenario){.prepare = make_all_kinds, .act = write_page, .check = check_written});
    torture((scenario){.prepare = make_page, .act = write_page, .check = check_written});
}

static pytheus_err generate_page(world *w) {
    size_t size = 0;
    char *text = pytheus_generate(w->registry, PYTHEUS_TEXT, &size);
    if (!text)
        return PYTHEUS_ERR_NOMEM;
    w->text_size = 0;
    gather(w, text, size);
    pytheus_free(text);
    return PYTHEUS_OK;
}

TEST(generate) {
    torture((scenario){.prepare = make_all_kinds, .act = generate_page, .check = check_written});
    torture((scenario){.prepare = make_page, .act = generate_page, .check = check_written});
}

/* With all that OpenMetrics alone has. */
static void make_openmetrics(world *w) {
    pytheus_desc desc = {.name = "states", .states = {"on", "off"}, .registry = w->registry};
    pytheus_show_created(w->registry, true);
    make_page(w);
    pytheus_stateset states = pytheus_stateset_new(&desc);
    CHECK_ERR(pytheus_stateset_switch(states, "off"), PYTHEUS_OK);
    CHECK_ERR(pytheus_histogram_observe_exemplar(w->histogram, 1, "trace_id", "a"), PYTHEUS_OK);
    CHECK_ERR(
        pytheus_counter_add_exemplar(
            pytheus_counter_labels(w->counter, "method", "GET", "path", "/"), 1, "trace_id", "b"),
        PYTHEUS_OK);
}

static pytheus_err write_openmetrics(world *w) {
    static const char *const names[] = {"hits_total", "histogram", "states", "x"};
    pytheus_sink sink = {gather, w};
    w->text_size = 0;
    return w->step ? pytheus_write_named(w->registry, PYTHEUS_OPENMETRICS, names, 4, &sink)
                   : pytheus_write(w->registry, PYTHEUS_OPENMETRICS, &sink);
}

static void check_openmetrics(world *w) {
    char error[READER_ERROR_SIZE];
    reader_doc doc;
    check_that(reader_parse_as(READER_OPENMETRICS, w->text, w->text_size, &doc, error), __FILE__,
               __LINE__, "%s", error);
    reader_free(&doc);
    CHECK(strstr(w->text, " # {trace_id=\"a\"} 1 "));
}

TEST(write_in_openmetrics) {
    for (int named = 0; named < 2; named++)
        torture((scenario){.prepare = make_openmetrics,
                           .act = write_openmetrics,
                           .check = check_openmetrics,
                           .step = named});
}

static void read_file(world *w, FILE *file) {
    char bytes[4096];
    size_t size;
    w->text_size = 0;
    gather(w, "", 0);
    while ((size = fread(bytes, 1, sizeof bytes, file)) > 0)
        gather(w, bytes, size);
}

static pytheus_err write_to_stream(world *w) {
    FILE *file = tmpfile();
    pytheus_err err;
    if (!CHECK(file))
        return PYTHEUS_ERR_IO;
    err = pytheus_write_stream(w->registry, PYTHEUS_TEXT, file);
    rewind(file);
    read_file(w, file);
    CHECK(!err || !*w->text);
    fclose(file);
    return err;
}

TEST(write_stream) {
    torture((scenario){.prepare = make_all_kinds, .act = write_to_stream, .check = check_written});
    torture((scenario){.prepare = make_page, .act = write_to_stream, .check = check_written});
}

static pytheus_err lint_page(world *w) {
    pytheus_sink sink = {gather, w};
    w->text_size = 0;
    gather(w, "", 0);
    return pytheus_lint(w->registry, &sink);
}

static void check_linted(world *w) {
    char *said = page_copy(w->text, w->text_size);
    CHECK(w->text_size > 0);
    CHECK_ERR(lint_page(w), PYTHEUS_OK);
    CHECK_STR(w->text, said);
    free(said);
}

TEST(lint) {
    torture((scenario){.prepare = make_all_kinds, .act = lint_page, .check = check_linted});
    torture((scenario){.prepare = make_page, .act = lint_page, .check = check_linted});
}

#ifndef _WIN32
#include <dirent.h>

static char folder[200];

static int num_files(void) {
    int num = 0;
    DIR *dir = opendir(folder);
    if (!CHECK(dir))
        return -1;
    for (struct dirent *entry; (entry = readdir(dir));)
        num += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return num;
}

static void write_old(const char *path) {
    FILE *file = fopen(path, "w");
    if (!CHECK(file))
        return;
    fputs("old\n", file);
    fclose(file);
}

static void read_back(world *w) {
    FILE *file = fopen(w->path, "r");
    if (!CHECK(file))
        return;
    read_file(w, file);
    fclose(file);
}

static pytheus_err write_to_file(world *w) {
    pytheus_err err;
    snprintf(w->path, sizeof w->path, "%s/page.prom", folder);
    write_old(w->path);
    err = pytheus_write_file(w->registry, PYTHEUS_TEXT, w->path);
    CHECK_INT(num_files(), 1);
    read_back(w);
    CHECK(!err || !strcmp(w->text, "old\n"));
    return err;
}

TEST(write_file) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pytheus-oom-XXXXXX", parent ? parent : "/tmp");
    if (!CHECK(mkdtemp(folder)))
        return;
    torture((scenario){.prepare = make_all_kinds, .act = write_to_file, .check = check_written});
    torture((scenario){.prepare = make_page, .act = write_to_file, .check = check_written});
    char path[256];
    snprintf(path, sizeof path, "%s/page.prom", folder);
    CHECK(!remove(path));
    CHECK(!rmdir(folder));
}
#endif

/* -- a long life in which one allocation in eight fails -- */

typedef struct life {
    world w;
    uint64_t random;
    int num_metrics;
    pytheus_view views[64];
} life;

static bool one_in(life *l, unsigned n) {
    return check_random(&l->random) % n == 0;
}

static pytheus_view make_metric_somehow(life *l) {
    char name[32];
    pytheus_desc desc = {.help = "Some.", .required_labels = {"id"}, .registry = l->w.registry};
    snprintf(name, sizeof name, "m_%d", l->num_metrics);
    desc.name = name;
    pytheus_view view =
        one_in(l, 2) ? pytheus_counter_new(&desc).view : pytheus_histogram_new(&desc).view;
    l->num_metrics += view.node != NULL;
    return view;
}

static pytheus_view make_view_somehow(life *l, pytheus_view of) {
    char id[2048];
    size_t size = one_in(l, 10) ? 1800 : one_in(l, 2) ? 100 : 3;
    memset(id, "xy\xff"[check_random(&l->random) % 3], size);
    snprintf(id + size, sizeof id - size, "%d", (int)(check_random(&l->random) % 500));
    return one_in(l, 2) ? pytheus_counter_labels((pytheus_counter){of}, "id", id).view
                        : pytheus_histogram_labels((pytheus_histogram){of}, "id", id).view;
}

static void write_somehow(life *l) {
    if (one_in(l, 2))
        pytheus_free(pytheus_generate(l->w.registry, PYTHEUS_TEXT, NULL));
    else
        (void)write_page(&l->w);
}

/* True if it asked for something new, so that a failure has to leave the page as it was. */
static bool live_a_bit(life *l) {
    pytheus_view *view = &l->views[check_random(&l->random) % 64];
    switch (check_random(&l->random) % 8) {
    case 0:
        if (l->num_metrics < 60)
            *view = make_metric_somehow(l);
        return true;
    case 1:
        write_somehow(l);
        return true;
    case 2:
        (void)pytheus_view_remove(*view);
        return false;
    case 3:
        (void)pytheus_counter_inc((pytheus_counter){*view});
        (void)pytheus_histogram_observe((pytheus_histogram){*view}, 1);
        return false;
    default:
        l->views[check_random(&l->random) % 64] = make_view_somehow(l, *view);
        return true;
    }
}

TEST(a_long_life_on_little_memory) {
    life l = {.random = 1};
    int num_steps = is_long() ? 200000 : 10000;
    begin(&l.w, &(scenario){0}, IN_OWN);
    for (int i = 0; i < num_steps && check_num_failed < 20; i++) {
        char *before = pytheus_generate(l.w.registry, PYTHEUS_TEXT, NULL);
        arm(1 + (long)(check_random(&l.random) % 4), one_in(&l, 2));
        bool builds = live_a_bit(&l);
        if (disarm() > 0 && CHECK(builds))
            page_is(l.w.registry, before);
        pytheus_free(before);
    }
    CHECK_INT(l.num_metrics, 60);
    pytheus_free(snapshot(l.w.registry));
    end(&l.w);
}

/* Last of the file, because it sums up the others. */
TEST(number_of_failures) {
    printf("%ld allocation failures injected\n", total_failed);
    CHECK(total_failed > 3000);
}
