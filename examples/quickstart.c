/* A small service that measures itself:
 *
 *     /          answers at once
 *     /slow      answers after 3 seconds, which lands in the higher buckets
 *     /metrics   what Prometheus scrapes
 *
 * quickstart [port] serves on 127.0.0.1, port 8080 unless told otherwise, until SIGINT or SIGTERM.
 * Needs libmicrohttpd and zlib: cc -I.. quickstart.c -lmicrohttpd -lz -pthread */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#define PYTHEUS_HTTP_NO_SERVER /* this program is one */
#include "pytheus_http.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#if MHD_VERSION >= 0x00097002
typedef enum MHD_Result answered;
#else
typedef int answered;
#endif

static pytheus_histogram request_time, page_time;

static void define_metrics(void) {
    request_time = pytheus_histogram_new(&(pytheus_desc){
        .name = "http_request_duration_seconds",
        .help = "Time to answer a request.",
    });
    page_time = pytheus_histogram_new(&(pytheus_desc){
        .name = "page_visits_latency_seconds_labeled",
        .help = "Time to answer a visit, by the speed of the page.",
        .required_labels = {"speed"},
        .default_labels = {{"speed", "normal"}},
    });
}

static answered say(struct MHD_Connection *connection, const char *text) {
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    answered result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static answered home(struct MHD_Connection *connection) {
    PYTHEUS_TIME_SCOPE(request_time);
    PYTHEUS_TIME_SCOPE(page_time);
    return say(connection, "hello world!\n");
}

static answered slow(struct MHD_Connection *connection) {
    PYTHEUS_TIME_SCOPE(request_time);
    PYTHEUS_TIME_SCOPE(pytheus_histogram_labels(page_time, "speed", "slow"));
    nanosleep(&(struct timespec){.tv_sec = 3}, NULL);
    return say(connection, "hello world! from slow!\n");
}

/* ---- everything else is the library's: /metrics, and what is not there ---- */

/* A request: its first line has come. */
typedef struct visit {
    bool has_head;
    char accept[1000], accept_encoding[1000], scrape_timeout[50];
    char target[];
} visit;

static void *begin_visit(void *unused, const char *target, struct MHD_Connection *connection) {
    (void)unused, (void)connection;
    visit *v = calloc(1, sizeof *v + strlen(target) + 1);
    return v ? strcpy(v->target, target), v : NULL;
}

static void end_visit(void *unused, struct MHD_Connection *connection, void **state,
                      enum MHD_RequestTerminationCode code) {
    (void)unused, (void)connection, (void)code;
    free(*state);
    *state = NULL;
}

/* A header that comes several times is one; what has no room is left out. */
static void join(char *text, size_t room, const char *value) {
    size_t used = strlen(text);
    if (used + strlen(value) + 3 <= room)
        snprintf(text + used, room - used, "%s%s", used ? ", " : "", value);
}

static answered read_header(void *state, enum MHD_ValueKind kind, const char *name,
                            const char *value) {
    visit *v = state;
    (void)kind;
    if (value && !strcasecmp(name, MHD_HTTP_HEADER_ACCEPT))
        join(v->accept, sizeof v->accept, value);
    if (value && !strcasecmp(name, MHD_HTTP_HEADER_ACCEPT_ENCODING))
        join(v->accept_encoding, sizeof v->accept_encoding, value);
    if (value && !strcasecmp(name, "X-Prometheus-Scrape-Timeout-Seconds"))
        join(v->scrape_timeout, sizeof v->scrape_timeout, value);
    return MHD_YES;
}

typedef struct page {
    pytheus_http_head head;
    FILE *body;
} page;

static pytheus_err keep_head(void *user, const pytheus_http_head *head) {
    ((page *)user)->head = *head;
    return PYTHEUS_OK;
}

static pytheus_err keep_body(void *user, const char *bytes, size_t size) {
    return fwrite(bytes, 1, size, ((page *)user)->body) == size
               ? PYTHEUS_OK
               : pytheus_fail(PYTHEUS_ERR_NOMEM, "no memory for the page");
}

/* Takes the text. */
static answered give(struct MHD_Connection *connection, const pytheus_http_head *head, char *text,
                     size_t size) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        return free(text), MHD_NO;
    for (size_t i = 0; i < head->num_headers; i++)
        MHD_add_response_header(response, head->headers[i].name, head->headers[i].value);
    answered result = MHD_queue_response(connection, (unsigned)head->status, response);
    MHD_destroy_response(response);
    return result;
}

/* For HEAD libmicrohttpd leaves out the body itself, and tells the length of GET's. */
static answered metrics(struct MHD_Connection *connection, const char *method, visit *v) {
    static pytheus_http_site site;
    const pytheus_http_request request = {
        .method = strcmp(method, MHD_HTTP_METHOD_HEAD) ? method : MHD_HTTP_METHOD_GET,
        .target = v->target,
        .accept = v->accept,
        .accept_encoding = v->accept_encoding,
        .scrape_timeout = v->scrape_timeout,
    };
    MHD_get_connection_values(connection, MHD_HEADER_KIND, read_header, v);
    char *text = NULL;
    size_t size = 0;
    page kept = {.body = open_memstream(&text, &size)};
    if (!kept.body)
        return MHD_NO;
    pytheus_err err =
        pytheus_http_answer(&site, &request, &(pytheus_http_sink){keep_head, keep_body, &kept});
    if (!fclose(kept.body) && !err)
        return give(connection, &kept.head, text, size);
    free(text);
    return MHD_NO; /* which closes the connection */
}

static answered serve(void *unused, struct MHD_Connection *connection, const char *path,
                      const char *method, const char *version, const char *upload,
                      size_t *upload_size, void **state) {
    (void)unused, (void)version, (void)upload;
    visit *v = *state;
    if (!v)
        return MHD_NO;  /* no memory for it */
    if (!v->has_head) { /* the answer comes when all of the request is there */
        v->has_head = true;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    bool is_visit = !strcmp(method, MHD_HTTP_METHOD_GET) || !strcmp(method, MHD_HTTP_METHOD_HEAD);
    if (is_visit && !strcmp(path, "/"))
        return home(connection);
    if (is_visit && !strcmp(path, "/slow"))
        return slow(connection);
    return metrics(connection, method, v);
}

/* Each connection has a thread, so that a slow page holds up nobody. */
static struct MHD_Daemon *listen_on(uint16_t port) {
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return MHD_start_daemon(MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION, port,
                            NULL, NULL, serve, NULL, MHD_OPTION_SOCK_ADDR, &address,
                            MHD_OPTION_CONNECTION_LIMIT, 100u, MHD_OPTION_CONNECTION_TIMEOUT, 30u,
                            MHD_OPTION_URI_LOG_CALLBACK, begin_visit, NULL,
                            MHD_OPTION_NOTIFY_COMPLETED, end_visit, NULL, MHD_OPTION_END);
}

/* Port 0 means any that is free. */
static struct MHD_Daemon *listen_on_or_near(uint16_t port) {
    struct MHD_Daemon *daemon = listen_on(port);
    if (daemon)
        return daemon;
    fprintf(stderr, "port %u is not available; taking another one\n", (unsigned)port);
    return listen_on(0);
}

/* Before any thread starts, so that all of them leave these signals to sigwait. */
static void block(sigset_t *signals) {
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
}

int main(int argc, char **argv) {
    char *end = NULL;
    unsigned long port = argc > 1 ? strtoul(argv[1], &end, 10) : 8080;
    if (argc > 2 || (end && (*end || end == argv[1])) || port > 65535) {
        fprintf(stderr, "usage: quickstart [port]\n");
        return 2;
    }
    sigset_t signals;
    block(&signals);
    define_metrics();
    struct MHD_Daemon *daemon = listen_on_or_near((uint16_t)port);
    if (!daemon) {
        fprintf(stderr, "there is no port to listen on\n");
        return 1;
    }
    unsigned actual = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    printf("serving http://127.0.0.1:%u\n", actual);
    fflush(stdout);

    int number;
    sigwait(&signals, &number);
    MHD_stop_daemon(daemon); /* answers in the making are finished first */
    pytheus_registry_free(pytheus_default());
    printf("stopped\n");
    return 0;
}
