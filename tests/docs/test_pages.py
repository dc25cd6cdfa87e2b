"""What the pages say is so: commands, options, links, files, columns, metrics, configuration."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.main import get_command

import tlg
from deploy.endpoint import metrics
from deploy.endpoint.config import ServeConfig
from jobs.commands import run_metrics
from jobs.output import runs
from tlg import store
from tlg.answers.records import SCHEMA
from tlg.cli import app
from tlg.documents import parse, read_text
from tlg.exemplars import ExemplarDocument
from tlg.pictures import EXTENSIONS
from tlg.spec import AnnotateSpec

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [*REPOSITORY.glob("*.md"), *DOCS.glob("**/*.md"), *REPOSITORY.glob("examples/*.md")]
DASHBOARD = REPOSITORY / "deploy/files/grafana/tlg.json"


def named(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_and_options_exist(page: Path) -> None:
    for line in re.findall(r"(?:^\s*|`|&& )(tlg [a-z][^`\n|#&]*)", page.read_text(), flags=re.MULTILINE):
        words = line.split()[1:]
        command = get_command(app)
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, f"{page.name}: {line}"
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word.split("=")[0] for word in words if word.startswith("--")} <= options, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(found), f"{page.name}: {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_site_has_every_page() -> None:
    listed = re.findall(r": ([\w/-]+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), flags=re.MULTILINE)
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the site's generator needs Python 3.11")
def test_the_site_builds_and_no_link_of_it_is_broken(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", str(tmp_path / "mkdocs.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "build/site/tutorial/index.html").exists()


def test_every_column_of_an_answer_is_told(tmp_path: Path) -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", (DOCS / "answers.md").read_text(), flags=re.MULTILINE)
    told = [(name, kind.split()[0]) for name, kind in rows if name in SCHEMA.names]
    assert told == [(field.name, str(field.type).split("<")[0]) for field in SCHEMA]


def test_every_public_name_is_told() -> None:
    text = (DOCS / "python.md").read_text()
    assert [name for name in tlg.__all__ if f"`{name}" not in text] == []


def test_the_listed_file_types_are_those_that_are_read() -> None:
    (line,) = [line for line in (DOCS / "limits.md").read_text().splitlines() if line.startswith("| Extensions")]
    assert tuple(re.findall(r"`(\.\w+)`", line)) == EXTENSIONS


def loaded_script(name: str) -> ModuleType:
    location = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


def test_the_configuration_reference_is_up_to_date() -> None:
    pytest.importorskip("torch")
    script = loaded_script("write_configuration")
    assert script.PAGE.read_text() == script.written(), "run `make configuration`"


def test_every_key_of_a_job_its_exemplars_and_an_endpoint_is_explained() -> None:
    text = (DOCS / "configuration.md").read_text()
    annotation = text[text.index("## The job spec") : text.index("## Training")]
    unexplained = [line for line in annotation.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert unexplained == []


@pytest.mark.parametrize("file", sorted(REPOSITORY.glob("examples/jobs/*.yaml")), ids=named)
def test_example_jobs_say_what_they_should(file: Path) -> None:
    parse(AnnotateSpec, read_text(file.read_text(), str(file)), str(file))


def test_documents_on_the_pages_say_what_they_should() -> None:
    kinds = {"job.yaml": AnnotateSpec, "serve.yaml": ServeConfig, "exemplars.yaml": ExemplarDocument}
    found = 0
    for page in PAGES:
        for name, text in documents_on(page):
            parse(kinds[name], read_text(text, page.name), page.name)
            found += 1
    assert found >= 2


def documents_on(page: Path) -> list[tuple[str, str]]:
    """YAML blocks that begin with a comment naming a file, or come after the words "Save this as"."""
    blocks = re.findall(r"(?:Save this as `([\w.]+)`:\n\n)?^( *)```yaml\n(.*?)^ *```", page.read_text(), re.M | re.S)
    documents = []
    for saved_as, indent, block in blocks:
        text = re.sub(f"^{indent}", "", block, flags=re.MULTILINE)
        comment = re.match(r"# ([\w.]+\.yaml)\n", text)
        if saved_as or comment:
            documents.append((saved_as or comment.group(1), text))
    return documents


def test_the_dashboard_shows_metrics_that_are_there(tmp_path: Path) -> None:
    families = {family.name for family in metrics.Meters().registry.collect()} | exposed_of_runs(tmp_path)
    dashboard = json.loads(DASHBOARD.read_text())
    text = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {name for link in dashboard["links"] for name in re.findall(r"\$\{(\w+)\}", link["url"])} <= variables
    for name in set(re.findall(r"\btlg_\w+", text)):
        assert name in families or re.sub(r"_(total|bucket|sum|count)$", "", name) in families, name


ALERTS = REPOSITORY / "deploy/files/prometheus/alerts.yaml"


def exposed_of_runs(folder: Path) -> set[str]:
    """The names that `tlg status --metrics` prints."""
    record = {"run_id": "1", "state": "succeeded", "updated_at": runs.now(), "name": "n", "output": str(folder)}
    store.write(f"{folder}/runs/1.json", json.dumps(record | {"stage_seconds": {"decode": 1.0}}).encode())
    return set(re.findall(r"^(tlg_\w+)", run_metrics.metrics(str(folder)), flags=re.MULTILINE))


def test_alerts_ask_for_metrics_that_are_there(tmp_path: Path) -> None:
    """And every rule says what to do; tests/deploy/test_alerts.py lets each one fire in Prometheus' own tool."""
    exposed = exposed_of_runs(tmp_path) | {"tlg_build_info"}
    families = {family.name for family in metrics.Meters().registry.collect()}
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 8
    for rule in rules:
        assert {"summary", "do"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["expr"].count("(") == rule["expr"].count(")")
        for name in re.findall(r"\btlg_\w+", rule["expr"]):
            plain = re.sub(r"_(total|bucket|sum|count)$", "", name)
            assert name in exposed or name in families or plain in families, f"{rule['alert']}: {name}"


def test_the_latest_run_is_metrics(tmp_path: Path) -> None:
    for number, state in ((1, "succeeded"), (2, "failed")):
        record = {"run_id": str(number), "state": state, "updated_at": f"2026-01-0{number}T00:00:00+00:00"}
        record |= {"name": "traps", "output": "out", "errors": 3}
        store.write(f"{tmp_path}/runs/{number}.json", json.dumps(record).encode())
    lines = run_metrics.metrics(str(tmp_path)).splitlines()
    assert 'tlg_run_state{job_name="traps",output="out",state="failed"} 1.0' in lines
    assert 'tlg_run_images{job_name="traps",outcome="errors",output="out"} 3.0' in lines
    assert 'tlg_run_last_success_timestamp_seconds{job_name="traps",output="out"} 1.7672256e+09' in lines
