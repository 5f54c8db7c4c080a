"""Who gets in over HTTP: named bearer tokens, an issuer's JWTs, and how the command refuses to start."""

import hmac
import json
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm
from listening import (
    JSON_RPC,
    PAIRS,
    TOKENS,
    bearing,
    connected,
    free_port,
    listening,
    until_listening,
    url_of,
)
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.server import MCPServer
from serving import Agent

from archon_workflows.errors import InvalidRequest
from archon_workflows.server.authentication import Authentication, authentication_of
from archon_workflows.server.http import HttpTransport, http_app
from archon_workflows.settings import Settings

RESOURCE = "https://workflows.example/mcp"


def settings(**chosen: Any) -> Settings:
    return Settings.model_validate(chosen)


def protected(**chosen: Any) -> MCPServer:
    """Return a server without tools that lets in whom the settings let in."""
    authentication = authentication_of(settings(**chosen))
    assert isinstance(authentication, Authentication)
    return MCPServer(
        "empty", log_level="ERROR", auth=authentication.settings, token_verifier=authentication.verifier
    )


async def verified(token: str, **chosen: Any) -> str | None:
    """Return whose token it is."""
    authentication = authentication_of(settings(**chosen))
    assert authentication is not None
    found = await authentication.verifier.verify_token(token)
    return found.subject if found is not None else None


HEADERS: list[dict[str, str]] = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": f"Basic {TOKENS['alice']}"},
    bearing("wrong-token-0123456789"),
    bearing(TOKENS["alice"][:-1]),
    bearing(TOKENS["alice"] + "0"),
    bearing(f"alice={TOKENS['alice']}"),
    bearing("alice"),
    bearing(sha256(TOKENS["alice"].encode()).hexdigest()),
    bearing(f"{TOKENS['alice']} {TOKENS['bob']}"),
]


@pytest.mark.parametrize(
    ("transport", "method", "path"),
    [("http", "POST", "/mcp"), ("sse", "GET", "/sse"), ("sse", "POST", "/messages/")],
)
async def test_nobody_gets_in_without_a_token_that_is_known(
    transport: HttpTransport, method: str, path: str
) -> None:
    async with listening(protected(http_tokens=PAIRS), transport) as port, httpx2.AsyncClient() as client:
        for headers in HEADERS:
            answer = await client.request(
                method, f"http://127.0.0.1:{port}{path}", headers={**JSON_RPC, **headers}, content=b"{}"
            )
            assert answer.status_code == 401, headers
            assert answer.headers["www-authenticate"].startswith("Bearer ")
            assert answer.json()["error"] == "invalid_token"


@pytest.mark.parametrize("transport", ["http", "sse"])
@pytest.mark.parametrize("name", TOKENS)
async def test_the_official_client_gets_in_with_a_token(transport: HttpTransport, name: str) -> None:
    async with (
        listening(protected(http_tokens=PAIRS), transport) as port,
        connected(port, TOKENS[name], transport) as client,
    ):
        assert (await client.list_tools()).tools == []


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_a_session_is_of_no_use_to_another_caller(transport: HttpTransport) -> None:
    ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    async with (
        listening(protected(http_tokens=PAIRS), transport) as port,
        httpx2.AsyncClient() as client,
        client.stream("GET", url_of(port, "sse"), headers=bearing(TOKENS["alice"])) as stream,
    ):
        if transport == "sse":
            lines = stream.aiter_lines()
            endpoint = [await anext(lines), await anext(lines)][1].removeprefix("data: ")
            url, headers = f"http://127.0.0.1:{port}{endpoint}", JSON_RPC
        else:
            url, headers = url_of(port), JSON_RPC | await session_of(client, port, TOKENS["alice"])
        theirs = await client.post(url, headers=headers | bearing(TOKENS["alice"]), content=ping)
        assert theirs.is_success
        other = await client.post(url, headers=headers | bearing(TOKENS["bob"]), content=ping)
        assert other.status_code == 404


async def session_of(client: httpx2.AsyncClient, port: int, token: str) -> dict[str, str]:
    """Open a session and return the header that names it."""
    hello = {
        "jsonrpc": "2.0",
        "id": 0,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        },
    }
    answer = await client.post(url_of(port), headers=JSON_RPC | bearing(token), json=hello)
    return {"mcp-session-id": answer.headers["mcp-session-id"]}


ALICE = "a" * 16
DIGEST = sha256(ALICE.encode()).hexdigest()


@pytest.mark.parametrize(
    "pairs", [f"alice={ALICE}", f" alice={ALICE} , bob={'b' * 20}==", f"alice=sha256:{DIGEST}"]
)
async def test_a_token_is_given_in_clear_or_as_its_sha256(pairs: str) -> None:
    assert await verified(ALICE, http_tokens=pairs) == "alice"
    assert await verified(DIGEST, http_tokens=pairs) is None


async def test_a_caller_may_have_two_tokens_while_one_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# of the night shift\n\nalice={ALICE}\nalice={'b' * 16}\n")
    for token in (ALICE, "b" * 16, "c" * 16):
        assert await verified(token, http_tokens_file=file, http_tokens=f"carol={'c' * 16}") == (
            "carol" if token[0] == "c" else "alice"
        )


@pytest.mark.parametrize(
    "pairs",
    [
        "hunter2hunter2hunter2",
        "alice=hunter2",
        "alice=",
        f"={ALICE}",
        f"al ice={ALICE}",
        f"alice={ALICE},",
        f"alice={ALICE} x",
        f"alice=sha256:{DIGEST[:-1]}",
        f"alice={ALICE},bob={ALICE}",
        f"alice={ALICE},bob=sha256:{DIGEST}",
        "alice=hünter2hünter2hünter2",
    ],
)
def test_tokens_that_cannot_be_used_are_refused_without_being_shown(pairs: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        authentication_of(settings(http_tokens=pairs))
    assert refused.value.code == "invalid_http_tokens"
    assert not any(part in str(refused.value.as_json()) for part in ("hunter", ALICE, "hünter", DIGEST[:20]))


def test_a_token_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="FileNotFoundError"):
        authentication_of(settings(http_tokens_file=tmp_path / "missing"))


def test_nothing_configured_is_no_authentication() -> None:
    assert authentication_of(settings()) is None


# -- OAuth ---------------------------------------------------------------------------------------


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def encoded(part: bytes) -> str:
    return urlsafe_b64encode(part).rstrip(b"=").decode()


def signed_with_the_public_key(key: ec.EllipticCurvePrivateKey, payload: str) -> str:
    """Return the token of who takes the published key for a shared secret."""
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head = encoded(b'{"alg":"HS256","typ":"JWT","kid":"one"}')
    signature = hmac.new(public, f"{head}.{payload}".encode(), "sha256").digest()
    return f"{head}.{payload}.{encoded(signature)}"


@dataclass
class Issuer:
    """A local authorization server: it publishes keys, and signs what a test wants signed."""

    url: str = ""
    keys: dict[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict[str, ec.EllipticCurvePrivateKey])
    times_asked: int = 0

    def rotate(self, key_id: str) -> None:
        self.keys = {key_id: new_key()}

    def jwks(self) -> bytes:
        self.times_asked += 1
        keys = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig", "alg": "ES256"}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def sign(self, key: Any = None, *, kid: str = "one", **claims: Any) -> str:
        now = int(time.time())
        given = {"iss": self.url, "aud": RESOURCE, "sub": "alice", "iat": now, "exp": now + 60, **claims}
        present = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(present, key or self.keys[kid], "ES256", headers={"kid": kid})

    def settings(self) -> dict[str, str]:
        return {
            "oauth_issuer": self.url,
            "oauth_jwks_url": f"{self.url}/keys",
            "oauth_resource": RESOURCE,
        }


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    one = Issuer()
    one.rotate("one")

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(one.jwks())

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - likewise
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", 0), Keys) as server:
        one.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        server.shutdown()
        thread.join()


async def test_the_official_client_gets_in_with_the_issuers_token(issuer: Issuer) -> None:
    async with listening(protected(**issuer.settings())) as port, connected(port, issuer.sign()) as client:
        assert (await client.list_tools()).tools == []


async def test_a_client_without_a_token_is_told_where_to_get_one(issuer: Issuer) -> None:
    async with listening(protected(**issuer.settings())) as port, httpx2.AsyncClient() as client:
        refused = await client.post(url_of(port), headers=JSON_RPC, content=b"{}")
        assert refused.status_code == 401
        assert (
            'resource_metadata="https://workflows.example/.well-known/' in refused.headers["www-authenticate"]
        )
        metadata = await client.get(f"http://127.0.0.1:{port}/.well-known/oauth-protected-resource/mcp")
        assert metadata.json()["authorization_servers"] == [issuer.url]
        assert metadata.json()["resource"] == RESOURCE


PAST = 1_000_000_000

WRONG: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "https://other.example/mcp"},
    "no audience": {"aud": None},
    "expired": {"exp": PAST},
    "never expires": {"exp": None},
    "not yet valid": {"nbf": 9_000_000_000},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
    "an endless subject": {"sub": "a" * 300},
}


@pytest.mark.parametrize("claims", [pytest.param(claims, id=name) for name, claims in WRONG.items()])
async def test_a_token_that_is_not_for_us_and_now_is_refused(issuer: Issuer, claims: dict[str, Any]) -> None:
    if isinstance(claims.get("sub"), int):
        token = jwt.api_jws.encode(
            json.dumps({"iss": issuer.url, "aud": RESOURCE, "exp": int(time.time()) + 60, **claims}).encode(),
            issuer.keys["one"],
            "ES256",
            headers={"kid": "one"},
        )
    else:
        token = issuer.sign(**claims)
    assert await verified(token, **issuer.settings()) is None


async def test_only_the_issuers_own_signature_counts(issuer: Issuer) -> None:
    head, payload, signature = issuer.sign().split(".")
    forged = [
        issuer.sign(new_key()),
        signed_with_the_public_key(issuer.keys["one"], payload),
        f"{head}.{payload}.",
        f"{head}.{payload}.{signature[::-1]}",
        jwt.encode({"sub": "alice", "iss": issuer.url, "aud": RESOURCE, "exp": 9_000_000_000}, "", "none"),
        "not.a.token",
        "",
        "\xff",
        f"{encoded(b'[' * 30_000)}.{payload}.{signature}",
    ]
    for token in forged:
        assert await verified(token, **issuer.settings()) is None
    assert (
        await verified(issuer.sign(aud=["https://other.example", RESOURCE]), **issuer.settings()) == "alice"
    )


async def test_keys_are_asked_for_once_whatever_keys_strangers_name(issuer: Issuer) -> None:
    authentication = authentication_of(settings(**issuer.settings()))
    assert authentication is not None
    assert await authentication.verifier.verify_token(issuer.sign()) is not None
    issuer.keys |= {f"forged-{number}": new_key() for number in range(3)}
    for kid in issuer.keys:
        await authentication.verifier.verify_token(issuer.sign(kid=kid))
    assert issuer.times_asked == 1


async def test_an_issuer_that_does_not_answer_lets_nobody_in() -> None:
    away = {
        "oauth_issuer": "http://a",
        "oauth_jwks_url": f"http://127.0.0.1:{free_port()}",
        "oauth_resource": RESOURCE,
    }
    token = Issuer(url="http://a", keys={"one": new_key()}).sign()
    assert await verified(token, **away) is None


@pytest.mark.parametrize(
    ("chosen", "code"),
    [
        ({"oauth_issuer": "https://a.example"}, "oauth_incomplete"),
        ({"oauth_jwks_url": "https://a.example", "oauth_resource": RESOURCE}, "oauth_incomplete"),
        ({"oauth_issuer": "https://a.example", "http_tokens": PAIRS}, "authentication_ambiguous"),
    ],
)
def test_authentication_that_is_configured_by_halves_is_refused(chosen: dict[str, Any], code: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        authentication_of(settings(**chosen))
    assert refused.value.code == code


# -- the command ---------------------------------------------------------------------------------

ELSEWHERE = "0.0.0.0"  # noqa: S104 - nothing but a Host header of ours gets in there
COMMAND = [sys.executable, "-m", "archon_workflows", "serve", "--transport", "http"]


@pytest.mark.parametrize("host", [ELSEWHERE, "192.0.2.1", "::", "example.org", ""])
def test_another_address_needs_authentication(host: str) -> None:
    with pytest.raises(InvalidRequest, match="loopback") as refused:
        http_app(MCPServer("empty", log_level="ERROR"), "http", host=host, allowed_hosts=["example.org"])
    assert refused.value.code == "host_not_loopback"


@pytest.mark.parametrize("host", [ELSEWHERE, "::", ""])
def test_every_address_needs_the_names_of_clients_urls(host: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        http_app(protected(http_tokens=PAIRS), "http", host=host)
    assert refused.value.code == "allowed_hosts_missing"
    http_app(protected(http_tokens=PAIRS), "http", host=host, allowed_hosts=["example.org"])


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "ARCHON_WORKFLOWS_DATABASE_URL": database_url,
        "ARCHON_WORKFLOWS_HOME": str(tmp_path),
        "ARCHON_WORKFLOWS_SHUTDOWN_GRACE_SECONDS": "1",
    }


@contextmanager
def started(environment: dict[str, str], *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen([*COMMAND, *arguments], env=environment, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=20)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, b"HTTP_TOKENS"),
        ({"ARCHON_WORKFLOWS_HTTP_TOKENS": PAIRS}, b"HTTP_ALLOWED_HOSTS"),
        ({"ARCHON_WORKFLOWS_HTTP_TOKENS": "alice"}, b"name=token"),
        ({"ARCHON_WORKFLOWS_OAUTH_ISSUER": "https://a.example"}, b"OAUTH_JWKS_URL"),
    ],
)
def test_the_command_refuses_to_listen_unprotected(
    environment: dict[str, str], chosen: dict[str, str], said: bytes
) -> None:
    ended = subprocess.run(
        [*COMMAND, "--host", ELSEWHERE],
        env=environment | chosen,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert said in ended.stderr
    assert b"Traceback" not in ended.stderr


async def test_the_command_serves_every_address_to_those_with_a_token(environment: dict[str, str]) -> None:
    port = free_port()
    chosen = {
        "ARCHON_WORKFLOWS_HTTP_TOKENS": PAIRS,
        "ARCHON_WORKFLOWS_HTTP_ALLOWED_HOSTS": "workflows.example",
    }
    with started(environment | chosen, "--host", ELSEWHERE, "--port", str(port)):
        await until_listening(port)
        async with httpx2.AsyncClient() as client:
            for host, status in (("workflows.example", 401), ("evil.example", 421)):
                answer = await client.post(url_of(port), headers={**JSON_RPC, "Host": host}, content=b"{}")
                assert answer.status_code == status
        async with connected(port, TOKENS["alice"]) as client:
            agent = Agent(client)
            await agent.save("waits", {"name": "first", "type": "condition", "condition": "true"})
            assert (await agent.run("waits"))["triggered_by"] == "alice"
        async with connected(port, TOKENS["bob"]) as client:
            assert (await Agent(client).do("get_execution"))["page"]["total"] == 0


async def test_stdio_asks_nobody_for_a_token(environment: dict[str, str]) -> None:
    server = StdioServerParameters(
        command=COMMAND[0],
        args=COMMAND[1:4],
        env=environment | {"ARCHON_WORKFLOWS_HTTP_TOKENS": PAIRS},
    )
    async with Client(server) as client:
        agent = Agent(client)
        await agent.save("waits", {"name": "first", "type": "condition", "condition": "true"})
        assert (await agent.run("waits", triggered_by="carol"))["triggered_by"] == "carol"
