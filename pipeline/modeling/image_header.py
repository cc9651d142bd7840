"""Refuses encoded images by their first bytes, before they are decoded, in stock TensorFlow ops.

A PNG of 388 KB can hold 400 megapixels: decoding it takes the memory of a server. The formats are
those of https://www.w3.org/TR/png-3/#11IHDR and https://www.w3.org/Graphics/JPEG/itu-t81.pdf,
sections B.1 and B.2. `tf.io.extract_jpeg_shape` is not used: it decodes all scans of a
progressive JPEG before it returns the size.
"""

import math
import struct

import tensorflow as tf

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
# IHDR, 13 bytes long, has to be the first chunk; it begins with width and height.
_PNG_START = _PNG_MAGIC + b"\x00\x00\x00\rIHDR"
_JPEG_START = b"\xff\xd8\xff"
# What `tf.io.decode_image` would take as well, or people try: magic bytes and where they are.
_OTHER_FORMATS = (
    ("GIF", b"GIF8", 0),
    ("BMP", b"BM", 0),
    ("WebP", b"WEBP", 8),
    ("TIFF", b"II*\0", 0),
    ("TIFF", b"MM\0*", 0),
    ("HEIC", b"ftyphei", 4),
    ("HEIC", b"ftypmif1", 4),
)

# Where a PNG has its depth; behind it is the type of its colours.
_PNG_DEPTH = 24
# The decoder keeps the upper half of 16 bits, which is all black where a camera wrote 12 of them.
_WIDE_DEPTH = 16

# The header of a JPEG's frame: FF, marker, length (2), precision, height (2), width (2), and how
# many colours a pixel has.
_FRAME_HEADER = 10
# The decoder cannot make these grey, and makes colours of them that others do not.
_CMYK_COLORS = 4
_WIDE = "is a PNG of 16 bits a channel, only 8 are accepted"
_CMYK = "is a JPEG of CMYK colours, only grey and RGB are accepted"

# More than cameras and editors write; a file made of nothing else must not keep a thread busy.
_MOST_SEGMENTS = 4096


def refuse_unsuitable(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    """Returns `encoded`, if every image is a PNG or a JPEG of a size that may be decoded.

    Its graph fails with InvalidArgument otherwise, naming the first image that is not, its format
    or size, and the limit. A PNG of 16 bits and a JPEG of CMYK colours are refused as well: the
    decoder would make another picture of them than clients see. Defects behind the header are left
    to the decoder.

    Args:
        encoded: string [N].
        max_pixels: the largest product of width and height.
    """
    # Small PNGs, what most clients send, cost no more than these operations: their first 32 bytes
    # as four numbers, of which the third is width and height, without their lower bits, and the
    # fourth begins with the depth.
    lower = (1 << math.isqrt(max_pixels).bit_length() - 1) - 1
    mask = [-1, -1, ~(lower << 32 | lower), _WIDE_DEPTH << 56]
    start = tf.io.decode_raw(encoded, tf.int64, little_endian=False, fixed_length=32)
    small_png = [*struct.unpack(">2q", _PNG_START), 0, 0]
    all_small = tf.reduce_all(tf.bitwise.bitwise_and(start, mask) == small_png)
    return tf.cond(all_small, lambda: encoded, lambda: _looked_at(encoded, max_pixels))


# A branch that is inlined costs time where it is not taken, too.
@tf.function(experimental_attributes={"_noinline": True})
def _looked_at(encoded: tf.Tensor, max_pixels: int) -> tf.Tensor:
    start = tf.io.decode_raw(encoded, tf.uint8, fixed_length=_PNG_DEPTH + 1)
    begins_png = _begins_with(start, _PNG_START)
    is_jpeg = _begins_with(start, _JPEG_START)
    png_sizes = tf.stack([_big_endian(start[:, 16:20]), _big_endian(start[:, 20:24])], axis=1)
    frames = _jpeg_frames(tf.where(is_jpeg, encoded, ""))
    sizes = tf.where(is_jpeg[:, None], frames[:, :2], png_sizes)
    # Each is below 2**32, so that a product beyond int64 is negative.
    pixels = tf.reduce_prod(sizes, axis=1)
    right_size = (begins_png | is_jpeg) & (pixels > 0) & (pixels <= max_pixels)
    is_wide = begins_png & (start[:, _PNG_DEPTH] == _WIDE_DEPTH)
    is_cmyk = frames[:, 2] == _CMYK_COLORS
    suitable = right_size & ~is_wide & ~is_cmyk
    misread = tf.where(is_wide, _WIDE, tf.where(is_cmyk, _CMYK, ""))
    defects = tf.where(right_size, misread, "")
    return tf.cond(
        tf.reduce_all(suitable),
        lambda: encoded,
        lambda: _refused(encoded, suitable, begins_png | is_jpeg, sizes, defects, max_pixels),
    )


def may_be_transparent(encoded: tf.Tensor) -> tf.Tensor:
    """Whether each image, string [N], is a PNG whose pixels can be transparent; bool [N].

    A single colour that a PNG of grey or RGB pixels may declare transparent does not count: the
    decoder cannot see it, and clients lay such a picture on white themselves.
    """
    start = tf.io.decode_raw(encoded, tf.uint8, fixed_length=_PNG_DEPTH + 2)
    color_type = start[:, _PNG_DEPTH + 1]
    return _begins_with(start, _PNG_MAGIC) & (color_type != 0) & (color_type != 2)


def _jpeg_frames(encoded: tf.Tensor) -> tf.Tensor:
    return tf.map_fn(_jpeg_frame, encoded, fn_output_signature=tf.TensorSpec([3], tf.int64))


def _jpeg_frame(encoded: tf.Tensor) -> tf.Tensor:
    """Finds the frame header among the segments, as libjpeg does.

    Returns int64 [width, height, colours of a pixel], or zeros.

    What lies inside a segment, a thumbnail for instance, is skipped with it.
    """
    length = tf.strings.length(encoded)

    def is_searching(place: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return (size[0] < 0) & (place + _FRAME_HEADER <= length)

    def step(place: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        header = tf.strings.substr(encoded, place, _FRAME_HEADER)
        found = tf.io.decode_raw(header[None], tf.uint8, fixed_length=_FRAME_HEADER)
        escape, marker = tf.cast(found[0, 0], tf.int32), tf.cast(found[0, 1], tf.int32)
        # Any number of FF may fill the space in front of a marker; libjpeg passes over other
        # bytes, too.
        is_marker = (escape == 0xFF) & (marker != 0xFF) & (marker != 0)
        is_frame = is_marker & (marker >= 0xC0) & (marker <= 0xCF)
        # Huffman tables, a reserved marker and arithmetic conditioning lie in between.
        is_frame &= (marker != 0xC4) & (marker != 0xC8) & (marker != 0xCC)
        stands_alone = (marker == 0x01) | ((marker >= 0xD0) & (marker <= 0xD9))
        payload = tf.cast(_big_endian(found[:, 2:4])[0], tf.int32)
        segment = 2 + tf.where(stands_alone, 0, tf.maximum(payload, 2))
        height, width = _big_endian(found[:, 5:7])[0], _big_endian(found[:, 7:9])[0]
        return (
            place + tf.where(is_marker, segment, 1),
            tf.where(is_frame, tf.stack([width, height, _big_endian(found[:, 9:10])[0]]), size),
        )

    nowhere = tf.constant([-1, -1, -1], tf.int64)
    _, size = tf.while_loop(is_searching, step, (2, nowhere), maximum_iterations=_MOST_SEGMENTS)
    return tf.maximum(size, 0)


def _refused(
    encoded: tf.Tensor,
    suitable: tf.Tensor,
    is_known: tf.Tensor,
    sizes: tf.Tensor,
    misread: tf.Tensor,
    max_pixels: int,
) -> tf.Tensor:
    """Fails, with a sentence about the first unsuitable image."""
    number = tf.argmin(tf.cast(suitable, tf.int32))
    width, height = tf.unstack(tf.strings.as_string(sizes[number]))
    limit = f" pixels, at most {max_pixels} pixels are accepted (serving.max_pixels)"
    size = tf.where(
        tf.reduce_all(sizes[number] > 0),
        tf.strings.join(["has ", width, " x ", height, limit]),
        "has no width and height in its header",
    )
    size = tf.where(misread[number] == "", size, misread[number])
    defect = tf.where(is_known[number], size, _wrong_format(encoded[number]))
    sentence = tf.strings.join(["image ", tf.strings.as_string(number), " ", defect])
    # Always false here; a constant would be taken for a mistake while the graph is made.
    with tf.control_dependencies([tf.debugging.Assert(suitable[number], [sentence])]):
        return tf.identity(encoded)


def _wrong_format(encoded: tf.Tensor) -> tf.Tensor:
    start = tf.strings.join([tf.strings.substr(encoded, 0, 12), b"\x00" * 12])
    defect = tf.constant("is neither PNG nor JPEG")
    for name, magic, place in _OTHER_FORMATS:
        is_it = tf.strings.substr(start, place, len(magic)) == magic
        defect = tf.where(is_it, f"is a {name}, only PNG and JPEG are accepted", defect)
    is_png = tf.strings.substr(start, 0, len(_PNG_MAGIC)) == _PNG_MAGIC
    return tf.where(is_png, "is a PNG without its header", defect)


def _begins_with(start: tf.Tensor, magic: bytes) -> tf.Tensor:
    return tf.reduce_all(start[:, : len(magic)] == tf.constant(list(magic), tf.uint8), axis=1)


def _big_endian(parts: tf.Tensor) -> tf.Tensor:
    """Returns the numbers in uint8 [N, bytes] as int64 [N]."""
    places = [256**place for place in reversed(range(parts.shape[1]))]
    return tf.reduce_sum(tf.cast(parts, tf.int64) * tf.constant(places, tf.int64), axis=1)
