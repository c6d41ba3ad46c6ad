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

#define DIVISOR ((TQS_CLOCK_HZ + TQS_UART_BAUD / 2u) / TQS_UART_BAUD)
#if DIVISOR < 16u || DIVISOR > 0xFFFFFu
#error "uart.baud: the CMSDK UART divides clock_hz by 16 to 1048575"
#endif

void tqs_uart_init(void) {
    BAUDDIV = DIVISOR;
    CTRL = CTRL_TX_ENABLE | CTRL_RX_ENABLE;
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
