/*
 * The validation server in an application: `edge-tqs validate BUILD --port PORT` then checks this very firmware, step
 * by step. The application gives it two functions, for the wire that the computer is at:
 *
 *     int tqs_port_rx(void)            { the next received byte, or -1; never waits }
 *     void tqs_port_tx(uint8_t byte)   { sends one byte; may wait }
 *
 *     tqs_validate_begin();
 *     for (;;) { while (tqs_validate_poll()) {} ... }
 *
 * It holds a model and buffers of its own, static ones; leave it out of what is shipped. Times and memory are not
 * reported.
 */
#ifndef TQS_VALIDATE_H
#define TQS_VALIDATE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Call once, when the wire works. */
void tqs_validate_begin(void);

/* Takes one received byte, if there is one, and answers the request that it completes. False if there was none. */
bool tqs_validate_poll(void);

/* The application's. */
int tqs_port_rx(void);
void tqs_port_tx(uint8_t byte);

#ifdef __cplusplus
}
#endif

#endif
