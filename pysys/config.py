"""Typed configuration: defaults < private files < environment, and where each value came from.

`parameters/defaults.yaml` and `control.yaml` hold every key; `parameters/private/*.yaml` override them; an environment
variable `PYSYS_<KEY>` overrides both. An empty value overrides too. An unknown key or a wrong type stops the program.
"""

import difflib
import hashlib
import json
import os
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from pysys.config_files import default_database_url, find_home, layers, merged
from pysys.domain.errors import ConfigError
from pysys.domain.spreads import Spread, SpreadLeg

_ALGO_FOLDER = Path(__file__).parent / "execution" / "algos"
_NOT_A_CHOICE = {  # algos that only the type of an order chooses
    "limit": "it works an order's own limit price, so an order without one would never be sent; orders of type limit "
    "are worked by it already",
    "panic": "it keeps no limit at all; only orders of type panic are worked by it",
}


CLASSIC_SYSTEM = "sysproduction.strategy_code.run_system_classic.runSystemClassic"  # the established name of ours


def algo_files() -> list[str]:
    """Names of the execution algos there are: each is a file of its own."""
    return sorted(module.name for module in pkgutil.iter_modules([str(_ALGO_FOLDER)]))


def algo_choices() -> list[str]:
    """Algos that may be configured, as the default or for an instrument."""
    return [name for name in algo_files() if name not in _NOT_A_CHOICE]


def _choice_of_algo(name: str) -> str:
    if name in _NOT_A_CHOICE:
        raise ValueError(f"{name} cannot be chosen: {_NOT_A_CHOICE[name]}")
    if name not in algo_choices():
        raise ValueError(f"there is no algo {name!r}; choose one of {', '.join(algo_choices())}")
    return name


AlgoName = Annotated[str, AfterValidator(_choice_of_algo)]

ENVIRONMENT_PREFIX = "PYSYS_"
# Environment variables that are not configuration: they place the program or describe one run to its kernel.
_OTHER_VARIABLES = {"PYSYS_HOME", "PYSYS_PRIVATE", "PYSYS_SHARED"}
_RUN_VARIABLES = "PYSYS_RUN_"

OBSOLETE_KEYS = {
    "mongo_host": "the database is one URL now: set database_url",
    "mongo_db": "the database is one URL now: set database_url",
    "mongo_dump_directory": "dumps are written below offsystem_backup_directory",
    "echo_directory": "output of every run is kept in outputs_directory",
    "echo_extension": "output of every run is kept in outputs_directory",
    "csv_backup_directory": "csv backups are written below offsystem_backup_directory",
}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class LoadBacktests(_Section):
    object: str
    function: str


class ReportingCode(_Section):
    function: str


class StrategyEntry(_Section):
    """One strategy of `strategy_list`."""

    load_backtests: LoadBacktests | None = None
    reporting_code: ReportingCode | None = None


class CapitalAllocation(_Section):
    """How total capital is split; keys other than `function` are passed to it."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)
    function: str
    strategy_weights: dict[str, float] = Field(default_factory=dict)


class Method(_Section):
    """One method of a process. For run_systems and run_strategy_order_generator the name is a strategy's."""

    frequency: float = Field(default=0, ge=0)  # minutes between two runs
    max_executions: int = -1  # -1 is without end
    run_on_completion_only: bool = False
    object: str | None = None
    backtest_config_filename: str | None = None


class SpreadLegEntry(_Section):
    """One leg of a spread instrument: the market, and contracts for one unit bought, signed."""

    instrument: str
    ratio: int
    chain: int = Field(default=0, ge=0)  # contracts after the priced one, of a spread within one market


class SpreadDefinition(_Section):
    """A spread traded as an instrument. All legs in one market, or every leg in a market of its own."""

    legs: list[SpreadLegEntry]
    description: str = ""  # empty: its legs in words
    asset_class: str = ""  # empty: that of its first leg

    def spread(self, code: str) -> Spread:
        """Raises ValueError for legs that are no spread."""
        return Spread(code, tuple(SpreadLeg(leg.instrument, leg.ratio, leg.chain) for leg in self.legs))


class Config(_Section):
    """Every setting of one system. The names are the configuration keys."""

    # where things are
    database_url: str = ""  # empty: SQLite in outputs_directory/state
    outputs_directory: str = "outputs"
    backtest_store_directory: str = ""  # empty: outputs_directory/backtests
    offsystem_backup_directory: str = ""

    # broker
    broker: Literal["paper"] = "paper"
    broker_account: str = ""  # empty: whatever account the broker logs in to
    broker_environment: Literal["paper", "live"] = "paper"  # orders go nowhere else
    ib_ipaddress: str = "127.0.0.1"
    ib_port: int = 4001
    ib_idoffset: int = 100
    paper_market: Literal["synthetic", "stored"] = "synthetic"
    paper_seed: int = 2
    paper_starting_cash: float = Field(default=1_000_000.0, gt=0)
    paper_prices_url: str = ""  # database a stored paper market takes its prices from
    clock: Literal["system", "exchange"] = "system"  # exchange: the simulated time of a replay or demo

    # money
    base_currency: str = "USD"
    production_capital_method: Literal["full", "half", "fixed"] = "full"
    capital_change_limit: float = Field(default=0.1, gt=0)  # fraction of the last broker value
    percentage_vol_target: float = Field(default=16.0, gt=0)
    strategy_list: dict[str, StrategyEntry] = Field(default_factory=dict)
    strategy_capital_allocation: CapitalAllocation | None = None

    # prices
    max_price_spike: float = Field(default=8.0, gt=0)
    intraday_frequency: Literal["H"] = "H"
    auto_roll: Literal["suggest", "auto"] = "suggest"

    # execution
    default_algo: AlgoName = "best"
    algo_overrides: dict[str, AlgoName] = Field(default_factory=dict)  # by instrument
    spread_instruments: dict[str, SpreadDefinition] = Field(default_factory=dict)
    force_roll_deadline_days: float = Field(default=3.0, gt=0)  # then a spread that does not trade is rolled in legs
    stack_handler_interval: float = Field(default=1.0, gt=0)  # seconds between two looks at the orders

    # processes
    timezone: str = "UTC"
    run_deadline_minutes: float = Field(default=120.0, gt=0)
    run_memory_limit_mb: int = Field(default=8192, gt=0)
    process_configuration_start_time: dict[str, time] = Field(default_factory=dict)
    process_configuration_stop_time: dict[str, time] = Field(default_factory=dict)
    process_configuration_previous_process: dict[str, str] = Field(default_factory=dict)
    process_configuration_machine: dict[str, str] = Field(default_factory=dict)
    process_configuration_methods: dict[str, dict[str, Method]] = Field(default_factory=dict)

    # mail and other vendors; secrets never show
    email_address: str = ""
    email_to: str = ""
    email_server: str = ""
    email_port: int = 587
    email_pwd: SecretStr = SecretStr("")
    quandl_key: SecretStr = SecretStr("")
    barchart_key: SecretStr = SecretStr("")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone such as Europe/London") from error
        return value

    @field_validator("spread_instruments")
    @classmethod
    def _spreads_that_can_be_traded(cls, value: dict[str, SpreadDefinition]) -> dict[str, SpreadDefinition]:
        for code, definition in value.items():
            for leg in definition.spread(code).markets:
                if leg in value:
                    raise ValueError(f"{code}: its leg {leg} is a spread itself; name the markets of its contracts")
        return value

    @property
    def backtest_defaults(self) -> dict[str, Any]:
        """What a strategy's own file need not say again."""
        return {"percentage_vol_target": self.percentage_vol_target, "base_currency": self.base_currency}

    @cached_property
    def spreads(self) -> Mapping[str, Spread]:
        """`spread_instruments` as spreads, by code."""
        return {code: definition.spread(code) for code, definition in sorted(self.spread_instruments.items())}

    @field_validator("base_currency")
    @classmethod
    def _currency_code(cls, value: str) -> str:
        if len(value) != 3 or not value.isupper():
            raise ValueError(f"{value!r} is not a three-letter currency code such as USD")
        return value


def outputs_folder(home: Path, config: Config) -> Path:
    """Where executed notebooks, reports and state are kept."""
    return home / config.outputs_directory


def backtests_folder(home: Path, config: Config) -> Path:
    """Where the backtests of production runs are saved, a folder a strategy."""
    named = config.backtest_store_directory
    return home / named if named else outputs_folder(home, config) / "backtests"


def config_hash(config: Config) -> str:
    """Changes when any setting does; secrets take no part, they show as stars."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value came from: a file (relative to the parameters folder), a variable, or the program."""

    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration, the folder it belongs to, and the origin of each key."""

    home: Path
    config: Config
    origins: Mapping[str, Origin]

    @property
    def parameters(self) -> Path:
        return self.home / "parameters"

    @property
    def notebooks(self) -> Path:
        return self.home / "notebooks"

    @property
    def outputs(self) -> Path:
        return outputs_folder(self.home, self.config)

    @property
    def state(self) -> Path:
        """Folder of the databases."""
        return self.outputs / "state"

    @property
    def backtests(self) -> Path:
        """Folder of saved backtests."""
        return backtests_folder(self.home, self.config)

    @property
    def database_url(self) -> str:
        return self.config.database_url or default_database_url(self.outputs)

    @property
    def config_hash(self) -> str:
        return config_hash(self.config)

    def rows(self) -> list[tuple[str, str, str]]:
        """(key, value, origin) of every setting, secrets masked."""
        values = self.config.model_dump(mode="json")
        return [(key, json.dumps(values[key]), self.origins[key].source) for key in sorted(values)]


def load_settings(home: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Read all layers of configuration and check them.

    Raises ConfigError naming file, key and the nearest valid name.
    """
    folder = home if home is not None else find_home()
    variables = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins = {key: Origin("program") for key in Config.model_fields}
    for path, content in layers(folder, variables):
        for key, value in content.items():
            _check_key(str(key), str(path))
            values[key] = merged(values.get(key), value)
            origins[key] = Origin(_relative(path, folder))
    for name, key, value in _from_environment(variables):
        values[key] = value
        origins[key] = Origin(name)
    return Settings(folder, _validate(values, origins), origins)


def _relative(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if path.is_relative_to(home) else str(path)


def _check_key(key: str, where: str) -> None:
    if key in Config.model_fields:
        return
    if key in OBSOLETE_KEYS:
        raise ConfigError(f"{where}: {key} is no longer used; {OBSOLETE_KEYS[key]}.")
    near = difflib.get_close_matches(key, Config.model_fields, n=1)
    hint = f" Did you mean {near[0]}?" if near else " `pysys config` lists every key."
    raise ConfigError(f"{where}: unknown key {key}.{hint}")


def _from_environment(variables: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    found = []
    for name, text in sorted(variables.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in _OTHER_VARIABLES or name.startswith(_RUN_VARIABLES):
            continue
        key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
        _check_key(key, f"environment variable {name}")
        is_text = Config.model_fields[key].annotation in (str, SecretStr)
        try:
            found.append((name, key, text if is_text else yaml.safe_load(text)))
        except yaml.YAMLError as error:
            raise ConfigError(f"environment variable {name}: cannot be read: {error}") from error
    return found


def _validate(values: dict[str, Any], origins: Mapping[str, Origin]) -> Config:
    fields = Config.model_fields
    given = {key: _empty_value(key) if value is None else value for key, value in values.items()}
    try:
        return Config.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"]]
        source = origins[place[0]].source if place[0] in fields else "configuration"
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown entry {place[-1]}"
        raise ConfigError(f"{source}: {'.'.join(place)}: {message}.") from error


def _empty_value(key: str) -> Any:
    """What `key:` with nothing behind it means: empty text, list or table, or else the key cannot be empty."""
    annotation = Config.model_fields[key].annotation
    if annotation in (str, SecretStr):
        return ""
    if getattr(annotation, "__origin__", None) is dict:
        return {}
    return None
