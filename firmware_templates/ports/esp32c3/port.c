#include "board.h"
#include "esp32c3.h"
#include "tqs_port.h"
#include "tqs_uart.h"
#include "tqs_wire.h"

/* What the counter shows. A test lets it begin elsewhere and run faster, to see it wrap. */
#ifndef TQS_TICKS
#define TQS_TICKS(count) (count)
#endif

/* The core's own performance counter (TRM 1.4: mpcer 0x7E0, mpcmr 0x7E1, mpccr 0x7E2); it has no mcycle. */
void tqs_esp32c3_start_counter(void) {
    __asm volatile("csrw 0x7E0, %0" : : "r"(1)); /* count cycles */
    __asm volatile("csrw 0x7E1, %0" : : "r"(1)); /* count, and wrap instead of staying at the end */
}

uint32_t tqs_port_ticks(void) {
    uint32_t count;
    __asm volatile("csrr %0, 0x7E2" : "=r"(count));
    return TQS_TICKS(count);
}

uint8_t tqs_port_counter(void) {
    return TQS_COUNTER_MPCCR;
}

uint32_t tqs_port_counter_hz(void) {
    return TQS_CLOCK_HZ;
}

int tqs_port_rx(void) {
    return tqs_uart_rx();
}

void tqs_port_tx(uint8_t byte) {
    tqs_uart_tx(byte);
}

void tqs_port_flush(void) {
    /* The UART holds nothing back. */
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
