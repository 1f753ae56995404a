"""Dashboard and alert rules: what they ask for exists on the real page, and Prometheus itself says so."""

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.observability.prometheus import running_prometheus
from deploy.observability.series import dashboard, filled
from shared.metrics.instruments import merge
from shared.testing.callback_receiver import Receiver
from shared.testing.stack import Stack

ROOM = Path(__file__).parents[3] / "deploy" / "observability"
RULES = [
    rule
    for group in yaml.safe_load((ROOM / "rules.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
DASHBOARD = dashboard()
SERVICES = {"creation", "facefusion", "interpo", "upscale"}
OF_SCRAPING = {"instance", "job"}  # labels that Prometheus adds
ONLY_WITH_A_GPU = "kinora_gpu_"
PATIENCE_SECONDS = 280.0  # of a machine that is busy with other things
SELECTOR = re.compile(r"\b(kinora_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Page:
    """What a scrape showed: the series of every name, each with its labels."""

    text: str
    series: dict[str, list[dict[str, str]]]

    @classmethod
    def read(cls, text: str) -> "Page":
        series: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                series.setdefault(sample.name, []).append(dict(sample.labels))
        return cls(text, series)


def expressions_of_panels() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def expressions_of_rules() -> list[str]:
    return [rule["expr"] for rule in RULES]


def plain(expression: str) -> str:
    """Fill in what Grafana would."""
    return filled(expression, rate_seconds=60)


@pytest.fixture(scope="module")
def page(stack: Stack, receiver: Receiver, media: Path, clip: Path) -> Page:
    """The router's page after a task of a service was accepted, one was refused, and one was run."""
    body = {"task_id": 77_001, "video_url": str(clip), "dist_dir": str(media / "observed"), "rate": 2}
    with stack.client() as client:
        assert client.post("/api/ai/interpo", json=body).json()["err_code"] == 0
        assert client.post("/api/ai/interpo", json=body | {"rate": 3}).json()["err_code"] == -1
        receiver.wait_for(77_001, timeout_seconds=PATIENCE_SECONDS)
        time.sleep(2.5)  # what is shown is up to two seconds old
        return Page.read(client.get("/metrics").text)


@pytest.fixture(scope="module")
def receiver(_backend: Receiver) -> Receiver:
    return _backend


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param(expression, marks=[pytest.mark.needs_gpu] if ONLY_WITH_A_GPU in expression else [])
        for expression in (*expressions_of_panels(), *expressions_of_rules())
    ],
)
def test_every_metric_and_label_of_a_query_is_on_the_real_page(expression: str, page: Page) -> None:
    known: set[str] = set(OF_SCRAPING)
    for name, matchers in SELECTOR.findall(plain(expression)):
        assert name in page.series, f"no {name} on the page"
        known |= {label for labels in page.series[name] for label in labels}
        for label, operator, value in MATCHER.findall(matchers):
            values = {labels.get(label) for labels in page.series[name]}
            assert values != {None}, f"{name} has no label {label}"
            if operator == "=":
                assert value in values, f"no {name} with {label}={value}"
    for grouping in GROUPING.findall(expression):
        assert {label.strip() for label in grouping.split(",")} <= known, grouping


def test_the_routers_page_shows_every_service_of_the_machine(page: Page) -> None:
    assert {labels["service"] for labels in page.series["kinora_build_info"]} == SERVICES
    assert {labels["service"] for labels in page.series["kinora_requests_refused_total"]} == SERVICES | {"router"}
    kinds = {(labels["service"], labels["kind"]) for labels in page.series["kinora_runner_up"]}
    assert ("facefusion", "preview") in kinds
    refused = {labels["reason"] for labels in page.series["kinora_requests_refused_total"]}
    assert refused & {"choice_refused", "whole_refused"}
    assert "# TYPE kinora_build_info gauge" in page.text
    assert page.text.count("# TYPE kinora_build_info gauge") == 1


def test_no_label_holds_what_grows_with_use(page: Page, clip: Path) -> None:
    ours = "\n".join(line for line in page.text.splitlines() if line.startswith("kinora_"))
    assert "77001" not in ours
    assert clip.name not in ours
    assert max(len(series) for name, series in page.series.items() if name.startswith("kinora_")) < 500


def test_every_panel_has_a_row_a_query_and_a_word_on_what_it_shows() -> None:
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Traffic", "Queue", "Work", "Long videos", "Callbacks", "Machine"]
    panels = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] and panel["description"] for panel in panels)
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "service"]
    assert all('service=~"$service"' in expression for expression in expressions_of_panels())


def test_every_alert_is_raised_by_a_test_and_explained_to_the_operator() -> None:
    tests = yaml.safe_load((ROOM / "rules_test.yml").read_text(encoding="utf-8"))["tests"]
    checks = [check for test in tests for check in test["alert_rule_test"]]
    raised = {check["alertname"] for check in checks if check["exp_alerts"]}
    manual = (ROOM.parent.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    for alert in (rule["alert"] for rule in RULES):
        assert alert in raised, f"nothing raises {alert}"
        quiet = {"eval_time": "40m", "alertname": alert, "exp_alerts": []}
        assert quiet in checks, f"nothing keeps {alert} quiet"
        assert alert in manual, f"docs/operations.md says nothing of {alert}"


@pytest.mark.needs_prometheus
@pytest.mark.parametrize("words", [("check", "rules", "rules.yml"), ("check", "config", "prometheus.yml"),
                                   ("test", "rules", "rules_test.yml")])  # fmt: skip
def test_promtool_agrees(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=ROOM, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.needs_prometheus
def test_our_names_and_units_are_as_prometheus_wants_them(page: Page) -> None:
    ours = merge([page.text])
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.fixture(scope="module")
def prometheus(stack: Stack, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A real Prometheus that has scraped the real service a few times, under the real rules."""
    assert page
    with running_prometheus(
        tmp_path_factory.mktemp("prometheus"), f"127.0.0.1:{stack.port}", patience_seconds=PATIENCE_SECONDS
    ) as client:
        yield client


@pytest.mark.needs_prometheus
def test_prometheus_answers_every_query_of_the_dashboard_with_data(prometheus: httpx.Client) -> None:
    for expression in expressions_of_panels():
        answer = prometheus.get("/api/v1/query", params={"query": plain(expression)}).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        if ONLY_WITH_A_GPU not in expression or Path("/dev/nvidia0").exists():
            assert answer["data"]["result"], f"no data: {expression}"


@pytest.mark.needs_prometheus
def test_prometheus_evaluates_every_rule_and_a_healthy_service_raises_none(prometheus: httpx.Client) -> None:
    def rules() -> list[dict[str, Any]]:
        groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    deadline = time.monotonic() + PATIENCE_SECONDS
    while {rule["health"] for rule in rules()} != {"ok"}:
        assert time.monotonic() < deadline, rules()
        time.sleep(0.3)
    assert len(rules()) == len(RULES)
    urgent = {"KinoraDown", "KinoraDatabaseAway", "KinoraRunnerDown", "KinoraNoRunner", "KinoraRouterErrors"}
    assert {rule["name"] for rule in rules() if rule["state"] != "inactive"} & urgent == set()
