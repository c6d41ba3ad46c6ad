/* The block by which the RP2350's boot ROM knows an image (RP2350 Datasheet, 5.9.5.1, minimum Arm IMAGE_DEF): it looks
 * for one in the first 4 KB of the flash. No item says where the vectors are, so they are the image's first words
 * (VECTOR_TABLE item, 5.9.3), and the linker puts the block behind them. The ROM has made the flash readable by then.
 */
#include <stdint.h>

extern const uint32_t tqs_image_def[5];

__attribute__((section(".image_def"), used)) const uint32_t tqs_image_def[5] = {
    0xFFFFDED3u, /* PICOBIN_BLOCK_MARKER_START */
    0x10210142u, /* IMAGE_TYPE, 1 word: executable, Arm, secure, for the RP2350 */
    0x000001FFu, /* the last item; the items before it are 1 word */
    0x00000000u, /* the next block, relative to this one: none other in the loop */
    0xAB123579u, /* PICOBIN_BLOCK_MARKER_END */
};
