/* The page in a server of one's own: here the plainest, which answers one after another. Needs no
 * library. embed PORT serves on 127.0.0.1 until it is killed. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#define PYTHEUS_HTTP_NO_SERVER
#define PYTHEUS_HTTP_NO_GZIP
#include "pytheus_http.h"
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>

static pytheus_err send_body(void *user, const char *bytes, size_t size) {
    ssize_t n = 0;
    for (; size && n >= 0; bytes += n, size -= (size_t)n)
        if ((n = send(*(int *)user, bytes, size, MSG_NOSIGNAL)) < 0)
            return pytheus_fail(PYTHEUS_ERR_IO, "send: %s", strerror(errno));
    return PYTHEUS_OK;
}

static pytheus_err send_head(void *user, const pytheus_http_head *head) {
    char text[1000];
    int n = snprintf(text, sizeof text, "HTTP/1.0 %d %s\r\n", head->status, head->reason);
    for (size_t i = 0; i < head->num_headers; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s: %s\r\n", head->headers[i].name,
                      head->headers[i].value);
    return send_body(user, strcat(text, "\r\n"), (size_t)n + 2);
}

/* Cuts the text into what the request points to; Accept, which may come twice, has all its room. */
static pytheus_http_request read_request(char *text, char *accept) {
    pytheus_http_request request = {.accept = accept};
    char *rest, *words, *line = strtok_r(text, "\r\n", &rest);
    request.method = line ? strtok_r(line, " ", &words) : NULL;
    request.target = line ? strtok_r(NULL, " ", &words) : NULL;
    while ((line = strtok_r(NULL, "\r\n", &rest)) != NULL)
        if (!strncasecmp(line, "Accept:", 7))
            strcat(strcat(accept, *accept ? "," : ""), line + 7);
    return request;
}

static void answer(int s) {
    static pytheus_http_site site;
    pytheus_http_sink sink = {send_head, send_body, &s};
    char text[8192] = "", accept[sizeof text] = "";
    for (size_t used = 0; !strstr(text, "\r\n\r\n"); text[used] = '\0') {
        ssize_t n = recv(s, text + used, sizeof text - 1 - used, 0);
        if (n <= 0) /* gone, slow, or too long */
            return;
        used += (size_t)n;
    }
    pytheus_http_request request = read_request(text, accept);
    if (pytheus_http_answer(&site, &request, &sink)) /* a reset: this is not the end of a page */
        setsockopt(s, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    const struct timeval patience = {.tv_sec = 2}; /* with those who send or read nothing */
    int connection, listener = socket(AF_INET, SOCK_STREAM, 0);
    pytheus_counter requests = pytheus_counter_new(
        &(pytheus_desc){.name = "requests_total", .help = "Requests answered."});
    address.sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 9100));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16))
        return perror("embed"), 1;
    while ((connection = accept(listener, NULL, NULL)) >= 0) {
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        answer(connection);
        close(connection);
        pytheus_counter_inc(requests);
    }
    return 1;
}
