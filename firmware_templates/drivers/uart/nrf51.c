/* The UART of Nordic's nRF51 (nRF51 Series Reference Manual 3.0, chapters UART, GPIO and CLOCK) and, with -DNRF52, of
 * the nRF52840 (Product Specification 1.1, the same chapters), which has it still, and a second port of pins: P1.00 is
 * 32. Its receiver holds six bytes, its transmitter one. Polled: tqs_uart.h says why that is enough. The baud rate
 * comes from a clock of 16 MHz, whatever TQS_CLOCK_HZ says. */
#include "board.h"
#include "tqs_uart.h"
#include <stdbool.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define CLOCK_HFCLKSTART REGISTER(0x40000000u)
#define CLOCK_HFCLKSTARTED REGISTER(0x40000100u)

#define GPIO(pin, offset) REGISTER(0x50000000u + 0x300u * ((pin) / 32u) + (offset))
#define GPIO_OUTSET(pin) GPIO(pin, 0x508u)
#define GPIO_DIRSET(pin) GPIO(pin, 0x518u)
#define GPIO_PIN_CNF(pin) GPIO(pin, 0x700u + 4u * ((pin) % 32u))
#define PIN_CNF_INPUT 0u /* its buffer connected, which it is not after a reset; no pull */

#define STARTRX REGISTER(TQS_UART_BASE + 0x000u)
#define STARTTX REGISTER(TQS_UART_BASE + 0x008u)
#define RXDRDY REGISTER(TQS_UART_BASE + 0x108u)
#define TXDRDY REGISTER(TQS_UART_BASE + 0x11Cu)
#define ENABLE REGISTER(TQS_UART_BASE + 0x500u)
#define PSELTXD REGISTER(TQS_UART_BASE + 0x50Cu)
#define PSELRXD REGISTER(TQS_UART_BASE + 0x514u)
#define RXD REGISTER(TQS_UART_BASE + 0x518u)
#define TXD REGISTER(TQS_UART_BASE + 0x51Cu)
#define BAUDRATE REGISTER(TQS_UART_BASE + 0x524u)

#define ENABLE_UART 4u

#if defined(NRF52)
#define LAST_PIN 47u
#else
#define LAST_PIN 31u
#endif
#if TQS_UART_TX_PIN > LAST_PIN || TQS_UART_RX_PIN > LAST_PIN
#error "uart.tx_pin, uart.rx_pin: the nRF51 has the pins 0 to 31, the nRF52840 0 to 47"
#endif
#define BAUD_MIN 1200u
#define BAUD_MAX 1000000u
#if TQS_UART_BAUD < BAUD_MIN || TQS_UART_BAUD > BAUD_MAX
#error "uart.baud: the nRF51 has 1200 to 1000000"
#endif

/* baud * 2^32 / 16 MHz to the nearest 4096; gives the manual's table of values (115200: 0x01D7E000; at 921600 the table
 * is one step lower). In 4096ths that is baud * 2147.484 / 2^15: a Cortex-M0 would need a library to divide. */
#define BAUDRATE_VALUE(baud) (((baud) * 2147u + (baud) / 2u - (baud) / 64u + 16384u) >> 15 << 12)

static bool transmitting;

static void wait_until_sent(void) {
    while (transmitting && TXDRDY == 0u) {
    }
}

void tqs_uart_init(void) {
    /* The RC oscillator that runs after a reset may be off by more than a UART bears. */
    CLOCK_HFCLKSTARTED = 0;
    CLOCK_HFCLKSTART = 1;
    while (CLOCK_HFCLKSTARTED == 0u) {
    }
    GPIO_OUTSET(TQS_UART_TX_PIN) = 1u << (TQS_UART_TX_PIN % 32u); /* high is an idle line */
    GPIO_DIRSET(TQS_UART_TX_PIN) = 1u << (TQS_UART_TX_PIN % 32u);
    GPIO_PIN_CNF(TQS_UART_RX_PIN) = PIN_CNF_INPUT;
    PSELTXD = TQS_UART_TX_PIN;
    PSELRXD = TQS_UART_RX_PIN;
    BAUDRATE = BAUDRATE_VALUE(TQS_UART_BAUD);
    ENABLE = ENABLE_UART;
    RXDRDY = 0;
    TXDRDY = 0;
    STARTTX = 1;
    STARTRX = 1;
    transmitting = false;
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    return baud < BAUD_MIN || baud > BAUD_MAX ? 0u : baud;
}

void tqs_uart_set_baud(uint32_t baud) {
    wait_until_sent();
    BAUDRATE = BAUDRATE_VALUE(baud);
}

int tqs_uart_rx(void) {
    if (RXDRDY == 0u) {
        return -1;
    }
    RXDRDY = 0; /* before RXD is read: reading raises it again if another byte is buffered */
    return (int)(RXD & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    wait_until_sent();
    TXDRDY = 0;
    TXD = byte;
    transmitting = true;
}
