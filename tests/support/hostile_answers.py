"""Answers that a hostile or broken wallet could give, each of which differs from a good one in one thing. 模擬/MOCK.

`HOSTILE` is the table: what is made, which verdict it must get, and which check must say so with which code.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.presentation_desk import SECONDS, Desk
from tests.support.verifier_bundles import (
    NOW,
    STATUS_INDEX,
    STATUS_URI,
    VCT,
    mini_city,
    new_key,
    with_data,
)
from tests.support.wallet_of_others import Wallet
from verifier.formats.encoding import base64url_decode, base64url_encode
from verifier.formats.jose import format_jwk
from verifier.report import Verdict
from verifier.sources import OfflineSources, StaticSources

CITY = mini_city()
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
NO, OPEN = Verdict.NOT_VALID, Verdict.UNDETERMINED
FORGER = new_key()
ID = "income_certificate"
NAME, TOTAL = ("subject", "name"), ("income", "total")


@functools.cache
def good_credential() -> bytes:
    return CITY.credential()


def genuine(wallet: Wallet, **changes: Any) -> Wallet:
    """The same wallet with another credential that the city's key signed; `changes`: data and frame."""
    return dataclasses.replace(wallet, credential=CITY.credential(**changes))


@dataclass
class Scene:
    """A wallet with a good credential, and the desk that asks it."""

    wallet: Wallet
    desk: Desk

    def answer(self, **options: Any) -> bytes:
        return self.wallet.answer(self.desk.read, **options)

    def bound(self, **claims: Any) -> bytes:
        """An answer whose key binding says something else; `key`, `header`: how it is signed."""
        return self.answer(presentation=self.wallet.present(self.desk.read, **claims))

    def shown(self, sd_jwt: bytes, bound_to: bytes | None = None) -> bytes:
        """An answer with this SD-JWT, and a binding over it or over another."""
        binding = self.wallet.bind(sd_jwt if bound_to is None else bound_to, self.desk.read)
        return self.answer(presentation=sd_jwt + binding)

    def selected(self) -> bytes:
        return self.wallet.select([NAME, TOTAL])

    def other(self, **changes: Any) -> bytes:
        """An answer with another credential."""
        return genuine(self.wallet, **changes).answer(self.desk.read)

    def text(self) -> str:
        return self.wallet.present(self.desk.read).decode()


@dataclass(frozen=True)
class Case:
    """One mistake. `examine`: what else the desk is given (time, sources, trust)."""

    name: str
    make: Callable[[Scene], bytes]
    check: str
    code: str
    verdict: Verdict = NO
    examine: Mapping[str, Any] = field(default_factory=dict)


def _without_disclosure(scene: Scene, *, group: bool) -> bytes:
    """The answer after one disclosure was taken out: a group (its leaves then hang in the air), or a single leaf."""
    jwt, *disclosures, binding = scene.wallet.present(scene.desk.read).split(b"~")
    is_group = [b"_sd" in base64url_decode(text.decode("ascii")) for text in disclosures]
    del disclosures[is_group.index(group)]
    return scene.answer(presentation=b"~".join([jwt, *disclosures, binding]))


def _plain(scene: Scene) -> bytes:
    return json.dumps({"vp_token": {ID: [scene.text()]}, "state": scene.desk.asked.state}).encode()


def _unsigned_disclosure(scene: Scene) -> bytes:
    forged = base64url_encode(b'["c2FsdA","bonus",1]').encode()
    return scene.shown(scene.selected() + forged + b"~")


def _other_request_of_the_desk(scene: Scene) -> bytes:
    other = scene.desk.read | {"nonce": scene.desk.ask().nonce}
    return scene.answer(presentation=scene.wallet.present(other))


def _real_data() -> dict[str, Any]:
    authority = {name: value for name, value in with_data()["issuing_authority"].items() if name != "mock"}
    return with_data(issuing_authority=authority)


def _client(scene: Scene) -> str:
    return scene.desk.asked.client_id


def _status(**options: Any) -> dict[str, Any]:
    return {"sources": StaticSources({STATUS_URI: CITY.status(**options)})}


_FORGED_SIGNATURE = (bytes(31) + b"\x01") * 2
_AUDIENCES = (
    Case("other audience", lambda s: s.bound(aud="x509_hash:" + "A" * 43), "holder", "other-audience"),
    Case(
        "audience without its prefix",
        lambda s: s.bound(aud=_client(s).removeprefix("x509_hash:")),
        "holder",
        "other-audience",
    ),
    Case(
        "audience with another prefix",
        lambda s: s.bound(aud=_client(s).replace("x509_hash", "x509_san_dns")),
        "holder",
        "other-audience",
    ),
    Case(
        "audience is an address", lambda s: s.bound(aud=s.desk.asked.response_uri), "holder", "other-audience"
    ),
    Case("audience as a list", lambda s: s.bound(aud=[_client(s)]), "holder", "bad-key-binding"),
)
_REQUESTS = (
    Case("other nonce", lambda s: s.bound(nonce=base64url_encode(bytes(32))), "holder", "other-request"),
    Case(
        "nonce in another case",
        lambda s: s.bound(nonce=s.desk.asked.nonce.swapcase()),
        "holder",
        "other-request",
    ),
    Case("for another request of the desk", _other_request_of_the_desk, "holder", "other-request"),
    Case(
        "answer to another id, encrypted for this one",
        lambda s: s.wallet.answer(s.desk.read | {"state": s.desk.ask().state}),
        "holder",
        "other-request",
    ),
    Case("no state", lambda s: s.answer(more={"state": None}), "holder", "other-request"),
)
_BINDINGS = (
    Case(
        "binding of another credential of the phone",
        lambda s: s.shown(s.selected(), genuine(s.wallet).select([TOTAL])),
        "holder",
        "other-credential",
    ),
    Case(
        "disclosure removed after binding",
        lambda s: _without_disclosure(s, group=False),
        "holder",
        "other-credential",
    ),
    Case(
        "group removed after binding",
        lambda s: _without_disclosure(s, group=True),
        "format",
        "unreferenced-disclosure",
    ),
    Case(
        "sd_hash of nothing",
        lambda s: s.bound(sd_hash=base64url_encode(bytes(32))),
        "holder",
        "other-credential",
    ),
    Case("somebody else's phone", lambda s: s.bound(key=FORGER), "holder", "bad-signature"),
    Case("binding unsigned", lambda s: s.bound(header={"alg": "none"}), "holder", "bad-alg"),
    Case(
        "binding brings its own key",
        lambda s: s.bound(key=FORGER, header={"jwk": format_jwk(FORGER.public_key())}),
        "holder",
        "bad-signature",
    ),
    Case("binding of another type", lambda s: s.bound(header={"typ": "JWT"}), "holder", "bad-typ"),
    Case("binding without iat", lambda s: s.bound(iat=None), "holder", "bad-key-binding"),
    Case("no binding", lambda s: s.answer(presentation=s.selected()), "format", "no-key-binding"),
)
_TIMES = (
    Case("bound 301 s ago", lambda s: s.bound(iat=SECONDS - 301), "holder", "binding-too-old"),
    Case("bound before the request", lambda s: s.bound(iat=SECONDS - 361), "holder", "binding-too-old"),
    Case("bound in the future", lambda s: s.bound(iat=SECONDS + 301), "holder", "bound-in-the-future"),
    Case("binding not yet valid", lambda s: s.bound(nbf=SECONDS + 301), "holder", "bound-in-the-future"),
    Case("binding ended", lambda s: s.bound(exp=SECONDS - 301), "holder", "binding-too-old"),
    Case(
        "handed over after the end",
        lambda s: s.answer(),
        "holder",
        "request-expired",
        examine={"now": NOW + 2 * HOUR, "received": NOW + 2 * HOUR},
    ),
)
_FORMS = (
    Case(
        "encrypted to another key", lambda s: s.wallet.answer(Desk().read), "decryption", "not-for-this-key"
    ),
    Case("plain answer", _plain, "decryption", "bad-jwe"),
    Case("nothing", lambda s: b"", "decryption", "bad-jwe"),
    Case("signed inside", lambda s: s.answer(payload=b"eyJhbGciOiJub25lIn0.e30."), "format", "bad-json"),
    Case(
        "the person said no", lambda s: s.answer(payload=b'{"error":"access_denied"}'), "format", "declined"
    ),
    Case("bare text of older drafts", lambda s: s.answer(vp_token={ID: s.text()}), "format", "bad-response"),
    Case("two presentations", lambda s: s.answer(vp_token={ID: [s.text()] * 2}), "format", "bad-response"),
    Case("a disclosure that nobody signed", _unsigned_disclosure, "format", "unreferenced-disclosure"),
)
_QUERIES = (
    Case("a claim withheld", lambda s: s.shown(s.wallet.select([NAME])), "data", "missing-claim"),
    Case(
        "an answer to something else as well",
        lambda s: s.answer(vp_token={name: [s.text()] for name in (ID, "other")}),
        "data",
        "unexpected-credential",
    ),
    Case(
        "under another id",
        lambda s: s.answer(vp_token={"other": [s.text()]}),
        "data",
        "unexpected-credential",
    ),
    Case("other type", lambda s: s.other(vct=VCT + "0"), "credential", "other-type"),
    Case("real, not mock", lambda s: s.other(data=_real_data()), "data", "mock-mix"),
)
_ISSUERS = (
    Case(
        "other issuer", lambda s: s.other(iss="https://door.mihon.example/992020"), "trust", "unknown-issuer"
    ),
    Case(
        "signed by nobody", lambda s: s.other(sign=lambda _: _FORGED_SIGNATURE), "credential", "bad-signature"
    ),
    Case(
        "signed by the status list's key",
        lambda s: s.other(sign=CITY.signer("status-list-1")),
        "credential",
        "bad-signature",
    ),
    Case(
        "expired",
        lambda s: s.other(data=with_data(issued_on="2026-08-01", valid_until="2026-11-01")),
        "validity",
        "expired",
    ),
    Case(
        "of the day after tomorrow",
        lambda s: s.other(data=with_data(issued_on="2026-11-22", valid_until="2027-02-20")),
        "validity",
        "not-yet-valid",
    ),
    Case(
        "list of somebody else",
        lambda s: s.other(status_uri="https://evil.example/1"),
        "status",
        "other-list",
    ),
    Case("revoked", lambda s: s.answer(), "status", "revoked", examine=_status(revoked=[STATUS_INDEX])),
)
_OUTAGES = (
    Case(
        "list not reached",
        lambda s: s.answer(),
        "status",
        "list-unreachable",
        OPEN,
        {"sources": OfflineSources()},
    ),
    Case(
        "list older than the city allows",
        lambda s: s.answer(),
        "status",
        "stale-status",
        OPEN,
        _status(issued=NOW - HOUR / 2) | {"trust": CITY.trust(max_status_age=600)},
    ),
    Case(
        "list of tomorrow",
        lambda s: s.answer(),
        "status",
        "list-in-the-future",
        OPEN,
        _status(issued=NOW + DAY),
    ),
    Case(
        "list signed by another key",
        lambda s: s.answer(),
        "status",
        "list-unreachable",
        OPEN,
        _status(sign=CITY.signer("credential-1")),
    ),
    Case(
        "trust list ended",
        lambda s: s.answer(),
        "trust",
        "trust-expired",
        OPEN,
        {"trust": CITY.trust(expires=NOW - DAY)},
    ),
)
HOSTILE = (*_AUDIENCES, *_REQUESTS, *_BINDINGS, *_TIMES, *_FORMS, *_QUERIES, *_ISSUERS, *_OUTAGES)
