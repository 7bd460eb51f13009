"""Small videos of all kinds, made with PyAV alone."""

from fractions import Fraction

import av
import numpy as np

RATE = 24


def picture(number, height=32, width=48, seed=0):
    """A frame with smooth colours, an edge that moves, and a little texture."""
    y, x = np.mgrid[:height, :width]
    red = 128 + 90 * np.sin((x + number) / 9 + seed)
    green = 128 + 90 * np.cos(y / 7)
    blue = np.where((x + 2 * number) % width < width // 3, 200, 40)
    texture = np.random.default_rng(1).integers(-6, 6, (height, width, 3))
    return np.clip(np.stack([red, green, blue], -1) + texture, 0, 255).astype(np.uint8)


def screen(number, height=96, width=128):
    """A still page on which a small rectangle moves every third frame."""
    page = np.full((height, width, 3), 235, np.uint8)
    page[10:80:6, 8:100] = 30
    left = 8 + 3 * (number // 3)
    page[84:92, left : left + 8] = (200, 30, 30)
    return page


def clip(
    path,
    frames=10,
    size=(32, 48),
    codec="libx264",
    pix_fmt="yuv420p",
    times=None,
    time_base=Fraction(1, 12288),
    audio=0,
    subtitles=0,
    attachment=False,
    chapters=False,
    draw=picture,
    options=None,
    tags=None,
    turn=None,
    rate=RATE,
    aspect=None,
    interlaced=False,
    metadata=None,
):
    """Write a video; `times` are the time stamps of frames, `tags` (matrix, range, primaries, transfer)."""
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        video = out.add_stream(codec, rate=rate, options=options or {})
        video.height, video.width = size
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if tags:
            matrix, span, primaries, transfer = tags
            video.codec_context.colorspace, video.codec_context.color_range = matrix, span
            video.codec_context.color_primaries, video.codec_context.color_trc = primaries, transfer
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            video.set_display_rotation(turn)
        if interlaced:
            video.codec_context.flags |= (1 << 18) | (1 << 29)
        video.metadata["language"] = "fra"
        sound = []
        for number in range(audio):
            stream = out.add_stream("aac", rate=48000)
            stream.metadata["language"] = ("eng", "deu", "ita")[number]
            stream.metadata["title"] = f"Sound {number}"
            stream.disposition = 1 if number == 0 else 0
            sound.append(stream)
        texts = []
        for number in range(subtitles):
            stream = out.add_mux_stream("subrip" if path.suffix == ".mkv" else "mov_text")
            stream.metadata["language"] = ("eng", "deu")[number]
            stream.time_base = Fraction(1, 1000)
            texts.append(stream)
        if attachment:
            out.add_attachment("font.ttf", "font/ttf", b"not a font" * 9)
        if chapters:
            half, whole = 250, 1000 * frames // RATE
            base = Fraction(1, 1000)
            out.set_chapters(
                [
                    {"id": 1, "start": 0, "end": half, "time_base": base, "metadata": {"title": "One"}},
                    {"id": 2, "start": half, "end": whole, "time_base": base, "metadata": {"title": "Two"}},
                ]
            )
        step = round(1 / (RATE * time_base))
        for stream in texts:
            for number in range(2):
                packet = av.Packet(f"Line {number}".encode() if path.suffix == ".mkv" else b"\x00\x06Line %d" % number)
                packet.stream, packet.time_base = stream, Fraction(1, 1000)
                packet.pts = packet.dts = 100 * number
                packet.duration = 80
                out.mux(packet)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            if pix_fmt != "rgb24":
                frame = frame.reformat(format=pix_fmt, dst_colorspace=(tags or (5,))[0] or None)
            frame.pts = times[number] if times else number * step
            frame.time_base = time_base
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for stream in sound:
            length = 1024 * (48000 * frames // RATE // 1024 + 1)
            tone = (np.sin(np.arange(length) / 20) * 0.2).astype(np.float32)
            for start in range(0, length, 1024):
                part = np.stack([tone[start : start + 1024]] * 2)
                chunk = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                chunk.sample_rate, chunk.pts, chunk.time_base = 48000, start, Fraction(1, 48000)
                out.mux(stream.encode(chunk))
            out.mux(stream.encode(None))
    return path


def frames_of(path):
    """All frames as RGB of 8 bits, and their times in seconds."""
    with av.open(str(path)) as file:
        found = list(file.decode(file.streams.video[0]))
    return [frame.to_ndarray(format="rgb24") for frame in found], [frame.pts * frame.time_base for frame in found]


def packets_of(path):
    """Every stream that is no upscaled video: its kind, codec, language, and the bytes and times of its packets."""
    found = {}
    with av.open(str(path)) as file:
        for stream in file.streams:
            if stream.type == "attachment":
                found[stream.index] = ("attachment", stream.metadata.get("filename"), stream.data)
            elif stream.type != "video":
                found[stream.index] = (stream.type, stream.name, stream.language, stream.metadata.get("title"), [])
        for packet in file.demux():
            if packet.size and packet.stream.index in found and packet.stream.type != "attachment":
                found[packet.stream.index][-1].append((packet.pts * packet.time_base, bytes(packet)))
    return found
