/* redis_proxy.h: a way to the server that loses what it carries. Listens on a unix socket; each
 * connection has a process of its own, which with a given chance drops a piece that is to be
 * carried (all of it, or its second half), and the connection with it: after a lost request nobody
 * knows, and after a lost reply something was done. After redis.h. */
#ifndef REDIS_PROXY_H
#define REDIS_PROXY_H

#include <poll.h>
#include <sys/un.h>

static char proxy_socket[96];
static pid_t proxy_pid;

static inline int proxy_open(const char *path, bool listens) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (listens ? bind(s, (struct sockaddr *)&address, sizeof address) || listen(s, 100)
                : connect(s, (struct sockaddr *)&address, sizeof address)) {
        close(s);
        return -1;
    }
    return s;
}

/* Carries one piece; false: the connection is to end. */
static inline bool proxy_carry(int from, int to, int percent, uint64_t *random) {
    char piece[65536];
    ssize_t size = read(from, piece, sizeof piece), sent = 0;
    bool loses;
    if (size <= 0)
        return false;
    loses = check_random(random) % 100 < (unsigned)percent;
    if (loses)
        size = check_random(random) % 2 ? 0 : size / 2;
    while (sent < size) {
        ssize_t n = send(to, piece + sent, (size_t)(size - sent), MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += n;
    }
    return !loses;
}

static inline void proxy_serve(int client, int percent, uint64_t seed) {
    uint64_t random = seed;
    int server = proxy_open(redis_socket, false);
    struct pollfd ready[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    bool open = server >= 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (open && poll(ready, 2, -1) > 0) {
        if (ready[0].revents)
            open = proxy_carry(client, server, percent, &random);
        else if (ready[1].revents)
            open = proxy_carry(server, client, percent, &random);
    }
    _exit(0);
}

static inline bool proxy_start(int percent) {
    int listener, client;
    snprintf(proxy_socket, sizeof proxy_socket, "%s/proxy", redis_folder);
    unlink(proxy_socket);
    listener = proxy_open(proxy_socket, true);
    if (listener < 0)
        return false;
    fflush(NULL);
    proxy_pid = fork();
    if (proxy_pid == 0) {
        uint64_t seed = 1;
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGCHLD, SIG_IGN);
        while ((client = accept(listener, NULL, NULL)) >= 0) {
            seed += 1000003;
            if (fork() == 0)
                proxy_serve(client, percent, seed);
            close(client);
        }
        _exit(0);
    }
    setpgid(proxy_pid, proxy_pid);
    close(listener);
    return true;
}

static inline void proxy_stop(void) {
    if (proxy_pid) {
        kill(-proxy_pid, SIGKILL);
        waitpid(proxy_pid, NULL, 0);
    }
    proxy_pid = 0;
}

#endif
