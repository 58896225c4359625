#!/usr/bin/env python3
"""Write the schema dump of one MLflow image: `python3 images/mlflow/snapshot.py MLFLOW_IMAGE POSTGRES_IMAGE`.

The image's own migration runs on an empty PostgreSQL, and what `pg_dump` says of the outcome becomes `schemas/mlflow-
VERSION.sql`. Needs Docker. See `mlflow_stack_server/snapshot.py` for what the dump is for; without one the image
works as well.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent

HEADER = """\
-- The schema that `mlflow db upgrade` of MLflow {version} makes of an empty database, as pg_dump writes it.
-- Made by: python3 images/mlflow/snapshot.py; not to be edited.
-- scripts: {scripts}
"""

_DROPPED = re.compile(r"--|SET |\\|SELECT pg_catalog\.set_config|$")
"""Comments, settings of pg_dump's session, psql's own commands, empty lines."""


_IN_LIST = re.compile(r"\(\((\w+)\)::text = ANY \(\(ARRAY\[(.*?)\]\)::text\[\]\)\)")
"""PostgreSQL prints a list of allowed words in a form that it reads back as another one: it is written as it was
written first."""


def main() -> int:
    """Run the two containers, and write the file; return the exit code."""
    if len(sys.argv) != 3:  # noqa: PLR2004  (program and two images)
        sys.stderr.write(f"{(__doc__ or '').splitlines()[0]}\n")
        return 2
    mlflow_image, postgres_image = sys.argv[1:]
    version = run("docker", "run", "--rm", "--entrypoint", "python", mlflow_image, "-c", PRINT_VERSION).strip()
    scripts = run("docker", "run", "--rm", "--entrypoint", "python", mlflow_image, "-c", PRINT_SCRIPTS).strip()
    name = f"mlflow-snapshot-{secrets.token_hex(4)}"
    server = ("docker", "run", "--detach", "--rm", "--name", name, "--entrypoint", "bash", "--user", "999:999")
    run(*server, postgres_image, "-c", START_POSTGRES)
    try:
        wait(name)
        with tempfile.TemporaryDirectory() as folder:
            password = Path(folder) / "pg-service.conf"
            password.write_text("[mlflow]\npassword=unused\n", encoding="utf-8")
            Path(folder).chmod(0o755)
            mounted = ("--volume", f"{folder}:/run/mlflow-stack:ro")
            migration = ("docker", "run", "--rm", "--network", f"container:{name}", *mounted)
            options = ("PGHOST=127.0.0.1", "PGUSER=postgres", "PGDATABASE=mlflow", "MLFLOW_STACK_SCHEMA_SNAPSHOT=false")
            run(*migration, *(part for option in options for part in ("--env", option)), mlflow_image, "migrate")
        dump = run("docker", "exec", name, "pg_dump", "-h", "127.0.0.1", "-U", "postgres", *DUMP, "mlflow")
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=False, stdout=subprocess.DEVNULL)
    target = HERE / "schemas" / f"mlflow-{version}.sql"
    target.write_text(HEADER.format(version=version, scripts=scripts) + clean(dump), encoding="utf-8")
    sys.stdout.write(f"{target}: written\n")
    return 0


DUMP = ("--inserts", "--no-owner", "--no-privileges", "--no-comments")
PRINT_VERSION = "from mlflow_stack_server import schema; print(schema.version())"
PRINT_SCRIPTS = "from mlflow_stack_server import schema; print(schema.fingerprint())"
START_POSTGRES = (
    "initdb -D /tmp/data -U postgres --auth=trust --encoding=UTF8 --no-sync >/dev/null"
    " && exec postgres -D /tmp/data -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp -c fsync=off"
)


def clean(dump: str) -> str:
    """Leave what makes the schema: no comments, and nothing that would change the session it is loaded in."""
    lines = (_IN_LIST.sub(_as_in_list, line) for line in dump.splitlines() if not _DROPPED.match(line))
    return "\n".join(lines) + "\n"


def _as_in_list(match: re.Match[str]) -> str:
    values = match.group(2).replace("::character varying", "")
    return f"({match.group(1)} IN ({values}))"


def wait(name: str) -> None:
    """Wait until the server answers, and make the database."""
    for _ in range(150):
        command = ["docker", "exec", name, "createdb", "-h", "127.0.0.1", "-U", "postgres", "mlflow"]
        if subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return
        time.sleep(0.2)
    message = f"{name}: PostgreSQL does not answer"
    raise TimeoutError(message)


def run(*command: str) -> str:
    """Run a command and return what it prints; a failure ends the script with the command's own words."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
