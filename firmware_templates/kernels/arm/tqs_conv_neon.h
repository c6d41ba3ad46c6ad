/*
 * The convolutions over time for NEON (Cortex-A): four output samples and four rows at a time, so that weights and
 * inputs are loaded once for four products each. A kernel loads its weights.
 *
 * Weights lie in blocks of four rows: for each four inputs a vector [4][4], the inputs of a row side by side; inputs
 * are filled up with zeros to a multiple of sixteen. Where the compiler is told of a core with SDOT (Cortex-A55, A76
 * and later), its lanes are the rows, and eight rows are computed at a time: the sums of two blocks fit the registers.
 * The layer struct is that of tqs_kernels.h; shifts are -31 to -1.
 */
#ifndef TQS_CONV_NEON_H
#define TQS_CONV_NEON_H

#include "tqs_neon_rows.h"
#include "tqs_windows.h"

/* The inputs of four output samples: ``chunks`` times sixteen, each ``step`` behind the one before. */
typedef struct tqs_tile {
    const int8_t *x;
    uint32_t sample_step; /* from one sample to the next */
    uint32_t step;
    uint32_t chunks;
} tqs_tile_t;

/* Those of the output samples from ``sample`` on: in x where they can be read there, else in buffer. */
static inline tqs_tile_t tqs_tile(const tqs_taps_t *taps, const int8_t *x, uint32_t sample, int8_t *buffer) {
    const uint32_t channels = taps->channels;
    const uint32_t inputs = taps->taps * channels;
    const uint32_t padded = (inputs + 15u) & ~15u;
    const int32_t first = tqs_first_sample(taps, sample);
    const int32_t last = tqs_first_sample(taps, sample + 3u);
    tqs_tile_t tile = {buffer, padded, 16, padded / 16u};
    uint32_t i;

    if ((channels == 16u || (taps->dilation == 1u && padded == inputs)) && tqs_is_inside(taps, first) != 0u &&
        tqs_is_inside(taps, last) != 0u) {
        tile.x = x + (uint32_t)first * channels;
        tile.sample_step = taps->stride * channels;
        tile.step = channels == 16u ? taps->dilation * 16u : 16u;
        return tile;
    }
    for (i = 0; i < 4u; i++) {
        if (padded != inputs) {
            vst1q_s8(buffer + (padded - 16u), vdupq_n_s8(0));
        }
        tqs_gather(taps, x, tqs_first_sample(taps, sample + i), buffer);
        buffer += padded;
    }
    return tile;
}

/* The sums of four rows: where SDOT gives them at once, the second is not used; else two lanes of each row. */
typedef struct tqs_tile_sums {
    int32x4_t rows01;
    int32x4_t rows23;
} tqs_tile_sums_t;

/* sums + the products of the sixteen inputs x. w: [4] vectors. |w| <= 127, so that two products fit 16 bits. */
static inline void tqs_tile_add(tqs_tile_sums_t *sums, const int8x16_t *w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
    sums->rows01 = vdotq_laneq_s32(sums->rows01, w[0], x, 0);
    sums->rows01 = vdotq_laneq_s32(sums->rows01, w[1], x, 1);
    sums->rows01 = vdotq_laneq_s32(sums->rows01, w[2], x, 2);
    sums->rows01 = vdotq_laneq_s32(sums->rows01, w[3], x, 3);
#else
    const int32x4_t fours = vreinterpretq_s32_s8(x);
    const int32x2_t low = vget_low_s32(fours);
    const int32x2_t high = vget_high_s32(fours);
    const int8x8_t x0 = vreinterpret_s8_s32(vdup_lane_s32(low, 0));
    const int8x8_t x1 = vreinterpret_s8_s32(vdup_lane_s32(low, 1));
    const int8x8_t x2 = vreinterpret_s8_s32(vdup_lane_s32(high, 0));
    const int8x8_t x3 = vreinterpret_s8_s32(vdup_lane_s32(high, 1));
    int16x8_t p01 = vmull_s8(vget_low_s8(w[0]), x0);
    int16x8_t p23 = vmull_s8(vget_high_s8(w[0]), x0);

    p01 = vmlal_s8(p01, vget_low_s8(w[1]), x1);
    p23 = vmlal_s8(p23, vget_high_s8(w[1]), x1);
    sums->rows01 = vpadalq_s16(sums->rows01, p01);
    sums->rows23 = vpadalq_s16(sums->rows23, p23);
    p01 = vmull_s8(vget_low_s8(w[2]), x2);
    p23 = vmull_s8(vget_high_s8(w[2]), x2);
    p01 = vmlal_s8(p01, vget_low_s8(w[3]), x3);
    p23 = vmlal_s8(p23, vget_high_s8(w[3]), x3);
    sums->rows01 = vpadalq_s16(sums->rows01, p01);
    sums->rows23 = vpadalq_s16(sums->rows23, p23);
#endif
}

static inline tqs_tile_sums_t tqs_tile_begin(int32x4_t bias) {
#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
    const tqs_tile_sums_t sums = {bias, bias};
#else
    const tqs_tile_sums_t sums = {vdupq_n_s32(0), vdupq_n_s32(0)};

    (void)bias;
#endif
    return sums;
}

static inline int32x4_t tqs_tile_end(tqs_tile_sums_t sums, int32x4_t bias) {
#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
    (void)bias;
    return sums.rows01;
#else
    return vaddq_s32(bias, tqs_neon_pairs(sums.rows01, sums.rows23));
#endif
}

/* Two samples of four codes, within 16 bits. */
static inline int16x8_t tqs_tile_rescale(int32x4_t sums0, int32x4_t sums1, int32x4_t multipliers, int32x4_t shifts,
                                         int16x8_t zero_point) {
    sums0 = tqs_neon_rescale_four(sums0, multipliers, shifts);
    sums1 = tqs_neon_rescale_four(sums1, multipliers, shifts);
    return vqaddq_s16(vcombine_s16(vqmovn_s32(sums0), vqmovn_s32(sums1)), zero_point);
}

/* The four codes of each of four samples at y, ``outputs`` from one to the next; ``left`` of them if that is less. */
static inline void tqs_tile_put(int8x16_t codes, int8_t *y, uint32_t outputs, uint32_t left) {
    const int32x4_t fours = vreinterpretq_s32_s8(codes);
    uint32_t i;

    if (left >= 4u) {
        const int32_t four[4] = {vgetq_lane_s32(fours, 0), vgetq_lane_s32(fours, 1), vgetq_lane_s32(fours, 2),
                                 vgetq_lane_s32(fours, 3)};

        memcpy(y, &four[0], 4);
        memcpy(y + outputs, &four[1], 4);
        memcpy(y + 2u * outputs, &four[2], 4);
        memcpy(y + 3u * outputs, &four[3], 4);
    } else {
        int8_t part[16];

        vst1q_s8(part, codes);
        for (i = 0; i < 4u; i++) {
            memcpy(y + i * outputs, part + 4u * i, left);
        }
    }
}

/* Loads the weights of sixteen inputs into w: [4]; returns what is behind them. */
typedef const int8_t *(*tqs_tile_weights_t)(const int8_t *from, int8x16_t *w);

static inline int32x4_t tqs_tile_shifts(const tqs_rows_t *rows) {
    uint32_t four;

    memcpy(&four, rows->shift, 4);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
}

#if defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
#define TQS_TILE_EIGHT 1

/* Eight codes of a sample, not clamped, from the sums of two blocks of rows. */
static inline int8x8_t tqs_tile_codes(int32x4_t sums0, int32x4_t sums1, const int32x4_t *multipliers,
                                      const int32x4_t *shifts, int16x8_t zero_point) {
    sums0 = tqs_neon_rescale_four(sums0, multipliers[0], shifts[0]);
    sums1 = tqs_neon_rescale_four(sums1, multipliers[1], shifts[1]);
    return vqmovn_s16(vqaddq_s16(vcombine_s16(vqmovn_s32(sums0), vqmovn_s32(sums1)), zero_point));
}

/* Eight rows of the four output samples at y. from: their weights, two blocks of ``block`` bytes. rows: [2]. */
static inline void tqs_tile_eight(const tqs_fc_t *layer, const tqs_tile_t *tile, const tqs_rows_t *rows,
                                  const int8_t *from, uint32_t block, int8_t *y, tqs_tile_weights_t load) {
    const int8_t *next = from + block;
    const uint32_t outputs = layer->outputs;
    const uint32_t one = tile->sample_step;
    const uint32_t two = 2u * one;
    const uint32_t three = 3u * one;
    const uint32_t step = tile->step;
    const int16x8_t zero_point = vdupq_n_s16(layer->zero_point);
    const int8x8_t low = vdup_n_s8(layer->low);
    const int8x8_t high = vdup_n_s8(layer->high);
    const int8_t *x = tile->x;
    int32x4_t multipliers[2];
    int32x4_t shifts[2];
    tqs_tile_sums_t sums00 = tqs_tile_begin(vld1q_s32(rows[0].bias));
    tqs_tile_sums_t sums01 = sums00;
    tqs_tile_sums_t sums02 = sums00;
    tqs_tile_sums_t sums03 = sums00;
    tqs_tile_sums_t sums10 = tqs_tile_begin(vld1q_s32(rows[1].bias));
    tqs_tile_sums_t sums11 = sums10;
    tqs_tile_sums_t sums12 = sums10;
    tqs_tile_sums_t sums13 = sums10;
    int8x8_t codes;
    uint32_t chunk;

    for (chunk = tile->chunks; chunk > 0u; chunk--) {
        const int8x16_t x0 = vld1q_s8(x);
        const int8x16_t x1 = vld1q_s8(x + one);
        const int8x16_t x2 = vld1q_s8(x + two);
        const int8x16_t x3 = vld1q_s8(x + three);
        int8x16_t w[4];

        from = load(from, w);
        tqs_tile_add(&sums00, w, x0);
        tqs_tile_add(&sums01, w, x1);
        tqs_tile_add(&sums02, w, x2);
        tqs_tile_add(&sums03, w, x3);
        next = load(next, w);
        tqs_tile_add(&sums10, w, x0);
        tqs_tile_add(&sums11, w, x1);
        tqs_tile_add(&sums12, w, x2);
        tqs_tile_add(&sums13, w, x3);
        x += step;
    }
    multipliers[0] = vld1q_s32(rows[0].multiplier);
    multipliers[1] = vld1q_s32(rows[1].multiplier);
    shifts[0] = tqs_tile_shifts(&rows[0]);
    shifts[1] = tqs_tile_shifts(&rows[1]);
    codes = tqs_tile_codes(sums00.rows01, sums10.rows01, multipliers, shifts, zero_point);
    vst1_s8(y, vmin_s8(vmax_s8(codes, low), high));
    codes = tqs_tile_codes(sums01.rows01, sums11.rows01, multipliers, shifts, zero_point);
    vst1_s8(y + outputs, vmin_s8(vmax_s8(codes, low), high));
    codes = tqs_tile_codes(sums02.rows01, sums12.rows01, multipliers, shifts, zero_point);
    vst1_s8(y + 2u * outputs, vmin_s8(vmax_s8(codes, low), high));
    codes = tqs_tile_codes(sums03.rows01, sums13.rows01, multipliers, shifts, zero_point);
    vst1_s8(y + 3u * outputs, vmin_s8(vmax_s8(codes, low), high));
}
#endif

/* The four output samples at y. each: bytes of the weights of sixteen inputs and four rows. */
static inline void tqs_tile_rows(const tqs_fc_t *layer, const tqs_tile_t *tile, int8_t *y, tqs_tile_weights_t load,
                                 uint32_t each) {
    const int8_t *from = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const uint32_t outputs = layer->outputs;
    const uint32_t step = tile->step;
    const uint32_t one = tile->sample_step;
    const uint32_t two = 2u * one;
    const uint32_t three = 3u * one;
    const int16x8_t zero_point = vdupq_n_s16(layer->zero_point);
    const int8x16_t low = vdupq_n_s8(layer->low);
    const int8x16_t high = vdupq_n_s8(layer->high);
    uint32_t row = 0;

#if defined(TQS_TILE_EIGHT)
    const uint32_t block = tile->chunks * each;

    for (; row + 8u <= outputs; row += 8u, rows += 2, y += 8) {
        tqs_tile_eight(layer, tile, rows, from, block, y, load);
        from += 2u * block;
    }
#else
    (void)each;
#endif
    for (; row < outputs; row += 4u, rows++, y += 4) {
        const int32x4_t bias = vld1q_s32(rows->bias);
        const int32x4_t multipliers = vld1q_s32(rows->multiplier);
        const int8_t *x = tile->x;
        tqs_tile_sums_t sums0 = tqs_tile_begin(bias);
        tqs_tile_sums_t sums1 = sums0;
        tqs_tile_sums_t sums2 = sums0;
        tqs_tile_sums_t sums3 = sums0;
        int32x4_t shifts;
        int16x8_t codes01;
        int16x8_t codes23;
        int8x16_t codes;
        uint32_t chunk;

        for (chunk = tile->chunks; chunk > 0u; chunk--) {
            int8x16_t w[4];

            from = load(from, w);
            tqs_tile_add(&sums0, w, vld1q_s8(x));
            tqs_tile_add(&sums1, w, vld1q_s8(x + one));
            tqs_tile_add(&sums2, w, vld1q_s8(x + two));
            tqs_tile_add(&sums3, w, vld1q_s8(x + three));
            x += step;
        }
        shifts = tqs_tile_shifts(rows);
        codes01 =
            tqs_tile_rescale(tqs_tile_end(sums0, bias), tqs_tile_end(sums1, bias), multipliers, shifts, zero_point);
        codes23 =
            tqs_tile_rescale(tqs_tile_end(sums2, bias), tqs_tile_end(sums3, bias), multipliers, shifts, zero_point);
        codes = vcombine_s8(vqmovn_s16(codes01), vqmovn_s16(codes23));
        tqs_tile_put(vminq_s8(vmaxq_s8(codes, low), high), y, outputs, outputs - row);
    }
}

/* All output samples, at least four: the last four may be computed twice. */
static inline void tqs_conv_neon(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples,
                                 int8_t *y, int8_t *buffer, tqs_tile_weights_t load, uint32_t each) {
    const tqs_fc_t held = *layer; /* y and buffer may alias anything */
    const tqs_taps_t read = *taps;
    uint32_t sample;

    for (sample = 0; sample < samples; sample += 4u) {
        tqs_tile_t tile;

        if (sample + 4u > samples) {
            sample = samples - 4u;
        }
        tile = tqs_tile(&read, x, sample, buffer);
        tqs_tile_rows(&held, &tile, y + sample * held.outputs, load, each);
    }
}

#endif
