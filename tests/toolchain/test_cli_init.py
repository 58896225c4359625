"""`init` and `env`: credentials, passphrase and state, made once and given away to nobody."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.settings import SECRETS
from tests.stack.harness import Checkout, Result

STACK = "try"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A copy of the project, in a folder with a name that is hard on quoting."""
    folder = tmp_path / "a b$HOME'c \"%41#?"
    folder.mkdir()
    return Checkout(folder)


def stack_file(checkout: Checkout) -> Path:
    return checkout.root / f"Pulumi.{STACK}.yaml"


def config(checkout: Checkout) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(stack_file(checkout).read_text(encoding="utf-8"))
    return found


def in_plain(checkout: Checkout) -> dict[str, str]:
    environment = checkout.pulumi_environment(STACK)
    shown = checkout.run("pulumi", "config", "--json", "--show-secrets", environment=environment, record=False).ok()
    found: dict[str, dict[str, str]] = json.loads(shown.stdout)
    return {secret.key: found[f"mlflow-stack:{secret.key}"]["value"] for secret in SECRETS}


def test_init_makes_every_credential_once(checkout: Checkout) -> None:
    first = checkout.toolchain("init", stack=STACK).ok()
    assert first.stdout == "", "stdout is for results"
    made = config(checkout)
    assert set(made["config"]) == {f"mlflow-stack:{secret.key}" for secret in SECRETS}
    assert all(set(value) == {"secure"} for value in made["config"].values()), "each one encrypted"
    values = in_plain(checkout)
    assert all(secret.accepts(values[secret.key]) for secret in SECRETS), "each one in its own shape"
    assert len(set(values.values())) == len(SECRETS), "each one of its own"

    checkout.toolchain("init", stack=STACK).ok()
    assert config(checkout) == made, "a second init changes nothing"


def test_a_stack_that_is_known_and_whose_file_is_new_gets_credentials_that_can_be_read(checkout: Checkout) -> None:
    checkout.toolchain("init", stack=STACK).ok()
    stack_file(checkout).write_text("config: {}\n", encoding="utf-8")  # as after `git checkout`, once it was destroyed
    checkout.toolchain("init", stack=STACK).ok()
    assert all(secret.accepts(value) for secret, value in zip(SECRETS, in_plain(checkout).values(), strict=True))


def by_pulumi_alone(checkout: Checkout) -> Result:
    """Init as where the secrets of the stack are encrypted by a key of a cloud."""
    program = "from toolchain.passphrase import Passphrase; Passphrase.of = classmethod(lambda *_: None); "
    program += f"from toolchain.__main__ import main; raise SystemExit(main(['init', '--stack', '{STACK}']))"
    return checkout.run(".venv/bin/python", "-c", program)


def test_only_the_owner_reads_what_init_leaves(checkout: Checkout) -> None:
    checkout.toolchain("init", stack=STACK).ok()
    local = checkout.root / ".local"
    assert stat.S_IMODE(local.stat().st_mode) == 0o700
    assert stat.S_IMODE((local / "passphrase").stat().st_mode) == 0o600
    assert len((local / "passphrase").read_text(encoding="utf-8").strip()) >= 32
    assert not list(local.glob("init-*")), "no working file is left"


def test_what_a_user_set_before_stays(checkout: Checkout) -> None:
    stack_file(checkout).write_text("# our own\nconfig: # keep\n  mlflow-stack:workers: '2'  # two\n", encoding="utf-8")
    checkout.toolchain("init", stack=STACK).ok()
    text = stack_file(checkout).read_text(encoding="utf-8")
    assert "# our own\n" in text
    assert "config: # keep\n" in text
    before = config(checkout)
    assert before["config"]["mlflow-stack:workers"] == "2"
    chosen = "chosen-by-the-user-0123456789"
    environment = checkout.pulumi_environment(STACK)
    checkout.run("pulumi", "config", "set", "--secret", "kekPassphrase", environment=environment, stdin=chosen).ok()
    checkout.run("pulumi", "config", "rm", "webhookKey", environment=environment).ok()
    checkout.toolchain("init", stack=STACK).ok()
    values = in_plain(checkout)
    assert values["kekPassphrase"] == chosen
    assert values["webhookKey"], "one that was taken away is generated again"


def test_a_lost_passphrase_is_refused_and_nothing_is_overwritten(checkout: Checkout) -> None:
    checkout.toolchain("init", stack=STACK).ok()
    (checkout.root / ".local" / "passphrase").rename(checkout.root / "kept")
    before = stack_file(checkout).read_bytes()
    refused = checkout.toolchain("init", stack=STACK)
    assert refused.code == 2, refused.text
    assert "passphrase: " in refused.stderr, refused.text
    assert ". mend: put the file back" in refused.stderr, refused.text
    assert stack_file(checkout).read_bytes() == before
    assert not (checkout.root / ".local" / "passphrase").exists()


def test_a_passphrase_and_a_backend_of_the_users_own_are_used(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    checkout.environment["PULUMI_CONFIG_PASSPHRASE"] = "of my own"
    checkout.environment["PULUMI_BACKEND_URL"] = f"file://{tmp_path}/elsewhere"
    checkout.toolchain("init", stack=STACK).ok()
    assert not (checkout.root / ".local" / "passphrase").exists()
    assert not (checkout.root / ".local" / "state").exists()
    assert (tmp_path / "elsewhere" / ".pulumi" / "stacks" / "mlflow-stack" / f"{STACK}.json").exists()
    printed = checkout.toolchain("env", stack=STACK).ok().stdout
    assert "PULUMI_BACKEND_URL" not in printed, "what the user set stands"
    assert "of my own" not in printed


def test_a_login_elsewhere_is_honoured(checkout: Checkout, tmp_path: Path) -> None:
    checkout.environment["PULUMI_HOME"] = str(tmp_path / "home")
    environment = checkout.pulumi_environment(STACK)
    assert environment["PULUMI_BACKEND_URL"].startswith("file://"), "nobody logged in: the state is in the checkout"
    del environment["PULUMI_BACKEND_URL"]
    (tmp_path / "elsewhere").mkdir()
    checkout.run("pulumi", "login", f"file://{tmp_path}/elsewhere", environment=environment).ok()
    assert "PULUMI_BACKEND_URL" not in checkout.pulumi_environment(STACK)
    checkout.toolchain("init", stack=STACK).ok()
    assert list((tmp_path / "elsewhere").rglob(f"{STACK}.json"))


@pytest.mark.parametrize("alone", [False, True], ids=["here", "by Pulumi alone"])
def test_no_credential_is_in_an_argument_or_an_environment_while_they_are_made(
    checkout: Checkout, *, alone: bool
) -> None:
    with seen_processes() as seen:
        (by_pulumi_alone(checkout) if alone else checkout.toolchain("init", stack=STACK)).ok()
    transcript = checkout.transcript.read_text(encoding="utf-8")
    passphrase = (checkout.root / ".local" / "passphrase").read_text(encoding="utf-8").strip()
    made = in_plain(checkout)
    assert all(secret.accepts(made[secret.key]) for secret in SECRETS)
    for name, value in {**made, "the passphrase": passphrase}.items():
        assert not any(value in text for text in seen()), f"{name} was to be seen in /proc"
        assert value not in transcript, f"{name} was printed"
    at_work = "config\0set\0--secret" if alone else "toolchain\0init"
    assert any(at_work in text for text in seen()), "the watch saw nothing: it proves nothing"


class seen_processes:  # noqa: N801 - used as a function
    """Watches what `/proc` tells of every process."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Callable[[], set[str]]:
        self._thread.start()
        return lambda: self._texts

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self._texts.update(self._look())

    @staticmethod
    def _look() -> Iterator[str]:
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                with suppress(OSError):
                    yield (process / name).read_text(encoding="utf-8", errors="replace")


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_exports_of_env_survive_any_folder_name(checkout: Checkout, shell: str) -> None:
    printed = checkout.toolchain("env", stack=STACK).ok().stdout
    script = f"eval {shell_quoted(printed)}\npulumi version && pulumi stack ls && printf '%s' \"$PULUMI_STACK\""
    (checkout.root / ".local" / "state").mkdir(exist_ok=True)
    used = subprocess.run(
        [shell, "-euc", script],
        cwd=checkout.root,
        env=checkout.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.returncode == 0, used.stderr
    assert used.stdout.endswith(STACK), used.stdout


def shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


@pytest.mark.parametrize("name", ["-x", "a b", "a;b", "x" * 47, "a/b/c/d", ""])
def test_a_name_that_can_be_no_stacks_is_refused(checkout: Checkout, name: str) -> None:
    result = checkout.run("./mlflow-stack", "env", f"--stack={name}")
    assert result.code == 2, result.text
    assert f"STACK: {name}: must be " in result.stderr, result.text
    assert not (checkout.root / ".local" / "state").exists()


def test_a_refusal_keeps_its_exit_code_where_make_loses_it(checkout: Checkout) -> None:
    environment = {**os.environ, "STACK": "a;b"}
    assert checkout.run("./mlflow-stack", "env", environment=environment).code == 2
    assert checkout.make("env", "STACK=a;b").code == 2, "make has one code for every failure"
