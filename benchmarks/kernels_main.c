/*
 * RUNS evaluations of a model. On a microcontroller they are counted by SysTick and told through semihosting; SysTick
 * counts instructions exactly under QEMU's -icount, to within its own grain, which RUNS evaluations make small. On
 * Linux the emulator counts: the program evaluates only if it has an argument. On RISC-V it is such a program without a
 * C library.
 */
#if defined(__linux__)
#include <stdio.h>
#endif
#include <stdint.h>
#include <string.h>

#include "tqs_graph.h"

#if !defined(RUNS)
#define RUNS 16u
#endif
#define CODE_MASK (TQS_CODE_SIZE == 1u ? 0xFFu : 0xFFFFu)
#if defined(__riscv)
void start(const uint32_t *stack);
#elif !defined(__linux__)
#define SYST_CSR (*(volatile uint32_t *)0xE000E010u)
#define SYST_RVR (*(volatile uint32_t *)0xE000E014u)
#define SYST_CVR (*(volatile uint32_t *)0xE000E018u)

void SysTick_Handler(void);
int main(void);
#endif

static tqs_code_t x[TQS_GRAPH_INPUT];
static tqs_code_t y[TQS_CHANNELS];
static uint32_t arena[(TQS_ARENA_SIZE + 3u) / 4u];
#if TQS_STATE_SIZE > 0u
static tqs_code_t state[TQS_STATE_SIZE / TQS_CODE_SIZE];
#endif

static void run_graph(void) {
#if TQS_STATE_SIZE > 0u
    tqs_graph_run(x, state, y, (tqs_code_t *)arena);
#else
    tqs_graph_run(x, y, (tqs_code_t *)arena);
#endif
}

static void fill(void) {
    uint32_t i;

    for (i = 0; i < TQS_GRAPH_INPUT; i++) {
        x[i] = (int8_t)(i * 37u % 256u - 128u);
    }
#if TQS_STATE_SIZE > 0u
    tqs_graph_reset(state);
#endif
}

#if defined(__linux__)

int main(int count, char **arguments) {
    uint32_t i;

    (void)arguments;
    fill();
    for (i = 0; count > 1 && i < RUNS; i++) {
        run_graph();
    }
    for (i = 0; i < TQS_CHANNELS; i++) {
        printf("%u\n", (unsigned)((uint32_t)y[i] & CODE_MASK));
    }
    return 0;
}

#elif defined(__riscv)

static void call_linux(uint32_t number, uint32_t first, const void *second, uint32_t third) {
    register uint32_t a0 __asm__("a0") = first;
    register const void *a1 __asm__("a1") = second;
    register uint32_t a2 __asm__("a2") = third;
    register uint32_t a7 __asm__("a7") = number;

    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
}

static void tell(uint32_t number) {
    char text[12];
    uint32_t i = sizeof text;

    text[--i] = '\n';
    do {
        text[--i] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0u);
    call_linux(64, 1, text + i, (uint32_t)sizeof text - i); /* write */
}

/* stack: the number of arguments first, as Linux leaves it. */
__attribute__((used)) void start(const uint32_t *stack) {
    uint32_t i;

    fill();
    for (i = 0; *stack > 1u && i < RUNS; i++) {
        run_graph();
    }
    for (i = 0; i < TQS_CHANNELS; i++) {
        tell((uint32_t)y[i] & CODE_MASK);
    }
    call_linux(93, 0, NULL, 0); /* exit */
}

__asm__(".global _start\n_start:\n\t.option push\n\t.option norelax\n\tla gp, __global_pointer$\n\t.option pop\n\t"
        "mv a0, sp\n\tandi sp, sp, -16\n\tcall start\n");

#else

void SysTick_Handler(void) {}

static void call_host(uint32_t operation, const void *argument) {
    register uint32_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;

    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

/* Hexadecimal: to divide by 10 would bring libgcc's division into the images of cores without one. */
static void tell(uint32_t number) {
    char text[] = "0x00000000\n";
    uint32_t i;

    for (i = 0; i < 8u; i++) {
        text[9u - i] = "0123456789abcdef"[(number >> (4u * i)) & 0xFu];
    }
    call_host(4, text); /* SYS_WRITE0 */
}

/* Ticks of RUNS evaluations, or of as many empty rounds. */
static uint32_t count(int32_t evaluate) {
    uint32_t start;
    uint32_t run;

    SYST_CVR = 0;
    while (SYST_CVR == 0u) {
    }
    start = SYST_CVR;
    for (run = 0; run < RUNS; run++) {
        if (evaluate != 0) {
            run_graph();
        }
        __asm__ volatile("" ::: "memory");
    }
    return start - SYST_CVR;
}

int main(void) {
    uint32_t i;

    fill();
    SYST_RVR = 0xFFFFFFu;
    SYST_CSR = 5u; /* from the core's clock, without interrupts */
    tell(count(0));
    tell(count(1));
    for (i = 0; i < TQS_CHANNELS; i++) {
        tell((uint32_t)y[i] & CODE_MASK);
    }
    call_host(0x18, (const void *)0x20026u); /* SYS_EXIT, ADP_Stopped_ApplicationExit */
    for (;;) {
    }
}

#endif
