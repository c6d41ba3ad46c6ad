"""A board's baud rate raised after the greeting, as far as both ends and what is between them carry it.

`Device` gives a raised rate up by itself, for good, when answers stop: the next request goes out at the first one.
"""

from __future__ import annotations

from collections.abc import Iterator

from edge_tqs.device.device import Device
from edge_tqs.device.messages import Baud, BaudReply, Hello, MessageType
from edge_tqs.errors import UnknownRequestError

#: What is proposed, in bits a second, and at most how many times the first rate: beyond, a board cannot tell from noise
#: that a host looks for it at the first one (PROTOCOL.md).
RATES, MOST_TIMES = (921_600, 460_800, 230_400), 8
#: HELLOs at a new rate of which one must be answered, since the first may come before the board has changed; and those
#: that must then be answered in a row.
GREETINGS, CONFIRMATIONS = 2, 5


def raise_baud(device: Device, most: int) -> int:
    """Take the highest of RATES, above the first rate and up to ``most``, that is carried; the rate that then holds.

    That is the first one where there is none, or where the board's firmware has no such request. Raises as `Device`.
    """
    before = device.link.first_baud
    for rate in (rate for rate in RATES if before < rate <= min(most, MOST_TIMES * before)):
        try:
            frame = device.ask_once(Baud(rate), MessageType.BAUD_REPLY)
        except UnknownRequestError:
            break
        if frame is not None and BaudReply.parse(frame.payload).rate == 0:
            continue
        # An answer that was lost may have been a yes: the board is looked for at the new rate then, too.
        if device.link.set_baud(rate) and _is_carried(device):
            return rate
        device.link.set_baud(before)
        device.hello()
    return before


def _is_carried(device: Device) -> bool:
    def answered(count: int) -> Iterator[bool]:
        return (device.ask_once(Hello(), MessageType.HELLO_REPLY) is not None for _ in range(count))

    return any(answered(GREETINGS)) and all(answered(CONFIRMATIONS))
