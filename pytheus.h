/* pytheus.h - v0.1.0 - Prometheus metrics for C and C++, in one header

   Do this:

       #define PYTHEUS_IMPLEMENTATION
       #include "pytheus.h"

   in *one* C or C++ file, which makes the implementation, and include it plainly everywhere else.
   Needs stb_ds.h to compile (Debian, Ubuntu: libstb-dev), nothing at run time but -pthread.
   This comment is the manual; the licence is in LICENSE.

   CONTENTS

       1. A program                    7. Text
       2. Metrics                      8. Registries
       3. Labels and views             9. Memory
       4. Removal                     10. Threads, signals, fork
       5. Timers, progress, errors    11. Options
       6. Errors and the logger       12. Platforms


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

   The name is [a-zA-Z_:][a-zA-Z0-9_:]*, a label's name [a-zA-Z_][a-zA-Z0-9_]*, not beginning with
   two underscores; "le" is the histogram's own, "quantile" the summary's. Names that begin with
   pytheus_ are the library's. A unit, where it is given, must end the name (before _total).

   Bounds of buckets must increase; +Inf is implied. Without any they are .005 .01 .025 .05 .1 .25
   .5 1 2.5 5 10. pytheus_buckets_linear, _exponential and _range compute some.

   The name alone identifies a metric in its registry. Defining it again in the same way (type,
   labels, defaults, buckets) gives the same metric, so that several files can do it; in another
   way it is PYTHEUS_ERR_DUPLICATE, and so is a name whose samples would have the name of another
   metric's: counters also claim the name with _total and _created at its end and without,
   histograms _bucket, _sum, _count and _created, summaries the last three.

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
   churn does not grow the process.


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
   Nothing aborts, exits or asserts on what comes from outside. Out of memory is an error like any
   other: nothing has changed, nothing is lost, and the next call may succeed.


   7. TEXT

   pytheus_write gives the page (text format 0.0.4) to a sink in pieces of up to 64 KB,
   pytheus_write_stream to a FILE, pytheus_write_file to a file that is replaced as a whole (for
   node_exporter's textfile collector), pytheus_generate to a string. Serve it with the type
   pytheus_content_type(PYTHEUS_TEXT).

   Metrics come in the order of their definition, series in that of their making, labels as they
   were declared, "le" last. Numbers are the shortest text that reads back as the same double, in
   any locale. _count always equals the bucket of +Inf. What is made while a page is being written
   is on the next one. When an error comes after the first byte, what the sink got is not a page:
   write_file leaves the old file, pytheus_generate gives NULL.


   8. REGISTRIES

   pytheus_default() needs no setting up; NULL means it everywhere but in pytheus_registry_free.
   pytheus_registry_new makes one of one's own, with a prefix for all names, an allocator, a
   logger, a clock; a description's registry member puts a metric there. pytheus_sample_value
   reads one sample back, for tests.


   9. MEMORY

   A series of a counter with two labels takes about 180 bytes, one of a histogram with 11 buckets
   about 310, all included. inc, add, set, observe and timers never allocate, nor does labels() for
   a view that exists, up to 1 KB of values. All memory comes from the registry's allocator and goes
   back with pytheus_registry_free.


   10. THREADS, SIGNALS, FORK

   Everything may be called from any thread. Operations, and labels() for a view that exists, take
   no lock. New views, definitions and removals take the registry's one lock; a scrape takes it
   for 64 series at a time, and never while a sink or logger runs. pytheus_registry_free wants the
   registry to itself.

   Async-signal-safe, on complete views that are not removed, with values that are not refused:
   pytheus_counter_inc, _add, _set; pytheus_gauge_inc, _dec, _add, _sub, _set;
   pytheus_histogram_observe; pytheus_summary_observe; pytheus_view_get, _equal, _observable;
   timers with the system's clock. All of these, and errors in them, keep errno.

   Fork at any moment but in a signal handler, also with other threads running: the child has a
   whole copy of its own.


   11. OPTIONS

   Define in the file with PYTHEUS_IMPLEMENTATION:
   PYTHEUS_MALLOC(size), PYTHEUS_REALLOC(p, size), PYTHEUS_FREE(p)   all three, or malloc's
   PYTHEUS_STB_DS_H        where stb_ds.h is: "dir/stb_ds.h" or <dir/stb_ds.h>
   PYTHEUS_MAX_SERIES      the default of max_series: 10000
   PYTHEUS_NO_THREADS      no locks: the program has one thread

   Define for every file, or none:
   PYTHEUS_STATIC          all is private to the file; implies PYTHEUS_IMPLEMENTATION. Each such
                           file has a default registry of its own
   PYTHEUS_API             what stands before each function, e.g. an attribute for visibility
   PYTHEUS_DISABLE         every call compiles to nothing, and no implementation is made

   PYTHEUS_MAX_LABELS is 16 and can't be changed. A program may use stb_ds itself, in the same
   file or another, with its own implementation or none: the copy in here is private.


   12. PLATFORMS

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
#define PYTHEUS_VERSION_MINOR 1
#define PYTHEUS_VERSION_PATCH 0
#define PYTHEUS_VERSION "0.1.0"

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

#ifndef PYTHEUS_MAX_SERIES
#define PYTHEUS_MAX_SERIES 10000
#endif

#if defined(__GNUC__)
#define PYTHEUS__UNUSED __attribute__((unused))
#else
#define PYTHEUS__UNUSED
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

typedef struct pytheus_label {
    const char *name PYTHEUS__ZERO;
    const char *value PYTHEUS__ZERO;
} pytheus_label;

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
    size_t max_series PYTHEUS__ZERO;          /* 0: PYTHEUS_MAX_SERIES */
    pytheus_registry *registry PYTHEUS__ZERO; /* NULL: pytheus_default() */
    bool unregistered PYTHEUS__ZERO;          /* off the page; new each time */
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

typedef struct pytheus_registry_desc {
    const char *prefix PYTHEUS__ZERO;          /* "app": app_requests_total; NULL: none */
    pytheus_allocator allocator PYTHEUS__ZERO; /* zero: PYTHEUS_REALLOC and PYTHEUS_FREE */
    pytheus_logger logger PYTHEUS__ZERO;       /* zero: one line on stderr */
    double (*clock)(void *user) PYTHEUS__ZERO; /* seconds, monotonic; NULL: the system's */
    void *clock_user PYTHEUS__ZERO;
} pytheus_registry_desc;

typedef enum pytheus_format {
    PYTHEUS_TEXT /* Prometheus text format 0.0.4 */
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

/* -- registries: any thread; may allocate -- */

/* A registry of one's own; desc may be NULL. NULL: bad prefix or out of memory. */
PYTHEUS_API pytheus_registry *pytheus_registry_new(const pytheus_registry_desc *desc);

/* Frees the registry with all its metrics, and ends the life of all their handles: nobody may be
   using one. The default registry is emptied, and can be used again. NULL: does nothing. */
PYTHEUS_API void pytheus_registry_free(pytheus_registry *registry);

/* The registry that NULL means, except to be freed. Needs no setting up. */
PYTHEUS_API pytheus_registry *pytheus_default(void);

/* -- metrics: any thread; allocate; take the registry's lock -- */

/* Makes the metric, or finds it: the same definition (type, labels, defaults, buckets) again gives
   the same metric. Nothing handle: NAME, LABEL, BUCKETS (bad definition), DUPLICATE (the name, or a
   sample name that follows from it, is another metric's), NOMEM; then nothing has changed. */
PYTHEUS_API pytheus_counter pytheus_counter_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_gauge pytheus_gauge_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_histogram pytheus_histogram_new(const pytheus_desc *desc);
PYTHEUS_API pytheus_summary pytheus_summary_new(const pytheus_desc *desc);

/* Bounds for desc.buckets: start, start + width, ...; start, start * factor, ...; n bounds from min
   to max, each the same factor over the one before. Return n, or 0 and write nothing usable where
   these are not increasing finite numbers (width > 0; start > 0 and factor > 1; 0 < min < max). */
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

/* Counts v in its bucket (the first whose bound is not below v) and adds it to the sum.
   NaN: VALUE. */
PYTHEUS_API pytheus_err pytheus_histogram_observe(pytheus_histogram histogram, double v);
PYTHEUS_API pytheus_err pytheus_summary_observe(pytheus_summary summary, double v);

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

/* Whether both are the same view in the same life. No lock. */
PYTHEUS_API bool pytheus_view_equal(pytheus_view a, pytheus_view b);

/* Whether all labels are set and the series is there: operations will work. No lock. */
PYTHEUS_API bool pytheus_view_observable(pytheus_view view);

/* The value of a counter or gauge, the sum of a histogram or summary. No lock, never allocates. */
PYTHEUS_API pytheus_err pytheus_view_get(pytheus_view view, double *value);

/* Removes the series of a complete view, or a partial view with every series that has its labels:
   all, where it has none. A series that exists from the start is set to 0 instead. */
PYTHEUS_API pytheus_err pytheus_view_remove(pytheus_view view);

/* Removes all series of the metric, whatever the view's labels. */
PYTHEUS_API pytheus_err pytheus_view_clear(pytheus_view view);

/* The value that the page would show for a sample: ("x_bucket", {"le", "0.5", "method", "GET"}).
   sample is the exposed name; labels in any order, defaults may be left out. For tests: takes the
   lock, makes no series. NAME: no such sample; LABEL; NOTHING: no such series. */
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
/* Writes it to a stream, and flushes that. */
PYTHEUS_API pytheus_err pytheus_write_stream(pytheus_registry *registry, pytheus_format format,
                                             FILE *stream);
/* Writes it to a new file beside path, then renames that over path: a reader sees the old page or
   the new one, whole. On an error the old file stays. */
PYTHEUS_API pytheus_err pytheus_write_file(pytheus_registry *registry, pytheus_format format,
                                           const char *path);
/* The page as a string that ends with NUL, to be given to pytheus_free; length may be NULL. NULL on
   an error. Memory for the whole page. */
PYTHEUS_API char *pytheus_generate(pytheus_registry *registry, pytheus_format format,
                                   size_t *length);
PYTHEUS_API void pytheus_free(void *page);

/* "text/plain; version=0.0.4; charset=utf-8" */
PYTHEUS_API const char *pytheus_content_type(pytheus_format format);

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
PYTHEUS__OFF(pytheus_registry *, pytheus_registry_new, (const pytheus_registry_desc *desc), NULL)
PYTHEUS__OFF_VOID(pytheus_registry_free, (pytheus_registry * registry))
PYTHEUS__OFF(pytheus_registry *, pytheus_default, (void), NULL)
PYTHEUS__OFF_METRIC(counter)
PYTHEUS__OFF_METRIC(gauge)
PYTHEUS__OFF_METRIC(histogram)
PYTHEUS__OFF_METRIC(summary)
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
PYTHEUS__OFF(pytheus_err, pytheus_histogram_observe, (pytheus_histogram histogram, double v),
             PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_summary_observe, (pytheus_summary summary, double v), PYTHEUS_OK)
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
PYTHEUS__OFF(pytheus_err, pytheus_write_stream,
             (pytheus_registry * registry, pytheus_format format, FILE *stream), PYTHEUS_OK)
PYTHEUS__OFF(pytheus_err, pytheus_write_file,
             (pytheus_registry * registry, pytheus_format format, const char *path), PYTHEUS_OK)
PYTHEUS__OFF(char *, pytheus_generate,
             (pytheus_registry * registry, pytheus_format format, size_t *length), NULL)
PYTHEUS__OFF_VOID(pytheus_free, (void *page))
PYTHEUS__OFF(const char *, pytheus_content_type, (pytheus_format format), "")
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

#define PYTHEUS__CXX_METRIC(kind)                                                                  \
    inline pytheus_##kind pytheus_##kind##_new(const pytheus_desc &desc) {                         \
        return pytheus_##kind##_new(&desc);                                                        \
    }                                                                                              \
    template <class... Strings>                                                                    \
    inline pytheus_##kind pytheus_##kind##_labels(pytheus_##kind handle, Strings... strings) {     \
        static_assert(sizeof...(strings) > 0 && sizeof...(strings) % 2 == 0 &&                     \
                          sizeof...(strings) <= 2 * PYTHEUS_MAX_LABELS,                            \
                      "labels come in name, value pairs, 16 at most");                             \
        const char *const pairs[] = {&*strings...};                                                \
        return pytheus_##kind##_view(handle, pairs, sizeof...(strings));                           \
    }
PYTHEUS__CXX_METRIC(counter)
PYTHEUS__CXX_METRIC(gauge)
PYTHEUS__CXX_METRIC(histogram)
PYTHEUS__CXX_METRIC(summary)
#undef PYTHEUS__CXX_METRIC

namespace pytheus {
namespace detail {

template <class Handle, class... Strings>
inline Handle at(pytheus__site *site, Handle handle, Strings... strings) {
    static_assert(sizeof...(strings) > 0 && sizeof...(strings) % 2 == 0 &&
                      sizeof...(strings) <= 2 * PYTHEUS_MAX_LABELS,
                  "labels come in name, value pairs, 16 at most");
    const char *const pairs[] = {&*strings...};
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

#ifdef __cpp_exceptions
/* Calls f and returns its result. An exception of one of the types E (any, if none is given) that
   leaves it is counted once, and goes on. */
template <class... E, class F>
inline auto count_exceptions(pytheus_counter counter, F f) -> decltype(f()) {
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
#include <windows.h>
#else
#include <fcntl.h>
#include <pthread.h>
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

/* All zero, also where members have initialisers, and without code that runs before main. */
#ifdef __cplusplus
#define PYTHEUS__EMPTY                                                                             \
    {}
#else
#define PYTHEUS__EMPTY                                                                             \
    { 0 }
#endif

/* ==== PLATFORM: ATOMICS, LOCKS, CLOCKS ==== */

/* 8-byte alignment is what makes 64-bit atomics lock-free on 32-bit x86. */
#if defined(__GNUC__)
typedef uint64_t pytheus__word __attribute__((aligned(8)));
#define PYTHEUS__LIKELY(condition) __builtin_expect(!!(condition), 1)
#define PYTHEUS__PRINTF(text, first) __attribute__((format(printf, text, first)))
#define PYTHEUS__LOAD(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define PYTHEUS__LOAD_ACQUIRE(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define PYTHEUS__STORE(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define PYTHEUS__STORE_RELEASE(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
#define PYTHEUS__ADD(p, v) __atomic_fetch_add(p, v, __ATOMIC_RELAXED)
#define PYTHEUS__SET_BITS(p, v) __atomic_fetch_or(p, v, __ATOMIC_RELAXED)
/* On failure *expected is loaded anew, with acquire. May fail for no reason. */
#define PYTHEUS__REPLACE(p, expected, v)                                                           \
    __atomic_compare_exchange_n(p, expected, v, 1, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#elif defined(PYTHEUS_NO_THREADS)
typedef uint64_t pytheus__word;
#define PYTHEUS__LIKELY(condition) (condition)
#define PYTHEUS__PRINTF(text, first)
#define PYTHEUS__LOAD(p) (*(p))
#define PYTHEUS__LOAD_ACQUIRE(p) (*(p))
#define PYTHEUS__STORE(p, v) (*(p) = (v))
#define PYTHEUS__STORE_RELEASE(p, v) (*(p) = (v))
#define PYTHEUS__ADD(p, v) ((*(p) += (v)) - (v))
#define PYTHEUS__SET_BITS(p, v) ((*(p) |= (v)) ^ (v))
#define PYTHEUS__REPLACE(p, expected, v) ((void)*(expected), *(p) = (v), true)
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

typedef struct pytheus__told_entry {
    uint64_t key;
    char value;
} pytheus__told_entry;

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
    struct pytheus__family **families; /* stb_ds array */
    pytheus__name_entry *names;        /* stb_ds map: every sample name, hashed */
    pytheus__told_entry *told;         /* stb_ds map: refused definitions that were logged */
    pytheus__chunk *chunks;            /* stb_ds array */
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

/* Runs a change of stb_ds containers; false when memory ran out in the middle of it. Callers
   hold the registry's lock. stb_ds itself knows no failing allocation: ours leaves it by
   longjmp, at points where its containers are whole (that is why keys are scalars and maps have
   a default). */
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
PYTHEUS__PRINTF(2, 3)
static pytheus_err pytheus__fail(pytheus_err err, const char *format, ...) {
    int saved_errno = errno;
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(pytheus__sentence, sizeof pytheus__sentence, format, arguments);
    va_end(arguments);
    if (size >= (int)sizeof pytheus__sentence) {
        memcpy(pytheus__sentence + sizeof pytheus__sentence - 4, "...", 4);
    }
    pytheus__make_printable(pytheus__sentence);
    errno = saved_errno;
    return err;
}

static pytheus_err pytheus__out_of_memory(const char *subject) {
    return pytheus__fail(PYTHEUS_ERR_NOMEM, "%.100s: out of memory", subject);
}

static void pytheus__standard_log(void *user, pytheus_err err, const char *metric,
                                  const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    fprintf(stderr, "pytheus: %s\n", sentence);
}

/* Gives the thread's sentence to the logger. That may fail calls of its own: they are not
   logged, or it would never end, and afterwards the sentence is still this error's. */
static void pytheus__log(const pytheus_logger *logger, pytheus_err err, const char *metric) {
    int saved_errno = errno;
    char sentence[PYTHEUS__SENTENCE_SIZE];
    if (pytheus__is_logging) {
        return;
    }
    memcpy(sentence, pytheus__sentence, sizeof sentence);
    pytheus__is_logging = true;
    logger->log(logger->user, err, metric, sentence);
    pytheus__is_logging = false;
    memcpy(pytheus__sentence, sentence, sizeof sentence);
    errno = saved_errno;
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

/* Adds the string with what is not UTF-8 replaced by U+FFFD. */
static void pytheus__add_mended(pytheus__text *out, const char *string) {
    while (*string) {
        int step = pytheus__utf8_step((const unsigned char *)string);
        if (step > 0) {
            pytheus__add(out, string, (size_t)step);
            string += step;
        } else {
            pytheus__add(out, "\xef\xbf\xbd", 3);
            string -= step;
        }
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

/* Both the state and the multiplier are secret, so that values which collide can't be chosen. Never
   0, which marks an empty slot. */
static uint64_t pytheus__hash_words(const uint64_t seed[2], const pytheus__word *words, size_t n) {
    uint64_t hash = seed[0] ^ n;
    size_t i;
    for (i = 0; i < n; i++) {
        hash = pytheus__fold(hash ^ words[i], seed[1]);
    }
    return pytheus__fold(hash, seed[1] ^ 0x9e3779b97f4a7c15u) | 1;
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

/* Spreads a serial number over 57 bits, one to one: odd multipliers and shifts can be undone. */
static uint64_t pytheus__spread(uint64_t serial) {
    const uint64_t mask = ((uint64_t)1 << 57) - 1;
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

/* How many of the digits come before the first that is not 0, or after the last: not all are 0. */
static int pytheus__zeros_before(uint64_t digits) {
#if defined(__GNUC__)
    return __builtin_ctzll(digits) / 8;
#else
    int zeros = 0;
    for (; !(digits & 0xff); digits >>= 8) {
        zeros++;
    }
    return zeros;
#endif
}

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

/* v < 10^8, without leading zeros, but 0 itself is a digit. */
static char *pytheus__put_up_to_8(char *out, uint64_t v) {
    uint64_t digits = pytheus__digits_8((uint32_t)v), in_last_digit = (uint64_t)1 << 56;
    int zeros = pytheus__zeros_before(digits | in_last_digit);
    return pytheus__put_8(out, digits >> 8 * zeros) - zeros;
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
    while (decimal.digits < 10000000000000000) {
        decimal.digits *= 10;
        decimal.exponent--;
    }
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
    PYTHEUS__TYPE = 7,      /* mask: pytheus_type */
    PYTHEUS__COMPLETE = 8,  /* all labels are set: it has cells */
    PYTHEUS__REUSABLE = 16, /* may be given to other labels later: its cells are masked */
    PYTHEUS__OVERFLOW = 32, /* the series beyond max_series */
    PYTHEUS__FLAGS_SIZE = 7
};

/* Serial numbers of lives, in all registries: a generation is one, spread. */
static pytheus__word pytheus__last_serial;

/* Followed by the cells, the key and the label text. */
typedef struct pytheus__node {
    pytheus__word generation; /* 0: dead */
    struct pytheus__family *family;
    uint64_t hash;
    union {
        uint64_t serial; /* of the life; rises along the family's list of nodes */
        struct pytheus__node *next_free;
    } link;
    uint32_t place; /* in the family's list of nodes */
    uint32_t key_words;
    uint32_t text_size;
    uint32_t size_class;
} pytheus__node;

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

typedef struct pytheus__slot {
    pytheus__word hash; /* 0: never used; stays when the node goes */
    pytheus__node *node;
} pytheus__slot;

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

typedef struct pytheus__family {
    pytheus_registry *registry;
    pytheus_type type;
    pytheus__piece name;        /* as exposed, with the prefix; ends with NUL */
    const char *metric;         /* without the prefix: the end of name */
    pytheus__piece header;      /* # HELP and # TYPE lines */
    pytheus__piece *text_parts; /* {method=" ","code=" : what stands before each value */
    pytheus__piece text_end;
    pytheus__piece *label_names;    /* end with NUL */
    pytheus__piece *default_values; /* text NULL: none; end with NUL */
    size_t num_labels;
    double *bounds; /* finite upper bounds; none unless a histogram */
    size_t num_bounds;
    pytheus__piece *bucket_ends; /* ,le="0.5"}  for each bound and +Inf */
    pytheus__piece sum_end;
    size_t num_cells;
    size_t max_series;
    bool listed;

    pytheus__node *root;   /* the metric itself */
    pytheus__node **nodes; /* stb_ds array, in order of creation; NULL where one was removed */
    size_t num_removed;    /* NULLs in nodes */
    uint64_t compactions;
    size_t num_views; /* what max_series limits */
    bool had_removal;
    pytheus__node *overflow;
    pytheus__word overflow_calls;
    uint32_t told; /* bits: errors that were logged */

    pytheus__directory *directory;    /* NULL without labels */
    pytheus__segment **free_segments; /* by log2_size; NULL without labels */
    pytheus__node **free_nodes;       /* by size class; NULL without labels */
} pytheus__family;

static pytheus__word *pytheus__cells(pytheus__node *node) {
    return (pytheus__word *)(void *)(node + 1);
}

static pytheus__word *pytheus__key_of(pytheus__node *node) {
    return pytheus__cells(node) + node->family->num_cells;
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

static bool pytheus__is_alive(pytheus_view view) {
    return view.node && PYTHEUS__LOAD(&view.node->generation) == view.generation;
}

static pytheus_type pytheus__type_of(pytheus_view view) {
    return (pytheus_type)(view.generation & PYTHEUS__TYPE);
}

/* Gives the logger the thread's sentence, the first time that this metric meets this error. Never
   called with a lock held. */
static pytheus_err pytheus__tell(pytheus__family *family, pytheus_err err) {
    uint32_t bit = (uint32_t)1 << -(int)err;
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

/* Writes the key's words; values[i] is NULL where a label is not set. false: no memory. */
static bool pytheus__key_write(pytheus__family *family, pytheus__key *key,
                               const char *const *values, bool mend) {
    size_t sizes[PYTHEUS_MAX_LABELS];
    size_t i, size = 0;
    for (i = 0; i < family->num_labels; i++) {
        const char *value = values[i] ? values[i] : "?";
        sizes[i] = mend ? pytheus__mended_size(value) : strlen(value);
        if (sizes[i] > PYTHEUS__MOST_KEY_WORDS * sizeof *key->words) {
            return false; /* before a sum of such sizes wraps */
        }
        size += sizes[i] + 1;
    }
    if (!pytheus__key_reserve(family->registry, key, (size + 7) / 8)) {
        return false;
    }
    if (key->num_words) {
        key->words[key->num_words - 1] = 0;
    }
    pytheus__text out = {(char *)key->words, 0};
    for (i = 0; i < family->num_labels; i++) {
        if (mend && values[i]) {
            pytheus__add_mended(&out, values[i]);
        } else {
            pytheus__add(&out, values[i] ? values[i] : PYTHEUS__UNSET, sizes[i]);
        }
        pytheus__add(&out, "", 1);
    }
    return true;
}

static bool pytheus__key_is_ascii(const pytheus__key *key) {
    uint64_t all = 0;
    size_t i;
    for (i = 0; i < key->num_words; i++) {
        all |= key->words[i];
    }
    return !(all & 0x8080808080808080u);
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
    if (!pytheus__key_write(family, key, values, false)) {
        return false;
    }
    if (!pytheus__key_is_ascii(key) && !pytheus__are_utf8(values, family->num_labels)) {
        pytheus__key_free(family->registry, key);
        if (!pytheus__key_write(family, key, values, true)) {
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

static pytheus__segment **pytheus__segments(pytheus__directory *directory) {
    return (pytheus__segment **)(void *)(directory + 1);
}

static size_t pytheus__directory_place(const pytheus__directory *directory, uint64_t hash) {
    return directory->depth ? (size_t)(hash >> (64 - directory->depth)) : 0;
}

static pytheus__segment *pytheus__segment_of(pytheus__directory *directory, uint64_t hash) {
    size_t place = pytheus__directory_place(directory, hash);
    return PYTHEUS__LOAD_ACQUIRE(&pytheus__segments(directory)[place]);
}

static bool pytheus__holds_key(pytheus__node *node, const pytheus__key *key) {
    pytheus__word *words = pytheus__key_of(node);
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
static pytheus_view pytheus__find(pytheus__family *family, const pytheus__key *key) {
    pytheus__segment *segment =
        pytheus__segment_of(PYTHEUS__LOAD_ACQUIRE(&family->directory), key->hash);
    pytheus__slot *slots = pytheus__slots(segment);
    size_t mask = ((size_t)1 << segment->log2_size) - 1;
    size_t i = (size_t)(key->hash >> 1) & mask, probes;
    for (probes = 0; probes <= mask; probes++, i = (i + 1) & mask) {
        uint64_t hash = PYTHEUS__LOAD_ACQUIRE(&slots[i].hash);
        if (!hash) {
            break;
        }
        pytheus__node *node =
            hash == key->hash ? PYTHEUS__LOAD_ACQUIRE(&slots[i].node) : (pytheus__node *)NULL;
        if (node) {
            uint64_t generation = PYTHEUS__LOAD_ACQUIRE(&node->generation);
            if (generation && pytheus__holds_key(node, key) &&
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
            PYTHEUS__STORE(&slots[i].hash, 0);
            PYTHEUS__STORE(&slots[i].node, (pytheus__node *)NULL);
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
    size_t i = (size_t)(hash >> 1) & mask;
    while (slots[i].hash) {
        i = (i + 1) & mask;
    }
    PYTHEUS__STORE_RELEASE(&slots[i].node, node); /* also for who read the hash in an earlier use */
    PYTHEUS__STORE_RELEASE(&slots[i].hash, hash);
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
    pytheus__segment **segments = pytheus__segments(directory);
    pytheus__slot *slots = pytheus__slots(segment);
    size_t i, span = (size_t)1 << (directory->depth - segment->depth);
    size_t first = pytheus__directory_place(directory, hash) & ~(span - 1);
    for (i = 0; i < (size_t)1 << segment->log2_size; i++) {
        if (slots[i].node) {
            bool upper = low != high && (slots[i].hash >> (63 - segment->depth) & 1);
            pytheus__segment_put(upper ? high : low, slots[i].hash, slots[i].node);
        }
    }
    for (i = 0; i < span; i++) {
        PYTHEUS__STORE_RELEASE(&segments[first + i], i < span / 2 ? low : high);
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
        pytheus__segments(directory)[i] = pytheus__segments(old)[i / 2];
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

static void pytheus__index_remove(pytheus__family *family, const pytheus__node *node) {
    pytheus__segment *segment = pytheus__segment_of(family->directory, node->hash);
    pytheus__slot *slots = pytheus__slots(segment);
    size_t mask = ((size_t)1 << segment->log2_size) - 1;
    size_t i = (size_t)(node->hash >> 1) & mask;
    while (slots[i].node != node) {
        i = (i + 1) & mask;
    }
    PYTHEUS__STORE(&slots[i].node, (pytheus__node *)NULL);
    segment->live--;
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

static size_t pytheus__node_size(const pytheus__family *family, size_t key_words,
                                 size_t text_size) {
    return pytheus__cache_lines(sizeof(pytheus__node) +
                                (family->num_cells + key_words) * sizeof(pytheus__word) +
                                (text_size + 7) / 8 * 8);
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

/* What a new node is made of, put together before anything is changed. */
typedef struct pytheus__birth {
    pytheus__family *family;
    const pytheus__key *key;
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
                                const pytheus__key *key, uint64_t flags) {
    birth->family = family;
    birth->key = key;
    birth->flags = flags | (uint64_t)family->type;
    birth->flags |= key->complete ? PYTHEUS__COMPLETE : 0;
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
    node->size_class = birth->size_class;
    return node;
}

/* Room in the list of nodes, the index and the arena for one more; false: no memory. */
static bool pytheus__birth_reserve(const pytheus__birth *birth) {
    pytheus__family *family = birth->family;
    size_t size = pytheus__free_node(birth) ? 0 : birth->size;
    void *nodes;
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

/* Makes the node, in all places that were reserved for it. */
static pytheus__node *pytheus__birth_commit(const pytheus__birth *birth) {
    pytheus__family *family = birth->family;
    const pytheus__key *key = birth->key;
    pytheus__node *node = pytheus__birth_memory(birth);
    uint64_t serial = PYTHEUS__ADD(&pytheus__last_serial, 1) + 1;
    uint64_t generation = pytheus__spread(serial) << PYTHEUS__FLAGS_SIZE | birth->flags;
    uint64_t empty = birth->flags & PYTHEUS__REUSABLE ? generation : 0;
    size_t i;
    for (i = 0; i < family->num_cells; i++) {
        PYTHEUS__STORE_RELEASE(&pytheus__cells(node)[i], empty);
    }
    PYTHEUS__STORE_RELEASE(&node->key_words, (uint32_t)key->num_words);
    pytheus__store_words(pytheus__key_of(node), key->words, key->num_words * 8);
    pytheus__store_words((pytheus__word *)(void *)pytheus__text_of(node), birth->text.at,
                         birth->text.size);
    node->text_size = (uint32_t)birth->text.size;
    node->hash = key->hash;
    node->link.serial = serial;
    node->place = (uint32_t)stbds_arrlenu(family->nodes);
    stbds_arrput(family->nodes, node);
    PYTHEUS__STORE_RELEASE(&node->generation, generation);
    if (family->directory) {
        pytheus__index_grow(family, key->hash);
        pytheus__segment_put(pytheus__segment_of(family->directory, key->hash), key->hash, node);
    }
    return node;
}

/* The new node; NULL: no memory, nothing has changed. */
static pytheus__node *pytheus__node_new(pytheus__family *family, const pytheus__key *key,
                                        uint64_t flags) {
    pytheus__birth birth;
    pytheus__node *node = NULL;
    if (!pytheus__birth_plan(&birth, family, key, flags)) {
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

static uint64_t pytheus__mask(uint64_t generation) {
    return generation & PYTHEUS__REUSABLE ? generation : 0;
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
    size_t i, real = node->family->type == PYTHEUS_COUNTER ? PYTHEUS__COUNTER_REAL : 0;
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

/* Ends a node's life. One that was made before the family's first removal may still be added to
   by a thread that has already compared its generation, so it is never used again. */
static void pytheus__kill(pytheus__node *node) {
    pytheus__family *family = node->family;
    uint64_t generation = node->generation;
    family->had_removal = true;
    pytheus__index_remove(family, node);
    PYTHEUS__STORE_RELEASE(&node->generation, 0);
    family->nodes[node->place] = NULL;
    family->num_removed++;
    family->overflow = node == family->overflow ? NULL : family->overflow;
    family->num_views -= generation & PYTHEUS__OVERFLOW ? 0 : 1;
    if (generation & PYTHEUS__REUSABLE) {
        node->link.next_free = family->free_nodes[node->size_class];
        family->free_nodes[node->size_class] = node;
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

static void pytheus__remove_node(pytheus__node *node) {
    if (pytheus__is_permanent(node)) {
        pytheus__zero_cells(node);
    } else {
        pytheus__kill(node);
    }
}

/* Removes what has these labels: everything when none is named. */
static void pytheus__remove_below(pytheus__family *family, const char *const *values) {
    size_t i, n = stbds_arrlenu(family->nodes);
    for (i = 0; i < n; i++) {
        pytheus__node *node = family->nodes[i];
        if (node && pytheus__is_below(node, values)) {
            pytheus__remove_node(node);
        }
    }
    pytheus__compact(family);
}

/* -- views -- */

/* For sentences: method, code */
static void pytheus__list_labels(const pytheus__family *family, char *out, size_t size) {
    size_t i, used = 0;
    out[0] = '\0';
    for (i = 0; i < family->num_labels && used < size; i++) {
        int n =
            snprintf(out + used, size - used, "%s%s", i ? ", " : "", family->label_names[i].text);
        used += n > 0 ? (size_t)n : 0;
    }
}

static pytheus_err pytheus__label_error(const pytheus__family *family, const char *name) {
    char names[160];
    if (!family->num_labels) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: no label \"%.100s\" (has none)",
                             family->name.text, name);
    }
    pytheus__list_labels(family, names, sizeof names);
    return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: no label \"%.100s\" (has: %s)",
                         family->name.text, name, names);
}

/* Why an operation on the view was refused. */
static pytheus_err pytheus__refusal(pytheus_view view, pytheus_type type) {
    static const char *const types[] = {"", "counter", "gauge", "histogram", "summary"};
    char names[160];
    pytheus__family *family;
    if (!view.node) {
        return pytheus__fail(PYTHEUS_ERR_NOTHING,
                             "nothing handle: the metric or view was not made");
    }
    family = view.node->family;
    if (pytheus__type_of(view) != type) {
        return pytheus__fail(PYTHEUS_ERR_TYPE, "%.100s: not a %s but a %s", family->name.text,
                             types[type], types[family->type]);
    }
    if (!pytheus__is_alive(view)) {
        return pytheus__fail(PYTHEUS_ERR_REMOVED, "%.100s: the series was removed",
                             family->name.text);
    }
    pytheus__list_labels(family, names, sizeof names);
    return pytheus__fail(PYTHEUS_ERR_UNOBSERVABLE, "%.100s: labels are missing (has: %s)",
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
        if (strcmp(family->label_names[place].text, name) == 0) {
            return place;
        }
    }
    return family->num_labels;
}

static pytheus_err pytheus__set_labels(const pytheus__family *family, const char **values,
                                       const char *const *pairs, size_t num_strings) {
    size_t i;
    if (num_strings % 2 || (num_strings && !pairs)) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: labels come in name, value pairs",
                             family->name.text);
    }
    for (i = 0; i < num_strings; i += 2) {
        size_t place;
        if (!pairs[i] || !pairs[i + 1]) {
            return pytheus__fail(
                PYTHEUS_ERR_LABEL, "%.100s: NULL as the %s%.100s", family->name.text,
                pairs[i] ? "value of label " : "name of a label", pairs[i] ? pairs[i] : "");
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

/* The overflow series, made when it is first needed; NULL: no memory. */
static pytheus__node *pytheus__overflow_node(pytheus__family *family) {
    const char *values[PYTHEUS_MAX_LABELS];
    pytheus__key key;
    size_t i;
    if (family->overflow) {
        return family->overflow;
    }
    for (i = 0; i < family->num_labels; i++) {
        values[i] = "__overflow__";
    }
    if (pytheus__key_pack(family, &key, values)) { /* 16 values fit the local words */
        family->overflow = pytheus__find(family, &key).node;
        if (!family->overflow) {
            family->overflow = pytheus__node_new(family, &key, PYTHEUS__OVERFLOW);
        }
    }
    return family->overflow;
}

/* Finds or makes the view, under the lock. */
static pytheus_view pytheus__find_or_make(pytheus__family *family, const pytheus__key *key,
                                          bool *overflowed) {
    pytheus_view view = pytheus__find(family, key);
    pytheus__node *node;
    if (view.node) {
        return view;
    }
    *overflowed = family->num_views >= family->max_series;
    if (*overflowed) {
        node = pytheus__overflow_node(family);
    } else {
        node = pytheus__node_new(family, key, 0);
        family->num_views += node ? 1 : 0;
    }
    return node ? pytheus__make_view(node, node->generation) : pytheus__nothing();
}

/* The bit beside those of the errors. */
enum { PYTHEUS__TOLD_OVERFLOW = 1 };

static void pytheus__count_overflow(pytheus__family *family) {
    (void)PYTHEUS__ADD(&family->overflow_calls, 1);
    if (!(PYTHEUS__SET_BITS(&family->told, PYTHEUS__TOLD_OVERFLOW) & PYTHEUS__TOLD_OVERFLOW)) {
        char sentence[PYTHEUS__SENTENCE_SIZE], limit[PYTHEUS__NUMBER_SIZE + 1];
        *pytheus__put_integer(limit, family->max_series) = '\0';
        memcpy(sentence, pytheus__sentence, sizeof sentence);
        (void)pytheus__fail(PYTHEUS_ERR_LABEL,
                            "%.100s: more than %s series: new labels go to its overflow series",
                            family->name.text, limit);
        pytheus__log(&family->registry->logger, PYTHEUS_ERR_LABEL, family->name.text);
        memcpy(pytheus__sentence, sentence, sizeof sentence);
    }
}

static pytheus_view pytheus__make(pytheus__family *family, const pytheus__key *key) {
    pytheus_view view;
    bool overflowed = false;
    pytheus__acquire(&family->registry->lock);
    view = pytheus__find_or_make(family, key, &overflowed);
    pytheus__release(&family->registry->lock);
    if (!view.node) {
        (void)pytheus__tell(family, pytheus__out_of_memory(family->name.text));
    } else if (overflowed) {
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
    if (!view.node) {
        view = pytheus__make(family, &key);
    }
    pytheus__key_free(family->registry, &key);
    return view;
}

/* The view with more labels. The root's own labels are none: its defaults can be overridden. */
static pytheus_view pytheus__labels(pytheus_view base, pytheus_type type, const char *const *pairs,
                                    size_t num_strings) {
    const char *values[PYTHEUS_MAX_LABELS];
    pytheus_view view = pytheus__nothing();
    pytheus_err err = PYTHEUS_OK;
    pytheus__key copy;
    pytheus__family *family;
    if (!base.node || pytheus__type_of(base) != type) {
        (void)pytheus__refuse(base, type);
        return view;
    }
    family = base.node->family;
    memset(values, 0, family->num_labels * sizeof *values);
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
    if (!pytheus__is_alive(view) || !pytheus__is_alive(base)) {
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
    return view.generation & PYTHEUS__COMPLETE && pytheus__is_alive(view);
}

/* Nothing is below a complete view, and everything is below one without labels. */
static void pytheus__remove_view(pytheus_view view) {
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__family *family = view.node->family;
    if (view.generation & PYTHEUS__COMPLETE) {
        pytheus__remove_node(view.node);
        pytheus__compact(family);
        return;
    }
    if (view.node != family->root) {
        pytheus__key_values(family, pytheus__key_of(view.node), values);
    }
    pytheus__remove_below(family, values);
}

static void pytheus__clear_view(pytheus_view view) {
    const char *const values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__remove_below(view.node->family, values);
}

static pytheus_err pytheus__remove(pytheus_view view, void (*change)(pytheus_view view)) {
    bool alive;
    if (!view.node) {
        return pytheus__refuse(view, PYTHEUS_COUNTER);
    }
    pytheus_registry *registry = view.node->family->registry;
    pytheus__acquire(&registry->lock);
    alive = pytheus__is_alive(view);
    if (alive) {
        change(view);
    }
    pytheus__release(&registry->lock);
    return alive ? PYTHEUS_OK : pytheus__refuse(view, pytheus__type_of(view));
}

PYTHEUS_API pytheus_err pytheus_view_remove(pytheus_view view) {
    return pytheus__remove(view, pytheus__remove_view);
}

PYTHEUS_API pytheus_err pytheus_view_clear(pytheus_view view) {
    return pytheus__remove(view, pytheus__clear_view);
}

/* ==== REGISTRY AND DEFINITIONS ==== */

static pytheus__lock pytheus__registries_lock = PYTHEUS__LOCK_INIT;
static pytheus_registry *pytheus__registries;
static pytheus_registry pytheus__default_registry = PYTHEUS__EMPTY;
static uint32_t pytheus__default_is_ready;

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

static void pytheus__register_fork_handlers(void) {
    (void)pthread_atfork(pytheus__before_fork, pytheus__after_fork, pytheus__after_fork);
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

PYTHEUS_API pytheus_registry *pytheus_default(void) {
    pytheus_registry *registry = &pytheus__default_registry;
    if (!PYTHEUS__LOAD_ACQUIRE(&pytheus__default_is_ready)) {
        pytheus_registry_desc plain = PYTHEUS__EMPTY;
        pytheus__prepare_for_fork();
        pytheus__acquire(&pytheus__registries_lock);
        if (!PYTHEUS__LOAD(&pytheus__default_is_ready)) {
            pytheus__registry_set_up(registry, &plain);
            pytheus__registry_link(registry);
            PYTHEUS__STORE_RELEASE(&pytheus__default_is_ready, (uint32_t)1);
        }
        pytheus__release(&pytheus__registries_lock);
    }
    return registry;
}

static pytheus_registry *pytheus__registry_or_default(pytheus_registry *registry) {
    return registry ? registry : pytheus_default();
}

/* What begins with pytheus_ is the library's own. */
static bool pytheus__is_reserved(const char *name) {
    return pytheus__starts_with(name, "pytheus_");
}

static bool pytheus__is_prefix(const char *prefix) {
    return pytheus__is_name(prefix, true) && !pytheus__is_reserved(prefix) &&
           strcmp(prefix, "pytheus") != 0;
}

PYTHEUS_API pytheus_registry *pytheus_registry_new(const pytheus_registry_desc *desc) {
    pytheus_registry_desc plain = PYTHEUS__EMPTY;
    pytheus_registry model = PYTHEUS__EMPTY, *registry;
    size_t prefix_size;
    desc = desc ? desc : &plain;
    pytheus__take_callbacks(&model, desc);
    prefix_size = desc->prefix ? strlen(desc->prefix) : 0;
    if (desc->prefix && !pytheus__is_prefix(desc->prefix)) {
        (void)pytheus__fail(PYTHEUS_ERR_NAME, "\"%.100s\" can't be a registry's prefix",
                            desc->prefix);
        pytheus__log(&model.logger, PYTHEUS_ERR_NAME, "");
        return NULL;
    }
    registry = (pytheus_registry *)pytheus__resize(&model.allocator, NULL, 0,
                                                   sizeof *registry + prefix_size + 2);
    if (!registry) {
        (void)pytheus__out_of_memory("registry");
        pytheus__log(&model.logger, PYTHEUS_ERR_NOMEM, "");
        return NULL;
    }
    pytheus__registry_set_up(registry, desc);
    char *prefix = (char *)(registry + 1);
    memcpy(prefix, desc->prefix ? desc->prefix : "", prefix_size);
    memcpy(prefix + prefix_size, "_", 2);
    registry->prefix.text = prefix;
    registry->prefix.size = prefix_size ? prefix_size + 1 : 0;
    pytheus__prepare_for_fork();
    pytheus__acquire(&pytheus__registries_lock);
    pytheus__registry_link(registry);
    pytheus__release(&pytheus__registries_lock);
    return registry;
}

static void pytheus__free_containers(void *argument) {
    pytheus_registry *registry = (pytheus_registry *)argument;
    size_t i;
    for (i = 0; i < stbds_arrlenu(registry->families); i++) {
        stbds_arrfree(registry->families[i]->nodes);
    }
    stbds_arrfree(registry->families);
    stbds_hmfree(registry->names);
    stbds_hmfree(registry->told);
    for (i = 0; i < stbds_arrlenu(registry->chunks); i++) {
        pytheus__release_memory(&registry->allocator, registry->chunks[i].memory,
                                registry->chunks[i].size);
    }
    stbds_arrfree(registry->chunks);
}

/* Back to a registry without metrics. */
static void pytheus__registry_empty(pytheus_registry *registry) {
    pytheus__acquire(&registry->lock);
    (void)pytheus__try(registry, pytheus__free_containers, registry);
    registry->arena = registry->arena_end = registry->spare = registry->spare_end = NULL;
    registry->chunk_bytes = 0;
    pytheus__release(&registry->lock);
}

PYTHEUS_API void pytheus_registry_free(pytheus_registry *registry) {
    if (!registry) {
        return;
    }
    if (registry == &pytheus__default_registry) {
        pytheus__registry_empty(registry);
        return;
    }
    pytheus__registry_unlink(registry);
    pytheus__registry_empty(registry);
    pytheus__lock_destroy(&registry->lock);
    pytheus_allocator allocator = registry->allocator;
    size_t prefix_size = registry->prefix.size ? registry->prefix.size - 1 : 0;
    pytheus__release_memory(&allocator, registry, sizeof *registry + prefix_size + 2);
}

/* -- definitions -- */

static const double pytheus__standard_buckets[] = {.005, .01, .025, .05, .1, .25,
                                                   .5,   1,   2.5,  5,   10};

/* A description that has been checked. */
typedef struct pytheus__definition {
    const pytheus_desc *desc;
    pytheus_registry *registry;
    pytheus_type type;
    size_t num_labels;
    const char *defaults[PYTHEUS_MAX_LABELS]; /* by label; NULL: none */
    const double *bounds;
    size_t num_bounds;
} pytheus__definition;

static const char *pytheus__desc_name(const pytheus_desc *desc) {
    return desc && desc->name ? desc->name : "";
}

static size_t pytheus__without_total(const char *name, size_t size) {
    return pytheus__ends_with(name, size, "_total") ? size - 6 : size;
}

static pytheus_err pytheus__check_name(const pytheus_desc *desc) {
    const char *name = pytheus__desc_name(desc);
    size_t size = strlen(name), unit_size = desc && desc->unit ? strlen(desc->unit) : 0;
    if (!pytheus__is_name(name, true)) {
        return pytheus__fail(PYTHEUS_ERR_NAME, "\"%.100s\" is not a valid metric name", name);
    }
    if (pytheus__is_reserved(name)) {
        return pytheus__fail(PYTHEUS_ERR_NAME,
                             "%.100s: names that begin with pytheus_ are reserved", name);
    }
    size = pytheus__without_total(name, size);
    if (!size) {
        return pytheus__fail(PYTHEUS_ERR_NAME, "%.100s: a name stands before _total", name);
    }
    if (unit_size && (!pytheus__ends_with(name, size, desc->unit) || size < unit_size + 2 ||
                      name[size - unit_size - 1] != '_')) {
        return pytheus__fail(PYTHEUS_ERR_NAME, "%.100s: the name does not end with its unit, _%s",
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
    bool taken = (definition->type == PYTHEUS_HISTOGRAM && strcmp(label, "le") == 0) ||
                 (definition->type == PYTHEUS_SUMMARY && strcmp(label, "quantile") == 0);
    if (!pytheus__is_name(label, false) || pytheus__starts_with(label, "__")) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: \"%.100s\" is not a valid label name",
                             name, label);
    }
    if (taken) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: the label \"%.100s\" is the format's own",
                             name, label);
    }
    if (pytheus__required_place(definition, label) < definition->num_labels) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: label \"%.100s\" twice", name, label);
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_default(pytheus__definition *definition,
                                          const pytheus_label *label) {
    const char *name = definition->desc->name;
    size_t place = pytheus__required_place(definition, label->name);
    if (place == definition->num_labels) {
        return pytheus__fail(PYTHEUS_ERR_LABEL,
                             "%.100s: a default for \"%.100s\", which is no label of it", name,
                             label->name);
    }
    if (!label->value || definition->defaults[place]) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: %s default for the label \"%.100s\"", name,
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
        return n ? pytheus__fail(PYTHEUS_ERR_BUCKETS, "%.100s: only a histogram has buckets",
                                 desc->name)
                 : PYTHEUS_OK;
    }
    if (n && !desc->buckets) {
        return pytheus__fail(PYTHEUS_ERR_BUCKETS, "%.100s: buckets is NULL", desc->name);
    }
    if (n > PYTHEUS__MOST_BUCKETS) {
        return pytheus__fail(PYTHEUS_ERR_BUCKETS, "%.100s: too many buckets", desc->name);
    }
    definition->bounds = n ? desc->buckets : pytheus__standard_buckets;
    n = n ? n : sizeof pytheus__standard_buckets / sizeof(double);
    if (pytheus__as_bits(definition->bounds[n - 1]) == PYTHEUS__INFINITY_BITS) {
        n--;
    }
    definition->num_bounds = n;
    for (i = 0; i < n; i++) {
        double bound = definition->bounds[i];
        if (!pytheus__is_finite(bound) || (i && !(definition->bounds[i - 1] < bound))) {
            return pytheus__fail(
                PYTHEUS_ERR_BUCKETS,
                "%.100s: bucket bounds must be finite and each above the one before", desc->name);
        }
    }
    return PYTHEUS_OK;
}

static pytheus_err pytheus__check_definition(pytheus__definition *definition) {
    pytheus_err err = pytheus__check_name(definition->desc);
    if (!err) {
        err = pytheus__check_labels(definition);
    }
    return err ? err : pytheus__check_buckets(definition);
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
        {"", "_bucket", "_sum", "_count", "_created"},
        {"", "_sum", "_count", "_created", NULL},
    };
    size_t n, size = strlen(name);
    if (type == PYTHEUS_COUNTER) {
        size = pytheus__without_total(name, size);
    }
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
    pytheus__claim own[PYTHEUS__MOST_CLAIMS];
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

static void pytheus__put_names(void *argument) {
    pytheus__family *family = (pytheus__family *)argument;
    pytheus_registry *registry = family->registry;
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

/* Undoes what pytheus__put_names did before memory ran out. */
static void pytheus__take_names_back(pytheus__family *family) {
    pytheus__name_entry *names = family->registry->names;
    size_t i;
    for (i = 0; i < stbds_hmlenu(names); i++) {
        names[i].value = names[i].value == family ? NULL : names[i].value;
    }
}

/* -- families -- */

/* Adds the help text, mended and escaped. */
static void pytheus__add_help(pytheus__text *out, const char *help) {
    while (*help) {
        int step = pytheus__utf8_step((const unsigned char *)help);
        if (step > 0) {
            pytheus__add_escaped(out, help, (size_t)step, false);
            help += step;
        } else {
            pytheus__add_string(out, "\xef\xbf\xbd");
            help -= step;
        }
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

static void pytheus__write_header(pytheus__family *family, const char *help, pytheus__text *out) {
    static const char *const types[] = {"", " counter\n", " gauge\n", " histogram\n", " summary\n"};
    size_t start = out->size;
    if (help && *help) {
        pytheus__add_string(out, "# HELP ");
        pytheus__add(out, family->name.text, family->name.size);
        pytheus__add_string(out, " ");
        pytheus__add_help(out, help);
        pytheus__add_string(out, "\n");
    }
    pytheus__add_string(out, "# TYPE ");
    pytheus__add(out, family->name.text, family->name.size);
    pytheus__add_string(out, types[family->type]);
    family->header = pytheus__end_piece(out, start, false);
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

/* A histogram's lines share the label text, which is left open for le: {a="x" and then ,le="1"} */
static void pytheus__write_ends(pytheus__family *family, const pytheus__definition *definition,
                                pytheus__text *out) {
    bool labelled = family->num_labels > 0, open = family->type >= PYTHEUS_HISTOGRAM;
    size_t i, start = out->size;
    pytheus__add_string(out, labelled ? "\"" : "");
    pytheus__add_string(out, open ? "" : labelled ? "} " : " ");
    family->text_end = pytheus__end_piece(out, start, false);
    start = out->size;
    pytheus__add_string(out, labelled ? "} " : " ");
    family->sum_end = pytheus__end_piece(out, start, false);
    for (i = 0; family->type == PYTHEUS_HISTOGRAM && i <= definition->num_bounds; i++) {
        char number[PYTHEUS__NUMBER_SIZE];
        pytheus__piece piece;
        start = out->size;
        pytheus__add_string(out, labelled ? ",le=\"" : "{le=\"");
        if (i < definition->num_bounds) {
            char *end = pytheus__put_bound(number, definition->bounds[i] + 0.0);
            pytheus__add(out, number, (size_t)(end - number));
        } else {
            pytheus__add_string(out, "+Inf");
        }
        pytheus__add_string(out, "\"} ");
        piece = pytheus__end_piece(out, start, false);
        if (out->at) {
            family->bucket_ends[i] = piece;
        }
    }
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
    pytheus__write_header(family, definition->desc->help, out);
    for (i = 0; i < definition->num_labels; i++) {
        pytheus__write_label(family, definition, i, out);
    }
    pytheus__write_ends(family, definition, out);
}

static void pytheus__family_init(pytheus__family *family, const pytheus__definition *definition) {
    size_t max_series = definition->desc->max_series;
    family->registry = definition->registry;
    family->type = definition->type;
    family->num_labels = definition->num_labels;
    family->num_bounds = definition->num_bounds;
    family->max_series = max_series ? max_series : PYTHEUS_MAX_SERIES;
    family->listed = !definition->desc->unregistered;
    family->num_cells = definition->type == PYTHEUS_COUNTER     ? 2
                        : definition->type == PYTHEUS_GAUGE     ? 1
                        : definition->type == PYTHEUS_HISTOGRAM ? definition->num_bounds + 2
                                                                : 2;
}

static size_t pytheus__num_bucket_ends(const pytheus__definition *definition) {
    return definition->type == PYTHEUS_HISTOGRAM ? definition->num_bounds + 1 : 0;
}

/* A bound of -0 is 0: they are equal, and le="-0" would be another series. */
static void pytheus__copy_bounds(pytheus__family *family, const pytheus__definition *definition) {
    size_t i;
    for (i = 0; i < definition->num_bounds; i++) {
        family->bounds[i] = definition->bounds[i] + 0.0;
    }
}

/* The family with its arrays and text in one block, and the first directory and segment. Called
   with at == NULL to learn the size. */
static size_t pytheus__family_layout(pytheus__family *family, char *at,
                                     const pytheus__definition *definition) {
    size_t labels = definition->num_labels;
    size_t bounds = sizeof *family;
    size_t pieces = bounds + definition->num_bounds * sizeof(double);
    size_t lists =
        pieces + (3 * labels + pytheus__num_bucket_ends(definition)) * sizeof(pytheus__piece);
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
        family->free_segments = (pytheus__segment **)(void *)(at + lists);
        family->free_nodes =
            (pytheus__node **)(void *)(family->free_segments + PYTHEUS__LARGEST_SEGMENT + 1);
        pytheus__copy_bounds(family, definition);
    }
    pytheus__write_family(family, definition, &out);
    return pytheus__cache_lines(out.size);
}

static void pytheus__first_segment(pytheus__family *family) {
    pytheus__directory *directory =
        (pytheus__directory *)pytheus__arena_take(family->registry, pytheus__directory_size(0));
    family->directory = directory;
    pytheus__segments(directory)[0] = pytheus__segment_new(family, PYTHEUS__SMALLEST_SEGMENT, 0);
}

/* The metric itself: a view without labels of its own, or with defaults for all. */
static pytheus__node *pytheus__root_new(pytheus__family *family) {
    const char *values[PYTHEUS_MAX_LABELS] = {NULL};
    pytheus__node *root = NULL;
    pytheus__key key;
    if (pytheus__key_pack(family, &key, values)) {
        root = pytheus__node_new(family, &key, 0);
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
static bool pytheus__family_build(pytheus__family *family, const pytheus__definition *definition) {
    pytheus__family_init(family, definition);
    (void)pytheus__family_layout(family, (char *)family, definition);
    if (family->num_labels) {
        pytheus__first_segment(family);
    }
    family->root = pytheus__root_new(family);
    if (family->root &&
        (!family->listed || pytheus__try(family->registry, pytheus__put_names, family))) {
        return true;
    }
    if (family->listed) {
        pytheus__take_names_back(family);
    }
    (void)pytheus__try(family->registry, pytheus__free_nodes, family);
    return false;
}

/* NULL: no memory, nothing has changed. */
static pytheus__family *pytheus__family_new(const pytheus__definition *definition) {
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
    if (!pytheus__family_build(family, definition)) {
        pytheus__arena_rewind(registry, mark);
        return NULL;
    }
    stbds_arrput(registry->families, family);
    return family;
}

static bool pytheus__mends_to(const char *raw, const char *mended) {
    while (*raw) {
        int step = pytheus__utf8_step((const unsigned char *)raw);
        const char *bytes = step > 0 ? raw : "\xef\xbf\xbd";
        size_t size = step > 0 ? (size_t)step : 3;
        if (strncmp(bytes, mended, size) != 0) {
            return false;
        }
        raw += step > 0 ? step : -step;
        mended += size;
    }
    return !*mended;
}

static bool pytheus__same_label(const pytheus__family *family,
                                const pytheus__definition *definition, size_t i) {
    const char *ours = family->default_values[i].text, *theirs = definition->defaults[i];
    return strcmp(family->label_names[i].text, definition->desc->required_labels[i]) == 0 &&
           !ours == !theirs && (!ours || pytheus__mends_to(theirs, ours));
}

static bool pytheus__same_definition(const pytheus__family *family,
                                     const pytheus__definition *definition) {
    size_t i;
    if (family->type != definition->type || family->num_labels != definition->num_labels ||
        family->num_bounds != definition->num_bounds ||
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

/* Finds or makes the family, under the lock. */
static pytheus_err pytheus__find_or_define(const pytheus__definition *definition,
                                           pytheus__family **family) {
    const char *name = definition->desc->name;
    *family = definition->desc->unregistered ? NULL : pytheus__rival(definition);
    if (!*family) {
        *family = pytheus__family_new(definition);
        return *family ? PYTHEUS_OK : pytheus__out_of_memory(name);
    }
    if (pytheus__same_definition(*family, definition)) {
        return PYTHEUS_OK;
    }
    if (strcmp((*family)->metric, name) == 0) {
        return pytheus__fail(PYTHEUS_ERR_DUPLICATE, "%.100s: already there, and defined otherwise",
                             name);
    }
    return pytheus__fail(PYTHEUS_ERR_DUPLICATE, "%.100s: its sample names collide with those of %s",
                         name, (*family)->metric);
}

/* -- errors of which no family can remember that they were told: refused definitions, pages -- */

enum { PYTHEUS__MOST_TOLD = 1000 };

typedef struct pytheus__told {
    pytheus_registry *registry;
    uint64_t key;
    bool again;
} pytheus__told;

static void pytheus__remember_told(void *argument) {
    pytheus__told *told = (pytheus__told *)argument;
    pytheus_registry *registry = told->registry;
    if (!registry->told) {
        stbds_hmdefault(registry->told, 0);
    }
    told->again = stbds_hmgeti(registry->told, told->key) >= 0 ||
                  stbds_hmlenu(registry->told) >= PYTHEUS__MOST_TOLD;
    if (!told->again) {
        stbds_hmput(registry->told, told->key, 1);
    }
}

/* Gives the logger the thread's sentence, the first time for this name and error. */
static void pytheus__tell_registry(pytheus_registry *registry, pytheus_err err, const char *name) {
    pytheus__told told;
    char printable[PYTHEUS__SENTENCE_SIZE];
    told.registry = registry;
    told.key = pytheus__fold(registry->seed[0] ^ (uint64_t)-err, registry->seed[1]);
    told.key = pytheus__hash_more(registry->seed, told.key, name, strlen(name));
    told.again = false;
    pytheus__acquire(&registry->lock);
    (void)pytheus__try(registry, pytheus__remember_told, &told);
    pytheus__release(&registry->lock);
    if (!told.again) {
        (void)snprintf(printable, sizeof printable, "%s", name);
        pytheus__make_printable(printable);
        pytheus__log(&registry->logger, err, printable);
    }
}

static pytheus_view pytheus__define(pytheus_type type, const pytheus_desc *desc) {
    pytheus__definition definition;
    pytheus__family *family = NULL;
    pytheus_err err;
    memset(&definition, 0, sizeof definition);
    definition.desc = desc;
    definition.type = type;
    definition.registry = pytheus__registry_or_default(desc ? desc->registry : NULL);
    err = pytheus__check_definition(&definition);
    if (!err) {
        pytheus__acquire(&definition.registry->lock);
        err = pytheus__find_or_define(&definition, &family);
        pytheus__release(&definition.registry->lock);
    }
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
#undef PYTHEUS__DEFINE_NEW

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

/* ==== OPERATIONS ==== */

/* Whether an operation on this type of metric may go on: everything is in the handle but whether it
   is alive. */
static bool pytheus__is_ready(pytheus_view view, pytheus_type type) {
    const uint64_t kind = PYTHEUS__TYPE | PYTHEUS__COMPLETE;
    return (view.generation & kind) == ((uint64_t)type | PYTHEUS__COMPLETE) &&
           PYTHEUS__LOAD(&view.node->generation) == view.generation;
}

/* The cell's content is loaded (acquire) before the generation: were it of a later life, the
   generation would show it. */
static bool pytheus__is_still(pytheus_view view) {
    return PYTHEUS__LIKELY(PYTHEUS__LOAD(&view.node->generation) == view.generation);
}

static pytheus_err pytheus__add_whole(pytheus_view view, size_t cell, uint64_t n) {
    pytheus__word *word = &pytheus__cells(view.node)[cell];
    if (PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE))) {
        (void)PYTHEUS__ADD(word, n);
        return PYTHEUS_OK;
    }
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
    } while (!PYTHEUS__REPLACE(word, &old, ((old ^ view.generation) + n) ^ view.generation));
    return PYTHEUS_OK;
}

static pytheus_err pytheus__add_real(pytheus_view view, size_t cell, double v) {
    pytheus__word *word = &pytheus__cells(view.node)[cell];
    uint64_t mask = pytheus__mask(view.generation), old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
    } while (
        !PYTHEUS__REPLACE(word, &old, pytheus__as_bits(pytheus__as_double(old ^ mask) + v) ^ mask));
    return PYTHEUS_OK;
}

static pytheus_err pytheus__set_real(pytheus_view view, size_t cell, double v) {
    pytheus__word *word = &pytheus__cells(view.node)[cell];
    uint64_t bits = pytheus__as_bits(v);
    if (PYTHEUS__LIKELY(!(view.generation & PYTHEUS__REUSABLE))) {
        PYTHEUS__STORE(word, bits);
        return PYTHEUS_OK;
    }
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(word);
    do {
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, pytheus__type_of(view));
        }
    } while (!PYTHEUS__REPLACE(word, &old, bits ^ view.generation));
    return PYTHEUS_OK;
}

static pytheus_err pytheus__refuse_value(pytheus_view view, double v, const char *reason) {
    char number[PYTHEUS__NUMBER_SIZE + 1];
    *pytheus__put_double(number, v) = '\0';
    return pytheus__tell(view.node->family,
                         pytheus__fail(PYTHEUS_ERR_VALUE, "%.100s: %s, not %s",
                                       view.node->family->name.text, reason, number));
}

/* -- counters -- */

PYTHEUS_API pytheus_err pytheus_counter_inc(pytheus_counter counter) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(counter.view, PYTHEUS_COUNTER))) {
        return pytheus__refuse(counter.view, PYTHEUS_COUNTER);
    }
    return pytheus__add_whole(counter.view, PYTHEUS__COUNTER_WHOLE, 1);
}

/* Whole numbers go to the integer, which is exact and never waits. It would wrap after 2^44 of the
   largest that it takes; larger ones go to the double. */
static bool pytheus__is_small_whole(double v) {
    return v <= 1048576 && (double)(uint64_t)v >= v;
}

PYTHEUS_API pytheus_err pytheus_counter_add(pytheus_counter counter, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(counter.view, PYTHEUS_COUNTER))) {
        return pytheus__refuse(counter.view, PYTHEUS_COUNTER);
    }
    if (!pytheus__is_amount(v)) {
        return pytheus__refuse_value(counter.view, v, "a counter takes finite amounts from 0 up");
    }
    return pytheus__is_small_whole(v)
               ? pytheus__add_whole(counter.view, PYTHEUS__COUNTER_WHOLE, (uint64_t)v)
               : pytheus__add_real(counter.view, PYTHEUS__COUNTER_REAL, v);
}

/* The double takes what the integer does not say, so that one compare-and-swap sets both. */
static pytheus_err pytheus__set_counter(pytheus_view view, double v) {
    pytheus__word *cells = pytheus__cells(view.node);
    uint64_t mask = pytheus__mask(view.generation);
    uint64_t old = PYTHEUS__LOAD_ACQUIRE(&cells[PYTHEUS__COUNTER_REAL]), rest;
    do {
        uint64_t whole = PYTHEUS__LOAD_ACQUIRE(&cells[PYTHEUS__COUNTER_WHOLE]) ^ mask;
        if (!pytheus__is_still(view)) {
            return pytheus__refuse(view, PYTHEUS_COUNTER);
        }
        rest = pytheus__as_bits(v - (double)whole) ^ mask;
    } while (!PYTHEUS__REPLACE(&cells[PYTHEUS__COUNTER_REAL], &old, rest));
    return PYTHEUS_OK;
}

PYTHEUS_API pytheus_err pytheus_counter_set(pytheus_counter counter, double v) {
    if (!pytheus__is_ready(counter.view, PYTHEUS_COUNTER)) {
        return pytheus__refuse(counter.view, PYTHEUS_COUNTER);
    }
    if (!pytheus__is_amount(v)) {
        return pytheus__refuse_value(counter.view, v, "a counter takes finite values from 0 up");
    }
    return pytheus__set_counter(counter.view, v);
}

/* -- gauges -- */

PYTHEUS_API pytheus_err pytheus_gauge_add(pytheus_gauge gauge, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(gauge.view, PYTHEUS_GAUGE))) {
        return pytheus__refuse(gauge.view, PYTHEUS_GAUGE);
    }
    return pytheus__add_real(gauge.view, PYTHEUS__GAUGE_REAL, v);
}

PYTHEUS_API pytheus_err pytheus_gauge_sub(pytheus_gauge gauge, double v) {
    return pytheus_gauge_add(gauge, -v);
}

PYTHEUS_API pytheus_err pytheus_gauge_inc(pytheus_gauge gauge) {
    return pytheus_gauge_add(gauge, 1);
}

PYTHEUS_API pytheus_err pytheus_gauge_dec(pytheus_gauge gauge) {
    return pytheus_gauge_add(gauge, -1);
}

PYTHEUS_API pytheus_err pytheus_gauge_set(pytheus_gauge gauge, double v) {
    if (!PYTHEUS__LIKELY(pytheus__is_ready(gauge.view, PYTHEUS_GAUGE))) {
        return pytheus__refuse(gauge.view, PYTHEUS_GAUGE);
    }
    return pytheus__set_real(gauge.view, PYTHEUS__GAUGE_REAL, v);
}

PYTHEUS_API pytheus_err pytheus_gauge_set_to_current_time(pytheus_gauge gauge) {
    int saved_errno = errno;
    double now = pytheus__wall_clock();
    errno = saved_errno;
    return pytheus_gauge_set(gauge, now);
}

/* -- histograms and summaries -- */

/* How many of the bounds are below v: its bucket. Counting has no branch to mispredict, which makes
   it the fastest way for few bounds; many are halved first. */
static size_t pytheus__bucket_of(const double *bounds, size_t n, double v) {
    size_t i, bucket = 0, base = 0;
    while (n > 16) {
        size_t half = n / 2;
        base += bounds[base + half - 1] < v ? half : 0;
        n -= half;
    }
    for (i = 0; i < n; i++) {
        bucket += bounds[base + i] < v;
    }
    return base + bucket;
}

static pytheus_err pytheus__observe(pytheus_view view, pytheus_type type, double v) {
    const pytheus__family *family;
    pytheus_err err;
    if (!PYTHEUS__LIKELY(pytheus__is_ready(view, type))) {
        return pytheus__refuse(view, type);
    }
    family = view.node->family;
    if (pytheus__is_nan(v)) {
        return pytheus__refuse_value(view, v, "an observation is a number");
    }
    err = pytheus__add_whole(
        view, PYTHEUS__FIRST_BUCKET + pytheus__bucket_of(family->bounds, family->num_bounds, v), 1);
    return err ? err : pytheus__add_real(view, PYTHEUS__SUM_REAL, v);
}

PYTHEUS_API pytheus_err pytheus_histogram_observe(pytheus_histogram histogram, double v) {
    return pytheus__observe(histogram.view, PYTHEUS_HISTOGRAM, v);
}

PYTHEUS_API pytheus_err pytheus_summary_observe(pytheus_summary summary, double v) {
    return pytheus__observe(summary.view, PYTHEUS_SUMMARY, v);
}

/* -- reading -- */

/* The cells of one life, without their mask; false: it has ended. */
static bool pytheus__read_cells(pytheus_view view, uint64_t *values, size_t n) {
    uint64_t mask = pytheus__mask(view.generation);
    size_t i;
    for (i = 0; i < n; i++) {
        values[i] = PYTHEUS__LOAD_ACQUIRE(&pytheus__cells(view.node)[i]) ^ mask;
    }
    return pytheus__is_alive(view);
}

/* A counter's or gauge's value, or a sum. */
static double pytheus__value_of(pytheus_type type, const uint64_t *values) {
    return type == PYTHEUS_COUNTER ? (double)values[PYTHEUS__COUNTER_WHOLE] +
                                         pytheus__as_double(values[PYTHEUS__COUNTER_REAL])
                                   : pytheus__as_double(values[0]);
}

PYTHEUS_API pytheus_err pytheus_view_get(pytheus_view view, double *value) {
    uint64_t values[2] = {0, 0};
    pytheus_type type = pytheus__type_of(view);
    if (!view.node || !pytheus__is_ready(view, type) ||
        !pytheus__read_cells(view, values, type == PYTHEUS_COUNTER ? 2 : 1)) {
        return pytheus__refuse(view, type);
    }
    if (value) {
        *value = pytheus__value_of(type, values);
    }
    return PYTHEUS_OK;
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

/* One page being written. The lock is held for a batch of nodes at a time, which are rendered into
   the buffer; the sink runs without it. */
typedef struct pytheus__writer {
    pytheus_registry *registry;
    const pytheus_sink *sink;
    pytheus_err err; /* once set, nothing more is written */
    char *buffer;
    size_t used;
    size_t num_families; /* when the page was begun, and the serial of the youngest node: what is */
    uint64_t youngest;   /* made later is not on it, or a series made again would be there twice */
    uint64_t *values;    /* of one series */
    size_t num_values;
    char *long_text; /* label text of one series, when its lines do not fit in the buffer */
    size_t long_text_size;
} pytheus__writer;

/* Where in a family's list of nodes the page has got to. */
typedef struct pytheus__cursor {
    size_t place;
    uint64_t serial; /* of the last node that was passed */
    uint64_t compactions;
} pytheus__cursor;

/* A failing sink may have left a sentence of its own, or none. */
static pytheus_err pytheus__put_to_sink(const pytheus_sink *sink, const char *bytes, size_t size) {
    char first = pytheus__sentence[0];
    pytheus__sentence[0] = '\0';
    pytheus_err err = sink->put(sink->user, bytes, size);
    if (!pytheus__sentence[0] && err) {
        return pytheus__fail(err, "page: the sink failed");
    }
    if (!pytheus__sentence[0]) {
        pytheus__sentence[0] = first;
    }
    return err;
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

static void pytheus__put_number(pytheus__writer *writer, char *number, char *end) {
    *end++ = '\n';
    pytheus__put(writer, number, (size_t)(end - number));
}

static void pytheus__put_real(pytheus__writer *writer, double v) {
    char number[PYTHEUS__NUMBER_SIZE + 1];
    pytheus__put_number(writer, number, pytheus__put_double(number, v));
}

static void pytheus__put_count(pytheus__writer *writer, uint64_t n) {
    char number[PYTHEUS__NUMBER_SIZE + 1];
    const uint64_t exact = (uint64_t)1 << 53;
    pytheus__put_number(writer, number,
                        n <= exact ? pytheus__put_integer(number, n)
                                   : pytheus__put_double(number, (double)n));
}

static void pytheus__put_sum_and_count(pytheus__writer *writer, const pytheus__family *family,
                                       pytheus__piece labels, double sum, uint64_t count) {
    pytheus__put_piece(writer, family->name);
    pytheus__put(writer, "_sum", 4);
    pytheus__put_piece(writer, labels);
    pytheus__put_piece(writer, family->sum_end);
    pytheus__put_real(writer, sum);
    pytheus__put_piece(writer, family->name);
    pytheus__put(writer, "_count", 6);
    pytheus__put_piece(writer, labels);
    pytheus__put_piece(writer, family->sum_end);
    pytheus__put_count(writer, count);
}

/* _count is summed from the buckets, never kept apart: it must equal le="+Inf" even when an
   observation lands in the middle of it. */
static void pytheus__put_distribution(pytheus__writer *writer, const pytheus__family *family,
                                      pytheus__piece labels, const uint64_t *values) {
    const uint64_t *buckets = values + PYTHEUS__FIRST_BUCKET;
    uint64_t count = 0;
    size_t i;
    for (i = 0; i <= family->num_bounds; i++) {
        count += buckets[i];
        if (family->type == PYTHEUS_HISTOGRAM) {
            pytheus__put_piece(writer, family->name);
            pytheus__put(writer, "_bucket", 7);
            pytheus__put_piece(writer, labels);
            pytheus__put_piece(writer, family->bucket_ends[i]);
            pytheus__put_count(writer, count);
        }
    }
    pytheus__put_sum_and_count(writer, family, labels,
                               pytheus__as_double(values[PYTHEUS__SUM_REAL]), count);
}

static void pytheus__put_series(pytheus__writer *writer, const pytheus__family *family,
                                pytheus__piece labels, const uint64_t *values) {
    if (family->type == PYTHEUS_HISTOGRAM || family->type == PYTHEUS_SUMMARY) {
        pytheus__put_distribution(writer, family, labels, values);
        return;
    }
    pytheus__put_piece(writer, family->name);
    pytheus__put_piece(writer, labels);
    if (family->type == PYTHEUS_COUNTER &&
        values[PYTHEUS__COUNTER_REAL] == 0) { /* the bits of 0.0: a whole number so far */
        pytheus__put_count(writer, values[PYTHEUS__COUNTER_WHOLE]);
    } else {
        pytheus__put_real(writer, pytheus__value_of(family->type, values));
    }
}

/* Whether all lines of a series with label text of this size fit. */
static bool pytheus__lines_fit(const pytheus__family *family, size_t text_size, size_t room) {
    size_t line = family->name.size + text_size + 2 * PYTHEUS__NUMBER_SIZE + 32;
    size_t lines = family->type >= PYTHEUS_HISTOGRAM ? family->num_bounds + 3 : 1;
    return line <= room / lines;
}

static pytheus__piece pytheus__labels_of(pytheus__node *node) {
    pytheus__piece labels;
    labels.text = pytheus__text_of(node);
    labels.size = node->text_size;
    return labels;
}

/* Copies a series whose lines do not fit in the buffer, to write them without the lock. */
static bool pytheus__copy_long(pytheus__writer *writer, pytheus__node *node) {
    size_t size = node->text_size;
    if (size > writer->long_text_size) {
        char *text = (char *)pytheus__resize(&writer->registry->allocator, writer->long_text,
                                             writer->long_text_size, size);
        if (!text) {
            writer->err = pytheus__out_of_memory(node->family->name.text);
            return false;
        }
        writer->long_text = text;
        writer->long_text_size = size;
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

enum pytheus__batch_end { PYTHEUS__MORE, PYTHEUS__NO_ROOM, PYTHEUS__LONG_SERIES, PYTHEUS__END };

/* Renders the series of a node that is on the page. */
static enum pytheus__batch_end pytheus__render_node(pytheus__writer *writer, pytheus__node *node) {
    const pytheus__family *family = node->family;
    bool is_long = !pytheus__lines_fit(family, node->text_size, PYTHEUS__CHUNK_SIZE);
    if (!is_long &&
        !pytheus__lines_fit(family, node->text_size, PYTHEUS__CHUNK_SIZE - writer->used)) {
        return PYTHEUS__NO_ROOM;
    }
    (void)pytheus__read_cells(pytheus__make_view(node, node->generation), writer->values,
                              family->num_cells);
    if (is_long) {
        return pytheus__copy_long(writer, node) ? PYTHEUS__LONG_SERIES : PYTHEUS__END;
    }
    pytheus__put_series(writer, family, pytheus__labels_of(node), writer->values);
    return PYTHEUS__MORE;
}

/* Renders some nodes, under the lock. */
static enum pytheus__batch_end pytheus__render_batch(pytheus__writer *writer,
                                                     pytheus__family *family,
                                                     pytheus__cursor *cursor,
                                                     pytheus__piece *long_labels) {
    size_t visited, n = stbds_arrlenu(family->nodes);
    enum pytheus__batch_end end = PYTHEUS__MORE;
    cursor->place = pytheus__resume(family, cursor);
    cursor->compactions = family->compactions;
    for (visited = 0; end == PYTHEUS__MORE && visited < PYTHEUS__BATCH; visited++) {
        pytheus__node *node = cursor->place < n ? family->nodes[cursor->place] : NULL;
        if (cursor->place >= n || (node && node->link.serial > writer->youngest)) {
            return PYTHEUS__END;
        }
        if (node && node->generation & PYTHEUS__COMPLETE) {
            end = pytheus__render_node(writer, node);
        }
        if (end == PYTHEUS__LONG_SERIES) {
            long_labels->size = node->text_size;
        }
        if (end != PYTHEUS__NO_ROOM) {
            cursor->serial = node ? node->link.serial : cursor->serial;
            cursor->place++;
        }
    }
    return end;
}

static void pytheus__write_family_page(pytheus__writer *writer, pytheus__family *family) {
    pytheus__cursor cursor = {0, 0, 0};
    enum pytheus__batch_end end = PYTHEUS__MORE;
    pytheus__put_piece(writer, family->header);
    while (end != PYTHEUS__END && !writer->err) {
        pytheus__piece labels = {NULL, 0};
        pytheus__acquire(&writer->registry->lock);
        end = pytheus__render_batch(writer, family, &cursor, &labels);
        pytheus__release(&writer->registry->lock);
        if (end == PYTHEUS__LONG_SERIES) {
            labels.text = labels.size ? writer->long_text : "";
            pytheus__put_series(writer, family, labels, writer->values);
        } else if (end == PYTHEUS__NO_ROOM) {
            pytheus__flush(writer);
        }
    }
}

static pytheus__family *pytheus__family_at(pytheus_registry *registry, size_t i) {
    pytheus__family *family;
    pytheus__acquire(&registry->lock);
    family = registry->families[i];
    pytheus__release(&registry->lock);
    return family;
}

#define PYTHEUS__OVERFLOW_NAME "pytheus_overflow_calls_total"

static void pytheus__put_overflow_header(pytheus__writer *writer) {
    pytheus__piece prefix = writer->registry->prefix;
    pytheus__put(writer, "# HELP ", 7);
    pytheus__put_piece(writer, prefix);
    pytheus__put(writer, PYTHEUS__OVERFLOW_NAME, sizeof PYTHEUS__OVERFLOW_NAME - 1);
    static const char help[] = " Calls with new labels that got a metric's overflow series.\n";
    pytheus__put(writer, help, sizeof help - 1);
    pytheus__put(writer, "# TYPE ", 7);
    pytheus__put_piece(writer, prefix);
    pytheus__put(writer, PYTHEUS__OVERFLOW_NAME, sizeof PYTHEUS__OVERFLOW_NAME - 1);
    pytheus__put(writer, " counter\n", 9);
}

static void pytheus__put_overflow(pytheus__writer *writer, const pytheus__family *family,
                                  uint64_t calls) {
    pytheus__put_piece(writer, writer->registry->prefix);
    pytheus__put(writer, PYTHEUS__OVERFLOW_NAME, sizeof PYTHEUS__OVERFLOW_NAME - 1);
    pytheus__put(writer, "{metric=\"", 9);
    pytheus__put_piece(writer, family->name);
    pytheus__put(writer, "\"} ", 3);
    pytheus__put_count(writer, calls);
}

static void pytheus__write_overflows(pytheus__writer *writer) {
    bool any = false;
    size_t i;
    for (i = 0; i < writer->num_families; i++) {
        const pytheus__family *family = pytheus__family_at(writer->registry, i);
        uint64_t calls = PYTHEUS__LOAD(&family->overflow_calls);
        if (calls && family->listed) {
            if (!any) {
                pytheus__put_overflow_header(writer);
            }
            any = true;
            pytheus__put_overflow(writer, family, calls);
        }
    }
}

static void pytheus__write_page(pytheus__writer *writer) {
    pytheus__family *family;
    size_t i;
    for (i = 0; !writer->err && i < writer->num_families; i++) {
        family = pytheus__family_at(writer->registry, i);
        if (family->listed) {
            pytheus__write_family_page(writer, family);
        }
    }
    pytheus__write_overflows(writer);
    pytheus__flush(writer);
}

/* Settles what is on the page, and takes the memory that all of its series need. */
static void pytheus__begin_page(pytheus__writer *writer) {
    pytheus_registry *registry = writer->registry;
    size_t i;
    pytheus__acquire(&registry->lock);
    writer->youngest = PYTHEUS__LOAD(&pytheus__last_serial);
    writer->num_families = stbds_arrlenu(registry->families);
    for (i = 0; i < writer->num_families; i++) {
        size_t n = registry->families[i]->num_cells;
        writer->num_values = n > writer->num_values ? n : writer->num_values;
    }
    pytheus__release(&registry->lock);
    writer->buffer = (char *)pytheus__resize(&registry->allocator, NULL, 0, PYTHEUS__CHUNK_SIZE);
    writer->num_values += 1; /* an allocator is never asked for nothing */
    writer->values = (uint64_t *)pytheus__resize(&registry->allocator, NULL, 0,
                                                 writer->num_values * sizeof *writer->values);
    if (!writer->buffer || !writer->values) {
        writer->err = pytheus__out_of_memory("page");
    }
}

static pytheus_err pytheus__end_of_page(pytheus_registry *registry, pytheus_err err) {
    if (err) {
        pytheus__tell_registry(registry, err, "");
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_write(pytheus_registry *registry, pytheus_format format,
                                      const pytheus_sink *sink) {
    pytheus__writer writer;
    const pytheus_allocator *allocator;
    (void)format;
    if (!sink || !sink->put) {
        return pytheus__fail(PYTHEUS_ERR_IO, "page: no sink");
    }
    memset(&writer, 0, sizeof writer);
    writer.registry = pytheus__registry_or_default(registry);
    writer.sink = sink;
    allocator = &writer.registry->allocator;
    pytheus__begin_page(&writer);
    if (!writer.err) {
        pytheus__write_page(&writer);
    }
    pytheus__release_memory(allocator, writer.buffer, PYTHEUS__CHUNK_SIZE);
    pytheus__release_memory(allocator, writer.values, writer.num_values * sizeof *writer.values);
    pytheus__release_memory(allocator, writer.long_text, writer.long_text_size);
    return pytheus__end_of_page(writer.registry, writer.err);
}

/* -- sinks -- */

static pytheus_err pytheus__io_error(const char *what) {
    return pytheus__fail(PYTHEUS_ERR_IO, "%.100s: %s", what, strerror(errno));
}

static pytheus_err pytheus__put_to_stream(void *user, const char *bytes, size_t size) {
    return fwrite(bytes, 1, size, (FILE *)user) == size ? PYTHEUS_OK : pytheus__io_error("stream");
}

PYTHEUS_API pytheus_err pytheus_write_stream(pytheus_registry *registry, pytheus_format format,
                                             FILE *stream) {
    pytheus_sink sink = PYTHEUS__EMPTY;
    pytheus_err err;
    if (!stream) {
        return pytheus__fail(PYTHEUS_ERR_IO, "page: no stream");
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
    (void)format;
    return "text/plain; version=0.0.4; charset=utf-8";
}

/* -- files -- */

#ifdef _WIN32
typedef FILE *pytheus__file;
#define PYTHEUS__NO_FILE NULL

static pytheus__file pytheus__file_create(const char *path) {
    return fopen(path, "wb");
}

static pytheus_err pytheus__put_to_file(void *user, const char *bytes, size_t size) {
    return pytheus__put_to_stream(*(pytheus__file *)user, bytes, size);
}

/* On the disk before it takes the old one's place. */
static bool pytheus__file_close(pytheus__file file) {
    bool written = fflush(file) == 0;
    return fclose(file) == 0 && written;
}

static bool pytheus__file_rename(const char *from, const char *to) {
    return MoveFileExA(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH) != 0;
}

static unsigned long pytheus__process(void) {
    return GetCurrentProcessId();
}
#else
typedef int pytheus__file;
#define PYTHEUS__NO_FILE (-1)

static pytheus__file pytheus__file_create(const char *path) {
    return open(path, O_WRONLY | O_CREAT | O_EXCL | PYTHEUS__CLOSE_ON_EXEC, 0644);
}

static pytheus_err pytheus__put_to_file(void *user, const char *bytes, size_t size) {
    pytheus__file file = *(pytheus__file *)user;
    while (size) {
        ssize_t n = write(file, bytes, size);
        if (n < 0 && errno != EINTR) {
            return pytheus__io_error("file");
        }
        bytes += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return PYTHEUS_OK;
}

/* On the disk before it takes the old one's place. */
static bool pytheus__file_close(pytheus__file file) {
    bool written = fsync(file) == 0 || errno == EINVAL || errno == ENOSYS;
    return close(file) == 0 && written;
}

static bool pytheus__file_rename(const char *from, const char *to) {
    return rename(from, to) == 0;
}

static unsigned long pytheus__process(void) {
    return (unsigned long)getpid();
}
#endif

/* A new file beside path: path.PID-N.tmp, a name that the textfile collector passes over. */
static pytheus__file pytheus__temporary(const char *path, char *name, size_t name_size) {
    static uint32_t last;
    pytheus__file file = PYTHEUS__NO_FILE;
    int tries;
    for (tries = 0; file == PYTHEUS__NO_FILE && tries < 100; tries++) {
        unsigned long n = PYTHEUS__ADD(&last, 1);
        (void)snprintf(name, name_size, "%s.%lu-%lu.tmp", path, pytheus__process(), n);
        file = pytheus__file_create(name);
        if (file == PYTHEUS__NO_FILE && errno != EEXIST) {
            break;
        }
    }
    return file;
}

static pytheus_err pytheus__write_file_as(pytheus_registry *registry, pytheus_format format,
                                          const char *path, char *name, size_t name_size) {
    pytheus__file file = pytheus__temporary(path, name, name_size);
    pytheus_sink sink = PYTHEUS__EMPTY;
    pytheus_err err;
    if (file == PYTHEUS__NO_FILE) {
        return pytheus__io_error(path);
    }
    sink.put = pytheus__put_to_file;
    sink.user = &file;
    err = pytheus_write(registry, format, &sink);
    if (!pytheus__file_close(file) && !err) {
        err = pytheus__io_error(path);
    }
    if (!err && !pytheus__file_rename(name, path)) {
        err = pytheus__io_error(path);
    }
    if (err) {
        (void)remove(name);
    }
    return err;
}

PYTHEUS_API pytheus_err pytheus_write_file(pytheus_registry *registry, pytheus_format format,
                                           const char *path) {
    size_t name_size;
    char *name;
    pytheus_err err;
    if (!path) {
        return pytheus__fail(PYTHEUS_ERR_IO, "page: no path");
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
    const size_t before = strlen(",le=\""), after = strlen("\"} ");
    size_t i, size = le ? strlen(le) : 0;
    for (i = 0; le && i <= family->num_bounds; i++) {
        pytheus__piece end = family->bucket_ends[i];
        if (end.size == before + size + after && memcmp(end.text + before, le, size) == 0) {
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
    if (family->type < PYTHEUS_HISTOGRAM) {
        return *suffix ? NULL : suffix;
    }
    if (strcmp(suffix, "_sum") == 0 || strcmp(suffix, "_count") == 0) {
        return suffix;
    }
    return family->type == PYTHEUS_HISTOGRAM && strcmp(suffix, "_bucket") == 0 ? suffix : NULL;
}

static pytheus_err pytheus__no_series(const pytheus__family *family) {
    return pytheus__fail(PYTHEUS_ERR_NOTHING, "%.100s: no series with these labels",
                         family->name.text);
}

/* The cells of the series with these labels. */
static pytheus_err pytheus__series_values(pytheus__family *family, const char **labels,
                                          uint64_t *values) {
    pytheus_view view;
    pytheus__key key;
    if (!pytheus__key_pack(family, &key, labels)) {
        return pytheus__out_of_memory(family->name.text);
    }
    view = pytheus__make_view(family->root, family->root->generation);
    if (family->num_labels) {
        view = pytheus__find(family, &key);
    }
    pytheus__key_free(family->registry, &key);
    if (!key.complete) {
        return pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: labels are missing", family->name.text);
    }
    if (!view.node) {
        return pytheus__no_series(family);
    }
    (void)pytheus__read_cells(view, values, family->num_cells);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__sample_of(pytheus__family *family, const char *suffix,
                                      const char *const *pairs, size_t num_strings,
                                      uint64_t *values, double *value) {
    const char *labels[PYTHEUS_MAX_LABELS] = {NULL};
    const char *le = NULL;
    bool is_bucket = strcmp(suffix, "_bucket") == 0;
    pytheus_err err = PYTHEUS_OK;
    size_t i, bucket;
    for (i = 0; !err && i < num_strings; i += 2) {
        if (is_bucket && i + 1 < num_strings && pairs[i] && strcmp(pairs[i], "le") == 0) {
            le = pairs[i + 1];
        } else {
            err = pytheus__set_labels(family, labels, pairs + i, num_strings - i < 2 ? 1 : 2);
        }
    }
    err = err ? err : pytheus__series_values(family, labels, values);
    bucket = is_bucket && !err ? pytheus__bucket_named(family, le) : 0;
    if (is_bucket && !err && !le) {
        err = pytheus__fail(PYTHEUS_ERR_LABEL, "%.100s: a bucket needs \"le\"", family->name.text);
    } else if (bucket > family->num_bounds) {
        err = pytheus__no_series(family);
    }
    if (!err && value) {
        *value = *suffix ? pytheus__distribution_value(family, values, suffix, bucket)
                         : pytheus__value_of(family->type, values);
    }
    return err;
}

static pytheus_err pytheus__overflow_sample(pytheus_registry *registry, const char *const *pairs,
                                            size_t num_strings, double *value) {
    size_t i;
    if (num_strings == 2 && pairs[0] && pairs[1] && strcmp(pairs[0], "metric") == 0) {
        for (i = 0; i < stbds_arrlenu(registry->families); i++) {
            const pytheus__family *family = registry->families[i];
            uint64_t calls = PYTHEUS__LOAD(&family->overflow_calls);
            if (calls && family->listed && strcmp(family->name.text, pairs[1]) == 0) {
                *value = (double)calls;
                return PYTHEUS_OK;
            }
        }
    }
    return pytheus__fail(PYTHEUS_ERR_NOTHING, "%.100s: no series with these labels",
                         PYTHEUS__OVERFLOW_NAME);
}

/* Under the lock; sample comes without the registry's prefix. */
static pytheus_err pytheus__find_sample(pytheus_registry *registry, const char *sample,
                                        const char *const *pairs, size_t num_strings,
                                        double *value) {
    pytheus__family *family;
    pytheus__claim claim;
    pytheus_err err;
    const char *suffix;
    uint64_t key, *values;
    claim.base = sample;
    claim.base_size = strlen(sample);
    claim.suffix = "";
    claim.hash = pytheus__hash_more(registry->seed, registry->seed[0], sample, claim.base_size);
    family = pytheus__claimant(registry, &claim, &key);
    suffix = family ? pytheus__sample_suffix(family, sample) : NULL;
    if (!suffix) {
        return pytheus__fail(PYTHEUS_ERR_NAME, "no sample is called \"%.100s\"", sample);
    }
    values = (uint64_t *)pytheus__resize(&registry->allocator, NULL, 0,
                                         family->num_cells * sizeof *values);
    if (!values) {
        return pytheus__out_of_memory(sample);
    }
    err = pytheus__sample_of(family, suffix, pairs, num_strings, values, value);
    pytheus__release_memory(&registry->allocator, values, family->num_cells * sizeof *values);
    return err;
}

PYTHEUS_API pytheus_err pytheus_sample_value(pytheus_registry *registry, const char *sample,
                                             const char *const *pairs, size_t num_strings,
                                             double *value) {
    pytheus_err err;
    double ignored;
    registry = pytheus__registry_or_default(registry);
    value = value ? value : &ignored;
    if (!sample || (num_strings && !pairs) ||
        !pytheus__starts_with(sample, registry->prefix.size ? registry->prefix.text : "")) {
        return pytheus__fail(PYTHEUS_ERR_NAME, "no sample is called \"%.100s\"",
                             sample ? sample : "");
    }
    sample += registry->prefix.size;
    pytheus__acquire(&registry->lock);
    err = strcmp(sample, PYTHEUS__OVERFLOW_NAME) == 0
              ? pytheus__overflow_sample(registry, pairs, num_strings, value)
              : pytheus__find_sample(registry, sample, pairs, num_strings, value);
    pytheus__release(&registry->lock);
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
