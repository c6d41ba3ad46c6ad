/*
 * Feeds the firmware's frame parser and server hostile input, under the sanitizers that it is compiled with.
 *
 *     server SEED COUNT [FILE...]
 *
 * Serves each FILE as it is, then COUNT inputs drawn from SEED: noise, frames of every type and length, damaged frames,
 * damaged FILEs. The same arguments give the same inputs. After each input the server must have taken every byte in a
 * bounded number of polls, and every eighth time a HELLO must be answered by one whole HELLO_REPLY. A finding is
 * printed with the input as hexadecimal digits, and ends the process.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "tqs_crc32.h"
#include "tqs_model.h"
#include "tqs_port.h"
#include "tqs_server.h"
#include "tqs_wire.h"

enum {
    LONGEST = 4096, /* bytes of an input */
    FILES = 256,    /* at most */
    PATIENCE = 24,  /* calls of tqs_port_rx without a byte, then one comes: a forecast goes on until one does */
    MOST_SENT = 1
        << 20 /* bytes that one input may be answered with: a hundred thousand frames are a loop without end */
};

static uint8_t input[LONGEST];
static uint32_t length;
static uint32_t taken;
static uint32_t idle;
static uint32_t sent;
static uint8_t answer[1024]; /* the frame that is being sent, encoded */
static uint32_t answered;
static uint8_t last_answer;              /* type of the last frame that was sent whole */
static unsigned long long answers[256];  /* by type */
static unsigned long long refusals[256]; /* by the code of the NAK */
static unsigned long long rates[2];      /* changes back to the first rate, and to another */
static bool raised;
static unsigned long long number;

static uint8_t *files[FILES];
static uint32_t file_sizes[FILES];
static uint32_t file_count;

static void print_input(void) {
    fprintf(stderr, "input %llu: ", number);
    for (uint32_t i = 0; i < length; i++) {
        fprintf(stderr, "%02x", (unsigned)input[i]);
    }
    fprintf(stderr, "\n");
}

/* How sanitizers end the process when abort_on_error is set. */
static void aborted(int signal_number) {
    (void)signal_number;
    print_input();
    _Exit(4);
}

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    print_input();
    exit(3);
}

int tqs_port_rx(void) {
    if (taken < length) {
        return input[taken++];
    }
    idle++;
    return idle % PATIENCE == 0u ? 0 : -1;
}

void tqs_port_tx(uint8_t byte) {
    sent++;
    if (sent > MOST_SENT) {
        fail("the server sends without end");
    }
    if (byte != 0u) {
        if (answered == sizeof answer) {
            fail("an answer is longer than any frame");
        }
        answer[answered++] = byte;
        return;
    }
    const int32_t size = tqs_cobs_decode(answer, answered);
    answered = 0;
    if (size < 8 || tqs_crc32(0, answer, (uint32_t)size - 4u) != tqs_read_u32(&answer[size - 4])) {
        fail("an answer is no frame");
    }
    last_answer = answer[0];
    answers[answer[0]]++;
    if (answer[0] == TQS_MSG_NAK) {
        refusals[answer[4]]++;
    }
}

void tqs_port_flush(void) {}

uint32_t tqs_port_nearest_baud(uint32_t baud) {
    if (baud == 0u) {
        fail("no hardware is asked for a rate of 0");
    }
    return baud < 1000000u ? baud - baud % 100u : 0u;
}

void tqs_port_set_baud(uint32_t baud) {
    if (answered != 0u) {
        fail("the rate changes in the middle of a frame");
    }
    raised = baud != 0u;
    rates[raised]++;
}

uint32_t tqs_port_ticks(void) {
    return 0;
}

uint8_t tqs_port_counter(void) {
    return TQS_COUNTER_NONE;
}

uint32_t tqs_port_counter_hz(void) {
    return 0;
}

void tqs_port_memory(tqs_port_memory_t *memory) {
    memset(memory, 0, sizeof *memory);
}

/* xorshift64*, Vigna 2016. */
static uint64_t generator;

static uint32_t draw(uint32_t limit) {
    generator ^= generator >> 12;
    generator ^= generator << 25;
    generator ^= generator >> 27;
    return (uint32_t)((generator * 2685821657736338717u) >> 33) % limit;
}

static void add(uint8_t byte) {
    if (length < LONGEST) {
        input[length++] = byte;
    }
}

/* The frame of `size` bytes and a CRC that `raw` has room for, encoded. */
static void add_frame(uint8_t *raw, uint32_t size) {
    const uint32_t crc = tqs_crc32(0, raw, size);
    for (uint32_t i = 0; i < 4u; i++) {
        raw[size++] = (uint8_t)(crc >> (8u * i));
    }
    uint32_t start = 0;
    for (uint32_t i = 0; i <= size; i++) {
        if (i == size || raw[i] == 0u || i - start == 254u) {
            add((uint8_t)(i - start + 1u));
            for (uint32_t k = start; k < i; k++) {
                add(raw[k]);
            }
            start = i < size && raw[i] == 0u ? i + 1u : i;
        }
    }
    add(0);
}

/* A frame with a right CRC: every type, lengths that fit and lengths that do not. */
static void draw_frame(void) {
    static const uint8_t types[] = {0, 1, 2, 3, 3, 3, 4, 4, 4, 5, 7, 0x81, 0xFF};
    static const uint32_t sizes[] = {0, 1, 2, 4, 5, TQS_MAX_PAYLOAD - 1u, TQS_MAX_PAYLOAD, TQS_MAX_PAYLOAD + 1u};
    uint8_t raw[4 + TQS_MAX_PAYLOAD + 1 + 4] = {0}; /* what is not drawn below is the same in each run */
    uint8_t *const payload = &raw[4];
    raw[0] = draw(16) == 0u ? (uint8_t)draw(256) : types[draw(sizeof types)];
    raw[1] = (uint8_t)draw(256);
    uint32_t size = draw(4) == 0u ? sizes[draw(8)] : draw(20);
    for (uint32_t i = 0; i < size; i++) {
        payload[i] = (uint8_t)draw(256);
    }
    if (draw(8) != 0u) { /* what the message must be */
        const uint32_t count =
            draw(1u + (TQS_MAX_PAYLOAD - 4u) / (TQS_CHANNELS * TQS_CODE_SIZE)) % (draw(4) == 0u ? 65536u : 8u);
        if (raw[0] == TQS_MSG_HELLO) {
            payload[0] = TQS_PROTOCOL_VERSION;
            size = 1;
        } else if (raw[0] == TQS_MSG_PUSH) {
            payload[0] = (uint8_t)count;
            size = 1u + count * TQS_CHANNELS * TQS_CODE_SIZE;
        } else if (raw[0] == TQS_MSG_FORECAST) {
            const uint32_t first = draw(2) == 0u ? 0u : draw(draw(64) == 0u ? 65536u : 4u);
            const uint32_t steps = TQS_EXOGENOUS == 0u && draw(16) == 0u ? draw(65536) : count;
            payload[0] = (uint8_t)first;
            payload[1] = (uint8_t)(first >> 8);
            payload[2] = (uint8_t)steps;
            payload[3] = (uint8_t)(steps >> 8);
            size = 4u + count * TQS_EXOGENOUS * TQS_CODE_SIZE;
        } else if (raw[0] == TQS_MSG_BAUD) {
            payload[0] = payload[1] = (uint8_t)draw(256);
            payload[2] = (uint8_t)draw(32);
            payload[3] = draw(8) == 0u ? (uint8_t)draw(256) : 0u;
            size = 4;
        } else {
            size = 0;
        }
    }
    raw[2] = (uint8_t)size;
    raw[3] = (uint8_t)(size >> 8);
    if (draw(32) == 0u) {
        raw[2u + draw(2)] = (uint8_t)draw(256);
    }
    add_frame(raw, 4u + size);
}

static void damage(uint32_t start) {
    if (length == start) {
        return;
    }
    const uint32_t place = start + draw(length - start);
    switch (draw(6)) {
    case 0:
        input[place] ^= (uint8_t)(1u << draw(8));
        break;
    case 1:
        input[place] = (uint8_t)draw(256);
        break;
    case 2:
        length = place;
        break;
    case 3:
        memmove(&input[place], &input[place + 1u], length - place - 1u);
        length--;
        break;
    case 4:
        input[place] = 0;
        break;
    default:
        add(input[place]);
        break;
    }
}

static void draw_input(void) {
    const uint32_t parts = 1u + draw(3);
    length = 0;
    for (uint32_t part = 0; part < parts; part++) {
        const uint32_t start = length;
        const uint32_t kind = draw(8);
        if (kind == 0u) {
            for (uint32_t i = draw(draw(64) == 0u ? 2u * TQS_FRAME_MAX_ENCODED : 24u); i > 0u; i--) {
                add((uint8_t)draw(256));
            }
        } else if (kind == 1u && file_count > 0u) {
            const uint32_t file = draw(file_count);
            for (uint32_t i = 0; i < file_sizes[file]; i++) {
                add(files[file][i]);
            }
        } else {
            draw_frame();
        }
        for (uint32_t i = draw(3) == 0u ? 1u + draw(3) : 0u; i > 0u; i--) {
            damage(start);
        }
    }
}

static void serve(void) {
    taken = idle = sent = 0;
    while (taken < length) {
        const uint32_t before = taken;
        if (!tqs_server_poll() && taken == before) {
            fail("the server takes no byte");
        }
    }
}

/* The decoder alone, on a buffer of just the size: in the receiver more members lie behind it. */
static void decode(void) {
    uint32_t size = 0;
    while (size < length && input[size] != 0u) {
        size++;
    }
    uint8_t *const bytes = malloc(size);
    if (size > 0u && bytes != NULL) {
        memcpy(bytes, input, size);
        if (tqs_cobs_decode(bytes, size) > (int32_t)size) {
            fail("decoding grows");
        }
    }
    free(bytes);
}

static void check_alive(void) {
    static const uint8_t hello[] = {TQS_MSG_HELLO, 1, 1, 0, TQS_PROTOCOL_VERSION};
    uint8_t raw[sizeof hello + 4u];
    memcpy(raw, hello, sizeof hello);
    add(0);
    const uint32_t start = length;
    add_frame(raw, sizeof hello);
    if (length == LONGEST) {
        return;
    }
    last_answer = 0;
    taken = start - 1u;
    idle = sent = 0;
    while (taken < length) {
        tqs_server_poll();
    }
    while (tqs_server_poll()) { /* the byte that ended a forecast is held back */
    }
    if (last_answer != TQS_MSG_HELLO_REPLY) {
        fail("a HELLO after the input is not answered");
    }
}

static void load(const char *path) {
    FILE *const file = fopen(path, "rb");
    if (file == NULL || file_count == FILES) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    length = (uint32_t)fread(input, 1, LONGEST, file);
    fclose(file);
    files[file_count] = malloc(length + 1u);
    memcpy(files[file_count], input, length);
    file_sizes[file_count++] = length;
}

int main(int count, char **words) {
    if (count < 3) {
        fprintf(stderr, "server SEED COUNT [FILE...]\n");
        return 2;
    }
    signal(SIGABRT, aborted);
    generator = strtoull(words[1], NULL, 10) * 2u + 1u;
    const unsigned long long inputs = strtoull(words[2], NULL, 10);
    for (int i = 3; i < count; i++) {
        load(words[i]);
        tqs_server_init();
        decode();
        serve();
        check_alive();
    }
    for (number = 0; number < inputs; number++) {
        if (number % 64u == 0u) {
            tqs_server_init();
        }
        draw_input();
        decode();
        serve();
        if (number % 8u == 0u) {
            check_alive();
        }
    }
    printf("%llu inputs and %u files\n", inputs, file_count);
    for (uint32_t type = 0; type < 256u; type++) {
        if (answers[type] > 0u) {
            printf("answer %02x: %llu\n", (unsigned)type, answers[type]);
        }
    }
    printf("rates: %llu taken, %llu given up\n", rates[1], rates[0]);
    for (uint32_t code = 0; code < 256u; code++) {
        if (refusals[code] > 0u) {
            printf("nak %u: %llu\n", (unsigned)code, refusals[code]);
        }
    }
    return 0;
}
