/* The host does not include stb_ds, but its build sets all that there is to set for it. */

#define STB_DS_IMPLEMENTATION 1
#define STBDS_NO_SHORT_NAMES 1
#define STBDS_UNIT_TESTS 1
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"

int main(void) {
    return pytheus_works() ? 0 : 1;
}
