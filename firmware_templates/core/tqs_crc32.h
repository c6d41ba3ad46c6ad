#ifndef TQS_CRC32_H
#define TQS_CRC32_H

#include <stdint.h>

/* CRC-32 of IEEE 802.3, equal to zlib's crc32(). `crc` is 0 for the first piece, then the result for the piece before:
 * tqs_crc32(tqs_crc32(0, a, n), b, m) is the CRC of a followed by b. */
uint32_t tqs_crc32(uint32_t crc, const uint8_t *bytes, uint32_t count);

#endif
