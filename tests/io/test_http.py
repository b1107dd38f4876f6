import math
import socket
import threading
import time

import pytest

from reason_decode.io.http import (
    DaemonPool,
    JsonClient,
    read_api_key,
    replace_surrogates,
    retry_after_seconds,
)


@pytest.mark.parametrize("key", ["sk-1\r", "  sk-1\n", "sk-1"])
def test_a_key_is_read_without_white_space(key, monkeypatch):
    """A key from a file with Windows line ends ended in a carriage return and was shown."""
    monkeypatch.setenv("KEY", key)
    assert read_api_key("KEY") == "sk-1"


@pytest.mark.parametrize("key", ["sk-secret\r\nX: y", "sk-sécret"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key, monkeypatch):
    monkeypatch.setenv("KEY", key)
    with pytest.raises(ValueError, match="got a key in KEY") as failure:
        read_api_key("KEY")
    assert "cret" not in str(failure.value)


def test_an_empty_key_is_no_key(monkeypatch):
    monkeypatch.setenv("KEY", " \n")
    assert read_api_key("KEY") is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("1e9", 600), ("inf", 600), ("-3", 0), ("nan", None), ("soon", None), ("", None)],
)
def test_retry_after_is_a_bounded_number_or_nothing(header, seconds):
    """``Retry-After: nan`` ended a run with "Invalid value NaN"."""
    assert retry_after_seconds(header) == seconds


def test_halves_of_characters_are_replaced_and_whole_ones_kept():
    """A lone surrogate cannot be written as UTF-8: the run ended at its row, every time."""
    assert replace_surrogates("a \ud800 b \ud83d\ude00") == "a \ufffd b \U0001f600"
    assert replace_surrogates("é") == "é"


def test_a_pool_gives_results_and_errors_and_makes_no_call_after_it_is_closed():
    pool, made = DaemonPool(1), []

    def slow(k: int) -> int:
        made.append(k)
        time.sleep(0.05)
        return math.isqrt(k)

    futures = [pool.submit(lambda k=k: slow(k)) for k in (16, -1, 9)]
    assert futures[0].result() == 4
    pool.close()
    with pytest.raises(ValueError):
        futures[1].result(timeout=5)
    time.sleep(0.2)
    assert made == [16, -1] and not futures[2].done()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n"], ids=["headers", "body"])
def test_a_server_that_sends_a_byte_now_and_then_runs_out_of_time(head):
    """The timeout was one of silence: such a server held a run for ever."""
    listener = socket.create_server(("127.0.0.1", 0))

    def trickle() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(head)
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.02)
            except OSError:
                pass

    thread = threading.Thread(target=trickle)
    thread.start()
    client = JsonClient(f"http://127.0.0.1:{listener.getsockname()[1]}/", "NO_KEY", 5, 0.2)
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="no whole answer within 0.2 seconds"):
        client.post({})
    assert time.monotonic() - begin < 4
    thread.join(5)
    listener.close()
    assert not thread.is_alive()
