# A POSIX program.
PORT_CFLAGS  :=
PORT_LDFLAGS :=
LINK_INPUTS  :=
IMAGES       := build/firmware.elf
