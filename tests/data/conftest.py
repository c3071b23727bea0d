"""Small files in every format, and the real data sets where they are at hand."""

import io
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared():
    def find(name: str) -> Path:
        folder = SHARED / name
        if not folder.exists():
            pytest.skip(f"the real data set {name} is not beside the project")
        return folder

    return find


@pytest.fixture
def write(tmp_path):
    def put(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return put


@pytest.fixture
def png():
    def make(colour=(255, 0, 0), size=(4, 4), mode="RGB", format="PNG", **options) -> bytes:
        from PIL import Image

        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, format, **options)
        return buffer.getvalue()

    return make


@pytest.fixture
def wav():
    def make(seconds=0.1, rate=8000, channels=1, format="WAV", frequency=440.0) -> bytes:
        import numpy as np
        import soundfile

        time = np.arange(int(seconds * rate)) / rate
        tone = 0.5 * np.sin(2 * np.pi * frequency * time)
        buffer = io.BytesIO()
        soundfile.write(buffer, np.stack([tone] * channels, 1), rate, format=format)
        return buffer.getvalue()

    return make
