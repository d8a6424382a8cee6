/* Several programs, one page. With a redis-server at a socket or port, start it twice or more:
 *
 *     redis unix:///run/redis/redis.sock anna
 *     redis redis://10.0.0.7:6379 ben
 *
 * Each counts a few page hits under its own name, and under the name of all, and then prints the
 * page, where the hits of all are. What is counted only changes memory; it is sent before the page,
 * every second, and at exit. Link with -lhiredis. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"

int main(int argc, char **argv) {
    char config[512];
    if (argc != 3) {
        fprintf(stderr, "usage: redis URL NAME\n");
        return 2;
    }
    snprintf(config, sizeof config, "{\"url\": \"%s\", \"key_prefix\": \"example\"}", argv[1]);
    if (pytheus_load_backend("redis", config)) {
        return 1;
    }
    pytheus_counter hits = pytheus_counter_new(&(pytheus_desc){
        .name = "page_hits_total",
        .help = "Visits, by who has served them.",
        .required_labels = {"by"},
    });
    pytheus_histogram latency = pytheus_histogram_new(&(pytheus_desc){
        .name = "page_latency_seconds",
        .help = "Time to serve a page.",
        .buckets = (const double[]){0.1, 1},
        .num_buckets = 2,
    });
    pytheus_gauge workers = pytheus_gauge_new(&(pytheus_desc){
        .name = "workers",
        .help = "Programs that are running.",
        .across = PYTHEUS_SUM,
    });

    pytheus_gauge_set(workers, 1);
    for (int i = 0; i < 3; i++) {
        pytheus_counter_inc(pytheus_counter_labels(hits, "by", argv[2]));
        pytheus_counter_inc(pytheus_counter_labels(hits, "by", "all"));
        pytheus_histogram_observe(latency, 0.25 * i);
    }
    return pytheus_write_stream(pytheus_default(), PYTHEUS_TEXT, stdout) != PYTHEUS_OK;
}
