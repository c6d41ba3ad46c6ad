/* What one output sample of a convolution over time reads, side by side. */
#include <string.h>

#include "tqs_taps.h"

const int8_t *tqs_taps_s8(const tqs_taps_t *layer, const int8_t *x, uint32_t sample, int8_t *buffer) {
    const uint32_t channels = layer->channels;
    const uint32_t samples = layer->samples;
    const uint32_t left = layer->left;
    uint32_t at = sample * layer->stride; /* counted from the first zero */
    int8_t *to = buffer;
    uint32_t tap;

    if (layer->dilation == 1u && at >= left && at - left + layer->taps <= samples) {
        return x + (at - left) * channels;
    }
    for (tap = layer->taps; tap > 0u; tap--) {
        if (at >= left && at - left < samples) {
            memcpy(to, x + (at - left) * channels, (size_t)channels);
        } else {
            memset(to, layer->zero_point, (size_t)channels);
        }
        to += channels;
        at += layer->dilation;
    }
    return buffer;
}
