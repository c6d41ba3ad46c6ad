"""Which of a model's outputs is the forecast."""

from __future__ import annotations

from edge_tqs.errors import ModelError, UsageError


def chosen_output(names: list[tuple[str, str]], wanted: str | None) -> int:
    """The index of the output that is ``wanted``, by either of the names that each has.

    Raises ModelError where none is asked for and there are several, UsageError for one that there is not.
    """
    listed = ", ".join(name or "the only one" for name, _ in names)
    if wanted is None:
        if len(names) != 1:
            raise ModelError(
                f"has {len(names)} outputs: {listed}",
                hint=f'Choose the forecast: --output {names[0][0]}, or output = "{names[0][0]}" under [forecast].',
            )
        return 0
    for place in (0, 1):
        found = [index for index, pair in enumerate(names) if pair[place] == wanted]
        if len(found) == 1:
            return found[0]
    raise UsageError(f"--output {wanted}: the model has no such output", hint=f"Its outputs: {listed}.")
