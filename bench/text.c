/* The page: nanoseconds of a line, with values that changed since the last one. */
#include "bench.h"
#include "reader.h"

/* ---- is it a page? ---- */

static size_t num_lines(pytheus_type type) {
    return type == PYTHEUS_HISTOGRAM ? 14 : 1; /* 11 bounds, +Inf, sum, count */
}

static bool is_value(pytheus_type type, const char *line) {
    return type != PYTHEUS_HISTOGRAM || strncmp(strchr(line, '{') - 4, "_sum", 4) == 0;
}

/* Each series is there in its place, with its present value (a histogram: its sum). */
static void expect_values(const bench_family *family, const char *page) {
    size_t i = 0, lines = 0;
    const char *line, *next;
    for (line = page; *line; line = next) {
        const char *end = strchr(line, '\n'), *blank = end;
        harness_expect(end != NULL, "a line does not end");
        next = end + 1;
        lines += *line != '#';
        while (*blank != ' ')
            blank--;
        if (*line != '#' && is_value(family->type, line)) {
            harness_expect(strtod(blank, NULL) == bench_value(family->series[i]), "a wrong value");
            i++;
        }
    }
    harness_expect(i == family->labels.num && lines == i * num_lines(family->type),
                   "lines are missing");
}

static void expect_page(const bench_family *family) {
    size_t size = 0;
    char *page = pytheus_generate(family->registry, PYTHEUS_TEXT, &size);
    harness_expect(page != NULL, "no page");
    expect_values(family, page);
    if (family->labels.num <= 1000) {
        char error[READER_ERROR_SIZE];
        reader_doc doc;
        harness_expect(reader_parse(page, size, &doc, error), error);
        reader_free(&doc);
    }
    pytheus_free(page);
}

/* ---- cases ---- */

static void bench_page(const char *kind, pytheus_type type, size_t num_series) {
    bench_family family = bench_family_new(type, num_series);
    floors_texts texts = floors_texts_new(&family.labels);
    double lines = (double)(num_series * num_lines(type));
    size_t num_pages = num_series < 10000 ? 10000 / num_series : 1;
    harness_side sides[2] = {
        {OURS,
         {.loop = bench_write_pages,
          .prepare = bench_change_values,
          .user = &family,
          .num_ops = num_pages,
          .parts = lines}},
        {FLOOR,
         {.loop = floors_copy, .user = &texts, .num_ops = num_pages, .parts = (double)num_series}}};
    char name[64];
    bench_make_series(&family);
    bench_change_values(&family);
    snprintf(name, sizeof name, "text-%s-%zu", kind, num_series);
    harness_compare(name, sides, 2);
    if (num_series < 1000000)
        expect_page(&family);
    floors_texts_free(&texts);
    bench_family_free(&family);
}

/* Memory that the library asks for. */
static struct { size_t calls, bytes, most; } asked;

static void *counting_realloc(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    asked.calls += new_size != 0;
    asked.bytes += new_size - old_size;
    asked.most = asked.bytes > asked.most ? asked.bytes : asked.most;
    if (new_size)
        return realloc(p, new_size);
    free(p);
    return NULL;
}

static void count_memory_of_page(size_t num_series, const char *who) {
    bench_family family = bench_family_new(PYTHEUS_HISTOGRAM, 1);
    pytheus_registry_free(family.registry);
    harness_labels_free(&family.labels);
    family.labels = harness_labels_new(num_series);
    family.registry =
        pytheus_registry_new(&(pytheus_registry_desc){.allocator = {.realloc = counting_realloc}});
    family.metric = pytheus_histogram_new(&(pytheus_desc){.name = "http_request_seconds",
                                                          .required_labels = {"method", "path"},
                                                          .max_series = num_series,
                                                          .registry = family.registry})
                        .view;
    bench_make_series(&family);
    bench_change_values(&family);
    memset(&asked, 0, sizeof asked);
    bench_write_pages(&family, 0, 1);
    harness_print("page-allocations", who, (double)asked.calls);
    harness_print("page-memory", who, (double)asked.most);
    bench_family_free(&family);
}

static void write_numbers(void *user, unsigned thread, size_t num_ops) {
    const double *values = (const double *)user;
    char text[64];
    uint64_t all = 0;
    for (size_t i = 0; i < num_ops; i++) {
        char *end = bench_number(text, harness_value(values, thread, i));
        all += (unsigned char)text[(end - text) / 2];
    }
    harness_keep(all);
}

static void expect_numbers(const double *values) {
    char text[64];
    for (size_t i = 0; i < 1000; i++) {
        *bench_number(text, values[i]) = '\0';
        harness_expect(strtod(text, NULL) == values[i], "a number reads back as another");
    }
}

static void bench_numbers(void) {
    double *values = (double *)malloc(HARNESS_NUM_VALUES * sizeof *values);
    uint64_t state = 4;
    harness_expect(values != NULL, "out of memory");
    for (size_t i = 0; i < HARNESS_NUM_VALUES; i++)
        values[i] = 1000 * harness_random_unit(&state);
    harness_side sides[2] = {{OURS, {.loop = write_numbers, .user = values}},
                             {FLOOR, {.loop = floors_digits, .user = values}}};
    harness_compare("number", sides, 2);
    expect_numbers(values);
    free(values);
}

void bench_text(void) {
    for (size_t num_series = 100; num_series <= 1000000; num_series *= 10)
        bench_page("counter", PYTHEUS_COUNTER, num_series);
    bench_page("gauge", PYTHEUS_GAUGE, 1000);
    bench_page("gauge", PYTHEUS_GAUGE, 100000);
    bench_page("histogram", PYTHEUS_HISTOGRAM, 1000);
    bench_page("histogram", PYTHEUS_HISTOGRAM, 100000);
    bench_numbers();
    count_memory_of_page(100, FLOOR);
    count_memory_of_page(10000, OURS);
}
