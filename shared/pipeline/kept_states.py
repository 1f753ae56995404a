"""Which finished segments of a film still hold what the pipeline remembered behind them.

Only the newest state is needed to go on. Older ones are for a segment that turns out damaged: it is made again from the
last state before it, and all between with it. So they are kept the more rarely the further back they lie: all of the
last four, of the 4 before those every second one, of the 8 before those every fourth, and so on. A film of two hours
has eighteen, and no damaged segment has more of the others made again than come after it.
"""


def is_kept(number: int, newest: int) -> bool:
    """Whether a segment keeps its state once the segment `newest` is finished. What is dropped never comes back."""
    age = newest - number
    return age <= 0 or (number + 1) % (1 << max(age.bit_length() - 2, 0)) == 0


def most_kept(count: int) -> int:
    """Return how many of so many segments keep their state at the same time, at most."""
    return min(count, 2 * count.bit_length())
