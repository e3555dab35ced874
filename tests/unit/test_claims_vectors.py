"""The tax vectors of tests/vectors/good/tax: each a record and figures worked out beforehand, not by this
code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.claims.figures import compute_figures
from app.claims.record_json import parse_record

VECTORS = sorted((Path(__file__).parents[1] / "vectors/good/tax").glob("*.json"))


def _at(value: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        value = value.get(part)
    return value


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path: Path) -> None:
    vector = json.loads(path.read_text(encoding="utf-8"))
    figures = compute_figures(parse_record(vector["record"])).as_json()
    assert {key: _at(figures, key) for key in vector["expected"]} == vector["expected"]


def test_all_cases_of_the_fact_sheet_are_there() -> None:
    names = {path.stem for path in VECTORS}
    assert {"case-a", "case-b", "case-c", "case-e", "case-g", "case-i", "public-2", "public-3"} <= names
