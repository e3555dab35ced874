"""BLS signatures of witnesses over anchor statements: min-pk, proof-of-possession suite, as `AnchorRegistry` checks.

    secret = generate_secret()
    register: (encode_point(public_key(secret)), encode_point(prove_possession(secret)))   # to the contract, once
    signature = sign_statement(secret, statement)
    verify_statement(public_key(secret), statement, signature)                              # raises
    submit: encode_point(aggregate([signature, …]))                                        # to the contract

Suite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ (IETF draft-irtf-cfrg-bls-signature): keys in G1, signatures in G2.
Keys and signatures are compressed bytes here (48 and 96) and in EIP-2537 encoding at the contract (128 and 256).
All witnesses sign one message, so their signatures may be summed; that is safe only among keys that were registered
with a proof of possession (else a rogue key cancels the others out). No keys are stored here.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from chain.bls_engines import (
    CURVE_ORDER,
    FIELD_BYTES,
    G1_BYTES,
    G2_BYTES,
    Engine,
    find_engine,
    split_field_elements,
)
from verifier.errors import FormatError
from verifier.formats.encoding import sha256
from verifier.formats.merkle import HASH_BYTES, MAX_TREE_SIZE

TAG_SIGNATURE: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
TAG_POSSESSION: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
STATEMENT_LABEL: Final = b"akashi/anchor-statement/v1\x00"
ADDRESS_BYTES: Final = 20
MAX_AGGREGATED: Final = 16  # as many witnesses as the contract knows
VERIFIED_STATEMENTS: Final = 1024
_EIP2537_PADDING: Final = bytes(16)
_EIP2537_FIELD: Final = 64


@dataclass(frozen=True, slots=True)
class AnchorStatement:
    """What witnesses sign for one submission: this checkpoint, in this contract on this chain, after that one.

    `previous_size` 0 with a root of 32 zero bytes: the first checkpoint of a log in the contract.
    """

    chain_id: int
    contract: bytes  # 20 bytes
    origin_id: bytes  # SHA-256 of the origin
    size: int
    root: bytes
    previous_size: int
    previous_root: bytes

    def message(self) -> bytes:
        """The 32 bytes that are signed; `AnchorRegistry.statement` computes the same.

        Raises: FormatError("bad-statement").
        """
        hashes = (self.origin_id, self.root, self.previous_root)
        if len(self.contract) != ADDRESS_BYTES or any(len(item) != HASH_BYTES for item in hashes):
            raise FormatError("bad-statement", "a hash or an address of another length")
        if not 0 <= self.previous_size < self.size <= MAX_TREE_SIZE or not 0 < self.chain_id < 1 << 64:
            raise FormatError("bad-statement", "a number out of range")
        if self.previous_size == 0 and any(self.previous_root):
            raise FormatError("bad-statement", "nothing has another root than zero in the contract")
        return sha256(
            STATEMENT_LABEL
            + self.chain_id.to_bytes(32, "big")
            + self.contract.rjust(32, b"\x00")
            + self.origin_id
            + self.size.to_bytes(32, "big")
            + self.root
            + self.previous_size.to_bytes(32, "big")
            + self.previous_root
        )


def generate_secret(random: Callable[[int], int] = secrets.randbelow) -> int:
    """A new secret key: uniform from 1 to the group's order − 1. `random(n)` gives a number below n."""
    return 1 + random(CURVE_ORDER - 1)


def check_secret(secret: int) -> int:
    """Raises: FormatError("bad-secret")."""
    if not 0 < secret < CURVE_ORDER:
        raise FormatError("bad-secret", "not a secret key of this curve")
    return secret


def public_key(secret: int, engine: Engine | None = None) -> bytes:
    """48 bytes, compressed."""
    return (engine or find_engine()).public_key(check_secret(secret))


def prove_possession(secret: int, engine: Engine | None = None) -> bytes:
    """The key's signature over its own compressed form under the tag BLS_POP_…, 96 bytes (draft section 3.3.2)."""
    engine = engine or find_engine()
    return engine.sign(check_secret(secret), engine.public_key(secret), TAG_POSSESSION)


def verify_possession(key: bytes, possession: bytes, engine: Engine | None = None) -> None:
    """Raises: FormatError("bad-possession", "bad-point", "not-a-field-element", "point-at-infinity")."""
    _check_lengths(key, possession)
    if not (engine or find_engine()).verify(key, key, possession, TAG_POSSESSION):
        raise FormatError("bad-possession", "nobody has shown to hold this key")


def sign_statement(secret: int, statement: AnchorStatement, engine: Engine | None = None) -> bytes:
    """96 bytes over the statement's message; the same every time."""
    return (engine or find_engine()).sign(check_secret(secret), statement.message(), TAG_SIGNATURE)


def verify_statement(
    key: bytes, statement: AnchorStatement, signature: bytes, engine: Engine | None = None
) -> None:
    """One witness's signature. What was found right once is not computed again.

    Raises: FormatError("bad-statement-signature", "bad-statement", "bad-point", "not-a-field-element",
    "point-at-infinity").
    """
    _check_lengths(key, signature)
    if engine is None:
        is_right = _is_right(key, statement.message(), signature)
    else:
        is_right = engine.verify(key, statement.message(), signature, TAG_SIGNATURE)
    if not is_right:
        raise FormatError("bad-statement-signature", "the signature is not by this key over this statement")


def verify_aggregate(
    keys: Sequence[bytes], statement: AnchorStatement, signature: bytes, engine: Engine | None = None
) -> None:
    """The sum of the signatures of all `keys`, which must have been registered with a proof of possession.

    Raises: FormatError("bad-statement-signature", …).
    """
    engine = engine or find_engine()
    verify_statement(engine.sum_g1(_counted(keys, G1_BYTES)), statement, signature, engine)


def aggregate(signatures: Sequence[bytes], engine: Engine | None = None) -> bytes:
    """Sum of 1 to 16 signatures, each checked to be in the subgroup; 96 bytes.

    Raises: FormatError("nothing-to-aggregate", "bad-point", "not-a-field-element", "point-at-infinity").
    """
    return (engine or find_engine()).sum_g2(_counted(signatures, G2_BYTES))


def encode_point(point: bytes, engine: Engine | None = None) -> bytes:
    """A compressed key or signature in EIP-2537 encoding: 128 or 256 bytes, each coordinate padded to 64.

    Raises: FormatError("bad-point", "not-a-field-element", "point-at-infinity").
    """
    data = (engine or find_engine()).expand(point)
    return b"".join(_EIP2537_PADDING + data[i : i + FIELD_BYTES] for i in range(0, len(data), FIELD_BYTES))


def decode_point(data: bytes, engine: Engine | None = None) -> bytes:
    """Inverse of `encode_point`; refuses padding, coordinates and points that it would not write.

    Raises: FormatError("bad-point", "not-a-field-element", "point-at-infinity").
    """
    parts = [data[i : i + _EIP2537_FIELD] for i in range(0, len(data), _EIP2537_FIELD)]
    if len(data) % _EIP2537_FIELD or any(part[:16] != _EIP2537_PADDING for part in parts):
        raise FormatError("bad-point", "not padded as EIP-2537 asks")
    coordinates = b"".join(part[16:] for part in parts)
    split_field_elements(coordinates)
    return (engine or find_engine()).compress(coordinates)


@functools.lru_cache(VERIFIED_STATEMENTS)
def _is_right(key: bytes, message: bytes, signature: bytes) -> bool:
    return find_engine().verify(key, message, signature, TAG_SIGNATURE)


def _counted(points: Sequence[bytes], length: int) -> Sequence[bytes]:
    if not 0 < len(points) <= MAX_AGGREGATED:
        raise FormatError("nothing-to-aggregate", f"from 1 to {MAX_AGGREGATED} points can be summed")
    if any(len(point) != length for point in points):
        raise FormatError("bad-point", "a point of another length")
    return points


def _check_lengths(key: bytes, signature: bytes) -> None:
    if len(key) != G1_BYTES or len(signature) != G2_BYTES:
        raise FormatError("bad-point", "a key has 48 bytes and a signature 96")
