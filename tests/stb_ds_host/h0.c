/* The host does not know stb_ds. */

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"

int main(void) {
    return pytheus_works() ? 0 : 1;
}
