# Bare metal: own startup and linker script, newlib for memcpy and its like only.
PORT_CFLAGS  := -mthumb
PORT_LDFLAGS := -mthumb -nostartfiles --specs=nano.specs -T link.ld
LINK_INPUTS  := link.ld
IMAGES       := build/firmware.elf build/firmware.bin build/firmware.hex
