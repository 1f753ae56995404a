"""The values that the contract's fields may have, and what else callers write for them.

Imports no library, so that the HTTP face stays small.
"""

from typing import Literal

Mode = Literal["reference", "one", "many"]
Order = Literal[
    "left-right", "right-left", "top-bottom", "bottom-top", "small-large", "large-small", "best-worst", "worst-best"
]
Age = Literal["child", "teen", "adult", "senior"]
Gender = Literal["female", "male"]

UNSET = ("none", "all")  # callers write these where nothing is filtered or the default is meant
MODE_SYNONYMS = {"all": "many"}
AGE_SYNONYMS = {"儿童": "child", "青少年": "teen", "成人": "adult", "成年": "adult", "老人": "senior", "老年": "senior"}
GENDER_SYNONYMS = {"女": "female", "女性": "female", "男": "male", "男性": "male"}
