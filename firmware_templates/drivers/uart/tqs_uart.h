/* A UART by polling. Each file of this folder implements it for one kind of hardware, with board.h's TQS_UART_BASE,
 * TQS_UART_BAUD, TQS_CLOCK_HZ (of the UART too, unless the file says otherwise) and pins. 8 data bits, no parity.
 *
 * Why without a receive interrupt: the host is stop-and-wait, so nothing arrives while a request is carried out. The
 * one exception, a host that gives up on a forecast, may lose bytes that arrive during the step then computed; what is
 * left of its frame fails the CRC, is answered with NAK BAD_FRAME and repeated. In return no interrupt disturbs the
 * tick counts, and there is no queue to size. */
#ifndef TQS_UART_H
#define TQS_UART_H

#include <stdint.h>

/* With the clocks and pins that the UART needs; its rate is then TQS_UART_BAUD. */
void tqs_uart_init(void);

/* The rate, in bits a second, that the hardware makes nearest to this one (above 0); 0: none in its range. */
uint32_t tqs_uart_nearest_baud(uint32_t baud);

/* Waits until the last bit was sent, then changes the rate. baud: one that tqs_uart_nearest_baud has something for. */
void tqs_uart_set_baud(uint32_t baud);

/* The next byte, or -1: never waits. */
int tqs_uart_rx(void);

/* Waits until the transmitter can take a byte. */
void tqs_uart_tx(uint8_t byte);

#endif
