"""Who may ask whether a card certificate is valid: the bodies that do 署名等確認業務, and who does it for whom (模擬/MOCK).

bodies.json: {"bodies": {id: {name, class, kinds, from, until, revoked, token}},
"contracts": {id: {delegator, delegate, kinds, from, until, revoked}}, "v": 1}. Days are legal days in Japan, first and last
inclusive; `token` is the SHA-256 of the body's credential, "" for a body that has none and asks through others; `revoked`
Unix seconds or 0.

A body asks for itself, or for a body that has delegated to it by a contract in force. Until lately only 6号 bodies could be
delegated to, now 4号 and 5号 bodies too (facts S1; the numbering of 法17条 beyond that is unconfirmed).
In the world outside a closed network and certificates say who asks; here a secret in an HTTP header does, which stands in
for both. Fees are waived there for the time being; what was asked is counted (`BodyMeter`) by body, day, kind and method,
never by serial.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Final

from app.counterparts.jpki.errors import BodyRefused, JpkiError
from app.counterparts.jpki.issued import IssuedList, write_file
from app.counterparts.jpki.profiles import KINDS
from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json, parse_json

LEGAL_CLASSES: Final = {
    "administrative": "行政機関等",
    "4": "4号 認定認証事業者",
    "5": "5号 特定認証業務の認定を受けた者",
    "6": "6号 主務大臣の認定を受けた者 (PF事業者)",
    "service": "署名等確認業務を委託する民間事業者",
}
DELEGATES: Final = ("4", "5", "6")
"""To whom the business may be delegated."""
MAX_FILE: Final = 1 << 20
MAX_BODIES: Final = 1000
MAX_NAME: Final = 100
JAPAN: Final = timezone(timedelta(hours=9))
MARKS: Final = ("模擬", "MOCK")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and for whom (the same id where it asks for itself)."""

    body: str
    behalf: str


class BodyRegistry:
    """The register in `directory`. Several processes may work on it; a change counts from the next question on."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = IssuedList(directory)

    def add(
        self, body: str, name: str, legal_class: str, *, kinds: tuple[str, ...], begin: date, until: date
    ) -> str:
        """Register a body; its credential (43 characters), which is told this once. "" for class "service".

        Raises: JpkiError.
        """
        if legal_class not in LEGAL_CLASSES:
            raise JpkiError("bad-class", f"one of {', '.join(LEGAL_CLASSES)}")
        if not 0 < len(name) <= MAX_NAME or not any(mark in name for mark in MARKS):
            raise JpkiError("bad-name", "a name here says 模擬 or MOCK")
        _check_scope(body, kinds, begin, until)
        token = "" if legal_class == "service" else secrets.token_urlsafe(32)
        with self._changed() as content:
            if body in content["bodies"]:
                raise JpkiError("body-exists", "this body is registered already")
            if len(content["bodies"]) >= MAX_BODIES:
                raise JpkiError("too-many-bodies", f"{MAX_BODIES} bodies")
            content["bodies"][body] = {
                "name": name,
                "class": legal_class,
                "kinds": list(kinds),
                "from": begin.isoformat(),
                "until": until.isoformat(),
                "revoked": 0,
                "token": _hash(token) if token else "",
            }
        return token

    def delegate(
        self, delegator: str, delegate: str, *, kinds: tuple[str, ...], begin: date, until: date
    ) -> str:
        """Note a delegation contract; its id. Raises: JpkiError."""
        _check_scope(delegator, kinds, begin, until)
        contract = secrets.token_hex(8)
        with self._changed() as content:
            bodies = content["bodies"]
            if delegator not in bodies or delegate not in bodies or delegator == delegate:
                raise JpkiError("unknown-body", "both parties are registered bodies, and not the same")
            if bodies[delegate]["class"] not in DELEGATES:
                raise JpkiError("not-a-delegate", "the business is delegated to 4号, 5号 and 6号 bodies only")
            content["contracts"][contract] = {
                "delegator": delegator,
                "delegate": delegate,
                "kinds": list(kinds),
                "from": begin.isoformat(),
                "until": until.isoformat(),
                "revoked": 0,
            }
        return contract

    def revoke(self, name: str, *, now: datetime) -> None:
        """End a body, or a contract, for good. Raises: JpkiError("unknown-body")."""
        with self._changed() as content:
            entry = content["bodies"].get(name) or content["contracts"].get(name)
            if entry is None:
                raise JpkiError("unknown-body", "no such body or contract")
            entry["revoked"] = entry["revoked"] or int(now.timestamp())

    def read(self) -> dict[str, Any]:
        """Everything as it is now. Raises: JpkiError("bad-bodies")."""
        path = self._directory / "bodies.json"
        if not path.exists():
            return {"bodies": {}, "contracts": {}, "v": 1}
        try:
            content: Any = parse_json(path.read_bytes(), max_bytes=MAX_FILE)
        except FormatError as error:
            raise JpkiError("bad-bodies", "bodies.json cannot be read") from error
        if not isinstance(content, dict) or content.get("v") != 1:
            raise JpkiError("bad-bodies", "bodies.json has another form")
        return content

    def check(self, token: str, kind: str, *, behalf: str = "", now: datetime) -> Asker:
        """Who asks about a certificate of `kind`, for itself or on behalf of a body that delegated to it.

        Raises: BodyRefused: unregistered, body-revoked, body-expired, out-of-scope, no-contract.
        """
        content, today = self.read(), now.astimezone(JAPAN).date()
        # Compared as a hash, so that the time it takes says nothing of a credential.
        said = _hash(token) if token else None
        found = [name for name, entry in content["bodies"].items() if said and entry["token"] == said]
        if len(found) != 1:
            raise BodyRefused("unregistered", "no registered body asks")
        body = found[0]
        _check_entry(content["bodies"][body], kind, today)
        if not behalf or behalf == body:
            return Asker(body, body)
        delegator = content["bodies"].get(behalf)
        contracts = [
            entry
            for entry in content["contracts"].values()
            if (entry["delegator"], entry["delegate"]) == (behalf, body) and not entry["revoked"]
        ]
        if delegator is None or not any(_covers(entry, kind, today) for entry in contracts):
            raise BodyRefused("no-contract", "no delegation in force covers this question")
        _check_entry(delegator, kind, today)
        return Asker(body, behalf)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[dict[str, Any]]:
        with self._lock.locked():
            content = self.read()
            yield content
            write_file(self._directory / "bodies.json", canonical_json(content))


class BodyMeter:
    """How often was asked: one row a body, party it asked for, day, kind and method. No serial, no time of day."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._transaction() as db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS queries (body TEXT, behalf TEXT, day TEXT, kind TEXT, method TEXT,"
                " count INTEGER, PRIMARY KEY (body, behalf, day, kind, method))"
            )
        path.chmod(0o600)

    def count(self, asker: Asker, kind: str, method: str, *, now: datetime) -> None:
        """One more question; `method` "ocsp" or "crl"."""
        day = now.astimezone(JAPAN).date().isoformat()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO queries VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1",
                (asker.body, asker.behalf, day, kind, method),
            )

    def rows(self) -> list[tuple[str, str, str, str, str, int]]:
        """(body, for whom, day, kind, method, count), by day."""
        with self._transaction() as db:
            return db.execute("SELECT * FROM queries ORDER BY day, body, behalf, kind, method").fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(self._path, timeout=10, isolation_level=None)
        try:
            # A count that a power cut loses is no loss here; a sync for each question would be a delay for every login.
            db.execute("PRAGMA synchronous=OFF")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:  # whatever happened, nothing half done stays; then it is told as it is
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        finally:
            db.close()


def _check_scope(name: str, kinds: tuple[str, ...], begin: date, until: date) -> None:
    if _ID.fullmatch(name) is None:
        raise JpkiError("bad-id", "an id is 1 to 40 of a-z, 0-9 and -")
    if not kinds or len(set(kinds)) != len(kinds) or not set(kinds) <= set(KINDS):
        raise JpkiError("bad-scope", f"kinds of {', '.join(KINDS)}")
    if until < begin:
        raise JpkiError("bad-dates", "the last day is not before the first")


def _check_entry(entry: dict[str, Any], kind: str, today: date) -> None:
    if entry["revoked"]:
        raise BodyRefused("body-revoked", "the body is no longer registered")
    if not date.fromisoformat(entry["from"]) <= today <= date.fromisoformat(entry["until"]):
        raise BodyRefused("body-expired", "the registration is not in force today")
    if kind not in entry["kinds"]:
        raise BodyRefused("out-of-scope", "the body may not ask about this kind of certificate")


def _covers(entry: dict[str, Any], kind: str, today: date) -> bool:
    return kind in entry["kinds"] and date.fromisoformat(entry["from"]) <= today <= date.fromisoformat(
        entry["until"]
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8")).hexdigest()
