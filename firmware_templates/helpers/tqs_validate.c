#include "tqs_validate.h"

#include "tqs_port.h"
#include "tqs_server.h"
#include "tqs_wire.h"

void tqs_validate_begin(void) {
    tqs_server_init();
}

bool tqs_validate_poll(void) {
    return tqs_server_poll();
}

/* What else the server asks a port for, where nothing is known of the machine: a wire without a rate, no counter. */

void tqs_port_flush(void) {}

uint32_t tqs_port_nearest_baud(uint32_t baud) {
    (void)baud;
    return 0;
}

void tqs_port_set_baud(uint32_t baud) {
    (void)baud;
}

uint32_t tqs_port_ticks(void) {
    return 0;
}

uint8_t tqs_port_counter(void) {
    return TQS_COUNTER_NONE;
}

uint32_t tqs_port_counter_hz(void) {
    return 0;
}

void tqs_port_memory(tqs_port_memory_t *memory) {
    memory->stack_size = TQS_PORT_UNKNOWN;
    memory->stack_peak = TQS_PORT_UNKNOWN;
    memory->ram_static = TQS_PORT_UNKNOWN;
}
