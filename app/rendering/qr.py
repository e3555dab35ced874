"""The page code as a drawing: error correction M, a fixed mask, the smallest version that holds the text.

The text has one length for one `public_url`, so one deployment always draws the same version (13 for a host
of 18 characters: 69 modules, 77 with the quiet zone). The mask is fixed because searching for the best of
eight takes six times as long and every reader accepts any.
"""

from __future__ import annotations

from typing import Final

import qrcode
from qrcode.util import MODE_8BIT_BYTE, QRData

from app.rendering.errors import FormDataError

QUIET_ZONE: Final = 4
"""Modules (ISO/IEC 18004 section 6.3.8)."""
MAX_VERSION: Final = 15
_MASK: Final = 2
# Byte-mode capacity by version at level M (ISO/IEC 18004 table 7); below 5 no page code is that short.
_CAPACITY: Final = {
    5: 84, 6: 106, 7: 122, 8: 152, 9: 180, 10: 213, 11: 251, 12: 287, 13: 331, 14: 362, 15: 412,
}  # fmt: skip


def qr_version_for(length: int) -> int:
    """The smallest version from 5 to 15 that holds `length` bytes at level M. Raises: FormDataError."""
    version = next((v for v, capacity in _CAPACITY.items() if length <= capacity), None)
    if version is None or length == 0:
        raise FormDataError("qr_text", f"not 1 to {_CAPACITY[MAX_VERSION]} bytes")
    return version


def draw_qr_svg(text: str) -> str:
    """An SVG of the code with its quiet zone, one unit a module, black on white.

    Raises: FormDataError if `text` is not ASCII or too long.
    """
    if not text.isascii():
        raise FormDataError("qr_text", "not ASCII")
    data = text.encode("ascii")
    code = qrcode.QRCode(
        version=qr_version_for(len(data)),
        error_correction=qrcode.constants.ERROR_CORRECT_M,
        border=0,
        mask_pattern=_MASK,
    )
    code.add_data(QRData(data, mode=MODE_8BIT_BYTE), optimize=0)
    code.make(fit=False)
    matrix = code.get_matrix()
    side = len(matrix) + 2 * QUIET_ZONE
    # One path of horizontal bars: within one path a renderer leaves no hairlines between touching modules.
    path = "".join(
        f"M{start + QUIET_ZONE} {y + QUIET_ZONE}h{length}v1h-{length}z"
        for y, row in enumerate(matrix)
        for start, length in _bars(row)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">'
        f'<rect width="{side}" height="{side}" fill="#fff"/><path d="{path}" fill="#000"/></svg>'
    )


def _bars(row: list[bool]) -> list[tuple[int, int]]:
    bars: list[tuple[int, int]] = []
    for x, dark in enumerate(row):
        if not dark:
            continue
        if bars and sum(bars[-1]) == x:
            bars[-1] = (bars[-1][0], bars[-1][1] + 1)
        else:
            bars.append((x, 1))
    return bars
