/* pytheus_process.h as it is where there is no /proc of Linux: what POSIX gives, and nothing else.
   */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"
#undef __linux__
#define PYTHEUS_PROCESS_IMPLEMENTATION
#include "pytheus_process.h"

#ifdef _WIN32
TEST(what_it_was_built_with_is_all_there_is) {
    pytheus_registry *r = fixture_registry(NULL);
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}), PYTHEUS_OK);
    char *text = page(r);
    CHECK(strstr(text, "# HELP c_info") == text);
    free(text);
    pytheus_registry_free(r);
}
#else

static double look(pytheus_registry *r, const char *sample) {
    char start[200], *text = page(r);
    double value = -1;
    snprintf(start, sizeof start, "\n%s ", sample);
    const char *line = strstr(text, start);
    if (line)
        CHECK_INT(sscanf(line + strlen(start), "%lf", &value), 1);
    free(text);
    return value;
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

TEST_WITH(r, what_posix_gives_is_there) {
    struct rlimit limit;
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r, .no_heap = true}),
              PYTHEUS_OK);
    for (int i = 0; i < 20; i++) {
        double before = cpu_seconds(), told = look(r, "process_cpu_seconds_total");
        CHECK(told >= before && told <= cpu_seconds());
    }
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_DOUBLE(look(r, "process_max_fds"), (double)limit.rlim_cur);
    limit.rlim_cur -= 1;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_DOUBLE(look(r, "process_max_fds"), (double)limit.rlim_cur);
    CHECK_INT(getrlimit(RLIMIT_AS, &limit), 0);
    CHECK_DOUBLE(look(r, "process_virtual_memory_max_bytes"),
                 limit.rlim_cur == RLIM_INFINITY ? (double)INFINITY : (double)limit.rlim_cur);
    char *text = page(r);
    const char *type = text;
    int num_types = 0;
    while ((type = strstr(type, "# TYPE ")) != NULL)
        type++, num_types++;
    CHECK_INT(num_types, 4);
    CHECK(strstr(text, "\nc_info{") != NULL);
    free(text);
}

static size_t tell_two(void *unused, int64_t *pids, size_t room) {
    (void)unused;
    for (size_t i = 0; i < room && i < 2; i++)
        pids[i] = i ? getppid() : getpid();
    return 2;
}

TEST(of_several_processes_only_the_writer_is_shown) {
    static const pytheus_backend backend = {.name = "shared", .processes = tell_two};
    char own[100], parents[100];
    pytheus_registry *r = pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
    CHECK_ERR(pytheus_process_register(&(pytheus_process_desc){.registry = r}), PYTHEUS_OK);
    snprintf(own, sizeof own, "process_max_fds{pid=\"%ld\"}", (long)getpid());
    snprintf(parents, sizeof parents, "process_max_fds{pid=\"%ld\"}", (long)getppid());
    CHECK(look(r, own) > 0);
    CHECK(look(r, parents) < 0);
    pytheus_registry_free(r);
}

#endif
