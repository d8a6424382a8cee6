/* http_client.h: somebody who connects to a server, byte for byte; from any of the addresses that
 * the loopback interface has, 127.0.0.1 and on. After check.h. C99 with POSIX. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline double client_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline void client_sleep(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static inline struct sockaddr_in client_address(uint32_t host, unsigned port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((uint16_t)port);
    address.sin_addr.s_addr = htonl(host);
    return address;
}

/* From 127.0.0.n, or for 0 from any; -1 with errno. */
static inline int client_connect_from(unsigned n, unsigned port) {
    struct sockaddr_in from = client_address(0x7f000000 + n, 0);
    struct sockaddr_in to = client_address(INADDR_LOOPBACK, port);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if ((n && bind(s, (struct sockaddr *)&from, sizeof from)) ||
        connect(s, (struct sockaddr *)&to, sizeof to)) {
        int reason = errno;
        close(s);
        errno = reason;
        return -1;
    }
    return s;
}

static inline bool client_send(int s, const char *text) {
    size_t size = strlen(text);
    return send(s, text, size, MSG_NOSIGNAL) == (ssize_t)size;
}

/* All that comes until the other side closes (*err: 0), resets (ECONNRESET), or nothing has come
   for so long (ETIMEDOUT). To be freed. */
static inline char *client_receive(int s, double seconds, size_t *size, int *err) {
    size_t room = 1 << 16, used = 0;
    char *text = (char *)malloc(room);
    struct pollfd ready = {s, POLLIN, 0};
    for (*err = ETIMEDOUT; poll(&ready, 1, (int)(seconds * 1000)) == 1;) {
        ssize_t n = recv(s, text + used, room - used - 1, 0);
        if (n <= 0) {
            *err = n ? errno : 0;
            break;
        }
        used += (size_t)n;
        if (used == room - 1)
            text = (char *)realloc(text, room *= 2);
    }
    text[used] = '\0';
    *size = used;
    return text;
}

/* What is sent over a connection of its own, and all that comes back. */
typedef struct client_answer {
    char *text; /* all of it */
    char *body; /* chunks put together; NULL: not whole */
    size_t size, body_size;
    int status; /* 0: none */
    int err;
    double seconds;
} client_answer;

/* In place. NULL when the last chunk is not there. */
static inline char *client_join_chunks(char *text, size_t *size) {
    char *from = text, *to = text;
    for (;;) {
        char *end;
        unsigned long n = strtoul(from, &end, 16);
        if (end == from || strncmp(end, "\r\n", 2) != 0)
            return NULL;
        from = end + 2;
        if ((size_t)(text + *size - from) < n + 2 || memcmp(from + n, "\r\n", 2) != 0)
            return NULL;
        memmove(to, from, n);
        to += n;
        from += n + 2;
        if (!n)
            break;
    }
    *to = '\0';
    *size = (size_t)(to - text);
    return text;
}

static inline void client_take_apart(client_answer *answer) {
    char *end = strstr(answer->text, "\r\n\r\n"), *chunked, *length;
    sscanf(answer->text, "HTTP/1.%*d %d", &answer->status);
    if (!end)
        return;
    *end = '\0';
    answer->body = end + 4;
    answer->body_size = answer->size - (size_t)(answer->body - answer->text);
    chunked = strstr(answer->text, "Transfer-Encoding: chunked");
    length = strstr(answer->text, "Content-Length: ");
    if (chunked)
        answer->body = client_join_chunks(answer->body, &answer->body_size);
    else if (length && strtoul(length + 16, NULL, 10) != answer->body_size)
        answer->body = NULL;
}

static inline client_answer client_ask_on(int s, const char *request) {
    client_answer answer;
    double began = client_clock();
    memset(&answer, 0, sizeof answer);
    if (!client_send(s, request)) {
        answer.err = errno;
        answer.text = (char *)calloc(1, 1);
        return answer;
    }
    answer.text = client_receive(s, 20, &answer.size, &answer.err);
    answer.seconds = client_clock() - began;
    client_take_apart(&answer);
    return answer;
}

static inline client_answer client_ask_from(unsigned n, unsigned port, const char *request) {
    double began = client_clock();
    int s = client_connect_from(n, port);
    client_answer answer = client_ask_on(s, request);
    answer.seconds = client_clock() - began;
    close(s);
    return answer;
}

static inline client_answer client_ask(unsigned port, const char *request) {
    return client_ask_from(0, port, request);
}

#define CLIENT_GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

#endif
