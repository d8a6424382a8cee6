/* Files of random bytes, some with their checksums put right, so that what lies behind them is
 * reached. First byte: how the rest is to be taken. */
#define _GNU_SOURCE
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_FILE_IMPLEMENTATION
#include "pytheus_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { LARGEST = 3 * 65536 };

static char directory[60], path[80];
static char image[LARGEST];

static void must(bool condition) {
    if (!condition)
        abort();
}

static void quiet(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

static pytheus_err throw_away(void *user, const char *bytes, size_t size) {
    (void)user;
    (void)bytes;
    (void)size;
    return PYTHEUS_OK;
}

static pytheus_registry *open_it(void) {
    const pytheus_file_desc desc = {.directory = directory, .keep = true};
    pytheus_backend backend;
    if (pytheus_file_backend(&desc, &backend))
        return NULL;
    return pytheus_registry_new(
        &(pytheus_registry_desc){.backend = &backend, .logger = {quiet, NULL}});
}

/* A small file as the library writes it, to be spoilt. */
static void make_image(void) {
    pytheus_registry *r = open_it();
    must(r != NULL);
    pytheus_counter c = pytheus_counter_new(
        &(pytheus_desc){.name = "c_total", .registry = r, .required_labels = {"a", "b"}});
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "1", "b", "2"));
    pytheus_view_remove(pytheus_counter_labels(c, "a", "1", "b", "2").view);
    pytheus_counter_inc(pytheus_counter_labels(c, "a", "3", "b", "4"));
    pytheus_histogram_observe(pytheus_histogram_new(&(pytheus_desc){.name = "h", .registry = r}),
                              1);
    pytheus_counter_inc(
        pytheus_counter_new(&(pytheus_desc){.name = "s_total", .registry = r, .stripes = 4}));
    pytheus_gauge_set(pytheus_gauge_new(&(pytheus_desc){
                          .name = "g", .registry = r, .across = PYTHEUS_PER_PROCESS}),
                      2);
    pytheus_registry_free(r);
    FILE *file = fopen(path, "rb");
    must(file && fread(image, 1, 65536, file) == 65536);
    fclose(file);
}

/* Makes every record that can be found from the start pass its checksums. */
static void seal(char *bytes) {
    pytheus__disk_header *header = (pytheus__disk_header *)(void *)bytes;
    memcpy(header->magic, PYTHEUS__DISK_MAGIC, 8);
    header->version = PYTHEUS__DISK_VERSION;
    header->byte_order = PYTHEUS__DISK_BYTE_ORDER;
    header->word_size = sizeof(void *);
    header->check = pytheus__disk_header_check(header);
    for (uint64_t at = pytheus__disk_first(); at < pytheus__disk_used(header) && at < 65536;) {
        pytheus__disk_record *record = (pytheus__disk_record *)(void *)(bytes + at);
        uint32_t line = (uint32_t)(at / PYTHEUS__DISK_LINE);
        uint64_t room = 65536 - at;
        if (!record->size || (uint64_t)record->size * PYTHEUS__DISK_LINE > room)
            record->size = 1;
        record->size_check = pytheus__disk_size_check(line, record->size);
        pytheus__disk_layout layout = pytheus__disk_layout_in(record);
        if (pytheus__disk_is_inside(record, &layout))
            record->check = pytheus__disk_check(record, &layout, line, record->life);
        at += (uint64_t)record->size * PYTHEUS__DISK_LINE;
    }
}

/* Triples of a place, of which the first 21,000 bytes are mostly empty, and a value. */
static size_t spoil(char *bytes, const uint8_t *input, size_t size) {
    memcpy(bytes, image, 65536);
    for (size_t i = 0; i + 3 <= size; i += 3) {
        size_t place = (size_t)input[i] << 8 | input[i + 1];
        bytes[place] = (char)input[i + 2];
    }
    return 65536;
}

static void write_it(const char *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    must(file && fwrite(bytes, 1, size, file) == size);
    fclose(file);
}

static void use_it(void) {
    const pytheus_sink sink = {throw_away, NULL};
    pytheus_registry *r;
    (void)pytheus_file_dump(path, PYTHEUS_OPENMETRICS, &sink);
    r = open_it();
    if (r) {
        pytheus_counter c = pytheus_counter_new(
            &(pytheus_desc){.name = "c_total", .registry = r, .required_labels = {"a", "b"}});
        pytheus_counter s = pytheus_counter_labels(c, "a", "3", "b", "5");
        must(!pytheus_counter_inc(s));
        (void)pytheus_write(r, PYTHEUS_TEXT, &sink);
        (void)pytheus_view_clear(c.view);
        (void)pytheus_write(r, PYTHEUS_TEXT, &sink);
        pytheus_registry_free(r);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static char bytes[LARGEST];
    if (!*directory) {
        snprintf(directory, sizeof directory, "/dev/shm/pytheus-fuzz-%ld", (long)getpid());
        snprintf(path, sizeof path, "%s/pytheus.data", directory);
        must(mkdir(directory, 0700) == 0);
        make_image();
    }
    if (!size)
        return 0;
    size_t length = size - 1;
    if (input[0] % 4 == 0) {
        length = length < LARGEST ? length : LARGEST;
        memcpy(bytes, input + 1, length);
    } else {
        length = spoil(bytes, input + 1, length);
    }
    if (input[0] % 4 >= 2)
        seal(bytes);
    write_it(bytes, length);
    use_it();
    return 0;
}
