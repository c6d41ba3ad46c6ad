/* What the ports without an operating system share: the memory as their link.ld lays it out, and main. */
#ifndef TQS_BARE_H
#define TQS_BARE_H

#include <stdint.h>

#define TQS_REGISTER(address) (*(volatile uint32_t *)(address))

#define TQS_STACK_PAINT 0xA5A5A5A5u

/* The linker script defines these; their addresses are their values. */
extern uint32_t tqs_stack_bottom[];
extern uint32_t tqs_stack_top[];
extern uint32_t tqs_static_start[]; /* .data and .bss */
extern uint32_t tqs_static_end[];

/* Gives variables their first values; called once, by the port's start-up code. */
void tqs_bare_init_variables(void);

int main(void);

/* Each port's own: starts the counter of tqs_port_ticks. */
void tqs_start_counter(void);

#endif
