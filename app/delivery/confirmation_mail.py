"""The mails to a resident's own address: the code that confirms it, and that a phone was added. No name, no figure.

An address is optional; registration never waits for it.
"""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from typing import Final

from app.errors import SettingsError, UnavailableError

SENDER: Final = "noreply@city.mihon.example"
TIMEOUT_SECONDS: Final = 10.0


class ConfirmationMail:
    """Sends through `server` ("host:port"); an empty server sends nothing and says so to nobody."""

    def __init__(self, server: str) -> None:
        self._host, _, port = server.partition(":")
        if server and not (port.isascii() and port.isdigit()):
            raise SettingsError("bad-setting", "AKASHI_SMTP_ADDRESS: host:port")
        self._port = int(port) if port else 0

    def send(self, address: str, code: str) -> None:
        """Send one code. Raises UnavailableError; the account works without it."""
        if not self._host:
            return
        self._send(
            address,
            "【模擬】メールアドレスの確認 / e-mail confirmation (MOCK)",
            f"確認番号: {code}\nアプリにこの番号を入れてください。お心当たりがない場合は、このメールを捨ててください。\n\n"
            f"Your code: {code}\nPlease type it into the app. If you did not ask for it, ignore this mail.\n\n",
        )

    def tell_new_device(self, address: str) -> None:
        """Say that a phone was added. Raises UnavailableError; it is tried again later."""
        if not self._host:
            return
        self._send(
            address,
            "【模擬】新しいスマートフォンの登録 / a new phone was registered (MOCK)",
            "あなたのカードで、新しいスマートフォンが登録されました。\n"
            "お心当たりがない場合は、登録済みのスマートフォンで新しい方を止め、すぐに市へお電話ください。\n\n"
            "A new phone was registered with your card.\n"
            "If this was not you, stop it from a phone of yours and telephone the city at once.\n\n",
        )

    def _send(self, address: str, subject: str, text: str) -> None:
        message = EmailMessage()
        message["Subject"] = subject
        message["From"] = SENDER
        message["To"] = address
        message.set_content(text + "これは見本です。市・人・証明書は実在しません。/ This is a mock-up.\n")
        try:
            with smtplib.SMTP(self._host, self._port, timeout=TIMEOUT_SECONDS) as server:
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise UnavailableError("mail", type(error).__name__) from error
