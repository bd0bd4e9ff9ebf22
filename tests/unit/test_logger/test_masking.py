"""Masking: known values in every form, names in every spelling, fields at any depth."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretBytes, SecretStr

from metaexpert.logger import register_secret
from metaexpert.logger.masking import names, rules
from metaexpert.logger.masking._pairs import Span
from metaexpert.logger.masking.names import ACCOUNT, NAMES, PLAIN
from metaexpert.logger.masking.registered import registered
from metaexpert.logger.masking.rules import _MOST_KEPT, Rules, _merged, mask_text, mask_tree
from metaexpert.logger.masking.shapes import find_shapes

SECRET = 'k9/Zp+3"q\\w=ü&'
SECRET_NAMES = """
    password PASSWORD passwd pwd db_password passphrase apiKey api_key API-KEY api.key APIKey aPiKeY x-api-key
    X-MBX-APIKEY OK-ACCESS-KEY ok_access_sign OK-ACCESS-TIMESTAMP API-Key API-Sign KC-API-PARTNER CB-ACCESS-SIGN
    ACCESS-SIGN X-BAPI-SIGN X-BAPI-API-KEY AccessKeyId aws_secret_access_key secretKey secret clientSecret token
    accessToken access_token2 bot_token Authorization Proxy-Authorization auth signature sign cookie Set-Cookie
    session_id JSESSIONID mnemonic seed_phrase listenKey jwt csrf X-CSRF-Token otp totp pin privateKey
    private_key_1 encryption-key signing.key credentials secrets cookies HTTP_AUTHORIZATION ａｐｉ＿ｋｅｙ
"""
OTHER_NAMES = """
    author authority token_address tokens max_tokens signal design seed key keys public_key session sessions
    order_id symbol keyboard pinned pin_bar sign_in signed author_id tokenize timestamp spin idempotency_key
    key_id cookie_count assignee side secretary token_count has_auth_header api_key_count cache_key primary_key
    id
"""


@pytest.fixture(autouse=True)
def nothing_registered() -> Iterator[None]:
    """Forget what a test registered."""
    registered.forget()
    yield
    registered.forget()


class TestKnownValues:
    """What was registered never comes out."""

    @pytest.mark.parametrize(
        "form",
        [
            SECRET,
            quote(SECRET, safe=""),
            quote(SECRET),
            quote_plus(SECRET),
            quote(SECRET, safe="").lower().replace("k9", "k9").replace("zp", "Zp"),
            base64.b64encode(SECRET.encode()).decode(),
            base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
            base64.b64encode(f"user:{SECRET}".encode()).decode(),
            base64.b64encode(f"us:{SECRET}:x".encode()).decode(),
            base64.b64encode(f"u{SECRET}yz".encode()).decode(),
            json.dumps(SECRET)[1:-1],
            json.dumps(SECRET, ensure_ascii=False)[1:-1],
            json.dumps(json.dumps({"a": SECRET}))[8:-4],
            repr(SECRET)[1:-1],
            repr(SECRET.encode())[2:-1],
            SECRET.encode().hex(),
        ],
    )
    def test_every_form_is_masked(self, form: str) -> None:
        """As it is; for a URL; in Base64, alone and inside a longer text; escaped; in hexadecimal."""
        register_secret(SECRET)
        masked = mask_text(f"before {form} after")
        assert masked.startswith("before ")
        assert masked.endswith(" after")
        assert form not in masked
        assert "***" in masked

    def test_inside_other_text(self) -> None:
        """Letters around it do not hide it, and they stay."""
        register_secret("abcd1234")
        assert mask_text("xxabcd1234yy abcd1234") == "xx***yy ***"

    def test_overlapping_values_leave_nothing(self) -> None:
        """Of two secrets that share a piece, nothing is left over."""
        register_secret("abcdef")
        register_secret("defghi")
        assert mask_text("1abcdefghi2") == "1***2"

    @pytest.mark.parametrize("value", ["s3cr3t-9", b"s3cr3t-9", SecretStr("s3cr3t-9"), SecretBytes(b"s3cr3t-9")])
    def test_kinds_of_values(self, value: Any) -> None:
        """Text, bytes, and pydantic's secrets."""
        register_secret(value)
        assert mask_text("is s3cr3t-9") == "is ***"

    def test_bytes_that_are_no_text(self) -> None:
        """Raw keys are found by their representation, in hexadecimal and in Base64."""
        raw = bytes(range(0x80, 0x90))
        register_secret(raw)
        for form in (repr(raw), raw.hex(), base64.b64encode(raw).decode()):
            assert "***" in mask_text(form)
        assert mask_tree({"raw": raw})[0] == {"raw": "***"}

    def test_white_space_around_it_does_not_count(self) -> None:
        """A key that was read from a file together with its newline is known."""
        register_secret("  s3cr3t-9\n")
        assert mask_text("is s3cr3t-9") == "is ***"

    def test_lines_of_a_long_secret_are_known_too(self) -> None:
        """A key of several lines is found when a log shows it line by line."""
        register_secret("first-line-of-a-secret-key\nsecond-line-of-a-secret-key")
        assert mask_text("> second-line-of-a-secret-key") == "> ***"

    @pytest.mark.parametrize("value", ["", "abc", "   ", b"xy"])
    def test_a_value_too_short_is_refused_with_a_warning(self, value: Any) -> None:
        """It would mask half of the log; the warning does not show it."""
        with pytest.warns(UserWarning, match="fewer than 4 characters") as caught:
            register_secret(value)
        assert mask_text("abc xy") == "abc xy"
        assert "abc" not in str(caught[0].message)

    def test_another_type_is_refused(self) -> None:
        """The error names the type and not the value."""
        with pytest.raises(TypeError, match="not int") as caught:
            register_secret(987654321)  # type: ignore[arg-type]
        assert "987654321" not in str(caught.value)

    def test_a_number_that_is_known_is_masked_as_a_number_too(self) -> None:
        """An integer of the same digits; other numbers stay."""
        register_secret("48151623")
        assert mask_tree([48151623, 148151623, "a48151623"]) == (["***", 148151623, "a***"], 2)

    def test_in_names_of_fields(self) -> None:
        """A known value in a name is masked, and no field is lost by it."""
        register_secret("s3cr3t-9")
        register_secret("another-1")
        assert mask_tree({"s3cr3t-9": 1, "another-1": 2})[0] == {"***": 1, "***_": 2}

    def test_without_shapes_only_known_values_are_masked(self) -> None:
        """`mask_secrets=False` leaves names and shapes alone."""
        register_secret("s3cr3t-9")
        rules = Rules(shapes=False)
        assert rules.mask("api_key=abc s3cr3t-9") == ("api_key=abc ***", 1)
        assert mask_tree({"api_key": "abc", "b": "s3cr3t-9", "c": SecretStr("x")}, rules) == (
            {"api_key": "abc", "b": "***", "c": "***"},
            2,
        )

    def test_registering_from_many_threads(self) -> None:
        """Nothing that was registered is lost."""
        values = [f"secret-{number:04}" for number in range(200)]

        def register(part: int) -> None:
            for value in values[part::4]:
                register_secret(value)

        threads = [threading.Thread(target=register, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(mask_text(value) == "***" for value in values)


def is_secret_name(name: str) -> bool:
    """Return whether a field called *name* is masked."""
    return NAMES.kind(name) not in (PLAIN, ACCOUNT)


class TestNames:
    """The last words of a name decide."""

    @pytest.mark.parametrize(
        "name",
        SECRET_NAMES.split(),
    )
    def test_secret_names(self, name: str) -> None:
        """In any spelling, with numbers behind."""
        assert is_secret_name(name)
        assert mask_tree({"a": [{name: "value"}]}) == ({"a": [{name: "***"}]}, 1)

    @pytest.mark.parametrize(
        "name",
        OTHER_NAMES.split(),
    )
    def test_other_names(self, name: str) -> None:
        """Words that only look alike."""
        assert not is_secret_name(name)
        assert mask_tree({name: "value"}) == ({name: "value"}, 0)

    def test_extra_names(self) -> None:
        """`extra_secret_keys` obey the same rule."""
        rules = Rules(extra_keys=["vault ref", "walletWord"])
        tree = {"myVaultRef": "a", "wallet_word": "b", "vault": "c"}
        assert mask_tree(tree, rules) == ({"myVaultRef": "***", "wallet_word": "***", "vault": "c"}, 2)
        assert rules.mask("vaultRef=a vault=b") == ("vaultRef=*** vault=b", 1)
        assert mask_tree(tree) == (tree, 0)

    def test_booleans_none_and_nothing_stay(self) -> None:
        """They are no secrets, and tell whether there is one."""
        tree: dict[str, Any] = {
            "api_key": None,
            "token": True,
            "auth": False,
            "password": "",
            "cookies": {},
            "secrets": [],
        }
        assert mask_tree(tree) == (tree, 0)

    def test_whole_containers_and_numbers_are_masked(self) -> None:
        """Whatever stands below a secret name."""
        tree = {"credentials": {"id": 1, "key": "k"}, "pin": 1234, "otp": 0.5, "cookie": ["a"]}
        assert mask_tree(tree) == (dict.fromkeys(tree, "***"), 4)

    def test_a_count_of_secrets_and_the_sign_of_a_number_stay(self) -> None:
        """Numbers under a plural, and -1, 0 and 1 under sign."""
        tree = {"secrets": 3, "position_sign": -1, "api_keys": 2}
        assert mask_tree(tree) == (tree, 0)
        assert mask_tree({"sign": 77})[1] == 1

    def test_a_key_below_api_is_an_api_key(self) -> None:
        """Names of the object around it belong to it."""
        tree = {"api": {"key": "abc", "url": "x"}, "cache": {"key": "abc"}, "nested": {"private": [{"key": "p"}]}}
        masked, count = mask_tree(tree)
        assert masked["api"] == {"key": "***", "url": "x"}
        assert masked["cache"] == {"key": "abc"}
        assert masked["nested"] == {"private": [{"key": "***"}]}
        assert count == 2

    @pytest.mark.parametrize(
        ("value", "shown"), [("acc-123456789", "***6789"), ("12345678", "***"), (1234567890, "***7890"), (7, "***")]
    )
    def test_account_numbers_keep_their_end(self, value: Any, shown: str) -> None:
        """The last four characters of more than eight, under account_id in any spelling; that is no find to count."""
        assert mask_tree({"account_id": value, "subAccountId": value}) == (
            {"account_id": shown, "subAccountId": shown},
            0,
        )


class TestRemembered:
    """Rules remember texts without a secret, and never one that holds one."""

    #: Texts around the length below which nothing is looked for, and pieces that secrets are made of.
    TEXTS = st.lists(
        st.one_of(
            st.text(st.characters(), max_size=20),
            st.text("abAPIkey_token=:;,'\"\\{}[]()<> &%3D-@/.*\n", max_size=40),
            st.sampled_from(["s3cr3t-9", "s3cr", "password", "api_key", "ghp_" + "a1B2" * 9, "AKIA" + "X1" * 8, " = "]),
        ),
        max_size=4,
    ).map("".join)

    @staticmethod
    def search(rules: Rules, text: str) -> list[Span]:
        """Return all secrets in *text*, by the full search."""
        spans = registered.find(text) + (find_shapes(text, rules.names) if rules.shapes else [])
        return _merged(spans) if spans else []

    @given(st.lists(st.one_of(TEXTS, st.binary(min_size=2, max_size=20).map(bytes.hex)), min_size=1, max_size=8))
    @example(["pin:1234", "pin=1234", "s3cr3t-9", "is s3cr3t-9, is it?", "AKIA" + "X1" * 8])
    def test_the_same_secrets_are_found_as_by_the_full_search(self, texts: list[str]) -> None:
        """For each text, at first sight and again, while values are registered in between."""
        registered.forget()
        for some in (Rules(), Rules(shapes=False), Rules(extra_keys=["vault ref"])):
            for number, value in enumerate(texts):
                for text in (*texts, *texts, f"vaultRef={value}"):
                    assert some.find(text) == self.search(some, text)
                if number % 2 and len(value.strip()) >= 4:
                    register_secret(value)
                    for text in (*texts, f"before {value.strip()} after"):
                        assert some.find(text) == self.search(some, text)
                    assert some.find(value)

    def test_what_is_remembered_is_bounded(self) -> None:
        """Texts and names that never come again do not fill the memory."""
        some = Rules()
        for number in range(3 * _MOST_KEPT):
            assert some.harmless(f"an ordinary text of its own, {number}")
            assert not some.kind("", f"name_{number}_of_its_own")
            assert len(some._harmless) <= _MOST_KEPT
        assert len(some.names.judged) <= names._MOST_JUDGED
        before = len(some._harmless)
        assert some.harmless("a long text " * 1000)
        assert len(some._harmless) == before

    def test_a_known_call_enters_the_rules_alone(self) -> None:
        """Names and texts that were seen before cost no search."""
        tree = {"exchange": "binance", "note": "the order was filled, as expected", "n": 7}
        assert mask_tree(tree) == (tree, 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rules, "find_shapes", lambda *_: pytest.fail("searched"))
            patch.setattr(names.Names, "kind", lambda *_: pytest.fail("judged"))
            assert mask_tree(tree) == (tree, 0)

    def test_a_value_registered_during_a_search_is_found_by_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a search found before is not taken for what there is now."""

        def slow(text: str, known: names.Names) -> list[Span]:
            register_secret("s3cr3t-9")
            return find_shapes(text, known)

        monkeypatch.setattr(rules, "find_shapes", slow)
        mask = Rules().mask
        assert mask("this is s3cr3t-9, it seems") == ("this is s3cr3t-9, it seems", 0)
        assert mask("this is s3cr3t-9, it seems") == ("this is ***, it seems", 1)


class TestTotal:
    """It never raises, and what it makes is masked."""

    @given(st.text(st.characters(), max_size=300))
    def test_any_text(self, text: str) -> None:
        """Masking a second time changes nothing."""
        once = mask_text(text)
        assert mask_text(once) == once

    @given(st.text("abAPIkey_token=:;,'\"\\{}[]()<> &%3D-@/.*\n", max_size=80))
    def test_any_text_of_what_rules_are_made_of(self, text: str) -> None:
        """Whatever the separators, quotes and brackets do, it neither raises nor goes on."""
        once = mask_text(text)
        assert once == mask_text(once)

    @given(
        st.binary(min_size=8, max_size=40), st.text(st.characters(), max_size=30), st.text(st.characters(), max_size=30)
    )
    def test_any_secret_in_any_text(self, raw: bytes, before: str, after: str) -> None:
        """A known value never comes out, alone or inside Base64."""
        secret = raw.hex()
        register_secret(secret)
        for text in (secret, base64.b64encode((before + secret + after).encode("utf-8", "replace")).decode()):
            masked = mask_text(before + text + after)
            assert text not in masked
            assert secret not in masked
