/* pytheus_redis.h - all processes of a fleet share their metrics in one Redis

   Do this, in *one* C or C++ file, and link with -lhiredis -pthread (Debian: libhiredis-dev):

       #define PYTHEUS_IMPLEMENTATION
       #include "pytheus.h"
       #define PYTHEUS_REDIS_IMPLEMENTATION
       #include "pytheus_redis.h"

   and then say where Redis is, before the first metric, in the program or in its environment:

       pytheus_load_backend("redis", "{\"host\": \"10.0.0.7\", \"key_prefix\": \"shop\"}");
       PYTHEUS_BACKEND_CLASS=redis PYTHEUS_BACKEND_CONFIG=redis.json ./program

   The program is the same as without: inc, set and observe change memory of this process, at the
   speed of the library's own, and make no system call. A thread sends what has changed every
   second; before a page, with pytheus_flush and at exit it is sent too. The page of each process
   shows all of them, those in Python (pytheus with MultiProcessRedisBackend) included: they write
   the same keys.

   WHAT IT PROMISES

   Every increment reaches Redis once. Each flush is one MULTI ... EXEC that also sets a key of
   this process to the flush's number. That key is watched, and the WATCH answered, before the MULTI
   leaves; when an answer is lost, the key says whether the flush came. If it did not, an empty
   transaction takes its place, so that copies that arrive late are void, and what it had is sent
   anew. Redis must have transactions: where MULTI is denied, it is refused.

   Redis is never waited for but by pages, pytheus_flush, exit, the end of a registry and the
   loading of the backend, and by these no longer than connect_timeout_ms + command_timeout_ms,
   however many registries exit has to end. What can't be sent in that time (many series, far away)
   follows, by the thread, in turns. While Redis is away, slow, full or read-only, differences
   stay in their cells: no queue grows, nothing is lost, and they are sent when it is back.
   Connections are tried again after 0.1 to 10 seconds, each time twice as long, with some jitter.

   A process that is killed takes with it what it had not sent: a flush interval's. When Redis
   itself loses its data, counters start again at 0 (Prometheus sees a reset) and the gauges of
   living processes come back. What Redis acknowledged and then loses with an older state of its
   data, as in a failover to a replica that lags or a restart from a snapshot, is lost.

   What Redis refuses of one series (a key of another type, a denied command) is told once, keeps
   its difference, and is tried again every 10 seconds; the others are sent. A removal that is
   refused is given up. If the answer of such a flush is lost, so is the refused difference.

   WHAT IS WHERE

   A metric without labels is a string, one with labels a hash with a field for each series, whose
   name is Python's JSON: {"method": "GET", "code": "200"}, in declared order. A summary has the
   keys name:sum and name:count, a histogram also one for each bound, and name:+Inf, which count all
   observations up to it. With key_prefix every key begins with the prefix and "-". Reading takes
   labels in any order and spelling, adds up what is the same series, and leaves out, told once,
   what is none. Keys expire expire_key_time seconds after the last flush or page that touched
   them. Names, help texts, labels and bounds are not in Redis: a page shows the metrics that its
   process has defined, with everybody's series.

   pytheus_view_get and pytheus_sample_value tell this process's own part. With write_through each
   operation goes to Redis before it returns, its error goes to the caller, and get asks Redis.
   After an error for want of an answer it is open whether the operation was done; it is not tried
   again.

   Gauges: a shared one (the default) has one value; the last set wins, and increments add to it.
   .across = PYTHEUS_PER_PROCESS shows each process's own, with a label gauge_index; SUM, MIN, MAX
   and MOST_RECENT what their names say. These live in a hash of each process that expires 60
   seconds (or three flush intervals) after its last refreshing, and are for buffered processes. A
   shared gauge's expire_seconds, or those of pytheus_redis_gauge_set_for, let a value go away that
   nobody sets again. Infos and statesets stay each process's own, and are not in Redis.

   Every page also has pytheus_redis_up, pytheus_redis_flush_errors_total and
   pytheus_redis_last_flush_timestamp_seconds of the process that wrote it. Without Redis a page is
   an error; with serve_own it shows this process's own values and pytheus_redis_up 0.

   After a fork the child has a connection of its own, and sends nothing of what its parent counted
   or removed; also when Redis has lost its data, what was before the fork comes back from the
   parent.
   It has a thread of its own from the fork on if its parent had series, which it may add to unseen,
   otherwise from its first series on. A child that must be without threads (unshare) is forked
   before the first series, or from a program with write_through, which has no thread.

   TLS

   With #define PYTHEUS_REDIS_TLS before the implementation the program has TLS 1.2 and 1.3 from
   OpenSSL (1.1.1 or later; link with -lssl -lcrypto, Debian: libssl-dev), whichever hiredis it has:

       pytheus_load_backend("redis", "{\"url\": \"rediss://:password@redis.example:6380\", "
                                     "\"tls_ca\": \"/etc/shop/ca.pem\"}");

   The server's certificate must come from tls_ca, or else from whom the system trusts, be valid
   today, and be for the host of the url, or for tls_server_name; there is no way to switch that
   off. A server that wants to know its clients is shown tls_certificate. The files are read for
   every connection, so that renewed ones need no restart. The handshake is a part of
   connect_timeout_ms.

   BESIDE prometheus_redis_client

   With "layout": "prometheus_redis_client" the keys are those of that Python library, so that its
   users can move over a service at a time: each reads what the other has written. Every value is a
   string, name:LABELS, and of summaries and histograms name_sum:, name_count: and name_bucket:,
   where LABELS is the JSON of the labels in base64, sorted by name, with the bound of a bucket as
   "le". The set name_group has the keys of a metric. Nothing is there before it was counted, and no
   key expires unless expire_key_time is given. Its key for the bucket of +Inf is the count.

   Its Gauge is one with .across = PYTHEUS_PER_PROCESS: here all gauges of a process have the same
   gauge_index, and a forked child has another one. .expire_seconds is then how long the value
   outlives a process that is killed (0: 60, or three flush intervals), and it is refreshed in good
   time. SUM, MIN and MAX are kept likewise, and put together on the page. Its CommonGauge is the
   shared gauge.

   A counter there is a whole number. Of a counter that fractions are added to, the whole part is
   sent; what is left over waits in its process, and ends with it; this is told once. With
   write_through an amount that is not whole is an error, VALUE. MOST_RECENT and names with a colon
   are refused when the metric is defined. Keys that are gone are taken off the set in one step with
   looking, so none is lost that comes back meanwhile.

   LIMITS

   Valkey is as good as Redis. A cluster of either is refused: the keys of one metric are not in
   one slot. Let maxmemory-policy be noeviction: an evicted key is a counter that starts again. So
   is one that no flush changed and no page read for expire_key_time; such a gauge is 0. Keys of a
   metric that was removed are read and kept as long as its process lives, unless the name is
   defined again: then pages are the new one's. A server name that can't be looked up quickly holds
   back who must connect. Debian 12's hiredis (0.14.1) ends the program when it has no memory for a
   new connection. OpenSSL's memory is its own. */

#if defined(PYTHEUS_STATIC) && !defined(PYTHEUS_REDIS_IMPLEMENTATION)
#define PYTHEUS_REDIS_IMPLEMENTATION
#endif

#ifndef PYTHEUS_REDIS_H
#define PYTHEUS_REDIS_H

#include "pytheus.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Where Redis is, and how it is used. Zero means the default. As JSON the names are the same,
   without "logger". Read during the call only. */
typedef struct pytheus_redis_desc {
    /* redis://user:password@host:port/db, with TLS rediss://..., or
       unix://user:password@/path/of/socket, where db, username and password may also stand behind
       it: ?db=0&password=...; %2F is a /. What else is given goes before it */
    const char *url PYTHEUS__ZERO;
    const char *host PYTHEUS__ZERO;             /* NULL: "localhost" */
    int port PYTHEUS__ZERO;                     /* 0: 6379 */
    const char *unix_socket_path PYTHEUS__ZERO; /* instead of host and port */
    int db PYTHEUS__ZERO;
    const char *username PYTHEUS__ZERO;
    const char *password PYTHEUS__ZERO;
    bool tls PYTHEUS__ZERO;                    /* needs PYTHEUS_REDIS_TLS, as rediss:// does */
    const char *tls_ca PYTHEUS__ZERO;          /* paths of PEM files: whose certificates are good;
                                                  NULL: whom the system trusts */
    const char *tls_certificate PYTHEUS__ZERO; /* that the server is shown */
    const char *tls_key PYTHEUS__ZERO;         /* of it; NULL: in the same file */
    const char *tls_server_name PYTHEUS__ZERO; /* NULL: host */
    int connect_timeout_ms PYTHEUS__ZERO;      /* 0: 500 */
    int command_timeout_ms PYTHEUS__ZERO; /* for a flush, and for the reading of a page; 0: 1000 */
    int flush_interval_ms PYTHEUS__ZERO;  /* 0: 1000 */
    bool write_through PYTHEUS__ZERO;     /* each operation waits for Redis */
    int expire_key_time PYTHEUS__ZERO;    /* seconds; 0: 3600, or in the other layout never;
                                             -1 (as JSON 0): never */
    const char *key_prefix PYTHEUS__ZERO; /* "shop": shop-requests_total */
    const char *layout PYTHEUS__ZERO;     /* NULL or "pytheus"; "prometheus_redis_client": that
                                             library's keys */
    bool float_bounds PYTHEUS__ZERO;      /* whole bounds are floats in Python: the key of the
                                             bucket of 1 is name:1.0 there, not name:1 */
    bool serve_own PYTHEUS__ZERO;         /* pages without Redis show this process's values */
    pytheus_logger logger PYTHEUS__ZERO; /* hears of a Redis that is away; zero: a line on stderr */
} pytheus_redis_desc;

#ifndef PYTHEUS_DISABLE

/* A backend for pytheus_registry_desc.backend. A Redis that can't be reached is told, and waited
   for in the background. CONFIG: the description, or what Redis says of it (a wrong password, a
   cluster), or TLS; NOMEM. Connects; allocates. Any thread. */
PYTHEUS_API pytheus_err pytheus_redis_backend(const pytheus_redis_desc *desc, pytheus_backend *out);

/* Sets a gauge that was defined with expire_seconds, for so many seconds instead. VALUE: seconds
   are not above 0; otherwise as pytheus_gauge_set. Any thread; does not allocate. */
PYTHEUS_API pytheus_err pytheus_redis_gauge_set_for(pytheus_gauge gauge, double v, double seconds);

#else

static inline PYTHEUS__UNUSED pytheus_err pytheus_redis_backend(const pytheus_redis_desc *desc,
                                                                pytheus_backend *out) {
    (void)desc;
    (void)out;
    return PYTHEUS_OK;
}

static inline PYTHEUS__UNUSED pytheus_err pytheus_redis_gauge_set_for(pytheus_gauge gauge, double v,
                                                                      double seconds) {
    (void)gauge;
    (void)v;
    (void)seconds;
    return PYTHEUS_OK;
}

#endif

#ifdef __cplusplus
} /* extern "C" */

inline pytheus_err pytheus_redis_backend(const pytheus_redis_desc &desc, pytheus_backend *backend) {
    return pytheus_redis_backend(&desc, backend);
}
#endif

#endif /* PYTHEUS_REDIS_H */

/* ======================================================================================
   IMPLEMENTATION
   ====================================================================================== */

#if defined(PYTHEUS_REDIS_IMPLEMENTATION) && !defined(PYTHEUS_REDIS__IMPLEMENTED)
#define PYTHEUS_REDIS__IMPLEMENTED
#ifndef PYTHEUS_DISABLE

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#ifdef PYTHEUS_REDIS_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

/* realloc(p, size) and free(p): both, or those of the system. */
#if !defined(PYTHEUS_REDIS_REALLOC) && !defined(PYTHEUS_REDIS_FREE)
#define PYTHEUS_REDIS_REALLOC(p, size) realloc(p, size)
#define PYTHEUS_REDIS_FREE(p) free(p)
#elif !defined(PYTHEUS_REDIS_REALLOC) || !defined(PYTHEUS_REDIS_FREE)
#error "pytheus_redis.h: define both of PYTHEUS_REDIS_REALLOC and PYTHEUS_REDIS_FREE, or neither"
#endif

enum {
    PYTHEUS_REDIS__PORT = 6379,
    PYTHEUS_REDIS__CONNECT_MS = 500,
    PYTHEUS_REDIS__COMMAND_MS = 1000,
    PYTHEUS_REDIS__FLUSH_MS = 1000,
    PYTHEUS_REDIS__EXPIRE_SECONDS = 3600,
    PYTHEUS_REDIS__SEQUENCE_SECONDS = 7 * 24 * 3600,
    PYTHEUS_REDIS__SEQUENCE_REFRESH_SECONDS = 24 * 3600,
    /* a process that does not refresh its gauges is gone; at least, and in flushes */
    PYTHEUS_REDIS__PROCESS_SECONDS = 60,
    PYTHEUS_REDIS__PROCESS_FLUSHES = 3,
    PYTHEUS_REDIS__PROCESS_REFRESH_SECONDS = 20,
    PYTHEUS_REDIS__REFUSED_SECONDS = 10, /* until what Redis refused is tried again */
    PYTHEUS_REDIS__FIRST_WAIT_MS = 100,
    PYTHEUS_REDIS__LONGEST_WAIT_MS = 10000,
    /* commands of one transaction, but for those of the series that passes it */
    PYTHEUS_REDIS__MOST_COMMANDS = 1000,
    /* metrics that are asked for in one go */
    PYTHEUS_REDIS__MOST_READS = 256,
    PYTHEUS_REDIS__BATCH = 64,         /* series that are looked at under the lock */
    PYTHEUS_REDIS__MOST_CLOSED = 1000, /* series, until the thread is woken */
    PYTHEUS_REDIS__MOST_NEWS = 8,      /* of one flush or page */
    PYTHEUS_REDIS__NUMBER_SIZE = 40,
    PYTHEUS_REDIS__NONE = 0x7fffffff,
    PYTHEUS_REDIS__LARGEST_STRING = 1 << 26
};

/* ==== TIME ==== */

/* glibc hides it from a file that asked for strict C. */
#if defined(__linux__) && defined(__STRICT_ANSI__) && !defined(__cplusplus)
extern int clock_gettime(int clock, struct timespec *now)
#if defined(__USE_TIME_BITS64) && __TIMESIZE == 32
    __asm__("__clock_gettime64")
#endif
        ;
extern int pthread_condattr_setclock(pthread_condattr_t *attributes, int clock);
#endif
#ifdef CLOCK_MONOTONIC
#define PYTHEUS_REDIS__CLOCK CLOCK_MONOTONIC
#else
#define PYTHEUS_REDIS__CLOCK 1
#endif

/* Milliseconds of a clock that nobody sets. */
static int64_t pytheus_redis__now(void) {
    struct timespec now;
    now.tv_sec = 0;
    now.tv_nsec = 0;
    (void)clock_gettime(PYTHEUS_REDIS__CLOCK, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Seconds since 1970. */
static double pytheus_redis__wall_clock(void) {
    struct timeval now;
    (void)gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec / 1e6;
}

/* A condition whose waits end by that clock, too. */
static void pytheus_redis__condition_init(pthread_cond_t *condition) {
    pthread_condattr_t with_clock;
    (void)pthread_condattr_init(&with_clock);
#ifndef __APPLE__
    (void)pthread_condattr_setclock(&with_clock, PYTHEUS_REDIS__CLOCK);
#endif
    (void)pthread_cond_init(condition, &with_clock);
    (void)pthread_condattr_destroy(&with_clock);
}

static void pytheus_redis__wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t until) {
    struct timespec end;
#ifdef __APPLE__
    until -= pytheus_redis__now();
    until = until < 0 ? 0 : until;
#endif
    end.tv_sec = (time_t)(until / 1000);
    end.tv_nsec = (long)(until % 1000) * 1000000;
#ifdef __APPLE__
    (void)pthread_cond_timedwait_relative_np(condition, lock, &end);
#else
    (void)pthread_cond_timedwait(condition, lock, &end);
#endif
}

/* ==== BYTES ==== */

/* A text that grows. Without memory it fails, once for all that is added until it is looked at. */
typedef struct pytheus_redis__bytes {
    char *at;
    size_t used, room;
    bool failed;
} pytheus_redis__bytes;

static bool pytheus_redis__reserve(pytheus_redis__bytes *bytes, size_t size) {
    size_t room = bytes->room;
    char *at;
    if (size <= room - bytes->used) {
        return true;
    }
    room = room < 256 ? 256 : room * 2;
    room = room < bytes->used + size ? bytes->used + size : room;
    at = bytes->failed ? NULL : (char *)PYTHEUS_REDIS_REALLOC(bytes->at, room);
    if (!at) {
        bytes->failed = true;
        return false;
    }
    bytes->at = at;
    bytes->room = room;
    return true;
}

static void pytheus_redis__add(pytheus_redis__bytes *bytes, const char *text, size_t size) {
    if (size && pytheus_redis__reserve(bytes, size)) {
        memcpy(bytes->at + bytes->used, text, size);
        bytes->used += size;
    }
}

static void pytheus_redis__clear(pytheus_redis__bytes *bytes) {
    bytes->used = 0;
    bytes->failed = false;
}

static void pytheus_redis__add_string(pytheus_redis__bytes *bytes, const char *text) {
    pytheus_redis__add(bytes, text, strlen(text));
}

static void pytheus_redis__bytes_free(pytheus_redis__bytes *bytes) {
    PYTHEUS_REDIS_FREE(bytes->at);
    memset(bytes, 0, sizeof *bytes);
}

/* Room for one element more in an array that doubles; false: no memory. */
static bool pytheus_redis__grow(void **array, size_t used, size_t *room, size_t element) {
    size_t more = *room ? *room * 2 : 16;
    void *at;
    if (used < *room) {
        return true;
    }
    at = PYTHEUS_REDIS_REALLOC(*array, more * element);
    if (!at) {
        return false;
    }
    *array = at;
    *room = more;
    return true;
}

static char *pytheus_redis__copy(const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = (char *)PYTHEUS_REDIS_REALLOC(NULL, size);
    return copy ? (char *)memcpy(copy, text, size) : NULL;
}

static pytheus_err pytheus_redis__no_memory(const char *what) {
    return pytheus_fail(PYTHEUS_ERR_NOMEM, "redis: %.100s: out of memory", what);
}

/* Commands as Redis reads them: *2 $3 GET $4 name, each with \r\n. */
static void pytheus_redis__add_head(pytheus_redis__bytes *out, char kind, size_t n) {
    char head[32];
    int size = snprintf(head, sizeof head, "%c%lu\r\n", kind, (unsigned long)n);
    pytheus_redis__add(out, head, (size_t)size);
}

static void pytheus_redis__add_bulk(pytheus_redis__bytes *out, const char *text, size_t size) {
    pytheus_redis__add_head(out, '$', size);
    pytheus_redis__add(out, text, size);
    pytheus_redis__add(out, "\r\n", 2);
}

static void pytheus_redis__command(pytheus_redis__bytes *out, const char *const *words, size_t n) {
    size_t i;
    pytheus_redis__add_head(out, '*', n);
    for (i = 0; i < n; i++) {
        pytheus_redis__add_bulk(out, words[i], strlen(words[i]));
    }
}

static void pytheus_redis__command_1(pytheus_redis__bytes *out, const char *a) {
    pytheus_redis__command(out, &a, 1);
}

static void pytheus_redis__command_2(pytheus_redis__bytes *out, const char *a, const char *b) {
    const char *words[2];
    words[0] = a;
    words[1] = b;
    pytheus_redis__command(out, words, 2);
}

static void pytheus_redis__command_3(pytheus_redis__bytes *out, const char *a, const char *b,
                                     const char *c) {
    const char *words[3];
    words[0] = a;
    words[1] = b;
    words[2] = c;
    pytheus_redis__command(out, words, 3);
}

/* ==== NUMBERS ==== */

static bool pytheus_redis__is_finite(double v) {
    return v - v >= 0;
}

static bool pytheus_redis__same(double a, double b) {
    return a >= b && a <= b;
}

static char *pytheus_redis__put_integer(char *out, int64_t v) {
    char digits[24];
    size_t n = sizeof digits;
    uint64_t rest = v < 0 ? -(uint64_t)v : (uint64_t)v;
    do {
        digits[--n] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (v < 0) {
        *out++ = '-';
    }
    memcpy(out, digits + n, sizeof digits - n);
    return out + (sizeof digits - n);
}

/* A number without its sign: 0.d1d2d3... times 10 to the power of point. */
typedef struct pytheus_redis__decimal {
    char digits[20];
    int num_digits;
    int point;
} pytheus_redis__decimal;

/* The shortest digits that read back as v, which is above 0. Neither printing nor reading depends
   on the locale's decimal point: it is passed over, and left away. */
static void pytheus_redis__to_decimal(double v, pytheus_redis__decimal *decimal) {
    int precision;
    for (precision = 14; precision <= 16; precision++) {
        char text[64], plain[64];
        const char *at = text;
        int n = 0;
        (void)snprintf(text, sizeof text, "%.*e", precision, v);
        for (; *at && *at != 'e'; at++) {
            if (*at >= '0' && *at <= '9') {
                plain[n++] = *at;
            }
        }
        decimal->point = atoi(at + 1) + 1;
        (void)snprintf(plain + n, sizeof plain - (size_t)n, "e%d", decimal->point - n);
        memcpy(decimal->digits, plain, (size_t)n);
        decimal->num_digits = n;
        if (pytheus_redis__same(strtod(plain, NULL), v)) {
            break;
        }
    }
    while (decimal->num_digits > 1 && decimal->digits[decimal->num_digits - 1] == '0') {
        decimal->num_digits--;
    }
}

/* Between these powers of ten a number has no exponent. */
typedef struct pytheus_redis__style {
    int most_point;
    bool marks_whole; /* as 1.0 */
} pytheus_redis__style;

static char *pytheus_redis__put_zeros(char *out, int n) {
    while (n-- > 0) {
        *out++ = '0';
    }
    return out;
}

static char *pytheus_redis__put_plain(char *out, const pytheus_redis__decimal *d,
                                      bool marks_whole) {
    int whole = d->point < 0 ? 0 : d->point < d->num_digits ? d->point : d->num_digits;
    if (d->point <= 0) {
        *out++ = '0';
    }
    memcpy(out, d->digits, (size_t)whole);
    out = pytheus_redis__put_zeros(out + whole, d->point - whole);
    if (whole < d->num_digits) {
        *out++ = '.';
        out = pytheus_redis__put_zeros(out, -d->point);
        memcpy(out, d->digits + whole, (size_t)(d->num_digits - whole));
        out += d->num_digits - whole;
    } else if (marks_whole) {
        memcpy(out, ".0", 2);
        out += 2;
    }
    return out;
}

static char *pytheus_redis__put_exponent(char *out, const pytheus_redis__decimal *d) {
    int exponent = d->point - 1;
    *out++ = d->digits[0];
    if (d->num_digits > 1) {
        *out++ = '.';
        memcpy(out, d->digits + 1, (size_t)d->num_digits - 1);
        out += d->num_digits - 1;
    }
    return out + snprintf(out, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

static bool pytheus_redis__is_negative_zero(double v) {
    const double zero = 0;
    return pytheus_redis__same(v, 0) && memcmp(&v, &zero, sizeof v) != 0;
}

static char *pytheus_redis__put_styled(char *out, double v, pytheus_redis__style style) {
    pytheus_redis__decimal decimal;
    if (v < 0 || pytheus_redis__is_negative_zero(v)) {
        *out++ = '-';
        v = -v;
    }
    if (!(v > 0)) {
        decimal.digits[0] = '0';
        decimal.num_digits = decimal.point = 1;
    } else {
        pytheus_redis__to_decimal(v, &decimal);
    }
    return decimal.point < -3 || decimal.point > style.most_point
               ? pytheus_redis__put_exponent(out, &decimal)
               : pytheus_redis__put_plain(out, &decimal, style.marks_whole);
}

/* A value as Python's repr has it, but whole ones as integers. Returns the end. */
static char *pytheus_redis__put_number(char *out, double v) {
    static const pytheus_redis__style python = {16, false};
    const double exact = 9007199254740992.0;
    if (!pytheus_redis__is_finite(v)) {
        const char *text = v > 0 ? "inf" : v < 0 ? "-inf" : "nan";
        size_t size = strlen(text);
        memcpy(out, text, size);
        return out + size;
    }
    if (v >= -exact && v <= exact && pytheus_redis__same((double)(int64_t)v, v) &&
        !pytheus_redis__is_negative_zero(v)) {
        return pytheus_redis__put_integer(out, (int64_t)v);
    }
    return pytheus_redis__put_styled(out, v, python);
}

/* The bound of a bucket in its key: as Python's str() has a float, or an int where it is whole. */
static void pytheus_redis__bound_of_key(char *out, double bound, bool float_bounds) {
    pytheus_redis__style python;
    python.most_point = 16;
    python.marks_whole = float_bounds;
    *pytheus_redis__put_styled(out, bound, python) = '\0';
}

/* Likewise on the page: as Go writes it. */
static void pytheus_redis__bound_of_page(char *out, double bound) {
    static const pytheus_redis__style go = {6, false};
    *pytheus_redis__put_styled(out, bound, go) = '\0';
}

static const char *pytheus_redis__digits(const char *at, const char *end, uint64_t *mantissa,
                                         int *exponent, int each) {
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (*mantissa < UINT64_C(100000000000000000)) {
            *mantissa = *mantissa * 10 + (uint64_t)(*at - '0');
            *exponent += each;
        } else {
            *exponent += each + 1; /* past what 18 digits hold */
        }
    }
    return at;
}

static bool pytheus_redis__read_word(const char *at, size_t size, double *v) {
    static const struct {
        const char *word;
        double value;
    } words[] = {{"inf", 1}, {"infinity", 1}, {"nan", 0}};
    const double huge = 1e300;
    size_t i, j;
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        for (j = 0; j < size && words[i].word[j] == (at[j] | 0x20); j++) {
        }
        if (j == size && !words[i].word[j]) {
            *v = words[i].value > 0 ? huge * huge : huge * huge - huge * huge;
            return true;
        }
    }
    return false;
}

/* Long or large numbers, with their point moved into the exponent: strtod would want that of the
   locale. */
static double pytheus_redis__read_slowly(const char *at, size_t size, int exponent) {
    char plain[400];
    int fraction = 0;
    size_t n = 0, i;
    bool after_point = false;
    for (i = 0; i < size && n < sizeof plain - 30; i++) {
        if (at[i] == '.') {
            after_point = true;
        } else if ((at[i] | 0x20) == 'e') {
            break;
        } else {
            plain[n++] = at[i];
            fraction += after_point;
        }
    }
    (void)snprintf(plain + n, 30, "e%d", exponent - fraction);
    return strtod(plain, NULL);
}

static double pytheus_redis__scaled(uint64_t mantissa, int exponent) {
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                    1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    return exponent < 0 ? (double)mantissa / powers[-exponent]
                        : (double)mantissa * powers[exponent];
}

/* What Redis or Python wrote: 3, 0.30000000000000001, -1e+16, nan, inf. text ends with a byte that
   is none of its. false: no number. */
static bool pytheus_redis__read_number(const char *text, size_t size, double *v) {
    const char *at = text, *end = text + size, *digits;
    uint64_t mantissa = 0;
    int exponent = 0, written = 0;
    bool negative = size && *at == '-';
    at += size && (*at == '-' || *at == '+');
    digits = at;
    if (size > 340 || (at < end && pytheus_redis__read_word(at, (size_t)(end - at), v))) {
        *v = size > 340 ? 0 : negative ? -*v : *v;
        return size <= 340;
    }
    at = pytheus_redis__digits(at, end, &mantissa, &exponent, 0);
    if (at < end && *at == '.') {
        at = pytheus_redis__digits(at + 1, end, &mantissa, &exponent, -1);
    }
    if (at == digits || (at == digits + 1 && *digits == '.')) {
        return false;
    }
    if (at < end && (*at | 0x20) == 'e') {
        const char *start = at + 1 + (at + 1 < end && (at[1] == '-' || at[1] == '+'));
        uint64_t power = 0;
        int unused = 0;
        at = pytheus_redis__digits(start, end, &power, &unused, 0);
        written = (start[-1] == '-' ? -1 : 1) * (int)(power > 9999 ? 9999 : power);
        exponent += written;
        at = at == start ? NULL : at;
    }
    if (at != end) {
        return false;
    }
    *v = mantissa <= UINT64_C(9007199254740992) && exponent >= -22 && exponent <= 22
             ? pytheus_redis__scaled(mantissa, exponent)
             : pytheus_redis__read_slowly(digits, (size_t)(end - digits), written);
    *v = negative ? -*v : *v;
    return true;
}

/* ==== LABELS AS JSON ==== */

/* The character at *at, which is UTF-8, because the library has mended it. */
static uint32_t pytheus_redis__next_character(const unsigned char **at) {
    uint32_t first = *(*at)++, c;
    int more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    c = more == 0 ? first : first & (0x3fu >> more);
    while (more-- > 0 && (**at & 0xc0) == 0x80) {
        c = c << 6 | (*(*at)++ & 0x3fu);
    }
    return c;
}

static void pytheus_redis__add_escape(pytheus_redis__bytes *out, uint32_t unit) {
    char text[8];
    (void)snprintf(text, sizeof text, "\\u%04x", (unsigned)(unit & 0xffff));
    pytheus_redis__add(out, text, 6);
}

/* As json.dumps: ASCII, and 0x7f is none. */
static void pytheus_redis__add_json_string(pytheus_redis__bytes *out, const char *text) {
    static const char plain[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const unsigned char *at = (const unsigned char *)text;
    pytheus_redis__add(out, "\"", 1);
    while (*at) {
        uint32_t c = pytheus_redis__next_character(&at);
        const char *escaped = c < 128 ? strchr(plain, (int)c) : NULL;
        char byte = (char)c;
        if (escaped) {
            pytheus_redis__add(out, "\\", 1);
            pytheus_redis__add(out, letters + (escaped - plain), 1);
        } else if (c >= 0x10000) {
            pytheus_redis__add_escape(out, 0xd800 + ((c - 0x10000) >> 10));
            pytheus_redis__add_escape(out, 0xdc00 + (c & 0x3ff));
        } else if (c < 32 || c >= 127) {
            pytheus_redis__add_escape(out, c);
        } else {
            pytheus_redis__add(out, &byte, 1);
        }
    }
    pytheus_redis__add(out, "\"", 1);
}

/* Reads a flat object, in any spelling. */
typedef struct pytheus_redis__json {
    const char *at, *end;
    pytheus_redis__bytes *out; /* decoded strings, each ending with NUL */
} pytheus_redis__json;

static void pytheus_redis__skip_blanks(pytheus_redis__json *in) {
    while (in->at < in->end && strchr(" \t\r\n", *in->at) && *in->at) {
        in->at++;
    }
}

static bool pytheus_redis__takes(pytheus_redis__json *in, char c) {
    pytheus_redis__skip_blanks(in);
    if (in->at == in->end || *in->at != c) {
        return false;
    }
    in->at++;
    return true;
}

static bool pytheus_redis__read_unit(pytheus_redis__json *in, uint32_t *unit) {
    int i;
    *unit = 0;
    for (i = 0; i < 4; i++, in->at++) {
        char c = (char)(in->at < in->end ? *in->at | 0x20 : 0);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                                                : 16;
        if (digit > 15) {
            return false;
        }
        *unit = *unit << 4 | digit;
    }
    return true;
}

static void pytheus_redis__add_utf8(pytheus_redis__bytes *out, uint32_t c) {
    char text[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, i;
    static const unsigned first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (i = n; i-- > 1; c >>= 6) {
        text[i] = (char)(0x80 | (c & 0x3f));
    }
    text[0] = (char)(first[n] | c);
    pytheus_redis__add(out, text, n);
}

/* After \u. A surrogate without its other half becomes U+FFFD. */
static bool pytheus_redis__read_code(pytheus_redis__json *in) {
    uint32_t unit, low;
    if (!pytheus_redis__read_unit(in, &unit) || !unit) {
        return false;
    }
    if (unit >= 0xd800 && unit < 0xdc00 && in->end - in->at >= 6 && in->at[0] == '\\' &&
        in->at[1] == 'u') {
        const char *back = in->at;
        in->at += 2;
        if (!pytheus_redis__read_unit(in, &low)) {
            return false;
        }
        if (low >= 0xdc00 && low < 0xe000) {
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        } else {
            in->at = back;
        }
    }
    pytheus_redis__add_utf8(in->out, unit >= 0xd800 && unit < 0xe000 ? 0xfffd : unit);
    return true;
}

static bool pytheus_redis__read_escape(pytheus_redis__json *in) {
    static const char letters[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    char c = (char)(in->at < in->end ? *in->at++ : 0);
    const char *letter = c ? strchr(letters, c) : NULL;
    if (c == 'u') {
        return pytheus_redis__read_code(in);
    }
    if (letter) {
        pytheus_redis__add(in->out, plain + (letter - letters), 1);
    }
    return letter != NULL;
}

/* Whether what is between the escapes is UTF-8, and none of it longer than need be. */
static bool pytheus_redis__is_utf8(const char *text, size_t size) {
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    while (at < end) {
        size_t more = *at < 0x80 ? 0 : *at < 0xc2 ? 4 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
        const unsigned char *next = at + more + 1;
        uint32_t c;
        if (more > 3 || *at > 0xf4 || (size_t)(end - at) <= more) {
            return false;
        }
        c = pytheus_redis__next_character(&at);
        if (at != next || c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
            return false;
        }
    }
    return true;
}

static bool pytheus_redis__read_string(pytheus_redis__json *in) {
    size_t before = in->out->used;
    while (in->at < in->end && *in->at != '"') {
        char c = *in->at++;
        if (!c || (c == '\\' && !pytheus_redis__read_escape(in))) {
            return false;
        }
        if (c != '\\') {
            pytheus_redis__add(in->out, &c, 1);
        }
    }
    pytheus_redis__add(in->out, "", 1);
    return in->at < in->end && *in->at++ == '"' && !in->out->failed &&
           pytheus_redis__is_utf8(in->out->at + before, in->out->used - before);
}

/* A word, as Python's str() has what it stands for. */
static bool pytheus_redis__read_constant(pytheus_redis__json *in) {
    static const char *const words[][2] = {{"true", "True"},      {"false", "False"},
                                           {"null", "None"},      {"Infinity", "inf"},
                                           {"-Infinity", "-inf"}, {"NaN", "nan"}};
    size_t i, size;
    for (i = 0; i < sizeof words / sizeof *words; i++) {
        size = strlen(words[i][0]);
        if ((size_t)(in->end - in->at) >= size && memcmp(in->at, words[i][0], size) == 0) {
            in->at += size;
            pytheus_redis__add(in->out, words[i][1], strlen(words[i][1]) + 1);
            return true;
        }
    }
    return false;
}

/* A string, a word, or a number as it stands; *offset is where it is in the output. */
static bool pytheus_redis__read_value(pytheus_redis__json *in, size_t *offset) {
    *offset = in->out->used;
    if (pytheus_redis__takes(in, '"')) {
        return pytheus_redis__read_string(in);
    }
    if (pytheus_redis__read_constant(in)) {
        return true;
    }
    while (in->at < in->end && *in->at && strchr("+-.0123456789eE", *in->at)) {
        pytheus_redis__add(in->out, in->at++, 1);
    }
    pytheus_redis__add(in->out, "", 1);
    return in->out->used > *offset + 1;
}

/* Reads {"name": "value", ...} into offsets of names and values in out; false: it is not one, or
   has more than that many. */
static bool pytheus_redis__read_labels(const char *text, size_t size, pytheus_redis__bytes *out,
                                       size_t offsets[][2], size_t most, size_t *n) {
    pytheus_redis__json in;
    in.at = text;
    in.end = text + size;
    in.out = out;
    *n = 0;
    if (!pytheus_redis__takes(&in, '{')) {
        return false;
    }
    while (!pytheus_redis__takes(&in, '}')) {
        if ((*n && !pytheus_redis__takes(&in, ',')) || *n == most ||
            !pytheus_redis__takes(&in, '"')) {
            return false;
        }
        offsets[*n][0] = out->used;
        if (!pytheus_redis__read_string(&in) || !pytheus_redis__takes(&in, ':')) {
            return false;
        }
        pytheus_redis__skip_blanks(&in);
        if (!pytheus_redis__read_value(&in, &offsets[(*n)++][1])) {
            return false;
        }
    }
    pytheus_redis__skip_blanks(&in);
    return in.at == in.end && !out->failed;
}

/* ==== WHAT IS KEPT HERE ==== */

/* One number in Redis: the integer and the double are added up, because increments come as both. */
typedef struct pytheus_redis__value {
    uint64_t whole;
    double real;
} pytheus_redis__value;

/* The values of one series on a page that is being read: small, because a page goes over all. */
typedef struct pytheus_redis__row {
    uint64_t seen;    /* number of the page that has last read something of it, */
    size_t num_seen;  /* how many values, */
    double changed;   /* and when the most recent of them came to be */
    size_t num_local; /* series of this process: these are on the page, whatever Redis has */
    double values[1]; /* num_values of the metric; behind them the texts of its labels */
} pytheus_redis__row;

/* What a field of a metric's hashes, or a key, stands for. */
typedef struct pytheus_redis__spelling {
    pytheus_redis__row *row; /* NULL: no series of this metric */
    size_t value;            /* of a key */
    uint64_t seen;
    size_t place; /* among the metric's */
    size_t size;
    char text[1];
} pytheus_redis__spelling;

typedef struct pytheus_redis__entry {
    uint64_t hash;
    pytheus_redis__spelling *spelling; /* NULL: free */
} pytheus_redis__entry;

typedef struct pytheus_redis__metric {
    struct pytheus_redis__metric *next;
    char *name, *help;
    pytheus_type type;
    pytheus_across across;
    double expire_seconds;
    size_t num_labels;
    char *labels[PYTHEUS_MAX_LABELS];
    size_t num_bounds;
    double *bounds;
    char (*le)[PYTHEUS_REDIS__NUMBER_SIZE]; /* of the buckets, +Inf included, as on the page */
    size_t num_values; /* a counter's or gauge's; sum, count, and of a histogram each bucket's */
    size_t num_stored; /* that are in Redis: the first ones */
    pytheus_redis__bytes *keys;         /* by value: the key */
    pytheus_redis__bytes *changes;      /* by value: the begin of a command that adds to it */
    pytheus_redis__bytes *sets;         /* likewise: that sets it */
    pytheus_redis__bytes *expires;      /* likewise: the command that keeps the key */
    pytheus_redis__bytes *mores;        /* likewise: what belongs into the JSON in the key */
    pytheus_redis__bytes read_expiring; /* the command that reads a hash whose fields expire */
    pytheus_redis__bytes group;         /* the key of the set of keys, with its NUL */
    uint64_t *touched;                  /* by value: number of the transaction that kept the key */
    uint64_t seed;                      /* of the hashes */
    bool is_replaced;                   /* by one of the same name */
    struct pytheus_redis__slot *free_slots; /* that can be used again; under the lock */
    /* what follows belongs to who has the line */
    pytheus_redis__row **rows;
    size_t num_rows, rows_room;
    pytheus_redis__spelling **spellings; /* in the order in which they came last */
    size_t num_spellings, spellings_room;
    pytheus_redis__entry *entries; /* a hash table of them */
    size_t num_entries;
    size_t next_spelling; /* the one that is expected */
    bool is_told;         /* that some of its fields are no series */
    bool has_told_fraction;
} pytheus_redis__metric;

/* The words of a series, which the library adds to. Used again for another one under another mask,
   unless they had none. */
typedef struct pytheus_redis__slot {
    struct pytheus_redis__slot *next;      /* of all */
    struct pytheus_redis__slot *next_free; /* of those that can be used again */
    size_t num_words;
    /* and behind them how often they were set, when a gauge was, and how long that lasts */
    uint64_t words[1] __attribute__((aligned(8)));
} pytheus_redis__slot;

typedef struct pytheus_redis__series {
    pytheus_redis__metric *metric;
    pytheus_redis__slot *slot;
    uint64_t mask;
    char *field; /* behind the values */
    size_t field_size;
    size_t split; /* where more belongs into it */
    /* under the lock */
    struct pytheus_redis__series *previous, *next; /* made before it, and after */
    uint64_t age;                                  /* how many were before it */
    bool was_met;                                  /* by who has the line, and may have kept it */
    bool is_removed, is_closed;
    /* what follows belongs to who has the line */
    bool is_known; /* Redis has all its values */
    bool is_gone;  /* nothing of it is to be sent any more */
    uint64_t sets; /* how often it had been set when Redis acknowledged that */
    bool is_told;  /* that it is refused */
    int64_t refused_until;
    int64_t sent;                         /* when Redis last acknowledged it */
    uint64_t inherited_sets;              /* at the fork that made this process, */
    double inherited;                     /* and of a gauge the value */
    pytheus_redis__row *row;              /* NULL: none yet */
    pytheus_redis__value acknowledged[1]; /* num_values of the metric */
} pytheus_redis__series;

/* A command of a transaction, and what is acknowledged when it has been done. */
typedef struct pytheus_redis__change {
    pytheus_redis__series *series; /* NULL: nothing is */
    size_t value;
    pytheus_redis__value becomes;
    uint64_t sets;
    bool is_last; /* of its series */
    bool is_removal;
    bool has_failed;
} pytheus_redis__change;

typedef enum pytheus_redis__outcome {
    PYTHEUS_REDIS__UNKNOWN,
    PYTHEUS_REDIS__DONE,
    PYTHEUS_REDIS__VOID,   /* the watched key had changed */
    PYTHEUS_REDIS__ABORTED /* a command was refused before any was done */
} pytheus_redis__outcome;

/* The transaction that is in flight, or of which nobody knows whether it came. */
typedef struct pytheus_redis__transaction {
    uint64_t number; /* 0: there is none */
    uint64_t fence;  /* number of an empty one that was sent to make sure that it won't come */
    pytheus_redis__bytes text;
    size_t num_commands; /* of the text, but for those that every transaction has */
    pytheus_redis__change *changes;
    size_t num_changes, changes_room;
    pytheus_redis__outcome outcome;
    bool has_process; /* gauges of this process alone are in it */
} pytheus_redis__transaction;

/* A question about one value of a metric. */
typedef struct pytheus_redis__read {
    pytheus_redis__metric *metric;
    size_t value;
    size_t reply; /* the number of the answer */
} pytheus_redis__read;

/* A key that is in the set of a metric. */
typedef struct pytheus_redis__member {
    pytheus_redis__metric *metric;
    pytheus_redis__row *row;
    size_t value;
    const char *key; /* with NUL */
    bool is_dead;    /* there is no such key any more */
} pytheus_redis__member;

/* What is being asked for a page. */
typedef struct pytheus_redis__reading {
    size_t num_reads, num_replies;
    size_t at;                     /* the question that is being answered */
    pytheus_redis__row *row;       /* whose number comes next */
    pytheus_redis__metric *metric; /* and of which metric, in the hash of a process */
    bool no_memory, is_refused, has_dead;
    double numbers[2];
    uint64_t *processes; /* their numbers */
    size_t num_processes, processes_room;
    pytheus_redis__metric **gauges; /* of processes, by name */
    size_t num_gauges, gauges_room;
    pytheus_redis__member *members;
    size_t num_members, members_room;
    pytheus_redis__read reads[PYTHEUS_REDIS__MOST_READS];
} pytheus_redis__reading;

/* The trouble of who has the line, for the logger: it is told when the line is free again. */
typedef struct pytheus_redis__news {
    char metric[104];
    char sentence[256];
} pytheus_redis__news;

/* Words of a series that stand behind those that the library changes. */
enum {
    PYTHEUS_REDIS__SETS,
    PYTHEUS_REDIS__CHANGED,
    PYTHEUS_REDIS__LASTS,     /* milliseconds, */
    PYTHEUS_REDIS__LASTS_SET, /* of the set that makes this how often it was set */
    PYTHEUS_REDIS__EXTRA_WORDS
};

/* Answers to what is said on a new connection. */
typedef enum pytheus_redis__step {
    PYTHEUS_REDIS__MUST_BE_GOOD,
    PYTHEUS_REDIS__TELLS_OF_CLUSTER,
    PYTHEUS_REDIS__TELLS_NUMBER
} pytheus_redis__step;

typedef struct pytheus_redis pytheus_redis;

/* Takes a part of a reply that was asked for. task->parent is NULL for a whole one. */
typedef void pytheus_redis__take(pytheus_redis *redis, const redisReadTask *task, const char *text,
                                 size_t size, long long n);

/* What layouts of keys differ in. */
typedef struct pytheus_redis__layout {
    const char *name;
    const char *index_key; /* counts the processes that have gauges of their own */
    int expire_seconds;    /* of keys, where nothing is said; -1: never */
    bool has_zeros;        /* a series is there before anything was counted */
    bool has_fractions;    /* of counters */

    /* NULL, or why this metric is refused */
    const char *(*objection)(const pytheus_series_desc *desc);
    /* what all commands of a metric have in common; false: no memory */
    bool (*prepare)(const pytheus_redis *redis, pytheus_redis__metric *metric);
    /* what tells a series from others of its metric, as JSON; returns where more belongs into it */
    size_t (*make_field)(pytheus_redis__bytes *field, const pytheus_redis__metric *metric,
                         const pytheus_label *labels);
    /* puts a change of a value into the transaction */
    void (*change)(pytheus_redis *redis, const pytheus_redis__change *change, const char *number,
                   bool is_set);
    /* likewise of a gauge of this process alone */
    void (*set_own)(pytheus_redis *redis, const pytheus_redis__change *change, const char *number);
    /* adds the commands that remove a value, and returns how many they are */
    size_t (*remove)(pytheus_redis *redis, pytheus_redis__bytes *out,
                     const pytheus_redis__series *series, size_t value);
    /* adds the command that asks for a value */
    void (*ask)(pytheus_redis *redis, pytheus_redis__bytes *out,
                const pytheus_redis__series *series, size_t value);
    /* adds up in rows what Redis has */
    pytheus_err (*read)(pytheus_redis *redis, int64_t deadline);
    /* removes the gauges of this process alone */
    void (*end_process)(pytheus_redis *redis, int64_t deadline);
} pytheus_redis__layout;

struct pytheus_redis {
    /* what it is configured to be */
    char *host, *unix_socket_path, *username, *password, *prefix;
    char *tls_ca, *tls_certificate, *tls_key, *tls_server_name;
    bool has_tls;
    int port, db;
    int connect_ms, command_ms, flush_ms;
    int expire_seconds; /* 0: never */
    bool write_through, float_bounds, serve_own;
    const pytheus_redis__layout *layout;
    char *texts; /* the memory of the strings above */
    pytheus_logger logger;

    pthread_mutex_t lock;
    pthread_cond_t line_is_free;
    bool line_is_taken; /* by the one thread that may talk to Redis, which holds no lock then */
    pytheus_redis__metric *metrics, **last_metric;
    pytheus_redis__series *first_series, *last_series; /* by age */
    size_t num_closed;                                 /* of them, waiting to be freed */
    uint64_t newest;                                   /* age of the last one made */
    pytheus_redis__slot *slots;
    uint64_t random, seed;
    bool has_removed;
    bool has_thread, ends, is_held;
    bool is_woken; /* to clear away what is closed */
    pthread_t thread;
    pthread_cond_t wake;
    int64_t last_deadline;      /* when it ends */
    struct pytheus_redis *next; /* of all that are to be flushed at exit */
    bool is_claimed;            /* by who ends it */
    bool has_ended;             /* at exit */

    /* what follows belongs to who has the line */
    redisContext *context;
#ifdef PYTHEUS_REDIS_TLS
    SSL *tls; /* over the connection; NULL: none */
    BIO_METHOD *tls_socket;
    int socket_error; /* of the last call of it; 0: the end */
#endif
    bool waits_to_write; /* before it can read on */
    bool is_refused;     /* by TLS, on one of the two sides */
    redisReader *reader;
    pytheus_redis__take *take;
    size_t num_replies; /* that have come since the last sending, */
    size_t num_asked;   /* and how many are to */
    bool is_broken;     /* what came is no answer */
    char refusal[128];  /* the first error among them */
    pytheus_redis__bytes out;
    pytheus_redis__transaction transaction;
    char id[40];
    char *sequence_key; /* with the id at its end */
    uint64_t number;    /* of the last transaction */
    uint64_t base;      /* what the watched key held; 0: it was not there */
    uint64_t found;     /* what it holds now */
    bool is_cluster;
    bool must_look_again;        /* what was not done is among what has changed again */
    bool has_rest;               /* the last flush had not time enough, */
    pytheus_redis__series *turn; /* and the next one begins behind this; NULL: with the first */
    int64_t last_flush;          /* when the key was last refreshed */
    uint64_t last_flush_ms;      /* since 1970 */
    uint64_t flush_errors;
    uint64_t page;
    uint64_t process_index; /* tells this process's gauges apart; 0: not known yet */
    uint64_t process_since; /* number of the first transaction after it was given */
    int64_t process_refused_until;
    pytheus_redis__reading reading;
    int64_t refreshes; /* this process's gauges that were sent no later */
    pytheus_redis__bytes scratch;
    pytheus_redis__bytes plain, key; /* in the making: a key's labels, and the key */
    pytheus_redis__news news[PYTHEUS_REDIS__MOST_NEWS];
    size_t num_news;
    char told[160];               /* the trouble that the logger knows of; "": none */
    pytheus_redis__step steps[8]; /* of the greeting */
    size_t num_steps;
    bool has_bad_step;
};

#define PYTHEUS_REDIS__LOAD(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define PYTHEUS_REDIS__STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

static uint64_t pytheus_redis__spread(uint64_t x) {
    x ^= x >> 32;
    x *= UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 29;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    return x ^ x >> 32;
}

static uint64_t pytheus_redis__random(pytheus_redis *redis) {
    redis->random += UINT64_C(0x9e3779b97f4a7c15);
    return pytheus_redis__spread(redis->random);
}

/* Identities of processes must differ over the fleet, and after a fork. */
static void pytheus_redis__new_identity(pytheus_redis *redis) {
    uint64_t seeds[2] = {0, 0};
    int file = open("/dev/urandom", O_RDONLY);
    if (file >= 0) {
        (void)!read(file, seeds, sizeof seeds);
        (void)close(file);
    }
    seeds[0] ^= pytheus_redis__spread((uint64_t)getpid() ^ (uint64_t)pytheus_redis__now() << 20);
    seeds[1] ^= pytheus_redis__spread((uint64_t)(uintptr_t)redis ^
                                      (uint64_t)(pytheus_redis__wall_clock() * 1e6));
    redis->random = seeds[0] ^ seeds[1] << 1;
    redis->seed = redis->seed ? redis->seed : seeds[1];
    (void)snprintf(redis->id, sizeof redis->id, "%08lx%08lx%08lx%08lx",
                   (unsigned long)(seeds[0] >> 32), (unsigned long)(seeds[0] & 0xffffffff),
                   (unsigned long)(seeds[1] >> 32), (unsigned long)(seeds[1] & 0xffffffff));
    memcpy(redis->sequence_key + strlen(redis->sequence_key) - 32, redis->id, 32);
}

/* ==== METRICS AND SERIES ==== */

/* Its value may go down. */
static bool pytheus_redis__is_gauge(const pytheus_redis__metric *metric) {
    return metric->type == PYTHEUS_GAUGE || metric->type == PYTHEUS_UNKNOWN;
}

/* Infos and states are each process's own, and stay here. */
static bool pytheus_redis__stays(const pytheus_redis__metric *metric) {
    return metric->type == PYTHEUS_INFO || metric->type == PYTHEUS_STATESET;
}

static void pytheus_redis__metric_free(pytheus_redis__metric *metric) {
    size_t i;
    for (i = 0; i < metric->num_labels; i++) {
        PYTHEUS_REDIS_FREE(metric->labels[i]);
    }
    for (i = 0; metric->keys && i < 5 * metric->num_values; i++) {
        pytheus_redis__bytes_free(&metric->keys[i]);
    }
    for (i = 0; i < metric->num_spellings; i++) {
        PYTHEUS_REDIS_FREE(metric->spellings[i]);
    }
    for (i = 0; i < metric->num_rows; i++) {
        PYTHEUS_REDIS_FREE(metric->rows[i]);
    }
    pytheus_redis__bytes_free(&metric->read_expiring);
    pytheus_redis__bytes_free(&metric->group);
    PYTHEUS_REDIS_FREE(metric->entries);
    PYTHEUS_REDIS_FREE(metric->spellings);
    PYTHEUS_REDIS_FREE(metric->rows);
    PYTHEUS_REDIS_FREE(metric->touched);
    PYTHEUS_REDIS_FREE(metric->keys);
    PYTHEUS_REDIS_FREE(metric->le);
    PYTHEUS_REDIS_FREE(metric->bounds);
    PYTHEUS_REDIS_FREE(metric->help);
    PYTHEUS_REDIS_FREE(metric->name);
    PYTHEUS_REDIS_FREE(metric);
}

static void pytheus_redis__add_prefixed(const pytheus_redis *redis, pytheus_redis__bytes *key,
                                        const char *name) {
    if (redis->prefix) {
        pytheus_redis__add_string(key, redis->prefix);
        pytheus_redis__add(key, "-", 1);
    }
    pytheus_redis__add_string(key, name);
}

/* name, name:sum, name:count, name:0.5, name:+Inf, and before each the prefix */
static void pytheus_redis__make_key(const pytheus_redis *redis, pytheus_redis__metric *metric,
                                    size_t value) {
    pytheus_redis__bytes *key = &metric->keys[value];
    char bound[PYTHEUS_REDIS__NUMBER_SIZE] = "+Inf";
    pytheus_redis__add_prefixed(redis, key, metric->name);
    if (metric->type >= PYTHEUS_HISTOGRAM && value < 2) {
        pytheus_redis__add_string(key, value == 0 ? ":sum" : ":count");
    } else if (metric->type == PYTHEUS_HISTOGRAM) {
        if (value - 2 < metric->num_bounds) {
            pytheus_redis__bound_of_key(bound, metric->bounds[value - 2], redis->float_bounds);
        }
        pytheus_redis__add(key, ":", 1);
        pytheus_redis__add_string(key, bound);
    }
}

/* The fields of a hash do not expire in Redis. Those of an expiring gauge have the time of their
   end in another hash, by the server's clock; these scripts change a field with its end, which goes
   first so that an error means that the field is as it was, and drop what has ended before they
   read. */
static const char pytheus_redis__change_script[] =
    "local t = redis.call('TIME') redis.call('HSET', KEYS[2], ARGV[2], "
    "string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[4])) "
    "redis.call(ARGV[1], KEYS[1], ARGV[2], ARGV[3]) return 1";
static const char pytheus_redis__read_script[] =
    "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    "local ends = redis.call('HGETALL', KEYS[2]) for i = 1, #ends, 2 do "
    "if tonumber(ends[i + 1]) <= now then redis.call('HDEL', KEYS[1], ends[i]) "
    "redis.call('HDEL', KEYS[2], ends[i]) end end return redis.call('HGETALL', KEYS[1])";

static void pytheus_redis__begin_script(pytheus_redis__bytes *command, size_t num_words,
                                        const char *script, const pytheus_redis__bytes *key) {
    pytheus_redis__add_head(command, '*', num_words);
    pytheus_redis__add_bulk(command, "EVAL", 4);
    pytheus_redis__add_bulk(command, script, strlen(script));
    pytheus_redis__add_bulk(command, "2", 1);
    pytheus_redis__add_bulk(command, key->at, key->used);
    pytheus_redis__add_head(command, '$', key->used + strlen(":expires"));
    pytheus_redis__add(command, key->at, key->used);
    pytheus_redis__add_string(command, ":expires\r\n");
}

/* What the commands for a value have in common, so that a flush only copies it. */
static void pytheus_redis__make_commands(const pytheus_redis *redis, pytheus_redis__metric *metric,
                                         size_t value) {
    const pytheus_redis__bytes *key = &metric->keys[value];
    bool is_hash = metric->num_labels > 0;
    const char *verbs[2];
    char seconds[16];
    size_t i;
    verbs[0] = is_hash ? "HINCRBYFLOAT" : "INCRBYFLOAT";
    verbs[1] = is_hash ? "HSET" : "SET";
    for (i = 0; i < 2; i++) {
        pytheus_redis__bytes *command = i ? &metric->sets[value] : &metric->changes[value];
        if (is_hash && metric->expire_seconds > 0) {
            pytheus_redis__begin_script(command, 9, pytheus_redis__change_script, key);
            pytheus_redis__add_bulk(command, verbs[i], strlen(verbs[i]));
            continue;
        }
        pytheus_redis__add_head(command, '*', is_hash ? 4 : 3);
        pytheus_redis__add_bulk(command, verbs[i], strlen(verbs[i]));
        pytheus_redis__add_bulk(command, key->at, key->used);
    }
    if (metric->expire_seconds > 0) {
        pytheus_redis__begin_script(&metric->read_expiring, 5, pytheus_redis__read_script, key);
    }
    if (metric->expire_seconds > 0 || redis->expire_seconds < 0) {
        return;
    }
    *pytheus_redis__put_integer(seconds, redis->expire_seconds) = '\0';
    pytheus_redis__add_head(&metric->expires[value], '*', 3);
    pytheus_redis__add_bulk(&metric->expires[value], "EXPIRE", 6);
    pytheus_redis__add_bulk(&metric->expires[value], key->at, key->used);
    pytheus_redis__add_bulk(&metric->expires[value], seconds, strlen(seconds));
}

static bool pytheus_redis__make_room_for_keys(pytheus_redis__metric *metric) {
    size_t n = metric->num_values;
    metric->keys =
        (pytheus_redis__bytes *)PYTHEUS_REDIS_REALLOC(NULL, 5 * n * sizeof *metric->keys);
    if (!metric->keys) {
        return false;
    }
    memset((void *)metric->keys, 0, 5 * n * sizeof *metric->keys);
    metric->changes = metric->keys + n;
    metric->sets = metric->changes + n;
    metric->expires = metric->sets + n;
    metric->mores = metric->expires + n;
    metric->touched = (uint64_t *)PYTHEUS_REDIS_REALLOC(NULL, n * sizeof *metric->touched);
    if (!metric->touched) {
        return false;
    }
    memset(metric->touched, 0, n * sizeof *metric->touched);
    return true;
}

static bool pytheus_redis__make_keys(const pytheus_redis *redis, pytheus_redis__metric *metric) {
    size_t i, n = metric->num_values;
    if (!pytheus_redis__make_room_for_keys(metric)) {
        return false;
    }
    for (i = 0; i < n; i++) {
        pytheus_redis__make_key(redis, metric, i);
        if (!metric->keys[i].failed) {
            pytheus_redis__make_commands(redis, metric, i);
        }
        if (metric->keys[i].failed || metric->changes[i].failed || metric->sets[i].failed ||
            metric->expires[i].failed || metric->read_expiring.failed) {
            return false;
        }
    }
    return true;
}

static bool pytheus_redis__make_bounds(pytheus_redis__metric *metric,
                                       const pytheus_series_desc *desc) {
    size_t i, n = desc->num_bounds;
    if (desc->type != PYTHEUS_HISTOGRAM) {
        return true;
    }
    metric->bounds = (double *)PYTHEUS_REDIS_REALLOC(NULL, (n + 1) * sizeof *metric->bounds);
    metric->le = (char(*)[PYTHEUS_REDIS__NUMBER_SIZE])PYTHEUS_REDIS_REALLOC(
        NULL, (n + 1) * sizeof *metric->le);
    if (!metric->bounds || !metric->le) {
        return false;
    }
    for (i = 0; i < n; i++) {
        metric->bounds[i] = desc->bounds[i];
        pytheus_redis__bound_of_page(metric->le[i], desc->bounds[i]);
    }
    memcpy(metric->le[n], "+Inf", 5);
    metric->num_bounds = n;
    return true;
}

/* NULL: no memory. */
static pytheus_redis__metric *pytheus_redis__metric_new(const pytheus_redis *redis,
                                                        const pytheus_series_desc *desc) {
    pytheus_redis__metric *metric =
        (pytheus_redis__metric *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *metric);
    bool good = metric != NULL;
    size_t i;
    if (!metric) {
        return NULL;
    }
    memset((void *)metric, 0, sizeof *metric);
    metric->type = desc->type;
    metric->across = desc->across;
    metric->expire_seconds = desc->expire_seconds;
    metric->seed = pytheus_redis__spread(redis->seed);
    metric->name = pytheus_redis__copy(desc->metric);
    metric->help = pytheus_redis__copy(desc->help ? desc->help : "");
    for (i = 0; i < desc->num_labels; i++) {
        metric->labels[i] = pytheus_redis__copy(desc->labels[i].name);
        good = good && metric->labels[i];
        metric->num_labels = i + 1;
    }
    metric->num_values = desc->type == PYTHEUS_HISTOGRAM ? desc->num_bounds + 3
                         : desc->type == PYTHEUS_SUMMARY ? 2
                                                         : 1;
    metric->num_stored = metric->num_values;
    good = good && metric->name && metric->help && pytheus_redis__make_bounds(metric, desc) &&
           redis->layout->prepare(redis, metric);
    if (!good) {
        pytheus_redis__metric_free(metric);
        return NULL;
    }
    return metric;
}

static bool pytheus_redis__is_metric(const pytheus_redis__metric *metric,
                                     const pytheus_series_desc *desc) {
    size_t i;
    if (strcmp(metric->name, desc->metric) != 0 || metric->type != desc->type ||
        metric->num_labels != desc->num_labels || metric->num_bounds != desc->num_bounds ||
        metric->across != desc->across ||
        !pytheus_redis__same(metric->expire_seconds, desc->expire_seconds) ||
        strcmp(metric->help, desc->help ? desc->help : "") != 0) {
        return false;
    }
    for (i = 0; i < desc->num_labels; i++) {
        if (strcmp(metric->labels[i], desc->labels[i].name) != 0) {
            return false;
        }
    }
    for (i = 0; i < desc->num_bounds; i++) {
        if (!pytheus_redis__same(metric->bounds[i], desc->bounds[i])) {
            return false;
        }
    }
    return true;
}

/* Under the lock. */
static pytheus_redis__metric *pytheus_redis__find_metric(const pytheus_redis *redis,
                                                         const pytheus_series_desc *desc) {
    pytheus_redis__metric *metric = redis->metrics;
    while (metric && !pytheus_redis__is_metric(metric, desc)) {
        metric = metric->next;
    }
    return metric;
}

/* The metric of a series; NULL: no memory. */
static pytheus_redis__metric *pytheus_redis__metric_of(pytheus_redis *redis,
                                                       const pytheus_series_desc *desc) {
    pytheus_redis__metric *metric, *fresh;
    (void)pthread_mutex_lock(&redis->lock);
    metric = pytheus_redis__find_metric(redis, desc);
    (void)pthread_mutex_unlock(&redis->lock);
    if (metric) {
        return metric;
    }
    fresh = pytheus_redis__metric_new(redis, desc);
    if (!fresh) {
        return NULL;
    }
    (void)pthread_mutex_lock(&redis->lock);
    metric = pytheus_redis__find_metric(redis, desc);
    if (!metric) {
        metric = fresh;
        PYTHEUS_REDIS__STORE(redis->last_metric, fresh);
        redis->last_metric = &fresh->next;
        fresh = NULL;
    }
    (void)pthread_mutex_unlock(&redis->lock);
    if (fresh) {
        pytheus_redis__metric_free(fresh);
    }
    return metric;
}

/* After the last one NULL; before the first comes NULL. They are only ever added to. */
static pytheus_redis__metric *pytheus_redis__next_metric(const pytheus_redis *redis,
                                                         const pytheus_redis__metric *metric) {
    return metric ? PYTHEUS_REDIS__LOAD(&metric->next) : PYTHEUS_REDIS__LOAD(&redis->metrics);
}

/* The next one that is on the page. */
static pytheus_redis__metric *pytheus_redis__next_current(const pytheus_redis *redis,
                                                          pytheus_redis__metric *metric) {
    do {
        metric = pytheus_redis__next_metric(redis, metric);
    } while (metric && PYTHEUS_REDIS__LOAD(&metric->is_replaced));
    return metric;
}

/* A metric that was removed and is defined otherwise now: its last series may still have to be
   sent, but the pages are the new one's. */
static void pytheus_redis__replace(pytheus_redis *redis, pytheus_redis__metric *metric) {
    pytheus_redis__metric *other = NULL;
    (void)pthread_mutex_lock(&redis->lock);
    while ((other = pytheus_redis__next_metric(redis, other)) != NULL) {
        if (strcmp(other->name, metric->name) == 0) {
            PYTHEUS_REDIS__STORE(&other->is_replaced, other != metric);
        }
    }
    (void)pthread_mutex_unlock(&redis->lock);
}

/* -- series -- */

/* Under the lock. Of words that may not be used again there are no more than series before the
   first removal. */
static pytheus_redis__slot *
pytheus_redis__take_slot(pytheus_redis *redis, pytheus_redis__metric *metric, size_t num_words) {
    pytheus_redis__slot *slot = metric->free_slots;
    if (slot && slot->num_words == num_words) {
        metric->free_slots = slot->next_free;
        return slot;
    }
    slot = (pytheus_redis__slot *)PYTHEUS_REDIS_REALLOC(
        NULL, sizeof *slot + (num_words + PYTHEUS_REDIS__EXTRA_WORDS) * sizeof *slot->words);
    if (slot) {
        slot->num_words = num_words;
        slot->next = redis->slots;
        redis->slots = slot;
    }
    return slot;
}

static void pytheus_redis__add_label(pytheus_redis__bytes *field, const pytheus_label *label) {
    pytheus_redis__add_string(field, field->used > 1 ? ", " : "");
    pytheus_redis__add_json_string(field, label->name);
    pytheus_redis__add(field, ": ", 2);
    pytheus_redis__add_json_string(field, label->value);
}

/* {"method": "GET", "code": "200"}, in declared order */
static size_t pytheus_redis__make_field(pytheus_redis__bytes *field,
                                        const pytheus_redis__metric *metric,
                                        const pytheus_label *labels) {
    size_t i;
    pytheus_redis__add(field, "{", 1);
    for (i = 0; i < metric->num_labels; i++) {
        pytheus_redis__add_label(field, &labels[i]);
    }
    pytheus_redis__add(field, "}", 1);
    return 0;
}

/* NULL: no memory. */
static pytheus_redis__series *pytheus_redis__series_new(const pytheus_redis *redis,
                                                        pytheus_redis__metric *metric,
                                                        const pytheus_label *labels) {
    size_t values = metric->num_values * sizeof(pytheus_redis__value), split;
    pytheus_redis__bytes field = {NULL, 0, 0, false};
    pytheus_redis__series *series = NULL;
    split = redis->layout->make_field(&field, metric, labels);
    if (!field.failed) {
        series = (pytheus_redis__series *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *series + values +
                                                                          field.used);
    }
    if (series) {
        memset((void *)series, 0, sizeof *series + values);
        series->metric = metric;
        series->field = (char *)(series->acknowledged + metric->num_values);
        series->field_size = field.used;
        series->split = split;
        memcpy(series->field, field.at, field.used);
    }
    pytheus_redis__bytes_free(&field);
    return series;
}

static void pytheus_redis__start_thread(pytheus_redis *redis);

/* Under the lock. */
static void pytheus_redis__put_last(pytheus_redis *redis, pytheus_redis__series *series) {
    series->age = ++redis->newest;
    series->previous = redis->last_series;
    series->next = NULL;
    *(series->previous ? &series->previous->next : &redis->first_series) = series;
    redis->last_series = series;
}

/* Under the lock. */
static void pytheus_redis__take_out(pytheus_redis *redis, pytheus_redis__series *series) {
    *(series->previous ? &series->previous->next : &redis->first_series) = series->next;
    *(series->next ? &series->next->previous : &redis->last_series) = series->previous;
}

/* Under the lock; false: no memory. */
static bool pytheus_redis__enlist(pytheus_redis *redis, pytheus_redis__series *series,
                                  size_t num_words) {
    size_t i;
    series->slot = pytheus_redis__take_slot(redis, series->metric, num_words);
    if (!series->slot) {
        return false;
    }
    series->mask = redis->has_removed ? pytheus_redis__random(redis) | 1 : 0;
    for (i = 0; i < num_words + PYTHEUS_REDIS__EXTRA_WORDS; i++) {
        PYTHEUS_REDIS__STORE(&series->slot->words[i], series->mask);
    }
    pytheus_redis__put_last(redis, series);
    pytheus_redis__start_thread(redis);
    return true;
}

static pytheus_err pytheus_redis__words_open(void *user, const pytheus_series_desc *desc,
                                             pytheus_words *words) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__metric *metric = pytheus_redis__metric_of(redis, desc);
    pytheus_redis__series *series =
        metric ? pytheus_redis__series_new(redis, metric, desc->labels) : NULL;
    bool done;
    if (!series) {
        return pytheus_redis__no_memory(desc->metric);
    }
    (void)pthread_mutex_lock(&redis->lock);
    done = pytheus_redis__enlist(redis, series, desc->num_words);
    (void)pthread_mutex_unlock(&redis->lock);
    if (!done) {
        PYTHEUS_REDIS_FREE(series);
        return pytheus_redis__no_memory(desc->metric);
    }
    words->at = series->slot->words;
    words->mask = series->mask;
    words->sets = words->at + desc->num_words + PYTHEUS_REDIS__SETS;
    words->changed = metric->across == PYTHEUS_MOST_RECENT
                         ? words->at + desc->num_words + PYTHEUS_REDIS__CHANGED
                         : NULL;
    words->series = series;
    return PYTHEUS_OK;
}

static pytheus_err pytheus_redis__words_remove(void *user, const pytheus_words *words) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__series *series = (pytheus_redis__series *)words->series;
    (void)pthread_mutex_lock(&redis->lock);
    redis->has_removed = true;
    series->is_removed = true;
    (void)pthread_mutex_unlock(&redis->lock);
    return PYTHEUS_OK;
}

/* Frees what is closed and has nothing left to say. Under the lock. */
static void pytheus_redis__free_series(pytheus_redis *redis, pytheus_redis__series *series) {
    pytheus_redis__take_out(redis, series);
    if (series->row) {
        series->row->num_local--;
    }
    if (series->slot && series->mask) {
        series->slot->next_free = series->metric->free_slots;
        series->metric->free_slots = series->slot;
    }
    PYTHEUS_REDIS_FREE(series);
}

/* Under the lock. What is removed before it was ever sent is removed in Redis too, where others may
   have it, but not when such removals come faster than they can be sent. */
static void pytheus_redis__close_series(pytheus_redis *redis, pytheus_redis__series *series,
                                        size_t most) {
    if (series->is_removed && !series->was_met && redis->num_closed >= most) {
        pytheus_redis__free_series(redis, series);
        return;
    }
    series->is_closed = true;
    if (++redis->num_closed % PYTHEUS_REDIS__MOST_CLOSED == 0) {
        redis->is_woken = true;
        (void)pthread_cond_signal(&redis->wake);
    }
}

static void pytheus_redis__words_close(void *user, const pytheus_words *words) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__series *series = (pytheus_redis__series *)words->series;
    (void)pthread_mutex_lock(&redis->lock);
    pytheus_redis__close_series(redis, series, PYTHEUS_REDIS__MOST_CLOSED);
    (void)pthread_mutex_unlock(&redis->lock);
}

static uint64_t pytheus_redis__word(const pytheus_redis__series *series, size_t i) {
    return PYTHEUS_REDIS__LOAD(&series->slot->words[i]) ^ series->mask;
}

static double pytheus_redis__real(const pytheus_redis__series *series, size_t i) {
    uint64_t bits = pytheus_redis__word(series, i);
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* How often the series was set rather than added to. Read before its values: a set that comes
   meanwhile is then sent again. */
static uint64_t pytheus_redis__sets(const pytheus_redis__series *series) {
    return pytheus_redis__word(series, series->slot->num_words + PYTHEUS_REDIS__SETS);
}

/* When the gauge was changed last, in seconds since 1970. */
static double pytheus_redis__changed(const pytheus_redis__series *series) {
    return pytheus_redis__real(series, series->slot->num_words + PYTHEUS_REDIS__CHANGED);
}

/* What is in the words, as Redis keeps it: buckets count all up to their bound. */
static void pytheus_redis__values(const pytheus_redis__series *series,
                                  pytheus_redis__value *values) {
    const pytheus_redis__metric *metric = series->metric;
    size_t i;
    memset((void *)values, 0, metric->num_values * sizeof *values);
    if (metric->type == PYTHEUS_COUNTER) {
        values[0].whole = pytheus_redis__word(series, 0);
        values[0].real = pytheus_redis__real(series, 1) + 0.0; /* a counter at -0 is at 0 */
        return;
    }
    values[0].real = pytheus_redis__real(series, 0);
    if (metric->type == PYTHEUS_SUMMARY) {
        values[1].whole = pytheus_redis__word(series, 1);
    }
    for (i = 2; i < metric->num_values; i++) {
        values[1].whole += pytheus_redis__word(series, i - 1);
        values[i].whole = values[1].whole;
    }
}

static double pytheus_redis__total(pytheus_redis__value value) {
    return value.whole ? (double)(int64_t)value.whole + value.real : value.real;
}

/* ==== THE LINE: ONE THREAD AT A TIME TALKS TO REDIS ==== */

static void pytheus_redis__log(const pytheus_redis *redis, const pytheus_redis__news *news) {
    if (redis->logger.log) {
        redis->logger.log(redis->logger.user, PYTHEUS_ERR_BACKEND, news->metric, news->sentence);
    } else {
        (void)fprintf(stderr, "pytheus: %s\n", news->sentence);
    }
}

/* false: it was not free before the deadline. */
static bool pytheus_redis__take_line(pytheus_redis *redis, int64_t deadline) {
    bool taken;
    (void)pthread_mutex_lock(&redis->lock);
    while (redis->line_is_taken && pytheus_redis__now() < deadline) {
        pytheus_redis__wait(&redis->line_is_free, &redis->lock, deadline);
    }
    taken = !redis->line_is_taken;
    redis->line_is_taken = true;
    (void)pthread_mutex_unlock(&redis->lock);
    return taken;
}

static void pytheus_redis__free_line(pytheus_redis *redis) {
    pytheus_redis__news news[PYTHEUS_REDIS__MOST_NEWS];
    size_t i, n = redis->num_news;
    memcpy(news, redis->news, n * sizeof *news);
    redis->num_news = 0;
    (void)pthread_mutex_lock(&redis->lock);
    redis->line_is_taken = false;
    (void)pthread_cond_signal(&redis->line_is_free);
    (void)pthread_mutex_unlock(&redis->lock);
    for (i = 0; i < n; i++) {
        pytheus_redis__log(redis, &news[i]);
    }
}

/* Tells the sentence of the thread's last error, unless it is what was told last. false: there is
   too much to tell. */
static bool pytheus_redis__tell(pytheus_redis *redis, const char *metric) {
    const char *sentence = pytheus_last_error();
    pytheus_redis__news *news = &redis->news[redis->num_news];
    if (strncmp(redis->told, sentence, sizeof redis->told - 1) == 0) {
        return true;
    }
    if (redis->num_news == PYTHEUS_REDIS__MOST_NEWS) {
        return false;
    }
    (void)snprintf(redis->told, sizeof redis->told, "%.159s", sentence);
    (void)snprintf(news->metric, sizeof news->metric, "%.100s", metric);
    (void)snprintf(news->sentence, sizeof news->sentence, "%s", sentence);
    redis->num_news++;
    return true;
}

/* Read without the line, too. */
static void pytheus_redis__count_error(pytheus_redis *redis) {
    PYTHEUS_REDIS__STORE(&redis->flush_errors, redis->flush_errors + 1);
}

/* ==== THE CONNECTION ==== */

/* -- its bytes, in the clear or in TLS: how many; 0: none for now; -1: it is over, *why says -- */

static bool pytheus_redis__is_for_now(int error) {
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

#ifdef PYTHEUS_REDIS_TLS

/* OpenSSL's own way to a socket raises SIGPIPE. */
static int pytheus_redis__socket_gave(BIO *socket, ssize_t n, int wants) {
    pytheus_redis *redis = (pytheus_redis *)BIO_get_data(socket);
    redis->socket_error = n < 0 ? errno : 0;
    BIO_clear_retry_flags(socket);
    if (n < 0 && pytheus_redis__is_for_now(redis->socket_error)) {
        BIO_set_flags(socket, wants | BIO_FLAGS_SHOULD_RETRY);
    }
    return (int)n;
}

static int pytheus_redis__socket_read(BIO *socket, char *to, int room) {
    const pytheus_redis *redis = (pytheus_redis *)BIO_get_data(socket);
    ssize_t n = recv(redis->context->fd, to, (size_t)room, MSG_DONTWAIT);
    return pytheus_redis__socket_gave(socket, n, BIO_FLAGS_READ);
}

static int pytheus_redis__socket_write(BIO *socket, const char *text, int size) {
    const pytheus_redis *redis = (pytheus_redis *)BIO_get_data(socket);
    ssize_t n = send(redis->context->fd, text, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    return pytheus_redis__socket_gave(socket, n, BIO_FLAGS_WRITE);
}

static long pytheus_redis__socket_control(BIO *socket, int command, long n, void *p) {
    (void)socket;
    (void)n;
    (void)p;
    return command == BIO_CTRL_FLUSH;
}

/* Old errors of the thread would be taken for this call's. */
static SSL *pytheus_redis__begin_tls(pytheus_redis *redis) {
    ERR_clear_error();
    redis->waits_to_write = false;
    return redis->tls;
}

static ssize_t pytheus_redis__tls_gave(pytheus_redis *redis, int result, const char **why) {
    const char *reason;
    if (result > 0) {
        return result;
    }
    switch (SSL_get_error(redis->tls, result)) {
    case SSL_ERROR_WANT_WRITE:
        redis->waits_to_write = true;
        return 0;
    case SSL_ERROR_WANT_READ:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:
        *why = redis->socket_error ? strerror(redis->socket_error) : "closed the connection";
        return -1;
    default:
        reason = ERR_reason_error_string(ERR_peek_error());
        *why = reason ? reason : "TLS failed";
        redis->is_refused = true;
        return -1;
    }
}

#endif

static ssize_t pytheus_redis__recv(pytheus_redis *redis, char *to, size_t room, const char **why) {
    ssize_t n;
#ifdef PYTHEUS_REDIS_TLS
    if (redis->tls) {
        SSL *tls = pytheus_redis__begin_tls(redis);
        return pytheus_redis__tls_gave(redis, SSL_read(tls, to, (int)room), why);
    }
#endif
    n = recv(redis->context->fd, to, room, MSG_DONTWAIT);
    if (n > 0 || (n < 0 && pytheus_redis__is_for_now(errno))) {
        return n > 0 ? n : 0;
    }
    *why = n ? strerror(errno) : "closed the connection";
    return -1;
}

static ssize_t pytheus_redis__send_some(pytheus_redis *redis, const char *text, size_t size,
                                        const char **why) {
    ssize_t n;
#ifdef PYTHEUS_REDIS_TLS
    if (redis->tls) {
        SSL *tls = pytheus_redis__begin_tls(redis);
        int piece = size < INT_MAX ? (int)size : INT_MAX;
        return pytheus_redis__tls_gave(redis, SSL_write(tls, text, piece), why);
    }
#endif
    n = send(redis->context->fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || pytheus_redis__is_for_now(errno)) {
        return n > 0 ? n : 0;
    }
    *why = strerror(errno);
    return -1;
}

static void pytheus_redis__disconnect(pytheus_redis *redis) {
    redisContext *context = redis->context;
#ifdef PYTHEUS_REDIS_TLS
    SSL_free(redis->tls);
    BIO_meth_free(redis->tls_socket);
    redis->tls = NULL;
    redis->tls_socket = NULL;
#endif
    if (redis->reader) {
        redisReaderFree(redis->reader);
        redis->reader = NULL;
    }
    redis->context = NULL; /* before it is freed: a child may be forked in the middle */
    if (context) {
        redisFree(context);
    }
}

static const char *pytheus_redis__place(const pytheus_redis *redis, char *place, size_t size) {
    if (redis->unix_socket_path) {
        (void)snprintf(place, size, "%.90s", redis->unix_socket_path);
    } else {
        (void)snprintf(place, size, "%.80s:%d", redis->host, redis->port);
    }
    return place;
}

/* why may be the reader's. */
static pytheus_err pytheus_redis__lost(pytheus_redis *redis, const char *why) {
    char place[100];
    pytheus_err err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %s: %.100s",
                                   pytheus_redis__place(redis, place, sizeof place), why);
    pytheus_redis__disconnect(redis);
    return err;
}

/* -- replies: hiredis calls these for every part of one, and keeps nothing -- */

static pytheus_redis *pytheus_redis__of(const redisReadTask *task) {
    return (pytheus_redis *)task->privdata;
}

static void pytheus_redis__got(const redisReadTask *task, const char *text, size_t size,
                               long long n) {
    pytheus_redis *redis = pytheus_redis__of(task);
    if (task->type == REDIS_REPLY_ERROR && !redis->refusal[0]) {
        (void)snprintf(redis->refusal, sizeof redis->refusal, "%.*s",
                       (int)(size < 120 ? size : 120), text);
    }
    if (redis->num_replies < redis->num_asked) {
        redis->take(redis, task, text, size, n);
    }
}

static void *pytheus_redis__got_string(const redisReadTask *task, char *text, size_t size) {
    pytheus_redis__got(task, text, size, 0);
    return pytheus_redis__of(task);
}

#if HIREDIS_MAJOR >= 1
typedef size_t pytheus_redis__elements;
#else
typedef int pytheus_redis__elements;
#endif
static void *pytheus_redis__got_array(const redisReadTask *task, pytheus_redis__elements n) {
    pytheus_redis__got(task, "", 0, (long long)n);
    return pytheus_redis__of(task);
}

static void *pytheus_redis__got_integer(const redisReadTask *task, long long n) {
    pytheus_redis__got(task, "", 0, n);
    return pytheus_redis__of(task);
}

/* Its type is still that of what might have been. */
static void *pytheus_redis__got_nil(const redisReadTask *task) {
    redisReadTask nil = *task;
    nil.type = REDIS_REPLY_NIL;
    pytheus_redis__got(&nil, "", 0, 0);
    return pytheus_redis__of(task);
}

#if HIREDIS_MAJOR >= 1
static void *pytheus_redis__got_double(const redisReadTask *task, double v, char *text,
                                       size_t size) {
    (void)v;
    return pytheus_redis__got_string(task, text, size);
}

static void *pytheus_redis__got_bool(const redisReadTask *task, int v) {
    return pytheus_redis__got_integer(task, v);
}
#endif

static void pytheus_redis__forget(void *reply) {
    (void)reply;
}

static redisReplyObjectFunctions pytheus_redis__functions;

/* Once, before anybody connects. */
static void pytheus_redis__prepare_reader(void) {
    redisReplyObjectFunctions *functions = &pytheus_redis__functions;
    functions->createString = pytheus_redis__got_string;
    functions->createArray = pytheus_redis__got_array;
    functions->createInteger = pytheus_redis__got_integer;
    functions->createNil = pytheus_redis__got_nil;
#if HIREDIS_MAJOR >= 1
    functions->createDouble = pytheus_redis__got_double;
    functions->createBool = pytheus_redis__got_bool;
#endif
    functions->freeObject = pytheus_redis__forget;
}

/* NULL: no memory. */
static redisReader *pytheus_redis__reader_new(pytheus_redis *redis) {
    redisReader *fresh = redisReaderCreateWithFunctions(&pytheus_redis__functions);
    if (fresh) {
        fresh->privdata = redis;
    }
    return fresh;
}

/* A server that hangs up may have said why. */
static pytheus_err pytheus_redis__cut_off(pytheus_redis *redis, const char *why) {
    return pytheus_redis__lost(redis,
                               redis->refusal[0] && redis->num_replies < 2 ? redis->refusal : why);
}

/* Takes what the socket has; an error is the connection's end. A record of TLS is no larger than
   input: nothing stays behind of which poll would not know. */
static pytheus_err pytheus_redis__receive(pytheus_redis *redis) {
    char input[16384];
    void *reply = redis;
    const char *why = NULL;
    ssize_t size = pytheus_redis__recv(redis, input, sizeof input, &why);
    if (size <= 0) {
        return why ? pytheus_redis__cut_off(redis, why) : PYTHEUS_OK;
    }
    if (redisReaderFeed(redis->reader, input, (size_t)size) != REDIS_OK) {
        return pytheus_redis__lost(redis, redis->reader->errstr);
    }
    while (reply) {
        reply = NULL;
        if (redisReaderGetReply(redis->reader, &reply) != REDIS_OK) {
            return pytheus_redis__lost(redis, redis->reader->errstr);
        }
        redis->num_replies += reply != NULL;
    }
    if (redis->is_broken || redis->reader->len > PYTHEUS_REDIS__LARGEST_STRING) {
        return pytheus_redis__lost(redis, "what came is no answer to what was asked");
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus_redis__send(pytheus_redis *redis, const char *text, size_t size,
                                       size_t *sent) {
    const char *why = NULL;
    ssize_t n = pytheus_redis__send_some(redis, text + *sent, size - *sent, &why);
    pytheus_err err;
    *sent += n > 0 ? (size_t)n : 0;
    if (!why) {
        return PYTHEUS_OK;
    }
    /* A server that does not take us says so and closes, maybe before we could send anything. */
    err = redis->is_refused ? PYTHEUS_OK : pytheus_redis__receive(redis);
    return err ? err : pytheus_redis__cut_off(redis, why);
}

/* Sends commands, and gives all parts of that many replies to take. After an error there is no
   connection any more. */
static pytheus_err pytheus_redis__exchange(pytheus_redis *redis, const pytheus_redis__bytes *text,
                                           size_t num_replies, pytheus_redis__take *take,
                                           int64_t deadline) {
    pytheus_err err = PYTHEUS_OK;
    size_t sent = 0;
    redis->take = take;
    redis->num_replies = 0;
    redis->num_asked = num_replies;
    redis->is_broken = false;
    redis->refusal[0] = '\0';
    if (text->failed) {
        return pytheus_redis__lost(redis, "out of memory");
    }
    while (!err && redis->num_replies < num_replies) {
        int64_t left = deadline - pytheus_redis__now();
        struct pollfd ready;
        int n;
        if (sent < text->used) {
            err = pytheus_redis__send(redis, text->at, text->used, &sent);
        }
        if (err) {
            return err;
        }
        ready.fd = redis->context->fd;
        ready.events = (short)(POLLIN | (sent < text->used || redis->waits_to_write ? POLLOUT : 0));
        ready.revents = 0;
        n = left <= 0 ? 0 : poll(&ready, 1, left < INT_MAX ? (int)left : INT_MAX);
        if (n == 0) {
            return pytheus_redis__lost(redis, "no answer in time");
        }
        if ((n < 0 && errno != EINTR) || ready.revents & POLLNVAL) {
            return pytheus_redis__lost(redis, "somebody closed the socket");
        }
        if (ready.revents & (POLLIN | POLLHUP | POLLERR) || redis->waits_to_write) {
            err = pytheus_redis__receive(redis);
        }
    }
    return !err && redis->num_replies > num_replies
               ? pytheus_redis__lost(redis, "more answers than questions")
               : err;
}

/* -- greeting -- */

/* Errors that say nothing of the command. */
static bool pytheus_redis__refuses_all(const char *refusal) {
    static const char *const all[] = {"OOM",         "READONLY",   "LOADING",
                                      "MISCONF",     "NOREPLICAS", "MASTERDOWN",
                                      "CLUSTERDOWN", "BUSY",       "NOAUTH"};
    size_t i;
    for (i = 0; i < sizeof all / sizeof *all; i++) {
        if (strncmp(refusal, all[i], strlen(all[i])) == 0) {
            return true;
        }
    }
    return false;
}

/* An empty transaction is aborted by what the server is doing alone. */
static bool pytheus_redis__may_pass(const char *refusal) {
    return strncmp(refusal, "EXECABORT", 9) == 0 ||
           (pytheus_redis__refuses_all(refusal) && strncmp(refusal, "NOAUTH", 6) != 0);
}

static void pytheus_redis__take_greeting(pytheus_redis *redis, const redisReadTask *task,
                                         const char *text, size_t size, long long n) {
    static const char enabled[] = "cluster_enabled:1";
    pytheus_redis__step step = redis->steps[redis->num_replies];
    double number = 0;
    size_t i;
    (void)n;
    if (step == PYTHEUS_REDIS__TELLS_OF_CLUSTER) {
        for (i = 0; i + sizeof enabled - 1 <= size; i++) {
            redis->is_cluster |= memcmp(text + i, enabled, sizeof enabled - 1) == 0;
        }
        if (!redis->has_bad_step) {
            redis->refusal[0] = '\0'; /* one who may not ask goes on */
        }
    } else if (task->type == REDIS_REPLY_ERROR) {
        redis->has_bad_step = true;
    } else if (step == PYTHEUS_REDIS__TELLS_NUMBER && task->type == REDIS_REPLY_STRING) {
        redis->is_broken |= !pytheus_redis__read_number(text, size, &number) ||
                            !(number >= 0 && number <= 9007199254740992.0);
        redis->found = redis->is_broken ? 0 : (uint64_t)number;
    }
}

static void pytheus_redis__begin_greeting(pytheus_redis *redis) {
    pytheus_redis__clear(&redis->out);
    redis->num_steps = 0;
}

static void pytheus_redis__say(pytheus_redis *redis, const char *const *words, size_t n,
                               pytheus_redis__step step) {
    pytheus_redis__command(&redis->out, words, n);
    redis->steps[redis->num_steps++] = step;
}

/* Watches the key, and asks what it holds, behind what is to be said before. CONFIG: what Redis
   does not take is in the description. */
static pytheus_err pytheus_redis__watch(pytheus_redis *redis, int64_t deadline) {
    const char *words[2];
    pytheus_err err;
    words[0] = "WATCH";
    words[1] = redis->sequence_key;
    pytheus_redis__say(redis, words, 2, PYTHEUS_REDIS__MUST_BE_GOOD);
    words[0] = "GET";
    pytheus_redis__say(redis, words, 2, PYTHEUS_REDIS__TELLS_NUMBER);
    redis->found = 0;
    redis->has_bad_step = false;
    err = pytheus_redis__exchange(redis, &redis->out, redis->num_steps,
                                  pytheus_redis__take_greeting, deadline);
    if (!err && redis->is_cluster) {
        (void)pytheus_redis__lost(redis, "is a Redis Cluster, where the keys of a metric are not "
                                         "in one place: use one that is none");
        return PYTHEUS_ERR_CONFIG;
    }
    if (err || !redis->has_bad_step) {
        return err;
    }
    err = pytheus_redis__lost(redis, redis->refusal);
    return pytheus_redis__may_pass(redis->refusal) ? err : PYTHEUS_ERR_CONFIG;
}

/* An empty transaction comes first: where there are none, what they hold would be done anyway. */
static pytheus_err pytheus_redis__greet(pytheus_redis *redis, int64_t deadline) {
    static const char *const info[] = {"INFO", "cluster"}, *const multi[] = {"MULTI"},
                             *const exec[] = {"EXEC"};
    const char *words[3];
    size_t n = 0;
    char db[16];
    redis->is_cluster = false;
    pytheus_redis__begin_greeting(redis);
    words[n++] = "AUTH";
    if (redis->username) {
        words[n++] = redis->username;
    }
    words[n++] = redis->password;
    if (redis->password) {
        pytheus_redis__say(redis, words, n, PYTHEUS_REDIS__MUST_BE_GOOD);
    }
    if (redis->db) {
        *pytheus_redis__put_integer(db, redis->db) = '\0';
        words[0] = "SELECT";
        words[1] = db;
        pytheus_redis__say(redis, words, 2, PYTHEUS_REDIS__MUST_BE_GOOD);
    }
    pytheus_redis__say(redis, multi, 1, PYTHEUS_REDIS__MUST_BE_GOOD);
    pytheus_redis__say(redis, exec, 1, PYTHEUS_REDIS__MUST_BE_GOOD);
    pytheus_redis__say(redis, info, 2, PYTHEUS_REDIS__TELLS_OF_CLUSTER);
    return pytheus_redis__watch(redis, deadline);
}

/* -- TLS -- */

#ifdef PYTHEUS_REDIS_TLS

/* A key may be locked: nobody is asked on the terminal. */
static int pytheus_redis__no_password(char *to, int room, int is_new, void *user) {
    (void)to;
    (void)room;
    (void)is_new;
    *(bool *)user = true;
    return -1;
}

static pytheus_err pytheus_redis__bad_file(const char *member, const char *path, bool is_locked) {
    const char *reason = is_locked ? "has a password" : ERR_reason_error_string(ERR_peek_error());
    const char *why = access(path, R_OK) ? strerror(errno) : reason;
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: %s: \"%.100s\": %.80s", member, path,
                        why ? why : "not of use");
}

static pytheus_err pytheus_redis__read_tls_files(const pytheus_redis *redis, SSL_CTX *context) {
    const char *ca = redis->tls_ca, *own = redis->tls_certificate;
    const char *key = redis->tls_key ? redis->tls_key : own;
    bool is_locked = false;
    SSL_CTX_set_default_passwd_cb(context, pytheus_redis__no_password);
    SSL_CTX_set_default_passwd_cb_userdata(context, &is_locked);
    if (!ca && SSL_CTX_set_default_verify_paths(context) != 1) {
        return pytheus_redis__no_memory("TLS");
    }
    if (ca && SSL_CTX_load_verify_locations(context, ca, NULL) != 1) {
        return pytheus_redis__bad_file("tls_ca", ca, false);
    }
    if (own && SSL_CTX_use_certificate_chain_file(context, own) != 1) {
        return pytheus_redis__bad_file("tls_certificate", own, false);
    }
    if (own && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) {
        return pytheus_redis__bad_file("tls_key", key, is_locked);
    }
    return PYTHEUS_OK;
}

/* The certificate must be for this name or address; an address is not told. */
static bool pytheus_redis__expect_name(SSL *tls, const char *name) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), name) == 1) {
        return true;
    }
    SSL_set_hostflags(tls, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(tls, name) == 1 && SSL_set_tlsext_host_name(tls, name) == 1;
}

/* false: no memory. */
static bool pytheus_redis__make_tls(pytheus_redis *redis, SSL_CTX *context) {
    BIO_METHOD *way = redis->tls_socket = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pytheus_redis");
    BIO *socket;
    redis->tls = SSL_new(context);
    if (!way || !redis->tls || BIO_meth_set_read(way, pytheus_redis__socket_read) != 1 ||
        BIO_meth_set_write(way, pytheus_redis__socket_write) != 1 ||
        BIO_meth_set_ctrl(way, pytheus_redis__socket_control) != 1) {
        return false;
    }
    socket = BIO_new(way);
    if (socket) {
        BIO_set_data(socket, redis);
        SSL_set_bio(redis->tls, socket, socket);
    }
    return socket && pytheus_redis__expect_name(redis->tls, redis->tls_server_name);
}

/* Reads the files, before there is a connection. */
static pytheus_err pytheus_redis__prepare_tls(pytheus_redis *redis) {
    SSL_CTX *context;
    pytheus_err err;
    ERR_clear_error();
    context = SSL_CTX_new(TLS_client_method());
    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1) {
        SSL_CTX_free(context);
        return pytheus_redis__no_memory("TLS");
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    err = pytheus_redis__read_tls_files(redis, context);
    if (!err && !pytheus_redis__make_tls(redis, context)) {
        err = pytheus_redis__no_memory("TLS");
    }
    SSL_CTX_free(context);
    if (err) {
        pytheus_redis__disconnect(redis);
    }
    return err;
}

static pytheus_err pytheus_redis__not_secured(pytheus_redis *redis, const char *why) {
    char sentence[128];
    long verdict = SSL_get_verify_result(redis->tls);
    (void)snprintf(sentence, sizeof sentence, "%s%.80s",
                   verdict == X509_V_OK ? "no TLS: " : "its certificate is not taken: ",
                   verdict == X509_V_OK ? why : X509_verify_cert_error_string(verdict));
    return pytheus_redis__lost(redis, sentence);
}

static pytheus_err pytheus_redis__shake_hands(pytheus_redis *redis, int64_t deadline) {
    const char *why = NULL;
    while (pytheus_redis__tls_gave(redis, SSL_connect(pytheus_redis__begin_tls(redis)), &why) ==
           0) {
        int64_t left = deadline - pytheus_redis__now();
        struct pollfd ready;
        ready.fd = redis->context->fd;
        ready.events = redis->waits_to_write ? POLLOUT : POLLIN;
        ready.revents = 0;
        if (left <= 0 || poll(&ready, 1, (int)left) == 0) {
            return pytheus_redis__not_secured(redis, "no handshake in time");
        }
    }
    return why ? pytheus_redis__not_secured(redis, why) : PYTHEUS_OK;
}

#endif

/* -- connecting -- */

static pytheus_err pytheus_redis__reach(pytheus_redis *redis, int64_t deadline) {
    struct timeval timeout;
    int ms = (int)(deadline - pytheus_redis__now());
    if (ms <= 0) {
        return pytheus_redis__lost(redis, "no time left to connect");
    }
    timeout.tv_sec = ms / 1000;
    timeout.tv_usec = ms % 1000 * 1000;
    redis->context = redis->unix_socket_path
                         ? redisConnectUnixWithTimeout(redis->unix_socket_path, timeout)
                         : redisConnectWithTimeout(redis->host, redis->port, timeout);
    if (!redis->context || redis->context->err) {
        char why[100];
        (void)snprintf(why, sizeof why, "%.90s",
                       redis->context ? redis->context->errstr : "out of memory");
        return pytheus_redis__lost(redis, why);
    }
    (void)fcntl(redis->context->fd, F_SETFD, FD_CLOEXEC);
    redis->reader = pytheus_redis__reader_new(redis);
    return redis->reader ? PYTHEUS_OK : pytheus_redis__lost(redis, "out of memory");
}

static pytheus_err pytheus_redis__connect(pytheus_redis *redis, int64_t deadline) {
    pytheus_err err = PYTHEUS_OK;
    int64_t connected = pytheus_redis__now() + redis->connect_ms;
    connected = connected < deadline ? connected : deadline;
    pytheus_redis__disconnect(redis);
    redis->is_refused = false;
#ifdef PYTHEUS_REDIS_TLS
    err = redis->has_tls ? pytheus_redis__prepare_tls(redis) : PYTHEUS_OK;
#endif
    err = err ? err : pytheus_redis__reach(redis, connected);
#ifdef PYTHEUS_REDIS_TLS
    err = err || !redis->tls ? err : pytheus_redis__shake_hands(redis, connected);
#endif
    err = err ? err : pytheus_redis__greet(redis, deadline);
    return redis->is_refused ? PYTHEUS_ERR_CONFIG : err;
}

/* TLS says things of its own now and then. */
static bool pytheus_redis__is_for_us(pytheus_redis *redis) {
#ifdef PYTHEUS_REDIS_TLS
    if (redis->tls) {
        const char *why = NULL;
        char byte;
        SSL *tls = pytheus_redis__begin_tls(redis);
        return pytheus_redis__tls_gave(redis, SSL_peek(tls, &byte, 1), &why) != 0;
    }
#endif
    return redis->context != NULL;
}

/* A server that has closed, or says what nobody asked, is found out before something is sent. */
static bool pytheus_redis__is_connected(pytheus_redis *redis) {
    struct pollfd ready;
    if (!redis->context) {
        return false;
    }
    ready.fd = redis->context->fd;
    ready.events = POLLIN;
    ready.revents = 0;
    return poll(&ready, 1, 0) == 0 || !pytheus_redis__is_for_us(redis);
}

/* ==== TRANSACTIONS: EACH CHANGE ONCE ==== */

static void pytheus_redis__take_transaction(pytheus_redis *redis, const redisReadTask *task,
                                            const char *text, size_t size, long long n) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    size_t step = redis->num_replies, last = transaction->num_commands + 1;
    bool is_error = task->type == REDIS_REPLY_ERROR;
    (void)text;
    (void)size;
    (void)n;
    if (task->parent) {
        if (step == last + 1 && is_error && (size_t)task->idx < transaction->num_commands) {
            transaction->changes[task->idx].has_failed = true;
        }
    } else if (step == last + 1) {
        transaction->outcome = task->type == REDIS_REPLY_ARRAY ? PYTHEUS_REDIS__DONE
                               : task->type == REDIS_REPLY_NIL ? PYTHEUS_REDIS__VOID
                                                               : PYTHEUS_REDIS__ABORTED;
        redis->is_broken |= task->type == REDIS_REPLY_STRING || task->type == REDIS_REPLY_INTEGER;
    } else if (is_error && step >= 1 && step < last) {
        transaction->changes[step - 1].has_failed = true;
    } else if (is_error && step != last) {
        redis->is_broken = true; /* it is no transaction, or the key is not watched */
    }
}

static void pytheus_redis__unlist(pytheus_redis__series *series) {
    if (series->row) {
        series->row->num_local--;
        series->row = NULL;
    }
}

static void pytheus_redis__end_of(pytheus_redis__series *series) {
    series->is_gone = true;
    pytheus_redis__unlist(series);
}

/* What Redis refused, or could not do, is told and kept back for a while; but for removals, which
   would take the values of who has the same labels by then. */
static void pytheus_redis__refused(pytheus_redis *redis, const pytheus_redis__change *change) {
    pytheus_redis__series *series = change->series;
    if (change->is_removal) {
        pytheus_redis__end_of(series);
    }
    series->refused_until = pytheus_redis__now() + PYTHEUS_REDIS__REFUSED_SECONDS * 1000;
    pytheus_redis__count_error(redis);
    if (!series->is_told) {
        (void)pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: %.100s", series->metric->name,
                           redis->refusal[0] ? redis->refusal : "refused");
        series->is_told = pytheus_redis__tell(redis, series->metric->name);
    }
}

static void pytheus_redis__acknowledge(pytheus_redis *redis) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    bool all_done = true;
    size_t i;
    redis->last_flush = pytheus_redis__now();
    for (i = 0; i < transaction->num_changes; i++) {
        const pytheus_redis__change *change = &transaction->changes[i];
        pytheus_redis__series *series = change->series;
        all_done = all_done && !change->has_failed;
        if (series && change->has_failed) {
            pytheus_redis__refused(redis, change);
        } else if (series && !change->is_removal) {
            series->acknowledged[change->value] = change->becomes;
        }
        if (series && change->is_last) {
            if (all_done && change->is_removal) {
                pytheus_redis__end_of(series);
            } else if (all_done) {
                series->sets = change->sets;
                series->is_known = true;
                series->is_told = false;
                series->sent = redis->last_flush;
            }
            all_done = true;
        }
    }
    redis->base = transaction->number;
    transaction->number = 0;
    PYTHEUS_REDIS__STORE(&redis->last_flush_ms, (uint64_t)(pytheus_redis__wall_clock() * 1000));
}

/* What a child has from its parent is its parent's to say. */
static void pytheus_redis__say_again(pytheus_redis__series *series) {
    if (pytheus_redis__is_gauge(series->metric)) {
        series->acknowledged->whole = 0;
        series->acknowledged->real = series->inherited;
    }
    if (series->metric->type < PYTHEUS_HISTOGRAM) {
        series->sets = series->inherited_sets;
    }
}

/* The server lost what it had of this process, or the last of it. With nothing at all counters
   begin again, and what gauges say is said again; in an older state shared gauges are as they were
   then, and who says them again would count twice, or undo what others have set. */
static void pytheus_redis__begin_again(pytheus_redis *redis) {
    bool has_nothing = !redis->found;
    pytheus_redis__series *series;
    (void)pthread_mutex_lock(&redis->lock);
    for (series = redis->first_series; series; series = series->next) {
        series->is_known = false;
        if (has_nothing || series->metric->across != PYTHEUS_SHARED) {
            pytheus_redis__say_again(series);
        }
    }
    (void)pthread_mutex_unlock(&redis->lock);
    redis->transaction.number = 0;
    redis->base = redis->found;
    if (redis->found < redis->process_since) {
        redis->process_index = 0; /* which another process may have got meanwhile */
    }
    redis->must_look_again = true;
}

static void pytheus_redis__begin_text(pytheus_redis__transaction *transaction) {
    pytheus_redis__clear(&transaction->text);
    pytheus_redis__command_1(&transaction->text, "MULTI");
}

static void pytheus_redis__end_text(pytheus_redis *redis, uint64_t becomes) {
    pytheus_redis__bytes *text = &redis->transaction.text;
    const char *set[5];
    char number[24], seconds[24];
    *pytheus_redis__put_integer(number, (int64_t)becomes) = '\0';
    *pytheus_redis__put_integer(seconds, PYTHEUS_REDIS__SEQUENCE_SECONDS) = '\0';
    set[0] = "SET";
    set[1] = redis->sequence_key;
    set[2] = number;
    set[3] = "EX";
    set[4] = seconds;
    pytheus_redis__command(text, set, 5);
    pytheus_redis__command_1(text, "EXEC");
    pytheus_redis__command_2(text, "WATCH", redis->sequence_key);
}

/* Nothing of the transaction is done, nor will be: its differences are differences again. */
static void pytheus_redis__give_up(pytheus_redis *redis, uint64_t base) {
    redis->base = base;
    redis->transaction.number = 0;
    redis->must_look_again = true;
}

static pytheus_err pytheus_redis__send_text(pytheus_redis *redis, int64_t deadline) {
    redis->transaction.outcome = PYTHEUS_REDIS__UNKNOWN;
    return pytheus_redis__exchange(redis, &redis->transaction.text,
                                   redis->transaction.num_commands + 4,
                                   pytheus_redis__take_transaction, deadline);
}

/* An empty transaction in the place of one that may still be on its way. */
static pytheus_err pytheus_redis__send_fence(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_err err;
    transaction->fence = ++redis->number;
    transaction->num_commands = 0;
    pytheus_redis__begin_text(transaction);
    pytheus_redis__end_text(redis, transaction->fence);
    err = pytheus_redis__send_text(redis, deadline);
    if (!err && transaction->outcome == PYTHEUS_REDIS__ABORTED) {
        err = pytheus_redis__lost(redis, redis->refusal);
    }
    return err;
}

/* With the key watched and read: what became of a transaction whose answer did not come. If it was
   not done, then after a fence none of its copies will be. */
static pytheus_err pytheus_redis__resolve(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_err err = PYTHEUS_OK;
    while (!err && transaction->number && redis->found == redis->base) {
        err = pytheus_redis__send_fence(redis, deadline);
        if (!err && transaction->outcome == PYTHEUS_REDIS__DONE) {
            pytheus_redis__give_up(redis, transaction->fence);
            return PYTHEUS_OK;
        }
        if (!err) {
            pytheus_redis__begin_greeting(redis);
            err = pytheus_redis__watch(redis, deadline);
        }
    }
    if (err || redis->found == redis->base) {
        return err;
    }
    if (transaction->number && redis->found == transaction->number) {
        pytheus_redis__acknowledge(redis);
    } else if (transaction->number && transaction->fence && redis->found == transaction->fence) {
        pytheus_redis__give_up(redis, transaction->fence);
    } else {
        pytheus_redis__begin_again(redis);
    }
    return PYTHEUS_OK;
}

/* Nothing was done. Which series was to blame is known, unless the server takes nothing at all: it
   may have become a replica, so the name is looked up again. */
static pytheus_err pytheus_redis__aborted(pytheus_redis *redis) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    bool refuses_all = pytheus_redis__refuses_all(redis->refusal), blames = false;
    size_t i;
    for (i = 0; !refuses_all && i < transaction->num_changes; i++) {
        if (transaction->changes[i].has_failed && transaction->changes[i].series) {
            pytheus_redis__refused(redis, &transaction->changes[i]);
            blames = true;
        }
    }
    pytheus_redis__give_up(redis, redis->base);
    if (blames) {
        return PYTHEUS_OK;
    }
    if (strncmp(redis->refusal, "OOM", 3) != 0) {
        return pytheus_redis__lost(redis, redis->refusal);
    }
    return pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.120s", redis->refusal);
}

static pytheus_err pytheus_redis__send_transaction(pytheus_redis *redis, int64_t deadline) {
    pytheus_err err = pytheus_redis__send_text(redis, deadline);
    if (err) {
        return err;
    }
    if (redis->transaction.outcome == PYTHEUS_REDIS__DONE) {
        pytheus_redis__acknowledge(redis);
        return PYTHEUS_OK;
    }
    if (redis->transaction.outcome == PYTHEUS_REDIS__ABORTED) {
        return pytheus_redis__aborted(redis);
    }
    pytheus_redis__begin_greeting(redis);
    err = pytheus_redis__watch(redis, deadline);
    return err ? err : pytheus_redis__resolve(redis, deadline);
}

/* A connection whose key is watched, with nothing left open. */
static pytheus_err pytheus_redis__be_connected(pytheus_redis *redis, int64_t deadline) {
    pytheus_err err;
    if (pytheus_redis__is_connected(redis)) {
        return PYTHEUS_OK;
    }
    err = pytheus_redis__connect(redis, deadline);
    return err ? err : pytheus_redis__resolve(redis, deadline);
}

/* ==== WHAT HAS CHANGED ==== */

/* An increment for Redis, which keeps 17 digits after the point and no more: what is below them
   stays here until it adds up. Returns the end of the text, out itself where there is nothing to
   add; *becomes is what is acknowledged when Redis has added it. */
static char *pytheus_redis__put_increment(char *out, pytheus_redis__value now,
                                          pytheus_redis__value acknowledged,
                                          pytheus_redis__value *becomes) {
    const double last_digit = 1e17;
    int64_t whole = (int64_t)(now.whole - acknowledged.whole);
    double real = now.real - acknowledged.real;
    *becomes = now;
    if (pytheus_redis__same(real, 0)) {
        return whole ? pytheus_redis__put_integer(out, whole) : out;
    }
    if (!whole && real < 0.0625 && real > -0.0625) {
        pytheus_redis__decimal decimal;
        double digits = real * last_digit;
        int64_t n = (int64_t)(digits < 0 ? digits - 0.5 : digits + 0.5);
        if (!n) {
            return out;
        }
        becomes->real = acknowledged.real + (double)n / last_digit;
        decimal.num_digits =
            (int)(pytheus_redis__put_integer(decimal.digits, n < 0 ? -n : n) - decimal.digits);
        decimal.point = decimal.num_digits - 17;
        while (decimal.digits[decimal.num_digits - 1] == '0') {
            decimal.num_digits--;
        }
        *out = '-';
        return pytheus_redis__put_plain(out + (n < 0), &decimal, false);
    }
    return pytheus_redis__put_number(out, (double)whole + real);
}

/* Likewise in whole numbers: a fraction stays here until it adds up to one. A set takes the place
   of what was acknowledged, and has a number in any case. */
static char *pytheus_redis__put_whole(char *out, pytheus_redis__value now,
                                      pytheus_redis__value acknowledged, bool is_set,
                                      pytheus_redis__value *becomes) {
    const pytheus_redis__value none = {0, 0};
    double real;
    int64_t whole;
    *becomes = is_set ? none : acknowledged;
    real = now.real - becomes->real;
    if (!(real > -9e18 && real < 9e18)) {
        return out;
    }
    whole = (int64_t)real;
    whole -= (double)whole > real;
    whole = (int64_t)(now.whole - becomes->whole + (uint64_t)whole);
    becomes->whole += (uint64_t)whole;
    return whole || is_set ? pytheus_redis__put_integer(out, whole) : out;
}

static bool pytheus_redis__is_whole(const pytheus_redis *redis,
                                    const pytheus_redis__metric *metric) {
    return metric->type == PYTHEUS_COUNTER && !redis->layout->has_fractions;
}

/* The number that brings a value here, and what it then is there. Returns its end. */
static char *pytheus_redis__put_change(const pytheus_redis *redis, char *out,
                                       pytheus_redis__change *change, pytheus_redis__value now,
                                       bool is_set) {
    pytheus_redis__value old = change->series->acknowledged[change->value];
    if (pytheus_redis__is_whole(redis, change->series->metric)) {
        return pytheus_redis__put_whole(out, now, old, is_set, &change->becomes);
    }
    change->becomes = now;
    return is_set ? pytheus_redis__put_number(out, pytheus_redis__total(now))
                  : pytheus_redis__put_increment(out, now, old, &change->becomes);
}

/* What a command that is added to the transaction brings. NULL: nothing that is to be remembered.
   false: no memory. */
static bool pytheus_redis__add_change(pytheus_redis *redis, const pytheus_redis__change *change) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_redis__change *place;
    if (!pytheus_redis__grow((void **)&transaction->changes, transaction->num_changes,
                             &transaction->changes_room, sizeof *place)) {
        transaction->text.failed = true;
        return false;
    }
    place = &transaction->changes[transaction->num_changes++];
    memset((void *)place, 0, sizeof *place);
    if (change) {
        *place = *change;
    }
    return true;
}

static pytheus_redis__change pytheus_redis__change_of(pytheus_redis__series *series, size_t value,
                                                      pytheus_redis__value becomes) {
    pytheus_redis__change change;
    memset((void *)&change, 0, sizeof change);
    change.series = series;
    change.value = value;
    change.becomes = becomes;
    return change;
}

/* Keeps the key, once in a transaction. */
static void pytheus_redis__touch(pytheus_redis *redis, pytheus_redis__metric *metric,
                                 size_t value) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    const pytheus_redis__bytes *expire = &metric->expires[value];
    if (expire->used && metric->touched[value] != transaction->number &&
        pytheus_redis__add_change(redis, NULL)) {
        metric->touched[value] = transaction->number;
        pytheus_redis__add(&transaction->text, expire->at, expire->used);
    }
}

/* What pytheus_redis_gauge_set_for says to an operation that waits for Redis. */
static __thread uint64_t pytheus_redis__lasts_here;

/* Milliseconds; 0: what the metric says. */
static uint64_t pytheus_redis__lasts(const pytheus_redis__series *series) {
    size_t n = series->slot ? series->slot->num_words : 0;
    if (!series->slot) {
        return pytheus_redis__lasts_here;
    }
    return pytheus_redis__word(series, n + PYTHEUS_REDIS__LASTS_SET) == pytheus_redis__sets(series)
               ? pytheus_redis__word(series, n + PYTHEUS_REDIS__LASTS)
               : 0;
}

/* How many milliseconds a value of an expiring gauge lasts. */
static void pytheus_redis__put_lasting(char *number, const pytheus_redis__series *series) {
    uint64_t own = pytheus_redis__lasts(series);
    double ms = own && own <= UINT64_C(1000000000000000) ? (double)own
                                                         : series->metric->expire_seconds * 1000;
    *pytheus_redis__put_integer(number, ms < 1      ? 1
                                        : ms > 1e15 ? 1000000000000000
                                                    : (int64_t)ms) = '\0';
}

/* The end of a script's call that changes a field, or a command for a key. */
static void pytheus_redis__let_expire(pytheus_redis *redis, const pytheus_redis__series *series) {
    const pytheus_redis__metric *metric = series->metric;
    pytheus_redis__bytes *text = &redis->transaction.text;
    char number[PYTHEUS_REDIS__NUMBER_SIZE];
    pytheus_redis__put_lasting(number, series);
    if (metric->num_labels) {
        pytheus_redis__add_bulk(text, number, strlen(number));
    } else if (pytheus_redis__add_change(redis, NULL)) {
        pytheus_redis__add_string(text, "*3\r\n$7\r\nPEXPIRE\r\n");
        pytheus_redis__add_bulk(text, metric->keys[0].at, metric->keys[0].used);
        pytheus_redis__add_bulk(text, number, strlen(number));
    }
}

static void pytheus_redis__change_field(pytheus_redis *redis, const pytheus_redis__change *change,
                                        const char *number, bool is_set) {
    const pytheus_redis__series *series = change->series;
    pytheus_redis__metric *metric = series->metric;
    pytheus_redis__bytes *text = &redis->transaction.text;
    const pytheus_redis__bytes *begin =
        is_set ? &metric->sets[change->value] : &metric->changes[change->value];
    if (!pytheus_redis__add_change(redis, change)) {
        return;
    }
    pytheus_redis__add(text, begin->at, begin->used);
    if (metric->num_labels) {
        pytheus_redis__add_bulk(text, series->field, series->field_size);
    }
    pytheus_redis__add_bulk(text, number, strlen(number));
    if (metric->expire_seconds > 0) {
        pytheus_redis__let_expire(redis, series);
    }
    pytheus_redis__touch(redis, metric, change->value);
}

static void pytheus_redis__tell_fraction(pytheus_redis *redis, pytheus_redis__metric *metric) {
    if (!metric->has_told_fraction) {
        metric->has_told_fraction = true;
        (void)pytheus_fail(PYTHEUS_ERR_BACKEND,
                           "redis: %.100s: a counter of this layout is a whole number: what is "
                           "added stays here until it is one",
                           metric->name);
        (void)pytheus_redis__tell(redis, metric->name);
    }
}

/* Whether a value is to be there though nothing adds to it. */
static bool pytheus_redis__needs_zero(const pytheus_redis *redis,
                                      const pytheus_redis__series *series, size_t value) {
    bool is_sum = value == 0 && series->metric->type >= PYTHEUS_HISTOGRAM;
    return !series->is_known && (redis->layout->has_zeros || is_sum);
}

static void pytheus_redis__change_value(pytheus_redis *redis, pytheus_redis__series *series,
                                        size_t value, pytheus_redis__value now, bool is_set) {
    char number[PYTHEUS_REDIS__NUMBER_SIZE], *end;
    pytheus_redis__change change = pytheus_redis__change_of(series, value, now);
    if (value >= series->metric->num_stored) {
        return;
    }
    end = pytheus_redis__put_change(redis, number, &change, now, is_set);
    if (!pytheus_redis__same(pytheus_redis__total(change.becomes), pytheus_redis__total(now)) &&
        pytheus_redis__is_whole(redis, series->metric)) {
        pytheus_redis__tell_fraction(redis, series->metric);
    }
    if (end == number) {
        if (!pytheus_redis__needs_zero(redis, series, value)) {
            return;
        }
        *end++ = '0';
    }
    *end = '\0';
    redis->layout->change(redis, &change, number, is_set);
}

/* Whether a value can't be reached by adding: Redis refuses infinities and what is no number. */
static bool pytheus_redis__must_be_set(pytheus_redis__value now,
                                       pytheus_redis__value acknowledged) {
    return !pytheus_redis__is_finite(now.real - acknowledged.real) &&
           memcmp(&now.real, &acknowledged.real, sizeof now.real) != 0;
}

/* The last change of a series says what all of them have brought. */
static void pytheus_redis__end_series(pytheus_redis *redis, size_t first, uint64_t sets,
                                      bool is_removal) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    size_t i;
    for (i = transaction->num_changes; i-- > first;) {
        pytheus_redis__change *change = &transaction->changes[i];
        if (change->series) {
            change->sets = sets;
            change->is_last = true;
            break;
        }
    }
    for (i = first; i < transaction->num_changes; i++) {
        transaction->changes[i].is_removal = is_removal;
    }
}

static bool pytheus_redis__is_same_value(pytheus_redis__value a, pytheus_redis__value b) {
    return a.whole == b.whole && memcmp(&a.real, &b.real, sizeof a.real) == 0;
}

/* Nothing was counted since it was made, or since Redis lost it. */
static bool pytheus_redis__is_untouched(const pytheus_redis__series *series, uint64_t sets,
                                        const pytheus_redis__value *values) {
    size_t last = series->metric->type >= PYTHEUS_HISTOGRAM; /* the count */
    return !series->is_known && sets == series->sets &&
           pytheus_redis__is_same_value(values[last], series->acknowledged[last]);
}

static void pytheus_redis__change_series(pytheus_redis *redis, pytheus_redis__series *series,
                                         pytheus_redis__value *values) {
    const pytheus_redis__metric *metric = series->metric;
    uint64_t sets = pytheus_redis__sets(series);
    size_t i, first = redis->transaction.num_changes;
    pytheus_redis__values(series, values);
    if (!redis->layout->has_zeros && pytheus_redis__is_untouched(series, sets, values)) {
        return;
    }
    for (i = 0; i < metric->num_stored; i++) {
        pytheus_redis__value old = series->acknowledged[i];
        bool is_set = sets != series->sets || pytheus_redis__must_be_set(values[i], old);
        bool is_old = pytheus_redis__is_same_value(values[i], old);
        if (!series->is_known || is_set || !is_old) {
            pytheus_redis__change_value(redis, series, i, values[i], is_set);
        }
    }
    pytheus_redis__end_series(redis, first, sets, false);
}

/* A removed series is told to all, whether they had it or not. */
static void pytheus_redis__remove_series(pytheus_redis *redis, pytheus_redis__series *series) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_redis__value none = {0, 0};
    pytheus_redis__change change = pytheus_redis__change_of(series, 0, none);
    size_t i, n, first = transaction->num_changes;
    for (i = 0; i < series->metric->num_stored; i++) {
        n = redis->layout->remove(redis, &transaction->text, series, i);
        while (n-- && pytheus_redis__add_change(redis, &change)) {
        }
    }
    pytheus_redis__end_series(redis, first, 0, true);
}

/* ==== GAUGES OF EACH PROCESS ==== */

/* A process that has gauges of its own has a number, a place in the set of processes, and a hash,
   whose fields are "name {labels}" and whose values "value seconds-since-1970". */

/* One of these keys, for a command in out; it is in scratch. Without memory out fails, and the key
   is "". */
static const char *pytheus_redis__own_key(pytheus_redis *redis, pytheus_redis__bytes *out,
                                          const char *name, uint64_t index) {
    pytheus_redis__bytes *key = &redis->scratch;
    char number[24];
    pytheus_redis__clear(key);
    pytheus_redis__add_prefixed(redis, key, name);
    if (index) {
        *pytheus_redis__put_integer(number, (int64_t)index) = '\0';
        pytheus_redis__add_string(key, number);
    }
    pytheus_redis__add(key, "", 1);
    out->failed |= key->failed;
    return key->failed ? "" : key->at;
}

static void pytheus_redis__take_index(pytheus_redis *redis, const redisReadTask *task,
                                      const char *text, size_t size, long long n) {
    (void)text;
    (void)size;
    redis->process_index = task->type == REDIS_REPLY_INTEGER && n > 0 ? (uint64_t)n : 0;
}

static bool pytheus_redis__has_process_gauges(pytheus_redis *redis) {
    pytheus_redis__metric *metric = NULL;
    while ((metric = pytheus_redis__next_metric(redis, metric)) != NULL) {
        if (metric->across != PYTHEUS_SHARED) {
            return true;
        }
    }
    return false;
}

/* How long its gauges outlive a process. */
static int64_t pytheus_redis__process_seconds(const pytheus_redis *redis) {
    int64_t flushes = (int64_t)redis->flush_ms * PYTHEUS_REDIS__PROCESS_FLUSHES / 1000;
    return flushes > PYTHEUS_REDIS__PROCESS_SECONDS ? flushes
                                                    : (int64_t)PYTHEUS_REDIS__PROCESS_SECONDS;
}

static bool pytheus_redis__needs_index(pytheus_redis *redis) {
    return !redis->process_index && !PYTHEUS_REDIS__LOAD(&redis->ends) &&
           redis->process_refused_until <= pytheus_redis__now() &&
           pytheus_redis__has_process_gauges(redis);
}

/* Gets a number for this process, if it needs one. Where Redis gives none, only its own gauges are
   not sent. */
static pytheus_err pytheus_redis__know_process(pytheus_redis *redis, int64_t deadline) {
    const char *key;
    pytheus_err err;
    if (!pytheus_redis__needs_index(redis)) {
        return PYTHEUS_OK;
    }
    pytheus_redis__clear(&redis->out);
    key = pytheus_redis__own_key(redis, &redis->out, redis->layout->index_key, 0);
    pytheus_redis__command_2(&redis->out, "INCR", key);
    err = pytheus_redis__exchange(redis, &redis->out, 1, pytheus_redis__take_index, deadline);
    if (!err && !redis->process_index) {
        (void)pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: no number for this process: %.100s",
                           redis->refusal);
        redis->process_refused_until = pytheus_redis__now() + PYTHEUS_REDIS__REFUSED_SECONDS * 1000;
        pytheus_redis__count_error(redis);
        (void)pytheus_redis__tell(redis, "");
    }
    redis->process_since = redis->number + 1;
    return err;
}

/* What was sent by then of this process's gauges is to be sent again, lest it expire. */
static int64_t pytheus_redis__refreshes(const pytheus_redis *redis) {
    double ms = PYTHEUS_REDIS__PROCESS_REFRESH_SECONDS * 1000;
    const pytheus_redis__metric *metric = NULL;
    while ((metric = pytheus_redis__next_metric(redis, metric)) != NULL) {
        double third = metric->expire_seconds * 1000 / 3;
        ms = metric->across != PYTHEUS_SHARED && third > 0 && third < ms ? third : ms;
    }
    return pytheus_redis__now() - (int64_t)ms - 1;
}

/* The key of this process' hash and, behind it, the field of a series there, into scratch; false:
   no memory, the transaction has failed. */
static bool pytheus_redis__process_field(pytheus_redis *redis, const pytheus_redis__series *series,
                                         size_t *key_size) {
    pytheus_redis__bytes *text = &redis->transaction.text;
    (void)pytheus_redis__own_key(redis, text, "pytheus:process:", redis->process_index);
    *key_size = redis->scratch.used;
    pytheus_redis__add_string(&redis->scratch, series->metric->name);
    pytheus_redis__add(&redis->scratch, " ", 1);
    pytheus_redis__add(&redis->scratch, series->field, series->field_size);
    pytheus_redis__add(&redis->scratch, "", 1);
    text->failed |= redis->scratch.failed;
    return !redis->scratch.failed;
}

static size_t pytheus_redis__remove_field(pytheus_redis *redis, pytheus_redis__bytes *out,
                                          const pytheus_redis__series *series, size_t value) {
    const pytheus_redis__bytes *key = &series->metric->keys[value];
    size_t key_size;
    if (series->metric->across != PYTHEUS_SHARED) {
        if (pytheus_redis__process_field(redis, series, &key_size)) {
            pytheus_redis__command_3(out, "HDEL", redis->scratch.at, redis->scratch.at + key_size);
        }
        return 1;
    }
    pytheus_redis__add_string(out, series->metric->num_labels ? "*3\r\n$4\r\nHDEL\r\n"
                                                              : "*2\r\n$3\r\nDEL\r\n");
    pytheus_redis__add_bulk(out, key->at, key->used);
    if (series->metric->num_labels) {
        pytheus_redis__add_bulk(out, series->field, series->field_size);
    }
    return 1;
}

/* Sets it in the hash of this process, with the time when it was changed. */
static void pytheus_redis__set_own_field(pytheus_redis *redis, const pytheus_redis__change *change,
                                         const char *number) {
    const char *words[4];
    char value[2 * PYTHEUS_REDIS__NUMBER_SIZE];
    size_t key_size, size = strlen(number);
    if (!pytheus_redis__add_change(redis, change) ||
        !pytheus_redis__process_field(redis, change->series, &key_size)) {
        return;
    }
    memcpy(value, number, size);
    value[size++] = ' ';
    *pytheus_redis__put_number(value + size, pytheus_redis__changed(change->series)) = '\0';
    words[0] = "HSET";
    words[1] = redis->scratch.at;
    words[2] = redis->scratch.at + key_size;
    words[3] = value;
    pytheus_redis__command(&redis->transaction.text, words, 4);
    redis->transaction.has_process = true;
}

static void pytheus_redis__set_own(pytheus_redis *redis, pytheus_redis__series *series) {
    size_t first = redis->transaction.num_changes;
    uint64_t sets = pytheus_redis__sets(series);
    char number[PYTHEUS_REDIS__NUMBER_SIZE];
    pytheus_redis__change change;
    pytheus_redis__value now = {0, 0};
    bool is_due;
    now.real = pytheus_redis__real(series, 0);
    is_due = series->is_known ? series->sent <= redis->refreshes : redis->layout->has_zeros;
    if (!redis->process_index || (!is_due && sets == series->sets &&
                                  pytheus_redis__is_same_value(now, series->acknowledged[0]))) {
        return;
    }
    *pytheus_redis__put_number(number, now.real) = '\0';
    change = pytheus_redis__change_of(series, 0, now);
    redis->layout->set_own(redis, &change, number);
    pytheus_redis__end_series(redis, first, sets, false);
}

/* Ends a transaction that has this process's gauges. */
static void pytheus_redis__keep_process(pytheus_redis *redis) {
    pytheus_redis__bytes *text = &redis->transaction.text;
    char index[24], seconds[24];
    const char *key;
    *pytheus_redis__put_integer(index, (int64_t)redis->process_index) = '\0';
    *pytheus_redis__put_integer(seconds, pytheus_redis__process_seconds(redis)) = '\0';
    if (pytheus_redis__add_change(redis, NULL)) {
        key = pytheus_redis__own_key(redis, text, "pytheus:processes", 0);
        pytheus_redis__command_3(text, "SADD", key, index);
    }
    if (pytheus_redis__add_change(redis, NULL)) {
        key = pytheus_redis__own_key(redis, text, "pytheus:process:", redis->process_index);
        pytheus_redis__command_3(text, "EXPIRE", key, seconds);
    }
}

static void pytheus_redis__take_nothing(pytheus_redis *redis, const redisReadTask *task,
                                        const char *text, size_t size, long long n) {
    (void)redis;
    (void)task;
    (void)text;
    (void)size;
    (void)n;
}

static void pytheus_redis__end_hash(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__bytes *out = &redis->out;
    char index[24];
    const char *key;
    pytheus_redis__clear(out);
    *pytheus_redis__put_integer(index, (int64_t)redis->process_index) = '\0';
    key = pytheus_redis__own_key(redis, out, "pytheus:process:", redis->process_index);
    pytheus_redis__command_2(out, "DEL", key);
    key = pytheus_redis__own_key(redis, out, "pytheus:processes", 0);
    pytheus_redis__command_3(out, "SREM", key, index);
    (void)pytheus_redis__exchange(redis, out, 2, pytheus_redis__take_nothing, deadline);
}

/* The process ends, and its gauges with it, and what tells its flushes apart. */
static void pytheus_redis__end_process(pytheus_redis *redis, int64_t deadline) {
    if (!redis->transaction.number) {
        pytheus_redis__clear(&redis->out);
        pytheus_redis__command_2(&redis->out, "DEL", redis->sequence_key);
        if (!pytheus_redis__exchange(redis, &redis->out, 1, pytheus_redis__take_nothing,
                                     deadline)) {
            redis->base = 0;
        }
    }
    if (redis->process_index && redis->context) {
        redis->layout->end_process(redis, deadline);
        redis->process_index = 0;
    }
}

/* ==== FLUSHING ==== */

/* Series that are looked at in one go. */
typedef struct pytheus_redis__batch {
    pytheus_redis__series *series[PYTHEUS_REDIS__BATCH];
    bool is_removed[PYTHEUS_REDIS__BATCH];
} pytheus_redis__batch;

/* A gauge of this process alone is nobody's when it is closed. Under the lock. */
static bool pytheus_redis__is_removed(const pytheus_redis__series *series) {
    return series->is_removed || (series->is_closed && series->metric->across != PYTHEUS_SHARED);
}

/* Copies the series behind one that was met (NULL: from the first on), up to this age; 0: there are
   none. */
static size_t pytheus_redis__next_batch(pytheus_redis *redis, const pytheus_redis__series *after,
                                        uint64_t most, pytheus_redis__batch *batch) {
    pytheus_redis__series *series;
    size_t n = 0;
    (void)pthread_mutex_lock(&redis->lock);
    series = after ? after->next : redis->first_series;
    for (; n < PYTHEUS_REDIS__BATCH && series && series->age <= most; series = series->next) {
        series->was_met = true;
        batch->is_removed[n] = pytheus_redis__is_removed(series);
        batch->series[n++] = series;
    }
    (void)pthread_mutex_unlock(&redis->lock);
    return n;
}

/* Room for the values of one series; NULL: no memory. */
static pytheus_redis__value *pytheus_redis__room_for_values(pytheus_redis *redis, size_t n) {
    pytheus_redis__clear(&redis->scratch);
    return pytheus_redis__reserve(&redis->scratch, n * sizeof(pytheus_redis__value))
               ? (pytheus_redis__value *)(void *)redis->scratch.at
               : NULL;
}

/* Adds what is to be sent of one series. Removals are sent before anything else, because the same
   labels may be in use again. */
static void pytheus_redis__add_series(pytheus_redis *redis, pytheus_redis__series *series,
                                      bool is_removed) {
    if (series->is_gone || pytheus_redis__stays(series->metric) ||
        (!is_removed && series->refused_until > pytheus_redis__now())) {
        return;
    }
    if (is_removed && series->metric->across != PYTHEUS_SHARED && !series->is_known) {
        series->is_gone = true;
    } else if (is_removed) {
        pytheus_redis__remove_series(redis, series);
    } else if (series->metric->across != PYTHEUS_SHARED) {
        pytheus_redis__set_own(redis, series);
    } else {
        pytheus_redis__value *values =
            pytheus_redis__room_for_values(redis, series->metric->num_values);
        if (values) {
            pytheus_redis__change_series(redis, series, values);
        } else {
            redis->transaction.text.failed = true;
        }
    }
}

static void pytheus_redis__begin_transaction(pytheus_redis *redis) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    transaction->number = ++redis->number;
    transaction->fence = 0;
    transaction->num_changes = 0;
    transaction->has_process = false;
    pytheus_redis__begin_text(transaction);
}

static void pytheus_redis__end_transaction(pytheus_redis *redis) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    if (transaction->has_process) {
        pytheus_redis__keep_process(redis);
    }
    transaction->num_commands = transaction->num_changes;
    pytheus_redis__end_text(redis, transaction->number);
}

/* Where a flush has got to in the list of series. */
typedef struct pytheus_redis__progress {
    bool removals; /* first these, then the rest */
    bool has_all;
    pytheus_redis__series *after; /* the last that was looked at; NULL: the first is next */
    pytheus_redis__series *begin; /* where that began; NULL: with the first */
    uint64_t until;               /* age of the last that is to be looked at before it goes round */
    uint64_t newest;              /* what is made meanwhile is the next one's */
} pytheus_redis__progress;

/* The rest begins where the last flush ran out of time, so that each series has its turn. */
static void pytheus_redis__begin_pass(const pytheus_redis *redis,
                                      pytheus_redis__progress *progress) {
    progress->begin = progress->after = progress->removals ? NULL : redis->turn;
    progress->until = progress->newest;
}

/* Behind the last series: those before the first that it looked at are left, or it has had all. */
static void pytheus_redis__go_round(const pytheus_redis *redis, pytheus_redis__progress *progress) {
    if (progress->begin) {
        progress->until = progress->begin->age;
        progress->begin = progress->after = NULL;
        return;
    }
    progress->has_all = !progress->removals;
    progress->removals = false;
    pytheus_redis__begin_pass(redis, progress);
}

static void pytheus_redis__begin_progress(pytheus_redis *redis, pytheus_redis__progress *progress) {
    redis->refreshes = pytheus_redis__refreshes(redis);
    (void)pthread_mutex_lock(&redis->lock);
    progress->removals = redis->has_removed || redis->num_closed > 0;
    progress->has_all = redis->write_through;
    progress->newest = redis->newest;
    (void)pthread_mutex_unlock(&redis->lock);
    pytheus_redis__begin_pass(redis, progress);
}

/* Adds from a batch, up to the transaction's size. */
static void pytheus_redis__add_batch(pytheus_redis *redis, pytheus_redis__progress *progress,
                                     const pytheus_redis__batch *batch, size_t n) {
    size_t i;
    for (i = 0; i < n && redis->transaction.num_changes < PYTHEUS_REDIS__MOST_COMMANDS; i++) {
        if (batch->is_removed[i] == progress->removals) {
            pytheus_redis__add_series(redis, batch->series[i], batch->is_removed[i]);
        }
        progress->after = batch->series[i];
    }
}

/* Puts into the transaction what has changed, up to its size. */
static void pytheus_redis__fill_transaction(pytheus_redis *redis,
                                            pytheus_redis__progress *progress) {
    const pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_redis__batch batch;
    while (!progress->has_all && !transaction->text.failed &&
           transaction->num_changes < PYTHEUS_REDIS__MOST_COMMANDS) {
        size_t n = pytheus_redis__next_batch(redis, progress->after, progress->until, &batch);
        pytheus_redis__add_batch(redis, progress, &batch, n);
        if (!n) {
            pytheus_redis__go_round(redis, progress);
        }
    }
}

/* Whether a connection is worth while. */
static bool pytheus_redis__has_something_to_say(pytheus_redis *redis) {
    pytheus_redis__progress progress;
    bool has;
    if (redis->transaction.number || pytheus_redis__needs_index(redis)) {
        return true;
    }
    pytheus_redis__begin_progress(redis, &progress);
    pytheus_redis__begin_transaction(redis);
    pytheus_redis__fill_transaction(redis, &progress);
    has = redis->transaction.num_changes > 0 || redis->transaction.text.failed;
    redis->transaction.number = 0;
    return has;
}

/* One transaction of what has changed; *is_due: even if nothing has. */
static pytheus_err pytheus_redis__flush_some(pytheus_redis *redis,
                                             pytheus_redis__progress *progress, bool *is_due,
                                             int64_t deadline) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    pytheus_err err;
    pytheus_redis__begin_transaction(redis);
    pytheus_redis__fill_transaction(redis, progress);
    if (!transaction->num_changes && !*is_due && !transaction->text.failed) {
        transaction->number = 0;
        return PYTHEUS_OK;
    }
    pytheus_redis__end_transaction(redis);
    *is_due = false;
    if (transaction->text.failed) {
        transaction->number = 0;
        return pytheus_redis__no_memory("flush");
    }
    err = pytheus_redis__send_transaction(redis, deadline);
    if (redis->must_look_again) {
        redis->must_look_again = false;
        err = err ? err : pytheus_redis__know_process(redis, deadline);
        pytheus_redis__begin_progress(redis, progress);
    }
    return err;
}

/* Sends all differences, or, when it has had enough time, those that it has come to, with the line
   taken. On an error they stay where they are. */
static pytheus_err pytheus_redis__flush_all(pytheus_redis *redis, int64_t deadline,
                                            int64_t enough) {
    pytheus_redis__progress progress;
    pytheus_err err = pytheus_redis__be_connected(redis, deadline);
    bool is_due = pytheus_redis__now() - redis->last_flush >
                  (int64_t)PYTHEUS_REDIS__SEQUENCE_REFRESH_SECONDS * 1000;
    redis->must_look_again = false;
    if (!err) {
        err = pytheus_redis__know_process(redis, deadline);
    }
    pytheus_redis__begin_progress(redis, &progress);
    while (!err && (!progress.has_all || is_due)) {
        err = pytheus_redis__flush_some(redis, &progress, &is_due, deadline);
        if (pytheus_redis__now() >= enough) {
            break;
        }
    }
    redis->turn = progress.removals || progress.has_all ? redis->turn : progress.after;
    redis->has_rest = !progress.has_all;
    return err;
}

/* Whether Redis has a value, but for what is too small to be sent. */
static bool pytheus_redis__is_sent(const pytheus_redis *redis, pytheus_redis__series *series,
                                   size_t value, pytheus_redis__value now) {
    char number[PYTHEUS_REDIS__NUMBER_SIZE];
    pytheus_redis__value old = series->acknowledged[value];
    pytheus_redis__change change = pytheus_redis__change_of(series, value, now);
    return pytheus_redis__is_same_value(now, old) ||
           (!pytheus_redis__must_be_set(now, old) &&
            pytheus_redis__put_change(redis, number, &change, now, false) == number);
}

static bool pytheus_redis__is_done(const pytheus_redis *redis, pytheus_redis__series *series,
                                   pytheus_redis__value *values) {
    size_t i;
    if (series->is_gone || pytheus_redis__stays(series->metric)) {
        return true;
    }
    if (series->metric->across != PYTHEUS_SHARED) {
        return !series->is_known;
    }
    if (series->is_removed || series->sets != pytheus_redis__sets(series)) {
        return false;
    }
    pytheus_redis__values(series, values);
    for (i = 0; i < series->metric->num_stored; i++) {
        if (!pytheus_redis__is_sent(redis, series, i, values[i])) {
            return false;
        }
    }
    return true;
}

/* What Redis never had need not be removed there, where such removals are too many to keep. */
static bool pytheus_redis__is_spare(const pytheus_redis *redis,
                                    const pytheus_redis__series *series) {
    return series->is_removed && !series->is_known &&
           redis->num_closed > PYTHEUS_REDIS__MOST_CLOSED;
}

static void pytheus_redis__reap(pytheus_redis *redis) {
    pytheus_redis__series *series, *next;
    (void)pthread_mutex_lock(&redis->lock);
    series = redis->num_closed && !redis->transaction.number ? redis->first_series : NULL;
    for (; series; series = next) {
        pytheus_redis__value *values =
            series->is_closed ? pytheus_redis__room_for_values(redis, series->metric->num_values)
                              : NULL;
        next = series->next;
        if (values && (pytheus_redis__is_done(redis, series, values) ||
                       pytheus_redis__is_spare(redis, series))) {
            redis->turn = redis->turn == series ? series->previous : redis->turn;
            pytheus_redis__free_series(redis, series);
            redis->num_closed--;
        }
    }
    (void)pthread_mutex_unlock(&redis->lock);
}

/* A flush, with the line taken. */
static pytheus_err pytheus_redis__flush_now(pytheus_redis *redis, int64_t deadline,
                                            int64_t enough) {
    pytheus_err err = pytheus_redis__flush_all(redis, deadline, enough);
    if (err) {
        pytheus_redis__count_error(redis);
    } else if (!redis->num_news) {
        redis->told[0] = '\0';
    }
    pytheus_redis__reap(redis);
    return err;
}

static int64_t pytheus_redis__deadline(const pytheus_redis *redis) {
    return pytheus_redis__now() + redis->connect_ms + redis->command_ms;
}

static int64_t pytheus_redis__half(int64_t deadline) {
    return deadline - (deadline - pytheus_redis__now()) / 2;
}

static pytheus_err pytheus_redis__busy(void) {
    return pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: busy with another page or flush for too long");
}

static pytheus_err pytheus_redis__flush(void *user) {
    pytheus_redis *redis = (pytheus_redis *)user;
    int64_t deadline = pytheus_redis__deadline(redis);
    pytheus_err err;
    if (!pytheus_redis__take_line(redis, deadline)) {
        return pytheus_redis__busy();
    }
    err = pytheus_redis__flush_now(redis, deadline, deadline);
    if (!err && redis->has_rest) {
        err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: there was no time to send all");
    }
    pytheus_redis__free_line(redis);
    return err;
}

/* ==== THE THREAD ==== */

/* Milliseconds until the next flush. While Redis is away, twice as long each time, and not all
   processes at once. */
static int pytheus_redis__pause(pytheus_redis *redis, pytheus_err err, int *wait) {
    uint64_t random;
    (void)pthread_mutex_lock(&redis->lock);
    random = pytheus_redis__random(redis);
    (void)pthread_mutex_unlock(&redis->lock);
    if (!err) {
        *wait = PYTHEUS_REDIS__FIRST_WAIT_MS;
        return redis->flush_ms;
    }
    *wait = *wait * 2 < PYTHEUS_REDIS__LONGEST_WAIT_MS ? *wait * 2 : PYTHEUS_REDIS__LONGEST_WAIT_MS;
    return *wait / 2 + (int)(random % (uint64_t)(*wait / 2 + 1));
}

/* Waits for the next flush; false: it is the last. */
static bool pytheus_redis__rest(pytheus_redis *redis, int ms) {
    int64_t until = pytheus_redis__now() + ms;
    bool ends;
    (void)pthread_mutex_lock(&redis->lock);
    while (!redis->ends && !redis->is_woken && pytheus_redis__now() < until) {
        pytheus_redis__wait(&redis->wake, &redis->lock, until);
    }
    redis->is_woken = false;
    ends = redis->ends;
    (void)pthread_mutex_unlock(&redis->lock);
    return !ends;
}

/* A flush that tells of its own errors; *has_rest: there was no time for all. */
static pytheus_err pytheus_redis__flush_alone(pytheus_redis *redis, int64_t deadline,
                                              int64_t enough, bool *has_rest) {
    pytheus_err err = PYTHEUS_OK;
    *has_rest = false;
    if (redis->context || pytheus_redis__has_something_to_say(redis)) {
        err = pytheus_redis__flush_now(redis, deadline, enough);
        *has_rest = redis->has_rest;
    } else {
        pytheus_redis__reap(redis);
    }
    if (err) {
        (void)pytheus_redis__tell(redis, "");
    }
    return err;
}

/* The last flush of a process, and the end of its own gauges. */
static void pytheus_redis__say_goodbye(pytheus_redis *redis, int64_t deadline) {
    bool has_rest;
    if (!pytheus_redis__take_line(redis, deadline)) {
        return;
    }
    (void)pytheus_redis__flush_alone(redis, deadline, deadline, &has_rest);
    if (redis->context) {
        pytheus_redis__end_process(redis, deadline);
    }
    pytheus_redis__free_line(redis);
}

static void *pytheus_redis__run(void *argument) {
    pytheus_redis *redis = (pytheus_redis *)argument;
    int wait = PYTHEUS_REDIS__FIRST_WAIT_MS, ms = redis->flush_ms;
    while (pytheus_redis__rest(redis, ms)) {
        int64_t deadline = pytheus_redis__deadline(redis);
        pytheus_err err = PYTHEUS_OK;
        bool has_rest = false;
        if (pytheus_redis__take_line(redis, deadline)) {
            err = pytheus_redis__flush_alone(redis, deadline, pytheus_redis__half(deadline),
                                             &has_rest);
            pytheus_redis__free_line(redis);
        }
        ms = pytheus_redis__pause(redis, err, &wait);
        ms = has_rest && !err ? PYTHEUS_REDIS__FIRST_WAIT_MS : ms; /* others come between */
    }
    pytheus_redis__say_goodbye(redis, redis->last_deadline);
    return NULL;
}

/* Signals are the program's own threads' business. */
static int pytheus_redis__start_quietly(pytheus_redis *redis) {
#ifdef SIG_BLOCK
    sigset_t all, old;
    int failed;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &old);
    failed = pthread_create(&redis->thread, NULL, pytheus_redis__run, redis);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
#else
    return pthread_create(&redis->thread, NULL, pytheus_redis__run, redis);
#endif
}

/* Under the lock. Where there is no thread to be had, pages and pytheus_flush send all the same. */
static void pytheus_redis__start_thread(pytheus_redis *redis) {
    if (redis->has_thread || redis->ends || redis->write_through) {
        return;
    }
    redis->has_thread = pytheus_redis__start_quietly(redis) == 0;
}

/* From now on there is only so much time. */
static void pytheus_redis__ask_to_end(pytheus_redis *redis) {
    (void)pthread_mutex_lock(&redis->lock);
    PYTHEUS_REDIS__STORE(&redis->ends, true);
    redis->last_deadline = pytheus_redis__deadline(redis);
    (void)pthread_cond_signal(&redis->wake);
    (void)pthread_mutex_unlock(&redis->lock);
}

/* The thread says goodbye, so that those of several backends wait side by side. */
static void pytheus_redis__end(pytheus_redis *redis) {
    bool has_thread;
    (void)pthread_mutex_lock(&redis->lock);
    has_thread = redis->has_thread;
    redis->has_thread = false;
    (void)pthread_mutex_unlock(&redis->lock);
    if (!has_thread || pthread_join(redis->thread, NULL) != 0) {
        pytheus_redis__say_goodbye(redis, redis->last_deadline);
    }
}

/* ==== EXIT AND FORK ==== */

static pthread_mutex_t pytheus_redis__all_lock = PTHREAD_MUTEX_INITIALIZER;
static pytheus_redis *pytheus_redis__all;

/* One that has not ended, to end it; NULL: there are no more. */
static pytheus_redis *pytheus_redis__claim_any(void) {
    pytheus_redis *redis;
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    redis = pytheus_redis__all;
    while (redis && (redis->is_claimed || redis->has_ended)) {
        redis = redis->next;
    }
    if (redis) {
        redis->is_claimed = redis->has_ended = true;
    }
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
    return redis;
}

/* false: exit is at it. */
static bool pytheus_redis__claim(pytheus_redis *redis) {
    bool was_claimed;
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    was_claimed = redis->is_claimed;
    redis->is_claimed = true;
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
    return !was_claimed;
}

/* Loggers that are told of the last flush may fork: no lock is held meanwhile. */
static void pytheus_redis__at_exit(void) {
    pytheus_redis *redis;
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    for (redis = pytheus_redis__all; redis; redis = redis->next) {
        pytheus_redis__ask_to_end(redis);
    }
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
    while ((redis = pytheus_redis__claim_any()) != NULL) {
        pytheus_redis__end(redis);
        (void)pthread_mutex_lock(&pytheus_redis__all_lock);
        redis->is_claimed = false;
        (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
    }
}

static void pytheus_redis__before_fork(void) {
    pytheus_redis *redis;
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    for (redis = pytheus_redis__all; redis; redis = redis->next) {
        (void)pthread_mutex_lock(&redis->lock);
        redis->is_held = true;
    }
}

/* In the child the library may have come first, and wants to open series already. */
static void pytheus_redis__let_go(pytheus_redis *redis) {
    if (redis->is_held) {
        redis->is_held = false;
        (void)pthread_mutex_unlock(&redis->lock);
    }
}

static void pytheus_redis__after_fork(void) {
    pytheus_redis *redis;
    for (redis = pytheus_redis__all; redis; redis = redis->next) {
        pytheus_redis__let_go(redis);
    }
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
}

static void pytheus_redis__prepare_process(void) {
    pytheus_redis__prepare_reader();
#ifdef PYTHEUS_REDIS_TLS
    (void)OPENSSL_init_ssl(0, NULL); /* what is registered first goes last at exit */
#endif
    (void)pthread_atfork(pytheus_redis__before_fork, pytheus_redis__after_fork,
                         pytheus_redis__after_fork);
    (void)atexit(pytheus_redis__at_exit);
}

static void pytheus_redis__link(pytheus_redis *redis) {
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    redis->next = pytheus_redis__all;
    pytheus_redis__all = redis;
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
}

static void pytheus_redis__unlink(pytheus_redis *redis) {
    pytheus_redis **at = &pytheus_redis__all;
    (void)pthread_mutex_lock(&pytheus_redis__all_lock);
    while (*at && *at != redis) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = redis->next;
    }
    (void)pthread_mutex_unlock(&pytheus_redis__all_lock);
}

/* What another thread of the parent had in hand on the line may be in the middle of a change: it is
   left lying. */
static void pytheus_redis__drop_hands(pytheus_redis *redis) {
    pytheus_redis__metric *metric;
    pytheus_redis__series *series;
    if (redis->context) {
        (void)close(redis->context->fd);
    }
#ifdef PYTHEUS_REDIS_TLS
    redis->tls = NULL;
    redis->tls_socket = NULL;
#endif
    redis->context = NULL;
    redis->reader = NULL;
    memset((void *)&redis->out, 0, sizeof redis->out);
    memset((void *)&redis->scratch, 0, sizeof redis->scratch);
    memset((void *)&redis->plain, 0, sizeof redis->plain);
    memset((void *)&redis->key, 0, sizeof redis->key);
    memset((void *)&redis->transaction, 0, sizeof redis->transaction);
    memset((void *)&redis->reading, 0, sizeof redis->reading);
    redis->num_news = 0;
    for (metric = redis->metrics; metric; metric = metric->next) {
        metric->rows = NULL;
        metric->spellings = NULL;
        metric->entries = NULL;
        metric->num_rows = metric->rows_room = metric->num_spellings = metric->spellings_room = 0;
        metric->num_entries = 0;
    }
    for (series = redis->first_series; series; series = series->next) {
        series->row = NULL;
    }
}

/* In the child: all that was counted or removed before is the parent's to send. */
static void pytheus_redis__forked(void *user) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__series *series;
    pytheus_redis__condition_init(&redis->line_is_free);
    pytheus_redis__condition_init(&redis->wake);
    if (redis->line_is_taken) {
        pytheus_redis__drop_hands(redis);
    }
    redis->line_is_taken = false;
    redis->transaction.number = 0;
    pytheus_redis__disconnect(redis);
    for (series = redis->first_series; series; series = series->next) {
        if (series->slot) {
            series->sets = series->inherited_sets = pytheus_redis__sets(series);
            pytheus_redis__values(series, series->acknowledged);
            series->inherited = series->acknowledged->real;
        }
        series->is_known = series->is_known && series->metric->across == PYTHEUS_SHARED;
        if (series->is_removed) {
            pytheus_redis__end_of(series);
        }
    }
    pytheus_redis__new_identity(redis);
    redis->number = redis->base = 0;
    redis->process_index = 0;
    redis->ends = redis->is_claimed = redis->has_ended = false;
    if (redis->has_thread) { /* nobody can see when the child first adds to what it has got */
        redis->has_thread = false;
        pytheus_redis__start_thread(redis);
    }
    pytheus_redis__let_go(redis);
}

/* ==== PAGES ==== */

/* Label values may be chosen by whom the program serves: the seed is not for them to know. */
static uint64_t pytheus_redis__hash(uint64_t seed, const char *text, size_t size) {
    uint64_t hash = seed ^ size, word;
    for (; size >= 8; text += 8, size -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    word = 0;
    memcpy(&word, text, size);
    return pytheus_redis__spread(hash ^ word);
}

static bool pytheus_redis__is_spelling(const pytheus_redis__spelling *spelling, const char *text,
                                       size_t size) {
    return spelling->size == size && memcmp(spelling->text, text, size) == 0;
}

/* The entry of a spelling, or a free one. There always is one. */
static pytheus_redis__entry *pytheus_redis__entry_of(const pytheus_redis__metric *metric,
                                                     uint64_t hash, const char *text, size_t size) {
    size_t mask = metric->num_entries - 1, i = (size_t)hash & mask;
    pytheus_redis__entry *entry = &metric->entries[i];
    while (entry->spelling &&
           (entry->hash != hash || !pytheus_redis__is_spelling(entry->spelling, text, size))) {
        i = (i + 1) & mask;
        entry = &metric->entries[i];
    }
    return entry;
}

static void pytheus_redis__fill_entries(pytheus_redis__metric *metric) {
    size_t i;
    memset((void *)metric->entries, 0, metric->num_entries * sizeof *metric->entries);
    for (i = 0; i < metric->num_spellings; i++) {
        pytheus_redis__spelling *spelling = metric->spellings[i];
        uint64_t hash = pytheus_redis__hash(metric->seed, spelling->text, spelling->size);
        pytheus_redis__entry *entry =
            pytheus_redis__entry_of(metric, hash, spelling->text, spelling->size);
        entry->hash = hash;
        entry->spelling = spelling;
    }
}

/* A table of this size. false: no memory. */
static bool pytheus_redis__rehash(pytheus_redis__metric *metric, size_t num_entries) {
    pytheus_redis__entry *fresh =
        (pytheus_redis__entry *)PYTHEUS_REDIS_REALLOC(NULL, num_entries * sizeof *fresh);
    if (!fresh) {
        return false;
    }
    PYTHEUS_REDIS_FREE(metric->entries);
    metric->entries = fresh;
    metric->num_entries = num_entries;
    pytheus_redis__fill_entries(metric);
    return true;
}

/* NULL: no memory. */
static pytheus_redis__spelling *pytheus_redis__add_spelling(pytheus_redis *redis,
                                                            pytheus_redis__metric *metric,
                                                            const char *text, size_t size,
                                                            pytheus_redis__row *row) {
    size_t n = metric->num_spellings;
    uint64_t hash = pytheus_redis__hash(metric->seed, text, size);
    pytheus_redis__spelling *spelling;
    pytheus_redis__entry *entry;
    if (!pytheus_redis__grow((void **)&metric->spellings, n, &metric->spellings_room,
                             sizeof(pytheus_redis__spelling *)) ||
        (2 * (n + 1) > metric->num_entries &&
         !pytheus_redis__rehash(metric, metric->num_entries ? 2 * metric->num_entries : 32))) {
        return NULL;
    }
    spelling = (pytheus_redis__spelling *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *spelling + size);
    if (!spelling) {
        return NULL;
    }
    memcpy(spelling->text, text, size);
    spelling->text[size] = '\0';
    spelling->size = size;
    spelling->row = row;
    spelling->value = 0;
    spelling->seen = redis->page;
    spelling->place = n;
    metric->spellings[metric->num_spellings++] = spelling;
    entry = pytheus_redis__entry_of(metric, hash, text, size);
    entry->hash = hash;
    entry->spelling = spelling;
    return spelling;
}

/* NULL: it was not met yet. */
static pytheus_redis__spelling *pytheus_redis__find_spelling(pytheus_redis__metric *metric,
                                                             const char *text, size_t size) {
    return metric->num_entries
               ? pytheus_redis__entry_of(metric, pytheus_redis__hash(metric->seed, text, size),
                                         text, size)
                     ->spelling
               : NULL;
}

/* Puts it where another was expected. */
static void pytheus_redis__reorder(pytheus_redis__metric *metric,
                                   pytheus_redis__spelling *spelling) {
    pytheus_redis__spelling **at = &metric->spellings[metric->next_spelling], *expected = *at;
    metric->spellings[spelling->place] = expected;
    expected->place = spelling->place;
    *at = spelling;
    spelling->place = metric->next_spelling;
}

/* As find_spelling, for what comes in Redis's order: the same as on the page before, unless the
   hash was resized. So the next ones are known, and fetched while others have their turn. */
static pytheus_redis__spelling *pytheus_redis__meet_spelling(pytheus_redis__metric *metric,
                                                             const char *text, size_t size) {
    size_t next = metric->next_spelling;
    pytheus_redis__spelling *spelling =
        next < metric->num_spellings ? metric->spellings[next] : NULL;
    if (!spelling || !pytheus_redis__is_spelling(spelling, text, size)) {
        spelling = pytheus_redis__find_spelling(metric, text, size);
        if (spelling && next < metric->num_spellings) {
            pytheus_redis__reorder(metric, spelling);
        }
    }
    next = ++metric->next_spelling;
    if (next + 8 < metric->num_spellings) {
        const char *far = (const char *)metric->spellings[next + 8];
        __builtin_prefetch(far);
        __builtin_prefetch(far + 64);
        __builtin_prefetch(metric->spellings[next + 4]->row);
    }
    return spelling;
}

/* What tells a row from others: the values of its labels, and where each process has its own row,
   its number. */
static size_t pytheus_redis__num_texts(const pytheus_redis__metric *metric) {
    return metric->num_labels + (metric->across == PYTHEUS_PER_PROCESS);
}

/* A new row, with its texts, each ending with NUL; NULL: no memory. */
static pytheus_redis__row *pytheus_redis__row_new(pytheus_redis__metric *metric,
                                                  const char *const *texts) {
    size_t num_texts = pytheus_redis__num_texts(metric);
    size_t i, size = 0, numbers = metric->num_values * sizeof(double);
    pytheus_redis__row *row;
    char *at;
    for (i = 0; i < num_texts; i++) {
        size += strlen(texts[i]) + 1;
    }
    if (!pytheus_redis__grow((void **)&metric->rows, metric->num_rows, &metric->rows_room,
                             sizeof(pytheus_redis__row *))) {
        return NULL;
    }
    row = (pytheus_redis__row *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *row + numbers + size);
    if (!row) {
        return NULL;
    }
    memset((void *)row, 0, sizeof *row + numbers);
    at = (char *)(row->values + metric->num_values);
    for (i = 0; i < num_texts; i++) {
        size_t length = strlen(texts[i]) + 1;
        memcpy(at, texts[i], length);
        at += length;
    }
    metric->rows[metric->num_rows++] = row;
    return row;
}

/* The values of a field in declared order, and behind them that of one label more, if there is to
   be one; false: these are not the metric's labels, or there was no memory, which the reading
   remembers. */
static bool pytheus_redis__values_of_field(pytheus_redis *redis,
                                           const pytheus_redis__metric *metric, const char *text,
                                           size_t size, const char **values, const char *more) {
    size_t offsets[PYTHEUS_MAX_LABELS + 1][2], n = 0, i, j;
    size_t num_labels = metric->num_labels + (more != NULL);
    pytheus_redis__bytes *out = &redis->scratch;
    pytheus_redis__clear(out);
    if (!pytheus_redis__read_labels(text, size, out, offsets, num_labels, &n) || n != num_labels) {
        redis->reading.no_memory |= out->failed;
        return false;
    }
    for (i = 0; i < n; i++) {
        const char *name = i < metric->num_labels ? metric->labels[i] : more;
        for (j = 0; j < n && strcmp(out->at + offsets[j][0], name) != 0; j++) {
        }
        if (j == n) {
            return false;
        }
        values[i] = out->at + offsets[j][1];
    }
    return true;
}

/* The row of these texts, made where there is none; NULL: no memory. */
static pytheus_redis__row *pytheus_redis__row_of(pytheus_redis *redis,
                                                 pytheus_redis__metric *metric,
                                                 const char *const *texts) {
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus_redis__bytes own = {NULL, 0, 0, false};
    pytheus_redis__spelling *known;
    pytheus_redis__row *row = NULL;
    size_t i;
    for (i = 0; i < metric->num_labels; i++) {
        labels[i].name = metric->labels[i];
        labels[i].value = texts[i];
    }
    (void)pytheus_redis__make_field(&own, metric, labels);
    for (; i < pytheus_redis__num_texts(metric); i++) {
        pytheus_redis__add_string(&own, texts[i]);
    }
    if (!own.failed) {
        known = pytheus_redis__find_spelling(metric, own.at, own.used);
        row = known ? known->row : pytheus_redis__row_new(metric, texts);
        if (row && !known && !pytheus_redis__add_spelling(redis, metric, own.at, own.used, row)) {
            metric->num_rows--;
            PYTHEUS_REDIS_FREE(row);
            row = NULL;
        }
    }
    redis->reading.no_memory |= !row;
    pytheus_redis__bytes_free(&own);
    return row;
}

/* What a field of the metric's hashes stands for. NULL: no memory. */
static pytheus_redis__spelling *pytheus_redis__spelling_of(pytheus_redis *redis,
                                                           pytheus_redis__metric *metric,
                                                           const char *text, size_t size) {
    pytheus_redis__spelling *known = pytheus_redis__find_spelling(metric, text, size);
    const char *values[PYTHEUS_MAX_LABELS];
    pytheus_redis__row *row = NULL;
    if (known) {
        return known;
    }
    if (pytheus_redis__values_of_field(redis, metric, text, size, values, NULL)) {
        row = pytheus_redis__row_of(redis, metric, values);
    }
    if (redis->reading.no_memory) {
        return NULL;
    }
    known = pytheus_redis__find_spelling(metric, text, size);
    return known ? known : pytheus_redis__add_spelling(redis, metric, text, size, row);
}

/* Sums, or the one that counts. */
static void pytheus_redis__combine(const pytheus_redis__metric *metric, pytheus_redis__row *row,
                                   size_t value, double v, double changed) {
    double *total = &row->values[value];
    bool takes = true;
    if (!pytheus_redis__is_gauge(metric) || metric->across == PYTHEUS_SHARED ||
        metric->across == PYTHEUS_SUM) {
        *total = *total != 0 ? *total + v : v; /* -0 stays */
        return;
    }
    if (row->num_seen) {
        takes = metric->across == PYTHEUS_MIN           ? v < *total
                : metric->across == PYTHEUS_MAX         ? v > *total
                : metric->across == PYTHEUS_MOST_RECENT ? changed >= row->changed
                                                        : true;
    }
    if (takes) {
        *total = v;
        row->changed = changed;
    }
}

static void pytheus_redis__add_to_row(pytheus_redis *redis, const pytheus_redis__metric *metric,
                                      pytheus_redis__row *row, size_t value, double v,
                                      double changed) {
    if (row->seen != redis->page) {
        row->seen = redis->page;
        row->num_seen = 0;
        memset(row->values, 0, metric->num_values * sizeof *row->values);
    }
    pytheus_redis__combine(metric, row, value, v, changed);
    row->num_seen++;
}

/* -- reading -- */

/* Tells, once, that something of a metric in Redis can't be read. */
static void pytheus_redis__unreadable(pytheus_redis *redis, pytheus_redis__metric *metric,
                                      const char *what, const char *text, size_t size) {
    if (!metric->is_told) {
        (void)pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.80s: %s: %.*s", metric->name, what,
                           (int)(size < 100 ? size : 100), text);
        metric->is_told = pytheus_redis__tell(redis, metric->name);
    }
}

/* An error in the place of a key of the metric: a bad key costs no page, but a server does that
   takes nothing at all. */
static void pytheus_redis__not_read(pytheus_redis *redis, pytheus_redis__metric *metric,
                                    const char *text, size_t size) {
    if (pytheus_redis__refuses_all(text)) {
        redis->reading.is_refused = true;
        (void)snprintf(redis->refusal, sizeof redis->refusal, "%.*s",
                       (int)(size < 120 ? size : 120), text);
    } else {
        pytheus_redis__unreadable(redis, metric, "can't be read", text, size);
    }
}

/* Of observations: whole, and finite. */
static bool pytheus_redis__is_count(double v) {
    const double all_are_whole = 9007199254740992.0;
    return v >= 0 && pytheus_redis__is_finite(v) &&
           (v >= all_are_whole || pytheus_redis__same((double)(int64_t)v, v));
}

static void pytheus_redis__take_number(pytheus_redis *redis, pytheus_redis__metric *metric,
                                       size_t value, const char *text, size_t size) {
    pytheus_redis__row *row = redis->reading.row;
    double v;
    if (!row) {
        return;
    }
    if (!pytheus_redis__read_number(text, size, &v)) {
        pytheus_redis__unreadable(redis, metric, "not a number", text, size);
    } else if ((metric->type == PYTHEUS_COUNTER && !(v >= 0)) ||
               (value != 0 && !pytheus_redis__is_count(v))) {
        pytheus_redis__unreadable(redis, metric, "not a count", text, size);
    } else {
        pytheus_redis__add_to_row(redis, metric, row, value, v, 0);
    }
}

static void pytheus_redis__take_field(pytheus_redis *redis, pytheus_redis__metric *metric,
                                      const char *text, size_t size) {
    pytheus_redis__spelling *spelling = pytheus_redis__meet_spelling(metric, text, size);
    if (!spelling) {
        spelling = pytheus_redis__spelling_of(redis, metric, text, size);
    }
    redis->reading.row = spelling ? spelling->row : NULL;
    if (!spelling) {
        redis->reading.no_memory = true;
        return;
    }
    spelling->seen = redis->page;
    if (!spelling->row) {
        pytheus_redis__unreadable(redis, metric, "no series of this metric", text, size);
    }
}

/* Takes GET and HGETALL of many values, each followed by an EXPIRE where keys do. */
static void pytheus_redis__take_page(pytheus_redis *redis, const redisReadTask *task,
                                     const char *text, size_t size, long long n) {
    pytheus_redis__reading *reading = &redis->reading;
    const pytheus_redis__read *read;
    while (reading->at + 1 < reading->num_reads &&
           redis->num_replies >= reading->reads[reading->at + 1].reply) {
        reading->at++;
    }
    read = &reading->reads[reading->at];
    (void)n;
    if (redis->num_replies != read->reply) {
        return;
    }
    if (!task->parent || task->idx % 2 == 0) {
        reading->row = NULL; /* whatever comes in the place of a field */
    }
    if (task->type == REDIS_REPLY_ERROR && !task->parent) {
        pytheus_redis__not_read(redis, read->metric, text, size);
    } else if (task->type == REDIS_REPLY_ARRAY && !task->parent) {
        read->metric->next_spelling = 0;
    } else if (task->type != REDIS_REPLY_STRING) {
        return;
    } else if (!task->parent) {
        pytheus_redis__take_field(redis, read->metric, "{}", 2);
        pytheus_redis__take_number(redis, read->metric, read->value, text, size);
    } else if (task->idx % 2 == 0) {
        pytheus_redis__take_field(redis, read->metric, text, size);
    } else {
        pytheus_redis__take_number(redis, read->metric, read->value, text, size);
    }
}

static void pytheus_redis__add_read(pytheus_redis *redis, pytheus_redis__metric *metric,
                                    size_t value) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__read *read = &reading->reads[reading->num_reads++];
    const pytheus_redis__bytes *key = &metric->keys[value];
    read->metric = metric;
    read->value = value;
    read->reply = reading->num_replies++;
    if (metric->expire_seconds > 0 && metric->num_labels) {
        pytheus_redis__add(&redis->out, metric->read_expiring.at, metric->read_expiring.used);
        return;
    }
    pytheus_redis__add_string(&redis->out, metric->num_labels ? "*2\r\n$7\r\nHGETALL\r\n"
                                                              : "*2\r\n$3\r\nGET\r\n");
    pytheus_redis__add_bulk(&redis->out, key->at, key->used);
    if (metric->expires[value].used) {
        pytheus_redis__add(&redis->out, metric->expires[value].at, metric->expires[value].used);
        reading->num_replies++;
    }
}

static pytheus_err pytheus_redis__read_batch(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_err err = PYTHEUS_OK;
    if (reading->num_reads) {
        reading->row = NULL;
        reading->at = 0;
        err = pytheus_redis__exchange(redis, &redis->out, reading->num_replies,
                                      pytheus_redis__take_page, deadline);
    }
    reading->num_reads = reading->num_replies = 0;
    pytheus_redis__clear(&redis->out);
    if (!err && reading->is_refused) {
        err = pytheus_redis__lost(redis, redis->refusal);
    }
    return !err && reading->no_memory ? pytheus_redis__no_memory("page") : err;
}

/* -- reading those of all -- */

static void pytheus_redis__take_processes(pytheus_redis *redis, const redisReadTask *task,
                                          const char *text, size_t size, long long n) {
    pytheus_redis__reading *reading = &redis->reading;
    double index;
    (void)n;
    if (!task->parent || task->type != REDIS_REPLY_STRING ||
        !pytheus_redis__read_number(text, size, &index) || !(index >= 1 && index < 1e15)) {
        return;
    }
    if (!pytheus_redis__grow((void **)&reading->processes, reading->num_processes,
                             &reading->processes_room, sizeof *reading->processes)) {
        reading->no_memory = true;
        return;
    }
    reading->processes[reading->num_processes++] = (uint64_t)index;
}

/* The metric of a field "name {labels}"; *labels are those. */
static pytheus_redis__metric *pytheus_redis__process_metric(pytheus_redis *redis, const char *text,
                                                            size_t size, size_t *labels) {
    const pytheus_redis__reading *reading = &redis->reading;
    const char *blank = (const char *)memchr(text, ' ', size);
    size_t from = 0, to = blank ? reading->num_gauges : 0,
           name = blank ? (size_t)(blank - text) : 0;
    *labels = name + 1;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        pytheus_redis__metric *metric = reading->gauges[middle];
        int order = strncmp(text, metric->name, name);
        if (order == 0 && !metric->name[name]) {
            return metric;
        }
        from = order > 0 ? middle + 1 : from;
        to = order > 0 ? to : middle;
    }
    return NULL;
}

static int pytheus_redis__by_name(const void *a, const void *b) {
    return strcmp((*(pytheus_redis__metric *const *)a)->name,
                  (*(pytheus_redis__metric *const *)b)->name);
}

/* false: no memory. */
static bool pytheus_redis__list_gauges(pytheus_redis *redis) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__metric *metric = NULL;
    reading->num_gauges = 0;
    while ((metric = pytheus_redis__next_current(redis, metric)) != NULL) {
        if (metric->across == PYTHEUS_SHARED) {
            continue;
        }
        if (!pytheus_redis__grow((void **)&reading->gauges, reading->num_gauges,
                                 &reading->gauges_room, sizeof(pytheus_redis__metric *))) {
            return false;
        }
        reading->gauges[reading->num_gauges++] = metric;
    }
    if (reading->num_gauges) {
        qsort(reading->gauges, reading->num_gauges, sizeof(pytheus_redis__metric *),
              pytheus_redis__by_name);
    }
    return true;
}

/* A row of its own for each process; what tells them apart stands behind the labels. */
static pytheus_redis__row *pytheus_redis__row_of_process(pytheus_redis *redis,
                                                         pytheus_redis__metric *metric,
                                                         const char *text, size_t size) {
    uint64_t index = redis->reading.processes[redis->num_replies];
    const char *values[PYTHEUS_MAX_LABELS + 1];
    pytheus_redis__bytes name = {NULL, 0, 0, false};
    pytheus_redis__spelling *spelling = NULL;
    pytheus_redis__row *row = NULL;
    char number[24];
    *pytheus_redis__put_integer(number, (int64_t)index) = '\0';
    pytheus_redis__add(&name, text, size);
    pytheus_redis__add_string(&name, number);
    if (!name.failed) {
        spelling = pytheus_redis__find_spelling(metric, name.at, name.used);
    }
    if (!spelling && !name.failed &&
        pytheus_redis__values_of_field(redis, metric, text, size, values, NULL)) {
        values[metric->num_labels] = number;
        row = pytheus_redis__row_of(redis, metric, values);
        spelling = pytheus_redis__find_spelling(metric, name.at, name.used);
        if (row && !spelling) {
            spelling = pytheus_redis__add_spelling(redis, metric, name.at, name.used, row);
        }
        redis->reading.no_memory |= !spelling;
    }
    redis->reading.no_memory |= name.failed;
    pytheus_redis__bytes_free(&name);
    return spelling ? spelling->row : NULL;
}

static void pytheus_redis__take_process_field(pytheus_redis *redis, const char *text, size_t size) {
    pytheus_redis__reading *reading = &redis->reading;
    size_t labels;
    pytheus_redis__metric *metric = pytheus_redis__process_metric(redis, text, size, &labels);
    reading->row = NULL;
    reading->metric = metric;
    if (!metric) {
        return;
    }
    if (metric->across == PYTHEUS_PER_PROCESS) {
        reading->row = pytheus_redis__row_of_process(redis, metric, text + labels, size - labels);
    } else {
        pytheus_redis__take_field(redis, metric, text + labels, size - labels);
    }
}

static void pytheus_redis__take_process(pytheus_redis *redis, const redisReadTask *task,
                                        const char *text, size_t size, long long n) {
    pytheus_redis__reading *reading = &redis->reading;
    const char *blank;
    double v = 0, changed = 0;
    if (!task->parent) {
        if (task->type == REDIS_REPLY_ARRAY && n == 0) {
            reading->has_dead = true;
        }
        return;
    }
    if (task->idx % 2 == 0) {
        pytheus_redis__take_process_field(redis, text, size);
        return;
    }
    blank = (const char *)memchr(text, ' ', size);
    if (reading->row && blank && pytheus_redis__read_number(text, (size_t)(blank - text), &v) &&
        pytheus_redis__read_number(blank + 1, size - (size_t)(blank - text) - 1, &changed)) {
        pytheus_redis__add_to_row(redis, reading->metric, reading->row, 0, v, changed);
    }
}

/* Takes processes that are gone off the set: in one step with looking, because a process that was
   only asleep may be writing. */
static void pytheus_redis__bury(pytheus_redis *redis) {
    static const char script[] = "for i = 2, #KEYS do if redis.call('EXISTS', KEYS[i]) == 0 then "
                                 "redis.call('SREM', KEYS[1], ARGV[i - 1]) end end return 0";
    pytheus_redis__reading *reading = &redis->reading;
    char number[24];
    size_t i, n = reading->num_processes;
    pytheus_redis__add_head(&redis->out, '*', 4 + 2 * n);
    pytheus_redis__add_string(&redis->out, "$4\r\nEVAL\r\n");
    pytheus_redis__add_bulk(&redis->out, script, sizeof script - 1);
    *pytheus_redis__put_integer(number, (int64_t)n + 1) = '\0';
    pytheus_redis__add_bulk(&redis->out, number, strlen(number));
    for (i = 0; i <= n; i++) {
        const char *key =
            pytheus_redis__own_key(redis, &redis->out, i ? "pytheus:process:" : "pytheus:processes",
                                   i ? reading->processes[i - 1] : 0);
        pytheus_redis__add_bulk(&redis->out, key, strlen(key));
    }
    for (i = 0; i < n; i++) {
        *pytheus_redis__put_integer(number, (int64_t)reading->processes[i]) = '\0';
        pytheus_redis__add_bulk(&redis->out, number, strlen(number));
    }
}

static pytheus_err pytheus_redis__read_processes(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__reading *reading = &redis->reading;
    const char *key;
    pytheus_err err;
    size_t i;
    if (!pytheus_redis__list_gauges(redis)) {
        return pytheus_redis__no_memory("page");
    }
    if (!reading->num_gauges) {
        return PYTHEUS_OK;
    }
    reading->num_processes = 0;
    reading->has_dead = false;
    pytheus_redis__clear(&redis->out);
    key = pytheus_redis__own_key(redis, &redis->out, "pytheus:processes", 0);
    pytheus_redis__command_2(&redis->out, "SMEMBERS", key);
    err = pytheus_redis__exchange(redis, &redis->out, 1, pytheus_redis__take_processes, deadline);
    pytheus_redis__clear(&redis->out);
    for (i = 0; !err && i < reading->num_processes; i++) {
        key = pytheus_redis__own_key(redis, &redis->out, "pytheus:process:", reading->processes[i]);
        pytheus_redis__command_2(&redis->out, "HGETALL", key);
    }
    if (!err && i) {
        err = pytheus_redis__exchange(redis, &redis->out, i, pytheus_redis__take_process, deadline);
    }
    pytheus_redis__clear(&redis->out);
    if (!err && reading->has_dead) {
        pytheus_redis__bury(redis);
        err = pytheus_redis__exchange(redis, &redis->out, 1, pytheus_redis__take_nothing, deadline);
    }
    return !err && reading->no_memory ? pytheus_redis__no_memory("page") : err;
}

/* Buckets from the lowest bound up: what is counted meanwhile makes none smaller than the one
   before. The sum last, as somebody counts before he adds. */
static pytheus_err pytheus_redis__read_hashes(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__metric *metric = NULL;
    pytheus_err err = PYTHEUS_OK;
    pytheus_redis__clear(&redis->out);
    redis->reading.num_reads = redis->reading.num_replies = 0;
    while (!err && (metric = pytheus_redis__next_current(redis, metric)) != NULL) {
        size_t i, n = metric->num_values;
        bool is_read = metric->across == PYTHEUS_SHARED && !pytheus_redis__stays(metric);
        for (i = 0; !err && i < n && is_read; i++) {
            pytheus_redis__add_read(redis, metric, (i + 2) % n);
            if (redis->reading.num_reads == PYTHEUS_REDIS__MOST_READS) {
                err = pytheus_redis__read_batch(redis, deadline);
            }
        }
    }
    err = err ? err : pytheus_redis__read_batch(redis, deadline);
    return err ? err : pytheus_redis__read_processes(redis, deadline);
}

/* The rows of this process's series, which are on the page whatever Redis has. */
static bool pytheus_redis__list_rows(pytheus_redis *redis) {
    const pytheus_redis__series *after = NULL;
    pytheus_redis__batch batch;
    size_t n, i;
    for (; (n = pytheus_redis__next_batch(redis, after, UINT64_MAX, &batch)) > 0;
         after = batch.series[n - 1]) {
        for (i = 0; i < n; i++) {
            pytheus_redis__series *series = batch.series[i];
            pytheus_redis__spelling *spelling;
            if (series->row || series->is_gone || series->metric->across != PYTHEUS_SHARED ||
                pytheus_redis__stays(series->metric) || batch.is_removed[i]) {
                continue;
            }
            spelling = pytheus_redis__spelling_of(redis, series->metric, series->field,
                                                  series->field_size);
            if (!spelling) {
                return false;
            }
            series->row = spelling->row;
            if (series->row) {
                series->row->num_local++;
            }
        }
    }
    return true;
}

/* -- emitting: what goes wrong with one sample is told by the library, and leaves it out -- */

/* The labels of a row, of its process, and of a bucket. */
typedef struct pytheus_redis__pairs {
    const char *strings[2 * PYTHEUS_MAX_LABELS + 4];
    size_t n;
} pytheus_redis__pairs;

static void pytheus_redis__list_pairs(const pytheus_redis__metric *metric,
                                      const pytheus_redis__row *row, pytheus_redis__pairs *pairs) {
    const char *text = (const char *)(row->values + metric->num_values);
    size_t i, num_texts = pytheus_redis__num_texts(metric);
    for (i = 0; i < num_texts; i++) {
        pairs->strings[2 * i] = i < metric->num_labels ? metric->labels[i] : "gauge_index";
        pairs->strings[2 * i + 1] = text;
        text += strlen(text) + 1;
    }
    pairs->n = 2 * num_texts;
}

static void pytheus_redis__emit(pytheus_emitter *out, pytheus_redis__pairs *pairs,
                                const char *suffix, const char *le, double v) {
    pytheus_sample sample = PYTHEUS__EMPTY;
    memset((void *)&sample, 0, sizeof sample);
    sample.suffix = suffix;
    sample.pairs = pairs->strings;
    sample.num_strings = pairs->n;
    sample.value = v;
    if (le) {
        pairs->strings[pairs->n] = "le";
        pairs->strings[pairs->n + 1] = le;
        sample.num_strings += 2;
    }
    (void)pytheus_emit_sample(out, &sample);
}

/* Whatever is in Redis, no bucket is below the one before, and the count is the last; where that of
   +Inf is not kept, it is the other way round. */
static void pytheus_redis__emit_row(pytheus_emitter *out, const pytheus_redis__metric *metric,
                                    const pytheus_redis__row *row) {
    pytheus_redis__pairs pairs;
    double count = 0;
    size_t i;
    pytheus_redis__list_pairs(metric, row, &pairs);
    if (metric->type < PYTHEUS_HISTOGRAM) {
        pytheus_redis__emit(out, &pairs, NULL, NULL, row->values[0]);
        return;
    }
    for (i = 2; i < metric->num_values; i++) {
        double v = row->values[i < metric->num_stored ? i : 1];
        count = v > count ? v : count;
        pytheus_redis__emit(out, &pairs, "_bucket", metric->le[i - 2], count);
    }
    if (metric->type == PYTHEUS_SUMMARY) {
        count = row->values[1];
    }
    pytheus_redis__emit(out, &pairs, "_sum", NULL, row->values[0]);
    pytheus_redis__emit(out, &pairs, "_count", NULL, count);
}

static void pytheus_redis__begin_family(pytheus_emitter *out, pytheus_type type, const char *name,
                                        const char *help) {
    pytheus_family family = PYTHEUS__EMPTY;
    memset((void *)&family, 0, sizeof family);
    family.type = type;
    family.name = name;
    family.help = help;
    (void)pytheus_emit_family(out, &family);
}

static void pytheus_redis__emit_metric(pytheus_redis *redis, pytheus_emitter *out,
                                       pytheus_redis__metric *metric) {
    size_t i;
    if (pytheus_redis__stays(metric)) {
        return; /* the library writes it from its words */
    }
    pytheus_redis__begin_family(out, metric->type, metric->name, metric->help);
    for (i = 0; i < metric->num_rows; i++) {
        pytheus_redis__row *row = metric->rows[i];
        if (row->seen != redis->page && row->num_local && !(metric->expire_seconds > 0)) {
            memset(row->values, 0, metric->num_values * sizeof *row->values);
            row->seen = redis->page;
        }
        if (row->seen == redis->page) {
            pytheus_redis__emit_row(out, metric, row);
        }
    }
}

static void pytheus_redis__emit_own(pytheus_emitter *out, pytheus_type type, const char *name,
                                    const char *help, double v) {
    pytheus_sample sample = PYTHEUS__EMPTY;
    pytheus_redis__begin_family(out, type, name, help);
    memset((void *)&sample, 0, sizeof sample);
    sample.value = v;
    (void)pytheus_emit_sample(out, &sample);
}

static void pytheus_redis__emit_state(const pytheus_redis *redis, pytheus_emitter *out, bool up) {
    pytheus_redis__emit_own(out, PYTHEUS_GAUGE, "pytheus_redis_up",
                            "Whether Redis answered when this page was written.", up);
    pytheus_redis__emit_own(out, PYTHEUS_COUNTER, "pytheus_redis_flush_errors_total",
                            "Flushes of this process, and series in them, that Redis did not take; "
                            "what they held is sent later.",
                            (double)PYTHEUS_REDIS__LOAD(&redis->flush_errors));
    pytheus_redis__emit_own(out, PYTHEUS_GAUGE, "pytheus_redis_last_flush_timestamp_seconds",
                            "When Redis last took something from this process.",
                            (double)PYTHEUS_REDIS__LOAD(&redis->last_flush_ms) / 1000);
}

/* Not met on this page, and of no series of this process. */
static bool pytheus_redis__is_row_gone(const pytheus_redis *redis, const pytheus_redis__row *row) {
    return !row->num_local && row->seen != redis->page;
}

static bool pytheus_redis__is_gone(const pytheus_redis *redis,
                                   const pytheus_redis__spelling *spelling) {
    return spelling->row ? pytheus_redis__is_row_gone(redis, spelling->row)
                         : spelling->seen != redis->page;
}

/* Forgets spellings and rows that were not met on this page, when they are many. */
static void pytheus_redis__forget_gone(pytheus_redis *redis, pytheus_redis__metric *metric) {
    size_t i, gone = 0, n = metric->num_spellings;
    for (i = 0; i < n; i++) {
        gone += pytheus_redis__is_gone(redis, metric->spellings[i]);
    }
    if (gone < 64 || gone < n / 2) {
        return;
    }
    for (i = metric->num_spellings = 0; i < n; i++) {
        pytheus_redis__spelling *spelling = metric->spellings[i];
        if (pytheus_redis__is_gone(redis, spelling)) {
            PYTHEUS_REDIS_FREE(spelling);
        } else {
            spelling->place = metric->num_spellings;
            metric->spellings[metric->num_spellings++] = spelling;
        }
    }
    pytheus_redis__fill_entries(metric);
    n = metric->num_rows;
    for (i = metric->num_rows = 0; i < n; i++) {
        pytheus_redis__row *row = metric->rows[i];
        if (pytheus_redis__is_row_gone(redis, row)) {
            PYTHEUS_REDIS_FREE(row);
        } else {
            metric->rows[metric->num_rows++] = row;
        }
    }
}

static void pytheus_redis__emit_all(pytheus_redis *redis, pytheus_emitter *out) {
    pytheus_redis__metric *metric = NULL;
    while ((metric = pytheus_redis__next_current(redis, metric)) != NULL) {
        pytheus_redis__emit_metric(redis, out, metric);
        pytheus_redis__forget_gone(redis, metric);
    }
    pytheus_redis__emit_state(redis, out, true);
}

/* Reads what Redis has, after sending what this process has, but for half of the time at most. A
   server that is full may still be read. */
static pytheus_err pytheus_redis__read_page(pytheus_redis *redis, int64_t deadline) {
    pytheus_err err = pytheus_redis__flush_now(redis, deadline, pytheus_redis__half(deadline));
    if (err && !redis->context) {
        return err;
    }
    if (err) {
        (void)pytheus_redis__tell(redis, "");
    }
    redis->page++;
    redis->reading.no_memory = redis->reading.is_refused = false;
    if (!pytheus_redis__list_rows(redis)) {
        return pytheus_redis__no_memory("page");
    }
    return redis->layout->read(redis, deadline);
}

static pytheus_err pytheus_redis__generate(void *user, pytheus_emitter *out) {
    pytheus_redis *redis = (pytheus_redis *)user;
    int64_t deadline = pytheus_redis__deadline(redis);
    bool has_line = pytheus_redis__take_line(redis, deadline);
    pytheus_err err = has_line ? pytheus_redis__read_page(redis, deadline) : pytheus_redis__busy();
    if (!err) {
        pytheus_redis__emit_all(redis, out);
    } else if (redis->serve_own) {
        pytheus_redis__emit_state(redis, out, false);
        if (has_line) {
            (void)pytheus_redis__tell(redis, "");
        }
        err = PYTHEUS_OK;
    }
    if (has_line) {
        pytheus_redis__free_line(redis);
    }
    return err;
}

/* ==== WRITE-THROUGH: EACH OPERATION WAITS FOR REDIS ==== */

/* One value of a series. */
typedef struct pytheus_redis__cell {
    pytheus_redis__series *series;
    size_t value;
} pytheus_redis__cell;

/* One operation, on one or several values of a series. */
typedef struct pytheus_redis__operation {
    pytheus_redis__cell *const *cells;
    size_t num_cells;
    size_t first_counted; /* an observation: from this cell on, and the count */
    bool is_observation, is_set;
    double v;
} pytheus_redis__operation;

static size_t pytheus_redis__value_of_cell(const pytheus_redis__metric *metric,
                                           const pytheus_cell_desc *desc) {
    size_t i;
    if (metric->type < PYTHEUS_HISTOGRAM || strcmp(desc->value, "sum") == 0) {
        return 0;
    }
    if (metric->type == PYTHEUS_SUMMARY) {
        return 1;
    }
    for (i = 0; i < metric->num_bounds && metric->bounds[i] < desc->bound; i++) {
    }
    return 2 + i;
}

/* A metric by its name alone, because cells are described one at a time. */
static pytheus_redis__metric *pytheus_redis__metric_named(pytheus_redis *redis, const char *name) {
    pytheus_redis__metric *metric = NULL, *found = NULL;
    while ((metric = pytheus_redis__next_current(redis, metric)) != NULL) {
        found = strcmp(metric->name, name) == 0 ? metric : found;
    }
    return found;
}

static pytheus_err pytheus_redis__cell_open(void *user, const pytheus_cell_desc *desc,
                                            void **place) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__metric *metric = pytheus_redis__metric_named(redis, desc->metric);
    pytheus_redis__cell *cell = (pytheus_redis__cell *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *cell);
    pytheus_redis__series *series =
        cell && metric ? pytheus_redis__series_new(redis, metric, desc->labels) : NULL;
    if (!series) {
        PYTHEUS_REDIS_FREE(cell);
        return pytheus_redis__no_memory(desc->metric);
    }
    cell->value = pytheus_redis__value_of_cell(metric, desc);
    cell->series = series;
    series->is_known = redis->layout->has_zeros;
    series->is_gone = cell->value > 0; /* one of them is on the page */
    (void)pthread_mutex_lock(&redis->lock);
    pytheus_redis__put_last(redis, series);
    (void)pthread_mutex_unlock(&redis->lock);
    *place = cell;
    return PYTHEUS_OK;
}

static void pytheus_redis__cell_close(void *user, void *place) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__cell *cell = (pytheus_redis__cell *)place;
    (void)pthread_mutex_lock(&redis->lock);
    cell->series->is_gone = cell->series->is_removed = true;
    pytheus_redis__close_series(redis, cell->series, 0);
    (void)pthread_mutex_unlock(&redis->lock);
    PYTHEUS_REDIS_FREE(cell);
}

static void pytheus_redis__add_operation(pytheus_redis *redis,
                                         const pytheus_redis__operation *operation) {
    pytheus_redis__cell *first = operation->cells[0];
    const pytheus_redis__metric *metric = first->series->metric;
    pytheus_redis__value v = {0, 0}, one = {1, 0};
    size_t i;
    v.real = operation->v;
    if (v.real >= -9e15 && v.real <= 9e15 && pytheus_redis__same((double)(int64_t)v.real, v.real) &&
        !pytheus_redis__is_negative_zero(v.real)) {
        v.whole = (uint64_t)(int64_t)v.real;
        v.real = 0;
    }
    pytheus_redis__change_value(redis, first->series, first->value, v,
                                operation->is_set || !pytheus_redis__is_finite(v.real));
    if (operation->is_set && metric->type == PYTHEUS_HISTOGRAM && first->value == 0) {
        pytheus_redis__change_value(redis, first->series, 1, v, true);
    }
    if (!operation->is_observation) {
        return;
    }
    for (i = operation->first_counted; i < operation->num_cells; i++) {
        pytheus_redis__cell *cell = operation->cells[i];
        pytheus_redis__change_value(redis, cell->series, cell->value, one, false);
    }
    if (metric->type == PYTHEUS_HISTOGRAM) {
        pytheus_redis__change_value(redis, first->series, 1, one, false);
    }
}

/* One transaction for the operation. It was done if its number is what the watched key holds. */
static pytheus_err pytheus_redis__try_operation(pytheus_redis *redis,
                                                const pytheus_redis__operation *operation,
                                                int64_t deadline) {
    pytheus_redis__transaction *transaction = &redis->transaction;
    uint64_t number;
    size_t i;
    pytheus_err err = pytheus_redis__be_connected(redis, deadline);
    if (err) {
        return err;
    }
    pytheus_redis__begin_transaction(redis);
    pytheus_redis__add_operation(redis, operation);
    number = transaction->number;
    for (i = 0; i < transaction->num_changes; i++) {
        transaction->changes[i].series = NULL;
    }
    pytheus_redis__end_transaction(redis);
    if (transaction->text.failed) {
        transaction->number = 0;
        return pytheus_redis__no_memory("operation");
    }
    err = pytheus_redis__send_transaction(redis, deadline);
    if (err && transaction->number) {
        err = pytheus_redis__be_connected(redis, deadline);
    }
    for (i = 0; !err && i < transaction->num_changes; i++) {
        if (transaction->changes[i].has_failed) {
            err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: %.100s",
                               operation->cells[0]->series->metric->name, redis->refusal);
        }
    }
    if (!err && redis->base != number) {
        err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: not done",
                           operation->cells[0]->series->metric->name);
    }
    return err;
}

static pytheus_err pytheus_redis__do(pytheus_redis *redis,
                                     const pytheus_redis__operation *operation) {
    int64_t deadline = pytheus_redis__deadline(redis);
    pytheus_err err;
    if (!pytheus_redis__take_line(redis, deadline)) {
        return pytheus_redis__busy();
    }
    err = pytheus_redis__try_operation(redis, operation, deadline);
    if (err) {
        pytheus_redis__count_error(redis);
    }
    pytheus_redis__free_line(redis);
    return err;
}

static pytheus_err pytheus_redis__change_cell(void *user, void *place, double v, bool is_set) {
    pytheus_redis__cell *cell = (pytheus_redis__cell *)place;
    const pytheus_redis__metric *metric = cell->series->metric;
    pytheus_redis__operation operation;
    if (pytheus_redis__is_whole((pytheus_redis *)user, metric) &&
        !(v < 9e18 && pytheus_redis__same((double)(int64_t)v, v))) {
        return pytheus_fail(PYTHEUS_ERR_VALUE,
                            "redis: %.100s: a counter of this layout is a whole number",
                            metric->name);
    }
    memset((void *)&operation, 0, sizeof operation);
    operation.cells = &cell;
    operation.num_cells = 1;
    operation.is_set = is_set;
    operation.v = v;
    return pytheus_redis__do((pytheus_redis *)user, &operation);
}

static pytheus_err pytheus_redis__cell_inc(void *user, void *cell, double by) {
    return pytheus_redis__change_cell(user, cell, by, false);
}

static pytheus_err pytheus_redis__cell_set(void *user, void *cell, double value) {
    return pytheus_redis__change_cell(user, cell, value, true);
}

static pytheus_err pytheus_redis__observe(void *user, void *const *cells, size_t num_cells,
                                          size_t counted, double v) {
    pytheus_redis__operation operation;
    memset((void *)&operation, 0, sizeof operation);
    operation.cells = (pytheus_redis__cell *const *)(const void *)cells;
    operation.num_cells = num_cells;
    operation.first_counted = counted;
    operation.is_observation = true;
    operation.v = v;
    return pytheus_redis__do((pytheus_redis *)user, &operation);
}

static void pytheus_redis__take_get(pytheus_redis *redis, const redisReadTask *task,
                                    const char *text, size_t size, long long n) {
    (void)n;
    if (task->type == REDIS_REPLY_STRING) {
        redis->is_broken |=
            !pytheus_redis__read_number(text, size, &redis->reading.numbers[redis->num_replies]);
    }
}

static void pytheus_redis__ask_field(pytheus_redis *redis, pytheus_redis__bytes *out,
                                     const pytheus_redis__series *series, size_t value) {
    const pytheus_redis__bytes *key = &series->metric->keys[value];
    (void)redis;
    pytheus_redis__add_string(out, series->metric->num_labels ? "*3\r\n$4\r\nHGET\r\n"
                                                              : "*2\r\n$3\r\nGET\r\n");
    pytheus_redis__add_bulk(out, key->at, key->used);
    if (series->metric->num_labels) {
        pytheus_redis__add_bulk(out, series->field, series->field_size);
    }
}

static pytheus_err pytheus_redis__read_cell(pytheus_redis *redis, const pytheus_redis__cell *cell,
                                            double *value, int64_t deadline) {
    bool has_lower = cell->value > 2; /* buckets are cumulative in Redis */
    double *numbers = redis->reading.numbers;
    pytheus_err err = pytheus_redis__be_connected(redis, deadline);
    if (err) {
        return err;
    }
    pytheus_redis__clear(&redis->out);
    numbers[0] = numbers[1] = 0;
    redis->layout->ask(redis, &redis->out, cell->series, cell->value - has_lower);
    if (has_lower) {
        redis->layout->ask(redis, &redis->out, cell->series, cell->value);
    }
    err = pytheus_redis__exchange(redis, &redis->out, has_lower ? 2 : 1, pytheus_redis__take_get,
                                  deadline);
    if (!err && redis->refusal[0]) {
        err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: %.100s", cell->series->metric->name,
                           redis->refusal);
    }
    *value = has_lower && numbers[1] > numbers[0] ? numbers[1] - numbers[0]
             : has_lower                          ? 0
                                                  : numbers[0];
    return err;
}

static pytheus_err pytheus_redis__cell_get(void *user, void *place, double *value) {
    pytheus_redis *redis = (pytheus_redis *)user;
    int64_t deadline = pytheus_redis__deadline(redis);
    pytheus_err err;
    if (!pytheus_redis__take_line(redis, deadline)) {
        return pytheus_redis__busy();
    }
    err = pytheus_redis__read_cell(redis, (pytheus_redis__cell *)place, value, deadline);
    pytheus_redis__free_line(redis);
    return err;
}

static pytheus_err pytheus_redis__try_removal(pytheus_redis *redis, pytheus_redis__cell *cell,
                                              int64_t deadline) {
    pytheus_err err = pytheus_redis__be_connected(redis, deadline);
    size_t n;
    if (err) {
        return err;
    }
    pytheus_redis__clear(&redis->out);
    n = redis->layout->remove(redis, &redis->out, cell->series, cell->value);
    err = pytheus_redis__exchange(redis, &redis->out, n, pytheus_redis__take_nothing, deadline);
    if (!err && redis->refusal[0]) {
        err = pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: %.100s", cell->series->metric->name,
                           redis->refusal);
    }
    pytheus_redis__unlist(cell->series);
    cell->series->is_gone = true;
    return err;
}

static pytheus_err pytheus_redis__cell_remove(void *user, void *place) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__cell *cell = (pytheus_redis__cell *)place;
    pytheus_redis__cell count = *cell;
    int64_t deadline = pytheus_redis__deadline(redis);
    pytheus_err err;
    if (!pytheus_redis__take_line(redis, deadline)) {
        return pytheus_redis__busy();
    }
    err = pytheus_redis__try_removal(redis, cell, deadline);
    if (!err && cell->value == 0 && cell->series->metric->type == PYTHEUS_HISTOGRAM) {
        count.value = 1;
        err = pytheus_redis__try_removal(redis, &count, deadline);
    }
    pytheus_redis__free_line(redis);
    return err;
}

/* ==== THE LAYOUT OF prometheus_redis_client ==== */

/* Each value of a series is a string of its own. Its key ends with its labels, sorted by name, as
   JSON in base64; there the bound of a bucket and the number of a process are numbers. A set for
   each metric has the keys of all its values. */

static const char pytheus_redis__base64[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void pytheus_redis__add_base64(pytheus_redis__bytes *out, const char *text, size_t size) {
    const unsigned char *at = (const unsigned char *)text;
    while (size) {
        size_t n = size < 3 ? size : 3;
        uint32_t bits = (uint32_t)at[0] << 16 | (n > 1 ? (uint32_t)at[1] << 8 : 0) |
                        (n > 2 ? (uint32_t)at[2] : 0);
        char four[4];
        four[0] = pytheus_redis__base64[bits >> 18];
        four[1] = pytheus_redis__base64[bits >> 12 & 63];
        four[2] = (char)(n > 1 ? pytheus_redis__base64[bits >> 6 & 63] : '=');
        four[3] = (char)(n > 2 ? pytheus_redis__base64[bits & 63] : '=');
        pytheus_redis__add(out, four, 4);
        at += n;
        size -= n;
    }
}

/* false: it is none. */
static bool pytheus_redis__read_base64(const char *text, size_t size, pytheus_redis__bytes *out) {
    uint32_t bits = 0;
    size_t i, end = size;
    int num_bits = 0;
    while (end && size - end < 2 && text[end - 1] == '=') {
        end--;
    }
    for (i = 0; i < end; i++) {
        const char *digit = text[i] ? strchr(pytheus_redis__base64, text[i]) : NULL;
        char byte;
        if (!digit) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)(digit - pytheus_redis__base64)) & 0xffff;
        num_bits += 6;
        if (num_bits >= 8) {
            num_bits -= 8;
            byte = (char)(bits >> num_bits & 0xff);
            pytheus_redis__add(out, &byte, 1);
        }
    }
    return size % 4 == 0;
}

static const char *pytheus_redis__group_objection(const pytheus_series_desc *desc) {
    size_t i;
    if (strchr(desc->metric, ':')) {
        return "in this layout a colon is the end of a name";
    }
    if (desc->across == PYTHEUS_MOST_RECENT) {
        return "in this layout nothing says which value is the most recent";
    }
    for (i = 0; desc->across != PYTHEUS_SHARED && i < desc->num_labels; i++) {
        if (strcmp(desc->labels[i].name, "gauge_index") == 0) {
            return "in this layout the label gauge_index is the number of the process";
        }
    }
    return NULL;
}

/* The label that a value's key has beside those of its series; NULL: none. */
static const char *pytheus_redis__more_of(const pytheus_redis__metric *metric, size_t value) {
    return metric->across != PYTHEUS_SHARED ? "gauge_index" : value >= 2 ? "le" : NULL;
}

/* name_group, and what keys begin with: name:, name_sum:, name_count:, name_bucket: */
static bool pytheus_redis__make_group(const pytheus_redis *redis, pytheus_redis__metric *metric) {
    static const char *const ends[] = {"_sum:", "_count:", "_bucket:"};
    char bound[PYTHEUS_REDIS__NUMBER_SIZE];
    size_t i;
    if (!pytheus_redis__make_room_for_keys(metric)) {
        return false;
    }
    metric->num_stored -= metric->type == PYTHEUS_HISTOGRAM; /* the count is the bucket of +Inf */
    pytheus_redis__add_prefixed(redis, &metric->group, metric->name);
    pytheus_redis__add(&metric->group, "_group", sizeof "_group");
    for (i = 0; i < metric->num_stored; i++) {
        pytheus_redis__add_prefixed(redis, &metric->keys[i], metric->name);
        pytheus_redis__add_string(&metric->keys[i], metric->type < PYTHEUS_HISTOGRAM ? ":"
                                                    : i < 2                          ? ends[i]
                                                                                     : ends[2]);
        if (i >= 2) {
            pytheus_redis__bound_of_key(bound, metric->bounds[i - 2], redis->float_bounds);
            pytheus_redis__add_string(&metric->mores[i], "\"le\": ");
            pytheus_redis__add_string(&metric->mores[i], bound);
        }
        if (metric->keys[i].failed || metric->mores[i].failed) {
            return false;
        }
    }
    return !metric->group.failed;
}

/* The first label, by its name, after one of that name. */
static const pytheus_label *pytheus_redis__next_label(const pytheus_label *labels, size_t n,
                                                      const char *name) {
    const pytheus_label *next = NULL;
    size_t i;
    for (i = 0; i < n; i++) {
        if (strcmp(labels[i].name, name) > 0 && (!next || strcmp(labels[i].name, next->name) < 0)) {
            next = &labels[i];
        }
    }
    return next;
}

/* {"code": "200", "method": "GET"} */
static size_t pytheus_redis__make_sorted_field(pytheus_redis__bytes *field,
                                               const pytheus_redis__metric *metric,
                                               const pytheus_label *labels) {
    const char *more = pytheus_redis__more_of(metric, metric->num_values - 1);
    const pytheus_label *next = NULL;
    size_t i, split = 1;
    pytheus_redis__add(field, "{", 1);
    for (i = 0; i < metric->num_labels; i++) {
        next = pytheus_redis__next_label(labels, metric->num_labels, next ? next->name : "");
        pytheus_redis__add_label(field, next);
        split = more && strcmp(next->name, more) < 0 ? field->used : split;
    }
    pytheus_redis__add(field, "}", 1);
    return split;
}

/* The labels of a key as JSON, into plain. */
static void pytheus_redis__add_plain_labels(pytheus_redis *redis,
                                            const pytheus_redis__series *series, size_t value) {
    const pytheus_redis__metric *metric = series->metric;
    pytheus_redis__bytes *plain = &redis->plain;
    const char *more = pytheus_redis__more_of(metric, value);
    char index[24];
    pytheus_redis__clear(plain);
    pytheus_redis__add(plain, series->field, series->split);
    if (more) {
        pytheus_redis__add_string(plain, series->split > 1 ? ", " : "");
        if (metric->across != PYTHEUS_SHARED) {
            *pytheus_redis__put_integer(index, (int64_t)redis->process_index) = '\0';
            pytheus_redis__add_string(plain, "\"gauge_index\": ");
            pytheus_redis__add_string(plain, index);
        } else {
            pytheus_redis__add(plain, metric->mores[value].at, metric->mores[value].used);
        }
        pytheus_redis__add_string(plain, series->split == 1 && metric->num_labels ? ", " : "");
    }
    pytheus_redis__add(plain, series->field + series->split, series->field_size - series->split);
}

/* The key of a value, for what is added to out; without memory that fails. Valid until the next
   one. */
static const char *pytheus_redis__key_of(pytheus_redis *redis, pytheus_redis__bytes *out,
                                         const pytheus_redis__series *series, size_t value) {
    const pytheus_redis__bytes *begin;
    pytheus_redis__bytes *key = &redis->key;
    value = value < series->metric->num_stored ? value : 1;
    begin = &series->metric->keys[value];
    pytheus_redis__add_plain_labels(redis, series, value);
    pytheus_redis__clear(key);
    pytheus_redis__add(key, begin->at, begin->used);
    pytheus_redis__add_base64(key, redis->plain.at, redis->plain.used);
    pytheus_redis__add(key, "", 1);
    if (redis->plain.failed || key->failed) {
        out->failed = true;
        return "";
    }
    return key->at;
}

/* -- writing -- */

/* How long a key lasts that was just changed: a gauge of this process outlives it for a while. */
static void pytheus_redis__keep_key(pytheus_redis *redis, const pytheus_redis__series *series,
                                    const char *key) {
    const pytheus_redis__metric *metric = series->metric;
    const char *verb = "PEXPIRE";
    char number[PYTHEUS_REDIS__NUMBER_SIZE];
    if (metric->expire_seconds > 0) {
        pytheus_redis__put_lasting(number, series);
    } else if (metric->across != PYTHEUS_SHARED) {
        *pytheus_redis__put_integer(number, pytheus_redis__process_seconds(redis) * 1000) = '\0';
    } else if (redis->expire_seconds > 0) {
        *pytheus_redis__put_integer(number, redis->expire_seconds) = '\0';
        verb = "EXPIRE";
    } else {
        return;
    }
    if (pytheus_redis__add_change(redis, NULL)) {
        pytheus_redis__command_3(&redis->transaction.text, verb, key, number);
    }
}

/* Each time the key is put into its set, from which a reader may just have taken it. */
static void pytheus_redis__change_key(pytheus_redis *redis, const pytheus_redis__change *change,
                                      const char *number, bool is_set) {
    pytheus_redis__series *series = change->series;
    pytheus_redis__metric *metric = series->metric;
    pytheus_redis__bytes *text = &redis->transaction.text;
    const char *key = pytheus_redis__key_of(redis, text, series, change->value);
    bool is_count = metric->type == PYTHEUS_COUNTER || change->value > 0;
    pytheus_redis__change listed =
        pytheus_redis__change_of(series, change->value, series->acknowledged[change->value]);
    if (pytheus_redis__add_change(redis, &listed) && pytheus_redis__add_change(redis, change)) {
        pytheus_redis__command_3(text, "SADD", metric->group.at, key);
        pytheus_redis__command_3(text,
                                 is_set     ? "SET"
                                 : is_count ? "INCRBY"
                                            : "INCRBYFLOAT",
                                 key, number);
        pytheus_redis__keep_key(redis, series, key);
    }
}

static void pytheus_redis__set_own_key(pytheus_redis *redis, const pytheus_redis__change *change,
                                       const char *number) {
    pytheus_redis__change_key(redis, change, number, true);
}

static size_t pytheus_redis__remove_key(pytheus_redis *redis, pytheus_redis__bytes *out,
                                        const pytheus_redis__series *series, size_t value) {
    const char *key = pytheus_redis__key_of(redis, out, series, value);
    pytheus_redis__command_3(out, "SREM", series->metric->group.at, key);
    pytheus_redis__command_2(out, "DEL", key);
    return 2;
}

static void pytheus_redis__ask_key(pytheus_redis *redis, pytheus_redis__bytes *out,
                                   const pytheus_redis__series *series, size_t value) {
    pytheus_redis__command_2(out, "GET", pytheus_redis__key_of(redis, out, series, value));
}

static void pytheus_redis__end_own_keys(pytheus_redis *redis, int64_t deadline) {
    const pytheus_redis__series *after = NULL;
    pytheus_redis__batch batch;
    size_t num_commands = 0, n, i;
    pytheus_redis__clear(&redis->out);
    for (; (n = pytheus_redis__next_batch(redis, after, UINT64_MAX, &batch)) > 0;
         after = batch.series[n - 1]) {
        for (i = 0; i < n; i++) {
            const pytheus_redis__series *series = batch.series[i];
            if (series->metric->across != PYTHEUS_SHARED && series->is_known) {
                num_commands += pytheus_redis__remove_key(redis, &redis->out, series, 0);
            }
        }
    }
    if (num_commands) {
        (void)pytheus_redis__exchange(redis, &redis->out, num_commands, pytheus_redis__take_nothing,
                                      deadline);
    }
}

/* -- reading -- */

/* The value of a histogram that the bound of a bucket stands for; NONE: it has none. */
static size_t pytheus_redis__value_of_bound(const pytheus_redis__metric *metric, const char *text) {
    size_t i;
    double bound;
    if (!pytheus_redis__read_number(text, strlen(text), &bound)) {
        return PYTHEUS_REDIS__NONE;
    }
    for (i = 0; i < metric->num_bounds; i++) {
        if (pytheus_redis__same(metric->bounds[i], bound)) {
            return 2 + i;
        }
    }
    return bound > 0 && !pytheus_redis__is_finite(bound) ? metric->num_values - 1
                                                         : (size_t)PYTHEUS_REDIS__NONE;
}

/* Which value of a metric a key begins as, for a bucket the first one's; NONE: not one. */
static size_t pytheus_redis__value_of_key(const pytheus_redis__metric *metric, const char *key,
                                          size_t size) {
    size_t i;
    for (i = 0; i < metric->num_stored && i < 3; i++) {
        const pytheus_redis__bytes *begin = &metric->keys[i];
        if (size >= begin->used && memcmp(key, begin->at, begin->used) == 0) {
            return i;
        }
    }
    return PYTHEUS_REDIS__NONE;
}

/* The row and the value that a key stands for. NULL: none of this metric, or no memory. */
static pytheus_redis__row *pytheus_redis__row_of_key(pytheus_redis *redis,
                                                     pytheus_redis__metric *metric, const char *key,
                                                     size_t size, size_t *value) {
    const char *values[PYTHEUS_MAX_LABELS + 1], *more;
    pytheus_redis__bytes *plain = &redis->plain;
    size_t begin;
    bool is_base64;
    *value = pytheus_redis__value_of_key(metric, key, size);
    if (*value == PYTHEUS_REDIS__NONE) {
        return NULL;
    }
    begin = metric->keys[*value].used;
    more = pytheus_redis__more_of(metric, *value);
    pytheus_redis__clear(plain);
    is_base64 = pytheus_redis__read_base64(key + begin, size - begin, plain);
    redis->reading.no_memory |= plain->failed;
    if (!is_base64 || plain->failed || !plain->used ||
        !pytheus_redis__values_of_field(redis, metric, plain->at, plain->used, values, more)) {
        return NULL;
    }
    if (*value == 2) {
        *value = pytheus_redis__value_of_bound(metric, values[metric->num_labels]);
    }
    return *value == PYTHEUS_REDIS__NONE ? NULL : pytheus_redis__row_of(redis, metric, values);
}

/* What a key stands for. NULL: no memory. */
static pytheus_redis__spelling *pytheus_redis__spelling_of_key(pytheus_redis *redis,
                                                               pytheus_redis__metric *metric,
                                                               const char *key, size_t size) {
    pytheus_redis__spelling *known = pytheus_redis__meet_spelling(metric, key, size);
    pytheus_redis__row *row;
    size_t value = 0;
    if (!known) {
        row = pytheus_redis__row_of_key(redis, metric, key, size, &value);
        if (!redis->reading.no_memory) {
            known = pytheus_redis__add_spelling(redis, metric, key, size, row);
        }
        if (known) {
            known->value = value;
        }
    }
    if (known) {
        known->seen = redis->page;
    }
    return known;
}

static void pytheus_redis__take_key(pytheus_redis *redis, pytheus_redis__metric *metric,
                                    const char *key, size_t size) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__spelling *spelling = pytheus_redis__spelling_of_key(redis, metric, key, size);
    pytheus_redis__member *member;
    if (!spelling || !pytheus_redis__grow((void **)&reading->members, reading->num_members,
                                          &reading->members_room, sizeof *member)) {
        reading->no_memory = true;
    } else if (!spelling->row) {
        pytheus_redis__unreadable(redis, metric, "no series of this metric", key, size);
    } else {
        member = &reading->members[reading->num_members++];
        member->metric = metric;
        member->row = spelling->row;
        member->value = spelling->value;
        member->key = spelling->text;
        member->is_dead = false;
    }
}

/* Takes the sets of several metrics. */
static void pytheus_redis__take_keys(pytheus_redis *redis, const redisReadTask *task,
                                     const char *text, size_t size, long long n) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__metric *metric;
    (void)n;
    metric = reading->reads[redis->num_replies].metric;
    if (task->type == REDIS_REPLY_ERROR && !task->parent) {
        pytheus_redis__not_read(redis, metric, text, size);
    } else if (task->type == REDIS_REPLY_ARRAY && !task->parent) {
        metric->next_spelling = 0;
    } else if (task->type == REDIS_REPLY_STRING && task->parent) {
        pytheus_redis__take_key(redis, metric, text, size);
    }
}

static pytheus_err pytheus_redis__ask_for_keys(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_err err = PYTHEUS_OK;
    if (reading->num_reads) {
        err = pytheus_redis__exchange(redis, &redis->out, reading->num_reads,
                                      pytheus_redis__take_keys, deadline);
    }
    pytheus_redis__clear(&redis->out);
    reading->num_reads = 0;
    return err;
}

/* Takes the values of members, from reading->at on. */
static void pytheus_redis__take_value(pytheus_redis *redis, const redisReadTask *task,
                                      const char *text, size_t size, long long n) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__member *member;
    (void)n;
    if (task->parent || redis->num_replies >= reading->num_reads) {
        return;
    }
    member = &reading->members[reading->at + redis->num_replies];
    reading->row = member->row;
    if (task->type == REDIS_REPLY_STRING) {
        pytheus_redis__take_number(redis, member->metric, member->value, text, size);
    } else if (task->type == REDIS_REPLY_ERROR) {
        pytheus_redis__not_read(redis, member->metric, text, size);
    } else if (task->type == REDIS_REPLY_NIL) {
        member->is_dead = reading->has_dead = true;
    }
}

/* Takes keys that are gone off their sets: in one step with looking, because they may just have
   come back. */
static pytheus_err pytheus_redis__take_off(pytheus_redis *redis, int64_t deadline) {
    static const char script[] = "if redis.call('EXISTS', KEYS[2]) == 0 then "
                                 "redis.call('SREM', KEYS[1], KEYS[2]) end return 0";
    const pytheus_redis__reading *reading = &redis->reading;
    const char *words[5];
    size_t i, n = 0;
    words[0] = "EVAL";
    words[1] = script;
    words[2] = "2";
    for (i = reading->at; i < reading->at + reading->num_reads; i++) {
        if (reading->members[i].is_dead) {
            words[3] = reading->members[i].metric->group.at;
            words[4] = reading->members[i].key;
            pytheus_redis__command(&redis->out, words, 5);
            n++;
        }
    }
    return pytheus_redis__exchange(redis, &redis->out, n, pytheus_redis__take_nothing, deadline);
}

/* Those members of whom num_reads begin at reading->at. */
static pytheus_err pytheus_redis__read_members(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__reading *reading = &redis->reading;
    const pytheus_redis__member *member = reading->members + reading->at, *end;
    size_t num_replies = reading->num_reads;
    char seconds[24];
    pytheus_err err;
    *pytheus_redis__put_integer(seconds, redis->expire_seconds) = '\0';
    end = member + reading->num_reads;
    for (; member < end; member++) {
        pytheus_redis__command_2(&redis->out, "GET", member->key);
    }
    for (member = reading->members + reading->at; redis->expire_seconds > 0 && member < end;
         member++) {
        if (member->metric->across == PYTHEUS_SHARED && !(member->metric->expire_seconds > 0)) {
            pytheus_redis__command_3(&redis->out, "EXPIRE", member->key, seconds);
            num_replies++;
        }
    }
    reading->has_dead = false;
    err = pytheus_redis__exchange(redis, &redis->out, num_replies, pytheus_redis__take_value,
                                  deadline);
    pytheus_redis__clear(&redis->out);
    if (!err && reading->has_dead) {
        err = pytheus_redis__take_off(redis, deadline);
        pytheus_redis__clear(&redis->out);
    }
    return err;
}

static pytheus_err pytheus_redis__read_groups(pytheus_redis *redis, int64_t deadline) {
    pytheus_redis__reading *reading = &redis->reading;
    pytheus_redis__metric *metric = NULL;
    pytheus_err err = PYTHEUS_OK;
    pytheus_redis__clear(&redis->out);
    reading->num_reads = reading->num_members = 0;
    while (!err && (metric = pytheus_redis__next_current(redis, metric)) != NULL) {
        if (!pytheus_redis__stays(metric)) {
            reading->reads[reading->num_reads++].metric = metric;
            pytheus_redis__command_2(&redis->out, "SMEMBERS", metric->group.at);
        }
        if (reading->num_reads == PYTHEUS_REDIS__MOST_READS) {
            err = pytheus_redis__ask_for_keys(redis, deadline);
        }
    }
    err = err ? err : pytheus_redis__ask_for_keys(redis, deadline);
    for (reading->at = 0; !err && reading->at < reading->num_members;
         reading->at += reading->num_reads) {
        size_t left = reading->num_members - reading->at;
        reading->num_reads =
            left < PYTHEUS_REDIS__MOST_COMMANDS ? left : (size_t)PYTHEUS_REDIS__MOST_COMMANDS;
        err = pytheus_redis__read_members(redis, deadline);
    }
    if (!err && reading->is_refused) {
        err = pytheus_redis__lost(redis, redis->refusal);
    }
    return !err && reading->no_memory ? pytheus_redis__no_memory("page") : err;
}

/* ==== LAYOUTS ==== */

static const char *pytheus_redis__no_objection(const pytheus_series_desc *desc) {
    (void)desc;
    return NULL;
}

static const pytheus_redis__layout pytheus_redis__layouts[] = {
    {"pytheus", "pytheus:gauge_index", PYTHEUS_REDIS__EXPIRE_SECONDS, true, true,
     pytheus_redis__no_objection, pytheus_redis__make_keys, pytheus_redis__make_field,
     pytheus_redis__change_field, pytheus_redis__set_own_field, pytheus_redis__remove_field,
     pytheus_redis__ask_field, pytheus_redis__read_hashes, pytheus_redis__end_hash},
    {"prometheus_redis_client", "GLOBAL_GAUGE_INDEX", -1, false, false,
     pytheus_redis__group_objection, pytheus_redis__make_group, pytheus_redis__make_sorted_field,
     pytheus_redis__change_key, pytheus_redis__set_own_key, pytheus_redis__remove_key,
     pytheus_redis__ask_key, pytheus_redis__read_groups, pytheus_redis__end_own_keys}};

/* The one of that name; NULL: there is none. */
static const pytheus_redis__layout *pytheus_redis__layout_of(const char *name) {
    size_t i;
    for (i = 0; i < sizeof pytheus_redis__layouts / sizeof *pytheus_redis__layouts; i++) {
        if (strcmp(pytheus_redis__layouts[i].name, name) == 0) {
            return &pytheus_redis__layouts[i];
        }
    }
    return NULL;
}

/* ==== MAKING A BACKEND ==== */

static void pytheus_redis__free(pytheus_redis *redis) {
    pytheus_redis__disconnect(redis);
    while (redis->first_series) {
        pytheus_redis__series *series = redis->first_series;
        redis->first_series = series->next;
        PYTHEUS_REDIS_FREE(series);
    }
    while (redis->slots) {
        pytheus_redis__slot *slot = redis->slots;
        redis->slots = slot->next;
        PYTHEUS_REDIS_FREE(slot);
    }
    while (redis->metrics) {
        pytheus_redis__metric *metric = redis->metrics;
        redis->metrics = metric->next;
        pytheus_redis__metric_free(metric);
    }
    PYTHEUS_REDIS_FREE(redis->transaction.changes);
    PYTHEUS_REDIS_FREE(redis->reading.processes);
    PYTHEUS_REDIS_FREE(redis->reading.gauges);
    PYTHEUS_REDIS_FREE(redis->reading.members);
    pytheus_redis__bytes_free(&redis->transaction.text);
    pytheus_redis__bytes_free(&redis->out);
    pytheus_redis__bytes_free(&redis->scratch);
    pytheus_redis__bytes_free(&redis->plain);
    pytheus_redis__bytes_free(&redis->key);
    PYTHEUS_REDIS_FREE(redis->texts);
    (void)pthread_cond_destroy(&redis->line_is_free);
    (void)pthread_cond_destroy(&redis->wake);
    (void)pthread_mutex_destroy(&redis->lock);
    PYTHEUS_REDIS_FREE(redis);
}

static void pytheus_redis__destroy(void *user) {
    pytheus_redis *redis = (pytheus_redis *)user;
    if (!pytheus_redis__claim(redis)) {
        return;
    }
    pytheus_redis__ask_to_end(redis);
    pytheus_redis__end(redis);
    pytheus_redis__unlink(redis);
    pytheus_redis__free(redis);
}

static pytheus_err pytheus_redis__metric_open(void *user, const pytheus_series_desc *desc) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__metric *metric;
    const char *objection = redis->layout->objection(desc);
    if (objection) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "redis: %.100s: %s", desc->metric, objection);
    }
    if (redis->write_through && desc->across != PYTHEUS_SHARED) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND,
                            "redis: %.100s: with write_through a gauge is one for all processes",
                            desc->metric);
    }
    metric = pytheus_redis__metric_of(redis, desc);
    if (!metric) {
        return pytheus_redis__no_memory(desc->metric);
    }
    pytheus_redis__replace(redis, metric);
    return redis->write_through && pytheus_redis__stays(metric)
               ? pytheus_fail(PYTHEUS_ERR_BACKEND,
                              "redis: %.100s: with write_through there are no infos and statesets",
                              desc->metric)
               : PYTHEUS_OK;
}

static void pytheus_redis__fill_backend(pytheus_redis *redis, pytheus_backend *out) {
    memset((void *)out, 0, sizeof *out);
    out->name = "redis";
    out->user = redis;
    out->metric_open = pytheus_redis__metric_open;
    if (redis->write_through) {
        out->cell_open = pytheus_redis__cell_open;
        out->inc = pytheus_redis__cell_inc;
        out->set = pytheus_redis__cell_set;
        out->get = pytheus_redis__cell_get;
        out->observe = pytheus_redis__observe;
        out->cell_remove = pytheus_redis__cell_remove;
        out->cell_close = pytheus_redis__cell_close;
    } else {
        out->words_open = pytheus_redis__words_open;
        out->words_remove = pytheus_redis__words_remove;
        out->words_close = pytheus_redis__words_close;
    }
    out->generate = pytheus_redis__generate;
    out->flush = pytheus_redis__flush;
    out->forked = pytheus_redis__forked;
    out->destroy = pytheus_redis__destroy;
}

/* -- the URL -- */

static pytheus_err pytheus_redis__bad(const char *what, const char *value) {
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: %s: \"%.100s\"", what, value);
}

static int pytheus_redis__hex(char c) {
    return c >= '0' && c <= '9'                     ? c - '0'
           : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                    : -1;
}

/* %40 becomes @, in place. false: there is a NUL in it. */
static bool pytheus_redis__unescape(char *text) {
    char *out = text;
    for (; *text; text++) {
        if (*text == '%' && pytheus_redis__hex(text[1]) >= 0 && pytheus_redis__hex(text[2]) >= 0) {
            *out = (char)(pytheus_redis__hex(text[1]) * 16 + pytheus_redis__hex(text[2]));
            text += 2;
            if (!*out++) {
                return false;
            }
        } else {
            *out++ = *text;
        }
    }
    *out = '\0';
    return true;
}

/* All digits, up to most; -1: not so. */
static int pytheus_redis__small_number(const char *text, int most) {
    int n = 0;
    if (!*text) {
        return -1;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || n > most) {
            return -1;
        }
        n = n * 10 + (*text - '0');
    }
    return n <= most ? n : -1;
}

/* A url is not told: there may be a password anywhere in it. */
static pytheus_err pytheus_redis__bad_url(const char *why) {
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: the url %s", why);
}

static pytheus_err pytheus_redis__take_text(const char **member, char *text) {
    if (!pytheus_redis__unescape(text)) {
        return pytheus_redis__bad_url("has %00 in it");
    }
    if (*text && !*member) {
        *member = text;
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus_redis__take_db(pytheus_redis_desc *desc, const char *text) {
    int n = pytheus_redis__small_number(text, 1000000);
    if (n < 0) {
        return pytheus_redis__bad_url("has no number of a database behind the server");
    }
    desc->db = desc->db ? desc->db : n;
    return PYTHEUS_OK;
}

/* user:password@ at the begin of *rest, up to the last @ before a path. */
static pytheus_err pytheus_redis__read_user(pytheus_redis_desc *desc, char **rest) {
    char *user = *rest, *at = user + strcspn(user, "/?#"), *colon;
    pytheus_err err = PYTHEUS_OK;
    while (at > user && *at != '@') {
        at--;
    }
    if (*at != '@') {
        return PYTHEUS_OK;
    }
    *at = '\0';
    *rest = at + 1;
    colon = strchr(user, ':');
    if (colon) {
        *colon = '\0';
        err = pytheus_redis__take_text(&desc->password, colon + 1);
    }
    return err ? err : pytheus_redis__take_text(&desc->username, user);
}

/* db=1&username=app&password=secret, as redis-py has it. */
static pytheus_err pytheus_redis__read_query(pytheus_redis_desc *desc, char *query) {
    pytheus_err err = PYTHEUS_OK;
    while (!err && *query) {
        char *next = query + strcspn(query, "&"), *value;
        next += *next ? (*next = '\0', 1) : 0;
        value = query + strcspn(query, "=");
        value += *value ? (*value = '\0', 1) : 0;
        err = strcmp(query, "db") == 0         ? pytheus_redis__take_db(desc, value)
              : strcmp(query, "username") == 0 ? pytheus_redis__take_text(&desc->username, value)
              : strcmp(query, "password") == 0
                  ? pytheus_redis__take_text(&desc->password, value)
                  : pytheus_redis__bad_url("asks for more than db, username and password");
        query = next;
    }
    return err;
}

/* host:port, host, [::1]:port */
static pytheus_err pytheus_redis__read_host(pytheus_redis_desc *desc, char *host) {
    char *port = strrchr(host, ':');
    if (*host == '[' && strchr(host, ']')) { /* an IPv6 address */
        char *end = strchr(host, ']');
        port = end[1] == ':' ? end + 1 : NULL;
        *end = '\0';
        host++;
    }
    if (port) {
        int n = pytheus_redis__small_number(port + 1, 65535);
        if (n <= 0) {
            return pytheus_redis__bad_url("has no port behind the : (and / in a password is %2F)");
        }
        *port = '\0';
        desc->port = desc->port ? desc->port : n;
    }
    return pytheus_redis__take_text(&desc->host, host);
}

static pytheus_err pytheus_redis__read_place(pytheus_redis_desc *desc, char *rest) {
    char *path = rest + strcspn(rest, "/");
    pytheus_err err;
    if (*path) {
        *path++ = '\0';
    }
    err = pytheus_redis__read_host(desc, rest);
    return err || !*path ? err : pytheus_redis__take_db(desc, path);
}

/* Cuts the copy of the url into what it says; what else was given goes before it. */
static pytheus_err pytheus_redis__read_url(pytheus_redis_desc *desc, char *url) {
    char *rest = strstr(url, "://"), *query;
    pytheus_err err;
    if (!rest) {
        return pytheus_redis__bad_url("has no ://");
    }
    *rest = '\0';
    rest += 3;
    if (strcmp(url, "redis") != 0 && strcmp(url, "rediss") != 0 && strcmp(url, "unix") != 0) {
        return pytheus_redis__bad_url("begins with none of redis://, rediss:// and unix://");
    }
    desc->tls = desc->tls || strcmp(url, "rediss") == 0;
    err = pytheus_redis__read_user(desc, &rest);
    query = rest + strcspn(rest, "?");
    if (*query) {
        *query++ = '\0';
    }
    err = err ? err : pytheus_redis__read_query(desc, query);
    if (err) {
        return err;
    }
    return strcmp(url, "unix") == 0 ? pytheus_redis__take_text(&desc->unix_socket_path, rest)
                                    : pytheus_redis__read_place(desc, rest);
}

/* -- the description -- */

static const char *pytheus_redis__text_or(const char *text, const char *otherwise) {
    return text && *text ? text : otherwise;
}

/* Copies the description's strings into one piece of memory. */
static bool pytheus_redis__keep_texts(pytheus_redis *redis, const pytheus_redis_desc *desc) {
    static const char sequence[] = "pytheus:flush:00000000000000000000000000000000";
    const char *texts[9];
    char **places[9], *at;
    size_t i, size = sizeof sequence + 1;
    texts[0] = pytheus_redis__text_or(desc->host, "localhost");
    texts[1] = pytheus_redis__text_or(desc->unix_socket_path, NULL);
    texts[2] = pytheus_redis__text_or(desc->username, NULL);
    texts[3] = pytheus_redis__text_or(desc->password, NULL);
    texts[4] = pytheus_redis__text_or(desc->key_prefix, NULL);
    texts[5] = pytheus_redis__text_or(desc->tls_ca, NULL);
    texts[6] = pytheus_redis__text_or(desc->tls_certificate, NULL);
    texts[7] = pytheus_redis__text_or(desc->tls_key, NULL);
    texts[8] = pytheus_redis__text_or(desc->tls_server_name, texts[0]);
    places[0] = &redis->host;
    places[1] = &redis->unix_socket_path;
    places[2] = &redis->username;
    places[3] = &redis->password;
    places[4] = &redis->prefix;
    places[5] = &redis->tls_ca;
    places[6] = &redis->tls_certificate;
    places[7] = &redis->tls_key;
    places[8] = &redis->tls_server_name;
    for (i = 0; i < 9; i++) {
        size += texts[i] ? strlen(texts[i]) + 1 : 0;
    }
    size += texts[4] ? strlen(texts[4]) : 0;
    redis->texts = at = (char *)PYTHEUS_REDIS_REALLOC(NULL, size);
    for (i = 0; at && i < 9; i++) {
        if (texts[i]) {
            size = strlen(texts[i]) + 1;
            *places[i] = (char *)memcpy(at, texts[i], size);
            at += size;
        }
    }
    if (at) {
        redis->sequence_key = at;
        if (redis->prefix) {
            at += sprintf(at, "%s-", redis->prefix);
        }
        memcpy(at, sequence, sizeof sequence);
    }
    return redis->texts != NULL;
}

static bool pytheus_redis__is_given(const char *text) {
    return text && *text;
}

static pytheus_err pytheus_redis__check_tls(const pytheus_redis_desc *desc) {
    bool has_certificate = pytheus_redis__is_given(desc->tls_certificate);
    if (!desc->tls && (has_certificate || pytheus_redis__is_given(desc->tls_ca) ||
                       pytheus_redis__is_given(desc->tls_key) ||
                       pytheus_redis__is_given(desc->tls_server_name))) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG,
                            "redis: tls_ca, tls_certificate, tls_key and "
                            "tls_server_name are for tls or a url of rediss://");
    }
    if (desc->tls && pytheus_redis__is_given(desc->unix_socket_path)) {
        return pytheus_redis__bad("no TLS over a unix socket", desc->unix_socket_path);
    }
    if (!has_certificate && pytheus_redis__is_given(desc->tls_key)) {
        return pytheus_redis__bad("no tls_certificate for the tls_key", desc->tls_key);
    }
#ifndef PYTHEUS_REDIS_TLS
    if (desc->tls) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG,
                            "redis: this program has no TLS: define PYTHEUS_REDIS_TLS before "
                            "pytheus_redis.h, and link with -lssl -lcrypto");
    }
#endif
    return PYTHEUS_OK;
}

static pytheus_err pytheus_redis__check(const pytheus_redis_desc *desc) {
    const char *layout = pytheus_redis__text_or(desc->layout, "pytheus");
    if (!pytheus_redis__layout_of(layout)) {
        return pytheus_redis__bad("no such layout", layout);
    }
    if (desc->port < 0 || desc->port > 65535) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: port is a number from 1 to 65535");
    }
    if (desc->db < 0 || desc->connect_timeout_ms < 0 || desc->command_timeout_ms < 0 ||
        desc->flush_interval_ms < 0 || desc->expire_key_time < -1) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: db, timeouts, flush_interval_ms and "
                                                "expire_key_time are no negative numbers");
    }
    if (desc->username && *desc->username && !(desc->password && *desc->password)) {
        return pytheus_redis__bad("no password for the user", desc->username);
    }
    return pytheus_redis__check_tls(desc);
}

static int pytheus_redis__number_or(int n, int otherwise) {
    return n ? n : otherwise;
}

/* NULL: no memory. */
static pytheus_redis *pytheus_redis__new(const pytheus_redis_desc *desc) {
    pytheus_redis *redis = (pytheus_redis *)PYTHEUS_REDIS_REALLOC(NULL, sizeof *redis);
    if (!redis) {
        return NULL;
    }
    memset((void *)redis, 0, sizeof *redis);
    if (!pytheus_redis__keep_texts(redis, desc)) {
        PYTHEUS_REDIS_FREE(redis);
        return NULL;
    }
    redis->has_tls = desc->tls;
    redis->port = pytheus_redis__number_or(desc->port, PYTHEUS_REDIS__PORT);
    redis->db = desc->db;
    redis->connect_ms =
        pytheus_redis__number_or(desc->connect_timeout_ms, PYTHEUS_REDIS__CONNECT_MS);
    redis->command_ms =
        pytheus_redis__number_or(desc->command_timeout_ms, PYTHEUS_REDIS__COMMAND_MS);
    redis->flush_ms = pytheus_redis__number_or(desc->flush_interval_ms, PYTHEUS_REDIS__FLUSH_MS);
    redis->layout = pytheus_redis__layout_of(pytheus_redis__text_or(desc->layout, "pytheus"));
    redis->expire_seconds =
        pytheus_redis__number_or(desc->expire_key_time, redis->layout->expire_seconds);
    redis->write_through = desc->write_through;
    redis->float_bounds = desc->float_bounds;
    redis->serve_own = desc->serve_own;
    redis->logger = desc->logger;
    redis->last_metric = &redis->metrics;
    redis->last_flush = pytheus_redis__now();
    (void)pthread_mutex_init(&redis->lock, NULL);
    pytheus_redis__condition_init(&redis->line_is_free);
    pytheus_redis__condition_init(&redis->wake);
    pytheus_redis__new_identity(redis);
    return redis;
}

/* Whether Redis takes us at all. That it can't be reached is only told: it may come. */
static pytheus_err pytheus_redis__try_out(pytheus_redis *redis) {
    int64_t deadline = pytheus_redis__deadline(redis);
    pytheus_err err;
    (void)pytheus_redis__take_line(redis, deadline);
    err = pytheus_redis__be_connected(redis, deadline);
    if (err && err != PYTHEUS_ERR_CONFIG) {
        (void)pytheus_redis__tell(redis, "");
        err = PYTHEUS_OK;
    }
    pytheus_redis__disconnect(redis); /* the program may fork before it counts */
    pytheus_redis__free_line(redis);
    return err;
}

static pytheus_err pytheus_redis__backend_of(const pytheus_redis_desc *desc, pytheus_backend *out) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pytheus_redis *redis;
    pytheus_err err = pytheus_redis__check(desc);
    if (err) {
        return err;
    }
    (void)pthread_once(&once, pytheus_redis__prepare_process);
    redis = pytheus_redis__new(desc);
    if (!redis) {
        return pytheus_redis__no_memory("backend");
    }
    err = pytheus_redis__try_out(redis);
    if (err) {
        pytheus_redis__free(redis);
        return err;
    }
    pytheus_redis__link(redis);
    pytheus_redis__fill_backend(redis, out);
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_redis_backend(const pytheus_redis_desc *desc,
                                              pytheus_backend *out) {
    pytheus_redis_desc all = PYTHEUS__EMPTY;
    char *url = NULL;
    pytheus_err err = PYTHEUS_OK;
    memset((void *)&all, 0, sizeof all);
    if (desc) {
        all = *desc;
    }
    if (all.url && *all.url) {
        url = pytheus_redis__copy(all.url);
        err = url ? pytheus_redis__read_url(&all, url) : pytheus_redis__no_memory("url");
    }
    if (!err) {
        err = pytheus_redis__backend_of(&all, out);
    }
    PYTHEUS_REDIS_FREE(url);
    return err;
}

/* A late call may reach the words of another series: under another mask it says nothing. */
PYTHEUS_API pytheus_err pytheus_redis_gauge_set_for(pytheus_gauge gauge, double v, double seconds) {
    const pytheus_backend *backend = NULL;
    pytheus_words words = PYTHEUS__EMPTY;
    pytheus_err err;
    uint64_t ms = seconds < 1e12 ? (uint64_t)(seconds * 1000) + 1 : UINT64_C(1000000000000000);
    if (!(seconds > 0)) {
        return pytheus_fail(PYTHEUS_ERR_VALUE, "redis: a gauge is set for seconds above 0");
    }
    memset((void *)&words, 0, sizeof words);
    if (!pytheus_view_words(gauge.view, &backend, &words) &&
        backend->flush == pytheus_redis__flush) {
        uint64_t sets = (PYTHEUS_REDIS__LOAD(words.sets) ^ words.mask) + 1;
        PYTHEUS_REDIS__STORE(words.sets + (PYTHEUS_REDIS__LASTS - PYTHEUS_REDIS__SETS),
                             ms ^ words.mask);
        PYTHEUS_REDIS__STORE(words.sets + (PYTHEUS_REDIS__LASTS_SET - PYTHEUS_REDIS__SETS),
                             sets ^ words.mask);
    }
    pytheus_redis__lasts_here = ms;
    err = pytheus_gauge_set(gauge, v);
    pytheus_redis__lasts_here = 0;
    return err;
}

/* -- the class -- */

static int pytheus_redis__config_int(const pytheus_config *config, const char *key, int otherwise,
                                     pytheus_err *err) {
    double v = pytheus_config_number(config, key, otherwise);
    if (!(v >= 0 && v <= 2147483647) || !pytheus_redis__same((double)(int)v, v)) {
        *err = pytheus_fail(PYTHEUS_ERR_CONFIG, "redis: \"%s\" is a whole number from 0 up", key);
        return otherwise;
    }
    return (int)v;
}

static pytheus_err pytheus_redis__create(const pytheus_config *config, pytheus_backend *out) {
    pytheus_redis_desc desc = PYTHEUS__EMPTY;
    pytheus_err err = PYTHEUS_OK;
    memset((void *)&desc, 0, sizeof desc);
    desc.url = pytheus_config_string(config, "url", NULL);
    desc.host = pytheus_config_string(config, "host", NULL);
    desc.port = pytheus_redis__config_int(config, "port", 0, &err);
    desc.unix_socket_path = pytheus_config_string(config, "unix_socket_path", NULL);
    desc.db = pytheus_redis__config_int(config, "db", 0, &err);
    desc.username = pytheus_config_string(config, "username", NULL);
    desc.password = pytheus_config_string(config, "password", NULL);
    desc.tls = pytheus_config_bool(config, "tls", false);
    desc.tls_ca = pytheus_config_string(config, "tls_ca", NULL);
    desc.tls_certificate = pytheus_config_string(config, "tls_certificate", NULL);
    desc.tls_key = pytheus_config_string(config, "tls_key", NULL);
    desc.tls_server_name = pytheus_config_string(config, "tls_server_name", NULL);
    desc.connect_timeout_ms = pytheus_redis__config_int(config, "connect_timeout_ms", 0, &err);
    desc.command_timeout_ms = pytheus_redis__config_int(config, "command_timeout_ms", 0, &err);
    desc.flush_interval_ms = pytheus_redis__config_int(config, "flush_interval_ms", 0, &err);
    desc.write_through = pytheus_config_bool(config, "write_through", false);
    desc.expire_key_time = pytheus_redis__config_int(config, "expire_key_time", 0, &err);
    if (!(pytheus_config_number(config, "expire_key_time", 1) > 0)) {
        desc.expire_key_time = -1; /* 0 is never, as in Python */
    }
    desc.key_prefix = pytheus_config_string(config, "key_prefix", NULL);
    desc.layout = pytheus_config_string(config, "layout", NULL);
    desc.float_bounds = pytheus_config_bool(config, "float_bounds", false);
    desc.serve_own = pytheus_config_bool(config, "serve_own", false);
    pytheus_config_logger(config, &desc.logger);
    err = err ? err : pytheus_config_check(config);
    return err ? err : pytheus_redis_backend(&desc, out);
}

static const char *const pytheus_redis__names[] = {
    "redis", "pytheus.backends.redis.MultiProcessRedisBackend",
    "pytheus.backends.MultipleProcessRedisBackend", NULL};
static const pytheus_backend_class pytheus_redis__class = {pytheus_redis__names,
                                                           pytheus_redis__create};
PYTHEUS_ANNOUNCE(pytheus_redis__class);

#endif /* PYTHEUS_DISABLE */
#endif /* PYTHEUS_REDIS_IMPLEMENTATION */
