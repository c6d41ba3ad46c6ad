/* All that the firmware uses of the C library, which this port is linked without. */
#ifndef TQS_STRING_H
#define TQS_STRING_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);

#endif
