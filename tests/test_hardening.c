/* What only hostile surroundings bring about. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"
#include "fixture.h"

/* -- an allocator that has only small blocks -- */

static size_t largest_block = SIZE_MAX;

static void *small_blocks(void *user, void *p, size_t old_size, size_t new_size) {
    (void)user;
    (void)old_size;
    if (!new_size) {
        free(p);
        return NULL;
    }
    return new_size > largest_block ? NULL : realloc(p, new_size);
}

static pytheus_registry *registry_of_small_blocks(pytheus_logger logger) {
    largest_block = SIZE_MAX;
    return pytheus_registry_new(
        &(pytheus_registry_desc){.allocator = {.realloc = small_blocks}, .logger = logger});
}

static pytheus_histogram histogram_named(pytheus_registry *r, const char *kind, int i) {
    char name[32];
    snprintf(name, sizeof name, "%s_%d", kind, i);
    return pytheus_histogram_new(&(pytheus_desc){
        .name = name, .registry = r, .buckets = (const double[]){1}, .num_buckets = 1});
}

static void ignore(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user, (void)err, (void)metric, (void)sentence;
}

TEST(definitions_that_are_refused_for_ever_end_each_time) {
    for (size_t limit = 100; limit < 3000; limit += 100) {
        pytheus_registry *r = registry_of_small_blocks((pytheus_logger){.log = ignore});
        histogram_named(r, "first", 0);
        histogram_named(r, "first", 1);
        largest_block = limit;
        for (int i = 0; i < 300; i++)
            histogram_named(r, "refused", i);
        largest_block = SIZE_MAX;
        for (int i = 0; i < 300; i++)
            CHECK(histogram_named(r, "refused", i).view.node != NULL);
        free(page(r));
        pytheus_registry_free(r);
    }
}

static int log_calls;

static void log_and_count(void *user, pytheus_err err, const char *metric, const char *sentence) {
    pytheus_registry *const *r = user;
    (void)err, (void)metric, (void)sentence;
    log_calls++;
    pytheus_counter_inc(
        pytheus_counter_new(&(pytheus_desc){.name = "log_lines_total", .registry = *r}));
}

TEST(a_logger_that_defines_its_metric_is_not_called_by_itself) {
    static pytheus_registry *r;
    r = registry_of_small_blocks((pytheus_logger){.log = log_and_count, .user = &r});
    largest_block = 0;
    log_calls = 0;
    pytheus_counter_new(&(pytheus_desc){.name = "x", .registry = r});
    CHECK_INT(log_calls, 1);
    largest_block = SIZE_MAX;
    pytheus_counter_new(&(pytheus_desc){.name = "1x", .registry = r});
    CHECK_INT(log_calls, 2);
    CHECK_LINE(r, "log_lines_total 1");
    pytheus_registry_free(r);
}

/* -- strings -- */

TEST_WITH(r, a_sentence_holds_no_terminal_controls_and_is_utf8) {
    COUNTER(r, .name = "\x9b"
                       "31m\xc2\x9b\x1b[2J\n");
    CHECK(!strpbrk(pytheus_last_error(), "\x1b\n\x9b\xc2"));
    char long_name[200];
    memset(long_name, 'a', sizeof long_name);
    memcpy(long_name + 99, "\xc3\xa9", 3);
    COUNTER(r, .name = long_name);
    CHECK(!strchr(pytheus_last_error(), '\xc3'));
}

TEST_WITH(r, the_reason_is_told_however_long_the_name) {
    char name[400];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    pytheus_counter c = COUNTER(r, .name = name);
    CHECK_ERR(pytheus_counter_add(c, -1), PYTHEUS_ERR_VALUE);
    CHECK(strstr(pytheus_last_error(), "finite amounts from 0 up, not -1") != NULL);
}

/* On 32 bits the sum of these sizes is 2^32 and a little. */
TEST_WITH(r, values_whose_sizes_would_wrap_are_refused) {
    static char names[PYTHEUS_MAX_LABELS][16];
    size_t size = (size_t)1 << 28;
    char *value = malloc(size);
    const char *pairs[2 * PYTHEUS_MAX_LABELS];
    pytheus_desc desc = {.name = "x", .registry = r};
    if (!CHECK(value != NULL))
        return;
    memset(value, 'a', size - 1);
    value[size - 1] = '\0';
    for (int i = 0; i < PYTHEUS_MAX_LABELS; i++) {
        snprintf(names[i], sizeof names[i], "l%d", i);
        desc.required_labels[i] = pairs[2 * i] = names[i];
        pairs[2 * i + 1] = value;
    }
    pytheus_gauge g = pytheus_gauge_new(&desc);
    CHECK(!pytheus_gauge_view(g, pairs, 2 * PYTHEUS_MAX_LABELS).view.node);
    CHECK_ERR(logged.err, PYTHEUS_ERR_NOMEM);
    free(value);
}

/* -- handles -- */

TEST(freeing_no_registry_leaves_the_default_one_alone) {
    pytheus_counter c = pytheus_counter_new(&(pytheus_desc){.name = "kept_total"});
    pytheus_registry_free(NULL);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    CHECK_LINE(NULL, "kept_total 1");
    pytheus_registry_free(pytheus_default());
}

TEST_WITH(r, a_call_site_refuses_with_its_base) {
    pytheus_counter m = COUNTER(r, .name = "x_total", .required_labels = {"a", "b"});
    pytheus_counter base = pytheus_counter_labels(m, "a", "1", "b", "1");
    for (int i = 0; i < 2; i++) {
        pytheus_counter cached = PYTHEUS_AT(counter, base, "b", "2");
        CHECK(pytheus_view_observable(cached.view) == (i == 0));
        pytheus_view_remove(base.view);
    }
}

/* As if it came between a set's reading of the integer and its writing of the double. */
TEST_WITH(r, a_clear_in_the_middle_of_a_set_is_noticed) {
    pytheus_counter c = COUNTER(r, .name = "x_total");
    pytheus_counter_add(c, 1000);
    pytheus__word *real = &pytheus__cells(c.view.node)[PYTHEUS__COUNTER_REAL];
    uint64_t before = *real;
    pytheus_view_clear(c.view);
    CHECK(*real != before);
    CHECK_VALUE(c, 0);
    CHECK_LINE(r, "x_total 0");
}
