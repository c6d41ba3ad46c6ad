/* From reset to main, for any ARMv6-M to ARMv8.1-M core. Register names and addresses: Armv7-M Architecture Reference
 * Manual (DDI 0403E), B3.2. */
#include "cortexm.h"

void Reset_Handler(void);
void Fault_Handler(void);

typedef void (*vector_t)(void);
extern const vector_t tqs_vectors[16];

/* The stack lies at the bottom of the RAM, so that an overflow leaves the RAM and faults instead of changing data. */
__attribute__((section(".isr_vector"), used)) const vector_t tqs_vectors[16] = {
    (vector_t)(uintptr_t)tqs_stack_top, /* initial stack pointer */
    Reset_Handler,
    Fault_Handler, /* NMI */
    Fault_Handler, /* HardFault */
    Fault_Handler, /* MemManage */
    Fault_Handler, /* BusFault */
    Fault_Handler, /* UsageFault */
    0,
    0,
    0,
    0,
    Fault_Handler, /* SVCall */
    Fault_Handler, /* DebugMonitor */
    0,
    Fault_Handler, /* PendSV */
    SysTick_Handler,
};

static void paint_stack(void) {
    uint32_t *stack_pointer;
    __asm volatile("mov %0, sp" : "=r"(stack_pointer));
    /* volatile: else the compiler may call memset, whose frame lies in what it paints */
    for (volatile uint32_t *word = tqs_stack_bottom; word < stack_pointer; word++) {
        *word = TQS_STACK_PAINT;
    }
}

void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xFu << 20; /* full access to CP10 and CP11, before the first instruction of the FPU or of MVE */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
#if !defined(__ARM_ARCH_6M__)
    SCB_VTOR = (uint32_t)(uintptr_t)tqs_vectors; /* after a boot loader or a debugger; ARMv6-M has it fixed */
#endif
    paint_stack();
    tqs_bare_init_variables();
    (void)main();
    Fault_Handler();
}

/* A fault stops here, where a debugger finds it. The host sees a silent board. */
void Fault_Handler(void) {
    for (;;) {
    }
}
