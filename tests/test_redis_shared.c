/* One Redis for several, in both layouts: beside Python, which writes as its pytheus and its
   prometheus_redis_client do; for a process and the children it forks in the middle of things; for
   many threads; and with memory that runs out. */
#define _GNU_SOURCE
#include <stdlib.h>

/* The n-th allocation fails, and so do all from there on, if that is wanted. */
static long fail_at, num_allocations;
static int fails_on;
static void *scarce_realloc(void *p, size_t size) {
    long n = __atomic_add_fetch(&num_allocations, 1, __ATOMIC_RELAXED);
    if (fail_at && (n == fail_at || (fails_on && n > fail_at)))
        return NULL;
    return realloc(p, size);
}
#define PYTHEUS_REDIS_REALLOC(p, size) scarce_realloc(p, size)
#define PYTHEUS_REDIS_FREE(p) free(p)

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "redis.h"
#include "crew.h"

/* A layout, what Python is to run for it, and where it has counters c and l{x="1"}. */
typedef struct layout {
    const char *name, *script, *index_key;
    const char *ask_c[2], *ask_l[3], *ask_g[2], *ask_own[2];
} layout;
static const layout pytheus_layout = {"pytheus",
                                      "tests/redis_python.py",
                                      "pytheus:gauge_index",
                                      {"GET", "c"},
                                      {"HGET", "l", "{\"x\": \"1\"}"},
                                      {"GET", "g"},
                                      {"SCARD", "pytheus:processes"}};
static const layout client_layout = {
    "prometheus_redis_client", "tests/redis_client_python.py",      "GLOBAL_GAUGE_INDEX",
    {"GET", "c:e30="},         {"GET", "l:eyJ4IjogIjEifQ==", NULL}, {"GET", "g:e30="},
    {"SCARD", "own_group"}};

static const char *ask_l(const layout *in) {
    const char *words[3];
    memcpy(words, in->ask_l, sizeof words);
    return redis_ask_argv(words, words[2] ? 3 : 2);
}
#define ASK_IN(words) ASK((words)[0], (words)[1])

/* -- beside Python -- */

#define PATH "/\xc3\xa9\"\\\n\xf0\x9f\x98\x80"

typedef struct shop {
    pytheus_registry *r;
    pytheus_counter both, plain;
    pytheus_gauge level, own;
    pytheus_histogram lat;
    pytheus_summary size;
} shop;

static void shop_open(shop *s, const layout *in) {
    static const double bounds[] = {0.1, 0.25, 0.5, 1, 2.5};
    bool is_client = in == &client_layout;
    pytheus_counter both;
    pytheus_histogram lat;
    s->r = redis_registry(&(pytheus_redis_desc){.layout = in->name});
    both = COUNTER(s->r, .name = "both_total", .required_labels = {"method", "path"});
    s->both = pytheus_counter_labels(both, "method", "GET", "path", PATH);
    s->plain = COUNTER(s->r, .name = "plain_total");
    s->level = GAUGE(s->r, .name = "level");
    lat = HISTOGRAM(s->r, .name = "lat_seconds", .required_labels = {"method", "path"},
                    .buckets = is_client ? bounds : NULL, .num_buckets = is_client ? 5 : 0);
    s->lat = pytheus_histogram_labels(lat, "method", "GET", "path", PATH);
    s->size = SUMMARY(s->r, .name = "size_bytes");
    if (is_client)
        s->own = GAUGE(s->r, .name = "own", .across = PYTHEUS_PER_PROCESS);
}

static void shop_work(shop *s, int times) {
    for (int i = 0; i < times; i++) {
        pytheus_counter_inc(s->both);
        pytheus_counter_add(s->plain, 0.5);
        pytheus_gauge_add(s->level, 2);
        pytheus_histogram_observe(s->lat, 0.3);
        pytheus_summary_observe(s->size, 1.5);
        if (i % 7 == 0)
            FLUSH(s->r);
    }
    FLUSH(s->r);
}

static FILE *python(const layout *in, const char *what) {
    char command[256];
    snprintf(command, sizeof command, "/usr/bin/python3 %s %s %s", in->script, redis_socket, what);
    return popen(command, "r");
}

static void python_says(const layout *in, const char *const *lines, size_t n) {
    char text[8192];
    FILE *p = python(in, "read");
    size_t size = fread(text, 1, sizeof text - 1, p);
    text[size] = '\0';
    CHECK_INT(pclose(p), 0);
    for (size_t i = 0; i < n; i++)
        if (!CHECK(strstr(text, lines[i]) != NULL))
            printf("no %sin\n%s", lines[i], text);
}

static bool has_python(void) {
    return system("/usr/bin/python3 -c 'import redis' 2>/dev/null") == 0;
}

TEST(python_and_we_count_in_the_same_series) {
    NEED_REDIS();
    if (!has_python())
        SKIP("no redis for /usr/bin/python3 (Debian: python3-redis)");
    shop s;
    shop_open(&s, &pytheus_layout);
    FILE *p = python(&pytheus_layout, "write 50");
    shop_work(&s, 50);
    CHECK_INT(pclose(p), 0);
    char *page = redis_page(s.r);
    CHECK(page && strstr(page, "both_total{method=\"GET\",path=\"/\xc3\xa9\\\"\\\\\\n"
                               "\xf0\x9f\x98\x80\"} 100\n"));
    CHECK(page && strstr(page, "both_total{method=\"PUT\",path=\"only python\"} 7\n"));
    CHECK(page && strstr(page, "\nplain_total 50\n") && strstr(page, "\nlevel 200\n"));
    CHECK(page && strstr(page, ",le=\"0.25\"} 0\n") && strstr(page, ",le=\"0.5\"} 100\n"));
    CHECK(page && strstr(page, "\nsize_bytes_sum 150\nsize_bytes_count 100\n"));
    pytheus_free(page);
    CHECK_STR(ASK("HLEN", "both_total"), "2");
    CHECK_STR(ASK("HLEN", "lat_seconds:+Inf"), "1");
    CHECK_INT(pclose(python(&pytheus_layout, "write 0")), 0); /* sets the gauge */
    CHECK_STR(ASK("GET", "level"), "21.5");
    pytheus_gauge_set(s.level, 3);
    FLUSH(s.r);
    pytheus_registry_free(s.r);
}

TEST(python_reads_what_we_wrote) {
    NEED_REDIS();
    if (!has_python())
        SKIP("no redis for /usr/bin/python3 (Debian: python3-redis)");
    static const char *const expected[] = {
        "both_total {\"method\": \"GET\", \"path\": \"/\\u00e9\\\"\\\\\\n\\ud83d\\ude00\"} 20.0\n",
        "lat_seconds:count {\"method\": \"GET\", \"path\": \"/\\u00e9\\\"\\\\\\n\\ud83d\\ude00\"} "
        "20.0\n",
        "lat_seconds:0.25 {\"method\": \"GET\", \"path\": \"/\\u00e9\\\"\\\\\\n\\ud83d\\ude00\"} "
        "0.0\n",
        "lat_seconds:10 {\"method\": \"GET\", \"path\": \"/\\u00e9\\\"\\\\\\n\\ud83d\\ude00\"} "
        "20.0\n",
        "lat_seconds:+Inf {\"method\": \"GET\", \"path\": \"/\\u00e9\\\"\\\\\\n\\ud83d\\ude00\"} "
        "20.0\n",
        "plain_total 10.0\n",
        "level 40.0\n",
        "size_bytes:sum 30.0\n",
        "size_bytes:count 20.0\n"};
    shop s;
    shop_open(&s, &pytheus_layout);
    shop_work(&s, 20);
    python_says(&pytheus_layout, expected, COUNT_OF(expected));
    pytheus_registry_free(s.r);
}

#define GET_PATH "method=\"GET\",path=\"/\xc3\xa9\\\"\\\\\\n\xf0\x9f\x98\x80\""

TEST(python_and_we_count_in_the_same_keys) {
    NEED_REDIS();
    if (!has_python())
        SKIP("no redis for /usr/bin/python3 (Debian: python3-redis)");
    static const char *const lines[] = {"both_total{" GET_PATH "} 100",
                                        "both_total{method=\"PUT\",path=\"only python\"} 7",
                                        "plain_total 175", /* halves of ours, wholes of Python's */
                                        "level 200",
                                        "lat_seconds_bucket{" GET_PATH ",le=\"0.25\"} 0",
                                        "lat_seconds_bucket{" GET_PATH ",le=\"0.5\"} 100",
                                        "lat_seconds_bucket{" GET_PATH ",le=\"2.5\"} 100",
                                        "lat_seconds_bucket{" GET_PATH ",le=\"+Inf\"} 100",
                                        "lat_seconds_count{" GET_PATH "} 100",
                                        "size_bytes_sum 150",
                                        "size_bytes_count 100"};
    shop s;
    shop_open(&s, &client_layout);
    pytheus_gauge_set(s.own, 1.5);
    FLUSH(s.r);
    FILE *p = python(&client_layout, "write 50");
    shop_work(&s, 50);
    CHECK_INT(pclose(p), 0);
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        CHECK_LINE(s.r, lines[i]);
    CHECK_LINE(s.r, "own{gauge_index=\"1\"} 1.5");
    CHECK_LINE(s.r, "own{gauge_index=\"2\"} 12.5");
    CHECK_STR(ASK("SCARD", "both_total_group"), "2");
    CHECK_STR(ASK("SCARD", "lat_seconds_group"), "5");
    CHECK_INT(pclose(python(&client_layout, "write 0")), 0); /* sets the gauge */
    CHECK_LINE(s.r, "level 21.5");
    pytheus_gauge_set(s.level, 3);
    FLUSH(s.r);
    CHECK_STR(ASK("GET", "level:e30="), "3");
    pytheus_registry_free(s.r);
}

TEST(python_reads_the_keys_that_we_wrote) {
    NEED_REDIS();
    if (!has_python())
        SKIP("no redis for /usr/bin/python3 (Debian: python3-redis)");
#define PYTHON_PATH "path='/\xc3\xa9\"\\\\\\n\xf0\x9f\x98\x80'} "
    static const char *const expected[] = {
        "both_total{method='GET'," PYTHON_PATH "20\n",
        "plain_total{} 10\n",
        "level{} 40\n",
        "lat_seconds_bucket{le=0.5,method='GET'," PYTHON_PATH "20\n",
        "lat_seconds_bucket{le=1,method='GET'," PYTHON_PATH "20\n",
        "lat_seconds_bucket{le=2.5,method='GET'," PYTHON_PATH "20\n",
        "lat_seconds_count{method='GET'," PYTHON_PATH "20\n",
        "size_bytes_count{} 20\nsize_bytes_sum{} 30\n",
        "own{gauge_index=1} 1.5\n"};
    shop s;
    shop_open(&s, &client_layout);
    pytheus_gauge_set(s.own, 1.5);
    shop_work(&s, 20);
    python_says(&client_layout, expected, COUNT_OF(expected));
    pytheus_registry_free(s.r);
}

/* -- forked children -- */

#ifdef UNDER_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "die_after_fork=0"; /* a child starts a thread */
}
#endif

enum { CHILDREN = 8, INCREMENTS = 3000, ALL = 2 * CHILDREN * INCREMENTS };

static bool has_come(pytheus_registry *r, const layout *in) {
    char *page = redis_page(r);
    bool has_own = page && strstr(page, "\nown 1008\n");
    pytheus_free(page);
    return has_own && strtol(ASK_IN(in->ask_c), NULL, 10) == ALL &&
           strtol(ask_l(in), NULL, 10) == ALL && !strcmp(ASK_IN(in->ask_g), "0");
}

static void fork_in(const layout *in) {
    pytheus_registry *r =
        redis_registry(&(pytheus_redis_desc){.flush_interval_ms = 3, .layout = in->name});
    pytheus_counter c = COUNTER(r, .name = "c"),
                    l = COUNTER(r, .name = "l", .required_labels = {"x"});
    pytheus_gauge g = GAUGE(r, .name = "g");
    pytheus_counter one = pytheus_counter_labels(l, "x", "1");
    pytheus_gauge own = GAUGE(r, .name = "own", .across = PYTHEUS_SUM);
    pid_t pids[CHILDREN];
    pytheus_gauge_set(own, 1000);
    for (int i = 0; i < CHILDREN; i++) {
        for (int j = 0; j < INCREMENTS; j++) { /* its thread is flushing while this one forks */
            pytheus_counter_inc(c);
            pytheus_counter_inc(one);
            pytheus_gauge_inc(g);
        }
        fflush(NULL);
        pids[i] = fork();
        if (pids[i] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (int j = 0; j < INCREMENTS; j++) {
                pytheus_counter_inc(c);
                pytheus_counter_inc(one);
                pytheus_gauge_dec(g);
            }
            pytheus_gauge_inc(own);
            while (i % 2) /* half of them leave it to their thread */
                pause();
            _exit(pytheus_flush(r) == PYTHEUS_OK ? 0 : 1);
        }
    }
    FLUSH(r);
    for (int i = 0; i < CHILDREN; i += 2) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        CHECK_INT(status, 0);
    }
    for (int i = 0; i < 2000 && !has_come(r, in); i++)
        redis_sleep_ms(10);
    CHECK(has_come(r, in)); /* and no more */
    CHECK_STR(ASK("GET", in->index_key), "9");
    CHECK_STR(ASK_IN(in->ask_own), "9");
    for (int i = 1; i < CHILDREN; i += 2) {
        kill(pids[i], SIGKILL);
        waitpid(pids[i], NULL, 0);
    }
    pytheus_registry_free(r);
}

TEST(children_have_a_line_and_counts_of_their_own) {
    NEED_REDIS();
#ifdef UNDER_ASAN
    SKIP_EXTRA("the sanitizer's allocator is not to be forked while another thread is inside");
#endif
    fork_in(&pytheus_layout);
    (void)ASK("FLUSHALL");
    fork_in(&client_layout);
}

/* The parent may have the same labels again by the time the child flushes. */
TEST(what_a_parent_removed_is_not_removed_by_its_child) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(NULL);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    int parent_has_sent[2];
    char byte = 0;
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x"));
    FLUSH(r);
    pytheus_view_remove(pytheus_counter_labels(c, "a", "x").view);
    CHECK(!pipe(parent_has_sent));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        _exit(read(parent_has_sent[0], &byte, 1) != 1 || pytheus_flush(r) != PYTHEUS_OK);
    pytheus_counter_add(pytheus_counter_labels(c, "a", "x"), 5);
    FLUSH(r);
    CHECK(write(parent_has_sent[1], &byte, 1) == 1);
    int status = 1;
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    CHECK_STR(ASK("HGET", "c", "{\"a\": \"x\"}"), "5");
    close(parent_has_sent[0]);
    close(parent_has_sent[1]);
    pytheus_registry_free(r);
}

static void flush_when_asked(pytheus_registry *r, const int asks[2], const int tells[2]) {
    char byte;
    while (read(asks[0], &byte, 1) == 1 && pytheus_flush(r) == PYTHEUS_OK)
        (void)!write(tells[1], &byte, 1);
    _exit(1);
}

static void flush_there(const int asks[2], const int tells[2]) {
    char byte = 0;
    CHECK(write(asks[1], &byte, 1) == 1 && read(tells[0], &byte, 1) == 1);
}

TEST(a_server_that_is_empty_is_not_told_by_a_child_what_its_parent_said) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(NULL);
    pytheus_gauge added = GAUGE(r, .name = "added"), set = GAUGE(r, .name = "set");
    pytheus_counter k = COUNTER(r, .name = "k"), c = COUNTER(r, .name = "c");
    int asks[2], tells[2];
    pytheus_gauge_add(added, 5);
    pytheus_gauge_set(set, 1);
    pytheus_counter_set(k, 100);
    FLUSH(r);
    CHECK(!pipe(asks) && !pipe(tells));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        pytheus_gauge_add(added, 2);
        pytheus_counter_inc(c);
        flush_when_asked(r, asks, tells);
    }
    flush_there(asks, tells);
    pytheus_gauge_set(set, 7);
    pytheus_counter_set(k, 200);
    FLUSH(r);
    CHECK_STR(ASK("MGET", "added", "set", "k", "c"), "7\n7\n200\n1\n");
    redis_crash();
    CHECK(redis_launch(NULL, NULL));
    FLUSH(r);
    flush_there(asks, tells);
    CHECK_STR(ASK("MGET", "added", "set", "k", "c"), "7\n7\n200\n0\n");
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++) {
        close(asks[i]);
        close(tells[i]);
    }
    pytheus_registry_free(r);
}

/* As daemons do: they close all that is open, and open what they need. */
TEST(a_daemon_has_its_files_for_itself) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.flush_interval_ms = 20});
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    FLUSH(r);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int pipes[8][2], missing = 0;
        for (int i = 3; i < 100; i++)
            close(i);
        (void)!open("/dev/null", O_RDONLY);
        for (int i = 0; i < 8; i++)
            if (pipe(pipes[i]))
                _exit(99);
        for (int i = 0; i < 8; i++) {
            char message[64];
            (void)!write(pipes[i][1], "message", 7);
            redis_sleep_ms(30);
            fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
            missing += read(pipes[i][0], message, sizeof message) != 7;
        }
        _exit(missing);
    }
    int status = 0;
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    pytheus_registry_free(r);
}

/* ThreadSanitizer ends a child before it has run what is to be run at exit. */
#ifndef UNDER_TSAN
static void exit_in(const layout *in) {
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.layout = in->name});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_gauge own = GAUGE(r, .name = "own", .across = PYTHEUS_PER_PROCESS);
    (void)ASK("FLUSHALL");
    pytheus_gauge_set(own, 1);
    FLUSH(r);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        redis_owner = 0;
        pytheus_counter_add(c, 5);
        pytheus_gauge_set(own, 1);
        (void)pytheus_flush(r);
        redis_hang_up();
        exit(strcmp(ASK_IN(in->ask_own), "2"));
    }
    int status = 1;
    waitpid(pid, &status, 0);
    redis_hang_up();
    CHECK_INT(status, 0);
    CHECK_STR(ASK_IN(in->ask_c), "5");
    CHECK_STR(ASK_IN(in->ask_own), "1");
    pytheus_registry_free(r);
    CHECK_STR(ASK("KEYS", "pytheus:[fp]*"), "");
}

TEST(exit_sends_what_is_left) {
    NEED_REDIS();
    exit_in(&pytheus_layout);
    exit_in(&client_layout);
}

/* In a child that exits with so many registries; Redis may be stopped meanwhile. Seconds. */
static double exit_takes(int registries, const pytheus_redis_desc *desc, bool is_hung) {
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        redis_owner = 0;
        for (int i = 0; i < registries; i++) {
            pytheus_registry *r = redis_registry(desc);
            pytheus_counter c = COUNTER(r, .name = "c");
            FLUSH(r);
            pytheus_counter_inc(c);
        }
        if (is_hung)
            kill(redis_pid, SIGSTOP);
        redis_sleep_ms(100);
        exit(0);
    }
    double began = redis_seconds();
    for (int i = 0; i < 1000 && waitpid(pid, NULL, WNOHANG) == 0; i++)
        redis_sleep_ms(10);
    kill(pid, SIGKILL);
    kill(redis_pid, SIGCONT);
    return redis_seconds() - began;
}

TEST(exit_and_the_end_of_a_registry_take_no_longer_than_the_time_outs) {
    NEED_REDIS();
    const pytheus_redis_desc desc = {.command_timeout_ms = 1000, .flush_interval_ms = 20};
    CHECK(exit_takes(3, &desc, true) < 2.5);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    FLUSH(r);
    kill(redis_pid, SIGSTOP);
    pytheus_counter_inc(c);
    redis_sleep_ms(100);
    double began = redis_seconds();
    pytheus_registry_free(r);
    CHECK(redis_seconds() - began < 2.2);
    kill(redis_pid, SIGCONT);
}

static void fork_when_told(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
    redis_sleep_ms(300);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
}

TEST(a_logger_may_fork_while_the_program_exits) {
    NEED_REDIS();
    (void)ASK("LPUSH", "c", "x");
    CHECK(exit_takes(
              1, &(pytheus_redis_desc){.flush_interval_ms = 20, .logger = {fork_when_told, NULL}},
              false) < 5);
}

#endif

/* -- threads -- */

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct crowd {
    pytheus_registry *r;
    pytheus_counter c;
    pytheus_histogram h;
    bool ends;
} crowd;

static void *count_much(void *argument) {
    crowd *x = (crowd *)argument;
    for (int i = 0; i < ROUNDS; i++) {
        char label[16];
        snprintf(label, sizeof label, "%d", i % 50);
        pytheus_counter_inc(pytheus_counter_labels(x->c, "x", label));
        pytheus_histogram_observe(x->h, i % 3);
    }
    return NULL;
}

static void *make_and_remove(void *argument) {
    crowd *x = (crowd *)argument;
    pytheus_counter passing = COUNTER(x->r, .name = "passing", .required_labels = {"x"});
    for (int i = 0; !__atomic_load_n(&x->ends, __ATOMIC_ACQUIRE); i++) {
        char label[16];
        snprintf(label, sizeof label, "%d", i % 10);
        pytheus_counter one = pytheus_counter_labels(passing, "x", label);
        pytheus_counter_inc(one);
        pytheus_view_remove(one.view);
    }
    return NULL;
}

static void *flush_and_write(void *argument) {
    crowd *x = (crowd *)argument;
    while (!__atomic_load_n(&x->ends, __ATOMIC_ACQUIRE)) {
        (void)pytheus_flush(x->r);
        pytheus_free(pytheus_generate(x->r, PYTHEUS_TEXT, NULL));
    }
    return NULL;
}

static void crowd_in(const layout *in) {
    crowd x = {.r = redis_registry(&(pytheus_redis_desc){
                   .flush_interval_ms = 1, .command_timeout_ms = 20000, .layout = in->name})};
    pthread_t counting[THREADS], others[3];
    char *page;
    x.c = COUNTER(x.r, .name = "c", .required_labels = {"x"});
    x.h = HISTOGRAM(x.r, .name = "h", .buckets = (const double[]){0, 1}, .num_buckets = 2);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&counting[i], NULL, count_much, &x);
    pthread_create(&others[0], NULL, make_and_remove, &x);
    pthread_create(&others[1], NULL, flush_and_write, &x);
    pthread_create(&others[2], NULL, flush_and_write, &x);
    for (int i = 0; i < THREADS; i++)
        pthread_join(counting[i], NULL);
    __atomic_store_n(&x.ends, true, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++)
        pthread_join(others[i], NULL);
    page = redis_page(x.r);
    if (!CHECK(page && strstr(page, "c{x=\"49\"} 1600\n") && strstr(page, "h_count 80000\n")))
        fprintf(stderr, "%s\n", page ? page : pytheus_last_error());
    CHECK(page && !strstr(page, "passing{"));
    pytheus_free(page);
    CHECK_INT(logged.num, 0);
    pytheus_registry_free(x.r);
}

TEST(many_threads_lose_nothing) {
    NEED_REDIS();
    crowd_in(&pytheus_layout);
    crowd_in(&client_layout);
}

static void connect_and_count(void *unused, int thread) {
    (void)unused;
    (void)thread;
    for (int i = 0; i < 10; i++) {
        pytheus_backend backend;
        if (pytheus_redis_backend(
                &(pytheus_redis_desc){.unix_socket_path = redis_socket, .flush_interval_ms = 1},
                &backend))
            continue;
        pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
        pytheus_counter_inc(COUNTER(r, .name = "together"));
        pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), i);
        redis_sleep_ms(3);
        pytheus_registry_free(r);
    }
}

TEST(a_flush_sends_all_while_series_are_removed) {
    NEED_REDIS();
    enum { LIVES = 20, EACH = 1000 };
    crowd x = {.r = redis_registry(&(pytheus_redis_desc){.command_timeout_ms = 20000})};
    pthread_t other;
    x.c = COUNTER(x.r, .name = "l", .required_labels = {"x"}, .max_series = LIVES * EACH);
    pthread_create(&other, NULL, make_and_remove, &x);
    for (int i = 0; i < LIVES; i++) {
        char label[16];
        for (int j = 0; j < EACH; j++) {
            snprintf(label, sizeof label, "%d", i * EACH + j);
            pytheus_counter_inc(pytheus_counter_labels(x.c, "x", label));
        }
        FLUSH(x.r);
        snprintf(label, sizeof label, "%d", (i + 1) * EACH);
        CHECK_STR(ASK("HLEN", "l"), label);
    }
    __atomic_store_n(&x.ends, true, __ATOMIC_RELEASE);
    pthread_join(other, NULL);
    pytheus_registry_free(x.r);
}

TEST(registries_connect_at_the_same_time) {
    NEED_REDIS();
    in_threads(2, connect_and_count, NULL);
    CHECK_STR(ASK("GET", "together"), "20");
}

/* -- memory -- */

enum { WAITS_MS = 20000 };

/* NULL: it was refused for want of memory, and has left nothing behind. */
static pytheus_registry *poor_registry(const layout *in, const char *prefix) {
    pytheus_backend backend;
    if (pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = redis_socket,
                                                    .flush_interval_ms = 3600000,
                                                    .command_timeout_ms = WAITS_MS,
                                                    .layout = in->name,
                                                    .key_prefix = prefix,
                                                    .logger = {fixture_remember, NULL}},
                              &backend))
        return NULL;
    return pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {fixture_remember, NULL}});
}

/* false: it was refused. */
static bool a_life(const layout *in) {
    pytheus_registry *r = poor_registry(in, NULL);
    char line[32];
    long expected = 0;
    if (!r)
        return false;
    pytheus_counter c = COUNTER(r, .name = "l", .required_labels = {"x"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h");
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_PER_PROCESS);
    (void)pytheus_gauge_set(g, 1);
    expected += pytheus_counter_inc(pytheus_counter_labels(c, "x", "1")) == PYTHEUS_OK;
    (void)pytheus_flush(r);
    (void)pytheus_histogram_observe(h, 1);
    (void)ASK("HSET", "l", "{\"x\":\"2\"}", "1");
    (void)ASK("SADD", "l_group", "l:eyJ4IjogIjIifQ==", "l:eyJ4IjogIjMifQ==");
    (void)ASK("SET", "l:eyJ4IjogIjIifQ==", "1");
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    expected += pytheus_counter_inc(pytheus_counter_labels(c, "x", "1")) == PYTHEUS_OK;
    fail_at = 0; /* from here on there is enough: what was refused works, what was done is there */
    snprintf(line, sizeof line, "l{x=\"1\"} %ld", expected);
    if (c.view.node)
        CHECK_LINE(r, "l{x=\"2\"} 1");
    if (expected)
        CHECK_LINE(r, line);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    CHECK_INT(strtol(ask_l(in), NULL, 10), expected);
    pytheus_registry_free(r);
    return true;
}

/* Each key takes more than the room that there is at first. */
static bool a_life_of_gauges(const layout *in) {
    char prefix[400];
    memset(prefix, 'k', sizeof prefix - 1);
    prefix[sizeof prefix - 1] = '\0';
    pytheus_registry *r = poor_registry(in, prefix);
    if (!r)
        return false;
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    bool is_set = pytheus_gauge_set(g, 2) == PYTHEUS_OK;
    (void)pytheus_flush(r);
    fail_at = 0;
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    if (is_set)
        CHECK_LINE(r, "g 2");
    pytheus_registry_free(r);
    return true;
}

/* What there was no memory to ask is not waited for. */
static void starve(bool (*life)(const layout *), int on, const layout *in) {
    long n = 0, all;
    fails_on = on;
    do {
        (void)ASK("FLUSHALL");
        num_allocations = 0;
        fail_at = ++n;
        double began = redis_seconds();
        if (!life(in))
            CHECK(num_allocations >= n);
        CHECK(redis_seconds() - began < WAITS_MS / 2000.0);
        all = num_allocations;
        fail_at = 0;
    } while (all >= n && n < 2000);
    CHECK(n > 20 && n < 2000);
}

TEST(without_memory_nothing_is_lost) {
    NEED_REDIS();
    for (int on = 0; on < 2; on++) {
        starve(a_life, on, &pytheus_layout);
        starve(a_life, on, &client_layout);
        starve(a_life_of_gauges, on, &pytheus_layout);
        starve(a_life_of_gauges, on, &client_layout);
    }
}
