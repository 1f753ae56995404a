import os
import sys

from tests.support.terminal import CTRL_C, on_terminal

QUESTIONS = 300
SCRIPT = f"""
from shared.cli.spoken import asked

for number in range({QUESTIONS}):
    try:
        asked(f"really {{number}}?")
    except KeyboardInterrupt:
        continue
    raise SystemExit(1)
print(asked("and now?"), "and", asked("and then?"))
"""


def test_no_ctrl_c_is_lost_at_a_question_however_soon_it_comes() -> None:
    """Without the limit of the wait about one in a thousand, pressed as soon as the question stood there, was."""
    with on_terminal(sys.executable, "-c", SCRIPT, environment=dict(os.environ)) as terminal:
        for number in range(QUESTIONS):
            terminal.wait_for(f"really {number}?")
            terminal.press(CTRL_C)
        terminal.wait_for("and now?")
        terminal.press(" Yes\r")
        terminal.wait_for("and then?")
        terminal.press("\x04")
        assert terminal.end() == (0, "y and \n")
