/* sanitizers.h: whether a test is built with one, for those that have less time or memory for
 * themselves then, or that it can't run. C99 and C++11, GCC and Clang. */
#ifndef SANITIZERS_H
#define SANITIZERS_H

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#elif __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#if defined(UNDER_TSAN) || defined(UNDER_ASAN)
#define IS_SANITIZED 1
#else
#define IS_SANITIZED 0
#endif

#endif
