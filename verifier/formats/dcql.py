"""DCQL: what a verifier asks of a credential, which disclosures answer it, and whether an answer is whole.

Source: OpenID4VP 1.0 sections 6 and 7, as far as our own format dc+sd-jwt needs it: credentials, claims (paths,
values), claim_sets, credential_sets. Members that this module does not know or would have to leave undone
(trusted_authorities, multiple, other formats, credentials without holder binding) are refused, never skipped.
An index counts the places of the array as it was signed, so that it means the same before and after
elements were withheld.
Nothing here is trusted: signatures, issuer, time and holder are questions of `verifier.checks`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from verifier.errors import FormatError, LimitError
from verifier.formats.credential import Credential, Disclosure, peek_processed
from verifier.formats.encoding import JSON, parse_json
from verifier.formats.names import CREDENTIAL_TYP

MAX_QUERY_BYTES: Final = 32 << 10
MAX_CREDENTIALS: Final = 4
MAX_CLAIMS: Final = 64
MAX_OPTIONS: Final = 16
"""Claim sets of a credential, credential sets of a query, and options of such a set."""
MAX_PATH: Final = 8
MAX_VALUES: Final = 64
MAX_NAME: Final = 128
MAX_INDEX: Final = 255

_DIGESTS: Final = "_sd"
_ARRAY_DIGEST: Final = "..."
_RESERVED: Final = frozenset({_DIGESTS, "_sd_alg", _ARRAY_DIGEST})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")

PathPart = str | int | None
"""A name in an object, an index in an array, or None: every element of an array."""
Value = str | int | bool


@dataclass(frozen=True, slots=True)
class ClaimQuery:
    """One claim: its path, the values that will do (() = any), and its id where claim sets name it."""

    path: tuple[PathPart, ...]
    values: tuple[Value, ...] = ()
    id: str | None = None

    @property
    def text(self) -> str:
        """The path for people, e.g. income.total; * for every element."""
        return ".".join("*" if part is None else str(part) for part in self.path)


@dataclass(frozen=True, slots=True)
class CredentialQuery:
    """One credential: its id in the query, the types that will do, and the claims.

    claims      () = only what is in the clear
    claim_sets  ids of claims, the preferred set first; () = all of `claims`
    """

    id: str
    vct_values: tuple[str, ...]
    claims: tuple[ClaimQuery, ...] = ()
    claim_sets: tuple[tuple[str, ...], ...] = ()

    def options(self) -> tuple[tuple[ClaimQuery, ...], ...]:
        """The sets of claims that each answer this query, the preferred one first."""
        if not self.claim_sets:
            return (self.claims,)
        by_id = {claim.id: claim for claim in self.claims}
        return tuple(tuple(by_id[name] for name in names) for names in self.claim_sets)


@dataclass(frozen=True, slots=True)
class CredentialSet:
    """Sets of credential ids of which one has to be answered whole, unless it is not required."""

    options: tuple[tuple[str, ...], ...]
    required: bool = True


@dataclass(frozen=True, slots=True)
class DcqlQuery:
    """A query; without credential sets every credential has to be answered."""

    credentials: tuple[CredentialQuery, ...]
    credential_sets: tuple[CredentialSet, ...] = ()


def parse_dcql(data: bytes) -> DcqlQuery:
    """A DCQL query from JSON. Raises: LimitError, FormatError("bad-dcql" | "unsupported-dcql", …)."""
    return read_dcql(parse_json(data, max_bytes=MAX_QUERY_BYTES))


def read_dcql(value: JSON) -> DcqlQuery:
    """A DCQL query from parsed JSON. Raises: LimitError, FormatError("bad-dcql" | "unsupported-dcql")."""
    query = _object(value, {"credentials"}, {"credential_sets"})
    credentials = tuple(_credential(item) for item in _list(query["credentials"], MAX_CREDENTIALS))
    known = _unique([credential.id for credential in credentials])
    sets: tuple[CredentialSet, ...] = ()
    if "credential_sets" in query:
        items = _list(query["credential_sets"], MAX_OPTIONS)
        sets = tuple(_credential_set(item, known) for item in items)
    return DcqlQuery(credentials, sets)


def format_dcql(query: DcqlQuery) -> dict[str, JSON]:
    """Inverse of `read_dcql`, as JSON data."""
    value: dict[str, JSON] = {"credentials": [_credential_object(item) for item in query.credentials]}
    if query.credential_sets:
        value["credential_sets"] = [
            {"options": [list(option) for option in item.options], "required": item.required}
            for item in query.credential_sets
        ]
    return value


def select_for_query(credential: Credential, query: CredentialQuery) -> Credential:
    """The credential with the fewest disclosures that answer the first claim set it can answer.

    Raises: FormatError("other-vct" | "claim-not-held"), and what `peek_processed` raises.
    """
    view = _View(credential, query)
    missing: list[str] = []
    for option in query.options():
        found = {claim: view.find(claim) for claim in option}
        missing = [claim.text for claim, match in found.items() if not match.places]
        if not missing:
            keep = {digest for match in found.values() for digest in match.needed}
            kept = tuple(item for item in credential.disclosures if item.digest in keep)
            return Credential(credential.issuer_jwt, credential.jws, kept)
    raise FormatError("claim-not-held", f"the credential does not answer {', '.join(missing)}")


def check_presented(credential: Credential, query: CredentialQuery) -> None:
    """That a presentation answers one claim set whole.

    A claim that is an object or array counts only with everything in it: any digest left in it, a decoy too,
    is something withheld.
    Raises: FormatError("other-vct" | "missing-claim"), and what `peek_processed` raises.
    """
    view = _View(credential, query)
    missing: list[str] = []
    for option in query.options():
        missing = [claim.text for claim in option if not view.find(claim).is_whole]
        if not missing:
            return
    raise FormatError("missing-claim", f"asked for and not handed over: {', '.join(missing)}")


def check_answer(query: DcqlQuery, presented: Mapping[str, Credential]) -> None:
    """That presentations, by the id of their credential query, answer the whole query.

    Raises: FormatError("unexpected-credential" | "missing-credential"), and what `check_presented` raises.
    """
    asked = {credential.id: credential for credential in query.credentials}
    if not set(presented) <= set(asked):
        raise FormatError("unexpected-credential", "an answer to something that was not asked")
    for name, credential in presented.items():
        check_presented(credential, asked[name])
    sets = query.credential_sets or (CredentialSet((tuple(asked),)),)
    for wanted in sets:
        if wanted.required and not any(set(option) <= set(presented) for option in wanted.options):
            raise FormatError("missing-credential", "a credential that was asked for is missing")


@dataclass(frozen=True, slots=True)
class _Place:
    """A value as it was signed (it may still hold digests), and the digests of the way to it."""

    value: JSON
    way: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Match:
    """The places that a claim query names.

    needed    digests of the disclosures that lead to them and lie in them
    is_whole  there is one, and nothing that was asked for is withheld
    """

    places: tuple[_Place, ...]
    needed: frozenset[str]
    is_whole: bool


class _View:
    """A credential of one of the asked types, for looking up claims in it with or without disclosures."""

    def __init__(self, credential: Credential, query: CredentialQuery) -> None:
        # Processed once for its refusals only: nothing is looked up in a credential that RFC 9901 refuses.
        if peek_processed(credential).get("vct") not in query.vct_values:
            raise FormatError("other-vct", "a credential of another type")
        self._root: JSON = credential.jws.payload_object()
        self._by_digest = {disclosure.digest: disclosure for disclosure in credential.disclosures}

    def find(self, claim: ClaimQuery) -> _Match:
        """Section 7.1: walk the path; then keep what has one of the values."""
        places: tuple[_Place, ...] = (_Place(self._root),)
        withheld = False
        for part in claim.path:
            # Looked up before the step, which leaves withheld elements out. With values, one that fits is
            # enough, and elements that do not fit are rightly withheld.
            withheld = withheld or (part is None and not claim.values and self._withholds_elements(places))
            places = self._step(places, part)
        if claim.values:
            places = tuple(place for place in places if _fits(place.value, claim.values))
        inside = [self._digests(place.value) for place in places]
        needed = frozenset[str]().union(*(place.way for place in places), *inside)
        known = needed & set(self._by_digest)
        return _Match(places, known, bool(places) and not withheld and known == needed)

    def _step(self, places: tuple[_Place, ...], part: PathPart) -> tuple[_Place, ...]:
        kind = dict if isinstance(part, str) else list
        if not all(isinstance(place.value, kind) for place in places):
            return ()
        if isinstance(part, str):
            return tuple(found for place in places for found in self._member(place, part))
        elements = [self._elements(place) for place in places]
        if part is None:
            return tuple(found for row in elements for found in row if found is not None)
        return tuple(found for row in elements for found in row[part : part + 1] if found is not None)

    def _member(self, place: _Place, name: str) -> Iterable[_Place]:
        if name in place.value:
            yield _Place(place.value[name], place.way)
        for digest in place.value.get(_DIGESTS, []):
            disclosure = self._by_digest.get(digest)
            if disclosure is not None and disclosure.name == name:
                yield _below(place, disclosure)

    def _elements(self, place: _Place) -> list[_Place | None]:
        """The elements of an array in their signed places; None = withheld, or a decoy."""
        row: list[_Place | None] = []
        for item in place.value:
            if not _is_digest(item):
                row.append(_Place(item, place.way))
                continue
            disclosure = self._by_digest.get(item[_ARRAY_DIGEST])
            row.append(None if disclosure is None else _below(place, disclosure))
        return row

    def _withholds_elements(self, places: tuple[_Place, ...]) -> bool:
        arrays = [place for place in places if isinstance(place.value, list)]
        return any(element is None for place in arrays for element in self._elements(place))

    def _digests(self, value: JSON) -> frozenset[str]:
        """Every digest in a value, and in what the disclosures in it hold."""
        if isinstance(value, list):
            own = {item[_ARRAY_DIGEST] for item in value if _is_digest(item)}
            parts = [item for item in value if not _is_digest(item)]
        elif isinstance(value, dict):
            own = set(value.get(_DIGESTS, []))
            parts = [item for name, item in value.items() if name != _DIGESTS]
        else:
            return frozenset()
        parts += [self._by_digest[digest].value for digest in own if digest in self._by_digest]
        return frozenset(own).union(*(self._digests(part) for part in parts))


def _credential_object(query: CredentialQuery) -> dict[str, JSON]:
    value: dict[str, JSON] = {
        "id": query.id,
        "format": CREDENTIAL_TYP,
        "meta": {"vct_values": list(query.vct_values)},
    }
    if query.claims:
        value["claims"] = [_claim_object(claim) for claim in query.claims]
    if query.claim_sets:
        value["claim_sets"] = [list(names) for names in query.claim_sets]
    return value


def _claim_object(claim: ClaimQuery) -> dict[str, JSON]:
    value: dict[str, JSON] = {"path": list(claim.path)}
    if claim.id is not None:
        value["id"] = claim.id
    if claim.values:
        value["values"] = list(claim.values)
    return value


def _below(place: _Place, disclosure: Disclosure) -> _Place:
    return _Place(disclosure.value, place.way | {disclosure.digest})


def _is_digest(item: JSON) -> bool:
    return isinstance(item, dict) and _ARRAY_DIGEST in item


def _fits(value: JSON, values: tuple[Value, ...]) -> bool:
    # By type as well: in Python True == 1, in JSON it is not.
    return any(type(value) is type(wanted) and value == wanted for wanted in values)


def _credential(value: JSON) -> CredentialQuery:
    optional = {"claims", "claim_sets", "multiple", "trusted_authorities"}
    query = _object(value, {"id", "format", "meta"}, optional | {"require_cryptographic_holder_binding"})
    if query["format"] != CREDENTIAL_TYP:
        raise FormatError("unsupported-dcql", f"only {CREDENTIAL_TYP} is understood")
    if "trusted_authorities" in query or query.get("multiple", False) is not False:
        raise FormatError("unsupported-dcql", "trusted_authorities and multiple are not understood")
    if query.get("require_cryptographic_holder_binding", True) is not True:
        raise FormatError("unsupported-dcql", "a credential is never taken without holder binding")
    meta = _object(query["meta"], {"vct_values"}, set())
    types = tuple(_name(item) for item in _list(meta["vct_values"], MAX_VALUES))
    claims = tuple(_claim(item) for item in _list(query["claims"], MAX_CLAIMS)) if "claims" in query else ()
    if len({claim.path for claim in claims}) != len(claims):
        raise FormatError("bad-dcql", "a claim is asked for twice")
    ids = _unique([claim.id for claim in claims if claim.id is not None])
    sets: tuple[tuple[str, ...], ...] = ()
    if "claim_sets" in query:
        if not claims or len(ids) != len(claims):
            raise FormatError("bad-dcql", "claim sets need claims that each have an id")
        sets = tuple(_ids(item, MAX_CLAIMS, ids) for item in _list(query["claim_sets"], MAX_OPTIONS))
    return CredentialQuery(_id(query["id"]), types, claims, sets)


def _claim(value: JSON) -> ClaimQuery:
    query = _object(value, {"path"}, {"id", "values"})
    path = tuple(_part(item) for item in _list(query["path"], MAX_PATH))
    if not isinstance(path[0], str):
        raise FormatError("bad-dcql", "a path begins with a name")
    values = tuple(_list(query["values"], MAX_VALUES)) if "values" in query else ()
    # bool is an int as well; floats never come out of `parse_json`.
    if not all(isinstance(item, str | int) for item in values):
        raise FormatError("bad-dcql", "values are text, integers, true or false")
    return ClaimQuery(path, values, _id(query["id"]) if "id" in query else None)


def _credential_set(value: JSON, known: frozenset[str]) -> CredentialSet:
    item = _object(value, {"options"}, {"required"})
    required = item.get("required", True)
    if not isinstance(required, bool):
        raise FormatError("bad-dcql", "required is true or false")
    options = tuple(_ids(option, MAX_CREDENTIALS, known) for option in _list(item["options"], MAX_OPTIONS))
    return CredentialSet(options, required)


def _ids(value: JSON, limit: int, known: frozenset[str]) -> tuple[str, ...]:
    names = [_id(item) for item in _list(value, limit)]
    if not _unique(names) <= known:
        raise FormatError("bad-dcql", "a set names something that is not in the query")
    return tuple(names)


def _unique(names: list[str]) -> frozenset[str]:
    if len(set(names)) != len(names):
        raise FormatError("bad-dcql", "an id appears twice")
    return frozenset(names)


def _id(value: JSON) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise FormatError("bad-dcql", "an id is 1 to 64 letters, digits, _ and -")
    return value


def _part(value: JSON) -> PathPart:
    if value is None:
        return None
    if isinstance(value, str):
        if value in _RESERVED:
            raise FormatError("bad-dcql", "a reserved name in a path")
        return _name(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INDEX:
        raise FormatError("bad-dcql", f"a path holds names, null and indexes up to {MAX_INDEX}")
    return value


def _name(value: JSON) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME:
        raise FormatError("bad-dcql", f"a name is 1 to {MAX_NAME} characters")
    return value


def _object(value: JSON, required: set[str], optional: set[str]) -> dict[str, JSON]:
    if not isinstance(value, dict) or not required <= set(value) <= required | optional:
        raise FormatError("bad-dcql", "wrong members")
    return value


def _list(value: JSON, limit: int) -> list[JSON]:
    if not isinstance(value, list) or not value:
        raise FormatError("bad-dcql", "a list that is missing or empty")
    if len(value) > limit:
        raise LimitError("dcql-too-large", f"more than {limit} items in one list")
    return value
