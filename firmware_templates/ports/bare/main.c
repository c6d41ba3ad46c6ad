#include "tqs_bare.h"
#include "tqs_server.h"
#include "tqs_uart.h"

int main(void) {
    tqs_uart_init();
    tqs_start_counter();
    tqs_server_init();
    for (;;) {
        (void)tqs_server_poll();
    }
}
