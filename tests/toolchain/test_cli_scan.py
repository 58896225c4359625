"""`scan` and `sbom`: what is in the images that a stack runs, and what is known of it."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
import pytest

from components.vendor_images import VENDOR_IMAGES
from tests.stack.harness import PROJECT, PROJECT_LABEL, ROLE_LABEL, STACK_LABEL, Checkout
from tests.toolchain import derived, osv_server
from toolchain import paths
from toolchain.errors import FailedError
from toolchain.images import apt
from toolchain.supply import pip_audit, syft
from toolchain.supply.finding import Finding, NotCheckedError
from toolchain.supply.images import StackImage
from toolchain.supply.mends import mend

PYCRYPTO = osv_server.flaw("PYSEC-2018-97", "pycrypto", None, "CVE-2018-6594")
JINJA = osv_server.flaw("GHSA-8r7q-cvjq-x353", "jinja2", "2.7.2", "CVE-2014-1402")


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "checkout")


@contextmanager
def running(client: docker.DockerClient, stack: str, images: Mapping[str, str]) -> Generator[None]:
    """Containers with a stack's labels, role → image; none of them need be started to be looked at."""
    made = [
        client.containers.create(
            image, ["true"], labels={PROJECT_LABEL: PROJECT, STACK_LABEL: stack, ROLE_LABEL: role}, network_mode="none"
        )
        for role, image in images.items()
    ]
    try:
        yield
    finally:
        for container in made:
            container.remove(force=True, v=True)


def section(text: str, role: str) -> str:
    """What the scan says of one image."""
    found = re.search(rf"^{role}: .*\n(?:  .*\n)*", text, re.MULTILINE)
    assert found, text
    return found[0]


def test_a_scan_names_each_known_flaw_with_its_fix_and_what_could_not_be_checked(
    docker_client: docker.DockerClient, built: Mapping[str, str], checkout: Checkout
) -> None:
    stack = f"scantest{secrets.token_hex(3)}"
    tag = f"local/mlflow-stack/imagetest:{secrets.token_hex(4)}"
    old = derived.with_version("libgnutls30", "3.7.9-2+deb12u3")
    libraries = "/opt/mlflow/lib/python3.11/site-packages"
    installed = f"mkdir -p {libraries}/Jinja2-2.4.1.dist-info {libraries}/mlflow_stack_server-1.dist-info"
    with (
        derived.image(docker_client, tag, built["debianImage"], old, installed) as outdated,
        osv_server.serving({"pycrypto": [PYCRYPTO], "jinja2": [JINJA]}) as address,
        running(docker_client, stack, {"server": outdated, "gateway": built["gatewayImage"]}),
    ):
        osv = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": address}
        result = checkout.toolchain("scan", stack=stack, environment=osv)
    assert result.code == 1, result.text
    server, gateway = section(result.stdout, "server"), section(result.stdout, "gateway")

    # Debian, by its own mirrors: real updates of a package that is older than it should be.
    assert re.search(r"checked: \d+ Debian packages, by Debian's own mirrors", server), server
    (gnutls,) = (line for line in server.splitlines() if "libgnutls30" in line)
    assert re.match(r"    libgnutls30 3\.7\.9-2\+deb12u3 -> \S+: CVE-", gnutls), gnutls
    assert "CVE-2024-12243" in gnutls, "mended in deb12u4"
    assert "CVE-2024-0553" not in gnutls, "mended before the installed version"
    assert "mend: make update, then make up" in server

    # Python, by OSV; this project's own package is no package of an index.
    assert "checked: 1 Python packages, by OSV" in server
    assert "    jinja2 2.4.1 -> 2.7.2: CVE-2014-1402\n" in server
    assert "mend: newer versions in images/mlflow/locks, then make up" in server
    assert "pycrypto" not in server, "the question that proves the source is no finding"

    # Go, by the Go project's list: the real program of the real image.
    assert re.search(r"checked: /usr/bin/caddy, by the Go project's list of 20\d\d-\d\d-\d\d\n", gateway), gateway
    assert "not checked" not in gateway, gateway
    assert "never checked: PostgreSQL itself" in result.stdout
    assert re.search(r"^known flaws with a fix: \d+, without one: \d+$", result.stdout, re.MULTILINE), result.text


def test_a_flaw_without_a_fix_is_told_and_is_no_failure_while_sources_out_of_reach_are_named(
    docker_client: docker.DockerClient, built: Mapping[str, str], checkout: Checkout
) -> None:
    stack = f"scantest{secrets.token_hex(3)}"
    tag = f"local/mlflow-stack/imagetest:{secrets.token_hex(4)}"
    offline = "printf 'deb http://127.0.0.1:1/debian bookworm-security main\\n' >/etc/apt/sources.list"
    installed = "mkdir -p /lib1/left_pad-1.0.dist-info"
    unmended = osv_server.flaw("PYSEC-1", "left-pad", None)
    with (
        derived.image(docker_client, tag, built["debianImage"], offline, installed) as image,
        osv_server.serving({"pycrypto": [PYCRYPTO], "left-pad": [unmended]}) as address,
        running(docker_client, stack, {"server": image}),
    ):
        osv = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": address}
        result = checkout.toolchain("scan", stack=stack, environment=osv).ok()
    assert re.search(r"not checked: \d+ Debian packages: .*127\.0\.0\.1", result.stdout), result.text
    assert "    left-pad 1.0 -> (no fix): PYSEC-1\n" in result.stdout
    assert (
        "known flaws with a fix: 0, without one: 1; not checked: 1, so this is not the whole picture" in result.stdout
    )


@pytest.mark.parametrize("known", [{}, {"jinja2": [JINJA]}], ids=["nothing", "other packages alone"])
def test_a_source_that_does_not_know_a_package_with_flaws_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, known: Mapping[str, list[dict[str, Any]]]
) -> None:
    with osv_server.serving(known) as address:
        monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", address)
        with pytest.raises(NotCheckedError, match=r"knows no flaws of pycrypto 2\.6\.1, which has some"):
            pip_audit.check([("jinja2", "2.4.1")])


def test_a_source_that_is_out_of_reach_is_not_taken_for_one_without_flaws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    monkeypatch.setenv("PIP_AUDIT_OSV_URL", "http://127.0.0.1:1/v1/query")
    with pytest.raises(NotCheckedError, match="OSV: "):
        pip_audit.check([("jinja2", "2.4.1")])


def test_the_flaws_of_a_package_are_those_since_the_installed_version() -> None:
    said = (
        "Inst one [1.0-1] (1.0-3 Debian:12/oldstable [amd64])\nInst two [1] (2 Debian:12/oldstable [amd64])\n"
        "Changelog one 1.0-1\none (1.0-3) x\nCVE-2026-1111\none (1.0-2) x\nCVE-2026-2222\n"
        "one (1.0-1) x\nCVE-2020-0001\n"
        "Changelog two 1\n"
    )
    one, two = apt.parse(said)
    assert (one.flaws, one.mends) == (("CVE-2026-1111", "CVE-2026-2222"), True)
    assert (two.flaws, two.mends) == ((), False), "newer, but nothing says that it mends a flaw"


@pytest.mark.parametrize(
    ("kind", "role", "reference", "from_packages", "where"),
    [
        ("deb", "postgres", "local/mlflow-stack/postgres:18.4-0", True, "make update"),
        ("deb", "postgres", VENDOR_IMAGES["postgresImage"], False, "components/vendor_images.py"),
        ("deb", "minio", "local/mlflow-stack/minio:source-0", False, "components/vendor_images.py"),
        ("python", "server", "local/mlflow-stack/mlflow:3-0", False, "images/mlflow/locks"),
        ("go", "minio", "local/mlflow-stack/minio:source-0", False, "images/minio/go.mod"),
        ("go", "gateway", "local/mlflow-stack/caddy:2-0", True, "images/gateway/wheel.txt"),
        ("go", "gateway", VENDOR_IMAGES["gatewayImage"], False, "components/vendor_images.py"),
        ("go", "gateway", "my/caddy:2", True, "which your settings name"),
    ],
)
def test_the_mend_names_the_place_where_the_version_is_decided(
    kind: str, role: str, reference: str, from_packages: bool, where: str
) -> None:
    finding = Finding(kind, "x", "1", "2", "CVE-1")
    said = mend(finding, StackImage((role,), reference, "sha256:0"), from_packages=from_packages)
    assert where in said
    for path in re.findall(r"(?:images|components)/\S+[a-z]", said):
        assert (paths.PROJECT_DIR / path).exists(), path


@pytest.mark.parametrize("command", ["scan", "sbom"])
def test_a_stack_that_runs_nothing_is_refused(checkout: Checkout, command: str) -> None:
    refused = checkout.toolchain(command, stack="nowhere")
    assert refused.code == 2, refused.text
    assert refused.stderr == (
        "STACK: nowhere: it has no containers, so it runs no images. mend: make up STACK=nowhere\n"
    )


def test_an_sbom_that_can_not_be_made_leaves_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "server.cdx.json"
    target.write_text("{}", encoding="utf-8")
    with pytest.raises(FailedError, match=r"^syft: name: exit code 1\. mend: make sbom$"):
        syft.write(Path("/bin/false"), "sha256:0", "name", target)
    assert [path.name for path in tmp_path.iterdir()] == ["server.cdx.json"]
    assert target.read_text(encoding="utf-8") == "{}"


def test_an_sbom_lists_packages_and_programs(
    docker_client: docker.DockerClient, built: Mapping[str, str], checkout: Checkout
) -> None:
    if not any(paths.cache_root().glob("syft-*/syft")):
        pytest.skip("building syft takes minutes; once make sbom has built it, this runs")
    stack = f"scantest{secrets.token_hex(3)}"
    with running(docker_client, stack, {"gateway": built["gatewayImage"]}):
        checkout.toolchain("sbom", stack=stack).ok()
    (path,) = (checkout.root / ".local" / "sbom" / stack).iterdir()
    assert path.name == "gateway.cdx.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == built["gatewayImage"]
    held = {(component["name"], component.get("version")) for component in document["components"]}
    assert ("github.com/caddyserver/caddy/v2", "v2.11.7") in held
    packages = apt.installed(docker_client, built["gatewayImage"])
    assert packages is not None
    assert packages.items() <= held, "every Debian package is in it"
