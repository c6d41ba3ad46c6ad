"""A board at a serial port, against a fake that misbehaves on purpose."""

from __future__ import annotations

import os
import socket
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from device.fake import Codes, FakeDevice, FakeModel
from device.relay import GONE, Fault, Relay
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from edge_tqs.device import messages as wire
from edge_tqs.device.device import Device, RestartedError, SilentError, Times, open_port
from edge_tqs.device.messages import MessageType
from edge_tqs.device.rollout import run_rollout
from edge_tqs.device.serial_port import SerialPort, UsbDevice, reopen_port, usb_device
from edge_tqs.errors import DeviceError, UsageError

#: Patience for a fake that answers within a millisecond when it answers at all.
QUICK = Times(hello_repeat=0.05, answer=0.25, step=0.25)
#: For tests that count requests: no busy machine makes the host repeat one.
PATIENT = Times(hello_repeat=5, answer=5, step=5)
SEED = np.random.default_rng(1).integers(-128, 128, (4, 3)).astype(np.int8)


@contextmanager
def connected(fake: FakeDevice, times: Times = QUICK) -> Iterator[Device]:
    with fake, Device(open_port(fake.path), times) as device:
        yield device


def expect_rollout(device: Device, fake: FakeDevice, horizon: int = 20, seed: Codes = SEED) -> None:
    """The whole rollout arrives once, in order and unharmed."""
    steps: list[int] = []
    outputs, ticks, hashes = run_rollout(device, seed, horizon, on_step=lambda step: steps.append(step.step))
    expected, expected_hashes = fake.model.rollout(seed, horizon)
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(hashes, expected_hashes)
    np.testing.assert_array_equal(ticks, 1000 + np.arange(horizon))
    assert (outputs.dtype, ticks.dtype, hashes.dtype) == (np.int8, np.uint32, np.uint32)
    assert steps == list(range(horizon))


def test_a_rollout_on_a_quiet_line() -> None:
    fake = FakeDevice()
    with connected(fake, PATIENT) as device:
        info = device.require_model("ab" * 32)
        assert (info.board, info.window, info.channels) == ("fake", 4, 3)
        expect_rollout(device, fake)
        expect_rollout(device, fake, seed=SEED[::-1])  # reset in between: nothing of the first seed is left
        assert device.status() == wire.StatusReply(wire.UNKNOWN_SIZE, wire.UNKNOWN_SIZE, wire.UNKNOWN_SIZE, 0, 12345)
    sequences = [frame.sequence for frame in fake.requests]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_slow_board_is_waited_for_in_every_answer() -> None:
    assert Times.slow(60) == Times(hello=60, answer=60, step=60)
    assert Times.slow(3) == Times(hello=5, answer=3, step=3)


def test_codes_of_two_bytes() -> None:
    seed = np.random.default_rng(4).integers(-32768, 32768, (50, 3)).astype(np.int16)
    fake = FakeDevice(model=FakeModel(code_size=2))
    with connected(fake, PATIENT) as device:
        outputs, _, hashes = run_rollout(device, seed, 20)
        with pytest.raises(UsageError, match=r"samples are int8 .* takes int16"):
            device.push(SEED)
    expected, expected_hashes = fake.model.rollout(seed, 20)
    assert outputs.dtype == np.int16
    np.testing.assert_array_equal(outputs, expected)
    np.testing.assert_array_equal(hashes, expected_hashes)
    assert max(len(frame.payload) for frame in fake.requests) <= 64


def test_long_histories_go_in_payloads_that_the_board_can_take() -> None:
    history = np.random.default_rng(2).integers(-128, 128, (1000, 3)).astype(np.int8)
    fake = FakeDevice(max_payload=64)
    with connected(fake, PATIENT) as device:
        expect_rollout(device, fake, seed=history)
    pushes = [frame for frame in fake.requests if frame.type == MessageType.PUSH]
    assert len(pushes) == -(-1000 // 21)
    assert max(len(frame.payload) for frame in pushes) == 64


def test_sequence_numbers_go_round_without_zero() -> None:
    fake = FakeDevice()
    with connected(fake, PATIENT) as device:
        for _ in range(260):
            device.reset()
    sequences = [frame.sequence for frame in fake.requests]
    assert sequences[254:257] == [255, 1, 2]
    assert 0 not in sequences


# What a line can do to a frame.
FAULTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "lost": lambda frame: [],
    "flipped": lambda frame: [bytes([frame[0] ^ 0x40]) + frame[1:]],
    "cut short": lambda frame: [frame[: len(frame) // 2] + b"\0"],
    "run into the next": lambda frame: [frame[:-1]],
    "doubled": lambda frame: [frame, frame],
    "after noise": lambda frame: [b"\x93\x20\x55" * 30 + b"\0", frame],
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("way", ["hear", "say"])
def test_every_frame_at_its_first_passage_is(fault: str, way: str) -> None:
    seen: set[bytes] = set()

    def disturb(number: int, frame: bytes) -> list[bytes]:
        decoded = wire.decode_frame(frame[:-1])
        content = bytes([decoded.type]) + decoded.payload
        if content in seen:
            return [frame]
        seen.add(content)
        return FAULTS[fault](frame)

    fake = FakeDevice(hear=disturb) if way == "hear" else FakeDevice(say=disturb)
    with connected(fake) as device:
        expect_rollout(device, fake, horizon=9)
    assert len(seen) >= (4 if way == "hear" else 13)


def test_a_push_whose_acknowledgement_is_lost_is_carried_out_once() -> None:
    lost: list[int] = []

    def lose_first_ack_of_a_push(number: int, frame: bytes) -> list[bytes]:
        if wire.decode_frame(frame[:-1]).type == MessageType.ACK and number == 2:
            lost.append(number)
            return []
        return [frame]

    fake = FakeDevice(say=lose_first_ack_of_a_push)
    with connected(fake, Times(answer=1)) as device:
        expect_rollout(device, fake)
    assert lost == [2]
    assert fake.pushes_carried_out == 1
    pushes = [frame for frame in fake.requests if frame.type == MessageType.PUSH]
    assert len(pushes) == 2
    assert pushes[0] == pushes[1]


def test_a_missing_step_is_asked_for_from_there() -> None:
    def lose_step_5_once(number: int, frame: bytes) -> list[bytes]:
        decoded = wire.decode_frame(frame[:-1])
        first_time = len([request for request in fake.requests if request.type == MessageType.FORECAST]) == 1
        is_step_5 = decoded.type == MessageType.STEP and decoded.payload[0] == 5
        return [] if is_step_5 and first_time else [frame]

    fake = FakeDevice(say=lose_step_5_once)
    with connected(fake, PATIENT) as device:
        expect_rollout(device, fake)
    forecasts = [wire.ForecastRequest.parse(f.payload) for f in fake.requests if f.type == MessageType.FORECAST]
    assert forecasts == [wire.ForecastRequest(0, 20), wire.ForecastRequest(5, 15)]


def test_a_stream_that_dies_between_two_steps_is_resumed() -> None:
    fake = FakeDevice(say=lambda number, frame: [] if 10 <= number < 40 else [frame])
    with connected(fake) as device:
        expect_rollout(device, fake, horizon=60)


def test_a_board_that_restarts_gets_its_seed_again() -> None:
    fake = FakeDevice(restart_before_step=frozenset({7, 12}))
    with connected(fake) as device:
        expect_rollout(device, fake)
    assert fake.restarts == 2


def test_a_board_that_keeps_restarting_is_given_up() -> None:
    fake = FakeDevice(restart_before_step=frozenset(range(100)))
    with connected(fake) as device, pytest.raises(RestartedError, match="restarted") as caught:
        run_rollout(device, SEED, 5, restarts=2)
    assert fake.restarts == 3
    assert "power" in caught.value.hint


def test_a_board_that_computes_otherwise_after_a_restart_is_caught() -> None:
    fake = FakeDevice(restart_before_step=frozenset({7}), unsound=True)
    with connected(fake) as device, pytest.raises(DeviceError, match="computes another step 0"):
        run_rollout(device, SEED, 20)


def test_a_board_that_comes_back_with_another_model_is_caught() -> None:
    fake = FakeDevice(restart_before_step=frozenset({7}), hash_after_restart="cd" * 32)
    with connected(fake) as device, pytest.raises(DeviceError, match="runs model cdcdcdcd…, this build is abababab…"):
        run_rollout(device, SEED, 20)


def test_a_restart_during_the_pushes_is_noticed_by_the_count() -> None:
    def restart_at_second_push(number: int, frame: bytes) -> list[bytes]:
        if number == 3 and fake.restarts == 0:  # HELLO, RESET, PUSH, then this PUSH
            fake._restart()
        return [frame]

    fake = FakeDevice(hear=restart_at_second_push, max_payload=20)
    history = np.random.default_rng(3).integers(-128, 128, (24, 3)).astype(np.int8)
    with connected(fake) as device:
        expect_rollout(device, fake, seed=history)
    assert fake.restarts == 1


def test_another_model_is_refused_with_what_to_do() -> None:
    fake = FakeDevice(model_hash="cd" * 32)
    with (
        connected(fake) as device,
        pytest.raises(DeviceError, match="runs model cdcdcdcd…, this build is abababab…") as e,
    ):
        device.require_model("AB" * 32)
    assert "edge-tqs flash" in e.value.hint


def test_a_silent_board_names_port_baud_and_seconds() -> None:
    fake = FakeDevice(silent=True)
    with connected(fake) as device, pytest.raises(SilentError, match=r"no answer for 0\.3 s at 115200 baud") as caught:
        device.hello(timeout=0.3)
    assert fake.path in caught.value.message
    assert len(fake.requests) >= 3
    assert "TX and RX" in caught.value.hint


def test_a_board_that_babbles_is_told_from_a_silent_one() -> None:
    fake = FakeDevice(silent=True, greeting=b"Hello from the factory\r\n" * 20)
    with connected(fake) as device, pytest.raises(SilentError, match="480 bytes came, none of them a frame") as caught:
        device.hello(timeout=0.3)
    assert "baud" in caught.value.hint


def test_a_board_that_falls_silent_is_reported_after_three_attempts() -> None:
    fake = FakeDevice()
    with connected(fake) as device:
        device.hello()
        fake.silent = True
        with pytest.raises(SilentError, match=r"no answer to RESET, sent 3 times, 0\.25 s each"):
            device.reset()
        with pytest.raises(SilentError, match="has stopped answering"):
            device.hello(timeout=0.2)
    assert [frame.type for frame in fake.requests].count(MessageType.RESET) == 3


def test_stale_answers_of_an_earlier_host_are_ignored() -> None:
    old = wire.Ack(99).frame(2) + wire.StepReply(0, 1, 2, b"abc").frame(4) + wire.Done(1).frame(4) + b"\x07half a fra"
    fake = FakeDevice(greeting=old)
    with connected(fake) as device:
        expect_rollout(device, fake)


def test_a_line_that_damages_everything_is_named() -> None:
    fake = FakeDevice(hear=lambda number, frame: [b"\x01\x02" + frame] if number else [frame])
    with connected(fake) as device:
        device.hello()
        with pytest.raises(SilentError, match="RESET arrived damaged 10 times") as caught:
            device.reset()
    assert "baud rate" in caught.value.hint


def test_a_forecast_without_samples_says_how_many() -> None:
    with connected(FakeDevice()) as device:
        device.reset()
        device.push(SEED[:2])
        with pytest.raises(UsageError, match="needs 4"):
            device.forecast(3)
        with pytest.raises(UsageError, match="the seed has 2 samples; the model's window is 4"):
            run_rollout(device, SEED[:2], 3)


@pytest.mark.parametrize("samples", [SEED[:, :2], SEED.astype(np.float32), SEED[0]])
def test_samples_of_another_shape_or_type_are_refused(samples: Codes) -> None:
    with connected(FakeDevice()) as device, pytest.raises(UsageError, match=r"the board takes int8 \(n, 3\)"):
        device.push(samples)


@pytest.mark.parametrize("steps", [0, 65536, -1])
def test_an_impossible_horizon_is_refused(steps: int) -> None:
    with connected(FakeDevice()) as device, pytest.raises(UsageError, match="1 to 65535"):
        device.forecast(steps)


def test_a_port_that_goes_away_is_named() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    with Device(open_port(os.ttyname(slave)), QUICK) as device:
        os.close(slave)
        os.close(master)
        with pytest.raises(DeviceError, match="the port went away"):
            device.hello(timeout=0.5)


def test_a_refusal_is_an_error_with_its_name() -> None:
    def refuse(number: int, frame: bytes) -> list[bytes]:
        sequence = wire.decode_frame(frame[:-1]).sequence
        return [wire.Nak(wire.NakCode.BAD_VERSION).frame(sequence)]

    with connected(FakeDevice(say=refuse)) as device, pytest.raises(DeviceError, match="BAD_VERSION"):
        device.hello()


def test_a_message_that_does_not_fit_its_form_names_the_port() -> None:
    def lengthen(number: int, frame: bytes) -> list[bytes]:
        good = wire.decode_frame(frame[:-1])
        return [wire.encode_frame(wire.Frame(good.type, good.sequence, good.payload + b"x"))]

    fake = FakeDevice(say=lengthen)
    with connected(fake) as device, pytest.raises(DeviceError, match="HELLO_REPLY carries 57 bytes") as caught:
        device.hello()
    assert fake.path in caught.value.message


# A port that comes and goes


@contextmanager
def unplugged(fake: FakeDevice, after: int, returns: Callable[[], SerialPort]) -> Iterator[Device]:
    """A device behind a cable that is pulled after ``after`` bytes; ``returns`` says where it is then."""
    with fake, Relay(fake.path, (), [Fault(GONE, after)], 0) as line:
        with Device(open_port(line.path), QUICK, reopen=returns) as device:
            yield device
        assert line.happened


def find_again() -> SerialPort:
    return reopen_port("/dev/ttyNowhere7", usb=UsbDevice(0x2341, 0x0043, "7"), seconds=0.3)


def plug_in(monkeypatch: pytest.MonkeyPatch, *ports: tuple[str, int, int, str]) -> None:
    listed = []
    for path, vid, pid, serial_number in ports:
        info = ListPortInfo(path)
        info.vid, info.pid, info.serial_number = vid, pid, serial_number
        listed.append(info)
    monkeypatch.setattr(list_ports, "comports", lambda: listed)


@pytest.mark.parametrize("after", [100, 300, 500])
def test_a_rollout_goes_on_at_another_name_of_the_same_usb_device(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    again, events = FakeDevice(), []
    with again, unplugged(FakeDevice(), after, find_again) as device:
        plug_in(monkeypatch, ("/dev/ttyS0", 1, 2, "7"), (again.path, 0x2341, 0x0043, "7"))
        device.on_event = events.append
        expect_rollout(device, again)
        assert device.name == again.path
    assert events == ["reconnect"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_hash": "cd" * 32}, "runs model cdcdcdcd…, this build is abababab…"),
        ({"board": "toy"}, "a toy answers now"),
    ],
)
def test_what_comes_back_must_be_the_same_board(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], said: str
) -> None:
    again = FakeDevice(**change)
    with again, unplugged(FakeDevice(), 300, find_again) as device:
        plug_in(monkeypatch, (again.path, 0x2341, 0x0043, "7"))
        with pytest.raises(DeviceError, match=said) as e:
            run_rollout(device, SEED, 20)
    assert e.value.hint


@pytest.mark.parametrize("listed", [0, 2])
def test_a_port_that_stays_away_or_cannot_be_told_from_another_is_named(
    monkeypatch: pytest.MonkeyPatch, listed: int
) -> None:
    plug_in(monkeypatch, *[(path, 0x2341, 0x0043, "7") for path in ("/dev/ttyA", "/dev/ttyB")[:listed]])
    with (
        unplugged(FakeDevice(), 300, find_again) as device,
        pytest.raises(DeviceError, match=r"not there again within 0\.3 s: /dev/ttyNowhere7: no such port") as caught,
    ):
        run_rollout(device, SEED, 20)
    assert "unplugged" in caught.value.hint


def test_the_usb_device_of_a_port_is_found_by_its_real_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    plug_in(monkeypatch, ("/dev/null", 0x2341, 0x0043, "7"))
    (tmp_path / "by-id").symlink_to("/dev/null")
    assert usb_device(str(tmp_path / "by-id")) == usb_device("/dev/null") == UsbDevice(0x2341, 0x0043, "7")
    assert usb_device("/dev/zero") is None


def test_a_resumed_rollout_takes_only_what_is_new_and_compares_the_rest() -> None:
    outputs, hashes = FakeDevice().model.rollout(SEED, 20)
    earlier = [wire.StepReply(n, 5, int(hashes[n]), outputs[n].tobytes()) for n in range(8)]
    new: list[int] = []
    with connected(FakeDevice()) as device:
        got, ticks, _ = run_rollout(device, SEED, 20, on_step=lambda step: new.append(step.step), earlier=earlier)
        np.testing.assert_array_equal(got, outputs)
        assert (new, ticks[7], ticks[8]) == (list(range(8, 20)), 5, 1008)
        earlier[3] = replace(earlier[3], state_hash=1)
        with pytest.raises(DeviceError, match="run again, the board computes another step 3"):
            run_rollout(device, SEED, 20, earlier=earlier)


def test_what_was_mended_is_said() -> None:
    events: list[str] = []
    fake = FakeDevice(hear=lambda number, frame: [b"\x01\x02" + frame] if number in (1, 2) else [frame])
    with connected(fake, PATIENT) as device:
        device.hello()
        device.on_event = events.append
        expect_rollout(device, fake)
    assert events == ["damaged", "retry", "damaged", "retry"]


# Opening


def test_a_port_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="/dev/ttyNowhere7: no such port") as caught:
        open_port("/dev/ttyNowhere7")
    assert caught.value.hint


def test_a_file_is_not_a_port(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(UsageError, match="not a serial port"):
        open_port(str(tmp_path / "file"))
    with pytest.raises(UsageError, match="not a serial port"):
        open_port("/dev/null")


def test_a_busy_port_names_its_holder() -> None:
    master, slave = os.openpty()
    path = os.ttyname(slave)
    first = open_port(path)
    with pytest.raises(DeviceError, match=rf"{path}: in use by .*\(pid {os.getpid()}\)") as caught:
        open_port(path)
    assert "Close that program" in caught.value.hint
    first.close()
    open_port(path).close()  # free again
    for descriptor in (master, slave):
        os.close(descriptor)


@pytest.mark.parametrize("url", ["gopher://there", "socket://no-port"])
def test_an_address_that_makes_no_sense(url: str) -> None:
    with pytest.raises(UsageError, match=url) as caught:
        open_port(url)
    assert "socket://HOST:PORT" in caught.value.hint


def test_an_address_where_nothing_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeviceError, match="nothing answers there"):
        open_port(f"socket://127.0.0.1:{port}")


def test_a_board_behind_a_socket() -> None:
    """Each byte that arrives over TCP goes to the fake's PTY and back, as a serial server does it."""
    with FakeDevice() as fake, socket.create_server(("127.0.0.1", 0)) as server:
        local = os.open(fake.path, os.O_RDWR | os.O_NOCTTY)

        def relay() -> None:
            connection, _ = server.accept()

            def back() -> None:
                try:
                    while data := os.read(local, 4096):
                        connection.sendall(data)
                except OSError:
                    return

            threading.Thread(target=back, daemon=True).start()
            with connection:
                while data := connection.recv(4096):
                    os.write(local, data)

        relaying = threading.Thread(target=relay, daemon=True)
        relaying.start()
        with Device(open_port(f"socket://127.0.0.1:{server.getsockname()[1]}"), QUICK) as device:
            expect_rollout(device, fake)
        relaying.join(5)
