"""The one way to an Ethereum node: JSON-RPC through web3.py, in and out in our own words. Only this module
imports web3.

It signs and sends what it is told to, decides nothing and remembers nothing. Whatever goes wrong underneath
becomes EthereumUnavailable (nobody answered, or not in time) or EthereumError (the answer is unusable or a
refusal). Tags `safe` and `finalized` are not used: QBFT nodes do not know them; callers count confirmations.
"""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import orjson
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint, RPCResponse

from chain.abi import load_artefact
from chain.bls import decode_point, encode_point
from chain.cosigning import WitnessSet
from chain.errors import EthereumError, EthereumUnavailable, LogUnavailable
from chain.floor import SeenHead
from chain.http_client import send_request
from chain.transactions import Fees, Identity, Inclusion, SignedTransaction, Submission, compute_origin_id
from verifier.errors import FormatError

RPC_TIMEOUT_SECONDS: Final = 10.0
MAX_RPC_ANSWER: Final = 8 << 20
GAS_MARGIN_PERCENT: Final = 20
DEMO_CHAIN_ID: Final = 992011
CHANGE_DELAY_SECONDS: Final = 7 * 86_400
MAX_WITNESSES: Final = 16  # the contract has room for no more


class _Provider(HTTPProvider):  # type: ignore[misc]  # web3 is untyped here
    """web3.py's provider over our own bounded request: one try, so long and no longer, so much and no more."""

    def _make_request(self, method: RPCEndpoint, request_data: bytes) -> bytes:
        url = urlsplit(str(self.endpoint_uri))
        headers = {"Content-Type": "application/json"}
        if url.username is not None:
            user = f"{unquote(url.username)}:{unquote(url.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode("ascii")
        try:
            status, answer = send_request(
                "POST",
                url.geturl(),
                request_data,
                headers,
                seconds=RPC_TIMEOUT_SECONDS,
                max_answer=MAX_RPC_ANSWER,
            )
        except LogUnavailable as error:
            raise ConnectionError(error.detail) from error
        if status != 200:
            raise ConnectionError(f"status {status}")
        return answer

    def decode_rpc_response(self, raw_response: bytes) -> RPCResponse:
        # orjson bounds the depth: where the EVM library has raised Python's limit the standard parser would crash
        answer = orjson.loads(raw_response)
        if not isinstance(answer, dict):
            raise ValueError("not an object")
        return cast(RPCResponse, answer)


class EthereumClient:
    """One node, one contract, one sending account."""

    def __init__(
        self, rpc_url: str, contract: bytes, private_key: bytes | None = None, chain_id: int | None = None
    ) -> None:
        """`contract`: 20 bytes. `private_key`: 32 bytes of the sealer, or None for reading only.

        `chain_id`: the only chain that is signed for; None believes the node (tools of a laptop).
        """
        self._web3 = Web3(_Provider(rpc_url))
        # QBFT headers have more extra data than web3.py allows otherwise
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
        self.contract = contract
        self._chain_id = chain_id
        self._registry = self._web3.eth.contract(
            Web3.to_checksum_address(contract), abi=load_artefact()["abi"]
        )
        self._account = None if private_key is None else Account.from_key(private_key)

    def identity(self) -> Identity:
        """Which chain this node serves."""
        with _translated():
            genesis = self._web3.eth.get_block(0)
            return Identity(_number(self._web3.eth.chain_id), _hash(genesis["hash"]))

    def has_contract(self) -> bool:
        """Whether there is code at the contract's address."""
        with _translated():
            return len(self._web3.eth.get_code(self._registry.address)) > 0

    def head(self, origin_id: bytes) -> SeenHead:
        """The contract's head for a log."""
        with _translated():
            size, root = self._registry.functions.head(origin_id).call()
            return SeenHead(_number(size), _hash(root))

    def witnesses(self) -> WitnessSet:
        """The active BLS witnesses of the contract, by compressed key, and how many of them must sign.

        Raises: EthereumError("other-mode") where the contract asks for ECDSA signatures, EthereumError("bad-answer").
        """
        with _translated():
            functions = self._registry.functions
            threshold, active = int(functions.threshold().call()), int(functions.active_witnesses().call())
            if functions.mode().call() != 0:
                if threshold:
                    raise EthereumError("other-mode", "this contract takes ECDSA signatures of witnesses")
                return WitnessSet(0, {})
            count = int(functions.witness_count().call())
            if count > MAX_WITNESSES:
                # a node that lies could have us ask for ever
                raise EthereumError("bad-answer", "more witnesses than the contract has room for")
            keys = {
                number: bytes(functions.witness_key(number).call())
                for number in range(count)
                if active >> number & 1
            }
        try:
            return WitnessSet(threshold, {decode_point(key): number for number, key in keys.items()})
        except FormatError as error:
            # the contract takes no such key: this answer is not the contract's
            raise EthereumError("bad-answer", "a registered witness key is no key") from error

    def nonce(self) -> int:
        """How many transactions of our account are in blocks."""
        with _translated():
            return _number(self._web3.eth.get_transaction_count(self._sender().address, "latest"))

    def latest_block(self) -> int:
        """Number of the newest block."""
        with _translated():
            return _number(self._web3.eth.block_number)

    def block_hash(self, number: int) -> bytes | None:
        """Hash of a block, None if there is none."""
        with _translated():
            try:
                return _hash(self._web3.eth.get_block(number)["hash"])
            except BlockNotFound:
                return None

    def fees(self) -> Fees:
        """What the node suggests now: twice the base fee and a tip; both 0 where gas is free."""
        with _translated():
            base_fee = _number(self._web3.eth.get_block("latest").get("baseFeePerGas", 0))
            if base_fee == 0:
                return Fees(0, 0)
            priority_fee = _number(self._web3.eth.max_priority_fee)
            return Fees(2 * base_fee + priority_fee, priority_fee)

    def sign_submission(self, submission: Submission, nonce: int, fees: Fees) -> SignedTransaction:
        """Sign a submission that the contract would take now.

        Raises: EthereumError("refused") with the contract's words if it would not.
        """
        account = self._sender()
        call = self._registry.functions.submit(
            submission.origin_id,
            submission.size,
            submission.root,
            list(submission.consistency_path),
            submission.signer_bitmap,
            submission.aggregate_signature,
        )
        with _translated():
            gas = int(call.estimate_gas({"from": account.address}))
            transaction = call.build_transaction(
                {
                    "from": account.address,
                    "nonce": nonce,
                    "gas": gas + gas * GAS_MARGIN_PERCENT // 100,
                    "maxFeePerGas": fees.max_fee,
                    "maxPriorityFeePerGas": fees.priority_fee,
                    # the node's word may change between two questions: a signature for another chain must not come of that
                    "chainId": self._chain_id or self._web3.eth.chain_id,
                }
            )
            signed = account.sign_transaction(transaction)
        return SignedTransaction(bytes(signed.raw_transaction), bytes(signed.hash))

    def broadcast(self, transaction: SignedTransaction) -> None:
        """Send; a node that has it already, pending or in a block, is fine.

        Raises: EthereumError("not-sent") with the node's words.
        """
        try:
            with _translated():
                self._web3.eth.send_raw_transaction(transaction.raw)
        except EthereumUnavailable:
            raise
        except EthereumError as error:
            # every client words "already known" differently: ask for the hash instead of reading the words
            if not self._is_known(transaction.tx_hash):
                raise EthereumError("not-sent", error.detail) from error

    def find_inclusion(self, tx_hash: bytes) -> Inclusion | None:
        """What became of a transaction of ours; None while it is in no block."""
        with _translated():
            try:
                receipt = self._web3.eth.get_transaction_receipt(tx_hash)
            except TransactionNotFound:
                return None
            if receipt.get("blockHash") is None:
                return None
            number, block_hash = _number(receipt["blockNumber"]), _hash(receipt["blockHash"])
            for log in receipt["logs"]:
                if bytes.fromhex(log["address"][2:]) != self.contract:
                    continue
                with contextlib.suppress(Web3Exception, ValueError):
                    event = self._registry.events.Anchored().process_log(log)
                    size, root = _number(event["args"]["size"]), _hash(event["args"]["root"])
                    return Inclusion(
                        receipt["status"] == 1, number, block_hash, _number(log["logIndex"]), size, root
                    )
            return Inclusion(receipt["status"] == 1, number, block_hash, None, None, None)

    def gas_used(self, tx_hash: bytes) -> int | None:
        """What a transaction in a block cost, in units of gas; None while it is in no block."""
        with _translated():
            try:
                return int(self._web3.eth.get_transaction_receipt(tx_hash)["gasUsed"])
            except TransactionNotFound:
                return None

    def parts(self) -> tuple[Web3, Any, Any]:
        """Node, account and contract as web3.py has them, for `RegistryOwner`."""
        return self._web3, self._sender(), self._registry

    def _is_known(self, tx_hash: bytes) -> bool:
        with _translated():
            try:
                self._web3.eth.get_transaction(tx_hash)
            except TransactionNotFound:
                return False
            return True

    def _sender(self) -> Any:
        if self._account is None:
            raise EthereumError("no-account", "this client only reads")
        return self._account


class ContractHead:
    """The contract as a source of the log's newest anchored checkpoint (a `floor.HeadSource`)."""

    name = "contract"
    is_binding = True

    def __init__(self, client: EthereumClient, origin: str, chain_id: int) -> None:
        self._client = client
        self._origin_id = compute_origin_id(origin)
        self._chain_id = chain_id

    def seen_head(self) -> SeenHead:
        try:
            identity = self._client.identity()
            if identity.chain_id != self._chain_id:
                raise EthereumError("other-chain", f"the node serves chain {identity.chain_id}")
            if not self._client.has_contract():
                raise EthereumError("contract-missing", "there is no contract at the configured address")
            return self._client.head(self._origin_id)
        except EthereumError as error:
            raise LogUnavailable("contract-away", str(error)) from error


def deploy_registry(
    rpc_url: str,
    owner_key: bytes,
    sealer: bytes,
    poll_seconds: float = 0.05,
    *,
    delay_seconds: int | None = None,
    witness_mode: int = 0,
) -> tuple[bytes, int]:
    """Deploy AnchorRegistry owned by `owner_key`'s account with one sealer; answers its address and the gas
    used.

    `delay_seconds`: how long changes are announced; None means none on the demo chain and a week elsewhere
    (the contract refuses less than a day there). `witness_mode`: 0 BLS, 1 ECDSA. Raises: EthereumError.
    """
    artefact = load_artefact()
    web3 = Web3(_Provider(rpc_url))
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    account = Account.from_key(owner_key)
    with _translated():
        factory = web3.eth.contract(abi=artefact["abi"], bytecode=artefact["bytecode"])
        if delay_seconds is None:
            delay_seconds = 0 if web3.eth.chain_id == DEMO_CHAIN_ID else CHANGE_DELAY_SECONDS
        arguments = (Web3.to_checksum_address(sealer), delay_seconds, witness_mode)
        receipt = _send_and_wait(web3, account, factory.constructor(*arguments), poll_seconds)
    if receipt["status"] != 1 or not web3.eth.get_code(receipt["contractAddress"]):
        raise EthereumError("not-deployed", "the deployment failed")
    return bytes.fromhex(receipt["contractAddress"][2:]), int(receipt["gasUsed"])


class RegistryOwner:
    """The owner's side of AnchorRegistry: which witnesses count, and how many of them must sign.

    After set-up a change is only announced by its first call; the same call carries it out when the delay is over.
    """

    def __init__(self, rpc_url: str, contract: bytes, owner_key: bytes, poll_seconds: float = 0.05) -> None:
        self._client = EthereumClient(rpc_url, contract, owner_key)
        self._poll_seconds = poll_seconds

    def register_witness(self, public_key: bytes, possession: bytes) -> int:
        """Gas used to register, or announce, a compressed key with its proof of possession; 0 if it is there already.

        Raises: EthereumError("refused").
        """
        if public_key in self._client.witnesses().numbers:
            return 0
        return self._call("register_witness", encode_point(public_key), encode_point(possession))

    def set_threshold(self, threshold: int) -> int:
        """Gas used to ask, or announce to ask, for this many witnesses; 0 if that is asked already.

        Raises: EthereumError("refused").
        """
        if self._client.witnesses().threshold == threshold:
            return 0
        return self._call("set_threshold", threshold)

    def _call(self, name: str, *values: Any) -> int:
        web3, account, registry = self._client.parts()
        with _translated():
            receipt = _send_and_wait(web3, account, registry.functions[name](*values), self._poll_seconds)
        if receipt["status"] != 1:
            raise EthereumError("refused", f"the contract refuses {name}")
        return int(receipt["gasUsed"])


def _send_and_wait(web3: Any, account: Any, call: Any, poll_seconds: float) -> Any:
    base_fee = int(web3.eth.get_block("latest").get("baseFeePerGas", 0))
    priority_fee = int(web3.eth.max_priority_fee) if base_fee else 0
    transaction = call.build_transaction(
        {
            "from": account.address,
            "nonce": web3.eth.get_transaction_count(account.address),
            "maxFeePerGas": 2 * base_fee + priority_fee,
            "maxPriorityFeePerGas": priority_fee,
            "chainId": web3.eth.chain_id,
        }
    )
    tx_hash = web3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    return web3.eth.wait_for_transaction_receipt(tx_hash, timeout=120, poll_latency=poll_seconds)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except EthereumError:
        raise
    except ContractLogicError as error:
        raise EthereumError("refused", f"the contract refuses: {_reason(error)}") from error
    except Web3RPCError as error:
        raise EthereumError("rpc-error", f"the node refuses: {str(error)[:300]}") from error
    except OSError as error:
        raise EthereumUnavailable(
            "chain-away", f"the node does not answer: {type(error).__name__}"
        ) from error
    except (Web3Exception, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EthereumError(
            "bad-answer", f"the node's answer cannot be used: {type(error).__name__}"
        ) from error


def _number(value: Any) -> int:
    # what the database takes; no chain counts further, and no gas costs so much
    if not 0 <= (number := int(value)) < 1 << 63:
        raise ValueError("a number out of range")
    return number


def _hash(value: Any) -> bytes:
    if len(data := bytes(value)) != 32:
        raise ValueError("not a hash")
    return data


def _reason(error: ContractLogicError) -> str:
    # Vyper's reasons are Error(string): selector, offset, length, text
    data = error.data if isinstance(error.data, str) else ""
    with contextlib.suppress(ValueError, UnicodeDecodeError):
        raw = bytes.fromhex(data.removeprefix("0x"))
        if raw[:4] == bytes.fromhex("08c379a0"):
            length = int.from_bytes(raw[36:68], "big")
            return raw[68 : 68 + length].decode("utf-8")[:200]
    return str(error.message)[:200]
