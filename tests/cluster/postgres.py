"""A PostgreSQL server of a test's own, in a folder that goes with it: no network, one user, nothing synced."""
import glob
import os
import pwd
import shutil
import subprocess
import tempfile


def find():
    """The folder of initdb and postgres, or None."""
    found = [os.path.dirname(p) for p in glob.glob("/usr/lib/postgresql/*/bin/initdb")] + [shutil.which("initdb") or ""]
    folders = [p if os.path.isdir(p) else os.path.dirname(p) for p in found if p]
    return next((p for p in sorted(folders, reverse=True) if os.path.exists(f"{p}/postgres")), None)


class Server:
    def __init__(self):
        self.bin = find()
        self.folder = tempfile.mkdtemp(prefix="ranktape-postgres-", dir="/tmp")  # a socket's name must be short
        self.user = {}
        if os.geteuid() == 0:  # the server does not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self.user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self.run(f"{self.bin}/initdb", "-D", "data", "-U", "test", "--no-sync", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.run(f"{self.bin}/pg_ctl", "-D", "data", "-w", "-t", "120", "-l", "log", "-o",
                 f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off", "start")

    def run(self, *command):
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C"}
        with open(f"{self.folder}/out", "a+b") as out:  # not a pipe, which the server would keep open
            at = out.tell()
            done = subprocess.run(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=300,
                                  env=environment, **self.user)
            out.seek(at)
            text = out.read().decode()
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {text}")
        return text

    def put(self, path, change=lambda text: text):
        """A text file into the server's folder."""
        with open(path) as f, open(f"{self.folder}/{os.path.basename(path)}", "w") as out:
            out.write(change(f.read()))
        return os.path.basename(path)

    def psql(self, *arguments):
        return self.run("psql", "-h", self.folder, "-U", "test", "-d", "postgres", "-X", "-q", "-A", "-t", "-v",
                        "ON_ERROR_STOP=1", *arguments)

    def ask(self, question):
        return self.psql("-c", question).strip()

    def end(self):
        try:
            self.run(f"{self.bin}/pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")
        finally:
            shutil.rmtree(self.folder)
