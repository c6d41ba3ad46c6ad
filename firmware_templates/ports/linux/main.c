#define _XOPEN_SOURCE 700

#include "board.h"
#include "linux.h"
#include "tqs_model.h"
#include "tqs_server.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_BAUD 115200

typedef struct {
    const char *port; /* NULL: a pseudo-terminal */
    long baud;
    bool stdio; /* neither of them */
} options_t;

static const char usage[] = "usage: firmware.elf --port DEVICE [--baud RATE] | --pty | --stdio\n"
                            "\n"
                            "Serves the forecaster " TQS_MODEL_NAME " (board " TQS_BOARD_NAME ") until SIGTERM.\n"
                            "\n"
                            "  --port DEVICE  a serial device, such as /dev/serial0\n"
                            "  --baud RATE    its rate, 9600 to 1000000; 115200 if not given\n"
                            "  --pty          a new pseudo-terminal; prints one line: pty /dev/pts/N\n"
                            "  --stdio        standard input and output, until the input ends\n"
                            "  --help         this text\n";

static void refuse(const char *what, const char *which) {
    fprintf(stderr, "edge-tqs: %s %s (try --help)\n", what, which);
    exit(2);
}

static long parse_baud(const char *text) {
    char *end = NULL;
    const long baud = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || !tqs_linux_knows_baud(baud)) {
        refuse("no such baud rate:", text);
    }
    return baud;
}

static options_t parse_options(int count, char **arguments) {
    options_t options = {NULL, DEFAULT_BAUD, false};
    int streams = 0;
    for (int i = 1; i < count; i++) {
        const char *const option = arguments[i];
        if (strcmp(option, "--help") == 0) {
            (void)fputs(usage, stdout);
            exit(0);
        }
        if (strcmp(option, "--pty") == 0) {
            streams++;
        } else if (strcmp(option, "--stdio") == 0) {
            options.stdio = true;
            streams++;
        } else if (strcmp(option, "--port") == 0 || strcmp(option, "--baud") == 0) {
            if (i + 1 == count) {
                refuse("no value after", option);
            }
            i++;
            if (option[2] == 'p') {
                options.port = arguments[i];
                streams++;
            } else {
                options.baud = parse_baud(arguments[i]);
            }
        } else {
            refuse("unknown argument", option);
        }
    }
    if (streams != 1) {
        refuse("give one of", "--port, --pty and --stdio");
    }
    return options;
}

static void finish(int signal_number) {
    (void)signal_number;
    _exit(0); /* safe in a handler; nothing is left to be written */
}

int main(int count, char **arguments) {
    const options_t options = parse_options(count, arguments);
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = finish;
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGINT, &action, NULL);
    if (options.port != NULL) {
        if (!tqs_linux_open_serial(options.port, options.baud)) {
            fprintf(stderr, "edge-tqs: cannot open the serial device %s: %s\n", options.port, strerror(errno));
            return 2;
        }
    } else if (options.stdio) {
        if (!tqs_linux_open_stdio()) {
            fprintf(stderr, "edge-tqs: standard input and output cannot be used: %s\n", strerror(errno));
            return 2;
        }
    } else {
        const char *other_end = NULL;
        if (!tqs_linux_open_pty(&other_end)) {
            fprintf(stderr, "edge-tqs: cannot open a pseudo-terminal: %s\n", strerror(errno));
            return 2;
        }
        printf("pty %s\n", other_end);
        (void)fflush(stdout);
    }
    tqs_server_init();
    for (;;) {
        if (!tqs_server_poll()) {
            tqs_linux_wait();
        }
    }
}
