"""The committed artefacts are what the source gives, every function is documented, and the gas table of
contracts/README.md is what is measured, to the unit.
"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

from chain.abi import load_artefact

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"


def load(name: str):
    specification = importlib.util.spec_from_file_location(f"contracts_{name}", CONTRACTS / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_artefacts_are_what_the_source_gives() -> None:
    compile_module = load("compile")
    artefact = compile_module.compile_artefact()
    for path in compile_module.ARTEFACTS:
        assert path.read_bytes() == artefact, f"{path.name}: run python contracts/compile.py --write"
    assert json.loads(artefact) == load_artefact()


def test_the_signature_of_submit_is_the_one_that_was_promised() -> None:
    submit = next(item for item in load_artefact()["abi"] if item.get("name") == "submit")
    assert [item["type"] for item in submit["inputs"]] == [
        "bytes32",
        "uint64",
        "bytes32",
        "bytes32[]",
        "uint256",
        "bytes",
    ]


def test_every_function_and_argument_is_documented() -> None:
    import vyper
    from vyper.compiler import compile_code

    source = (CONTRACTS / "AnchorRegistry.vy").read_text()
    output = compile_code(source, output_formats=["userdoc", "devdoc"])
    assert vyper.__version__ == "0.4.3"
    assert output["userdoc"]["notice"]
    notices = {name.split("(")[0] for name in output["userdoc"]["methods"]}
    documented = {name.split("(")[0]: item for name, item in output["devdoc"]["methods"].items()}
    functions = [item for item in load_artefact()["abi"] if item["type"] == "function"]
    getters = set(re.findall(r"^(\w+): public\(", source, re.MULTILINE))
    assert len(functions) - len(getters) >= 18
    for item in functions:
        if item["name"] in getters:
            continue  # its own line in the source says what it is
        assert item["name"] in notices, item["name"]
        about = documented.get(item["name"], {})
        assert set(about.get("params", {})) == {argument["name"] for argument in item["inputs"]}, item["name"]
        assert len(about.get("returns", {})) == (1 if item["outputs"] else 0), item["name"]


def test_the_gas_table_is_what_is_measured() -> None:
    gas = load("gas")
    rows = gas.measure()
    assert gas.format_table(rows) in (CONTRACTS / "README.md").read_text(), "run python contracts/gas.py"
    witnessed = [amount for what, amount in rows if "5 witnesses" in what]
    assert len(witnessed) == 6
    assert max(witnessed) <= 400_000
    runtime_bytes = dict(rows)["runtime bytes"]
    assert runtime_bytes <= 24_576, "EIP-170: no chain takes more"


def test_the_measured_trees_are_real_ones() -> None:
    gas = load("gas")
    from chain.tree import EMPTY_TREE, extend
    from verifier.formats.merkle import verify_consistency

    assert gas.compute_root(300) == extend(EMPTY_TREE, [bytes(32)] * 300).tree.root()
    for old, new in ((1, 2), (300, 400), (1_000_000, 1_000_100)):
        path = gas.compute_consistency(old, new)
        verify_consistency(old, gas.compute_root(old), new, gas.compute_root(new), path)
