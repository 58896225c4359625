"""The Docker plugin made from packages, on a real daemon."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import ImageNotFound, NotFound

from tests.toolchain.boxes import once
from tests.toolchain.plugin_process import Made, Plugin, PluginError, started

CONTAINER = "docker:index/container:Container"
IMAGE = "docker:index/image:Image"
NETWORK = "docker:index/network:Network"
REMOTE_IMAGE = "docker:index/remoteImage:RemoteImage"
VOLUME = "docker:index/volume:Volume"

_SLEEP = ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    """The plugin, configured."""
    with started("docker") as running:
        running.configure(host="unix:///var/run/docker.sock")
        yield running


@pytest.fixture(scope="module")
def image(built: Mapping[str, str]) -> str:
    """A small image with a shell, without a user of its own."""
    return built["debianImage"]


@pytest.fixture
def name() -> str:
    """A name that nothing else has."""
    return f"plugintest-{secrets.token_hex(4)}"


@contextmanager
def made(plugin: Plugin, token: str, **inputs: Any) -> Generator[Made]:
    """A resource for a block; gone after it."""
    resource = plugin.create(token, inputs)
    try:
        yield resource
    finally:
        plugin.delete(resource)


def _state(client: docker.DockerClient, container: Made) -> dict[str, Any]:
    return client.api.inspect_container(container.id)


# -- networks and volumes


def test_a_network_is_made_read_found_and_removed(
    plugin: Plugin, name: str, docker_client: docker.DockerClient
) -> None:
    options = {"com.docker.network.bridge.enable_ip_masquerade": "false"}
    labels = [{"label": "b", "value": "2"}, {"label": "a", "value": "1"}]
    with made(plugin, NETWORK, name=name, driver="bridge", options=options, labels=labels) as network:
        seen = docker_client.networks.get(name).attrs
        assert seen["Id"] == network.id
        assert seen["Options"] == options
        assert seen["Labels"] == {"a": "1", "b": "2"}
        again = plugin.read(network)
        assert again is not None
        assert plugin.diff(network, network.inputs) == {}
        assert plugin.diff(again, network.inputs) == {}
        found = plugin.find(NETWORK, network.id)
        assert found is not None
        assert found.inputs["options"]["com.docker.network.bridge.enable_ip_masquerade"] == "false"
        assert plugin.full_diff(network, {**network.inputs, "internal": True}).replaces == ["internal"]
    with pytest.raises(NotFound):
        docker_client.networks.get(name)
    assert plugin.read(network) is None
    plugin.delete(network)


def test_a_volume_keeps_its_data_is_found_by_name_and_waits_for_its_last_container(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    volume = plugin.create(VOLUME, {"name": name, "labels": [{"label": "a", "value": "1"}]})
    assert volume.id == name
    assert plugin.diff(volume, volume.inputs) == {}
    found = plugin.find(VOLUME, name)
    assert found is not None
    assert found.inputs["labels"] == [{"label": "a", "value": "1", "__defaults": []}]
    once(docker_client, image, "echo kept > /d/f", volumes={name: {"bind": "/d"}})
    assert once(docker_client, image, "cat /d/f", volumes={name: {"bind": "/d"}}) == "kept\n"
    plugin.delete(volume)
    with pytest.raises(NotFound):
        docker_client.volumes.get(name)
    assert plugin.read(volume) is None


# -- containers


def test_a_container_gets_its_files_with_owner_and_mode_into_a_volume_before_it_starts(
    plugin: Plugin, name: str, image: str
) -> None:
    upload = {"file": "/run/files/deep/secret", "content": "s3cr3t\n", "owner": "10002", "group": "10003"}
    look = "stat -c '%u:%g %a' /run/files/deep/secret && cat /run/files/deep/secret /run/files/bytes"
    with (
        made(plugin, VOLUME, name=name),
        made(
            plugin,
            CONTAINER,
            name=name,
            image=image,
            command=["/bin/sh", "-c", look],
            volumes=[{"volumeName": name, "containerPath": "/run/files"}],
            uploads=[
                {**upload, "permissions": "0400"},
                {"file": "/run/files/bytes", "contentBase64": "AP8K", "executable": True},
            ],
            attach=True,
            logs=True,
            mustRun=False,
        ) as container,
    ):
        assert container.outputs["exitCode"] == 0
        assert container.outputs["containerLogs"].startswith("10002:10003 400\ns3cr3t\n")
        assert plugin.diff(container, container.inputs) == {}


def test_an_upload_with_an_owner_fails_for_a_user_that_the_host_does_not_know(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    """The vendor's plugin asks the daemon to keep the owner in a way that looks the user up on the host: so do we."""
    inputs = {
        "name": name,
        "image": image,
        "user": "10002",
        "start": False,
        "uploads": [{"file": "/x", "content": "the-secret", "owner": "10002"}],
    }
    with pytest.raises(PluginError, match=r"Unable to upload volume content: .*10002") as failed:
        plugin.create(CONTAINER, inputs)
    assert "the-secret" not in failed.value.text
    assert failed.value.half is not None
    docker_client.api.remove_container(failed.value.half[0], force=True)


def test_a_container_has_the_settings_it_was_given(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    inputs: dict[str, Any] = {
        "name": name,
        "image": image,
        "command": _SLEEP,
        "envs": ["B=2", "A=1"],
        "labels": [{"label": "l", "value": "v"}],
        "memory": 64,
        "memorySwap": 64,
        "capabilities": {"drops": ["ALL"], "adds": ["CHOWN"]},
        "securityOpts": ["no-new-privileges:true"],
        "readOnly": True,
        "tmpfs": {"/scratch": "size=1m"},
        "logDriver": "json-file",
        "logOpts": {"max-size": "1m", "max-file": "2"},
        "ulimits": [{"name": "nofile", "soft": 100, "hard": 200}],
        "init": True,
        "user": "1000:1000",
        "workingDir": "/srv",
        "hostname": "thehost",
        "hosts": [{"host": "other", "ip": "10.0.0.1"}],
        "groupAdds": ["7"],
        "sysctls": {"net.ipv4.ip_unprivileged_port_start": "0"},
        "shmSize": 16,
        "stopSignal": "SIGINT",
        "stopTimeout": 3,
        "cpus": "0.5",
        "restart": "on-failure",
        "maxRetryCount": 2,
        "healthcheck": {"tests": ["CMD", "true"], "interval": "1m30s", "timeout": "2s", "retries": 4},
        "mounts": [{"type": "tmpfs", "target": "/m", "tmpfsOptions": {"sizeBytes": 4096}}],
    }
    with made(plugin, CONTAINER, **inputs) as container:
        seen = _state(docker_client, container)
        config, host = seen["Config"], seen["HostConfig"]
        assert sorted(each for each in config["Env"] if each[1] == "=") == ["A=1", "B=2"]
        assert config["Labels"]["l"] == "v"
        assert (config["User"], config["WorkingDir"], config["Hostname"]) == ("1000:1000", "/srv", "thehost")
        assert (config["StopSignal"], config["StopTimeout"]) == ("SIGINT", 3)
        assert config["Healthcheck"]["Interval"] == 90 * 10**9
        assert (host["Memory"], host["MemorySwap"], host["ShmSize"]) == (64 << 20, 64 << 20, 16 << 20)
        assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["CHOWN"])
        assert (host["SecurityOpt"], host["ReadonlyRootfs"], host["Init"]) == (["no-new-privileges:true"], True, True)
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"}}
        assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]
        assert (host["ExtraHosts"], host["GroupAdd"], host["NanoCpus"]) == (["other:10.0.0.1"], ["7"], 5 * 10**8)
        assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
        assert host["Mounts"] == [{"Type": "tmpfs", "Target": "/m", "TmpfsOptions": {"SizeBytes": 4096}}]
        assert plugin.diff(container, inputs) == {}
        again = plugin.read(container)
        assert again is not None
        assert plugin.diff(again, inputs) == {}


def test_a_container_answers_to_its_aliases_in_its_networks_and_in_no_other(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    with (
        made(plugin, NETWORK, name=f"{name}-1") as one,
        made(plugin, NETWORK, name=f"{name}-2") as two,
        made(
            plugin,
            CONTAINER,
            name=name,
            image=image,
            command=_SLEEP,
            networksAdvanced=[{"name": one.outputs["name"], "aliases": ["al-ias", "other"]}, {"name": two.id}],
        ) as container,
    ):
        networks = _state(docker_client, container)["NetworkSettings"]["Networks"]
        assert set(networks) == {f"{name}-1", f"{name}-2"}
        assert {"al-ias", "other"} <= set(networks[f"{name}-1"]["Aliases"])
        assert [each["networkName"] for each in container.outputs["networkDatas"]] == [f"{name}-1", f"{name}-2"]
        assert "al-ias" in once(docker_client, image, "getent hosts al-ias", network=f"{name}-1")


def test_attach_waits_for_the_end_and_tells_exit_code_and_output(plugin: Plugin, name: str, image: str) -> None:
    command = ["/bin/sh", "-c", "sleep 0.5; echo out; exit 3"]
    job = {"name": name, "image": image, "command": command, "attach": True, "logs": True, "mustRun": False}
    with made(plugin, CONTAINER, **job) as container:
        assert container.outputs["exitCode"] == 3
        assert container.outputs["containerLogs"] == "out\n"
        assert plugin.diff(container, job) == {}
        again = plugin.read(container)
        assert again is not None
        assert plugin.diff(again, job) == {}


def test_wait_comes_back_when_the_container_is_healthy(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    healthy = {"tests": ["CMD-SHELL", "test -e /tmp/ready"], "interval": "1s"}
    command = ["/bin/sh", "-c", f"sleep 1; touch /tmp/ready; {_SLEEP[2]}"]
    with made(
        plugin, CONTAINER, name=name, image=image, command=command, healthcheck=healthy, wait=True, waitTimeout=30
    ) as container:
        assert _state(docker_client, container)["State"]["Health"]["Status"] == "healthy"


def test_a_container_that_does_not_get_healthy_stays_in_the_state_with_its_id(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    unhealthy = {"tests": ["CMD", "false"], "interval": "1s"}
    begin = time.monotonic()
    with pytest.raises(PluginError, match="container failed to be in healthy state") as failed:
        plugin.create(
            CONTAINER,
            {
                "name": name,
                "image": image,
                "command": _SLEEP,
                "healthcheck": unhealthy,
                "wait": True,
                "waitTimeout": 2,
                "uploads": [{"file": "/x", "content": "the-secret"}],
            },
        )
    assert time.monotonic() - begin < 15
    assert "the-secret" not in failed.value.text
    assert failed.value.half is not None
    container, properties = failed.value.half
    assert docker_client.containers.get(name).id == container
    assert properties["name"] == name
    docker_client.api.remove_container(container, force=True)


def test_a_wait_without_a_health_check_is_an_error(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    with pytest.raises(PluginError, match="does not have a healthcheck defined"):
        plugin.create(CONTAINER, {"name": name, "image": image, "command": _SLEEP, "wait": True})
    docker_client.api.remove_container(name, force=True)


def test_a_port_that_is_taken_leaves_a_container_in_the_state_that_can_be_removed(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [{"internal": 80, "external": taken.getsockname()[1], "ip": "127.0.0.1"}]
        with pytest.raises(PluginError, match=r"Unable to start container: .*address already in use") as failed:
            plugin.create(CONTAINER, {"name": name, "image": image, "command": _SLEEP, "ports": ports})
    assert failed.value.half is not None
    container, properties = failed.value.half
    plugin.delete(Made(CONTAINER, container, {}, properties, frozenset()))
    with pytest.raises(NotFound):
        docker_client.containers.get(name)


def test_a_name_that_is_taken_and_an_image_that_is_missing_leave_nothing(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    with made(plugin, CONTAINER, name=name, image=image, command=_SLEEP):
        with pytest.raises(PluginError, match=r"Unable to create container: .*already in use") as failed:
            plugin.create(CONTAINER, {"name": name, "image": image, "command": _SLEEP})
        assert failed.value.half is None
    missing = "localhost:1/no/such-image:1"
    with pytest.raises(PluginError, match=f"Unable to create container with image {missing}") as failed:
        plugin.create(CONTAINER, {"name": name, "image": missing})
    assert failed.value.half is None
    with pytest.raises(NotFound):
        docker_client.containers.get(name)


def test_ports_are_published_and_their_order_is_no_change(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        numbers = [one.getsockname()[1], two.getsockname()[1]]
    ports = [
        {"internal": 90, "external": numbers[0], "ip": "127.0.0.1"},
        {"internal": 80, "external": numbers[1], "ip": "127.0.0.1"},
    ]
    with made(plugin, CONTAINER, name=name, image=image, command=_SLEEP, ports=ports) as container:
        bindings = _state(docker_client, container)["HostConfig"]["PortBindings"]
        assert bindings["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": str(numbers[1])}]
        again = plugin.read(container)
        assert again is not None
        assert plugin.diff(again, {**container.inputs, "ports": ports}) == {}
        changed = [ports[0], {**ports[1], "ip": "0.0.0.0"}]
        assert plugin.full_diff(again, {**container.inputs, "ports": changed}).diffs == ["ports"]


def test_memory_and_restart_policy_change_in_place_and_an_environment_replaces(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    inputs = {"name": name, "image": image, "command": _SLEEP, "memory": 64, "memorySwap": 64, "envs": ["A=1"]}
    with made(plugin, CONTAINER, **inputs) as container:
        changed = {**inputs, "memory": 80, "memorySwap": 80, "restart": "always"}
        assert set(plugin.diff(container, changed).values()) == {"UPDATE"}
        updated = plugin.update(container, changed)
        host = _state(docker_client, container)["HostConfig"]
        assert (host["Memory"], host["RestartPolicy"]["Name"]) == (80 << 20, "always")
        assert plugin.diff(updated, changed) == {}
        answer = plugin.full_diff(updated, {**changed, "envs": ["A=2"]})
        assert (list(answer.replaces), answer.deleteBeforeReplace) == (["envs"], True)


def test_a_stopped_container_that_must_run_is_a_change_and_the_update_starts_it(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    inputs = {"name": name, "image": image, "command": _SLEEP}
    with made(plugin, CONTAINER, **inputs) as container:
        docker_client.containers.get(name).stop(timeout=0)
        stopped = plugin.read(container)
        assert stopped is not None
        assert plugin.diff(stopped, inputs) == {"mustRun": "UPDATE"}
        plugin.update(stopped, inputs)
        assert _state(docker_client, container)["State"]["Running"]


def test_a_container_removed_by_hand_is_gone_and_its_delete_is_well(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    container = plugin.create(CONTAINER, {"name": name, "image": image, "command": _SLEEP})
    docker_client.api.remove_container(name, force=True)
    assert plugin.read(container) is None
    plugin.delete(container)


def test_a_container_is_asked_to_stop_and_given_time_before_it_is_removed(
    plugin: Plugin, name: str, image: str, docker_client: docker.DockerClient
) -> None:
    command = ["/bin/sh", "-c", "trap 'echo asked > /d/f; exit 0' TERM; touch /d/up; while :; do sleep 0.1; done"]
    with made(plugin, VOLUME, name=name):
        container = plugin.create(
            CONTAINER,
            {
                "name": name,
                "image": image,
                "command": command,
                "volumes": [{"volumeName": name, "containerPath": "/d"}],
                "destroyGraceSeconds": 10,
                "healthcheck": {"tests": ["CMD", "test", "-e", "/d/up"], "interval": "1s"},
                "wait": True,
            },
        )
        plugin.delete(container)
        assert once(docker_client, image, "cat /d/f", volumes={name: {"bind": "/d"}}) == "asked\n"


def test_a_container_is_found_by_its_id(plugin: Plugin, name: str, image: str) -> None:
    with made(plugin, CONTAINER, name=name, image=image, command=_SLEEP, memory=64, memorySwap=64) as container:
        found = plugin.find(CONTAINER, container.id)
        assert found is not None
        assert (found.inputs["name"], found.inputs["image"], found.inputs["memory"]) == (name, image, 64)


def test_a_preview_knows_what_is_given_and_not_what_docker_will_say(plugin: Plugin, image: str, name: str) -> None:
    preview = plugin.create(CONTAINER, {"name": name, "image": image}, preview=True)
    assert preview.outputs["name"] == name
    assert repr(preview.outputs["hostname"]) == "UNKNOWN"


# -- images


def test_an_image_that_is_there_is_taken_as_it_is_and_kept(
    plugin: Plugin, image: str, docker_client: docker.DockerClient
) -> None:
    with made(plugin, REMOTE_IMAGE, name=image, keepLocally=True) as found:
        assert found.outputs["imageId"] == docker_client.images.get(image).id
        assert found.id == f"{found.outputs['imageId']}{image}"
    assert docker_client.images.get(image)


@pytest.fixture
def project(image: str, tmp_path: Path) -> Path:
    """A folder with a build context."""
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text(
        f"FROM {image} AS one\nARG WORD=none\nRUN echo $WORD > /word\nCOPY . /copied\nFROM one AS two\nRUN exit 7\n"
    )
    (context / "kept").write_text("kept\n")
    (context / "left-out").write_text("x\n")
    (context / ".dockerignore").write_text("left-out\n")
    return tmp_path


def test_an_image_is_built_with_arguments_and_target_and_again_when_its_context_changes(
    project: Path, name: str, docker_client: docker.DockerClient
) -> None:
    tag = f"local/{name}:1"
    inputs: dict[str, Any] = {
        "imageName": tag,
        "skipPush": True,
        "build": {
            "context": "./context",
            "dockerfile": "./context/Dockerfile",
            "args": {"WORD": "word"},
            "target": "one",
            "platform": "linux/amd64",
        },
    }
    with started("docker", cwd=project) as plugin:
        plugin.configure(host="unix:///var/run/docker.sock")
        preview = plugin.create(IMAGE, inputs, preview=True)
        assert (preview.id, preview.outputs) == ("", preview.inputs)
        with pytest.raises(ImageNotFound):
            docker_client.images.get(tag)
        built = plugin.create(IMAGE, inputs)
        try:
            assert built.id == tag
            assert built.outputs["repoDigest"] == docker_client.images.get(tag).id
            assert (built.outputs["baseImageName"], built.outputs["imageName"]) == (tag, tag)
            assert built.secrets == {"__inputs"}
            assert once(docker_client, tag, "cat /word; ls /copied") == "word\nDockerfile\nkept\n"
            assert plugin.diff(built, inputs) == {}
            (project / "context" / "left-out").write_text("y\n")
            assert plugin.diff(built, inputs) == {}
            (project / "context" / "kept").write_text("changed\n")
            assert plugin.diff(built, inputs) == {"build": "UPDATE"}
            updated = plugin.update(built, inputs)
            assert updated.outputs["repoDigest"] != built.outputs["repoDigest"]
            assert once(docker_client, tag, "cat /copied/kept") == "changed\n"
        finally:
            docker_client.images.remove(tag, force=True)


def test_a_build_that_fails_says_where(project: Path, name: str) -> None:
    inputs = {
        "imageName": f"local/{name}:1",
        "skipPush": True,
        "build": {"context": "context", "dockerfile": "context/Dockerfile", "platform": "linux/amd64"},
    }
    with started("docker", cwd=project) as plugin:
        plugin.configure(host="unix:///var/run/docker.sock")
        with pytest.raises(PluginError, match=r"returned a non-zero code: 7[\s\S]*RUN exit 7"):
            plugin.create(IMAGE, inputs)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"skipPush": False}, "does not push"),
        ({"build": {"builderVersion": "BuilderBuildKit"}}, "classic builder only"),
        ({"build": {"cacheFrom": {"images": ["x"]}}}, "no 'cacheFrom'"),
    ],
)
def test_what_the_classic_builder_cannot_do_is_refused(plugin: Plugin, change: dict[str, Any], reason: str) -> None:
    _, refused = plugin.checked(IMAGE, {"imageName": "local/x:1", "skipPush": True, **change})
    assert any(reason in each for each in refused), refused


def test_a_missing_dockerfile_is_refused_with_the_place_where_one_is(project: Path) -> None:
    inputs = {"imageName": "local/x:1", "skipPush": True, "build": {"context": "context", "dockerfile": "Dockerfile"}}
    with started("docker", cwd=project) as plugin:
        plugin.configure(host="unix:///var/run/docker.sock")
        with pytest.raises(PluginError, match='Try setting `dockerfile` to "context/Dockerfile"'):
            plugin.check(IMAGE, inputs)


# -- the daemon


def test_a_daemon_that_does_not_answer_is_an_error_that_names_it(tmp_path: Path) -> None:
    with started("docker") as plugin, pytest.raises(PluginError, match=f"any docker daemon.*{tmp_path}"):
        plugin.configure(host=f"unix://{tmp_path}/no.sock")
