"""The settings: what the environment may say, and what must be said before the service opens to others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from shared.settings import Settings, describe_errors
from shared.vocabulary import SERVICES, ServiceName


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.variables():
        monkeypatch.delenv(name, raising=False)


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(f"KINORA_{name}", value)
    return Settings.load()


def test_without_any_setting_the_defaults_suit_the_published_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    assert (settings.access.host, settings.access.port) == ("127.0.0.1", 5000)
    assert settings.callbacks.url == "http://127.0.0.1:8088/api/ai/notify"
    assert settings.media_roots == (Path.cwd() / "media",)
    assert settings.state_dir == Path.cwd() / "state"
    assert settings.services == SERVICES
    assert (settings.access.tokens, settings.language) == ((), "en")


def test_the_variables_are_these_and_no_others() -> None:
    """Whatever group the code puts a setting into, its variable stays."""
    documented = """
        MEDIA_ROOTS STATE_DIR DATABASE_URL HOST PORT CALLBACK_URL TOKEN WEBHOOK_SECRET MAX_QUEUED TASK_TIMEOUT_SECONDS
        SEGMENT_SECONDS HELPERS
        DRAIN_SECONDS DEVICE GPU_EXCLUSIVE PRELOAD UPSCALE_MODEL ENCODER PRESET CRF CREATION_MAX_SECONDS KEEP_DAYS
        FACES_KEEP_DAYS LANGUAGE PATH_MAP ALLOWED_HOSTS VISIBLE_LABEL CONTENT_PRODUCER CREATION_URL FACEFUSION_URL
        INTERPO_URL UPSCALE_URL VERSION SERVICES MASTER_PID LOG_FORMAT HUB_URL FACEFUSION_SWAPPER
        FACEFUSION_PIXEL_BOOST FACEFUSION_ENHANCE
        FACEFUSION_ENHANCE_BLEND
        CREATION_ENGINE CREATION_PLAN CREATION_MODEL CREATION_DRAFT_MODEL CREATION_DOWNLOAD CREATION_STEPS
        CREATION_PIXELS NSFW_CHECK NSFW_THRESHOLD NSFW_SHARE STATE_REQUIRED UPSCALE_DENOISE INTERPO_MODEL
        MAX_TASK_MEGAPIXELS CONSOLE CONSOLE_SESSION_HOURS UPLOAD_MAX_MB OWN_RUNNERS
        FETCH_HOSTS FETCH_PRIVATE FETCH_MAX_MB
        FETCH_TIMEOUT_SECONDS RESULT_STORE RESULT_STORE_SECONDS CREATION_DECODER CREATION_LORAS CREATION_PREVIEWS
    """
    standard = {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert {f"KINORA_{name}" for name in documented.split()} | standard == set(Settings.variables())


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("STATE_DIR", "/s", lambda settings: settings.state_dir == Path("/s")),
        ("PORT", "6000", lambda settings: settings.access.port == 6000),
        ("CALLBACK_URL", "http://h/x", lambda settings: settings.callbacks.url == "http://h/x"),
        ("WEBHOOK_SECRET", "whsec_x", lambda settings: settings.callbacks.webhook_secret == SecretStr("whsec_x")),
        ("KEEP_DAYS", "1.5", lambda settings: settings.limits.keep_days == 1.5),
        ("CRF", "20", lambda settings: settings.encoding.crf == 20),
        ("CREATION_STEPS", "9", lambda settings: settings.creation.steps == 9),
        ("FACEFUSION_SWAPPER", "ghost-1-256", lambda settings: settings.facefusion.swapper == "ghost-1-256"),
        ("FACEFUSION_PIXEL_BOOST", "2", lambda settings: settings.facefusion.pixel_boost == "2"),
        ("FACEFUSION_ENHANCE", "gfpgan-1.4", lambda settings: settings.facefusion.enhance == "gfpgan-1.4"),
        ("FACEFUSION_ENHANCE_BLEND", "45", lambda settings: settings.facefusion.enhance_blend == 45),
        ("NSFW_SHARE", "0", lambda settings: settings.facefusion.nsfw_share == 0),
        ("UPSCALE_MODEL", "x4plus", lambda settings: settings.upscale.model == "x4plus"),
        ("UPSCALE_MODEL", "/models/4x.pth", lambda settings: settings.upscale.model == "/models/4x.pth"),
        ("UPSCALE_MODEL", "film:0123abcd", lambda settings: settings.upscale.model == "film:0123abcd"),
        ("UPSCALE_DENOISE", "0.5", lambda settings: settings.upscale.denoise == 0.5),
        ("INTERPO_MODEL", "4.25-lite", lambda settings: settings.interpo.model == "4.25-lite"),
        (
            "FETCH_HOSTS",
            "a.B, c-d:8443,[::1]:80",
            lambda settings: settings.fetch.hosts == ("a.b", "c-d:8443", "[::1]:80"),
        ),
        ("FETCH_PRIVATE", "true", lambda settings: settings.fetch.private),
        ("FETCH_MAX_MB", "5", lambda settings: settings.fetch.max_mb == 5),
        ("RESULT_STORE", "s3://made/here/", lambda settings: settings.store.url == "s3://made/here"),
        ("RESULT_STORE", "", lambda settings: settings.store.url is None),
        ("RESULT_STORE_SECONDS", "5", lambda settings: settings.store.seconds == 5),
    ],
)
def test_a_variable_is_read_into_its_group(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Callable[[Settings], bool]
) -> None:
    assert read(load(monkeypatch, **{name: value}))
    monkeypatch.delenv(f"KINORA_{name}")
    monkeypatch.setenv(f"kinora_{name.lower()}", value)
    assert read(Settings.load())


def test_only_load_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KINORA_CRF", "20")
    monkeypatch.setenv("CRF", "21")
    assert Settings().encoding.crf == 18
    assert Settings.load().encoding.crf == 20


def test_settings_never_change_once_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch)
    with pytest.raises(ValidationError, match="frozen"):
        settings.state_dir = Path("/elsewhere")  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.access.port = 6000  # type: ignore[misc]


def test_a_setting_that_is_not_there_cannot_be_given_by_mistake() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings.model_validate({"crf": 20})


def test_every_wrong_variable_is_described_by_its_name_and_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as refused:
        load(monkeypatch, CRF="s3cret", NSFW_SHARE="2", SERVICES="upscale,painting", HOST="0.0.0.0")
    sentences = describe_errors(refused.value)
    assert sentences[0].startswith("KINORA_SERVICES: Input should be 'creation'")
    assert sentences[1].startswith("KINORA_HOST=0.0.0.0 can be reached from outside")
    assert sentences[2].startswith("KINORA_CRF: Input should be a valid integer")
    assert sentences[3] == "KINORA_NSFW_SHARE: Input should be less than 1"
    assert "s3cret" not in " ".join(sentences)


def test_media_roots_are_separated_by_colons_and_become_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, MEDIA_ROOTS="/a:/b c::rel").media_roots == (Path("/a"), Path("/b c"), Path.cwd() / "rel")


def test_a_path_map_is_a_list_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, PATH_MAP=r"D:\media=/mnt/media;E:\x=/mnt/x=1;")
    assert settings.path_map == (("D:\\media", "/mnt/media"), ("E:\\x", "/mnt/x=1"))


@pytest.mark.parametrize("value", ["nonsense", "=/mnt", r"D:\media=relative", "a=/b;c"])
def test_a_path_map_that_maps_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match="PREFIX=/folder"):
        load(monkeypatch, PATH_MAP=value)


@pytest.mark.parametrize("value", ["x4pluss", "Film:1", "a:b:c", ""])
def test_an_upscaler_that_cannot_be_is_refused_with_those_that_can(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match=r"write one of auto, animevideov3, .*general-x4v3, a file that begins"):
        load(monkeypatch, UPSCALE_MODEL=value)


@pytest.mark.parametrize("value", ["*", "*.example.com", "https://a", "a/b", "u@a", "a:x", "a b", "主机", ".a", "a."])
def test_a_host_to_fetch_from_is_a_bare_name(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match="write names such as"):
        load(monkeypatch, FETCH_HOSTS=f"cdn.example.com,{value}")


@pytest.mark.parametrize(
    "value", ["made", "https://made/x", "s3://", "s3://A", "s3://ab", "s3://made//x", "s3://made/x y"]
)
def test_a_result_store_is_a_bucket_and_a_prefix(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match="s3://BUCKET"):
        load(monkeypatch, RESULT_STORE=value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_token(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    assert load(monkeypatch, HOST=host).access.tokens == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "kinora.example"])
@pytest.mark.parametrize("token", [None, "", " , "])
def test_a_host_that_others_reach_needs_a_token(monkeypatch: pytest.MonkeyPatch, host: str, token: str | None) -> None:
    given = {"HOST": host} | ({} if token is None else {"TOKEN": token})
    with pytest.raises(ValidationError, match=f"KINORA_HOST={host} .* set KINORA_TOKEN, to the word none"):
        load(monkeypatch, **given)


@pytest.mark.parametrize(("token", "tokens"), [("none", ()), (" NONE ", ()), ("a", ("a",)), ("a, b,", ("a", "b"))])
def test_a_token_or_the_word_none_opens_it(
    monkeypatch: pytest.MonkeyPatch, token: str, tokens: tuple[str, ...]
) -> None:
    assert load(monkeypatch, HOST="0.0.0.0", TOKEN=token).access.tokens == tokens


def test_secrets_do_not_show_in_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = repr(load(monkeypatch, TOKEN="t0ken", WEBHOOK_SECRET="whsec_x", DATABASE_URL="postgresql://u:pw@h/d"))
    assert not any(secret in shown for secret in ("t0ken", "whsec_x", "pw@"))


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "0"), ("PORT", "x"), ("LANGUAGE", "fr"), ("CRF", "52"), ("MAX_QUEUED", "0"), ("DEVICE", "tpu"),
     ("SERVICES", "upscale,painting"), ("DRAIN_SECONDS", "-1"), ("CALLBACK_URL", "localhost:8088/x"),
     ("CALLBACK_URL", "http:///x"), ("CALLBACK_URL", "http://h:99999/x"), ("CALLBACK_URL", "")],
)  # fmt: skip
def test_a_value_that_means_nothing_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=f"KINORA_{name}"):
        load(monkeypatch, **{name: value})


def test_a_service_that_runs_elsewhere_has_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, UPSCALE_URL="http://gpu-1:5003", INTERPO_URL="")
    assert settings.upstreams.of("upscale") == (("http://gpu-1:5003", 1),)
    assert settings.upstreams.of("interpo") == ()


@pytest.mark.parametrize("service", SERVICES)
def test_the_versions_of_a_service_may_share_its_tasks(monkeypatch: pytest.MonkeyPatch, service: ServiceName) -> None:
    value = " http://a:5003=90, http://[::1]:5003/gpu=10,file:///run/c.sock=0,"
    settings = load(monkeypatch, **{f"{service.upper()}_URL": value})
    assert settings.upstreams.of(service) == (
        ("http://a:5003", 90),
        ("http://[::1]:5003/gpu", 10),
        ("file:///run/c.sock", 0),
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("gpu-1:5003", "gpu-1:5003 is not the address of a service: write it as http://HOST:PORT"),
        ("http://:5003", "http://:5003 is not the address of a service"),
        ("http://a:70000", "out of range"),
        ("http://a/?x", "is not the address of a service"),
        ("file://host/run/a.sock", "is not the address of a service"),
        ("http://a=90,http://b", "http://b has no weight: write several versions as http://a:5003=90,http://b:5003=10"),
        ("http://a,http://b", "http://a has no weight"),
        ("http://a=90,http://b=-1", "http://b has the weight -1: it must be a whole number from 0 to 1000000"),
        ("http://a=1.5", "has the weight 1.5"),
        ("http://a=\u00b2", "it must be a whole number"),
        ("http://a=1000001", "it must be a whole number"),
        ("http://a=", "http://a has the weight : it must be a whole number"),
        ("http://a=1,http://a/=2", "http://a is named twice: give every version a URL of its own"),
        ("http://a=0", "every weight is 0, so no version would take new tasks"),
        ("http://a=0,http://b=0", "every weight is 0"),
    ],
)
def test_an_address_that_means_nothing_is_refused_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, value: str, sentence: str
) -> None:
    with pytest.raises(ValidationError, match="KINORA_UPSCALE_URL") as refused:
        load(monkeypatch, UPSCALE_URL=value)
    assert sentence in str(refused.value)


def test_a_machine_may_run_only_some_services(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, SERVICES="upscale, interpo").services == ("upscale", "interpo")
    assert load(monkeypatch, SERVICES="").services == ()


@pytest.mark.parametrize(("value", "read"), [("http://collector:4318", "http://collector:4318"), ("", None)])
def test_where_spans_go_is_a_standard_variable(monkeypatch: pytest.MonkeyPatch, value: str, read: str | None) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", value)
    assert Settings.load().traces_endpoint == read


def test_a_wrong_standard_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
    with pytest.raises(ValidationError) as caught:
        Settings.load()
    assert describe_errors(caught.value)[0].startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")
