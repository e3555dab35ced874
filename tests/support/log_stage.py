"""What a log process was doing when it was killed, read from what it left on the disk.

Reads copies: opening the database itself would already repair it, and the next start is to find it as the kill left it.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

# stage → what the kill left behind
STAGES: Final = {
    "staging": "a staged batch that was not committed",
    "signing": "a committed root without signature",
    "publishing": "a signature whose checkpoint is not published",
    "clearing": "a published batch that is still staged",
    "writing": "a file that was not finished",
    "uploading": "files that the street does not have",
    "storing": "a checkpoint kept for the chain, no transaction stored",
    "sending": "a stored transaction that was not sent, as far as the log knows",
    "mining": "a sent transaction that was not settled",
    "finishing": "a mined transaction that was not final",
    "receipting": "a final transaction without receipt",
}
LOGGING: Final = ("staging", "signing", "publishing", "clearing")
ANCHORING: Final = ("storing", "sending", "mining", "finishing", "receipting")


def read_stages(directory: Path) -> set[str]:
    """The stages that were under way in the log of `directory`; empty when it was idle."""
    public, staging = directory / "public", directory / "staging"
    try:
        published = int((public / "checkpoint").read_bytes().split(b"\n")[1])
    except FileNotFoundError:
        published = 0
    staged = {path.name for path in staging.glob("*")} if staging.is_dir() else set()
    with tempfile.TemporaryDirectory() as copy:
        for suffix in ("", "-wal"):
            with_suffix = directory / f"log.sqlite{suffix}"
            if with_suffix.exists():
                shutil.copy(with_suffix, copy)
        connection = sqlite3.connect(Path(copy) / "log.sqlite")
        try:
            size, previous, signature = connection.execute(
                "SELECT size, previous_size, signature FROM head"
            ).fetchone()
            uploads = connection.execute("SELECT count(*) FROM upload").fetchone()[0]
            attempts = connection.execute("SELECT state, sent, has_receipt, size FROM outbox").fetchall()
        finally:
            connection.close()
    kept = {path.name for path in (public / "checkpoints").glob("[0-9]*")}
    unstored = {name for name in kept if not name.endswith(".tmp")} - {
        str(attempt[3]) for attempt in attempts
    }
    found = {
        "staging": f"{size}.entries" in staged and signature is not None,
        "signing": signature is None,
        "publishing": signature is not None and published < size,
        "clearing": published == size and f"{previous}.entries" in staged,
        "writing": any(directory.rglob("*.tmp")),
        "uploading": uploads > 0,
        "storing": bool(unstored),
        "sending": any(state == "open" and sent is None for state, sent, _, _ in attempts),
        "mining": any(state == "open" and sent is not None for state, sent, _, _ in attempts),
        "finishing": any(state == "mined" for state, _, _, _ in attempts),
        "receipting": any(state == "final" and not has_receipt for state, _, has_receipt, _ in attempts),
    }
    return {stage for stage, is_so in found.items() if is_so}
