"""Well-known documents: the city's own, byte for byte, and the authorization server's, which is this door.

Sources: OpenID4VCI 1.0 section 12.2 (well-known part between host and path, also as a suffix for older clients; signed
by `Accept: application/jwt`), RFC 8414 section 3, draft-ietf-oauth-sd-jwt-vc sections 3 and 4.
"""

from __future__ import annotations

from typing import Final

from flask import Blueprint, Response, request
from werkzeug.datastructures import MIMEAccept

from mobile_api.wallets.oauth_errors import OAuthError, away, json_reply
from mobile_api.wallets.token import GRANT_TYPES
from mobile_api.wallets.wallet_door import (
    PREFIXES,
    PREFLIGHT,
    SUFFIXES,
    WalletDoor,
    the_wallet_door,
)
from verifier.formats.encoding import JSON, sha256

CACHE: Final = "public, max-age=60"
VCT_PATH: Final = "/vct/income-certificate/1"
JWT_TYPE: Final = "application/jwt"


def register_metadata(blueprint: Blueprint) -> None:
    """Add every well-known address."""
    city = PREFIXES["p1"]
    for profile, suffix in SUFFIXES.items():
        for name, view in (
            ("openid-credential-issuer", issuer_metadata),
            ("oauth-authorization-server", server_metadata),
        ):
            for number, rule in enumerate(
                (f"/.well-known/{name}{city}{suffix}", f"{city}{suffix}/.well-known/{name}")
            ):
                _add(blueprint, rule, f"{profile}_{name}_{number}", view, profile)
    for number, rule in enumerate((f"/.well-known/jwt-vc-issuer{city}", f"{city}/.well-known/jwt-vc-issuer")):
        _add(blueprint, rule, f"jwt-vc-issuer_{number}", issuer_keys, "")
    _add(blueprint, VCT_PATH, "vct", credential_type, "")


def issuer_metadata(wallets: WalletDoor, profile: str) -> Response:
    """The city's metadata of this profile; as it signed it, if the wallet likes that better."""
    metadata = wallets.metadata(profile)
    if (
        _likes_signed(request.accept_mimetypes)
        and (signed := wallets.files.signed_metadata(profile)) is not None
    ):
        return _document(signed, JWT_TYPE)
    return _document(metadata.document, "application/json")


def _likes_signed(accept: MIMEAccept) -> bool:
    # Named by itself and liked no less than JSON: who names both can check the signature. `*/*` is no sign of that.
    named = any(value == JWT_TYPE for value, _ in accept)
    return named and 0 < accept.quality(JWT_TYPE) >= accept.quality("application/json")


def server_metadata(wallets: WalletDoor, profile: str) -> Response:
    """What this door serves as an authorization server."""
    answer = json_reply(describe_server(wallets, profile))
    answer.headers["Cache-Control"] = CACHE
    return answer


def describe_server(wallets: WalletDoor, profile: str) -> dict[str, JSON]:
    """The authorization server metadata of a profile (RFC 8414)."""
    document: dict[str, JSON] = {
        "dpop_signing_alg_values_supported": ["ES256"],
        "grant_types_supported": list(GRANT_TYPES[profile]),
        "issuer": wallets.issuer(profile),
        "pre-authorized_grant_anonymous_access_supported": profile == "p1",
        "token_endpoint": wallets.url(profile, "token"),
        "token_endpoint_auth_methods_supported": ["none" if profile == "p1" else "attest_jwt_client_auth"],
    }
    if profile == "p2":
        document |= {
            "authorization_endpoint": wallets.url(profile, "authorize"),
            "authorization_response_iss_parameter_supported": True,
            "client_attestation_pop_signing_alg_values_supported": ["ES256"],
            "client_attestation_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "pushed_authorization_request_endpoint": wallets.url(profile, "par"),
            "require_pushed_authorization_requests": True,
            "response_modes_supported": ["query"],
            "response_types_supported": ["code"],
            "scopes_supported": sorted(set(wallets.metadata(profile).configurations.values()) - {""}),
        }
    return document


def issuer_keys(wallets: WalletDoor, _profile: str) -> Response:
    """The city's keys for credentials (JWT VC issuer metadata)."""
    return _public(wallets.files.document("jwt-vc-issuer.json", "issuer", wallets.issuer("p1")))


def credential_type(wallets: WalletDoor, _profile: str) -> Response:
    """The type metadata at the address that `vct` names."""
    return _public(wallets.files.document("vct.json", "vct", wallets.door.settings.public_url + VCT_PATH))


def _public(data: bytes | None) -> Response:
    if data is None:
        raise away("the city has not published this yet")
    return _document(data, "application/json")


def _document(data: bytes, content_type: str) -> Response:
    response = Response(data, content_type=content_type)
    response.headers["Cache-Control"] = CACHE
    response.headers["Vary"] = "Accept"
    response.set_etag(sha256(data).hex()[:32])
    return response.make_conditional(request)


def _add(blueprint: Blueprint, rule: str, endpoint: str, view: object, profile: str) -> None:
    def enter(city: int | None = None) -> Response:
        wallets = the_wallet_door()
        if request.method == "OPTIONS":
            return Response(status=204, headers={**PREFLIGHT, "Access-Control-Allow-Methods": "GET, OPTIONS"})
        served = profile in wallets.profiles if profile else bool(wallets.profiles)
        if not served or city not in (None, int(wallets.door.settings.city)):
            raise OAuthError("invalid_request", "nothing is served at this address", status=404)
        return view(wallets, profile)  # type: ignore[operator]

    blueprint.add_url_rule(
        rule,
        endpoint.replace(".", "_"),
        enter,
        methods=["GET", "OPTIONS"],
        provide_automatic_options=False,
    )
