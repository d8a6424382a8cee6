/* harness.h: times loops so that neither the scheduler nor another program shows in the result.

   A program that uses it is one round of a benchmark: it prints lines of "case, who, value", and is
   run many times, in turn with others (bench/run). C99 and C++11. */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* thread counts from 0. */
typedef void harness_loop(void *user, unsigned thread, size_t num_ops);

typedef struct harness_measure {
    harness_loop *loop;
    void (*prepare)(void *user); /* before each repetition, not timed; may be NULL */
    void *user;
    size_t num_ops;             /* of a repetition; 0: as many as take 3 to 6 ms */
    double parts;               /* of an operation, whose time is to be told; 0: 1 */
    unsigned num_threads;       /* all in the same loop; 0: one */
    void (*beside)(void *user); /* what another thread does meanwhile, again and again */
    void *beside_user;
    bool pinned; /* to the CPU that another thread would be beside */
} harness_measure;

enum { HARNESS_REPETITIONS = 3, HARNESS_SECONDS_MOST = 1, HARNESS_MOST_THREADS = 8 };

static inline void harness_die(const char *why) {
    fprintf(stderr, "bench: %s\n", why);
    exit(1);
}

/* What a benchmark says of its own results: a loop that the compiler dropped is no result. */
static inline void harness_expect(bool condition, const char *what) {
    if (!condition)
        harness_die(what);
}

/* A result that no one looks at could be left out, with all that leads to it. */
static inline void harness_keep(uint64_t value) {
    __asm__ volatile("" : : "r"(value) : "memory");
}

/* ---- time ---- */

static inline double harness_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static inline double harness_now(void) {
    return harness_clock(CLOCK_MONOTONIC);
}

/* Nanoseconds that this thread was ready but had no CPU; 0 where the kernel does not count. */
static inline double harness_waited(void) {
    double ran = 0, waited = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "r");
    if (!file)
        return 0;
    if (fscanf(file, "%lf %lf", &ran, &waited) != 2)
        waited = 0;
    fclose(file);
    return waited;
}

typedef struct harness_watch {
    double began, waited;
} harness_watch;

static inline harness_watch harness_watch_start(void) {
    harness_watch watch;
    watch.waited = harness_waited();
    watch.began = harness_now();
    return watch;
}

/* The time since start; NAN when more than 3 % of it was spent waiting for a CPU. So long that it
   always was, it is without what was waited. */
static inline double harness_watch_stop(const harness_watch *watch) {
    double ns = harness_now() - watch->began, waited = harness_waited() - watch->waited;
    return waited <= 0.03 * ns ? ns : ns > 1e8 ? ns - waited : (double)NAN;
}

/* ---- threads ---- */

/* One for all files of a program. */
__attribute__((weak)) cpu_set_t harness_cpus;

static inline unsigned harness_num_cpus(void) {
    return (unsigned)CPU_COUNT(&harness_cpus);
}

/* To the n-th CPU, so that threads run at the same time. */
static inline void harness_pin(unsigned n) {
    cpu_set_t one;
    size_t cpu;
    n %= harness_num_cpus();
    for (cpu = 0; !CPU_ISSET(cpu, &harness_cpus) || n-- > 0; cpu++) {
    }
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

static inline void harness_unpin(void) {
    pthread_setaffinity_np(pthread_self(), sizeof harness_cpus, &harness_cpus);
}

static inline void *harness_sleep(void *unused) {
    (void)unused;
    for (;;)
        pause();
    return NULL;
}

/* glibc leaves locks out of programs with one thread. Ours has two. */
static inline void harness_init(void) {
    pthread_t parked;
    sched_getaffinity(0, sizeof harness_cpus, &harness_cpus);
    harness_expect(pthread_create(&parked, NULL, harness_sleep, NULL) == 0, "no thread");
}

typedef struct harness_team {
    const harness_measure *measure;
    unsigned num_threads, num_ready;
    size_t num_ops;
    double began[HARNESS_MOST_THREADS], ended[HARNESS_MOST_THREADS];
    bool disturbed[HARNESS_MOST_THREADS];
    bool stop; /* for the one beside */
} harness_team;

typedef struct harness_member {
    harness_team *team;
    unsigned thread;
} harness_member;

static inline void harness_wait_for(unsigned *num_ready, unsigned num) {
    __atomic_fetch_add(num_ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(num_ready, __ATOMIC_ACQUIRE) < num)
        if (num > harness_num_cpus())
            sched_yield();
}

static inline void *harness_run_member(void *user) {
    const harness_member *member = (const harness_member *)user;
    harness_team *team = member->team;
    const harness_measure *m = team->measure;
    bool crowded = team->num_threads > harness_num_cpus();
    if (!crowded)
        harness_pin(member->thread);
    m->loop(m->user, member->thread, team->num_ops / 16 + 1);
    harness_wait_for(&team->num_ready, team->num_threads);
    harness_watch watch = harness_watch_start();
    m->loop(m->user, member->thread, team->num_ops);
    team->began[member->thread] = watch.began;
    team->ended[member->thread] = harness_now();
    team->disturbed[member->thread] = isnan(harness_watch_stop(&watch));
    return NULL;
}

static inline void *harness_run_beside(void *user) {
    const harness_member *member = (const harness_member *)user;
    harness_team *team = member->team;
    harness_pin(1);
    harness_watch watch = harness_watch_start();
    bool first = true;
    do {
        team->measure->beside(team->measure->beside_user);
        if (first)
            __atomic_fetch_add(&team->num_ready, 1, __ATOMIC_ACQ_REL);
        first = false;
    } while (!__atomic_load_n(&team->stop, __ATOMIC_ACQUIRE));
    team->disturbed[1] = isnan(harness_watch_stop(&watch));
    return NULL;
}

/* Nanoseconds of CPU for one operation: with as many CPUs as threads, what each waits for its own.
   NAN: disturbed. */
static inline double harness_time_team(const harness_measure *m, size_t num_ops) {
    harness_team team;
    harness_member members[HARNESS_MOST_THREADS];
    pthread_t threads[HARNESS_MOST_THREADS];
    unsigned i, cpus = harness_num_cpus();
    double began, ended;
    memset(&team, 0, sizeof team);
    team.measure = m;
    team.num_threads = m->num_threads;
    team.num_ops = num_ops;
    for (i = 0; i < m->num_threads; i++) {
        members[i].team = &team;
        members[i].thread = i;
        harness_expect(pthread_create(&threads[i], NULL, harness_run_member, &members[i]) == 0,
                       "no thread");
    }
    for (i = 0; i < m->num_threads; i++)
        pthread_join(threads[i], NULL);
    began = team.began[0];
    ended = team.ended[0];
    for (i = 1; i < m->num_threads; i++) {
        began = team.began[i] < began ? team.began[i] : began;
        ended = team.ended[i] > ended ? team.ended[i] : ended;
    }
    for (i = 0; i < m->num_threads && m->num_threads <= cpus; i++) {
        bool late = team.began[i] - began > 0.03 * (ended - began);
        if (team.disturbed[i] || late)
            return (double)NAN;
    }
    cpus = m->num_threads < cpus ? m->num_threads : cpus;
    return (ended - began) * cpus / ((double)num_ops * m->num_threads);
}

static inline double harness_time_beside(const harness_measure *m, size_t num_ops) {
    harness_team team;
    harness_member member = {&team, 1};
    pthread_t thread;
    double ns;
    memset(&team, 0, sizeof team);
    team.measure = m;
    harness_expect(pthread_create(&thread, NULL, harness_run_beside, &member) == 0, "no thread");
    while (!__atomic_load_n(&team.num_ready, __ATOMIC_ACQUIRE))
        sched_yield();
    harness_watch watch = harness_watch_start();
    m->loop(m->user, 0, num_ops);
    ns = harness_watch_stop(&watch);
    __atomic_store_n(&team.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return team.disturbed[1] ? (double)NAN : ns / (double)num_ops;
}

/* ---- repetitions ---- */

static inline double harness_time(const harness_measure *m, size_t num_ops) {
    if (m->prepare)
        m->prepare(m->user);
    if (m->num_threads > 1)
        return harness_time_team(m, num_ops);
    if (m->beside)
        return harness_time_beside(m, num_ops);
    harness_watch watch = harness_watch_start();
    m->loop(m->user, 0, num_ops);
    return harness_watch_stop(&watch) / (double)num_ops;
}

/* Shorter ones where several threads must all be left alone, and get in each other's way. */
static inline size_t harness_calibrate(const harness_measure *m) {
    size_t num_ops = 16;
    double began;
    if (m->num_ops)
        return m->num_ops;
    for (;;) {
        began = harness_now();
        m->loop(m->user, 0, num_ops);
        if (harness_now() - began > (m->num_threads > 1 ? 3e5 : 3e6))
            return num_ops;
        num_ops *= 2;
    }
}

static inline int harness_compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static inline double harness_median(double *values, size_t n) {
    if (!n)
        return (double)NAN;
    qsort(values, n, sizeof *values, harness_compare_doubles);
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static inline void harness_print(const char *name, const char *who, double value) {
    if (isnan(value))
        fprintf(stderr, "bench: %s (%s): no undisturbed repetition\n", name, who);
    else
        printf("%s\t%s\t%.4g\n", name, who, value);
    fflush(stdout);
}

typedef struct harness_side {
    const char *who;
    harness_measure measure;
} harness_side;

/* Prints the median of each side. Their repetitions take turns, so that a machine that gets slower
   for a while does so for all. */
static inline void harness_compare(const char *name, harness_side *sides, size_t num_sides) {
    enum { MOST_SIDES = 2 };
    double times[MOST_SIDES][HARNESS_REPETITIONS], began = harness_now();
    size_t num_ops[MOST_SIDES], num_good[MOST_SIDES] = {0}, i, missing = num_sides;
    for (i = 0; i < num_sides; i++) {
        if (sides[i].measure.beside || sides[i].measure.pinned)
            harness_pin(0);
        num_ops[i] = harness_calibrate(&sides[i].measure);
    }
    while (missing && harness_now() - began < HARNESS_SECONDS_MOST * 1e9) {
        for (i = 0; i < num_sides; i++) {
            if (num_good[i] < HARNESS_REPETITIONS) {
                double ns = harness_time(&sides[i].measure, num_ops[i]);
                times[i][num_good[i]] = ns;
                num_good[i] += isnan(ns) ? 0 : 1;
                missing -= num_good[i] == HARNESS_REPETITIONS ? 1 : 0;
            }
        }
    }
    harness_unpin();
    for (i = 0; i < num_sides; i++) {
        double parts = sides[i].measure.parts;
        harness_print(name, sides[i].who,
                      harness_median(times[i], num_good[i]) / (parts > 0 ? parts : 1));
    }
}

/* ---- what the cases of all programs work on ---- */

enum {
    HARNESS_NUM_VALUES = 1 << 20, /* so many that no branch predictor learns them */
    HARNESS_NUM_PICKS = 65536
};

static inline uint64_t harness_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* From 0 to 1. */
static inline double harness_random_unit(uint64_t *state) {
    return (double)(harness_random(state) >> 11) / 9007199254740992.0;
}

/* Random on a logarithmic scale, from below the first bound to above the last. */
static inline double *harness_values(const double *bounds, size_t num_bounds) {
    double *values = (double *)malloc(HARNESS_NUM_VALUES * sizeof *values);
    double low = log(bounds[0] / 2), high = log(bounds[num_bounds - 1] * 2);
    uint64_t state = 1;
    size_t i;
    for (i = 0; values && i < HARNESS_NUM_VALUES; i++)
        values[i] = exp(low + harness_random_unit(&state) * (high - low));
    return values;
}

static const double harness_bounds_11[11] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

static inline const double *harness_bounds_50(void) {
    static double bounds[50];
    int i;
    for (i = 0; i < 50; i++)
        bounds[i] = 0.001 * pow(1.25, i);
    return bounds;
}

/* Threads are at different places, as they would be. */
static inline double harness_value(const double *values, unsigned thread, size_t op) {
    return values[(op + thread * (HARNESS_NUM_VALUES / 3)) % HARNESS_NUM_VALUES];
}

/* Label values as a program has them: text of its own, picked in random order. */
typedef struct harness_labels {
    char (*paths)[24];
    const char *methods[4];
    uint32_t *picks;
    size_t num;
} harness_labels;

static inline const char *harness_method(const harness_labels *labels, size_t i) {
    return labels->methods[i % 4];
}

static inline harness_labels harness_labels_new(size_t num) {
    static const char *const methods[4] = {"GET", "PUT", "POST", "DELETE"};
    harness_labels labels;
    uint64_t state = 2;
    size_t i;
    memcpy(labels.methods, methods, sizeof methods);
    labels.num = num;
    labels.paths = (char(*)[24])malloc(num * sizeof *labels.paths);
    labels.picks = (uint32_t *)malloc(HARNESS_NUM_PICKS * sizeof *labels.picks);
    harness_expect(labels.paths && labels.picks, "out of memory");
    for (i = 0; i < num; i++)
        snprintf(labels.paths[i], sizeof labels.paths[i], "/api/items/%06u", (unsigned)i);
    for (i = 0; i < HARNESS_NUM_PICKS; i++)
        labels.picks[i] = (uint32_t)(harness_random(&state) % num);
    return labels;
}

static inline void harness_labels_free(harness_labels *labels) {
    free(labels->paths);
    free(labels->picks);
}

#define HARNESS_FOR_PICKS(labels, thread, i, num_ops)                                              \
    for (size_t op_ = 0, i;                                                                        \
         i = (labels)->picks[(op_ + (thread)*9999) % HARNESS_NUM_PICKS], op_ < (num_ops); op_++)

/* Bytes of this process that are in memory. */
static inline double harness_resident(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%ld %ld", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* Runs a case in a process of its own, whose memory is as fresh as a program's that has just begun:
   to be called before anything is allocated, and before harness_init. */
static inline void harness_in_child(void (*run)(void)) {
    int status = 0;
    pid_t pid;
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        harness_init();
        run();
        fflush(stdout);
        _exit(0); /* without freeing a million of anything */
    }
    harness_expect(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "a child failed");
}

/* For what takes too long to be repeated until nobody disturbs it. */
static inline double harness_cpu_time(void) {
    return harness_clock(CLOCK_THREAD_CPUTIME_ID);
}

#endif
