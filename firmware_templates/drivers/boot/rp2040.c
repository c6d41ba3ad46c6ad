/* The RP2040's second boot stage (RP2040 Datasheet, 2.8.1.3): the boot ROM copies the first 256 bytes of the flash to
 * the end of the SRAM, checks them, and calls them. They let the flash be read as memory, with the command 03h that
 * every serial flash has (4.10, SSI), and start the image behind them.
 *
 * In assembler, because the last word is the CRC-32 (polynomial 0x04C11DB7, first value ~0, not reflected, not
 * inverted) of the 252 bytes before it: no other compiler may make other bytes of it. A test and the emulator compute
 * it anew. */

__asm__(".syntax unified\n"
        ".cpu cortex-m0plus\n"
        ".thumb\n"
        ".section .boot, \"ax\"\n"
        ".balign 256\n"
        "tqs_boot:\n"
        "    ldr r0, =0x18000000\n" /* the SSI */
        "    movs r1, #0\n"
        "    str r1, [r0, #0x08]\n" /* SSIENR: off, or nothing can be set */
        "    movs r1, #4\n"
        "    str r1, [r0, #0x14]\n" /* BAUDR: a fourth of the system's clock, 31 MHz at 125 */
        "    ldr r1, =0x001F0300\n"
        "    str r1, [r0, #0x00]\n" /* CTRLR0: one line, words of 32 bits, EEPROM reads */
        "    movs r1, #0\n"
        "    str r1, [r0, #0x04]\n" /* CTRLR1: one word a read */
        "    ldr r1, =0x03000218\n"
        "    ldr r2, =0x180000F4\n"
        "    str r1, [r2]\n" /* SPI_CTRLR0: command 03h of 8 bits, address of 24 */
        "    movs r1, #1\n"
        "    str r1, [r0, #0x08]\n"
        "    ldr r0, =0x10000100\n" /* the image's vectors */
        "    ldr r1, =0xE000ED08\n"
        "    str r0, [r1]\n" /* VTOR */
        "    ldm r0, {r0, r1}\n"
        "    msr msp, r0\n"
        "    bx r1\n"
        "    .pool\n"
        "    .org tqs_boot + 252\n"
        "    .word 0x146DD212\n"
        ".text\n");
