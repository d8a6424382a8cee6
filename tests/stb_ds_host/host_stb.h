/* What a host does with its own stb_ds, by its short names. */

#include <stdio.h>

static int stb_works(void) {
    static char names[100][16];
    struct age {
        char *key;
        int value;
    } *ages = NULL;
    int *squares = NULL;
    int wrong = 0;
    for (int i = 0; i < 100; i++) {
        snprintf(names[i], sizeof names[i], "name %d", i);
        arrput(squares, i * i);
        shput(ages, names[i], i);
    }
    for (int i = 0; i < 100; i++)
        wrong += squares[i] != i * i || shget(ages, names[i]) != i;
    wrong += arrlen(squares) != 100 || shlen(ages) != 100;
    arrfree(squares);
    shfree(ages);
    if (wrong)
        printf("the host's own stb_ds: %d wrong values\n", wrong);
    return !wrong;
}
