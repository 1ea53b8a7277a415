"""plan: the keys that others rely on, the same from rows and from their shape, exit codes; and what --help, --version and
errors look like."""
import json
import os
import re
import subprocess
import sys

RANKTAPE, MPIEXEC = os.environ["RANKTAPE"], os.environ["MPIEXEC"].split()
JOBS = ("synth", "plan", "build", "search", "info", "verify")
failures = 0


def check(condition, what):
    global failures
    if not condition:
        failures += 1
        print("not so:", what)


def run(words, ranks=0, status=0, **more):
    command = (MPIEXEC + ["-n", str(ranks)] if ranks else []) + [RANKTAPE] + words.split()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          env={**os.environ, **more})
    if done.returncode != status:
        check(False, f"{command} gave {done.returncode}, not {status}: {done.stderr}")
    return done


def ours(done):
    """The program's own lines of stderr: MPI and the launcher may have some as well."""
    return [line for line in done.stderr.splitlines() if line.startswith("ranktape: ")]


def plan(words, ranks=0):
    done = run(f"plan {words} --json", ranks)
    return json.loads(done.stdout)


def test_keys():
    answer = plan("--rows 1000000000 --dim 128 --type u8 --ranks 64 --ranks-per-node 32")
    check(answer["lists"] == 505964 and answer["levels"] == [711, 505964], "auto lists of a billion rows")
    check(answer["sample_rows"] == 256 * 505964, "sample")
    check(isinstance(answer["fits"], bool) and answer["memory_bytes"] > 0, "fits, memory_bytes")
    check([p["name"] for p in answer["phases"]] == ["train", "insert", "compact", "publish"], "phases")
    for phase in answer["phases"]:
        check(set(phase) == {"name", "memory_bytes", "flops", "bytes_read", "bytes_written", "bytes_exchanged", "seconds"},
              f"keys of {phase['name']}")
        check(phase["seconds"] is None, "no times without --calibrate")
    options = answer["options"]
    check(options["lists"] == {"value": [711, 505964], "source": "auto"}, "--lists")
    check(options["ranks"] == {"value": 64, "source": "given"}, "--ranks")
    check(options["tapes"] == {"value": 64, "source": "auto"}, "--tapes")
    check(options["iterations"] == {"value": 10, "source": "default"}, "--iterations")
    check(options["beam"] == {"value": None, "source": "auto"}, "--beam is measured")
    check(options["ids"] == {"value": None, "source": "default"}, "--ids")
    check(options["seed"]["value"] == 0 and options["residual"]["value"] is True, "--seed, --residual")
    check(plan("--rows 9 --dim 2 --seed 18446744073709551615")["options"]["seed"]["value"] == "18446744073709551615",
          "numbers over 2^63-1 are strings")


def test_rows():
    run("synth rows.u8bin --rows 70000 --dim 32")
    there = plan("rows.u8bin --ranks 4")
    before = plan("--rows 70000 --dim 32 --type u8 --ranks 4")
    for key in ("lists", "levels", "sample_rows", "memory_bytes", "phases"):
        check(there[key] == before[key], f"{key} from rows and from their shape")
    two = plan("rows.u8bin", ranks=2)
    check(two["options"]["ranks"] == {"value": 2, "source": "auto"}, "ranks as started")
    check(two["lists"] == there["lists"] and two["sample_rows"] == there["sample_rows"], "lists do not depend on ranks")
    text = run("plan rows.u8bin").stdout
    for word in ("70,000 x 32 u8", "(auto)", "train", "insert", "compact", "publish", "peak", "--calibrate"):
        check(word in text, f"'{word}' is shown")
    check(max(map(len, text.splitlines())) <= 120, "lines are not too wide")


def test_fits():
    done = run("plan --rows 1000000000 --dim 768 --memory 1G --json")
    check(json.loads(done.stdout)["fits"] is False, "what cannot fit is told with exit 0")
    text = run("plan --rows 1000000000 --dim 768 --memory 1G").stdout
    check("fits" in text and "has 1.0 GiB" in text, "and with a reason")
    done = run("plan --rows 100 --dim 4 --lists 1000")
    check(ours(done) == ["ranktape: plan: warning: more lists than rows: cut to 100"], "one warning where lists are cut")


def test_refusals():
    for words, says in (("plan", "ROWS, or --rows and --dim, are needed"),
                        ("plan --rows 5", "ROWS, or --rows and --dim, are needed"),
                        ("plan rows.u8bin --rows 5", "ROWS say how many they are"),
                        ("plan no-such.fbin", "no-such.fbin"),
                        ("plan --rows 100 --dim 4 --lists 9,3", "--lists must grow"),
                        ("plan --rows 100 --dim 4 --kmeans-dimension 5", "--kmeans-dimension is 5, rows have 4"),
                        ("plan --rows 100 --dim 4 --iterations 5000", "from 0 to 1024, not '5000'"),
                        ("build a b --epsilon 2", "--epsilon is no option of build; it belongs to search"),
                        ("build a", "INDEX is missing"), ("knit a b", "'knit' is no job"), ("", "which job?")):
        for ranks in (0, 2):
            done = run(words, ranks, status=2)
            lines = ours(done)
            check(len(lines) == 1 and says in lines[0], f"'{words}' says {lines or done.stderr}")
            check(done.stdout == "", f"'{words}' prints nothing")
    done = run("plan --rows 100 --dim 4", status=2, RANKTAPE_ISA="abacus")
    check("abacus" in done.stderr, "an instruction set that is none")
    done = run("plan --rows 100 --lists 9,3 --dim 4 --json", status=2)
    check("--lists must grow" in json.loads(done.stdout)["error"], "with --json the error is in the object too")


def test_calibrate():
    answer = json.loads(run("plan --rows 100000 --dim 64 --calibrate --json", 2).stdout)
    check(all(p["seconds"] > 0 for p in answer["phases"]), "every phase has a time")
    check(not [name for name in os.listdir() if "calibrate" in name], "and no file is left")


def test_edits():
    """plan of a job that changes an index: the words and options of that job, from headers alone."""
    run("synth old.u8bin --rows 6000 --dim 32")
    run("synth new.u8bin --rows 2000 --dim 32 --seed 3")
    run("build old.u8bin index --iterations 1 --quiet")
    before = {name: os.stat(f"index/{name}").st_mtime_ns for name in os.listdir("index")}
    vacuum = plan("vacuum index --full --ranks 64 --ranks-per-node 32 --memory 1G")
    insert = plan("insert index new.u8bin --replace --ranks 4 --ranks-per-node 4")
    with open("dead.u64", "wb") as f:
        f.write(b"".join(i.to_bytes(8, "little") for i in range(100)))
    delete = plan("delete index --ids dead.u64", ranks=2)
    check([p["name"] for p in insert["phases"]] == ["ids", "delete", "insert", "publish"], "phases of an insert")
    check([p["name"] for p in delete["phases"]] == ["delete", "publish"], "phases of a delete")
    check([p["name"] for p in vacuum["phases"]] == ["survey", "publish"], "a vacuum with nothing to do")
    for answer, planned in ((vacuum, "vacuum"), (insert, "insert"), (delete, "delete")):
        check(answer["planned"] == planned and answer["rows"] == 6000 and answer["dimension"] == 32, f"{planned}: the index")
        check(answer["fits"] is True and answer["memory_bytes"] > answer["base_bytes"] > 0, f"{planned}: memory")
        check(answer["disk_bytes_now"] == sum(os.path.getsize(f"index/{n}") for n in before if n.endswith(".h5")), "disk now")
        check(all(set(p) == {"name", "memory_bytes", "flops", "bytes_read", "bytes_written", "bytes_exchanged", "seconds"}
                  for p in answer["phases"]), f"{planned}: keys of phases")
    check(delete["options"]["ranks"] == {"value": 2, "source": "auto"}, "ranks as started")
    check(vacuum["options"]["full"]["value"] is True and "lists" not in vacuum["options"], "options of vacuum")
    check(insert["disk_bytes_more"] > 2000 * 32 and vacuum["disk_bytes_more"] == 0, "disk of what is written")
    check({name: os.stat(f"index/{name}").st_mtime_ns for name in os.listdir("index")} == before, "nothing is written, no lock taken")
    run("insert index new.u8bin --quiet")
    run("delete index --ids dead.u64 --quiet")
    vacuum = plan("vacuum index --full")
    check([p["name"] for p in vacuum["phases"]] == ["survey", "fold", "vectors", "records", "tombstones", "publish"], "phases of a vacuum")
    check(plan("vacuum index --full --memory 1M")["fits"] is False, "what cannot fit is told with exit 0")
    text = run("plan vacuum index --full --memory 1M").stdout
    for word in ("7,900 x 32 u8", "2,000 rows not in them yet, 100 tombstones", "survey", "tombstones", "fits        no: needs", "disk"):
        check(word in text, f"'{word}' is shown")
    check(max(map(len, text.splitlines())) <= 120, "lines are not too wide")
    timed = plan("insert index new.u8bin --calibrate")
    check(timed["phases"][1]["seconds"] > 0, "--calibrate adds times")
    for words, said in (("vacuum none", "none"), ("insert index old.fbin", "old.fbin"), ("delete index", "--ids"),
                        ("vacuum index --replace", "--replace is no option of vacuum")):
        done = run(f"plan {words}", status=2)
        check(said in "".join(ours(done)), f"plan {words}: {done.stderr}")


def test_help():
    text = run("--help").stdout
    check(all(f"  {job} " in text for job in JOBS), "every job is named")
    version = run("--version", 2).stdout
    items = dict(line.split(maxsplit=1) for line in version.splitlines())
    check(list(items) == ["ranktape", "mpi", "hdf5", "io", "blas", "kernel", "compiler"], f"--version: {version}")
    check(items == json.loads(run("--version --json", 2).stdout), "--version --json says the same")
    check(f"project(ranktape VERSION {items['ranktape']} " in open(f"{os.environ['SOURCE_DIR']}/CMakeLists.txt").read(),
          "the version is that of the project")
    for item, form in (("mpi", r"(Open MPI|MPICH) .*\d"), ("hdf5", r"\d+\.\d+\.\d+"), ("io", "direct(, mpio)?"), ("kernel", r"\w+"),
                       ("compiler", r"(gcc|clang) \d.*")):
        check(re.match(form + "$", items[item]), f"--version: {item} is '{items[item]}'")
    check("nothing else" in run("--version --frob", status=2).stderr, "--version takes no other option")
    for job in JOBS:
        text = run(f"{job} --help").stdout
        check(text.startswith(f"Usage: ranktape {job} "), f"{job} --help")
        check("--json" in text and max(map(len, text.splitlines())) <= 100, f"{job} --help is at most 100 columns wide")
    full = subprocess.run(f"{RANKTAPE} --help >/dev/full", shell=True, capture_output=True, text=True)
    check(full.returncode == 1 and "standard output" in full.stderr, "a full disk behind stdout is no success")


for test in (test_keys, test_rows, test_fits, test_refusals, test_calibrate, test_edits, test_help):
    before = failures
    test()
    print("ok    " if failures == before else "FAILED", test.__name__)
sys.exit(failures != 0)
