/* A program with a page that Prometheus scrapes, until ctrl-C:
 *
 *     http [port]        http://127.0.0.1:9100/metrics, unless told otherwise
 *
 * Needs libmicrohttpd and zlib: cc -I.. http.c -lmicrohttpd -lz -pthread */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"
#include <signal.h>

static volatile sig_atomic_t is_over;

static void end(int unused) {
    (void)unused;
    is_over = 1;
}

int main(int argc, char **argv) {
    pytheus_counter ticks = pytheus_counter_new(&(pytheus_desc){
        .name = "ticks_total",
        .help = "Seconds counted.",
    });
    pytheus_http *server = pytheus_http_start(&(pytheus_http_desc){
        .port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 9100),
    });
    if (!server) {
        fprintf(stderr, "%s\n", pytheus_last_error());
        return 1;
    }
    printf("serving %s\n", pytheus_http_url(server));
    fflush(stdout);

    signal(SIGINT, end);
    signal(SIGTERM, end);
    while (!is_over) {
        sleep(1);
        pytheus_counter_inc(ticks);
    }
    pytheus_http_stop(server);
    return 0;
}
