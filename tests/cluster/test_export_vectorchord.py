"""The centroids of an index as VectorChord's external table: its rules, and the table in a real PostgreSQL."""
import os
import re
import sys

import numpy as np

from ranktape_cli import check, clustered, digest, end, ok, run, write_bin

try:
    import h5py
except ImportError:
    print("no h5py: skipped")
    sys.exit(77)

import postgres

sys.path.insert(0, os.path.join(os.environ["SOURCE_DIR"], "tests", "format"))
import check_vectorchord  # noqa: E402

few = np.repeat(np.float32([[0, 0, 9], [0, 9, 0], [9, 0, 0]]), 200, 0)  # fewer places than cells
TABLES = {  # rows, options, levels of the table with its root
    "flat": (clustered(2000, 24, seed=1), ("--lists", "40", "--metric", "ip"), [1, 40]),
    "one": (clustered(300, 3, seed=2), ("--lists", "1", "--residual", "off"), [1, 1]),
    "tree": (clustered(4000, 16, seed=3, offset=1e4), ("--lists", "4,50", "--metric", "cosine"), [1, 4, 50]),
    "deep": (clustered(4000, 9, seed=4) * np.float32(1e-10), ("--lists", "2,5,20,60"), [1, 2, 5, 20, 60]),
    "empty": (few, ("--lists", "8,9", "--seed", "1"), [1, 3, 9]),  # five cells without a child are gone
}


def widths(nodes):
    """Nodes of each level, from the root."""
    children, level, found = {}, [None], []
    for number, parent, _ in nodes:
        children.setdefault(parent, []).append(number)
    while level := [child for node in level for child in children.get(node, [])]:
        found.append(len(level))
    return found


def bits(values):
    return np.ascontiguousarray(values, "f4").view("u4").tolist()


def table(name, rows, options, levels):
    ok("build", write_bin(f"{name}.fbin", rows), f"{name}.index", *options, ranks=0)
    ok("export", f"{name}.index", name, "--format", "vectorchord", ranks=2 if name == "tree" else 0)
    nodes = check_vectorchord.read(f"{name}.copy")
    wrong = check_vectorchord.check(nodes, rows.shape[1])
    check(not wrong, f"{name}: {wrong}")
    check([number for number, *_ in nodes] == list(range(len(nodes))) and nodes[-1][1] is None, f"{name}: order of ids")
    check(widths(nodes) == levels, f"{name}: levels {widths(nodes)}, expected {levels}")
    ok("export", f"{name}.index", f"{name}.npy", "--format", "centroids", ranks=0)
    leaves = np.load(f"{name}.npy")
    check(bits([v for *_, v in nodes[:len(leaves)]]) == bits(leaves), f"{name}: leaves are not those of --format centroids")
    sql = open(f"{name}.sql").read()
    info = ok("info", f"{name}.index", "--json", ranks=0).json()
    check(f"vector vector({rows.shape[1]})" in sql and f"vector_{info['metric']}_ops" in sql and digest(f"{name}.index") in sql
          and f"residual_quantization = {str(info['residual']).lower()}" in sql, f"{name}: {sql}")
    check(len(re.search(r"probes = '([0-9,]+)'", sql).group(1).split(",")) == len(levels) - 1, f"{name}: probes in {sql}")
    return nodes


HEIGHTS = """WITH RECURSIVE walk(id, height) AS (SELECT id, 0 FROM rt_centroids WHERE parent IS NULL
    UNION ALL SELECT c.id, height + 1 FROM rt_centroids c JOIN walk ON c.parent = walk.id)
    SELECT count(*), count(DISTINCT height) FILTER (WHERE NOT EXISTS (SELECT FROM rt_centroids c WHERE c.parent = walk.id)),
    max(height) FROM walk"""


def in_postgres(server, name, nodes):
    """pgvector is not in Debian 12: its type stands in as text, which becomes real[]."""
    server.put(f"{name}.copy")
    script = server.put(f"{name}.sql", lambda text: re.sub(r"vector vector\(\d+\)", "vector text", text))
    server.psql("-f", script)
    server.ask("ALTER TABLE rt_centroids ALTER vector TYPE real[] USING translate(vector, '[]', '{}')::real[]")
    dim = len(nodes[0][2])
    answers = {
        "SELECT count(*), count(DISTINCT id), count(*) FILTER (WHERE parent IS NULL) FROM rt_centroids": f"{len(nodes)}|{len(nodes)}|1",
        "SELECT count(*) FROM rt_centroids WHERE parent NOT IN (SELECT id FROM rt_centroids)": "0",
        f"SELECT count(*) FROM rt_centroids WHERE vector IS NULL OR array_length(vector, 1) <> {dim}": "0",
        HEIGHTS: f"{len(nodes)}|1|{len(widths(nodes)) - 1}",
    }
    for question, answer in answers.items():
        found = server.ask(question)
        check(found == answer, f"{name} in PostgreSQL: {question} gives {found}, not {answer}")
    values = server.ask("SELECT string_agg(array_to_string(vector, ' '), ' ' ORDER BY id) FROM rt_centroids").split()
    check(bits(np.array(values, "f4")) == bits(np.concatenate([v for *_, v in nodes])), f"{name}: other bits in PostgreSQL")
    server.ask("DROP TABLE rt_centroids")


def refused():
    ok("build", write_bin("wide.fbin", clustered(40, 16001, seed=6)), "wide.index", "--lists", "2", ranks=0)
    result = run("export", "wide.index", "wide", "--format", "vectorchord", ranks=0)
    check(result.code == 2 and "16001 dimensions" in result.err and not os.path.exists("wide.sql"), f"16,001 dimensions: {result.err}")
    result = run("export", "one.index", "one", "--format", "vectorchord", ranks=0)
    check(result.code == 2 and "--force" in result.err, f"OUT is there: {result.err}")


def quoted(server):
    """A name that psql must be told with care."""
    ok("export", "one.index", "it's one", "--format", "vectorchord", ranks=0)
    in_postgres(server, "it's one", check_vectorchord.read("it's one.copy"))


tables = {name: table(name, *how) for name, how in TABLES.items()}
refused()
if postgres.find():
    server = postgres.Server()
    try:
        for name, nodes in tables.items():
            in_postgres(server, name, nodes)
        quoted(server)
    finally:
        server.end()
else:
    print("no PostgreSQL: its part is left out")
end()
