/* Random bytes as a request, one line for each part of it: whatever it is, it gets one whole
   answer, with a status and a type. `make fuzz` runs it. */
#define PYTHEUS_HTTP_NO_SERVER
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_HTTP_IMPLEMENTATION
#include "pytheus_http.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

typedef struct answer {
    pytheus_http_head head;
    int num_heads;
    size_t size;
    unsigned char packed[1 << 16];
} answer;

static void must(bool holds) {
    if (!holds)
        abort();
}

static pytheus_err keep_head(void *user, const pytheus_http_head *head) {
    answer *a = user;
    a->head = *head;
    must(!a->num_heads++ && !a->size);
    return PYTHEUS_OK;
}

static pytheus_err keep_body(void *user, const char *bytes, size_t size) {
    answer *a = user;
    must(a->num_heads == 1 && size && a->size + size <= sizeof a->packed);
    memcpy(a->packed + a->size, bytes, size);
    a->size += size;
    return PYTHEUS_OK;
}

static void look_at(const pytheus_http_head *head) {
    static const int statuses[] = {200, 400, 401, 404, 405};
    bool is_known = false;
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        is_known = is_known || head->status == statuses[i];
    must(is_known && head->num_headers >= 1 && head->num_headers <= PYTHEUS_HTTP_MAX_HEADERS);
    must(!strcmp(head->headers[0].name, "Content-Type") && *head->headers[0].value);
    for (size_t i = 0; i < head->num_headers; i++)
        must(!strpbrk(head->headers[i].name, "\r\n") && !strpbrk(head->headers[i].value, "\r\n"));
}

static bool is_packed(const answer *a) {
    return !strcmp(a->head.headers[a->head.num_headers - 1].name, "Content-Encoding");
}

static void unpack(const answer *a) {
    static unsigned char text[1 << 16];
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    must(inflateInit2(&stream, 16 + MAX_WBITS) == Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)a->packed;
    stream.avail_in = (uInt)a->size;
    stream.next_out = text;
    stream.avail_out = (uInt)sizeof text;
    must(inflate(&stream, Z_FINISH) == Z_STREAM_END && !stream.avail_in);
    inflateEnd(&stream);
}

static void ask(pytheus_http_site *site, const pytheus_http_request *request) {
    static answer a;
    a.num_heads = 0;
    a.size = 0;
    pytheus_http_sink sink = {keep_head, keep_body, &a};
    must(pytheus_http_answer(site, request, &sink) == PYTHEUS_OK);
    must(a.num_heads == 1 && !site->running_scrapes);
    look_at(&a.head);
    bool is_head = request->method && !strcmp(request->method, "HEAD");
    must(!is_head || !a.size);
    must(is_head || a.head.length < 0 || (size_t)a.head.length == a.size);
    if (!is_head && is_packed(&a))
        unpack(&a);
}

static void define(void) {
    static bool is_done;
    if (is_done)
        return;
    is_done = true;
    (void)pytheus_counter_new(&(pytheus_desc){.name = "a_total"});
    (void)pytheus_gauge_new(&(pytheus_desc){.name = "b"});
}

/* The next line, cut out of the text; one that begins with "-" is a part that is not there. */
static const char *part(char **text) {
    char *line = *text, *end = line ? strchr(line, '\n') : NULL;
    *text = end ? end + 1 : NULL;
    if (end)
        *end = '\0';
    return line && *line == '-' ? NULL : line;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    pytheus_http_site site = {.most_seconds = 1e9}, closed = site;
    char *copy = malloc(size + 1), *text = copy;
    if (!copy)
        return 0;
    memcpy(copy, bytes, size);
    copy[size] = '\0';
    define();
    pytheus_http_request request = {.method = part(&text)};
    request.target = part(&text);
    request.accept = part(&text);
    request.accept_encoding = part(&text);
    request.authorization = part(&text);
    closed.user = "u";
    closed.password = "p:w";
    closed.token = "s3cret";
    ask(&site, &request);
    ask(&closed, &request);
    free(copy);
    return 0;
}
