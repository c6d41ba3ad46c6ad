#include "board.h"
#include "esp32.h"
#include "tqs_port.h"
#include "tqs_wire.h"

/* What the counter shows. A test lets it begin elsewhere and run faster, to see it wrap. */
#ifndef TQS_TICKS
#define TQS_TICKS(count) (count)
#endif

#if defined(ESP32C3)

/* The core's own performance counter (TRM 1.4: mpcer 0x7E0, mpcmr 0x7E1, mpccr 0x7E2); it has no mcycle. */
void tqs_start_counter(void) {
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

#else

/* Xtensa ISA Reference Manual, Timer Interrupt Option: CCOUNT counts the core's cycles and is never stopped. */
void tqs_start_counter(void) {}

uint32_t tqs_port_ticks(void) {
    uint32_t count;
    __asm volatile("rsr.ccount %0" : "=r"(count));
    return TQS_TICKS(count);
}

uint8_t tqs_port_counter(void) {
    return TQS_COUNTER_CCOUNT;
}

#endif

uint32_t tqs_port_counter_hz(void) {
    return TQS_CLOCK_HZ;
}
