"""The stack handler's day: when it may run, when it stops, and since when orders are of this day."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from pysys.config import Config
from pysys.domain.errors import NotAllowedNow
from pysys.domain.process_rules import Window, is_of_weekday
from pysys.execution.stack_result import PROCESS

REMOVAL = "safe_stack_removal"


def require_window(config: Config, now: datetime) -> None:
    """Raises NotAllowedNow outside the configured times of the stack handler; without times it may always run."""
    start, stop = config.process_times(PROCESS)
    if start is None or stop is None:
        return
    opens, closes = Window(start, stop, config.timezone).occurrence(now)
    if not opens <= now < closes:
        raise NotAllowedNow(
            f"The engine runs from {start:%H:%M} to {stop:%H:%M} {config.timezone}. Use --now to run it all the same."
        )


def next_stop(config: Config, now: datetime) -> datetime:
    """The next configured stop; midnight in the system's time zone when none is configured."""
    stop = config.process_times(PROCESS)[1] or time(0)
    today = datetime.combine(now.astimezone(zone := ZoneInfo(config.timezone)).date(), stop, zone)
    return today if today > now else today + timedelta(days=1)


def takes_down(config: Config) -> bool:
    """Whether the stacks are taken down at the end of a day."""
    configured = config.process_configuration_methods.get(PROCESS)
    return configured is None or REMOVAL in configured


def orders_end_with(config: Config, now: datetime) -> datetime | None:
    """The end of the last day that is over: what was ordered until then has ended with it, or should have.

    Days end at the configured stop; what is ordered after it, and on a weekend, is for the next one. None where orders
    live on, because the stacks are not taken down or no stop is configured.
    """
    window = _window(config)
    return None if window is None or not takes_down(config) else window.last_stop_before(now)


def taken_down_until(config: Config, now: datetime) -> datetime | None:
    """What was ordered until then ends when the stacks are taken down now; None for everything.

    That is everything on a working day. In an evening or on a weekend it is what the last day has left, and what was
    ordered since then is for the next one.
    """
    window = _window(config)
    if window is None:
        return None
    start, stop = window.occurrence(now)
    return None if start <= now <= stop and is_of_weekday(start, stop) else window.last_stop_before(now)


def _window(config: Config) -> Window | None:
    start, stop = config.process_times(PROCESS)
    return None if stop is None else Window(start or time(0), stop, config.timezone)
