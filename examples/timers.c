/* Time taken, work in progress, and errors, counted where they happen. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <errno.h>
#include <time.h>

static pytheus_histogram job_time, answer_time;
static pytheus_gauge jobs_running, last_backup_time;
static pytheus_counter open_errors, missing_files;

static void work(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* The rest of the scope is timed and counted as in progress, whichever return ends it. */
static int job(int size) {
    PYTHEUS_TIME_SCOPE(job_time);
    PYTHEUS_TRACK_INPROGRESS_SCOPE(jobs_running);
    if (size == 0)
        return -1;
    work(size);
    return size;
}

/* The block is timed, and a gauge keeps the last time. */
static void backup(void) {
    PYTHEUS_TIME(last_backup_time) {
        work(20);
    }
}

/* A timer of one's own: the label is known only when the answer is there. */
static void answer(bool found) {
    pytheus_timer timer = pytheus_timer_start(answer_time.view);
    work(found ? 1 : 30);
    const char *result = found ? "hit" : "miss";
    pytheus_timer_to(&timer, pytheus_histogram_labels(answer_time, "result", result).view);
    printf("answered in %s than 20 ms\n", pytheus_timer_stop(&timer) < 0.02 ? "less" : "more");
}

/* What fopen returns goes through, and is counted when it is NULL. */
static bool readable(const char *path) {
    FILE *file = PYTHEUS_COUNT_ERRORS(open_errors, fopen(path, "r"));
    if (!file)
        return false;
    fclose(file);
    return true;
}

/* Counted only when the file was not there, not when it could not be removed. */
static bool removed(const char *path) {
    return PYTHEUS_COUNT_ERRNO(missing_files, remove(path), ENOENT, ENOTDIR) == 0;
}

int main(void) {
    job_time = pytheus_histogram_new(&(pytheus_desc){
        .name = "job_duration_seconds",
        .help = "Time to finish a job.",
        .buckets = (const double[]){.005, .05, .5},
        .num_buckets = 3,
    });
    answer_time = pytheus_histogram_new(&(pytheus_desc){
        .name = "answer_duration_seconds",
        .help = "Time to answer.",
        .required_labels = {"result"},
        .buckets = (const double[]){.02, 2},
        .num_buckets = 2,
    });
    jobs_running = pytheus_gauge_new(&(pytheus_desc){
        .name = "jobs_running",
        .help = "Jobs that are being worked on.",
    });
    last_backup_time = pytheus_gauge_new(&(pytheus_desc){
        .name = "last_backup_duration_seconds",
        .help = "Time that the last backup took.",
    });
    open_errors = pytheus_counter_new(&(pytheus_desc){
        .name = "open_errors_total",
        .help = "Files that did not open.",
    });
    missing_files = pytheus_counter_new(&(pytheus_desc){
        .name = "missing_files_total",
        .help = "Files that were to be removed and were not there.",
    });

    job(10);
    job(0);
    backup();
    answer(true);
    answer(false);
    printf("readable: %d and %d\n", readable("/dev/null"), readable("/nowhere/file"));
    printf("removed: %d and %d\n", removed("/nowhere/file"), removed("."));

    return pytheus_write_stream(NULL, PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
