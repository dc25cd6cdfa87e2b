"""A cron line, checked once and written for whoever fires it."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from croniter import CroniterBadDateError, croniter

from tlg.errors import SpecError

# What every scheduler understands: no L, W, # or H.
PLAIN_FIELD = re.compile(r"(\d|[*/,-]|[A-Za-z]{3})+")
WEEKDAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")


def check(line: str, timezone: str) -> None:
    """Raises SpecError for anything but five valid fields and a known time zone."""
    zone(timezone)
    fields = line.split()
    if len(fields) != 5 or not all(map(PLAIN_FIELD.fullmatch, fields)) or not croniter.is_valid(line):
        raise SpecError(
            f"--cron {line!r}: expected five fields: minute, hour, day, month, weekday; "
            '"0 2 * * *" is every night at two'
        )
    try:
        next_start(line, datetime.now(zone(timezone)))
    except CroniterBadDateError:
        raise SpecError(f"--cron {line!r}: no such day comes; expected a date that exists") from None


def zone(timezone: str) -> ZoneInfo:
    try:
        return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError):
        raise SpecError(f"--timezone {timezone}: unknown; expected a name like Europe/Berlin or Etc/UTC") from None


def next_start(line: str, after: datetime) -> datetime:
    """The first start later than `after`, in its time zone. However many were missed before, there is one next."""
    return croniter(line, after).get_next(datetime)


def to_systemd(line: str, timezone: str) -> str:
    """The line as systemd's OnCalendar. Raises SpecError for day *and* weekday, which cron means as either of both."""
    check(line, timezone)
    minutes, hours, days, months, weekdays = (_listed(field) for field in croniter.expand(line)[0])
    if days != "*" and weekdays != "*":
        raise SpecError(f"--cron {line!r}: systemd cannot say day of month or weekday; use one of them")
    named = "" if weekdays == "*" else ",".join(WEEKDAYS[int(day) % 7] for day in weekdays.split(",")) + " "
    return f"{named}*-{months}-{days} {hours}:{minutes}:00 {timezone}"


def _listed(field: list[int | str]) -> str:
    return ",".join(str(value) for value in field)
