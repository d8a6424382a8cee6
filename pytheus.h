/* pytheus.h - v0.3.0 - Prometheus metrics for C and C++, in one header

   Do this:

       #define PYTHEUS_IMPLEMENTATION
       #include "pytheus.h"

   in *one* C or C++ file, which makes the implementation, and include it plainly everywhere else.
   Needs stb_ds.h to compile (Debian, Ubuntu: libstb-dev), nothing at run time but -pthread.
   This comment is the manual; the licence is in LICENSE.

   CONTENTS

       1. A program                    8. Registries and collectors
       2. Metrics                      9. Backends
       3. Labels and views            10. Memory
       4. Removal                     11. Threads, signals, fork
       5. Timers, progress, errors    12. Options
       6. Errors and the logger       13. Platforms
       7. Text


   1. A PROGRAM

       #define PYTHEUS_IMPLEMENTATION
       #include "pytheus.h"

       int main(void) {
           pytheus_counter requests = pytheus_counter_new(&(pytheus_desc){
               .name = "http_requests_total",
               .help = "Requests handled.",
               .required_labels = {"method", "code"},
               .default_labels = {{"code", "200"}},
           });
           pytheus_counter get = pytheus_counter_labels(requests, "method", "GET");

           pytheus_counter_inc(get);
           pytheus_counter_add(pytheus_counter_labels(get, "code", "404"), 2);
           return pytheus_write_stream(pytheus_default(), PYTHEUS_TEXT, stdout);
       }

   prints

       # HELP http_requests_total Requests handled.
       # TYPE http_requests_total counter
       http_requests_total{method="GET",code="200"} 1
       http_requests_total{method="GET",code="404"} 2

   C++ has no compound literals. There the functions that take a description are overloaded: C++20
   writes pytheus_counter_new({.name = "x_total"}), C++11 fills a variable and gives that.


   2. METRICS

   A counter only goes up (pytheus_counter_inc, _add; _set mirrors a total that is counted
   elsewhere). A gauge takes any value (_set, _add, _sub, _inc, _dec, _set_to_current_time). A
   histogram counts observations in buckets and adds them up (_observe); a summary only counts and
   adds up.

   An info is what its labels say, each of its series 1 on the page (pytheus_info_labels makes one,
   pytheus_view_remove takes it back); its name ends with _info there, whether that was given or
   not. A stateset says which of its states are on (.states, up to 32; pytheus_stateset_set, _switch
   to one alone). An unknown is a number of which nobody says whether it only goes up
   (pytheus_unknown_set).

   An exemplar is one thing that was counted, a request's trace, say, shown beside the counter or
   bucket that counted it, in OpenMetrics:

       pytheus_histogram_observe_exemplar(latency, seconds, "trace_id", id);
       pytheus_counter_add_exemplar(errors, 1, "trace_id", id);

   The name is [a-zA-Z_:][a-zA-Z0-9_:]*, a label's name [a-zA-Z_][a-zA-Z0-9_]*, not beginning with
   two underscores; "le" is the histogram's own, "quantile" the summary's. Names that begin with
   pytheus_ are the library's. A unit, where it is given, must end the name (before _total).

   Bounds of buckets must increase; +Inf is implied. Without any they are .005 .01 .025 .05 .1 .25
   .5 1 2.5 5 10. pytheus_buckets_linear, _exponential and _range compute some.

   The name alone identifies a metric in its registry. Defining it again in the same way (type,
   labels, defaults, buckets) gives the same metric, so that several files can do it; in another
   way it is PYTHEUS_ERR_DUPLICATE, and so is a name whose samples would have the name of another
   metric's: counters also claim the name with _total and _created at its end and without, infos
   with _info and without, histograms _bucket, _sum, _count and _created, summaries the last three.

   A metric without labels, or with defaults for all, is on the page from the start, at 0.

   Whole amounts of a counter are added as integers, which is exact and one atomic instruction,
   and fractions as doubles; the value is their sum. A set therefore reads back exactly when
   nothing but sets and whole numbers were there; after whole amounts, a set to a fraction may be
   off in the last digit of the larger one.

   NaN is refused by all but gauges: one NaN would spoil a sum for ever. An infinite observation
   counts in its bucket, and makes the sum infinite.


   3. LABELS AND VIEWS

   A handle is a view of a metric: the metric itself, the metric with some labels set (partial), or
   with all of them (complete). Only complete views can be counted on; a label with a default need
   not be set. Later labels override earlier ones and defaults:

       pytheus_counter get  = pytheus_counter_labels(requests, "method", "GET");    complete
       pytheus_counter miss = pytheus_counter_labels(get, "code", "404");           another series
       pytheus_counter both = pytheus_counter_labels(requests, "code", "404", "method", "GET");

   miss and both are equal: a series is its values in declared order, however they came together.
   A handle is a value of two words. Copy it, keep it in a static, compare it with
   pytheus_view_equal; there is nothing to free. Keeping a complete view saves the lookup: an
   increment is then one atomic add. PYTHEUS_AT keeps it at the call site, for a metric and labels
   that are always the same there:

       pytheus_counter_inc(PYTHEUS_AT(counter, requests, "method", "GET", "code", "404"));

   Arguments that are no strings, or an odd number of them, do not compile. For labels in an array
   there is pytheus_counter_view, and the like.

   Values may be any bytes but NUL. What is not UTF-8 is replaced by U+FFFD when the view is made;
   the series is that of the mended value. Strings are copied.

   max_series bounds the views of a metric (10,000 unless said otherwise; partial ones count too).
   Beyond it labels() gives the overflow series, whose every value is "__overflow__"; such calls
   are counted in pytheus_overflow_calls_total{metric="..."}, which is on the page once it is not
   0.

   {0} (C++: {}) is the nothing handle. Functions that fail return it, operations on it do nothing
   and say PYTHEUS_ERR_NOTHING: chains need no checks.


   4. REMOVAL

   pytheus_view_remove(v.view) removes the series of a complete view, and a partial view with all
   that have its labels; pytheus_view_clear everything of the metric. A series that exists from
   the start is set to 0 instead. The metric's own handle stays good.

   A handle never dangles. After the removal every operation on it is PYTHEUS_ERR_REMOVED and
   touches nothing, for ever, also when the same labels are made again (that is another view) and
   when a thread was in the middle of an operation. Memory of removed series is used again, so
   churn does not grow the process. Only pytheus_registry_free ends the handles themselves: none of
   its metrics' may be used after it.


   5. TIMERS, PROGRESS, ERRORS COUNTED

       PYTHEUS_TIME(latency) { work(); }           the block, however it is left
       PYTHEUS_TIME_SCOPE(latency);                the rest of the scope
       PYTHEUS_TRACK_INPROGRESS(active) { ... }    +1 now, -1 at the end; likewise _SCOPE

       pytheus_timer t = pytheus_timer_start(latency.view);
       pytheus_timer_to(&t, pytheus_histogram_labels(latency, "code", code).view);
       double seconds = pytheus_timer_stop(&t);

   A timer observes seconds in a histogram or summary and sets a gauge. It is plain data: stop it
   in another function or thread, cancel it, choose its labels at the end. The block forms are a
   for loop: break and continue leave the block, not a loop around it, and as the last statement
   of a function that returns a value they draw a warning: use _SCOPE there. longjmp skips the
   end.

       int fd = PYTHEUS_COUNT_ERRORS(failures, open(path, O_RDONLY));    < 0 or NULL counts
       PYTHEUS_COUNT_IF(failures, send_all(s), _result != size)
       PYTHEUS_COUNT_ERRNO(timeouts, connect(s, a, n), ETIMEDOUT, EHOSTUNREACH)

   These yield the value. C++ has PYTHEUS_COUNT_EXCEPTIONS(failures) { ... } and
   pytheus::count_exceptions<std::bad_alloc, my_error>(failures, [&] { return f(); }). Without GNU
   C or C++ use pytheus_count_int and pytheus_count_ptr; the block forms there lose early exits,
   and _SCOPE does not compile.


   6. ERRORS AND THE LOGGER

   Every function that can fail returns a pytheus_err (0, or negative) or a nothing handle.
   pytheus_last_error() is a sentence with the particulars:

       http_requests_total: no label "metod" (has: method, code)

   The registry's logger gets it, once per metric and error; without one it is a line on stderr.
   An operation on the nothing handle has no registry to log to, and only returns its error, also
   where a definition was forgotten.
   Nothing aborts, exits or asserts on what comes from outside. Out of memory is an error like any
   other: nothing has changed, nothing is lost, and the next call may succeed.


   7. TEXT

   pytheus_write gives the page to a sink in pieces of up to 64 KB, pytheus_write_stream to a FILE,
   pytheus_write_file to a file that is replaced as a whole (for node_exporter's textfile
   collector), pytheus_generate to a string. pytheus_write_named gives some metrics only. A server
   asks pytheus_negotiate(accept) for the format, and serves the page with the type
   pytheus_content_type(format).

   PYTHEUS_TEXT is Prometheus' text format 0.0.4; an info or stateset is a gauge in it, an unknown
   untyped. PYTHEUS_OPENMETRICS is OpenMetrics 1.0.0. Its counters have names without _total and
   samples with it, however they were defined; so Prometheus, which asks for it by itself, stores a
   counter "requests" as requests_total. A sum that has fallen below 0 is not in it, because it
   would be refused with the whole page: of a histogram then also the count is left out, and always
   where a bound is below 0. Bounds are le="1" in one and le="1.0" in the other, which Prometheus
   before 3.0 takes for two series. pytheus_show_created adds when each series began.

   Metrics come in the order of their definition, series in that of their making, labels as they
   were declared, "le" last. Numbers are the shortest text that reads back as the same double, in
   any locale. _count always equals the bucket of +Inf. What is made while a page is being written
   is on the next one. When an error comes after the first byte, what the sink got is not a page:
   write_file leaves the old file, pytheus_generate gives NULL.

   pytheus_lint tells what `promtool check metrics` would have against the names on the page, in
   its words and without it, for a program's own tests:

       requests counter metrics should have "_total" suffix
       waits_milliseconds use base unit "seconds" instead of "milliseconds"


   8. REGISTRIES AND COLLECTORS

   pytheus_default() needs no setting up; NULL means it everywhere but in pytheus_registry_free.
   pytheus_set_default makes another registry that one. pytheus_registry_new makes one of one's
   own, with a prefix for all names, a backend, an allocator, a logger, a clock; a description's
   registry member puts a metric there. pytheus_sample_value reads one sample back, for tests.

   pytheus_registry_add puts a metric on the page of another registry too, _remove takes it off
   one. Made with .unregistered it is on none.

   What nobody increments is read when the page is written. One value: pytheus_gauge_set_function,
   pytheus_counter_set_function. Whole families: a collector.

       static pytheus_err collect(void *user, pytheus_emitter *out) {
           pytheus_emit_family(out, &(pytheus_family){
               .type = PYTHEUS_GAUGE, .name = "queue_length", .help = "Waiting."
           });
           return pytheus_emit_sample(out, &(pytheus_sample){
               .pairs = (const char *[]){"queue", "mail"}, .num_strings = 2, .value = waiting(user)
           });
       }
       pytheus_registry_add_collector(NULL, &(pytheus_collector){"queues", collect, NULL, queues});

   It is run for every page, in the place of its registration, and once when it is registered: a
   name that is taken refuses it. A clash that comes later is left out, told and counted. What it
   returns but PYTHEUS_OK ends the page: a collector that rather leaves something out returns
   PYTHEUS_OK. It may emit metrics made with .unregistered (make them once, not each time: they
   live as long as their registry) or of another registry.


   9. BACKENDS

   Where values are kept. The program is the same: values are in the process until another backend
   is loaded, by the program or by its environment.

       PYTHEUS_BACKEND_CLASS=table PYTHEUS_BACKEND_CONFIG=table.json ./program
       pytheus_load_backend("table", "{\"path\": \"/run/table\"}");

   Class and configuration are found apart: the argument, then the environment, then "single" and
   {}. pytheus_load_backend(NULL, NULL) therefore loads what the environment says, and so does the
   first use of the default registry; where that fails, its logger is told, and values are in the
   process. A metric stays in the backend that its registry had when it was made. Without a
   companion header there is one class, "single"; pytheus_file.h brings "file", pytheus_redis.h
   "redis".

   Two companions let processes share their metrics. pytheus_file.h: those of one machine, in one
   file in memory; what is counted is there at once, survives any process that is killed, and costs
   what it costs without. Choose it for the workers of a service. pytheus_redis.h: those of many
   machines, C and Python mixed, in one Redis; what is counted is sent every second, exactly once,
   so that a killed process takes its last second with it, and a page costs a round trip. Choose it
   where one page has to stand for several machines, or for processes that do not live long enough
   to be scraped.

   To write one, fill in a pytheus_backend. Its cells each keep one number, and four functions are
   enough (examples/custom_backend.c):

       cell_open(user, desc, &cell)    a new series has one for each of its values
       inc(user, cell, by)             never below 0 for counters; -1 takes an observation back
       set(user, cell, value)
       get(user, cell, &value)

   Give it to a registry (pytheus_registry_desc.backend), or a name to its class, so that it can be
   loaded:

       static const char *const names[] = {"table", NULL};
       static const pytheus_backend_class table = {names, table_create};
       PYTHEUS_ANNOUNCE(table);

   create() reads its configuration with pytheus_config_string, _number and _bool. A key that it
   does not ask for is an error that names the nearest, and so is a value of another type; what it
   does before it returns may be undone by destroy(), or calls pytheus_config_check first.

   The rules. All functions may be called by several threads at once, but for one cell not after
   cell_close, which comes when the last operation on it has ended. No lock of the library is held,
   so they may call it; but who removes series of a metric makes none of it from there, and who
   opens its last one within max_series gets the overflow series. An error that they return goes to
   whoever called the library and to the logger, with the sentence of pytheus_fail; nothing may have
   changed then. For a page all values are read before its first byte, so that a failure gives no
   page.

   Some things go better together: observe() takes an observation in one call (otherwise the count
   is undone when the sum fails), get_many() reads all values of a metric, generate() gives all
   samples of a page, also of series and metrics that only other processes have made. cell_remove()
   tells that a series is gone for good; cell_close() alone that this process has no more use for
   it.

   A backend of words keeps values in memory of its own, mapped from a file, say, where the library
   changes them itself, at the speed of its own. It has words_open() instead of the four functions;
   the layout is that of pytheus_words. A series that may be removed while somebody adds to it
   needs a mask when its words are used again, and where other processes remove, a life.

   Where processes share the words, discover() gives pytheus_discover, before a page, what others
   have made since the last one: it is then on this page too, with a metric that this process has
   not defined. Here generate() is for what can't be read from one series' words, like a gauge that
   is the sum of all processes': families that it emits are written instead of their words.
   Exemplars, and when series began, are of what is written from words or cells alone.

   A backend whose processes share no memory sends what has changed in its words, and generates the
   page from what all have sent. metric_open() tells it of metrics that have no series here yet;
   the word that sets points to, of values that were set and not added to.


   10. MEMORY

   A series of a counter with two labels takes about 190 bytes, one of a histogram with 11 buckets
   about 285, all included. inc, add, set, observe and timers never allocate, nor does labels() for
   a view that exists, up to 1 KB of values. All memory comes from the registry's allocator and goes
   back with pytheus_registry_free.


   11. THREADS, SIGNALS, FORK

   Everything may be called from any thread. Operations, and labels() for a view that exists, take
   no lock. New views, definitions and removals take the registry's one lock; a scrape takes it
   for 64 series at a time. It is never held while a sink, logger, collector, function or backend
   runs; only the allocator runs under it. pytheus_registry_free wants the registry to itself.

   A counter, histogram or summary on which threads get in each other's way is spread over more
   cells, up to 8 sets of them; the description's stripes member says otherwise. Sums stay exact.

   Async-signal-safe, on complete views that are not removed and whose values are in memory (in the
   process, or a backend's words), with values that are not refused:
   pytheus_counter_inc, _add, _set; pytheus_gauge_inc, _dec, _add, _sub, _set;
   pytheus_histogram_observe; pytheus_summary_observe; pytheus_view_equal, _observable, _get (where
   no series of the metric has a function); timers with the system's clock. All of these, and errors
   in them, keep errno. In a library that dlopen loads, what a thread does first to a series that is
   spread may reach malloc, through thread-local storage: where handlers do that, compile with
   -ftls-model=initial-exec, or give the metric .stripes = 1.

   Fork at any moment but in a signal handler, also with other threads running: the child has a
   whole copy of its own, and backends are told in it.


   12. OPTIONS

   Define in the file with PYTHEUS_IMPLEMENTATION:
   PYTHEUS_MALLOC(size), PYTHEUS_REALLOC(p, size), PYTHEUS_FREE(p)   all three, or malloc's
   PYTHEUS_STB_DS_H        where stb_ds.h is: "dir/stb_ds.h" or <dir/stb_ds.h>
   PYTHEUS_MAX_SERIES      the default of max_series: 10000
   PYTHEUS_NO_THREADS      no locks: the program has one thread, and tells its backends itself when
                           it forks

   Define for every file, or none:
   PYTHEUS_STATIC          all is private to the file; implies PYTHEUS_IMPLEMENTATION. Each such
                           file has a default registry of its own
   PYTHEUS_API             what stands before each function, e.g. an attribute for visibility
   PYTHEUS_DISABLE         every call compiles to nothing, and no implementation is made

   PYTHEUS_MAX_LABELS is 16 and can't be changed. A program may use stb_ds itself, in the same
   file or another, with its own implementation or none: the copy in here is private.


   13. PLATFORMS

   C99 or later and C++11 or later, with GCC or Clang: Linux on x86-64, i386 and aarch64 are
   tested; MinGW-w64 compiles. Atomics are the compiler's __atomic builtins on 64-bit words. Where
   the machine has no such instructions (older 32-bit ARM, MIPS and PowerPC) the compiler calls
   libatomic: link with -latomic; operations then take its locks, and are not async-signal-safe. A
   compiler without these builtins needs PYTHEUS_NO_THREADS. */

#ifdef PYTHEUS_STATIC
#ifndef PYTHEUS_IMPLEMENTATION
#define PYTHEUS_IMPLEMENTATION
#endif
#endif

#ifndef PYTHEUS_H
#define PYTHEUS_H

#define PYTHEUS_VERSION_MAJOR 0
#define PYTHEUS_VERSION_MINOR 3
#define PYTHEUS_VERSION_PATCH 0
#define PYTHEUS_VERSION "0.3.0"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h> /* FILE */
#ifdef __cplusplus
#include <exception>
#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif
#endif

/* ==== OPTIONS ==== */

#define PYTHEUS_MAX_LABELS 16
#define PYTHEUS_MAX_STATES 32

#ifndef PYTHEUS_MAX_SERIES
#define PYTHEUS_MAX_SERIES 10000
#endif

#if defined(__GNUC__)
#define PYTHEUS__UNUSED __attribute__((unused))
#define PYTHEUS__PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define PYTHEUS__UNUSED
#define PYTHEUS__PRINTF(text, first)
#endif

#ifndef PYTHEUS_API
#ifdef PYTHEUS_STATIC
#define PYTHEUS_API static PYTHEUS__UNUSED
#else
#define PYTHEUS_API extern
#endif
#endif

/* In C++14 and later a description that names only some members warns of none. */
#if defined(__cplusplus) && __cplusplus >= 201402L
#define PYTHEUS__ZERO = {}
#else
#define PYTHEUS__ZERO
#endif

/* All zero, also where members have initialisers, and without code that runs before main. */
#ifdef __cplusplus
#define PYTHEUS__EMPTY                                                                             \
    {}
#else
#define PYTHEUS__EMPTY                                                                             \
    { 0 }
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ==== PUBLIC TYPES ==== */

/* name, number, text */
#define PYTHEUS_ERRORS(X)                                                                          \
    X(NOTHING, -1, "there is nothing behind this handle, or no such series")                       \
    X(NOMEM, -2, "out of memory")                                                                  \
    X(NAME, -3, "not a valid name")                                                                \
    X(DUPLICATE, -4, "the name is taken")                                                          \
    X(LABEL, -5, "unknown, repeated or missing label")                                             \
    X(UNOBSERVABLE, -6, "labels are missing")                                                      \
    X(VALUE, -7, "not a value that this metric takes")                                             \
    X(BUCKETS, -8, "bucket bounds must be increasing numbers")                                     \
    X(TYPE, -9, "not for a metric of this type")                                                   \
    X(REMOVED, -10, "the series was removed")                                                      \
    X(BACKEND, -11, "the backend failed")                                                          \
    X(CONFIG, -12, "bad configuration")                                                            \
    X(IO, -13, "input or output failed")

typedef enum pytheus_err {
#define PYTHEUS__ERROR_NUMBER(name, number, text) PYTHEUS_ERR_##name = number,
    PYTHEUS_ERRORS(PYTHEUS__ERROR_NUMBER)
#undef PYTHEUS__ERROR_NUMBER
        PYTHEUS_OK = 0
} pytheus_err;

typedef enum pytheus_type {
    PYTHEUS_COUNTER = 1,
    PYTHEUS_GAUGE,
    PYTHEUS_INFO,
    PYTHEUS_STATESET,
    PYTHEUS_UNKNOWN,
    PYTHEUS_HISTOGRAM,
    PYTHEUS_SUMMARY
} pytheus_type;

typedef struct pytheus_registry pytheus_registry;

/* A metric seen through labels: the metric itself, some labels set, or all of them. A value: copy
   it, keep it, there is nothing to free. {0} is the nothing handle, on which every operation is
   PYTHEUS_ERR_NOTHING and does nothing. */
typedef struct pytheus_view {
    struct pytheus__node *node;
    uint64_t generation;
} pytheus_view;

typedef struct pytheus_counter {
    pytheus_view view;
} pytheus_counter;

typedef struct pytheus_gauge {
    pytheus_view view;
} pytheus_gauge;

typedef struct pytheus_histogram {
    pytheus_view view;
} pytheus_histogram;

typedef struct pytheus_summary {
    pytheus_view view;
} pytheus_summary;

/* What labels say: each of its series is 1 on the page. */
typedef struct pytheus_info {
    pytheus_view view;
} pytheus_info;

/* Which of its states are on. */
typedef struct pytheus_stateset {
    pytheus_view view;
} pytheus_stateset;

/* A number of which nobody says whether it only rises. */
typedef struct pytheus_unknown {
    pytheus_view view;
} pytheus_unknown;

typedef struct pytheus_label {
    const char *name PYTHEUS__ZERO;
    const char *value PYTHEUS__ZERO;
} pytheus_label;

/* What a gauge says when several processes share a backend. All but the first count the living
   processes only. */
typedef enum pytheus_across {
    PYTHEUS_SHARED,      /* one value, that all change */
    PYTHEUS_PER_PROCESS, /* one for each, with a label that tells them apart */
    PYTHEUS_SUM,
    PYTHEUS_MIN,
    PYTHEUS_MAX,
    PYTHEUS_MOST_RECENT
} pytheus_across;

/* What a metric is. Zero means the default. Read during the call only: everything is copied. */
typedef struct pytheus_desc {
    const char *name PYTHEUS__ZERO;                                /* required */
    const char *help PYTHEUS__ZERO;                                /* NULL: none */
    const char *unit PYTHEUS__ZERO;                                /* "seconds": the name ends
                                                                      with it, before _total */
    const char *required_labels[PYTHEUS_MAX_LABELS] PYTHEUS__ZERO; /* in the order of the text */
    pytheus_label default_labels[PYTHEUS_MAX_LABELS] PYTHEUS__ZERO;
    const double *buckets PYTHEUS__ZERO; /* upper bounds; +Inf is implied;
                                                                      NULL: the 11 standard ones */
    size_t num_buckets PYTHEUS__ZERO;
    const char *states[PYTHEUS_MAX_STATES] PYTHEUS__ZERO; /* of a stateset, in the order of the
                                                             text */
    size_t max_series PYTHEUS__ZERO;                      /* 0: PYTHEUS_MAX_SERIES */
    unsigned stripes PYTHEUS__ZERO;           /* sets of cells that threads spread over: 0: as
                                                 they get in each other's way; 1: never more; not
                                                 for gauges */
    pytheus_across across PYTHEUS__ZERO;      /* gauges, on backends that processes share */
    double expire_seconds PYTHEUS__ZERO;      /* likewise: forgotten when nobody changes it for so
                                                 long; 0: never */
    pytheus_registry *registry PYTHEUS__ZERO; /* NULL: pytheus_default() */
    bool unregistered PYTHEUS__ZERO;          /* on no page; new each time; in this process */
} pytheus_desc;

/* realloc(user, NULL, 0, n) allocates, (user, p, old, n) resizes, (user, p, old, 0) frees and
   returns NULL. NULL for n > 0 means out of memory; p is untouched then. Memory must be aligned as
   malloc's. Several threads may call it at once, mostly with locks of the library held: it must not
   call the library, nor fork. */
typedef struct pytheus_allocator {
    void *(*realloc)(void *user, void *p, size_t old_size, size_t new_size)PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;
} pytheus_allocator;

/* log() gets each error once per metric; metric is "" where there is none. No lock is held, so it
   may call the library. Several threads may call it at once. */
typedef struct pytheus_logger {
    void (*log)(void *user, pytheus_err err, const char *metric,
                const char *sentence) PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;
} pytheus_logger;

/* What a backend keeps apart: one value of a counter or gauge, two of a summary ("sum", "count"),
   of a histogram "sum" and one for each bucket ("0.5", "+Inf"), which counts the observations in
   that bucket alone. Valid during the call. */
typedef struct pytheus_cell_desc {
    const char *metric; /* without the registry's prefix */
    const char *help;
    pytheus_type type;
    pytheus_across across;
    double expire_seconds;
    const char *unit;          /* "": none */
    const char *value;         /* "", "sum", "count", or the bucket's bound as text */
    double bound;              /* of the bucket, otherwise 0 */
    const char *const *states; /* of a stateset, whose value is the sum of 2^i for every state i
                                    that is on */
    size_t num_states;
    const pytheus_label *labels; /* in declared order, defaults merged */
    size_t num_labels;
} pytheus_cell_desc;

/* All of a series, for a backend of words, or from it. Valid during the call. */
typedef struct pytheus_series_desc {
    const char *metric; /* without the registry's prefix */
    const char *help;
    pytheus_type type;
    pytheus_across across;
    double expire_seconds;
    const char *unit;     /* "": none */
    const double *bounds; /* of a histogram's buckets, without +Inf */
    size_t num_bounds;
    const char *const *states; /* of a stateset */
    size_t num_states;
    const pytheus_label *labels; /* in declared order, defaults merged */
    size_t num_labels;
    const char *const *defaults; /* num_labels: the metric's default values; NULL: none */
    size_t max_series;           /* of the metric; 0: this series does not count for it */
    size_t num_words;
    size_t num_stripes; /* sets of words that the metric asks for: a power of two; 1: none asked */
} pytheus_series_desc;

/* Where the words of a series are. Counter: an integer and a double, whose sum is the value. Gauge,
   unknown: a double; info: one that does not matter; stateset: one that is the sum of 2^i for every
   state i that is on. Histogram: the sum, a double, and for each bucket, +Inf included, an integer
   that counts the observations in that bucket alone. Summary: the sum, and an integer that counts.
   {0}: nowhere, because the processes together have max_series of the metric: the library takes its
   overflow series. */
typedef struct pytheus_words {
    uint64_t *at PYTHEUS__ZERO;        /* aligned to 8 bytes; there until the backend's destroy */
    size_t num_stripes PYTHEUS__ZERO;  /* more than 1: threads spread over as many sets of words,
                                          which are summed when read. Not for gauges, nor a
                                          counter's double */
    size_t stripe_words PYTHEUS__ZERO; /* from one set to the next: num_words or more */
    uint64_t mask PYTHEUS__ZERO;       /* every word holds its content XOR this */
    /* life not NULL: the series is removed, by whoever, as soon as *life is not life_value. Not
       one that exists from the start */
    const uint64_t *life PYTHEUS__ZERO;
    uint64_t life_value PYTHEUS__ZERO;
    /* not NULL: of a gauge: gets the time of each change, a double, seconds since 1970. Under the
       mask, like the words */
    uint64_t *changed PYTHEUS__ZERO;
    /* not NULL: 1 is added after each set of a counter or gauge, and after any series is set to 0,
       for a backend that sends differences. Under the mask, like the words */
    uint64_t *sets PYTHEUS__ZERO;
    void *series PYTHEUS__ZERO; /* the backend's own */
} pytheus_words;

/* What is being put together for a page, by a collector or backend. */
typedef struct pytheus_emitter pytheus_emitter;

/* What other processes have made, while a backend tells the library. */
typedef struct pytheus_discovery pytheus_discovery;

/* Where values are kept: section 9 of the manual. Copied by who takes it. The functions may be
   called from any thread, several at once, and never with a lock of the library held. They keep
   errno where the library promises to; what they return but PYTHEUS_OK reaches the caller, and
   pytheus_fail gives it a sentence. */
typedef struct pytheus_backend {
    const char *name PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;

    /* required: the cells of a series are opened when it is made, and *cell is what the others
       get. Two threads may open those of one series at once; the second one's are closed. */
    pytheus_err (*cell_open)(void *user, const pytheus_cell_desc *desc, void **cell) PYTHEUS__ZERO;
    pytheus_err (*inc)(void *user, void *cell, double by) PYTHEUS__ZERO;
    pytheus_err (*set)(void *user, void *cell, double value) PYTHEUS__ZERO;
    pytheus_err (*get)(void *user, void *cell, double *value) PYTHEUS__ZERO;

    /* optional: the series was removed, and what is kept of it can go. The last operations on the
       cell may still be running; then it is closed */
    pytheus_err (*cell_remove)(void *user, void *cell) PYTHEUS__ZERO;
    /* nobody is inside an operation on the cell, nor will be */
    void (*cell_close)(void *user, void *cell) PYTHEUS__ZERO;
    /* NULL: inc(-by). Takes 1 back from a count, too, when the sum of an observation failed */
    pytheus_err (*dec)(void *user, void *cell, double by) PYTHEUS__ZERO;
    /* an observation in one call: v to cells[0], 1 to cells[counted]; NULL: inc of each */
    pytheus_err (*observe)(void *user, void *const *cells, size_t num_cells, size_t counted,
                           double v) PYTHEUS__ZERO;
    /* many values at once, for a page; NULL: get of each */
    pytheus_err (*get_many)(void *user, void *const *cells, size_t n, double *values) PYTHEUS__ZERO;
    /* all that is to be on a page from this backend, also what other processes made, given to
       pytheus_emit_family and _sample; NULL: the series that this registry knows, read by get. Of a
       backend of words, what is not emitted is written from them, and so is a metric that has a
       function */
    pytheus_err (*generate)(void *user, pytheus_emitter *out) PYTHEUS__ZERO;

    /* instead of the functions for cells: the backend gives words of memory, and the library
       changes them with atomics. Words whose mask was 0 must not be used for another series later;
       those with a mask may be, at once, with another mask. An error with words is told, and they
       are used. In the child, after a fork, those of gauges with .across are opened again, and the
       parent's closed. Without this, and without cell_open, the library keeps the words itself. */
    pytheus_err (*words_open)(void *user, const pytheus_series_desc *desc,
                              pytheus_words *words) PYTHEUS__ZERO;
    pytheus_err (*words_remove)(void *user, const pytheus_words *words) PYTHEUS__ZERO;
    /* optional, where processes share the words, before words_remove of those that are known here:
       all series of the metric are removed that have desc's labels, of which those whose value is
       NULL may have any, but the one whose values are all defaults: that is set to 0 */
    pytheus_err (*words_remove_all)(void *user, const pytheus_series_desc *desc) PYTHEUS__ZERO;
    void (*words_close)(void *user, const pytheus_words *words) PYTHEUS__ZERO;
    /* optional, before every page: gives pytheus_discover the series that other processes have made
       since the last time. Several threads may be inside at once */
    pytheus_err (*discover)(void *user, pytheus_discovery *out) PYTHEUS__ZERO;

    /* optional, of both kinds: a metric is about to be defined, of which others may have series;
       the values of desc's labels are NULL. An error refuses the definition; without one it may
       still fail, or come again */
    pytheus_err (*metric_open)(void *user, const pytheus_series_desc *desc) PYTHEUS__ZERO;
    /* optional, of both kinds, where processes share it: those that live, this one among them, by
       their pids as this one sees them: writes up to room of them, returns how many there are */
    size_t (*processes)(void *user, int64_t *pids, size_t room) PYTHEUS__ZERO;
    /* optional, of both kinds: pytheus_flush; in the child, after a fork; when nothing uses the
       backend any more */
    pytheus_err (*flush)(void *user) PYTHEUS__ZERO;
    void (*forked)(void *user) PYTHEUS__ZERO;
    void (*destroy)(void *user) PYTHEUS__ZERO;

    /* optional, of words in stripes: at which this process' first thread begins, so that several
       processes are not all at the first; forked may change it */
    const uint32_t *first_stripe PYTHEUS__ZERO;
} pytheus_backend;

/* What a backend is configured with: a flat JSON object. */
typedef struct pytheus_config pytheus_config;

/* A backend that can be loaded by name. create() reads its configuration and fills in *out, or
   fails: then nothing is to be left. Keys that it did not ask for are errors of the user's, told
   after it returns, or by pytheus_config_check before it does anything that shows. Other threads'
   first use of the default registry waits for it, so it does not wait for theirs. */
typedef struct pytheus_backend_class {
    const char *const *names PYTHEUS__ZERO; /* the name, its aliases, NULL */
    pytheus_err (*create)(const pytheus_config *config, pytheus_backend *out) PYTHEUS__ZERO;
} pytheus_backend_class;

/* Puts on the page what nobody increments: collect() is called for every page, and once when it is
   registered, to learn the names; what it returns but PYTHEUS_OK is what the writer returns. No
   lock is held: it may call the library. Several threads may be inside at once. destroy() is called
   when the collector was removed, or its registry freed, and nobody is inside. */
typedef struct pytheus_collector {
    const char *name PYTHEUS__ZERO; /* any text in UTF-8, once in a registry */
    pytheus_err (*collect)(void *user, pytheus_emitter *out) PYTHEUS__ZERO;
    void (*destroy)(void *user) PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;
} pytheus_collector;

typedef struct pytheus_family {
    pytheus_type type PYTHEUS__ZERO;
    const char *name PYTHEUS__ZERO; /* without the registry's prefix */
    const char *help PYTHEUS__ZERO; /* NULL: none */
    const char *unit PYTHEUS__ZERO; /* as in pytheus_desc */
} pytheus_family;

typedef struct pytheus_sample {
    const char *suffix PYTHEUS__ZERO; /* "_bucket", "_sum", "_count", "_created" (seconds since
                                               1970, only in OpenMetrics); NULL: none */
    const char *const *pairs PYTHEUS__ZERO; /* label names and values, "le" and "quantile" too; of
                                               a stateset also the family's name and a state */
    size_t num_strings PYTHEUS__ZERO;
    double value PYTHEUS__ZERO;
    int64_t timestamp_ms PYTHEUS__ZERO; /* since 1970 */
    bool has_timestamp PYTHEUS__ZERO;
} pytheus_sample;

typedef struct pytheus_registry_desc {
    const char *prefix PYTHEUS__ZERO;             /* "app": app_requests_total; NULL: none */
    const pytheus_backend *backend PYTHEUS__ZERO; /* NULL: in this process; copied, and destroyed
                                                     with the registry */
    pytheus_allocator allocator PYTHEUS__ZERO;    /* zero: PYTHEUS_REALLOC and PYTHEUS_FREE */
    pytheus_logger logger PYTHEUS__ZERO;          /* zero: one line on stderr */
    double (*clock)(void *user) PYTHEUS__ZERO;    /* seconds, monotonic; NULL: the system's */
    void *clock_user PYTHEUS__ZERO;
} pytheus_registry_desc;

typedef enum pytheus_format {
    PYTHEUS_TEXT,       /* Prometheus text format 0.0.4 */
    PYTHEUS_OPENMETRICS /* OpenMetrics 1.0.0 */
} pytheus_format;

/* Where text goes. put() gets it in pieces, in order; anything but PYTHEUS_OK ends the writing and
   is what the writer returns. No lock is held: it may block, and may call the library. */
typedef struct pytheus_sink {
    pytheus_err (*put)(void *user, const char *bytes, size_t size) PYTHEUS__ZERO;
    void *user PYTHEUS__ZERO;
} pytheus_sink;

/* A running measurement: plain data, to be kept anywhere and stopped from any thread (by one at a
   time). */
typedef struct pytheus_timer {
    pytheus_view view;
    pytheus_registry *registry; /* whose clock was started; NULL: the system's */
    double start;
    double seconds;
    bool running;
} pytheus_timer;

typedef struct pytheus__time_scope_data {
    pytheus_timer timer;
    bool open;
} pytheus__time_scope_data;

typedef struct pytheus__progress_data {
    pytheus_gauge gauge;
    bool counted;
    bool open;
} pytheus__progress_data;

/* 64-bit atomics of 32-bit x86 need it. */
#if defined(__GNUC__)
#define PYTHEUS__ALIGNED_8 __attribute__((aligned(8)))
#else
#define PYTHEUS__ALIGNED_8
#endif

/* The view that PYTHEUS_AT keeps at its call site. */
typedef struct pytheus__site {
    struct pytheus__node *base; /* and its generation: the view that it was made from */
    uint64_t base_generation PYTHEUS__ALIGNED_8;
    uint64_t generation PYTHEUS__ALIGNED_8;
    struct pytheus__node *node;
    uint32_t sequence; /* odd while somebody writes it */
} pytheus__site;

/* ==== PUBLIC FUNCTIONS ==== */

#ifndef PYTHEUS_DISABLE

/* -- errors: any thread; never allocate -- */

/* "PYTHEUS_ERR_LABEL"; the constant text of an error. Static strings. */
PYTHEUS_API const char *pytheus_err_name(pytheus_err err);
PYTHEUS_API const char *pytheus_err_text(pytheus_err err);

/* What went wrong last in this thread, in a sentence with the particulars; "" if nothing did. Valid
   until this thread's next failing call. */
PYTHEUS_API const char *pytheus_last_error(void);

/* Makes that sentence, up to 255 bytes, and returns err: for backends, collectors and sinks, whose
   errors reach who called the library. */
PYTHEUS__PRINTF(2, 3)
PYTHEUS_API pytheus_err pytheus_fail(pytheus_err err, const char *format, ...);

/* -- registries: any thread; may allocate -- */

/* A registry of one's own; desc may be NULL. NULL: bad prefix, a backend that lacks a function, out
   of memory; then the backend is still the caller's. */
PYTHEUS_API pytheus_registry *pytheus_registry_new(const pytheus_registry_desc *desc);

/* Frees the registry with all its metrics, and ends the life of all their handles: nobody may be
   using one. The default registry is emptied, and can be used again. NULL: does nothing. */
PYTHEUS_API void pytheus_registry_free(pytheus_registry *registry);

/* The registry that NULL means, except to be freed. Needs no setting up: its first use loads the
   backend that the environment names. */
PYTHEUS_API pytheus_registry *pytheus_default(void);
/* Makes another registry the default; NULL: the library's own again. Metrics stay where they
   are. */
PYTHEUS_API void pytheus_set_default(pytheus_registry *registry);

/* Puts a metric on the page of another registry too, at its end and with its prefix; it stays in
   its own registry, which must be freed after this one or takes it away. DUPLICATE: its names are
   taken. There already: PYTHEUS_OK. */
PYTHEUS_API pytheus_err pytheus_registry_add(pytheus_registry *registry, pytheus_view metric);
/* Takes a metric from the registry's page, and frees its names. Its handles stay good, and it can
   be added again; its memory goes with the registry that it was made in. NOTHING: it is not
   there. */
PYTHEUS_API pytheus_err pytheus_registry_remove(pytheus_registry *registry, pytheus_view metric);

/* Copied. DUPLICATE: the collector's name is taken, or a metric has that of a family that it emits;
   what collect() returned. Then nothing has changed, and destroy() is not called. */
PYTHEUS_API pytheus_err pytheus_registry_add_collector(pytheus_registry *registry,
                                                       const pytheus_collector *collector);
PYTHEUS_API pytheus_err pytheus_registry_remove_collector(pytheus_registry *registry,
                                                          const char *name);

/* The name and the configuration (JSON: {"host": "127.0.0.1", "port": 6379}) of the backend that
   new metrics get. Valid until another one is loaded. */
PYTHEUS_API const char *pytheus_registry_backend(pytheus_registry *registry);
PYTHEUS_API const char *pytheus_registry_config(pytheus_registry *registry);

/* The processes whose values are on the registry's page, as its backend knows them: writes the pids
   of up to room of them, and returns how many there are. 0: the page is this process's alone. */
PYTHEUS_API size_t pytheus_registry_processes(pytheus_registry *registry, int64_t *pids,
                                              size_t room);

/* -- metrics: any thread; allocate; take the registry's lock -- */

/* Makes the metric, or finds it: the same definition (type, labels, defaults, buckets) again gives
   the same metric. Nothing handle: NAME, LABEL, BUCKETS (bad definition), DUPLICATE (the name, or a
   sample name that follows from it, is another metric's), TYPE (across, of no gauge), VALUE
   (expire_seconds), NOMEM, and what the backend returned; then nothing has changed. */
PYTHEUS_API pytheus_counter pytheus_counter_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_gauge pytheus_gauge_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_histogram pytheus_histogram_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_summary pytheus_summary_new(const pytheus_desc *desc);
/* VALUE: states that are none, too many, or the same twice. */
PYTHEUS_API pytheus_info pytheus_info_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_stateset pytheus_stateset_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_unknown pytheus_unknown_new(const pytheus_desc *desc);

/* Whether counters, histograms and summaries that are made from now on tell OpenMetrics pages when
   each of their series began (_created). Not at first: it doubles the series of counters, in
   servers that do not know what it is for. */
PYTHEUS_API void pytheus_show_created(pytheus_registry *registry, bool shown);

/* Bounds for desc.buckets: start, start + width, ...; start, start * factor, ...; n bounds from min
   to max, each the same factor over the one before. Return n, or 0 and write nothing usable where
   these are not increasing finite numbers (width > 0; start > 0 and factor > 1; 0 < min < max). As
   desc.num_buckets, 0 means the standard ones. */
PYTHEUS_API size_t pytheus_buckets_linear(double *out, size_t n, double start, double width);
PYTHEUS_API size_t pytheus_buckets_exponential(double *out, size_t n, double start, double factor);
PYTHEUS_API size_t pytheus_buckets_range(double *out, size_t n, double min, double max);

/* -- operations: any thread; no lock; never allocate; keep errno. On complete views they are
      async-signal-safe. NOTHING, TYPE, UNOBSERVABLE, REMOVED: nothing was done. -- */

/* Adds 1. */
PYTHEUS_API pytheus_err pytheus_counter_inc(pytheus_counter counter);
/* Adds v. v < 0, NaN, infinite: VALUE. */
PYTHEUS_API pytheus_err pytheus_counter_add(pytheus_counter counter, double v);
/* Makes v the value, to mirror a total that is counted elsewhere. v < 0, NaN, infinite: VALUE. */
PYTHEUS_API pytheus_err pytheus_counter_set(pytheus_counter counter, double v);

PYTHEUS_API pytheus_err pytheus_gauge_inc(pytheus_gauge gauge);
PYTHEUS_API pytheus_err pytheus_gauge_dec(pytheus_gauge gauge);
PYTHEUS_API pytheus_err pytheus_gauge_add(pytheus_gauge gauge, double v);
PYTHEUS_API pytheus_err pytheus_gauge_sub(pytheus_gauge gauge, double v);
PYTHEUS_API pytheus_err pytheus_gauge_set(pytheus_gauge gauge, double v);
/* Sets seconds since 1970, with the fraction. */
PYTHEUS_API pytheus_err pytheus_gauge_set_to_current_time(pytheus_gauge gauge);

/* Makes fn(user) the value, as the page and pytheus_view_get show it, until the series is removed
   or fn is NULL; what is set or added meanwhile shows then. fn is called by who reads, with no lock
   held; a page that began before the end may still be calling it after. A counter's that is below
   0, NaN or infinite is left off the page, and told. BACKEND: it generates its samples itself.
   Take the registry's lock; allocate. */
PYTHEUS_API pytheus_err pytheus_gauge_set_function(pytheus_gauge gauge, double (*fn)(void *user),
                                                   void *user);
PYTHEUS_API pytheus_err pytheus_counter_set_function(pytheus_counter counter,
                                                     double (*fn)(void *user), void *user);

/* Counts v in its bucket (the first whose bound is not below v) and adds it to the sum.
   NaN: VALUE. */
PYTHEUS_API pytheus_err pytheus_histogram_observe(pytheus_histogram histogram, double v);
PYTHEUS_API pytheus_err pytheus_summary_observe(pytheus_summary summary, double v);

PYTHEUS_API pytheus_err pytheus_unknown_set(pytheus_unknown unknown, double v);

/* Turns one state on or off; this state on and all others off. VALUE: there is no such state. The
   first is not atomic on a backend of cells. */
PYTHEUS_API pytheus_err pytheus_stateset_set(pytheus_stateset stateset, const char *state, bool on);
PYTHEUS_API pytheus_err pytheus_stateset_switch(pytheus_stateset stateset, const char *state);

/* -- exemplars: any thread; no lock, and no allocation once a series has had one in that bucket.
      Keep errno. Not async-signal-safe. -- */

/* Adds or observes v, and keeps it with these labels (of a trace, say) and the time as the example
   that OpenMetrics shows beside the counter, or the bucket that v fell in: the last one that did
   not meet another thread's. In this process. LABEL (names as in metrics, each once, 16 at most;
   128 characters in all), NOMEM: v counts all the same. */
PYTHEUS_API pytheus_err pytheus_counter_add_with(pytheus_counter counter, double v,
                                                 const char *const *pairs, size_t num_strings);
PYTHEUS_API pytheus_err pytheus_histogram_observe_with(pytheus_histogram histogram, double v,
                                                       const char *const *pairs,
                                                       size_t num_strings);

/* -- views: any thread. A view that exists is found without a lock and, up to 1 KB of values,
      without allocating; a new one takes the registry's lock and allocates. -- */

/* The view with these labels set over those that it has: num_strings strings, name, value, ...
   Strings are copied. Bytes that are not UTF-8 become U+FFFD. Nothing handle: LABEL (a name that
   the metric has not, NULL, an odd number), NOMEM, and what the handle itself was. Beyond
   max_series: the metric's overflow series. */
PYTHEUS_API pytheus_counter pytheus_counter_view(pytheus_counter counter, const char *const *pairs,
                                                 size_t num_strings);
PYTHEUS_API pytheus_gauge pytheus_gauge_view(pytheus_gauge gauge, const char *const *pairs,
                                             size_t num_strings);
PYTHEUS_API pytheus_histogram pytheus_histogram_view(pytheus_histogram histogram,
                                                     const char *const *pairs, size_t num_strings);
PYTHEUS_API pytheus_summary pytheus_summary_view(pytheus_summary summary, const char *const *pairs,
                                                 size_t num_strings);
PYTHEUS_API pytheus_info pytheus_info_view(pytheus_info info, const char *const *pairs,
                                           size_t num_strings);
PYTHEUS_API pytheus_stateset pytheus_stateset_view(pytheus_stateset stateset,
                                                   const char *const *pairs, size_t num_strings);
PYTHEUS_API pytheus_unknown pytheus_unknown_view(pytheus_unknown unknown, const char *const *pairs,
                                                 size_t num_strings);

/* Whether both are the same view in the same life. No lock. */
PYTHEUS_API bool pytheus_view_equal(pytheus_view a, pytheus_view b);

/* Whether all labels are set and the series is there: operations will work. No lock. */
PYTHEUS_API bool pytheus_view_observable(pytheus_view view);

/* The value of a counter, gauge or unknown, the sum of a histogram or summary, 1 of an info. TYPE:
   a stateset, whose states pytheus_sample_value tells. No lock, unless a series of
   the metric has a function. Never allocates. */
PYTHEUS_API pytheus_err pytheus_view_get(pytheus_view view, double *value);

/* Removes the series of a complete view, or a partial view with every series that has its labels:
   all, where it has none. A series that exists from the start is set to 0 instead. */
PYTHEUS_API pytheus_err pytheus_view_remove(pytheus_view view);

/* Removes all series of the metric, whatever the view's labels. */
PYTHEUS_API pytheus_err pytheus_view_clear(pytheus_view view);

/* The value that the page would show for a sample: ("x_bucket", {"le", "0.5", "method", "GET"}).
   sample is the exposed name; labels in any order, defaults may be left out. Of metrics only, as
   this process knows them. For tests: takes the lock, makes no series. NAME: no such sample; LABEL;
   NOTHING: no such series. */
PYTHEUS_API pytheus_err pytheus_sample_value(pytheus_registry *registry, const char *sample,
                                             const char *const *pairs, size_t num_strings,
                                             double *value);

/* -- timers: any thread; no lock; never allocate; keep errno (with the system's clock) -- */

/* Starts the registry's clock for a histogram, summary or gauge. */
PYTHEUS_API pytheus_timer pytheus_timer_start(pytheus_view view);
/* Observes (gauge: sets) the seconds since the start, never below 0, and returns them. Again: only
   returns them. An error of the observation is told by pytheus_last_error and the logger. */
PYTHEUS_API double pytheus_timer_stop(pytheus_timer *timer);
/* Ends the measurement without an observation. */
PYTHEUS_API void pytheus_timer_cancel(pytheus_timer *timer);
/* Chooses another view, or the labels, before the stop. */
PYTHEUS_API void pytheus_timer_to(pytheus_timer *timer, pytheus_view view);

/* Count 1 when v < 0, when p is NULL, and return it: for compilers without PYTHEUS_COUNT_ERRORS. */
PYTHEUS_API long long pytheus_count_int(pytheus_counter counter, long long v);
PYTHEUS_API void *pytheus_count_ptr(pytheus_counter counter, void *p);

/* -- text: any thread, several at once. Never locks out an operation; holds no lock while the sink
      runs. Allocates a buffer of 64 KB, whatever the number of series. -- */

/* Writes the page to the sink. IO and whatever the sink returned; NOMEM. */
PYTHEUS_API pytheus_err pytheus_write(pytheus_registry *registry, pytheus_format format,
                                      const pytheus_sink *sink);
/* The same, of only those metrics that have one of these names, themselves or in a sample. */
PYTHEUS_API pytheus_err pytheus_write_named(pytheus_registry *registry, pytheus_format format,
                                            const char *const *names, size_t num_names,
                                            const pytheus_sink *sink);
/* Writes it to a stream, and flushes that. */
PYTHEUS_API pytheus_err pytheus_write_stream(pytheus_registry *registry, pytheus_format format,
                                             FILE *stream);
/* Writes it to a new file beside path (path.0.tmp), to the disk, and renames that over path: a
   reader sees the old page or the new one, whole. On an error the old file stays. What a writer
   that was killed has left beside path is removed first. Up to 64 writers at once. */
PYTHEUS_API pytheus_err pytheus_write_file(pytheus_registry *registry, pytheus_format format,
                                           const char *path);
/* The page as a string that ends with NUL, to be given to pytheus_free; length may be NULL. NULL on
   an error. Memory for the whole page. */
PYTHEUS_API char *pytheus_generate(pytheus_registry *registry, pytheus_format format,
                                   size_t *length);
PYTHEUS_API void pytheus_free(void *page);

/* "text/plain; version=0.0.4; charset=utf-8",
   "application/openmetrics-text; version=1.0.0; charset=utf-8". Static strings. */
PYTHEUS_API const char *pytheus_content_type(pytheus_format format);
/* The format that a request asks for with its Accept header (RFC 9110, 12.5.1): the one with the
   higher q, of equal ones the first. PYTHEUS_TEXT for NULL, and where nothing fits. */
PYTHEUS_API pytheus_format pytheus_negotiate(const char *accept);

/* Writes to the sink what `promtool check metrics` would have against the names on the page, in its
   words, a line each ("requests no help text"), the same one once; nothing where it would have
   nothing. Metrics that have no series yet are judged as well. Memory for one line of the page. */
PYTHEUS_API pytheus_err pytheus_lint(pytheus_registry *registry, const pytheus_sink *sink);

/* -- emitting: only inside collect() or generate(), by the thread that was called. Any error but
      the sink's leaves only that metric, family or sample away. -- */

/* Writes a metric with all its series: one made with .unregistered, or of another registry. What a
   backend of cells keeps is read now. */
PYTHEUS_API pytheus_err pytheus_emit_metric(pytheus_emitter *out, pytheus_view metric);
/* Begins a family, to which the samples that follow belong. A name that is on the page already, or
   is that of a metric, is left out with its samples, told once and counted in
   pytheus_collector_clashes_total{collector="..."}. NAME, TYPE. */
PYTHEUS_API pytheus_err pytheus_emit_family(pytheus_emitter *out, const pytheus_family *family);
/* NAME (no family, or a suffix that its type has not), LABEL, VALUE (a count that is none),
   DUPLICATE (the same labels again). That the samples of a histogram agree is up to the caller, and
   that those with the same labels, but for "le", "quantile" or the state, follow one another, with
   a timestamp all or none. */
PYTHEUS_API pytheus_err pytheus_emit_sample(pytheus_emitter *out, const pytheus_sample *sample);

/* -- discovering: only inside discover(), by the thread that was called -- */

/* Makes a series of other processes known, with its words, and its metric where this process has
   not defined it. Words that are not needed, because the series is known or was refused, are closed
   at once. max_series does not keep it away, but it counts. What the program defines goes before
   what was discovered: where both have a name and differ (type, labels, defaults, buckets, across,
   expire_seconds), the discovered metric is left out, and told once. NOMEM ends the page, other
   errors leave only this series away. */
PYTHEUS_API pytheus_err pytheus_discover(pytheus_discovery *out, const pytheus_series_desc *desc,
                                         const pytheus_words *words);

/* What a backend of words gave for a complete view, and that backend, which stays until the
   registry is freed: for what a companion offers beyond the common operations. Another thread may
   remove the series meanwhile, so of *words only memory that stays is to be used. No lock; never
   allocates. TYPE: its values are elsewhere; NOTHING, UNOBSERVABLE, REMOVED. */
PYTHEUS_API pytheus_err pytheus_view_words(pytheus_view view, const pytheus_backend **backend,
                                           pytheus_words *words);

/* -- backends by name: any thread; may allocate -- */

/* Makes new metrics of the default registry use this backend; those that exist keep theirs. Class
   and configuration are found apart: what is given, or PYTHEUS_BACKEND_CLASS (a name) and
   PYTHEUS_BACKEND_CONFIG (the path of a JSON file) in the environment, or "single" and {}.
   CONFIG: no such class, unreadable file, bad JSON, unknown key, wrong type; NOMEM; what the class
   returned. Then what was loaded before stays. */
PYTHEUS_API pytheus_err pytheus_load_backend(const char *class_name, const char *config_json);
/* Makes a class known; it must stay. DUPLICATE: one of its names is taken. See PYTHEUS_ANNOUNCE. */
PYTHEUS_API pytheus_err pytheus_backend_class_add(const pytheus_backend_class *backend_class);
/* Lets the registry's backends send what they hold back. PYTHEUS_OK where there is nothing to. */
PYTHEUS_API pytheus_err pytheus_flush(pytheus_registry *registry);

/* What the user configured, or otherwise. null is otherwise, too. A value of another type is an
   error that is told after create(). Strings are valid during it. */
PYTHEUS_API const char *pytheus_config_string(const pytheus_config *config, const char *key,
                                              const char *otherwise);
PYTHEUS_API double pytheus_config_number(const pytheus_config *config, const char *key,
                                         double otherwise);
PYTHEUS_API bool pytheus_config_bool(const pytheus_config *config, const char *key, bool otherwise);
/* The logger of the registry that loads the backend, for what happens in threads of its own. It may
   be called until the backend's destroy. */
PYTHEUS_API void pytheus_config_logger(const pytheus_config *config, pytheus_logger *logger);
/* CONFIG: one of the values had another type than was asked for, or there are keys that were not
   asked for. */
PYTHEUS_API pytheus_err pytheus_config_check(const pytheus_config *config);

/* -- behind the macros -- */

PYTHEUS_API pytheus_view pytheus__at(pytheus__site *site, pytheus_view base,
                                     const char *const *pairs, size_t num_strings);
PYTHEUS_API pytheus__time_scope_data pytheus__time_begin(pytheus_view view);
PYTHEUS_API void pytheus__time_end(pytheus__time_scope_data *scope);
PYTHEUS_API pytheus__progress_data pytheus__progress_begin(pytheus_gauge gauge);
PYTHEUS_API void pytheus__progress_end(pytheus__progress_data *scope);
PYTHEUS_API int pytheus__error_number(void);
PYTHEUS_API void pytheus__count_errno(pytheus_counter counter, const int *numbers, size_t n);

#else /* PYTHEUS_DISABLE */

/* Every call there is, doing nothing. Operations say PYTHEUS_OK, handles are nothing, there is no
   page. */
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#endif
#define PYTHEUS__OFF(type, function, arguments, result)                                            \
    static inline PYTHEUS__UNUSED type function arguments {                                        \
        return result;                                                                             \
    }
#define PYTHEUS__OFF_VOID(function, arguments)                                                     \
    static inline PYTHEUS__UNUSED void function arguments {}
#define PYTHEUS__OFF_HANDLE(type, function, arguments)                                             \
    static inline PYTHEUS__UNUSED type function arguments {                                        \
        type nothing;                                                                              \
        nothing.view.node = NULL;                                                                  \
        nothing.view.generation = 0;                                                               \
        return nothing;                                                                            \
    }
#define PYTHEUS__OFF_METRIC(kind)                                                                  \
    PYTHEUS__OFF_HANDLE(pytheus_##kind, pytheus_##kind##_new, (const pytheus_desc *desc))          \
    PYTHEUS__OFF(pytheus_##kind, pytheus_##kind##_view,                                            \
                 (pytheus_##kind handle, const char *const *pairs, size_t num_strings), handle)

PYTHEUS__OFF(const char *, pytheus_err_name, (pytheus_err err), "")
PYTHEUS__OFF(const char *, pytheus_err_text, (pytheus_err err), "")
PYTHEUS__OFF(const char *, pytheus_last_error, (void), "")
PYTHEUS__PRINTF(2, 3)
PYTHEUS__OFF(pytheus_err, pytheus_fail, (pytheus_err err, const char *format, ...), err)
PYTHEUS__OFF(pytheus_registry *, pytheus_registry_new, (const pytheus_registry_desc *desc), NULL)
PYTHEUS__OFF_VOID(pytheus_registry_free, (pytheus_registry * registry))
PYTHEUS__OFF(pytheus_registry *, pytheus_default, (void), NULL)
PYTHEUS__OFF_VOID(pytheus_set_default, (pytheus_registry * registry))
PYTHEUS__OFF(pytheus_err, pytheus_registry_add, (pytheus_registry * registry, pytheus_view metric),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_registry_remove,
             (pytheus_registry * registry, pytheus_view metric), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_registry_add_collector,
             (pytheus_registry * registry, const pytheus_collector *collector), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_registry_remove_collector,
             (pytheus_registry * registry, const char *name), PYTHEUS_OK)
PYTHEUS__OFF(const char *, pytheus_registry_backend, (pytheus_registry * registry), "")
PYTHEUS__OFF(const char *, pytheus_registry_config, (pytheus_registry * registry), "")
PYTHEUS__OFF(size_t, pytheus_registry_processes,
             (pytheus_registry * registry, int64_t *pids, size_t room), 0)
PYTHEUS__OFF(pytheus_err, pytheus_emit_metric, (pytheus_emitter * out, pytheus_view metric),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_emit_family,
             (pytheus_emitter * out, const pytheus_family *family), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_emit_sample,
             (pytheus_emitter * out, const pytheus_sample *sample), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_discover,
             (pytheus_discovery * out, const pytheus_series_desc *desc, const pytheus_words *words),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_load_backend, (const char *class_name, const char *config_json),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_backend_class_add, (const pytheus_backend_class *backend_class),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_flush, (pytheus_registry * registry), PYTHEUS_OK)
PYTHEUS__OFF(const char *, pytheus_config_string,
             (const pytheus_config *config, const char *key, const char *otherwise), otherwise)
PYTHEUS__OFF(double, pytheus_config_number,
             (const pytheus_config *config, const char *key, double otherwise), otherwise)
PYTHEUS__OFF(bool, pytheus_config_bool,
             (const pytheus_config *config, const char *key, bool otherwise), otherwise)
PYTHEUS__OFF(pytheus_err, pytheus_view_words,
             (pytheus_view view, const pytheus_backend **backend, pytheus_words *words),
             PYTHEUS_ERR_NOTHING)
PYTHEUS__OFF_VOID(pytheus_config_logger, (const pytheus_config *config, pytheus_logger *logger))
PYTHEUS__OFF(pytheus_err, pytheus_config_check, (const pytheus_config *config), PYTHEUS_OK)
PYTHEUS__OFF_METRIC(counter)
PYTHEUS__OFF_METRIC(gauge)
PYTHEUS__OFF_METRIC(histogram)
PYTHEUS__OFF_METRIC(summary)
PYTHEUS__OFF_METRIC(info)
PYTHEUS__OFF_METRIC(stateset)
PYTHEUS__OFF_METRIC(unknown)
PYTHEUS__OFF_VOID(pytheus_show_created, (pytheus_registry * registry, bool shown))
PYTHEUS__OFF(size_t, pytheus_buckets_linear, (double *out, size_t n, double start, double width), 0)
PYTHEUS__OFF(size_t, pytheus_buckets_exponential,
             (double *out, size_t n, double start, double factor), 0)
PYTHEUS__OFF(size_t, pytheus_buckets_range, (double *out, size_t n, double min, double max), 0)
PYTHEUS__OFF(pytheus_err, pytheus_counter_inc, (pytheus_counter counter), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_counter_add, (pytheus_counter counter, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_counter_set, (pytheus_counter counter, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_inc, (pytheus_gauge gauge), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_dec, (pytheus_gauge gauge), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_add, (pytheus_gauge gauge, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_sub, (pytheus_gauge gauge, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_set, (pytheus_gauge gauge, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_set_to_current_time, (pytheus_gauge gauge), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_gauge_set_function,
             (pytheus_gauge gauge, double (*fn)(void *user), void *user), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_counter_set_function,
             (pytheus_counter counter, double (*fn)(void *user), void *user), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_histogram_observe, (pytheus_histogram histogram, double v),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_summary_observe, (pytheus_summary summary, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_unknown_set, (pytheus_unknown unknown, double v), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_stateset_set,
             (pytheus_stateset stateset, const char *state, bool on), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_stateset_switch, (pytheus_stateset stateset, const char *state),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_counter_add_with,
             (pytheus_counter counter, double v, const char *const *pairs, size_t num_strings),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_histogram_observe_with,
             (pytheus_histogram histogram, double v, const char *const *pairs, size_t num_strings),
             PYTHEUS_OK)
PYTHEUS__OFF(bool, pytheus_view_equal, (pytheus_view a, pytheus_view b), true)
PYTHEUS__OFF(bool, pytheus_view_observable, (pytheus_view view), false)
PYTHEUS__OFF(pytheus_err, pytheus_view_get, (pytheus_view view, double *value), PYTHEUS_ERR_NOTHING)
PYTHEUS__OFF(pytheus_err, pytheus_view_remove, (pytheus_view view), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_view_clear, (pytheus_view view), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_sample_value,
             (pytheus_registry * registry, const char *sample, const char *const *pairs,
              size_t num_strings, double *value),
             PYTHEUS_ERR_NOTHING)
static inline PYTHEUS__UNUSED pytheus_timer pytheus_timer_start(pytheus_view view) {
    pytheus_timer timer;
    timer.view = view;
    timer.registry = NULL;
    timer.start = timer.seconds = 0;
    timer.running = false;
    return timer;
}
PYTHEUS__OFF(double, pytheus_timer_stop, (pytheus_timer * timer), 0)
PYTHEUS__OFF_VOID(pytheus_timer_cancel, (pytheus_timer * timer))
PYTHEUS__OFF_VOID(pytheus_timer_to, (pytheus_timer * timer, pytheus_view view))
PYTHEUS__OFF(long long, pytheus_count_int, (pytheus_counter counter, long long v), v)
PYTHEUS__OFF(void *, pytheus_count_ptr, (pytheus_counter counter, void *p), p)
PYTHEUS__OFF(pytheus_err, pytheus_write,
             (pytheus_registry * registry, pytheus_format format, const pytheus_sink *sink),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_write_named,
             (pytheus_registry * registry, pytheus_format format, const char *const *names,
              size_t num_names, const pytheus_sink *sink),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_write_stream,
             (pytheus_registry * registry, pytheus_format format, FILE *stream), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_write_file,
             (pytheus_registry * registry, pytheus_format format, const char *path), PYTHEUS_OK)
PYTHEUS__OFF(char *, pytheus_generate,
             (pytheus_registry * registry, pytheus_format format, size_t *length), NULL)
PYTHEUS__OFF_VOID(pytheus_free, (void *page))
PYTHEUS__OFF(const char *, pytheus_content_type, (pytheus_format format), "")
PYTHEUS__OFF(pytheus_format, pytheus_negotiate, (const char *accept), PYTHEUS_TEXT)
PYTHEUS__OFF(pytheus_err, pytheus_lint, (pytheus_registry * registry, const pytheus_sink *sink),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_view, pytheus__at,
             (pytheus__site * site, pytheus_view base, const char *const *pairs,
              size_t num_strings),
             base)
static inline PYTHEUS__UNUSED pytheus__time_scope_data pytheus__time_begin(pytheus_view view) {
    pytheus__time_scope_data scope;
    scope.timer = pytheus_timer_start(view);
    scope.open = true;
    return scope;
}
PYTHEUS__OFF_VOID(pytheus__time_end, (pytheus__time_scope_data * scope))
static inline PYTHEUS__UNUSED pytheus__progress_data pytheus__progress_begin(pytheus_gauge gauge) {
    pytheus__progress_data scope;
    scope.gauge = gauge;
    scope.counted = false;
    scope.open = true;
    return scope;
}
PYTHEUS__OFF_VOID(pytheus__progress_end, (pytheus__progress_data * scope))
PYTHEUS__OFF(int, pytheus__error_number, (void), 0)
PYTHEUS__OFF_VOID(pytheus__count_errno, (pytheus_counter counter, const int *numbers, size_t n))

#undef PYTHEUS__OFF_METRIC
#undef PYTHEUS__OFF_HANDLE
#undef PYTHEUS__OFF_VOID
#undef PYTHEUS__OFF
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

#endif /* PYTHEUS_DISABLE */

/* What PYTHEUS_COUNT_ERRORS takes for a failure. A type that is not here does not compile. */
static inline PYTHEUS__UNUSED bool pytheus__failed_int(int v) {
    return v < 0;
}
static inline PYTHEUS__UNUSED bool pytheus__failed_long(long v) {
    return v < 0;
}
static inline PYTHEUS__UNUSED bool pytheus__failed_long_long(long long v) {
    return v < 0;
}
static inline PYTHEUS__UNUSED bool pytheus__failed_pointer(const volatile void *p) {
    return !p;
}
typedef struct pytheus__never_negative {
    char nothing;
} pytheus__never_negative;
static inline PYTHEUS__UNUSED bool pytheus__cannot_fail(pytheus__never_negative v) {
    (void)v;
    return false;
}

#ifdef __cplusplus
} /* extern "C" */
#endif
/* ==== LABEL MACROS, TIMERS, COUNTED ERRORS ==== */

#define PYTHEUS__CAT2(a, b) a##b
#define PYTHEUS__CAT(a, b) PYTHEUS__CAT2(a, b)
#ifdef __COUNTER__
#define PYTHEUS__ID(prefix) PYTHEUS__CAT(prefix, __COUNTER__)
#else
#define PYTHEUS__ID(prefix) PYTHEUS__CAT(prefix, __LINE__)
#endif

/* Each label string passes once through &*, which leaves a string as it is and does not compile for
   an integer, 0 included. An odd number of strings picks a macro that does not compile. */
/* clang-format off */
#define PYTHEUS__S2(n, v) &*(n), &*(v)
#define PYTHEUS__S4(n, v, ...) &*(n), &*(v), PYTHEUS__S2(__VA_ARGS__)
#define PYTHEUS__S6(n, v, ...) &*(n), &*(v), PYTHEUS__S4(__VA_ARGS__)
#define PYTHEUS__S8(n, v, ...) &*(n), &*(v), PYTHEUS__S6(__VA_ARGS__)
#define PYTHEUS__S10(n, v, ...) &*(n), &*(v), PYTHEUS__S8(__VA_ARGS__)
#define PYTHEUS__S12(n, v, ...) &*(n), &*(v), PYTHEUS__S10(__VA_ARGS__)
#define PYTHEUS__S14(n, v, ...) &*(n), &*(v), PYTHEUS__S12(__VA_ARGS__)
#define PYTHEUS__S16(n, v, ...) &*(n), &*(v), PYTHEUS__S14(__VA_ARGS__)
#define PYTHEUS__S18(n, v, ...) &*(n), &*(v), PYTHEUS__S16(__VA_ARGS__)
#define PYTHEUS__S20(n, v, ...) &*(n), &*(v), PYTHEUS__S18(__VA_ARGS__)
#define PYTHEUS__S22(n, v, ...) &*(n), &*(v), PYTHEUS__S20(__VA_ARGS__)
#define PYTHEUS__S24(n, v, ...) &*(n), &*(v), PYTHEUS__S22(__VA_ARGS__)
#define PYTHEUS__S26(n, v, ...) &*(n), &*(v), PYTHEUS__S24(__VA_ARGS__)
#define PYTHEUS__S28(n, v, ...) &*(n), &*(v), PYTHEUS__S26(__VA_ARGS__)
#define PYTHEUS__S30(n, v, ...) &*(n), &*(v), PYTHEUS__S28(__VA_ARGS__)
#define PYTHEUS__S32(n, v, ...) &*(n), &*(v), PYTHEUS__S30(__VA_ARGS__)
#define PYTHEUS__ODD(...) \
    (const char *)sizeof(struct pytheus_label_strings_come_in_name_value_pairs)
#define PYTHEUS__PICK( \
    _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20, \
    _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, choice, ...) choice
#define PYTHEUS__STRINGS(...) \
    PYTHEUS__PICK(__VA_ARGS__, PYTHEUS__S32, PYTHEUS__ODD, PYTHEUS__S30, PYTHEUS__ODD, \
    PYTHEUS__S28, PYTHEUS__ODD, PYTHEUS__S26, PYTHEUS__ODD, PYTHEUS__S24, PYTHEUS__ODD, \
    PYTHEUS__S22, PYTHEUS__ODD, PYTHEUS__S20, PYTHEUS__ODD, PYTHEUS__S18, PYTHEUS__ODD, \
    PYTHEUS__S16, PYTHEUS__ODD, PYTHEUS__S14, PYTHEUS__ODD, PYTHEUS__S12, PYTHEUS__ODD, \
    PYTHEUS__S10, PYTHEUS__ODD, PYTHEUS__S8, PYTHEUS__ODD, PYTHEUS__S6, PYTHEUS__ODD, \
    PYTHEUS__S4, PYTHEUS__ODD, PYTHEUS__S2, PYTHEUS__ODD, 0) (__VA_ARGS__)
#define PYTHEUS__COUNT(...) \
    PYTHEUS__PICK(__VA_ARGS__, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, \
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
/* clang-format on */

#ifdef __cplusplus

inline pytheus_registry *pytheus_registry_new(const pytheus_registry_desc &desc) {
    return pytheus_registry_new(&desc);
}

inline pytheus_err pytheus_registry_add_collector(pytheus_registry *registry,
                                                  const pytheus_collector &collector) {
    return pytheus_registry_add_collector(registry, &collector);
}
inline pytheus_err pytheus_emit_family(pytheus_emitter *out, const pytheus_family &family) {
    return pytheus_emit_family(out, &family);
}
inline pytheus_err pytheus_emit_sample(pytheus_emitter *out, const pytheus_sample &sample) {
    return pytheus_emit_sample(out, &sample);
}

/* The strings of a template's pack, if they can be labels, as an array. */
#define PYTHEUS__CXX_PAIRS(pairs, strings)                                                         \
    static_assert(sizeof...(strings) > 0 && sizeof...(strings) % 2 == 0 &&                         \
                      sizeof...(strings) <= 2 * PYTHEUS_MAX_LABELS,                                \
                  "labels come in name, value pairs, 16 at most");                                 \
    const char *const pairs[] = {&*strings...}

#define PYTHEUS__CXX_METRIC(kind)                                                                  \
    inline pytheus_##kind pytheus_##kind##_new(const pytheus_desc &desc) {                         \
        return pytheus_##kind##_new(&desc);                                                        \
    }                                                                                              \
    template <class... Strings>                                                                    \
    inline pytheus_##kind pytheus_##kind##_labels(pytheus_##kind handle, Strings... strings) {     \
        PYTHEUS__CXX_PAIRS(pairs, strings);                                                        \
        return pytheus_##kind##_view(handle, pairs, sizeof...(strings));                           \
    }
PYTHEUS__CXX_METRIC(counter)
PYTHEUS__CXX_METRIC(gauge)
PYTHEUS__CXX_METRIC(histogram)
PYTHEUS__CXX_METRIC(summary)
PYTHEUS__CXX_METRIC(info)
PYTHEUS__CXX_METRIC(stateset)
PYTHEUS__CXX_METRIC(unknown)
#undef PYTHEUS__CXX_METRIC

template <class... Strings>
inline pytheus_err pytheus_counter_add_exemplar(pytheus_counter counter, double v,
                                                Strings... strings) {
    PYTHEUS__CXX_PAIRS(pairs, strings);
    return pytheus_counter_add_with(counter, v, pairs, sizeof...(strings));
}
template <class... Strings>
inline pytheus_err pytheus_histogram_observe_exemplar(pytheus_histogram histogram, double v,
                                                      Strings... strings) {
    PYTHEUS__CXX_PAIRS(pairs, strings);
    return pytheus_histogram_observe_with(histogram, v, pairs, sizeof...(strings));
}

namespace pytheus {
namespace detail {

template <class Handle, class... Strings>
inline Handle at(pytheus__site *site, Handle handle, Strings... strings) {
    PYTHEUS__CXX_PAIRS(pairs, strings);
    handle.view = pytheus__at(site, handle.view, pairs, sizeof...(strings));
    return handle;
}

struct time_scope {
    pytheus__time_scope_data data;
    explicit time_scope(pytheus_view view) : data(pytheus__time_begin(view)) {}
    ~time_scope() {
        pytheus__time_end(&data);
    }
    time_scope(const time_scope &) = delete;
    time_scope &operator=(const time_scope &) = delete;
};

struct progress_scope {
    pytheus__progress_data data;
    explicit progress_scope(pytheus_gauge gauge) : data(pytheus__progress_begin(gauge)) {}
    ~progress_scope() {
        pytheus__progress_end(&data);
    }
    progress_scope(const progress_scope &) = delete;
    progress_scope &operator=(const progress_scope &) = delete;
};

inline int exceptions_in_flight() {
#if __cplusplus >= 201703L
    return std::uncaught_exceptions();
#else
    return std::uncaught_exception() ? 1 : 0;
#endif
}

struct exception_scope {
    struct {
        pytheus_counter counter;
        int before;
        bool open;
    } data;
    explicit exception_scope(pytheus_counter counter) {
        data.counter = counter;
        data.before = exceptions_in_flight();
        data.open = true;
    }
    ~exception_scope() {
        if (exceptions_in_flight() > data.before) {
            pytheus_counter_inc(data.counter);
        }
    }
    exception_scope(const exception_scope &) = delete;
    exception_scope &operator=(const exception_scope &) = delete;
};

template <class T, bool = __is_enum(T)> struct is_signed_enum { static const bool value = false; };
template <class T> struct is_signed_enum<T, true> {
    static const bool value = static_cast<__underlying_type(T)>(-1) < 1;
};
/* Types without an overload of their own. */
template <class T> inline bool failed(T v) {
    static_assert(is_signed_enum<T>::value, "this can't be negative: PYTHEUS_COUNT_IF");
    return pytheus__failed_long_long(static_cast<long long>(v));
}
inline bool failed(signed char v) {
    return pytheus__failed_int(v);
}
inline bool failed(short v) {
    return pytheus__failed_int(v);
}
inline bool failed(int v) {
    return pytheus__failed_int(v);
}
inline bool failed(long v) {
    return pytheus__failed_long(v);
}
inline bool failed(long long v) {
    return pytheus__failed_long_long(v);
}
template <class T> inline bool failed(T *p) {
    return pytheus__failed_pointer(p);
}

#ifdef __cpp_exceptions
template <class... E> struct exception_is {
    static bool current() {
        return false;
    }
};
template <class E, class... Others> struct exception_is<E, Others...> {
    static bool current() {
        try {
            throw;
        } catch (const E &) {
            return true;
        } catch (...) {
            return exception_is<Others...>::current();
        }
    }
};
#endif

} // namespace detail

/* A thread that is being ended is caught as a reference to nothing. */
#if defined(__clang__)
#define PYTHEUS__NULL_REFERENCE __attribute__((no_sanitize("null")))
#elif defined(__GNUC__)
#define PYTHEUS__NULL_REFERENCE __attribute__((no_sanitize_undefined))
#else
#define PYTHEUS__NULL_REFERENCE
#endif

#ifdef __cpp_exceptions
/* Calls f and returns its result. An exception of one of the types E (any, if none is given) that
   leaves it is counted once, and goes on. */
template <class... E, class F>
PYTHEUS__NULL_REFERENCE inline auto count_exceptions(pytheus_counter counter, F f)
    -> decltype(f()) {
    try {
        return f();
#ifdef __GLIBCXX__
    } catch (abi::__forced_unwind &) { /* the thread is being ended: no exception */
        throw;
#endif
    } catch (...) {
        if (sizeof...(E) == 0 || detail::exception_is<E...>::current()) {
            pytheus_counter_inc(counter);
        }
        throw;
    }
}
#endif

} // namespace pytheus

#define PYTHEUS__TIME(id, m)                                                                       \
    for (pytheus::detail::time_scope id((m).view); id.data.open; id.data.open = false)
#define PYTHEUS__TIME_SCOPE(id, m) pytheus::detail::time_scope id((m).view)
#define PYTHEUS__PROGRESS(id, g)                                                                   \
    for (pytheus::detail::progress_scope id(g); id.data.open; id.data.open = false)
#define PYTHEUS__PROGRESS_SCOPE(id, g) pytheus::detail::progress_scope id(g)
#define PYTHEUS__EXCEPTIONS(id, c)                                                                 \
    for (pytheus::detail::exception_scope id(c); id.data.open; id.data.open = false)

/* Counts an exception that leaves the block. Before C++17 it sees none while another one is already
   unwinding the stack. */
#define PYTHEUS_COUNT_EXCEPTIONS(c) PYTHEUS__EXCEPTIONS(PYTHEUS__ID(pytheus__e), c)

#define PYTHEUS__AUTO auto
#define PYTHEUS__FAILED(result) pytheus::detail::failed(result)
#define PYTHEUS__AT_SITE(site, kind, handle, ...)                                                  \
    pytheus::detail::at<pytheus_##kind>(&site, (handle), __VA_ARGS__)

#else /* C */

#define pytheus_counter_labels(counter, ...)                                                       \
    pytheus_counter_view((counter), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_gauge_labels(gauge, ...) pytheus_gauge_view((gauge), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_histogram_labels(histogram, ...)                                                   \
    pytheus_histogram_view((histogram), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_summary_labels(summary, ...)                                                       \
    pytheus_summary_view((summary), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_info_labels(info, ...) pytheus_info_view((info), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_stateset_labels(stateset, ...)                                                     \
    pytheus_stateset_view((stateset), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_unknown_labels(unknown, ...)                                                       \
    pytheus_unknown_view((unknown), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_counter_add_exemplar(counter, v, ...)                                              \
    pytheus_counter_add_with((counter), (v), PYTHEUS__PAIRS(__VA_ARGS__))
#define pytheus_histogram_observe_exemplar(histogram, v, ...)                                      \
    pytheus_histogram_observe_with((histogram), (v), PYTHEUS__PAIRS(__VA_ARGS__))
#define PYTHEUS__PAIRS(...)                                                                        \
    (const char *const[]){PYTHEUS__STRINGS(__VA_ARGS__)}, PYTHEUS__COUNT(__VA_ARGS__)

#if defined(__GNUC__)
#define PYTHEUS__TIME(id, m)                                                                       \
    for (pytheus__time_scope_data id                                                               \
         __attribute__((cleanup(pytheus__time_end))) = pytheus__time_begin((m).view);              \
         id.open; id.open = false)
#define PYTHEUS__TIME_SCOPE(id, m)                                                                 \
    pytheus__time_scope_data id __attribute__((cleanup(pytheus__time_end), unused)) =              \
        pytheus__time_begin((m).view)
#define PYTHEUS__PROGRESS(id, g)                                                                   \
    for (pytheus__progress_data id                                                                 \
         __attribute__((cleanup(pytheus__progress_end))) = pytheus__progress_begin(g);             \
         id.open; id.open = false)
#define PYTHEUS__PROGRESS_SCOPE(id, g)                                                             \
    pytheus__progress_data id __attribute__((cleanup(pytheus__progress_end), unused)) =            \
        pytheus__progress_begin(g)

/* A number that is never negative meets a function that takes no number. */
#define PYTHEUS__FAILED(result)                                                                    \
    (__extension__ _Generic((result), signed char                                                  \
                            : pytheus__failed_int, short                                           \
                            : pytheus__failed_int, int                                             \
                            : pytheus__failed_int, long                                            \
                            : pytheus__failed_long, long long                                      \
                            : pytheus__failed_long_long, bool                                      \
                            : pytheus__cannot_fail, char                                           \
                            : pytheus__cannot_fail, unsigned char                                  \
                            : pytheus__cannot_fail, unsigned short                                 \
                            : pytheus__cannot_fail, unsigned                                       \
                            : pytheus__cannot_fail, unsigned long                                  \
                            : pytheus__cannot_fail, unsigned long long                             \
                            : pytheus__cannot_fail, default                                        \
                            : pytheus__failed_pointer)(result))
#define PYTHEUS__AUTO __auto_type
#define PYTHEUS__AT_SITE(site, kind, handle, ...)                                                  \
    pytheus__at_##kind(&site, (handle), PYTHEUS__PAIRS(__VA_ARGS__))
#define PYTHEUS__DEFINE_AT(kind)                                                                   \
    static inline PYTHEUS__UNUSED pytheus_##kind pytheus__at_##kind(                               \
        pytheus__site *site, pytheus_##kind handle, const char *const *pairs,                      \
        size_t num_strings) {                                                                      \
        handle.view = pytheus__at(site, handle.view, pairs, num_strings);                          \
        return handle;                                                                             \
    }
PYTHEUS__DEFINE_AT(counter)
PYTHEUS__DEFINE_AT(gauge)
PYTHEUS__DEFINE_AT(histogram)
PYTHEUS__DEFINE_AT(summary)
PYTHEUS__DEFINE_AT(info)
PYTHEUS__DEFINE_AT(stateset)
PYTHEUS__DEFINE_AT(unknown)
#undef PYTHEUS__DEFINE_AT
#else /* neither cleanup attribute nor destructors: an early exit loses the observation */
#define PYTHEUS__TIME(id, m)                                                                       \
    for (pytheus__time_scope_data id = pytheus__time_begin((m).view); id.open;                     \
         pytheus__time_end(&id), id.open = false)
#define PYTHEUS__PROGRESS(id, g)                                                                   \
    for (pytheus__progress_data id = pytheus__progress_begin(g); id.open;                          \
         pytheus__progress_end(&id), id.open = false)
#endif

#endif /* C */

#if defined(__GNUC__)
#define PYTHEUS__COUNT_IF(result, c, expr, cond)                                                   \
    (__extension__({                                                                               \
        PYTHEUS__AUTO result = (expr);                                                             \
        if (cond) {                                                                                \
            pytheus_counter_inc(c);                                                                \
        }                                                                                          \
        result;                                                                                    \
    }))
#define PYTHEUS__COUNT_ERRORS(id, c, expr) PYTHEUS__COUNT_IF(id, c, expr, PYTHEUS__FAILED(id))
/* errno is read before the counter's own expression can change it. */
#define PYTHEUS__COUNT_ERRNO(id, c, expr, ...)                                                     \
    (__extension__({                                                                               \
        PYTHEUS__AUTO id = (expr);                                                                 \
        if (PYTHEUS__FAILED(id)) {                                                                 \
            const int pytheus__numbers[] = {pytheus__error_number(), __VA_ARGS__};                 \
            pytheus__count_errno((c), pytheus__numbers, sizeof pytheus__numbers / sizeof(int));    \
        }                                                                                          \
        id;                                                                                        \
    }))
#define PYTHEUS__AT(site, kind, handle, ...)                                                       \
    (__extension__({                                                                               \
        static pytheus__site site;                                                                 \
        PYTHEUS__AT_SITE(site, kind, handle, __VA_ARGS__);                                         \
    }))

/* Yields expr, counted if cond, in which it is called _result. */
#define PYTHEUS_COUNT_IF(c, expr, cond) PYTHEUS__COUNT_IF(_result, c, expr, cond)
/* Yields expr, a signed integer or pointer, counted if it is < 0 or NULL. */
#define PYTHEUS_COUNT_ERRORS(c, expr) PYTHEUS__COUNT_ERRORS(PYTHEUS__ID(pytheus__r), c, expr)
/* The same, but only if errno is one of the numbers. */
#define PYTHEUS_COUNT_ERRNO(c, expr, ...)                                                          \
    PYTHEUS__COUNT_ERRNO(PYTHEUS__ID(pytheus__r), c, expr, __VA_ARGS__)
/* The view of the handle with these labels, kept here. All are to be the same every time. */
#define PYTHEUS_AT(kind, handle, ...)                                                              \
    PYTHEUS__AT(PYTHEUS__ID(pytheus__site), kind, handle, __VA_ARGS__)
#endif

/* At file scope: makes a backend class known before main begins, so that the environment can name
   it. Compilers without constructors in C need a call of pytheus_backend_class_add. */
#if defined(__GNUC__) && !defined(PYTHEUS_DISABLE)
#define PYTHEUS__ANNOUNCE(id, backend_class)                                                       \
    __attribute__((constructor)) static void id(void) {                                            \
        (void)pytheus_backend_class_add(&(backend_class));                                         \
    }                                                                                              \
    struct pytheus_backend_class
#else
#define PYTHEUS__ANNOUNCE(id, backend_class)                                                       \
    static inline PYTHEUS__UNUSED const pytheus_backend_class *id(void) {                          \
        return &(backend_class);                                                                   \
    }                                                                                              \
    struct pytheus_backend_class
#endif
#define PYTHEUS_ANNOUNCE(backend_class)                                                            \
    PYTHEUS__ANNOUNCE(PYTHEUS__ID(pytheus__announce), backend_class)

#define PYTHEUS_TIME(m) PYTHEUS__TIME(PYTHEUS__ID(pytheus__t), m)
#define PYTHEUS_TRACK_INPROGRESS(g) PYTHEUS__PROGRESS(PYTHEUS__ID(pytheus__p), g)
#if defined(__GNUC__) || defined(__cplusplus)
#define PYTHEUS_TIME_SCOPE(m) PYTHEUS__TIME_SCOPE(PYTHEUS__ID(pytheus__t), m)
#define PYTHEUS_TRACK_INPROGRESS_SCOPE(g) PYTHEUS__PROGRESS_SCOPE(PYTHEUS__ID(pytheus__p), g)
#endif

#endif /* PYTHEUS_H */

/* ======================================================================================
   IMPLEMENTATION
   ====================================================================================== */

#if defined(PYTHEUS_IMPLEMENTATION) && !defined(PYTHEUS__IMPLEMENTED)
#define PYTHEUS__IMPLEMENTED
#ifndef PYTHEUS_DISABLE

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#include <sys/stat.h>
#include <windows.h>
#else
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h> /* flock */
#include <sys/stat.h>
#include <unistd.h>
#endif

#if defined(PYTHEUS_MALLOC) && defined(PYTHEUS_REALLOC) && defined(PYTHEUS_FREE)
#elif !defined(PYTHEUS_MALLOC) && !defined(PYTHEUS_REALLOC) && !defined(PYTHEUS_FREE)
#define PYTHEUS_MALLOC(size) malloc(size)
#define PYTHEUS_REALLOC(p, size) realloc(p, size)
#define PYTHEUS_FREE(p) free(p)
#else
#error "pytheus.h: define all of PYTHEUS_MALLOC, PYTHEUS_REALLOC and PYTHEUS_FREE, or none of them"
#endif

/* ==== PLATFORM: ATOMICS, LOCKS, CLOCKS ==== */

/* 8-byte alignment is what makes 64-bit atomics lock-free on 32-bit x86. */
#if defined(__GNUC__)
typedef uint64_t pytheus__word __attribute__((aligned(8)));
/* What the cost of an operation is made of: a call that is not inlined would show. */
#define PYTHEUS__HOT static inline __attribute__((always_inline))
#define PYTHEUS__LIKELY(condition) __builtin_expect(!!(condition), 1)
#define PYTHEUS__COLD static __attribute__((noinline, cold))
#define PYTHEUS__OUT_OF_LINE static __attribute__((noinline))
#define PYTHEUS__LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define PYTHEUS__LOAD_ACQUIRE(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define PYTHEUS__STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define PYTHEUS__STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define PYTHEUS__ADD(p, v) __atomic_fetch_add(p, v, __ATOMIC_RELAXED)
#define PYTHEUS__ADD_ORDERED(p, v) __atomic_fetch_add(p, v, __ATOMIC_ACQ_REL)
#define PYTHEUS__SET_BITS(p, v) __atomic_fetch_or(p, v, __ATOMIC_ACQ_REL)
#define PYTHEUS__EXCHANGE(p, v) __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL)
#define PYTHEUS__CLEAR_BITS(p, v) __atomic_fetch_and(p, ~(uint64_t)(v), __ATOMIC_ACQ_REL)
/* On failure *expected is loaded anew, with acquire; somebody else has changed it. */
#define PYTHEUS__REPLACE(p, expected, v)                                                           \
    __atomic_compare_exchange_n(p, expected, v, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#elif defined(PYTHEUS_NO_THREADS)
typedef uint64_t pytheus__word;
#define PYTHEUS__HOT static inline
#define PYTHEUS__LIKELY(condition) (condition)
#define PYTHEUS__COLD static
#define PYTHEUS__OUT_OF_LINE static
#define PYTHEUS__LOAD(p) (*(p))
#define PYTHEUS__LOAD_ACQUIRE(p) (*(p))
#define PYTHEUS__STORE(p, v) (*(p) = (v))
#define PYTHEUS__STORE_RELEASE(p, v) (*(p) = (v))
#define PYTHEUS__ADD(p, v) ((*(p) += (v)) - (v))
#define PYTHEUS__ADD_ORDERED(p, v) PYTHEUS__ADD(p, v)
#define PYTHEUS__SET_BITS(p, v) pytheus__set_bits(p, v)
#define PYTHEUS__EXCHANGE(p, v) pytheus__exchange((void **)(void *)(p), v)
#define PYTHEUS__CLEAR_BITS(p, v) (*(p) &= ~(uint64_t)(v))
#define PYTHEUS__REPLACE(p, expected, v) ((void)*(expected), *(p) = (v), true)
static void *pytheus__exchange(void **place, void *p) {
    void *old = *place;
    *place = p;
    return old;
}
static uint64_t pytheus__set_bits(pytheus__word *word, uint64_t bits) {
    uint64_t old = *word;
    *word |= bits;
    return old;
}
#else
#error "pytheus.h: this compiler has no __atomic builtins; PYTHEUS_NO_THREADS does without them"
#endif

#if defined(PYTHEUS_NO_THREADS)
#define PYTHEUS__THREAD_LOCAL
typedef char pytheus__lock;
#define PYTHEUS__LOCK_INIT 0
static void pytheus__lock_init(pytheus__lock *lock) {
    *lock = 0;
}
static void pytheus__lock_destroy(pytheus__lock *lock) {
    (void)lock;
}
static void pytheus__acquire(pytheus__lock *lock) {
    (void)lock;
}
static void pytheus__release(pytheus__lock *lock) {
    (void)lock;
}
#elif defined(_WIN32)
#define PYTHEUS__THREAD_LOCAL __thread
typedef SRWLOCK pytheus__lock;
#define PYTHEUS__LOCK_INIT SRWLOCK_INIT
static void pytheus__lock_init(pytheus__lock *lock) {
    InitializeSRWLock(lock);
}
static void pytheus__lock_destroy(pytheus__lock *lock) {
    (void)lock;
}
static void pytheus__acquire(pytheus__lock *lock) {
    AcquireSRWLockExclusive(lock);
}
static void pytheus__release(pytheus__lock *lock) {
    ReleaseSRWLockExclusive(lock);
}
#else
#define PYTHEUS__THREAD_LOCAL __thread
typedef pthread_mutex_t pytheus__lock;
#define PYTHEUS__LOCK_INIT PTHREAD_MUTEX_INITIALIZER
static void pytheus__lock_init(pytheus__lock *lock) {
    (void)pthread_mutex_init(lock, NULL); /* with no attributes there is nothing to run out of */
}
static void pytheus__lock_destroy(pytheus__lock *lock) {
    (void)pthread_mutex_destroy(lock);
}
static void pytheus__acquire(pytheus__lock *lock) {
    (void)pthread_mutex_lock(lock);
}
static void pytheus__release(pytheus__lock *lock) {
    (void)pthread_mutex_unlock(lock);
}
#endif

static size_t pytheus__num_processors(void) {
#if defined(PYTHEUS_NO_THREADS)
    return 1;
#elif defined(_WIN32)
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    return info.dwNumberOfProcessors;
#else
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (size_t)n : 1;
#endif
}

/* For what another thread does without a lock. */
static void pytheus__wait(void) {
#if defined(_WIN32)
    Sleep(1);
#elif !defined(PYTHEUS_NO_THREADS)
    int saved_errno = errno;
    (void)poll(NULL, 0, 1);
    errno = saved_errno;
#endif
}

/* 0, 1, ... in the order in which threads ask for it first. */
static PYTHEUS__THREAD_LOCAL uint32_t pytheus__thread; /* its number plus 1 */

PYTHEUS__COLD void pytheus__number_thread(void) {
    static uint32_t last;
    pytheus__thread = PYTHEUS__ADD(&last, (uint32_t)1) + 1;
}

PYTHEUS__HOT size_t pytheus__thread_number(void) {
    if (!PYTHEUS__LIKELY(pytheus__thread)) {
        pytheus__number_thread();
    }
    return pytheus__thread - 1;
}

#ifdef _WIN32
static double pytheus__monotonic(void) {
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / (double)frequency.QuadPart;
}
static double pytheus__wall_clock(void) {
    FILETIME now; /* 100 ns since 1601 */
    GetSystemTimeAsFileTime(&now);
    return (double)(((uint64_t)now.dwHighDateTime << 32) | now.dwLowDateTime) / 1e7 - 11644473600.0;
}
#else
/* glibc and musl hide these from a host that asked for strict C before it included this file. */
#ifdef __linux__
typedef int pytheus__clock_id;
#if defined(__STRICT_ANSI__) && !defined(__cplusplus)
extern int clock_gettime(int clock, struct timespec *now)
#if defined(__USE_TIME_BITS64) && __TIMESIZE == 32
    __asm__("__clock_gettime64") /* what the header would have said */
#endif
    ;
extern int fsync(int fd);
#endif
#else
typedef clockid_t pytheus__clock_id;
#endif
#ifdef O_CLOEXEC
#define PYTHEUS__CLOSE_ON_EXEC O_CLOEXEC
#else
#define PYTHEUS__CLOSE_ON_EXEC 0
#endif
#ifdef CLOCK_MONOTONIC
#define PYTHEUS__CLOCK_MONOTONIC CLOCK_MONOTONIC
#else
#define PYTHEUS__CLOCK_MONOTONIC 1
#endif
static double pytheus__read_clock(pytheus__clock_id clock) {
    struct timespec now;
    now.tv_sec = 0;
    now.tv_nsec = 0;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}
static double pytheus__monotonic(void) {
    return pytheus__read_clock(PYTHEUS__CLOCK_MONOTONIC);
}
static double pytheus__wall_clock(void) {
    return pytheus__read_clock((pytheus__clock_id)0); /* CLOCK_REALTIME */
}
#endif

/* Below: the allocator of the private stb_ds. Neither returns NULL: see pytheus__try. */
static void *pytheus__stb_realloc(void *p, size_t size);
static void pytheus__stb_free(void *p);

/* ==== STB_DS, PRIVATELY ==== */

/* A copy of stb_ds that nobody else sees, even where the program has its own in this very file,
   before or after. Everything in it gets another name, and the last section gives the program its
   macros back. Nothing is exported: a function once declared static stays so when it is declared
   again with extern, or without a storage class (C99 6.2.2p4 and p5; C++ agrees). */

/* clang-format off */
#ifndef PYTHEUS_STB_DS_H
#if __has_include("stb_ds.h")
#define PYTHEUS_STB_DS_H "stb_ds.h"
#elif __has_include(<stb/stb_ds.h>)
#define PYTHEUS_STB_DS_H <stb/stb_ds.h>
#else
#error "pytheus.h needs stb_ds.h: install the package libstb-dev (Debian, Ubuntu), or put the file \
https://raw.githubusercontent.com/nothings/stb/master/stb_ds.h beside pytheus.h, \
or compile with -DPYTHEUS_STB_DS_H='\"path/to/stb_ds.h\"'"
#endif
#endif

#pragma push_macro("INCLUDE_STB_DS_H")
#pragma push_macro("STB_DS_IMPLEMENTATION")
#pragma push_macro("STBDS_NO_SHORT_NAMES")
#pragma push_macro("STBDS_REALLOC")
#pragma push_macro("STBDS_FREE")
#pragma push_macro("STBDS_ASSERT")
#pragma push_macro("STBDS_ADDRESSOF")
#pragma push_macro("STBDS_OFFSETOF")
#pragma push_macro("STBDS_STATISTICS")
#pragma push_macro("STBDS_STATS")
#pragma push_macro("STBDS_SIPHASH_2_4")
#pragma push_macro("STBDS_UNIT_TESTS")
#pragma push_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma push_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")
#pragma push_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#undef INCLUDE_STB_DS_H
#undef STB_DS_IMPLEMENTATION
#undef STBDS_NO_SHORT_NAMES
#undef STBDS_REALLOC
#undef STBDS_FREE
#undef STBDS_ASSERT
#undef STBDS_ADDRESSOF
#undef STBDS_OFFSETOF
#undef STBDS_STATISTICS
#undef STBDS_STATS
#undef STBDS_SIPHASH_2_4
#undef STBDS_UNIT_TESTS
#define STB_DS_IMPLEMENTATION
#define STBDS_NO_SHORT_NAMES
#define STBDS_REALLOC(context, p, size) pytheus__stb_realloc((p), (size))
#define STBDS_FREE(context, p) pytheus__stb_free(p)
#define STBDS_ASSERT(condition) ((void)0)

#define stbds_array_header pytheus__stb_array_header
#define stbds_string_arena pytheus__stb_string_arena
#define stbds_string_block pytheus__stb_string_block
#define stbds_hash_bucket pytheus__stb_hash_bucket
#define stbds_hash_index pytheus__stb_hash_index
#define stbds_arrgrowf pytheus__stb_arrgrowf
#define stbds_arrfreef pytheus__stb_arrfreef
#define stbds_hmfree_func pytheus__stb_hmfree_func
#define stbds_hmget_key pytheus__stb_hmget_key
#define stbds_hmget_key_ts pytheus__stb_hmget_key_ts
#define stbds_hmput_default pytheus__stb_hmput_default
#define stbds_hmput_key pytheus__stb_hmput_key
#define stbds_hmdel_key pytheus__stb_hmdel_key
#define stbds_shmode_func pytheus__stb_shmode_func
#define stbds_rand_seed pytheus__stb_rand_seed
#define stbds_hash_bytes pytheus__stb_hash_bytes
#define stbds_hash_string pytheus__stb_hash_string
#define stbds_stralloc pytheus__stb_stralloc
#define stbds_strreset pytheus__stb_strreset
#define stbds_hash_seed pytheus__stb_hash_seed
#define stbds_probe_position pytheus__stb_probe_position
#define stbds_log2 pytheus__stb_log2
#define stbds_make_hash_index pytheus__stb_make_hash_index
#define stbds_siphash_bytes pytheus__stb_siphash_bytes
#define stbds_is_key_equal pytheus__stb_is_key_equal
#define stbds_hm_find_slot pytheus__stb_hm_find_slot
#define stbds_strdup pytheus__stb_strdup
#define STBDS_SH_NONE PYTHEUS__STB_SH_NONE
#define STBDS_SH_DEFAULT PYTHEUS__STB_SH_DEFAULT
#define STBDS_SH_STRDUP PYTHEUS__STB_SH_STRDUP
#define STBDS_SH_ARENA PYTHEUS__STB_SH_ARENA
#ifdef __cplusplus
#define stbds_arrgrowf_wrapper pytheus__stb_arrgrowf_wrapper
#define stbds_hmget_key_wrapper pytheus__stb_hmget_key_wrapper
#define stbds_hmget_key_ts_wrapper pytheus__stb_hmget_key_ts_wrapper
#define stbds_hmput_default_wrapper pytheus__stb_hmput_default_wrapper
#define stbds_hmput_key_wrapper pytheus__stb_hmput_key_wrapper
#define stbds_hmdel_key_wrapper pytheus__stb_hmdel_key_wrapper
#define stbds_shmode_func_wrapper pytheus__stb_shmode_func_wrapper
#endif

#pragma GCC diagnostic push
#ifdef __clang__
#pragma GCC diagnostic ignored "-Weverything"
#else
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wredundant-decls"
#pragma GCC diagnostic ignored "-Wundef"
#ifdef __cplusplus
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif
struct stbds_string_arena;
static void *stbds_arrgrowf(void *a, size_t elemsize, size_t addlen, size_t min_cap);
static void stbds_arrfreef(void *a);
static void stbds_hmfree_func(void *p, size_t elemsize);
static void *stbds_hmget_key(void *a, size_t elemsize, void *key, size_t keysize, int mode);
static void *stbds_hmget_key_ts(void *a, size_t elemsize, void *key, size_t keysize,
                                ptrdiff_t *temp, int mode);
static void *stbds_hmput_default(void *a, size_t elemsize);
static void *stbds_hmput_key(void *a, size_t elemsize, void *key, size_t keysize, int mode);
static void *stbds_hmdel_key(void *a, size_t elemsize, void *key, size_t keysize, size_t keyoffset,
                             int mode);
static void *stbds_shmode_func(size_t elemsize, int mode);
static void stbds_rand_seed(size_t seed);
static size_t stbds_hash_string(char *str, size_t seed);
static char *stbds_stralloc(struct stbds_string_arena *a, char *str);
static void stbds_strreset(struct stbds_string_arena *a);
/* These two shift bytes into the sign of an int. */
__attribute__((no_sanitize("undefined")))
static size_t stbds_hash_bytes(void *p, size_t len, size_t seed);
__attribute__((no_sanitize("undefined")))
static size_t stbds_siphash_bytes(void *p, size_t len, size_t seed);
#ifdef __cplusplus
}
#endif

#include PYTHEUS_STB_DS_H
#pragma GCC diagnostic pop
#ifndef INCLUDE_STB_DS_H
#error "pytheus.h: stb_ds.h was not read. Is there a #pragma once in it? Take the original file."
#endif

/* stb_ds's own needs GNU typeof in gcc. This one takes lvalues only, and only of the key's type. */
#undef STBDS_ADDRESSOF
#define STBDS_ADDRESSOF(typevar, value) (1 ? &(value) : &(typevar))

/* stb_ds's own is a ptrdiff_t given to a size_t. Its maps want the key first in any case. */
#undef STBDS_OFFSETOF
#define STBDS_OFFSETOF(var, field) 0
/* clang-format on */

/* ==== MEMORY AND ERRORS ==== */

typedef struct pytheus__piece {
    const char *text;
    size_t size;
} pytheus__piece;

typedef struct pytheus__name_entry {
    uint64_t key;
    struct pytheus__family *value;
} pytheus__name_entry;

/* A set: an open table, at most half of which is taken. */
typedef struct pytheus__hashes {
    uint64_t *table; /* 0: empty */
    size_t room, used;
} pytheus__hashes;

/* What is on a registry's page: a metric, or a collector. */
typedef struct pytheus__entry {
    uint64_t serial; /* rises along the list */
    struct pytheus__family *family;
    struct pytheus__collecting *collecting;
} pytheus__entry;

/* A backend as a registry holds it. Its name and configuration stand behind it. */
typedef struct pytheus__store {
    pytheus_backend backend;
    const char *config;
    size_t size;  /* of all */
    size_t users; /* the registry, metrics, and who is calling it; guarded by the registry's lock */
} pytheus__store;

typedef struct pytheus__chunk {
    void *memory;
    size_t size;
} pytheus__chunk;

struct pytheus_registry {
    pytheus__lock lock; /* guards all below but what never changes after the registry is made */
    pytheus_allocator allocator;
    pytheus_logger logger;
    double (*clock)(void *user);
    void *clock_user;
    pytheus__piece prefix; /* "app_" */
    uint64_t seed[2];
    size_t num_processors;
    bool shows_created;                /* in OpenMetrics, of metrics that are made now */
    struct pytheus__family **families; /* stb_ds array: what was made here */
    pytheus__entry *entries;           /* stb_ds array: what is on the page */
    uint64_t last_entry;               /* serial number */
    pytheus__store **stores;           /* stb_ds array */
    pytheus__store *store;      /* that new metrics get; NULL: their values are in the nodes */
    pytheus__name_entry *names; /* stb_ds map: every sample name, hashed */
    pytheus__hashes told;       /* refused definitions that were logged */
    pytheus__chunk *chunks;     /* stb_ds array */
    size_t chunk_bytes;
    char *arena, *arena_end; /* what is left of the newest chunk */
    char *spare, *spare_end; /* the most that is left of an older one */
    pytheus_registry *next;  /* guarded by pytheus__registries_lock */
};

enum { PYTHEUS__SENTENCE_SIZE = 256, PYTHEUS__CACHE_LINE = 64 };

typedef struct pytheus__attempt {
    jmp_buf escape;
    pytheus_registry *registry;
} pytheus__attempt;

static PYTHEUS__THREAD_LOCAL char pytheus__sentence[PYTHEUS__SENTENCE_SIZE];
static PYTHEUS__THREAD_LOCAL pytheus__attempt *pytheus__current_attempt;
static PYTHEUS__THREAD_LOCAL bool pytheus__is_logging;

/* What other threads may wait for while this one is in a backend: it opens a series that room is
   kept for, or removes some. Calls from there don't wait: for themselves it would be for ever. */
typedef enum pytheus__awaited {
    PYTHEUS__NOT_AWAITED,
    PYTHEUS__OPENING,
    PYTHEUS__REMOVING
} pytheus__awaited;
static PYTHEUS__THREAD_LOCAL pytheus__awaited pytheus__doing;

/* Taken last of all. All maps of stb_ds share a seed, which is read and changed when one is
   made. */
static pytheus__lock pytheus__stb_lock = PYTHEUS__LOCK_INIT;

static void *pytheus__standard_realloc(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    (void)old_size;
    if (!new_size) {
        PYTHEUS_FREE(p);
        return NULL;
    }
    return p ? PYTHEUS_REALLOC(p, new_size) : PYTHEUS_MALLOC(new_size);
}

static void *pytheus__resize(const pytheus_allocator *allocator, void *p, size_t old_size,
                             size_t new_size) {
    return allocator->realloc(allocator->user, p, old_size, new_size);
}

static void pytheus__release_memory(const pytheus_allocator *allocator, void *p, size_t size) {
    if (p) {
        (void)pytheus__resize(allocator, p, size, 0);
    }
}

/* What stb_ds allocates carries its size in front, for allocators that want it back. */
typedef union pytheus__stb_header {
    size_t size;
    char alignment[16];
} pytheus__stb_header;

static void *pytheus__stb_realloc(void *p, size_t size) {
    pytheus__attempt *attempt = pytheus__current_attempt;
    pytheus__stb_header *old = p ? (pytheus__stb_header *)p - 1 : NULL;
    pytheus__stb_header *block = NULL;
    if (size <= SIZE_MAX / 2) {
        block = (pytheus__stb_header *)pytheus__resize(&attempt->registry->allocator, old,
                                                       old ? old->size : 0, size + sizeof *block);
    }
    if (!block) {
        longjmp(attempt->escape, 1);
    }
    block->size = size + sizeof *block;
    return block + 1;
}

static void pytheus__stb_free(void *p) {
    if (p) {
        pytheus__stb_header *block = (pytheus__stb_header *)p - 1;
        pytheus__release_memory(&pytheus__current_attempt->registry->allocator, block, block->size);
    }
}

/* Runs a change of stb_ds containers; false when memory ran out in the middle of it. Callers own
   them: they hold the registry's lock, or nobody else knows them. stb_ds itself knows no failing
   allocation: ours leaves it by longjmp, at points where its containers are whole (that is why
   keys are scalars and maps have a default). */
static bool pytheus__try(pytheus_registry *registry, void (*change)(void *argument),
                         void *argument) {
    pytheus__attempt attempt;
    volatile bool done = false;
    attempt.registry = registry;
    pytheus__acquire(&pytheus__stb_lock);
    pytheus__current_attempt = &attempt;
    if (!setjmp(attempt.escape)) {
        change(argument);
        done = true;
    }
    pytheus__current_attempt = NULL;
    pytheus__release(&pytheus__stb_lock);
    return done;
}

typedef struct pytheus__growth {
    void *array;
    size_t element_size;
} pytheus__growth;

static void pytheus__grow(void *argument) {
    pytheus__growth *growth = (pytheus__growth *)argument;
    growth->array = stbds_arrgrowf(growth->array, growth->element_size, 1, 0);
}

/* The stb_ds array with room for one more element, so that adding it can't fail; NULL: no
   memory. */
static void *pytheus__room_for_one(pytheus_registry *registry, void *array, size_t element_size) {
    pytheus__growth growth;
    if (array && stbds_header(array)->length < stbds_header(array)->capacity) {
        return array;
    }
    growth.array = array;
    growth.element_size = element_size;
    return pytheus__try(registry, pytheus__grow, &growth) ? growth.array : NULL;
}

/* -- the arena: nodes, families and index segments, which live as long as the registry -- */

static size_t pytheus__cache_lines(size_t size) {
    return (size + PYTHEUS__CACHE_LINE - 1) & ~(size_t)(PYTHEUS__CACHE_LINE - 1);
}

/* Chunks grow with what is used, so that a small program stays small. */
static size_t pytheus__chunk_size(const pytheus_registry *registry, size_t needed) {
    size_t size = registry->chunk_bytes / 4;
    size = size < 8192 ? 8192 : size > 1048576 ? 1048576 : size;
    return (needed > size ? needed : size) + PYTHEUS__CACHE_LINE;
}

static void pytheus__arena_swap(pytheus_registry *registry) {
    char *start = registry->arena, *end = registry->arena_end;
    registry->arena = registry->spare;
    registry->arena_end = registry->spare_end;
    registry->spare = start;
    registry->spare_end = end;
}

static bool pytheus__arena_fits(const pytheus_registry *registry, size_t size) {
    return size <= (size_t)(registry->arena_end - registry->arena);
}

/* Makes sure that so many bytes, in cache lines, can be taken; false: no memory. */
static bool pytheus__arena_reserve(pytheus_registry *registry, size_t size) {
    pytheus__chunk chunk;
    void *chunks;
    if (pytheus__arena_fits(registry, size)) {
        return true;
    }
    pytheus__arena_swap(registry);
    if (pytheus__arena_fits(registry, size)) {
        return true;
    }
    chunks = pytheus__room_for_one(registry, registry->chunks, sizeof *registry->chunks);
    if (!chunks) {
        return false;
    }
    registry->chunks = (pytheus__chunk *)chunks;
    chunk.size = pytheus__chunk_size(registry, size);
    chunk.memory = pytheus__resize(&registry->allocator, NULL, 0, chunk.size);
    if (!chunk.memory) {
        return false;
    }
    stbds_arrput(registry->chunks, chunk);
    registry->chunk_bytes += chunk.size;
    if (registry->arena_end - registry->arena > registry->spare_end - registry->spare) {
        pytheus__arena_swap(registry);
    }
    registry->arena = (char *)pytheus__cache_lines((uintptr_t)chunk.memory);
    registry->arena_end = registry->arena + (chunk.size - PYTHEUS__CACHE_LINE);
    return true;
}

static void *pytheus__arena_take(pytheus_registry *registry, size_t size) {
    void *p = registry->arena;
    registry->arena += size;
    memset(p, 0, size);
    return p;
}

/* -- errors -- */

/* The bytes of the UTF-8 character at s, or, negative, of the longest part of one that must be
   replaced as a whole (Unicode, section 3.9, "maximal subparts"). Never reads past a NUL. */
static int pytheus__utf8_step(const unsigned char *s) {
    unsigned char low = 0x80, high = 0xbf;
    int i, following;
    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return -1;
    }
    following = s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
    if (s[0] == 0xe0) {
        low = 0xa0; /* shorter forms exist */
    } else if (s[0] == 0xed) {
        high = 0x9f; /* surrogates */
    } else if (s[0] == 0xf0) {
        low = 0x90;
    } else if (s[0] == 0xf4) {
        high = 0x8f; /* above U+10FFFF */
    }
    for (i = 1; i <= following; i++) {
        if (s[i] < low || s[i] > high) {
            return -i;
        }
        low = 0x80;
        high = 0xbf;
    }
    return following + 1;
}

/* Names and paths in sentences may be hostile: what a terminal might obey, and what is not UTF-8,
   becomes a question mark. */
static void pytheus__make_printable(char *text) {
    while (*text) {
        const unsigned char *c = (const unsigned char *)text;
        int step = pytheus__utf8_step(c);
        bool is_control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0);
        if (step > 0 && !is_control) {
            text += step;
        } else {
            *text++ = '?';
        }
    }
}

/* Names the error in this thread's sentence. A hostile name can't break the line. */
PYTHEUS_API pytheus_err pytheus_fail(pytheus_err err, const char *format, ...) {
    int saved_errno = errno;
    char sentence[PYTHEUS__SENTENCE_SIZE]; /* arguments may be of the old one */
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof sentence) {
        memcpy(sentence + sizeof sentence - 4, "...", 4);
    }
    pytheus__make_printable(sentence);
    memcpy(pytheus__sentence, sentence, sizeof sentence);
    errno = saved_errno;
    return err;
}

static pytheus_err pytheus__out_of_memory(const char *subject) {
    return pytheus_fail(PYTHEUS_ERR_NOMEM, "%.100s: out of memory", subject);
}

static void pytheus__standard_log(void *user, pytheus_err err, const char *metric,
                                  const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    fprintf(stderr, "pytheus: %s\n", sentence);
}

/* The thread's sentence, while what may fail has its own. */
typedef struct pytheus__kept {
    char sentence[PYTHEUS__SENTENCE_SIZE];
} pytheus__kept;

static void pytheus__keep_sentence(pytheus__kept *kept) {
    memcpy(kept->sentence, pytheus__sentence, sizeof kept->sentence);
}

static void pytheus__return_sentence(const pytheus__kept *kept) {
    memcpy(pytheus__sentence, kept->sentence, sizeof kept->sentence);
}

/* Gives the thread's sentence to the logger. That may fail calls of its own: they are not
   logged, or it would never end, and afterwards the sentence is still this error's. */
static void pytheus__log(const pytheus_logger *logger, pytheus_err err, const char *metric) {
    int saved_errno = errno;
    pytheus__kept kept;
    if (pytheus__is_logging) {
        return;
    }
    pytheus__keep_sentence(&kept);
    pytheus__is_logging = true;
    logger->log(logger->user, err, metric, kept.sentence);
    pytheus__is_logging = false;
    pytheus__return_sentence(&kept);
    errno = saved_errno;
}

/* Around a callback that may fail with a sentence of its own, or without one. */
static char pytheus__before_callback(void) {
    char first = pytheus__sentence[0];
    pytheus__sentence[0] = '\0';
    return first;
}

/* What it returned, or for a number that is none of our errors, unknown. Where it has no sentence,
   ours is the thread's again, or for an error "subject: otherwise". */
static pytheus_err pytheus__after_callback(char first, int err, pytheus_err unknown,
                                           const char *subject, const char *otherwise) {
    pytheus_err ours = err < PYTHEUS_ERR_IO || err > 0 ? unknown : (pytheus_err)err;
    if (ours && !pytheus__sentence[0]) {
        return pytheus_fail(ours, "%.100s: %s", subject, otherwise);
    }
    if (!ours && !pytheus__sentence[0]) {
        pytheus__sentence[0] = first;
    }
    return ours;
}

PYTHEUS_API const char *pytheus_last_error(void) {
    return pytheus__sentence;
}

PYTHEUS_API const char *pytheus_err_name(pytheus_err err) {
    switch (err) {
    case PYTHEUS_OK:
        return "PYTHEUS_OK";
#define PYTHEUS__ERROR_NAME(name, number, text)                                                    \
    case PYTHEUS_ERR_##name:                                                                       \
        return "PYTHEUS_ERR_" #name;
        PYTHEUS_ERRORS(PYTHEUS__ERROR_NAME)
#undef PYTHEUS__ERROR_NAME
    }
    return "unknown error";
}

PYTHEUS_API const char *pytheus_err_text(pytheus_err err) {
    switch (err) {
    case PYTHEUS_OK:
        return "no error";
#define PYTHEUS__ERROR_TEXT(name, number, text)                                                    \
    case PYTHEUS_ERR_##name:                                                                       \
        return text;
        PYTHEUS_ERRORS(PYTHEUS__ERROR_TEXT)
#undef PYTHEUS__ERROR_TEXT
    }
    return "unknown error";
}

/* ==== NAMES AND TEXT ==== */

static bool pytheus__is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool pytheus__is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool pytheus__is_name(const char *name, bool colons) {
    if (!name || pytheus__is_digit(*name) || !*name) {
        return false;
    }
    for (; *name; name++) {
        if (!pytheus__is_letter(*name) && !pytheus__is_digit(*name) && !(colons && *name == ':')) {
            return false;
        }
    }
    return true;
}

static bool pytheus__starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

static bool pytheus__ends_with(const char *text, size_t size, const char *end) {
    size_t end_size = strlen(end);
    return size >= end_size && memcmp(text + size - end_size, end, end_size) == 0;
}

/* Pieces of lines are copied in words: so much behind each can be read. */
enum { PYTHEUS__WORD_BEHIND = 8 };

/* Text that is put together twice: once with at == NULL to learn its size, then for real. */
typedef struct pytheus__text {
    char *at;
    size_t size;
} pytheus__text;

static void pytheus__add(pytheus__text *out, const char *bytes, size_t size) {
    if (out->at) {
        memcpy(out->at + out->size, bytes, size);
    }
    out->size += size;
}

static void pytheus__add_string(pytheus__text *out, const char *string) {
    pytheus__add(out, string, strlen(string));
}

/* The next character of a string, or U+FFFD for what is not UTF-8; moves on to what follows it. */
static pytheus__piece pytheus__next_mended(const char **string) {
    int step = pytheus__utf8_step((const unsigned char *)*string);
    pytheus__piece character;
    character.text = step > 0 ? *string : "\xef\xbf\xbd";
    character.size = step > 0 ? (size_t)step : 3;
    *string += step > 0 ? step : -step;
    return character;
}

/* What comes next in a string up to its end or to what is not UTF-8, or U+FFFD for that; moves on
   to what follows. */
static pytheus__piece pytheus__next_run(const char **string) {
    const char *end = *string;
    pytheus__piece run;
    int step;
    while (*end && (step = pytheus__utf8_step((const unsigned char *)end)) > 0) {
        end += step;
    }
    if (end == *string) {
        return pytheus__next_mended(string);
    }
    run.text = *string;
    run.size = (size_t)(end - *string);
    *string = end;
    return run;
}

/* Whether both strings are the same once they are mended. */
static bool pytheus__mend_alike(const char *a, const char *b) {
    while (*a && *b) {
        pytheus__piece of_a = pytheus__next_mended(&a), of_b = pytheus__next_mended(&b);
        if (of_a.size != of_b.size || memcmp(of_a.text, of_b.text, of_a.size) != 0) {
            return false;
        }
    }
    return *a == *b;
}

/* Adds the string with what is not UTF-8 replaced. */
static void pytheus__add_mended(pytheus__text *out, const char *string) {
    while (*string) {
        pytheus__piece run = pytheus__next_run(&string);
        pytheus__add(out, run.text, run.size);
    }
}

/* Adds the bytes with backslash and newline escaped; quotes too, as label values want it. */
static void pytheus__add_escaped(pytheus__text *out, const char *bytes, size_t size,
                                 bool escape_quotes) {
    size_t i, start = 0;
    for (i = 0; i < size; i++) {
        char c = bytes[i];
        if (c == '\\' || c == '\n' || (c == '"' && escape_quotes)) {
            pytheus__add(out, bytes + start, i - start);
            pytheus__add(out, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\\\", 2);
            start = i + 1;
        }
    }
    pytheus__add(out, bytes + start, size - start);
}

static size_t pytheus__mended_size(const char *string) {
    pytheus__text out = {NULL, 0};
    pytheus__add_mended(&out, string);
    return out.size;
}

static bool pytheus__is_utf8(const char *string) {
    while (*string) {
        int step = pytheus__utf8_step((const unsigned char *)string);
        if (step < 0) {
            return false;
        }
        string += step;
    }
    return true;
}

/* ==== BITS AND HASHES ==== */

static double pytheus__as_double(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static uint64_t pytheus__as_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

#define PYTHEUS__SIGN_BIT ((uint64_t)1 << 63)
#define PYTHEUS__INFINITY_BITS ((uint64_t)0x7ff << 52)

/* By their bits, because -ffast-math takes comparisons with NaN and infinities for settled. */
static bool pytheus__is_nan(double v) {
    return (pytheus__as_bits(v) & ~PYTHEUS__SIGN_BIT) > PYTHEUS__INFINITY_BITS;
}

static bool pytheus__is_finite(double v) {
    return (pytheus__as_bits(v) & ~PYTHEUS__SIGN_BIT) < PYTHEUS__INFINITY_BITS;
}

/* Finite, and not below 0. */
static bool pytheus__is_amount(double v) {
    uint64_t bits = pytheus__as_bits(v);
    return bits < PYTHEUS__INFINITY_BITS || bits == PYTHEUS__SIGN_BIT;
}

/* A word whose lowest byte is to be, or was, the first in memory. */
static uint64_t pytheus__in_memory_order(uint64_t word) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap64(word);
#else
    return word;
#endif
}

static uint32_t pytheus__in_memory_order_4(uint32_t word) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return __builtin_bswap32(word);
#else
    return word;
#endif
}

/* What a counter may have come to: not below 0, +Inf when it was past the largest number. */
static bool pytheus__is_total(double v) {
    return pytheus__is_amount(v) || pytheus__as_bits(v) == PYTHEUS__INFINITY_BITS;
}

typedef struct pytheus__u128 {
    uint64_t high, low;
} pytheus__u128;

static pytheus__u128 pytheus__multiply(uint64_t a, uint64_t b) {
    pytheus__u128 product;
#if defined(__SIZEOF_INT128__)
    __extension__ typedef unsigned __int128 wide;
    wide exact = (wide)a * b;
    product.high = (uint64_t)(exact >> 64);
    product.low = (uint64_t)exact;
#else
    uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    uint64_t low = a_low * b_low;
    uint64_t cross = a_high * b_low + (low >> 32);
    uint64_t middle = a_low * b_high + (uint32_t)cross;
    product.high = a_high * b_high + (cross >> 32) + (middle >> 32);
    product.low = middle << 32 | (uint32_t)low;
#endif
    return product;
}

/* Both halves of the product, folded into one. */
static uint64_t pytheus__fold(uint64_t a, uint64_t b) {
    pytheus__u128 product = pytheus__multiply(a, b);
    return product.high ^ product.low;
}

/* One multiplication spreads short values badly over some seeds. */
PYTHEUS__HOT uint64_t pytheus__finish_hash(uint64_t hash) {
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* Two words at a time. What they are mixed with is secret, so that values which collide can't be
   chosen. */
PYTHEUS__HOT uint64_t pytheus__hash_words(const uint64_t seed[2], const pytheus__word *words,
                                          size_t n) {
    uint64_t hash = seed[0] ^ n;
    size_t i;
    for (i = 0; i + 1 < n; i += 2) {
        hash = pytheus__fold(words[i] ^ hash, words[i + 1] ^ seed[1]);
    }
    if (i < n) {
        hash = pytheus__fold(words[i] ^ hash, seed[1]);
    }
    return pytheus__finish_hash(hash);
}

static uint64_t pytheus__hash_bytes(const uint64_t seed[2], const char *bytes, size_t size) {
    uint64_t hash = seed[0] ^ size, pair[2] = {0, 0};
    for (; size > sizeof pair; bytes += sizeof pair, size -= sizeof pair) {
        memcpy(pair, bytes, sizeof pair);
        hash = pytheus__fold(pair[0] ^ hash, pair[1] ^ seed[1]);
    }
    pair[0] = pair[1] = 0;
    memcpy(pair, bytes, size);
    return pytheus__finish_hash(pytheus__fold(pair[0] ^ hash, pair[1] ^ seed[1]));
}

/* -- sets of hashes -- */

/* Where the hash is in the table, or has its place. */
static uint64_t *pytheus__hash_place(const pytheus__hashes *set, uint64_t hash) {
    size_t i = (size_t)hash & (set->room - 1);
    while (set->table[i] && set->table[i] != hash) {
        i = (i + 1) & (set->room - 1);
    }
    return &set->table[i];
}

static void pytheus__hashes_free(const pytheus_allocator *allocator, pytheus__hashes *set) {
    pytheus__release_memory(allocator, set->table, set->room * sizeof *set->table);
    memset((void *)set, 0, sizeof *set);
}

static bool pytheus__hashes_grow(const pytheus_allocator *allocator, pytheus__hashes *set) {
    pytheus__hashes grown;
    size_t i;
    grown.room = set->room ? 2 * set->room : 64;
    grown.used = set->used;
    grown.table = (uint64_t *)pytheus__resize(allocator, NULL, 0, grown.room * sizeof *grown.table);
    if (!grown.table) {
        return false;
    }
    memset(grown.table, 0, grown.room * sizeof *grown.table);
    for (i = 0; i < set->room; i++) {
        if (set->table[i]) {
            *pytheus__hash_place(&grown, set->table[i]) = set->table[i];
        }
    }
    pytheus__hashes_free(allocator, set);
    *set = grown;
    return true;
}

static bool pytheus__has_hash(const pytheus__hashes *set, uint64_t hash) {
    return set->room && *pytheus__hash_place(set, hash ? hash : 1);
}

/* False: there is no memory for it. */
static bool pytheus__add_hash(const pytheus_allocator *allocator, pytheus__hashes *set,
                              uint64_t hash) {
    uint64_t *place;
    if (2 * set->used >= set->room && !pytheus__hashes_grow(allocator, set)) {
        return false;
    }
    place = pytheus__hash_place(set, hash ? hash : 1);
    set->used += !*place;
    *place = hash ? hash : 1;
    return true;
}

/* Byte by byte, so that the hash of a name can be continued with a suffix. */
static uint64_t pytheus__hash_more(const uint64_t seed[2], uint64_t hash, const char *bytes,
                                   size_t size) {
    size_t i;
    for (i = 0; i < size; i++) {
        hash = pytheus__fold(hash ^ (unsigned char)bytes[i], seed[1]);
    }
    return hash;
}

/* Spreads a serial number over 56 bits, one to one: odd multipliers and shifts can be undone. */
static uint64_t pytheus__spread(uint64_t serial) {
    const uint64_t mask = ((uint64_t)1 << 56) - 1;
    uint64_t x = serial & mask;
    x = (x * 0x9e3779b97f4a7c15u) & mask;
    x ^= x >> 29;
    x = (x * 0xd6e8feb86659fd93u) & mask;
    x ^= x >> 28;
    return (x * 0xd6e8feb86659fd93u) & mask;
}

static bool pytheus__random_bytes(void *out, size_t size) {
#ifdef _WIN32
    (void)out;
    (void)size;
    return false;
#else
    int fd = open("/dev/urandom", O_RDONLY | PYTHEUS__CLOSE_ON_EXEC);
    bool done;
    if (fd < 0) {
        return false;
    }
    done = read(fd, out, size) == (ssize_t)size;
    (void)close(fd);
    return done;
#endif
}

/* Where the system gives no random bytes: what differs between runs, clocks and addresses. */
static void pytheus__make_seed(pytheus_registry *registry) {
    uint64_t *seed = registry->seed;
    int saved_errno = errno;
    if (!pytheus__random_bytes(seed, 2 * sizeof *seed)) {
        double clocks[2];
        clocks[0] = pytheus__monotonic();
        clocks[1] = pytheus__wall_clock();
        memcpy(seed, clocks, sizeof clocks);
        seed[0] ^= (uint64_t)(uintptr_t)&clocks;
        seed[1] ^= (uint64_t)(uintptr_t)registry << 20;
        seed[0] = pytheus__fold(seed[0], 0xd6e8feb86659fd93u);
    }
    seed[1] |= 1;
    errno = saved_errno;
}

/* ==== NUMBER TEXT ==== */

/* A double is written as the shortest decimal that reads back as the same double, found by
   Raffaello Giulietti's method ("The Schubfach way to render doubles"). The double c * 2^q stands
   for an interval: all numbers that round to it. Let 10^k be the largest power of ten that is not
   wider than the interval. Then a multiple of 10^k lies in it, and at most one multiple of
   10^(k+1). That one, if it is there, has fewer digits than all others; otherwise the multiple of
   10^k that is next to the double is the best of the shortest. So what has to be known exactly
   enough is the double and the two ends of its interval, each divided by 10^k.

   Everything is integer arithmetic: the text is the same on every machine, in every locale and
   rounding mode. Negative integers are shifted right, which compilers define as rounding down. */

/* No text is longer than 24 bytes, but digits are stored in blocks, so bytes behind it change. */
#define PYTHEUS__NUMBER_SIZE 40

#define PYTHEUS__IMPLIED_BIT ((uint64_t)1 << 52)

/* The 8 digits of v as bytes, the first one lowest. It is cut into numbers of 4 digits, of 2, of 1,
   all numbers of a step at once; x * 10486 >> 20 and x * 103 >> 10 are x / 100 and x / 10 here. */
static uint64_t pytheus__digits_8(uint32_t v) {
    uint64_t fours = ((uint64_t)v << 32) - v / 10000 * (((uint64_t)10000 << 32) - 1);
    uint64_t upper_twos = fours * 10486 >> 20 & 0x0000007f0000007f;
    uint64_t twos = (fours << 16) - upper_twos * ((100 << 16) - 1);
    uint64_t upper_ones = twos * 103 >> 10 & 0x000f000f000f000f;
    return (twos << 8) - upper_ones * ((10 << 8) - 1);
}

/* How many of the digits come after the last that is not 0: not all are 0. */
static int pytheus__zeros_after(uint64_t digits) {
#if defined(__GNUC__)
    return __builtin_clzll(digits) / 8;
#else
    int zeros = 0;
    for (; !(digits >> 56); digits <<= 8) {
        zeros++;
    }
    return zeros;
#endif
}

static char *pytheus__put_8(char *out, uint64_t digits) {
    digits |= 0x3030303030303030; /* '0' is 0x30 */
#if defined(__GNUC__)
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    digits = __builtin_bswap64(digits);
#endif
    memcpy(out, &digits, 8);
#else
    int i;
    for (i = 0; i < 8; i++) {
        out[i] = (char)(digits >> 8 * i & 0xff);
    }
#endif
    return out + 8;
}

/* For a number with its highest bit at i: added to it, this leaves in the upper half how many
   digits it has. (Daniel Lemire, "Computing the number of digits of an integer even faster".) */
static const uint64_t pytheus__carries[27] = {
    0x1fffffff6, 0x1fffffff6, 0x1fffffff6, 0x1fffffff6, 0x2ffffff9c, 0x2ffffff9c, 0x2ffffff9c,
    0x3fffffc18, 0x3fffffc18, 0x3fffffc18, 0x4ffffd8f0, 0x4ffffd8f0, 0x4ffffd8f0, 0x4ffffd8f0,
    0x5fffe7960, 0x5fffe7960, 0x5fffe7960, 0x6fff0bdc0, 0x6fff0bdc0, 0x6fff0bdc0, 0x7ff676980,
    0x7ff676980, 0x7ff676980, 0x7ff676980, 0x8fa0a1f00, 0x8fa0a1f00, 0x8fa0a1f00};

/* v < 10^8, without leading zeros, but 0 itself is a digit. How many digits there are is found
   without them, because where the next text begins hangs on it. */
static char *pytheus__put_up_to_8(char *out, uint64_t v) {
#if defined(__GNUC__)
    unsigned size = (unsigned)((v + pytheus__carries[63 - __builtin_clzll(v | 1)]) >> 32);
#else
    unsigned size = 1;
    uint64_t power;
    for (power = 10; power <= v; power *= 10) {
        size++;
    }
#endif
    pytheus__put_8(out, pytheus__digits_8((uint32_t)v) >> (64 - 8 * size));
    return out + size;
}

static char *pytheus__put_integer(char *out, uint64_t v) {
    const uint64_t block = 100000000;
    if (v < block) {
        return pytheus__put_up_to_8(out, v);
    }
    if (v < block * block) {
        out = pytheus__put_up_to_8(out, v / block);
    } else {
        out = pytheus__put_up_to_8(out, v / block / block);
        out = pytheus__put_8(out, pytheus__digits_8((uint32_t)(v / block % block)));
    }
    return pytheus__put_8(out, pytheus__digits_8((uint32_t)(v % block)));
}

/* 10^-304, 10^-288, ... 10^320: the leading 192 bits, the rest cut off. */
static const uint64_t pytheus__tens[40][3] = {
    {0x8c71dcd9ba0b4925, 0x9ff0c08b7f1d0b14, 0x855abfaa06f9495a},
    {0x9becce62836ac577, 0x4ee367f9430aec32, 0xbefa78253027da9d},
    {0xad1c8eab5ee43b66, 0xda3243650005eecf, 0x19dea11e79a5dfcc},
    {0xc0314325637a1939, 0xfa911155fefb5308, 0xa23e2ed27766e8cc},
    {0xd5605fcdcf32e1d6, 0xfb1e4a9a90880a64, 0xeb30854f603da8fc},
    {0xece53cec4a314ebd, 0xa4f8bf5635246428, 0x4609ac5c7899ca36},
    {0x8380dea93da4bc60, 0x4247cb9e59f71e6d, 0x78b7ab3af34a60c2},
    {0x91ff83775423cc06, 0x7b6306a34627ddcf, 0x1c5a40917d0fa664},
    {0xa21727db38cb002f, 0xb8ada00e5a506a7c, 0xf1218f2b86615f63},
    {0xb3f4e093db73a093, 0x59ed216765690f56, 0x8fe5b452e6b166cd},
    {0xc7caba6e7c5382c8, 0xfe64a52ee96b8fc0, 0xcbeb481c23d5e711},
    {0xddd0467c64bce4a0, 0xac7cb3f6d05ddbde, 0xe26ca6063461fffa},
    {0xf64335bcf065d37d, 0x4d4617b5ff4a16d5, 0xaa09501d5954a559},
    {0x88b402f7fd75539b, 0x11dbcb0218ebb414, 0x690c0db23e2755ee},
    {0x97c560ba6b0919a5, 0xdccd879fc967d41a, 0x021da8c6f15375a1},
    {0xa87fea27a539e9a5, 0x3f2398d747b36224, 0x2a1fee40d90aab31},
    {0xbb127c53b17ec159, 0x5560c018580d5d52, 0x3a63263a538df733},
    {0xcfb11ead453994ba, 0x67de18eda5814af2, 0x0b5b1aa028ccd99e},
    {0xe69594bec44de15b, 0x4c2ebe687989a9b3, 0xbf716c1add27f085},
    {0x8000000000000000, 0x0000000000000000, 0x0000000000000000},
    {0x8e1bc9bf04000000, 0x0000000000000000, 0x0000000000000000},
    {0x9dc5ada82b70b59d, 0xf020000000000000, 0x0000000000000000},
    {0xaf298d050e4395d6, 0x9670b12b7f410000, 0x0000000000000000},
    {0xc2781f49ffcfa6d5, 0x3cbf6b71c76b25fb, 0x50f8080000000000},
    {0xd7e77a8f87daf7fb, 0xdc33745ec97be906, 0x3298e889d933b040},
    {0xefb3ab16c59b14a2, 0xc5cfe94ef3ea101e, 0x388da035c8f16477},
    {0x850fadc09923329e, 0x03e2cf6bc604ddb0, 0x74a7ef0198791097},
    {0x93ba47c980e98cdf, 0xc66f336c36b10137, 0x0234f3fd7b08dd39},
    {0xa402b9c5a8d3a6e7, 0x5f16206c9c6209a6, 0x39caef6ed62f905b},
    {0xb616a12b7fe617aa, 0x577b986b314d6009, 0x2381cf8591999d63},
    {0xca28a291859bbf93, 0x7d7b8f7503cfdcfe, 0xd11f91ff10629770},
    {0xe070f78d3927556a, 0x85bbe253f47b1417, 0x0f118a2758e233b1},
    {0xf92e0c3537826145, 0xa7709a56ccdf8a82, 0x866caba98a7e2dab},
    {0x8a5296ffe33cc92f, 0x82bd6b70d99aaa6f, 0xbc10c5c5cda97c8d},
    {0x9991a6f3d6bf1765, 0xacca6da1e0a8ef29, 0x036ee4519d59a838},
    {0xaa7eebfb9df9de8d, 0xddbb901b98feeab7, 0x851e4cbf3de2f98a},
    {0xbd49d14aa79dbc82, 0x4b2d8644d8a74e18, 0x902215c04ce2a1a9},
    {0xd226fc195c6a2f8c, 0x73832eec6fff3111, 0xe2228cbf49612182},
    {0xe950df20247c83fd, 0x47c6b82ef32a2069, 0x6dfd4ec02564b6b9},
    {0x81842f29f2cce375, 0xe6a1158300d46640, 0x21ceb9ec7b8c62ed},
};

/* 5^0 to 5^15, shifted up until the first bit is set. */
static const uint64_t pytheus__fives[16] = {
    0x8000000000000000, 0xa000000000000000, 0xc800000000000000, 0xfa00000000000000,
    0x9c40000000000000, 0xc350000000000000, 0xf424000000000000, 0x9896800000000000,
    0xbebc200000000000, 0xee6b280000000000, 0x9502f90000000000, 0xba43b74000000000,
    0xe8d4a51000000000, 0x9184e72a00000000, 0xb5e620f480000000, 0xe35fa931a0000000,
};

/* log2(10^n) rounded down, with log2(10) in fixed point. */
static int pytheus__log2_of_10_to(int n) {
    return (n * 1741647) >> 19;
}

/* bits * 2^exponent */
typedef struct pytheus__power {
    pytheus__u128 bits;
    int exponent;
} pytheus__power;

/* 10^n for n from -292 to 324: its leading 128 bits (127 where the first one is 0), plus 1 in the
   last. What the table cuts off is too little to change any of these 617 numbers. */
static pytheus__power pytheus__power_of_10(int n) {
    int n_five = n & 15, n_ten = n - n_five;
    const uint64_t *ten = pytheus__tens[(unsigned)(n + 304) / 16], five = pytheus__fives[n_five];
    pytheus__u128 bits = pytheus__multiply(ten[0], five), middle = pytheus__multiply(ten[1], five);
    uint64_t rest = middle.low + pytheus__multiply(ten[2], five).high;
    pytheus__power power;
    middle.high += rest < middle.low;
    bits.low += middle.high;
    bits.high += bits.low < middle.high;
    bits.low++;
    power.bits = bits;
    power.exponent = pytheus__log2_of_10_to(n_five) + pytheus__log2_of_10_to(n_ten) - 126;
    return power;
}

/* v * power / 2^128 for v < 2^61, rounded down, but to odd if anything is lost: comparing it with
   an even number then comes out as if nothing were. Where the result is even, what is lost is 0 or
   more than 2 / 2^64 (2.7 at least, over all doubles), while the 1 that was added to the power adds
   less than 1 / 2^67. */
static uint64_t pytheus__scale(uint64_t v, pytheus__u128 power) {
    pytheus__u128 product = pytheus__multiply(v, power.high);
    uint64_t lost = product.low + pytheus__multiply(v, power.low).high;
    return (product.high + (lost < product.low)) | (lost > 1);
}

/* 17 digits, trailing zeros included; the first one counts 10^exponent. */
typedef struct pytheus__decimal {
    uint64_t digits;
    int exponent;
} pytheus__decimal;

/* The shortest for a finite double that is not 0. */
static pytheus__decimal pytheus__shortest(uint64_t magnitude) {
    uint64_t fraction = magnitude & (PYTHEUS__IMPLIED_BIT - 1);
    bool subnormal = magnitude < PYTHEUS__IMPLIED_BIT;
    uint64_t c = subnormal ? fraction : fraction | PYTHEUS__IMPLIED_BIT;
    int q = (int)(magnitude >> 52) + subnormal - 1075;
    /* Below a power of two the doubles lie closer, and the interval is 3/4 as wide. (Not so below
       the least normal double, whose text is the same either way.) */
    bool narrow = !fraction;
    /* The logarithm of its width, with log10(2) and log10(4/3) in fixed point. */
    int k = (q * 1262611 - narrow * 524031) >> 22;
    pytheus__power power = pytheus__power_of_10(-k);
    int shift = q + power.exponent + 128;
    /* In quarters of 10^k. The ends are in the interval if c is even: ties are read as even. */
    uint64_t lower = pytheus__scale((4 * c - 2 + narrow) << shift, power.bits) + (c & 1);
    uint64_t middle = pytheus__scale((4 * c) << shift, power.bits);
    uint64_t upper = pytheus__scale((4 * c + 2) << shift, power.bits) - (c & 1);
    uint64_t tens = upper / 40, ones = (middle + 1 + (middle >> 2 & 1)) >> 2; /* ties to even */
    pytheus__decimal decimal;
    ones += 4 * ones < lower; /* only if narrow: elsewhere what is next to the double fits */
    /* No branch: whether tens fit cannot be predicted. */
    decimal.digits = ones + ((10 * tens - ones) & -(uint64_t)(40 * tens >= lower));
    decimal.exponent = k + 16;
    /* Nor whether they are 17 digits or 16; fewer are rare. */
    do {
        uint64_t are_fewer = decimal.digits < 10000000000000000;
        decimal.digits += (9 * decimal.digits) & -are_fewer;
        decimal.exponent -= (int)are_fewer;
    } while (decimal.digits < 10000000000000000);
    return decimal;
}

/* The first digit, the next 8, the last 8, and how many are left without trailing zeros. */
typedef struct pytheus__digits {
    uint64_t next, last;
    int first, count;
} pytheus__digits;

static pytheus__digits pytheus__split(uint64_t v) {
    const uint64_t block = 100000000;
    uint64_t head = v / block, first = head / block;
    pytheus__digits d;
    d.first = (int)first;
    d.next = pytheus__digits_8((uint32_t)(head - first * block));
    d.last = pytheus__digits_8((uint32_t)(v - head * block));
    if (d.last) {
        d.count = 17 - pytheus__zeros_after(d.last);
    } else {
        d.count = d.next ? 9 - pytheus__zeros_after(d.next) : 1;
    }
    return d;
}

static void pytheus__put_17(char *out, pytheus__digits d) {
    *out = (char)('0' + d.first);
    pytheus__put_8(pytheus__put_8(out + 1, d.next), d.last);
}

/* d.ddde+xx */
static char *pytheus__put_exponent_form(char *out, pytheus__digits d, int exponent) {
    unsigned size = (unsigned)(exponent < 0 ? -exponent : exponent);
    pytheus__put_17(out + 1, d);
    out[0] = out[1];
    out[1] = '.';
    out += d.count > 1 ? d.count + 1 : 1;
    out[0] = 'e';
    out[1] = exponent < 0 ? '-' : '+';
    out[2] = (char)('0' + size / 100);
    out += size < 100 ? 2 : 3;
    out[0] = (char)('0' + size % 100 / 10);
    out[1] = (char)('0' + size % 10);
    return out + 2;
}

/* 0.00ddd, ddd.ddd or ddd000, for exponents from -4 to 21. */
static char *pytheus__put_positional(char *out, pytheus__digits d, int exponent) {
    int before_point = exponent + 1;
    if (exponent < 0) {
        memcpy(out, "0.000", 5);
        pytheus__put_17(out + 1 - exponent, d);
        return out + 1 - exponent + d.count;
    }
    pytheus__put_17(out, d);
    if (d.count <= before_point) {
        memset(out + d.count, '0', (size_t)(before_point - d.count));
        return out + before_point;
    }
    memmove(out + before_point + 1, out + before_point, 16);
    out[before_point] = '.';
    return out + d.count + 1;
}

/* The exponent form where it is shorter, or else where Go has it. */
static char *pytheus__put_shortest(char *out, uint64_t magnitude, bool as_go) {
    pytheus__decimal decimal = pytheus__shortest(magnitude);
    pytheus__digits d = pytheus__split(decimal.digits);
    int x = decimal.exponent, zeros = x < 0 ? 1 - x : x + 1 - d.count;
    if (as_go ? x < -4 || x >= 6 : zeros > 4 + (d.count > 1)) {
        return pytheus__put_exponent_form(out, d, x);
    }
    return pytheus__put_positional(out, d, x);
}

/* Whether it is an integer up to 2^53. */
static bool pytheus__is_whole(uint64_t magnitude, uint64_t *v) {
    int places = 1075 - (int)(magnitude >> 52);
    if (places >= 0 && places <= 52) {
        uint64_t c = (magnitude & (PYTHEUS__IMPLIED_BIT - 1)) | PYTHEUS__IMPLIED_BIT;
        *v = c >> places;
        return *v << places == c;
    }
    *v = magnitude ? (uint64_t)1 << 53 : 0;
    return !magnitude || magnitude == (uint64_t)1076 << 52;
}

/* NaN, whatever its sign, or an infinity. */
static char *pytheus__put_nonfinite(char *out, uint64_t bits) {
    bool nan = (bits & ~PYTHEUS__SIGN_BIT) > PYTHEUS__INFINITY_BITS;
    const char *text = nan ? "NaN" : bits >> 63 ? "-Inf" : "+Inf";
    size_t size = strlen(text);
    memcpy(out, text, size);
    return out + size;
}

/* Writes v and returns the end. Integers up to 2^53 have all their digits; everything else is in
   the shorter of the two forms, and without an exponent if they are equally long. */
static char *pytheus__put_double(char *out, double v) {
    uint64_t bits = pytheus__as_bits(v), magnitude = bits & ~PYTHEUS__SIGN_BIT, whole;
    if (magnitude >= PYTHEUS__INFINITY_BITS) {
        return pytheus__put_nonfinite(out, bits);
    }
    *out = '-';
    out += bits >> 63;
    if (pytheus__is_whole(magnitude, &whole)) {
        return pytheus__put_integer(out, whole);
    }
    return pytheus__put_shortest(out, magnitude, false);
}

/* Likewise the bound of a bucket, as Go writes it: sums over `le` take services together only if
   they write it alike. */
static char *pytheus__put_bound(char *out, double bound) {
    uint64_t bits = pytheus__as_bits(bound), magnitude = bits & ~PYTHEUS__SIGN_BIT;
    if (magnitude >= PYTHEUS__INFINITY_BITS) {
        return pytheus__put_nonfinite(out, bits);
    }
    if (!magnitude) {
        return pytheus__put_integer(out, 0);
    }
    *out = '-';
    out += bits >> 63;
    return pytheus__put_shortest(out, magnitude, true);
}

/* ==== FAMILIES, NODES, VIEWS ==== */

/* A node is a view: a series, or a partial view. It lives for ever in the registry's arena, its
   memory serves one view after the other, and each life has a generation of its own, which is in
   the handles. The low bits of the generation say what the node is, so that an operation decides
   with one comparison, in a register. */
enum {
    PYTHEUS__TYPE = 7,       /* mask: pytheus_type */
    PYTHEUS__COMPLETE = 8,   /* all labels are set: it has cells */
    PYTHEUS__REUSABLE = 16,  /* may be given to other labels later: its cells are masked */
    PYTHEUS__OVERFLOW = 32,  /* the series beyond max_series */
    PYTHEUS__ELSEWHERE = 64, /* its cells are a backend's, */
    PYTHEUS__WORDS = 128,    /* which gives them as words */
    PYTHEUS__FLAGS_SIZE = 8
};

/* Serial numbers of lives, in all registries: a generation is one, spread. */
static pytheus__word pytheus__last_serial;

/* Followed by its area (the cells, or how to get to them), the key and the label text. */
typedef struct pytheus__node {
    pytheus__word generation; /* 0: dead */
    struct pytheus__family *family;
    struct pytheus__stripes *stripes; /* NULL: threads do not get in each other's way */
    union {
        uint64_t serial; /* of the life; rises along the family's list of nodes */
        struct pytheus__node *next_free;
    } link;
    uint32_t place; /* in the family's list of nodes */
    uint32_t key_words;
    uint32_t text_size;
    uint8_t size_class;
    uint8_t is_reusable; /* as the generation says of the node's present or last life */
    uint16_t contention; /* how often threads got in each other's way */
} pytheus__node;

/* More cells of one series, which stay with its node. Followed by a cache line and more for each
   stripe: cells as in the node, but of a counter only its whole numbers, because a set must be able
   to undo all that is in doubles. */
typedef struct pytheus__stripes {
    pytheus__word generation; /* of the life that they are filled for; others have none */
    size_t mask;              /* the number of stripes less 1 */
    size_t stripe_words;
    struct pytheus__stripes *next_spare;
    char rest_of_line[PYTHEUS__CACHE_LINE - sizeof(pytheus__word) - 3 * sizeof(size_t)];
} pytheus__stripes;

/* Cells: what an operation changes. They are atomic words. In a reusable node each holds its
   content XOR the node's generation and is only changed by compare-and-swap, the old content
   loaded before the generation is compared: an operation that comes late, from an earlier life,
   fails. Whole numbers and doubles of a counter are summed when it is read; a histogram's
   buckets are not cumulative, the first word is its sum; a summary is a histogram with one
   bucket. */
enum {
    PYTHEUS__COUNTER_WHOLE = 0,
    PYTHEUS__COUNTER_REAL = 1,
    PYTHEUS__GAUGE_REAL = 0,
    PYTHEUS__SUM_REAL = 0,
    PYTHEUS__FIRST_BUCKET = 1
};

/* A node's address and, in the bits that the beginning of a cache line has not, some of its hash:
   half as long as both in full, so that more of an index is in the cache. 0: never used. */
typedef uintptr_t pytheus__slot;

/* Followed by 1 << log2_size slots. */
typedef struct pytheus__segment {
    uint32_t log2_size;
    uint32_t depth; /* how many leading bits of the hash its nodes share */
    uint32_t used;  /* slots that are not empty, those of removed nodes too */
    uint32_t live;
    struct pytheus__segment *next_free;
    uint64_t alignment;
} pytheus__segment;

/* Followed by 1 << depth pointers to segments. */
typedef struct pytheus__directory {
    uint32_t depth;
    uint32_t alignment;
} pytheus__directory;

enum {
    PYTHEUS__SMALLEST_SEGMENT = 3,
    PYTHEUS__LARGEST_SEGMENT = 10,
    PYTHEUS__DEEPEST_DIRECTORY = 24,
    PYTHEUS__SIZE_CLASSES = 48
};

/* A series whose value a function of the program's tells. */
typedef struct pytheus__function {
    uint64_t serial; /* of the series */
    double (*call)(void *user);
    void *user;
} pytheus__function;

typedef struct pytheus__family {
    pytheus_registry *registry;
    pytheus__store *store; /* NULL: the cells are in the nodes */
    pytheus_type type;
    pytheus_across across;
    double expire_seconds;
    pytheus__piece name;        /* as exposed, with the prefix; ends with NUL */
    const char *metric;         /* without the prefix: the end of name */
    pytheus__piece help;        /* mended; ends with NUL */
    pytheus__piece unit;        /* ends with NUL */
    pytheus__piece *text_parts; /* {method=" ","code=" : what stands before each value */
    pytheus__piece text_end;
    pytheus__piece *label_names;    /* end with NUL */
    pytheus__piece *default_values; /* text NULL: none; end with NUL */
    size_t num_labels;
    double *bounds; /* finite upper bounds, none unless a histogram; then +Inf */
    size_t num_bounds;
    pytheus__piece *bucket_ends; /* ,le="0.5"}  for each bound and +Inf; then as OpenMetrics has
                                    them; of a stateset ="running"}  for each state */
    pytheus__piece sum_end;
    struct pytheus__exemplar_table *exemplars; /* NULL: no series has had any */
    pytheus__piece *states;                    /* as they were given, mended; end with NUL */
    size_t num_states;
    size_t num_cells;  /* of a series, as in pytheus_words */
    size_t area_words; /* of a node: what its cells take, and when it began */
    size_t created_at; /* where the latter is in it; 0: nowhere */
    size_t max_series;

    pytheus__node *root;   /* the metric itself */
    pytheus__node **nodes; /* stb_ds array, in order of creation; NULL where one was removed */
    size_t num_removed;    /* NULLs in nodes */
    pytheus__function *functions; /* stb_ds array, by rising serial; its size: */
    uint32_t num_functions;       /* also read without the lock */
    uint32_t num_stripes;         /* of a series that is spread; 1: none is */
    uint32_t stripes_asked;
    bool spreads_at_once;    /* every series, when it is made */
    pytheus__stripes *spare; /* for series that need them; taken without the lock */
    uint64_t compactions;
    size_t num_views;   /* what max_series limits */
    size_t num_opening; /* that have room kept for them while a backend opens them */
    size_t removing;    /* removals of which a backend has not yet been told all */
    bool had_removal;
    bool is_discovered; /* other processes' so far: what the program defines goes before it */
    pytheus__node *overflow;
    pytheus__word overflow_calls;
    pytheus__word told; /* bits: errors that were logged */

    pytheus__directory *directory;    /* NULL without labels */
    pytheus__segment **free_segments; /* by log2_size; NULL without labels */
    pytheus__node **free_nodes;       /* by size class; NULL without labels */
} pytheus__family;

static pytheus__word *pytheus__cells(pytheus__node *node) {
    return (pytheus__word *)(void *)(node + 1);
}

/* So many nodes before it is its turn, a node is fetched into the cache. */
enum { PYTHEUS__AHEAD = 8 };

PYTHEUS__HOT void pytheus__fetch(const pytheus__node *node) {
#if defined(__GNUC__)
    const uintptr_t at = (uintptr_t)node; /* NULL too */
    __builtin_prefetch((const void *)at);
    __builtin_prefetch((const void *)(at + PYTHEUS__CACHE_LINE));
    __builtin_prefetch((const void *)(at + 2 * PYTHEUS__CACHE_LINE));
#else
    (void)node;
#endif
}

static pytheus__word *pytheus__stripe_at(pytheus__stripes *stripes, size_t i) {
    return (pytheus__word *)(void *)(stripes + 1) + i * stripes->stripe_words;
}

static pytheus__word *pytheus__key_of(pytheus__node *node) {
    return pytheus__cells(node) + node->family->area_words;
}

static char *pytheus__text_at(const pytheus__family *family, pytheus__node *node) {
    return (char *)(pytheus__cells(node) + family->area_words + node->key_words);
}

static char *pytheus__text_of(pytheus__node *node) {
    return (char *)(pytheus__key_of(node) + node->key_words);
}

static pytheus_view pytheus__make_view(pytheus__node *node, uint64_t generation) {
    pytheus_view view;
    view.node = node;
    view.generation = generation;
    return view;
}

static pytheus_view pytheus__nothing(void) {
    return pytheus__make_view(NULL, 0);
}

/* What the cells of a node hold their content XOR. */
static uint64_t pytheus__mask(uint64_t generation) {
    return generation & PYTHEUS__REUSABLE ? generation : 0;
}

static bool pytheus__is_alive(pytheus_view view) {
    return view.node && PYTHEUS__LOAD(&view.node->generation) == view.generation;
}

static pytheus_type pytheus__type_of(pytheus_view view) {
    return (pytheus_type)(view.generation & PYTHEUS__TYPE);
}

/* Whether all that a series has is one double. */
static bool pytheus__is_real(pytheus_type type) {
    return type > PYTHEUS_COUNTER && type < PYTHEUS_HISTOGRAM;
}

/* Gives the logger the thread's sentence, the first time that this metric meets this error. Never
   called with a lock held. */
static pytheus_err pytheus__tell(pytheus__family *family, pytheus_err err) {
    uint64_t bit = (uint64_t)1 << -(int)err;
    if (!(PYTHEUS__SET_BITS(&family->told, bit) & bit)) {
        pytheus__log(&family->registry->logger, err, family->name.text);
    }
    return err;
}

/* -- keys: the values of a view in declared order, each with its NUL, in words -- */

/* What stands for a label that is not set: no byte of UTF-8. */
#define PYTHEUS__UNSET "\xff"

enum {
    PYTHEUS__LOCAL_KEY_WORDS = 128,
    PYTHEUS__MOST_KEY_WORDS = 1 << 24 /* 128 MB: sizes of nodes and texts stay below 32 bits */
};

typedef struct pytheus__key {
    pytheus__word local[PYTHEUS__LOCAL_KEY_WORDS];
    pytheus__word *words; /* local, or allocated when that is too small */
    size_t num_words;
    uint64_t hash;
    bool complete;
    bool is_ascii;
} pytheus__key;

static void pytheus__key_free(pytheus_registry *registry, pytheus__key *key) {
    if (key->words != key->local) {
        pytheus__release_memory(&registry->allocator, key->words,
                                key->num_words * sizeof *key->words);
    }
}

static bool pytheus__key_reserve(pytheus_registry *registry, pytheus__key *key, size_t num_words) {
    key->words = key->local;
    key->num_words = num_words;
    if (num_words <= PYTHEUS__LOCAL_KEY_WORDS) {
        return true;
    }
    if (num_words > PYTHEUS__MOST_KEY_WORDS) {
        return false;
    }
    key->words = (pytheus__word *)pytheus__resize(&registry->allocator, NULL, 0,
                                                  num_words * sizeof *key->words);
    return key->words != NULL;
}

/* Values are put together in a register: words that were written in parts are slow to read. */
typedef struct pytheus__packer {
    pytheus__word *at;
    uint64_t rest; /* what does not fill a word yet, */
    unsigned bits; /* and how much that is */
} pytheus__packer;

PYTHEUS__HOT uint64_t pytheus__load_8(const char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return pytheus__in_memory_order(word);
}

PYTHEUS__HOT uint64_t pytheus__load_4(const char *bytes) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    return pytheus__in_memory_order_4(word);
}

/* Up to 7 bytes, the first one lowest, and the NUL behind them: two loads that overlap. */
PYTHEUS__HOT uint64_t pytheus__load_few(const char *bytes, size_t size) {
    if (size >= 3) {
        return pytheus__load_4(bytes) | pytheus__load_4(bytes + size - 3) << 8 * (size - 3);
    }
    return (unsigned char)bytes[0] | (uint64_t)(unsigned char)bytes[size / 2] << 8 * (size / 2);
}

PYTHEUS__HOT void pytheus__pack(pytheus__packer *out, uint64_t bytes, unsigned n) {
    unsigned bits = out->bits + n * 8;
    uint64_t word = out->rest | bytes << out->bits;
    if (bits < 64) {
        out->rest = word;
    } else {
        *out->at++ = pytheus__in_memory_order(word);
        out->rest = bytes >> 1 >> (63 - out->bits);
        bits -= 64;
    }
    out->bits = bits;
}

/* With its NUL. */
PYTHEUS__HOT void pytheus__pack_value(pytheus__packer *out, const char *value, size_t size) {
    uint64_t last;
    if (size < 8) {
        last = pytheus__load_few(value, size);
    } else {
        const char *end = value + size;
        last = pytheus__load_8(end - 7) >> 8 * (7 - size % 8);
        for (; end - value >= 8; value += 8) {
            pytheus__pack(out, pytheus__load_8(value), 8);
        }
    }
    pytheus__pack(out, last, (unsigned)(size % 8) + 1);
}

/* Writes the key's words; values[i] is NULL where a label is not set. false: no memory. */
static bool pytheus__key_write(pytheus__family *family, pytheus__key *key,
                               const char *const *values) {
    pytheus__packer out = {NULL, 0, 0};
    size_t sizes[PYTHEUS_MAX_LABELS];
    size_t i, size = 0;
    uint64_t all = 0;
    for (i = 0; i < family->num_labels; i++) {
        sizes[i] = values[i] ? strlen(values[i]) : 1;
        if (sizes[i] > PYTHEUS__MOST_KEY_WORDS * sizeof *key->words) {
            return false; /* before a sum of such sizes wraps */
        }
        size += sizes[i] + 1;
    }
    if (!pytheus__key_reserve(family->registry, key, (size + 7) / 8)) {
        return false;
    }
    out.at = key->words;
    for (i = 0; i < family->num_labels; i++) {
        pytheus__pack_value(&out, values[i] ? values[i] : PYTHEUS__UNSET, sizes[i]);
    }
    if (out.bits) {
        *out.at = pytheus__in_memory_order(out.rest);
    }
    for (i = 0; i < key->num_words; i++) {
        all |= key->words[i];
    }
    key->is_ascii = !(all & 0x8080808080808080u);
    return true;
}

/* Likewise, with what is not UTF-8 replaced. */
static bool pytheus__key_write_mended(pytheus__family *family, pytheus__key *key,
                                      const char *const *values) {
    size_t i, size = 0;
    for (i = 0; i < family->num_labels; i++) {
        size_t each = values[i] ? pytheus__mended_size(values[i]) : 1;
        if (each > PYTHEUS__MOST_KEY_WORDS * sizeof *key->words) {
            return false;
        }
        size += each + 1;
    }
    if (!pytheus__key_reserve(family->registry, key, (size + 7) / 8)) {
        return false;
    }
    key->words[key->num_words - 1] = 0;
    pytheus__text out = {(char *)key->words, 0};
    for (i = 0; i < family->num_labels; i++) {
        if (values[i]) {
            pytheus__add_mended(&out, values[i]);
        } else {
            pytheus__add_string(&out, PYTHEUS__UNSET);
        }
        pytheus__add(&out, "", 1);
    }
    return true;
}

static bool pytheus__are_utf8(const char *const *values, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (values[i] && !pytheus__is_utf8(values[i])) {
            return false;
        }
    }
    return true;
}

/* A view is complete as soon as the defaults fill what is missing; until then they are left out,
   because a later label may override them. */
static bool pytheus__add_defaults(const pytheus__family *family, const char **values) {
    size_t i, missing = 0;
    for (i = 0; i < family->num_labels; i++) {
        missing += !values[i];
        if (!values[i] && !family->default_values[i].text) {
            return false;
        }
    }
    for (i = 0; missing && i < family->num_labels; i++) {
        if (!values[i]) {
            values[i] = family->default_values[i].text;
            missing--;
        }
    }
    return true;
}

/* Makes the key of the values: defaults added where that completes it, mended where they are not
   UTF-8. false: no memory, nothing to free. */
static bool pytheus__key_pack(pytheus__family *family, pytheus__key *key, const char **values) {
    key->complete = pytheus__add_defaults(family, values);
    if (!pytheus__key_write(family, key, values)) {
        return false;
    }
    if (!key->is_ascii && !pytheus__are_utf8(values, family->num_labels)) {
        pytheus__key_free(family->registry, key);
        if (!pytheus__key_write_mended(family, key, values)) {
            return false;
        }
    }
    key->hash = pytheus__hash_words(family->registry->seed, key->words, key->num_words);
    return true;
}

/* Points values at the labels that a key sets. */
static void pytheus__key_values(const pytheus__family *family, const pytheus__word *words,
                                const char **values) {
    const char *at = (const char *)words;
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        values[i] = *at == PYTHEUS__UNSET[0] ? NULL : at;
        at += strlen(at) + 1;
    }
}

/* -- the index: from a key to its node. Readers take no lock: whatever they meet, a node is taken
      only if it still holds the key in the life that it was in before. What they miss is looked up
      again under the lock. -- */

static pytheus__slot *pytheus__slots(pytheus__segment *segment) {
    return (pytheus__slot *)(void *)(segment + 1);
}

static uintptr_t *pytheus__entries(pytheus__directory *directory) {
    return (uintptr_t *)(void *)(directory + 1);
}

/* What the slot of a node that went is left with. */
#define PYTHEUS__GONE ((pytheus__slot)1)

/* Bits that neither choose a segment nor a slot. */
static pytheus__slot pytheus__slot_for(const pytheus__node *node, uint64_t hash) {
    return (uintptr_t)node | (uintptr_t)(hash >> PYTHEUS__LARGEST_SEGMENT) % PYTHEUS__CACHE_LINE;
}

/* NULL: there is none. */
static pytheus__node *pytheus__node_in(pytheus__slot slot) {
    return (pytheus__node *)(slot & ~(uintptr_t)(PYTHEUS__CACHE_LINE - 1));
}

static uint64_t pytheus__hash_of(const pytheus__family *family, pytheus__node *node) {
    const pytheus__word *key = pytheus__cells(node) + family->area_words;
    return pytheus__hash_words(family->registry->seed, key, node->key_words);
}

/* What a directory says of a segment, which begins with a cache line: where it is and how large, so
   that a search needs not look into it for that. */
static uintptr_t pytheus__entry_for(const pytheus__segment *segment) {
    return (uintptr_t)segment | segment->log2_size;
}

static size_t pytheus__directory_place(const pytheus__directory *directory, uint64_t hash) {
    return directory->depth ? (size_t)(hash >> (64 - directory->depth)) : 0;
}

static uintptr_t pytheus__entry_at(pytheus__directory *directory, uint64_t hash) {
    size_t place = pytheus__directory_place(directory, hash);
    return PYTHEUS__LOAD_ACQUIRE(&pytheus__entries(directory)[place]);
}

static pytheus__segment *pytheus__segment_in(uintptr_t entry) {
    return (pytheus__segment *)(entry & ~(uintptr_t)(PYTHEUS__CACHE_LINE - 1));
}

static pytheus__segment *pytheus__segment_of(pytheus__directory *directory, uint64_t hash) {
    return pytheus__segment_in(pytheus__entry_at(directory, hash));
}

PYTHEUS__HOT bool pytheus__holds_key(const pytheus__family *family, pytheus__node *node,
                                     const pytheus__key *key) {
    /* Not by the node's family: words and generation are then fetched at the same time. */
    pytheus__word *words = pytheus__cells(node) + family->area_words;
    size_t i;
    if (PYTHEUS__LOAD_ACQUIRE(&node->key_words) != key->num_words) {
        return false;
    }
    for (i = 0; i < key->num_words; i++) {
        if (PYTHEUS__LOAD_ACQUIRE(&words[i]) != key->words[i]) {
            return false;
        }
    }
    return true;
}

/* The view with this key, or nothing. Without the lock it may miss one that is being moved. */
PYTHEUS__HOT pytheus_view pytheus__find(pytheus__family *family, const pytheus__key *key) {
    uintptr_t entry = pytheus__entry_at(PYTHEUS__LOAD_ACQUIRE(&family->directory), key->hash);
    pytheus__slot *slots = pytheus__slots(pytheus__segment_in(entry));
    size_t mask = ((size_t)1 << (entry & (PYTHEUS__CACHE_LINE - 1))) - 1;
    size_t i = (size_t)key->hash & mask, probes;
    const pytheus__slot tag = pytheus__slot_for(NULL, key->hash);
    for (probes = 0; probes <= mask; probes++, i = (i + 1) & mask) {
        pytheus__slot slot = PYTHEUS__LOAD_ACQUIRE(&slots[i]);
        if (!slot) {
            break;
        }
        pytheus__node *node = pytheus__node_in(slot);
        if (slot % PYTHEUS__CACHE_LINE == tag && node) {
            uint64_t generation = PYTHEUS__LOAD_ACQUIRE(&node->generation);
            if (generation && pytheus__holds_key(family, node, key) &&
                PYTHEUS__LOAD(&node->generation) == generation) {
                return pytheus__make_view(node, generation);
            }
        }
    }
    return pytheus__nothing();
}

static size_t pytheus__segment_size(uint32_t log2_size) {
    return pytheus__cache_lines(sizeof(pytheus__segment) +
                                ((size_t)1 << log2_size) * sizeof(pytheus__slot));
}

static size_t pytheus__directory_size(uint32_t depth) {
    return pytheus__cache_lines(sizeof(pytheus__directory) +
                                ((size_t)1 << depth) * sizeof(pytheus__segment *));
}

/* An empty segment. One that is used again may still be read by someone who came late. */
static pytheus__segment *pytheus__segment_new(pytheus__family *family, uint32_t log2_size,
                                              uint32_t depth) {
    pytheus__segment *segment = family->free_segments[log2_size];
    if (segment) {
        pytheus__slot *slots = pytheus__slots(segment);
        size_t i;
        family->free_segments[log2_size] = segment->next_free;
        for (i = 0; i < (size_t)1 << log2_size; i++) {
            PYTHEUS__STORE(&slots[i], 0);
        }
    } else {
        segment = (pytheus__segment *)pytheus__arena_take(family->registry,
                                                          pytheus__segment_size(log2_size));
        segment->log2_size = log2_size;
    }
    segment->depth = depth;
    segment->used = segment->live = 0;
    return segment;
}

static void pytheus__segment_put(pytheus__segment *segment, uint64_t hash, pytheus__node *node) {
    pytheus__slot *slots = pytheus__slots(segment);
    size_t mask = ((size_t)1 << segment->log2_size) - 1;
    size_t i = (size_t)hash & mask;
    while (slots[i]) {
        i = (i + 1) & mask;
    }
    PYTHEUS__STORE_RELEASE(&slots[i], pytheus__slot_for(node, hash));
    segment->used++;
    segment->live++;
}

static bool pytheus__segment_is_full(const pytheus__segment *segment) {
    return segment->used >= ((uint32_t)3 << segment->log2_size) / 4;
}

/* Whether rebuilding it without the slots of removed nodes makes enough room. */
static bool pytheus__segment_is_sparse(const pytheus__segment *segment) {
    return segment->live < ((uint32_t)3 << segment->log2_size) / 8;
}

/* Points all directory entries that led to the segment at one heir, or half of them at each. */
static void pytheus__segment_replace(pytheus__family *family, pytheus__segment *segment,
                                     uint64_t hash, pytheus__segment *low, pytheus__segment *high) {
    pytheus__directory *directory = family->directory;
    uintptr_t *entries = pytheus__entries(directory);
    pytheus__slot *slots = pytheus__slots(segment);
    size_t num_slots = (size_t)1 << segment->log2_size;
    size_t i, span = (size_t)1 << (directory->depth - segment->depth);
    size_t first = pytheus__directory_place(directory, hash) & ~(span - 1);
    for (i = 0; i < num_slots; i++) {
        pytheus__node *node = pytheus__node_in(slots[i]);
        pytheus__fetch(pytheus__node_in(slots[(i + PYTHEUS__AHEAD) % num_slots]));
        if (node) {
            uint64_t moved = pytheus__hash_of(family, node);
            bool upper = low != high && (moved >> (63 - segment->depth) & 1);
            pytheus__segment_put(upper ? high : low, moved, node);
        }
    }
    for (i = 0; i < span; i++) {
        PYTHEUS__STORE_RELEASE(&entries[first + i], pytheus__entry_for(i < span / 2 ? low : high));
    }
    segment->next_free = family->free_segments[segment->log2_size];
    family->free_segments[segment->log2_size] = segment;
}

/* The old directory stays in the arena: somebody may be reading it. */
static void pytheus__directory_double(pytheus__family *family) {
    pytheus__directory *old = family->directory;
    pytheus__directory *directory = (pytheus__directory *)pytheus__arena_take(
        family->registry, pytheus__directory_size(old->depth + 1));
    size_t i;
    directory->depth = old->depth + 1;
    for (i = 0; i < (size_t)1 << directory->depth; i++) {
        pytheus__entries(directory)[i] = pytheus__entries(old)[i / 2];
    }
    PYTHEUS__STORE_RELEASE(&family->directory, directory);
}

static size_t pytheus__segment_cost(const pytheus__family *family, uint32_t log2_size) {
    return family->free_segments[log2_size] ? 0 : pytheus__segment_size(log2_size);
}

/* Bytes of arena that making room for one more key takes. */
static size_t pytheus__index_growth(const pytheus__family *family, uint64_t hash) {
    const pytheus__segment *segment = pytheus__segment_of(family->directory, hash);
    uint32_t log2_size = segment->log2_size;
    if (!pytheus__segment_is_full(segment)) {
        return 0;
    }
    if (pytheus__segment_is_sparse(segment)) {
        return pytheus__segment_cost(family, log2_size);
    }
    if (log2_size < PYTHEUS__LARGEST_SEGMENT) {
        return pytheus__segment_cost(family, log2_size + 1);
    }
    return 2 * pytheus__segment_size(log2_size) +
           (segment->depth == family->directory->depth
                ? pytheus__directory_size(family->directory->depth + 1)
                : 0);
}

/* Makes room in the segment of the hash: rebuilds it without removed nodes, doubles it, or
   splits it. No call moves more than one segment's slots. */
static void pytheus__index_grow(pytheus__family *family, uint64_t hash) {
    pytheus__segment *segment = pytheus__segment_of(family->directory, hash);
    uint32_t log2_size = segment->log2_size;
    if (!pytheus__segment_is_full(segment)) {
        return;
    }
    if (pytheus__segment_is_sparse(segment) || log2_size < PYTHEUS__LARGEST_SEGMENT) {
        log2_size += pytheus__segment_is_sparse(segment) ? 0u : 1u;
        pytheus__segment *heir = pytheus__segment_new(family, log2_size, segment->depth);
        pytheus__segment_replace(family, segment, hash, heir, heir);
        return;
    }
    if (segment->depth == family->directory->depth) {
        pytheus__directory_double(family);
    }
    pytheus__segment *low = pytheus__segment_new(family, log2_size, segment->depth + 1);
    pytheus__segment *high = pytheus__segment_new(family, log2_size, segment->depth + 1);
    pytheus__segment_replace(family, segment, hash, low, high);
}

static void pytheus__index_remove(pytheus__family *family, pytheus__node *node) {
    uint64_t hash = pytheus__hash_of(family, node);
    pytheus__segment *segment = pytheus__segment_of(family->directory, hash);
    pytheus__slot *slots = pytheus__slots(segment);
    size_t mask = ((size_t)1 << segment->log2_size) - 1;
    size_t i = (size_t)hash & mask;
    while (pytheus__node_in(slots[i]) != node) {
        i = (i + 1) & mask;
    }
    PYTHEUS__STORE(&slots[i], PYTHEUS__GONE);
    segment->live--;
}

/* -- cells of a backend. Its functions run without any lock, so what a node needs from it is got
      before the node is made, and given back after it was removed. The area of such a node holds
      how many are inside an operation, then the backend's cells or where its words are. -- */

enum {
    PYTHEUS__INSIDE = 0,
    /* marks in that count: the node's life has ended; its cells are closed */
    PYTHEUS__CLOSING = 1,
    PYTHEUS__CLOSED = 2,
    PYTHEUS__ONE_INSIDE = 4
};

/* Where a backend's words are described, behind that count. */
enum {
    PYTHEUS__AT = 1,
    PYTHEUS__LIFE,
    PYTHEUS__LIFE_VALUE,
    PYTHEUS__MASK,
    PYTHEUS__STRIPES, /* how many, and how many words each has */
    PYTHEUS__CHANGED,
    PYTHEUS__SETS,
    PYTHEUS__SERIES,
    PYTHEUS__WORDS_AREA = PYTHEUS__SERIES
};

enum { PYTHEUS__LOCAL_CELLS = 16 };

#define PYTHEUS__OVERFLOW_VALUE "__overflow__"

/* What the backend gave for a series that is about to be made. */
typedef struct pytheus__opened {
    pytheus__family *family;
    const pytheus__key *key;
    pytheus_words words;
    void *local_cells[PYTHEUS__LOCAL_CELLS];
    void **cells; /* local, or allocated when there are more */
    bool is_used; /* a node has it now */
    bool is_full; /* the backend has max_series of the metric */
} pytheus__opened;

static bool pytheus__has_words(const pytheus__store *store) {
    return store->backend.words_open != NULL;
}

/* Values of a series that a backend keeps apart. */
static size_t pytheus__num_values(const pytheus__family *family) {
    return family->type == PYTHEUS_COUNTER ? 1 : family->num_cells;
}

static size_t pytheus__cell_area_words(const pytheus__family *family) {
    if (!family->store) {
        return family->num_cells;
    }
    return 1 + (pytheus__has_words(family->store)
                    ? (size_t)PYTHEUS__WORDS_AREA
                    : (pytheus__num_values(family) * sizeof(void *) + 7) / 8);
}

/* The backend's cells, in the area of a node. */
static void **pytheus__backend_cells(pytheus__node *node) {
    return (void **)(void *)(pytheus__cells(node) + PYTHEUS__INSIDE + 1);
}

static void pytheus__put_words(pytheus__node *node, const pytheus_words *words) {
    pytheus__word *area = pytheus__cells(node);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__AT], (uint64_t)(uintptr_t)words->at);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__MASK], words->mask);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__LIFE], (uint64_t)(uintptr_t)words->life);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__LIFE_VALUE], words->life_value);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__STRIPES],
                           (uint64_t)words->num_stripes << 32 | words->stripe_words);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__CHANGED], (uint64_t)(uintptr_t)words->changed);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__SETS], (uint64_t)(uintptr_t)words->sets);
    PYTHEUS__STORE_RELEASE(&area[PYTHEUS__SERIES], (uint64_t)(uintptr_t)words->series);
}

/* Each member may be of another life than the others, unless the node's is still the same after. */
static inline pytheus_words pytheus__words_of(pytheus__node *node) {
    pytheus__word *area = pytheus__cells(node);
    uint64_t stripes = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__STRIPES]);
    pytheus_words words = PYTHEUS__EMPTY;
    words.at = (uint64_t *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__AT]);
    words.num_stripes = (size_t)(stripes >> 32);
    words.stripe_words = (size_t)(stripes & UINT32_MAX);
    words.mask = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__MASK]);
    words.life = (const uint64_t *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE]);
    words.life_value = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE_VALUE]);
    words.changed = (uint64_t *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__CHANGED]);
    words.sets = (uint64_t *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__SETS]);
    words.series = (void *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__SERIES]);
    return words;
}

static pytheus_err pytheus__from_backend(const pytheus__family *family, char before, int err,
                                         const char *what) {
    char sentence[80];
    sentence[0] = '\0';
    if (err) {
        (void)snprintf(sentence, sizeof sentence, "the backend \"%.30s\" failed to %s",
                       family->store->backend.name, what);
    }
    return pytheus__after_callback(before, err, PYTHEUS_ERR_BACKEND, family->name.text, sentence);
}

static void pytheus__list_labels(const pytheus__family *family, const char *const *values,
                                 pytheus_label *labels) {
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        labels[i].name = family->label_names[i].text;
        labels[i].value = values[i];
    }
}

static void pytheus__labels_of_key(const pytheus__family *family, const pytheus__key *key,
                                   pytheus_label *labels) {
    const char *values[PYTHEUS_MAX_LABELS];
    pytheus__key_values(family, key->words, values);
    pytheus__list_labels(family, values, labels);
}

/* The bound of a bucket as it is on the page. */
static pytheus__piece pytheus__bound_text(const pytheus__family *family, size_t bucket) {
    const size_t before = strlen(",le=\""), after = strlen("\"} ");
    pytheus__piece text = family->bucket_ends[bucket];
    text.text += before;
    text.size -= before + after;
    return text;
}

static void pytheus__describe_value(const pytheus__family *family, size_t i,
                                    pytheus_cell_desc *desc, char *bound_text) {
    desc->bound = 0;
    desc->value = bound_text;
    if (family->type < PYTHEUS_HISTOGRAM) {
        desc->value = "";
    } else if (i == PYTHEUS__SUM_REAL) {
        desc->value = "sum";
    } else if (family->type == PYTHEUS_SUMMARY) {
        desc->value = "count";
    } else {
        size_t bucket = i - PYTHEUS__FIRST_BUCKET;
        bool is_last = bucket == family->num_bounds;
        desc->bound = is_last ? pytheus__as_double(PYTHEUS__INFINITY_BITS) : family->bounds[bucket];
        pytheus__piece text = pytheus__bound_text(family, bucket);
        memcpy(bound_text, text.text, text.size);
        bound_text[text.size] = '\0';
    }
}

/* Its own errors are nobody's, and do not take the place of one that is about to be told. */
static void pytheus__close_cells(const pytheus__family *family, void *const *cells, size_t n) {
    const pytheus_backend *backend = &family->store->backend;
    pytheus__kept kept;
    size_t i;
    pytheus__keep_sentence(&kept);
    for (i = 0; backend->cell_close && i < n; i++) {
        backend->cell_close(backend->user, cells[i]);
    }
    pytheus__return_sentence(&kept);
}

/* Lists of what a family holds as pieces. */
typedef struct pytheus__lists {
    const char *defaults[PYTHEUS_MAX_LABELS];
    const char *states[PYTHEUS_MAX_STATES];
} pytheus__lists;

static void pytheus__describe_series(const pytheus__family *family, const pytheus_label *labels,
                                     pytheus__lists *lists, pytheus_series_desc *desc) {
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        lists->defaults[i] = family->default_values[i].text;
    }
    for (i = 0; i < family->num_states; i++) {
        lists->states[i] = family->states[i].text;
    }
    desc->metric = family->metric;
    desc->help = family->help.text;
    desc->type = family->type;
    desc->across = family->across;
    desc->expire_seconds = family->expire_seconds;
    desc->unit = family->unit.text;
    desc->bounds = family->bounds;
    desc->num_bounds = family->num_bounds;
    desc->states = lists->states;
    desc->num_states = family->num_states;
    desc->labels = labels;
    desc->num_labels = family->num_labels;
    desc->defaults = lists->defaults;
    desc->max_series = PYTHEUS__LOAD(&family->max_series);
    desc->num_words = family->num_cells;
    desc->num_stripes = PYTHEUS__LOAD(&family->stripes_asked);
}

static pytheus_err pytheus__open_cells(pytheus__opened *opened, const pytheus_label *labels) {
    const pytheus__family *family = opened->family;
    const pytheus_backend *backend = &family->store->backend;
    char bound_text[PYTHEUS__NUMBER_SIZE];
    pytheus__lists lists;
    pytheus_series_desc series;
    pytheus_cell_desc desc;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    pytheus__describe_series(family, labels, &lists, &series);
    desc.metric = series.metric;
    desc.help = series.help;
    desc.type = series.type;
    desc.across = series.across;
    desc.expire_seconds = series.expire_seconds;
    desc.unit = series.unit;
    desc.states = series.states;
    desc.num_states = series.num_states;
    desc.labels = labels;
    desc.num_labels = series.num_labels;
    for (i = 0; !err && i < pytheus__num_values(family); i++) {
        char before = pytheus__before_callback();
        pytheus__describe_value(family, i, &desc, bound_text);
        opened->cells[i] = NULL;
        err = backend->cell_open(backend->user, &desc, &opened->cells[i]);
        err = pytheus__from_backend(family, before, err, "open a series");
        if (err) {
            pytheus__close_cells(family, opened->cells, i);
        }
    }
    return err;
}

static void pytheus__close(const pytheus__family *family, void *const *cells,
                           const pytheus_words *words) {
    const pytheus_backend *backend = &family->store->backend;
    if (!pytheus__has_words(family->store)) {
        pytheus__close_cells(family, cells, pytheus__num_values(family));
    } else if (backend->words_close) {
        pytheus__kept kept;
        pytheus__keep_sentence(&kept);
        backend->words_close(backend->user, words);
        pytheus__return_sentence(&kept);
    }
}

/* Whether a key's values, as they are in the text, are those of the overflow series. */
static bool pytheus__is_overflow_key(const pytheus__family *family, const pytheus__word *words) {
    const char *values[PYTHEUS_MAX_LABELS];
    size_t i;
    pytheus__key_values(family, words, values);
    for (i = 0; i < family->num_labels; i++) {
        if (!values[i] || strcmp(values[i], PYTHEUS__OVERFLOW_VALUE) != 0) {
            return false;
        }
    }
    return family->num_labels > 0;
}

/* Closes words that can't be used. */
static pytheus_err pytheus__check_words(const pytheus__family *family, pytheus_words *words) {
    const pytheus_backend *backend = &family->store->backend;
    if (words->num_stripes < 1 || pytheus__is_real(family->type)) {
        words->num_stripes = 1;
    }
    if (!words->at || (uintptr_t)words->at % 8 || (uintptr_t)words->life % 8 ||
        (uintptr_t)words->changed % 8 || (uintptr_t)words->sets % 8 ||
        words->num_stripes > UINT32_MAX || words->stripe_words > UINT32_MAX ||
        (words->num_stripes > 1 && words->stripe_words < family->num_cells)) {
        pytheus__close(family, NULL, words);
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: the backend \"%.30s\" gave no good words",
                            family->name.text, backend->name);
    }
    return PYTHEUS_OK;
}

/* Of words alone, an error may be only to be told. */
static pytheus_err pytheus__open_words(pytheus__opened *opened, const pytheus_label *labels) {
    pytheus__family *family = opened->family;
    const pytheus_backend *backend = &family->store->backend;
    pytheus_words *words = &opened->words;
    pytheus__lists lists;
    pytheus_series_desc desc;
    pytheus_err err;
    char before = pytheus__before_callback();
    pytheus__describe_series(family, labels, &lists, &desc);
    if (!family->root || pytheus__is_overflow_key(family, opened->key->words)) {
        desc.max_series = 0;
    }
    memset((void *)words, 0, sizeof *words);
    err = backend->words_open(backend->user, &desc, words);
    err = pytheus__from_backend(family, before, err, "open a series");
    if (err && words->at) {
        (void)pytheus__tell(family, err);
        err = PYTHEUS_OK;
    }
    opened->is_full = !err && !words->at && desc.max_series;
    return err || opened->is_full ? err : pytheus__check_words(family, words);
}

static void pytheus__opened_free(pytheus__opened *opened) {
    const pytheus__family *family = opened->family;
    if (opened->cells != opened->local_cells) {
        pytheus__release_memory(&family->registry->allocator, opened->cells,
                                pytheus__num_values(family) * sizeof *opened->cells);
    }
}

/* Opens the series for its key. On an error nothing is left to close or free. */
static pytheus_err pytheus__open(pytheus__family *family, const pytheus__key *key,
                                 pytheus__opened *opened) {
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus_err err;
    opened->family = family;
    opened->key = key;
    opened->cells = opened->local_cells;
    opened->is_used = opened->is_full = false;
    pytheus__labels_of_key(family, key, labels);
    if (pytheus__has_words(family->store)) {
        return pytheus__open_words(opened, labels);
    }
    if (pytheus__num_values(family) > PYTHEUS__LOCAL_CELLS) {
        opened->cells =
            (void **)pytheus__resize(&family->registry->allocator, NULL, 0,
                                     pytheus__num_values(family) * sizeof *opened->cells);
        if (!opened->cells) {
            return pytheus__out_of_memory(family->name.text);
        }
    }
    err = pytheus__open_cells(opened, labels);
    if (err) {
        pytheus__opened_free(opened);
    }
    return err;
}

/* Closes what was opened for nothing: another thread was first. */
static void pytheus__opened_end(pytheus__opened *opened) {
    if (!opened->is_used) {
        pytheus__close(opened->family, opened->cells, &opened->words);
    }
    pytheus__opened_free(opened);
}

/* Tells the backend that what it keeps of the series can go: at once, because it may be made
   again. */
static pytheus_err pytheus__remove_series(pytheus__node *node) {
    const pytheus__family *family = node->family;
    const pytheus_backend *backend = &family->store->backend;
    char before = pytheus__before_callback();
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    if (pytheus__has_words(family->store)) {
        pytheus_words words = pytheus__words_of(node);
        err = backend->words_remove ? backend->words_remove(backend->user, &words) : PYTHEUS_OK;
        return pytheus__from_backend(family, before, err, "remove a series");
    }
    for (i = 0; backend->cell_remove && i < pytheus__num_values(family); i++) {
        pytheus_err each = backend->cell_remove(backend->user, pytheus__backend_cells(node)[i]);
        err = err ? err : each;
    }
    return pytheus__from_backend(family, before, err, "remove a series");
}

static void pytheus__close_series(pytheus__node *node) {
    if (pytheus__has_words(node->family->store)) {
        pytheus_words words = pytheus__words_of(node);
        pytheus__close(node->family, NULL, &words);
    } else {
        pytheus__close(node->family, pytheus__backend_cells(node), NULL);
    }
}

/* Lets a removed node be used again. Under the lock. */
static void pytheus__free_node_put(pytheus__node *node) {
    pytheus__node **first = &node->family->free_nodes[node->size_class];
    node->link.next_free = *first;
    *first = node;
}

/* Closes the cells of a removed node when nobody is inside: the node can then be used again. Of
   several who find it so, one does it, in the middle of an operation that may have failed. */
static void pytheus__close_node(pytheus__node *node) {
    pytheus__family *family = node->family;
    pytheus__word *inside = &pytheus__cells(node)[PYTHEUS__INSIDE];
    uint64_t found = PYTHEUS__LOAD_ACQUIRE(inside);
    do {
        if (found != PYTHEUS__CLOSING) {
            return;
        }
    } while (!PYTHEUS__REPLACE(inside, &found, PYTHEUS__CLOSED));
    pytheus__close_series(node);
    if (node->is_reusable) {
        pytheus__acquire(&family->registry->lock);
        pytheus__free_node_put(node);
        pytheus__release(&family->registry->lock);
    }
}

/* Whether the words of a view, which is alive here, have not been removed by somebody else. */
static bool pytheus__words_live(const pytheus_words *words) {
    return !words->life || PYTHEUS__LOAD((const pytheus__word *)words->life) == words->life_value;
}

PYTHEUS__COLD bool pytheus__is_there_in_words(pytheus_view view) {
    pytheus_words words = pytheus__words_of(view.node);
    return pytheus__is_alive(view) && pytheus__words_live(&words);
}

PYTHEUS__HOT bool pytheus__is_there(pytheus_view view) {
    return PYTHEUS__LIKELY(!(view.generation & PYTHEUS__WORDS)) || pytheus__is_there_in_words(view);
}

static void pytheus__leave(pytheus__node *node) {
    pytheus__word *inside = &pytheus__cells(node)[PYTHEUS__INSIDE];
    uint64_t before = PYTHEUS__ADD_ORDERED(inside, -(uint64_t)PYTHEUS__ONE_INSIDE);
    if (before == (PYTHEUS__ONE_INSIDE | PYTHEUS__CLOSING)) {
        pytheus__close_node(node);
    }
}

/* Keeps the cells of a view open until pytheus__leave; false: they are closed, or will be. */
static bool pytheus__enter(pytheus_view view) {
    (void)PYTHEUS__ADD_ORDERED(&pytheus__cells(view.node)[PYTHEUS__INSIDE], PYTHEUS__ONE_INSIDE);
    if (PYTHEUS__LIKELY(pytheus__is_alive(view))) {
        return true;
    }
    pytheus__leave(view.node);
    return false;
}

/* -- making and removing nodes, under the registry's lock -- */

/* Two classes for each doubling: the smallest of 64, 96, 128, 192, 256, 384, ... that holds
   size. */
static uint32_t pytheus__size_class(size_t size) {
    uint32_t size_class = 0;
    size_t class_size = PYTHEUS__CACHE_LINE;
    while (class_size < size) {
        size_class++;
        class_size += size_class % 2 ? class_size / 2 : class_size / 3;
    }
    return size_class;
}

static size_t pytheus__class_size(uint32_t size_class) {
    size_t size = (size_t)PYTHEUS__CACHE_LINE << (size_class / 2);
    return pytheus__cache_lines(size_class % 2 ? size + size / 2 : size);
}

/* With what is copied behind its end. */
static size_t pytheus__text_room(size_t text_size) {
    return (text_size + PYTHEUS__WORD_BEHIND - 1) / PYTHEUS__WORD_BEHIND * PYTHEUS__WORD_BEHIND;
}

static size_t pytheus__node_size(const pytheus__family *family, size_t key_words,
                                 size_t text_size) {
    return pytheus__cache_lines(sizeof(pytheus__node) +
                                (family->area_words + key_words) * sizeof(pytheus__word) +
                                pytheus__text_room(text_size));
}

/* The label text of a complete key: {method="GET",code="200"} and a blank; what a histogram's lines
   add at the end is left open. */
static void pytheus__render_labels(const pytheus__family *family, const pytheus__word *key,
                                   pytheus__text *out) {
    const char *at = (const char *)key;
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        size_t size = strlen(at);
        pytheus__add(out, family->text_parts[i].text, family->text_parts[i].size);
        pytheus__add_escaped(out, at, size, true);
        at += size + 1;
    }
    pytheus__add(out, family->text_end.text, family->text_end.size);
}

/* All of a node is written in atomic words: a late reader may be looking at it as what it was. */
static void pytheus__store_words(pytheus__word *to, const void *from, size_t size) {
    size_t i;
    for (i = 0; i < (size + 7) / 8; i++) {
        uint64_t word = 0;
        size_t rest = size - i * 8;
        memcpy(&word, (const char *)from + i * 8, rest < 8 ? rest : 8);
        PYTHEUS__STORE_RELEASE(&to[i], word);
    }
}

enum { PYTHEUS__LOCAL_TEXT_SIZE = 1024 };

/* -- stripes. A series that threads get in each other's way on is given more cells, without a lock
      or an allocation: its family has some in reserve. -- */

enum { PYTHEUS__MOST_STRIPES = 64, PYTHEUS__MOST_STRIPES_UNASKED = 8 };

/* Words of one stripe, in whole cache lines. */
static size_t pytheus__stripe_words(const pytheus__family *family) {
    size_t cells = family->type == PYTHEUS_COUNTER ? 1 : family->num_cells;
    return pytheus__cache_lines(cells * sizeof(pytheus__word)) / sizeof(pytheus__word);
}

static size_t pytheus__stripes_size(const pytheus__family *family) {
    if (family->num_stripes < 2) {
        return 0;
    }
    return sizeof(pytheus__stripes) +
           family->num_stripes * pytheus__stripe_words(family) * sizeof(pytheus__word);
}

/* From memory that is reserved. */
static pytheus__stripes *pytheus__stripes_new(pytheus__family *family) {
    pytheus__stripes *stripes =
        (pytheus__stripes *)pytheus__arena_take(family->registry, pytheus__stripes_size(family));
    stripes->mask = family->num_stripes - 1;
    stripes->stripe_words = pytheus__stripe_words(family);
    return stripes;
}

static void pytheus__fill_stripes(pytheus__stripes *stripes, uint64_t generation) {
    size_t i, n = (stripes->mask + 1) * stripes->stripe_words;
    PYTHEUS__STORE_RELEASE(&stripes->generation, 0);
    for (i = 0; i < n; i++) {
        PYTHEUS__STORE_RELEASE(&pytheus__stripe_at(stripes, 0)[i], pytheus__mask(generation));
    }
    PYTHEUS__STORE_RELEASE(&stripes->generation, generation);
}

/* Bytes of arena that keeping some in reserve takes now. */
static size_t pytheus__stripes_missing(const pytheus__family *family) {
    bool is_wanted = family->num_labels || !family->root || !PYTHEUS__LOAD(&family->root->stripes);
    return family->spreads_at_once || !is_wanted || PYTHEUS__LOAD_ACQUIRE(&family->spare)
               ? 0
               : pytheus__stripes_size(family);
}

static void pytheus__keep_spare(pytheus__family *family, pytheus__stripes *stripes) {
    stripes->next_spare = PYTHEUS__LOAD_ACQUIRE(&family->spare);
    while (!PYTHEUS__REPLACE(&family->spare, &stripes->next_spare, stripes)) {
    }
}

/* Takes all and gives back the rest: the next of one that others see may change. */
static pytheus__stripes *pytheus__take_spare(pytheus__family *family) {
    pytheus__stripes *taken, *rest, *next;
    taken = (pytheus__stripes *)PYTHEUS__EXCHANGE(&family->spare, (pytheus__stripes *)NULL);
    for (rest = taken ? taken->next_spare : NULL; rest; rest = next) {
        next = rest->next_spare;
        pytheus__keep_spare(family, rest);
    }
    return taken;
}

/* Under the lock, if there is memory left when all else that it was reserved for is taken: they may
   have been used since. */
static void pytheus__refill_stripes(pytheus__family *family) {
    size_t size = pytheus__stripes_missing(family);
    if (size && pytheus__arena_fits(family->registry, size)) {
        pytheus__keep_spare(family, pytheus__stripes_new(family));
    }
}

/* Spreads a series over more cells, if there are any in reserve. A view that is removed meanwhile
   leaves its node stripes that no other life will take for its own. */
static void pytheus__give_stripes(pytheus_view view) {
    pytheus__family *family = view.node->family;
    pytheus__stripes *none = NULL, *stripes = pytheus__take_spare(family);
    if (!stripes) {
        return;
    }
    pytheus__fill_stripes(stripes, view.generation);
    while (!none && !PYTHEUS__REPLACE(&view.node->stripes, &none, stripes)) {
    }
    if (none) {
        pytheus__keep_spare(family, stripes);
    }
}

/* A meeting counts for more than a look around that meets nobody, so that a series spreads where
   one in some thirty or more do, and meetings by chance are forgotten. */
enum { PYTHEUS__MEETING = 32, PYTHEUS__CONTENDED = 256 };

/* Somebody else changed a cell in the middle of an operation. */
PYTHEUS__COLD void pytheus__meet(pytheus_view view) {
    pytheus__node *node = view.node;
    if (node->family->num_stripes < 2 || PYTHEUS__LOAD(&node->stripes)) {
        return;
    }
    if (PYTHEUS__LOAD(&node->contention) < PYTHEUS__CONTENDED) {
        (void)PYTHEUS__ADD(&node->contention, (uint16_t)PYTHEUS__MEETING);
    } else {
        pytheus__give_stripes(view);
    }
}

/* Nobody did; so meetings by chance are forgotten. */
PYTHEUS__HOT void pytheus__meet_nobody(pytheus__node *node) {
    uint16_t met = PYTHEUS__LOAD(&node->contention);
    if (!PYTHEUS__LIKELY(!met)) {
        (void)PYTHEUS__REPLACE(&node->contention, &met, (uint16_t)(met - 1));
    }
}

/* The stripe of this thread; NULL: none was filled for this life. */
PYTHEUS__HOT pytheus__word *pytheus__own_stripe(pytheus_view view, pytheus__stripes *stripes) {
    if (PYTHEUS__LOAD_ACQUIRE(&stripes->generation) != view.generation) {
        return NULL;
    }
    return pytheus__stripe_at(stripes, pytheus__thread_number() & stripes->mask);
}

/* -- exemplars: one for each bucket, or one, made when it first comes, and kept with the node -- */

enum {
    PYTHEUS__EXEMPLAR_CHARACTERS = 128, /* in all names and values: OpenMetrics 1.0.0, Exemplars */
    PYTHEUS__EXEMPLAR_WORDS = (PYTHEUS__EXEMPLAR_CHARACTERS * 4 + 2 * PYTHEUS_MAX_LABELS + 7) / 8
};

typedef struct pytheus__exemplar {
    pytheus__word sequence;   /* odd while somebody writes it */
    pytheus__word generation; /* of the life that it is of */
    pytheus__word value;
    pytheus__word time; /* seconds since 1970 */
    pytheus__word size; /* of the text: name, NUL, value, NUL, ... */
    pytheus__word text[PYTHEUS__EXEMPLAR_WORDS];
} pytheus__exemplar;

/* Which node has which exemplars: open addressing, never deleted from. Followed by mask + 1
   entries. */
typedef struct pytheus__exemplar_table {
    size_t mask;
    size_t used;
} pytheus__exemplar_table;

typedef struct pytheus__exemplar_entry {
    pytheus__node *node; /* NULL: free */
    pytheus__exemplar **list;
} pytheus__exemplar_entry;

enum { PYTHEUS__SMALLEST_EXEMPLAR_TABLE = 8 };

static size_t pytheus__num_exemplars(const pytheus__family *family) {
    return family->type == PYTHEUS_COUNTER ? 1 : family->num_bounds + 1;
}

static size_t pytheus__exemplar_table_size(size_t num_entries) {
    return pytheus__cache_lines(sizeof(pytheus__exemplar_table) +
                                num_entries * sizeof(pytheus__exemplar_entry));
}

/* The entry of a node, or the free one where it would be. */
static pytheus__exemplar_entry *pytheus__exemplar_entry_of(pytheus__exemplar_table *table,
                                                           const pytheus__node *node) {
    pytheus__exemplar_entry *entries = (pytheus__exemplar_entry *)(void *)(table + 1);
    size_t at = (size_t)pytheus__spread((uint64_t)(uintptr_t)node);
    for (;; at++) {
        pytheus__exemplar_entry *entry = &entries[at & table->mask];
        const pytheus__node *known = PYTHEUS__LOAD_ACQUIRE(&entry->node);
        if (!known || known == node) {
            return entry;
        }
    }
}

/* The exemplars of a series, by bucket; NULL: it had none yet. */
static pytheus__exemplar **pytheus__exemplars_of(const pytheus__node *node) {
    pytheus__exemplar_table *table = PYTHEUS__LOAD_ACQUIRE(&node->family->exemplars);
    pytheus__exemplar_entry *entry = table ? pytheus__exemplar_entry_of(table, node) : NULL;
    return entry && PYTHEUS__LOAD_ACQUIRE(&entry->node) ? entry->list : NULL;
}

static pytheus__exemplar *pytheus__exemplar_at(const pytheus__node *node, size_t bucket) {
    pytheus__exemplar **list = pytheus__exemplars_of(node);
    return list ? PYTHEUS__LOAD_ACQUIRE(&list[bucket]) : NULL;
}

static void pytheus__exemplar_table_put(pytheus__exemplar_table *table, pytheus__node *node,
                                        pytheus__exemplar **list) {
    pytheus__exemplar_entry *entry = pytheus__exemplar_entry_of(table, node);
    entry->list = list;
    PYTHEUS__STORE_RELEASE(&entry->node, node);
    table->used++;
}

/* How many entries the table needs to have for one more. */
static size_t pytheus__exemplar_table_wanted(const pytheus__exemplar_table *table) {
    return !table                          ? (size_t)PYTHEUS__SMALLEST_EXEMPLAR_TABLE
           : table->used < table->mask / 2 ? table->mask + 1
                                           : 2 * (table->mask + 1);
}

/* From memory that is reserved. Others may still be looking into the old one. */
static void pytheus__exemplar_table_grow(pytheus__family *family, size_t num_entries) {
    pytheus__exemplar_table *old = family->exemplars;
    pytheus__exemplar_table *table = (pytheus__exemplar_table *)pytheus__arena_take(
        family->registry, pytheus__exemplar_table_size(num_entries));
    size_t i;
    table->mask = num_entries - 1;
    for (i = 0; old && i <= old->mask; i++) {
        const pytheus__exemplar_entry *entry = (pytheus__exemplar_entry *)(void *)(old + 1) + i;
        if (entry->node) {
            pytheus__exemplar_table_put(table, entry->node, entry->list);
        }
    }
    PYTHEUS__STORE_RELEASE(&family->exemplars, table);
}

/* A place for the exemplars of a series, under the lock; NULL: no memory. */
static pytheus__exemplar **pytheus__exemplars_new(pytheus__node *node) {
    pytheus__family *family = node->family;
    size_t list_size =
        pytheus__cache_lines(pytheus__num_exemplars(family) * sizeof(pytheus__exemplar *));
    size_t wanted = pytheus__exemplar_table_wanted(family->exemplars);
    bool grows = !family->exemplars || wanted > family->exemplars->mask + 1;
    pytheus__exemplar **list;
    if (!pytheus__arena_reserve(family->registry,
                                list_size + (grows ? pytheus__exemplar_table_size(wanted) : 0))) {
        return NULL;
    }
    if (grows) {
        pytheus__exemplar_table_grow(family, wanted);
    }
    list = (pytheus__exemplar **)pytheus__arena_take(family->registry, list_size);
    pytheus__exemplar_table_put(family->exemplars, node, list);
    return list;
}

/* Under the lock; NULL: no memory. */
static pytheus__exemplar *pytheus__exemplar_new(pytheus__node *node, size_t bucket) {
    pytheus_registry *registry = node->family->registry;
    pytheus__exemplar **list = pytheus__exemplars_of(node), *exemplar;
    const size_t size = pytheus__cache_lines(sizeof *exemplar);
    list = list ? list : pytheus__exemplars_new(node);
    if (!list || !pytheus__arena_reserve(registry, size)) {
        return NULL;
    }
    exemplar = (pytheus__exemplar *)pytheus__arena_take(registry, size);
    PYTHEUS__STORE_RELEASE(&list[bucket], exemplar);
    return exemplar;
}

/* Those of an earlier life are nobody's, and those of a series that was set to 0 neither. */
static void pytheus__forget_exemplars(pytheus__node *node) {
    const pytheus__family *family = node->family;
    size_t i;
    for (i = 0; family->exemplars && i < pytheus__num_exemplars(family); i++) {
        pytheus__exemplar *exemplar = pytheus__exemplar_at(node, i);
        if (exemplar) {
            PYTHEUS__STORE(&exemplar->generation, 0);
        }
    }
}

/* A copy, once nobody writes it. */
static bool pytheus__exemplar_read(pytheus__exemplar *from, uint64_t generation,
                                   pytheus__exemplar *copy) {
    uint64_t sequence = PYTHEUS__LOAD_ACQUIRE(&from->sequence);
    size_t i;
    copy->generation = PYTHEUS__LOAD_ACQUIRE(&from->generation);
    copy->value = PYTHEUS__LOAD_ACQUIRE(&from->value);
    copy->time = PYTHEUS__LOAD_ACQUIRE(&from->time);
    copy->size = PYTHEUS__LOAD_ACQUIRE(&from->size);
    for (i = 0; i < PYTHEUS__EXEMPLAR_WORDS && i < (copy->size + 7) / 8; i++) {
        copy->text[i] = PYTHEUS__LOAD_ACQUIRE(&from->text[i]);
    }
    return sequence % 2 == 0 && copy->generation == generation &&
           PYTHEUS__LOAD(&from->sequence) == sequence;
}

/* Who finds somebody else writing leaves it to them: one example is as good as another. */
static void pytheus__exemplar_write(pytheus__exemplar *to, const pytheus__exemplar *from) {
    uint64_t sequence = PYTHEUS__LOAD(&to->sequence);
    size_t i;
    if (sequence % 2 || !PYTHEUS__REPLACE(&to->sequence, &sequence, sequence + 1)) {
        return;
    }
    PYTHEUS__STORE_RELEASE(&to->generation, from->generation);
    PYTHEUS__STORE_RELEASE(&to->value, from->value);
    PYTHEUS__STORE_RELEASE(&to->time, from->time);
    PYTHEUS__STORE_RELEASE(&to->size, from->size);
    for (i = 0; i < (from->size + 7) / 8; i++) {
        PYTHEUS__STORE_RELEASE(&to->text[i], from->text[i]);
    }
    PYTHEUS__STORE_RELEASE(&to->sequence, sequence + 2);
}

/* What a new node is made of, put together before anything is changed. */
typedef struct pytheus__birth {
    pytheus__family *family;
    const pytheus__key *key;
    const pytheus__opened *opened; /* NULL: the cells are in the node */
    uint64_t flags;
    size_t size;
    uint32_t size_class;
    pytheus__text text;
    char local_text[PYTHEUS__LOCAL_TEXT_SIZE];
} pytheus__birth;

static void pytheus__birth_free(pytheus__birth *birth) {
    if (birth->text.at != birth->local_text) {
        pytheus__release_memory(&birth->family->registry->allocator, birth->text.at,
                                birth->text.size);
    }
}

static bool pytheus__birth_render(pytheus__birth *birth) {
    pytheus__text text = {NULL, 0};
    pytheus__render_labels(birth->family, birth->key->words, &text);
    if (text.size > PYTHEUS__LOCAL_TEXT_SIZE) {
        text.at = (char *)pytheus__resize(&birth->family->registry->allocator, NULL, 0, text.size);
        if (!text.at) {
            return false;
        }
        birth->text.at = text.at;
    }
    pytheus__render_labels(birth->family, birth->key->words, &birth->text);
    return true;
}

/* false: no memory, nothing to free. */
static bool pytheus__birth_plan(pytheus__birth *birth, pytheus__family *family,
                                const pytheus__key *key, uint64_t flags,
                                const pytheus__opened *opened) {
    birth->family = family;
    birth->key = key;
    birth->opened = opened;
    birth->flags = flags | (uint64_t)family->type;
    birth->flags |= key->complete ? PYTHEUS__COMPLETE : 0;
    birth->flags |= opened ? PYTHEUS__ELSEWHERE : 0;
    if (opened && pytheus__has_words(family->store)) {
        birth->flags |= PYTHEUS__WORDS;
    }
    birth->flags |= family->had_removal ? PYTHEUS__REUSABLE : 0;
    birth->text.at = birth->local_text;
    birth->text.size = 0;
    if (key->complete && !pytheus__birth_render(birth)) {
        return false;
    }
    birth->size = pytheus__node_size(family, key->num_words, birth->text.size);
    birth->size_class = pytheus__size_class(birth->size);
    if (family->had_removal) {
        birth->size = pytheus__class_size(birth->size_class);
    }
    return true;
}

/* The node to be used again, if there is one. */
static pytheus__node *pytheus__free_node(const pytheus__birth *birth) {
    return birth->flags & PYTHEUS__REUSABLE ? birth->family->free_nodes[birth->size_class] : NULL;
}

static pytheus__node *pytheus__birth_memory(const pytheus__birth *birth) {
    pytheus__node *node = pytheus__free_node(birth);
    if (node) {
        birth->family->free_nodes[birth->size_class] = node->link.next_free;
        return node;
    }
    node = (pytheus__node *)pytheus__arena_take(birth->family->registry, birth->size);
    node->family = birth->family;
    node->size_class = (uint8_t)birth->size_class;
    return node;
}

/* Room in the list of nodes, the index and the arena for one more; false: no memory. */
static bool pytheus__birth_reserve(const pytheus__birth *birth) {
    pytheus__family *family = birth->family;
    size_t size = pytheus__free_node(birth) ? 0 : birth->size;
    void *nodes;
    size +=
        family->spreads_at_once ? pytheus__stripes_size(family) : pytheus__stripes_missing(family);
    if (family->directory) {
        if (family->directory->depth >= PYTHEUS__DEEPEST_DIRECTORY) {
            return false;
        }
        size += pytheus__index_growth(family, birth->key->hash);
    }
    nodes = pytheus__room_for_one(family->registry, family->nodes, sizeof *family->nodes);
    if (!nodes) {
        return false;
    }
    family->nodes = (pytheus__node **)nodes;
    return pytheus__arena_reserve(family->registry, size);
}

/* Cells in the node begin as 0. How many are inside a backend's cells goes on from life to life:
   somebody may be about to leave who came too late. */
static void pytheus__fill_area(pytheus__node *node, const pytheus__opened *opened, uint64_t mask) {
    const pytheus__family *family = node->family;
    size_t i;
    for (i = 0; !family->store && i < family->num_cells; i++) {
        PYTHEUS__STORE_RELEASE(&pytheus__cells(node)[i], mask);
    }
    if (!opened) {
        return;
    }
    (void)PYTHEUS__CLEAR_BITS(&pytheus__cells(node)[PYTHEUS__INSIDE], PYTHEUS__CLOSED);
    if (pytheus__has_words(family->store)) {
        pytheus__put_words(node, &opened->words);
        return;
    }
    for (i = 0; i < pytheus__num_values(family); i++) {
        PYTHEUS__STORE_RELEASE(&pytheus__backend_cells(node)[i], opened->cells[i]);
    }
}

/* Those that the node has from an earlier life, or is to have from the start. */
static void pytheus__birth_stripes(const pytheus__birth *birth, pytheus__node *node,
                                   uint64_t generation) {
    pytheus__stripes *stripes = PYTHEUS__LOAD_ACQUIRE(&node->stripes);
    if (!stripes && birth->family->spreads_at_once && birth->key->complete) {
        stripes = pytheus__stripes_new(birth->family);
        PYTHEUS__STORE_RELEASE(&node->stripes, stripes);
    }
    if (stripes) {
        pytheus__fill_stripes(stripes, generation);
    }
}

/* Makes the node, in all places that were reserved for it. */
/* Keeps when a series begins, where its metric tells. */
static void pytheus__begin_life(pytheus__node *node) {
    size_t at = node->family->created_at;
    if (at) {
        int saved_errno = errno;
        PYTHEUS__STORE(&pytheus__cells(node)[at], pytheus__as_bits(pytheus__wall_clock()));
        errno = saved_errno;
    }
}

static pytheus__node *pytheus__birth_commit(const pytheus__birth *birth) {
    pytheus__family *family = birth->family;
    const pytheus__key *key = birth->key;
    pytheus__node *node = pytheus__birth_memory(birth);
    uint64_t serial = PYTHEUS__ADD(&pytheus__last_serial, 1) + 1;
    uint64_t generation = pytheus__spread(serial) << PYTHEUS__FLAGS_SIZE | birth->flags;
    pytheus__fill_area(node, birth->opened, pytheus__mask(generation));
    pytheus__begin_life(node);
    PYTHEUS__STORE(&node->contention, (uint16_t)0);
    pytheus__birth_stripes(birth, node, generation);
    PYTHEUS__STORE_RELEASE(&node->key_words, (uint32_t)key->num_words);
    pytheus__store_words(pytheus__key_of(node), key->words, key->num_words * 8);
    pytheus__store_words((pytheus__word *)(void *)pytheus__text_of(node), birth->text.at,
                         birth->text.size);
    node->text_size = (uint32_t)birth->text.size;
    node->is_reusable = (birth->flags & PYTHEUS__REUSABLE) != 0;
    node->link.serial = serial;
    node->place = (uint32_t)stbds_arrlenu(family->nodes);
    stbds_arrput(family->nodes, node);
    PYTHEUS__STORE_RELEASE(&node->generation, generation);
    if (family->directory) {
        pytheus__index_grow(family, key->hash);
        pytheus__segment_put(pytheus__segment_of(family->directory, key->hash), key->hash, node);
    }
    pytheus__refill_stripes(family);
    return node;
}

/* The new node; NULL: no memory, nothing has changed. */
static pytheus__node *pytheus__node_new(pytheus__family *family, const pytheus__key *key,
                                        uint64_t flags, const pytheus__opened *opened) {
    pytheus__birth birth;
    pytheus__node *node = NULL;
    if (!pytheus__birth_plan(&birth, family, key, flags, opened)) {
        return NULL;
    }
    if (pytheus__birth_reserve(&birth)) {
        node = pytheus__birth_commit(&birth);
    }
    pytheus__birth_free(&birth);
    return node;
}

/* A series that exists from the start: it is never removed. */
static bool pytheus__is_permanent(const pytheus__node *node) {
    return node == node->family->root;
}

/* Zero with the other sign if it was zero already: a set that has read a counter's other cell
   before must find this one changed. */
static void pytheus__zero_real(pytheus__word *cell) {
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(cell);
    while (!PYTHEUS__REPLACE(cell, &old, old ? 0 : PYTHEUS__SIGN_BIT)) {
    }
}

/* Only a root's, which are never masked. */
static void pytheus__zero_cells(pytheus__node *node) {
    pytheus__stripes *stripes = PYTHEUS__LOAD_ACQUIRE(&node->stripes);
    size_t i, real = node->family->type == PYTHEUS_COUNTER ? PYTHEUS__COUNTER_REAL : 0;
    for (i = 0; stripes && i < (stripes->mask + 1) * stripes->stripe_words; i++) {
        PYTHEUS__STORE_RELEASE(&pytheus__stripe_at(stripes, 0)[i], 0);
    }
    for (i = 0; i < node->family->num_cells; i++) {
        if (i != real) {
            PYTHEUS__STORE_RELEASE(&pytheus__cells(node)[i], 0);
        }
    }
    if (node->family->type == PYTHEUS_COUNTER) {
        pytheus__zero_real(&pytheus__cells(node)[real]);
    } else {
        PYTHEUS__STORE_RELEASE(&pytheus__cells(node)[real], 0);
    }
}

/* Where a series is in the list of functions, or would be. */
static size_t pytheus__function_place(const pytheus__family *family, uint64_t serial) {
    size_t low = 0, high = stbds_arrlenu(family->functions);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (family->functions[middle].serial < serial) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: the series has none. */
static pytheus__function *pytheus__function_of(const pytheus__family *family, uint64_t serial) {
    size_t place = family->num_functions ? pytheus__function_place(family, serial) : 0;
    if (place < family->num_functions && family->functions[place].serial == serial) {
        return &family->functions[place];
    }
    return NULL;
}

static void pytheus__forget_function(pytheus__family *family, uint64_t serial) {
    const pytheus__function *function = pytheus__function_of(family, serial);
    if (function) {
        stbds_arrdel(family->functions, (size_t)(function - family->functions));
        PYTHEUS__STORE(&family->num_functions, family->num_functions - 1);
    }
}

/* What a removal leaves to be done without the lock. */
typedef struct pytheus__removal {
    pytheus__node *ended; /* by link.next_free: nodes whose cells are a backend's */
    pytheus__node *root;  /* not NULL: to be set to 0 there */
} pytheus__removal;

/* Ends a node's life. One that was made before the family's first removal may still be added to
   by a thread that has already compared its generation, so it is never used again. */
static void pytheus__kill(pytheus__node *node, pytheus__removal *removal) {
    pytheus__family *family = node->family;
    uint64_t generation = node->generation;
    family->had_removal = true;
    pytheus__index_remove(family, node);
    pytheus__forget_function(family, node->link.serial);
    PYTHEUS__STORE_RELEASE(&node->generation, 0);
    family->nodes[node->place] = NULL;
    family->num_removed++;
    family->overflow = node == family->overflow ? NULL : family->overflow;
    family->num_views -= generation & PYTHEUS__OVERFLOW ? 0 : 1;
    if (generation & PYTHEUS__ELSEWHERE) {
        node->link.next_free = removal->ended;
        removal->ended = node;
        family->removing++;
    } else if (generation & PYTHEUS__REUSABLE) {
        pytheus__free_node_put(node);
    }
}

static void pytheus__compact(pytheus__family *family) {
    size_t i, kept = 0, n = stbds_arrlenu(family->nodes);
    if (family->num_removed < 32 || family->num_removed < n / 2) {
        return;
    }
    for (i = 0; i < n; i++) {
        pytheus__node *node = family->nodes[i];
        if (node) {
            node->place = (uint32_t)kept;
            family->nodes[kept++] = node;
        }
    }
    stbds_arrsetlen(family->nodes, kept);
    family->num_removed = 0;
    family->compactions++;
}

/* Whether a node has all the labels that the values name. */
static bool pytheus__is_below(pytheus__node *node, const char *const *values) {
    const char *own[PYTHEUS_MAX_LABELS];
    size_t i;
    pytheus__key_values(node->family, pytheus__key_of(node), own);
    for (i = 0; i < node->family->num_labels; i++) {
        if (values[i] && (!own[i] || strcmp(own[i], values[i]) != 0)) {
            return false;
        }
    }
    return true;
}

static void pytheus__remove_node(pytheus__node *node, pytheus__removal *removal) {
    if (!pytheus__is_permanent(node)) {
        pytheus__kill(node, removal);
        return;
    }
    pytheus__forget_function(node->family, node->link.serial);
    if (node->generation & PYTHEUS__ELSEWHERE) {
        removal->root = node;
    } else if (node->generation & PYTHEUS__COMPLETE) {
        pytheus__zero_cells(node);
    }
    if (pytheus__is_permanent(node)) {
        pytheus__forget_exemplars(node);
        pytheus__begin_life(node);
    }
}

/* Removes what has these labels: everything when none is named. */
static void pytheus__remove_below(pytheus__family *family, const char *const *values,
                                  pytheus__removal *removal) {
    size_t i, n = stbds_arrlenu(family->nodes);
    for (i = 0; i < n; i++) {
        pytheus__node *node = family->nodes[i];
        if (node && pytheus__is_below(node, values)) {
            pytheus__remove_node(node, removal);
        }
    }
    pytheus__compact(family);
}

/* -- views -- */

/* For sentences: method, code */
static void pytheus__enumerate(const pytheus__piece *strings, size_t num_strings, char *out,
                               size_t size) {
    size_t i, used = 0;
    out[0] = '\0';
    for (i = 0; i < num_strings && used < size; i++) {
        int n = snprintf(out + used, size - used, "%s%s", i ? ", " : "", strings[i].text);
        used += n > 0 ? (size_t)n : 0;
    }
}

static pytheus_err pytheus__label_error(const pytheus__family *family, const char *name) {
    char names[160];
    if (!family->num_labels) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: no label \"%.100s\" (has none)",
                            family->name.text, name);
    }
    pytheus__enumerate(family->label_names, family->num_labels, names, sizeof names);
    return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: no label \"%.100s\" (has: %s)",
                        family->name.text, name, names);
}

/* Why an operation on the view was refused. */
static pytheus_err pytheus__refusal(pytheus_view view, pytheus_type type) {
    static const char *const types[] = {"",         "counter", "gauge",     "info",
                                        "stateset", "unknown", "histogram", "summary"};
    char names[160];
    pytheus__family *family;
    if (!view.node) {
        return pytheus_fail(PYTHEUS_ERR_NOTHING, "nothing handle: the metric or view was not made");
    }
    family = view.node->family;
    if (pytheus__type_of(view) != type) {
        return pytheus_fail(PYTHEUS_ERR_TYPE, "%.100s: not a %s but a %s", family->name.text,
                            types[type], types[family->type]);
    }
    if (!pytheus__is_alive(view) || !pytheus__is_there(view)) {
        return pytheus_fail(PYTHEUS_ERR_REMOVED, "%.100s: the series was removed",
                            family->name.text);
    }
    pytheus__enumerate(family->label_names, family->num_labels, names, sizeof names);
    return pytheus_fail(PYTHEUS_ERR_UNOBSERVABLE, "%.100s: labels are missing (has: %s)",
                        family->name.text, names);
}

static pytheus_err pytheus__refuse(pytheus_view view, pytheus_type type) {
    pytheus_err err = pytheus__refusal(view, type);
    return view.node ? pytheus__tell(view.node->family, err) : err;
}

/* The place of a label; labels mostly come in declared order, so the search starts at a guess. */
static size_t pytheus__label_place(const pytheus__family *family, const char *name, size_t guess) {
    size_t i, place = guess;
    for (i = 0; i < family->num_labels; i++, place++) {
        place = place < family->num_labels ? place : 0;
        if (!strcmp(family->label_names[place].text, name)) {
            return place;
        }
    }
    return family->num_labels;
}

static pytheus_err pytheus__set_labels(const pytheus__family *family, const char **values,
                                       const char *const *pairs, size_t num_strings) {
    size_t i;
    if (num_strings % 2 || (num_strings && !pairs)) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: labels come in name, value pairs",
                            family->name.text);
    }
    for (i = 0; i < num_strings; i += 2) {
        size_t place;
        if (!pairs[i] || !pairs[i + 1]) {
            return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: NULL as the %s%.100s",
                                family->name.text, pairs[i] ? "value of label " : "name of a label",
                                pairs[i] ? pairs[i] : "");
        }
        place = pytheus__label_place(family, pairs[i], i / 2);
        if (place == family->num_labels) {
            return pytheus__label_error(family, pairs[i]);
        }
        values[place] = pairs[i + 1];
    }
    return PYTHEUS_OK;
}

/* A copy of a view's own labels, taken without a lock: good if the view is still alive
   afterwards. */
static pytheus_err pytheus__own_labels(pytheus_view view, pytheus__key *copy, const char **values) {
    pytheus__family *family = view.node->family;
    size_t i, num_words = PYTHEUS__LOAD_ACQUIRE(&view.node->key_words);
    if (!pytheus__is_alive(view)) {
        copy->words = copy->local;
        return pytheus__refusal(view, family->type);
    }
    if (!pytheus__key_reserve(family->registry, copy, num_words)) {
        copy->words = copy->local;
        return pytheus__out_of_memory(family->name.text);
    }
    for (i = 0; i < num_words; i++) {
        copy->words[i] = PYTHEUS__LOAD_ACQUIRE(&pytheus__key_of(view.node)[i]);
    }
    if (!pytheus__is_alive(view)) {
        return pytheus__refusal(view, family->type);
    }
    pytheus__key_values(family, copy->words, values);
    return PYTHEUS_OK;
}

static void pytheus__overflow_key(pytheus__family *family, pytheus__key *key) {
    const char *values[PYTHEUS_MAX_LABELS];
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        values[i] = PYTHEUS__OVERFLOW_VALUE;
    }
    (void)pytheus__key_pack(family, key, values); /* 16 values fit the local words */
}

/* What labels() asks for, and what it gets: beyond max_series, the overflow series. */
typedef struct pytheus__wish {
    const pytheus__key *key;
    pytheus__key overflow_key;
    bool is_full;  /* the backend has max_series */
    bool has_room; /* kept for it in the family */
    bool waits;    /* all the room that is left is kept for others, who may want the same */
    bool is_discovered;
    bool overflowed;
    bool no_memory;
} pytheus__wish;

static pytheus_view pytheus__find_or_plan(pytheus__family *family, pytheus__wish *wish) {
    pytheus_view view = pytheus__find(family, wish->key);
    wish->waits = false;
    if (view.node || wish->overflowed || wish->is_discovered ||
        (!wish->is_full && family->num_views + family->num_opening < family->max_series)) {
        return view;
    }
    if (!wish->is_full && family->num_views < family->max_series && !pytheus__doing) {
        wish->waits = true;
        return view;
    }
    wish->overflowed = true;
    if (family->overflow) {
        return pytheus__make_view(family->overflow, family->overflow->generation);
    }
    pytheus__overflow_key(family, &wish->overflow_key);
    wish->key = &wish->overflow_key;
    view = pytheus__find(family, wish->key);
    family->overflow = view.node;
    return view;
}

/* Under the lock. A fork in the middle of opening has let go of all room. */
static void pytheus__let_room_go(pytheus__family *family, pytheus__wish *wish) {
    if (wish->has_room && family->num_opening) {
        family->num_opening--;
    }
    wish->has_room = false;
}

/* Finds or makes the view, under the lock. Nothing: there is no memory, it takes what a backend
   opens for its key, or others have to end first. */
static pytheus_view pytheus__find_or_make(pytheus__family *family, pytheus__wish *wish,
                                          pytheus__opened *opened) {
    pytheus_view view;
    bool is_elsewhere, is_opened;
    pytheus__node *node;
    pytheus__let_room_go(family, wish);
    view = pytheus__find_or_plan(family, wish);
    is_elsewhere = family->store && wish->key->complete;
    is_opened = opened && opened->key == wish->key;
    if (view.node || wish->waits) {
        return view;
    }
    if (is_elsewhere != is_opened || (is_elsewhere && family->removing)) {
        wish->has_room = !wish->overflowed && !wish->is_discovered;
        family->num_opening += wish->has_room;
        return view;
    }
    node = pytheus__node_new(family, wish->key, wish->overflowed ? PYTHEUS__OVERFLOW : 0,
                             is_opened ? opened : NULL);
    if (!node) {
        wish->no_memory = true;
        return view;
    }
    if (is_opened) {
        opened->is_used = true;
    }
    if (wish->overflowed) {
        family->overflow = node;
    } else {
        family->num_views++;
    }
    return pytheus__make_view(node, node->generation);
}

/* The bit beside those of the errors. */
enum { PYTHEUS__TOLD_OVERFLOW = 1 };

static void pytheus__count_overflow(pytheus__family *family) {
    (void)PYTHEUS__ADD(&family->overflow_calls, 1);
    if (!(PYTHEUS__SET_BITS(&family->told, PYTHEUS__TOLD_OVERFLOW) & PYTHEUS__TOLD_OVERFLOW)) {
        pytheus__kept kept;
        char limit[PYTHEUS__NUMBER_SIZE + 1];
        *pytheus__put_integer(limit, family->max_series) = '\0';
        pytheus__keep_sentence(&kept);
        (void)pytheus_fail(PYTHEUS_ERR_LABEL,
                           "%.100s: more than %s series: new labels go to its overflow series",
                           family->name.text, limit);
        pytheus__log(&family->registry->logger, PYTHEUS_ERR_LABEL, family->name.text);
        pytheus__return_sentence(&kept);
    }
}

/* What a backend opens for a series must not be what it is told to remove next. Others may be
   opening, because who removes does not wait for them. */
static pytheus_err pytheus__wait_for_removals(pytheus__family *family) {
    bool removing = true;
    while (removing) {
        pytheus__acquire(&family->registry->lock);
        removing = family->removing > 0;
        pytheus__release(&family->registry->lock);
        if (removing && pytheus__doing == PYTHEUS__REMOVING) {
            return pytheus_fail(PYTHEUS_ERR_REMOVED, "%.100s: its series are being removed",
                                family->name.text);
        }
        if (removing) {
            pytheus__wait();
        }
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__open_next(pytheus__family *family, const pytheus__key *key,
                                      pytheus__opened *opened) {
    pytheus__awaited before = pytheus__doing;
    pytheus_err err = pytheus__wait_for_removals(family);
    if (!err) {
        pytheus__doing = before ? before : PYTHEUS__OPENING;
        err = pytheus__open(family, key, opened);
        pytheus__doing = before;
    }
    return err;
}

/* A backend opens a series while no lock is held: meanwhile another thread may make it. */
static pytheus_view pytheus__make(pytheus__family *family, const pytheus__key *key) {
    pytheus_view view;
    pytheus__wish wish;
    pytheus__opened opened = PYTHEUS__EMPTY;
    pytheus_err err = PYTHEUS_OK;
    bool is_opened = false;
    memset((void *)&wish, 0, sizeof wish);
    wish.key = key;
    for (;;) {
        pytheus__acquire(&family->registry->lock);
        view = pytheus__find_or_make(family, &wish, is_opened ? &opened : NULL);
        pytheus__release(&family->registry->lock);
        if (is_opened) {
            pytheus__opened_end(&opened);
        }
        if (view.node && !pytheus__is_there(view)) {
            (void)pytheus_view_remove(view); /* as somebody else did: it is made again */
            is_opened = false;
            continue;
        }
        if (view.node || wish.no_memory) {
            break;
        }
        is_opened = false;
        if (wish.waits) {
            pytheus__wait();
            continue;
        }
        err = pytheus__open_next(family, wish.key, &opened);
        if (err) {
            pytheus__acquire(&family->registry->lock);
            pytheus__let_room_go(family, &wish);
            pytheus__release(&family->registry->lock);
            break;
        }
        wish.is_full |= opened.is_full;
        is_opened = !opened.is_full;
    }
    if (!view.node) {
        (void)pytheus__tell(family, err ? err : pytheus__out_of_memory(family->name.text));
    } else if (wish.overflowed) {
        pytheus__count_overflow(family);
    }
    return view;
}

static pytheus_view pytheus__view_of_values(pytheus__family *family, const char **values) {
    pytheus_view view;
    pytheus__key key;
    if (!pytheus__key_pack(family, &key, values)) {
        (void)pytheus__tell(family, pytheus__out_of_memory(family->name.text));
        return pytheus__nothing();
    }
    view = pytheus__find(family, &key);
    if (view.node && view.generation & PYTHEUS__ELSEWHERE && !pytheus__is_there(view)) {
        (void)pytheus_view_remove(view);
        view = pytheus__nothing();
    }
    if (!view.node) {
        view = pytheus__make(family, &key);
    }
    pytheus__key_free(family->registry, &key);
    return view;
}

/* The view that a call names with all labels in declared order, as most do; nothing if that is
   not so, or there is none. What the base had is overridden. Bytes that are not UTF-8 are in no
   complete view's key. */
PYTHEUS__HOT pytheus_view pytheus__find_in_order(pytheus__family *family, const char *const *pairs,
                                                 size_t num_strings) {
    pytheus__key key;
    pytheus__packer out = {key.local, 0, 0};
    const pytheus__word *const end = key.local + PYTHEUS__LOCAL_KEY_WORDS;
    size_t i;
    if (num_strings != 2 * family->num_labels || !num_strings || !pairs) {
        return pytheus__nothing();
    }
    for (i = 0; i < num_strings; i += 2) {
        const char *name = pairs[i], *value = pairs[i + 1];
        size_t size;
        if (!name || !value || strcmp(family->label_names[i / 2].text, name)) {
            return pytheus__nothing();
        }
        size = strlen(value);
        if (size / 8 + 1 >= (size_t)(end - out.at)) {
            return pytheus__nothing();
        }
        pytheus__pack_value(&out, value, size);
    }
    if (out.bits) {
        *out.at++ = pytheus__in_memory_order(out.rest);
    }
    key.words = key.local;
    key.num_words = (size_t)(out.at - key.local);
    key.hash = pytheus__hash_words(family->registry->seed, key.words, key.num_words);
    return pytheus__find(family, &key);
}

/* The view with more labels. The root's own labels are none: its defaults can be overridden. */
PYTHEUS__COLD pytheus_view pytheus__labels_slowly(pytheus_view base, const char *const *pairs,
                                                  size_t num_strings) {
    pytheus__family *family = base.node->family;
    const char *values[PYTHEUS_MAX_LABELS];
    pytheus_view view = pytheus__nothing();
    pytheus_err err = PYTHEUS_OK;
    pytheus__key copy;
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        values[i] = NULL;
    }
    copy.words = copy.local;
    if (base.node != family->root) {
        err = pytheus__own_labels(base, &copy, values);
    }
    if (!err) {
        err = pytheus__set_labels(family, values, pairs, num_strings);
    }
    if (err) {
        (void)pytheus__tell(family, err);
    } else if (!num_strings) {
        view = base;
    } else if (base.generation & PYTHEUS__OVERFLOW) {
        view = base;
        pytheus__count_overflow(family);
    } else {
        view = pytheus__view_of_values(family, values);
    }
    pytheus__key_free(family->registry, &copy);
    return view;
}

static pytheus_view pytheus__labels(pytheus_view base, pytheus_type type, const char *const *pairs,
                                    size_t num_strings) {
    pytheus_view view = pytheus__nothing();
    if (!base.node || pytheus__type_of(base) != type) {
        (void)pytheus__refuse(base, type);
        return view;
    }
    if (PYTHEUS__LIKELY(pytheus__is_alive(base)) && !(base.generation & PYTHEUS__OVERFLOW)) {
        view = pytheus__find_in_order(base.node->family, pairs, num_strings);
    }
    if (PYTHEUS__LIKELY(view.generation & PYTHEUS__COMPLETE) &&
        PYTHEUS__LIKELY(pytheus__is_there(view))) {
        return view;
    }
    return pytheus__labels_slowly(base, pairs, num_strings);
}

#define PYTHEUS__DEFINE_VIEW(kind, type)                                                           \
    PYTHEUS_API pytheus_##kind pytheus_##kind##_view(                                              \
        pytheus_##kind handle, const char *const *pairs, size_t num_strings) {                     \
        handle.view = pytheus__labels(handle.view, type, pairs, num_strings);                      \
        return handle;                                                                             \
    }
PYTHEUS__DEFINE_VIEW(counter, PYTHEUS_COUNTER)
PYTHEUS__DEFINE_VIEW(gauge, PYTHEUS_GAUGE)
PYTHEUS__DEFINE_VIEW(histogram, PYTHEUS_HISTOGRAM)
PYTHEUS__DEFINE_VIEW(summary, PYTHEUS_SUMMARY)
PYTHEUS__DEFINE_VIEW(info, PYTHEUS_INFO)
PYTHEUS__DEFINE_VIEW(stateset, PYTHEUS_STATESET)
PYTHEUS__DEFINE_VIEW(unknown, PYTHEUS_UNKNOWN)
#undef PYTHEUS__DEFINE_VIEW

/* What the site holds for this base, or nothing. A writer makes the sequence odd before its first
   word: who reads such a word (acquire) does not read the same sequence again. */
static pytheus_view pytheus__site_read(const pytheus__site *site, pytheus_view base) {
    uint32_t sequence = PYTHEUS__LOAD_ACQUIRE(&site->sequence);
    pytheus_view known, view;
    known.node = PYTHEUS__LOAD_ACQUIRE(&site->base);
    known.generation = PYTHEUS__LOAD_ACQUIRE(&site->base_generation);
    view.generation = PYTHEUS__LOAD_ACQUIRE(&site->generation);
    view.node = PYTHEUS__LOAD_ACQUIRE(&site->node);
    if (sequence % 2 || !known.node || !pytheus_view_equal(known, base) ||
        PYTHEUS__LOAD(&site->sequence) != sequence) {
        return pytheus__nothing();
    }
    return view;
}

/* Who finds somebody else writing leaves it to them. */
static void pytheus__site_write(pytheus__site *site, pytheus_view base, pytheus_view view) {
    uint32_t sequence = PYTHEUS__LOAD(&site->sequence);
    if (sequence % 2 || !PYTHEUS__REPLACE(&site->sequence, &sequence, sequence + 1)) {
        return;
    }
    PYTHEUS__STORE_RELEASE(&site->base, base.node);
    PYTHEUS__STORE_RELEASE(&site->base_generation, base.generation);
    PYTHEUS__STORE_RELEASE(&site->generation, view.generation);
    PYTHEUS__STORE_RELEASE(&site->node, view.node);
    PYTHEUS__STORE_RELEASE(&site->sequence, sequence + 2);
}

/* No generation is given twice, so a site knows its base also when the registry that it was filled
   from is gone, and another one in its place. */
PYTHEUS_API pytheus_view pytheus__at(pytheus__site *site, pytheus_view base,
                                     const char *const *pairs, size_t num_strings) {
    pytheus_view view = pytheus__site_read(site, base);
    if (!pytheus__is_alive(view) || !pytheus__is_there(view) || !pytheus__is_alive(base)) {
        view = pytheus__labels(base, pytheus__type_of(base), pairs, num_strings);
        if (view.node && !(view.generation & PYTHEUS__OVERFLOW)) {
            pytheus__site_write(site, base, view);
        }
    }
    return view;
}

PYTHEUS_API bool pytheus_view_equal(pytheus_view a, pytheus_view b) {
    return a.node == b.node && a.generation == b.generation;
}

PYTHEUS_API bool pytheus_view_observable(pytheus_view view) {
    return view.generation & PYTHEUS__COMPLETE && pytheus__is_alive(view) &&
           pytheus__is_there(view);
}

/* Nothing is below a complete view, and everything is below one without labels. */
static void pytheus__remove_view(pytheus_view view, pytheus__removal *removal) {
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__family *family = view.node->family;
    if (view.generation & PYTHEUS__COMPLETE) {
        pytheus__remove_node(view.node, removal);
        pytheus__compact(family);
        return;
    }
    if (view.node != family->root) {
        pytheus__key_values(family, pytheus__key_of(view.node), values);
    }
    pytheus__remove_below(family, values, removal);
}

static void pytheus__clear_view(pytheus_view view, pytheus__removal *removal) {
    const char *const values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__remove_below(view.node->family, values, removal);
}

static pytheus_err pytheus__zero_elsewhere(pytheus_view view); /* below */

/* Has the backend remove what ended. Returns the first error, whose sentence is the thread's. */
static pytheus_err pytheus__remove_ended(pytheus__node *ended) {
    pytheus__awaited before = pytheus__doing;
    pytheus_err err = PYTHEUS_OK;
    pytheus__kept kept;
    pytheus__doing = PYTHEUS__REMOVING;
    while (ended) {
        pytheus__node *node = ended;
        ended = node->link.next_free;
        pytheus_err each = pytheus__remove_series(node);
        if (each && !err) {
            pytheus__keep_sentence(&kept);
            err = each;
        }
        pytheus__acquire(&node->family->registry->lock);
        if (node->family->removing) { /* a fork in the middle has let go of all */
            node->family->removing--;
        }
        pytheus__release(&node->family->registry->lock);
        (void)PYTHEUS__SET_BITS(&pytheus__cells(node)[PYTHEUS__INSIDE], PYTHEUS__CLOSING);
        pytheus__close_node(node);
    }
    pytheus__doing = before;
    if (err) {
        pytheus__return_sentence(&kept);
    }
    return err;
}

/* The rest of a removal, with the backend and without the lock. Returns the first error, which the
   logger gets last: it may make again what was removed. */
static pytheus_err pytheus__end_removal(pytheus__family *family, const pytheus__removal *removal) {
    pytheus_err err = pytheus__remove_ended(removal->ended);
    err = err ? pytheus__tell(family, err) : err;
    if (removal->root) {
        pytheus__node *root = removal->root;
        pytheus_err each =
            pytheus__zero_elsewhere(pytheus__make_view(root, PYTHEUS__LOAD(&root->generation)));
        err = err ? err : each;
    }
    return err;
}

static pytheus_err pytheus__remove_all_in_words(pytheus__family *family,
                                                const char *const *values) {
    const pytheus_backend *backend = &family->store->backend;
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus__lists lists;
    pytheus_series_desc desc;
    pytheus_err err;
    char before = pytheus__before_callback();
    pytheus__list_labels(family, values, labels);
    pytheus__describe_series(family, labels, &lists, &desc);
    err = backend->words_remove_all(backend->user, &desc);
    err = pytheus__from_backend(family, before, err, "remove series");
    return err ? pytheus__tell(family, err) : PYTHEUS_OK;
}

/* Removes what only other processes know; *others is what the backend says. On an error nothing has
   changed. */
static pytheus_err pytheus__remove_others(pytheus_view view, bool is_clear, pytheus_err *others) {
    pytheus__family *family = view.node->family;
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__key copy;
    pytheus_err err = PYTHEUS_OK;
    if (!family->store || !family->store->backend.words_remove_all || !family->num_labels ||
        (view.generation & PYTHEUS__COMPLETE && !is_clear)) {
        return PYTHEUS_OK;
    }
    copy.words = copy.local;
    if (!is_clear && view.node != family->root) {
        err = pytheus__own_labels(view, &copy, values);
    }
    *others = err ? err : pytheus__remove_all_in_words(family, values);
    pytheus__key_free(family->registry, &copy);
    return err ? pytheus__tell(family, err) : PYTHEUS_OK;
}

static pytheus_err pytheus__remove(pytheus_view view, bool is_clear) {
    pytheus__removal removal = {NULL, NULL};
    pytheus_err err, others = PYTHEUS_OK;
    bool alive;
    if (!pytheus__is_alive(view)) {
        return pytheus__refuse(view, pytheus__type_of(view));
    }
    err = pytheus__remove_others(view, is_clear, &others);
    if (err) {
        return err;
    }
    pytheus_registry *registry = view.node->family->registry;
    pytheus__acquire(&registry->lock);
    alive = pytheus__is_alive(view);
    if (alive && is_clear) {
        pytheus__clear_view(view, &removal);
    } else if (alive) {
        pytheus__remove_view(view, &removal);
    }
    pytheus__release(&registry->lock);
    err = alive ? pytheus__end_removal(view.node->family, &removal)
                : pytheus__refuse(view, pytheus__type_of(view));
    return err ? err : others;
}

PYTHEUS_API pytheus_err pytheus_view_remove(pytheus_view view) {
    return pytheus__remove(view, false);
}

PYTHEUS_API pytheus_err pytheus_view_clear(pytheus_view view) {
    return pytheus__remove(view, true);
}

/* ==== REGISTRY AND DEFINITIONS ==== */

static pytheus__lock pytheus__registries_lock = PYTHEUS__LOCK_INIT;
static pytheus_registry *pytheus__registries;
static pytheus_registry pytheus__own_default = PYTHEUS__EMPTY;
static pytheus_registry *pytheus__chosen_default; /* NULL: our own */

/* Our own default registry's backend is loaded at its first use. Other threads that use it wait,
   because what they define is to have that backend; the thread that loads does not, because the
   backend may use the registry that it is loaded for. */
enum { PYTHEUS__NOT_SET_UP, PYTHEUS__NOT_LOADED, PYTHEUS__LOADING, PYTHEUS__LOADED };
static uint32_t pytheus__default_state;
static PYTHEUS__THREAD_LOCAL bool pytheus__is_loading;

/* Whether this thread is to load it. */
static bool pytheus__begin_loading(void) {
    for (;;) {
        uint32_t state = PYTHEUS__NOT_LOADED;
        if (PYTHEUS__REPLACE(&pytheus__default_state, &state, (uint32_t)PYTHEUS__LOADING)) {
            pytheus__is_loading = true;
            return true;
        }
        if (state == PYTHEUS__LOADED || pytheus__is_loading) {
            return false;
        }
        pytheus__wait();
    }
}

static void pytheus__end_loading(bool is_loaded) {
    pytheus__is_loading = false;
    PYTHEUS__STORE_RELEASE(&pytheus__default_state,
                           (uint32_t)(is_loaded ? PYTHEUS__LOADED : PYTHEUS__NOT_LOADED));
}

/* -- fork: all locks are taken around it, so that the child finds none held by a thread that it
   does not have -- */

#if !defined(_WIN32) && !defined(PYTHEUS_NO_THREADS)
static void pytheus__before_fork(void) {
    pytheus_registry *registry;
    pytheus__acquire(&pytheus__registries_lock);
    for (registry = pytheus__registries; registry; registry = registry->next) {
        pytheus__acquire(&registry->lock);
    }
    pytheus__acquire(&pytheus__stb_lock);
}

static void pytheus__after_fork(void) {
    pytheus_registry *registry;
    pytheus__release(&pytheus__stb_lock);
    for (registry = pytheus__registries; registry; registry = registry->next) {
        pytheus__release(&registry->lock);
    }
    pytheus__release(&pytheus__registries_lock);
}

/* A gauge's words of this process, in the place of the parent's. Where they can't be had, the
   series is as if somebody else had removed it. */
static void pytheus__open_again(pytheus__node *node) {
    static const uint64_t ended = 0;
    pytheus__family *family = node->family;
    pytheus_words old = pytheus__words_of(node);
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus__opened opened = PYTHEUS__EMPTY;
    pytheus__key key;
    key.words = pytheus__key_of(node);
    opened.family = family;
    opened.key = &key;
    pytheus__labels_of_key(family, &key, labels);
    if (pytheus__open_words(&opened, labels) || opened.is_full) {
        opened.words = old;
        opened.words.life = &ended;
        opened.words.life_value = 1;
    } else {
        pytheus__close(family, NULL, &old);
    }
    pytheus__put_words(node, &opened.words);
}

static void pytheus__open_gauges_again(pytheus_registry *registry) {
    size_t i, j;
    for (i = 0; i < stbds_arrlenu(registry->families); i++) {
        const pytheus__family *family = registry->families[i];
        bool is_apart =
            family->across != PYTHEUS_SHARED && family->store && pytheus__has_words(family->store);
        for (j = 0; is_apart && j < stbds_arrlenu(family->nodes); j++) {
            pytheus__node *node = family->nodes[j];
            if (node && node->generation & PYTHEUS__ELSEWHERE) {
                pytheus__open_again(node);
            }
        }
    }
}

/* What other threads of the parent were about to make or remove is not waited for here. */
static void pytheus__forget_others(void) {
    pytheus_registry *registry;
    size_t i;
    for (registry = pytheus__registries; registry; registry = registry->next) {
        for (i = 0; i < stbds_arrlenu(registry->families); i++) {
            registry->families[i]->num_opening = registry->families[i]->removing = 0;
        }
    }
}

/* The child has only this thread, so nobody changes the lists. */
static void pytheus__in_child(void) {
    pytheus_registry *registry;
    size_t i;
    pytheus__after_fork();
    if (PYTHEUS__LOAD(&pytheus__default_state) == PYTHEUS__LOADING && !pytheus__is_loading) {
        pytheus__end_loading(false); /* the thread that did is not here */
    }
    pytheus__forget_others(); /* before any callback */
    for (registry = pytheus__registries; registry; registry = registry->next) {
        for (i = 0; i < stbds_arrlenu(registry->stores); i++) {
            const pytheus_backend *backend = &registry->stores[i]->backend;
            if (backend->forked) {
                backend->forked(backend->user);
            }
        }
        pytheus__open_gauges_again(registry);
    }
}

static void pytheus__register_fork_handlers(void) {
    (void)pthread_atfork(pytheus__before_fork, pytheus__after_fork, pytheus__in_child);
}

static void pytheus__prepare_for_fork(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, pytheus__register_fork_handlers);
}
#else
static void pytheus__prepare_for_fork(void) {}
#endif

/* -- making and freeing registries -- */

static void pytheus__take_callbacks(pytheus_registry *registry, const pytheus_registry_desc *desc) {
    registry->allocator = desc->allocator;
    registry->logger = desc->logger;
    registry->clock = desc->clock;
    registry->clock_user = desc->clock_user;
    if (!registry->allocator.realloc) {
        registry->allocator.realloc = pytheus__standard_realloc;
    }
    if (!registry->logger.log) {
        registry->logger.log = pytheus__standard_log;
    }
}

static void pytheus__registry_set_up(pytheus_registry *registry,
                                     const pytheus_registry_desc *desc) {
    memset((void *)registry, 0, sizeof *registry);
    pytheus__lock_init(&registry->lock);
    pytheus__take_callbacks(registry, desc);
    registry->prefix.text = "";
    registry->num_processors = pytheus__num_processors();
    pytheus__make_seed(registry);
}

/* The caller holds pytheus__registries_lock. */
static void pytheus__registry_link(pytheus_registry *registry) {
    registry->next = pytheus__registries;
    pytheus__registries = registry;
}

static void pytheus__registry_unlink(pytheus_registry *registry) {
    pytheus_registry **at = &pytheus__registries;
    pytheus__acquire(&pytheus__registries_lock);
    while (*at != registry) {
        at = &(*at)->next;
    }
    *at = registry->next;
    pytheus__release(&pytheus__registries_lock);
}

/* What begins with pytheus_ is the library's own. */
static bool pytheus__is_reserved(const char *name) {
    return pytheus__starts_with(name, "pytheus_");
}

static bool pytheus__is_prefix(const char *prefix) {
    return pytheus__is_name(prefix, true) && !pytheus__is_reserved(prefix) &&
           strcmp(prefix, "pytheus") != 0;
}

/* -- backends in use -- */

/* What a backend of cells lacks, or NULL. */
static const char *pytheus__missing_function(const pytheus_backend *backend) {
    return !backend->cell_open ? "cell_open"
           : !backend->inc     ? "inc"
           : !backend->set     ? "set"
           : !backend->get     ? "get"
                               : NULL;
}

static pytheus_err pytheus__check_backend(const pytheus_backend *backend) {
    bool has_cells = backend->cell_open || backend->inc || backend->set || backend->get;
    const char *missing = has_cells ? pytheus__missing_function(backend) : NULL;
    if (!backend->name || !*backend->name) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "a backend needs a name");
    }
    if (has_cells && backend->words_open) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: a backend has cells or words, not both",
                            backend->name);
    }
    return missing ? pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: the backend has no %s",
                                  backend->name, missing)
                   : PYTHEUS_OK;
}

/* Whether values are in the nodes. */
static bool pytheus__keeps_nothing(const pytheus_backend *backend) {
    return !backend->cell_open && !backend->words_open;
}

/* NULL: no memory. */
static pytheus__store *pytheus__store_new(pytheus_registry *registry,
                                          const pytheus_backend *backend, const char *config) {
    size_t name_size = strlen(backend->name) + 1, config_size = strlen(config) + 1;
    size_t size = sizeof(pytheus__store) + name_size + config_size;
    pytheus__store *store = (pytheus__store *)pytheus__resize(&registry->allocator, NULL, 0, size);
    if (store) {
        char *text = (char *)(store + 1);
        memcpy(text, backend->name, name_size);
        memcpy(text + name_size, config, config_size);
        store->backend = *backend;
        store->backend.name = text;
        store->config = text + name_size;
        store->size = size;
        store->users = 1;
    }
    return store;
}

static void pytheus__store_end(pytheus_registry *registry, pytheus__store *store) {
    if (store->backend.destroy) {
        store->backend.destroy(store->backend.user);
    }
    pytheus__release_memory(&registry->allocator, store, store->size);
}

/* Counts one user less, and ends the store after the last. */
static void pytheus__store_release(pytheus_registry *registry, pytheus__store *store) {
    size_t i, users;
    if (!store) {
        return;
    }
    pytheus__acquire(&registry->lock);
    users = --store->users;
    for (i = 0; !users && i < stbds_arrlenu(registry->stores); i++) {
        if (registry->stores[i] == store) {
            stbds_arrdelswap(registry->stores, i);
        }
    }
    pytheus__release(&registry->lock);
    if (!users) {
        pytheus__store_end(registry, store);
    }
}

/* What there is without loading anything takes no memory. */
static bool pytheus__is_plain(const pytheus_backend *backend, const char *config) {
    return pytheus__keeps_nothing(backend) && !backend->destroy && !backend->flush &&
           !backend->forked && strcmp(backend->name, "single") == 0 && strcmp(config, "{}") == 0;
}

/* Puts the store in the place of the current one; false: no memory, it is still the caller's. */
static bool pytheus__change_store(pytheus_registry *registry, pytheus__store *store) {
    pytheus__store *old;
    void *stores = NULL;
    pytheus__acquire(&registry->lock);
    if (store) {
        stores = pytheus__room_for_one(registry, registry->stores, sizeof *registry->stores);
    }
    if (stores) {
        registry->stores = (pytheus__store **)stores;
        stbds_arrput(registry->stores, store);
    }
    old = registry->store;
    if (stores || !store) {
        registry->store = store;
    }
    pytheus__release(&registry->lock);
    if (store && !stores) {
        return false;
    }
    pytheus__store_release(registry, old);
    return true;
}

/* Makes the backend that of new metrics. On an error it is still the caller's. */
static pytheus_err pytheus__registry_load(pytheus_registry *registry,
                                          const pytheus_backend *backend, const char *config) {
    pytheus_err err = pytheus__check_backend(backend);
    pytheus__store *store = NULL;
    if (err) {
        return err;
    }
    if (!pytheus__is_plain(backend, config)) {
        store = pytheus__store_new(registry, backend, config);
        if (!store) {
            return pytheus__out_of_memory(backend->name);
        }
    }
    if (pytheus__change_store(registry, store)) {
        return PYTHEUS_OK;
    }
    if (store) {
        pytheus__release_memory(&registry->allocator, store, store->size);
    }
    return pytheus__out_of_memory(backend->name);
}

/* -- collectors in use -- */

typedef struct pytheus__collecting {
    pytheus_collector collector; /* its name stands behind this */
    size_t size;                 /* of all */
    size_t users;                /* the registry, and who is inside; guarded by its lock */
    pytheus__word clashes;
} pytheus__collecting;

static void pytheus__collecting_end(pytheus_registry *registry, pytheus__collecting *collecting) {
    if (collecting->collector.destroy) {
        collecting->collector.destroy(collecting->collector.user);
    }
    pytheus__release_memory(&registry->allocator, collecting, collecting->size);
}

static void pytheus__collecting_release(pytheus_registry *registry,
                                        pytheus__collecting *collecting) {
    bool last;
    pytheus__acquire(&registry->lock);
    last = --collecting->users == 0;
    pytheus__release(&registry->lock);
    if (last) {
        pytheus__collecting_end(registry, collecting);
    }
}

/* -- the default registry -- */

static void pytheus__set_up_default(void) {
    pytheus_registry_desc plain = PYTHEUS__EMPTY;
    if (PYTHEUS__LOAD_ACQUIRE(&pytheus__default_state) != PYTHEUS__NOT_SET_UP) {
        return;
    }
    pytheus__prepare_for_fork();
    pytheus__acquire(&pytheus__registries_lock);
    if (PYTHEUS__LOAD(&pytheus__default_state) == PYTHEUS__NOT_SET_UP) {
        pytheus__registry_set_up(&pytheus__own_default, &plain);
        pytheus__registry_link(&pytheus__own_default);
        PYTHEUS__STORE_RELEASE(&pytheus__default_state, (uint32_t)PYTHEUS__NOT_LOADED);
    }
    pytheus__release(&pytheus__registries_lock);
}

static pytheus_err pytheus__load(pytheus_registry *registry, const char *class_name,
                                 const char *config_json); /* below */
static void pytheus__tell_registry(pytheus_registry *registry, pytheus_err err,
                                   const char *name); /* below */

/* Where the environment names what can't be loaded, that is told and values stay in the process;
   only without memory is it tried again. */
static void pytheus__load_default(void) {
    if (pytheus__begin_loading()) {
        pytheus_err err = pytheus__load(&pytheus__own_default, NULL, NULL);
        pytheus__end_loading(err != PYTHEUS_ERR_NOMEM);
        if (err) {
            pytheus__log(&pytheus__own_default.logger, err, "");
        }
    }
}

PYTHEUS_API pytheus_registry *pytheus_default(void) {
    pytheus_registry *chosen = PYTHEUS__LOAD_ACQUIRE(&pytheus__chosen_default);
    if (chosen) {
        return chosen;
    }
    if (!PYTHEUS__LIKELY(PYTHEUS__LOAD_ACQUIRE(&pytheus__default_state) == PYTHEUS__LOADED)) {
        pytheus__set_up_default();
        pytheus__load_default();
    }
    return &pytheus__own_default;
}

PYTHEUS_API void pytheus_set_default(pytheus_registry *registry) {
    PYTHEUS__STORE_RELEASE(&pytheus__chosen_default,
                           registry == &pytheus__own_default ? NULL : registry);
}

static pytheus_registry *pytheus__registry_or_default(pytheus_registry *registry) {
    return registry ? registry : pytheus_default();
}

PYTHEUS_API pytheus_err pytheus_load_backend(const char *class_name, const char *config_json) {
    pytheus_registry *registry = PYTHEUS__LOAD_ACQUIRE(&pytheus__chosen_default);
    bool is_first = false;
    pytheus_err err;
    pytheus__set_up_default();
    if (!registry) {
        registry = &pytheus__own_default;
        is_first = pytheus__begin_loading();
    }
    err = pytheus__load(registry, class_name, config_json);
    if (is_first) {
        pytheus__end_loading(!err);
    }
    if (err) {
        pytheus__log(&registry->logger, err, "");
    }
    return err;
}

PYTHEUS_API const char *pytheus_registry_backend(pytheus_registry *registry) {
    const pytheus__store *store;
    registry = pytheus__registry_or_default(registry);
    pytheus__acquire(&registry->lock);
    store = registry->store;
    pytheus__release(&registry->lock);
    return store ? store->backend.name : "single";
}

PYTHEUS_API const char *pytheus_registry_config(pytheus_registry *registry) {
    const pytheus__store *store;
    registry = pytheus__registry_or_default(registry);
    pytheus__acquire(&registry->lock);
    store = registry->store;
    pytheus__release(&registry->lock);
    return store ? store->config : "{}";
}

/* The i-th backend, which then has one user more; NULL: there are no more. */
static pytheus__store *pytheus__store_at(pytheus_registry *registry, size_t i) {
    pytheus__store *store = NULL;
    pytheus__acquire(&registry->lock);
    if (i < stbds_arrlenu(registry->stores)) {
        store = registry->stores[i];
        store->users++;
    }
    pytheus__release(&registry->lock);
    return store;
}

PYTHEUS_API size_t pytheus_registry_processes(pytheus_registry *registry, int64_t *pids,
                                              size_t room) {
    pytheus__store *store;
    size_t i, n = 0;
    registry = pytheus__registry_or_default(registry);
    for (i = 0; !n && (store = pytheus__store_at(registry, i)) != NULL; i++) {
        if (store->backend.processes) {
            n = store->backend.processes(store->backend.user, pids, pids ? room : 0);
        }
        pytheus__store_release(registry, store);
    }
    return n;
}

PYTHEUS_API pytheus_err pytheus_flush(pytheus_registry *registry) {
    pytheus_err err = PYTHEUS_OK;
    pytheus__store *store;
    size_t i;
    registry = pytheus__registry_or_default(registry);
    for (i = 0; (store = pytheus__store_at(registry, i)) != NULL; i++) {
        char before = pytheus__before_callback();
        pytheus_err each =
            store->backend.flush ? store->backend.flush(store->backend.user) : PYTHEUS_OK;
        each = pytheus__after_callback(before, each, PYTHEUS_ERR_BACKEND, store->backend.name,
                                       "the flush failed");
        if (each) {
            pytheus__tell_registry(registry, each, store->backend.name);
        }
        err = err ? err : each;
        pytheus__store_release(registry, store);
    }
    return err;
}

/* -- definitions -- */

static const double pytheus__standard_buckets[] = {.005, .01, .025, .05, .1, .25,
                                                   .5,   1,   2.5,  5,   10};

/* A description that has been checked. */
typedef struct pytheus__definition {
    const pytheus_desc *desc;
    pytheus_registry *registry;
    pytheus__store *store;
    pytheus_type type;
    size_t num_labels;
    const char *defaults[PYTHEUS_MAX_LABELS]; /* by label; NULL: none */
    const double *bounds;
    size_t num_bounds;
    size_t num_states;
    bool is_discovered;
    bool is_open; /* the backend knows of it, and has opened its first series if there is one */
} pytheus__definition;

static const char *pytheus__desc_name(const pytheus_desc *desc) {
    return desc && desc->name ? desc->name : "";
}

/* What the only sample of a metric of this type ends with, in OpenMetrics; "": with nothing. */
static const char *pytheus__ending(pytheus_type type) {
    return type == PYTHEUS_COUNTER ? "_total" : type == PYTHEUS_INFO ? "_info" : "";
}

/* The size of a metric's name without it. */
static size_t pytheus__base_size(pytheus_type type, const char *name, size_t size) {
    const char *ending = pytheus__ending(type);
    return pytheus__ends_with(name, size, ending) ? size - strlen(ending) : size;
}

/* Whether a label may have this name. */
static bool pytheus__is_label(pytheus__piece prefix, const char *name) {
    const char *whole = prefix.size ? prefix.text : name;
    return !pytheus__starts_with(whole, "__") && !memchr(prefix.text, ':', prefix.size) &&
           !strchr(name, ':');
}

static pytheus_err pytheus__check_name(pytheus_type type, pytheus__piece prefix,
                                       const pytheus_desc *desc) {
    const char *name = pytheus__desc_name(desc);
    size_t size = strlen(name), unit_size = desc && desc->unit ? strlen(desc->unit) : 0;
    if (!pytheus__is_name(name, true)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "\"%.100s\" is not a valid metric name", name);
    }
    if (pytheus__is_reserved(name)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: names that begin with pytheus_ are reserved",
                            name);
    }
    size = pytheus__base_size(type, name, size);
    if (!size) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: a name stands before %s", name,
                            pytheus__ending(type));
    }
    if (type == PYTHEUS_STATESET && !pytheus__is_label(prefix, name)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: a stateset's name is a label's too", name);
    }
    if (unit_size && (type == PYTHEUS_INFO || type == PYTHEUS_STATESET)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: what it says has no unit", name);
    }
    if (unit_size && (!pytheus__ends_with(name, size, desc->unit) || size < unit_size + 2 ||
                      name[size - unit_size - 1] != '_')) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: the name does not end with its unit, _%s",
                            name, desc->unit);
    }
    return PYTHEUS_OK;
}

static size_t pytheus__required_place(const pytheus__definition *definition, const char *label) {
    size_t i;
    for (i = 0; i < definition->num_labels; i++) {
        if (strcmp(definition->desc->required_labels[i], label) == 0) {
            break;
        }
    }
    return i;
}

static pytheus_err pytheus__check_label(const pytheus__definition *definition, const char *label) {
    const char *name = definition->desc->name;
    pytheus__piece prefix = definition->registry->prefix;
    bool taken =
        (definition->type == PYTHEUS_HISTOGRAM && strcmp(label, "le") == 0) ||
        (definition->type == PYTHEUS_SUMMARY && strcmp(label, "quantile") == 0) ||
        (definition->type == PYTHEUS_STATESET && strncmp(label, prefix.text, prefix.size) == 0 &&
         strcmp(label + prefix.size, name) == 0);
    if (!pytheus__is_name(label, false) || pytheus__starts_with(label, "__")) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: \"%.100s\" is not a valid label name", name,
                            label);
    }
    if (taken) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: the label \"%.100s\" is the format's own",
                            name, label);
    }
    if (pytheus__required_place(definition, label) < definition->num_labels) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: label \"%.100s\" twice", name, label);
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_default(pytheus__definition *definition,
                                          const pytheus_label *label) {
    const char *name = definition->desc->name;
    size_t place = pytheus__required_place(definition, label->name);
    if (place == definition->num_labels) {
        return pytheus_fail(PYTHEUS_ERR_LABEL,
                            "%.100s: a default for \"%.100s\", which is no label of it", name,
                            label->name);
    }
    if (!label->value || definition->defaults[place]) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: %s default for the label \"%.100s\"", name,
                            label->value ? "a second" : "NULL as the", label->name);
    }
    definition->defaults[place] = label->value;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_labels(pytheus__definition *definition) {
    const pytheus_desc *desc = definition->desc;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; !err && i < PYTHEUS_MAX_LABELS && desc->required_labels[i]; i++) {
        err = pytheus__check_label(definition, desc->required_labels[i]);
        definition->num_labels++;
    }
    for (i = 0; !err && i < PYTHEUS_MAX_LABELS && desc->default_labels[i].name; i++) {
        err = pytheus__check_default(definition, &desc->default_labels[i]);
    }
    return err;
}

/* Sizes that are added up from here on do not wrap. */
enum { PYTHEUS__MOST_BUCKETS = 1 << 20 };

static pytheus_err pytheus__check_buckets(pytheus__definition *definition) {
    const pytheus_desc *desc = definition->desc;
    size_t i, n = desc->num_buckets;
    if (definition->type != PYTHEUS_HISTOGRAM) {
        return n ? pytheus_fail(PYTHEUS_ERR_BUCKETS, "%.100s: only a histogram has buckets",
                                desc->name)
                 : PYTHEUS_OK;
    }
    if (n && !desc->buckets) {
        return pytheus_fail(PYTHEUS_ERR_BUCKETS, "%.100s: buckets is NULL", desc->name);
    }
    if (n > PYTHEUS__MOST_BUCKETS) {
        return pytheus_fail(PYTHEUS_ERR_BUCKETS, "%.100s: too many buckets", desc->name);
    }
    definition->bounds = desc->buckets;
    if (!n && !definition->is_discovered) { /* others may have +Inf alone */
        definition->bounds = pytheus__standard_buckets;
        n = sizeof pytheus__standard_buckets / sizeof(double);
    }
    if (n && pytheus__as_bits(definition->bounds[n - 1]) == PYTHEUS__INFINITY_BITS) {
        n--;
    }
    definition->num_bounds = n;
    for (i = 0; i < n; i++) {
        double bound = definition->bounds[i];
        if (!pytheus__is_finite(bound) || (i && !(definition->bounds[i - 1] < bound))) {
            return pytheus_fail(
                PYTHEUS_ERR_BUCKETS,
                "%.100s: bucket bounds must be finite and each above the one before", desc->name);
        }
    }
    return PYTHEUS_OK;
}

/* Whether the stateset would have a state of this name among its first n. */
static bool pytheus__has_state(const pytheus_desc *desc, size_t n, const char *state) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (pytheus__mend_alike(desc->states[i], state)) {
            return true;
        }
    }
    return false;
}

static pytheus_err pytheus__check_states(pytheus__definition *definition) {
    const pytheus_desc *desc = definition->desc;
    size_t i;
    for (i = 0; i < PYTHEUS_MAX_STATES && desc->states[i]; i++) {
        if (!*desc->states[i] || pytheus__has_state(desc, i, desc->states[i])) {
            return pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: the state \"%.60s\" is %s", desc->name,
                                desc->states[i], *desc->states[i] ? "there twice" : "none");
        }
    }
    definition->num_states = i;
    if (!i != (definition->type != PYTHEUS_STATESET)) {
        return pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: %s", desc->name,
                            i ? "only a stateset has states" : "a stateset has states");
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_sharing(const pytheus__definition *definition) {
    const pytheus_desc *desc = definition->desc;
    if (desc->across != PYTHEUS_SHARED && definition->type != PYTHEUS_GAUGE) {
        return pytheus_fail(PYTHEUS_ERR_TYPE, "%.100s: only a gauge has .across", desc->name);
    }
    if (!pytheus__is_amount(desc->expire_seconds)) {
        return pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: .expire_seconds is a time from 0 up",
                            desc->name);
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_definition(pytheus__definition *definition) {
    pytheus_err err =
        pytheus__check_name(definition->type, definition->registry->prefix, definition->desc);
    err = err ? err : pytheus__check_labels(definition);
    err = err ? err : pytheus__check_buckets(definition);
    err = err ? err : pytheus__check_states(definition);
    return err ? err : pytheus__check_sharing(definition);
}

/* -- names: a family claims every sample name that it may write in any format. All in a registry
   have the same prefix, which is left out here. -- */

/* A name as two parts, so that none needs to be put together. */
typedef struct pytheus__claim {
    const char *base;
    size_t base_size;
    const char *suffix;
    uint64_t hash;
} pytheus__claim;

enum { PYTHEUS__MOST_CLAIMS = 5 };

static size_t pytheus__claims(const uint64_t seed[2], pytheus_type type, const char *name,
                              pytheus__claim claims[PYTHEUS__MOST_CLAIMS]) {
    static const char *const suffixes[][PYTHEUS__MOST_CLAIMS] = {
        {NULL},
        {"", "_total", "_created", NULL, NULL},
        {"", NULL, NULL, NULL, NULL},
        {"", "_info", NULL, NULL, NULL},
        {"", NULL, NULL, NULL, NULL},
        {"", NULL, NULL, NULL, NULL},
        {"", "_bucket", "_sum", "_count", "_created"},
        {"", "_sum", "_count", "_created", NULL},
    };
    size_t n, size = pytheus__base_size(type, name, strlen(name));
    for (n = 0; n < PYTHEUS__MOST_CLAIMS && suffixes[type][n]; n++) {
        claims[n].base = name;
        claims[n].base_size = size;
        claims[n].suffix = suffixes[type][n];
        claims[n].hash = pytheus__hash_more(seed, seed[0], name, size);
        claims[n].hash =
            pytheus__hash_more(seed, claims[n].hash, claims[n].suffix, strlen(claims[n].suffix));
    }
    return n;
}

static char pytheus__claim_char(const pytheus__claim *claim, size_t i) {
    return i < claim->base_size ? claim->base[i] : claim->suffix[i - claim->base_size];
}

static bool pytheus__same_claim(const pytheus__claim *a, const pytheus__claim *b) {
    size_t i, size = a->base_size + strlen(a->suffix);
    if (size != b->base_size + strlen(b->suffix)) {
        return false;
    }
    for (i = 0; i < size; i++) {
        if (pytheus__claim_char(a, i) != pytheus__claim_char(b, i)) {
            return false;
        }
    }
    return true;
}

static bool pytheus__family_claims(const pytheus__family *family, const pytheus__claim *claim) {
    pytheus__claim own[PYTHEUS__MOST_CLAIMS]; /* of which only the names are wanted */
    size_t i, n = pytheus__claims(family->registry->seed, family->type, family->metric, own);
    for (i = 0; i < n; i++) {
        if (pytheus__same_claim(&own[i], claim)) {
            return true;
        }
    }
    return false;
}

/* Who claims the name; *key becomes where it can be put in the table. Names with equal hashes stand
   at following keys. An entry without a family is free to be taken: deleting it would need memory,
   sooner or later, for the map to stay searchable. */
static pytheus__family *pytheus__claimant(pytheus_registry *registry, const pytheus__claim *claim,
                                          uint64_t *key) {
    uint64_t at = claim->hash;
    bool found_room = false;
    for (*key = at; registry->names; at++) {
        ptrdiff_t entry = stbds_hmgeti(registry->names, at);
        pytheus__family *family = entry < 0 ? NULL : registry->names[entry].value;
        if (family && pytheus__family_claims(family, claim)) {
            return family;
        }
        if (!family && !found_room) {
            *key = at;
            found_room = true;
        }
        if (entry < 0) {
            break;
        }
    }
    return NULL;
}

/* A metric that is put on a page. */
typedef struct pytheus__listing {
    pytheus_registry *registry;
    pytheus__family *family;
} pytheus__listing;

static void pytheus__put_names(void *argument) {
    const pytheus__listing *listing = (const pytheus__listing *)argument;
    pytheus_registry *registry = listing->registry;
    pytheus__family *family = listing->family;
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    size_t i, n = pytheus__claims(registry->seed, family->type, family->metric, claims);
    if (!registry->names) {
        stbds_hmdefault(registry->names, NULL);
    }
    for (i = 0; i < n; i++) {
        uint64_t key;
        if (!pytheus__claimant(registry, &claims[i], &key)) {
            stbds_hmput(registry->names, key, family);
        }
    }
}

static void pytheus__take_names_back(pytheus_registry *registry, const pytheus__family *family) {
    size_t i;
    for (i = 0; i < stbds_hmlenu(registry->names); i++) {
        if (registry->names[i].value == family) {
            registry->names[i].value = NULL;
        }
    }
}

/* Adds to the end of the page; false: no memory, nothing has changed. */
static bool pytheus__list(pytheus__listing *listing) {
    pytheus_registry *registry = listing->registry;
    pytheus__entry entry;
    void *entries = pytheus__room_for_one(registry, registry->entries, sizeof *registry->entries);
    if (!entries) {
        return false;
    }
    registry->entries = (pytheus__entry *)entries;
    if (!pytheus__try(registry, pytheus__put_names, listing)) {
        pytheus__take_names_back(registry, listing->family);
        return false;
    }
    entry.serial = ++registry->last_entry;
    entry.family = listing->family;
    entry.collecting = NULL;
    stbds_arrput(registry->entries, entry);
    return true;
}

/* -- families -- */

/* Adds the text, mended and escaped. */
static void pytheus__add_readable(pytheus__text *out, const char *text, bool escape_quotes) {
    while (*text) {
        pytheus__piece run = pytheus__next_run(&text);
        pytheus__add_escaped(out, run.text, run.size, escape_quotes);
    }
}

/* Ends a piece that began at start; with NUL, which is not counted, if it is to be a string. */
static pytheus__piece pytheus__end_piece(pytheus__text *out, size_t start, bool is_string) {
    pytheus__piece piece;
    piece.text = out->at ? out->at + start : NULL;
    piece.size = out->size - start;
    if (is_string) {
        pytheus__add(out, "", 1);
    }
    return piece;
}

/* What stands before the samples of a family; texts come as they were given. */
typedef struct pytheus__header {
    pytheus_format format;
    pytheus__piece name;
    pytheus_type type;
    const char *unit;
    const char *help;
} pytheus__header;

static void pytheus__add_header_line(pytheus__text *out, const char *keyword, pytheus__piece name) {
    pytheus__add_string(out, keyword);
    pytheus__add(out, name.text, name.size);
}

static void pytheus__add_help(pytheus__text *out, const pytheus__header *header) {
    if (*header->help) {
        pytheus__add_header_line(out, "# HELP ", header->name);
        pytheus__add_string(out, " ");
        pytheus__add_readable(out, header->help, header->format == PYTHEUS_OPENMETRICS);
        pytheus__add_string(out, "\n");
    }
}

static void pytheus__add_header(pytheus__text *out, const pytheus__header *header) {
    static const char *const types[][8] = {
        {"", " counter\n", " gauge\n", " gauge\n", " gauge\n", " untyped\n", " histogram\n",
         " summary\n"},
        {"", " counter\n", " gauge\n", " info\n", " stateset\n", " unknown\n", " histogram\n",
         " summary\n"},
    };
    bool is_text = header->format == PYTHEUS_TEXT;
    if (is_text) {
        pytheus__add_help(out, header);
    }
    pytheus__add_header_line(out, "# TYPE ", header->name);
    pytheus__add_string(out, types[is_text ? 0 : 1][header->type]);
    if (!is_text && *header->unit) {
        pytheus__add_header_line(out, "# UNIT ", header->name);
        pytheus__add_string(out, " ");
        pytheus__add_string(out, header->unit);
        pytheus__add_string(out, "\n");
    }
    if (!is_text) {
        pytheus__add_help(out, header);
    }
}

static void pytheus__write_label(pytheus__family *family, const pytheus__definition *definition,
                                 size_t i, pytheus__text *out) {
    const char *name = definition->desc->required_labels[i];
    const char *value = definition->defaults[i];
    pytheus__piece part, label, default_value = {NULL, 0};
    size_t start = out->size;
    pytheus__add_string(out, i ? "\"," : "{");
    pytheus__add_string(out, name);
    pytheus__add_string(out, "=\"");
    part = pytheus__end_piece(out, start, false);
    start = out->size;
    pytheus__add_string(out, name);
    label = pytheus__end_piece(out, start, true);
    if (value) {
        start = out->size;
        pytheus__add_mended(out, value);
        default_value = pytheus__end_piece(out, start, true);
    }
    if (out->at) {
        family->text_parts[i] = part;
        family->label_names[i] = label;
        family->default_values[i] = default_value;
    }
}

/* Whether lines of a series share the label text, which is left open for what tells them apart:
   {a="x" and then ,le="1"} */
static bool pytheus__is_open(pytheus_type type) {
    return type >= PYTHEUS_HISTOGRAM || type == PYTHEUS_STATESET;
}

/* OpenMetrics wants to see that a bound is no integer. */
static void pytheus__add_bound(pytheus__text *out, double bound, pytheus_format format) {
    char number[PYTHEUS__NUMBER_SIZE];
    size_t size = (size_t)(pytheus__put_bound(number, bound + 0.0) - number);
    pytheus__add(out, number, size);
    if (format == PYTHEUS_OPENMETRICS && pytheus__is_digit(number[size - 1]) &&
        !memchr(number, '.', size) && !memchr(number, 'e', size)) {
        pytheus__add_string(out, ".0");
    }
}

static void pytheus__write_bucket_ends(pytheus__family *family,
                                       const pytheus__definition *definition, pytheus__text *out,
                                       pytheus_format format) {
    size_t i, n = definition->num_bounds + 1;
    for (i = 0; i < n; i++) {
        size_t start = out->size;
        pytheus__piece piece;
        pytheus__add_string(out, family->num_labels ? ",le=\"" : "{le=\"");
        pytheus__add_bound(
            out, i + 1 < n ? definition->bounds[i] : pytheus__as_double(PYTHEUS__INFINITY_BITS),
            format);
        pytheus__add_string(out, "\"} ");
        piece = pytheus__end_piece(out, start, false);
        if (out->at) {
            family->bucket_ends[format == PYTHEUS_OPENMETRICS ? n + i : i] = piece;
        }
    }
}

static void pytheus__write_states(pytheus__family *family, const pytheus__definition *definition,
                                  pytheus__text *out) {
    size_t i, start;
    for (i = 0; i < definition->num_states; i++) {
        pytheus__piece end, state;
        start = out->size;
        pytheus__add_string(out, "=\"");
        pytheus__add_readable(out, definition->desc->states[i], true);
        pytheus__add_string(out, "\"} ");
        end = pytheus__end_piece(out, start, false);
        start = out->size;
        pytheus__add_mended(out, definition->desc->states[i]);
        state = pytheus__end_piece(out, start, true);
        if (out->at) {
            family->bucket_ends[i] = end;
            family->states[i] = state;
        }
    }
}

static void pytheus__write_ends(pytheus__family *family, const pytheus__definition *definition,
                                pytheus__text *out) {
    bool labelled = family->num_labels > 0, open = pytheus__is_open(family->type);
    size_t start = out->size;
    pytheus__add_string(out, labelled ? "\"" : "");
    pytheus__add_string(out, open ? "" : labelled ? "} " : " ");
    family->text_end = pytheus__end_piece(out, start, false);
    start = out->size;
    pytheus__add_string(out, labelled ? "} " : " ");
    family->sum_end = pytheus__end_piece(out, start, false);
    if (family->type == PYTHEUS_HISTOGRAM) {
        pytheus__write_bucket_ends(family, definition, out, PYTHEUS_TEXT);
        pytheus__write_bucket_ends(family, definition, out, PYTHEUS_OPENMETRICS);
    }
    pytheus__write_states(family, definition, out);
}

/* Everything about a family that is text. */
static void pytheus__write_family(pytheus__family *family, const pytheus__definition *definition,
                                  pytheus__text *out) {
    size_t i, start = out->size;
    pytheus__add(out, definition->registry->prefix.text, definition->registry->prefix.size);
    pytheus__add_string(out, definition->desc->name);
    family->name = pytheus__end_piece(out, start, true);
    if (out->at) {
        family->metric = family->name.text + definition->registry->prefix.size;
    }
    start = out->size;
    pytheus__add_mended(out, definition->desc->help ? definition->desc->help : "");
    family->help = pytheus__end_piece(out, start, true);
    start = out->size;
    pytheus__add_string(out, definition->desc->unit ? definition->desc->unit : "");
    family->unit = pytheus__end_piece(out, start, true);
    for (i = 0; i < definition->num_labels; i++) {
        pytheus__write_label(family, definition, i, out);
    }
    pytheus__write_ends(family, definition, out);
}

/* The power of two from n up. */
static uint32_t pytheus__power_of_two(size_t n, uint32_t most) {
    uint32_t power = 1;
    while (power < n && power < most) {
        power *= 2;
    }
    return power;
}

/* For a backend's words, which do not spread by themselves. */
static void pytheus__ask_for_stripes(pytheus__family *family, unsigned asked) {
    uint32_t most = pytheus__is_real(family->type) ? 1 : PYTHEUS__MOST_STRIPES;
    PYTHEUS__STORE(&family->stripes_asked, pytheus__power_of_two(asked, most));
}

static void pytheus__plan_stripes(pytheus__family *family, unsigned asked) {
    family->num_stripes = asked ? pytheus__power_of_two(asked, PYTHEUS__MOST_STRIPES)
                                : pytheus__power_of_two(family->registry->num_processors,
                                                        PYTHEUS__MOST_STRIPES_UNASKED);
    family->spreads_at_once = asked > 1;
    pytheus__ask_for_stripes(family, asked);
    if (family->store || pytheus__is_real(family->type)) {
        family->num_stripes = 1;
        family->spreads_at_once = false;
    }
}

static void pytheus__plan_area(pytheus__family *family) {
    size_t words = pytheus__cell_area_words(family);
    if (family->registry->shows_created && !pytheus__is_real(family->type)) {
        family->created_at = words++;
    }
    family->area_words = words;
}

static size_t pytheus__max_series(const pytheus_desc *desc) {
    return desc->max_series ? desc->max_series : PYTHEUS_MAX_SERIES;
}

static void pytheus__family_init(pytheus__family *family, const pytheus__definition *definition) {
    family->registry = definition->registry;
    family->type = definition->type;
    family->num_labels = definition->num_labels;
    family->num_bounds = definition->num_bounds;
    family->max_series = pytheus__max_series(definition->desc);
    family->store = definition->store;
    family->across = definition->desc->across;
    family->expire_seconds = definition->desc->expire_seconds;
    family->num_states = definition->num_states;
    family->is_discovered = definition->is_discovered;
    family->num_cells = pytheus__is_real(definition->type)      ? 1
                        : definition->type == PYTHEUS_HISTOGRAM ? definition->num_bounds + 2
                                                                : 2;
    pytheus__plan_area(family);
    pytheus__plan_stripes(family, definition->desc->stripes);
}

static size_t pytheus__num_bucket_ends(const pytheus__definition *definition) {
    return definition->type == PYTHEUS_HISTOGRAM ? 2 * (definition->num_bounds + 1)
                                                 : definition->num_states;
}

/* And +Inf, which pytheus__bucket_of needs. A bound of -0 is 0: they are equal, and le="-0" would
   be another series. */
static void pytheus__copy_bounds(pytheus__family *family, const pytheus__definition *definition) {
    size_t i;
    for (i = 0; i < definition->num_bounds; i++) {
        family->bounds[i] = definition->bounds[i] + 0.0;
    }
    family->bounds[i] = pytheus__as_double(PYTHEUS__INFINITY_BITS);
}

/* The family with its arrays and text in one block, and the first directory and segment. Called
   with at == NULL to learn the size. */
static size_t pytheus__family_layout(pytheus__family *family, char *at,
                                     const pytheus__definition *definition) {
    size_t labels = definition->num_labels;
    size_t bounds = sizeof *family;
    size_t pieces = bounds + (definition->num_bounds + 1) * sizeof(double);
    size_t lists =
        pieces + (3 * labels + pytheus__num_bucket_ends(definition) + definition->num_states) *
                     sizeof(pytheus__piece);
    pytheus__text out = {NULL, 0};
    out.size = lists +
               (labels ? PYTHEUS__LARGEST_SEGMENT + 1 + PYTHEUS__SIZE_CLASSES : 0) * sizeof(void *);
    if (at) {
        out.at = at;
        family->bounds = (double *)(void *)(at + bounds);
        family->text_parts = (pytheus__piece *)(void *)(at + pieces);
        family->label_names = family->text_parts + labels;
        family->default_values = family->label_names + labels;
        family->bucket_ends = family->default_values + labels;
        family->states = family->bucket_ends + pytheus__num_bucket_ends(definition);
        family->free_segments = (pytheus__segment **)(void *)(at + lists);
        family->free_nodes =
            (pytheus__node **)(void *)(family->free_segments + PYTHEUS__LARGEST_SEGMENT + 1);
        pytheus__copy_bounds(family, definition);
    }
    pytheus__write_family(family, definition, &out);
    return pytheus__cache_lines(out.size + PYTHEUS__WORD_BEHIND);
}

static void pytheus__first_segment(pytheus__family *family) {
    pytheus__directory *directory =
        (pytheus__directory *)pytheus__arena_take(family->registry, pytheus__directory_size(0));
    family->directory = directory;
    pytheus__entries(directory)[0] =
        pytheus__entry_for(pytheus__segment_new(family, PYTHEUS__SMALLEST_SEGMENT, 0));
}

static bool pytheus__root_key(pytheus__family *family, pytheus__key *key) {
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    return pytheus__key_pack(family, key, values);
}

/* The metric itself: a view without labels of its own, or with defaults for all. */
static pytheus__node *pytheus__root_new(pytheus__family *family, const pytheus__opened *opened) {
    pytheus__node *root = NULL;
    pytheus__key key;
    if (pytheus__root_key(family, &key)) {
        root = pytheus__node_new(family, &key, 0, opened);
        pytheus__key_free(family->registry, &key);
    }
    return root;
}

/* What is left of the arena, to be taken back when a later step fails. */
typedef struct pytheus__arena_mark {
    char *at, *end;
} pytheus__arena_mark;

static void pytheus__arena_rewind(pytheus_registry *registry, pytheus__arena_mark mark) {
    if (registry->arena_end == mark.end) {
        registry->arena = mark.at;
    } else if (registry->spare_end == mark.end) {
        registry->spare = mark.at;
    }
}

static void pytheus__free_nodes(void *argument) {
    pytheus__family *family = (pytheus__family *)argument;
    stbds_arrfree(family->nodes);
}

/* Fills in a family whose memory is reserved; false: no memory. */
static bool pytheus__family_build(pytheus__family *family, const pytheus__definition *definition,
                                  const pytheus__opened *opened) {
    pytheus__listing listing;
    pytheus__family_init(family, definition);
    (void)pytheus__family_layout(family, (char *)family, definition);
    if (family->num_labels) {
        pytheus__first_segment(family);
    }
    listing.registry = family->registry;
    listing.family = family;
    family->root = pytheus__root_new(family, opened);
    if (family->root && (definition->desc->unregistered || pytheus__list(&listing))) {
        return true;
    }
    (void)pytheus__try(family->registry, pytheus__free_nodes, family);
    return false;
}

/* NULL: no memory, nothing has changed. */
static pytheus__family *pytheus__family_new(const pytheus__definition *definition,
                                            const pytheus__opened *opened) {
    pytheus_registry *registry = definition->registry;
    pytheus__family draft, *family;
    pytheus__arena_mark mark;
    void *families =
        pytheus__room_for_one(registry, registry->families, sizeof *registry->families);
    if (!families) {
        return NULL;
    }
    registry->families = (pytheus__family **)families;
    memset(&draft, 0, sizeof draft);
    pytheus__family_init(&draft, definition);
    size_t size = pytheus__family_layout(&draft, NULL, definition);
    if (!pytheus__arena_reserve(registry, size + pytheus__directory_size(0) +
                                              pytheus__segment_size(PYTHEUS__SMALLEST_SEGMENT))) {
        return NULL;
    }
    mark.at = registry->arena;
    mark.end = registry->arena_end;
    family = (pytheus__family *)pytheus__arena_take(registry, size);
    if (!pytheus__family_build(family, definition, opened)) {
        pytheus__arena_rewind(registry, mark);
        return NULL;
    }
    if (family->store) {
        family->store->users++;
    }
    stbds_arrput(registry->families, family);
    return family;
}

static bool pytheus__same_label(const pytheus__family *family,
                                const pytheus__definition *definition, size_t i) {
    const char *ours = family->default_values[i].text, *theirs = definition->defaults[i];
    return strcmp(family->label_names[i].text, definition->desc->required_labels[i]) == 0 &&
           !ours == !theirs && (!ours || pytheus__mend_alike(theirs, ours));
}

static bool pytheus__same_definition(const pytheus__family *family,
                                     const pytheus__definition *definition) {
    size_t i;
    if (family->type != definition->type || family->num_labels != definition->num_labels ||
        family->num_bounds != definition->num_bounds ||
        family->num_states != definition->num_states ||
        strcmp(family->metric, definition->desc->name) != 0) {
        return false;
    }
    for (i = 0; i < family->num_labels; i++) {
        if (!pytheus__same_label(family, definition, i)) {
            return false;
        }
    }
    for (i = 0; i < family->num_bounds; i++) {
        if (!(family->bounds[i] >= definition->bounds[i] &&
              family->bounds[i] <= definition->bounds[i])) {
            return false;
        }
    }
    for (i = 0; i < family->num_states; i++) {
        if (!pytheus__mend_alike(definition->desc->states[i], family->states[i].text)) {
            return false;
        }
    }
    return true;
}

/* A family that has one of the names that the new one would write, or NULL. */
static pytheus__family *pytheus__rival(const pytheus__definition *definition) {
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    pytheus__family *family = NULL;
    size_t i, n = pytheus__claims(definition->registry->seed, definition->type,
                                  definition->desc->name, claims);
    for (i = 0; !family && i < n; i++) {
        uint64_t key;
        family = pytheus__claimant(definition->registry, &claims[i], &key);
    }
    return family;
}

/* What other processes keep must also be shared in the same way. */
static bool pytheus__fits(const pytheus__family *family, const pytheus__definition *definition) {
    bool is_foreign = family->is_discovered || definition->is_discovered;
    return pytheus__same_definition(family, definition) &&
           (!is_foreign ||
            (family->store == definition->store && family->across == definition->desc->across &&
             pytheus__as_bits(family->expire_seconds) ==
                 pytheus__as_bits(definition->desc->expire_seconds)));
}

static void pytheus__take_off(pytheus_registry *registry, const pytheus__family *family) {
    size_t i;
    pytheus__take_names_back(registry, family);
    for (i = stbds_arrlenu(registry->entries); i-- > 0;) {
        if (registry->entries[i].family == family) {
            stbds_arrdel(registry->entries, i);
        }
    }
}

/* The program's definition goes before those of other processes. */
static pytheus__family *pytheus__rival_here(const pytheus__definition *definition) {
    pytheus__family *family = pytheus__rival(definition);
    while (family && family->is_discovered && !definition->is_discovered &&
           !pytheus__fits(family, definition)) {
        pytheus__take_off(definition->registry, family);
        family = pytheus__rival(definition);
    }
    if (family && family->is_discovered && !definition->is_discovered) {
        family->is_discovered = false;
        PYTHEUS__STORE(&family->max_series, pytheus__max_series(definition->desc));
        pytheus__ask_for_stripes(family, definition->desc->stripes);
    }
    return family;
}

/* Finds the family, under the lock. NULL without an error: it is to be made. */
static pytheus_err pytheus__find_family(const pytheus__definition *definition,
                                        pytheus__family **family) {
    const char *name = definition->desc->name;
    *family = definition->desc->unregistered ? NULL : pytheus__rival_here(definition);
    if (!*family || pytheus__fits(*family, definition)) {
        return PYTHEUS_OK;
    }
    if (strcmp((*family)->metric, name) == 0) {
        return pytheus_fail(PYTHEUS_ERR_DUPLICATE, "%.100s: already there, and defined otherwise",
                            name);
    }
    return pytheus_fail(PYTHEUS_ERR_DUPLICATE, "%.100s: its sample names collide with those of %s",
                        name, (*family)->metric);
}

/* Whether the metric has a series from the start. */
static bool pytheus__begins_complete(const pytheus__definition *definition) {
    size_t i;
    for (i = 0; i < definition->num_labels; i++) {
        if (!definition->defaults[i]) {
            return false;
        }
    }
    return true;
}

/* Whether a backend keeps that series, or wants to know of the metric. */
static bool pytheus__needs_opening(const pytheus__definition *definition) {
    return definition->store && !definition->is_open &&
           (definition->store->backend.metric_open || pytheus__begins_complete(definition));
}

/* Finds or makes the family. NULL without an error: the backend must open its series first. */
static pytheus_err pytheus__find_or_define(const pytheus__definition *definition,
                                           pytheus__opened *opened, pytheus__family **family) {
    pytheus_err err;
    pytheus__acquire(&definition->registry->lock);
    err = pytheus__find_family(definition, family);
    if (!err && !*family && !pytheus__needs_opening(definition)) {
        *family = pytheus__family_new(definition, opened);
        err = *family ? PYTHEUS_OK : pytheus__out_of_memory(definition->desc->name);
        if (*family && opened) {
            opened->is_used = true;
        }
    }
    pytheus__release(&definition->registry->lock);
    return err;
}

static pytheus_err pytheus__open_metric(const pytheus__family *draft) {
    const pytheus_backend *backend = &draft->store->backend;
    const char *const values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus__lists lists;
    pytheus_series_desc desc;
    pytheus_err err;
    char before = pytheus__before_callback();
    if (!backend->metric_open) {
        return PYTHEUS_OK;
    }
    pytheus__list_labels(draft, values, labels);
    pytheus__describe_series(draft, labels, &lists, &desc);
    err = backend->metric_open(backend->user, &desc);
    return pytheus__from_backend(draft, before, err, "open a metric");
}

/* Makes a family whose backend opens its first series, described by a draft of the family. */
static pytheus_err pytheus__define_open(pytheus__family *draft,
                                        const pytheus__definition *definition,
                                        pytheus__family **family) {
    pytheus__opened opened = PYTHEUS__EMPTY;
    pytheus__key key;
    pytheus_err err;
    if (!pytheus__root_key(draft, &key)) {
        return pytheus__out_of_memory(definition->desc->name);
    }
    err = pytheus__open(draft, &key, &opened);
    if (!err) {
        err = pytheus__find_or_define(definition, &opened, family);
        pytheus__opened_end(&opened);
    }
    pytheus__key_free(definition->registry, &key);
    return err;
}

/* Makes a family of which its backend is told first. */
static pytheus_err pytheus__define_from(pytheus__family *draft,
                                        const pytheus__definition *definition,
                                        pytheus__family **family) {
    pytheus__definition told = *definition;
    pytheus_err err;
    pytheus__family_init(draft, definition);
    (void)pytheus__family_layout(draft, (char *)draft, definition);
    err = pytheus__open_metric(draft);
    told.is_open = true;
    if (err) {
        return err;
    }
    return pytheus__begins_complete(definition) ? pytheus__define_open(draft, &told, family)
                                                : pytheus__find_or_define(&told, NULL, family);
}

static pytheus_err pytheus__define_elsewhere(const pytheus__definition *definition,
                                             pytheus__family **family) {
    const pytheus_allocator *allocator = &definition->registry->allocator;
    pytheus__family measure, *draft;
    pytheus_err err;
    memset(&measure, 0, sizeof measure);
    pytheus__family_init(&measure, definition);
    size_t size = pytheus__family_layout(&measure, NULL, definition);
    draft = (pytheus__family *)pytheus__resize(allocator, NULL, 0, size);
    if (!draft) {
        return pytheus__out_of_memory(definition->desc->name);
    }
    memset((void *)draft, 0, size);
    err = pytheus__define_from(draft, definition, family);
    pytheus__release_memory(allocator, draft, size);
    return err;
}

/* The backend of new metrics, with one user more; NULL: values are in the nodes. */
static pytheus__store *pytheus__current_store(pytheus_registry *registry) {
    pytheus__store *store;
    pytheus__acquire(&registry->lock);
    store = registry->store;
    if (store && pytheus__keeps_nothing(&store->backend)) {
        store = NULL;
    }
    if (store) {
        store->users++;
    }
    pytheus__release(&registry->lock);
    return store;
}

PYTHEUS_API void pytheus_show_created(pytheus_registry *registry, bool shown) {
    registry = pytheus__registry_or_default(registry);
    pytheus__acquire(&registry->lock);
    registry->shows_created = shown;
    pytheus__release(&registry->lock);
}

/* -- errors of which no family can remember that they were told: refused definitions, pages -- */

enum { PYTHEUS__MOST_TOLD = 1000 };

/* Gives the logger the thread's sentence, the first time for this name and error. */
static void pytheus__tell_registry(pytheus_registry *registry, pytheus_err err, const char *name) {
    char printable[PYTHEUS__SENTENCE_SIZE];
    uint64_t hash = pytheus__fold(registry->seed[0] ^ (uint64_t)-err, registry->seed[1]);
    bool was_told;
    hash = pytheus__hash_more(registry->seed, hash, name, strlen(name));
    pytheus__acquire(&registry->lock);
    was_told =
        pytheus__has_hash(&registry->told, hash) || registry->told.used >= PYTHEUS__MOST_TOLD;
    if (!was_told) {
        (void)pytheus__add_hash(&registry->allocator, &registry->told, hash);
    }
    pytheus__release(&registry->lock);
    if (!was_told) {
        (void)snprintf(printable, sizeof printable, "%s", name);
        pytheus__make_printable(printable);
        pytheus__log(&registry->logger, err, printable);
    }
}

static pytheus_err pytheus__define_in_registry(pytheus__definition *definition,
                                               pytheus__family **family) {
    pytheus_err err = pytheus__check_definition(definition);
    if (err) {
        return err;
    }
    if (!definition->desc->unregistered) {
        definition->store = pytheus__current_store(definition->registry);
    }
    err = pytheus__find_or_define(definition, NULL, family);
    if (!err && !*family) {
        err = pytheus__define_elsewhere(definition, family);
    }
    pytheus__store_release(definition->registry, definition->store);
    return err;
}

static pytheus_view pytheus__define(pytheus_type type, const pytheus_desc *desc) {
    pytheus__definition definition;
    pytheus__family *family = NULL;
    pytheus_err err;
    memset(&definition, 0, sizeof definition);
    definition.desc = desc;
    definition.type = type;
    definition.registry = pytheus__registry_or_default(desc ? desc->registry : NULL);
    err = pytheus__define_in_registry(&definition, &family);
    if (err) {
        pytheus__tell_registry(definition.registry, err, pytheus__desc_name(desc));
        return pytheus__nothing();
    }
    return pytheus__make_view(family->root, PYTHEUS__LOAD(&family->root->generation));
}

#define PYTHEUS__DEFINE_NEW(kind, type)                                                            \
    PYTHEUS_API pytheus_##kind pytheus_##kind##_new(const pytheus_desc *desc) {                    \
        pytheus_##kind handle;                                                                     \
        handle.view = pytheus__define(type, desc);                                                 \
        return handle;                                                                             \
    }
PYTHEUS__DEFINE_NEW(counter, PYTHEUS_COUNTER)
PYTHEUS__DEFINE_NEW(gauge, PYTHEUS_GAUGE)
PYTHEUS__DEFINE_NEW(histogram, PYTHEUS_HISTOGRAM)
PYTHEUS__DEFINE_NEW(summary, PYTHEUS_SUMMARY)
PYTHEUS__DEFINE_NEW(info, PYTHEUS_INFO)
PYTHEUS__DEFINE_NEW(stateset, PYTHEUS_STATESET)
PYTHEUS__DEFINE_NEW(unknown, PYTHEUS_UNKNOWN)
#undef PYTHEUS__DEFINE_NEW

/* -- what other processes have made -- */

struct pytheus_discovery {
    pytheus_registry *registry;
    pytheus__store *store;
    pytheus__family *family; /* of the last series */
};

/* Whether a metric of the backend was taken from the page: others may still have series of it.
   Under the lock. */
static bool pytheus__was_taken_off(const pytheus_registry *registry, const pytheus__store *store,
                                   const char *name) {
    size_t i;
    for (i = 0; i < stbds_arrlenu(registry->families); i++) {
        const pytheus__family *family = registry->families[i];
        if (family->store == store && strcmp(family->metric, name) == 0) {
            return true;
        }
    }
    return false;
}

static pytheus_err pytheus__discovered_desc(const pytheus_series_desc *series, pytheus_desc *desc) {
    const char *name = series->metric ? series->metric : "";
    size_t i, n = 0;
    if (series->type < PYTHEUS_COUNTER || series->type > PYTHEUS_SUMMARY ||
        series->num_labels > PYTHEUS_MAX_LABELS || (series->num_labels && !series->labels) ||
        series->num_states > PYTHEUS_MAX_STATES || (series->num_states && !series->states)) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: discovered, but not well described",
                            name);
    }
    memset((void *)desc, 0, sizeof *desc);
    desc->name = name;
    desc->help = series->help;
    for (i = 0; i < series->num_labels; i++) {
        desc->required_labels[i] = series->labels[i].name ? series->labels[i].name : "";
        if (series->defaults && series->defaults[i]) {
            desc->default_labels[n].name = desc->required_labels[i];
            desc->default_labels[n++].value = series->defaults[i];
        }
    }
    for (i = 0; i < series->num_states; i++) {
        desc->states[i] = series->states[i] ? series->states[i] : "";
    }
    desc->unit = series->unit;
    desc->buckets = series->bounds;
    desc->num_buckets = series->num_bounds;
    desc->max_series = series->max_series;
    desc->across = series->across;
    desc->expire_seconds = series->expire_seconds;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__find_or_discover(pytheus_discovery *out,
                                             const pytheus__definition *definition) {
    const char *name = definition->desc->name;
    bool was_taken_off;
    pytheus_err err;
    pytheus__acquire(&out->registry->lock);
    err = pytheus__find_family(definition, &out->family);
    was_taken_off = !err && !out->family && pytheus__was_taken_off(out->registry, out->store, name);
    pytheus__release(&out->registry->lock);
    if (was_taken_off) {
        return PYTHEUS_ERR_NOTHING;
    }
    if (!err && !out->family) {
        err = pytheus__needs_opening(definition)
                  ? pytheus__define_elsewhere(definition, &out->family)
                  : pytheus__find_or_define(definition, NULL, &out->family);
    }
    if (err) {
        out->family = NULL;
        pytheus__tell_registry(out->registry, err, name);
    }
    return err;
}

static bool pytheus__same_text(const char *ours, const char *theirs) {
    return !ours == !theirs && (!ours || strcmp(ours, theirs) == 0);
}

/* Whether a series is described in the very words of a metric that was checked. */
static bool pytheus__is_series_of(const pytheus__family *family,
                                  const pytheus_series_desc *series) {
    size_t i;
    bool is_same =
        family && series->labels && family->type == series->type &&
        family->across == series->across &&
        pytheus__as_bits(family->expire_seconds) == pytheus__as_bits(series->expire_seconds) &&
        family->num_labels == series->num_labels && family->num_bounds == series->num_bounds &&
        family->num_states == series->num_states && (series->bounds || !series->num_bounds) &&
        (series->states || !series->num_states) &&
        pytheus__same_text(family->metric, series->metric);
    for (i = 0; is_same && i < family->num_labels; i++) {
        is_same = pytheus__same_text(family->label_names[i].text, series->labels[i].name) &&
                  pytheus__same_text(family->default_values[i].text,
                                     series->defaults ? series->defaults[i] : NULL);
    }
    for (i = 0; is_same && i < family->num_bounds; i++) {
        is_same = pytheus__as_bits(family->bounds[i]) == pytheus__as_bits(series->bounds[i]);
    }
    for (i = 0; is_same && i < family->num_states; i++) {
        is_same = pytheus__same_text(family->states[i].text, series->states[i]);
    }
    return is_same;
}

/* Finds or makes the metric of a series that is not like the one before. */
static pytheus_err pytheus__discover_family(pytheus_discovery *out,
                                            const pytheus_series_desc *series) {
    pytheus__definition definition;
    pytheus_desc desc = PYTHEUS__EMPTY;
    pytheus_err err = pytheus__discovered_desc(series, &desc);
    if (err) {
        return err;
    }
    memset((void *)&definition, 0, sizeof definition);
    definition.desc = &desc;
    definition.registry = out->registry;
    definition.store = out->store;
    definition.type = series->type;
    definition.is_discovered = true;
    err = pytheus__check_definition(&definition);
    if (err || (out->family && pytheus__fits(out->family, &definition))) {
        return err;
    }
    return pytheus__find_or_discover(out, &definition);
}

/* The series with the words that were opened for it, unless it is known. */
static pytheus_err pytheus__discover_view(pytheus__family *family, const pytheus__key *key,
                                          pytheus__opened *opened) {
    pytheus_view view = pytheus__find(family, key);
    pytheus__wish wish;
    memset((void *)&wish, 0, sizeof wish);
    wish.key = key;
    wish.is_discovered = true;
    wish.overflowed = pytheus__is_overflow_key(family, key->words);
    while (!wish.no_memory && (!view.node || !pytheus__is_there(view))) {
        if (view.node) {
            (void)pytheus_view_remove(view);
        }
        pytheus_err err = pytheus__wait_for_removals(family);
        if (err) {
            return err;
        }
        pytheus__acquire(&family->registry->lock);
        view = pytheus__find_or_make(family, &wish, opened);
        pytheus__release(&family->registry->lock);
        if (opened->is_used) {
            break;
        }
    }
    return wish.no_memory ? pytheus__out_of_memory(family->name.text) : PYTHEUS_OK;
}

static pytheus_err pytheus__discover_series(pytheus__family *family,
                                            const pytheus_series_desc *desc,
                                            pytheus__opened *opened) {
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__key key;
    pytheus_err err;
    size_t i;
    for (i = 0; i < family->num_labels; i++) {
        values[i] = desc->labels[i].value ? desc->labels[i].value : "";
    }
    if (!pytheus__key_pack(family, &key, values)) {
        return pytheus__out_of_memory(family->name.text);
    }
    opened->family = family;
    opened->key = &key;
    err = pytheus__discover_view(family, &key, opened);
    pytheus__key_free(family->registry, &key);
    return err;
}

PYTHEUS_API pytheus_err pytheus_discover(pytheus_discovery *out, const pytheus_series_desc *desc,
                                         const pytheus_words *words) {
    const pytheus_backend *backend = &out->store->backend;
    pytheus__opened opened = PYTHEUS__EMPTY;
    pytheus_err err =
        pytheus__is_series_of(out->family, desc) ? PYTHEUS_OK : pytheus__discover_family(out, desc);
    opened.words = *words;
    if (!err && desc->num_words != out->family->num_cells) {
        err = pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: discovered with too few or many words",
                           desc->metric);
    }
    if (!err) {
        err = pytheus__check_words(out->family, &opened.words);
        opened.is_used = err != PYTHEUS_OK;
    }
    if (!err && out->family->num_labels) { /* without any, it is there from the start */
        err = pytheus__discover_series(out->family, desc, &opened);
    }
    if (!opened.is_used && backend->words_close) {
        pytheus__kept kept;
        pytheus__keep_sentence(&kept);
        backend->words_close(backend->user, words);
        pytheus__return_sentence(&kept);
    }
    return err;
}

/* Lets one backend tell what is new. */
static pytheus_err pytheus__discover_store(pytheus_registry *registry, pytheus__store *store) {
    const pytheus_backend *backend = &store->backend;
    pytheus_discovery out = {registry, store, NULL};
    char before = pytheus__before_callback();
    pytheus_err err = backend->discover(backend->user, &out);
    return pytheus__after_callback(before, err, PYTHEUS_ERR_BACKEND, backend->name,
                                   "the backend failed to tell what is new");
}

/* Before a page: what other processes have made becomes known. */
static pytheus_err pytheus__discover_all(pytheus_registry *registry) {
    pytheus_err err = PYTHEUS_OK;
    pytheus__store *store;
    size_t i;
    for (i = 0; !err && (store = pytheus__store_at(registry, i)) != NULL; i++) {
        if (store->backend.discover) {
            err = pytheus__discover_store(registry, store);
        }
        pytheus__store_release(registry, store);
    }
    return err;
}

/* -- registries of one's own -- */

static void pytheus__free_containers(void *argument) {
    pytheus_registry *registry = (pytheus_registry *)argument;
    size_t i;
    for (i = 0; i < stbds_arrlenu(registry->families); i++) {
        stbds_arrfree(registry->families[i]->nodes);
        stbds_arrfree(registry->families[i]->functions);
    }
    stbds_arrfree(registry->families);
    stbds_arrfree(registry->entries);
    stbds_arrfree(registry->stores);
    stbds_hmfree(registry->names);
    pytheus__hashes_free(&registry->allocator, &registry->told);
    for (i = 0; i < stbds_arrlenu(registry->chunks); i++) {
        pytheus__release_memory(&registry->allocator, registry->chunks[i].memory,
                                registry->chunks[i].size);
    }
    stbds_arrfree(registry->chunks);
}

/* The registry, without a backend; NULL: no memory. */
static pytheus_registry *pytheus__registry_make(const pytheus_registry_desc *desc,
                                                const pytheus_allocator *allocator) {
    size_t prefix_size = desc->prefix ? strlen(desc->prefix) : 0;
    pytheus_registry *registry =
        (pytheus_registry *)pytheus__resize(allocator, NULL, 0, sizeof *registry + prefix_size + 2);
    if (registry) {
        char *prefix = (char *)(registry + 1);
        pytheus__registry_set_up(registry, desc);
        memcpy(prefix, desc->prefix ? desc->prefix : "", prefix_size);
        memcpy(prefix + prefix_size, "_", 2);
        registry->prefix.text = prefix;
        registry->prefix.size = prefix_size ? prefix_size + 1 : 0;
    }
    return registry;
}

static void pytheus__registry_unmake(pytheus_registry *registry) {
    pytheus_allocator allocator = registry->allocator;
    size_t prefix_size = registry->prefix.size ? registry->prefix.size - 1 : 0;
    pytheus__lock_destroy(&registry->lock);
    pytheus__release_memory(&allocator, registry, sizeof *registry + prefix_size + 2);
}

static pytheus_err pytheus__registry_try(const pytheus_registry_desc *desc,
                                         const pytheus_allocator *allocator,
                                         pytheus_registry **registry) {
    pytheus_err err = PYTHEUS_OK;
    if (desc->prefix && !pytheus__is_prefix(desc->prefix)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "\"%.100s\" can't be a registry's prefix",
                            desc->prefix);
    }
    *registry = pytheus__registry_make(desc, allocator);
    if (!*registry) {
        return pytheus__out_of_memory("registry");
    }
    if (desc->backend) {
        err = pytheus__registry_load(*registry, desc->backend, "{}");
    }
    if (err) {
        (void)pytheus__try(*registry, pytheus__free_containers, *registry);
        pytheus__registry_unmake(*registry);
        *registry = NULL;
    }
    return err;
}

PYTHEUS_API pytheus_registry *pytheus_registry_new(const pytheus_registry_desc *desc) {
    pytheus_registry_desc plain = PYTHEUS__EMPTY;
    pytheus_registry model = PYTHEUS__EMPTY, *registry = NULL;
    pytheus_err err;
    desc = desc ? desc : &plain;
    pytheus__take_callbacks(&model, desc);
    err = pytheus__registry_try(desc, &model.allocator, &registry);
    if (err) {
        pytheus__log(&model.logger, err, "");
        return NULL;
    }
    pytheus__prepare_for_fork();
    pytheus__acquire(&pytheus__registries_lock);
    pytheus__registry_link(registry);
    pytheus__release(&pytheus__registries_lock);
    return registry;
}

/* Closes what the registry's backends opened. */
static void pytheus__close_all_series(pytheus_registry *registry) {
    size_t i, j;
    for (i = 0; i < stbds_arrlenu(registry->families); i++) {
        const pytheus__family *family = registry->families[i];
        for (j = 0; family->store && j < stbds_arrlenu(family->nodes); j++) {
            pytheus__node *node = family->nodes[j];
            if (node && node->generation & PYTHEUS__ELSEWHERE) {
                pytheus__close_series(node);
            }
        }
    }
}

/* Takes one collector from the page; NULL: there is none. */
static pytheus__collecting *pytheus__take_collector(pytheus_registry *registry) {
    pytheus__collecting *collecting = NULL;
    size_t i;
    pytheus__acquire(&registry->lock);
    for (i = stbds_arrlenu(registry->entries); !collecting && i-- > 0;) {
        collecting = registry->entries[i].collecting;
        if (collecting) {
            stbds_arrdel(registry->entries, i);
        }
    }
    pytheus__release(&registry->lock);
    return collecting;
}

static pytheus__store *pytheus__take_store(pytheus_registry *registry) {
    pytheus__store *store = NULL;
    pytheus__acquire(&registry->lock);
    registry->store = NULL;
    if (stbds_arrlenu(registry->stores)) {
        store = stbds_arrpop(registry->stores);
    }
    pytheus__release(&registry->lock);
    return store;
}

/* Ends what others gave to the registry, which nobody else uses any more; but these may, while they
   end. */
static void pytheus__end_callbacks(pytheus_registry *registry) {
    pytheus__collecting *collecting;
    pytheus__store *store;
    while ((collecting = pytheus__take_collector(registry)) != NULL) {
        pytheus__collecting_end(registry, collecting);
    }
    pytheus__close_all_series(registry);
    while ((store = pytheus__take_store(registry)) != NULL) {
        pytheus__store_end(registry, store);
    }
}

static bool pytheus__is_theirs(const pytheus__family *family, const pytheus_registry *registry) {
    return family && family->registry == registry;
}

/* Takes the metrics of one registry from the page of another. */
static void pytheus__take_entries(pytheus_registry *from, const pytheus_registry *of) {
    size_t i;
    pytheus__acquire(&from->lock);
    for (i = stbds_arrlenu(from->entries); i-- > 0;) {
        if (pytheus__is_theirs(from->entries[i].family, of)) {
            pytheus__take_names_back(from, from->entries[i].family);
            stbds_arrdel(from->entries, i);
        }
    }
    pytheus__release(&from->lock);
}

/* Back to a registry without metrics and backend. */
static void pytheus__registry_empty(pytheus_registry *registry) {
    pytheus_registry *other;
    pytheus__acquire(&pytheus__registries_lock);
    for (other = pytheus__registries; other; other = other->next) {
        if (other != registry) {
            pytheus__take_entries(other, registry);
        }
    }
    pytheus__release(&pytheus__registries_lock);
    pytheus__end_callbacks(registry);
    pytheus__acquire(&registry->lock);
    (void)pytheus__try(registry, pytheus__free_containers, registry);
    registry->store = NULL;
    registry->arena = registry->arena_end = registry->spare = registry->spare_end = NULL;
    registry->chunk_bytes = 0;
    pytheus__release(&registry->lock);
}

PYTHEUS_API void pytheus_registry_free(pytheus_registry *registry) {
    pytheus_registry *chosen = registry;
    if (!registry) {
        return;
    }
    if (registry == &pytheus__own_default) {
        pytheus__registry_empty(registry);
        PYTHEUS__STORE_RELEASE(&pytheus__default_state, (uint32_t)PYTHEUS__NOT_LOADED);
        return;
    }
    while (chosen == registry &&
           !PYTHEUS__REPLACE(&pytheus__chosen_default, &chosen, (pytheus_registry *)NULL)) {
    }
    pytheus__registry_unlink(registry);
    pytheus__registry_empty(registry);
    pytheus__registry_unmake(registry);
}

/* -- buckets -- */

/* n when out holds n increasing finite bounds, otherwise 0 */
static size_t pytheus__good_buckets(const double *out, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        if (!pytheus__is_finite(out[i]) || (i && !(out[i - 1] < out[i]))) {
            return 0;
        }
    }
    return n;
}

PYTHEUS_API size_t pytheus_buckets_linear(double *out, size_t n, double start, double width) {
    size_t i;
    if (!out || !(width > 0)) {
        return 0;
    }
    for (i = 0; i < n; i++) {
        out[i] = start + (double)i * width;
    }
    return pytheus__good_buckets(out, n);
}

/* Writes n bounds from start on; returns the last. */
static double pytheus__multiply_up(double *out, size_t n, double start, double factor) {
    size_t i;
    for (i = 0; i < n; i++) {
        out[i] = i ? out[i - 1] * factor : start;
    }
    return out[n - 1];
}

PYTHEUS_API size_t pytheus_buckets_exponential(double *out, size_t n, double start, double factor) {
    if (!out || !n || !(start > 0) || !(factor > 1)) {
        return 0;
    }
    (void)pytheus__multiply_up(out, n, start, factor);
    return pytheus__good_buckets(out, n);
}

/* The factor is found by halving the doubles from 1 up: their bits are in the same order. That
   needs no libm, no root of a ratio that may overflow, and is as good with excess precision. */
PYTHEUS_API size_t pytheus_buckets_range(double *out, size_t n, double min, double max) {
    uint64_t low = pytheus__as_bits(1), high = PYTHEUS__INFINITY_BITS - 1;
    if (!out || n < 2 || !(min > 0) || !(max > min) || !pytheus__is_finite(max)) {
        return 0;
    }
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (pytheus__multiply_up(out, n, min, pytheus__as_double(middle)) < max) {
            low = middle;
        } else {
            high = middle;
        }
    }
    (void)pytheus__multiply_up(out, n, min, pytheus__as_double(high));
    out[n - 1] = max;
    return pytheus__good_buckets(out, n);
}

/* ==== BACKENDS BY NAME ==== */

/* -- sentences about a word that is not known -- */

enum { PYTHEUS__LONGEST_WORD = 64, PYTHEUS__LIST_SIZE = 140 };

typedef struct pytheus__guess {
    const char *word;
    const char *nearest; /* NULL: none of those that were compared is like it */
    size_t distance;
    char list[PYTHEUS__LIST_SIZE]; /* "host, port" */
} pytheus__guess;

static char pytheus__lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static size_t pytheus__least(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool pytheus__same_letter(char a, char b) {
    return pytheus__lower(a) == pytheus__lower(b);
}

/* How many letters are wrong, missing, too many, or have changed places with the next one. Both
   words have at most PYTHEUS__LONGEST_WORD. */
static size_t pytheus__distance(const char *a, const char *b) {
    size_t rows[3][PYTHEUS__LONGEST_WORD + 1];
    size_t i, j, a_size = strlen(a), b_size = strlen(b);
    for (j = 0; j <= b_size; j++) {
        rows[0][j] = j;
    }
    for (i = 1; i <= a_size; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];
        row[0] = i;
        for (j = 1; j <= b_size; j++) {
            row[j] = pytheus__least(row[j - 1], above[j]) + 1;
            row[j] =
                pytheus__least(row[j], above[j - 1] + !pytheus__same_letter(a[i - 1], b[j - 1]));
            if (i > 1 && j > 1 && pytheus__same_letter(a[i - 1], b[j - 2]) &&
                pytheus__same_letter(a[i - 2], b[j - 1])) {
                row[j] = pytheus__least(row[j], above_that[j - 2] + 1);
            }
        }
    }
    return rows[a_size % 3][b_size];
}

static void pytheus__guess_begin(pytheus__guess *guess, const char *word) {
    guess->word = word;
    guess->nearest = NULL;
    guess->distance = SIZE_MAX;
    guess->list[0] = '\0';
}

/* Like: of three letters, two are right. */
static void pytheus__guess_compare(pytheus__guess *guess, const char *known) {
    size_t size = strlen(guess->word), known_size = strlen(known), distance;
    size_t longer = size > known_size ? size : known_size;
    if (longer > PYTHEUS__LONGEST_WORD) {
        return;
    }
    distance = pytheus__distance(guess->word, known);
    if (distance < guess->distance && 3 * distance <= longer + 1) {
        guess->nearest = known;
        guess->distance = distance;
    }
}

static void pytheus__guess_list(pytheus__guess *guess, const char *known) {
    size_t used = strlen(guess->list);
    (void)snprintf(guess->list + used, sizeof guess->list - used, "%s%s", used ? ", " : "", known);
}

/* -- the configuration: what create() reads -- */

enum {
    PYTHEUS__MOST_CONFIG_BYTES = 1 << 20,
    PYTHEUS__MOST_CONFIG_KEYS = 1000,
    PYTHEUS__EXPONENT_ROOM = 16
};

typedef enum pytheus__json_type {
    PYTHEUS__JSON_NULL,
    PYTHEUS__JSON_BOOL,
    PYTHEUS__JSON_NUMBER,
    PYTHEUS__JSON_STRING
} pytheus__json_type;

typedef struct pytheus__config_pair {
    const char *key;
    const char *text; /* a string, a number as it was spelled, true, false, null */
    double number;
    pytheus__json_type type;
    pytheus__json_type wanted; /* as what it was asked for, if that was wrong; otherwise null */
    bool is_known;
} pytheus__config_pair;

/* What create() asked for. */
typedef struct pytheus__questions {
    char **keys; /* stb_ds array */
    bool forgot; /* for lack of memory */
} pytheus__questions;

struct pytheus_config {
    pytheus_registry *registry;  /* its allocator is used */
    const char *reader;          /* the backend's name */
    pytheus__config_pair *pairs; /* stb_ds array */
    char *strings;               /* one block for all keys and texts */
    size_t strings_size;
    pytheus__questions *questions;
};

static void pytheus__config_begin(pytheus_config *config, pytheus__questions *questions,
                                  pytheus_registry *registry, const char *reader) {
    memset(config, 0, sizeof *config);
    memset(questions, 0, sizeof *questions);
    config->registry = registry;
    config->reader = reader;
    config->questions = questions;
}

static void pytheus__config_free_arrays(void *argument) {
    pytheus_config *config = (pytheus_config *)argument;
    stbds_arrfree(config->pairs);
    stbds_arrfree(config->questions->keys);
}

static void pytheus__config_end(pytheus_config *config) {
    const pytheus_allocator *allocator = &config->registry->allocator;
    char **keys = config->questions->keys;
    size_t i;
    for (i = 0; i < stbds_arrlenu(keys); i++) {
        pytheus__release_memory(allocator, keys[i], strlen(keys[i]) + 1);
    }
    pytheus__release_memory(allocator, config->strings, config->strings_size);
    (void)pytheus__try(config->registry, pytheus__config_free_arrays, config);
}

static size_t pytheus__config_num_pairs(const pytheus_config *config) {
    return stbds_arrlenu(config->pairs);
}

static pytheus__config_pair *pytheus__config_find(const pytheus_config *config, const char *key) {
    size_t i;
    for (i = 0; i < pytheus__config_num_pairs(config); i++) {
        if (strcmp(config->pairs[i].key, key) == 0) {
            return &config->pairs[i];
        }
    }
    return NULL;
}

static bool pytheus__config_was_asked(const pytheus_config *config, const char *key) {
    char **keys = config->questions->keys;
    size_t i;
    for (i = 0; i < stbds_arrlenu(keys); i++) {
        if (strcmp(keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static bool pytheus__config_remember(const pytheus_config *config, const char *key) {
    pytheus__questions *questions = config->questions;
    size_t size = strlen(key) + 1;
    void *keys = pytheus__room_for_one(config->registry, questions->keys, sizeof *questions->keys);
    char *copy;
    if (!keys) {
        return false;
    }
    questions->keys = (char **)keys;
    copy = (char *)pytheus__resize(&config->registry->allocator, NULL, 0, size);
    if (!copy) {
        return false;
    }
    memcpy(copy, key, size);
    stbds_arrput(questions->keys, copy);
    return true;
}

/* NULL: there is no such value. */
static const pytheus__config_pair *pytheus__config_ask(const pytheus_config *config,
                                                       const char *key, pytheus__json_type type) {
    pytheus__config_pair *pair;
    if (!config || !key) {
        return NULL;
    }
    if (!pytheus__config_was_asked(config, key) && !pytheus__config_remember(config, key)) {
        config->questions->forgot = true;
    }
    pair = pytheus__config_find(config, key);
    if (!pair) {
        return NULL;
    }
    pair->is_known = true;
    if (pair->type != type && pair->type != PYTHEUS__JSON_NULL) {
        pair->wanted = type;
    }
    return pair->type == type ? pair : NULL;
}

PYTHEUS_API const char *pytheus_config_string(const pytheus_config *config, const char *key,
                                              const char *otherwise) {
    const pytheus__config_pair *pair = pytheus__config_ask(config, key, PYTHEUS__JSON_STRING);
    return pair ? pair->text : otherwise;
}

PYTHEUS_API double pytheus_config_number(const pytheus_config *config, const char *key,
                                         double otherwise) {
    const pytheus__config_pair *pair = pytheus__config_ask(config, key, PYTHEUS__JSON_NUMBER);
    return pair ? pair->number : otherwise;
}

PYTHEUS_API bool pytheus_config_bool(const pytheus_config *config, const char *key,
                                     bool otherwise) {
    const pytheus__config_pair *pair = pytheus__config_ask(config, key, PYTHEUS__JSON_BOOL);
    return pair ? pair->text[0] == 't' : otherwise;
}

PYTHEUS_API void pytheus_config_logger(const pytheus_config *config, pytheus_logger *logger) {
    *logger = config->registry->logger;
}

static pytheus_err pytheus__config_wrong_type(const pytheus_config *config,
                                              const pytheus__config_pair *pair) {
    static const char *const types[] = {"null", "true or false", "a number", "a string"};
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "%.60s: \"%.100s\" must be %s, not %s", config->reader,
                        pair->key, types[pair->wanted],
                        pair->type == PYTHEUS__JSON_BOOL ? pair->text : types[pair->type]);
}

static pytheus_err pytheus__config_unknown_key(const pytheus_config *config, const char *key) {
    char **keys = config->questions->keys;
    pytheus__guess guess;
    size_t i;
    pytheus__guess_begin(&guess, key);
    for (i = 0; i < stbds_arrlenu(keys); i++) {
        pytheus__guess_compare(&guess, keys[i]);
        pytheus__guess_list(&guess, keys[i]);
    }
    if (guess.nearest) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "%.60s: no key \"%.60s\" (nearest: \"%s\")",
                            config->reader, key, guess.nearest);
    }
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "%.60s: no key \"%.60s\" (has%s%s)", config->reader,
                        key, stbds_arrlenu(keys) ? ": " : " none", guess.list);
}

PYTHEUS_API pytheus_err pytheus_config_check(const pytheus_config *config) {
    size_t i;
    if (config && config->questions->forgot) {
        return pytheus__out_of_memory(config->reader);
    }
    for (i = 0; config && i < pytheus__config_num_pairs(config); i++) {
        const pytheus__config_pair *pair = &config->pairs[i];
        if (!pair->is_known) {
            return pytheus__config_unknown_key(config, pair->key);
        }
        if (pair->wanted != PYTHEUS__JSON_NULL) {
            return pytheus__config_wrong_type(config, pair);
        }
    }
    return PYTHEUS_OK;
}

/* -- reading JSON: one flat object, exactly as RFC 8259 has it -- */

typedef struct pytheus__json {
    pytheus_config *config;
    const char *source;          /* a path, or what else to call it in sentences */
    const char *text, *at, *end; /* *end is NUL, and there may be others before */
    char *out;                   /* the rest of config->strings: as no text is longer than it was
                                    spelled, there is room for all */
} pytheus__json;

enum { PYTHEUS__SOURCE_SHOWN = 80 };

/* The end of a long path says more than its beginning. */
static const char *pytheus__config_source(const char *source) {
    size_t size = strlen(source);
    return size > PYTHEUS__SOURCE_SHOWN ? source + size - PYTHEUS__SOURCE_SHOWN : source;
}

/* Says what is wrong at that place. Columns are characters. */
PYTHEUS__PRINTF(3, 4)
static pytheus_err pytheus__json_refuse(const pytheus__json *in, const char *place,
                                        const char *format, ...) {
    char what[PYTHEUS__SENTENCE_SIZE];
    unsigned long line = 1, column = 1;
    const char *at;
    va_list arguments;
    for (at = in->text; at < place; at++) {
        bool continues = ((unsigned char)*at & 0xc0) == 0x80;
        column = *at == '\n' ? 1 : column + !continues;
        line += *at == '\n';
    }
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "%s:%lu:%lu: %.140s",
                        pytheus__config_source(in->source), line, column, what);
}

static void pytheus__json_skip_blanks(pytheus__json *in) {
    while (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r') {
        in->at++;
    }
}

static bool pytheus__json_take(pytheus__json *in, const char *word) {
    if (!pytheus__starts_with(in->at, word)) {
        return false;
    }
    in->at += strlen(word);
    return true;
}

static const char *pytheus__json_keep(pytheus__json *in, const char *bytes, size_t size) {
    char *kept = in->out;
    memcpy(kept, bytes, size);
    kept[size] = '\0';
    in->out += size + 1;
    return kept;
}

/* What stands for the byte behind a backslash. */
static const char pytheus__json_letters[] = "\"\\bfnrt/";
static const char pytheus__json_bytes[] = "\"\\\b\f\n\r\t/";

/* The number behind \u; negative: there is none. */
static long pytheus__json_hex(const char *at) {
    long v = 0;
    int i;
    for (i = 0; i < 4; i++) {
        char c = pytheus__lower(at[i]);
        if (!pytheus__is_digit(c) && (c < 'a' || c > 'f')) {
            return -1;
        }
        v = v * 16 + (pytheus__is_digit(c) ? c - '0' : c - 'a' + 10);
    }
    return v;
}

static void pytheus__json_put_utf8(pytheus__json *in, long c) {
    int following = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const int marks[] = {0, 0xc0, 0xe0, 0xf0};
    *in->out++ = (char)(marks[following] | (int)(c >> 6 * following));
    while (following--) {
        *in->out++ = (char)(0x80 | (int)(c >> 6 * following & 0x3f));
    }
}

static pytheus_err pytheus__json_unicode(pytheus__json *in) {
    const char *place = in->at, *next = place + 6;
    long low, c = pytheus__json_hex(place + 2);
    if (c < 0) {
        return pytheus__json_refuse(in, place, "four hexadecimal digits expected after \\u");
    }
    if (!c) {
        return pytheus__json_refuse(in, place, "no string can hold \\u0000");
    }
    if (c >= 0xd800 && c < 0xe000) {
        low = c < 0xdc00 && next[0] == '\\' && next[1] == 'u' ? pytheus__json_hex(next + 2) : -1;
        if (low < 0xdc00 || low >= 0xe000) {
            return pytheus__json_refuse(in, place, "\\u%04lx is half of a character", c);
        }
        c = 0x10000 + (c - 0xd800) * 0x400 + (low - 0xdc00);
        next += 6;
    }
    in->at = next;
    pytheus__json_put_utf8(in, c);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_escape(pytheus__json *in) {
    char letter = in->at[1];
    const char *place = letter ? strchr(pytheus__json_letters, letter) : NULL;
    if (letter == 'u') {
        return pytheus__json_unicode(in);
    }
    if (!place) {
        return pytheus__json_refuse(in, in->at, "one of \"\\/bfnrtu expected after the backslash");
    }
    *in->out++ = pytheus__json_bytes[place - pytheus__json_letters];
    in->at += 2;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_character(pytheus__json *in) {
    const unsigned char *c = (const unsigned char *)in->at;
    int step = pytheus__utf8_step(c);
    if (*c == '\\') {
        return pytheus__json_escape(in);
    }
    if (*c < 0x20) {
        return pytheus__json_refuse(in, in->at, "in a string this byte is written \\u%04x", *c);
    }
    if (step < 0) {
        return pytheus__json_refuse(in, in->at, "this is not UTF-8");
    }
    memcpy(in->out, in->at, (size_t)step);
    in->out += step;
    in->at += step;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_string(pytheus__json *in, const char **string) {
    const char *quote = in->at++;
    *string = in->out;
    while (in->at < in->end && *in->at != '"') {
        pytheus_err err = pytheus__json_character(in);
        if (err) {
            return err;
        }
    }
    if (in->at == in->end) {
        return pytheus__json_refuse(in, quote, "the string does not end");
    }
    in->at++;
    *in->out++ = '\0';
    return PYTHEUS_OK;
}

typedef struct pytheus__json_parts {
    const char *start;
    const char *point;    /* behind the integer, whether there is a point or not */
    const char *exponent; /* behind the fraction, likewise */
} pytheus__json_parts;

static pytheus_err pytheus__json_skip_digits(pytheus__json *in, const char *where) {
    if (!pytheus__is_digit(*in->at)) {
        return pytheus__json_refuse(in, in->at, "a digit expected %s", where);
    }
    while (pytheus__is_digit(*in->at)) {
        in->at++;
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_scan_number(pytheus__json *in, pytheus__json_parts *parts) {
    pytheus_err err;
    parts->start = parts->point = parts->exponent = in->at;
    in->at += *in->at == '-';
    if (*in->at == '0' && pytheus__is_digit(in->at[1])) {
        return pytheus__json_refuse(in, in->at, "a number has no 0 in front");
    }
    err = pytheus__json_skip_digits(in, "after the '-'");
    parts->point = parts->exponent = in->at;
    if (!err && *in->at == '.') {
        in->at++;
        err = pytheus__json_skip_digits(in, "after the '.'");
        parts->exponent = in->at;
    }
    if (!err && pytheus__lower(*in->at) == 'e') {
        in->at++;
        in->at += *in->at == '+' || *in->at == '-';
        err = pytheus__json_skip_digits(in, "in the exponent");
    }
    return err;
}

/* Far more than any number has, yet nothing that is added to it can overflow. */
enum { PYTHEUS__MOST_EXPONENT = 10000000 };

static long pytheus__json_exponent(const char *e) {
    bool is_negative = e[0] && e[1] == '-';
    long v = 0;
    if (pytheus__lower(*e) != 'e') {
        return 0;
    }
    for (e += is_negative || e[1] == '+' ? 2 : 1; pytheus__is_digit(*e); e++) {
        v = v < PYTHEUS__MOST_EXPONENT ? v * 10 + (*e - '0') : v;
    }
    return is_negative ? -v : v;
}

/* strtod wants the point of the locale, which may change meanwhile, but it needs none: 12.5e3 is
   125e2. False: too large. */
static bool pytheus__json_value(const pytheus__json_parts *parts, char *out, double *value) {
    size_t integer = (size_t)(parts->point - parts->start);
    size_t fraction = (size_t)(parts->exponent - parts->point);
    long exponent = pytheus__json_exponent(parts->exponent);
    memcpy(out, parts->start, integer);
    if (fraction) {
        fraction--;
        memcpy(out + integer, parts->point + 1, fraction);
    }
    (void)snprintf(out + integer + fraction, PYTHEUS__EXPONENT_ROOM, "e%ld",
                   exponent - (long)fraction);
    errno = 0;
    *value = strtod(out, NULL);
    return errno != ERANGE || (*value < 1 && *value > -1);
}

static pytheus_err pytheus__json_number(pytheus__json *in, pytheus__config_pair *pair) {
    pytheus__json_parts parts;
    pytheus_err err = pytheus__json_scan_number(in, &parts);
    if (err) {
        return err;
    }
    if (!pytheus__json_value(&parts, in->out, &pair->number)) {
        return pytheus__json_refuse(in, parts.start, "the number is too large");
    }
    pair->type = PYTHEUS__JSON_NUMBER;
    pair->text = pytheus__json_keep(in, parts.start, (size_t)(in->at - parts.start));
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_word(pytheus__json *in, pytheus__config_pair *pair) {
    static const char *const words[] = {"true", "false", "null"};
    size_t i;
    for (i = 0; i < 3; i++) {
        if (pytheus__json_take(in, words[i])) {
            pair->type = i < 2 ? PYTHEUS__JSON_BOOL : PYTHEUS__JSON_NULL;
            pair->text = words[i];
            return PYTHEUS_OK;
        }
    }
    return pytheus__json_refuse(
        in, in->at, "\"%.60s\": values are strings, numbers, true, false or null", pair->key);
}

static pytheus_err pytheus__json_any_value(pytheus__json *in, pytheus__config_pair *pair) {
    if (*in->at == '"') {
        pair->type = PYTHEUS__JSON_STRING;
        return pytheus__json_string(in, &pair->text);
    }
    if (*in->at == '-' || pytheus__is_digit(*in->at)) {
        return pytheus__json_number(in, pair);
    }
    return pytheus__json_word(in, pair);
}

static pytheus_err pytheus__json_key(pytheus__json *in, const char **key) {
    const char *place = in->at;
    pytheus_err err;
    if (*place != '"') {
        return pytheus__json_refuse(in, place, "a key in double quotes expected");
    }
    err = pytheus__json_string(in, key);
    if (!err && pytheus__config_find(in->config, *key)) {
        return pytheus__json_refuse(in, place, "the key \"%.60s\" is there already", *key);
    }
    if (!err && pytheus__config_num_pairs(in->config) == PYTHEUS__MOST_CONFIG_KEYS) {
        return pytheus__json_refuse(in, place, "more than %d keys", PYTHEUS__MOST_CONFIG_KEYS);
    }
    return err;
}

static pytheus_err pytheus__json_colon(pytheus__json *in, const char *key) {
    pytheus__json_skip_blanks(in);
    if (!pytheus__json_take(in, ":")) {
        return pytheus__json_refuse(in, in->at, "':' expected after the key \"%.60s\"", key);
    }
    pytheus__json_skip_blanks(in);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__json_pair(pytheus__json *in) {
    pytheus_config *config = in->config;
    void *pairs = pytheus__room_for_one(config->registry, config->pairs, sizeof *config->pairs);
    pytheus__config_pair pair;
    pytheus_err err;
    if (!pairs) {
        return pytheus__out_of_memory(config->reader);
    }
    config->pairs = (pytheus__config_pair *)pairs;
    memset(&pair, 0, sizeof pair);
    pytheus__json_skip_blanks(in);
    err = pytheus__json_key(in, &pair.key);
    err = err ? err : pytheus__json_colon(in, pair.key);
    err = err ? err : pytheus__json_any_value(in, &pair);
    if (!err) {
        stbds_arrput(config->pairs, pair);
        pytheus__json_skip_blanks(in);
    }
    return err;
}

/* Behind the opening brace. */
static pytheus_err pytheus__json_pairs(pytheus__json *in) {
    pytheus_err err;
    pytheus__json_skip_blanks(in);
    if (pytheus__json_take(in, "}")) {
        return PYTHEUS_OK;
    }
    do {
        err = pytheus__json_pair(in);
    } while (!err && pytheus__json_take(in, ","));
    if (!err && !pytheus__json_take(in, "}")) {
        return pytheus__json_refuse(
            in, in->at, "',' or '}' expected after the value of \"%.60s\"",
            in->config->pairs[pytheus__config_num_pairs(in->config) - 1].key);
    }
    return err;
}

static pytheus_err pytheus__json_object(pytheus__json *in) {
    pytheus_err err;
    if (pytheus__starts_with(in->at, "\xef\xbb\xbf")) {
        return pytheus__json_refuse(in, in->at, "a byte order mark, which JSON has not");
    }
    pytheus__json_skip_blanks(in);
    if (!pytheus__json_take(in, "{")) {
        return pytheus__json_refuse(in, in->at, "'{' expected");
    }
    err = pytheus__json_pairs(in);
    pytheus__json_skip_blanks(in);
    if (!err && in->at < in->end) {
        return pytheus__json_refuse(in, in->at, "nothing expected after the '}'");
    }
    return err;
}

/* text[size] is NUL. */
static pytheus_err pytheus__config_read(pytheus_config *config, const char *source,
                                        const char *text, size_t size) {
    pytheus__json in;
    if (size > PYTHEUS__MOST_CONFIG_BYTES) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "%s: more than 1 MB",
                            pytheus__config_source(source));
    }
    config->strings_size = size + PYTHEUS__EXPONENT_ROOM;
    config->strings =
        (char *)pytheus__resize(&config->registry->allocator, NULL, 0, config->strings_size);
    if (!config->strings) {
        return pytheus__out_of_memory(config->reader);
    }
    in.config = config;
    in.source = source;
    in.text = in.at = text;
    in.end = text + size;
    in.out = config->strings;
    return pytheus__json_object(&in);
}

/* -- writing it, as Python's json.dumps would -- */

static void pytheus__json_add_string(pytheus__text *out, const char *string) {
    char escape[8];
    pytheus__add(out, "\"", 1);
    for (; *string; string++) {
        const char *place = *string == '/' ? NULL : strchr(pytheus__json_bytes, *string);
        if (place) {
            escape[0] = '\\';
            escape[1] = pytheus__json_letters[place - pytheus__json_bytes];
            pytheus__add(out, escape, 2);
        } else if ((unsigned char)*string < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*string);
            pytheus__add(out, escape, 6);
        } else {
            pytheus__add(out, string, 1);
        }
    }
    pytheus__add(out, "\"", 1);
}

static void pytheus__json_add(pytheus__text *out, const pytheus_config *config) {
    size_t i;
    pytheus__add_string(out, "{");
    for (i = 0; i < pytheus__config_num_pairs(config); i++) {
        const pytheus__config_pair *pair = &config->pairs[i];
        pytheus__add_string(out, i ? ", " : "");
        pytheus__json_add_string(out, pair->key);
        pytheus__add_string(out, ": ");
        if (pair->type == PYTHEUS__JSON_STRING) {
            pytheus__json_add_string(out, pair->text);
        } else {
            pytheus__add_string(out, pair->text);
        }
    }
    pytheus__add(out, "}", 2);
}

/* With its NUL; *size is that of the block. NULL: no memory. */
static char *pytheus__config_text(const pytheus_config *config, size_t *size) {
    pytheus__text out = {NULL, 0};
    pytheus__json_add(&out, config);
    *size = out.size;
    out.at = (char *)pytheus__resize(&config->registry->allocator, NULL, 0, *size);
    if (out.at) {
        out.size = 0;
        pytheus__json_add(&out, config);
    }
    return out.at;
}

/* -- configuration files -- */

static pytheus_err pytheus__config_file_error(const char *path, const char *what) {
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "%s: %.100s", pytheus__config_source(path), what);
}

#ifdef _WIN32
typedef FILE *pytheus__config_file;

static pytheus_err pytheus__config_open(const char *path, pytheus__config_file *file) {
    *file = fopen(path, "rb");
    return *file ? PYTHEUS_OK : pytheus__config_file_error(path, strerror(errno));
}

/* How many bytes; negative: an error. */
static long pytheus__config_get(pytheus__config_file file, char *out, size_t size) {
    size_t n = fread(out, 1, size, file);
    return n || !ferror(file) ? (long)n : -1;
}

static void pytheus__config_close(pytheus__config_file file) {
    (void)fclose(file);
}
#else
typedef int pytheus__config_file;

/* Nothing that could keep the program waiting, as a pipe does. */
static pytheus_err pytheus__config_open(const char *path, pytheus__config_file *file) {
    struct stat status;
    bool is_known;
    *file = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | PYTHEUS__CLOSE_ON_EXEC);
    if (*file < 0) {
        return pytheus__config_file_error(path, strerror(errno));
    }
    is_known = fstat(*file, &status) == 0;
    if (is_known && S_ISREG(status.st_mode)) {
        return PYTHEUS_OK;
    }
    (void)close(*file);
    return pytheus__config_file_error(
        path, is_known && S_ISDIR(status.st_mode) ? strerror(EISDIR) : "not a regular file");
}

/* How many bytes; negative: an error. */
static long pytheus__config_get(pytheus__config_file file, char *out, size_t size) {
    ssize_t n;
    do {
        n = read(file, out, size);
    } while (n < 0 && errno == EINTR);
    return (long)n;
}

static void pytheus__config_close(pytheus__config_file file) {
    (void)close(file);
}
#endif

typedef struct pytheus__config_bytes {
    const pytheus_allocator *allocator;
    char *at;
    size_t size, room;
} pytheus__config_bytes;

static bool pytheus__config_bytes_grow(pytheus__config_bytes *bytes) {
    size_t room = bytes->room ? 2 * bytes->room : 4096;
    void *at = pytheus__resize(bytes->allocator, bytes->at, bytes->room, room);
    if (at) {
        bytes->at = (char *)at;
        bytes->room = room;
    }
    return at != NULL;
}

/* Up to the end, or past the most that is of use; and a NUL. */
static pytheus_err pytheus__config_get_all(pytheus__config_file file, const char *path,
                                           pytheus__config_bytes *bytes) {
    long n = 1;
    while (n > 0 && bytes->size <= PYTHEUS__MOST_CONFIG_BYTES) {
        if (bytes->size + 1 >= bytes->room && !pytheus__config_bytes_grow(bytes)) {
            return pytheus__out_of_memory(path);
        }
        n = pytheus__config_get(file, bytes->at + bytes->size, bytes->room - bytes->size - 1);
        if (n < 0) {
            return pytheus__config_file_error(path, strerror(errno));
        }
        bytes->size += (size_t)n;
    }
    bytes->at[bytes->size] = '\0';
    return PYTHEUS_OK;
}

static pytheus_err pytheus__config_read_file(pytheus_config *config, const char *path) {
    pytheus__config_bytes bytes = {&config->registry->allocator, NULL, 0, 0};
    pytheus__config_file file;
    pytheus_err err = pytheus__config_open(path, &file);
    if (err) {
        return err;
    }
    err = pytheus__config_get_all(file, path, &bytes);
    pytheus__config_close(file);
    if (!err) {
        err = pytheus__config_read(config, path, bytes.at, bytes.size);
    }
    pytheus__release_memory(bytes.allocator, bytes.at, bytes.room);
    return err;
}

/* -- classes -- */

enum { PYTHEUS__MOST_CLASSES = 32 };

/* A backend without functions: the library keeps the values itself. */
static pytheus_err pytheus__create_single(const pytheus_config *config, pytheus_backend *out) {
    (void)config;
    out->name = "single";
    return PYTHEUS_OK;
}

static const char *const pytheus__single_names[] = {
    "single", "pytheus.backends.SingleProcessBackend", "pytheus.backends.base.SingleProcessBackend",
    NULL};
static const char *const pytheus__file_names[] = {
    "file", "pytheus.backends.MultipleProcessFileBackend", NULL};
static const char *const pytheus__redis_names[] = {
    "redis", "pytheus.backends.redis.MultiProcessRedisBackend",
    "pytheus.backends.MultipleProcessRedisBackend", NULL};

static const pytheus_backend_class pytheus__single_class = {pytheus__single_names,
                                                            pytheus__create_single};

/* Guarded by pytheus__registries_lock. */
static const pytheus_backend_class *pytheus__classes[PYTHEUS__MOST_CLASSES] = {
    &pytheus__single_class};
static size_t pytheus__num_classes = 1;

static bool pytheus__is_among(const char *const *names, const char *name) {
    while (*names && strcmp(*names, name) != 0) {
        names++;
    }
    return *names != NULL;
}

/* The caller holds the lock of the classes. */
static const pytheus_backend_class *pytheus__class_named(const char *name) {
    size_t i;
    for (i = 0; i < pytheus__num_classes; i++) {
        if (pytheus__is_among(pytheus__classes[i]->names, name)) {
            return pytheus__classes[i];
        }
    }
    return NULL;
}

/* Likewise. */
static bool pytheus__class_is_known(const pytheus_backend_class *backend_class) {
    size_t i;
    for (i = 0; i < pytheus__num_classes; i++) {
        if (pytheus__classes[i] == backend_class) {
            return true;
        }
    }
    return false;
}

/* Likewise. */
static pytheus_err pytheus__class_add(const pytheus_backend_class *backend_class) {
    const char *const *name;
    if (pytheus__class_is_known(backend_class)) {
        return PYTHEUS_OK;
    }
    for (name = backend_class->names; *name; name++) {
        if (pytheus__class_named(*name)) {
            return pytheus_fail(PYTHEUS_ERR_DUPLICATE, "the backend name \"%.100s\" is taken",
                                *name);
        }
    }
    if (pytheus__num_classes == PYTHEUS__MOST_CLASSES) {
        return pytheus_fail(PYTHEUS_ERR_NOMEM, "%.100s: no more than %d backend classes",
                            backend_class->names[0], PYTHEUS__MOST_CLASSES);
    }
    pytheus__classes[pytheus__num_classes++] = backend_class;
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_backend_class_add(const pytheus_backend_class *backend_class) {
    pytheus_err err;
    if (!backend_class || !backend_class->names || !backend_class->names[0] ||
        !backend_class->create) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "a backend class needs a name and create");
    }
    pytheus__prepare_for_fork();
    pytheus__acquire(&pytheus__registries_lock);
    err = pytheus__class_add(backend_class);
    pytheus__release(&pytheus__registries_lock);
    return err;
}

static const struct {
    const char *const *names;
    const char *header, *macro;
} pytheus__companions[] = {
    {pytheus__file_names, "pytheus_file.h", "PYTHEUS_FILE_IMPLEMENTATION"},
    {pytheus__redis_names, "pytheus_redis.h", "PYTHEUS_REDIS_IMPLEMENTATION"},
};
enum { PYTHEUS__NUM_COMPANIONS = sizeof pytheus__companions / sizeof *pytheus__companions };

static void pytheus__guess_compare_all(pytheus__guess *guess, const char *const *names) {
    for (; *names; names++) {
        pytheus__guess_compare(guess, *names);
    }
}

static pytheus_err pytheus__class_unknown(const char *name) {
    pytheus__guess guess;
    size_t i;
    pytheus__guess_begin(&guess, name);
    pytheus__acquire(&pytheus__registries_lock);
    for (i = 0; i < pytheus__num_classes; i++) {
        pytheus__guess_compare_all(&guess, pytheus__classes[i]->names);
        pytheus__guess_list(&guess, pytheus__classes[i]->names[0]);
    }
    pytheus__release(&pytheus__registries_lock);
    for (i = 0; i < PYTHEUS__NUM_COMPANIONS; i++) {
        pytheus__guess_compare_all(&guess, pytheus__companions[i].names);
    }
    if (guess.nearest) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "no backend \"%.80s\" (nearest: \"%s\")", name,
                            guess.nearest);
    }
    return pytheus_fail(PYTHEUS_ERR_CONFIG, "no backend \"%.80s\" (there are: %s)", name,
                        guess.list);
}

static pytheus_err pytheus__class_missing(const char *name) {
    size_t i;
    for (i = 0; i < PYTHEUS__NUM_COMPANIONS; i++) {
        if (pytheus__is_among(pytheus__companions[i].names, name)) {
            return pytheus_fail(PYTHEUS_ERR_CONFIG,
                                "no backend \"%s\" in this program: include %s with %s", name,
                                pytheus__companions[i].header, pytheus__companions[i].macro);
        }
    }
    return pytheus__class_unknown(name);
}

static pytheus_err pytheus__class_find(const char *name, const pytheus_backend_class **found) {
    pytheus__acquire(&pytheus__registries_lock);
    *found = pytheus__class_named(name);
    pytheus__release(&pytheus__registries_lock);
    return *found ? PYTHEUS_OK : pytheus__class_missing(name);
}

/* -- loading -- */

/* Who starts a program with more rights than his own does not choose its backend. */
static const char *pytheus__environment(const char *name) {
    const char *value = getenv(name);
#ifndef _WIN32
    if (getuid() != geteuid() || getgid() != getegid()) {
        return NULL;
    }
#endif
    return value && *value ? value : NULL;
}

static pytheus_err pytheus__load_config(pytheus_config *config, const char *json) {
    const char *path = json ? NULL : pytheus__environment("PYTHEUS_BACKEND_CONFIG");
    if (json) {
        return pytheus__config_read(config, "configuration", json, strlen(json));
    }
    return path ? pytheus__config_read_file(config, path) : PYTHEUS_OK;
}

static pytheus_err pytheus__load_class(const char *name, const pytheus_backend_class **found) {
    name = name ? name : pytheus__environment("PYTHEUS_BACKEND_CLASS");
    return pytheus__class_find(name ? name : "single", found);
}

static pytheus_err pytheus__create_backend(const pytheus_backend_class *backend_class,
                                           const pytheus_config *config, pytheus_backend *out) {
    char first = pytheus__before_callback();
    pytheus_err err = backend_class->create(config, out);
    err = pytheus__after_callback(first, err, PYTHEUS_ERR_BACKEND, config->reader,
                                  "the backend could not be created");
    if (!err && !out->name) {
        out->name = config->reader;
    }
    return err;
}

static pytheus_err pytheus__load_with(const pytheus_backend_class *backend_class,
                                      const pytheus_config *config, const char *config_text) {
    pytheus_backend backend = PYTHEUS__EMPTY;
    pytheus_err err = pytheus__create_backend(backend_class, config, &backend);
    if (err) {
        return err;
    }
    err = pytheus_config_check(config);
    if (!err) {
        err = pytheus__registry_load(config->registry, &backend, config_text);
    }
    if (err && backend.destroy) {
        pytheus__kept kept;
        pytheus__keep_sentence(&kept);
        backend.destroy(backend.user);
        pytheus__return_sentence(&kept);
    }
    return err;
}

static pytheus_err pytheus__load_configured(const pytheus_backend_class *backend_class,
                                            pytheus_config *config, const char *json) {
    size_t size;
    char *text;
    pytheus_err err = pytheus__load_config(config, json);
    if (err) {
        return err;
    }
    text = pytheus__config_text(config, &size);
    if (!text) {
        return pytheus__out_of_memory(config->reader);
    }
    err = pytheus__load_with(backend_class, config, text);
    pytheus__release_memory(&config->registry->allocator, text, size);
    return err;
}

/* No lock is held: create() may call the library. */
static pytheus_err pytheus__load(pytheus_registry *registry, const char *class_name,
                                 const char *config_json) {
    int saved_errno = errno;
    const pytheus_backend_class *backend_class;
    pytheus_config config;
    pytheus__questions questions;
    pytheus_err err = pytheus__load_class(class_name, &backend_class);
    if (!err) {
        pytheus__config_begin(&config, &questions, registry, backend_class->names[0]);
        err = pytheus__load_configured(backend_class, &config, config_json);
        pytheus__config_end(&config);
    }
    errno = saved_errno;
    return err;
}

/* ==== OPERATIONS ==== */

/* Whether an operation on this type of metric may go on, in the node: everything is in the handle
   but whether it is alive. */
PYTHEUS__HOT bool pytheus__is_ready(pytheus_view view, pytheus_type type) {
    const uint64_t kind = PYTHEUS__TYPE | PYTHEUS__COMPLETE | PYTHEUS__ELSEWHERE;
    return PYTHEUS__LIKELY((view.generation & kind) == ((uint64_t)type | PYTHEUS__COMPLETE)) &&
           PYTHEUS__LIKELY(PYTHEUS__LOAD(&view.node->generation) == view.generation);
}

/* The cell's content is loaded (acquire) before the generation: were it of a later life, the
   generation would show it. */
static bool pytheus__is_still(pytheus_view view) {
    return PYTHEUS__LIKELY(PYTHEUS__LOAD(&view.node->generation) == view.generation);
}

/* In a reusable node the content that was loaded must be of the view's own life. */
static pytheus_err pytheus__add_whole_masked(pytheus_view view, pytheus__word *word, uint64_t n) {
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(word);
    for (;;) {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
        if (PYTHEUS__REPLACE(word, &old, ((old ^ view.generation) + n) ^ view.generation)) {
            pytheus__meet_nobody(view.node);
            return PYTHEUS_OK;
        }
        pytheus__meet(view);
    }
}

static pytheus_err pytheus__add_real_masked(pytheus_view view, pytheus__word *word, double v) {
    uint64_t mask = view.generation, old = PYTHEUS__LOAD_ACQUIRE(word);
    for (;;) {
        uint64_t sum = pytheus__as_bits(pytheus__as_double(old ^ mask) + v);
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
        if (PYTHEUS__REPLACE(word, &old, sum ^ mask)) {
            pytheus__meet_nobody(view.node);
            return PYTHEUS_OK;
        }
        pytheus__meet(view);
    }
}

static pytheus_err pytheus__set_real_masked(pytheus_view view, pytheus__word *word, uint64_t bits) {
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
    } while (!PYTHEUS__REPLACE(word, &old, bits ^ view.generation));
    return PYTHEUS_OK;
}

/* The cells that this thread adds to. */
PYTHEUS__HOT pytheus__word *pytheus__own_cells(pytheus_view view) {
    pytheus__stripes *stripes = PYTHEUS__LOAD_ACQUIRE(&view.node->stripes);
    pytheus__word *own = NULL;
    if (!PYTHEUS__LIKELY(!stripes)) {
        own = pytheus__own_stripe(view, stripes);
    }
    return PYTHEUS__LIKELY(!own) ? pytheus__cells(view.node) : own;
}

/* Whole numbers are added by an instruction that never fails, so at one in 64 values, whatever is
   added to them, a thread looks whether somebody else adds too. A histogram sees it at its sum. */
PYTHEUS__HOT void pytheus__look_around(pytheus_view view, pytheus__word *word, uint64_t now) {
    if (!PYTHEUS__LIKELY(now * 0x9e3779b97f4a7c15u >> 58)) {
        if (!PYTHEUS__REPLACE(word, &now, now)) {
            pytheus__meet(view);
        } else {
            pytheus__meet_nobody(view.node);
        }
    }
}

PYTHEUS__HOT pytheus_err pytheus__add_whole(pytheus_view view, pytheus__word *word, uint64_t n,
                                            bool looks_around) {
    if (PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE))) {
        if (sizeof(void *) < sizeof *word) { /* no instruction adds 64 bits */
            uint64_t old = PYTHEUS__LOAD(word);
            while (!PYTHEUS__REPLACE(word, &old, old + n)) {
                pytheus__meet(view);
            }
            pytheus__meet_nobody(view.node);
            return PYTHEUS_OK;
        }
        uint64_t now = PYTHEUS__ADD(word, n) + n;
        if (looks_around) {
            pytheus__look_around(view, word, now);
        }
        return PYTHEUS_OK;
    }
    return pytheus__add_whole_masked(view, word, n);
}

/* After somebody else changed the word. Apart, so that an operation that meets nobody keeps nothing
   over a call. */
PYTHEUS__COLD pytheus_err pytheus__add_real_again(pytheus_view view, pytheus__word *word,
                                                  double v) {
    uint64_t old = PYTHEUS__LOAD(word);
    do {
        pytheus__meet(view);
    } while (!PYTHEUS__REPLACE(word, &old, pytheus__as_bits(pytheus__as_double(old) + v)));
    return PYTHEUS_OK;
}

PYTHEUS__HOT pytheus_err pytheus__add_real(pytheus_view view, pytheus__word *word, double v) {
    uint64_t old;
    if (!PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE))) {
        return pytheus__add_real_masked(view, word, v);
    }
    old = PYTHEUS__LOAD(word);
    if (!PYTHEUS__LIKELY(
            PYTHEUS__REPLACE(word, &old, pytheus__as_bits(pytheus__as_double(old) + v)))) {
        return pytheus__add_real_again(view, word, v);
    }
    pytheus__meet_nobody(view.node);
    return PYTHEUS_OK;
}

PYTHEUS__HOT pytheus_err pytheus__set_real(pytheus_view view, size_t cell, double v) {
    pytheus__word *word = &pytheus__cells(view.node)[cell];
    if (PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE))) {
        PYTHEUS__STORE(word, pytheus__as_bits(v));
        return PYTHEUS_OK;
    }
    return pytheus__set_real_masked(view, word, pytheus__as_bits(v));
}

/* Adds what is in a series' stripes to what is in its first n cells. */
PYTHEUS__COLD void pytheus__add_each_stripe(pytheus_view view, pytheus__stripes *stripes,
                                            uint64_t *values, size_t n) {
    const uint64_t mask = pytheus__mask(view.generation);
    bool is_counter = pytheus__type_of(view) == PYTHEUS_COUNTER;
    size_t stripe, i;
    if (PYTHEUS__LOAD_ACQUIRE(&stripes->generation) != view.generation) {
        return;
    }
    for (stripe = 0; stripe <= stripes->mask; stripe++) {
        const pytheus__word *words = pytheus__stripe_at(stripes, stripe);
        for (i = 0; i < (is_counter ? 1 : n); i++) {
            uint64_t content = PYTHEUS__LOAD_ACQUIRE(&words[i]) ^ mask;
            if (is_counter || i != PYTHEUS__SUM_REAL) {
                values[i] += content;
            } else {
                values[i] =
                    pytheus__as_bits(pytheus__as_double(values[i]) + pytheus__as_double(content));
            }
        }
    }
}

PYTHEUS__HOT void pytheus__add_stripes(pytheus_view view, uint64_t *values, size_t n) {
    pytheus__stripes *stripes = PYTHEUS__LOAD_ACQUIRE(&view.node->stripes);
    if (!PYTHEUS__LIKELY(!stripes)) {
        pytheus__add_each_stripe(view, stripes, values, n);
    }
}

static pytheus_err pytheus__refuse_value(pytheus_view view, double v, const char *reason) {
    char number[PYTHEUS__NUMBER_SIZE + 1];
    *pytheus__put_double(number, v) = '\0';
    return pytheus__tell(view.node->family,
                         pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: %s, not %s",
                                      view.node->family->name.text, reason, number));
}

/* How many of the bounds are below v: its bucket. Counting has no branch to mispredict, which makes
   it the fastest way for few bounds; many are halved first. Two are compared at once, so after the
   last one there is another +Inf. */
static inline size_t pytheus__bucket_of(const double *bounds, size_t n, double v) {
    size_t i, base = 0;
    while (n > 16) {
        size_t half = n / 2;
        base += bounds[base + half - 1] < v ? half : 0;
        n -= half;
    }
#if defined(__GNUC__)
    typedef double two __attribute__((vector_size(16), aligned(8), may_alias));
    typedef int64_t two_counts __attribute__((vector_size(16)));
    two_counts below = {0, 0};
    const two both = {v, v};
    for (i = 0; i < n; i += 2) {
        below += *(const two *)(const void *)(bounds + base + i) < both; /* -1 where it is */
    }
    return base - (size_t)(below[0] + below[1]);
#else
    size_t below = 0;
    for (i = 0; i < n; i++) {
        below += bounds[base + i] < v;
    }
    return base + below;
#endif
}

/* -- operations on words of a backend -- */

/* Which states are on in a stateset of this value: a bit for each. A backend may have anything. */
static uint64_t pytheus__states_in(double value) {
    const double most = 4294967295.0;
    return value >= 0 && value <= most ? (uint64_t)value : 0;
}

typedef enum pytheus__operation {
    PYTHEUS__INCREASE,
    PYTHEUS__DECREASE,
    PYTHEUS__SET,
    PYTHEUS__OBSERVE,
    PYTHEUS__TURN_ON, /* what is at this place in a sum of powers of two */
    PYTHEUS__TURN_OFF
} pytheus__operation;

/* The set of words that this thread adds to, of several. */
PYTHEUS__HOT size_t pytheus__stripe(const pytheus__family *family, uint32_t num_stripes,
                                    size_t stripe_words) {
    const uint32_t *first = family->store->backend.first_stripe;
    uint32_t stripe = (uint32_t)pytheus__thread_number() + (first ? PYTHEUS__LOAD(first) : 0);
    return stripe % num_stripes * stripe_words;
}

/* In words they may be removed by others, and by us: both have to be seen after the content. */
static bool pytheus__is_there_still(pytheus_view view, const pytheus_words *words) {
    return pytheus__is_still(view) && pytheus__words_live(words);
}

/* What a word becomes. */
typedef uint64_t (*pytheus__update)(uint64_t old, double v);

static uint64_t pytheus__updated_count(uint64_t old, double v) {
    return old + (uint64_t)v;
}

static uint64_t pytheus__updated_sum(uint64_t old, double v) {
    return pytheus__as_bits(pytheus__as_double(old) + v);
}

static uint64_t pytheus__updated_value(uint64_t old, double v) {
    (void)old;
    return pytheus__as_bits(v);
}

static uint64_t pytheus__updated_on(uint64_t old, double v) {
    uint64_t states = pytheus__states_in(pytheus__as_double(old)) | (uint64_t)v;
    return pytheus__as_bits((double)states);
}

static uint64_t pytheus__updated_off(uint64_t old, double v) {
    uint64_t states = pytheus__states_in(pytheus__as_double(old)) & ~(uint64_t)v;
    return pytheus__as_bits((double)states);
}

/* Of a series that is one double. */
static pytheus__update pytheus__update_of(pytheus__operation operation) {
    return operation == PYTHEUS__SET        ? pytheus__updated_value
           : operation == PYTHEUS__TURN_ON  ? pytheus__updated_on
           : operation == PYTHEUS__TURN_OFF ? pytheus__updated_off
                                            : pytheus__updated_sum;
}

static uint64_t pytheus__updated_to_zero(uint64_t old, double v) {
    (void)v;
    return old ? 0 : PYTHEUS__SIGN_BIT; /* see pytheus__zero_real */
}

static pytheus_err pytheus__update_word(pytheus_view view, const pytheus_words *words, size_t i,
                                        pytheus__update update, double v) {
    pytheus__word *word = (pytheus__word *)&words->at[i];
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_there_still(view, words)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
        if (!words->mask && update == pytheus__updated_count) {
            (void)PYTHEUS__ADD(word, (uint64_t)v);
            return PYTHEUS_OK;
        }
    } while (!PYTHEUS__REPLACE(word, &old, update(old ^ words->mask, v) ^ words->mask));
    return PYTHEUS_OK;
}

/* The cells of a life in words, those of all stripes added up; false: it has ended. */
static bool pytheus__read_words(pytheus_view view, const pytheus_words *words, uint64_t *values,
                                size_t n) {
    size_t stripe, i;
    size_t real = pytheus__type_of(view) == PYTHEUS_COUNTER ? PYTHEUS__COUNTER_REAL : 0;
    memset(values, 0, n * sizeof *values);
    if (!pytheus__is_there_still(view, words)) {
        return false;
    }
    for (stripe = 0; stripe < words->num_stripes; stripe++) {
        for (i = 0; i < n; i++) {
            uint64_t *at = &words->at[stripe * words->stripe_words + i];
            uint64_t content = PYTHEUS__LOAD_ACQUIRE((pytheus__word *)at) ^ words->mask;
            if (i != real) {
                values[i] += content;
            } else if (stripe == 0) {
                values[i] = content;
            } else {
                values[i] = pytheus__updated_sum(values[i], pytheus__as_double(content));
            }
        }
    }
    return pytheus__is_there_still(view, words);
}

/* The whole numbers of a counter in words; false: its life has ended. */
static bool pytheus__read_wholes(pytheus_view view, const pytheus_words *words, uint64_t *sum) {
    size_t stripe;
    *sum = 0;
    for (stripe = 0; stripe < words->num_stripes; stripe++) {
        size_t i = stripe * words->stripe_words + PYTHEUS__COUNTER_WHOLE;
        *sum += PYTHEUS__LOAD_ACQUIRE((pytheus__word *)&words->at[i]) ^ words->mask;
    }
    return pytheus__is_there_still(view, words);
}

/* Tells a backend that sends differences that the value was set, if it was. */
static pytheus_err pytheus__was_set(pytheus_view view, const pytheus_words *words,
                                    pytheus_err err) {
    pytheus_words sets = *words;
    sets.at = words->sets;
    return err || !sets.at ? err : pytheus__update_word(view, &sets, 0, pytheus__updated_count, 1);
}

/* Tells a backend that asks for it when the value was changed. */
static pytheus_err pytheus__was_changed(pytheus_view view, const pytheus_words *words) {
    pytheus_words changed = *words;
    pytheus_err err;
    int saved_errno = errno;
    if (!words->changed) {
        return PYTHEUS_OK;
    }
    changed.at = words->changed;
    err = pytheus__update_word(view, &changed, 0, pytheus__updated_value, pytheus__wall_clock());
    errno = saved_errno;
    return err;
}

/* As pytheus__set_counter. */
static pytheus_err pytheus__set_words(pytheus_view view, const pytheus_words *words, double v) {
    pytheus__word *real = (pytheus__word *)&words->at[PYTHEUS__COUNTER_REAL];
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(real), whole;
    do {
        if (!pytheus__read_wholes(view, words, &whole)) {
            return pytheus__refuse(view, PYTHEUS_COUNTER);
        }
    } while (!PYTHEUS__REPLACE(real, &old, pytheus__as_bits(v - (double)whole) ^ words->mask));
    return pytheus__was_set(view, words, PYTHEUS_OK);
}

/* A counter's first double comes last: a set that has read the others before must find it
   changed. */
static pytheus_err pytheus__zero_words(pytheus_view view, const pytheus_words *words) {
    size_t stripe, i, n = view.node->family->num_cells;
    bool is_counter = pytheus__type_of(view) == PYTHEUS_COUNTER;
    pytheus_err err = PYTHEUS_OK;
    for (stripe = words->num_stripes; stripe-- > 0 && !err;) {
        for (i = 0; i < n && !err; i++) {
            bool may_be_set = is_counter && i == PYTHEUS__COUNTER_REAL;
            err = pytheus__update_word(
                view, words, stripe * words->stripe_words + i,
                may_be_set ? pytheus__updated_to_zero : pytheus__updated_value, 0);
        }
    }
    return pytheus__was_set(view, words, err);
}

/* Whole numbers go to an integer, which is exact and never waits. It would wrap after 2^44 of the
   largest that it takes; larger ones go to the double. */
static bool pytheus__is_small_whole(double v) {
    return v >= 0 && v <= 1048576 && (double)(uint64_t)v >= v;
}

static pytheus_err pytheus__change_words(pytheus_view view, pytheus__operation operation,
                                         double v) {
    const pytheus__family *family = view.node->family;
    const pytheus_words words = pytheus__words_of(view.node);
    size_t stripe, bucket;
    pytheus_err err;
    if (!pytheus__is_there_still(view, &words)) {
        return pytheus__refuse(view, family->type);
    }
    stripe = words.num_stripes == 1
                 ? 0
                 : pytheus__stripe(family, (uint32_t)words.num_stripes, words.stripe_words);
    if (operation == PYTHEUS__OBSERVE) {
        bucket = PYTHEUS__FIRST_BUCKET + pytheus__bucket_of(family->bounds, family->num_bounds, v);
        err = pytheus__update_word(view, &words, stripe + bucket, pytheus__updated_count, 1);
        return err ? err
                   : pytheus__update_word(view, &words, stripe + PYTHEUS__SUM_REAL,
                                          pytheus__updated_sum, v);
    }
    if (pytheus__is_real(family->type)) {
        err = pytheus__update_word(view, &words, PYTHEUS__GAUGE_REAL, pytheus__update_of(operation),
                                   operation == PYTHEUS__DECREASE ? -v : v);
        err = err ? err : pytheus__was_changed(view, &words);
        return operation == PYTHEUS__SET ? pytheus__was_set(view, &words, err) : err;
    }
    if (operation == PYTHEUS__SET) {
        return pytheus__set_words(view, &words, v);
    }
    return pytheus__is_small_whole(v)
               ? pytheus__update_word(view, &words, stripe + PYTHEUS__COUNTER_WHOLE,
                                      pytheus__updated_count, v)
               : pytheus__update_word(view, &words, PYTHEUS__COUNTER_REAL, pytheus__updated_sum,
                                      v); /* of one stripe alone, or a set could not undo it */
}

/* The first word of this thread's set. Apart, or what it takes would be saved and restored by those
   that are not spread. */
PYTHEUS__OUT_OF_LINE pytheus__word *pytheus__word_in_stripe(pytheus_view view, pytheus__word *first,
                                                            uint64_t stripes) {
    return first + pytheus__stripe(view.node->family, (uint32_t)(stripes >> 32),
                                   (size_t)(stripes & UINT32_MAX));
}

/* Adds a whole number to words that are not spread, as most are; false: it takes the long way. */
PYTHEUS__HOT bool pytheus__add_to_words(pytheus_view view, pytheus_type type, size_t i,
                                        uint64_t n) {
    const uint64_t kind = PYTHEUS__TYPE | PYTHEUS__COMPLETE | PYTHEUS__WORDS;
    pytheus__word *area, *word, *life;
    uint64_t life_value, mask, stripes, old;
    if ((view.generation & kind) != ((uint64_t)type | PYTHEUS__COMPLETE | PYTHEUS__WORDS)) {
        return false;
    }
    area = pytheus__cells(view.node);
    word = (pytheus__word *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__AT]) + i;
    life = (pytheus__word *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE]);
    life_value = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE_VALUE]);
    mask = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__MASK]);
    stripes = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__STRIPES]) >> 32;
    old = PYTHEUS__LIKELY(!mask) ? 0 : PYTHEUS__LOAD_ACQUIRE(word);
    if (!pytheus__is_still(view) || stripes != 1 || (life && PYTHEUS__LOAD(life) != life_value)) {
        return false;
    }
    if (PYTHEUS__LIKELY(!mask)) {
        (void)PYTHEUS__ADD(word, n);
        return true;
    }
    return PYTHEUS__REPLACE(word, &old, ((old ^ mask) + n) ^ mask);
}

/* This thread's words of a life that goes on, where they have no mask, as most; NULL: it takes the
   long way. */
PYTHEUS__HOT pytheus__word *pytheus__plain_words(pytheus_view view, pytheus_type type) {
    const uint64_t kind = PYTHEUS__TYPE | PYTHEUS__COMPLETE | PYTHEUS__WORDS;
    pytheus__word *area, *words, *life;
    uint64_t life_value, mask, stripes;
    if ((view.generation & kind) != ((uint64_t)type | PYTHEUS__COMPLETE | PYTHEUS__WORDS)) {
        return NULL;
    }
    area = pytheus__cells(view.node);
    words = (pytheus__word *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__AT]);
    life = (pytheus__word *)(uintptr_t)PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE]);
    life_value = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__LIFE_VALUE]);
    mask = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__MASK]);
    stripes = PYTHEUS__LOAD_ACQUIRE(&area[PYTHEUS__STRIPES]);
    if (!pytheus__is_still(view) || mask || (life && PYTHEUS__LOAD(life) != life_value)) {
        return NULL;
    }
    return PYTHEUS__LIKELY(stripes >> 32 == 1) ? words
                                               : pytheus__word_in_stripe(view, words, stripes);
}

PYTHEUS__HOT void pytheus__observe_in_words(const pytheus__family *family, pytheus__word *words,
                                            double v) {
    size_t bucket = pytheus__bucket_of(family->bounds, family->num_bounds, v);
    uint64_t old = PYTHEUS__LOAD(&words[PYTHEUS__SUM_REAL]);
    (void)PYTHEUS__ADD(&words[PYTHEUS__FIRST_BUCKET + bucket], (uint64_t)1);
    while (!PYTHEUS__REPLACE(&words[PYTHEUS__SUM_REAL], &old,
                             pytheus__as_bits(pytheus__as_double(old) + v))) {
    }
}

/* -- operations that a backend does -- */

static int pytheus__call_decrease(const pytheus_backend *backend, void *cell, double v) {
    return backend->dec ? backend->dec(backend->user, cell, v)
                        : backend->inc(backend->user, cell, -v);
}

/* Counts first, because that can be undone exactly if the rest fails. */
static int pytheus__call_observe(const pytheus__family *family, void *const *cells, double v) {
    const pytheus_backend *backend = &family->store->backend;
    size_t n = pytheus__num_values(family);
    size_t counted =
        PYTHEUS__FIRST_BUCKET + pytheus__bucket_of(family->bounds, family->num_bounds, v);
    int err;
    if (backend->observe) {
        return backend->observe(backend->user, cells, n, counted, v);
    }
    err = backend->inc(backend->user, cells[counted], 1);
    if (!err) {
        err = backend->inc(backend->user, cells[PYTHEUS__SUM_REAL], v);
        if (err) {
            pytheus__kept kept;
            pytheus__keep_sentence(&kept);
            (void)pytheus__call_decrease(backend, cells[counted], 1);
            pytheus__return_sentence(&kept);
        }
    }
    return err;
}

static int pytheus__call_turn(const pytheus_backend *backend, void *cell, pytheus__update update,
                              double v) {
    double value = 0;
    int err = backend->get(backend->user, cell, &value);
    value = pytheus__as_double(update(pytheus__as_bits(value), v));
    return err ? err : backend->set(backend->user, cell, value);
}

static int pytheus__call_operation(const pytheus__family *family, void *const *cells,
                                   pytheus__operation operation, double v) {
    const pytheus_backend *backend = &family->store->backend;
    switch (operation) {
    case PYTHEUS__INCREASE:
        return backend->inc(backend->user, cells[0], v);
    case PYTHEUS__DECREASE:
        return pytheus__call_decrease(backend, cells[0], v);
    case PYTHEUS__SET:
        return backend->set(backend->user, cells[0], v);
    case PYTHEUS__TURN_ON:
    case PYTHEUS__TURN_OFF:
        return pytheus__call_turn(backend, cells[0], pytheus__update_of(operation), v);
    case PYTHEUS__OBSERVE:
    default:
        return pytheus__call_observe(family, cells, v);
    }
}

static pytheus_err pytheus__change_cells(pytheus_view view, pytheus__operation operation,
                                         double v) {
    pytheus__family *family = view.node->family;
    int saved_errno = errno, err;
    char before;
    if (!pytheus__enter(view)) {
        return pytheus__refuse(view, pytheus__type_of(view));
    }
    before = pytheus__before_callback();
    err = pytheus__call_operation(family, pytheus__backend_cells(view.node), operation, v);
    err = pytheus__from_backend(family, before, err, "change a value");
    pytheus__leave(view.node);
    errno = saved_errno;
    return err ? pytheus__tell(family, (pytheus_err)err) : PYTHEUS_OK;
}

static pytheus_err pytheus__zero_elsewhere(pytheus_view view) {
    pytheus__family *family = view.node->family;
    const pytheus_backend *backend = &family->store->backend;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    char before;
    if (pytheus__has_words(family->store)) {
        const pytheus_words words = pytheus__words_of(view.node);
        return pytheus__zero_words(view, &words);
    }
    if (!pytheus__enter(view)) {
        return PYTHEUS_OK;
    }
    before = pytheus__before_callback();
    for (i = 0; i < pytheus__num_values(family); i++) {
        pytheus_err each = backend->set(backend->user, pytheus__backend_cells(view.node)[i], 0);
        err = err ? err : each;
    }
    pytheus__leave(view.node);
    err = pytheus__from_backend(family, before, err, "set a value to 0");
    return err ? pytheus__tell(family, err) : PYTHEUS_OK;
}

/* -- all operations: values that a metric does not take are refused in one place; what can't go on
      in the node comes here -- */

static pytheus_err pytheus__check_value(pytheus_view view, pytheus__operation operation, double v) {
    if (operation == PYTHEUS__OBSERVE) {
        return pytheus__is_nan(v) ? pytheus__refuse_value(view, v, "an observation is a number")
                                  : PYTHEUS_OK;
    }
    if (pytheus__type_of(view) == PYTHEUS_COUNTER && !pytheus__is_amount(v)) {
        return pytheus__refuse_value(view, v, "a counter takes finite amounts from 0 up");
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__change_elsewhere(pytheus_view view, pytheus_type type,
                                             pytheus__operation operation, double v) {
    const uint64_t kind = PYTHEUS__TYPE | PYTHEUS__COMPLETE | PYTHEUS__ELSEWHERE;
    if ((view.generation & kind) != ((uint64_t)type | PYTHEUS__COMPLETE | PYTHEUS__ELSEWHERE) ||
        !pytheus__is_alive(view)) {
        return pytheus__refuse(view, type);
    }
    pytheus_err err = pytheus__check_value(view, operation, v);
    if (err) {
        return err;
    }
    if (type == PYTHEUS_COUNTER) {
        v += 0.0; /* a counter at -0 is at 0 */
    }
    return pytheus__has_words(view.node->family->store) ? pytheus__change_words(view, operation, v)
                                                        : pytheus__change_cells(view, operation, v);
}

/* -- counters -- */

/* In words that are spread, or the long way. */
PYTHEUS__OUT_OF_LINE pytheus_err pytheus__inc_elsewhere(pytheus_view view) {
    pytheus__word *words = pytheus__plain_words(view, PYTHEUS_COUNTER);
    if (!words) {
        return pytheus__change_elsewhere(view, PYTHEUS_COUNTER, PYTHEUS__INCREASE, 1);
    }
    (void)PYTHEUS__ADD(&words[PYTHEUS__COUNTER_WHOLE], (uint64_t)1);
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_counter_inc(pytheus_counter counter) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(counter.view, PYTHEUS_COUNTER))) {
        return PYTHEUS__LIKELY(
                   pytheus__add_to_words(counter.view, PYTHEUS_COUNTER, PYTHEUS__COUNTER_WHOLE, 1))
                   ? PYTHEUS_OK
                   : pytheus__inc_elsewhere(counter.view);
    }
    return pytheus__add_whole(counter.view, pytheus__own_cells(counter.view), 1, true);
}

PYTHEUS_API pytheus_err pytheus_counter_add(pytheus_counter counter, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(counter.view, PYTHEUS_COUNTER))) {
        return pytheus__change_elsewhere(counter.view, PYTHEUS_COUNTER, PYTHEUS__INCREASE, v);
    }
    if (!pytheus__is_amount(v)) {
        return pytheus__check_value(counter.view, PYTHEUS__INCREASE, v);
    }
    return pytheus__is_small_whole(v)
               ? pytheus__add_whole(counter.view, pytheus__own_cells(counter.view), (uint64_t)v,
                                    true)
               : pytheus__add_real(counter.view,
                                   &pytheus__cells(counter.view.node)[PYTHEUS__COUNTER_REAL], v);
}

/* The double takes what the integers do not say, so that one compare-and-swap sets all. */
static pytheus_err pytheus__set_counter(pytheus_view view, double v) {
    pytheus__word *cells = pytheus__cells(view.node);
    uint64_t mask = pytheus__mask(view.generation);
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(&cells[PYTHEUS__COUNTER_REAL]), rest;
    do {
        uint64_t whole = PYTHEUS__LOAD_ACQUIRE(&cells[PYTHEUS__COUNTER_WHOLE]) ^ mask;
        pytheus__add_stripes(view, &whole, 1);
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, PYTHEUS_COUNTER);
        }
        rest = pytheus__as_bits(v - (double)whole) ^ mask;
    } while (!PYTHEUS__REPLACE(&cells[PYTHEUS__COUNTER_REAL], &old, rest));
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_counter_set(pytheus_counter counter, double v) {
    if (!pytheus__is_ready(counter.view, PYTHEUS_COUNTER)) {
        return pytheus__change_elsewhere(counter.view, PYTHEUS_COUNTER, PYTHEUS__SET, v);
    }
    pytheus_err err = pytheus__check_value(counter.view, PYTHEUS__SET, v);
    return err ? err : pytheus__set_counter(counter.view, v);
}

/* -- gauges -- */

PYTHEUS_API pytheus_err pytheus_gauge_add(pytheus_gauge gauge, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(gauge.view, PYTHEUS_GAUGE))) {
        return pytheus__change_elsewhere(gauge.view, PYTHEUS_GAUGE, PYTHEUS__INCREASE, v);
    }
    return pytheus__add_real(gauge.view, pytheus__cells(gauge.view.node), v);
}

PYTHEUS_API pytheus_err pytheus_gauge_sub(pytheus_gauge gauge, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(gauge.view, PYTHEUS_GAUGE))) {
        return pytheus__change_elsewhere(gauge.view, PYTHEUS_GAUGE, PYTHEUS__DECREASE, v);
    }
    return pytheus__add_real(gauge.view, pytheus__cells(gauge.view.node), -v);
}

PYTHEUS_API pytheus_err pytheus_gauge_inc(pytheus_gauge gauge) {
    return pytheus_gauge_add(gauge, 1);
}

PYTHEUS_API pytheus_err pytheus_gauge_dec(pytheus_gauge gauge) {
    return pytheus_gauge_sub(gauge, 1);
}

PYTHEUS_API pytheus_err pytheus_gauge_set(pytheus_gauge gauge, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(gauge.view, PYTHEUS_GAUGE))) {
        return pytheus__change_elsewhere(gauge.view, PYTHEUS_GAUGE, PYTHEUS__SET, v);
    }
    return pytheus__set_real(gauge.view, PYTHEUS__GAUGE_REAL, v);
}

PYTHEUS_API pytheus_err pytheus_gauge_set_to_current_time(pytheus_gauge gauge) {
    int saved_errno = errno;
    double now = pytheus__wall_clock();
    errno = saved_errno;
    return pytheus_gauge_set(gauge, now);
}

/* -- unknowns, statesets -- */

PYTHEUS_API pytheus_err pytheus_unknown_set(pytheus_unknown unknown, double v) {
    if (!pytheus__is_ready(unknown.view, PYTHEUS_UNKNOWN)) {
        return pytheus__change_elsewhere(unknown.view, PYTHEUS_UNKNOWN, PYTHEUS__SET, v);
    }
    return pytheus__set_real(unknown.view, PYTHEUS__GAUGE_REAL, v);
}

static pytheus_err pytheus__update_real(pytheus_view view, pytheus__update update, double v) {
    pytheus__word *word = &pytheus__cells(view.node)[PYTHEUS__GAUGE_REAL];
    uint64_t mask = pytheus__mask(view.generation), old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
    } while (!PYTHEUS__REPLACE(word, &old, update(old ^ mask, v) ^ mask));
    return PYTHEUS_OK;
}

/* Which state this is; num_states: none. */
static size_t pytheus__state_named(const pytheus__family *family, const char *state) {
    size_t i = 0;
    while (state && i < family->num_states && !pytheus__mend_alike(state, family->states[i].text)) {
        i++;
    }
    return state ? i : family->num_states;
}

static pytheus_err pytheus__no_state(pytheus__family *family, const char *state) {
    char states[100];
    pytheus__enumerate(family->states, family->num_states, states, sizeof states);
    return pytheus__tell(family,
                         pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: no state \"%.60s\" (has: %s)",
                                      family->name.text, state ? state : "", states));
}

static pytheus_err pytheus__turn(pytheus_view view, pytheus__operation operation,
                                 const char *state) {
    pytheus__family *family;
    double place;
    size_t i;
    if (!view.node || pytheus__type_of(view) != PYTHEUS_STATESET) {
        return pytheus__refuse(view, PYTHEUS_STATESET);
    }
    family = view.node->family;
    i = pytheus__state_named(family, state);
    if (i == family->num_states) {
        return pytheus__no_state(family, state);
    }
    place = (double)((uint64_t)1 << i);
    return pytheus__is_ready(view, PYTHEUS_STATESET)
               ? pytheus__update_real(view, pytheus__update_of(operation), place)
               : pytheus__change_elsewhere(view, PYTHEUS_STATESET, operation, place);
}

PYTHEUS_API pytheus_err pytheus_stateset_set(pytheus_stateset stateset, const char *state,
                                             bool on) {
    return pytheus__turn(stateset.view, on ? PYTHEUS__TURN_ON : PYTHEUS__TURN_OFF, state);
}

PYTHEUS_API pytheus_err pytheus_stateset_switch(pytheus_stateset stateset, const char *state) {
    return pytheus__turn(stateset.view, PYTHEUS__SET, state);
}

/* -- histograms and summaries -- */

/* Apart, or what it takes would be saved and restored by those in memory. */
PYTHEUS__OUT_OF_LINE pytheus_err pytheus__observe_elsewhere(pytheus_view view, pytheus_type type,
                                                            double v) {
    pytheus__word *words = pytheus__plain_words(view, type);
    if (!PYTHEUS__LIKELY(words && !pytheus__is_nan(v))) {
        return pytheus__change_elsewhere(view, type, PYTHEUS__OBSERVE, v);
    }
    pytheus__observe_in_words(view.node->family, words, v);
    return PYTHEUS_OK;
}

/* In a node that may be used again, or whose series is spread. */
PYTHEUS__OUT_OF_LINE pytheus_err pytheus__observe_slowly(pytheus_view view, double v) {
    const pytheus__family *family = view.node->family;
    pytheus__word *cells;
    size_t bucket;
    pytheus_err err;
    if (pytheus__is_nan(v)) {
        return pytheus__check_value(view, PYTHEUS__OBSERVE, v);
    }
    cells = pytheus__own_cells(view);
    bucket = pytheus__bucket_of(family->bounds, family->num_bounds, v);
    err = pytheus__add_whole(view, &cells[PYTHEUS__FIRST_BUCKET + bucket], 1, false);
    return err ? err : pytheus__add_real(view, &cells[PYTHEUS__SUM_REAL], v);
}

PYTHEUS__HOT pytheus_err pytheus__observe(pytheus_view view, pytheus_type type, double v) {
    const pytheus__family *family;
    pytheus__word *cells;
    size_t bucket;
    if (!PYTHEUS__LIKELY(pytheus__is_ready(view, type))) {
        return pytheus__observe_elsewhere(view, type, v);
    }
    if (!PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE) &&
                         !PYTHEUS__LOAD_ACQUIRE(&view.node->stripes) && !pytheus__is_nan(v))) {
        return pytheus__observe_slowly(view, v);
    }
    family = view.node->family;
    cells = pytheus__cells(view.node);
    bucket = pytheus__bucket_of(family->bounds, family->num_bounds, v);
    (void)pytheus__add_whole(view, &cells[PYTHEUS__FIRST_BUCKET + bucket], 1, false);
    return pytheus__add_real(view, &cells[PYTHEUS__SUM_REAL], v);
}

PYTHEUS_API pytheus_err pytheus_histogram_observe(pytheus_histogram histogram, double v) {
    return pytheus__observe(histogram.view, PYTHEUS_HISTOGRAM, v);
}

PYTHEUS_API pytheus_err pytheus_summary_observe(pytheus_summary summary, double v) {
    return pytheus__observe(summary.view, PYTHEUS_SUMMARY, v);
}

/* -- exemplars -- */

/* The labels of an exemplar as they are put together. */
typedef struct pytheus__exemplar_text {
    char bytes[PYTHEUS__EXEMPLAR_WORDS * 8];
    size_t size;
    size_t num_characters;
} pytheus__exemplar_text;

/* Adds a string, mended, with its NUL; false: too long. */
static bool pytheus__exemplar_add(pytheus__exemplar_text *text, const char *string) {
    while (*string) {
        pytheus__piece character = pytheus__next_mended(&string);
        if (++text->num_characters > PYTHEUS__EXEMPLAR_CHARACTERS) {
            return false;
        }
        memcpy(text->bytes + text->size, character.text, character.size);
        text->size += character.size;
    }
    text->bytes[text->size++] = '\0';
    return true;
}

static pytheus_err pytheus__refuse_exemplar(pytheus_view view, const char *what,
                                            const char *label) {
    pytheus__family *family = view.node->family;
    return pytheus__tell(family,
                         pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: an exemplar's label %s%.60s",
                                      family->name.text, what, label));
}

static pytheus_err pytheus__exemplar_pack(pytheus_view view, const char *const *pairs,
                                          size_t num_strings, pytheus__exemplar_text *text) {
    size_t i, earlier;
    text->size = text->num_characters = 0;
    if (num_strings % 2 || num_strings > 2 * PYTHEUS_MAX_LABELS || (num_strings && !pairs)) {
        return pytheus__refuse_exemplar(view, "strings come in name, value pairs, 16 at most", "");
    }
    for (i = 0; i < num_strings; i += 2) {
        const char *name = pairs[i];
        if (!name || !pairs[i + 1] || !pytheus__is_name(name, false) ||
            pytheus__starts_with(name, "__")) {
            return pytheus__refuse_exemplar(view, "is not valid: ", name ? name : "NULL");
        }
        for (earlier = 0; earlier < i; earlier += 2) {
            if (strcmp(pairs[earlier], name) == 0) {
                return pytheus__refuse_exemplar(view, "is there twice: ", name);
            }
        }
        if (!pytheus__exemplar_add(text, name) || !pytheus__exemplar_add(text, pairs[i + 1])) {
            return pytheus__refuse_exemplar(view, "strings are longer than 128 characters", "");
        }
    }
    return PYTHEUS_OK;
}

/* NULL: no memory, or the series was removed meanwhile. */
static pytheus__exemplar *pytheus__exemplar_make(pytheus_view view, size_t bucket) {
    pytheus_registry *registry = view.node->family->registry;
    pytheus__exemplar *exemplar = NULL;
    pytheus__acquire(&registry->lock);
    if (pytheus__is_alive(view)) {
        exemplar = pytheus__exemplar_at(view.node, bucket);
        exemplar = exemplar ? exemplar : pytheus__exemplar_new(view.node, bucket);
    }
    pytheus__release(&registry->lock);
    return exemplar;
}

/* Keeps an example of what was counted. */
static pytheus_err pytheus__exemplify(pytheus_view view, size_t bucket, double v,
                                      const char *const *pairs, size_t num_strings) {
    pytheus__family *family = view.node->family;
    int saved_errno = errno;
    pytheus__exemplar_text text;
    pytheus__exemplar draft, *exemplar;
    pytheus_err err = pytheus__exemplar_pack(view, pairs, num_strings, &text);
    if (err) {
        return err;
    }
    exemplar = pytheus__exemplar_at(view.node, bucket);
    exemplar = exemplar ? exemplar : pytheus__exemplar_make(view, bucket);
    if (!exemplar) {
        err = pytheus__is_alive(view) ? pytheus__out_of_memory(family->name.text)
                                      : pytheus__refusal(view, family->type);
        errno = saved_errno;
        return pytheus__tell(family, err);
    }
    draft.generation = view.generation;
    draft.value = pytheus__as_bits(v);
    draft.time = pytheus__as_bits(pytheus__wall_clock());
    draft.size = text.size;
    memcpy(draft.text, text.bytes, text.size);
    pytheus__exemplar_write(exemplar, &draft);
    errno = saved_errno;
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_counter_add_with(pytheus_counter counter, double v,
                                                 const char *const *pairs, size_t num_strings) {
    pytheus_err err = pytheus_counter_add(counter, v);
    return err ? err : pytheus__exemplify(counter.view, 0, v, pairs, num_strings);
}

PYTHEUS_API pytheus_err pytheus_histogram_observe_with(pytheus_histogram histogram, double v,
                                                       const char *const *pairs,
                                                       size_t num_strings) {
    pytheus_err err = pytheus_histogram_observe(histogram, v);
    if (err) {
        return err;
    }
    const pytheus__family *family = histogram.view.node->family;
    return pytheus__exemplify(histogram.view,
                              pytheus__bucket_of(family->bounds, family->num_bounds, v), v, pairs,
                              num_strings);
}

/* -- reading -- */

/* The first n cells of one life in memory, without their mask; false: it has ended. */
PYTHEUS__HOT bool pytheus__read_cells(pytheus_view view, uint64_t *values, size_t n) {
    uint64_t mask = pytheus__mask(view.generation);
    size_t i;
    if (view.generation & PYTHEUS__ELSEWHERE) {
        const pytheus_words words = pytheus__words_of(view.node);
        return pytheus__read_words(view, &words, values, n);
    }
    for (i = 0; i < n; i++) {
        values[i] = PYTHEUS__LOAD_ACQUIRE(&pytheus__cells(view.node)[i]) ^ mask;
    }
    pytheus__add_stripes(view, values, n);
    return pytheus__is_alive(view);
}

/* What one number says of a series: its value, or its sum. */
static double pytheus__value_of(pytheus_type type, const uint64_t *values) {
    return type == PYTHEUS_COUNTER ? (double)values[PYTHEUS__COUNTER_WHOLE] +
                                         pytheus__as_double(values[PYTHEUS__COUNTER_REAL])
           : type == PYTHEUS_INFO ? 1
                                  : pytheus__as_double(values[0]);
}

/* Puts a backend's value in the place and form that it has in a node. */
static pytheus_err pytheus__accept_value(const pytheus__family *family, double v, size_t i,
                                         uint64_t *values) {
    const double most = 18446744073709549568.0; /* of an integer */
    char number[PYTHEUS__NUMBER_SIZE + 1];
    if (family->type == PYTHEUS_COUNTER) {
        values[PYTHEUS__COUNTER_WHOLE] = 0;
        i = PYTHEUS__COUNTER_REAL;
    }
    if (pytheus__is_real(family->type) ||
        (family->type >= PYTHEUS_HISTOGRAM && i == PYTHEUS__SUM_REAL) ||
        (family->type == PYTHEUS_COUNTER && pytheus__is_total(v))) {
        values[i] = pytheus__as_bits(v);
        return PYTHEUS_OK;
    }
    if (!pytheus__is_amount(v) || v > most) {
        *pytheus__put_double(number, v) = '\0';
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: the backend \"%.30s\" gave %s as a count",
                            family->name.text, family->store->backend.name, number);
    }
    values[i] = (uint64_t)v;
    return PYTHEUS_OK;
}

/* The first n values of a view that was entered, from its backend. */
static pytheus_err pytheus__get_values(pytheus__node *node, uint64_t *values, size_t n) {
    const pytheus__family *family = node->family;
    const pytheus_backend *backend = &family->store->backend;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; !err && i < n; i++) {
        char before = pytheus__before_callback();
        double v = 0;
        err = backend->get(backend->user, pytheus__backend_cells(node)[i], &v);
        err = pytheus__from_backend(family, before, err, "read a value");
        err = err ? err : pytheus__accept_value(family, v, i, values);
    }
    return err;
}

/* The cells of a series, or only what pytheus__value_of needs, wherever they are. */
static pytheus_err pytheus__read_series(pytheus_view view, uint64_t *values, bool all) {
    pytheus__family *family = view.node->family;
    pytheus_err err;
    if (view.generation & PYTHEUS__ELSEWHERE && !pytheus__has_words(family->store)) {
        if (!pytheus__enter(view)) {
            return pytheus__refusal(view, family->type);
        }
        err = pytheus__get_values(view.node, values, all ? pytheus__num_values(family) : 1);
        pytheus__leave(view.node);
        return err;
    }
    return pytheus__read_cells(view, values,
                               all                               ? family->num_cells
                               : family->type == PYTHEUS_COUNTER ? 2
                                                                 : 1)
               ? PYTHEUS_OK
               : pytheus__refusal(view, family->type);
}

/* A copy of the function that tells the value of a series; call is NULL where there is none. */
static pytheus__function pytheus__copy_function(pytheus_view view) {
    pytheus__function copy = {0, NULL, NULL};
    pytheus__family *family = view.node->family;
    if (PYTHEUS__LOAD(&family->num_functions)) {
        const pytheus__function *function;
        pytheus__acquire(&family->registry->lock);
        function =
            pytheus__is_alive(view) ? pytheus__function_of(family, view.node->link.serial) : NULL;
        copy = function ? *function : copy;
        pytheus__release(&family->registry->lock);
    }
    return copy;
}

/* What a function tells, as it would be in the node. A counter's may be no value. */
static pytheus_err pytheus__call_function(const pytheus__function *function, pytheus_view view,
                                          uint64_t *values) {
    double v = function->call(function->user);
    size_t i = pytheus__type_of(view) == PYTHEUS_COUNTER ? PYTHEUS__COUNTER_REAL : 0;
    values[0] = 0;
    values[i] = pytheus__as_bits(v);
    return pytheus__check_value(view, PYTHEUS__SET, v);
}

PYTHEUS_API pytheus_err pytheus_view_get(pytheus_view view, double *value) {
    uint64_t values[2] = {0, 0};
    pytheus_type type = pytheus__type_of(view);
    pytheus__function function;
    pytheus_err err;
    if (!view.node || !(view.generation & PYTHEUS__COMPLETE) || !pytheus__is_alive(view)) {
        return pytheus__refuse(view, type);
    }
    if (type == PYTHEUS_STATESET) {
        return pytheus__refuse(view, PYTHEUS_GAUGE);
    }
    function = pytheus__copy_function(view);
    if (function.call) {
        err = pytheus__call_function(&function, view, values);
    } else {
        int saved_errno = errno;
        err = pytheus__read_series(view, values, false);
        errno = saved_errno;
        err = err ? pytheus__tell(view.node->family, err) : err;
    }
    if (!err && value) {
        *value = pytheus__value_of(type, values);
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_view_words(pytheus_view view, const pytheus_backend **backend,
                                           pytheus_words *words) {
    pytheus_type type = pytheus__type_of(view);
    if (!view.node || !(view.generation & PYTHEUS__COMPLETE) || !pytheus__is_alive(view)) {
        return pytheus__refuse(view, type);
    }
    if (!(view.generation & PYTHEUS__WORDS)) {
        return pytheus_fail(PYTHEUS_ERR_TYPE, "%.100s: no words of a backend",
                            view.node->family->name.text);
    }
    *words = pytheus__words_of(view.node);
    *backend = &view.node->family->store->backend;
    return pytheus__is_there_still(view, words) ? PYTHEUS_OK : pytheus__refuse(view, type);
}

/* -- functions -- */

typedef struct pytheus__function_change {
    pytheus__family *family;
    pytheus__function function;
} pytheus__function_change;

static void pytheus__insert_function(void *argument) {
    pytheus__function_change *change = (pytheus__function_change *)argument;
    pytheus__family *family = change->family;
    size_t place = pytheus__function_place(family, change->function.serial);
    size_t n = stbds_arrlenu(family->functions);
    stbds_arrput(family->functions, change->function);
    memmove(family->functions + place + 1, family->functions + place,
            (n - place) * sizeof *family->functions);
    family->functions[place] = change->function;
    PYTHEUS__STORE(&family->num_functions, family->num_functions + 1);
}

/* Under the lock; false: no memory. */
static bool pytheus__change_function(pytheus__function_change *change) {
    pytheus__family *family = change->family;
    pytheus__function *old = pytheus__function_of(family, change->function.serial);
    if (!change->function.call) {
        pytheus__forget_function(family, change->function.serial);
        return true;
    }
    if (old) {
        *old = change->function;
        return true;
    }
    return pytheus__try(family->registry, pytheus__insert_function, change);
}

static pytheus_err pytheus__set_function(pytheus_view view, pytheus_type type,
                                         double (*call)(void *user), void *user) {
    pytheus__function_change change;
    bool alive, done = true;
    if (!view.node || pytheus__type_of(view) != type || !(view.generation & PYTHEUS__COMPLETE)) {
        return pytheus__refuse(view, type);
    }
    change.family = view.node->family;
    if (change.family->store && !pytheus__has_words(change.family->store) &&
        change.family->store->backend.generate) {
        return pytheus__tell(change.family,
                             pytheus_fail(PYTHEUS_ERR_BACKEND,
                                          "%.100s: no function, because the backend \"%.30s\" "
                                          "writes the samples",
                                          change.family->name.text,
                                          change.family->store->backend.name));
    }
    change.function.call = call;
    change.function.user = user;
    pytheus__acquire(&change.family->registry->lock);
    alive = pytheus__is_alive(view);
    if (alive) {
        change.function.serial = view.node->link.serial;
        done = pytheus__change_function(&change);
    }
    pytheus__release(&change.family->registry->lock);
    if (!alive) {
        return pytheus__refuse(view, type);
    }
    return done ? PYTHEUS_OK
                : pytheus__tell(change.family, pytheus__out_of_memory(change.family->name.text));
}

PYTHEUS_API pytheus_err pytheus_gauge_set_function(pytheus_gauge gauge, double (*fn)(void *user),
                                                   void *user) {
    return pytheus__set_function(gauge.view, PYTHEUS_GAUGE, fn, user);
}

PYTHEUS_API pytheus_err pytheus_counter_set_function(pytheus_counter counter,
                                                     double (*fn)(void *user), void *user) {
    return pytheus__set_function(counter.view, PYTHEUS_COUNTER, fn, user);
}

/* ==== TIMERS ==== */

static double pytheus__now(const pytheus_registry *registry) {
    if (registry && registry->clock) {
        return registry->clock(registry->clock_user);
    }
    int saved_errno = errno;
    double now = pytheus__monotonic();
    errno = saved_errno;
    return now;
}

PYTHEUS_API pytheus_timer pytheus_timer_start(pytheus_view view) {
    pytheus_timer timer;
    timer.view = view;
    timer.registry = view.node ? view.node->family->registry : NULL;
    timer.seconds = 0;
    timer.running = true;
    timer.start = pytheus__now(timer.registry);
    return timer;
}

static void pytheus__observe_seconds(pytheus_view view, double seconds) {
    switch (pytheus__type_of(view)) {
    case PYTHEUS_GAUGE: {
        pytheus_gauge gauge;
        gauge.view = view;
        (void)pytheus_gauge_set(gauge, seconds);
        break;
    }
    case PYTHEUS_SUMMARY:
        (void)pytheus__observe(view, PYTHEUS_SUMMARY, seconds);
        break;
    case PYTHEUS_HISTOGRAM:
    case PYTHEUS_COUNTER:
    default:
        (void)pytheus__observe(view, PYTHEUS_HISTOGRAM, seconds);
        break;
    }
}

PYTHEUS_API double pytheus_timer_stop(pytheus_timer *timer) {
    if (timer->running) {
        double seconds = pytheus__now(timer->registry) - timer->start;
        timer->running = false;
        timer->seconds = seconds > 0 ? seconds : 0;
        pytheus__observe_seconds(timer->view, timer->seconds);
    }
    return timer->seconds;
}

PYTHEUS_API void pytheus_timer_cancel(pytheus_timer *timer) {
    timer->running = false;
}

PYTHEUS_API void pytheus_timer_to(pytheus_timer *timer, pytheus_view view) {
    timer->view = view;
}

PYTHEUS_API pytheus__time_scope_data pytheus__time_begin(pytheus_view view) {
    pytheus__time_scope_data scope;
    scope.timer = pytheus_timer_start(view);
    scope.open = true;
    return scope;
}

PYTHEUS_API void pytheus__time_end(pytheus__time_scope_data *scope) {
    (void)pytheus_timer_stop(&scope->timer);
}

PYTHEUS_API pytheus__progress_data pytheus__progress_begin(pytheus_gauge gauge) {
    pytheus__progress_data scope;
    scope.gauge = gauge;
    scope.counted = pytheus_gauge_inc(gauge) == PYTHEUS_OK;
    scope.open = true;
    return scope;
}

PYTHEUS_API void pytheus__progress_end(pytheus__progress_data *scope) {
    if (scope->counted) {
        scope->counted = false;
        (void)pytheus_gauge_dec(scope->gauge);
    }
}

PYTHEUS_API int pytheus__error_number(void) {
    return errno;
}

/* Counts if the first number is among the others. */
PYTHEUS_API void pytheus__count_errno(pytheus_counter counter, const int *numbers, size_t n) {
    size_t i;
    for (i = 1; i < n; i++) {
        if (numbers[i] == numbers[0]) {
            (void)pytheus_counter_inc(counter);
            return;
        }
    }
}

PYTHEUS_API long long pytheus_count_int(pytheus_counter counter, long long v) {
    if (v < 0) {
        (void)pytheus_counter_inc(counter);
    }
    return v;
}

PYTHEUS_API void *pytheus_count_ptr(pytheus_counter counter, void *p) {
    if (!p) {
        (void)pytheus_counter_inc(counter);
    }
    return p;
}

/* ==== TEXT WRITER ==== */

enum { PYTHEUS__CHUNK_SIZE = 65536, PYTHEUS__BATCH = 64 };

/* The series of a metric whose values a backend keeps: read before the page begins, and entered
   until it ends, so that their labels stay. */
typedef struct pytheus__snapshot {
    struct pytheus__snapshot *next;
    pytheus__family *family;
    size_t size; /* of all, with what follows it: */
    size_t num_series;
    pytheus__node **nodes; /* NULL: left out */
    uint64_t *values;      /* num_cells each */
} pytheus__snapshot;

/* What a backend generated for a metric: the lines of its samples. */
typedef struct pytheus__generated {
    struct pytheus__generated *next;
    const pytheus__family *family; /* NULL: the registry has no such metric; the header is here */
    char *text;
    size_t used, capacity;
} pytheus__generated;

typedef struct pytheus__generated_entry {
    uint64_t key; /* the family */
    pytheus__generated *value;
} pytheus__generated_entry;

/* One page being written. The lock is held for a batch of nodes at a time, which are rendered into
   the buffer; the sink runs without it. */
typedef struct pytheus__writer {
    pytheus_registry *registry;
    pytheus_format format;
    bool is_partial;        /* with what is wanted alone, */
    pytheus__hashes wanted; /* names of metrics or samples */
    const pytheus_sink *sink;
    pytheus_err err; /* once set, nothing more is written */
    bool is_told;    /* to the logger */
    char *buffer;
    size_t used;
    uint64_t last_entry; /* when the page was begun, and the serial of the youngest node: what is */
    uint64_t youngest;   /* made later is not on it, or a series made again would be there twice */
    pytheus__piece name; /* of the samples of the metric that is being written, here */
    pytheus__piece family_name;    /* and its own */
    pytheus_view series;           /* that is being written, */
    pytheus__exemplar **exemplars; /* its exemplars, where the format has them; or NULL, */
    double created;                /* and when it began */
    uint64_t *values;
    size_t num_values;
    char *long_text; /* label text of one series, when its lines do not fit in the buffer */
    size_t long_text_size;
    char *draft; /* one line or text that does not */
    size_t draft_size;
    char *name_text; /* of a metric that is called otherwise in its own registry */
    size_t name_text_size;
    pytheus__function function;   /* of that series; call is NULL: its values are there */
    pytheus__snapshot *snapshots; /* in the order of the entries */
    pytheus__snapshot **last_snapshot;
    const pytheus__snapshot *next_snapshot; /* those before it are written, or no longer wanted */
    pytheus__generated *generated;
    pytheus__generated **last_generated;
    pytheus__generated_entry *by_family; /* stb_ds map: those of metrics */
    bool has_collectors;
    bool saw_removed;        /* a series whose words somebody else has removed */
    pytheus__hashes emitted; /* names on the page, if there are collectors */
} pytheus__writer;

/* Where in a family's list of nodes the page has got to. */
typedef struct pytheus__cursor {
    size_t place;
    uint64_t serial; /* of the last node that was passed */
    uint64_t compactions;
} pytheus__cursor;

static pytheus_err pytheus__put_to_sink(const pytheus_sink *sink, const char *bytes, size_t size) {
    char first = pytheus__before_callback();
    pytheus_err err = sink->put(sink->user, bytes, size);
    return pytheus__after_callback(first, err, PYTHEUS_ERR_IO, "page", "the sink failed");
}

static void pytheus__flush(pytheus__writer *writer) {
    if (!writer->err && writer->used) {
        writer->err = pytheus__put_to_sink(writer->sink, writer->buffer, writer->used);
    }
    writer->used = 0;
}

static void pytheus__put_in_parts(pytheus__writer *writer, const char *bytes, size_t size) {
    while (size) {
        size_t room = PYTHEUS__CHUNK_SIZE - writer->used, part = size < room ? size : room;
        memcpy(writer->buffer + writer->used, bytes, part);
        writer->used += part;
        bytes += part;
        size -= part;
        if (size) {
            pytheus__flush(writer);
        }
    }
}

/* Never called with the lock held unless it is known to fit. */
static inline void pytheus__put(pytheus__writer *writer, const char *bytes, size_t size) {
    if (PYTHEUS__LIKELY(size <= PYTHEUS__CHUNK_SIZE - writer->used)) {
        memcpy(writer->buffer + writer->used, bytes, size);
        writer->used += size;
    } else {
        pytheus__put_in_parts(writer, bytes, size);
    }
}

static void pytheus__put_piece(pytheus__writer *writer, pytheus__piece piece) {
    pytheus__put(writer, piece.text, piece.size);
}

/* Room for a text that is put together without the lock, or copied under it. */
static bool pytheus__reserve_text(pytheus__writer *writer, char **text, size_t *text_size,
                                  size_t size) {
    if (size > *text_size) {
        char *place =
            (char *)pytheus__resize(&writer->registry->allocator, *text, *text_size, size);
        if (!place) {
            writer->err = pytheus__out_of_memory("page");
            return false;
        }
        *text = place;
        *text_size = size;
    }
    return true;
}

/* Where a text of this size can be put together, to be written by pytheus__put_draft; NULL: no
   memory. Never called with the lock held unless it is known to fit. */
PYTHEUS__HOT char *pytheus__draft(pytheus__writer *writer, size_t size) {
    if (PYTHEUS__LIKELY(size <= PYTHEUS__CHUNK_SIZE - writer->used)) {
        return writer->buffer + writer->used;
    }
    pytheus__flush(writer);
    if (size <= PYTHEUS__CHUNK_SIZE) {
        return writer->buffer;
    }
    return pytheus__reserve_text(writer, &writer->draft, &writer->draft_size, size) ? writer->draft
                                                                                    : NULL;
}

PYTHEUS__HOT void pytheus__put_draft(pytheus__writer *writer, const char *draft, size_t size) {
    if (PYTHEUS__LIKELY(draft == writer->buffer + writer->used)) {
        writer->used += size;
    } else {
        pytheus__put(writer, draft, size);
    }
}

/* -- lines of series -- */

/* What a line takes besides its name and labels: a suffix, the bound of a bucket and a number, with
   what pytheus__append and the number formatter write behind their end. */
enum { PYTHEUS__REST_OF_LINE = 2 * PYTHEUS__NUMBER_SIZE + 40 };

/* Copies words, two at a time, because pieces are too short for a call of memcpy. */
PYTHEUS__HOT char *pytheus__append(char *out, const char *text, size_t size) {
    size_t i;
    for (i = 0; i + 8 < size; i += 16) {
        memcpy(out + i, text + i, 16);
    }
    if (i < size) {
        memcpy(out + i, text + i, 8);
    }
    return out + size;
}

PYTHEUS__HOT char *pytheus__append_piece(char *out, pytheus__piece piece) {
    return pytheus__append(out, piece.text, piece.size);
}

PYTHEUS__HOT char *pytheus__append_count(char *out, uint64_t n) {
    const uint64_t exact = (uint64_t)1 << 53;
    return n <= exact ? pytheus__put_integer(out, n) : pytheus__put_double(out, (double)n);
}

static const char pytheus__bucket_suffix[PYTHEUS__WORD_BEHIND] = "_bucket";
static const char pytheus__sum_suffix[PYTHEUS__WORD_BEHIND] = "_sum";
static const char pytheus__count_suffix[PYTHEUS__WORD_BEHIND] = "_count";

/* The beginning of a line: name_bucket{labels,le="1"} and a blank */
PYTHEUS__HOT char *pytheus__begin_line(const pytheus__writer *writer, char *out,
                                       const char suffix[PYTHEUS__WORD_BEHIND], size_t suffix_size,
                                       pytheus__piece labels, pytheus__piece end) {
    out = pytheus__append_piece(out, writer->name);
    out = pytheus__append(out, suffix, suffix_size);
    out = pytheus__append_piece(out, labels);
    return pytheus__append_piece(out, end);
}

/* In seconds, without an exponent: 1700000000.123 */
static char *pytheus__append_milliseconds(char *out, uint64_t ms) {
    unsigned place;
    out = pytheus__put_integer(out, ms / 1000);
    *out++ = '.';
    for (place = 100; place; place /= 10) {
        *out++ = (char)('0' + ms / place % 10);
    }
    return out;
}

static char *pytheus__append_time(char *out, double seconds) {
    bool fits = seconds > 0 && seconds < 1e15;
    return pytheus__append_milliseconds(out, fits ? (uint64_t)(seconds * 1000 + 0.5) : 0);
}

/* More than pytheus__append_exemplar needs: escapes can make each byte two. */
enum { PYTHEUS__EXEMPLAR_ROOM = 2 * PYTHEUS__EXEMPLAR_WORDS * 8 + 8 * PYTHEUS_MAX_LABELS + 100 };

/* A blank, # {trace_id="abc"} 0.5 1700000000.123 */
static char *pytheus__append_exemplar(char *out, const pytheus__exemplar *exemplar) {
    const char *at = (const char *)exemplar->text, *end = at + exemplar->size;
    pytheus__text text;
    text.at = out;
    text.size = 0;
    pytheus__add_string(&text, " # {");
    while (at < end) {
        pytheus__add_string(&text, at == (const char *)exemplar->text ? "" : "\",");
        pytheus__add_string(&text, at);
        pytheus__add_string(&text, "=\"");
        at += strlen(at) + 1;
        pytheus__add_escaped(&text, at, strlen(at), true);
        at += strlen(at) + 1;
    }
    pytheus__add_string(&text, exemplar->size ? "\"} " : "} ");
    out = pytheus__put_double(out + text.size, pytheus__as_double(exemplar->value));
    *out++ = ' ';
    return pytheus__append_time(out, pytheus__as_double(exemplar->time));
}

static bool pytheus__find_exemplar(const pytheus__writer *writer, size_t bucket,
                                   pytheus__exemplar *copy) {
    pytheus__exemplar *exemplar =
        writer->exemplars ? PYTHEUS__LOAD_ACQUIRE(&writer->exemplars[bucket]) : NULL;
    return exemplar && writer->series.generation && /* an exemplar not yet written has none, too */
           pytheus__exemplar_read(exemplar, writer->series.generation, copy);
}

PYTHEUS__HOT void pytheus__end_number(pytheus__writer *writer, const char *draft, char *end) {
    *end++ = '\n';
    pytheus__put_draft(writer, draft, (size_t)(end - draft));
}

/* With the exemplar of that bucket. */
static void pytheus__end_count(pytheus__writer *writer, const char *draft, char *end,
                               size_t bucket) {
    pytheus__exemplar exemplar;
    if (pytheus__find_exemplar(writer, bucket, &exemplar)) {
        end = pytheus__append_exemplar(end, &exemplar);
    }
    pytheus__end_number(writer, draft, end);
}

/* The most that a line of the series takes. */
PYTHEUS__HOT size_t pytheus__line_size(const pytheus__writer *writer, size_t text_size) {
    return writer->name.size + text_size + PYTHEUS__REST_OF_LINE +
           (writer->exemplars ? PYTHEUS__EXEMPLAR_ROOM : 0);
}

static void pytheus__put_count_line(pytheus__writer *writer,
                                    const char suffix[PYTHEUS__WORD_BEHIND], size_t suffix_size,
                                    pytheus__piece labels, pytheus__piece end, uint64_t n) {
    char *draft = pytheus__draft(writer, pytheus__line_size(writer, labels.size));
    if (draft) {
        char *out = pytheus__begin_line(writer, draft, suffix, suffix_size, labels, end);
        pytheus__end_number(writer, draft, pytheus__append_count(out, n));
    }
}

/* The line of a bucket. */
static void pytheus__put_bucket(pytheus__writer *writer, const pytheus__family *family,
                                pytheus__piece labels, size_t bucket, uint64_t n) {
    bool is_text = writer->format == PYTHEUS_TEXT;
    pytheus__piece end = family->bucket_ends[bucket + (is_text ? 0 : family->num_bounds + 1)];
    char *draft = pytheus__draft(writer, pytheus__line_size(writer, labels.size));
    if (draft) {
        char *out = pytheus__begin_line(writer, draft, pytheus__bucket_suffix, 7, labels, end);
        pytheus__end_count(writer, draft, pytheus__append_count(out, n), bucket);
    }
}

static void pytheus__put_real_line(pytheus__writer *writer, const char suffix[PYTHEUS__WORD_BEHIND],
                                   size_t suffix_size, pytheus__piece labels, pytheus__piece end,
                                   double v) {
    char *draft = pytheus__draft(writer, pytheus__line_size(writer, labels.size));
    if (draft) {
        char *out = pytheus__begin_line(writer, draft, suffix, suffix_size, labels, end);
        pytheus__end_number(writer, draft, pytheus__put_double(out, v));
    }
}

/* When the series began, where its metric tells. */
static void pytheus__put_created(pytheus__writer *writer, const pytheus__family *family,
                                 pytheus__piece labels, pytheus__piece end) {
    static const char suffix[2 * PYTHEUS__WORD_BEHIND] = "_created";
    char *draft, *out;
    if (writer->format == PYTHEUS_TEXT || !family->created_at) {
        return;
    }
    draft = pytheus__draft(writer, pytheus__line_size(writer, labels.size));
    if (draft) {
        out = pytheus__append_piece(draft, writer->family_name);
        out = pytheus__append(out, suffix, 8);
        out = pytheus__append_piece(out, labels);
        out = pytheus__append_piece(out, end);
        pytheus__end_number(writer, draft, pytheus__append_time(out, writer->created));
    }
}

/* Whether the sum can be on the page: OpenMetrics has none that may fall, or is not a number. */
static bool pytheus__shows_sum(const pytheus__writer *writer, const pytheus__family *family,
                               double sum) {
    return writer->format == PYTHEUS_TEXT ||
           (sum >= 0 && (!family->num_bounds || family->bounds[0] >= 0));
}

/* _count is summed from the buckets, never kept apart: it must equal le="+Inf" even when an
   observation lands in the middle of it. */
static void pytheus__put_distribution(pytheus__writer *writer, const pytheus__family *family,
                                      pytheus__piece labels, const uint64_t *values) {
    const uint64_t *buckets = values + PYTHEUS__FIRST_BUCKET;
    double sum = pytheus__as_double(values[PYTHEUS__SUM_REAL]);
    bool shows_sum = pytheus__shows_sum(writer, family, sum);
    uint64_t count = 0;
    size_t i;
    for (i = 0; i <= family->num_bounds; i++) {
        count += buckets[i];
        if (family->type == PYTHEUS_HISTOGRAM) {
            pytheus__put_bucket(writer, family, labels, i, count);
        }
    }
    if (shows_sum) {
        pytheus__put_real_line(writer, pytheus__sum_suffix, 4, labels, family->sum_end, sum);
    }
    if (shows_sum || family->type == PYTHEUS_SUMMARY) { /* a histogram has both or none */
        pytheus__put_count_line(writer, pytheus__count_suffix, 6, labels, family->sum_end, count);
    }
    pytheus__put_created(writer, family, labels, family->sum_end);
}

static void pytheus__put_counter(pytheus__writer *writer, const pytheus__family *family,
                                 pytheus__piece labels, const uint64_t *values) {
    const pytheus__piece nothing = {NULL, 0};
    char *draft = pytheus__draft(writer, pytheus__line_size(writer, labels.size));
    if (draft) {
        char *out = pytheus__begin_line(writer, draft, NULL, 0, labels, nothing);
        out = values[PYTHEUS__COUNTER_REAL] == 0 /* the bits of 0.0: a whole number so far */
                  ? pytheus__append_count(out, values[PYTHEUS__COUNTER_WHOLE])
                  : pytheus__put_double(out, pytheus__value_of(PYTHEUS_COUNTER, values));
        pytheus__end_count(writer, draft, out, 0);
    }
    pytheus__put_created(writer, family, labels, nothing);
}

/* The most that the line of a state takes. */
static size_t pytheus__state_size(const pytheus__writer *writer, pytheus__piece labels,
                                  pytheus__piece end) {
    return 2 * writer->name.size + labels.size + end.size + PYTHEUS__REST_OF_LINE;
}

/* A line for each state, with the metric's name as the label. */
static void pytheus__put_states(pytheus__writer *writer, const pytheus__family *family,
                                pytheus__piece labels, const uint64_t *values) {
    static const char open[PYTHEUS__WORD_BEHIND] = "{", more[PYTHEUS__WORD_BEHIND] = ",";
    uint64_t states = pytheus__states_in(pytheus__as_double(values[PYTHEUS__GAUGE_REAL]));
    size_t i;
    for (i = 0; i < family->num_states; i++) {
        pytheus__piece end = family->bucket_ends[i];
        char *draft = pytheus__draft(writer, pytheus__state_size(writer, labels, end)), *out;
        if (draft) {
            out = pytheus__append_piece(draft, writer->name);
            out = pytheus__append_piece(out, labels);
            out = pytheus__append(out, labels.size ? more : open, 1);
            out = pytheus__append_piece(out, writer->name);
            out = pytheus__append_piece(out, end);
            *out++ = (char)('0' + (states >> i & 1));
            pytheus__end_number(writer, draft, out);
        }
    }
}

PYTHEUS__HOT void pytheus__put_series(pytheus__writer *writer, const pytheus__family *family,
                                      pytheus__piece labels, const uint64_t *values) {
    const pytheus__piece nothing = {NULL, 0};
    if (family->type >= PYTHEUS_HISTOGRAM) {
        pytheus__put_distribution(writer, family, labels, values);
    } else if (family->type == PYTHEUS_COUNTER) {
        pytheus__put_counter(writer, family, labels, values);
    } else if (family->type == PYTHEUS_STATESET) {
        pytheus__put_states(writer, family, labels, values);
    } else {
        pytheus__put_real_line(writer, NULL, 0, labels, nothing,
                               pytheus__value_of(family->type, values));
    }
}

static size_t pytheus__states_size(const pytheus__writer *writer, const pytheus__family *family,
                                   size_t text_size) {
    pytheus__piece labels = {NULL, 0};
    size_t i, size = 0;
    labels.size = text_size;
    for (i = 0; i < family->num_states; i++) {
        size += pytheus__state_size(writer, labels, family->bucket_ends[i]);
    }
    return size;
}

/* The most that the lines of the series take; and what no text does, where that is more than a
   chunk. */
PYTHEUS__HOT size_t pytheus__lines_size(const pytheus__writer *writer,
                                        const pytheus__family *family, size_t text_size) {
    size_t line = pytheus__line_size(writer, text_size);
    if (family->type == PYTHEUS_STATESET) {
        return pytheus__states_size(writer, family, text_size);
    }
    if (family->type < PYTHEUS_HISTOGRAM) {
        return 2 * line;
    }
    return line <= PYTHEUS__CHUNK_SIZE && family->num_bounds <= PYTHEUS__CHUNK_SIZE
               ? line * (family->num_bounds + 4)
               : SIZE_MAX;
}

/* The series that is written next. Under the lock, or entered. */
PYTHEUS__HOT void pytheus__turn_to(pytheus__writer *writer, pytheus__node *node) {
    const pytheus__family *family = node->family;
    size_t created_at = family->created_at;
    writer->exemplars = writer->format == PYTHEUS_OPENMETRICS ? pytheus__exemplars_of(node) : NULL;
    writer->series = pytheus__make_view(node, PYTHEUS__LOAD(&node->generation));
    if (created_at) {
        writer->created = pytheus__as_double(PYTHEUS__LOAD(&pytheus__cells(node)[created_at]));
    }
}

PYTHEUS__HOT pytheus__piece pytheus__labels_of(pytheus__node *node) {
    pytheus__piece labels;
    labels.text = pytheus__text_of(node);
    labels.size = node->text_size;
    return labels;
}

/* Copies the labels of a series that is to be written without the lock. */
static bool pytheus__copy_labels(pytheus__writer *writer, pytheus__node *node) {
    size_t size = node->text_size;
    if (!pytheus__reserve_text(writer, &writer->long_text, &writer->long_text_size,
                               pytheus__text_room(size))) {
        return false;
    }
    if (size) {
        memcpy(writer->long_text, pytheus__text_of(node), size);
    }
    return true;
}

/* Where the page goes on, after other threads may have compacted the list. */
static size_t pytheus__resume(const pytheus__family *family, const pytheus__cursor *cursor) {
    size_t low = 0, high = stbds_arrlenu(family->nodes);
    if (family->compactions == cursor->compactions) {
        return cursor->place;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2, at = middle;
        while (at < high && !family->nodes[at]) {
            at++;
        }
        if (at < high && family->nodes[at]->link.serial <= cursor->serial) {
            low = at + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

enum pytheus__batch_end { PYTHEUS__MORE, PYTHEUS__NO_ROOM, PYTHEUS__APART, PYTHEUS__END };

/* A line of whole numbers, as most are: what else there may be is left to pytheus__render_node. */
PYTHEUS__HOT bool pytheus__render_whole(pytheus__writer *writer, pytheus__family *family,
                                        pytheus__node *node) {
    const uint64_t mask = pytheus__mask(node->generation), exact = (uint64_t)1 << 53;
    size_t size = writer->name.size + node->text_size + PYTHEUS__REST_OF_LINE;
    char *out = writer->buffer + writer->used;
    uint64_t whole, real;
    if (family->type != PYTHEUS_COUNTER || family->store || family->num_functions ||
        PYTHEUS__LOAD(&node->stripes) || size > PYTHEUS__CHUNK_SIZE - writer->used ||
        (writer->format == PYTHEUS_OPENMETRICS &&
         (family->created_at || pytheus__exemplars_of(node)))) {
        return false;
    }
    whole = PYTHEUS__LOAD(&pytheus__cells(node)[PYTHEUS__COUNTER_WHOLE]) ^ mask;
    real = PYTHEUS__LOAD(&pytheus__cells(node)[PYTHEUS__COUNTER_REAL]) ^ mask;
    if (real || whole > exact) {
        return false;
    }
    out = pytheus__append_piece(out, writer->name);
    out = pytheus__append(out, pytheus__text_at(family, node), node->text_size);
    out = pytheus__put_integer(out, whole);
    *out++ = '\n';
    writer->used = (size_t)(out - writer->buffer);
    return true;
}

/* Renders the series of a node that is on the page, or copies what it takes to do that without the
   lock: when its lines do not fit in the buffer, or a function is to be called. */
static enum pytheus__batch_end pytheus__render_node(pytheus__writer *writer, pytheus__node *node) {
    const pytheus__family *family = node->family;
    const pytheus__function *function = pytheus__function_of(family, node->link.serial);
    size_t size;
    bool apart;
    pytheus__turn_to(writer, node);
    size = pytheus__lines_size(writer, family, node->text_size);
    apart = function || size > PYTHEUS__CHUNK_SIZE;
    if (!apart && size > PYTHEUS__CHUNK_SIZE - writer->used) {
        return PYTHEUS__NO_ROOM;
    }
    if (!function && !pytheus__read_cells(pytheus__make_view(node, node->generation),
                                          writer->values, family->num_cells)) {
        writer->saw_removed = true;
        return PYTHEUS__MORE;
    }
    if (apart) {
        writer->function.call = NULL;
        if (function) {
            writer->function = *function;
        }
        return pytheus__copy_labels(writer, node) ? PYTHEUS__APART : PYTHEUS__END;
    }
    pytheus__put_series(writer, family, pytheus__labels_of(node), writer->values);
    return PYTHEUS__MORE;
}

/* A series that a batch stopped at. */
typedef struct pytheus__apart {
    pytheus_view view;
    size_t text_size;
} pytheus__apart;

/* Renders some nodes, under the lock. */
static enum pytheus__batch_end pytheus__render_batch(pytheus__writer *writer,
                                                     pytheus__family *family,
                                                     pytheus__cursor *cursor,
                                                     pytheus__apart *apart) {
    size_t visited, n = stbds_arrlenu(family->nodes);
    enum pytheus__batch_end end = PYTHEUS__MORE;
    if (pytheus__arena_reserve(family->registry, pytheus__stripes_missing(family))) {
        pytheus__refill_stripes(family);
    }
    cursor->place = pytheus__resume(family, cursor);
    cursor->compactions = family->compactions;
    for (visited = 0; end == PYTHEUS__MORE && visited < PYTHEUS__BATCH; visited++) {
        pytheus__node *node = cursor->place < n ? family->nodes[cursor->place] : NULL;
        if (cursor->place >= n || (node && node->link.serial > writer->youngest)) {
            return PYTHEUS__END;
        }
        if (cursor->place + PYTHEUS__AHEAD < n) {
            pytheus__fetch(family->nodes[cursor->place + PYTHEUS__AHEAD]);
        }
        if (node && node->generation & PYTHEUS__COMPLETE &&
            !pytheus__render_whole(writer, family, node)) {
            end = pytheus__render_node(writer, node);
        }
        if (end == PYTHEUS__APART) {
            apart->view = pytheus__make_view(node, node->generation);
            apart->text_size = node->text_size;
        }
        if (end != PYTHEUS__NO_ROOM) {
            cursor->serial = node ? node->link.serial : cursor->serial;
            cursor->place++;
        }
    }
    return end;
}

/* A function's value may be none that its counter takes: then the series is left out. */
static void pytheus__write_apart(pytheus__writer *writer, const pytheus__family *family,
                                 const pytheus__apart *apart) {
    pytheus__piece labels;
    labels.text = apart->text_size ? writer->long_text : "";
    labels.size = apart->text_size;
    if (!writer->function.call ||
        !pytheus__call_function(&writer->function, apart->view, writer->values)) {
        pytheus__put_series(writer, family, labels, writer->values);
    }
}

/* Removes here, too, what somebody else has removed, so that it does not count for max_series. */
static void pytheus__bury(pytheus__family *family) {
    pytheus__removal removal = {NULL, NULL};
    size_t i;
    pytheus__acquire(&family->registry->lock);
    for (i = 0; i < stbds_arrlenu(family->nodes); i++) {
        pytheus__node *node = family->nodes[i];
        if (node && !pytheus__is_permanent(node) &&
            !pytheus__is_there(pytheus__make_view(node, node->generation))) {
            pytheus__kill(node, &removal);
        }
    }
    pytheus__compact(family);
    pytheus__release(&family->registry->lock);
    (void)pytheus__end_removal(family, &removal);
}

static void pytheus__write_nodes(pytheus__writer *writer, pytheus__family *family) {
    pytheus__cursor cursor = {0, 0, 0};
    enum pytheus__batch_end end = PYTHEUS__MORE;
    while (end != PYTHEUS__END && !writer->err) {
        pytheus__apart apart = {{NULL, 0}, 0};
        pytheus__acquire(&family->registry->lock);
        end = pytheus__render_batch(writer, family, &cursor, &apart);
        pytheus__release(&family->registry->lock);
        if (end == PYTHEUS__APART) {
            pytheus__write_apart(writer, family, &apart);
        } else if (end == PYTHEUS__NO_ROOM) {
            pytheus__flush(writer);
        }
    }
    if (writer->saw_removed) {
        writer->saw_removed = false;
        pytheus__bury(family);
    }
}

static void pytheus__put_header(pytheus__writer *writer, const pytheus__header *header) {
    pytheus__text out = {NULL, 0};
    pytheus__add_header(&out, header);
    size_t size = out.size;
    out.at = pytheus__draft(writer, size);
    out.size = 0;
    if (out.at) {
        pytheus__add_header(&out, header);
        pytheus__put_draft(writer, out.at, size);
    }
}

static pytheus__header pytheus__make_header(const pytheus__writer *writer, pytheus_type type,
                                            const char *unit, const char *help) {
    pytheus__header header;
    header.format = writer->format;
    header.name = writer->family_name;
    header.type = type;
    header.unit = unit;
    header.help = help;
    return header;
}

static void pytheus__put_header_of(pytheus__writer *writer, const pytheus__family *family) {
    pytheus__header header =
        pytheus__make_header(writer, family->type, family->unit.text, family->help.text);
    pytheus__put_header(writer, &header);
}

/* Names in this page's registry and format. OpenMetrics leaves _total and _info to the samples;
   these have _info in both. */
static bool pytheus__set_name(pytheus__writer *writer, pytheus_type type, const char *metric) {
    pytheus__piece prefix = writer->registry->prefix;
    const char *ending = pytheus__ending(type);
    size_t metric_size = strlen(metric), base = pytheus__base_size(type, metric, metric_size);
    size_t ending_size = base == metric_size ? strlen(ending) : 0, size;
    if (writer->format == PYTHEUS_TEXT && type == PYTHEUS_COUNTER) {
        ending_size = 0;
    }
    size = prefix.size + metric_size + ending_size;
    if (!pytheus__reserve_text(writer, &writer->name_text, &writer->name_text_size,
                               size + PYTHEUS__WORD_BEHIND)) {
        return false;
    }
    memcpy(writer->name_text, prefix.text, prefix.size);
    memcpy(writer->name_text + prefix.size, metric, metric_size);
    memcpy(writer->name_text + prefix.size + metric_size, ending, ending_size);
    writer->name_text[size] = '\0';
    writer->name.text = writer->family_name.text = writer->name_text;
    writer->name.size = size;
    writer->family_name.size = writer->format == PYTHEUS_TEXT ? size : prefix.size + base;
    return true;
}

/* Whether who asked for some names wants this metric. */
static bool pytheus__is_wanted(const pytheus__writer *writer, pytheus_type type,
                               const char *metric) {
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    size_t i, n;
    if (!writer->is_partial) {
        return true;
    }
    n = pytheus__claims(writer->registry->seed, type, metric, claims);
    for (i = 0; i < n; i++) {
        if (pytheus__has_hash(&writer->wanted, claims[i].hash)) {
            return true;
        }
    }
    return false;
}

/* -- values that a backend keeps -- */

static bool pytheus__is_read_first(const pytheus__family *family) {
    return family->store && !pytheus__has_words(family->store);
}

/* Enters all series that there are; NULL: no memory. */
static pytheus__snapshot *pytheus__snapshot_new(const pytheus_allocator *allocator,
                                                pytheus__family *family) {
    const size_t each = sizeof(pytheus__node *) + family->num_cells * sizeof(uint64_t);
    pytheus__snapshot *snapshot;
    size_t i, n, size;
    pytheus__acquire(&family->registry->lock);
    n = stbds_arrlenu(family->nodes);
    size = sizeof *snapshot + n * each;
    snapshot = (pytheus__snapshot *)pytheus__resize(allocator, NULL, 0, size);
    if (snapshot) {
        snapshot->next = NULL;
        snapshot->family = family;
        snapshot->size = size;
        snapshot->num_series = 0;
        snapshot->values = (uint64_t *)(void *)(snapshot + 1);
        snapshot->nodes = (pytheus__node **)(void *)(snapshot->values + n * family->num_cells);
    }
    for (i = 0; snapshot && i < n; i++) {
        pytheus__node *node = family->nodes[i];
        if (node && node->generation & PYTHEUS__ELSEWHERE &&
            pytheus__enter(pytheus__make_view(node, node->generation))) {
            snapshot->nodes[snapshot->num_series++] = node;
        }
    }
    pytheus__release(&family->registry->lock);
    return snapshot;
}

static void pytheus__snapshot_free(const pytheus_allocator *allocator,
                                   pytheus__snapshot *snapshot) {
    size_t i;
    for (i = 0; i < snapshot->num_series; i++) {
        if (snapshot->nodes[i]) {
            pytheus__leave(snapshot->nodes[i]);
        }
    }
    pytheus__release_memory(allocator, snapshot, snapshot->size);
}

/* One series, which may have a function instead. */
static pytheus_err pytheus__read_node(pytheus__node **node, uint64_t *values) {
    const pytheus__family *family = (*node)->family;
    pytheus_view view = pytheus__make_view(*node, PYTHEUS__LOAD_ACQUIRE(&(*node)->generation));
    pytheus__function function = pytheus__copy_function(view);
    if (!function.call) {
        return pytheus__get_values(*node, values, pytheus__num_values(family));
    }
    if (pytheus__call_function(&function, view, values)) {
        pytheus__leave(*node);
        *node = NULL;
    }
    return PYTHEUS_OK;
}

/* All cells of the series, and their values. */
typedef struct pytheus__bulk {
    void **cells;
    double *values;
    size_t n;
} pytheus__bulk;

static pytheus_err pytheus__read_bulk(pytheus__snapshot *snapshot, const pytheus__bulk *bulk) {
    const pytheus__family *family = snapshot->family;
    const pytheus_backend *backend = &family->store->backend;
    size_t i, n = pytheus__num_values(family);
    pytheus_err err;
    char before = pytheus__before_callback();
    for (i = 0; i < bulk->n; i++) {
        bulk->cells[i] = pytheus__backend_cells(snapshot->nodes[i / n])[i % n];
        bulk->values[i] = 0;
    }
    err = backend->get_many(backend->user, bulk->cells, bulk->n, bulk->values);
    err = pytheus__from_backend(family, before, err, "read values");
    for (i = 0; !err && i < bulk->n; i++) {
        err = pytheus__accept_value(family, bulk->values[i], i % n,
                                    snapshot->values + i / n * family->num_cells);
    }
    return err;
}

static pytheus_err pytheus__read_at_once(const pytheus_allocator *allocator,
                                         pytheus__snapshot *snapshot) {
    pytheus__bulk bulk;
    size_t size;
    pytheus_err err;
    bulk.n = snapshot->num_series * pytheus__num_values(snapshot->family);
    size = bulk.n * (sizeof(double) + sizeof(void *));
    bulk.values = (double *)pytheus__resize(allocator, NULL, 0, size);
    if (!bulk.values) {
        return pytheus__out_of_memory("page");
    }
    bulk.cells = (void **)(void *)(bulk.values + bulk.n);
    err = pytheus__read_bulk(snapshot, &bulk);
    pytheus__release_memory(allocator, bulk.values, size);
    return err;
}

static pytheus_err pytheus__read_snapshot(const pytheus_allocator *allocator,
                                          pytheus__snapshot *snapshot) {
    pytheus__family *family = snapshot->family;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    if (family->store->backend.get_many && snapshot->num_series &&
        !PYTHEUS__LOAD(&family->num_functions)) {
        return pytheus__read_at_once(allocator, snapshot);
    }
    for (i = 0; !err && i < snapshot->num_series; i++) {
        err = pytheus__read_node(&snapshot->nodes[i], snapshot->values + i * family->num_cells);
    }
    return err;
}

/* Reads the values of a metric, to be freed also when that fails; NULL: no memory. */
static pytheus__snapshot *pytheus__take_snapshot(pytheus__writer *writer, pytheus__family *family) {
    const pytheus_allocator *allocator = &writer->registry->allocator;
    pytheus__snapshot *snapshot = pytheus__snapshot_new(allocator, family);
    writer->err =
        snapshot ? pytheus__read_snapshot(allocator, snapshot) : pytheus__out_of_memory("page");
    if (writer->err) {
        (void)pytheus__tell(family, writer->err);
        writer->is_told = true;
    }
    return snapshot;
}

static void pytheus__write_snapshot(pytheus__writer *writer, const pytheus__snapshot *snapshot) {
    const pytheus__family *family = snapshot->family;
    size_t i;
    for (i = 0; i < snapshot->num_series && !writer->err; i++) {
        if (snapshot->nodes[i]) {
            pytheus__turn_to(writer, snapshot->nodes[i]);
            pytheus__put_series(writer, family, pytheus__labels_of(snapshot->nodes[i]),
                                snapshot->values + i * family->num_cells);
        }
    }
}

/* -- metrics on the page -- */

/* The first entry after a serial number that was there when the page began; a collector has one
   user more then. false: there is none. */
static bool pytheus__next_entry(const pytheus__writer *writer, uint64_t after,
                                pytheus__entry *entry) {
    pytheus_registry *registry = writer->registry;
    size_t low = 0, high;
    bool found;
    pytheus__acquire(&registry->lock);
    high = stbds_arrlenu(registry->entries);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (registry->entries[middle].serial <= after) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    found = low < stbds_arrlenu(registry->entries) &&
            registry->entries[low].serial <= writer->last_entry;
    if (found) {
        *entry = registry->entries[low];
        if (entry->collecting) {
            entry->collecting->users++;
        }
    }
    pytheus__release(&registry->lock);
    return found;
}

/* Whether a backend of cells generates the samples of the metric: all that it does not have are not
   on the page. */
static bool pytheus__is_generated(const pytheus__writer *writer, const pytheus__family *family) {
    return family->store->backend.generate && family->registry == writer->registry;
}

/* What a backend generated for the metric, or NULL. A function is of this process, so a metric that
   has one is written from what is known here, if that is possible. */
static const pytheus__generated *pytheus__generated_of(pytheus__writer *writer,
                                                       pytheus__family *family) {
    uint64_t key = (uint64_t)(uintptr_t)family;
    ptrdiff_t i;
    if (!writer->by_family ||
        (PYTHEUS__LOAD(&family->num_functions) && !pytheus__is_read_first(family))) {
        return NULL;
    }
    i = stbds_hmgeti(writer->by_family, key);
    return i < 0 ? NULL : writer->by_family[i].value;
}

/* A family without samples has no text. */
static void pytheus__put_generated(pytheus__writer *writer, const pytheus__generated *generated) {
    if (generated->used) {
        pytheus__put(writer, generated->text, generated->used);
    }
}

/* Families that are no metric of the registry. */
static void pytheus__write_others(pytheus__writer *writer) {
    const pytheus__generated *generated;
    for (generated = writer->generated; generated; generated = generated->next) {
        if (!generated->family) {
            pytheus__put_generated(writer, generated);
        }
    }
}

/* The one of this metric, which comes before those of later entries. */
static void pytheus__write_next_snapshot(pytheus__writer *writer, const pytheus__family *family) {
    const pytheus__snapshot *snapshot = writer->next_snapshot;
    while (snapshot && snapshot->family != family) {
        snapshot = snapshot->next;
    }
    if (snapshot) {
        pytheus__write_snapshot(writer, snapshot);
        writer->next_snapshot = snapshot->next;
    }
}

static void pytheus__write_samples(pytheus__writer *writer, pytheus__family *family) {
    const pytheus__generated *generated = pytheus__generated_of(writer, family);
    if (generated) {
        pytheus__put_generated(writer, generated);
    } else if (!pytheus__is_read_first(family)) {
        pytheus__write_nodes(writer, family);
    } else if (!pytheus__is_generated(writer, family)) {
        pytheus__write_next_snapshot(writer, family);
    }
}

/* -- emitters -- */

/* The library's own samples. */
#define PYTHEUS__OVERFLOW_NAME "pytheus_overflow_calls_total"
#define PYTHEUS__CLASHES_NAME "pytheus_collector_clashes_total"

/* Lines that wait. */
typedef struct pytheus__waiting {
    char *text;
    size_t capacity, used;
} pytheus__waiting;

/* OpenMetrics has the sum and the count of a histogram both or not at all, neither where a bound or
   the sum is below 0, and when it began after them: they wait until the series is complete. */
typedef struct pytheus__held {
    uint64_t series; /* the hash of its line's */
    pytheus__waiting totals, created;
    bool has_sum, has_count, is_refused;
} pytheus__held;

struct pytheus_emitter {
    pytheus__writer *writer;
    pytheus__collecting *collecting; /* NULL: a backend generates */
    const pytheus__store *store;
    bool names_only; /* it is being registered */
    bool in_family;
    bool leaves_out;
    pytheus_type type;
    pytheus__generated *into; /* NULL: the page */
    pytheus__hashes samples;  /* those of the family */
    char *line;               /* that is being put together */
    size_t line_size;
    pytheus__held held;
};

/* Ends everything that is being written. */
static pytheus_err pytheus__page_failed(pytheus__writer *writer, pytheus_err err) {
    writer->err = writer->err ? writer->err : err;
    return writer->err;
}

/* Whether the hash is in the set, where it is put unless this is only a look. */
static bool pytheus__was_seen(pytheus__writer *writer, pytheus__hashes *seen, uint64_t hash,
                              bool only_look) {
    bool again = pytheus__has_hash(seen, hash);
    if (!again && !only_look && !pytheus__add_hash(&writer->registry->allocator, seen, hash)) {
        (void)pytheus__page_failed(writer, pytheus__out_of_memory("page"));
    }
    return again;
}

/* Remembers the names of a metric that was written: it may leave the registry before a collector
   emits them again. */
static void pytheus__see_names(pytheus__writer *writer, const pytheus__family *family) {
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    size_t i, n = pytheus__claims(writer->registry->seed, family->type, family->metric, claims);
    for (i = 0; i < n; i++) {
        (void)pytheus__was_seen(writer, &writer->emitted, claims[i].hash, false);
    }
}

/* Where a line of this size goes; NULL: no memory. */
static char *pytheus__emit_room(pytheus_emitter *out, size_t size) {
    pytheus__generated *into = out->into;
    char *room = NULL;
    if (!into) {
        room = pytheus__draft(out->writer, size);
    } else if (size <= into->capacity - into->used) {
        room = into->text + into->used;
    } else {
        size_t capacity = into->capacity * 2 + size + 500;
        char *text = capacity > into->capacity
                         ? (char *)pytheus__resize(&out->writer->registry->allocator, into->text,
                                                   into->capacity, capacity)
                         : NULL; /* there are no more addresses */
        if (text) {
            into->text = text;
            into->capacity = capacity;
            room = text + into->used;
        }
    }
    if (!room) {
        (void)pytheus__page_failed(out->writer, pytheus__out_of_memory("page"));
    }
    return room;
}

static pytheus_err pytheus__emitted(pytheus_emitter *out, const char *room, size_t size) {
    if (out->into) {
        out->into->used += size;
    } else {
        pytheus__put_draft(out->writer, room, size);
    }
    return out->writer->err;
}

static void pytheus__end_waiting(pytheus_emitter *out, pytheus__waiting *waiting, bool is_good) {
    if (is_good && waiting->used) {
        char *room = pytheus__emit_room(out, waiting->used);
        if (room) {
            memcpy(room, waiting->text, waiting->used);
            (void)pytheus__emitted(out, room, waiting->used);
        }
    }
    waiting->used = 0;
}

/* Writes what was held back of a series, or lets it go. */
static void pytheus__end_held(pytheus_emitter *out) {
    pytheus__held *held = &out->held;
    pytheus__end_waiting(out, &held->totals, held->has_sum && held->has_count && !held->is_refused);
    pytheus__end_waiting(out, &held->created, true);
    held->has_sum = held->has_count = held->is_refused = false;
}

static void pytheus__end_family(pytheus_emitter *out) {
    pytheus__end_held(out);
    pytheus__hashes_free(&out->writer->registry->allocator, &out->samples);
    out->in_family = out->leaves_out = false;
    out->into = NULL;
}

static void pytheus__emitter_free(pytheus_emitter *out) {
    const pytheus_allocator *allocator = &out->writer->registry->allocator;
    pytheus__end_family(out);
    pytheus__release_memory(allocator, out->line, out->line_size);
    pytheus__release_memory(allocator, out->held.totals.text, out->held.totals.capacity);
    pytheus__release_memory(allocator, out->held.created.text, out->held.created.capacity);
}

static void pytheus__emitter_init(pytheus_emitter *out, pytheus__writer *writer,
                                  pytheus__collecting *collecting, const pytheus__store *store) {
    memset((void *)out, 0, sizeof *out);
    out->writer = writer;
    out->collecting = collecting;
    out->store = store;
}

static const char *pytheus__emitter_name(const pytheus_emitter *out) {
    return out->collecting ? out->collecting->collector.name : out->store->backend.name;
}

/* An error that leaves out only what was to be emitted. */
static pytheus_err pytheus__emit_refused(pytheus_emitter *out, pytheus_err err) {
    pytheus__tell_registry(out->writer->registry, err, pytheus__emitter_name(out));
    return err;
}

/* Counts and tells a family that is left out because its name is taken. */
static pytheus_err pytheus__leave_out(pytheus_emitter *out, const char *name) {
    pytheus_err err = pytheus_fail(PYTHEUS_ERR_DUPLICATE, "%.100s: %.100s is on the page already",
                                   pytheus__emitter_name(out), name);
    out->leaves_out = true;
    if (out->names_only) {
        return pytheus__page_failed(out->writer, err);
    }
    if (out->collecting) {
        (void)PYTHEUS__ADD(&out->collecting->clashes, 1);
    }
    pytheus__tell_registry(out->writer->registry, err, pytheus__emitter_name(out));
    return PYTHEUS_OK;
}

/* Whether a name that the family would write is a metric's or was emitted before; *known is the
   metric of that name, where it belongs to the backend that emits. */
static bool pytheus__is_taken(pytheus_emitter *out, pytheus_type type, const char *name,
                              const pytheus__family **known) {
    pytheus_registry *registry = out->writer->registry;
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    size_t i, n = pytheus__claims(registry->seed, type, name, claims);
    bool taken = false;
    *known = NULL;
    pytheus__acquire(&registry->lock);
    for (i = 0; i < n && !taken && !*known; i++) {
        uint64_t key;
        const pytheus__family *family = pytheus__claimant(registry, &claims[i], &key);
        if (family && out->store && family->store == out->store && family->type == type &&
            strcmp(family->metric, name) == 0) {
            *known = family;
        }
        taken = family && !*known;
    }
    out->leaves_out =
        !taken && !*known && out->store && pytheus__was_taken_off(registry, out->store, name);
    pytheus__release(&registry->lock);
    for (i = 0; i < n && !taken; i++) {
        taken = pytheus__was_seen(out->writer, &out->writer->emitted, claims[i].hash, true);
    }
    for (i = 0; i < n && !taken; i++) {
        (void)pytheus__was_seen(out->writer, &out->writer->emitted, claims[i].hash, false);
    }
    return taken;
}

typedef struct pytheus__remembering {
    pytheus__writer *writer;
    pytheus__generated *generated;
} pytheus__remembering;

static void pytheus__remember_generated(void *argument) {
    const pytheus__remembering *remembering = (const pytheus__remembering *)argument;
    pytheus__writer *writer = remembering->writer;
    uint64_t key = (uint64_t)(uintptr_t)remembering->generated->family;
    if (!writer->by_family) {
        stbds_hmdefault(writer->by_family, NULL);
    }
    stbds_hmput(writer->by_family, key, remembering->generated);
}

static void pytheus__forget_generated(void *argument) {
    pytheus__writer *writer = (pytheus__writer *)argument;
    stbds_hmfree(writer->by_family);
}

static pytheus__generated *pytheus__generated_for(pytheus_emitter *out,
                                                  const pytheus__family *known) {
    pytheus__writer *writer = out->writer;
    pytheus__generated *generated = (pytheus__generated *)pytheus__resize(
        &writer->registry->allocator, NULL, 0, sizeof *generated);
    if (!generated) {
        (void)pytheus__page_failed(out->writer, pytheus__out_of_memory("page"));
        return NULL;
    }
    memset((void *)generated, 0, sizeof *generated);
    generated->family = known;
    *writer->last_generated = generated;
    writer->last_generated = &generated->next;
    pytheus__remembering remembering = {writer, generated};
    if (known && !pytheus__try(writer->registry, pytheus__remember_generated, &remembering)) {
        (void)pytheus__page_failed(writer, pytheus__out_of_memory("page"));
    }
    return generated;
}

static pytheus_err pytheus__check_emitted(const pytheus_emitter *out,
                                          const pytheus_family *family) {
    pytheus_desc desc = PYTHEUS__EMPTY;
    const char *name = family && family->name ? family->name : "";
    if (!family) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: no family", pytheus__emitter_name(out));
    }
    if (family->type < PYTHEUS_COUNTER || family->type > PYTHEUS_SUMMARY) {
        return pytheus_fail(PYTHEUS_ERR_TYPE, "%.100s: %.100s has no type that there is",
                            pytheus__emitter_name(out), name);
    }
    if (out->store && pytheus__is_reserved(name) && pytheus__is_name(name, true) &&
        strcmp(name, PYTHEUS__OVERFLOW_NAME) != 0 && strcmp(name, PYTHEUS__CLASHES_NAME) != 0) {
        return PYTHEUS_OK;
    }
    desc.name = name;
    desc.unit = family->unit;
    return pytheus__check_name(family->type, out->writer->registry->prefix, &desc);
}

static pytheus_err pytheus__emit_header(pytheus_emitter *out, const pytheus_family *family) {
    pytheus__header header =
        pytheus__make_header(out->writer, family->type, family->unit ? family->unit : "",
                             family->help ? family->help : "");
    pytheus__text line = {NULL, 0};
    char *room;
    pytheus__add_header(&line, &header);
    room = pytheus__emit_room(out, line.size);
    if (!room) {
        return out->writer->err;
    }
    line.at = room;
    line.size = 0;
    pytheus__add_header(&line, &header);
    return pytheus__emitted(out, room, line.size);
}

PYTHEUS_API pytheus_err pytheus_emit_family(pytheus_emitter *out, const pytheus_family *family) {
    const pytheus__family *known = NULL;
    pytheus_err err = out->writer->err;
    if (err) {
        return err;
    }
    pytheus__end_family(out);
    err = pytheus__check_emitted(out, family);
    if (err) {
        out->leaves_out = true;
        return pytheus__emit_refused(out, err);
    }
    out->in_family = true;
    out->type = family->type;
    if (pytheus__is_taken(out, family->type, family->name, &known)) {
        return pytheus__leave_out(out, family->name);
    }
    out->leaves_out =
        out->leaves_out || !pytheus__is_wanted(out->writer, family->type, family->name);
    if (out->leaves_out) {
        return out->writer->err;
    }
    if (!out->writer->err && out->store) {
        out->into = pytheus__generated_for(out, known);
    }
    if (out->writer->err || !pytheus__set_name(out->writer, family->type, family->name) ||
        out->names_only || known) {
        return out->writer->err;
    }
    return pytheus__emit_header(out, family);
}

/* A stateset's own label: the family's name as it was given, which is written with the prefix. */
static const char *pytheus__state_label(const pytheus_emitter *out) {
    return out->writer->name.text + out->writer->registry->prefix.size;
}

/* The label that samples with this suffix must have; NULL: none; "": there is no such suffix. */
static const char *pytheus__own_label(const pytheus_emitter *out, const char *suffix) {
    bool is_real = pytheus__is_real(out->type);
    if (strcmp(suffix, "_created") == 0) {
        return is_real ? "" : NULL;
    }
    if (out->type == PYTHEUS_INFO && strcmp(suffix, "_info") == 0) {
        return NULL;
    }
    if (is_real || out->type == PYTHEUS_COUNTER) {
        return *suffix ? "" : out->type == PYTHEUS_STATESET ? pytheus__state_label(out) : NULL;
    }
    if (strcmp(suffix, "_sum") == 0 || strcmp(suffix, "_count") == 0) {
        return NULL;
    }
    if (out->type == PYTHEUS_HISTOGRAM) {
        return strcmp(suffix, "_bucket") == 0 ? "le" : "";
    }
    return *suffix ? "" : "quantile";
}

static pytheus_err pytheus__bad_sample(const pytheus_emitter *out, const char *what,
                                       const char *which) {
    return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: %.100s: %s \"%.60s\"",
                        pytheus__emitter_name(out), out->writer->name.text, what, which);
}

enum { PYTHEUS__LONGEST_BOUND = 100 };

static const char *pytheus__skip_digits(const char *text) {
    while (pytheus__is_digit(*text)) {
        text++;
    }
    return text;
}

/* +Inf, 0.5, -2, 1e+06; false: it is none of these, or so long that nobody means it. */
static bool pytheus__read_bound(const char *text, double *value) {
    char digits[(size_t)PYTHEUS__LONGEST_BOUND + (size_t)PYTHEUS__EXPONENT_ROOM];
    pytheus__json_parts parts;
    const char *first = text + (*text == '-'), *end;
    *value = pytheus__as_double(PYTHEUS__INFINITY_BITS);
    if (strcmp(text, "+Inf") == 0) {
        return true;
    }
    parts.start = text;
    parts.point = end = pytheus__skip_digits(first);
    if (end > first && *end == '.') {
        first = end + 1;
        end = pytheus__skip_digits(first);
    }
    parts.exponent = end;
    if (end > first && (*end == 'e' || *end == 'E')) {
        first = end + 1 + (end[1] == '+' || end[1] == '-');
        end = pytheus__skip_digits(first);
    }
    return end > first && !*end && end - text <= PYTHEUS__LONGEST_BOUND &&
           pytheus__json_value(&parts, digits, value);
}

static bool pytheus__has_label(const pytheus_sample *sample, size_t n, const char *label) {
    size_t i;
    for (i = 0; i + 1 < n; i += 2) {
        if (strcmp(sample->pairs[i], label) == 0) {
            return true;
        }
    }
    return false;
}

/* The label whose values are numbers; NULL: a family of this type has none. */
static const char *pytheus__number_label(pytheus_type type) {
    return type == PYTHEUS_HISTOGRAM ? "le" : type == PYTHEUS_SUMMARY ? "quantile" : NULL;
}

static pytheus_err pytheus__refuse_sample(const pytheus_emitter *out, const pytheus_sample *sample,
                                          const char *suffix) {
    const char *what = out->type == PYTHEUS_INFO       ? "is 1"
                       : out->type == PYTHEUS_STATESET ? "is 0 or 1"
                                                       : "counts from 0 up";
    char number[PYTHEUS__NUMBER_SIZE + 1];
    *pytheus__put_double(number, sample->value) = '\0';
    return pytheus_fail(PYTHEUS_ERR_VALUE, "%.100s: %.100s%s %s, not %s",
                        pytheus__emitter_name(out), out->writer->name.text, suffix, what, number);
}

static pytheus_err pytheus__check_pair(const pytheus_emitter *out, const pytheus_sample *sample,
                                       size_t i, const char *own) {
    const char *name = sample->pairs[i], *value = sample->pairs[i + 1];
    const char *number_label = pytheus__number_label(out->type);
    double number;
    if (!name || !pytheus__is_name(name, false) || pytheus__starts_with(name, "__")) {
        return pytheus__bad_sample(out, "not a valid label name", name ? name : "");
    }
    if (!value || pytheus__has_label(sample, i, name) ||
        (out->type == PYTHEUS_STATESET && out->writer->registry->prefix.size &&
         strcmp(name, out->writer->name.text) == 0)) {
        return pytheus__bad_sample(out, value ? "twice the label" : "NULL as the label", name);
    }
    if (own && out->type == PYTHEUS_STATESET && strcmp(name, own) == 0 && !*value) {
        return pytheus__bad_sample(out, "no state as the label", name);
    }
    if (!number_label || strcmp(name, number_label) != 0) {
        return PYTHEUS_OK;
    }
    if (!own) {
        return pytheus__bad_sample(out, "only some samples have", name);
    }
    if (!pytheus__read_bound(value, &number)) {
        return pytheus__bad_sample(out, "not a number as the label", name);
    }
    return out->type == PYTHEUS_SUMMARY && !(number >= 0 && number <= 1)
               ? pytheus__bad_sample(out, "not from 0 to 1 as the label", name)
               : PYTHEUS_OK;
}

/* Whether a sample of the type can have this value. */
static bool pytheus__is_value_of(pytheus_type type, const char *suffix, double v) {
    if (strcmp(suffix, "_bucket") == 0 || strcmp(suffix, "_count") == 0) {
        return pytheus__is_amount(v);
    }
    if (strcmp(suffix, "_created") == 0) {
        return pytheus__is_finite(v);
    }
    return type == PYTHEUS_COUNTER    ? pytheus__is_total(v)
           : type == PYTHEUS_INFO     ? v >= 1 && v <= 1
           : type == PYTHEUS_STATESET ? (v >= 0 && v <= 0) || (v >= 1 && v <= 1)
                                      : true;
}

static pytheus_err pytheus__check_sample(const pytheus_emitter *out, const pytheus_sample *sample,
                                         const char *suffix) {
    const char *own = pytheus__own_label(out, suffix);
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    if (own && !*own) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: %.100s has no samples with \"%.60s\"",
                            pytheus__emitter_name(out), out->writer->name.text, suffix);
    }
    if (sample->num_strings % 2 || (sample->num_strings && !sample->pairs)) {
        return pytheus__bad_sample(out, "labels come in pairs", "");
    }
    for (i = 0; !err && i < sample->num_strings; i += 2) {
        err = pytheus__check_pair(out, sample, i, own);
    }
    if (!err && own && !pytheus__has_label(sample, sample->num_strings, own)) {
        err = pytheus__bad_sample(out, "a sample without", own);
    }
    if (!err && !pytheus__is_value_of(out->type, suffix, sample->value)) {
        err = pytheus__refuse_sample(out, sample, suffix);
    }
    return err;
}

/* A sample as it is written, and what tells it from others: hashes of labels, in any order, as they
   are written. */
typedef struct pytheus__line {
    pytheus__text text;
    uint64_t series;
    uint64_t bound; /* the label whose values are numbers */
    bool has_bound_below_zero;
} pytheus__line;

/* The most that its line may take: three bytes for one that is not UTF-8, two for one that is
   escaped, or a number as the format has it. It may be more than there are addresses. */
static size_t pytheus__most_of_line(const pytheus_emitter *out, const pytheus_sample *sample,
                                    const char *suffix) {
    uint64_t size = out->writer->name.size + strlen(suffix) + 3 * PYTHEUS__NUMBER_SIZE;
    size_t i;
    for (i = 0; i < sample->num_strings; i += 2) {
        size += out->writer->registry->prefix.size + strlen(sample->pairs[i]) +
                3 * (uint64_t)strlen(sample->pairs[i + 1]) + PYTHEUS__NUMBER_SIZE;
    }
    return size < SIZE_MAX ? (size_t)size : SIZE_MAX;
}

/* A label's value as it is written; numbers as the format has them, or the same one would be two
   series. */
static void pytheus__add_value(pytheus__line *line, const pytheus_emitter *out, bool is_bound,
                               const char *value) {
    double number;
    if (is_bound && pytheus__read_bound(value, &number)) {
        pytheus__add_bound(&line->text, number, out->writer->format);
        line->has_bound_below_zero = number < 0;
    } else {
        pytheus__add_readable(&line->text, value, true);
    }
}

static void pytheus__add_pair(pytheus__line *line, const pytheus_emitter *out, const char *name,
                              const char *value) {
    const char *number_label = pytheus__number_label(out->type);
    bool is_bound = number_label && strcmp(name, number_label) == 0;
    size_t start = line->text.size;
    uint64_t hash;
    if (out->type == PYTHEUS_STATESET && strcmp(name, pytheus__state_label(out)) == 0) {
        pytheus__add(&line->text, out->writer->name.text, out->writer->name.size);
    } else {
        pytheus__add_string(&line->text, name);
    }
    pytheus__add(&line->text, "=\"", 2);
    pytheus__add_value(line, out, is_bound, value);
    hash = pytheus__hash_bytes(out->writer->registry->seed, line->text.at + start,
                               line->text.size - start);
    if (!*value) {
        return; /* as if it were not there */
    }
    if (is_bound) {
        line->bound = hash;
    } else {
        line->series += hash;
    }
}

/* The line up to its number. */
static void pytheus__begin_sample(pytheus__line *line, const pytheus_emitter *out,
                                  const pytheus_sample *sample, const char *suffix) {
    const pytheus__writer *writer = out->writer;
    bool has_own_suffix = strcmp(suffix, "_created") == 0;
    pytheus__piece name = has_own_suffix ? writer->family_name : writer->name;
    size_t i;
    pytheus__add(&line->text, name.text, name.size);
    pytheus__add_string(&line->text, suffix);
    for (i = 0; i < sample->num_strings; i += 2) {
        pytheus__add_string(&line->text, i ? "\"," : "{");
        pytheus__add_pair(line, out, sample->pairs[i], sample->pairs[i + 1]);
    }
    pytheus__add_string(&line->text, sample->num_strings ? "\"} " : " ");
}

/* Milliseconds since 1970; in OpenMetrics seconds. */
static char *pytheus__append_timestamp(char *out, pytheus_format format, int64_t ms) {
    uint64_t size = ms < 0 ? -(uint64_t)ms : (uint64_t)ms;
    *out = '-';
    out += ms < 0;
    return format == PYTHEUS_TEXT ? pytheus__put_integer(out, size)
                                  : pytheus__append_milliseconds(out, size);
}

/* "5 1700000000000\n" */
static void pytheus__end_sample(pytheus__line *line, const pytheus_emitter *out,
                                const pytheus_sample *sample, const char *suffix) {
    char *end = line->text.at + line->text.size;
    end = strcmp(suffix, "_created") == 0 ? pytheus__append_time(end, sample->value)
                                          : pytheus__put_double(end, sample->value);
    if (sample->has_timestamp) {
        *end++ = ' ';
        end = pytheus__append_timestamp(end, out->writer->format, sample->timestamp_ms);
    }
    *end++ = '\n';
    line->text.size = (size_t)(end - line->text.at);
}

/* Whether the format can say it. */
static bool pytheus__is_sayable(const pytheus_emitter *out, const pytheus_sample *sample,
                                const char *suffix) {
    if (out->writer->format == PYTHEUS_TEXT) {
        return strcmp(suffix, "_created") != 0;
    }
    return out->type != PYTHEUS_SUMMARY || strcmp(suffix, "_created") == 0 || sample->value >= 0 ||
           (!*suffix && pytheus__is_nan(sample->value));
}

/* Notes what the sample says of its series. Where it has to wait; NULL: nowhere. */
static pytheus__waiting *pytheus__hold(pytheus_emitter *out, const pytheus__line *line,
                                       const pytheus_sample *sample, const char *suffix) {
    pytheus__held *held = &out->held;
    bool is_sum = strcmp(suffix, "_sum") == 0, is_count = strcmp(suffix, "_count") == 0;
    if (out->writer->format == PYTHEUS_TEXT || pytheus__is_real(out->type)) {
        return NULL;
    }
    if (line->series != held->series) {
        pytheus__end_held(out);
        held->series = line->series;
    }
    if (strcmp(suffix, "_created") == 0) {
        return &held->created;
    }
    held->is_refused |= line->has_bound_below_zero || (is_sum && !(sample->value >= 0));
    held->has_sum |= is_sum;
    held->has_count |= is_count;
    return out->type == PYTHEUS_HISTOGRAM && (is_sum || is_count) ? &held->totals : NULL;
}

static pytheus_err pytheus__put_line(pytheus_emitter *out, pytheus__waiting *waiting,
                                     pytheus__text line) {
    char *room;
    if (!waiting) {
        room = pytheus__emit_room(out, line.size);
        if (!room) {
            return out->writer->err;
        }
        memcpy(room, line.at, line.size);
        return pytheus__emitted(out, room, line.size);
    }
    if (pytheus__reserve_text(out->writer, &waiting->text, &waiting->capacity,
                              waiting->used + line.size)) {
        memcpy(waiting->text + waiting->used, line.at, line.size);
        waiting->used += line.size;
    }
    return out->writer->err;
}

static pytheus_err pytheus__write_sample(pytheus_emitter *out, const pytheus_sample *sample,
                                         const char *suffix) {
    pytheus__writer *writer = out->writer;
    pytheus__line line;
    uint64_t hash;
    if (!pytheus__reserve_text(writer, &out->line, &out->line_size,
                               pytheus__most_of_line(out, sample, suffix))) {
        return writer->err;
    }
    memset((void *)&line, 0, sizeof line);
    line.text.at = out->line;
    pytheus__begin_sample(&line, out, sample, suffix);
    hash = pytheus__hash_more(writer->registry->seed, line.series + line.bound, suffix,
                              strlen(suffix));
    if (pytheus__was_seen(writer, &out->samples, hash, false)) {
        return pytheus__emit_refused(
            out, pytheus_fail(PYTHEUS_ERR_DUPLICATE, "%.100s: %.100s: twice the same labels",
                              pytheus__emitter_name(out), writer->name.text));
    }
    if (writer->err || out->names_only || !pytheus__is_sayable(out, sample, suffix)) {
        return writer->err;
    }
    pytheus__end_sample(&line, out, sample, suffix);
    return pytheus__put_line(out, pytheus__hold(out, &line, sample, suffix), line.text);
}

PYTHEUS_API pytheus_err pytheus_emit_sample(pytheus_emitter *out, const pytheus_sample *sample) {
    const char *suffix = sample && sample->suffix ? sample->suffix : "";
    pytheus_err err = out->writer->err;
    if (err || out->leaves_out) {
        return err;
    }
    if (!out->in_family || !sample) {
        return pytheus__emit_refused(
            out, pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: %s", pytheus__emitter_name(out),
                              sample ? "a sample without a family" : "no sample"));
    }
    err = pytheus__check_sample(out, sample, suffix);
    return err ? pytheus__emit_refused(out, err)
               : pytheus__write_sample(out, sample,
                                       out->type == PYTHEUS_INFO ? "" : suffix); /* in its name */
}

/* Room for the values of one series of a metric. */
static bool pytheus__reserve_values(pytheus__writer *writer, size_t n) {
    if (n > writer->num_values) {
        uint64_t *values = (uint64_t *)pytheus__resize(&writer->registry->allocator, writer->values,
                                                       writer->num_values * sizeof *writer->values,
                                                       n * sizeof *writer->values);
        if (!values) {
            writer->err = pytheus__out_of_memory("page");
            return false;
        }
        writer->values = values;
        writer->num_values = n;
    }
    return true;
}

/* With the series that a collector has made for this page. */
static pytheus_err pytheus__write_metric_now(pytheus__writer *writer, pytheus__family *family) {
    pytheus__snapshot *snapshot = NULL;
    pytheus_err err;
    uint64_t youngest = writer->youngest;
    writer->youngest = PYTHEUS__LOAD(&pytheus__last_serial);
    if (pytheus__is_read_first(family)) {
        snapshot = pytheus__take_snapshot(writer, family);
    }
    err = writer->err; /* of the backend's: only this metric is left away */
    writer->err = PYTHEUS_OK;
    writer->is_told = false;
    if (!err && pytheus__reserve_values(writer, family->num_cells)) {
        pytheus__put_header_of(writer, family);
        if (snapshot) {
            pytheus__write_snapshot(writer, snapshot);
        } else {
            pytheus__write_nodes(writer, family);
        }
    }
    if (snapshot) {
        pytheus__snapshot_free(&writer->registry->allocator, snapshot);
    }
    writer->youngest = youngest;
    return err ? err : writer->err;
}

/* Whether a metric can be on the page of a registry with another prefix: a stateset's name there is
   a label. */
static pytheus_err pytheus__check_there(const pytheus_registry *registry,
                                        const pytheus__family *family) {
    pytheus__piece prefix = registry->prefix;
    size_t i;
    if (family->type != PYTHEUS_STATESET) {
        return PYTHEUS_OK;
    }
    if (!pytheus__is_label(prefix, family->metric)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: a stateset's name is a label's too",
                            family->metric);
    }
    for (i = 0; i < family->num_labels; i++) {
        const char *label = family->label_names[i].text;
        if (strncmp(label, prefix.text, prefix.size) == 0 &&
            strcmp(label + prefix.size, family->metric) == 0) {
            return pytheus_fail(PYTHEUS_ERR_LABEL,
                                "%.100s: the label \"%.100s\" is the format's own", family->metric,
                                label);
        }
    }
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_emit_metric(pytheus_emitter *out, pytheus_view metric) {
    const pytheus__family *known = NULL;
    pytheus__family *family = metric.node ? metric.node->family : NULL;
    if (out->writer->err) {
        return out->writer->err;
    }
    pytheus__end_family(out);
    if (!family || out->store) {
        pytheus_err err = family ? PYTHEUS_ERR_TYPE : PYTHEUS_ERR_NOTHING;
        return pytheus__emit_refused(
            out, pytheus_fail(err, "%.100s: %s", pytheus__emitter_name(out),
                              family ? "a backend emits families" : "nothing is no metric"));
    }
    pytheus_err bad = pytheus__check_there(out->writer->registry, family);
    if (bad) {
        return pytheus__emit_refused(out, bad);
    }
    if (pytheus__is_taken(out, family->type, family->metric, &known)) {
        pytheus_err err = pytheus__leave_out(out, family->metric);
        out->leaves_out = false;
        return err;
    }
    if (out->writer->err || out->names_only ||
        !pytheus__is_wanted(out->writer, family->type, family->metric) ||
        !pytheus__set_name(out->writer, family->type, family->metric)) {
        return out->writer->err;
    }
    return pytheus__write_metric_now(out->writer, family);
}

/* Runs a collector. Its error is the page's. */
static void pytheus__collect(pytheus__writer *writer, pytheus__collecting *collecting,
                             bool names_only) {
    const pytheus_collector *collector = &collecting->collector;
    pytheus_emitter out;
    pytheus_err err;
    char before = pytheus__before_callback();
    pytheus__emitter_init(&out, writer, collecting, NULL);
    out.names_only = names_only;
    err = collector->collect(collector->user, &out);
    err = pytheus__after_callback(before, err, PYTHEUS_ERR_BACKEND, collector->name,
                                  "the collector failed");
    pytheus__emitter_free(&out);
    (void)pytheus__page_failed(writer, err);
}

static void pytheus__generate_store(pytheus__writer *writer, const pytheus__store *store) {
    pytheus_emitter out;
    pytheus_err err;
    char before = pytheus__before_callback();
    pytheus__emitter_init(&out, writer, NULL, store);
    err = store->backend.generate(store->backend.user, &out);
    err = pytheus__after_callback(before, err, PYTHEUS_ERR_BACKEND, store->backend.name,
                                  "the backend failed to generate samples");
    pytheus__emitter_free(&out);
    (void)pytheus__page_failed(writer, err);
}

/* Most have the names of their own registry. */
static bool pytheus__name_here(pytheus__writer *writer, const pytheus__family *family) {
    size_t size = strlen(family->metric);
    size_t base = pytheus__base_size(family->type, family->metric, size);
    bool ends = base < size || !*pytheus__ending(family->type);
    bool is_text = writer->format == PYTHEUS_TEXT;
    if (family->registry != writer->registry ||
        !(ends || (is_text && family->type == PYTHEUS_COUNTER))) {
        return pytheus__set_name(writer, family->type, family->metric);
    }
    writer->name = writer->family_name = family->name;
    writer->family_name.size -= is_text ? 0 : size - base;
    return true;
}

/* -- the library's own samples -- */

/* A counter that is on the page once it is not 0. */
typedef struct pytheus__own_counter {
    const char *name, *help, *label;
    bool has_header;
} pytheus__own_counter;

static void pytheus__put_string(pytheus__writer *writer, const char *string) {
    pytheus__put(writer, string, strlen(string));
}

static void pytheus__put_own(pytheus__writer *writer, pytheus__own_counter *counter,
                             pytheus__piece prefix, const char *value, uint64_t n) {
    static const char end[PYTHEUS__WORD_BEHIND] = "\"} ";
    pytheus__text text = {NULL, 0};
    char *room;
    if (!n) {
        return;
    }
    if (!pytheus__is_wanted(writer, PYTHEUS_COUNTER, counter->name) ||
        !pytheus__set_name(writer, PYTHEUS_COUNTER, counter->name)) {
        return;
    }
    if (!counter->has_header) {
        pytheus__header header = pytheus__make_header(writer, PYTHEUS_COUNTER, "", counter->help);
        pytheus__put_header(writer, &header);
        counter->has_header = true;
    }
    pytheus__put_piece(writer, writer->name);
    pytheus__put_string(writer, "{");
    pytheus__put_string(writer, counter->label);
    pytheus__put_string(writer, "=\"");
    pytheus__put_piece(writer, prefix);
    pytheus__add_readable(&text, value, true);
    room = pytheus__draft(writer, text.size);
    if (room) {
        text.at = room;
        text.size = 0;
        pytheus__add_readable(&text, value, true);
        pytheus__put_draft(writer, room, text.size);
    }
    room = pytheus__draft(writer, PYTHEUS__REST_OF_LINE);
    pytheus__end_number(writer, room, pytheus__append_count(pytheus__append(room, end, 3), n));
}

static void pytheus__write_overflows(pytheus__writer *writer) {
    pytheus__own_counter counter = {PYTHEUS__OVERFLOW_NAME,
                                    "Calls with new labels that got a metric's overflow series.",
                                    "metric", false};
    pytheus__entry entry;
    entry.serial = 0;
    while (!writer->err && pytheus__next_entry(writer, entry.serial, &entry)) {
        if (entry.collecting) {
            pytheus__collecting_release(writer->registry, entry.collecting);
        } else {
            pytheus__put_own(writer, &counter, writer->registry->prefix, entry.family->metric,
                             PYTHEUS__LOAD(&entry.family->overflow_calls));
        }
    }
}

static void pytheus__write_clashes(pytheus__writer *writer) {
    pytheus__own_counter counter = {PYTHEUS__CLASHES_NAME,
                                    "Families left out because their name was on the page already.",
                                    "collector", false};
    const pytheus__piece no_prefix = {"", 0};
    pytheus__entry entry;
    entry.serial = 0;
    while (!writer->err && pytheus__next_entry(writer, entry.serial, &entry)) {
        if (entry.collecting) {
            pytheus__put_own(writer, &counter, no_prefix, entry.collecting->collector.name,
                             PYTHEUS__LOAD(&entry.collecting->clashes));
            pytheus__collecting_release(writer->registry, entry.collecting);
        }
    }
}

/* -- pages -- */

static void pytheus__write_metric(pytheus__writer *writer, const pytheus__entry *entry) {
    pytheus__family *family = entry->family;
    if (writer->has_collectors) {
        pytheus__see_names(writer, family);
    }
    if (!pytheus__is_wanted(writer, family->type, family->metric) ||
        !pytheus__name_here(writer, family)) {
        return;
    }
    pytheus__put_header_of(writer, family);
    pytheus__write_samples(writer, family);
}

static void pytheus__write_page(pytheus__writer *writer) {
    pytheus__entry entry;
    entry.serial = 0;
    writer->next_snapshot = writer->snapshots;
    while (!writer->err && pytheus__next_entry(writer, entry.serial, &entry)) {
        if (entry.collecting) {
            pytheus__collect(writer, entry.collecting, false);
            pytheus__collecting_release(writer->registry, entry.collecting);
        } else {
            pytheus__write_metric(writer, &entry);
        }
    }
    pytheus__write_others(writer);
    pytheus__write_overflows(writer);
    pytheus__write_clashes(writer);
    if (writer->format == PYTHEUS_OPENMETRICS) {
        pytheus__put_string(writer, "# EOF\n");
    }
    pytheus__flush(writer);
}

/* Settles what is on the page, and takes the memory that all of its metrics need. */
static void pytheus__begin_page(pytheus__writer *writer) {
    pytheus_registry *registry = writer->registry;
    size_t i, most = 1;
    pytheus__acquire(&registry->lock);
    writer->youngest = PYTHEUS__LOAD(&pytheus__last_serial);
    writer->last_entry = registry->last_entry;
    for (i = 0; i < stbds_arrlenu(registry->entries); i++) {
        const pytheus__family *family = registry->entries[i].family;
        writer->has_collectors |= !family;
        most = family && family->num_cells > most ? family->num_cells : most;
    }
    pytheus__release(&registry->lock);
    writer->last_generated = &writer->generated;
    writer->last_snapshot = &writer->snapshots;
    writer->buffer = (char *)pytheus__resize(&registry->allocator, NULL, 0, PYTHEUS__CHUNK_SIZE);
    if (!writer->buffer || !pytheus__reserve_values(writer, most)) {
        writer->err = pytheus__out_of_memory("page");
    }
}

/* Reads what backends keep, so that a failing one gives no page at all. */
static void pytheus__read_backends(pytheus__writer *writer) {
    pytheus__store *store;
    pytheus__entry entry;
    size_t i;
    for (i = 0; !writer->err && (store = pytheus__store_at(writer->registry, i)) != NULL; i++) {
        if (store->backend.generate) {
            pytheus__generate_store(writer, store);
        }
        pytheus__store_release(writer->registry, store);
    }
    entry.serial = 0;
    while (!writer->err && pytheus__next_entry(writer, entry.serial, &entry)) {
        if (entry.collecting) {
            pytheus__collecting_release(writer->registry, entry.collecting);
        } else if (pytheus__is_read_first(entry.family) &&
                   !pytheus__is_generated(writer, entry.family) &&
                   pytheus__is_wanted(writer, entry.family->type, entry.family->metric)) {
            pytheus__snapshot *snapshot = pytheus__take_snapshot(writer, entry.family);
            if (snapshot) {
                *writer->last_snapshot = snapshot;
                writer->last_snapshot = &snapshot->next;
            }
        }
    }
}

static void pytheus__end_page(pytheus__writer *writer) {
    const pytheus_allocator *allocator = &writer->registry->allocator;
    while (writer->snapshots) {
        pytheus__snapshot *snapshot = writer->snapshots;
        writer->snapshots = snapshot->next;
        pytheus__snapshot_free(allocator, snapshot);
    }
    while (writer->generated) {
        pytheus__generated *generated = writer->generated;
        writer->generated = generated->next;
        pytheus__release_memory(allocator, generated->text, generated->capacity);
        pytheus__release_memory(allocator, generated, sizeof *generated);
    }
    (void)pytheus__try(writer->registry, pytheus__forget_generated, writer);
    pytheus__hashes_free(allocator, &writer->emitted);
    pytheus__hashes_free(allocator, &writer->wanted);
    pytheus__release_memory(allocator, writer->buffer, PYTHEUS__CHUNK_SIZE);
    pytheus__release_memory(allocator, writer->values, writer->num_values * sizeof *writer->values);
    pytheus__release_memory(allocator, writer->long_text, writer->long_text_size);
    pytheus__release_memory(allocator, writer->draft, writer->draft_size);
    pytheus__release_memory(allocator, writer->name_text, writer->name_text_size);
}

static pytheus_err pytheus__end_of_page(pytheus_registry *registry, pytheus_err err) {
    if (err) {
        pytheus__tell_registry(registry, err, "");
    }
    return err;
}

static pytheus_err pytheus__want(pytheus__writer *writer, const char *const *names,
                                 size_t num_names) {
    pytheus__piece prefix = writer->registry->prefix;
    size_t i;
    for (i = 0; i < num_names; i++) {
        bool is_here = strncmp(names[i], prefix.text ? prefix.text : "", prefix.size) == 0;
        const char *name = names[i] + (is_here ? prefix.size : 0);
        uint64_t hash = pytheus__hash_more(writer->registry->seed, writer->registry->seed[0], name,
                                           strlen(name));
        if (is_here && !pytheus__add_hash(&writer->registry->allocator, &writer->wanted, hash)) {
            return pytheus__out_of_memory("page");
        }
    }
    return PYTHEUS_OK;
}

/* Of the names alone, or, if they are NULL, all. */
static pytheus_err pytheus__write(pytheus_registry *registry, pytheus_format format,
                                  const char *const *names, size_t num_names,
                                  const pytheus_sink *sink) {
    pytheus__writer writer;
    if (!sink || !sink->put) {
        return pytheus_fail(PYTHEUS_ERR_IO, "page: no sink");
    }
    memset((void *)&writer, 0, sizeof writer);
    writer.registry = pytheus__registry_or_default(registry);
    writer.format = format == PYTHEUS_OPENMETRICS ? format : PYTHEUS_TEXT;
    writer.is_partial = names != NULL;
    writer.sink = sink;
    writer.err = pytheus__want(&writer, names, num_names);
    if (!writer.err) {
        writer.err = pytheus__discover_all(writer.registry);
    }
    if (!writer.err) {
        pytheus__begin_page(&writer);
    }
    if (!writer.err) {
        pytheus__read_backends(&writer);
    }
    if (!writer.err) {
        pytheus__write_page(&writer);
    }
    pytheus__end_page(&writer);
    return writer.is_told ? writer.err : pytheus__end_of_page(writer.registry, writer.err);
}

PYTHEUS_API pytheus_err pytheus_write(pytheus_registry *registry, pytheus_format format,
                                      const pytheus_sink *sink) {
    return pytheus__write(registry, format, NULL, 0, sink);
}

PYTHEUS_API pytheus_err pytheus_write_named(pytheus_registry *registry, pytheus_format format,
                                            const char *const *names, size_t num_names,
                                            const pytheus_sink *sink) {
    static const char *const nothing[] = {NULL};
    size_t i;
    for (i = 0; i < num_names; i++) {
        if (!names || !names[i]) {
            return pytheus_fail(PYTHEUS_ERR_NAME, "page: a name is NULL");
        }
    }
    return pytheus__write(registry, format, num_names ? names : nothing, num_names, sink);
}

/* ==== WHAT IS ON A REGISTRY'S PAGE ==== */

static pytheus__entry *pytheus__entry_of(pytheus_registry *registry,
                                         const pytheus__family *family) {
    size_t i;
    for (i = 0; i < stbds_arrlenu(registry->entries); i++) {
        if (registry->entries[i].family == family) {
            return &registry->entries[i];
        }
    }
    return NULL;
}

/* Under the lock. */
static pytheus_err pytheus__add_listing(pytheus_registry *registry, pytheus__family *family) {
    pytheus__claim claims[PYTHEUS__MOST_CLAIMS];
    pytheus__listing listing;
    pytheus_err err;
    size_t i, n = pytheus__claims(registry->seed, family->type, family->metric, claims);
    if (pytheus__entry_of(registry, family)) {
        return PYTHEUS_OK;
    }
    err = pytheus__check_there(registry, family);
    if (err) {
        return err;
    }
    for (i = 0; i < n; i++) {
        uint64_t key;
        const pytheus__family *rival = pytheus__claimant(registry, &claims[i], &key);
        if (rival) {
            return pytheus_fail(PYTHEUS_ERR_DUPLICATE,
                                "%.100s: its names are taken by a metric %.100s", family->metric,
                                rival->metric);
        }
    }
    listing.registry = registry;
    listing.family = family;
    return pytheus__list(&listing) ? PYTHEUS_OK : pytheus__out_of_memory(family->metric);
}

PYTHEUS_API pytheus_err pytheus_registry_add(pytheus_registry *registry, pytheus_view metric) {
    pytheus__family *family = metric.node ? metric.node->family : NULL;
    pytheus_err err;
    if (!family) {
        return pytheus__refuse(metric, PYTHEUS_COUNTER);
    }
    registry = pytheus__registry_or_default(registry);
    pytheus__acquire(&registry->lock);
    err = pytheus__add_listing(registry, family);
    pytheus__release(&registry->lock);
    if (err) {
        pytheus__tell_registry(registry, err, family->metric);
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_registry_remove(pytheus_registry *registry, pytheus_view metric) {
    const pytheus__family *family = metric.node ? metric.node->family : NULL;
    const pytheus__entry *entry;
    if (!family) {
        return pytheus__refuse(metric, PYTHEUS_COUNTER);
    }
    registry = pytheus__registry_or_default(registry);
    pytheus__acquire(&registry->lock);
    entry = pytheus__entry_of(registry, family);
    if (entry) {
        pytheus__take_off(registry, family);
    }
    pytheus__release(&registry->lock);
    if (!entry) {
        (void)pytheus_fail(PYTHEUS_ERR_NOTHING, "%.100s: not in this registry", family->metric);
        pytheus__tell_registry(registry, PYTHEUS_ERR_NOTHING, family->metric);
    }
    return entry ? PYTHEUS_OK : PYTHEUS_ERR_NOTHING;
}

/* A copy with its name; NULL: no memory. */
static pytheus__collecting *pytheus__collecting_new(pytheus_registry *registry,
                                                    const pytheus_collector *collector) {
    size_t name_size = strlen(collector->name) + 1;
    size_t size = sizeof(pytheus__collecting) + name_size;
    pytheus__collecting *collecting =
        (pytheus__collecting *)pytheus__resize(&registry->allocator, NULL, 0, size);
    if (collecting) {
        memset((void *)collecting, 0, sizeof *collecting);
        memcpy(collecting + 1, collector->name, name_size);
        collecting->collector = *collector;
        collecting->collector.name = (const char *)(collecting + 1);
        collecting->size = size;
        collecting->users = 1;
    }
    return collecting;
}

/* Runs it for the names alone: none may be taken. */
static pytheus_err pytheus__try_collector(pytheus_registry *registry,
                                          pytheus__collecting *collecting) {
    pytheus__writer writer;
    memset((void *)&writer, 0, sizeof writer);
    writer.registry = registry;
    pytheus__collect(&writer, collecting, true);
    pytheus__hashes_free(&registry->allocator, &writer.emitted);
    pytheus__release_memory(&registry->allocator, writer.name_text, writer.name_text_size);
    return writer.err;
}

/* Where the collector of this name is, or the end. */
static size_t pytheus__collector_place(const pytheus_registry *registry, const char *name) {
    size_t i, n = stbds_arrlenu(registry->entries);
    for (i = 0; i < n; i++) {
        const pytheus__collecting *collecting = registry->entries[i].collecting;
        if (collecting && strcmp(collecting->collector.name, name) == 0) {
            break;
        }
    }
    return i;
}

/* Under the lock. */
static pytheus_err pytheus__list_collector(pytheus_registry *registry,
                                           pytheus__collecting *collecting) {
    const char *name = collecting->collector.name;
    pytheus__entry entry;
    void *entries;
    if (pytheus__collector_place(registry, name) < stbds_arrlenu(registry->entries)) {
        return pytheus_fail(PYTHEUS_ERR_DUPLICATE, "%.100s: there is a collector of this name",
                            name);
    }
    entries = pytheus__room_for_one(registry, registry->entries, sizeof *registry->entries);
    if (!entries) {
        return pytheus__out_of_memory(name);
    }
    registry->entries = (pytheus__entry *)entries;
    memset((void *)&entry, 0, sizeof entry);
    entry.serial = ++registry->last_entry;
    entry.collecting = collecting;
    stbds_arrput(registry->entries, entry);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__add_collector(pytheus_registry *registry,
                                          const pytheus_collector *collector) {
    pytheus__collecting *collecting;
    pytheus_err err;
    if (!collector || !collector->name || !*collector->name || !collector->collect) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "a collector needs a name and collect()");
    }
    if (!pytheus__is_utf8(collector->name)) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "%.100s: a collector's name is UTF-8",
                            collector->name);
    }
    collecting = pytheus__collecting_new(registry, collector);
    if (!collecting) {
        return pytheus__out_of_memory(collector->name);
    }
    err = pytheus__try_collector(registry, collecting);
    if (!err) {
        pytheus__acquire(&registry->lock);
        err = pytheus__list_collector(registry, collecting);
        pytheus__release(&registry->lock);
    }
    if (err) {
        pytheus__release_memory(&registry->allocator, collecting, collecting->size);
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_registry_add_collector(pytheus_registry *registry,
                                                       const pytheus_collector *collector) {
    pytheus_err err;
    registry = pytheus__registry_or_default(registry);
    err = pytheus__add_collector(registry, collector);
    if (err) {
        pytheus__tell_registry(registry, err, collector && collector->name ? collector->name : "");
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_registry_remove_collector(pytheus_registry *registry,
                                                          const char *name) {
    pytheus__collecting *collecting = NULL;
    size_t place;
    registry = pytheus__registry_or_default(registry);
    name = name ? name : "";
    pytheus__acquire(&registry->lock);
    place = pytheus__collector_place(registry, name);
    if (place < stbds_arrlenu(registry->entries)) {
        collecting = registry->entries[place].collecting;
        stbds_arrdel(registry->entries, place);
    }
    pytheus__release(&registry->lock);
    if (!collecting) {
        pytheus_err err = pytheus_fail(PYTHEUS_ERR_NOTHING, "%.100s: no such collector", name);
        pytheus__tell_registry(registry, err, name);
        return err;
    }
    pytheus__collecting_release(registry, collecting);
    return PYTHEUS_OK;
}

/* ==== WHERE PAGES GO ==== */

static pytheus_err pytheus__io_error(const char *what) {
    return pytheus_fail(PYTHEUS_ERR_IO, "%.100s: %s", what, strerror(errno));
}

static pytheus_err pytheus__put_to_stream(void *user, const char *bytes, size_t size) {
    return fwrite(bytes, 1, size, (FILE *)user) == size ? PYTHEUS_OK : pytheus__io_error("stream");
}

PYTHEUS_API pytheus_err pytheus_write_stream(pytheus_registry *registry, pytheus_format format,
                                             FILE *stream) {
    pytheus_sink sink = PYTHEUS__EMPTY;
    pytheus_err err;
    if (!stream) {
        return pytheus_fail(PYTHEUS_ERR_IO, "page: no stream");
    }
    sink.put = pytheus__put_to_stream;
    sink.user = stream;
    registry = pytheus__registry_or_default(registry);
    err = pytheus_write(registry, format, &sink);
    if (!err && fflush(stream) != 0) {
        err = pytheus__end_of_page(registry, pytheus__io_error("stream"));
    }
    return err;
}

typedef struct pytheus__page {
    pytheus_allocator allocator; /* in front of the text, so that pytheus_free finds it */
    size_t capacity;             /* of the whole block */
} pytheus__page;

typedef struct pytheus__generator {
    pytheus__page *page;
    size_t used; /* without the page's head */
} pytheus__generator;

static char *pytheus__page_text(pytheus__page *page) {
    return (char *)(page + 1);
}

/* Room for so many more bytes and a NUL. */
static bool pytheus__page_grow(pytheus__generator *generator, size_t size) {
    pytheus__page *page = generator->page;
    size_t needed = sizeof *page + generator->used + size + 1;
    size_t capacity = page->capacity < SIZE_MAX / 2 ? page->capacity * 2 : SIZE_MAX;
    if (needed <= page->capacity) {
        return true;
    }
    capacity = capacity < needed ? needed : capacity;
    page = (pytheus__page *)pytheus__resize(&page->allocator, page, page->capacity, capacity);
    if (!page) {
        return false;
    }
    page->capacity = capacity;
    generator->page = page;
    return true;
}

static pytheus_err pytheus__put_to_page(void *user, const char *bytes, size_t size) {
    pytheus__generator *generator = (pytheus__generator *)user;
    if (!pytheus__page_grow(generator, size)) {
        return pytheus__out_of_memory("page");
    }
    memcpy(pytheus__page_text(generator->page) + generator->used, bytes, size);
    generator->used += size;
    return PYTHEUS_OK;
}

PYTHEUS_API char *pytheus_generate(pytheus_registry *registry, pytheus_format format,
                                   size_t *length) {
    const size_t first_capacity = sizeof(pytheus__page) + 4000;
    pytheus__generator generator;
    pytheus_sink sink = PYTHEUS__EMPTY;
    registry = pytheus__registry_or_default(registry);
    generator.used = 0;
    generator.page =
        (pytheus__page *)pytheus__resize(&registry->allocator, NULL, 0, first_capacity);
    if (!generator.page) {
        (void)pytheus__end_of_page(registry, pytheus__out_of_memory("page"));
        return NULL;
    }
    generator.page->allocator = registry->allocator;
    generator.page->capacity = first_capacity;
    sink.put = pytheus__put_to_page;
    sink.user = &generator;
    if (pytheus_write(registry, format, &sink)) {
        pytheus_free(pytheus__page_text(generator.page));
        return NULL;
    }
    pytheus__page_text(generator.page)[generator.used] = '\0';
    if (length) {
        *length = generator.used;
    }
    return pytheus__page_text(generator.page);
}

PYTHEUS_API void pytheus_free(void *page) {
    if (page) {
        pytheus__page *head = (pytheus__page *)page - 1;
        pytheus_allocator allocator = head->allocator;
        pytheus__release_memory(&allocator, head, head->capacity);
    }
}

PYTHEUS_API const char *pytheus_content_type(pytheus_format format) {
    return format == PYTHEUS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* -- the Accept header: RFC 9110, 5.6 and 12.5.1 -- */

/* One of its elements: type/subtype;version=...;q=... */
typedef struct pytheus__range {
    pytheus__piece type;
    pytheus__piece version; /* without quotes; text is NULL: any */
    int quality;            /* 0 to 1000 */
    bool is_valid;
} pytheus__range;

static bool pytheus__is_blank(char c) {
    return c == ' ' || c == '\t';
}

static bool pytheus__is_word(pytheus__piece piece, const char *word) {
    size_t i;
    for (i = 0; i < piece.size && word[i]; i++) {
        if (pytheus__lower(piece.text[i]) != word[i]) {
            return false;
        }
    }
    return i == piece.size && !word[i];
}

/* Up to the next of these characters, without the blanks around it; a quoted string is passed over
   as a whole. Moves on to that character. */
static pytheus__piece pytheus__next_part(const char **at, const char *ends) {
    pytheus__piece part;
    bool quoted = false;
    while (pytheus__is_blank(**at)) {
        ++*at;
    }
    part.text = *at;
    for (; **at && (quoted || !strchr(ends, **at)); ++*at) {
        if (quoted && **at == '\\' && (*at)[1]) {
            ++*at;
        } else if (**at == '"') {
            quoted = !quoted;
        }
    }
    part.size = (size_t)(*at - part.text);
    while (part.size && pytheus__is_blank(part.text[part.size - 1])) {
        part.size--;
    }
    return part;
}

/* 0, 1, 0.5, 1.000: in thousandths; -1: something else. */
static int pytheus__quality(pytheus__piece text) {
    int quality, digit = 100;
    size_t i;
    if (!text.size || text.size > 5 || (text.text[0] != '0' && text.text[0] != '1') ||
        (text.size > 1 && text.text[1] != '.')) {
        return -1;
    }
    quality = text.text[0] == '1' ? 1000 : 0;
    for (i = 2; i < text.size; i++, digit /= 10) {
        if (!pytheus__is_digit(text.text[i])) {
            return -1;
        }
        quality += (text.text[i] - '0') * digit;
    }
    return quality <= 1000 ? quality : -1;
}

static pytheus__piece pytheus__without_quotes(pytheus__piece piece) {
    if (piece.size > 1 && piece.text[0] == '"' && piece.text[piece.size - 1] == '"') {
        piece.text++;
        piece.size -= 2;
    }
    return piece;
}

/* The element that begins here; moves on to the next one. */
static pytheus__range pytheus__next_range(const char **at) {
    pytheus__range range = PYTHEUS__EMPTY;
    range.type = pytheus__next_part(at, ";,");
    range.quality = 1000;
    range.is_valid = range.type.size > 0;
    while (**at == ';') {
        pytheus__piece name, value = {NULL, 0};
        ++*at;
        name = pytheus__next_part(at, "=;,");
        if (**at == '=') {
            ++*at;
            value = pytheus__without_quotes(pytheus__next_part(at, ";,"));
        }
        if (pytheus__is_word(name, "q")) {
            range.quality = pytheus__quality(value);
            range.is_valid = range.is_valid && range.quality >= 0;
        } else if (pytheus__is_word(name, "version")) {
            range.version = value;
        }
    }
    *at += **at == ',';
    return range;
}

/* What the header says of one format. */
typedef struct pytheus__preference {
    const char *type, *wide_type, *version;
    int precision; /* of the range that says it: the most precise one counts */
    int quality;
    size_t place; /* of that range */
} pytheus__preference;

/* How precisely the range means this format; 0: not at all. */
static int pytheus__precision(const pytheus__range *range, const pytheus__preference *format) {
    if (pytheus__is_word(range->type, "*/*")) {
        return 1;
    }
    if (pytheus__is_word(range->type, format->wide_type)) {
        return 2;
    }
    if (!pytheus__is_word(range->type, format->type)) {
        return 0;
    }
    return !range->version.text ? 3 : pytheus__is_word(range->version, format->version) ? 4 : 0;
}

static void pytheus__prefer(pytheus__preference *format, const pytheus__range *range,
                            size_t place) {
    int precision = pytheus__precision(range, format);
    if (precision > format->precision) {
        format->precision = precision;
        format->quality = range->quality;
        format->place = place;
    }
}

PYTHEUS_API pytheus_format pytheus_negotiate(const char *accept) {
    pytheus__preference text = {"text/plain", "text/*", "0.0.4", 0, 0, 0};
    pytheus__preference openmetrics = {
        "application/openmetrics-text", "application/*", "1.0.0", 0, 0, 0};
    size_t place;
    for (place = 0; accept && *accept; place++) {
        pytheus__range range = pytheus__next_range(&accept);
        if (range.is_valid) {
            pytheus__prefer(&text, &range, place);
            pytheus__prefer(&openmetrics, &range, place);
        }
    }
    return openmetrics.quality > text.quality ||
                   (openmetrics.quality > 0 && openmetrics.quality == text.quality &&
                    openmetrics.place < text.place)
               ? PYTHEUS_OPENMETRICS
               : PYTHEUS_TEXT;
}

/* -- files -- */

/* A page is written to path.0.tmp, which the textfile collector passes over, or path.1.tmp if there
   is a writer at that already, and so on. A file that nobody holds was left by a writer that was
   killed, and goes before the next one begins. */
enum { PYTHEUS__MOST_WRITERS = 64, PYTHEUS__NO_FILE = -1 };

#ifdef _WIN32
static int pytheus__file_create(const char *name) {
    return _open(name, _O_WRONLY | _O_CREAT | _O_EXCL | _O_BINARY | _O_NOINHERIT,
                 _S_IREAD | _S_IWRITE);
}

static int pytheus__file_put(int file, const char *bytes, size_t size) {
    const size_t most = PYTHEUS__CHUNK_SIZE;
    return _write(file, bytes, (unsigned)(size < most ? size : most));
}

/* What somebody has open is not removed. */
static void pytheus__remove_left_over(const char *name) {
    (void)remove(name);
}

static bool pytheus__file_end(int file, char *name, const char *path) {
    bool is_placed = path && _commit(file) == 0;
    is_placed = _close(file) == 0 && is_placed;
    if (is_placed) {
        is_placed =
            MoveFileExA(name, path, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
        errno = EACCES;
    }
    if (!is_placed) {
        (void)remove(name);
    }
    return is_placed;
}
#else
/* A new file, with the lock that says that its writer lives. Somebody who looked before it was
   locked takes it for left over: then it is not ours. */
static int pytheus__file_create(const char *name) {
    struct stat status;
    int file = open(name, O_WRONLY | O_CREAT | O_EXCL | PYTHEUS__CLOSE_ON_EXEC, 0644);
    bool is_lost = file >= 0 && flock(file, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    is_lost = is_lost || (file >= 0 && fstat(file, &status) == 0 && status.st_nlink == 0);
    if (is_lost) {
        (void)close(file);
        errno = EEXIST;
    }
    return is_lost ? PYTHEUS__NO_FILE : file;
}

static ssize_t pytheus__file_put(int file, const char *bytes, size_t size) {
    return write(file, bytes, size);
}

static bool pytheus__is_file(const char *name, struct stat *status) {
    return stat(name, status) == 0 && S_ISREG(status->st_mode);
}

static void pytheus__remove_left_over(const char *name) {
    struct stat named, locked;
    int file = pytheus__is_file(name, &named)
                   ? open(name, O_RDWR | O_NONBLOCK | O_NOCTTY | PYTHEUS__CLOSE_ON_EXEC)
                   : PYTHEUS__NO_FILE;
    if (file < 0) {
        return;
    }
    /* Until it was locked, its writer may have renamed it, and another one have taken the name. */
    if (flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &locked) == 0 &&
        pytheus__is_file(name, &named) && named.st_ino == locked.st_ino &&
        named.st_dev == locked.st_dev) {
        (void)unlink(name);
    }
    (void)close(file);
}

/* So that the new name is on the disk, too. Not every folder can be opened. */
static void pytheus__sync_folder_of(char *name) {
    char *slash = strrchr(name, '/');
    int folder;
    if (slash) {
        slash[slash == name] = '\0';
    }
    folder = open(slash ? name : ".", O_RDONLY | PYTHEUS__CLOSE_ON_EXEC);
    if (folder >= 0) {
        (void)fsync(folder);
        (void)close(folder);
    }
}

/* The lock is held until the file has its last name, or none. */
static bool pytheus__file_end(int file, char *name, const char *path) {
    bool is_placed =
        path && (fsync(file) == 0 || errno == EINVAL || errno == ENOSYS) && rename(name, path) == 0;
    int saved_errno = errno;
    if (is_placed) {
        pytheus__sync_folder_of(name);
    } else {
        (void)unlink(name);
    }
    (void)close(file);
    errno = saved_errno;
    return is_placed;
}
#endif

static pytheus_err pytheus__put_to_file(void *user, const char *bytes, size_t size) {
    while (size) {
        ptrdiff_t n = pytheus__file_put(*(int *)user, bytes, size);
        if (n < 0 && errno != EINTR) {
            return pytheus__io_error("file");
        }
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return PYTHEUS_OK;
}

static void pytheus__name_temporary(const char *path, int number, char *name, size_t name_size) {
    (void)snprintf(name, name_size, "%s.%d.tmp", path, number);
}

static int pytheus__temporary(const char *path, char *name, size_t name_size) {
    int i, file = PYTHEUS__NO_FILE;
    for (i = 0; i < PYTHEUS__MOST_WRITERS; i++) {
        pytheus__name_temporary(path, i, name, name_size);
        pytheus__remove_left_over(name);
    }
    errno = EEXIST;
    for (i = 0; file < 0 && errno == EEXIST && i < PYTHEUS__MOST_WRITERS; i++) {
        pytheus__name_temporary(path, i, name, name_size);
        file = pytheus__file_create(name);
    }
    return file;
}

static pytheus_err pytheus__write_file_as(pytheus_registry *registry, pytheus_format format,
                                          const char *path, char *name, size_t name_size) {
    int file = pytheus__temporary(path, name, name_size);
    pytheus_sink sink = PYTHEUS__EMPTY;
    pytheus_err err;
    if (file < 0) {
        return pytheus__io_error(path);
    }
    sink.put = pytheus__put_to_file;
    sink.user = &file;
    err = pytheus_write(registry, format, &sink);
    if (!pytheus__file_end(file, name, err ? NULL : path) && !err) {
        err = pytheus__io_error(path);
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_write_file(pytheus_registry *registry, pytheus_format format,
                                           const char *path) {
    size_t name_size;
    char *name;
    pytheus_err err;
    if (!path) {
        return pytheus_fail(PYTHEUS_ERR_IO, "page: no path");
    }
    name_size = strlen(path) + 64;
    registry = pytheus__registry_or_default(registry);
    name = (char *)pytheus__resize(&registry->allocator, NULL, 0, name_size);
    if (!name) {
        return pytheus__end_of_page(registry, pytheus__out_of_memory(path));
    }
    err = pytheus__write_file_as(registry, format, path, name, name_size);
    pytheus__release_memory(&registry->allocator, name, name_size);
    return pytheus__end_of_page(registry, err);
}

/* -- single samples -- */

/* The value of a histogram's or summary's sample. */
static double pytheus__distribution_value(const pytheus__family *family, const uint64_t *values,
                                          const char *suffix, size_t last_bucket) {
    uint64_t count = 0;
    size_t i;
    if (strcmp(suffix, "_sum") == 0) {
        return pytheus__as_double(values[PYTHEUS__SUM_REAL]);
    }
    last_bucket = strcmp(suffix, "_count") == 0 ? family->num_bounds : last_bucket;
    for (i = 0; i <= last_bucket; i++) {
        count += values[PYTHEUS__FIRST_BUCKET + i];
    }
    return (double)count;
}

/* Which bucket has this bound, spelled as on the page; num_bounds + 1: none. */
static size_t pytheus__bucket_named(const pytheus__family *family, const char *le) {
    size_t i, size = le ? strlen(le) : 0;
    for (i = 0; le && i <= family->num_bounds; i++) {
        pytheus__piece bound = pytheus__bound_text(family, i);
        if (bound.size == size && memcmp(bound.text, le, size) == 0) {
            return i;
        }
    }
    return family->num_bounds + 1;
}

/* What a sample's name adds to its metric's; NULL: that is no sample of the metric. */
static const char *pytheus__sample_suffix(const pytheus__family *family, const char *sample) {
    const char *suffix = sample + strlen(family->metric);
    if (!pytheus__starts_with(sample, family->metric)) {
        return NULL;
    }
    if (family->type == PYTHEUS_INFO && !pytheus__ends_with(sample, strlen(sample), "_info")) {
        return NULL;
    }
    if (family->type < PYTHEUS_HISTOGRAM) {
        return !*suffix || strcmp(suffix, pytheus__ending(family->type)) == 0 ? "" : NULL;
    }
    if (strcmp(suffix, "_sum") == 0 || strcmp(suffix, "_count") == 0) {
        return suffix;
    }
    return family->type == PYTHEUS_HISTOGRAM && strcmp(suffix, "_bucket") == 0 ? suffix : NULL;
}

static pytheus_err pytheus__no_series(const pytheus__family *family) {
    return pytheus_fail(PYTHEUS_ERR_NOTHING, "%.100s: no series with these labels",
                        family->name.text);
}

/* The series of a complete key, or nothing. */
static pytheus_view pytheus__find_series(pytheus__family *family, const pytheus__key *key) {
    pytheus_view view;
    pytheus__acquire(&family->registry->lock);
    view = family->num_labels ? pytheus__find(family, key)
                              : pytheus__make_view(family->root, family->root->generation);
    pytheus__release(&family->registry->lock);
    return view;
}

/* The cells of the series with these labels. */
static pytheus_err pytheus__series_values(pytheus__family *family, const char **labels,
                                          uint64_t *values) {
    pytheus_view view = pytheus__nothing();
    pytheus__function function;
    pytheus__key key;
    if (!pytheus__key_pack(family, &key, labels)) {
        return pytheus__out_of_memory(family->name.text);
    }
    if (key.complete) {
        view = pytheus__find_series(family, &key);
    }
    pytheus__key_free(family->registry, &key);
    if (!key.complete) {
        return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: labels are missing", family->name.text);
    }
    if (!view.node) {
        return pytheus__no_series(family);
    }
    function = pytheus__copy_function(view);
    if (function.call) {
        return pytheus__call_function(&function, view, values);
    }
    pytheus_err err = pytheus__read_series(view, values, true);
    if (err == PYTHEUS_ERR_REMOVED) {
        return pytheus__no_series(family);
    }
    return err ? pytheus__tell(family, err) : PYTHEUS_OK;
}

/* The label that tells the samples of one series apart; NULL: there is only one. */
static const char *pytheus__telling_label(const pytheus__family *family, const char *suffix) {
    return strcmp(suffix, "_bucket") == 0     ? "le"
           : family->type == PYTHEUS_STATESET ? family->name.text
                                              : NULL;
}

/* The value of the sample that has this value of the telling label. */
static pytheus_err pytheus__tell_apart(const pytheus__family *family, const char *suffix,
                                       const char *which, const uint64_t *values, double *value) {
    if (family->type == PYTHEUS_STATESET) {
        size_t state = pytheus__state_named(family, which);
        uint64_t on = pytheus__states_in(pytheus__as_double(values[PYTHEUS__GAUGE_REAL]));
        *value = (double)(on >> state & 1);
        return state < family->num_states ? PYTHEUS_OK : pytheus__no_series(family);
    }
    if (strcmp(suffix, "_bucket") == 0) {
        size_t bucket = pytheus__bucket_named(family, which);
        *value = pytheus__distribution_value(family, values, suffix,
                                             bucket > family->num_bounds ? 0 : bucket);
        return bucket <= family->num_bounds ? PYTHEUS_OK : pytheus__no_series(family);
    }
    *value = *suffix ? pytheus__distribution_value(family, values, suffix, 0)
                     : pytheus__value_of(family->type, values);
    return PYTHEUS_OK;
}

static bool pytheus__is_exposed_as(const pytheus_registry *registry, const pytheus__family *family,
                                   const char *name) {
    pytheus__piece prefix = registry->prefix;
    return strncmp(name, prefix.text, prefix.size) == 0 &&
           strcmp(name + prefix.size, family->metric) == 0;
}

static pytheus_err pytheus__sample_of(const pytheus_registry *registry, pytheus__family *family,
                                      const char *suffix, const char *const *pairs,
                                      size_t num_strings, uint64_t *values, double *value) {
    const char *labels[PYTHEUS_MAX_LABELS] = {NULL};
    const char *telling = pytheus__telling_label(family, suffix), *which = NULL;
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; !err && i < num_strings; i += 2) {
        if (telling && i + 1 < num_strings && pairs[i] &&
            (family->type == PYTHEUS_STATESET ? pytheus__is_exposed_as(registry, family, pairs[i])
                                              : strcmp(pairs[i], telling) == 0)) {
            which = pairs[i + 1];
        } else {
            err = pytheus__set_labels(family, labels, pairs + i, num_strings - i < 2 ? 1 : 2);
        }
    }
    err = err ? err : pytheus__series_values(family, labels, values);
    if (!err && telling && !which) {
        err = pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: its samples need \"%.60s\"",
                           family->name.text, telling);
    }
    return err ? err : pytheus__tell_apart(family, suffix, which, values, value);
}

static pytheus_err pytheus__overflow_sample(pytheus_registry *registry, const char *const *pairs,
                                            size_t num_strings, double *value) {
    uint64_t calls = 0;
    size_t i;
    if (num_strings == 2 && pairs[0] && pairs[1] && strcmp(pairs[0], "metric") == 0) {
        pytheus__acquire(&registry->lock);
        for (i = 0; !calls && i < stbds_arrlenu(registry->entries); i++) {
            const pytheus__entry *entry = &registry->entries[i];
            if (entry->family && pytheus__is_exposed_as(registry, entry->family, pairs[1])) {
                calls = PYTHEUS__LOAD(&entry->family->overflow_calls);
            }
        }
        pytheus__release(&registry->lock);
    }
    *value = (double)calls;
    return calls ? PYTHEUS_OK
                 : pytheus_fail(PYTHEUS_ERR_NOTHING, "%.100s: no series with these labels",
                                PYTHEUS__OVERFLOW_NAME);
}

/* The metric that may have a sample of this name, which comes without the prefix; or NULL. */
static pytheus__family *pytheus__family_of_sample(pytheus_registry *registry, const char *sample) {
    pytheus__family *family;
    pytheus__claim claim;
    uint64_t key;
    claim.base = sample;
    claim.base_size = strlen(sample);
    claim.suffix = "";
    claim.hash = pytheus__hash_more(registry->seed, registry->seed[0], sample, claim.base_size);
    pytheus__acquire(&registry->lock);
    family = pytheus__claimant(registry, &claim, &key);
    pytheus__release(&registry->lock);
    return family;
}

static pytheus_err pytheus__find_sample(pytheus_registry *registry, const char *sample,
                                        const char *const *pairs, size_t num_strings,
                                        double *value) {
    pytheus__family *family = pytheus__family_of_sample(registry, sample);
    const char *suffix = family ? pytheus__sample_suffix(family, sample) : NULL;
    uint64_t *values;
    pytheus_err err;
    if (!suffix) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "no sample is called \"%.100s\"", sample);
    }
    values = (uint64_t *)pytheus__resize(&registry->allocator, NULL, 0,
                                         family->num_cells * sizeof *values);
    if (!values) {
        return pytheus__out_of_memory(sample);
    }
    err = pytheus__sample_of(registry, family, suffix, pairs, num_strings, values, value);
    pytheus__release_memory(&registry->allocator, values, family->num_cells * sizeof *values);
    return err;
}

PYTHEUS_API pytheus_err pytheus_sample_value(pytheus_registry *registry, const char *sample,
                                             const char *const *pairs, size_t num_strings,
                                             double *value) {
    double ignored;
    registry = pytheus__registry_or_default(registry);
    value = value ? value : &ignored;
    if (!sample || (num_strings && !pairs) ||
        !pytheus__starts_with(sample, registry->prefix.size ? registry->prefix.text : "")) {
        return pytheus_fail(PYTHEUS_ERR_NAME, "no sample is called \"%.100s\"",
                            sample ? sample : "");
    }
    sample += registry->prefix.size;
    return strcmp(sample, PYTHEUS__OVERFLOW_NAME) == 0
               ? pytheus__overflow_sample(registry, pairs, num_strings, value)
               : pytheus__find_sample(registry, sample, pairs, num_strings, value);
}

/* ==== LINT ==== */

/* What is known of a family when its last line has been read. */
typedef struct pytheus__linter {
    const pytheus_allocator *allocator;
    const pytheus_sink *sink;
    char *line; /* as far as it has come */
    size_t line_size, line_capacity;
    char *name; /* of the family, with room behind it for a complaint; NULL: none yet */
    size_t name_size, name_capacity;
    char type; /* the first letter of the word */
    bool has_help, has_le, has_quantile, has_camel_case;
} pytheus__linter;

enum { PYTHEUS__COMPLAINT_SIZE = 160 };

PYTHEUS__PRINTF(2, 3)
static pytheus_err pytheus__complain(pytheus__linter *linter, const char *format, ...) {
    char *end = linter->name + linter->name_size;
    pytheus_err err;
    size_t size;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(end + 1, PYTHEUS__COMPLAINT_SIZE - 1, format, arguments);
    va_end(arguments);
    *end = ' ';
    size = linter->name_size + 1 + strlen(end + 1);
    linter->name[size] = '\n';
    err = pytheus__put_to_sink(linter->sink, linter->name, size + 1);
    *end = '\0';
    return err;
}

/* Whether one of the name's words, the first excepted, is this one, in capitals or not. */
static bool pytheus__has_word(const char *name, const char *word) {
    const char *at;
    for (at = strchr(name, '_'); at; at = strchr(at + 1, '_')) {
        size_t i = 0;
        while (word[i] && pytheus__lower(at[1 + i]) == word[i]) {
            i++;
        }
        if (!word[i] && (at[1 + i] == '_' || !at[1 + i])) {
            return true;
        }
    }
    return false;
}

static bool pytheus__has_abbreviation(const char *name) {
    static const char *const abbreviations[] = {"s",  "ms", "us", "ns", "sec", "b", "kb",
                                                "mb", "gb", "tb", "pb", "m",   "h", "d"};
    size_t i;
    for (i = 0; i < sizeof abbreviations / sizeof *abbreviations; i++) {
        if (pytheus__has_word(name, abbreviations[i])) {
            return true;
        }
    }
    return false;
}

static bool pytheus__is_camel_case(const char *name, size_t size) {
    size_t i;
    for (i = 1; i < size; i++) {
        if (name[i - 1] >= 'a' && name[i - 1] <= 'z' && name[i] >= 'A' && name[i] <= 'Z') {
            return true;
        }
    }
    return false;
}

static bool pytheus__equals(const char *word, size_t size, const char *expected) {
    return strlen(expected) == size && memcmp(word, expected, size) == 0;
}

/* The base unit of a word that is a unit; NULL: it is none. */
static const char *pytheus__base_of(const char *word, size_t size) {
    static const char *const units[][2] = {
        {"amperes", "amperes"}, {"bytes", "bytes"},        {"celsius", "celsius"},
        {"grams", "grams"},     {"joules", "joules"},      {"kelvin", "kelvin"},
        {"meters", "meters"},   {"metres", "metres"},      {"seconds", "seconds"},
        {"volts", "volts"},     {"minutes", "seconds"},    {"hours", "seconds"},
        {"days", "seconds"},    {"weeks", "seconds"},      {"kelvins", "kelvin"},
        {"rankine", "celsius"}, {"fahrenheit", "celsius"}, {"inches", "meters"},
        {"yards", "meters"},    {"miles", "meters"},       {"bits", "bytes"},
        {"pounds", "grams"},    {"ounces", "grams"},       {"calories", "joules"},
    };
    size_t i;
    for (i = 0; i < sizeof units / sizeof *units; i++) {
        if (pytheus__equals(word, size, units[i][0])) {
            return units[i][1];
        }
    }
    return NULL;
}

/* The same for a word with the prefix of a multiple, too. */
static const char *pytheus__base_unit(const char *word, size_t size) {
    static const char *const prefixes[] = {"pico", "nano",  "micro", "milli", "centi", "deci",
                                           "deca", "hecto", "kilo",  "kibi",  "mega",  "mibi",
                                           "giga", "gibi",  "tera",  "tebi",  "peta",  "pebi"};
    const char *base = pytheus__base_of(word, size);
    size_t i;
    for (i = 0; !base && i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t prefix = strlen(prefixes[i]);
        if (size > prefix && memcmp(word, prefixes[i], prefix) == 0) {
            base = pytheus__base_of(word + prefix, size - prefix);
        }
    }
    return base;
}

/* The first unit in the name is to be a base unit. */
static pytheus_err pytheus__lint_unit(pytheus__linter *linter) {
    const char *word, *base = NULL;
    size_t size = 0;
    for (word = linter->name; *word && !base; word += size + (word[size] == '_')) {
        size = strcspn(word, "_");
        base = pytheus__base_unit(word, size);
        if (base && !pytheus__equals(word, size, base)) {
            return pytheus__complain(linter, "use base unit \"%s\" instead of \"%.*s\"", base,
                                     (int)size, word);
        }
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__lint_words(pytheus__linter *linter) {
    static const char *const types[] = {"counter", "gauge", "gauge_histogram", "histogram",
                                        "summary"};
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; !err && i < sizeof types / sizeof *types; i++) {
        if (pytheus__has_word(linter->name, types[i])) {
            err = pytheus__complain(linter, "metric name should not include type '%s'", types[i]);
        }
    }
    return err;
}

static bool pytheus__ends_in(const pytheus__linter *linter, const char *suffix) {
    return pytheus__ends_with(linter->name, linter->name_size, suffix);
}

/* In the order of the texts, as promtool sorts them. */
static pytheus_err pytheus__lint_family(pytheus__linter *linter) {
    bool is_counter = linter->type == 'c', is_untyped = linter->type == 'u';
    bool is_histogram = linter->type == 'h', is_summary = linter->type == 's';
    bool is_single = !is_histogram && !is_summary && !is_untyped;
    pytheus_err err = PYTHEUS_OK;
#define PYTHEUS__COMPLAIN_IF(condition, text)                                                      \
    if (!err && (condition)) {                                                                     \
        err = pytheus__complain(linter, "%s", text);                                               \
    }
    PYTHEUS__COMPLAIN_IF(is_counter && !pytheus__ends_in(linter, "_total"),
                         "counter metrics should have \"_total\" suffix")
    PYTHEUS__COMPLAIN_IF(linter->has_camel_case,
                         "label names should be written in 'snake_case' not 'camelCase'")
    err = err ? err : pytheus__lint_words(linter);
    PYTHEUS__COMPLAIN_IF(pytheus__is_camel_case(linter->name, linter->name_size),
                         "metric names should be written in 'snake_case' not 'camelCase'")
    PYTHEUS__COMPLAIN_IF(strchr(linter->name, ':'), "metric names should not contain ':'")
    PYTHEUS__COMPLAIN_IF(pytheus__has_abbreviation(linter->name),
                         "metric names should not contain abbreviated units")
    PYTHEUS__COMPLAIN_IF(!linter->has_help, "no help text")
    PYTHEUS__COMPLAIN_IF(!is_counter && !is_untyped && pytheus__ends_in(linter, "_total"),
                         "non-counter metrics should not have \"_total\" suffix")
    PYTHEUS__COMPLAIN_IF(is_single && pytheus__ends_in(linter, "_count"),
                         "non-histogram and non-summary metrics should not have \"_count\" suffix")
    PYTHEUS__COMPLAIN_IF(is_single && pytheus__ends_in(linter, "_sum"),
                         "non-histogram and non-summary metrics should not have \"_sum\" suffix")
    PYTHEUS__COMPLAIN_IF((is_single || is_summary) && pytheus__ends_in(linter, "_bucket"),
                         "non-histogram metrics should not have \"_bucket\" suffix")
    PYTHEUS__COMPLAIN_IF((is_single || is_summary) && linter->has_le,
                         "non-histogram metrics should not have \"le\" label")
    PYTHEUS__COMPLAIN_IF((is_single || is_histogram) && linter->has_quantile,
                         "non-summary metrics should not have \"quantile\" label")
#undef PYTHEUS__COMPLAIN_IF
    return err ? err : pytheus__lint_unit(linter);
}

/* -- reading the page -- */

static bool pytheus__reserve_lint(pytheus__linter *linter, char **text, size_t *capacity,
                                  size_t size) {
    size_t new_capacity = size < SIZE_MAX / 2 ? size * 2 : size;
    char *place = *text;
    if (size > *capacity) {
        place = (char *)pytheus__resize(linter->allocator, *text, *capacity, new_capacity);
    }
    if (place && size > *capacity) {
        *text = place;
        *capacity = new_capacity;
    }
    return place != NULL;
}

static pytheus_err pytheus__lint_begin(pytheus__linter *linter, const char *name, size_t size) {
    pytheus_err err = linter->name ? pytheus__lint_family(linter) : PYTHEUS_OK;
    if (err) {
        return err;
    }
    if (!pytheus__reserve_lint(linter, &linter->name, &linter->name_capacity,
                               size + PYTHEUS__COMPLAINT_SIZE)) {
        return pytheus__out_of_memory("lint");
    }
    memcpy(linter->name, name, size);
    linter->name[size] = '\0';
    linter->name_size = size;
    linter->type = '\0';
    linter->has_help = linter->has_le = linter->has_quantile = linter->has_camel_case = false;
    return PYTHEUS_OK;
}

/* What follows "# HELP " or "# TYPE ". */
static pytheus_err pytheus__lint_header(pytheus__linter *linter, bool is_help, const char *name) {
    size_t size = strcspn(name, " ");
    bool goes_on = linter->name && linter->has_help && !linter->type && !is_help;
    pytheus_err err = goes_on ? PYTHEUS_OK : pytheus__lint_begin(linter, name, size);
    if (!err && is_help) {
        linter->has_help = true;
    } else if (!err) {
        linter->type = name[size + 1];
    }
    return err;
}

static void pytheus__lint_sample(pytheus__linter *linter, const char *line) {
    const char *at = line + strcspn(line, " {");
    while (*at && *at != ' ' && *at != '}') {
        const char *label = at + 1;
        size_t size = strcspn(label, "=");
        linter->has_le |= pytheus__equals(label, size, "le");
        linter->has_quantile |= pytheus__equals(label, size, "quantile");
        linter->has_camel_case |= pytheus__is_camel_case(label, size);
        for (at = label + size + 2; *at && *at != '"'; at++) {
            at += *at == '\\';
        }
        at++;
    }
}

static pytheus_err pytheus__lint_line(pytheus__linter *linter) {
    const char *line = linter->line;
    if (*line != '#') {
        pytheus__lint_sample(linter, line);
        return PYTHEUS_OK;
    }
    return pytheus__lint_header(linter, line[2] == 'H', line + 7);
}

static pytheus_err pytheus__put_to_linter(void *user, const char *bytes, size_t size) {
    pytheus__linter *linter = (pytheus__linter *)user;
    pytheus_err err = PYTHEUS_OK;
    while (!err && size) {
        const char *end = (const char *)memchr(bytes, '\n', size);
        size_t part = end ? (size_t)(end - bytes) : size, taken = part + (end ? 1 : 0);
        if (!pytheus__reserve_lint(linter, &linter->line, &linter->line_capacity,
                                   linter->line_size + part + 1)) {
            return pytheus__out_of_memory("lint");
        }
        memcpy(linter->line + linter->line_size, bytes, part);
        linter->line_size += part;
        if (end) {
            linter->line[linter->line_size] = '\0';
            linter->line_size = 0;
            err = pytheus__lint_line(linter);
        }
        bytes += taken;
        size -= taken;
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_lint(pytheus_registry *registry, const pytheus_sink *sink) {
    pytheus_sink reader = PYTHEUS__EMPTY;
    pytheus__linter linter;
    pytheus_err err;
    if (!sink || !sink->put) {
        return pytheus_fail(PYTHEUS_ERR_IO, "lint: no sink");
    }
    registry = pytheus__registry_or_default(registry);
    memset((void *)&linter, 0, sizeof linter);
    linter.allocator = &registry->allocator;
    linter.sink = sink;
    reader.put = pytheus__put_to_linter;
    reader.user = &linter;
    err = pytheus_write(registry, PYTHEUS_TEXT, &reader);
    if (!err && linter.name) {
        err = pytheus__end_of_page(registry, pytheus__lint_family(&linter));
    }
    pytheus__release_memory(linter.allocator, linter.line, linter.line_capacity);
    pytheus__release_memory(linter.allocator, linter.name, linter.name_capacity);
    return err;
}

/* ==== STB_DS, RETURNED ==== */

/* What the program had defined before stays: where it is not popped, it is the same text. */

/* clang-format off */
#pragma pop_macro("INCLUDE_STB_DS_H")
#pragma pop_macro("STB_DS_IMPLEMENTATION")
#pragma pop_macro("STBDS_NO_SHORT_NAMES")
#pragma pop_macro("STBDS_REALLOC")
#pragma pop_macro("STBDS_FREE")
#pragma pop_macro("STBDS_ASSERT")
#pragma pop_macro("STBDS_ADDRESSOF")
#pragma pop_macro("STBDS_OFFSETOF")
#pragma pop_macro("STBDS_STATISTICS")
#pragma pop_macro("STBDS_STATS")
#pragma pop_macro("STBDS_SIPHASH_2_4")
#pragma pop_macro("STBDS_UNIT_TESTS")
#pragma pop_macro("STBDS_SIPHASH_C_ROUNDS")
#pragma pop_macro("STBDS_SIPHASH_D_ROUNDS")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MIN")
#pragma pop_macro("STBDS_STRING_ARENA_BLOCKSIZE_MAX")
#undef stbds_array_header
#undef stbds_string_arena
#undef stbds_string_block
#undef stbds_hash_bucket
#undef stbds_hash_index
#undef stbds_arrgrowf
#undef stbds_arrfreef
#undef stbds_hmfree_func
#undef stbds_hmget_key
#undef stbds_hmget_key_ts
#undef stbds_hmput_default
#undef stbds_hmput_key
#undef stbds_hmdel_key
#undef stbds_shmode_func
#undef stbds_rand_seed
#undef stbds_hash_bytes
#undef stbds_hash_string
#undef stbds_stralloc
#undef stbds_strreset
#undef stbds_hash_seed
#undef stbds_probe_position
#undef stbds_log2
#undef stbds_make_hash_index
#undef stbds_siphash_bytes
#undef stbds_is_key_equal
#undef stbds_hm_find_slot
#undef stbds_strdup
#undef STBDS_SH_NONE
#undef STBDS_SH_DEFAULT
#undef STBDS_SH_STRDUP
#undef STBDS_SH_ARENA
#if defined(__cplusplus) || !defined(INCLUDE_STB_DS_H)
#undef stbds_arrgrowf_wrapper
#undef stbds_hmget_key_wrapper
#undef stbds_hmget_key_ts_wrapper
#undef stbds_hmput_default_wrapper
#undef stbds_hmput_key_wrapper
#undef stbds_hmdel_key_wrapper
#undef stbds_shmode_func_wrapper
#endif
#ifndef INCLUDE_STB_DS_H
#undef STBDS_NOTUSED
#undef STBDS_HAS_TYPEOF
#undef STBDS_HAS_LITERAL_ARRAY
#undef stbds_header
#undef stbds_temp
#undef stbds_temp_key
#undef stbds_arrsetcap
#undef stbds_arrsetlen
#undef stbds_arrcap
#undef stbds_arrlen
#undef stbds_arrlenu
#undef stbds_arrput
#undef stbds_arrpush
#undef stbds_arrpop
#undef stbds_arraddn
#undef stbds_arraddnptr
#undef stbds_arraddnindex
#undef stbds_arraddnoff
#undef stbds_arrlast
#undef stbds_arrfree
#undef stbds_arrdel
#undef stbds_arrdeln
#undef stbds_arrdelswap
#undef stbds_arrinsn
#undef stbds_arrins
#undef stbds_arrmaybegrow
#undef stbds_arrgrow
#undef stbds_hmput
#undef stbds_hmputs
#undef stbds_hmgeti
#undef stbds_hmgeti_ts
#undef stbds_hmgetp
#undef stbds_hmgetp_ts
#undef stbds_hmdel
#undef stbds_hmdefault
#undef stbds_hmdefaults
#undef stbds_hmfree
#undef stbds_hmgets
#undef stbds_hmget
#undef stbds_hmget_ts
#undef stbds_hmlen
#undef stbds_hmlenu
#undef stbds_hmgetp_null
#undef stbds_shput
#undef stbds_shputi
#undef stbds_shputs
#undef stbds_pshput
#undef stbds_shgeti
#undef stbds_pshgeti
#undef stbds_shgetp
#undef stbds_pshget
#undef stbds_shdel
#undef stbds_pshdel
#undef stbds_sh_new_arena
#undef stbds_sh_new_strdup
#undef stbds_shdefault
#undef stbds_shdefaults
#undef stbds_shfree
#undef stbds_shlenu
#undef stbds_shgets
#undef stbds_shget
#undef stbds_shgetp_null
#undef stbds_shlen
#undef STBDS_HM_BINARY
#undef STBDS_HM_STRING
#endif
#ifndef STBDS_STATS
#undef STBDS_BUCKET_LENGTH
#undef STBDS_BUCKET_SHIFT
#undef STBDS_BUCKET_MASK
#undef STBDS_CACHE_LINE_SIZE
#undef STBDS_ALIGN_FWD
#undef STBDS_INDEX_EMPTY
#undef STBDS_INDEX_DELETED
#undef STBDS_INDEX_IN_USE
#undef STBDS_HASH_EMPTY
#undef STBDS_HASH_DELETED
#undef stbds_load_32_or_64
#undef STBDS_SIZE_T_BITS
#undef STBDS_ROTATE_LEFT
#undef STBDS_ROTATE_RIGHT
#undef STBDS_SIPROUND
#undef STBDS_HASH_TO_ARR
#undef STBDS_ARR_TO_HASH
#undef stbds_hash_table
#endif
/* clang-format on */

#endif /* PYTHEUS_DISABLE */
#endif /* PYTHEUS_IMPLEMENTATION */
