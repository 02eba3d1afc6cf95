/* Memory for what comes and goes with every transaction. */
#ifndef ASSENT_COMMON_MEMORY_H
#define ASSENT_COMMON_MEMORY_H

#include <stddef.h>

/* As calloc(1, size), and several times as fast: glibc's calloc() never takes the pieces that its thread has
 * just freed, malloc() does. Owner: the caller, free(). NULL when there is none. */
void *memory_zeroed(size_t size);

/* Gives what has been freed, by whichever thread, back to the system. Takes milliseconds where there is much,
 * in which others may wait for memory: for quiet moments. */
void memory_give_back(void);

#endif
