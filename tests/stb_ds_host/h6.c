/* The host implements stb_ds in the same file, before the library, with an allocator and a mended
   macro of its own. */

#include <stdlib.h>

static int host_allocations;

static void *host_realloc(void *p, size_t size) {
    host_allocations++;
    return realloc(p, size);
}

#define STBDS_REALLOC(context, p, size) host_realloc(p, size)
#define STBDS_FREE(context, p) free(p)
#define STB_DS_IMPLEMENTATION
#include <stb/stb_ds.h>
#undef STBDS_ADDRESSOF
#define STBDS_ADDRESSOF(typevar, value) (&(value))
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#include "host_pytheus.h"
#include "host_stb.h"

int main(void) {
    int works = stb_works();
    int own = host_allocations;
    works = pytheus_works() && works;
    int foreign = host_allocations - own;
    works = stb_works() && works;
    if (!own || foreign || host_allocations == own) {
        printf("the host's allocator: %d calls, %d of them by the library\n", own, foreign);
        works = 0;
    }
    return works ? 0 : 1;
}
