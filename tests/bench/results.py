"""What a bench found, as JSON for the next reader: tests/bench/bench_all, or another day's comparison.

    {"bench": name, "machine": {...}, "results": [{"name", "value", "unit", "goal", "note"}, ...]}

goal is a sentence such as ">= 5 x" or null; note says how it was measured, or is absent. A bench that draws curves adds
"points": any JSON it likes, documented where it is made.

    results.write(given.json, "bench_io", [results.result("insert, written", 0.91, "of raw writes", ">= 0.9")])
"""
import datetime
import json
import os
import pathlib
import platform

FLAGS = ("avx2", "avx512f", "avx512_vbmi", "avx512_vnni", "amx_int8", "asimd", "asimddp")


def machine():
    """What a figure depends on and a reader elsewhere wants to know."""
    told = pathlib.Path("/proc/cpuinfo").read_text()
    fields = dict(line.split(":", 1) for line in told.split("\n\n")[0].splitlines() if ":" in line)
    fields = {key.strip(): value.strip() for key, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "processor": fields.get("model name", platform.machine()),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "flags": [flag for flag in FLAGS if flag in flags],
        "system": f"{platform.system()} {platform.release()}",
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def result(name, value, unit, goal=None, note=None):
    """One figure. value: a number; unit: "x", "s", "recall@10".. ; goal: a sentence, or None."""
    found = {"name": name, "value": float(value), "unit": unit, "goal": goal}
    return found | ({"note": note} if note else {})


def write(path, bench, found, points=None):
    """Writes the figures of a bench; does nothing where path is None (no --json was given)."""
    if path is None:
        return
    told = {"bench": bench, "machine": machine(), "results": found}
    if points is not None:
        told["points"] = points
    pathlib.Path(path).write_text(json.dumps(told, indent=1) + "\n")
