/* The answer to a request, without a server: what is served where, to whom, in which form; pages
   that fail; the limit of scrapes at once. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_HTTP_NO_SERVER
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <stdlib.h>

static void *may_fail(size_t size);
#define PYTHEUS_HTTP_MALLOC(size) may_fail(size)
#define PYTHEUS_HTTP_FREE(p) free(p)
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

static int allocations_left = -1;

static void *may_fail(size_t size) {
    return allocations_left && allocations_left-- ? malloc(size) : NULL;
}

/* ---- an answer, kept ---- */

typedef struct answer {
    pytheus_http_head head;
    int num_heads, num_pieces, refuses_piece;
    char *body;
    size_t size;
} answer;

static answer got;

static pytheus_err keep_head(void *user, const pytheus_http_head *head) {
    answer *a = user;
    a->head = *head;
    a->num_heads++;
    return PYTHEUS_OK;
}

static pytheus_err keep_body(void *user, const char *bytes, size_t size) {
    answer *a = user;
    if (++a->num_pieces == a->refuses_piece)
        return pytheus_fail(PYTHEUS_ERR_IO, "no more");
    a->body = realloc(a->body, a->size + size + 1);
    memcpy(a->body + a->size, bytes, size);
    a->size += size;
    a->body[a->size] = '\0';
    return PYTHEUS_OK;
}

static void forget_answer(void) {
    free(got.body);
    memset(&got, 0, sizeof got);
}

/* It stays until the next one. */
static pytheus_err ask_with(pytheus_http_site *site, pytheus_http_request request,
                            int refuses_piece) {
    pytheus_http_sink sink = {keep_head, keep_body, &got};
    forget_answer();
    got.refuses_piece = refuses_piece;
    pytheus_err err = pytheus_http_answer(site, &request, &sink);
    CHECK_INT(got.num_heads, 1);
    CHECK_INT(site->running_scrapes, 0);
    if (got.head.length >= 0 && !err && strcmp(request.method, "HEAD") != 0)
        CHECK_INT(got.size, got.head.length);
    return err;
}

#define ASK(site, ...) CHECK_ERR(ask_with(site, (pytheus_http_request){__VA_ARGS__}, 0), PYTHEUS_OK)
#define GET(site, ...) ASK(site, .method = "GET", .target = __VA_ARGS__)

static const char *header(const char *name) {
    for (size_t i = 0; i < got.head.num_headers; i++)
        if (!strcmp(got.head.headers[i].name, name))
            return got.head.headers[i].value;
    return NULL;
}

#define CHECK_TEXT(status_, body_)                                                                 \
    do {                                                                                           \
        CHECK_INT(got.head.status, status_);                                                       \
        CHECK_STR(header("Content-Type"), "text/plain; charset=utf-8");                            \
        CHECK_STR(got.body ? got.body : "", body_);                                                \
    } while (0)

static pytheus_http_site site_of(pytheus_registry *registry) {
    return (pytheus_http_site){.registry = registry};
}

/* ---- what is served where ---- */

TEST_WITH(registry, the_page_is_served) {
    pytheus_http_site site = site_of(registry);
    pytheus_counter_inc(COUNTER(registry, .name = "hits_total", .help = "Hits."));
    GET(&site, "/metrics");
    CHECK_INT(got.head.status, 200);
    CHECK_STR(got.head.reason, "OK");
    CHECK_STR(header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    CHECK_STR(header("Vary"), "Accept, Accept-Encoding");
    CHECK(!header("Content-Encoding"));
    CHECK_INT(got.head.length, -1);
    CHECK_STR(got.body, "# HELP hits_total Hits.\n# TYPE hits_total counter\nhits_total 1\n");
}

TEST_WITH(registry, an_empty_page_is_a_page) {
    pytheus_http_site site = site_of(registry);
    GET(&site, "/metrics");
    CHECK_INT(got.head.status, 200);
    CHECK_INT(got.size, 0);
}

TEST_WITH(registry, accept_chooses_the_format) {
    pytheus_http_site site = site_of(registry);
    COUNTER(registry, .name = "hits_total");
    GET(&site, "/metrics", .accept = "application/openmetrics-text;version=1.0.0,*/*;q=0.1");
    CHECK_STR(header("Content-Type"), pytheus_content_type(PYTHEUS_OPENMETRICS));
    CHECK_STR(got.body, "# TYPE hits counter\nhits_total 0\n# EOF\n");
    GET(&site, "/metrics", .accept = "image/png");
    CHECK_STR(header("Content-Type"), pytheus_content_type(PYTHEUS_TEXT));
}

TEST_WITH(registry, head_is_get_without_the_body) {
    static const char *const targets[] = {"/metrics", "/", "/favicon.ico", "/none"};
    pytheus_http_site site = site_of(registry);
    COUNTER(registry, .name = "hits_total");
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        GET(&site, targets[i]);
        pytheus_http_head head = got.head;
        ASK(&site, .method = "HEAD", .target = targets[i]);
        CHECK_INT(got.num_pieces, 0);
        CHECK_INT(got.head.status, head.status);
        CHECK_INT(got.head.length, head.length);
        CHECK_STR(header("Content-Type"), head.headers[0].value);
    }
}

TEST_WITH(registry, the_home_page_links_to_the_page) {
    pytheus_http_site site = site_of(registry);
    site.path = "/stat/us-1.0_~";
    GET(&site, "/");
    CHECK_INT(got.head.status, 200);
    CHECK_STR(header("Content-Type"), "text/html; charset=utf-8");
    CHECK(strstr(got.body, "<a href=\"./stat/us-1.0_~\">/stat/us-1.0_~</a>"));
    GET(&site, "/stat/us-1.0_~");
    CHECK_STR(header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    GET(&site, "/metrics");
    CHECK_TEXT(404, "not found\n");
}

TEST_WITH(registry, the_page_may_be_the_home_page) {
    pytheus_http_site site = site_of(registry);
    site.path = "/";
    GET(&site, "/?name[]=x");
    CHECK_STR(header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
}

TEST_WITH(registry, the_icon_is_empty) {
    pytheus_http_site site = site_of(registry);
    GET(&site, "/favicon.ico");
    CHECK_INT(got.head.status, 200);
    CHECK_INT(got.head.length, 0);
    CHECK_INT(got.num_pieces, 0);
    CHECK_STR(header("Content-Type"), "image/x-icon");
}

TEST_WITH(registry, other_paths_are_not_found) {
    static const char *const targets[] = {"/metric", "/metricsx", "/metrics/",  "//metrics",
                                          "metrics", "",          "/METRICS",   "/metrics%00",
                                          "*",       "/..",       "http:/none", "/favicon.ico/"};
    pytheus_http_site site = site_of(registry);
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        GET(&site, targets[i]);
        CHECK_TEXT(404, "not found\n");
    }
}

TEST_WITH(registry, a_target_may_be_a_whole_address) {
    pytheus_http_site site = site_of(registry);
    GET(&site, "http://host:9100/metrics?name[]=x");
    CHECK_INT(got.head.status, 200);
    GET(&site, "http://host:9100");
    CHECK_STR(header("Content-Type"), "text/html; charset=utf-8");
    GET(&site, "http://host?/metrics");
    CHECK_STR(header("Content-Type"), "text/html; charset=utf-8");
    GET(&site, "http://host/none");
    CHECK_TEXT(404, "not found\n");
}

TEST_WITH(registry, other_methods_are_not_allowed) {
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "TRACE", "get", ""};
    static const char *const targets[] = {"/metrics", "/", "/favicon.ico"};
    pytheus_http_site site = site_of(registry);
    for (size_t i = 0; i < COUNT_OF(methods) * COUNT_OF(targets); i++) {
        ASK(&site, .method = methods[i / COUNT_OF(targets)],
            .target = targets[i % COUNT_OF(targets)]);
        CHECK_TEXT(405, "only GET and HEAD\n");
        CHECK_STR(header("Allow"), "GET, HEAD");
    }
    ASK(&site, .method = "POST", .target = "/none");
    CHECK_TEXT(404, "not found\n");
}

TEST(no_request_is_an_error) {
    pytheus_http_site site = {0};
    pytheus_http_request request = {.method = "GET", .target = "/"};
    pytheus_http_sink sink = {keep_head, keep_body, &got}, half = {.head = keep_head};
    CHECK_ERR(pytheus_http_answer(NULL, &request, &sink), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_http_answer(&site, NULL, &sink), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_http_answer(&site, &request, NULL), PYTHEUS_ERR_IO);
    CHECK_ERR(pytheus_http_answer(&site, &request, &half), PYTHEUS_ERR_IO);
}

TEST(a_request_of_nothing_is_answered) {
    pytheus_http_site site = {0};
    pytheus_http_request request = {0};
    pytheus_http_sink sink = {keep_head, keep_body, &got};
    forget_answer();
    CHECK_ERR(pytheus_http_answer(&site, &request, &sink), PYTHEUS_OK);
    CHECK_TEXT(400, "no method\n");
}

TEST(a_site_that_makes_no_sense_says_so) {
    static const struct {
        pytheus_http_site site;
        const char *sentence;
    } rows[] = {
        {{.path = "metrics"},
         "site: the path \"metrics\" is not one of letters, digits and /._~-\n"},
        {{.path = ""}, "site: the path \"\" is not one of letters, digits and /._~-\n"},
        {{.path = "/a b"}, "site: the path \"/a b\" is not one of letters, digits and /._~-\n"},
        {{.path = "/\"><script>"},
         "site: the path \"/\"><script>\" is not one of letters, digits and /._~-\n"},
        {{.user = "ann"}, "site: user and password belong together\n"},
        {{.password = "secret"}, "site: user and password belong together\n"},
        {{.token = ""}, "site: the token is empty\n"},
        {{.token = "a b"}, "site: the token has a blank or a control character in it\n"},
        {{.token = "a\n"}, "site: the token has a blank or a control character in it\n"},
        {{.token = "\x7f"}, "site: the token has a blank or a control character in it\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        pytheus_http_site site = rows[i].site;
        GET(&site, "/metrics", .authorization = "Bearer ");
        CHECK_TEXT(500, rows[i].sentence);
    }
}

TEST(a_path_has_a_length) {
    char path[203];
    pytheus_http_site site = {.path = path};
    memset(path, 'x', sizeof path);
    path[0] = '/';
    path[200] = '\0';
    GET(&site, "/");
    CHECK_INT(got.head.status, 200);
    CHECK(strstr(got.body, path) && strstr(got.body, "</html>\n"));
    path[200] = 'x';
    path[201] = '\0';
    GET(&site, "/");
    CHECK_INT(got.head.status, 500);
}

/* ---- names ---- */

TEST_WITH(registry, names_choose_metrics) {
    static const struct {
        const char *query, *names;
    } rows[] = {
        {"", "abc"},
        {"?", "abc"},
        {"?x=1", "abc"},
        {"?name=a_total", "abc"},
        {"?name[]=a_total", "a"},
        {"?name[]=a_total&name[]=c_total", "ac"},
        {"?name%5B%5D=b_total", "b"},
        {"?%6eame%5b]=b_total&x=2", "b"},
        {"?x=1&name[]=b%5Ftotal", "b"},
        {"?name[]=b_total&name[]=b_total", "b"},
        {"?name[]=none", ""},
        {"?name[]=", ""},
        {"?name[]", ""},
        {"?name[]&&name[]=c_total&", "c"},
        {"?name[]=a_total%00", ""},
        {"?name[]=a_total%", ""},
        {"?name[]=a_tota%6", ""},
        {"?name[]=a_tota%6c", "a"},
        {"?name[]=a_tota%zz", ""},
        {"?name[]=a+total", ""},
        {"?name[]=a_total=", ""},
        {"?name[]x=a_total", "abc"},
        {"?%6e%61%6d%65%5b%5d%5d%5d=a_total", "abc"},
    };
    pytheus_http_site site = site_of(registry);
    for (const char *name = "abc"; *name; name++) {
        char full[] = {*name, '_', 't', 'o', 't', 'a', 'l', 0};
        COUNTER(registry, .name = full);
    }
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char target[100], expected[200] = "";
        snprintf(target, sizeof target, "/metrics%s", rows[i].query);
        for (const char *name = rows[i].names; *name; name++)
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected),
                     "# TYPE %c_total counter\n%c_total 0\n", *name, *name);
        GET(&site, target);
        CHECK_INT(got.head.status, 200);
        if (!CHECK_STR(got.body ? got.body : "", expected))
            printf("    of %s\n", rows[i].query);
    }
}

TEST_WITH(registry, any_number_of_names_is_read) {
    enum { NUM = 5000 };
    static char target[NUM * 20];
    pytheus_http_site site = site_of(registry);
    COUNTER(registry, .name = "last_total");
    size_t size = (size_t)snprintf(target, sizeof target, "/metrics?");
    for (int i = 0; i < NUM; i++)
        size += (size_t)snprintf(target + size, sizeof target - size, "name[]=%d&", i);
    snprintf(target + size, sizeof target - size, "name[]=last_total");
    GET(&site, target);
    CHECK_STR(got.body, "# TYPE last_total counter\nlast_total 0\n");
}

/* ---- gzip ---- */

#ifndef PYTHEUS_HTTP_NO_GZIP

TEST_WITH(registry, accept_encoding_chooses_gzip) {
    static const struct {
        const char *accept_encoding;
        bool gzip;
    } rows[] = {
        {NULL, false},
        {"", false},
        {"gzip", true},
        {"GZip", true},
        {" gzip ", true},
        {"deflate, gzip", true},
        {"gzip, deflate, br", true},
        {"gzip;q=1.0, identity; q=0.5, *;q=0", true},
        {"gzip;q=0", false},
        {"gzip;q=0.000", false},
        {"gzip; q=0.001", true},
        {"gzip;Q=0", false},
        {"gzip;x=1;q=0", false},
        {"gzip;x=1;q=1", true},
        {"identity", false},
        {"identity;q=0", false},
        {"identity;q=0, *", true},
        {"identity, gzip;q=0.5", false},
        {"identity;q=0.5, gzip;q=0.5", true},
        {"identity;q=0.5, gzip;q=0.6", true},
        {"gzip;q=0.8, *;q=0.9", false},
        {"*", true},
        {"*;q=0", false},
        {"*;q=0, gzip", true},
        {"gzip;q=0, *", false},
        {"br, *;q=0.1", true},
        {"x-gzip2", false},
        {"gzipped", false},
        {"zgzip", false},
        {"gzip;q=2", false},
        {"gzip;q=-1", false},
        {"gzip;q=yes", false},
        {"gzip;q=0.5x", false},
        {"gzip;q=", false},
        {"gzip;q", true},
        {",,gzip,", true},
        {";q=1,gzip", true},
        {"gzip;q=0.00000000000000000001", false},
    };
    pytheus_http_site site = site_of(registry);
    COUNTER(registry, .name = "hits_total");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        GET(&site, "/metrics", .accept_encoding = rows[i].accept_encoding);
        if (!CHECK_INT(header("Content-Encoding") != NULL, rows[i].gzip))
            printf("    of %s\n", rows[i].accept_encoding);
        CHECK_INT((unsigned char)got.body[0], rows[i].gzip ? 0x1f : '#');
    }
}

/* To be freed. NULL where it is not one whole gzip file. */
static char *unpack(const char *bytes, size_t size, size_t room) {
    z_stream stream = {0};
    char *text = malloc(room + 1);
    inflateInit2(&stream, 16 + MAX_WBITS);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)text;
    stream.avail_out = (uInt)room;
    int result = inflate(&stream, Z_FINISH);
    text[room - stream.avail_out] = '\0';
    bool whole = result == Z_STREAM_END && !stream.avail_in;
    inflateEnd(&stream);
    if (whole)
        return text;
    free(text);
    return NULL;
}

static void check_gzip(pytheus_http_site *site) {
    char *plain, *unpacked;
    size_t size;
    GET(site, "/metrics");
    plain = page_copy(got.body ? got.body : "", got.size);
    size = got.size;
    GET(site, "/metrics", .accept_encoding = "gzip");
    CHECK_STR(header("Content-Encoding"), "gzip");
    unpacked = unpack(got.body, got.size, size);
    CHECK_STR(unpacked, plain);
    free(plain);
    free(unpacked);
}

TEST_WITH(registry, gzip_unpacks_to_the_page) {
    pytheus_http_site site = site_of(registry);
    uint64_t random = 7;
    pytheus_gauge g = GAUGE(registry, .name = "noise", .required_labels = {"i"});
    check_gzip(&site);
    for (int i = 0; i < 9000; i++) {
        char value[40];
        snprintf(value, sizeof value, "%" PRIx64 "%" PRIx64, check_random(&random),
                 check_random(&random));
        pytheus_gauge_set(pytheus_gauge_labels(g, "i", value), 1 / (double)check_random(&random));
        if (i == 1 || i == 1000)
            check_gzip(&site);
    }
    check_gzip(&site);
    CHECK(got.num_pieces > 3);
}

TEST_WITH(registry, head_says_gzip_too) {
    pytheus_http_site site = site_of(registry);
    ASK(&site, .method = "HEAD", .target = "/metrics", .accept_encoding = "gzip");
    CHECK_STR(header("Content-Encoding"), "gzip");
    CHECK_INT(got.num_pieces, 0);
}

TEST_WITH(registry, without_memory_for_gzip_the_page_is_plain) {
    pytheus_http_site site = site_of(registry);
    COUNTER(registry, .name = "hits_total");
    allocations_left = 0;
    GET(&site, "/metrics", .accept_encoding = "gzip");
    allocations_left = -1;
    CHECK(!header("Content-Encoding"));
    CHECK_STR(got.body, "# TYPE hits_total counter\nhits_total 0\n");
}

#endif

TEST_WITH(registry, without_memory_for_names_there_is_no_page) {
    pytheus_http_site site = site_of(registry);
    allocations_left = 0;
    GET(&site, "/metrics?name[]=x");
    allocations_left = -1;
    CHECK_TEXT(500, "page: out of memory for its names\n");
}

/* ---- who may see it ---- */

typedef struct credentials_row {
    const char *authorization;
    bool may;
} credentials_row;

static void check_credentials(pytheus_http_site *site, const credentials_row *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        GET(site, "/metrics", .authorization = rows[i].authorization);
        if (!CHECK_INT(got.head.status, rows[i].may ? 200 : 401))
            printf("    of %s\n", rows[i].authorization);
    }
}

TEST_WITH(registry, basic_authentication_is_asked_for) {
    static const credentials_row rows[] = {
        {NULL, false},
        {"", false},
        {"Basic", false},
        {"Basic ", false},
        {"Basic YW5uOnNlY3JldA==", true}, /* ann:secret */
        {"Basic YW5uOnNlY3JldA=", true},
        {"Basic YW5uOnNlY3JldA", true},
        {"basic  YW5uOnNlY3JldA== ", true},
        {"Basic YW5uOnNlY3JldA== x", false},
        {"Basic YW5uOnNlY3JldAA=", false},             /* one byte more: NUL */
        {"Basic YW5uOnNlY3Jl", false},                 /* ann:secre */
        {"Basic YW5uOnNlY3JldHg=", false},             /* ann:secretx */
        {"Basic YW5uOnNlY3JlVA==", false},             /* ann:secreT */
        {"Basic Ym9iOnNlY3JldA==", false},             /* bob:secret */
        {"Basic YW5u", false},                         /* ann */
        {"Basic YW5uOnNlY3JldGFubjpzZWNyZXQ=", false}, /* twice */
        {"Basic ann:secret", false},
        {"Bearer YW5uOnNlY3JldA==", false},
        {"Basicx YW5uOnNlY3JldA==", false},
        {"YW5uOnNlY3JldA==", false},
    };
    pytheus_http_site site = site_of(registry);
    site.user = "ann";
    site.password = "secret";
    check_credentials(&site, rows, COUNT_OF(rows));
    GET(&site, "/none");
    CHECK_TEXT(401, "credentials are needed\n");
    CHECK_STR(header("WWW-Authenticate"), "Basic realm=\"metrics\", charset=\"UTF-8\"");
}

TEST_WITH(registry, all_bytes_may_be_in_a_password) {
    char password[256];
    pytheus_http_site site = site_of(registry);
    for (int i = 0; i < 255; i++)
        password[i] = (char)(i + 1);
    password[255] = '\0';
    site.user = "";
    site.password = password + 245;
    GET(&site, "/metrics", .authorization = "Basic Ovb3+Pn6+/z9/v8=");
    CHECK_INT(got.head.status, 200);
    GET(&site, "/metrics", .authorization = "Basic Ovb3+Pn6+/z9/v4=");
    CHECK_INT(got.head.status, 401);
}

TEST_WITH(registry, a_bearer_token_is_asked_for) {
    static const credentials_row rows[] = {
        {NULL, false},
        {"Bearer", false},
        {"Bearer ", false},
        {"Bearer s3cret", true},
        {"bearer s3cret", true},
        {"Bearer s3cre", false},
        {"Bearer s3crets", false},
        {"Bearer s3crets3cret", false},
        {"Bearer S3cret", false},
        {"s3cret", false},
        {"Basic s3cret", false},
        {"Bearer  s3cret ", true},
        {"Bearer s3cret x", false},
        {"Bearer s3cret, Bearer s3cret", false},
    };
    pytheus_http_site site = site_of(registry);
    site.token = "s3cret";
    check_credentials(&site, rows, COUNT_OF(rows));
    GET(&site, "/");
    CHECK_INT(got.head.status, 401);
    CHECK_STR(header("WWW-Authenticate"), "Bearer realm=\"metrics\"");
}

TEST_WITH(registry, either_credential_will_do) {
    static const credentials_row rows[] = {
        {"Bearer s3cret", true}, {"Basic OnA=", false}, {"Basic dTpw", true}, {NULL, false}};
    pytheus_http_site site = site_of(registry);
    site.token = "s3cret";
    site.user = "u";
    site.password = "p";
    check_credentials(&site, rows, COUNT_OF(rows));
    CHECK_INT(got.head.num_headers, 3);
}

/* ---- pages that fail, or take too long ---- */

typedef struct trouble {
    pytheus_registry *registry;
    int calls_before, num_calls;
    size_t num_families; /* that come before it */
    double seconds;
} trouble;

static pytheus_err make_trouble(void *user, pytheus_emitter *out) {
    trouble *t = user;
    char name[40];
    (void)out;
    if (t->num_calls++ < t->calls_before)
        return PYTHEUS_OK;
    for (size_t i = 0; i < t->num_families; i++) {
        snprintf(name, sizeof name, "many_%zu", i);
        pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = name});
        pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
    }
    if (t->seconds > 0) {
        double until = pytheus__http_now() + t->seconds;
        while (pytheus__http_now() < until)
            ;
        return PYTHEUS_OK;
    }
    return pytheus_fail(PYTHEUS_ERR_BACKEND, "the disk of the collector is away");
}

static void add_trouble(pytheus_registry *registry, trouble *t) {
    t->registry = registry;
    pytheus_registry_add_collector(
        registry, &(pytheus_collector){.name = "trouble", .collect = make_trouble, .user = t});
}

TEST_WITH(registry, a_page_that_fails_at_once_is_an_error_with_a_sentence) {
    static trouble t = {.calls_before = 1};
    pytheus_http_site site = site_of(registry);
    t.num_calls = 0;
    add_trouble(registry, &t);
    GET(&site, "/metrics", .accept_encoding = "gzip");
    CHECK_TEXT(500, "the disk of the collector is away\n");
    CHECK_STR(got.head.reason, "Internal Server Error");
    CHECK(!header("Content-Encoding"));
    ASK(&site, .method = "HEAD", .target = "/metrics");
    CHECK_INT(got.head.status, 500);
    CHECK_INT(got.num_pieces, 0);
}

TEST_WITH(registry, a_page_that_fails_later_ends_with_the_error) {
    static trouble t = {.calls_before = 1, .num_families = 5000};
    static const char *const encodings[] = {NULL, "gzip"};
    pytheus_http_site site = site_of(registry);
    t.num_calls = 0;
    add_trouble(registry, &t);
    for (size_t i = 0; i < COUNT_OF(encodings); i++) {
        pytheus_http_request request = {
            .method = "GET", .target = "/metrics", .accept_encoding = encodings[i]};
        CHECK_ERR(ask_with(&site, request, 0), PYTHEUS_ERR_BACKEND);
        CHECK_INT(got.head.status, 200);
        CHECK_STR(pytheus_last_error(), "the disk of the collector is away");
    }
}

TEST_WITH(registry, what_the_sink_returns_ends_the_answer) {
    pytheus_http_site site = site_of(registry);
    pytheus_http_request request = {.method = "GET", .target = "/metrics"};
    COUNTER(registry, .name = "hits_total");
    CHECK_ERR(ask_with(&site, request, 1), PYTHEUS_ERR_IO);
    CHECK_STR(pytheus_last_error(), "no more");
    request.accept_encoding = "gzip";
    CHECK_ERR(ask_with(&site, request, 1), PYTHEUS_ERR_IO);
    request.target = "/";
    CHECK_ERR(ask_with(&site, request, 1), PYTHEUS_ERR_IO);
}

TEST_WITH(registry, a_page_has_the_time_that_the_scraper_has) {
    static const struct {
        const char *timeout;
        double most;
        int status;
    } rows[] = {
        {NULL, 0, 200},          {"0.01", 0, 500},      {"10", 0, 200},     {"10", 0.01, 500},
        {NULL, 0.01, 500},       {"0.000", 0, 200},     {"soon", 0, 200},   {"-1", 0, 200},
        {".01", 0, 500},         {"", 0, 200},          {"1e-9", 0, 200},   {NULL, INFINITY, 200},
        {"0.01", INFINITY, 500}, {"0.01 0.01", 0, 200}, {" 0.01 ", 0, 500},
    };
    static trouble t = {.calls_before = 1, .seconds = 0.03};
    t.num_calls = 0;
    COUNTER(registry, .name = "hits_total");
    add_trouble(registry, &t);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        pytheus_http_site site = {.registry = registry, .most_seconds = rows[i].most};
        GET(&site, "/metrics", .scrape_timeout = rows[i].timeout);
        if (!CHECK_INT(got.head.status, rows[i].status))
            printf("    of %s, %g\n", rows[i].timeout, rows[i].most);
        if (rows[i].status == 500)
            CHECK_TEXT(500, "page: the time for it is over\n");
    }
}

/* ---- scrapes at once ---- */

typedef struct nested {
    pytheus_http_site *site;
    int depth, statuses[10];
} nested;

static pytheus_err nested_head(void *user, const pytheus_http_head *head) {
    nested *n = user;
    n->statuses[n->depth++] = head->status;
    if (head->status == 503) {
        CHECK_STR(head->headers[1].name, "Retry-After");
        CHECK_STR(head->headers[1].value, "1");
        return PYTHEUS_OK;
    }
    if (n->depth == 10)
        return PYTHEUS_ERR_IO;
    pytheus_http_sink sink = {nested_head, keep_body, n};
    sink.body = keep_body;
    pytheus_http_request request = {.method = "HEAD", .target = "/metrics"};
    return pytheus_http_answer(n->site, &request, &sink);
}

TEST_WITH(registry, more_scrapes_than_the_limit_are_told_to_come_again) {
    for (unsigned limit = 0; limit < 4; limit++) {
        pytheus_http_site site = {.registry = registry, .max_scrapes = limit};
        nested n = {.site = &site};
        pytheus_http_sink sink = {nested_head, keep_body, &n};
        pytheus_http_request request = {.method = "HEAD", .target = "/metrics"};
        CHECK_ERR(pytheus_http_answer(&site, &request, &sink), PYTHEUS_OK);
        int allowed = limit ? (int)limit : 8;
        CHECK_INT(n.depth, allowed + 1);
        for (int i = 0; i < n.depth; i++)
            CHECK_INT(n.statuses[i], i < allowed ? 200 : 503);
        CHECK_INT(site.running_scrapes, 0);
    }
}

TEST(last_answer_is_freed) {
    forget_answer();
    CHECK(!got.body);
}
