"""What can go wrong in the verifier, as one small tree.

AkashiVerifierError
├── FormatError        bytes that are not what they claim to be; every parser raises only this
│   └── LimitError     bytes that exceed a documented limit
├── TrustError         the trust list is missing, expired, older than the one known, or wrongly signed
├── SourceError        somebody had to be asked and did not answer (an outage, never a forgery)
└── UsageError         the caller's own mistake (arguments, files that do not exist)

This module does not decide what a verdict is: `report` does.
"""

from __future__ import annotations


class AkashiVerifierError(Exception):
    """Base of every error this package raises on purpose.

    `code` is a short stable ASCII word (`bad-base64`), `detail` a sentence for people. Neither holds secrets.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class FormatError(AkashiVerifierError):
    """The bytes are not in the format they should be in."""


class LimitError(FormatError):
    """The bytes are larger, deeper or more numerous than a documented limit allows."""


class TrustError(AkashiVerifierError):
    """Nothing may be trusted on the strength of this trust list."""


class SourceError(AkashiVerifierError):
    """A source that had to be asked did not give a usable answer."""


class UsageError(AkashiVerifierError):
    """The command or call itself is wrong."""
