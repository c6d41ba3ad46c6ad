/* From the boot ROM to main without Espressif's second-stage loader, on an ESP32-S3, or an ESP32-C3 of silicon revision
 * 0.3 or later.
 *
 * "Direct boot": where the flash holds no image in Espressif's format but the word 0xAEDB041D twice, the ROM maps the
 * flash (the first 4 MB on the ESP32-C3) to 0x42000000, for instructions, and to 0x3C000000, for data, and jumps to the
 * instruction behind the two words (esp32c3-direct-boot-example, Espressif; TRM 7 and 3.3.3: chip boot control,
 * external memory). So what esptool writes to address 0 of the flash is the plain binary of this image. An ESP32-C3
 * looks for the words at its start. An ESP32-S3 looks at 0x400: no manual says that, but its ROM does (build of
 * 2021-03-27, 0x40045684: compares; 0x400456B4: maps, calls 0x42000408), and esp-rs/espflash #207. */
#include "board.h"
#include "esp32.h"

void Reset_Handler(void);
void Fault_Handler(void);

#if TQS_CLOCK_HZ != 40000000u
#error "clock_hz: the chip runs from its crystal here, 40 MHz"
#endif

#define WDT_KEY 0x50D83AA1u
#define SWD_KEY 0x8F1D312Au
#define SWD_AUTO_FEED (1u << 31)

/* The stack lies at the bottom of the RAM, so that an overflow leaves the RAM and faults instead of changing data. */
#if defined(ESP32C3)

__asm__(".section .boot, \"ax\"\n"
        ".global tqs_boot\n"
        "    .word 0xAEDB041D\n"
        "    .word 0xAEDB041D\n"
        "tqs_boot:\n"
        "    csrci mstatus, 8\n" /* MIE: this firmware has no interrupts */
        "    la sp, tqs_stack_top\n"
        "    j Reset_Handler\n"
        ".text\n");

#define READ_STACK_POINTER "mv %0, sp"

/* The core takes the address of a table of 256 bytes here and bit 0 as set (TRM 1.4, mtvec); an exception jumps to its
 * start. */
static void set_vectors(void) {
    __asm volatile("csrw mtvec, %0" : : "r"(Fault_Handler));
}

#else

extern uint32_t tqs_vectors[];

/* The vectors of all exceptions lie in the first 1024 bytes from VECBASE on, 64 apart (core-isa.h of the ESP32-S3's
 * core); each stops, as Fault_Handler does. The ROM is written for register windows, and calls; this firmware is not,
 * and PS.WOE off ends them. PS: INTLEVEL 15 (it has no interrupts), EXCM, UM and WOE 0 (Xtensa ISA Reference Manual,
 * 4.4 and 4.7.1). a0 to a3 can be used before: they never overflow a window. No transform: the ROM counts the bytes. */
__asm__(".section .boot, \"ax\"\n"
        ".begin no-transform\n"
        ".global tqs_vectors\n"
        "tqs_vectors:\n"
        "    .rept 16\n"
        "    j .\n"
        "    .balign 64\n"
        "    .endr\n"
        "    .word 0xAEDB041D\n"
        "    .word 0xAEDB041D\n"
        ".global tqs_boot\n"
        "tqs_boot:\n"
        "    j 1f\n"
        "    .balign 4\n"
        "0:  .word tqs_stack_top\n"
        "1:  movi a2, 15\n"
        "    wsr.ps a2\n"
        "    rsync\n"
        "    l32r a1, 0b\n"
        "    j Reset_Handler\n"
        ".end no-transform\n"
        ".text\n");

#define READ_STACK_POINTER "mov %0, a1"

static void set_vectors(void) {
    __asm volatile("wsr.vecbase %0\n rsync" : : "r"(tqs_vectors));
}

#endif

static void paint_stack(void) {
    uint32_t *stack_pointer;
    __asm volatile(READ_STACK_POINTER : "=r"(stack_pointer));
    /* volatile: else the compiler may call memset, whose frame lies in what it paints */
    for (volatile uint32_t *word = tqs_stack_bottom; word < stack_pointer; word++) {
        *word = TQS_STACK_PAINT;
    }
}

/* TRM 12.2.2, 12.3: two watchdogs guard the boot and start with it, a third runs from power-up; each has a key. */
static void stop_watchdogs(void) {
    TIMG0_WDTWPROTECT = WDT_KEY;
    TIMG0_WDTCONFIG0 = 0;
    TIMG0_WDTCONFIG0 = TIMG_WDT_CONF_UPDATE;
    TIMG0_WDTWPROTECT = 0;
    RTC_WDTWPROTECT = WDT_KEY;
    RTC_WDTCONFIG0 = 0;
    RTC_WDTWPROTECT = 0;
    RTC_SWD_WPROTECT = SWD_KEY;
    RTC_SWD_CONF |= SWD_AUTO_FEED; /* the hardware feeds it */
    RTC_SWD_WPROTECT = 0;
}

void Reset_Handler(void) {
    set_vectors();
    paint_stack();
    stop_watchdogs();
    /* TRM 6.2.4: the CPU's clock is the crystal's, undivided (it is halved after a reset). The PLL is left alone: how
     * to start it is not in the TRM. */
    SYSTEM_SYSCLK_CONF &= ~0xFFFu; /* SOC_CLK_SEL, PRE_DIV_CNT */
    tqs_bare_init_variables();
    (void)main();
    Fault_Handler();
}

/* A fault stops here, where a debugger finds it. The host sees a silent board. */
__attribute__((aligned(256))) void Fault_Handler(void) {
    for (;;) {
    }
}
