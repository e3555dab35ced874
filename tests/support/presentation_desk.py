"""A desk that asks wallets of others, for tests: requests with knobs, and the walk over an answer. 模擬/MOCK."""

from __future__ import annotations

import dataclasses
import functools
import os
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.verifier_bundles import NOW, PUBLIC_URL, STATUS_URI, VCT, MiniCity, mini_city, new_key
from tests.support.wallet_of_others import Wallet, read_request
from verifier.desk_certificate import make_certificate
from verifier.formats.dcql import ClaimQuery, CredentialQuery, DcqlQuery
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import es256_signer
from verifier.formats.presentation_request import PresentationRequest, build_presentation_request
from verifier.policy import WALLET
from verifier.presentation import examine_presentation
from verifier.presets import load_preset
from verifier.report import Report
from verifier.sources import StaticSources

SECONDS = int(NOW.timestamp())
PLAIN = DcqlQuery(
    (
        CredentialQuery(
            "income_certificate", (VCT,), (ClaimQuery(("subject", "name")), ClaimQuery(("income", "total")))
        ),
    )
)


@dataclass
class Desk:
    """The keys of an employer; `taken` plays the file that binds an answer to its request."""

    signing: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    preset: str | None = None
    taken: list[bytes] = field(default_factory=list)

    @functools.cached_property
    def certificate(self) -> bytes:
        return make_certificate(self.signing.public_key(), NOW)[0]

    @functools.cached_property
    def asked(self) -> PresentationRequest:
        return self.ask()

    def ask(self, **changes: Any) -> PresentationRequest:
        request = PresentationRequest(
            certificate=self.certificate,
            public_url=PUBLIC_URL,
            id=base64url_encode(bytes([1]) + os.urandom(15)),
            nonce=base64url_encode(os.urandom(32)),
            state=base64url_encode(os.urandom(32)),
            query=PLAIN if self.preset is None else load_preset(self.preset).query,
            encryption_key=self.key.public_key(),
            issued=SECONDS - 60,
            expires=SECONDS + 3600,
        )
        return dataclasses.replace(request, **changes)

    @functools.cached_property
    def request(self) -> bytes:
        return self.build(self.asked)

    def build(self, asked: PresentationRequest) -> bytes:
        return build_presentation_request(asked, es256_signer(self.signing))

    @functools.cached_property
    def read(self) -> dict[str, Any]:
        """What a wallet reads."""
        return read_request(self.request)

    def take(self, response: bytes) -> bool:
        self.taken = self.taken or [response]
        return self.taken == [response]

    def examine(self, response: bytes, **changes: Any) -> Report:
        city = mini_city()
        values: dict[str, Any] = {
            "request": self.request,
            "key": self.key,
            "trust": city.trust(),
            "policy": WALLET,
            "now": NOW,
            "sources": StaticSources({STATUS_URI: city.status()}),
            "take": self.take,
        } | changes
        return examine_presentation(response, **values)


def wallet_with(city: MiniCity, credential: bytes | None = None, **changes: Any) -> Wallet:
    """A wallet that holds a credential of the mini city."""
    return Wallet(credential or city.credential(**changes), city.holder, SECONDS)
