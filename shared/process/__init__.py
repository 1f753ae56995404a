"""What a process does with itself: whom it dies with, what it locks, how it keeps its memory."""
