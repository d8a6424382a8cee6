/* A master and four workers on one socket. Whichever worker answers a scrape, the page is that of
 * all: what they have counted together, and what each of them takes of the machine.
 *     prefork [port [directory]]
 *     curl http://127.0.0.1:8080/metrics */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_FILE_IMPLEMENTATION
#include "pytheus_file.h"
#define PYTHEUS_PROCESS_IMPLEMENTATION
#include "pytheus_process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { WORKERS = 4 };

static pytheus_counter requests, restarts;
static pytheus_histogram duration;
static pytheus_gauge active, last_request;
static volatile sig_atomic_t stopping;

/* In the master: the workers inherit the handles, and count with them in the same file. */
static void define_metrics(void) {
    requests = pytheus_counter_new(&(pytheus_desc){
        .name = "http_requests_total",
        .help = "Requests answered.",
        .required_labels = {"path"},
    });
    restarts = pytheus_counter_new(&(pytheus_desc){
        .name = "worker_restarts_total",
        .help = "Workers started in the place of one that died.",
    });
    duration = pytheus_histogram_new(&(pytheus_desc){
        .name = "http_request_duration_seconds",
        .help = "Time to answer.",
    });
    active = pytheus_gauge_new(&(pytheus_desc){
        .name = "http_requests_active",
        .help = "Requests being answered, in all workers.",
        .across = PYTHEUS_SUM,
    });
    last_request = pytheus_gauge_new(&(pytheus_desc){
        .name = "worker_last_request_timestamp_seconds",
        .help = "When each worker last answered.",
        .across = PYTHEUS_PER_PROCESS,
    });
    (void)pytheus_process_register(NULL); /* process_cpu_seconds_total{pid="..."} and others */
}

static void send_all(int client, const char *bytes, size_t size) {
    while (size) {
        ssize_t sent = send(client, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void answer(int client, const char *type, const char *body, size_t size) {
    char head[200];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n",
                     type, size);
    send_all(client, head, (size_t)n);
    send_all(client, body, size);
}

static void answer_with_page(int client) {
    size_t size;
    char *page = pytheus_generate(NULL, PYTHEUS_TEXT, &size);
    if (page) {
        answer(client, pytheus_content_type(PYTHEUS_TEXT), page, size);
    }
    pytheus_free(page);
}

static void serve(int client) {
    char request[2048];
    ssize_t n = recv(client, request, sizeof request - 1, 0);
    if (n <= 0) {
        return;
    }
    request[n] = '\0';
    if (strncmp(request, "GET /metrics ", 13) == 0) {
        answer_with_page(client);
        return;
    }
    PYTHEUS_TRACK_INPROGRESS(active) {
        PYTHEUS_TIME(duration) {
            /* Counted before the answer: who has seen the answer will find it on the page. */
            pytheus_counter_inc(pytheus_counter_labels(requests, "path", "/"));
            answer(client, "text/plain", "hello\n", 6);
            pytheus_gauge_set_to_current_time(last_request);
        }
    }
}

static void work(int listener) {
    while (!stopping) {
        int client = accept(listener, NULL, NULL);
        if (client >= 0) {
            serve(client);
            close(client);
        }
    }
}

static pid_t start_worker(int listener) {
    pid_t worker = fork();
    if (!worker) {
        work(listener);
        _exit(0);
    }
    return worker;
}

static int listen_on(uint16_t *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 512) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        return -1;
    }
    *port = ntohs(address.sin_port);
    return listener;
}

static void stop(int number) {
    (void)number;
    stopping = 1;
}

/* Until it is told to stop: a worker that dies is replaced. What it has counted stays. */
static void watch_over(int listener, pid_t *workers) {
    int i;
    while (!stopping) {
        pid_t dead = wait(NULL);
        for (i = 0; i < WORKERS && !stopping; i++) {
            if (workers[i] == dead) {
                pytheus_counter_inc(restarts);
                workers[i] = start_worker(listener);
            }
        }
    }
    for (i = 0; i < WORKERS; i++) {
        kill(workers[i], SIGTERM);
        waitpid(workers[i], NULL, 0);
    }
}

int main(int argc, char **argv) {
    uint16_t port = (uint16_t)(argc > 1 ? atoi(argv[1]) : 8080);
    const char *directory = argc > 2 ? argv[2] : "/dev/shm/prefork";
    struct sigaction stops = {.sa_handler = stop};
    char config[300];
    pid_t workers[WORKERS];

    (void)mkdir(directory, 0700);
    snprintf(config, sizeof config, "{\"pytheus_file_directory\": \"%s\"}", directory);
    int listener = listen_on(&port);
    if (listener < 0 || pytheus_load_backend("file", config)) {
        fprintf(stderr, "prefork: %s\n", listener < 0 ? "no such port" : pytheus_last_error());
        return 1;
    }
    define_metrics();
    sigaction(SIGTERM, &stops, NULL);
    sigaction(SIGINT, &stops, NULL);
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = start_worker(listener);
    }
    printf("serving http://127.0.0.1:%u\n", (unsigned)port);
    fflush(stdout);

    watch_over(listener, workers);
    pytheus_registry_free(pytheus_default());
    printf("stopped\n");
    return 0;
}
