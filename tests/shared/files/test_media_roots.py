"""Where requests may read and write, and how results appear."""

import errno
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import JobFailed, Problem, Rejected, UnreadableMedia
from shared.files.handles import OutputDir, write_problem
from shared.files.media_roots import MediaRoots
from shared.settings import Settings

OUTSIDE = "video_url does not lie inside the media folders of KINORA_MEDIA_ROOTS"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "媒体 root 🎬"
    folder.mkdir()
    return folder


@pytest.fixture
def video(root: Path) -> Path:
    path = root / "短片 a b.mp4"
    path.write_bytes(b"picture")
    return path


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.mp4"
    path.write_bytes(b"secret")
    return path


@pytest.fixture
def roots(root: Path) -> MediaRoots:
    return MediaRoots(Settings(media_roots=(root,), path_map=((r"D:\media", str(root)), ("/their/disk", str(root)))))


@pytest.fixture
def folder(roots: MediaRoots, root: Path) -> Iterator[OutputDir]:
    with roots.open_dist_dir(roots.dist_dir("dist_dir", str(root / "out"))) as folder:
        yield folder


def refusal(roots: MediaRoots, value: str) -> str:
    with pytest.raises(Rejected) as caught:
        roots.input("video_url", value)
    return str(caught.value)


def names(folder: OutputDir) -> list[str]:
    return sorted(os.listdir(folder.fd))  # noqa: PTH208  # pathlib lists no descriptor


# Inputs


@pytest.mark.parametrize(
    "spelling",
    [
        "{path}",
        "file://{quoted}",
        "FILE://localhost{quoted}",
        "file:{quoted}",
        "D:\\media\\{name}",
        "d:/Media/{name}",
        "file:///D:/media/{quoted_name}",
        "/their/disk/{name}",
        "{root}/../{root_name}/./{name}",
    ],
)
def test_a_path_in_any_allowed_spelling_leads_to_the_file(
    roots: MediaRoots, root: Path, video: Path, spelling: str
) -> None:
    quoted = video.as_uri().removeprefix("file://")
    value = spelling.format(
        path=video, quoted=quoted, quoted_name=quoted.rsplit("/", 1)[1], name=video.name, root=root, root_name=root.name
    )
    assert roots.input("video_url", value) == video


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("in/a.mp4", "video_url must be an absolute local path"),
        (" /media/a.mp4", "video_url must be an absolute local path"),
        ("http://example.org/a.mp4", "local paths only"),
        ("rtsp://camera/1", "local paths only"),
        ("concat:/etc/passwd|/etc/shadow", "local paths only"),
        ("data:video/mp4;base64,AAAA", "local paths only"),
        ("file://elsewhere/media/a.mp4", "local paths only"),
        ("file:///media/%ff.mp4", "not UTF-8"),
        ("file:///media/a%00.mp4", "must not contain NUL"),
        (r"E:\media\a.mp4", "KINORA_PATH_MAP"),
        (r"\\server\share\a.mp4", "KINORA_PATH_MAP"),
        ("file:///E:/media/a.mp4", "KINORA_PATH_MAP"),
    ],
)
def test_what_is_no_local_path_gets_a_sentence_that_says_so(roots: MediaRoots, value: str, sentence: str) -> None:
    assert sentence in refusal(roots, value)


def test_spaces_are_never_trimmed(roots: MediaRoots, root: Path) -> None:
    odd = root / " leading and trailing .mp4 "
    odd.write_bytes(b"x")
    assert roots.input("video_url", str(odd)) == odd
    assert "there is no file" in refusal(roots, str(odd).rstrip())


def test_outside_the_roots_the_answer_does_not_tell_whether_the_file_exists(
    roots: MediaRoots, root: Path, secret: Path
) -> None:
    (root / "link.mp4").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    (root / "loop").symlink_to(root / "loop")
    outside = [
        str(secret),
        str(secret.with_name("missing.mp4")),
        f"{root}/../secret.mp4",
        f"{root}/link.mp4",
        f"{root}/folder/secret.mp4",
        f"{root}/folder/missing.mp4",
        f"{root}/loop",
        f"{root}-beside/a.mp4",
        "/proc/self/environ",
        "D:\\media\\..\\secret.mp4",
        "/" + "a" * 5000,
    ]
    answers = {refusal(roots, value) for value in outside}
    assert answers <= {OUTSIDE, "video_url: there is no file loop"}
    assert refusal(roots, str(secret)) == OUTSIDE


def test_a_link_inside_the_roots_is_followed(roots: MediaRoots, root: Path, video: Path) -> None:
    (root / "newest.mp4").symlink_to(video)
    assert roots.input("video_url", str(root / "newest.mp4")) == video


def test_a_missing_file_a_folder_and_a_pipe_are_told_apart(roots: MediaRoots, root: Path) -> None:
    os.mkfifo(root / "pipe.mp4")
    assert refusal(roots, str(root / "none.mp4")) == "video_url: there is no file none.mp4"
    assert refusal(roots, str(root / ("n" * 300))).startswith("video_url: there is no file nnn")
    assert refusal(roots, str(root / "pipe.mp4")) == "video_url: pipe.mp4 is not a regular file"
    assert "is not a regular file" in refusal(roots, str(root))


def test_an_opened_input_shows_what_the_queue_and_the_codecs_need(roots: MediaRoots, video: Path) -> None:
    with roots.open_input(video) as opened:
        assert (opened.name, opened.size) == (video.name, 7)
        assert opened.mtime_ns == video.stat().st_mtime_ns
        assert Path(opened.url).read_bytes() == b"picture"
    assert opened.fd == -1


def test_a_link_swapped_in_after_acceptance_leads_nowhere(roots: MediaRoots, video: Path, secret: Path) -> None:
    accepted = roots.input("video_url", str(video))
    video.unlink()
    video.symlink_to(secret)
    with pytest.raises(Rejected, match="KINORA_MEDIA_ROOTS"):
        roots.open_input(accepted)


def test_a_folder_swapped_for_a_link_after_acceptance_leads_nowhere(
    roots: MediaRoots, root: Path, secret: Path
) -> None:
    (root / "in").mkdir()
    (root / "in" / "secret.mp4").write_bytes(b"ours")
    accepted = roots.input("video_url", str(root / "in" / "secret.mp4"))
    (root / "in").rename(root / "aside")
    (root / "in").symlink_to(secret.parent)
    with pytest.raises(Rejected, match="KINORA_MEDIA_ROOTS"):
        roots.open_input(accepted)


def test_a_pipe_swapped_in_after_acceptance_does_not_hang(roots: MediaRoots, video: Path) -> None:
    accepted = roots.input("video_url", str(video))
    video.unlink()
    os.mkfifo(video)
    with pytest.raises(UnreadableMedia, match="no longer a regular file"):
        roots.open_input(accepted)


def test_a_file_that_went_away_after_acceptance_ends_with_a_sentence(roots: MediaRoots, video: Path) -> None:
    accepted = roots.input("video_url", str(video))
    video.unlink()
    with pytest.raises(UnreadableMedia, match="can no longer be opened"):
        roots.open_input(accepted)


def test_the_longest_mapped_prefix_wins_and_a_prefix_ends_at_a_slash(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.mp4").write_bytes(b"x")
    pairs = (("/data", "/nowhere"), ("/data/deep", str(tmp_path / "deep")))
    roots = MediaRoots(Settings(media_roots=(tmp_path,), path_map=pairs))
    assert roots.input("video_url", "/data/deep/a.mp4") == tmp_path / "deep" / "a.mp4"
    assert refusal(roots, "/database/a.mp4") == OUTSIDE


# Output folders


def test_a_missing_folder_is_made_with_its_parents(roots: MediaRoots, root: Path) -> None:
    made = roots.dist_dir("dist_dir", f"{root}/2026/十一月/新 建 🎬/")
    assert made == root / "2026" / "十一月" / "新 建 🎬"
    assert made.is_dir()
    assert list(made.iterdir()) == []


@pytest.mark.parametrize("unnamed", [True, False])
def test_looking_whether_a_folder_takes_files_leaves_nothing_not_even_what_a_kill_had_left(
    roots: MediaRoots, root: Path, monkeypatch: pytest.MonkeyPatch, *, unnamed: bool
) -> None:
    if not unnamed:  # as some network shares answer
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY)
        (root / ".kinora-trial.part").touch()
    roots.dist_dir("dist_dir", str(root))
    assert list(root.iterdir()) == []


def test_the_root_itself_may_take_results(roots: MediaRoots, root: Path) -> None:
    assert roots.dist_dir("dist_dir", f"{root}/") == root


@pytest.mark.parametrize("value", ["{root}/../elsewhere", "{root}/link", "{root}/link/deeper", "/elsewhere"])
def test_no_folder_is_made_outside(roots: MediaRoots, root: Path, tmp_path: Path, value: str) -> None:
    (tmp_path / "target").mkdir()
    (root / "link").symlink_to(tmp_path / "target")
    with pytest.raises(Rejected, match="KINORA_MEDIA_ROOTS"):
        roots.dist_dir("dist_dir", value.format(root=root))
    assert not (tmp_path / "elsewhere").exists()
    assert list((tmp_path / "target").iterdir()) == []


def test_a_file_in_the_folders_place_is_one_sentence(roots: MediaRoots, video: Path) -> None:
    with pytest.raises(Rejected, match=r"the folder .* cannot be written \(Not a directory\)"):
        roots.dist_dir("dist_dir", str(video))


@pytest.mark.parametrize(("length", "reason"), [(244, "Not a directory"), (255, "Not a directory"), (256, "too long")])
def test_the_sentence_about_a_long_name_says_what_is_wrong(
    roots: MediaRoots, root: Path, length: int, reason: str
) -> None:
    path = root / ("d" * length)
    if length <= 255:
        path.touch()
    with pytest.raises(Rejected, match=rf"^dist_dir: the folder d+…d+ cannot be written \(.*{reason}\)$"):
        roots.dist_dir("dist_dir", str(path))


@pytest.fixture
def small_disk(root: Path) -> Iterator[Path]:
    mount = root / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=4", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", "-l", mount], check=True)


@pytest.mark.needs_root
def test_a_read_only_folder_is_one_sentence(roots: MediaRoots, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(Rejected, match=r"the folder disk cannot be written \(Read-only file system\)"):
        roots.dist_dir("dist_dir", str(small_disk))


@pytest.mark.needs_root
def test_a_full_folder_is_one_sentence(roots: MediaRoots, small_disk: Path) -> None:
    for number in range(3):
        (small_disk / str(number)).touch()
    with pytest.raises(Rejected, match="there is no space left in the folder disk"):
        roots.dist_dir("dist_dir", str(small_disk))


@pytest.mark.needs_root
def test_a_disk_that_fills_while_writing_fails_the_job_and_leaves_nothing(roots: MediaRoots, small_disk: Path) -> None:
    def write_too_much(folder: OutputDir) -> None:
        with folder.create("7_upscale_x-1", ".mp4") as output:
            while True:
                os.write(output.fd, b"x" * 100_000)

    with roots.open_dist_dir(small_disk) as folder:
        with pytest.raises(OSError, match="No space left") as caught:
            write_too_much(folder)
        assert str(write_problem(caught.value, "7.mp4")) == "there was no space left to write 7.mp4"
        assert names(folder) == []


def test_a_folder_swapped_for_a_link_gets_no_result(roots: MediaRoots, root: Path, tmp_path: Path) -> None:
    accepted = roots.dist_dir("dist_dir", str(root / "out"))
    accepted.rmdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(Rejected, match="KINORA_MEDIA_ROOTS"):
        roots.open_dist_dir(accepted)


def test_a_folder_that_went_away_is_made_again(roots: MediaRoots, root: Path) -> None:
    accepted = roots.dist_dir("dist_dir", str(root / "out"))
    accepted.rmdir()
    with roots.open_dist_dir(accepted) as folder:
        assert names(folder) == []


# Output files


def test_a_result_is_hidden_until_it_is_complete(folder: OutputDir) -> None:
    with folder.create("7_upscale_0badcafe-1", ".mp4") as output:
        os.write(output.fd, b"half")
        assert names(folder) == [".7_upscale_0badcafe-1.mp4.part"]
        assert output.publish() == output.name == "7_upscale_0badcafe-1.mp4"
    assert names(folder) == ["7_upscale_0badcafe-1.mp4"]
    published = folder.path / output.name
    assert published.read_bytes() == b"half"
    assert stat.S_IMODE(published.stat().st_mode) & 0o444
    assert published.stat().st_nlink == 1


def test_the_file_may_be_opened_again_by_its_url_to_be_rewritten(folder: OutputDir) -> None:
    """As libav does for faststart."""
    with folder.create("7", ".mp4") as output:
        Path(output.url).write_bytes(b"moov mdat")
        with Path(output.url).open("r+b") as again:
            assert again.read() == b"moov mdat"
        output.publish()
    assert (folder.path / "7.mp4").read_bytes() == b"moov mdat"


def test_a_block_that_ends_without_publishing_leaves_nothing(folder: OutputDir) -> None:
    with folder.create("7", ".mp4") as output:
        os.write(output.fd, b"half")
    assert names(folder) == []
    output.discard()


def test_nothing_is_ever_overwritten(folder: OutputDir) -> None:
    (folder.path / "7.mp4").write_bytes(b"theirs")
    (folder.path / "7-2.mp4").symlink_to("/nowhere")
    with folder.create("7", ".mp4") as output:
        os.write(output.fd, b"ours")
        assert output.publish() == "7-3.mp4"
    assert (folder.path / "7.mp4").read_bytes() == b"theirs"


def test_what_is_published_is_the_open_file_whatever_its_temporary_name_became(folder: OutputDir, secret: Path) -> None:
    with folder.create("7", ".mp4") as output:
        os.write(output.fd, b"ours")
        (folder.path / ".7.mp4.part").rename(folder.path / "moved")
        (folder.path / ".7.mp4.part").symlink_to(secret)
        output.publish()
    assert (folder.path / "7.mp4").read_bytes() == b"ours"
    assert secret.read_bytes() == b"secret"


def test_publishing_goes_to_the_opened_folder_whatever_its_name_leads_to(
    folder: OutputDir, root: Path, tmp_path: Path
) -> None:
    (root / "out").rename(root / "renamed")
    (root / "out").symlink_to(tmp_path)
    with folder.create("7", ".mp4") as output:
        output.publish()
    assert (root / "renamed" / "7.mp4").exists()
    assert not (tmp_path / "7.mp4").exists()


def test_a_file_outlives_the_block_of_its_folder(roots: MediaRoots, root: Path) -> None:
    with roots.open_dist_dir(roots.dist_dir("dist_dir", str(root))) as folder:
        output = folder.create("7", ".mp4")
    output.publish()
    assert (root / "7.mp4").exists()


def test_a_file_system_without_hard_links_publishes_by_renaming(
    folder: OutputDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    for expected in ("7.mp4", "7-2.mp4"):
        with folder.create("7", ".mp4") as output:
            assert output.publish() == expected
    assert names(folder) == ["7-2.mp4", "7.mp4"]


def test_a_publication_that_fails_ends_the_job_with_a_sentence_and_leaves_nothing(
    folder: OutputDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", broken)
    output = folder.create("7", ".mp4")
    with pytest.raises(JobFailed, match=r"7\.mp4 could not be written \(Input/output error\)"):
        output.publish()
    assert names(folder) == []


def test_descriptors_do_not_leak(roots: MediaRoots, video: Path, root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for value in (str(root / "out"), str(video), "/elsewhere"):
        try:
            with roots.open_dist_dir(roots.dist_dir("dist_dir", value)) as folder, folder.create("7", ".mp4") as output:
                output.publish()
        except Problem:
            continue
    with roots.open_input(video):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_sweep_takes_one_attempts_leftovers_and_nothing_else(folder: OutputDir) -> None:
    mine = [".7_upscale_0badcafe-1.mp4.part", "7_upscale_0badcafe-1.mp4", "7_upscale_0badcafe-1_face0.jpg"]
    others = ["17_upscale_0badcafe-1.mp4", "7_upscale_0badcafe-10.mp4", "7_upscale_0badcafe-2.mp4", "holiday.mp4"]
    for name in mine + others:
        (folder.path / name).touch()
    (folder.path / "7_upscale_0badcafe-1_folder").mkdir()
    assert folder.sweep("7_upscale_0badcafe-1") == sorted(mine)
    assert names(folder) == sorted([*others, "7_upscale_0badcafe-1_folder"])
    assert folder.sweep("7_upscale_0badcafe-") == ["7_upscale_0badcafe-10.mp4", "7_upscale_0badcafe-2.mp4"]
