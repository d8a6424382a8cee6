// The same header from C++11: descriptions, labels, scopes, counted exceptions.
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

#include <stdexcept>
#include <string>

static pytheus_counter parsed, failures, bad_numbers;
static pytheus_histogram parse_time;
static pytheus_gauge parsing;

static pytheus_counter counter(const char *name, const char *help) {
    pytheus_desc desc = {};
    desc.name = name;
    desc.help = help;
    return pytheus_counter_new(desc);
}

static void define_metrics() {
    pytheus_desc desc = {};
    desc.name = "parsed_total";
    desc.help = "Numbers parsed.";
    desc.required_labels[0] = "sign";
    desc.required_labels[1] = "base";
    desc.default_labels[0].name = "base";
    desc.default_labels[0].value = "10";
    parsed = pytheus_counter_new(desc);

    desc = pytheus_desc();
    desc.name = "parse_duration_seconds";
    desc.help = "Time to parse a number.";
    parse_time = pytheus_histogram_new(desc);

    desc = pytheus_desc();
    desc.name = "parsing";
    desc.help = "Numbers that are being parsed.";
    parsing = pytheus_gauge_new(desc);

    failures = counter("parse_failures_total", "Texts that gave no number.");
    bad_numbers = counter("parse_invalid_total", "Texts that are no number at all.");
}

// Whatever leaves the scope, a return or an exception, the time is observed.
static int parse(const std::string &text) {
    PYTHEUS_TIME_SCOPE(parse_time);
    PYTHEUS_TRACK_INPROGRESS_SCOPE(parsing);
    int value = std::stoi(text);
    std::string sign = value < 0 ? "minus" : "plus";
    pytheus_counter_inc(pytheus_counter_labels(parsed, "sign", sign.c_str()));
    return value;
}

// Every exception of the block is counted; those of the chosen types a second time.
static int parse_counted(const std::string &text) {
    int value = 0;
    PYTHEUS_COUNT_EXCEPTIONS(failures) {
        value = pytheus::count_exceptions<std::invalid_argument>(bad_numbers,
                                                                 [&] { return parse(text); });
    }
    return value;
}

int main() {
    define_metrics();
    for (const char *text : {"42", "-7", "0", "none", "99999999999999999999"}) {
        try {
            printf("%d\n", parse_counted(text));
        } catch (const std::exception &error) {
            printf("%s: no number (%s)\n", text, error.what());
        }
    }
    return pytheus_write_stream(pytheus_default(), PYTHEUS_TEXT, stdout) == PYTHEUS_OK ? 0 : 1;
}
