/* Shows what the processes of a service have counted in their file, also when they are gone:
 *     dump /run/myservice
 *     dump --openmetrics /var/crash/pytheus.data */
#define PYTHEUS_IMPLEMENTATION
#include "pytheus.h"
#define PYTHEUS_FILE_IMPLEMENTATION
#include "pytheus_file.h"

static pytheus_err print(void *user, const char *bytes, size_t size) {
    (void)user;
    return fwrite(bytes, 1, size, stdout) == size ? PYTHEUS_OK : PYTHEUS_ERR_IO;
}

int main(int argc, char **argv) {
    const pytheus_sink to_stdout = {print, NULL};
    bool open = argc == 3 && strcmp(argv[1], "--openmetrics") == 0;
    if (argc != 2 && !open) {
        fprintf(stderr, "usage: dump [--openmetrics] DIRECTORY | FILE\n");
        return 2;
    }
    pytheus_format format = open ? PYTHEUS_OPENMETRICS : PYTHEUS_TEXT;
    if (pytheus_file_dump(argv[argc - 1], format, &to_stdout) || fflush(stdout)) {
        fprintf(stderr, "dump: %s\n", pytheus_last_error());
        return 1;
    }
    return 0;
}
