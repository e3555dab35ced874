"""The font of every character is chosen from the fonts' own tables, and nothing is replaced."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from app.rendering.errors import FontError, NoRoomError, UnprintableError
from app.rendering.fit import LEADING, Field, fit_text
from app.rendering.font_set import NOTO_SERIF_JP, FontSet, Run

IPAMJ = next(iter(sorted(Path("/usr/share/fonts").glob("**/ipamjm*.ttf"))), None)
needs_ipamj = pytest.mark.skipif(IPAMJ is None, reason="IPAmj Mincho (optional) is not installed")
NOTO, MJ = "Noto Serif JP", "IPAmjMincho"


@pytest.fixture(scope="module")
def noto() -> FontSet:
    return FontSet.load()


@pytest.fixture(scope="module")
def both() -> FontSet:
    return FontSet.load([IPAMJ])


@pytest.mark.parametrize(
    "text", ["𠮷", "髙", "﨑", "\ufa10", "葛\U000e0100", "辻\U000e0100", "佐藤　花子", "Ana de la Cruz"]
)
def test_noto_draws_it(noto: FontSet, text: str) -> None:
    assert noto.runs(text) == (Run(NOTO, text),)


@pytest.mark.parametrize("text", ["葛\U000e0102", "邉\U000e0110"])
def test_without_the_optional_font_a_municipal_variant_is_refused(noto: FontSet, text: str) -> None:
    with pytest.raises(UnprintableError) as caught:
        noto.runs("渡" + text + "子")
    assert caught.value.clusters == (tuple(map(ord, text)),)
    assert f"U+{ord(text[0]):04X} U+{ord(text[1]):04X}" in str(caught.value)
    # the base alone would have been found: that is exactly the silent fallback that must not happen
    assert noto.runs(text[0])


@needs_ipamj
@pytest.mark.parametrize("text", ["葛\U000e0102", "邉\U000e0110"])
def test_with_the_optional_font_it_is_printed_with_that_font(both: FontSet, text: str) -> None:
    assert both.runs(text) == (Run(MJ, text),)


@needs_ipamj
def test_a_name_that_one_font_can_draw_is_not_mixed(both: FontSet) -> None:
    assert both.runs("渡邉\U000e0110　\ufa10") == (Run(MJ, "渡邉\U000e0110　\ufa10"),)


@needs_ipamj
def test_a_name_that_needs_both_collections_is_split(both: FontSet) -> None:
    assert both.runs("葛\U000e0100葛\U000e0102辻\U000e0100") == (
        Run(NOTO, "葛\U000e0100"),
        Run(MJ, "葛\U000e0102"),
        Run(NOTO, "辻\U000e0100"),
    )


@pytest.mark.parametrize(
    "text",
    [
        "葛\U000e01ef",  # a sequence that no collection registers
        "\U000e0100",  # a selector without a base
        "葛\U000e0100\U000e0100",  # two selectors
        "\u3099",  # a mark without a base
        "佐\u202e藤",  # bidirectional override
        "佐\u200b藤",
        "佐\u00ad藤",
        "佐\n藤",
        "佐\u0000藤",
        "佐\u00a0藤",
        "\ue000",  # private use
        "\U0010de92",
        "\ud800",
        "😀",
        "가",
    ],
)
def test_what_has_no_agreed_appearance_or_no_glyph_is_refused(noto: FontSet, text: str) -> None:
    with pytest.raises(UnprintableError):
        noto.runs(text)
    with pytest.raises(UnprintableError):
        noto.check_plain(text)


def test_every_missing_cluster_is_named_once(noto: FontSet) -> None:
    with pytest.raises(UnprintableError) as caught:
        noto.runs("가나가")
    assert caught.value.clusters == ((0xAC00,), (0xB098,))


def test_combining_marks_stay_with_their_base(noto: FontSet) -> None:
    assert noto.runs("か\u309a") == (Run(NOTO, "か\u309a"),)


def test_the_set_says_what_it_cannot_print(noto: FontSet) -> None:
    description = noto.describe()
    assert description.families == (NOTO,)
    assert description.sha256 == (hashlib.sha256(NOTO_SERIF_JP.read_bytes()).hexdigest(),)
    assert "IPAmj" in description.sentence
    assert (description.characters, description.sequences) == (len(noto.faces[0].advances), 13416)


@needs_ipamj
def test_with_the_optional_font_the_printable_set_is_larger(noto: FontSet, both: FontSet) -> None:
    assert both.describe().characters > 50_000 > noto.describe().characters
    assert both.describe().sequences > 20_000 > noto.describe().sequences
    assert "IPAmj" not in both.describe().sentence


def test_the_vendored_font_is_the_documented_one() -> None:
    readme = (NOTO_SERIF_JP.parent / "README.md").read_text()
    assert hashlib.sha256(NOTO_SERIF_JP.read_bytes()).hexdigest() in readme


def test_a_font_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"not a font")
    with pytest.raises(FontError):
        FontSet.load([broken])
    with pytest.raises(FontError):
        FontSet.load([tmp_path / "absent.ttf"])
    with pytest.raises(FontError):
        FontSet.load([NOTO_SERIF_JP])


def test_a_long_text_takes_a_smaller_size_and_more_lines(noto: FontSet) -> None:
    field = Field("氏名", 390, 26, 14)
    assert fit_text(noto, "佐藤　花子", field).size == 14
    long = fit_text(noto, "MARIA " * 20, field)
    assert long.size < 14
    assert len(long.lines) == 2
    assert len(long.lines) * long.size * (1 + LEADING) - LEADING * long.size <= 26


def test_words_are_not_cut_and_punctuation_does_not_lead(noto: FontSet) -> None:
    lines = fit_text(noto, "MARIA FERNANDEZ", Field("x", 90, 60, 12)).lines
    assert ["".join(run.text for run in line) for line in lines] == ["MARIA ", "FERNANDEZ"]
    lines = fit_text(noto, "あいうえ、おか", Field("x", 49, 60, 12)).lines
    assert ["".join(run.text for run in line) for line in lines] == ["あいう", "え、おか"]


def test_what_is_carried_to_the_next_line_must_fit_there(noto: FontSet) -> None:
    lines = fit_text(noto, "1塚.12\u3000", Field("x", 40, 27, 12)).lines
    assert all(noto.width(line) * 12 <= 40 for line in lines)


def test_a_word_longer_than_a_line_is_printed_whole(noto: FontSet) -> None:
    lines = fit_text(noto, "A" * 30, Field("x", 90, 60, 12)).lines
    assert "".join(run.text for line in lines for run in line) == "A" * 30
    assert len(lines) > 1


def test_what_does_not_fit_at_a_readable_size_is_refused(noto: FontSet) -> None:
    with pytest.raises(NoRoomError) as caught:
        fit_text(noto, "あ" * 500, Field("氏名", 390, 26, 14))
    assert caught.value.field == "氏名"
    assert "あ" not in str(caught.value)
