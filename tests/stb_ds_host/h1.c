/* The host has stb_ds in another file only. */

#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"

int stb_works_elsewhere(void);

int main(void) {
    return stb_works_elsewhere() && pytheus_works() && stb_works_elsewhere() ? 0 : 1;
}
