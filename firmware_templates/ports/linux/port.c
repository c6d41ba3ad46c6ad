#define _DEFAULT_SOURCE /* cfmakeraw, baud rates above 38400 */
#define _XOPEN_SOURCE 700

#include "linux.h"
#include "tqs_port.h"
#include "tqs_wire.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* Nobody listens: after this the bytes are thrown away, as on a wire without a receiver. */
#define WRITE_PATIENCE_MS 2000

static int stream = -1;        /* read from, and written to but for standard input and output */
static int stream_out = -1;    /* `stream`, or standard output */
static bool has_rate;          /* a serial device */
static long first_baud;        /* its */
static int pty_other_end = -1; /* held open: closing by the host must not end the stream */
static uint8_t input[4096];
static size_t input_count;
static size_t input_next;
static uint8_t output[4096];
static size_t output_count;
static struct timespec start;

static const struct {
    long baud;
    speed_t speed;
} speeds[] = {
    {9600, B9600},     {19200, B19200},   {38400, B38400},   {57600, B57600},     {115200, B115200},
    {230400, B230400}, {460800, B460800}, {921600, B921600}, {1000000, B1000000},
};

static speed_t find_speed(long baud) {
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++) {
        if (speeds[i].baud == baud) {
            return speeds[i].speed;
        }
    }
    return B0;
}

bool tqs_linux_knows_baud(long baud) {
    return find_speed(baud) != B0;
}

/* baud 0 leaves the rate alone. */
static bool make_raw(int descriptor, long baud) {
    struct termios settings;
    if (tcgetattr(descriptor, &settings) != 0) {
        return false;
    }
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~(tcflag_t)(CSTOPB | CRTSCTS);
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
    if (baud != 0 && (cfsetispeed(&settings, find_speed(baud)) != 0 || cfsetospeed(&settings, find_speed(baud)) != 0)) {
        return false;
    }
    return tcsetattr(descriptor, TCSANOW, &settings) == 0;
}

static bool start_clock(void) {
    return clock_gettime(CLOCK_MONOTONIC, &start) == 0;
}

bool tqs_linux_open_serial(const char *path, long baud) {
    /* Not blocking from the start: opening a device without CLOCAL would wait for a modem. */
    stream = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    stream_out = stream;
    has_rate = true;
    first_baud = baud;
    return stream >= 0 && make_raw(stream, baud) && tcflush(stream, TCIOFLUSH) == 0 && start_clock();
}

bool tqs_linux_open_pty(const char **other_end) {
    stream = posix_openpt(O_RDWR | O_NOCTTY);
    stream_out = stream;
    if (stream < 0 || grantpt(stream) != 0 || unlockpt(stream) != 0) {
        return false;
    }
    *other_end = ptsname(stream);
    if (*other_end == NULL) {
        return false;
    }
    pty_other_end = open(*other_end, O_RDWR | O_NOCTTY);
    return pty_other_end >= 0 && make_raw(pty_other_end, 0) && fcntl(stream, F_SETFL, O_NONBLOCK) == 0 && start_clock();
}

static bool set_nonblocking(int descriptor) {
    const int flags = fcntl(descriptor, F_GETFL);
    return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0;
}

bool tqs_linux_open_stdio(void) {
    stream = STDIN_FILENO;
    stream_out = STDOUT_FILENO;
    return set_nonblocking(stream) && set_nonblocking(stream_out) && start_clock();
}

static void lost(const char *what) {
    if (stream == STDIN_FILENO) {
        exit(0); /* whoever asked has what was wanted */
    }
    fprintf(stderr, "edge-tqs: the serial port is gone: %s\n", what);
    exit(1);
}

/* Waits for `events` or `timeout_ms` (-1: for ever). False: the time is over. */
static bool wait_for(short events, int timeout_ms) {
    struct pollfd poll_stream = {.fd = events == POLLOUT ? stream_out : stream, .events = events, .revents = 0};
    for (;;) {
        const int ready = poll(&poll_stream, 1, timeout_ms);
        if (ready < 0 && errno == EINTR) {
            continue;
        }
        if (ready < 0) {
            lost(strerror(errno));
        }
        if (ready > 0 && (poll_stream.revents & events) == 0) {
            lost("hung up");
        }
        return ready > 0;
    }
}

void tqs_linux_wait(void) {
    if (input_next == input_count) {
        (void)wait_for(POLLIN, -1);
    }
}

int tqs_port_rx(void) {
    if (input_next == input_count) {
        const ssize_t got = read(stream, input, sizeof input);
        if (got == 0) {
            lost("end of file");
        }
        if (got < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
                lost(strerror(errno));
            }
            return -1;
        }
        input_count = (size_t)got;
        input_next = 0;
    }
    return input[input_next++];
}

void tqs_port_flush(void) {
    size_t sent = 0;
    while (sent < output_count) {
        const ssize_t written = write(stream_out, output + sent, output_count - sent);
        if (written > 0) {
            sent += (size_t)written;
        } else if (written < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            lost(strerror(errno));
        } else if (!wait_for(POLLOUT, WRITE_PATIENCE_MS)) {
            break;
        }
    }
    output_count = 0;
}

void tqs_port_tx(uint8_t byte) {
    if (output_count == sizeof output) {
        tqs_port_flush();
    }
    output[output_count++] = byte;
}

uint32_t tqs_port_nearest_baud(uint32_t baud) {
    return has_rate && tqs_linux_knows_baud((long)baud) ? baud : 0u;
}

void tqs_port_set_baud(uint32_t baud) {
    if (!has_rate) {
        return;
    }
    if (tcdrain(stream) != 0 || !make_raw(stream, baud != 0u ? (long)baud : first_baud)) {
        lost(strerror(errno));
    }
}

uint32_t tqs_port_ticks(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* it worked at the start */
    const int64_t seconds = (int64_t)now.tv_sec - (int64_t)start.tv_sec;
    return (uint32_t)(uint64_t)(seconds * 1000000000 + ((int64_t)now.tv_nsec - (int64_t)start.tv_nsec));
}

uint8_t tqs_port_counter(void) {
    return TQS_COUNTER_MONOTONIC;
}

uint32_t tqs_port_counter_hz(void) {
    return 1000000000u;
}

void tqs_port_memory(tqs_port_memory_t *memory) {
    memory->stack_size = TQS_PORT_UNKNOWN;
    memory->stack_peak = TQS_PORT_UNKNOWN;
    memory->ram_static = TQS_PORT_UNKNOWN;
}
