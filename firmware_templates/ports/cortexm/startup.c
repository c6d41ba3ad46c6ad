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

#if defined(TQS_CACHES)
#define CCR_DC (1u << 16)
#define CCR_IC (1u << 17)
#define CCSIDR_LAST_SET(ccsidr) (((ccsidr) >> 13) & 0x7FFFu)

/* The caches of a Cortex-M7 (its TRM, DDI 0489: 4 ways of lines of 32 bytes), for boards whose cflags say -DTQS_CACHES:
 * weights lie in a flash that is slower than the core. No other master reads or writes this memory, so nothing has to
 * be kept coherent. What they hold after a reset is undefined and thrown away, unless a boot ROM has them on already:
 * the stack may then be in no other place. */
static void start_caches(void) {
    SCB_ICIALLU = 0;
    if ((SCB_CCR & CCR_DC) == 0u) {
        SCB_CSSELR = 0; /* the data cache of level 1 */
        __asm volatile("dsb" ::: "memory");
        const uint32_t last = CCSIDR_LAST_SET(SCB_CCSIDR);
        for (uint32_t set = 0; set <= last; set++) {
            for (uint32_t way = 0; way < 4u; way++) {
                SCB_DCISW = (way << 30) | (set << 5);
            }
        }
    }
    __asm volatile("dsb\n\tisb" ::: "memory");
    SCB_CCR |= CCR_IC | CCR_DC;
    __asm volatile("dsb\n\tisb" ::: "memory");
}
#endif

void Reset_Handler(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    SCB_CPACR |= 0xFu << 20; /* full access to CP10 and CP11, before the first instruction of the FPU or of MVE */
    __asm volatile("dsb\n\tisb" ::: "memory");
#endif
#if !defined(__ARM_ARCH_6M__)
    SCB_VTOR = (uint32_t)(uintptr_t)tqs_vectors; /* after a boot loader or a debugger; ARMv6-M has it fixed */
#endif
#if defined(TQS_CACHES)
    start_caches();
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
