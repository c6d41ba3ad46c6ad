/* The device's side of PROTOCOL.md: one model, one byte stream. All memory is static. */
#ifndef TQS_SERVER_H
#define TQS_SERVER_H

#include <stdbool.h>

/* Call once, after the port works. */
void tqs_server_init(void);

/* Takes one received byte, if there is one, and answers the request that it completes. False if there was none: the
 * caller may then sleep until a byte arrives. */
bool tqs_server_poll(void);

#endif
