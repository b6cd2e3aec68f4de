"""Reading of images in every mode and orientation, and invalid files."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from bilinear.data import image_reader
from bilinear.data.images import read_image


def photograph(height=40, width=60):
    """A smooth image without symmetry: JPEG hardly changes it, and all rotations differ."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 / width, y * 255 / height, (x + 2 * y) * 255 / (width + 2 * height)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def pixels(file):
    image = read_image(file)
    assert image.mode == "RGB"
    return np.asarray(image)


def stored(image, path, **options):
    image.save(path, **options)
    return path


def refused(file, words, name):
    with pytest.raises(ValueError, match=words) as caught:
        read_image(file)
    assert str(name) in str(caught.value)
    assert str(caught.value).startswith("read_image: ")


# --- modes ---


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr"])
def test_modes_are_read_as_pillow_converts_them(tmp_path, mode):
    image = photograph().convert(mode)
    path = stored(image, tmp_path / "a.tif")
    with Image.open(path) as again:
        if mode == "YCbCr" and again.mode != mode:
            pytest.skip("this version of Pillow does not read back what it wrote")
        assert again.mode == mode
    expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(pixels(path) - expected).max() <= (2 if mode == "YCbCr" else 0)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_composited_over_white(tmp_path, mode):
    image = photograph().convert(mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 10, 40))
    alpha.paste(128, (10, 0, 20, 40))
    image.putalpha(alpha)
    found = pixels(stored(image, tmp_path / "a.png")).astype(float)
    opaque = np.asarray(image.convert("RGB")).astype(float)
    assert (found[:, :10] == 255).all()
    blended = 255 + (opaque[:, 10:20] - 255) * 128 / 255
    assert np.abs(found[:, 10:20] - blended).max() <= 1
    np.testing.assert_array_equal(found[:, 20:], opaque[:, 20:])


def test_a_transparent_color_is_composited_over_white(tmp_path):
    palette = photograph().quantize(8)
    path = stored(palette, tmp_path / "a.png", transparency=palette.getpixel((0, 0)))
    opaque = np.asarray(palette.convert("RGB"))
    clear = np.asarray(palette) == palette.getpixel((0, 0))
    np.testing.assert_array_equal(pixels(path), np.where(clear[..., None], 255, opaque))

    gray = photograph().convert("L")
    path = stored(gray, tmp_path / "b.png", transparency=gray.getpixel((0, 0)))
    assert (pixels(path)[0, 0] == 255).all()
    assert (pixels(path)[-1, -1] == gray.getpixel((59, 39))).all()


def png(path, values, depth, kind, transparency):
    """A PNG of any depth with a transparent color; Pillow writes neither."""
    channels = 3 if kind == 2 else 1
    bits = np.unpackbits(values.astype(">u2").view(np.uint8).reshape(*values.shape, 2), axis=-1)
    rows = bits[..., -depth:].reshape(len(values), -1)
    data = zlib.compress(b"".join(b"\0" + np.packbits(row).tobytes() for row in rows))
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, kind, 0, 0, 0)
    color = np.array(transparency, ">u2").tobytes()
    assert len(color) == 2 * channels
    content = b"\x89PNG\r\n\x1a\n"
    for name, chunk in ((b"IHDR", header), (b"tRNS", color), (b"IDAT", data), (b"IEND", b"")):
        content += struct.pack(">I", len(chunk)) + name + chunk
        content += struct.pack(">I", zlib.crc32(name + chunk))
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_transparent_colors_of_every_depth_are_composited_over_white(tmp_path, depth):
    """Pillow keeps the color in the depth of the file."""
    largest = 2**depth - 1
    values = np.array([[0, largest // 3, largest - largest // 3, largest]])
    clear = largest // 3
    found = pixels(png(tmp_path / "gray.png", values, depth, 0, clear))[0, :, 0]
    expected = np.where(values == clear, 255, np.rint(values * 255 / largest))
    np.testing.assert_array_equal(found, expected[0])
    if depth >= 8:
        colors = np.stack([values, values[:, ::-1], values], axis=-1)
        found = pixels(png(tmp_path / "rgb.png", colors, depth, 2, colors[0, 1]))[0]
        assert (found == 255).all(axis=-1).tolist() == [False, True, False, False]


@pytest.mark.parametrize("order", ["<u2", ">u2"])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, kind, order):
    values = np.linspace(0, 65535, 40 * 60).round().astype(order).reshape(40, 60)
    found = pixels(stored(Image.fromarray(values), tmp_path / f"a.{kind}"))
    expected = np.rint(values / 257)
    np.testing.assert_array_equal(found, np.repeat(expected[..., None], 3, axis=-1))


def test_32_bit_integers_are_read_as_16_bit_values(tmp_path):
    values = np.array([[0, 257, 65535]], np.int32)
    found = pixels(stored(Image.fromarray(values), tmp_path / "a.tif"))
    assert found[0, :, 0].tolist() == [0, 1, 255]
    path = stored(Image.fromarray(values + 1), tmp_path / "b.tif")
    refused(path, r"must be in \[0, 65535\]; got values from 1 to 65536", path)


def test_floating_values_are_on_the_scale_1_or_255(tmp_path):
    values = np.array([[0, 0.5, 1]], np.float32)
    assert pixels(stored(Image.fromarray(values), tmp_path / "a.tif"))[0, :, 1].tolist() == [
        *(0, 128, 255)
    ]
    gray = photograph().convert("L")
    found = pixels(stored(gray.convert("F"), tmp_path / "b.tif"))
    np.testing.assert_array_equal(found[..., 0], np.asarray(gray))
    for bad in (-1, 256, np.nan):
        path = stored(Image.fromarray(values + np.float32(bad)), tmp_path / "c.tif")
        refused(path, r"must be in \[0, 255\]", path)


# --- orientation and frames ---


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path, orientation, kind, monkeypatch):
    """As Pillow applies it, to bands of seven rows."""
    monkeypatch.setattr(image_reader, "_BAND", 7 * 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = stored(photograph(), tmp_path / f"a.{kind}", exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert expected.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))
    np.testing.assert_array_equal(pixels(path), expected)


@pytest.mark.parametrize("exif", [b"Exif\0\0broken", b"Exif\0\0II*\0\xff\xff\xff\xff", b"x"])
@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_unreadable_exif_is_ignored(tmp_path, exif):
    path = stored(photograph(), tmp_path / "a.jpg", exif=exif)
    assert pixels(path).shape == (40, 60, 3)


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tif"])
def test_an_animation_gives_its_first_frame(tmp_path, kind):
    red, blue = (Image.new("RGB", (8, 6), color) for color in ("red", "blue"))
    path = stored(red, tmp_path / f"a.{kind}", save_all=True, append_images=[blue])
    assert np.abs(pixels(path) - [255, 0, 0]).max() <= 3


# --- files ---


def test_a_file_object_is_read_from_its_start_and_left_open(tmp_path):
    path = stored(photograph(), tmp_path / "a.png")
    with open(path, "rb") as file:
        file.read(7)
        np.testing.assert_array_equal(pixels(file), np.asarray(photograph()))
        assert not file.closed
    np.testing.assert_array_equal(pixels(io.BytesIO(path.read_bytes())), pixels(str(path)))


def test_only_readable_paths_and_binary_files_are_accepted(tmp_path):
    for file, kind, words in (
        (b"\x89PNG", TypeError, r"got builtins.bytes. Wrap encoded bytes in io.BytesIO"),
        (None, TypeError, "a path or a binary file"),
        (tmp_path / "nowhere.png", FileNotFoundError, "nowhere"),
        (tmp_path, IsADirectoryError, "Is a directory"),
    ):
        with pytest.raises(kind, match=words):
            read_image(file)


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "tif", "webp", "bmp"])
def test_a_truncated_image_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = stored(Image.fromarray(noise), tmp_path / f"cut.{kind}")
    content = path.read_bytes()
    for part in (10, len(content) // 2, len(content) - 80):
        path.write_bytes(content[:part])
        refused(path, "must be a complete image file", path)


def test_a_jpeg_with_a_damaged_scan_is_read_as_documented(tmp_path):
    """Its decoder goes on with other pixels and reports nothing."""
    path = stored(photograph(), tmp_path / "a.jpg")
    content = bytearray(path.read_bytes())
    middle = len(content) - 200
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    assert (pixels(path) != np.asarray(photograph())).any()
    assert "not report such damage" in " ".join((read_image.__doc__ or "").split())


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = stored(photograph(), tmp_path / "bad.png")
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    for content in (flipped, b"", b"<html>not found</html>", bytes(100)):
        path.write_bytes(content)
        refused(path, "must be a complete image file", path)
    refused(io.BytesIO(b"text"), "the BytesIO must be a complete image", "the BytesIO")


@pytest.mark.parametrize("kind", ["JPEG", "MPO", "PNG", "GIF", "JPEG2000", "TIFF", "TGA", "PPM"])
def test_listed_formats_are_read_whatever_their_suffix(tmp_path, kind):
    image = photograph()
    image.save(tmp_path / "a.jpg", kind)
    assert np.abs(pixels(tmp_path / "a.jpg") - np.asarray(image, int)).mean() < 16


def test_no_image_starts_another_program(tmp_path, monkeypatch):
    """Pillow would start Ghostscript for EPS, whatever the suffix."""
    path = tmp_path / "photo.jpg"
    photograph().save(path, "EPS")
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **_: started.append(a))
    with Image.open(path) as image:
        assert image.format == "EPS"
    refused(path, "must be a complete image file", path)
    assert not started


def test_heic_without_its_plugin_is_named(tmp_path):
    path = tmp_path / "phone.heic"
    path.write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(200))
    refused(path, "HEIC needs the plugin pillow-heif", path)


def test_what_stands_in_place_of_an_image_is_named(tmp_path):
    path = tmp_path / "bird.jpg"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(path, "got a Git LFS pointer. Fetch the file itself: git lfs pull", path)
    path.write_bytes(b"<html><title>Sign in</title>")
    refused(path, "got an HTML page. The server sent a page", path)


def test_the_largest_number_of_pixels_can_be_set(tmp_path, monkeypatch):
    """Also above Pillow's own limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 50)
    monkeypatch.setattr(image_reader, "_max_pixels", 40 * 50)
    path = stored(photograph(), tmp_path / "a.png")
    refused(path, "pixels; got .* allow more .bilinear --max-pixels", path)
    image_reader.set_max_pixels(40 * 60)
    assert pixels(path).shape == (40, 60, 3)
    with pytest.raises(ValueError, match="count must be a positive integer"):
        image_reader.set_max_pixels(0)


def png_header(width, height):
    """A PNG file of the given size with a valid header and no pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    return data + struct.pack(">I", zlib.crc32(chunk)) + struct.pack(">I", 9) + b"IDAT" + bytes(13)


@pytest.mark.parametrize(("width", "height"), [(10_000, 9_000), (50_000, 50_000), (2**31 - 1, 9)])
def test_a_very_large_image_is_refused_by_its_header(tmp_path, width, height, monkeypatch):
    """By Pillow's warning, which is an error in tests, by its error, and without both."""
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    refused(path, "must have between 1 and 89,478,485 pixels", path)
    assert Image.MAX_IMAGE_PIXELS == 89_478_485
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # disables Pillow's own check
    refused(path, f"pixels; got {width} × {height}", path)


def test_an_empty_image_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.write_bytes(png_header(0, 5))
    refused(path, "must have between 1 and|must be a complete", path)
    path = tmp_path / "empty.gif"
    path.write_bytes(b"GIF89a\0\0\0\0\0\0\0;")
    refused(path, "must", path)
