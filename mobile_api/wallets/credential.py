"""`/credential`: the request of a wallet becomes a question to the city, the city's answer becomes its answer.

Sources: OpenID4VCI 1.0 section 8 and appendix F. A request in the clear is checked here as a filter and by the city
again; one that is encrypted to the city goes on unread. What the city answers is passed on and written down nowhere.
"""

from __future__ import annotations

from typing import Final

from flask import Response, request

from mobile_api.exchanges import (
    MAX_JWE,
    MAX_PROOFS,
    CredentialQuestion,
    QuestionBody,
    ResponseKey,
    SealedCredentialQuestion,
)
from mobile_api.key_proof import KeyProofs, verify_key_proofs
from mobile_api.limits import read_body
from mobile_api.wallet_nonce import nonce_digest
from mobile_api.wallets.access import Access, authorize_request
from mobile_api.wallets.answers import give_answer, give_later
from mobile_api.wallets.client_attestation import client_hash
from mobile_api.wallets.exchange_desk import Mark
from mobile_api.wallets.issuer_files import IssuerMetadata
from mobile_api.wallets.oauth_errors import OAuthError
from mobile_api.wallets.response_key import read_response_key
from mobile_api.wallets.tickets import until_minute
from mobile_api.wallets.wallet_door import WalletDoor
from verifier.errors import FormatError, LimitError
from verifier.formats.compact_jwe import parse_compact_jwe
from verifier.formats.encoding import JSON, parse_json

MAX_REQUEST: Final = 96 << 10
INTERVAL: Final = 5
JWT_TYPE: Final = "application/jwt"
JSON_TYPE: Final = "application/json"


def credential(wallets: WalletDoor, profile: str) -> Response:
    """Token and request → 200 with credentials, 202 with a transaction. Raises: OAuthError, Problem."""
    wallets.count_address("credential")
    metadata = wallets.metadata(profile)
    access = authorize_request(wallets, profile, wallets.url(profile, "credential"))
    sealed = sealed_request(metadata)
    marks = access.marks
    body: QuestionBody
    response_key = None
    if sealed is not None:
        body = SealedCredentialQuestion(sealed)
    else:
        value = json_request(wallets, profile, metadata)
        body, mark = _read(wallets, profile, metadata, access, value)
        response_key = body.response
        marks = (*marks, mark)
    try:
        asked = wallets.desk.ask(
            metadata,
            profile,
            body,
            grant=access.grant,
            dpop=access.key_hash,
            wait=wallets.door.settings.wallet_wait,
            marks=marks,
            keep=True,
        )
    except LimitError:
        raise OAuthError("invalid_credential_request", "the request is too large") from None
    if asked.answer is None:
        # The city takes the question later; its own id then names what came of it.
        return give_later(wallets, access.grant, asked.exchange, INTERVAL, response_key)
    return give_answer(wallets, profile, access.grant, asked.answer, response_key)


def sealed_request(metadata: IssuerMetadata) -> str | None:
    """The current request's body if it is encrypted to the city. None: it is not. Raises: OAuthError, Problem."""
    if request.mimetype != JWT_TYPE:
        return None
    body = read_body(MAX_JWE)
    try:
        jwe = parse_compact_jwe(body, max_bytes=MAX_JWE)
    except FormatError:
        raise OAuthError(
            "invalid_encryption_parameters", "not a compact JWE with ECDH-ES and AES-GCM"
        ) from None
    if jwe.kid is not None and jwe.kid != metadata.city_kid:
        raise OAuthError("invalid_encryption_parameters", "encrypted to a key that is not the issuer's")
    return body.decode("ascii")


def json_request(wallets: WalletDoor, profile: str, metadata: IssuerMetadata) -> dict[str, JSON]:
    """The current request's JSON object; members that we do not know are ignored. Raises: OAuthError, Problem."""
    if request.mimetype != JSON_TYPE:
        raise OAuthError("invalid_credential_request", "send application/json or application/jwt", status=400)
    body = read_body(MAX_REQUEST)
    if metadata.encrypts_requests:
        raise OAuthError("invalid_encryption_parameters", "the request must be encrypted to the issuer")
    try:
        value = parse_json(body, max_bytes=MAX_REQUEST)
    except FormatError:
        raise OAuthError("invalid_credential_request", "the body is not JSON") from None
    if not isinstance(value, dict):
        raise OAuthError("invalid_credential_request", "the body is not a JSON object")
    return value


def answers_encrypted(wallets: WalletDoor, profile: str, metadata: IssuerMetadata) -> bool:
    """Whether a request must name a key for its answer."""
    return metadata.encrypts_responses or wallets.must_encrypt(profile)


def _read(
    wallets: WalletDoor, profile: str, metadata: IssuerMetadata, access: Access, value: dict[str, JSON]
) -> tuple[CredentialQuestion, Mark]:
    configuration = _configuration(metadata, value)
    response: ResponseKey | None = read_response_key(
        value, needed=answers_encrypted(wallets, profile, metadata)
    )
    proofs = _proofs(value)
    try:
        found = verify_key_proofs(
            proofs,
            audience=wallets.issuer(profile),
            now=wallets.door.clock(),
            anonymous=access.client_hash is None,
            attesters=wallets.attesters,
            attestation_required=profile == "p2",
        )
    except FormatError:
        raise OAuthError("invalid_proof", "a key proof is not valid for this request") from None
    if found.issuer is not None and client_hash(found.issuer) != access.client_hash:
        raise OAuthError("invalid_proof", "a key proof names another client")
    return CredentialQuestion(configuration, proofs, response), _nonce_mark(wallets, found)


def _configuration(metadata: IssuerMetadata, value: dict[str, JSON]) -> str:
    identifier, configuration = (
        value.get(name) for name in ("credential_identifier", "credential_configuration_id")
    )
    if (identifier is None) == (configuration is None):
        raise OAuthError(
            "invalid_credential_request",
            "exactly one of credential_configuration_id and credential_identifier is expected",
        )
    if identifier is not None:
        # No token answer of ours ever names one.
        raise OAuthError("unknown_credential_identifier", "no credential_identifier was given out")
    if not isinstance(configuration, str):
        raise OAuthError("invalid_credential_request", "credential_configuration_id is a text")
    if configuration not in metadata.configurations:
        raise OAuthError("unknown_credential_configuration", "see the issuer metadata")
    return configuration


def _proofs(value: dict[str, JSON]) -> tuple[str, ...]:
    many, one = value.get("proofs"), value.get("proof")
    if many is not None and one is not None:
        raise OAuthError("invalid_proof", "send proofs or proof, not both")
    if isinstance(one, dict) and one.get("proof_type") == "jwt":
        # Drafts up to 15 had a single proof; wallets of that time still ask like this.
        many = {"jwt": [one.get("jwt")]}
    if not isinstance(many, dict) or set(many) != {"jwt"}:
        raise OAuthError("invalid_proof", "proofs with exactly the member jwt are expected")
    found = many["jwt"]
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_PROOFS:
        raise OAuthError("invalid_proof", f"1 to {MAX_PROOFS} key proofs are expected")
    if not all(isinstance(proof, str) for proof in found):
        raise OAuthError("invalid_proof", "a key proof is a JWT")
    return tuple(found)


def _nonce_mark(wallets: WalletDoor, found: KeyProofs) -> Mark:
    error = OAuthError("invalid_nonce", "the nonce is wrong, over or used: fetch a new one")
    try:
        end = wallets.nonce_keys.check(found.nonce)
    except FormatError:
        raise error from None
    return Mark(nonce_digest(found.nonce), until_minute(end), error)
