#include "tqs_snapshot.h"

#include <stddef.h>
#include <string.h>

#include "tqs_crc32.h"

/* Bytes of the model's hash that are kept. */
#define HASH_SIZE 16u

static const uint8_t magic[4] = {'T', 'Q', 'S', TQS_SNAPSHOT_VERSION};

/* Where in the model what is kept lies; it follows the head in this order. */
static const struct {
    uint32_t offset;
    uint32_t size;
} parts[] = {
    {offsetof(tqs_model_t, pushed), sizeof(uint32_t)},
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    {offsetof(tqs_model_t, state), TQS_STATE_SIZE},
    {offsetof(tqs_model_t, said), TQS_STEPS * TQS_OUTPUTS * TQS_CODE_SIZE},
#if TQS_HELD > 0u
    {offsetof(tqs_model_t, last), TQS_CHANNELS * TQS_CODE_SIZE},
#endif
#else
    {offsetof(tqs_model_t, history), TQS_HISTORY},
#endif
};

void tqs_snapshot_save(const tqs_model_t *model, uint8_t bytes[TQS_SNAPSHOT_SIZE]) {
    uint8_t *to = bytes + HASH_SIZE + sizeof magic;
    uint32_t crc;
    uint32_t i;

    memcpy(bytes, magic, sizeof magic);
    memcpy(bytes + sizeof magic, tqs_model_hash, HASH_SIZE);
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memcpy(to, (const uint8_t *)model + parts[i].offset, parts[i].size);
        to += parts[i].size;
    }
    crc = tqs_crc32(0, bytes, TQS_SNAPSHOT_SIZE - 4u);
    memcpy(to, &crc, sizeof crc);
}

bool tqs_snapshot_load(tqs_model_t *model, const uint8_t bytes[TQS_SNAPSHOT_SIZE]) {
    const uint8_t *from = bytes + HASH_SIZE + sizeof magic;
    uint32_t crc;
    uint32_t i;

    tqs_reset(model);
    memcpy(&crc, bytes + TQS_SNAPSHOT_SIZE - 4u, sizeof crc);
    if (memcmp(bytes, magic, sizeof magic) != 0 || memcmp(bytes + sizeof magic, tqs_model_hash, HASH_SIZE) != 0 ||
        crc != tqs_crc32(0, bytes, TQS_SNAPSHOT_SIZE - 4u)) {
        return false;
    }
    for (i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        memcpy((uint8_t *)model + parts[i].offset, from, parts[i].size);
        from += parts[i].size;
    }
    tqs_forecast_begin(model);
    return true;
}
