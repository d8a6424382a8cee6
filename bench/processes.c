/* Many processes, one page: the shared file. The floor of an increment is that in the process. */
#include "bench.h"
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#define PYTHEUS_FILE_IMPLEMENTATION
#include "pytheus_file.h"

enum { PROCESSES = 8, SERIES = 1000, MANY = 100000 };

static char directory[80];

static void begin_service(void) {
    static int number;
    snprintf(directory, sizeof directory, "/dev/shm/pytheus-bench-%ld-%d", (long)getpid(),
             ++number);
    harness_expect(mkdir(directory, 0700) == 0, "no directory");
}

static void end_service(void) {
    char path[120];
    snprintf(path, sizeof path, "%s/pytheus.data", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/pytheus.lock", directory);
    unlink(path);
    rmdir(directory);
}

static pytheus_registry *join(void) {
    pytheus_backend backend;
    const pytheus_file_desc desc = {.directory = directory};
    harness_expect(pytheus_file_backend(&desc, &backend) == PYTHEUS_OK, "no file");
    return pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
}

static pytheus_counter define_spread(pytheus_registry *registry, unsigned stripes) {
    return pytheus_counter_new(&(pytheus_desc){.name = "http_requests_total",
                                               .help = "What a program would measure.",
                                               .required_labels = {"method", "path"},
                                               .max_series = 2 * MANY,
                                               .stripes = stripes,
                                               .registry = registry});
}

static pytheus_counter define(pytheus_registry *registry) {
    return define_spread(registry, 0);
}

static void make_series(pytheus_registry *registry, size_t first, size_t num) {
    pytheus_counter metric = define(registry);
    harness_labels labels = harness_labels_new(first + num);
    size_t i;
    for (i = first; i < first + num; i++)
        pytheus_counter_inc(pytheus_counter_labels(metric, "method", harness_method(&labels, i),
                                                   "path", labels.paths[i]));
    harness_labels_free(&labels);
}

/* ---- an increment ---- */

static void inc(void *user, unsigned thread, size_t num_ops) {
    const pytheus_counter counter = *(const pytheus_counter *)user;
    size_t i;
    (void)thread;
    for (i = 0; i < num_ops; i++)
        pytheus_counter_inc(counter);
}

static void bench_inc(void) {
    pytheus_registry *shared, *alone = pytheus_registry_new(&(pytheus_registry_desc){0});
    pytheus_counter counters[2];
    begin_service();
    shared = join();
    counters[0] = pytheus_counter_labels(define(shared), "method", "GET", "path", "/");
    counters[1] = pytheus_counter_labels(define(alone), "method", "GET", "path", "/");
    harness_side sides[2] = {{OURS, {.loop = inc, .user = &counters[0]}},
                             {FLOOR, {.loop = inc, .user = &counters[1]}}};
    harness_compare("file-inc", sides, 2);
    pytheus_registry_free(shared);
    pytheus_registry_free(alone);
    end_service();
}

/* What the processes of a bench share. */
typedef struct together {
    unsigned num_ready;
    double ns[2];
} together;

static void inc_together(together *shared, pytheus_counter counter, unsigned process) {
    enum { NUM_OPS = 300000 };
    harness_pin(process);
    inc(&counter, process, NUM_OPS / 16);
    harness_wait_for(&shared->num_ready, 2);
    harness_watch watch = harness_watch_start();
    inc(&counter, process, NUM_OPS);
    shared->ns[process] = harness_watch_stop(&watch) / NUM_OPS;
}

/* Nanoseconds of an increment while another process does the same; NAN: disturbed. */
static double time_together(pytheus_counter counter) {
    together *shared = (together *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t processes[2];
    double ns;
    unsigned i;
    harness_expect(shared != MAP_FAILED, "no memory");
    for (i = 0; i < 2; i++) {
        processes[i] = fork();
        if (!processes[i]) {
            inc_together(shared, counter, i);
            _exit(0);
        }
    }
    for (i = 0; i < 2; i++)
        waitpid(processes[i], NULL, 0);
    ns = (shared->ns[0] + shared->ns[1]) / 2;
    munmap(shared, sizeof *shared);
    return ns;
}

static void bench_inc_together(const char *name, unsigned stripes) {
    double times[HARNESS_REPETITIONS], began = harness_now();
    size_t num = 0;
    pytheus_registry *registry;
    pytheus_counter counter;
    begin_service();
    registry = join();
    counter =
        pytheus_counter_labels(define_spread(registry, stripes), "method", "GET", "path", "/");
    while (num < HARNESS_REPETITIONS && harness_now() - began < HARNESS_SECONDS_MOST * 1e9) {
        times[num] = time_together(counter);
        num += isnan(times[num]) ? 0 : 1;
    }
    harness_print(name, OURS, harness_median(times, num));
    pytheus_registry_free(registry);
    end_service();
}

/* ---- a page ---- */

static pytheus_err throw_away(void *user, const char *bytes, size_t size) {
    *(size_t *)user += size + (unsigned char)bytes[size / 2];
    return PYTHEUS_OK;
}

static void write_pages(void *user, unsigned thread, size_t num_ops) {
    size_t i, sum = 0;
    pytheus_sink sink = {throw_away, &sum};
    (void)thread;
    for (i = 0; i < num_ops; i++)
        harness_expect(pytheus_write((pytheus_registry *)user, PYTHEUS_TEXT, &sink) == PYTHEUS_OK,
                       "no page");
    harness_expect(sum > num_ops * SERIES, "an empty page");
}

/* Microseconds of a page that is written by one of the processes, which have the same series, or
   each its own. */
static void bench_page(const char *name, bool distinct) {
    pid_t others[PROCESSES];
    int ready[2], i;
    char byte = 0;
    pytheus_registry *registry;
    begin_service();
    harness_expect(pipe(ready) == 0, "no pipe");
    for (i = 0; i < PROCESSES; i++) {
        others[i] = fork();
        if (!others[i]) {
            make_series(join(), distinct ? (size_t)i * SERIES : 0, SERIES);
            harness_expect(write(ready[1], &byte, 1) == 1, "no pipe");
            pause();
        }
    }
    for (i = 0; i < PROCESSES; i++)
        harness_expect(read(ready[0], &byte, 1) == 1, "no pipe");
    registry = join();
    harness_side side = {OURS,
                         {.loop = write_pages, .user = registry, .num_ops = 10, .parts = 1000}};
    harness_compare(name, &side, 1);
    for (i = 0; i < PROCESSES; i++) {
        kill(others[i], SIGKILL);
        waitpid(others[i], NULL, 0);
    }
    close(ready[0]);
    close(ready[1]);
    pytheus_registry_free(registry);
    end_service();
}

/* ---- opening ---- */

static void second_process(void) {
    size_t sum = 0;
    pytheus_sink sink = {throw_away, &sum};
    double start = harness_cpu_time();
    pytheus_registry *registry = join();
    define(registry);
    harness_expect(pytheus_write(registry, PYTHEUS_TEXT, &sink) == PYTHEUS_OK, "no page");
    harness_print("file-open-100000", OURS, (harness_cpu_time() - start) / 1e6);
    harness_expect(sum > MANY * 40, "series are missing");
}

/* Milliseconds until a second process has its first page of them. */
static void bench_open(void) {
    pid_t first;
    int ready[2];
    char byte = 0;
    begin_service();
    harness_expect(pipe(ready) == 0, "no pipe");
    first = fork();
    if (!first) {
        make_series(join(), 0, MANY);
        harness_expect(write(ready[1], &byte, 1) == 1, "no pipe");
        pause();
    }
    harness_expect(read(ready[0], &byte, 1) == 1, "no pipe");
    harness_in_child(second_process);
    kill(first, SIGKILL);
    waitpid(first, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    end_service();
}

void bench_processes(void) {
    bench_inc();
    bench_inc_together("file-inc-2", 0);
    bench_inc_together("file-inc-2-stripes", 8);
    bench_page("file-scrape", false);
    bench_page("file-scrape-distinct", true);
    bench_open();
}
