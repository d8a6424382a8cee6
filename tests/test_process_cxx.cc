/* pytheus_process.h in C++. */
#define PYTHEUS_IMPLEMENTATION
#define PYTHEUS_PROCESS_IMPLEMENTATION
#include "pytheus_process.h"
#include "pytheus_process.h"
#include "check.h"
#include "page.h"

TEST(a_description_is_a_variable_or_none) {
    pytheus_registry *r = pytheus_registry_new(NULL);
    pytheus_process_desc desc = pytheus_process_desc();
    desc.registry = r;
    desc.pid_label = true;
    CHECK_ERR(pytheus_process_register(desc), PYTHEUS_OK);
    CHECK_ERR(pytheus_process_register(&desc), PYTHEUS_ERR_DUPLICATE);
    char *text = page(r);
    CHECK(strstr(text, "c_info{compiler=\"") != NULL);
    CHECK(strstr(text, ",standard=\"C++") != NULL);
#ifdef __linux__
    CHECK(strstr(text, "process_threads{pid=\"") != NULL);
#endif
    free(text);
    pytheus_registry_free(r);
    CHECK_ERR(pytheus_process_register(NULL), PYTHEUS_OK);
    CHECK_ERR(pytheus_registry_remove_collector(NULL, "process"), PYTHEUS_OK);
}

#if __cplusplus >= 202002L
TEST(a_description_is_written_in_place) {
    pytheus_registry *r = pytheus_registry_new(NULL);
    CHECK_ERR(pytheus_process_register({.registry = r}), PYTHEUS_OK);
    pytheus_registry_free(r);
}
#endif
