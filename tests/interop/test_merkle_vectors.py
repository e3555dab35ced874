"""The RFC 9162 proof vectors of transparency-dev/merkle, read where they lie (`../shared/vectors`)."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest

from verifier.formats.merkle import ProofError, verify_consistency, verify_inclusion

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "rfc9162"
pytestmark = pytest.mark.skipif(
    not VECTORS.is_dir(), reason="foreign vectors absent: ../shared/vectors/rfc9162 beside the project"
)


def decode(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def decode_root(text: str | None) -> bytes:
    """Roots that a vector does not look at are written as words ("don't care 2"); our check wants 32 bytes
    first, so a word is replaced by its hash, which keeps equal ones equal and different ones different."""
    root = decode(text)
    return hashlib.sha256(root).digest() if root.startswith(b"don't care") else root


def files(kind: str) -> list[Path]:
    return sorted((VECTORS / kind).rglob("*.json"))


@pytest.mark.parametrize("path", files("inclusion"), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_inclusion(path: Path) -> None:
    vector = json.loads(path.read_text())
    arguments = (
        decode(vector["leafHash"]),
        vector["leafIdx"],
        vector["treeSize"],
        [decode(item) for item in vector["proof"] or []],
        decode(vector["root"]),
    )
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_inclusion(*arguments)
    else:
        verify_inclusion(*arguments)


@pytest.mark.parametrize("path", files("consistency"), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_consistency(path: Path) -> None:
    vector = json.loads(path.read_text())
    arguments = (
        vector["size1"],
        decode_root(vector["root1"]),
        vector["size2"],
        decode_root(vector["root2"]),
        [decode(item) for item in vector["proof"] or []],
    )
    if vector["wantErr"]:
        with pytest.raises(ProofError):
            verify_consistency(*arguments)
    else:
        verify_consistency(*arguments)


def test_the_folder_holds_good_and_bad_ones() -> None:
    verdicts = [json.loads(path.read_text())["wantErr"] for path in files("inclusion") + files("consistency")]
    assert verdicts.count(False) >= 10
    assert verdicts.count(True) >= 100
