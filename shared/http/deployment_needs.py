"""What a service tells BentoML, and through its bento whoever deploys it, of what it needs.

The same figures are the requests of the runners' pods in deploy/k8s; a test compares them. No `envs`: for a service
that starts with the router, as in `kinora serve`, BentoML prefers the declared value to the one of the environment, and
a variable without a value must be set.
"""

from typing import Any


def needs_of_a_service() -> dict[str, Any]:
    """Return the arguments for `bentoml.service` of a service that runs models: one GPU for each replica."""
    return {
        "resources": {"cpu": "2", "memory": "8Gi", "gpu": 1},
        "labels": {"part-of": "kinora", "component": "service"},
    }


def needs_of_the_router() -> dict[str, Any]:
    """Return those of the router, which runs none."""
    return {
        "resources": {"cpu": "250m", "memory": "256Mi"},
        "labels": {"part-of": "kinora", "component": "router"},
    }
