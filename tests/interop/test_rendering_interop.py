"""The drawn page under other eyes: PDF/A and PDF/UA checkers, qpdf, poppler, a barcode reader, fontTools."""

from __future__ import annotations

import copy
import html
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import page as page_validation
import pikepdf
import pytest
import zxingcpp
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.ttLib import TTFont
from PIL import Image

from app.rendering import form_items as items
from app.rendering.errors import UnprintableError
from app.rendering.font_set import NOTO_SERIF_JP, FontSet, split_clusters
from app.rendering.layout import PAGE_HEIGHT_MM, POINTS_PER_MM, QR_BOX, SEAL_RECT_PT, box_in_points
from app.rendering.page_text import check_page_text
from app.rendering.renderer import CertificateRenderer
from verifier.formats.encoding import canonical_json
from verifier.formats.page_qr import parse_page_qr

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors" / "good"
SAMPLE = json.loads((VECTORS / "certificate-sample.json").read_bytes())
QR_TEXT = json.loads((VECTORS / "page-qr" / "plain.json").read_bytes())["text"]
IPAMJ = next(iter(sorted(Path("/usr/share/fonts").glob("**/ipamjm*.ttf"))), None)
FONT_PATHS = [IPAMJ] if IPAMJ else []
SPACES = (" ", "　")
NOTO_NAME = "𠮷髙﨑\ufa10葛\U000e0100辻\U000e0100"
MJ_NAME = "渡邉\U000e0110　葛\U000e0102"

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in ("qpdf", "pdftotext", "pdftoppm")),
    reason="poppler or qpdf is missing",
)


def full_certificate(*, name: str) -> dict:
    """Every optional line printed, every text long."""
    data = copy.deepcopy(SAMPLE)
    data["subject"] |= {
        "name": name,
        "alias": "MARIA FERNANDEZ " * 6 + "DIAZ",
        "address_jan1": "見本県見本市中央区本町北一条西二十三丁目四十五番地六十七号　見本ハイツ" * 3
        + NOTO_NAME,
    }
    optional = {
        "income": items.INCOME_ROWS,
        "deductions": items.DEDUCTION_ROWS,
        "tax": items.TAX_ROWS,
        "dependants": [row for pair in items.DEPENDANT_ROWS for row in pair],
    }
    for rows in optional.values():
        for row in rows:
            for path in row.paths:
                group, key = path.split(".")
                if key not in ("spouse", "none"):
                    data[group][key] = 88 if group == "dependants" else 888_888_888
    data["deductions"]["spouse"] = 888_888_888
    data["income"]["total"] = -123_456_789_012
    data["dependants"] |= {"spouse": "elderly", "none": False}
    data["person_status"] = {
        "disability": "special",
        **dict.fromkeys(("widow", "single_parent", "working_student", "minor"), True),
    }
    data["remarks"] = "奨学金の申請、保育料の算定、公営住宅の入居申込みのため。" * 5
    data["title"], data["tax"]["exempt"] = "非課税証明書", True
    return data


def old_certificate() -> dict:
    data = copy.deepcopy(SAMPLE)
    data |= {"fiscal_year": 2021, "income_year": 2020}
    del data["tax"]["forest_tax"]
    return data


CASES = {
    "sample": SAMPLE,
    "noto": full_certificate(name=NOTO_NAME),
    "latin": full_certificate(name="MAXIMILIANA ALEXANDRA " * 4 + "O'NEILL “VI”"),
    "old": old_certificate(),
}
if IPAMJ:
    CASES["mj"] = full_certificate(name=MJ_NAME)
    CASES["mixed"] = full_certificate(name=NOTO_NAME + MJ_NAME)


@pytest.fixture(scope="module")
def renderer() -> CertificateRenderer:
    return CertificateRenderer(FontSet.load(FONT_PATHS))


@pytest.fixture(scope="module")
def pages(renderer: CertificateRenderer) -> dict[str, bytes]:
    return {
        case: renderer.draw_page(data, data_bytes=canonical_json(data), qr_text=QR_TEXT)
        for case, data in CASES.items()
    }


@pytest.fixture(scope="module", params=list(CASES))
def drawn(request: pytest.FixtureRequest, pages: dict[str, bytes]) -> tuple[bytes, dict]:
    return pages[request.param], CASES[request.param]


def run(*command: str, pdf: bytes, tmp_path: Path) -> str:
    (tmp_path / "page.pdf").write_bytes(pdf)
    return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout


def words(pdf: bytes, tmp_path: Path) -> list[tuple[float, float, float, float, str]]:
    """Each word with its box (left, top, right, bottom), y downwards, points."""
    out = run("pdftotext", "-bbox", "page.pdf", "-", pdf=pdf, tmp_path=tmp_path)
    found = re.findall(r'<word xMin="(.+?)" yMin="(.+?)" xMax="(.+?)" yMax="(.+?)">(.*?)</word>', out)
    return [(*map(float, box), html.unescape(text)) for *box, text in found]


def assert_conforms(pdf: bytes) -> None:
    for profile in ("3a", "ua1"):
        result = page_validation.validate_pdf_bytes(pdf, profile=profile)
        assert result.is_compliant, (profile, [(f.rule_id, f.message) for f in result.failures])


def test_pdf_a_3a_and_pdf_ua_1(drawn: tuple[bytes, dict]) -> None:
    assert_conforms(drawn[0])


def test_the_gate_passes_what_was_drawn(drawn: tuple[bytes, dict]) -> None:
    assert check_page_text(*drawn) == []


def test_qpdf_finds_nothing(drawn: tuple[bytes, dict], tmp_path: Path) -> None:
    out = run("qpdf", "--check", "page.pdf", pdf=drawn[0], tmp_path=tmp_path)
    assert "No syntax or stream encoding errors" in out


def test_poppler_gives_the_names_back_with_their_selectors(drawn: tuple[bytes, dict], tmp_path: Path) -> None:
    pdf, data = drawn
    text = run("pdftotext", "-raw", "page.pdf", "-", pdf=pdf, tmp_path=tmp_path)
    squeezed = re.sub(r"\s", "", text)
    assert re.sub(r"\s", "", data["subject"]["name"]) in squeezed
    for value in ("241,000" if data["tax"]["annual_total"] == 241000 else "888,888,888", "令和8年11月20日"):
        assert value in squeezed
    assert "これは見本です。市・人・証明書は実在しません。" in squeezed
    assert data["title"] in squeezed


def test_a_camera_reads_the_code_at_150_dpi(drawn: tuple[bytes, dict], tmp_path: Path) -> None:
    run("pdftoppm", "-r", "150", "-gray", "-png", "page.pdf", "out", pdf=drawn[0], tmp_path=tmp_path)
    with Image.open(tmp_path / "out-1.png") as image:
        codes = zxingcpp.read_barcodes(image)
    assert [code.text for code in codes] == [QR_TEXT]
    assert parse_page_qr(codes[0].text).statement.name == "𠮷塚　花子"


def test_nothing_overlaps_and_everything_is_inside_the_margins(
    drawn: tuple[bytes, dict], tmp_path: Path
) -> None:
    boxes = words(drawn[0], tmp_path)
    # Word boxes have the font's ascent and descent; ink stays in the middle half.
    slim = [(x0, y0 + (y1 - y0) / 4, x1, y1 - (y1 - y0) / 4, w) for x0, y0, x1, y1, w in boxes]
    left, right = 15 * POINTS_PER_MM, 195 * POINTS_PER_MM
    for index, (x0, y0, x1, y1, word) in enumerate(slim):
        assert left <= x0 < x1 <= right, word
        assert y1 <= (PAGE_HEIGHT_MM - 8) * POINTS_PER_MM, word
        for a0, b0, a1, b1, other in slim[index + 1 :]:
            apart = x1 <= a0 + 0.1 or a1 <= x0 + 0.1 or y1 <= b0 or b1 <= y0
            assert apart, (word, other)


def test_no_label_of_the_form_is_broken(drawn: tuple[bytes, dict], tmp_path: Path) -> None:
    pdf, data = drawn
    found = {word for *_, word in words(pdf, tmp_path)}
    rows = [
        *items.INCOME_ROWS,
        *items.DEDUCTION_ROWS,
        *items.TAX_ROWS,
        *(row for pair in items.DEPENDANT_ROWS for row in pair),
        *items.PERSON_STATUS_COLUMNS,
    ]
    assert {row.label.strip("　") for row in rows if row.since <= data["fiscal_year"]} <= found


def test_nothing_but_the_seal_stands_in_its_place(drawn: tuple[bytes, dict], tmp_path: Path) -> None:
    pdf = drawn[0]
    page_height = PAGE_HEIGHT_MM * POINTS_PER_MM
    for x0, bottom, x1, top in (SEAL_RECT_PT, box_in_points(QR_BOX)):
        for a0, b0, a1, b1, word in words(pdf, tmp_path):
            assert a1 <= x0 or a0 >= x1 or b1 <= page_height - top or b0 >= page_height - bottom, word
    run("pdftoppm", "-r", "72", "-png", "page.pdf", "out", pdf=pdf, tmp_path=tmp_path)
    with Image.open(tmp_path / "out-1.png") as image:
        red = image.convert("RGB")
    x0, y0, x1, y1 = (
        SEAL_RECT_PT[0],
        page_height - SEAL_RECT_PT[3],
        SEAL_RECT_PT[2],
        page_height - SEAL_RECT_PT[1],
    )
    found = [(x, y) for y in range(red.height) for x in range(red.width) if _is_red(red.getpixel((x, y)))]
    assert len(found) > 800
    assert all(x0 - 1 <= x <= x1 and y0 - 1 <= y <= y1 for x, y in found)
    inside = red.crop((int(x0) - 1, int(y0) - 1, int(x1) + 2, int(y1) + 2))
    assert not any(max(pixel) < 90 for pixel in inside.get_flattened_data())


def _is_red(pixel: tuple[int, int, int]) -> bool:
    return pixel[0] > 150 and pixel[1] < 90 and pixel[2] < 90


@pytest.mark.parametrize("case", ["mixed" if IPAMJ else "noto", "latin"])
def test_the_glyph_on_the_page_is_the_glyph_of_the_sequence(pages: dict[str, bytes], case: str) -> None:
    # Text alone cannot show a silent fallback to the default glyph or a localised form (quotation marks):
    # compare outlines with the source fonts.
    name = CASES[case]["subject"]["name"]
    fonts = FontSet.load(FONT_PATHS)
    paths = {face.family: face.path for face in fonts.faces}
    embedded = embedded_outlines(pages[case])
    for run_ in fonts.runs(name):
        with TTFont(paths[run_.family]) as source:
            for cluster in split_clusters(run_.text):
                if cluster in SPACES:
                    continue
                expected = outline(source, glyph_of(source, cluster))
                assert embedded[cluster] == expected, [hex(ord(c)) for c in cluster]
                if len(cluster) > 1 and run_.family == "IPAmjMincho":
                    with TTFont(NOTO_SERIF_JP) as noto:
                        assert embedded[cluster] != outline(noto, noto.getBestCmap()[ord(cluster[0])])


def glyph_of(font: TTFont, cluster: str) -> str:
    base = font.getBestCmap()[ord(cluster[0])]
    if len(cluster) == 1:
        return base
    table = next(t for t in font["cmap"].tables if t.format == 14)
    return dict(table.uvsDict[ord(cluster[1])])[ord(cluster[0])] or base


def outline(font: TTFont, glyph: str) -> list:
    pen = DecomposingRecordingPen(font.getGlyphSet())
    font.getGlyphSet()[glyph].draw(pen)
    return pen.value


def embedded_outlines(pdf: bytes) -> dict[str, list]:
    """Text of each glyph → its outline in the embedded subset (CID = glyph index)."""
    result: dict[str, list] = {}
    with pikepdf.open(io.BytesIO(pdf)) as document:
        for font in document.pages[0].resources.Font.values():
            file = font.DescendantFonts[0].FontDescriptor.FontFile2.read_bytes()
            subset = TTFont(io.BytesIO(file))
            for block in re.findall(rb"beginbfchar(.*?)endbfchar", font.ToUnicode.read_bytes(), re.DOTALL):
                for code, text in re.findall(rb"<(.*?)>\s*<(.*?)>", block):
                    glyph = subset.getGlyphName(int(code, 16))
                    result[bytes.fromhex(text.decode()).decode("utf-16-be")] = outline(subset, glyph)
    return result


def test_a_sample_of_the_whole_printable_set_reads_back(renderer: CertificateRenderer) -> None:
    # Every 40th character and sequence of the fonts. (All of them were drawn once by hand: no difference.)
    clusters: set[str] = set()
    for face in renderer.fonts.faces:
        clusters |= {chr(code) for code in face.advances}
        clusters |= {chr(base) + chr(selector) for base, selector in face.sequences}
    sample = []
    for cluster in sorted(clusters)[::40]:
        try:
            renderer.fonts.runs(cluster)
        except UnprintableError:
            continue
        sample.append(cluster)
    assert len(sample) > 700
    for start in range(0, len(sample), 150):
        data = copy.deepcopy(SAMPLE)
        data["subject"]["address_jan1"] = "".join(sample[start : start + 150])
        page = renderer.draw_page(data, data_bytes=canonical_json(data), qr_text=QR_TEXT)
        assert check_page_text(page, data) == []


def test_another_process_draws_the_same_bytes(pages: dict[str, bytes], tmp_path: Path) -> None:
    script = (
        "import json,sys\nfrom pathlib import Path\n"
        "from app.rendering.font_set import FontSet\nfrom app.rendering.renderer import CertificateRenderer\n"
        "from verifier.formats.encoding import canonical_json\n"
        "data=json.loads(Path(sys.argv[1]).read_bytes())\n"
        "renderer=CertificateRenderer(FontSet.load([Path(p) for p in sys.argv[3:]]))\n"
        "sys.stdout.buffer.write("
        "renderer.draw_page(data,data_bytes=canonical_json(data),qr_text=sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(VECTORS / "certificate-sample.json"), QR_TEXT]
    command += [str(path) for path in FONT_PATHS]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "America/New_York"}
    done = subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, env=environment)
    assert done.stdout == pages["sample"]


def test_the_optional_font_does_not_change_a_page_that_does_not_need_it(pages: dict[str, bytes]) -> None:
    alone = CertificateRenderer(FontSet.load())
    assert alone.draw_page(SAMPLE, data_bytes=canonical_json(SAMPLE), qr_text=QR_TEXT) == pages["sample"]


def test_a_signature_field_fits_over_the_seal(drawn: tuple[bytes, dict]) -> None:
    # What the sealing room will do: one rewritten revision with a tagged widget. Still conforming, same text.
    pdf, data = drawn
    with pikepdf.open(io.BytesIO(pdf)) as document:
        add_signature_field(document)
        out = io.BytesIO()
        document.save(out, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    assert_conforms(out.getvalue())
    assert check_page_text(out.getvalue(), data) == []


def add_signature_field(document: pikepdf.Pdf) -> None:
    page, tree = document.pages[0].obj, document.Root.StructTreeRoot
    name, array, dictionary = pikepdf.Name, pikepdf.Array, pikepdf.Dictionary
    x0, y0, x1, y1 = SEAL_RECT_PT
    box = array([0, 0, x1 - x0, y1 - y0])
    appearance = document.make_stream(
        b"", Type=name.XObject, Subtype=name.Form, BBox=box, Resources=dictionary()
    )
    widget = document.make_indirect(
        dictionary(
            {
                "/Type": name.Annot,
                "/Subtype": name.Widget,
                "/FT": name.Sig,
                "/T": "seal",
                "/TU": "電子印（模擬）",
            }
            | {"/F": 132, "/Rect": array(SEAL_RECT_PT), "/P": page, "/StructParent": 1}
            | {"/AP": dictionary({"/N": appearance})}
        )
    )
    root = tree.K[0]
    reference = dictionary(Type=name.OBJR, Obj=widget, Pg=page)
    form = document.make_indirect(
        dictionary(Type=name.StructElem, S=name.Form, P=root, Pg=page, Alt="電子印（模擬）", K=reference)
    )
    root.K.append(form)
    tree.ParentTree.Nums.extend([1, form])
    tree.ParentTreeNextKey = 2
    page.Annots = array([widget])
    document.Root.AcroForm = dictionary(Fields=array([widget]), SigFlags=3)


def test_the_resident_record_conforms_and_is_watermarked(
    renderer: CertificateRenderer, tmp_path: Path
) -> None:
    labels = [
        "氏名",
        "フリガナ",
        "生年月日",
        "性別",
        "世帯主",
        "続柄",
        "住所",
        "住民となった年月日",
        "従前の住所",
    ]
    record = {
        "dummy": True,
        "issued_on": "2026-11-20",
        "issuer": "見本市長　見本 一郎",
        "records": [{"label": label, "value": f"{NOTO_NAME} {label}" * 4} for label in labels],
    }
    pdf = renderer.draw_demo_resident_record(record)
    assert_conforms(pdf)
    text = run("pdftotext", "-layout", "page.pdf", "-", pdf=pdf, tmp_path=tmp_path)
    assert "効力はありません" in text
    run("pdftoppm", "-r", "72", "-png", "page.pdf", "out", pdf=pdf, tmp_path=tmp_path)
    with Image.open(tmp_path / "out-1.png") as image:
        pixels = list(image.convert("RGB").get_flattened_data())
    watermark = sum(1 for r, g, b in pixels if r > 200 and g < 215 and b < 215)
    assert watermark > 8000
