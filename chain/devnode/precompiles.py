"""The EIP-2537 precompiles that BLS checks spend their time in, on py_arkworks_bls12381 where it is
installed.

Pairing check (0x0f) and map to G2 (0x11) take py_ecc 0.9 s and the native library 1 to 2 ms. Same gas, same
refusals; both engines are run over the EIP-2537 vectors in tests. Without the library py-evm's own are used.
"""

from __future__ import annotations

from typing import Any, Final

from eth.exceptions import VMError
from eth.vm.forks.prague.computation import PRAGUE_PRECOMPILES, PragueComputation

_FP_BYTES: Final = 64
_PADDING: Final = b"\x00" * 16
_MODULUS: Final = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab", 16
)
_PAIRING_ADDRESS: Final = (0x0F).to_bytes(20, "big")
_MAP_TO_G2_ADDRESS: Final = (0x11).to_bytes(20, "big")


def find_library() -> Any | None:
    """The native library, or None."""
    try:
        import py_arkworks_bls12381
    except ImportError:
        return None
    return py_arkworks_bls12381


def build_computation(library: Any | None) -> type[Any]:
    """py-evm's Prague rules with the two precompiles on `library`, or unchanged for None."""
    if library is None:
        return PragueComputation  # type: ignore[no-any-return]  # py-evm is untyped here

    def pairing_check(computation: Any) -> None:
        data = bytes(computation.msg.data)
        if not data or len(data) % 384:
            raise VMError("the input of a pairing check is a multiple of 384 bytes")
        pairs = len(data) // 384
        computation.consume_gas(32600 * pairs + 37700, "BLS12_PAIRING_CHECK gas")
        left, right = [], []
        for start in range(0, len(data), 384):
            left.append(_point(library.G1Point, data[start : start + 128]))
            right.append(_point(library.G2Point, data[start + 128 : start + 384]))
        computation.output = int(library.GT.pairing_check(left, right)).to_bytes(32, "big")

    def map_to_g2(computation: Any) -> None:
        data = bytes(computation.msg.data)
        if len(data) != 128:
            raise VMError("the input of a map to G2 has 128 bytes")
        computation.consume_gas(23800, "BLS12_MAP_FP2_TO_G2 gas")
        point = library.G2Point.map_from_fp2_be(_unpad(data)).to_xy_bytes_be()
        computation.output = b"".join(_PADDING + point[i : i + 48] for i in range(0, len(point), 48))

    class FastComputation(PragueComputation):  # type: ignore[misc]  # py-evm is untyped here
        _precompiles = {  # noqa: RUF012 - the name and shape are py-evm's
            **PRAGUE_PRECOMPILES,
            _PAIRING_ADDRESS: pairing_check,
            _MAP_TO_G2_ADDRESS: map_to_g2,
        }

    return FastComputation


def _unpad(data: bytes) -> bytes:
    # EIP-2537: each field element is 16 zero bytes and 48 bytes below the modulus
    elements = []
    for start in range(0, len(data), _FP_BYTES):
        element = data[start : start + _FP_BYTES]
        if element[:16] != _PADDING or int.from_bytes(element, "big") >= _MODULUS:
            raise VMError("not a field element")
        elements.append(element[16:])
    return b"".join(elements)


def _point(kind: Any, data: bytes) -> Any:
    raw = _unpad(data)
    if not any(raw):
        return kind.identity()
    try:
        point = kind.from_xy_bytes_be(raw)
    except ValueError as error:
        raise VMError("not a point of the curve") from error
    if not point.is_in_subgroup():
        raise VMError("not in the subgroup")
    return point
