/* export_folder.h - a Hugging Face folder with changed weights as another one, which transformers loads. */
#ifndef PGR_EXPORT_EXPORT_FOLDER_H
#define PGR_EXPORT_EXPORT_FOLDER_H

#include "export/export.h"

/* c: of a folder. type: F32, F16 or BF16 for all tensors, or PGR_FILE_KEEP. config.json follows the type and whether
 * the head is tied; tokenizer, templates and the like are copied byte for byte. run: put and put_ctx are set here.
 * force: a model that is in the folder is replaced, once the new one is whole. On error folder is as before. */
pgr_status export_folder(const checkpoint *c, const export_adapter *adapters, size_t n, pgr_file_type type,
                         const char *folder, bool force, uint64_t shard, export_run run,
                         pgr_written *out, pgr_error *err);

#endif
