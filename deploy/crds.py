"""Turn published CRDs into the JSON Schemas of deploy/k8s/schemas: `python -m deploy.crds CRD.yaml …`.

kubernetes-validate knows Kubernetes itself; what Gateway API and KEDA add to it is validated with these. Descriptions
are left out, and a field that the CRD does not name is an error, as for an API server that validates strictly.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

SCHEMAS = Path(__file__).parent / "k8s" / "schemas"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_WORDS = {"description", "example", "default"}


def write(crd: dict[str, Any], folder: Path = SCHEMAS) -> Iterable[Path]:
    """Write one schema for each version that the CRD serves; yield where."""
    spec = crd["spec"]
    for version in spec["versions"]:
        if version["served"]:
            schema = {"$schema": DIALECT, **strict(version["schema"]["openAPIV3Schema"])}
            schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
            target = folder / file_name(spec["names"]["kind"], f"{spec['group']}/{version['name']}")
            target.write_text(json.dumps(schema, separators=(",", ":")) + "\n", encoding="utf-8")
            yield target


def file_name(kind: str, api_version: str) -> str:
    """Return the file of a kind's schema; `api_version` is `group/version`."""
    return f"{kind}-{api_version.replace('/', '-')}.json".lower()


def strict(schema: Any) -> Any:
    """Return an OpenAPI v3 schema as JSON Schema in which every object has the named fields only."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    plain = {key: value for key, value in schema.items() if key not in _WORDS and not key.startswith("x-kubernetes-")}
    named = plain.pop("properties", None)
    result = {key: strict(value) for key, value in plain.items()}
    if named is not None:
        result["properties"] = {name: strict(value) for name, value in named.items()}
        if result.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
            result.setdefault("additionalProperties", False)
    return result


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        for crd in yaml.safe_load_all(Path(argument).read_text(encoding="utf-8")):
            list(write(crd))
