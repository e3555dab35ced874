"""Does the chain itself say so? The transaction, its event and its block, asked from a node by raw JSON-RPC.

Sources: Ethereum execution APIs (eth_chainId, eth_getCode, eth_getTransactionReceipt, eth_getBlockByNumber),
contracts/AnchorRegistry.vy (event Anchored). No node, a node of another chain or one that is behind is an
outage; a node that knows the block and denies the event is a no. A chain may replace a block: then the log has made
the receipt again, and the one among its public files is asked for before the answer is no.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from verifier.checks.case import Case, failed, not_applicable, passed, undetermined
from verifier.errors import FormatError, SourceError
from verifier.formats.chain_anchor import AnchorReceipt, verify_anchor_receipt
from verifier.formats.encoding import sha256
from verifier.formats.trust_list import ChainTrust
from verifier.policy import CHAIN
from verifier.report import Finding

ANCHORED_TOPIC: Final = "0x93f54c0bb8bd9b85321a63e5a9c9d45877dce18ff8d319ea444f0f7cb477b88c"
"""Keccak-256 of Anchored(bytes32,uint64,bytes32,uint64,bytes32,uint256); tests compute it with web3."""
OTHER_BLOCK: Final = "other-block"
_DATA_WORDS: Final = 5


def check_chain(case: Case, receipt: AnchorReceipt | None) -> Finding:
    """The event that the receipt names, in a block that the chain holds."""
    chain = case.trust.chain
    if case.parts.bundle is None or chain is None:
        return not_applicable(CHAIN, "no-chain", "there is no chain to ask")
    if not case.policy.ask_chain:
        return not_applicable(CHAIN, "not-asked", "this policy does not ask the chain")
    if receipt is None:
        return undetermined(CHAIN, "no-receipt", "without a receipt there is nothing to ask for", retry=True)
    try:
        finding = _ask(case, chain, receipt)
        if finding.code != OTHER_BLOCK:
            return finding
        again = _made_again(case, chain, receipt)
        return finding if again is None else _ask(case, chain, again)
    except SourceError as error:
        return undetermined(CHAIN, error.code, error.detail, retry=True)


def _made_again(case: Case, chain: ChainTrust, receipt: AnchorReceipt) -> AnchorReceipt | None:
    """The log's newer receipt for the same checkpoint, None if there is none to be had."""
    path = f"/{receipt.origin.partition('/')[2]}/receipts/{receipt.size}"
    try:
        data = case.sources.public_file(case.trust.public_url, path)
        again = verify_anchor_receipt(data, case.trust.log_of(data)[0], chain.chain_id, chain.contract)
    except (SourceError, FormatError):
        return None
    return again if again.checkpoint == receipt.checkpoint and again != receipt else None


def _ask(case: Case, chain: ChainTrust, receipt: AnchorReceipt) -> Finding:
    def ask(method: str, *params: Any) -> Any:
        return case.sources.chain(chain, method, params)

    if _number(ask("eth_chainId")) != chain.chain_id:
        return undetermined(CHAIN, "other-chain", "the node belongs to another chain", retry=True)
    if _number(ask("eth_blockNumber")) < receipt.block_number:
        return undetermined(CHAIN, "node-behind", "the node does not know the block yet", retry=True)
    block = ask("eth_getBlockByNumber", hex(receipt.block_number), False)
    if not isinstance(block, dict):
        return undetermined(CHAIN, "node-behind", "the node does not know the block", retry=True)
    if block.get("hash") != "0x" + receipt.block_hash.hex():
        return failed(CHAIN, OTHER_BLOCK, "the chain holds another block at that height")
    if ask("eth_getCode", "0x" + chain.contract.hex(), "latest") in ("0x", "", None):
        return failed(CHAIN, "no-contract", "the chain holds no contract at the address of the trust list")
    found = ask("eth_getTransactionReceipt", "0x" + receipt.transaction.hex())
    if not isinstance(found, dict) or not _is_event(found, chain, receipt):
        return failed(CHAIN, "no-event", "the chain does not hold what the receipt says")
    return passed(CHAIN, detail=f"block {receipt.block_number} of chain {chain.chain_id}")


def _is_event(found: Mapping[str, Any], chain: ChainTrust, receipt: AnchorReceipt) -> bool:
    logs = found.get("logs")
    if _number(found.get("status")) != 1 or not isinstance(logs, list):
        return False
    origin_id = "0x" + sha256(receipt.origin.encode("utf-8")).hex()
    for entry in logs:
        if not isinstance(entry, dict) or _number(entry.get("logIndex")) != receipt.log_index:
            continue
        data = entry.get("data")
        expected = f"0x{receipt.size:064x}{receipt.root.hex()}"
        return (
            str(entry.get("address")).lower() == "0x" + chain.contract.hex()
            and entry.get("topics") == [ANCHORED_TOPIC, origin_id]
            and entry.get("blockHash") == "0x" + receipt.block_hash.hex()
            and entry.get("transactionHash") == "0x" + receipt.transaction.hex()
            and isinstance(data, str)
            and len(data) == 2 + 64 * _DATA_WORDS
            and data.startswith(expected)
        )
    return False


def _number(value: Any) -> int:
    # Quantities are 0x-prefixed hexadecimal text; anything else is a node that does not speak the protocol.
    try:
        if not isinstance(value, str) or not value.startswith("0x") or len(value) > 66:
            raise ValueError
        return int(value, 16)
    except ValueError as error:
        raise SourceError("bad-answer", "the node's answer is not a number") from error
