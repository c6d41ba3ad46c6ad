/* What the boot ROM of an i.MX RT1060 reads of its serial flash (IMXRT1060RM, System Boot): how the flash is read,
 * where the image's vectors are, how long it is. The ROM then starts the image in place, as its first two vectors say.
 *
 * The flash of a Teensy 4.1 is a W25Q64JV: 8 MB, read by the command EBh on four lines. Its datasheet has the times;
 * its "quad enable" bit is set when it leaves the factory (W25Q64JV-IQ). It is read at 100 MHz of the 133 that it can.
 */
#include <stdint.h>

#define BASE 0x60000000u
#define IVT 0x1000u
#define BOOT_DATA 0x1020u
#define VECTORS 0x2000u /* right behind this table: link.ld */
#define USABLE 0x007C0000u

/* FlexSPI, LUT: an instruction is an operation, a power of two of lines, and an operand; two make a word. */
#define STEP(operation, lines, operand) (((operation) << 10) | ((lines) << 8) | (operand))
#define COMMAND(byte) STEP(0x01u, 0u, byte)
#define ADDRESS(bits) STEP(0x02u, 2u, bits)
#define MODE(byte) STEP(0x07u, 2u, byte) /* 0: the next read begins with its command again */
#define READ(bytes) STEP(0x09u, 2u, bytes)
#define DUMMY(cycles) STEP(0x0Cu, 2u, cycles)

extern const uint32_t tqs_boot[VECTORS / 4u];

__attribute__((section(".boot"), used)) const uint32_t tqs_boot[VECTORS / 4u] = {
    /* FlexSPI configuration block */
    [0x000 / 4] = 0x42464346u, /* tag: FCFB */
    [0x004 / 4] = 0x56010400u, /* version 1.4.0 */
    [0x00C / 4] = 0x00030301u, /* set up and hold CS 3 cycles; samples by DQS, looped back from its pad */
    [0x044 / 4] = 0x00060401u, /* serial NOR flash, 4 lines, 100 MHz */
    [0x050 / 4] = 0x00800000u, /* bytes */
    [0x080 / 4] = COMMAND(0xEBu) | (ADDRESS(24u) << 16),
    [0x084 / 4] = MODE(0u) | (DUMMY(4u) << 16),
    [0x088 / 4] = READ(4u),
    [0x1C0 / 4] = 256u,     /* bytes of a page */
    [0x1C4 / 4] = 4096u,    /* bytes of a sector */
    [0x1C8 / 4] = 1u,       /* 30 MHz for other commands */
    [0x1D0 / 4] = 0x10000u, /* bytes of a block */

    /* Image vector table */
    [(IVT + 0x00) / 4] = 0x402000D1u,    /* tag D1h, 32 bytes, version 4.0 */
    [(IVT + 0x04) / 4] = BASE + VECTORS, /* the manual says "entry point"; NXP's own images have their vectors here */
    [(IVT + 0x10) / 4] = BASE + BOOT_DATA,
    [(IVT + 0x14) / 4] = BASE + IVT,

    /* Boot data: where the image is, and how long it may be */
    [(BOOT_DATA + 0x0) / 4] = BASE,
    [(BOOT_DATA + 0x4) / 4] = USABLE,
};
