/* reader.h: a strict reader of the text format 0.0.4, written from the format's specification and
 * sharing nothing with the writer. It refuses whatever the specification does not allow, what other
 * readers let pass in silence (a histogram without +Inf, families in pieces, a series twice), and
 * numbers that are not spelled in the one way that pytheus.h promises.
 *
 *     reader_doc doc;
 *     char error[256];
 *     if (!reader_parse(text, size, &doc, error))
 *         puts(error);                                      "line 7: a carriage return"
 *     const char *pairs[] = {"method", "GET"};
 *     const reader_sample *sample = reader_find(&doc, "hits_total", pairs, 2);
 *     reader_free(&doc);
 *
 * Time grows with the size of the text (n log n with the number of samples). C99 and C++11. */
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

typedef enum reader_type {
    READER_UNTYPED,
    READER_COUNTER,
    READER_GAUGE,
    READER_HISTOGRAM,
    READER_SUMMARY
} reader_type;

/* What a sample is within its family; a plain one has the family's own name. */
typedef enum reader_role {
    READER_STRANGER,
    READER_PLAIN,
    READER_QUANTILE,
    READER_BUCKET,
    READER_SUM,
    READER_COUNT
} reader_role;

typedef struct reader_label {
    const char *name, *value; /* unescaped */
} reader_label;

typedef struct reader_sample {
    const char *name;
    const reader_label *labels;
    size_t first_label, num_labels;
    const char *value_text;
    double value;
    double bound; /* of a bucket or quantile */
    int64_t timestamp_ms;
    bool has_timestamp;
    reader_role role;
    size_t line;
    uint64_t series_hash, group_hash;
} reader_sample;

typedef struct reader_family {
    const char *name;
    const char *help; /* unescaped; NULL: no HELP line */
    reader_type type;
    bool has_type;
    size_t line, first_sample, num_samples;
} reader_family;

typedef struct reader_key {
    uint64_t hash;
    size_t index;
} reader_key;

typedef struct reader_doc {
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

static const char *const reader_type_names[] = {"untyped", "counter", "gauge", "histogram",
                                                "summary"};

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

static inline bool reader_check_bytes(const reader *r) {
    const unsigned char *p = (const unsigned char *)r->at, *end = (const unsigned char *)r->end;
    size_t line = 1, size;
    if (end - p >= 3 && p[0] == 0xef && p[1] == 0xbb && p[2] == 0xbf)
        return reader_refuse(r, line, "a byte order mark");
    for (; p < end; p += size) {
        size = reader_character(p, (size_t)(end - p));
        if (!size)
            return reader_refuse(r, line, "byte 0x%02x is not UTF-8", *p);
        if (!*p)
            return reader_refuse(r, line, "a NUL byte");
        if (*p == '\n')
            line++;
    }
    if (r->at < r->end && r->end[-1] != '\n')
        return reader_refuse(r, line, "no line feed at the end");
    return true;
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

static inline char reader_unescape(char c, bool quoted) {
    return c == 'n' ? '\n' : c == '\\' || (quoted && c == '"') ? c : '\0';
}

/* A label value up to its closing quote, or a help text up to the end of the line. There quotes are
   not escaped, and blanks and carriage returns belong to the text. */
static inline const char *reader_text(reader *r, bool quoted) {
    char *kept = r->next_string, *out = kept;
    for (; *r->at != '\n' && !(quoted && *r->at == '"'); r->at++) {
        char c = *r->at;
        if (c == '\\')
            c = reader_unescape(*++r->at, quoted);
        if (!c) {
            reader_refuse(r, r->line, "an escape that does not exist");
            return NULL;
        }
        *out++ = c;
    }
    *out++ = 0;
    r->next_string = out;
    return kept;
}

static inline const char *reader_word(reader *r) {
    const char *from = r->at;
    while (*r->at != ' ' && *r->at != '\n' && *r->at != '\r')
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

/* ==== LINES ==== */

static inline bool reader_label_pair(reader *r, reader_sample *sample) {
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
    sample->num_labels++;
    return true;
}

static inline bool reader_label_set(reader *r, reader_sample *sample) {
    do {
        if (!reader_label_pair(r, sample))
            return false;
    } while (reader_skip(r, ","));
    return reader_skip(r, "}") || reader_unexpected(r, "after a label");
}

static inline bool reader_value(reader *r, reader_sample *sample) {
    const char *fault;
    sample->value_text = reader_word(r);
    fault = reader_value_fault(sample->value_text, &sample->value);
    return !fault || reader_refuse(r, r->line, "value \"%.60s\": %s", sample->value_text, fault);
}

/* Milliseconds, an int64. */
static inline bool reader_timestamp(reader *r, reader_sample *sample) {
    const char *text = reader_word(r), *digits = text + (*text == '-');
    size_t num = reader_span(digits);
    uint64_t most = (uint64_t)INT64_MAX + (*text == '-'), value = 0;
    bool fits = num > 0 && num <= 19 && !digits[num] && (*digits != '0' || !strcmp(text, "0"));
    for (size_t i = 0; fits && i < num; i++)
        value = value * 10 + (uint64_t)(digits[i] - '0');
    if (!fits || value > most)
        return reader_refuse(r, r->line, "timestamp \"%.60s\" is not an int64", text);
    sample->timestamp_ms = *text == '-' ? -1 - (int64_t)(value - 1) : (int64_t)value;
    sample->has_timestamp = true;
    return true;
}

static inline bool reader_sample_line(reader *r, reader_sample *sample) {
    memset(sample, 0, sizeof *sample);
    sample->line = r->line;
    sample->first_label = r->doc->num_labels;
    sample->name = reader_name(r, true);
    if (!sample->name || (reader_skip(r, "{") && !reader_label_set(r, sample)))
        return false;
    if (!reader_skip(r, " "))
        return reader_unexpected(r, "before the value");
    if (!reader_value(r, sample) || (reader_skip(r, " ") && !reader_timestamp(r, sample)))
        return false;
    return reader_end_line(r);
}

/* ==== RULES: LINE BY LINE ==== */

static inline reader_family *reader_current(const reader *r) {
    return r->doc->num_families ? &r->doc->families[r->doc->num_families - 1] : NULL;
}

static inline bool reader_is_current(const reader *r, const char *name) {
    const reader_family *family = reader_current(r);
    return family && !strcmp(family->name, name);
}

static inline bool reader_check_has_type(const reader *r) {
    const reader_family *family = reader_current(r);
    return !family || family->has_type ||
           reader_refuse(r, family->line, "%.60s has a HELP and no TYPE", family->name);
}

static inline reader_family *reader_add_family(reader *r, const char *name, size_t line) {
    reader_doc *doc = r->doc;
    reader_family *family;
    doc->families = (reader_family *)reader_grow(doc->families, doc->num_families,
                                                 &r->room_families, sizeof *doc->families);
    family = &doc->families[doc->num_families++];
    memset(family, 0, sizeof *family);
    family->name = name;
    family->line = line;
    family->first_sample = doc->num_samples;
    return family;
}

static inline bool reader_take_help(reader *r, const char *name, const char *help, size_t line) {
    if (reader_is_current(r, name))
        return reader_refuse(r, line, "%s of %.60s",
                             reader_current(r)->has_type ? "HELP after the TYPE" : "a second HELP",
                             name);
    if (!reader_check_has_type(r))
        return false;
    reader_add_family(r, name, line)->help = help;
    return true;
}

static inline bool reader_set_type(const reader *r, reader_family *family, const char *type,
                                   size_t line) {
    size_t i = 0;
    while (i < sizeof reader_type_names / sizeof *reader_type_names &&
           strcmp(type, reader_type_names[i]) != 0)
        i++;
    if (i == sizeof reader_type_names / sizeof *reader_type_names)
        return reader_refuse(r, line, "type \"%.60s\" does not exist", type);
    family->type = (reader_type)i;
    family->has_type = true;
    return true;
}

static inline bool reader_take_type(reader *r, const char *name, const char *type, size_t line) {
    reader_family *family = reader_current(r);
    if (!reader_is_current(r, name)) {
        if (!reader_check_has_type(r))
            return false;
        family = reader_add_family(r, name, line);
    } else if (family->num_samples) {
        return reader_refuse(r, line, "TYPE of %.60s after its samples", name);
    } else if (family->has_type) {
        return reader_refuse(r, line, "a second TYPE of %.60s", name);
    }
    return reader_set_type(r, family, type, line);
}

static inline reader_role reader_role_of(const reader_family *family, const char *name) {
    size_t size = strlen(family->name);
    const char *suffix = name + size;
    bool in_parts = family->type == READER_HISTOGRAM || family->type == READER_SUMMARY;
    if (strncmp(name, family->name, size) != 0)
        return READER_STRANGER;
    if (!*suffix && family->type != READER_HISTOGRAM)
        return in_parts ? READER_QUANTILE : READER_PLAIN;
    if (in_parts && !strcmp(suffix, "_sum"))
        return READER_SUM;
    if (in_parts && !strcmp(suffix, "_count"))
        return READER_COUNT;
    return family->type == READER_HISTOGRAM && !strcmp(suffix, "_bucket") ? READER_BUCKET
                                                                          : READER_STRANGER;
}

static inline bool reader_refuse_stranger(const reader *r, const reader_sample *sample) {
    const reader_family *current = reader_current(r);
    for (size_t i = 0; i + 1 < r->doc->num_families; i++)
        if (reader_role_of(&r->doc->families[i], sample->name) != READER_STRANGER)
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

static inline bool reader_check_labels(const reader *r, const reader_sample *sample) {
    const reader_label *labels = reader_labels_at(r->doc, sample->first_label);
    for (size_t i = 0; i < sample->num_labels; i++) {
        if (!strncmp(labels[i].name, "__", 2))
            return reader_refuse(r, sample->line, "label name %.60s", labels[i].name);
        if (reader_label_named(labels, i, labels[i].name))
            return reader_refuse(r, sample->line, "label %.60s twice", labels[i].name);
    }
    return true;
}

/* The label by which the lines of one histogram or summary differ; no label is named "". */
static inline const char *reader_own_label(reader_type type) {
    return type == READER_HISTOGRAM ? "le" : type == READER_SUMMARY ? "quantile" : "";
}

static inline bool reader_check_bound(const reader *r, reader_sample *sample) {
    const char *name = reader_own_label(reader_current(r)->type), *fault;
    const reader_label *label =
        reader_label_named(reader_labels_at(r->doc, sample->first_label), sample->num_labels, name);
    if (sample->role != READER_BUCKET && sample->role != READER_QUANTILE)
        return !label || reader_refuse(r, sample->line, "%.60s with %s", sample->name, name);
    if (!label || !*label->value)
        return reader_refuse(r, sample->line, "%.60s without %s", sample->name, name);
    fault = reader_bound_fault(label->value, &sample->bound);
    if (!fault && sample->role == READER_BUCKET && sample->bound == -HUGE_VAL)
        fault = "a bound of -Inf";
    if (!fault && sample->role == READER_QUANTILE && !(sample->bound >= 0 && sample->bound <= 1))
        fault = "not between 0 and 1";
    return !fault || reader_refuse(r, sample->line, "%s=\"%.60s\": %s", name, label->value, fault);
}

static inline bool reader_check_value(const reader *r, const reader_sample *sample) {
    bool counts = sample->role == READER_BUCKET || sample->role == READER_COUNT;
    if (reader_current(r)->type == READER_COUNTER && !(sample->value >= 0))
        return reader_refuse(r, sample->line, "a counter at %.60s", sample->value_text);
    if (counts && !(sample->value >= 0 && reader_whole(sample->value)))
        return reader_refuse(r, sample->line, "%.60s counts %.60s", sample->name,
                             sample->value_text);
    return true;
}

static inline bool reader_take_sample(reader *r, reader_sample *sample) {
    reader_doc *doc = r->doc;
    reader_family *family = reader_current(r);
    sample->role =
        family && family->has_type ? reader_role_of(family, sample->name) : READER_STRANGER;
    if (sample->role == READER_STRANGER)
        return reader_refuse_stranger(r, sample);
    if (!reader_check_labels(r, sample) || !reader_check_bound(r, sample) ||
        !reader_check_value(r, sample))
        return false;
    doc->samples = (reader_sample *)reader_grow(doc->samples, doc->num_samples, &r->room_samples,
                                                sizeof *doc->samples);
    doc->samples[doc->num_samples++] = *sample;
    family->num_samples++;
    return true;
}

static inline bool reader_comment(reader *r) {
    bool is_help = reader_skip(r, "# HELP "), is_type = !is_help && reader_skip(r, "# TYPE ");
    size_t line = r->line;
    const char *name, *text;
    if (!is_help && !is_type)
        return reader_refuse(r, line, "a comment that is neither HELP nor TYPE");
    name = reader_name(r, true);
    if (!name)
        return false;
    if (!reader_skip(r, " ") && (is_type || *r->at != '\n'))
        return reader_unexpected(r, "after a metric name");
    text = is_help ? reader_text(r, false) : reader_word(r);
    if (!text || !reader_end_line(r))
        return false;
    return is_help ? reader_take_help(r, name, text, line) : reader_take_type(r, name, text, line);
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

static inline bool reader_check_series(const reader *r) {
    reader_doc *doc = r->doc;
    size_t repeated;
    doc->series = reader_keys(doc->num_samples);
    for (size_t i = 0; i < doc->num_samples; i++) {
        doc->series[i].hash = doc->samples[i].series_hash;
        doc->series[i].index = i;
    }
    repeated =
        reader_first_repeated(doc->series, doc->num_samples, reader_same_series, doc->samples);
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

static inline size_t reader_claim_names(const reader_family *family, reader_claim *out) {
    static const char *const suffixes[] = {"", "_sum", "_count", "_bucket"};
    size_t num = family->type == READER_HISTOGRAM ? 4 : family->type == READER_SUMMARY ? 3 : 1;
    for (size_t i = 0; i < num; i++) {
        out[i].name = family->name;
        out[i].suffix = suffixes[i];
        out[i].family = family;
    }
    return num;
}

static inline bool reader_check_claims(const reader *r) {
    const reader_doc *doc = r->doc;
    size_t room = 0, num = 0, repeated;
    reader_claim *claims =
        (reader_claim *)reader_grow(NULL, 4 * doc->num_families, &room, sizeof *claims);
    reader_key *keys = reader_keys(4 * doc->num_families);
    for (size_t i = 0; i < doc->num_families; i++)
        num += reader_claim_names(&doc->families[i], claims + num);
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

/* The lines of one histogram or summary: the same labels but for le or quantile. */
typedef struct reader_group {
    const reader_family *family;
    const reader_sample *first;
    size_t num;
} reader_group;

static inline bool reader_same_group(const void *groups, size_t a, size_t b) {
    const reader_group *p = (const reader_group *)groups + a, *q = (const reader_group *)groups + b;
    return p->family == q->family && p->first->group_hash == q->first->group_hash &&
           reader_same_labels(p->first, q->first, reader_own_label(p->family->type));
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

static inline bool reader_check_rising(const reader *r, const reader_sample *last,
                                       const reader_sample *sample) {
    if (last && !(sample->bound > last->bound))
        return reader_refuse(r, sample->line, "%.60s out of order", sample->name);
    if (last && sample->role == READER_BUCKET && sample->value < last->value)
        return reader_refuse(r, sample->line, "a bucket of %.60s that counts less than the last",
                             sample->name);
    return true;
}

static inline bool reader_check_total(const reader *r, const reader_group *group,
                                      const reader_sample *last, const reader_sample *count) {
    if (group->family->type != READER_HISTOGRAM)
        return true;
    if (!last || last->bound != HUGE_VAL)
        return reader_refuse(r, group->first[group->num - 1].line, "%.60s without +Inf",
                             group->family->name);
    return last->value == count->value ||
           reader_refuse(r, count->line, "%.60s is not what the +Inf bucket counts", count->name);
}

static inline bool reader_check_group(const reader *r, const reader_group *group) {
    const reader_sample *last = NULL, *sum = NULL, *count = NULL;
    for (size_t i = 0; i < group->num; i++) {
        const reader_sample *sample = &group->first[i];
        if (sample->role == READER_SUM) {
            sum = sample;
        } else if (sample->role == READER_COUNT) {
            count = sample;
        } else {
            if (!reader_check_rising(r, last, sample))
                return false;
            last = sample;
        }
    }
    if (!sum || !count)
        return reader_refuse(r, group->first[group->num - 1].line, "%.60s without its %s",
                             group->family->name, sum ? "_count" : "_sum");
    return reader_check_total(r, group, last, count);
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

static inline bool reader_check_groups(const reader *r) {
    const reader_doc *doc = r->doc;
    size_t room = 0;
    bool good = true;
    reader_group *groups =
        (reader_group *)reader_grow(NULL, doc->num_samples, &room, sizeof *groups);
    for (size_t i = 0; i < doc->num_families && good; i++) {
        const reader_family *family = &doc->families[i];
        if (family->type == READER_HISTOGRAM || family->type == READER_SUMMARY)
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
            sample->series_hash = reader_hash(1, sample->name) +
                                  reader_hash_labels(sample->labels, sample->num_labels, "");
            sample->group_hash = reader_hash_labels(sample->labels, sample->num_labels,
                                                    reader_own_label(family->type));
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
static inline bool reader_parse(const char *text, size_t size, reader_doc *doc,
                                char error[READER_ERROR_SIZE]) {
    size_t room = 0;
    reader r;
    memset(&r, 0, sizeof r);
    memset(doc, 0, sizeof *doc);
    doc->strings = r.next_string = (char *)reader_grow(NULL, size, &room, 1);
    r.at = text;
    r.end = text + size;
    r.line = 1;
    r.doc = doc;
    r.error = error;
    *error = 0;
    if (reader_check_bytes(&r) && reader_lines(&r)) {
        reader_link(doc);
        if (reader_check_claims(&r) && reader_check_series(&r) && reader_check_groups(&r))
            return true;
    }
    reader_free(doc);
    return false;
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
