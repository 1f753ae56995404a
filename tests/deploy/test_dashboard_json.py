"""The dashboard's JSON has what Grafana's published schema requires, and nothing that it does not know.

The whole of it was checked against `jsonschema/` of grafana-foundation-sdk (commit f178d5a). What stands here are the
rules of that schema for what this dashboard uses, in our own words: a field that they do not name is a complaint too.
"""

import copy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from deploy.observability.series import dashboard

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
WHOLE: Schema = {"type": "integer", "minimum": 0}
TEXTS: Schema = {"type": "array", "items": TEXT}
EMPTY: Schema = {"type": "array", "maxItems": 0}


def one_of(*names: object) -> Schema:
    return {"enum": list(names)}


def object_of(required: Schema, optional: Schema | None = None) -> Schema:
    """An object with exactly these fields."""
    fields = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": fields, "additionalProperties": False}


SOURCE = object_of({"type": one_of("prometheus"), "uid": TEXT})
PLACE = object_of({"h": WHOLE, "w": WHOLE | {"maximum": 24}, "x": WHOLE | {"maximum": 23}, "y": WHOLE})
TARGET = object_of({"expr": TEXT, "refId": TEXT, "datasource": SOURCE, "legendFormat": TEXT})
LINES = object_of(
    {
        "legend": object_of(
            {
                "displayMode": one_of("list", "table", "hidden"),
                "placement": one_of("bottom", "right"),
                "showLegend": FLAG,
                "calcs": TEXTS,
            }
        ),
        "tooltip": object_of({"mode": one_of("single", "multi", "none"), "sort": one_of("asc", "desc", "none")}),
    }
)
STAT = object_of(
    {
        "reduceOptions": object_of({"calcs": TEXTS}, {"values": FLAG}),
        "orientation": one_of("auto", "vertical", "horizontal"),
        "textMode": one_of("auto", "value", "value_and_name", "name", "none"),
        "colorMode": one_of("value", "background", "background_solid", "none"),
        "graphMode": one_of("none", "line", "area"),
        "justifyMode": one_of("auto", "center"),
        "percentChangeColorMode": one_of("standard", "inverted", "same_as_value"),
        "showPercentChange": FLAG,
        "wideLayout": FLAG,
    }
)
LINE_STYLE = object_of({}, {"lineWidth": WHOLE, "fillOpacity": WHOLE, "showPoints": one_of("auto", "never", "always")})


def panel(kind: str, options: Schema, custom: Schema) -> Schema:
    defaults = object_of({"unit": TEXT}, {"min": {"type": "number"}, **custom})
    return object_of(
        {
            "id": WHOLE, "type": one_of(kind), "title": TEXT, "description": TEXT, "datasource": SOURCE,
            "gridPos": PLACE, "fieldConfig": object_of({"defaults": defaults, "overrides": EMPTY}),
            "targets": {"type": "array", "minItems": 1, "items": TARGET}, "options": options,
        }
    )  # fmt: skip


PANELS: dict[str, Schema] = {
    "row": object_of(
        {"id": WHOLE, "type": one_of("row"), "title": TEXT, "collapsed": FLAG, "panels": EMPTY, "gridPos": PLACE}
    ),
    "timeseries": panel("timeseries", LINES, {"custom": LINE_STYLE}),
    "stat": panel("stat", STAT, {}),
}
VARIABLE = object_of(
    {"type": one_of("datasource", "query"), "name": TEXT, "query": TEXT},
    {
        "label": TEXT, "definition": TEXT, "datasource": SOURCE, "multi": FLAG, "includeAll": FLAG, "allValue": TEXT,
        "current": object_of({"text": TEXT, "value": TEXT}), "refresh": one_of(0, 1, 2), "sort": WHOLE,
        "hide": one_of(0, 1, 2),
    },
)  # fmt: skip
LISTS = object_of({"list": EMPTY})
DASHBOARD = object_of(
    {"schemaVersion": WHOLE, "templating": object_of({"list": {"type": "array", "items": VARIABLE}}),
     "annotations": LISTS, "title": TEXT, "uid": TEXT, "panels": {"type": "array"}},
    {"description": TEXT, "tags": TEXTS, "version": WHOLE, "editable": FLAG, "timezone": TEXT, "refresh": TEXT,
     "time": object_of({"from": TEXT, "to": TEXT}), "links": EMPTY},
)  # fmt: skip


def complaints(content: dict[str, Any]) -> list[str]:
    found = [error.message for error in Draft202012Validator(DASHBOARD).iter_errors(content)]
    for one in content["panels"]:
        found += [error.message for error in Draft202012Validator(PANELS[one["type"]]).iter_errors(one)]
    return found


def test_the_dashboard_is_valid() -> None:
    assert complaints(dashboard()) == []


@pytest.mark.parametrize("kind", ["timeseries", "stat"])
@pytest.mark.parametrize("place", [("fieldConfig", "defaults"), ("options",), ("targets", 0), ("gridPos",)])
def test_a_misspelt_field_is_found(kind: str, place: tuple[str | int, ...]) -> None:
    wrong = copy.deepcopy(dashboard())
    spot = next(one for one in wrong["panels"] if one["type"] == kind)
    for step in place:
        spot = spot[step]
    spot["misspelt"] = True
    assert "misspelt" in " ".join(complaints(wrong))


def test_no_panel_lies_over_another() -> None:
    taken: set[tuple[int, int]] = set()
    for one in dashboard()["panels"]:
        place = one["gridPos"]
        columns, rows = (range(place[at], place[at] + place[size]) for at, size in (("x", "w"), ("y", "h")))
        cells = {(x, y) for x in columns for y in rows}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, one["title"]
        taken |= cells
