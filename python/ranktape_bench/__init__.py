"""ranktape for benchmark harnesses: the C library by ctypes, and the classes that ann-benchmarks and big-ann-benchmarks call."""
