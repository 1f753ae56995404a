"""Files that do not lie in the media folders: where inputs may be fetched from, and where results also go."""

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from shared.settings.group import Group, named_after
from shared.settings.values import BucketUrl, HostNames


class FetchSettings(Group):
    """Inputs from elsewhere"""

    model_config = named_after("KINORA_FETCH_{}")

    hosts: HostNames = ()
    """The hosts that inputs may be fetched from by `http` and `https` URLs; without any, inputs are local paths."""

    private: bool = False
    """Whether these hosts may have addresses of private networks or of this machine. Whoever controls their names can
    then reach everything that this machine can."""

    max_mb: PositiveInt = 8192
    """The largest file that is fetched, in megabytes of 2^20 bytes."""

    timeout_seconds: PositiveFloat = 3600
    """The longest fetch of one file, in seconds; it does not count as the task's run."""


class StoreSettings(Group):
    """Results in a bucket"""

    model_config = named_after("KINORA_RESULT_STORE_{}")

    url: Annotated[BucketUrl, Field(validation_alias="KINORA_RESULT_STORE")] = None
    """A bucket that results are put into as well. Endpoint, region and credentials are the usual `AWS_` variables."""

    seconds: PositiveFloat = 600
    """How long a task's callback waits for that, in seconds; then the task ends without."""
