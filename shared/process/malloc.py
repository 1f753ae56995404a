"""The memory allocator of a process that runs a model."""

# For glibc (mallopt(3)); nothing else reads these. By default an allocation above 32 MB, and in a thread above its
# arena's 64 MB, is mapped from the kernel anew each time and unmapped when freed. A network's activations are such
# allocations, dozens a frame: their page faults cost a third of the time of a 640x360 frame on a CPU. The process
# keeps its peak size instead. It must stand in the environment: once threads exist the arenas are fixed.
KEEP_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}
