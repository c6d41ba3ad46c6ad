/* Rows and columns exchanged, for codes of any size. */
#ifndef TQS_TRANSPOSE_H
#define TQS_TRANSPOSE_H

#include <stdint.h>

typedef struct tqs_transpose {
    uint16_t rows;    /* A */
    uint16_t columns; /* B */
} tqs_transpose_t;

/* x: [A][B], y: [B][A]; they must not overlap. */
void tqs_transpose_s8(const tqs_transpose_t *layer, const int8_t *x, int8_t *y);
void tqs_transpose_s16(const tqs_transpose_t *layer, const int16_t *x, int16_t *y);

#endif
