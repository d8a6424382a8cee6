/* The Redis backend beside the bare operation, one round: what counts in memory beside the
   library's own, flushes and pages beside hiredis sending and reading the same in one pipeline.
   REDIS_SOCKET is where the server is (tests/on_redis). */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "harness.h"

static redisContext *line;

static void ask(const char *command) {
    redisReply *reply = (redisReply *)redisCommand(line, command);
    harness_expect(reply != NULL, "Redis does not answer");
    freeReplyObject(reply);
}

static void take_replies(size_t n) {
    void *reply = NULL;
    while (n-- > 0) {
        harness_expect(redisGetReply(line, &reply) == REDIS_OK, "Redis does not answer");
        freeReplyObject(reply);
    }
}

static pytheus_registry *registry_in_redis(void) {
    pytheus_backend backend;
    pytheus_err err =
        pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = getenv("REDIS_SOCKET"),
                                                    .flush_interval_ms = 3600 * 1000,
                                                    .command_timeout_ms = 60000},
                              &backend);
    harness_expect(!err, pytheus_last_error());
    return pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
}

/* -- counting -- */

static void inc(void *user, unsigned thread, size_t num_ops) {
    pytheus_counter counter = *(pytheus_counter *)user;
    (void)thread;
    while (num_ops-- > 0)
        (void)pytheus_counter_inc(counter);
}

static void observe(void *user, unsigned thread, size_t num_ops) {
    pytheus_histogram histogram = *(pytheus_histogram *)user;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        (void)pytheus_histogram_observe(histogram, (double)(i % 64) * 0.17);
}

static void compare(const char *name, harness_loop *ours, void *our_user, harness_loop *floor,
                    void *floor_user) {
    harness_side sides[] = {{"pytheus.h", {.loop = ours, .user = our_user}},
                            {"floor", {.loop = floor, .user = floor_user}}};
    harness_compare(name, sides, 2);
}

static void bench_counting(void) {
    pytheus_registry *there = registry_in_redis(), *here = pytheus_registry_new(NULL);
    pytheus_desc counter = {.name = "c", .registry = there},
                 histogram = {.name = "h", .registry = there};
    pytheus_counter c = pytheus_counter_new(&counter);
    pytheus_histogram h = pytheus_histogram_new(&histogram);
    counter.registry = histogram.registry = here;
    pytheus_counter own_c = pytheus_counter_new(&counter);
    pytheus_histogram own_h = pytheus_histogram_new(&histogram);
    compare("redis-inc", inc, &c, inc, &own_c);
    compare("redis-observe", observe, &h, observe, &own_h);
    pytheus_registry_free(there);
    pytheus_registry_free(here);
}

/* -- flushes and pages: they wait for the server, which the harness would take for a
      disturbance -- */

enum { TURNS = 9 };

static void take_turns(const char *name, harness_loop *ours, harness_loop *floor, void *user,
                       size_t num_ops, double parts) {
    double times[2][TURNS];
    for (int i = 0; i < 2 * TURNS; i++) {
        double began = harness_now();
        (i % 2 ? floor : ours)(user, 0, num_ops);
        times[i % 2][i / 2] = (harness_now() - began) / ((double)num_ops * parts);
    }
    harness_print(name, "pytheus.h", harness_median(times[0], TURNS));
    harness_print(name, "floor", harness_median(times[1], TURNS));
}

typedef struct shop {
    pytheus_registry *registry;
    pytheus_counter *series;
    size_t n;
} shop;

static void label_of(char text[32], size_t i) {
    snprintf(text, 32, "/api/items/%06lu", (unsigned long)i);
}

static void flush(void *user, unsigned thread, size_t num_ops) {
    shop *s = (shop *)user;
    (void)thread;
    while (num_ops-- > 0) {
        for (size_t i = 0; i < s->n; i++)
            (void)pytheus_counter_inc(s->series[i]);
        harness_expect(!pytheus_flush(s->registry), "the flush failed");
    }
}

static void raw_flush(void *user, unsigned thread, size_t num_ops) {
    shop *s = (shop *)user;
    (void)thread;
    while (num_ops-- > 0) {
        for (size_t i = 0; i < s->n; i++) {
            char text[32], field[96];
            label_of(text, i);
            snprintf(field, sizeof field, "{\"method\": \"GET\", \"path\": \"%s\"}", text);
            redisAppendCommandArgv(
                line, 4, (const char *[]){"HINCRBYFLOAT", "http_requests_total", field, "1"}, NULL);
            if (i % 1000 == 999)
                take_replies(1000);
        }
        take_replies(s->n % 1000);
    }
}

static pytheus_err drop(void *user, const char *bytes, size_t size) {
    *(size_t *)user += size + (size_t)bytes[0] % 2;
    return PYTHEUS_OK;
}

static void scrape(void *user, unsigned thread, size_t num_ops) {
    shop *s = (shop *)user;
    size_t all = 0;
    (void)thread;
    while (num_ops-- > 0)
        harness_expect(!pytheus_write(s->registry, PYTHEUS_TEXT, &(pytheus_sink){drop, &all}),
                       "the page failed");
    harness_keep(all);
}

static void raw_scrape(void *user, unsigned thread, size_t num_ops) {
    (void)user;
    (void)thread;
    while (num_ops-- > 0) {
        redisAppendCommand(line, "HGETALL http_requests_total");
        redisAppendCommand(line, "EXPIRE http_requests_total 3600");
        take_replies(2);
    }
}

static void bench_shop(size_t n, const char *flush_name, const char *scrape_name) {
    shop s = {.registry = registry_in_redis(), .n = n};
    pytheus_counter c = pytheus_counter_new(&(pytheus_desc){.name = "http_requests_total",
                                                            .required_labels = {"method", "path"},
                                                            .max_series = n + 10,
                                                            .registry = s.registry});
    s.series = (pytheus_counter *)malloc(n * sizeof *s.series);
    harness_expect(s.series != NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char text[32];
        label_of(text, i);
        s.series[i] = pytheus_counter_labels(c, "method", "GET", "path", text);
    }
    flush(&s, 0, 1);
    take_turns(flush_name, flush, raw_flush, &s, 1 + 10000 / n, (double)n);
    take_turns(scrape_name, scrape, raw_scrape, &s, 1 + 20000 / n, (double)n);
    pytheus_registry_free(s.registry);
    free(s.series);
    ask("FLUSHALL");
}

int main(void) {
    harness_init();
    line = redisConnectUnix(getenv("REDIS_SOCKET"));
    harness_expect(line && !line->err, "no Redis at REDIS_SOCKET");
    bench_counting();
    bench_shop(1000, "redis-flush-1000", "redis-scrape-1000");
    bench_shop(100000, "redis-flush-100000", "redis-scrape-100000");
    redisFree(line);
    return 0;
}
