"""Submission by mail: one package goes to one mail server at once; nothing about it is stored or logged.

The right to use it is the upload token of a request, and the address must be the one the request was made
with (the door holds a keyed hash of it whose key is that token), so that the door is no open relay and yet
knows no address at rest. Mail cannot be withdrawn.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final

from flask import Blueprint, Response

from mobile_api.door import the_door
from mobile_api.errors import Problem
from mobile_api.forms import json_answer, json_object, request_id
from mobile_api.limits import read_body
from mobile_api.settings import Profile, Settings
from mobile_api.submissions import check_submission, check_upload_token, find_request
from verifier.formats.encoding import base64url_encode
from verifier.formats.names import PACKAGE_SUFFIX

MAIL_LABEL: Final = b"akashi/request/v1/mail\x00"
MAX_ADDRESS: Final = 254
MAX_LINE: Final = 1024
_ADDRESS: Final = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@"
    r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+"
)
blueprint = Blueprint("mail_relay", __name__)


@blueprint.post("/v1/mail")
def relay() -> Response:
    """One JSON line {request, to}, LF, the package; header Akashi-Upload → 202 {}. 503 when the mail server
    is away.
    """
    door = the_door()
    if door.deliver is None:
        raise Problem(404, "no-mail", "this door relays no mail")
    line, _, package = read_body(door.settings.max_submission + MAX_LINE).partition(b"\n")
    if len(line) >= MAX_LINE:
        raise Problem(400, "bad-form", "the first line is too long")
    form = json_object(line, {"request", "to"})
    found = find_request(door, request_id(form["request"]))
    door.limits.count("mail", found.request_id, door.settings.rate_mail, 60)
    token = check_upload_token(found)
    address = check_address(form["to"])
    said = mail_hash(token, address)
    if found.mail_hash is None or not hmac.compare_digest(found.mail_hash.encode(), said.encode()):
        raise Problem(403, "other-address", "the request was not made with this address")
    check_submission(package, door.settings.max_submission)
    message = build_mail(door.settings, address, found.request_id, package)
    try:
        door.deliver(message)
    except (OSError, smtplib.SMTPException):
        raise Problem(503, "mail-away", "the mail server did not take it", retry_after=30) from None
    return json_answer({}, 202)


def mail_hash(upload_token: bytes, address: str) -> str:
    """What the door stores instead of the address: HMAC-SHA256 keyed with the upload token, base64url."""
    return base64url_encode(hmac.digest(upload_token, MAIL_LABEL + address.encode("utf-8"), hashlib.sha256))


def check_address(value: object) -> str:
    """One plain ASCII address; nothing that could become a second header or recipient. Raises Problem 400."""
    if not isinstance(value, str) or len(value) > MAX_ADDRESS or _ADDRESS.fullmatch(value) is None:
        raise Problem(400, "bad-address", "not a mail address")
    if len(value.partition("@")[0]) > 64:
        raise Problem(400, "bad-address", "not a mail address")
    return value


def build_mail(settings: Settings, to: str, identifier: str, package: bytes) -> EmailMessage:
    """The mail: fixed words, the request's id, one attachment. Nothing of it comes from the caller but
    `to`.
    """
    mock = "【模擬/MOCK】" if settings.profile is Profile.DEMO else ""
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.smtp_sender
    message["To"] = to
    message["Subject"] = f"{mock}証明書の提出 / Submission of a certificate ({identifier})"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(
        f"{mock}\n提出依頼 {identifier} への証明書が添付されています。\n"
        "添付ファイルは提出先の鍵だけで開けます。このメールには返信しないでください。\n\n"
        f"The attached file is the certificate for request {identifier}.\n"
        "Only the recipient's key opens it. Please do not reply to this mail.\n"
    )
    message.add_attachment(
        package,
        maintype="application",
        subtype="vnd.akashi.package+json",
        filename=identifier + PACKAGE_SUFFIX,
    )
    return message


def smtp_deliverer(settings: Settings) -> Callable[[EmailMessage], None] | None:
    """The function that hands a mail to the configured server; None when none is configured."""
    if not settings.smtp_host:
        return None

    def deliver(message: EmailMessage) -> None:
        context = ssl.create_default_context()
        if settings.smtp_security == "tls":
            client = smtplib.SMTP_SSL(
                settings.smtp_host, settings.smtp_port, timeout=settings.smtp_timeout, context=context
            )
        else:
            client = smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=settings.smtp_timeout)
        with client:
            if settings.smtp_security == "starttls":
                client.starttls(context=context)
            if settings.smtp_user and settings.smtp_password_file is not None:
                client.login(settings.smtp_user, settings.smtp_password_file.read_text("utf-8").strip())
            client.send_message(message)

    return deliver
