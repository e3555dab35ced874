"""Named questions to a resident: a DCQL query each, with the reason in plain words (Japanese, English).

One JSON file a preset lies beside this module: {"v":1,"name","title":{ja,en},"reason":{ja,en},"dcql"}. The type
of credential in a file is the demo city's (模擬/MOCK); `Preset.for_types` puts that of a trust list in its
place. What a file asks for is all a recipient gets: nothing is added here.
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
        """The claims as items of a submission request, e.g. ("subject.name", "income.total").

        Raises: FormatError("preset-not-plain") for a query that items cannot express.
        """
        if len(self.query.credentials) != 1 or self.query.credential_sets:
            raise FormatError("preset-not-plain", "items ask for one credential")
        credential = self.query.credentials[0]
        if credential.claim_sets or not credential.claims or not all(map(_is_plain, credential.claims)):
            raise FormatError("preset-not-plain", "items are names, without values and alternatives")
        return tuple(claim.text for claim in credential.claims)


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


def _is_plain(claim: ClaimQuery) -> bool:
    return not claim.values and all(isinstance(part, str) for part in claim.path)
