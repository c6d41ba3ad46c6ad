/* The byte stream of the Linux port: a serial device, a pseudo-terminal, or standard input and output. */
#ifndef TQS_LINUX_H
#define TQS_LINUX_H

/* Each returns false with errno set if it cannot. One of them first, then the functions of tqs_port.h. */
#include <stdbool.h>

/* Opens a serial device, raw, 8N1. baud: one that tqs_linux_knows_baud. */
bool tqs_linux_open_serial(const char *path, long baud);
bool tqs_linux_knows_baud(long baud);

/* Opens a new pseudo-terminal and says what path its other end has. */
bool tqs_linux_open_pty(const char **other_end);

/* Takes standard input and output, whatever they are: a connection by ssh, or pipes. Their end ends the program. */
bool tqs_linux_open_stdio(void);

/* Sleeps until a byte arrives. */
void tqs_linux_wait(void);

#endif
