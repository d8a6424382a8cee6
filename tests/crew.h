/* crew.h: threads that start together. C99. */
#ifndef CREW_H
#define CREW_H

#include <pthread.h>
#include <stdlib.h>

enum { MOST_THREADS = 8 };

typedef struct crew {
    void (*work)(void *shared, int thread);
    void *shared;
    pthread_barrier_t start;
} crew;

typedef struct member {
    crew *of;
    int number;
    pthread_t thread;
} member;

static inline void *run_member(void *argument) {
    member *m = argument;
    pthread_barrier_wait(&m->of->start);
    m->of->work(m->of->shared, m->number);
    return NULL;
}

static inline void in_threads(int num, void (*work)(void *shared, int thread), void *shared) {
    crew c = {.work = work, .shared = shared};
    member members[MOST_THREADS];
    pthread_barrier_init(&c.start, NULL, (unsigned)num);
    for (int i = 0; i < num; i++) {
        members[i].of = &c;
        members[i].number = i;
        if (pthread_create(&members[i].thread, NULL, run_member, &members[i]))
            abort();
    }
    for (int i = 0; i < num; i++)
        pthread_join(members[i].thread, NULL);
    pthread_barrier_destroy(&c.start);
}

#endif
