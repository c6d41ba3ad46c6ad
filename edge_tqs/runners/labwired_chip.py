"""Runs an image on a chip of labwired; its UART is standard input and output: python labwired_chip.py CHIP IMAGE.

CHIP: a file of this folder, CHIP.yaml, or else one that labwired has.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labwired import Sim

#: Virtual time between two looks at the input.
TURN = "200us"


def simulated(chip: str, image: str) -> Sim:
    """The chip with the image in its flash, at its reset. Chips outside of labwired come to it as part of a system."""
    from labwired import Sim

    own = Path(__file__).parent / f"{chip}.yaml"
    if not own.is_file():
        return Sim(image, chip=chip)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as system:
        system.write(f'name: "{chip}"\nchip: "{own}"\nexternal_devices: []\n')
        system.flush()
        return Sim(image, system=system.name)


def main(chip: str, image: str) -> None:
    """Run until nobody holds the port any more."""
    with simulated(chip, image) as sim:
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
