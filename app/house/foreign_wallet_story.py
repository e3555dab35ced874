"""The demo's chapter about a wallet of somebody else, and that wallet: as small as OpenID4VCI and OpenID4VP allow.

`SmallWallet` knows the standards, an offer and addresses, nothing of the city: it reads the metadata and follows it
(OpenID4VCI 1.0: pre-authorized code, two key proofs, both directions encrypted; OpenID4VP 1.0: `direct_post.jwt`). It
checks nobody, so it is no wallet to keep. 模擬/MOCK.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives.asymmetric import ec

from app.errors import CityError
from app.house.employer import Answer, EmployerComputer
from app.house.house import House
from app.house.narrator import Narrator
from app.house.people import FISCAL_YEAR, Candidate, find_people
from app.house.revoke import revoke_as_two
from app.house.setup import PUBLIC_URL
from app.registers.store import RegisterStore
from app.storage.engine import open_store
from app.wallets.cli import create_offer
from mobile_api.client import OfferWish
from verifier.errors import FormatError
from verifier.formats.compact_jwe import encrypt_compact, open_compact
from verifier.formats.credential import parse_credential, peek_processed
from verifier.formats.dcql import select_for_query
from verifier.formats.encoding import canonical_json, parse_json
from verifier.formats.jose import agreement, build_jws, es256_signer, format_jwk, parse_jwk
from verifier.formats.key_binding import build_key_binding
from verifier.formats.names import KEY_PROOF_TYP
from verifier.formats.presentation_request import parse_presentation_request
from verifier.formats.presentation_response import encrypt_presentation_response
from verifier.http import call

PRESET: Final = "health-insurance-dependant"
LIMIT: Final = 1_300_000
"""Yen of total income up to which that preset has an answer."""
COPIES: Final = 2
SECONDS: Final = 60.0
PRE_AUTHORIZED: Final = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
_FORM: Final = "application/x-www-form-urlencoded"
_OF_EVERY_CERTIFICATE: Final = frozenset(
    {"document_kind", "fiscal_year", "income_year", "issuing_authority", "iss", "vct", "iat", "exp", "cnf", "status"}
)  # fmt: skip


@dataclass
class SmallWallet:
    """`door`: where the public addresses really listen. Credentials with the key of each."""

    door: str
    held: list[tuple[bytes, ec.EllipticCurvePrivateKey]] = field(default_factory=list)

    def collect(self, offer: str, tx_code: str, count: int) -> None:
        """Take an offer: token, challenge, one proof a key, credentials; wait while the city is not ready."""
        content = parse_json(parse_qs(urlsplit(offer).query)["credential_offer"][0].encode())
        issuer = content["credential_issuer"]
        server = self._get(_well_known(issuer, "oauth-authorization-server"))
        metadata = self._get(_well_known(issuer, "openid-credential-issuer"))
        code = content["grants"][PRE_AUTHORIZED]["pre-authorized_code"]
        form = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": code, "tx_code": tx_code}
        token = self._post(server["token_endpoint"], urlencode(form).encode(), _FORM)["access_token"]
        nonce = self._post(metadata["nonce_endpoint"], b"", _FORM)["c_nonce"]
        keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(count)]
        asked: dict[str, Any] = {
            "credential_configuration_id": content["credential_configuration_ids"][0],
            "proofs": {"jwt": [_prove(key, issuer, nonce) for key in keys]},
        }
        given = self._ask_sealed(metadata, metadata["credential_endpoint"], asked, token)
        end = time.monotonic() + SECONDS
        while "transaction_id" in given:
            if time.monotonic() > end:
                raise CityError("wallet", "the city does not get ready")
            time.sleep(given["interval"])
            asked = {"transaction_id": given["transaction_id"]}
            given = self._ask_sealed(metadata, metadata["deferred_credential_endpoint"], asked, token)
        texts = [item["credential"].encode() for item in given["credentials"]]
        self.held += list(zip(texts, keys, strict=True))

    def present(self, address: str) -> None:
        """Answer an employer's request with the first copy: no more disclosures than its query needs."""
        where = parse_qs(urlsplit(address).query)["request_uri"][0]
        request = parse_presentation_request(self._call("GET", where))
        (query,) = request.query.credentials
        credential, key = self.held[0]
        shown = select_for_query(parse_credential(credential), query).serialise()
        binding = build_key_binding(
            shown, audience=request.client_id, nonce=request.nonce, issued=int(time.time()), sign=es256_signer(key)
        )  # fmt: skip
        answer = encrypt_presentation_response({query.id: [(shown + binding).decode()]}, request)
        self._post(request.response_uri, urlencode({"response": answer.decode()}).encode(), _FORM)

    def _ask_sealed(
        self, metadata: Mapping[str, Any], address: str, body: Mapping[str, Any], token: str
    ) -> dict[str, Any]:
        """Encrypted to the city and back (section 10): the street door reads neither."""
        own = ec.generate_private_key(ec.SECP256R1())
        back = {**format_jwk(own.public_key()), "alg": "ECDH-ES", "use": "enc", "kid": "answer"}
        city = metadata["credential_request_encryption"]["jwks"]["keys"][0]
        key = parse_jwk({name: city[name] for name in ("crv", "kty", "x", "y")})
        text = canonical_json({**body, "credential_response_encryption": {"jwk": back, "enc": "A256GCM"}})
        sealed = encrypt_compact(text, key, header={"kid": city["kid"]})
        answer = self._call("POST", address, sealed, "application/jwt", Authorization=f"Bearer {token}")
        return dict(parse_json(open_compact(answer, agreement(own))))

    def _get(self, address: str) -> dict[str, Any]:
        return dict(parse_json(self._call("GET", address)))

    def _post(self, address: str, body: bytes, kind: str) -> dict[str, Any]:
        return dict(parse_json(self._call("POST", address, body, kind)))

    def _call(
        self, method: str, address: str, body: bytes | None = None, kind: str | None = None, **headers: str
    ) -> bytes:
        real = address.replace(PUBLIC_URL, self.door, 1)
        sent = headers if kind is None else {**headers, "Content-Type": kind}
        answer = call(method, real, body=body, headers=sent)
        if answer.status not in (200, 202):
            raise CityError("wallet", f"{urlsplit(address).path} answered {answer.status}")
        return answer.body


class ForeignWalletStory:
    """The chapter. `house` runs; the employer has a key and a trust list at `directory`."""

    def __init__(self, house: House, say: Narrator, employer: EmployerComputer, directory: Path) -> None:
        self._house, self._say, self._employer, self._directory = house, say, employer, directory

    def tell(self) -> None:
        """Offer, wallet, employer; then the copies are revoked."""
        home, door = self._house.home, self._house.address("door")
        resident = find_people(RegisterStore(open_store(home.store("registers"))), {"low": _is_low})["low"]
        wallet, offers = SmallWallet(door), []
        wish = OfferWish(FISCAL_YEAR, "", "p1", COPIES, False)
        self._say.step(
            f"{resident.name}: カードでウォレットへの申込みを受け取る / an offer to a wallet, by card",
            lambda: offers.append(create_offer(home, resident.resident_id, wish, timeout=SECONDS)),
        )
        offer = offers[0]
        self._say.step(
            f"別に作られたウォレットが{COPIES}部受け取る (OpenID4VCI) / another wallet collects {COPIES} copies",
            lambda: wallet.collect(offer.offer, offer.tx_code, COPIES),
        )
        key = self._directory / "employer.key"
        asked = self._employer.run(
            "request", "--preset", PRESET, "--wallet", "--json", "--key", key, "--public-url", PUBLIC_URL, "--door", door
        )  # fmt: skip
        self._say.expect(
            "会社が尋ねる / the employer asks: akashi-verify request --preset " + PRESET,
            _shortened(asked),
            0,
        )
        addresses = _json(asked)
        self._say.step(
            "ウォレットが答える (OpenID4VP) / the wallet answers",
            lambda: wallet.present(addresses["request"]),
        )
        said = self._result(addresses["result"])
        self._say.expect("会社が確かめる / the employer verifies: akashi-verify result", _sentence(said), 0)
        self._say.tell(f"会社が知ったこと / what the employer learnt: {_learnt(said)}")
        number = peek_processed(parse_credential(wallet.held[1][0]))["certificate_number"]
        self._say.step(
            "もう1部の番号で失効する / revoked by the other copy's number",
            lambda: revoke_as_two(home, str(number), "resident-asked"),
        )
        end = time.monotonic() + SECONDS
        while (said := self._result(addresses["result"])).code != 1 and time.monotonic() < end:
            time.sleep(0.5)
        self._say.expect("どの部も失効 / every copy is revoked, online", _sentence(said), 1)

    def _result(self, result: str) -> Answer:
        base = f"{PUBLIC_URL}={self._house.address('door')}"
        trust = self._directory / "trust"
        return self._employer.run("result", result, "--trust", trust, "--base-url", base, "--json")


def _well_known(issuer: str, name: str) -> str:
    parts = urlsplit(issuer)
    return f"{parts.scheme}://{parts.netloc}/.well-known/{name}{parts.path}"


def _prove(key: ec.EllipticCurvePrivateKey, issuer: str, nonce: str) -> str:
    """A key proof (appendix F.1)."""
    claims = {"aud": issuer, "iat": int(time.time()), "nonce": nonce}
    header = {"typ": KEY_PROOF_TYP, "jwk": format_jwk(key.public_key())}
    return build_jws(header, canonical_json(claims), es256_signer(key)).decode("ascii")


def _is_low(candidate: Candidate) -> bool:
    figures = candidate.figures
    return figures is not None and figures.income["total"] <= LIMIT and not candidate.resident.protected


def _shortened(answer: Answer) -> Answer:
    """The address for the QR code, as much of it as a line holds."""
    return Answer(answer.code, _json(answer).get("request", answer.out)[:60] + "…", answer.told)


def _json(answer: Answer) -> dict[str, Any]:
    """What a program printed; empty if it was no JSON object."""
    try:
        value = parse_json(answer.out.encode())
    except FormatError:
        return {}
    return value if isinstance(value, dict) else {}


def _sentence(answer: Answer) -> Answer:
    """The report's sentence instead of its JSON."""
    return Answer(answer.code, _json(answer).get("sentence", {}).get("ja", answer.out), answer.told)


def _learnt(answer: Answer) -> str:
    certificate = _json(answer).get("certificate") or {}
    groups = {name: value for name, value in certificate.items() if name not in _OF_EVERY_CERTIFICATE}
    return ", ".join(
        f"{group}.{name} = {value}"
        for group, values in groups.items()
        for name, value in dict(values).items()
    )
