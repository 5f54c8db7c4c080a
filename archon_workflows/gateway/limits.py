"""The bounds within which a tool server may behave as it likes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """What the gateway grants one tool server.

    Attributes:
        message_bytes: one message; a longer one fails the call that it answers.
        skipped_bytes: how much of a longer message is read past before the session is ended.
        stray_lines: lines on stdout in a row that are no messages (banners, prints) before the session ends.
        notifications_per_second: progress and log messages beyond are dropped unread.
        requests_per_second: of the server to us (sampling, pings), each of which is answered, over HTTP in a
            request of its own; those beyond are dropped.
        list_pages: pages of ``tools/list``.
        listed_tools: tools of one server.
        connect_seconds: starting or connecting, the handshake and listing the tools, together.
        lookup_patience_seconds: how long a name that is already found waits for servers still connecting.
        calls_at_once: calls in flight on one server; further ones wait, and their deadlines with them.
        first_backoff_seconds: wait after the first failure; doubled with each further one, with jitter.
        longest_backoff_seconds: the longest of these waits.
        stop_seconds: grace for a process after its stdin was closed, and again after SIGTERM.
        write_seconds: how long a server may leave its stdin unread while something waits to be written.
    """

    message_bytes: int = 10 * 1_048_576
    skipped_bytes: int = 256 * 1_048_576
    stray_lines: int = 1_000
    notifications_per_second: int = 500
    requests_per_second: int = 20
    list_pages: int = 100
    listed_tools: int = 5_000
    connect_seconds: float = 30.0
    lookup_patience_seconds: float = 5.0
    calls_at_once: int = 32
    first_backoff_seconds: float = 0.2
    longest_backoff_seconds: float = 15.0
    stop_seconds: float = 2.0
    write_seconds: float = 10.0
