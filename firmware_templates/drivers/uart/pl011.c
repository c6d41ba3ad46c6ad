/* Arm's PrimeCell UART (PL011 TRM, DDI 0183) with the clocks and pins of the chip around it, which the board file's
 * cflags name: -DLM3S6965 (Stellaris LM3S6965 datasheet). 16 bytes are buffered each way. Polled: tqs_uart.h says why
 * that is enough. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UARTDR REGISTER(TQS_UART_BASE + 0x00u)
#define UARTFR REGISTER(TQS_UART_BASE + 0x18u)
#define UARTIBRD REGISTER(TQS_UART_BASE + 0x24u)
#define UARTFBRD REGISTER(TQS_UART_BASE + 0x28u)
#define UARTLCR_H REGISTER(TQS_UART_BASE + 0x2Cu)
#define UARTCR REGISTER(TQS_UART_BASE + 0x30u)

#define FR_RX_EMPTY (1u << 4)
#define FR_TX_FULL (1u << 5)
#define LCR_H_8_BITS_FIFO 0x70u
#define CR_ENABLE_TX_RX 0x301u

/* The divisor in 64ths, to the nearest. */
#define DIVISOR ((TQS_CLOCK_HZ * 4u + TQS_UART_BAUD / 2u) / TQS_UART_BAUD)
#if DIVISOR < 64u || DIVISOR > 0x3FFFFFu
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

#else
#error "cflags: the driver pl011 needs the chip: -DLM3S6965"
#endif

void tqs_uart_init(void) {
    start_clock();
    connect_pins();
    UARTCR = 0;
    UARTIBRD = DIVISOR / 64u;
    UARTFBRD = DIVISOR % 64u;
    UARTLCR_H = LCR_H_8_BITS_FIFO; /* after the divisors, which it makes valid */
    UARTCR = CR_ENABLE_TX_RX;
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
