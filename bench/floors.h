/* floors.h: what each operation of a metrics library comes down to, done bare. Nothing that counts
   can be faster than this on the same machine, as long as all threads share the cells; floors for
   several threads are of cells that each thread has for itself. */
#ifndef FLOORS_H
#define FLOORS_H

#include "harness.h"
#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef struct floors_cell {
    uint64_t word;
    uint64_t buckets[64];
    double bounds[12]; /* 11, and one that is never below a value */
    const double *values;
} __attribute__((aligned(64))) floors_cell;

/* Found by each operation anew, in the thread's own storage. */
static __thread floors_cell *volatile floors_own;

static inline void floors_cell_init(floors_cell *cell, const double *values) {
    memset(cell, 0, sizeof *cell);
    memcpy(cell->bounds, harness_bounds_11, sizeof harness_bounds_11);
    cell->bounds[11] = HUGE_VAL;
    cell->values = values;
}

/* ---- operations on cells ---- */

static inline void floors_add_shared(uint64_t *word) {
    __atomic_fetch_add(word, 1, __ATOMIC_RELAXED);
}

static inline void floors_add_real_shared(uint64_t *word, double v) {
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED), next;
    do {
        double sum;
        memcpy(&sum, &old, sizeof sum);
        sum += v;
        memcpy(&next, &sum, sizeof next);
    } while (
        !__atomic_compare_exchange_n(word, &old, next, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
}

/* Only one thread writes the cell: others may read it, so both halves are atomic, not the whole. */
static inline void floors_add_own(uint64_t *word) {
    __atomic_store_n(word, __atomic_load_n(word, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

static inline void floors_add_real_own(uint64_t *word, double v) {
    uint64_t bits = __atomic_load_n(word, __ATOMIC_RELAXED);
    double sum;
    memcpy(&sum, &bits, sizeof sum);
    sum += v;
    memcpy(&bits, &sum, sizeof bits);
    __atomic_store_n(word, bits, __ATOMIC_RELAXED);
}

/* How many of the bounds are below v. */
static inline size_t floors_bucket(const double *bounds, double v) {
#ifdef __SSE2__
    __m128i below = _mm_setzero_si128();
    __m128d value = _mm_set1_pd(v);
    int i;
#pragma GCC unroll 6
    for (i = 0; i < 12; i += 2) {
        __m128d is_below = _mm_cmplt_pd(_mm_loadu_pd(bounds + i), value);
        below = _mm_sub_epi64(below, _mm_castpd_si128(is_below));
    }
    return (size_t)(_mm_cvtsi128_si64(below) + _mm_cvtsi128_si64(_mm_unpackhi_epi64(below, below)));
#else
    size_t i, bucket = 0;
    for (i = 0; i < 12; i++)
        bucket += bounds[i] < v;
    return bucket;
#endif
}

static inline void floors_xadd(void *user, unsigned thread, size_t num_ops) {
    floors_cell *cell = (floors_cell *)user;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        floors_add_shared(&cell->word);
}

static inline void floors_cas_double(void *user, unsigned thread, size_t num_ops) {
    floors_cell *cell = (floors_cell *)user;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++)
        floors_add_real_shared(&cell->word, 1.5);
}

static inline void floors_store(void *user, unsigned thread, size_t num_ops) {
    floors_cell *cell = (floors_cell *)user;
    (void)thread;
    for (size_t i = 0; i < num_ops; i++) {
        __atomic_store_n(&cell->word, 42, __ATOMIC_RELAXED);
        __asm__ volatile(""); /* not several of them in one turn of the loop */
    }
}

static inline void floors_own_inc(void *user, unsigned thread, size_t num_ops) {
    floors_cell own;
    memset(&own, 0, sizeof own);
    (void)user;
    (void)thread;
    floors_own = &own;
    for (size_t i = 0; i < num_ops; i++)
        floors_add_own(&floors_own->word);
    floors_own = NULL;
}

static inline void floors_observe(void *user, unsigned thread, size_t num_ops) {
    floors_cell *cell = (floors_cell *)user;
    for (size_t i = 0; i < num_ops; i++) {
        double v = harness_value(cell->values, thread, i);
        floors_add_shared(&cell->buckets[floors_bucket(cell->bounds, v)]);
        floors_add_real_shared(&cell->word, v);
    }
}

static inline void floors_own_observe(void *user, unsigned thread, size_t num_ops) {
    const floors_cell *cell = (const floors_cell *)user;
    floors_cell own;
    memset(&own, 0, sizeof own);
    floors_own = &own;
    for (size_t i = 0; i < num_ops; i++) {
        double v = harness_value(cell->values, thread, i);
        floors_add_own(&floors_own->buckets[floors_bucket(cell->bounds, v)]);
        floors_add_real_own(&floors_own->word, v);
    }
    floors_own = NULL;
}

/* ---- labels: no lookup does without reading and hashing the values ---- */

static inline uint64_t floors_fold(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t floors_read(const char *text, size_t size) {
    uint64_t word = 0;
    memcpy(&word, text, size);
    return word;
}

/* In the manner of wyhash; a text of 8 bytes or more. */
static inline uint64_t floors_hash(const char *text, size_t size) {
    const uint64_t a = 0xa0761d6478bd642fu, b = 0xe7037ed1a0b428dbu;
    uint64_t hash = a;
    size_t i;
    for (i = 0; i + 16 < size; i += 16)
        hash = floors_fold(floors_read(text + i, 8) ^ b, floors_read(text + i + 8, 8) ^ hash);
    return floors_fold(b ^ size, floors_fold(floors_read(text + size - 8, 8) ^ b, hash));
}

typedef struct floors_keys {
    char (*texts)[32]; /* the values of a series, joined */
    const uint32_t *picks;
    uint64_t word;
} floors_keys;

static inline floors_keys floors_keys_new(const harness_labels *labels) {
    floors_keys keys;
    size_t i;
    keys.texts = (char(*)[32])malloc(labels->num * sizeof *keys.texts);
    keys.picks = labels->picks;
    keys.word = 0;
    harness_expect(keys.texts != NULL, "out of memory");
    for (i = 0; i < labels->num; i++)
        snprintf(keys.texts[i], sizeof keys.texts[i], "%s%s", harness_method(labels, i),
                 labels->paths[i]);
    return keys;
}

static inline void floors_hash_and_xadd(void *user, unsigned thread, size_t num_ops) {
    floors_keys *keys = (floors_keys *)user;
    uint64_t all = 0;
    HARNESS_FOR_PICKS(keys, thread, i, num_ops) {
        all ^= floors_hash(keys->texts[i], strlen(keys->texts[i]));
        __atomic_fetch_add(&keys->word, 1, __ATOMIC_RELAXED);
    }
    harness_keep(all);
}

/* ---- text: each line holds the label text of its series, which is in memory and cold ---- */

typedef struct floors_texts {
    char *bytes; /* one after another */
    uint16_t *sizes;
    size_t num;
} floors_texts;

static inline floors_texts floors_texts_new(const harness_labels *labels) {
    floors_texts texts;
    size_t i, used = 0;
    texts.num = labels->num;
    texts.bytes = (char *)malloc(labels->num * 96);
    texts.sizes = (uint16_t *)malloc(labels->num * sizeof *texts.sizes);
    harness_expect(texts.bytes && texts.sizes, "out of memory");
    for (i = 0; i < labels->num; i++) {
        int size =
            snprintf(texts.bytes + used, 96, "http_requests_total{method=\"%s\",path=\"%s\"} ",
                     harness_method(labels, i), labels->paths[i]);
        texts.sizes[i] = (uint16_t)size;
        used += (size_t)size;
    }
    return texts;
}

static inline void floors_texts_free(floors_texts *texts) {
    free(texts->bytes);
    free(texts->sizes);
}

/* An operation is a page of all lines, through a buffer of 64 KB. */
static inline void floors_copy(void *user, unsigned thread, size_t num_ops) {
    static char buffer[65536 + 96];
    const floors_texts *texts = (const floors_texts *)user;
    (void)thread;
    for (size_t op = 0; op < num_ops; op++) {
        const char *from = texts->bytes;
        size_t used = 0;
        for (size_t i = 0; i < texts->num; i++) {
            memcpy(buffer + used, from, texts->sizes[i]);
            from += texts->sizes[i];
            used += texts->sizes[i];
            used = used < 65536 ? used : 0;
        }
        __asm__ volatile("" : : "r"(buffer) : "memory");
    }
}

/* The 17 digits of a double, known beforehand: what is left when finding them costs nothing. */
static inline void floors_digits(void *user, unsigned thread, size_t num_ops) {
    const double *values = (const double *)user;
    char digits[24];
    (void)thread;
    for (size_t op = 0; op < num_ops; op++) {
        uint64_t n;
        memcpy(&n, &values[op % HARNESS_NUM_VALUES], sizeof n);
        n = 10000000000000000u + n % 10000000000000000u;
        for (int i = 16; i > 0; i -= 2, n /= 100) {
            unsigned pair = (unsigned)(n % 100);
            digits[i] = (char)('0' + pair % 10);
            digits[i - 1] = (char)('0' + pair / 10);
        }
        digits[0] = (char)('0' + n);
        __asm__ volatile("" : : "r"(digits) : "memory");
    }
}

/* ---- making: the memory of a new series has to be got and filled ---- */

enum { FLOORS_SERIES_SIZE = 192 };

/* From fresh pages, as a growing program gets them. */
static inline void floors_fill(void *user, unsigned thread, size_t num_ops) {
    const harness_labels *labels = (const harness_labels *)user;
    char *memory = (char *)malloc(num_ops * FLOORS_SERIES_SIZE);
    (void)thread;
    harness_expect(memory != NULL, "out of memory");
    for (size_t i = 0; i < num_ops; i++) {
        const char *path = labels->paths[i % labels->num];
        uint64_t hash = floors_hash(path, strlen(path));
        memset(memory + i * FLOORS_SERIES_SIZE, (int)(hash & 0xff), FLOORS_SERIES_SIZE);
    }
    __asm__ volatile("" : : "r"(memory) : "memory");
    free(memory);
}

#endif
