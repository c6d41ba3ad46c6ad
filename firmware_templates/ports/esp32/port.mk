# Bare metal without a C library: own startup and linker script, own memcpy and its like (string.h, string.c). The compiler
# may make instructions of their calls, but never a call of memcpy of the loop that memcpy is.
PORT_CFLAGS  := -ffreestanding -fbuiltin -fno-tree-loop-distribute-patterns
PORT_LDFLAGS := -nostdlib -T link.ld
LINK_INPUTS  := link.ld
PORT_LIBS    := -lgcc
IMAGES       := build/firmware.elf build/firmware.bin build/firmware.hex
