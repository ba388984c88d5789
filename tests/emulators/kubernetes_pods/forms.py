"""The forms of names and labels, and what an API server says of those that have another one. Pure."""

import re

LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
KEY = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

SUBDOMAIN_TOLD = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"
)
LABEL_TOLD = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    f" an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"
)
VALUE_TOLD = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '{VALUE}')"
)
KEY_TOLD = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    " character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is"
    f" '{KEY}')"
)


def key_fault(key: str) -> str | None:
    """What is wrong with the key of a label; None when nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and re.fullmatch(SUBDOMAIN, prefix) is None:
        return f"prefix part {SUBDOMAIN_TOLD}"
    return None if re.fullmatch(KEY, name) else KEY_TOLD


def value_fault(value: str) -> str | None:
    """What is wrong with the value of a label; None when nothing is."""
    if len(value) > 63:
        return "must be no more than 63 bytes"
    return None if re.fullmatch(VALUE, value) else VALUE_TOLD
