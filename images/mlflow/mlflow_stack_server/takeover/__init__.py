"""Coming from elsewhere: what another MLflow keeps is brought into an empty stack, and the other one is only read.

- `order`: what is asked for, as the toolchain writes it.
- `source`: the other one's database, as one of this MLflow's schema: a copy is upgraded where it is older.
- `locations`: where everything was, and where it will be.
- `artifacts`: what is there, read from a folder or from S3, and copied into the bucket.
- `rows`: the rows, copied and compared in one transaction.
- `run`: all of it, in the order in which an interrupted one can be run again.
"""

from __future__ import annotations
