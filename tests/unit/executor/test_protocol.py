"""Frames between agent and child processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boraflow.runtime.protocol import (
    MAX_FRAME,
    Channel,
    FrameBuffer,
    ProtocolError,
    encode,
    received_fds,
    socket_pair,
    splice,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
messages = st.lists(st.dictionaries(st.text(max_size=6), values, max_size=4), max_size=6)


@given(messages, st.lists(st.integers(1, 40), min_size=1))
def test_frames_survive_any_cut(sent: list[dict[str, object]], cuts: list[int]) -> None:
    data = b"".join(encode(m) for m in sent)
    buffer = FrameBuffer()
    got: list[dict[str, object]] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        got += buffer.feed(data[at : at + size])
        at += size
        turn += 1
    assert got == sent


def test_a_large_frame_takes_linear_time() -> None:
    data = encode({"v": "x" * (20 << 20)})
    buffer = FrameBuffer()
    got = []
    for at in range(0, len(data), 65536):
        got += buffer.feed(data[at : at + 65536])
    assert len(got[0]["v"]) == 20 << 20


def test_spliced_json_is_passed_on_as_it_is() -> None:
    frame = splice({"t": "run", "n": 1}, "run", b'{"a": "\xc3\xa4"}')
    assert FrameBuffer().feed(frame) == [{"t": "run", "n": 1, "run": {"a": "ä"}}]


@pytest.mark.parametrize(
    "data",
    [
        (MAX_FRAME + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x03{]}",
        b"\x00\x00\x00\x01\xff",
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        FrameBuffer().feed(data)


def test_half_a_character_becomes_a_question_mark() -> None:
    assert FrameBuffer().feed(encode({"v": "a\udcff"})) == [{"v": "a?"}]


def test_a_frame_beyond_the_limit_is_refused_by_its_sender() -> None:
    with pytest.raises(ProtocolError, match="at most"):
        encode({"v": "x" * (MAX_FRAME + 1)})


def test_answers_overtake_other_frames() -> None:
    a, b = socket_pair()
    channel = Channel(a)
    os.write(b, encode({"t": "fork", "n": 1}) + encode({"t": "answer", "id": 1, "value": "late"}))
    os.write(b, encode({"t": "answer", "id": 2, "value": "mine"}))
    assert channel.recv_answer(2) == {"t": "answer", "id": 2, "value": "mine"}
    assert channel.pending()
    assert channel.recv() == {"t": "fork", "n": 1}
    os.close(b)
    assert channel.recv() is None
    os.close(a)


def test_descriptors_travel_with_a_frame() -> None:
    a, b = socket_pair()
    inner, other = socket_pair()
    Channel(a).send_with({"t": "opened"}, [inner])
    with socket.socket(fileno=b) as sock:
        data, ancillary, _, _ = sock.recvmsg(1000, socket.CMSG_SPACE(64))
    assert FrameBuffer().feed(data) == [{"t": "opened"}]
    (fd,) = received_fds(ancillary)
    with socket.socket(fileno=fd) as received:
        received.sendall(b"x")
        assert os.read(other, 1) == b"x"
    for mine in (a, inner, other):
        os.close(mine)


def test_a_large_frame_is_sent_whole() -> None:
    a, b = socket_pair()
    message = {"v": "y" * (5 << 20)}
    thread = threading.Thread(target=Channel(a).send, args=(message,))
    thread.start()
    assert Channel(b).recv() == message
    thread.join()
    os.close(a)
    os.close(b)


def test_the_specification_names_every_type() -> None:
    """What the code sends stands in the docstring, which is the specification."""
    import re
    from pathlib import Path

    from boraflow.runtime import lane, protocol, worker, zygote
    from boraflow_executor import lanes, pool

    assert protocol.__doc__
    for module in (worker, zygote, lane, pool, lanes):
        source = Path(str(module.__file__)).read_text()
        for name in re.findall(r'\{"t": "(\w+)"', source) + re.findall(r'"t": "(\w+)",\n', source):
            assert f"``{name}``" in protocol.__doc__, name
    assert json


def test_a_zygote_whose_agent_died_meanwhile_ends_in_silence() -> None:
    ours, theirs = socket_pair()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "boraflow.runtime.zygote", str(theirs), "{}"],
        pass_fds=[theirs],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")
