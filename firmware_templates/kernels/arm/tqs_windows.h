/*
 * What the kernels that compute all output samples of a convolution over time share: where one of them finds its inputs
 * in x, or a copy of them, by sixteen codes at a time. See tqs_taps.h.
 */
#ifndef TQS_WINDOWS_H
#define TQS_WINDOWS_H

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#else
#include <arm_neon.h>
#endif
#include <string.h>

#include "tqs_kernels.h"
#if defined(__ARM_FEATURE_MVE)
#include "tqs_mve_rows.h"
#endif

/* The sample that the first tap of output sample ``sample`` reads; below 0 before the window. */
static inline int32_t tqs_first_sample(const tqs_taps_t *taps, uint32_t sample) {
    return (int32_t)(sample * taps->stride) - (int32_t)taps->left;
}

/* Whether the taps read samples of the window alone. */
static inline uint32_t tqs_is_inside(const tqs_taps_t *taps, int32_t first) {
    return first >= 0 && first + (int32_t)((taps->taps - 1u) * taps->dilation) < (int32_t)taps->samples ? 1u : 0u;
}

/* The ``channels`` codes of a tap to ``to``. */
static inline void tqs_copy_tap(const int8_t *from, uint32_t channels, int8_t *to) {
#if defined(__ARM_FEATURE_MVE)
    int8x16_t codes;

    __asm__ volatile("wlstp.8 lr, %[size], 2f\n\t"
                     "1:\n\t"
                     "vldrb.8 %q[codes], [%[from]], #16\n\t"
                     "vstrb.8 %q[codes], [%[to]], #16\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [from] "+r"(from), [to] "+r"(to), [codes] "=&w"(codes)
                     : [size] "r"(channels)
                     : "lr", "memory");
#else
    if (channels % 16u != 0u) {
        memcpy(to, from, channels);
    } else {
        for (; channels > 0u; channels -= 16u, from += 16, to += 16) {
            vst1q_s8(to, vld1q_s8(from));
        }
    }
#endif
}

/* The inputs of the output sample whose first tap reads sample ``first``, [K][I], to ``to``. */
static inline void tqs_gather(const tqs_taps_t *taps, const int8_t *x, int32_t first, int8_t *to) {
    const uint32_t channels = taps->channels;
    uint32_t tap;

    for (tap = taps->taps; tap > 0u; tap--) {
        if ((uint32_t)first < taps->samples) {
            tqs_copy_tap(x + (uint32_t)first * channels, channels, to);
        } else {
            memset(to, taps->zero_point, channels);
        }
        to += channels;
        first += taps->dilation;
    }
}

#if defined(__ARM_FEATURE_MVE)
/* What an output sample finds in memory; see TQS_MVE_SAMPLE. */
typedef struct tqs_mve_run {
    tqs_mve_layer_t held;
    tqs_mve_plan_t plan;
    int8_t part[4];
} tqs_mve_run_t;

/* y: the dense layer of one output sample, not clamped yet. */
typedef void (*tqs_sample_t)(tqs_mve_run_t *run, const int8_t *x, uint32_t step, int8_t *y);

/*
 * All output samples, each in x where its inputs can be read there, else in buffer: [K][I]. Up to four taps of sixteen
 * codes need no copy. taps: NULL for one sample, whose inputs are x.
 */
static inline void tqs_conv_mve(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples,
                                int8_t *y, int8_t *buffer, tqs_sample_t compute) {
    const uint32_t outputs = layer->outputs;
    tqs_mve_run_t run;
    int8_t *to = y;
    int8_t *end = y + samples * outputs;

    tqs_mve_begin(layer, &run.plan, &run.held);
    if (taps == NULL) {
        compute(&run, x, 16, y);
    } else {
        const uint32_t channels = taps->channels;
        const uint32_t step = taps->dilation * 16u;
        const int32_t window = (int32_t)taps->samples - (int32_t)((taps->taps - 1u) * taps->dilation);
        const uint32_t is_read = step == 16u || (channels == 16u && taps->taps <= 4u) ? 1u : 0u;
        const uint32_t inside = is_read != 0u && window > 0 ? (uint32_t)window : 0u;
        int32_t first = -(int32_t)taps->left;

        for (; to != end; to += outputs, first += taps->stride) {
            const int8_t *from = buffer;
            uint32_t apart = 16;

            if ((uint32_t)first < inside) {
                from = x + (uint32_t)first * channels;
                apart = step;
            } else {
                tqs_gather(taps, x, first, buffer);
            }
            compute(&run, from, apart, to);
        }
    }
    tqs_mve_clamp(y, samples * outputs, layer->low, layer->high);
}
#endif

#endif
