"""Runs an image on a chip of labwired; its UART is standard input and output: python labwired_chip.py CHIP IMAGE."""

from __future__ import annotations

import json
import os
import select
import sys
import tempfile
from pathlib import Path

#: Virtual time between two looks at the input.
TURN = "200us"
_DEBUG_CONTROL = {"id": "debug_control", "type": "stub", "base_address": 0xE000EDF0, "size": "16B"}
_SYSTICK = {"id": "systick", "type": "systick", "base_address": 0xE000E010, "size": "16B"}
#: What every such core has (Armv7-M Architecture Reference Manual, B3.3, C1.6) and labwired's chip leaves out, where a
#: read faults: DHCSR to DEMCR, and on one SysTick.
ADDED = {"nrf52840": (_DEBUG_CONTROL, _SYSTICK), "rp2350": (_DEBUG_CONTROL,)}


def main(chip: str, image: str) -> None:
    """Run until nobody holds the port any more."""
    import labwired

    with tempfile.TemporaryDirectory(prefix="edge-tqs-") as folder:
        described = {"chip": chip}
        if chip in ADDED:
            path = Path(labwired.__file__).parent / "configs" / "chips" / f"{chip}.yaml"
            described = {"system": str(Path(folder) / f"{chip}.json")}
            added = {"name": chip, "chip": str(path), "external_devices": [], "peripherals": ADDED[chip]}
            Path(described["system"]).write_text(json.dumps(added), encoding="utf-8")  # JSON is YAML
        sim = labwired.Sim(image, **described)
    with sim:
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
