/*
 * The main of the image that is counted: the model and kernels of a firmware, from the same object files, in a machine
 * of QEMU. One evaluation is counted, between tqs_count_begin and tqs_count_end, after others that bring code and
 * weights into the caches.
 */
#include <stdint.h>

#include "tqs_model.h"

extern uint32_t tqs_stack_top[];
extern uint32_t tqs_bss_start[];
extern uint32_t tqs_bss_end[];
extern uint32_t tqs_data_load[];
extern uint32_t tqs_data_start[];
extern uint32_t tqs_data_end[];

void tqs_count_begin(void);
void tqs_count_end(void);
void Reset_Handler(void);

typedef void (*vector_t)(void);
/* A fault starts over, which the host's patience ends. */
__attribute__((section(".isr_vector"), used)) static const vector_t vectors[4] = {
    (vector_t)(uintptr_t)tqs_stack_top,
    Reset_Handler,
    Reset_Handler,
    Reset_Handler,
};

__attribute__((noinline)) void tqs_count_begin(void) {
    __asm__ volatile("");
}

__attribute__((noinline)) void tqs_count_end(void) {
    __asm__ volatile("");
}

static tqs_model_t model;

static uint32_t call_host(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void step(uint32_t number) {
    tqs_code_t y[TQS_OUTPUTS];
#if TQS_EXOGENOUS > 0u
    tqs_code_t known[TQS_EXOGENOUS];
    uint32_t i;

    for (i = 0; i < TQS_EXOGENOUS; i++) {
        known[i] = (int8_t)((number * TQS_EXOGENOUS + i) * 37u % 256u - 128u);
    }
    if (number == 2u * TQS_STEPS) {
        tqs_count_begin();
        tqs_forecast_next_ahead(&model, known, y);
        tqs_count_end();
        return;
    }
    tqs_forecast_next_ahead(&model, known, y);
#else
    if (number == 2u * TQS_STEPS) {
        tqs_count_begin();
        tqs_forecast_next(&model, y);
        tqs_count_end();
        return;
    }
    tqs_forecast_next(&model, y);
#endif
}

__attribute__((used)) void Reset_Handler(void) {
    const uint32_t *from = tqs_data_load;
    uint32_t *to;
    uint32_t i;
    uint32_t channel;

#if defined(__ARM_FP)
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* CPACR */
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    for (to = tqs_data_start; to < tqs_data_end; to++) {
        *to = *from++;
    }
    for (to = tqs_bss_start; to < tqs_bss_end; to++) {
        *to = 0;
    }
    tqs_reset(&model);
    for (i = 0; i < TQS_WINDOW; i++) {
        tqs_code_t sample[TQS_CHANNELS];

        for (channel = 0; channel < TQS_CHANNELS; channel++) {
            sample[channel] = (int8_t)((i * TQS_CHANNELS + channel) * 37u % 256u - 128u);
        }
        tqs_push_q(&model, sample);
    }
    tqs_forecast_begin(&model);
    /* Of steps that give a block in turn, the first that computes one when all have run before. */
    for (i = 0; i <= 2u * TQS_STEPS; i++) {
        step(i);
    }
    (void)call_host(0x18, (const void *)0x20026u); /* SYS_EXIT, ADP_Stopped_ApplicationExit */
    for (;;) {
    }
}
