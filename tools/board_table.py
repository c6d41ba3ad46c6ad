"""Write the table of boards into docs/boards.md from boards/*.toml. A test holds that it is up to date.

python tools/board_table.py
"""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board, list_boards

DOCUMENT = Path(__file__).parents[1] / "docs" / "boards.md"
BEGIN = "<!-- written by tools/board_table.py -->\n"
END = "<!-- end -->\n"


def table() -> str:
    """The boards as Markdown, by name."""
    rows = [("board", "what it is", "flash + RAM", "written by", "tried")]
    rows += [(f"`{b.name}`", b.description, _memories(b), b.upload.method, _tried(b)) for b in list_boards()]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]]) + "\n"


def insert(document: str) -> str:
    """The document with the table between its marks replaced."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + table() + END + tail


def _memories(board: Board) -> str:
    if board.flash is None or board.ram is None:
        return "Linux's"
    return f"{_size(board.flash.size_bytes)} + {_size(board.ram.size_bytes)}"


def _size(count: int) -> str:
    return f"{count >> 20} MB" if count % (1 << 20) == 0 else f"{count >> 10} KB"


def _tried(board: Board) -> str:
    emulator = board.emulator
    if board.proven != "emulated" or emulator is None:
        return board.proven
    return {
        "process": "as a process",
        "qemu-user": f"`{emulator.program}`",
        "qemu-system": f"`{emulator.program} -M {emulator.machine}`",
        "qemu-linux": f"Debian's kernel in `{emulator.program} -M {emulator.machine}`",
        "rp2040js": "`rp2040js`, from its UF2 file",
        "labwired": f"`labwired`, {emulator.machine}",
    }[emulator.kind]


if __name__ == "__main__":
    DOCUMENT.write_text(insert(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
