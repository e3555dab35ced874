"""Bringing the public files to the street door: in order, until it has them, data before checkpoint.

What has to go is a queue in the log's database, written in the transaction that stored the signature; a crash
repeats the newest files, which does no harm: nothing there goes back. The street door takes each name once (other
bytes: an alarm, not an overwrite), except the checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from chain.errors import LogRefused, LogUnavailable, PublicFileError
from chain.files import FileTree
from chain.http_client import check_address, send_request
from chain.log import Log
from chain.stores import Upload
from verifier.errors import FormatError, SourceError
from verifier.formats.checkpoint import Checkpoint, verify_public_checkpoint

UPLOADS_A_ROUND: Final = 512

# (method, path, body) → value of the Authorization header
Authorization = Callable[[str, str, bytes], str]


class PublicFiles(Protocol):
    """Where public files go."""

    def put(self, path: str, data: bytes, replace: bool) -> None:
        """Store a file durably; without `replace` the same bytes again are fine and other bytes are refused.

        Raises: LogUnavailable (try again), PublicFileError (for good).
        """

    def find(self, path: str) -> bytes | None:
        """What everybody sees under this name now, None if nothing.

        Raises: LogUnavailable.
        """


class DirectoryFiles:
    """Public files in a directory that somebody else serves."""

    def __init__(self, directory: Path) -> None:
        self._files = FileTree(directory)

    def put(self, path: str, data: bytes, replace: bool) -> None:
        try:
            if replace:
                self._files.replace(path, data)
            else:
                self._files.create([(path, data)])
        except LogRefused as error:
            raise PublicFileError("other-bytes", error.detail) from error
        except OSError as error:
            raise LogUnavailable("directory-away", f"the public directory fails: {error}") from error

    def find(self, path: str) -> bytes | None:
        try:
            return self._files.find(path)
        except OSError as error:
            raise LogUnavailable("directory-away", f"the public directory fails: {error}") from error


class HttpFiles:
    """Public files at the street door: `PUT {base}/city/public/<path>`, for everybody at `{base}/<path>`."""

    def __init__(self, base_url: str, authorization: Authorization) -> None:
        self._base_url = check_address(base_url)
        self._authorization = authorization

    def put(self, path: str, data: bytes, replace: bool) -> None:
        target = f"/city/public/{path}"
        headers = {
            "Authorization": self._authorization("PUT", target, data),
            "Content-Type": "application/octet-stream",
        }
        status, _ = send_request("PUT", self._base_url + target, data, headers)
        if status == 409:
            raise PublicFileError("other-bytes", f"the street door has other bytes for {path}")
        if status not in (200, 201, 204):
            raise LogUnavailable("not-taken", f"the street door answers {status} for {path}")

    def find(self, path: str) -> bytes | None:
        status, data = send_request("GET", f"{self._base_url}/{path}")
        if status not in (200, 404):
            raise LogUnavailable("not-reachable", f"the street door answers {status} for {path}")
        return data if status == 200 else None


class Publisher:
    """Empties the upload queue of one log."""

    def __init__(self, log: Log, target: PublicFiles, prefix: str) -> None:
        """`prefix`: where the log lies below the public address, for example `992011/log/1`."""
        self._log = log
        self._target = target
        self._prefix = prefix
        self._is_compared = False
        self.trouble = ""

    def run(self) -> None:
        """Upload until the queue is empty or something fails; what failed is in `trouble`.

        Raises: LogRefused("seen-larger", "seen-fork"); the log has been told too.
        """
        try:
            while uploads := self._log.store.next_uploads(UPLOADS_A_ROUND):
                self._compare()
                # Of a name that changes only the newest goes: after a crash the same rows are sent again, and what
                # everybody sees must not go back to an older checkpoint meanwhile.
                newest = {upload.path: upload.number for upload in uploads if upload.data is not None}
                done = 0
                try:
                    for upload in uploads:
                        if newest.get(upload.path, upload.number) == upload.number:
                            self._put(upload)
                        done = upload.number
                finally:
                    if done:
                        self._log.store.finish_uploads(done)
            self.trouble = ""
        except (LogUnavailable, PublicFileError) as error:
            self.trouble = str(error)

    def _compare(self) -> None:
        # Once, before the first upload: a restored backup would put its older checkpoint over the newer one, and that
        # one may be the only proof that history was lost.
        if self._is_compared:
            return
        data = self._target.find(f"{self._prefix}/checkpoint")
        try:
            seen = None if data is None else verify_public_checkpoint(data, self._log.key).checkpoint
        except FormatError:
            seen = None  # not signed by us: it accuses nobody
        if seen is not None:
            self._compare_with(seen)
        self._is_compared = True

    def _compare_with(self, seen: Checkpoint) -> None:
        size = (
            self._log.store.read().size
        )  # committed: what is signed may reach the street before our own file
        refusal = None
        if seen.size > size:
            refusal = LogRefused("seen-larger", f"the street shows {seen.size} entries, we have {size}")
        elif 0 < seen.size <= self._log.published.size and self._log.root_at(seen.size) != seen.root:
            refusal = LogRefused("seen-fork", f"the street shows another root for size {seen.size}")
        if refusal is not None:
            self._log.refuse(refusal)
            self.trouble = str(refusal)
            raise refusal

    def _put(self, upload: Upload) -> None:
        path = f"{self._prefix}/{upload.path}"
        if upload.data is not None:
            self._target.put(path, upload.data, True)
            return
        try:
            data = self._log.files.read(upload.path)
        except SourceError as error:
            if ".p/" in upload.path and self._log.files.find(upload.path.partition(".p/")[0]) is not None:
                return  # dropped because the full tile exists, which is further down in the queue
            raise LogUnavailable("not-written", f"{upload.path} is not written yet") from error
        self._target.put(path, data, False)
