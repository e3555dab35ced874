# pragma version 0.4.3
# pragma evm-version prague
# SPDX-License-Identifier: Apache-2.0
"""
@title AnchorRegistry
@license Apache-2.0
@notice For each log (origin) the last checkpoint, and nothing that contradicts it: a new checkpoint is taken only
        with an RFC 9162 consistency proof from the last one, checked here, and with the signatures of at least
        `threshold` registered witnesses, checked here.
@dev Who is trusted for what: a sealer can send checkpoints that extend the log, and can send none; it cannot rewrite.
     The owner names sealers, witnesses and the threshold, and can pause; it cannot change or remove a checkpoint.

     Witness mode 0, BLS: min-pk, ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ (IETF
     draft-irtf-cfrg-bls-signature), one aggregate signature, verified through EIP-2537; keys are registered only with
     a proof of possession in that suite. Points are in EIP-2537 encoding: G1 128 bytes, G2 256 bytes.
     Witness mode 1, ECDSA: one secp256k1 signature a witness, verified with ecrecover, for chains without EIP-2537.
     Both modes sign the same statement; each has its own list of witnesses. The signature of `submit` is final.

     Delay: what takes power away (pause, dismiss a sealer, cancel) acts at once. Everything else is a change that the
     owner announces by one call, and carries out by the same call again once `delay` seconds have passed and before
     `GRACE` more have. Conditions are checked at both calls. Changes act at once with a delay of 0, which only the
     demo chain may have, and during set-up, which the first checkpoint ends: before it there is nothing to protect.
     Handing the registry over waits during set-up too.
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

event AccountChanged:
    number: indexed(uint256)
    account: indexed(address)
    is_active: bool

event ModeChanged:
    mode: uint256

# what will change, told before it does; `data` is what the change sets, in ABI encoding (for a BLS key its 128 bytes)
event ChangeAnnounced:
    change_id: indexed(bytes32)
    kind: String[16]
    data: Bytes[128]
    due_at: uint256

event ChangeExecuted:
    change_id: indexed(bytes32)

event ChangeCancelled:
    change_id: indexed(bytes32)

MAX_WITNESSES: constant(uint256) = 16
MAX_PATH: constant(uint256) = 64
G1_BYTES: constant(uint256) = 128
G2_BYTES: constant(uint256) = 256
ECDSA_BYTES: constant(uint256) = 65
MAX_SIGNATURE: constant(uint256) = 1040  # 65 bytes for each of 16 witnesses

# how witnesses sign
BLS: constant(uint256) = 0
ECDSA: constant(uint256) = 1

# seconds; the demo chain is the embedded one, and stand-ins for it, under the demo city's number
DEMO_CHAIN_ID: constant(uint256) = 992011
MIN_DELAY: constant(uint256) = 86_400
MAX_DELAY: constant(uint256) = 30 * 86_400
GRACE: constant(uint256) = 14 * 86_400
# flags
IS_PAUSED: constant(uint256) = 1
IS_SET_UP: constant(uint256) = 2
IS_ECDSA: constant(uint256) = 4

# precompiles of EIP-198 and EIP-2537
MODEXP: constant(address) = 0x0000000000000000000000000000000000000005
G1_ADD: constant(address) = 0x000000000000000000000000000000000000000b
G2_ADD: constant(address) = 0x000000000000000000000000000000000000000d
PAIRING: constant(address) = 0x000000000000000000000000000000000000000F
MAP_TO_G2: constant(address) = 0x0000000000000000000000000000000000000011

INFINITY_G1: constant(Bytes[128]) = x"0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
# the generator of G1, negated; the field modulus p, and its two halves; (p - 1) / 2, for the sign of y
MINUS_G1: constant(Bytes[128]) = x"0000000000000000000000000000000017f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb00000000000000000000000000000000114d1d6855d545a8aa7d76c8cf2e21f267816aef1db507c96655b9d5caac42364e6f38ba0ecb751bad54dcd6b939c2ca"
MODULUS: constant(Bytes[48]) = x"1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab"
MODULUS_HIGH: constant(uint256) = 34565483545414906068789196026815425751
MODULUS_LOW: constant(uint256) = 45442060874369865957053122457065728162598490762543039060009208264153100167851
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
# half the order of secp256k1: of the two signatures (r, s) and (r, n - s) only the one with the smaller s counts
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168

owner: public(address)
pending_owner: public(address)
delay: public(immutable(uint256))
is_sealer: public(HashMap[address, bool])
threshold: public(uint256)
witness_count: public(uint256)
active_witnesses: public(uint256)
account_count: public(uint256)
active_accounts: public(uint256)
due_at: public(HashMap[bytes32, uint256])
_flags: uint256
_heads: HashMap[bytes32, Head]
_witness_keys: HashMap[uint256, Bytes[128]]
_is_registered: HashMap[bytes32, bool]
_accounts: HashMap[uint256, address]
_is_registered_account: HashMap[address, bool]


@deploy
def __init__(sealer: address, delay_seconds: uint256, witness_mode: uint256):
    """
    @notice The deployer owns the registry. The threshold is 0 until witnesses are registered.
    @param sealer who may submit at once; the zero address: nobody
    @param delay_seconds how long changes are announced before they act: 1 to 30 days; on the demo chain 0 too
    @param witness_mode 0: BLS signatures (needs EIP-2537); 1: ECDSA signatures
    """
    assert delay_seconds <= MAX_DELAY, "delay too long"
    if chain.id != DEMO_CHAIN_ID:
        assert delay_seconds >= MIN_DELAY, "delay too short"
    assert witness_mode <= ECDSA, "no such mode"
    delay = delay_seconds
    if witness_mode == ECDSA:
        self._flags = IS_ECDSA
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
    aggregate_signature: Bytes[MAX_SIGNATURE],
):
    """
    @notice Make (size, root) the head of a log. Only a sealer, only while not paused.
    @param origin_id SHA-256 of the log's origin text
    @param size number of leaves; larger than the last one
    @param root RFC 9162 root hash
    @param consistency_proof RFC 9162 section 2.1.4 path from the last checkpoint; empty for the first one
    @param signer_bitmap bit i set: witness i has signed `statement(origin_id, size, root)`
    @param aggregate_signature BLS: the sum of their signatures, 256 bytes. ECDSA: r, s, v of each, 65 bytes, in the
           order of their numbers. Empty if no bit is set
    """
    assert self.is_sealer[msg.sender], "not a sealer"
    flags: uint256 = self._flags
    assert flags & IS_PAUSED == 0, "paused"
    if flags & IS_SET_UP == 0:
        self._flags = flags | IS_SET_UP
    previous: Head = self._heads[origin_id]
    assert size > previous.size, "size does not grow"
    if previous.size == 0:
        assert len(consistency_proof) == 0, "consistency proof too long"
    else:
        self._check_consistency(previous, size, root, consistency_proof)
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
    @param origin_id SHA-256 of the log's origin text
    @return number of leaves, and RFC 9162 root hash
    """
    last: Head = self._heads[origin_id]
    return last.size, last.root


@external
@view
def statement(origin_id: bytes32, size: uint64, root: bytes32) -> bytes32:
    """
    @notice What witnesses sign for the next checkpoint: SHA-256 over label, chain id, this contract, origin, size,
            root, and the size and root of the current head.
    @param origin_id SHA-256 of the log's origin text
    @param size number of leaves of the next checkpoint
    @param root its RFC 9162 root hash
    @return 32 bytes: the message in the BLS suite, the digest for ECDSA
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
def _check_consistency(previous: Head, size: uint64, root: bytes32, path: DynArray[bytes32, 64]):
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
        assert len(path) != 0, "consistency proof too short"
        old_root = path[0]
        start = 1
    new_root: bytes32 = old_root
    for i: uint256 in range(start, len(path), bound=MAX_PATH):
        assert last != 0, "consistency proof too long"
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
    assert last == 0, "consistency proof too short"
    assert old_root == previous.root and new_root == root, "bad consistency proof"


# ---- witnesses -------------------------------------------------------------------------------------------------


@external
def register_witness(public_key: Bytes[128], possession: Bytes[256]) -> uint256:
    """
    @notice Add a BLS witness key; its number is the position of its bit. Only the owner; after the delay.
    @param public_key point of G1, uncompressed in EIP-2537 encoding
    @param possession proof of possession: the key's signature over its own compressed form, tag BLS_POP_…
    @return the number that the key has, or would have if it is only announced now
    """
    self._check_owner()
    assert len(public_key) == G1_BYTES and len(possession) == G2_BYTES, "bad length"
    assert keccak256(public_key) != keccak256(INFINITY_G1), "point at infinity"
    assert not self._is_registered[keccak256(public_key)], "registered already"
    number: uint256 = self.witness_count
    assert number < MAX_WITNESSES, "too many witnesses"
    hashed: Bytes[256] = self._hash_to_g2(self._compress(public_key), DST_POSSESSION)
    if not self._is_paired(possession, public_key, hashed):
        self._check_coordinates(slice(public_key, 0, 64))
        self._check_coordinates(slice(public_key, 64, 64))
        self._check_pair(concat(public_key, hashed))
        self._check_point(possession)
        raise "no proof of possession"
    if self._is_due("witness key", public_key):
        self._is_registered[keccak256(public_key)] = True
        self._witness_keys[number] = public_key
        self.witness_count = number + 1
        self.active_witnesses |= 1 << number
        log WitnessChanged(number=number, public_key=public_key, is_active=True)
    return number


@external
def set_witness_active(number: uint256, is_active: bool):
    """
    @notice Suspend a BLS witness, or let it count again. Only the owner; after the delay. Its number stays its own.
    @param number position of its bit
    @param is_active whether its signature counts
    """
    self._check_owner()
    assert number < self.witness_count, "no such witness"
    active: uint256 = self._with_bit(self.active_witnesses, number, is_active)
    if self._mode() == BLS:
        assert self._count(active) >= self.threshold, "fewer witnesses than the threshold"
    if self._is_due("witness active", abi_encode(number, is_active)):
        self.active_witnesses = active
        log WitnessChanged(number=number, public_key=self._witness_keys[number], is_active=is_active)


@external
def register_account(account: address) -> uint256:
    """
    @notice Add an ECDSA witness; its number is the position of its bit. Only the owner; after the delay. Signatures
            are not added up in this mode, so no key can cancel another and no proof of possession is asked.
    @param account address of its secp256k1 key
    @return the number that the account has, or would have if it is only announced now
    """
    self._check_owner()
    assert account != empty(address), "zero address"
    assert not self._is_registered_account[account], "registered already"
    number: uint256 = self.account_count
    assert number < MAX_WITNESSES, "too many witnesses"
    if self._is_due("account", abi_encode(account)):
        self._is_registered_account[account] = True
        self._accounts[number] = account
        self.account_count = number + 1
        self.active_accounts |= 1 << number
        log AccountChanged(number=number, account=account, is_active=True)
    return number


@external
def set_account_active(number: uint256, is_active: bool):
    """
    @notice Suspend an ECDSA witness, or let it count again. Only the owner; after the delay. Its number stays its own.
    @param number position of its bit
    @param is_active whether its signature counts
    """
    self._check_owner()
    assert number < self.account_count, "no such witness"
    active: uint256 = self._with_bit(self.active_accounts, number, is_active)
    if self._mode() == ECDSA:
        assert self._count(active) >= self.threshold, "fewer witnesses than the threshold"
    if self._is_due("account active", abi_encode(number, is_active)):
        self.active_accounts = active
        log AccountChanged(number=number, account=self._accounts[number], is_active=is_active)


@external
def set_threshold(threshold: uint256):
    """
    @notice How many witnesses must sign. Only the owner; after the delay.
    @param threshold at most the number of active witnesses of the mode; 0 asks for none
    """
    self._check_owner()
    assert threshold <= self._count(self._active(self._mode())), "fewer witnesses than the threshold"
    if self._is_due("threshold", abi_encode(threshold)):
        self.threshold = threshold
        log ThresholdChanged(threshold=threshold)


@external
def set_mode(mode: uint256):
    """
    @notice How witnesses sign from now on; the threshold stays. Only the owner; after the delay.
    @param mode 0: BLS; 1: ECDSA
    """
    self._check_owner()
    assert mode <= ECDSA, "no such mode"
    assert self._count(self._active(mode)) >= self.threshold, "fewer witnesses than the threshold"
    if self._is_due("mode", abi_encode(mode)):
        if mode == ECDSA:
            self._flags |= IS_ECDSA
        else:
            self._flags &= ~IS_ECDSA
        log ModeChanged(mode=mode)


@external
@view
def mode() -> uint256:
    """
    @notice How witnesses sign.
    @return 0: BLS; 1: ECDSA
    """
    return self._mode()


@external
@view
def witness_key(number: uint256) -> Bytes[128]:
    """
    @notice Public key of a BLS witness.
    @param number position of its bit
    @return point of G1 in EIP-2537 encoding; empty if there is none
    """
    return self._witness_keys[number]


@external
@view
def witness_account(number: uint256) -> address:
    """
    @notice Account of an ECDSA witness.
    @param number position of its bit
    @return its address; zero if there is none
    """
    return self._accounts[number]


@internal
@view
def _mode() -> uint256:
    if self._flags & IS_ECDSA == 0:
        return BLS
    return ECDSA


@internal
@view
def _active(mode: uint256) -> uint256:
    if mode == BLS:
        return self.active_witnesses
    return self.active_accounts


@internal
@pure
def _with_bit(bitmap: uint256, number: uint256, is_set: bool) -> uint256:
    if is_set:
        return bitmap | (1 << number)
    return bitmap & ~(1 << number)


@internal
@view
def _check_witnesses(message: bytes32, signer_bitmap: uint256, signatures: Bytes[MAX_SIGNATURE]):
    mode: uint256 = self._mode()
    assert signer_bitmap & ~self._active(mode) == 0, "not an active witness"
    count: uint256 = self._count(signer_bitmap)
    assert count >= self.threshold, "too few witnesses"
    if signer_bitmap == 0:
        assert len(signatures) == 0, "signature without signers"
    elif mode == BLS:
        assert len(signatures) == G2_BYTES, "bad length"
        self._check_aggregate(message, signer_bitmap, slice(signatures, 0, 256))
    else:
        assert len(signatures) == count * ECDSA_BYTES, "bad length"
        self._check_each(message, signer_bitmap, signatures)


@internal
@view
def _check_each(message: bytes32, signer_bitmap: uint256, signatures: Bytes[MAX_SIGNATURE]):
    # one account a bit, and no account has two bits: nobody is counted twice
    start: uint256 = 0
    for number: uint256 in range(MAX_WITNESSES):
        if (signer_bitmap >> number) & 1 == 1:
            r: uint256 = convert(slice(signatures, start, 32), uint256)
            s: uint256 = convert(slice(signatures, start + 32, 32), uint256)
            v: uint256 = convert(slice(signatures, start + 64, 1), uint256)
            assert s <= HALF_ORDER, "malleable witness signature"
            # where the signature is impossible ecrecover answers the zero address, which no witness has
            assert ecrecover(message, v, r, s) == self._accounts[number], "bad witness signature"
            start += ECDSA_BYTES


@internal
@view
def _check_aggregate(message: bytes32, signer_bitmap: uint256, aggregate_signature: Bytes[256]):
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
    if not self._is_paired(aggregate_signature, aggregate_key, hashed):
        self._check_point(aggregate_signature)
        raise "bad aggregate signature"


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
    is_answered: bool = False
    answer: Bytes[32] = b""
    is_answered, answer = raw_call(
        PAIRING,
        concat(MINUS_G1, signature, public_key, hashed),
        max_outsize=32,
        is_static_call=True,
        revert_on_failure=False,
    )
    return is_answered and len(answer) == 32 and convert(answer, uint256) == 1


# Why was it not paired? Only what is refused anyway comes by here, so the words cost the others nothing.
@internal
@view
def _check_point(point: Bytes[256]):
    assert keccak256(point) != keccak256(concat(INFINITY_G1, INFINITY_G1)), "point at infinity"
    for i: uint256 in range(4):
        self._check_coordinates(slice(point, 64 * i, 64))
    self._check_pair(concat(MINUS_G1, point))


@internal
@view
def _check_pair(pair: Bytes[384]):
    # the precompile knows curve and subgroup, and one point of the pair is known to be good
    is_answered: bool = False
    answer: Bytes[32] = b""
    is_answered, answer = raw_call(
        PAIRING, pair, max_outsize=32, is_static_call=True, revert_on_failure=False
    )
    assert is_answered, "not a point of the group"
    assert len(answer) == 32, "no EIP-2537 here"


@internal
@pure
def _check_coordinates(element: Bytes[64]):
    high: uint256 = convert(slice(element, 0, 32), uint256)
    low: uint256 = convert(slice(element, 32, 32), uint256)
    assert high < MODULUS_HIGH or (high == MODULUS_HIGH and low < MODULUS_LOW), "not a field element"


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


# ---- roles and their changes -----------------------------------------------------------------------------------


@external
def offer_ownership(pending_owner: address):
    """
    @notice First step of handing the registry over; replaces an earlier offer. Only the owner.
    @param pending_owner who may take it after the delay; the zero address withdraws the offer
    """
    self._check_owner()
    if self.pending_owner != empty(address):
        withdrawn: bytes32 = self._change_id("owner", abi_encode(self.pending_owner))
        self.due_at[withdrawn] = 0
        log ChangeCancelled(change_id=withdrawn)
    self.pending_owner = pending_owner
    log OwnershipOffered(owner=msg.sender, pending_owner=pending_owner)
    if pending_owner != empty(address):
        self._announce("owner", abi_encode(pending_owner))


@external
def accept_ownership():
    """
    @notice Second step: whom it was offered to takes it, after the delay.
    """
    assert msg.sender == self.pending_owner, "not the pending owner"
    self._execute(self._change_id("owner", abi_encode(msg.sender)))
    log OwnershipTransferred(previous_owner=self.owner, owner=msg.sender)
    self.owner = msg.sender
    self.pending_owner = empty(address)


@external
def set_sealer(sealer: address, is_sealer: bool):
    """
    @notice Name who may submit, after the delay; or dismiss, at once. Only the owner.
    @param sealer the account
    @param is_sealer true names, false dismisses
    """
    self._check_owner()
    if not is_sealer or self._is_due("sealer", abi_encode(sealer)):
        self.is_sealer[sealer] = is_sealer
        log SealerChanged(sealer=sealer, is_sealer=is_sealer)


@external
def set_paused(paused: bool):
    """
    @notice Stop and resume submissions, at once; reading goes on. Only the owner.
    @param paused true stops
    """
    self._check_owner()
    if paused:
        self._flags |= IS_PAUSED
    else:
        self._flags &= ~IS_PAUSED
    log PauseChanged(paused=paused)


@external
def cancel(change_id: bytes32):
    """
    @notice Withdraw an announced change. Only the owner.
    @param change_id from the event ChangeAnnounced
    """
    self._check_owner()
    assert self.due_at[change_id] != 0, "not announced"
    self.due_at[change_id] = 0
    log ChangeCancelled(change_id=change_id)
    pending: address = self.pending_owner
    if pending != empty(address) and change_id == self._change_id("owner", abi_encode(pending)):
        self.pending_owner = empty(address)
        log OwnershipOffered(owner=msg.sender, pending_owner=empty(address))


@external
@view
def paused() -> bool:
    """
    @notice Whether submissions are stopped.
    @return true while they are
    """
    return self._flags & IS_PAUSED != 0


@external
@view
def is_set_up() -> bool:
    """
    @notice Whether the set-up is over: a checkpoint of any log has been taken, and changes wait for the delay.
    @return true from the first checkpoint on
    """
    return self._flags & IS_SET_UP != 0


@internal
@view
def _check_owner():
    assert msg.sender == self.owner, "not the owner"


@internal
@pure
def _change_id(kind: String[16], data: Bytes[128]) -> bytes32:
    return keccak256(abi_encode(kind, data))


@internal
def _is_due(kind: String[16], data: Bytes[128]) -> bool:
    # true: carry it out now; false: it is announced now. A call too early or too late is refused.
    if delay == 0 or self._flags & IS_SET_UP == 0:
        return True
    change_id: bytes32 = self._change_id(kind, data)
    due_at: uint256 = self.due_at[change_id]
    if due_at == 0 or block.timestamp > due_at + GRACE:
        self._announce(kind, data)
        return False
    self._execute(change_id)
    return True


@internal
def _announce(kind: String[16], data: Bytes[128]):
    change_id: bytes32 = self._change_id(kind, data)
    due_at: uint256 = block.timestamp + delay
    self.due_at[change_id] = due_at
    log ChangeAnnounced(change_id=change_id, kind=kind, data=data, due_at=due_at)


@internal
def _execute(change_id: bytes32):
    due_at: uint256 = self.due_at[change_id]
    assert due_at != 0, "not announced"
    assert block.timestamp >= due_at, "delay not over"
    assert block.timestamp <= due_at + GRACE, "announced too long ago"
    self.due_at[change_id] = 0
    log ChangeExecuted(change_id=change_id)
