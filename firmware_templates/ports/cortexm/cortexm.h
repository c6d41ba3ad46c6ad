/* What startup.c and port.c share: system registers (Armv7-M Architecture Reference Manual, DDI 0403E, B3.2, B3.3,
 * C1.8). */
#ifndef TQS_CORTEXM_H
#define TQS_CORTEXM_H

#include "tqs_bare.h"

#define SYST_CSR TQS_REGISTER(0xE000E010u)
#define SYST_RVR TQS_REGISTER(0xE000E014u)
#define SYST_CVR TQS_REGISTER(0xE000E018u)
#define SCB_ICSR TQS_REGISTER(0xE000ED04u)
#define SCB_VTOR TQS_REGISTER(0xE000ED08u)
#define SCB_CPACR TQS_REGISTER(0xE000ED88u)
#define DEMCR TQS_REGISTER(0xE000EDFCu)
#define DWT_CTRL TQS_REGISTER(0xE0001000u)
#define DWT_CYCCNT TQS_REGISTER(0xE0001004u)
#define DWT_LAR TQS_REGISTER(0xE0001FB0u)

void SysTick_Handler(void);

#endif
