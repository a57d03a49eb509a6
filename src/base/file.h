/* file.h - mapped and whole files. */
#ifndef PGR_BASE_FILE_H
#define PGR_BASE_FILE_H

#include "base/buf.h"
#include "base/status.h"

typedef struct file_map {
    const uint8_t *data; /* read-only; NULL for an empty file */
    size_t size;
} file_map;

pgr_status file_map_open(const char *path, file_map *out, pgr_error *err);
void file_map_close(file_map *m);
/* those pages may leave memory; reads bring them back */
void file_map_drop(const file_map *m, size_t offset, size_t size);

/* The whole file, at most 1 GiB, replaces what out held; out stays as it was on error. */
pgr_status file_read(const char *path /* "-": standard input */, buf *out, pgr_error *err);
/* The same of a text that somebody has written: a byte order mark at its beginning is read over. */
pgr_status file_read_text(const char *path, buf *out, pgr_error *err);
bool file_exists(const char *path);
/* May a file of this name be written? What is there stays as it is. */
pgr_status file_check_writable(const char *path, pgr_error *err);
bool file_is_folder(const char *path); /* false where nothing is */
/* The folder with its files, which are of one level; what is not there or cannot be removed is passed over. */
void file_remove_folder(const char *path);
/* $PGENRM_HOME, else $XDG_CACHE_HOME/pgenrm, else ~/.cache/pgenrm. The caller's (mem_free); NULL when out of memory. */
char *file_cache_folder(void);

#endif
