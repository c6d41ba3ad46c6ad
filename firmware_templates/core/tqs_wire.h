/* Frames as PROTOCOL.md specifies them: COBS( type u8 | sequence u8 | length u16 | payload | crc u32 ) 0x00. */
#ifndef TQS_WIRE_H
#define TQS_WIRE_H

#include "board.h" /* TQS_MAX_PAYLOAD */
#include <stdbool.h>
#include <stdint.h>

#define TQS_PROTOCOL_VERSION 3u

enum tqs_message {
    TQS_MSG_HELLO = 0x01,
    TQS_MSG_RESET = 0x02,
    TQS_MSG_PUSH = 0x03,
    TQS_MSG_FORECAST = 0x04,
    TQS_MSG_STATUS = 0x05,
    TQS_MSG_PROBE = 0x06,
    TQS_MSG_BAUD = 0x07,
    TQS_MSG_HELLO_REPLY = 0x81,
    TQS_MSG_ACK = 0x82,
    TQS_MSG_STEP = 0x84,
    TQS_MSG_DONE = 0x85,
    TQS_MSG_STATUS_REPLY = 0x86,
    TQS_MSG_POINT = 0x87,
    TQS_MSG_VALUES = 0x88,
    TQS_MSG_BAUD_REPLY = 0x89,
    TQS_MSG_NAK = 0xFF
};

enum tqs_nak {
    TQS_NAK_BAD_FRAME = 1,
    TQS_NAK_UNKNOWN_TYPE = 2,
    TQS_NAK_BAD_LENGTH = 3,
    TQS_NAK_BAD_VERSION = 4,
    TQS_NAK_NOT_READY = 5,
    TQS_NAK_OUT_OF_ORDER = 6
};

enum tqs_counter {
    TQS_COUNTER_NONE = 0,
    TQS_COUNTER_CYCCNT = 1,
    TQS_COUNTER_SYSTICK = 2,
    TQS_COUNTER_MONOTONIC = 3,
    TQS_COUNTER_MPCCR = 4,
    TQS_COUNTER_CCOUNT = 5
};

#define TQS_FRAME_HEADER 4u                        /* type, sequence, length */
#define TQS_FRAME_OVERHEAD (TQS_FRAME_HEADER + 4u) /* and the CRC */
#define TQS_FRAME_MAX (TQS_MAX_PAYLOAD + TQS_FRAME_OVERHEAD)
/* COBS adds one byte, and one more for every whole 254. The closing 0x00 is not stored. */
#define TQS_FRAME_MAX_ENCODED (TQS_FRAME_MAX + TQS_FRAME_MAX / 254u + 1u)

/* Collects bytes into frames. Zero-initialise it. */
typedef struct {
    uint8_t bytes[TQS_FRAME_MAX_ENCODED]; /* first: sanitizers take an array at the end for one of any length */
    uint32_t count;                       /* bytes of the frame so far */
    uint32_t dropped;                     /* bad frames since power-up, modulo 2^32 */
    bool overlong;                        /* the frame does not fit; its bytes are thrown away until its 0x00 */
} tqs_receiver_t;

/* A checked frame. `payload` points into the receiver and lives until its next byte. */
typedef struct {
    uint8_t type;
    uint8_t sequence;
    uint16_t length;
    const uint8_t *payload;
} tqs_frame_t;

typedef enum {
    TQS_RECEIVED_NOTHING, /* the frame is not complete, or empty */
    TQS_RECEIVED_FRAME,   /* *frame is filled */
    TQS_RECEIVED_BAD      /* overlong, broken COBS, wrong length or CRC: dropped and counted */
} tqs_received_t;

tqs_received_t tqs_receive(tqs_receiver_t *receiver, uint8_t byte, tqs_frame_t *frame);

/* Decodes COBS in place, without the closing 0x00. Returns the number of bytes, or -1 if a block is cut short or a byte
 * is 0. Never writes beyond bytes[count - 1], since decoding never grows. */
int32_t tqs_cobs_decode(uint8_t *bytes, uint32_t count);

/* Sends one frame piece by piece, so that no frame is ever held whole: begin, exactly `length` payload bytes, end.
 * Set `put` (takes one byte to the wire) before the first use. */
typedef struct {
    void (*put)(uint8_t byte);
    uint32_t crc;
    uint8_t used;       /* bytes in block */
    bool after_full;    /* the last block had all its 254 bytes: it implies no zero and may end the frame */
    uint8_t block[254]; /* COBS needs the distance to the next zero before the bytes */
} tqs_sender_t;

void tqs_send_begin(tqs_sender_t *sender, uint8_t type, uint8_t sequence, uint16_t length);
void tqs_send_bytes(tqs_sender_t *sender, const uint8_t *bytes, uint32_t count);
void tqs_send_u8(tqs_sender_t *sender, uint8_t value);
void tqs_send_u16(tqs_sender_t *sender, uint16_t value);
void tqs_send_u32(tqs_sender_t *sender, uint32_t value);
void tqs_send_end(tqs_sender_t *sender);

/* Little-endian, from any address: ARMv6-M faults on unaligned words. */
uint16_t tqs_read_u16(const uint8_t *bytes);
uint32_t tqs_read_u32(const uint8_t *bytes);

#endif
