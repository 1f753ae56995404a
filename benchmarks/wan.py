"""Creation, wan engine, at full size with random weights: the draft plan on a CPU, the other plans on a GPU.

About twenty minutes on two cores, most of them for the draft and what it is compared with. With a GPU the report has
its name.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from typing import Any

import torch

from benchmarks.report import Report
from benchmarks.turns import in_turns
from services.creation.engines.wan.dmd_scheduler import FAST_WAN
from services.creation.engines.wan.models import MODELS, SIGMAS
from services.creation.engines.wan.plans import FALLBACK_ORDER, GIB, PLANS, Plan

DRAFT = {"run": "draft", "shape": "1.3b", "size": [832, 480], "frames": 49}
DRAFTS: dict[str, dict[str, Any]] = {
    "gates and tiny decoder": {"gates": True, "decoder": "tiny"},
    "as it was, without gates, with the VAE": {"gates": False, "decoder": "vae"},
}
LAYER = {"run": "layer", "shape": "1.3b", "size": [832, 480], "frames": 49}
PRECISIONS = (("float32", "float32"), ("float32", "bfloat16"), ("bfloat16", "bfloat16"))  # computed in, stored in
CLIPS: dict[str, tuple[str, list[int], int]] = {  # by model: shape, size, frames of three seconds
    "wan-vace-1.3b": ("1.3b", [832, 480], 49),
    "wan-vace-14b": ("14b", [1280, 720], 49),
    "wan2.2-ti2v-5b": ("5b", [1280, 704], 73),
    "wan2.2-t2v-a14b": ("14b", [1280, 720], 49),
}
TIMED_STEPS = 4
RUN_SECONDS = 1800
LAYERS = 30
CLIP_FRAMES = 49
DRAFT_GOAL = "at most a third of 638 s with AVX2, below 100 s with AMX; below 5 GB"
GATES_GOAL = "1.1 times"
DECODING_GOAL = "20 s"
RUNS = "benchmarks.wan_runs"  # the module that makes one run
COLUMNS = ["what", "seconds a step", "decode, s", "a clip of 3 s", "CPU seconds", "peak memory", "goal"]


def measure() -> Report:
    """Run everything that this machine can run."""
    load = os.getloadavg()[0]
    rows: list[list[str]] = []
    figures: dict[str, Any] = {"load_before": load}
    notes: list[str] = []
    for part in (precisions, gates_row, decoder_rows, draft_rows, gpu_rows):
        part(rows, figures, notes)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    notes += [
        "Random weights: time and memory do not depend on their values. The text is encoded already.",
        f"Each run in a process of its own. Load average before: {load:.1f}. CPU seconds are those of all threads.",
    ]
    return Report(
        name="-".join(["wan", *re.findall(r"[a-z0-9]+", gpu.lower())]),
        title=f"Creation, wan engine at full size{f', {gpu}' if gpu else ''}",
        columns=COLUMNS,
        rows=rows,
        figures=figures,
        notes=notes,
    )


def precisions(rows: list[list[str]], figures: dict[str, Any], _notes: list[str]) -> None:
    """Compare the precisions that a CPU computes in and stores weights in, by one block of the transformer."""
    for compute, storage in PRECISIONS:
        name = f"CPU, one of {LAYERS} blocks, {compute} from {storage}"
        result = run({**LAYER, "compute": compute, "storage": storage}, device="cpu")
        figures[name] = result
        rows.append([name, figure(result, "seconds"), "", "", figure(result, "cpu_seconds"), "", ""])


def gates_row(rows: list[list[str]], figures: dict[str, Any], _notes: list[str]) -> None:
    """Compare a block with the gates of video sparse attention with one that has none."""
    result = figures["gates"] = run({**LAYER, "run": "gates", "layers": 1}, device="cpu")
    if "failed" in result:
        rows.append(["CPU, gates", result["failed"], "", "", "", "", GATES_GOAL])
        return
    for name in ("plain", "gated"):
        seconds, cpu = (f"{result[clock][name]:.2f}" for clock in ("seconds", "cpu_seconds"))
        goal = f"{GATES_GOAL}: {result['cpu_seconds']['ratio']:.2f}" if name == "gated" else ""
        rows.append([f"CPU, one of {LAYERS} blocks, {name}, {result['compute']}", seconds, "", "", cpu, "", goal])


def decoder_rows(rows: list[list[str]], figures: dict[str, Any], _notes: list[str]) -> None:
    """Compare the tiny decoder with the VAE."""
    result = figures["decoders"] = run({**LAYER, "run": "decoders"}, device="cpu")
    if "failed" in result:
        rows.append(["CPU, decoders", result["failed"], "", "", "", "", DECODING_GOAL])
        return
    for name, goal in (("tiny", DECODING_GOAL), ("vae", "")):
        one = result[name]
        what = f"CPU, decoding {result['frames']} frames at {result['size']}: {name}, {result['compute']}"
        more = f"{one['peak_added_gib'] * GIB / 1e9:.1f} GB more"
        rows.append([what, "", f"{one['seconds']:.1f}", "", f"{one['cpu_seconds']:.0f}", more, goal])


def draft_rows(rows: list[list[str]], figures: dict[str, Any], notes: list[str]) -> None:
    """Compare the draft plan on the CPU with what it was: without its gates, decoded by the VAE; part by part."""
    options = [DRAFT | way | {"turns": True} for way in DRAFTS.values()]
    made = in_turns(RUNS, options, device="cpu", limit=2 * RUN_SECONDS)
    figures["draft"] = dict(zip(DRAFTS, made, strict=True))
    goals = [DRAFT_GOAL, ""]
    if not any("failed" in result for result in made):
        now, before = made
        ratios = [now[name] / before["seconds"] for name in ("seconds", "seconds_with_fast_wan")]
        figures["draft_ratios"] = [round(ratio, 3) for ratio in ratios]
        goals[0] += "; {:.2f} of the row below, {:.2f} in {} steps".format(*ratios, len(FAST_WAN))
    for name, result, goal in zip(DRAFTS, made, goals, strict=True):
        rows.append(draft_row(name, result, goal))
    notes.append(
        f"The two drafts took turns, part by part, in two processes. FastWan's own transformer takes {len(FAST_WAN)} "
        f"of these steps, a four-step LoRA {len(SIGMAS)}."
    )
    if made[0].get("compute") == "cpu float32":
        notes.append("This CPU has no fast bf16: drafts are computed in fp32 from bf16 weights.")


def draft_row(name: str, result: dict[str, Any], goal: str) -> list[str]:
    """Return the row of one way to make a draft."""
    if "failed" in result:
        return [f"CPU, draft, {name}", result["failed"], "", "", "", "", goal]
    shape = f"{result['size']}, {result['frames']} frames, {len(result['steps'])} steps"
    return [
        f"CPU, draft, {name}: {shape}, {result['compute']}",
        f"{statistics.median(result['steps']):.1f}",
        f"{result['decode']:.1f}",
        f"{result['seconds']:.0f} s, then {result['upscale_a_frame'] * CLIP_FRAMES:.0f} s of upscaling",
        f"{sum(result['cpu_seconds']['steps']) + result['cpu_seconds']['decode']:.0f}",
        f"{result['peak_gib'] * GIB / 1e9:.1f} GB",
        goal,
    ]


def gpu_rows(rows: list[list[str]], figures: dict[str, Any], notes: list[str]) -> None:
    """Measure every plan that fits the GPU."""
    if not torch.cuda.is_available():
        notes.append(
            "No GPU here: the plans speed, balanced and low are unmeasured. `make bench` on one fills them in."
        )
        return
    total = torch.cuda.get_device_properties(0).total_memory / GIB
    for model, (shape, size, frames) in CLIPS.items():
        for plan in (PLANS[name] for name in FALLBACK_ORDER):
            name = f"{model}, {plan.name}: {size[0]}x{size[1]}, {frames} frames"
            needed = MODELS[model].needs[plan.name]
            if needed > total:
                rows.append([name, f"needs {needed:g} GiB of GPU memory", "", "", "", "", ""])
                continue
            options = {"run": "vace", "model": model, "shape": shape, "plan": plan.name, "size": size, "frames": frames}
            result = run({**options, "steps": TIMED_STEPS}, device="cuda")
            figures[name] = result
            rows.append(gpu_row(name, plan, result, MODELS[model].steps))
    notes.append(
        "On the GPU: two passes a step for guidance; the first-block cache, whose saving depends on the picture, is off"
    )


def gpu_row(name: str, plan: Plan, result: dict[str, Any], steps: int | None = None) -> list[str]:
    """Return the row of a plan; a clip is its steps, or those of the model, and one decoding."""
    steps = steps or plan.steps
    if "failed" in result:
        return [name, result["failed"], "", "", "", "", ""]
    step = statistics.median(result["steps"])
    clip = f"{step * steps + result['decode']:.0f} s in {steps} steps"
    memory = f"{result['peak_gpu_gib']:.1f} GiB, host {result['peak_gib']:.0f} GiB"
    return [name, f"{step:.2f}", f"{result['decode']:.1f}", clip, "", memory, ""]


def figure(result: dict[str, Any], name: str) -> str:
    """Return one of a run's figures as text, or why there is none."""
    return str(result.get("failed") or f"{result[name]:.2f}")


def run(options: dict[str, Any], *, device: str) -> dict[str, Any]:
    """Return the figures of a run, or `failed` with the reason why there are none."""
    command = [sys.executable, "-W", "ignore", "-m", RUNS, json.dumps(options)]
    environment = os.environ | {"KINORA_DEVICE": device}
    try:
        completed = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, env=environment
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {RUN_SECONDS} s"}
    if completed.returncode:
        return {"failed": (completed.stderr.strip().splitlines() or [f"ended with {completed.returncode}"])[-1][:200]}
    result: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    return result
