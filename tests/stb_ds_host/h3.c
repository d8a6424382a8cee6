/* The host includes stb_ds after the library and implements it in another file. */

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"
#include <stb/stb_ds.h>
#include "host_stb.h"

int main(void) {
    return stb_works() && pytheus_works() && stb_works() ? 0 : 1;
}
