"""Parameters of a notebook are typed and strict."""

from typing import Any

import pytest

from pysys.control.parameters import check_parameters, declared_parameters
from pysys.domain.errors import ConfigError

CELL = """
contract: str = "20240900"
count: int = 1
spike: float = 8.0
ratio: float | None = None
dry: bool = False
instruments: list[str] = []  # all
depths: list[int] = [1]
mode: Literal["suggest", "auto"] = "suggest"
weights: dict[str, float] = {}
plain = 3
plain_list = ["A"]
"""
DECLARED = declared_parameters(CELL, "cell")


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("contract", "20230900", "20230900"),  # stays text, digits or not
        ("contract", "", ""),
        ("count", "7", 7),
        ("count", 7, 7),
        ("spike", "6", 6.0),
        ("spike", 6, 6),
        ("ratio", "", None),
        ("ratio", "0.5", 0.5),
        ("ratio", None, None),
        ("dry", "true", True),
        ("dry", "False", False),
        ("instruments", "CORN, GOLD", ["CORN", "GOLD"]),
        ("instruments", "20230900", ["20230900"]),
        ("instruments", "", []),
        ("instruments", ["CORN"], ["CORN"]),
        ("depths", "1,2", [1, 2]),
        ("mode", "auto", "auto"),
        ("weights", "{'a': 0.5}", {"a": 0.5}),
        ("plain", "4", 4),
        ("plain_list", "B,C", ["B", "C"]),
    ],
)
def test_a_value_is_read_as_the_declared_type(name: str, given: object, expected: Any) -> None:
    accepted = check_parameters(DECLARED, {name: given}, "notebook")[name]
    assert accepted == expected
    assert type(accepted) is type(expected)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("contract", 20230900),
        ("count", "7.5"),
        ("count", "x"),
        ("count", True),
        ("spike", "nan"),
        ("spike", "inf"),
        ("spike", True),
        ("dry", "yes"),
        ("dry", 1),
        ("instruments", [1]),
        ("depths", "1,x"),
        ("mode", "always"),
        ("weights", "a=0.5"),
        ("weights", {"a": "b"}),
        ("ratio", "half"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, given: object) -> None:
    with pytest.raises(ConfigError, match=name):
        check_parameters(DECLARED, {name: given}, "notebook")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no parameter instrument\. Did you mean instruments\?"):
        check_parameters(DECLARED, {"instrument": "CORN"}, "update_fx_prices")


def test_secrets_are_refused_by_name_and_by_value() -> None:
    for name, value in (("email_pwd", "x"), ("contract", "with hunter22 inside")):
        with pytest.raises(ConfigError, match="looks like a secret") as refusal:
            check_parameters(DECLARED, {name: value}, "notebook", secrets=["hunter22"])
        assert "hunter22" not in str(refusal.value)


@pytest.mark.parametrize("source", ["import os", "x: Path = 1", "x = open('f')", "x: int", "for x in y: pass", "x = ("])
def test_a_parameters_cell_holds_only_declarations(source: str) -> None:
    with pytest.raises(ConfigError, match="parameters cell cannot be read"):
        declared_parameters(source, "a.ipynb")
