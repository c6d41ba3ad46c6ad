#include "tqs_server.h"
#include "board.h"
#include "tqs_model.h"
#include "tqs_crc32.h"
#include "tqs_graph.h"
#include "tqs_port.h"
#include "tqs_wire.h"
#include <string.h>

#define STEP_HEADER 10u /* step u16, ticks u32, state_hash u32 */
#define HELLO_REPLY_HEADER 52u
#define SAMPLE_SIZE (TQS_CHANNELS * TQS_CODE_SIZE)

#define OUTPUT_SIZE (TQS_OUTPUTS * TQS_CODE_SIZE)
#define FORECAST_HEADER 4u /* first u16, steps u16 */
#define AHEAD_SIZE (TQS_EXOGENOUS * TQS_CODE_SIZE)

#if STEP_HEADER + OUTPUT_SIZE > TQS_MAX_PAYLOAD || FORECAST_HEADER + AHEAD_SIZE > TQS_MAX_PAYLOAD
#error "a STEP frame of this model exceeds the board's max_payload"
#endif

/* Codes go to the wire, and states into their hash, as they lie in memory. */
#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the protocol is little-endian, and so must the core be"
#endif

static tqs_receiver_t receiver;
static tqs_sender_t sender;
static tqs_model_t model;

/* The byte that ended a forecast, not looked at yet; -1 if there is none. */
static int held_byte;

#if TQS_EXOGENOUS > 0u
/* The step that a forecast in hand comes to next; 0 if there is none. What is known ahead arrives piece by piece. */
static uint32_t next_step;
#endif

#ifdef TQS_PROBE
#define ALL_POINTS 0xFFFFu
#define VALUES_HEADER 6u /* point u16, offset u32 */

/* The evaluation that PROBE asked for. */
static struct {
    uint32_t left;    /* evaluations until it is over: 1 while it runs, 0 where none was asked for */
    uint32_t point;   /* whose codes are sent; ALL_POINTS: ticks and CRC of every point instead */
    uint32_t mark;    /* ticks when the last point was left */
    uint32_t told;    /* points of it so far */
    uint8_t sequence; /* of the request that is being carried out */
} probe;
#endif

/* Broken frames in a row. At MOST_BROKEN the port's first rate is taken again, if it has another: a host that was
 * killed, or whose cable does not carry the rate, finds the board where it looks for it. */
#define MOST_BROKEN 3u
static uint32_t broken;

/* The last request carried out: a repeated RESET or PUSH is only acknowledged. Type 0 is no request's. */
static uint8_t last_type;
static uint8_t last_sequence;

static int take_byte(void) {
    const int byte = held_byte;
    held_byte = -1;
    return byte >= 0 ? byte : tqs_port_rx();
}

static void begin(uint8_t type, uint8_t sequence, uint32_t length) {
    tqs_send_begin(&sender, type, sequence, (uint16_t)length);
}

static void end(void) {
    tqs_send_end(&sender);
    tqs_port_flush();
}

static void send_nak(uint8_t sequence, enum tqs_nak code) {
    begin(TQS_MSG_NAK, sequence, 1);
    tqs_send_u8(&sender, (uint8_t)code);
    end();
}

static void send_ack(uint8_t sequence) {
    begin(TQS_MSG_ACK, sequence, 4);
    tqs_send_u32(&sender, tqs_pushed(&model));
    end();
}

static void answer_hello(const tqs_frame_t *request) {
    static const char name[] = TQS_BOARD_NAME;
    const uint8_t name_length = (uint8_t)(sizeof name - 1u);

    if (request->length == 0u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    if (request->payload[0] != TQS_PROTOCOL_VERSION) { /* first: another version's HELLO may be longer */
        send_nak(request->sequence, TQS_NAK_BAD_VERSION);
        return;
    }
    if (request->length != 1u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    last_type = 0;
    begin(TQS_MSG_HELLO_REPLY, request->sequence, HELLO_REPLY_HEADER + name_length);
    tqs_send_u8(&sender, TQS_PROTOCOL_VERSION);
    tqs_send_u8(&sender, tqs_port_counter());
    tqs_send_u16(&sender, (uint16_t)TQS_CHANNELS);
    tqs_send_u16(&sender, (uint16_t)TQS_WINDOW);
    tqs_send_u16(&sender, (uint16_t)TQS_MAX_PAYLOAD);
    tqs_send_u32(&sender, tqs_port_counter_hz());
    tqs_send_bytes(&sender, tqs_model_hash, 32);
    tqs_send_u8(&sender, (uint8_t)TQS_CODE_SIZE);
    tqs_send_u16(&sender, (uint16_t)TQS_OUTPUTS);
    tqs_send_u16(&sender, (uint16_t)TQS_STEPS);
    tqs_send_u16(&sender, (uint16_t)TQS_EXOGENOUS);
    tqs_send_u8(&sender, name_length);
    tqs_send_bytes(&sender, (const uint8_t *)name, name_length);
    end();
}

static bool is_repeat(const tqs_frame_t *request) {
    return request->type == last_type && request->sequence == last_sequence;
}

/* Samples change: a forecast in hand is over. */
static void forget_forecast(void) {
#if TQS_EXOGENOUS > 0u
    next_step = 0;
#endif
}

static void carried_out(const tqs_frame_t *request) {
    last_type = request->type;
    last_sequence = request->sequence;
}

static void answer_reset(const tqs_frame_t *request) {
    if (request->length != 0u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    if (!is_repeat(request)) {
        tqs_reset(&model);
        forget_forecast();
#ifdef TQS_PROBE
        probe.left = 0;
#endif
        carried_out(request);
    }
    send_ack(request->sequence);
}

static void answer_push(const tqs_frame_t *request) {
    if (request->length == 0u || request->length != 1u + (uint32_t)request->payload[0] * SAMPLE_SIZE) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    if (!is_repeat(request)) {
        const uint32_t count = request->payload[0];
        for (uint32_t i = 0; i < count; i++) {
            tqs_code_t sample[TQS_CHANNELS];
            memcpy(sample, &request->payload[1u + i * SAMPLE_SIZE], sizeof sample);
            tqs_push_q(&model, sample);
        }
        forget_forecast();
        carried_out(request);
    }
    send_ack(request->sequence);
}

static void send_step(uint8_t sequence, uint32_t step, uint32_t ticks, const tqs_code_t y[TQS_OUTPUTS]) {
    uint32_t state_size = 0;
    const uint8_t *const state = (const uint8_t *)tqs_forecast_state(&model, &state_size);
    begin(TQS_MSG_STEP, sequence, STEP_HEADER + OUTPUT_SIZE);
    tqs_send_u16(&sender, (uint16_t)step);
    tqs_send_u32(&sender, ticks);
    tqs_send_u32(&sender, tqs_crc32(0, state, state_size));
    tqs_send_bytes(&sender, (const uint8_t *)y, OUTPUT_SIZE);
    end();
}

static void answer_forecast(const tqs_frame_t *request) {
    if (request->length < FORECAST_HEADER) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    const uint8_t sequence = request->sequence;
    const uint32_t first = tqs_read_u16(&request->payload[0]);
    const uint32_t steps = tqs_read_u16(&request->payload[2]);
    const uint32_t stop = first + steps;
    const uint32_t rest = request->length - FORECAST_HEADER;
#if TQS_EXOGENOUS > 0u
    const bool fits = rest % AHEAD_SIZE == 0u && rest / AHEAD_SIZE == steps;
#else
    const bool fits = rest == 0u;
#endif
    if (!fits || stop > 65536u) { /* a step's number has 16 bits */
        send_nak(sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    if (!tqs_ready(&model)) {
        send_nak(sequence, TQS_NAK_NOT_READY);
        return;
    }
    uint32_t sent = 0;
#if TQS_EXOGENOUS > 0u
    /* What was known of earlier steps is not kept: a forecast goes on where it is, or begins anew. */
    if (first != 0u && first != next_step) {
        send_nak(sequence, TQS_NAK_OUT_OF_ORDER);
        return;
    }
    if (first == 0u) {
        tqs_forecast_begin(&model);
    }
    uint32_t step = first;
    next_step = first;
#else
    tqs_forecast_begin(&model);
    uint32_t step = 0;
#endif
    carried_out(request);
    for (; step < stop && sent < steps && held_byte < 0; step++) {
        tqs_code_t y[TQS_OUTPUTS];
#if TQS_EXOGENOUS > 0u
        tqs_code_t known[TQS_EXOGENOUS];
        memcpy(known, &request->payload[FORECAST_HEADER + (step - first) * AHEAD_SIZE], sizeof known);
        const uint32_t start = tqs_port_ticks();
        tqs_forecast_next_ahead(&model, known, y);
        next_step = step + 1u;
#else
        const uint32_t start = tqs_port_ticks();
        tqs_forecast_next(&model, y);
#endif
        const uint32_t ticks = tqs_port_ticks() - start;
        if (step >= first) {
            send_step(sequence, step, ticks, y);
            sent++;
        }
        held_byte = tqs_port_rx(); /* any byte ends the forecast: the host asks for something else */
    }
    begin(TQS_MSG_DONE, sequence, 2);
    tqs_send_u16(&sender, (uint16_t)sent);
    end();
}

static void answer_status(const tqs_frame_t *request) {
    if (request->length != 0u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    tqs_port_memory_t memory;
    tqs_port_memory(&memory);
    carried_out(request);
    begin(TQS_MSG_STATUS_REPLY, request->sequence, 20);
    tqs_send_u32(&sender, memory.stack_size);
    tqs_send_u32(&sender, memory.stack_peak);
    tqs_send_u32(&sender, memory.ram_static);
    tqs_send_u32(&sender, receiver.dropped);
    tqs_send_u32(&sender, tqs_port_ticks());
    end();
}

static void answer_baud(const tqs_frame_t *request) {
    const uint32_t wanted = request->length == 4u ? tqs_read_u32(&request->payload[0]) : 0u;

    if (wanted == 0u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    uint32_t rate = tqs_port_nearest_baud(wanted);
    if ((rate > wanted ? rate - wanted : wanted - rate) > wanted / 64u) {
        rate = 0; /* with what the host is off itself, a UART may not bear it */
    }
    carried_out(request);
    begin(TQS_MSG_BAUD_REPLY, request->sequence, 4);
    tqs_send_u32(&sender, rate);
    end();
    if (rate != 0u) {
        tqs_port_set_baud(wanted);
    }
}

#ifdef TQS_PROBE
static void answer_probe(const tqs_frame_t *request) {
    const uint32_t evaluation = request->length == 6u ? tqs_read_u32(&request->payload[0]) : UINT32_MAX;

    if (evaluation > UINT32_MAX - 2u) {
        send_nak(request->sequence, TQS_NAK_BAD_LENGTH);
        return;
    }
    probe.left = evaluation + 2u;
    probe.told = 0;
    probe.point = tqs_read_u16(&request->payload[4]);
    carried_out(request);
    send_ack(request->sequence);
}

static void send_values(uint32_t point, const uint8_t *bytes, uint32_t size) {
    uint32_t offset = 0;

    while (offset < size) {
        const uint32_t rest = size - offset;
        const uint32_t piece = rest < TQS_MAX_PAYLOAD - VALUES_HEADER ? rest : TQS_MAX_PAYLOAD - VALUES_HEADER;
        begin(TQS_MSG_VALUES, probe.sequence, VALUES_HEADER + piece);
        tqs_send_u16(&sender, (uint16_t)point);
        tqs_send_u32(&sender, offset);
        tqs_send_bytes(&sender, &bytes[offset], piece);
        end();
        offset += piece;
    }
}

/* Sends at once, in the middle of the request that evaluates the graph: nothing need be kept of any tensor. */
void tqs_probe(uint32_t point, const tqs_code_t *codes, uint32_t count) {
    if (point == 0u && probe.left > 0u) {
        probe.left--;
    }
    if (probe.left != 1u) {
        return;
    }
    const uint32_t ticks = tqs_port_ticks() - probe.mark;
    const uint8_t *const bytes = (const uint8_t *)codes;
    if (probe.point == ALL_POINTS) {
        begin(TQS_MSG_POINT, probe.sequence, 14);
        tqs_send_u16(&sender, (uint16_t)point);
        tqs_send_u16(&sender, (uint16_t)probe.told++);
        tqs_send_u32(&sender, point == 0u ? 0u : ticks); /* no operator ran before point 0 */
        tqs_send_u16(&sender, (uint16_t)count);
        tqs_send_u32(&sender, tqs_crc32(0, bytes, count * TQS_CODE_SIZE));
        end();
    } else if (probe.point == point) {
        send_values(point, bytes, count * TQS_CODE_SIZE);
    }
    probe.mark = tqs_port_ticks();
}
#endif

static void answer(const tqs_frame_t *request) {
#ifdef TQS_PROBE
    probe.sequence = request->sequence;
#endif
    switch (request->type) {
    case TQS_MSG_HELLO:
        answer_hello(request);
        break;
    case TQS_MSG_RESET:
        answer_reset(request);
        break;
    case TQS_MSG_PUSH:
        answer_push(request);
        break;
    case TQS_MSG_FORECAST:
        answer_forecast(request);
        break;
    case TQS_MSG_STATUS:
        answer_status(request);
        break;
    case TQS_MSG_BAUD:
        answer_baud(request);
        break;
#ifdef TQS_PROBE
    case TQS_MSG_PROBE:
        answer_probe(request);
        break;
#endif
    default:
        send_nak(request->sequence, TQS_NAK_UNKNOWN_TYPE);
        break;
    }
}

void tqs_server_init(void) {
    memset(&receiver, 0, sizeof receiver);
    sender.put = tqs_port_tx;
    held_byte = -1;
    broken = 0;
    last_type = 0;
    last_sequence = 0;
#ifdef TQS_PROBE
    probe.left = 0;
#endif
    forget_forecast();
    tqs_reset(&model);
}

bool tqs_server_poll(void) {
    const int byte = take_byte();
    if (byte < 0) {
        return false;
    }
    tqs_frame_t request;
    switch (tqs_receive(&receiver, (uint8_t)byte, &request)) {
    case TQS_RECEIVED_FRAME:
        broken = 0;
        answer(&request);
        break;
    case TQS_RECEIVED_BAD:
        broken++;
        if (broken == MOST_BROKEN) {
            tqs_port_set_baud(0);
        }
        send_nak(0, TQS_NAK_BAD_FRAME);
        break;
    case TQS_RECEIVED_NOTHING:
    default:
        break;
    }
    return true;
}
