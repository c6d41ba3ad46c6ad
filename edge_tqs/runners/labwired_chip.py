"""Runs an image on a chip of labwired; its UART is standard input and output: python labwired_chip.py CHIP IMAGE."""

from __future__ import annotations

import os
import select
import sys

#: Virtual time between two looks at the input.
TURN = "200us"


def main(chip: str, image: str) -> None:
    """Run until nobody holds the port any more."""
    from labwired import Sim

    with Sim(image, chip=chip) as sim:
        print("running", file=sys.stderr, flush=True)
        while True:
            sim.run_for(TURN)
            output = sim.read_uart_bytes()
            while output:
                output = output[os.write(1, output) :]
            if select.select([0], [], [], 0)[0]:
                arrived = os.read(0, 4096)
                if not arrived:
                    return
                sim.send_bytes(arrived)


if __name__ == "__main__":
    main(*sys.argv[1:])
