"""Rare containers, codecs and combinations."""

from fractions import Fraction

from tests.shared.media.corpus.row import AV1, CHROMA, FINE, GIF, VP9, X264, X265, A, Row, V, picture, tone

OPEN_GOP = "-x264-params open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0:b-adapt=0"
HDR = ":master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400"
EIGHT_TONES = " ".join([*(tone(300 + 50 * n) for n in range(8)), *(f"-map {n}" for n in range(9))])

ROWS = [
    Row("negative-cts.mp4", f"{V} {A} {X264} -bf 3 -c:a aac -movflags +negative_cts_offsets"),
    Row("no-edits.mp4", f"{V} {A} {X264} -bf 3 -c:a aac -use_editlist 0"),
    Row(
        "opengop-cut.mkv",
        (f"{picture(seconds=2)} {X264} {OPEN_GOP} DIR/a.mp4", "-ss 0.6 -i DIR/a.mp4 -c copy"),
        frames=None,
    ),
    Row(
        "opengop-cut.ts",
        (f"{picture(seconds=2)} {X264} {OPEN_GOP} DIR/a.mp4", "-ss 0.6 -i DIR/a.mp4 -c copy"),
        refused="media_corrupt",
    ),
    Row(
        "opengop-cut.mp4",
        (f"{picture(seconds=2)} {X264} {OPEN_GOP} DIR/a.mp4", "-ss 0.625 -i DIR/a.mp4 -c copy"),
        frames=None,
    ),
    Row(
        "opengop-cut.flv",
        (f"{picture(seconds=2)} {X264} {OPEN_GOP} DIR/a.mp4", "-ss 0.6 -i DIR/a.mp4 -c copy"),
        frames=None,
    ),
    Row("altref.webm", f"{V} {A} -c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 4 -c:a libopus"),
    Row("altref8.webm", f"{V} {A} -c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -cpu-used 4 -c:a libopus"),
    Row("ipcm.mp4", f"{V} {A} {X264} -c:a pcm_s16le", anew=True),
    Row("opus-frame-2.mkv", f"{V} {A} {X264} -c:a libopus -frame_duration 2.5"),
    Row("opus-frame-60.webm", f"{V} {A} {VP9} -c:a libopus -frame_duration 60"),
    Row("opus-frame-120.mkv", f"{V} {A} {X264} -c:a libopus -frame_duration 120"),
    Row("vbr.avi", f"{V} {A} {X264} -bf 0 -c:a mp3 -q:a 4"),
    Row("flac24.mp4", f"{V} {tone(layout='stereo')} {X264} -c:a flac -sample_fmt s32 -strict -2"),
    Row("eight-monos.mov", f"{V} {EIGHT_TONES} {X264} -c:a pcm_s16le", anew=True),
    Row("hdr.mp4", f"{V} {X265}{HDR} -pix_fmt yuv420p10le", lost=("HDR mastering metadata",)),
    Row("stereo.mkv", f"{V} {X264} -metadata:s:v stereo_mode=left_right", lost=("the mark that it is stereoscopic",)),
    Row("stereo.mp4", f"{V} {X264} -x264-params frame-packing=3", lost=("the mark that it is stereoscopic",)),
    Row(
        "sizes.ts",
        (
            f"{picture(seconds=0.5)} {X264} DIR/a.ts",
            f"{picture(size='96x54', seconds=0.5)} {X264} DIR/b.ts",
            "-i concat:DIR/a.ts|DIR/b.ts -c copy",
        ),
    ),
    Row("grain.mp4", f"{V} -c:v libsvtav1 -preset 12 -svtav1-params film-grain=8 -pix_fmt yuv420p"),
    Row(
        "tmcd.mxf",
        f"{picture('25')} {A} -c:v mpeg2video {FINE} -c:a pcm_s16le -timecode 10:00:00:00",
        frames=25,
        anew=True,
    ),
    Row("drop.mov", f"{picture('30000/1001')} {X264} -timecode 01:00:00;02", frames=30),
    Row(
        "disposition.mkv",
        f"{V} {A} {tone(660)} -map 0 -map 1 -map 2 {X264} -c:a aac -disposition:a:1 default+comment -disposition:a:0 0",
    ),
    Row("long-name.mp4", f"{V} {X264} -metadata title={'长' * 300} -metadata comment=a=b;c#d"),
    Row("lines.mkv", f"{V} {X264} -metadata 'title=two\nlines'"),
    Row("gif-loop.gif", f"{picture('10')} {GIF} -loop 3 -final_delay 50", frames=10),
    Row("apng.apng", f"{picture('10')} -c:v apng -pix_fmt rgb24 -plays 2", frames=10),
    Row("mjpeg-full.mov", f"{V} -c:v mjpeg -pix_fmt yuvj422p {FINE}", lost=CHROMA),
    Row(
        "amr.3gp",
        f"{picture(size='176x144')} {tone(rate=8000)} -c:v h263 {FINE} -c:a libopencore_amrnb -ar 8000",
        anew=True,
    ),
    Row("wmapro.asf", f"{V} {A} -c:v msmpeg4 {FINE} -c:a wmav1 -f asf", anew=True, zero=Fraction(0)),
    Row("flv-h265.flv", f"{V} {A} {X265} -pix_fmt yuv420p -c:a aac"),
    Row("flv-av1.flv", f"{V} {A} {AV1} -pix_fmt yuv420p -c:a aac"),
    Row("mp3.flv", f"{V} {tone(rate=44100)} {X264} -c:a mp3"),
    Row("pcm.flv", f"{V} {tone(rate=44100)} {X264} -c:a pcm_s16le", anew=True),
    Row("adpcm.flv", f"{V} {tone(rate=22050)} -c:v flv -c:a adpcm_swf", anew=True),
    Row("bluray.m2ts", f"{V} {tone(layout='stereo')} {X264} -c:a pcm_bluray -f mpegts -mpegts_m2ts_mode 1", anew=True),
    Row("aac-latm.ts", f"{V} {A} {X264} -c:a aac -mpegts_flags latm", anew=True),
    Row("aac-960.mp4", f"{V} {tone(seconds=0.03)} {X264} -c:a aac"),
    Row("sub-second.mp4", f"{V} {tone(seconds=0.001)} {X264} -c:a aac"),
]
