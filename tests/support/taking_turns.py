"""A run that takes turns, for a test: `python -m tests.support.taking_turns '{"name": …, "log": …, "parts": …}'`."""

import json
import sys
from pathlib import Path

from benchmarks.turns import Turns

if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    turns = Turns(taken=True)
    for part in range(options["parts"]):
        turns.begin()
        with Path(options["log"]).open("a", encoding="utf-8") as log:
            log.write(f"{options['name']}{part} ")
        turns.end()
        if options["name"] == "wrong":
            sys.exit("it broke")
    sys.stdout.write(json.dumps({"parts": len(turns.parts)}) + "\n")
