/* The two ways to keep threads out of each other's way, side by side: shared stripes, which are
   built in, and cells of each thread's own. Prints the table of bench/CONTENTION.md:
       contention own-library initial-exec-library */
#include "loops.h"
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <sys/time.h>

static const char *const names[LOOPS_NUM_DESIGNS] = {"stripes", "own cells, plain add",
                                                     "own cells, one instruction"};

static void print_row(const char *what, const char *format, const double *results) {
    printf("| %s |", what);
    for (int i = 0; i < LOOPS_NUM_DESIGNS; i++) {
        if (isnan(results[i]))
            printf(" - |");
        else
            printf(format, results[i]);
    }
    printf("\n");
    fflush(stdout);
}

#define FOR_DESIGNS(design)                                                                        \
    for (loops_design design = LOOPS_STRIPES; design < LOOPS_NUM_DESIGNS; design++)

static void expect_exact(const loops *copy) {
    FOR_DESIGNS(design) {
        for (int observed = 0; observed < 2; observed++)
            harness_expect(copy->counted(design, observed) == copy->done(design, observed),
                           "a sum is not exact");
    }
}

/* ---- time ---- */

/* The best of what was not disturbed: the designs take turns. */
static void time_operations(const loops *copy, const char *what, unsigned num_threads,
                            bool observed) {
    enum { ROUNDS = 25 };
    double best[LOOPS_NUM_DESIGNS] = {NAN, NAN, NAN};
    char row[80];
    for (int round = 0; round < ROUNDS; round++) {
        FOR_DESIGNS(design) {
            harness_measure measure = {.loop = observed ? copy->observe[design] : copy->inc[design],
                                       .num_threads = num_threads};
            double ns = harness_time(&measure, 400000);
            best[design] = ns < best[design] || isnan(best[design]) ? ns : best[design];
        }
    }
    snprintf(row, sizeof row, "%s from %u thread%s, %s (ns)", observed ? "observe" : "inc",
             num_threads, num_threads > 1 ? "s" : "", what);
    print_row(row, " %.2f |", best);
}

static void time_copy(const loops *copy, const char *what, double *values) {
    copy->init(values);
    for (unsigned num_threads = 1; num_threads <= 2; num_threads++) {
        time_operations(copy, what, num_threads, false);
        time_operations(copy, what, num_threads, true);
    }
    expect_exact(copy);
}

/* ---- a signal's handler counts in the series that it interrupts the counting of ---- */

static const loops *interrupted;
static loops_design interrupted_design;
static volatile sig_atomic_t interrupted_observe;
static volatile sig_atomic_t num_signals;

static void count_in_handler(int signal) {
    (void)signal;
    num_signals++;
    if (interrupted_observe)
        interrupted->observe[interrupted_design](NULL, 0, 1);
    else
        interrupted->inc[interrupted_design](NULL, 0, 1);
}

static double lost_by_signals(const loops *copy, loops_design design, bool observed) {
    const struct itimerval often = {{0, 20}, {0, 20}}, never = {{0, 0}, {0, 0}};
    interrupted = copy;
    interrupted_design = design;
    interrupted_observe = observed;
    num_signals = 0;
    setitimer(ITIMER_REAL, &often, NULL);
    while (num_signals < 20000)
        (observed ? copy->observe : copy->inc)[design](NULL, 0, 10000);
    setitimer(ITIMER_REAL, &never, NULL);
    return (double)(copy->done(design, observed) - copy->counted(design, observed));
}

static void interrupt(const loops *copy) {
    double lost[2][LOOPS_NUM_DESIGNS];
    signal(SIGALRM, count_in_handler);
    for (int observed = 0; observed < 2; observed++)
        FOR_DESIGNS(design) {
            lost[observed][design] = lost_by_signals(copy, design, observed);
        }
    signal(SIGALRM, SIG_DFL);
    print_row("counts lost to 20,000 signals, inc", " %.0f |", lost[0]);
    print_row("counts lost to 20,000 signals, observe", " %.0f |", lost[1]);
}

/* ---- what a thread's first operation takes from malloc, as a handler must not ---- */

typedef struct first_use {
    harness_loop *loop;
    double bytes;
} first_use;

static void *use_first(void *user) {
    first_use *use = (first_use *)user;
    size_t before = mallinfo2().uordblks;
    use->loop(NULL, 0, 1);
    use->bytes = (double)(mallinfo2().uordblks - before);
    return NULL;
}

static void first_uses(const loops *copy, const char *what) {
    double bytes[LOOPS_NUM_DESIGNS];
    char row[80];
    FOR_DESIGNS(design) {
        pthread_t thread;
        first_use use = {copy->inc[design], NAN};
        harness_expect(pthread_create(&thread, NULL, use_first, &use) == 0, "no thread");
        pthread_join(thread, NULL);
        bytes[design] = use.bytes;
    }
    snprintf(row, sizeof row, "malloc by a thread's first inc, %s (bytes)", what);
    print_row(row, " %.0f |", bytes);
}

/* ---- threads that come and go ---- */

static const loops *visited;

static void *visit(void *unused) {
    (void)unused;
    FOR_DESIGNS(design) {
        visited->inc[design](NULL, 0, 100);
        visited->observe[design](NULL, 0, 100);
    }
    return NULL;
}

static void come_and_go(const loops *copy) {
    size_t before = copy->num_blocks();
    visited = copy;
    for (int i = 0; i < 2000; i++) {
        pthread_t threads[2];
        for (int j = 0; j < 2; j++)
            harness_expect(pthread_create(&threads[j], NULL, visit, NULL) == 0, "no thread");
        for (int j = 0; j < 2; j++)
            pthread_join(threads[j], NULL);
    }
    expect_exact(copy);
    printf("| blocks after 4,000 threads, 2 at once | - | %zu more | %zu more |\n",
           copy->num_blocks() - before, copy->num_blocks() - before);
}

/* ---- fork, while another thread counts ---- */

static bool stop_counting;

static void *count_on(void *user) {
    const loops *copy = (const loops *)user;
    while (!__atomic_load_n(&stop_counting, __ATOMIC_RELAXED))
        FOR_DESIGNS(design) {
            copy->inc[design](NULL, 0, 1000);
            copy->observe[design](NULL, 0, 1000);
        }
    return NULL;
}

/* A child has what was counted until then, and goes on counting in two threads. Returns how many
   sums are wrong. */
static int count_in_child(const loops *copy) {
    uint64_t before[LOOPS_NUM_DESIGNS][2];
    pthread_t thread;
    int wrong = 0;
    for (int i = 0; i < 2 * LOOPS_NUM_DESIGNS; i++)
        before[i / 2][i % 2] = copy->counted((loops_design)(i / 2), i % 2);
    visited = copy;
    (void)visit(NULL);
    if (pthread_create(&thread, NULL, visit, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    for (int i = 0; i < 2 * LOOPS_NUM_DESIGNS; i++)
        wrong += copy->counted((loops_design)(i / 2), i % 2) != before[i / 2][i % 2] + 200;
    return wrong;
}

static void fork_often(const loops *copy) {
    enum { FORKS = 300 };
    int wrong = 0;
    pthread_t thread;
    harness_expect(pthread_create(&thread, NULL, count_on, (void *)(uintptr_t)copy) == 0,
                   "no thread");
    for (int i = 0; i < FORKS; i++) {
        int status = 1;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            _exit(count_in_child(copy));
        wrong += pid < 0 || waitpid(pid, &status, 0) != pid || status != 0;
    }
    __atomic_store_n(&stop_counting, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    expect_exact(copy);
    printf("| wrong sums in %d forked children | %d | %d | %d |\n", FORKS, wrong, wrong, wrong);
}

/* ---- many threads in many series ---- */

enum { MANY_THREADS = 64 };
static pthread_barrier_t barrier;
static loops_design many_design;
static unsigned many_stripes;

static void *count_in_many(void *unused) {
    (void)unused;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    loops_of_this_copy()->count_in_many();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return NULL;
}

/* In a process of its own; all threads are there all the time. */
static void measure_many(void) {
    const loops *copy = loops_of_this_copy();
    pthread_t threads[MANY_THREADS];
    double before, made, counted, best = NAN;
    copy->init(harness_values(harness_bounds_11, 11));
    pthread_barrier_init(&barrier, NULL, MANY_THREADS + 1);
    for (int i = 0; i < MANY_THREADS; i++)
        harness_expect(pthread_create(&threads[i], NULL, count_in_many, NULL) == 0, "no thread");
    pthread_barrier_wait(&barrier);
    before = harness_resident();
    copy->make_many(many_design, many_stripes);
    made = harness_resident();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    counted = harness_resident();
    for (int i = 0; i < 5; i++) {
        double ns = copy->read_many();
        best = i == 0 || ns < best ? ns : best;
    }
    printf("%s: %.1f MB, %.1f MB more when %d threads have counted in each; %.0f ns to read one\n",
           many_design != LOOPS_STRIPES ? "own cells"
           : many_stripes               ? "stripes for every series"
                                        : "stripes where threads meet",
           (made - before) / 1e6, (counted - made) / 1e6, MANY_THREADS, best);
    pthread_barrier_wait(&barrier);
}

static void measure_all_many(void) {
    printf("%d counters and as many histograms\n", LOOPS_MANY);
    many_design = LOOPS_STRIPES;
    harness_in_child(measure_many);
    many_stripes = 8;
    harness_in_child(measure_many);
    many_stripes = 1;
    many_design = LOOPS_PLAIN;
    harness_in_child(measure_many);
}

/* ---- where the code is ---- */

static const loops *load(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    loops_get *get = NULL;
    if (!library)
        harness_die(dlerror());
    void *symbol = dlsym(library, "loops_of_this_copy");
    memcpy(&get, &symbol, sizeof get);
    harness_expect(get != NULL, "not such a library");
    return get();
}

int main(int argc, char **argv) {
    const loops *own = loops_of_this_copy(), *library, *early;
    double *values;
    sigset_t alarms;
    harness_expect(argc == 3, "two libraries are to be named");
    measure_all_many();
    /* Not for the thread that harness_init starts. */
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarms, NULL);
    harness_init();
    pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
    values = harness_values(harness_bounds_11, 11);
    library = load(argv[1]);
    early = load(argv[2]);
    printf("| |");
    FOR_DESIGNS(design) {
        printf(" %s |", names[design]);
    }
    printf("\n|---|---|---|---|\n");
    time_copy(own, "in the program", values);
    time_copy(library, "in a library that was loaded later", values);
    time_copy(early, "in one with initial-exec storage", values);
    first_uses(own, "in the program");
    first_uses(library, "in a library that was loaded later");
    first_uses(early, "in one with initial-exec storage");
    come_and_go(own);
    fork_often(own);
    interrupt(own);
    return 0;
}
