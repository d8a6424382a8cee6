/* cells.h: the other way to keep threads out of each other's way: cells of each thread's own, that
   only this thread writes, so that it needs no locked instruction. Here as far as it takes to
   measure it: series that come and go, threads that come and go, fork, sums.

   A thread has a block: room for the cells of every series, reserved at once and got from the
   system as it is touched. A thread that ends leaves its block to the next that begins, with what
   is in it. In front of its cells a block has the generation of the series that they count for,
   so that a series' successor begins with none. */
#ifndef CELLS_H
#define CELLS_H

#include "../floors.h"
#include <sys/mman.h>

/* 8 MB of addresses for each thread. */
enum { CELLS_BLOCK_WORDS = 1 << 20, CELLS_MOST_BLOCKS = 1024 };

typedef struct cells_series {
    uint64_t generation; /* 0: removed */
    size_t at;           /* in each block */
    size_t num;
    const double *bounds; /* 11, and one that is never below a value */
} cells_series;

typedef struct cells_blocks {
    pthread_mutex_t lock;
    pthread_key_t key; /* for its destructor */
    uint64_t *all[CELLS_MOST_BLOCKS], *free[CELLS_MOST_BLOCKS];
    size_t num, num_free;
    size_t words_used;
} cells_blocks;

static cells_blocks cells_known = {.lock = PTHREAD_MUTEX_INITIALIZER};
static __thread uint64_t *cells_own;

/* ---- blocks ---- */

static void cells_give_back(void *block) {
    cells_own = NULL;
    pthread_mutex_lock(&cells_known.lock);
    cells_known.free[cells_known.num_free++] = (uint64_t *)block;
    pthread_mutex_unlock(&cells_known.lock);
}

static uint64_t *cells_new_block(void) {
    void *memory = mmap(NULL, CELLS_BLOCK_WORDS * sizeof(uint64_t), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    harness_expect(memory != MAP_FAILED && cells_known.num < CELLS_MOST_BLOCKS, "no block");
    cells_known.all[cells_known.num] = (uint64_t *)memory;
    __atomic_store_n(&cells_known.num, cells_known.num + 1, __ATOMIC_RELEASE);
    return (uint64_t *)memory;
}

/* Neither this lock nor what it guards may be met by a signal's handler: a library would have to
   send a thread's first operation elsewhere. */
__attribute__((noinline, cold)) static void cells_take(void) {
    pthread_mutex_lock(&cells_known.lock);
    cells_own = cells_known.num_free ? cells_known.free[--cells_known.num_free] : cells_new_block();
    pthread_mutex_unlock(&cells_known.lock);
    pthread_setspecific(cells_known.key, cells_own);
}

static void cells_lock(void) {
    pthread_mutex_lock(&cells_known.lock);
}

static void cells_unlock(void) {
    pthread_mutex_unlock(&cells_known.lock);
}

/* No destructor runs for the threads that a child does not have. */
static void cells_after_fork(void) {
    cells_known.num_free = 0;
    for (size_t i = 0; i < cells_known.num; i++)
        if (cells_known.all[i] != cells_own)
            cells_known.free[cells_known.num_free++] = cells_known.all[i];
    cells_unlock();
}

static inline void cells_init(void) {
    harness_expect(pthread_key_create(&cells_known.key, cells_give_back) == 0, "no key");
    pthread_atfork(cells_lock, cells_unlock, cells_after_fork);
}

static inline cells_series cells_new(size_t num, const double *bounds) {
    static uint64_t last;
    cells_series series = {++last, cells_known.words_used, num, bounds};
    cells_known.words_used += num + 1;
    harness_expect(cells_known.words_used <= CELLS_BLOCK_WORDS, "no room");
    return series;
}

/* ---- operations; of a generation, as handles have it; false: the series has gone ---- */

__attribute__((noinline, cold)) static void cells_begin(const cells_series *series, uint64_t *cells,
                                                        uint64_t generation) {
    for (size_t i = 1; i <= series->num; i++)
        __atomic_store_n(&cells[i], 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cells[0], generation, __ATOMIC_RELEASE);
}

/* NULL: the series has gone. */
static inline uint64_t *cells_of_thread(const cells_series *series, uint64_t generation) {
    uint64_t *cells;
    if (__builtin_expect(__atomic_load_n(&series->generation, __ATOMIC_RELAXED) != generation, 0))
        return NULL;
    if (__builtin_expect(!cells_own, 0))
        cells_take();
    cells = cells_own + series->at;
    if (__builtin_expect(__atomic_load_n(cells, __ATOMIC_RELAXED) != generation, 0))
        cells_begin(series, cells, generation);
    return cells + 1;
}

/* Adding takes one instruction, so that no signal can come in the middle. C cannot say that, and
   processors other than x86 do not have it. */
#if defined(__x86_64__)
#define CELLS_HAVE_SINGLE 1
static inline void cells_add_single(uint64_t *word) {
    __asm__ volatile("addq $1, %0" : "+m"(*word));
}

static inline void cells_add_real_single(uint64_t *word, double v) {
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED), next;
    bool done;
    do {
        double sum;
        memcpy(&sum, &old, sizeof sum);
        sum += v;
        memcpy(&next, &sum, sizeof next);
        __asm__ volatile("cmpxchgq %3, %1" : "=@ccz"(done), "+m"(*word), "+a"(old) : "r"(next));
    } while (!done);
}
#else
#define CELLS_HAVE_SINGLE 0
#define cells_add_single floors_add_shared
#define cells_add_real_single floors_add_real_shared
#endif

#define CELLS_DEFINE(kind, add, add_real)                                                          \
    __attribute__((noinline)) static bool cells_inc_##kind(const cells_series *series,             \
                                                           uint64_t generation) {                  \
        uint64_t *cells = cells_of_thread(series, generation);                                     \
        if (!cells)                                                                                \
            return false;                                                                          \
        add(&cells[0]);                                                                            \
        return true;                                                                               \
    }                                                                                              \
    __attribute__((noinline)) static bool cells_observe_##kind(const cells_series *series,         \
                                                               uint64_t generation, double v) {    \
        uint64_t *cells = cells_of_thread(series, generation);                                     \
        if (!cells)                                                                                \
            return false;                                                                          \
        add(&cells[1 + floors_bucket(series->bounds, v)]);                                         \
        add_real(&cells[0], v);                                                                    \
        return true;                                                                               \
    }
CELLS_DEFINE(plain, floors_add_own, floors_add_real_own)
CELLS_DEFINE(single, cells_add_single, cells_add_real_single)

/* What all threads have counted in cells from first on. */
static inline uint64_t cells_sum(const cells_series *series, size_t first) {
    size_t num = __atomic_load_n(&cells_known.num, __ATOMIC_ACQUIRE);
    uint64_t sum = 0;
    for (size_t block = 0; block < num; block++) {
        const uint64_t *cells = cells_known.all[block] + series->at;
        bool counts = __atomic_load_n(cells, __ATOMIC_ACQUIRE) == series->generation;
        for (size_t i = first; counts && i < series->num; i++)
            sum += __atomic_load_n(&cells[1 + i], __ATOMIC_RELAXED);
    }
    return sum;
}

#endif
