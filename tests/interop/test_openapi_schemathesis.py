"""schemathesis asks the street door everything its description allows and forbids: no 5xx, no undocumented answer.

Twice: as a stranger (what anybody on the Internet can send), and as somebody whose ids exist and whose proofs hold, so
that the inside of the routes is reached. The seed is fixed. Positive controls: planted faults, each of which is found.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask, Response
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup

from mobile_api.openapi.document import build_document
from tests.support.door_house import PUBLIC_URL, House
from tests.support.insider_calls import Insider, Signing
from tests.support.insider_wallets import make_described_door, publish_for_wallets
from verifier.formats.names import AUTHORIZATION_REQUEST_TYPE

ANSWERS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
# A request to wallets is a text of its own media type.
schemathesis.serializer.alias(AUTHORIZATION_REQUEST_TYPE, "text/plain")
# A request of the right form is refused for many reasons (a point not on the curve, a proof missing), and rightly.
NOT_OURS = ["positive_data_acceptance"]
# A compact JWT or JWE is text like any other to a generator.
schemathesis.serializer.alias("application/jwt", "text/plain")
STEADY = settings(
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def make_door(tmp_path: Path) -> House:
    """A door that waits for nobody and counts no calls."""
    rates = (
        "rate_account",
        "rate_sign_up",
        "rate_nonce",
        "rate_request",
        "rate_mail",
        "rate_wallet",
        "rate_grant",
        "rate_presentation",
    )
    steady = {"phone_wait": 0, "city_wait": 0, "max_waiting_envelopes": 1000, **dict.fromkeys(rates, 100_000)}
    house = make_described_door(tmp_path, **steady)
    # A door without the city's metadata is 503 for wallets, and rightly.
    publish_for_wallets(house)
    return house


class DoorOnDemand:
    """The door as a WSGI application that is opened by its first caller: nothing is opened when tests are collected."""

    def __init__(self) -> None:
        self._open: tuple[Flask, tempfile.TemporaryDirectory[str]] | None = None

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if self._open is None:
            directory = tempfile.TemporaryDirectory(prefix="described-door-")
            self._open = make_door(Path(directory.name)).app, directory
        return self._open[0](environ, start)


stranger = schemathesis.openapi.from_dict(build_document(PUBLIC_URL))
stranger.app = DoorOnDemand()


@stranger.parametrize()
@STEADY
def test_a_stranger_gets_no_undocumented_answer(case: Any) -> None:
    case.call_and_validate(excluded_checks=[CHECKS.get_one(name) for name in NOT_OURS])


def ask(house: House, insider: Insider | None = None, *, only: str = "") -> set[tuple[str, int]]:
    """Every operation of the description (or one), valid and broken requests; which statuses came.

    Raises: FailureGroup, at the first answer that the description does not know.
    """
    app: Callable[..., Any] = house.app if insider is None else Signing(insider)
    description = schemathesis.openapi.from_wsgi("/openapi.json", app)
    seen: set[tuple[str, int]] = set()
    checks = [CHECKS.get_one(name) for name in ANSWERS]

    def one(case: Any) -> None:
        if insider is not None:
            insider.prepare(case)
        response = case.call()
        seen.add((case.operation.definition.raw["operationId"], response.status_code))
        case.validate_response(response, checks=checks)

    for result in description.get_all_operations():
        operation = result.ok()
        if only not in ("", operation.definition.raw["operationId"]):
            continue
        STEADY(given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))(one))()
        # nothing can be broken where nothing is asked for (GET /healthz)
        with contextlib.suppress(Unsatisfiable):
            STEADY(given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))(one))()
    return seen


def test_somebody_who_may_gets_no_undocumented_answer(tmp_path: Path) -> None:
    """Takes 20 to 25 s: every operation is asked many times, and each call brings ids and proofs made for it."""
    house = make_door(tmp_path)
    seen = ask(house, Insider(house))
    # the inside of every route was reached: each success of the description came at least once
    document = house.app.test_client().get("/openapi.json").json
    successes = {
        (operation["operationId"], int(status))
        for operations in document["paths"].values()
        for operation in operations.values()
        if isinstance(operation, dict)
        for status in operation["responses"]
        if status.startswith("2")
    }
    # the description's own address, which schemathesis does not ask a second time
    assert successes - seen == {("describe", 200)}


def broken() -> Response:
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param(broken, "500", id="an error of the server"),
        pytest.param(lambda: Response(status=418), "418", id="an undocumented status"),
        pytest.param(
            lambda: Response('{"status":"ok"}', content_type="text/plain"), "text/plain", id="a media type"
        ),
        pytest.param(
            lambda: Response('{"status":"fine"}', content_type="application/json"), "fine", id="a member"
        ),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, fault: Callable[[], Response], said: str) -> None:
    house = make_door(tmp_path)
    assert ask(house, only="alive") == {("alive", 200)}
    house.app.view_functions["health.alive"] = fault
    with pytest.raises(FailureGroup) as found:
        ask(house, only="alive")
    assert said in "".join(str(error) for error in found.value.exceptions) + str(found.value)


def test_a_fault_behind_the_proof_is_found_only_by_somebody_who_may(tmp_path: Path) -> None:
    house = make_door(tmp_path)
    genuine = house.app.view_functions["packages.fetch"]

    def planted(**parameters: str) -> Response:
        response = genuine(**parameters)
        response.content_type = "text/html"
        return response

    house.app.view_functions["packages.fetch"] = planted
    assert ("fetchPackage", 200) not in ask(house, only="fetchPackage")
    with pytest.raises(FailureGroup) as found:
        ask(house, Insider(house), only="fetchPackage")
    assert "text/html" in str(found.value.exceptions) + str(found.value)
