"""What goes along: subtitles, chapters, names, covers; and what is broken or refused."""

from tests.shared.media.corpus.row import FINE, VP9, X264, A, Row, V, picture

ROWS = [
    Row("srt.mkv", f"{V} {A} -i DIR/text.srt {X264} -c:a aac -c:s srt -metadata:s:s:0 language=zho"),
    Row("ass.mkv", f"{V} -i DIR/text.srt {X264} -c:s ass -metadata:s:s:0 language=eng -metadata:s:s:0 title=Signs"),
    Row("vtt.webm", f"{V} -i DIR/text.srt {VP9} -c:s webvtt"),
    Row("text.mp4", f"{V} {A} -i DIR/text.srt {X264} -c:a aac -c:s mov_text -metadata:s:s:0 language=deu"),
    Row("text.mov", f"{V} -i DIR/text.srt {X264} -c:s mov_text"),
    Row(
        "two-texts.mkv",
        f"{V} -i DIR/text.srt -map 0 -map 1 -map 1 {X264} -c:s:0 srt -c:s:1 ass -metadata:s:s:1 language=fra"
        " -disposition:s:1 forced",
    ),
    Row("late-text.mkv", f"{V} {A} -i DIR/text.srt {X264} -c:a aac -c:s srt -output_ts_offset 3"),
    Row("chapters.mp4", f"{V} {A} -i DIR/notes.txt -map_metadata 2 {X264} -c:a aac"),
    Row("chapters.mov", f"{V} {A} -i DIR/notes.txt -map_metadata 2 {X264} -c:a aac"),
    Row("chapters.mkv", f"{V} {A} -i DIR/notes.txt -map_metadata 2 {X264} -c:a aac"),
    Row("chapters.nut", f"{V} {A} -i DIR/notes.txt -map_metadata 2 {X264} -c:a aac"),
    Row(
        "chapters-offset.mkv",
        f"{V} {A} -i DIR/notes.txt -map_metadata 2 {X264} -c:a aac -output_ts_offset 2",
        lost=("chapters that end before the picture begins",),
    ),
    Row(
        "names.mp4",
        f"{V} {A} {X264} -c:a aac -metadata title=标题 -metadata comment=note"
        " -metadata:s:a:0 title=Commentary -metadata:s:v:0 title=Main",
    ),
    Row(
        "names.mov",
        f"{V} {A} {X264} -c:a aac -metadata title=标题 -metadata:s:a:0 title=Commentary -metadata:s:a:0 language=jpn",
    ),
    Row(
        "names.mkv",
        f"{V} {A} {X264} -c:a aac -metadata title=标题 -metadata:s:a:0 title=Commentary -metadata:s:v:0 language=kor",
    ),
    Row("names.flv", f"{V} {A} {X264} -c:a aac -metadata title=标题"),
    Row("names.avi", f"{V} {A} {X264} -bf 0 -c:a mp3 -metadata title=title -metadata artist=someone"),
    Row(
        "place.mov",
        f"{V} {X264} -metadata location=+27.5916+086.5640+8850/ -metadata creation_time=2020-02-02T02:02:02Z",
    ),
    Row("own-tags.mp4", f"{V} {X264} -movflags use_metadata_tags -metadata com.example.scene=7"),
    Row(
        "cover.mp4",
        (
            f"{V} {A} {X264} -c:a aac DIR/a.mp4",
            "-f lavfi -i color=red:s=32x32 -frames:v 1 DIR/cover.png",
            "-i DIR/a.mp4 -i DIR/cover.png -map 0 -map 1 -c copy -disposition:v:1 attached_pic",
        ),
        lost=("cover picture",),
    ),
    Row(
        "font.mkv",
        f"{V} {X264} -attach DIR/text.srt -metadata:s:t mimetype=application/x-truetype-font",
        lost=("attachment stream 1 (text.srt)",),
    ),
    Row("two-pictures.mp4", f"{V} {picture(size='32x32')} -map 0 -map 1 {X264}", lost=("video stream 1 (h264)",)),
    Row("timecode.mov", f"{V} {A} {X264} -c:a aac -timecode 01:00:00:00"),
    Row("program.ts", f"{V} {A} {X264} -c:a aac -metadata service_name=News"),
    Row("cut-off.mp4", f"{V} {A} {X264} -c:a aac -movflags +faststart", kept=0.6, refused="media_truncated"),
    Row("cut-off.mov", f"{V} {A} {X264} -c:a aac", kept=0.6, refused="media_unreadable"),
    Row("cut-off.mkv", f"{V} {A} {X264} -c:a aac", kept=0.6, refused="media_truncated"),
    Row("cut-off.avi", f"{V} {A} {X264} -bf 0 -c:a mp3", kept=0.6, refused="media_truncated"),
    Row("cut-off.flv", f"{V} {A} {X264} -c:a aac", kept=0.6, refused="media_truncated"),
    Row("cut-off.ts", f"{V} {A} -c:v mpeg2video {FINE} -g 6 -c:a aac", kept=0.6, frames=None),
    Row("headless.mp4", f"{V} {X264}", kept=0.01, refused="media_unreadable"),
    Row("refused.y4m", f"{V}", refused="media_unreadable"),
    Row("refused.h264", f"{V} {X264}", refused="media_unreadable"),
    Row("refused.wtv", f"{V} -c:v mpeg2video", refused="media_unreadable"),
    Row("refused.m3u8", f"{V} {X264}", refused="media_unreadable"),
    Row("sound-only.mp4", f"{A} -c:a aac", refused="media_without_video"),
]
