/* budget.h: an allocator for a pytheus_registry_desc that counts what is in use and fails when it
   is told to: {spend, &budget}. C99. */
#ifndef BUDGET_H
#define BUDGET_H

#include <stdbool.h>
#include <stdlib.h>

typedef struct budget {
    size_t live, most;
    long num_calls, fails_at; /* 0: never */
    bool for_ever;
    long num_failed;
} budget;

static inline void *spend(void *user, void *p, size_t old_size, size_t size) {
    budget *b = user;
    if (!size) {
        b->live -= p ? old_size : 0;
        free(p);
        return NULL;
    }
    b->num_calls++;
    if (b->fails_at &&
        (b->num_calls == b->fails_at || (b->for_ever && b->num_calls > b->fails_at))) {
        b->num_failed++;
        return NULL;
    }
    void *fresh = realloc(p, size);
    if (!fresh)
        abort();
    b->live += size - (p ? old_size : 0);
    b->most = b->live > b->most ? b->live : b->most;
    return fresh;
}

#endif
