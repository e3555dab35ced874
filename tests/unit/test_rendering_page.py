"""Drawing and reading back: the same bytes each time, every value on the page; the gate sees each change."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pikepdf
import pytest

from app.rendering.errors import FontError, FormDataError, PageError, UnprintableError
from app.rendering.font_set import NOTO_SERIF_JP, Face, FontSet
from app.rendering.layout import SEAL_RECT_PT
from app.rendering.page_text import NOT_PRINTED, check_page_text
from app.rendering.qr import draw_qr_svg, qr_version_for
from app.rendering.renderer import CertificateRenderer
from app.rendering.tagged_text import read_tagged_page
from verifier.formats.encoding import canonical_json

VECTORS = Path(__file__).parents[1] / "vectors" / "good"
SAMPLE = json.loads((VECTORS / "certificate-sample.json").read_bytes())
QR_TEXT = json.loads((VECTORS / "page-qr" / "plain.json").read_bytes())["text"]


@pytest.fixture(scope="module")
def renderer() -> CertificateRenderer:
    return CertificateRenderer(FontSet.load())


@pytest.fixture(scope="module")
def page(renderer: CertificateRenderer) -> bytes:
    return draw(renderer, SAMPLE)


@pytest.fixture
def data() -> dict:
    return copy.deepcopy(SAMPLE)


def draw(renderer: CertificateRenderer, data: dict) -> bytes:
    return renderer.draw_page(data, data_bytes=canonical_json(data), qr_text=QR_TEXT)


def put(data: dict, path: str, value: object) -> None:
    *groups, key = path.split(".")
    for group in groups:
        data = data[group]
    data[key] = value


def test_the_page_of_the_sample_passes_the_gate(page: bytes) -> None:
    assert check_page_text(page, SAMPLE) == []


def test_the_same_data_gives_the_same_bytes(renderer: CertificateRenderer, page: bytes) -> None:
    assert draw(renderer, SAMPLE) == page
    assert draw(CertificateRenderer(FontSet.load()), SAMPLE) == page


def test_other_pages_in_between_leave_no_trace(
    renderer: CertificateRenderer, page: bytes, data: dict
) -> None:
    data["subject"]["name"] = "山田　太郎"
    other = draw(renderer, data)
    assert other != page
    assert draw(renderer, SAMPLE) == page


def test_threads_may_share_a_renderer(renderer: CertificateRenderer, page: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: draw(renderer, SAMPLE), range(8))) == {page}


CHANGES = {
    "title": "非課税証明書",
    "fiscal_year": 2025,
    "income_year": 2024,
    "certificate_number": "7QK4-9MZT-2HXW",
    "issued_on": "2026-11-21",
    "valid_until": "2027-02-21",
    "remarks": "住居手当の確認",
    "issuing_authority.code": "992012",
    "issuing_authority.name": "別市",
    "issuing_authority.corporate_number": "7000020992012",
    "issuing_authority.issuer_title": "別市長",
    "issuing_authority.issuer_name": "見本 二郎",
    "issuing_authority.mock": False,
    "subject.name": "吉塚　花子",
    "subject.family_name_kana": "ヨシツカ",
    "subject.given_name_kana": "ハナエ",
    "subject.alias": "山田　花",
    "subject.birthdate": "1985-03-16",
    "subject.address_jan1": "見本県見本市中央区本町一丁目2番4号",
    "income.total": 3560001,
    "income.gross_total": 356000,
    "income.business": 0,
    "income.salary_income": None,
    "deductions.basic": 0,
    "deductions.social_insurance": 75000,
    "dependants.count": 1,
    "dependants.none": False,
    "dependants.spouse": "general",
    "dependants.under16": 1,
    "person_status.disability": "special",
    "person_status.widow": True,
    "tax.annual_total": 241001,
    "tax.municipal_income_levy": 94200,
    "tax.other_credits_city": 0,
    "tax.exempt": True,
    "tax.forest_tax": None,
    "surprise": "x",
}


@pytest.mark.parametrize("path", CHANGES)
def test_the_gate_sees_each_value(page: bytes, data: dict, path: str) -> None:
    # The page shows the sample; the data claims something else at one place.
    put(data, path, CHANGES[path])
    if CHANGES[path] is None:
        *groups, key = path.split(".")
        del data[groups[0]][key]
    try:
        differences = check_page_text(page, data)
    except PageError:
        assert path == "fiscal_year"  # the 賦課期日 in a label belongs to another year
        return
    combined = {
        "subject.family_name_kana": "subject.kana",
        "subject.given_name_kana": "subject.kana",
        "issuing_authority.issuer_title": "issuing_authority.issuer",
        "issuing_authority.issuer_name": "issuing_authority.issuer",
    }
    paths = {difference.path for difference in differences}
    assert paths == {combined.get(path, path), "certificate.json"}


def test_the_gate_sees_lines_that_changed_places(renderer: CertificateRenderer, data: dict) -> None:
    page = draw(renderer, data)
    tax = data["tax"]
    tax["municipal_per_capita"], tax["prefectural_per_capita"] = 1500, 3000
    assert {d.path for d in check_page_text(page, data)} >= {
        "tax.municipal_per_capita",
        "tax.prefectural_per_capita",
    }


def test_the_gate_knows_a_normalised_name(renderer: CertificateRenderer, data: dict) -> None:
    data["subject"]["name"] = "大\ufa10　神子"
    page = draw(renderer, data)
    assert check_page_text(page, data) == []
    data["subject"]["name"] = "大\u585a　神子"
    assert {d.path for d in check_page_text(page, data)} == {"subject.name", "certificate.json"}


def test_every_value_can_be_printed_and_read(renderer: CertificateRenderer, data: dict) -> None:
    for group, keys in (
        ("income", "pension_revenue pension_income business agriculture real_estate interest dividends"),
        ("income", "miscellaneous capital_gains_and_temporary separate"),
        ("deductions", "casualty medical small_enterprise_mutual_aid life_insurance earthquake_insurance"),
        ("deductions", "disability widow single_parent working_student spouse spouse_special"),
        ("deductions", "specific_relative_special dependants"),
        ("tax", "taxable_income_separate other_credits_city other_credits_prefecture"),
        ("dependants", "general specific elderly elderly_living_together under16 disabled special_disabled"),
        ("dependants", "special_disabled_living_together count"),
    ):
        for index, key in enumerate(keys.split()):
            data[group][key] = 7 + index
    data["income"]["total"] = -120000
    data["dependants"] |= {"none": False, "spouse": "elderly"}
    data["person_status"] |= {"disability": "general", "widow": True, "single_parent": True, "minor": True}
    data["subject"]["alias"] = "MAXIMILIANA ALEXANDRA VICTORIA FERNANDEZ-VILLANUEVA"
    data["title"], data["tax"]["exempt"], data["remarks"] = "非課税証明書", True, ""
    assert check_page_text(draw(renderer, data), data) == []


@pytest.mark.parametrize(
    "name",
    [
        "A  B",
        "佐藤　　花子",
        'O\'Neill "fi" -- ~#$%&*_`[]{}<>@\\',
        "か\u309a",
        "Zoë Ångström",
        "Ze\u0301",
        "・ー",
        "）（、。「」",
    ],
)
def test_names_are_printed_exactly(renderer: CertificateRenderer, data: dict, name: str) -> None:
    data["subject"]["name"] = name
    assert check_page_text(draw(renderer, data), data) == []


def test_the_attached_bytes_must_be_the_data(renderer: CertificateRenderer, data: dict) -> None:
    for other in (canonical_json(data) + b"\n", canonical_json(data | {"remarks": "x"}), b""):
        with pytest.raises(FormDataError):
            renderer.draw_page(data, data_bytes=other, qr_text=QR_TEXT)


def test_a_name_without_a_glyph_gives_no_page(renderer: CertificateRenderer, data: dict) -> None:
    data["subject"]["name"] = "渡邉\U000e0110"
    with pytest.raises(UnprintableError):
        draw(renderer, data)


def test_the_attachment_is_the_only_embedded_file(page: bytes) -> None:
    assert read_tagged_page(page).attachments == (("certificate.json", "/Data", canonical_json(SAMPLE)),)


def rewritten(page: bytes, change: object, tmp_path: Path) -> bytes:
    path = tmp_path / "page.pdf"
    path.write_bytes(page)
    with pikepdf.open(path, allow_overwriting_input=True) as document:
        change(document)
        document.save(path)
    return path.read_bytes()


def test_the_gate_sees_a_second_attachment(page: bytes, tmp_path: Path) -> None:
    def attach(document: pikepdf.Pdf) -> None:
        document.attachments["more.json"] = b"{}"

    differences = check_page_text(rewritten(page, attach, tmp_path), SAMPLE)
    assert [d.path for d in differences] == ["certificate.json"]


@pytest.mark.parametrize("mcid", [10, 20, 40, 60])
def test_the_gate_sees_text_changed_in_the_drawing(page: bytes, tmp_path: Path, mcid: int) -> None:
    def keep_one_glyph(document: pikepdf.Pdf) -> None:
        content = document.pages[0].Contents.read_bytes()
        start = content.index(b"<", content.index(b"Tm", content.index(b"MCID %d>>" % mcid))) + 1
        end = content.index(b">", start)
        document.pages[0].Contents = document.make_stream(content[: start + 4] + content[end:])

    changed = rewritten(page, keep_one_glyph, tmp_path)
    try:
        assert check_page_text(changed, SAMPLE)
    except PageError as error:
        assert error.code == "not-this-form"


def test_the_gate_refuses_invisible_text(page: bytes, tmp_path: Path) -> None:
    def hide(document: pikepdf.Pdf) -> None:
        content = document.pages[0].Contents.read_bytes()
        document.pages[0].Contents = document.make_stream(content.replace(b"0 Tr", b"3 Tr"))

    with pytest.raises(PageError):
        check_page_text(rewritten(page, hide, tmp_path), SAMPLE)


def test_the_gate_raises_only_its_own_error(page: bytes, renderer: CertificateRenderer) -> None:
    record = renderer.draw_demo_resident_record(RECORD)
    for content in (b"", b"%PDF-1.7\n", page[: len(page) // 2].replace(b"obj", b"xxx"), record):
        with pytest.raises(PageError):
            check_page_text(content, SAMPLE)


def test_the_gate_excuses_only_what_is_documented() -> None:
    assert {"document_kind", "subject.family_name", "subject.given_name"} == NOT_PRINTED


def test_the_engine_must_have_exactly_our_fonts(tmp_path: Path) -> None:
    real = FontSet.load().faces[0]
    for path in (tmp_path / "absent.ttf", tmp_path / "copy.ttf"):
        face = Face("Noto Serif JP", real.version, path, real.sha256, real.advances, real.sequences)
        with pytest.raises(FontError):
            CertificateRenderer(FontSet([face]))
    (tmp_path / "one.ttf").write_bytes(NOTO_SERIF_JP.read_bytes())
    (tmp_path / "two.ttf").write_bytes(NOTO_SERIF_JP.read_bytes())
    face = Face("Noto Serif JP", "", tmp_path / "one.ttf", "", real.advances, real.sequences)
    with pytest.raises(FontError):
        CertificateRenderer(FontSet([face]))


def test_the_version_of_the_code_follows_from_the_length_alone() -> None:
    assert [qr_version_for(n) for n in (287, 288, 325, 331, 332, 412)] == [12, 13, 13, 13, 14, 15]
    for length in (0, 413):
        with pytest.raises(FormDataError):
            qr_version_for(length)
    svg = draw_qr_svg(QR_TEXT)
    assert 'viewBox="0 0 77 77"' in svg
    assert draw_qr_svg(QR_TEXT) == svg
    with pytest.raises(FormDataError):
        draw_qr_svg("é" * 100)


RECORD = {
    "dummy": True,
    "issued_on": "2026-11-20",
    "issuer": "見本市長　見本 一郎",
    "records": [
        {"label": "氏名", "value": "𠮷塚　花子"},
        {"label": "住所", "value": "見本県見本市中央区本町一丁目2番3号"},
    ],
}


def test_the_resident_record_is_a_sample_and_says_so(renderer: CertificateRenderer) -> None:
    pdf = renderer.draw_demo_resident_record(RECORD)
    assert pdf == renderer.draw_demo_resident_record(RECORD)
    page = read_tagged_page(pdf)
    assert page.attachments == ()
    assert "見本" in next(page.root.find_all("H1")).text
    assert "効力はありません" in page.root.text
    assert "𠮷塚　花子" in [cell.text for cell in page.root.find_all("TD")]


@pytest.mark.parametrize(
    "change",
    [
        {"dummy": False},
        {"dummy": 1},
        {"records": []},
        {"records": [{"label": "氏名", "value": "x"}] * 21},
        {"records": [{"label": "氏名"}]},
        {"records": [{"label": "氏名", "value": 1}]},
        {"issued_on": "x"},
        {"issuer": ""},
    ],
)
def test_a_resident_record_of_anybody_real_or_incomplete_is_refused(
    renderer: CertificateRenderer, change: dict
) -> None:
    with pytest.raises(FormDataError):
        renderer.draw_demo_resident_record(RECORD | change)


def test_the_documents_state_the_place_of_the_seal_and_an_example() -> None:
    formats = Path(__file__).parents[2] / "docs" / "formats"
    rectangle = ", ".join(f"{number:.2f}" for number in SEAL_RECT_PT)
    assert rectangle in (formats / "page.md").read_text()
    example = next(line for line in (formats / "page-qr.md").read_text().splitlines() if "/v#" in line)
    assert QR_TEXT.startswith(example.removesuffix("…"))
