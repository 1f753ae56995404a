"""Codecs, rates and channels of sound, and several tracks."""

from tests.shared.media.corpus.row import AAC_FRENCH_GERMAN, X264, A, Row, V, tone

ROWS = [
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
        f"{V} {A} {tone(660, layout='stereo')} -map 0 -map 1 -map 2 {X264} {AAC_FRENCH_GERMAN}",
    ),
    Row(
        "three.mkv",
        f"{V} {A} {tone(660)} {tone(880, seconds=0.5)} -map 0 -map 1 -map 2 -map 3 {X264} -c:a:0 aac -c:a:1 mp3"
        " -c:a:2 ac3 -metadata:s:a:1 language=zho",
    ),
    Row(
        "two.ts",
        f"{V} {A} {tone(660)} -map 0 -map 1 -map 2 {X264} {AAC_FRENCH_GERMAN}",
    ),
    Row("mute.mp4", f"{V} {X264}"),
]
