"""A station's line to the reset service and the vendor over HTTP: what `station` asks, asked of `server`."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any, Final

from app.counterparts.pin_reset.errors import ResetRefused
from app.counterparts.pin_reset.service import CardWord, NewPassword
from app.errors import UnavailableError
from verifier.errors import FormatError
from verifier.formats.encoding import base64_decode, base64_encode, canonical_json, parse_json

MAX_ANSWER_BYTES: Final = 16 << 10
TIMEOUT_SECONDS: Final = 10.0


class ResetClient:
    """Service and vendor at `base_url`; `counter_token` only at a counter. Raises ResetRefused, UnavailableError."""

    def __init__(self, base_url: str, *, counter_token: str = "") -> None:
        self._base_url = base_url
        self._counter_token = counter_token

    def new_nonce(self) -> str:
        """A fresh nonce."""
        return str(self._post("/nonces", {})["nonce"])

    def check(self, card: str, picture: bytes, camera: bytes) -> str:
        """The vendor's signed result."""
        form = {"card": card, "picture": base64_encode(picture), "camera": base64_encode(camera)}
        return str(self._post("/vendor/face-checks", form)["result"])

    def reserve(self, target: str, word: CardWord, face: str) -> tuple[str, int]:
        """(reservation, last second)."""
        answer = self._post("/reservations", {"target": target, "face": face, **_word(word)})
        return str(answer["reservation"]), int(answer["expires"])

    def reset_at_kiosk(self, target: str, word: CardWord, new: NewPassword) -> bytes:
        """The authorisation for the card."""
        return self._authorisation("/kiosk/resets", {"target": target, **_word(word), **_new(new)})

    def reset_at_counter(
        self,
        target: str,
        card: str,
        new: NewPassword,
        *,
        staff: str,
        documents: Sequence[str],
        copy_reason: str | None = None,
        copy_consent: bool = False,
    ) -> bytes:
        """The authorisation for the card."""
        form = {
            "target": target,
            "card": card,
            **_new(new),
            "staff": staff,
            "documents": list(documents),
            "copy_reason": copy_reason,
            "copy_consent": copy_consent,
        }
        return self._authorisation("/counter/resets", form)

    def _authorisation(self, path: str, form: Mapping[str, Any]) -> bytes:
        return base64_decode(str(self._post(path, form)["authorisation"]))

    def _post(self, path: str, form: Mapping[str, Any]) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if path.startswith("/counter/"):
            headers["Authorization"] = f"Bearer {self._counter_token}"
        request = urllib.request.Request(  # noqa: S310  (the address comes from the settings)
            self._base_url + path, data=canonical_json(dict(form)), headers=headers
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                return _object(response.read(MAX_ANSWER_BYTES + 1))
        except urllib.error.HTTPError as error:
            with error:
                rule = _object(error.read(MAX_ANSWER_BYTES + 1)).get("rule")
            if isinstance(rule, str) and rule:
                raise ResetRefused(rule) from None
            raise UnavailableError("pin-reset", f"status {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError("pin-reset", "no answer") from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = parse_json(data, max_bytes=MAX_ANSWER_BYTES)
    except FormatError as error:
        raise UnavailableError("pin-reset", "not JSON") from error
    if not isinstance(value, dict):
        raise UnavailableError("pin-reset", "not an object")
    return value


def _word(word: CardWord) -> dict[str, str]:
    return {
        "nonce": word.nonce,
        "certificate": base64_encode(word.certificate),
        "signature": base64_encode(word.signature),
    }


def _new(new: NewPassword) -> dict[str, str]:
    return {"challenge": base64_encode(new.challenge), "digest": new.digest}
