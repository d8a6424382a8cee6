/* declarations.h: what a line of misuse.txt may use. */
#include "pytheus.h"

#define PAIRS_8 "a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8"

enum colour { RED, GREEN };

extern pytheus_counter counter;
extern pytheus_gauge gauge;
extern pytheus_histogram histogram;
extern pytheus_summary summary;
extern pytheus_desc description;
extern int number;
extern bool truth;
extern unsigned char byte;
extern enum colour colour;
extern const char *string;
extern void *pointer;

int body(void);
