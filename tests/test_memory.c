/* What a series costs. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"

enum { NUM_SERIES = 100000 };

static size_t allocated;

static void *counting_realloc(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    if (!new_size) {
        free(p);
        allocated -= old_size;
        return NULL;
    }
    void *moved = realloc(p, new_size);
    allocated += moved ? new_size - old_size : 0;
    return moved;
}

static pytheus_registry *counting_registry(void) {
    allocated = 0;
    return pytheus_registry_new(
        &(pytheus_registry_desc){.allocator = {.realloc = counting_realloc}});
}

static void path_of(char path[32], int i) {
    snprintf(path, 32, "/a/path/%d", i);
}

/* All included: the index, the list of series, what the arena has not given out yet. */
TEST(a_counter_with_two_labels_takes_at_most_230_bytes) {
    pytheus_registry *r = counting_registry();
    pytheus_counter c = pytheus_counter_new(&(pytheus_desc){.name = "http_requests_total",
                                                            .required_labels = {"method", "path"},
                                                            .max_series = NUM_SERIES,
                                                            .registry = r});
    for (int i = 0; i < NUM_SERIES; i++) {
        char path[32];
        path_of(path, i);
        pytheus_counter_inc(pytheus_counter_labels(c, "method", "GET", "path", path));
    }
    printf("%.0f bytes a counter\n", (double)allocated / NUM_SERIES);
    CHECK(allocated <= (size_t)230 * NUM_SERIES);
    pytheus_registry_free(r);
    CHECK_INT((long long)allocated, 0);
}

TEST(a_histogram_of_11_buckets_takes_at_most_400_bytes) {
    pytheus_registry *r = counting_registry();
    pytheus_histogram h =
        pytheus_histogram_new(&(pytheus_desc){.name = "http_request_seconds",
                                              .required_labels = {"method", "path"},
                                              .max_series = NUM_SERIES,
                                              .registry = r});
    for (int i = 0; i < NUM_SERIES; i++) {
        char path[32];
        path_of(path, i);
        pytheus_histogram_observe(pytheus_histogram_labels(h, "method", "GET", "path", path), 1);
    }
    printf("%.0f bytes a histogram\n", (double)allocated / NUM_SERIES);
    CHECK(allocated <= (size_t)400 * NUM_SERIES);
    pytheus_registry_free(r);
    CHECK_INT((long long)allocated, 0);
}

static pytheus_err take(void *user, const char *bytes, size_t size) {
    (void)bytes;
    CHECK(size <= 65536);
    *(size_t *)user = allocated;
    return PYTHEUS_OK;
}

TEST(a_page_takes_as_much_memory_with_many_series_as_with_few) {
    size_t during[2];
    for (int many = 0; many < 2; many++) {
        pytheus_registry *r = counting_registry();
        pytheus_gauge g = pytheus_gauge_new(&(pytheus_desc){
            .name = "g", .required_labels = {"path"}, .max_series = NUM_SERIES, .registry = r});
        for (int i = 0; i < (many ? NUM_SERIES : 1); i++) {
            char path[32];
            path_of(path, i);
            pytheus_gauge_set(pytheus_gauge_labels(g, "path", path), i);
        }
        size_t before = allocated;
        CHECK_ERR(pytheus_write(r, PYTHEUS_TEXT, &(pytheus_sink){take, &during[many]}), PYTHEUS_OK);
        CHECK_INT((long long)allocated, (long long)before);
        during[many] -= before;
        pytheus_registry_free(r);
    }
    CHECK_INT((long long)during[1], (long long)during[0]);
    CHECK(during[0] <= 65536 + 4096);
}
