/* A collector: what the system counts anyway, read when somebody looks at the page. */
#define _POSIX_C_SOURCE 200809L /* statvfs */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <errno.h>
#include <sys/statvfs.h>
#include <time.h>

/* Families and samples, where the numbers come from elsewhere. What a collector returns but
   PYTHEUS_OK is the error of the whole page, because half of one would look like zeros. */
static pytheus_err emit_load(pytheus_emitter *out) {
    static const char *const minutes[] = {"1", "5", "15"};
    double load[3];
    FILE *file = fopen("/proc/loadavg", "r");
    if (!file)
        return pytheus_fail(PYTHEUS_ERR_IO, "/proc/loadavg: %s", strerror(errno));
    int num = fscanf(file, "%lf %lf %lf", &load[0], &load[1], &load[2]);
    fclose(file);

    pytheus_emit_family(out, &(pytheus_family){.type = PYTHEUS_GAUGE,
                                               .name = "load_average",
                                               .help = "Processes that run or want to."});
    for (int i = 0; i < num; i++)
        pytheus_emit_sample(out, &(pytheus_sample){.pairs = (const char *[]){"minutes", minutes[i]},
                                                   .num_strings = 2,
                                                   .value = load[i]});
    return PYTHEUS_OK;
}

/* Or a metric of one's own that is on no page by itself: it is set, and then emitted whole. */
static pytheus_err emit_disks(const pytheus_gauge *disks, pytheus_emitter *out) {
    static const char *const paths[] = {"/", "/tmp"};
    for (int i = 0; i < 2; i++) {
        pytheus_gauge disk = pytheus_gauge_labels(*disks, "path", paths[i]);
        struct statvfs found;
        if (statvfs(paths[i], &found))
            continue;
        double block = (double)found.f_frsize;
        pytheus_gauge_set(pytheus_gauge_labels(disk, "part", "all"),
                          block * (double)found.f_blocks);
        pytheus_gauge_set(pytheus_gauge_labels(disk, "part", "free"),
                          block * (double)found.f_bavail);
    }
    return pytheus_emit_metric(out, disks->view);
}

static pytheus_err collect(void *user, pytheus_emitter *out) {
    pytheus_err err = emit_load(out);
    return err ? err : emit_disks(user, out);
}

/* For a single number a function is enough. */
static double cpu_seconds(void *user) {
    (void)user;
    return (double)clock() / CLOCKS_PER_SEC;
}

int main(void) {
    pytheus_gauge disks = pytheus_gauge_new(&(pytheus_desc){
        .name = "filesystem_bytes",
        .help = "Size of file systems.",
        .unit = "bytes",
        .required_labels = {"path", "part"},
        .unregistered = true,
    });
    pytheus_counter cpu = pytheus_counter_new(&(pytheus_desc){
        .name = "process_cpu_seconds_total", .help = "CPU time used.", .unit = "seconds"});
    pytheus_counter_set_function(cpu, cpu_seconds, NULL);

    pytheus_collector system = {.name = "system", .collect = collect, .user = &disks};
    if (pytheus_registry_add_collector(NULL, &system) != PYTHEUS_OK)
        return 1; /* the reason is on stderr already */
    return pytheus_write_stream(NULL, PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
