/* What startup.c and port.c share: registers of the ESP32-C3 (ESP32-C3 Technical Reference Manual, "TRM") and the stack
 * as link.ld lays it out. */
#ifndef TQS_ESP32C3_H
#define TQS_ESP32C3_H

#include <stdint.h>

#define TQS_REGISTER(address) (*(volatile uint32_t *)(address))

/* TRM 9 (RTC_CNTL), 11 (TIMG) and 12 (WDT) */
#define RTC_WDTCONFIG0 TQS_REGISTER(0x60008090u)
#define RTC_WDTWPROTECT TQS_REGISTER(0x600080A8u)
#define RTC_SWD_CONF TQS_REGISTER(0x600080ACu)
#define RTC_SWD_WPROTECT TQS_REGISTER(0x600080B0u)
#define TIMG0_WDTCONFIG0 TQS_REGISTER(0x6001F048u)
#define TIMG0_WDTWPROTECT TQS_REGISTER(0x6001F064u)
/* TRM 16 (SYSREG) */
#define SYSTEM_SYSCLK_CONF TQS_REGISTER(0x600C0058u)

#define TQS_STACK_PAINT 0xA5A5A5A5u

extern uint32_t tqs_stack_bottom[];
extern uint32_t tqs_stack_top[];
extern uint32_t tqs_static_start[]; /* .data and .bss */
extern uint32_t tqs_static_end[];

void tqs_esp32c3_start_counter(void);

#endif
