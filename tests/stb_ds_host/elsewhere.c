/* The file in which the hosts h1, h2 and h3 implement stb_ds. */

#define STB_DS_IMPLEMENTATION
#include <stb/stb_ds.h>
#include "host_stb.h"

int stb_works_elsewhere(void);

int stb_works_elsewhere(void) {
    return stb_works();
}
