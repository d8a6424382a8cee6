/* What a host does with the library: enough counters that its containers grow. */

#include <stdio.h>
#include <string.h>

static pytheus_counter new_counter(const char *name) {
    static pytheus_desc desc;
    desc.name = name;
    desc.help = "Hits.";
    return pytheus_counter_new(&desc);
}

static int pytheus_works(void) {
    static char expected[50 * 100];
    size_t length = 0;
    for (int i = 0; i < 50; i++) {
        char name[32];
        snprintf(name, sizeof name, "hits_%d_total", i);
        pytheus_counter hits = new_counter(name);
        pytheus_counter_inc(hits);
        pytheus_counter_inc(hits);
        length += (size_t)snprintf(expected + length, sizeof expected - length,
                                   "# HELP %s Hits.\n# TYPE %s counter\n%s 2\n", name, name, name);
    }
    char *page = pytheus_generate(pytheus_default(), PYTHEUS_TEXT, NULL);
    int right = page && !strcmp(page, expected);
    if (!right)
        printf("expected:\n%sgot:\n%s", expected, page ? page : "nothing\n");
    pytheus_free(page);
    return right;
}
