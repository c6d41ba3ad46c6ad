/* A USART of an STM32H743 or of another part of RM0433, with the clocks and pins that it needs. Its registers are not
 * those of stm32.c's parts. Polled: tqs_uart.h says why that is enough.
 *
 * The core's clock is the internal oscillator's 64 MHz, as after a reset, or PLL1's, made of it: no crystal is needed.
 * The USART counts the oscillator itself, which is exact enough for it, whatever the core runs at. Pins count through
 * the ports: PA0 is 0, PB0 is 16. A wait for a clock or a voltage is bounded. */
#include "board.h"
#include "tqs_uart.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define USART_CR1 REGISTER(TQS_UART_BASE + 0x00u)
#define USART_CR3 REGISTER(TQS_UART_BASE + 0x08u)
#define USART_BRR REGISTER(TQS_UART_BASE + 0x0Cu)
#define USART_ISR REGISTER(TQS_UART_BASE + 0x1Cu)
#define USART_RDR REGISTER(TQS_UART_BASE + 0x24u)
#define USART_TDR REGISTER(TQS_UART_BASE + 0x28u)

#define CR1_UE 1u
#define CR1_RE (1u << 2)
#define CR1_TE (1u << 3)
#define CR3_OVRDIS (1u << 12)
#define ISR_RXNE (1u << 5)
#define ISR_TC (1u << 6)
#define ISR_TXE (1u << 7)

#define RCC_CR REGISTER(0x58024400u)
#define RCC_CFGR REGISTER(0x58024410u)
#define RCC_D1CFGR REGISTER(0x58024418u)
#define RCC_D2CFGR REGISTER(0x5802441Cu)
#define RCC_D3CFGR REGISTER(0x58024420u)
#define RCC_PLLCKSELR REGISTER(0x58024428u)
#define RCC_PLLCFGR REGISTER(0x5802442Cu)
#define RCC_PLL1DIVR REGISTER(0x58024430u)
#define RCC_D2CCIP2R REGISTER(0x58024454u)
#define RCC_AHB4ENR REGISTER(0x580244E0u)
#define RCC_APB1LENR REGISTER(0x580244E8u)
#define PWR_CSR1 REGISTER(0x58024804u)
#define PWR_CR3 REGISTER(0x5802480Cu)
#define PWR_D3CR REGISTER(0x58024818u)
#define FLASH_ACR REGISTER(0x52002000u)

#define CR_PLL1ON (1u << 24)
#define CR_PLL1RDY (1u << 25)
#define CFGR_SW_PLL1 3u
#define CFGR_SWS_MASK (7u << 3)
#define CFGR_SWS_PLL1 (3u << 3)
#define D2CCIP2R_USART234578_MASK 7u
#define D2CCIP2R_USART234578_HSI 3u
#define CR3_BYPASS 1u
#define CR3_LDOEN (1u << 1)
#define CR3_SCUEN (1u << 2)
#define CSR1_ACTVOSRDY (1u << 13)
#define D3CR_VOSRDY (1u << 13)
#define D3CR_VOS_1 (3u << 14)
#define WAIT_TRIES 100000u /* a PLL locks within 150 us */

/* RM0433, RCC: PLL1 = 16 MHz * N / 2 of a VCO from 192 to 836 MHz; at the voltage scale 1 the core runs at up to
 * 400 MHz, the buses at half of it and the peripherals at a quarter. FLASH: 2 wait states at a bus of 185 to 210 MHz,
 * and so enough below. */
#define HSI_HZ 64000000u
#define PLL_STEP_HZ 8000000u
#if TQS_CLOCK_HZ != HSI_HZ &&                                                                                          \
    (TQS_CLOCK_HZ % PLL_STEP_HZ != 0u || TQS_CLOCK_HZ < 96000000u || TQS_CLOCK_HZ > 400000000u)
#error "clock_hz: an STM32H7 makes 64, or 96 to 400 MHz in steps of 8 MHz, of its internal oscillator"
#endif
#define PLLCKSELR_VALUE (4u << 4)              /* HSI, divided by 4 */
#define PLLCFGR_VALUE ((1u << 16) | (3u << 2)) /* output P; an input of 8 to 16 MHz */
#define PLL1DIVR_VALUE ((TQS_CLOCK_HZ / PLL_STEP_HZ - 1u) | (1u << 9))
#define D1CFGR_VALUE ((4u << 4) | 8u)        /* buses: a half; APB3: a half of that */
#define D2CFGR_VALUE ((4u << 8) | (4u << 4)) /* APB1, APB2 */
#define D3CFGR_VALUE (4u << 4)               /* APB4 */
#define FLASH_ACR_VALUE ((2u << 4) | 2u)

#define USART2_BASE 0x40004400u
#define USART3_BASE 0x40004800u
#if TQS_UART_BASE != USART2_BASE && TQS_UART_BASE != USART3_BASE
#error "uart.base: the driver stm32h7 knows USART2 and USART3"
#endif
#define APB1LENR_USART (TQS_UART_BASE == USART2_BASE ? 1u << 17 : 1u << 18)
#define AF_USART 7u

#if TQS_UART_TX_PIN / 16u > 10u || TQS_UART_RX_PIN / 16u > 10u
#error "uart.tx_pin, uart.rx_pin: an STM32H7 has the ports A to K, 0 to 175"
#endif
#define GPIO(port, offset) REGISTER(0x58020000u + 0x400u * (port) + (offset))
#define GPIO_MODER(port) GPIO(port, 0x00u)
#define GPIO_PUPDR(port) GPIO(port, 0x0Cu)
#define GPIO_AFR(port, pin) GPIO(port, (pin) < 8u ? 0x20u : 0x24u)
#define MODE_ALTERNATE 2u
#define PULL_UP 1u

#define DIVISOR(baud) ((HSI_HZ + (baud) / 2u) / (baud))
#define DIVISOR_MIN 16u
#define DIVISOR_MAX 0xFFFFu
#if DIVISOR(TQS_UART_BAUD) < DIVISOR_MIN || DIVISOR(TQS_UART_BAUD) > DIVISOR_MAX
#error "uart.baud: the USART divides 64 MHz by 16 to 65535"
#endif

static void connect(uint32_t number) {
    const uint32_t port = number / 16u;
    const uint32_t pin = number % 16u;
    const uint32_t shift = 4u * (pin % 8u);
    RCC_AHB4ENR |= 1u << port;
    (void)RCC_AHB4ENR; /* a clock runs two cycles after it was switched on */
    GPIO_AFR(port, pin) = (GPIO_AFR(port, pin) & ~(0xFu << shift)) | (AF_USART << shift);
    GPIO_PUPDR(port) = (GPIO_PUPDR(port) & ~(3u << (2u * pin))) | (PULL_UP << (2u * pin));
    GPIO_MODER(port) = (GPIO_MODER(port) & ~(3u << (2u * pin))) | (MODE_ALTERNATE << (2u * pin));
}

#if TQS_CLOCK_HZ != HSI_HZ
static void wait_until(volatile const uint32_t *word, uint32_t mask, uint32_t value) {
    for (uint32_t i = 0; i < WAIT_TRIES && (*word & mask) != value; i++) {
    }
}
#endif

static void start_clock(void) {
#if TQS_CLOCK_HZ != HSI_HZ
    /* The supply has to be chosen, once, before its voltage can be: the regulator, as the Nucleo is wired. */
    PWR_CR3 = (PWR_CR3 & ~(CR3_BYPASS | CR3_SCUEN)) | CR3_LDOEN;
    wait_until(&PWR_CSR1, CSR1_ACTVOSRDY, CSR1_ACTVOSRDY);
    PWR_D3CR |= D3CR_VOS_1;
    wait_until(&PWR_D3CR, D3CR_VOSRDY, D3CR_VOSRDY);
    FLASH_ACR = FLASH_ACR_VALUE;
    RCC_D1CFGR = D1CFGR_VALUE; /* the buses, before the clock becomes faster */
    RCC_D2CFGR = D2CFGR_VALUE;
    RCC_D3CFGR = D3CFGR_VALUE;
    RCC_PLLCKSELR = PLLCKSELR_VALUE;
    RCC_PLLCFGR = PLLCFGR_VALUE;
    RCC_PLL1DIVR = PLL1DIVR_VALUE;
    RCC_CR |= CR_PLL1ON;
    wait_until(&RCC_CR, CR_PLL1RDY, CR_PLL1RDY);
    RCC_CFGR = CFGR_SW_PLL1;
    wait_until(&RCC_CFGR, CFGR_SWS_MASK, CFGR_SWS_PLL1);
#endif
}

void tqs_uart_init(void) {
    start_clock();
    RCC_D2CCIP2R = (RCC_D2CCIP2R & ~D2CCIP2R_USART234578_MASK) | D2CCIP2R_USART234578_HSI;
    RCC_APB1LENR |= APB1LENR_USART;
    (void)RCC_APB1LENR;
    USART_BRR = DIVISOR(TQS_UART_BAUD);
    USART_CR3 =
        CR3_OVRDIS; /* a byte that comes too early replaces the last; else nothing comes until a flag is cleared */
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE;
    connect(TQS_UART_TX_PIN); /* last: the line stays idle until the transmitter drives it */
    connect(TQS_UART_RX_PIN);
}

uint32_t tqs_uart_nearest_baud(uint32_t baud) {
    const uint32_t divisor = DIVISOR(baud);
    return divisor < DIVISOR_MIN || divisor > DIVISOR_MAX ? 0u : HSI_HZ / divisor;
}

void tqs_uart_set_baud(uint32_t baud) {
    while ((USART_ISR & ISR_TC) == 0u) {
    }
    USART_CR1 = 0; /* BRR can be written only while the USART is off */
    USART_BRR = DIVISOR(baud);
    USART_CR1 = CR1_UE | CR1_TE | CR1_RE;
}

int tqs_uart_rx(void) {
    if ((USART_ISR & ISR_RXNE) == 0u) {
        return -1;
    }
    return (int)(USART_RDR & 0xFFu);
}

void tqs_uart_tx(uint8_t byte) {
    while ((USART_ISR & ISR_TXE) == 0u) {
    }
    USART_TDR = byte;
}
