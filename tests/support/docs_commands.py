"""The commands our documents name, and the argparse trees they must exist in."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import re
from collections.abc import Callable

from tests.support.docs_text import Page

# `akashi city create --residents N`, `akashi-verify verify FILE`; the words after the programme.
COMMAND = re.compile(r"(?:^|[\s(`$;&|])(?:\S*/)?(akashi-verify|akashi)((?: +[^\s`;&|)<>#]+)*)", re.MULTILINE)


class _CaughtError(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__()
        self.parser = parser


def catch_parser(module: str, entry: str = "main") -> argparse.ArgumentParser:
    """The parser that a command line builds, caught at the moment it is asked to parse."""
    main: Callable[[list[str]], object] = getattr(importlib.import_module(module), entry)

    def caught(self: argparse.ArgumentParser, *_args: object, **_kwargs: object) -> argparse.Namespace:
        raise _CaughtError(self)

    original = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args
    argparse.ArgumentParser.parse_args = caught  # type: ignore[method-assign]
    argparse.ArgumentParser.parse_known_args = caught  # type: ignore[method-assign,assignment]
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            main(["--help"])
    except _CaughtError as error:
        return error.parser
    finally:
        argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_args = original  # type: ignore[method-assign]
    raise AssertionError(f"{module}.{entry} does not use argparse")


def named_commands(page: Page) -> list[tuple[str, list[str]]]:
    """(programme, words) of every command a page shows in code."""
    places = [page.code(), *page.spans()]
    found = [(match[1], match[2].split()) for place in places for match in COMMAND.finditer(place)]
    return [(programme, words) for programme, words in found if words]


def command_fault(parser: argparse.ArgumentParser, words: list[str]) -> str | None:
    """Why a command line of a document could not be typed, or None. Placeholders stand for any value."""
    here = parser
    for word in words:
        if word in ("…", "...", "\\"):
            return None
        if word.startswith("-"):
            option = word.split("=")[0]
            known = {name for action in here._actions for name in action.option_strings}
            if option not in known:
                return f"{here.prog} has no option {option}"
            continue
        below = [action for action in here._actions if isinstance(action, argparse._SubParsersAction)]
        if not below:
            continue
        if word in below[0].choices:
            here = below[0].choices[word]
        elif word.isupper() or word.startswith(("<", "{", "[")):
            return None
        else:
            return f"{here.prog} has no command {word}"
    return None
