"""python-tuf, an independent implementation, reads and verifies our trust list as TUF root metadata."""

import datetime as dt

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from tests.support.verifier_bundles import NOW, mini_city, raw_public
from verifier.errors import TrustError
from verifier.formats.compromise import CompromisedKey, FormerLog
from verifier.formats.signed_note import build_vkey
from verifier.formats.trust_list import EXTRA_FIELD, parse_trust_list
from verifier.trust import build_trust_list, load_trust_list, sign_trust_list, verify_trust_list


def test_it_reads_every_field():
    city = mini_city()
    metadata = Metadata[Root].from_bytes(city.trust_data(version=7))
    root = metadata.signed
    assert (root.type, root.version, root.consistent_snapshot) == ("root", 7, True)
    assert root.expires.replace(tzinfo=dt.UTC) == NOW + dt.timedelta(days=365)
    assert {role.threshold for role in root.roles.values()} == {2}
    assert root.unrecognized_fields[EXTRA_FIELD]["city"] == "992011"


def test_its_signatures_verify_and_its_bytes_are_ours():
    data = mini_city().trust_data()
    metadata = Metadata[Root].from_bytes(data)
    metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    assert encode_canonical(metadata.signed.to_dict()).encode() == parse_trust_list(data).signed


def test_it_refuses_what_we_refuse():
    metadata = Metadata[Root].from_bytes(mini_city().trust_data(signers=1))
    with pytest.raises(UnsignedMetadataError):
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)


def test_its_client_follows_our_versions():
    """The client of python-tuf (its trusted set) accepts version 2 after 1, and not 3 after 1."""
    city = mini_city()
    trusted = TrustedMetadataSet(city.trust_data(version=1), EnvelopeType.METADATA)
    assert trusted.update_root(city.trust_data(version=2)).version == 2
    with pytest.raises(Exception, match="version"):
        trusted.update_root(city.trust_data(version=4))


def test_what_it_signs_we_accept():
    """A list that python-tuf wrote again (other layout, other order) still verifies."""
    data = mini_city().trust_data()
    again = Metadata[Root].from_bytes(data).to_bytes()
    assert load_trust_list(again).content == load_trust_list(data).content
    assert load_trust_list(sign_trust_list(again, mini_city().signers[2])).version == 1


def test_text_with_line_ends_signs_the_same_in_both():
    """A witness policy has line ends: there OLPC and RFC 8785 differ, and a wrong choice would show."""
    city = mini_city()
    data = city.trust_data(witnesses=city.witness_policy)
    metadata = Metadata[Root].from_bytes(data)
    metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    assert load_trust_list(data).content.witness_policy.quorum == "w1"


def test_its_client_follows_a_change_of_signers_as_we_do():
    """Old and new threshold: accepted by both; one of the two alone: refused by both."""
    city = mini_city()
    fresh = [Ed25519PrivateKey.generate() for _ in range(3)]
    draft = build_trust_list(
        city.content(),
        version=2,
        expires=NOW + dt.timedelta(days=365),
        keys=[raw_public(key) for key in fresh],
        threshold=2,
    )
    first = city.trust_data()
    for signers, good in (
        ((*city.signers[:2], *fresh[:2]), True),
        (fresh, False),
        (city.signers, False),
        ((*city.signers[:1], *fresh), False),
        ((*city.signers, *fresh[:1]), False),
    ):
        data = draft
        for key in signers:
            data = sign_trust_list(data, key)
        trusted = TrustedMetadataSet(first, EnvelopeType.METADATA)
        if good:
            assert (
                trusted.update_root(data).version == verify_trust_list(data, load_trust_list(first)).version
            )
            continue
        with pytest.raises(UnsignedMetadataError):
            trusted.update_root(data)
        with pytest.raises(TrustError, match="threshold"):
            verify_trust_list(data, load_trust_list(first))


def test_it_reads_stolen_keys_and_former_logs_under_the_signature():
    city = mini_city()
    theft = CompromisedKey(bytes(32), city.log_vkey.name, 7, NOW, "鍵の盗難 / key stolen")
    former = FormerLog(build_vkey("door.mihon.example/0", bytes(32)), 7, bytes(32), True, NOW, "前の台帳")
    data = city.trust_data(compromised=(theft,), former_logs=(former,))
    metadata = Metadata[Root].from_bytes(data)
    metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    assert encode_canonical(metadata.signed.to_dict()).encode() == parse_trust_list(data).signed
    assert metadata.signed.unrecognized_fields[EXTRA_FIELD]["compromised"][0]["from_index"] == 7
    edited = Metadata[Root].from_bytes(data.replace(b'"from_index": 7', b'"from_index": 8'))
    with pytest.raises(UnsignedMetadataError):
        edited.signed.verify_delegate(Root.type, edited.signed_bytes, edited.signatures)
