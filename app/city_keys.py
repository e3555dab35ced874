"""How the city's processes use its keys: ask the register gate to authorise a digest, then the signer to sign it.

No key is opened here. A signature needs two other processes to agree: the gate, which saw the card's evidence, and the
signer, which holds the key.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from app.registers.gate_client import GateClient
from app.sealing.signer_client import SignerClient
from app.zones import Guard, Zone

ITEM_BYTES = 2048
"""Upper bound of one item on the signer's socket, for the traffic line."""

SignDigest = Callable[[bytes], bytes]


class CityKeys:
    """The city's keys by purpose, as callables. Thread-safe."""

    def __init__(
        self, gate: GateClient, signer: SignerClient, *, guard: Guard, clock: Callable[[], datetime]
    ) -> None:
        self._gate = gate
        self._signer = signer
        self._guard = guard
        self._clock = clock

    def signing(self, purpose: str, *, request_id: str, serial: str) -> SignDigest:
        """A callable that signs one SHA-256 digest (32 bytes) and returns r‖s (64 bytes).

        Raises (when called): Refusal by the gate, SignerError, UnavailableError.
        """

        def sign(digest: bytes) -> bytes:
            authorisation = self._gate.authorise(
                purpose=purpose, digest=digest, request_id=request_id, serial=serial
            )
            self._cross()
            return self._signer.sign(
                purpose, digest, request_id=request_id, serial=serial, authorisation=authorisation
            )

        return sign

    def agreement(self) -> Callable[[ec.EllipticCurvePublicKey], bytes]:
        """The envelope key's key agreement: a peer's public key in, the shared x coordinate (32 bytes) out."""

        def agree(peer: ec.EllipticCurvePublicKey) -> bytes:
            self._cross()
            return self._signer.agree(peer)

        return agree

    def _cross(self) -> None:
        self._guard.check(Zone.CITY, Zone.SIGNER, "signer.batch", ITEM_BYTES, now=self._clock())
