"""How the city's processes use its keys: ask the register gate to authorise a digest, then the signer to sign it.

No key is opened here. A signature needs two other processes to agree: the gate, which saw the card's evidence, and the
signer, which holds the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ec

from app.registers.gate_client import GateClient
from app.sealing.errors import SignerError
from app.sealing.signer_client import SignerClient, SignRequest
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

    def sign_copies(self, request_id: str, digests: Mapping[str, bytes]) -> list[bytes]:
        """The credential key's signatures for a wallet's copies: serial → digest, in order, one call at each door.

        Raises: Refusal by the gate, SignerError, UnavailableError.
        """
        authorisations = self._gate.authorise_copies(request_id, digests)
        self._cross(len(digests))
        results = self._signer.sign_batch(
            [SignRequest("credential", made.digest, request_id, made.serial, made) for made in authorisations]
        )
        signatures = []
        for result in results:
            if isinstance(result, SignerError):
                raise result
            signatures.append(result)
        return signatures

    def sign_metadata(self, signing_input: bytes, *, serial: str) -> bytes:
        """The credential key's signature over public wallet metadata. Raises as `signing` does."""
        made = self._gate.authorise_metadata(signing_input=signing_input, serial=serial)
        self._cross()
        return self._signer.sign(
            "credential", made.digest, request_id=made.request_id, serial=serial, authorisation=made
        )

    def agreement(self) -> Callable[[ec.EllipticCurvePublicKey], bytes]:
        """The envelope key's key agreement: a peer's public key in, the shared x coordinate (32 bytes) out."""

        def agree(peer: ec.EllipticCurvePublicKey) -> bytes:
            self._cross()
            return self._signer.agree(peer)

        return agree

    def _cross(self, items: int = 1) -> None:
        self._guard.check(Zone.CITY, Zone.SIGNER, "signer.batch", ITEM_BYTES * items, now=self._clock())
