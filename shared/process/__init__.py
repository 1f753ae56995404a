"""What concerns one process: when it ends and at what priority it runs, its file locks, its memory allocator,
its processors and the threads that work on frames.
"""
