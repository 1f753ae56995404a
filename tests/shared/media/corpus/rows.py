"""The table: one file a row, with the ffmpeg arguments that make it."""

from fractions import Fraction

from tests.shared.media.corpus.row import X264, Row, picture, tone

V, A = picture(), tone()
VP9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"
VP8 = "-c:v libvpx -deadline realtime -cpu-used 8"
AV1 = "-c:v libsvtav1 -preset 12"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error"
GIF = "-vf 'split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none' -c:v gif"
VARIABLE = "setpts='(N/24+mod(N*N*7,5)/90)/TB'"  # never back
FINE = "-q:v 2"
CHROMA = ("colour finer than one sample for four pixels",)

CONTAINERS = [
    Row("plain.mp4", f"{V} {A} {X264} -c:a aac"),
    Row("plain.mov", f"{V} {A} {X264} -c:a aac"),
    Row("plain.m4v", f"{V} {A} {X264} -c:a aac -f mp4"),
    Row("plain.3gp", f"{V} {A} {X264} -c:a aac"),
    Row("plain.mkv", f"{V} {A} {X264} -c:a aac"),
    Row("plain.ts", f"{V} {A} {X264} -c:a aac"),
    Row("plain.m2ts", f"{V} {A} {X264} -c:a ac3"),
    Row("plain.flv", f"{V} {A} {X264} -c:a aac"),
    Row("plain.avi", f"{V} {A} {X264} -bf 0 -c:a mp3"),
    Row("plain.nut", f"{V} {A} {X264} -c:a aac"),
    Row("plain.webm", f"{V} {A} {VP9} -c:a libopus"),
    Row("plain.vob", f"{V} {A} -c:v mpeg2video {FINE} -c:a mp2", anew=True),
    Row("plain.mpg", f"{V} {A} -c:v mpeg1video {FINE} -c:a mp2", anew=True),
    Row("plain.wmv", f"{V} {A} -c:v wmv2 {FINE} -c:a wmav2", anew=True, zero=Fraction(0)),
    Row("plain.ogv", f"{V} {A} -c:v libtheora -q:v 9 -c:a libvorbis", anew=True),
    Row("plain.mxf", f"{V} {A} -c:v mpeg2video {FINE} -c:a pcm_s16le", anew=True),
    Row("plain.ivf", f"{V} {VP9}"),
    Row(
        "plain.gif",
        f"{picture('25')} -vf 'split[a][b];[a]palettegen[p];[b][p]paletteuse=dither=none' -c:v gif",
        frames=25,
    ),
    Row("fragments.mp4", f"{V} {A} {X264} -c:a aac -movflags +frag_keyframe+empty_moov"),
    Row("delayed.mp4", f"{V} {A} {X264} -c:a aac -movflags +frag_keyframe+delay_moov"),
    Row("faststart.mp4", f"{V} {A} {X264} -c:a aac -movflags +faststart"),
    Row("dash.mp4", f"{V} {A} {X264} -g 6 -c:a aac -movflags +dash+frag_keyframe"),
    Row("live.mkv", f"{V} {A} {X264} -c:a aac -live 1"),
    Row("clusters.mkv", f"{V} {A} {X264} -c:a aac -cluster_time_limit 100"),
]
CODECS = [
    Row("hevc.mp4", f"{V} {A} {X265} -pix_fmt yuv420p -tag:v hvc1 -c:a aac"),
    Row("hevc.mkv", f"{V} {A} {X265} -pix_fmt yuv420p -c:a aac"),
    Row("hevc.ts", f"{V} {A} {X265} -pix_fmt yuv420p -c:a aac"),
    Row("av1.mp4", f"{V} {A} {AV1} -pix_fmt yuv420p -c:a aac"),
    Row("av1.webm", f"{V} {A} {AV1} -pix_fmt yuv420p -c:a libopus"),
    Row("vp8.webm", f"{V} {A} {VP8} -c:a libvorbis", anew=True),
    Row("vp9.mp4", f"{V} {A} {VP9} -c:a aac"),
    Row("mpeg4.mp4", f"{V} {A} -c:v mpeg4 {FINE} -c:a aac"),
    Row("mpeg4b.mp4", f"{V} {A} -c:v mpeg4 -bf 2 {FINE} -c:a aac"),
    Row("xvid.avi", f"{V} {A} -c:v libxvid {FINE} -c:a mp3"),
    Row("divx3.avi", f"{V} {A} -c:v msmpeg4 {FINE} -c:a mp3"),
    Row("mpeg4b.avi", f"{V} {A} -c:v mpeg4 -bf 2 {FINE} -c:a mp3", steady=Fraction(1, 24)),
    Row("h263.3gp", f"{picture(size='176x144')} -c:v h263 {FINE} -c:a aac"),
    Row("flv1.flv", f"{V} {A} -c:v flv {FINE} -c:a mp3"),
    Row("mjpeg.avi", f"{V} {A} -c:v mjpeg {FINE} -c:a pcm_s16le", anew=True),
    Row("mjpeg.mov", f"{V} {A} -c:v mjpeg {FINE} -c:a pcm_s16le", anew=True),
    Row("prores.mov", f"{V} {A} -c:v prores_ks -c:a pcm_s24le", anew=True, lost=CHROMA),
    Row(
        "dnxhr.mov",
        f"{picture(size='256x120')} {A} -c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p -c:a pcm_s16le",
        anew=True,
        lost=CHROMA,
    ),
    Row("ffv1.mkv", f"{V} {A} -c:v ffv1 -pix_fmt yuv420p -c:a flac"),
    Row("huffyuv.avi", f"{V} {A} -c:v huffyuv -c:a pcm_s16le", anew=True, lost=CHROMA),
    Row("utvideo.avi", f"{V} {A} -c:v utvideo -pix_fmt yuv420p -c:a pcm_s16le", anew=True),
    Row("raw.avi", f"{V} {A} -c:v rawvideo -pix_fmt yuv420p -c:a pcm_s16le", anew=True),
    Row("raw.mov", f"{V} {A} -c:v rawvideo -pix_fmt uyvy422 -c:a pcm_s16le", anew=True, lost=CHROMA),
    Row("v210.mov", f"{V} {A} -c:v v210 -c:a pcm_s24le", anew=True, lost=CHROMA),
    Row("png.mov", f"{V} {A} -c:v png -pix_fmt rgb24 -c:a pcm_s16le", anew=True),
    Row("qtrle.mov", f"{V} {A} -c:v qtrle -pix_fmt rgb24 -c:a alac"),
    Row("jpeg2000.mxf", f"{V} -c:v libopenjpeg -pix_fmt yuv422p", lost=CHROMA),
    Row("magicyuv.avi", f"{V} -c:v magicyuv -pix_fmt yuv420p"),
    Row("cinepak.avi", f"{V} -c:v cinepak"),
    Row("snow.avi", f"{V} -c:v snow -strict -2 {FINE}"),
    Row("mpeg2.ts", f"{V} {A} -c:v mpeg2video -bf 2 {FINE} -c:a mp2", anew=True),
    Row(
        "dv.avi",
        f"{picture('25', '720x576', 0.4)} {tone(layout='stereo', seconds=0.4)} -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le",
        frames=10,
        anew=True,
        lost=("interlacing: fields are woven into whole frames",),
    ),
    Row("vvc.mp4", f"{V} -c:v libvvenc -preset faster -pix_fmt yuv420p10le"),
]

PIXELS = [
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
]
RATES = [
    *(
        Row(f"rate-{rate.replace('/', '-')}{suffix}", f"{picture(rate, seconds=float(frames / Fraction(rate)))} {X264}", frames=frames)
        for rate, frames in [
            ("24000/1001", 24), ("25", 25), ("30000/1001", 30), ("50", 25), ("60000/1001", 30), ("120", 30), ("12", 6),
            ("10", 5), ("1", 2), ("15/2", 4), ("240", 24), ("1000/33", 20),
        ]
        for suffix in (".mp4", ".mkv", ".ts")
    ),
]  # fmt: skip
ORDERS = [
    *(
        Row(f"b{count}{suffix}", f"{V} {A} {X264} -bf {count} -c:a aac")
        for count in (0, 1, 8)
        for suffix in (".mp4", ".mkv", ".ts")
    ),
    Row("pyramid.mp4", f"{V} {X264} -x264-params bframes=7:b-pyramid=normal:b-adapt=0"),
    Row("opengop.mp4", f"{V} {X264} -x264-params open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"),
    Row("opengop.mkv", f"{V} {X264} -x264-params open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"),
    Row("opengop.ts", f"{V} {X264} -x264-params open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0"),
    Row("intra.mp4", f"{V} {X264} -g 1"),
    Row("refresh.mp4", f"{V} {X264} -x264-params intra-refresh=1:keyint=12"),
    Row("bframes.avi", f"{V} {X264} -bf 3", steady=Fraction(1, 24)),
    Row(
        "opengop.avi",
        f"{V} {X264} -x264-params open-gop=1:keyint=8:min-keyint=8:bframes=3:scenecut=0",
        steady=Fraction(1, 24),
    ),
    *(
        Row(f"vfr{suffix}", f"{picture('24', then=VARIABLE)} {A} {X264} -fps_mode vfr -enc_time_base 1/1000 -c:a aac")
        for suffix in (".mp4", ".mkv", ".ts", ".flv")
    ),
    *(
        Row(f"vfr-b{suffix}", f"{picture('24', then=VARIABLE)} {X264} -bf 3 -fps_mode vfr -enc_time_base 1/90000")
        for suffix in (".mp4", ".mov", ".ts")
    ),
    Row("vfr.gif", f"{picture('25', then=VARIABLE)} {GIF} -fps_mode vfr", frames=25),
    Row("slow.mp4", f"{picture('24', seconds=0.25, then='setpts=PTS*8')} {X264} -fps_mode vfr", frames=6),
]
OFFSETS = [
    *(
        Row(f"offset{suffix}", f"{V} {A} {X264} -c:a aac -output_ts_offset 5")
        for suffix in (".mp4", ".mkv", ".ts", ".nut", ".flv")
    ),
    Row("offset.webm", f"{V} {A} {VP9} -c:a libopus -output_ts_offset 5"),
    *(
        Row(f"late-sound{suffix}", f"{V} -itsoffset 0.17 {A} {X264} -c:a aac")
        for suffix in (".mp4", ".mkv", ".ts", ".flv", ".mov")
    ),
    *(
        Row(f"late-picture{suffix}", f"-itsoffset 0.13 {V} {A} {X264} -c:a aac")
        for suffix in (".mp4", ".mkv", ".ts", ".flv", ".mov")
    ),
    Row("late-sound-anew.mkv", f"{V} -itsoffset 0.17 {A} {X264} -c:a pcm_s16le", anew=True),
    Row("late-picture-anew.mov", f"-itsoffset 0.13 {V} {A} {X264} -c:a pcm_s16le", anew=True),
    Row("longer-sound.mp4", f"{V} {tone(seconds=1.6)} {X264} -c:a aac"),
    Row("shorter-sound.mp4", f"{V} {tone(seconds=0.4)} {X264} -c:a aac"),
    Row("longer-sound.mkv", f"{V} {tone(seconds=1.6)} {X264} -c:a libopus"),
    Row(
        "cut.mp4",
        (f"{picture(seconds=2)} {tone(seconds=2)} {X264} -c:a aac DIR/a.mp4", "-ss 0.625 -i DIR/a.mp4 -c copy"),
        frames=33,
    ),
    Row(
        "cut.mov",
        (
            f"{picture(seconds=2)} {tone(seconds=2)} {X264} -bf 3 -c:a aac DIR/a.mp4",
            "-ss 1 -i DIR/a.mp4 -c copy -t 0.7",
        ),
        frames=19,
    ),
    Row(
        "cut.mkv",
        (f"{picture(seconds=2)} {tone(seconds=2)} {X264} -g 12 -c:a aac DIR/a.mp4", "-ss 1 -i DIR/a.mp4 -c copy"),
        frames=28,
    ),
    Row("jitter.mp4", (f"{picture('24000/1001')} {X264} DIR/j.mkv", "-i DIR/j.mkv -c copy")),
    Row(
        "ticks.mp4",
        f"{picture('10')} -itsoffset 0.17 {tone(seconds=0.8)} {X264} -bf 0 -c:a aac -video_track_timescale 10",
        frames=10,
    ),
]
SOUNDS = [
    *(
        Row(f"sound-{name}", f"{V} {tone(rate=rate, layout=layout)} {X264} {options}", anew=anew)
        for name, rate, layout, options, anew in [
            ("mp3.mp4", 44100, "stereo", "-c:a mp3", False),
            ("mp3.mkv", 48000, "mono", "-c:a mp3", False),
            ("mp3.avi", 44100, "stereo", "-c:a mp3 -bf 0", False),
            ("ac3.mp4", 48000, "5.1(side)", "-c:a ac3", False),
            ("ac3.ts", 48000, "stereo", "-c:a ac3", False),
            ("eac3.mp4", 48000, "5.1(side)", "-c:a eac3", False),
            ("eac3.mkv", 48000, "stereo", "-c:a eac3", False),
            ("opus.mp4", 48000, "stereo", "-c:a libopus", False),
            ("opus.mkv", 48000, "5.1", "-c:a libopus -mapping_family 1", False),
            ("opus.ts", 48000, "stereo", "-c:a libopus", False),
            ("flac.mp4", 44100, "stereo", "-c:a flac -strict -2", False),
            ("flac.mkv", 96000, "stereo", "-c:a flac -sample_fmt s32", False),
            ("alac.mov", 44100, "stereo", "-c:a alac", False),
            ("alac.mkv", 48000, "5.1", "-c:a alac", False),
            ("aac-8k.mp4", 8000, "mono", "-c:a aac", False),
            ("aac-11k.mkv", 11025, "mono", "-c:a aac", False),
            ("aac-22k.flv", 22050, "stereo", "-c:a aac", False),
            ("aac-32k.ts", 32000, "stereo", "-c:a aac", False),
            ("aac-44k.mkv", 44100, "stereo", "-c:a aac", False),
            ("aac-44k.ts", 44100, "stereo", "-c:a aac", False),
            ("aac-44k.mov", 44100, "mono", "-c:a aac", False),
            ("aac-96k.mp4", 96000, "stereo", "-c:a aac", False),
            ("aac-51.mp4", 48000, "5.1", "-c:a aac", False),
            ("aac-71.mkv", 48000, "7.1", "-c:a aac", False),
            ("vorbis.mkv", 44100, "stereo", "-c:a libvorbis", True),
            ("pcm-16k.mkv", 16000, "mono", "-c:a pcm_s16le", True),
            ("pcm-float.mov", 48000, "stereo", "-c:a pcm_f32le", True),
            ("pcm-24.mov", 44100, "stereo", "-c:a pcm_s24be", True),
            ("pcm-8.avi", 44100, "mono", "-c:a pcm_u8 -bf 0", True),
            ("mulaw.mov", 8000, "mono", "-c:a pcm_mulaw", True),
            ("adpcm.avi", 44100, "stereo", "-c:a adpcm_ms -bf 0", True),
            ("wavpack.mkv", 44100, "stereo", "-c:a wavpack", True),
            ("tta.mkv", 44100, "stereo", "-c:a tta", True),
            ("dts.mkv", 48000, "5.1(side)", "-c:a dca -strict -2", True),
            ("truehd.mkv", 48000, "5.1", "-c:a truehd -strict -2", True),
            ("s302m.ts", 48000, "stereo", "-c:a s302m -strict -2", True),
            ("mp2.ts", 48000, "stereo", "-c:a mp2", True),
            ("side.mov", 48000, "5.1(side)", "-c:a pcm_s16le", True),
            ("quad.mov", 48000, "quad", "-c:a pcm_s16le", True),
            ("two-one.mov", 48000, "2.1", "-c:a pcm_s16le", True),
            ("seven.mov", 48000, "7.1", "-c:a pcm_s16le", True),
        ]
    ),
    Row(
        "two.mp4",
        f"{V} {A} {tone(660, layout='stereo')} -map 0 -map 1 -map 2 {X264} -c:a aac -metadata:s:a:0 language=fra -metadata:s:a:1 language=deu",
    ),
    Row(
        "three.mkv",
        f"{V} {A} {tone(660)} {tone(880, seconds=0.5)} -map 0 -map 1 -map 2 -map 3 {X264} -c:a:0 aac -c:a:1 mp3 -c:a:2 ac3 -metadata:s:a:1 language=zho",
    ),
    Row(
        "two.ts",
        f"{V} {A} {tone(660)} -map 0 -map 1 -map 2 {X264} -c:a aac -metadata:s:a:0 language=fra -metadata:s:a:1 language=deu",
    ),
    Row("mute.mp4", f"{V} {X264}"),
]
ROWS = CONTAINERS + CODECS + PIXELS + RATES + ORDERS + OFFSETS + SOUNDS
