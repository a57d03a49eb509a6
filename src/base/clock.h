/* clock.h - seconds of a clock that only goes forward. */
#ifndef PGR_BASE_CLOCK_H
#define PGR_BASE_CLOCK_H

double clock_now(void);

#endif
