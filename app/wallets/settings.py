"""What is the same for every wallet: addresses, profiles, how long codes live, which profiles must encrypt.

Read from the environment by `app.settings`; this module only holds it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography import x509

CONFIGURATION: Final = "income_certificate"
"""Credential configuration and scope."""
DOCUMENT_KIND: Final = "income_certificate"
CODE_LIFE: Final = 600
DEFAULT_COPIES: Final = 10


@dataclass(frozen=True, slots=True)
class WalletSettings:
    """The city's side of OpenID4VCI.

    public_url  of the street door; city: six digits; profiles: those that are on
    encrypted   profiles in which requests and answers are encrypted between wallet and city
    code_life   seconds an offer's codes count
    providers   certificates of the authorities of wallet providers (key attestations)
    mock        whether everything is 模擬/MOCK
    """

    public_url: str
    city: str
    profiles: tuple[str, ...]
    encrypted: frozenset[str]
    code_life: int = CODE_LIFE
    providers: Sequence[x509.Certificate] = ()
    mock: bool = True

    @property
    def iss(self) -> str:
        """`iss` of credentials."""
        return f"{self.public_url}/{self.city}"

    @property
    def vct(self) -> str:
        """Type of credentials; its metadata lies at this address."""
        return f"{self.public_url}/vct/income-certificate/1"

    def issuer(self, profile: str) -> str:
        """The credential issuer identifier of a profile."""
        return self.iss if profile == "p1" else f"{self.iss}/haip"
