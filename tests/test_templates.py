from __future__ import annotations

import pytest

from edge_tqs import templates
from edge_tqs.errors import ToolError
from edge_tqs.templates import boards_root, fill, template_root


def test_fill_replaces_every_placeholder_once() -> None:
    assert fill("@A@ user@host @B_2@ @A@", {"A": "@B_2@", "B_2": "x"}) == "@B_2@ user@host x @B_2@"


def test_fill_refuses_a_missing_value_and_an_unused_one() -> None:
    with pytest.raises(ValueError, match=r"no value for \['B'\]"):
        fill("@A@ @B@", {"A": "1"})
    with pytest.raises(ValueError, match=r"no placeholder for \['C'\]"):
        fill("@A@", {"A": "1", "C": "2"})


def test_roots_are_the_checkouts_directories() -> None:
    assert (template_root() / "PROTOCOL.md").is_file()
    assert boards_root().name == "boards"


def test_a_damaged_installation_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(templates, "_PACKAGE", tmp_path / "site-packages" / "edge_tqs")
    with pytest.raises(ToolError, match="firmware_templates"):
        template_root()
