/*
 * A TCG plugin of QEMU that counts, between two addresses of an image, how often each instruction runs, how often it
 * goes elsewhere than to the next one, and which lines of the flash a small cache does not hold. It knows nothing of
 * instructions: what they are and what they cost is read from the image (edge_tqs/boards/timing).
 *
 *     -plugin FILE.so,out=FILE,begin=ADDRESS,end=ADDRESS[,map=FILE][,flash=BYTES]
 *             [,line=BYTES,code=LINES,data=LINES,ways=WAYS,shared=1]
 *
 * Counting begins after the instruction at `begin` and ends before the one at `end`. map: lines `low high segment`
 * in hexadecimal, hexadecimal and decimal; an instruction from low to high - 2 makes that segment the current one, and
 * all others are counted with the current one. flash: addresses below are flash. line to shared: the cache; of a shared
 * one `code` counts.
 *
 * It writes, with counts of the segment:
 *     i SEGMENT ADDRESS BYTES RUNS LEAVES
 *     m SEGMENT LOADS STORES UNALIGNED FLASH_LOADS DATA_MISSES CODE_MISSES CODE_MISSES_NEXT_LINE
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of QEMU's interface for plugins what is used here; unchanged since version 1 (docs/devel/tcg-plugins.rst). */
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { NO_REGISTERS = 0, READ_AND_WRITE = 3 };
extern void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t, struct qemu_plugin_tb *));
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *block, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *instruction);
extern size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *instruction);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *instruction, void (*call)(unsigned, void *),
                                                   int flags, void *data);
extern void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *instruction,
                                             void (*call)(unsigned, uint32_t, uint64_t, void *), int flags, int kind,
                                             void *data);
extern bool qemu_plugin_mem_is_store(uint32_t info);
extern unsigned qemu_plugin_mem_size_shift(uint32_t info);
extern void qemu_plugin_register_atexit_cb(uint64_t id, void (*call)(uint64_t, void *), void *data);

#define EXPORTED __attribute__((visibility("default")))
EXPORTED int qemu_plugin_version = TQS_PLUGIN_VERSION;
EXPORTED int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments);

#define SEGMENTS 1024u
#define BUCKETS 65536u
#define NO_SEGMENT UINT32_MAX

struct tally {
    uint64_t runs;
    uint64_t leaves;
};

/* An instruction of the image. tallies: by segment, NULL until it is counted. */
struct site {
    uint64_t address;
    uint64_t bytes;
    uint32_t segment;
    struct tally *tallies;
    struct site *next;
};

struct memory {
    uint64_t loads;
    uint64_t stores;
    uint64_t unaligned;
    uint64_t flash_loads;
    uint64_t data_misses;
    uint64_t code_misses;
    uint64_t next_misses;
};

/* Lines that were used last, the latest first in each set. tags: the line's number and 1. */
struct cache {
    uint64_t sets;
    uint64_t ways;
    uint64_t *tags;
};

struct range {
    uint64_t low;
    uint64_t high;
    uint32_t segment;
};

static struct site *sites[BUCKETS];
static struct memory memories[SEGMENTS];
static struct range *ranges;
static size_t range_count;
static struct cache code_cache;
static struct cache data_cache;
static uint64_t line_bytes = 16;
static uint64_t flash_bytes;
static uint64_t begin_address = UINT64_MAX;
static uint64_t end_address = UINT64_MAX;
static uint64_t last_line = UINT64_MAX;
static const char *out_file;
static bool counting;
static bool shared;
static uint32_t current;
static struct site *last;

/* Whether the cache holds a line; it does then. */
static bool hit(struct cache *cache, uint64_t line) {
    uint64_t *set;
    uint64_t way;
    bool found = false;

    if (cache->tags == NULL) {
        return false;
    }
    set = cache->tags + (line % cache->sets) * cache->ways;
    for (way = 0; way < cache->ways; way++) {
        if (set[way] == line + 1u) {
            found = true;
            break;
        }
    }
    way = found ? way : cache->ways - 1u;
    memmove(set + 1, set, way * sizeof *set);
    set[0] = line + 1u;
    return found;
}

static void on_instruction(unsigned cpu, void *data) {
    struct site *site = data;
    uint64_t line;

    (void)cpu;
    if (!counting) {
        if (site->address == begin_address) {
            counting = true;
            last = NULL;
            last_line = UINT64_MAX;
            current = 0;
        }
        return;
    }
    if (last != NULL && site->address != last->address + last->bytes) {
        last->tallies[current].leaves++;
    }
    if (site->address == end_address) {
        counting = false;
        return;
    }
    if (site->segment != NO_SEGMENT) {
        current = site->segment;
    }
    if (site->tallies == NULL) {
        site->tallies = calloc(SEGMENTS, sizeof *site->tallies);
    }
    site->tallies[current].runs++;
    last = site;
    line = site->address / line_bytes;
    if (site->address < flash_bytes && line != last_line) {
        if (!hit(shared ? &data_cache : &code_cache, line)) {
            if (line == last_line + 1u) {
                memories[current].next_misses++;
            } else {
                memories[current].code_misses++;
            }
        }
        last_line = line;
    }
}

static void on_memory(unsigned cpu, uint32_t info, uint64_t address, void *data) {
    struct memory *memory = &memories[current];

    (void)cpu;
    (void)data;
    if (!counting) {
        return;
    }
    if ((address & ((1u << qemu_plugin_mem_size_shift(info)) - 1u)) != 0u) {
        memory->unaligned++;
    }
    if (qemu_plugin_mem_is_store(info)) {
        memory->stores++;
        return;
    }
    memory->loads++;
    if (address < flash_bytes) {
        memory->flash_loads++;
        memory->data_misses += hit(&data_cache, address / line_bytes) ? 0u : 1u;
    }
}

static uint32_t segment_of(uint64_t address) {
    size_t i;

    for (i = 0; i < range_count; i++) {
        if (address >= ranges[i].low && address < ranges[i].high) {
            return ranges[i].segment;
        }
    }
    return NO_SEGMENT;
}

static struct site *site_of(uint64_t address, uint64_t bytes) {
    struct site **bucket = &sites[address / 2u % BUCKETS];
    struct site *site;

    for (site = *bucket; site != NULL; site = site->next) {
        if (site->address == address) {
            return site;
        }
    }
    site = calloc(1, sizeof *site);
    site->address = address;
    site->bytes = bytes;
    site->segment = segment_of(address);
    site->next = *bucket;
    *bucket = site;
    return site;
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *block) {
    size_t count = qemu_plugin_tb_n_insns(block);
    size_t i;

    (void)id;
    for (i = 0; i < count; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
        struct site *site = site_of(qemu_plugin_insn_vaddr(instruction), qemu_plugin_insn_size(instruction));

        qemu_plugin_register_vcpu_insn_exec_cb(instruction, on_instruction, NO_REGISTERS, site);
        qemu_plugin_register_vcpu_mem_cb(instruction, on_memory, NO_REGISTERS, READ_AND_WRITE, NULL);
    }
}

static void on_exit_of_machine(uint64_t id, void *data) {
    FILE *out = fopen(out_file, "w");
    uint32_t segment;
    size_t bucket;

    (void)id;
    (void)data;
    if (out == NULL) {
        return;
    }
    for (bucket = 0; bucket < BUCKETS; bucket++) {
        const struct site *site;

        for (site = sites[bucket]; site != NULL; site = site->next) {
            for (segment = 0; site->tallies != NULL && segment < SEGMENTS; segment++) {
                const struct tally *tally = &site->tallies[segment];

                if (tally->runs != 0u) {
                    fprintf(out, "i %" PRIu32 " %" PRIx64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", segment,
                            site->address, site->bytes, tally->runs, tally->leaves);
                }
            }
        }
    }
    for (segment = 0; segment < SEGMENTS; segment++) {
        const struct memory *memory = &memories[segment];

        if (memory->loads + memory->stores + memory->code_misses + memory->next_misses != 0u) {
            fprintf(out,
                    "m %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64
                    "\n",
                    segment, memory->loads, memory->stores, memory->unaligned, memory->flash_loads, memory->data_misses,
                    memory->code_misses, memory->next_misses);
        }
    }
    fclose(out);
}

static bool read_map(const char *path) {
    FILE *map = fopen(path, "r");
    struct range range;

    if (map == NULL) {
        return false;
    }
    while (fscanf(map, "%" SCNx64 " %" SCNx64 " %" SCNu32, &range.low, &range.high, &range.segment) == 3) {
        ranges = realloc(ranges, (range_count + 1u) * sizeof *ranges);
        ranges[range_count++] = range;
        if (range.segment >= SEGMENTS) {
            fclose(map);
            return false;
        }
    }
    fclose(map);
    return true;
}

/* lines: 0 for none. ways: 0 for as many as there are lines. */
static void make_cache(struct cache *cache, uint64_t lines, uint64_t ways) {
    if (lines == 0u) {
        return;
    }
    cache->ways = ways == 0u || ways > lines ? lines : ways;
    cache->sets = lines / cache->ways;
    cache->tags = calloc(cache->sets * cache->ways, sizeof *cache->tags);
}

int qemu_plugin_install(uint64_t id, const void *info, int count, char **arguments) {
    uint64_t code = 0;
    uint64_t data = 0;
    uint64_t ways = 0;
    int i;

    (void)info;
    for (i = 0; i < count; i++) {
        char *name = arguments[i];
        char *value = strchr(name, '=');
        uint64_t number;

        if (value == NULL) {
            return -1;
        }
        *value++ = '\0';
        number = strtoull(value, NULL, 0);
        if (strcmp(name, "out") == 0) {
            out_file = strdup(value);
        } else if (strcmp(name, "begin") == 0) {
            begin_address = number;
        } else if (strcmp(name, "end") == 0) {
            end_address = number;
        } else if (strcmp(name, "flash") == 0) {
            flash_bytes = number;
        } else if (strcmp(name, "line") == 0) {
            line_bytes = number;
        } else if (strcmp(name, "code") == 0) {
            code = number;
        } else if (strcmp(name, "data") == 0) {
            data = number;
        } else if (strcmp(name, "ways") == 0) {
            ways = number;
        } else if (strcmp(name, "shared") == 0) {
            shared = number != 0u;
        } else if (strcmp(name, "map") != 0 || !read_map(value)) {
            return -1;
        }
    }
    if (out_file == NULL || line_bytes == 0u) {
        return -1;
    }
    make_cache(&code_cache, shared ? 0u : code, ways);
    make_cache(&data_cache, shared ? code : data, ways);
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    qemu_plugin_register_atexit_cb(id, on_exit_of_machine, NULL);
    return 0;
}
