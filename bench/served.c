/* A page of 100,000 series over HTTP, beside the same page written into a socket by pytheus_write,
   and into nothing. Milliseconds; the page is not compressed. */
#include "harness.h"
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"

#include <arpa/inet.h>
#include <sys/socket.h>

enum { NUM_SERIES = 100000, NUM_PAGES = 5 };

static pytheus_counter make_series(void) {
    pytheus_counter served =
        pytheus_counter_new(&(pytheus_desc){.name = "served_requests_total",
                                            .required_labels = {"method", "id"},
                                            .max_series = 2 * NUM_SERIES});
    for (int i = 0; i < NUM_SERIES; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        pytheus_counter_add(pytheus_counter_labels(served, "method", "GET", "id", id), i);
    }
    return served;
}

/* ---- a reader of sockets ---- */

static int connected(uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    harness_expect(connect(s, (struct sockaddr *)&address, sizeof address) == 0, "no connection");
    return s;
}

static size_t read_all(int s) {
    static char bytes[1 << 18];
    size_t size = 0;
    ssize_t n;
    while ((n = recv(s, bytes, sizeof bytes, 0)) > 0)
        size += (size_t)n;
    harness_expect(n == 0, "the page breaks off");
    close(s);
    return size;
}

/* ---- the three ways ---- */

static pytheus_err count(void *user, const char *bytes, size_t size) {
    (void)bytes;
    *(size_t *)user += size;
    return PYTHEUS_OK;
}

static size_t page_size(void) {
    size_t size = 0;
    pytheus_sink sink = {count, &size};
    harness_expect(pytheus_write(NULL, PYTHEUS_TEXT, &sink) == PYTHEUS_OK, "no page");
    return size;
}

static pytheus_err put_in_socket(void *user, const char *bytes, size_t size) {
    while (size) {
        ssize_t n = send(*(int *)user, bytes, size, 0);
        if (n <= 0)
            return PYTHEUS_ERR_IO;
        bytes += n;
        size -= (size_t)n;
    }
    return PYTHEUS_OK;
}

static void *write_to_next(void *listener) {
    int s = accept(*(int *)listener, NULL, NULL);
    pytheus_sink sink = {put_in_socket, &s};
    harness_expect(pytheus_write(NULL, PYTHEUS_TEXT, &sink) == PYTHEUS_OK, "no page");
    close(s);
    return NULL;
}

static size_t socket_page(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    pthread_t writer;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    harness_expect(bind(listener, (struct sockaddr *)&address, size) == 0 &&
                       listen(listener, 1) == 0 &&
                       getsockname(listener, (struct sockaddr *)&address, &size) == 0 &&
                       pthread_create(&writer, NULL, write_to_next, &listener) == 0,
                   "no socket");
    size_t read = read_all(connected(ntohs(address.sin_port)));
    pthread_join(writer, NULL);
    close(listener);
    return read;
}

static pytheus_http *server;

static size_t served_page(void) {
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    int s = connected((uint16_t)pytheus_http_port(server));
    harness_expect(send(s, request, sizeof request - 1, 0) == (ssize_t)sizeof request - 1,
                   "no request");
    return read_all(s);
}

/* ---- */

static double milliseconds(size_t (*page)(void), size_t least) {
    double start = harness_now();
    harness_expect(page() >= least, "the page is too short");
    return (harness_now() - start) / 1e6;
}

int main(void) {
    double nowhere[NUM_PAGES], plain[NUM_PAGES], served[NUM_PAGES];
    pytheus_counter metric = make_series();
    size_t least = page_size();
    harness_expect(metric.view.node != NULL, "no metric");
    server = pytheus_http_start(&(pytheus_http_desc){.port = 0});
    harness_expect(server != NULL, pytheus_last_error());
    for (int i = 0; i < NUM_PAGES; i++) {
        nowhere[i] = milliseconds(page_size, least);
        plain[i] = milliseconds(socket_page, least);
        served[i] = milliseconds(served_page, least);
    }
    pytheus_http_stop(server);
    printf("served-100000\tpytheus.h\t%.4g\n", harness_median(served, NUM_PAGES));
    printf("served-100000\tfloor\t%.4g\n", harness_median(plain, NUM_PAGES));
    printf("written-100000\tpytheus.h\t%.4g\n", harness_median(nowhere, NUM_PAGES));
    return 0;
}
