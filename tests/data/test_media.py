"""Pictures and recordings: what is taken, what is refused, and that nothing leaves its folder."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image as Pillow

from finetune.data.kinds import Audio, Image
from finetune.data.media import check_media, decode_audio, decode_image, embed, media_type
from finetune.errors import DataError


def picture(data, row="x:1"):
    return decode_image({"bytes": data, "path": None}, row=row)


def column(*items):
    import pyarrow as pa

    structs = [None if item is None else {"bytes": item, "path": None} for item in items]
    return pa.chunked_array([pa.array(structs, media_type())])


def saved(image, format="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_the_allowed_formats_decode_to_rgb(png, format):
    image = picture(
        png((200, 30, 30), format=format, **({"lossless": True} if format == "WEBP" else {}))
    )
    assert image.mode == "RGB"
    assert np.abs(np.asarray(image)[0, 0].astype(int) - [200, 30, 30]).max() < 8


@pytest.mark.parametrize("format", ["GIF", "BMP", "TIFF", "ICO"])
def test_other_formats_are_refused(png, format):
    with pytest.raises(DataError, match="not a JPEG, PNG or WebP"):
        picture(png(format=format))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Pillow.new("L", (2, 2), 100), 100),
        (Pillow.new("LA", (2, 2), (100, 0)), 100),
        (Pillow.new("RGBA", (2, 2), (100, 100, 100, 0)), 100),
        (Pillow.new("1", (2, 2), 1), 255),
        (Pillow.new("RGB", (2, 2), (100, 100, 100)).convert("P"), 100),
        (Pillow.fromarray(np.full((2, 2), 100 << 8, "uint16")), 100),
        (Pillow.fromarray(np.full((2, 2), 250, "uint16")), 0),
    ],
    ids=[
        "grey",
        "grey and alpha",
        "alpha",
        "black and white",
        "palette",
        "16 bits",
        "16 bits, dark",
    ],
)
def test_every_mode_becomes_rgb_at_its_brightness(image, expected):
    pixels = np.asarray(picture(saved(image)))
    assert pixels.shape == (2, 2, 3)
    assert np.abs(pixels.astype(int) - expected).max() <= 3


def test_cmyk_becomes_rgb():
    data = saved(Pillow.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert np.asarray(picture(data)).min() > 250


def test_a_camera_held_sideways_is_turned_upright():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    data = saved(Pillow.new("RGB", (40, 20)), "JPEG", exif=exif)
    assert picture(data).size == (20, 40)


def test_of_an_animation_the_first_frame_is_taken():
    frames = [Pillow.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert picture(data).getpixel((0, 0)) == (255, 0, 0)


def huge_png(width, height):
    def chunk(kind, data):
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 6_000), (50_000, 50_000)])
def test_a_picture_bomb_is_refused_before_it_is_decoded(size):
    start = time.monotonic()
    with pytest.raises(DataError, match="more than 50 million pixels"):
        picture(huge_png(*size))
    assert time.monotonic() - start < 1


def test_broken_pictures_are_refused_with_the_row(png):
    whole = saved(Pillow.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    for broken in (b"", b"not a picture", whole[: len(whole) // 2], png()[:20]):
        with pytest.raises(DataError, match=r"picture of train/a\.png") as raised:
            picture(broken, row="train/a.png")
        assert "on_invalid=drop" in raised.value.fix


# ---------------------------------------------------------------- recordings


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG", "MP3"])
def test_the_allowed_formats_decode_to_one_channel(wav, format):
    samples = decode_audio({"bytes": wav(0.5, 16000, 2, format)}, 16000)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) - 8000) < 1500
    assert 0.4 < np.abs(samples).max() < 0.6


def test_resampling_keeps_the_pitch_and_the_length(wav):
    samples = decode_audio({"bytes": wav(1.0, 8000, frequency=440)}, 16000)
    assert len(samples) == 16000
    assert np.abs(np.fft.rfft(samples)).argmax() == 440


def forged(data, rate):
    """Write another sampling rate into a wav header."""
    return data[:24] + struct.pack("<I", rate) + data[28:]


@pytest.mark.parametrize("rate", [1, 655_350, 2_000_000_000])
def test_a_forged_sampling_rate_is_refused(wav, rate):
    with pytest.raises(DataError, match=r"sampling rate|broken"):
        decode_audio({"bytes": forged(wav(), rate)}, 16000)


def test_a_recording_beyond_the_limits_is_refused_while_decoding(wav, monkeypatch):
    from finetune.data import media

    data = wav(30, 8000)
    monkeypatch.setattr(media, "MAX_SECONDS", 20.0)
    with pytest.raises(DataError, match="longer than"):
        decode_audio({"bytes": data}, 8000)
    monkeypatch.setattr(media, "MAX_SECONDS", 3600.0)
    monkeypatch.setattr(media, "MAX_DECODED_BYTES", 100_000)
    with pytest.raises(DataError, match="too large decoded"):
        decode_audio({"bytes": data}, 8000)


def test_decoding_stops_at_the_limit_whatever_the_length(wav, monkeypatch):
    import soundfile

    from finetune.data import media

    read, frames = soundfile.SoundFile.read, []

    def counted(self, *args, **options):
        block = read(self, *args, **options)
        frames.append(len(block))
        return block

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    monkeypatch.setattr(media, "MAX_SECONDS", 15.0)
    with pytest.raises(DataError, match="longer than"):
        decode_audio({"bytes": wav(120, 8000)}, 8000)
    assert sum(frames) == 20 * 8000


def test_broken_recordings_are_refused(wav):
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.array([0.0, np.nan]), 8000, format="WAV", subtype="FLOAT")
    for broken in (b"", b"RIFF", wav()[:30], wav(seconds=0), buffer.getvalue()):
        with pytest.raises(DataError, match=r"recording of m\.csv:3"):
            decode_audio({"bytes": broken}, 8000, row="m.csv:3")


def test_checking_a_column_finds_the_broken_rows_only(png, wav):
    assert check_media(column(png(), b"x", None, png()), Image()) == {
        1: "is not a JPEG, PNG or WebP picture"
    }
    assert list(check_media(column(wav(), b"x"), Audio())) == [1]


# ---------------------------------------------------------------- files


def test_files_are_embedded_with_their_names(write, png):
    path = write("set/a/1.png", png())
    array, wrong = embed(["a/1.png", "a/2.png", None, "", 3], path.parents[1], list("vwxyz"))
    assert array.to_pylist()[0] == {"bytes": png(), "path": "a/1.png"}
    assert wrong == {
        1: "names a file that does not exist",
        2: "is missing",
        3: "is missing",
        4: "is neither a file name nor an encoded file",
    }


def test_embedded_bytes_pass_and_their_path_loses_its_folder(png):
    array, wrong = embed([{"bytes": png(), "path": "/home/me/1.png"}, png()], None, ["a", "b"])
    assert [item["path"] for item in array.to_pylist()] == ["1.png", None]
    assert wrong == {}
    _, wrong = embed([{"bytes": None, "path": "1.png"}], None, ["a"])
    assert wrong == {0: "is a file name, but the data are not in a folder"}


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png",
        "a/../../secret.png",
        "/etc/passwd",
        "../set-beside/secret.png",
        "link.png",
        "folder/secret.png",
    ],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(write, png, name):
    root = write("set/a/1.png", png()).parents[1]
    outside = write("secret.png", png())
    write("set-beside/secret.png", png())
    (root / "link.png").symlink_to(outside)
    (root / "folder").symlink_to(outside.parent)
    with pytest.raises(DataError, match="leads out of the data folder"):
        embed([name], root, ["metadata.csv:1"])


@pytest.mark.parametrize(
    "name", ["http://169.254.169.254/x.png", "file:///etc/passwd", "data:image/png;base64,xx"]
)
def test_a_url_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=r"metadata.csv:1 is a URL"):
        embed([name], tmp_path, ["metadata.csv:1"])


def test_a_name_with_a_null_byte_is_an_invalid_row(tmp_path):
    _, wrong = embed(["a\0.png"], tmp_path, ["a"])
    assert wrong == {0: "is not a valid file name"}


def test_a_root_that_is_itself_a_link_works(write, png, tmp_path):
    root = write("set/1.png", png()).parent
    (tmp_path / "alias").symlink_to(root)
    _, wrong = embed(["1.png"], tmp_path / "alias", ["a"])
    assert wrong == {}
