/* pytheus_file.h - the metrics of all processes of a service on one page

   Do this, beside the same with pytheus.h:

       #define PYTHEUS_FILE_IMPLEMENTATION
       #include "pytheus_file.h"

   in one C or C++ file. It needs POSIX: with a C library other than glibc -std=gnu99, not c99.

   Every process whose registry has this backend, on the same directory, counts in the same memory,
   mapped from a file there: an increment is the same atomic instruction as without it. A page from
   any of them shows what all have counted. Nothing runs beside them.

       pytheus_backend backend;
       pytheus_file_desc desc = {.directory = "/run/myservice"};
       if (!pytheus_file_backend(&desc, &backend)) {
           registry = pytheus_registry_new(&(pytheus_registry_desc){.backend = &backend});
       }

   or without a line in the program, for the default registry:

       PYTHEUS_BACKEND_CLASS=file PYTHEUS_BACKEND_CONFIG=metrics.json ./myservice
       metrics.json: {"pytheus_file_directory": "/run/myservice"}

   The directory must be there, be this user's or root's, and not be writable by others (a sticky
   one may be). It gets two files of mode 0600, pytheus.lock and pytheus.data. Configure it after
   descriptors are closed in bulk, as daemons do: both files must stay open, and in their place.

   FORK. Parent and child both count at once, with the handles that they have. Master and workers,
   workers that come and go, unrelated programs that start in the same directory: all the same.
   Prefork servers define their metrics in the master or in the workers, as they like. A child gets
   its own series of all gauges with .across in fork(), 20,000 of them in about 0.1 s; posix_spawn
   and vfork cost nothing.

   RESTARTS. As long as one process has the file, counters go on. The first one to come when there
   is none starts a new file: counters from 0, no stale gauges. With .keep (configuration:
   "pytheus_file_keep": true) it goes on in the old one. Processes that die, in whatever
   instruction, lose nothing that they had counted; what was theirs alone makes room for those of
   the next.

   GAUGES. The desc's .across says what processes that have a gauge each are together: one value
   that all change (PYTHEUS_SHARED), a series for each with the label "pid", or the sum, the
   smallest, the largest, the most recently set. All but the first count living processes only;
   smallest, largest and most recent only those that have set theirs, and NaN is the smallest or
   largest of nothing else. With .expire_seconds a value that nobody has changed for so long is left
   out. Both go by the clock of the system: after it was set back, older values are the most recent
   until it has caught up; after it was set forward, all expire.

   AFTER A CRASH, or at any time, pytheus_file_dump writes the page from the file; examples/dump.c
   is the tool around it. Where no process lives, it shows what the last ones left, without
   .expire_seconds: all whose death no page has noticed, and whose place nobody has taken.

   Series and metrics that only others have made are on the page, too. Where programs define a
   metric differently, say an old and a new version, each sees its own, and who has not defined it
   one of the two. max_series counts for all processes together, of gauges with .across for each.
   Removing and clearing are for all, also of what only others have made; setting a gauge to 0, as
   clearing does where there are no labels, is for the process' own. Functions of gauges and
   exemplars belong to their process.

   STRIPES. Processes and threads that add to one counter, histogram or summary all the time wait
   for each other's cache line. With .stripes = 8 in its desc its series have 8 sets of words, of 64
   bytes and more, over which they spread: each process begins at another. Who makes a series
   decides for all. Here none spreads by itself: its words would have to move, or others that go on
   adding to the old ones would have to be waited for.

   LIMITS. When the disk is full, or RLIMIT_FSIZE reached, new series live in their process alone:
   the logger is told, and pytheus_file_unshared_series counts them; what is there goes on. Where
   the file is damaged, or the program has closed its descriptors, the page has pytheus_file_damaged
   1: restart all who have it. 1,024 processes at once; a series takes up to 64 KB. Linux, with GCC
   or Clang; one machine: on file systems of a network or a cluster, or that a host shares with its
   machines, memory of files is not that of all, and they are refused: NFS, SMB, 9P, Ceph, AFS,
   Coda, NCP, Lustre, GPFS, BeeGFS, PanFS, IBRIX, OCFS2, GFS2, virtiofs, those of VirtualBox, VMware
   and Parallels, and all of FUSE, of which the system does not tell what is behind. Containers may
   share the directory, as one user. A series takes 128 bytes of the file, or more with long labels,
   of removed ones it is used again.

   Who truncates pytheus.data while it is in use ends all who count in it with SIGBUS. A process
   that opens and closes pytheus.lock itself lets go of its locks: others then take it for dead. In
   one process one copy of this library can have the file, a second is refused (Linux). When
   pytheus.lock was removed, as cleaners of old files do, nobody new is let in until all are
   restarted; when pytheus.data was, who comes next begins another file, and nobody is told. A
   process that is stopped (SIGSTOP) while it makes a series lets others wait that make or remove
   one, or join, but never those that count or write a page; nor fork(), unless a thread is just
   joining, or the child gets gauges of its own.

   Without memory all fails with PYTHEUS_ERR_NOMEM, and can be repeated. PYTHEUS_FILE_REALLOC(p,
   size) and PYTHEUS_FILE_FREE(p), defined where the implementation is, take the place of malloc's:
   all registries of a process share what is known of a file, so theirs can't be used. */

#ifndef PYTHEUS_FILE_H
#define PYTHEUS_FILE_H

#include "pytheus.h"

#if defined(PYTHEUS_STATIC) && !defined(PYTHEUS_FILE_IMPLEMENTATION)
#define PYTHEUS_FILE_IMPLEMENTATION
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct pytheus_file_desc {
    const char *directory PYTHEUS__ZERO; /* required */
    bool keep PYTHEUS__ZERO;             /* go on in the file of processes that are gone */
} pytheus_file_desc;

#ifndef PYTHEUS_DISABLE

/* The backend of the directory, to be given to a registry, which then owns it. CONFIG: no
   directory; IO: what the system said; BACKEND: the directory, or a file in it, is refused. Any
   thread; allocates. */
PYTHEUS_API pytheus_err pytheus_file_backend(const pytheus_file_desc *desc,
                                             pytheus_backend *backend);

/* Writes the page of a file, or of the one in a directory, to the sink. Writes nothing there, and
   needs no process that lives. Names are without prefixes of registries. BACKEND: it is damaged or
   not such a file; IO; what the sink returned. Any thread; reads the whole file into memory. */
PYTHEUS_API pytheus_err pytheus_file_dump(const char *path, pytheus_format format,
                                          const pytheus_sink *sink);

#else

static inline PYTHEUS__UNUSED pytheus_err pytheus_file_backend(const pytheus_file_desc *desc,
                                                               pytheus_backend *backend) {
    (void)desc;
    (void)backend;
    return PYTHEUS_OK;
}

static inline PYTHEUS__UNUSED pytheus_err pytheus_file_dump(const char *path, pytheus_format format,
                                                            const pytheus_sink *sink) {
    (void)path;
    (void)format;
    (void)sink;
    return PYTHEUS_OK;
}

#endif

#ifdef __cplusplus
}

inline pytheus_err pytheus_file_backend(const pytheus_file_desc &desc, pytheus_backend *backend) {
    return pytheus_file_backend(&desc, backend);
}
#endif

#endif /* PYTHEUS_FILE_H */

#if defined(PYTHEUS_FILE_IMPLEMENTATION) && !defined(PYTHEUS__FILE_IMPLEMENTED)
#define PYTHEUS__FILE_IMPLEMENTED
#ifndef PYTHEUS_DISABLE

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/vfs.h>
#endif

#if defined(O_NOFOLLOW) && defined(O_CLOEXEC)
#define PYTHEUS__DISK_FLAGS (O_NOFOLLOW | O_CLOEXEC)
#define PYTHEUS__DISK_DIRECTORY (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#elif defined(__GLIBC__) && defined(__O_NOFOLLOW) && !defined(__cplusplus) &&                      \
    (defined(__LP64__) || !defined(__USE_FILE_OFFSET64))
/* Strict ISO C hides what is there; offsets of 64 bits on 32 would need other names. */
#define PYTHEUS__DISK_FLAGS (__O_NOFOLLOW | __O_CLOEXEC)
#define PYTHEUS__DISK_DIRECTORY (O_RDONLY | __O_DIRECTORY | __O_CLOEXEC)
extern int openat(int directory, const char *name, int flags, ...);
extern int unlinkat(int directory, const char *name, int flags);
extern int renameat(int from_directory, const char *from, int to_directory, const char *to);
extern int fstatat(int directory, const char *name, struct stat *status, int flags);
extern int fchmod(int fd, __mode_t mode);
extern int posix_fallocate(int fd, off_t offset, off_t size);
extern ssize_t pread(int fd, void *bytes, size_t size, off_t offset);
#else
#error "pytheus_file.h needs POSIX: -std=gnu99, or _POSIX_C_SOURCE 200809L before all #includes"
#endif
#ifndef F_DUPFD_CLOEXEC
#define F_DUPFD_CLOEXEC 1030
#endif
#if defined(__linux__) && !defined(F_OFD_GETLK)
#define F_OFD_GETLK 36
#endif
#ifndef AT_SYMLINK_NOFOLLOW
#define AT_SYMLINK_NOFOLLOW 0x100
#endif
#ifndef S_ISVTX
#define S_ISVTX 01000
#endif

/* realloc(p, size) and free(p): both, or those of the system. */
#if !defined(PYTHEUS_FILE_REALLOC) && !defined(PYTHEUS_FILE_FREE)
#define PYTHEUS_FILE_REALLOC(p, size) realloc(p, size)
#define PYTHEUS_FILE_FREE(p) free(p)
#elif !defined(PYTHEUS_FILE_REALLOC) || !defined(PYTHEUS_FILE_FREE)
#error "pytheus_file.h: define both of PYTHEUS_FILE_REALLOC and PYTHEUS_FILE_FREE, or neither"
#endif

/* ==== THE FILE ==== */

/* What is in it. A line is 64 bytes. Records begin behind the header, each at a line, and follow
   each other up to where it is used; none crosses from one segment to the next. A record is a
   metric or a series: head, words, text. All that describes is checksummed; words are taken as they
   are.

   One process at a time changes more than words, under the writing lock. A record is complete
   before anybody sees it: a new one when header.used is raised, one that is used again when its
   life is no longer 0. Whoever is killed in between leaves header.is_changing behind, and the next
   to have the lock puts the lists right. */
enum {
    PYTHEUS__DISK_VERSION = 2,
    PYTHEUS__DISK_BYTE_ORDER = 0x01020304,
    PYTHEUS__DISK_LINE = 64,
    PYTHEUS__DISK_SEGMENT = 65536, /* the smallest */
    PYTHEUS__DISK_SEGMENTS = 64,
    PYTHEUS__DISK_SLOTS = 1024,
    PYTHEUS__DISK_BIRTHS = 1024,
    PYTHEUS__DISK_CLASSES = 40,
    PYTHEUS__DISK_STRIPES = 64,
    PYTHEUS__DISK_LONGEST = 1024, /* lines of a record */
    PYTHEUS__DISK_WAITING = 32,
    PYTHEUS__DISK_BATCH = PYTHEUS__DISK_BIRTHS / 2
};

#define PYTHEUS__DISK_MAGIC "pytheus\n"

typedef struct pytheus__disk_slot {
    uint64_t process; /* the number of the process that has it, or had it last */
    uint64_t pid;
} pytheus__disk_slot;

typedef struct pytheus__disk_header {
    char magic[8];
    uint32_t version, byte_order, word_size, rest;
    uint64_t id; /* random */
    double created;
    uint64_t check; /* of all above */

    uint64_t lock_inode;   /* of the lock file of those who have it */
    uint64_t used;         /* bytes, from the start of the file, times 2^24, and their checksum */
    uint64_t births;       /* how many lives of records began; the latest are in: */
    uint64_t last_life;    /* number */
    uint64_t last_process; /* number */
    uint64_t is_changing;
    uint32_t freed[PYTHEUS__DISK_CLASSES]; /* the first of each size, by line; 0: none */
    pytheus__disk_slot slots[PYTHEUS__DISK_SLOTS];
    uint32_t born[PYTHEUS__DISK_BIRTHS]; /* lines */
} pytheus__disk_header;

typedef struct pytheus__disk_record {
    uint64_t life;  /* 0: not used, or removed. No flip of one bit makes it 0 */
    uint64_t check; /* of all but words, next and size */
    uint64_t mask;
    uint32_t metric; /* the line of its metric; 0: it is one */
    uint32_t next;   /* in the list of those that can be used again */
    uint32_t size;   /* in lines; never changes */
    uint32_t size_check;
    uint16_t num_words;  /* of a stripe */
    uint8_t num_stripes; /* more than 1: words begin at the next line, and each stripe at one */
    uint8_t is_counted;  /* as one of max_series */
    uint32_t text_size;
} pytheus__disk_record;

/* Words of a gauge, and of a metric. */
enum {
    PYTHEUS__DISK_VALUE,
    PYTHEUS__DISK_CHANGED, /* a double, seconds; negative: then it was made */
    PYTHEUS__DISK_PROCESS, /* whose it is, where each has its own */
    PYTHEUS__DISK_GAUGE_WORDS,

    PYTHEUS__DISK_NUM_SERIES = 0,
    PYTHEUS__DISK_HAD_REMOVAL,
    PYTHEUS__DISK_MAX_SERIES,
    PYTHEUS__DISK_METRIC_WORDS
};

/* The text of a metric begins with this, then bounds, then strings: the name, labels, default
   values, states; up to here what tells it from others; help, unit. The text of a series is its
   values, after the slot's number where each process has its own. */
typedef struct pytheus__disk_shape {
    double expire_seconds;
    uint32_t type, across, num_labels, num_bounds, num_states;
    uint32_t has_default; /* a bit for each label */
} pytheus__disk_shape;

#define PYTHEUS__DISK_GET(word) __atomic_load_n(word, __ATOMIC_ACQUIRE)
#define PYTHEUS__DISK_PUT(word, value) __atomic_store_n(word, value, __ATOMIC_RELEASE)

/* ==== A PROCESS' VIEW OF IT ==== */

typedef struct pytheus__disk_metric {
    uint32_t line;
    pytheus__disk_record *record;
    pytheus_series_desc desc;
    pytheus_label labels[PYTHEUS_MAX_LABELS];
    const char *defaults[PYTHEUS_MAX_LABELS];
    const char *states[PYTHEUS_MAX_STATES];
    bool is_apart; /* its page is put together */
} pytheus__disk_metric;

/* A record in one of its lives. */
typedef struct pytheus__disk_ref {
    uint64_t life;
    uint32_t line;
    uint32_t hash;
} pytheus__disk_ref;

/* A list that grows. */
typedef struct pytheus__disk_refs {
    pytheus__disk_ref *at;
    size_t size, used;
} pytheus__disk_refs;

/* One file of this process, which all its registries share: its locks are the process'. */
typedef struct pytheus__disk {
    struct pytheus__disk *next; /* these are guarded by pytheus__disk_list_lock: */
    unsigned num_users;
    uint64_t device, inode; /* of the lock file */
    uint64_t data_inode;
    pthread_mutex_t writing; /* taken before the writing lock, then the next */
    pthread_mutex_t lock;    /* guards what follows */
    bool held_for_fork;
    int lock_fd, data_fd;
    char *copy; /* a file that was read, to be dumped; NULL: it is mapped */
    uint64_t size;
    char path[200]; /* for sentences */
    pytheus__disk_header *header;
    char *segments[PYTHEUS__DISK_SEGMENTS];
    uint64_t seen;      /* births */
    uint64_t last_life; /* the highest number that was met */
    bool is_damaged;
    pytheus__disk_refs index;                         /* open addressing; life 0: empty */
    pytheus__disk_ref waiting[PYTHEUS__DISK_WAITING]; /* for it, while their places are fetched */
    size_t num_waiting;
    pytheus__disk_refs apart; /* series of metrics whose page is put together */
    pytheus__disk_metric **metrics;
    size_t num_metrics, metrics_size;
    uint32_t slot; /* PYTHEUS__DISK_SLOTS: none */
    uint64_t process;
    bool has_slot_alone;                    /* what earlier processes left there has been removed */
    struct pytheus__disk_private *privates; /* those whose page is put together */
    bool *living;                           /* of a copy: by slot; NULL: nobody was */
    uint64_t unshared;                      /* series; atomic */
} pytheus__disk;

/* What a registry means by a name. */
typedef struct pytheus__disk_meaning {
    const pytheus__disk_metric *metric; /* NULL: it is not in the file */
    char *name;
} pytheus__disk_meaning;

/* The backend of one registry. */
typedef struct pytheus__disk_backend {
    pytheus__disk *file;
    uint64_t seen;                   /* births that the registry was told; atomic */
    pytheus__disk_meaning *meanings; /* by name; guarded by the file's lock */
    size_t num_meanings, meanings_size;
} pytheus__disk_backend;

/* A series that is this process' alone, followed by its words, and its text as it would be in the
   file. */
typedef struct pytheus__disk_private {
    struct pytheus__disk_private *next __attribute__((aligned(8)));
    struct pytheus__disk_private **link; /* in file->privates; NULL: it is not there */
    const pytheus__disk_metric *metric;
    size_t size; /* of the text */
    const char *text;
} pytheus__disk_private;

static pthread_mutex_t pytheus__disk_list_lock = PTHREAD_MUTEX_INITIALIZER;
static pytheus__disk *pytheus__disk_list;

static pytheus_err pytheus__disk_io(const char *path, const char *what) {
    return pytheus_fail(PYTHEUS_ERR_IO, "%.100s: %s: %s", path, what, strerror(errno));
}

static pytheus_err pytheus__disk_no_memory(const pytheus__disk *file) {
    return pytheus_fail(PYTHEUS_ERR_NOMEM, "%.100s: out of memory", file->path);
}

static pytheus_err pytheus__disk_damaged(pytheus__disk *file, const char *what) {
    file->is_damaged = true;
    return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: damaged: %s", file->path, what);
}

/* Of zeros; NULL: no memory. */
static void *pytheus__disk_alloc(size_t size) {
    void *at = PYTHEUS_FILE_REALLOC(NULL, size);
    return at ? memset(at, 0, size) : NULL;
}

static double pytheus__disk_now(void) {
    struct timeval now = {0, 0};
    (void)gettimeofday(&now, NULL);
    return (double)now.tv_sec + (double)now.tv_usec * 1e-6;
}

static uint64_t pytheus__disk_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static double pytheus__disk_real(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* -- checksums: every step can be undone, so that no change of one word goes unseen -- */

static uint64_t pytheus__disk_mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

static uint64_t pytheus__disk_mix_bytes(uint64_t hash, const void *bytes, size_t size) {
    const char *at = (const char *)bytes;
    uint64_t word;
    for (; size >= sizeof word; size -= sizeof word, at += sizeof word) {
        memcpy(&word, at, sizeof word);
        hash = pytheus__disk_mix(hash, word);
    }
    word = 0;
    memcpy(&word, at, size);
    return pytheus__disk_mix(hash, word);
}

static uint64_t pytheus__disk_header_check(const pytheus__disk_header *header) {
    return pytheus__disk_mix_bytes(1, header, offsetof(pytheus__disk_header, check));
}

/* Both in one word, which is stored at once. */
static uint64_t pytheus__disk_seal(uint64_t used) {
    return used << 24 | (pytheus__disk_mix(1, used) & 0xffffff);
}

/* Up to where the file is used; 0: that is damaged. */
static uint64_t pytheus__disk_used(const pytheus__disk_header *header) {
    uint64_t word = PYTHEUS__DISK_GET(&header->used);
    return word == pytheus__disk_seal(word >> 24) ? word >> 24 : 0;
}

static uint32_t pytheus__disk_size_check(uint32_t line, uint32_t size) {
    return (uint32_t)pytheus__disk_mix(line, size);
}

/* Where in a record things are, in bytes. */
typedef struct pytheus__disk_layout {
    size_t words, stripe, text, size;
} pytheus__disk_layout;

static pytheus__disk_layout pytheus__disk_layout_of(size_t num_words, size_t num_stripes,
                                                    size_t text_size) {
    pytheus__disk_layout layout;
    layout.words = sizeof(pytheus__disk_record);
    layout.stripe = num_words * sizeof(uint64_t);
    if (num_stripes > 1) {
        layout.words = PYTHEUS__DISK_LINE;
        layout.stripe =
            (layout.stripe + PYTHEUS__DISK_LINE - 1) / PYTHEUS__DISK_LINE * PYTHEUS__DISK_LINE;
    }
    layout.text = layout.words + num_stripes * layout.stripe;
    layout.size = layout.text + text_size;
    return layout;
}

static pytheus__disk_layout pytheus__disk_layout_in(const pytheus__disk_record *record) {
    return pytheus__disk_layout_of(record->num_words, record->num_stripes, record->text_size);
}

/* Whether all that is read through the layout is in the record: another process may have been
   changing what it is taken from. */
static bool pytheus__disk_is_inside(const pytheus__disk_record *record,
                                    const pytheus__disk_layout *layout) {
    return layout->size <= (uint64_t)record->size * PYTHEUS__DISK_LINE;
}

static uint64_t *pytheus__disk_words(pytheus__disk_record *record) {
    return (uint64_t *)(void *)((char *)record + pytheus__disk_layout_in(record).words);
}

static char *pytheus__disk_text(pytheus__disk_record *record) {
    return (char *)record + pytheus__disk_layout_in(record).text;
}

static uint64_t pytheus__disk_check(const pytheus__disk_record *record,
                                    const pytheus__disk_layout *layout, uint32_t line,
                                    uint64_t life) {
    uint64_t hash = pytheus__disk_mix(pytheus__disk_mix(line, life), record->mask);
    hash = pytheus__disk_mix(hash, (uint64_t)record->metric << 32 | record->num_words);
    hash = pytheus__disk_mix(hash, (uint64_t)record->num_stripes << 40 |
                                       (uint64_t)record->is_counted << 32 | record->text_size);
    return pytheus__disk_mix_bytes(hash, (const char *)record + layout->text,
                                   layout->size - layout->text);
}

/* -- segments: four of each size, then four of twice that -- */

static uint64_t pytheus__disk_segment_size(unsigned i) {
    return (uint64_t)PYTHEUS__DISK_SEGMENT << (i / 4);
}

static uint64_t pytheus__disk_segment_start(unsigned i) {
    return 4 * (pytheus__disk_segment_size(i) - PYTHEUS__DISK_SEGMENT) +
           i % 4 * pytheus__disk_segment_size(i);
}

static unsigned pytheus__disk_segment_of(uint64_t offset) {
    unsigned doublings = 63 - (unsigned)__builtin_clzll(offset / (4 * PYTHEUS__DISK_SEGMENT) + 1);
    uint64_t start = pytheus__disk_segment_start(4 * doublings);
    return 4 * doublings + (unsigned)((offset - start) >> (16 + doublings));
}

/* Where the first record is. */
static uint64_t pytheus__disk_first(void) {
    return (sizeof(pytheus__disk_header) + PYTHEUS__DISK_LINE - 1) / PYTHEUS__DISK_LINE *
           PYTHEUS__DISK_LINE;
}

static uint32_t pytheus__disk_first_line(void) {
    return (uint32_t)(pytheus__disk_first() / PYTHEUS__DISK_LINE);
}

/* Of a line in a segment that is mapped. */
static pytheus__disk_record *pytheus__disk_address(const pytheus__disk *file, uint32_t line) {
    uint64_t offset = (uint64_t)line * PYTHEUS__DISK_LINE;
    unsigned i = pytheus__disk_segment_of(offset);
    return (pytheus__disk_record *)(void *)(file->segments[i] +
                                            (offset - pytheus__disk_segment_start(i)));
}

/* A file that has become shorter must not be touched there. */
static pytheus_err pytheus__disk_map(pytheus__disk *file, unsigned i) {
    uint64_t start = pytheus__disk_segment_start(i), size = pytheus__disk_segment_size(i);
    struct stat status;
    void *at;
    if (file->copy) {
        return pytheus__disk_damaged(file, "it is too short");
    }
    if (fstat(file->data_fd, &status) ||
        (file->header && (uint64_t)status.st_ino != file->data_inode)) {
        return pytheus__disk_damaged(file, "the program has closed its descriptors");
    }
    if ((uint64_t)status.st_size < start + size) {
        return pytheus__disk_damaged(file, "it is too short");
    }
    file->data_inode = (uint64_t)status.st_ino;
    at = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, file->data_fd, (off_t)start);
    if (at == MAP_FAILED) {
        return errno == ENOMEM ? pytheus__disk_no_memory(file)
                               : pytheus__disk_io(file->path, "mmap");
    }
    file->segments[i] = (char *)at;
    return PYTHEUS_OK;
}

/* The record that begins at a line below the end, if its size is whole. */
static pytheus_err pytheus__disk_find_record(pytheus__disk *file, uint32_t line, uint64_t end,
                                             pytheus__disk_record **record) {
    uint64_t offset = (uint64_t)line * PYTHEUS__DISK_LINE, start;
    pytheus_err err = PYTHEUS_OK;
    unsigned i;
    if (offset < pytheus__disk_first() || offset >= end) {
        return pytheus__disk_damaged(file, "a record is not in it");
    }
    i = pytheus__disk_segment_of(offset);
    if (i >= PYTHEUS__DISK_SEGMENTS) {
        return pytheus__disk_damaged(file, "it is too long");
    }
    err = file->segments[i] ? PYTHEUS_OK : pytheus__disk_map(file, i);
    if (err) {
        return err;
    }
    start = pytheus__disk_segment_start(i);
    *record = pytheus__disk_address(file, line);
    if (!(*record)->size ||
        (*record)->size_check != pytheus__disk_size_check(line, (*record)->size) ||
        (uint64_t)(*record)->size * PYTHEUS__DISK_LINE >
            start + pytheus__disk_segment_size(i) - offset) {
        return pytheus__disk_damaged(file, "the size of a record");
    }
    return PYTHEUS_OK;
}

/* NULL: an error. */
static pytheus__disk_record *pytheus__disk_record_at(pytheus__disk *file, uint32_t line,
                                                     uint64_t end) {
    pytheus__disk_record *record;
    return pytheus__disk_find_record(file, line, end, &record) ? NULL : record;
}

/* ThreadSanitizer knows no fences; other processes it does not see anyway. */
#ifndef __SANITIZE_THREAD__
#define PYTHEUS__DISK_FENCE(order) __atomic_thread_fence(order)
#else
#define PYTHEUS__DISK_FENCE(order) (void)(order)
#endif

/* The life that the record is in when all that was read of it before has been read. */
static uint64_t pytheus__disk_life_after(pytheus__disk_record *record) {
    PYTHEUS__DISK_FENCE(__ATOMIC_ACQUIRE);
    return PYTHEUS__DISK_GET(&record->life);
}

typedef enum pytheus__disk_state {
    PYTHEUS__DISK_ALIVE,
    PYTHEUS__DISK_DEAD, /* or just being made */
    PYTHEUS__DISK_BAD
} pytheus__disk_state;

/* What a record is; another process may be changing it. */
static pytheus__disk_state pytheus__disk_state_of(pytheus__disk_record *record, uint32_t line,
                                                  uint64_t *life) {
    pytheus__disk_layout layout;
    bool is_whole;
    *life = PYTHEUS__DISK_GET(&record->life);
    if (!*life) {
        return PYTHEUS__DISK_DEAD;
    }
    layout = pytheus__disk_layout_in(record);
    is_whole = pytheus__disk_is_inside(record, &layout) &&
               pytheus__disk_check(record, &layout, line, *life) == record->check;
    if (pytheus__disk_life_after(record) != *life) {
        return PYTHEUS__DISK_DEAD;
    }
    return is_whole ? PYTHEUS__DISK_ALIVE : PYTHEUS__DISK_BAD;
}

/* -- metrics as they are described -- */

typedef struct pytheus__disk_reader {
    const char *at, *end;
} pytheus__disk_reader;

/* NULL: there is no whole string. */
static const char *pytheus__disk_read_string(pytheus__disk_reader *in) {
    const char *string = in->at;
    const char *end =
        in->at < in->end ? (const char *)memchr(in->at, 0, (size_t)(in->end - in->at)) : NULL;
    if (!end) {
        in->at = in->end;
        return NULL;
    }
    in->at = end + 1;
    return string;
}

static size_t pytheus__disk_num_words(const pytheus_series_desc *desc) {
    return desc->type == PYTHEUS_HISTOGRAM                                  ? desc->num_bounds + 2
           : desc->type == PYTHEUS_COUNTER || desc->type == PYTHEUS_SUMMARY ? 2
                                                                            : 1;
}

static bool pytheus__disk_read_shape(pytheus__disk_metric *metric, pytheus__disk_reader *in) {
    pytheus_series_desc *desc = &metric->desc;
    pytheus__disk_shape shape;
    if ((size_t)(in->end - in->at) < sizeof shape) {
        return false;
    }
    memcpy(&shape, in->at, sizeof shape);
    in->at += sizeof shape;
    if (shape.type < PYTHEUS_COUNTER || shape.type > PYTHEUS_SUMMARY ||
        shape.across > PYTHEUS_MOST_RECENT || shape.num_labels > PYTHEUS_MAX_LABELS ||
        shape.num_states > PYTHEUS_MAX_STATES ||
        shape.num_bounds > (size_t)(in->end - in->at) / sizeof(double)) {
        return false;
    }
    desc->type = (pytheus_type)shape.type;
    desc->across = (pytheus_across)shape.across;
    desc->expire_seconds = shape.expire_seconds;
    desc->num_labels = shape.num_labels;
    desc->num_bounds = shape.num_bounds;
    desc->num_states = shape.num_states;
    desc->bounds = (const double *)(const void *)in->at;
    in->at += shape.num_bounds * sizeof(double);
    for (size_t i = 0; i < shape.num_labels; i++) {
        metric->defaults[i] = shape.has_default >> i & 1 ? "" : NULL;
    }
    return true;
}

/* Fills in what points into the record, which stays as it is as long as the file. */
static bool pytheus__disk_read_metric(pytheus__disk_metric *metric) {
    pytheus_series_desc *desc = &metric->desc;
    pytheus__disk_reader in;
    bool is_whole;
    size_t i;
    in.at = pytheus__disk_text(metric->record);
    in.end = in.at + metric->record->text_size;
    if (metric->record->num_words != PYTHEUS__DISK_METRIC_WORDS ||
        metric->record->num_stripes != 1 || !pytheus__disk_read_shape(metric, &in)) {
        return false;
    }
    desc->metric = pytheus__disk_read_string(&in);
    is_whole = desc->metric != NULL;
    for (i = 0; i < desc->num_labels; i++) {
        metric->labels[i].name = pytheus__disk_read_string(&in);
        is_whole &= metric->labels[i].name != NULL;
    }
    for (i = 0; i < desc->num_labels; i++) {
        if (metric->defaults[i]) {
            metric->defaults[i] = pytheus__disk_read_string(&in);
            is_whole &= metric->defaults[i] != NULL;
        }
    }
    for (i = 0; i < desc->num_states; i++) {
        metric->states[i] = pytheus__disk_read_string(&in);
        is_whole &= metric->states[i] != NULL;
    }
    desc->help = pytheus__disk_read_string(&in);
    desc->unit = pytheus__disk_read_string(&in);
    desc->labels = metric->labels;
    desc->defaults = metric->defaults;
    desc->states = metric->states;
    desc->num_words = pytheus__disk_num_words(desc);
    metric->is_apart = desc->across != PYTHEUS_SHARED || desc->expire_seconds > 0;
    return is_whole && desc->help && desc->unit && in.at == in.end;
}

static pytheus__disk_metric *pytheus__disk_metric_at(const pytheus__disk *file, uint32_t line) {
    size_t low = 0, high = file->num_metrics;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->metrics[middle]->line < line) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < file->num_metrics && file->metrics[low]->line == line ? file->metrics[low] : NULL;
}

/* Whether a series' text is as many values as its metric has labels; they become those of labels,
   if they are wanted. */
static bool pytheus__disk_read_values(const pytheus__disk_metric *metric, const char *text,
                                      size_t size, pytheus_label *labels) {
    pytheus__disk_reader in;
    bool is_whole = true;
    size_t i;
    in.at = text;
    in.end = text + size;
    if (metric->desc.across != PYTHEUS_SHARED) {
        is_whole = size >= sizeof(uint32_t);
        in.at += is_whole ? sizeof(uint32_t) : 0;
    }
    for (i = 0; i < metric->desc.num_labels; i++) {
        const char *value = pytheus__disk_read_string(&in);
        is_whole &= value != NULL;
        if (labels) {
            labels[i].name = metric->labels[i].name;
            labels[i].value = value;
        }
    }
    return is_whole && in.at == in.end;
}

static bool pytheus__disk_is_gauge(pytheus_type type) {
    return type != PYTHEUS_COUNTER && type != PYTHEUS_HISTOGRAM && type != PYTHEUS_SUMMARY;
}

static size_t pytheus__disk_record_words(const pytheus_series_desc *desc) {
    return pytheus__disk_is_gauge(desc->type) ? (size_t)PYTHEUS__DISK_GAUGE_WORDS : desc->num_words;
}

static bool pytheus__disk_may_have(const pytheus_series_desc *desc, size_t num_stripes) {
    return num_stripes == 1 || (num_stripes && num_stripes <= PYTHEUS__DISK_STRIPES &&
                                !pytheus__disk_is_gauge(desc->type));
}

/* The slot with which the text of a series begins that its process has for itself. */
static uint32_t pytheus__disk_slot_of(const char *text) {
    uint32_t slot;
    memcpy(&slot, text, sizeof slot);
    return slot;
}

/* -- the index: what there is, by metric and text -- */

static bool pytheus__disk_refs_grow(pytheus__disk_refs *refs, size_t size) {
    pytheus__disk_ref *at = (pytheus__disk_ref *)pytheus__disk_alloc(size * sizeof *at);
    if (!at) {
        return false;
    }
    PYTHEUS_FILE_FREE(refs->at);
    refs->at = at;
    refs->size = size;
    refs->used = 0;
    return true;
}

/* Whether the record still is in that life. */
static bool pytheus__disk_is_current(pytheus__disk *file, const pytheus__disk_ref *ref) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref->line, UINT64_MAX);
    return record && PYTHEUS__DISK_GET(&record->life) == ref->life;
}

/* Where the record in this life is, or can be put. */
static pytheus__disk_ref *pytheus__disk_index_place(pytheus__disk_refs *index,
                                                    pytheus__disk_ref ref) {
    size_t i = ref.hash & (index->size - 1);
    while (index->at[i].life && (index->at[i].life != ref.life || index->at[i].line != ref.line)) {
        i = (i + 1) & (index->size - 1);
    }
    return &index->at[i];
}

static void pytheus__disk_index_put(pytheus__disk_refs *index, pytheus__disk_ref ref) {
    pytheus__disk_ref *place = pytheus__disk_index_place(index, ref);
    index->used += !place->life;
    *place = ref;
}

/* Makes room, or leaves out those that are gone. */
static bool pytheus__disk_index_rebuild(pytheus__disk *file) {
    pytheus__disk_refs old = file->index, fresh = {NULL, 0, 0};
    size_t i, num_current = 0;
    for (i = 0; i < old.size; i++) {
        num_current += old.at[i].life && pytheus__disk_is_current(file, &old.at[i]);
    }
    if (!pytheus__disk_refs_grow(&fresh, old.size && num_current < old.size / 4 ? old.size
                                         : old.size                             ? old.size * 2
                                                                                : 256)) {
        return false;
    }
    for (i = 0; i < old.size; i++) {
        if (old.at[i].life && pytheus__disk_is_current(file, &old.at[i])) {
            pytheus__disk_index_put(&fresh, old.at[i]);
        }
    }
    PYTHEUS_FILE_FREE(old.at);
    file->index = fresh;
    return true;
}

/* Room for what a file of this size may have: growing would look at everything again. */
static bool pytheus__disk_index_reserve(pytheus__disk *file, uint64_t bytes) {
    uint64_t most = bytes / (2 * PYTHEUS__DISK_LINE) + 128;
    size_t size = 256;
    while (size < 2 * most) {
        size *= 2;
    }
    return pytheus__disk_refs_grow(&file->index, size);
}

/* Series that are put together are also listed on their own. */
static bool pytheus__disk_apart_put(pytheus__disk *file, pytheus__disk_ref ref) {
    pytheus__disk_refs *apart = &file->apart;
    size_t i, kept = 0;
    for (i = 0; apart->used == apart->size && i < apart->used; i++) {
        if (pytheus__disk_is_current(file, &apart->at[i])) {
            apart->at[kept++] = apart->at[i];
        }
    }
    apart->used = apart->used == apart->size ? kept : apart->used;
    if (apart->used > apart->size / 2 || !apart->size) {
        size_t size = apart->size ? 2 * apart->size : 64;
        pytheus__disk_ref *at =
            (pytheus__disk_ref *)PYTHEUS_FILE_REALLOC(apart->at, size * sizeof *at);
        if (!at) {
            return false;
        }
        apart->at = at;
        apart->size = size;
    }
    apart->at[apart->used++] = ref;
    return true;
}

static uint32_t pytheus__disk_hash(const pytheus__disk *file, uint32_t metric, const char *text,
                                   size_t size) {
    return (uint32_t)pytheus__disk_mix_bytes(file->header->id ^ metric, text, size);
}

/* Up to where the text of a metric tells it from others. */
static size_t pytheus__disk_identity_size(const pytheus__disk_metric *metric) {
    return (size_t)(metric->desc.help - pytheus__disk_text(metric->record));
}

static pytheus_err pytheus__disk_metrics_put(pytheus__disk *file, pytheus__disk_metric *metric) {
    size_t place = file->num_metrics;
    if (file->num_metrics == file->metrics_size) {
        size_t size = file->metrics_size ? 2 * file->metrics_size : 16;
        pytheus__disk_metric **metrics = (pytheus__disk_metric **)PYTHEUS_FILE_REALLOC(
            (void *)file->metrics, size * sizeof *metrics);
        if (!metrics) {
            return pytheus__disk_no_memory(file);
        }
        file->metrics = metrics;
        file->metrics_size = size;
    }
    for (; place && file->metrics[place - 1]->line > metric->line; place--) {
        file->metrics[place] = file->metrics[place - 1];
    }
    file->metrics[place] = metric;
    file->num_metrics++;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__disk_index_metric(pytheus__disk *file, pytheus__disk_record *record,
                                              pytheus__disk_ref *ref) {
    pytheus__disk_metric *metric = pytheus__disk_metric_at(file, ref->line);
    pytheus_err err = PYTHEUS_OK;
    if (!metric) {
        metric = (pytheus__disk_metric *)pytheus__disk_alloc(sizeof *metric);
        if (!metric) {
            return pytheus__disk_no_memory(file);
        }
        metric->line = ref->line;
        metric->record = record;
        if (!pytheus__disk_read_metric(metric)) {
            err = pytheus__disk_damaged(file, "a metric");
        }
        err = err ? err : pytheus__disk_metrics_put(file, metric);
        if (err) {
            PYTHEUS_FILE_FREE(metric);
            return err;
        }
    }
    ref->hash = pytheus__disk_hash(file, 0, pytheus__disk_text(record),
                                   pytheus__disk_identity_size(metric));
    return PYTHEUS_OK;
}

/* Indexes the metric at a line, which may lie behind a series of it that took the place of another,
   or be younger than what is being visited. */
static pytheus_err pytheus__disk_learn_metric(pytheus__disk *file, uint32_t line,
                                              const pytheus__disk_metric **metric) {
    pytheus__disk_ref ref = {0, line, 0};
    pytheus__disk_record *record;
    pytheus_err err;
    *metric = pytheus__disk_metric_at(file, line);
    if (*metric) {
        return PYTHEUS_OK;
    }
    err = pytheus__disk_find_record(file, line, pytheus__disk_used(file->header), &record);
    if (err) {
        return err;
    }
    if (record->metric || pytheus__disk_state_of(record, line, &ref.life) != PYTHEUS__DISK_ALIVE) {
        return pytheus__disk_damaged(file, "a series without a metric");
    }
    err = pytheus__disk_index_metric(file, record, &ref);
    *metric = pytheus__disk_metric_at(file, line);
    return err;
}

/* A series whose text has changed meanwhile will be born again. */
static pytheus_err pytheus__disk_index_series(pytheus__disk *file, pytheus__disk_record *record,
                                              pytheus__disk_ref *ref) {
    uint32_t line = record->metric;
    pytheus__disk_layout layout = pytheus__disk_layout_in(record);
    const char *text = (const char *)record + layout.text;
    size_t size = layout.size - layout.text;
    const pytheus__disk_metric *metric;
    pytheus_err err = pytheus__disk_learn_metric(file, line, &metric);
    bool is_whole = !err && record->num_words == pytheus__disk_record_words(&metric->desc) &&
                    pytheus__disk_may_have(&metric->desc, record->num_stripes) &&
                    pytheus__disk_is_inside(record, &layout) &&
                    pytheus__disk_read_values(metric, text, size, NULL) &&
                    (metric->desc.across == PYTHEUS_SHARED ||
                     pytheus__disk_slot_of(text) < PYTHEUS__DISK_SLOTS);
    ref->hash = is_whole ? pytheus__disk_hash(file, line, text, size) : 0;
    if (pytheus__disk_life_after(record) != ref->life) {
        ref->life = 0;
        return PYTHEUS_OK;
    }
    return err || is_whole ? err : pytheus__disk_damaged(file, "a series");
}

/* What is done with each record that began to live. */
typedef pytheus_err (*pytheus__disk_visit)(pytheus__disk *file, pytheus__disk_record *record,
                                           pytheus__disk_ref ref, void *user);

static bool pytheus__disk_index_has_room(pytheus__disk *file) {
    return file->index.used < file->index.size / 2 || pytheus__disk_index_rebuild(file);
}

static pytheus_err pytheus__disk_index_one(pytheus__disk *file, pytheus__disk_ref ref) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref.line, UINT64_MAX);
    const pytheus__disk_metric *metric =
        record && record->metric ? pytheus__disk_metric_at(file, record->metric) : NULL;
    if (!pytheus__disk_index_has_room(file)) {
        return pytheus__disk_no_memory(file);
    }
    if (pytheus__disk_index_place(&file->index, ref)->life) {
        return PYTHEUS_OK;
    }
    if (metric && metric->is_apart && !pytheus__disk_apart_put(file, ref)) {
        return pytheus__disk_no_memory(file);
    }
    pytheus__disk_index_put(&file->index, ref);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__disk_index_waiting(pytheus__disk *file) {
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; i < file->num_waiting && !err; i++) {
        err = pytheus__disk_index_one(file, file->waiting[i]);
    }
    file->num_waiting = 0;
    return err;
}

static pytheus_err pytheus__disk_index_record(pytheus__disk *file, pytheus__disk_record *record,
                                              pytheus__disk_ref ref, void *user) {
    pytheus_err err = record->metric ? pytheus__disk_index_series(file, record, &ref)
                                     : pytheus__disk_index_metric(file, record, &ref);
    (void)user;
    if (err || !ref.life) {
        return err;
    }
    file->last_life = ref.life >> 2 > file->last_life ? ref.life >> 2 : file->last_life;
    if (file->index.size) {
        __builtin_prefetch(&file->index.at[ref.hash & (file->index.size - 1)]);
    }
    file->waiting[file->num_waiting++] = ref;
    return file->num_waiting == PYTHEUS__DISK_WAITING ? pytheus__disk_index_waiting(file)
                                                      : PYTHEUS_OK;
}

/* What is collected, for a user, was checked when it was indexed. */
static pytheus_err pytheus__disk_visit_line(pytheus__disk *file, uint32_t line, uint64_t end,
                                            pytheus__disk_visit visit, void *user, uint32_t *next) {
    pytheus__disk_record *record;
    pytheus__disk_ref ref = {0, line, 0};
    pytheus__disk_state state;
    pytheus_err err = pytheus__disk_find_record(file, line, end, &record);
    if (err) {
        return err;
    }
    *next = line + record->size;
    if (user) {
        ref.life = PYTHEUS__DISK_GET(&record->life);
        state = ref.life ? PYTHEUS__DISK_ALIVE : PYTHEUS__DISK_DEAD;
    } else {
        state = pytheus__disk_state_of(record, line, &ref.life);
    }
    if (state == PYTHEUS__DISK_BAD) {
        return pytheus__disk_damaged(file, "a record");
    }
    return state == PYTHEUS__DISK_ALIVE ? visit(file, record, ref, user) : PYTHEUS_OK;
}

/* Visits up to so many records from a line on, which becomes the next. */
static pytheus_err pytheus__disk_visit_some(pytheus__disk *file, pytheus__disk_visit visit,
                                            void *user, uint64_t end, size_t most, uint32_t *line) {
    pytheus_err err = PYTHEUS_OK, late;
    while (!err && most-- && (uint64_t)*line * PYTHEUS__DISK_LINE < end) {
        err = pytheus__disk_visit_line(file, *line, end, visit, user, line);
    }
    late = pytheus__disk_index_waiting(file);
    return err ? err : late;
}

static pytheus_err pytheus__disk_visit_all(pytheus__disk *file, pytheus__disk_visit visit,
                                           void *user) {
    uint64_t end = pytheus__disk_used(file->header);
    uint32_t line = pytheus__disk_first_line();
    pytheus_err err = pytheus__disk_visit_some(file, visit, user, end, SIZE_MAX, &line);
    if (!err && (uint64_t)line * PYTHEUS__DISK_LINE != end) {
        err = pytheus__disk_damaged(file, "its end");
    }
    return err;
}

/* Visits what was born after the first so many. *is_all becomes true where all that lives has to be
   visited instead: those that are still known are too few. */
static pytheus_err pytheus__disk_visit_born(pytheus__disk *file, uint64_t seen, uint64_t births,
                                            pytheus__disk_visit visit, void *user, bool *is_all) {
    pytheus_err err = PYTHEUS_OK, late;
    uint32_t next;
    uint64_t i;
    *is_all = births - seen > PYTHEUS__DISK_BATCH;
    for (i = seen; !*is_all && !err && i != births; i++) {
        uint32_t line = PYTHEUS__DISK_GET(&file->header->born[i % PYTHEUS__DISK_BIRTHS]);
        err = pytheus__disk_visit_line(file, line, pytheus__disk_used(file->header), visit, user,
                                       &next);
    }
    late = pytheus__disk_index_waiting(file);
    err = err ? err : late;
    /* Some may have been overwritten while they were read. */
    *is_all |= PYTHEUS__DISK_GET(&file->header->births) - seen > PYTHEUS__DISK_BATCH;
    *is_all &= err != PYTHEUS_ERR_NOMEM;
    return *is_all ? PYTHEUS_OK : err;
}

/* Learns what others have made. */
static pytheus_err pytheus__disk_catch_up(pytheus__disk *file) {
    uint64_t births;
    pytheus_err err;
    bool is_all;
    if (file->is_damaged) {
        return pytheus__disk_damaged(file, "seen before");
    }
    births = PYTHEUS__DISK_GET(&file->header->births);
    if (births == file->seen) {
        return PYTHEUS_OK;
    }
    err = pytheus__disk_visit_born(file, file->seen, births, pytheus__disk_index_record, NULL,
                                   &is_all);
    err = is_all ? pytheus__disk_visit_all(file, pytheus__disk_index_record, NULL) : err;
    file->seen = err ? file->seen : births;
    return err;
}

/* What is looked for, or made. */
typedef struct pytheus__disk_wish {
    uint32_t metric; /* line, or 0 for a metric */
    const char *text;
    size_t size; /* of the text, of which so much tells it from others: */
    size_t identity_size;
    size_t num_words, num_stripes;
    size_t num_masked; /* words, from the first: the others are not of the value */
    bool is_counted;
    uint64_t mask;     /* 0, or anything else: it gets one */
    uint64_t words[3]; /* of a metric or gauge: what they begin as */
} pytheus__disk_wish;

static bool pytheus__disk_is_wish(pytheus__disk *file, const pytheus__disk_ref *ref,
                                  const pytheus__disk_wish *wish) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref->line, UINT64_MAX);
    pytheus__disk_layout layout;
    size_t size;
    bool is_same;
    if (!record || PYTHEUS__DISK_GET(&record->life) != ref->life) {
        return false;
    }
    layout = pytheus__disk_layout_in(record);
    size = layout.size - layout.text;
    is_same = record->metric == wish->metric && record->num_words == wish->num_words &&
              size >= wish->identity_size && (!wish->metric || size == wish->size) &&
              pytheus__disk_is_inside(record, &layout) &&
              memcmp((const char *)record + layout.text, wish->text, wish->identity_size) == 0;
    return is_same && pytheus__disk_life_after(record) == ref->life;
}

/* life 0: there is none. */
static pytheus__disk_ref pytheus__disk_find(pytheus__disk *file, const pytheus__disk_wish *wish) {
    uint32_t hash = pytheus__disk_hash(file, wish->metric, wish->text, wish->identity_size);
    pytheus__disk_ref none = {0, 0, 0};
    size_t i;
    if (!file->index.size) {
        return none;
    }
    for (i = hash & (file->index.size - 1); file->index.at[i].life;
         i = (i + 1) & (file->index.size - 1)) {
        const pytheus__disk_ref *ref = &file->index.at[i];
        if (ref->hash == hash && pytheus__disk_is_wish(file, ref, wish)) {
            return *ref;
        }
    }
    return none;
}

/* ==== CHANGING IT ==== */

/* Classic record locks: they die with their holder even if a child of its lives. Byte 0 is the
   writing lock, 1 + i that of slot i. */
static int pytheus__disk_lock_call(int fd, int command, struct flock *lock, short type,
                                   uint32_t at) {
    int result, state;
    memset(lock, 0, sizeof *lock);
    lock->l_type = type;
    lock->l_whence = SEEK_SET;
    lock->l_start = (off_t)at;
    lock->l_len = 1;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state); /* a mutex is held */
    do {
        result = fcntl(fd, command, lock);
        /* The kernel takes threads of two processes that wait for two files for a deadlock. */
    } while (result && (errno == EINTR || (errno == EDEADLK && !sched_yield())));
    (void)pthread_setcancelstate(state, NULL);
    return result;
}

static int pytheus__disk_lock_byte(int fd, int command, short type, uint32_t at) {
    struct flock lock;
    return pytheus__disk_lock_call(fd, command, &lock, type, at);
}

/* Whether another process has the slot, and its pid: 0 where this one can't see it. */
static bool pytheus__disk_is_held(int fd, uint32_t slot, int64_t *pid) {
    struct flock lock;
    bool is_held =
        !pytheus__disk_lock_call(fd, F_GETLK, &lock, F_WRLCK, 1 + slot) && lock.l_type != F_UNLCK;
    *pid = is_held && lock.l_pid > 0 ? (int64_t)lock.l_pid : 0;
    return is_held;
}

static unsigned pytheus__disk_size_class(uint32_t lines) {
    return lines <= 32 ? lines : 91 - (unsigned)__builtin_clzll(lines - 1);
}

/* What a record of so many lines takes, so that others fit when it is used again. */
static uint32_t pytheus__disk_rounded(uint32_t lines) {
    return lines <= 32 ? lines : 1u << (pytheus__disk_size_class(lines) - 27);
}

static void pytheus__disk_push(pytheus__disk *file, pytheus__disk_record *record, uint32_t line) {
    uint32_t *first = &file->header->freed[pytheus__disk_size_class(record->size)];
    record->next = *first;
    PYTHEUS__DISK_PUT(first, line);
}

/* Counts the series of metrics again, and lists what can be used again. */
static pytheus_err pytheus__disk_recount(pytheus__disk *file) {
    uint64_t end = pytheus__disk_used(file->header), offset, life;
    pytheus__disk_record *record;
    size_t i;
    memset(file->header->freed, 0, sizeof file->header->freed);
    for (i = 0; i < file->num_metrics; i++) {
        pytheus__disk_words(file->metrics[i]->record)[PYTHEUS__DISK_NUM_SERIES] = 0;
    }
    for (offset = pytheus__disk_first(); offset < end;
         offset += (uint64_t)record->size * PYTHEUS__DISK_LINE) {
        uint32_t line = (uint32_t)(offset / PYTHEUS__DISK_LINE);
        pytheus__disk_metric *metric;
        pytheus_err err = pytheus__disk_find_record(file, line, end, &record);
        if (err) {
            return err;
        }
        life = PYTHEUS__DISK_GET(&record->life);
        metric = life && record->is_counted ? pytheus__disk_metric_at(file, record->metric) : NULL;
        if (metric) {
            pytheus__disk_words(metric->record)[PYTHEUS__DISK_NUM_SERIES]++;
        } else if (!life && record->mask) {
            pytheus__disk_push(file, record, line);
        }
    }
    return PYTHEUS_OK;
}

/* Somebody was killed in the middle of a change. Everybody looks at everything again. */
static pytheus_err pytheus__disk_repair(pytheus__disk *file) {
    pytheus_err err;
    PYTHEUS__DISK_PUT(&file->header->births, file->header->births + PYTHEUS__DISK_BIRTHS);
    err = pytheus__disk_catch_up(file);
    err = err ? err : pytheus__disk_recount(file);
    if (!err) {
        PYTHEUS__DISK_PUT(&file->header->is_changing, 0);
    }
    return err;
}

static void pytheus__disk_unlock(pytheus__disk *file) {
    (void)pytheus__disk_lock_byte(file->lock_fd, F_SETLK, F_UNLCK, 0);
    (void)pthread_mutex_unlock(&file->writing);
}

/* A program that closes descriptors which are not its own gives their numbers to other files. */
static pytheus_err pytheus__disk_check_fd(pytheus__disk *file, int fd, uint64_t inode) {
    struct stat status;
    return fstat(fd, &status) || (uint64_t)status.st_ino != inode ||
                   (uint64_t)status.st_dev != file->device
               ? pytheus__disk_damaged(file, "the program has closed its descriptors")
               : PYTHEUS_OK;
}

/* Takes the writing lock. While others have it, this process' pages and forks do not wait: all that
   the caller knows of the file is to be looked up again. */
static pytheus_err pytheus__disk_lock(pytheus__disk *file) {
    pytheus_err err = pytheus__disk_check_fd(file, file->lock_fd, file->inode);
    if (err) {
        return err;
    }
    (void)pthread_mutex_unlock(&file->lock);
    (void)pthread_mutex_lock(&file->writing);
    err = pytheus__disk_lock_byte(file->lock_fd, F_SETLKW, F_WRLCK, 0)
              ? pytheus__disk_io(file->path, "lock")
              : PYTHEUS_OK;
    (void)pthread_mutex_lock(&file->lock);
    if (!err) {
        err = file->header->is_changing ? pytheus__disk_repair(file) : pytheus__disk_catch_up(file);
    }
    if (err) {
        pytheus__disk_unlock(file);
    }
    return err;
}

/* Like posix_fallocate, but a limit of the process is an error and no signal. */
static int pytheus__disk_allocate(int fd, uint64_t start, uint64_t size) {
    struct rlimit limit;
    int error;
    if (!getrlimit(RLIMIT_FSIZE, &limit) && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < start + size) {
        return EFBIG;
    }
    do {
        error = posix_fallocate(fd, (off_t)start, (off_t)size);
    } while (error == EINTR);
    return error;
}

/* Space is reserved before it is touched: storing to a page that a full disk does not have is a
   signal. */
static pytheus_err pytheus__disk_reserve(pytheus__disk *file, unsigned i) {
    int error;
    if (i >= PYTHEUS__DISK_SEGMENTS) {
        return pytheus_fail(PYTHEUS_ERR_IO, "%.100s: it is full", file->path);
    }
    if (pytheus__disk_check_fd(file, file->data_fd, file->data_inode)) {
        return PYTHEUS_ERR_BACKEND;
    }
    error = pytheus__disk_allocate(file->data_fd, pytheus__disk_segment_start(i),
                                   pytheus__disk_segment_size(i));
    if (error) {
        errno = error;
        return pytheus__disk_io(file->path, "a new series lives in this process alone");
    }
    return pytheus__disk_map(file, i);
}

static void pytheus__disk_size_record(pytheus__disk *file, uint64_t offset, uint32_t lines) {
    uint32_t line = (uint32_t)(offset / PYTHEUS__DISK_LINE);
    pytheus__disk_record *record = pytheus__disk_address(file, line);
    memset((void *)record, 0, sizeof *record);
    record->size = lines;
    record->size_check = pytheus__disk_size_check(line, lines);
}

/* A new record behind the last one, or at the start of the next segment; *end becomes its end. */
static pytheus_err pytheus__disk_append(pytheus__disk *file, uint32_t lines, uint32_t *line,
                                        uint64_t *end) {
    uint64_t at = pytheus__disk_used(file->header), size = (uint64_t)lines * PYTHEUS__DISK_LINE;
    unsigned i = pytheus__disk_segment_of(at);
    uint64_t segment_end = pytheus__disk_segment_start(i) + pytheus__disk_segment_size(i);
    pytheus_err err = PYTHEUS_OK;
    bool is_next = at + size > segment_end;
    if (!at) {
        return pytheus__disk_damaged(file, "its end");
    }
    i += is_next;
    if (i >= PYTHEUS__DISK_SEGMENTS || !file->segments[i]) {
        err = pytheus__disk_reserve(file, i);
    }
    if (err) {
        return err;
    }
    if (is_next) {
        pytheus__disk_size_record(file, at, (uint32_t)((segment_end - at) / PYTHEUS__DISK_LINE));
        at = segment_end;
    }
    pytheus__disk_size_record(file, at, lines);
    *line = (uint32_t)(at / PYTHEUS__DISK_LINE);
    *end = at + size;
    return PYTHEUS_OK;
}

/* The first that can be used again, if it is what the list says. */
static pytheus__disk_record *pytheus__disk_freed(pytheus__disk *file, uint32_t lines,
                                                 uint32_t line) {
    pytheus__disk_record *record =
        line ? pytheus__disk_record_at(file, line, pytheus__disk_used(file->header)) : NULL;
    return record && record->size == lines && record->mask && !record->life ? record : NULL;
}

static uint64_t pytheus__disk_mask(uint64_t life) {
    uint64_t mask = pytheus__disk_mix(pytheus__disk_mix(0, life), 0);
    return mask ? mask : 1;
}

static void pytheus__disk_fill(pytheus__disk_record *record, const pytheus__disk_wish *wish,
                               uint32_t line, uint64_t life) {
    const pytheus__disk_layout layout =
        pytheus__disk_layout_of(wish->num_words, wish->num_stripes, wish->size);
    uint64_t *words = (uint64_t *)(void *)((char *)record + layout.words);
    size_t i, all = (layout.text - layout.words) / sizeof *words;
    PYTHEUS__DISK_FENCE(__ATOMIC_RELEASE); /* the life that has ended is seen as such before that */
    record->mask = wish->mask ? pytheus__disk_mask(life) : 0;
    record->metric = wish->metric;
    record->num_words = (uint16_t)wish->num_words;
    record->num_stripes = (uint8_t)wish->num_stripes;
    record->is_counted = wish->is_counted;
    record->text_size = (uint32_t)wish->size;
    for (i = 0; i < all; i++) {
        uint64_t word = i < 3 ? wish->words[i] : 0;
        bool is_masked = i < wish->num_masked || wish->num_stripes > 1;
        PYTHEUS__DISK_PUT(&words[i], is_masked ? word ^ record->mask : word);
    }
    memcpy((char *)record + layout.text, wish->text, wish->size);
    record->check = pytheus__disk_check(record, &layout, line, life);
    PYTHEUS__DISK_PUT(&record->life, life);
}

static size_t pytheus__disk_size_of(const pytheus__disk_wish *wish) {
    return pytheus__disk_layout_of(wish->num_words, wish->num_stripes, wish->size).size;
}

/* Makes the record, under the writing lock. */
static pytheus_err pytheus__disk_add(pytheus__disk *file, const pytheus__disk_wish *wish) {
    pytheus__disk_header *header = file->header;
    size_t bytes = pytheus__disk_size_of(wish);
    uint64_t life = ((header->last_life + 1) << 2) | 3, end = pytheus__disk_used(header);
    pytheus__disk_record *record = NULL;
    uint32_t lines, line, *first;
    pytheus_err err = PYTHEUS_OK;
    if (bytes > (size_t)PYTHEUS__DISK_LONGEST * PYTHEUS__DISK_LINE) {
        return pytheus_fail(
            PYTHEUS_ERR_IO,
            "%.100s: a series takes more than 64 KB: it lives in this process alone", file->path);
    }
    lines =
        pytheus__disk_rounded((uint32_t)((bytes + PYTHEUS__DISK_LINE - 1) / PYTHEUS__DISK_LINE));
    first = &header->freed[pytheus__disk_size_class(lines)];
    PYTHEUS__DISK_PUT(&header->is_changing, 1);
    line = *first;
    record = wish->mask ? pytheus__disk_freed(file, lines, line) : NULL;
    if (record) {
        PYTHEUS__DISK_PUT(first, record->next);
    } else {
        err = pytheus__disk_append(file, lines, &line, &end);
    }
    if (!err) {
        record = pytheus__disk_address(file, line);
        PYTHEUS__DISK_PUT(&header->last_life, header->last_life + 1);
        pytheus__disk_fill(record, wish, line, life);
        PYTHEUS__DISK_PUT(&header->used, pytheus__disk_seal(end));
        PYTHEUS__DISK_PUT(&header->born[header->births % PYTHEUS__DISK_BIRTHS], line);
        PYTHEUS__DISK_PUT(&header->births, header->births + 1);
    }
    if (!err && wish->is_counted) {
        pytheus__disk_metric *metric = pytheus__disk_metric_at(file, wish->metric);
        pytheus__disk_words(metric->record)[PYTHEUS__DISK_NUM_SERIES]++;
    }
    PYTHEUS__DISK_PUT(&header->is_changing, 0);
    return err;
}

/* Ends a record's life, under the writing lock. */
static void pytheus__disk_end_life(pytheus__disk *file, pytheus__disk_record *record,
                                   uint32_t line) {
    pytheus__disk_metric *metric = pytheus__disk_metric_at(file, record->metric);
    PYTHEUS__DISK_PUT(&file->header->is_changing, 1);
    PYTHEUS__DISK_PUT(&record->life, 0);
    if (metric) {
        uint64_t *words = pytheus__disk_words(metric->record);
        PYTHEUS__DISK_PUT(&words[PYTHEUS__DISK_HAD_REMOVAL], 1);
        words[PYTHEUS__DISK_NUM_SERIES] -=
            record->is_counted && words[PYTHEUS__DISK_NUM_SERIES] > 0;
    }
    if (record->mask) {
        pytheus__disk_push(file, record, line);
    }
    PYTHEUS__DISK_PUT(&file->header->is_changing, 0);
}

/* ==== PROCESSES ==== */

/* Takes the first slot that nobody living has. Without any, gauges of each process are this one's
   alone. */
static void pytheus__disk_identify(pytheus__disk *file) {
    pytheus__disk_header *header = file->header;
    uint32_t slot = 0;
    file->process = __atomic_add_fetch(&header->last_process, 1, __ATOMIC_RELAXED);
    file->has_slot_alone = false;
    while (slot < PYTHEUS__DISK_SLOTS &&
           pytheus__disk_lock_byte(file->lock_fd, F_SETLK, F_WRLCK, 1 + slot)) {
        slot++;
    }
    file->slot = slot;
    if (slot < PYTHEUS__DISK_SLOTS) {
        PYTHEUS__DISK_PUT(&header->slots[slot].process, 0);
        PYTHEUS__DISK_PUT(&header->slots[slot].pid, (uint64_t)getpid());
        PYTHEUS__DISK_PUT(&header->slots[slot].process, file->process);
    }
}

/* What is known of who lives, while a page is put together. */
typedef struct pytheus__disk_census {
    signed char lives[PYTHEUS__DISK_SLOTS]; /* 0: not known yet; 1; -1 */
} pytheus__disk_census;

static bool pytheus__disk_slot_lives(const pytheus__disk *file, pytheus__disk_census *census,
                                     uint32_t slot) {
    if (file->copy) {
        return !file->living || file->living[slot];
    }
    if (!census->lives[slot]) {
        uint64_t *process = &file->header->slots[slot].process, number = PYTHEUS__DISK_GET(process);
        int64_t pid;
        bool lives = slot == file->slot || pytheus__disk_is_held(file->lock_fd, slot, &pid);
        census->lives[slot] = lives ? 1 : -1;
        /* A dump after the last one's crash then shows no earlier ones. */
        if (!lives && !file->is_damaged) {
            (void)__atomic_compare_exchange_n(process, &number, 0, false, __ATOMIC_RELAXED,
                                              __ATOMIC_RELAXED);
        }
    }
    return census->lives[slot] > 0;
}

/* -- fork: the locks of all files are held, so that the child finds none in use -- */

static void pytheus__disk_before_fork(void) {
    pytheus__disk *file;
    (void)pthread_mutex_lock(&pytheus__disk_list_lock);
    for (file = pytheus__disk_list; file; file = file->next) {
        (void)pthread_mutex_lock(&file->lock);
        file->held_for_fork = true;
    }
}

static void pytheus__disk_in_parent(void) {
    pytheus__disk *file;
    for (file = pytheus__disk_list; file; file = file->next) {
        file->held_for_fork = false;
        (void)pthread_mutex_unlock(&file->lock);
    }
    (void)pthread_mutex_unlock(&pytheus__disk_list_lock);
}

/* The child is another process, with a slot of its own. */
static void pytheus__disk_begin_child(pytheus__disk *file) {
    if (file->held_for_fork) {
        file->held_for_fork = false;
        (void)pthread_mutex_unlock(&file->lock);
        (void)pthread_mutex_init(&file->writing, NULL); /* a thread of the parent may have it */
        pytheus__disk_identify(file);
    }
}

static void pytheus__disk_in_child(void) {
    pytheus__disk *file;
    for (file = pytheus__disk_list; file; file = file->next) {
        pytheus__disk_begin_child(file);
    }
    (void)pthread_mutex_unlock(&pytheus__disk_list_lock);
}

static void pytheus__disk_register_fork_handlers(void) {
    (void)pthread_atfork(pytheus__disk_before_fork, pytheus__disk_in_parent,
                         pytheus__disk_in_child);
}

/* The library may call this before the handlers of this file have run in the child. */
static void pytheus__disk_forked(void *user) {
    pytheus__disk_begin_child(((pytheus__disk_backend *)user)->file);
}

/* ==== OPENING IT ==== */

/* Where processes of several machines may see each other's writes late, or never; numbers of
   linux/magic.h, and of those that are not part of Linux. */
static bool pytheus__disk_is_remote(int fd) {
#ifdef __linux__
    static const uint32_t remote[] = {
        0x6969,     /* NFS */
        0x517b,     /* SMB */
        0xff534d42, /* CIFS */
        0xfe534d42, /* SMB2 */
        0x01021997, /* 9P */
        0x65735546, /* FUSE, and virtiofs */
        0x00c36400, /* Ceph */
        0x5346414f, /* AFS */
        0x6b414653, /* AFS in the kernel */
        0x73757245, /* Coda */
        0x564c,     /* NCP */
        0x0bd00bd0, /* Lustre */
        0x47504653, /* GPFS */
        0x19830326, /* BeeGFS */
        0xaad7aaea, /* PanFS */
        0x013111a8, /* IBRIX */
        0x7461636f, /* OCFS2 */
        0x01161970, /* GFS2 */
        0x786f4256, /* VirtualBox */
        0xbacbacbc, /* VMware */
        0x7c7c6673, /* Parallels */
    };
    struct statfs status;
    size_t i;
    for (i = 0; !fstatfs(fd, &status) && i < sizeof remote / sizeof *remote; i++) {
        if ((uint32_t)status.f_type == remote[i]) {
            return true;
        }
    }
#else
    (void)fd;
#endif
    return false;
}

static pytheus_err pytheus__disk_refused(const char *path, const char *reason) {
    return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.120s: %s", path, reason);
}

static pytheus_err pytheus__disk_check_directory(const pytheus__disk *file, int fd) {
    struct stat status;
    if (fstat(fd, &status)) {
        return pytheus__disk_io(file->path, "fstat");
    }
    if (status.st_uid != geteuid() && status.st_uid != 0) {
        return pytheus__disk_refused(file->path, "the directory is another user's");
    }
    if ((status.st_mode & (S_IWGRP | S_IWOTH)) && !(status.st_mode & S_ISVTX)) {
        return pytheus__disk_refused(file->path, "others may write to the directory");
    }
    return pytheus__disk_is_remote(fd)
               ? pytheus__disk_refused(file->path, "memory of files is not shared reliably on this "
                                                   "file system: use a local directory")
               : PYTHEUS_OK;
}

/* A file that is ours alone. */
static pytheus_err pytheus__disk_check_owner(const pytheus__disk *file, const struct stat *status,
                                             const char *name) {
    const char *reason = NULL;
    if (!S_ISREG(status->st_mode)) {
        reason = "not a regular file";
    } else if (status->st_uid != geteuid()) {
        reason = "another user's";
    } else if (status->st_nlink != 1) {
        reason = "has more than one name";
    } else if (status->st_mode & (S_IWGRP | S_IWOTH)) {
        reason = "others may write to it";
    }
    return reason ? pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s/%s: refused: %s", file->path, name,
                                 reason)
                  : PYTHEUS_OK;
}

/* Whoever was started without standard output or error prints to what gets their numbers. */
static int pytheus__disk_above_standard(int fd) {
    int above = fd;
    if (fd >= 0 && fd <= 2) {
        int saved_errno;
        above = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        saved_errno = errno;
        (void)close(fd);
        errno = saved_errno;
    }
    return above;
}

/* Opens a file in the directory; *fd is -1 where there is none and it is not to be made. */
static pytheus_err pytheus__disk_open_in(const pytheus__disk *file, int directory, const char *name,
                                         int flags, int *fd) {
    struct stat status;
    pytheus_err err;
    *fd = pytheus__disk_above_standard(openat(
        directory, name, O_RDWR | PYTHEUS__DISK_FLAGS | O_NONBLOCK | O_NOCTTY | flags, 0600));
    if (*fd < 0 && errno == ENOENT && !(flags & O_CREAT)) {
        return PYTHEUS_OK;
    }
    if (*fd < 0 && (errno == ELOOP || errno == EMLINK)) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s/%s: refused: a symbolic link", file->path,
                            name);
    }
    if (*fd < 0 || fstat(*fd, &status)) {
        err = pytheus_fail(PYTHEUS_ERR_IO, "%.100s/%s: %s", file->path, name, strerror(errno));
    } else {
        err = pytheus__disk_check_owner(file, &status, name);
    }
    if (!err && flags & O_CREAT && fchmod(*fd, 0600)) { /* the umask may have taken bits away */
        err = pytheus_fail(PYTHEUS_ERR_IO, "%.100s/%s: %s", file->path, name, strerror(errno));
    }
    if (err && *fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
    return err;
}

static uint64_t pytheus__disk_random(void) {
    uint64_t random = pytheus__disk_bits(pytheus__disk_now()) ^ (uint64_t)getpid() << 32;
    int fd = open("/dev/urandom", O_RDONLY | PYTHEUS__DISK_FLAGS);
    if (fd >= 0) {
        uint64_t from_system;
        random ^= read(fd, &from_system, sizeof from_system) == (ssize_t)sizeof from_system
                      ? from_system
                      : 0;
        (void)close(fd);
    }
    return random;
}

static void pytheus__disk_fill_header(pytheus__disk_header *header) {
    memcpy(header->magic, PYTHEUS__DISK_MAGIC, sizeof header->magic);
    header->version = PYTHEUS__DISK_VERSION;
    header->byte_order = PYTHEUS__DISK_BYTE_ORDER;
    header->word_size = sizeof(void *);
    header->id = pytheus__disk_random();
    header->created = pytheus__disk_now();
    header->check = pytheus__disk_header_check(header);
    header->used = pytheus__disk_seal(pytheus__disk_first());
}

/* What is wrong with a header, or NULL. */
static const char *pytheus__disk_bad_header(const pytheus__disk_header *header, uint64_t size) {
    uint64_t used;
    if (size < sizeof *header || memcmp(header->magic, PYTHEUS__DISK_MAGIC, 8) != 0) {
        return "not a file of pytheus";
    }
    if (header->byte_order != PYTHEUS__DISK_BYTE_ORDER) {
        return "of a machine with another byte order";
    }
    if (header->version != PYTHEUS__DISK_VERSION) {
        return "of another version of pytheus";
    }
    if (header->word_size != sizeof(void *)) {
        return "of programs with another word size";
    }
    if (header->check != pytheus__disk_header_check(header)) {
        return "damaged: its header";
    }
    used = pytheus__disk_used(header);
    if (used < pytheus__disk_first() || used % PYTHEUS__DISK_LINE) {
        return "damaged: its end";
    }
    if (size < PYTHEUS__DISK_SEGMENT || used > size) {
        return "damaged: it is too short";
    }
    return NULL;
}

/* A new file takes the place of the old one, complete: nobody's mapping is ever cut off. */
static pytheus_err pytheus__disk_make(pytheus__disk *file, int directory) {
    pytheus_err err = PYTHEUS_OK;
    if (unlinkat(directory, "pytheus.new", 0) && errno != ENOENT) {
        return pytheus__disk_io(file->path, "unlink pytheus.new");
    }
    err = pytheus__disk_open_in(file, directory, "pytheus.new", O_CREAT | O_EXCL, &file->data_fd);
    if (err) {
        return err;
    }
    errno = pytheus__disk_allocate(file->data_fd, 0, PYTHEUS__DISK_SEGMENT);
    err = errno ? pytheus__disk_io(file->path, "no room for pytheus.data")
                : pytheus__disk_map(file, 0);
    if (!err) {
        file->header = (pytheus__disk_header *)(void *)file->segments[0];
        pytheus__disk_fill_header(file->header);
        file->header->lock_inode = file->inode;
        if (flock(file->data_fd, LOCK_SH | LOCK_NB) ||
            renameat(directory, "pytheus.new", directory, "pytheus.data")) {
            err = pytheus__disk_io(file->path, "pytheus.data");
        }
    }
    if (err) {
        (void)unlinkat(directory, "pytheus.new", 0);
    }
    return err;
}

/* Goes on in the file that is there. */
static pytheus_err pytheus__disk_join(pytheus__disk *file, bool is_first) {
    struct stat status;
    const char *wrong;
    pytheus_err err;
    if (flock(file->data_fd, LOCK_SH | LOCK_NB) || fstat(file->data_fd, &status)) {
        return pytheus__disk_io(file->path, "pytheus.data");
    }
    wrong = status.st_size < PYTHEUS__DISK_SEGMENT ? "damaged: it is too short" : NULL;
    err = wrong ? PYTHEUS_OK : pytheus__disk_map(file, 0);
    if (!err && !wrong) {
        file->header = (pytheus__disk_header *)(void *)file->segments[0];
        wrong = pytheus__disk_bad_header(file->header, (uint64_t)status.st_size);
    }
    if (!err && !wrong && !is_first && file->header->lock_inode != file->inode) {
        wrong = "those who have it have lost their pytheus.lock: restart them";
    }
    if (err || wrong) {
        return err ? err
                   : pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s/pytheus.data: refused: %s",
                                  file->path, wrong);
    }
    file->seen = file->header->births - PYTHEUS__DISK_BIRTHS;
    if (!pytheus__disk_index_reserve(file, (uint64_t)status.st_size)) {
        return pytheus__disk_no_memory(file);
    }
    err = pytheus__disk_visit_all(file, pytheus__disk_index_record, NULL);
    if (err) {
        return err;
    }
    file->seen = file->header->births;
    PYTHEUS__DISK_PUT(&file->header->lock_inode, file->inode);
    if (file->header->last_life < file->last_life) {
        PYTHEUS__DISK_PUT(&file->header->last_life, file->last_life); /* none is given twice */
    }
    return file->header->is_changing ? pytheus__disk_repair(file) : PYTHEUS_OK;
}

/* What nobody has may be replaced, if it is what we would have put there. */
static pytheus_err pytheus__disk_check_replaced(const pytheus__disk *file) {
    char magic[8] = {0};
    ssize_t size = pread(file->data_fd, magic, sizeof magic, 0);
    if (size < 0) {
        return pytheus__disk_io(file->path, "pytheus.data");
    }
    return size && memcmp(magic, PYTHEUS__DISK_MAGIC, (size_t)size) != 0
               ? pytheus_fail(PYTHEUS_ERR_BACKEND,
                              "%.100s/pytheus.data: refused: not a file of pytheus", file->path)
               : PYTHEUS_OK;
}

/* Joins those who have the file, or is the first. Under the writing lock. */
static pytheus_err pytheus__disk_enter(pytheus__disk *file, int directory, bool keep) {
    bool is_first;
    pytheus_err err = pytheus__disk_open_in(file, directory, "pytheus.data", 0, &file->data_fd);
    if (err) {
        return err;
    }
    if (file->data_fd < 0) {
        return pytheus__disk_make(file, directory);
    }
    is_first = flock(file->data_fd, LOCK_EX | LOCK_NB) == 0;
    if (!is_first && errno != EWOULDBLOCK) {
        return pytheus__disk_io(file->path, "pytheus.data");
    }
    if (!is_first || keep) {
        return pytheus__disk_join(file, is_first);
    }
    err = pytheus__disk_check_replaced(file);
    if (!err) {
        (void)close(file->data_fd);
        file->data_fd = -1;
        err = pytheus__disk_make(file, directory);
    }
    return err;
}

/* Whether another copy of this library has the file in this process: their locks would be one, and
   closing either's descriptor would let go of all. */
static bool pytheus__disk_has_twin(int fd) {
#ifdef F_OFD_GETLK
    struct flock lock;
    uint32_t at = 1;
    while (at <= PYTHEUS__DISK_SLOTS) {
        memset(&lock, 0, sizeof lock);
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = (off_t)at;
        if (fcntl(fd, F_OFD_GETLK, &lock) || lock.l_type == F_UNLCK) {
            return false;
        }
        if (lock.l_pid == getpid()) {
            return true;
        }
        at = (uint32_t)lock.l_start + 1;
    }
#else
    (void)fd;
#endif
    return false;
}

static pytheus_err pytheus__disk_open_files(pytheus__disk *file, int directory, bool keep) {
    struct stat status;
    pytheus_err err =
        pytheus__disk_open_in(file, directory, "pytheus.lock", O_CREAT, &file->lock_fd);
    if (!err && pytheus__disk_has_twin(file->lock_fd)) {
        file->lock_fd = -1; /* it stays open */
        err = pytheus__disk_refused(file->path, "another copy of this library has it already");
    }
    if (!err && (fstat(file->lock_fd, &status) ||
                 pytheus__disk_lock_byte(file->lock_fd, F_SETLKW, F_WRLCK, 0))) {
        err = pytheus__disk_io(file->path, "pytheus.lock");
    }
    if (err) {
        return err;
    }
    file->device = (uint64_t)status.st_dev;
    file->inode = (uint64_t)status.st_ino;
    err = pytheus__disk_enter(file, directory, keep);
    if (!err) {
        pytheus__disk_identify(file);
        if (file->slot == PYTHEUS__DISK_SLOTS) {
            err = pytheus__disk_refused(file->path, "1,024 processes have it already");
        }
    }
    (void)pytheus__disk_lock_byte(file->lock_fd, F_SETLK, F_UNLCK, 0);
    return err;
}

/* Closing the lock file lets go of all its locks, so this is for the last user. */
static void pytheus__disk_free(pytheus__disk *file) {
    size_t i;
    for (i = 0; i < PYTHEUS__DISK_SEGMENTS && !file->copy; i++) {
        if (file->segments[i]) {
            (void)munmap(file->segments[i], (size_t)pytheus__disk_segment_size((unsigned)i));
        }
    }
    for (i = 0; i < file->num_metrics; i++) {
        PYTHEUS_FILE_FREE(file->metrics[i]);
    }
    if (file->data_fd >= 0) {
        (void)close(file->data_fd);
    }
    if (file->lock_fd >= 0) {
        (void)close(file->lock_fd);
    }
    (void)pthread_mutex_destroy(&file->writing);
    (void)pthread_mutex_destroy(&file->lock);
    PYTHEUS_FILE_FREE((void *)file->metrics);
    PYTHEUS_FILE_FREE(file->index.at);
    PYTHEUS_FILE_FREE(file->apart.at);
    PYTHEUS_FILE_FREE(file->copy);
    PYTHEUS_FILE_FREE(file->living);
    PYTHEUS_FILE_FREE(file);
}

/* NULL: no memory. */
static pytheus__disk *pytheus__disk_new(const char *path) {
    pytheus__disk *file = (pytheus__disk *)pytheus__disk_alloc(sizeof *file);
    if (!file) {
        (void)pytheus_fail(PYTHEUS_ERR_NOMEM, "%.100s: out of memory", path);
        return NULL;
    }
    (void)snprintf(file->path, sizeof file->path, "%s", path);
    (void)pthread_mutex_init(&file->writing, NULL);
    (void)pthread_mutex_init(&file->lock, NULL);
    file->lock_fd = file->data_fd = -1;
    file->num_users = 1;
    return file;
}

/* The file of this process whose lock file is in the directory, or NULL. */
static pytheus__disk *pytheus__disk_known(int directory) {
    pytheus__disk *file = pytheus__disk_list;
    struct stat status;
    if (fstatat(directory, "pytheus.lock", &status, AT_SYMLINK_NOFOLLOW)) {
        return NULL;
    }
    while (file &&
           (file->device != (uint64_t)status.st_dev || file->inode != (uint64_t)status.st_ino)) {
        file = file->next;
    }
    return file;
}

/* Under the list's lock. */
static pytheus_err pytheus__disk_use_in(pytheus__disk *fresh, int directory, bool keep,
                                        pytheus__disk **file) {
    pytheus_err err = pytheus__disk_check_directory(fresh, directory);
    *file = err ? NULL : pytheus__disk_known(directory);
    if (*file) {
        (*file)->num_users++;
    } else if (!err) {
        err = pytheus__disk_open_files(fresh, directory, keep);
        if (!err) {
            fresh->next = pytheus__disk_list;
            pytheus__disk_list = fresh;
            *file = fresh;
        }
    }
    return err;
}

/* The file in a directory, with one user more. */
static pytheus_err pytheus__disk_use(const pytheus_file_desc *desc, pytheus__disk **file) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pytheus__disk *fresh = pytheus__disk_new(desc->directory);
    pytheus_err err = PYTHEUS_ERR_NOMEM;
    int directory;
    if (!fresh) {
        return err;
    }
    (void)pthread_once(&once, pytheus__disk_register_fork_handlers);
    directory = open(desc->directory, PYTHEUS__DISK_DIRECTORY);
    if (directory < 0) {
        err = pytheus_fail(PYTHEUS_ERR_IO, "%.100s: %s", desc->directory, strerror(errno));
    } else {
        (void)pthread_mutex_lock(&pytheus__disk_list_lock);
        err = pytheus__disk_use_in(fresh, directory, desc->keep, file);
        (void)pthread_mutex_unlock(&pytheus__disk_list_lock);
        (void)close(directory);
    }
    if (err || *file != fresh) {
        pytheus__disk_free(fresh);
    }
    return err;
}

static void pytheus__disk_leave(pytheus__disk *file) {
    pytheus__disk **at = &pytheus__disk_list;
    (void)pthread_mutex_lock(&pytheus__disk_list_lock);
    if (--file->num_users == 0) {
        while (*at != file) {
            at = &(*at)->next;
        }
        *at = file->next;
        pytheus__disk_free(file);
    }
    (void)pthread_mutex_unlock(&pytheus__disk_list_lock);
}

/* ==== SERIES FOR THE LIBRARY ==== */

/* A text that is put together, in two passes: of at NULL only the size is counted. */
typedef struct pytheus__disk_writer {
    char *at;
    size_t size;
} pytheus__disk_writer;

static void pytheus__disk_write(pytheus__disk_writer *out, const void *bytes, size_t size) {
    if (out->at && size) {
        memcpy(out->at + out->size, bytes, size);
    }
    out->size += size;
}

static void pytheus__disk_write_string(pytheus__disk_writer *out, const char *string) {
    string = string ? string : "";
    pytheus__disk_write(out, string, strlen(string) + 1);
}

/* Returns how much of it tells it from others. */
static size_t pytheus__disk_write_metric(pytheus__disk_writer *out,
                                         const pytheus_series_desc *desc) {
    pytheus__disk_shape shape;
    size_t i, identity_size;
    memset(&shape, 0, sizeof shape);
    shape.expire_seconds = desc->expire_seconds;
    shape.type = (uint32_t)desc->type;
    shape.across = (uint32_t)desc->across;
    shape.num_labels = (uint32_t)desc->num_labels;
    shape.num_bounds = desc->type == PYTHEUS_HISTOGRAM ? (uint32_t)desc->num_bounds : 0;
    shape.num_states = (uint32_t)desc->num_states;
    for (i = 0; i < desc->num_labels; i++) {
        shape.has_default |= desc->defaults[i] ? 1u << i : 0;
    }
    pytheus__disk_write(out, &shape, sizeof shape);
    pytheus__disk_write(out, desc->bounds, shape.num_bounds * sizeof(double));
    pytheus__disk_write_string(out, desc->metric);
    for (i = 0; i < desc->num_labels; i++) {
        pytheus__disk_write_string(out, desc->labels[i].name);
    }
    for (i = 0; i < desc->num_labels; i++) {
        if (desc->defaults[i]) {
            pytheus__disk_write_string(out, desc->defaults[i]);
        }
    }
    for (i = 0; i < desc->num_states; i++) {
        pytheus__disk_write_string(out, desc->states[i]);
    }
    identity_size = out->size;
    pytheus__disk_write_string(out, desc->help);
    pytheus__disk_write_string(out, desc->unit);
    return identity_size;
}

static size_t pytheus__disk_write_series(pytheus__disk_writer *out, const pytheus_series_desc *desc,
                                         uint32_t slot) {
    size_t i;
    if (desc->across != PYTHEUS_SHARED) {
        pytheus__disk_write(out, &slot, sizeof slot);
    }
    for (i = 0; i < desc->num_labels; i++) {
        pytheus__disk_write_string(out, desc->labels[i].value);
    }
    return out->size;
}

enum { PYTHEUS__DISK_LOCAL_TEXT = 1024 };

/* What is looked for in the file, and made where the first reader of it allows. */
typedef struct pytheus__disk_request {
    pytheus__disk *file;
    const pytheus_series_desc *desc;
    pytheus__disk_metric *metric;
    pytheus__disk_ref found; /* life 0: nothing */
    bool is_full;            /* there are max_series */
    bool may_add;
    char local[PYTHEUS__DISK_LOCAL_TEXT];
} pytheus__disk_request;

static void pytheus__disk_request_of(pytheus__disk_request *request, pytheus__disk *file,
                                     const pytheus_series_desc *desc) {
    memset((void *)request, 0, offsetof(pytheus__disk_request, local));
    request->file = file;
    request->desc = desc;
    request->may_add = !file->copy;
}

/* The text in request->local, or allocated; NULL: no memory. */
static char *pytheus__disk_render(pytheus__disk_request *request, bool is_metric,
                                  pytheus__disk_wish *wish) {
    pytheus__disk_writer out = {NULL, 0};
    int pass;
    for (pass = 0; pass < 2; pass++) {
        out.size = 0;
        wish->identity_size =
            is_metric ? pytheus__disk_write_metric(&out, request->desc)
                      : pytheus__disk_write_series(&out, request->desc, request->file->slot);
        if (!out.at) {
            out.at = out.size <= sizeof request->local ? request->local
                                                       : (char *)pytheus__disk_alloc(out.size);
        }
        if (!out.at) {
            (void)pytheus__disk_no_memory(request->file);
            return NULL;
        }
    }
    wish->text = out.at;
    wish->size = out.size;
    return out.at;
}

/* Finds the record that is wished for, or makes it. */
static pytheus_err pytheus__disk_get(pytheus__disk_request *request,
                                     const pytheus__disk_wish *wish) {
    pytheus__disk *file = request->file;
    pytheus_err err = file->copy ? PYTHEUS_OK : pytheus__disk_catch_up(file);
    request->found = pytheus__disk_find(file, wish);
    if (request->found.life || !request->may_add) {
        return PYTHEUS_OK;
    }
    err = err ? err : pytheus__disk_lock(file);
    if (err) {
        return err;
    }
    request->found = pytheus__disk_find(file, wish);
    if (!request->found.life) {
        request->is_full = wish->is_counted &&
                           pytheus__disk_words(request->metric->record)[PYTHEUS__DISK_NUM_SERIES] >=
                               request->desc->max_series;
        err = request->is_full                     ? PYTHEUS_OK
              : pytheus__disk_index_has_room(file) ? pytheus__disk_add(file, wish)
                                                   : pytheus__disk_no_memory(file);
        err = err || request->is_full ? err : pytheus__disk_catch_up(file);
        request->found = pytheus__disk_find(file, wish);
    }
    pytheus__disk_unlock(file);
    return err;
}

static pytheus_err pytheus__disk_get_metric(pytheus__disk_request *request) {
    pytheus__disk_wish wish;
    pytheus_err err;
    char *text;
    memset(&wish, 0, sizeof wish);
    wish.num_words = PYTHEUS__DISK_METRIC_WORDS;
    wish.num_stripes = 1;
    wish.words[PYTHEUS__DISK_MAX_SERIES] = request->desc->max_series;
    text = pytheus__disk_render(request, true, &wish);
    if (!text) {
        return PYTHEUS_ERR_NOMEM;
    }
    err = pytheus__disk_get(request, &wish);
    if (!err && request->found.life) {
        request->metric = pytheus__disk_metric_at(request->file, request->found.line);
    }
    if (text != request->local) {
        PYTHEUS_FILE_FREE(text);
    }
    return err;
}

/* To as many as a record has room for. */
static void pytheus__disk_trim_stripes(pytheus__disk_wish *wish) {
    const size_t most = (size_t)PYTHEUS__DISK_LONGEST * PYTHEUS__DISK_LINE;
    while (wish->num_stripes > 1 &&
           (wish->num_stripes > PYTHEUS__DISK_STRIPES || pytheus__disk_size_of(wish) > most)) {
        wish->num_stripes /= 2;
    }
}

static pytheus_err pytheus__disk_get_series(pytheus__disk_request *request) {
    const uint64_t *metric_words = pytheus__disk_words(request->metric->record);
    pytheus__disk_wish wish;
    pytheus_err err;
    char *text;
    memset(&wish, 0, sizeof wish);
    wish.metric = request->metric->line;
    wish.is_counted = request->desc->max_series && request->desc->across == PYTHEUS_SHARED;
    wish.num_words = wish.num_masked = pytheus__disk_record_words(&request->metric->desc);
    wish.num_stripes = request->desc->num_stripes;
    wish.mask = PYTHEUS__DISK_GET(&metric_words[PYTHEUS__DISK_HAD_REMOVAL]) ||
                request->desc->across != PYTHEUS_SHARED; /* the slot's next process removes it */
    if (pytheus__disk_is_gauge(request->desc->type)) {
        wish.num_stripes = 1;
        wish.num_masked = PYTHEUS__DISK_PROCESS;
        wish.words[PYTHEUS__DISK_CHANGED] = pytheus__disk_bits(-pytheus__disk_now());
        wish.words[PYTHEUS__DISK_PROCESS] =
            request->desc->across != PYTHEUS_SHARED ? request->file->process : 0;
    }
    text = pytheus__disk_render(request, false, &wish);
    if (!text) {
        return PYTHEUS_ERR_NOMEM;
    }
    pytheus__disk_trim_stripes(&wish);
    err = pytheus__disk_get(request, &wish);
    if (text != request->local) {
        PYTHEUS_FILE_FREE(text);
    }
    return err;
}

static void pytheus__disk_point(pytheus__disk *file, const pytheus__disk_metric *metric,
                                pytheus__disk_ref ref, pytheus_words *words) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref.line, UINT64_MAX);
    pytheus__disk_layout layout;
    if (!record) {
        return;
    }
    layout = pytheus__disk_layout_in(record);
    words->at = (uint64_t *)(void *)((char *)record + layout.words);
    words->num_stripes = record->num_stripes;
    words->stripe_words = layout.stripe / sizeof *words->at;
    words->mask = record->mask;
    words->life = &record->life;
    words->life_value = ref.life;
    if (metric->is_apart) {
        words->changed = &words->at[PYTHEUS__DISK_CHANGED];
    }
}

/* Words of this process, where there is no room in the file. err says why. */
static pytheus_err pytheus__disk_keep_private(const pytheus__disk_request *request,
                                              pytheus_words *words, pytheus_err err) {
    pytheus__disk *file = request->file;
    const pytheus__disk_metric *metric = request->metric;
    size_t num_words = pytheus__disk_record_words(request->desc);
    pytheus__disk_writer out = {NULL, 0};
    size_t size = pytheus__disk_write_series(&out, request->desc, file->slot);
    pytheus__disk_private *series = (pytheus__disk_private *)pytheus__disk_alloc(
        sizeof *series + num_words * sizeof(uint64_t) + size);
    if (!series) {
        return pytheus__disk_no_memory(file);
    }
    (void)__atomic_add_fetch(&file->unshared, 1, __ATOMIC_RELAXED);
    words->at = (uint64_t *)(void *)(series + 1);
    words->num_stripes = 1;
    words->stripe_words = request->desc->num_words;
    words->series = series;
    series->metric = metric;
    series->text = out.at = (char *)(words->at + num_words);
    out.size = 0;
    series->size = pytheus__disk_write_series(&out, request->desc, file->slot);
    if (metric && metric->is_apart) {
        words->changed = &words->at[PYTHEUS__DISK_CHANGED];
        *words->changed = pytheus__disk_bits(-pytheus__disk_now());
        series->link = &file->privates;
        series->next = file->privates;
        if (series->next) {
            series->next->link = &series->next;
        }
        file->privates = series;
    }
    return err;
}

/* Off the page, under the lock. */
static void pytheus__disk_hide_private(pytheus__disk_private *series) {
    if (series->link) {
        *series->link = series->next;
        if (series->next) {
            series->next->link = series->link;
        }
        series->link = NULL;
    }
}

/* Removes what earlier processes have left in this one's slot. */
static pytheus_err pytheus__disk_sweep_slot(pytheus__disk *file) {
    pytheus_err err = pytheus__disk_lock(file);
    size_t i;
    if (err) {
        return err;
    }
    for (i = 0; i < file->apart.used; i++) {
        uint32_t line = file->apart.at[i].line;
        pytheus__disk_record *record =
            pytheus__disk_record_at(file, line, pytheus__disk_used(file->header));
        const pytheus__disk_metric *metric =
            record && pytheus__disk_is_current(file, &file->apart.at[i])
                ? pytheus__disk_metric_at(file, record->metric)
                : NULL;
        if (metric && metric->desc.across != PYTHEUS_SHARED &&
            pytheus__disk_slot_of(pytheus__disk_text(record)) == file->slot &&
            pytheus__disk_words(record)[PYTHEUS__DISK_PROCESS] != file->process) {
            pytheus__disk_end_life(file, record, line);
        }
    }
    file->has_slot_alone = true;
    pytheus__disk_unlock(file);
    return PYTHEUS_OK;
}

/* Fills in the words; the series is in the file then. */
static pytheus_err pytheus__disk_open_shared(pytheus__disk_request *request, pytheus_words *words) {
    pytheus__disk *file = request->file;
    pytheus_err err = pytheus__disk_get_metric(request);
    if (!err && request->desc->across != PYTHEUS_SHARED && !file->copy) {
        err = file->slot >= PYTHEUS__DISK_SLOTS
                  ? pytheus__disk_refused(file->path, "1,024 processes have it already")
              : file->has_slot_alone ? PYTHEUS_OK
                                     : pytheus__disk_sweep_slot(file);
    }
    err = err || !request->metric ? err : pytheus__disk_get_series(request);
    if (!err && request->found.life && request->metric) {
        pytheus__disk_point(file, request->metric, request->found, words);
    }
    return err || words->at || request->is_full
               ? err
               : pytheus__disk_refused(file->path, "a series is not in it");
}

static pytheus_err pytheus__disk_words_open(void *user, const pytheus_series_desc *desc,
                                            pytheus_words *words) {
    pytheus__disk *file = ((pytheus__disk_backend *)user)->file;
    pytheus__disk_request request;
    pytheus_err err;
    size_t i;
    for (i = 0; desc->across == PYTHEUS_PER_PROCESS && i < desc->num_labels; i++) {
        if (strcmp(desc->labels[i].name, "pid") == 0) {
            return pytheus_fail(PYTHEUS_ERR_LABEL, "%.100s: the label \"pid\" is the backend's",
                                desc->metric);
        }
    }
    (void)pthread_mutex_lock(&file->lock);
    pytheus__disk_request_of(&request, file, desc);
    err = pytheus__disk_open_shared(&request, words);
    if (err && err != PYTHEUS_ERR_NOMEM && !file->copy) {
        err = pytheus__disk_keep_private(&request, words, err);
    }
    (void)pthread_mutex_unlock(&file->lock);
    return err;
}

static void pytheus__disk_words_close(void *user, const pytheus_words *words) {
    pytheus__disk *file = ((pytheus__disk_backend *)user)->file;
    if (words->series) {
        (void)pthread_mutex_lock(&file->lock);
        pytheus__disk_hide_private((pytheus__disk_private *)words->series);
        (void)pthread_mutex_unlock(&file->lock);
        (void)__atomic_sub_fetch(&file->unshared, 1, __ATOMIC_RELAXED);
        PYTHEUS_FILE_FREE(words->series);
    }
}

/* -- what names mean -- */

/* Where the meaning of the name is, or is to be. */
static size_t pytheus__disk_meaning_place(const pytheus__disk_backend *backend, const char *name) {
    size_t low = 0, high = backend->num_meanings;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(backend->meanings[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* NULL: the registry has no metric of that name. */
static pytheus__disk_meaning *pytheus__disk_meaning_of(const pytheus__disk_backend *backend,
                                                       const char *name) {
    size_t place = pytheus__disk_meaning_place(backend, name);
    return place < backend->num_meanings && strcmp(backend->meanings[place].name, name) == 0
               ? &backend->meanings[place]
               : NULL;
}

/* NULL: no memory. */
static pytheus__disk_meaning *pytheus__disk_add_meaning(pytheus__disk_backend *backend,
                                                        const char *name) {
    size_t place = pytheus__disk_meaning_place(backend, name), size = strlen(name) + 1;
    pytheus__disk_meaning *meaning;
    char *copy;
    if (backend->num_meanings == backend->meanings_size) {
        size_t more = backend->meanings_size ? 2 * backend->meanings_size : 16;
        meaning = (pytheus__disk_meaning *)PYTHEUS_FILE_REALLOC((void *)backend->meanings,
                                                                more * sizeof *meaning);
        if (!meaning) {
            return NULL;
        }
        backend->meanings = meaning;
        backend->meanings_size = more;
    }
    copy = (char *)pytheus__disk_alloc(size);
    if (!copy) {
        return NULL;
    }
    meaning = &backend->meanings[place];
    memmove((void *)(meaning + 1), (const void *)meaning,
            (backend->num_meanings++ - place) * sizeof *meaning);
    meaning->name = (char *)memcpy(copy, name, size);
    return meaning;
}

/* Where others define the metric differently, this registry's page has what it means by it. What is
   wrong with the file is told when the first series is made. */
static pytheus_err pytheus__disk_metric_open(void *user, const pytheus_series_desc *desc) {
    pytheus__disk_backend *backend = (pytheus__disk_backend *)user;
    pytheus__disk_meaning *meaning;
    pytheus__disk_request request;
    pytheus_err err;
    (void)pthread_mutex_lock(&backend->file->lock);
    pytheus__disk_request_of(&request, backend->file, desc);
    err = pytheus__disk_get_metric(&request);
    if (err != PYTHEUS_ERR_NOMEM) {
        meaning = pytheus__disk_meaning_of(backend, desc->metric);
        meaning = meaning ? meaning : pytheus__disk_add_meaning(backend, desc->metric);
        err = meaning ? PYTHEUS_OK : pytheus__disk_no_memory(backend->file);
        if (meaning) {
            meaning->metric = request.metric;
        }
    }
    (void)pthread_mutex_unlock(&backend->file->lock);
    return err;
}

static void pytheus__disk_forget_meanings(pytheus__disk_backend *backend) {
    size_t i;
    for (i = 0; i < backend->num_meanings; i++) {
        PYTHEUS_FILE_FREE(backend->meanings[i].name);
    }
    PYTHEUS_FILE_FREE((void *)backend->meanings);
}

/* -- removal -- */

/* Of gauges that each process has, those with the same labels go too: theirs and ours differ in the
   slot alone. Under the writing lock. */
static pytheus_err pytheus__disk_remove_all(pytheus__disk *file, pytheus__disk_record *record) {
    char *text = (char *)pytheus__disk_alloc(record->text_size);
    pytheus__disk_wish wish;
    uint32_t slot;
    if (!text) {
        return pytheus__disk_no_memory(file);
    }
    memcpy(text, pytheus__disk_text(record), record->text_size);
    memset(&wish, 0, sizeof wish);
    wish.metric = record->metric;
    wish.text = text;
    wish.size = wish.identity_size = record->text_size;
    wish.num_words = record->num_words;
    for (slot = 0; slot < PYTHEUS__DISK_SLOTS; slot++) {
        if (file->header->slots[slot].pid) { /* somebody has, or had, it */
            pytheus__disk_ref ref;
            memcpy(text, &slot, sizeof slot);
            ref = pytheus__disk_find(file, &wish);
            if (ref.life) {
                pytheus__disk_end_life(
                    file, pytheus__disk_record_at(file, ref.line, pytheus__disk_used(file->header)),
                    ref.line);
            }
        }
    }
    PYTHEUS_FILE_FREE(text);
    return PYTHEUS_OK;
}

static uint32_t pytheus__disk_line_of(const pytheus__disk *file, const void *record) {
    const char *at = (const char *)record;
    unsigned i;
    for (i = 0; i < PYTHEUS__DISK_SEGMENTS; i++) {
        const char *start = file->segments[i];
        if (start && at >= start && at < start + pytheus__disk_segment_size(i)) {
            return (uint32_t)((pytheus__disk_segment_start(i) + (uint64_t)(at - start)) /
                              PYTHEUS__DISK_LINE);
        }
    }
    return 0;
}

static pytheus_err pytheus__disk_words_remove(void *user, const pytheus_words *words) {
    pytheus__disk *file = ((pytheus__disk_backend *)user)->file;
    uint32_t line;
    pytheus_err err;
    if (words->series) {
        (void)pthread_mutex_lock(&file->lock);
        pytheus__disk_hide_private((pytheus__disk_private *)words->series);
        (void)pthread_mutex_unlock(&file->lock);
        return PYTHEUS_OK;
    }
    if (PYTHEUS__DISK_GET(words->life) != words->life_value) {
        return PYTHEUS_OK;
    }
    (void)pthread_mutex_lock(&file->lock);
    err = pytheus__disk_lock(file);
    line = pytheus__disk_line_of(file, words->life);
    if (!err) {
        pytheus__disk_record *record =
            line ? pytheus__disk_record_at(file, line, pytheus__disk_used(file->header)) : NULL;
        const pytheus__disk_metric *metric =
            record ? pytheus__disk_metric_at(file, record->metric) : NULL;
        if (metric && record->life == words->life_value) {
            if (metric->desc.across != PYTHEUS_SHARED) {
                err = pytheus__disk_remove_all(file, record);
            } else {
                pytheus__disk_end_life(file, record, line);
            }
        }
        pytheus__disk_unlock(file);
    }
    (void)pthread_mutex_unlock(&file->lock);
    return err;
}

/* Whether a series has the labels that desc names, and is not the metric's own of defaults. */
static bool pytheus__disk_is_below(const pytheus_series_desc *desc, const pytheus_label *labels) {
    bool has_defaults = true;
    size_t i;
    for (i = 0; i < desc->num_labels; i++) {
        if (desc->labels[i].value && strcmp(desc->labels[i].value, labels[i].value) != 0) {
            return false;
        }
        has_defaults &= desc->defaults[i] && strcmp(desc->defaults[i], labels[i].value) == 0;
    }
    return !has_defaults;
}

/* Under the writing lock. */
static void pytheus__disk_remove_below(pytheus__disk *file, const pytheus__disk_metric *metric,
                                       const pytheus_series_desc *desc) {
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    size_t i;
    for (i = 0; i < file->index.size; i++) {
        const pytheus__disk_ref *ref = &file->index.at[i];
        pytheus__disk_record *record =
            ref->life ? pytheus__disk_record_at(file, ref->line, UINT64_MAX) : NULL;
        if (record && record->life == ref->life && record->metric == metric->line &&
            pytheus__disk_read_values(metric, pytheus__disk_text(record), record->text_size,
                                      labels) &&
            pytheus__disk_is_below(desc, labels)) {
            pytheus__disk_end_life(file, record, ref->line);
        }
    }
}

static pytheus_err pytheus__disk_words_remove_all(void *user, const pytheus_series_desc *desc) {
    pytheus__disk *file = ((pytheus__disk_backend *)user)->file;
    pytheus__disk_request request;
    pytheus_err err;
    (void)pthread_mutex_lock(&file->lock);
    pytheus__disk_request_of(&request, file, desc);
    request.may_add = false;
    err = pytheus__disk_get_metric(&request);
    if (!err && request.metric && !file->copy) {
        err = pytheus__disk_lock(file);
        if (!err) {
            pytheus__disk_remove_below(file, request.metric, desc);
            pytheus__disk_unlock(file);
        }
    }
    (void)pthread_mutex_unlock(&file->lock);
    return err;
}

/* -- what others have made -- */

/* Series that are told in one go. */
typedef struct pytheus__disk_batch {
    pytheus__disk_ref refs[PYTHEUS__DISK_BATCH];
    size_t used;
} pytheus__disk_batch;

static pytheus_err pytheus__disk_collect(pytheus__disk *file, pytheus__disk_record *record,
                                         pytheus__disk_ref ref, void *user) {
    pytheus__disk_batch *batch = (pytheus__disk_batch *)user;
    const pytheus__disk_metric *metric =
        record->metric ? pytheus__disk_metric_at(file, record->metric) : NULL;
    if (metric && !metric->is_apart) {
        batch->refs[batch->used++] = ref;
    }
    return PYTHEUS_OK;
}

/* A copy of a series' text, to be read without the lock. */
typedef struct pytheus__disk_told {
    const pytheus__disk_metric *metric; /* NULL: it has gone meanwhile */
    pytheus_words words;
    char *text;
    size_t size, room;
} pytheus__disk_told;

static pytheus_err pytheus__disk_copy_series(pytheus__disk *file, const pytheus__disk_ref *ref,
                                             pytheus__disk_told *told) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref->line, UINT64_MAX);
    pytheus__disk_layout layout;
    size_t size;
    told->metric = NULL;
    if (!record) {
        return PYTHEUS_OK;
    }
    layout = pytheus__disk_layout_in(record);
    if (!pytheus__disk_is_inside(record, &layout)) {
        return PYTHEUS_OK;
    }
    size = layout.size - layout.text;
    if (size > told->room) {
        char *text = (char *)PYTHEUS_FILE_REALLOC(told->text, size);
        if (!text) {
            return pytheus__disk_no_memory(file);
        }
        told->text = text;
        told->room = size;
    }
    told->size = size;
    if (size) {
        memcpy(told->text, (const char *)record + layout.text, size);
    }
    told->metric = pytheus__disk_metric_at(file, record->metric);
    if (told->metric) {
        memset((void *)&told->words, 0, sizeof told->words);
        pytheus__disk_point(file, told->metric, *ref, &told->words);
    }
    told->metric = pytheus__disk_life_after(record) == ref->life ? told->metric : NULL;
    return PYTHEUS_OK;
}

static pytheus_err pytheus__disk_tell(pytheus__disk *file, const pytheus__disk_ref *ref,
                                      pytheus__disk_told *told, pytheus_discovery *out) {
    pytheus_label labels[PYTHEUS_MAX_LABELS] = PYTHEUS__EMPTY;
    pytheus_series_desc desc;
    pytheus_err err;
    (void)pthread_mutex_lock(&file->lock);
    err = pytheus__disk_copy_series(file, ref, told);
    (void)pthread_mutex_unlock(&file->lock);
    if (err || !told->metric ||
        !pytheus__disk_read_values(told->metric, told->size ? told->text : "", told->size,
                                   labels)) {
        return err;
    }
    desc = told->metric->desc;
    desc.labels = labels;
    desc.max_series = (size_t)pytheus__disk_words(told->metric->record)[PYTHEUS__DISK_MAX_SERIES];
    err = pytheus_discover(out, &desc, &told->words);
    return err == PYTHEUS_ERR_NOMEM ? err : PYTHEUS_OK;
}

static pytheus_err pytheus__disk_tell_batch(pytheus__disk *file, pytheus__disk_batch *batch,
                                            pytheus__disk_told *told, pytheus_discovery *out) {
    pytheus_err err = PYTHEUS_OK;
    size_t i;
    for (i = 0; !err && i < batch->used; i++) {
        err = pytheus__disk_tell(file, &batch->refs[i], told, out);
    }
    batch->used = 0;
    return err;
}

/* Tells all that lives. */
static pytheus_err pytheus__disk_tell_all(pytheus__disk *file, pytheus__disk_batch *batch,
                                          pytheus__disk_told *told, pytheus_discovery *out) {
    uint64_t end = pytheus__disk_used(file->header);
    uint32_t line = pytheus__disk_first_line();
    pytheus_err err = PYTHEUS_OK;
    while (!err && (uint64_t)line * PYTHEUS__DISK_LINE < end) {
        (void)pthread_mutex_lock(&file->lock);
        err = pytheus__disk_visit_some(file, pytheus__disk_collect, batch, end, PYTHEUS__DISK_BATCH,
                                       &line);
        (void)pthread_mutex_unlock(&file->lock);
        err = err ? err : pytheus__disk_tell_batch(file, batch, told, out);
    }
    return err;
}

static pytheus_err pytheus__disk_discover(void *user, pytheus_discovery *out) {
    pytheus__disk_backend *backend = (pytheus__disk_backend *)user;
    pytheus__disk *file = backend->file;
    pytheus__disk_told told = PYTHEUS__EMPTY;
    pytheus__disk_batch batch;
    uint64_t seen = PYTHEUS__DISK_GET(&backend->seen), births;
    bool is_all = false;
    pytheus_err err;
    if (PYTHEUS__DISK_GET(&file->header->births) == seen) {
        return PYTHEUS_OK;
    }
    memset((void *)&told, 0, sizeof told);
    batch.used = 0;
    (void)pthread_mutex_lock(&file->lock);
    err = file->copy ? PYTHEUS_OK : pytheus__disk_catch_up(file);
    births = file->seen; /* of a metric that is not indexed nothing can be told */
    err =
        err ? err
            : pytheus__disk_visit_born(file, seen, births, pytheus__disk_collect, &batch, &is_all);
    (void)pthread_mutex_unlock(&file->lock);
    if (is_all) {
        batch.used = 0;
        err = pytheus__disk_tell_all(file, &batch, &told, out);
    }
    err = err ? err : pytheus__disk_tell_batch(file, &batch, &told, out);
    if (!err) {
        PYTHEUS__DISK_PUT(&backend->seen, births);
    }
    PYTHEUS_FILE_FREE(told.text);
    /* A damaged file does not take away what is known. */
    return err == PYTHEUS_ERR_BACKEND && !file->copy ? PYTHEUS_OK : err;
}

/* ==== GAUGES THAT ARE PUT TOGETHER ==== */

/* The value of one process. */
typedef struct pytheus__disk_share {
    const pytheus__disk_metric *metric;
    const char *values; /* as in the file, without the slot */
    size_t size;
    double value, changed;
    uint64_t pid;
    uint32_t slot;
} pytheus__disk_share;

typedef struct pytheus__disk_shares {
    pytheus__disk_share *at;
    size_t used;
    const pytheus__disk_metric **metrics; /* that are on the page */
    size_t num_metrics;
    char *text; /* of all values */
    size_t text_used;
    pytheus__disk_census *census;
    double now;
} pytheus__disk_shares;

/* By metric and labels, then by process. */
static int pytheus__disk_compare(const void *left, const void *right) {
    const pytheus__disk_share *a = (const pytheus__disk_share *)left;
    const pytheus__disk_share *b = (const pytheus__disk_share *)right;
    size_t size = a->size < b->size ? a->size : b->size;
    int order = (a->metric->line > b->metric->line) - (a->metric->line < b->metric->line);
    order = order ? order : size ? memcmp(a->values, b->values, size) : 0;
    order = order ? order : (a->size > b->size) - (a->size < b->size);
    return order ? order : (a->slot > b->slot) - (a->slot < b->slot);
}

static bool pytheus__disk_has_expired(const pytheus__disk_share *share, double now) {
    double age = now - (share->changed < 0 ? -share->changed : share->changed);
    return share->metric->desc.expire_seconds > 0 && age > share->metric->desc.expire_seconds;
}

/* The share of a series with this text, which shares->text has room for. */
static void pytheus__disk_fill_share(pytheus__disk_shares *shares, pytheus__disk_share *share,
                                     const char *text, size_t size, uint64_t value,
                                     uint64_t changed) {
    size_t before = share->metric->desc.across == PYTHEUS_SHARED ? 0 : sizeof(uint32_t);
    share->size = size - before;
    share->values = shares->text + shares->text_used;
    memcpy(shares->text + shares->text_used, text + before, share->size);
    share->value = pytheus__disk_real(value);
    share->changed = pytheus__disk_real(changed);
}

/* One record's share, if its process lives. */
static bool pytheus__disk_read_share(pytheus__disk *file, const pytheus__disk_ref *ref,
                                     pytheus__disk_shares *shares, pytheus__disk_share *share) {
    pytheus__disk_record *record = pytheus__disk_record_at(file, ref->line, UINT64_MAX);
    pytheus__disk_layout layout;
    const uint64_t *words;
    const char *text;
    if (!record || PYTHEUS__DISK_GET(&record->life) != ref->life) {
        return false;
    }
    layout = pytheus__disk_layout_in(record);
    words = (const uint64_t *)(const void *)((const char *)record + layout.words);
    text = (const char *)record + layout.text;
    share->metric = pytheus__disk_metric_at(file, record->metric);
    if (!share->metric || !pytheus__disk_is_inside(record, &layout) ||
        layout.text < layout.words + PYTHEUS__DISK_GAUGE_WORDS * sizeof *words) {
        return false;
    }
    if (share->metric->desc.across != PYTHEUS_SHARED) {
        if (layout.size - layout.text < sizeof share->slot) {
            return false;
        }
        share->slot = pytheus__disk_slot_of(text);
        if (share->slot >= PYTHEUS__DISK_SLOTS ||
            PYTHEUS__DISK_GET(&file->header->slots[share->slot].process) !=
                PYTHEUS__DISK_GET(&words[PYTHEUS__DISK_PROCESS]) ||
            !pytheus__disk_slot_lives(file, shares->census, share->slot)) {
            return false;
        }
        share->pid = PYTHEUS__DISK_GET(&file->header->slots[share->slot].pid);
    }
    pytheus__disk_fill_share(shares, share, text, layout.size - layout.text,
                             PYTHEUS__DISK_GET(&words[PYTHEUS__DISK_VALUE]) ^ record->mask,
                             PYTHEUS__DISK_GET(&words[PYTHEUS__DISK_CHANGED]) ^ record->mask);
    return pytheus__disk_life_after(record) == ref->life;
}

static void pytheus__disk_read_private(const pytheus__disk *file,
                                       const pytheus__disk_private *series,
                                       pytheus__disk_shares *shares, pytheus__disk_share *share) {
    const uint64_t *words = (const uint64_t *)(const void *)(series + 1);
    share->metric = series->metric;
    share->slot = file->slot;
    share->pid = (uint64_t)getpid();
    pytheus__disk_fill_share(shares, share, series->text, series->size,
                             PYTHEUS__DISK_GET(&words[PYTHEUS__DISK_VALUE]),
                             PYTHEUS__DISK_GET(&words[PYTHEUS__DISK_CHANGED]));
}

/* Whether a registry's page has the metric: of what it means otherwise, or differently, not. */
static bool pytheus__disk_is_meant(const pytheus__disk_backend *backend,
                                   const pytheus__disk_metric *metric) {
    const pytheus__disk_meaning *meaning = pytheus__disk_meaning_of(backend, metric->desc.metric);
    return !meaning || meaning->metric == metric;
}

/* Takes the share that was read last, unless it has expired. */
static void pytheus__disk_take_share(pytheus__disk_shares *shares) {
    const pytheus__disk_share *share = &shares->at[shares->used];
    if (!pytheus__disk_has_expired(share, shares->now)) {
        shares->text_used += share->size;
        shares->used++;
    }
}

/* Room for all that may be read. */
static bool pytheus__disk_make_room(pytheus__disk *file, pytheus__disk_shares *shares) {
    const pytheus__disk_private *series;
    size_t i, n = file->apart.used, size = 0;
    for (i = 0; i < file->apart.used; i++) {
        pytheus__disk_record *record =
            pytheus__disk_record_at(file, file->apart.at[i].line, UINT64_MAX);
        size += record ? (size_t)record->size * PYTHEUS__DISK_LINE : 0;
    }
    for (series = file->privates; series; series = series->next) {
        size += series->size;
        n++;
    }
    shares->census = (pytheus__disk_census *)pytheus__disk_alloc(sizeof *shares->census);
    shares->at = (pytheus__disk_share *)pytheus__disk_alloc((n + 1) * sizeof *shares->at);
    shares->metrics = (const pytheus__disk_metric **)pytheus__disk_alloc((file->num_metrics + 1) *
                                                                         sizeof(void *));
    shares->text = (char *)pytheus__disk_alloc(size + 1);
    return shares->census && shares->at && shares->metrics && shares->text;
}

static pytheus_err pytheus__disk_read_shares(const pytheus__disk_backend *backend,
                                             pytheus__disk_shares *shares) {
    pytheus__disk *file = backend->file;
    const pytheus__disk_private *series;
    size_t i;
    if (!pytheus__disk_make_room(file, shares)) {
        return pytheus__disk_no_memory(file);
    }
    shares->now = file->copy && !file->living ? file->header->created : pytheus__disk_now();
    for (i = 0; i < file->apart.used; i++) {
        if (pytheus__disk_read_share(file, &file->apart.at[i], shares, &shares->at[shares->used])) {
            pytheus__disk_take_share(shares);
        }
    }
    for (series = file->privates; series; series = series->next) {
        pytheus__disk_read_private(file, series, shares, &shares->at[shares->used]);
        pytheus__disk_take_share(shares);
    }
    for (i = 0; i < file->num_metrics; i++) {
        if (file->metrics[i]->is_apart && pytheus__disk_is_meant(backend, file->metrics[i])) {
            shares->metrics[shares->num_metrics++] = file->metrics[i];
        }
    }
    qsort(shares->at, shares->used, sizeof *shares->at, pytheus__disk_compare);
    return PYTHEUS_OK;
}

static bool pytheus__disk_same_series(const pytheus__disk_share *a, const pytheus__disk_share *b) {
    return a->metric == b->metric && a->size == b->size &&
           (!a->size || memcmp(a->values, b->values, a->size) == 0);
}

/* Whether a value goes before the one that was chosen: NaN before nothing but NaN. */
static bool pytheus__disk_goes_before(pytheus_across across, const pytheus__disk_share *share,
                                      const pytheus__disk_share *chosen) {
    return !chosen                          ? true
           : across == PYTHEUS_MOST_RECENT  ? share->changed > chosen->changed
           : chosen->value != chosen->value ? share->value == share->value
           : across == PYTHEUS_MIN          ? share->value < chosen->value
                                            : share->value > chosen->value;
}

/* What the processes' values are together; 0 where nobody has set one. */
static double pytheus__disk_together(const pytheus__disk_share *shares, size_t n) {
    pytheus_across across = shares->metric->desc.across;
    const pytheus__disk_share *chosen = NULL;
    double sum = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        const pytheus__disk_share *share = &shares[i];
        sum += share->value;
        if (share->changed > 0 && pytheus__disk_goes_before(across, share, chosen)) {
            chosen = share;
        }
    }
    return across == PYTHEUS_SUM || across == PYTHEUS_SHARED ? sum : chosen ? chosen->value : 0;
}

/* "123", or "123.4" with the slot's number where containers have the same. */
static void pytheus__disk_pid_text(const pytheus__disk_share *shares, size_t n, size_t i,
                                   char text[48]) {
    bool is_alone = true;
    size_t other;
    for (other = 0; other < n; other++) {
        is_alone &= other == i || shares[other].pid != shares[i].pid;
    }
    if (is_alone) {
        (void)snprintf(text, 48, "%llu", (unsigned long long)shares[i].pid);
    } else {
        (void)snprintf(text, 48, "%llu.%u", (unsigned long long)shares[i].pid,
                       (unsigned)shares[i].slot);
    }
}

static void pytheus__disk_emit_sample(pytheus_emitter *out, const pytheus__disk_share *share,
                                      const char *pid, double value) {
    const char *pairs[2 * PYTHEUS_MAX_LABELS + 2];
    const char *at = share->values;
    pytheus_sample sample = PYTHEUS__EMPTY;
    size_t i;
    memset((void *)&sample, 0, sizeof sample);
    for (i = 0; i < share->metric->desc.num_labels; i++) {
        pairs[sample.num_strings++] = share->metric->labels[i].name;
        pairs[sample.num_strings++] = at;
        at += strlen(at) + 1;
    }
    if (pid) {
        pairs[sample.num_strings++] = "pid";
        pairs[sample.num_strings++] = pid;
    }
    sample.pairs = pairs;
    sample.value = value;
    (void)pytheus_emit_sample(out, &sample);
}

/* The series that begins with the first share; returns how many of them it has. */
static size_t pytheus__disk_emit_series(pytheus_emitter *out, const pytheus__disk_share *shares,
                                        size_t most) {
    size_t i, n = 1;
    while (n < most && pytheus__disk_same_series(shares, &shares[n])) {
        n++;
    }
    if (shares->metric->desc.across != PYTHEUS_PER_PROCESS) {
        pytheus__disk_emit_sample(out, shares, NULL, pytheus__disk_together(shares, n));
        return n;
    }
    for (i = 0; i < n; i++) {
        char pid[48];
        pytheus__disk_pid_text(shares, n, i, pid);
        pytheus__disk_emit_sample(out, &shares[i], pid, shares[i].value);
    }
    return n;
}

static void pytheus__disk_emit_family(pytheus_emitter *out, pytheus_type type, const char *name,
                                      const char *help, const char *unit) {
    pytheus_family family = PYTHEUS__EMPTY;
    memset((void *)&family, 0, sizeof family);
    family.type = type;
    family.name = name;
    family.help = help;
    family.unit = *unit ? unit : NULL;
    (void)pytheus_emit_family(out, &family);
}

/* Metrics of which nobody living has a value are emitted without one. */
static void pytheus__disk_emit_shares(pytheus_emitter *out, const pytheus__disk_shares *shares) {
    size_t i, place = 0;
    for (i = 0; i < shares->num_metrics; i++) {
        const pytheus__disk_metric *metric = shares->metrics[i];
        pytheus__disk_emit_family(out, metric->desc.type, metric->desc.metric, metric->desc.help,
                                  metric->desc.unit);
        while (place < shares->used && shares->at[place].metric->line < metric->line) {
            place++; /* of a metric that is not on this page */
        }
        while (place < shares->used && shares->at[place].metric == metric) {
            place += pytheus__disk_emit_series(out, &shares->at[place], shares->used - place);
        }
    }
}

static void pytheus__disk_emit_own(pytheus_emitter *out, const char *name, const char *help,
                                   double value) {
    pytheus_sample sample = PYTHEUS__EMPTY;
    memset((void *)&sample, 0, sizeof sample);
    sample.value = value;
    if (value > 0) {
        pytheus__disk_emit_family(out, PYTHEUS_GAUGE, name, help, "");
        (void)pytheus_emit_sample(out, &sample);
    }
}

static pytheus_err pytheus__disk_generate(void *user, pytheus_emitter *out) {
    pytheus__disk_backend *backend = (pytheus__disk_backend *)user;
    pytheus__disk *file = backend->file;
    pytheus__disk_shares shares = PYTHEUS__EMPTY;
    pytheus_err err = PYTHEUS_OK;
    bool is_damaged;
    memset((void *)&shares, 0, sizeof shares);
    (void)pthread_mutex_lock(&file->lock);
    if (!file->copy) {
        (void)pytheus__disk_check_fd(file, file->lock_fd, file->inode);
    }
    is_damaged = file->is_damaged;
    if (file->apart.used || file->privates) {
        err = pytheus__disk_read_shares(backend, &shares);
    }
    (void)pthread_mutex_unlock(&file->lock);
    if (!err) {
        pytheus__disk_emit_shares(out, &shares);
        pytheus__disk_emit_own(out, "pytheus_file_unshared_series",
                               "Series that did not fit in the file, and are this process' alone.",
                               (double)PYTHEUS__DISK_GET(&file->unshared));
        pytheus__disk_emit_own(out, "pytheus_file_damaged",
                               "1 where the file is damaged, or closed: new series are not shared.",
                               is_damaged);
    }
    PYTHEUS_FILE_FREE(shares.census);
    PYTHEUS_FILE_FREE(shares.at);
    PYTHEUS_FILE_FREE((void *)shares.metrics);
    PYTHEUS_FILE_FREE(shares.text);
    return err;
}

/* ==== THE BACKEND ==== */

static size_t pytheus__disk_processes(void *user, int64_t *pids, size_t room) {
    pytheus__disk *file = ((pytheus__disk_backend *)user)->file;
    uint32_t slot;
    size_t n = 0;
    (void)pthread_mutex_lock(&file->lock);
    for (slot = 0; slot < PYTHEUS__DISK_SLOTS; slot++) {
        int64_t pid = slot == file->slot ? (int64_t)getpid() : 0;
        if (pid || (PYTHEUS__DISK_GET(&file->header->slots[slot].process) &&
                    pytheus__disk_is_held(file->lock_fd, slot, &pid) && pid)) {
            if (n < room) {
                pids[n] = pid;
            }
            n++;
        }
    }
    (void)pthread_mutex_unlock(&file->lock);
    return n;
}

static void pytheus__disk_destroy(void *user) {
    pytheus__disk_backend *backend = (pytheus__disk_backend *)user;
    pytheus__disk_forget_meanings(backend);
    pytheus__disk_leave(backend->file);
    PYTHEUS_FILE_FREE(backend);
}

static void pytheus__disk_fill_backend(pytheus__disk_backend *user, pytheus_backend *backend) {
    memset((void *)backend, 0, sizeof *backend);
    backend->name = "file";
    backend->user = user;
    backend->words_open = pytheus__disk_words_open;
    backend->words_remove = pytheus__disk_words_remove;
    backend->words_remove_all = pytheus__disk_words_remove_all;
    backend->words_close = pytheus__disk_words_close;
    backend->discover = pytheus__disk_discover;
    backend->metric_open = pytheus__disk_metric_open;
    backend->generate = pytheus__disk_generate;
    backend->processes = pytheus__disk_processes;
    backend->forked = pytheus__disk_forked;
    backend->destroy = pytheus__disk_destroy;
    backend->first_stripe = &user->file->slot;
}

PYTHEUS_API pytheus_err pytheus_file_backend(const pytheus_file_desc *desc,
                                             pytheus_backend *backend) {
    pytheus__disk_backend *user;
    pytheus_err err;
    if (!desc || !desc->directory || !*desc->directory) {
        return pytheus_fail(PYTHEUS_ERR_CONFIG, "file: no directory (pytheus_file_directory)");
    }
    user = (pytheus__disk_backend *)pytheus__disk_alloc(sizeof *user);
    if (!user) {
        return pytheus_fail(PYTHEUS_ERR_NOMEM, "file: out of memory");
    }
    err = pytheus__disk_use(desc, &user->file);
    if (err) {
        PYTHEUS_FILE_FREE(user);
        return err;
    }
    user->seen = PYTHEUS__DISK_GET(&user->file->header->births) - PYTHEUS__DISK_BIRTHS;
    pytheus__disk_fill_backend(user, backend);
    return PYTHEUS_OK;
}

static pytheus_err pytheus__disk_create(const pytheus_config *config, pytheus_backend *out) {
    pytheus_file_desc desc = PYTHEUS__EMPTY;
    pytheus_err err;
    memset((void *)&desc, 0, sizeof desc);
    desc.directory = pytheus_config_string(config, "pytheus_file_directory", NULL);
    desc.keep = pytheus_config_bool(config, "pytheus_file_keep", false);
    err = pytheus_config_check(config);
    return err ? err : pytheus_file_backend(&desc, out);
}

static const char *const pytheus__disk_class_names[] = {
    "file", "pytheus.backends.MultipleProcessFileBackend", NULL};
static const pytheus_backend_class pytheus__disk_class = {pytheus__disk_class_names,
                                                          pytheus__disk_create};
PYTHEUS_ANNOUNCE(pytheus__disk_class);

/* ==== DUMPS ==== */

static pytheus_err pytheus__disk_read_copy(pytheus__disk *file, uint64_t size) {
    uint64_t done = 0;
    file->copy = size < SIZE_MAX ? (char *)pytheus__disk_alloc((size_t)size + 1) : NULL;
    if (!file->copy) {
        return pytheus__disk_no_memory(file);
    }
    while (done < size) {
        ssize_t n = pread(file->data_fd, file->copy + done, (size_t)(size - done), (off_t)done);
        if (n < 0 && errno != EINTR) {
            return pytheus__disk_io(file->path, "read");
        }
        if (n == 0) {
            break;
        }
        done += n > 0 ? (uint64_t)n : 0;
    }
    file->size = done;
    return PYTHEUS_OK;
}

/* Segments that are there as a whole. */
static pytheus_err pytheus__disk_take_copy(pytheus__disk *file) {
    const char *wrong;
    unsigned i;
    file->header = (pytheus__disk_header *)(void *)file->copy;
    wrong = pytheus__disk_bad_header(file->header, file->size);
    if (wrong) {
        return pytheus_fail(PYTHEUS_ERR_BACKEND, "%.100s: refused: %s", file->path, wrong);
    }
    for (i = 0; i < PYTHEUS__DISK_SEGMENTS; i++) {
        if (pytheus__disk_segment_start(i) + pytheus__disk_segment_size(i) <= file->size) {
            file->segments[i] = file->copy + pytheus__disk_segment_start(i);
        }
    }
    file->seen = file->header->births;
    return pytheus__disk_visit_all(file, pytheus__disk_index_record, NULL);
}

/* Who lives, by the lock file beside it. Opening and closing a lock file that this process has open
   would let go of its locks. */
static pytheus_err pytheus__disk_find_living(pytheus__disk *file, int directory) {
    const pytheus__disk *known = pytheus__disk_known(directory);
    int fd = known ? known->lock_fd
                   : openat(directory, "pytheus.lock",
                            O_RDONLY | PYTHEUS__DISK_FLAGS | O_NONBLOCK | O_NOCTTY);
    bool anybody = false, *living;
    uint32_t slot;
    int64_t pid;
    if (fd < 0) {
        return PYTHEUS_OK;
    }
    living = (bool *)pytheus__disk_alloc(PYTHEUS__DISK_SLOTS * sizeof *living);
    for (slot = 0; living && slot < PYTHEUS__DISK_SLOTS; slot++) {
        living[slot] = file->header->slots[slot].process &&
                       ((known && slot == known->slot) || pytheus__disk_is_held(fd, slot, &pid));
        anybody |= living[slot];
    }
    if (!known) {
        (void)close(fd);
    }
    if (!living) {
        return pytheus__disk_no_memory(file);
    }
    if (anybody) {
        file->living = living;
    } else {
        PYTHEUS_FILE_FREE(living);
    }
    return PYTHEUS_OK;
}

static int pytheus__disk_open_to_read(int directory, const char *name) {
    int fd = openat(directory, name, O_RDONLY | PYTHEUS__DISK_FLAGS | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (fd >= 0 && (fstat(fd, &status) || !S_ISREG(status.st_mode))) {
        (void)close(fd);
        errno = EINVAL;
        fd = -1;
    }
    return fd;
}

/* Opens the directory that the path is or is in; *name becomes that of the file there. */
static pytheus_err pytheus__disk_open_parent(const char *path, const char **name, int *directory) {
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) + 1 : 1;
    char *parent;
    *directory = open(path, PYTHEUS__DISK_DIRECTORY);
    *name = "pytheus.data";
    if (*directory < 0) {
        parent = (char *)pytheus__disk_alloc(size + 1);
        if (!parent) {
            return pytheus_fail(PYTHEUS_ERR_NOMEM, "%.100s: out of memory", path);
        }
        memcpy(parent, slash ? path : ".", size);
        *name = slash ? slash + 1 : path;
        *directory = open(parent, PYTHEUS__DISK_DIRECTORY);
        PYTHEUS_FILE_FREE(parent);
    }
    return *directory < 0 ? pytheus_fail(PYTHEUS_ERR_IO, "%.100s: %s", path, strerror(errno))
                          : PYTHEUS_OK;
}

static pytheus_err pytheus__disk_load(pytheus__disk *file, int directory, const char *name) {
    struct stat status;
    pytheus_err err = PYTHEUS_OK;
    file->data_fd = pytheus__disk_open_to_read(directory, name);
    if (file->data_fd < 0 || fstat(file->data_fd, &status)) {
        return pytheus_fail(PYTHEUS_ERR_IO, "%.100s: %s", file->path,
                            errno == ELOOP    ? "a symbolic link"
                            : errno == EINVAL ? "not a regular file"
                                              : strerror(errno));
    }
    err = pytheus__disk_read_copy(file, (uint64_t)status.st_size);
    err = err ? err : pytheus__disk_take_copy(file);
    if (!err) {
        (void)pthread_mutex_lock(&pytheus__disk_list_lock);
        err = pytheus__disk_find_living(file, directory);
        (void)pthread_mutex_unlock(&pytheus__disk_list_lock);
    }
    return err;
}

/* A file that somebody was changing while it was read may look damaged once. */
static pytheus_err pytheus__disk_load_calmly(const char *path, pytheus__disk **file) {
    const char *name;
    int tries, directory;
    pytheus_err err = pytheus__disk_open_parent(path, &name, &directory);
    if (err) {
        return err;
    }
    err = PYTHEUS_ERR_BACKEND;
    for (tries = 0; tries < 3 && err == PYTHEUS_ERR_BACKEND; tries++) {
        *file = pytheus__disk_new(path);
        if (!*file) {
            err = PYTHEUS_ERR_NOMEM;
            break;
        }
        err = pytheus__disk_load(*file, directory, name);
        if (err) {
            pytheus__disk_free(*file);
        }
    }
    (void)close(directory);
    return err;
}

static void pytheus__disk_end_dump(void *user) {
    pytheus__disk_backend *backend = (pytheus__disk_backend *)user;
    pytheus__disk_forget_meanings(backend);
    pytheus__disk_free(backend->file);
}

static void pytheus__disk_no_log(void *user, pytheus_err err, const char *metric,
                                 const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

PYTHEUS_API pytheus_err pytheus_file_dump(const char *path, pytheus_format format,
                                          const pytheus_sink *sink) {
    pytheus_registry_desc desc = PYTHEUS__EMPTY;
    pytheus_registry *registry;
    pytheus_backend backend = PYTHEUS__EMPTY;
    pytheus__disk_backend user;
    pytheus_err err;
    memset((void *)&user, 0, sizeof user);
    err = pytheus__disk_load_calmly(path ? path : "", &user.file);
    if (err) {
        return err;
    }
    user.seen = user.file->header->births - PYTHEUS__DISK_BIRTHS;
    pytheus__disk_fill_backend(&user, &backend);
    backend.forked = NULL;
    backend.processes = NULL;
    backend.destroy = pytheus__disk_end_dump;
    memset((void *)&desc, 0, sizeof desc);
    desc.backend = &backend;
    desc.logger.log = pytheus__disk_no_log;
    registry = pytheus_registry_new(&desc);
    if (!registry) {
        pytheus__disk_free(user.file);
        return PYTHEUS_ERR_NOMEM;
    }
    err = pytheus_write(registry, format, sink);
    pytheus_registry_free(registry);
    return err;
}

#endif /* PYTHEUS_DISABLE */
#endif /* PYTHEUS_FILE_IMPLEMENTATION */
