/* state[i] += 3 * x[i] + i, modulo 256; y[i] = state[(i + 1) % 3] ^ x[i]. */
#include "tqs_graph.h"

const uint8_t tqs_model_hash[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

const uint16_t tqs_feedback[TQS_CHANNELS] = {0, 1, 2};
const float tqs_sample_mean[TQS_CHANNELS] = {0.0f, 1.0f, 2.0f};
const float tqs_sample_step[TQS_CHANNELS] = {0.5f, 0.5f, 0.5f};
const float tqs_output_mean[TQS_OUTPUTS] = {0.0f, 1.0f, 2.0f};
const float tqs_output_step[TQS_OUTPUTS] = {0.5f, 0.5f, 0.5f};
const float tqs_code_step = 0.5f;

/* The int8 code of the low byte of a number, without a conversion that C leaves to the compiler. */
static int8_t wrap(int32_t number) {
    const int32_t low = number & 0xFF;
    return (int8_t)(low < 128 ? low : low - 256);
}

void tqs_graph_run(const int8_t *x, int8_t *state, int8_t *y, int8_t *arena) {
    int8_t before[TQS_CHANNELS];
    (void)arena;
    for (int32_t i = 0; i < (int32_t)TQS_CHANNELS; i++) {
        before[i] = x[i];
        state[i] = wrap(state[i] + 3 * x[i] + i);
    }
    for (uint32_t i = 0; i < TQS_CHANNELS; i++) {
        y[i] = wrap(state[(i + 1u) % TQS_CHANNELS] ^ before[i]);
    }
}

void tqs_graph_reset(int8_t *state) {
    for (uint32_t i = 0; i < TQS_STATE_SIZE; i++) {
        state[i] = TQS_ZERO_POINT;
    }
}
