"""`python -m benchmarks.swaps --swaps 50`: one line on standard output, the findings on standard error."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.swaps.gateways import missing
from benchmarks.swaps.swapping import swap_under_load


def main() -> int:
    """Swap, print the line; 0 only when every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument(
        "--quick", action="store_true", help="tasks that use almost no processor time, in place of real upscaling"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kinora-swaps-") as home:
        result = swap_under_load(Path(home), arguments.swaps, quick=arguments.quick, gateways=not missing())
    for promise, findings in result.findings.items():
        for finding in findings:
            print(f"{promise}: {finding}", file=sys.stderr)
    print(result.line())
    return 0 if result.kept else 1


if __name__ == "__main__":
    sys.exit(main())
