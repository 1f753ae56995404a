"""A certificate that only tests trust, for `name.example`, valid for a hundred years, and its key: no secret."""

from pathlib import Path

_CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBnjCCAUSgAwIBAgIUQieQTqW00sDwbX00+q24fw2tlKkwCgYIKoZIzj0EAwIw
FzEVMBMGA1UEAwwMbmFtZS5leGFtcGxlMCAXDTI2MTEyNjIwNTAwNFoYDzIxMjYx
MTAyMjA1MDA0WjAXMRUwEwYDVQQDDAxuYW1lLmV4YW1wbGUwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAARw+puywqtrAf+lh6/AgR41xJ63U7EzF5eIKMWtqMetHCi/
3O+tfckBYPdDWVokeDWgeWrTmirZMVZv63R6z0q5o2wwajAdBgNVHQ4EFgQUWfpU
TALGeFMkYXwx2fANm+cE/NYwHwYDVR0jBBgwFoAUWfpUTALGeFMkYXwx2fANm+cE
/NYwDwYDVR0TAQH/BAUwAwEB/zAXBgNVHREEEDAOggxuYW1lLmV4YW1wbGUwCgYI
KoZIzj0EAwIDSAAwRQIhALvY7n0Wy2K/P+pkMylCXKg4LBhbSbLHt75S5lAZydax
AiBcud5p/NQfMkjcYTHAHgqqoh7+myEw+pmUrewk24kZpA==
-----END CERTIFICATE-----
"""
_KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9JjUSpjFCZBQc+JH
i2dEGP74+3DEbbvCcBzetQ2FBjKhRANCAARw+puywqtrAf+lh6/AgR41xJ63U7Ez
F5eIKMWtqMetHCi/3O+tfckBYPdDWVokeDWgeWrTmirZMVZv63R6z0q5
-----END PRIVATE KEY-----
"""


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write the certificate and its key into a folder; return their paths."""
    paths = folder / "certificate.pem", folder / "key.pem"
    for path, text in zip(paths, (_CERTIFICATE, _KEY), strict=True):
        path.write_text(text, encoding="ascii")
    return paths
