#include "tqs_wire.h"
#include "tqs_crc32.h"

uint16_t tqs_read_u16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | ((uint32_t)bytes[1] << 8));
}

uint32_t tqs_read_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) | ((uint32_t)bytes[3] << 24);
}

int32_t tqs_cobs_decode(uint8_t *bytes, uint32_t count) {
    uint32_t in = 0;
    uint32_t out = 0;
    while (in < count) {
        const uint8_t code = bytes[in++];
        if (code == 0u || code - 1u > count - in) {
            return -1;
        }
        for (uint32_t k = 1; k < code; k++) {
            if (bytes[in] == 0u) {
                return -1;
            }
            bytes[out++] = bytes[in++];
        }
        if (code < 255u && in < count) {
            bytes[out++] = 0;
        }
    }
    return (int32_t)out;
}

static bool parse_frame(tqs_receiver_t *receiver, uint32_t encoded, tqs_frame_t *frame) {
    uint8_t *const bytes = receiver->bytes;
    const int32_t decoded = tqs_cobs_decode(bytes, encoded);
    if (decoded < (int32_t)TQS_FRAME_OVERHEAD) {
        return false;
    }
    const uint32_t body = (uint32_t)decoded - 4u; /* all but the CRC */
    const uint16_t length = tqs_read_u16(&bytes[2]);
    if (length > TQS_MAX_PAYLOAD || body != TQS_FRAME_HEADER + length) {
        return false;
    }
    if (tqs_crc32(0, bytes, body) != tqs_read_u32(&bytes[body])) {
        return false;
    }
    frame->type = bytes[0];
    frame->sequence = bytes[1];
    frame->length = length;
    frame->payload = &bytes[TQS_FRAME_HEADER];
    return true;
}

tqs_received_t tqs_receive(tqs_receiver_t *receiver, uint8_t byte, tqs_frame_t *frame) {
    if (byte != 0u) {
        if (receiver->count < TQS_FRAME_MAX_ENCODED) {
            receiver->bytes[receiver->count++] = byte;
        } else {
            receiver->overlong = true;
        }
        return TQS_RECEIVED_NOTHING;
    }
    const uint32_t encoded = receiver->count;
    const bool overlong = receiver->overlong;
    receiver->count = 0;
    receiver->overlong = false;
    if (encoded == 0u) {
        return TQS_RECEIVED_NOTHING;
    }
    if (overlong || !parse_frame(receiver, encoded, frame)) {
        receiver->dropped++;
        return TQS_RECEIVED_BAD;
    }
    return TQS_RECEIVED_FRAME;
}

static void put_block(tqs_sender_t *sender) {
    sender->put((uint8_t)(sender->used + 1u));
    for (uint32_t i = 0; i < sender->used; i++) {
        sender->put(sender->block[i]);
    }
    sender->used = 0;
}

static void put_encoded(tqs_sender_t *sender, uint8_t byte) {
    sender->after_full = false;
    if (byte == 0u) {
        put_block(sender);
        return;
    }
    sender->block[sender->used++] = byte;
    if (sender->used == sizeof sender->block) {
        put_block(sender);
        sender->after_full = true;
    }
}

void tqs_send_bytes(tqs_sender_t *sender, const uint8_t *bytes, uint32_t count) {
    sender->crc = tqs_crc32(sender->crc, bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        put_encoded(sender, bytes[i]);
    }
}

void tqs_send_u8(tqs_sender_t *sender, uint8_t value) {
    tqs_send_bytes(sender, &value, 1);
}

void tqs_send_u16(tqs_sender_t *sender, uint16_t value) {
    const uint8_t bytes[2] = {(uint8_t)value, (uint8_t)(value >> 8)};
    tqs_send_bytes(sender, bytes, sizeof bytes);
}

void tqs_send_u32(tqs_sender_t *sender, uint32_t value) {
    const uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    tqs_send_bytes(sender, bytes, sizeof bytes);
}

void tqs_send_begin(tqs_sender_t *sender, uint8_t type, uint8_t sequence, uint16_t length) {
    sender->crc = 0;
    sender->used = 0;
    sender->after_full = false;
    tqs_send_u8(sender, type);
    tqs_send_u8(sender, sequence);
    tqs_send_u16(sender, length);
}

void tqs_send_end(tqs_sender_t *sender) {
    tqs_send_u32(sender, sender->crc);
    if (sender->used > 0u || !sender->after_full) {
        put_block(sender);
    }
    sender->put(0);
}
