"""The guides name only commands, options, files and metrics that exist."""

import json
import re
from pathlib import Path

import pytest
from typer.main import get_command

from deploy.endpoint import metrics
from tlg.cli import app

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    REPOSITORY / f"docs/{name}.md"
    for name in ("cluster", "nightly", "sizing", "security", "recovery", "models/air-gap")
]
DASHBOARD = REPOSITORY / "deploy/files/grafana/tlg.json"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_options_exist(page):
    for line in re.findall(r"(?:^|`)(tlg [a-z][^`\n|#]*)", page.read_text(), flags=re.MULTILINE):
        words = line.split()[1:]
        command = get_command(app)
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{page.name}: {line}"
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_dashboard_shows_metrics_that_the_endpoint_has():
    families = {family.name for family in metrics.Meters().registry.collect()}
    panels = json.loads(DASHBOARD.read_text())["panels"]
    text = " ".join(target["expr"] for panel in panels for target in panel["targets"])
    for name in set(re.findall(r"\btlg_\w+", text)):
        assert name in families or re.sub(r"_(total|bucket|sum|count)$", "", name) in families, name
