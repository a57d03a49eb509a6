/* reference.h - the policy that a run is held to: values of the same adapter, which stand in it for a pass. */
#ifndef PGR_TRAIN_REFERENCE_H
#define PGR_TRAIN_REFERENCE_H

#include "train/run.h"

/* The values of the adapter at `init`, which must have as many as the run's; NULL: the model without an adapter. *out
 * is the caller's (mem_free). */
pgr_status reference_open(train_run *r, const char *init, float **out, pgr_error *err);
/* The run's values and the reference's change places. Twice: all is as before. */
void reference_exchange(train_run *r, float *reference);

#endif
