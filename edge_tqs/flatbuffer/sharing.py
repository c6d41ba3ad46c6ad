"""A flatbuffer builder that writes equal things once.

A flatbuffer is a graph of offsets, and several of them may lead to one place. So vectors, strings and tables that are
equal are written once: scales and zero points that tensors share, shapes, options of operators, constants.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flatbuffers

BUFFER_ALIGNMENT = 16


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """For the ``Pack`` of the schema's generated classes, which calls the methods that are overridden here.

    Byte vectors are aligned to 16 bytes: only buffers and the metadata are byte vectors in a .tflite file.
    """

    def __init__(self, size: int = 1024) -> None:
        super().__init__(size)
        #: what was written -> where, as the builder counts it
        self._places: dict[Any, int] = {}
        #: of the vector or table that is being written: where the file ended before, and what it is made of
        self._before, self._made_of = 0, list[Any]()

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802
        self._before, self._made_of = self.Offset(), [(elemSize, alignment)]
        return super().StartVector(elemSize, numElems, BUFFER_ALIGNMENT if elemSize == 1 else alignment)

    def CreateString(self, s: Any, *arguments: Any) -> Any:  # noqa: N802
        self._before, self._made_of = self.Offset(), [(1, "string")]
        return super().CreateString(s, *arguments)

    def EndVector(self, *arguments: Any) -> Any:  # noqa: N802
        (width, _), *offsets = self._made_of
        values = offsets or bytes(self.Bytes[self.head : self.head + width * self.vectorNumElems])
        key = ("vector", self._made_of[0], tuple(values))
        return self._once(key, lambda: super(SharingBuilder, self).EndVector(*arguments))

    def StartObject(self, numfields: int) -> None:  # noqa: N802
        self._before, self._made_of = self.Offset(), []
        super().StartObject(numfields)

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:  # noqa: N802
        if x != d:  # else nothing is written
            self._made_of.append((o, flags.bytewidth, x))
        super().PrependSlot(flags, o, x, d)

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:  # noqa: N802
        if x != d:
            self._made_of.append(o)
        super().PrependUOffsetTRelativeSlot(o, x, d)

    def PrependUOffsetTRelative(self, off: int) -> None:  # noqa: N802
        self._made_of.append(off)
        super().PrependUOffsetTRelative(off)

    def EndObject(self) -> Any:  # noqa: N802
        return self._once(("table", tuple(self._made_of)), lambda: super(SharingBuilder, self).EndObject())

    def _once(self, key: Any, write: Callable[[], int]) -> int:
        """Where the same was written before: what there is of it again is taken back. Else where it is written now."""
        if key not in self._places:
            self._places[key] = write()
        else:
            self.head = len(self.Bytes) - self._before
            self.nested, self.current_vtable, self.vectorNumElems = False, None, None
        return self._places[key]
