/* replay.c - main() for fuzz targets without libFuzzer: feeds every file named, or found in the folders named, to
 * LLVMFuzzerTestOneInput. No input at all is a failure: a test that ran nothing has shown nothing. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

extern const char *replayed;
const char *replayed; /* the file of the input, for a target that wants to know */

/* Runs one file; 1 if it was run, -1 on a read error. The block is exactly as long as the file, so that ASan sees a
 * read past its end. */
static int replay_file(const char *path, size_t size) {
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(size ? size : 1);
    int result = -1;
    if (f && data && fread(data, 1, size, f) == size) {
        replayed = path;
        LLVMFuzzerTestOneInput(data, size);
        result = 1;
    } else {
        perror(path);
    }
    if (f) fclose(f);
    free(data);
    return result;
}

static int compare_names(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Number of inputs below path, in the order of their names; -1 on the first read error. */
static int replay(const char *path) {
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        return -1;
    }
    if (S_ISREG(st.st_mode)) return replay_file(path, (size_t)st.st_size);
    if (!S_ISDIR(st.st_mode)) return 0;

    struct dirent **entries;
    int n = scandir(path, &entries, NULL, compare_names), total = 0;
    if (n < 0) {
        perror(path);
        return -1;
    }
    for (int i = 0; i < n; i++) {
        char child[4096];
        int len = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && total >= 0 && len < (int)sizeof child) {
            int got = replay(child);
            total = got < 0 ? -1 : total + got;
        }
        free(entries[i]);
    }
    free(entries);
    return total;
}

int main(int argc, char **argv) {
    int total = 0;
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        if (n < 0) return 1;
        total += n;
    }
    printf("replayed %d inputs\n", total);
    return total > 0 ? 0 : 1;
}
