/* page.h: what a registry exposes, in text and in OpenMetrics, read by the strict reader each time,
 * and kept for the judges (promtool_pages, judge_pages.py, prometheus_roundtrip.py) in the folder
 * PYTHEUS_PAGES, an environment variable, if it is set: pages in text as .prom, others as .om.
 * After pytheus.h and check.h. C99 and C++11. */
#ifndef PAGE_H
#define PAGE_H

#include <errno.h>

#include "reader.h"

/* The text, to be freed with free(). A page that the strict reader refuses fails the test; where
   there is none at all it is "". */
#define page(registry) page_at(registry, PYTHEUS_TEXT, __FILE__, __LINE__)
#define om_page(registry) page_at(registry, PYTHEUS_OPENMETRICS, __FILE__, __LINE__)

/* The page is this and nothing else; has this line; has not. Lines without their line feed. In
   OpenMetrics the page is meant without its last line, # EOF. */
#define CHECK_PAGE(registry, text) page_check(registry, PYTHEUS_TEXT, text, __FILE__, __LINE__)
#define CHECK_LINE(registry, line) page_check_line(registry, PYTHEUS_TEXT, line, __FILE__, __LINE__)
#define CHECK_NO_LINE(registry, line)                                                              \
    page_check_no_line(registry, PYTHEUS_TEXT, line, __FILE__, __LINE__)
#define CHECK_OM_PAGE(registry, text)                                                              \
    page_check(registry, PYTHEUS_OPENMETRICS, text, __FILE__, __LINE__)
#define CHECK_OM_LINE(registry, line)                                                              \
    page_check_line(registry, PYTHEUS_OPENMETRICS, line, __FILE__, __LINE__)
#define CHECK_NO_OM_LINE(registry, line)                                                           \
    page_check_no_line(registry, PYTHEUS_OPENMETRICS, line, __FILE__, __LINE__)

/* A page of which everything is known: the judges then compare what they read with what was put in,
 * not only with what the page says.
 *
 *     page_reading reading = page_open(registry);
 *     page_expect_family(&reading, READER_COUNTER, "hits_total", "Hits.");
 *     page_expect(&reading, "hits_total", pairs, 2, 3.5);
 *     page_close(&reading);                    a sample that nobody expected fails the test */
#define page_open(registry) page_open_at(registry, PYTHEUS_TEXT, __FILE__, __LINE__)
#define om_page_open(registry) page_open_at(registry, PYTHEUS_OPENMETRICS, __FILE__, __LINE__)

typedef struct page_reading {
    pytheus_format format;
    char *text;
    size_t size;
    reader_doc doc;
    bool good;
    const char *file;
    int line;
    size_t num_families, num_samples;
    char *expected;
    size_t expected_size, expected_room;
} page_reading;

static inline char *page_copy(const char *text, size_t size) {
    char *copy = (char *)malloc(size + 1);
    if (!copy)
        abort();
    memcpy(copy, text, size);
    copy[size] = 0;
    return copy;
}

static inline char *page_generate(pytheus_registry *registry, pytheus_format format, size_t *size,
                                  const char *file, int line) {
    char *text = pytheus_generate(registry, format, size), *copy;
    if (!check_that(text != NULL, file, line, "no page: %s", pytheus_last_error())) {
        *size = 0;
        return page_copy("", 0);
    }
    check_that(!text[*size], file, line, "the page does not end with NUL");
    copy = page_copy(text, *size);
    pytheus_free(text);
    return copy;
}

/* The folder for the judges, or NULL. */
static inline const char *page_folder(void) {
    const char *folder = getenv("PYTHEUS_PAGES");
    return folder && *folder ? folder : NULL;
}

static inline FILE *page_create(const char *name, const char *ending, unsigned number) {
    const char *last = strrchr(name, '/');
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%05u.%s", page_folder(), last ? last + 1 : name, number,
             ending);
    return fopen(path, "wbx");
}

static inline void page_write(FILE *file, const char *bytes, size_t size) {
    bool written = file && fwrite(bytes, 1, size, file) == size;
    bool closed = file && !fclose(file);
    check_that(written && closed, __FILE__, __LINE__, "cannot write to %s: %s", page_folder(),
               strerror(errno));
}

/* Under the first number that no other process has taken. */
static inline void page_save(const page_reading *reading, bool with_expectation) {
    static unsigned last_number;
    bool in_text = reading->format == PYTHEUS_TEXT;
    FILE *file;
    unsigned number;
    if (!page_folder())
        return;
    do {
        number = __atomic_add_fetch(&last_number, 1, __ATOMIC_RELAXED);
        file = page_create(__BASE_FILE__, in_text ? "prom" : "om", number);
    } while (!file && errno == EEXIST);
    page_write(file, reading->text, reading->size);
    if (with_expectation)
        page_write(page_create(__BASE_FILE__, in_text ? "prom.expect" : "om.expect", number),
                   reading->expected ? reading->expected : "", reading->expected_size);
}

/* Tests ask for many lines of one page: the judges need it once. */
static inline void page_save_unless_last(const page_reading *reading) {
    static uint64_t last_hash;
    uint64_t hash = reader_hash(1, reading->text);
    if (page_folder() && __atomic_exchange_n(&last_hash, hash, __ATOMIC_RELAXED) != hash)
        page_save(reading, false);
}

static inline page_reading page_open_at(pytheus_registry *registry, pytheus_format format,
                                        const char *file, int line) {
    reader_format read_as = format == PYTHEUS_TEXT ? READER_TEXT : READER_OPENMETRICS;
    char error[READER_ERROR_SIZE];
    page_reading reading;
    memset(&reading, 0, sizeof reading);
    reading.format = format;
    reading.file = file;
    reading.line = line;
    reading.text = page_generate(registry, format, &reading.size, file, line);
    reading.good = reader_parse_as(read_as, reading.text, reading.size, &reading.doc, error);
    check_that(reading.good, file, line, "the page is refused: %s", error);
    return reading;
}

static inline char *page_at(pytheus_registry *registry, pytheus_format format, const char *file,
                            int line) {
    page_reading reading = page_open_at(registry, format, file, line);
    page_save_unless_last(&reading);
    reader_free(&reading.doc);
    return reading.text;
}

/* ==== LINES ==== */

static inline bool page_check(pytheus_registry *registry, pytheus_format format,
                              const char *expected, const char *file, int line) {
    char *text = page_at(registry, format, file, line);
    size_t size = strlen(text), eof = format == PYTHEUS_TEXT ? 0 : strlen("# EOF\n");
    text[size < eof ? size : size - eof] = 0; /* that it is there, the reader saw */
    bool same = check_str(text, expected, "the page", file, line);
    free(text);
    return same;
}

static inline const char *page_next_line(const char *text) {
    return text + strcspn(text, "\n") + (strchr(text, '\n') != NULL);
}

static inline size_t page_same_bytes(const char *a, const char *b) {
    size_t size = 0;
    while (a[size] && a[size] == b[size])
        size++;
    return size;
}

/* The line of the page that has most in common with this one from its beginning. */
static inline const char *page_nearest(const char *text, const char *line) {
    const char *nearest = text;
    for (; *text; text = page_next_line(text))
        if (page_same_bytes(text, line) > page_same_bytes(nearest, line))
            nearest = text;
    return nearest;
}

static inline bool page_has(const char *text, const char *line) {
    size_t size = strlen(line);
    for (; *text; text = page_next_line(text))
        if (page_same_bytes(text, line) == size && text[size] == '\n')
            return true;
    return false;
}

static inline bool page_check_line(pytheus_registry *registry, pytheus_format format,
                                   const char *expected, const char *file, int line) {
    char *text = page_at(registry, format, file, line);
    const char *nearest = page_nearest(text, expected);
    size_t size = strcspn(nearest, "\n");
    bool has = check_that(page_has(text, expected), file, line, "no line %.500s (nearest: %.*s)",
                          expected, size < 500 ? (int)size : 500, nearest);
    free(text);
    return has;
}

static inline bool page_check_no_line(pytheus_registry *registry, pytheus_format format,
                                      const char *unwanted, const char *file, int line) {
    char *text = page_at(registry, format, file, line);
    bool has_not = check_that(!page_has(text, unwanted), file, line, "a line %.500s", unwanted);
    free(text);
    return has_not;
}

/* ==== EXPECTATIONS ==== */

static inline void page_add(page_reading *reading, const char *text) {
    size_t size = strlen(text);
    while (reading->expected_room < reading->expected_size + size)
        reading->expected = (char *)reader_grow(reading->expected, reading->expected_room,
                                                &reading->expected_room, 1);
    memcpy(reading->expected + reading->expected_size, text, size);
    reading->expected_size += size;
}

static inline void page_add_hex(page_reading *reading, const char *bytes) {
    static const char digits[] = "0123456789abcdef";
    char pair[3] = "";
    for (; *bytes; bytes++) {
        pair[0] = digits[(unsigned char)*bytes >> 4];
        pair[1] = digits[(unsigned char)*bytes & 15];
        page_add(reading, pair);
    }
}

static inline void page_check_text(const page_reading *reading, const char *actual,
                                   const char *expected, const char *what) {
    check_str(actual ? actual : "", expected, what, reading->file, reading->line);
}

/* In the expectation: F HEX-NAME TYPE =HEX-HELP =HEX-UNIT; "" where there is no help or unit. */
static inline void page_expect_family_in(page_reading *reading, reader_type type, const char *name,
                                         const char *help, const char *unit) {
    const reader_family *family = reader_find_family(&reading->doc, name);
    page_add(reading, "F ");
    page_add_hex(reading, name);
    page_add(reading, " ");
    page_add(reading, reader_type_names[type]);
    page_add(reading, " =");
    page_add_hex(reading, help);
    page_add(reading, " =");
    page_add_hex(reading, unit);
    page_add(reading, "\n");
    reading->num_families++;
    if (!reading->good)
        return;
    check_that(family && family->type == type, reading->file, reading->line, "no %s %s on the page",
               reader_type_names[type], name);
    if (family) {
        page_check_text(reading, family->help, help, name);
        page_check_text(reading, family->unit, unit, name);
    }
}

static inline void page_expect_family(page_reading *reading, reader_type type, const char *name,
                                      const char *help) {
    page_expect_family_in(reading, type, name, help, "");
}

static inline void page_add_number(page_reading *reading, double value) {
    uint64_t bits;
    char hex[32];
    memcpy(&bits, &value, sizeof bits);
    snprintf(hex, sizeof hex, "%08lx%08lx", (unsigned long)(bits >> 32),
             (unsigned long)(bits & 0xffffffff));
    page_add(reading, hex);
}

static inline void page_add_labels(page_reading *reading, const char *const *pairs,
                                   size_t num_strings) {
    for (size_t i = 0; i + 1 < num_strings; i += 2) {
        page_add(reading, " ");
        page_add_hex(reading, pairs[i]);
        page_add(reading, "=");
        page_add_hex(reading, pairs[i + 1]);
    }
    page_add(reading, "\n");
}

/* In the expectation: S HEX-BITS HEX-NAME HEX-LABEL=HEX-VALUE HEX-LABEL=HEX-VALUE ... */
static inline void page_expect(page_reading *reading, const char *name, const char *const *pairs,
                               size_t num_strings, double value) {
    const reader_sample *sample;
    page_add(reading, "S ");
    page_add_number(reading, value);
    page_add(reading, " ");
    page_add_hex(reading, name);
    page_add_labels(reading, pairs, num_strings);
    reading->num_samples++;
    if (!reading->good)
        return;
    sample = reader_find(&reading->doc, name, pairs, num_strings);
    if (check_that(sample != NULL, reading->file, reading->line, "no such sample of %s on the page",
                   name))
        check_double(sample->value, value, name, reading->file, reading->line);
}

/* Of the sample that was expected last. In the expectation: E HEX-BITS HEX-LABEL=HEX-VALUE ... */
static inline void page_expect_exemplar(page_reading *reading, const char *const *pairs,
                                        size_t num_strings, double value) {
    page_add(reading, "E ");
    page_add_number(reading, value);
    page_add_labels(reading, pairs, num_strings);
}

static inline void page_close(page_reading *reading) {
    if (reading->good) {
        check_int((int64_t)reading->doc.num_families, (int64_t)reading->num_families,
                  "the number of families on the page", reading->file, reading->line);
        check_int((int64_t)reading->doc.num_samples, (int64_t)reading->num_samples,
                  "the number of samples on the page", reading->file, reading->line);
    }
    page_save(reading, true);
    reader_free(&reading->doc);
    free(reading->expected);
    free(reading->text);
    memset(reading, 0, sizeof *reading);
}

#endif
