"""The command line. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not allowed now.

Everything slow is imported by the command that needs it.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pysys.clock import SystemClock
from pysys.domain.errors import ConfigError, PysysError

if TYPE_CHECKING:
    from pysys.config import Settings
    from pysys.control.outcome import RunOutcome
    from pysys.rehearsal.days import Summary
    from pysys.systems.backtest_config import BacktestConfig
    from pysys.systems.market_data import MarketData

UNEXPECTED = 1
WRONG_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. An error is one or two sentences on stderr, its traceback in a file."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            result = cli.main(args=arguments, prog_name="pysys", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except click.ClickException as error:
        click.echo(error.format_message(), err=True)
        return WRONG_USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return UNEXPECTED
    except PysysError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    except Exception as error:
        kept = _keep_traceback()
        where = f" The traceback is in {kept}." if kept is not None else ""
        click.echo(f"{type(error).__name__}: {' '.join(str(error).split())}.{where}", err=True)
        return UNEXPECTED


def _show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """The sentence alone; where in the code it was said helps nobody here."""
    click.echo(f"Warning: {message}", err=True)


def _keep_traceback() -> Path | None:
    """Append the present traceback to errors.log of the outputs; None when there is nowhere to write."""
    try:
        path = _settings().outputs / "errors.log"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{SystemClock().now():%Y-%m-%d %H:%M:%S} UTC\n{traceback.format_exc()}\n")
    except (OSError, PysysError):
        return None
    return path


def _settings() -> Settings:
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # it would look for some in every installed package
    from pysys.config import load_settings

    return load_settings()


def _names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [part.strip() for part in value.split(",") if part.strip()]


def _pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in values:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE.")
        if name in pairs:
            raise click.BadParameter(f"{name} is given twice.")
        pairs[name] = value
    return pairs


def _day(_context: click.Context, _parameter: click.Parameter, value: datetime | None) -> date | None:
    return None if value is None else value.date()


_instruments = click.option("--instruments", callback=_names, help="Codes, comma separated. Default: all.")
_parameters = click.option(
    "-p", "parameters", multiple=True, callback=_pairs, metavar="NAME=VALUE", help="A parameter."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pysys")
def cli() -> None:
    """Systematic futures trading: from research in a notebook to a portfolio traded every day."""


# --- setting up -------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--environment", default="production", show_default=True, help="What this database is for.")
def init(environment: str) -> None:
    """Make folders and database, and load instruments and roll parameters."""
    from pysys.control.setup import initialise

    click.echo(initialise(_settings(), environment))


@cli.command("import-prices")
@click.argument("folder", type=click.Path(path_type=Path))
@_instruments
def import_prices(folder: Path, instruments: list[str] | None) -> None:
    """Import price files in the established CSV layout from FOLDER."""
    settings = _settings()
    from pysys.data.importing import import_prices as import_files
    from pysys.store.database import require_current
    from pysys.store.repository import Author
    from pysys.store.unit import Store

    _require_folder(folder)
    store = Store(settings.database_url, Author("import_prices"))
    try:
        require_current(store.engine)
        report = import_files(store, folder, instruments=instruments, progress=_show_progress)
    finally:
        store.close()
    click.echo(report.table().to_string(index=False))
    report.raise_if_incomplete()


@cli.command()
def config() -> None:
    """Show every setting and where its value comes from."""
    rows = _settings().rows()
    key_width = max(len(row[0]) for row in rows)
    for key, value, origin in rows:
        click.echo(f"{key:{key_width}}  {value}  [{origin}]")


# --- running ----------------------------------------------------------------------------------------------------


@cli.command("run")
@click.argument("name")
@_parameters
@click.option("--now", is_flag=True, help="Ignore window, previous process, status and machine.")
@click.option("--wait", is_flag=True, help="Wait until the process may start, as cron wants it.")
def run_command(name: str, parameters: dict[str, str], now: bool, wait: bool) -> int:
    """Run a process, or one method of it, and keep what it did."""
    settings = _settings()
    if name in settings.config.process_configuration_methods and not parameters:
        from pysys.control.process import run_process
        from pysys.control.runner import Runner

        with Runner(settings) as runner:
            return _tell(run_process(runner, name, now=now, wait=wait))
    return _run_notebook(settings, name, parameters)


@cli.command()
@click.argument("name")
@_parameters
def report(name: str, parameters: dict[str, str]) -> int:
    """Run a report."""
    return _run_notebook(_settings(), name, parameters)


def _run_notebook(settings: Settings, name: str, parameters: dict[str, str]) -> int:
    from pysys.control.run_notebook import run_notebook

    return _tell([run_notebook(settings, name, parameters)])


def _tell(outcomes: Sequence[RunOutcome]) -> int:
    for outcome in outcomes:
        click.echo(outcome.sentence, err=not outcome.ok)
        if outcome.ok and outcome.html is not None:
            click.echo(str(outcome.html))
    return max((outcome.exit_code for outcome in outcomes), default=0)


@cli.command()
@click.option("--days", default=5, show_default=True, help="Trading days.")
@click.option("--no-notebooks", is_flag=True, help="Call the methods directly; faster, no executed notebooks.")
@click.option("--fresh", is_flag=True, help="Begin anew instead of going on where the last start ended.")
def demo(days: int, no_notebooks: bool, fresh: bool) -> int:
    """Whole trading days on a synthetic market with the paper broker."""
    settings = _settings()
    from pysys.rehearsal.demo import run_demo

    summary = run_demo(settings, days=days, notebooks=not no_notebooks, fresh=fresh, progress=_show_progress)
    return _sum_up(settings, summary)


@cli.command()
@click.option("--from", "first", required=True, type=click.DateTime(["%Y-%m-%d"]), callback=_day, help="First day.")
@click.option("--to", "last", required=True, type=click.DateTime(["%Y-%m-%d"]), callback=_day, help="Last day.")
@click.option("--no-notebooks", is_flag=True, help="Call the methods directly; faster, no executed notebooks.")
@click.option("--fresh", is_flag=True, help="Begin anew instead of going on where the last start ended.")
def replay(first: date, last: date, no_notebooks: bool, fresh: bool) -> int:
    """Run production days again over stored prices with the paper broker."""
    settings = _settings()
    from pysys.rehearsal.replay import run_replay

    summary = run_replay(settings, first, last, notebooks=not no_notebooks, fresh=fresh, progress=_show_progress)
    return _sum_up(settings, summary)


def _sum_up(settings: Settings, summary: Summary) -> int:
    from pysys.control.index import refresh_index

    refresh_index(settings)
    for line in summary.lines():
        click.echo(line)
    return 0 if summary.reconciled and not summary.attention else 1


def _show_progress(done: int, total: int, what: str) -> None:
    """One line that is written over on a terminal; nothing in a log file."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        sys.stderr.write(f"\r\x1b[K[{done}/{total}] {what}{end}")
        sys.stderr.flush()


@cli.command()
@click.argument("configuration", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--data", type=click.Path(path_type=Path), help="Price files; default: the database.")
@_instruments
@click.option("--timing", is_flag=True, help="Show where the time went.")
def backtest(configuration: Path, out: Path, data: Path | None, instruments: list[str] | None, timing: bool) -> None:
    """Backtest a strategy configuration and write the results."""
    from pysys.stopwatch import Stopwatch

    watch = Stopwatch()
    read_prices, defaults = _price_source(data)
    from pysys.systems.backtest import run_backtest
    from pysys.systems.backtest_files import write_result
    from pysys.systems.backtest_yaml import read_backtest_config
    from pysys.systems.config_checks import warn
    from pysys.systems.result_checks import doubts

    watch.lap("import")
    config = read_backtest_config(configuration, defaults)
    if instruments is not None:
        config = config.restricted_to(instruments)
    market = read_prices(config)
    watch.lap("read")
    result = run_backtest(config, market, rules_folder=configuration.parent)
    warn(doubts(result))
    watch.lap("compute")
    for path in write_result(result, out):
        click.echo(str(path))
    watch.lap("write")
    if timing:
        for line in watch.lines():
            click.echo(line)
        for one in result.timings:
            click.echo(f"  {one.stage:24}{one.seconds:8.3f} s")


def _price_source(folder: Path | None) -> tuple[Callable[[BacktestConfig], MarketData], dict[str, Any]]:
    """How the prices of a configuration are read, with everything imported that it needs, and what it need not say.

    Files belong to no project, so with them it has to say everything that is not to have the established default.
    """
    if folder is not None:
        from pysys.data.csv_layout import load_market_data as load_files

        _require_folder(folder)
        return lambda config: load_files(folder, config.instruments or None, config.base_currency), {}
    from pysys.data.market_data import market_data_at  # noqa: F401 - imported here to be no part of reading

    settings = _settings()
    return lambda config: _read_stored(settings, config.instruments), settings.config.backtest_defaults


def _read_stored(settings: Settings, instruments: Sequence[str]) -> MarketData:
    from pysys.data.market_data import market_data_at

    spreads = settings.config.spreads
    ordinary = [code for code in instruments if code not in spreads]
    data = market_data_at(settings.database_url, ordinary)
    named = [spreads[code] for code in instruments if code in spreads]
    if not named:
        return data
    from pysys.data.spread_market_data import with_spreads
    from pysys.store.unit import Store

    with closing(Store(settings.database_url)) as store:
        return with_spreads(data, store, named)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ConfigError(f"There is no folder {folder}.")


# --- control of processes ---------------------------------------------------------------------------------------


@cli.command()
@click.option("--runs", default=15, show_default=True, help="How many of the latest runs to show.")
def status(runs: int) -> None:
    """Show every process and the latest runs."""
    from pysys.control.operator import status_lines

    for line in status_lines(_settings(), runs):
        click.echo(line)


def _status_command(name: str, status_word: str, explanation: str) -> None:
    @cli.command(name, help=explanation)
    @click.argument("process", metavar="NAME|all")
    def command(process: str) -> None:
        from pysys.control.operator import change_status

        for line in change_status(_settings(), process, status_word):
            click.echo(line)


_status_command("go", "GO", "Let a process run.")
_status_command("pause", "PAUSE", "Finish the current method, then idle.")
_status_command("stop", "STOP", "Finish the current method, then end; do not start again.")
_status_command("no-run", "NO-RUN", "Let a process finish, and do not start it again.")


@cli.command()
@click.argument("process", metavar="NAME|all")
def finish(process: str) -> None:
    """Mark a process or run as finished whose program is gone; all: whatever is certainly dead."""
    from pysys.control.operator import mark_finished

    for line in mark_finished(_settings(), process):
        click.echo(line)


# --- trading ----------------------------------------------------------------------------------------------------

_why = click.option("--why", required=True, help="The reason; it is kept.")


@cli.command()
@click.option("--until", help="ISO time with its zone; default: the configured stop time.")
@click.option("--now", is_flag=True, help="Whatever the window says.")
def engine(until: str | None, now: bool) -> int:
    """Work the orders in this process until its day ends; SIGTERM and `pysys stop run_stack_handler` drain it."""
    settings = _settings()
    from pysys.control.parameters import moment
    from pysys.control.trading import run_engine_here

    return _tell([run_engine_here(settings, moment(until), now=now)])


@cli.group("kill-switch")
def kill_switch() -> None:
    """Stop all trading at once, or let it go on. Needs neither Jupyter, nor the engine, nor the broker."""


@kill_switch.command("on")
@_why
@click.option("--cancel-orders", is_flag=True, help="Ask the broker to cancel open orders, too.")
def kill_switch_on(why: str, cancel_orders: bool) -> int:
    """Nothing new is sent from now on; positions stay as they are."""
    code = _intervene("engage_kill_switch", {}, why)
    return max(code, _intervene("cancel_all", {}, why)) if cancel_orders else code


@kill_switch.command("off")
@_why
def kill_switch_off(why: str) -> int:
    """Let trading go on."""
    return _intervene("release_kill_switch", {}, why)


@kill_switch.command("status")
def kill_switch_status() -> None:
    """Show whether it is engaged, by whom, and what that means."""
    from pysys.control.interventions import kill_switch_line

    click.echo(kill_switch_line(_settings()))


@cli.group()
def order() -> None:
    """Orders on the stacks."""


@order.command("list")
def order_list() -> None:
    """Show the three stacks."""
    from pysys.control.interventions import order_lines

    for line in order_lines(_settings()):
        click.echo(line)


@order.command("cancel")
@click.argument("reference", metavar="REF")
@_why
def order_cancel(reference: str, why: str) -> int:
    """Ask the broker to cancel one order, and hold its contract order."""
    return _intervene("cancel_broker_order", {"order_ref": reference}, why)


@cli.group()
def command() -> None:
    """Interventions: asked for once, carried out once, kept with who and why."""


@command.command("list")
@click.option("--limit", default=20, show_default=True, help="How many of the latest to show.")
def command_list(limit: int) -> None:
    """Show the latest interventions and their answers."""
    from pysys.control.interventions import command_lines

    for line in command_lines(_settings(), limit):
        click.echo(line)


@command.command("run")
@click.argument("name")
@_parameters
@_why
@click.option("--override", default="", help="Do it though a guard refuses, for this reason; it is kept.")
@click.option("--token", default="", help="One use: the same token again is the same request.")
def command_run(name: str, parameters: dict[str, str], why: str, override: str, token: str) -> int:
    """Carry out an intervention: by the engine when one runs, else here."""
    return _intervene(name, parameters, why, override, token)


def _intervene(name: str, arguments: dict[str, Any], why: str, override: str = "", token: str = "") -> int:
    from pysys.control.interventions import EXIT_CODES, answer_line, intervene

    done = intervene(_settings(), name, arguments, why, override, token)
    code = EXIT_CODES[done.status]
    click.echo(answer_line(done), err=code != 0)
    return code


# --- the rest ---------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--no-browser", is_flag=True, help="Print the address instead of opening a browser.")
def lab(no_browser: bool) -> None:
    """Open JupyterLab on this project: on this machine only, with a token, kernels on IPC."""
    import os

    settings = _settings()
    options = [
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.allow_remote_access=False",
        f"--ServerApp.root_dir={settings.home}",
        "--KernelManager.transport=ipc",
        *(["--no-browser"] if no_browser else []),
        *(["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
    ]
    environment = {**os.environ, "PYSYS_HOME": str(settings.home)}
    os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *options], environment)  # noqa: S606


if __name__ == "__main__":
    main()
