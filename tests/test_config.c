/* Backends by name: their configuration, their classes, and where both come from. */
#define _POSIX_C_SOURCE 200809L
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define FIXTURE_WITHOUT_FILE
#include "check.h"
#include "fixture.h"
#include "numbers.h"
#include <errno.h>
#include <fenv.h>
#include <locale.h>
#ifndef _WIN32
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

/* ---- a backend that looks at its configuration ---- */

static struct {
    void (*ask)(const pytheus_config *config); /* for "k"; NULL: for host, port and tls */
    pytheus_err fails;
    const char *sentence; /* that it leaves when it fails; NULL: none */
    const char *name;     /* NULL: leaves it to the library */
    bool checks, lacks_functions;
    int num_created, num_destroyed;
    char text[256];
    double number;
    bool truth;
    pytheus_err checked;
} probe;

static void probe_destroy(void *user) {
    CHECK(user == &probe);
    probe.num_destroyed++;
}

static void ask_for_all(const pytheus_config *config) {
    snprintf(probe.text, sizeof probe.text, "%s", pytheus_config_string(config, "host", "nowhere"));
    probe.number = pytheus_config_number(config, "port", 1);
    probe.truth = pytheus_config_bool(config, "tls", false);
}

static void ask_for_a_string(const pytheus_config *config) {
    snprintf(probe.text, sizeof probe.text, "%s", pytheus_config_string(config, "k", "otherwise"));
}

static void ask_for_a_number(const pytheus_config *config) {
    probe.number = pytheus_config_number(config, "k", 7);
}

static void ask_for_true(const pytheus_config *config) {
    probe.truth = pytheus_config_bool(config, "k", true);
}

static void ask_for_false(const pytheus_config *config) {
    probe.truth = pytheus_config_bool(config, "k", false);
}

static void ask_for_nothing(const pytheus_config *config) {
    (void)config;
}

static pytheus_err probe_inc(void *user, void *cell, double by) {
    (void)user, (void)cell, (void)by;
    return PYTHEUS_OK;
}

static pytheus_err probe_create(const pytheus_config *config, pytheus_backend *out) {
    probe.num_created++;
    (probe.ask ? probe.ask : ask_for_all)(config);
    if (probe.checks)
        probe.checked = pytheus_config_check(config);
    if (probe.fails)
        return probe.sentence ? pytheus_fail(probe.fails, "%s", probe.sentence) : probe.fails;
    out->name = probe.name;
    out->user = &probe;
    out->inc = probe.lacks_functions ? probe_inc : NULL;
    out->destroy = probe_destroy;
    return PYTHEUS_OK;
}

static const char *const probe_names[] = {"probe", "pytheus.backends.Probe", NULL};
static const pytheus_backend_class probe_class = {probe_names, probe_create};
PYTHEUS_ANNOUNCE(probe_class);

/* ---- loading it ---- */

/* Also what the environment says that the tests were started in. */
static void forget(void) {
    memset(&probe, 0, sizeof probe);
#ifndef _WIN32
    unsetenv("PYTHEUS_BACKEND_CLASS");
    unsetenv("PYTHEUS_BACKEND_CONFIG");
#endif
}

static void run_loading(void (*test)(pytheus_registry *)) {
    forget();
    pytheus_registry *registry = fixture_registry(NULL);
    if (!CHECK(registry != NULL))
        return;
    pytheus_set_default(registry);
    test(registry);
    pytheus_set_default(NULL);
    pytheus_registry_free(registry);
    CHECK(probe.fails || probe.num_destroyed == probe.num_created);
    forget();
}

/* A test in which the default registry is one of its own. */
#define TEST_LOADING(registry, name)                                                               \
    static void loading_##name(pytheus_registry *registry);                                        \
    TEST(name) {                                                                                   \
        run_loading(loading_##name);                                                               \
    }                                                                                              \
    static void loading_##name(PYTHEUS__UNUSED pytheus_registry *registry)

/* The sentence of an error before is not taken for that of this one. */
static pytheus_err load(const char *class_name, const char *json) {
    (void)pytheus_fail(PYTHEUS_ERR_IO, "something else");
    return pytheus_load_backend(class_name, json);
}

#define CHECK_LOADED(name, config)                                                                 \
    do {                                                                                           \
        CHECK_STR(pytheus_registry_backend(NULL), name);                                           \
        CHECK_STR(pytheus_registry_config(NULL), config);                                          \
    } while (0)

static char *copy_of(const char *text) {
    size_t size = strlen(text) + 1;
    return (char *)memcpy(malloc(size), text, size);
}

/* What was loaded before stays. */
static void check_refused(const char *class_name, const char *json, pytheus_err err,
                          const char *sentence, const char *file, int line) {
    char *backend = copy_of(pytheus_registry_backend(NULL));
    char *config = copy_of(pytheus_registry_config(NULL));
    check_err(load(class_name, json), err, json ? json : "load", file, line);
    check_str(pytheus_last_error(), sentence, json ? json : "load", file, line);
    check_str(pytheus_registry_backend(NULL), backend, "the backend", file, line);
    check_str(pytheus_registry_config(NULL), config, "the configuration", file, line);
    free(backend);
    free(config);
}
#define CHECK_REFUSED(class_name, json, sentence)                                                  \
    check_refused(class_name, json, PYTHEUS_ERR_CONFIG, sentence, __FILE__, __LINE__)
#define CHECK_BAD(json, sentence) CHECK_REFUSED("probe", json, "configuration:" sentence)

static bool load_value(const char *value, void (*ask)(const pytheus_config *config)) {
    char json[512];
    snprintf(json, sizeof json, "{\"k\": %s}", value);
    probe.ask = ask;
    return load("probe", json) == PYTHEUS_OK;
}

/* NULL: refused. */
static const char *string_of(const char *value) {
    return load_value(value, ask_for_a_string) ? probe.text : NULL;
}

static double number_of(const char *value) {
    return load_value(value, ask_for_a_number) ? probe.number : (double)NAN;
}

/* ---- JSON that is taken ---- */

TEST_LOADING(r, an_object_may_be_empty) {
    CHECK_ERR(load("probe", "{}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{}");
    CHECK_STR(probe.text, "nowhere");
    CHECK_DOUBLE(probe.number, 1);
    CHECK(!probe.truth);
}

TEST_LOADING(r, values_of_each_type) {
    CHECK_ERR(load("probe", "{\"host\": \"::1\", \"port\": 6379, \"tls\": true}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"host\": \"::1\", \"port\": 6379, \"tls\": true}");
    CHECK_STR(probe.text, "::1");
    CHECK_DOUBLE(probe.number, 6379);
    CHECK(probe.truth);
}

TEST_LOADING(r, all_four_blanks_and_none) {
    CHECK_ERR(load("probe", " \t\r\n{ \t\r\n\"port\" \t\r\n: \t\r\n1 \t\r\n, \t\r\n"
                            "\"tls\" \t\r\n: \t\r\nfalse \t\r\n} \t\r\n"),
              PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"port\": 1, \"tls\": false}");
    CHECK_ERR(load("probe", "{\"port\":2,\"tls\":true,\"host\":\"\"}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"port\": 2, \"tls\": true, \"host\": \"\"}");
    CHECK_ERR(load("probe", "{ \n }"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{}");
}

TEST_LOADING(r, true_and_false) {
    CHECK(load_value("true", ask_for_false));
    CHECK(probe.truth);
    CHECK(load_value("false", ask_for_true));
    CHECK(!probe.truth);
}

TEST_LOADING(r, null_is_otherwise) {
    CHECK_STR(string_of("null"), "otherwise");
    CHECK_DOUBLE(number_of("null"), 7);
    CHECK(load_value("null", ask_for_true));
    CHECK(probe.truth);
    CHECK(load_value("null", ask_for_false));
    CHECK(!probe.truth);
    CHECK_LOADED("probe", "{\"k\": null}");
}

TEST_LOADING(r, escapes) {
    CHECK_STR(string_of("\"\\\" \\\\ \\/ \\b \\f \\n \\r \\t\""), "\" \\ / \b \f \n \r \t");
    CHECK_STR(string_of("\"\\u0001\\u001f\\u0041\\u007f\""), "\001\037A\177");
    CHECK_STR(string_of("\"\\u00e9\\u00E9\\u07ff\\u0800\\uffff\""),
              "\xc3\xa9\xc3\xa9\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf");
    CHECK_STR(string_of("\"\\ud7ff\\ue000\""), "\xed\x9f\xbf\xee\x80\x80");
    CHECK_STR(string_of("\"\\ud800\\udc00 \\uD83D\\uDE00 \\uDBFF\\uDFFF\""),
              "\xf0\x90\x80\x80 \xf0\x9f\x98\x80 \xf4\x8f\xbf\xbf");
    CHECK_STR(string_of("\"\\\\u0041\\\\\""), "\\u0041\\");
}

TEST_LOADING(r, utf8_is_kept) {
    CHECK_STR(string_of("\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\""),
              "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f");
    CHECK_LOADED("probe", "{\"k\": \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"}");
}

TEST_LOADING(r, keys_are_strings_like_others) {
    CHECK_ERR(load("probe", "{\"h\\u006fst\": \"a\"}"), PYTHEUS_OK);
    CHECK_STR(probe.text, "a");
    CHECK_LOADED("probe", "{\"host\": \"a\"}");
}

TEST_LOADING(r, the_text_is_that_of_json_dumps) {
    CHECK_STR(string_of("\"\\u0022\\u005c\\/\\b\\f\\n\\r\\t\\u0001\\u001F\\u007f\\u00e9\""),
              "\"\\/\b\f\n\r\t\001\037\177\xc3\xa9");
    CHECK_LOADED("probe", "{\"k\": \"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xc3\xa9\"}");
    CHECK(!isnan(number_of("1.50E+3")));
    CHECK_LOADED("probe", "{\"k\": 1.50E+3}");
}

TEST_LOADING(r, a_thousand_keys) {
    char *json = (char *)malloc(20000);
    size_t used = (size_t)sprintf(json, "{\"host\": \"a\"");
    for (int i = 1; i < 1000; i++)
        used += (size_t)sprintf(json + used, ", \"%d\": 1", i);
    strcpy(json + used, "}");
    CHECK_REFUSED("probe", json, "probe: no key \"1\" (has: host, port, tls)");
    strcpy(json + used, ", \"1000\": 1}");
    char sentence[100];
    snprintf(sentence, sizeof sentence, "configuration:1:%d: more than 1000 keys", (int)used + 3);
    CHECK_REFUSED("probe", json, sentence);
    free(json);
}

/* ---- numbers ---- */

TEST_LOADING(r, numbers) {
    CHECK_DOUBLE(number_of("0"), 0);
    CHECK_DOUBLE(number_of("-0"), -0.0);
    CHECK_DOUBLE(number_of("-0.0e-0"), -0.0);
    CHECK_DOUBLE(number_of("12.5"), 12.5);
    CHECK_DOUBLE(number_of("12.5e3"), 12500);
    CHECK_DOUBLE(number_of("12.5E+03"), 12500);
    CHECK_DOUBLE(number_of("125e-1"), 12.5);
    CHECK_DOUBLE(number_of("0.1"), 0.1);
    CHECK_DOUBLE(number_of("-0.000123"), -0.000123);
    CHECK_DOUBLE(number_of("100.0000000000000000001"), 100);
    CHECK_DOUBLE(number_of("9007199254740993"), 9007199254740992);
    CHECK_DOUBLE(number_of("9007199254740993.00000000000000000000001"), 9007199254740994);
}

TEST_LOADING(r, numbers_at_the_ends) {
    CHECK_DOUBLE(number_of("1.7976931348623157e308"), 1.7976931348623157e308);
    CHECK_DOUBLE(number_of("-179769313486231570000e288"), -1.7976931348623157e308);
    CHECK_DOUBLE(number_of("2.2250738585072014e-308"), 2.2250738585072014e-308);
    CHECK_DOUBLE(number_of("5e-324"), numbers_of_bits(1));
    CHECK_DOUBLE(number_of("1e-400"), 0);
    CHECK_DOUBLE(number_of("-1e-99999999999999999999"), -0.0);
    CHECK_DOUBLE(number_of("0e99999999999999999999"), 0);
    CHECK_DOUBLE(number_of("0.0E+99999999999999999999"), 0);
}

TEST_LOADING(r, numbers_that_are_too_large) {
    probe.ask = ask_for_a_number;
    CHECK_BAD("{\"k\": 1.8e308}", "1:7: the number is too large");
    CHECK_BAD("{\"k\": -1e309}", "1:7: the number is too large");
    CHECK_BAD("{\"k\":\n 1e99999999999999999999}", "2:2: the number is too large");
    CHECK_BAD("{\"k\": 0.001e4294967297}", "1:7: the number is too large");
}

/* Many digits, and an exponent that takes them all back. */
TEST_LOADING(r, long_numbers) {
    enum { SIZE = 300000 };
    char *json = (char *)malloc(SIZE + 100);
    size_t used = (size_t)sprintf(json, "{\"k\": 0.");
    memset(json + used, '0', SIZE);
    sprintf(json + used + SIZE, "125e%d}", SIZE + 1);
    probe.ask = ask_for_a_number;
    CHECK_ERR(load("probe", json), PYTHEUS_OK);
    CHECK_DOUBLE(probe.number, 1.25);
    used = (size_t)sprintf(json, "{\"k\": 125");
    memset(json + used, '0', SIZE);
    sprintf(json + used + SIZE, "e-%d}", SIZE + 2);
    CHECK_ERR(load("probe", json), PYTHEUS_OK);
    CHECK_DOUBLE(probe.number, 1.25);
    free(json);
}

static bool reads_back(double v) {
    char text[64];
    if (isnan(v) || isinf(v))
        return true;
    snprintf(text, sizeof text, "%.17g", v);
    return CHECK_DOUBLE(number_of(text), v);
}

TEST_LOADING(r, numbers_read_back) {
    numbers_of_any_bits(5000, 1, reads_back);
    numbers_of_any_day(5000, 2, reads_back);
}

#ifdef FE_TOWARDZERO
TEST_LOADING(r, numbers_are_too_large_in_any_rounding_mode) {
    probe.ask = ask_for_a_number;
    CHECK_INT(fesetround(FE_TOWARDZERO), 0);
    CHECK_BAD("{\"k\": 1e309}", "1:7: the number is too large");
    CHECK_INT(fesetround(FE_TONEAREST), 0);
}
#endif

/* ---- JSON that is refused ---- */

TEST_LOADING(r, what_is_no_object) {
    CHECK_BAD("", "1:1: '{' expected");
    CHECK_BAD(" \n\t ", "2:3: '{' expected");
    CHECK_BAD("[]", "1:1: '{' expected");
    CHECK_BAD("null", "1:1: '{' expected");
    CHECK_BAD("\"host\"", "1:1: '{' expected");
    CHECK_BAD("// host\n{}", "1:1: '{' expected");
    CHECK_BAD("\xc2\xa0{}", "1:1: '{' expected");
    CHECK_BAD("\v{}", "1:1: '{' expected");
    CHECK_BAD("\xef\xbb\xbf{}", "1:1: a byte order mark, which JSON has not");
}

TEST_LOADING(r, text_behind_the_object) {
    CHECK_BAD("{}}", "1:3: nothing expected after the '}'");
    CHECK_BAD("{} {}", "1:4: nothing expected after the '}'");
    CHECK_BAD("{\"port\": 1}\n\n  x", "3:3: nothing expected after the '}'");
    CHECK_BAD("{},", "1:3: nothing expected after the '}'");
}

TEST_LOADING(r, objects_that_do_not_end) {
    CHECK_BAD("{", "1:2: a key in double quotes expected");
    CHECK_BAD("{\"port\"", "1:8: ':' expected after the key \"port\"");
    CHECK_BAD("{\"port\":", "1:9: \"port\": values are strings, numbers, true, false or null");
    CHECK_BAD("{\"port\": 1", "1:11: ',' or '}' expected after the value of \"port\"");
    CHECK_BAD("{\"port\": 1,", "1:12: a key in double quotes expected");
    CHECK_BAD("{\"port\": 1]", "1:11: ',' or '}' expected after the value of \"port\"");
}

TEST_LOADING(r, keys_that_are_none) {
    CHECK_BAD("{port: 1}", "1:2: a key in double quotes expected");
    CHECK_BAD("{'port': 1}", "1:2: a key in double quotes expected");
    CHECK_BAD("{1: 1}", "1:2: a key in double quotes expected");
    CHECK_BAD("{,}", "1:2: a key in double quotes expected");
    CHECK_BAD("{\"port\": 1,}", "1:12: a key in double quotes expected");
    CHECK_BAD("{\"port\": 1,, \"tls\": true}", "1:12: a key in double quotes expected");
    CHECK_BAD("{/* */}", "1:2: a key in double quotes expected");
}

TEST_LOADING(r, separators_that_are_wrong) {
    CHECK_BAD("{\n  \"host\" \"a\"\n}", "2:10: ':' expected after the key \"host\"");
    CHECK_BAD("{\"host\"=\"a\"}", "1:8: ':' expected after the key \"host\"");
    CHECK_BAD("{\"host\", \"a\"}", "1:8: ':' expected after the key \"host\"");
    CHECK_BAD("{\"port\": 1 \"tls\": true}",
              "1:12: ',' or '}' expected after the value of \"port\"");
    CHECK_BAD("{\"port\": 1; \"tls\": true}",
              "1:11: ',' or '}' expected after the value of \"port\"");
}

TEST_LOADING(r, a_key_twice) {
    CHECK_BAD("{\"port\": 1, \"port\": 1}", "1:13: the key \"port\" is there already");
    CHECK_BAD("{\"port\": 1,\n\"p\\u006frt\": 2}", "2:1: the key \"port\" is there already");
    CHECK_BAD("{\"\": 1, \"\": 2}", "1:9: the key \"\" is there already");
}

#define VALUES " values are strings, numbers, true, false or null"

TEST_LOADING(r, what_is_nested) {
    CHECK_BAD("{\"k\": {}}", "1:7: \"k\":" VALUES);
    CHECK_BAD("{\"k\": [1, 2]}", "1:7: \"k\":" VALUES);
    CHECK_BAD("{\"a\": 1, \"k\": {\"a\": 1}}", "1:15: \"k\":" VALUES);
}

TEST_LOADING(r, nesting_without_end) {
    size_t size = 500000;
    char *json = (char *)malloc(size + 1);
    memset(json, '[', size);
    json[size] = '\0';
    CHECK_BAD(json, "1:1: '{' expected");
    memcpy(json, "{\"k\":", 5);
    CHECK_BAD(json, "1:6: \"k\":" VALUES);
    free(json);
}

TEST_LOADING(r, values_that_are_none) {
    static const char *const values[] = {
        "",    "}",        ",",  "tru", "True", "TRUE",    "nul", "None",     "fals",     "NaN",
        "nan", "Infinity", "+1", ".5",  "'a'",  "\\u0031", "a",   "\xc3\xa9", "undefined"};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        char json[64];
        snprintf(json, sizeof json, "{\"k\": %s}", values[i]);
        CHECK_BAD(json, "1:7: \"k\":" VALUES);
    }
    CHECK_BAD("{\"k\": trues}", "1:11: ',' or '}' expected after the value of \"k\"");
    CHECK_BAD("{\"k\": null0}", "1:11: ',' or '}' expected after the value of \"k\"");
}

TEST_LOADING(r, numbers_that_are_none) {
    CHECK_BAD("{\"k\": 01}", "1:7: a number has no 0 in front");
    CHECK_BAD("{\"k\": -00}", "1:8: a number has no 0 in front");
    CHECK_BAD("{\"k\": -}", "1:8: a digit expected after the '-'");
    CHECK_BAD("{\"k\": -.5}", "1:8: a digit expected after the '-'");
    CHECK_BAD("{\"k\": --1}", "1:8: a digit expected after the '-'");
    CHECK_BAD("{\"k\": -Infinity}", "1:8: a digit expected after the '-'");
    CHECK_BAD("{\"k\": 1.}", "1:9: a digit expected after the '.'");
    CHECK_BAD("{\"k\": 1.e5}", "1:9: a digit expected after the '.'");
    CHECK_BAD("{\"k\": 1.", "1:9: a digit expected after the '.'");
    CHECK_BAD("{\"k\": 1e}", "1:9: a digit expected in the exponent");
    CHECK_BAD("{\"k\": 1e+}", "1:10: a digit expected in the exponent");
    CHECK_BAD("{\"k\": 1E-", "1:10: a digit expected in the exponent");
    CHECK_BAD("{\"k\": 1e1.5}", "1:10: ',' or '}' expected after the value of \"k\"");
    CHECK_BAD("{\"k\": 0x10}", "1:8: ',' or '}' expected after the value of \"k\"");
    CHECK_BAD("{\"k\": 1.2.3}", "1:10: ',' or '}' expected after the value of \"k\"");
    CHECK_BAD("{\"k\": 1 2}", "1:9: ',' or '}' expected after the value of \"k\"");
    CHECK_BAD("{\"k\": 1,5}", "1:9: a key in double quotes expected");
    CHECK_BAD("{\"k\": 1_000}", "1:8: ',' or '}' expected after the value of \"k\"");
}

TEST_LOADING(r, strings_that_do_not_end) {
    CHECK_BAD("{\"host", "1:2: the string does not end");
    CHECK_BAD("{\"host\": \"a", "1:10: the string does not end");
    CHECK_BAD("{\"host\": \"a\\\"}", "1:10: the string does not end");
    CHECK_BAD("{\"host\": \"a\\", "1:12: one of \"\\/bfnrtu expected after the backslash");
}

TEST_LOADING(r, control_characters) {
    CHECK_BAD("{\"host\": \"a\nb\"}", "1:12: in a string this byte is written \\u000a");
    CHECK_BAD("{\"host\": \"a\tb\"}", "1:12: in a string this byte is written \\u0009");
    CHECK_BAD("{\"ho\x1fst\": 1}", "1:5: in a string this byte is written \\u001f");
}

TEST_LOADING(r, escapes_that_are_none) {
    static const char others[] = "acdeghijklmopqsvwxyzABFNRTUX01'?\n ";
    for (const char *c = others; *c; c++) {
        char json[32];
        snprintf(json, sizeof json, "{\"k\": \"a\\%cb\"}", *c);
        CHECK_BAD(json, "1:9: one of \"\\/bfnrtu expected after the backslash");
    }
    CHECK_BAD("{\"k\": \"\\u\"}", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"\\u12\"}", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"\\u123g\"}", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"\\u 123\"}", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"\\u+123\"}", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"\\u123", "1:8: four hexadecimal digits expected after \\u");
    CHECK_BAD("{\"k\": \"a\\u0000\"}", "1:9: no string can hold \\u0000");
    CHECK_BAD("{\"\\u0000\": 1}", "1:3: no string can hold \\u0000");
}

TEST_LOADING(r, halves_of_characters) {
    CHECK_BAD("{\"k\": \"\\ud800\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\uDBFFx\"}", "1:8: \\udbff is half of a character");
    CHECK_BAD("{\"k\": \"\\udc00\"}", "1:8: \\udc00 is half of a character");
    CHECK_BAD("{\"k\": \"\\udfff\\ud800\"}", "1:8: \\udfff is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\ud800\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\u0041\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\ue000\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\n\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\udc0\"}", "1:8: \\ud800 is half of a character");
    CHECK_BAD("{\"k\": \"\\ud800\\", "1:8: \\ud800 is half of a character");
}

TEST_LOADING(r, bytes_that_are_no_utf8) {
    CHECK_BAD("{\"k\": \"a\xff\"}", "1:9: this is not UTF-8");
    CHECK_BAD("{\"k\": \"a\x80\"}", "1:9: this is not UTF-8");
    CHECK_BAD("{\"k\": \"\xc0\xaf\"}", "1:8: this is not UTF-8");
    CHECK_BAD("{\"k\": \"\xed\xa0\x80\"}", "1:8: this is not UTF-8");
    CHECK_BAD("{\"k\": \"\xf4\x90\x80\x80\"}", "1:8: this is not UTF-8");
    CHECK_BAD("{\"k\": \"\xe2\x82\"}", "1:8: this is not UTF-8");
    CHECK_BAD("{\"\xff\": 1}", "1:3: this is not UTF-8");
    CHECK_BAD("{\"k\": \"\xe2\x82", "1:8: this is not UTF-8");
}

TEST_LOADING(r, columns_are_characters) {
    CHECK_BAD("{\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\": x}",
              "1:9: \"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\":" VALUES);
    CHECK_BAD("{\r\n\t\"k\":\r\n\r\n  x}", "4:3: \"k\":" VALUES);
}

TEST_LOADING(r, sentences_bear_hostile_keys) {
    char json[1200] = "{\"", *last = json + 2;
    CHECK_BAD("{\"a\\nb\\u001b[0m\\u009b\": x}", "1:25: \"a?b?[0m??\":" VALUES);
    memset(last, 'k', 1000);
    strcpy(last + 1000, "\"}");
    CHECK_ERR(load("probe", json), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "configuration:1:1004: ':' expected after the key \"kkkk"));
    CHECK(strlen(pytheus_last_error()) < 160);
}

TEST_LOADING(r, more_than_a_megabyte) {
    size_t most = 1 << 20;
    char *json = (char *)malloc(most + 2);
    memset(json, ' ', most);
    memcpy(json + most - 2, "{}", 3);
    CHECK_ERR(load("probe", json), PYTHEUS_OK);
    memcpy(json + most, " ", 2);
    CHECK_REFUSED("probe", json, "configuration: more than 1 MB");
    free(json);
}

/* ---- what create() asks for ---- */

TEST_LOADING(r, unknown_keys_and_the_nearest) {
    CHECK_REFUSED("probe", "{\"hots\": \"a\"}", "probe: no key \"hots\" (nearest: \"host\")");
    CHECK_REFUSED("probe", "{\"prot\": 1}", "probe: no key \"prot\" (nearest: \"port\")");
    CHECK_REFUSED("probe", "{\"PORT\": 1}", "probe: no key \"PORT\" (nearest: \"port\")");
    CHECK_REFUSED("probe", "{\"ports\": 1}", "probe: no key \"ports\" (nearest: \"port\")");
    CHECK_REFUSED("probe", "{\"por\": 1}", "probe: no key \"por\" (nearest: \"port\")");
    CHECK_REFUSED("probe", "{\"ssl\": true}", "probe: no key \"ssl\" (has: host, port, tls)");
    CHECK_REFUSED("probe", "{\"\": true}", "probe: no key \"\" (has: host, port, tls)");
    CHECK_REFUSED("probe", "{\"x\": null}", "probe: no key \"x\" (has: host, port, tls)");
    CHECK_REFUSED("pytheus.backends.Probe", "{\"host\": \"a\", \"ma\\nx\": 1}",
                  "probe: no key \"ma?x\" (has: host, port, tls)");
    CHECK_INT(probe.num_created, 9);
    CHECK_INT(probe.num_destroyed, 9);
}

TEST_LOADING(r, a_backend_without_keys) {
    probe.ask = ask_for_nothing;
    CHECK_ERR(load("probe", "{}"), PYTHEUS_OK);
    CHECK_REFUSED("probe", "{\"host\": 1}", "probe: no key \"host\" (has none)");
    CHECK_REFUSED("single", "{\"host\": 1}", "single: no key \"host\" (has none)");
}

static void ask_for_long_keys(const pytheus_config *config) {
    char key[201];
    for (char c = 'a'; c < 'd'; c++) {
        memset(key, c, 200);
        key[200] = '\0';
        probe.number = pytheus_config_number(config, key, 3);
    }
    memset(key, 'x', sizeof key - 1);
}

TEST_LOADING(r, keys_need_not_outlive_the_asking) {
    char json[300] = "{\"";
    memset(json + 2, 'c', 200);
    strcpy(json + 202, "\": 5}");
    probe.ask = ask_for_long_keys;
    CHECK_ERR(load("probe", json), PYTHEUS_OK);
    CHECK_DOUBLE(probe.number, 5);
    json[2] = 'd';
    CHECK_ERR(load("probe", json), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "(has: aaaa"));
    CHECK(strlen(pytheus_last_error()) < 256);
}

TEST_LOADING(r, wrong_types) {
    CHECK_REFUSED("probe", "{\"port\": \"6379\"}",
                  "probe: \"port\" must be a number, not a string");
    CHECK_DOUBLE(probe.number, 1);
    CHECK_REFUSED("probe", "{\"port\": true}", "probe: \"port\" must be a number, not true");
    CHECK_REFUSED("probe", "{\"host\": 1}", "probe: \"host\" must be a string, not a number");
    CHECK_STR(probe.text, "nowhere");
    CHECK_REFUSED("probe", "{\"host\": false}", "probe: \"host\" must be a string, not false");
    CHECK_REFUSED("probe", "{\"tls\": 1}", "probe: \"tls\" must be true or false, not a number");
    CHECK_REFUSED("probe", "{\"tls\": \"true\"}",
                  "probe: \"tls\" must be true or false, not a string");
    CHECK(!probe.truth);
    CHECK_INT(probe.num_destroyed, 6);
}

static void ask_in_any_way(const pytheus_config *config) {
    CHECK_STR(pytheus_config_string(NULL, "host", "a"), "a");
    CHECK_DOUBLE(pytheus_config_number(NULL, "host", 2), 2);
    CHECK(pytheus_config_bool(NULL, "host", true));
    CHECK_ERR(pytheus_config_check(NULL), PYTHEUS_OK);
    CHECK_STR(pytheus_config_string(config, NULL, "a"), "a");
    CHECK(pytheus_config_string(config, "host", NULL) == NULL);
    CHECK_STR(pytheus_config_string(config, "host", ""), "");
    CHECK_DOUBLE(pytheus_config_number(config, "port", 1), 5);
    CHECK_DOUBLE(pytheus_config_number(config, "port", 1), 5);
}

TEST_LOADING(r, asking_twice_and_for_nothing) {
    probe.ask = ask_in_any_way;
    CHECK_ERR(load("probe", "{\"port\": 5}"), PYTHEUS_OK);
    CHECK_REFUSED("probe", "{\"port\": 5, \"z\": 5}", "probe: no key \"z\" (has: host, port)");
}

TEST_LOADING(r, create_may_check_first) {
    probe.checks = true;
    CHECK_ERR(load("probe", "{\"port\": 5}"), PYTHEUS_OK);
    CHECK_ERR(probe.checked, PYTHEUS_OK);
    CHECK_REFUSED("probe", "{\"port\": \"5\"}", "probe: \"port\" must be a number, not a string");
    CHECK_ERR(probe.checked, PYTHEUS_ERR_CONFIG);
    probe.fails = PYTHEUS_ERR_BACKEND;
    check_refused("probe", "{\"a\": 5}", PYTHEUS_ERR_BACKEND,
                  "probe: no key \"a\" (has: host, port, tls)", __FILE__, __LINE__);
}

/* ---- what create() gives ---- */

TEST_LOADING(r, create_may_name_the_backend) {
    probe.name = "probe of its own";
    CHECK_ERR(load("probe", "{}"), PYTHEUS_OK);
    CHECK_LOADED("probe of its own", "{}");
}

TEST_LOADING(r, a_failing_create_is_told) {
    CHECK_ERR(load("probe", "{\"port\": 5}"), PYTHEUS_OK);
    probe.fails = PYTHEUS_ERR_BACKEND;
    check_refused("probe", "{}", PYTHEUS_ERR_BACKEND, "probe: the backend could not be created",
                  __FILE__, __LINE__);
    probe.fails = PYTHEUS_ERR_IO;
    probe.sentence = "probe: no route to host";
    check_refused("probe", "{}", PYTHEUS_ERR_IO, "probe: no route to host", __FILE__, __LINE__);
    CHECK_INT(probe.num_destroyed, 0);
}

TEST_LOADING(r, a_failure_is_logged) {
    CHECK_ERR(load("probe", "{\"hots\": \"a\"}"), PYTHEUS_ERR_CONFIG);
    CHECK_INT(logged.num, 1);
    CHECK_ERR(logged.err, PYTHEUS_ERR_CONFIG);
    CHECK_STR(logged.metric, "");
    CHECK_STR(logged.sentence, "probe: no key \"hots\" (nearest: \"host\")");
}

TEST_LOADING(r, loading_keeps_errno) {
    errno = 77;
    CHECK_ERR(load("probe", "{\"port\": 1e-400}"), PYTHEUS_OK);
    CHECK_INT(errno, 77);
    CHECK_ERR(load("probe", "{\"port\": 1e400}"), PYTHEUS_ERR_CONFIG);
    CHECK_INT(errno, 77);
    CHECK_ERR(load("nobody", "{"), PYTHEUS_ERR_CONFIG);
    CHECK_INT(errno, 77);
}

TEST_LOADING(r, another_load_ends_the_first_backend) {
    CHECK_ERR(load("probe", "{}"), PYTHEUS_OK);
    CHECK_ERR(load("probe", "{}"), PYTHEUS_OK);
    CHECK_INT(probe.num_created, 2);
    CHECK_INT(probe.num_destroyed, 1);
    CHECK_ERR(load("single", NULL), PYTHEUS_OK);
    CHECK_INT(probe.num_destroyed, 2);
}

static void load_another(const pytheus_config *config) {
    probe.ask = ask_for_nothing;
    CHECK_DOUBLE(pytheus_config_number(config, "k", 0), 1);
    CHECK_ERR(pytheus_load_backend("probe", "{}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{}");
    CHECK_DOUBLE(pytheus_config_number(config, "k", 0), 1);
}

TEST_LOADING(r, create_may_call_the_library) {
    probe.ask = load_another;
    CHECK_ERR(load("probe", "{\"k\": 1}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"k\": 1}");
}

/* ---- no memory ---- */

static struct {
    long num_calls, fail_at; /* calls that can fail */
    bool for_ever;
    long num_live;
} memory;

static void *counting(void *user, void *p, size_t old_size, size_t size) {
    void *fresh = NULL;
    (void)user, (void)old_size;
    if (!size) {
        memory.num_live -= p != NULL;
        free(p);
        return NULL;
    }
    memory.num_calls++;
    if (memory.fail_at && (memory.num_calls == memory.fail_at ||
                           (memory.for_ever && memory.num_calls > memory.fail_at)))
        return NULL;
    fresh = realloc(p, size);
    memory.num_live += fresh && !p;
    return fresh;
}

static pytheus_registry *counting_registry(void) {
    pytheus_registry_desc desc = {.allocator = {counting, NULL}};
    memset(&logged, 0, sizeof logged);
    memset(&memory, 0, sizeof memory);
    desc.logger.log = fixture_remember;
    return pytheus_registry_new(&desc);
}

/* Whether there was a failure; json == NULL: what the environment says. */
static bool loads_after_failing(const char *json, const char *config, long fail_at, bool for_ever) {
    pytheus_registry *registry = counting_registry();
    pytheus_err err;
    bool failed;
    pytheus_set_default(registry);
    memset(&probe, 0, sizeof probe);
    memory.num_calls = 0;
    memory.fail_at = fail_at;
    memory.for_ever = for_ever;
    err = load("probe", json);
    failed = memory.num_calls >= fail_at;
    memory.fail_at = 0;
    if (failed) {
        CHECK_ERR(err, PYTHEUS_ERR_NOMEM);
        CHECK(strstr(pytheus_last_error(), "out of memory"));
        CHECK_LOADED("single", "{}");
        CHECK_INT(probe.num_destroyed, probe.num_created);
        err = load("probe", json);
    }
    CHECK_ERR(err, PYTHEUS_OK);
    CHECK_LOADED("probe", config);
    pytheus_set_default(NULL);
    pytheus_registry_free(registry);
    CHECK_INT(memory.num_live, 0);
    CHECK_INT(probe.num_destroyed, probe.num_created);
    return failed;
}

static void torture(const char *json, const char *config) {
    for (int for_ever = 0; for_ever < 2; for_ever++) {
        long fail_at = 1;
        while (loads_after_failing(json, config, fail_at, for_ever) && check_num_failed < 20)
            fail_at++;
        CHECK(fail_at > 5);
    }
}

TEST(out_of_memory_at_every_allocation) {
    forget();
    torture("{\"port\": 1.5, \"tls\": true, \"host\": \"a\"}",
            "{\"port\": 1.5, \"tls\": true, \"host\": \"a\"}");
    torture("{}", "{}");
}

/* Refused or not, it leaves nothing behind. */
TEST(refused_configurations_leak_nothing) {
    static const char *const texts[] = {"{\"port\": 1, \"tls\": x}",
                                        "{\"port\": 1, \"port\": 1}",
                                        "{\"hots\": 1}",
                                        "{\"port\": \"a\"}",
                                        "[",
                                        "{} 1"};
    forget();
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        pytheus_registry *registry = counting_registry();
        pytheus_set_default(registry);
        CHECK_ERR(load("probe", texts[i]), PYTHEUS_ERR_CONFIG);
        pytheus_set_default(NULL);
        pytheus_registry_free(registry);
        CHECK_INT(memory.num_live, 0);
    }
}

/* ---- classes ---- */

TEST_LOADING(r, single_has_the_names_of_the_originals) {
    static const char *const names[] = {"single", "pytheus.backends.SingleProcessBackend",
                                        "pytheus.backends.base.SingleProcessBackend"};
    CHECK_LOADED("single", "{}");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        CHECK_ERR(load("probe", "{\"port\": 5}"), PYTHEUS_OK);
        CHECK_ERR(load(names[i], NULL), PYTHEUS_OK);
        CHECK_LOADED("single", "{}");
    }
}

TEST_LOADING(r, single_counts) {
    CHECK_ERR(load("single", "{}"), PYTHEUS_OK);
    pytheus_counter c = COUNTER(NULL, .name = "c_total");
    CHECK_ERR(pytheus_counter_add(c, 2.5), PYTHEUS_OK);
    CHECK_VALUE(c, 2.5);
}

TEST_LOADING(r, an_alias_loads_the_same) {
    CHECK_ERR(load("pytheus.backends.Probe", "{\"port\": 5}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"port\": 5}");
}

TEST_LOADING(r, unknown_classes_and_the_nearest) {
    CHECK_REFUSED("prob", NULL, "no backend \"prob\" (nearest: \"probe\")");
    CHECK_REFUSED("Single", NULL, "no backend \"Single\" (nearest: \"single\")");
    CHECK_REFUSED("rediss", NULL, "no backend \"rediss\" (nearest: \"redis\")");
    CHECK_REFUSED("pytheus.backends.redis.MultiProcesRedisBackend", NULL,
                  "no backend \"pytheus.backends.redis.MultiProcesRedisBackend\" (nearest: "
                  "\"pytheus.backends.redis.MultiProcessRedisBackend\")");
}

/* "(there are: single, probe)", and perhaps those that other tests have added. */
static void check_there_are(const char *name, const char *shown) {
    char start[200];
    snprintf(start, sizeof start, "no backend \"%s\" (there are: single, probe", shown);
    CHECK_ERR(load(name, NULL), PYTHEUS_ERR_CONFIG);
    CHECK(!strncmp(pytheus_last_error(), start, strlen(start)));
    CHECK_LOADED("single", "{}");
}

TEST_LOADING(r, unknown_classes_and_all_there_are) {
    char name[200];
    check_there_are("", "");
    check_there_are("mongo", "mongo");
    check_there_are("a\nb", "a?b");
    memset(name, 'x', 199);
    name[199] = '\0';
    CHECK_ERR(load(name, NULL), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "xxx\" (there are: single, probe"));
}

/* These want the class before the configuration. */
TEST_LOADING(r, an_unknown_class_with_a_bad_configuration) {
    CHECK_REFUSED("rediss", "{", "no backend \"rediss\" (nearest: \"redis\")");
}

TEST_LOADING(r, companions_that_are_not_compiled_in) {
    CHECK_REFUSED("file", NULL,
                  "no backend \"file\" in this program: include pytheus_file.h with "
                  "PYTHEUS_FILE_IMPLEMENTATION");
    CHECK_REFUSED("pytheus.backends.MultipleProcessFileBackend", NULL,
                  "no backend \"pytheus.backends.MultipleProcessFileBackend\" in this program: "
                  "include pytheus_file.h with PYTHEUS_FILE_IMPLEMENTATION");
    CHECK_REFUSED("redis", NULL,
                  "no backend \"redis\" in this program: include pytheus_redis.h with "
                  "PYTHEUS_REDIS_IMPLEMENTATION");
    CHECK_REFUSED("pytheus.backends.redis.MultiProcessRedisBackend", NULL,
                  "no backend \"pytheus.backends.redis.MultiProcessRedisBackend\" in this program: "
                  "include pytheus_redis.h with PYTHEUS_REDIS_IMPLEMENTATION");
    CHECK_REFUSED("pytheus.backends.MultipleProcessRedisBackend", NULL,
                  "no backend \"pytheus.backends.MultipleProcessRedisBackend\" in this program: "
                  "include pytheus_redis.h with PYTHEUS_REDIS_IMPLEMENTATION");
}

TEST(a_class_again_is_that_class) {
    CHECK_ERR(pytheus_backend_class_add(&probe_class), PYTHEUS_OK);
    CHECK_ERR(pytheus_backend_class_add(&probe_class), PYTHEUS_OK);
}

TEST_LOADING(r, a_class_with_a_name_that_is_taken) {
    static const char *const names[] = {"unheard of", "pytheus.backends.Probe", NULL};
    static const char *const singles[] = {"single", NULL};
    static const pytheus_backend_class other = {names, probe_create};
    static const pytheus_backend_class single = {singles, probe_create};
    CHECK_ERR(pytheus_backend_class_add(&other), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(pytheus_last_error(), "the backend name \"pytheus.backends.Probe\" is taken");
    CHECK_ERR(pytheus_backend_class_add(&single), PYTHEUS_ERR_DUPLICATE);
    CHECK_STR(pytheus_last_error(), "the backend name \"single\" is taken");
    CHECK_ERR(load("unheard of", "{}"), PYTHEUS_ERR_CONFIG);
}

TEST(a_class_that_lacks_something) {
    static const char *const none[] = {NULL};
    pytheus_backend_class bad = {NULL, probe_create};
    CHECK_ERR(pytheus_backend_class_add(NULL), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(pytheus_backend_class_add(&bad), PYTHEUS_ERR_CONFIG);
    bad.names = none;
    CHECK_ERR(pytheus_backend_class_add(&bad), PYTHEUS_ERR_CONFIG);
    bad.names = probe_names;
    bad.create = NULL;
    CHECK_ERR(pytheus_backend_class_add(&bad), PYTHEUS_ERR_CONFIG);
    CHECK_STR(pytheus_last_error(), "a backend class needs a name and create");
}

/* ---- the originals' tests of import_backend_class ---- */

TEST_LOADING(r, pytheus_import_backend_class_without_a_dot) {
    CHECK_ERR(load("wrong", NULL), PYTHEUS_ERR_CONFIG);
}

TEST_LOADING(r, pytheus_import_backend_class_of_an_unknown_module) {
    CHECK_ERR(load("some.wrong.Class", NULL), PYTHEUS_ERR_CONFIG);
}

TEST_LOADING(r, pytheus_import_backend_class_that_the_module_has_not) {
    CHECK_ERR(load("pytheus.backends.base.WrongClass", NULL), PYTHEUS_ERR_CONFIG);
}

TEST_LOADING(r, pytheus_import_backend_class_that_is_no_backend) {
    probe.lacks_functions = true;
    CHECK_ERR(load("probe", "{}"), PYTHEUS_ERR_BACKEND);
    CHECK_LOADED("single", "{}");
    CHECK_INT(probe.num_destroyed, 1);
}

#ifndef _WIN32
/* ---- a folder with a file config.json, in which the process stands ---- */

static struct {
    char folder[4096];
    int from; /* where it stood before */
} place;

static bool place_begin(void) {
    const char *parent = getenv("TMPDIR");
    snprintf(place.folder, sizeof place.folder, "%s/pytheus.XXXXXX", parent ? parent : "/tmp");
    place.from = open(".", O_RDONLY);
    return CHECK(place.from >= 0) && CHECK(mkdtemp(place.folder) != NULL) &&
           CHECK(chdir(place.folder) == 0);
}

static void place_end(void) {
    CHECK(remove("config.json") == 0 || errno == ENOENT);
    CHECK_INT(fchdir(place.from), 0);
    close(place.from);
    CHECK_INT(rmdir(place.folder), 0);
}

static void run_in_a_folder(void (*test)(pytheus_registry *)) {
    if (place_begin()) {
        run_loading(test);
        place_end();
    }
}

#define TEST_IN_A_FOLDER(registry, name)                                                           \
    static void in_a_folder_##name(pytheus_registry *registry);                                    \
    TEST(name) {                                                                                   \
        run_in_a_folder(in_a_folder_##name);                                                       \
    }                                                                                              \
    static void in_a_folder_##name(PYTHEUS__UNUSED pytheus_registry *registry)

static void write_bytes(const char *bytes, size_t size) {
    FILE *file = fopen("config.json", "wb");
    if (!CHECK(file != NULL))
        return;
    CHECK(fwrite(bytes, 1, size, file) == size);
    CHECK_INT(fclose(file), 0);
}

static void write_config(const char *text) {
    write_bytes(text, strlen(text));
}

static void set_environment(const char *class_name, const char *path) {
    unsetenv("PYTHEUS_BACKEND_CLASS");
    unsetenv("PYTHEUS_BACKEND_CONFIG");
    if (class_name)
        setenv("PYTHEUS_BACKEND_CLASS", class_name, 1);
    if (path)
        setenv("PYTHEUS_BACKEND_CONFIG", path, 1);
}

/* ---- class and configuration are found apart ---- */

TEST_IN_A_FOLDER(r, pytheus_load_backend_call_without_args) {
    CHECK_ERR(load(NULL, NULL), PYTHEUS_OK);
    CHECK_LOADED("single", "{}");
}

TEST_IN_A_FOLDER(r, pytheus_load_backend_with_arguments) {
    CHECK_ERR(load("probe", "{\"host\": \"bob\"}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"host\": \"bob\"}");
}

TEST_IN_A_FOLDER(r, pytheus_load_backend_with_environment_variables) {
    write_config("{\"host\": \"bob\"}\n");
    set_environment("pytheus.backends.Probe", "./config.json");
    CHECK_ERR(load(NULL, NULL), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"host\": \"bob\"}");
}

TEST_IN_A_FOLDER(r, pytheus_load_backend_argument_has_priority_over_environment_variable) {
    write_config("{\"host\": \"bob\"}");
    set_environment("single", "config.json");
    CHECK_ERR(load("probe", "{\"host\": \"alice\"}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"host\": \"alice\"}");
}

TEST_IN_A_FOLDER(r, pytheus_load_backend_initialization_hook) {
    CHECK_ERR(load("probe", "{\"host\": \"bob\", \"port\": 5}"), PYTHEUS_OK);
    CHECK_INT(probe.num_created, 1);
    CHECK_STR(probe.text, "bob");
    CHECK_DOUBLE(probe.number, 5);
}

TEST_IN_A_FOLDER(r, a_class_by_argument_takes_the_configuration_of_the_environment) {
    write_config("{\"port\": 5}");
    set_environment(NULL, "config.json");
    CHECK_ERR(load("probe", NULL), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"port\": 5}");
    CHECK_REFUSED("single", NULL, "single: no key \"port\" (has none)");
}

TEST_IN_A_FOLDER(r, a_configuration_by_argument_takes_the_class_of_the_environment) {
    set_environment("probe", "missing.json");
    CHECK_ERR(load(NULL, "{\"port\": 6}"), PYTHEUS_OK);
    CHECK_LOADED("probe", "{\"port\": 6}");
    CHECK_REFUSED(NULL, NULL, "missing.json: No such file or directory");
}

TEST_IN_A_FOLDER(r, empty_variables_are_none) {
    set_environment("", "");
    CHECK_ERR(load(NULL, NULL), PYTHEUS_OK);
    CHECK_LOADED("single", "{}");
    CHECK_ERR(load("probe", NULL), PYTHEUS_OK);
    CHECK_LOADED("probe", "{}");
}

TEST_IN_A_FOLDER(r, the_environment_names_an_unknown_class) {
    set_environment("rediss", NULL);
    CHECK_REFUSED(NULL, NULL, "no backend \"rediss\" (nearest: \"redis\")");
}

/* ---- files ---- */

TEST_IN_A_FOLDER(r, what_is_wrong_in_a_file_is_told_with_its_place) {
    set_environment("probe", "config.json");
    write_config("{\n  \"port\": 6379,\n  \"host\"   \"a\"\n}\n");
    CHECK_REFUSED(NULL, NULL, "config.json:3:12: ':' expected after the key \"host\"");
    write_config("");
    CHECK_REFUSED(NULL, NULL, "config.json:1:1: '{' expected");
    write_config("{\"hots\": \"a\"}");
    CHECK_REFUSED(NULL, NULL, "probe: no key \"hots\" (nearest: \"host\")");
}

TEST_IN_A_FOLDER(r, files_with_nul_bytes) {
    set_environment("probe", "config.json");
    write_bytes("{}\0", 3);
    CHECK_REFUSED(NULL, NULL, "config.json:1:3: nothing expected after the '}'");
    write_bytes("\0{}", 3);
    CHECK_REFUSED(NULL, NULL, "config.json:1:1: '{' expected");
    write_bytes("{\"ho\0st\": 1}", 12);
    CHECK_REFUSED(NULL, NULL, "config.json:1:5: in a string this byte is written \\u0000");
    write_bytes("{\"host\": \"\\\0\"}", 14);
    CHECK_REFUSED(NULL, NULL, "config.json:1:11: one of \"\\/bfnrtu expected after the backslash");
    write_bytes("{\"port\": 1\0}", 12);
    CHECK_REFUSED(NULL, NULL, "config.json:1:11: ',' or '}' expected after the value of \"port\"");
}

TEST_IN_A_FOLDER(r, files_of_any_size_up_to_a_megabyte) {
    static const size_t sizes[] = {2, 4094, 4095, 4096, 4097, 8191, 8192, 100000, 1 << 20};
    char *text = (char *)malloc((1 << 20) + 2);
    memset(text, ' ', (1 << 20) + 2);
    set_environment("probe", "config.json");
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        memcpy(text + sizes[i] - 2, "{}", 2);
        write_bytes(text, sizes[i]);
        CHECK_ERR(load(NULL, NULL), PYTHEUS_OK);
        memset(text + sizes[i] - 2, ' ', 2);
    }
    memcpy(text, "{}", 2);
    write_bytes(text, (1 << 20) + 1);
    CHECK_REFUSED(NULL, NULL, "config.json: more than 1 MB");
    write_bytes(text, (1 << 20) + 2);
    CHECK_REFUSED(NULL, NULL, "config.json: more than 1 MB");
    free(text);
}

TEST_IN_A_FOLDER(r, out_of_memory_at_every_allocation_for_a_file) {
    char text[6000];
    memset(text, ' ', sizeof text);
    memcpy(text, "{\"port\": 5}", 11);
    write_bytes(text, sizeof text);
    set_environment(NULL, "config.json");
    torture(NULL, "{\"port\": 5}");
    pytheus_set_default(r);
}

TEST_IN_A_FOLDER(r, files_that_are_missing) {
    set_environment("probe", "nowhere/config.json");
    CHECK_REFUSED(NULL, NULL, "nowhere/config.json: No such file or directory");
}

TEST_IN_A_FOLDER(r, a_folder_is_no_file) {
    char sentence[100];
    snprintf(sentence, sizeof sentence, ".: %s", strerror(EISDIR));
    set_environment("probe", ".");
    CHECK_REFUSED(NULL, NULL, sentence);
}

TEST_IN_A_FOLDER(r, a_pipe_does_not_keep_waiting) {
    set_environment("probe", "config.json");
    CHECK_INT(mkfifo("config.json", 0600), 0);
    alarm(20);
    CHECK_REFUSED(NULL, NULL, "config.json: not a regular file");
    alarm(0);
    set_environment("probe", "/dev/zero");
    CHECK_REFUSED(NULL, NULL, "/dev/zero: not a regular file");
}

TEST_IN_A_FOLDER(r, of_a_long_path_the_end_is_told) {
    char path[400] = "";
    while (strlen(path) < 300)
        strcat(path, "./");
    strcat(path, "config.json");
    set_environment("probe", path);
    CHECK_ERR(load(NULL, NULL), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "/./config.json: No such file or directory"));
    write_config("{");
    CHECK_ERR(load(NULL, NULL), PYTHEUS_ERR_CONFIG);
    CHECK(strstr(pytheus_last_error(), "/./config.json:1:2: a key in double quotes expected"));
}

TEST_IN_A_FOLDER(r, files_are_closed) {
    int first = dup(0), last;
    close(first);
    for (int i = 0; i < 5; i++) {
        write_config(i < 3 ? "{}" : "{");
        set_environment("probe", i == 2 ? "." : "config.json");
        (void)load(NULL, NULL);
    }
    last = dup(0);
    close(last);
    CHECK_INT(last, first);
}

/* ---- in a process of its own ---- */

/* What the test says, as an exit status. */
static int status_of(bool (*test)(void)) {
    int status = 0;
    pid_t child;
    fflush(stdout);
    child = fork();
    if (!child)
        _exit(test() ? 0 : 1);
    if (!CHECK(child > 0) || !CHECK(waitpid(child, &status, 0) == child))
        return -1;
    return status;
}

/* Only root can become somebody else. For others the file is unreadable as it is. */
static bool refuses_what_it_may_not_read(void) {
    if (getuid() == 0 && (setgid(65534) || setuid(65534)))
        return false;
    return load(NULL, NULL) == PYTHEUS_ERR_CONFIG &&
           !strcmp(pytheus_last_error(), "config.json: Permission denied");
}

TEST_IN_A_FOLDER(r, files_that_may_not_be_read) {
    write_config("{}");
    CHECK_INT(chmod("config.json", 0), 0);
    set_environment("probe", "config.json");
    CHECK_INT(status_of(refuses_what_it_may_not_read), 0);
}

static bool loads_what_the_environment_says(void) {
    return load(NULL, NULL) == PYTHEUS_OK && !strcmp(pytheus_registry_backend(NULL), "probe");
}

static bool passes_over_the_environment(void) {
    return load(NULL, NULL) == PYTHEUS_OK && !strcmp(pytheus_registry_backend(NULL), "single");
}

/* Only root can. */
static bool as_another_user(void) {
    return seteuid(65534) || geteuid() == getuid() ? loads_what_the_environment_says()
                                                   : passes_over_the_environment();
}

static bool as_another_group(void) {
    return setegid(65534) || getegid() == getgid() ? loads_what_the_environment_says()
                                                   : passes_over_the_environment();
}

TEST_IN_A_FOLDER(r, who_has_others_rights_is_not_told_by_the_environment) {
    write_config("{\"port\": 5}");
    set_environment("probe", "config.json");
    CHECK_INT(status_of(loads_what_the_environment_says), 0);
    CHECK_INT(status_of(as_another_user), 0);
    CHECK_INT(status_of(as_another_group), 0);
}

/* The first use of the library's own default registry loads what the environment names. */
static bool shows_the_backend_of_the_environment(void) {
    pytheus_set_default(NULL);
    return !strcmp(pytheus_registry_backend(NULL), "probe") &&
           !strcmp(pytheus_registry_config(NULL), "{\"port\": 5}");
}

TEST_IN_A_FOLDER(r, the_environment_alone_switches_a_program) {
    write_config("{\"port\": 5}");
    set_environment("probe", "config.json");
    CHECK_INT(status_of(shows_the_backend_of_the_environment), 0);
}

static bool keeps_what_it_loaded_first(void) {
    pytheus_set_default(NULL);
    return pytheus_load_backend("probe", "{\"port\": 7}") == PYTHEUS_OK &&
           pytheus_default() != NULL && !strcmp(pytheus_registry_backend(NULL), "probe") &&
           !strcmp(pytheus_registry_config(NULL), "{\"port\": 7}");
}

TEST_IN_A_FOLDER(r, what_is_loaded_before_the_first_use_stays) {
    write_config("{\"port\": 5}");
    set_environment("probe", "config.json");
    CHECK_INT(status_of(keeps_what_it_loaded_first), 0);
}

/* ---- the snippets of the originals' README ---- */

/* Stands for the companion of that name. */
static pytheus_err stand_in_redis_create(const pytheus_config *config, pytheus_backend *out) {
    (void)pytheus_config_string(config, "host", "localhost");
    (void)pytheus_config_number(config, "port", 6379);
    (void)out;
    return PYTHEUS_OK;
}

static pytheus_err stand_in_file_create(const pytheus_config *config, pytheus_backend *out) {
    (void)pytheus_config_string(config, "pytheus_file_directory", ".");
    (void)out;
    return PYTHEUS_OK;
}

static void add_stand_ins(void) {
    static const pytheus_backend_class redis = {pytheus__redis_names, stand_in_redis_create};
    static const pytheus_backend_class file = {pytheus__file_names, stand_in_file_create};
    CHECK_ERR(pytheus_backend_class_add(&redis), PYTHEUS_OK);
    CHECK_ERR(pytheus_backend_class_add(&file), PYTHEUS_OK);
}

/* The snippet that the README shows three times. */
static void check_snippet(const char *backend, const char *config) {
    pytheus_counter counter = COUNTER(NULL, .name = "my_metric", .help = "My description",
                                      .required_labels = {"label_a", "label_b"});
    CHECK(counter.view.node != NULL);
    CHECK_LOADED(backend, config);
}

#define REDIS_CONFIG "{\"host\": \"127.0.0.1\", \"port\": 6379}"

TEST_IN_A_FOLDER(r, readme_how_to_use_different_backends) {
    add_stand_ins();
    check_snippet("single", "{}");

    set_environment("pytheus.backends.redis.MultiProcessRedisBackend", "./config.json");
    write_config("{\n  \"host\": \"127.0.0.1\",\n  \"port\":  6379\n}\n");
    CHECK_ERR(pytheus_load_backend(NULL, NULL), PYTHEUS_OK);
    check_snippet("redis", REDIS_CONFIG);

    set_environment("pytheus.backends.base.SingleProcessBackend", NULL);
    CHECK_ERR(pytheus_load_backend("redis", "{\"host\": \"127.0.0.1\", \"port\":  6379}"),
              PYTHEUS_OK);
    check_snippet("redis", REDIS_CONFIG);
    CHECK_ERR(pytheus_load_backend(NULL, NULL), PYTHEUS_OK);
    check_snippet("single", "{}");
}

TEST_IN_A_FOLDER(r, early_readme_how_to_use_different_backends) {
    add_stand_ins();
    check_snippet("single", "{}");

    set_environment("pytheus.backends.MultipleProcessFileBackend", "./config.json");
    write_config("{\n  \"pytheus_file_directory\": \"./\"\n}\n");
    CHECK_ERR(pytheus_load_backend(NULL, NULL), PYTHEUS_OK);
    check_snippet("file", "{\"pytheus_file_directory\": \"./\"}");

    CHECK_ERR(pytheus_load_backend("pytheus.backends.MultipleProcessRedisBackend", REDIS_CONFIG),
              PYTHEUS_OK);
    check_snippet("redis", REDIS_CONFIG);
    CHECK_ERR(pytheus_load_backend(NULL, NULL), PYTHEUS_OK);
    check_snippet("file", "{\"pytheus_file_directory\": \"./\"}");
}

TEST_LOADING(r, quickstart_loading_a_different_backend) {
    add_stand_ins();
    CHECK_ERR(pytheus_load_backend("pytheus.backends.redis.MultiProcessRedisBackend",
                                   "{\"host\": \"127.0.0.1\", \"port\": 6379}"),
              PYTHEUS_OK);
    check_snippet("redis", REDIS_CONFIG);
}

/* ---- under a decimal comma ---- */

/* A German locale, made in a folder of its own: few machines have one. */
static bool comma_begins(void) {
    char command[sizeof place.folder + 200];
    snprintf(command, sizeof command, "localedef -i de_DE -f UTF-8 '%s/de_DE.UTF-8' 2>&1",
             place.folder);
    return !system(command) && !setenv("LOCPATH", place.folder, 1) &&
           setlocale(LC_ALL, "de_DE.UTF-8") && !strcmp(localeconv()->decimal_point, ",");
}

static void check_under_comma(void) {
    if (!comma_begins())
        SKIP("no decimal comma: localedef -i de_DE fails, or its locale does not load");
    CHECK_DOUBLE(strtod("1,5", NULL), 1.5);
    loading_numbers(NULL);
    loading_numbers_at_the_ends(NULL);
    loading_numbers_that_are_too_large(NULL);
    loading_long_numbers(NULL);
    probe.ask = ask_for_a_number;
    CHECK_BAD("{\"k\": 1,5}", "1:9: a key in double quotes expected");
}

TEST_IN_A_FOLDER(r, numbers_are_the_same_under_a_decimal_comma) {
    check_under_comma();
    setlocale(LC_ALL, "C");
    unsetenv("LOCPATH");
    CHECK_INT(system("rm -rf de_DE.UTF-8"), 0);
}
#endif

/* ---- more classes than there is room for: the last test, as nothing removes them ---- */

TEST_LOADING(r, the_33rd_class) {
    static char names[40][16];
    static const char *lists[40][2];
    static pytheus_backend_class classes[40];
    char sentence[64];
    size_t i, num_added = 0;
    for (i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "number %d", (int)i);
        lists[i][0] = names[i];
        classes[i].names = lists[i];
        classes[i].create = probe_create;
        if (pytheus_backend_class_add(&classes[i]))
            break;
        num_added++;
    }
    CHECK_INT(pytheus__num_classes, 32);
    CHECK(num_added >= 28 && num_added <= 30);
    CHECK_ERR(pytheus_backend_class_add(&classes[i]), PYTHEUS_ERR_NOMEM);
    snprintf(sentence, sizeof sentence, "%.15s: no more than 32 backend classes", names[i]);
    CHECK_STR(pytheus_last_error(), sentence);
    CHECK_ERR(load(names[num_added - 1], "{}"), PYTHEUS_OK);
    CHECK_LOADED(names[num_added - 1], "{}");
    CHECK_ERR(load(names[i], "{}"), PYTHEUS_ERR_CONFIG);
    CHECK_ERR(pytheus_backend_class_add(&probe_class), PYTHEUS_OK);
    CHECK_LOADED(names[num_added - 1], "{}");
}
