/* What programs, systems and other processes do to those that share a file: descriptors that are
 * closed, limits, cancelled threads, definitions that differ, files that are removed. POSIX. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "check.h"
#include "page.h"

#ifdef _WIN32
TEST(file_trouble) {
    SKIP("POSIX only");
}
#else

#include "fixture.h"
#include "service.h"

#include <sys/resource.h>

static pytheus_counter labelled(pytheus_registry *r, const char *name) {
    return COUNTER(r, .name = name, .required_labels = {"a"});
}

/* Adds 1 to series of so many values. */
static void count_series(pytheus_counter c, int n) {
    char text[20];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%d", i);
        CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", text)), PYTHEUS_OK);
    }
}

/* Lines that begin so. */
static int lines_of(pytheus_registry *r, const char *start) {
    char *text = page(r);
    int n = 0;
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        n += strncmp(line, start, strlen(start)) == 0;
    free(text);
    return n;
}

/* A member that was refused with this sentence, not one that was let in. */
static bool is_refused(const service *s, const char *sentence) {
    pytheus_registry *r = service_open(s, false);
    bool refused = !r && strstr(pytheus_last_error(), sentence);
    pytheus_registry_free(r);
    return refused;
}

/* -- removed series and new ones -- */

static bool join_and_read(const service *s, void *argument) {
    pytheus_registry *r = service_open(s, true);
    if (!r)
        return false;
    CHECK_PAGE(r, (const char *)argument);
    pytheus_registry_free(r);
    return check_num_failed == 0;
}

TEST_SERVICE(s, a_series_takes_a_place_before_its_metric) {
    char expected[] = "# TYPE x_total counter\n# TYPE y_total counter\ny_total{a=\"2\"} 1\n";
    char *of_dump = strchr(expected, '\n') + 1; /* there no series, no metric */
    pytheus_registry *r = service_join(s);
    pytheus_counter x = labelled(r, "x_total");
    pytheus_view_remove(pytheus_counter_labels(x, "a", "1").view);
    pytheus_counter x2 = pytheus_counter_labels(x, "a", "2");
    pytheus_counter y = labelled(r, "y_total");
    pytheus_view_remove(pytheus_counter_labels(y, "a", "1").view);
    pytheus_view_remove(x2.view);
    pytheus_counter_inc(pytheus_counter_labels(y, "a", "2"));
    CHECK_PAGE(r, expected);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, of_dump);
    pytheus_registry_free(r);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, of_dump);
    service_run(s, join_and_read, of_dump);
}

enum { METRICS = 1500 };

static bool define_many(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    for (int i = 0; i < METRICS; i++) {
        char name[20];
        snprintf(name, sizeof name, "m%d_total", i);
        pytheus_counter_inc(pytheus_counter_labels(labelled(r, name), "a", "1"));
        usleep(300);
    }
    return true;
}

TEST_SERVICE(s, what_is_made_beside_a_scrape_is_on_the_next_one) {
    pytheus_registry *r = service_join(s);
    pid_t maker = service_start(s, define_many, NULL);
    int status = -1;
    while (!waitpid(maker, &status, WNOHANG))
        pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
    CHECK_INT(status, 0);
    CHECK_INT(lines_of(r, "m"), METRICS);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, clearing_gauges_of_each_process_takes_no_longer_than_making_them) {
    enum { SERIES = 6000, GENEROUS = 20 };
    pytheus_registry *r = service_join(s);
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
    clock_t start = clock(), made;
    for (int i = 0; i < SERIES; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", i);
        pytheus_gauge_set(pytheus_gauge_labels(g, "a", text), 1);
    }
    made = clock() - start;
    start = clock();
    CHECK_ERR(pytheus_view_clear(g.view), PYTHEUS_OK);
    CHECK(clock() - start < GENEROUS * made);
    CHECK_PAGE(r, "# TYPE g gauge\n");
    pytheus_registry_free(r);
}

TEST_SERVICE(s, removing_what_is_not_in_the_file_leaves_it_free) {
    const pytheus_file_desc desc = {.directory = s->directory};
    pytheus_backend backend;
    uint64_t ended = 0;
    pytheus_words words = {.life = &ended, .life_value = 1};
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    CHECK_ERR(pytheus_file_backend(&desc, &backend), PYTHEUS_OK);
    CHECK_ERR(backend.words_remove(backend.user, &words), PYTHEUS_OK);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int fd = open(service_path(s, "pytheus.lock"), O_RDWR);
        _exit(fcntl(fd, F_SETLK, &lock) ? 1 : 0);
    }
    CHECK_INT(service_wait(child), 0);
    backend.destroy(backend.user);
}

/* -- descriptors -- */

static bool close_in_bulk(const service *s, void *argument) {
    enum { OTHERS = 3 };
    char bytes[20];
    (void)argument;
    pytheus_registry *r = service_join(s);
    pytheus_counter c = labelled(r, "x_total");
    int fds[OTHERS];
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "before"));
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    for (int i = 0; i < OTHERS; i++) {
        fds[i] = open(service_path(s, "precious"), O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(write(fds[i], "precious", 8) == 8);
    }
    count_series(c, 2000);
    CHECK_ERR(logged.err, PYTHEUS_ERR_BACKEND);
    CHECK(strstr(logged.sentence, "the program has closed its descriptors") != NULL);
    CHECK_INT(lines_of(r, "x_total{"), 2001);
    CHECK_LINE(r, "pytheus_file_damaged 1");
    CHECK_INT(service_size(s, "precious"), 8);
    CHECK(pread(fds[0], bytes, 8, 0) == 8 && !memcmp(bytes, "precious", 8));
    unlink(service_path(s, "precious"));
    return check_num_failed == 0;
}

TEST_SERVICE(s, descriptors_that_are_closed_in_bulk_spoil_no_other_file) {
    service_run(s, close_in_bulk, NULL);
}

static bool scrape_without_descriptors(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), 1);
    CHECK_LINE(r, "g 11");
    for (int fd = 3; fd < 100; fd++)
        close(fd);
    for (int fd = 3; fd < 100; fd++)
        (void)!open("/dev/zero", O_RDWR);
    CHECK_LINE(r, "pytheus_file_damaged 1");
    return check_num_failed == 0;
}

static bool set_ten(const service *s, void *argument) {
    (void)argument;
    return !pytheus_gauge_set(GAUGE(service_join(s), .name = "g", .across = PYTHEUS_SUM), 10);
}

TEST_SERVICE(s, who_has_lost_its_descriptors_takes_nobody_for_dead) {
    service_member member = service_begin_member(s, set_ten, NULL);
    pytheus_registry *r = service_join(s);
    service_run(s, scrape_without_descriptors, NULL);
    CHECK_PAGE(r, "# TYPE g gauge\ng 10\n");
    service_end_member(member);
    pytheus_registry_free(r);
}

static bool join_without_standard_files(const service *s, void *argument) {
    (void)argument;
    for (int fd = 0; fd < 3; fd++)
        close(fd);
    pytheus_registry *r = service_open(s, false);
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    bool is_good = r != NULL;
    for (int fd = 0; fd < 3; fd++)
        is_good = write(fd, "a sentence for the log", 22) < 0 && is_good;
    return is_good && service_dump(s->directory) == PYTHEUS_OK;
}

TEST_SERVICE(s, what_is_printed_without_standard_files_goes_nowhere) {
    service_run(s, join_without_standard_files, NULL);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, "# TYPE x_total counter\nx_total 1\n");
}

static bool is_locked(const service *s, off_t at) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = at, .l_len = 1};
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        int fd = open(service_path(s, "pytheus.lock"), O_RDWR);
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
    }
    return service_wait(child) != 0;
}

static bool be_twins(const service *s, void *argument) {
    struct flock lock = {.l_type = F_WRLCK, .l_start = 1, .l_len = 1};
    int fd = open(service_path(s, "pytheus.lock"), O_RDWR | O_CREAT, 0600);
    (void)argument;
    CHECK(fcntl(fd, F_SETLK, &lock) == 0); /* as another copy of the library would */
    CHECK(is_refused(s, "another copy of this library has it already"));
    CHECK(is_locked(s, 1));
    return check_num_failed == 0;
}

TEST_SERVICE(s, a_second_copy_of_the_library_is_refused) {
#ifndef __linux__
    SKIP("locks of one's own process are seen on Linux alone");
#endif
    service_run(s, be_twins, NULL);
}

/* -- removed files -- */

static bool do_nothing(const service *s, void *argument) {
    (void)argument;
    return service_join(s) != NULL;
}

static bool be_refused(const service *s, void *argument) {
    return is_refused(s, (const char *)argument);
}

TEST_SERVICE(s, who_comes_after_the_lock_was_removed_is_refused) {
    char sentence[] = "those who have it have lost their pytheus.lock: restart them";
    service_member member = service_begin_member(s, do_nothing, NULL);
    CHECK(unlink(service_path(s, "pytheus.lock")) == 0);
    service_run(s, be_refused, sentence);
    service_run(s, be_refused, sentence);
    service_kill_member(member);
    service_run(s, do_nothing, NULL);
    service_run(s, join_and_read, "");
}

/* -- limits, threads and forks -- */

static bool grow_beyond_a_limit(const service *s, void *argument) {
    struct rlimit limit = {200000, 200000};
    (void)argument;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    pytheus_registry *r = service_join(s);
    count_series(labelled(r, "x_total"), 3000);
    CHECK_INT(lines_of(r, "x_total{"), 3000);
    CHECK(strstr(logged.sentence, "File too large") != NULL);
    return check_num_failed == 0;
}

TEST_SERVICE(s, a_limit_of_file_sizes_is_an_error) {
    service_run(s, grow_beyond_a_limit, NULL);
}

TEST_SERVICE(s, a_fork_before_the_registry) {
    const pytheus_file_desc desc = {.directory = s->directory};
    pytheus_backend backend;
    int64_t pids[3];
    int up[2];
    char byte;
    CHECK_ERR(pytheus_file_backend(&desc, &backend), PYTHEUS_OK);
    CHECK(pipe(up) == 0);
    fflush(stdout);
    pid_t child = fork();
    pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
    pytheus_gauge g = GAUGE(r, .name = "g", .across = PYTHEUS_SUM);
    if (!child) {
        pytheus_gauge_set(g, 10);
        (void)!write(up[1], "x", 1);
        pause();
    }
    CHECK(read(up[0], &byte, 1) == 1);
    pytheus_gauge_set(g, 1);
    CHECK_PAGE(r, "# TYPE g gauge\ng 11\n");
    CHECK_INT(pytheus_registry_processes(r, pids, 3), 2);
    kill(child, SIGKILL);
    (void)service_wait(child);
    close(up[0]);
    close(up[1]);
    pytheus_registry_free(r);
}

static void *make_series_for_ever(void *argument) {
    const pytheus_counter *c = (const pytheus_counter *)argument;
    char text[20];
    for (long i = 0;; i++) {
        snprintf(text, sizeof text, "%ld", i);
        pytheus_counter_inc(pytheus_counter_labels(*c, "a", text));
        pthread_testcancel();
    }
    return NULL;
}

static bool cancel_a_thread(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = labelled(r, "x_total");
    pthread_t thread;
    (void)argument;
    CHECK(pthread_create(&thread, NULL, make_series_for_ever, &c) == 0);
    usleep(20000);
    CHECK(pthread_cancel(thread) == 0);
    alarm(20);
    pthread_join(thread, NULL);
    CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(c, "a", "after")), PYTHEUS_OK);
    return check_num_failed == 0;
}

TEST_SERVICE(s, a_cancelled_thread_keeps_no_lock) {
#ifdef UNDER_ASAN
    SKIP_EXTRA("the sanitizer writes over a stack that the end of a cancelled thread uses");
#endif
    service_run(s, cancel_a_thread, NULL);
}

static void *make_series(void *argument) {
    count_series(*(const pytheus_counter *)argument, 5000);
    return NULL;
}

/* In two directories at once; the counters are the process' own. */
static bool make_in_both(const service *s, void *argument) {
    const service *both[2] = {s, (const service *)argument};
    pytheus_counter counters[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        char name[40];
        snprintf(name, sizeof name, "x%ld_total", (long)getpid());
        counters[i] = labelled(service_join(both[i]), name);
    }
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, make_series, &counters[i]) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_INT(logged.num, 0);
    return check_num_failed == 0;
}

TEST_SERVICE(s, two_directories_are_no_deadlock) {
    service other;
    service_begin(&other);
    pid_t one = service_start(s, make_in_both, &other);
    service_run(s, make_in_both, &other);
    CHECK_INT(service_wait(one), 0);
    service_end(&other);
}

/* -- gauges of the dead -- */

static bool set_sum(const service *s, void *argument) {
    pytheus_gauge g = GAUGE(service_join(s), .name = "g", .across = PYTHEUS_SUM);
    return !pytheus_gauge_set(g, *(const double *)argument);
}

TEST_SERVICE(s, a_dump_shows_the_last_ones_and_no_earlier) {
    double values[] = {1, 10, 100};
    service_member members[3];
    for (int i = 0; i < 3; i++)
        members[i] = service_begin_member(s, set_sum, &values[i]);
    service_kill_member(members[1]);
    service_kill_member(members[2]);
    pytheus_registry *r = service_join(s); /* it scrapes */
    CHECK_PAGE(r, "# TYPE g gauge\ng 1\n");
    pytheus_registry_free(r);
    service_kill_member(members[0]);
    CHECK_ERR(service_dump(s->directory), PYTHEUS_OK);
    CHECK_STR(service_dumped, "# TYPE g gauge\ng 1\n");
}

/* -- gauges that are put together -- */

static bool set_min(const service *s, void *argument) {
    pytheus_gauge g = GAUGE(service_join(s), .name = "g", .across = PYTHEUS_MIN);
    return !pytheus_gauge_set(g, *(const double *)argument);
}

TEST_SERVICE(s, nan_is_smaller_than_nothing) {
    double values[2][2] = {{(double)NAN, 3}, {3, (double)NAN}};
    for (int i = 0; i < 2; i++) {
        service_member one = service_begin_member(s, set_min, &values[i][0]);
        service_member two = service_begin_member(s, set_min, &values[i][1]);
        pytheus_registry *r = service_join(s);
        CHECK_PAGE(r, "# TYPE g gauge\ng 3\n");
        service_end_member(one);
        service_end_member(two);
        pytheus_registry_free(r);
    }
}

/* What a second version of the program means by the names of the first. */
static bool define_differently(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    (void)argument;
    pytheus_gauge_set(GAUGE(r, .name = "g", .across = PYTHEUS_SUM), 7);
    pytheus_gauge_set(GAUGE(r, .name = "x_total", .across = PYTHEUS_SUM), 1000);
    pytheus_gauge h = GAUGE(r, .name = "h", .across = PYTHEUS_SUM, .required_labels = {"a"});
    pytheus_gauge_set(pytheus_gauge_labels(h, "a", "1"), 7);
    pytheus_gauge_set(GAUGE(r, .name = "empty", .across = PYTHEUS_SUM), 1);
    CHECK_PAGE(r, "# TYPE g gauge\ng 7\n# TYPE x_total gauge\nx_total 1000\n"
                  "# TYPE h gauge\nh{a=\"1\"} 7\n# TYPE empty gauge\nempty 1\n");
    return check_num_failed == 0;
}

static void define_first(pytheus_registry *r) {
    pytheus_gauge_set(GAUGE(r, .name = "g"), 5);
    pytheus_counter_inc(COUNTER(r, .name = "x_total"));
    pytheus_gauge_set(GAUGE(r, .name = "h", .across = PYTHEUS_SUM), 5);
    GAUGE(r, .name = "empty", .across = PYTHEUS_SUM, .required_labels = {"b"});
}

TEST_SERVICE(s, versions_that_share_gauges_differently_see_their_own) {
    static const char expected[] = "# TYPE g gauge\ng 5\n# TYPE x_total counter\nx_total 1\n"
                                   "# TYPE h gauge\nh 5\n# TYPE empty gauge\n";
    for (int is_later = 0; is_later < 2; is_later++) {
        pytheus_registry *r = service_join(s);
        if (!is_later)
            define_first(r);
        service_member member = service_begin_member(s, define_differently, NULL);
        pytheus_free(pytheus_generate(r, PYTHEUS_TEXT, NULL));
        if (is_later)
            define_first(r);
        CHECK_PAGE(r, expected);
        service_end_member(member);
        CHECK_PAGE(r, expected);
        pytheus_registry_free(r);
    }
}

TEST_SERVICE(s, gauges_that_do_not_fit_are_on_the_page) {
    static const pytheus_across kinds[] = {PYTHEUS_SUM, PYTHEUS_MIN, PYTHEUS_PER_PROCESS,
                                           PYTHEUS_MOST_RECENT};
    static char large[70000], line[70100];
    memset(large, 'a', sizeof large - 1);
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        pytheus_registry *r = service_join(s);
        pytheus_gauge g = GAUGE(r, .name = "g", .across = kinds[i], .required_labels = {"a"});
        pytheus_gauge one = pytheus_gauge_labels(g, "a", large);
        pytheus_gauge_set(pytheus_gauge_labels(g, "a", "fits"), 1);
        pytheus_gauge_set(one, 5);
        if (kinds[i] == PYTHEUS_PER_PROCESS)
            snprintf(line, sizeof line, "g{a=\"%s\",pid=\"%ld\"} 5", large, (long)getpid());
        else
            snprintf(line, sizeof line, "g{a=\"%s\"} 5", large);
        CHECK_LINE(r, line);
        CHECK_LINE(r, "pytheus_file_unshared_series 1");
        CHECK_ERR(pytheus_view_remove(one.view), PYTHEUS_OK);
        CHECK_INT(lines_of(r, "g{"), 1);
        CHECK_NO_LINE(r, "pytheus_file_unshared_series 1");
        pytheus_registry_free(r);
    }
}

static bool set_a_job(const service *s, void *argument) {
    char text[20];
    pytheus_registry *r = service_join(s);
    snprintf(text, sizeof text, "%d", *(const int *)argument);
    pytheus_gauge g = GAUGE(r, .name = "jobs", .across = PYTHEUS_SUM, .required_labels = {"job"});
    return !pytheus_gauge_set(pytheus_gauge_labels(g, "job", text), 1);
}

TEST_SERVICE(s, gauges_of_the_dead_make_room_for_those_of_the_living) {
    pytheus_registry *r = service_join(s);
    for (int i = 0; i < 1500; i++)
        service_run(s, set_a_job, &i);
    CHECK_INT(service_size(s, "pytheus.data"), 65536);
    CHECK_PAGE(r, "# TYPE jobs gauge\n");
    pytheus_registry_free(r);
}

/* -- removal of what only others know -- */

static pytheus_counter two_labels(pytheus_registry *r) {
    return COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
}

static pytheus_counter with_default(pytheus_registry *r) {
    return COUNTER(r, .name = "d_total", .required_labels = {"a"}, .default_labels = {{"a", "0"}});
}

static pytheus_gauge of_each(pytheus_registry *r) {
    return GAUGE(r, .name = "g", .across = PYTHEUS_SUM, .required_labels = {"a"});
}

static bool make_theirs(const service *s, void *argument) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = two_labels(r), d = with_default(r);
    (void)argument;
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "1"));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "2"));
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "2", "b", "2"));
    pytheus_counter_inc(d);
    pytheus_counter_inc(pytheus_counter_labels(d, "a", "1"));
    return !pytheus_gauge_set(pytheus_gauge_labels(of_each(r), "a", "theirs"), 3);
}

TEST_SERVICE(s, a_removal_by_labels_takes_what_only_others_know) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = two_labels(r);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "3"));
    service_member member = service_begin_member(s, make_theirs, NULL);
    CHECK_ERR(pytheus_view_remove(pytheus_counter_labels(c, "a", "1").view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"2\",b=\"2\"} 1\n"
                  "# TYPE d_total counter\nd_total{a=\"0\"} 1\nd_total{a=\"1\"} 1\n"
                  "# TYPE g gauge\ng{a=\"theirs\"} 3\n");
    service_end_member(member);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, a_clearing_takes_what_only_others_know) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = two_labels(r), d = with_default(r);
    pytheus_gauge g = of_each(r);
    service_member member = service_begin_member(s, make_theirs, NULL);
    CHECK_ERR(pytheus_view_clear(c.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(d.view), PYTHEUS_OK);
    CHECK_ERR(pytheus_view_clear(g.view), PYTHEUS_OK);
    CHECK_PAGE(r, "# TYPE x_total counter\n# TYPE d_total counter\nd_total{a=\"0\"} 0\n"
                  "# TYPE g gauge\n");
    pytheus_counter_inc(d);
    service_end_member(member);
    member = service_begin_member(s, make_theirs, NULL);
    CHECK_LINE(r, "d_total{a=\"0\"} 2");
    CHECK_LINE(r, "d_total{a=\"1\"} 1");
    CHECK_LINE(r, "g{a=\"theirs\"} 3");
    service_end_member(member);
    pytheus_registry_free(r);
}

/* -- what is told, and who waits -- */

static bool add_some(const service *s, void *argument) {
    (void)argument;
    count_series(labelled(service_join(s), "x_total"), 900);
    return true;
}

TEST_SERVICE(s, a_page_that_lacks_something_says_so) {
    pytheus_registry *r = service_join(s);
    pytheus_counter_inc(COUNTER(r, .name = "mine_total"));
    service_run(s, add_some, NULL);
    int fd = dup(pytheus__disk_list->data_fd);
    close(pytheus__disk_list->data_fd);
    CHECK_LINE(r, "mine_total 1");
    CHECK_LINE(r, "pytheus_file_damaged 1");
    CHECK(dup2(fd, pytheus__disk_list->data_fd) >= 0);
    close(fd);
    pytheus_registry_free(r);
}

static bool scrape_without_address_space(const service *s, void *argument) {
    struct rlimit limit = {0, 0};
    pytheus_registry *r = service_join(s);
    (void)argument;
    service_run(s, add_some, NULL);
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    char *text = pytheus_generate(r, PYTHEUS_TEXT, NULL);
    _exit(text == NULL ? 0 : 1);
}

TEST_SERVICE(s, what_can_not_be_mapped_is_an_error_of_the_page) {
#if IS_SANITIZED
    SKIP_EXTRA("the sanitizer needs address space itself");
#endif
    service_run(s, scrape_without_address_space, NULL);
}

TEST_SERVICE(s, each_bit_of_where_the_file_ends_counts) {
    service_run(s, add_some, NULL);
    int fd = open(service_path(s, "pytheus.data"), O_RDWR);
    for (int bit = 0; bit < 64; bit++) {
        off_t at = (off_t)offsetof(pytheus__disk_header, used) + bit / 8;
        unsigned char byte, flipped;
        CHECK(pread(fd, &byte, 1, at) == 1);
        flipped = (unsigned char)(byte ^ 1 << bit % 8);
        CHECK(pwrite(fd, &flipped, 1, at) == 1);
        CHECK_ERR(service_dump(s->directory), PYTHEUS_ERR_BACKEND);
        CHECK(service_open(s, true) == NULL);
        CHECK(pwrite(fd, &byte, 1, at) == 1);
    }
    close(fd);
    pytheus_registry *r = service_open(s, true);
    CHECK_INT(lines_of(r, "x_total{"), 900);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, no_life_is_given_twice) {
    const uint64_t none = 0;
    service_run(s, add_some, NULL);
    int fd = open(service_path(s, "pytheus.data"), O_RDWR);
    CHECK(pwrite(fd, &none, sizeof none, (off_t)offsetof(pytheus__disk_header, last_life)) ==
          (ssize_t)sizeof none);
    close(fd);
    pytheus_registry *r = service_open(s, true);
    CHECK(pytheus__disk_list->header->last_life >= 900);
    pytheus_registry_free(r);
}

TEST_SERVICE(s, a_umask_may_take_bits_away) {
    struct stat status;
    mode_t mask = umask(0377);
    pytheus_registry *r = service_join(s);
    umask(mask);
    CHECK(stat(service_path(s, "pytheus.lock"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
    CHECK(stat(service_path(s, "pytheus.data"), &status) == 0);
    CHECK_INT(status.st_mode & 0777, 0600);
    pytheus_registry_free(r);
}

/* As one that is stopped while it makes a series. */
static bool hold_the_file(const service *s, void *argument) {
    struct flock lock = {.l_type = F_WRLCK, .l_len = 1};
    int fd = open(service_path(s, "pytheus.lock"), O_RDWR);
    (void)argument;
    return fcntl(fd, F_SETLK, &lock) == 0;
}

static void *make_one(void *argument) {
    CHECK_ERR(
        pytheus_counter_inc(pytheus_counter_labels(*(const pytheus_counter *)argument, "a", "new")),
        PYTHEUS_OK);
    return NULL;
}

TEST_SERVICE(s, only_who_makes_series_waits_for_a_stopped_process) {
    pytheus_registry *r = service_join(s);
    pytheus_counter c = labelled(r, "x_total");
    pytheus_counter one = pytheus_counter_labels(c, "a", "1");
    int64_t pids[3];
    pthread_t thread;
    service_member member = service_begin_member(s, hold_the_file, NULL);
    CHECK(pthread_create(&thread, NULL, make_one, &c) == 0);
    usleep(100000);
    alarm(60);
    pytheus_counter_inc(one);
    CHECK_PAGE(r, "# TYPE x_total counter\nx_total{a=\"1\"} 1\n");
    CHECK_INT(pytheus_registry_processes(r, pids, 3), 2);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pytheus_counter_inc(one);
        kill(member.process, SIGKILL);
        pytheus_counter_inc(pytheus_counter_labels(c, "a", "of the child"));
        _exit(0);
    }
    CHECK_INT(service_wait(child), 0);
    alarm(0);
    pthread_join(thread, NULL);
    CHECK_LINE(r, "x_total{a=\"1\"} 2");
    CHECK_LINE(r, "x_total{a=\"new\"} 1");
    CHECK_LINE(r, "x_total{a=\"of the child\"} 1");
    service_kill_member(member);
    pytheus_registry_free(r);
}

#endif
