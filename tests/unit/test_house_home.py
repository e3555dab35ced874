"""Where one city on one machine keeps its things."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from app.house.home import MAX_SOCKET_PATH, Home


def test_directories_are_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "house")
    home.create()
    for path in (home.root, home.tokens, home.jpki, home.logs, home.socket("any").parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path


def test_a_socket_stays_beside_its_home_while_the_kernel_allows(tmp_path: Path) -> None:
    home = Home(Path("/h"))
    assert home.socket("gate") == Path("/h/sockets/gate.sock")


def test_a_deep_home_gets_a_short_socket_of_its_own(tmp_path: Path) -> None:
    deep = Home(tmp_path / ("d" * 60) / ("e" * 60))
    other = Home(tmp_path / ("d" * 60) / ("f" * 60))
    path = deep.socket("gate")
    assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
    assert path != other.socket("gate")
    assert path == deep.socket("gate")
