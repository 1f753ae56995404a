"""Still pictures: read as a viewer shows them, written with their provenance."""

import io
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError
from PIL.Image import Image as PillowImage

from shared.arrays import Picture
from shared.errors import UnreadableMedia
from shared.files.handles import InputFile, OutputFile, write_problem
from shared.media.media_info import MediaHeader
from shared.media.provenance import Label
from shared.media.watermark import stamp

MAX_PICTURE_PIXELS: Final = 80_000_000  # below Pillow's own alarm
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "JPEG2000")
_ANIMATED_FORMATS: Final = ("GIF", "PNG", "WEBP", "AVIF")
_FILM_FORMATS: Final = ("GIF", "PNG")  # of these, the ones that libav reads as videos
_SUFFIXES: Final = {"JPEG": ".jpg", "MPO": ".jpg", "WEBP": ".webp"}  # all others become PNG
_JPEG_QUALITY: Final = 95
_NAMESPACE: Final = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_XMP: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    f'<rdf:Description rdf:about="" xmlns:TC260="{_NAMESPACE}"><TC260:AIGC>{{label}}</TC260:AIGC>'
    '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)


def is_picture(file: InputFile) -> bool:
    """Whether the file is in one of our picture formats; an animation that can be read as a video is none."""
    try:
        with Image.open(file.url, formats=_FORMATS) as image:
            return not (image.format in _FILM_FORMATS and _is_animated(image))
    except UnidentifiedImageError:
        return False
    except Exception:  # noqa: BLE001  # see `_opened`: known, and damaged
        return True


def is_animation(file: InputFile) -> bool:
    """Whether `read_pictures` finds a second picture to be shown after the first; False for what it cannot read."""
    try:
        with _opened(file, animated=True) as image:
            return _is_animated(image)
    except UnreadableMedia:
        return False


def picture_header(file: InputFile, *, animated: bool = False) -> MediaHeader:
    """Return what the header says, with the size as a viewer shows it; raise UnreadableMedia, also for an animation
    unless it may be one.
    """  # fmt: skip
    with _opened(file, animated=animated) as image:
        width, height = image.size
        if image.getexif().get(0x0112, 1) in {5, 6, 7, 8}:  # orientations that are turned by 90 degrees
            width, height = height, width
        return MediaHeader(kind="image", width=width, height=height, bit_depth=16 if "16" in image.mode else 8)


def picture_suffix(file: InputFile) -> str:
    """Return the suffix for a result in the file's own format, ".png" where we do not write that."""
    with _opened(file) as image:
        return _SUFFIXES.get(image.format or "", ".png")


def read_picture(file: InputFile) -> Picture:
    """Return (height, width, 3) uint8 sRGB, turned upright; transparent parts become white.

    Raises UnreadableMedia for a file that is no picture or an animated one, is damaged or too large.
    """
    with _opened(file) as image:
        try:
            return np.array(_as_rgb(ImageOps.exif_transpose(image)))
        except Exception as problem:  # Pillow raises almost anything for a damaged file
            raise UnreadableMedia("media_not_a_picture", name=file.name) from problem


def read_pictures(file: InputFile) -> Iterator[Picture]:
    """Yield the pictures of an animation as `read_picture` reads one; a file without a second one has one."""
    with _opened(file, animated=True) as image:
        for index in range(getattr(image, "n_frames", 1)):
            try:
                image.seek(index)
                picture = np.array(_as_rgb(ImageOps.exif_transpose(image)))
            except Exception as problem:  # as above
                raise UnreadableMedia("media_not_a_picture", name=file.name) from problem
            yield picture


def write_picture(image: Picture, target: OutputFile, *, label: Label | None) -> None:
    """Write (height, width, 3) uint8 in the format of `target.suffix`: .jpg, .png or .webp.

    `label` goes into the XMP, and onto the picture if it is a visible one; None is for pictures that no machine made,
    such as a crop of the input. Raises JobFailed when it cannot be written.
    """
    if label is not None and label.visible:
        image = stamp(image)
    xmp = _XMP.format(label=escape(label.implicit())).encode() if label else None
    encoded = io.BytesIO()
    picture = Image.fromarray(image)
    match target.suffix:
        case ".jpg" | ".jpeg":
            picture.save(encoded, "JPEG", quality=_JPEG_QUALITY, subsampling=0, xmp=xmp or b"")
        case ".png":
            chunks = PngImagePlugin.PngInfo()
            if xmp:
                chunks.add_itxt("XML:com.adobe.xmp", xmp.decode())
            picture.save(encoded, "PNG", pnginfo=chunks)
        case ".webp":
            picture.save(encoded, "WEBP", quality=_JPEG_QUALITY, xmp=xmp or b"")
        case suffix:
            message = f"no picture format is called {suffix}; there are .jpg, .png and .webp"
            raise ValueError(message)
    try:
        with open(target.url, "wb") as output:  # noqa: PTH123  # the name of a descriptor
            output.write(encoded.getbuffer())
    except OSError as problem:
        raise write_problem(problem, target.name) from problem


def _opened(file: InputFile, *, animated: bool = False) -> PillowImage:
    """Open lazily, formats and size checked; an animation is refused unless it may be `animated`."""
    try:
        image = Image.open(file.url, formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        raise UnreadableMedia("picture_too_large", name=file.name, limit=MAX_PICTURE_PIXELS) from problem
    except Exception as problem:  # Pillow raises almost anything for a damaged file
        raise UnreadableMedia("media_not_a_picture", name=file.name) from problem
    if image.width * image.height > MAX_PICTURE_PIXELS:
        image.close()
        raise UnreadableMedia("picture_too_large", name=file.name, limit=MAX_PICTURE_PIXELS)
    if _is_animated(image) and not animated:
        image.close()
        raise UnreadableMedia("picture_animated", name=file.name)
    return image


def _is_animated(image: PillowImage) -> bool:
    """Whether it has a second picture to be shown after the first: the pages of a TIFF and a phone's depth are none."""
    return image.format in _ANIMATED_FORMATS and bool(getattr(image, "is_animated", False))


def _as_rgb(image: PillowImage) -> PillowImage:
    """Convert any mode to RGB in sRGB."""
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255
        image = Image.fromarray((np.asarray(image, np.uint16) >> 8).astype(np.uint8))
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # a broken profile is treated as none
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
