/*
 * y = the largest of some samples of x, channel by channel, for cores with the DSP extension (Cortex-M4, M7, M33): four
 * channels at a time. At least four channels; the last four may have some in common with those before.
 */
#include <string.h>

#include "tqs_pool.h"

void tqs_max_pool_s8_dsp(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t channels = layer->channels;
    const uint32_t last = channels - 4u;
    const uint32_t y_samples = layer->y_samples;
    uint32_t sample = 0;

    do {
        const tqs_window_t window = tqs_pool_window(layer, sample);
        const int8_t *first = x + window.first * channels;
        uint32_t channel = 0;

        for (;;) {
            const int8_t *in = first + channel;
            uint32_t largest = 0x80808080u;
            uint32_t left = window.count; /* at least one */
            uint32_t four;
            uint32_t differences;

            do {
                __asm__ volatile("ldr %0, [%1]\n\tadd %1, %4\n\tssub8 %2, %0, %3\n\tsel %3, %0, %3"
                                 : "=&r"(four), "+r"(in), "=&r"(differences), "+r"(largest)
                                 : "r"(channels)
                                 : "memory");
            } while (--left > 0u);
            memcpy(y + channel, &largest, 4);
            if (channel == last) {
                break;
            }
            channel = channel + 4u < last ? channel + 4u : last;
        }
        y += channels;
        sample++;
    } while (sample < y_samples);
}
