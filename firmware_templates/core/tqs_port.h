/* What the server needs of a machine. Each folder of ports/ implements it once. */
#ifndef TQS_PORT_H
#define TQS_PORT_H

#include <stdint.h>

#define TQS_PORT_UNKNOWN 0xFFFFFFFFu

typedef struct {
    uint32_t stack_size; /* bytes, or TQS_PORT_UNKNOWN */
    uint32_t stack_peak; /* most bytes of it ever in use */
    uint32_t ram_static; /* bytes of .data and .bss */
} tqs_port_memory_t;

/* The next received byte, or -1: never waits. */
int tqs_port_rx(void);

/* Takes one byte to the wire; waits while the wire is busy. */
void tqs_port_tx(uint8_t byte);

/* Called after each frame: what tqs_port_tx was given leaves now. */
void tqs_port_flush(void);

/* The rate, in bits a second, that the wire can have nearest to this one (above 0); 0: none, or a wire without a rate.
 */
uint32_t tqs_port_nearest_baud(uint32_t baud);

/* Waits until the last bit was sent, then changes the rate. baud: one that tqs_port_nearest_baud has something for; 0:
 * back to the one that the port began with; nothing happens on a wire without a rate. */
void tqs_port_set_baud(uint32_t baud);

/* A counter that runs up, modulo 2^32; 0 if there is none. Which one (enum tqs_counter), and its rate. */
uint32_t tqs_port_ticks(void);
uint8_t tqs_port_counter(void);
uint32_t tqs_port_counter_hz(void);

void tqs_port_memory(tqs_port_memory_t *memory);

#endif
