/* Backends of words that processes share: what others have made is on the page, what is put
 * together for a page goes before the words, and the limit of series is everybody's. Here several
 * registries stand for the processes. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "check.h"
#include "fixture.h"
#include "page.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

enum { MOST_SERIES = 64, MOST_WORDS = 16 };

/* As a file would hold it: text and words. */
typedef struct shared_series {
    char metric[40], help[40];
    char names[PYTHEUS_MAX_LABELS][20], values[PYTHEUS_MAX_LABELS][20];
    char defaults[PYTHEUS_MAX_LABELS][20];
    bool has_default[PYTHEUS_MAX_LABELS];
    pytheus_series_desc desc; /* its pointers are not used */
    double bounds[MOST_WORDS];
    uint64_t words[MOST_WORDS] __attribute__((aligned(8)));
    uint64_t life __attribute__((aligned(8)));
    uint64_t changed __attribute__((aligned(8)));
    uint64_t mask;
} shared_series;

typedef struct shared {
    shared_series series[MOST_SERIES];
    size_t num;
    uint64_t mask; /* of those that are added */
} shared;

/* One registry's backend over it. */
typedef struct member {
    shared *all;
    size_t seen;
    long num_open, num_discovers;
    pytheus_err fails;       /* words_open, with words */
    const char *emits;       /* a gauge that generate() emits, at 7 */
    pytheus_err discovering; /* what pytheus_discover said last */
    bool is_child, has_no_memory;
} member;

static bool is_series(const shared_series *series, const pytheus_series_desc *desc) {
    if (!series->life || strcmp(series->metric, desc->metric) != 0 ||
        series->desc.type != desc->type || series->desc.across != desc->across ||
        series->desc.num_labels != desc->num_labels)
        return false;
    for (size_t i = 0; i < desc->num_labels; i++)
        if (strcmp(series->values[i], desc->labels[i].value) != 0)
            return false;
    return true;
}

static void fill_words(shared_series *series, pytheus_words *words) {
    words->at = series->words;
    words->life = &series->life;
    words->life_value = series->life;
    words->series = series;
    if (series->desc.type == PYTHEUS_GAUGE)
        words->changed = &series->changed;
    words->mask = series->mask;
}

static size_t num_of_metric(const shared *all, const char *metric) {
    size_t n = 0;
    for (size_t i = 0; i < all->num; i++)
        n += all->series[i].life && !strcmp(all->series[i].metric, metric);
    return n;
}

static void add_series(shared *all, const pytheus_series_desc *desc) {
    shared_series *series = &all->series[all->num++];
    CHECK(all->num <= MOST_SERIES && desc->num_words <= MOST_WORDS);
    series->desc = *desc;
    snprintf(series->metric, sizeof series->metric, "%s", desc->metric);
    snprintf(series->help, sizeof series->help, "%s", desc->help);
    for (size_t i = 0; i < desc->num_labels; i++) {
        snprintf(series->names[i], sizeof series->names[i], "%s", desc->labels[i].name);
        snprintf(series->values[i], sizeof series->values[i], "%s", desc->labels[i].value);
        series->has_default[i] = desc->defaults[i] != NULL;
        snprintf(series->defaults[i], sizeof series->defaults[i], "%s",
                 desc->defaults[i] ? desc->defaults[i] : "");
    }
    for (size_t i = 0; i < desc->num_bounds; i++)
        series->bounds[i] = desc->bounds[i];
    series->life = all->num;
    series->mask = series->changed = all->mask;
    for (size_t i = 0; i < desc->num_words; i++)
        series->words[i] = all->mask;
}

static pytheus_err member_open(void *user, const pytheus_series_desc *desc, pytheus_words *words) {
    member *m = (member *)user;
    size_t i;
    for (i = 0; i < m->all->num && (m->is_child || !is_series(&m->all->series[i], desc)); i++) {
    }
    if (i == m->all->num) {
        if (desc->max_series && num_of_metric(m->all, desc->metric) >= desc->max_series)
            return PYTHEUS_OK;
        add_series(m->all, desc);
    }
    fill_words(&m->all->series[i], words);
    m->num_open++;
    return m->fails ? pytheus_fail(m->fails, "in this process alone") : PYTHEUS_OK;
}

static pytheus_err member_remove(void *user, const pytheus_words *words) {
    (void)user;
    ((shared_series *)words->series)->life = 0;
    return PYTHEUS_OK;
}

static pytheus_err member_remove_all(void *user, const pytheus_series_desc *desc) {
    member *m = (member *)user;
    for (size_t i = 0; i < m->all->num; i++) {
        shared_series *series = &m->all->series[i];
        bool is_below = !strcmp(series->metric, desc->metric);
        for (size_t j = 0; j < desc->num_labels; j++)
            is_below &= !desc->labels[j].value || !strcmp(series->values[j], desc->labels[j].value);
        if (is_below)
            series->life = 0;
    }
    return PYTHEUS_OK;
}

static void member_close(void *user, const pytheus_words *words) {
    (void)words;
    ((member *)user)->num_open--;
}

static pytheus_err member_discover(void *user, pytheus_discovery *out) {
    member *m = (member *)user;
    m->num_discovers++;
    for (; m->seen < m->all->num; m->seen++) {
        shared_series *series = &m->all->series[m->seen];
        pytheus_series_desc desc = series->desc;
        pytheus_label labels[PYTHEUS_MAX_LABELS];
        const char *defaults[PYTHEUS_MAX_LABELS];
        pytheus_words words = {0};
        for (size_t i = 0; i < desc.num_labels && i < PYTHEUS_MAX_LABELS; i++) {
            labels[i] = (pytheus_label){series->names[i], series->values[i]};
            defaults[i] = series->has_default[i] ? series->defaults[i] : NULL;
        }
        desc.metric = series->metric;
        desc.help = series->help;
        desc.unit = "";
        desc.labels = labels;
        desc.defaults = defaults;
        desc.bounds = series->bounds;
        if (!series->life)
            continue;
        fill_words(series, &words);
        m->num_open++;
        m->discovering = pytheus_discover(out, &desc, &words);
        if (m->discovering == PYTHEUS_ERR_NOMEM)
            return m->discovering;
    }
    return PYTHEUS_OK;
}

static pytheus_err member_generate(void *user, pytheus_emitter *out) {
    member *m = (member *)user;
    if (m->emits) {
        (void)pytheus_emit_family(
            out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = m->emits, .help = "Theirs."});
        (void)pytheus_emit_sample(out, &(pytheus_sample){.value = 7});
    }
    return PYTHEUS_OK;
}

static void member_forked(void *user) {
    ((member *)user)->is_child = true;
}

static void *take_memory(void *user, void *old, size_t old_size, size_t size) {
    (void)old_size;
    if (!size) {
        free(old);
        return NULL;
    }
    return ((member *)user)->has_no_memory ? NULL : realloc(old, size);
}

static pytheus_registry *join(member *m, shared *all) {
    memset(m, 0, sizeof *m);
    memset(&logged, 0, sizeof logged);
    m->all = all;
    const pytheus_backend backend = {.name = "member",
                                     .user = m,
                                     .generate = member_generate,
                                     .words_open = member_open,
                                     .words_remove = member_remove,
                                     .words_remove_all = member_remove_all,
                                     .words_close = member_close,
                                     .discover = member_discover,
                                     .forked = member_forked};
    return pytheus_registry_new(&(pytheus_registry_desc){
        .backend = &backend, .allocator = {take_memory, m}, .logger = {fixture_remember, NULL}});
}

static void leave(pytheus_registry *registry, const member *m) {
    pytheus_registry_free(registry);
    CHECK_INT(m->num_open, 0);
}

TEST(what_others_made_is_on_the_page) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .help = "Theirs.",
                                .required_labels = {"l", "m"}, .default_labels = {{"m", "d"}});
    pytheus_histogram h =
        HISTOGRAM(a, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2);
    pytheus_counter_add(pytheus_counter_labels(c, "l", "1"), 5);
    pytheus_counter_add(pytheus_counter_labels(c, "l", "2", "m", "3"), 1.5);
    pytheus_histogram_observe(h, 1.5);
    CHECK_PAGE(b, "# TYPE h histogram\nh_bucket{le=\"1\"} 0\nh_bucket{le=\"2\"} 1\n"
                  "h_bucket{le=\"+Inf\"} 1\nh_sum 1.5\nh_count 1\n"
                  "# HELP x_total Theirs.\n# TYPE x_total counter\n"
                  "x_total{l=\"1\",m=\"d\"} 5\nx_total{l=\"2\",m=\"3\"} 1.5\n");
    leave(b, &two);
    leave(a, &one);
}

TEST(a_histogram_of_one_bucket_is_discovered_too) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    const double infinite[] = {(double)INFINITY};
    pytheus_histogram_observe(HISTOGRAM(a, .name = "h", .buckets = infinite, .num_buckets = 1), 3);
    CHECK_PAGE(b, "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_sum 3\nh_count 1\n");
    leave(b, &two);
    leave(a, &one);
}

TEST(a_discovered_metric_is_found_by_its_definition) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .required_labels = {"l"}, .max_series = 100);
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "1"));
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total{l=\"1\"} 1\n");
    pytheus_counter d = COUNTER(b, .name = "x_total", .required_labels = {"l"}, .max_series = 2);
    pytheus_counter_add(pytheus_counter_labels(d, "l", "1"), 2);
    pytheus_counter_inc(pytheus_counter_labels(d, "l", "2"));
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total{l=\"1\"} 3\nx_total{l=\"2\"} 1\n");
    CHECK_PAGE(a, "# TYPE x_total counter\nx_total{l=\"1\"} 3\nx_total{l=\"2\"} 1\n");
    /* Its own limit holds from now on. */
    pytheus_counter_inc(pytheus_counter_labels(d, "l", "3"));
    CHECK_LABELLED(b, "x_total", 1, "l", "__overflow__");
    leave(b, &two);
    leave(a, &one);
}

TEST(what_the_program_defines_goes_before_what_it_discovers) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter_inc(COUNTER(a, .name = "x_total"));
    pytheus_counter_inc(COUNTER(a, .name = "y_total"));
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total 1\n# TYPE y_total counter\ny_total 1\n");
    pytheus_gauge_set(GAUGE(b, .name = "x_total"), 4);
    CHECK_PAGE(b, "# TYPE y_total counter\ny_total 1\n# TYPE x_total gauge\nx_total 4\n");
    leave(b, &two);
    leave(a, &one);
}

TEST(a_discovered_metric_that_differs_is_left_out_and_told_once) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "1"));
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "2"));
    two.seen = all.num; /* not yet */
    COUNTER(b, .name = "x_total");
    two.seen = 0;
    memset(&logged, 0, sizeof logged);
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total 0\n");
    CHECK_ERR(two.discovering, PYTHEUS_OK); /* its own, which comes last */
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(logged.metric, "x_total");
    leave(b, &two);
    leave(a, &one);
}

TEST(gauges_must_be_shared_in_the_same_way) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_gauge_set(GAUGE(a, .name = "x"), 3);
    GAUGE(b, .name = "y", .across = PYTHEUS_MAX);
    CHECK_PAGE(b, "# TYPE y gauge\ny 0\n# TYPE x gauge\nx 3\n");
    pytheus_gauge_set(GAUGE(b, .name = "x", .across = PYTHEUS_MAX), 9);
    CHECK_NO_LINE(b, "x 3");
    leave(b, &two);
    leave(a, &one);
}

TEST(removed_elsewhere_and_made_again_it_is_discovered_again) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "1"));
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total{l=\"1\"} 1\n");
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK_PAGE(b, "# TYPE x_total counter\n");
    pytheus_counter_add(pytheus_counter_labels(c, "l", "1"), 4);
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total{l=\"1\"} 4\n");
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    pytheus_counter_add(pytheus_counter_labels(c, "l", "1"), 6);
    CHECK_PAGE(b, "# TYPE x_total counter\nx_total{l=\"1\"} 6\n"); /* without a page between */
    leave(b, &two);
    leave(a, &one);
}

TEST(series_of_others_go_with_what_is_above_them) {
    static shared all;
    member ours, theirs;
    pytheus_registry *r = join(&ours, &all), *other = join(&theirs, &all);
    pytheus_counter mine = COUNTER(r, .name = "c", .required_labels = {"a", "b"});
    pytheus_counter c = COUNTER(other, .name = "c", .required_labels = {"a", "b"});
    pytheus_counter gone = pytheus_counter_labels(mine, "a", "1", "b", "1");
    pytheus_counter_labels(c, "a", "1", "b", "2");
    pytheus_counter_labels(c, "a", "2", "b", "2");
    CHECK_ERR(pytheus_view_remove(gone.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(gone.view), PYTHEUS_ERR_REMOVED);
    CHECK_INT((long)num_of_metric(&all, "c"), 2);
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(mine, "a", "1").view), PYTHEUS_OK);
    CHECK_PAGE(other, "# TYPE c counter\nc{a=\"2\",b=\"2\"} 0\n");
    CHECK_ERR(pytheus_view_clear(mine.view), PYTHEUS_OK);
    CHECK_PAGE(other, "# TYPE c counter\n");
    leave(r, &ours);
    leave(other, &theirs);
}

TEST(without_memory_to_name_series_of_others_none_are_removed) {
    static shared all;
    member m;
    char value[2000];
    memset(value, 'x', sizeof value);
    value[sizeof value - 1] = '\0';
    pytheus_registry *r = join(&m, &all);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a", "b"});
    pytheus_counter above = pytheus_counter_labels(c, "a", value);
    CHECK(pytheus_view_observable(pytheus_counter_labels(above, "b", "1").view));
    m.has_no_memory = true;
    CHECK_ERR(pytheus_view_remove(above.view), PYTHEUS_ERR_NOMEM);
    CHECK_INT((long)num_of_metric(&all, "c"), 1);
    m.has_no_memory = false;
    CHECK_ERR(pytheus_view_remove(above.view), PYTHEUS_OK);
    CHECK_INT((long)num_of_metric(&all, "c"), 0);
    leave(r, &m);
}

TEST(a_metric_taken_from_the_page_is_not_discovered) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(b, .name = "x_total", .required_labels = {"l"});
    CHECK_ERR(pytheus_registry_remove(b, c.view), PYTHEUS_OK);
    c = COUNTER(a, .name = "x_total", .required_labels = {"l"});
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "1"));
    CHECK_PAGE(b, "");
    leave(b, &two);
    leave(a, &one);
}

TEST(the_limit_of_series_is_everybody_s) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .required_labels = {"l"}, .max_series = 2);
    pytheus_counter d = COUNTER(b, .name = "x_total", .required_labels = {"l"}, .max_series = 2);
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "1"));
    pytheus_counter_inc(pytheus_counter_labels(c, "l", "2"));
    pytheus_counter_inc(pytheus_counter_labels(d, "l", "2"));
    pytheus_counter_inc(pytheus_counter_labels(d, "l", "3"));
    pytheus_counter_inc(pytheus_counter_labels(d, "l", "4"));
    CHECK_PAGE(a, "# TYPE x_total counter\nx_total{l=\"1\"} 1\nx_total{l=\"2\"} 2\n"
                  "x_total{l=\"__overflow__\"} 2\n");
    CHECK_LINE(b, "pytheus_overflow_calls_total{metric=\"x_total\"} 2");
    leave(b, &two);
    leave(a, &one);
}

TEST(an_error_with_words_is_told_and_they_are_used) {
    static shared all;
    member one;
    pytheus_registry *a = join(&one, &all);
    pytheus_counter c = COUNTER(a, .name = "x_total", .required_labels = {"l"});
    one.fails = PYTHEUS_ERR_IO;
    pytheus_counter s = pytheus_counter_labels(c, "l", "1");
    CHECK_STR(pytheus_last_error(), "in this process alone");
    CHECK_STR(logged.metric, "x_total");
    CHECK_ERR(pytheus_counter_inc(s), PYTHEUS_OK);
    CHECK_PAGE(a, "# TYPE x_total counter\nx_total{l=\"1\"} 1\n");
    leave(a, &one);
}

TEST(what_is_generated_goes_before_the_words) {
    static shared all;
    member one;
    pytheus_registry *a = join(&one, &all);
    pytheus_gauge_set(GAUGE(a, .name = "x"), 1);
    pytheus_gauge_set(GAUGE(a, .name = "y"), 2);
    one.emits = "y";
    CHECK_PAGE(a, "# TYPE x gauge\nx 1\n# TYPE y gauge\ny 7\n");
    one.emits = "x";
    CHECK_PAGE(a, "# TYPE x gauge\nx 7\n# TYPE y gauge\ny 2\n");
    one.emits = "z";
    CHECK_PAGE(a, "# TYPE x gauge\nx 1\n# TYPE y gauge\ny 2\n"
                  "# HELP z Theirs.\n# TYPE z gauge\nz 7\n");
    leave(a, &one);
}

static double three(void *user) {
    (void)user;
    return 3;
}

TEST(a_function_goes_before_what_is_generated) {
    static shared all;
    member one;
    pytheus_registry *a = join(&one, &all);
    pytheus_gauge x = GAUGE(a, .name = "x");
    one.emits = "x";
    CHECK_ERR(pytheus_gauge_set_function(x, three, NULL), PYTHEUS_OK);
    CHECK_PAGE(a, "# TYPE x gauge\nx 3\n");
    CHECK_ERR(pytheus_gauge_set_function(x, NULL, NULL), PYTHEUS_OK);
    CHECK_PAGE(a, "# TYPE x gauge\nx 7\n");
    leave(a, &one);
}

TEST(a_gauge_s_changes_are_dated) {
    static shared all;
    member one;
    pytheus_registry *a = join(&one, &all);
    pytheus_gauge x = GAUGE(a, .name = "x");
    double when = 0, before = 0;
    CHECK_INT((long)all.series[0].changed, 0);
    for (int i = 0; i < 3; i++) {
        (void)(i == 0   ? pytheus_gauge_set(x, 5)
               : i == 1 ? pytheus_gauge_inc(x)
                        : pytheus_gauge_sub(x, 2));
        memcpy(&when, &all.series[0].changed, sizeof when);
        CHECK(when > 1.7e9 && when < 1e10 && when >= before);
        before = when;
        all.series[0].changed = 0;
    }
    CHECK_VALUE(x, 4);
    leave(a, &one);
}

/* A late one would otherwise date the words' next series. */
TEST(the_date_of_a_change_is_masked) {
    static shared all;
    member one;
    double when = 0;
    uint64_t bits;
    all.mask = 0x123456789abcdef;
    pytheus_registry *a = join(&one, &all);
    pytheus_gauge x = GAUGE(a, .name = "x");
    CHECK_ERR(pytheus_gauge_set(x, 5), PYTHEUS_OK);
    bits = all.series[0].changed ^ all.mask;
    memcpy(&when, &bits, sizeof when);
    CHECK(when > 1.7e9 && when < 1e10);
    CHECK_VALUE(x, 5);
    leave(a, &one);
}

#ifndef _WIN32
TEST(a_child_has_gauges_of_its_own) {
    static shared all;
    member one;
    pytheus_registry *a = join(&one, &all);
    pytheus_gauge own = GAUGE(a, .name = "own", .across = PYTHEUS_SUM);
    pytheus_gauge one_for_all = GAUGE(a, .name = "all");
    pytheus_gauge_set(own, 1);
    pytheus_gauge_set(one_for_all, 2);
    pid_t child = fork();
    if (!child) {
        bool good = fixture_value(own.view) == 0 && fixture_value(one_for_all.view) == 2 &&
                    !pytheus_gauge_set(own, 5) && fixture_value(own.view) == 5 && all.num == 3 &&
                    one.num_open == 2;
        pytheus_registry_free(a);
        _exit(good && one.num_open == 0 ? 0 : 1);
    }
    int status = 1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    CHECK_VALUE(own, 1);
    leave(a, &one);
}
#endif

TEST(what_is_badly_described_is_left_out) {
    static shared all;
    member one, two;
    pytheus_registry *a = join(&one, &all), *b = join(&two, &all);
    pytheus_counter_inc(COUNTER(a, .name = "x_total"));
    for (int i = 0; i < 6; i++) {
        shared_series kept = all.series[0];
        if (i == 0)
            all.series[0].desc.type = (pytheus_type)77;
        if (i == 1)
            strcpy(all.series[0].metric, "no name");
        if (i == 2)
            all.series[0].desc.num_labels = PYTHEUS_MAX_LABELS + 1;
        if (i == 5)
            all.series[0].desc.num_words = 3;
        if (i == 4)
            all.series[0].desc.across = PYTHEUS_SUM;
        if (i == 3)
            strcpy(all.series[0].metric, "pytheus_x");
        two.seen = 0;
        if (i != 5)
            CHECK_PAGE(b, "");
        else
            pytheus_free(pytheus_generate(b, PYTHEUS_TEXT, NULL));
        CHECK(two.discovering != PYTHEUS_OK);
        all.series[0] = kept;
    }
    leave(b, &two);
    leave(a, &one);
}
