/* expect.h: checks of a program that main ends with `return num_failed != 0`. C99 and C++11. */
#ifndef EXPECT_H
#define EXPECT_H

#include <stdbool.h>
#include <stdio.h>

#define EXPECT(condition) expect((condition) ? true : false, #condition, __FILE__, __LINE__)

/* C99 has no static_assert. */
#define EXPECT_WHEN_COMPILING(name, condition) typedef char expect_##name[(condition) ? 1 : -1]

/* What a struct of zeros is initialised with. */
#ifdef __cplusplus
#define EMPTY                                                                                      \
    {}
#else
#define EMPTY                                                                                      \
    { 0 }
#endif

static int num_failed;

static inline bool expect(bool holds, const char *what, const char *file, int line) {
    if (!holds) {
        printf("%s:%d: %s\n", file, line, what);
        num_failed++;
    }
    return holds;
}

#endif
