"""Rates, orders of decoding, variable rates, offsets and cuts."""

from fractions import Fraction

from tests.shared.media.corpus.row import FINE, GAP, GIF, VARIABLE, VP9, X264, A, Row, V, picture, tone

ROWS = [
    *(
        Row(
            f"rate-{rate.replace('/', '-')}{suffix}",
            f"{picture(rate, seconds=float(frames / Fraction(rate)))} {X264}",
            frames=frames,
        )
        for rate, frames in [
            ("24000/1001", 24),
            ("25", 25),
            ("30000/1001", 30),
            ("50", 25),
            ("60000/1001", 30),
            ("120", 30),
            ("12", 6),
            ("10", 5),
            ("1", 2),
            ("15/2", 4),
            ("240", 24),
            ("1000/33", 20),
        ]
        for suffix in (".mp4", ".mkv", ".ts")
    ),
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
    Row("still.mp4", f"{picture(seconds=0.04)} {X264}", frames=1),
    Row("still.mkv", f"{picture(seconds=0.04)} {A} {X264} -c:a aac", frames=1),
    Row("two.mov", f"{picture('2')} {X264}", frames=2),
    Row("gap.mp4", f"{picture(then=GAP)} {A} {X264} -fps_mode vfr -c:a aac"),
    Row("gap.mkv", f"{picture(then=GAP)} {A} {X264} -fps_mode vfr -c:a aac"),
    Row("gap-in-sound.mkv", f"{V} {A} -af \"aselect='not(between(t,0.3,0.6))'\" {X264} -c:a aac"),
    Row("gap-in-sound-anew.mkv", f"{V} {A} -af \"aselect='not(between(t,0.3,0.6))'\" {X264} -c:a pcm_s16le", anew=True),
    Row(
        "edits.mp4",
        (
            f"{picture(seconds=2)} {tone(seconds=2)} {X264} -g 24 -c:a aac DIR/a.mp4",
            "-ss 1.25 -i DIR/a.mp4 -t 0.5 -c copy",
        ),
        frames=None,
    ),
    Row(
        "trimmed-sound.mp4",
        (f"{V} {A} {X264} -c:a aac DIR/a.mp4", "-i DIR/a.mp4 -ss 0.3 -i DIR/a.mp4 -map 0:v -map 1:a -c copy"),
    ),
    Row("wrapped.ts", f"{V} {A} {X264} -c:a aac -output_ts_offset 95443"),
    Row("timescale.mp4", f"{V} {A} {X264} -c:a aac -video_track_timescale 90000"),
    Row("odd-timescale.mov", f"{picture('30000/1001')} {X264} -video_track_timescale 29970", frames=30),
    Row("packed.avi", f"{V} -c:v mpeg4 -bf 2 {FINE} -bsf:v mpeg4_unpack_bframes", steady=Fraction(1, 24)),
]
