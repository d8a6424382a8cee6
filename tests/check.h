/* check.h: the frame of a test program of one translation unit: tests that register themselves, and
 * main.
 *
 *     TEST(adding_nothing_changes_nothing) { CHECK_INT(add(1, 0), 1); }
 *
 * Every check yields whether it held, so that a test can stop early: if (!CHECK(file)) return;
 * Checks may run in any thread of the test's own process. C99 and C++11, GCC and Clang. */
#ifndef CHECK_H
#define CHECK_H

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sanitizers.h"

#define TEST(name)                                                                                 \
    static void test_##name(void);                                                                 \
    __attribute__((constructor)) static void check_add_##name(void) {                              \
        static check_test test = {#name, test_##name, __FILE__, __LINE__, NULL};                   \
        check_add(&test);                                                                          \
    }                                                                                              \
    static void test_##name(void)

#define CHECK(condition)                                                                           \
    check_that((condition) ? true : false, __FILE__, __LINE__, "%s", #condition)
#define CHECK_STR(actual, expected) check_str(actual, expected, #actual, __FILE__, __LINE__)
#define CHECK_INT(actual, expected)                                                                \
    check_int((int64_t)(actual), (int64_t)(expected), #actual, __FILE__, __LINE__)
#define CHECK_DOUBLE(actual, expected) check_double(actual, expected, #actual, __FILE__, __LINE__)

/* Leaves the test; says so on a line of its own. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        check_skip(reason);                                                                        \
        return;                                                                                    \
    } while (0)

/* The same for what nobody needs to have, which is no failure anywhere. */
#define SKIP_EXTRA(reason)                                                                         \
    do {                                                                                           \
        check_say_skipped(reason);                                                                 \
        return;                                                                                    \
    } while (0)

typedef struct check_test {
    const char *name;
    void (*run)(void);
    const char *file;
    int line;
    struct check_test *next;
} check_test;

static check_test *check_tests;
static const char *check_running = "";
static bool check_skipped;
static int check_num_done, check_num_failed;

static inline bool check_before(const check_test *a, const check_test *b) {
    int order = strcmp(a->file, b->file);
    return order ? order < 0 : a->line < b->line;
}

/* Sorted, because the order in which constructors run differs between systems. */
static inline void check_add(check_test *test) {
    check_test **place = &check_tests;
    while (*place && check_before(*place, test))
        place = &(*place)->next;
    test->next = *place;
    *place = test;
}

__attribute__((format(printf, 4, 5))) static inline bool
check_that(bool holds, const char *file, int line, const char *format, ...) {
    char text[2048];
    va_list arguments;
    __atomic_fetch_add(&check_num_done, 1, __ATOMIC_RELAXED);
    if (holds)
        return true;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("%s:%d: %s: %s\n", file, line, check_running, text);
    fflush(stdout);
    __atomic_fetch_add(&check_num_failed, 1, __ATOMIC_RELAXED);
    return false;
}

/* At most 120 bytes of text from `from` on, on one line. */
static inline const char *check_quote(char out[512], const char *text, size_t from) {
    size_t size = (size_t)snprintf(out, 512, "%s", !text ? "NULL" : from ? "..\"" : "\"");
    for (size_t i = from; text && i < from + 120; i++) {
        unsigned char c = (unsigned char)text[i];
        if (!c)
            return strcat(out, "\"");
        const char *form = c == '\n' ? "\\n" : c == '"' || c == '\\' ? "\\%c" : "%c";
        size += (size_t)snprintf(out + size, 512 - size, c < 32 && c != '\n' ? "\\x%02x" : form, c);
    }
    return text ? strcat(out, "\"..") : out;
}

static inline bool check_str(const char *actual, const char *expected, const char *what,
                             const char *file, int line) {
    char got[512], wanted[512];
    size_t same = 0, from;
    while (actual && expected && actual[same] && actual[same] == expected[same])
        same++;
    if (actual == expected || (actual && expected && actual[same] == expected[same]))
        return check_that(true, file, line, "%s", what);
    from = same > 60 ? same - 40 : 0;
    return check_that(false, file, line, "%s is %s, not %s (differ at byte %lu)", what,
                      check_quote(got, actual, from), check_quote(wanted, expected, from),
                      (unsigned long)same);
}

static inline bool check_int(int64_t actual, int64_t expected, const char *what, const char *file,
                             int line) {
    return check_that(actual == expected, file, line, "%s is %" PRId64 ", not %" PRId64, what,
                      actual, expected);
}

/* The same bits, so that 0 is not -0; but any NaN is as good as another. */
static inline bool check_double(double actual, double expected, const char *what, const char *file,
                                int line) {
    bool both_nan = actual != actual && expected != expected;
    return check_that(both_nan || !memcmp(&actual, &expected, sizeof actual), file, line,
                      "%s is %.17g, not %.17g", what, actual, expected);
}

#ifdef PYTHEUS_ERRORS
#define CHECK_ERR(actual, expected)                                                                \
    check_err((int)(actual), (int)(expected), #actual, __FILE__, __LINE__)

static inline bool check_err(int actual, int expected, const char *what, const char *file,
                             int line) {
    return check_that(actual == expected, file, line, "%s is %s (%d), not %s (%d)", what,
                      pytheus_err_name((pytheus_err)actual), actual,
                      pytheus_err_name((pytheus_err)expected), expected);
}
#endif

static inline void check_say_skipped(const char *reason) {
    printf("SKIPPED %s: %s\n", check_running, reason);
    fflush(stdout);
    check_skipped = true;
}

/* A skip is a failure where CI=true: there everything that a test needs has to be present. */
static inline void check_skip(const char *reason) {
    const char *ci = getenv("CI");
    check_say_skipped(reason);
    if (ci && !strcmp(ci, "true"))
        check_num_failed++;
}

/* splitmix64: the same numbers everywhere for the same first state. */
static inline uint64_t check_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A test that checks nothing fails: it would pass whatever the library does. */
static inline bool check_run(const check_test *test) {
    check_running = test->name;
    check_skipped = false;
    check_num_done = check_num_failed = 0;
    test->run();
    if (!check_num_done && !check_skipped)
        check_that(false, test->file, test->line, "the test checks nothing");
    return !check_num_failed;
}

int main(int argc, char **argv) {
    int num_passed = 0, num_failed = 0, num_skipped = 0;
    for (check_test *test = check_tests; test; test = test->next) {
        if (argc > 1 && !strstr(test->name, argv[1]))
            continue;
        if (!check_run(test))
            num_failed++;
        else if (check_skipped)
            num_skipped++;
        else
            num_passed++;
    }
    printf("%d passed, %d failed\n", num_passed, num_failed);
    return num_failed || num_passed + num_skipped == 0;
}

#endif
