"""Where things stand on the sheet: the one table of measures of the income certificate.

Millimetres from the top left corner of A4 portrait. The seal's place is published in points as PDF counts
them (origin at the bottom left) because the sealing room lays the signature field over it: nothing but the
picture of the seal may stand there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

PAGE_WIDTH_MM: Final = 210.0
PAGE_HEIGHT_MM: Final = 297.0
POINTS_PER_MM: Final = 72 / 25.4
MARGIN_MM: Final = 16.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle on the sheet, millimetres, y counted downwards."""

    x: float
    y: float
    width: float
    height: float


def box_in_points(box: Box) -> tuple[float, float, float, float]:
    """(left, bottom, right, top) in PDF user space, rounded to 1/100 point."""
    return (
        round(box.x * POINTS_PER_MM, 2),
        round((PAGE_HEIGHT_MM - box.y - box.height) * POINTS_PER_MM, 2),
        round((box.x + box.width) * POINTS_PER_MM, 2),
        round((PAGE_HEIGHT_MM - box.y) * POINTS_PER_MM, 2),
    )


HEADER_MM: Final = 5.2
"""Height of the header row of every table."""

SEAL_BOX: Final = Box(168, 247, 24, 24)
QR_BOX: Final = Box(16, 244.5, 28, 28)
"""The code with its quiet zone."""

SEAL_RECT_PT: Final = box_in_points(SEAL_BOX)
"""The visible seal, and the place of the signature field: left, bottom, right, top; a square of 24 mm."""

BOXES: Final = {
    "band": Box(16, 8, 178, 7.5),
    "number": Box(16, 18, 178, 4),
    "form_name": Box(16, 21.5, 178, 4.5),
    "title": Box(16, 26.5, 178, 10),
    "year": Box(16, 37.5, 178, 5.5),
    "subject": Box(16, 45, 178, 40.5),
    "income": Box(16, 88, 88, 89.5),
    "deductions": Box(106, 88, 88, 89.5),
    "tax": Box(16, 180, 88, 43),
    "dependants": Box(106, 180, 88, 28),
    "person_status": Box(106, 209.4, 88, 13.6),
    "remarks": Box(16, 225.5, 178, 17),
    "qr": QR_BOX,
    "qr_text": Box(48, 265.5, 116, 7),
    "statement": Box(48, 246, 116, 5),
    "issued_on": Box(48, 253.5, 50, 5),
    "valid_until": Box(48, 259, 50, 4),
    "issuer": Box(100, 254.5, 64, 9),
    "seal": SEAL_BOX,
    "notes": Box(16, 274.5, 178, 13),
}
COLUMNS: Final = {
    "subject_columns": (36.0, 142.0),
    "income_columns": (54.0, 34.0),
    "deductions_columns": (54.0, 34.0),
    "tax_columns": (36.0, 26.0, 26.0),
    "dependants_columns": (26.5, 18.0, 23.3, 20.2),
    "person_status_columns": (17.6, 17.6, 17.6, 17.6, 17.6),
}


def boxes_for_template() -> dict[str, Any]:
    """BOXES and COLUMNS as the template reads them."""
    return {**{name: asdict(box) for name, box in BOXES.items()}, **COLUMNS}
