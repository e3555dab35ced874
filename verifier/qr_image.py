"""QR codes as SVG, PNG and terminal text, from the module matrix of the `qrcode` library alone.

The error correction is M; the quiet zone has four modules (ISO/IEC 18004 section 5.3.8).
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

QUIET_ZONE: Final = 4
MODULE_PIXELS: Final = 8


def qr_matrix(text: str) -> list[list[bool]]:
    """The modules with their quiet zone; True = dark."""
    # Imported here: verification needs no QR code, and starts faster without.
    import qrcode
    from qrcode.constants import ERROR_CORRECT_M

    code = qrcode.QRCode(error_correction=ERROR_CORRECT_M, border=QUIET_ZONE)
    code.add_data(text, optimize=0)
    code.make(fit=True)
    return [[bool(module) for module in row] for row in code.get_matrix()]


def format_svg(matrix: list[list[bool]], title: str = "QR") -> str:
    """A stand-alone SVG image."""
    size = len(matrix)
    path = "".join(f"M{x},{y}h1v1h-1z" for y, row in enumerate(matrix) for x, dark in enumerate(row) if dark)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" '
        f'width="{size * MODULE_PIXELS}" height="{size * MODULE_PIXELS}" shape-rendering="crispEdges">'
        f'<title>{title}</title><path fill="#fff" d="M0,0h{size}v{size}h-{size}z"/><path d="{path}"/></svg>\n'
    )


def format_png(matrix: list[list[bool]]) -> bytes:
    """A PNG with one bit for each pixel (RFC 2083)."""
    width = len(matrix) * MODULE_PIXELS
    rows = bytearray()
    for modules in matrix:
        bits = "".join(("0" if dark else "1") * MODULE_PIXELS for dark in modules)
        line = b"\x00" + int(bits.ljust(-(-width // 8) * 8, "1"), 2).to_bytes(-(-width // 8), "big")
        rows += line * MODULE_PIXELS
    header = struct.pack(">IIBBBBB", width, width, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def format_terminal(matrix: list[list[bool]], encoding: str | None) -> str:
    """Text for a terminal: half blocks where `encoding` has them, else two characters a module."""
    try:
        "█▀▄".encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "\n".join("".join("  " if dark else "##" for dark in row) for row in matrix)
    # Light on dark, as terminals are: a light module is drawn.
    pairs = {(True, True): " ", (True, False): "▄", (False, True): "▀", (False, False): "█"}
    blank = [False] * len(matrix)
    rows = [*matrix, blank] if len(matrix) % 2 else matrix
    return "\n".join(
        "".join(pairs[above, below] for above, below in zip(rows[y], rows[y + 1], strict=True))
        for y in range(0, len(rows), 2)
    )
