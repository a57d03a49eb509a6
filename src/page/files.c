/* files.c - see files.h. */
#include "page/files.h"

#include <string.h>
#include <zlib.h>

const char PAGE_POLICY[] = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
                           "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const page_file *page_file_find(const char *name) {
    for (const page_file *f = PAGE_FILES; f->name; f++)
        if (strcmp(f->name, name) == 0) return f;
    return NULL;
}

pgr_status page_file_unpack(const page_file *f, buf *out, pgr_error *err) {
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)f->gzip, .avail_in = (unsigned)f->n_gzip};
    buf_reserve(out, f->n + 1);
    if (out->failed || inflateInit2(&z, 16 + MAX_WBITS) != Z_OK) return fail_mem(err); /* 16: with gzip's head */
    z.next_out = (unsigned char *)out->data + out->n;
    z.avail_out = (unsigned)f->n;
    int end = inflate(&z, Z_FINISH);
    PGR_ASSERT((end == Z_STREAM_END || f->n == 0) && z.total_out == f->n);
    inflateEnd(&z);
    out->n += f->n;
    out->data[out->n] = '\0';
    return PGR_OK;
}
