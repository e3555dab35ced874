"""Every text and number of a credential, for tests that two copies have nothing in common that marks their holder."""

from __future__ import annotations

from verifier.formats.credential import parse_credential

COMMON_WORDS = {
    "_sd", "_sd_alg", "sha-256", "cnf", "jwk", "crv", "kty", "x", "y", "EC", "P-256", "status", "status_list", "idx", "uri",
}  # fmt: skip
"""Names that the formats have for everybody, and the words of a JWK."""


def strings(value: object) -> set[str]:
    """Every text and number of a JSON value, member names too."""
    if isinstance(value, dict):
        return {str(name) for name in value} | {s for item in value.values() for s in strings(item)}
    if isinstance(value, list):
        return {s for item in value for s in strings(item)}
    return {str(value)}


def all_strings(credential: bytes) -> set[str]:
    """Of a presentation: header without the city's certificates, payload, signature, disclosures and their parts."""
    parsed = parse_credential(credential)
    found = strings(parsed.jws.payload_object()) | {parsed.jws.signature.hex()}
    for item in parsed.disclosures:
        found |= strings([item.salt, item.name, item.value]) | {item.encoded, item.digest}
    return found
