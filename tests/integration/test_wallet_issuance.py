"""Issuance to a wallet inside the city: from the card-signed wish to the set of copies, with real gate, signer and log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mobile_api.messages import Notice
from tests.support.city_rooms import Device
from tests.support.wallet_rooms import (
    Wallet,
    WalletHouse,
    code_of,
    credentials,
    notification_id,
    wallet_house,
)


@pytest.fixture
def house(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WalletHouse]:
    yield from wallet_house(tmp_path, tmp_path_factory)


@pytest.fixture
def device(house: WalletHouse) -> Device:
    return house.rooms.registered(house.rooms.people[0])


def test_a_wallet_gets_its_copies(house: WalletHouse, device: Device) -> None:
    ready, grant = house.offer(device)
    assert len(code_of(ready)) == 43
    wallet = Wallet(house, grant)
    answer = wallet.ask(wallet.request())
    assert len(credentials(answer)) == 3
    assert len(notification_id(answer)) == 22
    notices = [b.code for a, b in house.rooms.answers(device.account) if isinstance(b, Notice)]
    assert notices == ["wallet-copy"]
