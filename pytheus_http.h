/* pytheus_http.h - the page of pytheus.h, served to Prometheus

   Do this:

       #define PYTHEUS_HTTP_IMPLEMENTATION
       #include "pytheus_http.h"

   in *one* C or C++ file, which makes the implementation, and include it plainly everywhere else.
   Somewhere there is the implementation of pytheus.h. Needs libmicrohttpd and zlib (Debian, Ubuntu:
   libmicrohttpd-dev, zlib1g-dev): link with -lmicrohttpd -lz -pthread.
   This comment is the manual; the licence is in LICENSE.


   1. A SERVER

       pytheus_http *server = pytheus_http_start(&(pytheus_http_desc){.port = 9100});
       if (!server)
           fprintf(stderr, "%s\n", pytheus_last_error());
       else
           printf("serving %s\n", pytheus_http_url(server));     http://127.0.0.1:9100/metrics
       ...
       pytheus_http_stop(server);

   It answers on threads of its own until it is stopped: one for the network, and one for each page
   that is being written. It listens on 127.0.0.1 unless .address says otherwise ("0.0.0.0": on all
   of IPv4; "::": on all of both; numbers only). Port 0 is any that is free: pytheus_http_port
   tells. With .certificate and .key, paths of PEM files, it speaks TLS alone.

   What it has to say is a *site*, the .site of its description:

       .registry       whose page it is
       .path           where: /metrics
       .user, .password, .token    who may see it: basic authentication, a bearer token, or either

   pytheus_http_stop takes no new requests, returns when the last answer is out, and ends the
   threads. A collector that hangs holds it up; a scraper that reads slowly does for most_seconds
   and idle_seconds at most.


   2. WHAT IS ANSWERED

       GET, HEAD /metrics      200: the page, as text or OpenMetrics, as Accept has it; with gzip
                               where Accept-Encoding prefers it
           ?name[]=a&name[]=b  only these metrics
       GET, HEAD /             200: a small page with links
       GET, HEAD /favicon.ico  200: nothing
       another method there    405, with Allow
       another path            404
       a body                  413
       wrong credentials       401, with WWW-Authenticate
       too many at once        503, with Retry-After: max_scrapes, for one address half of them

   Every answer has a Content-Type, but for those that libmicrohttpd gives itself to what is no
   request: 400, 414, 431, 505. A page is streamed, in memory that does not grow with it. When it
   fails before its first byte the answer is 500 with the sentence of the error; later the
   connection is reset, so that nobody takes half a page for a whole one. A page may take
   most_seconds, or what the scraper says that it will wait (X-Prometheus-Scrape-Timeout-Seconds)
   if that is less.


   3. IN A SERVER OF ONE'S OWN

   A program that has a server asks for the answer alone, and sends it itself. No library is needed
   for that, nor a thread: PYTHEUS_HTTP_NO_SERVER leaves out what needs libmicrohttpd,
   PYTHEUS_HTTP_NO_GZIP what needs zlib.

       static pytheus_http_site site;
       pytheus_http_request request = {.method = method, .target = target, .accept = accept};
       pytheus_http_sink sink = {send_head, send_body, connection};
       if (pytheus_http_answer(&site, &request, &sink))
           reset(connection);

   send_head() gets status and headers, once, then send_body() the body in pieces of up to 64 KB.
   A server that may not block gives functions that append to a buffer. examples/embed.c is a plain
   loop over accept(), examples/quickstart.c a service over libmicrohttpd.


   4. STRANGERS

   Made for ports that anybody reaches: 128 connections at once, 16 from one address (for IPv6, from
   one /64). Instead of the next one, that one is closed which has waited longest for its request to
   be complete; so those who send theirs at once get their answer, however many send it slowly.
   Where all are in the middle of their answers, the next one is closed itself. A request has room
   for 128 KB, of which each name[] takes some 60 bytes besides its own: a thousand fit. A
   connection on which nothing moves for idle_seconds is closed.
   Memory is bounded by these limits: 16 MB for requests, and for each page that is being written
   200 KB, with gzip 500 KB. The number of connections is at most half of RLIMIT_NOFILE as it is at
   the start.

   Credentials are compared in a time that does not depend on them. Without TLS anyone on the way
   reads them.


   5. THREADS, SIGNALS, FORK

   All functions may be called from any thread; but pytheus_http_stop from a collector would wait
   for itself. The server's threads take no signals but those of faults and profilers, and nothing
   here raises SIGPIPE. A forked child has no server: there the sockets are closed, the parent's
   server goes on, and pytheus_http_stop does nothing.


   6. OPTIONS

   Define in the file with PYTHEUS_HTTP_IMPLEMENTATION:
   PYTHEUS_HTTP_NO_GZIP                       without zlib: never compressed
   PYTHEUS_HTTP_MALLOC(n), PYTHEUS_HTTP_FREE(p)   both, or malloc's
   Define for every file, or none:
   PYTHEUS_HTTP_NO_SERVER                     without libmicrohttpd: pytheus_http_answer alone;
                                              implied by PYTHEUS_NO_THREADS and on Windows
   PYTHEUS_STATIC, PYTHEUS_API, PYTHEUS_DISABLE   as in pytheus.h; disabled it serves an empty page

   Strict C (-std=c99) hides what the server needs of POSIX: define _POSIX_C_SOURCE 200809L before
   the first #include of the file with the implementation. */

#include "pytheus.h"

#if defined(PYTHEUS_STATIC) && !defined(PYTHEUS_HTTP_IMPLEMENTATION)
#define PYTHEUS_HTTP_IMPLEMENTATION
#endif
#if (defined(PYTHEUS_NO_THREADS) || defined(_WIN32)) && !defined(PYTHEUS_HTTP_NO_SERVER)
#define PYTHEUS_HTTP_NO_SERVER
#endif

#ifndef PYTHEUS_HTTP_H
#define PYTHEUS_HTTP_H

#ifdef __cplusplus
extern "C" {
#endif

/* ==== PUBLIC TYPES ==== */

/* What is served, and to whom. Zero means the default. The strings, and the struct itself, stay
   where they are while it is in use. */
typedef struct pytheus_http_site {
    pytheus_registry *registry PYTHEUS__ZERO; /* NULL: pytheus_default() */
    const char *path PYTHEUS__ZERO;           /* NULL: "/metrics"; letters, digits, / . _ ~ - */
    const char *user PYTHEUS__ZERO;           /* with a password: basic authentication */
    const char *password PYTHEUS__ZERO;
    const char *token PYTHEUS__ZERO;        /* bearer token */
    unsigned max_scrapes PYTHEUS__ZERO;     /* at once; 0: 8 */
    double most_seconds PYTHEUS__ZERO;      /* that a page may take; 0: 30 */
    unsigned running_scrapes PYTHEUS__ZERO; /* the library's own; 0 at first */
} pytheus_http_site;

/* Valid during the call. Headers that are not there are NULL; one that is there several times is
   one text, joined by ", ". */
typedef struct pytheus_http_request {
    const char *method PYTHEUS__ZERO; /* "GET" */
    const char *target PYTHEUS__ZERO; /* as it came: "/metrics?name[]=up" */
    const char *accept PYTHEUS__ZERO;
    const char *accept_encoding PYTHEUS__ZERO;
    const char *authorization PYTHEUS__ZERO;
    const char *scrape_timeout PYTHEUS__ZERO; /* X-Prometheus-Scrape-Timeout-Seconds */
} pytheus_http_request;

typedef struct pytheus_http_header {
    const char *name PYTHEUS__ZERO;
    const char *value PYTHEUS__ZERO;
} pytheus_http_header;

#define PYTHEUS_HTTP_MAX_HEADERS 4

/* May be copied: the strings are constants. */
typedef struct pytheus_http_head {
    int status PYTHEUS__ZERO;         /* 200 */
    const char *reason PYTHEUS__ZERO; /* "OK" */
    pytheus_http_header headers[PYTHEUS_HTTP_MAX_HEADERS] PYTHEUS__ZERO;
    size_t num_headers PYTHEUS__ZERO;
    int64_t length PYTHEUS__ZERO; /* of the body, also where HEAD leaves it out; -1: not known, to
                                     be sent in chunks */
} pytheus_http_head;

/* Where an answer goes: head() once, then body() until all of it is there; never for HEAD. What
   they return but PYTHEUS_OK ends the answer. No lock is held. */
typedef struct pytheus_http_sink {
    pytheus_err (*head)(void *user, const pytheus_http_head *head) PYTHEUS__ZERO;
    pytheus_err (*body)(void *user, const char *bytes, size_t size) PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;
} pytheus_http_sink;

#ifndef PYTHEUS_HTTP_NO_SERVER
/* Read during pytheus_http_start only: everything is copied. */
typedef struct pytheus_http_desc {
    pytheus_http_site site PYTHEUS__ZERO;
    const char *address PYTHEUS__ZERO;     /* NULL: "127.0.0.1" */
    uint16_t port PYTHEUS__ZERO;           /* 0: any */
    const char *certificate PYTHEUS__ZERO; /* paths of PEM files: TLS */
    const char *key PYTHEUS__ZERO;
    unsigned max_connections PYTHEUS__ZERO;             /* 0: 128 */
    unsigned max_connections_per_address PYTHEUS__ZERO; /* 0: 16 */
    unsigned idle_seconds PYTHEUS__ZERO;                /* 0: 10 */
} pytheus_http_desc;

typedef struct pytheus_http pytheus_http;
#endif

/* ==== PUBLIC FUNCTIONS ==== */

/* Gives the answer to the sink. PYTHEUS_OK: it is whole, whatever its status. Otherwise what the
   sink returned, or IO, NOMEM and what else ends a page after its first byte: the connection is to
   be reset. Any thread, several at once; allocates for a page only. */
PYTHEUS_API pytheus_err pytheus_http_answer(pytheus_http_site *site,
                                            const pytheus_http_request *request,
                                            const pytheus_http_sink *sink);

#ifndef PYTHEUS_HTTP_NO_SERVER
/* NULL: CONFIG, IO, NOMEM, in pytheus_last_error(). */
PYTHEUS_API pytheus_http *pytheus_http_start(const pytheus_http_desc *desc);

/* Returns when the last answer is out and the threads have ended. NULL is nothing to stop. */
PYTHEUS_API void pytheus_http_stop(pytheus_http *server);

PYTHEUS_API unsigned pytheus_http_port(const pytheus_http *server);

/* Of the page; valid until the server is stopped. */
PYTHEUS_API const char *pytheus_http_url(const pytheus_http *server);
#endif

#ifdef __cplusplus
}

#ifndef PYTHEUS_HTTP_NO_SERVER
inline pytheus_http *pytheus_http_start(const pytheus_http_desc &desc) {
    return pytheus_http_start(&desc);
}
#endif
#endif

#endif /* PYTHEUS_HTTP_H */

#if defined(PYTHEUS_HTTP_IMPLEMENTATION) && !defined(PYTHEUS__HTTP_IMPLEMENTED)
#define PYTHEUS__HTTP_IMPLEMENTED

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifndef PYTHEUS_HTTP_NO_GZIP
#include <zlib.h>
#endif

#if defined(PYTHEUS_HTTP_MALLOC) && defined(PYTHEUS_HTTP_FREE)
#elif !defined(PYTHEUS_HTTP_MALLOC) && !defined(PYTHEUS_HTTP_FREE)
#define PYTHEUS_HTTP_MALLOC(size) malloc(size)
#define PYTHEUS_HTTP_FREE(p) free(p)
#else
#error "pytheus_http.h: define both of PYTHEUS_HTTP_MALLOC and PYTHEUS_HTTP_FREE, or none of them"
#endif

#if defined(__GNUC__)
#define PYTHEUS__HTTP_ADD(p, n) __atomic_add_fetch(p, n, __ATOMIC_RELAXED)
#else
#define PYTHEUS__HTTP_ADD(p, n) (*(p) += (n))
#endif

/* ==== THE WORDS OF A REQUEST ==== */

static char pytheus__http_lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool pytheus__http_same_word(const char *text, size_t size, const char *word) {
    size_t i;
    for (i = 0; i < size && word[i]; i++) {
        if (pytheus__http_lower(text[i]) != pytheus__http_lower(word[i])) {
            return false;
        }
    }
    return i == size && !word[i];
}

static const char *pytheus__http_skip_blanks(const char *text) {
    return text + strspn(text, " \t");
}

static size_t pytheus__http_word_size(const char *text) {
    return strcspn(text, " \t,;=");
}

static bool pytheus__http_is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* A weight in thousandths; what is none is 0. RFC 9110, 12.4.2. */
static int pytheus__http_read_weight(const char *text) {
    int weight, place = 100;
    if (*text != '0' && *text != '1') {
        return 0;
    }
    weight = *text++ == '1' ? 1000 : 0;
    if (*text == '.') {
        for (text++; pytheus__http_is_digit(*text); text++, place /= 10) {
            weight += (*text - '0') * place;
        }
    }
    if (!strchr(" \t,;", *text)) { /* nor the end */
        return 0;
    }
    return weight > 1000 ? 1000 : weight;
}

/* The weight of one member of a list: its parameters begin at text. */
static int pytheus__http_weight_of(const char *text) {
    int weight = 1000;
    while (*text && *text != ',') {
        if ((*text == 'q' || *text == 'Q') && text[1] == '=') {
            weight = pytheus__http_read_weight(text + 2);
        }
        text += strcspn(text, ",;");
        if (*text == ';') {
            text = pytheus__http_skip_blanks(text + 1);
        }
    }
    return weight;
}

/* What a list of codings (RFC 9110, 12.5.3) gives to this one; -1: it is not in it. */
static int pytheus__http_weight(const char *list, const char *coding) {
    const char *member = list;
    for (;;) {
        size_t size;
        member = pytheus__http_skip_blanks(member);
        size = pytheus__http_word_size(member);
        if (pytheus__http_same_word(member, size, coding)) {
            return pytheus__http_weight_of(member + size);
        }
        member += strcspn(member, ",");
        if (!*member++) {
            return -1;
        }
    }
}

static bool pytheus__http_prefers_gzip(const char *accept_encoding) {
    int gzip, others, plain;
    if (!accept_encoding) {
        return false;
    }
    gzip = pytheus__http_weight(accept_encoding, "gzip");
    others = pytheus__http_weight(accept_encoding, "*");
    plain = pytheus__http_weight(accept_encoding, "identity");
    if (gzip < 0) {
        gzip = others;
    }
    if (plain < 0) {
        plain = others;
    }
    return gzip > 0 && gzip >= plain;
}

/* In seconds, in any locale; what is no positive number is 0. */
static double pytheus__http_read_seconds(const char *text) {
    double seconds = 0, place = 1;
    if (!text) {
        return 0;
    }
    text = pytheus__http_skip_blanks(text);
    for (; pytheus__http_is_digit(*text); text++) {
        seconds = seconds * 10 + (*text - '0');
    }
    if (*text == '.') {
        for (text++; pytheus__http_is_digit(*text); text++) {
            seconds += (place /= 10) * (*text - '0');
        }
    }
    return *pytheus__http_skip_blanks(text) ? 0 : seconds;
}

static int pytheus__http_hex(char c) {
    static const char digits[] = "0123456789abcdef";
    const char *place = c ? strchr(digits, pytheus__http_lower(c)) : NULL;
    return place ? (int)(place - digits) : -1;
}

/* Writes text[0..size) without its percents, and a NUL; returns what comes after that. NUL stays
   encoded: it would shorten a name to another one. */
static char *pytheus__http_decode(char *out, const char *text, size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        int high = text[i] == '%' && i + 2 < size ? pytheus__http_hex(text[i + 1]) : -1;
        int low = high >= 0 ? pytheus__http_hex(text[i + 2]) : -1;
        if (low >= 0 && (high || low)) {
            *out++ = (char)(high * 16 + low);
            i += 2;
        } else {
            *out++ = text[i] == '+' ? ' ' : text[i];
        }
    }
    *out++ = '\0';
    return out;
}

/* ==== WHO MAY SEE IT ==== */

/* -1: no digit of base64, which ends the text. */
static int pytheus__http_base64_digit(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (pytheus__http_is_digit(c)) {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* A secret, made of up to three texts, and what somebody says it is, byte by byte: compared in a
   time that depends on the latter alone. */
typedef struct pytheus__http_secret {
    const char *parts[3];
    size_t sizes[3];
    size_t size;
    size_t num_said;
    unsigned differences;
} pytheus__http_secret;

static void pytheus__http_keep_secret(pytheus__http_secret *secret, const char *first,
                                      const char *second, const char *third) {
    int i;
    memset(secret, 0, sizeof *secret);
    secret->parts[0] = first;
    secret->parts[1] = second;
    secret->parts[2] = third;
    for (i = 0; i < 3; i++) {
        secret->sizes[i] = strlen(secret->parts[i]);
        secret->size += secret->sizes[i];
    }
}

static void pytheus__http_say_byte(pytheus__http_secret *secret, char said) {
    size_t i = secret->num_said++ % secret->size;
    int part = 0;
    while (i >= secret->sizes[part]) {
        i -= secret->sizes[part++];
    }
    secret->differences |= (unsigned char)(secret->parts[part][i] ^ said);
}

static bool pytheus__http_was_said(const pytheus__http_secret *secret) {
    return !(secret->differences | (unsigned)(secret->num_said != secret->size));
}

static bool pytheus__http_is_user(const pytheus_http_site *site, const char *base64) {
    pytheus__http_secret secret;
    unsigned bits = 0;
    int num_bits = 0, digit;
    pytheus__http_keep_secret(&secret, site->user, ":", site->password);
    for (; (digit = pytheus__http_base64_digit(*base64)) >= 0; base64++) {
        bits = (bits << 6 | (unsigned)digit) & 0xffff;
        num_bits += 6;
        if (num_bits >= 8) {
            num_bits -= 8;
            pytheus__http_say_byte(&secret, (char)(unsigned char)(bits >> num_bits & 0xff));
        }
    }
    base64 += strspn(base64, "= \t");
    return pytheus__http_was_said(&secret) && !*base64;
}

static bool pytheus__http_has_token(const pytheus_http_site *site, const char *said) {
    pytheus__http_secret secret;
    size_t i, size = strcspn(said, " \t");
    pytheus__http_keep_secret(&secret, site->token, "", "");
    for (i = 0; i < size; i++) {
        pytheus__http_say_byte(&secret, said[i]);
    }
    said = pytheus__http_skip_blanks(said + size);
    return pytheus__http_was_said(&secret) && !*said;
}

static bool pytheus__http_may_see(const pytheus_http_site *site, const char *authorization) {
    size_t size;
    const char *said;
    if (!site->user && !site->token) {
        return true;
    }
    if (!authorization) {
        return false;
    }
    authorization = pytheus__http_skip_blanks(authorization);
    size = strcspn(authorization, " \t");
    said = pytheus__http_skip_blanks(authorization + size);
    if (site->user && pytheus__http_same_word(authorization, size, "Basic")) {
        return pytheus__http_is_user(site, said);
    }
    return site->token && pytheus__http_same_word(authorization, size, "Bearer") &&
           pytheus__http_has_token(site, said);
}

/* ==== WHAT THE ANSWER IS ==== */

#define PYTHEUS__HTTP_MAX_PATH 200

/* An answer as it is decided on: it needs nothing of the request any more. */
typedef struct pytheus__http_plan {
    const pytheus_http_site *site;
    pytheus_http_head head;
    const char *body; /* NULL: the page of the registry */
    bool leaves_body; /* HEAD */
    bool compresses;
    pytheus_format format;
    double deadline;
    const char **names; /* one block with their texts */
    size_t num_names;
    char text[2 * PYTHEUS__HTTP_MAX_PATH + 400];
} pytheus__http_plan;

/* Of the system's monotonic clock. */
static double pytheus__http_now(void) {
    pytheus_view nothing;
    memset((void *)&nothing, 0, sizeof nothing);
    return pytheus_timer_start(nothing).start;
}

static const char *pytheus__http_path(const pytheus_http_site *site) {
    return site->path ? site->path : "/metrics";
}

static pytheus_err pytheus__http_check(const pytheus_http_site *site) {
    const char *path = pytheus__http_path(site), *c;
    for (c = path; (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                   pytheus__http_is_digit(*c) || (*c && strchr("/._~-", *c));) {
        c++;
    }
    if (*path != '/' || *c || c - path > PYTHEUS__HTTP_MAX_PATH) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG,
                            "site: the path \"%.100s\" is not one of letters, digits and /._~-",
                            path);
    }
    if (!site->user != !site->password) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "site: user and password belong together");
    }
    if (site->token && !*site->token) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "site: the token is empty");
    }
    for (c = site->token; c && *c; c++) {
        if ((unsigned char)*c <= ' ' || *c == 127) {
            return pytheus_fail(PYTHEUS_ERR_CONFIG,
                                "site: the token has a blank or a control character in it");
        }
    }
    return PYTHEUS_OK;
}

static void pytheus__http_add_header(pytheus__http_plan *plan, const char *name,
                                     const char *value) {
    pytheus_http_header *header = &plan->head.headers[plan->head.num_headers++];
    header->name = name;
    header->value = value;
}

static void pytheus__http_begin(pytheus__http_plan *plan, int status, const char *reason,
                                const char *content_type) {
    plan->head.status = status;
    plan->head.reason = reason;
    plan->head.num_headers = 0;
    pytheus__http_add_header(plan, "Content-Type", content_type);
}

/* The body stays where it is until the answer is out, or is plan->text. */
static void pytheus__http_say(pytheus__http_plan *plan, int status, const char *reason,
                              const char *body) {
    pytheus__http_begin(plan, status, reason, "text/plain; charset=utf-8");
    plan->body = body;
    plan->head.length = (int64_t)strlen(body);
}

static void pytheus__http_say_failed(pytheus__http_plan *plan) {
    snprintf(plan->text, sizeof plan->text, "%.300s\n", pytheus_last_error());
    pytheus__http_say(plan, 500, "Internal Server Error", plan->text);
}

static void pytheus__http_say_busy(pytheus__http_plan *plan) {
    pytheus__http_say(plan, 503, "Service Unavailable", "too many scrapes at once\n");
    pytheus__http_add_header(plan, "Retry-After", "1");
}

static void pytheus__http_say_unauthorized(pytheus__http_plan *plan) {
    pytheus__http_say(plan, 401, "Unauthorized", "credentials are needed\n");
    if (plan->site->user) {
        pytheus__http_add_header(plan, "WWW-Authenticate",
                                 "Basic realm=\"metrics\", charset=\"UTF-8\"");
    }
    if (plan->site->token) {
        pytheus__http_add_header(plan, "WWW-Authenticate", "Bearer realm=\"metrics\"");
    }
}

/* Relative links, which hold behind a proxy that serves this under another path. */
static void pytheus__http_show_home(pytheus__http_plan *plan) {
    const char *path = pytheus__http_path(plan->site);
    snprintf(plan->text, sizeof plan->text,
             "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">"
             "<title>Metrics</title></head>\n<body>\n<h1>Metrics</h1>\n"
             "<p><a href=\".%s\">%s</a>: what Prometheus scrapes</p>\n</body>\n</html>\n",
             path, path);
    pytheus__http_say(plan, 200, "OK", plan->text);
    plan->head.headers[0].value = "text/html; charset=utf-8";
}

static void pytheus__http_show_icon(pytheus__http_plan *plan) {
    pytheus__http_say(plan, 200, "OK", "");
    plan->head.headers[0].value = "image/x-icon";
}

static bool pytheus__http_key_is_name(const char *key, size_t size) {
    char decoded[sizeof "%6e%61%6d%65%5b%5d"];
    if (size >= sizeof decoded) {
        return false;
    }
    pytheus__http_decode(decoded, key, size);
    return !strcmp(decoded, "name[]");
}

/* Adds a name for each name[]= of the query. Names and texts fit by construction: no more names
   than "&" and one, no more text than the query. */
static void pytheus__http_add_names(pytheus__http_plan *plan, const char *query, char *text) {
    for (;;) {
        size_t size = strcspn(query, "&"), key = strcspn(query, "=&");
        if (pytheus__http_key_is_name(query, key)) {
            const char *value = query + key + (key < size);
            plan->names[plan->num_names++] = text;
            text = pytheus__http_decode(text, value, (size_t)(query + size - value));
        }
        query += size;
        if (!*query++) {
            return;
        }
    }
}

static pytheus_err pytheus__http_read_names(pytheus__http_plan *plan, const char *query) {
    size_t most = 1;
    const char *c;
    for (c = query; *c; c++) {
        most += *c == '&';
    }
    plan->names =
        (const char **)PYTHEUS_HTTP_MALLOC(most * sizeof *plan->names + (size_t)(c - query) + most);
    if (!plan->names) {
        return pytheus_fail(PYTHEUS_ERR_NOMEM, "page: out of memory for its names");
    }
    pytheus__http_add_names(plan, query, (char *)(plan->names + most));
    return PYTHEUS_OK;
}

static void pytheus__http_plan_page(pytheus__http_plan *plan, const pytheus_http_request *request,
                                    const char *query) {
    double seconds = pytheus__http_read_seconds(request->scrape_timeout);
    double given = plan->site->most_seconds, most = given > 0 ? (given < 1e9 ? given : 1e9) : 30;
    plan->deadline = pytheus__http_now() + (seconds > 0 && seconds < most ? seconds : most);
    plan->format = pytheus_negotiate(request->accept);
    pytheus__http_begin(plan, 200, "OK", pytheus_content_type(plan->format));
    pytheus__http_add_header(plan, "Vary", "Accept, Accept-Encoding");
    plan->compresses = pytheus__http_prefers_gzip(request->accept_encoding);
    plan->head.length = -1;
    if (*query && pytheus__http_read_names(plan, query)) {
        pytheus__http_say_failed(plan);
    }
}

/* Without scheme and host, where it has them. */
static const char *pytheus__http_from_path(const char *target) {
    const char *host = *target == '/' ? NULL : strstr(target, "://");
    if (!host) {
        return target;
    }
    host += 3;
    return host[strcspn(host, "/?")] == '/' ? host + strcspn(host, "/") : "/";
}

static bool pytheus__http_is_there(const char *path, size_t size, const char *expected) {
    return strlen(expected) == size && !memcmp(path, expected, size);
}

static void pytheus__http_route(pytheus__http_plan *plan, const pytheus_http_request *request) {
    const char *target = pytheus__http_from_path(request->target ? request->target : "/");
    size_t size = strcspn(target, "?");
    bool is_page = pytheus__http_is_there(target, size, pytheus__http_path(plan->site));
    bool is_home = !is_page && pytheus__http_is_there(target, size, "/");
    if (!is_page && !is_home && !pytheus__http_is_there(target, size, "/favicon.ico")) {
        pytheus__http_say(plan, 404, "Not Found", "not found\n");
    } else if (!plan->leaves_body && strcmp(request->method, "GET") != 0) {
        pytheus__http_say(plan, 405, "Method Not Allowed", "only GET and HEAD\n");
        pytheus__http_add_header(plan, "Allow", "GET, HEAD");
    } else if (is_page) {
        pytheus__http_plan_page(plan, request, target + size + (target[size] == '?'));
    } else if (is_home) {
        pytheus__http_show_home(plan);
    } else {
        pytheus__http_show_icon(plan);
    }
}

static void pytheus__http_decide(pytheus__http_plan *plan, const pytheus_http_site *site,
                                 const pytheus_http_request *request) {
    memset((void *)plan, 0, sizeof *plan);
    plan->site = site;
    plan->leaves_body = request->method && !strcmp(request->method, "HEAD");
    if (pytheus__http_check(site)) {
        pytheus__http_say_failed(plan);
    } else if (!pytheus__http_may_see(site, request->authorization)) {
        pytheus__http_say_unauthorized(plan);
    } else if (!request->method) {
        pytheus__http_say(plan, 400, "Bad Request", "no method\n");
    } else {
        pytheus__http_route(plan, request);
    }
}

static void pytheus__http_forget(pytheus__http_plan *plan) {
    PYTHEUS_HTTP_FREE((void *)plan->names);
    plan->names = NULL;
}

/* ==== GZIP ==== */

typedef struct pytheus__http_gzip pytheus__http_gzip;

#ifndef PYTHEUS_HTTP_NO_GZIP

struct pytheus__http_gzip {
    z_stream stream;
    unsigned char bytes[32768];
};

/* NULL where there is no memory for it: then the page goes as it is. */
static pytheus__http_gzip *pytheus__http_gzip_new(void) {
    const int gzip_format = 16;
    pytheus__http_gzip *gzip = (pytheus__http_gzip *)PYTHEUS_HTTP_MALLOC(sizeof *gzip);
    if (!gzip) {
        return NULL;
    }
    memset(&gzip->stream, 0, sizeof gzip->stream);
    if (deflateInit2(&gzip->stream, Z_BEST_SPEED, Z_DEFLATED, MAX_WBITS + gzip_format, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        PYTHEUS_HTTP_FREE(gzip);
        return NULL;
    }
    return gzip;
}

static void pytheus__http_gzip_free(pytheus__http_gzip *gzip) {
    if (gzip) {
        (void)deflateEnd(&gzip->stream);
        PYTHEUS_HTTP_FREE(gzip);
    }
}

static pytheus_err pytheus__http_gzip_put(pytheus__http_gzip *gzip, const pytheus_http_sink *sink,
                                          const char *bytes, size_t size, bool is_last) {
    z_stream *stream = &gzip->stream;
    stream->next_in = (Bytef *)(uintptr_t)bytes;
    stream->avail_in = (uInt)size;
    do {
        size_t n;
        pytheus_err err;
        stream->next_out = gzip->bytes;
        stream->avail_out = (uInt)sizeof gzip->bytes;
        (void)deflate(stream, is_last ? Z_FINISH : Z_NO_FLUSH); /* fails on a bad stream only */
        n = sizeof gzip->bytes - stream->avail_out;
        err = n ? sink->body(sink->user, (const char *)gzip->bytes, n) : PYTHEUS_OK;
        if (err) {
            return err;
        }
    } while (!stream->avail_out);
    return PYTHEUS_OK;
}

#else

static pytheus__http_gzip *pytheus__http_gzip_new(void) {
    return NULL;
}
static void pytheus__http_gzip_free(pytheus__http_gzip *gzip) {
    (void)gzip;
}
static pytheus_err pytheus__http_gzip_put(pytheus__http_gzip *gzip, const pytheus_http_sink *sink,
                                          const char *bytes, size_t size, bool is_last) {
    (void)gzip, (void)is_last;
    return sink->body(sink->user, bytes, size);
}

#endif

/* ==== GIVING THE ANSWER ==== */

typedef struct pytheus__http_page {
    pytheus__http_plan *plan;
    const pytheus_http_sink *sink;
    pytheus__http_gzip *gzip;
    bool has_begun;
} pytheus__http_page;

/* The head waits for the first bytes: until then the page may still fail. */
static pytheus_err pytheus__http_begin_page(pytheus__http_page *page) {
    pytheus__http_plan *plan = page->plan;
    if (page->has_begun) {
        return PYTHEUS_OK;
    }
    page->has_begun = true;
    if (plan->compresses && (page->gzip = pytheus__http_gzip_new()) != NULL) {
        pytheus__http_add_header(plan, "Content-Encoding", "gzip");
    }
    return page->sink->head(page->sink->user, &plan->head);
}

static pytheus_err pytheus__http_put(void *user, const char *bytes, size_t size) {
    pytheus__http_page *page = (pytheus__http_page *)user;
    pytheus_err err;
    if (pytheus__http_now() > page->plan->deadline) {
        return pytheus_fail(PYTHEUS_ERR_IO, "page: the time for it is over");
    }
    err = pytheus__http_begin_page(page);
    if (err || page->plan->leaves_body) {
        return err;
    }
    return page->gzip ? pytheus__http_gzip_put(page->gzip, page->sink, bytes, size, false)
                      : page->sink->body(page->sink->user, bytes, size);
}

static pytheus_err pytheus__http_give_text(const pytheus__http_plan *plan,
                                           const pytheus_http_sink *sink) {
    pytheus_err err = sink->head(sink->user, &plan->head);
    if (err || plan->leaves_body || !plan->head.length) {
        return err;
    }
    return sink->body(sink->user, plan->body, (size_t)plan->head.length);
}

static pytheus_err pytheus__http_write(const pytheus__http_plan *plan, pytheus__http_page *page) {
    pytheus_sink sink = PYTHEUS__EMPTY;
    memset((void *)&sink, 0, sizeof sink);
    sink.put = pytheus__http_put;
    sink.user = page;
    return plan->num_names
               ? pytheus_write_named(plan->site->registry, plan->format,
                                     (const char *const *)plan->names, plan->num_names, &sink)
               : pytheus_write(plan->site->registry, plan->format, &sink);
}

static pytheus_err pytheus__http_give_page(pytheus__http_plan *plan,
                                           const pytheus_http_sink *sink) {
    pytheus__http_page page;
    pytheus_err err;
    memset((void *)&page, 0, sizeof page);
    page.plan = plan;
    page.sink = sink;
    err = pytheus__http_write(plan, &page);
    if (err && !page.has_begun) {
        pytheus__http_say_failed(plan);
        return pytheus__http_give_text(plan, sink);
    }
    if (!err) {
        err = pytheus__http_begin_page(&page);
    }
    if (!err && page.gzip && !plan->leaves_body) {
        err = pytheus__http_gzip_put(page.gzip, sink, "", 0, true);
    }
    pytheus__http_gzip_free(page.gzip);
    return err;
}

static pytheus_err pytheus__http_give(pytheus__http_plan *plan, const pytheus_http_sink *sink) {
    return plan->body ? pytheus__http_give_text(plan, sink) : pytheus__http_give_page(plan, sink);
}

static unsigned pytheus__http_max_scrapes(const pytheus_http_site *site) {
    return site->max_scrapes ? site->max_scrapes : 8;
}

PYTHEUS_API pytheus_err pytheus_http_answer(pytheus_http_site *site,
                                            const pytheus_http_request *request,
                                            const pytheus_http_sink *sink) {
    pytheus__http_plan plan = PYTHEUS__EMPTY;
    pytheus_err err;
    if (!site || !request || !sink || !sink->head || !sink->body) {
        return pytheus_fail(PYTHEUS_ERR_IO, "http: no site, request or sink");
    }
    pytheus__http_decide(&plan, site, request);
    if (plan.body) {
        err = pytheus__http_give_text(&plan, sink);
    } else {
        if (PYTHEUS__HTTP_ADD(&site->running_scrapes, 1u) > pytheus__http_max_scrapes(site)) {
            pytheus__http_say_busy(&plan);
        }
        err = pytheus__http_give(&plan, sink);
        PYTHEUS__HTTP_ADD(&site->running_scrapes, 0u - 1u);
    }
    pytheus__http_forget(&plan);
    return err;
}

/* ==== SERVER ==== */

#ifndef PYTHEUS_HTTP_NO_SERVER

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__GLIBC__) && (!defined(_POSIX_C_SOURCE) || _POSIX_C_SOURCE < 200112L)
#error "pytheus_http.h: define _POSIX_C_SOURCE 200809L before the first #include of this file"
#endif

#if MHD_VERSION >= 0x00097002
typedef enum MHD_Result pytheus__http_result;
#else
typedef int pytheus__http_result;
#endif

#define PYTHEUS__HTTP_ROOM 131072    /* of the pipe from a writer to the network */
#define PYTHEUS__HTTP_PIECE 16384    /* of a body to somebody who takes no chunks */
#define PYTHEUS__HTTP_REQUEST 131072 /* the head of one, then pieces of its page */
#define PYTHEUS__HTTP_BACKLOG 511
#define PYTHEUS__HTTP_MOST 65536 /* connections, scrapes */
#define PYTHEUS__HTTP_MAX_URL (PYTHEUS__HTTP_MAX_PATH + 100)

/* A connection. Those that change last come last in their list. */
typedef struct pytheus__http_peer {
    struct pytheus__http_peer *previous, *next;
    struct MHD_Connection *connection;
    int socket;
    uint64_t address;
    bool is_waiting; /* for a request, or the rest of one */
    bool is_leaving;
    struct pytheus__http_visit *visit; /* libmicrohttpd forgets to tell the end of some */
} pytheus__http_peer;

/* A thread that writes pages, one at a time, into a pipe whose other end is a connection. */
typedef struct pytheus__http_writer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_running; /* the thread */
    bool is_over;
    /* a page, until its writer has ended and its reader has left */
    bool is_busy;
    bool is_asked; /* the thread has it to do */
    bool has_head;
    bool has_ended;
    bool has_failed;
    bool is_left;    /* nobody reads */
    bool is_awaited; /* the connection is suspended until there is more */
    uint64_t address;
    struct MHD_Connection *connection;
    unsigned idle_seconds;
    pytheus__http_plan plan;
    pytheus_http_head head;
    char *bytes; /* a ring */
    size_t first, used;
} pytheus__http_writer;

/* Headers, each of which may have come in several lines. All of them fit: they came in a request,
   with their names. */
typedef struct pytheus__http_words {
    const char *name; /* that is looked for */
    const char *text; /* NULL: not found yet */
    size_t used;
    char bytes[PYTHEUS__HTTP_REQUEST];
} pytheus__http_words;

struct pytheus_http {
    pytheus_http *next; /* of the process */
    pytheus_http_site site;
    struct MHD_Daemon *daemon;
    int socket; /* -1: closed */
    unsigned port;
    char url[PYTHEUS__HTTP_MAX_URL];
    unsigned max_connections, max_per_address, idle_seconds;
    pytheus__http_peer *first_peer, *last_peer;
    pytheus__http_writer *writers;
    unsigned num_writers;
    unsigned num_answering;
    bool is_stopping;
    bool is_elsewhere;         /* this is a child of the server's process */
    pytheus__http_words words; /* of the request that the network's thread looks at */
};

/* A request, from its first line until its answer is out. */
typedef struct pytheus__http_visit {
    pytheus__http_peer *peer;
    pytheus__http_writer *writer;
    bool has_begun;
    bool is_counted;
    char *target; /* in the same block */
} pytheus__http_visit;

/* Over the list of servers, their peers and what they count. */
static pthread_mutex_t pytheus__http_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t pytheus__http_answered = PTHREAD_COND_INITIALIZER;
static pytheus_http *pytheus__http_servers;

/* ---- fork ---- */

static void pytheus__http_before_fork(void) {
    (void)pthread_mutex_lock(&pytheus__http_lock);
}

static void pytheus__http_after_fork(void) {
    (void)pthread_mutex_unlock(&pytheus__http_lock);
}

/* Otherwise the child would hold the port, and the ends of connections; and would wait for threads
   that waited in the parent, and are not there. */
static void pytheus__http_in_child(void) {
    static const pthread_cond_t nobody_waits = PTHREAD_COND_INITIALIZER;
    pytheus_http *server;
    pytheus__http_peer *peer;
    memcpy(&pytheus__http_answered, &nobody_waits, sizeof nobody_waits);
    for (server = pytheus__http_servers; server; server = server->next) {
        server->is_elsewhere = true;
        if (server->socket >= 0) {
            (void)close(server->socket);
        }
        for (peer = server->first_peer; peer; peer = peer->next) {
            (void)close(peer->socket);
        }
    }
    pytheus__http_servers = NULL;
    (void)pthread_mutex_unlock(&pytheus__http_lock);
}

static void pytheus__http_watch_forks(void) {
    (void)pthread_atfork(pytheus__http_before_fork, pytheus__http_after_fork,
                         pytheus__http_in_child);
}

/* Under the lock. */
static void pytheus__http_enlist(pytheus_http *server) {
    server->socket = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_LISTEN_FD)->listen_fd;
    server->next = pytheus__http_servers;
    pytheus__http_servers = server;
}

static void pytheus__http_unlist(pytheus_http *server) {
    pytheus_http **place = &pytheus__http_servers;
    (void)pthread_mutex_lock(&pytheus__http_lock);
    while (*place != server) {
        place = &(*place)->next;
    }
    *place = server->next;
    (void)pthread_mutex_unlock(&pytheus__http_lock);
}

/* ---- connections ---- */

static void pytheus__http_link(pytheus_http *server, pytheus__http_peer *peer) {
    peer->next = NULL;
    peer->previous = server->last_peer;
    *(peer->previous ? &peer->previous->next : &server->first_peer) = peer;
    server->last_peer = peer;
}

static void pytheus__http_unlink(pytheus_http *server, pytheus__http_peer *peer) {
    *(peer->previous ? &peer->previous->next : &server->first_peer) = peer->next;
    *(peer->next ? &peer->next->previous : &server->last_peer) = peer->previous;
}

/* Who it is that connects, as far as limits go: an address, or for IPv6 a network of /64. */
static uint64_t pytheus__http_address(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *from = info ? info->client_addr : NULL;
    uint64_t network = 0;
    uint32_t v4 = 0;
    if (from && from->sa_family == AF_INET) {
        memcpy(&v4, &((const struct sockaddr_in *)(const void *)from)->sin_addr, sizeof v4);
    } else if (from && from->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            memcpy(&v4, &v6->s6_addr[12], sizeof v4);
        } else {
            memcpy(&network, v6->s6_addr, sizeof network);
        }
    }
    return network ? network : v4;
}

static void pytheus__http_send_away(pytheus__http_peer *peer) {
    peer->is_leaving = true;
    (void)shutdown(peer->socket, SHUT_RDWR);
}

/* Makes room for one more of this address: of those that wait, whoever has for longest leaves.
   False: there is none. */
static bool pytheus__http_make_room(pytheus_http *server, uint64_t address) {
    pytheus__http_peer *peer, *oldest = NULL, *oldest_here = NULL;
    unsigned num = 0, num_here = 0;
    for (peer = server->first_peer; peer; peer = peer->next) {
        bool is_here = peer->address == address;
        if (peer->is_leaving) {
            continue;
        }
        num++;
        num_here += is_here;
        if (peer->is_waiting && !oldest) {
            oldest = peer;
        }
        if (peer->is_waiting && is_here && !oldest_here) {
            oldest_here = peer;
        }
    }
    if (num_here >= server->max_per_address) {
        oldest = oldest_here;
    } else if (num < server->max_connections) {
        return true;
    }
    if (oldest) {
        pytheus__http_send_away(oldest);
    }
    return oldest != NULL;
}

static void pytheus__http_welcome(pytheus_http *server, struct MHD_Connection *connection,
                                  void **context) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    pytheus__http_peer *peer = (pytheus__http_peer *)PYTHEUS_HTTP_MALLOC(sizeof *peer);
    if (!info || !peer) {
        PYTHEUS_HTTP_FREE(peer);
        return;
    }
    memset((void *)peer, 0, sizeof *peer);
    peer->connection = connection;
    peer->socket = info->connect_fd;
    peer->address = pytheus__http_address(connection);
    peer->is_waiting = true;
    (void)pthread_mutex_lock(&pytheus__http_lock);
    if (!pytheus__http_make_room(server, peer->address)) {
        pytheus__http_send_away(peer);
    }
    pytheus__http_link(server, peer);
    (void)pthread_mutex_unlock(&pytheus__http_lock);
    *context = peer;
}

static void pytheus__http_say_goodbye(pytheus_http *server, pytheus__http_peer *peer) {
    if (peer) {
        (void)pthread_mutex_lock(&pytheus__http_lock);
        pytheus__http_unlink(server, peer);
        (void)pthread_mutex_unlock(&pytheus__http_lock);
        PYTHEUS_HTTP_FREE(peer->visit);
        PYTHEUS_HTTP_FREE(peer);
    }
}

static void pytheus__http_on_connection(void *user, struct MHD_Connection *connection,
                                        void **context, enum MHD_ConnectionNotificationCode what) {
    pytheus_http *server = (pytheus_http *)user;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        pytheus__http_welcome(server, connection, context);
    } else {
        pytheus__http_say_goodbye(server, (pytheus__http_peer *)*context);
    }
}

/* NULL: there was no memory for it. */
static pytheus__http_peer *pytheus__http_peer_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? (pytheus__http_peer *)info->socket_context : NULL;
}

static void pytheus__http_set_waiting(pytheus_http *server, pytheus__http_peer *peer,
                                      bool is_waiting) {
    pytheus__http_unlink(server, peer);
    peer->is_waiting = is_waiting;
    pytheus__http_link(server, peer);
}

/* ---- from a writer to the network ---- */

/* Under the writer's lock. */
static void pytheus__http_wake_reader(pytheus__http_writer *writer) {
    if (writer->is_awaited) {
        writer->is_awaited = false;
        MHD_resume_connection(writer->connection);
    }
}

static pytheus_err pytheus__http_pipe_head(void *user, const pytheus_http_head *head) {
    pytheus__http_writer *writer = (pytheus__http_writer *)user;
    (void)pthread_mutex_lock(&writer->lock);
    writer->head = *head;
    writer->has_head = true;
    pytheus__http_wake_reader(writer);
    (void)pthread_mutex_unlock(&writer->lock);
    return PYTHEUS_OK;
}

/* Under the writer's lock. False: the moment has come. */
static bool pytheus__http_wait_until(pytheus__http_writer *writer, double moment) {
    struct timespec until;
    until.tv_sec = (time_t)moment;
    until.tv_nsec = (long)((moment - (double)until.tv_sec) * 1e9);
    return !pthread_cond_timedwait(&writer->changed, &writer->lock, &until);
}

/* Under the writer's lock. */
static pytheus_err pytheus__http_wait_for_room(pytheus__http_writer *writer) {
    bool has_time = true;
    while (writer->used == PYTHEUS__HTTP_ROOM && !writer->is_left && has_time) {
        has_time = pytheus__http_wait_until(writer, writer->plan.deadline);
    }
    if (writer->is_left) {
        return pytheus_fail(PYTHEUS_ERR_IO, "page: who asked for it has gone");
    }
    return has_time ? PYTHEUS_OK : pytheus_fail(PYTHEUS_ERR_IO, "page: the time for it is over");
}

/* Under the writer's lock: as much as there is room for up to the ring's end. */
static size_t pytheus__http_fill(pytheus__http_writer *writer, const char *bytes, size_t size) {
    size_t end = (writer->first + writer->used) % PYTHEUS__HTTP_ROOM;
    size_t room = PYTHEUS__HTTP_ROOM - writer->used;
    if (room > PYTHEUS__HTTP_ROOM - end) {
        room = PYTHEUS__HTTP_ROOM - end;
    }
    size = size < room ? size : room;
    memcpy(writer->bytes + end, bytes, size);
    writer->used += size;
    return size;
}

static pytheus_err pytheus__http_pipe_body(void *user, const char *bytes, size_t size) {
    pytheus__http_writer *writer = (pytheus__http_writer *)user;
    pytheus_err err = PYTHEUS_OK;
    (void)pthread_mutex_lock(&writer->lock);
    while (size && !(err = pytheus__http_wait_for_room(writer))) {
        size_t n = pytheus__http_fill(writer, bytes, size);
        bytes += n;
        size -= n;
        pytheus__http_wake_reader(writer);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    return err;
}

/* A reset, so that even somebody who takes no chunks sees that this is not the end. */
static void pytheus__http_reset(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct sockaddr nowhere;
    memset(&nowhere, 0, sizeof nowhere);
    nowhere.sa_family = AF_UNSPEC;
    if (info) {
        (void)connect(info->connect_fd, &nowhere, sizeof nowhere);
    }
}

/* Under the writer's lock. What is left of a page could go out byte by byte, for hours. */
static void pytheus__http_wait_for_reader(pytheus__http_writer *writer) {
    double now = pytheus__http_now(), deadline = writer->plan.deadline;
    double moment = (now > deadline ? now : deadline) + writer->idle_seconds;
    bool has_time = true;
    while (writer->has_ended && writer->is_busy && has_time) {
        has_time = pytheus__http_wait_until(writer, moment);
    }
    if (writer->has_ended && writer->is_busy) {
        pytheus__http_reset(writer->connection);
    }
}

static void pytheus__http_write_page(pytheus__http_writer *writer) {
    pytheus_http_sink sink = PYTHEUS__EMPTY;
    memset((void *)&sink, 0, sizeof sink);
    sink.head = pytheus__http_pipe_head;
    sink.body = pytheus__http_pipe_body;
    sink.user = writer;
    bool has_failed = pytheus__http_give(&writer->plan, &sink) != PYTHEUS_OK;
    pytheus__http_forget(&writer->plan);
    (void)pthread_mutex_lock(&writer->lock);
    writer->has_ended = true;
    writer->has_failed = has_failed;
    writer->is_busy = !writer->is_left;
    pytheus__http_wake_reader(writer);
    pytheus__http_wait_for_reader(writer);
    (void)pthread_mutex_unlock(&writer->lock);
}

static void *pytheus__http_run_writer(void *user) {
    pytheus__http_writer *writer = (pytheus__http_writer *)user;
    for (;;) {
        bool is_asked;
        (void)pthread_mutex_lock(&writer->lock);
        while (!writer->is_asked && !writer->is_over) {
            (void)pthread_cond_wait(&writer->changed, &writer->lock);
        }
        is_asked = writer->is_asked;
        writer->is_asked = false;
        (void)pthread_mutex_unlock(&writer->lock);
        if (!is_asked) {
            return NULL;
        }
        pytheus__http_write_page(writer);
    }
}

/* Under the writer's lock. */
static size_t pytheus__http_drain(pytheus__http_writer *writer, char *bytes, size_t room) {
    size_t n = writer->used;
    if (n > PYTHEUS__HTTP_ROOM - writer->first) {
        n = PYTHEUS__HTTP_ROOM - writer->first;
    }
    if (n > room) {
        n = room;
    }
    memcpy(bytes, writer->bytes + writer->first, n);
    writer->first = (writer->first + n) % PYTHEUS__HTTP_ROOM;
    writer->used -= n;
    (void)pthread_cond_signal(&writer->changed);
    return n;
}

static ssize_t pytheus__http_read(void *user, uint64_t unused, char *bytes, size_t room) {
    pytheus__http_writer *writer = (pytheus__http_writer *)user;
    ssize_t result = 0;
    (void)unused;
    (void)pthread_mutex_lock(&writer->lock);
    if (writer->used) {
        result = (ssize_t)pytheus__http_drain(writer, bytes, room);
    } else if (!writer->has_ended) {
        writer->is_awaited = true;
        MHD_suspend_connection(writer->connection);
    } else {
        result = writer->has_failed ? MHD_CONTENT_READER_END_WITH_ERROR
                                    : MHD_CONTENT_READER_END_OF_STREAM;
    }
    (void)pthread_mutex_unlock(&writer->lock);
    if (result == MHD_CONTENT_READER_END_WITH_ERROR) {
        pytheus__http_reset(writer->connection);
    }
    return result;
}

/* ---- writers ---- */

/* Under the writer's lock. */
static bool pytheus__http_start_writer(pytheus__http_writer *writer) {
    if (!writer->bytes) {
        writer->bytes = (char *)PYTHEUS_HTTP_MALLOC(PYTHEUS__HTTP_ROOM);
    }
    if (writer->bytes && !writer->is_running) {
        writer->is_running =
            !pthread_create(&writer->thread, NULL, pytheus__http_run_writer, writer);
    }
    return writer->bytes && writer->is_running;
}

/* The plan becomes the writer's. */
static bool pytheus__http_ask_writer(pytheus__http_writer *writer, pytheus__http_plan *plan,
                                     struct MHD_Connection *connection, uint64_t address,
                                     unsigned idle_seconds) {
    bool is_free;
    (void)pthread_mutex_lock(&writer->lock);
    is_free = !writer->is_busy && pytheus__http_start_writer(writer);
    if (is_free) {
        writer->is_busy = writer->is_asked = true;
        writer->has_head = writer->has_ended = writer->has_failed = false;
        writer->is_left = writer->is_awaited = false;
        writer->first = writer->used = 0;
        writer->connection = connection;
        writer->address = address;
        writer->idle_seconds = idle_seconds;
        writer->plan = *plan;
        (void)pthread_cond_signal(&writer->changed);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    return is_free;
}

static bool pytheus__http_is_writing_for(pytheus__http_writer *writer, uint64_t address) {
    bool is;
    (void)pthread_mutex_lock(&writer->lock);
    is = writer->is_busy && writer->address == address;
    (void)pthread_mutex_unlock(&writer->lock);
    return is;
}

/* NULL when there are none left, or this address has half of them. */
static pytheus__http_writer *pytheus__http_find_writer(pytheus_http *server,
                                                       pytheus__http_plan *plan,
                                                       struct MHD_Connection *connection) {
    uint64_t address = pytheus__http_address(connection);
    unsigned i, num_here = 0;
    for (i = 0; i < server->num_writers; i++) {
        num_here += pytheus__http_is_writing_for(&server->writers[i], address);
    }
    if (num_here >= (server->num_writers + 1) / 2) {
        return NULL;
    }
    for (i = 0; i < server->num_writers; i++) {
        if (pytheus__http_ask_writer(&server->writers[i], plan, connection, address,
                                     server->idle_seconds)) {
            return &server->writers[i];
        }
    }
    return NULL;
}

static void pytheus__http_leave(pytheus__http_writer *writer) {
    (void)pthread_mutex_lock(&writer->lock);
    writer->is_left = true;
    writer->is_busy = !writer->has_ended;
    (void)pthread_cond_signal(&writer->changed);
    (void)pthread_mutex_unlock(&writer->lock);
}

static bool pytheus__http_make_writers(pytheus_http *server) {
    pthread_condattr_t monotonic;
    unsigned i, n = pytheus__http_max_scrapes(&server->site);
    server->writers = (pytheus__http_writer *)PYTHEUS_HTTP_MALLOC(n * sizeof *server->writers);
    if (!server->writers) {
        return false;
    }
    memset((void *)server->writers, 0, n * sizeof *server->writers);
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (i = 0; i < n; i++) {
        (void)pthread_mutex_init(&server->writers[i].lock, NULL);
        (void)pthread_cond_init(&server->writers[i].changed, &monotonic);
    }
    (void)pthread_condattr_destroy(&monotonic);
    server->num_writers = n;
    return true;
}

static void pytheus__http_end_writers(pytheus_http *server) {
    unsigned i;
    for (i = 0; i < server->num_writers; i++) {
        pytheus__http_writer *writer = &server->writers[i];
        (void)pthread_mutex_lock(&writer->lock);
        writer->is_over = true;
        (void)pthread_cond_signal(&writer->changed);
        (void)pthread_mutex_unlock(&writer->lock);
        if (writer->is_running) {
            (void)pthread_join(writer->thread, NULL);
        }
        (void)pthread_cond_destroy(&writer->changed);
        (void)pthread_mutex_destroy(&writer->lock);
        PYTHEUS_HTTP_FREE(writer->bytes);
    }
    PYTHEUS_HTTP_FREE(server->writers);
}

/* ---- answers ---- */

static pytheus__http_result pytheus__http_respond(struct MHD_Connection *connection,
                                                  struct MHD_Response *response,
                                                  const pytheus_http_head *head, bool is_last) {
    pytheus__http_result result;
    size_t i;
    if (!response) {
        return MHD_NO;
    }
    for (i = 0; i < head->num_headers; i++) {
        (void)MHD_add_response_header(response, head->headers[i].name, head->headers[i].value);
    }
    if (is_last) {
        (void)MHD_add_response_header(response, "Connection", "close");
    }
    result = MHD_queue_response(connection, (unsigned)head->status, response);
    MHD_destroy_response(response);
    return result;
}

static pytheus__http_result pytheus__http_respond_text(struct MHD_Connection *connection,
                                                       const pytheus__http_plan *plan,
                                                       bool is_last) {
    return pytheus__http_respond(connection,
                                 MHD_create_response_from_buffer((size_t)plan->head.length,
                                                                 (void *)(uintptr_t)plan->body,
                                                                 MHD_RESPMEM_MUST_COPY),
                                 &plan->head, is_last);
}

/* Once there is a head; until then the connection is suspended. */
static pytheus__http_result pytheus__http_respond_page(pytheus__http_writer *writer) {
    pytheus_http_head head = PYTHEUS__EMPTY;
    bool has_head;
    (void)pthread_mutex_lock(&writer->lock);
    has_head = writer->has_head;
    head = writer->head;
    if (!has_head) {
        writer->is_awaited = true;
        MHD_suspend_connection(writer->connection);
    }
    (void)pthread_mutex_unlock(&writer->lock);
    if (!has_head) {
        return MHD_YES;
    }
    return pytheus__http_respond(writer->connection,
                                 MHD_create_response_from_callback(
                                     head.length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)head.length,
                                     PYTHEUS__HTTP_PIECE, pytheus__http_read, writer, NULL),
                                 &head, false);
}

static pytheus__http_result pytheus__http_add_words(void *user, enum MHD_ValueKind unused,
                                                    const char *name, const char *value) {
    pytheus__http_words *words = (pytheus__http_words *)user;
    char *end = words->bytes + words->used;
    size_t room = sizeof words->bytes - words->used, size = value ? strlen(value) : 0;
    (void)unused;
    if (!pytheus__http_same_word(name, strlen(name), words->name) || size + 3 > room) {
        return MHD_YES;
    }
    if (words->text) {
        memcpy(end - 1, ", ", 2); /* over the NUL */
        end++;
    }
    memcpy(end, value ? value : "", size + 1);
    words->text = words->text ? words->text : end;
    words->used = (size_t)(end - words->bytes) + size + 1;
    return MHD_YES;
}

/* All that is said under this name; NULL: nothing. RFC 9110, 5.3. */
static const char *pytheus__http_header(pytheus__http_words *words,
                                        struct MHD_Connection *connection, const char *name) {
    words->name = name;
    words->text = NULL;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, pytheus__http_add_words, words);
    return words->text;
}

/* A GET or HEAD that has one is refused as a whole, before the body is read. */
static bool pytheus__http_has_body(struct MHD_Connection *connection) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && length[strspn(length, "0")]) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

static void pytheus__http_ask(pytheus__http_words *words, struct MHD_Connection *connection,
                              const char *method, const char *target,
                              pytheus_http_request *request) {
    memset((void *)request, 0, sizeof *request);
    request->method = method;
    request->target = target;
    words->used = 0;
    request->accept = pytheus__http_header(words, connection, "Accept");
    request->accept_encoding = pytheus__http_header(words, connection, "Accept-Encoding");
    request->authorization = pytheus__http_header(words, connection, "Authorization");
    request->scrape_timeout =
        pytheus__http_header(words, connection, "X-Prometheus-Scrape-Timeout-Seconds");
}

/* No answer begins once the server is stopping. */
static bool pytheus__http_count(pytheus_http *server, pytheus__http_visit *visit) {
    bool is_stopping;
    (void)pthread_mutex_lock(&pytheus__http_lock);
    is_stopping = server->is_stopping;
    if (!is_stopping) {
        visit->is_counted = true;
        server->num_answering++;
        pytheus__http_set_waiting(server, visit->peer, false);
    }
    (void)pthread_mutex_unlock(&pytheus__http_lock);
    return !is_stopping;
}

static pytheus__http_result pytheus__http_answer_visit(pytheus_http *server,
                                                       pytheus__http_visit *visit,
                                                       struct MHD_Connection *connection,
                                                       const char *method, bool is_last) {
    pytheus__http_plan plan = PYTHEUS__EMPTY;
    pytheus_http_request request = PYTHEUS__EMPTY;
    if (!pytheus__http_count(server, visit)) {
        return MHD_NO;
    }
    pytheus__http_ask(&server->words, connection, method, visit->target, &request);
    pytheus__http_decide(&plan, &server->site, &request);
    if (plan.head.status == 200 && pytheus__http_has_body(connection)) {
        pytheus__http_forget(&plan);
        pytheus__http_say(&plan, 413, "Content Too Large", "no body is taken\n");
    }
    if (!plan.body) {
        visit->writer = pytheus__http_find_writer(server, &plan, connection);
        if (visit->writer) {
            return pytheus__http_respond_page(visit->writer);
        }
        pytheus__http_say_busy(&plan);
        pytheus__http_forget(&plan);
    }
    return pytheus__http_respond_text(connection, &plan, is_last);
}

static pytheus__http_result pytheus__http_on_request(void *user, struct MHD_Connection *connection,
                                                     const char *unused_url, const char *method,
                                                     const char *unused_version,
                                                     const char *unused_upload, size_t *upload_size,
                                                     void **state) {
    pytheus_http *server = (pytheus_http *)user;
    pytheus__http_visit *visit = (pytheus__http_visit *)*state;
    (void)unused_url, (void)unused_version, (void)unused_upload;
    if (!visit || *upload_size) {
        return MHD_NO; /* no memory; or a body that no header told of */
    }
    if (visit->writer) {
        return pytheus__http_respond_page(visit->writer);
    }
    if ((strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) ||
        pytheus__http_has_body(connection)) {
        return pytheus__http_answer_visit(server, visit, connection, method, true);
    }
    if (!visit->has_begun) { /* the head: the answer comes when all is there */
        visit->has_begun = true;
        return MHD_YES;
    }
    return pytheus__http_answer_visit(server, visit, connection, method, false);
}

static void *pytheus__http_on_target(void *unused, const char *target,
                                     struct MHD_Connection *connection) {
    pytheus__http_peer *peer = pytheus__http_peer_of(connection);
    size_t size = strlen(target) + 1;
    pytheus__http_visit *visit =
        peer ? (pytheus__http_visit *)PYTHEUS_HTTP_MALLOC(sizeof *visit + size) : NULL;
    (void)unused;
    if (visit) {
        memset((void *)visit, 0, sizeof *visit);
        visit->target = (char *)(visit + 1);
        memcpy(visit->target, target, size);
        visit->peer = peer;
        peer->visit = visit;
    }
    return visit;
}

static void pytheus__http_on_end(void *user, struct MHD_Connection *connection, void **state,
                                 enum MHD_RequestTerminationCode why) {
    pytheus_http *server = (pytheus_http *)user;
    pytheus__http_visit *visit = (pytheus__http_visit *)*state;
    if (!visit) {
        return;
    }
    if (visit->writer) {
        if (why != MHD_REQUEST_TERMINATED_COMPLETED_OK) {
            pytheus__http_reset(connection);
        }
        pytheus__http_leave(visit->writer);
    }
    if (visit->is_counted) {
        (void)pthread_mutex_lock(&pytheus__http_lock);
        pytheus__http_set_waiting(server, visit->peer, true);
        if (!--server->num_answering) {
            (void)pthread_cond_broadcast(&pytheus__http_answered);
        }
        (void)pthread_mutex_unlock(&pytheus__http_lock);
    }
    visit->peer->visit = NULL;
    PYTHEUS_HTTP_FREE(visit);
    *state = NULL;
}

/* ---- start ---- */

typedef struct pytheus__http_place {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t size;
} pytheus__http_place;

static bool pytheus__http_read_place(pytheus__http_place *place, const char *text, uint16_t port) {
    memset(place, 0, sizeof *place);
    if (inet_pton(AF_INET, text, &place->address.v4.sin_addr) == 1) {
        place->address.v4.sin_family = AF_INET;
        place->address.v4.sin_port = htons(port);
        place->size = (socklen_t)sizeof place->address.v4;
        return true;
    }
    place->address.v6.sin6_family = AF_INET6;
    place->address.v6.sin6_port = htons(port);
    place->size = (socklen_t)sizeof place->address.v6;
    return inet_pton(AF_INET6, text, &place->address.v6.sin6_addr) == 1;
}

/* So that a key is nowhere in the memory that is used again. */
static void pytheus__http_wipe(char *text) {
    volatile char *c = text;
    while (c && *c) {
        *c++ = '\0';
    }
    PYTHEUS_HTTP_FREE(text);
}

/* What a file holds, as a text; NULL on an error. Without a buffer, which would keep a part. */
static char *pytheus__http_read_file(const char *path) {
    const size_t most = 1 << 20;
    FILE *file = fopen(path, "rbe");
    char *text = file ? (char *)PYTHEUS_HTTP_MALLOC(most) : NULL;
    size_t size = 0;
    if (text) {
        (void)setvbuf(file, NULL, _IONBF, 0);
        size = fread(text, 1, most - 1, file);
    }
    if (file && !text) {
        pytheus_fail(PYTHEUS_ERR_NOMEM, "%.150s: out of memory", path);
    } else if (!file || ferror(file)) {
        pytheus_fail(PYTHEUS_ERR_IO, "%.150s: %s", path, strerror(errno));
        PYTHEUS_HTTP_FREE(text);
        text = NULL;
    } else {
        text[size] = '\0';
    }
    if (file) {
        (void)fclose(file);
    }
    return text;
}

/* Why nobody can listen there, as errno; 0: one can. libmicrohttpd forgets it as it tidies up. */
static int pytheus__http_hindrance(const pytheus__http_place *place) {
    int s = socket(place->address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, why = 0;
    if (s < 0) {
        return errno;
    }
    (void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s, &place->address.any, place->size) || listen(s, 1)) {
        why = errno;
    }
    (void)close(s);
    return why;
}

/* Those of faults stay, and the profiler's. */
static void pytheus__http_block_signals(sigset_t *before) {
    static const int stay[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP, SIGPROF};
    sigset_t blocked;
    size_t i;
    (void)sigfillset(&blocked);
    for (i = 0; i < sizeof stay / sizeof *stay; i++) {
        (void)sigdelset(&blocked, stay[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &blocked, before);
}

/* No fork happens between the making of the socket and its being known here. */
static pytheus_err pytheus__http_start_daemon(pytheus_http *server, pytheus__http_place *place,
                                              const char *certificate, const char *key) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    /* room for those who leave, until they have */
    const unsigned limit = server->max_connections + 8;
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | MHD_USE_SUSPEND_RESUME;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)(uintptr_t)certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)key},
        {MHD_OPTION_END, 0, NULL},
    };
    sigset_t before;
    if (place->address.any.sa_family == AF_INET6) {
        flags |= MHD_USE_DUAL_STACK;
    }
    if (certificate) {
        flags |= MHD_USE_TLS;
    }
    (void)pthread_once(&once, pytheus__http_watch_forks);
    pytheus__http_block_signals(&before);
    (void)pthread_mutex_lock(&pytheus__http_lock);
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, pytheus__http_on_request, server, MHD_OPTION_SOCK_ADDR,
        &place->address, MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)PYTHEUS__HTTP_BACKLOG,
        MHD_OPTION_CONNECTION_LIMIT, limit, MHD_OPTION_CONNECTION_TIMEOUT, server->idle_seconds,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PYTHEUS__HTTP_REQUEST,
        MHD_OPTION_URI_LOG_CALLBACK, pytheus__http_on_target, server, MHD_OPTION_NOTIFY_COMPLETED,
        pytheus__http_on_end, server, MHD_OPTION_NOTIFY_CONNECTION, pytheus__http_on_connection,
        server, MHD_OPTION_ARRAY, certificate ? tls : tls + 2, MHD_OPTION_END);
    if (server->daemon) {
        pytheus__http_enlist(server);
    }
    (void)pthread_mutex_unlock(&pytheus__http_lock);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return server->daemon ? PYTHEUS_OK : PYTHEUS_ERR_IO;
}

static pytheus_err pytheus__http_start_with_keys(pytheus_http *server, pytheus__http_place *place,
                                                 const pytheus_http_desc *desc) {
    char *certificate = pytheus__http_read_file(desc->certificate);
    char *key = certificate ? pytheus__http_read_file(desc->key) : NULL;
    pytheus_err err = PYTHEUS_ERR_IO;
    if (key && pytheus__http_start_daemon(server, place, certificate, key)) {
        int why = pytheus__http_hindrance(place);
        err = pytheus_fail(PYTHEUS_ERR_IO, "%.100s, %.100s: %s", desc->certificate, desc->key,
                           why ? strerror(why) : "not a certificate and its key in PEM");
    } else if (key) {
        err = PYTHEUS_OK;
    }
    pytheus__http_wipe(certificate);
    pytheus__http_wipe(key);
    return err;
}

static void pytheus__http_write_url(pytheus_http *server, const char *address, bool is_v6,
                                    bool has_tls) {
    server->port = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    snprintf(server->url, sizeof server->url, "%s://%s%.50s%s:%u%s", has_tls ? "https" : "http",
             is_v6 ? "[" : "", address, is_v6 ? "]" : "", server->port,
             pytheus__http_path(&server->site));
}

static pytheus_err pytheus__http_open(pytheus_http *server, const pytheus_http_desc *desc) {
    const char *address = desc->address ? desc->address : "127.0.0.1";
    pytheus__http_place place;
    pytheus_err err;
    if (!pytheus__http_read_place(&place, address, desc->port)) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "\"%.100s\" is no address in numbers", address);
    }
    if (desc->certificate) {
        err = pytheus__http_start_with_keys(server, &place, desc);
    } else if ((err = pytheus__http_start_daemon(server, &place, NULL, NULL)) != PYTHEUS_OK) {
        int why = pytheus__http_hindrance(&place);
        err = pytheus_fail(err, "%.100s, port %u: %s", address, (unsigned)desc->port,
                           why ? strerror(why) : "libmicrohttpd does not start");
    }
    if (!err) {
        pytheus__http_write_url(server, address, place.address.any.sa_family == AF_INET6,
                                desc->certificate != NULL);
    }
    return err;
}

static pytheus_err pytheus__http_check_desc(const pytheus_http_desc *desc) {
    if (!desc) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "http: no description");
    }
    if (desc->max_connections > PYTHEUS__HTTP_MOST || desc->site.max_scrapes > PYTHEUS__HTTP_MOST) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "http: connections and scrapes are at most %d",
                            PYTHEUS__HTTP_MOST);
    }
    if (!desc->certificate != !desc->key) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "http: certificate and key belong together");
    }
    if (desc->certificate && MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "http: this libmicrohttpd has no TLS");
    }
    return pytheus__http_check(&desc->site);
}

static bool pytheus__http_copy(const char **copy, const char *text) {
    size_t size = text ? strlen(text) + 1 : 0;
    char *place = text ? (char *)PYTHEUS_HTTP_MALLOC(size) : NULL;
    if (place) {
        memcpy(place, text, size);
    }
    *copy = place;
    return place || !text;
}

static bool pytheus__http_copy_site(pytheus_http_site *copy, const pytheus_http_site *site) {
    bool has_path = pytheus__http_copy(&copy->path, site->path);
    bool has_user = pytheus__http_copy(&copy->user, site->user);
    bool has_password = pytheus__http_copy(&copy->password, site->password);
    bool has_token = pytheus__http_copy(&copy->token, site->token);
    copy->registry = site->registry;
    copy->max_scrapes = site->max_scrapes;
    copy->most_seconds = site->most_seconds;
    return has_path && has_user && has_password && has_token;
}

static unsigned pytheus__http_or(unsigned given, unsigned otherwise) {
    return given ? given : otherwise;
}

/* At most half of the descriptors that the process may have. */
static unsigned pytheus__http_max_connections(const pytheus_http_desc *desc) {
    unsigned most = pytheus__http_or(desc->max_connections, 128);
    struct rlimit limit;
    if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur / 2 < most) {
        most = (unsigned)(limit.rlim_cur / 2);
    }
    return most ? most : 1;
}

static void pytheus__http_release(pytheus_http *server) {
    pytheus__http_end_writers(server);
    PYTHEUS_HTTP_FREE((void *)(uintptr_t)server->site.path);
    PYTHEUS_HTTP_FREE((void *)(uintptr_t)server->site.user);
    PYTHEUS_HTTP_FREE((void *)(uintptr_t)server->site.password);
    PYTHEUS_HTTP_FREE((void *)(uintptr_t)server->site.token);
    PYTHEUS_HTTP_FREE(server);
}

PYTHEUS_API pytheus_http *pytheus_http_start(const pytheus_http_desc *desc) {
    pytheus_http *server;
    if (pytheus__http_check_desc(desc)) {
        return NULL;
    }
    server = (pytheus_http *)PYTHEUS_HTTP_MALLOC(sizeof *server);
    if (!server) {
        pytheus_fail(PYTHEUS_ERR_NOMEM, "http: out of memory");
        return NULL;
    }
    memset((void *)server, 0, sizeof *server);
    server->max_connections = pytheus__http_max_connections(desc);
    server->max_per_address = pytheus__http_or(desc->max_connections_per_address, 16);
    server->idle_seconds = pytheus__http_or(desc->idle_seconds, 10);
    if (!pytheus__http_copy_site(&server->site, &desc->site) ||
        !pytheus__http_make_writers(server)) {
        pytheus_fail(PYTHEUS_ERR_NOMEM, "http: out of memory");
    } else if (!pytheus__http_open(server, desc)) {
        return server;
    }
    pytheus__http_release(server);
    return NULL;
}

/* ---- stop ---- */

/* Takes no new connections, and waits for the answers that have begun. */
static void pytheus__http_finish(pytheus_http *server) {
    int listener = MHD_quiesce_daemon(server->daemon);
    (void)pthread_mutex_lock(&pytheus__http_lock);
    if (listener >= 0) {
        (void)close(listener);
        server->socket = -1;
    }
    server->is_stopping = true;
    while (server->num_answering) {
        (void)pthread_cond_wait(&pytheus__http_answered, &pytheus__http_lock);
    }
    (void)pthread_mutex_unlock(&pytheus__http_lock);
}

PYTHEUS_API void pytheus_http_stop(pytheus_http *server) {
    if (!server || server->is_elsewhere) {
        return;
    }
    pytheus__http_finish(server);
    MHD_stop_daemon(server->daemon);
    pytheus__http_unlist(server);
    pytheus__http_release(server);
}

PYTHEUS_API unsigned pytheus_http_port(const pytheus_http *server) {
    return server ? server->port : 0;
}

PYTHEUS_API const char *pytheus_http_url(const pytheus_http *server) {
    return server ? server->url : "";
}

#endif /* PYTHEUS_HTTP_NO_SERVER */
#endif /* PYTHEUS_HTTP_IMPLEMENTATION */
