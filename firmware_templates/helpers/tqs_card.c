#include "tqs_card.h"

#include <stddef.h>
#include <string.h>

static float distance(float a, float b) {
    return a > b ? a - b : b - a;
}

void tqs_card_begin(tqs_card_t *card) {
    memset(card, 0, sizeof *card);
}

void tqs_card_sample(tqs_card_t *card, const float truth[TQS_OUTPUTS], const float *forecast) {
    float *made = card->forecast[card->place];
    float *base = card->base[card->place];
    uint32_t i;

    for (i = 0; i < TQS_OUTPUTS; i++) {
        /* NaN is equal to nothing: no truth, or none was there when the forecast was made. */
        if (!card->waits[card->place] || truth[i] != truth[i] || made[i] != made[i] || base[i] != base[i]) {
            continue;
        }
        if (card->truths[i] < TQS_CARD_ROLLING) {
            card->truths[i]++;
        }
        card->mae[i] += (distance(truth[i], made[i]) - card->mae[i]) / (float)card->truths[i];
        card->naive[i] += (distance(truth[i], base[i]) - card->naive[i]) / (float)card->truths[i];
    }
    card->waits[card->place] = forecast != NULL;
    if (forecast != NULL) {
        memcpy(made, forecast, sizeof card->forecast[0]);
        memcpy(base, truth, sizeof card->base[0]);
    }
    card->place = card->place + 1u < TQS_CARD_LEAD ? card->place + 1u : 0u;
}

void tqs_card_gap(tqs_card_t *card) {
    memset(card->waits, 0, sizeof card->waits);
}

bool tqs_card_is_worse(const tqs_card_t *card, uint32_t output) {
    return 2u * card->truths[output] >= TQS_CARD_ROLLING && card->mae[output] > card->naive[output];
}
