"""What a test may set about OAuth, each with the value that is documented or the safest guess."""

from __future__ import annotations

from attrs import field, frozen

from .plans import to_seconds


@frozen(kw_only=True)
class OAuthRules:
    """How tokens are issued; each duration is in seconds or a `timedelta`, kept in seconds.

    Documented: access tokens live for `expires_in` seconds, and `scope` is the same for every app. Without
    `offline_access` in it there are no refresh tokens.

    Not confirmed by any source, so that a client must stand each value:

    - `code_lives_for`: how long a code of the authorization page can be exchanged;
    - `reuse_revokes_grant`: whether a refresh token that was replaced and is used again ends its whole grant, with the
      tokens that replaced it; otherwise it is only refused;
    - `redirect_uri`: the address that the app has registered, where the browser goes when a request names none; one
      that names another is refused. None lets a request name any.

    `denies` lets the user of the authorization page say no.
    """

    expires_in: float = field(default=3600.0, converter=to_seconds)
    scope: str = "all.full_access offline_access"
    code_lives_for: float = field(default=600.0, converter=to_seconds)
    reuse_revokes_grant: bool = False
    redirect_uri: str | None = None
    denies: bool = False
