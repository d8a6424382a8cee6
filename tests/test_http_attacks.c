/* The server among strangers: thousands of slow, silent, half-closed and greedy connections, from
   one address and from many. Whoever asks properly, from another address, is answered within a
   second; the memory of the server is bounded, and nothing stays open. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"
#include "check.h"
#include "fixture.h"
#include "http_client.h"

#include <dirent.h>
#include <netinet/tcp.h>
#include <sys/wait.h>

/* Sanitizers keep what is freed, and everything of theirs. */
#define MEASURES_MEMORY !IS_SANITIZED

enum { SERIES = 20000, MOST_KB = 32 * 1024, SCRAPER = 1 };

/* ---- the server, in a process of its own ---- */

typedef struct victim {
    pid_t pid;
    int line; /* it ends when this is closed */
    unsigned port;
    int idle_kb, idle_descriptors;
} victim;

static void fill(pytheus_registry *registry, int n) {
    pytheus_gauge g =
        GAUGE(registry, .name = "load", .required_labels = {"i"}, .max_series = 1000000);
    for (int i = 0; i < n; i++) {
        char value[80];
        snprintf(value, sizeof value, "/a/path/that/is/somewhat/longer/than/the/others/%d", i);
        pytheus_gauge_set(pytheus_gauge_labels(g, "i", value), i / 7.0);
    }
}

static void serve(int port_to, int line, int num_series, pytheus_http_desc desc) {
    char byte;
    desc.site.registry = pytheus_registry_new(NULL);
    fill(desc.site.registry, num_series);
    pytheus_http *server = pytheus_http_start(&desc);
    unsigned port = pytheus_http_port(server);
    if (write(port_to, &port, sizeof port) != sizeof port)
        _exit(1);
    while (read(line, &byte, 1) > 0)
        ;
    pytheus_http_stop(server);
    pytheus_registry_free(desc.site.registry);
    _exit(server ? 0 : 2);
}

static int memory_kb(const victim *v) {
    char path[60], text[200];
    int kb = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)v->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(text, sizeof text, file))
        if (sscanf(text, "VmRSS: %d", &kb) == 1)
            break;
    if (file)
        fclose(file);
    return kb;
}

static int num_descriptors(const victim *v) {
    char path[60];
    int n = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)v->pid);
    DIR *folder = opendir(path);
    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n;
}

/* Answered within a second, whole. */
static bool is_answered(const victim *v) {
    client_answer answer = client_ask_from(SCRAPER, v->port, CLIENT_GET("/metrics"));
    bool good = CHECK_INT(answer.status, 200);
    good = CHECK(answer.body != NULL) && good;
    good = CHECK(answer.seconds < 1) && good;
    free(answer.text);
    return good;
}

static bool begin(victim *v, int num_series, pytheus_http_desc desc) {
    int ports[2], lines[2];
    if (!CHECK(!pipe(ports)) || !CHECK(!pipe(lines)))
        return false;
    v->pid = fork();
    if (!v->pid) {
        close(lines[1]);
        serve(ports[1], lines[0], num_series, desc);
    }
    close(ports[1]);
    close(lines[0]);
    bool told = read(ports[0], &v->port, sizeof v->port) == sizeof v->port;
    close(ports[0]);
    v->line = lines[1];
    if (!CHECK(told && v->port) || !is_answered(v))
        return false;
    client_sleep(0.1);
    v->idle_kb = memory_kb(v);
    v->idle_descriptors = num_descriptors(v);
    return true;
}

static void check_bounds(const victim *v) {
    if (MEASURES_MEMORY)
        CHECK(memory_kb(v) < v->idle_kb + MOST_KB);
    CHECK(num_descriptors(v) < v->idle_descriptors + 150);
}

/* Also that it recovers: everybody has left. */
static void end(victim *v) {
    int status;
    double until = client_clock() + 15;
    while (num_descriptors(v) > v->idle_descriptors && client_clock() < until)
        client_sleep(0.05);
    CHECK_INT(num_descriptors(v), v->idle_descriptors);
    is_answered(v);
    close(v->line);
    waitpid(v->pid, &status, 0);
    CHECK_INT(status, 0);
}

/* ---- crowds ---- */

enum { MOST = 2000 };
static int crowd[MOST];
static int crowd_size;

static bool may_open(int n) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return false;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= (rlim_t)(n + 100);
}

/* From 127.0.1.0 on, `each` from an address; each sends this. Whom the server sends away stays in
   the crowd. */
static void gather(const victim *v, int n, int each, const char *says) {
    while (crowd_size < n) {
        int s = client_connect_from(256 + (unsigned)(crowd_size / each), v->port);
        if (!CHECK(s >= 0))
            return;
        (void)client_send(s, says);
        crowd[crowd_size++] = s;
    }
}

/* Then little of a page fits between the server and those who do not read it. */
static void take_little(int s) {
    int little = 4096;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
}

static void disperse(void) {
    while (crowd_size)
        close(crowd[--crowd_size]);
}

static void let_all_say(const char *text) {
    for (int i = 0; i < crowd_size; i++)
        (void)client_send(crowd[i], text);
}

static void be_slow(int each) {
    victim v;
    if (!may_open(MOST))
        SKIP("too few descriptors");
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    for (int n = 500; n <= MOST; n += 500) {
        gather(&v, n, each, "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
        is_answered(&v);
        let_all_say("y"); /* so that nobody is idle */
        is_answered(&v);
        check_bounds(&v);
    }
    disperse();
    end(&v);
}

TEST(thousands_of_slow_requests_from_one_address) {
    be_slow(MOST);
}

TEST(thousands_of_slow_requests_from_hundreds_of_addresses) {
    be_slow(8);
}

TEST(thousands_of_connections_that_say_nothing) {
    victim v;
    if (!may_open(MOST))
        SKIP("too few descriptors");
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    gather(&v, MOST, 4, "");
    for (int i = 0; i < 10; i++)
        is_answered(&v);
    check_bounds(&v);
    disperse();
    end(&v);
}

/* Those that can't go on are not kept until they leave. */
TEST(half_closed_connections) {
    victim v;
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 1}))
        return;
    gather(&v, 400, 8, "GET /metrics HTTP/1.1\r\nHost: x\r\n");
    for (int i = 0; i < crowd_size; i++)
        shutdown(crowd[i], i % 2 ? SHUT_WR : SHUT_RD);
    is_answered(&v);
    check_bounds(&v);
    client_sleep(3);
    CHECK_INT(num_descriptors(&v), v.idle_descriptors);
    disperse();
    end(&v);
}

TEST(requests_byte_by_byte) {
    static const char request[] = CLIENT_GET("/metrics?name[]=none");
    victim v;
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    gather(&v, 100, 10, "");
    for (const char *c = request; *c; c++) {
        let_all_say((char[]){*c, 0});
        if (c[1] && (c - request) % 16 == 0)
            is_answered(&v);
    }
    int num_answered = 0, err;
    size_t size;
    for (int i = 0; i < crowd_size; i++) {
        char *text = client_receive(crowd[i], 5, &size, &err);
        num_answered += !strncmp(text, "HTTP/1.1 ", 9);
        free(text);
    }
    CHECK_INT(num_answered, 100); /* slow ones are served, too: 200, or 503 with so many at once */
    disperse();
    end(&v);
}

/* 1 MB of it, as one header, as many, as a target. */
TEST(requests_that_never_end) {
    static const char *const beginnings[] = {
        "GET /metrics HTTP/1.1\r\nX: ", "GET /metrics HTTP/1.1\r\n", "GET /"};
    static const char *const repeated[] = {"xxxxxxxxxxxxxxxx", "X-Header-With: x\r\n", "metricsx"};
    static char megabyte[1 << 20];
    victim v;
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    for (size_t way = 0; way < COUNT_OF(beginnings); way++) {
        size_t size = 0, n = strlen(repeated[way]);
        while (size + n < sizeof megabyte - 1) {
            memcpy(megabyte + size, repeated[way], n);
            size += n;
        }
        megabyte[size] = '\0';
        gather(&v, 100, 10, beginnings[way]);
        for (int i = 0; i < crowd_size; i++) {
            size_t sent = 0; /* as much as is taken before the server closes */
            ssize_t k = 1;
            while (sent < size && k > 0) {
                struct pollfd ready = {crowd[i], POLLOUT, 0};
                k = poll(&ready, 1, 2000) == 1
                        ? send(crowd[i], megabyte + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT)
                        : 0;
                sent += k > 0 ? (size_t)k : 0;
            }
            if (i % 25 == 0)
                is_answered(&v);
        }
        is_answered(&v);
        check_bounds(&v);
        disperse();
    }
    end(&v);
}

/* Those who ask for the page and don't read it hold a writer each: half of them, for an address. */
TEST(readers_that_do_not_read) {
    victim v;
    if (!begin(&v, 100000, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    for (int n = 1; n <= 14; n++) { /* as many as an address may have, some of them to send away */
        gather(&v, n, 14, "");
        take_little(crowd[n - 1]);
        (void)client_send(crowd[n - 1], "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        client_sleep(0.02);
    }
    for (int i = 0; i < 5; i++)
        is_answered(&v);
    check_bounds(&v);
    disperse();
    end(&v);
}

/* As many as the writers can take, from as many addresses as it needs: they lose their places. */
TEST(readers_that_do_not_read_from_many_addresses_are_given_up) {
    victim v;
    if (!begin(&v, 100000, (pytheus_http_desc){.idle_seconds = 1}))
        return;
    gather(&v, 20, 2, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    client_sleep(3.5);
    is_answered(&v);
    disperse();
    end(&v);
}

/* Little of an answer fits between it and the server. */
static int connect_narrowly(unsigned n, unsigned port) {
    struct sockaddr_in from = client_address(0x7f000000 + n, 0);
    struct sockaddr_in to = client_address(INADDR_LOOPBACK, port);
    int s = socket(AF_INET, SOCK_STREAM, 0), segment = 536;
    setsockopt(s, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    take_little(s);
    if (bind(s, (struct sockaddr *)&from, sizeof from) ||
        connect(s, (struct sockaddr *)&to, sizeof to)) {
        close(s);
        return -1;
    }
    return s;
}

/* Enough of the page, all the time, not to be idle; but not all of it for long. */
TEST(readers_that_read_too_slowly_are_given_up) {
    victim v;
    char bytes[500];
    if (!begin(&v, 100000, (pytheus_http_desc){.idle_seconds = 4, .site.most_seconds = 1}))
        return;
    int s = connect_narrowly(256, v.port);
    double began = client_clock();
    (void)client_send(s, CLIENT_GET("/metrics"));
    while (recv(s, bytes, sizeof bytes, 0) > 0 && client_clock() - began < 14)
        client_sleep(0.03);
    CHECK(client_clock() - began < 9);
    close(s);
    end(&v);
}

/* As many requests as are taken, until none of them is any more. */
static void ask_without_end(int s) {
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    enum { SIZE = sizeof request - 1 };
    char requests[SIZE * 200 + 1] = "";
    size_t sent = 0;
    for (int i = 0; i < 200; i++)
        memcpy(requests + SIZE * i, request, sizeof request);
    for (int num_refused = 0; num_refused < 3;) {
        ssize_t n = send(s, requests + sent % SIZE, SIZE * 199, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += n > 0 ? (size_t)n : 0;
        num_refused = n > 0 ? 0 : num_refused + 1;
        client_sleep(n > 0 ? 0.001 : 0.01);
    }
}

/* Nobody of them waits: each is in an answer that he does not read. */
static void be_endless(int num_addresses, pytheus_http_desc desc, int most) {
    victim v;
    if (!begin(&v, 10, desc))
        return;
    for (int i = 0; i < 40; i++) {
        crowd[crowd_size] = connect_narrowly(256 + (unsigned)(i % num_addresses), v.port);
        if (!CHECK(crowd[crowd_size] >= 0))
            break;
        ask_without_end(crowd[crowd_size++]);
    }
    client_sleep(0.5); /* so that those who leave have left */
    CHECK(num_descriptors(&v) <= v.idle_descriptors + most);
    CHECK(num_descriptors(&v) > v.idle_descriptors + most / 2);
    if (num_addresses == 1)
        is_answered(&v);
    disperse();
    end(&v);
}

TEST(endless_requests_from_one_address_have_its_places) {
    be_endless(1, (pytheus_http_desc){.idle_seconds = 20}, 16);
}

TEST(endless_requests_from_many_addresses_have_all_places_but_no_more) {
    be_endless(4, (pytheus_http_desc){.idle_seconds = 20, .max_connections = 20}, 20);
}

TEST(a_hundred_scrapes_at_once) {
    victim v;
    if (!begin(&v, SERIES, (pytheus_http_desc){.idle_seconds = 2}))
        return;
    gather(&v, 100, 2, CLIENT_GET("/metrics"));
    int num[2] = {0, 0}, err;
    size_t size;
    for (int i = 0; i < crowd_size; i++) {
        char *text = client_receive(crowd[i], 10, &size, &err);
        num[0] += !strncmp(text, "HTTP/1.1 200", 12);
        num[1] += !strncmp(text, "HTTP/1.1 503", 12);
        free(text);
    }
    CHECK_INT(num[0] + num[1], 100);
    CHECK(num[0] >= 8);
    check_bounds(&v);
    disperse();
    end(&v);
}

#if MEASURES_MEMORY
/* Ten times the series do not take more memory to serve. */
TEST(memory_does_not_grow_with_the_page) {
    int grown[2];
    for (int i = 0; i < 2; i++) {
        victim v;
        if (!begin(&v, i ? 200000 : 20000, (pytheus_http_desc){.idle_seconds = 2}))
            return;
        for (int k = 0; k < 5; k++)
            is_answered(&v);
        grown[i] = memory_kb(&v) - v.idle_kb;
        end(&v);
    }
    CHECK(grown[0] < 2048);
    CHECK(grown[1] < 2048);
}
#endif
