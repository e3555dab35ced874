"""The demo's words about the log: where a certificate's evidence stands, what a block cost, who else has seen it.

What is said of evidence is read from a bundle, the chain and the trust list; the verdicts are the employer's program's
(`app.house.employer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.counterparts.jpki.reader import CardReader
from app.house.contract import Contract
from app.house.employer import EmployerComputer
from app.house.house import House
from app.house.narrator import Narrator
from app.house.people import FISCAL_YEAR, PASSWORDS
from app.house.setup import ORIGIN
from app.house.witnesses import QUORUM, WITNESSES
from chain.ethereum import EthereumClient
from mobile_api.client import NoAnswerYet, Phone
from verifier.formats.bundle import parse_bundle
from verifier.formats.chain_anchor import AnchorReceipt, verify_anchor_receipt
from verifier.formats.checkpoint import verify_bundled_checkpoint
from verifier.formats.tlog_proof import parse_tlog_proof
from verifier.trust import TrustList

ONE_OPERATOR: Final = (
    f"証人{len(WITNESSES)}つはすべて同じ運営者の見本です / "
    f"all {len(WITNESSES)} witnesses are run by one operator: a mock-up"
)
AUDITED: Final = (
    "すべての行、すべての署名、チェーンを照らし合わせる / every leaf, every signature, and the chain"
)
BOTH_AWAY: Final = "チェーンも証人もいない / neither chain nor quorum"
AWAY_PURPOSE: Final = "保育所の利用のため"
AWAY_SECONDS: Final = 4.0
ARRIVAL_SECONDS: Final = 60.0


class LogStory:
    """The chapters about the log. `house` is started before any of them but the making of this."""

    def __init__(self, house: House, say: Narrator) -> None:
        self._house = house
        self._say = say

    def introduce(self) -> None:
        """Who runs the witnesses, and what it cost to register them."""
        gas = self._house.registration_gas
        self._say.tell(ONE_OPERATOR)
        self._say.tell(f"証人をコントラクトに登録 / witnesses registered in the contract: gas {gas:,}")

    def tell_stage(self, bundle: bytes) -> None:
        """Where the evidence of a bundle stands."""
        trust, contract = self._house.trust, self._house.contract
        if trust is None or contract is None:
            raise RuntimeError("the house is not started")
        self._say.tell(describe_stage(read_stage(bundle, trust), contract))

    def audit(self, employer: EmployerComputer, trust: Path) -> None:
        """The employer's program reads the whole public log. `trust`: its trust store."""
        log = f"{self._house.address('door')}/{ORIGIN.partition('/')[2]}"
        answer = employer.run("audit", "--log", log, "--trust", trust, "--rpc", self._house.address("chain"))
        self._say.expect(AUDITED, answer, 0)
        for line in answer.out.splitlines()[2:]:
            self._say.tell(line.strip())

    def away(self, phone: Phone, card: CardReader) -> None:
        """With the chain stopped already: the quorum too. The log takes entries, and signs nothing until three are back."""
        processes = self._house.processes
        for name in WITNESSES[:QUORUM]:
            processes.stop(name)
        request = phone.request_certificate(FISCAL_YEAR, AWAY_PURPOSE, card, PASSWORDS.authentication)
        try:
            list(phone.wait(request, timeout=AWAY_SECONDS))
            self._say.note(BOTH_AWAY, "発行された / issued", right=False)
        except NoAnswerYet:
            said = f"{AWAY_SECONDS:.0f}秒、何も署名しない / nothing signed for {AWAY_SECONDS:.0f} s, nothing lost"
            self._say.note(BOTH_AWAY, said, right=True)
        processes.restart(WITNESSES[0])

        def arrive() -> None:
            list(phone.wait(request, timeout=ARRIVAL_SECONDS))
            phone.fetch_package(request)

        self._say.step("証人が3つそろうと届く / with three witnesses again it arrives", arrive)
        self.tell_stage(phone.open(request))


@dataclass(frozen=True, slots=True)
class EvidenceStage:
    """What the evidence in one bundle shows; every signature in it was verified."""

    index: int
    size: int
    witnesses: tuple[str, ...]
    receipt: AnchorReceipt | None


def read_stage(bundle: bytes, trust: TrustList) -> EvidenceStage:
    """The stage of a bundle's evidence. Raises: FormatError."""
    parts, content = parse_bundle(bundle), trust.content
    proof = parse_tlog_proof(parts.inclusion)
    verified = verify_bundled_checkpoint(proof.checkpoint, content.log, content.witness_policy.keys)
    signed = {signature.key for signature in verified.signatures}
    names = tuple(name for name, key in content.witness_policy.witnesses if key in signed)
    receipt = None
    if parts.anchor is not None and content.chain is not None:
        chain = content.chain
        receipt = verify_anchor_receipt(parts.anchor, content.log, chain.chain_id, chain.contract)
    return EvidenceStage(proof.index, verified.checkpoint.size, names, receipt)


def describe_stage(stage: EvidenceStage, contract: Contract) -> str:
    """One line: logged, witnessed, anchored, with what the anchoring cost."""
    names = ", ".join(name.partition(".")[0] for name in stage.witnesses)
    seen = f"証人 / witnessed: {len(stage.witnesses)} of {len(WITNESSES)} ({names}), needs {QUORUM}"
    logged = f"記録 / logged: leaf {stage.index} of {stage.size}"
    if stage.receipt is None:
        return f"{logged} · {seen} · まだ外部になし / not anchored yet"
    receipt = stage.receipt
    gas = find_gas(contract, receipt.transaction)
    cost = "" if gas is None else f", gas {gas:,}"
    return f"{logged} · {seen} · 外部 / anchored: block {receipt.block_number}{cost}"


def find_gas(contract: Contract, transaction: bytes) -> int | None:
    """Gas used by a transaction (32-byte hash); None if the chain does not know it. Raises: EthereumError."""
    address = bytes.fromhex(contract.address.removeprefix("0x"))
    return EthereumClient(contract.rpc, address).gas_used(transaction)
