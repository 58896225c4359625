"""Images: pulled by reference, or built here under a tag that says what is in them."""

from __future__ import annotations

import pulumi
import pulumi_docker as docker

from components.builds import Build


class BuiltImage(pulumi.ComponentResource):
    """An image built on the Docker host, never pushed.

    What runs it takes `reference`, a plain string, so that a preview shows the new tag, and depends on this
    component, so that it waits for the build. Who waits by an output waits for `there`.
    """

    def __init__(self, name: str, args: Build, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:BuiltImage", name, None, opts)
        self.reference = args.reference
        image = docker.Image(
            f"{name}-image",
            image_name=self.reference,
            skip_push=True,
            build=docker.DockerBuildArgs(
                context=args.context,
                dockerfile=f"{args.context}/Dockerfile",
                args=dict(sorted(args.args.items())),
                platform="linux/amd64" if _is_amd64() else "linux/arm64",
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.there = image.urn
        self.register_outputs({"reference": self.reference})


class PulledImage(pulumi.ComponentResource):
    """An image taken from a registry, or one that is on the Docker host already.

    It stays on the host when the stack goes: another stack may run it, and Docker would refuse half-way.
    """

    def __init__(self, name: str, reference: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("mlflow-stack:index:PulledImage", name, None, opts)
        self.reference = reference
        image = docker.RemoteImage(
            f"{name}-image", name=reference, keep_locally=True, opts=pulumi.ResourceOptions(parent=self)
        )
        self.there = image.urn
        self.register_outputs({"reference": self.reference})


def _is_amd64() -> bool:
    import platform  # noqa: PLC0415 - used once, and it starts a subprocess on some systems

    return platform.machine() in {"x86_64", "AMD64"}
