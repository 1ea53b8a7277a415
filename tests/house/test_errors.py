"""docs/errors.md tells every message that a job can fail with, and no others."""
import glob
import os
import re
import sys

ROOT = os.environ["SOURCE_DIR"]
FOLDERS = ["api", "core", "core/kernels", "io", "jobs", "jobs/phases", "kmeans", "mpi"]
MAKERS = re.compile(r"\b(RT_FAIL|rt_error_set)\s*\(")
DIRECTIVE = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh|h|ll|l|z|j|t)?[a-zA-Z]|%(?=$|[^%])")


def arguments(source, at):
    """The top-level arguments of a call whose bracket opens before at."""
    found, begin, depth = [], at, 0
    while True:
        c = source[at]
        if c in "\"'":
            at += 1
            while source[at] != c:
                at += 2 if source[at] == "\\" else 1
        elif c in "([{":
            depth += 1
        elif c in ")]}" and depth:
            depth -= 1
        elif (c == "," and depth == 0) or c == ")":
            found.append(source[begin:at].strip())
            begin = at + 1
            if c == ")":
                return found
        at += 1


def messages():
    for folder in FOLDERS:
        for path in sorted(glob.glob(f"{ROOT}/{folder}/*.c")):
            source = re.sub(r"/\*.*?\*/", " ", open(path).read(), flags=re.S)
            for call in MAKERS.finditer(source):
                formats = [a for a in arguments(source, call.end()) if a.startswith('"')]
                if not formats:
                    continue
                format = re.sub(r"\bPRI\w+", '"u"', formats[0]) # PRIu64 ends a directive that a literal begins
                text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', format)).replace('\\"', '"')
                plain = DIRECTIVE.sub("\0", text).replace("%%", "%")
                if len(re.findall("[a-z]", plain)) >= 5: # what only joins other messages says nothing itself
                    yield os.path.relpath(path, ROOT), text, plain


def documented():
    for line in open(f"{ROOT}/docs/errors.md"):
        if line.startswith("| `"):
            for pattern in re.findall(r"`([^`]+)`", line.split(" | ")[0]):
                parts = [re.escape(part) for part in pattern.replace("\\|", "|").split("..")]
                yield pattern, re.compile("^" + ".*".join(parts) + "$", re.S)


known = dict(documented())
used, missing, n = set(), [], 0
for path, text, plain in messages():
    n += 1
    fits = [pattern for pattern, expression in known.items() if expression.match(plain)]
    used.update(fits)
    if not fits:
        missing.append(f"{path}: {text}")
left = [pattern for pattern in known if pattern not in used]
for message in missing:
    print("not in docs/errors.md:", message)
for pattern in left:
    print("in docs/errors.md alone:", pattern)
if n < 300:
    print(f"only {n} messages found in the sources: this test no longer reads them")
sys.exit(1 if missing or left or n < 300 else 0)
