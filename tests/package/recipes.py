"""packaging/: the Spack package and the Apptainer definition say what the project says. Neither tool is needed: the class body is
run against stand-ins for Spack's words, the definition is read by its own rules."""
import ast
import os
import re
import subprocess
import sys
import types

ROOT = os.environ["SOURCE_DIR"]
failures = 0


def read(name):
    with open(os.path.join(ROOT, name)) as file:
        return file.read()


def check(condition, text):
    global failures
    if not condition:
        failures += 1
        print(f"FAILED {text}")


CMAKE = read("CMakeLists.txt") + read("core/CMakeLists.txt")
VERSION = re.search(r"project\(ranktape VERSION (\S+)", CMAKE)[1]
OPTIONS = set(re.findall(r"option\((RANKTAPE_\w+)", CMAKE))
LEAST_CMAKE = re.search(r"cmake_minimum_required\(VERSION ([\d.]+)", CMAKE)[1]
PACKAGES = re.search(r"for_build=\((.*?)\)", read("tools/setup.sh"), re.S)[1].split()

# What each Debian package of tools/setup.sh is in Spack; None: comes with Spack or another one.
IN_SPACK = {"cmake": "cmake", "ninja-build": None, "gcc": "c", "libc6-dev": None, "pkg-config": "pkgconfig", "openmpi-bin": "mpi",
            "libopenmpi-dev": "mpi", "libhdf5-openmpi-dev": "hdf5", "libhdf5-dev": "hdf5", "libopenblas-dev": "openblas",
            "libjansson-dev": "jansson", "libxxhash-dev": "xxhash"}


def spack_class(source):
    """The class of a package.py, and what its body said: [(word, arguments, keywords)]."""
    said = []

    def word(name):
        return lambda *arguments, **keywords: said.append((name, arguments, keywords))

    class CMakePackage:
        def define(self, name, value):
            return f"-D{name}={'ON' if value is True else 'OFF' if value is False else value}"

        def define_from_variant(self, name, variant):
            return self.define(name, self.variants[variant])

    module = types.ModuleType("spack.package")
    for name in ("version", "variant", "depends_on", "license", "conflicts", "maintainers"):
        setattr(module, name, word(name))
    module.CMakePackage = CMakePackage
    sys.modules["spack"], sys.modules["spack.package"] = types.ModuleType("spack"), module
    names = {"__name__": "package"}
    exec(compile(source, "package.py", "exec"), names)
    classes = [value for value in names.values() if isinstance(value, type) and issubclass(value, CMakePackage)]
    return classes[-1], said


def spack():
    source = read("packaging/spack/package.py")
    tree = ast.parse(source)
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    check(names == ["Ranktape"], f"Spack looks for the class Ranktape, here are {names}")
    package, said = spack_class(source)
    check(package.__doc__, "the package has no description")
    of = lambda word: [(arguments, keywords) for name, arguments, keywords in said if name == word]
    check([arguments[0] for arguments, _ in of("version")][-1] == VERSION, f"Spack's version is not {VERSION}")
    check(f"ranktape@{VERSION}" in source, "its comment names another version")
    variants = {arguments[0]: keywords["default"] for arguments, keywords in of("variant")}
    needed = {re.match(r"[\w-]+", arguments[0])[0]: arguments[0] for arguments, _ in of("depends_on")}
    for debian in PACKAGES:
        check(debian in IN_SPACK, f"is '{debian}' of tools/setup.sh in Spack? (IN_SPACK in this test)")
    wanted = {name for debian, name in IN_SPACK.items() if name and debian in PACKAGES}
    check(set(needed) == wanted, f"Spack's dependencies {sorted(needed)} are not {sorted(wanted)}")
    check(needed["cmake"] == f"cmake@{LEAST_CMAKE}:", "another CMake than CMakeLists.txt asks for")
    for name, title in (("hdf5", "HDF5"), ("mpi", "MPI"), ("jansson", None), ("xxhash", None)):
        row = re.search(rf"\| {title} \| ([\d.]+)", read("README.md")) if title else None
        least = row[1] if row else dict(zip(("jansson", "xxhash"), re.search(r"\| jansson, xxHash \| ([\d.]+), ([\d.]+)", read("README.md")).groups()))[name]
        check(re.match(rf"{name}@{re.escape(least)}:", needed[name]), f"README asks for {name} {least}, Spack for {needed[name]}")
    for _, keywords in of("depends_on"):
        check(re.sub("^[+~]", "", keywords.get("when", "+mpio")) in variants, f"no such variant: {keywords}")

    for value in (True, False):
        one = package()
        one.variants = dict.fromkeys(variants, value)
        one.spec = {"mpi": types.SimpleNamespace(mpicc="/mpi/bin/mpicc")}
        arguments = one.cmake_args()
        check(f"-DRANKTAPE_MPIO={'ON' if value else 'OFF'}" in arguments, f"cmake is told {arguments}")
        for name in re.findall(r"-D(RANKTAPE_\w+)=", " ".join(arguments)):
            check(name in OPTIONS, f"CMakeLists.txt has no option {name}")


SECTIONS = {"help", "setup", "files", "labels", "environment", "post", "runscript", "startscript", "test", "arguments"}
SCRIPTS = {"setup", "environment", "post", "runscript", "startscript", "test"}


def stages(text):
    """[(header, {section: (words behind its name, lines)})] of a definition file."""
    found, section = [], None
    for number, line in enumerate(text.splitlines(), 1):
        head = re.match(r"(\w+): *(\S.*)$", line)
        begins = re.match(r"%(\w+) *(.*)$", line)
        if head and head[1] == "Bootstrap":
            found.append(({}, {}))
            section = None
        if not line.strip() or line.startswith("#"):
            continue
        if begins:
            if begins[1] not in SECTIONS or begins[1] in found[-1][1]:
                raise ValueError(f"line {number}: %{begins[1]} is no section, or there twice")
            section = found[-1][1][begins[1]] = (begins[2].split(), [])
        elif section:
            if not line.startswith(" "):
                raise ValueError(f"line {number}: '{line}' belongs to no section")
            section[1].append(line.strip())
        elif head and found and head[1] in ("Bootstrap", "From", "Stage"):
            found[-1][0][head[1]] = head[2]
        else:
            raise ValueError(f"line {number}: '{line}' is no header")
    return found


def apptainer():
    for bad in ("Bootstrap: docker\nFrom: a\n%pots\n    x\n", "From: a\n", "Bootstrap: docker\n%post\nx\n"):
        try:
            stages(bad)
            check(False, f"this test takes {bad!r}")
        except (ValueError, IndexError):
            pass
    found = stages(read("packaging/apptainer.def"))
    names = [header.get("Stage") for header, _ in found]
    check(names == ["build", "run"], f"stages {names}")
    for header, sections in found:
        check(header["Bootstrap"] == "docker" and header["From"] == "debian:12", f"not from Debian 12: {header}")
        for name in SCRIPTS & set(sections):
            done = subprocess.run(["sh", "-n"], input="\n".join(sections[name][1]), text=True, capture_output=True)
            check(done.returncode == 0, f"%{name}: {done.stderr}")
    build, run = (sections for _, sections in found)
    check("tools/setup.sh build" in build["post"][1], "the build stage does not install what tools/setup.sh says")
    for line in build["post"][1]:
        for name in re.findall(r"-D(RANKTAPE_\w+)=", line):
            check(name in OPTIONS, f"CMakeLists.txt has no option {name}")
    check(run["files"][0] == ["from", "build"] and run["files"][1][0].split()[0] == "/packages", "the packages are not handed on")
    labels = dict(line.split(maxsplit=1) for line in run["labels"][1])
    check(labels["org.opencontainers.image.version"] == VERSION, f"the label's version is not {VERSION}")
    check(run["runscript"][1] == ['exec ranktape "$@"'], "the container does not run ranktape")
    recommended = re.search(r"PACKAGE_RECOMMENDS (\S+)\)", read("cmake/RanktapePackages.cmake"))[1]
    check(any(re.search(rf"install .*\b{recommended}\b", line) for line in run["post"][1]), f"no {recommended} in the container")


spack()
apptainer()
print("ok" if not failures else f"{failures} checks failed")
sys.exit(failures != 0)
