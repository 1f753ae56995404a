"""The label that says that a machine made a file.

GB 45438-2025 and the measures in force since 2025-09-01 ask for an implicit label in the file's metadata, exactly one,
and for a visible one unless the user agreed otherwise. This follows public descriptions of them and claims no
certified compliance.
"""

import json
import re
from dataclasses import dataclass

from shared.files.handles import OutputFile
from shared.settings import Settings

KEY = "AIGC"


@dataclass(frozen=True)
class Label:
    """Who made a file, under which number, and whether the label is also visible in the picture.

    `producer` and `produce_id` are printable ASCII without spaces and not empty.
    """

    producer: str
    produce_id: str
    visible: bool = False

    @classmethod
    def of(cls, settings: Settings, target: OutputFile) -> "Label":
        """Label an output with its own name, which contains service, task and attempt and so identifies its run."""
        wanted = settings.encoding
        return cls(wanted.content_producer, re.sub(r"[^!-~]", "", target.stem) or "unnamed", wanted.visible_label)

    def implicit(self) -> str:
        """Return the value of the metadata key `AIGC`: a JSON object of strings, without spaces."""
        return json.dumps(
            {
                "Label": "1",
                "ContentProducer": self.producer,
                "ProduceID": self.produce_id,
                "ReservedCode1": "",
                "ContentPropagator": "",
                "PropagateID": "",
                "ReservedCode2": "",
            },
            separators=(",", ":"),
        )
