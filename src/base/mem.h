/* mem.h - the one place that calls malloc, so that a test can fail the Nth allocation and count what is live. */
#ifndef PGR_BASE_MEM_H
#define PGR_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t size);                 /* NULL when out of memory; size 0 gives a unique pointer */
void *mem_zero(size_t count, size_t size);    /* zeroed, overflow checked */
void *mem_array(size_t count, size_t size);   /* overflow checked */
void *mem_resize(void *p, size_t size);       /* on failure p stays as it was */
void *mem_aligned(size_t size, size_t align); /* freed by mem_free too */
void *mem_huge(size_t size);                  /* the same at whole lines; in large pages where they are worth it */
char *mem_strdup(const char *s);
void mem_free(void *p);

/* Tests: the nth allocation from now on (1 = the next) and every one after it fails; 0 switches that off. */
void mem_fail_from(long nth);
/* Tests: only the nth allocation from now on fails; 0 switches that off. */
void mem_fail_nth(long nth);
long mem_live(void);  /* allocations not yet freed */
long mem_count(void); /* allocations asked for so far, failed ones and growths counted */

#endif
