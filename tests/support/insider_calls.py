"""Calls of the street door made by somebody who may make them: ids that exist, bodies that fit, proofs that hold.

`Insider.prepare` puts what exists into a generated case (not into every fourth one, so that the edges stay reached);
`Signing` stands before the application and signs what really goes over the line: as the phone, the desk or the city. For
tests of the description: without it a fuzzer sees nothing of the door but 401 and 404.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from app.mailbox import city_authorisation
from mobile_api.mail_relay import mail_hash
from mobile_api.openapi.public_files import KINDS
from mobile_api.proofs import PROOF_HEADER, build_proof
from tests.support.door_house import CITY, House
from tests.support.presentation_desk import Desk
from tests.support.wallet_of_others import encrypt
from verifier.formats.encoding import base64_encode, base64url_encode, canonical_json, sha256
from verifier.formats.jose import es256_signer, format_jwk, thumbprint
from verifier.formats.names import (
    AUTHORIZATION_REQUEST_TYPE,
    BUNDLE_TYPE,
    DEVICE_REQUEST_TYP,
    ENVELOPE_TYPE,
    PRESENTATION_TYPE,
)
from verifier.formats.package import pack

MAIL = "jinji@shoji.example"
PACKAGE_ID = "package-of-the-insider"
# the parameters of the examples of public files, all of which the insider publishes
PUBLIC = {
    "log": "1",
    "size": "7",
    "number": "1",
    "level": "0",
    "index": "000",
    "width": "7",
    "file": "1.root.json",
}


PRESENTATIONS = {
    *("fetchPresentation", "forgetPresentation", "openInWallet", "readPresentationRequest"),
    *("postForPresentationRequest", "answerPresentation"),
}


class Signing:
    """A WSGI application before the door: adds the header that authenticates, made for exactly this call."""

    def __init__(self, insider: Insider) -> None:
        self._insider = insider

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        # what werkzeug will take for the path: latin-1 back to the bytes of UTF-8
        path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
        name, value = self._insider.sign(environ["REQUEST_METHOD"], path, body)
        environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
        return self._insider.house.app(environ, start)


class Insider:
    """A phone with an account, an employer with a request, and the city, all in one."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.phone = ec.generate_private_key(ec.SECP256R1())
        self.desk = ec.generate_private_key(ec.SECP256R1())
        self.token, self.secret = os.urandom(32), os.urandom(32)
        self.prepared = 0
        self._client = house.app.test_client()
        self._city = city_authorisation(house.mailbox_key, clock=house.clock)
        self.account = self._made("/v1/accounts", {"signing_jwk": format_jwk(self.phone.public_key())})[
            "account"
        ]
        self.request = self._made("/v1/requests", self._request_form())["id"]
        self.mailbox = house.city.mailbox
        for _, example, *_ in KINDS:
            self.mailbox.put_public(f"{CITY}/{example}", b"{}")

    def sign(self, method: str, path: str, body: bytes) -> tuple[str, str]:
        """The header of whoever may make this call, for exactly this call."""
        if path.startswith("/city/"):
            return "Authorization", self._city(method, path, body)
        key = self.desk if path.startswith(("/v1/requests", "/v1/presentations")) else self.phone
        proof = build_proof(
            thumbprint(key.public_key()), es256_signer(key), method=method, path=path, body=body,
            now=self.house.clock(), random=os.urandom,
        )  # fmt: skip
        return PROOF_HEADER, proof

    def prepare(self, case: Any) -> None:
        """What exists takes the place of what was made up, in three cases of four."""
        self.prepared += 1
        if self.prepared % 4 == 0:
            return
        name = case.operation.definition.raw["operationId"]
        known = {
            "account": self.account,
            "identifier": self.request,
            "package_id": PACKAGE_ID,
            # create-only or replaceable, new or known: each answer of the route
            "path": f"{CITY}/log/1/"
            + ("checkpoint" if self.prepared % 2 else f"checkpoints/{self.prepared}"),
            "city": CITY,
            **PUBLIC,
        }
        case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
        for_upload = {"Akashi-Upload": base64url_encode(self.token)}
        if name in ("fetchPackage", "deletePackage", "putPackage"):
            self.mailbox.delete_package(self.account, PACKAGE_ID)
        if name in ("fetchPackage", "deletePackage"):
            self.mailbox.put_package(self.account, PACKAGE_ID, self._package(self.phone, BUNDLE_TYPE))
        if name in ("fetchSubmission", "withdraw"):
            case.path_parameters = {**case.path_parameters, "receipt": self._submitted()}
            case.headers = {**(case.headers or {}), "Akashi-Withdraw-Secret": base64url_encode(self.secret)}
        if name in ("submit", "relayMail"):
            case.headers = {**(case.headers or {}), **for_upload}
        if name in PRESENTATIONS:
            self._prepare_presentation(case, name)
        if name == "takeNonce":
            self.house.city.stock(1)
        if self.prepared % 4 != 1 and (body := self._body(name)) is not None:
            case.body = body

    def _prepare_presentation(self, case: Any, name: str) -> None:
        desk, answered = self._asked(), self.prepared % 4 == 1
        path = f"/vp/{desk.asked.id}/response"
        if name == "openInWallet":
            case.query = {"client_id": desk.asked.client_id, "request_uri": desk.asked.request_uri}
            return
        case.path_parameters = {"identifier": desk.asked.id}
        if name == "fetchPresentation" and answered:
            assert self._client.post(path, data={"response": _answer_to(desk)}).status_code == 200
        if name == "answerPresentation":
            case.body = {"response": _answer_to(desk)}
        if name == "postForPresentationRequest":
            case.body = {"wallet_metadata": "{}"}

    def _asked(self) -> Desk:
        """A request of the desk to wallets, which lies at the door."""
        desk = self._new_desk()
        headers = dict([self.sign("POST", "/v1/presentations", desk.request)])
        answer = self._client.post(
            "/v1/presentations", data=desk.request, content_type=AUTHORIZATION_REQUEST_TYPE, headers=headers
        )
        assert answer.status_code == 201, answer.data
        return desk

    def _new_desk(self) -> Desk:
        desk, now = Desk(signing=self.desk), int(self.house.clock().timestamp())
        desk.asked = desk.ask(issued=now, expires=now + 3600)
        return desk

    def _body(self, name: str) -> Any:
        bodies: dict[str, Callable[[], Any]] = {
            "signUp": lambda: {"signing_jwk": format_jwk(self.phone.public_key())},
            "takeNonce": lambda: {"account": self.account},
            "putEnvelope": lambda: self._package(self.phone, DEVICE_REQUEST_TYP, typ=ENVELOPE_TYPE),
            "createRequest": self._request_form,
            "submit": lambda: self._package(self.desk, PRESENTATION_TYPE),
            "relayMail": lambda: (
                canonical_json({"request": self.request, "to": MAIL}) + b"\n"
                + self._package(self.desk, PRESENTATION_TYPE)
            ),
            "putAnswer": lambda: self._package(self.phone, BUNDLE_TYPE),
            "putPackage": lambda: self._package(self.phone, BUNDLE_TYPE),
            "publish": lambda: os.urandom(8),
            "createPresentation": lambda: self._new_desk().request.decode(),
        }  # fmt: skip
        return bodies[name]() if name in bodies else None

    def _request_form(self) -> dict[str, Any]:
        return {
            "ciphertext": base64_encode(os.urandom(500)),
            "desk_jwk": format_jwk(self.desk.public_key()),
            "expires": self.house.clock()
            .replace(year=self.house.clock().year + 1, month=1)
            .strftime("%Y-%m-%dT%H:%M:%SZ"),
            "mail_hash": mail_hash(self.token, MAIL),
            "upload_token_hash": base64url_encode(sha256(self.token)),
        }

    def _made(self, path: str, form: dict[str, Any]) -> dict[str, Any]:
        body = canonical_json(form)
        answer = self._client.post(path, data=body, headers=dict([self.sign("POST", path, body)]))
        assert answer.status_code == 201, answer.data
        return answer.json

    def _submitted(self) -> str:
        headers = {
            "Akashi-Upload": base64url_encode(self.token),
            "Akashi-Withdraw": base64url_encode(sha256(self.secret)),
        }
        path = f"/v1/requests/{self.request}/submissions"
        answer = self._client.post(path, data=self._package(self.desk, PRESENTATION_TYPE), headers=headers)
        assert answer.status_code == 201, answer.data
        return answer.json["receipt"]

    def _package(self, key: ec.EllipticCurvePrivateKey, content_type: str, **options: str) -> bytes:
        return pack(os.urandom(20), [key.public_key()], content_type=content_type, **options)


def _answer_to(desk: Desk) -> str:
    return encrypt(desk.read, b"{}").decode()
