/* service.h: a service of several processes that count in one file: a directory of its own, which
 * goes with the test, and processes. POSIX. After pytheus_file.h, check.h, page.h, fixture.h. */
#ifndef SERVICE_H
#define SERVICE_H

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct service {
    char directory[80];
} service;

static inline const char *service_path(const service *s, const char *name) {
    static char path[120];
    snprintf(path, sizeof path, "%s/%s", s->directory, name);
    return path;
}

static inline void service_begin(service *s) {
    static int number;
    snprintf(s->directory, sizeof s->directory, "/dev/shm/pytheus-service-%ld-%d", (long)getpid(),
             ++number);
    CHECK(mkdir(s->directory, 0700) == 0);
    memset(&logged, 0, sizeof logged);
}

static inline void service_end(const service *s) {
    static const char *const names[] = {"pytheus.data", "pytheus.lock", "pytheus.new"};
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unlink(service_path(s, names[i]));
    CHECK(rmdir(s->directory) == 0);
}

/* A test with a service; no process has its file yet. */
#define TEST_SERVICE(s, name)                                                                      \
    static void with_service_##name(const service *s);                                             \
    TEST(name) {                                                                                   \
        service of_test;                                                                           \
        service_begin(&of_test);                                                                   \
        with_service_##name(&of_test);                                                             \
        service_end(&of_test);                                                                     \
    }                                                                                              \
    static void with_service_##name(const service *s)

static inline pytheus_registry *service_open(const service *s, bool keep) {
    const pytheus_file_desc desc = {.directory = s->directory, .keep = keep};
    pytheus_backend backend;
    if (pytheus_file_backend(&desc, &backend))
        return NULL;
    return pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {fixture_remember, NULL}});
}

/* This process joins it. */
static inline pytheus_registry *service_join(const service *s) {
    pytheus_registry *registry = service_open(s, false);
    if (!registry) {
        fprintf(stderr, "%s: %s\n", s->directory, pytheus_last_error());
        abort();
    }
    return registry;
}

/* What a process of it does; false: something was wrong. */
typedef bool (*service_work)(const service *s, void *argument);

static inline pid_t service_start(const service *s, service_work work, void *argument) {
    fflush(stdout);
    pid_t process = fork();
    if (!process)
        _exit(work(s, argument) ? 0 : 1);
    CHECK(process > 0);
    return process;
}

static inline int service_wait(pid_t process) {
    int status = -1;
    while (waitpid(process, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

/* A process that comes, works and ends. */
static inline void service_run(const service *s, service_work work, void *argument) {
    CHECK_INT(service_wait(service_start(s, work, argument)), 0);
}

/* A process that lives until it is stopped: it has worked when this returns. */
typedef struct service_member {
    pid_t process;
    int end;
} service_member;

static inline service_member service_begin_member(const service *s, service_work work,
                                                  void *argument) {
    service_member member = {0, -1};
    int up[2], down[2];
    char byte = 0;
    CHECK(pipe(up) == 0 && pipe(down) == 0);
    fflush(stdout);
    member.process = fork();
    if (!member.process) {
        close(down[1]);
        byte = work(s, argument) ? 'y' : 'n';
        (void)!write(up[1], &byte, 1);
        (void)!read(down[0], &byte, 1);
        _exit(0);
    }
    close(up[1]);
    close(down[0]);
    CHECK(read(up[0], &byte, 1) == 1 && byte == 'y');
    close(up[0]);
    member.end = down[1];
    return member;
}

static inline void service_end_member(service_member member) {
    (void)!write(member.end, "x", 1); /* others may have copies of the pipe's end */
    close(member.end);
    (void)service_wait(member.process);
}

static inline void service_kill_member(service_member member) {
    kill(member.process, SIGKILL);
    (void)service_wait(member.process);
    close(member.end);
}

/* Memory that processes share whatever the library does. */
static inline void *service_memory(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        abort();
    return at;
}

static inline off_t service_size(const service *s, const char *name) {
    struct stat status;
    return stat(service_path(s, name), &status) ? -1 : status.st_size;
}

/* -- dumps -- */

static inline pytheus_err service_append(void *user, const char *bytes, size_t size) {
    char *text = (char *)user;
    size_t used = strlen(text);
    if (used + size >= 8192)
        return PYTHEUS_ERR_IO;
    memcpy(text + used, bytes, size);
    text[used + size] = '\0';
    return PYTHEUS_OK;
}

/* What the last dump has. */
static char service_dumped[8192];
static inline pytheus_err service_dump(const char *path) {
    const pytheus_sink sink = {service_append, service_dumped};
    service_dumped[0] = '\0';
    return pytheus_file_dump(path, PYTHEUS_TEXT, &sink);
}

#endif
