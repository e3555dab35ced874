# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: Apache-2.0
"""
@title AnchorRegistry
@notice For each log (origin) the last checkpoint, and nothing that contradicts it: a new checkpoint is taken only
        with an RFC 9162 consistency proof from the last one, checked here, and with the BLS12-381 aggregate
        signature of at least `threshold` registered witnesses, checked here through EIP-2537.
@dev Who is trusted for what: a sealer can send checkpoints that extend the log, and can send none; it cannot rewrite.
     The owner names sealers, witnesses and the threshold, and can pause; it cannot change or remove a checkpoint.
     Witnesses: min-pk, ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ (IETF draft-irtf-cfrg-bls-signature),
     keys registered only with a proof of possession in that suite. Points are in EIP-2537 encoding: G1 128 bytes,
     G2 256 bytes. The signature of `submit` is final; what a threshold means can change, its arguments not.
"""

struct Head:
    size: uint64
    root: bytes32

event Anchored:
    origin_id: indexed(bytes32)
    size: uint64
    root: bytes32
    previous_size: uint64
    previous_root: bytes32
    signer_bitmap: uint256

event OwnershipOffered:
    owner: indexed(address)
    pending_owner: indexed(address)

event OwnershipTransferred:
    previous_owner: indexed(address)
    owner: indexed(address)

event SealerChanged:
    sealer: indexed(address)
    is_sealer: bool

event PauseChanged:
    paused: bool

event WitnessChanged:
    number: indexed(uint256)
    public_key: Bytes[128]
    is_active: bool

event ThresholdChanged:
    threshold: uint256

MAX_WITNESSES: constant(uint256) = 16
MAX_PATH: constant(uint256) = 64
G1_BYTES: constant(uint256) = 128
G2_BYTES: constant(uint256) = 256

# precompiles of EIP-198 and EIP-2537
MODEXP: constant(address) = 0x0000000000000000000000000000000000000005
G1_ADD: constant(address) = 0x000000000000000000000000000000000000000b
G2_ADD: constant(address) = 0x000000000000000000000000000000000000000d
PAIRING: constant(address) = 0x000000000000000000000000000000000000000F
MAP_TO_G2: constant(address) = 0x0000000000000000000000000000000000000011

INFINITY_G1: constant(Bytes[128]) = x"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
# the generator of G1, negated; the two halves of the field modulus p; (p - 1) / 2, for the sign of y
MINUS_G1: constant(Bytes[128]) = x"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca"
MODULUS: constant(Bytes[48]) = x"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
HALF_HIGH: constant(uint256) = 17282741772707453034394598013407712875
HALF_LOW: constant(uint256) = 80617075055843030690312053732876818007934237714091801549733396136033114903893
# EIP-198 header: base of 64 bytes, exponent of 1 byte, modulus of 48 bytes
MODEXP_HEADER: constant(Bytes[96]) = x"000000000000000000000000000000000000000000000000000000000000004000000000000000000000000000000000000000000000000000000000000000010000000000000000000000000000000000000000000000000000000000000030"

ZEROS_64: constant(Bytes[64]) = x"00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
ZEROS_16: constant(Bytes[16]) = x"00000000000000000000000000000000"

# domain separation tags, each followed by its length (RFC 9380 section 5.3.1)
DST_SIGNATURE: constant(Bytes[44]) = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b"
DST_POSSESSION: constant(Bytes[44]) = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_\x2b"
STATEMENT_LABEL: constant(Bytes[27]) = b"akashi/anchor-statement/v1\x00"

owner: public(address)
paused: public(bool)
pending_owner: public(address)
is_sealer: public(HashMap[address, bool])
threshold: public(uint256)
witness_count: public(uint256)
active_witnesses: public(uint256)
_heads: HashMap[bytes32, Head]
_witness_keys: HashMap[uint256, Bytes[128]]
_is_registered: HashMap[bytes32, bool]


@deploy
def __init__(sealer: address):
    """
    @notice The deployer owns the registry; `sealer` may submit at once (zero address: nobody). The threshold is 0.
    """
    self.owner = msg.sender
    log OwnershipTransferred(previous_owner=empty(address), owner=msg.sender)
    if sealer != empty(address):
        self.is_sealer[sealer] = True
        log SealerChanged(sealer=sealer, is_sealer=True)


# ---- checkpoints -----------------------------------------------------------------------------------------------


@external
def submit(
    origin_id: bytes32,
    size: uint64,
    root: bytes32,
    consistency_proof: DynArray[bytes32, 64],
    signer_bitmap: uint256,
    aggregate_signature: Bytes[256],
):
    """
    @notice Make (size, root) the head of a log. Only a sealer, only while not paused.
    @param origin_id SHA-256 of the log's origin text
    @param size number of leaves; larger than the last one
    @param root RFC 9162 root hash
    @param consistency_proof RFC 9162 section 2.1.4 path from the last checkpoint; empty for the first one
    @param signer_bitmap bit i set: witness i has signed `statement(origin_id, size, root)`
    @param aggregate_signature sum of their signatures, 256 bytes; empty if no bit is set
    """
    assert self.is_sealer[msg.sender], "not a sealer"
    assert not self.paused, "paused"
    previous: Head = self._heads[origin_id]
    assert size > previous.size, "size does not grow"
    if previous.size == 0:
        assert len(consistency_proof) == 0, "bad consistency proof"
    else:
        assert self._is_consistent(previous, size, root, consistency_proof), "bad consistency proof"
    self._check_witnesses(
        self._statement(origin_id, size, root, previous), signer_bitmap, aggregate_signature
    )
    self._heads[origin_id] = Head(size=size, root=root)
    log Anchored(
        origin_id=origin_id,
        size=size,
        root=root,
        previous_size=previous.size,
        previous_root=previous.root,
        signer_bitmap=signer_bitmap,
    )


@external
@view
def head(origin_id: bytes32) -> (uint64, bytes32):
    """
    @notice Size and root of the last checkpoint of a log; zero and zero if there is none.
    """
    last: Head = self._heads[origin_id]
    return last.size, last.root


@external
@view
def statement(origin_id: bytes32, size: uint64, root: bytes32) -> bytes32:
    """
    @notice What witnesses sign for the next checkpoint: SHA-256 over label, chain id, this contract, origin, size,
            root, and the size and root of the current head.
    """
    return self._statement(origin_id, size, root, self._heads[origin_id])


@internal
@view
def _statement(origin_id: bytes32, size: uint64, root: bytes32, previous: Head) -> bytes32:
    return sha256(
        concat(
            STATEMENT_LABEL,
            convert(chain.id, bytes32),
            convert(self, bytes32),
            origin_id,
            convert(size, bytes32),
            root,
            convert(previous.size, bytes32),
            previous.root,
        )
    )


@internal
@pure
def _node(left: bytes32, right: bytes32) -> bytes32:
    return sha256(concat(b"\x01", left, right))


@internal
@pure
def _is_consistent(previous: Head, size: uint64, root: bytes32, path: DynArray[bytes32, 64]) -> bool:
    # RFC 9162 section 2.1.4.2, for 0 < previous.size < size
    position: uint256 = convert(previous.size, uint256) - 1
    last: uint256 = convert(size, uint256) - 1
    for _: uint256 in range(MAX_PATH):
        if position & 1 == 0:
            break
        position >>= 1
        last >>= 1
    start: uint256 = 0
    old_root: bytes32 = previous.root
    # a power of two: the old root itself is the first element and is left out of the path
    if previous.size & (previous.size - 1) != 0:
        if len(path) == 0:
            return False
        old_root = path[0]
        start = 1
    new_root: bytes32 = old_root
    for i: uint256 in range(start, len(path), bound=MAX_PATH):
        if last == 0:
            return False
        if position & 1 == 1 or position == last:
            old_root = self._node(path[i], old_root)
            new_root = self._node(path[i], new_root)
            for _: uint256 in range(MAX_PATH):
                if position & 1 == 1 or position == 0:
                    break
                position >>= 1
                last >>= 1
        else:
            new_root = self._node(new_root, path[i])
        position >>= 1
        last >>= 1
    return last == 0 and old_root == previous.root and new_root == root


# ---- witnesses -------------------------------------------------------------------------------------------------


@external
def register_witness(public_key: Bytes[128], possession: Bytes[256]) -> uint256:
    """
    @notice Add a witness key; its number is the position of its bit. Only the owner.
    @param public_key point of G1, uncompressed in EIP-2537 encoding
    @param possession proof of possession: the key's signature over its own compressed form, tag BLS_POP_…
    """
    assert msg.sender == self.owner, "not the owner"
    assert len(public_key) == G1_BYTES and len(possession) == G2_BYTES, "bad length"
    assert keccak256(public_key) != keccak256(INFINITY_G1), "point at infinity"
    assert not self._is_registered[keccak256(public_key)], "registered already"
    number: uint256 = self.witness_count
    assert number < MAX_WITNESSES, "too many witnesses"
    hashed: Bytes[256] = self._hash_to_g2(self._compress(public_key), DST_POSSESSION)
    assert self._is_paired(possession, public_key, hashed), "no proof of possession"
    self._is_registered[keccak256(public_key)] = True
    self._witness_keys[number] = public_key
    self.witness_count = number + 1
    self.active_witnesses |= 1 << number
    log WitnessChanged(number=number, public_key=public_key, is_active=True)
    return number


@external
def set_witness_active(number: uint256, is_active: bool):
    """
    @notice Suspend a witness, or let it count again. Only the owner. Its number stays its own.
    """
    assert msg.sender == self.owner, "not the owner"
    assert number < self.witness_count, "no such witness"
    if is_active:
        self.active_witnesses |= 1 << number
    else:
        self.active_witnesses &= ~(1 << number)
    assert self._count(self.active_witnesses) >= self.threshold, "fewer witnesses than the threshold"
    log WitnessChanged(number=number, public_key=self._witness_keys[number], is_active=is_active)


@external
def set_threshold(threshold: uint256):
    """
    @notice How many witnesses must sign. Only the owner. 0 asks for none.
    """
    assert msg.sender == self.owner, "not the owner"
    assert threshold <= self._count(self.active_witnesses), "fewer witnesses than the threshold"
    self.threshold = threshold
    log ThresholdChanged(threshold=threshold)


@external
@view
def witness_key(number: uint256) -> Bytes[128]:
    """
    @notice Public key of a witness in EIP-2537 encoding; empty if there is none.
    """
    return self._witness_keys[number]


@internal
@view
def _check_witnesses(message: bytes32, signer_bitmap: uint256, aggregate_signature: Bytes[256]):
    assert signer_bitmap & ~self.active_witnesses == 0, "not an active witness"
    assert self._count(signer_bitmap) >= self.threshold, "too few witnesses"
    if signer_bitmap == 0:
        assert len(aggregate_signature) == 0, "bad aggregate signature"
        return
    assert len(aggregate_signature) == G2_BYTES, "bad aggregate signature"
    aggregate_key: Bytes[128] = b""
    for number: uint256 in range(MAX_WITNESSES):
        if (signer_bitmap >> number) & 1 == 1:
            if len(aggregate_key) == 0:
                aggregate_key = self._witness_keys[number]
            else:
                aggregate_key = raw_call(
                    G1_ADD,
                    concat(aggregate_key, self._witness_keys[number]),
                    max_outsize=128,
                    is_static_call=True,
                )
    assert len(aggregate_key) == G1_BYTES, "bad aggregate key"
    assert keccak256(aggregate_key) != keccak256(INFINITY_G1), "bad aggregate key"
    hashed: Bytes[256] = self._hash_to_g2(slice(message, 0, 32), DST_SIGNATURE)
    assert self._is_paired(aggregate_signature, aggregate_key, hashed), "bad aggregate signature"


@internal
@pure
def _count(bitmap: uint256) -> uint256:
    count: uint256 = 0
    for number: uint256 in range(MAX_WITNESSES):
        count += (bitmap >> number) & 1
    return count


# ---- BLS12-381 -------------------------------------------------------------------------------------------------


@internal
@view
def _is_paired(signature: Bytes[256], public_key: Bytes[128], hashed: Bytes[256]) -> bool:
    # e(-G1, signature) * e(public_key, hashed) == 1; the precompile refuses points outside curve and subgroup.
    # Where EIP-2537 is missing the call answers nothing, which is refused here.
    answer: Bytes[32] = raw_call(
        PAIRING,
        concat(MINUS_G1, signature, public_key, hashed),
        max_outsize=32,
        is_static_call=True,
    )
    return len(answer) == 32 and convert(answer, uint256) == 1


@internal
@view
def _hash_to_g2(message: Bytes[48], tag: Bytes[44]) -> Bytes[256]:
    # RFC 9380: expand_message_xmd(SHA-256, 256 bytes), four field elements, two maps, one addition (the map
    # precompile clears the cofactor)
    seed: bytes32 = sha256(concat(ZEROS_64, message, x"010000", tag))
    element: Bytes[64] = b""
    point: Bytes[256] = b""
    second: bytes32 = empty(bytes32)
    field: Bytes[64] = b""
    for i: uint256 in range(4):
        first: bytes32 = sha256(
            concat(convert(convert(seed, uint256) ^ convert(second, uint256), bytes32), self._byte(2 * i + 1), tag)
        )
        second = sha256(
            concat(convert(convert(seed, uint256) ^ convert(first, uint256), bytes32), self._byte(2 * i + 2), tag)
        )
        element = concat(
            ZEROS_16,
            raw_call(
                MODEXP,
                concat(MODEXP_HEADER, first, second, x"01", MODULUS),
                max_outsize=48,
                is_static_call=True,
            ),
        )
        if i % 2 == 0:
            field = element
        else:
            mapped: Bytes[256] = raw_call(
                MAP_TO_G2, concat(field, element), max_outsize=256, is_static_call=True
            )
            if i == 1:
                point = mapped
            else:
                point = raw_call(G2_ADD, concat(point, mapped), max_outsize=256, is_static_call=True)
    return point


@internal
@pure
def _byte(number: uint256) -> Bytes[1]:
    return slice(convert(number, bytes32), 31, 1)


@internal
@pure
def _compress(point: Bytes[128]) -> Bytes[48]:
    # x with the flags of the standard point encoding: compressed, and whether y is the larger root
    high: uint256 = convert(slice(point, 80, 16), uint256)
    low: uint256 = convert(slice(point, 96, 32), uint256)
    flags: uint256 = 128  # compressed
    if high > HALF_HIGH or (high == HALF_HIGH and low > HALF_LOW):
        flags |= 32  # the larger y
    first: uint256 = convert(slice(point, 16, 1), uint256) | flags
    return concat(slice(convert(first, bytes32), 31, 1), slice(point, 17, 47))


# ---- roles -----------------------------------------------------------------------------------------------------


@external
def offer_ownership(pending_owner: address):
    """
    @notice First step of handing the registry over; the zero address withdraws the offer. Only the owner.
    """
    assert msg.sender == self.owner, "not the owner"
    self.pending_owner = pending_owner
    log OwnershipOffered(owner=msg.sender, pending_owner=pending_owner)


@external
def accept_ownership():
    """
    @notice Second step: whom it was offered to takes it.
    """
    assert msg.sender == self.pending_owner, "not the pending owner"
    log OwnershipTransferred(previous_owner=self.owner, owner=msg.sender)
    self.owner = msg.sender
    self.pending_owner = empty(address)


@external
def set_sealer(sealer: address, is_sealer: bool):
    """
    @notice Name or dismiss who may submit. Only the owner.
    """
    assert msg.sender == self.owner, "not the owner"
    self.is_sealer[sealer] = is_sealer
    log SealerChanged(sealer=sealer, is_sealer=is_sealer)


@external
def set_paused(paused: bool):
    """
    @notice Stop and resume submissions; reading goes on. Only the owner.
    """
    assert msg.sender == self.owner, "not the owner"
    self.paused = paused
    log PauseChanged(paused=paused)
