/* numbers.h: the doubles that the tests of number text look at. After check.h; C99 and C++11. */
#ifndef NUMBERS_H
#define NUMBERS_H

/* Looks at one double; false ends the visit. */
typedef bool numbers_look(double v);

static inline double numbers_of_bits(uint64_t bits) {
    double v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static inline uint64_t numbers_bits(double v) {
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* LONG=1 in the environment. */
static inline bool numbers_take_long(void) {
    const char *value = getenv("LONG");
    return value && !strcmp(value, "1");
}

/* v and three doubles on either side of it. */
static inline bool numbers_around(double v, numbers_look *look) {
    uint64_t bits = numbers_bits(v), from = bits < 3 ? 0 : bits - 3;
    for (uint64_t each = from; each <= bits + 3; each++) {
        if (!look(numbers_of_bits(each)))
            return false;
    }
    return true;
}

static inline bool numbers_powers_of_2(numbers_look *look) {
    for (uint64_t subnormal = 1; subnormal < (uint64_t)1 << 52; subnormal *= 2) {
        if (!numbers_around(numbers_of_bits(subnormal), look))
            return false;
    }
    for (uint64_t exponent = 1; exponent < 2047; exponent++) {
        if (!numbers_around(numbers_of_bits(exponent << 52), look))
            return false;
    }
    return true;
}

/* 10^n and, for all n, the multiples by 2 to 99. */
static inline bool numbers_powers_of_10(numbers_look *look) {
    for (int n = -326; n <= 308; n++) {
        for (int digits = 1; digits < 100; digits++) {
            char text[32];
            snprintf(text, sizeof text, "%de%d", digits, n);
            if (!numbers_around(strtod(text, NULL), look))
                return false;
        }
    }
    return true;
}

/* Where integers and halves end, where blocks of digits begin, the greatest, the least. */
static inline bool numbers_edges(numbers_look *look) {
    for (uint64_t n = 0; n < 4000; n++) {
        double low = (double)n, high = (double)(((uint64_t)1 << 53) - 2000 + n);
        if (!look(low) || !look(low + 0.5) || !look(-low) || !look(high) || !look(-high) ||
            !look(high / 2) || !look(high / 4) || !look(high * 16) || !look(low / 1000) ||
            !look(low * 2500) || !numbers_around(low * 1e8, look) || !look(numbers_of_bits(n)) ||
            !look(numbers_of_bits(((uint64_t)1 << 52) - 2000 + n)) ||
            !look(numbers_of_bits(((uint64_t)0x7ff << 52) - 2000 + n)))
            return false;
    }
    return true;
}

/* Any bits, so mostly numbers with three digits in the exponent. */
static inline bool numbers_of_any_bits(uint64_t how_many, uint64_t seed, numbers_look *look) {
    while (how_many--) {
        if (!look(numbers_of_bits(check_random(&seed))))
            return false;
    }
    return true;
}

/* What programs measure: between 2^-20 and 2^75, with 1 to 53 bits that are not 0. */
static inline bool numbers_of_any_day(uint64_t how_many, uint64_t seed, numbers_look *look) {
    while (how_many--) {
        uint64_t r = check_random(&seed), exponent = 1023 - 20 + r % 96;
        uint64_t sign = r >> 63 << 63, zeros = (r >> 8) % 53;
        uint64_t fraction = check_random(&seed) >> 12 >> zeros << zeros;
        if (!look(numbers_of_bits(sign | exponent << 52 | fraction)))
            return false;
    }
    return true;
}

#endif
