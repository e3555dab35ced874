"""The log alone: a software key, a directory, no network."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chain.checkpoint_key import SoftwareSigner
from chain.log import Log, create_log
from verifier.formats.signed_note import build_vkey
from verifier.formats.tlog_proof import format_tlog_proof

ORIGIN = "door.mihon.example/992011/log/1"


class LogBench:
    """An opened log in `directory`."""

    def __init__(self, directory: Path) -> None:
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        create_log(directory, ORIGIN)
        self.log = Log(directory, build_vkey(ORIGIN, public), SoftwareSigner(key))
        (index,) = self.log.append([os.urandom(32)])
        self.proof_text = format_tlog_proof(self.log.prove(index)).decode("utf-8")

    def append(self, entries: Sequence[bytes]) -> None:
        """One batch, one signed and published checkpoint."""
        self.log.append(entries)

    def close(self) -> None:
        """Give the files back."""
        self.log.close()
