"""Stands in for the engine where it only starts processes, talks to none, and ends them or is ended.

Commands come as lines of JSON, and so do the answers: see `test_forkserver.Engine`.
"""

import json
import os
import signal
import subprocess
import sys

processes: dict[int, "subprocess.Popen[bytes]"] = {}
for line in sys.stdin:
    command = json.loads(line)
    if "start" in command:
        process = subprocess.Popen(
            [command["start"], "127.0.0.1:1"],
            cwd=command["folder"],
            env={**os.environ, **command["environment"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
        processes[process.pid] = process
        assert process.stdout is not None
        answer = {"pid": process.pid, "port": process.stdout.readline().decode().strip()}
    else:
        process = processes.pop(command["end"])
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=4)  # the engine's patience: five seconds, then it kills
        answer = {"code": process.returncode, "out": out.decode(), "err": err.decode()}
    print(json.dumps(answer), flush=True)
