"""Configuration: later layers win, empty values too, and nothing unknown is passed over."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pysys.config import Settings, load_settings
from pysys.control.environment import kernel_environment, secrets_of
from pysys.domain.errors import ConfigError

DEFAULTS = """
database_url: ''
base_currency: USD
max_price_spike: 8
algo_overrides: {GOLD: market}
strategy_list: {example: {}}
process_configuration_start_time: {default: '00:01', run_systems: '20:05'}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "parameters" / "private").mkdir(parents=True)
    (tmp_path / "parameters" / "defaults.yaml").write_text(DEFAULTS)
    return tmp_path


def load(home: Path, private: str = "", environment: Mapping[str, str] | None = None) -> Settings:
    (home / "parameters" / "private" / "mine.yaml").write_text(private)
    return load_settings(home, environment if environment is not None else {})


@pytest.mark.parametrize(
    ("key", "private", "variable", "value", "origin"),
    [
        ("max_price_spike", "", None, 8.0, "parameters/defaults.yaml"),
        ("max_price_spike", "max_price_spike: 6", None, 6.0, "parameters/private/mine.yaml"),
        ("max_price_spike", "max_price_spike: 6", "5", 5.0, "PYSYS_MAX_PRICE_SPIKE"),
        ("intraday_frequency", "", None, "H", "program"),
        ("strategy_list", "strategy_list: {}", None, {}, "parameters/private/mine.yaml"),
        ("strategy_list", "strategy_list:", None, {}, "parameters/private/mine.yaml"),
        ("strategy_list", "", "{}", {}, "PYSYS_STRATEGY_LIST"),
        ("algo_overrides", "algo_overrides: {CORN: best}", None, {"GOLD": "market", "CORN": "best"}, None),
        ("algo_overrides", "", "{CORN: best}", {"CORN": "best"}, "PYSYS_ALGO_OVERRIDES"),
        ("base_currency", "base_currency: EUR", "GBP", "GBP", "PYSYS_BASE_CURRENCY"),
        ("email_to", "", "", "", "PYSYS_EMAIL_TO"),
        ("outputs_directory", "", "2024", "2024", "PYSYS_OUTPUTS_DIRECTORY"),  # text stays text
    ],
)
def test_the_last_layer_wins_and_its_origin_is_known(
    home: Path, key: str, private: str, variable: str | None, value: object, origin: str | None
) -> None:
    environment = {} if variable is None else {f"PYSYS_{key.upper()}": variable}
    settings = load(home, private, environment)
    assert getattr(settings.config, key) == value
    if origin is not None:
        assert settings.origins[key].source == origin


@pytest.mark.parametrize(
    ("private", "environment", "message"),
    [
        ("max_price_spikes: 6", {}, r"mine\.yaml: unknown key max_price_spikes\. Did you mean max_price_spike\?"),
        ("", {"PYSYS_BASE_CURENCY": "EUR"}, r"PYSYS_BASE_CURENCY: unknown key .* Did you mean base_currency\?"),
        ("mongo_host: 127.0.0.1", {}, "mongo_host is no longer used; .* set database_url"),
        ("max_price_spike: lots", {}, r"mine\.yaml: max_price_spike: "),
        ("max_price_spike:", {}, r"mine\.yaml: max_price_spike: "),
        ("max_price_spike: -1", {}, "greater than 0"),
        ("base_currency: usd", {}, "three-letter currency code"),
        ("timezone: Mars/Olympus", {}, "IANA time zone"),
        ("process_configuration_start_time: {run_systems: 'soon'}", {}, "process_configuration_start_time.run_systems"),
        ("process_configuration_methods: {run_systems: {a: {frequencies: 1}}}", {}, "unknown entry frequencies"),
        ("- a list", {}, "must be a table"),
        (
            "spread_instruments: {X: {legs: [{instrument: GOLD, ratio: 1}]}}",
            {},
            "spread_instruments: spread X has 1 legs",
        ),
        (
            "spread_instruments: {X: {legs: [{instrument: GOLD, ratio: 1}, {instrument: GOLD, ratio: 0, chain: 1}]}}",
            {},
            "spread X has a leg with ratio 0",
        ),
        (
            "spread_instruments: {X: {legs: [{instrument: GOLD, ratio: 1}, {instrument: Y, ratio: -1}]}, "
            "Y: {legs: [{instrument: GOLD, ratio: 1}, {instrument: BUND, ratio: -1}]}}",
            {},
            "X: its leg Y is a spread itself",
        ),
        ("{", {}, "not valid YAML"),
        ("max_price_spike: 8\nmax_price_spike: 9", {}, "line [0-9]+: max_price_spike is there already"),
        ("", {"PYSYS_MAX_PRICE_SPIKE": "{"}, "PYSYS_MAX_PRICE_SPIKE: cannot be read"),
    ],
)
def test_what_cannot_be_meant_stops_the_program(
    home: Path, private: str, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(home, private, environment)


def test_secrets_show_nowhere_and_change_no_hash_but_are_there(home: Path) -> None:
    settings = load(home, "email_pwd: canary-1\ndatabase_url: postgresql://me:canary-2@host/db")
    other = load(home, "email_pwd: canary-3\ndatabase_url: postgresql://me:canary-2@host/db")
    assert "canary-1" not in repr(settings) + str(settings.rows())
    assert settings.config_hash == other.config_hash
    assert settings.config.email_pwd.get_secret_value() == "canary-1"
    assert sorted(secrets_of(settings)) == ["canary-1", "canary-2"]


def test_a_wrong_secret_is_not_repeated_in_the_error(home: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(home, "email_pwd: [canary]")
    assert "canary" not in str(refusal.value)


def test_a_kernel_finds_the_settings_it_was_started_with(home: Path) -> None:
    settings = load(
        home,
        "email_pwd: canary\ntimezone: Europe/London\nprocess_configuration_stop_time: {default: '23:50'}\n"
        "algo_overrides: {}",
    )
    plain = load(home)
    moved = Settings(home, settings.config, plain.origins)
    found = load_settings(home, kernel_environment(moved))
    assert found.config == settings.config
