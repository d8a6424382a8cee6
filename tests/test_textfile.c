/* pytheus_write_file beside readers, other writers and death: whoever looks sees a whole page, and
 * nothing is left that the next write does not take away. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

#ifdef _WIN32
TEST(textfile) {
    SKIP("no fork on this system");
}
#else

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[200], file[220];

static bool make_folder(void) {
    const char *parent = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/pytheus-textfile-XXXXXX", parent ? parent : "/tmp");
    if (!CHECK(mkdtemp(folder) != NULL))
        return false;
    snprintf(file, sizeof file, "%s/job.prom", folder);
    return true;
}

static int num_files(void) {
    int num = 0;
    DIR *dir = opendir(folder);
    if (!CHECK(dir != NULL))
        return -1;
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        num += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    closedir(dir);
    return num;
}

static void remove_folder(void) {
    unlink(file);
    CHECK_INT(rmdir(folder), 0);
}

/* "FILE.SUFFIX", in turn in one of four places. */
static const char *beside(const char *suffix) {
    static char paths[4][240];
    static int last;
    last = (last + 1) % 4;
    snprintf(paths[last], sizeof paths[last], "%s%s", file, suffix);
    return paths[last];
}

static void write_text(const char *path, const char *text) {
    FILE *stream = fopen(path, "w");
    if (CHECK(stream != NULL)) {
        fputs(text, stream);
        fclose(stream);
    }
}

/* ---- pages that show whether they are whole ---- */

typedef struct job {
    pytheus_registry *registry;
    pytheus_gauge first, last;
} job;

/* The same number at both ends, with more between them than is written at once. */
static void set(job *j, double number) {
    pytheus_gauge_set(j->first, number);
    pytheus_gauge_set(j->last, number);
}

static job job_new(double number) {
    job j = {.registry = fixture_registry(NULL)};
    j.first = GAUGE(j.registry, .name = "first");
    pytheus_gauge middle = GAUGE(j.registry, .name = "middle", .required_labels = {"i", "text"});
    char text[200] = "";
    memset(text, 'x', sizeof text - 1);
    for (int i = 0; i < 700; i++) {
        char name[20];
        snprintf(name, sizeof name, "%d", i);
        pytheus_gauge_set(pytheus_gauge_labels(middle, "i", name, "text", text), i);
    }
    j.last = GAUGE(j.registry, .name = "last");
    set(&j, number);
    return j;
}

enum { ABSENT = -1, TORN = -2 };

/* The number of the page in the file. */
static double number_in_file(void) {
    static char text[400000];
    double first = 0, last = 0;
    FILE *stream = fopen(file, "r");
    if (!stream)
        return ABSENT;
    size_t size = fread(text, 1, sizeof text - 1, stream);
    fclose(stream);
    text[size] = 0;
    const char *end = strstr(text, "# TYPE last gauge\nlast ");
    bool is_whole = size > 140000 && size < sizeof text - 1 && text[size - 1] == '\n' && end &&
                    sscanf(text, "# TYPE first gauge\nfirst %lf\n", &first) == 1 &&
                    sscanf(end, "# TYPE last gauge\nlast %lf\n", &last) == 1;
    return is_whole && memcmp(&first, &last, sizeof first) == 0 ? first : TORN;
}

static void check_next_write(job *j) {
    CHECK_ERR(pytheus_write_file(j->registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_INT(num_files(), 1);
}

/* ---- a writer that is killed ---- */

#ifdef __linux__
#include <sys/ptrace.h>

/* A child that stops before each of its system calls, and after. */
static pid_t start_traced(job *j) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(1);
        raise(SIGSTOP);
        pytheus_write_file(j->registry, PYTHEUS_TEXT, file);
        _exit(0);
    }
    return pid;
}

/* Whether it is still there, at its next stop. */
static bool goes_on(pid_t pid) {
    int status = 0;
    return ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0 && waitpid(pid, &status, 0) == pid &&
           WIFSTOPPED(status);
}

static void end_traced(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* What is on the disk changes in system calls alone: to be killed at each of their ends is to be
   killed anywhere. */
TEST(a_writer_killed_at_any_point_leaves_a_whole_page_and_nothing_for_long) {
    job killed = job_new(2), next = job_new(1);
    int num_stops = 0, num_old = 0, num_new = 0, num_left = 0;
    bool is_there = true;
    if (!make_folder())
        return;
    while (is_there && check_num_failed < 20) {
        check_next_write(&next);
        pid_t pid = start_traced(&killed);
        int status = 0;
        if (!CHECK(pid > 0) || !CHECK(waitpid(pid, &status, 0) == pid))
            break;
        if (!WIFSTOPPED(status)) {
            remove_folder();
            SKIP("no ptrace here");
        }
        num_stops++;
        for (int i = 0; is_there && i < num_stops; i++)
            is_there = goes_on(pid);
        if (is_there)
            end_traced(pid);
        double number = number_in_file();
        num_old += number < 1.5 && number > 0;
        num_new += number > 1.5;
        num_left += num_files() > 1;
        CHECK(number > 0);
    }
    check_next_write(&next);
    CHECK_DOUBLE(number_in_file(), 1);
    CHECK(num_old > 100);
    CHECK(num_new > 1);
    CHECK(num_left > 5);
    pytheus_registry_free(killed.registry);
    pytheus_registry_free(next.registry);
    remove_folder();
}
#endif

typedef struct watcher {
    bool ends;
    long num_read;
} watcher;

static void *read_always(void *argument) {
    watcher *r = (watcher *)argument;
    while (!__atomic_load_n(&r->ends, __ATOMIC_RELAXED)) {
        if (!CHECK(number_in_file() > 0))
            break;
        r->num_read++;
    }
    return NULL;
}

static pid_t start_writing(job *j) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid)
        return pid;
    for (double number = 1;; number++) {
        set(j, number);
        if (pytheus_write_file(j->registry, PYTHEUS_TEXT, file))
            _exit(1);
    }
}

TEST(a_reader_sees_whole_pages_while_writers_are_killed) {
    enum { NUM_KILLED = 100 };
    job j = job_new(1);
    watcher r = {false, 0};
    uint64_t state = 3;
    pthread_t thread;
    if (!make_folder())
        return;
    check_next_write(&j);
    if (!CHECK(pthread_create(&thread, NULL, read_always, &r) == 0))
        return;
    for (int i = 0; i < NUM_KILLED; i++) {
        pid_t pids[2] = {start_writing(&j), start_writing(&j)};
        usleep((useconds_t)(check_random(&state) % 12000));
        for (int k = 0; k < 2; k++) {
            int status = 0;
            kill(pids[k], SIGKILL);
            waitpid(pids[k], &status, 0);
            CHECK(WIFSIGNALED(status));
        }
        check_next_write(&j);
    }
    __atomic_store_n(&r.ends, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    CHECK(r.num_read > NUM_KILLED);
    pytheus_registry_free(j.registry);
    remove_folder();
}

/* ---- several writers ---- */

static void *write_often(void *argument) {
    for (int i = 0; i < 40; i++)
        CHECK_ERR(pytheus_write_file(((job *)argument)->registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    return NULL;
}

TEST(writers_of_one_file_do_not_disturb_each_other) {
    enum { NUM_THREADS = 6 };
    job j = job_new(1);
    watcher r = {false, 0};
    pthread_t threads[NUM_THREADS], reading;
    if (!make_folder())
        return;
    check_next_write(&j);
    CHECK_INT(pthread_create(&reading, NULL, read_always, &r), 0);
    pid_t pid = start_writing(&j);
    for (int i = 0; i < NUM_THREADS; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, write_often, &j), 0);
    for (int i = 0; i < NUM_THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(waitpid(pid, NULL, WNOHANG), 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    __atomic_store_n(&r.ends, true, __ATOMIC_RELAXED);
    pthread_join(reading, NULL);
    check_next_write(&j);
    pytheus_registry_free(j.registry);
    remove_folder();
}

/* Writes the same file from inside its collector, and so on, many at once. */
typedef struct nest {
    pytheus_registry *registry;
    int depth, most;
    pytheus_err innermost;
} nest;

static pytheus_err collect_nest(void *user, pytheus_emitter *out) {
    nest *n = (nest *)user;
    pytheus_emit_family(out, &(pytheus_family){PYTHEUS_GAUGE, "depth", "Of this.", NULL});
    pytheus_err err = pytheus_emit_sample(out, &(pytheus_sample){.value = n->depth});
    if (n->depth && n->depth < n->most) {
        n->depth++;
        pytheus_err inner = pytheus_write_file(n->registry, PYTHEUS_TEXT, file);
        n->depth--;
        CHECK(n->innermost || !inner);
        n->innermost = inner && !n->innermost ? inner : n->innermost;
    }
    return err;
}

static pytheus_err write_nest(int most) {
    nest n = {pytheus_registry_new(NULL), 0, most, PYTHEUS_OK};
    const pytheus_collector collector = {"nest", collect_nest, NULL, &n};
    CHECK_ERR(pytheus_registry_add_collector(n.registry, &collector), PYTHEUS_OK);
    n.depth = 1;
    CHECK_ERR(pytheus_write_file(n.registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_INT(num_files(), 1);
    pytheus_registry_free(n.registry);
    return n.innermost;
}

TEST(a_slow_writer_keeps_what_it_is_writing) {
    char text[100] = "";
    if (!make_folder())
        return;
    CHECK_ERR(write_nest(2), PYTHEUS_OK);
    FILE *stream = fopen(file, "r");
    if (CHECK(stream != NULL)) {
        text[fread(text, 1, sizeof text - 1, stream)] = 0;
        fclose(stream);
    }
    CHECK_STR(text, "# HELP depth Of this.\n# TYPE depth gauge\ndepth 1\n");
    remove_folder();
}

TEST(as_many_writers_as_there_are_names) {
    if (!make_folder())
        return;
    CHECK_ERR(write_nest(64), PYTHEUS_OK);
    remove_folder();
}

/* ---- what may be there already ---- */

TEST(what_was_left_goes_and_what_is_not_ours_stays) {
    static const char *const others[] = {".64.tmp",      ".x.tmp", ".00.tmp",
                                         ".0.tmp.0.tmp", ".tmp",   ".0"};
    job j = job_new(1);
    if (!make_folder())
        return;
    write_text(beside(".0.tmp"), "left");
    write_text(beside(".1.tmp"), "");
    write_text(beside(".63.tmp"), "left");
    for (size_t i = 0; i < COUNT_OF(others); i++)
        write_text(beside(others[i]), "other");
    CHECK_ERR(pytheus_write_file(j.registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_INT(num_files(), 1 + (int)COUNT_OF(others));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        CHECK_INT(unlink(beside(others[i])), 0);
    CHECK_DOUBLE(number_in_file(), 1);
    pytheus_registry_free(j.registry);
    remove_folder();
}

TEST(what_somebody_holds_stays) {
    job j = job_new(1);
    if (!make_folder())
        return;
    write_text(beside(".0.tmp"), "held");
    FILE *held = fopen(beside(".0.tmp"), "r");
    CHECK(held && flock(fileno(held), LOCK_EX) == 0);
    CHECK_ERR(pytheus_write_file(j.registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_INT(num_files(), 2);
    fclose(held);
    check_next_write(&j);
    pytheus_registry_free(j.registry);
    remove_folder();
}

/* Where others may make files, too. */
TEST(planted_names_lead_nowhere) {
    struct stat status;
    job j = job_new(1);
    if (!make_folder())
        return;
    write_text(beside(".victim"), "safe");
    CHECK_INT(symlink(beside(".victim"), beside(".0.tmp")), 0);
    CHECK_INT(link(beside(".victim"), beside(".1.tmp")), 0);
    CHECK_INT(mkfifo(beside(".2.tmp"), 0600), 0);
    CHECK_INT(mkdir(beside(".3.tmp"), 0700), 0);
    CHECK_INT(symlink("nowhere", beside(".4.tmp")), 0);
    CHECK_INT(symlink("/dev/full", beside(".5.tmp")), 0);
    CHECK_ERR(pytheus_write_file(j.registry, PYTHEUS_TEXT, file), PYTHEUS_OK);
    CHECK_DOUBLE(number_in_file(), 1);
    CHECK(lstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1);
    CHECK(stat(beside(".victim"), &status) == 0 && status.st_size == 4);
    CHECK_INT(unlink(beside(".victim")), 0);
    CHECK_INT(unlink(beside(".2.tmp")), 0);
    CHECK_INT(rmdir(beside(".3.tmp")), 0);
    CHECK_INT(unlink(beside(".4.tmp")), 0);
    CHECK_INT(unlink(beside(".5.tmp")), 0);
    CHECK_INT(num_files(), 1);
    pytheus_registry_free(j.registry);
    remove_folder();
}

static int num_open(void) {
    struct stat status;
    int num = 0;
    for (int fd = 0; fd < 1000; fd++)
        num += fstat(fd, &status) == 0;
    return num;
}

TEST(no_descriptor_stays_open) {
    job j = job_new(1);
    if (!make_folder())
        return;
    int before = num_open();
    write_text(beside(".0.tmp"), "left");
    check_next_write(&j);
    CHECK_ERR(pytheus_write_file(j.registry, PYTHEUS_TEXT, "/nowhere/at/all"), PYTHEUS_ERR_IO);
    CHECK_INT(num_open(), before);
    pytheus_registry_free(j.registry);
    remove_folder();
}

#endif
