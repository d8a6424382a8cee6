/* Many processes, one page: pytheus_file.h as its users see it. */
#define _GNU_SOURCE
#include <stdint.h>
#ifdef __linux__
#include <sys/vfs.h>

/* What the system says that the directory's file system is; 0: what it is. */
static uint32_t told_type;

static inline int tell_type(int fd, struct statfs *status) {
    int result = fstatfs(fd, status);
    if (told_type)
        status->f_type = (__typeof__(status->f_type))told_type;
    return result;
}
#define fstatfs(fd, status) tell_type(fd, status)
#endif

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "check.h"
#include "page.h"

#ifdef _WIN32
TEST(file) {
    SKIP("POSIX only");
}
#else

#include "fixture.h"
#include "service.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* -- one page -- */

static bool count_one(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    const char *method = (const char *)argument;
    pytheus_counter c =
        COUNTER(r, .name = "requests_total", .help = "Requests.", .required_labels = {"method"});
    bool good = !pytheus_counter_inc(pytheus_counter_labels(c, "method", method));
    pytheus_registry_free(r);
    return good;
}

TEST_SERVICE(s, processes_share_a_page) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "requests_total", .required_labels = {"method"});
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET"));
    service_run(s, count_one, "GET");
    service_run(s, count_one, "POST");
    CHECK_PAGE(r, "# TYPE requests_total counter\nrequests_total{method=\"GET\"} 2\n"
                  "requests_total{method=\"POST\"} 1\n");
    pytheus_registry_free(r);
}

static bool make_all(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_counter c = COUNTER(r, .name = "c_total", .help = "C\\ \n.",
                                .required_labels = {"a", "b"}, .default_labels = {{"b", "d\"\n"}});
    pytheus_counter_add(pytheus_counter_labels(c, "a", "\\x"), 1.5);
    pytheus_gauge_set(GAUGE(r, .name = "g_seconds", .unit = "seconds"), -3);
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){0.5, 1e6}, .num_buckets = 2);
    pytheus_histogram_observe(h, 0.25);
    pytheus_histogram_observe(h, 7);
    pytheus_summary_observe(SUMMARY(r, .name = "s"), 2);
    pytheus_counter_inc(COUNTER(r, .name = "spread_total", .stripes = 4));
    pytheus_stateset_switch(
        pytheus_stateset_new(&(pytheus_desc){.registry = r, .name = "st", .states = {"off", "on"}}),
        "on");
    pytheus_info i = pytheus_info_new(
        &(pytheus_desc){.registry = r, .name = "i", .required_labels = {"version"}});
    pytheus_info_labels(i, "version", "1.2");
    return true; /* the registry is left as a crash would */
}

static const char everything[] =
    "# HELP c_total C\\\\ \\n.\n# TYPE c_total counter\nc_total{a=\"\\\\x\",b=\"d\\\"\\n\"} 1.5\n"
    "# TYPE g_seconds gauge\ng_seconds -3\n"
    "# TYPE h histogram\nh_bucket{le=\"0.5\"} 1\nh_bucket{le=\"1e+06\"} 2\n"
    "h_bucket{le=\"+Inf\"} 2\nh_sum 7.25\nh_count 2\n"
    "# TYPE s summary\ns_sum 2\ns_count 1\n"
    "# TYPE spread_total counter\nspread_total 1\n"
    "# TYPE st gauge\nst{st=\"off\"} 0\nst{st=\"on\"} 1\n"
    "# TYPE i_info gauge\ni_info{version=\"1.2\"} 1\n";

TEST_SERVICE(s, metrics_of_others_are_exposed_undefined) {
    pytheus_registry *r = service_join(s);
    service_run(s, make_all, NULL);
    /* A series without labels, or of defaults alone, is there from the start: c_total's is not. */
    CHECK_PAGE(r, everything);
    CHECK_INT(logged.num, 0);
    pytheus_registry_free(r);
}

static bool count_in_its_version(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_counter_inc(pytheus_counter_labels(
        COUNTER(r, .name = "x_total", .required_labels = {"new"}), "new", "1"));
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{new=\"1\"} 1\n");
    pytheus_registry_free(r);
    return true;
}

TEST_SERVICE(s, versions_of_a_program_see_their_own) {
    pytheus_registry *r = service_join(s);
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    service_run(s, count_in_its_version, NULL);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 1\n");
    CHECK_STR(logged.sentence, "x_total: already there, and defined otherwise");
    pytheus_registry_free(r);
}

static bool remove_get(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_counter c = COUNTER(r, .name = "requests_total", .required_labels = {"method"});
    bool good = !pytheus_view_remove(pytheus_counter_labels(c, "method", "GET").view);
    pytheus_registry_free(r);
    return good;
}

TEST_SERVICE(s, a_removal_is_everybody_s) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "requests_total", .required_labels = {"method"});
    pytheus_counter get = pytheus_counter_labels(c, "method", "GET");
    CHECK_ERR(pytheus_counter_inc(get), PYTHEUS_OK);
    service_run(s, remove_get, NULL);
    CHECK_ERR(pytheus_counter_inc(get), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE requests_total counter\n");
    service_run(s, count_one, "GET");
    CHECK_ERR(pytheus_counter_inc(get), PYTHEUS_ERR_REMOVED);
    CHECK_PAGE(r, "# TYPE requests_total counter\nrequests_total{method=\"GET\"} 1\n");
    pytheus_registry_free(r);
}

static bool crowd(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"}, .max_series = 10);
    for (int i = 0; i < 8; i++) {
        char text[20];
        snprintf(text, sizeof text, "%c%d", *(const char *)argument, i);
        pytheus_counter_inc(pytheus_counter_labels(c, "a", text));
    }
    pytheus_registry_free(r);
    return true;
}

TEST_SERVICE(s, max_series_is_everybody_s) {
    pytheus_registry *r = service_join(s);
    service_run(s, crowd, "a");
    service_run(s, crowd, "b");
    service_run(s, crowd, "c");
    char *text = page(r);
    int lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    CHECK_INT(lines, 1 + 10 + 1);
    free(text);
    CHECK_LINE(r, "x_total{a=\"__overflow__\"} 14");
    pytheus_registry_free(r);
}

TEST_SERVICE(s, registries_of_one_process_share_it) {
    pytheus_registry *a = service_join(s), *b = service_join(s);
    pytheus_counter_inc(COUNTER(a, .name = "x_total"));
    pytheus_counter_inc(COUNTER(b, .name = "x_total"));
    CHECK_PAGE(a, "# TYPE x_total counter\nx_total 2\n");
    pytheus_registry_free(a);
    /* The lock file is still open: the other one's locks hold. */
    service_run(s, count_one, "GET");
    CHECK_LINE(b, "x_total 2");
    CHECK_LINE(b, "requests_total{method=\"GET\"} 1");
    pytheus_registry_free(b);
}

/* -- stripes -- */

/* What a process that asks for so many adds to series of all kinds that spread. */
enum { ROUNDS = 1000, PARTS = 4 };

static pytheus_counter spread_counter(pytheus_registry *r, unsigned stripes) {
    return COUNTER(r, .name = "c_total", .required_labels = {"a"}, .stripes = stripes);
}

static pytheus_histogram spread_histogram(pytheus_registry *r, unsigned stripes) {
    return HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2, 4}, .num_buckets = 3,
                     .stripes = stripes);
}

static bool spread_out(const service *s, void *argument) {
    unsigned stripes = *(const unsigned *)argument;
    pytheus_registry *r = service_join(s);
    pytheus_counter c = pytheus_counter_labels(spread_counter(r, stripes), "a", "1");
    pytheus_histogram h = spread_histogram(r, stripes);
    pytheus_summary sum = SUMMARY(r, .name = "s", .stripes = stripes);
    for (int i = 0; i < ROUNDS; i++) {
        pytheus_counter_inc(c);
        pytheus_counter_add(c, 0.5);
        pytheus_histogram_observe(h, i % PARTS);
        pytheus_summary_observe(sum, 2);
    }
    pytheus_registry_free(r);
    return true;
}

static const char spread_page[] =
    "# TYPE c_total counter\nc_total{a=\"1\"} 6000\n"
    "# TYPE h histogram\nh_bucket{le=\"1\"} 2000\nh_bucket{le=\"2\"} 3000\n"
    "h_bucket{le=\"4\"} 4000\nh_bucket{le=\"+Inf\"} 4000\nh_sum 6000\nh_count 4000\n"
    "# TYPE s summary\ns_sum 8000\ns_count 4000\n";

static pytheus_words words_of(pytheus_view view) {
    const pytheus_backend *backend;
    pytheus_words words;
    memset(&words, 0, sizeof words);
    CHECK_ERR(pytheus_view_words(view, &backend, &words), PYTHEUS_OK);
    return words;
}

TEST_SERVICE(s, processes_spread_over_stripes) {
    unsigned asked[PARTS] = {8, 1, 0, 64}; /* the first one makes the series */
    pytheus_registry *r = service_join(s);
    for (int i = 0; i < PARTS; i++)
        service_run(s, spread_out, &asked[i]);
    CHECK_PAGE(r, spread_page);
    pytheus_counter c = pytheus_counter_labels(spread_counter(r, 2), "a", "1");
    pytheus_words words = words_of(c.view);
    CHECK_INT(words.num_stripes, 8);
    CHECK_INT(words.stripe_words, 8);
    CHECK_INT((uintptr_t)words.at % 64, 0);
    words = words_of(spread_histogram(r, 2).view);
    CHECK_INT(words.num_stripes, 8);
    CHECK_INT((uintptr_t)words.at % 64, 0);
    CHECK_PAGE(r, spread_page);
    pytheus_registry_free(r);
    pytheus_registry *again = service_open(s, true);
    CHECK_PAGE(again, spread_page);
    pytheus_registry_free(again);
}

TEST_SERVICE(s, each_process_has_a_stripe_of_its_own) {
    unsigned eight = 8;
    pytheus_registry *r = service_join(s);
    pytheus_counter c = pytheus_counter_labels(spread_counter(r, 8), "a", "1");
    service_member member = service_begin_member(s, spread_out, &eight);
    pytheus_counter_inc(c);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pytheus_counter_inc(c);
        _exit(0);
    }
    CHECK_INT(service_wait(child), 0);
    pytheus_words words = words_of(c.view);
    int used = 0;
    for (size_t i = 0; i < words.num_stripes; i++)
        used += words.at[i * words.stripe_words] != 0;
    CHECK_INT(used, 3);
    CHECK_LINE(r, "c_total{a=\"1\"} 1502");
    CHECK_VALUE(c, 1502);
    service_end_member(member);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, spread_series_are_set_cleared_and_removed) {
    unsigned four = 4;
    pytheus_registry *r = service_join(s);
    pytheus_counter c = spread_counter(r, 4);
    pytheus_histogram h = spread_histogram(r, 4);
    for (int i = 0; i < 3; i++) {
        pytheus_counter one = pytheus_counter_labels(c, "a", "1");
        CHECK_INT(words_of(one.view).num_stripes, 4);
        CHECK_VALUE(one, 0);
        service_run(s, spread_out, &four);
        CHECK_VALUE(one, 1500);
        CHECK_ERR(pytheus_counter_set(one, 7), PYTHEUS_OK);
        pytheus_counter_inc(one);
        CHECK_LINE(r, "c_total{a=\"1\"} 8");
        CHECK_LINE(r, "h_count 1000");
        CHECK_ERR(pytheus_view_clear(h.view), PYTHEUS_OK);
        CHECK_LINE(r, "h_count 0");
        CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
        CHECK_ERR(pytheus_counter_inc(one), PYTHEUS_ERR_REMOVED);
    }
    pytheus_registry_free(r);
}

TEST_SERVICE(s, as_many_stripes_as_a_record_has_room_for) {
    double bounds[200];
    for (int i = 0; i < 200; i++)
        bounds[i] = i;
    pytheus_registry *r = service_join(s), *other = service_join(s);
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = bounds, .num_buckets = 200, .stripes = 64);
    pytheus_histogram_observe(h, 150);
    pytheus_gauge g = GAUGE(r, .name = "g", .stripes = 64);
    pytheus_gauge_set(g, 3);
    CHECK_INT(words_of(h.view).num_stripes, 32);
    CHECK_INT(words_of(g.view).num_stripes, 1);
    CHECK_LINE(other, "h_count 1");
    CHECK_LINE(other, "g 3");
    pytheus_registry_free(r);
    pytheus_registry_free(other);
}

/* Of every size that a record may be used again for. */
TEST_SERVICE(s, what_is_used_again_begins_at_0) {
    pytheus_registry *r = service_join(s);
    double bounds[20];
    for (int i = 0; i < 20; i++)
        bounds[i] = i;
    for (size_t n = 1; n <= 20; n++) {
        char name[20];
        snprintf(name, sizeof name, "h%u", (unsigned)n);
        pytheus_histogram h =
            HISTOGRAM(r, .name = name, .required_labels = {"a"}, .buckets = bounds,
                      .num_buckets = n, .stripes = n % 2 ? 1 : 4);
        pytheus_histogram first = pytheus_histogram_labels(h, "a", "1");
        pytheus_histogram_observe(first, 0.5);
        CHECK_ERR(pytheus_view_remove(first.view), PYTHEUS_OK);
        for (int i = 0; i < 2; i++) {
            pytheus_histogram again = pytheus_histogram_labels(h, "a", i ? "3" : "2");
            double count = NAN;
            const char *pairs[] = {"a", i ? "3" : "2"};
            pytheus_histogram_observe(again, 0.5);
            snprintf(name, sizeof name, "h%u_count", (unsigned)n);
            CHECK_ERR(pytheus_sample_value(r, name, pairs, 2, &count), PYTHEUS_OK);
            CHECK_DOUBLE(count, 1);
            CHECK_ERR(pytheus_view_remove(again.view), PYTHEUS_OK);
        }
    }
    pytheus_registry_free(r);
}

/* -- fork -- */

TEST_SERVICE(s, parent_and_child_count_with_the_same_handles) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter one = pytheus_counter_labels(c, "a", "1");
    enum { CHILDREN = 4, EACH = 10000 };
    pid_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++) {
        fflush(stdout);
        children[i] = fork();
        if (!children[i]) {
            for (int j = 0; j < EACH; j++) {
                pytheus_counter_inc(one);
                pytheus_counter_inc(pytheus_counter_labels(c, "a", j % 2 ? "odd" : "even"));
            }
            _exit(0);
        }
    }
    for (int j = 0; j < EACH; j++)
        pytheus_counter_inc(one);
    for (int i = 0; i < CHILDREN; i++)
        CHECK_INT(service_wait(children[i]), 0);
    CHECK_LINE(r, "x_total{a=\"1\"} 50000");
    CHECK_LINE(r, "x_total{a=\"odd\"} 20000");
    CHECK_LINE(r, "x_total{a=\"even\"} 20000");
    pytheus_registry_free(r);
}

typedef struct busy {
    pytheus_registry *registry;
    pytheus_counter counter;
    uint32_t stop;
    uint64_t done;
} busy;

static void *keep_busy(void *argument) {
    busy *b = (busy *)argument;
    char text[30];
    for (unsigned i = 0; !__atomic_load_n(&b->stop, __ATOMIC_RELAXED); i++) {
        snprintf(text, sizeof text, "%u", i % 5000);
        if (!pytheus_counter_inc(pytheus_counter_labels(b->counter, "a", text)))
            __atomic_fetch_add(&b->done, 1, __ATOMIC_RELAXED);
        if (i % 500 == 0)
            pytheus_free(pytheus_generate(b->registry, PYTHEUS_TEXT, NULL));
    }
    return NULL;
}

static double sum_of(pytheus_registry *r, const char *metric) {
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    double sum = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n') + 1)
        if (!strncmp(line, metric, strlen(metric)))
            sum += strtod(strchr(line, ' '), NULL);
    pytheus_free(text);
    return sum;
}

TEST_SERVICE(s, a_fork_beside_busy_threads) {
#ifdef UNDER_ASAN
    SKIP_EXTRA("its allocator does not survive a fork from a busy program");
#endif
    busy b = {.registry = service_join(s)};
    pthread_t threads[2];
    long made = 0;
    b.counter = COUNTER(b.registry, .name = "x_total", .required_labels = {"a"});
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, keep_busy, &b) == 0);
    for (int i = 0; i < (is_long() ? 1000 : 40); i++) {
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            alarm(20);
            char text[30];
            snprintf(text, sizeof text, "child%d", i);
            bool good = !pytheus_counter_inc(pytheus_counter_labels(b.counter, "a", text));
            char *whole = pytheus_generate(b.registry, PYTHEUS_TEXT, NULL);
            _exit(good && whole ? 0 : 1);
        }
        CHECK_INT(service_wait(child), 0);
        made++;
    }
    __atomic_store_n(&b.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_DOUBLE(sum_of(b.registry, "x_total"), (double)b.done + (double)made);
    pytheus_registry_free(b.registry);
}

/* -- gauges -- */

typedef struct setting {
    pytheus_across across;
    double value; /* NaN: it is not set */
} setting;

static bool set_gauge(const service *s, void *argument) {
    const setting *set = (const setting *)argument;
    pytheus_registry *r = service_join(s);
    pytheus_gauge g =
        GAUGE(r, .name = "g", .help = "G.", .across = set->across, .required_labels = {"a"});
    pytheus_gauge one = pytheus_gauge_labels(g, "a", "1");
    return set->value != set->value || !pytheus_gauge_set(one, set->value);
}

static void expect_gauge(const service *s, pytheus_across across, const char *lines) {
    char text[300];
    pytheus_registry *r = service_join(s);
    snprintf(text, sizeof text, "# HELP g G.\n# TYPE g gauge\n%s", lines);
    CHECK_PAGE(r, text);
    /* As well where it is defined. */
    GAUGE(r, .name = "g", .help = "G.", .across = across, .required_labels = {"a"});
    CHECK_PAGE(r, text);
    pytheus_registry_free(r);
}

static void check_across(const service *s, pytheus_across across, const char *all,
                         const char *two) {
    setting settings[] = {{across, 5}, {across, 2}, {across, 3}, {across, (double)NAN}};
    service_member members[4];
    for (int i = 0; i < 4; i++)
        members[i] = service_begin_member(s, set_gauge, &settings[i]);
    expect_gauge(s, across, all);
    service_kill_member(members[0]);
    service_end_member(members[3]);
    expect_gauge(s, across, two);
    service_end_member(members[1]);
    service_end_member(members[2]);
}

TEST_SERVICE(s, gauges_add_up) {
    check_across(s, PYTHEUS_SUM, "g{a=\"1\"} 10\n", "g{a=\"1\"} 5\n");
}

TEST_SERVICE(s, the_smallest_of_gauges) {
    check_across(s, PYTHEUS_MIN, "g{a=\"1\"} 2\n", "g{a=\"1\"} 2\n");
}

TEST_SERVICE(s, the_largest_of_gauges) {
    check_across(s, PYTHEUS_MAX, "g{a=\"1\"} 5\n", "g{a=\"1\"} 3\n");
}

TEST_SERVICE(s, the_most_recent_of_gauges) {
    check_across(s, PYTHEUS_MOST_RECENT, "g{a=\"1\"} 3\n", "g{a=\"1\"} 3\n");
}

TEST_SERVICE(s, one_gauge_for_all) {
    check_across(s, PYTHEUS_SHARED, "g{a=\"1\"} 3\n", "g{a=\"1\"} 3\n");
}

TEST_SERVICE(s, a_gauge_for_each_process) {
    setting settings[] = {{PYTHEUS_PER_PROCESS, 5}, {PYTHEUS_PER_PROCESS, 2}};
    service_member one = service_begin_member(s, set_gauge, &settings[0]);
    service_member two = service_begin_member(s, set_gauge, &settings[1]);
    char both[200], last[100];
    snprintf(last, sizeof last, "g{a=\"1\",pid=\"%ld\"} 2\n", (long)two.process);
    snprintf(both, sizeof both, "g{a=\"1\",pid=\"%ld\"} 5\n%s", (long)one.process, last);
    expect_gauge(s, PYTHEUS_PER_PROCESS, both);
    service_kill_member(one);
    expect_gauge(s, PYTHEUS_PER_PROCESS, last);
    service_end_member(two);
}

TEST_SERVICE(s, a_forked_child_has_its_own_gauge) {
    pytheus_registry *r = service_join(s);
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    int up[2];
    char byte;
    pytheus_gauge_set(g, 1);
    CHECK(pipe(up) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pytheus_gauge_set(g, 10);
        (void)!write(up[1], "x", 1);
        pause();
    }
    CHECK(read(up[0], &byte, 1) == 1);
    pytheus_gauge_inc(g);
    CHECK_PAGE(r, "# TYPE g gauge\ng 12\n");
    CHECK_VALUE(g, 2);
    kill(child, SIGKILL);
    (void)service_wait(child);
    CHECK_PAGE(r, "# TYPE g gauge\ng 2\n");
    close(up[0]);
    close(up[1]);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, a_slot_s_next_process_begins_at_0) {
    setting first = {PYTHEUS_SUM, 5}, second = {PYTHEUS_SUM, (double)NAN};
    pytheus_registry *r = service_join(s);
    service_kill_member(service_begin_member(s, set_gauge, &first));
    service_member next = service_begin_member(s, set_gauge, &second);
    CHECK_PAGE(r, "# HELP g G.\n# TYPE g gauge\ng{a=\"1\"} 0\n");
    service_end_member(next);
    pytheus_registry_free(r);
}

static bool remove_gauge(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    bool good = !pytheus_view_remove(pytheus_gauge_labels(g, "a", "1").view);
    pytheus_registry_free(r);
    return good;
}

TEST_SERVICE(s, a_removed_gauge_goes_from_all_processes) {
    setting five = {PYTHEUS_SUM, 5};
    service_member member = service_begin_member(s, set_gauge, &five);
    pytheus_registry *r = service_join(s);
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    pytheus_gauge one = pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_set(one, 3);
    CHECK_LINE(r, "g{a=\"1\"} 8");
    service_run(s, remove_gauge, NULL);
    CHECK_NO_LINE(r, "g{a=\"1\"} 8");
    CHECK_ERR(pytheus_gauge_set(one, 3), PYTHEUS_ERR_REMOVED);
    service_end_member(member);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, what_nobody_sets_is_forgotten) {
    pytheus_registry *r = service_join(s);
    pytheus_gauge g = GAUGE(r, .name = "g", .expire_seconds = 0.2);
    pytheus_gauge_set(g, 3);
    CHECK_PAGE(r, "# TYPE g gauge\ng 3\n");
    usleep(300000);
    CHECK_PAGE(r, "# TYPE g gauge\n");
    pytheus_gauge_inc(g);
    CHECK_PAGE(r, "# TYPE g gauge\ng 4\n");
    pytheus_registry_free(r);
}

TEST_SERVICE(s, pid_is_the_backend_s_label) {
    pytheus_registry *r = service_join(s);
    CHECK_NOTHING(pytheus_gauge_labels(
        GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS, .required_labels = {"pid"}), "pid",
        "1"));
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, a_function_is_its_process_s) {
    pytheus_registry *r = service_join(s);
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    pytheus_gauge_set(g, 3);
    CHECK_ERR(pytheus_gauge_set_function(g, fixture_clock, NULL), PYTHEUS_OK);
    now = 42;
    CHECK_PAGE(r, "# TYPE g gauge\ng 42\n");
    now = 0;
    pytheus_registry_free(r);
}

TEST_SERVICE(s, the_processes_that_share_it_are_known) {
    setting five = {PYTHEUS_SUM, 5};
    int64_t pids[3] = {0};
    service_member member = service_begin_member(s, set_gauge, &five);
    pytheus_registry *r = service_join(s);
    CHECK_INT(pytheus_registry_processes(r, pids, 3), 2);
    CHECK_INT(pids[0], member.process);
    CHECK_INT(pids[1], getpid());
    service_kill_member(member);
    CHECK_INT(pytheus_registry_processes(r, pids, 1), 1);
    CHECK_INT(pids[0], getpid());
    pytheus_registry_free(r);
}

/* -- generations -- */

static bool count_once(const service *s, void *argument) {
    pytheus_registry *r = service_open(s, argument != NULL);
    if (r) {
        pytheus_counter_inc(COUNTER(r, .name = "x_total"));
        pytheus_gauge_set(GAUGE(r, .name = "g"), 7);
    }
    return r != NULL;
}

TEST_SERVICE(s, a_new_generation_starts_afresh) {
    service_run(s, count_once, NULL);
    pytheus_registry *r = service_join(s);
    CHECK_PAGE(r, "");
    service_run(s, count_once, NULL);
    service_run(s, count_once, NULL);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 2\n# TYPE g gauge\ng 7\n");
    pytheus_registry_free(r);
}

TEST_SERVICE(s, kept_counters_go_on) {
    char keep[] = "keep";
    for (int i = 0; i < 3; i++)
        service_run(s, count_once, keep);
    pytheus_registry *r = service_open(s, true);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total 3\n# TYPE g gauge\ng 7\n");
    pytheus_registry_free(r);
}

static bool live_a_little(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    pytheus_gauge_set(GAUGE(r, .name = "each", .across = PYTHEUS_PER_PROCESS), 1);
    pytheus_gauge_set(GAUGE(r, .name = "sum", .across = PYTHEUS_SUM), 1);
    pytheus_counter c = COUNTER(r, .name = "churn_total", .required_labels = {"a"});
    char text[20];
    snprintf(text, sizeof text, "%d", *(const int *)argument);
    pytheus_counter t = pytheus_counter_labels(c, "a", text);
    pytheus_counter_inc(t);
    bool good = !pytheus_view_remove(t.view);
    if (*(const int *)argument % 2)
        pytheus_registry_free(r);
    return good;
}

TEST_SERVICE(s, a_thousand_processes_leave_the_size_as_it_is) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "churn_total", .required_labels = {"a"});
    off_t early = 0;
    for (int i = 0; i < (is_long() ? 10000 : 1000); i++) {
        if (i == 100)
            early = service_size(s, "pytheus.data");
        service_run(s, live_a_little, &i);
    }
    CHECK_INT(service_size(s, "pytheus.data"), early);
    CHECK_INT(service_size(s, "pytheus.lock"), 0);
    (void)c;
    CHECK_LINE(r, is_long() ? "x_total 10000" : "x_total 1000");
    CHECK_LINE(r, "# TYPE churn_total counter");
    pytheus_registry_free(r);
}

/* -- by name -- */

TEST_SERVICE(s, the_configuration_alone_switches_a_program) {
    char config[200];
    service_member member = service_begin_member(s, count_once, NULL);
    snprintf(config, sizeof config, "{\"pytheus_file_directory\": \"%s\"}", s->directory);
    CHECK_ERR(pytheus_load_backend("pytheus.backends.MultipleProcessFileBackend", config),
              PYTHEUS_OK);
    CHECK_STR(pytheus_registry_backend(NULL), "file");
    pytheus_counter_inc(pytheus_counter_new(&(pytheus_desc){.name = "x_total"}));
    CHECK_LINE(NULL, "x_total 2");
    service_end_member(member);
    pytheus_registry_free(pytheus_default());
}

TEST_SERVICE(s, bad_configurations) {
    static const char *const configs[] = {"{}", "{\"pytheus_file_directory\": 5}",
                                          "{\"pytheus_file_directory\": \"\"}",
                                          "{\"directory\": \"/tmp\"}"};
    (void)s;
    for (size_t i = 0; i < COUNT_OF(configs); i++)
        CHECK_ERR(pytheus_load_backend("file", configs[i]), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(pytheus_load_backend("file", "{\"pytheus_file_directory\": \"/nowhere/at/all\"}"),
              PYTHEUS_ERR_IO);
    pytheus_registry_free(pytheus_default());
}

/* -- dumps -- */

TEST_SERVICE(s, a_dump_after_the_crash) {
    setting five = {PYTHEUS_SUM, 5};
    service_run(s, make_all, NULL);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, everything);
    CHECK_ERR(service_dump(service_path(s, "pytheus.data")), PYTHEUS_OK);
    CHECK_STR(service_dumped, everything);
    /* Who was there last is shown, where nobody is. */
    service_kill_member(service_begin_member(s, set_gauge, &five));
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, "# HELP g G.\n# TYPE g gauge\ng{a=\"1\"} 5\n");
}

TEST_SERVICE(s, a_dump_beside_the_living) {
    setting five = {PYTHEUS_SUM, 5}, six = {PYTHEUS_SUM, 6};
    service_member member = service_begin_member(s, set_gauge, &five);
    service_kill_member(service_begin_member(s, set_gauge, &six));
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, "# HELP g G.\n# TYPE g gauge\ng{a=\"1\"} 5\n");
    pytheus_registry *r = service_join(s);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_LINE(r, "g{a=\"1\"} 5");
    /* The dump has not taken this process' locks away. */
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(g, "a", "1"), 2);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, "# HELP g G.\n# TYPE g gauge\ng{a=\"1\"} 7\n");
    service_end_member(member);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, what_can_not_be_dumped) {
    CHECK_ERR(service_dump(s->directory), PYTHEUS_ERR_IO);
    CHECK_ERR(service_dump(NULL), PYTHEUS_ERR_IO);
    CHECK_ERR(service_dump("/dev/null"), PYTHEUS_ERR_IO);
    CHECK_ERR(service_dump("/etc/passwd"), PYTHEUS_ERR_BACKEND);
    CHECK(symlink("/etc/passwd", service_path(s, "pytheus.data")) == 0);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_ERR_IO);
    CHECK_ERR(service_dump(service_path(s, "pytheus.data")), PYTHEUS_ERR_IO);
}

/* -- hostile surroundings -- */

static pytheus_err joining(const service *s, bool keep) {
    const pytheus_file_desc desc = {.directory = s->directory, .keep = keep};
    pytheus_backend backend;
    pytheus_err err = pytheus_file_backend(&desc, &backend);
    if (!err)
        backend.destroy(backend.user);
    return err;
}

static void write_file(const char *path, const char *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, bytes, size) == (ssize_t)size && close(fd) == 0);
}

static void *read_file(const char *path, size_t *size) {
    struct stat status;
    int fd = open(path, O_RDONLY);
    char *bytes;
    CHECK(fd >= 0 && fstat(fd, &status) == 0);
    *size = (size_t)status.st_size;
    bytes = (char *)malloc(*size + 1);
    CHECK(bytes && read(fd, bytes, *size) == (ssize_t)*size && close(fd) == 0);
    return bytes;
}

TEST_SERVICE(s, what_lies_in_the_way_is_refused) {
    static const char *const names[] = {"pytheus.data", "pytheus.lock"};
    char victim[140], text[140];
    snprintf(victim, sizeof victim, "%s", service_path(s, "victim"));
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char path[140];
        snprintf(path, sizeof path, "%s", service_path(s, names[i]));
        unlink(service_path(s, "pytheus.lock"));
        write_file(victim, "precious", 8);
        CHECK(symlink(victim, path) == 0);
        CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
        CHECK(strstr(pytheus_last_error(), "a symbolic link") != NULL);
        unlink(path);
        CHECK(link(victim, path) == 0);
        CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
        unlink(path);
        CHECK(mkfifo(path, 0600) == 0);
        CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
        unlink(path);
        CHECK(mkdir(path, 0700) == 0);
        CHECK_ERR(joining(s, false), PYTHEUS_ERR_IO);
        rmdir(path);
        size_t size;
        char *kept = (char *)read_file(victim, &size);
        CHECK(size == 8 && !memcmp(kept, "precious", 8));
        free(kept);
        unlink(victim);
    }
    write_file(service_path(s, "pytheus.data"), "precious", 8);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    snprintf(text, sizeof text, "%s/pytheus.data: refused: not a file of pytheus", s->directory);
    CHECK_STR(pytheus_last_error(), text);
    chmod(service_path(s, "pytheus.data"), 0666);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    unlink(service_path(s, "pytheus.data"));
    chmod(s->directory, 0777);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    chmod(s->directory, 01777);
    CHECK_ERR(joining(s, false), PYTHEUS_OK);
    chmod(s->directory, 0700);
}

TEST_SERVICE(s, other_users_files_are_refused) {
    if (geteuid() != 0) {
        SKIP("only root can give files to others");
    }
    CHECK_ERR(joining(s, false), PYTHEUS_OK);
    CHECK(chown(service_path(s, "pytheus.data"), 12345, 12345) == 0);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    unlink(service_path(s, "pytheus.data"));
    CHECK(chown(service_path(s, "pytheus.lock"), 12345, 12345) == 0);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    CHECK(chown(s->directory, 12345, 12345) == 0);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    CHECK(chown(s->directory, 0, 0) == 0);
}

TEST_SERVICE(s, files_are_ours_alone) {
    struct stat status;
    mode_t mask = umask(0);
    CHECK_ERR(joining(s, false), PYTHEUS_OK);
    umask(mask);
    CHECK(stat(service_path(s, "pytheus.data"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
    CHECK(stat(service_path(s, "pytheus.lock"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
}

/* One byte of the header is changed, and its checksum with it: what is wrong is told, not only
   that something is. */
TEST_SERVICE(s, other_versions_and_machines_are_refused) {
    static const struct {
        size_t at;
        const char *reason;
    } cases[] = {{8, "of another version of pytheus"},
                 {12, "of a machine with another byte order"},
                 {16, "of programs with another word size"},
                 {24, "damaged: its header"}};
    service_run(s, count_once, NULL);
    size_t size;
    char *bytes = (char *)read_file(service_path(s, "pytheus.data"), &size);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bytes[cases[i].at] ^= 0x55;
        write_file(service_path(s, "pytheus.data"), bytes, size);
        CHECK_ERR(joining(s, true), PYTHEUS_ERR_BACKEND);
        CHECK(strstr(pytheus_last_error(), cases[i].reason) != NULL);
        CHECK_ERR(service_dump(s->directory), PYTHEUS_ERR_BACKEND);
        CHECK(strstr(pytheus_last_error(), cases[i].reason) != NULL);
        bytes[cases[i].at] ^= 0x55;
    }
    CHECK_ERR(joining(s, false), PYTHEUS_OK); /* nobody has it: it is replaced */
    free(bytes);
}

/* What is opened is as it was, or refused and as it was. Values may be any. */
static void open_spoilt(const service *s, const char *bytes, size_t size) {
    write_file(service_path(s, "pytheus.data"), bytes, size);
    pytheus_err err = service_dump(s->directory);
    CHECK(err == PYTHEUS_OK || err == PYTHEUS_ERR_BACKEND);
    pytheus_registry *r = service_open(s, true);
    CHECK((r != NULL) == (err == PYTHEUS_OK));
    if (r) {
        char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
        CHECK_STR(text, service_dumped);
        pytheus_free(text);
        pytheus_registry_free(r);
    } else {
        size_t now_size;
        char *now_bytes = (char *)read_file(service_path(s, "pytheus.data"), &now_size);
        CHECK(now_size == size && !memcmp(now_bytes, bytes, size));
        free(now_bytes);
    }
}

TEST_SERVICE(s, every_truncation_is_contained) {
    size_t size;
    service_run(s, make_all, NULL);
    char *bytes = (char *)read_file(service_path(s, "pytheus.data"), &size);
    for (size_t cut = 0; cut < size; cut += cut < 100 || is_long() ? 1 : 497)
        open_spoilt(s, bytes, cut);
    free(bytes);
}

TEST_SERVICE(s, every_flip_of_a_bit_is_contained) {
    size_t size, end = 0, refused = 0, opened = 0;
    service_run(s, make_all, NULL);
    char *bytes = (char *)read_file(service_path(s, "pytheus.data"), &size);
    for (end = size; end && !bytes[end - 1]; end--) {
    }
    for (size_t i = 0; i < end * 8; i += is_long() ? 1 : 11) {
        if (i / 8 >= 400 && i / 8 < 20000 && !is_long() && bytes[i / 8] == 0)
            continue; /* slots and births that nobody had */
        bytes[i / 8] ^= (char)(1 << i % 8);
        open_spoilt(s, bytes, size);
        bytes[i / 8] ^= (char)(1 << i % 8);
        if (*service_dumped)
            opened++;
        else
            refused++;
    }
    CHECK(refused > 100 && opened > 20);
    free(bytes);
}

/* -- a full disk -- */

/* A file system of so many bytes on the directory; false: it can't be had. */
static bool mount_small(const service *s, int bytes) {
    char options[40];
    snprintf(options, sizeof options, "size=%d,mode=0700", bytes);
    return geteuid() == 0 && mount("tmpfs", s->directory, "tmpfs", 0, options) == 0;
}

/* Makes more series than there is room for. */
static void fill_disk(pytheus_registry *r) {
    enum { SERIES = 6000 };
    double before = sum_of(r, "x_total");
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    static pytheus_counter series[SERIES];
    for (int i = 0; i < SERIES; i++) {
        char text[60];
        snprintf(text, sizeof text, "a_label_that_takes_some_room_%d", i);
        series[i] = pytheus_counter_labels(c, "a", text);
        CHECK_ERR(pytheus_counter_inc(series[i]), PYTHEUS_OK);
    }
    for (int i = 0; i < SERIES; i++)
        CHECK_ERR(pytheus_counter_inc(series[i]), PYTHEUS_OK);
    CHECK_DOUBLE(sum_of(r, "x_total"), before + 2.0 * SERIES);
    CHECK(sum_of(r, "pytheus_file_unshared_series") > 0);
    CHECK_ERR(logged.err, PYTHEUS_ERR_IO);
    CHECK(strstr(logged.sentence, "No space left on device") != NULL);
}

TEST_SERVICE(s, a_full_disk_loses_nothing) {
    static const int sizes[] = {4096, 32768, 65536, 131072, 262144, 524288};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        if (!mount_small(s, sizes[i])) {
            SKIP("no file system can be mounted");
        }
        pytheus_registry *r = service_open(s, false);
        CHECK(r || sizes[i] < 65536 + 4096);
        if (r)
            fill_disk(r);
        pytheus_registry_free(r);
        CHECK(umount(s->directory) == 0);
    }
}

/* A process with mounts of its own, which go with it; what it mounts on $d, a shell does. */
static bool mounts_own(const service *s, const char *script) {
    char command[400];
    snprintf(command, sizeof command, "d=%s; PATH=$PATH:/sbin:/usr/sbin; %s", s->directory, script);
    return unshare(CLONE_NEWNS) == 0 && mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           system(command) == 0;
}

enum { NO_MOUNT = 77 };

/* Runs it in a process; false: it has found that what it needs can't be mounted. */
static bool run_with_mounts(const service *s, service_work work, void *argument) {
    int status = service_wait(service_start(s, work, argument));
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_MOUNT)
        return false;
    CHECK_INT(status, 0);
    return true;
}

/* Leaves nothing free. */
static void fill_up(const service *s) {
    static const char zeros[1024];
    int fd = open(service_path(s, "filler"), O_WRONLY | O_CREAT, 0600);
    while (write(fd, zeros, sizeof zeros) > 0) {
    }
    CHECK_INT(errno, ENOSPC);
    CHECK(fsync(fd) == 0 && close(fd) == 0);
}

/* What was reserved can be used to the end, although nothing else is left. */
static bool fill_ext4(const service *s, void *argument) {
    if (!mounts_own(s, argument ? "truncate -s 4M $d.ext4 && mkfs.ext4 -q -F -m 0 $d.ext4 && "
                                  "mount -o loop $d.ext4 $d"
                                : "truncate -s 1M $d.ext4 && mkfs.ext4 -q -F -m 0 -b 1024 "
                                  "-O ^has_journal $d.ext4 && mount -o loop $d.ext4 $d"))
        _exit(NO_MOUNT);
    chmod(s->directory, 0700);
    pytheus_registry *r = service_join(s);
    if (argument)
        fill_up(s);
    fill_disk(r);
    if (!argument)
        fill_up(s);
    fill_disk(r);
    pytheus_registry_free(r);
    unlink(service_path(s, "pytheus.data"));
    fill_up(s);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_IO);
    return check_num_failed == 0 && umount(s->directory) == 0;
}

TEST_SERVICE(s, a_full_ext4_loses_nothing) {
    char image[120];
    char late[] = "filled up at once";
    if (access("/dev/loop-control", F_OK) != 0) {
        SKIP_EXTRA("this system has no loop devices");
    }
    bool was_mounted = run_with_mounts(s, fill_ext4, NULL) && run_with_mounts(s, fill_ext4, late);
    snprintf(image, sizeof image, "%s.ext4", s->directory);
    unlink(image);
    if (!was_mounted) {
        SKIP("no ext4 in a loop device can be mounted (root, e2fsprogs)");
    }
}

/* -- file systems -- */

static bool join_over_fuse(const service *s, void *argument) {
    char sentence[300];
    (void)argument;
    if (!mounts_own(s, "bindfs /dev/shm $d"))
        _exit(NO_MOUNT);
    chmod(s->directory, 0700);
    CHECK_ERR(joining(s, false), PYTHEUS_ERR_BACKEND);
    snprintf(
        sentence, sizeof sentence,
        "%s: memory of files is not shared reliably on this file system: use a local directory",
        s->directory);
    CHECK_STR(pytheus_last_error(), sentence);
    return umount(s->directory) == 0 && check_num_failed == 0;
}

TEST_SERVICE(s, a_file_system_in_a_process_is_refused) {
    if (access("/dev/fuse", F_OK) != 0) {
        SKIP_EXTRA("this system has no FUSE");
    }
    if (!run_with_mounts(s, join_over_fuse, NULL)) {
        SKIP("no FUSE can be mounted (root, bindfs)");
    }
}

TEST_SERVICE(s, file_systems_of_a_network_are_refused) {
    static const struct {
        uint32_t type; /* as in statfs(2) and linux/magic.h */
        bool is_good;
    } types[] = {
        {0x6969, false},     /* NFS */
        {0xff534d42, false}, /* CIFS */
        {0xfe534d42, false}, /* SMB2 */
        {0x517b, false},     /* SMB */
        {0x01021997, false}, /* 9P */
        {0x65735546, false}, /* FUSE, virtiofs */
        {0x00c36400, false}, /* Ceph */
        {0x5346414f, false}, /* AFS */
        {0x0bd00bd0, false}, /* Lustre */
        {0x01161970, false}, /* GFS2 */
        {0x7461636f, false}, /* OCFS2 */
        {0xef53, true},      /* ext4 */
        {0x01021994, true},  /* tmpfs */
        {0x58465342, true},  /* XFS */
        {0x9123683e, true},  /* Btrfs */
        {0x794c7630, true},  /* overlay */
        {0x2fc12fc1, true},  /* ZFS */
    };
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        told_type = types[i].type;
        CHECK_ERR(joining(s, false), types[i].is_good ? PYTHEUS_OK : PYTHEUS_ERR_BACKEND);
    }
    told_type = 0;
}

/* -- containers -- */

static bool count_many(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS), 1);
    for (long i = 0; i < *(const long *)argument; i++)
        pytheus_counter_inc(c);
    return getpid() == 1;
}

static bool in_new_namespace(const service *s, void *argument) {
    service_member member;
    if (unshare(CLONE_NEWPID))
        return false;
    member = service_begin_member(s, count_many, argument);
    pause();
    service_end_member(member);
    return true;
}

TEST_SERVICE(s, containers_that_are_all_process_1) {
    long each = is_long() ? 10000000 : 300000;
    pytheus_registry *r = service_join(s);
    pid_t containers[2];
    if (geteuid() != 0 || unshare(0) != 0) {
        pytheus_registry_free(r);
        SKIP("no PID namespaces without root");
    }
    containers[0] = service_start(s, in_new_namespace, &each);
    containers[1] = service_start(s, in_new_namespace, &each);
    double wanted = 2.0 * (double)each;
    for (int i = 0; i < 1200 && sum_of(r, "x_total") < wanted; i++)
        usleep(50000);
    CHECK_SAMPLE(r, "x_total", wanted);
    CHECK_DOUBLE(sum_of(r, "g{pid=\"1."), 2); /* each with its slot */
    for (int i = 0; i < 2; i++) {
        kill(containers[i], SIGKILL);
        (void)service_wait(containers[i]);
    }
    pytheus_registry_free(r);
}

/* A record takes what it needs, however long its labels are: each size on the way to the most. */
TEST(series_with_long_labels_do_not_overlap) {
    enum { NUM = 60, STEP = 400 };
    static char value[NUM * STEP + 1];
    service s;
    service_begin(&s);
    pytheus_registry *a = service_join(&s), *b = service_join(&s);
    pytheus_counter c = pytheus_counter_new(
        &(pytheus_desc){.name = "long_total", .required_labels = {"l"}, .registry = a});
    for (int i = 1; i <= NUM; i++) {
        memset(value, 'a' + i % 26, (size_t)i * STEP);
        value[i * STEP] = '\0';
        pytheus_counter_add(pytheus_counter_labels(c, "l", value), i);
    }
    char *text = pytheus_generate(b, PYTHEUS_TEXT, NULL);
    CHECK(text != NULL);
    for (int i = 1; i <= NUM; i++) {
        double found = 0;
        memset(value, 'a' + i % 26, (size_t)i * STEP);
        value[i * STEP] = '\0';
        const char *pairs[] = {"l", value};
        CHECK_ERR(pytheus_sample_value(b, "long_total", pairs, 2, &found), PYTHEUS_OK);
        CHECK_DOUBLE(found, i);
    }
    pytheus_free(text);
    pytheus_registry_free(b);
    pytheus_registry_free(a);
    service_end(&s);
}

#endif
