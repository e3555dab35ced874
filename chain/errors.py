"""What can go wrong in the log and its anchoring, as one small tree.

ChainError
├── LogRefused        doubt about the log's own history: nothing is signed until a person has looked (never
repaired) ├── LogUnavailable    not now: the signer, the chain or the disk is away; the entry may be sent
again ├── PoolFull          more entries are waiting than the limit allows; send again later
├── SigningError      the signer answered, and refused
├── PublicFileError   the street door refused a file for good (other bytes under a create-only name)
├── EthereumError     the chain answered something that cannot be right, or another chain answered
│   └── EthereumUnavailable   the chain did not answer (an outage)
└── SettingsError     the process was started with settings that cannot be used

Bytes of others that are malformed raise `verifier.errors.FormatError`, as everywhere.
"""

from __future__ import annotations


class ChainError(Exception):
    """Base of every error this package raises on purpose; `code` is a stable ASCII word, `detail` a
    sentence.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class LogRefused(ChainError):  # noqa: N818 - a state of the log, named as the operator will read it
    """The log will not sign: its own state contradicts itself or what others have seen of it."""


class LogUnavailable(ChainError):  # noqa: N818 - as above
    """The log cannot sign just now; nothing is lost and the same entries may be sent again."""


class PoolFull(LogUnavailable):
    """Too many entries are waiting for the next beat."""


class SigningError(ChainError):
    """The signer refused to sign, or its signature is wrong."""


class PublicFileError(ChainError):
    """The street door holds other bytes under a name that may never change."""


class EthereumError(ChainError):
    """The chain's answer is unusable, or it is another chain or contract than configured."""


class EthereumUnavailable(EthereumError):  # noqa: N818 - as above
    """The chain did not answer."""


class SettingsError(ChainError):
    """The settings cannot be used."""
