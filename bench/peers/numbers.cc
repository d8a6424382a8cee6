// Other ways to write a double so that it reads back.
#include "../harness.h"

#include <charconv>
#include <vector>

static void with_to_chars(void *user, unsigned thread, size_t num_ops) {
    char text[64];
    for (size_t i = 0; i < num_ops; i++)
        harness_keep((uint64_t)std::to_chars(text, text + sizeof text,
                                             harness_value((const double *)user, thread, i))
                         .ptr);
}

static void with_printf(void *user, unsigned thread, size_t num_ops) {
    char text[64];
    for (size_t i = 0; i < num_ops; i++)
        harness_keep((uint64_t)snprintf(text, sizeof text, "%.17g",
                                        harness_value((const double *)user, thread, i)));
}

int main() {
    std::vector<double> values(HARNESS_NUM_VALUES);
    uint64_t state = 4;
    harness_init();
    for (double &value : values)
        value = 1000 * harness_random_unit(&state);
    harness_side sides[2] = {{"std::to_chars", {}}, {"printf %.17g", {}}};
    sides[0].measure.loop = with_to_chars;
    sides[1].measure.loop = with_printf;
    sides[0].measure.user = sides[1].measure.user = values.data();
    harness_compare("number", sides, 2);
    return 0;
}
