/* tqs_uart.h on a computer: standard input and output. The program ends with its input. */
#include "tqs_uart.h"
#include <stdio.h>
#include <stdlib.h>

void tqs_uart_init(void) {}

int tqs_uart_rx(void) {
    const int byte = getchar();
    if (byte == EOF) {
        exit(0);
    }
    return byte;
}

void tqs_uart_tx(uint8_t byte) {
    (void)putchar(byte);
    if (byte == (uint8_t)'\n') {
        (void)fflush(stdout);
    }
}
