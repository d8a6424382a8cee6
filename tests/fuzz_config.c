/* Random bytes as a configuration: what is refused leaves a sentence that names the place; what is
   taken can be written, and read again as the same. `make fuzz` runs it. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

typedef struct reading {
    pytheus_config config;
    pytheus__questions questions;
    pytheus_err err;
} reading;

static void must(bool holds) {
    if (!holds)
        abort();
}

static void read_text(reading *r, const char *text, size_t size) {
    pytheus__config_begin(&r->config, &r->questions, pytheus_default(), "fuzz");
    r->err = pytheus__config_read(&r->config, "fuzz.json", text, size);
}

/* fuzz.json:3:12: what is wrong */
static bool names_the_place(const char *sentence) {
    unsigned line = 0, column = 0;
    int size = 0;
    return sscanf(sentence, "fuzz.json:%u:%u: %n", &line, &column, &size) == 2 && line && column &&
           sentence[size];
}

static bool is_same(const pytheus__config_pair *a, const pytheus__config_pair *b) {
    return a->type == b->type && !strcmp(a->key, b->key) && !strcmp(a->text, b->text) &&
           !memcmp(&a->number, &b->number, sizeof a->number);
}

static void must_be_same(const pytheus_config *a, const pytheus_config *b) {
    size_t n = pytheus__config_num_pairs(a);
    must(n == pytheus__config_num_pairs(b));
    for (size_t i = 0; i < n; i++)
        must(is_same(&a->pairs[i], &b->pairs[i]));
}

/* A backend that knows every other key, and takes all values for numbers. */
static void ask(const pytheus_config *config) {
    size_t n = pytheus__config_num_pairs(config);
    for (size_t i = 0; i < n; i += 2) {
        const pytheus__config_pair *pair = &config->pairs[i];
        double v = pytheus_config_number(config, pair->key, 7);
        must(pair->type == PYTHEUS__JSON_NUMBER ? v - v == 0 : v == 7);
        must(!strcmp(pytheus_config_string(config, pair->key, "otherwise"),
                     pair->type == PYTHEUS__JSON_STRING ? pair->text : "otherwise"));
    }
    must(n < 2 || pytheus_config_check(config) == PYTHEUS_ERR_CONFIG);
}

static void look_at(reading *r) {
    reading again;
    size_t size, size_again;
    char *text = pytheus__config_text(&r->config, &size), *text_again;
    must(text && strlen(text) + 1 == size);
    read_text(&again, text, size - 1);
    must(!again.err);
    must_be_same(&r->config, &again.config);
    text_again = pytheus__config_text(&again.config, &size_again);
    must(size_again == size && !memcmp(text, text_again, size));
    ask(&again.config);
    pytheus__config_end(&again.config);
    free(text);
    free(text_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    reading r;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, bytes, size);
    text[size] = '\0';
    read_text(&r, text, size);
    if (r.err)
        must(r.err == PYTHEUS_ERR_CONFIG && names_the_place(pytheus_last_error()));
    else
        look_at(&r);
    pytheus__config_end(&r.config);
    free(text);
    return 0;
}
