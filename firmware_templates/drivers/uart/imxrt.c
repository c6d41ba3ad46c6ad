/* LPUART6 of an i.MX RT1060 (IMXRT1060RM: LPUART, CCM, IOMUXC) on the pads GPIO_AD_B0_02 and 03, the pins 1 (TX) and 0
 * (RX) of a Teensy 4. It counts the crystal's 24 MHz, not the core's clock, which stays as the boot ROM leaves it:
 * 396 MHz. One byte is buffered each way. Polled: tqs_uart.h says why that is enough. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define LPUART_BAUD REGISTER(TQS_UART_BASE + 0x10u)
#define LPUART_STAT REGISTER(TQS_UART_BASE + 0x14u)
#define LPUART_CTRL REGISTER(TQS_UART_BASE + 0x18u)
#define LPUART_DATA REGISTER(TQS_UART_BASE + 0x1Cu)

#define STAT_OR (1u << 19)
#define STAT_RDRF (1u << 21)
#define STAT_TC (1u << 22)
#define STAT_TDRE (1u << 23)
#define CTRL_RE (1u << 18)
#define CTRL_TE (1u << 19)

#define CCM_CSCDR1 REGISTER(0x400FC024u)
#define CSCDR1_UART_MASK 0x7Fu
#define CSCDR1_UART_CRYSTAL (1u << 6) /* divided by 1 */
#define CCM_CCGR3 REGISTER(0x400FC074u)
#define CCGR3_LPUART6 (3u << 6)
#define CCM_CCGR4 REGISTER(0x400FC078u)
#define CCGR4_IOMUXC (3u << 2)

#define MUX_AD_B0_02 REGISTER(0x401F80C4u)
#define MUX_AD_B0_03 REGISTER(0x401F80C8u)
#define MUX_LPUART6 2u
#define PAD_AD_B0_02 REGISTER(0x401F82B4u)
#define PAD_AD_B0_03 REGISTER(0x401F82B8u)
#define PAD_OUTPUT 0x10B0u /* as after a reset: medium speed, drive R0/6, kept */
#define PAD_INPUT 0x1B0B0u /* with hysteresis and 100 kOhm up */
#define SELECT_LPUART6_RX REGISTER(0x401F8550u)
#define SELECT_AD_B0_03 1u

#define LPUART6_BASE 0x40198000u
#if TQS_UART_BASE != LPUART6_BASE
#error "uart.base: the driver imxrt knows LPUART6, 0x40198000"
#endif

/* A bit takes 8 to 32 samples of 1 to 8191 cycles. */
#define CRYSTAL_HZ 24000000u
#define SAMPLES_MIN 8u
#define SAMPLES_MAX 32u
#define DIVISOR_MAX 0x1FFFu
#define BAUD_VALUE(samples, divisor) ((((samples) - 1u) << 24) | (divisor))
#if TQS_UART_BAUD > CRYSTAL_HZ / SAMPLES_MIN
#error "uart.baud: the LPUART makes up to 3000000"
#endif

/* The rate nearest to `baud`, and BAUD's value for it; 0 where there is none. */
static uint32_t choose_rate(uint32_t baud, uint32_t *value) {
    uint32_t nearest = 0;
    uint32_t distance = UINT32_MAX;
    for (uint32_t samples = SAMPLES_MAX; samples >= SAMPLES_MIN; samples--) {
        const uint32_t divisor = (CRYSTAL_HZ / samples + baud / 2u) / baud;
        if (divisor > 0u && divisor <= DIVISOR_MAX) {
            const uint32_t rate = CRYSTAL_HZ / (samples * divisor);
            const uint32_t off = rate > baud ? rate - baud : baud - rate;
            if (off < distance) {
                distance = off;
                nearest = rate;
                *value = BAUD_VALUE(samples, divisor);
            }
        }
    }
    return nearest;
}

static void start(uint32_t baud) {
    uint32_t value = 0;
    (void)choose_rate(baud, &value);
    LPUART_CTRL = 0; /* the rate can be changed only while both ways are off */
    LPUART_BAUD = value;
    LPUART_CTRL = CTRL_TE | CTRL_RE;
}

void tqs_uart_init(void) {
    CCM_CSCDR1 = (CCM_CSCDR1 & ~CSCDR1_UART_MASK) | CSCDR1_UART_CRYSTAL;
    CCM_CCGR3 |= CCGR3_LPUART6;
    CCM_CCGR4 |= CCGR4_IOMUXC;
    (void)CCM_CCGR4; /* a clock runs before what is behind it is used */
    start(TQS_UART_BAUD);
    PAD_AD_B0_02 = PAD_OUTPUT;
    PAD_AD_B0_03 = PAD_INPUT;
    SELECT_LPUART6_RX = SELECT_AD_B0_03;
    MUX_AD_B0_03 = MUX_LPUART6;
    MUX_AD_B0_02 = MUX_LPUART6; /* last: the line stays idle until the transmitter drives it */
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    uint32_t value = 0;
    return choose_rate(baud, &value);
}

void tqs_uart_set_baud(uint32_t baud) {
    while ((LPUART_STAT & STAT_TC) == 0u) {
    }
    start(baud);
}

int tqs_uart_rx(void) {
    const uint32_t state = LPUART_STAT;
    if ((state & STAT_OR) != 0u) {
        LPUART_STAT = state; /* its flags are cleared by ones; until this one is, nothing is received */
    }
    if ((state & STAT_RDRF) == 0u) {
        return -1;
    }
    return (int)(LPUART_DATA & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    while ((LPUART_STAT & STAT_TDRE) == 0u) {
    }
    LPUART_DATA = byte;
}
