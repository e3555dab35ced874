"""The compiled AnchorRegistry as it was committed: ABI and bytecode, made by contracts/compile.py, never at
run time.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def load_artefact() -> dict[str, Any]:
    """ABI, bytecode, compiler version and source hash of the contract."""
    text = resources.files(__name__).joinpath("AnchorRegistry.json").read_text(encoding="utf-8")
    artefact: dict[str, Any] = json.loads(text)
    return artefact
