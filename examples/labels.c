/* Labels: set one after another, left to their defaults, looked up once and kept. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

int main(void) {
    pytheus_counter requests = pytheus_counter_new(&(pytheus_desc){
        .name = "http_requests_total",
        .help = "Requests handled.",
        .required_labels = {"host", "method", "code"},
        .default_labels = {{"code", "200"}},
    });

    /* A partial view has some of its labels. It can be handed on, but not counted with: this inc
       does nothing, and says so on stderr. */
    pytheus_counter here = pytheus_counter_labels(requests, "host", "localhost");
    pytheus_counter_inc(here);

    /* With the method it is complete, because code has a default. That can be overridden. */
    pytheus_counter get = pytheus_counter_labels(here, "method", "GET");
    pytheus_counter_inc(get);
    pytheus_counter_add(pytheus_counter_labels(get, "code", "404"), 2);

    /* Kept in a variable, a complete view counts with one atomic add. */
    pytheus_counter put = pytheus_counter_labels(here, "method", "PUT", "code", "201");
    for (int i = 0; i < 1000; i++)
        pytheus_counter_inc(put);

    /* Where the labels are constants, their place in the program can remember the view. */
    for (int i = 0; i < 10; i++)
        pytheus_counter_inc(PYTHEUS_AT(counter, here, "method", "HEAD"));

    /* Nothing has to be checked on the way: a label that is not there gives the nothing handle and
       a line on stderr, and every operation on that handle is an error that touches nothing. */
    if (pytheus_counter_inc(pytheus_counter_labels(get, "cod", "500")) == PYTHEUS_OK)
        return 1;

    return pytheus_write_stream(NULL, PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
