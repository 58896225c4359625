"""Make a virtual environment from a locked requirements file: `python3 toolchain/bootstrap.py .venv requirements.txt`.

Runs on the machine's own Python with nothing but its standard library, and starts on an old one (3.6) to say that it
is. A copy of the requirements in the environment says that it is complete; one that was interrupted is made anew.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
NEWER = ("python3.11", "python3.12", "python3.13", "python3.14")
REFUSED = 2
FAILED = 1


def say(text: str) -> None:
    """Tell one line on stderr."""
    print(text, file=sys.stderr, flush=True)


def on_a_python_that_will_do() -> None:
    """Go on only on a Python that is new enough and whole; look for another one first."""
    if sys.version_info < OLDEST:
        for name in NEWER:
            found = shutil.which(name)
            if found:
                os.execv(found, [found, *sys.argv])  # noqa: S606 - the same program on another interpreter
        version = ".".join(map(str, sys.version_info[:3]))
        say(
            f"python3: {version}: this project needs 3.11 or newer. mend: apt-get install python3.11, or "
            "make up PYTHON=/path/to/python3.11"
        )
        sys.exit(REFUSED)
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            say(
                f"python3: {sys.executable}: lacks its module {module}, which this distribution keeps apart. "
                f"mend: apt-get install python3.{sys.version_info[1]}-venv"
            )
            sys.exit(REFUSED)


def main() -> int:
    """Make the environment, if it is not there."""
    on_a_python_that_will_do()
    root = Path(__file__).resolve().parent.parent
    target, requirements = root / sys.argv[1], root / sys.argv[2]
    with target.with_name(f"{target.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if is_complete(target, requirements) else make(target, requirements)


def is_complete(target: Path, requirements: Path) -> bool:
    """Whether the environment was made to the end, from these requirements, and its Python is still there."""
    mark = target / ".complete"
    if not (mark.exists() and os.access(str(target / "bin" / "python"), os.X_OK)):
        return False
    return mark.read_bytes() == requirements.read_bytes()


def make(target: Path, requirements: Path) -> int:
    """Make it from nothing."""
    start = time.monotonic()
    say(f"  making {target.name} from {requirements.name} ...")
    shutil.rmtree(str(target), ignore_errors=True)
    pip = [str(target / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    pip += ["--quiet", "--require-hashes", "--no-deps", "--requirement", str(requirements)]
    for command in ([sys.executable, "-m", "venv", str(target)], pip):
        code = run(command, f"  making {target.name}", start)
        if code:
            say(
                f"{target.name}: exit code {code}: what {requirements.name} lists can't be installed; the lines above "
                "tell why. mend: check that pip reaches its index (pip config list), then run it again"
            )
            return FAILED
    new = target / ".new"
    shutil.copyfile(str(requirements), str(new))
    new.replace(target / ".complete")
    say(f"  making {target.name}: done in {time.monotonic() - start:.0f} s")
    return 0


def run(command: "list[str]", what: str, start: float) -> int:
    """Run a command, telling every ten seconds that it lives."""
    told = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - told >= 10:  # noqa: PLR2004 - seconds
                told = time.monotonic()
                say(f"{what}: {told - start:.0f} s")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
