"""A wallet that answers OpenID4VP 1.0 requests, written for tests with another JOSE library than ours (joserfc).

It follows the standard, not our code: it reads the request by the standard's names, picks disclosures by their paths,
signs a KB-JWT and encrypts with the library. `Wallet.answer` has a knob for every mistake that a hostile or sloppy wallet
could make. `Wallet.go` is the whole way over HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jwe, jws
from joserfc.jwk import ECKey

from verifier.errors import FormatError
from verifier.formats.credential import parse_credential, select_disclosures
from verifier.http import call

REGISTRY = jwe.JWERegistry(algorithms=["ECDH-ES", "ECDH-ES+A128KW", "A128GCM", "A256GCM", "A128CBC-HS256"])
Key = ec.EllipticCurvePrivateKey


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def read_request(data: bytes) -> dict[str, Any]:
    """A request object by the rules of OpenID4VP: signature by the x5c leaf, client_id its hash. Asserts."""
    head = json.loads(unb64(data.decode().split(".")[0]))
    assert head["typ"] == "oauth-authz-req+jwt" and head["alg"] == "ES256"
    leaf = x509.load_der_x509_certificate(base64.b64decode(head["x5c"][0]))
    assert leaf.issuer != leaf.subject
    registry = jws.JWSRegistry(algorithms=["ES256"])
    registry.max_header_length = 16 << 10  # room for x5c
    signed = jws.deserialize_compact(data.decode(), ECKey.import_key(leaf.public_key()), registry=registry)
    payload: dict[str, Any] = json.loads(signed.payload)
    digest = b64(hashlib.sha256(base64.b64decode(head["x5c"][0])).digest())
    assert payload["client_id"] == "x509_hash:" + digest
    assert payload["aud"] == "https://self-issued.me/v2" and "redirect_uri" not in payload
    return payload


@dataclass
class Wallet:
    """One credential (`<jwt>~…~`), the key it is bound to, and the time by the wallet's clock (Unix seconds)."""

    credential: bytes
    key: Key
    now: int

    def select(self, paths: Sequence[Sequence[str]]) -> bytes:
        """Only what these paths need."""
        whole = parse_credential(self.credential)
        return select_disclosures(whole, [tuple(path) for path in paths]).serialise()

    def bind(
        self,
        shown: bytes,
        request: Mapping[str, Any],
        *,
        key: Key | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> bytes:
        """The KB-JWT over `shown`; a claim given as None is left out."""
        payload = {
            "iat": self.now,
            "aud": request["client_id"],
            "nonce": request["nonce"],
            "sd_hash": b64(hashlib.sha256(shown).digest()),
        } | claims
        payload = {name: value for name, value in payload.items() if value is not None}
        return sign({"alg": "ES256", "typ": "kb+jwt"} | dict(header or {}), payload, key or self.key)

    def present(self, request: Mapping[str, Any], **options: Any) -> bytes:
        """SD-JWT+KB for the first credential that is asked for."""
        shown = self.choose(request["dcql_query"]["credentials"][0])
        return shown + self.bind(shown, request, **options)

    def choose(self, query: Mapping[str, Any]) -> bytes:
        """The first claim set that the credential holds."""
        claims = query.get("claims", [])
        by_id = {claim.get("id"): claim for claim in claims}
        for option in query.get("claim_sets") or [None]:
            wanted = claims if option is None else [by_id[name] for name in option]
            try:
                return self.select([claim["path"] for claim in wanted])
            except FormatError:
                continue
        raise LookupError("this wallet holds nothing that answers")

    def answer(
        self,
        request: Mapping[str, Any],
        *,
        presentation: bytes | None = None,
        vp_token: Any = None,
        payload: Any = None,
        key: Any = None,
        header: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> bytes:
        """The JWE for the form field `response`; every part can be replaced."""
        shown = presentation or self.present(request, **options)
        token = vp_token or {request["dcql_query"]["credentials"][0]["id"]: [shown.decode()]}
        content = {"vp_token": token, "state": request["state"]} | dict(more or {})
        content = {name: value for name, value in content.items() if value is not None}
        return encrypt(request, json.dumps(content).encode() if payload is None else payload, key, header)

    def go(self, address: str, base: Callable[[str], str], **options: Any) -> tuple[int, dict[str, Any]]:
        """Open `openid4vp://…` (or the https link), fetch, answer, post: status and JSON of the last answer."""
        query = dict(urllib.parse.parse_qsl(address.partition("?")[2]))
        got = call("GET", base(query["request_uri"]))
        assert got.status == 200 and got.headers["content-type"] == "application/oauth-authz-req+jwt"
        request = read_request(got.body)
        assert request["client_id"] == query["client_id"]
        return post(base(request["response_uri"]), self.answer(request, **options))


def post(address: str, response: bytes) -> tuple[int, dict[str, Any]]:
    """The form with `response`, as a wallet sends it."""
    said = call(
        "POST",
        address,
        body=urllib.parse.urlencode({"response": response.decode()}).encode(),
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    return said.status, json.loads(said.body)


def sign(header: Mapping[str, Any], payload: Mapping[str, Any], key: Any) -> bytes:
    """A compact JWS with whatever header: by a P-256 key whatever it says, else by joserfc; key None = unsigned."""
    text = f"{b64(json.dumps(dict(header)).encode())}.{b64(json.dumps(dict(payload)).encode())}"
    if key is None:
        return f"{text}.".encode()
    if not isinstance(key, Key):
        registry = jws.JWSRegistry(algorithms=["HS256"], strict_check_header=False)
        registry.max_header_length = 16 << 10
        return jws.serialize_compact(
            dict(header), json.dumps(dict(payload)).encode(), key, registry=registry
        ).encode()
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}".encode()


def encrypt(
    request: Mapping[str, Any], plaintext: bytes, key: Any = None, header: Mapping[str, Any] | None = None
) -> bytes:
    """To the request's key, by its own metadata."""
    jwk = request["client_metadata"]["jwks"]["keys"][0]
    enc = request["client_metadata"]["encrypted_response_enc_values_supported"][0]
    head = {"alg": jwk["alg"], "enc": enc, "kid": jwk["kid"]} | dict(header or {})
    head = {name: value for name, value in head.items() if value is not None}
    return jwe.encrypt_compact(head, plaintext, key or ECKey.import_key(jwk), registry=REGISTRY).encode()
