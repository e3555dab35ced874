"""Named questions to a resident: a DCQL query each, with the reason in plain words (Japanese, English).

One JSON file a preset lies beside this module: {"v":1,"name","title":{ja,en},"reason":{ja,en},"dcql"}. The type
of credential in a file is the demo city's (模擬/MOCK); `Preset.for_types` puts that of a trust list in its
place. What a file asks for is all a recipient gets: nothing is added here. Where a threshold suffices, the figure is
not asked for (`verifier.formats.ladder`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Final

from verifier.errors import FormatError
from verifier.formats.dcql import ClaimQuery, DcqlQuery, read_dcql
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.ladder import is_rung

PRESETS: Final = ("health-insurance-dependant", "nursery-fee", "housing", "loan", "all")


@dataclass(frozen=True, slots=True)
class Words:
    """One sentence in both languages."""

    ja: str
    en: str


@dataclass(frozen=True, slots=True)
class Preset:
    """A named question: title and reason for the person who is asked, and the query itself."""

    name: str
    title: Words
    reason: Words
    query: DcqlQuery

    def for_types(self, vct: Sequence[str]) -> Preset:
        """The same question for other types of credential, as a trust list names them."""
        credentials = (dataclasses.replace(item, vct_values=tuple(vct)) for item in self.query.credentials)
        query = dataclasses.replace(self.query, credentials=tuple(credentials))
        return dataclasses.replace(self, query=query)

    def items(self) -> tuple[str, ...]:
        """The claims as items of a submission request, e.g. ("subject.name", "income_at_most.1300000").

        Items know no "either … or": of claim sets these are what every set asks for, and the thresholds of all of them.
        A figure that only stands in for a threshold is not asked for in this way.
        Raises: FormatError("preset-not-plain") for a query that items cannot express.
        """
        if len(self.query.credentials) != 1 or self.query.credential_sets:
            raise FormatError("preset-not-plain", "items ask for one credential")
        credential = self.query.credentials[0]
        options = credential.options()
        rungs = [claim for claim in credential.claims if _is_rung(claim)]
        if not credential.claims or (credential.claim_sets and not rungs):
            raise FormatError(
                "preset-not-plain", "items are names, without alternatives other than thresholds"
            )
        wanted = [c for c in credential.claims if c in rungs or all(c in option for option in options)]
        if not all(claim in rungs or _is_plain(claim) for claim in wanted):
            raise FormatError("preset-not-plain", "items are names, without values")
        return tuple(claim.text for claim in wanted)


def load_preset(name: str) -> Preset:
    """A preset by its name. Raises: FormatError("unknown-preset" | "bad-preset")."""
    if name not in PRESETS:
        raise FormatError("unknown-preset", f"presets are {', '.join(PRESETS)}")
    preset = parse_preset(resources.files(__name__).joinpath(f"{name}.json").read_bytes())
    if preset.name != name:
        raise FormatError("bad-preset", "the file has another name")
    return preset


def parse_preset(data: bytes) -> Preset:
    """A preset from the bytes of its file. Raises: LimitError, FormatError("bad-preset", …)."""
    value = parse_json(data)
    members = {"v", "name", "title", "reason", "dcql"}
    if not isinstance(value, dict) or set(value) != members or value["v"] != 1 or value["v"] is True:
        raise FormatError("bad-preset", "wrong members or version")
    name = value["name"]
    if not isinstance(name, str) or not name:
        raise FormatError("bad-preset", "a preset has a name")
    return Preset(name, _words(value["title"]), _words(value["reason"]), read_dcql(value["dcql"]))


def _words(value: JSON) -> Words:
    if not isinstance(value, dict) or set(value) != {"ja", "en"}:
        raise FormatError("bad-preset", "words are in Japanese and English")
    if not all(isinstance(text, str) and text for text in value.values()):
        raise FormatError("bad-preset", "words are text")
    return Words(value["ja"], value["en"])


def _is_rung(claim: ClaimQuery) -> bool:
    # Rungs are only ever true, so `values: [true]` asks for nothing but the rung.
    return is_rung(claim.path) and all(value is True for value in claim.values)


def _is_plain(claim: ClaimQuery) -> bool:
    return not claim.values and all(isinstance(part, str) for part in claim.path)
