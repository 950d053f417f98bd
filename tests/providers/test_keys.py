"""How a secret's text becomes a key, in every form that a preset or an operator can name."""

import re

import pytest

from bridge.providers.keys import key_of, keys_of, new_secret
from bridge.providers.proof import Proof, SecretForm

TEXT = Proof(scheme="hmac-sha256", header="x-sig")
BASE64 = Proof(scheme="hmac-sha256", header="x-sig", secret=SecretForm("base64", "whsec_"))
HEX = Proof(scheme="hmac-sha256", header="x-sig", secret=SecretForm("hex"))
PUBLIC = Proof(scheme="ed25519", header="x-sig", secret=SecretForm("base64", "whpk_", prefix_required=True))
BASIC = Proof(scheme="basic")


@pytest.mark.parametrize(
    ("proof", "secret", "key"),
    [
        (TEXT, "whsec_QUJD", b"whsec_QUJD"),
        (TEXT, "ü\udcff", b"\xc3\xbc\xff"),
        (BASE64, "whsec_QUJD", b"ABC"),
        (BASE64, "QUI", b"AB"),
        (BASE64, "QUI=", b"AB"),
        (BASE64, "+/+/", b"\xfb\xff\xbf"),
        (HEX, "00ffAb", b"\x00\xff\xab"),
        (PUBLIC, "whpk_" + "A" * 43 + "=", bytes(32)),
        (BASIC, "me:s3cret", b"me:s3cret"),
    ],
)
def test_a_secret_is_read_in_its_own_form(proof: Proof, secret: str, key: bytes) -> None:
    assert key_of(proof, secret) == key


@pytest.mark.parametrize(
    ("proof", "secret", "fault"),
    [
        (TEXT, "", "is empty"),
        (BASE64, "whsec_", "is empty"),
        (BASE64, "whsec_QUJ*", "is not base64"),
        (BASE64, "whsec_QU_D", "is not base64"),
        (BASE64, "QUJD====", "is not base64"),
        (BASE64, "QUJDQ", "is not base64"),
        (BASE64, "QUJD\n", "is not base64"),
        (BASE64, "whpk_" + "A" * 43 + "=", "is not base64"),
        (HEX, "0", "is not hexadecimal"),
        (HEX, "0x00", "is not hexadecimal"),
        (PUBLIC, "A" * 43 + "=", "does not begin with whpk_"),
        (PUBLIC, "whsec_" + "A" * 43 + "=", "does not begin with whpk_"),
        (PUBLIC, "whpk_QUJD", "is no public key of 32 bytes"),
        (BASIC, "s3cret", "is not of the form user:password"),
    ],
)
def test_one_of_another_form_is_none(proof: Proof, secret: str, fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)) as raised:
        key_of(proof, secret)
    assert str(raised.value) == fault
    assert raised.value.__cause__ is None, "which may quote it"


def test_a_secret_goes_to_every_proof_that_it_fits_and_one_that_fits_none_is_named_by_its_number() -> None:
    public = "whpk_" + "A" * 43 + "="
    assert keys_of([BASE64, PUBLIC], ["QUJD", public]) == {BASE64: (b"ABC",), PUBLIC: (bytes(32),)}
    with pytest.raises(ValueError, match=r"^secret 2 of 2 is not base64 and does not begin with whpk_$"):
        keys_of([BASE64, PUBLIC], ["QUJD", "*"])
    with pytest.raises(ValueError, match=r"^the secret is not hexadecimal$"):
        keys_of([HEX, HEX], ["x"])


@pytest.mark.parametrize("proof", [TEXT, BASE64, HEX, BASIC])
def test_a_made_secret_has_the_form_and_nobody_else_has_it(proof: Proof) -> None:
    first, second = new_secret(proof), new_secret(proof)
    assert first != second
    assert len(key_of(proof, first)) >= 32
    assert first.startswith(proof.secret.prefix)
    with pytest.raises(ValueError, match="public key must be set"):
        new_secret(PUBLIC)
