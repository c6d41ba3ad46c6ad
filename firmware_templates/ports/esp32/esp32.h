/* Registers of the chip, which the board file's cflags tell: -DESP32C3 (ESP32-C3 Technical Reference Manual, "TRM") or
 * -DESP32S3 (ESP32-S3 Technical Reference Manual, "TRM-S3"; Espressif's esp32s3.svd). */
#ifndef TQS_ESP32_H
#define TQS_ESP32_H

#include "tqs_bare.h"

/* TRM 9 (RTC_CNTL), 11 (TIMG), 12 (WDT) and 16 (SYSREG) */
#if defined(ESP32C3)
#define RTC_WDTCONFIG0 TQS_REGISTER(0x60008090u)
#define RTC_WDTWPROTECT TQS_REGISTER(0x600080A8u)
#define RTC_SWD_CONF TQS_REGISTER(0x600080ACu)
#define RTC_SWD_WPROTECT TQS_REGISTER(0x600080B0u)
#define TIMG_WDT_CONF_UPDATE (1u << 22)
#define SYSTEM_SYSCLK_CONF TQS_REGISTER(0x600C0058u)
#elif defined(ESP32S3)
#define RTC_WDTCONFIG0 TQS_REGISTER(0x60008098u)
#define RTC_WDTWPROTECT TQS_REGISTER(0x600080B0u)
#define RTC_SWD_CONF TQS_REGISTER(0x600080B4u)
#define RTC_SWD_WPROTECT TQS_REGISTER(0x600080B8u)
#define TIMG_WDT_CONF_UPDATE 0u /* it has no such bit */
#define SYSTEM_SYSCLK_CONF TQS_REGISTER(0x600C0060u)
#else
#error "the port esp32 is told its chip by cflags: -DESP32C3 or -DESP32S3"
#endif
#define TIMG0_WDTCONFIG0 TQS_REGISTER(0x6001F048u)
#define TIMG0_WDTWPROTECT TQS_REGISTER(0x6001F064u)

#endif
