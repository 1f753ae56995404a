"""The receiver is the witness of every other test: what it says arrived must be what arrived."""

import httpx
import pytest

from shared.testing.callback_receiver import ACKNOWLEDGING, Behaviour, ReceivedCallback, Receiver

BODY = {
    "task_id": 7,
    "preview_image": "",
    "reference_images": [],
    "video_url": "a b.mp4",
    "err_code": 0,
    "err_msg": "",
}


def post(receiver: Receiver, **headers: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=5) as client:
        return client.post(receiver.url, json=BODY, headers=headers)


def test_a_delivery_is_remembered_with_its_key_its_headers_and_its_body() -> None:
    with Receiver() as receiver:
        answer = post(receiver, **{"Webhook-Id": "msg_1"})
        assert answer.json() == {"err_code": 0, "err_msg": ""}
        [delivery] = receiver.deliveries
    assert (delivery.path, delivery.key, delivery.payload) == ("/api/ai/notify", "msg_1", BODY)
    assert delivery.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [("ok", 200), ("no body", 204), ("not json", 200), ("err_code -1", 200), ("http 500", 500), ("redirect", 307)],
)
def test_a_behaviour_is_answered_as_it_is_named(behaviour: Behaviour, status: int) -> None:
    with Receiver(lambda _delivery: behaviour) as receiver:
        assert post(receiver).status_code == status
        [delivery] = receiver.deliveries
    assert delivery.acknowledged == (behaviour in ACKNOWLEDGING)


def test_a_dropped_connection_reaches_the_sender_as_an_error_and_is_still_recorded() -> None:
    with Receiver(lambda _delivery: "drop") as receiver:
        with pytest.raises(httpx.TransportError):
            post(receiver)
        assert [d.behaviour for d in receiver.deliveries] == ["drop"]


def test_waiting_ignores_deliveries_that_were_not_acknowledged_and_other_tasks() -> None:
    answers: list[Behaviour] = ["http 500", "ok"]

    def behave(_delivery: ReceivedCallback) -> Behaviour:
        return answers.pop(0)

    with Receiver(behave) as receiver:
        post(receiver)
        with pytest.raises(TimeoutError, match="0 of 1 callbacks"):
            receiver.wait_for(7, timeout_seconds=0.1)
        post(receiver)
        assert receiver.wait_for(7, timeout_seconds=5).payload == BODY
        assert len(receiver.of(7)) == 2
        assert receiver.of(8) == []
