#include "board.h"
#include "cortexm.h"
#include "tqs_port.h"
#include "tqs_wire.h"
#include <stdbool.h>

#define SYSTICK_MASK 0x00FFFFFFu
#define SYST_CSR_ENABLE 1u
#define SYST_CSR_TICKINT 2u
#define SYST_CSR_CORE_CLOCK 4u
#define ICSR_PENDSTSET (1u << 26)
#define DEMCR_TRCENA (1u << 24)
#define DWT_CTRL_CYCCNTENA 1u

/* What the counter shows. A test lets it begin elsewhere and run faster, to see it wrap. */
#ifndef TQS_TICKS
#define TQS_TICKS(count) (count)
#endif

static volatile uint32_t systick_wraps;
static uint8_t counter;

void SysTick_Handler(void) {
    systick_wraps++;
}

/* SysTick runs down from 0xFFFFFF to 0, where its interrupt becomes pending, and starts over: since the last wrap,
 * -value ticks have passed. Wraps and value belong together if no wrap was counted or is pending after the value was
 * read. 0 itself is not taken: it is the one value that an emulator may show before its interrupt is pending. */
static uint32_t systick_ticks(void) {
    uint32_t wraps;
    uint32_t value;
    do {
        wraps = systick_wraps;
        value = SYST_CVR & SYSTICK_MASK;
    } while (value == 0u || (SCB_ICSR & ICSR_PENDSTSET) != 0u || wraps != systick_wraps);
    return (wraps << 24) + ((0u - value) & SYSTICK_MASK);
}

static bool systick_starts(void) {
    SYST_RVR = SYSTICK_MASK;
    SYST_CVR = 0;
    SYST_CSR = SYST_CSR_CORE_CLOCK | SYST_CSR_TICKINT | SYST_CSR_ENABLE;
    /* It reads 0 until its first tick, and for ever where there is none (ARMv6-M leaves it out at will). */
    for (uint32_t i = 0; i < 100000u; i++) {
        if ((SYST_CVR & SYSTICK_MASK) != 0u) {
            return true;
        }
    }
    SYST_CSR = 0;
    return false;
}

/* ARMv6-M and ARMv8-M Baseline have no DWT_CYCCNT and fault on it; elsewhere it is optional, and QEMU reads it as 0: so
 * it is believed when it moves. */
static bool cyccnt_starts(void) {
#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
    return false;
#else
    DEMCR |= DEMCR_TRCENA;
    DWT_LAR = 0xC5ACCE55u; /* Cortex-M7 locks its DWT */
    DWT_CYCCNT = 0;
    DWT_CTRL |= DWT_CTRL_CYCCNTENA;
    const uint32_t start = DWT_CYCCNT;
    for (uint32_t i = 0; i < 100000u; i++) {
        if (DWT_CYCCNT != start) {
            return true;
        }
    }
    return false;
#endif
}

void tqs_start_counter(void) {
    if (cyccnt_starts()) {
        counter = TQS_COUNTER_CYCCNT;
    } else if (systick_starts()) {
        counter = TQS_COUNTER_SYSTICK;
    } else {
        counter = TQS_COUNTER_NONE;
    }
}

uint32_t tqs_port_ticks(void) {
    switch (counter) {
    case TQS_COUNTER_CYCCNT:
        return TQS_TICKS(DWT_CYCCNT);
    case TQS_COUNTER_SYSTICK:
        return TQS_TICKS(systick_ticks());
    default:
        return 0;
    }
}

uint8_t tqs_port_counter(void) {
    return counter;
}

uint32_t tqs_port_counter_hz(void) {
    return counter == TQS_COUNTER_NONE ? 0u : TQS_CLOCK_HZ;
}
