"""Pixels, shapes, orientations and colours."""

from tests.shared.media.corpus.row import AV1, CHROMA, FINE, VP9, X264, X265, Row, V, parameters, picture

ROWS = [
    Row("yuv422.mp4", f"{V} {X264} -pix_fmt yuv422p", lost=CHROMA),
    Row("yuv444.mp4", f"{V} {X264} -pix_fmt yuv444p", lost=CHROMA),
    Row("ten.mp4", f"{V} {X264} -pix_fmt yuv420p10le"),
    Row("ten422.mkv", f"{V} {X264} -pix_fmt yuv422p10le", lost=CHROMA),
    Row("ten-hevc.mp4", f"{V} {X265} -pix_fmt yuv420p10le -tag:v hvc1"),
    Row("twelve-hevc.mp4", f"{V} {X265} -pix_fmt yuv420p12le -tag:v hvc1", lost=("bits of a colour beyond 10",)),
    Row("ten-vp9.webm", f"{V} {VP9} -pix_fmt yuv420p10le"),
    Row("ten-av1.mp4", f"{V} {AV1} -pix_fmt yuv420p10le"),
    Row("full.mp4", f"{V} {X264} -pix_fmt yuvj420p"),
    Row("grey.mp4", f"{V} {X264} -pix_fmt gray"),
    Row("gbr.mkv", f"{V} -c:v libx264rgb -pix_fmt rgb24"),
    Row("gbrp.mkv", f"{V} -c:v ffv1 -pix_fmt gbrp"),
    Row("gbrp10.mkv", f"{V} -c:v ffv1 -pix_fmt gbrp10le"),
    Row("rgb48.mkv", f"{V} -c:v ffv1 -pix_fmt gbrp16le", lost=("bits of a colour beyond 10",)),
    Row("grey16.mkv", f"{V} -c:v ffv1 -pix_fmt gray16le", lost=("bits of a colour beyond 10",)),
    Row("yuv410.avi", f"{V} -c:v rawvideo -pix_fmt yuv410p"),
    Row("yuv411.avi", f"{V} -c:v huffyuv -pix_fmt yuv422p", lost=CHROMA),
    Row("bgr24.avi", f"{V} -c:v rawvideo -pix_fmt bgr24"),
    Row("rgb555.avi", f"{V} -c:v rawvideo -pix_fmt rgb555le"),
    Row("palette.mov", f"{V} -vf 'split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none' -c:v png -pix_fmt pal8"),
    Row(
        "fields.mp4",
        f"{V} {X264} -flags +ilme+ildct -x264-params tff=1",
        lost=("interlacing: fields are woven into whole frames",),
    ),
    *(
        Row(
            f"turned-{turn}-{mirror or 'plain'}{suffix}",
            (
                f"{V} {X264} DIR/a.mp4",
                f"-display_rotation {turn} {mirror and f'-display_{mirror}'} -i DIR/a.mp4 -c copy",
            ),
        )
        for turn in (0, 90, 180, 270)
        for mirror in ("", "hflip", "vflip")
        for suffix in (".mp4", ".mov")
        if turn or mirror
    ),
    Row("turned.mkv", (f"{V} {X264} DIR/a.mp4", "-display_rotation 90 -i DIR/a.mp4 -c copy")),
    Row("turned-mirrored.mkv", (f"{V} {X264} DIR/a.mp4", "-display_rotation 90 -display_hflip -i DIR/a.mp4 -c copy")),
    Row("turned-wide.mp4", (f"{V} -vf setsar=4/3 {X264} DIR/a.mp4", "-display_rotation 270 -i DIR/a.mp4 -c copy")),
    Row("turned-by-codec.ts", f"{V} {X264} -bsf:v h264_metadata=display_orientation=insert:rotate=90"),
    *(
        Row(f"shape-{number}{suffix}", f"{V} -vf setsar={shape} {codec}")
        for number, shape in enumerate(("32/27", "3/4", "10/11", "2"))
        for suffix, codec in {
            ".mp4": X264,
            ".mkv": X264,
            ".ts": X264,
            ".webm": VP9,
            ".mov": f"{X264} -bf 0",
            ".avi": f"-c:v mpeg4 {FINE}",
        }.items()
    ),
    Row("shape-av1.mp4", f"{V} -vf setsar=32/27 {AV1} -pix_fmt yuv420p"),
    Row("shape-ffv1.mkv", f"{V} -vf setsar=32/27 -c:v ffv1 -pix_fmt yuv420p"),
    Row("shape-prores.mov", f"{V} -vf setsar=32/27 -c:v prores_ks", lost=CHROMA),
    Row("shape-overridden.mp4", (f"{V} -vf setsar=2 {X264} DIR/a.mp4", "-i DIR/a.mp4 -c copy -aspect 4:3")),
    Row("odd.webm", f"{picture(size='63x35')} {VP9}"),
    Row("odd.mp4", f"{picture(size='63x35')} {X264} -pix_fmt yuv444p", lost=CHROMA),
    Row("odd-high.mkv", f"{picture(size='64x35')} -c:v ffv1 -pix_fmt yuv420p"),
    Row("odd-wide.avi", f"{picture(size='65x36')} -c:v mpeg4 {FINE}"),
    Row("odd.png.mov", f"{picture(size='37x53')} -c:v png -pix_fmt rgb24"),
    Row("small.mp4", f"{picture(size='16x16')} {X264}"),
    Row("tiny.mkv", f"{picture(size='2x2')} -c:v ffv1 -pix_fmt yuv420p"),
    Row("tall.mp4", f"{picture(size='16x256')} {X264}"),
    Row("flat.mp4", f"{picture(size='256x16')} {X264}"),
    Row("coded-larger.mp4", f"{picture(size='66x38')} {X264}"),
    *(
        Row(f"colour-{name}{suffix}", f"{V} -vf {parameters(*tags)} {codec} {depth}")
        for name, depth, *tags in [
            ("709", "", "bt709", "bt709", "bt709", "tv"),
            ("601", "", "smpte170m", "smpte170m", "smpte170m", "tv"),
            ("pal", "", "bt470bg", "bt470bg", "bt470bg", "tv"),
            ("full", "", "bt709", "bt709", "bt709", "pc"),
            ("pq", "-pix_fmt yuv420p10le", "bt2020nc", "bt2020", "smpte2084", "tv"),
            ("hlg", "-pix_fmt yuv420p10le", "bt2020nc", "bt2020", "arib-std-b67", "tv"),
            ("240", "", "smpte240m", "smpte240m", "smpte240m", "tv"),
            ("srgb", "", "bt709", "bt709", "iec61966-2-1", "pc"),
        ]
        for suffix, codec in ((".mp4", X264), (".mkv", X265), (".webm", VP9))
    ),
    Row(
        "alpha.mov",
        f"{V} -c:v prores_ks -pix_fmt yuva444p10le -vf format=yuva444p10le,colorchannelmixer=aa=0.5",
        lost=(*CHROMA, "bits of a colour beyond 10", "transparency"),
    ),
    Row(
        "alpha.webm", f"{V} -vf format=yuva420p,colorchannelmixer=aa=0.5,format=yuva420p {VP9}", lost=("transparency",)
    ),
]
