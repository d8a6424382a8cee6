/* A backend of one's own: four functions, and the values are in a table of this program's. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct row {
    char name[200];
    double value;
} table[100];

/* Gives each value of a series its row. One that is opened again goes on with the row it had. */
static pytheus_err open_row(void *user, const pytheus_cell_desc *desc, void **cell) {
    char name[200];
    size_t i, used = (size_t)snprintf(name, sizeof name, "%s %s", desc->metric, desc->value);
    (void)user;
    for (i = 0; i < desc->num_labels && used < sizeof name; i++)
        used += (size_t)snprintf(name + used, sizeof name - used, " %s=%s", desc->labels[i].name,
                                 desc->labels[i].value);
    pthread_mutex_lock(&lock);
    for (i = 0; i < 100 && table[i].name[0] && strcmp(table[i].name, name) != 0;)
        i++;
    *cell = i < 100 && used < sizeof name ? strcpy(table[i].name, name) : NULL;
    pthread_mutex_unlock(&lock);
    return *cell ? PYTHEUS_OK : pytheus_fail(PYTHEUS_ERR_BACKEND, "no row for %s", desc->metric);
}

static pytheus_err change(void *row, bool adds, double v) {
    pthread_mutex_lock(&lock);
    ((struct row *)row)->value = adds ? ((struct row *)row)->value + v : v;
    pthread_mutex_unlock(&lock);
    return PYTHEUS_OK;
}
static pytheus_err add_to_row(void *user, void *cell, double by) {
    return (void)user, change(cell, true, by);
}
static pytheus_err set_row(void *user, void *cell, double value) {
    return (void)user, change(cell, false, value);
}
static pytheus_err get_row(void *user, void *cell, double *value) {
    (void)user;
    pthread_mutex_lock(&lock);
    *value = ((struct row *)cell)->value;
    pthread_mutex_unlock(&lock);
    return PYTHEUS_OK;
}

int main(void) {
    const pytheus_backend backend = {
        .name = "table", .cell_open = open_row, .inc = add_to_row, .set = set_row, .get = get_row};
    pytheus_set_default(pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend}));
    pytheus_summary size = pytheus_summary_new(
        &(pytheus_desc){.name = "mail_bytes", .help = "Mail.", .required_labels = {"to"}});
    pytheus_summary_observe(pytheus_summary_labels(size, "to", "ann"), 1200);
    pytheus_summary_observe(pytheus_summary_labels(size, "to", "bob"), 300);
    for (const struct row *row = table; row->name[0]; row++)
        printf("%s: %g\n", row->name, row->value);
    return pytheus_write_stream(NULL, PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
