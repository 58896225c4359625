"""Images built from a context, after pulumi-docker's provider/{provider,image}.go: local ones, by the classic builder.

A push, a build cache and BuildKit need what docker-py has not; they are refused by name.
"""

from __future__ import annotations

import io
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from toolchain.plugins.docker import context
from toolchain.plugins.docker.daemon import said
from toolchain.plugins.protocol import provider_pb2
from toolchain.plugins.wire import UNKNOWN, Properties, Secret, Value, decode, encode, is_known

if TYPE_CHECKING:
    from toolchain.plugins.docker.daemon import Daemon
    from toolchain.plugins.resource import EngineLog

_INPUTS: Final = ("imageName", "build", "buildOnPreview", "skipPush", "registry")
_BUILD_INPUTS: Final = ("context", "dockerfile", "args", "target", "platform", "network", "addHosts", "builderVersion")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_DEFAULT_DOCKERFILE: Final = "Dockerfile"


class Image:
    """An image."""

    def __init__(self, daemon: Daemon) -> None:
        """Work on this daemon."""
        self._daemon = daemon

    def check(self, request: Value, log: EngineLog) -> Value:
        """Fill in where the Dockerfile is, the platform, and the context's digest."""
        inputs = decode(request.news)
        refused = _refused(inputs)
        if refused:
            failures = [provider_pb2.CheckFailure(property=key, reason=reason) for key, reason in refused]
            return provider_pb2.CheckResponse(failures=failures)
        if not isinstance(inputs.get("buildOnPreview"), bool):
            inputs["buildOnPreview"] = False
        build = inputs.get("build")
        if build is None:
            build = {}
        if isinstance(build, dict):
            if build.get("context") is not UNKNOWN:
                build["context"] = build.get("context") or "."
            if build.get("dockerfile") is not UNKNOWN and build["context"] is not UNKNOWN:
                where = build.get("dockerfile") or os.path.normpath(f"{build['context']}/{_DEFAULT_DOCKERFILE}")
                build["dockerfile"] = where
                _must_exist(where, build["context"])
                build["contextDigest"] = context.digest(build["context"], where)
            if build.get("platform") is None:
                build["platform"] = _platform()
                log.say(
                    request.urn,
                    f"Building your image for {build['platform']} architecture.\n"
                    "To ensure you are building for the correct platform, consider "
                    "explicitly setting the `platform` field on ImageBuildOptions.",
                    passing=False,
                )
            inputs["build"] = build
        return provider_pb2.CheckResponse(inputs=encode(inputs))

    def diff(self, request: Value) -> Value:
        """Compare with the inputs the image was built from."""
        olds = decode(request.olds).get("__inputs") or {}
        news = decode(request.news)
        found: Properties = {}
        for key in {*olds, *news}:
            if olds.get(key) == news.get(key) and is_known(news.get(key)):
                continue
            # A new password alone is no reason to build.
            both = key in olds and key in news
            if key == "registry" and both and olds[key].get("server") == news[key].get("server"):
                continue
            kind = (
                provider_pb2.PropertyDiff.ADD
                if key not in olds
                else provider_pb2.PropertyDiff.DELETE
                if key not in news
                else provider_pb2.PropertyDiff.UPDATE
            )
            found[key] = provider_pb2.PropertyDiff(kind=kind)
        if not found:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME, detailedDiff=found, hasDetailedDiff=True
        )

    def create(self, request: Value, log: EngineLog) -> Value:
        """Build it; in a preview only when asked to."""
        inputs = decode(request.properties)
        if request.preview and not self._previews(inputs):
            return provider_pb2.CreateResponse(properties=request.properties)
        outputs = self._build(inputs, request.urn, log)
        return provider_pb2.CreateResponse(id=inputs["imageName"], properties=encode(outputs))

    def update(self, request: Value, log: EngineLog) -> Value:
        """Build it again."""
        inputs = decode(request.news)
        if request.preview and not self._previews(inputs):
            return provider_pb2.UpdateResponse(properties=request.news)
        return provider_pb2.UpdateResponse(properties=encode(self._build(inputs, request.urn, log)))

    @staticmethod
    def _previews(inputs: Properties) -> bool:
        return bool(inputs.get("buildOnPreview") is True and is_known(inputs))

    def _build(self, inputs: Properties, urn: str, log: EngineLog) -> Properties:
        build = inputs["build"]
        where = build["context"]
        tar, inside = context.archive(where, build["dockerfile"])
        api = self._daemon.api
        name: str = inputs["imageName"]
        log.say(urn, "Starting Docker build")
        tail: list[str] = []
        try:
            for line in api.build(
                fileobj=io.BytesIO(tar),
                custom_context=True,
                dockerfile=inside,
                tag=name,
                buildargs=build.get("args") or None,
                target=build.get("target") or None,
                platform=build.get("platform") or None,
                network_mode=build.get("network") or None,
                extra_hosts=_hosts(build.get("addHosts")),
                rm=True,
                forcerm=True,
                decode=True,
            ):
                _follow(line, tail, lambda text: log.say(urn, text))
            image = api.inspect_image(name)
        except _BuildError:
            raise
        except Exception as error:
            msg = f"error building image: {said(error)}"
            raise RuntimeError(msg) from error
        return {
            "dockerfile": context.relative_dockerfile(where, build["dockerfile"]),
            "context": where,
            "baseImageName": name,
            "registryServer": (inputs.get("registry") or {}).get("server") or "",
            "imageName": name,
            "platform": build.get("platform") or "",
            "repoDigest": image["Id"],
            "__inputs": Secret(inputs),
        }


class _BuildError(RuntimeError):
    """A step of the build failed."""


def _follow(line: Properties, tail: list[str], say: Value) -> None:
    """Show a line of the build's output; keep the last ones for the error."""
    if "error" in line:
        context_lines = "\n".join(tail[-20:])
        msg = f"error reading build output: {line['error']}" + (f"\n{context_lines}" if context_lines else "")
        raise _BuildError(msg)
    text = str(line.get("stream") or line.get("status") or "").strip()
    if text:
        tail.append(text)
        say(text)


def _hosts(given: list[str] | None) -> dict[str, str] | None:
    return dict(each.split(":", 1) for each in given) if given else None


def _platform() -> str:
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def _refused(inputs: Properties) -> list[tuple[str, str]]:
    found = [(key, f"Invalid or unknown key '{key}'") for key in inputs if key not in _INPUTS]
    if not inputs.get("imageName"):
        found.append(("imageName", "Missing required property 'imageName'"))
    if inputs.get("skipPush") is not True:
        found.append(("skipPush", "the Docker plugin made from packages does not push: set skipPush to true"))
    build = inputs.get("build")
    if isinstance(build, dict):
        found += [
            (f"build.{key}", f"the Docker plugin made from packages has no '{key}'")
            for key in build
            if key not in _BUILD_INPUTS and key != "contextDigest"
        ]
        if build.get("builderVersion") not in (None, UNKNOWN, "BuilderV1"):
            found.append(("build.builderVersion", "the Docker plugin made from packages has the classic builder only"))
    elif build is not None and build is not UNKNOWN:
        found.append(("build", "expected an object"))
    return found


def _must_exist(dockerfile: str, where: str) -> None:
    if Path(dockerfile).exists():
        return
    reason = f"stat {dockerfile}: no such file or directory"
    if Path(dockerfile).is_absolute():
        msg = f'expected a relative Dockerfile path; got "{dockerfile}" instead: {reason}'
        raise RuntimeError(msg)
    inside = os.path.normpath(f"{where}/{dockerfile}")
    if Path(inside).exists():
        msg = f'could not open dockerfile at relative path "{dockerfile}". Try setting `dockerfile` to "{inside}"'
        raise RuntimeError(msg)
    msg = f'could not open dockerfile at relative path "{dockerfile}": {reason}'
    raise RuntimeError(msg)
