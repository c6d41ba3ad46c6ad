# A POSIX program. `make library`: the model alone as a shared library, ports/linux/library.c.
PORT_CFLAGS   :=
PORT_LDFLAGS  :=
LINK_INPUTS   :=
IMAGES        := build/firmware.elf
.DEFAULT_GOAL := all

# Without a C library of its own: the process that loads it has one, of whatever kind.
LIBRARY_SOURCES := $(filter model.c core/tqs_model.c core/tqs_model_float.c kernels/%,$(SOURCES)) ports/linux/library.c

# Debian's compiler for ARMv6 passes floats in integer registers, which Raspberry Pi OS, whose programs do not, refuses to
# load. The library passes none, so that it may say that it does as they do.
ifeq ($(TOOLCHAIN),arm-linux-gnueabi-)
LIBRARY_CFLAGS  := -marm -mfpu=vfp -mfloat-abi=hard -U__ARM_PCS_VFP
LIBRARY_LDFLAGS := -Wl,--no-warn-mismatch
endif

.PHONY: library
library: build/libforecaster.so

build/libforecaster.so: $(LIBRARY_SOURCES) Makefile
	@mkdir -p $(@D)
	$(CC) $(filter-out -MMD -MP -g -fstack-usage,$(CFLAGS)) $(LIBRARY_CFLAGS) -O2 -fPIC -fvisibility=hidden \
	    $(INCLUDES) $(CFLAGS_EXTRA) \
	    $(LIBRARY_LDFLAGS) -shared -nostdlib -Wl,--gc-sections -Wl,--build-id=none -Wl,-s -Wl,-soname,libforecaster.so \
	    $(LIBRARY_SOURCES) -lgcc -o $@
