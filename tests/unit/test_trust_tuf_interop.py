"""python-tuf, an independent implementation, reads and verifies our trust list as TUF root metadata."""

import datetime as dt

import pytest
from securesystemslib.formats import encode_canonical
from tuf.api.exceptions import UnsignedMetadataError
from tuf.api.metadata import Metadata, Root
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from tests.support.verifier_bundles import NOW, mini_city
from verifier.formats.trust_list import EXTRA_FIELD, parse_trust_list
from verifier.trust import load_trust_list, sign_trust_list


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
