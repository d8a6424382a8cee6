/* The host includes stb_ds before the library and implements it in another file. */

#include <stb/stb_ds.h>
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"
#include "host_stb.h"

int main(void) {
    return stb_works() && pytheus_works() && stb_works() ? 0 : 1;
}
