"""The embedded chain itself: Prague rules by py-evm, one block a transaction, everything in one SQLite file.

`send` decodes, executes and seals under one lock and in one database transaction: when it returns, the block
is durable; when the process dies inside it, the block never was. There is no mempool, no peer and no
consensus. JSON-RPC shapes are `views`'s, HTTP is `server`'s.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth.chains.base import MiningChain
from eth.constants import BLANK_ROOT_HASH, ZERO_ADDRESS, ZERO_HASH32
from eth.exceptions import VMError
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.state import PragueState
from eth.vm.spoof import SpoofTransaction
from eth_utils import ValidationError
from rlp.exceptions import DecodingError, DeserializationError

from chain.devnode.database import SqliteAtomicDB
from chain.devnode.precompiles import build_computation, find_library

DEFAULT_CHAIN_ID: Final = 992011
GAS_LIMIT: Final = 30_000_000
INITIAL_BASE_FEE: Final = 1_000_000_000
CALLER_BALANCE: Final = 10**36
MAX_RAW_TRANSACTION: Final = 128 * 1024
_HEAD_KEY: Final = b"v1:canonical_head_hash"


class RpcError(Exception):
    """An error with the code and data that JSON-RPC answers."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class Call:
    """A call or the estimate of one."""

    sender: bytes
    to: bytes  # empty: creates a contract
    value: int
    data: bytes
    gas: int


@dataclass(frozen=True, slots=True)
class Included:
    """A transaction in its block, with everything a receipt needs."""

    header: Any
    index: int
    transaction: Any
    receipt: Any
    gas_used: int
    first_log: int  # number of this transaction's first log within the block


class Blockchain:
    """An opened chain; every public method is safe for any thread, one at a time."""

    def __init__(
        self,
        path: Path | str,
        clock: Callable[[], int],
        *,
        chain_id: int = DEFAULT_CHAIN_ID,
        funded: Mapping[bytes, int] | None = None,
        fast: bool = True,
    ) -> None:
        """Open the chain in `path`, or make it with `funded` accounts (address → wei) if the file is new.

        `clock` gives Unix seconds. `fast`: BLS checks on the native library
        where there is one (see `precompiles`), else on py_ecc.
        """
        self.chain_id = chain_id
        self._clock = clock
        self._lock = threading.RLock()
        self._db = SqliteAtomicDB(path)
        chain_class = _build_chain_class(chain_id, find_library() if fast else None)
        if _HEAD_KEY in self._db:
            self._chain = chain_class(self._db)
        else:
            state = {
                address: {"balance": wei, "nonce": 0, "code": b"", "storage": {}}
                for address, wei in (funded or {}).items()
            }
            with self._db.transaction():
                self._chain = chain_class.from_genesis(self._db, _genesis(clock()), state)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    # -- writing
    # -----------------------------------------------------------------------------------------------

    def send(self, raw: bytes) -> bytes:
        """Execute a signed transaction in a block of its own; answers its hash.

        Raises: RpcError(-32602) not a transaction; RpcError(-32000) wrong nonce, known, too little money, …
        """
        with self._lock:
            transaction = self._decode(raw)
            if self.find_transaction(transaction.hash) is not None:
                raise RpcError(-32000, "already known")
            head = self._chain.get_canonical_head()
            expected = self._chain.get_vm(self._chain.header).state.get_nonce(transaction.sender)
            if transaction.nonce != expected:
                too = "low" if transaction.nonce < expected else "high"
                raise RpcError(-32000, f"nonce too {too}: address has {expected}, got {transaction.nonce}")
            before = self._chain.header
            try:
                with self._db.transaction():
                    self._chain.header = self._chain.create_header_from_parent(
                        head, timestamp=max(self._clock(), head.timestamp + 1)
                    )
                    self._chain.apply_transaction(transaction)
                    self._chain.mine_block(coinbase=ZERO_ADDRESS, mix_hash=os.urandom(32), blob_gas_used=0)
            except (ValidationError, VMError) as error:
                # the database rolled back by itself; the header in memory does not
                self._chain.header = before
                raise RpcError(-32000, str(error)) from error
            except BaseException:
                self._chain.header = before
                raise
            return bytes(transaction.hash)

    def _decode(self, raw: bytes) -> Any:
        if not raw or len(raw) > MAX_RAW_TRANSACTION:
            raise RpcError(-32602, "not a transaction of usable length")
        builder = self._chain.get_vm().get_transaction_builder()
        try:
            transaction = builder.decode(raw)
            transaction.validate()
            chain_id = getattr(transaction, "chain_id", None)
            if not transaction.sender or chain_id not in (None, self.chain_id):
                raise ValidationError("signed for another chain")
        except (
            DecodingError,
            DeserializationError,
            ValidationError,
            ValueError,
            TypeError,
            IndexError,
        ) as error:
            raise RpcError(-32602, f"not a transaction: {error}") from error
        return transaction

    # -- reading
    # -----------------------------------------------------------------------------------------------

    def head(self) -> Any:
        """Header of the newest block."""
        with self._lock:
            return self._chain.get_canonical_head()

    def header(self, number: int) -> Any | None:
        """Header of a block, or None."""
        with self._lock:
            if not 0 <= number <= self._chain.get_canonical_head().block_number:
                return None
            return self._chain.chaindb.get_canonical_block_header_by_number(number)

    def headers(self, first: int, last: int) -> list[Any]:
        """Headers of the blocks `first` to `last` that exist."""
        found = (self.header(number) for number in range(first, last + 1))
        return [header for header in found if header is not None]

    def find_header(self, block_hash: bytes) -> Any | None:
        """Header with this hash, or None."""
        with self._lock:
            try:
                return self._chain.chaindb.get_block_header_by_hash(block_hash)
            except LookupError:
                return None
            except Exception as error:  # py-evm's HeaderNotFound has no common base with the above
                if type(error).__name__ == "HeaderNotFound":
                    return None
                raise

    def transactions(self, header: Any) -> list[Any]:
        """Transactions of a block."""
        with self._lock:
            if header.block_number == 0:
                return []
            return list(self._chain.get_block_by_header(header).transactions)

    def receipts(self, header: Any) -> list[Included]:
        """Transactions of a block with their receipts."""
        with self._lock:
            if header.block_number == 0:
                return []
            block = self._chain.get_block_by_header(header)
            included, before, logs = [], 0, 0
            receipts = block.get_receipts(self._chain.chaindb)
            for index, (transaction, receipt) in enumerate(zip(block.transactions, receipts, strict=True)):
                used = receipt.gas_used - before
                included.append(Included(header, index, transaction, receipt, used, logs))
                before, logs = receipt.gas_used, logs + len(receipt.logs)
            return included

    def find_transaction(self, transaction_hash: bytes) -> Included | None:
        """A transaction in its block, or None."""
        with self._lock:
            try:
                number, index = self._chain.chaindb.get_transaction_index(transaction_hash)
            except Exception as error:  # py-evm's TransactionNotFound has no usable base class
                if type(error).__name__ == "TransactionNotFound":
                    return None
                raise
            header = self.header(number)
            return None if header is None else self.receipts(header)[index]

    def state(self, header: Any) -> Any:
        """State after a block: `get_balance`, `get_nonce`, `get_code`, `get_storage`."""
        with self._lock:
            return self._chain.get_vm(self._chain.create_header_from_parent(header)).state

    def call(self, header: Any, call: Call) -> bytes:
        """Run a call on the state after a block and throw the changes away.

        Raises: RpcError(3) with the revert data, RpcError(-32000).
        """
        computation = self._run(header, call)
        if computation.is_error:
            self._raise_failed(computation)
        return bytes(computation.output)

    def estimate(self, header: Any, call: Call) -> int:
        """Gas with which the call passes.

        Raises: RpcError(3) with the revert data, RpcError(-32000).
        """
        computation = self._run(header, call)
        if computation.is_error:
            self._raise_failed(computation)
        used = int(computation.needed_gas)
        for percent, extra in ((0, 0), (2, 2_300), (15, 5_000), (50, 50_000)):
            gas = min(call.gas, used + used * percent // 100 + extra)
            attempt = Call(call.sender, call.to, call.value, call.data, gas)
            with contextlib.suppress(RpcError):
                if not self._run(header, attempt).is_error:
                    return gas
        return call.gas

    def _run(self, header: Any, call: Call) -> Any:
        with self._lock:
            vm = self._chain.get_vm(self._chain.create_header_from_parent(header))
            state = vm.state
            # an unfunded caller may ask, and a caller with code too: only in this throw-away state
            state.set_balance(call.sender, CALLER_BALANCE)
            state.set_code(call.sender, b"")
            unsigned = vm.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
                chain_id=self.chain_id,
                nonce=state.get_nonce(call.sender),
                max_priority_fee_per_gas=0,
                max_fee_per_gas=vm.get_header().base_fee_per_gas,
                gas=call.gas,
                to=call.to,
                value=call.value,
                data=call.data,
                access_list=[],
            )
            spoofed = SpoofTransaction(unsigned, from_=call.sender, y_parity=0, r=1, s=1)
            try:
                computation = state.apply_transaction(spoofed)
            except (ValidationError, VMError) as error:
                raise RpcError(-32000, str(error)) from error
            # a gas limit must cover what is used before refunds, and the floor for data (EIP-7623)
            zeros = call.data.count(0)
            floor = 21_000 + 10 * (zeros + 4 * (len(call.data) - zeros))
            computation.needed_gas = max(floor, unsigned.intrinsic_gas + computation.get_gas_used())
            return computation

    @staticmethod
    def _raise_failed(computation: Any) -> None:
        if type(computation.error).__name__ == "Revert":
            raise RpcError(3, "execution reverted", "0x" + bytes(computation.output).hex())
        raise RpcError(-32000, f"execution failed: {computation.error}")


def _genesis(timestamp: int) -> dict[str, Any]:
    return {
        "coinbase": ZERO_ADDRESS,
        "difficulty": 0,
        "gas_limit": GAS_LIMIT,
        "base_fee_per_gas": INITIAL_BASE_FEE,
        "mix_hash": ZERO_HASH32,
        "nonce": b"\x00" * 8,
        "extra_data": b"akashi MOCK chain",
        "transaction_root": BLANK_ROOT_HASH,
        "receipt_root": BLANK_ROOT_HASH,
        "timestamp": timestamp,
    }


def _build_chain_class(chain_id: int, library: Any | None) -> Any:
    computation = build_computation(library)

    class State(PragueState):  # type: ignore[misc]  # py-evm is untyped here
        computation_class = computation

    class Rules(PragueVM):  # type: ignore[misc]  # py-evm is untyped here
        _state_class = State

    class Chain(MiningChain):  # type: ignore[misc]  # py-evm is untyped here
        vm_configuration = ((0, Rules),)

        def create_header_from_parent(self, parent: Any, **fields: Any) -> Any:
            # py-evm would move the gas limit with every block
            return super().create_header_from_parent(parent, gas_limit=parent.gas_limit, **fields)

    Chain.chain_id = chain_id
    return Chain
