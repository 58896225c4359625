"""The other side: the usual compose arrangement, three containers on one network, started in compose's order.

Everything that it waits for is the arrangement's own; what stands between (the CLI of compose, the download of `mc`)
is left out, and the bucket is made by this process, which is quicker than a container of its own. All of that
is in the arrangement's favour.
"""

from __future__ import annotations

import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import docker
from docker.models.containers import Container
from minio import Minio

from bench.cgroups import CannotMeasureError
from tests.stack.harness import free_ports

LABEL: Final = "mlflow-stack.bench"

_SECOND: Final = 1_000_000_000
_PATIENCE: Final = 180.0
_BUCKET: Final = "mlflow"
_USER: Final = "mlflowuser"

#: What the entry point of the vendor's image does with a new volume, in the same steps: it works with the image built
#: from packages, too, which has no such entry point. Nothing is set that the vendor's does not set.
_POSTGRES: Final = """
if ! test -e "$PGDATA/PG_VERSION"; then
    mkdir -p "${PGDATA%/*}"
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=<(printf '%s' "$POSTGRES_PASSWORD") \
        --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses='' -k /tmp" --wait --silent start
    psql --quiet --host=/tmp --username="$POSTGRES_USER" --dbname=postgres --command="CREATE DATABASE $POSTGRES_DB"
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
fi
exec postgres -c listen_addresses='*'
"""

#: The image has no curl, which the arrangement's own probe uses; bash is lighter still.
_MINIO_PROBE: Final = (
    "bash -c 'exec 3<>/dev/tcp/127.0.0.1/9000 && "
    'printf "GET /minio/health/live HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n" >&3 && '
    'read -r -t 10 line <&3 && [[ $line == *" 200 "* ]]\''
)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the arrangement.

    Attributes:
        key: Part of the names of its Docker objects.
        title: What a reader of the table sees.
        postgres_probe: Seconds between two health probes of PostgreSQL.
        minio_probe: Seconds between two health probes of MinIO.
        job_runner: Whether MLflow's job runner is on, as it is by default.
        access_log: Whether the server logs each request, as it does by default.
    """

    key: str
    title: str
    postgres_probe: int = 10
    minio_probe: int = 30
    job_runner: bool = True
    access_log: bool = True


AS_SHIPPED: Final = Variant("shipped", "compose, as shipped")
JOBS_OFF: Final = Variant("jobs-off", "compose, job runner off", job_runner=False)
QUIET: Final = Variant("quiet", "compose, job runner and access log off", job_runner=False, access_log=False)
FAST: Final = Variant("fast", "compose, probes every 1 s", 1, 1)
FAST_JOBS_OFF: Final = Variant("fast-jobs-off", "compose, probes every 1 s, job runner off", 1, 1, job_runner=False)


@dataclass(frozen=True, slots=True)
class Images:
    """The images of the stack, which this side runs too."""

    postgres: str
    minio: str
    mlflow: str


class Compose:
    """One running arrangement.

    Attributes:
        variant: How it runs.
    """

    def __init__(self, client: docker.DockerClient, images: Images, variant: Variant) -> None:
        self.variant = variant
        self._client = client
        self._images = images
        self._prefix = f"mlflow-compose-{variant.key}"
        self._password = secrets.token_urlsafe(18)
        self._mlflow_port, self._minio_port = free_ports(2)

    @property
    def uri(self) -> str:
        """The tracking server's address for a client on this machine."""
        return f"http://localhost:{self._mlflow_port}"

    @property
    def client_environment(self) -> dict[str, str]:
        """What its clients need beside the address: they talk to MinIO themselves."""
        return {
            "MLFLOW_S3_ENDPOINT_URL": f"http://localhost:{self._minio_port}",
            "AWS_ACCESS_KEY_ID": _USER,
            "AWS_SECRET_ACCESS_KEY": self._password,
        }

    @property
    def containers(self) -> list[Container]:
        """Its running containers."""
        return self._client.containers.list(filters={"name": f"^/{self._prefix}-"})

    def up(self) -> None:
        """Start it: the stores together, the tracking server when both are healthy. Returns when that is started.

        Raises:
            CannotMeasureError: A store did not become healthy.
        """
        self._client.networks.create(self._prefix, driver="bridge", labels={LABEL: self.variant.key})
        with ThreadPoolExecutor(2) as pool:
            for store in [pool.submit(self._postgres), pool.submit(self._minio)]:
                store.result()
        self._wait_until_healthy("postgres", "minio")
        minio = Minio(f"localhost:{self._minio_port}", _USER, self._password, secure=False, region="us-east-1")
        if not minio.bucket_exists(_BUCKET):
            minio.make_bucket(_BUCKET)
        self._mlflow()

    def _postgres(self) -> Container:
        return self._run(
            "postgres",
            self._images.postgres,
            alias="mlflow-backend-store",
            entrypoint=["bash", "-euc", _POSTGRES],
            user="999:999",
            environment={"POSTGRES_USER": _USER, "POSTGRES_PASSWORD": self._password, "POSTGRES_DB": "mlflow"},
            volumes={self._volume("postgres"): {"bind": "/var/lib/postgresql", "mode": "rw"}},
            healthcheck=_healthcheck(
                f"pg_isready --host=127.0.0.1 --username={_USER} --dbname=mlflow", self.variant.postgres_probe
            ),
            stop_signal="SIGINT",
        )

    def _minio(self) -> Container:
        return self._run(
            "minio",
            self._images.minio,
            alias="mlflow-artifact-store",
            entrypoint=["minio"],
            command=["server", "/data", "--console-address", ":9001"],
            environment={"MINIO_ROOT_USER": _USER, "MINIO_ROOT_PASSWORD": self._password},
            ports={"9000/tcp": ("127.0.0.1", self._minio_port)},
            volumes={self._volume("minio"): {"bind": "/data", "mode": "rw"}},
            healthcheck=_healthcheck(_MINIO_PROBE, self.variant.minio_probe),
        )

    def _mlflow(self) -> Container:
        database = f"postgresql+psycopg2://{_USER}:{self._password}@mlflow-backend-store:5432/mlflow"
        environment = {
            "MLFLOW_S3_ENDPOINT_URL": "http://mlflow-artifact-store:9000",
            "AWS_ACCESS_KEY_ID": _USER,
            "AWS_SECRET_ACCESS_KEY": self._password,
        }
        if not self.variant.job_runner:
            environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        return self._run(
            "server",
            self._images.mlflow,
            alias="mlflow-server",
            entrypoint=["mlflow"],
            command=[
                "server",
                "--host=0.0.0.0",
                "--port=5000",
                "--workers=4",
                f"--backend-store-uri={database}",
                f"--default-artifact-root=s3://{_BUCKET}/",
                *([] if self.variant.access_log else ["--uvicorn-opts=--no-access-log"]),
            ],
            environment=environment,
            ports={"5000/tcp": ("127.0.0.1", self._mlflow_port)},
        )

    def _volume(self, role: str) -> str:
        name = f"{self._prefix}-{role}"
        self._client.volumes.create(name, labels={LABEL: self.variant.key})
        return name

    def _run(self, role: str, image: str, *, alias: str, **options: Any) -> Container:  # noqa: ANN401 - docker-py's
        aliases = self._client.api.create_endpoint_config(aliases=[alias])
        return self._client.containers.run(
            image,
            name=f"{self._prefix}-{role}",
            detach=True,
            labels={LABEL: self.variant.key},
            network=self._prefix,
            networking_config={self._prefix: aliases},
            **options,
        )

    def _wait_until_healthy(self, *roles: str) -> None:
        end = time.monotonic() + _PATIENCE
        waiting = [self._client.containers.get(f"{self._prefix}-{role}") for role in roles]
        while waiting:
            time.sleep(0.1)
            for container in list(waiting):
                container.reload()
                if container.health == "healthy":
                    waiting.remove(container)
                elif container.status != "running" or time.monotonic() > end:
                    log = container.logs(tail=5).decode(errors="replace")
                    raise CannotMeasureError(f"{container.name}: not healthy: {log}")


def _healthcheck(probe: str, seconds: int) -> dict[str, Any]:
    return {"test": ["CMD-SHELL", probe], "interval": seconds * _SECOND, "timeout": 5 * _SECOND, "retries": 5}
