"""The foreground scheduler: one run at a time, missed starts collapse, whatever the clock does."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

from deploy.manifests import cron, foreground, machine_nights, schedule
from deploy.manifests.schedule import Nightly
from tests import outside
from tlg.cli import app
from tlg.errors import SpecError
from tlg.spec import short_spec

BERLIN = "Europe/Berlin"


class WarpedClock(foreground.Clock):
    """Time passes only when somebody sleeps or works."""

    def __init__(self, start: datetime):
        self.moment = start

    def now(self, timezone: ZoneInfo) -> datetime:
        return self.moment.astimezone(timezone)

    def sleep(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


def starts_of(clock: WarpedClock, line: str, works: list[timedelta], timezone: str = "Etc/UTC") -> list[str]:
    """When runs begin that take as long as `works` says."""
    begun: list[str] = []

    def run(night):
        begun.append(f"{clock.now(ZoneInfo(timezone)):%d %H:%M}")
        clock.moment += works[len(begun) - 1]
        return 0

    foreground.run_local(["night"], line, timezone, clock, run, show=lambda text: None, nights=len(works))
    return begun


def test_every_night_at_the_hour():
    clock = WarpedClock(datetime(2026, 3, 27, 12, tzinfo=ZoneInfo("UTC")))
    assert starts_of(clock, "0 2 * * *", [timedelta(minutes=5)] * 3) == ["28 02:00", "29 02:00", "30 02:00"]


def test_starts_that_pass_during_a_run_are_dropped():
    clock = WarpedClock(datetime(2026, 3, 1, tzinfo=ZoneInfo("UTC")))
    works = [timedelta(hours=3), timedelta(minutes=1), timedelta(minutes=1)]
    assert starts_of(clock, "0 * * * *", works) == ["01 01:00", "01 05:00", "01 06:00"]


def test_nights_missed_while_asleep_become_one():
    clock = WarpedClock(datetime(2026, 3, 1, tzinfo=ZoneInfo("UTC")))
    naps = iter([timedelta(days=3, hours=6)])

    def oversleep(seconds: float) -> None:
        clock.moment += next(naps, timedelta(seconds=seconds))

    clock.sleep = oversleep
    assert starts_of(clock, "0 2 * * *", [timedelta(minutes=5)] * 2) == ["04 06:00", "05 02:00"]


def test_the_hour_is_the_time_zones():
    clock = WarpedClock(datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("UTC")))
    starts_of(clock, "0 2 * * *", [timedelta()], BERLIN)
    assert clock.now(ZoneInfo("UTC")).hour == 0


def test_failures_are_reported_and_do_not_end_the_schedule():
    clock = WarpedClock(datetime(2026, 3, 1, tzinfo=ZoneInfo("UTC")))
    codes, shown = iter([6, 0]), []
    told = foreground.run_local(["x"], "0 2 * * *", BERLIN, clock, lambda night: next(codes), shown.append, nights=2)
    assert told == [6, 0]
    assert "run ended with exit code 6" in shown


def test_a_day_that_never_comes_is_refused_by_every_target():
    with pytest.raises(SpecError, match="no such day"):
        cron.check("0 0 31 2 *", "Etc/UTC")


def test_changed_keys_and_dollars_reach_the_night():
    night = schedule.command("/jobs/job.yaml", None, ["run.min_score=0.7", "name=a$b"])
    assert night[-5:] == ["/jobs/job.yaml", "--set", "run.min_score=0.7", "--set", "name=a$b"]
    unit = schedule.entries(Nightly(short_spec("/i", "/e", "/o", []), night, "0 2 * * *", "Etc/UTC"), "systemd")
    assert '"name=a$$b"' in unit


def test_systemd_gets_every_word_as_it_is():
    assert machine_nights._systemd_word('a "b" 100% $HOME \\') == '"a \\"b\\" 100%% $$HOME \\\\"'


TOY = """
from deploy.manifests.schedule import Nightly


def almanac(nightly: Nightly) -> str:
    return f"{nightly.spec.name} at {nightly.cron} {nightly.timezone}: {nightly.command[-1]}"
"""


def test_a_scheduler_of_another_package_is_a_target(tmp_path, monkeypatch):
    outside.install(tmp_path, monkeypatch, "toy_almanac", TOY, {"tlg.schedulers": ["almanac = toy_almanac:almanac"]})
    job = tmp_path / "job.yaml"
    job.write_text("{name: traps, images: {uri: /i}, exemplars: /e, output: {uri: /o}}")
    command = ["schedule", str(job), "--cron", "0 2 * * *", "--target"]
    told = CliRunner().invoke(app, [*command, "almanac"])
    assert told.output == f"traps at 0 2 * * * Etc/UTC: {job}"
    unknown = CliRunner().invoke(app, [*command, "almanack"])
    assert "unknown target 'almanack' (did you mean 'almanac'?): expected one of cronjob" in str(unknown.exception)
