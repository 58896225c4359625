"""Another version of MLflow, or another major version of PostgreSQL, on data that is there.

Both go the same way: the tracking server is stopped, the data is copied, the copy is brought to the new version and
looked at, and then takes the place of what it was copied from. That stays as it was until the new version has passed
the check at the end of `up`, so it is the way back, from wherever a run was cut off.

- `found`: what is there, asked of the Docker host and of the server.
- `plan`: what is to be done, or why it is refused.
- `schema`: the backend store to the schema of another MLflow.
- `cluster`: all databases to another major version of PostgreSQL.
- `steps`: when, in a deployment.
- `minio`: the one way in which another MinIO is not let go.

`toolchain.upgrade` goes back where a later step fails. See `docs/decisions/upgrades.md`.
"""
