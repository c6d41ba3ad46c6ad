/* Arm's PrimeCell UART (PL011 TRM, DDI 0183) with the clocks and pins of the chip around it, which the board file's
 * cflags name: -DLM3S6965 (Stellaris LM3S6965 datasheet), -DRP2040, -DRP2350 (RP2040 Datasheet, RP2350 Datasheet). 16
 * or 32 bytes are buffered each way. Polled: tqs_uart.h says why that is enough. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UARTDR REGISTER(TQS_UART_BASE + 0x00u)
#define UARTFR REGISTER(TQS_UART_BASE + 0x18u)
#define UARTIBRD REGISTER(TQS_UART_BASE + 0x24u)
#define UARTFBRD REGISTER(TQS_UART_BASE + 0x28u)
#define UARTLCR_H REGISTER(TQS_UART_BASE + 0x2Cu)
#define UARTCR REGISTER(TQS_UART_BASE + 0x30u)

#define FR_BUSY (1u << 3) /* sending, or with bytes to send */
#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define LCR_H_8_BITS_FIFO 0x70u
#define CR_ENABLE_TX_RX 0x301u

/* The divisor in 64ths, to the nearest. */
#define DIVISOR(baud) ((TQS_CLOCK_HZ * 4u + (baud) / 2u) / (baud))
#define DIVISOR_MIN 64u
#define DIVISOR_MAX 0x3FFFFFu
#if DIVISOR(TQS_UART_BAUD) < DIVISOR_MIN || DIVISOR(TQS_UART_BAUD) > DIVISOR_MAX
#error "uart.baud: the PL011 divides clock_hz by 16 to 1048575"
#endif

#if defined(LM3S6965)

/* Datasheet, System Control: the PLL's 200 MHz, divided by 4, from the 8 MHz crystal of the evaluation board. The
 * oscillator that runs after a reset is off by up to 30 %, more than a UART bears. */
#define RIS REGISTER(0x400FE050u)
#define RCC REGISTER(0x400FE060u)
#define RCGC1 REGISTER(0x400FE104u)
#define RCGC2 REGISTER(0x400FE108u)
#define GPIO_A_AFSEL REGISTER(0x40004420u)
#define GPIO_A_DEN REGISTER(0x4000451Cu)

#define RIS_PLL_LOCKED (1u << 6)
#define RCC_MAIN_OSCILLATOR_OFF 1u
#define RCC_OSCILLATOR_MASK (3u << 4) /* 0: the main one, that of the crystal */
#define RCC_CRYSTAL_MASK (0xFu << 6)
#define RCC_CRYSTAL_8_MHZ (0xEu << 6)
#define RCC_BYPASS (1u << 11)
#define RCC_PLL_OFF ((1u << 13) | (1u << 12)) /* PWRDN, OEN */
#define RCC_USE_DIVISOR (1u << 22)
#define RCC_DIVISOR_MASK (0xFu << 23)
#define RCC_DIVIDE_BY_4 (3u << 23)
#define UART0_BASE 0x4000C000u
#define PINS_U0RX_U0TX 3u /* PA0, PA1 */
#define WAIT_TRIES 100000u

#if TQS_CLOCK_HZ != 50000000u
#error "clock_hz: the driver runs the LM3S6965 at 50 MHz"
#endif
#if TQS_UART_BASE != UART0_BASE
#error "uart.base: the driver knows the pins of the LM3S6965's UART0, 0x4000C000"
#endif

/* The order is the datasheet's (Initialization and Configuration). */
static void start_clock(void) {
    uint32_t rcc = (RCC | RCC_BYPASS) & ~(RCC_USE_DIVISOR | RCC_MAIN_OSCILLATOR_OFF);
    RCC = rcc;
    for (volatile uint32_t i = 0; i < WAIT_TRIES; i++) { /* the crystal starts; nothing tells when */
    }
    rcc &= ~(RCC_OSCILLATOR_MASK | RCC_CRYSTAL_MASK | RCC_PLL_OFF);
    rcc |= RCC_CRYSTAL_8_MHZ;
    RCC = rcc;
    rcc = (rcc & ~RCC_DIVISOR_MASK) | RCC_DIVIDE_BY_4 | RCC_USE_DIVISOR;
    RCC = rcc;
    for (uint32_t i = 0; i < WAIT_TRIES && (RIS & RIS_PLL_LOCKED) == 0u; i++) {
    }
    RCC = rcc & ~RCC_BYPASS;
}

static void connect_pins(void) {
    RCGC1 |= 1u; /* UART0 */
    RCGC2 |= 1u; /* port A */
    (void)RCGC2; /* a clock runs some cycles after it was switched on */
    (void)RCGC2;
    GPIO_A_AFSEL |= PINS_U0RX_U0TX;
    GPIO_A_DEN |= PINS_U0RX_U0TX;
}

#elif defined(RP2040) || defined(RP2350)

/* RP2040 Datasheet: 2.14 Resets, 2.15 Clocks, 2.16 Crystal Oscillator, 2.18 PLL, 2.19 GPIO. RP2350 Datasheet: 7.5
 * Resets, 8.1 Clocks, 8.2 Crystal oscillator, 8.6 PLL, 9 GPIO. The blocks of both have the same registers at other
 * addresses. The oscillator that runs after a reset is nobody's clock_hz and drifts, more than a UART bears. */
#if defined(RP2040)
#define PLL_HZ 125000000u /* 12 MHz * 125 / (6 * 2) */
#define PLL_POST_DIVIDERS ((6u << 16) | (2u << 12))
#define CLK_SYS_UNDIVIDED (1u << 8)
#define CLOCKS_BASE 0x40008000u
#define RESETS_BASE 0x4000C000u
#define IO_BANK0_BASE 0x40014000u
#define PADS_BANK0_BASE 0x4001C000u
#define XOSC_BASE 0x40024000u
#define PLL_SYS_BASE 0x40028000u
#define UART0_BASE 0x40034000u
#define RESET_IO_BANK0 (1u << 5)
#define RESET_PADS_BANK0 (1u << 8)
#define RESET_PLL_SYS (1u << 12)
#define RESET_UART0 (1u << 22)
#else
#define PLL_HZ 150000000u /* 12 MHz * 125 / (5 * 2) */
#define PLL_POST_DIVIDERS ((5u << 16) | (2u << 12))
#define CLK_SYS_UNDIVIDED (1u << 16)
#define CLOCKS_BASE 0x40010000u
#define RESETS_BASE 0x40020000u
#define IO_BANK0_BASE 0x40028000u
#define PADS_BANK0_BASE 0x40038000u
#define XOSC_BASE 0x40048000u
#define PLL_SYS_BASE 0x40050000u
#define UART0_BASE 0x40070000u
#define RESET_IO_BANK0 (1u << 6)
#define RESET_PADS_BANK0 (1u << 9)
#define RESET_PLL_SYS (1u << 14)
#define RESET_UART0 (1u << 26)
#endif

#define RESETS_RESET REGISTER(RESETS_BASE + 0x00u)
#define RESETS_DONE REGISTER(RESETS_BASE + 0x08u)
#define CLK_REF_CTRL REGISTER(CLOCKS_BASE + 0x30u)
#define CLK_REF_SELECTED REGISTER(CLOCKS_BASE + 0x38u)
#define CLK_SYS_CTRL REGISTER(CLOCKS_BASE + 0x3Cu)
#define CLK_SYS_DIV REGISTER(CLOCKS_BASE + 0x40u)
#define CLK_SYS_SELECTED REGISTER(CLOCKS_BASE + 0x44u)
#define CLK_PERI_CTRL REGISTER(CLOCKS_BASE + 0x48u)
#define XOSC_CTRL REGISTER(XOSC_BASE + 0x00u)
#define XOSC_STATUS REGISTER(XOSC_BASE + 0x04u)
#define XOSC_STARTUP REGISTER(XOSC_BASE + 0x0Cu)
#define PLL_CS REGISTER(PLL_SYS_BASE + 0x00u)
#define PLL_PWR REGISTER(PLL_SYS_BASE + 0x04u)
#define PLL_FBDIV REGISTER(PLL_SYS_BASE + 0x08u)
#define PLL_PRIM REGISTER(PLL_SYS_BASE + 0x0Cu)
#define GPIO_CTRL(pin) REGISTER(IO_BANK0_BASE + 0x04u + 8u * (pin))
#define PAD(pin) REGISTER(PADS_BANK0_BASE + 0x04u + 4u * (pin))

#define CLK_REF_XOSC 2u
#define CLK_SYS_AUX 1u /* AUXSRC 0: the system's PLL */
#define CLK_PERI_ENABLE (1u << 11)
#define XOSC_ENABLE_1_TO_15_MHZ ((0xFABu << 12) | 0xAA0u)
#define XOSC_STARTUP_1_MS 47u /* in 256 cycles of 12 MHz */
#define READY (1u << 31)      /* of the crystal: stable; of the PLL: locked */
#define PLL_ALL_DOWN 0x2Du
#define PLL_POST_DIVIDER_DOWN 0x8u
#define PLL_MODULATOR_DOWN 0x4u
#define FUNCTION_UART 2u
#define PAD_PULLED_UP 0x5Au /* input enabled, 4 mA, pulled up, with hysteresis; on the RP2350 its isolation lifted */

#if TQS_CLOCK_HZ != PLL_HZ
#error "clock_hz: the driver runs the RP2040 at 125 MHz, the RP2350 at 150 MHz"
#endif
#if TQS_UART_BASE != UART0_BASE
#error "uart.base: the driver knows the pins of UART0: 0x40034000 on the RP2040, 0x40070000 on the RP2350"
#endif
#if (TQS_UART_TX_PIN != 0u && TQS_UART_TX_PIN != 12u && TQS_UART_TX_PIN != 16u && TQS_UART_TX_PIN != 28u) ||           \
    TQS_UART_RX_PIN != TQS_UART_TX_PIN + 1u
#error "uart.tx_pin, uart.rx_pin: the RP2040's UART0 has 0 and 1, 12 and 13, 16 and 17, 28 and 29; so has the RP2350's"
#endif

static void release(uint32_t blocks) {
    RESETS_RESET &= ~blocks;
    while ((RESETS_DONE & blocks) != blocks) {
    }
}

/* Nothing works without these clocks, so nothing is gained by giving up the wait for one. */
static void start_clock(void) {
    CLK_SYS_CTRL &= ~CLK_SYS_AUX; /* a debugger may have left the PLL in use */
    while ((CLK_SYS_SELECTED & 1u) == 0u) {
    }
    XOSC_STARTUP = XOSC_STARTUP_1_MS;
    XOSC_CTRL = XOSC_ENABLE_1_TO_15_MHZ;
    while ((XOSC_STATUS & READY) == 0u) {
    }
    CLK_REF_CTRL = CLK_REF_XOSC;
    while ((CLK_REF_SELECTED & (1u << CLK_REF_XOSC)) == 0u) {
    }
    RESETS_RESET |= RESET_PLL_SYS;
    release(RESET_PLL_SYS);
    PLL_PWR = PLL_ALL_DOWN;
    PLL_CS = 1; /* the crystal undivided */
    PLL_FBDIV = 125;
    PLL_PWR = PLL_MODULATOR_DOWN | PLL_POST_DIVIDER_DOWN;
    while ((PLL_CS & READY) == 0u) {
    }
    PLL_PRIM = PLL_POST_DIVIDERS;
    PLL_PWR = PLL_MODULATOR_DOWN;
    CLK_SYS_DIV = CLK_SYS_UNDIVIDED;
    CLK_SYS_CTRL = 0;
    CLK_SYS_CTRL = CLK_SYS_AUX;
    while ((CLK_SYS_SELECTED & (1u << CLK_SYS_AUX)) == 0u) {
    }
    CLK_PERI_CTRL = CLK_PERI_ENABLE; /* AUXSRC 0: the system's clock */
}

static void connect_pins(void) {
    release(RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_UART0);
    GPIO_CTRL(TQS_UART_RX_PIN) = FUNCTION_UART;
    GPIO_CTRL(TQS_UART_TX_PIN) = FUNCTION_UART;
    PAD(TQS_UART_RX_PIN) = PAD_PULLED_UP;
    PAD(TQS_UART_TX_PIN) = PAD_PULLED_UP;
}

#else
#error "cflags: the driver pl011 needs the chip: -DLM3S6965, -DRP2040 or -DRP2350"
#endif

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    const uint32_t divisor = DIVISOR(baud);
    return divisor < DIVISOR_MIN || divisor > DIVISOR_MAX ? 0u : TQS_CLOCK_HZ * 4u / divisor;
}

void tqs_uart_set_baud(uint32_t baud) {
    const uint32_t divisor = DIVISOR(baud);
    while ((UARTFR & FR_BUSY) != 0u) {
    }
    UARTCR = 0;
    UARTIBRD = divisor / 64u;
    UARTFBRD = divisor % 64u;
    UARTLCR_H = LCR_H_8_BITS_FIFO; /* after the divisors, which it makes valid */
    UARTCR = CR_ENABLE_TX_RX;
}

void tqs_uart_init(void) {
    start_clock();
    connect_pins();
    tqs_uart_set_baud(TQS_UART_BAUD);
}

int tqs_uart_rx(void) {
    if ((UARTFR & FR_RX_EMPTY) != 0u) {
        return -1;
    }
    return (int)(UARTDR & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    while ((UARTFR & FR_TX_FULL) != 0u) {
    }
    UARTDR = byte;
}
