"""Access tokens of an OAuth authorization server: JSON Web Tokens (RFC 7519), checked by published keys."""

import logging
from http.client import HTTPException
from time import monotonic
from typing import Final

import anyio
import jwt
from anyio import to_thread
from mcp.server.auth.provider import AccessToken, TokenVerifier

logger = logging.getLogger(__name__)

LONGEST_SUBJECT: Final = 200
SIGNATURES: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Asymmetric ones alone: with a symmetric one the published key would sign."""

KEYS_KEPT_SECONDS: Final = 300.0
KEYS_APART_SECONDS: Final = 10.0
"""The authorization server is not asked for keys more often, whatever keys tokens name."""

JWKS_TIMEOUT_SECONDS: Final = 5


class JsonWebTokens(TokenVerifier):
    """Access tokens of one authorization server for this server; nobody else's, and nobody else's audience.

    Args:
        issuer: what ``iss`` must be.
        jwks_url: where its keys are published.
        resource: what ``aud`` must be or contain.
    """

    def __init__(self, *, issuer: str, jwks_url: str, resource: str) -> None:
        self._issuer = issuer
        self._resource = resource
        self._client = jwt.PyJWKClient(jwks_url, cache_jwk_set=False, timeout=JWKS_TIMEOUT_SECONDS)
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._asked_at = -KEYS_KEPT_SECONDS
        self._asking = anyio.Lock()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whose token it is, if its signature, issuer, audience and times are right."""
        try:
            key = await self._key(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key,
                algorithms=SIGNATURES,
                audience=self._resource,
                issuer=self._issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            logger.info("A bearer token was refused: %s", error)
            return None
        subject = claims["sub"]
        if not 0 < len(subject) <= LONGEST_SUBJECT:
            return None
        return AccessToken(
            token=token,
            client_id=str(claims.get("client_id") or claims.get("azp") or subject),
            subject=subject,
            scopes=str(claims.get("scope", "")).split(),
            expires_at=int(claims["exp"]),
            resource=self._resource,
            claims=claims,
        )

    async def _key(self, key_id: str | None) -> jwt.PyJWK:
        async with self._asking:
            age = monotonic() - self._asked_at
            if age > KEYS_KEPT_SECONDS or (key_id not in self._keys and age > KEYS_APART_SECONDS):
                self._asked_at = monotonic()
                await self._ask_for_keys()
        if key_id not in self._keys:
            raise jwt.InvalidKeyError(f"the issuer has published no key {key_id!r}")
        return self._keys[key_id]

    async def _ask_for_keys(self) -> None:
        """Take the keys that are published now; while there is no answer, those of before stay."""
        try:
            found = await to_thread.run_sync(self._client.get_signing_keys)
        except (jwt.PyJWTError, ValueError, RecursionError, OSError, HTTPException) as error:
            logger.warning("The authorization server gives no keys: %s", error)
        else:
            self._keys = {key.key_id: key for key in found}
