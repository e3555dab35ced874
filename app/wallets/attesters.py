"""The authorities of wallet providers whose key attestations the city believes, from one file.

A mock (模擬) authority is refused in production, a real one anywhere else: they never vouch for each other's wallets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography import x509

from app.errors import SettingsError

MAX_FILE_BYTES: Final = 256 << 10


def load_attesters(path: Path | None, *, profile: str) -> tuple[x509.Certificate, ...]:
    """The certificates (PEM) of a file; none without one. Raises: SettingsError."""
    if path is None:
        return ()
    try:
        data = path.read_bytes()
        if len(data) > MAX_FILE_BYTES:
            raise SettingsError("bad-setting", "AKASHI_WALLET_ATTESTERS: the file is too large")
        found = tuple(x509.load_pem_x509_certificates(data))
    except (OSError, ValueError) as error:
        raise SettingsError("bad-setting", "AKASHI_WALLET_ATTESTERS: the file cannot be read") from error
    for certificate in found:
        if ("MOCK" in certificate.subject.rfc4514_string()) == (profile == "production"):
            raise SettingsError(
                "mock-in-production",
                f"AKASHI_WALLET_ATTESTERS: mock (模擬) and real authorities never mix; the profile is {profile}",
            )
    return found
