#include "tqs_bare.h"
#include "board.h"
#include "tqs_port.h"
#include "tqs_uart.h"

int tqs_port_rx(void) {
    return tqs_uart_rx();
}

void tqs_port_tx(uint8_t byte) {
    tqs_uart_tx(byte);
}

void tqs_port_flush(void) {
    /* The UART holds nothing back. */
}

uint32_t tqs_port_nearest_baud(uint32_t baud) {
    return tqs_uart_nearest_baud(baud);
}

void tqs_port_set_baud(uint32_t baud) {
    tqs_uart_set_baud(baud != 0u ? baud : TQS_UART_BAUD);
}

void tqs_port_memory(tqs_port_memory_t *memory) {
    const uint32_t *word = tqs_stack_bottom;
    while (word < tqs_stack_top && *word == TQS_STACK_PAINT) {
        word++;
    }
    memory->stack_size = (uint32_t)(tqs_stack_top - tqs_stack_bottom) * 4u;
    memory->stack_peak = (uint32_t)(tqs_stack_top - word) * 4u;
    memory->ram_static = (uint32_t)(tqs_static_end - tqs_static_start) * 4u;
}
