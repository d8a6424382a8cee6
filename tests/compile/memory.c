/* memory.c: a program that gives the library its memory, and has it all back at the end. */
#include <stdlib.h>

static int num_blocks, num_calls;

static void *counted(void *p) {
    num_blocks += p != NULL;
    num_calls++;
    return p;
}

static void uncount(void *p) {
    num_blocks -= p != NULL;
    free(p);
}

#define PYTHEUS_MALLOC(size) counted(malloc(size))
#define PYTHEUS_REALLOC(p, size) ((p) ? realloc((p), (size)) : counted(malloc(size)))
#define PYTHEUS_FREE(p) uncount(p)
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include "expect.h"

int main(void) {
    char *page;
    pytheus_registry *registry = pytheus_registry_new(NULL);
    pytheus_desc desc = EMPTY;
    desc.name = "hits_total";
    desc.required_labels[0] = "path";
    desc.registry = registry;
    pytheus_counter_inc(pytheus_counter_labels(pytheus_counter_new(&desc), "path", "/"));
    desc.registry = NULL;
    pytheus_counter_inc(pytheus_counter_labels(pytheus_counter_new(&desc), "path", "/"));
    EXPECT(num_blocks > 0);
    page = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    EXPECT(page != NULL);
    pytheus_free(page);
    pytheus_registry_free(registry);
    pytheus_registry_free(pytheus_default());
    EXPECT(num_calls > num_blocks);
    EXPECT(num_blocks == 0);
    return num_failed != 0;
}
