"""Blocks, transactions, receipts and logs as Ethereum JSON-RPC writes them (execution-apis)."""

from __future__ import annotations

from typing import Any

from eth_utils import keccak
from rlp import encode as rlp_encode

from chain.devnode.blockchain import Blockchain, Included

SUCCESS = b"\x01"


def quantity(number: int) -> str:
    """An integer as 0x without leading zeros."""
    return hex(number)


def hexadecimal(data: bytes) -> str:
    """Bytes as 0x…"""
    return "0x" + bytes(data).hex()


def block_view(blockchain: Blockchain, header: Any, *, full: bool) -> dict[str, Any]:
    """A block, with hashes or whole transactions."""
    included = blockchain.receipts(header)
    return {
        "number": quantity(header.block_number),
        "hash": hexadecimal(header.hash),
        "parentHash": hexadecimal(header.parent_hash),
        "nonce": hexadecimal(header.nonce),
        "sha3Uncles": hexadecimal(header.uncles_hash),
        "logsBloom": hexadecimal(header.bloom.to_bytes(256, "big")),
        "transactionsRoot": hexadecimal(header.transaction_root),
        "stateRoot": hexadecimal(header.state_root),
        "receiptsRoot": hexadecimal(header.receipt_root),
        "miner": hexadecimal(header.coinbase),
        "difficulty": quantity(header.difficulty),
        "extraData": hexadecimal(header.extra_data),
        "mixHash": hexadecimal(header.mix_hash),
        "size": quantity(len(rlp_encode(header))),
        "gasLimit": quantity(header.gas_limit),
        "gasUsed": quantity(header.gas_used),
        "timestamp": quantity(header.timestamp),
        "baseFeePerGas": quantity(header.base_fee_per_gas),
        "withdrawalsRoot": hexadecimal(header.withdrawals_root),
        "withdrawals": [],
        "blobGasUsed": quantity(header.blob_gas_used),
        "excessBlobGas": quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": hexadecimal(header.parent_beacon_block_root),
        "requestsHash": hexadecimal(header.requests_hash),
        "uncles": [],
        "transactions": [
            transaction_view(item) if full else hexadecimal(item.transaction.hash) for item in included
        ],
    }


def transaction_view(included: Included) -> dict[str, Any]:
    """A transaction in its block."""
    transaction, header = included.transaction, included.header
    kind = getattr(transaction, "type_id", None) or 0
    view: dict[str, Any] = {
        "type": quantity(kind),
        "hash": hexadecimal(transaction.hash),
        "nonce": quantity(transaction.nonce),
        "blockHash": hexadecimal(header.hash),
        "blockNumber": quantity(header.block_number),
        "transactionIndex": quantity(included.index),
        "from": hexadecimal(transaction.sender),
        "to": hexadecimal(transaction.to) if transaction.to else None,
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas),
        "input": hexadecimal(transaction.data),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
        "gasPrice": quantity(effective_gas_price(included)),
    }
    if kind:
        view |= {
            "chainId": quantity(transaction.chain_id),
            "v": quantity(transaction.y_parity),
            "yParity": quantity(transaction.y_parity),
            "accessList": [],
        }
        if kind >= 2:
            view |= {
                "maxFeePerGas": quantity(transaction.max_fee_per_gas),
                "maxPriorityFeePerGas": quantity(transaction.max_priority_fee_per_gas),
            }
    else:
        view["v"] = quantity(transaction.v)
    return view


def receipt_view(included: Included) -> dict[str, Any]:
    """A receipt."""
    transaction, header, receipt = included.transaction, included.header, included.receipt
    created = None
    if not transaction.to:
        sender_and_nonce = [transaction.sender, transaction.nonce]
        created = hexadecimal(keccak(rlp_encode(sender_and_nonce))[12:])
    return {
        "type": quantity(getattr(transaction, "type_id", None) or 0),
        "transactionHash": hexadecimal(transaction.hash),
        "transactionIndex": quantity(included.index),
        "blockHash": hexadecimal(header.hash),
        "blockNumber": quantity(header.block_number),
        "from": hexadecimal(transaction.sender),
        "to": hexadecimal(transaction.to) if transaction.to else None,
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "gasUsed": quantity(included.gas_used),
        "effectiveGasPrice": quantity(effective_gas_price(included)),
        "contractAddress": created,
        "logs": [log_view(included, number) for number in range(len(receipt.logs))],
        "logsBloom": hexadecimal(receipt.bloom.to_bytes(256, "big")),
        "status": quantity(int(receipt.state_root == SUCCESS)),
    }


def log_view(included: Included, number: int) -> dict[str, Any]:
    """Log `number` of a transaction."""
    log, header = included.receipt.logs[number], included.header
    return {
        "address": hexadecimal(log.address),
        "topics": [hexadecimal(topic.to_bytes(32, "big")) for topic in log.topics],
        "data": hexadecimal(log.data),
        "blockNumber": quantity(header.block_number),
        "blockHash": hexadecimal(header.hash),
        "transactionHash": hexadecimal(included.transaction.hash),
        "transactionIndex": quantity(included.index),
        "logIndex": quantity(included.first_log + number),
        "removed": False,
    }


def effective_gas_price(included: Included) -> int:
    """What a unit of gas cost."""
    transaction, base_fee = included.transaction, included.header.base_fee_per_gas
    return int(
        min(transaction.max_fee_per_gas, base_fee + transaction.max_priority_fee_per_gas)
        if getattr(transaction, "type_id", None) not in (None, 0, 1)
        else transaction.gas_price
    )
