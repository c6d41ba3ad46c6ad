"""Runs an image on a chip of labwired; its UART is standard input and output: python labwired_chip.py CHIP IMAGE.

CHIP: a file of this folder, CHIP.yaml, or else one that labwired has.
"""

from __future__ import annotations

import json
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
_DEBUG_CONTROL = {"id": "debug_control", "type": "stub", "base_address": 0xE000EDF0, "size": "16B"}
_SYSTICK = {"id": "systick", "type": "systick", "base_address": 0xE000E010, "size": "16B"}
#: What every such core has (Armv7-M Architecture Reference Manual, B3.3, C1.6) and labwired's chip leaves out, where a
#: read faults: DHCSR to DEMCR, and on one SysTick.
ADDED = {"nrf52840": (_DEBUG_CONTROL, _SYSTICK), "rp2350": (_DEBUG_CONTROL,)}


def simulated(chip: str, image: str) -> Sim:
    """The chip with the image in its flash, at its reset. What labwired has not comes to it as part of a system."""
    import labwired

    own = Path(__file__).parent / f"{chip}.yaml"
    if not own.is_file() and chip not in ADDED:
        return labwired.Sim(image, chip=chip)
    described = own if own.is_file() else Path(labwired.__file__).parent / "configs" / "chips" / own.name
    system = {"name": chip, "chip": str(described), "external_devices": [], "peripherals": ADDED.get(chip, ())}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(system, file)  # JSON is YAML
        file.flush()
        return labwired.Sim(image, system=file.name)


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
