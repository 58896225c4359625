"""Garbage: what users deleted, and what nothing refers to any more, leaves the database and the bucket.

MLflow keeps what is deleted, so that a mistake can be undone. `mlflow gc` removes the rows of a deleted run and its
objects, by the address of the server and a login; it leaves the objects of traces, those of the models of a deleted
experiment, and rows without a foreign key, and it removes objects that a registered model still refers to. Here
MLflow's own methods remove the rows, with the rights of the server, and the objects are found the other way round:
from the bucket, by asking whose they were.

- `age`: how long ago something must have been deleted.
- `locations`: what a URI means in the bucket, and whose an object is.
- `references`: what in the database still refers to objects.
- `plan`: which deleted things go, and which stay and why.
- `rows`: the rows that go with them, counted.
- `removal`: the rows removed, by MLflow's own methods.
- `sweep`: the objects of what is not in the database any more.
- `collect`: all of it in the order in which nothing is lost, whenever it is interrupted.
"""

from __future__ import annotations
