/* Forks in the middle of everything. Threads keep every lock of the library busy while the process
   forks; each child then makes a metric, labels, counts, removes and writes a page. A lock that was
   taken in the parent and copied so into the child is a hang there, which its alarm ends. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "sanitizers.h"

/* AddressSanitizer's own allocator does not survive a fork from a busy program. It does when nobody
   is in it then. */
#ifdef UNDER_ASAN
static void *guarded_realloc(void *p, size_t size);
static void guarded_free(void *p);
#define PYTHEUS_MALLOC(size) guarded_realloc(NULL, size)
#define PYTHEUS_REALLOC(p, size) guarded_realloc(p, size)
#define PYTHEUS_FREE(p) guarded_free(p)
#endif

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"

#ifdef _WIN32
TEST(fork) {
    SKIP("no fork on this system");
}
#else

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NUM_THREADS = 4, CHILD_SECONDS = 20, PARENT_SECONDS = 600 };

static int num_forks(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1") ? 1000 : 200;
}

#ifdef UNDER_ASAN
static pthread_mutex_t allocator_lock = PTHREAD_MUTEX_INITIALIZER;

static void lock_allocator(void) {
    pthread_mutex_lock(&allocator_lock);
}

static void unlock_allocator(void) {
    pthread_mutex_unlock(&allocator_lock);
}

/* Before the library's: what is registered first is locked last. */
__attribute__((constructor)) static void guard_allocator(void) {
    pthread_atfork(lock_allocator, unlock_allocator, unlock_allocator);
}

static void *guarded_realloc(void *p, size_t size) {
    lock_allocator();
    p = realloc(p, size);
    unlock_allocator();
    return p;
}

static void guarded_free(void *p) {
    lock_allocator();
    free(p);
    unlock_allocator();
}
#endif

/* -- the busy program -- */

typedef struct program {
    pytheus_registry *registry;
    pytheus_counter counter, exact;
    pytheus_histogram histogram;
    int stop;
    long num_exact;
} program;

static program busy;

static bool stopped(void) {
    return __atomic_load_n(&busy.stop, __ATOMIC_RELAXED);
}

static pytheus_err ignore(void *user, const char *bytes, size_t size) {
    (void)user;
    (void)bytes;
    (void)size;
    return PYTHEUS_OK;
}

static pytheus_desc with_id(const char *name) {
    return (pytheus_desc){
        .name = name, .help = "Busy.", .required_labels = {"id"}, .registry = busy.registry};
}

static void *count_and_label(void *unused) {
    char id[32];
    for (long i = 0; !stopped(); i++) {
        snprintf(id, sizeof id, "%ld", i % 3000);
        (void)pytheus_counter_inc(pytheus_counter_labels(busy.counter, "id", id));
        if (!pytheus_counter_inc(busy.exact))
            busy.num_exact++;
    }
    return unused;
}

static void *make_and_remove(void *unused) {
    char id[32];
    for (long i = 0; !stopped(); i++) {
        snprintf(id, sizeof id, "gone %ld", i);
        pytheus_histogram h = pytheus_histogram_labels(busy.histogram, "id", id);
        (void)pytheus_histogram_observe(h, (double)i);
        (void)pytheus_view_remove(h.view);
        if (i % 100 == 99)
            (void)pytheus_view_clear(busy.counter.view);
    }
    return unused;
}

static void *scrape(void *unused) {
    pytheus_sink sink = {ignore, NULL};
    while (!stopped()) {
        (void)pytheus_write(busy.registry, PYTHEUS_TEXT, &sink);
        pytheus_free(pytheus_generate(NULL, PYTHEUS_TEXT, NULL));
    }
    return unused;
}

static void live_in_another_registry(void) {
    pytheus_registry *other = pytheus_registry_new(NULL);
    pytheus_desc desc = {.name = "a", .registry = other};
    (void)pytheus_gauge_new(&desc);
    desc.name = "b";
    (void)pytheus_histogram_new(&desc);
    pytheus_registry_free(other);
}

/* New metrics in the busy registry, in the default one, and registries that come and go. */
static void *define(void *unused) {
    char name[32];
    for (long i = 0; !stopped(); i++) {
        snprintf(name, sizeof name, "busy_%ld", i % 200);
        pytheus_desc desc = with_id(name);
        (void)pytheus_gauge_new(&desc);
        desc.registry = NULL;
        (void)pytheus_gauge_new(&desc);
        for (int j = 0; j < 10; j++)
            live_in_another_registry();
    }
    return unused;
}

static void ignore_log(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

static pytheus_registry *quiet_registry(void) {
    return pytheus_registry_new(&(pytheus_registry_desc){.logger = {ignore_log, NULL}});
}

static void begin(pthread_t threads[NUM_THREADS]) {
    static void *(*const work[NUM_THREADS])(void *) = {count_and_label, make_and_remove, scrape,
                                                       define};
    alarm(PARENT_SECONDS);
    memset(&busy, 0, sizeof busy);
    busy.registry = quiet_registry();
    pytheus_desc desc = with_id("counted");
    desc.max_series = 1000; /* so that the overflow is busy too */
    busy.counter = pytheus_counter_new(&desc);
    desc = with_id("observed");
    busy.histogram = pytheus_histogram_new(&desc);
    desc = (pytheus_desc){.name = "exact", .registry = busy.registry};
    busy.exact = pytheus_counter_new(&desc);
    for (int i = 0; i < NUM_THREADS; i++)
        CHECK(!pthread_create(&threads[i], NULL, work[i], NULL));
}

static void end(pthread_t threads[NUM_THREADS]) {
    double value = -1;
    __atomic_store_n(&busy.stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < NUM_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_ERR(pytheus_view_get(busy.exact.view, &value), PYTHEUS_OK);
    CHECK_INT((long)value, busy.num_exact);
    free(page(busy.registry));
    pytheus_registry_free(busy.registry);
    pytheus_registry_free(pytheus_default());
    alarm(0);
}

/* -- the children: what went wrong is their exit status -- */

enum outcome {
    FINE,
    NOT_MADE,
    NOT_COUNTED,
    WRONG_VALUE,
    NOT_REMOVED,
    NO_PAGE,
    BAD_PAGE,
    NO_METRIC
};

static enum outcome count_in(pytheus_registry *registry) {
    pytheus_desc desc = {.name = "child", .required_labels = {"id"}, .registry = registry};
    pytheus_counter metric = pytheus_counter_new(&desc);
    pytheus_counter c = pytheus_counter_labels(metric, "id", "1");
    pytheus_counter other = pytheus_counter_labels(metric, "id", "2");
    double value = 0;
    if (!c.view.node || !other.view.node)
        return NOT_MADE;
    if (pytheus_counter_inc(c) || pytheus_counter_inc(c) || pytheus_counter_inc(other))
        return NOT_COUNTED;
    if (pytheus_view_get(c.view, &value) || value != 2)
        return WRONG_VALUE;
    if (pytheus_view_remove(other.view) || pytheus_view_observable(other.view))
        return NOT_REMOVED;
    return FINE;
}

static bool reads_well(const char *text) {
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    if (!reader_parse(text, strlen(text), &doc, error))
        return false;
    reader_free(&doc);
    return true;
}

static enum outcome look_at(pytheus_registry *registry) {
    char *text = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    enum outcome outcome = !text                                    ? NO_PAGE
                           : !reads_well(text)                      ? BAD_PAGE
                           : !strstr(text, "\nchild{id=\"1\"} 2\n") ? NO_METRIC
                           : strstr(text, "\nchild{id=\"2\"}")      ? NOT_REMOVED
                                                                    : FINE;
    pytheus_free(text);
    return outcome;
}

static enum outcome use(pytheus_registry *registry) {
    enum outcome outcome = count_in(registry);
    return outcome ? outcome : look_at(registry);
}

/* The copy of the busy registry, the default one, one of its own, and what the threads worked
   on. */
static enum outcome live_as_child(void) {
    pytheus_registry *own = pytheus_registry_new(NULL);
    enum outcome outcome = use(busy.registry);
    if (!outcome)
        outcome = use(pytheus_default());
    if (!outcome)
        outcome = use(own);
    if (!outcome && pytheus_counter_inc(busy.exact))
        outcome = NOT_COUNTED;
    if (!outcome && pytheus_view_clear(busy.counter.view))
        outcome = NOT_REMOVED;
    pytheus_registry_free(own);
    return outcome;
}

static void check_child(pid_t child) {
    int status = -1;
    if (!CHECK(child > 0))
        return;
    CHECK_INT(waitpid(child, &status, 0), child);
    check_that(!WIFSIGNALED(status) || WTERMSIG(status) != SIGALRM, __FILE__, __LINE__,
               "a child hangs");
    CHECK_INT(status, FINE);
}

static void fork_once(bool deeper) {
    pid_t child = fork();
    if (child == 0) {
        enum outcome outcome;
        alarm(CHILD_SECONDS);
        outcome = live_as_child();
        if (deeper && !outcome) {
            int status = 0;
            pid_t grandchild = fork();
            if (grandchild == 0)
                _exit((int)look_at(busy.registry));
            waitpid(grandchild, &status, 0);
            outcome = WIFEXITED(status) ? (enum outcome)WEXITSTATUS(status) : NOT_MADE;
        }
        _exit((int)outcome);
    }
    check_child(child);
}

TEST(fork_from_a_busy_program) {
    pthread_t threads[NUM_THREADS];
    begin(threads);
    for (int i = 0; i < num_forks() && check_num_failed < 5; i++)
        fork_once(i % 10 == 0);
    end(threads);
}

static void *fork_some(void *unused) {
    for (int i = 0; i < num_forks() / 4 && check_num_failed < 5; i++)
        fork_once(false);
    return unused;
}

TEST(fork_from_two_threads_at_once) {
    pthread_t threads[NUM_THREADS], other;
    begin(threads);
    CHECK(!pthread_create(&other, NULL, fork_some, NULL));
    fork_some(NULL);
    pthread_join(other, NULL);
    end(threads);
}

/* The child's copy is its own: neither side sees what the other counts. */
TEST(fork_separates_the_values) {
    pytheus_desc desc = {.name = "mine", .registry = pytheus_registry_new(NULL)};
    pytheus_counter c = pytheus_counter_new(&desc);
    double value = 0;
    CHECK_ERR(pytheus_counter_add(c, 5), PYTHEUS_OK);
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_SECONDS);
        (void)pytheus_counter_add(c, 100);
        _exit(pytheus_view_get(c.view, &value) || value != 105 ? WRONG_VALUE : FINE);
    }
    check_child(child);
    CHECK_LINE(desc.registry, "mine 5");
    pytheus_registry_free(desc.registry);
}

/* A registry that is in the middle of a scrape in the parent is free in the child: the sink runs
   without a lock. */
static pytheus_err fork_within(void *user, const char *bytes, size_t size) {
    (void)bytes;
    (void)size;
    if (!*(int *)user)
        fork_once(false);
    ++*(int *)user;
    return PYTHEUS_OK;
}

TEST(fork_from_within_a_sink) {
    int num_put = 0;
    pytheus_sink sink = {fork_within, &num_put};
    memset(&busy, 0, sizeof busy);
    busy.registry = quiet_registry();
    pytheus_desc desc = with_id("counted");
    busy.counter = pytheus_counter_new(&desc);
    busy.exact = pytheus_counter_new(&(pytheus_desc){.name = "exact", .registry = busy.registry});
    CHECK_ERR(pytheus_write(busy.registry, PYTHEUS_TEXT, &sink), PYTHEUS_OK);
    CHECK(num_put > 0);
    pytheus_registry_free(busy.registry);
}

#endif
