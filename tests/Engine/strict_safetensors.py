#!/usr/bin/env python3
"""Which of the files FOLDER/0 ... FOLDER/(COUNT - 1) are valid by the rules of the safetensors format; of those, what they hold. One line a file."""
import json
import pathlib
import sys

BITS = {8: "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ", 16: "I16 U16 F16 BF16", 32: "I32 U32 F32", 64: "C64 F64 I64 U64", 4: "F4", 6: "F6_E2M3 F6_E3M2"}
BITS = {name: bits for bits, names in BITS.items() for name in names.split()}
LIMIT = 1 << 64


def need(condition, reason):
    if not condition:
        raise ValueError(reason)


def unique(pairs):
    need(len({key for key, _ in pairs}) == len(pairs), "a key twice")
    return dict(pairs)


def whole(text):
    return int(text) if text.isdigit() else text  # -0 and -1 stay texts, as do 1.0 and 1e0


def depth(text):
    """Of brackets outside of strings."""
    most = now = 0
    quoted = escaped = False
    for c in text:
        if quoted:
            quoted, escaped = escaped or c != '"', c == "\\" and not escaped
        elif c == '"':
            quoted = True
        else:
            now += (c in "[{") - (c in "]}")
            most = max(most, now)
    return most


def read(data):
    need(len(data) >= 8, "no header length")
    length = int.from_bytes(data[:8], "little")
    need(length <= 100_000_000 and length <= len(data) - 8, "header length")
    text = data[8:8 + length].decode("utf-8").rstrip(" ")
    need(text.startswith("{") and text.endswith("}"), "start or end of the header")
    need(depth(text) <= 128, "depth")

    def refuse(_):
        raise ValueError("no JSON")

    header = json.loads(text, object_pairs_hook=unique, parse_int=whole, parse_float=str, parse_constant=refuse)
    json.dumps(header, ensure_ascii=False).encode("utf-8")  # halves of characters
    need(all(isinstance(value, str) for value in object_of(header.pop("__metadata__", {})).values()), "metadata")
    found, end = [], 0
    for name, entry in header.items():
        object_of(entry)
        shape, offsets = (numbers(entry[field]) for field in ("shape", "data_offsets"))
        need(isinstance(entry["dtype"], str) and len(offsets) == 2, "fields")
        found.append((*offsets, entry["dtype"], shape))
    for begin, stop, dtype, shape in sorted(found, key=lambda f: f[:2]):
        need(begin == end and stop >= begin, "holes or overlaps")
        bits = 1
        for extent in [*shape, BITS[dtype]]:
            bits *= extent
            need(bits < LIMIT, "overflow")
        need(bits == 8 * (stop - begin), "size")
        end = stop
    need(8 + length + end == len(data), "end of the file")
    body = data[8 + length:]
    return sorted(f"{dtype}[{','.join(map(str, shape))}]{body[begin:stop].hex()}" for begin, stop, dtype, shape in found)


def object_of(value):
    need(isinstance(value, dict), "not an object")
    return value


def numbers(value):
    need(isinstance(value, list) and all(type(n) is int and n < LIMIT for n in value), "not whole numbers")
    return value


for number in range(int(sys.argv[2])):
    try:
        print("valid " + " ".join(read((pathlib.Path(sys.argv[1]) / str(number)).read_bytes())))
    except (ValueError, KeyError, TypeError) as reason:
        print(f"invalid\t{reason!r}")
