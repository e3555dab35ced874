"""One recipient in the city's register becomes a signed statement, and the statement's hash an entry of the log.

The company keeps the statement and puts it into its requests; the phone shows a name as a fact only with it. How the city
makes sure who a company is, is the counter's part (docs/trust.md); this module signs what was decided there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from verifier.formats.encoding import sha256
from verifier.formats.jose import SignDigest
from verifier.formats.names import RECIPIENT_LEAF_LABEL
from verifier.formats.recipient import RecipientStatement, build_recipient_statement

RECIPIENT_REQUEST: Final = "standing:recipient"
LIFE: Final = timedelta(days=365)


def issue_statement(
    *,
    city: str,
    name: str,
    corporate_number: str | None,
    keys: tuple[str, ...],
    signing_key: str,
    upload: str,
    kid: str,
    sign: SignDigest,
    append: Callable[[bytes], object],
    now: datetime,
) -> bytes:
    """The signed statement about one recipient, in the log before it is handed out.

    keys, signing_key: RFC 7638 thumbprints; upload: https://host of the street door. Raises FormatError.
    """
    issued = int(now.timestamp())
    statement = RecipientStatement(
        city=city,
        name=name,
        keys=keys,
        signing_key=signing_key,
        upload=upload,
        issued=issued,
        expires=issued + int(LIFE.total_seconds()),
        corporate_number=corporate_number,
    )
    signed = build_recipient_statement(statement, kid=kid, sign=sign)
    append(sha256(RECIPIENT_LEAF_LABEL + sha256(signed)))
    return signed
