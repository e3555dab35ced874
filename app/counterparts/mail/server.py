"""The mock mail server: RFC 5321 through aiosmtpd, each mail one file in a maildir (`new/`). Refused in
production.
"""

from __future__ import annotations

import email
import os
import secrets
import time
from email.message import Message
from pathlib import Path
from typing import Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from app.errors import SettingsError

MAX_MAIL_BYTES: Final = 8 << 20


class MaildirHandler:
    """Writes what comes in; one file a mail, whatever the number of recipients."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for name in ("tmp", "new", "cur"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Store with the envelope's addresses in front, as a delivery agent does."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        head = f"Return-Path: <{envelope.mail_from}>\r\nX-Akashi-Mock: MOCK, not delivered\r\n"
        head += "".join(f"Delivered-To: {address}\r\n" for address in envelope.rcpt_tos)
        name = f"{int(time.time())}.{secrets.token_hex(8)}.mock"
        temporary = self._directory / "tmp" / name
        with temporary.open("wb") as file:
            file.write(head.encode("utf-8") + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._directory / "new" / name)
        return "250 OK (MOCK, kept and not delivered)"


class MockMailServer:
    """Start and stop from a thread. `port` 0 is not possible with aiosmtpd: give a free one."""

    def __init__(
        self, directory: Path, *, profile: str | None, host: str = "127.0.0.1", port: int = 8025
    ) -> None:
        if profile != "demo":
            raise SettingsError("mock-refused", "模擬/MOCK mail runs with AKASHI_PROFILE=demo only")
        self.directory = directory
        self._controller = Controller(
            MaildirHandler(directory),
            hostname=host,
            port=port,
            data_size_limit=MAX_MAIL_BYTES,
            ident="MOCK mail (模擬)".encode("ascii", "ignore").decode(),
        )

    def start(self) -> None:
        """Listen. Raises OSError when the port is taken."""
        self._controller.start()

    def stop(self) -> None:
        """Stop listening."""
        self._controller.stop()


def read_mails(directory: Path) -> list[Message]:
    """Every mail in the maildir, oldest first by file name."""
    return [email.message_from_bytes(path.read_bytes()) for path in sorted((directory / "new").glob("*"))]
