"""The page of benchmarks: one table a topic and processor, none lost when another processor measures."""

import json
from pathlib import Path

import pytest

from benchmarks import page as module
from benchmarks import report as reports
from benchmarks.page import Stored, folder_of, page, processor
from benchmarks.report import Report

AVX2 = {"cpu": "AMD EPYC", "cores": 2, "isa": ["avx2"]}
BF16 = AVX2 | {"isa": ["avx2", "avx512f", "avx512_bf16", "avx512_vnni"]}


def measure(
    monkeypatch: pytest.MonkeyPatch, root: Path, machine: dict[str, object], name: str, figure: str, *, device: str = ""
) -> None:
    """Store a report as the benchmarks do on such a machine."""
    monkeypatch.setattr(reports, "machine", lambda: machine)
    results = root / "benchmarks" / "results"
    report = Report(name, f"About {name}", ["what", "ms"], [["a frame", figure]], {"ms": figure}, ["A note."], device)
    report.write(results if device else folder_of(machine, results))


def written(root: Path) -> str:
    return page(root / "benchmarks" / "results", root / "docs" / "benchmarks.md")


def test_each_processor_has_its_table_below_the_topic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, tmp_path, AVX2, "upscale", "500")
    measure(monkeypatch, tmp_path, BF16, "upscale", "200")
    measure(monkeypatch, tmp_path, BF16, "load", "7")
    text = written(tmp_path)
    assert text.count("## About upscale\n") == 1
    load, upscale = text.split("## About ")[1:]
    assert "### AMD EPYC, AVX512-BF16, 2 cores" in load
    assert "| a frame | 500 |" in upscale.split("### AMD EPYC, AVX2, 2 cores")[1].split("### ")[0]
    assert "| a frame | 200 |" in upscale.split("### AMD EPYC, AVX512-BF16, 2 cores")[1].split("### ")[0]
    assert text.count("- A note.") == 3


def test_a_run_replaces_only_what_the_same_processor_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, figure in ((AVX2, "500"), (BF16, "200"), (BF16, "180")):
        measure(monkeypatch, tmp_path, machine, "upscale", figure)
    text = written(tmp_path)
    assert "500" in text
    assert "180" in text
    assert "200" not in text


def test_cards_are_one_topic_each_under_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for card in ("gpu-a", "gpu-b"):
        measure(monkeypatch, tmp_path, BF16, card, "1", device=f"Card {card}")
    text = written(tmp_path)
    assert text.count("\n## ") == 1
    assert "### Card gpu-a" in text
    assert "### Card gpu-b" in text
    assert "EPYC" not in text


def test_links_lead_to_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure(monkeypatch, tmp_path, AVX2, "upscale", "500")
    link = written(tmp_path).split("](")[1].split(")")[0]
    stored = Stored.read((tmp_path / "docs" / link).resolve())
    assert stored.report.figures == {"ms": "500"}


def test_the_best_instructions_name_a_processor() -> None:
    assert processor(BF16 | {"isa": [*BF16["isa"], "amx_bf16"]}) == "AMD EPYC, AMX, 2 cores"  # type: ignore[misc]
    assert processor(AVX2 | {"isa": []}) == "AMD EPYC, 2 cores"


def test_the_page_in_docs_is_that_of_the_stored_reports() -> None:
    assert module.PAGE.read_text(encoding="utf-8") == page()


def test_a_report_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    path = Report("old", "Old", ["a"], [["1"]], {}).write(tmp_path)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["device"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert Report.read(path).device == ""
