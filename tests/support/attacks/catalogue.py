"""The catalogue of attacks: the builders of this folder, and the reviewed list in tests/vectors/bad/catalogue.json.

`python -m tests.support.attacks.catalogue` writes docs/reference/attacks.md anew from the list; a test keeps the two,
and the list and the builders, in step. With `--freeze` it also replaces the bundle in tests/vectors/good/bundle: only
when a format is changed on purpose.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.attacks.case import ATTACKS, CONTROLS, REFUSED, Builder
from tests.support.mini_city import city

ROOT: Final = Path(__file__).parents[3]
LIST: Final = ROOT / "tests" / "vectors" / "bad" / "catalogue.json"
FROZEN: Final = ROOT / "tests" / "vectors" / "good" / "bundle"
PAGE: Final = ROOT / "docs" / "reference" / "attacks.md"

# Chapter = module of this folder, in the order of the walk.
CHAPTERS: Final[dict[str, str]] = {
    "archives": "The file and its archive / ファイルと書庫",
    "packages": "The package / 暗号の包み",
    "trusts": "What the desk trusts / 信頼リスト・紹介・紙のコード",
    "pages": "The bytes of the page / 紙面のバイト",
    "seals": "The seal and its time-stamp / 電子印と時刻印",
    "contents": "Page, data, credential and evidence / 中身の組み合わせ",
    "credentials": "The credential / データ署名",
    "logs": "The log / 台帳",
    "anchors": "Receipt, chain and time-stamp of the checkpoint / 台帳の外の証拠",
    "compromises": "Stolen keys / 盗まれた鍵",
    "statuses": "The status list / 失効一覧",
    "holders": "The submission / 提出",
}
EXIT_CODES: Final = {"valid": 0, "not-valid": 1, "undetermined": 3, "refused": 1, "accepted": 0}

_WORDS: Final = {"not-valid": "NOT_VALID", "undetermined": "UNDETERMINED", REFUSED: "refused"}
_HEAD: Final = """\
# Attacks

*Made from `tests/vectors/bad/catalogue.json` by `python -m tests.support.attacks.catalogue`; not edited by hand.*

{total} attacks, each with its expected reason; {wrong} of them are properly signed by a wrong but well-formed party.
Each stands beside a genuine thing made in the same way (its *control*), which is accepted. The builders are in
`tests/support/attacks`, the runs in `tests/unit/test_attacks_catalogue.py` (in process),
`tests/interop/test_verifier_wheel.py` (by the installed wheel, by its exit code) and
`tests/properties/test_attacks_flips.py` (every byte changed, cut off, put in). A new idea of an attack becomes a case
there first.

The reason is what `akashi-verify verify --json` names: `check:code`. More than one means that all of them are found.
`error:code` is a typed refusal without an examination. UNDETERMINED is not a softer no: it is what an outage, or evidence
that is missing or too old, must look like.
"""


@dataclass(frozen=True)
class Story:
    """One line of the reviewed list. `party`: who signed properly, a key of `parties`; None = nobody signed anew."""

    name: str
    chapter: str
    door: str
    policy: str
    party: str | None
    ja: str
    en: str
    verdict: str
    findings: tuple[str, ...]
    control: str

    @property
    def exit_code(self) -> int:
        """What the command line answers."""
        return EXIT_CODES[self.verdict]


@functools.cache
def load_builders() -> tuple[dict[str, Builder], dict[str, Builder]]:
    """(attacks, controls) by name."""
    for chapter in CHAPTERS:
        importlib.import_module(f"tests.support.attacks.{chapter}")
    return ATTACKS, CONTROLS


@functools.cache
def read_list() -> dict[str, Any]:
    """The reviewed list as it stands in the file."""
    value: dict[str, Any] = json.loads(LIST.read_text(encoding="utf-8"))
    return value


@functools.cache
def stories() -> tuple[Story, ...]:
    """The attacks of the reviewed list."""
    return tuple(
        Story(
            **{
                key: item[key] for key in ("name", "chapter", "door", "policy", "party", "verdict", "control")
            },
            ja=item["story"]["ja"],
            en=item["story"]["en"],
            findings=tuple(item["findings"]),
        )
        for item in read_list()["attacks"]
    )


def by_wrong_party() -> tuple[Story, ...]:
    """Attacks whose signatures are all in order, and not those of who should have signed."""
    parties = read_list()["parties"]
    return tuple(story for story in stories() if story.party is not None and parties[story.party]["wrong"])


def format_page() -> str:
    """docs/reference/attacks.md"""
    text = [_HEAD.format(total=len(stories()), wrong=len(by_wrong_party()))]
    text.append("| party | who signs |\n|---|---|")
    for name, party in read_list()["parties"].items():
        note = "" if party["wrong"] else " (not counted as a wrong party: the key is the right one)"
        text.append(f"| {name} | {party['en']} / {party['ja']}{note} |")
    for chapter, title in CHAPTERS.items():
        text.append(
            f"\n## {title}\n\n| attack | what is done | by | must end in | control |\n|---|---|---|---|---|"
        )
        text += [_row(story) for story in stories() if story.chapter == chapter]
    text.append("\n## Controls / 本物\n\n| control | why it stands here | ends in |\n|---|---|---|")
    for item in read_list()["controls"]:
        reasons = "".join(f" `{finding}`" for finding in item["findings"])
        text.append(f"| {item['name']} | {item['why']} | {item['verdict']}{reasons} |")
    return "\n".join(text) + "\n"


def _row(story: Story) -> str:
    reasons = " ".join(f"`{finding}`" for finding in story.findings)
    asked = " (online)" if story.policy == "online" else ""
    told = f"{story.en}<br>{story.ja}"
    return f"| {story.name} | {told} | {story.party or '–'} | {_WORDS[story.verdict]}{asked} {reasons} | {story.control} |"


def freeze_bundle() -> None:
    """A good bundle and its trust list for readers in other languages; the keys that made them are forgotten."""
    FROZEN.mkdir(exist_ok=True)
    (FROZEN / "certificate.akashi-bundle").write_bytes(city().bundle)
    (FROZEN / "992011.root.json").write_bytes(city().trust_list)


if __name__ == "__main__":
    PAGE.write_text(format_page(), encoding="utf-8")
    if "--freeze" in sys.argv[1:]:
        freeze_bundle()
