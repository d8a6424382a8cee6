// Number text against that of the C++ standard library, which is known to be shortest.
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "check.h"
#include "numbers.h"

#include <charconv>
#include <cmath>
#include <string>

template <typename... Form> static std::string standard(Form... form) {
    char text[400];
    return std::string(text, std::to_chars(text, text + sizeof text, form...).ptr);
}

static std::string ours(char *(*put)(char *, double), double v) {
    char text[PYTHEUS__NUMBER_SIZE];
    return std::string(text, put(text, v));
}

// The significant digits: without sign, point, exponent and the zeros around them.
static std::string digits_of(const std::string &text) {
    std::string digits;
    for (char c : text.substr(0, text.find('e'))) {
        if (c >= '0' && c <= '9' && !(digits.empty() && c == '0'))
            digits += c;
    }
    return digits.substr(0, digits.find_last_not_of('0') + 1);
}

static bool same(const std::string &text, const std::string &expected) {
    return text == expected || check_that(false, __FILE__, __LINE__, "%s instead of %s",
                                          text.c_str(), expected.c_str());
}

// Large integers are padded with zeros here, and there with what their bits happen to say.
static bool value_is_right(double v) {
    std::string text = ours(pytheus__put_double, v);
    if (std::trunc(v) != v)
        return same(text, standard(v));
    if (std::fabs(v) <= 9007199254740992.0)
        return same(text, v == 0 && std::signbit(v) ? "-0" : standard((int64_t)v));
    return same(digits_of(text), digits_of(standard(v, std::chars_format::scientific))) &&
           (text.size() == standard(v).size() || same(text, standard(v)));
}

static bool bound_is_right(double v) {
    double size = std::fabs(v);
    bool exponent = size < 1e-4 || size >= 1e6;
    if (size == 0)
        return same(ours(pytheus__put_bound, v), "0");
    return same(ours(pytheus__put_bound, v),
                standard(v, exponent ? std::chars_format::scientific : std::chars_format::fixed));
}

static bool is_right(double v) {
    return !std::isfinite(v) || (value_is_right(v) && bound_is_right(v));
}

static uint64_t millions(uint64_t n) {
    return (numbers_take_long() ? 10 * n : n) * 1000000;
}

TEST(powers_of_2_and_their_neighbours) {
    CHECK(numbers_powers_of_2(is_right));
}

TEST(powers_of_10_and_their_neighbours) {
    CHECK(numbers_powers_of_10(is_right));
}

TEST(edges) {
    CHECK(numbers_edges(is_right));
}

TEST(any_bits) {
    CHECK(numbers_of_any_bits(millions(10), 1, is_right));
}

TEST(everyday_numbers) {
    CHECK(numbers_of_any_day(millions(5), 2, is_right));
}
