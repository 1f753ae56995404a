"""The values that the contract's fields may have; imports no library, so that the HTTP face stays small."""

from typing import Literal

Mode = Literal["reference", "one", "many"]
Order = Literal[
    "left-right", "right-left", "top-bottom", "bottom-top", "small-large", "large-small", "best-worst", "worst-best"
]
Age = Literal["child", "teen", "adult", "senior"]
Gender = Literal["female", "male"]
