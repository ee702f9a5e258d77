"""The stretch of time a report is about."""

from datetime import UTC, datetime, timedelta

from pysys.domain.errors import ConfigError

DAY = timedelta(hours=24)


def parse_moment(text: str) -> datetime | None:
    """A moment written as 2026-03-02 or 2026-03-02 17:30, in UTC unless it says otherwise; None for no text.

    Raises ConfigError for anything else.
    """
    if not text.strip():
        return None
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a time. Write 2026-03-02 or 2026-03-02 17:30 (UTC).") from error
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def period(now: datetime, start: datetime | None, end: datetime | None) -> tuple[datetime, datetime]:
    """(start, end): up to now, and the 24 hours before the end, where not given.

    Raises ConfigError when it would end before it starts.
    """
    until = now if end is None else end
    since = until - DAY if start is None else start
    if since > until:
        raise ConfigError(f"The period starts at {since:%Y-%m-%d %H:%M} and ends before, at {until:%Y-%m-%d %H:%M}.")
    return since, until
