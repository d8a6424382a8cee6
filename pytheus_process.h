/* pytheus_process.h - what a process takes, on the page of pytheus.h

   Do this:

       #define PYTHEUS_PROCESS_IMPLEMENTATION
       #include "pytheus_process.h"

   in *one* C or C++ file, which makes the implementation, and include it plainly everywhere else.
   Somewhere there is the implementation of pytheus.h. Needs nothing else.
   This comment is the manual; the licence is in LICENSE.


   1. A PROGRAM

       pytheus_process_register(NULL);

   puts on the page of the default registry, as every Prometheus client names them:

       process_cpu_seconds_total           counter   user and system time
       process_open_fds                    gauge     descriptors, without those that looking takes
       process_max_fds                     gauge     its limit; +Inf: none
       process_virtual_memory_bytes        gauge
       process_virtual_memory_max_bytes    gauge     its limit; +Inf: none
       process_resident_memory_bytes       gauge
       process_heap_bytes                  gauge     what malloc has from the system
       process_start_time_seconds          gauge     since 1970
       process_threads                     gauge
       c_info                              info      compiler, standard, libc, pytheus

   .registry in a description names another registry. pytheus_registry_remove_collector(registry,
   "process") takes all of them away.

   Values are read when the page is written, from the process that writes it: a forked child shows
   its own. What can't be had is left out, and never 0 or -1 instead.


   2. SEVERAL PROCESSES, ONE PAGE

   Where the registry's backend tells which processes share it, the page has the values of all of
   them, each with a label, process_open_fds{pid="4711"}, whoever writes it. What a process can tell
   of itself alone is left out then: process_heap_bytes, and the descriptors of another user's
   process; where /proc is that of another PID namespace, the other processes. c_info is that of the
   writer.

   .pid_label gives the label to a process that is alone on its page, for what brings several such
   pages together.


   3. PLATFORMS

   Linux: all, from /proc, which must be there. CPU time is told in ticks (10 ms), as other clients
   do. process_heap_bytes with glibc 2.33 or later, if malloc is glibc's, which looks at the free
   pieces of its heap one by one: 200,000 of them take 35 ms, in which other threads' allocations
   wait. .no_heap does without.

   Other POSIX systems (the BSDs, macOS): process_cpu_seconds_total, process_max_fds and, where
   there is RLIMIT_AS, process_virtual_memory_max_bytes, of the writer alone; c_info. Not the
   others.

   Windows: c_info alone.


   4. OPTIONS

   PYTHEUS_STATIC, PYTHEUS_API, PYTHEUS_DISABLE   as in pytheus.h */

#include "pytheus.h"

#if defined(PYTHEUS_STATIC) && !defined(PYTHEUS_PROCESS_IMPLEMENTATION)
#define PYTHEUS_PROCESS_IMPLEMENTATION
#endif

#ifndef PYTHEUS_PROCESS_H
#define PYTHEUS_PROCESS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Zero means the default. Read during the call only. */
typedef struct pytheus_process_desc {
    pytheus_registry *registry PYTHEUS__ZERO; /* NULL: pytheus_default() */
    bool pid_label PYTHEUS__ZERO;             /* also where the page is this process's alone */
    bool no_heap PYTHEUS__ZERO;               /* without process_heap_bytes */
} pytheus_process_desc;

/* Adds the collector "process" to the registry; desc may be NULL. Any thread; allocates. DUPLICATE:
   it is there already, or a metric has one of its names; NOMEM. Then nothing has changed. */
#ifndef PYTHEUS_DISABLE
PYTHEUS_API pytheus_err pytheus_process_register(const pytheus_process_desc *desc);
#else
static inline PYTHEUS__UNUSED pytheus_err
pytheus_process_register(const pytheus_process_desc *desc) {
    (void)desc;
    return PYTHEUS_OK;
}
#endif

#ifdef __cplusplus
} /* extern "C" */

inline pytheus_err pytheus_process_register(const pytheus_process_desc &desc) {
    return pytheus_process_register(&desc);
}
#endif

#endif /* PYTHEUS_PROCESS_H */

#if defined(PYTHEUS_PROCESS_IMPLEMENTATION) && !defined(PYTHEUS__PROCESS_IMPLEMENTED)
#define PYTHEUS__PROCESS_IMPLEMENTED
#ifndef PYTHEUS_DISABLE

#include <math.h>
#include <stdlib.h>
#include <string.h>
#ifndef _WIN32
#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>
#endif
#if defined(__GLIBC__) && !defined(__UCLIBC__)
#include <gnu/libc-version.h>
#if __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#define PYTHEUS__PROCESS_HAS_HEAP
#endif
#endif

enum {
    PYTHEUS__PROCESS_CPU,
    PYTHEUS__PROCESS_OPEN_FDS,
    PYTHEUS__PROCESS_MAX_FDS,
    PYTHEUS__PROCESS_VIRTUAL,
    PYTHEUS__PROCESS_MAX_VIRTUAL,
    PYTHEUS__PROCESS_RESIDENT,
    PYTHEUS__PROCESS_HEAP,
    PYTHEUS__PROCESS_START,
    PYTHEUS__PROCESS_THREADS,
    PYTHEUS__PROCESS_NUM
};

/* Names and help texts are those of https://prometheus.io/docs/instrumenting/writing_clientlibs. */
static const pytheus_family pytheus__process_families[PYTHEUS__PROCESS_NUM] = {
    {PYTHEUS_COUNTER, "process_cpu_seconds_total",
     "Total user and system CPU time spent in seconds.", "seconds"},
    {PYTHEUS_GAUGE, "process_open_fds", "Number of open file descriptors.", NULL},
    {PYTHEUS_GAUGE, "process_max_fds", "Maximum number of open file descriptors.", NULL},
    {PYTHEUS_GAUGE, "process_virtual_memory_bytes", "Virtual memory size in bytes.", "bytes"},
    {PYTHEUS_GAUGE, "process_virtual_memory_max_bytes",
     "Maximum amount of virtual memory available in bytes.", "bytes"},
    {PYTHEUS_GAUGE, "process_resident_memory_bytes", "Resident memory size in bytes.", "bytes"},
    {PYTHEUS_GAUGE, "process_heap_bytes", "Process heap size in bytes.", "bytes"},
    {PYTHEUS_GAUGE, "process_start_time_seconds",
     "Start time of the process since unix epoch in seconds.", "seconds"},
    {PYTHEUS_GAUGE, "process_threads", "Number of OS threads in the process.", NULL},
};

typedef struct pytheus__process {
    int64_t pid;                         /* 0: this one, without a label */
    double values[PYTHEUS__PROCESS_NUM]; /* below 0: not known */
} pytheus__process;

#ifndef _WIN32
static bool pytheus__process_is_own(const pytheus__process *process) {
    return !process->pid || process->pid == (int64_t)getpid();
}
#endif

#ifdef __linux__
/* /proc/self/stat, or that of another process. */
static void pytheus__process_path(const pytheus__process *process, const char *name,
                                  char path[64]) {
    if (pytheus__process_is_own(process)) {
        (void)snprintf(path, 64, "/proc/self/%s", name);
    } else {
        (void)snprintf(path, 64, "/proc/%ld/%s", (long)process->pid, name);
    }
}

/* The beginning of the file, all of it where it is not long; "" where it can't be read. */
static void pytheus__process_read(const pytheus__process *process, const char *name, char *text,
                                  size_t size) {
    char path[64];
    FILE *file;
    size_t n = 0;
    pytheus__process_path(process, name, path);
    file = fopen(path, "re");
    if (file) {
        n = fread(text, 1, size - 1, file);
        (void)fclose(file);
    }
    text[n] = '\0';
}

/* Where /proc is that of another PID namespace, its numbers are other processes. */
static bool pytheus__process_may_be_read(const pytheus__process *process) {
    pytheus__process own;
    char text[32];
    if (pytheus__process_is_own(process)) {
        return true;
    }
    own.pid = 0;
    pytheus__process_read(&own, "stat", text, sizeof text);
    return strtoll(text, NULL, 10) == (int64_t)getpid();
}

/* When the system began, in seconds since 1970; below 0: not known. Read each time, because it
   moves when the clock is set. */
static double pytheus__process_boot_time(void) {
    char line[256];
    double time = -1;
    FILE *file = fopen("/proc/stat", "re");
    while (file && time < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, "btime ", 6) == 0) {
            time = (double)strtoull(line + 6, NULL, 10);
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return time;
}

/* Fields are counted as in proc(5), from 1. The second is a name of any characters, in parentheses;
   behind the last of those there are only numbers. */
enum { PYTHEUS__STAT_LAST_FIELD = 24 };

static bool pytheus__process_fields(const char *text, double *fields) {
    const char *at = strrchr(text, ')');
    int i;
    at = at ? strchr(at, ' ') : NULL; /* before the third, a letter */
    for (i = 4; at && i <= PYTHEUS__STAT_LAST_FIELD; i++) {
        at = strchr(at + 1, ' ');
        fields[i] = at ? (double)strtoll(at + 1, NULL, 10) : 0;
    }
    return at != NULL;
}

static void pytheus__process_look_at_stat(pytheus__process *process) {
    double fields[PYTHEUS__STAT_LAST_FIELD + 1], *values = process->values;
    double ticks = (double)sysconf(_SC_CLK_TCK), boot_time = pytheus__process_boot_time();
    char text[2048];
    pytheus__process_read(process, "stat", text, sizeof text);
    if (ticks <= 0 || !pytheus__process_fields(text, fields)) {
        return;
    }
    values[PYTHEUS__PROCESS_CPU] = (fields[14] + fields[15]) / ticks;
    values[PYTHEUS__PROCESS_THREADS] = fields[20];
    if (boot_time >= 0) {
        values[PYTHEUS__PROCESS_START] = boot_time + fields[22] / ticks;
    }
    if (fields[23] > 0) { /* 0 when its first thread has ended, and others go on */
        values[PYTHEUS__PROCESS_VIRTUAL] = fields[23];
        values[PYTHEUS__PROCESS_RESIDENT] = fields[24] * (double)sysconf(_SC_PAGESIZE);
    }
}

/* "Max open files            1024                 4096                 files" */
static double pytheus__process_limit(const char *text, const char *name) {
    const char *at = strstr(text, name);
    char *end;
    double limit;
    if (!at) {
        return -1;
    }
    at += strlen(name);
    at += strspn(at, " ");
    if (strncmp(at, "unlimited", 9) == 0) {
        return INFINITY;
    }
    limit = (double)strtoull(at, &end, 10);
    return end > at ? limit : -1;
}

static void pytheus__process_look_at_limits(pytheus__process *process) {
    char text[4096];
    pytheus__process_read(process, "limits", text, sizeof text);
    process->values[PYTHEUS__PROCESS_MAX_FDS] = pytheus__process_limit(text, "\nMax open files ");
    process->values[PYTHEUS__PROCESS_MAX_VIRTUAL] =
        pytheus__process_limit(text, "\nMax address space ");
}

static void pytheus__process_count_fds(pytheus__process *process) {
    char path[64];
    size_t n = 0;
    DIR *folder;
    const struct dirent *entry;
    pytheus__process_path(process, "fd", path);
    folder = opendir(path);
    if (!folder) {
        return;
    }
    while ((entry = readdir(folder)) != NULL) {
        n += entry->d_name[0] != '.';
    }
    (void)closedir(folder);
    if (n) { /* the folder of a process whose first thread has ended is empty, and others go on */
        process->values[PYTHEUS__PROCESS_OPEN_FDS] =
            (double)(n - (pytheus__process_is_own(process) ? 1 : 0)); /* the folder's own */
    }
}

static void pytheus__process_look_outside(pytheus__process *process) {
    if (pytheus__process_may_be_read(process)) {
        pytheus__process_look_at_stat(process);
        pytheus__process_look_at_limits(process);
        pytheus__process_count_fds(process);
    }
}
#elif !defined(_WIN32)
static double pytheus__process_soft_limit(const struct rlimit *limit) {
    return limit->rlim_cur == RLIM_INFINITY ? (double)INFINITY : (double)limit->rlim_cur;
}

static void pytheus__process_look_outside(pytheus__process *process) {
    double *values = process->values;
    struct rusage usage;
    struct rlimit limit;
    if (!pytheus__process_is_own(process)) {
        return;
    }
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        values[PYTHEUS__PROCESS_CPU] =
            (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
            ((double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_usec) / 1e6;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        values[PYTHEUS__PROCESS_MAX_FDS] = pytheus__process_soft_limit(&limit);
    }
#ifdef RLIMIT_AS
    if (getrlimit(RLIMIT_AS, &limit) == 0) {
        values[PYTHEUS__PROCESS_MAX_VIRTUAL] = pytheus__process_soft_limit(&limit);
    }
#endif
}
#else
static void pytheus__process_look_outside(pytheus__process *process) {
    (void)process;
}
#endif

static void pytheus__process_look(pytheus__process *process, bool with_heap) {
    int i;
    for (i = 0; i < PYTHEUS__PROCESS_NUM; i++) {
        process->values[i] = -1;
    }
    pytheus__process_look_outside(process);
#ifdef PYTHEUS__PROCESS_HAS_HEAP
    if (with_heap) {
        struct mallinfo2 info = mallinfo2();
        size_t size = info.arena + info.hblkhd;
        process->values[PYTHEUS__PROCESS_HEAP] = size ? (double)size : -1;
    }
#else
    (void)with_heap;
#endif
}

/* ==== THE PAGE ==== */

static pytheus_err pytheus__process_emit_value(pytheus_emitter *out,
                                               const pytheus__process *process, double value) {
    char pid[24];
    const char *pairs[2];
    pytheus_sample sample = PYTHEUS__EMPTY;
    memset((void *)&sample, 0, sizeof sample);
    if (process->pid) {
        (void)snprintf(pid, sizeof pid, "%ld", (long)process->pid);
        pairs[0] = "pid";
        pairs[1] = pid;
        sample.pairs = pairs;
        sample.num_strings = 2;
    }
    sample.value = value;
    return pytheus_emit_sample(out, &sample);
}

static void pytheus__process_emit(pytheus_emitter *out, const pytheus__process *processes,
                                  size_t n) {
    int i;
    size_t k;
    for (i = 0; i < PYTHEUS__PROCESS_NUM; i++) {
        bool is_begun = false;
        for (k = 0; k < n; k++) {
            double value = processes[k].values[i];
            if (value >= 0 && !is_begun) {
                (void)pytheus_emit_family(out, &pytheus__process_families[i]);
                is_begun = true;
            }
            if (value >= 0) {
                (void)pytheus__process_emit_value(out, &processes[k], value);
            }
        }
    }
}

#define PYTHEUS__PROCESS_TEXT2(x) #x
#define PYTHEUS__PROCESS_TEXT(x) PYTHEUS__PROCESS_TEXT2(x)
#define PYTHEUS__PROCESS_THREE(a, b, c)                                                            \
    PYTHEUS__PROCESS_TEXT(a) "." PYTHEUS__PROCESS_TEXT(b) "." PYTHEUS__PROCESS_TEXT(c)

static const char *pytheus__process_compiler(void) {
#if defined(__clang__)
    return "clang " PYTHEUS__PROCESS_THREE(__clang_major__, __clang_minor__, __clang_patchlevel__);
#elif defined(__GNUC__)
    return "gcc " PYTHEUS__PROCESS_THREE(__GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#else
    return "";
#endif
}

static const char *pytheus__process_standard(void) {
#if defined(__cplusplus)
    return __cplusplus > 202002L   ? "C++23"
           : __cplusplus > 201703L ? "C++20"
           : __cplusplus > 201402L ? "C++17"
           : __cplusplus > 201103L ? "C++14"
                                   : "C++11";
#else
    return __STDC_VERSION__ > 201710L   ? "C23"
           : __STDC_VERSION__ > 201112L ? "C17"
           : __STDC_VERSION__ > 199901L ? "C11"
                                        : "C99";
#endif
}

/* The one that runs, which may be younger than the one that was compiled with. */
static void pytheus__process_libc(char *text, size_t size) {
#if defined(__GLIBC__) && !defined(__UCLIBC__)
    (void)snprintf(text, size, "glibc %s", gnu_get_libc_version());
#else
    (void)snprintf(text, size, "%s", "");
#endif
}

/* A label that is "" is none. */
static void pytheus__process_emit_info(pytheus_emitter *out) {
    char libc[64];
    const char *pairs[8];
    pytheus_family family = PYTHEUS__EMPTY;
    pytheus_sample sample = PYTHEUS__EMPTY;
    memset((void *)&family, 0, sizeof family);
    family.type = PYTHEUS_INFO;
    family.name = "c_info";
    family.help = "What the program was built with, and the C library that it runs on.";
    pytheus__process_libc(libc, sizeof libc);
    pairs[0] = "compiler";
    pairs[1] = pytheus__process_compiler();
    pairs[2] = "standard";
    pairs[3] = pytheus__process_standard();
    pairs[4] = "libc";
    pairs[5] = libc;
    pairs[6] = "pytheus";
    pairs[7] = PYTHEUS_VERSION;
    memset((void *)&sample, 0, sizeof sample);
    sample.pairs = pairs;
    sample.num_strings = 8;
    sample.value = 1;
    (void)pytheus_emit_family(out, &family);
    (void)pytheus_emit_sample(out, &sample);
}

static void pytheus__process_emit_own(pytheus_emitter *out, const pytheus_process_desc *desc) {
    pytheus__process process;
    process.pid = 0;
    pytheus__process_look(&process, !desc->no_heap);
#ifndef _WIN32
    process.pid = desc->pid_label ? (int64_t)getpid() : 0;
#endif
    pytheus__process_emit(out, &process, 1);
}

/* More may have come since they were counted: they are on the next page. */
static pytheus_err pytheus__process_emit_all(pytheus_emitter *out, pytheus_registry *registry,
                                             size_t room) {
    pytheus__process *processes = (pytheus__process *)calloc(room, sizeof *processes);
    int64_t *pids = (int64_t *)calloc(room, sizeof *pids);
    bool has_memory = processes && pids;
    size_t i, n = has_memory ? pytheus_registry_processes(registry, pids, room) : 0;
    n = n < room ? n : room;
    for (i = 0; i < n; i++) {
        processes[i].pid = pids[i];
        pytheus__process_look(&processes[i], false);
    }
    pytheus__process_emit(out, processes, n);
    free(pids);
    free(processes);
    return has_memory ? PYTHEUS_OK : pytheus_fail(PYTHEUS_ERR_NOMEM, "process: out of memory");
}

static pytheus_err pytheus__process_collect(void *user, pytheus_emitter *out) {
    const pytheus_process_desc *desc = (const pytheus_process_desc *)user;
    size_t num_processes = pytheus_registry_processes(desc->registry, NULL, 0);
    pytheus_err err = PYTHEUS_OK;
    if (num_processes) {
        err = pytheus__process_emit_all(out, desc->registry, num_processes);
    } else {
        pytheus__process_emit_own(out, desc);
    }
    pytheus__process_emit_info(out);
    return err;
}

PYTHEUS_API pytheus_err pytheus_process_register(const pytheus_process_desc *desc) {
    pytheus_process_desc *copy = (pytheus_process_desc *)calloc(1, sizeof *copy);
    pytheus_collector collector = PYTHEUS__EMPTY;
    pytheus_err err;
    if (!copy) {
        return pytheus_fail(PYTHEUS_ERR_NOMEM, "process: out of memory");
    }
    if (desc) {
        *copy = *desc;
    }
    copy->registry = copy->registry ? copy->registry : pytheus_default();
    memset((void *)&collector, 0, sizeof collector);
    collector.name = "process";
    collector.collect = pytheus__process_collect;
    collector.destroy = free;
    collector.user = copy;
    err = pytheus_registry_add_collector(copy->registry, &collector);
    if (err) {
        free(copy);
    }
    return err;
}

#endif /* PYTHEUS_DISABLE */
#endif /* PYTHEUS_PROCESS_IMPLEMENTATION */
