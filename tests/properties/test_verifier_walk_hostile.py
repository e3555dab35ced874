"""Whatever a file is, `examine` reports: never another error than ours, and never VALID for altered bytes."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.verifier_bundles import NOW, changed, mini_city
from verifier import OFFLINE, ONLINE, OfflineSources, Verdict, examine
from verifier.formats.bundle import parse_bundle
from verifier.formats.encoding import base64url_encode
from verifier.formats.jose import es256_signer
from verifier.sources import StaticSources

CITY = mini_city()
TRUST = CITY.trust()
REQUEST = CITY.request()
BUNDLE = CITY.issue(with_page=False)
MEMBERS = ["credential", "evidence", "inclusion", "status", "anchor", "timestamp", "certificate"]
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def look(file, **options):
    values = {"policy": OFFLINE, "sources": OfflineSources(), "request": None} | options
    return examine(file, trust=TRUST, now=NOW, key=CITY.desk, **values)


@SETTINGS
@given(
    data=st.binary(max_size=400),
    begin=st.sampled_from([b"", b"PK\x03\x04", b"%PDF-1.7\n", b'{"ciphertext":"']),
)
def test_any_file(data, begin):
    assert look(begin + data).verdict is Verdict.NOT_VALID


@SETTINGS
@given(member=st.sampled_from(MEMBERS), data=st.data())
def test_any_change_of_a_member(member, data):
    original = getattr(parse_bundle(BUNDLE), member)
    begin = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(begin, min(len(original), begin + 8)))
    replacement = data.draw(st.binary(max_size=8))
    altered = original[:begin] + replacement + original[end:]
    if altered == original or not altered:
        return
    if member == "status" and altered.strip(b"\r\n") == original:
        return
    assert look(changed(BUNDLE, **{member: altered})).verdict is not Verdict.VALID


@SETTINGS
@given(
    page=st.binary(max_size=2000).map(lambda tail: CITY.page[:3000] + tail)
    | st.integers(0, len(CITY.page) - 1).map(lambda n: CITY.page[:n])
)
def test_any_page(page):
    assert look(page).verdict is Verdict.NOT_VALID


@SETTINGS
@given(
    payload=st.binary(max_size=200) | st.just(b'{"aud":"\\ud800","iat":1,"nonce":"n","sd_hash":"\\udfff"}')
)
def test_any_key_binding(payload):
    from verifier.errors import FormatError
    from verifier.formats.jose import build_jws

    binding = build_jws({"typ": "kb+jwt"}, payload, es256_signer(CITY.holder))
    try:
        file = changed(BUNDLE, key_binding=binding)
    except FormatError:
        return
    assert look(file, request=REQUEST).verdict is Verdict.NOT_VALID


ANSWERS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=5)
    | st.sampled_from(["0x1", "0x", hex(992011)]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["hash", "logs", "status", "topics", "data", "logIndex", "address"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
CALLS = ["eth_chainId", "eth_blockNumber", "eth_getCode", "eth_getBlockByNumber", "eth_getTransactionReceipt"]


@SETTINGS
@given(calls=st.dictionaries(st.sampled_from(CALLS), ANSWERS, max_size=5))
def test_any_node(calls):
    """A node may say anything: it can deny or delay, but not make another error."""
    sources = StaticSources(CITY.online().files, {**CITY.online().chain_calls, **calls})
    look(BUNDLE, policy=ONLINE, sources=sources)


@SETTINGS
@given(
    token=st.binary(max_size=200)
    | st.binary(max_size=60).map(lambda b: b".".join([base64url_encode(b).encode()] * 3))
)
def test_any_list_server(token):
    online = CITY.online()
    sources = StaticSources(dict.fromkeys(online.files, token), online.chain_calls)
    report = look(BUNDLE, policy=ONLINE, sources=sources)
    assert report.find("status").outcome != "pass"
    assert report.find("status").outcome != "fail"
