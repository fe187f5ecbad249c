import pytest

from mosaic_resources.spool.frame import MAX_PAYLOAD_BYTES, SpoolCorruptError, complete_frames, frame

PAYLOADS = [b"first", b"", b'{"a": 1}' * 20]
DATA = b"".join(map(frame, PAYLOADS))


def ends() -> list[int]:
    return [end for _, end in complete_frames(DATA, 0, "x")]


def test_round_trip_with_offsets() -> None:
    assert [payload for payload, _ in complete_frames(DATA, 0, "x")] == PAYLOADS
    assert ends()[-1] == len(DATA)
    assert [end for _, end in complete_frames(DATA, 0, "x", base=100)] == [end + 100 for end in ends()]


@pytest.mark.parametrize("cut", range(len(DATA) + 1))
def test_torn_tail_at_every_byte_gives_the_whole_frames_before_it(cut: int) -> None:
    whole = sum(end <= cut for end in ends())
    assert [payload for payload, _ in complete_frames(DATA[:cut], 0, "x")] == PAYLOADS[:whole]


@pytest.mark.parametrize("byte", range(len(DATA)))
def test_one_flipped_bit_is_never_read_over(byte: int) -> None:
    for bit in range(8):
        damaged = bytearray(DATA)
        damaged[byte] ^= 1 << bit
        good: list[bytes] = []
        found = complete_frames(bytes(damaged), 0, "segment")
        with pytest.raises(SpoolCorruptError, match=r"segment: The spool is damaged at byte \d+") as caught:
            good.extend(payload for payload, _ in found)
        assert good == PAYLOADS[: len(good)]
        assert caught.value.offset <= byte


@pytest.mark.parametrize("zeros", [1, 11, 12, 13, 4096])
def test_tail_of_zeros_is_torn(zeros: int) -> None:
    assert len(list(complete_frames(DATA + bytes(zeros), 0, "x"))) == len(PAYLOADS)


def test_too_long_a_record_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        frame(bytes(MAX_PAYLOAD_BYTES + 1))
