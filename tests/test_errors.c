/* How errors are told: by the value, the last sentence, the logger, stderr. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include <errno.h>
#include <pthread.h>
#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

static pytheus_counter requests(pytheus_registry *r) {
    return COUNTER(r, .name = "http_requests_total", .required_labels = {"method", "code"});
}

/* ---- numbers, names, texts ---- */

TEST(every_error_has_its_name) {
#define NAMED(name, number, text)                                                                  \
    CHECK_STR(pytheus_err_name(PYTHEUS_ERR_##name), "PYTHEUS_ERR_" #name);
    PYTHEUS_ERRORS(NAMED)
    CHECK_STR(pytheus_err_name(PYTHEUS_OK), "PYTHEUS_OK");
}

TEST(every_error_has_its_text) {
#define WITH_TEXT(name, number, text) CHECK_STR(pytheus_err_text(PYTHEUS_ERR_##name), text);
    PYTHEUS_ERRORS(WITH_TEXT)
    CHECK(pytheus_err_text(PYTHEUS_OK) != NULL);
}

TEST(every_error_is_negative) {
#define IS_NEGATIVE(name, number, text) CHECK((int)PYTHEUS_ERR_##name < 0);
    PYTHEUS_ERRORS(IS_NEGATIVE)
    CHECK_INT(PYTHEUS_OK, 0);
}

TEST(a_number_that_is_no_error_has_texts_too) {
    CHECK(pytheus_err_name((pytheus_err)-100) != NULL);
    CHECK(pytheus_err_text((pytheus_err)-100) != NULL);
    CHECK(pytheus_err_name((pytheus_err)-100)[0] != 0);
}

/* ---- sentences ---- */

TEST_WITH(r, an_unknown_label_is_told_with_those_that_there_are) {
    CHECK_NOTHING(pytheus_counter_labels(requests(r), "metod", "GET"));
    CHECK_STR(pytheus_last_error(), "http_requests_total: no label \"metod\" (has: method, code)");
    CHECK_STR(logged.sentence, "http_requests_total: no label \"metod\" (has: method, code)");
}

static bool says(const char *word) {
    return strstr(pytheus_last_error(), word) != NULL;
}

TEST_WITH(r, sentences_name_the_metric) {
    pytheus_counter c = requests(r);
    pytheus_counter get = pytheus_counter_labels(c, "method", "GET", "code", "200");
    pytheus_counter_inc(c);
    CHECK(says("http_requests_total"));
    pytheus_counter_add(get, -1);
    CHECK(says("http_requests_total"));
    pytheus_view_remove(get.view);
    pytheus_counter_inc(get);
    CHECK(says("http_requests_total"));
    GAUGE(r, .name = "http_requests_created");
    CHECK(says("http_requests_created"));
    HISTOGRAM(r, .name = "no_buckets", .buckets = (const double[]){2, 1}, .num_buckets = 2);
    CHECK(says("no_buckets"));
}

TEST_WITH(r, sentences_name_what_is_wrong) {
    COUNTER(r, .name = "bad-name");
    CHECK(says("bad-name"));
    COUNTER(r, .name = "x", .required_labels = {"bad-label"});
    CHECK(says("bad-label"));
    COUNTER(r, .name = "x", .required_labels = {"a"}, .default_labels = {{"stranger", "1"}});
    CHECK(says("stranger"));
    GAUGE(r, .name = "x", .unit = "bytes");
    CHECK(says("bytes"));
    pytheus_counter_inc(pytheus_counter_labels(requests(r), "method", "GET"));
    CHECK(says("code"));
}

TEST_WITH(r, a_null_value_is_told_with_its_label) {
    const char *null = NULL;
    pytheus_counter_labels(requests(r), "method", null);
    CHECK(says("http_requests_total"));
    CHECK(says("method"));
}

TEST_WITH(r, the_last_error_stays_until_the_next) {
    pytheus_counter c = requests(r);
    pytheus_counter_labels(c, "metod", "GET");
    char *first = strdup(pytheus_last_error());
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET", "code", "200"));
    CHECK_STR(pytheus_last_error(), first);
    pytheus_counter_labels(c, "kode", "200");
    CHECK(says("kode"));
    CHECK(!says("metod"));
    free(first);
}

static void *last_error_of_thread(void *out) {
    *(bool *)out = !pytheus_last_error()[0];
    COUNTER(NULL, .name = "bad-name-in-thread");
    return NULL;
}

TEST_WITH(r, the_last_error_is_that_of_the_thread) {
    bool nothing_yet = false;
    pthread_t thread;
    pytheus_counter_labels(requests(r), "metod", "GET");
    CHECK_INT(pthread_create(&thread, NULL, last_error_of_thread, &nothing_yet), 0);
    pthread_join(thread, NULL);
    CHECK(nothing_yet);
    CHECK(says("metod"));
}

static void check_one_line(const char *sentence, int line) {
    bool plain = sentence[0] != 0;
    for (const char *c = sentence; *c; c++)
        plain = plain && (unsigned char)*c >= 32 && *c != 127;
    check_that(plain, __FILE__, line, "no plain line: %s", sentence);
}

static const char *const hostile[] = {
    "a\nb", "\n# TYPE x counter\nx 1\n", "\r\n", "\x1b[31m", "a\tb", "\x01", "%s%n%d", "\x7f"};

TEST(hostile_names_stay_on_one_line) {
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        pytheus_registry *r = fixture_registry(NULL);
        CHECK_NOTHING(COUNTER(r, .name = hostile[i]));
        check_one_line(pytheus_last_error(), __LINE__);
        check_one_line(logged.sentence, __LINE__);
        pytheus_registry_free(r);
    }
}

TEST(hostile_metrics_of_the_log_stay_on_one_line) {
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        pytheus_registry *r = fixture_registry(NULL);
        CHECK_NOTHING(COUNTER(r, .name = hostile[i]));
        CHECK_INT(logged.num, 1);
        CHECK(strcspn(logged.metric, "\r\n\x1b") == strlen(logged.metric));
        pytheus_registry_free(r);
    }
}

TEST(hostile_labels_stay_on_one_line) {
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        pytheus_registry *r = fixture_registry(NULL);
        CHECK_NOTHING(pytheus_counter_labels(requests(r), hostile[i], "1"));
        check_one_line(logged.sentence, __LINE__);
        CHECK_NOTHING(COUNTER(r, .name = "x", .required_labels = {hostile[i]}));
        check_one_line(pytheus_last_error(), __LINE__);
        CHECK_NOTHING(COUNTER(r, .name = "y", .default_labels = {{hostile[i], hostile[i]}}));
        check_one_line(pytheus_last_error(), __LINE__);
        CHECK_NOTHING(GAUGE(r, .name = "z", .unit = hostile[i]));
        check_one_line(pytheus_last_error(), __LINE__);
        pytheus_registry_free(r);
    }
}

TEST(hostile_paths_and_samples_stay_on_one_line) {
    double value;
    for (size_t i = 0; i < COUNT_OF(hostile); i++) {
        char path[64];
        pytheus_registry *r = fixture_registry(NULL);
        snprintf(path, sizeof path, "/not/here/%s/x", hostile[i]);
        CHECK_ERR(pytheus_write_file(r, PYTHEUS_TEXT, path), PYTHEUS_ERR_IO);
        check_one_line(pytheus_last_error(), __LINE__);
        CHECK_ERR(pytheus_sample_value(r, hostile[i], NULL, 0, &value), PYTHEUS_ERR_NAME);
        check_one_line(pytheus_last_error(), __LINE__);
        CHECK(fixture_registry(hostile[i]) == NULL);
        check_one_line(pytheus_last_error(), __LINE__);
        pytheus_registry_free(r);
    }
}

TEST_WITH(r, names_of_any_length_are_told) {
    static char name[1 << 20];
    memset(name, '-', sizeof name - 1);
    CHECK_NOTHING(COUNTER(r, .name = name));
    CHECK(pytheus_last_error()[0] != 0);
    CHECK_NOTHING(pytheus_counter_labels(requests(r), name, "1"));
    CHECK(says("http_requests_total"));
    memset(name, 'n', sizeof name - 1);
    CHECK_ERR(pytheus_counter_add(COUNTER(r, .name = name), -1), PYTHEUS_ERR_VALUE);
    CHECK(pytheus_last_error()[0] != 0);
}

/* ---- the logger ---- */

TEST_WITH(r, the_logger_gets_error_metric_and_sentence) {
    pytheus_counter_labels(requests(r), "metod", "GET");
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_LABEL);
    CHECK_STR(logged.metric, "http_requests_total");
    CHECK_STR(logged.sentence, pytheus_last_error());
}

TEST_WITH(r, the_logger_gets_each_error_of_a_metric_once) {
    pytheus_counter c = requests(r);
    for (int i = 0; i < 10; i++)
        pytheus_counter_inc(c);
    CHECK_INT(logged.num, 1);
    for (int i = 0; i < 10; i++)
        pytheus_counter_labels(c, "metod", "GET");
    CHECK_INT(logged.num, 2);
    pytheus_counter_labels(c, "kode", "200");
    CHECK_INT(logged.num, 2);
    CHECK(says("kode"));
}

TEST_WITH(r, the_logger_gets_an_error_of_each_metric) {
    pytheus_counter a = COUNTER(r, .name = "a_total", .required_labels = {"l"});
    pytheus_counter b = COUNTER(r, .name = "b_total", .required_labels = {"l"});
    pytheus_counter_inc(a);
    pytheus_counter_inc(b);
    CHECK_INT(logged.num, 2);
    CHECK_STR(logged.metric, "b_total");
    pytheus_counter_inc(a);
    CHECK_INT(logged.num, 2);
}

TEST_WITH(r, the_logger_gets_every_error_of_every_refused_definition) {
    char name[] = "a";
    for (name[0] = 'a'; name[0] <= 'z'; name[0]++) {
        GAUGE(r, .name = name);
        COUNTER(r, .name = name);
        COUNTER(r, .name = name, .required_labels = {"l", "l"});
        COUNTER(r, .name = name, .unit = "bytes");
        HISTOGRAM(r, .name = name, .num_buckets = 1);
    }
    CHECK_INT(logged.num, 26 * 4);
}

TEST_WITH(r, the_logger_gets_an_error_once_whichever_series_it_was) {
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter_add(pytheus_counter_labels(c, "a", "1"), -1);
    pytheus_counter_add(pytheus_counter_labels(c, "a", "2"), -1);
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_VALUE);
}

TEST_WITH(r, the_logger_of_a_registry_hears_of_its_own_metrics_only) {
    pytheus_registry *silent = backends_registry(
        &(pytheus_registry_desc){.logger = {fixture_remember, NULL}, .prefix = "other"});
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    CHECK_INT(logged.num, 0);
    pytheus_counter_inc(requests(silent));
    CHECK_INT(logged.num, 1);
    pytheus_registry_free(silent);
}

TEST_WITH(r, success_is_not_logged) {
    pytheus_counter c = requests(r);
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET", "code", "200"));
    pytheus_view_remove(pytheus_counter_labels(c, "method", "GET").view);
    pytheus_view_clear(c.view);
    free(page(r));
    CHECK_INT(logged.num, 0);
}

TEST_WITH(r, a_question_is_not_an_error) {
    pytheus_counter c = requests(r);
    CHECK(!pytheus_view_observable(c.view));
    CHECK_INT(logged.num, 0);
}

/* A logger that does what it should warn of. */
static int num_calls;

static void busy_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    pytheus_registry *r = *(pytheus_registry **)user;
    (void)err;
    (void)sentence;
    if (++num_calls > 10)
        return;
    pytheus_counter errors = COUNTER(r, .name = "errors_total", .required_labels = {"metric"});
    pytheus_counter_inc(pytheus_counter_labels(errors, "metric", metric));
    pytheus_counter_inc(errors);
    free(page(r));
}

TEST(a_logger_may_use_the_registry) {
    pytheus_registry *r = NULL;
    num_calls = 0;
    r = backends_registry(&(pytheus_registry_desc){.logger = {busy_log, &r}});
    pytheus_counter c = requests(r);
    pytheus_counter_inc(c);
    pytheus_counter_labels(c, "metod", "GET");
    GAUGE(r, .name = "http_requests_total");
    CHECK_INT(num_calls, 3); /* what the logger itself does wrong is not logged */
    CHECK_LABELLED(r, "errors_total", 3, "metric", "http_requests_total");
    pytheus_registry_free(r);
}

static void busy_overflow_log(void *user, pytheus_err err, const char *metric,
                              const char *sentence) {
    pytheus_registry *r = *(pytheus_registry **)user;
    (void)err;
    (void)sentence;
    num_calls++;
    pytheus_counter_inc(COUNTER(r, .name = "logged_total"));
    CHECK_STR(metric, "x");
    free(page(r));
}

TEST(a_logger_may_use_the_registry_when_there_are_too_many_series) {
    pytheus_registry *r = NULL;
    num_calls = 0;
    r = backends_registry(&(pytheus_registry_desc){.logger = {busy_overflow_log, &r}});
    pytheus_gauge g = GAUGE(r, .name = "x", .required_labels = {"a"}, .max_series = 1);
    pytheus_gauge_labels(g, "a", "1");
    pytheus_gauge_labels(g, "a", "2");
    pytheus_gauge_labels(g, "a", "3");
    CHECK_INT(num_calls, 1);
    CHECK_SAMPLE(r, "logged_total", 1);
    pytheus_registry_free(r);
}

/* ---- errno ---- */

static void rude_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
    errno = 99;
}

#define CHECK_KEEPS_ERRNO(call)                                                                    \
    do {                                                                                           \
        errno = 1234;                                                                              \
        (void)(call);                                                                              \
        check_int(errno, 1234, #call, __FILE__, __LINE__);                                         \
    } while (0)

TEST_WITH(r, operations_keep_errno) {
    pytheus_counter c = COUNTER(r, .name = "c_total");
    pytheus_gauge g = GAUGE(r, .name = "g");
    CHECK_KEEPS_ERRNO(pytheus_counter_inc(c));
    CHECK_KEEPS_ERRNO(pytheus_counter_add(c, 0.5));
    CHECK_KEEPS_ERRNO(pytheus_counter_set(c, 5));
    CHECK_KEEPS_ERRNO(pytheus_gauge_inc(g));
    CHECK_KEEPS_ERRNO(pytheus_gauge_dec(g));
    CHECK_KEEPS_ERRNO(pytheus_gauge_add(g, 1e300));
    CHECK_KEEPS_ERRNO(pytheus_gauge_sub(g, 1));
    CHECK_KEEPS_ERRNO(pytheus_gauge_set(g, 1));
    CHECK_KEEPS_ERRNO(pytheus_gauge_set_to_current_time(g));
    CHECK_KEEPS_ERRNO(pytheus_histogram_observe(HISTOGRAM(r, .name = "h"), 5));
    CHECK_KEEPS_ERRNO(pytheus_summary_observe(SUMMARY(r, .name = "s"), 5));
    CHECK_INT(logged.num, 0);
}

TEST(timers_keep_errno) {
    pytheus_registry *r = backends_registry(NULL);
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_timer t;
    CHECK_KEEPS_ERRNO(t = pytheus_timer_start(h.view));
    CHECK_KEEPS_ERRNO(pytheus_timer_to(&t, h.view));
    CHECK_KEEPS_ERRNO(pytheus_timer_stop(&t));
    CHECK_KEEPS_ERRNO(pytheus_timer_cancel(&t));
    errno = 1234;
    PYTHEUS_TIME(h) {
    }
    CHECK_INT(errno, 1234);
    pytheus_registry_free(r);
}

TEST(operations_that_fail_keep_errno) {
    pytheus_registry *r = backends_registry(&(pytheus_registry_desc){.logger = {rude_log, NULL}});
    pytheus_counter c = requests(r), nothing = {{NULL, 0}};
    pytheus_counter good = pytheus_counter_labels(c, "method", "GET", "code", "200");
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"});
    pytheus_timer t;
    CHECK_KEEPS_ERRNO(pytheus_counter_inc(c));
    CHECK_KEEPS_ERRNO(pytheus_counter_add(good, -1));
    CHECK_KEEPS_ERRNO(pytheus_counter_inc(nothing));
    CHECK_KEEPS_ERRNO(pytheus_gauge_set(g, 1));
    CHECK_KEEPS_ERRNO(pytheus_gauge_set((pytheus_gauge){c.view}, 1));
    CHECK_KEEPS_ERRNO(pytheus_histogram_observe(HISTOGRAM(r, .name = "h"), (double)NAN));
    CHECK_KEEPS_ERRNO(t = pytheus_timer_start(c.view));
    CHECK_KEEPS_ERRNO(pytheus_timer_stop(&t));
    pytheus_view_remove(good.view);
    CHECK_KEEPS_ERRNO(pytheus_counter_inc(good));
    pytheus_registry_free(r);
}

/* ---- stderr ---- */

#ifndef _WIN32

/* What a child process that runs this writes to stderr. */
static char *stderr_of(void (*run)(pytheus_registry *)) {
    static char text[65536];
    size_t size = 0;
    ssize_t got;
    int ends[2];
    text[0] = 0;
    fflush(stdout);
    if (!CHECK(pipe(ends) == 0))
        return text;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], 2);
        run(backends_registry(NULL));
        _exit(0);
    }
    close(ends[1]);
    while (size < sizeof text - 1 && (got = read(ends[0], text + size, sizeof text - 1 - size)) > 0)
        size += (size_t)got;
    text[size] = 0;
    close(ends[0]);
    CHECK(waitpid(pid, NULL, 0) == pid);
    return text;
}

static int num_lines(const char *text) {
    int n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void mistake_a_label(pytheus_registry *r) {
    for (int i = 0; i < 3; i++)
        pytheus_counter_labels(requests(r), "metod", "GET");
}

TEST(without_a_logger_an_error_is_one_line_on_stderr) {
    const char *text = stderr_of(mistake_a_label);
    CHECK_INT(num_lines(text), 1);
    CHECK(strstr(text, "http_requests_total: no label \"metod\" (has: method, code)") != NULL);
    CHECK(text[0] && text[strlen(text) - 1] == '\n');
}

static void mistake_several(pytheus_registry *r) {
    pytheus_counter c = requests(r);
    pytheus_counter_labels(c, "metod", "GET");
    pytheus_counter_inc(c);
    pytheus_counter_inc(c);
    pytheus_counter_inc(COUNTER(r, .name = "x_total", .required_labels = {"a"}));
}

TEST(without_a_logger_each_error_of_each_metric_is_a_line) {
    const char *text = stderr_of(mistake_several);
    CHECK_INT(num_lines(text), 3);
    CHECK(strstr(text, "x_total") != NULL);
}

static void mistake_with_line_feeds(pytheus_registry *r) {
    COUNTER(r, .name = "a\nb\nc");
}

TEST(without_a_logger_hostile_names_are_one_line_too) {
    CHECK_INT(num_lines(stderr_of(mistake_with_line_feeds)), 1);
}

static void mistake_nothing(pytheus_registry *r) {
    pytheus_counter c = requests(r);
    pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET", "code", "200"));
    pytheus_view_clear(c.view);
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    pytheus_registry_free(r);
}

TEST(success_says_nothing) {
    CHECK_STR(stderr_of(mistake_nothing), "");
}

static void mistake_in_default(pytheus_registry *r) {
    (void)r;
    COUNTER(NULL, .name = "bad-name");
    COUNTER(NULL, .name = "bad-name");
}

TEST(the_default_registry_says_it_on_stderr) {
    const char *text = stderr_of(mistake_in_default);
    CHECK_INT(num_lines(text), 1);
    CHECK(strstr(text, "bad-name") != NULL);
}

#endif
