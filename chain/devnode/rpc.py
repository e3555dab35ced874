"""The JSON-RPC methods of the embedded chain: what web3.py needs, and nothing that spends or signs by itself.

Parameters arrive as parsed JSON. Answers are JSON values. Unknown method −32601, bad parameters −32602,
unknown block −39001, a revert 3 with its data.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from eth_bloom import BloomFilter  # type: ignore[attr-defined]  # exported, but not by name

from chain.devnode.blockchain import GAS_LIMIT, Blockchain, Call, RpcError
from chain.devnode.views import block_view, hexadecimal, log_view, quantity, receipt_view, transaction_view

CLIENT_VERSION: Final = "akashi-devnode/1 (MOCK, demo only)"
PRIORITY_FEE: Final = 1_000_000_000
MAX_LOG_BLOCKS: Final = 50_000
MAX_FEE_HISTORY: Final = 1024
_TAGS: Final = frozenset({"latest", "pending", "safe", "finalized"})


class Methods:
    """Dispatch of method names to the chain."""

    def __init__(self, blockchain: Blockchain) -> None:
        self._chain = blockchain
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: quantity(blockchain.chain_id),
            "net_version": lambda: str(blockchain.chain_id),
            "web3_clientVersion": lambda: CLIENT_VERSION,
            "eth_syncing": lambda: False,
            "eth_accounts": list,
            "eth_blockNumber": lambda: quantity(blockchain.head().block_number),
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBalance": self._balance,
            "eth_getTransactionCount": self._nonce,
            "eth_getCode": self._code,
            "eth_getStorageAt": self._storage,
            "eth_gasPrice": lambda: quantity(blockchain.head().base_fee_per_gas + PRIORITY_FEE),
            "eth_maxPriorityFeePerGas": lambda: quantity(PRIORITY_FEE),
            "eth_feeHistory": self._fee_history,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendRawTransaction": lambda raw: hexadecimal(blockchain.send(_bytes(raw))),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
        }

    def call(self, method: str, params: list[Any]) -> Any:
        """Answer one request.

        Raises: RpcError.
        """
        function = self._methods.get(method)
        if function is None:
            raise RpcError(-32601, f"the method {method} does not exist")
        try:
            return function(*params)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise RpcError(-32602, f"bad parameters: {error}") from error

    def _header(self, block: str | None) -> Any:
        if block is None or block in _TAGS:
            return self._chain.head()
        if block == "earliest":
            return self._chain.header(0)
        header = self._chain.header(_integer(block))
        if header is None:
            raise RpcError(-39001, "Unknown block")
        return header

    def _block_by_number(self, block: str, full: bool = False) -> Any:
        try:
            return block_view(self._chain, self._header(block), full=full)
        except RpcError as error:
            if error.code == -39001:
                return None
            raise

    def _block_by_hash(self, block_hash: str, full: bool = False) -> Any:
        header = self._chain.find_header(_bytes(block_hash, 32))
        return None if header is None else block_view(self._chain, header, full=full)

    def _balance(self, address: str, block: str | None = None) -> str:
        return quantity(self._chain.state(self._header(block)).get_balance(_bytes(address, 20)))

    def _nonce(self, address: str, block: str | None = None) -> str:
        return quantity(self._chain.state(self._header(block)).get_nonce(_bytes(address, 20)))

    def _code(self, address: str, block: str | None = None) -> str:
        return hexadecimal(self._chain.state(self._header(block)).get_code(_bytes(address, 20)))

    def _storage(self, address: str, slot: str, block: str | None = None) -> str:
        state = self._chain.state(self._header(block))
        return hexadecimal(state.get_storage(_bytes(address, 20), _integer(slot)).to_bytes(32, "big"))

    def _fee_history(self, count: str | int, newest: str, percentiles: list[float] | None = None) -> Any:
        last = self._header(newest)
        number = min(count if isinstance(count, int) else _integer(count), MAX_FEE_HISTORY)
        headers = self._chain.headers(max(0, last.block_number - number + 1), last.block_number)
        fees = [quantity(header.base_fee_per_gas) for header in headers]
        answer = {
            "oldestBlock": quantity(headers[0].block_number),
            "baseFeePerGas": [*fees, quantity(last.base_fee_per_gas)],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if percentiles is not None:
            answer["reward"] = [[quantity(PRIORITY_FEE)] * len(percentiles) for _ in headers]
        return answer

    def _call(self, call: dict[str, Any], block: str | None = None) -> str:
        return hexadecimal(self._chain.call(self._header(block), _parse_call(call)))

    def _estimate(self, call: dict[str, Any], block: str | None = None) -> str:
        return quantity(self._chain.estimate(self._header(block), _parse_call(call)))

    def _transaction(self, transaction_hash: str) -> Any:
        included = self._chain.find_transaction(_bytes(transaction_hash, 32))
        return None if included is None else transaction_view(included)

    def _receipt(self, transaction_hash: str) -> Any:
        included = self._chain.find_transaction(_bytes(transaction_hash, 32))
        return None if included is None else receipt_view(included)

    def _logs(self, query: dict[str, Any]) -> list[Any]:
        if "blockHash" in query:
            header = self._chain.find_header(_bytes(query["blockHash"], 32))
            if header is None:
                raise RpcError(-39001, "Unknown block")
            headers = [header]
        else:
            first = self._header(query.get("fromBlock", "latest")).block_number
            last = self._header(query.get("toBlock", "latest")).block_number
            if last - first > MAX_LOG_BLOCKS:
                raise RpcError(-32005, f"at most {MAX_LOG_BLOCKS} blocks a query")
            headers = self._chain.headers(first, last)
        addresses = query.get("address") or []
        wanted = {_bytes(item, 20) for item in ([addresses] if isinstance(addresses, str) else addresses)}
        topics = [
            None if item is None else {_integer(one) for one in ([item] if isinstance(item, str) else item)}
            for item in query.get("topics") or []
        ]
        found = []
        for header in headers:
            bloom = BloomFilter(header.bloom)
            if wanted and not any(address in bloom for address in wanted):
                continue
            for included in self._chain.receipts(header):
                for number, log in enumerate(included.receipt.logs):
                    if wanted and log.address not in wanted:
                        continue
                    if len(topics) > len(log.topics):
                        continue
                    if all(
                        want is None or have in want for want, have in zip(topics, log.topics, strict=False)
                    ):
                        found.append(log_view(included, number))
        return found


def _parse_call(call: dict[str, Any]) -> Call:
    return Call(
        sender=_bytes(call.get("from", "0x" + "00" * 20), 20),
        to=_bytes(call["to"], 20) if call.get("to") else b"",
        value=_integer(call.get("value", "0x0")),
        data=_bytes(call.get("data") or call.get("input") or "0x"),
        gas=min(_integer(call.get("gas", quantity(GAS_LIMIT))), GAS_LIMIT),
    )


def _bytes(text: str, size: int | None = None) -> bytes:
    if not text.startswith("0x"):
        raise ValueError("hexadecimal data begins with 0x")
    data = bytes.fromhex(text[2:])
    if size is not None and len(data) != size:
        raise ValueError(f"not {size} bytes")
    return data


def _integer(text: str) -> int:
    if not text.startswith("0x"):
        raise ValueError("a quantity begins with 0x")
    return int(text, 16)
