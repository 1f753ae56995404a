"""Stages of a pipeline: each counts its own work, though one takes its items from another, and side by side."""

import time
from collections.abc import Iterator

import pytest

from shared.media.frame_queue import Channel, hand_over
from shared.tracing.stages import staged, waiting
from tests.support.spans import SpanMemory

PAUSE = 0.02


def slow(items: Iterator[int]) -> Iterator[int]:
    for item in items:
        time.sleep(PAUSE)
        yield item


def test_a_stage_counts_neither_those_that_it_takes_from_nor_those_that_take_from_it() -> None:
    memory = SpanMemory()
    with memory.tracer.span("attempt", None):
        inner = staged("decode", slow(iter(range(3))))
        for _ in staged("model", (item for item in inner)):
            time.sleep(PAUSE)
    decode, model = memory.named("decode"), memory.named("model")
    assert decode.parent_id == model.parent_id == memory.named("attempt").span_id
    assert decode.facts["kinora.items"] == model.facts["kinora.items"] == 3
    assert decode.facts["kinora.busy_seconds"] >= 3 * PAUSE
    assert decode.facts["kinora.busy_seconds"] + model.facts["kinora.busy_seconds"] < model.ended - model.begun


def test_waiting_is_no_work() -> None:
    memory = SpanMemory()

    def wait_for_each() -> Iterator[int]:
        for item in range(3):
            with waiting():
                time.sleep(PAUSE)
            yield item

    with memory.tracer.span("attempt", None):
        assert list(staged("model", wait_for_each())) == [0, 1, 2]
    model = memory.named("model")
    assert model.facts["kinora.busy_seconds"] < model.ended - model.begun - 3 * PAUSE * 0.99


def test_the_model_and_the_encoder_are_stages_of_what_is_encoded() -> None:
    memory = SpanMemory()

    def work(channel: Channel[int]) -> int:
        return sum(channel)

    with memory.tracer.span("attempt", None):
        assert hand_over(slow(iter(range(4))), work, 2).result() == 6
    model, encode = memory.named("model"), memory.named("encode")
    assert model.parent_id == encode.parent_id == memory.named("attempt").span_id
    assert model.facts["kinora.busy_seconds"] >= 4 * PAUSE
    assert encode.facts["kinora.busy_seconds"] < encode.ended - encode.begun - 3 * PAUSE  # it waited for the model


def test_a_stage_that_fails_says_so_and_one_that_is_left_ends() -> None:
    memory = SpanMemory()

    def fail() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with memory.tracer.span("attempt", None):
        with pytest.raises(ZeroDivisionError):
            list(staged("decode", fail()))
        for _ in staged("model", iter(range(9))):
            break
    assert memory.named("decode").facts["error.type"] == "ZeroDivisionError"
    assert not memory.named("model").failed


def test_without_a_trace_a_stage_is_its_items() -> None:
    items = iter(range(3))
    assert staged("model", items) is items
