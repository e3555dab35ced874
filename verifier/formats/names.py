"""Every media type, `typ` value, file name and domain-separation label that leaves this house, in one place.

SD-JWT VC and the Token Status List are not RFCs yet; when their names change, this file changes.
"""

from __future__ import annotations

from typing import Final

# Files
PACKAGE_SUFFIX: Final = ".akashi"
BUNDLE_SUFFIX: Final = ".akashi-bundle"

# Media types and JOSE `typ` / `cty`
PACKAGE_TYPE: Final = "application/vnd.akashi.package+json"
BUNDLE_TYPE: Final = "application/vnd.akashi.bundle"
PRESENTATION_TYPE: Final = "application/vnd.akashi.presentation"
ENVELOPE_TYPE: Final = "application/vnd.akashi.envelope"
ANSWER_TYPE: Final = "application/vnd.akashi.answer"
CREDENTIAL_TYP: Final = "dc+sd-jwt"
KEY_BINDING_TYP: Final = "kb+jwt"
STATUS_LIST_TYP: Final = "statuslist+jwt"
DEVICE_REQUEST_TYP: Final = "akashi-request+jwt"
CITY_ANSWER_TYP: Final = "akashi-answer+jwt"
SUBMISSION_REQUEST_TYP: Final = "akashi-submission-request+jwt"
RECIPIENT_STATEMENT_TYP: Final = "akashi-recipient+jwt"

# Wallets and verifiers of others (OpenID4VCI 1.0, OpenID4VP 1.0, RFC 9449, drafts of the attestations)
KEY_PROOF_TYP: Final = "openid4vci-proof+jwt"
KEY_ATTESTATION_TYPS: Final = ("key-attestation+jwt", "keyattestation+jwt")
WALLET_ATTESTATION_TYP: Final = "oauth-client-attestation+jwt"
WALLET_ATTESTATION_POP_TYP: Final = "oauth-client-attestation-pop+jwt"
DPOP_TYP: Final = "dpop+jwt"
ISSUER_METADATA_TYP: Final = "openidvci-issuer-metadata+jwt"
AUTHORIZATION_REQUEST_TYP: Final = "oauth-authz-req+jwt"
AUTHORIZATION_REQUEST_TYPE: Final = "application/oauth-authz-req+jwt"

# Questions of the street door to the city on behalf of a wallet, and the city's answers
EXCHANGE_TYPE: Final = "application/vnd.akashi.exchange"
EXCHANGE_QUESTION_TYPE: Final = "application/vnd.akashi.exchange-question+json"
EXCHANGE_ANSWER_TYPE: Final = "application/vnd.akashi.exchange-answer+json"

# Domain separation: each hashed or signed structure of ours starts with its own label
LEAF_LABEL: Final = b"akashi/leaf/v1\x00"
PART_LABEL: Final = b"akashi/part/v1\x00"
DUMMY_LEAF_LABEL: Final = b"akashi/dummy-leaf/v1\x00"
STATUS_LIST_LEAF_LABEL: Final = b"akashi/status-list-leaf/v1\x00"
RECIPIENT_LEAF_LABEL: Final = b"akashi/recipient-leaf/v1\x00"
PAGE_QR_LABEL: Final = b"akashi/page-qr/v1\x00"
ANCHOR_RECEIPT_LABEL: Final = b"akashi/anchor-receipt/v1\n"
