/* One counter, counted and shown. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

int main(void) {
    pytheus_counter greetings = pytheus_counter_new(&(pytheus_desc){
        .name = "greetings_total",
        .help = "Greetings sent.",
    });

    for (int i = 0; i < 3; i++) {
        puts("hello, world");
        pytheus_counter_inc(greetings);
    }

    return pytheus_write_stream(NULL, PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
