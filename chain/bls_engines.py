"""The curve BLS12-381 twice: py_ecc, the reference that runs everywhere, and py_arkworks_bls12381, the fast twin.

Both take and give points in the standard compressed encoding (G1 48 bytes, G2 96 bytes) and answer the same bytes
for the same question; tests ask both. An engine decodes strictly: on the curve, in the subgroup of prime order, in
the one encoding, never the point at infinity. What is signed and what a signature means is `bls`'s business.
Neither engine is constant-time: keep the keys on a machine that nobody else can measure.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

from verifier.errors import FormatError

G1_BYTES: Final = 48
G2_BYTES: Final = 96
FIELD_BYTES: Final = 48
FIELD_MODULUS: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16
)
CURVE_ORDER: Final = int("73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001", 16)
_COMPRESSED: Final = 0x80
_INFINITY: Final = 0x40
_FLAGS: Final = 0xE0


class Engine(Protocol):
    """What the suite needs of a library. Points are compressed bytes; a wrong point raises FormatError."""

    @property
    def name(self) -> str:
        """For messages and reports."""

    def public_key(self, secret: int) -> bytes:
        """secret · G1."""

    def sign(self, secret: int, message: bytes, tag: bytes) -> bytes:
        """secret · hash_to_G2(message), with the domain separation tag `tag` (RFC 9380)."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes, tag: bytes) -> bool:
        """Whether e(G1, signature) = e(public_key, hash_to_G2(message))."""

    def sum_g1(self, points: Sequence[bytes]) -> bytes:
        """Sum of points of G1. Raises: FormatError("point-at-infinity") if that is what it is."""

    def sum_g2(self, points: Sequence[bytes]) -> bytes:
        """Sum of points of G2. Raises: FormatError("point-at-infinity") if that is what it is."""

    def expand(self, point: bytes) -> bytes:
        """Coordinates, 48 bytes each: x, y of G1, or x.c0, x.c1, y.c0, y.c1 of G2."""

    def compress(self, coordinates: bytes) -> bytes:
        """Inverse of `expand`."""


class PyEccEngine:
    """The reference: pure Python, 0.1 s a signature and 0.3 s a verification."""

    name = "py_ecc"

    def __init__(self) -> None:
        # py_ecc takes 0.3 s to import: only for those who use it
        from py_ecc.bls import g2_primitives, hash_to_curve
        from py_ecc.optimized_bls12_381 import optimized_curve, optimized_pairing
        from py_ecc.optimized_bls12_381.optimized_curve import FQ, FQ2

        self._codec: Any = g2_primitives
        self._hash: Any = hash_to_curve.hash_to_G2
        self._curve: Any = optimized_curve
        self._pairing: Any = optimized_pairing
        self._fields: Any = (FQ, FQ2)

    def public_key(self, secret: int) -> bytes:
        return bytes(self._codec.G1_to_pubkey(self._curve.multiply(self._curve.G1, secret)))

    def sign(self, secret: int, message: bytes, tag: bytes) -> bytes:
        hashed = self._hash(message, tag, hashlib.sha256)
        return bytes(self._codec.G2_to_signature(self._curve.multiply(hashed, secret)))

    def verify(self, public_key: bytes, message: bytes, signature: bytes, tag: bytes) -> bool:
        key, point = self._decode(public_key), self._decode(signature)
        hashed = self._hash(message, tag, hashlib.sha256)
        pairing = self._pairing
        product = pairing.pairing(point, self._curve.neg(self._curve.G1), False) * pairing.pairing(
            hashed, key, False
        )
        return bool(pairing.final_exponentiate(product) == pairing.FQ12.one())

    def sum_g1(self, points: Sequence[bytes]) -> bytes:
        return bytes(self._codec.G1_to_pubkey(self._sum(points)))

    def sum_g2(self, points: Sequence[bytes]) -> bytes:
        return bytes(self._codec.G2_to_signature(self._sum(points)))

    def expand(self, point: bytes) -> bytes:
        x, y = self._curve.normalize(self._decode(point))
        numbers = (x.n, y.n) if len(point) == G1_BYTES else (*x.coeffs, *y.coeffs)
        return b"".join(int(number).to_bytes(FIELD_BYTES, "big") for number in numbers)

    def compress(self, coordinates: bytes) -> bytes:
        numbers = split_field_elements(coordinates)
        base, extension = self._fields
        if len(numbers) == 2:
            point = (base(numbers[0]), base(numbers[1]), base(1))
            curve_b, encode = self._curve.b, self._codec.G1_to_pubkey
        else:
            point = (extension(numbers[:2]), extension(numbers[2:]), extension((1, 0)))
            curve_b, encode = self._curve.b2, self._codec.G2_to_signature
        if not self._curve.is_on_curve(point, curve_b) or not self._codec.subgroup_check(point):
            raise FormatError("bad-point", "not a point of the subgroup")
        return bytes(encode(point))

    def _sum(self, points: Sequence[bytes]) -> Any:
        total = functools.reduce(self._curve.add, [self._decode(point) for point in points])
        if self._curve.is_inf(total):
            raise FormatError("point-at-infinity", "the points cancel each other out")
        return total

    def _decode(self, data: bytes) -> Any:
        check_compressed(data)
        decode = self._codec.pubkey_to_G1 if len(data) == G1_BYTES else self._codec.signature_to_G2
        try:
            point = decode(data)
        except (ValueError, AssertionError) as error:
            raise FormatError("bad-point", "not a point of the curve") from error
        # decoding proves the curve only; a point of another subgroup would pass the pairing now and then
        if not self._codec.subgroup_check(point):
            raise FormatError("bad-point", "not a point of the subgroup")
        return point


class ArkworksEngine:
    """The fast twin, native code: 1 ms a signature and 2 ms a verification."""

    name = "py_arkworks_bls12381"

    def __init__(self) -> None:
        """Raises: ImportError where the library is not installed."""
        import py_arkworks_bls12381

        self._library: Any = py_arkworks_bls12381

    def public_key(self, secret: int) -> bytes:
        return bytes((self._library.G1Point() * self._scalar(secret)).to_compressed_bytes())

    def sign(self, secret: int, message: bytes, tag: bytes) -> bytes:
        hashed = self._library.G2Point.hash_to_curve(message, tag)
        return bytes((hashed * self._scalar(secret)).to_compressed_bytes())

    def verify(self, public_key: bytes, message: bytes, signature: bytes, tag: bytes) -> bool:
        key, point = self._decode(public_key), self._decode(signature)
        hashed = self._library.G2Point.hash_to_curve(message, tag)
        return bool(self._library.GT.pairing_check([-self._library.G1Point(), key], [point, hashed]))

    def sum_g1(self, points: Sequence[bytes]) -> bytes:
        return self._sum(points)

    def sum_g2(self, points: Sequence[bytes]) -> bytes:
        return self._sum(points)

    def expand(self, point: bytes) -> bytes:
        return bytes(self._decode(point).to_xy_bytes_be())

    def compress(self, coordinates: bytes) -> bytes:
        numbers = split_field_elements(coordinates)
        kind = self._library.G1Point if len(numbers) == 2 else self._library.G2Point
        try:
            point = kind.from_xy_bytes_be(coordinates)
        except ValueError as error:
            raise FormatError("bad-point", "not a point of the subgroup") from error
        if not point.is_in_subgroup():
            raise FormatError("bad-point", "not a point of the subgroup")
        return bytes(point.to_compressed_bytes())

    def _sum(self, points: Sequence[bytes]) -> bytes:
        total = self._decode(points[0])
        for point in points[1:]:
            total = total + self._decode(point)
        data = bytes(total.to_compressed_bytes())
        if data[0] & _INFINITY:
            raise FormatError("point-at-infinity", "the points cancel each other out")
        return data

    def _scalar(self, secret: int) -> Any:
        return self._library.Scalar.from_be_bytes(secret.to_bytes(32, "big"))

    def _decode(self, data: bytes) -> Any:
        check_compressed(data)
        kind = self._library.G1Point if len(data) == G1_BYTES else self._library.G2Point
        try:
            point = kind.from_compressed_bytes(data)
        except ValueError as error:
            raise FormatError("bad-point", "not a point of the subgroup") from error
        if not point.is_in_subgroup():
            raise FormatError("bad-point", "not a point of the subgroup")
        return point


def check_compressed(data: bytes) -> None:
    """The form of a compressed point: length, flags, field elements below the modulus; not infinity.

    Raises: FormatError("bad-point", "not-a-field-element", "point-at-infinity").
    """
    if len(data) not in (G1_BYTES, G2_BYTES) or not data[0] & _COMPRESSED:
        raise FormatError("bad-point", "not a compressed point")
    if data[0] & _INFINITY:
        raise FormatError("point-at-infinity", "the point at infinity is no key and no signature")
    split_field_elements(bytes([data[0] & ~_FLAGS & 0xFF]) + data[1:], counts=(1, 2))


def split_field_elements(data: bytes, counts: tuple[int, ...] = (2, 4)) -> tuple[int, ...]:
    """Numbers below the modulus, from 48 big-endian bytes each.

    Raises: FormatError("bad-point", "not-a-field-element", "point-at-infinity").
    """
    count, rest = divmod(len(data), FIELD_BYTES)
    if rest or count not in counts:
        raise FormatError("bad-point", "another length than a point has")
    numbers = tuple(
        int.from_bytes(data[i : i + FIELD_BYTES], "big") for i in range(0, len(data), FIELD_BYTES)
    )
    if any(number >= FIELD_MODULUS for number in numbers):
        raise FormatError("not-a-field-element", "a coordinate is not below the modulus")
    if min(counts) > 1 and not any(numbers):
        raise FormatError("point-at-infinity", "the point at infinity is no key and no signature")
    return numbers


@functools.cache
def find_engine() -> Engine:
    """The fast twin where it is installed, else the reference; the same one for the life of the process."""
    try:
        return ArkworksEngine()
    except ImportError:
        return PyEccEngine()
