/* Feeds standard input to the receiver and answers on standard output: each good frame is sent back in pieces, each bad
 * one gets a NAK. At the end a frame of type 0 with the count of dropped frames. For tests/test_c_wire.py. */
#include "tqs_wire.h"
#include <stdio.h>
#include <stdlib.h>

static void put(uint8_t byte) {
    (void)putchar(byte);
}

/* Pieces of 1, 2, 3, ... bytes: where a payload is cut must not matter. */
static void send_back(tqs_sender_t *sender, const tqs_frame_t *frame) {
    uint32_t sent = 0;
    tqs_send_begin(sender, frame->type, frame->sequence, frame->length);
    for (uint32_t piece = 1; sent < frame->length; piece++) {
        const uint32_t left = frame->length - sent;
        const uint32_t count = piece < left ? piece : left;
        tqs_send_bytes(sender, frame->payload + sent, count);
        sent += count;
    }
    tqs_send_end(sender);
}

int main(void) {
    /* From the heap, of the exact size: the address sanitizer sees any byte written outside. */
    tqs_receiver_t *const receiver = calloc(1, sizeof *receiver);
    tqs_sender_t *const sender = calloc(1, sizeof *sender);
    if (receiver == NULL || sender == NULL) {
        return 1;
    }
    sender->put = put;
    for (int byte = getchar(); byte != EOF; byte = getchar()) {
        tqs_frame_t frame;
        switch (tqs_receive(receiver, (uint8_t)byte, &frame)) {
        case TQS_RECEIVED_FRAME:
            send_back(sender, &frame);
            break;
        case TQS_RECEIVED_BAD:
            tqs_send_begin(sender, TQS_MSG_NAK, 0, 1);
            tqs_send_u8(sender, TQS_NAK_BAD_FRAME);
            tqs_send_end(sender);
            break;
        case TQS_RECEIVED_NOTHING:
        default:
            break;
        }
    }
    tqs_send_begin(sender, 0, 0, 4);
    tqs_send_u32(sender, receiver->dropped);
    tqs_send_end(sender);
    free(receiver);
    free(sender);
    return 0;
}
