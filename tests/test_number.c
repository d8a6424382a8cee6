/* The text of numbers. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "fixture.h"
#include "numbers.h"
#include "page.h"

#include <fenv.h>
#include <locale.h>

typedef char *put(char *out, double v);

typedef struct text {
    char at[PYTHEUS__NUMBER_SIZE + 1];
} text;

static text text_of(put *write, double v) {
    text t;
    *write(t.at, v) = 0;
    return t;
}

/* ---- exact texts ---- */

typedef struct expectation {
    double v;
    const char *text;
} expectation;

static const expectation values[] = {
    {0.0, "0"},
    {-0.0, "-0"},
    {1, "1"},
    {-3, "-3"},
    {10, "10"},
    {1000000, "1000000"},
    {-12345678, "-12345678"},
    {99999999, "99999999"},
    {100000000, "100000000"},
    {1234567890123456, "1234567890123456"},
    {9007199254740991, "9007199254740991"},
    {9007199254740992, "9007199254740992"},
    {-9007199254740992, "-9007199254740992"},

    {9007199254740994, "9007199254740994"},
    {9060801153433600, "9060801153433600"},
    {1e16, "1e+16"},
    {1.5e16, "1.5e+16"},
    {12345678901234568.0, "12345678901234568"},
    {1152921504606846976.0, "1152921504606847000"},
    {18446744073709551616.0, "18446744073709552000"},
    {1.2345678901234568e21, "1234567890123456800000"},
    {1.234567890123456e21, "1.234567890123456e+21"},
    {1.2345678901234568e22, "1.2345678901234568e+22"},
    {-1e21, "-1e+21"},
    {1e23, "1e+23"},
    {1.0000000000000001e23, "1.0000000000000001e+23"},
    {1e99, "1e+99"},
    {1e100, "1e+100"},
    {1.5e300, "1.5e+300"},
    {1.7976931348623157e308, "1.7976931348623157e+308"},

    {0.5, "0.5"},
    {0.1, "0.1"},
    {-0.25, "-0.25"},
    {0.3, "0.3"},
    {0.30000000000000004, "0.30000000000000004"},
    {21.5, "21.5"},
    {1234567.25, "1234567.25"},
    {99999999.5, "99999999.5"},
    {123456789.125, "123456789.125"},
    {4503599627370495.5, "4503599627370495.5"},
    {3.141592653589793, "3.141592653589793"},
    {1693277.0001, "1693277.0001"},
    {0.01, "0.01"},
    {0.005, "0.005"},
    {0.001, "0.001"},
    {0.0001, "1e-04"},
    {0.0005, "5e-04"},
    {0.00012, "0.00012"},
    {-0.00012345678901234567, "-0.00012345678901234567"},
    {0.000012, "1.2e-05"},
    {1e-5, "1e-05"},
    {9.5367431640625e-07, "9.5367431640625e-07"},
    {2.98023223876953125e-8, "2.9802322387695312e-08"},
    {1e-99, "1e-99"},
    {1e-100, "1e-100"},
    {2.2250738585072014e-308, "2.2250738585072014e-308"},
    {-2.2250738585072014e-308, "-2.2250738585072014e-308"},
    {2.225073858507201e-308, "2.225073858507201e-308"},
    {1e-323, "1e-323"},
    {4.9406564584124654e-324, "5e-324"},
};

static const expectation bounds[] = {
    {0.0, "0"},
    {-0.0, "0"},
    {0.005, "0.005"},
    {0.01, "0.01"},
    {0.025, "0.025"},
    {0.05, "0.05"},
    {0.1, "0.1"},
    {0.25, "0.25"},
    {0.5, "0.5"},
    {1, "1"},
    {2.5, "2.5"},
    {5, "5"},
    {10, "10"},
    {-1, "-1"},
    {-0.5, "-0.5"},
    {16384, "16384"},
    {100000, "100000"},
    {100000.5, "100000.5"},
    {999999, "999999"},
    {999999.9999999999, "999999.9999999999"},
    {1e6, "1e+06"},
    {-2500000, "-2.5e+06"},
    {1234567, "1.234567e+06"},
    {16777216, "1.6777216e+07"},
    {123456789, "1.23456789e+08"},
    {9007199254740992, "9.007199254740992e+15"},
    {1e20, "1e+20"},
    {1e21, "1e+21"},
    {1e300, "1e+300"},
    {0.0001, "0.0001"},
    {0.00012345, "0.00012345"},
    {0.000099, "9.9e-05"},
    {0.00001, "1e-05"},
    {0.16, "0.16"},
    {0.30000000000000004, "0.30000000000000004"},
    {4.9406564584124654e-324, "5e-324"},
};

TEST(values_have_these_texts) {
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        CHECK_STR(text_of(pytheus__put_double, values[i].v).at, values[i].text);
}

TEST(bounds_have_the_texts_of_go) {
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
        CHECK_STR(text_of(pytheus__put_bound, bounds[i].v).at, bounds[i].text);
}

TEST(what_is_not_finite_has_a_name) {
    const uint64_t infinity = (uint64_t)0x7ff << 52, sign = (uint64_t)1 << 63;
    put *const puts[] = {pytheus__put_double, pytheus__put_bound};
    for (size_t i = 0; i < 2; i++) {
        CHECK_STR(text_of(puts[i], numbers_of_bits(infinity)).at, "+Inf");
        CHECK_STR(text_of(puts[i], numbers_of_bits(infinity | sign)).at, "-Inf");
        for (uint64_t payload = 1; payload >> 52 == 0; payload *= 2) {
            CHECK_STR(text_of(puts[i], numbers_of_bits(infinity | payload)).at, "NaN");
            CHECK_STR(text_of(puts[i], numbers_of_bits(infinity | payload | sign)).at, "NaN");
        }
    }
}

/* Through the front door: what a scrape shows of a gauge, and of the bounds of a histogram. */
TEST_WITH(registry, a_gauge_shows_these_texts) {
    pytheus_gauge gauge = GAUGE(registry, .name = "reading", .help = "Any number.");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char line[64];
        snprintf(line, sizeof line, "reading %s", values[i].text);
        CHECK_ERR(pytheus_gauge_set(gauge, values[i].v), PYTHEUS_OK);
        CHECK_LINE(registry, line);
    }
    CHECK_ERR(pytheus_gauge_set(gauge, numbers_of_bits((uint64_t)0xfff8 << 48)), PYTHEUS_OK);
    CHECK_LINE(registry, "reading NaN");
    CHECK_ERR(pytheus_gauge_set(gauge, numbers_of_bits((uint64_t)0x7ff << 52)), PYTHEUS_OK);
    CHECK_LINE(registry, "reading +Inf");
    CHECK_ERR(pytheus_gauge_set(gauge, numbers_of_bits((uint64_t)0xfff << 52)), PYTHEUS_OK);
    CHECK_LINE(registry, "reading -Inf");
}

TEST_WITH(registry, a_histogram_shows_the_texts_of_go) {
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        char name[32], line[96];
        snprintf(name, sizeof name, "bound_%u", (unsigned)i);
        snprintf(line, sizeof line, "%s_bucket{le=\"%s\"} 0", name, bounds[i].text);
        pytheus_histogram_new(&(pytheus_desc){.registry = registry,
                                              .name = name,
                                              .help = "One bound.",
                                              .buckets = &bounds[i].v,
                                              .num_buckets = 1});
        CHECK_LINE(registry, line);
    }
}

/* ---- integers ---- */

/* Counts up in decimal, as a mechanical counter does. */
static void count_up(char digits[24]) {
    size_t i = strlen(digits);
    while (i && digits[i - 1] == '9')
        digits[--i] = '0';
    if (i) {
        digits[i - 1]++;
        return;
    }
    memmove(digits + 1, digits, strlen(digits) + 1);
    *digits = '1';
}

static bool counts_alike(uint64_t from, const char *digits, uint64_t how_many) {
    char counted[24];
    snprintf(counted, sizeof counted, "%s", digits);
    for (uint64_t n = from; n - from < how_many; n++) {
        text t;
        *pytheus__put_integer(t.at, n) = 0;
        if (strcmp(t.at, counted))
            return CHECK_STR(t.at, counted);
        count_up(counted);
    }
    return CHECK(how_many);
}

TEST(integers_have_all_their_digits) {
    char nines[24] = "";
    uint64_t power = 1;
    counts_alike(0, "0", numbers_take_long() ? 200000000 : 1100000);
    for (size_t num_digits = 1; num_digits < 20; num_digits++) {
        strcat(nines, "9");
        power *= 10;
        if (!counts_alike(power - 1, nines, 3))
            return;
    }
    counts_alike(9999999900000000, "9999999900000000", 200000);
    counts_alike(((uint64_t)1 << 53) - 1, "9007199254740991", 3);
    counts_alike(UINT64_MAX - 2, "18446744073709551613", 3);
}

/* ---- powers of 10 ---- */

enum { NUM_LIMBS = 40 };

/* A number of up to 1280 bits, the lowest first. */
typedef struct natural {
    uint32_t limbs[NUM_LIMBS];
} natural;

/* v * factor + (add << 32) */
static natural times_and_limb(natural v, uint32_t factor, natural add) {
    uint64_t carry = 0;
    for (size_t i = 0; i < NUM_LIMBS; i++) {
        carry += (uint64_t)v.limbs[i] * factor + (i ? add.limbs[i - 1] : 0);
        v.limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    return v;
}

static natural times(natural v, pytheus__u128 factor) {
    const uint64_t halves[] = {factor.high, factor.low};
    natural product = {{0}};
    for (size_t i = 0; i < 2; i++) {
        product = times_and_limb(v, (uint32_t)(halves[i] >> 32), product);
        product = times_and_limb(v, (uint32_t)halves[i], product);
    }
    return product;
}

/* 10^tens * 2^twos, where what is negative counts as 0. */
static natural power(int tens, int twos) {
    const natural zero = {{0}};
    natural v = {{1}};
    while (tens-- > 0)
        v = times_and_limb(v, 10, zero);
    while (twos-- > 0)
        v = times_and_limb(v, 2, zero);
    return v;
}

static bool at_most(natural a, natural b) {
    for (size_t i = NUM_LIMBS; i--;) {
        if (a.limbs[i] != b.limbs[i])
            return a.limbs[i] < b.limbs[i];
    }
    return true;
}

/* bits - 1 is the last integer that is not above 10^n / 2^exponent. */
TEST(powers_of_10_are_exact) {
    for (int n = -292; n <= 324; n++) {
        pytheus__power found = pytheus__power_of_10(n);
        pytheus__u128 above = found.bits, below = above;
        natural dividend = power(n, -found.exponent), divisor = power(-n, found.exponent);
        below.high -= !below.low--;
        check_that(above.high >> 62 && at_most(times(divisor, below), dividend) &&
                       !at_most(times(divisor, above), dividend),
                   __FILE__, __LINE__, "10^%d is wrong", n);
    }
}

/* ---- reading back ---- */

static bool reads_back(double v) {
    put *const puts[] = {pytheus__put_double, pytheus__put_bound};
    for (size_t i = 0; i < 2; i++) {
        text t = text_of(puts[i], v);
        char *end;
        double read = strtod(t.at, &end);
        uint64_t wanted = v == 0 && puts[i] == pytheus__put_bound ? 0 : numbers_bits(v);
        if (strlen(t.at) > 24 || *end || (v == v ? numbers_bits(read) != wanted : read == read))
            return check_that(false, __FILE__, __LINE__, "%s is no text for %.17g", t.at, v);
    }
    return true;
}

TEST(powers_of_2_and_their_neighbours_read_back) {
    CHECK(numbers_powers_of_2(reads_back));
}

TEST(powers_of_10_and_their_neighbours_read_back) {
    CHECK(numbers_powers_of_10(reads_back));
}

TEST(edges_read_back) {
    CHECK(numbers_edges(reads_back));
}

TEST(any_bits_read_back) {
    CHECK(numbers_of_any_bits(numbers_take_long() ? 10000000 : 1000000, 1, reads_back));
}

TEST(everyday_numbers_read_back) {
    CHECK(numbers_of_any_day(numbers_take_long() ? 10000000 : 300000, 2, reads_back));
}

/* ---- the same everywhere ---- */

static uint64_t text_hash;

/* FNV-1a */
static void add_to_hash(const char *from, const char *end) {
    for (; from < end; from++)
        text_hash = (text_hash ^ (unsigned char)*from) * UINT64_C(0x100000001b3);
}

static bool hash_texts(double v) {
    char out[PYTHEUS__NUMBER_SIZE];
    add_to_hash(out, pytheus__put_double(out, v));
    add_to_hash(out, pytheus__put_bound(out, v));
    return true;
}

/* All texts in one number, which is that of x86-64, i386 and aarch64. */
static bool hash_is_right(void) {
    text_hash = UINT64_C(0xcbf29ce484222325);
    numbers_powers_of_2(hash_texts);
    numbers_of_any_bits(200000, 3, hash_texts);
    numbers_of_any_day(200000, 4, hash_texts);
    return check_that(text_hash == UINT64_C(0x9a2c0162b7fc4acb), __FILE__, __LINE__,
                      "the texts have the hash 0x%016" PRIx64, text_hash);
}

TEST(texts_are_the_same_on_every_machine) {
    hash_is_right();
}

TEST(texts_are_the_same_in_every_rounding_mode) {
    const int modes[] = {
#ifdef FE_DOWNWARD
        FE_DOWNWARD,
#endif
#ifdef FE_UPWARD
        FE_UPWARD,
#endif
#ifdef FE_TOWARDZERO
        FE_TOWARDZERO,
#endif
        FE_TONEAREST};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        CHECK_INT(fesetround(modes[i]), 0);
        hash_is_right();
    }
}

#ifdef _WIN32
TEST(texts_are_the_same_under_a_decimal_comma) {
    SKIP("makes its locale as POSIX does");
}
#else
/* A German locale, made in a folder of its own: few machines have one. */
static bool comma_begins(const char *folder) {
    char command[4096 + 200];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' 2>&1", folder);
    return !system(command) && !setenv("LOCPATH", folder, 1) && setlocale(LC_ALL, "de_DE.UTF-8") &&
           !strcmp(localeconv()->decimal_point, ",");
}

static void check_under_comma(const char *folder) {
    char printed[16];
    if (!comma_begins(folder))
        SKIP("no decimal comma: localedef -i de_DE fails, or its locale does not load");
    snprintf(printed, sizeof printed, "%.1f", 1.5);
    CHECK_STR(printed, "1,5");
    hash_is_right();
    fixture_run(with_registry_a_gauge_shows_these_texts);
    fixture_run(with_registry_a_histogram_shows_the_texts_of_go);
}

TEST(texts_are_the_same_under_a_decimal_comma) {
    const char *parent = getenv("TMPDIR");
    char folder[4096], command[4096 + 200];
    snprintf(folder, sizeof folder, "%s/pytheus.XXXXXX", parent ? parent : "/tmp");
    if (!CHECK(mkdtemp(folder) != NULL))
        return;
    check_under_comma(folder);
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    CHECK_INT(system(command), 0);
}
#endif

/* ---- room ---- */

static bool stays_in_its_room(double v) {
    put *const puts[] = {pytheus__put_double, pytheus__put_bound};
    for (size_t i = 0; i < 2; i++) {
        char out[1 + PYTHEUS__NUMBER_SIZE + 32], untouched[32];
        memset(out, '~', sizeof out);
        memset(untouched, '~', sizeof untouched);
        puts[i](out + 1, v);
        if (*out != '~' || memcmp(out + 1 + PYTHEUS__NUMBER_SIZE, untouched, sizeof untouched))
            return check_that(false, __FILE__, __LINE__, "%.17g takes too much room", v);
    }
    return true;
}

TEST(nothing_is_written_beside_the_room) {
    CHECK(numbers_powers_of_2(stays_in_its_room));
    CHECK(numbers_edges(stays_in_its_room));
    CHECK(numbers_of_any_bits(100000, 5, stays_in_its_room));
    CHECK(numbers_of_any_day(100000, 6, stays_in_its_room));
}
