"""What a service tells BentoML, and through its bento whoever deploys it, of what it needs.

The same figures are the requests of the pods in deploy/k8s; a test compares them.
"""

from typing import Any

from shared.settings import Settings

OFFERED = ("KINORA_CALLBACK_URL", "KINORA_DEVICE", "KINORA_DRAIN_SECONDS")  # what a deployment is likely to change


def needs_of_a_service() -> dict[str, Any]:
    """Return the arguments for `bentoml.service` of a service that runs models: one GPU for each replica."""
    return {
        "resources": {"cpu": "2", "memory": "8Gi", "gpu": 1},
        "labels": {"part-of": "kinora", "component": "service"},
        "envs": _offered(),
    }


def needs_of_the_router() -> dict[str, Any]:
    """Return those of the router, which runs none."""
    return {
        "resources": {"cpu": "250m", "memory": "256Mi"},
        "labels": {"part-of": "kinora", "component": "router"},
    }


def _offered() -> list[dict[str, str]]:
    """Return variables with their defaults. Without a value BentoML would start nothing until each of them is set."""
    fields = Settings.variables()
    return [{"name": name, "value": str(fields[name].default), "stage": "runtime"} for name in OFFERED]
