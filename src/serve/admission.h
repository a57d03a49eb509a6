/* admission.h - whether what is asked now will be judged before its deadline: how fast asks are settled while others
 * wait behind them, and how long so many will take. A call that would be late is better told so at once (429) than when
 * its time is over. Time in which nothing waited says nothing: then the engine had room. */
#ifndef PGR_SERVE_ADMISSION_H
#define PGR_SERVE_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>

typedef struct admission { /* zeros: nothing is known */
    double looked;         /* when was looked last; 0: never, or nothing waited then */
    double seconds, ended; /* in which something waited; asks that were settled in them; both faded */
    size_t n_seen;         /* asks that were settled in them, up to ADMISSION_LEAST */
} admission;

enum { ADMISSION_LEAST = 16 }; /* asks that must have been settled before anything is said */

/* n_settled asks since the last look; waits: others wait now. */
void admission_look(admission *a, double now, size_t n_settled, bool waits);

/* Seconds until `ahead` asks are settled; 0: not known. */
double admission_seconds(const admission *a, size_t ahead);

/* Behind `ahead` others it would surely be late: by more than a tenth of the time that is left. Never where nothing is
 * known, nothing is ahead, or the deadline has passed, which says so itself. */
bool admission_late(const admission *a, double now, double deadline, size_t ahead);

#endif
