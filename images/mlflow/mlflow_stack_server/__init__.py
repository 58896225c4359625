"""What the MLflow image adds to MLflow: a launcher, a schema gate, a deep health check, one front door.

The package runs inside the image only. It calls MLflow's public entry points and changes nothing in MLflow itself.
"""

from __future__ import annotations

__version__ = "1"
