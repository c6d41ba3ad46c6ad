/* y = logistic(x) or tanh(x), int16: one function, since both read one table of 512 bytes. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h" /* for its check of >> */

/*
 * 65536 / (1 + exp(-i / 24)), nearly: the entries of sigmoid_table_uint16, tensorflow/lite/kernels/internal/common.cc
 * (Apache-2.0), see edge_tqs/operators/arithmetic/sigmoid_table.py.
 */
static const uint16_t table[256] = {
    32768, 33451, 34133, 34813, 35493, 36169, 36843, 37513, 38180, 38841, 39498, 40149, 40794, 41432, 42064, 42688,
    43304, 43912, 44511, 45102, 45683, 46255, 46817, 47369, 47911, 48443, 48964, 49475, 49975, 50464, 50942, 51409,
    51865, 52311, 52745, 53169, 53581, 53983, 54374, 54755, 55125, 55485, 55834, 56174, 56503, 56823, 57133, 57433,
    57724, 58007, 58280, 58544, 58800, 59048, 59288, 59519, 59743, 59959, 60168, 60370, 60565, 60753, 60935, 61110,
    61279, 61441, 61599, 61750, 61896, 62036, 62172, 62302, 62428, 62549, 62666, 62778, 62886, 62990, 63090, 63186,
    63279, 63368, 63454, 63536, 63615, 63691, 63765, 63835, 63903, 63968, 64030, 64090, 64148, 64204, 64257, 64308,
    64357, 64405, 64450, 64494, 64536, 64576, 64614, 64652, 64687, 64721, 64754, 64786, 64816, 64845, 64873, 64900,
    64926, 64950, 64974, 64997, 65019, 65039, 65060, 65079, 65097, 65115, 65132, 65149, 65164, 65179, 65194, 65208,
    65221, 65234, 65246, 65258, 65269, 65280, 65291, 65301, 65310, 65319, 65328, 65337, 65345, 65352, 65360, 65367,
    65374, 65381, 65387, 65393, 65399, 65404, 65410, 65415, 65420, 65425, 65429, 65433, 65438, 65442, 65445, 65449,
    65453, 65456, 65459, 65462, 65465, 65468, 65471, 65474, 65476, 65479, 65481, 65483, 65485, 65488, 65489, 65491,
    65493, 65495, 65497, 65498, 65500, 65501, 65503, 65504, 65505, 65507, 65508, 65509, 65510, 65511, 65512, 65513,
    65514, 65515, 65516, 65517, 65517, 65518, 65519, 65520, 65520, 65521, 65522, 65522, 65523, 65523, 65524, 65524,
    65525, 65525, 65526, 65526, 65526, 65527, 65527, 65528, 65528, 65528, 65529, 65529, 65529, 65529, 65530, 65530,
    65530, 65530, 65531, 65531, 65531, 65531, 65531, 65532, 65532, 65532, 65532, 65532, 65532, 65533, 65533, 65533,
    65533, 65533, 65533, 65533, 65533, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65534, 65535,
};

/* x in units of 1 / 12288. */
static int32_t scaled(const tqs_sigmoid_s16_t *layer, int32_t x) {
    const int32_t half = (int32_t)(((uint32_t)1 << layer->shift) >> 1);

    return (x * layer->multiplier + half) >> layer->shift;
}

/* The table at entry + rest / 2^bits, with as many more bits. entry: 0 to 254. */
static int32_t between(uint32_t entry, uint32_t rest, uint32_t bits) {
    const uint32_t low = table[entry];

    return (int32_t)((low << bits) + rest * (table[entry + 1u] - low));
}

void tqs_sigmoid_s16(const tqs_sigmoid_s16_t *layer, const int16_t *x, int16_t *y) {
    /* tanh(x) is 2 logistic(2 x) - 1: the same magnitude is twice as far in the table. */
    const uint32_t bits = layer->tanh != 0u ? 8u : 9u;
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t value = scaled(layer, x[i]);
        const uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);
        const uint32_t entry = magnitude >> bits;

        if (layer->tanh != 0u) {
            const int32_t found = entry >= 255u ? 0xFFFF << 8 : between(entry, magnitude & 255u, 8);

            y[i] = (int16_t)((value >= 0 ? found - (1 << 23) + 128 : (1 << 23) - found + 127) >> 8);
        } else {
            const int32_t found = entry >= 255u ? 0x7FFF << 10 : between(entry, magnitude & 511u, 9);

            y[i] = (int16_t)((value >= 0 ? found + 512 : (1 << 25) - found + 511) >> 10);
        }
    }
}
