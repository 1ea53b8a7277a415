"""The rules by which VectorChord reads the table of [build.external], over what `export --format vectorchord` writes.

read(path) of an OUT.copy gives [(id, parent or None, vector)]; check(nodes, dim) returns what is wrong, or None."""
import numpy as np


def read(path):
    nodes = []
    with open(path, encoding="ascii", newline="\n") as f:
        for line in f:
            number, parent, vector = line.rstrip("\n").split("\t")
            assert vector[0] == "[" and vector[-1] == "]" and line.endswith("\n")
            nodes.append((int(number), None if parent == r"\N" else int(parent), np.array(vector[1:-1].split(","), "f4")))
    return nodes


def check(nodes, dim):
    parents = {number: parent for number, parent, _ in nodes}
    if len(parents) != len(nodes) or not all(0 <= number < 2**31 for number in parents):
        return "ids are not unique int4"
    if not all(vector.shape == (dim,) and np.isfinite(vector).all() for *_, vector in nodes):
        return "a vector of another dimension, or not finite"
    roots = [number for number, parent in parents.items() if parent is None]
    if len(roots) != 1 or len(nodes) < 2:
        return f"roots {roots} of {len(nodes)} nodes"
    if any(parent is not None and parent not in parents for parent in parents.values()):
        return "a parent that is not there"
    inner, heights = set(parents.values()), set()
    for leaf in parents.keys() - inner:
        height, node = 0, leaf
        while parents[node] is not None and height <= len(nodes):
            height, node = height + 1, parents[node]
        heights.add(height)
    if len(heights) != 1 or not 1 <= heights.pop() <= 8:
        return "leaves at several depths, a cycle, or too deep"
    return None
