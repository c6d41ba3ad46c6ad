"""The portable kernels under ASan and UBSan: a share of the cases of `make sanitize`, and that it finds defects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sanitize

from edge_tqs.templates import template_root

SHARE = 2_000
#: defects: a piece of tqs_mul_s8 that occurs once, what stands there instead, what is said of it
PLANTED = [
    pytest.param("b[i] -", "b[i + (i + 1u == layer->size)] -", "heap-buffer-overflow", id="a byte beyond the input"),
    pytest.param("(product,", "(product * 65536,", "signed integer overflow", id="overflow"),
]


@pytest.mark.slow
def test_kernels_equal_their_references_under_sanitizers() -> None:
    outcome = sanitize.run(SHARE)
    assert outcome.passed, outcome.output
    assert sorted(outcome.ran) == sanitize.portable_kernels()
    assert min(outcome.ran.values()) >= SHARE


@pytest.mark.parametrize(("piece", "instead", "said"), PLANTED)
def test_a_planted_defect_is_found(piece: str, instead: str, said: str, tmp_path: Path) -> None:
    kernels = Path(shutil.copytree(template_root() / "kernels", tmp_path / "kernels"))
    text = (kernels / "tqs_mul_s8.c").read_text(encoding="ascii")
    assert text.count(piece) == 1
    (kernels / "tqs_mul_s8.c").write_text(text.replace(piece, instead), encoding="ascii")
    outcome = sanitize.run(SHARE, kernels, "test_mul")
    assert not outcome.passed
    assert said in outcome.output
    assert "tqs_mul_s8" in outcome.output
