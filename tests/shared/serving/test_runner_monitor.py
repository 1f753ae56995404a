"""A starved runner gets its heartbeats sent for it; one that sees no cancel is replaced."""

import os
import signal
import time

from shared.testing.callback_receiver import Receiver
from tests.support.tiny_service import PATIENCE_SECONDS, TinyService, callbacks


def test_a_runner_that_is_stopped_does_not_outlive_the_cancel_of_its_task(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(18, seconds=600)
    service.wait_until(18, "running")
    os.kill(pid := service.runner_pid(), signal.SIGSTOP)
    service.cancel(18)
    [callback] = callbacks(receiver, 18)
    assert callback["err_msg"] == "cancelled"
    assert service.task(18)["attempt"] == 1
    assert service.runner_pid() != pid


def test_a_service_speaks_for_a_runner_that_lives_and_is_too_starved_to_speak(
    service: TinyService, receiver: Receiver
) -> None:
    service.post(70, seconds=6)
    service.wait_until(70, "running")
    os.kill(pid := service.runner_pid(), signal.SIGSTOP)
    try:
        silence = (
            # Older than a heartbeat ever is, and younger than those for which a worker is taken for dead: on a busy
            # machine its task would be given to another before anybody spoke for it.
            "UPDATE procrastinate_workers w SET last_heartbeat = now() - interval '10 s' FROM procrastinate_jobs j"
            " WHERE j.worker_id = w.id AND j.status = 'doing' AND j.queue_name LIKE 'upscale.generate%%'"
            " RETURNING w.id, w.last_heartbeat"
        )
        heard = "SELECT 1 FROM procrastinate_workers WHERE id = %s AND last_heartbeat > %s"
        [worker] = service.sql(silence)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not service.sql(heard, *worker.values()):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        service.sql("UPDATE kinora_tasks SET beat_at = now() - interval '5 minutes' WHERE task_id = 70")
        [worker] = service.sql(silence)
        time.sleep(7)  # longer than between two such words
        assert not service.sql(heard, *worker.values())  # stopped for good, as far as anybody can see
    finally:
        os.kill(pid, signal.SIGCONT)
    assert receiver.wait_for(70, timeout_seconds=PATIENCE_SECONDS).payload["err_code"] == 0
