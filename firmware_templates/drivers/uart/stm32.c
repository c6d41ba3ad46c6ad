/* A USART of an STM32F1 (RM0008, RM0041) or STM32F4 (RM0090), with the clocks and pins that it needs. The USARTs of
 * both have the same registers, clocks and pins differ: the board file's cflags say -DSTM32F1 or -DSTM32F4. One byte is
 * buffered each way. Polled: tqs_uart.h says why that is enough.
 *
 * The core and bus clocks are made from the internal oscillator, which needs no crystal and is exact enough for a UART.
 * Pins count through the ports: PA0 is 0, PB0 is 16. A wait for a clock is bounded, so that a part or an emulator
 * without it goes on with the clock that it has. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define USART_SR REGISTER(TQS_UART_BASE + 0x00u)
#define USART_DR REGISTER(TQS_UART_BASE + 0x04u)
#define USART_BRR REGISTER(TQS_UART_BASE + 0x08u)
#define USART_CR1 REGISTER(TQS_UART_BASE + 0x0Cu)

#define SR_RXNE (1u << 5)
#define SR_TC (1u << 6)
#define SR_TXE (1u << 7)
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR1_UE (1u << 13)

#define CR_PLLON (1u << 24)
#define CR_PLLRDY (1u << 25)
#define CFGR_SWS_MASK (3u << 2)
#define CFGR_SWS_PLL (2u << 2)
#define CFGR_SW_PLL 2u
#define WAIT_TRIES 100000u /* a PLL locks within 300 us */

#define TX_PORT (TQS_UART_TX_PIN / 16u)
#define RX_PORT (TQS_UART_RX_PIN / 16u)
#define TX_PIN (TQS_UART_TX_PIN % 16u)
#define RX_PIN (TQS_UART_RX_PIN % 16u)
#if TQS_UART_TX_PIN / 16u > 4u || TQS_UART_RX_PIN / 16u > 4u
#error "uart.tx_pin, uart.rx_pin: a USART has its pins on the ports A to E, 0 to 79"
#endif

#if defined(STM32F1) /* ---------------------------------------------------------------------------------------- */

/* RM0008 and RM0041, RCC: PLL = 4 MHz * 2 to 16. Flash: a wait state above 24 MHz, two above 48. APB1: 36 MHz. */
#define HSI_HZ 8000000u
#define PLL_INPUT_HZ (HSI_HZ / 2u)
#if TQS_CLOCK_HZ != HSI_HZ && (TQS_CLOCK_HZ % PLL_INPUT_HZ != 0u || TQS_CLOCK_HZ > 16u * PLL_INPUT_HZ)
#error "clock_hz: an STM32F1 makes 8, 12, 16 ... 64 MHz of its internal oscillator"
#endif
#define PLL_CFGR ((TQS_CLOCK_HZ / PLL_INPUT_HZ - 2u) << 18)
#define APB1_DIVISOR (TQS_CLOCK_HZ > 36000000u ? 2u : 1u)
#define APB2_DIVISOR 1u
#define PRESCALERS (APB1_DIVISOR == 2u ? 4u << 8 : 0u)
#define FLASH_WAIT_STATES (TQS_CLOCK_HZ > 48000000u ? 2u : TQS_CLOCK_HZ > 24000000u ? 1u : 0u)
#define FLASH_ACR_OPTIONS (1u << 4) /* prefetch, on after a reset */

#define FLASH_ACR REGISTER(0x40022000u)
#define RCC_CR REGISTER(0x40021000u)
#define RCC_CFGR REGISTER(0x40021004u)
#define RCC_APB2ENR REGISTER(0x40021018u)
#define RCC_APB1ENR REGISTER(0x4002101Cu)
#define USART1_BASE 0x40013800u
#define APB2ENR_USART1 (1u << 14)
#define APB2ENR_AFIO 1u
#define APB2ENR_GPIO(port) (4u << (port))
#define GPIO(port, offset) REGISTER(0x40010800u + 0x400u * (port) + (offset))
#define GPIO_CR(port, pin) GPIO(port, (pin) < 8u ? 0x00u : 0x04u)
#define GPIO_BSRR(port) GPIO(port, 0x10u)
#define MODE_ALTERNATE_PUSH_PULL 0xAu /* 2 MHz */
#define MODE_INPUT_PULLED 0x8u        /* up or down, as the output register says */

static void set_mode(uint32_t port, uint32_t pin, uint32_t mode) {
    const uint32_t shift = 4u * (pin % 8u);
    GPIO_CR(port, pin) = (GPIO_CR(port, pin) & ~(0xFu << shift)) | (mode << shift);
}

static void connect_pins(void) {
    RCC_APB2ENR |= APB2ENR_AFIO | APB2ENR_GPIO(TX_PORT) | APB2ENR_GPIO(RX_PORT);
    (void)RCC_APB2ENR; /* a clock runs two cycles after it was switched on */
    GPIO_BSRR(RX_PORT) = 1u << RX_PIN;
    set_mode(RX_PORT, RX_PIN, MODE_INPUT_PULLED);
    set_mode(TX_PORT, TX_PIN, MODE_ALTERNATE_PUSH_PULL);
}

#elif defined(STM32F4) /* -------------------------------------------------------------------------------------- */

/* RM0090, RCC: PLL = 1 MHz * N / 2, N from 100 to 432. Flash at 2.7 to 3.6 V: a wait state each 30 MHz. APB1: 42 MHz,
 * APB2: 84 MHz. The regulator's scale 1, which 168 MHz needs, is what it starts with. */
#define HSI_HZ 16000000u
#if TQS_CLOCK_HZ != HSI_HZ && (TQS_CLOCK_HZ % 500000u != 0u || TQS_CLOCK_HZ < 50000000u || TQS_CLOCK_HZ > 168000000u)
#error "clock_hz: an STM32F4 makes 16, or 50 to 168 MHz in halves of a MHz, of its internal oscillator"
#endif
#define PLL_PLLCFGR (0x04000000u | ((TQS_CLOCK_HZ / 500000u) << 6) | (HSI_HZ / 1000000u)) /* Q = 4, unused */
#define PLL_CFGR 0u
#define APB1_DIVISOR (TQS_CLOCK_HZ > 84000000u ? 4u : TQS_CLOCK_HZ > 42000000u ? 2u : 1u)
#define APB2_DIVISOR (TQS_CLOCK_HZ > 84000000u ? 2u : 1u)
#define PRESCALERS                                                                                                     \
    ((APB1_DIVISOR == 4u ? 5u << 10 : APB1_DIVISOR == 2u ? 4u << 10 : 0u) | (APB2_DIVISOR == 2u ? 4u << 13 : 0u))
#define FLASH_WAIT_STATES ((TQS_CLOCK_HZ - 1u) / 30000000u)
#define FLASH_ACR_OPTIONS (7u << 8) /* prefetch and both caches */

#define FLASH_ACR REGISTER(0x40023C00u)
#define RCC_CR REGISTER(0x40023800u)
#define RCC_PLLCFGR REGISTER(0x40023804u)
#define RCC_CFGR REGISTER(0x40023808u)
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB1ENR REGISTER(0x40023840u)
#define RCC_APB2ENR REGISTER(0x40023844u)
#define USART1_BASE 0x40011000u
#define APB2ENR_USART1 (1u << 4)
#define GPIO(port, offset) REGISTER(0x40020000u + 0x400u * (port) + (offset))
#define GPIO_MODER(port) GPIO(port, 0x00u)
#define GPIO_PUPDR(port) GPIO(port, 0x0Cu)
#define GPIO_AFR(port, pin) GPIO(port, (pin) < 8u ? 0x20u : 0x24u)
#define MODE_ALTERNATE 2u
#define PULL_UP 1u
#define AF_USART1_TO_3 7u

static void connect(uint32_t port, uint32_t pin) {
    const uint32_t shift = 4u * (pin % 8u);
    GPIO_AFR(port, pin) = (GPIO_AFR(port, pin) & ~(0xFu << shift)) | (AF_USART1_TO_3 << shift);
    GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << (2u * pin))) | (PULL_UP << (2u * pin));
    GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << (2u * pin))) | (MODE_ALTERNATE << (2u * pin));
}

static void connect_pins(void) {
    RCC_AHB1ENR |= (1u << TX_PORT) | (1u << RX_PORT);
    (void)RCC_AHB1ENR; /* a clock runs two cycles after it was switched on */
    connect(TX_PORT, TX_PIN);
    connect(RX_PORT, RX_PIN);
}

#else
#error "cflags: the driver stm32 needs -DSTM32F1 or -DSTM32F4"
#endif /* ------------------------------------------------------------------------------------------------------- */

#define USART2_BASE 0x40004400u
#define USART3_BASE 0x40004800u
#define APB1ENR_USART2 (1u << 17)
#define APB1ENR_USART3 (1u << 18)

#if TQS_UART_BASE == USART1_BASE
#define UART_CLOCK_HZ (TQS_CLOCK_HZ / APB2_DIVISOR)
#elif TQS_UART_BASE == USART2_BASE || TQS_UART_BASE == USART3_BASE
#define UART_CLOCK_HZ (TQS_CLOCK_HZ / APB1_DIVISOR)
#else
#error "uart.base: no USART1, 2 or 3 of this STM32"
#endif

#define DIVISOR(baud) ((UART_CLOCK_HZ + (baud) / 2u) / (baud))
#define DIVISOR_MIN 16u
#define DIVISOR_MAX 0xFFFFu
#if DIVISOR(TQS_UART_BAUD) < DIVISOR_MIN || DIVISOR(TQS_UART_BAUD) > DIVISOR_MAX
#error "uart.baud: a USART divides the clock of its bus by 16 to 65535"
#endif

#if TQS_CLOCK_HZ != HSI_HZ
static void wait_until(volatile const uint32_t *word, uint32_t mask, uint32_t value) {
    for (uint32_t i = 0; i < WAIT_TRIES && (*word & mask) != value; i++) {
    }
}
#endif

static void start_clock(void) {
#if TQS_CLOCK_HZ != HSI_HZ
#if FLASH_WAIT_STATES > 0u
    FLASH_ACR = FLASH_ACR_OPTIONS | FLASH_WAIT_STATES; /* before the clock becomes faster */
#endif
#if defined(STM32F4)
    RCC_PLLCFGR = PLL_PLLCFGR;
#endif
    RCC_CFGR = PLL_CFGR | PRESCALERS;
    RCC_CR |= CR_PLLON;
    wait_until(&RCC_CR, CR_PLLRDY, CR_PLLRDY);
    RCC_CFGR = PLL_CFGR | PRESCALERS | CFGR_SW_PLL;
    wait_until(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL);
#endif
}

void tqs_uart_init(void) {
    start_clock();
#if TQS_UART_BASE == USART1_BASE
    RCC_APB2ENR |= APB2ENR_USART1;
    (void)RCC_APB2ENR;
#else
    RCC_APB1ENR |= TQS_UART_BASE == USART2_BASE ? APB1ENR_USART2 : APB1ENR_USART3;
    (void)RCC_APB1ENR;
#endif
    USART_BRR = DIVISOR(TQS_UART_BAUD);
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE;
    connect_pins(); /* last: the line stays idle until the transmitter drives it */
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    const uint32_t divisor = DIVISOR(baud);
    return divisor < DIVISOR_MIN || divisor > DIVISOR_MAX ? 0u : UART_CLOCK_HZ / divisor;
}

void tqs_uart_set_baud(uint32_t baud) {
    while ((USART_SR & SR_TC) == 0u) {
    }
    USART_BRR = DIVISOR(baud);
}

int tqs_uart_rx(void) {
    if ((USART_SR & SR_RXNE) == 0u) {
        return -1;
    }
    return (int)(USART_DR & 0xFFu); /* after SR, this also clears an overrun */
}

void tqs_uart_tx(uint8_t byte) {
    while ((USART_SR & SR_TXE) == 0u) {
    }
    USART_DR = byte;
}
