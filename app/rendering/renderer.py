"""Draws pages with Typst: one compiler and one set of fonts, reused for every document.

The engine gets finished lines with a font for each run, no system fonts, no fallback, no clock and no file of
the machine: data goes in as `sys.inputs`, dates come from the data. The same input gives the same bytes.
Output is PDF/A-3a (ISO 19005-3) and PDF/UA-1 (ISO 14289-1) with `certificate.json` as its only embedded file
(AFRelationship Data). Speed is a few milliseconds a page; who needs more writes the one-pass writer.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any, Final

import orjson
import typst

from app.rendering.certificate_form import build_certificate_form
from app.rendering.errors import FontError, FormDataError, RenderingError
from app.rendering.font_set import NOTO_SERIF_JP, FontSet
from app.rendering.qr import draw_qr_svg
from app.rendering.resident_record import build_demo_resident_record_form
from app.rendering.seal_image import draw_seal_svg
from verifier.errors import FormatError
from verifier.formats.encoding import canonical_json

PDF_STANDARDS: Final = ["a-3a", "ua-1"]
QR_ALT: Final = (
    "この証明書の主な内容と市の署名が入ったQRコード / code with the main contents and the city's signature"
)
SEAL_ALT: Final = "見本市長の印影（模擬） / picture of the mayor's seal (MOCK)"
SEAL_TEXT: Final = "見本市長之印"
_TEMPLATES: Final = Path(__file__).parent / "templates"


class CertificateRenderer:
    """Draws certificates. One instance serves all threads of a process, one page at a time."""

    def __init__(self, fonts: FontSet) -> None:
        """Load the fonts into the engine. Raises: FontError."""
        self.fonts: Final = fonts
        self._lock = threading.Lock()
        self._seal = draw_seal_svg(SEAL_TEXT, NOTO_SERIF_JP)
        self._compiler = typst.Compiler(font_paths=_engine_fonts(fonts), root=_TEMPLATES)

    def draw_page(self, data: Mapping[str, Any], *, data_bytes: bytes, qr_text: str) -> bytes:
        """The unsealed page of the certificate `data`.

        data_bytes: the canonical certificate.json, attached byte for byte; it must be the encoding of `data`.
        qr_text: the page code (`verifier.formats.page_qr.format_page_qr`).
        The picture of the seal stands alone in `layout.SEAL_RECT_PT`; there is no signature field yet.
        Raises: RenderingError (FormDataError, UnprintableError, NoRoomError).
        """
        try:
            same = canonical_json(dict(data)) == data_bytes
        except FormatError as error:
            raise FormDataError("certificate.json", "the data has no canonical form") from error
        if not same:
            raise FormDataError("certificate.json", "the attached bytes are not the data of the page")
        form = build_certificate_form(data, self.fonts)
        form |= {
            "qr": draw_qr_svg(qr_text),
            "qr_alt": QR_ALT,
            "seal": self._seal,
            "seal_alt": SEAL_ALT,
        }
        return self._compile("certificate.typ", form, certificate=data_bytes.decode("utf-8"))

    def draw_demo_resident_record(self, data: Mapping[str, Any]) -> bytes:
        """住民票の写し, DEMO_ONLY: watermarked 「見本・ダミーデータ」, for dummy subjects only.

        `data` is described in `resident_record`. Raises: RenderingError.
        """
        return self._compile("resident_record.typ", build_demo_resident_record_form(data, self.fonts))

    def _compile(self, template: str, form: Mapping[str, Any], **inputs: str) -> bytes:
        day = datetime.combine(datetime(*form["date"]).date(), time(), UTC)
        inputs["form"] = orjson.dumps(form).decode("utf-8")
        try:
            with self._lock:
                pdf, warnings = self._compiler.compile_with_warnings(
                    input=_TEMPLATES / template,
                    format="pdf",
                    sys_inputs=inputs,
                    pdf_standards=PDF_STANDARDS,
                    timestamp=day,
                )
        except typst.TypstError as error:
            raise RenderingError("not-drawn", "the layout engine refused the page") from error
        if warnings or not isinstance(pdf, bytes):
            raise RenderingError("not-drawn", "the layout engine warned about the page")
        return pdf


def _engine_fonts(fonts: FontSet) -> typst.Fonts:
    engine = typst.Fonts(
        include_system_fonts=False,
        include_embedded_fonts=False,
        font_paths=sorted({str(face.path.parent) for face in fonts.faces}),
    )
    # The engine reads whole folders and picks by family name: make sure that each name means our file.
    found: dict[str, set[Path]] = {}
    for font in engine.fonts():
        found.setdefault(font.family, set()).add(Path(font.path or "").resolve())
    for face in fonts.faces:
        if found.get(face.family) != {face.path.resolve()}:
            raise FontError("bad-fonts", f"the layout engine does not find exactly one {face.family}")
    return engine
