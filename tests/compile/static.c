/* static.c: with OTHER and without, two files of one program that each hold a private library. */
#define PYTHEUS_STATIC
#include "pytheus.h"

#include "expect.h"
#include <string.h>

void *other_default(void);
char *other_page(void);
void other_free(char *page);

static void count_one(const char *name) {
    pytheus_desc desc = EMPTY;
    desc.name = name;
    pytheus_counter_inc(pytheus_counter_new(&desc));
}

#ifdef OTHER
void *other_default(void) {
    return pytheus_default();
}

char *other_page(void) {
    count_one("other_total");
    return pytheus_generate(NULL, PYTHEUS_TEXT, NULL);
}

void other_free(char *page) {
    pytheus_free(page);
    pytheus_registry_free(pytheus_default());
}
#else
int main(void) {
    char *mine, *others;
    count_one("mine_total");
    mine = pytheus_generate(NULL, PYTHEUS_TEXT, NULL);
    others = other_page();
    EXPECT(other_default() != (void *)pytheus_default());
    EXPECT(mine && strstr(mine, "mine_total 1\n") && !strstr(mine, "other_total"));
    EXPECT(others && strstr(others, "other_total 1\n") && !strstr(others, "mine_total"));
    other_free(others);
    pytheus_free(mine);
    pytheus_registry_free(pytheus_default());
    return num_failed != 0;
}
#endif
