"""Runs an image on a chip of labwired; its UART is standard input and output: python labwired_chip.py CHIP IMAGE.

CHIP: a file of this folder, CHIP.yaml, or else the name of one of labwired's.
"""

from __future__ import annotations

import os
import select
import sys
import tempfile
from pathlib import Path

#: Virtual time between two looks at the input.
TURN = "200us"


def main(chip: str, image: str) -> None:
    """Run until nobody holds the port any more."""
    from labwired import Sim

    own = Path(__file__).parent / f"{chip}.yaml"
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as system:
        # Chips outside of its package are taken as a part of a system only.
        system.write(f'name: "{chip}"\nchip: "{own}"\nexternal_devices: []\n')
        system.flush()
        simulated = Sim(image, system=system.name) if own.is_file() else Sim(image, chip=chip)
    with simulated as sim:
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
