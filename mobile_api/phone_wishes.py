"""The phone's wishes: one key for one wish under way, and when a wish is dropped so that it can be made anew.

    new ─▶ sent ─▶ ready ─▶ fetched            refused, gone: the end; the same wish again is a new one
                    ▲ ▼
                   missing ─▶ gone              the door has not got the package; the city puts it there again, once

Works on the plain data of the state directory; it talks to nobody and saves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

UNDER_WAY: Final = ("new", "sent", "ready", "missing")


def find_wish(
    state: dict[str, Any], wish: dict[str, Any], new_key: Callable[[], str]
) -> tuple[str, dict[str, Any]]:
    """Key and entry of this wish (document_kind, fiscal_year, purpose, mandate): the one under way, or a new one."""
    for key, entry in state["requests"].items():
        if {name: entry.get(name) for name in wish} != wish:
            continue
        if entry["state"] in UNDER_WAY:
            return key, entry
        if entry["state"] == "refused":
            refusal = state["messages"][entry["message"]]["refusal"]
            # Refused at the door of the city: the same wish again. Refused on its way: a new one.
            if refusal["retry"] and not entry["stages"]:
                entry.update(message=None, state="new")
                return key, entry
    key, number = new_key(), len(state["requests"]) + 1
    state["requests"][key] = {
        **wish,
        "city_request": None,
        "file": None,
        "message": None,
        "number": number,
        "package": None,
        "put_again": False,
        "sha256": None,
        "stages": [],
        "state": "new",
    }
    return key, state["requests"][key]


def in_order(state: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every wish with its key, the newest last. The state file itself keeps its members in the order of their names."""
    return sorted(state["requests"].items(), key=lambda item: item[1].get("number", 0))


def note_missing(entry: dict[str, Any], reopen: Callable[[], bool]) -> None:
    """The door has not got the package: ask the city once more, or drop the wish if that was done in vain.

    `reopen` lets the answer to the request be awaited once more; False if it cannot be asked again.
    """
    if entry["state"] == "missing":
        return
    if entry.get("put_again") or not reopen():
        entry["state"] = "gone"
    else:
        entry["state"] = "missing"


def note_fetched(entry: dict[str, Any], message: dict[str, Any], file: str) -> None:
    """The package is here and the request done."""
    entry.update(file=file, state="fetched")
    message["outcome"] = "ready"
