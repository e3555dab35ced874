"""A wallet of somebody else, in Python: OpenID4VCI 1.0 in profiles p1 and p2, with every option as an argument.

It knows the standards and an address, nothing of our code but the JOSE forms: it reads the metadata and follows it. For
honest runs call the methods in order; for dishonest ones change what they send (`headers`, `changes`), or send
something yourself with `post`. A transport is anything with `send(method, url, headers, body) -> Reply`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.wallet_provider import (
    CLIENT_ID,
    REDIRECT_URI,
    WalletProvider,
    new_id,
    new_key,
    sign,
    wallet_pop,
)
from verifier.formats.compact_jwe import encrypt_compact, open_compact
from verifier.formats.jose import agreement, format_jwk, parse_jwk, thumbprint
from verifier.formats.names import DPOP_TYP, KEY_PROOF_TYP

PRE_AUTHORIZED = "urn:ietf:params:oauth:grant-type:pre-authorized_code"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Reply:
    """An HTTP answer; header names in lower case. `json` parses the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str | None:
        return self.json.get("error") if self.status >= 400 else None


class Transport(Protocol):
    """How a wallet reaches an issuer. Redirects are not followed."""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply: ...


class FlaskTransport:
    """Straight into a Flask application that serves `public_url`; cookies only as the caller sends them."""

    def __init__(self, app: Any, public_url: str) -> None:
        self._app = app
        self._public_url = public_url

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        path = url.removeprefix(self._public_url)
        client = self._app.test_client(use_cookies=False)
        answer = client.open(path, method=method, headers=dict(headers), data=body)
        return Reply(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, answer.data)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class HttpTransport:
    """Over real sockets: `public_url` is replaced by the address where the door really listens."""

    def __init__(self, public_url: str, address: str, timeout: float = 30) -> None:
        self._public_url = public_url
        self._address = address
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        target = self._address + url.removeprefix(self._public_url)
        request = urllib.request.Request(target, data=body, method=method, headers=dict(headers))
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read())
        except urllib.error.HTTPError as error:
            return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


@dataclass
class WalletClient:
    """One wallet instance.

    issuer    the credential issuer identifier
    dpop      bind tokens to `dpop_key`
    provider  whose attestations it carries (p2); None: none
    """

    transport: Transport
    issuer: str
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    dpop: bool = False
    provider: WalletProvider | None = None
    dpop_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    instance_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    answer_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)
    client_id: str = CLIENT_ID
    redirect_uri: str = REDIRECT_URI
    token: str = ""
    scheme: str = "Bearer"
    dpop_nonce: str | None = None

    # --- what the issuer says of itself -----------------------------------------------------------------------

    def well_known(self, name: str, *, suffix: bool = False) -> str:
        """The address of a well-known document: inserted between host and path, or the old suffix form."""
        parts = urllib.parse.urlsplit(self.issuer)
        host = f"{parts.scheme}://{parts.netloc}"
        return f"{self.issuer}/.well-known/{name}" if suffix else f"{host}/.well-known/{name}{parts.path}"

    def metadata(self, **options: Any) -> dict[str, Any]:
        answer = self.transport.send("GET", self.well_known("openid-credential-issuer", **options), {}, None)
        assert answer.status == 200, answer.body
        assert answer.json["credential_issuer"] == self.issuer
        return answer.json

    def server_metadata(self, **options: Any) -> dict[str, Any]:
        answer = self.transport.send(
            "GET", self.well_known("oauth-authorization-server", **options), {}, None
        )
        assert answer.status == 200, answer.body
        assert answer.json["issuer"] == self.issuer
        return answer.json

    # --- proofs -----------------------------------------------------------------------------------------------

    def dpop_proof(
        self, url: str, *, token: str | None = None, key: Any = None, header: Any = None, **claims: Any
    ) -> str:
        """A DPoP proof for POST `url`; claims given replace the honest ones, None leaves one out."""
        key = key or self.dpop_key
        body = {
            "htm": "POST",
            "htu": url,
            "iat": int(self.clock().timestamp()),
            "jti": new_id(),
            "ath": None if token is None else _b64(hashlib.sha256(token.encode()).digest()),
            "nonce": self.dpop_nonce,
            **claims,
        }
        head = {"typ": DPOP_TYP, "jwk": format_jwk(key.public_key()), **(header or {})}
        return sign(_present(head), _present(body), key)

    def attestation_headers(self, **claims: Any) -> dict[str, str]:
        """The two headers of the wallet attestation."""
        if self.provider is None:
            return {}
        return {
            "OAuth-Client-Attestation": self.provider.wallet_attestation(
                self.instance_key, self.clock(), sub=self.client_id
            ),
            "OAuth-Client-Attestation-PoP": wallet_pop(
                self.instance_key, self.issuer, self.clock(), iss=self.client_id, **claims
            ),
        }

    def key_proof(
        self, key: ec.EllipticCurvePrivateKey, nonce: str | None, *, header: Any = None, **claims: Any
    ) -> str:
        """A key proof, with a key attestation where this wallet has a provider."""
        head = {"typ": KEY_PROOF_TYP, "jwk": format_jwk(key.public_key()), **(header or {})}
        if self.provider is not None and "key_attestation" not in head:
            head["key_attestation"] = self.provider.key_attestation([key], self.clock())
        body = {"aud": self.issuer, "iat": int(self.clock().timestamp()), "nonce": nonce, **claims}
        return sign(_present(head), _present(body), key)

    # --- the protocol -----------------------------------------------------------------------------------------

    def post(
        self, url: str, body: Any, headers: Mapping[str, str] | None = None, content_type: str | None = None
    ) -> Reply:
        """POST a form (dict), JSON (content type says so) or bytes."""
        kind = content_type or FORM
        data = body
        if isinstance(body, dict):
            data = urllib.parse.urlencode(body).encode() if kind == FORM else json.dumps(body).encode()
        return self.transport.send("POST", url, {"Content-Type": kind, **(headers or {})}, data)

    def redeem(self, code: str, tx_code: str | None = None, headers: Any = None, **changes: Any) -> Reply:
        """A pre-authorized code at /token."""
        form = {"grant_type": PRE_AUTHORIZED, "pre-authorized_code": code, "tx_code": tx_code, **changes}
        return self._token(form, headers)

    def redeem_code(self, code: str, verifier: str, headers: Any = None, **changes: Any) -> Reply:
        """An authorization code at /token."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "code_verifier": verifier,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            **changes,
        }
        return self._token(form, headers)

    def _token(self, form: dict[str, Any], headers: Any) -> Reply:
        url = f"{self.issuer}/token"
        sent = {**self.attestation_headers(), **({"DPoP": self.dpop_proof(url)} if self.dpop else {})}
        answer = self.post(url, _present(form), _present({**sent, **(headers or {})}))
        if answer.status == 200:
            self.token, self.scheme = answer.json["access_token"], answer.json["token_type"]
        return answer

    def nonce(self) -> str:
        answer = self.post(f"{self.issuer}/nonce", b"")
        assert answer.status == 200, answer.body
        return answer.json["c_nonce"]

    def show_token(self, url: str, **claims: Any) -> dict[str, str]:
        """The headers that show the token at `url`."""
        headers = {"Authorization": f"{self.scheme} {self.token}"}
        if self.scheme == "DPoP":
            headers["DPoP"] = self.dpop_proof(url, token=self.token, **claims)
        return headers

    def response_encryption(self, enc: str = "A256GCM") -> dict[str, Any]:
        jwk = {**format_jwk(self.answer_key.public_key()), "alg": "ECDH-ES", "use": "enc", "kid": "answer"}
        return {"jwk": jwk, "enc": enc}

    def request_body(
        self, keys: Sequence[Any], *, nonce: str | None = None, encrypted: bool = False, **changes: Any
    ) -> dict[str, Any]:
        """A credential request with one proof a key. `changes`: members to set, None to leave out."""
        nonce = nonce or self.nonce()
        body = {
            "credential_configuration_id": "income_certificate",
            "proofs": {"jwt": [self.key_proof(key, nonce) for key in keys]},
            "credential_response_encryption": self.response_encryption() if encrypted else None,
            **changes,
        }
        return _present(body)

    def credential(
        self, body: Any, *, seal: bool = False, headers: Any = None, end_point: str = "credential"
    ) -> Reply:
        """Send a credential request; `seal`: encrypted to the issuer, as its metadata says."""
        url = f"{self.issuer}/{end_point}"
        kind = "application/json"
        if seal:
            jwk = self.metadata()["credential_request_encryption"]["jwks"]["keys"][0]
            key = parse_jwk({name: jwk[name] for name in ("crv", "kty", "x", "y")})
            body = encrypt_compact(json.dumps(body).encode(), key, header={"kid": jwk["kid"]})
            kind = "application/jwt"
        sent = _present({**self.show_token(url), **(headers or {})})
        return self.post(url, body, sent, kind)

    def deferred(self, transaction: str, **options: Any) -> Reply:
        changes = options.pop("changes", {})
        return self.credential(
            _present({"transaction_id": transaction, **changes}), end_point="deferred_credential", **options
        )

    def notify(
        self, identifier: str, event: str = "credential_accepted", headers: Any = None, **more: Any
    ) -> Reply:
        body = {"notification_id": identifier, "event": event, **more}
        return self.credential(_present(body), end_point="notification", headers=headers)

    def open(self, reply: Reply) -> dict[str, Any]:
        """The body of an answer, decrypted if it is encrypted to this wallet."""
        if reply.headers["content-type"].startswith("application/jwt"):
            return json.loads(open_compact(reply.body, agreement(self.answer_key)))
        return reply.json

    # --- authorization code -----------------------------------------------------------------------------------

    def push(self, verifier: str, state: str = "wallet-state", headers: Any = None, **changes: Any) -> Reply:
        """A pushed authorization request."""
        url = f"{self.issuer}/par"
        form = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "income_certificate",
            "state": state,
            "code_challenge": _b64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
            **changes,
        }
        sent = {**self.attestation_headers(), "DPoP": self.dpop_proof(url), **(headers or {})}
        return self.post(url, _present(form), _present(sent))

    def authorize_url(self, request_uri: str) -> str:
        query = urllib.parse.urlencode({"client_id": self.client_id, "request_uri": request_uri})
        return f"{self.issuer}/authorize?{query}"


@dataclass
class Browser:
    """A person's browser as far as the login goes: keeps the one cookie, follows nothing by itself."""

    transport: Transport
    cookie: str | None = None
    attributes: str = ""

    def get(self, url: str) -> Reply:
        headers = {} if self.cookie is None else {"Cookie": self.cookie}
        answer = self.transport.send("GET", url, headers, None)
        if said := answer.headers.get("set-cookie"):
            self.cookie, _, self.attributes = said.partition("; ")
        return answer


def new_verifier() -> str:
    return _b64(os.urandom(32))


def location_parameters(reply: Reply) -> dict[str, str]:
    """The query of the address that an answer redirects to."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(reply.headers["location"]).query))


def key_id(key: ec.EllipticCurvePrivateKey) -> str:
    return thumbprint(key.public_key())


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
