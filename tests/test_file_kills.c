/* Processes that are killed: at every instruction that leaves another file behind than the one
 * before it, and at any time while eight of them count. What they leave is whole, nothing that was
 * counted is lost, and everybody else goes on. Linux on x86 for the single steps. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "check.h"
#include "page.h"

#ifdef _WIN32
TEST(file_kills) {
    SKIP("POSIX only");
}
#else

#include "fixture.h"
#include "service.h"

#include <sys/ptrace.h>

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* -- single steps -- */

/* What is interrupted. Before: with what the process has already. */
typedef struct stage {
    const char *name;
    void (*prepare)(const service *s);
    void (*act)(const service *s);
    bool needs_file; /* somebody lives */
} stage;

static pytheus_registry *acting;
static pytheus_counter labelled, plain;
static pytheus_histogram timed;
static pytheus_gauge summed;

static void define_all(pytheus_registry *r) {
    labelled = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    plain = COUNTER(r, .name = "base_total", .help = "Must stay at 7.");
    timed = HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2}, .num_buckets = 2,
                      .stripes = 2);
    summed = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
}

static void do_join(const service *s) {
    acting = service_join(s);
}

static void join_and_define(const service *s) {
    do_join(s);
    define_all(acting);
}

static void do_define(const service *s) {
    (void)s;
    define_all(acting);
}

static void do_nothing(const service *s) {
    (void)s;
}

static void add_series(const service *s) {
    (void)s;
    pytheus_counter_inc(pytheus_counter_labels(labelled, "a", "added"));
}

static void remove_series(const service *s) {
    (void)s;
    pytheus_view_remove(pytheus_counter_labels(labelled, "a", "added").view);
}

static void join_and_add(const service *s) {
    join_and_define(s);
    add_series(s);
}

static void join_and_remove(const service *s) {
    join_and_add(s);
    remove_series(s);
}

/* Up to the last series that fits without growing; where that is, only the file knows. */
static void join_and_fill(const service *s) {
    char text[30];
    join_and_define(s);
    for (int i = 0; 65536 - pytheus__disk_used(pytheus__disk_list->header) >= 256; i++) {
        snprintf(text, sizeof text, "%d", i);
        pytheus_counter_labels(labelled, "a", text);
    }
    CHECK_INT(service_size(s, "pytheus.data"), 65536);
}

static void grow(const service *s) {
    pytheus_counter_labels(labelled, "a", "last");
    pytheus_counter_labels(labelled, "a", "first");
    CHECK(service_size(s, "pytheus.data") > 65536);
}

static void count_on_it(const service *s) {
    (void)s;
    pytheus_counter_inc(labelled.view.node ? pytheus_counter_labels(labelled, "a", "added")
                                           : labelled);
    pytheus_histogram_observe(timed, 1.5);
    pytheus_gauge_set(summed, 3);
}

static void leave(const service *s) {
    (void)s;
    pytheus_registry_free(acting);
}

static const stage stages[] = {
    {"create", do_nothing, do_join, false},        {"join", do_nothing, do_join, true},
    {"define", do_join, do_define, true},          {"add", join_and_define, add_series, true},
    {"grow", join_and_fill, grow, true},           {"count", join_and_add, count_on_it, true},
    {"remove", join_and_add, remove_series, true}, {"reuse", join_and_remove, add_series, true},
    {"leave", join_and_add, leave, true},
};

static pid_t start_stopped(const service *s, const stage *st) {
    fflush(stdout);
    pid_t process = fork();
    if (!process) {
        st->prepare(s);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        st->act(s);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(process, &status, 0) == process && WIFSTOPPED(status));
    return process;
}

/* false: it has ended. */
static bool step(pid_t process) {
    int status;
    return ptrace(PTRACE_SINGLESTEP, process, NULL, NULL) == 0 &&
           waitpid(process, &status, 0) == process && WIFSTOPPED(status);
}

/* Everything that the others could see of the file. */
typedef struct picture {
    char *bytes, *file; /* what it was, what it is */
    size_t size;
    ino_t inode;
} picture;

static void end_picture(picture *p) {
    if (p->file)
        munmap(p->file, p->size);
    free(p->bytes);
    memset(p, 0, sizeof *p);
}

/* Whether there is another file than before, or something else in it. */
static bool take_picture(const service *s, picture *p) {
    struct stat status;
    if (stat(service_path(s, "pytheus.data"), &status))
        return false;
    bool is_new = !p->file || status.st_ino != p->inode || (size_t)status.st_size != p->size;
    if (is_new) {
        end_picture(p);
        int fd = open(service_path(s, "pytheus.data"), O_RDONLY);
        p->size = (size_t)status.st_size;
        p->inode = status.st_ino;
        p->file = (char *)mmap(NULL, p->size, PROT_READ, MAP_SHARED, fd, 0);
        p->bytes = (char *)malloc(p->size);
        CHECK(fd >= 0 && p->file != MAP_FAILED && p->bytes && close(fd) == 0);
    }
    is_new = is_new || memcmp(p->bytes, p->file, p->size) != 0;
    if (is_new)
        memcpy(p->bytes, p->file, p->size);
    return is_new;
}

static bool check_whole(pytheus_registry *r, bool had_base) {
    char *text = page(r); /* by the strict reader */
    bool good = text != NULL && (!had_base || strstr(text, "base_total 7\n"));
    free(text);
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"a"});
    pytheus_counter after = pytheus_counter_labels(c, "a", "after");
    double before = fixture_value(after.view);
    good &= !pytheus_counter_inc(after) && fixture_value(after.view) >= before + 1;
    good &= logged.num == 0;
    text = page(r);
    good &= text && strstr(text, "x_total{a=\"after\"} ") != NULL;
    free(text);
    return good;
}

/* The file, as it was left, is opened by one that comes later. */
static void check_picture(const service *later, const picture *p, const stage *st, long num_steps) {
    int fd = open(service_path(later, "pytheus.data"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0 && write(fd, p->bytes, p->size) == (ssize_t)p->size && close(fd) == 0);
    pytheus_registry *r = service_open(later, true);
    bool good = r && check_whole(r, st->needs_file);
    CHECK(good);
    if (!good)
        fprintf(stderr, "%s, %ld steps: %s %s\n", st->name, num_steps, pytheus_last_error(),
                logged.sentence);
    pytheus_registry_free(r);
    unlink(service_path(later, "pytheus.data"));
}

static bool start_base(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    define_all(r);
    for (int i = 0; i < 7; i++)
        pytheus_counter_inc(plain);
    return true;
}

static bool come_and_count(const service *s, void *argument) {
    memset(&logged, 0, sizeof logged);
    pytheus_registry *r = service_join(s);
    return check_whole(r, argument != NULL);
}

/* Kills after so many steps, while another process has the file: it and a third go on. */
static void kill_after(const stage *st, long num_steps) {
    service s;
    service_member base = {0, -1};
    char yes[] = "yes";
    service_begin(&s);
    if (st->needs_file)
        base = service_begin_member(&s, start_base, NULL);
    pid_t process = start_stopped(&s, st);
    for (long i = 0; i < num_steps && step(process); i++) {
    }
    kill(process, SIGKILL);
    (void)service_wait(process);
    service_run(&s, come_and_count, st->needs_file ? yes : NULL);
    if (st->needs_file)
        service_end_member(base);
    service_end(&s);
}

static void step_through(const stage *st) {
    service s, later;
    picture p = {NULL, NULL, 0, 0};
    service_member base = {0, -1};
    long num_steps = 0, num_pictures = 0, changes[2000];
    service_begin(&s);
    service_begin(&later);
    if (st->needs_file)
        base = service_begin_member(&s, start_base, NULL);
    pid_t process = start_stopped(&s, st);
    do {
        if (take_picture(&s, &p)) {
            changes[num_pictures++ % 2000] = num_steps;
            check_picture(&later, &p, st, num_steps);
        }
        num_steps++;
    } while (step(process));
    CHECK(num_pictures > 0);
    if (st->needs_file)
        service_end_member(base);
    service_end(&s);
    service_end(&later);
    end_picture(&p);
    printf("%s: %ld instructions, %ld files\n", st->name, num_steps, num_pictures);
    long every = is_long() ? 1 : num_pictures / 5 + 1;
    for (long i = 0; i < num_pictures && i < 2000; i += every)
        kill_after(st, changes[i]);
}

TEST(killed_at_every_instruction) {
#ifdef UNDER_TSAN
    SKIP_EXTRA("single steps: too many under ThreadSanitizer");
#elif !defined(__x86_64__) && !defined(__i386__)
    SKIP("needs x86");
#endif
    for (size_t i = 0; i < COUNT_OF(stages); i++)
        step_through(&stages[i]);
}

/* -- at any time -- */

enum { WORKERS = 8 };

/* What a worker says that it has done: begun is raised before an operation, done after it. */
typedef struct tally {
    uint64_t begun, done;
} tally;

typedef struct work {
    tally *tallies; /* of this worker and those before it in its place */
    long each;
    int place;
} work;

static bool count_forever(const service *s, const work *w, long n) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = COUNTER(r, .name = "x_total", .required_labels = {"who"});
    pytheus_histogram h = HISTOGRAM(r, .name = "h", .buckets = (const double[]){1, 2},
                                    .num_buckets = 2, .stripes = 8);
    pytheus_counter own, all = pytheus_counter_labels(c, "who", "all");
    char text[20];
    snprintf(text, sizeof text, "%d", w->place);
    own = pytheus_counter_labels(c, "who", text);
    tally *t = &w->tallies[w->place];
    for (long i = 0; i < n; i++) {
        __atomic_fetch_add(&t->begun, 1, __ATOMIC_SEQ_CST);
        pytheus_counter_inc(all);
        pytheus_counter_inc(own);
        pytheus_histogram_observe(h, 1.5);
        __atomic_fetch_add(&t->done, 1, __ATOMIC_SEQ_CST);
        if (i % 1000 == 999) {
            snprintf(text, sizeof text, "passing%ld", i % 7000);
            pytheus_view_remove(pytheus_counter_labels(c, "who", text).view);
        }
    }
    return true;
}

static bool count_all(const service *s, void *argument) {
    const work *w = (const work *)argument;
    return count_forever(s, w, w->each);
}

static bool count_till_killed(const service *s, void *argument) {
    return count_forever(s, (const work *)argument, 1000000000);
}

static double sample(pytheus_registry *r, const char *name, const char *label, const char *value) {
    pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    const char *const pairs[] = {label, value};
    double v = NAN;
    (void)pytheus_sample_value(r, name, pairs, label ? 2 : 0, &v);
    return v;
}

TEST_SERVICE(s, totals_are_exact_while_processes_die) {
    tally *tallies = (tally *)service_memory(2 * WORKERS * sizeof *tallies);
    work works[2 * WORKERS];
    pid_t counting[WORKERS], dying[WORKERS];
    long num_killed = 0;
    pytheus_registry *r = service_join(s);
    for (int i = 0; i < 2 * WORKERS; i++)
        works[i] = (work){tallies, is_long() ? 1000000 : 50000, i};
    for (int i = 0; i < WORKERS; i++) {
        counting[i] = service_start(s, count_all, &works[i]);
        dying[i] = service_start(s, count_till_killed, &works[WORKERS + i]);
    }
    uint64_t random = 1;
    for (int round = 0; round < (is_long() ? 2000 : 200); round++) {
        int i = (int)(check_random(&random) % WORKERS);
        usleep((unsigned)(check_random(&random) % 4000));
        kill(dying[i], SIGKILL);
        (void)service_wait(dying[i]);
        num_killed++;
        /* What was begun and not done counts as begun: the next worker goes on from there. */
        dying[i] = service_start(s, count_till_killed, &works[WORKERS + i]);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK_INT(service_wait(counting[i]), 0);
        kill(dying[i], SIGKILL);
        (void)service_wait(dying[i]);
    }
    num_killed += WORKERS;
    double begun = 0, done = 0;
    for (int i = 0; i < 2 * WORKERS; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", i);
        double own = sample(r, "x_total", "who", text);
        begun += (double)tallies[i].begun;
        done += (double)tallies[i].done;
        CHECK(own >= (double)tallies[i].done && own <= (double)tallies[i].begun);
        if (i < WORKERS)
            CHECK_DOUBLE(own, (double)works[i].each);
    }
    CHECK(begun - done <= (double)num_killed);
    double all = sample(r, "x_total", "who", "all"), count = sample(r, "h_count", NULL, NULL);
    CHECK(all >= done && all <= begun);
    CHECK(count >= done && count <= begun);
    printf("%ld killed, %.0f to %.0f counted, %.0f there\n", num_killed, done, begun, all);
    munmap(tallies, 2 * WORKERS * sizeof *tallies);
    pytheus_registry_free(r);
}

#endif
