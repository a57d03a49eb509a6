/* sqlite_pages.c - SQLite files whose pages hold nothing but what is stored: a layer over SQLite's own access to files
 * that cleans pages on their way to the database; see sqlite_pages.h. Formats: https://sqlite.org/fileformat2.html. */
#include "user/sqlite_pages.h"

#include <pthread.h>
#include <sqlite3.h>
#include <string.h>

#include "base/mem.h"

/* ---- one page ---------------------------------------------------------------------------------------------------- */

enum { PAGE_MOST = 65536, FILE_HEADER = 100, LARGEST_ROOT_AT = 52 };
enum { INTERIOR_INDEX = 2, INTERIOR_TABLE = 5, LEAF_INDEX = 10, LEAF_TABLE = 13 };

/* A page of rows: `cells` pointers behind its header, then nothing, then what they point at, from `content` on. */
typedef struct row_page {
    size_t at, pointers, cells, content;
} row_page;

static size_t u16(const uint8_t *p) {
    return (size_t)p[0] << 8 | p[1];
}

static bool read_page(const uint8_t *page, size_t n, bool first, row_page *out) {
    size_t at = first ? FILE_HEADER : 0;
    uint8_t type = page[at];
    if (type != INTERIOR_INDEX && type != INTERIOR_TABLE && type != LEAF_INDEX && type != LEAF_TABLE) return false;
    row_page p = {.at = at, .cells = u16(page + at + 3), .content = u16(page + at + 5)};
    p.pointers = at + (type == INTERIOR_INDEX || type == INTERIOR_TABLE ? 12 : 8);
    if (p.content == 0) p.content = PAGE_MOST;
    if (p.content > n || p.pointers + 2 * p.cells > p.content) return false;
    for (size_t i = 0; i < p.cells; i++) {
        size_t cell = u16(page + p.pointers + 2 * i);
        if (cell < p.content || cell >= n) return false;
    }
    *out = p;
    return true;
}

/* The chain of free blocks between rows, each with the next one's place and its own size in front. */
static void clean_blocks(uint8_t *page, size_t n, const row_page *p) {
    size_t least = p->content;
    for (size_t block = u16(page + p->at + 1); block >= least && block + 4 <= n; block = u16(page + block)) {
        size_t size = u16(page + block + 2);
        if (size < 4 || block + size > n) return;
        memset(page + block + 4, 0, size - 4);
        least = block + size;
    }
}

void sqlite_page_clean(uint8_t *page, size_t n, bool first) {
    row_page p;
    if (n < 512 || !read_page(page, n, first, &p)) return;
    size_t gap = p.pointers + 2 * p.cells;
    memset(page + gap, 0, p.content - gap);
    clean_blocks(page, n, &p);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

typedef struct clean_file {
    sqlite3_file base; /* first: what SQLite sees */
    sqlite3_io_methods methods;
    bool database;       /* else it is a log */
    uint8_t *page;       /* (PAGE_MOST) of a database: a page's copy */
    sqlite3_file real[]; /* of the layer below, as large as that wants it */
} clean_file;

static clean_file *of(sqlite3_file *f) {
    return (clean_file *)f;
}

static sqlite3_file *real(sqlite3_file *f) {
    return of(f)->real;
}

/* A file with pages that say where others belong (auto_vacuum; no store is made so) has pages that begin as interior
 * ones do: those are then left alone. */
static int may_be_map(sqlite3_file *f, const uint8_t *page, bool first, bool *map) {
    uint8_t root[4] = {0};
    *map = false;
    if (first || (page[0] != INTERIOR_INDEX && page[0] != INTERIOR_TABLE)) return SQLITE_OK;
    int rc = real(f)->pMethods->xRead(real(f), root, sizeof root, LARGEST_ROOT_AT);
    if (rc == SQLITE_IOERR_SHORT_READ) return SQLITE_OK;
    *map = root[0] || root[1] || root[2] || root[3];
    return rc;
}

static bool is_page(int n, sqlite3_int64 at) {
    return n >= 512 && n <= PAGE_MOST && (n & (n - 1)) == 0 && at % n == 0;
}

static int write_file(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at) {
    bool map = true;
    if (of(f)->database && is_page(n, at)) {
        int rc = may_be_map(f, bytes, at == 0, &map);
        if (rc != SQLITE_OK) return rc;
    }
    if (map) return real(f)->pMethods->xWrite(real(f), bytes, n, at);
    memcpy(of(f)->page, bytes, (size_t)n);
    sqlite_page_clean(of(f)->page, (size_t)n, at == 0);
    return real(f)->pMethods->xWrite(real(f), of(f)->page, n, at);
}

/* A log that is cut off stays so after a power cut, too: what was in it must not come back. */
static int cut_file(sqlite3_file *f, sqlite3_int64 size) {
    int rc = real(f)->pMethods->xTruncate(real(f), size);
    if (rc != SQLITE_OK || of(f)->database) return rc;
    return real(f)->pMethods->xSync(real(f), SQLITE_SYNC_NORMAL);
}

static int close_file(sqlite3_file *f) {
    int rc = real(f)->pMethods->xClose(real(f));
    mem_free(of(f)->page);
    of(f)->page = NULL;
    return rc;
}

static int read_file(sqlite3_file *f, void *out, int n, sqlite3_int64 at) {
    return real(f)->pMethods->xRead(real(f), out, n, at);
}

static int sync_file(sqlite3_file *f, int flags) {
    return real(f)->pMethods->xSync(real(f), flags);
}

static int size_of_file(sqlite3_file *f, sqlite3_int64 *size) {
    return real(f)->pMethods->xFileSize(real(f), size);
}

static int lock_file(sqlite3_file *f, int level) {
    return real(f)->pMethods->xLock(real(f), level);
}

static int unlock_file(sqlite3_file *f, int level) {
    return real(f)->pMethods->xUnlock(real(f), level);
}

static int check_lock(sqlite3_file *f, int *out) {
    return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int control_file(sqlite3_file *f, int op, void *arg) {
    return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int sector_size(sqlite3_file *f) {
    return real(f)->pMethods->xSectorSize(real(f));
}

static int characteristics(sqlite3_file *f) {
    return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int map_shm(sqlite3_file *f, int page, int size, int extend, void volatile **out) {
    return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
}

static int lock_shm(sqlite3_file *f, int offset, int n, int flags) {
    return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}

static void barrier_shm(sqlite3_file *f) {
    real(f)->pMethods->xShmBarrier(real(f));
}

static int unmap_shm(sqlite3_file *f, int delete) {
    return real(f)->pMethods->xShmUnmap(real(f), delete);
}

static int fetch_page(sqlite3_file *f, sqlite3_int64 at, int n, void **out) {
    return real(f)->pMethods->xFetch(real(f), at, n, out);
}

static int unfetch_page(sqlite3_file *f, sqlite3_int64 at, void *page) {
    return real(f)->pMethods->xUnfetch(real(f), at, page);
}

static const sqlite3_io_methods METHODS = {.xClose = close_file,
                                           .xRead = read_file,
                                           .xWrite = write_file,
                                           .xTruncate = cut_file,
                                           .xSync = sync_file,
                                           .xFileSize = size_of_file,
                                           .xLock = lock_file,
                                           .xUnlock = unlock_file,
                                           .xCheckReservedLock = check_lock,
                                           .xFileControl = control_file,
                                           .xSectorSize = sector_size,
                                           .xDeviceCharacteristics = characteristics,
                                           .xShmMap = map_shm,
                                           .xShmLock = lock_shm,
                                           .xShmBarrier = barrier_shm,
                                           .xShmUnmap = unmap_shm,
                                           .xFetch = fetch_page,
                                           .xUnfetch = unfetch_page};

/* ---- the layer --------------------------------------------------------------------------------------------------- */

static sqlite3_vfs *below(sqlite3_vfs *v) {
    return v->pAppData;
}

/* The database and its log; other files (what VACUUM needs for a while) are the layer's below. */
static int open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out) {
    if (!(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) return below(v)->xOpen(below(v), name, f, flags, out);
    clean_file *c = of(f);
    memset(c, 0, sizeof *c);
    c->database = (flags & SQLITE_OPEN_MAIN_DB) != 0;
    if (c->database && !(c->page = mem_alloc(PAGE_MOST))) return SQLITE_NOMEM;
    int rc = below(v)->xOpen(below(v), name, c->real, flags, out);
    if (!c->real->pMethods) {
        mem_free(c->page);
        return rc;
    }
    c->methods = METHODS;
    c->methods.iVersion = c->real->pMethods->iVersion < 3 ? c->real->pMethods->iVersion : 3;
    c->base.pMethods = &c->methods;
    return rc;
}

static int delete_file(sqlite3_vfs *v, const char *name, int sync) {
    return below(v)->xDelete(below(v), name, sync);
}

static int access_file(sqlite3_vfs *v, const char *name, int flags, int *out) {
    return below(v)->xAccess(below(v), name, flags, out);
}

static int full_path(sqlite3_vfs *v, const char *name, int n, char *out) {
    return below(v)->xFullPathname(below(v), name, n, out);
}

static int randomness(sqlite3_vfs *v, int n, char *out) {
    return below(v)->xRandomness(below(v), n, out);
}

static int sleep_for(sqlite3_vfs *v, int microseconds) {
    return below(v)->xSleep(below(v), microseconds);
}

static int current_time(sqlite3_vfs *v, double *out) {
    return below(v)->xCurrentTime(below(v), out);
}

static int last_error(sqlite3_vfs *v, int n, char *out) {
    return below(v)->xGetLastError(below(v), n, out);
}

static int current_time_64(sqlite3_vfs *v, sqlite3_int64 *out) {
    return below(v)->xCurrentTimeInt64(below(v), out);
}

/* SQLite's list of layers has it only while a database is open: a program may unload this library. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t n_taken;
static sqlite3_vfs layer = {.zName = "pgenrm",
                            .xOpen = open_file,
                            .xDelete = delete_file,
                            .xAccess = access_file,
                            .xFullPathname = full_path,
                            .xRandomness = randomness,
                            .xSleep = sleep_for,
                            .xCurrentTime = current_time,
                            .xGetLastError = last_error,
                            .xCurrentTimeInt64 = current_time_64};

static bool install(void) {
    sqlite3_vfs *base = sqlite3_vfs_find(NULL);
    if (!base) return false;
    layer.iVersion = base->iVersion < 2 ? base->iVersion : 2;
    layer.szOsFile = (int)sizeof(clean_file) + base->szOsFile;
    layer.mxPathname = base->mxPathname;
    layer.pAppData = base;
    return sqlite3_vfs_register(&layer, 0) == SQLITE_OK;
}

const char *sqlite_pages_take(void) {
    pthread_mutex_lock(&lock);
    bool there = n_taken > 0 || install();
    n_taken += there;
    pthread_mutex_unlock(&lock);
    return there ? layer.zName : NULL;
}

void sqlite_pages_drop(void) {
    pthread_mutex_lock(&lock);
    if (--n_taken == 0) sqlite3_vfs_unregister(&layer);
    pthread_mutex_unlock(&lock);
}
