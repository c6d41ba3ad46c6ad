/* The UART of Arm's Cortex-M System Design Kit (MPS2 and MPS3 FPGA images; Cortex-M System Design Kit TRM, DDI 0479,
 * APB UART). Its pins are fixed. One byte is buffered each way. Polled: tqs_uart.h says why that is enough. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(offset) (*(volatile uint32_t *)(TQS_UART_BASE + (offset)))
#define DATA REGISTER(0x00u)
#define STATE REGISTER(0x04u)
#define CTRL REGISTER(0x08u)
#define BAUDDIV REGISTER(0x10u)

#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CTRL_TX_ENABLE 1u
#define CTRL_RX_ENABLE 2u

#define DIVISOR(baud) ((TQS_CLOCK_HZ + (baud) / 2u) / (baud))
#define DIVISOR_MIN 16u
#define DIVISOR_MAX 0xFFFFFu
#if DIVISOR(TQS_UART_BAUD) < DIVISOR_MIN || DIVISOR(TQS_UART_BAUD) > DIVISOR_MAX
#error "uart.baud: the CMSDK UART divides clock_hz by 16 to 1048575"
#endif

void tqs_uart_init(void) {
    BAUDDIV = DIVISOR(TQS_UART_BAUD);
    CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    const uint32_t divisor = DIVISOR(baud);
    return divisor < DIVISOR_MIN || divisor > DIVISOR_MAX ? 0u : TQS_CLOCK_HZ / divisor;
}

void tqs_uart_set_baud(uint32_t baud) {
    while ((STATE & STATE_TX_FULL) != 0u) {
    }
    /* Nothing tells when the byte that is being sent is out: its 10 bits last 10 times BAUDDIV cycles, a turn of this
     * loop at least one. */
    for (volatile uint32_t i = 10u * BAUDDIV; i > 0u; i--) {
    }
    BAUDDIV = DIVISOR(baud);
}

int tqs_uart_rx(void) {
    if ((STATE & STATE_RX_FULL) == 0u) {
        return -1;
    }
    return (int)(DATA & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    while ((STATE & STATE_TX_FULL) != 0u) {
    }
    DATA = byte;
}
