"""The public description for wallets: issuer metadata, type metadata, issuer keys. Pure: settings and keys in, JSON out.

Sources: OpenID4VCI 1.0 section 12.2 (credential issuer metadata; signed form 12.2.3), draft-ietf-oauth-sd-jwt-vc section 4
(type metadata) and section 3 (JWT VC issuer metadata). Claims and their words come from the schema of certificate.json, so
that no label is written twice. What a claim is worth is not said here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec

from app.sealing.credential import CLEAR, build_x5c_header
from app.wallets.settings import CONFIGURATION, WalletSettings
from mobile_api.messages import MAX_COPIES
from verifier.formats.compact_jwe import ALGORITHM, ENCRYPTIONS
from verifier.formats.encoding import JSON, base64url_encode, canonical_json
from verifier.formats.jose import format_jwk, thumbprint
from verifier.formats.ladder import LADDERS
from verifier.formats.names import CREDENTIAL_TYP, ISSUER_METADATA_TYP

_SCHEMA: Final = "income-certificate-1.schema.json"
_LOCALES: Final = (("ja-JP", "title"), ("en-US", "description"))
_NAMES: Final = (("ja-JP", "所得課税証明書"), ("en-US", "Income and tax certificate"))
_ABOUT: Final = (
    ("ja-JP", "市が証明する所得と住民税"),
    ("en-US", "Income and local tax, as certified by the city"),
)


def issuer_metadata(
    settings: WalletSettings, profile: str, envelope_key: ec.EllipticCurvePublicKey
) -> dict[str, JSON]:
    """The credential issuer metadata of a profile."""
    issuer = settings.issuer(profile)
    is_required = profile in settings.encrypted
    enc: JSON = sorted(ENCRYPTIONS)
    proof: dict[str, JSON] = {"proof_signing_alg_values_supported": ["ES256"]}
    if profile == "p2":
        proof["key_attestations_required"] = {}
    configuration: dict[str, JSON] = {
        "credential_metadata": {"claims": _issuer_claims(), "display": _display(settings)},
        "credential_signing_alg_values_supported": ["ES256"],
        "cryptographic_binding_methods_supported": ["jwk"],
        "format": CREDENTIAL_TYP,
        "proof_types_supported": {"jwt": proof},
        "scope": CONFIGURATION,
        "vct": settings.vct,
    }
    key = format_jwk(envelope_key) | {"alg": ALGORITHM, "kid": thumbprint(envelope_key), "use": "enc"}
    return {
        "batch_credential_issuance": {"batch_size": MAX_COPIES},
        "credential_configurations_supported": {CONFIGURATION: configuration},
        "credential_endpoint": f"{issuer}/credential",
        "credential_issuer": issuer,
        "credential_request_encryption": {
            "enc_values_supported": enc,
            "encryption_required": is_required,
            "jwks": {"keys": [key]},
        },
        "credential_response_encryption": {
            "alg_values_supported": [ALGORITHM],
            "enc_values_supported": enc,
            "encryption_required": is_required,
        },
        "deferred_credential_endpoint": f"{issuer}/deferred_credential",
        "display": _display(settings),
        "nonce_endpoint": f"{issuer}/nonce",
        "notification_endpoint": f"{issuer}/notification",
    }


def metadata_signing_input(
    metadata: dict[str, JSON], certificates: tuple[bytes, ...], *, at: int, life: int
) -> bytes:
    """Header and payload of the signed form. `certificates`: DER, the credential's first, no root. Times: Unix seconds."""
    header = build_x5c_header(certificates, ISSUER_METADATA_TYP)
    claims: dict[str, JSON] = {
        **metadata,
        "exp": at + life,
        "iat": at,
        "sub": metadata["credential_issuer"],
    }
    parts = (base64url_encode(canonical_json(part)) for part in (header, claims))
    return ".".join(parts).encode("ascii")


def type_metadata(settings: WalletSettings) -> dict[str, JSON]:
    """What lies at the `vct` address."""
    return {
        "claims": _type_claims(),
        "description": _about(settings)[1],
        "display": [
            {"description": about, "locale": locale, "name": name}
            for (locale, name), about in zip(_names(settings), _about(settings), strict=True)
        ],
        "name": _names(settings)[1][1],
        "vct": settings.vct,
    }


def jwt_vc_issuer(settings: WalletSettings, credential_key: ec.EllipticCurvePublicKey) -> dict[str, JSON]:
    """The keys of `iss`, in line."""
    key = format_jwk(credential_key) | {"alg": "ES256", "kid": thumbprint(credential_key), "use": "sig"}
    return {"issuer": settings.iss, "jwks": {"keys": [key]}}


def _display(settings: WalletSettings) -> JSON:
    return [{"locale": locale, "name": name} for locale, name in _names(settings)]


def _names(settings: WalletSettings) -> list[tuple[str, str]]:
    marks = ("【模擬】", "[MOCK] ") if settings.mock else ("", "")
    return [(locale, mark + name) for (locale, name), mark in zip(_NAMES, marks, strict=True)]


def _about(settings: WalletSettings) -> list[str]:
    marks = ("これは見本です。", "This is a mock-up. ") if settings.mock else ("", "")
    return [mark + text for (_, text), mark in zip(_ABOUT, marks, strict=True)]


def _issuer_claims() -> JSON:
    return [
        {
            "display": [{"locale": locale, "name": rule[word]} for locale, word in _LOCALES],
            "mandatory": is_required,
            "path": list(path),
        }
        for path, rule, is_required in _claims()
    ]


def _type_claims() -> JSON:
    return [
        {
            "display": [{"label": rule[word], "locale": locale} for locale, word in _LOCALES],
            "mandatory": is_required,
            "path": list(path),
            # In the clear stand year, kind and authority; all else is shown only if the holder wants.
            "sd": "never" if path[0] in CLEAR else "always",
        }
        for path, rule, is_required in _claims()
    ]


_LADDERS: Final[dict[str, tuple[str, str]]] = {
    "income_at_least": ("合計所得金額が次の額以上", "Total income is at least this amount (yen)"),
    "income_at_most": ("合計所得金額が次の額以下", "Total income is at most this amount (yen)"),
    "levy_at_most": ("市民税の所得割が次の額以下", "City levy on income is at most this amount (yen)"),
}


def _rungs() -> Iterator[tuple[tuple[str, ...], dict[str, Any], bool]]:
    """The threshold ladders: a rung is there only if it holds, so none is mandatory."""
    for ladder in LADDERS:
        ja, en = _LADDERS[ladder.name]
        yield (ladder.name,), {"title": ja, "description": en}, True
        sense = ("以上", "at least") if ladder.at_least else ("以下", "at most")
        for threshold in ladder.thresholds:
            words = {"title": f"{threshold:,}円{sense[0]}", "description": f"{sense[1]} {threshold:,} yen"}
            yield (ladder.name, str(threshold)), words, False


@functools.cache
def _claims() -> tuple[tuple[tuple[str, ...], dict[str, Any], bool], ...]:
    text = resources.files("verifier.formats.schema").joinpath(_SCHEMA).read_text("utf-8")
    return (*_walk(json.loads(text), (), is_required=True), *_rungs())


def _walk(
    rule: dict[str, Any], path: tuple[str, ...], *, is_required: bool
) -> Iterator[tuple[tuple[str, ...], dict[str, Any], bool]]:
    required = set(rule.get("required", ()))
    for name, below in rule.get("properties", {}).items():
        if not {"title", "description"} <= set(below):
            continue
        must = is_required and name in required
        yield (*path, name), below, must
        yield from _walk(below, (*path, name), is_required=must)
