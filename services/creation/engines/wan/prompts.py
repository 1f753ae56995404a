"""The prompts that the model gets: the caller's, with movement, camera and style added in the caller's language."""

from services.creation.camera import Camera
from services.creation.engine import ClipSpec
from services.creation.request import ANIME, PIXEL
from shared.vocabulary import Language

# What the model shall avoid where the caller named nothing: flaws of the picture, after the model's own published list.
FLAWS = {
    "zh": "过曝，细节模糊不清，字幕，整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，"
    "画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，杂乱的背景，三条腿，倒着走",
    "en": "overexposed, blurred details, subtitles, greyish, worst quality, low quality, JPEG artefacts, ugly, "
    "incomplete, extra fingers, badly drawn hands, badly drawn faces, deformed, disfigured, malformed limbs, "
    "fused fingers, messy background, three legs, walking backwards",
}
MOVEMENT = {
    "zh": (
        "画面几乎静止，只有极轻微的动作",
        "动作缓慢轻柔",
        "动作自然流畅",
        "动作明显，幅度较大",
        "动作强烈而快速，幅度很大",
    ),
    "en": (
        "almost still, with barely perceptible movement",
        "slow and gentle movement",
        "natural, fluid movement",
        "pronounced movement, large motions",
        "intense, fast, dynamic movement, very large motions",
    ),
}
UNWANTED_MOVEMENT = {
    "zh": ("快速运动，剧烈晃动", "快速运动", "", "静止不动的画面，静态", "静止不动的画面，静态，静止"),
    "en": ("fast movement, shaking", "fast movement", "", "still picture, static", "still picture, static, motionless"),
}
STYLE = {
    "zh": {ANIME: "日本动漫风格，赛璐珞上色，线条清晰", PIXEL: "像素画风格，复古电子游戏画面，色块分明"},
    "en": {
        ANIME: "anime style, cel shading, clean line art",
        PIXEL: "pixel art style, retro video game, flat blocks of colour",
    },
}
CAMERA = {
    "zh": {
        ("zoom", 1): "镜头缓缓推近",
        ("zoom", -1): "镜头缓缓拉远",
        ("pan_x", 1): "镜头向右平移",
        ("pan_x", -1): "镜头向左平移",
        ("pan_y", 1): "镜头向上移动",
        ("pan_y", -1): "镜头向下移动",
        ("tilt", 1): "镜头向上摇",
        ("tilt", -1): "镜头向下摇",
        ("rotate", 1): "镜头顺时针旋转",
        ("rotate", -1): "镜头逆时针旋转",
    },
    "en": {
        ("zoom", 1): "the camera slowly zooms in",
        ("zoom", -1): "the camera slowly zooms out",
        ("pan_x", 1): "the camera pans right",
        ("pan_x", -1): "the camera pans left",
        ("pan_y", 1): "the camera moves up",
        ("pan_y", -1): "the camera moves down",
        ("tilt", 1): "the camera tilts up",
        ("tilt", -1): "the camera tilts down",
        ("rotate", 1): "the camera rotates clockwise",
        ("rotate", -1): "the camera rotates counterclockwise",
    },
}
STATIC_CAMERA = {"zh": "固定镜头", "en": "static camera"}
SEPARATOR = {"zh": "，", "en": ", "}


def prompt(spec: ClipSpec, *, movement: bool = True) -> str:
    """Return the caller's prompt unchanged, followed by what the other fields ask for.

    Without `movement` neither movement nor camera is mentioned: a video keeps its own.
    """
    language = _language(spec.prompt)
    phrases = [spec.prompt.strip(), STYLE[language].get(spec.style, "")]
    if movement:
        phrases += [MOVEMENT[language][spec.movement], *_camera_phrases(spec.camera, language)]
    return SEPARATOR[language].join(phrase for phrase in phrases if phrase)


def negative_prompt(spec: ClipSpec, *, movement: bool = True) -> str:
    """Return the caller's negative prompt unchanged, or else a list of flaws; followed by the unwanted movement."""
    language = _language(spec.negative_prompt or spec.prompt)
    phrases = [spec.negative_prompt.strip() or FLAWS[language]]
    if movement:
        phrases.append(UNWANTED_MOVEMENT[language][spec.movement])
    return SEPARATOR[language].join(phrase for phrase in phrases if phrase)


def _camera_phrases(camera: Camera, language: Language) -> list[str]:
    phrases = [CAMERA[language][axis, direction] for axis, direction in vars(camera).items() if direction]
    return phrases or [STATIC_CAMERA[language]]


def _language(text: str) -> Language:
    """Return English for a text in Latin letters, otherwise Chinese, in which the model was trained most."""
    return "en" if any(c.isascii() and c.isalpha() for c in text) and not _is_chinese(text) else "zh"


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= c <= "\u9fff" for c in text)
