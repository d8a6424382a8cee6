/* Redis down, hung, slow, full, read-only, loading, restarted empty and with its data, answering
   garbage, and a way to it that loses requests and replies: nobody who counts waits or hears of it,
   and in the end every count is there once. LONG=1 for the numbers that the README has. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "redis.h"
#include "redis_proxy.h"

#include <malloc.h>
#include <sys/resource.h>

#ifdef UNDER_TSAN
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
    return "die_after_fork=0"; /* a child starts a thread */
}
#endif

static bool is_long(void) {
    const char *chosen = getenv("LONG");
    return chosen && *chosen;
}

/* The longest of many increments, in milliseconds, and no error of any. */
static void counting_is_undisturbed(pytheus_counter c, long n) {
    double longest = 0, began = redis_seconds();
    long failed = 0;
    for (long i = 0; i < n; i++) {
        double t = redis_seconds(), took;
        failed += pytheus_counter_inc(c) != PYTHEUS_OK;
        took = redis_seconds() - t;
        longest = took > longest ? took : longest;
    }
    CHECK_INT(failed, 0);
    /* a machine that does other things may take the processor away, but not each time */
    CHECK(redis_seconds() - began < 0.5 + (double)n * 20e-6);
    CHECK(longest < 0.5);
}

static double page_value(pytheus_registry *r, const char *line) {
    char *page = pytheus_generate(r, PYTHEUS_TEXT, NULL), *at = page ? strstr(page, line) : NULL;
    double value = at ? strtod(at + strlen(line), NULL) : -1;
    pytheus_free(page);
    return value;
}

#define QUICK .connect_timeout_ms = 200, .command_timeout_ms = 300, .flush_interval_ms = 20

TEST(redis_down_at_the_start) {
    NEED_REDIS();
    redis_end(false);
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c");
    counting_is_undisturbed(c, 1000);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK(strstr(pytheus_last_error(), redis_socket) != NULL);
    CHECK(redis_launch(NULL, NULL));
    for (int i = 0; i < 300 && strcmp(ASK("GET", "c"), "1000"); i++)
        redis_sleep_ms(10); /* its thread finds it without help */
    CHECK_STR(ASK("GET", "c"), "1000");
    CHECK(page_value(r, "\npytheus_redis_flush_errors_total ") >= 1);
    pytheus_registry_free(r);
}

TEST(pages_without_redis) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK, .serve_own = true});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    FLUSH(r);
    (void)ASK("INCRBY", "c", "10");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 11\n");
    redis_end(true);
    pytheus_counter_inc(c);
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 2\n");
    CHECK_DOUBLE(page_value(r, "\npytheus_redis_up "), 0);
    CHECK(redis_launch(NULL, NULL));
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 12\n");
    CHECK_DOUBLE(page_value(r, "\npytheus_redis_up "), 1);
    pytheus_registry_free(r);
}

static void *write_a_page(void *argument) {
    char *page = pytheus_generate((pytheus_registry *)argument, PYTHEUS_TEXT, NULL);
    void *bad = page ? NULL : argument;
    pytheus_free(page);
    return bad;
}

/* How many of several pages at once can't be written. */
static int pages_that_fail(pytheus_registry *r, int pages) {
    pthread_t threads[8];
    int failed = 0;
    for (int i = 0; i < pages; i++)
        pthread_create(&threads[i], NULL, write_a_page, r);
    for (int i = 0; i < pages; i++) {
        void *bad;
        pthread_join(threads[i], &bad);
        failed += bad != NULL;
    }
    return failed;
}

TEST(pages_at_once_without_redis) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK, .serve_own = true});
    pytheus_counter c = COUNTER(r, .name = "c");
    FLUSH(r);
    kill(redis_pid, SIGSTOP);
    pytheus_counter_inc(c);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pages_that_fail(r, 4), 0);
    kill(redis_pid, SIGCONT);
    pytheus_registry_free(r);
}

/* A host that answers nobody: the queue of its port is full. */
static int deaf_port(int clients[4]) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s, (struct sockaddr *)&address, size) || listen(s, 0) ||
        getsockname(s, (struct sockaddr *)&address, &size))
        abort();
    for (int i = 0; i < 4; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)!connect(clients[i], (struct sockaddr *)&address, size);
    }
    redis_sleep_ms(100);
    return ntohs(address.sin_port);
}

TEST(pages_at_once_take_no_longer_than_one) {
    NEED_REDIS();
    int clients[4];
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.host = "127.0.0.1",
                                                               .port = deaf_port(clients),
                                                               .connect_timeout_ms = 1000,
                                                               .command_timeout_ms = 100});
    double began = redis_seconds();
    CHECK_INT(pages_that_fail(r, 3), 3);
    CHECK(redis_seconds() - began < 1.6);
    pytheus_registry_free(r);
    for (int i = 0; i < 4; i++)
        close(clients[i]);
}

TEST(a_hung_redis_holds_up_nobody_who_counts) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    pytheus_counter one = pytheus_counter_labels(c, "x", "1");
    pytheus_counter_inc(one);
    FLUSH(r);
    kill(redis_pid, SIGSTOP);
    counting_is_undisturbed(one, 1000);
    double began = redis_seconds();
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK(redis_seconds() - began < 2 * 0.5 + 0.5);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "x", "2")), PYTHEUS_OK);
    kill(redis_pid, SIGCONT);
    FLUSH(r);
    CHECK_STR(ASK("HGET", "c", "{\"x\": \"1\"}"), "1001");
    CHECK_STR(ASK("HGET", "c", "{\"x\": \"2\"}"), "1");
    pytheus_registry_free(r);
}

TEST(a_restart_with_its_data_loses_nothing) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c");
    for (int i = 0; i < 3; i++) {
        counting_is_undisturbed(c, 500);
        FLUSH(r);
        redis_end(true);
        counting_is_undisturbed(c, 500);
        CHECK(redis_launch(NULL, NULL));
    }
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "3000");
    pytheus_registry_free(r);
}

TEST(a_restart_without_its_data_begins_again) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c"), idle = COUNTER(r, .name = "idle");
    pytheus_gauge set = GAUGE(r, .name = "set"), added = GAUGE(r, .name = "added");
    pytheus_counter_add(c, 100);
    pytheus_counter_add(idle, 100);
    pytheus_gauge_set(set, 21.5);
    pytheus_gauge_add(added, 3);
    FLUSH(r);
    redis_end(false);
    pytheus_counter_add(c, 7);
    CHECK(redis_launch(NULL, NULL));
    FLUSH(r);
    CHECK_STR(ASK("MGET", "c", "idle", "set", "added"), "7\n0\n21.5\n3\n");
    pytheus_registry_free(r);
}

TEST(a_full_redis_keeps_the_connection_and_the_counts) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    FLUSH(r);
    (void)ASK("CONFIG", "SET", "maxmemory", "1");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK(strstr(pytheus_last_error(), "OOM") != NULL);
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 1\n"); /* what it has can be read */
    (void)ASK("CONFIG", "SET", "maxmemory", "0");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 2\n");
    pytheus_registry_free(r);
}

TEST(a_replica_takes_nothing_until_it_is_none) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    FLUSH(r);
    (void)ASK("REPLICAOF", "127.0.0.1", "1");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK(strstr(pytheus_last_error(), "READONLY") != NULL);
    (void)ASK("REPLICAOF", "NO", "ONE");
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "2");
    pytheus_registry_free(r);
}

/* Writes settings that make it read 1,000 keys a second, and answer meanwhile. */
static bool loads_slowly(char path[96]) {
    FILE *f;
    snprintf(path, 96, "%s/slowly.conf", redis_folder);
    f = fopen(path, "w");
    return f && fputs("key-load-delay 1000\nloading-process-events-interval-bytes 1024\n", f) > 0 &&
           fclose(f) == 0;
}

TEST(a_redis_that_loads_its_data_takes_nothing_until_it_has_it) {
    NEED_REDIS();
    char path[96];
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK}), *late;
    pytheus_counter c = COUNTER(r, .name = "c"), other;
    counting_is_undisturbed(c, 500);
    FLUSH(r);
    (void)ASK("EVAL", "for i = 1, 2000 do redis.call('SET', 'k' .. i, string.rep('x', 100)) end",
              "0");
    redis_end(true);
    counting_is_undisturbed(c, 500);
    CHECK(loads_slowly(path));
    redis_start("--include", path);
    for (int i = 0; i < 200 && strncmp(ASK("PING"), "LOADING", 7); i++)
        redis_sleep_ms(10);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK(strstr(pytheus_last_error(), "LOADING") != NULL);
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    late = redis_registry(&(pytheus_redis_desc){QUICK}); /* not refused */
    other = COUNTER(late, .name = "c");
    counting_is_undisturbed(c, 500);
    counting_is_undisturbed(other, 500);
    CHECK(!strncmp(ASK("PING"), "LOADING", 7)); /* it did not end before */
    CHECK(redis_waits());
    FLUSH(r);
    FLUSH(late);
    CHECK_STR(ASK("GET", "c"), "2000");
    pytheus_registry_free(late);
    pytheus_registry_free(r);
}

TEST(one_bad_key_does_not_hold_up_the_others) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_counter bad = COUNTER(r, .name = "bad"), good = COUNTER(r, .name = "good");
    pytheus_gauge text = GAUGE(r, .name = "text", .required_labels = {"x"});
    (void)ASK("LPUSH", "bad", "x");
    (void)ASK("HSET", "text", "{\"x\": \"1\"}", "no number");
    for (int i = 0; i < 3; i++) {
        pytheus_counter_inc(bad);
        pytheus_counter_inc(good);
        pytheus_gauge_inc(pytheus_gauge_labels(text, "x", "1"));
        pytheus_gauge_inc(pytheus_gauge_labels(text, "x", "2"));
        FLUSH(r);
    }
    CHECK_STR(ASK("GET", "good"), "3");
    CHECK_STR(ASK("HGET", "text", "{\"x\": \"2\"}"), "3");
    CHECK_STR(ASK("TYPE", "bad"), "list");
    CHECK(page_value(r, "\npytheus_redis_flush_errors_total ") >= 2);
    CHECK_VALUE(bad, 3); /* what it could not say it keeps */
    pytheus_registry_free(r);
}

/* -- what Redis refuses -- */

#define SELDOM .connect_timeout_ms = 200, .command_timeout_ms = 300

/* A user who may touch what begins with good, and us as that user. */
static pytheus_registry *registry_of_user(const char *path) {
    (void)ASK("ACL", "SETUSER", "app", "reset", "on", ">pw", "+@all", "~good*", "~pytheus:*");
    return redis_registry(&(pytheus_redis_desc){SELDOM, .unix_socket_path = path, .username = "app",
                                                .password = "pw"});
}

TEST(a_refused_command_costs_no_other_its_flush) {
    NEED_REDIS();
    pytheus_registry *r = registry_of_user(redis_socket);
    pytheus_counter bad = COUNTER(r, .name = "bad"), good = COUNTER(r, .name = "good");
    pytheus_counter_inc(good);
    pytheus_counter_inc(bad);
    FLUSH(r);
    CHECK_STR(ASK("GET", "good"), "1");
    (void)ASK("ACL", "SETUSER", "app", "~bad");
    CHECK_VALUE(bad, 1);
    pytheus_registry_free(r);
}

/* What is done at once cannot be told from what is not done at all. */
TEST(without_transactions_redis_is_refused) {
    NEED_REDIS();
    pytheus_backend backend;
    pytheus_registry *r = registry_of_user(redis_socket);
    pytheus_counter good = COUNTER(r, .name = "good");
    pytheus_counter_inc(good);
    FLUSH(r);
    pytheus_counter_inc(good);
    (void)ASK("ACL", "SETUSER", "app", "-multi");
    for (int i = 0; i < 3; i++)
        CHECK_ERR(pytheus_flush(r), i ? PYTHEUS_ERR_CONFIG : PYTHEUS_ERR_BACKEND);
    CHECK_ERR(pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = redis_socket,
                                                          .username = "app",
                                                          .password = "pw",
                                                          .logger = {fixture_remember, NULL}},
                                    &backend),
              PYTHEUS_ERR_CONFIG);
    (void)ASK("ACL", "SETUSER", "app", "+multi");
    FLUSH(r);
    CHECK_STR(ASK("GET", "good"), "2");
    pytheus_registry_free(r);
}

TEST(a_busy_redis_is_waited_for) {
    NEED_REDIS();
    pytheus_backend backend;
    (void)ASK("CONFIG", "SET", "lua-time-limit", "20");
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)redisCommand(redisConnectUnix(redis_socket), "EVAL %s 0", "while true do end");
        _exit(0);
    }
    for (int i = 0; i < 200 && strncmp(ASK("GET", "x"), "BUSY", 4); i++)
        redis_sleep_ms(10);
    if (CHECK_ERR(pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = redis_socket,
                                                              .logger = {fixture_remember, NULL}},
                                        &backend),
                  PYTHEUS_OK))
        backend.destroy(backend.user);
    redis_hang_up();
    (void)ASK("SCRIPT", "KILL");
    waitpid(pid, NULL, 0);
}

/* What the logger has heard, all of it. */
static char heard[4096];

static void hear(void *user, pytheus_err err, const char *metric, const char *sentence) {
    size_t used = strlen(heard);
    (void)user;
    (void)err;
    (void)metric;
    snprintf(heard + used, sizeof heard - used, "%s\n", sentence);
}

static int times_heard(const char *text) {
    int n = 0;
    for (const char *at = heard; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

TEST(each_that_is_refused_is_told_once) {
    NEED_REDIS();
    heard[0] = '\0';
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM, .logger = {hear, NULL}});
    for (int i = 0; i < 3; i++) {
        const char *names[] = {"a_total", "b_total", "d_total"};
        (void)ASK("LPUSH", names[i], "x");
        pytheus_counter_inc(COUNTER(r, .name = names[i]));
    }
    FLUSH(r);
    FLUSH(r);
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    CHECK_INT(times_heard("a_total: WRONGTYPE"), 1);
    CHECK_INT(times_heard("b_total: WRONGTYPE"), 1);
    CHECK_INT(times_heard("d_total: WRONGTYPE"), 1);
    pytheus_registry_free(r);
}

TEST(a_bad_key_on_a_replica_costs_no_page) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM});
    COUNTER(r, .name = "a");
    COUNTER(r, .name = "b");
    FLUSH(r);
    (void)ASK("DEL", "b");
    (void)ASK("LPUSH", "b", "x");
    (void)ASK("REPLICAOF", "127.0.0.1", "1");
    CHECK_REDIS_PAGE(r, "# TYPE a counter\na 0\n# TYPE b counter\nb 0\n");
    (void)ASK("REPLICAOF", "NO", "ONE");
    pytheus_registry_free(r);
}

TEST(without_a_number_only_the_gauges_of_the_process_are_missing) {
    NEED_REDIS();
    heard[0] = '\0';
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM, .logger = {hear, NULL}});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), 1);
    (void)ASK("LPUSH", "pytheus:gauge_index", "x");
    pytheus_counter_inc(c);
    FLUSH(r);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "1");
    CHECK_INT(times_heard("no number for this process: WRONGTYPE"), 1);
    pytheus_registry_free(r);
}

/* The same few labels again and again: what waits to be removed does not pile up. */
TEST(churn_on_a_full_redis_takes_no_memory) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"});
    size_t used[2] = {0, 0};
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "x"));
    FLUSH(r);
    (void)ASK("CONFIG", "SET", "maxmemory", "1");
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 900; i++) {
            char a[16];
            snprintf(a, sizeof a, "%d", i);
            pytheus_counter_inc(pytheus_counter_labels(c, "a", a));
        }
        pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
        pytheus_view_clear(c.view);
        used[round > 9] = round == 9 || round == 39 ? mallinfo2().uordblks : 0;
    }
#if !IS_SANITIZED
    CHECK(used[1] < used[0] + 1000000);
#endif
    (void)used;
    (void)ASK("CONFIG", "SET", "maxmemory", "0");
    FLUSH(r);
    CHECK_STR(ASK("HLEN", "c"), "0");
    pytheus_registry_free(r);
}

/* States are not sent: nobody connects for them, and no page may ever be asked for. */
TEST(churn_of_states_takes_no_memory) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.flush_interval_ms = 20});
    pytheus_stateset s = pytheus_stateset_new(&(pytheus_desc){
        .registry = r, .name = "s", .states = {"on", "off"}, .required_labels = {"a"}});
    size_t used[2] = {0, 0};
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 900; i++) {
            char a[16];
            snprintf(a, sizeof a, "%d", i);
            pytheus_stateset_switch(pytheus_stateset_labels(s, "a", a), "on");
        }
        redis_sleep_ms(50);
        CHECK_ERR(pytheus_view_clear(s.view), PYTHEUS_OK);
        used[round > 9] = round == 9 || round == 39 ? mallinfo2().uordblks : 0;
    }
#if !IS_SANITIZED
    CHECK(used[1] < used[0] + 1000000);
#endif
    (void)used;
    pytheus_registry_free(r);
}

TEST(why_a_server_hangs_up_is_told) {
    NEED_REDIS();
    pytheus_backend backend;
    heard[0] = '\0';
    (void)ASK("CONFIG", "SET", "maxclients", "1");
    if (CHECK_ERR(pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = redis_socket,
                                                              .logger = {hear, NULL}},
                                        &backend),
                  PYTHEUS_OK))
        backend.destroy(backend.user);
    CHECK(times_heard("max number of clients reached") > 0);
    (void)ASK("CONFIG", "SET", "maxclients", "1000");
}

/* -- a server with older data -- */

TEST(a_server_with_older_data_is_not_told_again_what_it_has) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM}),
                     *other = redis_registry(&(pytheus_redis_desc){SELDOM});
    pytheus_gauge added = GAUGE(r, .name = "added"), set = GAUGE(r, .name = "set");
    pytheus_counter c = COUNTER(r, .name = "c"), k = COUNTER(r, .name = "k");
    pytheus_gauge own = GAUGE(r, .name = "own", .across = PYTHEUS_SUM);
    pytheus_gauge_add(added, 5);
    pytheus_gauge_set(set, 1);
    pytheus_counter_set(k, 100);
    pytheus_gauge_set(own, 5);
    FLUSH(r);
    pytheus_gauge_set(GAUGE(other, .name = "set"), 2);
    pytheus_counter_add(COUNTER(other, .name = "k"), 50);
    FLUSH(other);
    (void)ASK("SAVE");
    pytheus_counter_inc(c); /* a flush that the saved data does not have */
    FLUSH(r);
    redis_crash();
    CHECK(redis_launch(NULL, NULL));
    FLUSH(r);
    FLUSH(other);
    CHECK_STR(ASK("MGET", "added", "set", "k"), "5\n2\n150\n");
    char *page = redis_page(r);
    CHECK(page && strstr(page, "\nown 5\n"));
    pytheus_free(page);
    pytheus_registry_free(r);
    pytheus_registry_free(other);
    redis_end(false);
}

TEST(a_server_with_older_data_is_told_the_gauges_of_the_process) {
    static const char *const layouts[] = {"pytheus", "prometheus_redis_client"};
    for (size_t i = 0; i < COUNT_OF(layouts); i++) {
        NEED_REDIS();
        pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM, .layout = layouts[i]});
        pytheus_gauge own = GAUGE(r, .name = "own", .across = PYTHEUS_PER_PROCESS);
        pytheus_gauge_set(own, 5);
        FLUSH(r);
        pytheus_counter_inc(COUNTER(r, .name = "c"));
        FLUSH(r); /* the saved data has a flush of this process since it has its number */
        (void)ASK("SAVE");
        pytheus_gauge_set(own, 6);
        FLUSH(r);
        redis_crash();
        CHECK(redis_launch(NULL, NULL));
        FLUSH(r);
        char *page = redis_page(r);
        CHECK(page && strstr(page, "own{gauge_index=\"1\"} 6\n"));
        pytheus_free(page);
        pytheus_registry_free(r);
        redis_end(false);
    }
}

/* -- ways that cut a connection at a bad moment -- */

/* Says after how many bytes of a piece the connection ends; all of them: it goes on. */
typedef size_t cut(const char *piece, size_t size, bool asks);

static void cutting(int listener, cut *after) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = accept(listener, NULL, NULL), server = proxy_open(redis_socket, false);
        struct pollfd ready[2] = {{.fd = client, .events = POLLIN},
                                  {.fd = server, .events = POLLIN}};
        for (bool open = true; open && poll(ready, 2, -1) > 0;) {
            char piece[65536 + 1];
            bool asks = ready[0].revents != 0;
            ssize_t size = read(ready[!asks].fd, piece, sizeof piece - 1);
            size_t carried = 0;
            if (size > 0) {
                piece[size] = '\0';
                carried = after(piece, (size_t)size, asks);
                open = send(ready[asks].fd, piece, carried, MSG_NOSIGNAL) == size;
            } else {
                open = false;
            }
        }
        close(client);
        close(server);
    }
}

static pid_t cut_way(char path[96], const char *name, cut *after) {
    snprintf(path, 96, "%s/%s", redis_folder, name);
    unlink(path);
    int listener = proxy_open(path, true);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        cutting(listener, after);
    close(listener);
    return pid;
}

static void end_way(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static size_t behind_oom(const char *piece, size_t size, bool asks) {
    const char *oom = asks ? NULL : strstr(piece, "-OOM");
    return oom ? (size_t)(strchr(oom, '\n') + 1 - piece) : size;
}

static size_t before_the_first_bad(const char *piece, size_t size, bool asks) {
    static bool has_cut;
    bool cuts = asks && !has_cut && memmem(piece, size, "bad", 3);
    has_cut |= cuts;
    return cuts ? 0 : size;
}

TEST(a_flush_that_did_not_come_and_is_refused_later_stops_nothing) {
    NEED_REDIS();
    char path[96];
    pid_t pid = cut_way(path, "first", before_the_first_bad);
    pytheus_registry *r = registry_of_user(path);
    pytheus_counter good = COUNTER(r, .name = "good"), bad = COUNTER(r, .name = "bad");
    pytheus_counter_inc(good);
    pytheus_counter_inc(bad);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    pytheus_counter_inc(good);
    FLUSH(r);
    CHECK_STR(ASK("GET", "good"), "2");
    pytheus_registry_free(r);
    end_way(pid);
}

static size_t far_away(const char *piece, size_t size, bool asks) {
    (void)piece;
    if (asks)
        redis_sleep_ms(30);
    return size;
}

TEST(from_far_away_each_series_has_its_turn) {
    NEED_REDIS();
    enum { SERIES = 40000 };
    static pytheus_counter all[SERIES];
    char path[96], field[32];
    pid_t pid = cut_way(path, "far", far_away);
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){
        .unix_socket_path = path, .command_timeout_ms = 500, .flush_interval_ms = 100});
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"a"}, .max_series = SERIES);
    for (int i = 0; i < SERIES; i++) {
        char a[16];
        snprintf(a, sizeof a, "%d", i);
        all[i] = pytheus_counter_labels(c, "a", a);
    }
    snprintf(field, sizeof field, "{\"a\": \"%d\"}", SERIES - 1);
    for (int round = 0; round < 200 && !*ASK("HGET", "c", field); round++) {
        for (int i = 0; i < SERIES; i++)
            pytheus_counter_inc(all[i]);
        redis_sleep_ms(100);
    }
    CHECK(strtol(ASK("HGET", "c", field), NULL, 10) > 0);
    CHECK_STR(ASK("HLEN", "c"), "40000");
    pytheus_registry_free(r);
    end_way(pid);
}

/* They are refreshed in several flushes, and all in time. */
TEST(from_far_away_gauges_of_the_process_stay) {
    NEED_REDIS();
    enum { SERIES = 6000 };
    char path[96];
    pid_t pid = cut_way(path, "farther", far_away);
    pytheus_registry *r =
        redis_registry(&(pytheus_redis_desc){.unix_socket_path = path,
                                             .connect_timeout_ms = 200,
                                             .command_timeout_ms = 300,
                                             .flush_interval_ms = 50,
                                             .layout = "prometheus_redis_client"});
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .across = PYTHEUS_PER_PROCESS,
                            .expire_seconds = 6, .max_series = SERIES);
    for (int i = 0; i < SERIES; i++) {
        char a[16];
        snprintf(a, sizeof a, "%d", i);
        pytheus_gauge_set(pytheus_gauge_labels(g, "a", a), i);
    }
    redis_sleep_ms(8500);
    for (int i = 0; i < 5; i++) {
        redis_sleep_ms(300);
        CHECK(strtol(ASK("DBSIZE"), NULL, 10) >= SERIES);
    }
    pytheus_registry_free(r);
    end_way(pid);
}

/* What was refused is tried again after 10 seconds: nothing of it may have been done before. */
TEST(what_was_refused_is_counted_once_and_takes_nothing_away) {
    NEED_REDIS();
    char path[96];
    pid_t pid = cut_way(path, "oom", behind_oom);
    pytheus_registry *cut_off =
        redis_registry(&(pytheus_redis_desc){SELDOM, .unix_socket_path = path});
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM});
    pytheus_counter c = COUNTER(cut_off, .name = "c"),
                    l = COUNTER(r, .name = "l", .required_labels = {"a"});
    pytheus_gauge g = GAUGE(r, .name = "g", .required_labels = {"a"}, .expire_seconds = 100);
    FLUSH(cut_off);
    (void)ASK("CONFIG", "SET", "maxmemory", "1");
    pytheus_counter_inc(c);
    CHECK_ERR(pytheus_flush(cut_off), PYTHEUS_ERR_BACKEND);
    (void)ASK("CONFIG", "SET", "maxmemory", "0");
    FLUSH(cut_off);
    FLUSH(cut_off);
    CHECK_STR(ASK("GET", "c"), "1");
    (void)ASK("SET", "g:expires", "x");
    pytheus_gauge_inc(pytheus_gauge_labels(g, "a", "1"));
    (void)ASK("SET", "l", "x");
    pytheus_counter_inc(pytheus_counter_labels(l, "a", "1"));
    FLUSH(r);
    pytheus_view_remove(pytheus_counter_labels(l, "a", "1").view);
    FLUSH(r);
    (void)ASK("DEL", "l", "g:expires");
    pytheus_counter_add(pytheus_counter_labels(l, "a", "1"), 7);
    FLUSH(r);
    CHECK_STR(ASK("HGET", "l", "{\"a\": \"1\"}"), "7");
    redis_sleep_ms(10100);
    FLUSH(cut_off);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "1");
    CHECK_STR(ASK("HGET", "g", "{\"a\": \"1\"}"), "1");
    CHECK_STR(ASK("HGET", "l", "{\"a\": \"1\"}"), "7");
    pytheus_registry_free(cut_off);
    pytheus_registry_free(r);
    end_way(pid);
}

/* -- servers that are none -- */

static void impostor(int listener, const char *answer, int pause_ms) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char question[4096];
        signal(SIGPIPE, SIG_IGN);
        while (client >= 0 && read(client, question, sizeof question) > 0)
            for (const char *at = answer; *at; at++) {
                if (write(client, at, 1) != 1)
                    break;
                if (pause_ms)
                    redis_sleep_ms(pause_ms);
            }
        close(client);
    }
}

TEST(answers_that_are_none) {
    static const char *const answers[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                          "*1000000000\r\n$1000000000\r\n",
                                          "+OK\r\n",
                                          "\r\n",
                                          "$-5\r\n",
                                          ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n:7\r\n",
                                          "-ERR no\r\n-ERR no\r\n-ERR no\r\n-ERR no\r\n",
                                          "+OK\r\n$3\r\nabc\r\n+OK\r\n$5\r\nseven\r\n",
                                          "*-1\r\n*-1\r\n*-1\r\n*-1\r\n"};
    NEED_REDIS();
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        char path[96];
        pytheus_backend backend;
        snprintf(path, sizeof path, "%s/impostor%lu", redis_folder, (unsigned long)i);
        int listener = proxy_open(path, true);
        pid_t pid = fork();
        if (pid == 0)
            impostor(listener, answers[i], 0);
        close(listener);
        pytheus_err err =
            pytheus_redis_backend(&(pytheus_redis_desc){QUICK, .unix_socket_path = path,
                                                        .logger = {fixture_remember, NULL}},
                                  &backend);
        if (!err) {
            pytheus_registry *r = pytheus_registry_new(
                &(pytheus_registry_desc){.backend = &backend, .logger = {fixture_remember, NULL}});
            pytheus_counter c = COUNTER(r, .name = "c");
            counting_is_undisturbed(c, 10);
            CHECK(pytheus_flush(r) != PYTHEUS_OK);
            CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
            pytheus_registry_free(r);
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
}

/* What is answered to commands that begin so, by the last that fits; to others OK. */
typedef struct answer {
    const char *question, *text;
} answer;

static void answering(int listener, const answer *answers, size_t n) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        char question[65536];
        ssize_t size;
        while ((size = read(client, question, sizeof question - 1)) > 0) {
            question[size] = '\0';
            for (const char *at = question; (at = strchr(at, '*')) != NULL; at++) {
                const char *verb = strchr(at, '$'), *text = "+OK\r\n";
                verb = verb ? strchr(verb, '\n') : NULL;
                for (size_t i = 0; verb && i < n; i++)
                    if (!strncmp(verb + 1, answers[i].question, strlen(answers[i].question)))
                        text = answers[i].text;
                (void)!send(client, text, strlen(text), MSG_NOSIGNAL);
            }
        }
        close(client);
    }
}

static pid_t answering_way(char path[96], const char *name, const answer *answers, size_t n) {
    snprintf(path, 96, "%s/%s", redis_folder, name);
    int listener = proxy_open(path, true);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        answering(listener, answers, n);
    close(listener);
    return pid;
}

/* In the place of a field there is a number, and what comes before it is of a smaller metric. */
TEST(a_hash_without_a_field_is_left_out) {
    static const answer answers[] = {
        {"EXEC\r\n", "*0\r\n"},
        {"GET\r\n", "$-1\r\n"},
        {"HGETALL\r\n", "*2\r\n:1\r\n$1\r\n7\r\n"},
        {"HGETALL\r\n$1\r\na\r\n", "*2\r\n$10\r\n{\"l\": \"x\"}\r\n$1\r\n1\r\n"},
    };
    NEED_REDIS();
    char path[96];
    pid_t pid = answering_way(path, "fieldless", answers, COUNT_OF(answers));
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM, .unix_socket_path = path});
    COUNTER(r, .name = "a", .required_labels = {"l"});
    HISTOGRAM(r, .name = "b", .required_labels = {"l"});
    CHECK_REDIS_PAGE(r, "# TYPE a counter\na{l=\"x\"} 1\n# TYPE b histogram\n");
    pytheus_registry_free(r);
    end_way(pid);
}

#define PROCESS "*2\r\n$12\r\ng {\"l\": \"x\"}\r\n$3\r\n1 1\r\n"
#define PROCESSES PROCESS PROCESS PROCESS PROCESS PROCESS PROCESS PROCESS PROCESS PROCESS

TEST(more_processes_than_were_asked_for) {
    static const answer answers[] = {{"EXEC\r\n", "*0\r\n"},
                                     {"GET\r\n", "$-1\r\n"},
                                     {"INCR\r\n", ":1\r\n"},
                                     {"SMEMBERS\r\n", "*1\r\n$1\r\n1\r\n"},
                                     {"HGETALL\r\n", PROCESSES PROCESSES}};
    NEED_REDIS();
    char path[96];
    pid_t pid = answering_way(path, "crowded", answers, COUNT_OF(answers));
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){SELDOM, .unix_socket_path = path});
    GAUGE(r, .name = "g", .required_labels = {"l"}, .across = PYTHEUS_PER_PROCESS);
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK(strstr(pytheus_last_error(), "more answers than questions") != NULL);
    pytheus_registry_free(r);
    end_way(pid);
}

static void *flush_with_an_error(void *r) {
    CHECK_ERR(pytheus_flush((pytheus_registry *)r), PYTHEUS_ERR_BACKEND);
    return NULL;
}

TEST(transactions_that_are_always_void_take_no_stack) {
    static const answer answers[] = {{"EXEC\r\n", "*-1\r\n"}, {"GET\r\n", "$-1\r\n"}};
    NEED_REDIS();
    char path[96];
    pthread_attr_t small;
    pthread_t thread;
    pid_t pid = answering_way(path, "voiding", answers, COUNT_OF(answers));
    pytheus_registry *r =
        redis_registry(&(pytheus_redis_desc){.command_timeout_ms = 1500, .unix_socket_path = path});
    COUNTER(r, .name = "c");
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    CHECK_INT(pthread_create(&thread, &small, flush_with_an_error, r), 0);
    pthread_join(thread, NULL);
    pthread_attr_destroy(&small);
    pytheus_registry_free(r);
    end_way(pid);
}

TEST(a_slow_redis_is_not_waited_for) {
    NEED_REDIS();
    char path[96];
    snprintf(path, sizeof path, "%s/slow", redis_folder);
    int listener = proxy_open(path, true);
    pid_t pid = fork();
    if (pid == 0)
        impostor(listener, "+OK\r\n$20\r\n# cluster_enabled:0\n\r\n+OK\r\n$-1\r\n", 50);
    close(listener);
    double began = redis_seconds();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK, .unix_socket_path = path});
    pytheus_counter c = COUNTER(r, .name = "c");
    CHECK(redis_seconds() - began < 1.5);
    counting_is_undisturbed(c, 100);
    began = redis_seconds();
    CHECK(pytheus_generate(r, PYTHEUS_TEXT, NULL) == NULL);
    CHECK(redis_seconds() - began < 1.5);
    pytheus_registry_free(r);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

TEST(a_closed_connection_raises_no_signal) {
    NEED_REDIS();
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){.port = 0});
    pytheus_counter c = COUNTER(r, .name = "c");
    signal(SIGPIPE, SIG_DFL);
    for (int i = 1; i <= 20; i++) {
        pytheus_counter_inc(c);
        FLUSH(r);
        (void)ASK("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    }
    pytheus_counter_inc(c);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "21");
    pytheus_registry_free(r);
}

/* -- an outage takes no memory -- */

static long resident_kb(void) {
    long pages = 0, all = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    if (f)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

TEST(memory_does_not_grow_while_redis_is_away) {
    NEED_REDIS();
    const double seconds = is_long() ? 300 : 2;
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){QUICK});
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .required_labels = {"x"});
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_histogram series[50];
    long before, after, counted = 0;
    for (int i = 0; i < 50; i++) {
        char x[16];
        snprintf(x, sizeof x, "%d", i);
        series[i] = pytheus_histogram_labels(h, "x", x);
    }
    FLUSH(r);
    redis_end(true);
    redis_sleep_ms(200);
    before = resident_kb();
    for (double began = redis_seconds(); redis_seconds() - began < seconds; counted += 50) {
        for (int i = 0; i < 50; i++) {
            pytheus_histogram_observe(series[i], 0.3);
            pytheus_counter_inc(c);
        }
        usleep(100);
    }
    after = resident_kb();
#ifndef UNDER_TSAN
    CHECK(after - before < 1024);
#endif
    (void)before;
    (void)after;
    CHECK(redis_launch(NULL, NULL));
    FLUSH(r);
    CHECK_INT(strtol(ASK("GET", "c"), NULL, 10), counted);
    CHECK_INT(strtol(ASK("HGET", "h:+Inf", "{\"x\": \"7\"}"), NULL, 10), counted / 50);
    pytheus_registry_free(r);
}

/* -- a way that loses things -- */

static void flush_until_it_works(pytheus_registry *r) {
    for (int i = 0; i < 500 && pytheus_flush(r); i++)
        redis_sleep_ms(5);
}

#define CLIENT_LAYOUT "prometheus_redis_client"

/* Counts and observes; then, unless it is killed before, says that all has come. */
static void worker(const char *layout, int increments, int observations) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pytheus_registry *r = redis_registry(
        &(pytheus_redis_desc){QUICK, .unix_socket_path = proxy_socket, .layout = layout});
    pytheus_counter c = COUNTER(r, .name = "hits", .required_labels = {"by"});
    pytheus_histogram h =
        HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2);
    pytheus_counter all = pytheus_counter_labels(c, "by", "all");
    for (int i = 0; i < increments; i++) {
        pytheus_counter_inc(all);
        if (i % (increments / observations) == 0)
            pytheus_histogram_observe(h, 1.5);
        if (i % 500 == 499)
            usleep(1000);
    }
    flush_until_it_works(r);
    _exit(pytheus_flush(r) == PYTHEUS_OK || pytheus_flush(r) == PYTHEUS_OK ||
                  pytheus_flush(r) == PYTHEUS_OK
              ? 0
              : 1);
}

static void totals_are_exact(const char *layout, int percent, int processes, int increments,
                             int observations, int restarts) {
    pid_t pids[16];
    (void)ASK("FLUSHALL");
    if (!CHECK(proxy_start(percent)))
        return;
    for (int i = 0; i < processes; i++) {
        fflush(NULL);
        pids[i] = fork();
        if (pids[i] == 0)
            worker(layout, increments, observations);
    }
    for (int i = 0; i < restarts; i++) {
        redis_sleep_ms(is_long() ? 3000 : 150);
        redis_end(true);
        redis_sleep_ms(50);
        CHECK(redis_launch(NULL, NULL));
    }
    for (int i = 0; i < processes; i++) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        CHECK_INT(status, 0);
    }
    proxy_stop();
    if (layout) {
        CHECK_INT(strtol(ASK("GET", "hits:eyJieSI6ICJhbGwifQ=="), NULL, 10),
                  (long)processes * increments);
        CHECK_INT(strtol(ASK("GET", "h_bucket:eyJsZSI6IDJ9"), NULL, 10),
                  (long)processes * observations);
        CHECK_INT(strtol(ASK("GET", "h_count:e30="), NULL, 10), (long)processes * observations);
        CHECK_DOUBLE(strtod(ASK("GET", "h_sum:e30="), NULL), 1.5 * processes * observations);
        return;
    }
    CHECK_INT(strtol(ASK("HGET", "hits", "{\"by\": \"all\"}"), NULL, 10),
              (long)processes * increments);
    CHECK_INT(strtol(ASK("GET", "h:+Inf"), NULL, 10), (long)processes * observations);
    CHECK_INT(strtol(ASK("GET", "h:count"), NULL, 10), (long)processes * observations);
    CHECK_DOUBLE(strtod(ASK("GET", "h:sum"), NULL), 1.5 * processes * observations);
}

TEST(a_lossy_way_loses_and_doubles_nothing) {
    NEED_REDIS();
    if (is_long()) {
        totals_are_exact(NULL, 1, 8, 125000, 12500, 2);
        totals_are_exact(NULL, 5, 8, 125000, 12500, 2);
        totals_are_exact(NULL, 20, 8, 125000, 12500, 2);
        totals_are_exact(CLIENT_LAYOUT, 20, 8, 125000, 12500, 2);
    } else {
        totals_are_exact(NULL, 20, 4, 20000, 2000, 2);
        totals_are_exact(CLIENT_LAYOUT, 20, 4, 20000, 2000, 2);
    }
}

/* Of the killed at most what they had not sent is missing, and nothing is there twice. */
TEST(killed_workers_lose_at_most_what_they_had_not_sent) {
    NEED_REDIS();
    const int processes = 8, each = 200000;
    pid_t pids[8];
    uint64_t random = 7;
    if (!CHECK(proxy_start(5)))
        return;
    for (int i = 0; i < processes; i++) {
        fflush(NULL);
        pids[i] = fork();
        if (pids[i] == 0)
            worker(NULL, each, each / 10);
    }
    for (int i = 0; i < processes; i += 2) {
        redis_sleep_ms((int)(check_random(&random) % 100));
        kill(pids[i], SIGKILL);
    }
    for (int i = 0; i < processes; i++) {
        int status = 0;
        waitpid(pids[i], &status, 0);
        CHECK(i % 2 == 0 || status == 0);
    }
    proxy_stop();
    long total = strtol(ASK("HGET", "hits", "{\"by\": \"all\"}"), NULL, 10);
    CHECK(total >= (long)processes / 2 * each);
    CHECK(total < (long)processes * each);
}

/* Carries everything, but holds up transactions for so long, on each connection its own time. */
static void holding(int listener, const int *holds_ms, int n) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0;; i++) {
        int client = accept(listener, NULL, NULL), server = proxy_open(redis_socket, false);
        struct pollfd ready[2] = {{.fd = client, .events = POLLIN},
                                  {.fd = server, .events = POLLIN}};
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
        } else {
            close(client);
            close(server);
            continue;
        }
        for (bool open = true; open && poll(ready, 2, -1) > 0;) {
            char piece[65536];
            bool asks = ready[0].revents != 0;
            ssize_t size = read(ready[!asks].fd, piece, sizeof piece);
            if (asks && size > 0 && memmem(piece, (size_t)size, "$3\r\nSET\r\n", 9) && i < n)
                redis_sleep_ms(holds_ms[i]);
            /* a client that has gone does not stop what was on its way */
            open =
                size > 0 && (send(ready[asks].fd, piece, (size_t)size, MSG_NOSIGNAL) > 0 || !asks);
        }
        redis_sleep_ms(200);
        _exit(0);
    }
}

/* The greeting when the backend is made is a connection too. */
static void late_copy(int first_ms, int second_ms) {
    const int holds_ms[] = {0, first_ms, second_ms};
    char path[96];
    (void)ASK("FLUSHALL");
    snprintf(path, sizeof path, "%s/holding", redis_folder);
    unlink(path);
    int listener = proxy_open(path, true);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        holding(listener, holds_ms, 3);
    }
    close(listener);
    setpgid(pid, pid);
    pytheus_registry *r = redis_registry(&(pytheus_redis_desc){
        .unix_socket_path = path, .command_timeout_ms = 300, .connect_timeout_ms = 100});
    pytheus_counter_add(COUNTER(r, .name = "hits"), 100);
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND); /* no answer in time */
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    redis_sleep_ms(600);
    CHECK_STR(ASK("GET", "hits"), "100");
    CHECK_ERR(pytheus_flush(r), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "hits"), "100");
    pytheus_registry_free(r);
    kill(-pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

TEST(a_copy_that_comes_late_counts_nothing) {
    NEED_REDIS();
    late_copy(700, 0);   /* after the second one was done */
    late_copy(500, 250); /* while the second one is on its way */
}
