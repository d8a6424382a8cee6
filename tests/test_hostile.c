/* Random registries with hostile label values, helps and exemplars. What every page has to say in
   each format is kept beside the library, by a model that shares nothing with it: each page is read
   by the strict reader and compared line by line. PYTHEUS_PAGES keeps pages, with what is expected
   of them, for other readers. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "page.h"

#include <float.h>
#include <math.h>

enum {
    MOST_FAMILIES = 6,
    MOST_SERIES = 6,
    MOST_BOUNDS = 20,
    MOST_STATES = 5,
    MOST_STRINGS = 2 * PYTHEUS_MAX_LABELS
};

static bool is_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

static void *need(void *p) {
    if (p)
        return p;
    fputs("out of memory\n", stderr);
    abort();
}

static char *copy(const char *text) {
    size_t size = strlen(text) + 1;
    return (char *)memcpy(need(malloc(size)), text, size);
}

static uint64_t random_state;

static uint64_t any(void) {
    return check_random(&random_state);
}

static int below(int n) {
    return (int)(any() % (uint64_t)n);
}

static bool one_in(int n) {
    return below(n) == 0;
}

/* -- mending, after the table of well-formed byte sequences in the Unicode standard -- */

typedef struct form {
    int size;
    struct {
        unsigned char low, high;
    } bytes[4];
} form;

static const form forms[] = {
    {1, {{0x01, 0x7f}}},
    {2, {{0xc2, 0xdf}, {0x80, 0xbf}}},
    {3, {{0xe0, 0xe0}, {0xa0, 0xbf}, {0x80, 0xbf}}},
    {3, {{0xe1, 0xec}, {0x80, 0xbf}, {0x80, 0xbf}}},
    {3, {{0xed, 0xed}, {0x80, 0x9f}, {0x80, 0xbf}}},
    {3, {{0xee, 0xef}, {0x80, 0xbf}, {0x80, 0xbf}}},
    {4, {{0xf0, 0xf0}, {0x90, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}}},
    {4, {{0xf1, 0xf3}, {0x80, 0xbf}, {0x80, 0xbf}, {0x80, 0xbf}}},
    {4, {{0xf4, 0xf4}, {0x80, 0x8f}, {0x80, 0xbf}, {0x80, 0xbf}}},
};

static int matching(const form *f, const unsigned char *at) {
    int n = 0;
    while (n < f->size && at[n] >= f->bytes[n].low && at[n] <= f->bytes[n].high)
        n++;
    return n;
}

/* Whether a whole character is there; if not, size is what one U+FFFD stands for. */
static bool character(const unsigned char *at, int *size) {
    *size = 1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        int n = matching(&forms[i], at);
        if (n == forms[i].size) {
            *size = n;
            return true;
        }
        *size = n > *size ? n : *size;
    }
    return false;
}

/* To be freed. */
static char *mended(const char *text) {
    char *out = need(malloc(3 * strlen(text) + 1)), *to = out;
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        int size;
        bool whole = character(at, &size);
        memcpy(to, whole ? (const char *)at : "\xef\xbf\xbd", whole ? (size_t)size : 3);
        to += whole ? size : 3;
        at += size;
    }
    *to = 0;
    return out;
}

TEST(the_model_mends_as_unicode_says) {
    static const char *const cases[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff", "\xef\xbf\xbd"},
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xe2\x82", "\xef\xbf\xbd"},
        {"\xe2\x82!", "\xef\xbf\xbd!"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xf0\x9f\x98q\xf4\x90", "\xef\xbf\xbdq\xef\xbf\xbd\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *out = mended(cases[i][0]);
        CHECK_STR(out, cases[i][1]);
        free(out);
    }
}

/* -- strings -- */

static const char *const pieces[] = {
    "",
    " ",
    "  ",
    "a",
    "GET",
    "/a/b?c=d&e=f",
    "0",
    "-1",
    "NaN",
    "+Inf",
    "__overflow__",
    "le",
    "{",
    "}",
    "{}",
    ",",
    "=",
    "\"",
    "\"\"",
    "\\",
    "\\\\",
    "\\n",
    "\\\"",
    "\n",
    "\n\n",
    "\r",
    "\r\n",
    "\t",
    "\v",
    "\x01",
    "\x1b[31m",
    "\x7f",
    "#",
    "# EOF\n",
    "\n# TYPE evil counter\nevil 1\n",
    "\"} 1\nevil 2\n",
    "\\\"} 1\n",
    "a=\"b\",c=\"d",
    "%s%n%d",
    "$(id)",
    "<script>",
    "'",
    "`",
    ";",
    /* first and last of each size, and both sides of the gaps */
    "\x7f",
    "\xc2\x80",
    "\xdf\xbf",
    "\xe0\xa0\x80",
    "\xed\x9f\xbf",
    "\xee\x80\x80",
    "\xef\xbf\xbf",
    "\xf0\x90\x80\x80",
    "\xf4\x8f\xbf\xbf",
    "\xef\xbb\xbf",
    "\xef\xbf\xbd",
    "\xef\xbf\xbe",
    "\xe2\x80\xa8",
    "\xe2\x80\xa9",
    "\xc2\x85",
    "\xc2\xa0",
    "\xcc\x81",
    "\xe2\x80\xae",
    "\xf0\x9f\x98\x80",
    "\xc3\xa4",
    "\xe6\x97\xa5\xe6\x9c\xac",
    /* not UTF-8: alone, overlong, surrogates, beyond, cut off, too long */
    "\x80",
    "\xbf",
    "\xc0",
    "\xc0\x80",
    "\xc1\xbf",
    "\xc2",
    "\xdf",
    "\xe0\x80\x80",
    "\xe0\x9f\xbf",
    "\xe0\xa0",
    "\xed\xa0\x80",
    "\xed\xbf\xbf",
    "\xed\xa0\xbd\xed\xb8\x80",
    "\xe2\x82",
    "\xef\xbf",
    "\xf0\x80\x80\x80",
    "\xf0\x8f\xbf\xbf",
    "\xf0\x9f",
    "\xf0\x9f\x98",
    "\xf4\x90\x80\x80",
    "\xf5\x80\x80\x80",
    "\xf8\x88\x80\x80\x80",
    "\xfc\x84\x80\x80\x80\x80",
    "\xfe",
    "\xff",
    "\xff\xfe",
    "\xc3(",
    "\xe2(\xa1",
    "\xe2\x82(",
    "\xf0(\x8c\xbc",
    "\xf0\x90(\xbc",
    "\xc2\"",
    "\xe2\\",
    "\xe2\x82\n",
};
enum { NUM_PIECES = sizeof pieces / sizeof *pieces };

static size_t add_piece(char *out) {
    size_t size = 1 + (size_t)below(8);
    if (!one_in(4)) {
        const char *piece = pieces[below(NUM_PIECES)];
        size = strlen(piece);
        memcpy(out, piece, size);
    } else {
        for (size_t i = 0; i < size; i++)
            out[i] = (char)(1 + below(255));
    }
    return size;
}

/* To be freed. Short as a rule. */
static char *hostile_string_of(size_t wanted) {
    enum { LARGEST_PIECE = 40 };
    size_t size = 0;
    char *out = need(malloc(wanted + 6 * LARGEST_PIECE + 1));
    for (int i = below(6); i > 0; i--)
        size += add_piece(out + size);
    while (size < wanted)
        size += add_piece(out + size);
    out[size] = 0;
    return out;
}

static char *hostile_string(void) {
    return hostile_string_of(one_in(50) ? (size_t)below(4000) : 0);
}

/* Up to 1 MB, where that is on the page once only. */
static char *hostile_value(pytheus_type type) {
    return type == PYTHEUS_GAUGE && one_in(1000) ? hostile_string_of((size_t)below(1 << 20))
                                                 : hostile_string();
}

/* -- numbers -- */

static double of_bits(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static double any_number(void) {
    static const double special[] = {0,
                                     -0.0,
                                     1,
                                     0.1,
                                     0.3,
                                     1e21,
                                     1e-7,
                                     123456789,
                                     DBL_MAX,
                                     DBL_MIN,
                                     5e-324,
                                     -5e-324,
                                     9007199254740992.0,
                                     9007199254740994.0,
                                     1e22,
                                     1e23,
                                     HUGE_VAL,
                                     -HUGE_VAL,
                                     4503599627370497.5,
                                     -DBL_MAX,
                                     100,
                                     1000000,
                                     1e15,
                                     1e16};
    switch (below(5)) {
    case 0:
        return special[below(sizeof special / sizeof *special)];
    case 1:
        return (double)below(1000);
    case 2:
        return (double)(int64_t)(any() >> (8 + below(50)));
    case 3:
        return (double)below(1000000) / 1000;
    default:
        return of_bits(any());
    }
}

static double any_finite(void) {
    double value;
    do
        value = any_number();
    while (!(value - value == 0)); /* finite */
    return value;
}

/* -- the model -- */

typedef struct model_exemplar {
    const char *pairs[6]; /* values are mended, and to be freed */
    size_t num_strings;
    double value;
} model_exemplar;

typedef struct model_series {
    char *values[PYTHEUS_MAX_LABELS]; /* mended, in declared order */
    double value;                     /* or the sum */
    double counts[MOST_BOUNDS + 1];   /* of each bucket; of a summary the first; of each state */
    model_exemplar *exemplars[MOST_BOUNDS + 1];
    bool removed;
} model_series;

typedef struct model_family {
    pytheus_type type;
    char name[200], prefixed[240];
    char in_text[240]; /* samples have this name in text, and families but for what follows _ */
    char family[240], sample[240]; /* in OpenMetrics */
    const char *unit;
    char *states[MOST_STATES]; /* mended */
    int num_states;
    char *help; /* mended; "" if there is none */
    char labels[PYTHEUS_MAX_LABELS][24];
    char *defaults[PYTHEUS_MAX_LABELS]; /* mended; NULL if there is none */
    int num_labels;
    double bounds[MOST_BOUNDS];
    int num_bounds;
    model_series series[1 + MOST_SERIES * PYTHEUS_MAX_LABELS];
    int num_series;
    pytheus_view metric;
} model_family;

typedef struct model {
    pytheus_registry *registry;
    char prefix[16];
    model_family families[MOST_FAMILIES];
    int num_families;
} model;

static void forget_exemplar(model_exemplar **exemplar) {
    for (size_t i = 1; *exemplar && i < (*exemplar)->num_strings; i += 2)
        free((char *)(uintptr_t)(*exemplar)->pairs[i]);
    free(*exemplar);
    *exemplar = NULL;
}

static void forget_exemplars(model_series *s) {
    for (int i = 0; i <= MOST_BOUNDS; i++)
        forget_exemplar(&s->exemplars[i]);
}

static void free_model(model *m) {
    for (model_family *f = m->families; f < m->families + m->num_families; f++) {
        free(f->help);
        for (int i = 0; i < f->num_states; i++)
            free(f->states[i]);
        for (int i = 0; i < f->num_series; i++)
            forget_exemplars(&f->series[i]);
        for (int i = 0; i < f->num_labels; i++) {
            free(f->defaults[i]);
            for (int j = 0; j < f->num_series; j++)
                free(f->series[j].values[i]);
        }
    }
    pytheus_registry_free(m->registry);
}

static model_series *find_series(model_family *f, char *const values[]) {
    for (int i = 0; i < f->num_series; i++) {
        int same = 0;
        while (same < f->num_labels && !strcmp(f->series[i].values[same], values[same]))
            same++;
        if (same == f->num_labels && !f->series[i].removed)
            return &f->series[i];
    }
    return NULL;
}

/* The series with these mended values, which it takes over. */
static model_series *series_of(model_family *f, char *values[]) {
    model_series *s = find_series(f, values);
    if (!s) {
        s = &f->series[f->num_series++];
        memcpy(s->values, values, sizeof s->values);
        return s;
    }
    for (int i = 0; i < f->num_labels; i++)
        free(values[i]);
    return s;
}

static bool is_always_there(const model_family *f) {
    for (int i = 0; i < f->num_labels; i++)
        if (!f->defaults[i])
            return false;
    return true;
}

/* -- random definitions -- */

static void random_name(char *out, int most, const char *alphabet, int number) {
    int size = below(most);
    out[0] = alphabet[below((int)strlen(alphabet) - 10)];
    for (int i = 1; i < size; i++)
        out[i] = alphabet[below((int)strlen(alphabet))];
    snprintf(out + (size ? size : 1), 16, "_%dx", number);
}

/* The unit and the suffix that the type has in OpenMetrics, which a name may end with. */
static void end_name(model_family *f) {
    bool may_have_unit = f->type != PYTHEUS_INFO && f->type != PYTHEUS_STATESET;
    f->unit = "";
    if (may_have_unit && one_in(4)) {
        f->unit = "seconds";
        strcat(f->name, "_seconds");
    }
    if (f->type == PYTHEUS_COUNTER || f->type == PYTHEUS_INFO)
        if (one_in(2))
            strcat(f->name, f->type == PYTHEUS_COUNTER ? "_total" : "_info");
}

/* Without the suffix, if it is there. */
static void cut_name(char *name, const char *suffix) {
    size_t size = strlen(name), cut = strlen(suffix);
    if (size > cut && !strcmp(name + size - cut, suffix))
        name[size - cut] = 0;
}

static void names_in_openmetrics(model_family *f) {
    const char *suffix = f->type == PYTHEUS_COUNTER ? "_total"
                         : f->type == PYTHEUS_INFO  ? "_info"
                                                    : "";
    strcpy(f->family, f->prefixed);
    if (*suffix)
        cut_name(f->family, suffix);
    strcpy(f->sample, f->family);
    strcat(f->sample, suffix);
    strcpy(f->in_text, f->type == PYTHEUS_INFO ? f->sample : f->prefixed);
}

static void name_family(model_family *f, const model *m) {
    static const char alphabet[] =
        "_:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    char name[sizeof f->name];
    random_name(f->name, one_in(10) ? 150 : 20, alphabet, m->num_families);
    if (f->type == PYTHEUS_STATESET) {
        for (char *p = f->name; *p; p++)
            *p = *p == ':' ? 'c' : *p;
        *f->name = 's'; /* it is a label's name, too */
    }
    end_name(f);
    strcpy(f->prefixed, m->prefix);
    strcat(f->prefixed, *m->prefix ? "_" : "");
    memcpy(name, f->name, sizeof name); /* GCC suspects them of overlapping */
    strcat(f->prefixed, name);
    names_in_openmetrics(f);
}

static void choose_states(model_family *f) {
    int wanted = f->type == PYTHEUS_STATESET ? 1 + below(MOST_STATES) : 0;
    while (f->num_states < wanted) {
        char *raw = hostile_string(), *state = mended(raw);
        bool is_new = *state;
        for (int i = 0; i < f->num_states; i++)
            is_new = is_new && strcmp(f->states[i], state) != 0;
        if (is_new)
            f->states[f->num_states++] = state;
        else
            free(state);
        free(raw);
    }
}

static void name_labels(model_family *f) {
    static const char alphabet[] =
        "_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    f->num_labels = one_in(4) ? 0 : one_in(20) ? PYTHEUS_MAX_LABELS : 1 + below(4);
    for (int i = 0; i < f->num_labels; i++) {
        do
            random_name(f->labels[i], 12, alphabet, i);
        while (!strncmp(f->labels[i], "__", 2) || !strcmp(f->labels[i], f->prefixed));
        if (i == 0 && one_in(10) && f->type != PYTHEUS_HISTOGRAM)
            strcpy(f->labels[i], "le");
    }
}

static int compare_doubles(const void *a, const void *b) {
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

static void choose_bounds(model_family *f) {
    static const double standard[] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};
    double all[MOST_BOUNDS];
    int n = one_in(3) ? 0 : 1 + below(MOST_BOUNDS);
    if (n == 0)
        memcpy(f->bounds, standard, sizeof standard);
    f->num_bounds = n ? 0 : 11;
    for (int i = 0; i < n; i++)
        all[i] = any_finite();
    qsort(all, (size_t)n, sizeof *all, compare_doubles);
    for (int i = 0; i < n; i++)
        if (!f->num_bounds || all[i] > f->bounds[f->num_bounds - 1])
            f->bounds[f->num_bounds++] = all[i];
}

static pytheus_view define(pytheus_type type, const pytheus_desc *desc) {
    switch (type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_new(desc).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_new(desc).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_new(desc).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_new(desc).view;
    case PYTHEUS_INFO:
        return pytheus_info_new(desc).view;
    case PYTHEUS_STATESET:
        return pytheus_stateset_new(desc).view;
    case PYTHEUS_UNKNOWN:
        return pytheus_unknown_new(desc).view;
    }
    return (pytheus_view){NULL, 0};
}

/* Defaults in any order, the bound +Inf spelled out or not. */
static void define_family(model *m, model_family *f, const char *help, char *raw_defaults[]) {
    double bounds[MOST_BOUNDS + 1];
    int num_defaults = 0, first = below(PYTHEUS_MAX_LABELS);
    pytheus_desc desc = {.name = f->name, .help = help, .unit = f->unit, .registry = m->registry};
    for (int i = 0; i < f->num_states; i++)
        desc.states[i] = f->states[i];
    for (int i = 0; i < f->num_labels; i++)
        desc.required_labels[i] = f->labels[i];
    for (int j = 0; j < f->num_labels; j++) {
        int i = (first + j) % f->num_labels;
        if (raw_defaults[i])
            desc.default_labels[num_defaults++] = (pytheus_label){f->labels[i], raw_defaults[i]};
    }
    if (f->type == PYTHEUS_HISTOGRAM) {
        memcpy(bounds, f->bounds, sizeof f->bounds);
        bounds[f->num_bounds] = HUGE_VAL;
        desc.buckets = bounds;
        desc.num_buckets = (size_t)f->num_bounds + one_in(2);
    }
    f->metric = define(f->type, &desc);
    check_that(f->metric.node, __FILE__, __LINE__, "%s refused: %s", f->name, pytheus_last_error());
}

static void begin_always_there(model_family *f) {
    char *values[PYTHEUS_MAX_LABELS] = {NULL};
    for (int i = 0; i < f->num_labels; i++)
        values[i] = copy(f->defaults[i]);
    (void)series_of(f, values);
}

static model_family *add_family(model *m) {
    static const pytheus_type types[] = {PYTHEUS_COUNTER, PYTHEUS_GAUGE,    PYTHEUS_HISTOGRAM,
                                         PYTHEUS_SUMMARY, PYTHEUS_INFO,     PYTHEUS_STATESET,
                                         PYTHEUS_UNKNOWN, PYTHEUS_HISTOGRAM};
    model_family *f = &m->families[m->num_families];
    char *raw[PYTHEUS_MAX_LABELS] = {NULL}, *help = one_in(4) ? NULL : hostile_string();
    int share = one_in(3) ? 1 : 3;
    f->type = types[below((int)(sizeof types / sizeof *types))];
    f->help = help ? mended(help) : copy("");
    name_family(f, m);
    name_labels(f);
    choose_bounds(f);
    choose_states(f);
    for (int i = 0; i < f->num_labels; i++) {
        raw[i] = one_in(share) ? hostile_string() : NULL;
        f->defaults[i] = raw[i] ? mended(raw[i]) : NULL;
    }
    m->num_families++;
    define_family(m, f, help, raw);
    if (is_always_there(f))
        begin_always_there(f);
    for (int i = 0; i < f->num_labels; i++)
        free(raw[i]);
    free(help);
    return f;
}

/* -- random series -- */

static pytheus_view view(model_family *f, pytheus_view of, const char *const *pairs, size_t n) {
    switch (f->type) {
    case PYTHEUS_COUNTER:
        return pytheus_counter_view((pytheus_counter){of}, pairs, n).view;
    case PYTHEUS_GAUGE:
        return pytheus_gauge_view((pytheus_gauge){of}, pairs, n).view;
    case PYTHEUS_HISTOGRAM:
        return pytheus_histogram_view((pytheus_histogram){of}, pairs, n).view;
    case PYTHEUS_SUMMARY:
        return pytheus_summary_view((pytheus_summary){of}, pairs, n).view;
    case PYTHEUS_INFO:
        return pytheus_info_view((pytheus_info){of}, pairs, n).view;
    case PYTHEUS_STATESET:
        return pytheus_stateset_view((pytheus_stateset){of}, pairs, n).view;
    case PYTHEUS_UNKNOWN:
        return pytheus_unknown_view((pytheus_unknown){of}, pairs, n).view;
    }
    return of;
}

/* A view which these labels and the defaults complete is a series. */
static model_series *complete(model_family *f, const char *const *pairs, size_t num_strings) {
    char *values[PYTHEUS_MAX_LABELS] = {NULL};
    bool is_complete = true;
    for (int i = 0; i < f->num_labels; i++) {
        const char *raw = f->defaults[i];
        for (size_t j = 0; j < num_strings; j += 2)
            raw = strcmp(pairs[j], f->labels[i]) ? raw : pairs[j + 1];
        values[i] = raw ? mended(raw) : NULL;
        is_complete = is_complete && raw;
    }
    if (is_complete)
        return series_of(f, values);
    for (int i = 0; i < f->num_labels; i++)
        free(values[i]);
    return NULL;
}

static void shuffle(const char *pairs[], size_t num_pairs) {
    for (size_t i = num_pairs; i > 1; i--) {
        size_t j = (size_t)below((int)i);
        for (size_t k = 0; k < 2; k++) {
            const char *last = pairs[2 * (i - 1) + k];
            pairs[2 * (i - 1) + k] = pairs[2 * j + k];
            pairs[2 * j + k] = last;
        }
    }
}

/* The labels in any order, all at once or in steps. */
static pytheus_view add_series(model_family *f, model_series **series) {
    const char *pairs[MOST_STRINGS];
    size_t num_strings = 0, from = 0, to;
    pytheus_view at = f->metric;
    for (int i = 0; i < f->num_labels; i++)
        if (!f->defaults[i] || one_in(2)) {
            pairs[num_strings++] = f->labels[i];
            pairs[num_strings++] = hostile_value(f->type);
        }
    shuffle(pairs, num_strings / 2);
    *series = complete(f, pairs, 0);
    for (; from < num_strings; from = to) {
        size_t left = (num_strings - from) / 2;
        to = from + 2 * (one_in(3) ? 1 + (size_t)below((int)left) : left);
        at = view(f, at, pairs + from, to - from);
        *series = complete(f, pairs, to);
    }
    for (size_t i = 1; i < num_strings; i += 2)
        free((char *)(uintptr_t)pairs[i]);
    return at;
}

static size_t num_characters(const char *text) {
    size_t num = 0;
    for (; *text; text++)
        num += (*text & 0xc0) != 0x80;
    return num;
}

/* At most three labels with hostile values, which may be longer together than exemplars may be. */
static model_exemplar *hostile_exemplar(double value) {
    static const char *const names[] = {"trace_id", "le", "_A9"};
    model_exemplar *exemplar = need(calloc(1, sizeof *exemplar));
    exemplar->value = value;
    for (int i = below(4); i > 0; i--) {
        exemplar->pairs[exemplar->num_strings++] = names[i - 1];
        exemplar->pairs[exemplar->num_strings++] = hostile_string();
    }
    return exemplar;
}

static size_t mend_exemplar(model_exemplar *exemplar) {
    size_t num = 0;
    for (size_t i = 0; i < exemplar->num_strings; i += 2) {
        char *raw = (char *)(uintptr_t)exemplar->pairs[i + 1];
        exemplar->pairs[i + 1] = mended(raw);
        num += num_characters(exemplar->pairs[i]) + num_characters(exemplar->pairs[i + 1]);
        free(raw);
    }
    return num;
}

/* Adds or observes it with what it is an exemplar of. Too long a one leaves that from before. */
static void exemplify(const model_family *f, pytheus_view at, model_series *s, int bucket,
                      double value) {
    model_exemplar *exemplar = hostile_exemplar(value);
    pytheus_err err = f->type == PYTHEUS_COUNTER
                          ? pytheus_counter_add_with((pytheus_counter){at}, value, exemplar->pairs,
                                                     exemplar->num_strings)
                          : pytheus_histogram_observe_with((pytheus_histogram){at}, value,
                                                           exemplar->pairs, exemplar->num_strings);
    bool fits = mend_exemplar(exemplar) <= 128;
    CHECK_ERR(err, fits ? PYTHEUS_OK : PYTHEUS_ERR_LABEL);
    if (!fits) {
        forget_exemplar(&exemplar);
        return;
    }
    forget_exemplar(&s->exemplars[bucket]);
    s->exemplars[bucket] = exemplar;
}

static void set_counter(pytheus_counter c, model_series *s, double value) {
    CHECK_ERR(pytheus_counter_set(c, value), PYTHEUS_OK);
    s->value = value;
}

/* Whole numbers and halves, whose sums are the same in any order. Once increments are counted
   apart, a set is exact for such numbers too. */
static void count(const model_family *f, pytheus_counter c, model_series *s) {
    double value = below(1000) / 2.0;
    bool is_small = s->value < 1e6 && s->value * 2 == floor(s->value * 2);
    if (!is_small || (s->counts[0] == 0 && one_in(2))) {
        if (s->counts[0] == 0)
            set_counter(c, s, fabs(any_finite()));
        return;
    }
    if (one_in(3)) {
        set_counter(c, s, value);
        return;
    }
    if (one_in(2))
        exemplify(f, c.view, s, 0, value);
    else
        CHECK_ERR(pytheus_counter_add(c, value), PYTHEUS_OK);
    CHECK_ERR(pytheus_counter_inc(c), PYTHEUS_OK);
    s->value += value + 1;
    s->counts[0] = 1;
}

static void set(pytheus_gauge g, model_series *s) {
    double value = any_number();
    CHECK_ERR(pytheus_gauge_set(g, value), PYTHEUS_OK);
    s->value = value;
    if (one_in(3)) {
        volatile double sum = value + 1.5;
        CHECK_ERR(pytheus_gauge_add(g, 1.5), PYTHEUS_OK);
        s->value = sum;
    }
}

static void turn(const model_family *f, pytheus_stateset set, model_series *s) {
    int state = below(f->num_states);
    bool on = one_in(2);
    if (one_in(2)) {
        CHECK_ERR(pytheus_stateset_set(set, f->states[state], on), PYTHEUS_OK);
        s->counts[state] = on;
        return;
    }
    CHECK_ERR(pytheus_stateset_switch(set, f->states[state]), PYTHEUS_OK);
    memset(s->counts, 0, sizeof s->counts);
    s->counts[state] = 1;
}

static void observe(const model_family *f, pytheus_view at, model_series *s) {
    volatile double sum = s->value;
    double value = any_number();
    int bucket = 0;
    if (value != value)
        value = 0.25;
    if (f->type == PYTHEUS_HISTOGRAM)
        while (bucket < f->num_bounds && value > f->bounds[bucket])
            bucket++;
    if (f->type == PYTHEUS_HISTOGRAM && one_in(2))
        exemplify(f, at, s, bucket, value);
    else
        CHECK_ERR(f->type == PYTHEUS_HISTOGRAM
                      ? pytheus_histogram_observe((pytheus_histogram){at}, value)
                      : pytheus_summary_observe((pytheus_summary){at}, value),
                  PYTHEUS_OK);
    s->counts[bucket]++;
    sum += value;
    s->value = sum;
}

static void operate(model_family *f, pytheus_view at, model_series *s) {
    for (int i = below(5); i > 0; i--) {
        if (f->type == PYTHEUS_COUNTER) {
            count(f, (pytheus_counter){at}, s);
        } else if (f->type == PYTHEUS_GAUGE) {
            set((pytheus_gauge){at}, s);
        } else if (f->type == PYTHEUS_UNKNOWN) {
            s->value = any_number();
            CHECK_ERR(pytheus_unknown_set((pytheus_unknown){at}, s->value), PYTHEUS_OK);
        } else if (f->type == PYTHEUS_STATESET) {
            turn(f, (pytheus_stateset){at}, s);
        } else if (f->type != PYTHEUS_INFO) {
            observe(f, at, s);
        }
    }
}

/* One that is there from the start is set to 0 instead. */
static void remove_series(model_family *f, pytheus_view at, model_series *s) {
    CHECK_ERR(pytheus_view_remove(at), PYTHEUS_OK);
    forget_exemplars(s);
    if (is_always_there(f) && s == f->series) {
        s->value = 0;
        memset(s->counts, 0, sizeof s->counts);
        return;
    }
    s->removed = true;
    CHECK(!pytheus_view_observable(at));
}

static void fill_family(model_family *f) {
    for (int i = below(MOST_SERIES + 1); i > 0; i--) {
        model_series *s;
        pytheus_view at = add_series(f, &s);
        CHECK(pytheus_view_observable(at));
        operate(f, at, s);
        if (one_in(10))
            remove_series(f, at, s);
    }
}

/* Exemplars that are too long are told of. */
static void keep_quiet(void *user, pytheus_err err, const char *metric, const char *sentence) {
    (void)user;
    (void)err;
    (void)metric;
    (void)sentence;
}

/* A registry and what its page has to say. */
static model *random_model(void) {
    model *m = need(calloc(1, sizeof *m));
    int num_families = 1 + below(MOST_FAMILIES);
    if (one_in(3))
        random_name(m->prefix, 5, "abcXYZ_0123456789", 0);
    if (!strncmp(m->prefix, "__", 2)) /* a stateset has it in a label's name */
        *m->prefix = 'a';
    m->registry = pytheus_registry_new(&(pytheus_registry_desc){
        .prefix = *m->prefix ? m->prefix : NULL, .logger = {keep_quiet, NULL}});
    CHECK(m->registry);
    while (m->num_families < num_families)
        fill_family(add_family(m));
    return m;
}

/* -- the page against the model -- */

typedef struct comparison {
    page_reading reading;
    size_t next; /* sample on the page */
    bool kept;
} comparison;

static bool same_number(double a, double b) {
    return (a != a && b != b) || !memcmp(&a, &b, sizeof a);
}

static bool has_labels(const reader_sample *on_page, const model_family *f, const model_series *s) {
    for (int i = 0; i < f->num_labels; i++)
        if (strcmp(on_page->labels[i].name, f->labels[i]) ||
            strcmp(on_page->labels[i].value, s->values[i]))
            return false;
    return true;
}

/* What is expected of a sample but for its labels, which are those of the series, and one more. */
typedef struct expected_sample {
    const char *suffix, *state;
    const double *bound;
    double value;
    const model_exemplar *exemplar;
} expected_sample;

static bool in_text(const comparison *c) {
    return c->reading.format == PYTHEUS_TEXT;
}

/* For those who read the page after us. The text of a bound is what the page has: that it means the
   right number was checked, and the strict reader allows one spelling only. */
static void keep_expectation(comparison *c, const model_family *f, const model_series *s,
                             const reader_sample *on_page, const expected_sample *e) {
    const char *pairs[MOST_STRINGS + 2];
    for (int i = 0; i < f->num_labels; i++) {
        pairs[2 * i] = f->labels[i];
        pairs[2 * i + 1] = s->values[i];
    }
    pairs[2 * f->num_labels] = e->state ? f->prefixed : "le";
    if (on_page->num_labels > (size_t)f->num_labels)
        pairs[2 * f->num_labels + 1] = e->state ? e->state : on_page->labels[f->num_labels].value;
    page_expect(&c->reading, on_page->name, pairs, 2 * on_page->num_labels, e->value);
    if (e->exemplar && !in_text(c))
        page_expect_exemplar(&c->reading, e->exemplar->pairs, e->exemplar->num_strings,
                             e->exemplar->value);
}

static void check_exemplar(const reader_sample *on_page, const model_exemplar *exemplar) {
    CHECK(on_page->has_exemplar == (exemplar != NULL));
    if (!exemplar || !on_page->has_exemplar ||
        !CHECK(2 * on_page->exemplar.num_labels == exemplar->num_strings))
        return;
    CHECK_DOUBLE(on_page->exemplar.value, exemplar->value);
    for (size_t i = 0; i < on_page->exemplar.num_labels; i++) {
        CHECK_STR(on_page->exemplar.labels[i].name, exemplar->pairs[2 * i]);
        CHECK_STR(on_page->exemplar.labels[i].value, exemplar->pairs[2 * i + 1]);
    }
}

static void check_last_label(const model_family *f, const reader_sample *on_page,
                             const expected_sample *e) {
    const reader_label *last = &on_page->labels[f->num_labels];
    if (e->bound) {
        CHECK_STR(last->name, "le");
        CHECK(on_page->bound == *e->bound);
    } else if (e->state) {
        CHECK_STR(last->name, f->prefixed);
        CHECK_STR(last->value, e->state);
    }
}

static void expect_sample(comparison *c, const model_family *f, const model_series *s,
                          const expected_sample *e) {
    const reader_sample *on_page = &c->reading.doc.samples[c->next];
    size_t num_labels = (size_t)f->num_labels + (e->bound || e->state);
    char name[256];
    snprintf(name, sizeof name, "%s%s", in_text(c) ? f->in_text : f->sample,
             e->suffix ? e->suffix : "");
    if (!CHECK(c->next < c->reading.doc.num_samples))
        return;
    c->next++;
    CHECK_STR(on_page->name, name);
    if (!CHECK(on_page->num_labels == num_labels) || !CHECK(has_labels(on_page, f, s)))
        return;
    check_that(same_number(on_page->value, e->value), __FILE__, __LINE__, "%s is %s, not %.17g",
               name, on_page->value_text, e->value);
    check_last_label(f, on_page, e);
    check_exemplar(on_page, in_text(c) ? NULL : e->exemplar);
    if (c->kept)
        keep_expectation(c, f, s, on_page, e);
}

/* OpenMetrics has no sum that may fall; a histogram without one has no count. */
static bool has_sum(const comparison *c, const model_family *f, const model_series *s) {
    bool falls = f->type == PYTHEUS_HISTOGRAM && f->num_bounds && f->bounds[0] < 0;
    return in_text(c) || (!falls && s->value >= 0);
}

static void expect_distribution(comparison *c, const model_family *f, const model_series *s) {
    double count = s->counts[0], infinite = HUGE_VAL;
    if (f->type == PYTHEUS_HISTOGRAM) {
        count = 0;
        for (int i = 0; i <= f->num_bounds; i++) {
            count += s->counts[i];
            expect_sample(c, f, s,
                          &(expected_sample){.suffix = "_bucket",
                                             .bound = i < f->num_bounds ? &f->bounds[i] : &infinite,
                                             .value = count,
                                             .exemplar = s->exemplars[i]});
        }
    }
    if (has_sum(c, f, s))
        expect_sample(c, f, s, &(expected_sample){.suffix = "_sum", .value = s->value});
    if (has_sum(c, f, s) || f->type == PYTHEUS_SUMMARY)
        expect_sample(c, f, s, &(expected_sample){.suffix = "_count", .value = count});
}

static void expect_series(comparison *c, const model_family *f, const model_series *s) {
    expected_sample plain = {.value = f->type == PYTHEUS_INFO ? 1 : s->value,
                             .exemplar = s->exemplars[0]};
    if (f->type == PYTHEUS_HISTOGRAM || f->type == PYTHEUS_SUMMARY)
        expect_distribution(c, f, s);
    else if (f->type != PYTHEUS_STATESET)
        expect_sample(c, f, s, &plain);
    for (int i = 0; i < f->num_states; i++)
        expect_sample(c, f, s, &(expected_sample){.state = f->states[i], .value = s->counts[i]});
}

static reader_type type_on_page(const comparison *c, pytheus_type type) {
    static const reader_type types[] = {
        [PYTHEUS_COUNTER] = READER_COUNTER,     [PYTHEUS_GAUGE] = READER_GAUGE,
        [PYTHEUS_HISTOGRAM] = READER_HISTOGRAM, [PYTHEUS_SUMMARY] = READER_SUMMARY,
        [PYTHEUS_INFO] = READER_INFO,           [PYTHEUS_STATESET] = READER_STATESET,
        [PYTHEUS_UNKNOWN] = READER_UNKNOWN,
    };
    if (in_text(c) && (type == PYTHEUS_INFO || type == PYTHEUS_STATESET))
        return READER_GAUGE;
    return in_text(c) && type == PYTHEUS_UNKNOWN ? READER_UNTYPED : types[type];
}

static void expect_family(comparison *c, const model_family *f) {
    page_expect_family_in(&c->reading, type_on_page(c, f->type),
                          in_text(c) ? f->in_text : f->family, f->help, in_text(c) ? "" : f->unit);
    for (int i = 0; i < f->num_series; i++)
        if (!f->series[i].removed)
            expect_series(c, f, &f->series[i]);
}

static void compare(const model *m, pytheus_format format, bool kept) {
    comparison c = {.reading = page_open_at(m->registry, format, __FILE__, __LINE__), .kept = kept};
    if (c.reading.good)
        for (int i = 0; i < m->num_families; i++)
            expect_family(&c, &m->families[i]);
    CHECK(c.next == c.reading.doc.num_samples);
    CHECK(c.reading.doc.num_families == (size_t)m->num_families);
    if (kept) {
        page_close(&c.reading);
        return;
    }
    reader_free(&c.reading.doc);
    free(c.reading.expected);
    free(c.reading.text);
}

/* The same through the function that tests of programs use. */
static void ask_for_sample(const model *m, const model_family *f, const model_series *s) {
    const char *pairs[MOST_STRINGS + 2];
    bool in_parts = f->type == PYTHEUS_HISTOGRAM || f->type == PYTHEUS_SUMMARY;
    size_t n = 2 * (size_t)f->num_labels;
    char name[256];
    double value = -17;
    for (int j = 0; j < f->num_labels; j++) {
        pairs[2 * j] = f->labels[j];
        pairs[2 * j + 1] = s->values[j];
    }
    if (f->num_states) {
        pairs[n++] = f->prefixed;
        pairs[n++] = f->states[0];
    }
    snprintf(name, sizeof name, "%s%s", f->in_text, in_parts ? "_sum" : "");
    CHECK_ERR(pytheus_sample_value(m->registry, name, pairs, n, &value), PYTHEUS_OK);
    CHECK_DOUBLE(value, f->num_states ? s->counts[0] : f->type == PYTHEUS_INFO ? 1 : s->value);
}

static void ask_for_samples(const model *m) {
    for (const model_family *f = m->families; f < m->families + m->num_families; f++)
        for (int i = 0; i < f->num_series; i++)
            if (!f->series[i].removed)
                ask_for_sample(m, f, &f->series[i]);
}

TEST(random_registries) {
    int num = is_long() ? 100000 : 2000;
    for (int i = 0; i < num && check_num_failed < 20; i++) {
        random_state = (uint64_t)i * 1000003;
        int before = check_num_failed;
        model *m = random_model();
        compare(m, PYTHEUS_TEXT, !is_long() || i % 50 == 0);
        compare(m, PYTHEUS_OPENMETRICS, is_long() ? i % 10 == 0 : i % 4 == 0);
        ask_for_samples(m);
        free_model(m);
        free(m);
        if (check_num_failed > before)
            printf("(in registry %d)\n", i);
    }
}

/* -- every string of one and of two bytes -- */

enum { NUM_SHORT = 255 + 255 * 255, NUM_HELPS = 500 };

static void short_string(int i, char out[3]) {
    memset(out, 0, 3);
    out[0] = (char)(1 + (i < 255 ? i : (i - 255) / 255));
    if (i >= 255)
        out[1] = (char)(1 + (i - 255) % 255);
}

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static pytheus_counter count_short_strings(pytheus_registry *registry, char *all[]) {
    pytheus_counter metric = pytheus_counter_new(&(pytheus_desc){
        .name = "short", .required_labels = {"v"}, .max_series = NUM_SHORT, .registry = registry});
    for (int i = 0; i < NUM_SHORT; i++) {
        char text[3];
        short_string(i, text);
        CHECK_ERR(pytheus_counter_inc(pytheus_counter_labels(metric, "v", text)), PYTHEUS_OK);
        all[i] = mended(text);
    }
    qsort(all, NUM_SHORT, sizeof *all, compare_strings);
    return metric;
}

/* Those that are mended to the same text are one series. */
TEST(all_short_strings_as_label_values) {
    static char *all[NUM_SHORT];
    pytheus_registry *registry = pytheus_registry_new(NULL);
    size_t num_series = 0;
    reader_doc doc;
    char error[READER_ERROR_SIZE];
    (void)count_short_strings(registry, all);
    char *text = page(registry);
    CHECK(reader_parse(text, strlen(text), &doc, error));
    for (int i = 0, same; i < NUM_SHORT; i += same, num_series++) {
        const char *const pairs[] = {"v", all[i]};
        const reader_sample *sample = reader_find(&doc, "short", pairs, 2);
        for (same = 1; i + same < NUM_SHORT && !strcmp(all[i], all[i + same]);)
            same++;
        if (CHECK(sample))
            CHECK_DOUBLE(sample->value, same);
    }
    CHECK_INT(doc.num_samples, num_series);
    reader_free(&doc);
    free(text);
    for (int i = 0; i < NUM_SHORT; i++)
        free(all[i]);
    pytheus_registry_free(registry);
}

static void check_helps(const reader_doc *doc, int from, int num) {
    for (int i = 0; i < num; i++) {
        char raw[3], *help;
        short_string(from + i, raw);
        help = mended(raw);
        CHECK_STR(doc->families[i].help, help);
        free(help);
    }
}

static void help_with_short_strings(int from, int num) {
    pytheus_registry *registry = pytheus_registry_new(NULL);
    reader_doc doc;
    char name[32], raw[3], error[READER_ERROR_SIZE];
    for (int i = from; i < from + num; i++) {
        pytheus_desc desc = {.name = name, .help = raw, .registry = registry};
        snprintf(name, sizeof name, "h_%d", i);
        short_string(i, raw);
        CHECK(pytheus_gauge_new(&desc).view.node);
    }
    char *text = page(registry);
    if (check_that(reader_parse(text, strlen(text), &doc, error), __FILE__, __LINE__, "%s",
                   error) &&
        CHECK(doc.num_families == (size_t)num))
        check_helps(&doc, from, num);
    reader_free(&doc);
    free(text);
    pytheus_registry_free(registry);
}

TEST(all_short_strings_as_help) {
    for (int from = 0; from < NUM_SHORT; from += NUM_HELPS)
        help_with_short_strings(from, from + NUM_HELPS < NUM_SHORT ? NUM_HELPS : NUM_SHORT - from);
}

/* -- a megabyte of each -- */

static char *megabyte_of(const char *piece) {
    size_t size = strlen(piece), n = (1 << 20) / size;
    char *out = need(malloc(n * size + 1));
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * size, piece, size);
    out[n * size] = 0;
    return out;
}

static void check_megabyte(const char *piece) {
    pytheus_registry *registry = pytheus_registry_new(NULL);
    char *raw = megabyte_of(piece), *expected = mended(raw), error[READER_ERROR_SIZE];
    pytheus_desc desc = {
        .name = "big", .help = raw, .required_labels = {"v", "w"}, .registry = registry};
    pytheus_gauge g = pytheus_gauge_labels(pytheus_gauge_new(&desc), "v", raw, "w", raw);
    reader_doc doc;
    CHECK_ERR(pytheus_gauge_set(g, 0.1), PYTHEUS_OK);
    char *text = pytheus_generate(registry, PYTHEUS_TEXT, NULL);
    if (CHECK(text) && CHECK(reader_parse(text, strlen(text), &doc, error))) {
        const char *const pairs[] = {"v", expected, "w", expected};
        const reader_sample *sample = reader_find(&doc, "big", pairs, 4);
        CHECK(!strcmp(doc.families[0].help, expected));
        if (CHECK(sample))
            CHECK_DOUBLE(sample->value, 0.1);
        reader_free(&doc);
    }
    pytheus_free(text);
    free(raw);
    free(expected);
    pytheus_registry_free(registry);
}

TEST(a_megabyte_of_each) {
    static const char *const of[] = {"a",    "\\",          "\"",       "\n",
                                     "\xff", "\xc3\xa4",    "\xe2\x82", "\xf0\x9f\x98\x80",
                                     "\r",   "\\\"\n\xc0 a"};
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        check_megabyte(of[i]);
}
