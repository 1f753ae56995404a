"""Names that all parts of the project use: services, kinds and states of tasks, languages."""

from typing import Literal, get_args

ServiceName = Literal["creation", "facefusion", "interpo", "upscale"]
TaskKind = Literal["generate", "preview"]
TaskState = Literal["queued", "running", "succeeded", "failed", "cancelled"]
CallbackState = Literal["none", "pending", "delivered", "parked"]
Language = Literal["en", "zh"]

SERVICES: tuple[ServiceName, ...] = get_args(ServiceName)
TASK_KINDS: tuple[TaskKind, ...] = get_args(TaskKind)
TASK_STATES: tuple[TaskState, ...] = get_args(TaskState)
CALLBACK_STATES: tuple[CallbackState, ...] = get_args(CallbackState)
LANGUAGES: tuple[Language, ...] = get_args(Language)
