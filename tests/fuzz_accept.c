/* Random bytes as an Accept header: there is always a format for it, and letters count the same in
   both cases. `make fuzz` runs it. */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void must(bool holds) {
    if (!holds)
        abort();
}

static char other_case(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? (char)(c ^ 32) : c;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    char *text = malloc(size + 1), *other = malloc(size + 1);
    if (text && other) {
        memcpy(text, bytes, size);
        text[size] = '\0';
        for (size_t i = 0; i <= size; i++)
            other[i] = other_case(text[i]);
        pytheus_format format = pytheus_negotiate(text);
        must(format == PYTHEUS_TEXT || format == PYTHEUS_OPENMETRICS);
        must(pytheus_negotiate(other) == format);
        must(pytheus_negotiate(text) == format);
    }
    free(text);
    free(other);
    return 0;
}
