/* The way to Redis in TLS: which certificates are taken, on both sides; what is said of the others;
   that nobody waits for a server that does not shake hands; and that all counts arrive this way
   too, whatever happens to connections. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_REDIS_TLS
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#include "redis.h"

#include <poll.h>

static int tls_port;
static char url[80];

/* Where a file of tests/certificates is; the texts of four calls are kept. */
static const char *at(const char *file) {
    static char paths[4][96];
    static unsigned n;
    char *path = paths[n++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", redis_folder, file);
    return path;
}

static bool write_settings(void) {
    FILE *f = fopen(at("tls.conf"), "w");
    if (!f)
        return false;
    fprintf(f, "tls-port %d\ntls-auth-clients no\n", tls_port);
    fprintf(f, "tls-ca-cert-file %s\n", at("ca.pem"));
    fprintf(f, "tls-cert-file %s\ntls-key-file %s\n", at("server.pem"), at("server.key"));
    return fclose(f) == 0;
}

static bool launch(void) {
    return redis_launch("--include", at("tls.conf"));
}

/* A server with the certificate for localhost, which takes every client. */
static bool tls_ready(void) {
    char command[128];
    if (tls_port) {
        (void)ASK("FLUSHALL");
        return true;
    }
    if (!redis_ready())
        return false;
    redis_end(false);
    snprintf(command, sizeof command, "tests/certificates %s", redis_folder);
    tls_port = redis_free_port();
    snprintf(url, sizeof url, "rediss://localhost:%d", tls_port);
    return !system(command) && write_settings() && launch();
}
#define NEED_TLS()                                                                                 \
    do {                                                                                           \
        if (!tls_ready())                                                                          \
            SKIP("no server that has TLS, or no openssl (Debian: redis-server, openssl)");         \
    } while (0)

static void server_shows(const char *name) {
    char certificate[32], key[32];
    snprintf(certificate, sizeof certificate, "%s.pem", name);
    snprintf(key, sizeof key, "%s.key", name);
    CHECK_STR(ASK("CONFIG", "SET", "tls-cert-file", at(certificate), "tls-key-file", at(key)),
              "OK");
}

static pytheus_redis_desc with_defaults(pytheus_redis_desc desc) {
    desc.url = desc.url ? desc.url : url;
    desc.tls_ca = desc.tls_ca ? desc.tls_ca : at("ca.pem");
    desc.connect_timeout_ms = desc.connect_timeout_ms ? desc.connect_timeout_ms : 2000;
    desc.logger = (pytheus_logger){fixture_remember, NULL};
    return desc;
}
#define WITH(...) with_defaults((pytheus_redis_desc){__VA_ARGS__})

static void comes_through(pytheus_redis_desc desc) {
    pytheus_registry *r;
    (void)ASK("FLUSHALL");
    r = redis_registry(&desc);
    if (!CHECK(r != NULL))
        return;
    pytheus_counter_add(COUNTER(r, .name = "c"), 3);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "3");
    CHECK_REDIS_PAGE(r, "# TYPE c counter\nc 3\n");
    CHECK_INT(logged.num, 0);
    pytheus_registry_free(r);
}

static void is_refused(pytheus_redis_desc desc, const char *format, ...) {
    char sentence[512];
    pytheus_backend backend;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    pytheus_err err = pytheus_redis_backend(&desc, &backend);
    if (!CHECK_ERR(err, PYTHEUS_ERR_CONFIG))
        backend.destroy(backend.user);
    CHECK_STR(pytheus_last_error(), sentence);
}

static void is_refused_by(const char *host, const char *why, pytheus_redis_desc desc) {
    is_refused(desc, "redis: %s:%d: %s", host, tls_port, why);
}

/* -- exit, which a backend without TLS prepares first here -- */

static int counts_and_exits(void) {
    pytheus_redis_desc desc = WITH(0);
    pytheus_registry *plain = redis_registry(NULL), *secure = redis_registry(&desc);
    if (!plain || !secure)
        return 1;
    pytheus_counter_inc(COUNTER(plain, .name = "c"));
    pytheus_counter_inc(COUNTER(secure, .name = "c"));
    return 0;
}

TEST(the_last_counts_are_sent_at_exit) {
    NEED_TLS();
    int status = -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        exit(counts_and_exits());
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    CHECK_STR(ASK("GET", "c"), "2");
}

/* -- who is trusted -- */

TEST(a_good_certificate_is_taken) {
    char place[64];
    NEED_TLS();
    comes_through(WITH(.url = url));
    snprintf(place, sizeof place, "rediss://127.0.0.1:%d/0", tls_port);
    comes_through(WITH(.url = place));
    comes_through(WITH(.url = "", .host = "localhost", .port = tls_port, .tls = true));
    comes_through(WITH(.write_through = true));
    (void)ASK("ACL", "SETUSER", "ann", "on", ">s3cret", "~*", "+@all");
    snprintf(place, sizeof place, "rediss://ann:s3cret@localhost:%d", tls_port);
    comes_through(WITH(.url = place));
    (void)ASK("ACL", "DELUSER", "ann");
}

TEST(json_says_the_same) {
    char config[512];
    NEED_TLS();
    snprintf(config, sizeof config,
             "{\"host\": \"127.0.0.1\", \"port\": %d, \"tls\": true, \"tls_ca\": \"%s\","
             " \"tls_server_name\": \"localhost\", \"tls_certificate\": \"%s\","
             " \"tls_key\": \"%s\"}",
             tls_port, at("ca.pem"), at("client.pem"), at("client.key"));
    CHECK_ERR(pytheus_load_backend("redis", config), PYTHEUS_OK);
    pytheus_counter_inc(pytheus_counter_new(&(pytheus_desc){.name = "c"}));
    CHECK_ERR(pytheus_flush(NULL), PYTHEUS_OK);
    CHECK_STR(ASK("GET", "c"), "1");
    pytheus_registry_free(pytheus_default());
}

TEST(certificates_that_are_not_taken) {
    NEED_TLS();
    is_refused_by("localhost",
                  "its certificate is not taken: self-signed certificate in certificate chain",
                  WITH(.tls_ca = at("other-ca.pem")));
    is_refused_by("localhost", "its certificate is not taken: hostname mismatch",
                  WITH(.tls_server_name = "redis.example"));
    server_shows("expired");
    is_refused_by("localhost", "its certificate is not taken: certificate has expired", WITH(0));
    server_shows("elsewhere");
    is_refused_by("localhost", "its certificate is not taken: hostname mismatch", WITH(0));
    is_refused_by("127.0.0.1", "its certificate is not taken: IP address mismatch",
                  WITH(.url = "rediss://127.0.0.1", .port = tls_port));
    comes_through(WITH(.tls_server_name = "redis.example"));
    server_shows("server");
}

/* Nobody but the system says whom to trust, and it does not know ours. */
TEST(without_an_authority_the_system_is_asked) {
    NEED_TLS();
    pytheus_redis_desc desc = WITH(0);
    desc.tls_ca = NULL;
    is_refused_by("localhost",
                  "its certificate is not taken: self-signed certificate in certificate chain",
                  desc);
    setenv("SSL_CERT_FILE", at("ca.pem"), 1);
    comes_through(desc);
    unsetenv("SSL_CERT_FILE");
}

TEST(a_server_that_wants_to_know_its_clients) {
    NEED_TLS();
    CHECK_STR(ASK("CONFIG", "SET", "tls-auth-clients", "yes"), "OK");
    pytheus_backend backend;
    pytheus_redis_desc nobody = WITH(0);
    CHECK_ERR(pytheus_redis_backend(&nobody, &backend), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "certificate required") != NULL);
    comes_through(WITH(.tls_certificate = at("client.pem"), .tls_key = at("client.key")));
    comes_through(WITH(.tls_certificate = at("both.pem")));
    nobody = WITH(.tls_certificate = at("other-ca.pem"), .tls_key = at("other-ca.key"));
    CHECK_ERR(pytheus_redis_backend(&nobody, &backend), PYTHEUS_ERR_CONFIG);
    CHECK_STR(ASK("CONFIG", "SET", "tls-auth-clients", "no"), "OK");
}

TEST(files_that_are_of_no_use) {
    NEED_TLS();
    is_refused(WITH(.tls_ca = "/none/ca.pem"),
               "redis: tls_ca: \"/none/ca.pem\": No such file or directory");
    is_refused(WITH(.tls_ca = at("client.key")),
               "redis: tls_ca: \"%s\": no certificate or crl found", at("client.key"));
    is_refused(WITH(.tls_certificate = "/none/c.pem"),
               "redis: tls_certificate: \"/none/c.pem\": No such file or directory");
    is_refused(WITH(.tls_certificate = at("client.key")),
               "redis: tls_certificate: \"%s\": no start line", at("client.key"));
    is_refused(WITH(.tls_certificate = at("client.pem"), .tls_key = "/none/key"),
               "redis: tls_key: \"/none/key\": No such file or directory");
    is_refused(WITH(.tls_certificate = at("client.pem"), .tls_key = at("server.key")),
               "redis: tls_key: \"%s\": key values mismatch", at("server.key"));
    is_refused(WITH(.tls_certificate = at("client.pem"), .tls_key = at("locked.key")),
               "redis: tls_key: \"%s\": has a password", at("locked.key"));
}

/* A file may be away for a moment, and is another one the next time. */
TEST(files_are_read_for_each_connection) {
    NEED_TLS();
    char ca[96];
    snprintf(ca, sizeof ca, "%s", at("moved.pem"));
    CHECK(!link(at("ca.pem"), ca));
    pytheus_redis_desc desc = WITH(.tls_ca = ca);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    CHECK(!unlink(ca));
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_CONFIG);
    CHECK(!link(at("other-ca.pem"), ca));
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_CONFIG);
    CHECK(!unlink(ca) && !link(at("ca.pem"), ca));
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "1");
    pytheus_registry_free(r);
    unlink(ca);
}

/* -- servers that do not shake hands -- */

static double seconds_to_be_told(int port, const char *why) {
    char place[64], sentence[128];
    snprintf(place, sizeof place, "rediss://127.0.0.1:%d", port);
    snprintf(sentence, sizeof sentence, "redis: 127.0.0.1:%d: %s", port, why);
    double began = redis_seconds(), longest;
    pytheus_redis_desc desc = WITH(.url = place, .connect_timeout_ms = 300);
    pytheus_registry *r = redis_registry(&desc);
    longest = redis_seconds() - began;
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    began = redis_seconds();
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    CHECK_STR(pytheus_last_error(), sentence);
    CHECK_STR(logged.sentence, sentence);
    longest = redis_seconds() - began > longest ? redis_seconds() - began : longest;
    pytheus_registry_free(r);
    return longest;
}

static int listens(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int s = socket(AF_INET, SOCK_STREAM, 0);
    *port = redis_free_port();
    address.sin_port = htons((uint16_t)*port);
    return !bind(s, (struct sockaddr *)&address, sizeof address) && !listen(s, 100) ? s : -1;
}

TEST(a_server_that_says_nothing) {
    NEED_TLS();
    int port, s = listens(&port);
    CHECK(seconds_to_be_told(port, "no TLS: no handshake in time") < 0.3 + 0.5);
    close(s);
}

/* Its lines end where ours never do, so that it waits for more. */
TEST(a_server_without_tls) {
    NEED_TLS();
    char place[64];
    CHECK(seconds_to_be_told(redis_port, "no TLS: no handshake in time") < 0.3 + 0.5);
    snprintf(place, sizeof place, "redis://127.0.0.1:%d", tls_port);
    pytheus_redis_desc desc = {.url = place}; /* and the other way round */
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter_inc(COUNTER(r, .name = "c"));
    CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
    pytheus_registry_free(r);
}

/* Everything comes, but a byte at a time. */
static void drips(int listener) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
        int client = accept(listener, NULL, NULL), server = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_port = htons((uint16_t)tls_port);
        if (connect(server, (struct sockaddr *)&address, sizeof address))
            _exit(1);
        struct pollfd ready[2] = {{.fd = client, .events = POLLIN},
                                  {.fd = server, .events = POLLIN}};
        char bytes[4096];
        ssize_t size = 1;
        while (size > 0 && poll(ready, 2, -1) > 0) {
            bool asks = ready[0].revents != 0;
            size = read(ready[!asks].fd, bytes, asks ? sizeof bytes : 1);
            if (size > 0 && send(ready[asks].fd, bytes, (size_t)size, MSG_NOSIGNAL) < 0)
                size = 0;
            redis_sleep_ms(asks ? 0 : 5);
        }
        close(client);
        close(server);
    }
}

static int in_between(void (*runs)(int listener), int *port) {
    int listener = listens(port);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        runs(listener);
    close(listener);
    return pid;
}

static void ends(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

TEST(a_handshake_byte_by_byte) {
    NEED_TLS();
    int port;
    pid_t pid = in_between(drips, &port);
    CHECK(seconds_to_be_told(port, "no TLS: no handshake in time") < 0.3 + 0.5);
    ends(pid);
}

static void talks(int listener) {
    static const char text[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (send(client, text, sizeof text - 1, MSG_NOSIGNAL) > 0)
            redis_sleep_ms(1000);
        close(client);
    }
}

TEST(a_server_that_speaks_something_else) {
    NEED_TLS();
    int port;
    pid_t pid = in_between(talks, &port);
    char place[64];
    pytheus_backend backend;
    snprintf(place, sizeof place, "rediss://127.0.0.1:%d", port);
    pytheus_redis_desc desc = WITH(.url = place);
    CHECK_ERR(pytheus_redis_backend(&desc, &backend), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), ": no TLS: ") != NULL);
    ends(pid);
}

TEST(a_hung_server_holds_up_nobody) {
    NEED_TLS();
    pytheus_redis_desc desc =
        WITH(.connect_timeout_ms = 200, .command_timeout_ms = 300, .flush_interval_ms = 20);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    pytheus_counter_inc(c);
    FLUSH(r);
    kill(redis_pid, SIGSTOP);
    for (int i = 0; i < 3; i++) {
        double began = redis_seconds();
        CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
        CHECK(redis_seconds() - began < 0.1);
        CHECK_ERR(pytheus_flush(r), PYTHEUS_ERR_BACKEND);
        CHECK(redis_seconds() - began < 2 * 0.5 + 0.5);
    }
    kill(redis_pid, SIGCONT);
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "4");
    pytheus_registry_free(r);
}

/* -- what is counted -- */

static long connections(void) {
    const char *text = strstr(ASK("INFO", "stats"), "total_connections_received:");
    return text ? strtol(strchr(text, ':') + 1, NULL, 10) : -1;
}

TEST(one_connection_is_kept) {
    NEED_TLS();
    pytheus_redis_desc desc = WITH(0);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    FLUSH(r);
    long before = connections();
    for (int i = 0; i < 5; i++) {
        pytheus_counter_inc(c);
        FLUSH(r);
        redis_sleep_ms(20);
    }
    CHECK_INT(connections(), before);
    pytheus_registry_free(r);
}

/* Carries what it gets in TLS; after each answer it asks for new keys, while nobody asks it. */
static void changes_keys(int listener) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!SSL_CTX_use_certificate_chain_file(context, at("server.pem")) ||
        !SSL_CTX_use_PrivateKey_file(context, at("server.key"), SSL_FILETYPE_PEM))
        _exit(1);
    for (;;) {
        SSL *client = SSL_new(context);
        redisContext *server = redisConnectUnix(redis_socket);
        char bytes[16384];
        int size = 1;
        SSL_set_fd(client, accept(listener, NULL, NULL));
        if (SSL_accept(client) != 1)
            _exit(2);
        struct pollfd ready[2] = {{.fd = SSL_get_fd(client), .events = POLLIN},
                                  {.fd = server->fd, .events = POLLIN}};
        while (size > 0 && poll(ready, 2, -1) > 0) {
            if (ready[0].revents) {
                size = SSL_read(client, bytes, sizeof bytes);
                size = size > 0 ? (int)send(server->fd, bytes, (size_t)size, MSG_NOSIGNAL) : 0;
            } else {
                size = (int)read(server->fd, bytes, sizeof bytes);
                size = size > 0 ? SSL_write(client, bytes, size) : 0;
                SSL_key_update(client, SSL_KEY_UPDATE_REQUESTED);
                SSL_do_handshake(client);
            }
        }
        redisFree(server);
        close(SSL_get_fd(client));
        SSL_free(client);
    }
}

TEST(what_tls_says_of_its_own_ends_no_connection) {
    NEED_TLS();
    int port;
    pid_t pid = in_between(changes_keys, &port);
    pytheus_redis_desc desc = WITH(.url = "rediss://localhost", .port = port);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    FLUSH(r);
    long before = connections();
    for (int i = 0; i < 5; i++) {
        redis_sleep_ms(100); /* small pieces wait for the acknowledgement of what went before */
        pytheus_counter_inc(c);
        FLUSH(r);
    }
    CHECK_INT(connections(), before);
    CHECK_STR(ASK("GET", "c"), "5");
    pytheus_registry_free(r);
    ends(pid);
}

TEST(lost_connections_lose_no_count) {
    NEED_TLS();
    pytheus_redis_desc desc = WITH(.flush_interval_ms = 20);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    signal(SIGPIPE, SIG_DFL);
    for (int i = 1; i <= 20; i++) {
        for (int j = 0; j < 100; j++)
            pytheus_counter_inc(c);
        if (i % 2)
            FLUSH(r);
        (void)ASK("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
        if (i % 10 == 0) {
            redis_end(true);
            pytheus_counter_inc(c);
            CHECK(launch());
        }
    }
    FLUSH(r);
    CHECK_STR(ASK("GET", "c"), "2002");
    pytheus_registry_free(r);
}

static void ends_connections(void) {
    redisContext *server = redisConnectUnix(redis_socket);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;; usleep(1000))
        freeReplyObject(redisCommand(server, "CLIENT KILL TYPE normal SKIPME yes"));
}

/* Those that end while something is sent would raise SIGPIPE. */
TEST(connections_that_end_in_the_middle_of_things) {
    NEED_TLS();
    pytheus_redis_desc desc = WITH(.flush_interval_ms = 3600000);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"}), series[500];
    char x[500];
    long rounds = 0, n;
    memset(x, 'x', sizeof x);
    x[sizeof x - 1] = '\0';
    for (size_t i = 0; i < COUNT_OF(series); i++) {
        x[snprintf(x, 16, "%d", (int)i)] = 'x';
        series[i] = pytheus_counter_labels(c, "x", x);
    }
    redis_hang_up(); /* that one would raise it */
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        ends_connections();
    signal(SIGPIPE, SIG_DFL);
    for (double began = redis_seconds(); redis_seconds() - began < 2; rounds++) {
        for (size_t i = 0; i < COUNT_OF(series); i++)
            pytheus_counter_inc(series[i]);
        (void)pytheus_flush(r);
    }
    ends(pid);
    FLUSH(r);
    for (n = 100; n < (long)COUNT_OF(series); n += 100) {
        char field[540];
        x[snprintf(x, 16, "%d", (int)n)] = 'x';
        snprintf(field, sizeof field, "{\"x\": \"%s\"}", x);
        CHECK_INT(strtol(ASK("HGET", "c", field), NULL, 10), rounds);
    }
    pytheus_registry_free(r);
}

/* Many records in both directions. */
TEST(large_flushes_and_pages) {
    NEED_TLS();
    enum { SERIES = 5000 };
    pytheus_redis_desc desc = WITH(.command_timeout_ms = 20000);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c", .required_labels = {"x"});
    char x[600];
    memset(x, 'x', sizeof x);
    x[sizeof x - 1] = '\0';
    for (int i = 0; i < SERIES; i++) {
        x[snprintf(x, 16, "%d", i)] = 'x';
        pytheus_counter_inc(pytheus_counter_labels(c, "x", x));
    }
    FLUSH(r);
    CHECK_STR(ASK("HLEN", "c"), "5000");
    char *text = redis_page(r);
    int lines = 0;
    for (const char *line = text; line && (line = strstr(line, "\nc{")) != NULL; line++)
        lines++;
    CHECK_INT(lines, SERIES);
    pytheus_free(text);
    pytheus_registry_free(r);
}

TEST(a_child_leaves_the_connection_alone) {
    NEED_TLS();
    pytheus_redis_desc desc = WITH(.flush_interval_ms = 20);
    pytheus_registry *r = redis_registry(&desc);
    pytheus_counter c = COUNTER(r, .name = "c");
    for (int i = 0; i < 10; i++) {
        pytheus_counter_inc(c);
        if (i % 2)
            FLUSH(r);
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            pytheus_counter_add(c, 100);
            _exit(pytheus_flush(r) != PYTHEUS_OK);
        }
        int status = -1;
        pytheus_counter_inc(c);
        FLUSH(r);
        waitpid(pid, &status, 0);
        CHECK_INT(status, 0);
    }
    CHECK_STR(ASK("GET", "c"), "1020");
    pytheus_registry_free(r);
}
