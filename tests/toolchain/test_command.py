"""A command in a container is not taken to have printed nothing where Docker lost what it printed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from docker.models.containers import Container

from components import command
from tests.toolchain.boxes import Boxes, eventually
from toolchain import docker_objects

#: In place of the shell: Docker loses what a command prints, each time or the first time.
_ALWAYS = "#!/bin/sh\nexit 0\n"
_ONCE = '#!/bin/sh\nif test -e /tmp/seen; then exec /bin/sh "$@"; fi\n: >/tmp/seen\n'


@pytest.fixture
def container(boxes: Boxes, built: Mapping[str, str]) -> Container:
    """One that does nothing."""
    return boxes.run(built["debianImage"], ["sleep", "300"])


def _with_shell(boxes: Boxes, built: Mapping[str, str], text: str) -> Container:
    lay = 'mkdir /first && printf %s "$0" >/first/sh && chmod +x /first/sh && exec sleep 300'
    path = {"PATH": "/first:/usr/bin:/bin"}
    made = boxes.run(built["debianImage"], ["/bin/sh", "-c", lay, text], environment=path)
    eventually(lambda: made.exec_run(["test", "-x", "/first/sh"]).exit_code == 0, "it has its shell")
    return made


def test_all_that_it_printed_its_exit_code_and_its_errors_are_given(container: Container) -> None:
    said = command.run(container, ["sh", "-c", "echo one; echo; echo two; echo no >&2; exit 3"])
    assert said == command.Said(3, "one\n\ntwo", "no")
    assert command.run(container, ["printf", "%s", "a  'b' $c"]) == command.Said(0, "a  'b' $c", "")
    assert command.run(container, ["true"]) == command.Said(0, "", "")


def test_an_output_that_was_lost_is_not_taken_for_an_empty_one(boxes: Boxes, built: Mapping[str, str]) -> None:
    losing = _with_shell(boxes, built, _ALWAYS)
    with pytest.raises(command.CutOffError, match="Docker lost what echo printed"):
        command.ask(losing, ["echo", "something"])
    assert docker_objects.output(losing, ["echo", "something"]) is None


def test_a_question_is_asked_again_where_the_answer_was_lost(boxes: Boxes, built: Mapping[str, str]) -> None:
    losing = _with_shell(boxes, built, _ONCE)
    assert command.ask(losing, ["echo", "something"]).out == "something"


def test_what_changes_something_is_not_done_again(boxes: Boxes, built: Mapping[str, str]) -> None:
    losing = _with_shell(boxes, built, _ONCE)
    with pytest.raises(command.CutOffError):
        command.run(losing, ["echo", "something"])
