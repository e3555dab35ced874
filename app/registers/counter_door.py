"""The counter's own door at the register gate: another token than the worker's, and other operations.

The worker cannot unlock or print a code, and the counter can neither register nor see a record. Both doors share the
gate's socket; which one a message is for is its operation's name, which begins with `counter_`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from app.errors import CityError, Refusal, UnavailableError
from app.frames import FrameClient, is_token
from app.registers.counter import CounterDesk
from app.zones import Guard, Zone
from verifier.fault import describe_fault

log = logging.getLogger("akashi.gate")

VERSION: Final = 1
PREFIX: Final = "counter_"
Answer = dict[str, Any]


class CounterDoor:
    """Answers messages of the counter. `token` empty: there is no counter here, and everything is refused."""

    def __init__(
        self, counter: CounterDesk, token: str, *, guard: Guard, clock: Callable[[], datetime]
    ) -> None:
        self._token = token
        self._guard = guard
        self._clock = clock
        self._counter = counter

    def handle(self, message: dict[str, Any]) -> Answer:
        """One message in, one answer out; never raises."""
        try:
            if not self._token or not is_token(message.get("token"), self._token):
                return {"ok": False, "code": "bad-token"}
            operation = message.get("op")
            if operation not in ("counter_qr", "counter_unlock") or message.get("v") != VERSION:
                return {"ok": False, "code": "unknown-operation"}
            size = len(orjson.dumps(message))
            self._guard.check(Zone.CITY, Zone.NUMBER_USING, f"gate.{operation}", size, now=self._clock())
            done = self._print(message) if operation == "counter_qr" else self._unlock(message)
            return {"ok": True, **done}
        except Refusal as no:
            return {"ok": False, "code": no.code, "ja": no.ja, "en": no.en, "retry": no.retry}
        except CityError as error:
            return {"ok": False, "code": error.code, "detail": error.detail}
        except (KeyError, TypeError, ValueError):
            return {"ok": False, "code": "bad-message"}
        except Exception as error:
            # A defect of ours must not end the door; its text may quote a resident's record.
            log.error("counter operation failed: %s", describe_fault(error))
            return {"ok": False, "code": "internal"}

    def _print(self, m: Mapping[str, Any]) -> Answer:
        code, expires = self._counter.print_code(resident_id=str(m["resident"]), staff=str(m["staff"]))
        return {"qr_code": code, "expires": expires}

    def _unlock(self, m: Mapping[str, Any]) -> Answer:
        unlocked = self._counter.unlock_devices(
            resident_id=str(m["resident"]),
            staff=str(m["staff"]),
            second=str(m["second"]),
            reason=str(m["reason"]),
        )
        return {"unlocked": unlocked}


class CounterCaller:
    """The counter's side. Raises Refusal, CityError when the gate says no, UnavailableError when it is away."""

    def __init__(self, path: Path, token: str, *, guard: Guard, clock: Callable[[], datetime]) -> None:
        self._frames = FrameClient(path)
        self._token = token
        self._guard = guard
        self._clock = clock

    def print_code(self, *, resident_id: str, staff: str) -> tuple[str, int]:
        """(code, end in Unix seconds) for one demonstration resident."""
        answer = self._call("counter_qr", resident=resident_id, staff=staff)
        return str(answer["qr_code"]), int(answer["expires"])

    def unlock_devices(self, *, resident_id: str, staff: str, second: str, reason: str) -> bool:
        """Take a resident's lock back; False if there was none."""
        answer = self._call("counter_unlock", resident=resident_id, staff=staff, second=second, reason=reason)
        return bool(answer["unlocked"])

    def _call(self, operation: str, **fields: str) -> Answer:
        # The code of a QR is secret, and a call repeated after a broken connection only prints another one.
        message = {"v": VERSION, "token": self._token, "op": operation, **fields}
        size = len(orjson.dumps(message))
        self._guard.check(Zone.CITY, Zone.NUMBER_USING, f"gate.{operation}", size, now=self._clock())
        answer = self._frames.call(message)
        if answer.get("ok") is True:
            return answer
        if "ja" in answer:
            raise Refusal(str(answer["code"]), str(answer["ja"]), str(answer["en"]))
        if "detail" in answer:
            raise CityError(str(answer["code"]), str(answer["detail"]))
        raise UnavailableError(f"gate-{answer.get('code', 'no-answer')}")
