/* UART0 of an ESP32-C3 (ESP32-C3 Technical Reference Manual, "TRM", 26), which is that of an ESP32-S3 too (ESP32-S3
 * Technical Reference Manual, "TRM-S3", 26); where the rest of the chips differs, the board file's cflags say -DESP32C3
 * or -DESP32S3. The pads are its own, U0TXD and U0RXD. Its FIFOs hold 128 bytes each way. Polled: tqs_uart.h says why
 * that is enough. The boot ROM writes its messages to it before, at 115200 baud. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART_FIFO REGISTER(TQS_UART_BASE + 0x00u)
#define UART_CLKDIV REGISTER(TQS_UART_BASE + 0x14u)
#define UART_STATUS REGISTER(TQS_UART_BASE + 0x1Cu)
#define UART_CONF0 REGISTER(TQS_UART_BASE + 0x20u)
#define UART_FSM_STATUS REGISTER(TQS_UART_BASE + 0x6Cu)
#define UART_CLK_CONF REGISTER(TQS_UART_BASE + 0x78u)
#define UART_ID REGISTER(TQS_UART_BASE + 0x80u)

#define RX_COUNT(status) ((status) & 0x3FFu)
#define TX_COUNT(status) (((status) >> 16) & 0x3FFu)
#define FIFO_BYTES 128u
#define FSM_TX_MASK (0xFu << 4)                        /* 0: idle */
#define CONF0_8N1 ((1u << 28) | (3u << 2) | (1u << 4)) /* and the clock of the FIFOs' memory */
#define CLK_CONF_XTAL (3u << 20)
#define CLK_CONF_ENABLE ((1u << 22) | (1u << 24) | (1u << 25)) /* SCLK_EN, TX_SCLK_EN, RX_SCLK_EN */
#define CLK_CONF_RESET (1u << 23)
#define ID_AUTO_UPDATE (1u << 30)
#define ID_UPDATE (1u << 31)
#define UPDATE_TRIES 1000u /* some cycles of both clocks; bounded for an emulator that has no such bit */

#if defined(ESP32C3)
#define SYSTEM_PERIP_CLK_EN0 REGISTER(0x600C0010u) /* TRM 16, SYSREG */
#define SYSTEM_PERIP_RST_EN0 REGISTER(0x600C0018u)
#define TX_GPIO 21u
#define RX_GPIO 20u
#elif defined(ESP32S3)
#define SYSTEM_PERIP_CLK_EN0 REGISTER(0x600C0018u) /* TRM-S3 17, SYSREG */
#define SYSTEM_PERIP_RST_EN0 REGISTER(0x600C0020u)
#define TX_GPIO 43u
#define RX_GPIO 44u
#else
#error "the driver esp32 is told its chip by cflags: -DESP32C3 or -DESP32S3"
#endif
#define PERIP_UART0 (1u << 2)
#define PERIP_UART_MEMORY (1u << 24)

/* TRM 5, TRM-S3 6, IO MUX */
#define IO_MUX_GPIO(number) REGISTER(0x60009004u + 4u * (number))
#define PAD_OWN_FUNCTION 0x0B00u /* function 0, 20 mA, input, pulled up */

#define UART0_BASE 0x60000000u
#if TQS_UART_BASE != UART0_BASE
#error "uart.base: the driver esp32 is for UART0, 0x60000000"
#endif

/* TRM 26, Baud Rate Generation: crystal / baud, in sixteenths */
#define XTAL_HZ 40000000u
#define DIVISOR_16(baud) ((XTAL_HZ * 16u + (baud) / 2u) / (baud))
#define DIVISOR_16_MIN 256u
#define DIVISOR_16_MAX 0xFFFFu
#if DIVISOR_16(TQS_UART_BAUD) < DIVISOR_16_MIN || DIVISOR_16(TQS_UART_BAUD) > DIVISOR_16_MAX
#error "uart.baud: UART0 divides 40 MHz by 16 to 4095"
#endif

/* The registers' values go over to the UART's own clock. */
static void update(void) {
    UART_ID |= ID_UPDATE;
    for (uint32_t i = 0; i < UPDATE_TRIES && (UART_ID & ID_UPDATE) != 0u; i++) {
    }
}

static void write_divisor(uint32_t sixteenths) {
    UART_CLKDIV = (sixteenths >> 4) | ((sixteenths & 0xFu) << 20);
}

/* In the order of TRM 26, Programming Procedures. */
void tqs_uart_init(void) {
    SYSTEM_PERIP_CLK_EN0 |= PERIP_UART0 | PERIP_UART_MEMORY;
    SYSTEM_PERIP_RST_EN0 &= ~PERIP_UART0;
    UART_CLK_CONF |= CLK_CONF_RESET;
    SYSTEM_PERIP_RST_EN0 |= PERIP_UART0;
    SYSTEM_PERIP_RST_EN0 &= ~PERIP_UART0;
    UART_CLK_CONF = CLK_CONF_XTAL | CLK_CONF_ENABLE; /* divided by 1, out of reset */
    UART_ID &= ~ID_AUTO_UPDATE;
    write_divisor(DIVISOR_16(TQS_UART_BAUD));
    UART_CONF0 = CONF0_8N1;
    update();
    IO_MUX_GPIO(TX_GPIO) = PAD_OWN_FUNCTION;
    IO_MUX_GPIO(RX_GPIO) = PAD_OWN_FUNCTION;
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    const uint32_t sixteenths = DIVISOR_16(baud);
    return sixteenths < DIVISOR_16_MIN || sixteenths > DIVISOR_16_MAX ? 0u : XTAL_HZ * 16u / sixteenths;
}

void tqs_uart_set_baud(uint32_t baud) {
    while (TX_COUNT(UART_STATUS) > 0u || (UART_FSM_STATUS & FSM_TX_MASK) != 0u) {
    }
    write_divisor(DIVISOR_16(baud));
    update();
}

int tqs_uart_rx(void) {
    if (RX_COUNT(UART_STATUS) == 0u) {
        return -1;
    }
    return (int)(UART_FIFO & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    while (TX_COUNT(UART_STATUS) >= FIFO_BYTES - 1u) {
    }
    UART_FIFO = byte;
}
