"""The alert rules in Prometheus' own tool: they parse, each fires when it should, and none on a good day."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.servers.debian import programs
from tests.servers.environments import Unavailable

pytestmark = pytest.mark.cluster
RULES = Path(__file__).parents[2] / "deploy/files/prometheus/alerts.yaml"
RUN = '{job_name="traps",output="out"}'
CRON = '{cronjob="traps-nightly"}'
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
# What is seen every five minutes for two days where all is well; `a+bxc` is c times b more, beginning with a.
GOOD_DAY = {
    "tlg_build_info": "1x576",
    'tlg_replicas{deployment="annotators"}': "2x576",
    "tlg_images_waiting": "3x576",
    "tlg_replica_retries_total": "0x576",
    'tlg_requests_total{status="200"}': "0+3000x576",
    'tlg_requests_total{status="503"}': "0+5x576",
    'tlg_request_duration_seconds_bucket{route="/v1/annotate",le="10"}': "0+3000x576",
    'tlg_request_duration_seconds_bucket{route="/v1/annotate",le="+Inf"}': "0+3000x576",
    f'tlg_run_state{RUN[:-1]},state="failed"}}': "0x576",
    f'tlg_run_state{RUN[:-1]},state="running"}}': "1x576",
    f"tlg_run_updated_timestamp_seconds{RUN}": "0+300x576",
    f'tlg_run_images{RUN[:-1]},outcome="errors"}}': "1x576",
    f'tlg_run_images{RUN[:-1]},outcome="done"}}': "100x576",
    f"tlg_run_last_success_timestamp_seconds{RUN}": "0+300x576",
    f"kube_cronjob_status_last_successful_time{CRON}": "0+300x576",
}
# One thing that is not well, and the alert for it.
BAD_DAYS = {
    "TlgEndpointSilent": {"tlg_build_info": None},
    "TlgEndpointErrors": {'tlg_requests_total{status="503"}': "0+300x576"},
    "TlgEndpointSlow": {
        'tlg_request_duration_seconds_bucket{route="/v1/annotate",le="10"}': "0+2500x576",
        'tlg_request_duration_seconds_bucket{route="/v1/annotate",le="30"}': "0+3000x576",
    },
    "TlgEndpointQueue": {"tlg_images_waiting": "90x576"},
    "TlgReplicasDie": {"tlg_replica_retries_total": "0+5x576"},
    "TlgRunFailed": {f'tlg_run_state{RUN[:-1]},state="failed"}}': "1x576"},
    "TlgRunSilent": {f"tlg_run_updated_timestamp_seconds{RUN}": "60x576"},
    "TlgRunErrors": {f'tlg_run_images{RUN[:-1]},outcome="errors"}}': "8x576"},
    "TlgNightMissed": {f"tlg_run_last_success_timestamp_seconds{RUN}": "60x576"},
    "TlgNightMissedInKubernetes": {f"kube_cronjob_status_last_successful_time{CRON}": "60x576"},
}


@pytest.fixture(scope="module")
def promtool():
    try:
        return programs("prometheus") / "promtool"
    except Unavailable as error:
        pytest.skip(str(error))


def alerts():
    return [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def seen(series):
    return [{"series": name, "values": values} for name, values in series.items() if values]


def day(name, series, *firing):
    """After two days, `firing` and no other alerts fire."""
    samples = [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in firing]
    question = {"expr": FIRING, "eval_time": "2d", "exp_samples": samples}
    return {"name": name, "interval": "5m", "input_series": seen(series), "promql_expr_test": [question]}


def test_rules_are_ones(promtool):
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(BAD_DAYS)} rules found" in done.stdout


def test_every_alert_fires_for_its_reason_alone(promtool, tmp_path):
    assert set(BAD_DAYS) == set(alerts())
    tests = [day("a good day", GOOD_DAY)]
    tests += [day(name, GOOD_DAY | change, name) for name, change in BAD_DAYS.items()]
    content = {"rule_files": [str(RULES)], "evaluation_interval": "5m", "tests": tests}
    (tmp_path / "days.yaml").write_text(yaml.safe_dump(content))
    done = subprocess.run(
        [promtool, "test", "rules", tmp_path / "days.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
