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

# Domain separation: each hashed or signed structure of ours starts with its own label
LEAF_LABEL: Final = b"akashi/leaf/v1\x00"
PART_LABEL: Final = b"akashi/part/v1\x00"
DUMMY_LEAF_LABEL: Final = b"akashi/dummy-leaf/v1\x00"
STATUS_LIST_LEAF_LABEL: Final = b"akashi/status-list-leaf/v1\x00"
RECIPIENT_LEAF_LABEL: Final = b"akashi/recipient-leaf/v1\x00"
PAGE_QR_LABEL: Final = b"akashi/page-qr/v1\x00"
ANCHOR_RECEIPT_LABEL: Final = b"akashi/anchor-receipt/v1\n"
