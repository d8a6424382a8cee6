/* redis.h: a redis-server of the test program's own, in a folder of its own, on a unix socket and a
 * free port of the loopback interface; and what is in it. REDIS_SERVER names another program that
 * is one, such as valkey-server. After check.h and fixture.h. C99 with _GNU_SOURCE. */
#ifndef REDIS_H
#define REDIS_H

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char redis_folder[64];
static char redis_socket[96];
static int redis_port;
static pid_t redis_pid;
static pid_t redis_owner; /* forked children leave the server alone */
static redisContext *redis_line;

static inline double redis_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void redis_sleep_ms(int ms) {
    usleep((useconds_t)ms * 1000);
}

static inline int redis_free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(s, (struct sockaddr *)&address, size) ||
        getsockname(s, (struct sockaddr *)&address, &size))
        abort();
    close(s);
    return ntohs(address.sin_port);
}

static inline void redis_hang_up(void) {
    if (redis_line)
        redisFree(redis_line);
    redis_line = NULL;
}

/* Asks the server; "" for nil, numbers as text, arrays with a line for each element. Valid until
   the next question. */
static inline const char *redis_ask_argv(const char **words, int n) {
    static char answer[65536];
    size_t used = 0;
    redisReply *reply;
    answer[0] = '\0';
    if (!redis_line)
        redis_line = redisConnectUnix(redis_socket);
    reply = redis_line->err ? NULL : redisCommandArgv(redis_line, n, words, NULL);
    if (!reply) {
        redis_hang_up();
        return "no answer";
    }
    if (reply->type == REDIS_REPLY_INTEGER)
        snprintf(answer, sizeof answer, "%lld", reply->integer);
    else if (reply->type == REDIS_REPLY_ARRAY)
        for (size_t i = 0; i < reply->elements && used < sizeof answer; i++)
            used += (size_t)snprintf(answer + used, sizeof answer - used, "%s\n",
                                     reply->element[i]->str);
    else if (reply->str)
        snprintf(answer, sizeof answer, "%s", reply->str);
    freeReplyObject(reply);
    return answer;
}
#define ASK(...)                                                                                   \
    redis_ask_argv((const char *[]){__VA_ARGS__},                                                  \
                   (int)(sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)))

static inline bool redis_waits(void) {
    for (int i = 0; i < 1000; i++) {
        if (!strcmp(ASK("PING"), "PONG"))
            return true;
        redis_sleep_ms(10);
    }
    return false;
}

static inline const char *redis_program(void) {
    const char *chosen = getenv("REDIS_SERVER");
    return chosen && *chosen ? chosen : "redis-server";
}

/* Starts the server, with what it saved before, and does not wait for it. */
static inline void redis_start(const char *option, const char *value) {
    char port[16];
    snprintf(port, sizeof port, "%d", redis_port);
    fflush(NULL);
    redis_pid = fork();
    if (redis_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execlp(redis_program(), redis_program(), "--bind", "127.0.0.1", "--port", port,
               "--unixsocket", redis_socket, "--dir", redis_folder, "--save", "", "--logfile",
               "log", option ? option : "--appendonly", value ? value : "no", (char *)NULL);
        _exit(127);
    }
}

static inline bool redis_launch(const char *option, const char *value) {
    redis_start(option, value);
    return redis_waits();
}

/* Ends it at once; what it saved some time before is what it starts with. */
static inline void redis_crash(void) {
    redis_hang_up();
    kill(redis_pid, SIGKILL);
    waitpid(redis_pid, NULL, 0);
    redis_pid = 0;
}

/* Ends it at once and for good, or lets it save first. */
static inline void redis_end(bool saves) {
    if (!redis_pid)
        return;
    if (saves)
        (void)ASK("SHUTDOWN", "SAVE");
    redis_hang_up();
    if (!saves)
        kill(redis_pid, SIGKILL);
    waitpid(redis_pid, NULL, 0);
    redis_pid = 0;
    if (!saves) {
        char dump[96];
        snprintf(dump, sizeof dump, "%s/dump.rdb", redis_folder);
        unlink(dump);
    }
}

static inline void redis_remove_folder(void) {
    char command[128];
    if (getpid() != redis_owner)
        return;
    if (redis_pid)
        kill(redis_pid, SIGCONT);
    redis_end(false);
    snprintf(command, sizeof command, "rm -rf '%s'", redis_folder);
    if (system(command))
        perror("rm");
}

/* An empty server; false: there is none to be had, and the test is skipped. */
static inline bool redis_ready(void) {
    if (redis_pid) {
        (void)ASK("FLUSHALL");
        return true;
    }
    if (!redis_folder[0]) {
        snprintf(redis_folder, sizeof redis_folder, "/tmp/pytheus-redis-XXXXXX");
        if (!mkdtemp(redis_folder))
            return false;
        snprintf(redis_socket, sizeof redis_socket, "%s/socket", redis_folder);
        redis_owner = getpid();
        do {
            redis_port = redis_free_port();
        } while (redis_port > 55000); /* a cluster takes another one, 10,000 above */
        atexit(redis_remove_folder);
    }
    return redis_launch(NULL, NULL);
}
#define NEED_REDIS()                                                                               \
    do {                                                                                           \
        if (!redis_ready())                                                                        \
            SKIP("no server (Debian: redis-server)");                                              \
    } while (0)

/* A registry with the Redis that is described; where it is, unless it says so, is the socket. The
   thread is slow, so that tests flush when they want to. */
static inline pytheus_registry *redis_registry(const pytheus_redis_desc *desc) {
    pytheus_redis_desc with = desc ? *desc : (pytheus_redis_desc){.port = 0};
    pytheus_registry *registry;
    pytheus_backend backend;
    memset(&logged, 0, sizeof logged);
    if (!with.unix_socket_path && !with.port && !with.url)
        with.unix_socket_path = redis_socket;
    with.flush_interval_ms = with.flush_interval_ms ? with.flush_interval_ms : 3600 * 1000;
    with.logger = with.logger.log ? with.logger : (pytheus_logger){fixture_remember, NULL};
    if (!CHECK_ERR(pytheus_redis_backend(&with, &backend), PYTHEUS_OK))
        return NULL;
    registry = pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {fixture_remember, NULL}});
    if (!registry)
        backend.destroy(backend.user);
    return registry;
}

/* The page without what the backend says of itself; to be freed. */
static inline char *redis_page(pytheus_registry *registry) {
    char *page = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    char *own = page ? strstr(page, "pytheus_redis_up") : NULL;
    while (own && own > page && own[-1] != '\n')
        own--;
    if (own)
        *own = '\0';
    return page;
}
#define CHECK_REDIS_PAGE(registry, expected)                                                       \
    do {                                                                                           \
        char *redis_text = redis_page(registry);                                                   \
        CHECK_STR(redis_text, expected);                                                           \
        pytheus_free(redis_text);                                                                  \
    } while (0)

#define FLUSH(registry) CHECK_ERR(pytheus_flush(registry), PYTHEUS_OK)

#endif
