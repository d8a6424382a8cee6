/* reader.h: a strict reader of the text format 0.0.4 and of OpenMetrics 1.0.0, written from the
 * formats' specifications and sharing nothing with the writer. It refuses whatever the
 * specification does not allow, what other readers let pass in silence (a histogram without +Inf,
 * families in pieces, a series twice), and whatever is spelled in another way than pytheus.h
 * promises: numbers, escapes, the order of lines. READER_ANY_OPENMETRICS takes every spelling that
 * the specification of OpenMetrics allows.
 *
 *     reader_doc doc;
 *     char error[256];
 *     if (!reader_parse(text, size, &doc, error))
 *         puts(error);                                      "line 7: a carriage return"
 *     const char *pairs[] = {"method", "GET"};
 *     const reader_sample *sample = reader_find(&doc, "hits_total", pairs, 2);
 *     reader_free(&doc);
 *
 * reader_parse_as() takes the format too. Time grows with the size of the text (n log n with the
 * number of samples). C99 and C++11. */
#ifndef READER_H
#define READER_H

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum reader_format {
    READER_TEXT,
    READER_OPENMETRICS,
    READER_ANY_OPENMETRICS
} reader_format;

/* Untyped is of the text format, what comes after summary of OpenMetrics. */
typedef enum reader_type {
    READER_UNTYPED,
    READER_COUNTER,
    READER_GAUGE,
    READER_HISTOGRAM,
    READER_SUMMARY,
    READER_UNKNOWN,
    READER_INFO,
    READER_STATESET,
    READER_GAUGEHISTOGRAM
} reader_type;

/* What a sample is within its family; a plain one is all the value that there is. */
typedef enum reader_role {
    READER_STRANGER,
    READER_PLAIN,
    READER_QUANTILE,
    READER_BUCKET,
    READER_SUM,
    READER_COUNT,
    READER_CREATED
} reader_role;

typedef struct reader_label {
    const char *name, *value; /* unescaped */
} reader_label;

/* Timestamps are milliseconds, an int64, in text and seconds in OpenMetrics. */
typedef struct reader_exemplar {
    const reader_label *labels;
    size_t first_label, num_labels;
    double value, timestamp;
    bool has_timestamp;
} reader_exemplar;

typedef struct reader_sample {
    const char *name;
    const reader_label *labels;
    size_t first_label, num_labels;
    const char *value_text;
    double value;
    double bound; /* of a bucket or quantile */
    int64_t timestamp_ms;
    double timestamp;
    bool has_timestamp, has_exemplar;
    reader_exemplar exemplar;
    reader_role role;
    size_t line;
    uint64_t series_hash, group_hash;
} reader_sample;

typedef struct reader_family {
    const char *name;
    const char *help; /* unescaped; NULL: no HELP line */
    const char *unit; /* NULL: no UNIT line */
    reader_type type;
    bool has_type;
    size_t line, first_sample, num_samples;
} reader_family;

typedef struct reader_key {
    uint64_t hash;
    size_t index;
} reader_key;

typedef struct reader_doc {
    reader_format format;
    reader_family *families;
    size_t num_families;
    reader_sample *samples;
    size_t num_samples;
    reader_label *labels;
    size_t num_labels;
    reader_key *series; /* all samples by series_hash */
    char *strings;
} reader_doc;

typedef struct reader {
    const char *at, *end;
    size_t line;
    reader_doc *doc;
    size_t room_families, room_samples, room_labels;
    char *next_string;
    char *error;
} reader;

#define READER_ERROR_SIZE 256
#define READER_NUMBER_SIZE 400

enum { READER_NUM_TYPES = READER_GAUGEHISTOGRAM + 1 };

static const char *const reader_type_names[] = {"untyped",   "counter",  "gauge",
                                                "histogram", "summary",  "unknown",
                                                "info",      "stateset", "gaugehistogram"};

__attribute__((format(printf, 3, 4))) static inline bool reader_refuse(const reader *r, size_t line,
                                                                       const char *format, ...) {
    va_list arguments;
    int size = snprintf(r->error, READER_ERROR_SIZE, "line %lu: ", (unsigned long)line);
    va_start(arguments, format);
    vsnprintf(r->error + size, READER_ERROR_SIZE - (size_t)size, format, arguments);
    va_end(arguments);
    return false;
}

static inline void *reader_grow(void *array, size_t num, size_t *room, size_t size) {
    if (array && num < *room)
        return array;
    *room = 2 * num + 16;
    array = realloc(array, *room * size);
    if (!array) {
        fputs("reader.h: out of memory\n", stderr);
        abort();
    }
    return array;
}

/* ==== BYTES ==== */

/* The size of the well-formed character at p, 0 if there is none: the table in the Unicode
   standard that leaves out overlong forms, surrogates and what is beyond U+10FFFF. */
static inline size_t reader_character(const unsigned char *p, size_t left) {
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    unsigned char low = p[0] == 0xe0 ? 0xa0 : p[0] == 0xf0 ? 0x90 : 0x80;
    unsigned char high = p[0] == 0xed ? 0x9f : p[0] == 0xf4 ? 0x8f : 0xbf;
    if (p[0] > 0xf4 || size > left || (size > 1 && (p[1] < low || p[1] > high)))
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

static inline bool reader_in_text(const reader *r) {
    return r->doc->format == READER_TEXT;
}

/* Whether a spelling is good enough that pytheus.h does not use. */
static inline bool reader_is_lenient(const reader *r) {
    return r->doc->format == READER_ANY_OPENMETRICS;
}

static inline bool reader_check_bytes(const reader *r, size_t *line) {
    const unsigned char *p = (const unsigned char *)r->at, *end = (const unsigned char *)r->end;
    size_t size;
    if (end - p >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf)
        return reader_refuse(r, *line, "a byte order mark");
    for (; p < end; p += size) {
        size = reader_character(p, (size_t)(end - p));
        if (!size)
            return reader_refuse(r, *line, "byte 0x%02x is not UTF-8", *p);
        if (!*p && !reader_is_lenient(r))
            return reader_refuse(r, *line, "a NUL byte");
        if (*p == '\n' && p + 1 < end)
            ++*line;
    }
    return true;
}

static inline bool reader_ends_with(const reader *r, const char *end, const char *text) {
    size_t size = strlen(text);
    return (size_t)(end - r->at) >= size && !memcmp(end - size, text, size);
}

/* The text without its last line, # EOF, which has a meaning of its own. */
static inline bool reader_take_eof(reader *r, size_t line) {
    static const char eof[] = "# EOF";
    const char *end = r->end - reader_ends_with(r, r->end, "\n");
    if (end == r->end && !reader_is_lenient(r) && r->at < r->end)
        return reader_refuse(r, line, "no line feed at the end");
    if (reader_in_text(r))
        return true;
    if (reader_ends_with(r, end, eof)) {
        r->end = end - (sizeof eof - 1);
        if (r->at == r->end || r->end[-1] == '\n')
            return true;
    }
    return reader_refuse(r, line, "no # EOF at the end");
}

/* ==== NUMBERS ==== */

/* A decimal number taken apart; its digits begin with the first that is not 0. */
typedef struct reader_decimal {
    char digits[18];
    size_t num_digits;
    int exponent; /* of the first digit */
    bool has_point, has_exponent;
} reader_decimal;

static inline size_t reader_span(const char *text) {
    return strspn(text, "0123456789");
}

static inline void reader_add_digits(reader_decimal *d, const char *digits, size_t num) {
    for (size_t i = 0; i < num; i++) {
        if (digits[i] == '0' && !d->num_digits)
            continue;
        if (d->num_digits < sizeof d->digits - 1)
            d->digits[d->num_digits] = digits[i];
        d->num_digits++;
    }
}

/* e+06: a sign, at least two digits, and no 0 more than that takes. */
static inline bool reader_exponent(const char *text, reader_decimal *d) {
    size_t num = text[0] == '+' || text[0] == '-' ? reader_span(text + 1) : 0;
    if (num < 2 || num > 3 || text[1 + num] || (num > 2 && text[1] == '0'))
        return false;
    d->exponent = atoi(text);
    d->has_exponent = true;
    return true;
}

/* 0, 12, -1.5, 2.5e-07. No needless digit: 01, 1.50, .5, 5., 12e+10 and 0e+00 are none of ours. */
static inline bool reader_decimal_of(const char *text, reader_decimal *d) {
    const char *whole = text + (*text == '-'), *fraction;
    size_t num_whole = reader_span(whole), num_fraction = 0;
    memset(d, 0, sizeof *d);
    fraction = whole + num_whole;
    d->has_point = *fraction == '.';
    if (d->has_point) {
        num_fraction = reader_span(++fraction);
        if (!num_fraction || fraction[num_fraction - 1] == '0')
            return false;
    }
    if (!num_whole || (num_whole > 1 && *whole == '0'))
        return false;
    reader_add_digits(d, whole, num_whole);
    reader_add_digits(d, fraction, num_fraction);
    d->exponent = *whole != '0' ? (int)num_whole - 1 : -1 - (int)strspn(fraction, "0");
    if (fraction[num_fraction] == 'e')
        return num_whole == 1 && *whole != '0' && reader_exponent(fraction + num_fraction + 1, d);
    return !fraction[num_fraction];
}

/* strtod wants the point of the locale that the program happens to be in. */
static inline double reader_to_double(const char *text) {
    char local[READER_NUMBER_SIZE + 16];
    const char *point = strchr(text, '.');
    if (!point)
        return strtod(text, NULL);
    snprintf(local, sizeof local, "%.*s%s%s", (int)(point - text), text,
             localeconv()->decimal_point, point + 1);
    return strtod(local, NULL);
}

/* Up to 15 digits are always the shortest, unless the number is so small that it has fewer bits. */
static inline bool reader_shortest(const reader_decimal *d, double value) {
    char shorter[64];
    if (d->num_digits <= 15 && fabs(value) > 1e-290)
        return true;
    if (d->num_digits < 2)
        return value != 0;
    if (d->num_digits > 17)
        return false;
    snprintf(shorter, sizeof shorter, "%.*e", (int)d->num_digits - 2, fabs(value));
    return strtod(shorter, NULL) != fabs(value);
}

/* Of several shortest texts the nearest. At a power of two the nearest may not read back. */
static inline bool reader_nearest(const reader_decimal *d, double value) {
    char nearest[64];
    uint64_t bits;
    size_t same = 0;
    memcpy(&bits, &value, sizeof bits);
    if (d->num_digits <= 15 && fabs(value) > 1e-290)
        return true;
    snprintf(nearest, sizeof nearest, "%.*e", (int)d->num_digits - 1, fabs(value));
    for (const char *p = nearest; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9' && *p == d->digits[same])
            same++;
    return same == d->num_digits || bits << 12 == 0;
}

/* What is wrong with the spelling of a finite number, or NULL. */
static inline const char *reader_spelling_fault(const reader_decimal *d, double value) {
    if (!d->has_point && !d->has_exponent)
        return NULL;
    if (!reader_shortest(d, value))
        return "not the shortest spelling of a number";
    return reader_nearest(d, value) ? NULL : "not the nearest of the shortest spellings";
}

/* What is wrong with the text of a number, or NULL. */
static inline const char *reader_number_fault(const char *text, reader_decimal *d, double *value) {
    memset(d, 0, sizeof *d);
    if (!strcmp(text, "NaN")) {
        *value = (double)NAN;
        return NULL;
    }
    if (!strcmp(text, "+Inf") || !strcmp(text, "-Inf")) {
        *value = *text == '-' ? -HUGE_VAL : HUGE_VAL;
        return NULL;
    }
    if (strlen(text) >= READER_NUMBER_SIZE || !reader_decimal_of(text, d))
        return "not a number as it is spelled here";
    *value = reader_to_double(text);
    if (*value - *value != 0)
        return "too large for a double";
    return reader_spelling_fault(d, *value);
}

static inline bool reader_whole(double value) {
    if (!(fabs(value) < 9007199254740992.0))
        return value - value == 0;
    return value == (double)(int64_t)value;
}

/* As the numbers of samples are written: integers up to 2^53 as such. */
static inline const char *reader_value_fault(const char *text, double *value) {
    reader_decimal d;
    const char *fault = reader_number_fault(text, &d, value);
    if (!fault && (d.has_point || d.has_exponent) && reader_whole(*value) &&
        fabs(*value) <= 9007199254740992.0)
        return "an integer up to 2^53 with a point or exponent";
    return fault;
}

/* As Go writes bounds: 0.0001, 1, 100000, 1e+06, 1e-05. */
static inline const char *reader_bound_fault(const char *text, double *bound) {
    reader_decimal d;
    const char *fault = reader_number_fault(text, &d, bound);
    bool wants_exponent = d.num_digits && (d.exponent < -4 || d.exponent >= 6);
    if (!fault && *bound != *bound)
        return "not a number";
    if (!fault && d.has_exponent != wants_exponent)
        return "not as Go spells it";
    return fault;
}

/* The same with .0 where it would look like an integer: 1.0, 100000.0. */
static inline const char *reader_float_fault(const char *text, double *bound) {
    size_t size = strlen(text);
    char without[READER_NUMBER_SIZE];
    if (!strpbrk(text, ".eIN"))
        return "neither a point nor an exponent";
    if (size < 3 || size > sizeof without || strcmp(text + size - 2, ".0") != 0)
        return reader_bound_fault(text, bound);
    snprintf(without, sizeof without, "%.*s", (int)size - 2, text);
    return strpbrk(without, ".eIN") ? "not a number as it is spelled here"
                                    : reader_bound_fault(without, bound);
}

static inline bool reader_same_letters(const char *text, const char *lower) {
    while (*text && (*text | 0x20) == *lower) {
        text++;
        lower++;
    }
    return !*text && !*lower;
}

/* 0042, +1.e5, .5E-3: a number in one of the spellings of OpenMetrics, without its sign. */
static inline bool reader_is_real(const char *text) {
    size_t whole = reader_span(text), fraction = 0;
    text += whole;
    if (*text == '.') {
        fraction = reader_span(text + 1);
        text += 1 + fraction;
    }
    if (!whole && !fraction)
        return false;
    if ((*text | 0x20) == 'e') {
        text += 1 + (text[1] == '+' || text[1] == '-');
        if (!reader_span(text))
            return false;
        text += reader_span(text);
    }
    return !*text;
}

static inline const char *reader_any_number_fault(const char *text, double *value) {
    bool is_signed = *text == '+' || *text == '-';
    const char *rest = text + is_signed;
    if (!is_signed && reader_same_letters(text, "nan")) {
        *value = (double)NAN;
        return NULL;
    }
    if (reader_same_letters(rest, "inf") || reader_same_letters(rest, "infinity")) {
        *value = *text == '-' ? -HUGE_VAL : HUGE_VAL;
        return NULL;
    }
    if (strlen(text) >= READER_NUMBER_SIZE || !reader_is_real(rest))
        return "not a number";
    *value = reader_to_double(text);
    return *value - *value != 0 ? "too large for a double" : NULL;
}

/* Numbers in labels may be spelled in any way, but for +Inf. */
static inline const char *reader_any_bound_fault(const char *text, double *bound) {
    const char *fault = reader_any_number_fault(text, bound);
    if (!fault && *bound != *bound)
        return "not a number";
    return !fault && *bound == HUGE_VAL && strcmp(text, "+Inf") != 0 ? "not +Inf" : fault;
}

/* Seconds, with milliseconds: 1605281325.120 */
static inline const char *reader_seconds_fault(const char *text, double *seconds) {
    const char *digits = text + (*text == '-'), *point = digits + reader_span(digits);
    if (digits == point || (*digits == '0' && point - digits > 1) || *point != '.' ||
        reader_span(point + 1) != 3 || point[4])
        return "not seconds as they are spelled here";
    return reader_any_number_fault(text, seconds);
}

/* ==== TOKENS ==== */

/* The text ends with a line feed and no token goes beyond one, so none has to look for the end of
   the text. Each is followed by a byte that belongs to none, so all of them, each with a NUL, take
   no more room than the text. */
static inline const char *reader_keep(reader *r, const char *from) {
    char *kept = r->next_string;
    size_t size = (size_t)(r->at - from);
    memcpy(kept, from, size);
    kept[size] = 0;
    r->next_string += size + 1;
    return kept;
}

static inline bool reader_skip(reader *r, const char *text) {
    size_t size = 0;
    while (text[size] && text[size] == r->at[size])
        size++;
    if (text[size])
        return false;
    r->at += size;
    return true;
}

static inline bool reader_unexpected(const reader *r, const char *where) {
    switch (*r->at) {
    case '\n':
        return reader_refuse(r, r->line, "the line ends %s", where);
    case '\r':
        return reader_refuse(r, r->line, "a carriage return %s", where);
    case ' ':
        return reader_refuse(r, r->line, "a blank %s", where);
    default:
        return reader_refuse(r, r->line, "byte 0x%02x %s", (unsigned char)*r->at, where);
    }
}

static inline bool reader_is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static inline const char *reader_name(reader *r, bool of_metric) {
    const char *from = r->at;
    while (reader_is_letter(*r->at) || (of_metric && *r->at == ':') ||
           (r->at > from && *r->at >= '0' && *r->at <= '9'))
        r->at++;
    if (r->at > from)
        return reader_keep(r, from);
    reader_unexpected(r, of_metric ? "instead of a metric name" : "instead of a label name");
    return NULL;
}

static inline char reader_unescape(char c, bool quotes) {
    return c == 'n' ? '\n' : c == '\\' || (quotes && c == '"') ? c : '\0';
}

/* The next character of a text, unescaped. A lenient reader keeps the backslash of an escape that
   does not exist, and puts a byte that is in no text for NUL, which would end a string. */
static inline bool reader_text_character(reader *r, bool quotes, char **out) {
    char c = *r->at;
    if (c == '\\')
        c = reader_unescape(*++r->at, quotes);
    if (!c && reader_is_lenient(r) && *r->at != '\n') {
        if (*r->at)
            *(*out)++ = '\\';
        c = *r->at ? *r->at : '\xff';
    }
    if (!c)
        return reader_refuse(r, r->line, "an escape that does not exist");
    *(*out)++ = c;
    return true;
}

/* A label value up to its closing quote, or a help text up to the end of the line. There blanks and
   carriage returns belong to the text; quotes are escaped there in OpenMetrics only. */
static inline const char *reader_text(reader *r, bool quoted) {
    char *kept = r->next_string, *out = kept;
    bool quotes = quoted || !reader_in_text(r);
    for (; *r->at != '\n' && !(quoted && *r->at == '"'); r->at++) {
        if (*r->at == '"' && quotes && !reader_is_lenient(r)) {
            reader_refuse(r, r->line, "a quote that is not escaped");
            return NULL;
        }
        if (!reader_text_character(r, quotes, &out))
            return NULL;
    }
    *out++ = 0;
    r->next_string = out;
    return kept;
}

static inline const char *reader_word(reader *r) {
    const char *from = r->at;
    while (*r->at && *r->at != ' ' && *r->at != '\n' && *r->at != '\r')
        r->at++;
    return reader_keep(r, from);
}

static inline bool reader_end_line(reader *r) {
    if (*r->at != '\n')
        return reader_unexpected(r, "at the end of the line");
    r->at++;
    r->line++;
    return true;
}

/* ==== FAMILIES ==== */

static inline reader_family *reader_current(const reader *r) {
    return r->doc->num_families ? &r->doc->families[r->doc->num_families - 1] : NULL;
}

/* What is added to a family's name for its samples. */
typedef struct reader_suffix {
    reader_type type;
    const char *text;
    reader_role role;
} reader_suffix;

static const reader_suffix reader_text_suffixes[] = {
    {READER_UNTYPED, "", READER_PLAIN},         {READER_COUNTER, "", READER_PLAIN},
    {READER_GAUGE, "", READER_PLAIN},           {READER_HISTOGRAM, "_sum", READER_SUM},
    {READER_HISTOGRAM, "_count", READER_COUNT}, {READER_HISTOGRAM, "_bucket", READER_BUCKET},
    {READER_SUMMARY, "", READER_QUANTILE},      {READER_SUMMARY, "_sum", READER_SUM},
    {READER_SUMMARY, "_count", READER_COUNT},
};

static const reader_suffix reader_openmetrics_suffixes[] = {
    {READER_UNKNOWN, "", READER_PLAIN},
    {READER_COUNTER, "_total", READER_PLAIN},
    {READER_COUNTER, "_created", READER_CREATED},
    {READER_GAUGE, "", READER_PLAIN},
    {READER_HISTOGRAM, "_sum", READER_SUM},
    {READER_HISTOGRAM, "_count", READER_COUNT},
    {READER_HISTOGRAM, "_bucket", READER_BUCKET},
    {READER_HISTOGRAM, "_created", READER_CREATED},
    {READER_SUMMARY, "", READER_QUANTILE},
    {READER_SUMMARY, "_sum", READER_SUM},
    {READER_SUMMARY, "_count", READER_COUNT},
    {READER_SUMMARY, "_created", READER_CREATED},
    {READER_INFO, "_info", READER_PLAIN},
    {READER_STATESET, "", READER_PLAIN},
    {READER_GAUGEHISTOGRAM, "_gsum", READER_SUM},
    {READER_GAUGEHISTOGRAM, "_gcount", READER_COUNT},
    {READER_GAUGEHISTOGRAM, "_bucket", READER_BUCKET},
};

/* The i-th suffix of a type, or NULL. */
static inline const reader_suffix *reader_suffix_of(const reader_doc *doc, reader_type type,
                                                    size_t i) {
    bool in_text = doc->format == READER_TEXT;
    const reader_suffix *at = in_text ? reader_text_suffixes : reader_openmetrics_suffixes;
    size_t num = in_text ? sizeof reader_text_suffixes : sizeof reader_openmetrics_suffixes;
    for (const reader_suffix *end = at + num / sizeof *at; at < end; at++)
        if (at->type == type && i-- == 0)
            return at;
    return NULL;
}

static inline reader_role reader_role_of(const reader_doc *doc, const reader_family *family,
                                         const char *name) {
    size_t size = strlen(family->name);
    const reader_suffix *suffix;
    if (strncmp(name, family->name, size) != 0)
        return READER_STRANGER;
    for (size_t i = 0; (suffix = reader_suffix_of(doc, family->type, i)); i++)
        if (!strcmp(suffix->text, name + size))
            return suffix->role;
    return READER_STRANGER;
}

static inline reader_role reader_role_in_current(const reader *r, const char *name) {
    const reader_family *family = reader_current(r);
    bool is_typed = family && (family->has_type || reader_is_lenient(r));
    return is_typed ? reader_role_of(r->doc, family, name) : READER_STRANGER;
}

/* ==== LINES ==== */

static inline bool reader_label_pair(reader *r) {
    reader_doc *doc = r->doc;
    reader_label label;
    label.name = reader_name(r, false);
    if (!label.name)
        return false;
    if (!reader_skip(r, "=\""))
        return reader_unexpected(r, "instead of =\" and the label's value");
    label.value = reader_text(r, true);
    if (!label.value)
        return false;
    if (!reader_skip(r, "\""))
        return reader_unexpected(r, "within a label value");
    doc->labels = (reader_label *)reader_grow(doc->labels, doc->num_labels, &r->room_labels,
                                              sizeof *doc->labels);
    doc->labels[doc->num_labels++] = label;
    return true;
}

/* What follows the opening brace; the labels are appended to those of the document. */
static inline bool reader_label_set(reader *r, bool may_be_empty) {
    if (may_be_empty && reader_skip(r, "}"))
        return true;
    do {
        if (!reader_label_pair(r))
            return false;
    } while (reader_skip(r, ","));
    return reader_skip(r, "}") || reader_unexpected(r, "after a label");
}

/* The number of a sample or exemplar; that of a _created sample is spelled like a timestamp. */
static inline bool reader_value(reader *r, bool is_time, const char **text, double *value) {
    const char *fault;
    *text = reader_word(r);
    fault = reader_is_lenient(r) ? reader_any_number_fault(*text, value)
            : is_time            ? reader_seconds_fault(*text, value)
                                 : reader_value_fault(*text, value);
    return !fault || reader_refuse(r, r->line, "value \"%.60s\": %s", *text, fault);
}

/* Milliseconds, an int64. */
static inline bool reader_milliseconds(reader *r, int64_t *ms) {
    const char *text = reader_word(r), *digits = text + (*text == '-');
    size_t num = reader_span(digits);
    uint64_t most = (uint64_t)INT64_MAX + (*text == '-'), value = 0;
    bool fits = num > 0 && num <= 19 && !digits[num] && (*digits != '0' || !strcmp(text, "0"));
    for (size_t i = 0; fits && i < num; i++)
        value = value * 10 + (uint64_t)(digits[i] - '0');
    if (!fits || value > most)
        return reader_refuse(r, r->line, "timestamp \"%.60s\" is not an int64", text);
    *ms = *text == '-' ? -1 - (int64_t)(value - 1) : (int64_t)value;
    return true;
}

static inline bool reader_seconds(reader *r, double *seconds) {
    const char *text = reader_word(r);
    const char *fault = reader_is_lenient(r) ? reader_any_number_fault(text, seconds)
                                             : reader_seconds_fault(text, seconds);
    if (!fault && *seconds - *seconds != 0)
        fault = "not finite";
    return !fault || reader_refuse(r, r->line, "timestamp \"%.60s\": %s", text, fault);
}

static inline bool reader_exemplar_of(reader *r, reader_sample *sample) {
    reader_exemplar *exemplar = &sample->exemplar;
    const char *text;
    if (!reader_skip(r, "# {"))
        return reader_unexpected(r, "instead of an exemplar");
    sample->has_exemplar = true;
    exemplar->first_label = r->doc->num_labels;
    if (!reader_label_set(r, true))
        return false;
    exemplar->num_labels = r->doc->num_labels - exemplar->first_label;
    if (!reader_skip(r, " "))
        return reader_unexpected(r, "before the exemplar's value");
    if (!reader_value(r, false, &text, &exemplar->value))
        return false;
    exemplar->has_timestamp = reader_skip(r, " ");
    return !exemplar->has_timestamp || reader_seconds(r, &exemplar->timestamp);
}

/* What may follow the value: a timestamp, and in OpenMetrics an exemplar. */
static inline bool reader_after_value(reader *r, reader_sample *sample) {
    if (reader_in_text(r)) {
        sample->has_timestamp = reader_skip(r, " ");
        return !sample->has_timestamp || reader_milliseconds(r, &sample->timestamp_ms);
    }
    if (!reader_skip(r, " "))
        return true;
    if (*r->at == '#')
        return reader_exemplar_of(r, sample);
    sample->has_timestamp = true;
    return reader_seconds(r, &sample->timestamp) &&
           (!reader_skip(r, " ") || reader_exemplar_of(r, sample));
}

static inline bool reader_sample_line(reader *r, reader_sample *sample) {
    memset(sample, 0, sizeof *sample);
    sample->line = r->line;
    sample->first_label = r->doc->num_labels;
    sample->name = reader_name(r, true);
    if (!sample->name || (reader_skip(r, "{") && !reader_label_set(r, reader_is_lenient(r))))
        return false;
    sample->num_labels = r->doc->num_labels - sample->first_label;
    if (!reader_skip(r, " "))
        return reader_unexpected(r, "before the value");
    sample->role = reader_role_in_current(r, sample->name);
    return reader_value(r, sample->role == READER_CREATED, &sample->value_text, &sample->value) &&
           reader_after_value(r, sample) && reader_end_line(r);
}

/* ==== RULES: LINE BY LINE ==== */

static inline bool reader_is_current(const reader *r, const char *name) {
    const reader_family *family = reader_current(r);
    return family && !strcmp(family->name, name);
}

/* A family without a type is unknown in OpenMetrics; pytheus.h has none. */
static inline bool reader_check_has_type(const reader *r) {
    const reader_family *family = reader_current(r);
    return !family || family->has_type || reader_is_lenient(r) ||
           reader_refuse(r, family->line, "%.60s has a %s and no TYPE", family->name,
                         family->unit ? "UNIT" : "HELP");
}

static inline reader_family *reader_add_family(reader *r, const char *name, size_t line) {
    reader_doc *doc = r->doc;
    reader_family *family;
    doc->families = (reader_family *)reader_grow(doc->families, doc->num_families,
                                                 &r->room_families, sizeof *doc->families);
    family = &doc->families[doc->num_families++];
    memset(family, 0, sizeof *family);
    family->name = name;
    family->type = reader_in_text(r) ? READER_UNTYPED : READER_UNKNOWN;
    family->line = line;
    family->first_sample = doc->num_samples;
    return family;
}

static inline bool reader_set_type(const reader *r, reader_family *family, const char *type,
                                   size_t line) {
    size_t i = reader_in_text(r) ? READER_UNTYPED : READER_COUNTER;
    size_t end = reader_in_text(r) ? READER_SUMMARY + 1 : READER_NUM_TYPES;
    while (i < end && strcmp(type, reader_type_names[i]) != 0)
        i++;
    if (i == end)
        return reader_refuse(r, line, "type \"%.60s\" does not exist", type);
    family->type = (reader_type)i;
    family->has_type = true;
    return true;
}

typedef enum reader_keyword {
    READER_HELP,
    READER_TYPE,
    READER_UNIT,
    READER_NO_KEYWORD
} reader_keyword;

static const char *const reader_keywords[] = {"HELP", "TYPE", "UNIT"};

static inline bool reader_has(const reader_family *family, reader_keyword keyword) {
    return keyword == READER_HELP   ? family->help != NULL
           : keyword == READER_TYPE ? family->has_type
                                    : family->unit != NULL;
}

/* HELP, TYPE in text; TYPE, UNIT, HELP in OpenMetrics: the keyword that comes after another. */
static inline reader_keyword reader_next_keyword(const reader *r, reader_keyword keyword) {
    if (reader_in_text(r))
        return keyword == READER_HELP ? READER_TYPE : READER_NO_KEYWORD;
    return keyword == READER_TYPE   ? READER_UNIT
           : keyword == READER_UNIT ? READER_HELP
                                    : READER_NO_KEYWORD;
}

static inline bool reader_check_keyword(const reader *r, const reader_family *family,
                                        reader_keyword keyword, size_t line) {
    const char *word = reader_keywords[keyword];
    if (family->num_samples)
        return reader_refuse(r, line, "%s of %.60s after its samples", word, family->name);
    if (reader_has(family, keyword))
        return reader_refuse(r, line, "a second %s of %.60s", word, family->name);
    for (keyword = reader_next_keyword(r, keyword); keyword != READER_NO_KEYWORD;
         keyword = reader_next_keyword(r, keyword))
        if (reader_has(family, keyword) && !reader_is_lenient(r))
            return reader_refuse(r, line, "%s of %.60s after its %s", word, family->name,
                                 reader_keywords[keyword]);
    return true;
}

static inline bool reader_take_keyword(reader *r, reader_keyword keyword, const char *name,
                                       const char *text, size_t line) {
    reader_family *family = reader_current(r);
    if (!reader_is_current(r, name)) {
        if (!reader_check_has_type(r))
            return false;
        family = reader_add_family(r, name, line);
    } else if (!reader_check_keyword(r, family, keyword, line)) {
        return false;
    }
    if (keyword == READER_TYPE)
        return reader_set_type(r, family, text, line);
    *(keyword == READER_HELP ? &family->help : &family->unit) = text;
    return true;
}

static inline bool reader_refuse_stranger(const reader *r, const reader_sample *sample) {
    const reader_family *current = reader_current(r);
    for (size_t i = 0; i + 1 < r->doc->num_families; i++)
        if (reader_role_of(r->doc, &r->doc->families[i], sample->name) != READER_STRANGER)
            return reader_refuse(r, sample->line, "%.60s, but the block of %.60s is over",
                                 sample->name, r->doc->families[i].name);
    if (!current || !current->has_type)
        return reader_refuse(r, sample->line, "%.60s without a TYPE", sample->name);
    return reader_refuse(r, sample->line, "%.60s is no sample of the %s %.60s", sample->name,
                         reader_type_names[current->type], current->name);
}

static inline const reader_label *reader_label_named(const reader_label *labels, size_t num,
                                                     const char *name) {
    for (size_t i = 0; i < num; i++)
        if (!strcmp(labels[i].name, name))
            return &labels[i];
    return NULL;
}

/* No labels at all are no array: adding to NULL is undefined. */
static inline const reader_label *reader_labels_at(const reader_doc *doc, size_t i) {
    return doc->labels ? doc->labels + i : NULL;
}

static inline bool reader_check_labels(const reader *r, size_t line, size_t first, size_t num) {
    const reader_label *labels = reader_labels_at(r->doc, first);
    for (size_t i = 0; i < num; i++) {
        if (!strncmp(labels[i].name, "__", 2))
            return reader_refuse(r, line, "label name %.60s", labels[i].name);
        if (reader_label_named(labels, i, labels[i].name))
            return reader_refuse(r, line, "label %.60s twice", labels[i].name);
    }
    return true;
}

static inline bool reader_has_buckets(const reader_family *family) {
    return family->type == READER_HISTOGRAM || family->type == READER_GAUGEHISTOGRAM;
}

/* The label by which the lines of one metric differ; no label is named "". */
static inline const char *reader_own_label(const reader_family *family) {
    return reader_has_buckets(family)        ? "le"
           : family->type == READER_SUMMARY  ? "quantile"
           : family->type == READER_STATESET ? family->name
                                             : "";
}

static inline bool reader_check_bound(const reader *r, reader_sample *sample, const char *text) {
    const char *fault = reader_in_text(r)      ? reader_bound_fault(text, &sample->bound)
                        : reader_is_lenient(r) ? reader_any_bound_fault(text, &sample->bound)
                                               : reader_float_fault(text, &sample->bound);
    if (!fault && sample->role == READER_BUCKET && sample->bound == -HUGE_VAL)
        fault = "a bound of -Inf";
    if (!fault && sample->role == READER_QUANTILE && !(sample->bound >= 0 && sample->bound <= 1))
        fault = "not between 0 and 1";
    return !fault || reader_refuse(r, sample->line, "%s=\"%.60s\": %s",
                                   sample->role == READER_BUCKET ? "le" : "quantile", text, fault);
}

static inline bool reader_check_own_label(const reader *r, reader_sample *sample) {
    const reader_family *family = reader_current(r);
    const char *name = reader_own_label(family);
    const reader_label *label =
        reader_label_named(reader_labels_at(r->doc, sample->first_label), sample->num_labels, name);
    bool is_bound = sample->role == READER_BUCKET || sample->role == READER_QUANTILE;
    if (!is_bound && family->type != READER_STATESET)
        return !label || reader_refuse(r, sample->line, "%.60s with %s", sample->name, name);
    if (!label || !*label->value)
        return reader_refuse(r, sample->line, "%.60s without %s", sample->name, name);
    return !is_bound || reader_check_bound(r, sample, label->value);
}

/* Whether the value is one of a counter: what is counted, and in OpenMetrics what is summed up. */
static inline bool reader_only_rises(const reader *r, const reader_sample *sample) {
    reader_type type = reader_current(r)->type;
    return (type == READER_COUNTER && sample->role == READER_PLAIN) ||
           (!reader_in_text(r) && sample->role == READER_SUM && type != READER_GAUGEHISTOGRAM);
}

static inline bool reader_check_value(const reader *r, const reader_sample *sample) {
    bool counts = sample->role == READER_BUCKET || sample->role == READER_COUNT;
    reader_type type = reader_current(r)->type;
    double value = sample->value;
    const char *fault = NULL;
    if (reader_only_rises(r, sample) && !(value >= 0))
        fault = type == READER_COUNTER ? "a counter" : "a sum";
    else if (!reader_in_text(r) && sample->role == READER_SUM && value != value)
        fault = "a sum";
    else if (!reader_in_text(r) && sample->role == READER_QUANTILE && value < 0)
        fault = "a quantile";
    else if (sample->role == READER_CREATED && value - value != 0)
        fault = "a time";
    else if (type == READER_INFO && value != 1)
        fault = "an info";
    else if (type == READER_STATESET && value != 0 && value != 1)
        fault = "a state";
    if (fault)
        return reader_refuse(r, sample->line, "%s at %.60s", fault, sample->value_text);
    if (counts && !(value >= 0 && reader_whole(value)))
        return reader_refuse(r, sample->line, "%.60s counts %.60s", sample->name,
                             sample->value_text);
    return true;
}

static inline size_t reader_code_points(const char *text) {
    size_t num = 0;
    for (; *text; text++)
        num += (*text & 0xc0) != 0x80;
    return num;
}

/* pytheus.h knows the time of each exemplar. */
static inline bool reader_check_exemplar(const reader *r, const reader_sample *sample) {
    const reader_exemplar *exemplar = &sample->exemplar;
    const reader_label *labels = reader_labels_at(r->doc, exemplar->first_label);
    reader_type type = reader_current(r)->type;
    size_t num = 0;
    if (!sample->has_exemplar)
        return true;
    if (sample->role != READER_BUCKET && (type != READER_COUNTER || sample->role != READER_PLAIN))
        return reader_refuse(r, sample->line, "%.60s with an exemplar", sample->name);
    if (!reader_check_labels(r, sample->line, exemplar->first_label, exemplar->num_labels))
        return false;
    for (size_t i = 0; i < exemplar->num_labels; i++)
        num += reader_code_points(labels[i].name) + reader_code_points(labels[i].value);
    if (num > 128)
        return reader_refuse(r, sample->line, "an exemplar of %lu characters", (unsigned long)num);
    if (sample->role == READER_BUCKET && !(exemplar->value <= sample->bound))
        return reader_refuse(r, sample->line, "an exemplar beyond its bucket");
    return exemplar->has_timestamp || reader_is_lenient(r) ||
           reader_refuse(r, sample->line, "an exemplar without its time");
}

static inline void reader_add_sample(reader *r, const reader_sample *sample) {
    reader_doc *doc = r->doc;
    doc->samples = (reader_sample *)reader_grow(doc->samples, doc->num_samples, &r->room_samples,
                                                sizeof *doc->samples);
    doc->samples[doc->num_samples++] = *sample;
    reader_current(r)->num_samples++;
}

/* Whose family is over, or who never had one: then it is its own, if that may be. */
static inline bool reader_take_stranger(reader *r, reader_sample *sample) {
    if (!reader_is_lenient(r))
        return reader_refuse_stranger(r, sample);
    for (size_t i = 0; i + 1 < r->doc->num_families; i++)
        if (reader_role_of(r->doc, &r->doc->families[i], sample->name) != READER_STRANGER)
            return reader_refuse_stranger(r, sample);
    reader_add_family(r, sample->name, sample->line);
    sample->role = READER_PLAIN;
    return true;
}

static inline bool reader_take_sample(reader *r, reader_sample *sample) {
    if (sample->role == READER_STRANGER && !reader_take_stranger(r, sample))
        return false;
    if (!reader_check_labels(r, sample->line, sample->first_label, sample->num_labels) ||
        !reader_check_own_label(r, sample) || !reader_check_value(r, sample) ||
        !reader_check_exemplar(r, sample))
        return false;
    reader_add_sample(r, sample);
    return true;
}

/* Any but the last; READER_NO_KEYWORD stays where it is. */
static inline reader_keyword reader_keyword_of(reader *r) {
    if (reader_skip(r, "# HELP "))
        return READER_HELP;
    if (reader_skip(r, "# TYPE "))
        return READER_TYPE;
    return !reader_in_text(r) && reader_skip(r, "# UNIT ") ? READER_UNIT : READER_NO_KEYWORD;
}

static inline bool reader_comment(reader *r) {
    reader_keyword keyword = reader_keyword_of(r);
    size_t line = r->line;
    const char *name, *text;
    if (keyword == READER_NO_KEYWORD)
        return reader_refuse(r, line, "a comment that is neither HELP nor TYPE%s",
                             reader_in_text(r) ? "" : " nor UNIT");
    name = reader_name(r, true);
    if (!name)
        return false;
    if (!reader_skip(r, " ") && !(reader_in_text(r) && keyword == READER_HELP && *r->at == '\n'))
        return reader_unexpected(r, "after a metric name");
    text = keyword == READER_HELP ? reader_text(r, false) : reader_word(r);
    return text && reader_end_line(r) && reader_take_keyword(r, keyword, name, text, line);
}

static inline bool reader_lines(reader *r) {
    reader_sample sample;
    while (r->at < r->end) {
        if (*r->at == '\n')
            return reader_refuse(r, r->line, "a blank line");
        if (*r->at == '#' ? !reader_comment(r)
                          : !reader_sample_line(r, &sample) || !reader_take_sample(r, &sample))
            return false;
    }
    return reader_check_has_type(r);
}

/* ==== RULES: THE WHOLE PAGE ==== */

static inline uint64_t reader_mix(uint64_t x) {
    x = (x ^ (x >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ (x >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ (x >> 33);
}

static inline uint64_t reader_hash(uint64_t hash, const char *text) {
    while (*text)
        hash = (hash ^ (unsigned char)*text++) * UINT64_C(0x100000001b3);
    return hash;
}

/* An empty label is as good as none; besides, one label may be left out of the comparison. */
static inline bool reader_label_counts(const reader_label *label, const char *except) {
    return *label->value && strcmp(label->name, except) != 0;
}

/* A sum, because the order of labels does not matter. */
static inline uint64_t reader_hash_labels(const reader_label *labels, size_t num,
                                          const char *except) {
    uint64_t sum = 0;
    for (size_t i = 0; i < num; i++)
        if (reader_label_counts(&labels[i], except))
            sum += reader_mix(
                reader_hash(reader_mix(reader_hash(1, labels[i].name)), labels[i].value));
    return sum;
}

static inline bool reader_labels_within(const reader_label *a, size_t num_a, const reader_label *b,
                                        size_t num_b, const char *except) {
    for (size_t i = 0; i < num_a; i++) {
        const reader_label *other = reader_label_named(b, num_b, a[i].name);
        if (reader_label_counts(&a[i], except) && (!other || strcmp(a[i].value, other->value) != 0))
            return false;
    }
    return true;
}

static inline bool reader_same_labels(const reader_sample *a, const reader_sample *b,
                                      const char *except) {
    return reader_labels_within(a->labels, a->num_labels, b->labels, b->num_labels, except) &&
           reader_labels_within(b->labels, b->num_labels, a->labels, a->num_labels, except);
}

static inline int reader_compare_keys(const void *left, const void *right) {
    const reader_key *a = (const reader_key *)left, *b = (const reader_key *)right;
    return a->hash != b->hash ? (a->hash < b->hash ? -1 : 1)
                              : (a->index > b->index) - (a->index < b->index);
}

/* Sorts the keys; yields the first thing that is the same as one before it, num if all differ. */
static inline size_t reader_first_repeated(reader_key *keys, size_t num,
                                           bool (*same)(const void *things, size_t a, size_t b),
                                           const void *things) {
    size_t first = num;
    qsort(keys, num, sizeof *keys, reader_compare_keys);
    for (size_t i = 1; i < num; i++) {
        size_t j = i;
        while (j > 0 && keys[j - 1].hash == keys[i].hash &&
               !same(things, keys[j - 1].index, keys[i].index))
            j--;
        if (j > 0 && keys[j - 1].hash == keys[i].hash && keys[i].index < first)
            first = keys[i].index;
    }
    return first;
}

static inline reader_key *reader_keys(size_t num) {
    size_t room = 0;
    return (reader_key *)reader_grow(NULL, num, &room, sizeof(reader_key));
}

static inline bool reader_same_series(const void *samples, size_t a, size_t b) {
    const reader_sample *all = (const reader_sample *)samples;
    return !strcmp(all[a].name, all[b].name) && reader_same_labels(&all[a], &all[b], "");
}

/* OpenMetrics allows several points of a series, if all have timestamps. */
static inline bool reader_same_point(const void *samples, size_t a, size_t b) {
    const reader_sample *all = (const reader_sample *)samples;
    return reader_same_series(samples, a, b) && !(all[a].has_timestamp && all[b].has_timestamp);
}

static inline bool reader_check_series(const reader *r) {
    reader_doc *doc = r->doc;
    size_t repeated;
    doc->series = reader_keys(doc->num_samples);
    for (size_t i = 0; i < doc->num_samples; i++) {
        doc->series[i].hash = doc->samples[i].series_hash;
        doc->series[i].index = i;
    }
    repeated = reader_first_repeated(doc->series, doc->num_samples,
                                     reader_is_lenient(r) ? reader_same_point : reader_same_series,
                                     doc->samples);
    return repeated == doc->num_samples ||
           reader_refuse(r, doc->samples[repeated].line, "a series of %.60s a second time",
                         doc->samples[repeated].name);
}

/* A name that nobody else may use: a family's, or that of its samples. */
typedef struct reader_claim {
    const char *name, *suffix;
    const reader_family *family;
} reader_claim;

/* Compares the joined names without joining them. */
static inline bool reader_same_claim(const void *claims, size_t a, size_t b) {
    const reader_claim *p = (const reader_claim *)claims + a, *q = (const reader_claim *)claims + b;
    size_t size = strlen(p->name), longer = strlen(q->name);
    if (size > longer)
        return reader_same_claim(claims, b, a);
    return !strncmp(p->name, q->name, size) && strlen(p->suffix) >= longer - size &&
           !strncmp(p->suffix, q->name + size, longer - size) &&
           !strcmp(p->suffix + (longer - size), q->suffix);
}

enum { READER_MOST_CLAIMS = 5 };

static inline size_t reader_claim_names(const reader_doc *doc, const reader_family *family,
                                        reader_claim *out) {
    const reader_suffix *suffix;
    size_t num = 0;
    out[num].name = family->name;
    out[num].suffix = "";
    out[num++].family = family;
    for (size_t i = 0; (suffix = reader_suffix_of(doc, family->type, i)); i++)
        if (*suffix->text) {
            out[num] = out[0];
            out[num++].suffix = suffix->text;
        }
    return num;
}

static inline bool reader_check_claims(const reader *r) {
    const reader_doc *doc = r->doc;
    size_t room = 0, num = 0, repeated;
    reader_claim *claims = (reader_claim *)reader_grow(NULL, READER_MOST_CLAIMS * doc->num_families,
                                                       &room, sizeof *claims);
    reader_key *keys = reader_keys(READER_MOST_CLAIMS * doc->num_families);
    for (size_t i = 0; i < doc->num_families; i++)
        num += reader_claim_names(doc, &doc->families[i], claims + num);
    for (size_t i = 0; i < num; i++) {
        keys[i].hash = reader_hash(reader_hash(1, claims[i].name), claims[i].suffix);
        keys[i].index = i;
    }
    repeated = reader_first_repeated(keys, num, reader_same_claim, claims);
    if (repeated < num)
        reader_refuse(r, claims[repeated].family->line, "the name %.60s%s is taken",
                      claims[repeated].name, claims[repeated].suffix);
    free(keys);
    free(claims);
    return repeated == num;
}

static inline bool reader_check_unit(const reader *r, const reader_family *family) {
    size_t size = strlen(family->name), unit = family->unit ? strlen(family->unit) : 0;
    if (family->unit && !unit && !reader_is_lenient(r))
        return reader_refuse(r, family->line, "an empty UNIT of %.60s", family->name);
    if (!unit)
        return true;
    if (family->type == READER_INFO || family->type == READER_STATESET)
        return reader_refuse(r, family->line, "the %s %.60s has a unit",
                             reader_type_names[family->type], family->name);
    if (size <= unit || family->name[size - unit - 1] != '_' ||
        strcmp(family->name + size - unit, family->unit) != 0)
        return reader_refuse(r, family->line, "%.60s does not end with _%.60s", family->name,
                             family->unit);
    return true;
}

static inline bool reader_check_units(const reader *r) {
    bool good = true;
    for (size_t i = 0; i < r->doc->num_families && good; i++)
        good = reader_check_unit(r, &r->doc->families[i]);
    return good;
}

/* The lines of one metric: the same labels but for le, quantile or the state. */
typedef struct reader_group {
    const reader_family *family;
    const reader_sample *first;
    size_t num;
} reader_group;

static inline bool reader_same_group(const void *groups, size_t a, size_t b) {
    const reader_group *p = (const reader_group *)groups + a, *q = (const reader_group *)groups + b;
    return p->family == q->family && p->first->group_hash == q->first->group_hash &&
           reader_same_labels(p->first, q->first, reader_own_label(p->family));
}

static inline size_t reader_find_groups(const reader_doc *doc, const reader_family *family,
                                        reader_group *out) {
    size_t num = 0;
    for (size_t i = 0; i < family->num_samples; i++) {
        out[num].family = family;
        out[num].first = &doc->samples[family->first_sample + i];
        out[num].num = 1;
        if (num && reader_same_group(out, num - 1, num))
            out[num - 1].num++;
        else
            num++;
    }
    return num;
}

/* What has been seen of one point of a metric. */
typedef struct reader_point {
    const reader_group *group;
    const reader_sample *last, *sum, *count, *created; /* last: bucket or quantile */
    bool has_negative_bound;
} reader_point;

static inline bool reader_check_rising(const reader *r, const reader_sample *last,
                                       const reader_sample *sample) {
    bool any_order = sample->role == READER_QUANTILE && reader_is_lenient(r);
    if (last && !any_order && !(sample->bound > last->bound))
        return reader_refuse(r, sample->line, "%.60s out of order", sample->name);
    if (last && sample->role == READER_BUCKET && sample->value < last->value)
        return reader_refuse(r, sample->line, "a bucket of %.60s that counts less than the last",
                             sample->name);
    if (last && sample->has_exemplar && !reader_is_lenient(r) &&
        !(sample->exemplar.value > last->bound))
        return reader_refuse(r, sample->line, "an exemplar of another bucket");
    return true;
}

static inline bool reader_add_to_point(const reader *r, reader_point *point,
                                       const reader_sample *sample) {
    if (point->created && !reader_is_lenient(r))
        return reader_refuse(r, sample->line, "%.60s after its _created", sample->name);
    switch (sample->role) {
    case READER_SUM:
        point->sum = sample;
        break;
    case READER_COUNT:
        point->count = sample;
        break;
    case READER_CREATED:
        point->created = sample;
        break;
    case READER_BUCKET:
    case READER_QUANTILE:
        if (!reader_check_rising(r, point->last, sample))
            return false;
        point->has_negative_bound |= sample->bound < 0;
        point->last = sample;
        break;
    case READER_STRANGER:
    case READER_PLAIN:
        break;
    }
    return true;
}

/* In text a distribution has both. In OpenMetrics both are missing from a histogram that may have
   no sum, and either may be missing from a summary. */
static inline bool reader_check_sum_and_count(const reader *r, const reader_point *point,
                                              size_t line) {
    const reader_family *family = point->group->family;
    const char *sum = family->type == READER_GAUGEHISTOGRAM ? "_gsum" : "_sum";
    const char *count = family->type == READER_GAUGEHISTOGRAM ? "_gcount" : "_count";
    if (!reader_in_text(r) && (family->type == READER_SUMMARY || (!point->sum && !point->count)))
        return true;
    if (!point->sum || !point->count)
        return reader_refuse(r, line, "%.60s without its %s", family->name,
                             point->sum ? count : sum);
    if (reader_in_text(r) || point->has_negative_bound)
        return reader_in_text(r) || family->type == READER_GAUGEHISTOGRAM ||
               reader_refuse(r, line, "%.60s with negative bounds and a sum", family->name);
    return point->sum->value >= 0 ||
           reader_refuse(r, line, "a sum at %.60s", point->sum->value_text);
}

static inline bool reader_check_point(const reader *r, const reader_point *point, size_t line) {
    const reader_family *family = point->group->family;
    if (!reader_has_buckets(family) && family->type != READER_SUMMARY)
        return true;
    if (!reader_check_sum_and_count(r, point, line))
        return false;
    if (!reader_has_buckets(family))
        return true;
    if (!point->last || point->last->bound != HUGE_VAL)
        return reader_refuse(r, line, "%.60s without +Inf", family->name);
    return !point->count || point->last->value == point->count->value ||
           reader_refuse(r, point->count->line, "%.60s is not what the +Inf bucket counts",
                         point->count->name);
}

static inline bool reader_check_timestamps(const reader *r, const reader_sample *last,
                                           const reader_sample *sample) {
    if (last->has_timestamp != sample->has_timestamp)
        return reader_refuse(r, sample->line, "%.60s with and without timestamps", sample->name);
    return sample->timestamp >= last->timestamp ||
           reader_refuse(r, sample->line, "%.60s goes back in time", sample->name);
}

/* One point after another, each with a later timestamp; in text there is but one. */
static inline bool reader_check_group(const reader *r, const reader_group *group) {
    reader_point point;
    memset(&point, 0, sizeof point);
    point.group = group;
    for (size_t i = 0; i < group->num; i++) {
        const reader_sample *sample = &group->first[i];
        if (i && !reader_in_text(r) && !reader_check_timestamps(r, sample - 1, sample))
            return false;
        if (i && !reader_in_text(r) && sample->timestamp > sample[-1].timestamp) {
            if (!reader_check_point(r, &point, sample[-1].line))
                return false;
            memset(&point, 0, sizeof point);
            point.group = group;
        }
        if (!reader_add_to_point(r, &point, sample))
            return false;
    }
    return reader_check_point(r, &point, group->first[group->num - 1].line);
}

static inline bool reader_check_groups_of(const reader *r, const reader_group *groups, size_t num) {
    reader_key *keys = reader_keys(num);
    size_t repeated;
    bool good = true;
    for (size_t i = 0; i < num; i++) {
        keys[i].hash = groups[i].first->group_hash;
        keys[i].index = i;
    }
    repeated = reader_first_repeated(keys, num, reader_same_group, groups);
    free(keys);
    if (repeated < num)
        return reader_refuse(r, groups[repeated].first->line, "a series of %.60s in two pieces",
                             groups[repeated].family->name);
    for (size_t i = 0; i < num && good; i++)
        good = reader_check_group(r, &groups[i]);
    return good;
}

/* Whether lines belong together in it. Which labels tell the metrics of an info apart cannot be
   seen: each line is one of its own. */
static inline bool reader_has_groups(const reader *r, const reader_family *family) {
    return reader_in_text(r) ? reader_has_buckets(family) || family->type == READER_SUMMARY
                             : family->type != READER_INFO;
}

static inline bool reader_check_groups(const reader *r) {
    const reader_doc *doc = r->doc;
    size_t room = 0;
    bool good = true;
    reader_group *groups =
        (reader_group *)reader_grow(NULL, doc->num_samples, &room, sizeof *groups);
    for (size_t i = 0; i < doc->num_families && good; i++) {
        const reader_family *family = &doc->families[i];
        if (reader_has_groups(r, family))
            good = reader_check_groups_of(r, groups, reader_find_groups(doc, family, groups));
    }
    free(groups);
    return good;
}

static inline void reader_link(const reader_doc *doc) {
    for (size_t i = 0; i < doc->num_families; i++) {
        const reader_family *family = &doc->families[i];
        for (size_t j = 0; j < family->num_samples; j++) {
            reader_sample *sample = &doc->samples[family->first_sample + j];
            sample->labels = reader_labels_at(doc, sample->first_label);
            sample->exemplar.labels = reader_labels_at(doc, sample->exemplar.first_label);
            sample->series_hash = reader_hash(1, sample->name) +
                                  reader_hash_labels(sample->labels, sample->num_labels, "");
            sample->group_hash =
                reader_hash_labels(sample->labels, sample->num_labels, reader_own_label(family));
        }
    }
}

/* ==== THE DOCUMENT ==== */

static inline void reader_free(reader_doc *doc) {
    free(doc->families);
    free(doc->samples);
    free(doc->labels);
    free(doc->series);
    free(doc->strings);
    memset(doc, 0, sizeof *doc);
}

/* On refusal error says in which line and why, and the document is empty. */
static inline bool reader_parse_as(reader_format format, const char *text, size_t size,
                                   reader_doc *doc, char error[READER_ERROR_SIZE]) {
    size_t room = 0, num_lines = 1;
    reader r;
    memset(&r, 0, sizeof r);
    memset(doc, 0, sizeof *doc);
    doc->strings = r.next_string = (char *)reader_grow(NULL, size, &room, 1);
    doc->format = format;
    r.at = text;
    r.end = text + size;
    r.line = 1;
    r.doc = doc;
    r.error = error;
    *error = 0;
    if (reader_check_bytes(&r, &num_lines) && reader_take_eof(&r, num_lines) && reader_lines(&r)) {
        reader_link(doc);
        if (reader_check_claims(&r) && reader_check_units(&r) && reader_check_series(&r) &&
            reader_check_groups(&r))
            return true;
    }
    reader_free(doc);
    return false;
}

static inline bool reader_parse(const char *text, size_t size, reader_doc *doc,
                                char error[READER_ERROR_SIZE]) {
    return reader_parse_as(READER_TEXT, text, size, doc, error);
}

static inline const reader_family *reader_find_family(const reader_doc *doc, const char *name) {
    for (size_t i = 0; i < doc->num_families; i++)
        if (!strcmp(doc->families[i].name, name))
            return &doc->families[i];
    return NULL;
}

/* The sample of that name with these labels and no others, in any order; NULL if there is none. */
static inline const reader_sample *reader_find(const reader_doc *doc, const char *name,
                                               const char *const *pairs, size_t num_strings) {
    reader_label labels[64];
    reader_sample wanted;
    size_t low = 0, high = doc->num_samples;
    memset(&wanted, 0, sizeof wanted);
    for (size_t i = 0; i + 1 < num_strings && wanted.num_labels < 64; i += 2) {
        labels[wanted.num_labels].name = pairs[i];
        labels[wanted.num_labels++].value = pairs[i + 1];
    }
    wanted.labels = labels;
    wanted.series_hash = reader_hash(1, name) + reader_hash_labels(labels, wanted.num_labels, "");
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (doc->series[middle].hash < wanted.series_hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < doc->num_samples && doc->series[low].hash == wanted.series_hash; low++) {
        const reader_sample *sample = &doc->samples[doc->series[low].index];
        if (!strcmp(sample->name, name) && reader_same_labels(sample, &wanted, ""))
            return sample;
    }
    return NULL;
}

#endif
