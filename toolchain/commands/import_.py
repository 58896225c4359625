"""`import`: what another MLflow keeps, brought into an empty stack; the other one is only read."""

from __future__ import annotations

from toolchain import at_work, engine, jobs, takeover
from toolchain.docker_objects import IMPORT, IMPORT_JOB, Objects
from toolchain.errors import DONE
from toolchain.session import Session


def run(session: Session, asked: takeover.Asked) -> int:
    """Run the command.

    Args:
        session: The stack.
        asked: What is to be brought in.

    Raises:
        RefusedError: The stack is not empty, another import is at work on it, or the source can't be read; nothing was
            touched.
        FailedError: Something could not be copied; no row was brought in.
    """
    engine.require()
    objects = Objects(session.name)
    order = takeover.make(asked, objects.client)
    with at_work.alone(session.name, IMPORT):
        objects.remove_import()
        _start_again(objects)
        with jobs.created(
            objects,
            IMPORT_JOB,
            ["import"],
            folders=order.folders,
            uid=order.uid,
            on_host=order.on_host,
            networks=("app", *((order.network,) if order.network else ())),
            room=True,
        ) as container:
            uid = int(str(container.attrs["Config"]["User"]).partition(":")[0])
            files = jobs.files_of(jobs.server_of(objects, "the job has its rights"))
            container.put_archive(takeover.FOLDER, order.archive(uid, files))
            with jobs.stopped(objects):
                jobs.run_to_its_end(container, "import")
    return DONE


def _start_again(objects: Objects) -> None:
    """Start a server that an import left stopped which was cut off: what is asked of it is asked of one that runs."""
    server = objects.container("server")
    if server is not None and server.status == "exited":
        server.start()
        objects.forget_containers()
