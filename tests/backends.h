/* backends.h: backends for tests, written as a user of the library would write them.
 *
 *     minimal     four functions, doubles behind a mutex
 *     atomic      the same without a mutex; cells are freed when they are closed
 *     spy         has the functions for cells that it is told to have; records calls, fails one of
 *                 them, and knows which cells are open
 *     pool        words: with masks and used again, or not; in stripes, or not; with lives, or not
 *     generating  puts its series on the page itself
 *     file        that of pytheus_file.h, on a file of its own; not on Windows
 *
 * After pytheus.h and check.h. C99, threads of POSIX. */
#ifndef BACKENDS_H
#define BACKENDS_H

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A program may have a class "file" of its own. */
#if !defined(_WIN32) && !defined(FIXTURE_WITHOUT_FILE)
#define FIXTURE_FILE
#include <sys/stat.h>
#include <unistd.h>
#define PYTHEUS_FILE_IMPLEMENTATION
#include "pytheus_file.h"
#endif

static inline void *backends_alloc(size_t size) {
    void *p = calloc(1, size);
    if (!p)
        abort();
    return p;
}

static inline char *backends_copy(const char *text) {
    size_t size = strlen(text) + 1;
    return (char *)memcpy(backends_alloc(size), text, size);
}

/* -- minimal -- */

/* It is never told that a cell is not used any more, so it keeps them. */
typedef struct minimal_cell {
    double value;
    struct minimal_cell *next;
} minimal_cell;

static pthread_mutex_t minimal_lock = PTHREAD_MUTEX_INITIALIZER;
static minimal_cell *minimal_cells;

static inline pytheus_err minimal_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    minimal_cell *fresh = (minimal_cell *)backends_alloc(sizeof *fresh);
    (void)user;
    (void)desc;
    pthread_mutex_lock(&minimal_lock);
    fresh->next = minimal_cells;
    minimal_cells = fresh;
    pthread_mutex_unlock(&minimal_lock);
    *cell = fresh;
    return PYTHEUS_OK;
}

static inline pytheus_err minimal_inc(void *user, void *cell, double by) {
    (void)user;
    pthread_mutex_lock(&minimal_lock);
    ((minimal_cell *)cell)->value += by;
    pthread_mutex_unlock(&minimal_lock);
    return PYTHEUS_OK;
}

static inline pytheus_err minimal_set(void *user, void *cell, double value) {
    (void)user;
    pthread_mutex_lock(&minimal_lock);
    ((minimal_cell *)cell)->value = value;
    pthread_mutex_unlock(&minimal_lock);
    return PYTHEUS_OK;
}

static inline pytheus_err minimal_get(void *user, void *cell, double *value) {
    (void)user;
    pthread_mutex_lock(&minimal_lock);
    *value = ((minimal_cell *)cell)->value;
    pthread_mutex_unlock(&minimal_lock);
    return PYTHEUS_OK;
}

static inline pytheus_backend minimal_backend(void) {
    return (pytheus_backend){.name = "minimal",
                             .cell_open = minimal_open,
                             .inc = minimal_inc,
                             .set = minimal_set,
                             .get = minimal_get};
}

/* -- atomic -- */

static inline pytheus_err atomic_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    (void)user;
    (void)desc;
    *cell = backends_alloc(sizeof(double));
    return PYTHEUS_OK;
}

static inline pytheus_err atomic_get(void *user, void *cell, double *value) {
    (void)user;
    __atomic_load((double *)cell, value, __ATOMIC_RELAXED);
    return PYTHEUS_OK;
}

static inline pytheus_err atomic_inc(void *user, void *cell, double by) {
    double old, next;
    (void)atomic_get(user, cell, &old);
    do {
        next = old + by;
    } while (!__atomic_compare_exchange((double *)cell, &old, &next, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED));
    return PYTHEUS_OK;
}

static inline pytheus_err atomic_set(void *user, void *cell, double value) {
    (void)user;
    __atomic_store((double *)cell, &value, __ATOMIC_RELAXED);
    return PYTHEUS_OK;
}

static inline void atomic_close(void *user, void *cell) {
    (void)user;
    free(cell);
}

static inline pytheus_backend atomic_backend(void) {
    return (pytheus_backend){.name = "atomic",
                             .cell_open = atomic_open,
                             .inc = atomic_inc,
                             .set = atomic_set,
                             .get = atomic_get,
                             .cell_close = atomic_close};
}

/* -- spy -- */

typedef enum spy_function {
    SPY_OPEN,
    SPY_INC,
    SPY_SET,
    SPY_GET,
    SPY_REMOVE,
    SPY_CLOSE,
    SPY_DEC,
    SPY_OBSERVE,
    SPY_GET_MANY,
    SPY_GENERATE,
    SPY_FLUSH,
    SPY_FORKED,
    SPY_DESTROY,
    SPY_FUNCTIONS,
    SPY_ANY = SPY_FUNCTIONS
} spy_function;

#define SPY_BIT(function) (1u << (function))
/* The required functions are always there. */
#define SPY_FEW                                                                                    \
    (SPY_BIT(SPY_REMOVE) | SPY_BIT(SPY_CLOSE) | SPY_BIT(SPY_FLUSH) | SPY_BIT(SPY_FORKED) |         \
     SPY_BIT(SPY_DESTROY))
#define SPY_BATCHES (SPY_FEW | SPY_BIT(SPY_DEC) | SPY_BIT(SPY_OBSERVE) | SPY_BIT(SPY_GET_MANY))

enum { SPY_CELL_OPEN = 0x6f70656e, SPY_CELL_CLOSED = 0x64656164 };

typedef struct spy_cell {
    long number;
    double value;
    int mark;
    bool is_removed;
    struct spy_cell *next;
} spy_cell;

typedef struct spy {
    pthread_mutex_t lock;
    spy_cell *cells; /* closed ones too: whoever uses one is to be found out */
    char *text;      /* a line for each call */
    size_t used, room;
    bool records;
    long num_opened, num_closed, num_removed;
    long num_wrong;    /* cells used when they were not open, closed or removed twice */
    double sum_closed; /* of what cells held when they were closed */
    long num_calls[SPY_FUNCTIONS + 1];
    spy_function fail_function; /* SPY_ANY: whichever it is */
    long fail_at;               /* the number of the call; 0: none */
    int fail_with;
    const char *fail_sentence;      /* NULL: without */
    void (*before_inc)(void *user); /* without the lock */
    void (*after_open)(void *user); /* likewise */
    void (*before_get)(void *user); /* likewise */
    void *hook_user;
    double answer; /* of get, where answers is set */
    bool answers;
    pytheus_across across; /* as they came last */
    double expire_seconds;
} spy;

static inline void spy_write(spy *s, const char *format, ...) {
    char line[1024];
    va_list arguments;
    size_t size;
    if (!s->records)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size = strlen(line);
    if (s->used + size + 1 > s->room) {
        s->room = s->room * 2 + size + 1000;
        s->text = (char *)realloc(s->text, s->room);
        if (!s->text)
            abort();
    }
    memcpy(s->text + s->used, line, size + 1);
    s->used += size;
}

/* Counts the call; what it is to return. With the lock held, which is kept. */
static inline pytheus_err spy_enter(spy *s, spy_function function) {
    long mine, all;
    bool fails;
    pthread_mutex_lock(&s->lock);
    mine = ++s->num_calls[function];
    all = ++s->num_calls[SPY_ANY];
    fails = s->fail_at && (s->fail_function == SPY_ANY    ? all == s->fail_at
                           : s->fail_function == function ? mine == s->fail_at
                                                          : false);
    if (!fails)
        return PYTHEUS_OK;
    if (s->fail_sentence)
        (void)pytheus_fail(PYTHEUS_ERR_BACKEND, "%s", s->fail_sentence);
    return (pytheus_err)s->fail_with;
}

static inline pytheus_err spy_leave(spy *s, pytheus_err err) {
    spy_write(s, err ? " -> %s\n" : "\n", pytheus_err_name(err));
    pthread_mutex_unlock(&s->lock);
    return err;
}

static inline spy_cell *spy_cell_of(spy *s, void *cell) {
    spy_cell *known = (spy_cell *)cell;
    s->num_wrong += known->mark != SPY_CELL_OPEN;
    return known;
}

static inline pytheus_err spy_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    static const char *const types[] = {"",         "counter", "gauge",     "info",
                                        "stateset", "unknown", "histogram", "summary"};
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_OPEN);
    spy_write(s, "open %s %s", types[desc->type], desc->metric);
    for (size_t i = 0; i < desc->num_labels; i++)
        spy_write(s, "%s%s=\"%s\"%s", i ? "," : "{", desc->labels[i].name, desc->labels[i].value,
                  i + 1 == desc->num_labels ? "}" : "");
    spy_write(s, " value \"%s\" bound %g help \"%s\"", desc->value, desc->bound, desc->help);
    s->across = desc->across;
    s->expire_seconds = desc->expire_seconds;
    if (!err) {
        spy_cell *fresh = (spy_cell *)backends_alloc(sizeof *fresh);
        fresh->number = ++s->num_opened;
        fresh->mark = SPY_CELL_OPEN;
        fresh->next = s->cells;
        s->cells = fresh;
        *cell = fresh;
        spy_write(s, " -> #%ld", fresh->number);
    }
    err = spy_leave(s, err);
    if (s->after_open)
        s->after_open(s->hook_user);
    return err;
}

static inline pytheus_err spy_change(spy *s, spy_function function, const char *name, void *cell,
                                     double factor, double v) {
    pytheus_err err = spy_enter(s, function);
    spy_cell *known = spy_cell_of(s, cell);
    spy_write(s, "%s #%ld %.17g", name, known->number, v);
    if (!err)
        known->value = function == SPY_SET ? v : known->value + factor * v;
    return spy_leave(s, err);
}

static inline pytheus_err spy_inc(void *user, void *cell, double by) {
    spy *s = (spy *)user;
    if (s->before_inc)
        s->before_inc(s->hook_user);
    return spy_change(s, SPY_INC, "inc", cell, 1, by);
}

static inline pytheus_err spy_dec(void *user, void *cell, double by) {
    return spy_change((spy *)user, SPY_DEC, "dec", cell, -1, by);
}

static inline pytheus_err spy_set(void *user, void *cell, double value) {
    return spy_change((spy *)user, SPY_SET, "set", cell, 1, value);
}

static inline pytheus_err spy_get(void *user, void *cell, double *value) {
    spy *s = (spy *)user;
    pytheus_err err;
    if (s->before_get)
        s->before_get(s->hook_user);
    err = spy_enter(s, SPY_GET);
    spy_write(s, "get #%ld", spy_cell_of(s, cell)->number);
    if (!err)
        *value = s->answers ? s->answer : spy_cell_of(s, cell)->value;
    return spy_leave(s, err);
}

static inline pytheus_err spy_observe(void *user, void *const *cells, size_t num_cells,
                                      size_t counted, double v) {
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_OBSERVE);
    spy_write(s, "observe #%ld..#%ld count in #%ld: %.17g", spy_cell_of(s, cells[0])->number,
              spy_cell_of(s, cells[num_cells - 1])->number, spy_cell_of(s, cells[counted])->number,
              v);
    if (!err) {
        spy_cell_of(s, cells[0])->value += v;
        spy_cell_of(s, cells[counted])->value += 1;
    }
    return spy_leave(s, err);
}

static inline pytheus_err spy_get_many(void *user, void *const *cells, size_t n, double *values) {
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_GET_MANY);
    spy_write(s, "get_many %lu:", (unsigned long)n);
    for (size_t i = 0; i < n; i++) {
        spy_write(s, " #%ld", spy_cell_of(s, cells[i])->number);
        if (!err)
            values[i] = s->answers ? s->answer : spy_cell_of(s, cells[i])->value;
    }
    return spy_leave(s, err);
}

static inline pytheus_err spy_remove(void *user, void *cell) {
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_REMOVE);
    spy_cell *known = spy_cell_of(s, cell);
    spy_write(s, "remove #%ld", known->number);
    s->num_wrong += known->is_removed;
    known->is_removed = true;
    s->num_removed++;
    return spy_leave(s, err);
}

static inline void spy_close(void *user, void *cell) {
    spy *s = (spy *)user;
    (void)spy_enter(s, SPY_CLOSE);
    spy_cell *known = spy_cell_of(s, cell);
    spy_write(s, "close #%ld", known->number);
    known->mark = SPY_CELL_CLOSED;
    s->sum_closed += known->value;
    known->value = -1e9;
    s->num_closed++;
    (void)spy_leave(s, PYTHEUS_OK);
}

static inline pytheus_err spy_generate(void *user, pytheus_emitter *out) {
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_GENERATE);
    spy_write(s, "generate");
    err = spy_leave(s, err);
    if (!err)
        (void)pytheus_emit_family(
            out, &(pytheus_family){.type = PYTHEUS_GAUGE, .name = "spied", .help = "Generated."});
    return err ? err : pytheus_emit_sample(out, &(pytheus_sample){.value = 1});
}

static inline pytheus_err spy_flush(void *user) {
    spy *s = (spy *)user;
    pytheus_err err = spy_enter(s, SPY_FLUSH);
    spy_write(s, "flush");
    return spy_leave(s, err);
}

static inline void spy_forked(void *user) {
    spy *s = (spy *)user;
    (void)spy_enter(s, SPY_FORKED);
    spy_write(s, "forked");
    (void)spy_leave(s, PYTHEUS_OK);
}

/* The spy stays the test's. */
static inline void spy_destroy(void *user) {
    spy *s = (spy *)user;
    (void)spy_enter(s, SPY_DESTROY);
    spy_write(s, "destroy");
    s->num_wrong += s->num_opened != s->num_closed || s->num_calls[SPY_DESTROY] != 1;
    (void)spy_leave(s, PYTHEUS_OK);
}

static inline void spy_init(spy *s) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    s->fail_function = SPY_ANY;
    s->fail_with = PYTHEUS_ERR_BACKEND;
}

static inline void spy_free(spy *s) {
    while (s->cells) {
        spy_cell *cell = s->cells;
        s->cells = cell->next;
        free(cell);
    }
    free(s->text);
    pthread_mutex_destroy(&s->lock);
}

/* Lets the n-th call from now on of that function fail. */
static inline void spy_fail(spy *s, spy_function function, long n, int err, const char *sentence) {
    s->fail_function = function;
    s->fail_at = s->num_calls[function] + n;
    s->fail_with = err;
    s->fail_sentence = sentence;
}

/* Whether the failure has come about. */
static inline bool spy_has_failed(const spy *s) {
    return s->num_calls[s->fail_function] >= s->fail_at;
}

static inline pytheus_backend spy_backend(spy *s, const char *name, unsigned functions) {
    pytheus_backend backend = {.name = name,
                               .user = s,
                               .cell_open = spy_open,
                               .inc = spy_inc,
                               .set = spy_set,
                               .get = spy_get};
    backend.cell_remove = functions & SPY_BIT(SPY_REMOVE) ? spy_remove : NULL;
    backend.cell_close = functions & SPY_BIT(SPY_CLOSE) ? spy_close : NULL;
    backend.dec = functions & SPY_BIT(SPY_DEC) ? spy_dec : NULL;
    backend.observe = functions & SPY_BIT(SPY_OBSERVE) ? spy_observe : NULL;
    backend.get_many = functions & SPY_BIT(SPY_GET_MANY) ? spy_get_many : NULL;
    backend.generate = functions & SPY_BIT(SPY_GENERATE) ? spy_generate : NULL;
    backend.flush = functions & SPY_BIT(SPY_FLUSH) ? spy_flush : NULL;
    backend.forked = functions & SPY_BIT(SPY_FORKED) ? spy_forked : NULL;
    backend.destroy = functions & SPY_BIT(SPY_DESTROY) ? spy_destroy : NULL;
    return backend;
}

/* -- pool -- */

typedef struct pool_slot {
    uint64_t life __attribute__((aligned(8)));
    struct pool_slot *next;      /* of all */
    struct pool_slot *next_free; /* of those that can be used again */
    size_t num_words;
    bool is_open, is_removed;
    uint64_t words[] __attribute__((aligned(8)));
} pool_slot;

typedef struct pool {
    pthread_mutex_t lock;
    bool has_masks; /* and uses words again */
    bool has_lives;
    size_t num_stripes;
    uint64_t random, last_life;
    pool_slot *slots, *free_slots;
    long num_opened, num_closed, num_removed, num_wrong, num_reused, num_forked;
    long fail_opens; /* how many of the next ones fail */
    long *destroyed; /* counts */
    pytheus_across across;
    double expire_seconds;
} pool;

static inline uint64_t pool_random(pool *p) {
    uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline pool_slot *pool_take(pool *p, size_t num_words) {
    pool_slot **at = &p->free_slots, *slot;
    while (*at && (*at)->num_words != num_words)
        at = &(*at)->next_free;
    slot = *at;
    if (slot) {
        *at = slot->next_free;
        p->num_reused++;
        return slot;
    }
    slot = (pool_slot *)backends_alloc(sizeof *slot + num_words * sizeof(uint64_t));
    slot->num_words = num_words;
    slot->next = p->slots;
    p->slots = slot;
    return slot;
}

static inline pytheus_err pool_open(void *user, const pytheus_series_desc *desc,
                                    pytheus_words *words) {
    pool *p = (pool *)user;
    const size_t stripe_words = (desc->num_words + 7) / 8 * 8;
    pool_slot *slot;
    pthread_mutex_lock(&p->lock);
    p->across = desc->across;
    p->expire_seconds = desc->expire_seconds;
    if (p->fail_opens > 0) {
        p->fail_opens--;
        pthread_mutex_unlock(&p->lock);
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "the pool is dry");
    }
    slot = pool_take(p, stripe_words * p->num_stripes);
    words->mask = p->has_masks ? pool_random(p) | 1 : 0;
    for (size_t i = 0; i < slot->num_words; i++)
        __atomic_store_n(&slot->words[i], words->mask, __ATOMIC_RELAXED);
    slot->is_open = true;
    slot->is_removed = false;
    words->at = slot->words;
    words->num_stripes = p->num_stripes;
    words->stripe_words = stripe_words;
    words->series = slot;
    if (p->has_lives) {
        words->life_value = ++p->last_life;
        words->life = &slot->life;
        __atomic_store_n(&slot->life, words->life_value, __ATOMIC_RELEASE);
    }
    p->num_opened++;
    pthread_mutex_unlock(&p->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err pool_remove(void *user, const pytheus_words *words) {
    pool *p = (pool *)user;
    pool_slot *slot = (pool_slot *)words->series;
    pthread_mutex_lock(&p->lock);
    p->num_wrong += !slot->is_open || slot->is_removed || words->at != slot->words;
    slot->is_removed = true;
    __atomic_store_n(&slot->life, 0, __ATOMIC_RELEASE);
    p->num_removed++;
    pthread_mutex_unlock(&p->lock);
    return PYTHEUS_OK;
}

static inline void pool_close(void *user, const pytheus_words *words) {
    pool *p = (pool *)user;
    pool_slot *slot = (pool_slot *)words->series;
    pthread_mutex_lock(&p->lock);
    p->num_wrong += !slot->is_open || words->at != slot->words;
    slot->is_open = false;
    if (p->has_masks) {
        slot->next_free = p->free_slots;
        p->free_slots = slot;
    }
    p->num_closed++;
    pthread_mutex_unlock(&p->lock);
}

static inline void pool_forked(void *user) {
    pool *p = (pool *)user;
    pthread_mutex_init(&p->lock, NULL);
    p->num_forked++;
}

static inline void pool_destroy(void *user) {
    pool *p = (pool *)user;
    if (p->num_wrong || p->num_opened != p->num_closed) {
        fprintf(stderr, "pool: %ld opened, %ld closed, %ld wrong\n", p->num_opened, p->num_closed,
                p->num_wrong);
        abort();
    }
    if (p->destroyed)
        ++*p->destroyed;
    while (p->slots) {
        pool_slot *slot = p->slots;
        p->slots = slot->next;
        free(slot);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static inline pool *pool_new(bool has_masks, bool has_lives, size_t num_stripes) {
    pool *p = (pool *)backends_alloc(sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    p->has_masks = has_masks;
    p->has_lives = has_lives;
    p->num_stripes = num_stripes;
    return p;
}

static inline pytheus_backend pool_backend(pool *p) {
    return (pytheus_backend){.name = "pool",
                             .user = p,
                             .words_open = pool_open,
                             .words_remove = pool_remove,
                             .words_close = pool_close,
                             .forked = pool_forked,
                             .destroy = pool_destroy};
}

/* -- generating -- */

typedef struct generating_series generating_series;

typedef struct generating_value {
    generating_series *series;
    char *name; /* "", "sum", "count", a bound */
    double value;
} generating_value;

struct generating_series {
    generating_series *next;
    char *metric, *help;
    pytheus_type type;
    char *strings[2 * PYTHEUS_MAX_LABELS];
    size_t num_strings;
    char *states[PYTHEUS_MAX_STATES];
    size_t num_states;
    generating_value **values; /* of a histogram: the sum, then the buckets */
    size_t num_values;
    size_t num_open;
    bool is_whole, is_removed;
};

typedef struct generating {
    pthread_mutex_t lock;
    generating_series *series; /* in the order in which they were made */
    bool has_others;           /* what another process made is on the page too */
} generating;

static inline bool generating_is(const generating_series *series, const pytheus_cell_desc *desc) {
    bool same = !series->is_removed && !strcmp(series->metric, desc->metric) &&
                series->num_strings == 2 * desc->num_labels;
    for (size_t i = 0; same && i < desc->num_labels; i++)
        same = !strcmp(series->strings[2 * i + 1], desc->labels[i].value);
    return same;
}

static inline generating_series *generating_series_new(const pytheus_cell_desc *desc) {
    generating_series *series = (generating_series *)backends_alloc(sizeof *series);
    series->metric = backends_copy(desc->metric);
    series->help = backends_copy(desc->help);
    series->type = desc->type;
    for (size_t i = 0; i < desc->num_labels; i++) {
        series->strings[series->num_strings++] = backends_copy(desc->labels[i].name);
        series->strings[series->num_strings++] = backends_copy(desc->labels[i].value);
    }
    for (size_t i = 0; i < desc->num_states; i++)
        series->states[series->num_states++] = backends_copy(desc->states[i]);
    return series;
}

static inline void generating_series_free(generating_series *series) {
    for (size_t i = 0; i < series->num_values; i++) {
        free(series->values[i]->name);
        free(series->values[i]);
    }
    for (size_t i = 0; i < series->num_strings; i++)
        free(series->strings[i]);
    for (size_t i = 0; i < series->num_states; i++)
        free(series->states[i]);
    free(series->values);
    free(series->metric);
    free(series->help);
    free(series);
}

static inline generating_value *generating_value_of(generating_series *series, const char *name) {
    generating_value *value;
    for (size_t i = 0; i < series->num_values; i++)
        if (!strcmp(series->values[i]->name, name))
            return series->values[i];
    value = (generating_value *)backends_alloc(sizeof *value);
    value->series = series;
    value->name = backends_copy(name);
    series->values = (generating_value **)realloc(series->values, (series->num_values + 1) *
                                                                      sizeof *series->values);
    if (!series->values)
        abort();
    series->values[series->num_values++] = value;
    return value;
}

static inline pytheus_err generating_open(void *user, const pytheus_cell_desc *desc, void **cell) {
    generating *g = (generating *)user;
    generating_series **at = &g->series;
    pthread_mutex_lock(&g->lock);
    while (*at && !generating_is(*at, desc))
        at = &(*at)->next;
    *at = *at ? *at : generating_series_new(desc);
    (*at)->num_open++;
    *cell = generating_value_of(*at, desc->value);
    (*at)->is_whole |= desc->type == PYTHEUS_HISTOGRAM ? !strcmp(desc->value, "+Inf")
                       : desc->type == PYTHEUS_SUMMARY ? !strcmp(desc->value, "count")
                                                       : true;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err generating_inc(void *user, void *cell, double by) {
    generating *g = (generating *)user;
    pthread_mutex_lock(&g->lock);
    ((generating_value *)cell)->value += by;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err generating_set(void *user, void *cell, double value) {
    generating *g = (generating *)user;
    pthread_mutex_lock(&g->lock);
    ((generating_value *)cell)->value = value;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err generating_get_many(void *user, void *const *cells, size_t n,
                                              double *values) {
    generating *g = (generating *)user;
    pthread_mutex_lock(&g->lock);
    for (size_t i = 0; i < n; i++)
        values[i] = ((generating_value *)cells[i])->value;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err generating_get(void *user, void *cell, double *value) {
    return generating_get_many(user, &cell, 1, value);
}

static inline pytheus_err generating_observe(void *user, void *const *cells, size_t num_cells,
                                             size_t counted, double v) {
    generating *g = (generating *)user;
    (void)num_cells;
    pthread_mutex_lock(&g->lock);
    ((generating_value *)cells[0])->value += v;
    ((generating_value *)cells[counted])->value += 1;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline pytheus_err generating_remove(void *user, void *cell) {
    generating *g = (generating *)user;
    pthread_mutex_lock(&g->lock);
    ((generating_value *)cell)->series->is_removed = true;
    pthread_mutex_unlock(&g->lock);
    return PYTHEUS_OK;
}

static inline void generating_close(void *user, void *cell) {
    generating *g = (generating *)user;
    generating_series **at = &g->series, *series = ((generating_value *)cell)->series;
    pthread_mutex_lock(&g->lock);
    if (--series->num_open == 0) {
        while (*at != series)
            at = &(*at)->next;
        *at = series->next;
        generating_series_free(series);
    }
    pthread_mutex_unlock(&g->lock);
}

/* The sample with these labels and, unless own is NULL, one more. */
static inline void generating_sample(pytheus_emitter *out, const generating_series *series,
                                     const char *suffix, const char *own, const char *own_value,
                                     double value) {
    const char *pairs[2 * PYTHEUS_MAX_LABELS + 2];
    size_t n = series->num_strings;
    memcpy(pairs, series->strings, n * sizeof *pairs);
    if (own) {
        pairs[n++] = own;
        pairs[n++] = own_value;
    }
    (void)pytheus_emit_sample(
        out, &(pytheus_sample){.suffix = suffix, .pairs = pairs, .num_strings = n, .value = value});
}

static inline void generating_emit(pytheus_emitter *out, const generating_series *series) {
    double count = 0;
    if (series->type == PYTHEUS_STATESET) {
        uint32_t states = (uint32_t)series->values[0]->value;
        for (size_t i = 0; i < series->num_states; i++)
            generating_sample(out, series, NULL, series->metric, series->states[i],
                              states >> i & 1);
        return;
    }
    if (series->type < PYTHEUS_HISTOGRAM) {
        generating_sample(out, series, NULL, NULL, NULL,
                          series->type == PYTHEUS_INFO ? 1 : series->values[0]->value);
        return;
    }
    for (size_t i = 1; i < series->num_values; i++) {
        count += series->values[i]->value;
        if (series->type == PYTHEUS_HISTOGRAM)
            generating_sample(out, series, "_bucket", "le", series->values[i]->name, count);
    }
    generating_sample(out, series, "_sum", NULL, NULL, series->values[0]->value);
    generating_sample(out, series, "_count", NULL, NULL, count);
}

/* All series of the metric of the first, if that one is the metric's first. */
static inline void generating_emit_metric(const generating *g, pytheus_emitter *out,
                                          const generating_series *first) {
    const generating_series *series;
    for (series = g->series; series != first; series = series->next)
        if (!strcmp(series->metric, first->metric))
            return;
    (void)pytheus_emit_family(
        out, &(pytheus_family){.type = first->type, .name = first->metric, .help = first->help});
    for (; series; series = series->next)
        if (series->is_whole && !series->is_removed && !strcmp(series->metric, first->metric))
            generating_emit(out, series);
}

static inline pytheus_err generating_generate(void *user, pytheus_emitter *out) {
    generating *g = (generating *)user;
    pthread_mutex_lock(&g->lock);
    for (const generating_series *series = g->series; series; series = series->next)
        generating_emit_metric(g, out, series);
    pthread_mutex_unlock(&g->lock);
    if (g->has_others) {
        const char *const pairs[] = {"worker", "2"};
        (void)pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_COUNTER,
                                                         .name = "others_total",
                                                         .help = "Made by another process."});
        (void)pytheus_emit_sample(out,
                                  &(pytheus_sample){.pairs = pairs, .num_strings = 2, .value = 7});
    }
    return PYTHEUS_OK;
}

static inline void generating_forked(void *user) {
    pthread_mutex_init(&((generating *)user)->lock, NULL);
}

static inline void generating_destroy(void *user) {
    generating *g = (generating *)user;
    if (g->series) {
        fprintf(stderr, "generating: a series of %s is still open\n", g->series->metric);
        abort();
    }
    pthread_mutex_destroy(&g->lock);
    free(g);
}

static inline pytheus_backend generating_backend(bool has_others) {
    generating *g = (generating *)backends_alloc(sizeof *g);
    pthread_mutex_init(&g->lock, NULL);
    g->has_others = has_others;
    return (pytheus_backend){.name = "generating",
                             .user = g,
                             .cell_open = generating_open,
                             .inc = generating_inc,
                             .set = generating_set,
                             .get = generating_get,
                             .cell_remove = generating_remove,
                             .cell_close = generating_close,
                             .observe = generating_observe,
                             .get_many = generating_get_many,
                             .generate = generating_generate,
                             .forked = generating_forked,
                             .destroy = generating_destroy};
}

/* -- file -- */

#ifdef FIXTURE_FILE
/* Nobody else finds the file: it has no name any more. */
static inline pytheus_backend file_backend(void) {
    static int number;
    char directory[80], path[100];
    pytheus_backend backend;
    snprintf(directory, sizeof directory, "/dev/shm/pytheus-test-%ld-%d", (long)getpid(),
             __atomic_add_fetch(&number, 1, __ATOMIC_RELAXED));
    if (mkdir(directory, 0700) ||
        pytheus_file_backend(&(pytheus_file_desc){.directory = directory}, &backend)) {
        fprintf(stderr, "FIXTURE_BACKEND=file: %s\n", pytheus_last_error());
        abort();
    }
    snprintf(path, sizeof path, "%s/pytheus.data", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/pytheus.lock", directory);
    unlink(path);
    rmdir(directory);
    return backend;
}
#endif

/* -- redis, in programs that are built for it: a server at REDIS_SOCKET, where each registry has
      keys of its own -- */

#ifdef FIXTURE_REDIS
#define PYTHEUS_REDIS_IMPLEMENTATION
#include "pytheus_redis.h"

/* The page without what the backend says of itself. */
static inline pytheus_err redis_generate_plainly(void *user, pytheus_emitter *out) {
    pytheus_redis *redis = (pytheus_redis *)user;
    pytheus_redis__metric *metric = NULL;
    int64_t deadline = pytheus_redis__deadline(redis);
    if (!pytheus_redis__take_line(redis, deadline))
        return pytheus_redis__busy();
    pytheus_err err = pytheus_redis__read_page(redis, deadline);
    while (!err && (metric = pytheus_redis__next_metric(redis, metric)) != NULL)
        pytheus_redis__emit_metric(redis, out, metric);
    pytheus_redis__free_line(redis);
    return err;
}

static inline pytheus_backend redis_fixture(bool write_through) {
    static int num_made;
    pytheus_backend backend;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "t%ld.%d", (long)getpid(),
             __atomic_add_fetch(&num_made, 1, __ATOMIC_RELAXED));
    if (pytheus_redis_backend(&(pytheus_redis_desc){.unix_socket_path = getenv("REDIS_SOCKET"),
                                                    .key_prefix = prefix,
                                                    .command_timeout_ms = 60000,
                                                    .write_through = write_through},
                              &backend)) {
        fprintf(stderr, "%s\n", pytheus_last_error());
        abort();
    }
    backend.generate = redis_generate_plainly;
    return backend;
}
#endif

/* -- the backend that the environment variable FIXTURE_BACKEND names, new each time -- */

/* false: none, the registry keeps its values itself. */
static inline bool backends_chosen(pytheus_backend *out) {
    const char *name = getenv("FIXTURE_BACKEND");
    if (!name || !*name)
        return false;
    if (!strcmp(name, "minimal")) {
        *out = minimal_backend();
    } else if (!strcmp(name, "atomic")) {
        *out = atomic_backend();
    } else if (!strcmp(name, "words")) {
        *out = pool_backend(pool_new(true, true, 1));
    } else if (!strcmp(name, "words3")) {
        *out = pool_backend(pool_new(true, true, 3));
    } else if (!strcmp(name, "bare")) {
        *out = pool_backend(pool_new(false, false, 1));
    } else if (!strcmp(name, "generating")) {
        *out = generating_backend(false);
#ifdef FIXTURE_FILE
    } else if (!strcmp(name, "file")) {
        *out = file_backend();
#endif
#ifdef FIXTURE_REDIS
    } else if (!strcmp(name, "redis")) {
        *out = redis_fixture(false);
    } else if (!strcmp(name, "redis-through")) {
        *out = redis_fixture(true);
#endif
    } else {
        fprintf(stderr, "FIXTURE_BACKEND: there is no %s\n", name);
        abort();
    }
    return true;
}

static inline bool backends_is(const char *name) {
    const char *chosen = getenv("FIXTURE_BACKEND");
    return chosen && !strcmp(chosen, name);
}

/* Whether its operations take a mutex, which may be held where a signal interrupts them. */
static inline bool backends_locks(void) {
    return backends_is("minimal") || backends_is("generating");
}

/* Leaves a test that this backend can't hold by what a backend may be, and says so. */
#define LEAVE_IF(condition, reason)                                                                \
    do {                                                                                           \
        if (condition) {                                                                           \
            printf("on %s not: %s: %s\n", getenv("FIXTURE_BACKEND"), check_running, reason);       \
            CHECK(true);                                                                           \
            return;                                                                                \
        }                                                                                          \
    } while (0)

/* A registry with that backend, whatever else it is to be; desc may be NULL. */
static inline pytheus_registry *backends_registry(const pytheus_registry_desc *desc) {
    pytheus_registry_desc with = desc ? *desc : (pytheus_registry_desc){.prefix = NULL};
    pytheus_backend backend;
    pytheus_registry *registry;
    bool chosen = backends_chosen(&backend);
    with.backend = chosen ? &backend : NULL;
    registry = pytheus_registry_new(&with);
    if (!registry && chosen && backend.destroy)
        backend.destroy(backend.user);
    return registry;
}

#endif
