#include "tqs_bare.h"

/* The linker script defines these; their addresses are their values. */
extern uint32_t tqs_data_load[];
extern uint32_t tqs_data_start[];
extern uint32_t tqs_data_end[];
extern uint32_t tqs_bss_start[];
extern uint32_t tqs_bss_end[];

void tqs_bare_init_variables(void) {
    const uint32_t *from = tqs_data_load;
    for (uint32_t *to = tqs_data_start; to < tqs_data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = tqs_bss_start; to < tqs_bss_end; to++) {
        *to = 0;
    }
}
