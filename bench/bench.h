/* bench.h: what the files of the benchmark share. */
#ifndef BENCH_H
#define BENCH_H

#include "floors.h"
#include "pytheus.h"

#define OURS "pytheus.h"
#define FLOOR "floor"

/* Each prints its cases; all in one run of the program are one round. */
void bench_growth(void); /* before harness_init: in processes of its own */
void bench_operations(void);
void bench_labels(void);
void bench_text(void);
void bench_beside(void);
void bench_processes(void);

/* What library.c does with its inside. */
char *bench_number(char *out, double v);
void bench_fix_seed(pytheus_registry *registry); /* of hashes; before there are labels */

/* Many series of one metric in a registry of their own. */
typedef struct bench_family {
    pytheus_registry *registry;
    pytheus_type type;
    pytheus_view metric;
    pytheus_view *series; /* NULL when they were made without */
    harness_labels labels;
    uint64_t num_done; /* operations, as the loops say */
    uint64_t state;    /* of the random values */
} bench_family;

bench_family bench_family_new(pytheus_type type, size_t num_series);
void bench_family_free(bench_family *family);
pytheus_view bench_labels_of(const bench_family *family, size_t i);
void bench_make_series(bench_family *family);

/* Changes the value of each series, so that no text of the last page can be used again. */
void bench_change_values(void *family);

/* An operation is a whole page, into a sink that throws it away. */
void bench_write_pages(void *family, unsigned thread, size_t num_ops);

/* A loop says how much it did, so that what was counted can be compared. */
void bench_done(uint64_t *num_done, size_t num_ops);

static inline pytheus_counter bench_counter(pytheus_view view) {
    return (pytheus_counter){view};
}

static inline pytheus_gauge bench_gauge(pytheus_view view) {
    return (pytheus_gauge){view};
}

static inline pytheus_histogram bench_histogram(pytheus_view view) {
    return (pytheus_histogram){view};
}

static inline double bench_value(pytheus_view view) {
    double value = NAN;
    (void)pytheus_view_get(view, &value);
    return value;
}

#endif
