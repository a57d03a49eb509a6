/* export_gguf.h - a checkpoint as a GGUF file that llama.cpp loads. */
#ifndef PGR_EXPORT_EXPORT_GGUF_H
#define PGR_EXPORT_EXPORT_GGUF_H

#include "export/export.h"

/* run: put and put_ctx are set here. out->seconds is left to the caller. On error path is as before. */
pgr_status export_gguf(const checkpoint *c, const export_adapter *adapters, size_t n, export_types types,
                       const char *path, export_run run, pgr_written *out, pgr_error *err);

#endif
