/* pytheus_process.h against what the system says: descriptors opened, threads started, memory
 * touched, time spent, limits and names changed, forks. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#define PYTHEUS_PROCESS_IMPLEMENTATION
#include "pytheus_process.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

static pytheus_registry *process_registry(void) {
    pytheus_registry *r = fixture_registry(NULL);
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}), PYTHEUS_OK);
    return r;
}

#define TEST_PROCESS(r, name)                                                                      \
    static void with_process_##name(pytheus_registry *r);                                          \
    TEST(name) {                                                                                   \
        pytheus_registry *registry = process_registry();                                           \
        with_process_##name(registry);                                                             \
        pytheus_registry_free(registry);                                                           \
    }                                                                                              \
    static void with_process_##name(pytheus_registry *r)

/* ---- everywhere ---- */

TEST_PROCESS(r, what_the_program_was_built_with) {
    char *text = page(r);
    const char *line = strstr(text, "\nc_info{compiler=\"");
    CHECK(line != NULL);
    CHECK(line && strstr(line, ",pytheus=\"" PYTHEUS_VERSION "\"} 1\n") != NULL);
#ifdef __clang__
    CHECK(line && strstr(line, "compiler=\"clang ") != NULL);
#else
    CHECK(line && strstr(line, "compiler=\"gcc ") != NULL);
#endif
    CHECK(line && strstr(line, ",standard=\"C") != NULL);
#ifdef __GLIBC__
    CHECK(line && strstr(line, ",libc=\"glibc 2.") != NULL);
#endif
    free(text);
    CHECK_OM_LINE(r, "# TYPE c info");
}

static pytheus_err add_size(void *user, const char *bytes, size_t size) {
    *(size_t *)user += size;
    printf("%.*s", (int)size, bytes);
    return PYTHEUS_OK;
}

TEST_PROCESS(r, names_are_clean) {
    char *text = om_page(r);
    size_t size = 0;
    free(text);
    CHECK_ERR(pytheus_lint(r, &(pytheus_sink){add_size, &size}), PYTHEUS_OK);
    CHECK_INT(size, 0);
}

TEST_PROCESS(r, it_is_there_once) {
    const pytheus_process_desc desc = {.registry = r};
    char *before = page(r);
    CHECK_ERR(pytheus_process_register(&desc), PYTHEUS_ERR_DUPLICATE);
    CHECK(strstr(before, "c_info{") != NULL);
    CHECK_ERR(pytheus_registry_remove_collector(r, "process"), PYTHEUS_OK);
    CHECK_PAGE(r, "");
    CHECK_ERR(pytheus_process_register(&desc), PYTHEUS_OK);
    char *after = page(r);
    CHECK_STR(strstr(after, "c_info{"), strstr(before, "c_info{"));
    free(before);
    free(after);
}

TEST_WITH(r, names_that_are_taken_refuse_it) {
    GAUGE(r, .name = "process_max_fds", .help = "Mine.");
    GAUGE(r, .name = "c_info", .help = "Mine.");
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}),
              PYTHEUS_ERR_DUPLICATE);
    CHECK_PAGE(r, "# HELP process_max_fds Mine.\n# TYPE process_max_fds gauge\nprocess_max_fds 0\n"
                  "# HELP c_info Mine.\n# TYPE c_info gauge\nc_info 0\n");
}

TEST(the_default_registry_needs_no_description) {
    pytheus_registry *r = fixture_registry(NULL), *other = fixture_registry(NULL);
    pytheus_set_default(r);
    CHECK_ERR(pytheus_process_register(NULL), PYTHEUS_OK);
    pytheus_set_default(other);
    char *text = page(r);
    CHECK(strstr(text, "c_info{") != NULL);
    free(text);
    CHECK_PAGE(other, "");
    pytheus_set_default(NULL);
    pytheus_registry_free(r);
    pytheus_registry_free(other);
}

#ifdef __linux__

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *const names[] = {
    "process_cpu_seconds_total",
    "process_open_fds",
    "process_max_fds",
    "process_virtual_memory_bytes",
    "process_virtual_memory_max_bytes",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
};

/* Runs the function in a child, whose checks count. */
static void in_child(void (*run)(void)) {
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        run();
        fflush(stdout);
        _exit(check_num_failed != 0);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

#define IN_CHILD(name)                                                                             \
    static void child_##name(void);                                                                \
    TEST(name) {                                                                                   \
        in_child(child_##name);                                                                    \
    }                                                                                              \
    static void child_##name(void)

/* ---- reading the page ---- */

enum { ABSENT = -1 };

static double value_in(const char *text, const char *sample) {
    char start[200];
    double value = ABSENT;
    snprintf(start, sizeof start, "\n%s ", sample);
    const char *line = strstr(text, start);
    return line && sscanf(line + strlen(start), "%lf", &value) == 1 ? value : ABSENT;
}

/* The sample's value on the page; ABSENT: there is none. */
static double look(pytheus_registry *r, const char *sample) {
    char *text = page(r);
    double value = value_in(text, sample);
    free(text);
    return value;
}

static bool is_within(double value, double least, double most) {
    if (value >= least && value <= most)
        return true;
    printf("%.17g is not within %.17g and %.17g\n", value, least, most);
    return false;
}
#define CHECK_WITHIN(value, least, most) CHECK(is_within(value, least, most))

/* ---- each value ---- */

TEST_PROCESS(r, everything_is_there_with_its_type_and_unit) {
    char *text = page(r), *open = om_page(r);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char line[200];
        snprintf(line, sizeof line, "# TYPE %s %s\n", names[i], i ? "gauge" : "counter");
        CHECK(strstr(text, line) != NULL);
        CHECK(value_in(text, names[i]) >= 0);
    }
    CHECK(strstr(open, "# UNIT process_cpu_seconds seconds\n") != NULL);
    CHECK(strstr(open, "# UNIT process_virtual_memory_max_bytes bytes\n") != NULL);
    CHECK(strstr(open, "# UNIT process_resident_memory_bytes bytes\n") != NULL);
    CHECK(strstr(open, "# UNIT process_start_time_seconds seconds\n") != NULL);
    free(text);
    free(open);
}

TEST(the_prefix_goes_before_the_names) {
    pytheus_registry *r = fixture_registry("app");
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}), PYTHEUS_OK);
    CHECK(look(r, "app_process_threads") >= 1);
    CHECK(look(r, "process_threads") < 0);
    pytheus_registry_free(r);
}

static int count_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 5000; fd++)
        n += fcntl(fd, F_GETFD) != -1;
    return n;
}

TEST_PROCESS(r, open_descriptors_are_counted_exactly) {
    int fds[300], before = count_fds();
    CHECK_DOUBLE(look(r, "process_open_fds"), before);
    for (int i = 0; i < 300; i++)
        fds[i] = open("/dev/null", O_RDONLY);
    CHECK(fds[299] >= 0);
    CHECK_DOUBLE(look(r, "process_open_fds"), before + 300);
    for (int i = 0; i < 300; i++)
        close(fds[i]);
    for (int i = 0; i < 50; i++)
        CHECK_DOUBLE(look(r, "process_open_fds"), before);
    CHECK_INT(count_fds(), before);
}

IN_CHILD(limits_are_those_of_now) {
    pytheus_registry *r = process_registry();
    const rlim_t much = (rlim_t)-1 / 4;
    const struct rlimit unlimited = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_DOUBLE(look(r, "process_max_fds"), (double)limit.rlim_cur);
    limit.rlim_cur = 77;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_DOUBLE(look(r, "process_max_fds"), 77);
    if (setrlimit(RLIMIT_AS, &unlimited) == 0)
        CHECK_DOUBLE(look(r, "process_virtual_memory_max_bytes"), (double)INFINITY);
    CHECK_INT(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = much;
    CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_DOUBLE(look(r, "process_virtual_memory_max_bytes"), (double)much);
}

/* There is no descriptor to look with. */
IN_CHILD(what_cannot_be_had_is_left_out) {
    pytheus_registry *r = process_registry();
    struct rlimit limit;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    limit.rlim_cur = limit.rlim_max;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK(text && strstr(text, "c_info{") != NULL);
    for (size_t i = 0; text && i < COUNT_OF(names); i++)
        CHECK(strstr(text, names[i]) == NULL);
    pytheus_free(text);
    CHECK(look(r, "process_open_fds") > 0);
}

static bool first_thread_has_ended(void) {
    char text[300] = "";
    FILE *file = fopen("/proc/self/stat", "r");
    bool has = file && fgets(text, sizeof text, file) && strstr(text, ") Z ");
    if (file)
        fclose(file);
    return has;
}

static void *look_when_first_thread_has_ended(void *unused) {
    pytheus_registry *r = process_registry();
    (void)unused;
    for (int i = 0; i < 1000 && !first_thread_has_ended(); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    CHECK(first_thread_has_ended());
    CHECK_DOUBLE(look(r, "process_open_fds"), ABSENT);
    CHECK_DOUBLE(look(r, "process_virtual_memory_bytes"), ABSENT);
    CHECK(look(r, "process_threads") >= 1);
    fflush(stdout);
    _exit(check_num_failed != 0);
}

/* The system tells neither descriptors nor memory of such a process. */
IN_CHILD(the_first_thread_may_end_before_others) {
    pthread_t other;
    CHECK_INT(pthread_create(&other, NULL, look_when_first_thread_has_ended, NULL), 0);
    pthread_exit(NULL);
}

typedef struct gate {
    pthread_mutex_t lock;
} gate;

static void *wait_at(void *argument) {
    pthread_mutex_lock(&((gate *)argument)->lock);
    pthread_mutex_unlock(&((gate *)argument)->lock);
    return NULL;
}

TEST_PROCESS(r, threads_are_counted) {
    gate g = {PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[7];
    if (CHECK(pthread_create(&threads[0], NULL, wait_at, &g) == 0))
        pthread_join(threads[0], NULL); /* from here on ThreadSanitizer's own is there */
    double before = look(r, "process_threads");
    pthread_mutex_lock(&g.lock);
    for (int i = 0; i < 7; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, wait_at, &g), 0);
    CHECK_DOUBLE(look(r, "process_threads"), before + 7);
    pthread_mutex_unlock(&g.lock);
    for (int i = 0; i < 7; i++)
        pthread_join(threads[i], NULL);
    CHECK(before >= 1);
}

TEST_PROCESS(r, memory_is_that_of_now) {
    enum { MEGABYTE = 1 << 20, SIZE = 64 * MEGABYTE, SLACK = 4 * MEGABYTE };
    double virtual_before = look(r, "process_virtual_memory_bytes");
    double resident_before = look(r, "process_resident_memory_bytes");
    char *memory =
        (char *)mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!CHECK(memory != MAP_FAILED))
        return;
    CHECK_WITHIN(look(r, "process_virtual_memory_bytes"), virtual_before + SIZE,
                 virtual_before + SIZE + SLACK);
    CHECK_WITHIN(look(r, "process_resident_memory_bytes"), resident_before - SLACK,
                 resident_before + SLACK);
    memset(memory, 1, SIZE);
#ifdef UNDER_TSAN /* which keeps several bytes for each */
    CHECK(look(r, "process_resident_memory_bytes") > resident_before + SIZE);
#else
    CHECK_WITHIN(look(r, "process_resident_memory_bytes"), resident_before + SIZE - SLACK,
                 resident_before + SIZE + SLACK);
#endif
    munmap(memory, SIZE);
    CHECK_WITHIN(look(r, "process_virtual_memory_bytes"), virtual_before - SLACK,
                 virtual_before + SLACK);
#ifndef UNDER_TSAN
    CHECK_WITHIN(look(r, "process_resident_memory_bytes"), resident_before - SLACK,
                 resident_before + SLACK);
#endif
}

TEST_PROCESS(r, the_heap_is_what_malloc_has) {
    enum { SIZE = 48 << 20, SLACK = 4 << 20, NUM_PIECES = 20000, PIECE = 1000 };
#if defined(PYTHEUS__PROCESS_HAS_HEAP) && !IS_SANITIZED
    static void *volatile pieces[NUM_PIECES];
    double before = look(r, "process_heap_bytes");
    void *volatile memory = malloc(SIZE); /* a compiler may do without what is not seen */
    CHECK(memory != NULL);
    CHECK_WITHIN(look(r, "process_heap_bytes"), before + SIZE, before + SIZE + SLACK);
    free(memory);
    CHECK_WITHIN(look(r, "process_heap_bytes"), before - SLACK, before + SLACK);
    for (int i = 0; i < NUM_PIECES; i++)
        pieces[i] = malloc(PIECE);
    CHECK(look(r, "process_heap_bytes") > before + 0.8 * NUM_PIECES * PIECE);
    for (int i = 0; i < NUM_PIECES; i++)
        free(pieces[i]);
    pytheus_registry *other = fixture_registry(NULL);
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = other, .no_heap = true}),
              PYTHEUS_OK);
    CHECK(look(other, "process_heap_bytes") < 0);
    CHECK(look(other, "process_threads") > 0);
    pytheus_registry_free(other);
#else
    (void)SIZE, (void)SLACK, (void)NUM_PIECES, (void)PIECE;
    double heap = look(r, "process_heap_bytes");
    CHECK(heap < 0 || heap > 0);
#endif
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void spend(double seconds) {
    double end = cpu_seconds() + seconds;
    while (cpu_seconds() < end)
        ;
}

TEST_PROCESS(r, time_is_what_was_spent) {
    const double ticks = 0.021; /* that of the user, and the system's */
    for (int i = 0; i < 3; i++) {
        double before = cpu_seconds(), told = look(r, "process_cpu_seconds_total");
        CHECK_WITHIN(told, before - ticks, cpu_seconds());
        spend(0.15);
        CHECK(look(r, "process_cpu_seconds_total") > told + 0.15 - ticks);
    }
}

static double wall_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double parents_start;

IN_CHILD(a_child_starts_later) {
    pytheus_registry *r = process_registry();
    double start = look(r, "process_start_time_seconds");
    CHECK_WITHIN(start, wall_clock() - 5, wall_clock() + 0.1);
    for (int i = 0; i < 20; i++)
        CHECK_DOUBLE(look(r, "process_start_time_seconds"), start);
    parents_start = start;
    usleep(200000);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        CHECK_WITHIN(look(r, "process_start_time_seconds") - parents_start, 0.15, 5);
        fflush(stdout);
        _exit(check_num_failed != 0);
    }
    int status = 1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ---- the name of a process ---- */

IN_CHILD(a_process_has_any_name) {
    static const char *const all[] = {
        "a) b (c",    ")", "(", "((((",   "))))) 1 2 3 4", "S 1 2 3 4 5 6 7", ") S 9 9 9 9 9",
        "\n\n(\n)\n", "",  " ", "\\)\\n", "\xff\xfe) R 0", "a b c d e f g h",
    };
    pytheus_registry *r = process_registry();
    double start = look(r, "process_start_time_seconds");
    spend(0.1);
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        CHECK_INT(prctl(PR_SET_NAME, all[i], 0, 0, 0), 0);
        CHECK_DOUBLE(look(r, "process_start_time_seconds"), start);
        CHECK_WITHIN(look(r, "process_threads"), 1, 2); /* ThreadSanitizer has one of its own */
        CHECK_WITHIN(look(r, "process_cpu_seconds_total"), 0.07, cpu_seconds());
        CHECK(look(r, "process_virtual_memory_bytes") > look(r, "process_resident_memory_bytes"));
        CHECK(look(r, "process_resident_memory_bytes") > 100000);
    }
}

/* ---- threads and forks ---- */

TEST(a_child_shows_its_own) {
    pytheus_registry *r = process_registry();
    gate g = {PTHREAD_MUTEX_INITIALIZER};
    pthread_t thread;
    int status = 1, fd = dup(0);
    pthread_mutex_lock(&g.lock);
    CHECK_INT(pthread_create(&thread, NULL, wait_at, &g), 0);
    spend(0.2);
    double threads = look(r, "process_threads"), fds = look(r, "process_open_fds");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        close(fd);
        CHECK(look(r, "process_threads") < threads);
        CHECK_DOUBLE(look(r, "process_open_fds"), fds - 1);
        CHECK(look(r, "process_cpu_seconds_total") < 0.2);
        fflush(stdout);
        _exit(check_num_failed != 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    pthread_mutex_unlock(&g.lock);
    pthread_join(thread, NULL);
    close(fd);
    pytheus_registry_free(r);
}

static void *look_after_main(void *argument) {
    pytheus_registry *r = (pytheus_registry *)argument;
    for (int i = 0; i < 500 && look(r, "process_virtual_memory_bytes") > 0; i++)
        usleep(10000);
    CHECK(look(r, "process_virtual_memory_bytes") < 0);
    CHECK(look(r, "process_resident_memory_bytes") < 0);
    CHECK(look(r, "process_threads") >= 1);
    CHECK(look(r, "process_start_time_seconds") > 0);
    fflush(stdout);
    _exit(check_num_failed != 0);
}

/* What the kernel then says of its memory is 0. */
IN_CHILD(nothing_is_0_when_the_first_thread_has_ended) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, look_after_main, process_registry()) == 0)
        pthread_exit(NULL);
    CHECK(getpid() < 0); /* not reached */
}

static void *look_often(void *argument) {
    pytheus_registry *r = (pytheus_registry *)argument;
    for (int i = 0; i < 50; i++) {
        char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
        CHECK(text && value_in(text, "process_threads") > 1);
        CHECK(text && value_in(text, "process_open_fds") > 0);
        pytheus_free(text);
    }
    return NULL;
}

TEST_PROCESS(r, several_threads_look_at_once) {
    pthread_t threads[4];
    int before = count_fds();
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, look_often, r), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(count_fds(), before);
}

/* ---- several processes ---- */

static const char *with_pid(const char *name, pid_t pid) {
    static char samples[4][200];
    static int last;
    last = (last + 1) % 4;
    snprintf(samples[last], sizeof samples[last], "%s{pid=\"%ld\"}", name, (long)pid);
    return samples[last];
}

TEST(a_process_may_show_its_pid) {
    pytheus_registry *r = fixture_registry(NULL);
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r, .pid_label = true}),
              PYTHEUS_OK);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        CHECK(look(r, with_pid(names[i], getpid())) >= 0);
        CHECK(look(r, names[i]) < 0);
    }
    char *text = page(r);
    CHECK(strstr(strstr(text, "\nc_info{"), "pid=") == NULL);
    free(text);
    pytheus_registry_free(r);
}

/* A backend that says which processes share it, and keeps nothing. */
static int64_t shared_by[100];
static size_t num_sharing, num_sharing_later;

static size_t tell_processes(void *unused, int64_t *pids, size_t room) {
    (void)unused;
    for (size_t i = 0; pids && i < room && i < num_sharing; i++)
        pids[i] = shared_by[i];
    return pids ? num_sharing_later : num_sharing;
}

static pytheus_registry *shared_registry(void) {
    static const pytheus_backend backend = {.name = "shared", .processes = tell_processes};
    pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}), PYTHEUS_OK);
    return r;
}

/* One with so many descriptors more than this one has. */
static pid_t start_worker(int num_fds) {
    int ready[2];
    char c;
    CHECK_INT(pipe(ready), 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit limit = {700, 700};
        for (int i = 0; i < num_fds; i++)
            (void)!dup(0);
        setrlimit(RLIMIT_NOFILE, &limit);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!write(ready[1], "", 1);
        for (;;)
            pause();
    }
    CHECK_INT(read(ready[0], &c, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return pid;
}

static void stop_worker(pid_t pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

TEST(a_shared_page_shows_all_that_live) {
    pid_t workers[2] = {start_worker(5), start_worker(50)}, dead = start_worker(0);
    stop_worker(dead);
    int own_fds = count_fds();
    shared_by[0] = getpid();
    shared_by[1] = workers[0];
    shared_by[2] = dead;
    shared_by[3] = workers[1];
    num_sharing = num_sharing_later = 4;
    pytheus_registry *r = shared_registry();
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        CHECK(look(r, with_pid(names[i], getpid())) >= 0);
        CHECK(look(r, with_pid(names[i], workers[0])) >= 0);
        CHECK(look(r, with_pid(names[i], workers[1])) >= 0);
        CHECK(look(r, with_pid(names[i], dead)) < 0);
        CHECK(look(r, names[i]) < 0);
    }
    CHECK_DOUBLE(look(r, with_pid("process_open_fds", getpid())), own_fds);
    CHECK_DOUBLE(look(r, with_pid("process_open_fds", workers[0])), own_fds + 2 + 5);
    CHECK_DOUBLE(look(r, with_pid("process_open_fds", workers[1])), own_fds + 2 + 50);
    CHECK_DOUBLE(look(r, with_pid("process_max_fds", workers[1])), 700);
    CHECK(look(r, with_pid("process_max_fds", getpid())) > 700);
    CHECK(look(r, with_pid("process_heap_bytes", getpid())) < 0);
    char *text = om_page(r);
    CHECK(strstr(strstr(text, "\nc_info{"), "pid=") == NULL);
    free(text);
    pytheus_registry_free(r);
    stop_worker(workers[0]);
    stop_worker(workers[1]);
}

TEST(more_processes_may_come_and_go_meanwhile) {
    shared_by[0] = getpid();
    num_sharing = 1;
    num_sharing_later = 50;
    pytheus_registry *r = shared_registry();
    CHECK(look(r, with_pid("process_threads", getpid())) >= 1);
    num_sharing_later = 0;
    char *text = page(r);
    CHECK(strstr(text, "process_threads") == NULL);
    CHECK(strstr(text, "c_info{") != NULL);
    free(text);
    num_sharing = 0;
    CHECK(look(r, "process_threads") >= 1);
    pytheus_registry_free(r);
}

/* It and another one are 1 and 2 among themselves, and have the /proc where these are others. */
static void look_from_a_container(void) {
    pid_t other = start_worker(0);
    shared_by[0] = getpid();
    shared_by[1] = other;
    num_sharing = num_sharing_later = 2;
    pytheus_registry *r = shared_registry();
    CHECK_INT(getpid(), 1);
    CHECK(look(r, with_pid("process_start_time_seconds", 1)) > wall_clock() - 20);
    CHECK_DOUBLE(look(r, with_pid("process_open_fds", 1)), count_fds());
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK(look(r, with_pid(names[i], other)) < 0);
    stop_worker(other);
    pytheus_registry_free(r);
    fflush(stdout);
    _exit(check_num_failed != 0);
}

TEST(another_containers_processes_are_not_taken_for_ones_own) {
    int status = 1;
    if (geteuid() != 0 || unshare(0) != 0)
        SKIP("not root, or in a sandbox");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t inner = unshare(CLONE_NEWPID) == 0 ? fork() : -1;
        if (inner == 0)
            look_from_a_container();
        _exit(inner < 0 || waitpid(inner, &status, 0) != inner || status != 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

TEST_PROCESS(r, a_registry_of_one_process_has_no_others) {
    int64_t pid = 7;
    CHECK_INT(pytheus_registry_processes(r, &pid, 1), 0);
    CHECK_INT(pid, 7);
}

#endif
