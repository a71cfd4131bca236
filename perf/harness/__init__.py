"""What the scripts of perf/ share: figures and their record, promises, peers, rounds.

A script that measures tells each figure with `figures.tell`; with WEIR_FIGURES set it is also appended there, one line
of JSON each, which is how `perf/bench` gathers them. `perf/promises.toml` says what a figure has to be.
"""
