/* A batch job that leaves a page for node_exporter, which runs all the time and shows it:

       seq 1000 | build/examples/batch /var/lib/node_exporter/batch.prom
       node_exporter --collector.textfile.directory=/var/lib/node_exporter

   The page is replaced as a whole when a run has ended well. A run that fails, or is killed, leaves
   the last one's, whose time of success grows old:

       time() - batch_last_success_timestamp_seconds > 86400

   is the alert. These are gauges: each run begins at 0. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <stdlib.h>

/* The job: adds up numbers, one in a line. */
static double add_up(FILE *input, pytheus_gauge records) {
    pytheus_gauge good = pytheus_gauge_labels(records, "result", "good");
    pytheus_gauge bad = pytheus_gauge_labels(records, "result", "bad");
    double sum = 0;
    char line[100];
    while (fgets(line, sizeof line, input)) {
        char *end;
        sum += strtod(line, &end);
        pytheus_gauge_inc(end > line && *end == '\n' ? good : bad);
    }
    return sum;
}

int main(int argc, char **argv) {
    pytheus_gauge records = pytheus_gauge_new(&(pytheus_desc){
        .name = "batch_records",
        .help = "Lines of the input.",
        .required_labels = {"result"},
    });
    pytheus_gauge duration = pytheus_gauge_new(&(pytheus_desc){
        .name = "batch_duration_seconds", .help = "Time that the job took.", .unit = "seconds"});
    pytheus_gauge success = pytheus_gauge_new(&(pytheus_desc){
        .name = "batch_last_success_timestamp_seconds", .help = "When the job last ended well."});

    if (argc != 2) {
        fprintf(stderr, "usage: %s FILE.prom <numbers\n", argv[0]);
        return 2;
    }
    PYTHEUS_TIME(duration) {
        printf("%g\n", add_up(stdin, records));
    }
    if (ferror(stdin)) {
        perror("input");
        return 1;
    }
    pytheus_gauge_set_to_current_time(success);
    return pytheus_write_file(NULL, PYTHEUS_TEXT, argv[1]) != PYTHEUS_OK;
}
