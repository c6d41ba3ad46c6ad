"""A budget as people write it."""

from __future__ import annotations

import re

from edge_tqs.errors import UsageError


def parse_budget(text: str) -> int:
    """Bytes from "24576", "24KB", "24 KiB", "1.5MB". As in linker scripts KB and KiB are 1024 bytes, MB and MiB 1024^2.

    Raises UsageError for anything else, zero and negative numbers among it.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:(k|m)(?:i?b)?|b|bytes)?\s*", text, re.IGNORECASE)
    scale = {None: 1, "k": 1024, "m": 1024**2}[match[2].lower() if match and match[2] else None]
    size = int(float(match[1]) * scale) if match else 0
    if size < 1:
        raise UsageError(
            f"{text!r} is not a number of bytes",
            hint="Write 24576, 24KB (KB = 1024 bytes), 1.5MB, or flash for what the board has room for.",
        )
    return size
