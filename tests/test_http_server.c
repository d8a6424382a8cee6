/* The server, as its clients see it: raw sockets and curl against one that is really started. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <stdlib.h>

static void *may_fail(size_t size);
static void counted_free(void *p);
#define PYTHEUS_HTTP_MALLOC(size) may_fail(size)
#define PYTHEUS_HTTP_FREE(p) counted_free(p)
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "http_client.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int allocations_left = -1, num_allocated;

static void *may_fail(size_t size) {
    int left = __atomic_load_n(&allocations_left, __ATOMIC_RELAXED);
    if (left > 0)
        __atomic_fetch_sub(&allocations_left, 1, __ATOMIC_RELAXED);
    void *p = left ? malloc(size) : NULL;
    __atomic_fetch_add(&num_allocated, p != NULL, __ATOMIC_RELAXED);
    return p;
}

static void counted_free(void *p) {
    __atomic_fetch_sub(&num_allocated, p != NULL, __ATOMIC_RELAXED);
    free(p);
}

/* ---- a server, with a page ---- */

static pytheus_http *server;
static unsigned port;

static bool start(pytheus_http_desc desc) {
    server = pytheus_http_start(&desc);
    port = pytheus_http_port(server);
    return CHECK(server != NULL) || (printf("    %s\n", pytheus_last_error()), false);
}

#define START(registry_, ...)                                                                      \
    if (!start((pytheus_http_desc){.site = {.registry = (registry_)}, __VA_ARGS__}))               \
    return

static void stop(void) {
    pytheus_http_stop(server);
    server = NULL;
}

static void add_series(pytheus_registry *registry, int n) {
    pytheus_gauge g =
        GAUGE(registry, .name = "series", .required_labels = {"i"}, .max_series = 1000000);
    for (int i = 0; i < n; i++) {
        char value[60];
        snprintf(value, sizeof value, "%d of those that make the page long", i);
        pytheus_gauge_set(pytheus_gauge_labels(g, "i", value), i / 7.0);
    }
}

static void check_body(client_answer answer, int status, const char *body) {
    CHECK_INT(answer.status, status);
    CHECK_STR(answer.body, body);
    free(answer.text);
}

static void check_page_is(client_answer answer, pytheus_registry *registry) {
    char *text = page(registry);
    CHECK(strstr(answer.text, "Content-Type: text/plain; version=0.0.4; charset=utf-8"));
    check_body(answer, 200, text);
    free(text);
}

static void check_status(client_answer answer, int status) {
    CHECK_INT(answer.status, status);
    free(answer.text);
}

/* ---- answers ---- */

TEST_WITH(registry, a_page_is_served) {
    add_series(registry, 10);
    START(registry, 0);
    check_page_is(client_ask(port, CLIENT_GET("/metrics")), registry);
    stop();
}

TEST_WITH(registry, a_long_page_is_served_in_chunks_and_whole) {
    add_series(registry, 50000);
    START(registry, 0);
    client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
    CHECK(strstr(answer.text, "Transfer-Encoding: chunked"));
    check_page_is(answer, registry);
    check_page_is(client_ask(port, "GET /metrics HTTP/1.0\r\n\r\n"), registry);
    stop();
}

TEST_WITH(registry, the_other_pages_are_served) {
    START(registry, 0);
    client_answer home = client_ask(port, CLIENT_GET("/"));
    CHECK(strstr(home.text, "Content-Type: text/html; charset=utf-8"));
    CHECK(home.body && strstr(home.body, "<a href=\"./metrics\">"));
    check_status(home, 200);
    client_answer icon = client_ask(port, CLIENT_GET("/favicon.ico"));
    CHECK(strstr(icon.text, "Content-Type: image/x-icon"));
    check_body(icon, 200, "");
    check_body(client_ask(port, CLIENT_GET("/none")), 404, "not found\n");
    stop();
}

TEST_WITH(registry, other_methods_are_refused) {
    static const char *const requests[] = {
        "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "DELETE /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        "BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    START(registry, 0);
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        client_answer answer = client_ask(port, requests[i]);
        CHECK(strstr(answer.text, "Allow: GET, HEAD\r\n"));
        CHECK_INT(answer.err == 0 || answer.err == ECONNRESET, 1);
        check_body(answer, 405, "only GET and HEAD\n");
    }
    stop();
}

TEST_WITH(registry, a_body_is_refused_with_an_answer) {
    static const char *const requests[] = {
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
    };
    START(registry, 0);
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        client_answer answer = client_ask(port, requests[i]);
        CHECK(strstr(answer.text, "Connection: close\r\n"));
        CHECK(strstr(answer.text, "Content-Type: text/plain"));
        CHECK(answer.seconds < 5);
        check_status(answer, 413);
    }
    check_status(client_ask(port, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Content-Length: 0\r\n\r\n"),
                 200);
    stop();
}

TEST_WITH(registry, headers_in_several_lines_are_one) {
    START(registry, 0);
    client_answer answer =
        client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                         "Accept: text/html\r\nAccept-Encoding: br\r\n"
                         "accept: application/openmetrics-text;version=1.0.0\r\n"
                         "Accept-Encoding: gzip\r\n\r\n");
    CHECK(strstr(answer.text, "Content-Type: application/openmetrics-text; version=1.0.0"));
    CHECK(strstr(answer.text, "Content-Encoding: gzip"));
    check_status(answer, 200);
    stop();
}

TEST_WITH(registry, head_has_no_body) {
    static const char *const paths[] = {"/metrics", "/", "/favicon.ico", "/none"};
    START(registry, 0);
    add_series(registry, 1);
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        char request[200];
        snprintf(request, sizeof request,
                 "HEAD %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", paths[i]);
        client_answer answer = client_ask(port, request);
        CHECK(strstr(answer.text, "Content-Type: "));
        CHECK_INT(answer.status, i < 3 ? 200 : 404);
        CHECK_INT(answer.err, 0);
        CHECK_STR(answer.text + strlen(answer.text) + 4, ""); /* after the head's end */
        free(answer.text);
    }
    stop();
}

TEST_WITH(registry, names_choose_metrics) {
    COUNTER(registry, .name = "a_total");
    COUNTER(registry, .name = "b_total");
    START(registry, 0);
    check_body(client_ask(port, CLIENT_GET("/metrics?name[]=b_total")), 200,
               "# TYPE b_total counter\nb_total 0\n");
    check_body(client_ask(port, CLIENT_GET("/metrics?x&name%5B%5D=a%5ftotal")), 200,
               "# TYPE a_total counter\na_total 0\n");
    check_body(client_ask(port, CLIENT_GET("/metrics?name[]=none")), 200, "");
    stop();
}

TEST_WITH(registry, a_connection_serves_several_requests) {
    COUNTER(registry, .name = "a_total");
    START(registry, 0);
    int s = client_connect_from(0, port);
    client_answer answer = client_ask_on(s, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
                                            "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
                                            "GET / HTTP/1.1\r\nHost: x\r\n\r\n" /* at once */
                                            "GET /none HTTP/1.1\r\nHost: x\r\n"
                                            "Connection: close\r\n\r\n");
    const char *second = answer.text + strlen(answer.text) + 4;
    CHECK_INT(answer.status, 200);
    CHECK_INT(answer.err, 0);
    CHECK(strstr(second, "a_total 0\n") || (answer.body && strstr(answer.body, "a_total 0\n")));
    CHECK(memmem(answer.text, answer.size, "404 Not Found", 13));
    free(answer.text);
    close(s);
    stop();
}

TEST_WITH(registry, a_half_closed_connection_gets_its_answer) {
    add_series(registry, 30000);
    START(registry, 0);
    int s = client_connect_from(0, port), err;
    client_answer answer = {0};
    client_send(s, CLIENT_GET("/metrics"));
    shutdown(s, SHUT_WR);
    answer.text = client_receive(s, 20, &answer.size, &err);
    client_take_apart(&answer);
    check_page_is(answer, registry);
    close(s);
    stop();
}

TEST_WITH(registry, what_is_no_request_is_refused) {
    static const char *const requests[] = {
        "nonsense\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and what else opens TLS\r\n\r\n",
    };
    START(registry, .idle_seconds = 1);
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        client_answer answer = client_ask(port, requests[i]);
        if (!CHECK(answer.status == 0 || (answer.status >= 400 && answer.status < 600)) ||
            !CHECK(answer.err == 0 || answer.err == ECONNRESET))
            printf("    of %s\n", requests[i]);
        free(answer.text);
    }
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    stop();
}

/* libmicrohttpd keeps 56 bytes for each argument, and has none left for these. */
TEST_WITH(registry, a_query_of_too_many_arguments_leaves_nothing_behind) {
    enum { NUM = 4000 };
    static char request[12 * NUM + 100];
    char *end = request + sprintf(request, "GET /metrics?");
    for (int i = 0; i < NUM; i++)
        end += sprintf(end, "name[]=%d&", i % 1000);
    strcpy(end, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    CHECK_INT(num_allocated, 0);
    START(registry, .idle_seconds = 1);
    for (int i = 0; i < 2; i++) {
        client_answer answer = client_ask(port, request);
        CHECK(answer.status == 0 || answer.status == 414 || answer.status == 431);
        free(answer.text);
    }
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    stop();
    CHECK_INT(num_allocated, 0);
}

/* ---- curl ---- */

/* What it prints; to be freed. */
static char *curl(const char *arguments) {
    char command[1000], *text = calloc(1, 1 << 20);
    snprintf(command, sizeof command, "curl -sS --noproxy '*' --max-time 20 %s 2>&1", arguments);
    FILE *pipe = popen(command, "r");
    text[fread(text, 1, (1 << 20) - 1, pipe)] = '\0';
    pclose(pipe);
    return text;
}

static bool has_curl(void) {
    return !system("command -v curl >/dev/null");
}

static char *curl_at(const char *format, const char *path) {
    char arguments[1000], url[300];
    snprintf(url, sizeof url, "http://127.0.0.1:%u%s", port, path);
    snprintf(arguments, sizeof arguments, "-g %s '%s'", format, url);
    return curl(arguments);
}

TEST_WITH(registry, curl_sees_the_page) {
    static const char *const ways[] = {"", "--compressed", "--http1.0", "--raw --http1.0"};
    if (!has_curl())
        SKIP("curl is not installed");
    add_series(registry, 5000);
    START(registry, 0);
    char *expected = page(registry);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        char *text = curl_at(ways[i], "/metrics");
        CHECK_STR(text, expected);
        free(text);
    }
    free(expected);
    stop();
}

TEST_WITH(registry, curl_sees_statuses) {
    static const struct {
        const char *way, *path, *expected;
    } rows[] = {
        {"", "/metrics", "200 text/plain; version=0.0.4; charset=utf-8"},
        {"-H 'Accept: application/openmetrics-text'", "/metrics",
         "200 application/openmetrics-text; version=1.0.0; charset=utf-8"},
        {"--head", "/metrics", "200 text/plain; version=0.0.4; charset=utf-8"},
        {"", "/metrics?name[]=x", "200 text/plain; version=0.0.4; charset=utf-8"},
        {"", "/", "200 text/html; charset=utf-8"},
        {"", "/favicon.ico", "200 image/x-icon"},
        {"", "/none", "404 text/plain; charset=utf-8"},
        {"-X PATCH", "/metrics", "405 text/plain; charset=utf-8"},
        {"-d x=1", "/metrics", "405 text/plain; charset=utf-8"},
        {"-T Makefile", "/metrics", "405 text/plain; charset=utf-8"},
    };
    if (!has_curl())
        SKIP("curl is not installed");
    START(registry, 0);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char way[200];
        snprintf(way, sizeof way, "%s -o /dev/null -w '%%{http_code} %%{content_type}'",
                 rows[i].way);
        char *text = curl_at(way, rows[i].path);
        CHECK_STR(text, rows[i].expected);
        free(text);
    }
    stop();
}

/* ---- credentials, TLS ---- */

TEST_WITH(registry, credentials_are_asked_for) {
    if (!start((pytheus_http_desc){
            .site = {
                .registry = registry, .user = "ann", .password = "secret", .token = "s3cret"}}))
        return;
    client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
    CHECK(strstr(answer.text, "WWW-Authenticate: Basic realm=\"metrics\""));
    CHECK(strstr(answer.text, "WWW-Authenticate: Bearer realm=\"metrics\""));
    check_body(answer, 401, "credentials are needed\n");
    check_status(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Authorization: Basic YW5uOnNlY3JldA==\r\n\r\n"),
                 200);
    check_status(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Authorization: Bearer s3cret\r\n\r\n"),
                 200);
    check_status(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Authorization: Bearer s3cre\r\n\r\n"),
                 401);
    check_status(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                  "Authorization: Bearer s3cret\r\n"
                                  "Authorization: Bearer s3cre\r\n\r\n"),
                 401);
    stop();
}

static bool make_keys(char folder[40]) {
    char command[500];
    strcpy(folder, "/tmp/pytheus-keys-XXXXXX");
    if (!mkdtemp(folder))
        return false;
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
             "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 "
             "-keyout %s/key -out %s/certificate 2>/dev/null",
             folder, folder);
    return !system(command);
}

static void remove_keys(const char *folder) {
    char path[100];
    snprintf(path, sizeof path, "%s/key", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/certificate", folder);
    unlink(path);
    rmdir(folder);
}

static void check_tls(pytheus_registry *registry, const char *folder) {
    char certificate[100], key[100], arguments[1000];
    snprintf(certificate, sizeof certificate, "%s/certificate", folder);
    snprintf(key, sizeof key, "%s/key", folder);
    START(registry, .certificate = certificate, .key = key, .idle_seconds = 1);
    CHECK(!strncmp(pytheus_http_url(server), "https://127.0.0.1:", 18));
    snprintf(arguments, sizeof arguments, "--cacert %s %s", certificate, pytheus_http_url(server));
    char *text = curl(arguments), *expected = page(registry);
    CHECK_STR(text, expected);
    free(text);
    free(expected);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 0); /* without TLS */
    stop();
    CHECK(!pytheus_http_start(&(pytheus_http_desc){.certificate = key, .key = certificate}));
    CHECK(strstr(pytheus_last_error(), "not a certificate and its key in PEM"));
}

TEST_WITH(registry, tls_is_spoken) {
    char folder[40];
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES)
        SKIP("this libmicrohttpd has no TLS");
    if (!make_keys(folder) || !has_curl())
        SKIP("openssl or curl are not installed");
    add_series(registry, 2000);
    check_tls(registry, folder);
    remove_keys(folder);
}

/* ---- starting ---- */

#define CHECK_REFUSED(sentence, ...)                                                               \
    do {                                                                                           \
        CHECK(!pytheus_http_start(&(pytheus_http_desc){__VA_ARGS__}));                             \
        CHECK_STR(pytheus_last_error(), sentence);                                                 \
    } while (0)

TEST(what_cannot_start_says_why) {
    char taken[100];
    CHECK_REFUSED("\"localhost\" is no address in numbers", .address = "localhost");
    CHECK_REFUSED("\"\" is no address in numbers", .address = "");
    CHECK_REFUSED("http: connections and scrapes are at most 65536", .max_connections = 65537);
    CHECK_REFUSED("http: connections and scrapes are at most 65536",
                  .site = {.max_scrapes = (unsigned)-1});
    CHECK_REFUSED("http: certificate and key belong together", .certificate = "c");
    CHECK_REFUSED("http: certificate and key belong together", .key = "k");
    CHECK_REFUSED("/none/c: No such file or directory", .certificate = "/none/c", .key = "/none/k");
    CHECK_REFUSED("site: user and password belong together", .site = {.user = "u"});
    CHECK_REFUSED("192.0.2.1, port 0: Cannot assign requested address", .address = "192.0.2.1");
    CHECK(!pytheus_http_start(NULL));
    CHECK_STR(pytheus_last_error(), "http: no description");
    START(NULL, 0);
    snprintf(taken, sizeof taken, "127.0.0.1, port %u: Address already in use", port);
    CHECK_REFUSED(taken, .port = (uint16_t)port);
    stop();
    pytheus_http_stop(NULL);
    CHECK_INT(pytheus_http_port(NULL), 0);
    CHECK_STR(pytheus_http_url(NULL), "");
}

TEST(without_memory_it_does_not_start) {
    pytheus_http_desc desc = {.site = {.path = "/m", .user = "u", .password = "p", .token = "t"}};
    int n = 0;
    for (allocations_left = 0; !server && n < 20; allocations_left = ++n) {
        server = pytheus_http_start(&desc);
        if (!server)
            CHECK_STR(pytheus_last_error(), "http: out of memory");
    }
    allocations_left = -1;
    CHECK_INT(n, 7); /* the server, its writers, four texts */
    stop();
}

/* The server's thread allocates too: each request until one finds all that it needs. */
TEST_WITH(registry, without_memory_requests_are_refused) {
    char *expected = page(registry);
    START(registry, 0);
    int n = 0;
    for (bool whole = false; !whole && n < 20; n++) {
        __atomic_store_n(&allocations_left, n, __ATOMIC_RELAXED);
        client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
        whole = answer.status == 200;
        CHECK(whole || answer.status == 0 || answer.status == 503);
        free(answer.text);
    }
    __atomic_store_n(&allocations_left, -1, __ATOMIC_RELAXED);
    CHECK(n > 2 && n < 20);
    free(expected);
    stop();
}

TEST_WITH(registry, it_tells_where_it_is) {
    char url[100];
    if (!start((pytheus_http_desc){.site = {.registry = registry, .path = "/m"}}))
        return;
    snprintf(url, sizeof url, "http://127.0.0.1:%u/m", port);
    CHECK(port > 0);
    CHECK_STR(pytheus_http_url(server), url);
    check_status(client_ask(port, CLIENT_GET("/m")), 200);
    stop();
}

/* Somebody else may take the port in between. */
TEST_WITH(registry, a_port_may_be_chosen) {
    unsigned same = 0;
    for (int i = 0; i < 10 && !server; i++) {
        START(registry, 0);
        same = port;
        stop();
        server = pytheus_http_start(
            &(pytheus_http_desc){.site = {.registry = registry}, .port = (uint16_t)same});
    }
    CHECK_INT(pytheus_http_port(server), same);
    check_status(client_ask(same, CLIENT_GET("/metrics")), 200);
    stop();
}

static int connect_v6(unsigned to) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)to)};
    address.sin6_addr.s6_addr[15] = 1;
    int s = socket(AF_INET6, SOCK_STREAM, 0);
    if (s >= 0 && connect(s, (struct sockaddr *)&address, sizeof address)) {
        close(s);
        return -1;
    }
    return s;
}

static void check_over_v6(void) {
    int s = connect_v6(port);
    CHECK(s >= 0);
    check_status(client_ask_on(s, CLIENT_GET("/metrics")), 200);
    close(s);
}

TEST_WITH(registry, it_speaks_ipv6) {
    char url[100];
    pytheus_http *probe = pytheus_http_start(&(pytheus_http_desc){.address = "::1"});
    if (!probe)
        SKIP("no IPv6 here");
    pytheus_http_stop(probe);
    START(registry, .address = "::1");
    snprintf(url, sizeof url, "http://[::1]:%u/metrics", port);
    CHECK_STR(pytheus_http_url(server), url);
    check_over_v6();
    stop();
    START(registry, .address = "::");
    check_over_v6();
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    stop();
}

TEST_WITH(registry, two_servers_serve) {
    START(registry, 0);
    pytheus_http *first = server;
    unsigned first_port = port;
    START(registry, 0);
    check_status(client_ask(first_port, CLIENT_GET("/metrics")), 200);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    pytheus_http_stop(first);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    stop();
}

static int num_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int n = 0;
    while (folder && readdir(folder))
        n++;
    if (folder)
        closedir(folder);
    return n;
}

TEST_WITH(registry, it_leaves_nothing_open) {
    int before = num_descriptors();
    for (int i = 0; i < 20; i++) {
        START(registry, 0);
        int s = client_connect_from(0, port), t = client_connect_from(0, port);
        client_send(s, "GET /metr");
        check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
        close(s);
        stop();
        close(t);
    }
    CHECK_INT(num_descriptors(), before);
}

/* ---- collectors that fail, wait, and take their time ---- */

typedef struct behaviour {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int num_inside;
    bool waits, fails, slow;
    int num_families;
} behaviour;

static behaviour now_behaves = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                .changed = PTHREAD_COND_INITIALIZER};

static pytheus_err behave(void *user, pytheus_emitter *out) {
    behaviour *b = user;
    pthread_mutex_lock(&b->lock);
    int num_families = b->num_families;
    bool fails = b->fails, slow = b->slow;
    b->num_inside++;
    pthread_cond_broadcast(&b->changed);
    while (b->waits)
        pthread_cond_wait(&b->changed, &b->lock);
    b->num_inside--;
    pthread_mutex_unlock(&b->lock);
    if (slow)
        client_sleep(2.5);
    for (int i = 0; i < num_families; i++) {
        char name[40];
        snprintf(name, sizeof name, "family_%d", i);
        pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = name});
        pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
    }
    return fails ? pytheus_fail(PYTHEUS_ERR_BACKEND, "no disk") : PYTHEUS_OK;
}

static void set_behaviour(bool waits, bool fails, bool slow, int num_families) {
    pthread_mutex_lock(&now_behaves.lock);
    now_behaves.waits = waits;
    now_behaves.fails = fails;
    now_behaves.slow = slow;
    now_behaves.num_families = num_families;
    pthread_cond_broadcast(&now_behaves.changed);
    pthread_mutex_unlock(&now_behaves.lock);
}

static void add_behaviour(pytheus_registry *registry) {
    set_behaviour(false, false, false, 0);
    pytheus_registry_add_collector(
        registry,
        &(pytheus_collector){.name = "behaviour", .collect = behave, .user = &now_behaves});
}

static void wait_until_inside(int n) {
    pthread_mutex_lock(&now_behaves.lock);
    while (now_behaves.num_inside < n)
        pthread_cond_wait(&now_behaves.changed, &now_behaves.lock);
    pthread_mutex_unlock(&now_behaves.lock);
}

TEST_WITH(registry, a_page_that_fails_at_once_says_so) {
    START(registry, 0);
    add_behaviour(registry);
    set_behaviour(false, true, false, 0);
    client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
    CHECK(strstr(answer.text, "500 Internal Server Error"));
    check_body(answer, 500, "no disk\n");
    stop();
}

/* With chunks, and without; packed, too. */
TEST_WITH(registry, a_page_that_fails_later_does_not_look_whole) {
    static const char *const requests[] = {
        CLIENT_GET("/metrics"),
        "GET /metrics HTTP/1.0\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
    };
    START(registry, 0);
    add_behaviour(registry);
    set_behaviour(false, true, false, 40000);
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        client_answer answer = client_ask(port, requests[i]);
        CHECK_INT(answer.status == 200 || answer.status == 0, 1);
        CHECK_INT(answer.err, ECONNRESET);
        free(answer.text);
    }
    stop();
}

static void *ask_for_page(void *user) {
    client_answer *answer = user;
    *answer = client_ask_from((unsigned)answer->status, port, CLIENT_GET("/metrics"));
    return NULL;
}

static pthread_t ask_aside(unsigned address, client_answer *answer) {
    pthread_t thread;
    answer->status = (int)address;
    pthread_create(&thread, NULL, ask_for_page, answer);
    return thread;
}

TEST_WITH(registry, scrapes_at_once_are_limited_also_for_one_address) {
    client_answer answers[4];
    pthread_t threads[4];
    if (!start((pytheus_http_desc){.site = {.registry = registry, .max_scrapes = 4}}))
        return;
    add_behaviour(registry);
    set_behaviour(true, false, false, 1);
    for (int i = 0; i < 4; i++) {
        threads[i] = ask_aside(2 + (unsigned)i / 2, &answers[i]);
        wait_until_inside(i + 1);
        if (i == 1)
            check_status(client_ask_from(2, port, CLIENT_GET("/metrics")), 503);
    }
    client_answer busy = client_ask_from(4, port, CLIENT_GET("/metrics"));
    CHECK(strstr(busy.text, "Retry-After: 1\r\n"));
    check_body(busy, 503, "too many scrapes at once\n");
    check_status(client_ask_from(4, port, CLIENT_GET("/")), 200);
    set_behaviour(false, false, false, 1);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        check_body(answers[i], 200, "# TYPE family_0 gauge\nfamily_0 1\n");
    }
    check_status(client_ask_from(4, port, CLIENT_GET("/metrics")), 200);
    stop();
}

TEST_WITH(registry, a_slow_page_outlasts_the_idle_time_but_not_its_deadline) {
    START(registry, .idle_seconds = 1);
    add_behaviour(registry);
    set_behaviour(false, false, true, 1);
    check_body(client_ask(port, CLIENT_GET("/metrics")), 200,
               "# TYPE family_0 gauge\nfamily_0 1\n");
    check_body(client_ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                                "X-Prometheus-Scrape-Timeout-Seconds: 0.5\r\n\r\n"),
               500, "page: the time for it is over\n");
    stop();
}

TEST_WITH(registry, a_connection_that_says_nothing_is_closed) {
    START(registry, .idle_seconds = 1);
    double began = client_clock();
    client_answer answer = client_ask(port, "GET /metrics HTT");
    CHECK_INT(answer.err, 0);
    CHECK(client_clock() - began < 8);
    free(answer.text);
    stop();
}

/* A reader who stops reading does not keep the writer for ever. */
TEST_WITH(registry, a_page_that_nobody_reads_is_given_up) {
    if (!start((pytheus_http_desc){.site = {.registry = registry, .max_scrapes = 1},
                                   .idle_seconds = 1}))
        return;
    add_series(registry, 100000);
    int s = client_connect_from(0, port);
    client_send(s, CLIENT_GET("/metrics"));
    client_sleep(0.3);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 503);
    client_sleep(3);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    close(s);
    stop();
}

/* What the system has of it still arrives; then it must not look like the end. */
TEST_WITH(registry, a_page_that_is_given_up_does_not_look_whole) {
    START(registry, .idle_seconds = 1);
    add_series(registry, 100000);
    int s = client_connect_from(0, port), err, few = 65536;
    size_t size;
    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &few, sizeof few);
    client_send(s, "GET /metrics HTTP/1.0\r\n\r\n");
    client_sleep(3);
    char *text = client_receive(s, 5, &size, &err);
    CHECK_INT(err, ECONNRESET);
    free(text);
    close(s);
    stop();
}

TEST_WITH(registry, clients_that_leave_do_no_harm) {
    START(registry, 0);
    add_series(registry, 50000);
    for (int i = 0; i < 40; i++) {
        int s = client_connect_from(0, port);
        char bytes[1000];
        client_send(s, CLIENT_GET("/metrics"));
        if (i % 2)
            (void)recv(s, bytes, sizeof bytes, 0);
        close(s);
    }
    double until = client_clock() + 10;
    client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
    while (answer.status == 503 && client_clock() < until) {
        free(answer.text);
        client_sleep(0.05);
        answer = client_ask(port, CLIENT_GET("/metrics"));
    }
    check_page_is(answer, registry);
    stop();
}

/* ---- stopping ---- */

static void *stop_aside(void *user) {
    bool *stopped = user;
    pytheus_http_stop(server);
    __atomic_store_n(stopped, true, __ATOMIC_RELEASE);
    return NULL;
}

TEST_WITH(registry, stop_waits_for_the_last_answer) {
    client_answer answer;
    bool stopped = false;
    pthread_t stopper;
    START(registry, 0);
    add_behaviour(registry);
    set_behaviour(true, false, false, 20000);
    pthread_t asker = ask_aside(0, &answer);
    wait_until_inside(1);
    pthread_create(&stopper, NULL, stop_aside, &stopped);
    client_sleep(0.3);
    CHECK(!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE));
    CHECK_INT(client_connect_from(0, port), -1);
    set_behaviour(false, false, false, 20000);
    pthread_join(asker, NULL);
    pthread_join(stopper, NULL);
    CHECK_INT(answer.status, 200);
    CHECK(answer.body && strstr(answer.body, "family_19999 1\n"));
    free(answer.text);
    server = NULL;
}

TEST_WITH(registry, stop_does_not_wait_for_those_who_ask_nothing) {
    START(registry, 0);
    int idle = client_connect_from(0, port), half = client_connect_from(0, port);
    int kept = client_connect_from(0, port);
    char bytes[1000];
    client_send(half, "GET /metrics HTTP/1.1\r\n");
    client_send(kept, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(recv(kept, bytes, sizeof bytes, 0) > 0);
    double began = client_clock();
    stop();
    CHECK(client_clock() - began < 1);
    close(idle);
    close(half);
    close(kept);
}

/* ---- threads, signals, fork ---- */

static void *scrape_often(void *user) {
    int *num_whole = user;
    for (int i = 0; i < 20; i++) {
        client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
        *num_whole += answer.status == 200 && answer.body;
        free(answer.text);
    }
    return NULL;
}

TEST_WITH(registry, several_scrape_while_values_change) {
    enum { NUM = 4 };
    pthread_t threads[NUM];
    int num_whole[NUM] = {0};
    START(registry, 0);
    add_series(registry, 2000);
    pytheus_counter c = COUNTER(registry, .name = "hits_total");
    for (int i = 0; i < NUM; i++)
        pthread_create(&threads[i], NULL, scrape_often, &num_whole[i]);
    for (int i = 0; i < 100000; i++)
        pytheus_counter_inc(c);
    for (int i = 0; i < NUM; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(num_whole[i], 20);
    }
    stop();
}

TEST_WITH(registry, signals_are_left_to_the_program) {
    sigset_t usr1, pending;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    START(registry, 0);
    check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
    kill(getpid(), SIGUSR1); /* would end the process, if a thread of the server took it */
    client_sleep(0.05);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGUSR1) == 1);
    signal(SIGUSR1, SIG_IGN);
    pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
    signal(SIGUSR1, SIG_DFL);
    stop();
}

/* The child lives until told; its copies of the sockets must not matter. */
TEST_WITH(registry, a_forked_child_has_no_server) {
    int ends[2], ready[2], status;
    char byte = 0;
    START(registry, 0);
    int kept = client_connect_from(0, port);
    client_send(kept, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    char bytes[1000];
    CHECK(recv(kept, bytes, sizeof bytes, 0) > 0);
    CHECK(!pipe(ends) && !pipe(ready));
    pid_t child = fork();
    if (!child) {
        close(ready[0]);
        close(ready[1]);
        close(ends[1]);
        close(kept);
        pytheus_http_stop(server);
        while (read(ends[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
    close(ends[0]);
    close(ready[1]);
    CHECK_INT(read(ready[0], &byte, 1), 0); /* the child runs */
    close(ready[0]);
    for (int i = 0; i < 3; i++)
        check_status(client_ask(port, CLIENT_GET("/metrics")), 200);
    unsigned same = port;
    stop();
    struct pollfd closed = {kept, POLLIN, 0};
    CHECK_INT(poll(&closed, 1, 2000), 1); /* not held open by the child */
    close(kept);
    CHECK_INT(client_connect_from(0, same), -1);
    close(ends[1]);
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
}

/* ---- a fork while the server stops ---- */

/* ThreadSanitizer lets no child that was forked among threads start any. */
#ifndef UNDER_TSAN
static int num_dawdling;

static pytheus_err dawdle(void *unused, pytheus_emitter *out) {
    (void)unused, (void)out;
    __atomic_store_n(&num_dawdling, 1, __ATOMIC_RELEASE);
    client_sleep(0.3);
    return PYTHEUS_OK;
}

/* Servers of its own, each of which is stopped while it answers. */
static bool child_stops_servers(void) {
    pytheus_registry *registry = pytheus_registry_new(NULL);
    client_answer answer;
    int i;
    pytheus_registry_add_collector(registry,
                                   &(pytheus_collector){.name = "dawdle", .collect = dawdle});
    for (i = 0; i < 4; i++) {
        if (!start((pytheus_http_desc){.site = {.registry = registry}}))
            break;
        __atomic_store_n(&num_dawdling, 0, __ATOMIC_RELEASE);
        pthread_t asker = ask_aside(0, &answer);
        while (!__atomic_load_n(&num_dawdling, __ATOMIC_ACQUIRE))
            client_sleep(0.01);
        stop();
        pthread_join(asker, NULL);
        free(answer.text);
    }
    pytheus_registry_free(registry);
    return i == 4;
}

enum { FILES = 8 };

static int check_child_of_stopping_server(const int files[FILES]) {
    for (int i = 0; i < FILES; i++)
        if (fcntl(files[i], F_GETFD) < 0)
            return 2;
    alarm(15);
    return child_stops_servers() ? 0 : 3;
}

/* The files take the numbers that the server's sockets had. */
TEST_WITH(registry, a_fork_while_stop_waits_harms_no_child) {
    client_answer answer;
    bool stopped = false;
    pthread_t stopper;
    int files[FILES], status;
    START(registry, 0);
    add_behaviour(registry);
    set_behaviour(true, false, false, 1);
    pthread_t asker = ask_aside(0, &answer);
    wait_until_inside(1);
    pthread_create(&stopper, NULL, stop_aside, &stopped);
    client_sleep(0.3);
    for (int i = 0; i < FILES; i++)
        files[i] = open("/dev/null", O_RDONLY);
    pid_t child = fork();
    if (!child)
        _exit(check_child_of_stopping_server(files));
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    set_behaviour(false, false, false, 1);
    pthread_join(asker, NULL);
    pthread_join(stopper, NULL);
    CHECK_INT(answer.status, 200);
    free(answer.text);
    for (int i = 0; i < FILES; i++)
        close(files[i]);
    server = NULL;
}
#endif

/* 200 connections from 20 addresses, and a scrape. */
static int crowd_and_scrape(rlim_t may_open) {
    struct rlimit limit = {may_open, may_open};
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned i = 0; i < 200; i++)
        if (client_connect_from(2 + i / 10, port) < 0)
            return 3;
    client_answer answer = client_ask(port, CLIENT_GET("/metrics"));
    return answer.status == 200 && answer.seconds < 2 ? 0 : 4;
}

static int serve_with_few_descriptors(pytheus_registry *registry) {
    struct rlimit limit;
    int status;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    server = pytheus_http_start(&(pytheus_http_desc){.site = {.registry = registry}});
    if (!server)
        return 2;
    port = pytheus_http_port(server);
    pid_t crowd = fork();
    if (!crowd)
        _exit(crowd_and_scrape(limit.rlim_max));
    waitpid(crowd, &status, 0);
    pytheus_http_stop(server);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 5;
}

TEST_WITH(registry, few_descriptors_are_enough) {
    int status;
    pid_t child = fork();
    if (!child)
        _exit(serve_with_few_descriptors(registry));
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
}
